//! Failed logins slow down whoever makes them: the source, and the source at one account.
//!
//! An account is never locked: others sign in to it from elsewhere while one source waits. A try
//! counts from its beginning, so that many at once are not all let through before the first has
//! failed; those that there is no room for wait until others have ended, so that many right passwords
//! at once all get in. The first wait after the free failures is a thirtieth of the period (at least a second),
//! each further failure doubles it, up to the period.
//!
//! Callers: `authn::login` for every door; `authn` asks before it answers Basic from the cache. What counts is in
//! memory; the store is told of it and gives it back after a restart.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;

use crate::identity::UserId;
use crate::store::{FailureKey as Key, Failures, Store, StoreError, TriedAccount as Account};

/// Pairs and sources that are remembered at most.
const CAPACITY: usize = 100_000;
/// Tries of one source under way at most, far below the queue of the hashing threads (64): one source
/// alone must not fill it, or everybody else is told to come back.
const UNDER_WAY: u32 = 8;
/// How many tries wait for others to end, and for how long: as the queue of the hashing threads has it.
const WAITING: usize = 64;
const PATIENCE: Duration = Duration::from_secs(5);
/// A look at all that is remembered is dear: with no room left, once in this time, and new ones wait.
const SWEEP: Duration = Duration::from_secs(1);

/// How many failed logins are let through before a wait (`limits.login` in the configuration).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LoginLimits {
    /// Per source and account.
    pub per_account: Rate,
    /// Per source (IPv6: /64).
    pub per_ip: Rate,
}

/// So many in so long: `10/15m`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In how long.
    pub period: Duration,
}

/// Counts failures. Cheap to clone; all clones count together.
#[derive(Clone)]
pub struct Throttle {
    counters: Arc<Mutex<Counters>>,
    limits: LoginLimits,
    queue: Arc<Queue>,
    /// Where counts outlive this process.
    store: Option<Store>,
}

/// `CAPACITY` of them at most.
#[derive(Default)]
struct Counters {
    by_key: HashMap<Key, Counter>,
    /// When room was last made.
    swept_at: Option<Instant>,
}

/// Tries that there is no room for while others are under way.
#[derive(Default)]
struct Queue {
    ended: Notify,
    length: AtomicUsize,
}

/// A place in the queue.
struct Place<'a>(&'a Queue);

/// Why a try is not made now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotNow {
    /// Too many have failed: for so long.
    Braked(Duration),
    /// Too many are under way: nobody has failed, and it may be tried again at once.
    Busy,
}

/// Why a try does not begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wait {
    /// Too many have failed, or nothing more can be remembered.
    Braked(Duration),
    /// As many are under way as may fail, or as one source may have.
    Turn,
}

/// A try that has begun. Dropped without a word (the client went away, we were busy) it never was.
#[must_use]
pub struct Attempt {
    /// The pair that it is at, another one that it is at besides, and its source.
    keys: Vec<Key>,
    throttle: Throttle,
}

#[derive(Clone, Copy, Debug)]
struct Counter {
    /// `None`: never yet. A time, however early, could lie in the future of who looked at the clock before.
    blocked_until: Option<Instant>,
    failures: u32,
    last: Instant,
    /// Tries that have begun and not ended.
    pending: u32,
}

impl Throttle {
    /// Nobody has failed yet, and nothing is remembered over a restart.
    pub fn new(limits: LoginLimits) -> Self {
        Self { counters: Arc::default(), limits, queue: Arc::default(), store: None }
    }

    /// With the failures that the store remembers, and telling it of further ones.
    pub async fn remembered(limits: LoginLimits, store: Store) -> Result<Self, StoreError> {
        let (wall, now) = (SystemTime::now(), Instant::now());
        let kept = store.failures(wall).await?;
        let throttle = Self { store: Some(store), ..Self::new(limits) };
        let mut counters = throttle.lock();
        for failures in kept.iter().take(CAPACITY) {
            let counter = Counter::restored(failures, throttle.rate(failures.key).period, wall, now);
            counters.by_key.insert(failures.key, counter);
        }
        drop(counters);
        Ok(throttle)
    }

    /// Clears the failures at one account, whatever their source. Those of a source at all accounts stay.
    pub async fn clear(&self, account: Account) -> Result<(), StoreError> {
        let at_account = |key: &Key| matches!(key, Key::Pair(_, at) if *at == account);
        for (_, counter) in self.lock().by_key.iter_mut().filter(|(key, _)| at_account(key)) {
            counter.failures = 0;
            counter.blocked_until = None;
        }
        match &self.store {
            Some(store) => store.clear_failures(account).await.map(drop),
            None => Ok(()),
        }
    }

    /// The same counters under other limits.
    pub fn with_limits(&self, limits: LoginLimits) -> Self {
        Self { limits, ..self.clone() }
    }

    /// Begins a try, when it is its turn, or says why not. It is at this account and, where one address may mean two,
    /// at another one `beside` it: what fails has failed at both.
    pub async fn begin(
        &self,
        source: IpAddr,
        account: Account,
        beside: Option<Account>,
    ) -> Result<Attempt, NotNow> {
        match self.begin_at(source, account, beside, Instant::now()) {
            Ok(attempt) => return Ok(attempt),
            Err(Wait::Braked(wait)) => return Err(NotNow::Braked(wait)),
            Err(Wait::Turn) => {}
        }
        let place = Place::take(&self.queue).ok_or(NotNow::Busy)?;
        let turn = async {
            loop {
                // Listened to before the look, or an end between the two would be missed.
                let mut ended = std::pin::pin!(place.0.ended.notified());
                ended.as_mut().enable();
                match self.begin_at(source, account, beside, Instant::now()) {
                    Ok(attempt) => return Ok(attempt),
                    Err(Wait::Braked(wait)) => return Err(NotNow::Braked(wait)),
                    Err(Wait::Turn) => ended.await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, turn).await.unwrap_or(Err(NotNow::Busy))
    }

    /// How long this source has to wait at this account, if it has to.
    pub fn check_user(&self, source: IpAddr, user: UserId) -> Result<(), Duration> {
        let (now, source) = (Instant::now(), network(source));
        let counters = self.lock();
        for key in [Key::Pair(source, Account::Known(user)), Key::Source(source)] {
            if let Some(wait) = counters.by_key.get(&key).and_then(|counter| counter.braked(now)) {
                return Err(wait);
            }
        }
        Ok(())
    }

    fn begin_at(
        &self,
        source: IpAddr,
        account: Account,
        beside: Option<Account>,
        now: Instant,
    ) -> Result<Attempt, Wait> {
        let source = network(source);
        let pairs = [Some(account), beside].into_iter().flatten().map(|account| Key::Pair(source, account));
        let keys: Vec<Key> = pairs.chain([Key::Source(source)]).collect();
        let mut counters = self.lock();
        for &key in &keys {
            if let Some(wait) =
                counters.by_key.get(&key).and_then(|counter| counter.wait(key, self.rate(key), now))
            {
                return Err(wait);
            }
        }
        if keys.iter().any(|key| !counters.by_key.contains_key(key)) {
            self.make_room(&mut counters, keys.len(), now)?;
        }
        for &key in &keys {
            let counter = counters.by_key.entry(key).or_insert(Counter {
                blocked_until: None,
                failures: 0,
                last: now,
                pending: 0,
            });
            if counter.is_forgotten(self.rate(key), now) {
                counter.failures = 0;
            }
            counter.pending += 1;
            counter.last = now;
        }
        Ok(Attempt { keys, throttle: self.clone() })
    }

    /// For so many new pairs and sources, or says how long they have to wait.
    fn make_room(&self, counters: &mut Counters, wanted: usize, now: Instant) -> Result<(), Wait> {
        let room = CAPACITY - wanted;
        if counters.by_key.len() > room && counters.swept_at.is_none_or(|swept_at| now >= swept_at + SWEEP) {
            counters.swept_at = Some(now);
            counters.by_key.retain(|key, counter| !counter.is_forgotten(self.rate(*key), now));
            // Still full: a flood from very many sources. Whoever is braked stays so.
            if counters.by_key.len() > room {
                counters.by_key.retain(|_, counter| counter.pending > 0 || counter.braked(now).is_some());
            }
        }
        if counters.by_key.len() > room { Err(Wait::Braked(SWEEP)) } else { Ok(()) }
    }

    fn rate(&self, key: Key) -> Rate {
        match key {
            Key::Pair(..) => self.limits.per_account,
            Key::Source(_) => self.limits.per_ip,
        }
    }

    /// Tells the store what a counter says now.
    fn keep(&self, key: Key, counter: &Counter, now: Instant) {
        if let Some(store) = &self.store {
            store.note_failures(counter.kept(key, self.rate(key).period, SystemTime::now(), now));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt {
    /// The password was right: this pair starts anew. The source's count stays, or one good account
    /// would buy a source endless tries at others.
    pub fn succeeded(self) {
        let Some(&pair) = self.keys.first() else { return };
        if let Some(counter) =
            self.throttle.lock().by_key.get_mut(&pair).filter(|counter| counter.failures > 0)
        {
            counter.failures = 0;
            self.throttle.keep(pair, counter, Instant::now());
        }
    }

    /// The password was wrong.
    pub fn failed(self) {
        self.failed_at(Instant::now());
    }

    /// The password was wrong at the account, and right at the one beside it: that one has not failed.
    pub fn failed_at_the_account_alone(self) {
        self.count_failures(Instant::now(), |at, key| at == 0 || matches!(key, Key::Source(_)));
    }

    fn failed_at(self, now: Instant) {
        self.count_failures(now, |_, _| true);
    }

    fn count_failures(&self, now: Instant, fails: impl Fn(usize, Key) -> bool) {
        let mut counters = self.throttle.lock();
        for (_, &key) in self.keys.iter().enumerate().filter(|(at, key)| fails(*at, **key)) {
            if let Some(counter) = counters.by_key.get_mut(&key) {
                counter.fail(self.throttle.rate(key), now);
                self.throttle.keep(key, counter, now);
            }
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut counters = self.throttle.lock();
        for &key in &self.keys {
            if let Some(counter) = counters.by_key.get_mut(&key) {
                counter.pending = counter.pending.saturating_sub(1);
                if counter.pending == 0 && counter.failures == 0 {
                    counters.by_key.remove(&key);
                }
            }
        }
        drop(counters);
        self.throttle.queue.ended.notify_waiters();
    }
}

impl<'a> Place<'a> {
    fn take(queue: &'a Queue) -> Option<Self> {
        // Given back by the drop where it was one too many.
        let place = Self(queue);
        (queue.length.fetch_add(1, Ordering::Relaxed) < WAITING).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.length.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counter {
    /// How long it is braked yet, if it is.
    fn braked(&self, now: Instant) -> Option<Duration> {
        self.blocked_until.and_then(|until| until.checked_duration_since(now)).filter(|wait| !wait.is_zero())
    }

    fn wait(&self, key: Key, rate: Rate, now: Instant) -> Option<Wait> {
        if let Some(wait) = self.braked(now) {
            return Some(Wait::Braked(wait));
        }
        let failures = if self.is_forgotten(rate, now) { 0 } else { self.failures };
        // Past the free ones, one at a time.
        let free = rate.count.saturating_sub(failures).max(1);
        let room = match key {
            Key::Pair(..) => free,
            Key::Source(_) => free.min(UNDER_WAY),
        };
        (self.pending >= room).then_some(Wait::Turn)
    }

    fn fail(&mut self, rate: Rate, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.last = now;
        if let Some(excess) = self.failures.checked_sub(rate.count) {
            let first = (rate.period / 30).max(Duration::from_secs(1));
            let wait = first.saturating_mul(1 << excess.min(20)).min(rate.period);
            self.blocked_until = Some(now + wait);
        }
    }

    fn is_forgotten(&self, rate: Rate, now: Instant) -> bool {
        self.pending == 0 && now > self.counts_until(rate.period)
    }

    fn counts_until(&self, period: Duration) -> Instant {
        self.blocked_until.map_or(self.last, |until| until.max(self.last)) + period
    }

    /// By the wall's clock, which the next process has as well.
    fn kept(&self, key: Key, period: Duration, wall: SystemTime, now: Instant) -> Failures {
        let at = |then: Instant| wall + then.saturating_duration_since(now);
        Failures {
            blocked_until: self.blocked_until.map(at),
            count: self.failures,
            forgotten_at: at(self.counts_until(period)),
            key,
        }
    }

    /// A clock that was set back brakes nobody for longer than the period.
    fn restored(failures: &Failures, period: Duration, wall: SystemTime, now: Instant) -> Self {
        let left = |until: SystemTime| until.duration_since(wall).unwrap_or_default().min(period);
        let counts_for = left(failures.forgotten_at);
        Self {
            blocked_until: failures
                .blocked_until
                .map(left)
                .filter(|left| !left.is_zero())
                .map(|left| now + left),
            failures: failures.count,
            // Just after the machine has started there is no earlier instant: then it counts for longer.
            last: now.checked_sub(period - counts_for).unwrap_or(now),
            pending: 0,
        }
    }
}

/// Where a client sits: an address, or the /64 that one IPv6 customer has to himself.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);

    fn throttle(per_account: u32, per_ip: u32) -> Throttle {
        let rate = |count| Rate { count, period: MINUTE };
        Throttle::new(LoginLimits { per_account: rate(per_account), per_ip: rate(per_ip) })
    }

    fn unknown(name: &str) -> Account {
        Account::Unknown(crate::store::Digest::of(name.as_bytes()))
    }

    fn source(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// Fails once, or says how long to wait.
    fn fail(throttle: &Throttle, from: IpAddr, account: Account, now: Instant) -> Result<(), Wait> {
        throttle.begin_at(from, account, None, now).map(|attempt| attempt.failed_at(now))
    }

    #[test]
    fn whoever_looked_at_the_clock_before_another_is_not_braked_by_its_beginning() {
        let throttle = throttle(5, 5);
        let earlier = Instant::now();
        let first = throttle.begin_at(source(1), unknown("a"), None, earlier + Duration::from_millis(3));
        let second = throttle.begin_at(source(1), unknown("b"), None, earlier);
        assert!(first.is_ok() && second.is_ok(), "nobody has failed");
    }

    #[test]
    fn after_the_free_failures_waits_double_up_to_the_period() {
        let throttle = throttle(3, 1000);
        let mut now = Instant::now();
        for _ in 0..3 {
            assert_eq!(fail(&throttle, source(1), unknown("a"), now), Ok(()));
        }
        for expected in [2, 4, 8, 16, 32, 60, 60] {
            let wait = fail(&throttle, source(1), unknown("a"), now).expect_err("braked");
            assert_eq!(wait, Wait::Braked(SECOND * expected));
            now += SECOND * expected;
            assert_eq!(fail(&throttle, source(1), unknown("a"), now), Ok(()), "one try after the wait");
        }
    }

    #[test]
    fn other_sources_and_other_accounts_are_not_braked() {
        let throttle = throttle(1, 1000);
        let now = Instant::now();
        assert_eq!(fail(&throttle, source(1), unknown("a"), now), Ok(()));
        assert!(fail(&throttle, source(1), unknown("a"), now).is_err());
        assert!(fail(&throttle, source(2), unknown("a"), now).is_ok());
        assert!(fail(&throttle, source(1), unknown("b"), now).is_ok());
    }

    #[test]
    fn a_source_that_tries_many_accounts_is_braked_as_a_whole() {
        let throttle = throttle(10, 3);
        let now = Instant::now();
        for name in ["a", "b", "c"] {
            assert!(fail(&throttle, source(1), unknown(name), now).is_ok());
        }
        assert!(fail(&throttle, source(1), unknown("d"), now).is_err());
        // One customer's /64 is one source.
        let [one, two]: [IpAddr; 2] =
            ["2001:db8::1", "2001:db8::ffff"].map(|a| a.parse().expect("an address"));
        for name in ["a", "b", "c"] {
            assert!(fail(&throttle, one, unknown(name), now).is_ok());
        }
        assert!(fail(&throttle, two, unknown("d"), now).is_err());
    }

    #[test]
    fn a_success_clears_the_pair() {
        let throttle = throttle(2, 1000);
        let now = Instant::now();
        for _ in 0..5 {
            assert!(fail(&throttle, source(1), unknown("a"), now).is_ok());
            throttle.begin_at(source(1), unknown("a"), None, now).expect("not braked").succeeded();
        }
    }

    #[test]
    fn many_tries_at_once_are_no_way_round() {
        let throttle = throttle(5, 1000);
        let now = Instant::now();
        let begun: Vec<_> =
            (0..100).filter_map(|_| throttle.begin_at(source(1), unknown("a"), None, now).ok()).collect();
        assert_eq!(begun.len(), 5);
        // Given up without an answer they never were.
        drop(begun);
        assert!(throttle.begin_at(source(1), unknown("a"), None, now).is_ok());
    }

    #[test]
    fn one_source_has_few_tries_under_way_whatever_it_may_fail() {
        let throttle = throttle(1000, 1000);
        let now = Instant::now();
        let mut begun: Vec<_> = (0..UNDER_WAY)
            .map(|n| throttle.begin_at(source(1), unknown(&n.to_string()), None, now).expect("room"))
            .collect();
        assert_eq!(throttle.begin_at(source(1), unknown("another"), None, now).err(), Some(Wait::Turn));
        assert!(
            throttle.begin_at(source(2), unknown("another"), None, now).is_ok(),
            "others are not kept waiting"
        );
        begun.pop().expect("one of them").failed_at(now);
        assert!(throttle.begin_at(source(1), unknown("another"), None, now).is_ok(), "its turn");
    }

    #[tokio::test]
    async fn who_has_no_room_waits_for_others_to_end() {
        let throttle = throttle(2, 1000);
        let begin = || throttle.begin(source(1), unknown("a"), None);
        let (one, two) = (begin().await.expect("room"), begin().await.expect("room"));
        // Polled first: it waits. A success makes room, and a failure takes it away.
        let (third, ()) = tokio::join!(begin(), async { one.succeeded() });
        let third = third.expect("its turn");
        let (fourth, (), ()) = tokio::join!(begin(), async { two.failed() }, async { third.failed() });
        assert!(fourth.is_err(), "both have failed, and the third was the last one free");
        assert_eq!(throttle.queue.length.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn no_more_wait_than_there_are_places() {
        let throttle = throttle(1, 1000);
        let _under_way = throttle.begin(source(1), unknown("a"), None).await.expect("room");
        let places: Vec<_> = (0..WAITING).filter_map(|_| Place::take(&throttle.queue)).collect();
        assert_eq!(places.len(), WAITING);
        assert_eq!(throttle.begin(source(1), unknown("a"), None).await.err(), Some(NotNow::Busy));
        assert_eq!(throttle.queue.length.load(Ordering::Relaxed), WAITING);
    }

    /// One failure each of so many sources.
    fn flood(throttle: &Throttle, sources: usize, now: Instant) {
        for number in 0..sources as u32 {
            let from = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
            assert_eq!(fail(throttle, from, unknown("a"), now), Ok(()));
        }
    }

    #[test]
    fn in_a_flood_the_braked_stay_and_new_ones_wait() {
        let throttle = throttle(1, 1);
        let began = Instant::now();
        flood(&throttle, CAPACITY / 2, began);
        let at = |millis| began + Duration::from_millis(millis);
        let (new, known) = (source(1), IpAddr::from([10, 0, 0, 0]));
        // All are braked for two seconds.
        assert_eq!(fail(&throttle, new, unknown("a"), at(1500)), Err(Wait::Braked(SWEEP)));
        assert_eq!(throttle.lock().by_key.len(), CAPACITY, "nobody was let go, and nobody came");
        assert_eq!(fail(&throttle, known, unknown("a"), at(1500)), Err(Wait::Braked(SECOND / 2)));
        // Nobody is now, but there was a sweep a moment ago. Who is remembered needs no room.
        assert_eq!(fail(&throttle, new, unknown("a"), at(2200)), Err(Wait::Braked(SWEEP)));
        assert_eq!(fail(&throttle, known, unknown("a"), at(2200)), Ok(()));
        assert_eq!(fail(&throttle, new, unknown("a"), at(2500)), Ok(()));
        assert_eq!(throttle.lock().by_key.len(), 4);
        assert_eq!(fail(&throttle, known, unknown("a"), at(2500)), Err(Wait::Braked(SECOND * 37 / 10)));
    }

    #[test]
    fn what_is_forgotten_goes_before_what_still_counts() {
        let throttle = throttle(3, 3);
        let now = Instant::now();
        let known = source(1);
        flood(&throttle, CAPACITY / 2 - 1, now);
        for at in [now, now + MINUTE] {
            assert_eq!(fail(&throttle, known, unknown("a"), at), Ok(()));
        }
        let later = now + MINUTE + SECOND;
        assert_eq!(fail(&throttle, source(2), unknown("a"), later), Ok(()));
        assert_eq!(throttle.lock().by_key.len(), 4);
        assert_eq!(fail(&throttle, known, unknown("a"), later), Ok(()));
        assert!(
            fail(&throttle, known, unknown("a"), later).is_err(),
            "three have failed, all of them counted"
        );
    }

    #[test]
    fn a_long_pause_forgets() {
        let throttle = throttle(2, 1000);
        let now = Instant::now();
        for _ in 0..2 {
            assert!(fail(&throttle, source(1), unknown("a"), now).is_ok());
        }
        let later = now + MINUTE * 2;
        for _ in 0..2 {
            assert!(fail(&throttle, source(1), unknown("a"), later).is_ok());
        }
        assert!(fail(&throttle, source(1), unknown("a"), later).is_err());
    }

    #[test]
    fn what_is_kept_brakes_as_long_as_it_did_and_a_clock_that_was_set_back_brakes_nobody_longer() {
        let throttle = throttle(1, 1000);
        let (now, wall) = (Instant::now() + MINUTE * 10, SystemTime::now());
        for wait in [0, 2, 6, 14] {
            assert_eq!(fail(&throttle, source(1), unknown("a"), now + SECOND * wait), Ok(()));
        }
        let key = Key::Pair(source(1), unknown("a"));
        let last = now + SECOND * 14;
        let counter = throttle.lock().by_key[&key];
        let kept = counter.kept(key, MINUTE, wall, last);
        let back = |wall, now| Counter::restored(&kept, MINUTE, wall, now);
        assert_eq!(back(wall, last).braked(last), Some(SECOND * 16));
        assert_eq!(back(wall, last).failures, 4);
        assert_eq!(back(wall + SECOND * 5, last).braked(last), Some(SECOND * 11));
        let over = back(wall + SECOND * 30, last);
        assert_eq!(over.braked(last), None);
        let rate = Rate { count: 1, period: MINUTE };
        assert!(!over.is_forgotten(rate, last + SECOND * 45) && over.is_forgotten(rate, last + SECOND * 47));
        assert_eq!(back(wall - MINUTE * 1000, last).braked(last), Some(MINUTE), "at most the period");
    }
}
