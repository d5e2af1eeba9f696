//! A brake on who sends tokens with signatures that are nobody's: so many a second from one source.
//!
//! Looking at a signature is the only dear thing that an unknown token costs. Good tokens cost none of
//! this, however many there are, and whoever is known already is found in the cache before.
//!
//! Callers: `authn`, for our own tokens and those of other issuers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::throttle::network;

/// Signatures of one source that may turn out bad in a window: a hundredth of a core.
const FORGED: u32 = 50;
const WINDOW: Duration = Duration::from_secs(1);
/// Sources that are remembered at most. With no room left all others share one count.
const SOURCES: usize = 10_000;

/// Counts bad signatures by their source.
#[derive(Default)]
pub struct Forged {
    windows: Mutex<Windows>,
}

#[derive(Default)]
struct Windows {
    by_source: HashMap<Option<IpAddr>, Window>,
    /// A look at all of them is dear: once in a window.
    swept_at: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Window {
    began: Instant,
    forged: u32,
}

impl Forged {
    /// How long a source has to wait, if it has to.
    pub fn wait(&self, source: IpAddr) -> Option<Duration> {
        self.braked(network(source), Instant::now())
    }

    /// Counts a bad signature.
    pub fn note(&self, source: IpAddr) {
        self.count(network(source), Instant::now());
    }

    /// Looks at a signature, unless too many of this source were bad: then says how long it has to wait.
    pub fn judge(&self, source: IpAddr, verifies: impl FnOnce() -> bool) -> Result<bool, Duration> {
        self.judge_at(source, verifies, Instant::now())
    }

    fn judge_at(
        &self,
        source: IpAddr,
        verifies: impl FnOnce() -> bool,
        now: Instant,
    ) -> Result<bool, Duration> {
        let source = network(source);
        if let Some(wait) = self.braked(source, now) {
            return Err(wait);
        }
        let verifies = verifies();
        if !verifies {
            self.count(source, now);
        }
        Ok(verifies)
    }

    fn braked(&self, source: IpAddr, now: Instant) -> Option<Duration> {
        let Windows { by_source, .. } = &*self.lock();
        let window = by_source.get(&Some(source)).or_else(|| by_source.get(&None))?;
        let left = (window.began + WINDOW).checked_duration_since(now).filter(|left| !left.is_zero())?;
        (window.forged >= FORGED).then_some(left)
    }

    fn count(&self, source: IpAddr, now: Instant) {
        let Windows { by_source, swept_at } = &mut *self.lock();
        let is_over = |began: Instant| now >= began + WINDOW;
        let is_full = by_source.len() >= SOURCES && !by_source.contains_key(&Some(source));
        if is_full && swept_at.is_none_or(is_over) {
            *swept_at = Some(now);
            by_source.retain(|_, window| !is_over(window.began));
        }
        let is_full = is_full && by_source.len() >= SOURCES;
        let window = by_source.entry(Some(source).filter(|_| !is_full));
        let window = window.or_insert(Window { began: now, forged: 0 });
        if is_over(window.began) {
            *window = Window { began: now, forged: 0 };
        }
        window.forged += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Windows> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const BOB: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn a_source_is_braked_after_its_bad_signatures_and_nobody_else_is() {
        let (forged, now) = (Forged::default(), Instant::now());
        for _ in 0..10 * FORGED {
            assert_eq!(forged.judge_at(ALICE, || true, now), Ok(true), "good ones don't count");
        }
        for _ in 0..FORGED {
            assert_eq!(forged.judge_at(ALICE, || false, now), Ok(false));
        }
        let unseen = || -> bool { panic!("no signature is looked at") };
        assert_eq!(forged.judge_at(ALICE, unseen, now), Err(WINDOW));
        assert_eq!(forged.judge_at(ALICE, unseen, now + WINDOW / 2), Err(WINDOW / 2));
        assert_eq!(forged.judge_at(BOB, || true, now), Ok(true));
        assert_eq!(forged.judge_at(ALICE, || true, now + WINDOW), Ok(true), "another second");
        for _ in 0..FORGED {
            assert_eq!(forged.judge_at(ALICE, || false, now + WINDOW), Ok(false), "counted anew");
        }
    }

    #[test]
    fn very_many_sources_share_one_count_and_take_no_more_memory() {
        let (forged, now) = (Forged::default(), Instant::now());
        let source =
            |number: usize| IpAddr::from([10, (number >> 16) as u8, (number >> 8) as u8, number as u8]);
        for number in 0..SOURCES + FORGED as usize {
            assert_eq!(forged.judge_at(source(number), || false, now), Ok(false));
        }
        assert!(forged.lock().by_source.len() <= SOURCES + 1);
        assert!(forged.judge_at(source(SOURCES + 1000), || true, now).is_err());
        assert_eq!(
            forged.judge_at(source(1), || true, now),
            Ok(true),
            "one that is known has a count of its own"
        );
        assert_eq!(forged.judge_at(source(SOURCES + 1000), || false, now + WINDOW), Ok(false));
        assert!(forged.lock().by_source.len() <= SOURCES + 1);
    }
}
