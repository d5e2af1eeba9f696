//! One server's health: a few atomic numbers, so that no request waits for a lock.
//!
//! Two things are kept apart, because they know different things. The checks, which an operator asked
//! for, are believed: a server that they call down gets nothing. Failed requests are a guess: they take
//! a server out for a while only, and never the last one (`proxy/balance.rs`).
//!
//! Callers: `proxy::upstream` and `proxy::exchange` through `InFlight`, `proxy::health::check` with what
//! checks found, `proxy::health` for the snapshot.

use std::fmt;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::{HealthSettings, ServerSnapshot, ServerState, millis};
use crate::proxy::connect::LastKnown;

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
    /// No request asks for it where it has looked the name up once.
    last_known: LastKnown,
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
    /// The answer is no HTTP: another program has the port, say.
    Garbage,
    /// A kept connection that the server had closed: counted, and no sign that it is gone.
    Other,
    /// The answer's head did not come in time.
    Timeout,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broken => "connections break before an answer",
            Self::Connect => "no connection can be made",
            Self::Garbage => "answers are no HTTP",
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
    pub(super) fn new(upstream: &str, server: &str) -> Self {
        Self {
            check_streak: AtomicU32::new(0),
            down: AtomicBool::new(false),
            ejected_until: AtomicU64::new(0),
            ejections: AtomicU32::new(0),
            failures: AtomicU64::new(0),
            generation: AtomicU32::new(0),
            in_flight: AtomicUsize::new(0),
            last_known: LastKnown::default(),
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

    /// Its addresses, for whoever has looked nothing up yet.
    pub(crate) fn last_known(&self) -> LastKnown {
        self.last_known.clone()
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
    pub(super) fn status(&self, now: u64) -> ServerSnapshot {
        ServerSnapshot {
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
    fn attempt(&self, now: u64) -> Option<Attempt> {
        let generation = self.generation.load(Ordering::Relaxed);
        let until = self.ejected_until.load(Ordering::Relaxed);
        let trial = until != 0 && until <= now;
        if trial && !self.win_trial(until, now) {
            return None;
        }
        Some(Attempt { generation, trial })
    }

    /// Whether this is the one that tries the server, of all that saw the same end of its ejection.
    pub(super) fn win_trial(&self, until: u64, now: u64) -> bool {
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
            Failure::Broken | Failure::Garbage | Failure::Timeout => {
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
    pub(super) fn checked(&self, outcome: Result<(), String>, settings: &HealthSettings) {
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

    pub(super) fn forget_checks(&self) {
        self.check_streak.store(0, Ordering::Relaxed);
        self.down.store(false, Ordering::Relaxed);
    }
}

/// One thread's hold on a server's health. Its clones are counted where no other thread counts: the
/// `Arc`'s own count would be one more number that all of them write for each request.
#[derive(Clone, Debug)]
pub(crate) struct Hold(Rc<Shared>);

#[derive(Debug)]
struct Shared(Arc<ServerHealth>);

impl Hold {
    pub(crate) fn new(health: Arc<ServerHealth>) -> Self {
        Self(Rc::new(Shared(health)))
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0.0, &other.0.0)
    }

    /// A request is given to the server. `None` where the server is to be tried, and another request is
    /// doing so.
    pub(crate) fn begin(&self, now: u64) -> Option<InFlight> {
        let attempt = self.attempt(now)?;
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        Some(InFlight { attempt, health: self.clone() })
    }
}

impl Deref for Hold {
    type Target = ServerHealth;

    fn deref(&self) -> &ServerHealth {
        &self.0.0
    }
}

/// One request at one server, counted from the choice to the end of the answer, or of what it became:
/// a tunnel, a stream of events.
#[derive(Debug)]
pub(crate) struct InFlight {
    attempt: Attempt,
    health: Hold,
}

impl InFlight {
    pub(crate) fn succeeded(&self) {
        self.health.succeeded(self.attempt);
    }

    /// `ejects` says whether there are other servers.
    pub(crate) fn failed(&self, failure: Failure, now: u64, ejects: bool) {
        self.health.failed(self.attempt, failure, now, ejects);
    }

    /// The answer ended before its end. That is told of, and ejects nobody: it may be the answer's own fault.
    pub(crate) fn cut_short(&self) {
        self.health.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// The request goes on to another server.
    pub(crate) fn moved_on(&self) {
        self.health.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn server(&self) -> &str {
        self.health.server()
    }

    /// The upstream's name.
    pub(crate) fn upstream(&self) -> &str {
        &self.health.upstream
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.health.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
