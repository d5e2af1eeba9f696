//! Refresh families and revoked access tokens: what each operation on them reads, refuses and changes.
//!
//! What ends all tokens of an account (a new password, disabling, deletion, signing out everywhere) does so by the
//! account's `credentials_since`, or by the account being gone: no row of a family has to be touched for it, so the
//! unit stays small, however many there are. The rows are the sweeper's, which finds the account by a mark in the
//! expiry index.
//!
//! Callers: `writer`, by way of `command`; `rules` when credentials end.

use std::time::SystemTime;

use crate::identity::{GrantId, UserId};
use crate::store::record::{self, millis, time};
use crate::store::sled::keys::{self, Expiring};
use crate::store::sled::unit::{Rows, Unit};
use crate::store::{
    FAMILIES_PER_ACCOUNT, PreviousToken, REVOCATIONS_PER_ACCOUNT, RefreshFamily, Rotated, Rotation,
    SessionError, StoreError, User,
};

/// Families of an ended account that the sweeper takes at a time; two operations each.
const SWEPT_AT_ONCE: usize = 7;

/// Keeps the family of a login. Gives how many it took the place of.
pub(in crate::store::sled) fn create(
    unit: &mut Unit<'_, '_>,
    family: &RefreshFamily,
) -> Result<usize, SessionError> {
    let user = unit.user(family.user_id)?.filter(|user| user.may_sign_in()).ok_or(SessionError::NoAccount)?;
    if !is_of(&user, family) {
        return Err(SessionError::OldLogin);
    }
    let mut ended = 0;
    if unit.keys_under(&keys::families_of(user.id))?.len() >= FAMILIES_PER_ACCOUNT {
        let mut others = unit.families_of(user.id)?;
        others.sort_by_key(|other| std::cmp::Reverse(other.last_used));
        // Its access tokens have their own short time: whoever needs many logins at once loses none of them.
        for other in others.iter().skip(FAMILIES_PER_ACCOUNT - 1) {
            delete(unit, other);
            ended += 1;
        }
    }
    unit.put(keys::family_of(user.id, family.id), []);
    unit.put(expiry(family), []);
    unit.put(keys::family(family.id), record::encode_family(family)?);
    Ok(ended)
}

/// A refresh token was shown: what becomes of it and of its family.
pub(in crate::store::sled) fn rotate(
    unit: &mut Unit<'_, '_>,
    rotation: &Rotation,
) -> Result<Rotated, StoreError> {
    let Some(mut family) = unit.family(rotation.family)? else { return Ok(Rotated::Unknown) };
    let ends_at = family.expires_at.min(family.authenticated_at + rotation.lifetime);
    if rotation.now >= ends_at {
        return Ok(Rotated::Expired);
    }
    let user = unit.user(family.user_id)?.filter(|user| user.may_sign_in() && is_of(user, &family));
    let Some(user) = user.map(Box::new) else { return Ok(Rotated::AccountGone) };
    if rotation.shown == family.current {
        family.previous = Some(PreviousToken {
            digest: rotation.shown,
            nonce: rotation.nonce,
            until: time(millis(rotation.now + rotation.grace)),
        });
        family.current = rotation.next;
        family.last_used = time(millis(rotation.now));
        // Whoever is told again within the grace gets an access token of his own.
        let access_until = rotation.access_until + rotation.grace;
        family.access_until = family.access_until.max(time(millis(access_until)));
        unit.put(keys::family(family.id), record::encode_family(&family)?);
        return Ok(Rotated::Rotated { family, user });
    }
    match &family.previous {
        Some(previous) if previous.digest == rotation.shown && rotation.now < previous.until => {
            let nonce = previous.nonce;
            Ok(Rotated::Grace { family, nonce, user })
        }
        Some(_) | None => {
            end(unit, &family)?;
            Ok(Rotated::Reused { user_id: family.user_id })
        }
    }
}

/// Revokes a family, with its access tokens. Gives whose it was.
pub(in crate::store::sled) fn revoke_family(
    unit: &mut Unit<'_, '_>,
    id: GrantId,
) -> Result<Option<UserId>, StoreError> {
    let Some(family) = unit.family(id)? else { return Ok(None) };
    end(unit, &family)?;
    Ok(Some(family.user_id))
}

/// Refuses one access token from now on; what is revoked is remembered until it has ended by itself.
pub(in crate::store::sled) fn revoke(
    unit: &mut Unit<'_, '_>,
    user: UserId,
    id: GrantId,
    until: SystemTime,
) -> Result<(), StoreError> {
    if unit.keys_under(&keys::revoked_of(user))?.len() >= REVOCATIONS_PER_ACCOUNT {
        tracing::warn!(
            user.id = %user,
            "more tokens of an account were revoked than are remembered one by one: all of its tokens have ended"
        );
        return end_all(unit, user);
    }
    let second = millis(until).div_ceil(1000);
    unit.put(keys::revoked(user, id), second.to_be_bytes());
    unit.put(keys::expiry(second, Expiring::Revoked, keys::pair(user, id)), []);
    Ok(())
}

/// Ends all tokens of an account, and all logins that are under way.
pub(in crate::store::sled) fn end_all(unit: &mut Unit<'_, '_>, user: UserId) -> Result<(), StoreError> {
    if let Some(mut user) = unit.user(user)? {
        super::void_credentials(&mut user, SystemTime::now());
        user.version += 1;
        unit.put(keys::user(user.id), record::encode_user(&user)?);
    }
    mark_ended(unit, user)
}

/// Has the sweeper look at the families of an account.
pub(in crate::store::sled) fn mark_ended(unit: &mut Unit<'_, '_>, user: UserId) -> Result<(), StoreError> {
    if !unit.keys_under(&keys::families_of(user))?.is_empty() {
        unit.put(keys::expiry(0, Expiring::FamiliesOf, keys::whole(user)), []);
    }
    Ok(())
}

/// Whether the family rests on the credentials that the account has now.
fn is_of(user: &User, family: &RefreshFamily) -> bool {
    user.credentials_since.is_none_or(|since| family.authenticated_at >= since)
}

fn end(unit: &mut Unit<'_, '_>, family: &RefreshFamily) -> Result<(), StoreError> {
    delete(unit, family);
    revoke(unit, family.user_id, family.id, family.access_until)
}

fn delete(unit: &mut Unit<'_, '_>, family: &RefreshFamily) {
    unit.delete(keys::family(family.id));
    unit.delete(keys::family_of(family.user_id, family.id));
    unit.delete(expiry(family));
}

fn expiry(family: &RefreshFamily) -> Vec<u8> {
    let second = millis(family.expires_at).div_ceil(1000);
    keys::expiry(second, Expiring::Family, keys::pair(family.user_id, family.id))
}

/// The time of a family is over.
pub(super) fn sweep_family(unit: &mut Unit<'_, '_>, (user, id): (UserId, GrantId)) {
    unit.delete(keys::family(id));
    unit.delete(keys::family_of(user, id));
}

/// What was revoked has ended by itself.
pub(super) fn sweep_revoked(unit: &mut Unit<'_, '_>, (user, id): (UserId, GrantId)) {
    unit.delete(keys::revoked(user, id));
}

/// Takes some of the families away that ended with their account's credentials; the mark stays until none is left.
pub(super) fn sweep_families_of(unit: &mut Unit<'_, '_>, id: UserId) -> Result<(), StoreError> {
    let user = unit.user(id)?.filter(|user| user.may_sign_in());
    let ended = |family: &RefreshFamily| user.as_ref().is_none_or(|user| !is_of(user, family));
    let mut left = unit.families_of(id)?;
    left.retain(ended);
    for family in left.iter().take(SWEPT_AT_ONCE) {
        // Its entry in the expiry index leads nowhere from now on.
        unit.delete(keys::family(family.id));
        unit.delete(keys::family_of(id, family.id));
    }
    if left.len() > SWEPT_AT_ONCE {
        unit.put(keys::expiry(0, Expiring::FamiliesOf, keys::whole(id)), []);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
