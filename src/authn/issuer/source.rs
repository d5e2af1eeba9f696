//! The keys of one issuer, and the task that keeps them new.
//!
//! A request reads the keys and never fetches: it asks the task to, and waits for a bounded time, and
//! only where a token names a key that is not there. Such an order is carried out at most once in
//! `ASKED_AGAIN`, so that made-up names cost the issuer nothing to speak of.
//!
//! Keys that can't be fetched stay as they were. A key that the issuer takes out of its set ends what
//! it vouched for at once.
//!
//! Callers: `authn::issuer`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::fetch::{Fetched, Fetcher};
use super::keys::KeySet;
use super::settings::{Location, SourceSettings};
use crate::authn::cache::{Ended, Endings};
use crate::identity::ForeignKey;

/// Between two fetches that requests ask for.
const ASKED_AGAIN: Duration = Duration::from_secs(30);
/// The shortest time that fetched keys are kept, whatever their answer says.
const SHORTEST: Duration = Duration::from_secs(30);
/// After a failure, and the longest time after many.
const RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// Requests that wait for a fetch at the same time; one more does not.
const WAITING: usize = 256;
/// Failures one after the other, of which one is told.
const TOLD: u32 = 20;

/// The keys of one issuer. Dropped, it is not fetched for any longer.
pub(super) struct Source {
    shared: Arc<Shared>,
    task: Mutex<Option<AbortHandle>>,
}

struct Shared {
    keys: ArcSwap<KeySet>,
    known: Mutex<Known>,
    /// Counts the fetches that have ended.
    rounds: watch::Sender<u64>,
    settings: SourceSettings,
    waiting: Semaphore,
    wake: Notify,
}

/// What is known of the fetches.
#[derive(Default)]
struct Known {
    /// When a request's order was last taken.
    asked_at: Option<Instant>,
    failed: u64,
    fetched: u64,
    fetched_at: Option<SystemTime>,
    /// Why the last fetch failed, if it did.
    problem: Option<String>,
    under_way: bool,
}

/// How it stands with the keys of one issuer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IssuerState {
    /// Fetches that failed.
    pub failed: u64,
    /// Fetches that did not.
    pub fetched: u64,
    /// When keys were last fetched; `None`: never, or they are in a file.
    pub fetched_at: Option<SystemTime>,
    /// `iss`.
    pub issuer: String,
    /// Usable keys.
    pub keys: usize,
    /// Why the last fetch failed, if it did.
    pub problem: Option<String>,
}

impl IssuerState {
    /// Whether its tokens can be verified, and new keys would be seen.
    pub fn is_healthy(&self) -> bool {
        self.keys > 0 && self.problem.is_none()
    }

    /// What does not work, in one line.
    pub fn trouble(&self) -> Option<String> {
        if self.is_healthy() {
            return None;
        }
        let holds = match self.keys {
            0 => "none of its tokens is taken".to_owned(),
            1 => "the key that is known goes on to hold".to_owned(),
            keys => format!("the {keys} keys that are known go on to hold"),
        };
        let why = self.problem.as_deref().unwrap_or(match self.fetched_at {
            Some(_) => "it has no key that can be used",
            None => "its keys were not fetched yet",
        });
        Some(format!("issuer {}: {holds}: {why}", self.issuer))
    }
}

impl Source {
    /// With the keys of its file, or none yet.
    pub(super) fn new(settings: SourceSettings) -> Self {
        let keys = match &settings.location {
            Location::File(keys) => Arc::clone(keys),
            Location::Discovery(_) | Location::Url(_) => Arc::default(),
        };
        let shared = Shared {
            keys: ArcSwap::new(keys),
            known: Mutex::default(),
            rounds: watch::Sender::new(0),
            settings,
            waiting: Semaphore::new(WAITING),
            wake: Notify::new(),
        };
        Self { shared: Arc::new(shared), task: Mutex::default() }
    }

    pub(super) fn settings(&self) -> &SourceSettings {
        &self.shared.settings
    }

    /// The keys as they are now.
    pub(super) fn keys(&self) -> Arc<KeySet> {
        self.shared.keys.load_full()
    }

    /// Begins to fetch, unless it has been begun, or there is nothing to. What ends is said to `endings`.
    pub(super) fn start(&self, endings: &Endings) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.is_some() {
            return;
        }
        let Some(fetcher) = Fetcher::new(&self.shared.settings) else { return };
        // From here on, so that whoever comes before the first answer waits for it.
        self.shared.known().under_way = true;
        let keeping = Arc::clone(&self.shared).keep_new(fetcher, endings.clone());
        *task = Some(tokio::spawn(keeping).abort_handle());
    }

    /// Has keys fetched that may have come since, and waits until they are there, at most so long. Nobody waits where
    /// there is nothing to fetch, or where that was done a moment ago.
    pub(super) async fn ask(&self, patience: Duration) {
        let mut rounds = self.shared.rounds.subscribe();
        if !self.shared.order(Instant::now()) {
            return;
        }
        let Ok(_place) = self.shared.waiting.try_acquire() else { return };
        // Whoever waits too long, or for a task that is gone, finds what there is.
        let _ = timeout(patience, rounds.changed()).await;
    }

    /// Ends it: the issuer is none of ours any more, and neither is what its keys vouched for.
    pub(super) fn retire(&self, endings: &Endings) {
        self.stop();
        self.shared.replace(KeySet::default(), endings);
    }

    pub(super) fn state(&self) -> IssuerState {
        let keys = self.keys().ids().len();
        let known = self.shared.known();
        IssuerState {
            failed: known.failed,
            fetched: known.fetched,
            fetched_at: known.fetched_at,
            issuer: self.shared.settings.issuer.clone(),
            keys,
            problem: known.problem.clone(),
        }
    }

    fn stop(&self) {
        if let Some(task) = &*self.task.lock().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// Fetches, waits until it is time or somebody asks, and fetches again. Never ends.
    async fn keep_new(self: Arc<Self>, fetcher: Fetcher, endings: Endings) {
        let mut failures = 0;
        loop {
            self.known().under_way = true;
            let wait = match fetcher.fetch(&self.settings).await {
                Ok(fetched) => {
                    self.succeeded(&fetched, failures);
                    failures = 0;
                    self.replace(fetched.keys, &endings);
                    let shortest = SHORTEST.min(self.settings.refresh);
                    fetched.max_age.unwrap_or(self.settings.refresh).clamp(shortest, self.settings.refresh)
                }
                Err(fault) => {
                    self.failed(fault.to_string(), failures);
                    failures += 1;
                    let retry = RETRY.saturating_mul(1 << failures.min(6)).min(LONGEST_RETRY);
                    retry.min(self.settings.refresh)
                }
            };
            self.known().under_way = false;
            self.rounds.send_modify(|rounds| *rounds += 1);
            let _ = timeout(wait, self.wake.notified()).await;
        }
    }

    /// Whether a fetch is under way now, by this order or by itself.
    fn order(&self, now: Instant) -> bool {
        if matches!(self.settings.location, Location::File(_)) {
            return false;
        }
        let mut known = self.known();
        if known.under_way {
            return true;
        }
        let again = ASKED_AGAIN.min(self.settings.refresh);
        if known.asked_at.is_some_and(|asked_at| now.saturating_duration_since(asked_at) < again) {
            return false;
        }
        known.asked_at = Some(now);
        known.under_way = true;
        self.wake.notify_one();
        true
    }

    fn succeeded(&self, fetched: &Fetched, failures: u32) {
        let issuer = &self.settings.issuer;
        if failures > 0 {
            tracing::info!(issuer, failures, "the keys of an issuer can be fetched again");
        }
        if fetched.keys.is_empty() {
            tracing::warn!(issuer, "an issuer has no key that can be used: none of its tokens is taken");
        }
        let mut known = self.known();
        known.fetched += 1;
        known.fetched_at = Some(SystemTime::now());
        known.problem = None;
    }

    fn failed(&self, problem: String, failures: u32) {
        if failures.is_multiple_of(TOLD) {
            let (issuer, keys) = (&self.settings.issuer, self.keys.load().ids().len());
            tracing::warn!(
                issuer,
                keys,
                problem,
                failures = failures + 1,
                "the keys of an issuer can't be fetched: those that are known go on to hold"
            );
        }
        let mut known = self.known();
        known.failed += 1;
        known.problem = Some(problem);
    }

    fn replace(&self, keys: KeySet, endings: &Endings) {
        let present = keys.ids();
        let before = self.keys.swap(Arc::new(keys));
        // After the swap: whoever reads the epoch from here on reads the new keys as well.
        for key in gone(&before.ids(), &present) {
            tracing::info!(issuer = self.settings.issuer, "an issuer has taken back a key");
            endings.ended(Ended::ForeignKey(key));
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn gone(before: &[ForeignKey], now: &[ForeignKey]) -> Vec<ForeignKey> {
    before.iter().filter(|key| !now.contains(key)).copied().collect()
}
