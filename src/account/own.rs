//! What people change of their own account while they are signed in.
//!
//! Who has only got hold of a session must not take the account over with it: what counts asks for
//! the present password once more, under the same throttle as a login.
//!
//! Callers: `portal`.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use secrecy::SecretString;

use super::{
    Accounts, Busy, Digest, Door, Ended, Event, LoginFailure, SessionError, StoreError, User, UserError,
    Weakness, language_of, record, session,
};
use crate::identity::{DisplayName, Identity, UserId};
use crate::mail::{Mail, Message};
use crate::store::{EndSessions, UserChange};

/// Somebody who is signed in to an account of ours, in a browser.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SignedIn {
    /// The browser's session.
    pub session: Digest,
    /// Whose.
    pub user: UserId,
}

impl SignedIn {
    /// `None` for who came otherwise than by a session of an account.
    pub fn of(identity: &Identity) -> Option<Self> {
        let session = Digest::from_bytes(*identity.session?.as_bytes());
        Some(Self { session, user: identity.account()? })
    }
}

/// A person's present password, typed again by somebody who has their session.
pub struct Proof {
    /// As typed, blanks included.
    pub password: SecretString,
    /// The client's address, for the throttle.
    pub source: IpAddr,
}

/// Why a change was not made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OwnChangeError {
    /// More hashes wait than the queue holds.
    #[error("too many passwords are being checked")]
    Busy,
    /// The account is not there any more, or its sessions have just ended.
    #[error("the account's session has ended")]
    Gone,
    /// That is not the present password.
    #[error("the present password is another")]
    Incorrect,
    /// Too many wrong passwords from this source.
    #[error("too many wrong passwords; try again in {} s", retry_after.as_secs())]
    Limited {
        /// When to try again.
        retry_after: Duration,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The policy refuses the new password.
    #[error(transparent)]
    Weak(#[from] Weakness),
}

impl Accounts {
    /// Whether this is the present password of the account; for what a session alone is not enough for.
    pub async fn confirm(&self, user: UserId, proof: Proof) -> Result<User, OwnChangeError> {
        let user = self.store.user(user)?.ok_or(OwnChangeError::Gone)?;
        let verified =
            self.verify(Door::Account, proof.source, user.username.as_str(), proof.password).await?;
        // The name may have become somebody else's in between.
        if verified.id == user.id { Ok(verified) } else { Err(OwnChangeError::Gone) }
    }

    /// Sets a new password. All sessions, tokens and links of the account end; the browser that asks goes
    /// on with a new cookie, for its present one may have been copied. Gives `Set-Cookie`.
    pub async fn change_own_password(
        &self,
        who: SignedIn,
        proof: Proof,
        new: SecretString,
        user_agent: &str,
        now: SystemTime,
    ) -> Result<HeaderValue, OwnChangeError> {
        let source = proof.source;
        let user = self.confirm(who.user, proof).await?;
        let present = self.store.session(who.session)?;
        let remembered = present.is_some_and(|session| session.remembered)
            && self.authenticator.sessions().remember.is_some();
        let hash = self.hash(&user, new).await??;
        let change = UserChange {
            // A password that an administrator has set meanwhile is not replaced by who knew the one before.
            credentials_since: Some(user.credentials_since),
            password: Some((hash, now)),
            sessions: EndSessions::All,
            ..UserChange::default()
        };
        let user = self.store.change_user(user.id, change).await?;
        self.authenticator.ended(Ended::User(user.id));
        record(Event::PasswordChanged, &user);
        self.tell_password_changed(&user).await;
        // Whoever has just typed the password is as fresh as after a login; not before what has made the
        // others void.
        let from = user.credentials_since.map_or(now, |since| since.max(now));
        match self.start_session(&user, source, user_agent, remembered, from).await {
            Ok(token) => Ok(session::set_cookie(self.authenticator.sessions(), &token, remembered)),
            // Changed once more, or disabled, at the same moment: they sign in again.
            Err(SessionError::NoAccount | SessionError::OldLogin) => Ok(self.removal_cookie()),
            Err(SessionError::Store(error)) => {
                // The password is set, and that is what has to be said.
                tracing::error!(user.id = %user.id, %error, "no session after a change of password");
                Ok(self.removal_cookie())
            }
        }
    }

    /// Whether this session was begun with "remember me".
    pub fn is_remembered(&self, who: SignedIn) -> Result<bool, StoreError> {
        Ok(self.store.session(who.session)?.is_some_and(|session| session.remembered))
    }

    /// The account as it is now.
    pub fn own(&self, who: SignedIn) -> Result<User, OwnChangeError> {
        self.store.user(who.user)?.ok_or(OwnChangeError::Gone)
    }

    /// Changes what the person is called.
    pub async fn rename_own(&self, who: SignedIn, name: DisplayName) -> Result<User, OwnChangeError> {
        let change = UserChange { name: Some(name), ..UserChange::default() };
        let user = self.store.change_user(who.user, change).await?;
        self.authenticator.ended(Ended::User(user.id));
        record(Event::AccountChanged, &user);
        Ok(user)
    }

    /// Deletes the account with everything that hangs on it.
    pub async fn delete_own(&self, who: SignedIn, proof: Proof) -> Result<User, OwnChangeError> {
        let user = self.confirm(who.user, proof).await?;
        let user = self.store.delete_user(user.id).await?;
        self.authenticator.ended(Ended::User(user.id));
        record(Event::AccountDeleted, &user);
        if let Some(to) = user.email.clone().filter(|_| self.sends_mail()) {
            let message = Message::AccountDeleted { username: user.username.clone() };
            let language = language_of(&user).unwrap_or_default();
            self.post(Some(Mail { language, message, to })).await;
        }
        Ok(user)
    }
}

impl From<Busy> for OwnChangeError {
    fn from(Busy: Busy) -> Self {
        Self::Busy
    }
}

impl From<LoginFailure> for OwnChangeError {
    fn from(failure: LoginFailure) -> Self {
        match failure {
            LoginFailure::Busy => Self::Busy,
            LoginFailure::Incorrect => Self::Incorrect,
            // Whoever waits for something has no session.
            LoginFailure::Unconfirmed | LoginFailure::WaitingForApproval => Self::Gone,
            LoginFailure::Limited { retry_after } => Self::Limited { retry_after },
            LoginFailure::Store(error) => Self::Store(error),
        }
    }
}

impl From<UserError> for OwnChangeError {
    fn from(error: UserError) -> Self {
        match error {
            UserError::NotFound => Self::Gone,
            UserError::Store(error) => Self::Store(error),
            // Nothing here claims a name or an address.
            UserError::EmailTaken | UserError::UsernameTaken => Self::Gone,
        }
    }
}
