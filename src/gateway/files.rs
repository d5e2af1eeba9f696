//! A watch on the configuration and every file that it names: when one has changed, it is read again.
//!
//! The files are looked at once a second rather than asked of the kernel: that sees a link that was
//! turned, a folder that was swapped and a network's disk alike, for a handful of calls.
//!
//! Callers: `gateway`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::control::{Control, ReloadError};

/// Between two looks. A change has to stand for one more look, for a file may be written in parts, and a
/// certificate and its key one after the other.
const LOOK: Duration = Duration::from_secs(1);

/// Files, and how they looked when they were read last.
pub(super) type Looks = BTreeMap<PathBuf, Look>;

/// What tells one state of a file from another: device, inode, size, and the time of the last change to the nanosecond.
pub(super) type Look = Option<(u64, u64, u64, i64, i64)>;

/// How the files look now. To be asked before they are read: a change in between is then seen at the next look.
pub(super) fn look_at<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> Looks {
    let look = |path: &PathBuf| {
        let found = fs::metadata(path).ok()?;
        Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
    };
    files.into_iter().map(|path| (path.clone(), look(path))).collect()
}

/// Orders a reload after each change since the last. Ends when the gateway takes no more orders.
pub(super) async fn watch(control: Control) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let read = control.looks();
        let mut now = look_at(read.keys());
        if now == *read {
            continue;
        }
        // Until nothing has changed from one look to the next.
        loop {
            looks.tick().await;
            let again = look_at(read.keys());
            if again == now {
                break;
            }
            now = again;
        }
        // Somebody else may have ordered one meanwhile.
        if now == *control.looks() {
            continue;
        }
        tracing::info!("a file of the configuration has changed: it is read again");
        match control.reload().await {
            // What is wrong is told in the log; it is read again when it has changed again.
            Ok(_) | Err(ReloadError::Faulty(_) | ReloadError::Refused(_)) => {}
            Err(ReloadError::NotNow) => return,
        }
    }
}
