//! Checking that every row and every index entry vouch for each other.
//!
//! Callers: `writer` after an unclean stop, in the background; `sled` when somebody asks.

use std::ops::Bound;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ::sled::Tree;

use super::keys::{self, Expiring};
use super::unit::{Rows, read_error};
use super::{Shared, StoreError, Verification};
use crate::store::{failures, record};

/// The tree is lent for this many rows at a time, so that a check never holds up a recovery.
const SLICE: usize = 500;

/// A row is looked at again this often before it is called a fault: it may be changing just now.
const LOOKS: usize = 3;

const FAULTS_NAMED: usize = 10;

pub(super) fn in_background(shared: Arc<Shared>) {
    let check = move || {
        let started = Instant::now();
        match verify(&shared) {
            Ok(found) if found.faults == 0 => tracing::info!(
                accounts = found.accounts, sessions = found.sessions, took = ?started.elapsed(),
                "the last stop was not a clean one; all rows and indexes were checked and agree"
            ),
            Ok(found) => tracing::error!(
                faults = found.faults, first = ?found.first_faults,
                "rows and indexes do not agree after an unclean stop: nobody gets in by them, but \
                 restoring a backup should be considered"
            ),
            Err(error) => tracing::warn!(%error, "the check after an unclean stop was not finished"),
        }
    };
    let started = thread::Builder::new().name("store-verify".to_owned()).spawn(check);
    if let Err(error) = started {
        tracing::warn!(%error, "the check after an unclean stop could not start");
    }
}

pub(super) fn verify(shared: &Shared) -> Result<Verification, StoreError> {
    let mut found = Verification::default();
    let mut after = Vec::new();
    loop {
        let seen = shared.with_tree(|db| check_slice(db, &mut after, &mut found))?;
        if seen < SLICE {
            return Ok(found);
        }
    }
}

fn check_slice(tree: &Tree, after: &mut Vec<u8>, found: &mut Verification) -> Result<usize, StoreError> {
    let mut seen = 0;
    let start = (Bound::Excluded(after.clone()), Bound::Unbounded);
    for row in tree.range::<Vec<u8>, _>(start).take(SLICE) {
        let (key, _) = row.map_err(read_error)?;
        seen += 1;
        match key.first() {
            Some(b'Q') => found.mails += 1,
            Some(b'U') => found.accounts += 1,
            Some(b'P') => found.personal_tokens += 1,
            Some(b'S') => found.sessions += 1,
            Some(b'T') => found.one_time_tokens += 1,
            Some(b'I') if key.get(1) == Some(&b'd') => found.invitations += 1,
            _ => (),
        }
        if let Some(fault) = lasting_fault(tree, &key)? {
            found.faults += 1;
            if found.first_faults.len() < FAULTS_NAMED {
                found.first_faults.push(fault.to_owned());
            }
        }
        *after = key.to_vec();
    }
    Ok(seen)
}

fn lasting_fault(tree: &Tree, key: &[u8]) -> Result<Option<&'static str>, StoreError> {
    let mut fault = None;
    for look in 0..LOOKS {
        if look > 0 {
            thread::sleep(Duration::from_millis(2));
        }
        fault = match fault_of(tree, key) {
            Err(StoreError::Corrupt(_)) => Some("a row that can't be read"),
            other => other?,
        };
        if fault.is_none() {
            break;
        }
    }
    Ok(fault)
}

fn fault_of(tree: &Tree, key: &[u8]) -> Result<Option<&'static str>, StoreError> {
    // The row may be gone since the slice was begun, and then nothing has to vouch for it.
    let Some(value) = Rows::get(tree, key)? else { return Ok(None) };
    let (table, rest) = key.split_first().map_or((0, key), |(table, rest)| (*table, rest));
    let text = || std::str::from_utf8(rest).unwrap_or_default();
    let user_at = |at: &[u8]| keys::user_id_of(at).map_or(Ok(None), |id| tree.user(id));
    let fault = match table {
        b'U' => {
            let user = record::decode_user(&value)?;
            let entry = tree.user_by_username(&user.username.folded())?;
            let by_name = entry.is_some_and(|found| found.id == user.id);
            let by_email = match &user.email {
                Some(email) => tree.user_by_email(&email.folded())?.is_some_and(|found| found.id == user.id),
                None => true,
            };
            if user.id.as_bytes() != rest {
                Some("an account under another's number")
            } else if !by_name {
                Some("an account that its name doesn't lead to")
            } else {
                (!by_email).then_some("an account that its address doesn't lead to")
            }
        }
        b'N' => tree.user_by_username(text())?.is_none().then_some("a name that leads to no account"),
        b'E' => tree.user_by_email(text())?.is_none().then_some("an address that leads to no account"),
        b'S' => match keys::digest_of(rest) {
            None => Some("a session under a key that is no digest"),
            Some(digest) => {
                let kept = record::decode_session(digest, &value)?;
                let user = kept.session.user_id;
                if tree.user(user)?.is_none() {
                    Some("a session of no account")
                } else if Rows::get(tree, &keys::session_of(user, digest))?.is_none() {
                    Some("a session that is not in its account's list")
                } else {
                    let entry = keys::expiry(kept.swept_at, Expiring::Session, digest);
                    Rows::get(tree, &entry)?.is_none().then_some("a session that never expires")
                }
            }
        },
        b'L' => match keys::parse_session_of(key) {
            None => Some("an entry in a list of sessions that is none"),
            Some((user, digest)) => {
                let session = tree.session(digest)?.filter(|kept| kept.session.user_id == user);
                session.is_none().then_some("an entry in a list of sessions that leads to none")
            }
        },
        b'T' => match keys::digest_of(rest) {
            None => Some("a one-time token under a key that is no digest"),
            Some(digest) => {
                let token = record::decode_token(digest, &value)?;
                let only = keys::token_of(token.user_id, record::purpose_byte(&token.purpose));
                let is_only = Rows::get(tree, &only)?.is_some_and(|value| value == digest.as_bytes());
                let entry =
                    keys::expiry(record::millis(token.expires_at).div_ceil(1000), Expiring::Token, digest);
                if tree.user(token.user_id)?.is_none() {
                    Some("a one-time token of no account")
                } else if !is_only {
                    Some("a one-time token that is not its account's one")
                } else {
                    Rows::get(tree, &entry)?.is_none().then_some("a one-time token that never expires")
                }
            }
        },
        b'O' => {
            let token = keys::digest_of(&value).map_or(Ok(None), |digest| tree.token(digest))?;
            let user = rest.get(..16).map_or(Ok(None), user_at)?;
            (token.is_none() || user.is_none()).then_some("an account's one token that leads to none")
        }
        b'P' => match keys::digest_of(rest) {
            None => Some("a personal access token under a key that is no digest"),
            Some(digest) => {
                let token = record::decode_personal_token(digest, &value)?;
                let entry = super::rules::personal_token_end(&token)
                    .map(|second| keys::expiry(second, Expiring::PersonalToken, digest));
                if tree.user(token.user_id)?.is_none() {
                    Some("a personal access token of no account")
                } else if Rows::get(tree, &keys::personal_token_of(token.user_id, digest))?.is_none() {
                    Some("a personal access token that is not in its account's list")
                } else {
                    let is_swept =
                        entry.map_or(Ok(true), |entry| Rows::get(tree, &entry).map(|row| row.is_some()))?;
                    (!is_swept).then_some("a personal access token that never expires")
                }
            }
        },
        b'p' => match keys::parse_personal_token_of(key) {
            None => Some("an entry in a list of personal access tokens that is none"),
            Some((user, digest)) => {
                let token = tree.personal_token(digest)?.filter(|token| token.user_id == user);
                token.is_none().then_some("an entry in a list of personal access tokens that leads to none")
            }
        },
        b'R' => match keys::grant_of(rest) {
            None => Some("a refresh family under a key that is no number"),
            Some(id) => {
                let family = record::decode_family(id, &value)?;
                let listed = Rows::get(tree, &keys::family_of(family.user_id, id))?.is_some();
                (!listed).then_some("a refresh family that is not in its account's list")
            }
        },
        b'F' => match keys::pair_of(rest) {
            None => Some("an entry in a list of refresh families that is none"),
            Some((user, id)) => {
                let family = tree.family(id)?.filter(|family| family.user_id == user);
                family.is_none().then_some("an entry in a list of refresh families that leads to none")
            }
        },
        // It may outlive its account: what it revokes may as well.
        b'J' => keys::pair_of(rest).is_none().then_some("a revoked token under a key that is none"),
        b'Q' => match keys::parse_mail(key) {
            None => Some("a mail under a key that is none"),
            Some(_) => record::decode_mail(&value).map(|_| None)?,
        },
        b'I' => match rest.split_first() {
            Some((b'd', digest)) => match keys::digest_of(digest) {
                None => Some("an invitation under a key that is no digest"),
                Some(digest) => {
                    let invitation = record::decode_invitation(digest, &value)?;
                    let only = super::rules::only_invitation(&invitation);
                    let is_only = Rows::get(tree, &only)?.is_some_and(|value| value == digest.as_bytes());
                    let end = record::millis(invitation.expires_at).div_ceil(1000);
                    let entry = keys::expiry(end, Expiring::Invitation, digest);
                    if !is_only {
                        Some("an invitation that is not its address's one")
                    } else {
                        Rows::get(tree, &entry)?.is_none().then_some("an invitation that never expires")
                    }
                }
            },
            Some((b'e' | b'm', _)) => {
                let found = keys::digest_of(&value).map_or(Ok(None), |digest| tree.invitation(digest))?;
                let same = found.is_some_and(|found| super::rules::only_invitation(&found) == key);
                (!same).then_some("an address's one invitation that leads to none")
            }
            _ => Some("a row of invitations that is none"),
        },
        b'W' => match rest.split_first() {
            Some((b'e', folded)) => {
                let user = user_at(&value)?;
                let wanted = user.map_or(Ok(None), |user| Rows::get(tree, &keys::wanted_by(user.id)))?;
                let same = wanted.is_some_and(|wanted| wanted == folded);
                (!same).then_some("an address's last registration that leads to none")
            }
            Some((b'u', id)) => user_at(id)?.is_none().then_some("a registration's address of no account"),
            _ => Some("a row of registrations that is none"),
        },
        b'B' => failures::decode_failures(rest, &value).map(|_| None)?,
        b'K' => record::decode_key(&value).map(|_| None)?,
        // Of a session that is gone an entry may be left, until the sweeper comes by.
        b'X' => keys::parse_expiry(key).is_none().then_some("an entry of the expiry index that is none"),
        b'V' => (value.len() != 32).then_some("a secret that hasn't 32 bytes"),
        b'M' => None,
        _ => Some("a row of no known table"),
    };
    Ok(fault)
}
