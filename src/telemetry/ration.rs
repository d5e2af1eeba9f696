//! Lines that a client can cause at will: so many a second, and of the rest their number.
//!
//! Callers: the rooms that tell of such requests, through `telemetry`. What is left out here is counted in the figures.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::Level;

/// Lines of one kind that are written in a window.
const LINES: u32 = 50;
const WINDOW: Duration = Duration::from_secs(1);

/// What one kind of line may take of the log, in the whole process.
pub struct Ration {
    level: Level,
    spent: Mutex<Spent>,
    what: &'static str,
}

struct Spent {
    left_out: u64,
    /// Of the window that began then.
    lines: u32,
    since: Option<Instant>,
}

/// Those that have left something out and not said so yet.
static OWING: Mutex<Vec<&'static Ration>> = Mutex::new(Vec::new());

impl Ration {
    /// Whole. `what` is the text of the lines, and `level` theirs.
    pub const fn new(level: Level, what: &'static str) -> Self {
        Self { level, spent: Mutex::new(Spent { left_out: 0, lines: 0, since: None }), what }
    }

    /// Whether one more line may be written; otherwise it is counted.
    pub fn allows(&'static self) -> bool {
        self.allows_at(Instant::now())
    }

    fn allows_at(&'static self, now: Instant) -> bool {
        let mut spent = self.spent();
        if spent.since.is_none_or(|since| now.saturating_duration_since(since) >= WINDOW) {
            // What is owed from before stays owed, and is told with what is added to it.
            *spent = Spent { lines: 0, since: Some(now), ..*spent };
        }
        if spent.lines < LINES {
            spent.lines += 1;
            return true;
        }
        spent.left_out += 1;
        let is_first = spent.left_out == 1;
        drop(spent);
        if is_first {
            owing().push(self);
        }
        false
    }

    /// What is owed, if its window is over.
    fn settle(&self, now: Instant) -> Option<u64> {
        let mut spent = self.spent();
        let is_over = spent.since.is_none_or(|since| now.saturating_duration_since(since) >= WINDOW);
        is_over.then(|| std::mem::take(&mut spent.left_out))
    }

    fn tell(&self, count: u64) {
        let what = self.what;
        // A level is part of what a macro makes.
        if self.level == Level::WARN {
            tracing::warn!(count, "{what}: so many more times, not told one by one");
        } else {
            tracing::info!(count, "{what}: so many more times, not told one by one");
        }
    }

    fn spent(&self) -> MutexGuard<'_, Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says how many lines were left out in the windows that are over. Called a few times a second.
pub(super) fn settle(now: Instant) {
    let mut told = Vec::new();
    owing().retain(|ration| match ration.settle(now) {
        // Two may have seen that it owes something.
        Some(0) => false,
        Some(count) => {
            told.push((*ration, count));
            false
        }
        None => true,
    });
    // With no lock held: a line may go anywhere.
    for (ration, count) in told {
        ration.tell(count);
    }
}

fn owing() -> MutexGuard<'static, Vec<&'static Ration>> {
    OWING.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_so_many_lines_and_the_number_of_the_others() {
        static RATION: Ration = Ration::new(Level::INFO, "a test was run");
        let start = Instant::now();
        let allowed = (0..LINES + 7).filter(|_| RATION.allows_at(start)).count();
        assert_eq!(allowed, LINES as usize);
        assert_eq!(RATION.settle(start + WINDOW / 2), None, "its window is not over");
        assert!(owing().iter().any(|owing| std::ptr::eq(*owing, &raw const RATION)));
        assert_eq!(RATION.settle(start + WINDOW), Some(7));
        assert_eq!(RATION.settle(start + WINDOW), Some(0));
        assert!(RATION.allows_at(start + WINDOW), "another second");
    }

    #[test]
    fn what_was_left_out_is_not_forgotten_when_the_next_second_begins() {
        static RATION: Ration = Ration::new(Level::INFO, "another test was run");
        let start = Instant::now();
        for _ in 0..LINES + 3 {
            RATION.allows_at(start);
        }
        for _ in 0..LINES + 4 {
            RATION.allows_at(start + WINDOW);
        }
        assert_eq!(RATION.settle(start + 2 * WINDOW), Some(7));
    }
}
