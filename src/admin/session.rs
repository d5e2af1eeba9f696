//! Sessions as they go over the admin socket: what is asked of them, and what is told.
//!
//! Callers: `admin` and, through it, `cli`. No cookie and no whole digest of one is in here, but for the mark between
//! two slices, which is no credential either.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::message::Moment;
use crate::account::Device;
use crate::identity::{UserId, Username};
use crate::store::{Digest, Session, ShortId, User};

/// Which sessions end.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum RevokeSessions {
    /// Everybody's, some at a time.
    All {
        /// Where those before ended.
        after: Option<SessionMark>,
    },
    /// One.
    One {
        /// As `session list` shows it.
        id: ShortId,
    },
    /// All of one account.
    Of {
        /// Whose.
        login: String,
    },
}

/// Between two slices of all sessions.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SessionMark {
    /// The digest of the last session before it.
    pub digest: [u8; 32],
    /// Whose that is.
    pub user: UserId,
}

impl From<crate::account::SessionMark> for SessionMark {
    fn from(mark: crate::account::SessionMark) -> Self {
        Self { digest: *mark.digest.as_bytes(), user: mark.user }
    }
}

impl From<SessionMark> for crate::account::SessionMark {
    fn from(mark: SessionMark) -> Self {
        Self { digest: Digest::from_bytes(mark.digest), user: mark.user }
    }
}

/// One session as administrators see it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SessionView {
    /// For `session revoke --id`; no credential.
    pub id: ShortId,
    /// Whose.
    pub username: Username,
    /// The browser and its system, or what it says of itself where that is not known.
    pub device: String,
    /// Where it was begun from.
    pub address: IpAddr,
    /// When the password was typed.
    pub signed_in_at: Moment,
    /// The last use that was written down; at most a quarter of an hour ago where it is in use.
    pub last_seen: Moment,
    /// It ends here, used or not.
    pub expires_at: Moment,
    /// Made with "remember me".
    pub remembered: bool,
    /// The browser's name for itself.
    pub user_agent: String,
}

impl SessionView {
    /// Of an account's session.
    pub fn new(user: &User, session: Session) -> Self {
        let device = match Device::of(&session.user_agent) {
            Device::Known { browser, system: Some(system) } => format!("{browser} on {system}"),
            Device::Known { browser, system: None } => browser.to_owned(),
            Device::Silent => String::new(),
            Device::Unknown(words) => words.to_owned(),
        };
        Self {
            address: session.client,
            device,
            expires_at: Moment(session.expires_at),
            id: session.digest.into(),
            last_seen: Moment(session.last_seen),
            remembered: session.remembered,
            signed_in_at: Moment(session.authenticated_at),
            user_agent: session.user_agent,
            username: user.username.clone(),
        }
    }
}

/// How many sessions an account has.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SessionSummary {
    /// Whose time is not over.
    pub count: usize,
    /// The last use of any of them.
    pub last_seen: Option<Moment>,
}
