//! Making a batch durable, and noticing when what was durable is gone.
//!
//! The engine's flush alone does not survive a crash of the host, so its log is synced as well, by a
//! second handle: syncing goes by the file. And where the log is damaged, the engine may open it
//! cut short without a word. So each batch carries its number, and the last number that was
//! acknowledged stands in a file beside the log. That file is not synced: it may fall behind, never
//! ahead, and a log that ends before it has lost something.
//!
//! Callers: `open` begins it, `writer` commits.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ::sled::{Batch, Db};

use super::keys;
use super::open::panic_text;

/// The file that holds everything; the engine gives it this name.
pub(super) const LOG: &str = "db";

const ACKNOWLEDGED: &str = "acknowledged";

/// The way of a batch to the disk.
pub(super) struct Journal {
    acknowledged: File,
    log: File,
    sequence: u64,
}

impl Journal {
    /// For a tree whose last batch has this number.
    pub(super) fn begin(directory: &Path, sequence: u64) -> io::Result<Self> {
        let acknowledged =
            OpenOptions::new().write(true).create(true).truncate(false).open(directory.join(ACKNOWLEDGED))?;
        Ok(Self { acknowledged, log: File::open(directory.join(LOG))?, sequence })
    }

    /// Durable when it returns `Ok`. After an error anything may have happened, and this journal must
    /// not be used again: a sync that failed once succeeds the second time, with the data lost.
    pub(super) fn commit(&mut self, db: &Db, mut batch: Batch) -> Result<(), String> {
        self.sequence += 1;
        batch.insert(keys::SEQUENCE, &self.sequence.to_be_bytes());
        // The engine has assertions that a full disk has been seen to break.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            db.apply_batch(batch).map_err(|error| error.to_string())?;
            db.flush().map_err(|error| error.to_string())?;
            self.log.sync_data().map_err(|error| format!("syncing the log: {error}"))
        }));
        outcome.unwrap_or_else(|panic| Err(panic_text(panic.as_ref()).to_owned()))?;
        // A hint for the next start and no part of the promise: without it less would be noticed.
        let _ = self.acknowledged.write_all_at(&hint(self.sequence), 0);
        Ok(())
    }
}

/// The number of the last batch in a tree.
pub(super) fn sequence(db: &Db) -> ::sled::Result<u64> {
    Ok(db.get(keys::SEQUENCE)?.and_then(|value| value.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes))
}

/// The number of the last batch that was acknowledged, as far as it is known.
pub(super) fn acknowledged(directory: &Path) -> u64 {
    let bytes = std::fs::read(directory.join(ACKNOWLEDGED)).unwrap_or_default();
    let number = bytes.first_chunk::<8>().map_or(0, |number| u64::from_be_bytes(*number));
    // Half-written says nothing.
    if bytes == hint(number) { number } else { 0 }
}

fn hint(sequence: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&sequence.to_be_bytes());
    bytes[8..].copy_from_slice(&(!sequence).to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_reads_back_and_a_torn_one_says_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join(ACKNOWLEDGED);
        assert_eq!(acknowledged(directory.path()), 0);
        std::fs::write(&file, hint(7)).expect("a file");
        assert_eq!(acknowledged(directory.path()), 7);
        std::fs::write(&file, &hint(7)[..12]).expect("a file");
        assert_eq!(acknowledged(directory.path()), 0);
    }
}
