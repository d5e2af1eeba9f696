//! Addresses: the link that confirms one, and the change to another.
//!
//! The old address holds until the new one is confirmed, and its owner is told twice: when the change is asked
//! for and when it has happened. Whether the new one belongs to somebody else is not told, except to them.
//! Where no mail can be sent nothing can be confirmed: the new address then holds at once.
//!
//! Callers: `portal`.

use std::time::{Duration, SystemTime};

use secrecy::ExposeSecret;

use super::quota::Errand;
use super::{
    Accounts, Digest, Ended, OwnChangeError, Proof, Purpose, SignedIn, TokenError, language_of, record,
    session,
};
use crate::identity::{Email, Username};
use crate::mail::{Kind, Language, Mail, Message};
use crate::store::{ConfirmError, Confirmed, OneTimeToken};
use crate::telemetry::audit::Event;

/// How long the link lives that confirms a changed address.
const CHANGE_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// What a link confirms, for the page that asks first.
#[derive(Clone, Debug)]
pub struct AddressToConfirm {
    /// The address.
    pub email: Email,
    /// It takes the place of another one.
    pub is_new: bool,
    /// Whose.
    pub username: Username,
}

/// Why the address was not changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AddressError {
    /// Addresses of this domain are not taken.
    #[error("addresses of this domain are not taken")]
    Domain,
    /// The password was not right, or the account is gone.
    #[error(transparent)]
    Own(#[from] OwnChangeError),
    /// No mail can be sent that would confirm it, and nobody gets an address that was not shown to be theirs: rules and
    /// applications go by it.
    #[error("no mail is sent here that would confirm an address")]
    NoMail,
    /// The account has it already.
    #[error("this is the account's address")]
    Same,
}

impl Accounts {
    /// What this link confirms, if it is still good. Changes nothing.
    pub fn address_to_confirm(&self, token: &str, now: SystemTime) -> Result<AddressToConfirm, ConfirmError> {
        let token = self.store.one_time_token(Digest::of(token.as_bytes()), now)?;
        let user = self.store.user(token.user_id)?.ok_or(ConfirmError::Invalid)?;
        let (email, is_new) = match token.purpose {
            Purpose::ConfirmEmail => {
                let contended = || self.store.contended_address(&user);
                let email = user.email.clone().map_or_else(contended, |email| Ok(Some(email)))?;
                (email.ok_or(ConfirmError::Invalid)?, false)
            }
            Purpose::ConfirmNewEmail(email) => (email, true),
            Purpose::SetPassword => return Err(ConfirmError::Invalid),
        };
        Ok(AddressToConfirm { email, is_new, username: user.username })
    }

    /// Confirms an address by its link: once. Says whether the account waits for an administrator now.
    pub async fn confirm_address(&self, token: &str, now: SystemTime) -> Result<Confirmed, ConfirmError> {
        let confirmed = self.store.confirm_email(Digest::of(token.as_bytes()), now).await?;
        match &confirmed {
            Confirmed::Changed { user, .. } => record(Event::AddressChanged, user),
            Confirmed::Own(user) => record(Event::AddressConfirmed, user),
        }
        if let Confirmed::Changed { old, user } = &confirmed {
            // What is forwarded about the person is another from the next request on.
            self.authenticator.ended(Ended::User(user.id));
            if let (Some(to), Some(new_address)) = (old.clone(), user.email.clone()) {
                let message = Message::AddressChanged { new_address, username: user.username.clone() };
                let language = language_of(user).unwrap_or_default();
                self.post(Some(Mail { language, message, to })).await;
            }
        }
        Ok(confirmed)
    }

    /// Changes the address of who is signed in, once the new one is confirmed.
    pub async fn change_own_address(
        &self,
        who: SignedIn,
        proof: Proof,
        new: Email,
        language: Language,
        now: SystemTime,
    ) -> Result<(), AddressError> {
        if !self.sends_mail() {
            return Err(AddressError::NoMail);
        }
        if !self.registration.takes(&new) {
            return Err(AddressError::Domain);
        }
        let source = proof.source;
        let user = self.confirm(who.user, proof).await?;
        if user.email.as_ref() == Some(&new) {
            return Err(AddressError::Same);
        }
        let counted = self.quota.take(Errand::Link, source, self.registration.per_ip);
        counted.map_err(|retry_after| OwnChangeError::Limited { retry_after })?;
        let owner = self.store.user_by_login(new.as_str()).map_err(OwnChangeError::from)?;
        // Who has never confirmed it loses it to whoever does.
        let owner = owner.filter(|owner| owner.id != user.id && !owner.is_unproven());
        let language = language_of(&user).unwrap_or(language);
        let token = session::mint();
        // For a taken address the same is written, with a secret that nobody learns: the older link is void either way.
        let kind = if owner.is_some() { Kind::AddressTaken } else { Kind::ConfirmNewAddress };
        let kept = match self.mailer.takes(&new, kind) {
            true => {
                let kept = OneTimeToken {
                    digest: Digest::of(token.expose_secret().as_bytes()),
                    expires_at: now + CHANGE_LIFETIME,
                    purpose: Purpose::ConfirmNewEmail(new.clone()),
                    user_id: user.id,
                };
                self.store.create_one_time_token(kept).await
            }
            false => self.store.pretend_one_time_token().await,
        };
        kept.map_err(|error| match error {
            TokenError::Invalid => OwnChangeError::Gone,
            TokenError::Store(error) => OwnChangeError::Store(error),
        })?;
        record(Event::AddressChangeAsked, &user);
        let links = self.mailer.links();
        let username = user.username;
        if let Some(to) = user.email {
            let message = Message::AddressChanging { new_address: new.clone(), username: username.clone() };
            self.post(Some(Mail { language, message, to })).await;
        }
        let mail = match owner {
            Some(owner) => self.address_taken(owner, language),
            None => {
                let message = Message::ConfirmNewAddress { link: links.confirm(&token), username };
                Some(Mail { language, message, to: new })
            }
        };
        self.post(mail).await;
        Ok(())
    }
}
