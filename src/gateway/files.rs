//! A watch on the configuration and every file that it names: when one has changed, it is read again.
//!
//! The files are looked at once a second rather than asked of the kernel: that sees a link that was
//! turned, a folder that was swapped and a network's disk alike, for a handful of calls.
//!
//! Callers: `gateway`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::control::Control;

/// Between two looks. A change has to stand for one more look, for a file may be written in parts, and a
/// certificate and its key one after the other.
const LOOK: Duration = Duration::from_secs(1);

/// Files, and how each of them looked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Files(Vec<(PathBuf, Look)>);

/// What tells one state of a file from another: device, inode, size, and the time of the last change to the nanosecond.
type Look = Option<(u64, u64, u64, i64, i64)>;

impl Files {
    /// As they are now.
    pub(super) fn of(paths: &BTreeSet<PathBuf>) -> Self {
        Self(paths.iter().map(|path| (path.clone(), look(path))).collect())
    }

    /// These files, of which those that are known keep their look.
    pub(super) fn renewed(&self, paths: &BTreeSet<PathBuf>) -> Self {
        let known = |path: &PathBuf| self.0.iter().find(|(known, _)| known == path).cloned();
        Self(paths.iter().map(|path| known(path).unwrap_or_else(|| (path.clone(), look(path)))).collect())
    }

    /// The same files as they are now.
    fn now(&self) -> Self {
        Self(self.0.iter().map(|(path, _)| (path.clone(), look(path))).collect())
    }
}

/// Orders a reload after each change that no other reload has seen. Never ends.
pub(super) async fn watch(control: Control) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let loaded = || control.state().files.load_full();
    let mut before = Files::clone(&loaded());
    loop {
        looks.tick().await;
        // A disk that hangs must not hold up whoever else is served by this thread.
        let files = loaded();
        let Ok(now) = tokio::task::spawn_blocking(move || files.now()).await else { continue };
        let has_settled = now == before;
        before = now;
        if has_settled && before != *loaded() {
            tracing::debug!("a file of the configuration has changed");
            // What comes of it is told in the log. Where the gateway is busy with reloads, one of those sees the change.
            let _ = control.reload().await;
        }
    }
}

fn look(path: &PathBuf) -> Look {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}
