//! The way of all lines to standard error: one bounded queue, and one thread that writes.
//!
//! Whoever has a line hands it over and goes on. Where standard error takes nothing, for nobody reads the pipe
//! behind it, the queue fills up and lines are dropped and counted: a log that can't be written is no reason to
//! stop serving. Once it is taken again, one line says how many are missing.
//!
//! Callers: `telemetry`.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use super::Clock;

/// Bytes of lines of requests that wait at most.
const REQUEST_BYTES: usize = 1024 * 1024;
/// The same for all lines: what is told of anything else has room beside a flood of requests.
const BYTES: usize = REQUEST_BYTES + 256 * 1024;
/// Pieces that wait at most, of whatever size.
const PIECES: usize = 4096;
/// Between two tries to hand something over at the end.
const RETRY: Duration = Duration::from_millis(5);
/// Between two lines that say how many are missing, while more go missing.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// Whose lines they are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Events,
    Requests,
}

/// Where lines are handed over. Clones are the same.
#[derive(Clone)]
pub(super) struct Queue {
    pieces: SyncSender<Piece>,
    waiting: Arc<Waiting>,
}

/// What its two ends count.
#[derive(Default)]
struct Waiting {
    bytes: AtomicUsize,
    /// Lines since the last time that it was told.
    dropped: AtomicU64,
}

enum Piece {
    /// Told once all before it is written.
    End(SyncSender<()>),
    Lines(Vec<u8>),
}

/// The other end.
pub(super) struct Writer {
    clock: Clock,
    is_json: bool,
    pieces: Receiver<Piece>,
    told: Option<Instant>,
    waiting: Arc<Waiting>,
}

static QUEUE: OnceLock<Queue> = OnceLock::new();

/// The queue of this process; the first caller starts its thread. `is_json` is the form of the one line that is
/// the writer's own.
pub(super) fn started(is_json: bool) -> &'static Queue {
    QUEUE.get_or_init(|| {
        let (queue, writer) = Queue::new(is_json);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writer.run(&mut io::stderr()))
            .expect("the operating system starts a thread");
        queue
    })
}

/// The queue of this process, if it was started.
pub(super) fn get() -> Option<&'static Queue> {
    QUEUE.get()
}

impl Queue {
    pub(super) fn new(is_json: bool) -> (Self, Writer) {
        let (sender, pieces) = sync_channel(PIECES);
        let waiting = Arc::<Waiting>::default();
        let writer =
            Writer { clock: Clock::default(), is_json, pieces, told: None, waiting: Arc::clone(&waiting) };
        (Self { pieces: sender, waiting }, writer)
    }

    /// Hands whole lines over. Never waits.
    pub(super) fn hand_over(&self, kind: Kind, lines: Vec<u8>) {
        let most = match kind {
            Kind::Events => BYTES,
            Kind::Requests => REQUEST_BYTES,
        };
        let size = lines.len();
        let before = self.waiting.bytes.fetch_add(size, Ordering::Relaxed);
        let refused = if before + size > most {
            Some(lines)
        } else {
            match self.pieces.try_send(Piece::Lines(lines)) {
                Err(
                    TrySendError::Full(Piece::Lines(lines)) | TrySendError::Disconnected(Piece::Lines(lines)),
                ) => Some(lines),
                Ok(()) | Err(_) => None,
            }
        };
        if let Some(lines) = refused {
            self.waiting.bytes.fetch_sub(size, Ordering::Relaxed);
            // An event may have more lines than one, and is one that is missing.
            let count = match kind {
                Kind::Events => 1,
                Kind::Requests => memchr::memchr_iter(b'\n', &lines).count() as u64,
            };
            self.waiting.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Waits until what was handed over is written, but no longer than that. `false`: it was not, in that time.
    pub(super) fn flush(&self, bound: Duration) -> bool {
        let deadline = Instant::now() + bound;
        let (done, when_done) = sync_channel(1);
        let mut end = Piece::End(done);
        loop {
            end = match self.pieces.try_send(end) {
                Ok(()) => break,
                Err(TrySendError::Full(end)) => end,
                Err(TrySendError::Disconnected(_)) => return false,
            };
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(RETRY);
        }
        when_done.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok()
    }
}

impl Writer {
    /// Writes until nobody is left who could hand anything over.
    pub(super) fn run(mut self, out: &mut impl Write) {
        loop {
            let next = match self.pieces.try_recv() {
                Err(TryRecvError::Empty) => {
                    self.tell_dropped(out);
                    self.pieces.recv().ok()
                }
                Err(TryRecvError::Disconnected) => None,
                Ok(piece) => Some(piece),
            };
            match next {
                // A log that can't be written is no reason to stop serving.
                Some(Piece::Lines(lines)) => {
                    let _ = out.write_all(&lines);
                    self.waiting.bytes.fetch_sub(lines.len(), Ordering::Relaxed);
                    if self.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
                        self.tell_dropped(out);
                    }
                }
                Some(Piece::End(done)) => {
                    self.tell_dropped(out);
                    let _ = done.send(());
                }
                None => return,
            }
        }
    }

    fn tell_dropped(&mut self, out: &mut impl Write) {
        let dropped = self.waiting.dropped.swap(0, Ordering::Relaxed);
        if dropped == 0 {
            return;
        }
        const MESSAGE: &str = "standard error did not keep up: lines are missing here";
        let time = self.clock.at(SystemTime::now());
        let line = match self.is_json {
            true => format!(
                r#"{{"timestamp":"{time}","level":"WARN","message":"{MESSAGE}","dropped":{dropped}}}{}"#,
                '\n'
            ),
            false => format!("{time}  WARN {MESSAGE} dropped={dropped}\n"),
        };
        let _ = out.write_all(line.as_bytes());
        self.told = Some(Instant::now());
    }
}

/// One event, as it is formatted: in one piece, with its end of line.
pub(super) struct Event(pub(super) &'static Queue);

impl Write for Event {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.hand_over(Kind::Events, line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Takes nothing until it is let, as a full pipe.
    struct Stalled {
        go: Receiver<()>,
        taken: Sender<Vec<u8>>,
        waits: bool,
    }

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.waits {
                self.go.recv().expect("it is let");
                self.waits = false;
            }
            self.taken.send(bytes.to_vec()).expect("somebody reads");
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_not_taken_is_dropped_and_its_number_is_told_once_it_is_taken_again() {
        let (queue, writer) = Queue::new(true);
        let ((let_it, go), (taken, read)) = (channel(), channel());
        let thread = std::thread::spawn(move || writer.run(&mut Stalled { go, taken, waits: true }));
        let batch = b"a request\n".repeat(1024);
        for _ in 0..REQUEST_BYTES / batch.len() {
            queue.hand_over(Kind::Requests, batch.clone());
        }
        // Of requests there is no room for more, of anything else there is.
        queue.hand_over(Kind::Requests, batch.clone());
        queue.hand_over(Kind::Events, b"an event\n".to_vec());
        assert!(!queue.flush(Duration::from_millis(50)), "nothing can have been written");
        let_it.send(()).expect("it waits");
        assert!(queue.flush(Duration::from_secs(10)));
        drop(queue);
        thread.join().expect("it ends with its queue");
        let text = String::from_utf8(read.iter().flatten().collect()).expect("text");
        assert_eq!(text.matches("a request\n").count(), REQUEST_BYTES / batch.len() * 1024);
        assert!(text.contains("an event\n"), "events have room of their own");
        let told = text.lines().filter(|line| line.contains("lines are missing here"));
        let told: Vec<serde_json::Value> =
            told.map(|line| serde_json::from_str(line).expect("one JSON object")).collect();
        assert_eq!(told.iter().filter_map(|line| line["dropped"].as_u64()).sum::<u64>(), 1024, "{told:?}");
    }

    #[test]
    fn a_queue_without_room_takes_nothing_and_keeps_nobody_waiting() {
        let (queue, _writer) = Queue::new(false);
        for _ in 0..PIECES + 10 {
            queue.hand_over(Kind::Events, b"\n".to_vec());
        }
        assert_eq!(queue.waiting.dropped.load(Ordering::Relaxed), 10);
        assert_eq!(queue.waiting.bytes.load(Ordering::Relaxed), PIECES);
        assert!(!queue.flush(Duration::from_millis(20)));
    }
}
