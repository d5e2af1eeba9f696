//! How the servers of all upstreams are: what requests and checks told, shared by all threads.
//!
//! A server's health is a few atomic numbers, so that a request waits for no lock. Two things are
//! kept apart, because they know different things: the checks, which an operator asked for, are
//! believed (a server that they call down gets nothing); failed requests are a guess, and take a
//! server out for a while only, and never the last one (`proxy/balance.rs`).
//!
//! Callers: `gateway` has the one board, `proxy::upstream` counts requests, `proxy::health::check`
//! reports checks; whoever shows the state of the servers takes a snapshot.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::UpstreamSettings;

mod check;
#[cfg(test)]
mod tests;

pub use check::{HealthSettings, run};

/// A server that fails is first avoided for this long, and each time after for twice as long, ...
const FIRST_EJECTION: Duration = Duration::from_secs(5);
/// ... up to this.
const LONGEST_EJECTION: Duration = Duration::from_secs(60);
/// How long others keep away while one request tries an ejected server. The trial may be slow, or its
/// client may leave: then the next one tries.
const TRIAL: Duration = Duration::from_secs(5);
/// So many exchanges in a row that broke or timed out eject a server. One alone may be the request's
/// own fault, and would otherwise take server after server out.
const BROKEN_IN_A_ROW: u32 = 3;

/// The health of every server, by upstream and server. Clones are the same.
///
/// It outlives configurations: a server that stays keeps its state and its counts.
#[derive(Clone, Debug)]
pub struct HealthBoard(Arc<Board>);

#[derive(Debug)]
struct Board {
    epoch: Instant,
    servers: Mutex<Servers>,
}

/// By the names of upstream and server.
type Servers = BTreeMap<(String, String), Arc<ServerHealth>>;

/// One server, as it stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerStatus {
    /// Requests that got no answer there: no connection, one that broke, nothing in time, no HTTP.
    pub failures: u64,
    /// Requests under way, tunnels and streams included.
    pub in_flight: usize,
    /// Requests that were given to it.
    pub requests: u64,
    /// Of the failures, those after which the request went on to another server.
    pub retries: u64,
    /// As in the configuration.
    pub server: String,
    /// Whether it gets requests.
    pub state: ServerState,
    /// The upstream's name.
    pub upstream: String,
}

/// Whether a server gets requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ServerState {
    /// The checks say that it is down.
    Down,
    /// Requests failed there, and for a while it is asked only where there is no other.
    Ejected,
    /// It does.
    Up,
}

impl ServerState {
    /// A stable word for logs, metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Ejected => "ejected",
            Self::Up => "up",
        }
    }
}

impl HealthBoard {
    /// Knows no server yet.
    #[expect(clippy::new_without_default, reason = "there is one in a process, and its time starts with it")]
    pub fn new() -> Self {
        Self(Arc::new(Board { epoch: Instant::now(), servers: Mutex::default() }))
    }

    /// The health of one server. It counts as up until something is known.
    pub fn server(&self, upstream: &str, server: &str) -> Arc<ServerHealth> {
        let key = (upstream.to_owned(), server.to_owned());
        Arc::clone(self.servers().entry(key).or_insert_with(|| Arc::new(ServerHealth::new(upstream, server))))
    }

    /// How each server stands, in the order of the names.
    pub fn snapshot(&self) -> Vec<ServerStatus> {
        let now = self.now();
        self.servers().values().map(|health| health.status(now)).collect()
    }

    /// Forgets the servers that these upstreams don't have, and what checks said where there are none any more.
    fn keep(&self, upstreams: &[UpstreamSettings]) {
        let mut kept = Servers::new();
        for upstream in upstreams {
            for server in &upstream.servers {
                let health = self.server(&upstream.name, &server.to_string());
                if upstream.health.is_none() {
                    health.forget_checks();
                }
                kept.insert((upstream.name.clone(), server.to_string()), health);
            }
        }
        *self.servers() = kept;
    }

    /// Milliseconds on the clock that all threads share.
    pub(crate) fn now(&self) -> u64 {
        millis(self.0.epoch.elapsed())
    }

    fn servers(&self) -> MutexGuard<'_, Servers> {
        // A map of counters is sound wherever a panic left it.
        self.0.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The health of one server.
///
/// Alone in its cache lines: what one thread writes of a server slows down none that uses another.
#[derive(Debug)]
#[repr(align(128))]
pub struct ServerHealth {
    /// Answers to checks in a row that speak against `down`; of the checking task alone.
    check_streak: AtomicU32,
    down: AtomicBool,
    /// Until when it is ejected; 0 where it is not.
    ejected_until: AtomicU64,
    /// How often in a row without a success between.
    ejections: AtomicU32,
    failures: AtomicU64,
    /// Grows with each ejection: what began before one says nothing new after it.
    generation: AtomicU32,
    in_flight: AtomicUsize,
    requests: AtomicU64,
    retries: AtomicU64,
    server: String,
    /// Failures in a row.
    streak: AtomicU32,
    upstream: String,
}

/// How an exchange with a server failed, as far as that is the server's doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    /// The connection ended before the answer's head was there.
    Broken,
    /// There was no connection. That is nothing a request could cause.
    Connect,
    /// A kept connection that the server had closed, or an answer that is no HTTP: counted, and no sign
    /// that it is gone.
    Other,
    /// The answer's head did not come in time.
    Timeout,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broken => "connections break before an answer",
            Self::Connect => "no connection can be made",
            Self::Other => "exchanges fail",
            Self::Timeout => "answers do not come in time",
        })
    }
}

/// What was known when a request was given to a server.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    generation: u32,
    /// The one request by which an ejected server is tried.
    trial: bool,
}

impl ServerHealth {
    fn new(upstream: &str, server: &str) -> Self {
        Self {
            check_streak: AtomicU32::new(0),
            down: AtomicBool::new(false),
            ejected_until: AtomicU64::new(0),
            ejections: AtomicU32::new(0),
            failures: AtomicU64::new(0),
            generation: AtomicU32::new(0),
            in_flight: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            server: server.to_owned(),
            streak: AtomicU32::new(0),
            upstream: upstream.to_owned(),
        }
    }

    /// As in the configuration.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Requests under way, over all threads.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether the checks say that it gets nothing.
    pub(crate) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// Whether requests keep away from it now. Once the time is over it may be tried.
    pub(crate) fn is_ejected(&self, now: u64) -> bool {
        now < self.ejected_until.load(Ordering::Relaxed)
    }

    /// How it stands, and what it has done.
    fn status(&self, now: u64) -> ServerStatus {
        ServerStatus {
            failures: self.failures.load(Ordering::Relaxed),
            in_flight: self.in_flight(),
            requests: self.requests.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            server: self.server.clone(),
            state: match (self.is_down(), self.is_ejected(now)) {
                (true, _) => ServerState::Down,
                (false, true) => ServerState::Ejected,
                (false, false) => ServerState::Up,
            },
            upstream: self.upstream.clone(),
        }
    }

    /// Begins an attempt. `None` where the time of an ejection is over and another request is trying it.
    fn begin(&self, now: u64) -> Option<Attempt> {
        let generation = self.generation.load(Ordering::Relaxed);
        let until = self.ejected_until.load(Ordering::Relaxed);
        let trial = until != 0 && until <= now;
        if trial && !self.win_trial(until, now) {
            return None;
        }
        Some(Attempt { generation, trial })
    }

    /// Whether this is the one that tries the server, of all that saw the same end of its ejection.
    fn win_trial(&self, until: u64, now: u64) -> bool {
        let next = now + millis(TRIAL);
        self.ejected_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// An answer's head came.
    fn succeeded(&self, attempt: Attempt) {
        let quiet =
            self.streak.load(Ordering::Relaxed) == 0 && self.ejected_until.load(Ordering::Relaxed) == 0;
        // What was sent before the ejection may still be answered by a server that takes nothing new.
        if quiet || attempt.generation != self.generation.load(Ordering::Relaxed) {
            return;
        }
        self.readmit("it answers");
    }

    /// The attempt failed; `ejects` says whether there are other servers.
    fn failed(&self, attempt: Attempt, failure: Failure, now: u64, ejects: bool) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let generation = attempt.generation;
        // Of many requests that fail together each would make the ejection longer.
        if !ejects || generation != self.generation.load(Ordering::Relaxed) {
            return;
        }
        // Asked while it was ejected, for there was no other: that says nothing new either.
        if self.is_ejected(now) && !attempt.trial {
            return;
        }
        let enough = match failure {
            Failure::Connect => true,
            Failure::Other => return,
            Failure::Broken | Failure::Timeout => {
                self.streak.fetch_add(1, Ordering::Relaxed) + 1 >= BROKEN_IN_A_ROW
            }
        };
        if enough || attempt.trial {
            self.eject(generation, failure, now);
        }
    }

    fn eject(&self, generation: u32, failure: Failure, now: u64) {
        let next = generation.wrapping_add(1);
        let first =
            self.generation.compare_exchange(generation, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if !first {
            return;
        }
        self.streak.store(0, Ordering::Relaxed);
        let before = self.ejections.fetch_add(1, Ordering::Relaxed);
        let time = FIRST_EJECTION.saturating_mul(1 << before.min(16)).min(LONGEST_EJECTION);
        self.ejected_until.store(now + millis(time), Ordering::Relaxed);
        let (upstream, server, seconds) = (&self.upstream, &self.server, time.as_secs());
        if before == 0 {
            tracing::warn!(
                upstream.name = upstream,
                upstream.server = server,
                reason = %failure,
                seconds,
                "a server is left out for a while"
            );
        } else {
            // It has been told; that it goes on is no news.
            tracing::debug!(upstream.name = upstream, upstream.server = server, reason = %failure, seconds, "a server is left out again");
        }
    }

    fn readmit(&self, reason: &'static str) {
        self.streak.store(0, Ordering::Relaxed);
        self.ejections.store(0, Ordering::Relaxed);
        if self.ejected_until.swap(0, Ordering::Relaxed) != 0 {
            tracing::info!(
                upstream.name = self.upstream,
                upstream.server = self.server,
                reason,
                "a server is in turn again"
            );
        }
    }

    /// Takes in the outcome of one check; of the checking task alone.
    fn checked(&self, outcome: Result<(), String>, settings: &HealthSettings) {
        let down = self.down.load(Ordering::Relaxed);
        let speaks_against = outcome.is_ok() == down;
        let streak = if speaks_against { self.check_streak.load(Ordering::Relaxed) + 1 } else { 0 };
        let (after, down) = match down {
            true => (settings.healthy_after, false),
            false => (settings.unhealthy_after, true),
        };
        if streak < after {
            return self.check_streak.store(streak, Ordering::Relaxed);
        }
        self.check_streak.store(0, Ordering::Relaxed);
        self.down.store(down, Ordering::Relaxed);
        match outcome {
            Ok(()) => {
                tracing::info!(
                    upstream.name = self.upstream,
                    upstream.server = self.server,
                    reason = "its checks succeed",
                    "a server is up"
                );
                // What failed while it was down is explained.
                self.readmit("its checks succeed");
            }
            Err(reason) => tracing::warn!(
                upstream.name = self.upstream,
                upstream.server = self.server,
                reason,
                "a server is down"
            ),
        }
    }

    fn forget_checks(&self) {
        self.check_streak.store(0, Ordering::Relaxed);
        self.down.store(false, Ordering::Relaxed);
    }
}

/// One request at one server, counted from the choice to the end of the answer, or of what it became:
/// a tunnel, a stream of events.
#[derive(Debug)]
pub(crate) struct InFlight {
    attempt: Attempt,
    /// Not the `Arc` itself: its count of references is one more number that all threads would write.
    health: Rc<Arc<ServerHealth>>,
}

impl InFlight {
    /// `None` where the server is to be tried, and another request is doing so.
    pub(crate) fn begin(health: &Rc<Arc<ServerHealth>>, now: u64) -> Option<Self> {
        let attempt = health.begin(now)?;
        health.in_flight.fetch_add(1, Ordering::Relaxed);
        health.requests.fetch_add(1, Ordering::Relaxed);
        Some(Self { attempt, health: Rc::clone(health) })
    }

    pub(crate) fn succeeded(&self) {
        self.health.succeeded(self.attempt);
    }

    /// `ejects` says whether there are other servers.
    pub(crate) fn failed(&self, failure: Failure, now: u64, ejects: bool) {
        self.health.failed(self.attempt, failure, now, ejects);
    }

    /// The request goes on to another server.
    pub(crate) fn moved_on(&self) {
        self.health.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn server(&self) -> &str {
        self.health.server()
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.health.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 2)
}
