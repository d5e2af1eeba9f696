//! A brake on who sends tokens with signatures that are nobody's: so many a second from one source.
//!
//! Looking at a signature is the only dear thing that an unknown token costs. Good tokens cost none of
//! this, however many there are, and whoever is known already is found in the cache before.
//!
//! Many people may share a source with the one who forges. So only failures count, and what is known to
//! be signed is looked at whatever else came from there: what we made ourselves, and what was verified
//! before. A token of another issuer that is seen for the first time waits with the forged ones, for the rest
//! of the second; nothing tells it from them but its signature.
//!
//! Callers: `authn`, for our own tokens and those of other issuers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::throttle::network;
use crate::store::Digest;

/// Signatures of one source that may turn out bad in a window: a hundredth of a core where keys are long.
const FORGED: u32 = 50;
/// Of all sources together: from there on each has one. Without it a thousand sources would have all cores.
const FORGED_BY_ALL: u32 = 2000;
const WINDOW: Duration = Duration::from_secs(1);
/// Sources that are remembered at most. With no room left all others share one count.
const SOURCES: usize = 10_000;
/// Tokens that are known to be signed: how many are remembered, and for how long when they are not shown.
const SIGNED: u64 = 50_000;
const SIGNED_FOR: Duration = Duration::from_secs(3600);

/// Counts bad signatures by their source.
pub(super) struct Forged {
    /// By the digest of what is shown.
    signed: moka::sync::Cache<Digest, ()>,
    windows: Mutex<Windows>,
}

#[derive(Default)]
struct Windows {
    by_all: Option<Window>,
    by_source: HashMap<Option<IpAddr>, Window>,
    /// A look at all of them is dear: once in a window.
    swept_at: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Window {
    began: Instant,
    forged: u32,
}

/// A look at the signature of one token.
#[derive(Clone, Copy)]
pub struct Look<'f> {
    forged: &'f Forged,
    shown: Option<Digest>,
    source: IpAddr,
}

impl Default for Forged {
    fn default() -> Self {
        let signed = moka::sync::Cache::builder().max_capacity(SIGNED).time_to_idle(SIGNED_FOR).build();
        Self { signed, windows: Mutex::default() }
    }
}

impl Look<'_> {
    /// Looks at the signature, unless too many of this source were bad: then says how long it has to wait.
    pub fn judge(self, verifies: impl FnOnce() -> bool) -> Result<bool, Duration> {
        self.judge_at(verifies, Instant::now())
    }

    fn judge_at(self, verifies: impl FnOnce() -> bool, now: Instant) -> Result<bool, Duration> {
        let Self { forged, shown, source } = self;
        let source = network(source);
        if let Some(wait) = forged.braked(source, now)
            && !shown.is_some_and(|shown| forged.signed.contains_key(&shown))
        {
            return Err(wait);
        }
        let verifies = verifies();
        match shown {
            Some(shown) if verifies => forged.vouch(shown),
            _ if verifies => {}
            _ => forged.count(source, now),
        }
        Ok(verifies)
    }
}

impl Forged {
    /// For a token of this source. `shown` is the digest of what it was shown in, where there is one.
    pub(super) fn look(&self, source: IpAddr, shown: Option<Digest>) -> Look<'_> {
        Look { forged: self, shown, source }
    }

    /// What has this digest is signed: nobody's forgeries keep it from being looked at.
    pub(super) fn vouch(&self, shown: Digest) {
        // Asked for first, which keeps it: to write it once more costs ten times as much.
        if self.signed.get(&shown).is_none() {
            self.signed.insert(shown, ());
        }
    }

    fn braked(&self, source: IpAddr, now: Instant) -> Option<Duration> {
        let Windows { by_all, by_source, .. } = &*self.lock();
        let window = by_source.get(&Some(source)).or_else(|| by_source.get(&None))?;
        let left = window.left(now)?;
        let is_flood = by_all.is_some_and(|all| all.left(now).is_some() && all.forged >= FORGED_BY_ALL);
        let most = if is_flood { 1 } else { FORGED };
        (window.forged >= most).then_some(left)
    }

    fn count(&self, source: IpAddr, now: Instant) {
        let Windows { by_all, by_source, swept_at } = &mut *self.lock();
        let is_full = by_source.len() >= SOURCES && !by_source.contains_key(&Some(source));
        if is_full && swept_at.is_none_or(|swept_at| now >= swept_at + WINDOW) {
            *swept_at = Some(now);
            by_source.retain(|_, window| window.left(now).is_some());
        }
        let is_full = is_full && by_source.len() >= SOURCES;
        by_source.entry(Some(source).filter(|_| !is_full)).or_insert(Window::new(now)).count(now);
        by_all.get_or_insert(Window::new(now)).count(now);
    }

    fn lock(&self) -> MutexGuard<'_, Windows> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    fn new(now: Instant) -> Self {
        Self { began: now, forged: 0 }
    }

    /// What of it is left, if anything.
    fn left(&self, now: Instant) -> Option<Duration> {
        (self.began + WINDOW).checked_duration_since(now).filter(|left| !left.is_zero())
    }

    fn count(&mut self, now: Instant) {
        if self.left(now).is_none() {
            *self = Self::new(now);
        }
        self.forged += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const BOB: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn judge(
        forged: &Forged,
        source: IpAddr,
        verifies: impl FnOnce() -> bool,
        now: Instant,
    ) -> Result<bool, Duration> {
        forged.look(source, None).judge_at(verifies, now)
    }

    fn unseen() -> bool {
        panic!("no signature is looked at")
    }

    fn source(number: usize) -> IpAddr {
        IpAddr::from([10, (number >> 16) as u8, (number >> 8) as u8, number as u8])
    }

    #[test]
    fn a_source_is_braked_after_its_bad_signatures_and_nobody_else_is() {
        let (forged, now) = (Forged::default(), Instant::now());
        for _ in 0..10 * FORGED {
            assert_eq!(judge(&forged, ALICE, || true, now), Ok(true), "good ones don't count");
        }
        for _ in 0..FORGED {
            assert_eq!(judge(&forged, ALICE, || false, now), Ok(false));
        }
        assert_eq!(judge(&forged, ALICE, unseen, now), Err(WINDOW));
        assert_eq!(judge(&forged, ALICE, unseen, now + WINDOW / 2), Err(WINDOW / 2));
        assert_eq!(judge(&forged, BOB, || true, now), Ok(true));
        assert_eq!(judge(&forged, ALICE, || true, now + WINDOW), Ok(true), "another second");
        for _ in 0..FORGED {
            assert_eq!(judge(&forged, ALICE, || false, now + WINDOW), Ok(false), "counted anew");
        }
    }

    #[test]
    fn who_was_verified_before_does_not_wait_for_who_forges_beside_him() {
        let (forged, now) = (Forged::default(), Instant::now());
        let [verified, made, new] = [&b"verified"[..], b"made", b"new"].map(|token| Some(Digest::of(token)));
        assert_eq!(forged.look(ALICE, verified).judge_at(|| true, now), Ok(true));
        forged.vouch(made.expect("a digest"));
        for number in 0..FORGED {
            let bad = Some(Digest::of(&number.to_be_bytes()));
            assert_eq!(forged.look(ALICE, bad).judge_at(|| false, now), Ok(false));
        }
        for known in [verified, made] {
            assert_eq!(forged.look(ALICE, known).judge_at(|| true, now), Ok(true));
            assert_eq!(forged.look(BOB, known).judge_at(|| true, now), Ok(true));
        }
        assert_eq!(forged.look(ALICE, new).judge_at(unseen, now), Err(WINDOW));
    }

    #[test]
    fn when_very_many_are_bad_altogether_each_source_has_one() {
        let (forged, now) = (Forged::default(), Instant::now());
        for number in 0..FORGED_BY_ALL as usize {
            assert_eq!(judge(&forged, source(number), || false, now), Ok(false));
        }
        assert_eq!(judge(&forged, source(0), unseen, now), Err(WINDOW), "it had one");
        assert_eq!(judge(&forged, ALICE, || false, now), Ok(false), "it has one");
        assert_eq!(judge(&forged, ALICE, unseen, now), Err(WINDOW));
        assert_eq!(judge(&forged, BOB, || true, now), Ok(true));
        assert_eq!(judge(&forged, source(0), || false, now + WINDOW), Ok(false), "another second");
        assert_eq!(judge(&forged, source(0), || false, now + WINDOW), Ok(false), "and no flood");
    }

    #[test]
    fn very_many_sources_share_one_count_and_take_no_more_memory() {
        let (forged, now) = (Forged::default(), Instant::now());
        for number in 0..SOURCES + 1 {
            assert_eq!(judge(&forged, source(number), || false, now), Ok(false));
        }
        assert!(forged.lock().by_source.len() <= SOURCES + 1);
        assert!(judge(&forged, source(SOURCES + 1000), unseen, now).is_err());
        assert_eq!(judge(&forged, source(SOURCES + 1000), || false, now + WINDOW), Ok(false));
        assert!(forged.lock().by_source.len() <= SOURCES + 1);
    }
}
