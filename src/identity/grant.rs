//! The names of what Foregate has granted: one access token, or a login that is kept by refresh tokens.
//!
//! Callers: everybody above, by way of `identity`. A name is no credential; both are signed into access tokens.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One access token (its `jti`), or a family of refresh tokens with every access token that came of it (their `sid`).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct GrantId(Uuid);

impl GrantId {
    /// From its sixteen bytes, as the store keeps it.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Its sixteen bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl From<Uuid> for GrantId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an access token of ours can end with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AccessToken {
    /// The family that it came of, where its client got a refresh token as well.
    pub family: Option<GrantId>,
    /// Its own name.
    pub jti: GrantId,
}

impl AccessToken {
    /// Whether it ends with this.
    pub fn is_of(&self, ended: GrantId) -> bool {
        self.jti == ended || self.family == Some(ended)
    }
}
