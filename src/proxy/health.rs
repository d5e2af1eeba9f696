//! How the servers of all upstreams are: what requests and checks told, shared by all threads.
//!
//! What is known of one server is in `proxy/health/server.rs`; the checks are in
//! `proxy/health/check.rs`.
//!
//! Callers: `gateway` has the one board and runs the checks; `proxy::upstream` and `proxy::exchange`
//! report requests; whoever shows the state of the servers takes a snapshot.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::UpstreamSettings;

mod check;
mod server;
#[cfg(test)]
mod tests;

pub use check::{HealthSettings, run};
pub use server::ServerHealth;
pub(crate) use server::{Failure, Hold, InFlight};

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
pub struct ServerSnapshot {
    /// Requests that got no answer there, or none to its end: no connection, one that broke, nothing in
    /// time, no HTTP.
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
    pub fn snapshot(&self) -> Vec<ServerSnapshot> {
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 2)
}
