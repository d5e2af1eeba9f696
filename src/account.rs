//! What changes accounts and sessions: log in, log out, make, change, disable, set a password.
//!
//! Whoever ends a session here tells the authenticator in the same call, after the store has
//! answered, so that it holds from the next request on.
//!
//! Callers: `portal`, `admin` and `cli`; nobody else changes an account. How a password is verified
//! is `authn`'s, how it is kept is `store`'s.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use crate::authn::login::identity;
use crate::authn::{Authenticator, Ended, LoginFailure, session};
use crate::identity::{Credential, Identity, UserId, Username};
use crate::mail::{Language, Mailer};
use crate::password::{Busy, Strength, Weakness};
use crate::store::{Digest, Purpose, Session, SessionError, Store, StoreError, TokenError, User, UserError};
use crate::telemetry::audit::{self, About, Door, Event};

mod address;
mod administration;
mod backup;
mod device;
mod invitations;
mod keys;
mod own;
mod personal;
mod quota;
mod recovery;
mod registration;
mod sessions;
mod tokens;
mod transfer;

pub use address::{AddressError, AddressToConfirm};
pub use administration::{AccountChange, AccountError, NewAccount, NewPassword};
pub use device::Device;
pub use invitations::{InviteError, Invited, MemberInviteError, Sender};
pub use keys::KeyError;
pub use own::{OwnChangeError, Proof, SignedIn};
pub use personal::{MadePersonalToken, NewPersonalToken};
pub use recovery::{LinkError, LinkRequest};
pub use registration::{
    MembersInvite, NewPerson, NextStep, RegistrationError, RegistrationMode, RegistrationSettings,
};
pub use sessions::{SessionMark, SessionSlice};
pub use tokens::{IssuedToken, RefreshFailure, RevokeFailure};
pub use transfer::{ImportedAccount, NotImported};

use quota::Quota;

/// Bytes of a browser's name for itself that are kept.
const USER_AGENT: usize = 256;

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
    pub cookie: HeaderValue,
    /// Who it is.
    pub identity: Arc<Identity>,
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
    Store(#[from] StoreError),
    /// The policy refuses it; the sentence is for the person.
    #[error(transparent)]
    Weak(#[from] Weakness),
}

/// The accounts: every change of one goes through here. Cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    authenticator: Arc<Authenticator>,
    mailer: Mailer,
    quota: Quota,
    registration: Arc<RegistrationSettings>,
    /// The site's own name, the first word that somebody puts into a password for it.
    site: Arc<str>,
    store: Store,
}

impl Accounts {
    /// On the store that the authenticator reads; `site` is the host of `public_url`.
    pub fn new(
        store: Store,
        authenticator: Arc<Authenticator>,
        mailer: Mailer,
        registration: RegistrationSettings,
        site: &str,
    ) -> Self {
        let registration = Arc::new(registration);
        Self { authenticator, mailer, quota: Quota::default(), registration, site: site.into(), store }
    }

    /// Under other settings: what was counted so far stays.
    pub fn renewed(
        &self,
        authenticator: Arc<Authenticator>,
        registration: RegistrationSettings,
        site: &str,
    ) -> Self {
        let registration = Arc::new(registration);
        Self { authenticator, registration, site: site.into(), ..self.clone() }
    }

    /// Checks a name and a password and starts a session; the previous one ends.
    pub async fn log_in(&self, attempt: LoginAttempt<'_>) -> Result<LoggedIn, LoginFailure> {
        let LoginAttempt { login, now, password, previous, remember, source, user_agent } = attempt;
        let user = self.verify(Door::Login, source, login, password).await?;
        let settings = self.authenticator.sessions();
        let remembered = remember && settings.remember.is_some();
        let token = match self.start_session(&user, source, user_agent, remembered, now).await {
            Ok(token) => token,
            // Disabled, or its password changed, while what was typed was being checked: answered as if it
            // had been before.
            Err(SessionError::NoAccount | SessionError::OldLogin) => return Err(LoginFailure::Incorrect),
            Err(SessionError::Store(error)) => return Err(error.into()),
        };
        if let Some(previous) = previous {
            self.end_session(Digest::of(previous.as_bytes())).await?;
        }
        Ok(LoggedIn {
            cookie: session::set_cookie(settings, &token, remembered),
            identity: Arc::new(identity(&user, Credential::Session, now)),
        })
    }

    /// Keeps a session of somebody who has shown the password at this time; gives the cookie's value.
    async fn start_session(
        &self,
        user: &User,
        source: IpAddr,
        user_agent: &str,
        remembered: bool,
        now: SystemTime,
    ) -> Result<SecretString, SessionError> {
        let settings = self.authenticator.sessions();
        let longest = settings.remember.filter(|_| remembered);
        // A new token at each login, never one that the client brought along (no fixation).
        let token = session::mint();
        let kept = Session {
            authenticated_at: now,
            client: source,
            digest: Digest::of(token.expose_secret().as_bytes()),
            expires_at: now + longest.unwrap_or(settings.lifetime),
            idle_timeout: longest.unwrap_or(settings.idle_timeout),
            last_seen: now,
            remembered,
            user_agent: first_bytes(user_agent, USER_AGENT).to_owned(),
            user_id: user.id,
        };
        for digest in self.store.create_session(kept).await? {
            self.authenticator.ended(Ended::Session(digest));
        }
        Ok(token)
    }

    /// Ends the session of this cookie's value, everywhere and at once. Says whether it was there.
    pub async fn log_out(&self, cookie: &str) -> Result<bool, StoreError> {
        let digest = Digest::of(cookie.as_bytes());
        let session = self.store.session(digest)?;
        let was_there = self.end_session(digest).await?;
        if was_there && let Some(session) = session {
            self.record(Event::Logout, session.user_id);
        }
        Ok(was_there)
    }

    /// Says whether it was there.
    async fn end_session(&self, digest: Digest) -> Result<bool, StoreError> {
        let was_there = self.store.end_session(digest).await?;
        self.authenticator.ended(Ended::Session(digest));
        Ok(was_there)
    }

    /// Writes an event about an account down of which only the number is known.
    fn record(&self, event: Event, id: UserId) {
        match self.store.user(id) {
            Ok(Some(user)) => record(event, &user),
            // It went meanwhile, or can't be read: the number tells.
            Ok(None) | Err(_) => audit::record(event, About::Account(&id, "")),
        }
    }

    /// `Set-Cookie` that takes our cookie away.
    pub fn removal_cookie(&self) -> HeaderValue {
        session::remove_cookie(self.authenticator.sessions())
    }

    /// Whose one-time link this is, if it is still good: for the page that asks for the new password.
    pub fn password_link(&self, token: &str, now: SystemTime) -> Result<Username, TokenError> {
        self.linked_user(token, now).map(|user| user.username)
    }

    /// Sets a password by a one-time link: once; all sessions of the account end.
    pub async fn set_password_by_link(
        &self,
        token: &str,
        password: SecretString,
        now: SystemTime,
    ) -> Result<(), SetPasswordError> {
        let user = self.linked_user(token, now)?;
        let had_one = user.password_hash.is_some();
        let hash = self.hash(&user, password).await??;
        let user = self.store.set_password_with_token(Digest::of(token.as_bytes()), hash, now).await?;
        self.authenticator.ended(Ended::User(user.id));
        record(Event::PasswordReset, &user);
        if had_one {
            self.tell_password_changed(&user).await;
        }
        Ok(())
    }

    fn linked_user(&self, token: &str, now: SystemTime) -> Result<User, TokenError> {
        let token = self.store.one_time_token(Digest::of(token.as_bytes()), now)?;
        match token.purpose {
            Purpose::SetPassword => self.store.user(token.user_id)?.ok_or(TokenError::Invalid),
            Purpose::ConfirmEmail | Purpose::ConfirmNewEmail(_) => Err(TokenError::Invalid),
        }
    }

    async fn verify(
        &self,
        door: Door,
        source: IpAddr,
        login: &str,
        password: SecretString,
    ) -> Result<User, LoginFailure> {
        self.authenticator.login().verify(door, source, login, password).await
    }

    /// How strong a password would be; `context` has the names that go with it.
    pub async fn judge(&self, password: SecretString, mut context: Vec<String>) -> Result<Strength, Busy> {
        context.push(self.site.to_string());
        self.authenticator.login().passwords().judge(password, context).await
    }

    /// Hashes a password that the policy takes for this account.
    async fn hash(
        &self,
        user: &User,
        password: SecretString,
    ) -> Result<Result<SecretString, Weakness>, Busy> {
        let mut context = vec![user.username.to_string(), user.name.as_str().to_owned()];
        context.extend(user.email.as_ref().map(ToString::to_string));
        self.hash_for(context, password).await
    }

    /// Hashes a password that the policy takes for somebody whom these words are about.
    async fn hash_for(
        &self,
        mut context: Vec<String>,
        password: SecretString,
    ) -> Result<Result<SecretString, Weakness>, Busy> {
        context.push(self.site.to_string());
        self.authenticator.login().passwords().hash(password, context).await
    }
}

impl From<Busy> for SetPasswordError {
    fn from(Busy: Busy) -> Self {
        Self::Busy
    }
}

impl From<TokenError> for SetPasswordError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Invalid => Self::InvalidLink,
            TokenError::Store(error) => Self::Store(error),
        }
    }
}

/// In which language somebody's mails are, where we know it.
fn language_of(user: &User) -> Option<Language> {
    user.language.as_deref().and_then(Language::parse)
}

/// Writes an event about an account down.
fn record(event: Event, user: &User) {
    audit::record(event, About::Account(&user.id, user.username.as_str()));
}

/// As much of a text as fits, cut between two characters.
fn first_bytes(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}
