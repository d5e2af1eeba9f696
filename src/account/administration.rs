//! What an administrator does to accounts: make, show, change, disable, delete.
//!
//! Callers: `admin` and `cli`, through `Accounts`. The person's own changes are elsewhere.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret, SecretString};

use super::{
    Accounts, Busy, Digest, Ended, Event, Purpose, StoreError, TokenError, User, UserError, Username,
    Weakness, record,
};
use crate::authn::session;
use crate::identity::{DisplayName, Email, Role, UnfitUsername};
use crate::mail::{Mail, Message};
use crate::password::{UnusableHash, check_hash};
use crate::store::{DamagedAccount, EndSessions, NewUser, OneTimeToken, TriedAccount, UserChange};
use crate::telemetry::audit::{self, About};

/// How long the link lives with which a new person sets a password.
const LINK_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// An account to make.
pub struct NewAccount {
    /// Its address, if it has one.
    pub email: Option<Email>,
    /// For display.
    pub name: DisplayName,
    /// How it gets its password.
    pub password: NewPassword,
    /// Its roles.
    pub roles: BTreeSet<Role>,
    /// Its login name.
    pub username: Username,
}

/// How a new account gets its password.
pub enum NewPassword {
    /// A hash from elsewhere.
    Hash(SecretString),
    /// The person sets one, by a link.
    Link,
    /// This one, if the policy takes it.
    Plain(SecretString),
}

/// What to change of an account; `None` leaves a field as it is.
#[derive(Default)]
pub struct AccountChange {
    /// A new address.
    pub email: Option<Email>,
    /// For display.
    pub name: Option<DisplayName>,
    /// A new password, if the policy takes it. All sessions end.
    pub password: Option<SecretString>,
    /// The whole new set.
    pub roles: Option<BTreeSet<Role>>,
}

/// Why an account was not made or changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AccountError {
    /// More hashes wait than the queue holds.
    #[error("too many passwords are being hashed; try again in a moment")]
    Busy,
    /// It can't be imported.
    #[error(transparent)]
    Hash(#[from] UnusableHash),
    /// No new account gets this name.
    #[error(transparent)]
    Unfit(#[from] UnfitUsername),
    /// The store, or another account in the way.
    #[error(transparent)]
    User(#[from] UserError),
    /// The policy refuses the password.
    #[error(transparent)]
    Weak(#[from] Weakness),
}

impl Accounts {
    /// Makes an account; gives the token of its link where the person is to set the password.
    pub async fn add(
        &self,
        new: NewAccount,
        now: SystemTime,
    ) -> Result<(User, Option<SecretString>), AccountError> {
        new.username.fits_basic()?;
        let mut account = NewUser {
            awaits_approval: false,
            awaits_confirmation: false,
            created_at: now,
            disabled: false,
            email: new.email,
            email_is_proven: true,
            language: None,
            name: new.name,
            password_hash: None,
            roles: new.roles,
            username: new.username,
        };
        match new.password {
            NewPassword::Link => {
                let user = self.store.create_user(account).await?;
                record(Event::AccountAdded, &user);
                let link = self.make_link(&user, now).await?;
                return Ok((user, Some(link)));
            }
            NewPassword::Hash(hash) => {
                check_hash(&hash)?;
                account.password_hash = Some(hash);
            }
            NewPassword::Plain(password) => {
                let mut context = vec![account.username.to_string(), account.name.as_str().to_owned()];
                context.extend(account.email.as_ref().map(ToString::to_string));
                let hashed = self.hash_for(context, password).await;
                account.password_hash = Some(hashed.map_err(|Busy| AccountError::Busy)??);
            }
        }
        let user = self.store.create_user(account).await?;
        record(Event::AccountAdded, &user);
        Ok((user, None))
    }

    /// The account with this name or address.
    pub fn find(&self, login: &str) -> Result<User, UserError> {
        self.store.user_by_login(login.trim())?.ok_or(UserError::NotFound)
    }

    /// All accounts in the order of their names, a page at a time, with those that can't be read in their places.
    pub async fn page(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<Result<User, DamagedAccount>>, StoreError> {
        self.store.users(after, limit).await
    }

    /// Changes an account: what its sessions and tokens may do changes with the next request.
    pub async fn change(
        &self,
        login: &str,
        change: AccountChange,
        now: SystemTime,
    ) -> Result<User, AccountError> {
        let user = self.find(login)?;
        let mut stored = UserChange { name: change.name, roles: change.roles, ..UserChange::default() };
        stored.email = change.email.map(Some);
        if let Some(password) = change.password {
            let hash = self.hash(&user, password).await.map_err(|Busy| AccountError::Busy)??;
            stored.password = Some((hash, now));
            stored.sessions = EndSessions::All;
        }
        let password = stored.password.is_some();
        let others = stored.email.is_some() || stored.name.is_some() || stored.roles.is_some();
        let user = self.apply(user.id, stored).await?;
        if password {
            record(Event::PasswordChanged, &user);
        }
        if others {
            record(Event::AccountChanged, &user);
        }
        Ok(user)
    }

    /// Disables an account, which ends all its sessions and tokens, or enables it again.
    pub async fn set_disabled(&self, login: &str, disabled: bool) -> Result<User, UserError> {
        let user = self.find(login)?;
        let sessions = if disabled { EndSessions::All } else { EndSessions::None };
        let change = UserChange { disabled: Some(disabled), sessions, ..UserChange::default() };
        let user = self.apply(user.id, change).await?;
        record(if disabled { Event::AccountDisabled } else { Event::AccountEnabled }, &user);
        Ok(user)
    }

    /// Clears the failed logins at an account, whatever their source and whether they were made by its name or its address.
    pub async fn unlock(&self, login: &str) -> Result<User, UserError> {
        let user = self.find(login)?;
        let mut tried = vec![TriedAccount::Known(user.id)];
        let wanted = || self.store.contended_address(&user);
        if let Some(address) = user.email.clone().map_or_else(wanted, |email| Ok(Some(email)))? {
            // As `authn::login` counts by an address: as nobody's while nobody has confirmed it, and at whoever has
            // registered with it last, besides.
            let folded = address.folded();
            tried.push(TriedAccount::Unknown(Digest::of(folded.as_bytes())));
            tried.extend(self.store.newcomer(&folded)?.map(|newcomer| TriedAccount::Known(newcomer.id)));
        }
        for account in tried {
            self.authenticator.login().throttle().clear(account).await?;
        }
        record(Event::AccountUnlocked, &user);
        Ok(user)
    }

    /// Lets in an account that waits for that, and tells its person. One that doesn't wait stays as it is.
    pub async fn approve(&self, login: &str) -> Result<User, UserError> {
        let user = self.find(login)?;
        if !user.awaits_approval {
            return Ok(user);
        }
        let user = self.apply(user.id, UserChange { approved: true, ..UserChange::default() }).await?;
        record(Event::AccountApproved, &user);
        // Whose address is still to be confirmed can't sign in yet, and is not told so.
        if let Some(to) = user.email.clone().filter(|_| user.may_sign_in() && self.sends_mail()) {
            let login_link = self.mailer.links().login();
            let message = Message::Approved { login_link, username: user.username.clone() };
            let language = super::language_of(&user).unwrap_or_default();
            self.post(Some(Mail { language, message, to })).await;
        }
        Ok(user)
    }

    /// Deletes an account with everything that hangs on it.
    pub async fn delete(&self, login: &str) -> Result<User, UserError> {
        let user = self.find(login)?;
        let user = self.store.delete_user(user.id).await?;
        self.authenticator.ended(Ended::User(user.id));
        record(Event::AccountDeleted, &user);
        Ok(user)
    }

    /// The account with this name or address, where it is there and can't be read.
    pub fn damaged(&self, login: &str) -> Result<Option<DamagedAccount>, StoreError> {
        self.store.damaged_user(login.trim())
    }

    /// Deletes an account that can't be read with everything that hangs on it.
    pub async fn delete_damaged(&self, account: &DamagedAccount) -> Result<bool, StoreError> {
        let was_there = self.store.delete_damaged_user(account.id).await?;
        self.authenticator.ended(Ended::User(account.id));
        if was_there {
            audit::record(Event::AccountDeleted, About::Account(&account.id, &account.name));
        }
        Ok(was_there)
    }

    async fn apply(&self, id: crate::identity::UserId, change: UserChange) -> Result<User, UserError> {
        let user = self.store.change_user(id, change).await?;
        self.authenticator.ended(Ended::User(id));
        Ok(user)
    }

    async fn make_link(&self, user: &User, now: SystemTime) -> Result<SecretString, UserError> {
        let token = session::mint();
        let kept = OneTimeToken {
            digest: Digest::of(token.expose_secret().as_bytes()),
            expires_at: now + LINK_LIFETIME,
            purpose: Purpose::SetPassword,
            user_id: user.id,
        };
        match self.store.create_one_time_token(kept).await {
            Ok(()) => Ok(token),
            Err(TokenError::Invalid) => Err(UserError::NotFound),
            Err(TokenError::Store(error)) => Err(error.into()),
        }
    }
}
