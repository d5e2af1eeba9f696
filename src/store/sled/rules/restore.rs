//! Rows of a backup on their way back.
//!
//! Callers: `command`. The file that they come from is `store::backup`'s.

use std::time::{Duration, SystemTime};

use super::create_one_time_token;
use crate::store::sled::backup::is_content;
use crate::store::sled::unit::Unit;
use crate::store::{
    BackupRow, Digest, OneTimeToken, Purpose, Restoring, StoreError, TokenError, User, record,
};

/// How long a restored account may still be confirmed, by a link that is asked for anew.
const LAPSE: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// Tables of what ends by itself or by a word that may have been said since: sessions and their lists, links, invitations, refresh
/// tokens, mails to be sent, failed logins.
const PASSING: &[u8] = b"SLTORFQBI";

/// Writes rows, or takes away what later lines of the same backup say is gone.
pub(in crate::store::sled) fn restore_rows(
    unit: &mut Unit<'_, '_>,
    rows: &[BackupRow],
    what: Restoring,
) -> Result<(), StoreError> {
    for BackupRow { key, value } in rows.iter().filter(|row| is_content(&row.key)) {
        let Some(value) = value else {
            unit.delete(key.clone());
            continue;
        };
        match (what, key.first()) {
            (Restoring::WithoutSessions { .. }, Some(table)) if PASSING.contains(table) => {}
            // What an entry of the expiry index leads to has its table's letter behind the second.
            (Restoring::WithoutSessions { .. }, Some(b'X'))
                if key.get(9).is_some_and(|kind| PASSING.contains(kind)) => {}
            (Restoring::WithoutSessions { since }, Some(b'U')) => {
                let mut user = record::decode_user(value)?;
                user.credentials_since =
                    Some(user.credentials_since.map_or(since, |earlier| earlier.max(since)));
                unit.put(key.clone(), record::encode_user(&user)?);
                if user.is_unproven() {
                    lapse(unit, &user, since)?;
                }
            }
            (Restoring::All | Restoring::WithoutSessions { .. }, _) => unit.put(key.clone(), value.clone()),
        }
    }
    Ok(())
}

/// The links don't come back, and with the last of them an account goes that nobody confirms: this one nobody knows.
fn lapse(unit: &mut Unit<'_, '_>, user: &User, since: SystemTime) -> Result<(), StoreError> {
    let mut unknown = [0; 32];
    getrandom::fill(&mut unknown).expect("the operating system gives random bytes");
    let link = OneTimeToken {
        digest: Digest::from_bytes(unknown),
        expires_at: since + LAPSE,
        purpose: Purpose::ConfirmEmail,
        user_id: user.id,
    };
    create_one_time_token(unit, &link).or_else(|error| match error {
        // A disabled one stays until somebody decides.
        TokenError::Invalid => Ok(()),
        TokenError::Store(error) => Err(error),
    })
}
