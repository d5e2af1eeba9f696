//! Opening: from a path to a tree that is known to be ours, whole, and locked by us.
//!
//! The engine has habits that this file is about: a snapshot that was cut short stops it from
//! opening, damage in the log makes it panic or is passed over in silence, and after some crashes it
//! opens an empty tree as if nothing had ever been there. So nothing is deleted, a panic is caught,
//! an empty tree is believed only where we know that the directory was new, and one that ends before
//! the last acknowledged write is not believed at all.
//!
//! Callers: `sled` at start, `writer` when it recovers from a failure.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use ::sled::{Batch, Db};

use super::journal::{self, Journal, LOG};
use super::keys;
use crate::store::record::millis;
use crate::store::{OpenError, StoreSettings};

/// Goes up when an older Foregate could no longer read what we write.
/// 2: accounts that wait, links that carry an address, invitations.
const FORMAT: u32 = 2;

/// How long a process that was killed a moment ago may still seem to hold the lock.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// There from before the engine makes its files until our first row is on disk. Whoever finds it
/// knows that an empty tree lost nothing.
const INITIALISING: &str = "initialising";

/// An open tree.
pub(super) struct Opened {
    /// The last stop was a clean one, or there was none.
    pub(super) clean: bool,
    pub(super) db: Db,
    pub(super) journal: Journal,
}

pub(super) fn open(settings: &StoreSettings) -> Result<Opened, OpenError> {
    let directory = settings.directory.as_path();
    let refused = |source| OpenError::Directory { directory: directory.to_owned(), source };
    make_directory(directory)?;
    check_filesystem(directory)?;
    let fresh = is_fresh(directory)?;
    if fresh {
        File::create(directory.join(INITIALISING)).and_then(|file| file.sync_all()).map_err(refused)?;
        sync_directory(directory).map_err(refused)?;
    }

    let db = open_engine(settings)?;
    let failed = |reason: String| OpenError::Failed { directory: directory.to_owned(), reason };
    let broken = |error: ::sled::Error| failed(error.to_string());
    let mut first = Batch::default();
    let mut clean = true;
    match db.get(keys::FORMAT).map_err(broken)? {
        None if fresh && db.is_empty() => first.insert(keys::FORMAT, &FORMAT.to_be_bytes()),
        None => return Err(OpenError::Emptied { directory: directory.to_owned() }),
        Some(value) => {
            let found = value.as_ref().try_into().map_or(u32::MAX, u32::from_be_bytes);
            if found > FORMAT {
                return Err(OpenError::Newer { directory: directory.to_owned(), found, known: FORMAT });
            }
            // Rows are read in every version, so nothing else has to change.
            first.insert(keys::FORMAT, &FORMAT.to_be_bytes());
            clean = db.contains_key(keys::CLEAN).map_err(broken)?;
        }
    }
    let (found, acknowledged) = (journal::sequence(&db).map_err(broken)?, journal::acknowledged(directory));
    if found < acknowledged {
        return Err(OpenError::Shortened { acknowledged, directory: directory.to_owned(), found });
    }
    // Before anybody is served, so that a crash from here on is known to be one.
    first.remove(keys::CLEAN);
    let mut journal = Journal::begin(directory, found).map_err(refused)?;
    journal.commit(&db, first).map_err(failed)?;
    sync_directory(directory).map_err(refused)?;
    if fresh {
        fs::remove_file(directory.join(INITIALISING))
            .and_then(|()| sync_directory(directory))
            .map_err(refused)?;
    }
    Ok(Opened { clean, db, journal })
}

/// Opens a store that was open before. Where it has vanished, with the volume it was on, say, an
/// empty one in its place would be the worst answer.
pub(super) fn reopen(settings: &StoreSettings) -> Result<Opened, OpenError> {
    let directory = &settings.directory;
    match fs::metadata(directory.join(LOG)) {
        Ok(_) => open(settings),
        Err(source) => Err(OpenError::Directory { directory: directory.clone(), source }),
    }
}

fn make_directory(directory: &Path) -> Result<(), OpenError> {
    let refused = |source| OpenError::Directory { directory: directory.to_owned(), source };
    match fs::metadata(directory) {
        Ok(found) if !found.is_dir() => Err(OpenError::NotADirectory { directory: directory.to_owned() }),
        Ok(found) if found.mode() & 0o077 != 0 => {
            // Only an empty one is ours to close: the path may be a slip, and name somebody's home.
            let empty = fs::read_dir(directory).map_err(refused)?.next().is_none();
            let private = || fs::set_permissions(directory, fs::Permissions::from_mode(0o700));
            if !(empty && private().is_ok()) {
                tracing::warn!(
                    store.path = %directory.display(),
                    "other users of this machine can look into the store's directory: its mode should be 0700"
                );
            }
            Ok(())
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(refused)?;
            let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
            sync_directory(parent.unwrap_or(Path::new("."))).map_err(refused)
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(OpenError::NotADirectory { directory: directory.to_owned() })
        }
        Err(error) => Err(refused(error)),
    }
}

fn check_filesystem(directory: &Path) -> Result<(), OpenError> {
    let found = rustix::fs::statfs(directory)
        .map_err(|error| OpenError::Directory { directory: directory.to_owned(), source: error.into() })?;
    // Some of the numbers have their top bit set and the field's width is the platform's: 32 bits tell them apart.
    match found.f_type as u32 {
        0x6969 => refuse_network(directory, "NFS"),
        0xff53_4d42 => refuse_network(directory, "CIFS"),
        0xfe53_4d42 => refuse_network(directory, "SMB2"),
        0x517b => refuse_network(directory, "SMB"),
        0x0102_1997 => refuse_network(directory, "9P"),
        0x00c3_6400 => refuse_network(directory, "Ceph"),
        0x9123_683e => {
            tracing::warn!(
                store.path = %directory.display(),
                "the store is on btrfs, where many small synced writes are slow and fragment the file: \
                 `chattr +C` on the empty directory helps"
            );
            Ok(())
        }
        _ => Ok(()),
    }
}

fn refuse_network(directory: &Path, filesystem: &'static str) -> Result<(), OpenError> {
    Err(OpenError::Network { directory: directory.to_owned(), filesystem })
}

/// Whether there never was a store here. What a crash leaves of one is not fresh, however empty.
fn is_fresh(directory: &Path) -> Result<bool, OpenError> {
    let refused = |source| OpenError::Directory { directory: directory.to_owned(), source };
    let mut has_engine_files = false;
    for entry in fs::read_dir(directory).map_err(refused)? {
        let name = entry.map_err(refused)?.file_name();
        if name == INITIALISING {
            return Ok(true);
        }
        has_engine_files |=
            name == LOG || name == "conf" || name == "blobs" || name.as_encoded_bytes().starts_with(b"snap.");
    }
    // The engine would make a new log beside what is left of the old one.
    if has_engine_files && fs::metadata(directory.join(LOG)).map_or(true, |log| log.len() == 0) {
        return Err(OpenError::Emptied { directory: directory.to_owned() });
    }
    Ok(!has_engine_files)
}

fn open_engine(settings: &StoreSettings) -> Result<Db, OpenError> {
    let directory = &settings.directory;
    let corrupt = |reason, aside| OpenError::Corrupt { aside, directory: directory.clone(), reason };
    let first = match attempt(settings) {
        Ok(db) => return Ok(db),
        Err(Failure::Damaged(reason)) => reason,
        Err(Failure::Locked) => return Err(OpenError::Locked { directory: directory.clone() }),
        Err(Failure::Other(reason)) => {
            return Err(OpenError::Failed { directory: directory.clone(), reason });
        }
    };
    // A snapshot is a shortcut through the log, and the first to suffer from a hard stop. Without it
    // the engine reads the whole log, which is the truth.
    let aside = match set_snapshots_aside(directory) {
        Ok(Some(aside)) => aside,
        Ok(None) => return Err(corrupt(first, None)),
        Err(error) => return Err(corrupt(format!("{first}; {error}"), None)),
    };
    tracing::warn!(
        store.path = %directory.display(), store.aside = %aside.display(), reason = %first,
        "the store did not open; its snapshots were set aside and it is read from its log"
    );
    match attempt(settings) {
        Ok(db) => Ok(db),
        Err(Failure::Damaged(reason) | Failure::Other(reason)) => Err(corrupt(reason, Some(aside))),
        // The lock is ours, held by what the first attempt left behind when it panicked.
        Err(Failure::Locked) => Err(corrupt(first, Some(aside))),
    }
}

enum Failure {
    Damaged(String),
    Locked,
    Other(String),
}

/// Opens, waiting for the lock. On a thread of its own, so that a panic ends there.
fn attempt(settings: &StoreSettings) -> Result<Db, Failure> {
    let config = ::sled::Config::new()
        .path(&settings.directory)
        .cache_capacity(settings.cache_bytes)
        // Also the engine's budget for cleaning up: at its default of 500 the file grows under load.
        .flush_every_ms(Some(50));
    let started = Instant::now();
    loop {
        let config = config.clone();
        let opening = thread::Builder::new()
            .name("store-open".to_owned())
            .spawn(move || config.open())
            .map_err(|error| Failure::Other(error.to_string()))?;
        match opening.join() {
            Ok(Ok(db)) => return Ok(db),
            // The engine has no kind of its own for it; its version is pinned, so the text is as well.
            Ok(Err(::sled::Error::Io(error))) if error.to_string().contains("could not acquire lock") => {
                if started.elapsed() > LOCK_WAIT {
                    return Err(Failure::Locked);
                }
                thread::sleep(Duration::from_millis(50));
            }
            Ok(Err(
                error @ (::sled::Error::Corruption { .. }
                | ::sled::Error::ReportableBug(_)
                | ::sled::Error::CollectionNotFound(_)),
            )) => return Err(Failure::Damaged(error.to_string())),
            Ok(Err(error @ (::sled::Error::Io(_) | ::sled::Error::Unsupported(_)))) => {
                return Err(Failure::Other(error.to_string()));
            }
            Err(panic) => return Err(Failure::Damaged(panic_text(panic.as_ref()).to_owned())),
        }
    }
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("the engine panicked")
}

/// Moves every `snap.*` into a directory beside the log; `None` where there is none.
fn set_snapshots_aside(directory: &Path) -> io::Result<Option<PathBuf>> {
    let mut snapshots = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(b"snap.") {
            snapshots.push(entry);
        }
    }
    if snapshots.is_empty() {
        return Ok(None);
    }
    let aside = directory.join(format!("aside-{}", millis(SystemTime::now())));
    fs::create_dir(&aside)?;
    for snapshot in snapshots {
        fs::rename(snapshot.path(), aside.join(snapshot.file_name()))?;
    }
    sync_directory(directory)?;
    Ok(Some(aside))
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_directory_without_engine_files_is_fresh() {
        let fresh = |names: &[(&str, &str)]| {
            let directory = tempfile::tempdir().expect("a directory");
            for (name, content) in names {
                fs::write(directory.path().join(name), content).expect("a file");
            }
            is_fresh(directory.path())
        };
        assert!(matches!(fresh(&[]), Ok(true)));
        assert!(matches!(fresh(&[("admin.sock", ""), ("lost+found", "")]), Ok(true)));
        assert!(matches!(fresh(&[("db", ""), ("initialising", "")]), Ok(true)), "a first start cut short");
        assert!(matches!(fresh(&[("db", "x"), ("conf", "x")]), Ok(false)));
        assert!(matches!(fresh(&[("db", ""), ("conf", "x")]), Err(OpenError::Emptied { .. })));
        assert!(matches!(fresh(&[("snap.01", "x")]), Err(OpenError::Emptied { .. })));
    }
}
