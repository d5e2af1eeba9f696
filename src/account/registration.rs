//! How people come by an account of their own. Invitations are made in `invitations`.
//!
//! A username is told to be taken, for the person has to choose another. An address is not, while addresses
//! are confirmed: the answer is the same and comes after the same work, and its owner gets a mail. To that
//! end the store keeps the wanted name from others in either case; see `store::Registered`.
//!
//! Callers: `portal`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret, SecretString};

use super::quota::Errand;
use super::{
    Accounts, Busy, Digest, StoreError, User, UserError, Username, Weakness, language_of, record, session,
};
use crate::authn::Rate;
use crate::identity::{DisplayName, Email, Role, UnfitUsername};
use crate::mail::{Language, Mail, Message};
use crate::store::{ConfirmationLink, Invitation, Inviters, NewUser, Registered};
use crate::telemetry::audit::Event;

/// How long the link lives that confirms a registration, and with it the account that nobody confirms. Long
/// enough for a mail that is found after a weekend; the link alone lets nobody in.
pub(super) const CONFIRMATION_LIFETIME: Duration = Duration::from_secs(3 * 24 * 60 * 60);

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
    /// Which members may invite others; `None`: administrators alone.
    pub members_invite: Option<MembersInvite>,
    /// Who may.
    pub mode: RegistrationMode,
    /// Registrations, and as many links by mail, from one source (`limits.registration`).
    pub per_ip: Rate,
    /// The roles of everybody who registers.
    pub roles: BTreeSet<Role>,
}

/// Which members may invite others, and how many of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MembersInvite {
    /// How many invitations of one member may be open at a time.
    pub limit: usize,
    /// Of which roles one is needed; empty: everybody.
    pub roles: BTreeSet<Role>,
}

impl RegistrationSettings {
    /// Whether an account may have this address.
    pub fn takes(&self, email: &Email) -> bool {
        self.email_domains.is_empty() || self.email_domains.contains(&email.domain())
    }

    /// Whether a new account waits until an administrator lets it in: an administrator's invitation has.
    pub(super) fn waits(&self, invited: Option<&Invitation>) -> bool {
        self.mode == RegistrationMode::Approval
            && invited.is_none_or(|invitation| invitation.invited_by.is_some())
    }

    /// Which members' invitations are good.
    pub(super) fn inviters(&self) -> Inviters {
        match &self.members_invite {
            None => Inviters::Nobody,
            Some(may) if may.roles.is_empty() => Inviters::Everybody,
            Some(may) => Inviters::With(may.roles.clone()),
        }
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
    /// The invitation is unknown, used or expired, or whoever sent it may not invite any more.
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
    /// No new account gets this name.
    #[error(transparent)]
    Unfit(#[from] UnfitUsername),
    /// Another account has this name, or one for which it may pass.
    #[error("this username is taken")]
    UsernameTaken,
    /// The policy refuses the password.
    #[error(transparent)]
    Weak(#[from] Weakness),
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
            // An administrator may have invited somebody whom nothing else lets in.
            (Some(Invitation { email, invited_by: Some(_), .. }), _) if !settings.takes(email) => {
                return Err(RegistrationError::Domain);
            }
            (Some(invitation), _) => Some(invitation.email.clone()),
            (None, Some(email)) if !settings.takes(&email) => return Err(RegistrationError::Domain),
            (None, None) if settings.needs_email() => return Err(RegistrationError::NoEmail),
            (None, email) => email,
        };
        person.username.fits_basic()?;
        person.username.has_one_script()?;
        // Before the dear part; the store looks once more when it claims the name.
        let name = person.username.folded();
        for name in [Some(name), person.username.passes_for()].into_iter().flatten() {
            if self.store.user_by_login(&name)?.is_some() {
                return Err(RegistrationError::UsernameTaken);
            }
        }
        let limited = |retry_after| RegistrationError::Limited { retry_after };
        self.quota.take(Errand::Registration, person.source, settings.per_ip).map_err(limited)?;

        let mut context = vec![person.username.to_string(), person.name.as_str().to_owned()];
        context.extend(email.as_ref().map(ToString::to_string));
        let hash = self.hash_for(context, person.password).await??;
        let new = NewUser {
            awaits_approval: settings.waits(invited.as_ref()),
            // `register` says so, together with the link.
            awaits_confirmation: false,
            created_at: person.now,
            disabled: false,
            email,
            // What an invitation shows, the store knows.
            email_is_proven: false,
            language: Some(person.language.tag().to_owned()),
            name: person.name,
            password_hash: Some(hash),
            roles: settings.roles.clone(),
            username: person.username,
        };
        match invited {
            Some(invitation) => {
                let accepted =
                    self.store.accept_invitation(invitation.digest, settings.inviters(), new, person.now);
                let user = accepted.await?;
                record(Event::AccountRegistered, &user);
                Ok(if user.awaits_approval { NextStep::Wait } else { NextStep::SignIn })
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
            Registered::Contended { email, user } => {
                record(Event::AccountRegistered, &user);
                let message =
                    Message::ConfirmAddress { link: links.confirm(&token), username: user.username };
                Some(Mail { language, message, to: email })
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
