//! What changes accounts and sessions: log in, log out, make, change, disable, set a password.
//!
//! Whoever ends a session here invalidates the cache in the same call, so that it holds from the
//! next request on.
//!
//! Callers: `portal`, `admin` and `cli`; nobody else changes an account. How a password is verified
//! is `authn`'s, how it is kept is `store`'s.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use secrecy::SecretString;

use crate::identity::Identity;

/// One try to sign in.
pub struct LoginAttempt<'a> {
    /// A name or an address, as typed; blanks around it don't count.
    pub login: &'a str,
    /// When.
    pub now: SystemTime,
    /// As typed, blanks included.
    pub password: SecretString,
    /// Our cookie's value as the browser showed it: that session ends when the new one starts.
    pub previous: Option<&'a str>,
    /// "Remember me" is ticked.
    pub remember: bool,
    /// The client's address, for the throttle and the list of sessions.
    pub source: IpAddr,
    /// The browser's name for itself.
    pub user_agent: &'a str,
}

/// Somebody who has just signed in.
#[derive(Debug)]
pub struct LoggedIn {
    /// The whole value of `Set-Cookie`, marked sensitive.
    pub cookie: http::HeaderValue,
    /// Who it is.
    pub identity: Arc<Identity>,
}

/// An access token, freshly made.
#[derive(Debug)]
pub struct IssuedToken {
    /// The JWT.
    pub access_token: SecretString,
    /// How long it lives.
    pub expires_in: Duration,
}

/// Why nobody was signed in.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoginError {
    /// More hashes wait than the queue holds.
    #[error("too many passwords are being checked")]
    Busy,
    /// Unknown, wrong, without a password or disabled: one answer, and the same work.
    #[error("incorrect username or password")]
    Incorrect,
    /// Too many failures from this source.
    #[error("too many failed logins; try again in {} s", retry_after.as_secs())]
    Limited {
        /// When to try again.
        retry_after: Duration,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}

/// The accounts: every change of one goes through here.
#[derive(Clone)]
pub struct Accounts {
    _inner: Arc<()>,
}

impl Accounts {
    /// Checks a name and a password and starts a session; the previous one ends.
    pub async fn log_in(&self, attempt: LoginAttempt<'_>) -> Result<LoggedIn, LoginError> {
        let _ = attempt;
        unimplemented!()
    }

    /// Ends the session of this cookie's value, everywhere and at once.
    pub async fn log_out(&self, cookie: &str) -> Result<(), crate::store::StoreError> {
        let _ = cookie;
        unimplemented!()
    }

    /// `Set-Cookie` that takes our cookie away.
    pub fn removal_cookie(&self) -> http::HeaderValue {
        unimplemented!()
    }

    /// Checks a name and a password and makes an access token. `remember`, `previous` and `user_agent` are of no account.
    pub async fn issue_token(&self, attempt: LoginAttempt<'_>) -> Result<IssuedToken, LoginError> {
        let _ = attempt;
        unimplemented!()
    }

    /// The public keys of our tokens, RFC 7517, as JSON.
    pub fn jwks(&self) -> Arc<str> {
        unimplemented!()
    }

    /// Whether the one-time link is still good, for the page that asks for the new password; gives the account's name.
    pub fn password_link(
        &self,
        token: &str,
        now: SystemTime,
    ) -> Result<crate::identity::Username, crate::store::TokenError> {
        let _ = (token, now);
        unimplemented!()
    }

    /// Sets a password by a one-time link: once; all sessions of the account end.
    pub async fn set_password_by_link(
        &self,
        token: &str,
        password: SecretString,
        now: SystemTime,
    ) -> Result<(), SetPasswordError> {
        let _ = (token, password, now);
        unimplemented!()
    }
}

/// Why a password was not set.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SetPasswordError {
    /// More hashes wait than the queue holds.
    #[error("too many passwords are being checked")]
    Busy,
    /// The link is unknown, used or expired.
    #[error("this link is not valid any more")]
    InvalidLink,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The policy refuses it; the sentence is for the person.
    #[error("{0}")]
    Weak(String),
}
