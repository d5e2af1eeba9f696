//! Making, listing and ending invitations.
//!
//! Callers: `admin::perform`.

use std::collections::BTreeSet;
use std::time::SystemTime;

use super::{Accounts, Failure, Reply, Secret, store};
use crate::account::InviteError;
use crate::admin::invitation::{InvitationView, RevokeInvitations};
use crate::identity::{Email, Role};
use crate::mail::Language;
use crate::store::{Digest, EndInvitations, InvitationError};

/// Invitations of one slice at most. One takes less than a kilobyte of its line, but for many roles.
const SLICE: usize = 100;

pub(super) async fn invite(
    accounts: &Accounts,
    email: Email,
    roles: BTreeSet<Role>,
    now: SystemTime,
) -> Result<Reply, Failure> {
    let address = email.to_string();
    // Whoever is invited is not known here, and neither is their language.
    match accounts.invite(email, roles, Language::default(), now).await {
        Ok((link, mailed)) => Ok(Reply::Invited { link: Secret(link.expose().into()), mailed }),
        Err(InviteError::Closed) => Err(Failure::RegistrationClosed { email: address }),
        Err(InviteError::Invitation(error)) => Err(match error {
            InvitationError::EmailTaken => Failure::EmailTaken { email: address },
            InvitationError::Store(error) => store(error),
            InvitationError::TooMany { limit } => Failure::TooManyInvitations { limit },
            // Of invitations that are used, and of members.
            InvitationError::Invalid
            | InvitationError::TooManyOwn { .. }
            | InvitationError::UsernameTaken => Failure::Store { reason: error.to_string() },
        }),
    }
}

pub(super) async fn list(
    accounts: &Accounts,
    after: Option<[u8; 32]>,
    now: SystemTime,
) -> Result<Reply, Failure> {
    let found = accounts.invitations(after.map(Digest::from_bytes), SLICE, now).await.map_err(store)?;
    let next = found.last().filter(|_| found.len() >= SLICE).map(|(last, _)| *last.digest.as_bytes());
    let invitations = found.into_iter().map(|(invitation, by)| InvitationView::new(invitation, by)).collect();
    Ok(Reply::Invitations { invitations, next })
}

pub(super) async fn revoke(accounts: &Accounts, which: RevokeInvitations) -> Result<Reply, Failure> {
    let end = match &which {
        RevokeInvitations::One { id } => EndInvitations::One { id: *id, of: None },
        RevokeInvitations::To { email } => EndInvitations::To(email.clone()),
    };
    match (accounts.revoke_invitations(end).await.map_err(store)?, which) {
        (0, RevokeInvitations::One { id }) => Err(Failure::NoInvitation { which: id.to_string() }),
        (0, RevokeInvitations::To { email }) => Err(Failure::NoInvitation { which: email.to_string() }),
        (count, _) => Ok(Reply::InvitationsEnded { count }),
    }
}
