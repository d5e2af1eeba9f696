//! Checking a name and a password: the one way for every door, with the throttle in front.
//!
//! Unknown, wrong, without a password and disabled are one answer after the same work. That an account waits
//! for something is told once the password was right.
//!
//! An address can mean two accounts: its owner's, and that of somebody who has registered with it and not confirmed it.
//! Whoever registers with an address of somebody else must not learn whether that has an account, so it makes no
//! difference: what isn't the owner's password is tried at the newcomer's, and for want of either at nobody's, so that
//! the time doesn't tell; what fails counts at both. The newcomer's right one is told to confirm, under the address as
//! under the name; it counts as a failure at the owner's, or who registers with an address and a guess as password
//! could try that at the owner's unnoticed. Where there is no owner it counts all the same, for that must not show.
//!
//! Callers: `authn` for Basic, `account` for the form and the token endpoint. No session is made here.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use secrecy::SecretString;

use super::throttle::{Attempt, LoginLimits, NotNow, Throttle};
use crate::identity::{Credential, Identity, Principal, fold};
use crate::password::{Busy, PasswordSettings, Passwords};
use crate::store::{Digest, Standing, Store, StoreError, TriedAccount, User};
use crate::telemetry::audit::{self, About, Door, Event};
use crate::telemetry::metrics::{Login, Metrics};

/// Why a name and a password did not do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoginFailure {
    /// More hashes wait than the queue holds.
    #[error("too many passwords are being checked")]
    Busy,
    /// Unknown, wrong, without a password or disabled.
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
    Store(#[from] StoreError),
    /// The password is right, and the address is not confirmed yet.
    #[error("the account's e-mail address is not confirmed yet")]
    Unconfirmed,
    /// The password is right, and an administrator has not let the account in yet.
    #[error("the account waits for an administrator's approval")]
    WaitingForApproval,
}

/// Who has registered with the address that was typed, and not confirmed it.
enum Newcomer {
    Is(Box<User>),
    /// Nobody, and it must not show.
    Nobody,
    /// A name was typed, or nobody has registered with any address.
    NotLookedFor,
}

/// A try that has begun.
struct Tried {
    attempt: Attempt,
    newcomer: Newcomer,
    /// Whose name or address was typed.
    user: Option<User>,
}

/// Checks names and passwords. Cheap to clone.
#[derive(Clone)]
pub struct PasswordLogin {
    metrics: Metrics,
    passwords: Passwords,
    store: Store,
    throttle: Throttle,
}

impl PasswordLogin {
    /// With its own counters of failures.
    pub fn new(store: Store, passwords: Passwords, throttle: Throttle, metrics: Metrics) -> Self {
        Self { metrics, passwords, store, throttle }
    }

    /// Under other settings: the failures counted so far stay.
    pub fn renewed(&self, passwords: PasswordSettings, limits: LoginLimits) -> Self {
        Self {
            metrics: self.metrics.clone(),
            passwords: match *self.passwords.settings() == passwords {
                true => self.passwords.clone(),
                false => Passwords::start(passwords),
            },
            store: self.store.clone(),
            throttle: self.throttle.with_limits(limits),
        }
    }

    /// The account whose name or address and password these are.
    pub async fn verify(
        &self,
        door: Door,
        source: IpAddr,
        login: &str,
        password: SecretString,
    ) -> Result<User, LoginFailure> {
        let verified = self.check(door, source, login, password).await;
        self.metrics.login(match &verified {
            Ok(_) => Login::Ok,
            Err(LoginFailure::Busy) => Login::Busy,
            Err(LoginFailure::Incorrect) => Login::Failed,
            Err(LoginFailure::Limited { .. }) => Login::Limited,
            Err(LoginFailure::Store(_)) => Login::Error,
            Err(LoginFailure::Unconfirmed | LoginFailure::WaitingForApproval) => Login::Waiting,
        });
        verified
    }

    /// Something else than a password that is shown with a name in Basic, and costs no hash: `find` says whether it is good.
    /// A failure counts as a wrong password does; a success clears nothing, or whoever has one would have
    /// endless tries at the password.
    pub async fn verify_otherwise<T>(
        &self,
        source: IpAddr,
        login: &str,
        find: impl FnOnce(&Store) -> Result<Option<T>, StoreError>,
    ) -> Result<T, LoginFailure> {
        let door = Door::Basic;
        let found = match self.begin(door, source, login.trim()).await {
            Ok(Tried { attempt, newcomer: _, user }) => match find(&self.store)? {
                Some(found) => Ok(found),
                None => {
                    attempt.failed();
                    record(door, Event::LoginFailed, user.as_ref());
                    Err(LoginFailure::Incorrect)
                }
            },
            Err(failure) => Err(failure),
        };
        match &found {
            Err(LoginFailure::Incorrect) => self.metrics.login(Login::Failed),
            Err(LoginFailure::Limited { .. }) => self.metrics.login(Login::Limited),
            // Nobody has logged in.
            Ok(_)
            | Err(
                LoginFailure::Busy
                | LoginFailure::Store(_)
                | LoginFailure::Unconfirmed
                | LoginFailure::WaitingForApproval,
            ) => {}
        }
        found
    }

    async fn check(
        &self,
        door: Door,
        source: IpAddr,
        login: &str,
        password: SecretString,
    ) -> Result<User, LoginFailure> {
        let Tried { attempt, newcomer, user } = self.begin(door, source, login.trim()).await?;
        let stored = user.as_ref().and_then(|user| user.password_hash.clone());
        let busy = |Busy| LoginFailure::Busy;
        let verified = self.passwords.verify(stored.clone(), password.clone()).await.map_err(busy)?;
        let Some(user) = user.as_ref().filter(|user| verified.matches && !user.disabled).cloned() else {
            if self.is_newcomers(newcomer, password).await.map_err(busy)? {
                attempt.failed_at_the_account_alone();
                record(door, Event::LoginFailed, user.as_ref());
                return Err(LoginFailure::Unconfirmed);
            }
            attempt.failed();
            record(door, Event::LoginFailed, user.as_ref());
            return Err(LoginFailure::Incorrect);
        };
        match user.standing() {
            Standing::Good | Standing::Disabled => {}
            Standing::Unconfirmed => return Err(LoginFailure::Unconfirmed),
            Standing::Waiting => return Err(LoginFailure::WaitingForApproval),
        }
        attempt.succeeded();
        record(door, Event::LoginOk, Some(&user));
        if let (Some(old), Some(new)) = (stored, verified.upgrade) {
            // Whether it is kept is of no account for this login: the old hash goes on working.
            if let Err(error) = self.store.upgrade_hash(user.id, old, new).await {
                tracing::warn!(user.id = %user.id, %error, "a better password hash was not kept");
            }
        }
        Ok(user)
    }

    /// Whether the password is that of a newcomer.
    async fn is_newcomers(&self, newcomer: Newcomer, password: SecretString) -> Result<bool, Busy> {
        let (hash, is_waiting) = match newcomer {
            Newcomer::NotLookedFor => return Ok(false),
            Newcomer::Nobody => (None, false),
            Newcomer::Is(user) => (user.password_hash.clone(), user.standing() == Standing::Unconfirmed),
        };
        Ok(self.passwords.verify(hash, password).await?.matches && is_waiting)
    }

    /// A try at the account of this name or address, once it is its turn.
    async fn begin(&self, door: Door, source: IpAddr, login: &str) -> Result<Tried, LoginFailure> {
        let folded = fold(login);
        let by_address = folded.contains('@');
        // An address is not its own before somebody has confirmed it.
        let user = self.store.user_by_login(login)?.filter(|user| !(by_address && user.is_unproven()));
        // Without any there is nobody to be told from, and no second hash is due.
        let newcomer = match by_address && self.store.has_newcomers()? {
            true => self.store.newcomer(login)?.map_or(Newcomer::Nobody, |user| Newcomer::Is(Box::new(user))),
            false => Newcomer::NotLookedFor,
        };
        let account = match &user {
            Some(user) => TriedAccount::Known(user.id),
            None => TriedAccount::Unknown(Digest::of(folded.as_bytes())),
        };
        let beside = match &newcomer {
            Newcomer::Is(user) => Some(TriedAccount::Known(user.id)),
            Newcomer::Nobody | Newcomer::NotLookedFor => None,
        };
        match self.throttle.begin(source, account, beside).await {
            Ok(attempt) => Ok(Tried { attempt, newcomer, user }),
            Err(NotNow::Braked(retry_after)) => {
                record(door, Event::LoginBraked, user.as_ref());
                Err(LoginFailure::Limited { retry_after })
            }
            Err(NotNow::Busy) => Err(LoginFailure::Busy),
        }
    }

    /// The counters.
    pub fn throttle(&self) -> &Throttle {
        &self.throttle
    }

    /// The figures, for the authenticator.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The hashing threads, for whoever sets a password.
    pub fn passwords(&self) -> &Passwords {
        &self.passwords
    }
}

/// Writes down what became of a try.
fn record(door: Door, event: Event, user: Option<&User>) {
    let about = user.map_or(About::Unknown, |user| About::Account(&user.id, user.username.as_str()));
    audit::record_at(door, event, about);
}

/// The identity of an account, as the store has it now.
pub fn identity(user: &User, credential: Credential, authenticated_at: SystemTime) -> Identity {
    Identity {
        access_token: None,
        authenticated_at,
        credential,
        email: user.email.clone(),
        expires_at: None,
        name: user.name.clone(),
        roles: user.roles.clone(),
        session: None,
        token: None,
        principal: Principal::Account(user.id),
        username: user.username.clone(),
    }
}
