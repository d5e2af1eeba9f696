//! The claims of our own tokens, as they are written and as they are read.
//!
//! Callers: `bearer`.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::identity::{AccessToken, GrantId, UserId};

/// What a verified token says.
#[derive(Clone, Debug)]
pub struct VerifiedClaims {
    /// When the password was typed.
    pub authenticated_at: SystemTime,
    /// It ends here.
    pub expires_at: SystemTime,
    /// Requests are let in up to here, for another clock may be behind ours; what they open ends with the token.
    pub accepted_until: SystemTime,
    /// By what it may be revoked.
    pub id: AccessToken,
    /// When it was made, to the millisecond.
    pub issued_at: SystemTime,
    /// Whose it is.
    pub user_id: UserId,
}

/// RFC 9068 §2.2.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claims {
    pub(super) aud: String,
    pub(super) auth_time: u64,
    /// Where it may go into a cookie: what has to be sent beside that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) csrf: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) email: Option<String>,
    pub(super) exp: u64,
    pub(super) iat: u64,
    pub(super) iss: String,
    pub(super) jti: Uuid,
    pub(super) preferred_username: String,
    pub(super) roles: Vec<String>,
    /// The login that refresh tokens keep going.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sid: Option<GrantId>,
    pub(super) sub: UserId,
}

/// A UUIDv7 of this moment (RFC 9562 §5.7).
pub(super) fn jti(millis: u64) -> Uuid {
    let mut random = [0; 10];
    getrandom::fill(&mut random).expect("the operating system gives random bytes");
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

/// What is sent beside a cookie, by who can read another one.
pub(super) fn double() -> String {
    Uuid::new_v4().to_string()
}

pub(super) fn issued_at(jti: Uuid) -> Option<SystemTime> {
    let (seconds, nanos) = jti.get_timestamp().filter(|_| jti.get_version_num() == 7)?.to_unix();
    Some(SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos))
}

pub(super) fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
