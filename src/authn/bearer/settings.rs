//! What our own tokens say, and what they are signed with.
//!
//! Callers: `bearer`; `config` fills it in.

use std::fmt;
use std::time::Duration;

use super::OwnKey;
use crate::identity::TokenErrors;

/// What Foregate's own JWTs say (`tokens` in the configuration).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenSettings {
    /// How long an access token lives.
    pub access_ttl: Duration,
    /// What new tokens are signed with.
    pub algorithm: Algorithm,
    /// `aud`.
    pub audience: String,
    /// Whether a program in a browser may have its tokens in cookies.
    pub cookies: bool,
    /// In which words a program is told that its token does not do.
    pub errors: TokenErrors,
    /// `iss`.
    pub issuer: String,
    /// How long a key signs; `None`: until an administrator takes another.
    pub key_rotation: Option<Duration>,
    /// Keys of the operator's own, in place of those that we make: the first signs, all verify.
    pub keys: Vec<OwnKey>,
    /// How long a refresh token that was replaced may be shown again.
    pub refresh_grace: Duration,
    /// How long a login of a program can be refreshed; `None`: there are no refresh tokens.
    pub refresh_ttl: Option<Duration>,
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

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::EdDsa, Self::Es256, Self::Hs256, Self::Rs256].into_iter().find(|one| one.as_str() == name)
    }

    pub(super) fn library(self) -> jsonwebtoken::Algorithm {
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
