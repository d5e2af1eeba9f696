//! One upstream as one thread uses it: whose turn it is among its servers.
//!
//! Callers: `proxy` keeps one for each upstream; `proxy::exchange` takes leases. Connections to a
//! server are `proxy/pool.rs`'s.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use http::HeaderValue;
use http::header::InvalidHeaderValue;

use super::pool::{Backend, Lease};
use super::watch::{Watch, ticks};
use super::{HostHeader, UpstreamSettings};

/// One upstream, as one thread uses it.
#[derive(Debug)]
pub(crate) struct Upstream {
    connect_timeout: Duration,
    /// `None` where `Host` depends on the client or on the server.
    pub(crate) host: Option<HeaderValue>,
    /// Whether `Host` is the server's own.
    pub(crate) host_of_server: bool,
    pub(crate) name: String,
    pub(crate) response_ticks: u64,
    servers: Vec<Member>,
    pub(crate) stall_ticks: u64,
    turn: Cell<usize>,
    watch: Watch,
}

/// One of the servers.
#[derive(Debug)]
struct Member {
    backend: Rc<Backend>,
    /// It could not be reached a moment ago.
    shunned_until: Cell<u64>,
}

/// After a failure to connect, a server is asked last for this long.
const SHUNNED: Duration = Duration::from_secs(5);

impl Upstream {
    pub(crate) fn new(settings: &UpstreamSettings, watch: &Watch) -> Result<Self, InvalidHeaderValue> {
        let idle_ticks = ticks(settings.idle_timeout);
        let member = |server| {
            let backend = Backend::new(server, settings, watch)?;
            Ok(Member { backend, shunned_until: Cell::new(0) })
        };
        let servers: Result<Vec<_>, _> = settings.servers.iter().map(member).collect();
        Ok(Self {
            connect_timeout: settings.connect_timeout,
            host: match &settings.host {
                HostHeader::Literal(host) => Some(host.parse()?),
                HostHeader::Preserve | HostHeader::Upstream => None,
            },
            host_of_server: settings.host == HostHeader::Upstream,
            name: settings.name.clone(),
            response_ticks: ticks(settings.response_timeout),
            servers: servers?,
            stall_ticks: idle_ticks,
            turn: Cell::new(0),
            watch: watch.clone(),
        })
    }

    /// A connection to the server whose turn it is, or to the next one that can be reached.
    pub(crate) async fn lease(&self) -> io::Result<Lease> {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        self.lease_from(turn, true).await
    }

    /// A new connection, to the server of `lost` if it can be reached.
    pub(crate) async fn fresh(&self, lost: Lease) -> io::Result<Lease> {
        let at = self.servers.iter().position(|server| Rc::ptr_eq(&server.backend, &lost.backend));
        self.lease_from(at.unwrap_or_default(), false).await
    }

    async fn lease_from(&self, first: usize, reuse: bool) -> io::Result<Lease> {
        let in_turn = (0..self.servers.len()).map(|at| &self.servers[(first + at) % self.servers.len()]);
        let (shunned, well): (Vec<_>, Vec<_>) = match self.servers.as_slice() {
            [only] => (Vec::new(), vec![only]),
            _ => in_turn.partition(|server| self.watch.now() < server.shunned_until.get()),
        };
        let mut last = None;
        for server in well.into_iter().chain(shunned) {
            match server.backend.lease(reuse, self.connect_timeout).await {
                Ok(lease) => return Ok(lease),
                Err(error) => {
                    server.shunned_until.set(self.watch.now().saturating_add(ticks(SHUNNED)));
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| io::Error::other("the upstream has no server")))
    }
}
