//! Invitations: administrators' and members', listed and revoked.
//!
//! An administrator is given the link, may invite anybody, and lets in with it. A member is not: the link goes to the
//! mailbox alone, for whoever opens it gets the address as their own. Nor is a member told whether the address has an
//! account: the same is kept for one that has, and its owner gets a mail instead of the link.
//!
//! Callers: `portal` for the people, `admin` and `cli` for the administrators.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret, SecretString};

use super::quota::Errand;
use super::registration::{RegistrationError, RegistrationMode};
use super::{
    Accounts, Digest, Event, OwnChangeError, SignedIn, StoreError, User, Username, language_of, record,
    session,
};
use crate::identity::{Email, Role, UserId};
use crate::mail::{Kind, Language, Link, Mail, Message};
use crate::store::{EndInvitations, Invitation, InvitationError};
use crate::telemetry::audit::{self, About};

/// How long an invitation is good.
const INVITATION_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Whom an invitation is for.
#[derive(Clone, Debug)]
pub struct Invited {
    /// The account gets this address.
    pub email: Email,
    /// An administrator has to let the account in nevertheless.
    pub waits: bool,
}

/// Who has sent an invitation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Sender {
    /// Whoever has the command line.
    Administrator,
    /// A member who may not invite at the moment, so that the link is void; `None`: nobody knows who it was.
    MayNot(Option<Username>),
    /// A member.
    Member(Username),
}

/// Why an administrator has invited nobody.
#[derive(Clone, Debug, thiserror::Error)]
pub enum InviteError {
    /// Nobody may register, invited or not.
    #[error("registration is closed")]
    Closed,
    /// The store, or an account that has the address.
    #[error(transparent)]
    Invitation(#[from] InvitationError),
}

/// Why a member has invited nobody.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MemberInviteError {
    /// Addresses of this domain are not taken.
    #[error("addresses of this domain are not taken")]
    Domain,
    /// So many mails to this address, or to all, wait or went out a short while ago that no further one goes.
    #[error("no further invitation is mailed there at the moment")]
    Mailbox,
    /// Members don't invite, or not this one.
    #[error("this account may not invite")]
    NotAllowed,
    /// The account is gone, too much was asked for, or the store failed.
    #[error(transparent)]
    Own(#[from] OwnChangeError),
    /// It is the member's own address.
    #[error("this is the account's own address")]
    Same,
    /// So many of this member's are open, or of everybody's.
    #[error("{limit} invitations are open")]
    TooMany {
        /// As many as there may be.
        limit: usize,
    },
}

impl Accounts {
    /// Whom an invitation is for, if it is still good.
    pub fn invited(&self, token: &str, now: SystemTime) -> Result<Invited, RegistrationError> {
        match self.registration.mode {
            RegistrationMode::Closed => Err(RegistrationError::Closed),
            RegistrationMode::Approval | RegistrationMode::Invite | RegistrationMode::Open => {
                let invitation = self.invitation(token, now)?;
                let waits = self.registration.waits(Some(&invitation));
                Ok(Invited { email: invitation.email, waits })
            }
        }
    }

    pub(super) fn invitation(&self, token: &str, now: SystemTime) -> Result<Invitation, RegistrationError> {
        let digest = Digest::of(token.as_bytes());
        Ok(self.store.invitation(digest, &self.registration.inviters(), now)?)
    }

    // ---- an administrator's ------------------------------------------------------------------

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
        self.store.create_invitation(made(&token, email.clone(), None, roles, now), 0).await?;
        audit::record(Event::Invited, About::Unknown);
        let link = self.mailer.links().invitation(&token);
        let message = Message::Invitation { inviter: None, link: link.clone() };
        let mail = Mail { language, message, to: email };
        let mailed = self.sends_mail() && self.mailer.takes(&mail.to, mail.message.kind());
        self.post(Some(mail).filter(|_| mailed)).await;
        Ok((link, mailed))
    }

    /// Up to `limit` open invitations behind this one, whoever sent them, each with its sender. The next slice begins
    /// behind the last; there is none where these are fewer.
    pub async fn invitations(
        &self,
        after: Option<Digest>,
        limit: usize,
        now: SystemTime,
    ) -> Result<Vec<(Invitation, Sender)>, StoreError> {
        let found = self.store.invitations(after, limit, now).await?;
        let inviters = self.registration.inviters();
        let sent = found.into_iter().map(|invitation| {
            let sender = match invitation.invited_by.map(|member| self.store.user(member)) {
                None => Sender::Administrator,
                Some(Ok(Some(user))) if inviters.have(&user) => Sender::Member(user.username),
                Some(Ok(Some(user))) => Sender::MayNot(Some(user.username)),
                // Gone meanwhile, or not to be read; its invitation hides no other.
                Some(Ok(None) | Err(StoreError::Corrupt(_))) => Sender::MayNot(None),
                Some(Err(error)) => return Err(error),
            };
            Ok((invitation, sender))
        });
        sent.collect()
    }

    /// Ends invitations, and says how many.
    pub async fn revoke_invitations(&self, which: EndInvitations) -> Result<usize, StoreError> {
        let mut count = 0;
        loop {
            let ended = self.store.end_invitations(which.clone()).await?;
            if ended.is_empty() {
                return Ok(count);
            }
            count += ended.len();
            for invitation in ended {
                match invitation.invited_by {
                    Some(member) => self.record(Event::InvitationRevoked, member),
                    None => audit::record(Event::InvitationRevoked, About::Unknown),
                }
            }
        }
    }

    // ---- a member's --------------------------------------------------------------------------

    /// Whether members invite at all.
    pub fn members_invite(&self) -> bool {
        self.registration.mode != RegistrationMode::Closed
            && self.registration.members_invite.is_some()
            && self.sends_mail()
    }

    /// Whether this account may invite others.
    pub fn may_invite(&self, user: &User) -> bool {
        self.members_invite() && self.registration.inviters().have(user)
    }

    /// Has an invitation mailed to this address. What is given says the same whether or not it has an account.
    pub async fn invite_as_member(
        &self,
        who: SignedIn,
        email: Email,
        source: IpAddr,
        language: Language,
        now: SystemTime,
    ) -> Result<Invitation, MemberInviteError> {
        let user = self.own(who)?;
        let may = self.registration.members_invite.as_ref().filter(|_| self.may_invite(&user));
        let Some(may) = may else { return Err(MemberInviteError::NotAllowed) };
        if !self.registration.takes(&email) {
            return Err(MemberInviteError::Domain);
        }
        let owner = self.store.user_by_login(email.as_str()).map_err(OwnChangeError::from)?;
        let owner = owner.filter(|owner| !owner.is_unproven());
        if owner.as_ref().is_some_and(|owner| owner.id == user.id) {
            return Err(MemberInviteError::Same);
        }
        let counted = self.quota.take(Errand::Link, source, self.registration.per_ip);
        counted.map_err(|retry_after| OwnChangeError::Limited { retry_after })?;
        // The owner's mail counts as an invitation, too, or this would tell who is one.
        if !self.mailer.takes(&email, Kind::Invitation) {
            return Err(MemberInviteError::Mailbox);
        }
        let token = session::mint();
        let invitation = made(&token, email.clone(), Some(user.id), BTreeSet::new(), now);
        self.store.create_invitation(invitation.clone(), may.limit).await?;
        record(Event::Invited, &user);
        let links = self.mailer.links();
        let inviter = user.username;
        let mail = match owner {
            Some(owner) => Mail {
                language: language_of(&owner).unwrap_or(language),
                message: Message::AlreadyMember {
                    forgot_link: links.forgot(),
                    inviter,
                    login_link: links.login(),
                    username: owner.username,
                },
                to: email,
            },
            None => {
                let message = Message::Invitation { inviter: Some(inviter), link: links.invitation(&token) };
                Mail { language, message, to: email }
            }
        };
        self.post(Some(mail)).await;
        Ok(invitation)
    }

    /// The open invitations of a member, the next to end first.
    pub async fn invitations_of(
        &self,
        member: UserId,
        now: SystemTime,
    ) -> Result<Vec<Invitation>, StoreError> {
        let mut found = self.store.invitations_of(member, now).await?;
        found.sort_by_key(|invitation| invitation.expires_at);
        Ok(found)
    }
}

fn made(
    token: &SecretString,
    email: Email,
    invited_by: Option<UserId>,
    roles: BTreeSet<Role>,
    now: SystemTime,
) -> Invitation {
    let digest = Digest::of(token.expose_secret().as_bytes());
    Invitation { digest, email, expires_at: now + INVITATION_LIFETIME, invited_by, roles }
}

impl From<InvitationError> for MemberInviteError {
    fn from(error: InvitationError) -> Self {
        match error {
            InvitationError::Store(error) => Self::Own(error.into()),
            InvitationError::TooMany { limit } | InvitationError::TooManyOwn { limit } => {
                Self::TooMany { limit }
            }
            // Disabled or deleted just now. No member is told of an address, and no name is claimed here.
            InvitationError::EmailTaken | InvitationError::Invalid | InvitationError::UsernameTaken => {
                Self::Own(OwnChangeError::Gone)
            }
        }
    }
}

impl From<InvitationError> for RegistrationError {
    fn from(error: InvitationError) -> Self {
        match error {
            InvitationError::EmailTaken => Self::EmailTaken,
            InvitationError::Store(error) => Self::Store(error),
            // The last two only for who invites.
            InvitationError::Invalid
            | InvitationError::TooMany { .. }
            | InvitationError::TooManyOwn { .. } => Self::InvalidInvitation,
            InvitationError::UsernameTaken => Self::UsernameTaken,
        }
    }
}
