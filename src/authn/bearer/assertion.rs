//! The signed assertion: what an upstream is told about somebody, so that it can verify who says it.
//!
//! It is a JWT for one upstream and for a minute. Its `typ` is its own, so that it is no access token
//! anywhere. One goes with many requests, so it has no `jti`: a backend that takes each only once would
//! refuse the second request.
//!
//! Callers: `authn::assertion`.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::Tokens;
use super::claims::since_1970;
use crate::identity::Identity;

/// How long one is good.
pub const LIFETIME: Duration = Duration::from_secs(60);

#[derive(Serialize)]
struct Assertion<'a> {
    aud: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    exp: u64,
    iat: u64,
    iss: &'a str,
    preferred_username: &'a str,
    roles: Vec<&'a str>,
    sub: String,
}

impl Tokens {
    /// Signs what this upstream is told about somebody.
    pub fn assertion(&self, identity: &Identity, upstream: &str, now: SystemTime) -> String {
        let iat = since_1970(now).as_secs();
        let claims = Assertion {
            aud: upstream,
            email: identity.email.as_ref().map(|email| email.as_str()),
            exp: iat + LIFETIME.as_secs(),
            iat,
            iss: &self.settings.issuer,
            preferred_username: identity.username.as_str(),
            roles: identity.roles.iter().map(|role| role.as_str()).collect(),
            sub: identity.principal.to_string(),
        };
        let signing = self.signing_at(now);
        let mut header = signing.header.clone();
        header.typ = Some("assertion+jwt".to_owned());
        jsonwebtoken::encode(&header, &claims, &signing.key).expect("a key that could be read signs")
    }
}
