//! What is read, refused and changed of personal access tokens.
//!
//! Callers: `writer`, by way of `rules`.

use std::time::SystemTime;

use super::kept;
use crate::identity::{TokenId, UserId};
use crate::store::record::{self, millis};
use crate::store::sled::keys::{self, Expiring};
use crate::store::sled::unit::{Rows, Unit};
use crate::store::{
    Digest, PERSONAL_TOKENS_PER_ACCOUNT, PersonalToken, PersonalTokenError, StoreError, TOKEN_USE_EVERY,
};

/// Three operations each.
const ENDED_PER_UNIT: usize = 90;

pub(in crate::store::sled) fn create_personal_token(
    unit: &mut Unit<'_, '_>,
    token: &PersonalToken,
    session: Option<Digest>,
) -> Result<(), PersonalTokenError> {
    if unit.user(token.user_id)?.is_none_or(|user| !user.may_sign_in()) {
        return Err(PersonalTokenError::NoAccount);
    }
    if let Some(session) = session
        && unit.session(session)?.is_none_or(|kept| kept.session.user_id != token.user_id)
    {
        return Err(PersonalTokenError::NoSession);
    }
    if unit.keys_under(&keys::personal_tokens_of(token.user_id))?.len() >= PERSONAL_TOKENS_PER_ACCOUNT {
        return Err(PersonalTokenError::TooMany);
    }
    if let Some(second) = end_second(token) {
        unit.put(keys::expiry(second, Expiring::PersonalToken, token.digest), []);
    }
    unit.put(keys::personal_token_of(token.user_id, token.digest), []);
    unit.put(keys::personal_token(token.digest), record::encode_personal_token(token)?);
    Ok(())
}

pub(in crate::store::sled) fn revoke_personal_token(
    unit: &mut Unit<'_, '_>,
    id: TokenId,
    user: Option<UserId>,
) -> Result<Option<PersonalToken>, StoreError> {
    let found = unit.personal_token_by_id(id)?;
    let found = found.filter(|token| user.is_none_or(|user| token.user_id == user));
    if let Some(token) = &found {
        end(unit, token);
    }
    Ok(found)
}

/// Ends as many as one unit takes; says how many.
pub(in crate::store::sled) fn revoke_personal_tokens_of(
    unit: &mut Unit<'_, '_>,
    user: UserId,
) -> Result<usize, StoreError> {
    let mut tokens = unit.personal_tokens_of(user)?;
    tokens.truncate(ENDED_PER_UNIT);
    tokens.iter().for_each(|token| end(unit, token));
    Ok(tokens.len())
}

/// Writes down when a token was last used, unless what is written is recent enough.
pub(super) fn touch(unit: &mut Unit<'_, '_>, digest: Digest, now: SystemTime) -> Result<(), StoreError> {
    let Some(mut token) = unit.personal_token(digest)? else { return Ok(()) };
    let is_recent = |last: SystemTime| now.duration_since(last).unwrap_or_default() < TOKEN_USE_EVERY;
    if !token.last_used_at.is_some_and(is_recent) {
        token.last_used_at = Some(kept(now));
        unit.put(keys::personal_token(digest), record::encode_personal_token(&token)?);
    }
    Ok(())
}

pub(super) fn sweep(unit: &mut Unit<'_, '_>, digest: Digest, now: u64) -> Result<(), StoreError> {
    if let Some(token) = unit.personal_token(digest)?
        && end_second(&token).is_some_and(|second| second < now)
    {
        end(unit, &token);
    }
    Ok(())
}

/// The second under which the expiry index has it.
pub(in crate::store::sled) fn end_second(token: &PersonalToken) -> Option<u64> {
    token.expires_at.map(|at| millis(at).div_ceil(1000))
}

fn end(unit: &mut Unit<'_, '_>, token: &PersonalToken) {
    unit.delete(keys::personal_token(token.digest));
    unit.delete(keys::personal_token_of(token.user_id, token.digest));
    if let Some(second) = end_second(token) {
        unit.delete(keys::expiry(second, Expiring::PersonalToken, token.digest));
    }
}
