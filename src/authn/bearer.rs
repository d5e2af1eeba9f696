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

use jsonwebtoken::{DecodingKey, EncodingKey, Validation};
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
use keys::{encoding_key, public_jwk};

/// How far two clocks may be apart.
pub(super) const LEEWAY: Duration = Duration::from_secs(30);

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

impl TokenFault {
    /// Whether a signature was looked at and is not the key's: what costs us something.
    pub(super) fn is_forgery(&self) -> bool {
        match self {
            Self::Refused(error) => *error.kind() == jsonwebtoken::errors::ErrorKind::InvalidSignature,
            Self::Algorithm | Self::Form | Self::Key => false,
        }
    }
}

/// Our keys, ready to sign and to verify with.
pub struct Tokens {
    by_kid: HashMap<String, VerifyKey>,
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
                DecodingKey::from_secret(stored.private.expose_secret())
            } else {
                let jwk = public_jwk(algorithm, &private, &stored.kid).map_err(|error| unusable(&error))?;
                let key = DecodingKey::from_jwk(&jwk).map_err(|error| unusable(&error))?;
                published.push(jwk);
                key
            };
            if algorithm == settings.algorithm {
                let header = token_header(algorithm, &stored.kid);
                signing.push(SignKey { from: stored.signs_from, header, key: private });
            }
            let validation = validation(&settings, algorithm);
            by_kid.insert(stored.kid.clone(), VerifyKey { algorithm, key, validation });
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

    /// Verifies form, key, signature and claims.
    pub fn verify(&self, token: &[u8], now: SystemTime) -> Result<VerifiedClaims, TokenFault> {
        let compact = Compact::split(token)?;
        let header = compact.header()?;
        let header: Header<'_> = serde_json::from_slice(&header).map_err(|_| TokenFault::Form)?;
        // RFC 9068 §4: anything but an access token is none here, whoever signed it.
        if header.typ != "at+jwt" {
            return Err(TokenFault::Form);
        }
        let key = self.by_kid.get(header.kid).ok_or(TokenFault::Key)?;
        if header.alg != key.algorithm.as_str() {
            return Err(TokenFault::Algorithm);
        }
        compact.check()?;
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
            id: AccessToken { family: claims.sid, jti: claims.jti.into() },
            issued_at,
            user_id: claims.sub,
        })
    }
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

#[cfg(test)]
mod tests;
