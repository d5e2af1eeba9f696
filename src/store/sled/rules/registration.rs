//! How accounts come by their people: registrations, confirmations of addresses, invitations.
//!
//! Callers: `rules`, of which this is a part.

use std::time::SystemTime;

use super::{
    claim_email, create_one_time_token, create_user, delete_tokens_of, delete_user, end_token, live_token,
};
use crate::identity::UserId;
use crate::store::record::{self, millis};
use crate::store::sled::keys::{self, Expiring};
use crate::store::sled::unit::{Rows, Unit};
use crate::store::{
    ConfirmError, ConfirmationLink, Confirmed, Digest, INVITATIONS, Invitation, InvitationError, NewUser,
    OneTimeToken, Purpose, Registered, StoreError, TokenError, User, UserError,
};

/// A taken address is answered by the same rows as a free one, less the entry of the address. So neither the
/// time that this takes nor a second try for the same name tells one from the other.
pub(in crate::store::sled) fn register(
    unit: &mut Unit<'_, '_>,
    new: &NewUser,
    link: ConfirmationLink,
) -> Result<Registered, UserError> {
    let owner = match &new.email {
        Some(email) => unit.user_by_email(&email.folded())?,
        None => None,
    };
    let email = new.email.clone().filter(|_| owner.is_none());
    let mut user = create_user(unit, &NewUser { awaits_confirmation: true, email, ..new.clone() })?;
    user.goes_unconfirmed = true;
    unit.put(keys::user(user.id), record::encode_user(&user)?);
    let token = OneTimeToken {
        digest: link.digest,
        expires_at: link.expires_at,
        purpose: Purpose::ConfirmEmail,
        user_id: user.id,
    };
    create_one_time_token(unit, &token).map_err(|error| match error {
        TokenError::Invalid => UserError::NotFound,
        TokenError::Store(error) => UserError::Store(error),
    })?;
    Ok(owner.map_or(Registered::Made(user), |owner| Registered::AddressTaken { owner }))
}

pub(in crate::store::sled) fn confirm_email(
    unit: &mut Unit<'_, '_>,
    digest: Digest,
    now: SystemTime,
) -> Result<Confirmed, ConfirmError> {
    let token = live_token(unit, digest, now)?;
    let Some(mut user) = unit.user(token.user_id)?.filter(|user| !user.disabled) else {
        return Err(ConfirmError::Invalid);
    };
    user.version += 1;
    match &token.purpose {
        Purpose::SetPassword => Err(ConfirmError::Invalid),
        Purpose::ConfirmEmail => {
            user.awaits_confirmation = false;
            unit.put(keys::user(user.id), record::encode_user(&user)?);
            end_token(unit, &token)?;
            Ok(Confirmed::Own(user))
        }
        Purpose::ConfirmNewEmail(email) => {
            let old = user.email.replace(email.clone());
            if let Some(old) = &old {
                unit.delete(keys::email(&old.folded()));
            }
            claim_email(unit, user.id, Some(email)).map_err(|error| match error {
                UserError::Store(error) => ConfirmError::Store(error),
                UserError::EmailTaken | UserError::NotFound | UserError::UsernameTaken => {
                    ConfirmError::EmailTaken
                }
            })?;
            unit.put(keys::user(user.id), record::encode_user(&user)?);
            // This one, and those that wait in a mailbox that is no longer theirs.
            delete_tokens_of(unit, user.id)?;
            Ok(Confirmed::Changed { old, user })
        }
    }
}

/// The last link of an account that nobody has confirmed is gone: so is the account, and its name is free.
pub(super) fn sweep_unconfirmed(unit: &mut Unit<'_, '_>, id: UserId) -> Result<(), StoreError> {
    // One that came from elsewhere was not made by whoever asked for the link.
    if unit.user(id)?.is_none_or(|user| !(user.awaits_confirmation && user.goes_unconfirmed)) {
        return Ok(());
    }
    match delete_user(unit, id) {
        Ok(_) => Ok(()),
        Err(UserError::Store(error)) => Err(error),
        Err(UserError::EmailTaken | UserError::NotFound | UserError::UsernameTaken) => Ok(()),
    }
}

// ---- invitations -----------------------------------------------------------------------------

pub(in crate::store::sled) fn create_invitation(
    unit: &mut Unit<'_, '_>,
    invitation: &Invitation,
) -> Result<(), InvitationError> {
    let folded = invitation.email.folded();
    if unit.user_by_email(&folded)?.is_some() {
        return Err(InvitationError::EmailTaken);
    }
    let only = keys::invitation_to(&folded);
    match unit.get(&only)?.as_deref().and_then(keys::digest_of) {
        Some(older) => delete_invitation(unit, older)?,
        None if unit.keys_under(&keys::invitations())?.len() >= INVITATIONS => {
            return Err(InvitationError::TooMany { limit: INVITATIONS });
        }
        None => (),
    }
    unit.put(expiry_of(invitation), []);
    unit.put(keys::invitation(invitation.digest), record::encode_invitation(invitation)?);
    unit.put(only, *invitation.digest.as_bytes());
    Ok(())
}

pub(in crate::store::sled) fn live_invitation(
    rows: &impl Rows,
    digest: Digest,
    now: SystemTime,
) -> Result<Invitation, InvitationError> {
    let found = rows.invitation(digest)?.filter(|invitation| now < invitation.expires_at);
    found.ok_or(InvitationError::Invalid)
}

pub(in crate::store::sled) fn accept_invitation(
    unit: &mut Unit<'_, '_>,
    digest: Digest,
    new: &NewUser,
    now: SystemTime,
) -> Result<User, InvitationError> {
    let invitation = live_invitation(unit, digest, now)?;
    let mut new = NewUser { email: Some(invitation.email), ..new.clone() };
    new.roles.extend(invitation.roles);
    let user = create_user(unit, &new).map_err(|error| match error {
        UserError::EmailTaken => InvitationError::EmailTaken,
        UserError::NotFound => InvitationError::Invalid,
        UserError::Store(error) => InvitationError::Store(error),
        UserError::UsernameTaken => InvitationError::UsernameTaken,
    })?;
    delete_invitation(unit, digest)?;
    Ok(user)
}

pub(super) fn sweep_invitation(unit: &mut Unit<'_, '_>, digest: Digest, now: u64) -> Result<(), StoreError> {
    match unit.invitation(digest)? {
        Some(invitation) if millis(invitation.expires_at).div_ceil(1000) < now => {
            delete_invitation(unit, digest)
        }
        Some(_) | None => Ok(()),
    }
}

fn delete_invitation(unit: &mut Unit<'_, '_>, digest: Digest) -> Result<(), StoreError> {
    if let Some(invitation) = unit.invitation(digest)? {
        unit.delete(expiry_of(&invitation));
        unit.delete(keys::invitation(digest));
        unit.delete(keys::invitation_to(&invitation.email.folded()));
    }
    Ok(())
}

fn expiry_of(invitation: &Invitation) -> Vec<u8> {
    keys::expiry(millis(invitation.expires_at).div_ceil(1000), Expiring::Invitation, invitation.digest)
}
