//! Invitations to make an account: an administrator's, of which an address has one, and members', of which each has
//! one to an address at most. Nobody's takes another's place, and no member's tells whether its address is taken.
//!
//! An administrator's ends once its address is an account's, for it can make none any more. Members' all end with the
//! first of the address that is used; by anything else they don't, or their senders would learn of it.
//!
//! Callers: `rules`, of which this is a part.

use std::time::SystemTime;

use super::{create_user, registration::is_free};
use crate::identity::UserId;
use crate::store::record::{self, millis};
use crate::store::sled::keys::{self, Expiring};
use crate::store::sled::unit::{Rows, Unit};
use crate::store::{
    Digest, EndInvitations, INVITATIONS, INVITATIONS_OF_MEMBERS, Invitation, InvitationError, Inviters,
    NewUser, StoreError, User, UserError,
};

/// Invitations that one unit ends at most: three operations each.
const ENDED_AT_ONCE: usize = 80;

/// Invitations of a deleted member that the sweeper takes at a time; three operations each, less the one that it counts
/// for every entry anyway.
const SWEPT_AT_ONCE: usize = 5;

/// `own`: how many of one member may be open.
pub(in crate::store::sled) fn create_invitation(
    unit: &mut Unit<'_, '_>,
    invitation: &Invitation,
    own: usize,
) -> Result<(), InvitationError> {
    let only = only_one(invitation);
    if let Some(older) = unit.get(&only)?.as_deref().and_then(keys::digest_of) {
        delete_invitation(unit, older)?;
    }
    let limit = match invitation.invited_by {
        None if !is_free(unit, &invitation.email)? => return Err(InvitationError::EmailTaken),
        None => INVITATIONS,
        Some(member) if unit.user(member)?.is_none_or(|user| !user.may_sign_in()) => {
            return Err(InvitationError::Invalid);
        }
        Some(member) if unit.keys_under(&keys::invitations_from(member))?.len() >= own => {
            return Err(InvitationError::TooManyOwn { limit: own });
        }
        Some(_) => INVITATIONS_OF_MEMBERS,
    };
    if unit.keys_under(&keys::invitations())?.len() >= limit {
        return Err(InvitationError::TooMany { limit });
    }
    unit.put(expiry_of(invitation), []);
    unit.put(keys::invitation(invitation.digest), record::encode_invitation(invitation)?);
    unit.put(only, *invitation.digest.as_bytes());
    Ok(())
}

/// What its link is worth now. A member's is as good as the member, and worth an administrator's where one has invited
/// the address, too: both say whose it is, so that nobody loses by which of two mails is opened.
pub(in crate::store::sled) fn live_invitation(
    rows: &impl Rows,
    digest: Digest,
    inviters: &Inviters,
    now: SystemTime,
) -> Result<Invitation, InvitationError> {
    let is_open = |invitation: &Invitation| now < invitation.expires_at;
    let found = rows.invitation(digest)?.filter(is_open).ok_or(InvitationError::Invalid)?;
    let Some(member) = found.invited_by else { return Ok(found) };
    if rows.user(member)?.is_none_or(|user| !inviters.have(&user)) {
        return Err(InvitationError::Invalid);
    }
    let other = rows.get(&keys::invitation_to(&found.email.folded()))?;
    let other = match other.as_deref().and_then(keys::digest_of) {
        Some(other) => rows.invitation(other)?.filter(is_open),
        None => None,
    };
    Ok(match other {
        Some(Invitation { invited_by, roles, .. }) => Invitation { invited_by, roles, ..found },
        None => found,
    })
}

pub(in crate::store::sled) fn accept_invitation(
    unit: &mut Unit<'_, '_>,
    digest: Digest,
    inviters: &Inviters,
    new: &NewUser,
    now: SystemTime,
) -> Result<User, InvitationError> {
    let invitation = live_invitation(unit, digest, inviters, now)?;
    let email = invitation.email.clone();
    // The link came by the mailbox, or from an administrator who vouches for it.
    let mut new = NewUser { email: Some(invitation.email), email_is_proven: true, ..new.clone() };
    new.roles.extend(invitation.roles);
    let user = create_user(unit, &new).map_err(|error| match error {
        UserError::EmailTaken => InvitationError::EmailTaken,
        UserError::NotFound => InvitationError::Invalid,
        UserError::Store(error) => InvitationError::Store(error),
        UserError::UsernameTaken => InvitationError::UsernameTaken,
    })?;
    delete_invitation(unit, digest)?;
    end_invitations(unit, &EndInvitations::To(email))?;
    Ok(user)
}

/// An address is an account's, for good: what an administrator has offered to whoever has it is offered no more.
pub(super) fn end_administrators(unit: &mut Unit<'_, '_>, folded: &str) -> Result<(), StoreError> {
    match unit.get(&keys::invitation_to(folded))?.as_deref().and_then(keys::digest_of) {
        Some(digest) => delete_invitation(unit, digest),
        None => Ok(()),
    }
}

/// Ends some, and gives them; none where there is none left.
pub(in crate::store::sled) fn end_invitations(
    unit: &mut Unit<'_, '_>,
    which: &EndInvitations,
) -> Result<Vec<Invitation>, StoreError> {
    let mut found = Vec::new();
    match which {
        EndInvitations::One { id, of } => {
            for key in unit.keys_under(&keys::invitations_beginning(id.as_bytes()))? {
                if let Some(digest) = keys::invitation_digest(&key) {
                    found.extend(unit.invitation(digest)?);
                }
            }
            found.retain(|invitation| of.is_none() || invitation.invited_by == *of);
        }
        EndInvitations::To(email) => {
            let folded = email.folded();
            let mut only = vec![keys::invitation_to(&folded)];
            let members = unit.keys_under(&keys::invitations_of_members())?;
            only.extend(members.into_iter().filter(|key| keys::is_invitation_to(key, &folded)));
            for key in only {
                if found.len() < ENDED_AT_ONCE
                    && let Some(digest) = unit.get(&key)?.as_deref().and_then(keys::digest_of)
                {
                    found.extend(unit.invitation(digest)?);
                }
            }
        }
    }
    for invitation in &found {
        delete_invitation(unit, invitation.digest)?;
    }
    Ok(found)
}

pub(super) fn sweep_invitation(unit: &mut Unit<'_, '_>, digest: Digest, now: u64) -> Result<(), StoreError> {
    match unit.invitation(digest)? {
        Some(invitation) if millis(invitation.expires_at).div_ceil(1000) < now => {
            delete_invitation(unit, digest)
        }
        Some(_) | None => Ok(()),
    }
}

/// Has the sweeper take the invitations of a member who is deleted: here would be no room for all of them.
pub(super) fn mark_ended(unit: &mut Unit<'_, '_>, member: UserId) -> Result<(), StoreError> {
    if !unit.keys_under(&keys::invitations_from(member))?.is_empty() {
        unit.put(keys::expiry(0, Expiring::InvitationsOf, keys::whole(member)), []);
    }
    Ok(())
}

/// Takes some of them away; the mark stays until none is left.
pub(super) fn sweep_invitations_of(unit: &mut Unit<'_, '_>, member: UserId) -> Result<(), StoreError> {
    if unit.user(member)?.is_some() {
        return Ok(());
    }
    let left = unit.keys_under(&keys::invitations_from(member))?;
    for key in left.iter().take(SWEPT_AT_ONCE) {
        if let Some(digest) = unit.get(key)?.as_deref().and_then(keys::digest_of) {
            delete_invitation(unit, digest)?;
        }
        unit.delete(key.clone());
    }
    if left.len() > SWEPT_AT_ONCE {
        unit.put(keys::expiry(0, Expiring::InvitationsOf, keys::whole(member)), []);
    }
    Ok(())
}

/// The key that names the one of its kind that is good.
pub(in crate::store::sled) fn only_one(invitation: &Invitation) -> Vec<u8> {
    let folded = invitation.email.folded();
    match invitation.invited_by {
        None => keys::invitation_to(&folded),
        Some(member) => keys::invitation_from(member, &folded),
    }
}

fn delete_invitation(unit: &mut Unit<'_, '_>, digest: Digest) -> Result<(), StoreError> {
    if let Some(invitation) = unit.invitation(digest)? {
        unit.delete(expiry_of(&invitation));
        unit.delete(keys::invitation(digest));
        unit.delete(only_one(&invitation));
    }
    Ok(())
}

fn expiry_of(invitation: &Invitation) -> Vec<u8> {
    keys::expiry(millis(invitation.expires_at).div_ceil(1000), Expiring::Invitation, invitation.digest)
}

/// Those of one member, ended ones left out.
pub(in crate::store::sled) fn invitations_of(
    rows: &impl Rows,
    member: UserId,
    now: SystemTime,
) -> Result<Vec<Invitation>, StoreError> {
    let mut found = Vec::new();
    for key in rows.keys_under(&keys::invitations_from(member))? {
        if let Some(digest) = rows.get(&key)?.as_deref().and_then(keys::digest_of) {
            found.extend(rows.invitation(digest)?.filter(|invitation| now < invitation.expires_at));
        }
    }
    Ok(found)
}
