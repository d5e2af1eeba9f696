//! How accounts come by their people: registrations and confirmations of addresses.
//!
//! Callers: `rules`, of which this is a part.

use std::time::SystemTime;

use super::{
    Claim, claim_email, create_one_time_token, create_user, delete_token, delete_tokens_of, delete_user,
    end_token, live_token,
};
use crate::identity::{Email, UserId};
use crate::store::record;
use crate::store::sled::keys;
use crate::store::sled::unit::{Rows, Unit};
use crate::store::{
    ConfirmError, ConfirmationLink, Confirmed, Digest, NewUser, OneTimeToken, Purpose, Registered,
    StoreError, TokenError, User, UserError,
};

/// A taken address is answered by the same rows as a free one, less the entry of the address. So neither the
/// time that this takes nor a second try for the same name tells one from the other.
pub(in crate::store::sled) fn register(
    unit: &mut Unit<'_, '_>,
    new: &NewUser,
    link: ConfirmationLink,
) -> Result<Registered, UserError> {
    let wanted = new.email.as_ref().map(Email::folded);
    let owner = match &wanted {
        Some(folded) => unit.user_by_email(folded)?,
        None => None,
    };
    let new_email = new.email.clone();
    let email = new.email.clone().filter(|_| owner.is_none());
    let new = NewUser { awaits_confirmation: true, email, email_is_proven: false, ..new.clone() };
    let mut user = create_user(unit, &new)?;
    user.goes_unconfirmed = true;
    unit.put(keys::user(user.id), record::encode_user(&user)?);
    // In either case: by its address, too, somebody who has registered is told to confirm it.
    if let Some(folded) = wanted {
        unit.put(keys::newcomer(&folded), *user.id.as_bytes());
        unit.put(keys::wanted_by(user.id), folded);
    }
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
    Ok(match (owner, &new_email) {
        (None, _) | (Some(_), None) => Registered::Made(user),
        // Nobody has shown it to be theirs, so that it is kept from nobody.
        (Some(owner), Some(email)) if owner.is_unproven() => {
            Registered::Contended { email: email.clone(), user }
        }
        (Some(owner), Some(_)) => Registered::AddressTaken { owner },
    })
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
            if user.email.is_none() {
                // Another had it first, or has shown since that it is theirs: then there is nothing to confirm.
                let email = contended(unit, &user)?.ok_or(ConfirmError::Invalid)?;
                claim_email(unit, user.id, Some(&email), Claim::Proven).map_err(refused)?;
                user.email = Some(email);
            }
            user.awaits_confirmation = false;
            forget_wanted(unit, user.id)?;
            unit.put(keys::user(user.id), record::encode_user(&user)?);
            end_token(unit, &token)?;
            Ok(Confirmed::Own(user))
        }
        Purpose::ConfirmNewEmail(email) => {
            let old = user.email.replace(email.clone());
            if let Some(old) = &old {
                unit.delete(keys::email(&old.folded()));
            }
            claim_email(unit, user.id, Some(email), Claim::Proven).map_err(refused)?;
            unit.put(keys::user(user.id), record::encode_user(&user)?);
            // This one, and those that wait in a mailbox that is no longer theirs.
            delete_tokens_of(unit, user.id)?;
            Ok(Confirmed::Changed { old, user })
        }
    }
}

fn refused(error: UserError) -> ConfirmError {
    match error {
        UserError::Store(error) => ConfirmError::Store(error),
        UserError::EmailTaken | UserError::NotFound | UserError::UsernameTaken => ConfirmError::EmailTaken,
    }
}

/// The address that an account without one has registered with, where nobody has shown yet that it is theirs: whoever
/// opens their link first gets it.
pub(in crate::store::sled) fn contended(rows: &impl Rows, user: &User) -> Result<Option<Email>, StoreError> {
    if user.email.is_some() || !user.is_unproven() {
        return Ok(None);
    }
    let Some(wanted) = rows.get(&keys::wanted_by(user.id))? else { return Ok(None) };
    let wanted = std::str::from_utf8(&wanted).ok().and_then(|wanted| wanted.parse::<Email>().ok());
    match wanted {
        Some(email) if is_free(rows, &email)? => Ok(Some(email)),
        Some(_) | None => Ok(None),
    }
}

/// Whether an address is nobody's, or of an account that has never shown it to be its own.
pub(super) fn is_free(rows: &impl Rows, email: &Email) -> Result<bool, StoreError> {
    Ok(rows.user_by_email(&email.folded())?.is_none_or(|user| user.is_unproven()))
}

/// The last link of an account that nobody has confirmed is gone: so is the account, and its name is free.
pub(super) fn sweep_unconfirmed(unit: &mut Unit<'_, '_>, id: UserId) -> Result<(), StoreError> {
    // One that came from elsewhere was not made by whoever asked for the link.
    if unit.user(id)?.is_none_or(|user| !user.is_unproven()) {
        return Ok(());
    }
    match delete_user(unit, id) {
        Ok(_) => Ok(()),
        Err(UserError::Store(error)) => Err(error),
        Err(UserError::EmailTaken | UserError::NotFound | UserError::UsernameTaken) => Ok(()),
    }
}

/// An account is confirmed, or gone: nothing is left of its registration.
pub(super) fn forget_wanted(unit: &mut Unit<'_, '_>, id: UserId) -> Result<(), StoreError> {
    let Some(wanted) = unit.get(&keys::wanted_by(id))? else { return Ok(()) };
    unit.delete(keys::wanted_by(id));
    if let Ok(folded) = std::str::from_utf8(&wanted) {
        let newcomer = keys::newcomer(folded);
        if unit.get(&newcomer)?.is_some_and(|last| last == id.as_bytes()) {
            unit.delete(newcomer);
        }
    }
    Ok(())
}

/// Takes the address from an account that has never confirmed it. What stays is what stands in for a taken address:
/// whoever registered it is told nothing, and it goes with its last link. In the mailbox, which is somebody else's, no
/// link is left that would make the account theirs.
pub(super) fn lose_address(unit: &mut Unit<'_, '_>, mut user: User) -> Result<(), StoreError> {
    let confirms = keys::token_of(user.id, record::purpose_byte(&Purpose::ConfirmEmail));
    for only in unit.keys_under(&keys::tokens_of(user.id))?.into_iter().filter(|only| *only != confirms) {
        if let Some(digest) = unit.get(&only)?.as_deref().and_then(keys::digest_of) {
            delete_token(unit, digest)?;
        }
        unit.delete(only);
    }
    if let Some(email) = user.email.take() {
        unit.delete(keys::email(&email.folded()));
    }
    user.version += 1;
    unit.put(keys::user(user.id), record::encode_user(&user)?);
    Ok(())
}
