//! Counts of failed logins: written when there is time for it, read at the start, forgotten after theirs.
//!
//! Callers: `writer` for the counts that wait and for the sweeping; `command` where an administrator clears them.

use std::time::SystemTime;

use crate::store::StoreError;
use crate::store::failures::{self, Failures, TriedAccount};
use crate::store::sled::keys;
use crate::store::sled::unit::{Rows, Unit};

/// Rows of one unit at most.
const CLEARED: usize = 200;

/// Writes counts down; those of nothing go.
pub(in crate::store::sled) fn note_failures(
    unit: &mut Unit<'_, '_>,
    counts: &[Failures],
) -> Result<(), StoreError> {
    for count in counts {
        let key = keys::failures(count.key);
        match count.count {
            0 => unit.delete(key),
            _ => unit.put(key, failures::encode_failures(count)?),
        }
    }
    Ok(())
}

/// Clears up to some hundreds of the counts at one account, whatever their source; says how many, so that whoever asks
/// comes again while there are more.
pub(in crate::store::sled) fn clear_failures(
    unit: &mut Unit<'_, '_>,
    account: TriedAccount,
) -> Result<usize, StoreError> {
    let mut found = unit.keys_under(&keys::failures_at(account))?;
    found.truncate(CLEARED);
    let cleared = found.len();
    for key in found {
        unit.delete(key);
    }
    Ok(cleared)
}

/// Looks at up to `limit` counts behind `after`, takes away those that count no more, and leaves `after` at the last one;
/// at the end it is empty.
pub(in crate::store::sled) fn sweep_failures(
    unit: &mut Unit<'_, '_>,
    after: &mut Vec<u8>,
    now: SystemTime,
    limit: usize,
) -> Result<(), StoreError> {
    let rows = unit.rows_after(b"B", after, limit)?;
    *after = if rows.len() < limit {
        Vec::new()
    } else {
        rows.last().map(|(key, _)| key.clone()).unwrap_or_default()
    };
    for (key, row) in rows {
        // One that can't be read brakes nobody, and is in the way for good.
        let is_over =
            failures::decode_failures(&key[1..], &row).map_or(true, |count| count.forgotten_at <= now);
        if is_over {
            unit.delete(key);
        }
    }
    Ok(())
}
