//! How long a failure takes at least.
//!
//! A hash of another application may cost several times what ours do, and a later answer would tell
//! that the account exists. So every failure waits for as long as the slowest of them takes: without
//! work, and nobody waits who knows the password.
//!
//! Callers: `password::pool`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// No failure is held back for longer.
const LONGEST: Duration = Duration::from_secs(3);

/// How long the dearest hash took lately, in microseconds.
#[derive(Default)]
pub(super) struct Pace(AtomicU64);

impl Pace {
    /// Notes how long a dear hash took. A busy moment is forgotten little by little.
    pub(super) fn note(&self, took: Duration) {
        let took = u64::try_from(took.min(LONGEST).as_micros()).unwrap_or(u64::MAX);
        let now = self.0.load(Ordering::Relaxed);
        self.0.store(took.max(now - now / 16), Ordering::Relaxed);
    }

    /// What a failure that took `took` still has to wait.
    pub(super) fn rest(&self, took: Duration) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed)).saturating_sub(took)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_waits_as_long_as_the_dearest_hash_took() {
        let milliseconds = Duration::from_millis;
        let pace = Pace::default();
        assert_eq!(pace.rest(milliseconds(20)), Duration::ZERO);
        pace.note(milliseconds(160));
        assert_eq!(pace.rest(milliseconds(20)), milliseconds(140));
        pace.note(milliseconds(100));
        assert_eq!(pace.rest(Duration::ZERO), milliseconds(150), "a sixteenth less");
        pace.note(Duration::from_secs(60));
        assert_eq!(pace.rest(Duration::ZERO), LONGEST);
    }
}
