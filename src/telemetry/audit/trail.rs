//! The file of the audit trail, and the thread that writes it.
//!
//! Whoever has a line hands it over and goes on. A file that was moved away (logrotate) is noticed within a second
//! and made anew, without a signal. Where the disk takes nothing the lines are lost, counted and told of: a trail
//! that can't be written is no reason to refuse a login. A line that was cut there, or by a crash, is ended before
//! the next one begins, so that it takes no other with it.
//!
//! Callers: `telemetry::audit`.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

/// Lines that wait at most; each has a few hundred bytes.
const LINES: usize = 8192;
/// Between two looks whether the file is still the one under its name.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(5);

/// The file can't be used.
#[derive(Debug, thiserror::Error)]
#[error("the audit trail {} can't be written: {source}", path.display())]
pub struct AuditFileError {
    path: PathBuf,
    source: io::Error,
}

static TRAIL: OnceLock<SyncSender<Message>> = OnceLock::new();
/// Whether there is a file; without one a line is not even made.
static IS_OPEN: AtomicBool = AtomicBool::new(false);
static LOST: AtomicU64 = AtomicU64::new(0);

enum Message {
    /// Told once all before it is written.
    End(SyncSender<()>),
    /// From now on there, or nowhere.
    File(Option<Trail>),
    Line(Vec<u8>),
}

/// Has the trail written into this file from now on; with `None` into the log alone. It is made where it is not
/// there, for our own user alone.
pub fn open(path: Option<&Path>) -> Result<(), AuditFileError> {
    let failed = |path: &Path, source| AuditFileError { path: path.to_owned(), source };
    let trail = path.map(|path| Trail::open(path).map_err(|error| failed(path, error))).transpose()?;
    let is_open = trail.is_some();
    if !is_open && TRAIL.get().is_none() {
        return Ok(());
    }
    let sender = TRAIL.get_or_init(|| {
        let (sender, messages) = sync_channel(LINES);
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || Writer::default().run(&messages))
            .expect("the operating system starts a thread");
        sender
    });
    // The thread only ends with the process; it may be behind, so this waits for its turn.
    let _ = sender.send(Message::File(trail));
    IS_OPEN.store(is_open, Ordering::Release);
    Ok(())
}

/// Lines that were lost since the start: the disk took nothing, or not fast enough.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Hands a line over, if there is a file. Never waits.
pub(super) fn write(line: impl FnOnce() -> Vec<u8>) {
    if !IS_OPEN.load(Ordering::Acquire) {
        return;
    }
    let mut line = line();
    line.push(b'\n');
    match TRAIL.get().map(|sender| sender.try_send(Message::Line(line))) {
        Some(Ok(())) | None => {}
        Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) => {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Waits until what was handed over is written, but no longer than that.
pub(in crate::telemetry) fn flush(bound: Duration) {
    let Some(sender) = TRAIL.get() else { return };
    let deadline = Instant::now() + bound;
    let (done, when_done) = sync_channel(1);
    let mut end = Message::End(done);
    while let Err(TrySendError::Full(refused)) = sender.try_send(end) {
        if Instant::now() >= deadline {
            return;
        }
        end = refused;
        std::thread::sleep(RETRY);
    }
    // What could not be written in this time is left.
    let _ = when_done.recv_timeout(deadline.saturating_duration_since(Instant::now()));
}

/// An open file, and which one it is.
struct Trail {
    file: File,
    id: (u64, u64),
    path: PathBuf,
}

impl Trail {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        let mut last = [b'\n'];
        if found.len() > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        if last != [b'\n'] {
            file.write_all(b"\n")?;
        }
        Ok(Self { file, id: (found.dev(), found.ino()), path: path.to_owned() })
    }

    fn is_in_place(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.id)
    }
}

#[derive(Default)]
struct Writer {
    /// Lines that were lost since writing fails; `None`: it works.
    failing: Option<u64>,
    looked_at: Option<Instant>,
    trail: Option<Trail>,
}

impl Writer {
    fn run(mut self, messages: &Receiver<Message>) {
        while let Ok(message) = messages.recv() {
            match message {
                Message::End(done) => {
                    let _ = done.send(());
                }
                Message::File(trail) => {
                    self.trail = trail;
                    self.failing = None;
                }
                Message::Line(line) => self.line(&line),
            }
        }
    }

    fn line(&mut self, line: &[u8]) {
        self.follow();
        let Some(trail) = &mut self.trail else { return };
        // What was written of the last one may have no end.
        let cut: &[u8] = if self.failing.is_some() { b"\n" } else { b"" };
        match trail.file.write_all(&[cut, line].concat()) {
            Ok(()) => {
                if let Some(missing) = self.failing.take() {
                    tracing::warn!(missing, "the audit trail is written again; lines are missing in it");
                }
            }
            Err(error) => {
                LOST.fetch_add(1, Ordering::Relaxed);
                if self.failing.is_none() {
                    tracing::error!(%error, path = %trail.path.display(), "the audit trail can't be written");
                }
                *self.failing.get_or_insert(0) += 1;
            }
        }
    }

    /// Goes on in a new file where this one was moved away.
    fn follow(&mut self) {
        if self.looked_at.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return;
        }
        self.looked_at = Some(Instant::now());
        let Some(trail) = self.trail.as_mut().filter(|trail| !trail.is_in_place()) else { return };
        match Trail::open(&trail.path) {
            Ok(anew) => *trail = anew,
            // The old one is better than none.
            Err(error) => {
                tracing::warn!(%error, path = %trail.path.display(), "a new audit trail can't be begun")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(path: &Path) -> String {
        std::fs::read_to_string(path).expect("text")
    }

    #[test]
    fn a_line_that_was_cut_is_ended_and_a_file_that_was_moved_is_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        std::fs::write(&path, "{\"cut").expect("it is written");
        let mut writer = Writer { trail: Some(Trail::open(&path).expect("it opens")), ..Writer::default() };
        writer.line(b"one\n");
        assert_eq!(written(&path), "{\"cut\none\n");
        let moved = folder.path().join("audit.jsonl.1");
        std::fs::rename(&path, &moved).expect("it is moved");
        writer.looked_at = None;
        writer.line(b"two\n");
        assert_eq!((written(&moved).as_str(), written(&path).as_str()), ("{\"cut\none\n", "two\n"));
    }

    #[test]
    fn what_the_disk_does_not_take_is_counted_and_the_next_line_begins_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let full = OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
        let mut trail = Trail::open(&path).expect("it opens");
        let file = std::mem::replace(&mut trail.file, full);
        let mut writer = Writer { trail: Some(trail), ..Writer::default() };
        let before = lost();
        writer.line(b"one\n");
        writer.line(b"two\n");
        assert!(lost() >= before + 2, "{}", lost());
        assert_eq!(writer.failing, Some(2));
        writer.trail.as_mut().expect("it is open").file = file;
        writer.line(b"three\n");
        assert_eq!((written(&path).as_str(), writer.failing), ("\nthree\n", None));
    }
}
