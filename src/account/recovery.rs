//! Links by mail for people who can't sign in: a new password, or the confirmation once more.
//!
//! Who asks is told the same in the same time, whether or not there is such an account: where there is none,
//! as much is written to the store, and no mail is sent. The rest is the same.
//!
//! Callers: `portal`.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret, SecretString};

use super::quota::Errand;
use super::registration::CONFIRMATION_LIFETIME;
use super::{Accounts, Digest, Purpose, StoreError, TokenError, User, language_of, record, session};
use crate::identity::Email;
use crate::mail::{Kind, Language, Mail, Message};
use crate::store::{OneTimeToken, Standing};
use crate::telemetry::audit::{self, About, Event};

/// How long the link lives that sets a forgotten password.
const RESET_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// Who asks for a link.
#[derive(Clone, Copy, Debug)]
pub struct LinkRequest {
    /// In which language they read.
    pub language: Language,
    /// When.
    pub now: SystemTime,
    /// The client's address, for the quota.
    pub source: IpAddr,
}

/// Why nobody can say whether a link was sent. It is the same for every address.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LinkError {
    /// Too many from this source.
    #[error("too many links were asked for; try again in {} s", retry_after.as_secs())]
    Limited {
        /// When to try again.
        retry_after: Duration,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// Sends a link with which a forgotten password is set anew to this address, if an account has it.
    pub async fn send_reset_link(&self, email: &Email, request: LinkRequest) -> Result<(), LinkError> {
        self.count_link(request)?;
        let found = self.store.user_by_login(email.as_str())?.filter(|user| !user.disabled);
        match &found {
            Some(user) => record(Event::PasswordResetAsked, user),
            None => audit::record(Event::PasswordResetAsked, About::Unknown),
        }
        let found = found.filter(|_| self.mailer.takes(email, Kind::ResetPassword));
        let links = self.mailer.links();
        let message = |token: &SecretString, username| Message::ResetPassword {
            lifetime: RESET_LIFETIME,
            link: links.reset(token),
            username,
        };
        self.send_link(found, email, RESET_LIFETIME, Purpose::SetPassword, message, request).await
    }

    /// Sends the link once more with which a new account confirms its address, if the account with this name waits for that.
    pub async fn send_confirmation_link(&self, login: &str, request: LinkRequest) -> Result<(), LinkError> {
        self.count_link(request)?;
        // By an address whoever has registered with it, as at the login.
        let found = match self.store.newcomer(login.trim())? {
            Some(newcomer) => Some(newcomer),
            None => self.store.user_by_login(login.trim())?,
        };
        let mut found = found.filter(|user| user.standing() == Standing::Unconfirmed);
        if let Some(user) = &mut found
            && user.email.is_none()
        {
            // Where nobody has confirmed it yet, whoever asks may.
            user.email = self.store.contended_address(user)?;
        }
        let found = found.and_then(|user| {
            // What stands in for a taken address gets a new link as well, or it would go before others do; nobody is
            // sent it.
            let email = user.email.clone().unwrap_or_else(nobody);
            self.mailer.takes(&email, Kind::ConfirmAddress).then_some((user, email))
        });
        let (found, email) = found.map_or((None, nobody()), |(user, email)| (Some(user), email));
        let links = self.mailer.links();
        let message =
            |token: &SecretString, username| Message::ConfirmAddress { link: links.confirm(token), username };
        self.send_link(found, &email, CONFIRMATION_LIFETIME, Purpose::ConfirmEmail, message, request).await
    }

    fn count_link(&self, request: LinkRequest) -> Result<(), LinkError> {
        let counted = self.quota.take(Errand::Link, request.source, self.registration.per_ip);
        counted.map_err(|retry_after| LinkError::Limited { retry_after })
    }

    /// Makes a link and a mail with it. For nobody as much is written, and nothing is sent.
    async fn send_link(
        &self,
        user: Option<User>,
        to: &Email,
        lifetime: Duration,
        purpose: Purpose,
        message: impl FnOnce(&SecretString, crate::identity::Username) -> Message,
        request: LinkRequest,
    ) -> Result<(), LinkError> {
        let token = session::mint();
        let known = user.as_ref().is_some_and(|user| user.email.is_some());
        let (kept, username, language) = match user {
            Some(user) => {
                let kept = OneTimeToken {
                    digest: Digest::of(token.expose_secret().as_bytes()),
                    expires_at: request.now + lifetime,
                    purpose,
                    user_id: user.id,
                };
                let language = language_of(&user);
                (self.store.create_one_time_token(kept).await, user.username, language)
            }
            None => {
                let nobody = "nobody".parse().expect("a username");
                (self.store.pretend_one_time_token().await, nobody, None)
            }
        };
        let mail = Mail {
            language: language.unwrap_or(request.language),
            message: message(&token, username),
            to: to.clone(),
        };
        match kept {
            Ok(()) if known => self.mailer.send(mail).await?,
            // Disabled or deleted just now.
            Ok(()) | Err(TokenError::Invalid) => self.mailer.pretend(mail).await?,
            Err(TokenError::Store(error)) => return Err(error.into()),
        }
        Ok(())
    }

    /// Tells somebody that their password was changed, in case it was not them.
    pub(super) async fn tell_password_changed(&self, user: &User) {
        let Some(to) = user.email.clone().filter(|_| self.sends_mail()) else { return };
        let message = Message::PasswordChanged {
            forgot_link: self.mailer.links().forgot(),
            username: user.username.clone(),
        };
        let language = language_of(user).unwrap_or_default();
        self.post(Some(Mail { language, message, to })).await;
    }
}

/// Where no mail goes.
fn nobody() -> Email {
    "nobody@example.invalid".parse().expect("an address")
}
