//! The state of the disk: how much room there is, and whether it takes anything at all.
//!
//! Callers: `writer`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::journal::LOG;
use crate::store::StoreSettings;

const ROOM_TO_OPEN: u64 = 4 << 20;

/// The room that there is, and that which is kept free.
pub(super) struct Space {
    free: u64,
    for_registrations: u64,
    for_writes: u64,
}

impl Space {
    pub(super) fn of(settings: &StoreSettings) -> Self {
        // Where the system doesn't say, writing finds out.
        let (free, total) = rustix::fs::statvfs(&settings.directory).map_or((u64::MAX, 0), |found| {
            (found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)
        });
        let twentieth = total / 20;
        Self {
            free,
            for_registrations: settings.registration_reserve_bytes.min(twentieth),
            for_writes: settings.write_reserve_bytes.min(twentieth),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.free < self.for_writes
    }

    pub(super) fn is_low(&self) -> bool {
        self.free < self.for_registrations
    }

    /// Whether opening the store anew can be expected to work: there is room for the engine's
    /// snapshot and a first segment, and what is written arrives.
    pub(super) fn is_fit_to_open(&self, directory: &Path) -> bool {
        let log_bytes = fs::metadata(directory.join(LOG)).map_or(0, |log| log.len());
        !self.is_full() && self.free >= ROOM_TO_OPEN + log_bytes / 32 && probe(directory).is_ok()
    }
}

fn probe(directory: &Path) -> io::Result<()> {
    let path = directory.join("probe");
    let mut file = File::create(&path)?;
    file.write_all(&[0; 4096])?;
    file.sync_all()?;
    fs::remove_file(path)
}
