//! What each operation reads, refuses and changes: the store's promises, without threads or disks.
//!
//! Callers: `writer`, which makes a unit of each of these durable. A rule that returns an error has
//! changed nothing, for its unit is then thrown away.

use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret, SecretString};

use super::keys::{self, Expiring};
use super::unit::{OPERATIONS_PER_BATCH, Rows, Unit};
use crate::identity::{Email, UserId};
use crate::store::record::{self, KeptSession, millis, purpose_byte, time};
use crate::store::{
    Digest, EndSessions, NewUser, OneTimeToken, Purpose, SESSIONS_PER_ACCOUNT, Session, SessionError,
    SigningKey, StoreError, TokenError, User, UserChange, UserError, noted_after,
};

mod failures;
mod invitations;
mod personal;
pub(super) mod refresh;
mod registration;
mod restore;

pub(super) use failures::{clear_failures, note_failures, sweep_failures};
pub(super) use invitations::{
    accept_invitation, create_invitation, end_invitations, invitations_of, live_invitation,
    only_one as only_invitation,
};
pub(super) use personal::{
    create_personal_token, end_second as personal_token_end, revoke_personal_token, revoke_personal_tokens_of,
};
pub(super) use registration::{confirm_email, contended, register};
pub(super) use restore::restore_rows;

/// Ending more sessions than this in one unit leaves the further entries of the expiry index to the
/// sweeper. It keeps the largest unit, an account that goes with all its sessions, links and tokens, within a batch.
const EXPIRY_ENTRIES_PER_UNIT: usize = 70;

/// What one entry of the expiry index may take away with it: an account that was never confirmed, with its links.
const OPERATIONS_PER_ENTRY: usize = 18;

/// Entries that are read at a time where all have to be looked at.
const ENTRIES_AT_ONCE: usize = 1000;

/// When the sweeper comes back to what it could not read.
const SECONDS_UNTIL_ANOTHER_LOOK: u64 = 24 * 60 * 60;

// ---- accounts --------------------------------------------------------------------------------

pub(super) fn create_user(unit: &mut Unit<'_, '_>, new: &NewUser) -> Result<User, UserError> {
    let id = UserId::generate();
    if unit.user_by_username(&new.username.folded())?.is_some() {
        return Err(UserError::UsernameTaken);
    }
    let claim = if new.email_is_proven { Claim::Proven } else { Claim::Unproven };
    claim_email(unit, id, new.email.as_ref(), claim)?;
    let user = User {
        awaits_approval: new.awaits_approval,
        awaits_confirmation: new.awaits_confirmation,
        goes_unconfirmed: false,
        created_at: kept(new.created_at),
        credentials_since: new.password_hash.is_some().then(|| kept(new.created_at)),
        disabled: new.disabled,
        email: new.email.clone(),
        id,
        language: new.language.clone(),
        name: new.name.clone(),
        password_hash: new.password_hash.clone(),
        roles: new.roles.clone(),
        username: new.username.clone(),
        version: 1,
    };
    unit.put(keys::user(id), record::encode_user(&user)?);
    unit.put(keys::username(&user.username.folded()), *id.as_bytes());
    Ok(user)
}

pub(super) fn change_user(
    unit: &mut Unit<'_, '_>,
    id: UserId,
    change: &UserChange,
) -> Result<User, UserError> {
    let as_meant = |user: &User| change.credentials_since.is_none_or(|since| since == user.credentials_since);
    let mut user = unit.user(id)?.filter(as_meant).ok_or(UserError::NotFound)?;
    let mut links_are_void = false;
    if let Some(email) = &change.email {
        if let Some(old) = &user.email {
            unit.delete(keys::email(&old.folded()));
        }
        claim_email(unit, id, email.as_ref(), Claim::Proven)?;
        // A link may be waiting in the mailbox that is no longer theirs.
        links_are_void |= user.email != *email;
        user.awaits_confirmation = false;
        registration::forget_wanted(unit, id)?;
        user.email = email.clone();
    }
    if let Some(name) = &change.name {
        user.name = name.clone();
    }
    if let Some((hash, at)) = &change.password {
        set_password(&mut user, hash, *at);
        links_are_void = true;
    }
    if let Some(roles) = &change.roles {
        user.roles = roles.clone();
    }
    if let Some(disabled) = change.disabled {
        user.disabled = disabled;
        if disabled {
            // Or the tokens of before would be good again when the account is enabled again.
            void_credentials(&mut user, SystemTime::now());
            // Nobody is told to confirm it any more: no password need be tried at it, and its link has ended.
            registration::forget_wanted(unit, id)?;
        }
    }
    let ending = if user.disabled { EndSessions::All } else { change.sessions };
    if ending.ends_tokens() && change.password.is_none() && change.disabled != Some(true) {
        void_credentials(&mut user, SystemTime::now());
    }
    user.awaits_approval &= !change.approved;
    user.version += 1;
    unit.put(keys::user(id), record::encode_user(&user)?);

    end_logins_of(unit, id, ending)?;
    if links_are_void {
        delete_tokens_of(unit, id)?;
    }
    Ok(user)
}

pub(super) fn upgrade_hash(
    unit: &mut Unit<'_, '_>,
    id: UserId,
    old: &SecretString,
    new: &SecretString,
) -> Result<bool, StoreError> {
    let Some(mut user) = unit.user(id)? else { return Ok(false) };
    let still = user.password_hash.as_ref().is_some_and(|hash| hash.expose_secret() == old.expose_secret());
    if still {
        user.password_hash = Some(new.clone());
        user.version += 1;
        unit.put(keys::user(id), record::encode_user(&user)?);
    }
    Ok(still)
}

pub(super) fn delete_user(unit: &mut Unit<'_, '_>, id: UserId) -> Result<User, UserError> {
    let user = unit.user(id)?.ok_or(UserError::NotFound)?;
    end_logins_of(unit, id, EndSessions::All)?;
    revoke_personal_tokens_of(unit, id)?;
    registration::forget_wanted(unit, id)?;
    invitations::mark_ended(unit, id)?;
    unit.delete(keys::username(&user.username.folded()));
    if let Some(email) = &user.email {
        unit.delete(keys::email(&email.folded()));
    }
    unit.delete(keys::user(id));
    Ok(user)
}

/// Takes away an account whose row can't be read, with what hangs on it; says whether it was one.
pub(super) fn delete_damaged_user(unit: &mut Unit<'_, '_>, id: UserId) -> Result<bool, StoreError> {
    match unit.user(id) {
        Err(StoreError::Corrupt(_)) => {}
        Ok(_) => return Ok(false),
        Err(error) => return Err(error),
    }
    end_logins_of(unit, id, EndSessions::All)?;
    revoke_personal_tokens_of(unit, id)?;
    registration::forget_wanted(unit, id)?;
    invitations::mark_ended(unit, id)?;
    // Its name and its address stand in no row that can be read: all entries are looked at.
    for table in [b"N", b"E"] {
        let mut after = Vec::new();
        loop {
            let rows = unit.rows_after(table, &after, ENTRIES_AT_ONCE)?;
            let Some((last, _)) = rows.last() else { break };
            after.clone_from(last);
            for (key, value) in rows {
                if keys::user_id_of(&value) == Some(id) {
                    unit.delete(key);
                }
            }
        }
    }
    unit.delete(keys::user(id));
    Ok(true)
}

fn set_password(user: &mut User, hash: &SecretString, asked_at: SystemTime) {
    void_credentials(user, asked_at);
    user.password_hash = Some(hash.clone());
}

/// A login or a token whose request came before this moment may rest on the account as it was (the
/// old password), so the moment is the one from which on readers see it as it is. The time of the
/// asking would be too early: a new password was hashed since then.
fn void_credentials(user: &mut User, asked_at: SystemTime) {
    // Rounded up: a login of the same millisecond was first.
    let moment = asked_at.max(SystemTime::now()) + Duration::from_nanos(999_999);
    user.credentials_since = Some(kept(moment));
}

/// Whether whoever claims an address has shown that it is theirs, or an administrator vouches for it.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Claim {
    Proven,
    Unproven,
}

/// Who has registered with an address and never confirmed it holds it against those alone who haven't either.
fn claim_email(
    unit: &mut Unit<'_, '_>,
    id: UserId,
    email: Option<&Email>,
    claim: Claim,
) -> Result<(), UserError> {
    let Some(folded) = email.map(Email::folded) else { return Ok(()) };
    match unit.user_by_email(&folded)?.filter(|other| other.id != id) {
        Some(other) if claim == Claim::Proven && other.is_unproven() => {
            registration::lose_address(unit, other)?;
        }
        Some(_) => return Err(UserError::EmailTaken),
        None => {}
    }
    if claim == Claim::Proven {
        invitations::end_administrators(unit, &folded)?;
    }
    unit.put(keys::email(&folded), *id.as_bytes());
    Ok(())
}

// ---- sessions --------------------------------------------------------------------------------

/// Gives the sessions that ended for this one.
pub(super) fn create_session(
    unit: &mut Unit<'_, '_>,
    session: &Session,
) -> Result<Vec<Digest>, SessionError> {
    let user = unit.user(session.user_id)?.filter(User::may_sign_in).ok_or(SessionError::NoAccount)?;
    if user.credentials_since.is_some_and(|since| session.authenticated_at < since) {
        return Err(SessionError::OldLogin);
    }
    if let Some(same) = unit.session(session.digest)? {
        end(unit, &same, true);
    }
    let mut ended = Vec::new();
    // Counting the entries first spares the rows of everybody who is below the cap.
    if unit.keys_under(&keys::sessions_of(session.user_id))?.len() >= SESSIONS_PER_ACCOUNT {
        let mut others = unit.sessions_of(session.user_id)?;
        others.sort_by_key(|kept| std::cmp::Reverse(kept.session.authenticated_at));
        for oldest in others.iter().skip(SESSIONS_PER_ACCOUNT - 1) {
            end(unit, oldest, true);
            ended.push(oldest.session.digest);
        }
    }
    let swept_at = end_second(session);
    unit.put(keys::session_of(session.user_id, session.digest), []);
    unit.put(keys::expiry(swept_at, Expiring::Session, session.digest), []);
    let kept = KeptSession { session: session.clone(), swept_at };
    unit.put(keys::session(session.digest), record::encode_session(&kept)?);
    Ok(ended)
}

pub(super) fn end_session(unit: &mut Unit<'_, '_>, digest: Digest) -> Result<bool, StoreError> {
    let found = unit.session(digest)?;
    if let Some(kept) = &found {
        end(unit, kept, true);
    }
    Ok(found.is_some())
}

/// Ends sessions of an account, and its tokens where that is asked.
pub(super) fn end_sessions_of(
    unit: &mut Unit<'_, '_>,
    user: UserId,
    which: EndSessions,
) -> Result<usize, StoreError> {
    if which.ends_tokens() {
        refresh::end_all(unit, user)?;
    }
    end_logins_of(unit, user, which)
}

/// For an account of which the caller says that its credentials have ended.
fn end_logins_of(unit: &mut Unit<'_, '_>, user: UserId, which: EndSessions) -> Result<usize, StoreError> {
    if which.ends_tokens() {
        refresh::mark_ended(unit, user)?;
    }
    let keep = match which {
        EndSessions::None => return Ok(0),
        EndSessions::All => {
            delete_tokens_of(unit, user)?;
            None
        }
        EndSessions::AllSessions => None,
        EndSessions::Except(digest) => Some(digest),
    };
    let mut sessions = unit.sessions_of(user)?;
    sessions.retain(|kept| Some(kept.session.digest) != keep);
    for (number, kept) in sessions.iter().enumerate() {
        end(unit, kept, number < EXPIRY_ENTRIES_PER_UNIT);
    }
    Ok(sessions.len())
}

/// Writes down when sessions and personal access tokens were last used, unless what is written is recent enough.
pub(super) fn touch(unit: &mut Unit<'_, '_>, touches: &[(Digest, SystemTime)]) -> Result<(), StoreError> {
    for (digest, now) in touches {
        let Some(mut kept) = unit.session(*digest)? else {
            personal::touch(unit, *digest, *now)?;
            continue;
        };
        let since = now.duration_since(kept.session.last_seen).unwrap_or_default();
        if since > noted_after(kept.session.idle_timeout) {
            kept.session.last_seen = time(millis(*now));
            // The expiry index learns of it when the sweeper comes by: one row a touch is enough.
            unit.put(keys::session(*digest), record::encode_session(&kept)?);
        }
    }
    Ok(())
}

fn end(unit: &mut Unit<'_, '_>, kept: &KeptSession, with_expiry_entry: bool) {
    let session = &kept.session;
    unit.delete(keys::session(session.digest));
    unit.delete(keys::session_of(session.user_id, session.digest));
    if with_expiry_entry {
        unit.delete(keys::expiry(kept.swept_at, Expiring::Session, session.digest));
    }
}

/// The first second in which the session is over, used no more.
fn end_second(session: &Session) -> u64 {
    let idle = u64::try_from(session.idle_timeout.as_millis()).unwrap_or(u64::MAX);
    let end = millis(session.expires_at).min(millis(session.last_seen).saturating_add(idle));
    end.div_ceil(1000)
}

// ---- one-time tokens -------------------------------------------------------------------------

pub(super) fn create_one_time_token(unit: &mut Unit<'_, '_>, token: &OneTimeToken) -> Result<(), TokenError> {
    if unit.user(token.user_id)?.is_none_or(|user| user.disabled) {
        return Err(TokenError::Invalid);
    }
    let only = keys::token_of(token.user_id, purpose_byte(&token.purpose));
    if let Some(older) = unit.get(&only)?.as_deref().and_then(keys::digest_of) {
        delete_token(unit, older)?;
    }
    unit.put(keys::expiry(millis(token.expires_at).div_ceil(1000), Expiring::Token, token.digest), []);
    unit.put(keys::token(token.digest), record::encode_token(token)?);
    unit.put(only, *token.digest.as_bytes());
    Ok(())
}

/// As many bytes as a link takes in its rows, where nobody will look for them.
pub(super) fn pretend_one_time_token(unit: &mut Unit<'_, '_>) -> Result<(), TokenError> {
    unit.put(keys::PRETENDED.to_vec(), [0; 160]);
    Ok(())
}

pub(super) fn live_token(
    rows: &impl Rows,
    digest: Digest,
    now: SystemTime,
) -> Result<OneTimeToken, TokenError> {
    rows.token(digest)?.filter(|token| now < token.expires_at).ok_or(TokenError::Invalid)
}

pub(super) fn set_password_with_token(
    unit: &mut Unit<'_, '_>,
    digest: Digest,
    hash: &SecretString,
    now: SystemTime,
) -> Result<User, TokenError> {
    let token = live_token(unit, digest, now)?;
    match token.purpose {
        Purpose::SetPassword => (),
        Purpose::ConfirmEmail | Purpose::ConfirmNewEmail(_) => return Err(TokenError::Invalid),
    }
    let Some(mut user) = unit.user(token.user_id)?.filter(|user| !user.disabled) else {
        return Err(TokenError::Invalid);
    };
    set_password(&mut user, hash, now);
    // The link came by the mailbox, or from an administrator who vouches for it.
    user.awaits_confirmation = false;
    registration::forget_wanted(unit, user.id)?;
    user.version += 1;
    unit.put(keys::user(user.id), record::encode_user(&user)?);
    // Ends this token as well.
    end_logins_of(unit, user.id, EndSessions::All)?;
    Ok(user)
}

/// Takes one token away, with the entry that names it as its account's one.
fn end_token(unit: &mut Unit<'_, '_>, token: &OneTimeToken) -> Result<(), StoreError> {
    delete_token(unit, token.digest)?;
    let only = keys::token_of(token.user_id, purpose_byte(&token.purpose));
    if unit.get(&only)?.as_deref() == Some(token.digest.as_bytes()) {
        unit.delete(only);
    }
    Ok(())
}

fn delete_tokens_of(unit: &mut Unit<'_, '_>, user: UserId) -> Result<(), StoreError> {
    for only in unit.keys_under(&keys::tokens_of(user))? {
        if let Some(digest) = unit.get(&only)?.as_deref().and_then(keys::digest_of) {
            delete_token(unit, digest)?;
        }
        unit.delete(only);
    }
    Ok(())
}

/// The token and its expiry entry, not the entry that names it as the account's one.
fn delete_token(unit: &mut Unit<'_, '_>, digest: Digest) -> Result<(), StoreError> {
    if let Some(token) = unit.token(digest)? {
        unit.delete(keys::expiry(millis(token.expires_at).div_ceil(1000), Expiring::Token, digest));
        unit.delete(keys::token(digest));
    }
    Ok(())
}

// ---- keys ------------------------------------------------------------------------------------

pub(super) fn ensure_signing_key(
    unit: &mut Unit<'_, '_>,
    candidate: &SigningKey,
) -> Result<Vec<SigningKey>, StoreError> {
    if !unit.signing_keys()?.iter().any(|key| key.algorithm == candidate.algorithm) {
        unit.put(keys::signing_key(&candidate.kid), record::encode_key(candidate)?.as_slice());
    }
    unit.signing_keys()
}

pub(super) fn change_signing_keys(
    unit: &mut Unit<'_, '_>,
    add: Option<&SigningKey>,
    remove: &[String],
) -> Result<Vec<SigningKey>, StoreError> {
    if let Some(key) = add {
        unit.put(keys::signing_key(&key.kid), record::encode_key(key)?.as_slice());
    }
    for kid in remove {
        unit.delete(keys::signing_key(kid));
    }
    unit.signing_keys()
}

pub(super) fn ensure_secret(
    unit: &mut Unit<'_, '_>,
    name: &str,
    candidate: &[u8; 32],
) -> Result<[u8; 32], StoreError> {
    let key = keys::secret(name);
    match unit.get(&key)? {
        Some(kept) => kept
            .as_ref()
            .try_into()
            .map_err(|_| StoreError::Corrupt("a secret that hasn't 32 bytes".to_owned())),
        None => {
            unit.put(key, *candidate);
            Ok(*candidate)
        }
    }
}

// ---- sweeping --------------------------------------------------------------------------------

/// Takes away rows whose time is over, of up to `limit` entries; says whether there may be more of them.
pub(super) fn sweep(unit: &mut Unit<'_, '_>, now: SystemTime, limit: usize) -> Result<bool, StoreError> {
    let now = millis(now) / 1000;
    let due = unit.due(&keys::expiry_before(now), limit)?;
    for key in &due {
        if unit.len() + OPERATIONS_PER_ENTRY > OPERATIONS_PER_BATCH {
            return Ok(true);
        }
        unit.delete(key.clone());
        let Some((second, kind, digest)) = keys::parse_expiry(key) else { continue };
        match unit.part(|unit| sweep_one(unit, second, kind, digest, now)) {
            // Or it would hold up for ever what comes behind it. Another time somebody may have mended it.
            Err(StoreError::Corrupt(reason)) => {
                tracing::warn!(%reason, "a row whose time is over can't be read; it is tried again in a day");
                unit.put(keys::expiry(now + SECONDS_UNTIL_ANOTHER_LOOK, kind, digest), []);
            }
            other => other?,
        }
    }
    Ok(due.len() == limit)
}

/// What one entry of the expiry index leads to.
fn sweep_one(
    unit: &mut Unit<'_, '_>,
    second: u64,
    kind: Expiring,
    digest: Digest,
    now: u64,
) -> Result<(), StoreError> {
    match kind {
        Expiring::FamiliesOf => refresh::sweep_families_of(unit, keys::parse_pair(digest).0),
        Expiring::Family => {
            refresh::sweep_family(unit, keys::parse_pair(digest));
            Ok(())
        }
        Expiring::Invitation => invitations::sweep_invitation(unit, digest, now),
        Expiring::InvitationsOf => invitations::sweep_invitations_of(unit, keys::parse_pair(digest).0),
        Expiring::PersonalToken => personal::sweep(unit, digest, now),
        Expiring::Revoked => {
            refresh::sweep_revoked(unit, keys::parse_pair(digest));
            Ok(())
        }
        Expiring::Session => sweep_session(unit, digest, second, now),
        Expiring::Token => sweep_token(unit, digest, now),
    }
}

fn sweep_session(unit: &mut Unit<'_, '_>, digest: Digest, second: u64, now: u64) -> Result<(), StoreError> {
    let Some(mut kept) = unit.session(digest)? else { return Ok(()) };
    let ends_at = end_second(&kept.session);
    if ends_at < now {
        end(unit, &kept, true);
    } else if kept.swept_at <= second {
        // It was used since the entry was made: come back at its new end. (The entry is a later one where the row
        // could not be read.)
        kept.swept_at = ends_at;
        unit.put(keys::expiry(ends_at, Expiring::Session, digest), []);
        unit.put(keys::session(digest), record::encode_session(&kept)?);
    }
    Ok(())
}

fn sweep_token(unit: &mut Unit<'_, '_>, digest: Digest, now: u64) -> Result<(), StoreError> {
    let over = |token: &OneTimeToken| millis(token.expires_at).div_ceil(1000) < now;
    let Some(token) = unit.token(digest)?.filter(over) else { return Ok(()) };
    end_token(unit, &token)?;
    match token.purpose {
        Purpose::ConfirmEmail => registration::sweep_unconfirmed(unit, token.user_id),
        Purpose::ConfirmNewEmail(_) | Purpose::SetPassword => Ok(()),
    }
}

/// A time as it will be read back, so that what is answered now equals what is answered later.
fn kept(at: SystemTime) -> SystemTime {
    time(millis(at))
}

pub(super) mod outbox;
#[cfg(test)]
mod tests;
