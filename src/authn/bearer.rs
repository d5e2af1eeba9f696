//! Access tokens of our own: JWTs by RFC 9068, signed and verified with keys from the store.
//!
//! The algorithm is a property of our key, never of the token: `kid` looks up our table, and the
//! token's `alg` has to agree with what stands there. A header with anything but `alg`, `typ` and
//! `kid` (`crit`, `jku`, `jwk`, `x5u`, a doubled member) is refused before a signature is looked at.
//!
//! `jti` is a UUIDv7, so the signed token says to the millisecond when it was issued, and a password
//! change ends every token from before it.
//!
//! Callers: `authn` verifies, `account` issues, `portal` publishes the keys. Foreign issuers are not here.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::{Jwk, KeyAlgorithm, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{DecodingKey, EncodingKey, Validation};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::identity::{Identity, UserId};
use crate::store::SigningKey;

/// Bytes of the longest token that is looked at.
const MAX_TOKEN: usize = 8 * 1024;
/// How far two clocks may be apart.
const LEEWAY: Duration = Duration::from_secs(30);

/// What Foregate's own JWTs say (`tokens` in the configuration).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenSettings {
    /// How long an access token lives.
    pub access_ttl: Duration,
    /// What new tokens are signed with.
    pub algorithm: Algorithm,
    /// `aud`.
    pub audience: String,
    /// `iss`.
    pub issuer: String,
}

/// A signature algorithm for our own tokens.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Algorithm {
    /// Ed25519, the default.
    EdDsa,
    /// P-256.
    Es256,
    /// A shared secret of 256 bits; nothing to publish.
    Hs256,
    /// RSA with 2048 bits.
    Rs256,
}

impl Algorithm {
    /// As in a JWT's `alg` (RFC 7518 §3.1, RFC 8037 §3.1).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::EdDsa, Self::Es256, Self::Hs256, Self::Rs256].into_iter().find(|one| one.as_str() == name)
    }

    fn library(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a verified token says.
#[derive(Clone, Debug)]
pub struct VerifiedClaims {
    /// When the password was typed.
    pub authenticated_at: SystemTime,
    /// It ends here.
    pub expires_at: SystemTime,
    /// When it was made, to the millisecond.
    pub issued_at: SystemTime,
    /// Whose it is.
    pub user_id: UserId,
}

/// Why a token is refused: for the log, never for the client.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TokenFault {
    /// Another algorithm than the key's.
    #[error("its algorithm is not the key's")]
    Algorithm,
    /// Not a compact JWS with a plain header.
    #[error("it is not a JWT of the form that is issued here")]
    Form,
    /// No such key.
    #[error("its key is not known")]
    Key,
    /// The signature or a claim.
    #[error("{0}")]
    Refused(#[from] jsonwebtoken::errors::Error),
}

/// A key that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("the signing key {kid} can't be used: {reason}")]
pub struct UnusableKey {
    kid: String,
    reason: String,
}

/// Our keys, ready to sign and to verify with.
pub struct Tokens {
    by_kid: HashMap<String, VerifyKey>,
    jwks: Arc<str>,
    settings: TokenSettings,
    signing: SignKey,
}

struct SignKey {
    header: jsonwebtoken::Header,
    key: EncodingKey,
}

struct VerifyKey {
    algorithm: Algorithm,
    key: DecodingKey,
    validation: Validation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    alg: &'a str,
    kid: &'a str,
    typ: &'a str,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    aud: String,
    auth_time: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    exp: u64,
    iat: u64,
    iss: String,
    jti: Uuid,
    preferred_username: String,
    roles: Vec<String>,
    sub: UserId,
}

impl Tokens {
    /// Makes the stored keys ready; the newest of the configured algorithm signs, all verify.
    pub fn new(settings: TokenSettings, keys: &[SigningKey]) -> Result<Self, UnusableKey> {
        let mut by_kid = HashMap::new();
        let mut published = Vec::new();
        let mut signing = None;
        for stored in keys {
            let unusable = |reason: &dyn fmt::Display| UnusableKey {
                kid: stored.kid.clone(),
                reason: reason.to_string(),
            };
            let algorithm =
                Algorithm::from_name(&stored.algorithm).ok_or_else(|| unusable(&"unknown algorithm"))?;
            let private =
                encoding_key(algorithm, stored.private.expose_secret()).map_err(|error| unusable(&error))?;
            let key = if algorithm == Algorithm::Hs256 {
                // Never published: the JWK of a secret is the secret.
                DecodingKey::from_secret(stored.private.expose_secret())
            } else {
                let jwk = public_jwk(algorithm, &private, &stored.kid).map_err(|error| unusable(&error))?;
                let key = DecodingKey::from_jwk(&jwk).map_err(|error| unusable(&error))?;
                published.push(jwk);
                key
            };
            if algorithm == settings.algorithm && signing.is_none() {
                signing = Some(SignKey { header: token_header(algorithm, &stored.kid), key: private });
            }
            let validation = validation(&settings, algorithm);
            by_kid.insert(stored.kid.clone(), VerifyKey { algorithm, key, validation });
        }
        let signing = signing.ok_or_else(|| UnusableKey {
            kid: "none".to_owned(),
            reason: format!("the store has none for {}", settings.algorithm),
        })?;
        let jwks = serde_json::json!({ "keys": published }).to_string().into();
        Ok(Self { by_kid, jwks, settings, signing })
    }

    /// The public keys as a JWK set (RFC 7517 §5).
    pub fn jwks(&self) -> Arc<str> {
        Arc::clone(&self.jwks)
    }

    /// How long an access token lives.
    pub fn access_ttl(&self) -> Duration {
        self.settings.access_ttl
    }

    /// Signs a new access token.
    pub fn issue(&self, identity: &Identity, now: SystemTime) -> SecretString {
        let millis = since_1970(now).as_millis() as u64;
        let claims = Claims {
            aud: self.settings.audience.clone(),
            auth_time: since_1970(identity.authenticated_at).as_secs(),
            email: identity.email.as_ref().map(ToString::to_string),
            exp: since_1970(now + self.settings.access_ttl).as_secs(),
            iat: millis / 1000,
            iss: self.settings.issuer.clone(),
            jti: jti(millis),
            preferred_username: identity.username.to_string(),
            roles: identity.roles.iter().map(ToString::to_string).collect(),
            sub: identity.user_id,
        };
        jsonwebtoken::encode(&self.signing.header, &claims, &self.signing.key)
            .expect("a key that could be read signs")
            .into()
    }

    /// Verifies form, key, signature and claims.
    pub fn verify(&self, token: &[u8], now: SystemTime) -> Result<VerifiedClaims, TokenFault> {
        if token.len() > MAX_TOKEN {
            return Err(TokenFault::Form);
        }
        let mut parts = token.split(|&byte| byte == b'.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenFault::Form);
        };
        let header = decode_part(header)?;
        let header: Header<'_> = serde_json::from_slice(&header).map_err(|_| TokenFault::Form)?;
        // RFC 9068 §4: anything but an access token is none here, whoever signed it.
        if header.typ != "at+jwt" {
            return Err(TokenFault::Form);
        }
        let key = self.by_kid.get(header.kid).ok_or(TokenFault::Key)?;
        if header.alg != key.algorithm.as_str() {
            return Err(TokenFault::Algorithm);
        }
        // Strict base64url in every part: the same token in two spellings would be two cache entries.
        decode_part(payload)?;
        decode_part(signature)?;
        let claims = jsonwebtoken::decode::<Claims>(token, &key.key, &key.validation)?.claims;
        let issued_at = issued_at(claims.jti).ok_or(TokenFault::Form)?;
        // A token from the future is another clock's, or nobody's.
        if issued_at > now + LEEWAY || since_1970(issued_at).as_secs() != claims.iat {
            return Err(TokenFault::Form);
        }
        Ok(VerifiedClaims {
            authenticated_at: SystemTime::UNIX_EPOCH + Duration::from_secs(claims.auth_time),
            expires_at: SystemTime::UNIX_EPOCH + Duration::from_secs(claims.exp) + LEEWAY,
            issued_at,
            user_id: claims.sub,
        })
    }
}

/// A new key for an algorithm, for the store to keep unless it has one.
pub fn generate_key(algorithm: Algorithm, now: SystemTime) -> SigningKey {
    let works = "the cryptographic library makes a key";
    let private: Vec<u8> = match algorithm {
        Algorithm::EdDsa => {
            Ed25519KeyPair::generate().expect(works).to_pkcs8v1().expect(works).as_ref().to_vec()
        }
        Algorithm::Es256 => {
            let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
            key.expect(works).as_ref().to_vec()
        }
        Algorithm::Hs256 => {
            let mut secret = vec![0; 32];
            getrandom::fill(&mut secret).expect("the operating system gives random bytes");
            secret
        }
        Algorithm::Rs256 => {
            let key = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).expect(works);
            key.as_der().expect(works).as_ref().to_vec()
        }
    };
    let kid = match algorithm {
        Algorithm::Hs256 => random_name(),
        _ => encoding_key(algorithm, &private)
            .and_then(|key| public_jwk(algorithm, &key, ""))
            .and_then(|jwk| jwk.thumbprint(ThumbprintHash::SHA256))
            .expect(works),
    };
    SigningKey {
        algorithm: algorithm.as_str().to_owned(),
        created_at: now,
        kid,
        private: SecretBox::new(private.into_boxed_slice()),
    }
}

/// A random name, for a key whose thumbprint would say something of it.
fn random_name() -> String {
    let mut random = [0; 16];
    getrandom::fill(&mut random).expect("the operating system gives random bytes");
    URL_SAFE_NO_PAD.encode(random)
}

fn encoding_key(algorithm: Algorithm, private: &[u8]) -> Result<EncodingKey, jsonwebtoken::errors::Error> {
    match algorithm {
        Algorithm::EdDsa => Ok(EncodingKey::from_ed_der(private)),
        Algorithm::Es256 => Ok(EncodingKey::from_ec_der(private)),
        Algorithm::Hs256 => Ok(EncodingKey::from_secret(private)),
        Algorithm::Rs256 => {
            // Its DER door wants PKCS#1 and takes PKCS#8 without a word until it signs; the PEM one takes both.
            let pem = format!(
                "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
                STANDARD.encode(private)
            );
            EncodingKey::from_rsa_pem(pem.as_bytes())
        }
    }
}

fn public_jwk(
    algorithm: Algorithm,
    key: &EncodingKey,
    kid: &str,
) -> Result<Jwk, jsonwebtoken::errors::Error> {
    let mut jwk = Jwk::from_encoding_key(key, algorithm.library())?;
    jwk.common.key_algorithm = Some(KeyAlgorithm::from(algorithm.library()));
    jwk.common.key_id = Some(kid.to_owned());
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    Ok(jwk)
}

fn token_header(algorithm: Algorithm, kid: &str) -> jsonwebtoken::Header {
    let mut header = jsonwebtoken::Header::new(algorithm.library());
    header.typ = Some("at+jwt".to_owned());
    header.kid = Some(kid.to_owned());
    header
}

fn validation(settings: &TokenSettings, algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm.library());
    validation.leeway = LEEWAY.as_secs();
    validation.validate_nbf = true;
    validation.set_audience(&[&settings.audience]);
    validation.set_issuer(&[&settings.issuer]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation
}

fn decode_part(part: &[u8]) -> Result<Vec<u8>, TokenFault> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Form)
}

/// A UUIDv7 of this moment (RFC 9562 §5.7).
fn jti(millis: u64) -> Uuid {
    let mut random = [0; 10];
    getrandom::fill(&mut random).expect("the operating system gives random bytes");
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

fn issued_at(jti: Uuid) -> Option<SystemTime> {
    let (seconds, nanos) = jti.get_timestamp().filter(|_| jti.get_version_num() == 7)?.to_unix();
    Some(SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos))
}

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;
    use crate::identity::Credential;

    const ALL: [Algorithm; 4] = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Hs256, Algorithm::Rs256];

    fn settings(algorithm: Algorithm) -> TokenSettings {
        TokenSettings {
            access_ttl: Duration::from_secs(900),
            algorithm,
            audience: "http://localhost".to_owned(),
            issuer: "http://localhost".to_owned(),
        }
    }

    fn identity() -> Identity {
        Identity {
            authenticated_at: SystemTime::now(),
            credential: Credential::Bearer,
            email: "alice@example.com".parse().ok(),
            expires_at: None,
            name: "Alice".parse().expect("a name"),
            roles: BTreeSet::from(["staff".parse().expect("a role")]),
            session: None,
            user_id: UserId::generate(),
            username: "alice".parse().expect("a username"),
        }
    }

    fn tokens(algorithm: Algorithm) -> (Tokens, SigningKey) {
        let key = generate_key(algorithm, SystemTime::now());
        (Tokens::new(settings(algorithm), std::slice::from_ref(&key)).expect("a usable key"), key)
    }

    /// A token with this header and these claims, signed by this key.
    fn forge(tokens: &Tokens, key: &SigningKey, change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let algorithm = Algorithm::from_name(&key.algorithm).expect("an algorithm");
        let good = tokens.issue(&identity(), SystemTime::now());
        let mut parts = good.expose_secret().split('.');
        let mut part = || -> Value {
            let bytes = URL_SAFE_NO_PAD.decode(parts.next().expect("a part")).expect("base64url");
            serde_json::from_slice(&bytes).expect("JSON")
        };
        let (mut header, mut claims) = (part(), part());
        change(&mut header, &mut claims);
        let input = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let private = encoding_key(algorithm, key.private.expose_secret()).expect("a key");
        let signature =
            jsonwebtoken::crypto::sign(input.as_bytes(), &private, algorithm.library()).expect("a signature");
        format!("{input}.{signature}")
    }

    fn accepts(tokens: &Tokens, token: &str) -> bool {
        tokens.verify(token.as_bytes(), SystemTime::now()).is_ok()
    }

    #[test]
    fn every_algorithm_issues_what_it_verifies_and_publishes_no_secret() {
        for algorithm in ALL {
            let (tokens, key) = tokens(algorithm);
            let alice = identity();
            let token = tokens.issue(&alice, SystemTime::now());
            let claims =
                tokens.verify(token.expose_secret().as_bytes(), SystemTime::now()).expect("a good token");
            assert_eq!(claims.user_id, alice.user_id);
            let jwks: Value = serde_json::from_str(&tokens.jwks()).expect("JSON");
            let keys = jwks["keys"].as_array().expect("an array");
            assert_eq!(keys.len(), usize::from(algorithm != Algorithm::Hs256), "{algorithm}");
            for jwk in keys {
                assert_eq!((jwk["kid"].as_str(), jwk["use"].as_str()), (Some(key.kid.as_str()), Some("sig")));
                assert!(jwk.get("d").is_none() && jwk.get("k").is_none(), "{jwk}");
            }
        }
    }

    #[test]
    fn a_forged_token_is_refused() {
        for algorithm in ALL {
            let (tokens, key) = tokens(algorithm);
            assert!(
                accepts(&tokens, &forge(&tokens, &key, |_, _| {})),
                "{algorithm}: the forger itself is sound"
            );
            let hour_ago = since_1970(SystemTime::now()).as_secs() - 3600;
            type Change = fn(&mut Value, &mut Value, u64);
            let changes: [(&str, Change); 19] = [
                ("alg none", |h, _, _| h["alg"] = json!("none")),
                ("alg of another key", |h, _, _| {
                    h["alg"] = json!(if h["alg"] == "HS256" { "EdDSA" } else { "HS256" })
                }),
                ("crit", |h, _, _| h["crit"] = json!(["exp"])),
                ("jku", |h, _, _| h["jku"] = json!("https://evil.test/jwks")),
                ("jwk", |h, _, _| h["jwk"] = json!({"kty": "oct", "k": "AA"})),
                ("b64", |h, _, _| h["b64"] = json!(false)),
                ("unknown kid", |h, _, _| h["kid"] = json!("../../dev/null")),
                ("no kid", |h, _, _| drop(h.as_object_mut().expect("an object").remove("kid"))),
                ("typ JWT", |h, _, _| h["typ"] = json!("JWT")),
                ("expired", |_, c, hour_ago| c["exp"] = json!(hour_ago)),
                ("no exp", |_, c, _| drop(c.as_object_mut().expect("an object").remove("exp"))),
                ("no sub", |_, c, _| drop(c.as_object_mut().expect("an object").remove("sub"))),
                ("no aud", |_, c, _| drop(c.as_object_mut().expect("an object").remove("aud"))),
                ("no iss", |_, c, _| drop(c.as_object_mut().expect("an object").remove("iss"))),
                ("another aud", |_, c, _| c["aud"] = json!("http://elsewhere")),
                ("another iss", |_, c, _| c["iss"] = json!("http://elsewhere")),
                ("aud as a list", |_, c, _| c["aud"] = json!(["http://localhost"])),
                ("an unknown claim", |_, c, _| c["cnf"] = json!({})),
                ("iat moved", |_, c, hour_ago| c["iat"] = json!(hour_ago)),
            ];
            for (name, change) in changes {
                let token = forge(&tokens, &key, |header, claims| change(header, claims, hour_ago));
                assert!(!accepts(&tokens, &token), "{algorithm}: {name}");
            }
        }
    }

    #[test]
    fn a_mangled_token_is_refused() {
        for algorithm in ALL {
            let (tokens, _) = tokens(algorithm);
            let good = tokens.issue(&identity(), SystemTime::now());
            let good = good.expose_secret();
            let (input, signature) = good.rsplit_once('.').expect("a signature");
            let zero =
                URL_SAFE_NO_PAD.encode(vec![0; URL_SAFE_NO_PAD.decode(signature).expect("base64url").len()]);
            let mut bad = vec![
                format!("{input}."),
                input.to_owned(),
                format!("{input}.{zero}"),
                format!("{good}="),
                format!("{good}."),
                format!(" {good}"),
                format!("{good}\n"),
                good[..good.len() - 1].to_owned(),
                good[..good.len() / 2].to_owned(),
                good.replacen('.', "..", 1),
                ".".repeat(20_000),
                "x".repeat(MAX_TOKEN + 1),
                String::new(),
            ];
            // The last character's spare bits: the same signature in another spelling.
            let last = good.chars().last().expect("a character");
            let twin = char::from(last as u8 ^ 1);
            if twin.is_ascii_alphanumeric() {
                bad.push(format!("{}{twin}", &good[..good.len() - 1]));
            }
            for token in bad {
                assert!(!accepts(&tokens, &token), "{algorithm}: {token:.60}");
            }
        }
    }

    #[test]
    fn a_doubled_member_is_refused() {
        let (tokens, key) = tokens(Algorithm::EdDsa);
        let sign = |header: &str, claims: &str| {
            let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
            let private = encoding_key(Algorithm::EdDsa, key.private.expose_secret()).expect("a key");
            let signature =
                jsonwebtoken::crypto::sign(input.as_bytes(), &private, jsonwebtoken::Algorithm::EdDSA);
            format!("{input}.{}", signature.expect("a signature"))
        };
        let (mut header, mut claims) = (String::new(), String::new());
        forge(&tokens, &key, |h, c| (header, claims) = (h.to_string(), c.to_string()));
        assert!(accepts(&tokens, &sign(&header, &claims)));
        let doubled = |json: &str, member: &str| json.replacen('{', &format!("{{{member},"), 1);
        assert!(!accepts(&tokens, &sign(&doubled(&header, r#""alg":"EdDSA""#), &claims)));
        assert!(!accepts(&tokens, &sign(&header, &doubled(&claims, r#""exp":99999999999"#))));
        assert!(!accepts(&tokens, &sign(&header, &doubled(&claims, r#""aud":"http://localhost""#))));
    }

    #[test]
    fn another_instances_key_is_refused() {
        let (ours, _) = tokens(Algorithm::EdDsa);
        let (theirs, _) = tokens(Algorithm::EdDsa);
        let token = theirs.issue(&identity(), SystemTime::now());
        assert!(!accepts(&ours, token.expose_secret()));
    }

    #[test]
    fn a_token_says_to_the_millisecond_when_it_was_made() {
        let (tokens, _) = tokens(Algorithm::EdDsa);
        let now =
            SystemTime::UNIX_EPOCH + Duration::from_millis(since_1970(SystemTime::now()).as_millis() as u64);
        let token = tokens.issue(&identity(), now);
        let claims = tokens.verify(token.expose_secret().as_bytes(), now).expect("a good token");
        assert_eq!(claims.issued_at, now);
    }
}
