//! Access tokens of our own: JWTs by RFC 9068, signed and verified with keys from the store.
//!
//! The algorithm is a property of our key, never of the token: `kid` looks up our table, and the
//! token's `alg` has to agree with what stands there. A header with anything but `alg`, `typ` and
//! `kid` (`crit`, `jku`, `jwk`, `x5u`, a doubled member) is refused before a signature is looked at.
//!
//! The order is that of the cost: the form, the header, whom the token is for and its time come first, though none
//! of it is believed yet, and the signature last.
//!
//! `jti` is a UUIDv7, so the signed token says to the millisecond when it was issued, and a password
//! change ends every token from before it.
//!
//! Callers: `authn` verifies, `account` issues, `portal` publishes the keys. Foreign issuers are not here.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jsonwebtoken::EncodingKey;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::identity::{AccessToken, GrantId, Identity, UserId};
use crate::store::SigningKey;

mod assertion;
mod claims;
mod form;
mod keys;
mod own;
mod refused;
pub mod ring;
mod settings;

pub use assertion::LIFETIME as ASSERTION_LIFETIME;
pub use claims::VerifiedClaims;
pub use keys::{UnusableKey, generate_key};
pub use own::{InvalidKeyFile, OwnKey, read_key};
pub use refused::{TokenPart, TokenRefusal};
pub use ring::KeyState;
pub use settings::{Algorithm, TokenSettings};

pub(super) use form::Compact;

use claims::{Claims, double, issued_at, jti, since_1970};
use keys::{VerifyKey, encoding_key, public_jwk};

/// How far two clocks may be apart.
pub(super) const LEEWAY: Duration = Duration::from_secs(30);

/// Why a token is refused: for the log, never for the client.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TokenFault {
    /// Another algorithm than the key's.
    #[error("its algorithm is not the key's")]
    Algorithm,
    /// For somebody else.
    #[error("its audience is not ours")]
    Audience,
    /// Too many forged ones came from the same source a moment ago.
    #[error("too many forged tokens came from its source")]
    Braked {
        /// When to try again.
        retry_after: Duration,
    },
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Not a compact JWS with a plain header.
    #[error("it is not a JWT of the form that is issued here")]
    Form,
    /// From somebody else.
    #[error("its issuer is not us")]
    Issuer,
    /// No such key.
    #[error("its key is not known")]
    Key,
    /// It was not signed with the key.
    #[error("its signature is not the key's")]
    Signature,
}

/// Our keys, ready to sign and to verify with.
pub struct Tokens {
    by_kid: HashMap<String, (Algorithm, VerifyKey)>,
    jwks: Arc<str>,
    settings: TokenSettings,
    /// At least one; each signs from its time on, in their order.
    signing: Vec<SignKey>,
}

struct SignKey {
    from: SystemTime,
    header: jsonwebtoken::Header,
    key: EncodingKey,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    alg: &'a str,
    kid: &'a str,
    typ: &'a str,
}

impl Tokens {
    /// Makes the keys ready. Those of the configured algorithm sign, one after the other, or the first of the
    /// operator's own; all verify.
    pub fn new(settings: TokenSettings, keys: &[SigningKey]) -> Result<Self, UnusableKey> {
        let mut by_kid = HashMap::new();
        let mut published = Vec::new();
        let mut signing = Vec::new();
        let own: Vec<&SigningKey> = settings.keys.iter().map(|own| &own.key).collect();
        for stored in own.iter().copied().chain(keys) {
            let unusable = |reason: &dyn fmt::Display| UnusableKey::new(&stored.kid, reason);
            let algorithm =
                Algorithm::from_name(&stored.algorithm).ok_or_else(|| unusable(&"unknown algorithm"))?;
            let private =
                encoding_key(algorithm, stored.private.expose_secret()).map_err(|error| unusable(&error))?;
            let key = if algorithm == Algorithm::Hs256 {
                // Never published: the JWK of a secret is the secret.
                VerifyKey::of_secret(stored.private.expose_secret())
            } else {
                let jwk = public_jwk(algorithm, &private, &stored.kid).map_err(|error| unusable(&error))?;
                let key = VerifyKey::of_public(algorithm, &jwk).ok_or_else(|| unusable(&"no sound key"))?;
                published.push(jwk);
                key
            };
            if algorithm == settings.algorithm {
                let header = token_header(algorithm, &stored.kid);
                signing.push(SignKey { from: stored.signs_from, header, key: private });
            }
            by_kid.insert(stored.kid.clone(), (algorithm, key));
        }
        if let Some(first) = own.first() {
            signing.retain(|key: &SignKey| key.header.kid.as_ref() == Some(&first.kid));
        }
        if signing.is_empty() {
            let reason = format_args!("the store has none for {}", settings.algorithm);
            return Err(UnusableKey::new("none", &reason));
        }
        // As `ring::signing` has it.
        signing.sort_by(|a, b| (a.from, &a.header.kid).cmp(&(b.from, &b.header.kid)));
        let jwks = serde_json::json!({ "keys": published }).to_string().into();
        Ok(Self { by_kid, jwks, settings, signing })
    }

    /// The public keys as a JWK set (RFC 7517 §5).
    pub fn jwks(&self) -> Arc<str> {
        Arc::clone(&self.jwks)
    }

    /// What they say and how long they live.
    pub fn settings(&self) -> &TokenSettings {
        &self.settings
    }

    /// How long after its making an access token may be accepted somewhere.
    pub fn longest_access(&self) -> Duration {
        self.settings.access_ttl + LEEWAY
    }

    /// Signs a new access token. Only an account has one: `account` is that of the identity. `family` are the
    /// refresh tokens that its client got as well.
    pub fn issue(
        &self,
        account: UserId,
        identity: &Identity,
        family: Option<GrantId>,
        now: SystemTime,
    ) -> SecretString {
        let millis = since_1970(now).as_millis() as u64;
        let claims = Claims {
            aud: self.settings.audience.clone(),
            auth_time: since_1970(identity.authenticated_at).as_secs(),
            csrf: self.settings.cookies.then(double),
            email: identity.email.as_ref().map(ToString::to_string),
            exp: since_1970(now + self.settings.access_ttl).as_secs(),
            iat: millis / 1000,
            iss: self.settings.issuer.clone(),
            jti: jti(millis),
            preferred_username: identity.username.to_string(),
            roles: identity.roles.iter().map(ToString::to_string).collect(),
            sid: family,
            sub: account,
        };
        let signing = self.signing_at(now);
        jsonwebtoken::encode(&signing.header, &claims, &signing.key)
            .expect("a key that could be read signs")
            .into()
    }

    /// Whether it has these keys and no others.
    pub fn has_exactly(&self, keys: &[SigningKey]) -> bool {
        let own = &self.settings.keys;
        self.by_kid.len() == own.len() + keys.len()
            && keys.iter().all(|key| self.by_kid.contains_key(&key.kid))
    }

    fn signing_at(&self, now: SystemTime) -> &SignKey {
        let begun = self.signing.iter().rev().find(|key| key.from <= now);
        begun.unwrap_or(&self.signing[0])
    }

    /// Verifies form, key, claims and signature.
    pub fn verify(&self, token: &[u8], now: SystemTime) -> Result<VerifiedClaims, TokenFault> {
        let plausible = self.read(token, now)?;
        if plausible.is_signed() { Ok(plausible.claims) } else { Err(TokenFault::Signature) }
    }

    /// Looks at everything but the signature. What it gives is not to be believed before that was looked at as well.
    pub(super) fn read<'t>(&'t self, token: &'t [u8], now: SystemTime) -> Result<Plausible<'t>, TokenFault> {
        let plausible = self.read_at_any_time(token, now)?;
        if now >= plausible.claims.accepted_until { Err(TokenFault::Expired) } else { Ok(plausible) }
    }

    /// As `read`, of one whose time may be over: to tell whose it was.
    pub(super) fn read_at_any_time<'t>(
        &'t self,
        token: &'t [u8],
        now: SystemTime,
    ) -> Result<Plausible<'t>, TokenFault> {
        let compact = Compact::split(token)?;
        let header = compact.header()?;
        let header: Header<'_> = serde_json::from_slice(&header).map_err(|_| TokenFault::Form)?;
        // RFC 9068 §4: anything but an access token is none here, whoever signed it.
        if header.typ != "at+jwt" {
            return Err(TokenFault::Form);
        }
        let (algorithm, key) = self.by_kid.get(header.kid).ok_or(TokenFault::Key)?;
        if header.alg != algorithm.as_str() {
            return Err(TokenFault::Algorithm);
        }
        // Strict base64url in all parts: one token in two spellings would be two entries of the cache.
        let (payload, signature) = (compact.payload()?, compact.signature()?);
        let claims: Claims = serde_json::from_slice(&payload).map_err(|_| TokenFault::Form)?;
        if claims.iss != self.settings.issuer {
            return Err(TokenFault::Issuer);
        }
        if claims.aud != self.settings.audience {
            return Err(TokenFault::Audience);
        }
        let expires_at = time(claims.exp)?;
        let accepted_until = expires_at.checked_add(LEEWAY).ok_or(TokenFault::Form)?;
        let issued_at = issued_at(claims.jti).ok_or(TokenFault::Form)?;
        // A token from the future is another clock's, or nobody's.
        if issued_at > now + LEEWAY || since_1970(issued_at).as_secs() != claims.iat {
            return Err(TokenFault::Form);
        }
        let claims = VerifiedClaims {
            authenticated_at: time(claims.auth_time)?,
            expires_at,
            accepted_until,
            id: AccessToken { family: claims.sid, jti: claims.jti.into() },
            issued_at,
            user_id: claims.sub,
        };
        Ok(Plausible { claims, key, signature, signed: compact.signed() })
    }
}

/// A token that is as ours are, but for its signature.
pub(super) struct Plausible<'t> {
    /// Not to be believed unless it is signed.
    pub(super) claims: VerifiedClaims,
    key: &'t VerifyKey,
    signature: Vec<u8>,
    signed: &'t [u8],
}

impl Plausible<'_> {
    /// Looks at the signature: what is dear of it all.
    pub(super) fn is_signed(&self) -> bool {
        self.key.verifies(self.signed, &self.signature)
    }
}

/// Seconds since 1970, as far as the clock goes.
fn time(seconds: u64) -> Result<SystemTime, TokenFault> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).ok_or(TokenFault::Form)
}

fn token_header(algorithm: Algorithm, kid: &str) -> jsonwebtoken::Header {
    let mut header = jsonwebtoken::Header::new(algorithm.library());
    header.typ = Some("at+jwt".to_owned());
    header.kid = Some(kid.to_owned());
    header
}

#[cfg(test)]
mod tests;
