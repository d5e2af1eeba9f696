//! A watch on the configuration and every file that it names: when one has changed, it is read again.
//!
//! The files are looked at once a second rather than asked of the kernel: that sees a link that was
//! turned, a folder that was swapped and a network's disk alike, for a handful of calls.
//!
//! Callers: `gateway`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::control::{Control, ReloadError};
use crate::config::Config;

/// Between two looks. A change has to stand for one more look, for a file may be written in parts, and a
/// certificate and its key one after the other.
const LOOK: Duration = Duration::from_secs(1);

/// The files, and how they looked last.
pub(super) struct Files {
    seen: Vec<(PathBuf, Look)>,
}

/// What tells one state of a file from another: device, inode, size, and the time of the last change to the nanosecond.
type Look = Option<(u64, u64, u64, i64, i64)>;

impl Files {
    /// As they are now. To be called before they are read for use, or right after: a change in between is seen.
    pub(super) fn of(config: &Config) -> Self {
        Self { seen: config.files.iter().map(|path| (path.clone(), look(path))).collect() }
    }

    /// Orders a reload after each change. Never ends.
    pub(super) async fn watch(self, control: Control) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut loaded = self.seen;
        loop {
            looks.tick().await;
            let now = looked_at(&loaded);
            if now == loaded {
                continue;
            }
            loaded = settled(now, &mut looks).await;
            let changed = loaded.iter().map(|(path, _)| path.display().to_string()).collect::<Vec<_>>();
            tracing::debug!(files = changed.join(" "), "a file of the configuration has changed");
            match control.reload().await {
                // It may name other files now. Those that it named before keep the look from before they were read.
                Ok(_) => {
                    let seen = |path: &PathBuf| loaded.iter().find(|(known, _)| known == path).cloned();
                    let again = |path: &PathBuf| seen(path).unwrap_or_else(|| (path.clone(), look(path)));
                    loaded = control.with_config(|config| config.files.iter().map(again).collect());
                }
                // Orders enough are waiting; seen as changed again, it is ordered again with the next look.
                Err(ReloadError::NotNow) => loaded.iter_mut().for_each(|(_, look)| *look = None),
                // Told in the log; it is read again when it has changed again.
                Err(ReloadError::Faulty(_) | ReloadError::Refused(_)) => {}
            }
        }
    }
}

/// Waits until nothing has changed for one look.
async fn settled(
    mut before: Vec<(PathBuf, Look)>,
    looks: &mut tokio::time::Interval,
) -> Vec<(PathBuf, Look)> {
    loop {
        looks.tick().await;
        let now = looked_at(&before);
        if now == before {
            return now;
        }
        before = now;
    }
}

fn looked_at(files: &[(PathBuf, Look)]) -> Vec<(PathBuf, Look)> {
    files.iter().map(|(path, _)| (path.clone(), look(path))).collect()
}

fn look(path: &PathBuf) -> Look {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}
