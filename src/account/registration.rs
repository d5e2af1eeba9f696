//! How people come by an account of their own: registrations and invitations.
//!
//! A username is told to be taken, for the person has to choose another. An address is not, while addresses
//! are confirmed: the answer is the same and comes after the same work, and its owner gets a mail. To that
//! end the store keeps the wanted name from others in either case; see `store::Registered`.
//!
//! Callers: `portal` for the people, `admin` and `cli` for the administrators' invitations.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret, SecretString};

use super::quota::Errand;
use super::{
    Accounts, Busy, Digest, StoreError, User, UserError, Username, Weakness, language_of, record, session,
};
use crate::authn::Rate;
use crate::identity::{DisplayName, Email, Role};
use crate::mail::{Language, Link, Mail, Message};
use crate::store::{ConfirmationLink, Invitation, InvitationError, NewUser, Registered};
use crate::telemetry::audit::{self, About, Event};

/// How long the link lives that confirms a registration, and with it the account that nobody confirms. Long
/// enough for a mail that is found after a weekend; the link alone lets nobody in.
pub(super) const CONFIRMATION_LIFETIME: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// How long an invitation is good.
const INVITATION_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Who may make an account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RegistrationMode {
    /// Anybody, and an administrator lets them in.
    Approval,
    /// Nobody: administrators make them.
    Closed,
    /// Who was invited.
    Invite,
    /// Anybody.
    Open,
}

/// Who may make an account, and how (`registration` in the configuration).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RegistrationSettings {
    /// A new account waits until its address is confirmed by mail.
    pub confirm_email: bool,
    /// Of which domains an address has to be, folded; empty: of any.
    pub email_domains: BTreeSet<String>,
    /// Who may.
    pub mode: RegistrationMode,
    /// Registrations, and as many links by mail, from one source (`limits.registration`).
    pub per_ip: Rate,
    /// The roles of everybody who registers.
    pub roles: BTreeSet<Role>,
}

impl RegistrationSettings {
    /// Whether an account may have this address.
    pub fn takes(&self, email: &Email) -> bool {
        self.email_domains.is_empty() || self.email_domains.contains(&email.domain())
    }

    /// Whether nobody registers without an address.
    pub fn needs_email(&self) -> bool {
        self.confirm_email || !self.email_domains.is_empty()
    }
}

/// Somebody who wants an account.
pub struct NewPerson<'a> {
    /// Their address; an invitation brings its own.
    pub email: Option<Email>,
    /// What their invitation's link holds, if they have one.
    pub invitation: Option<&'a str>,
    /// In which their mails are written.
    pub language: Language,
    /// For display.
    pub name: DisplayName,
    /// When they asked.
    pub now: SystemTime,
    /// As typed, blanks included.
    pub password: SecretString,
    /// The client's address, for the quota.
    pub source: IpAddr,
    /// The login name that they want.
    pub username: Username,
}

/// What a new person has to do or to wait for next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NextStep {
    /// To confirm the address; after it, perhaps, to be let in.
    Confirm,
    /// To sign in.
    SignIn,
    /// To be let in by an administrator.
    Wait,
}

/// Why no account was made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RegistrationError {
    /// More hashes wait than the queue holds.
    #[error("too many passwords are being hashed")]
    Busy,
    /// Nobody may register.
    #[error("registration is closed")]
    Closed,
    /// Addresses of this domain are not taken.
    #[error("addresses of this domain are not taken")]
    Domain,
    /// An account has this address. Told only where addresses are not confirmed.
    #[error("an account has this e-mail address")]
    EmailTaken,
    /// The invitation is unknown, used or expired.
    #[error("this invitation is not valid any more")]
    InvalidInvitation,
    /// Too many from this source.
    #[error("too many registrations; try again in {} s", retry_after.as_secs())]
    Limited {
        /// When to try again.
        retry_after: Duration,
    },
    /// There is no address, and one is needed.
    #[error("an e-mail address is needed")]
    NoEmail,
    /// Only who was invited may register.
    #[error("an invitation is needed")]
    NotInvited,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another account has this name.
    #[error("this username is taken")]
    UsernameTaken,
    /// The policy refuses the password.
    #[error(transparent)]
    Weak(#[from] Weakness),
}

/// Why nobody was invited.
#[derive(Clone, Debug, thiserror::Error)]
pub enum InviteError {
    /// Nobody may register, invited or not.
    #[error("registration is closed")]
    Closed,
    /// The store, or an account that has the address.
    #[error(transparent)]
    Invitation(#[from] InvitationError),
}

impl Accounts {
    /// Who may make an account, and how.
    pub fn registration(&self) -> &RegistrationSettings {
        &self.registration
    }

    /// Whether mails are sent: what needs one is offered only then.
    pub fn sends_mail(&self) -> bool {
        self.mailer.is_configured()
    }

    /// Makes an account for somebody who asks for one.
    pub async fn register(&self, person: NewPerson<'_>) -> Result<NextStep, RegistrationError> {
        let settings = &*self.registration;
        let invited = match (settings.mode, person.invitation) {
            (RegistrationMode::Closed, _) => return Err(RegistrationError::Closed),
            (RegistrationMode::Invite, None) => return Err(RegistrationError::NotInvited),
            (_, None) => None,
            (_, Some(token)) => Some(self.invitation(token, person.now)?),
        };
        let email = match (&invited, person.email) {
            (Some(invitation), _) => Some(invitation.email.clone()),
            (None, Some(email)) if !settings.takes(&email) => return Err(RegistrationError::Domain),
            (None, None) if settings.needs_email() => return Err(RegistrationError::NoEmail),
            (None, email) => email,
        };
        // Before the dear part; the store looks once more when it claims the name.
        if self.store.user_by_login(person.username.as_str())?.is_some() {
            return Err(RegistrationError::UsernameTaken);
        }
        let limited = |retry_after| RegistrationError::Limited { retry_after };
        self.quota.take(Errand::Registration, person.source, settings.per_ip).map_err(limited)?;

        let mut context = vec![person.username.to_string(), person.name.as_str().to_owned()];
        context.extend(email.as_ref().map(ToString::to_string));
        let hash = self.hash_for(context, person.password).await??;
        let new = NewUser {
            awaits_approval: settings.mode == RegistrationMode::Approval && invited.is_none(),
            // `register` says so, together with the link.
            awaits_confirmation: false,
            created_at: person.now,
            disabled: false,
            email,
            language: Some(person.language.tag().to_owned()),
            name: person.name,
            password_hash: Some(hash),
            roles: settings.roles.clone(),
            username: person.username,
        };
        match invited {
            Some(invitation) => {
                let user = self.store.accept_invitation(invitation.digest, new, person.now).await?;
                record(Event::AccountRegistered, &user);
                Ok(NextStep::SignIn)
            }
            None if settings.confirm_email => {
                self.register_to_confirm(new, person.language, person.now).await
            }
            None => {
                let user = self.store.create_user(new).await?;
                record(Event::AccountRegistered, &user);
                Ok(if user.awaits_approval { NextStep::Wait } else { NextStep::SignIn })
            }
        }
    }

    async fn register_to_confirm(
        &self,
        new: NewUser,
        language: Language,
        now: SystemTime,
    ) -> Result<NextStep, RegistrationError> {
        let token = session::mint();
        let link = ConfirmationLink {
            digest: Digest::of(token.expose_secret().as_bytes()),
            expires_at: now + CONFIRMATION_LIFETIME,
        };
        let links = self.mailer.links();
        let mail = match self.store.register(new, link).await? {
            Registered::Made(user) => {
                record(Event::AccountRegistered, &user);
                user.email.map(|to| {
                    let message =
                        Message::ConfirmAddress { link: links.confirm(&token), username: user.username };
                    Mail { language, message, to }
                })
            }
            Registered::AddressTaken { owner } => {
                record(Event::AddressTaken, &owner);
                self.address_taken(owner, language)
            }
        };
        // The account is made; without this mail the person asks for another one.
        self.post(mail).await;
        Ok(NextStep::Confirm)
    }

    /// What the owner of an address is told when somebody else wants it.
    pub(super) fn address_taken(&self, owner: User, language: Language) -> Option<Mail> {
        let links = self.mailer.links();
        let language = language_of(&owner).unwrap_or(language);
        let message = Message::AddressTaken {
            forgot_link: links.forgot(),
            login_link: links.login(),
            username: owner.username,
        };
        owner.email.map(|to| Mail { language, message, to })
    }

    /// Hands a mail over. What was done stays done where that fails, and the log tells it.
    pub(super) async fn post(&self, mail: Option<Mail>) {
        if let Some(mail) = mail
            && let Err(error) = self.mailer.send(mail).await
        {
            tracing::error!(%error, "a mail was not kept for sending");
        }
    }

    // ---- invitations -------------------------------------------------------------------------

    /// Whom an invitation is for, if it is still good.
    pub fn invited(&self, token: &str, now: SystemTime) -> Result<Email, RegistrationError> {
        match self.registration.mode {
            RegistrationMode::Closed => Err(RegistrationError::Closed),
            RegistrationMode::Approval | RegistrationMode::Invite | RegistrationMode::Open => {
                self.invitation(token, now).map(|invitation| invitation.email)
            }
        }
    }

    fn invitation(&self, token: &str, now: SystemTime) -> Result<Invitation, RegistrationError> {
        Ok(self.store.invitation(Digest::of(token.as_bytes()), now)?)
    }

    /// Invites somebody to make an account, with these roles beside those of everybody who registers. Gives the
    /// link, and says whether it was mailed as well.
    pub async fn invite(
        &self,
        email: Email,
        roles: BTreeSet<Role>,
        language: Language,
        now: SystemTime,
    ) -> Result<(Link, bool), InviteError> {
        if self.registration.mode == RegistrationMode::Closed {
            return Err(InviteError::Closed);
        }
        let token = session::mint();
        let invitation = Invitation {
            digest: Digest::of(token.expose_secret().as_bytes()),
            email: email.clone(),
            expires_at: now + INVITATION_LIFETIME,
            invited_by: None,
            roles,
        };
        self.store.create_invitation(invitation).await?;
        audit::record(Event::Invited, About::Unknown);
        let link = self.mailer.links().invitation(&token);
        let message = Message::Invitation { inviter: None, link: link.clone() };
        let mail = Mail { language, message, to: email };
        let mailed = self.sends_mail() && self.mailer.takes(&mail.to, mail.message.kind());
        self.post(Some(mail).filter(|_| mailed)).await;
        Ok((link, mailed))
    }
}

impl From<Busy> for RegistrationError {
    fn from(Busy: Busy) -> Self {
        Self::Busy
    }
}

impl From<UserError> for RegistrationError {
    fn from(error: UserError) -> Self {
        match error {
            UserError::EmailTaken => Self::EmailTaken,
            UserError::Store(error) => Self::Store(error),
            // A new account is there, so that its name can only be somebody else's.
            UserError::NotFound | UserError::UsernameTaken => Self::UsernameTaken,
        }
    }
}

impl From<InvitationError> for RegistrationError {
    fn from(error: InvitationError) -> Self {
        match error {
            InvitationError::EmailTaken => Self::EmailTaken,
            InvitationError::Invalid => Self::InvalidInvitation,
            InvitationError::Store(error) => Self::Store(error),
            // Only for who invites.
            InvitationError::TooMany { .. } => Self::InvalidInvitation,
            InvitationError::UsernameTaken => Self::UsernameTaken,
        }
    }
}
