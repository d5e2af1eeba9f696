//! What a token of another issuer says, before and after it is believed.
//!
//! The order is that of the cost: the form, the header, the times, audience and required claims come
//! first, though none of it is believed yet, and the signature last. So a forged token that is wrong
//! in anything else costs no arithmetic.
//!
//! Callers: `authn::issuer`. Which keys there are, and who somebody is, is beside this.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::json;
use super::settings::{ClaimPath, IssuerSettings, SignatureAlgorithm};
use crate::authn::bearer::Compact;

/// Characters of the longest `kid`; those of real issuers have up to 90.
const KID: usize = 256;
/// Characters of the longest `sub` (OpenID Connect Core §2 allows 255).
const SUBJECT: usize = 255;
/// The year 9999 ends here; what is later is no date.
const LATEST: f64 = 253_402_300_799.0;

/// Members of a header that bring a key along, or change what the signature is over. A token that has one is not looked
/// at further: what is ignored by us may be read by somebody else.
const REFUSED_HEADERS: [&str; 8] = ["b64", "crit", "enc", "jku", "jwk", "x5c", "x5u", "zip"];

/// Why a token of another issuer is refused: for the log, never for the client.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ForeignFault {
    /// Not one of the issuer's algorithms.
    #[error("its algorithm is not among the issuer's `algorithms`")]
    Algorithm,
    /// For somebody else.
    #[error("its audience is not among the issuer's `audiences`")]
    Audience,
    /// Too many forged ones came from the same source a moment ago.
    #[error("too many forged tokens came from its source")]
    Braked {
        /// When to try again.
        retry_after: Duration,
    },
    /// A required claim.
    #[error("its claim `{0}` is not as `required_claims` has it")]
    Claim(String),
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Not a compact JWS with plain JSON.
    #[error("it is not a JWT of the form that is taken: {0}")]
    Form(&'static str),
    /// It holds only together with a proof that can't be checked here.
    #[error("it is bound to a key of its holder (`cnf`), which can't be checked here")]
    HolderOfKey,
    /// No such key.
    #[error("the issuer has no key of this name for this algorithm")]
    Key,
    /// From the future.
    #[error("it does not hold yet")]
    NotYet,
    /// It was not signed with the key.
    #[error("its signature is not the key's")]
    Signature,
    /// Nobody that an upstream could be told of.
    #[error("its claim `{0}` is no username: 1 to 128 characters, no `@`, no control character")]
    Username(String),
}

/// A token in its parts. Nothing in it is believed.
pub struct Unverified<'t> {
    claims: Map<String, Value>,
    compact: Compact<'t>,
}

impl<'t> Unverified<'t> {
    /// Of a token with a payload that has one reading.
    pub fn read(token: &'t [u8]) -> Option<Self> {
        let compact = Compact::split(token).ok()?;
        let claims = json::object(&compact.payload().ok()?)?;
        Some(Self { claims, compact })
    }

    /// Who it says that it is from: good for choosing a table, and for nothing else.
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
    }
}

/// What can be said of a token without its key.
pub(super) struct Plausible<'t> {
    pub(super) algorithm: SignatureAlgorithm,
    pub(super) kid: Option<String>,
    pub(super) claims: Claims,
    compact: Compact<'t>,
}

impl Plausible<'_> {
    /// What the signature is over, and the signature.
    pub(super) fn signed(&self) -> Result<(&[u8], Vec<u8>), ForeignFault> {
        let signature = self.compact.signature().map_err(|_| ForeignFault::Form("its signature"))?;
        Ok((self.compact.signed(), signature))
    }
}

/// The claims that a verified token is asked for.
#[derive(Debug)]
pub(super) struct Claims {
    /// When somebody signed in, where it is said.
    pub(super) authenticated_at: Option<SystemTime>,
    pub(super) expires_at: SystemTime,
    pub(super) subject: String,
    all: Map<String, Value>,
}

impl Claims {
    /// A claim, or one in another.
    pub(super) fn find(&self, path: &ClaimPath) -> Option<&Value> {
        find(&self.all, path.as_str())
    }
}

/// Looks at everything but the signature.
pub(super) fn check<'t>(
    token: Unverified<'t>,
    settings: &IssuerSettings,
    now: SystemTime,
) -> Result<Plausible<'t>, ForeignFault> {
    let Unverified { claims, compact } = token;
    let header = compact.header().ok().and_then(|header| json::object(&header));
    let header = header.ok_or(ForeignFault::Form("its header"))?;
    let (algorithm, kid) = check_header(&header, &settings.source.algorithms)?;
    let claims = check_claims(claims, settings, now)?;
    Ok(Plausible { algorithm, claims, compact, kid })
}

fn check_header(
    header: &Map<String, Value>,
    algorithms: &[SignatureAlgorithm],
) -> Result<(SignatureAlgorithm, Option<String>), ForeignFault> {
    if REFUSED_HEADERS.iter().any(|name| header.contains_key(*name)) {
        return Err(ForeignFault::Form("its header brings a key, or changes what is signed"));
    }
    // RFC 9068 §4 has `at+jwt`; most issuers of today write `JWT` or nothing.
    match header.get("typ") {
        None => {}
        Some(Value::String(typ)) if is_access_token(typ) => {}
        Some(_) => return Err(ForeignFault::Form("its `typ`")),
    }
    let algorithm = header.get("alg").and_then(Value::as_str).and_then(SignatureAlgorithm::from_name);
    let algorithm = algorithm.filter(|one| algorithms.contains(one)).ok_or(ForeignFault::Algorithm)?;
    let kid = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) if kid.len() <= KID => Some(kid.clone()),
        Some(_) => return Err(ForeignFault::Key),
    };
    Ok((algorithm, kid))
}

/// RFC 7515 §4.1.9: a media type, whose case does not count and whose `application/` may be left out.
fn is_access_token(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "at+jwt")
}

fn check_claims(
    claims: Map<String, Value>,
    settings: &IssuerSettings,
    now: SystemTime,
) -> Result<Claims, ForeignFault> {
    // The table was found by it; who comes here by another way is held to it as well.
    if claims.get("iss").and_then(Value::as_str) != Some(&settings.source.issuer) {
        return Err(ForeignFault::Form("its `iss`"));
    }
    let time = |name: &'static str| match claims.get(name) {
        None => Ok(None),
        Some(value) => date(value).map(Some).ok_or(ForeignFault::Form(name)),
    };
    let leeway = settings.leeway;
    let expires_at = time("exp")?.ok_or(ForeignFault::Form("no `exp`"))?;
    if now >= expires_at + leeway {
        return Err(ForeignFault::Expired);
    }
    for name in ["nbf", "iat"] {
        if time(name)?.is_some_and(|from| from > now + leeway) {
            return Err(ForeignFault::NotYet);
        }
    }
    let is_ours = |audience: &Value| {
        audience.as_str().is_some_and(|one| settings.audiences.iter().any(|ours| ours == one))
    };
    let is_for_us = match claims.get("aud") {
        Some(Value::Array(audiences)) => {
            audiences.iter().all(Value::is_string) && audiences.iter().any(is_ours)
        }
        Some(audience) => is_ours(audience),
        None => false,
    };
    if !is_for_us {
        return Err(ForeignFault::Audience);
    }
    let subject = claims.get("sub").and_then(Value::as_str);
    let subject = subject.filter(|subject| (1..=SUBJECT).contains(&subject.chars().count()));
    let subject = subject.ok_or(ForeignFault::Form("its `sub`"))?.to_owned();
    if claims.contains_key("cnf") {
        return Err(ForeignFault::HolderOfKey);
    }
    for (path, wanted) in &settings.required {
        if !find(&claims, path.as_str()).is_some_and(|claim| is_one_of(claim, wanted)) {
            return Err(ForeignFault::Claim(path.as_str().to_owned()));
        }
    }
    // A login in the future is nobody's.
    let authenticated_at = time("auth_time")?.filter(|at| *at <= now + leeway);
    Ok(Claims { all: claims, authenticated_at, expires_at, subject })
}

/// RFC 7519 §2: seconds since 1970, in fractions where somebody likes that.
fn date(value: &Value) -> Option<SystemTime> {
    let seconds = value.as_f64().filter(|seconds| (0.0..=LATEST).contains(seconds))?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds))
}

/// Whether a claim has one of these values; of a list, one of its elements.
fn is_one_of(claim: &Value, wanted: &[String]) -> bool {
    match claim {
        Value::String(text) => wanted.contains(text),
        Value::Bool(_) | Value::Number(_) => wanted.contains(&claim.to_string()),
        Value::Array(elements) => {
            elements.iter().any(|element| !element.is_array() && is_one_of(element, wanted))
        }
        Value::Null | Value::Object(_) => false,
    }
}

/// A member, or one in another. A name may hold dots itself: the longest that is there counts.
fn find<'v>(object: &'v Map<String, Value>, path: &str) -> Option<&'v Value> {
    object.get(path).or_else(|| {
        path.rmatch_indices('.')
            .find_map(|(at, _)| find(object.get(&path[..at])?.as_object()?, &path[at + 1..]))
    })
}
