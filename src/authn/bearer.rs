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
    /// Requests are let in up to here, for another clock may be behind ours; what they open ends with the token.
    pub accepted_until: SystemTime,
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
        let expires_at = SystemTime::UNIX_EPOCH + Duration::from_secs(claims.exp);
        Ok(VerifiedClaims {
            authenticated_at: SystemTime::UNIX_EPOCH + Duration::from_secs(claims.auth_time),
            expires_at,
            accepted_until: expires_at + LEEWAY,
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
mod tests;
