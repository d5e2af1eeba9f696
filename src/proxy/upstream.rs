//! One upstream as one thread uses it: its servers, and the choice among them for each request.
//!
//! Callers: `proxy` keeps one for each upstream; `proxy::exchange` chooses servers and takes leases.
//! Whose turn it is, is `proxy/balance.rs`'s to say; how a server is, `proxy/health.rs`'s; connections
//! to it are `proxy/pool.rs`'s.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use http::HeaderValue;
use http::header::InvalidHeaderValue;

use super::balance::{self, Balance, Candidate, Standing};
use super::health::{Failure, HealthBoard, Hold, InFlight};
use super::pool::{Backend, Lease};
use super::watch::{Watch, ticks};
use super::{HostHeader, UpstreamSettings};

/// One upstream, as one thread uses it.
#[derive(Debug)]
pub(crate) struct Upstream {
    balance: Balance,
    board: HealthBoard,
    /// What is known of the servers while one is chosen; kept for its memory alone.
    candidates: RefCell<Vec<Candidate>>,
    /// From one check to the next; `None` without checks.
    pub(crate) check_interval: Option<Duration>,
    connect_timeout: Duration,
    /// `None` where `Host` depends on the client or on the server.
    pub(crate) host: Option<HeaderValue>,
    /// Whether `Host` is the server's own.
    pub(crate) host_of_server: bool,
    pub(crate) response_ticks: u64,
    servers: Vec<Member>,
    pub(crate) settings: UpstreamSettings,
    pub(crate) stall_ticks: u64,
    turn: Cell<usize>,
}

/// One of the servers.
#[derive(Debug)]
struct Member {
    backend: Rc<Backend>,
    health: Hold,
    /// Its part in the choice by client.
    seed: u64,
}

/// The server that was chosen for a request. It counts as in flight there from now on.
#[derive(Debug)]
pub(crate) struct Chosen {
    at: usize,
    pub(crate) flight: InFlight,
}

impl Upstream {
    pub(crate) fn new(
        settings: &UpstreamSettings,
        watch: &Watch,
        board: &HealthBoard,
    ) -> Result<Self, InvalidHeaderValue> {
        let idle_ticks = ticks(settings.idle_timeout);
        let member = |server| {
            let name = ToString::to_string(server);
            let health = board.server(&settings.name, &name);
            Ok(Member {
                backend: Backend::new(server, settings, health.last_known(), watch)?,
                health: Hold::new(health),
                seed: balance::seed(&name),
            })
        };
        let servers: Result<Vec<_>, _> = settings.servers.iter().map(member).collect();
        // Threads that began with the same server would go on in step.
        let mut turn = [0; 4];
        let _ = getrandom::fill(&mut turn);
        Ok(Self {
            balance: settings.balance,
            board: board.clone(),
            candidates: RefCell::default(),
            check_interval: settings.health.as_ref().map(|health| health.interval),
            connect_timeout: settings.connect_timeout,
            host: match &settings.host {
                HostHeader::Literal(host) => Some(host.parse()?),
                HostHeader::Preserve | HostHeader::Upstream => None,
            },
            host_of_server: settings.host == HostHeader::Upstream,
            response_ticks: ticks(settings.response_timeout),
            servers: servers?,
            settings: settings.clone(),
            stall_ticks: idle_ticks,
            turn: Cell::new(u32::from_ne_bytes(turn) as usize),
        })
    }

    /// Whether there is more than one server.
    pub(crate) fn has_others(&self) -> bool {
        self.servers.len() > 1
    }

    /// The server for a request of this client, another one than `tried`; `None` where there is none.
    pub(crate) fn choose(&self, client: IpAddr, tried: Option<&Chosen>) -> Option<Chosen> {
        if let [only] = self.servers.as_slice() {
            let asked = tried.is_none() && !only.health.is_down();
            // It is never ejected, so no clock is asked: at the beginning of time no trial is due.
            return asked.then(|| only.health.begin(0))?.map(|flight| Chosen { at: 0, flight });
        }
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let now = self.board.now();
        let client = balance::client_key(client);
        let mut candidates = self.candidates.borrow_mut();
        candidates.clear();
        candidates.extend(self.servers.iter().map(|server| Candidate {
            in_flight: server.health.in_flight(),
            seed: server.seed,
            standing: match tried {
                // Also where it is listed twice, which gives it two turns.
                Some(tried) if self.servers[tried.at].health.is_same(&server.health) => Standing::Out,
                _ if server.health.is_down() => Standing::Out,
                _ if server.health.is_ejected(now) => Standing::Ejected,
                _ => Standing::Ready,
            },
        }));
        loop {
            let at = balance::choose(self.balance, &candidates, turn, client)?;
            if let Some(flight) = self.servers[at].health.begin(now) {
                return Some(Chosen { at, flight });
            }
            // Another thread is trying it in this moment. It is as ejected as before then, so this happens
            // once for each server at most.
            candidates[at].standing = Standing::Ejected;
        }
    }

    /// A connection to the chosen server: an idle one if there is one and `reuse` says so.
    pub(crate) async fn lease(&self, chosen: &Chosen, reuse: bool) -> io::Result<Lease> {
        self.servers[chosen.at].backend.lease(reuse, self.connect_timeout).await
    }

    /// The chosen server failed.
    pub(crate) fn failed(&self, chosen: &Chosen, failure: Failure) {
        chosen.flight.failed(failure, self.board.now(), self.has_others());
    }
}
