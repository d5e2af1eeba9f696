//! A backup while the store is in use: the rows in slices, and then those that changed since it began.
//!
//! The writer notes the keys of what it changes. What is read last is read on the writer's own thread, so nothing
//! changes in between, and everything read before was either never changed or is read again: the whole is the store as
//! it was at that moment. One backup at a time; a new one takes the place of one that was given up.
//!
//! Callers: `sled` for whoever makes a backup, `writer` notes changes and reads the last ones.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use ::sled::Tree;

use super::unit::{Rows, read_error};
use crate::store::{BackupRow, StoreError};

/// Keys that are noted at most: beyond it a backup that nobody goes on with would only take memory.
const NOTED: usize = 1_000_000;

/// The backup under way, if there is one.
#[derive(Default)]
pub(super) struct Tracking(Mutex<Tracked>);

#[derive(Default)]
struct Tracked {
    changed: BTreeSet<Vec<u8>>,
    /// Of the backup under way.
    id: Option<u64>,
    last_id: u64,
}

impl Tracking {
    /// From now on changes are noted.
    pub(super) fn begin(&self) -> u64 {
        let mut tracked = self.lock();
        tracked.last_id += 1;
        tracked.id = Some(tracked.last_id);
        tracked.changed.clear();
        tracked.last_id
    }

    /// Before they are made.
    pub(super) fn note<'a>(&self, keys: impl Iterator<Item = &'a Vec<u8>>) {
        let mut tracked = self.lock();
        if tracked.id.is_some() {
            tracked.changed.extend(keys.filter(|key| is_content(key)).cloned());
            if tracked.changed.len() > NOTED {
                tracked.id = None;
                tracked.changed.clear();
            }
        }
    }

    /// Some of the keys that changed; with `last`, the backup ends when there are no more.
    fn take(&self, id: u64, limit: usize, last: bool) -> Result<(Vec<Vec<u8>>, bool), StoreError> {
        let mut tracked = self.lock();
        if tracked.id != Some(id) {
            return Err(StoreError::Unavailable(
                "another backup has begun, or this one took too long".to_owned(),
            ));
        }
        let mut keys = Vec::new();
        while keys.len() < limit
            && let Some(key) = tracked.changed.pop_first()
        {
            keys.push(key);
        }
        let empty = tracked.changed.is_empty();
        if last && empty {
            tracked.id = None;
        }
        Ok((keys, empty))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Tracked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a key is of the content: the engine's own facts are made anew in another store.
pub(super) fn is_content(key: &[u8]) -> bool {
    !key.starts_with(b"M")
}

/// Up to `limit` rows behind this key.
pub(super) fn rows_after(tree: &Tree, after: &[u8], limit: usize) -> Result<Vec<BackupRow>, StoreError> {
    use std::ops::Bound::{Excluded, Unbounded};
    let rows = tree.range::<&[u8], _>((Excluded(after), Unbounded));
    let rows = rows.filter(|row| row.as_ref().map_or(true, |(key, _)| is_content(key)));
    let found = rows.take(limit).map(|row| {
        let (key, value) = row.map_err(read_error)?;
        Ok(BackupRow { key: key.to_vec(), value: Some(value.to_vec()) })
    });
    found.collect()
}

/// Some of what changed, as it is now, and whether that was all.
pub(super) fn changes(
    tracking: &Tracking,
    tree: &Tree,
    id: u64,
    limit: usize,
    last: bool,
) -> Result<(Vec<BackupRow>, bool), StoreError> {
    let (keys, empty) = tracking.take(id, limit, last)?;
    let read = |key: Vec<u8>| {
        let value = Rows::get(tree, &key)?.map(|value| value.to_vec());
        Ok(BackupRow { key, value })
    };
    Ok((keys.into_iter().map(read).collect::<Result<_, StoreError>>()?, empty))
}
