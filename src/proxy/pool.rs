//! Connections to the servers of an upstream: kept alive, used in turn, never shared between threads.
//!
//! A connection is used again only after both sides of an exchange ended cleanly. Whatever else
//! happens to it (an early answer, an error, a client that left), it is closed: what is left on the
//! wire must never be read as the answer to somebody else's request.
//!
//! Callers: `proxy::exchange` takes leases, `proxy::body` ends them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use http::HeaderValue;
use http::header::InvalidHeaderValue;
use hyper::client::conn::http1::{self, SendRequest};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::body::{Progress, RequestBody};
use super::watch::{Watch, ticks};
use super::wire::Wire;
use super::{HostHeader, Server, UpstreamSettings};

/// Kept for one server on one thread.
const IDLE_CONNECTIONS: usize = 128;

/// After a failure to connect, a server is asked last for this long.
const SHUNNED: Duration = Duration::from_secs(5);

/// An idle peer that is gone without a word is noticed after about this long.
const KEEPALIVE: Duration = Duration::from_secs(60);

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
    servers: Vec<Rc<Backend>>,
    pub(crate) stall_ticks: u64,
    turn: Cell<usize>,
}

/// One server and its idle connections, the latest used at the back.
#[derive(Debug)]
pub(crate) struct Backend {
    address: Address,
    pub(crate) authority: HeaderValue,
    idle: RefCell<VecDeque<Idle>>,
    shunned_until: Cell<u64>,
    watch: Watch,
}

#[derive(Debug)]
enum Address {
    Name(String, u16),
    Socket(SocketAddr),
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: u64,
}

/// A connection. Dropped, it is closed at once, whatever is still under way on it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<RequestBody>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A connection in use for one exchange.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) backend: Rc<Backend>,
    pub(crate) connection: Connection,
    /// It served another exchange before, so it may have been closed meanwhile.
    pub(crate) reused: bool,
}

impl Lease {
    /// The answer ended cleanly. The connection is kept if the request had been sent to its end too.
    pub(crate) fn end(self, progress: Option<&Progress>) {
        let sent = progress.is_none_or(|progress| progress.done.get());
        if sent && !self.connection.sender.is_closed() {
            self.backend.keep(self.connection);
        }
    }
}

impl Upstream {
    pub(crate) fn new(settings: &UpstreamSettings, watch: &Watch) -> Result<Self, InvalidHeaderValue> {
        let idle_ticks = ticks(settings.idle_timeout);
        let servers: Result<Vec<_>, _> =
            settings.servers.iter().map(|server| Backend::new(server, idle_ticks, watch)).collect();
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
        let at = self.servers.iter().position(|server| Rc::ptr_eq(server, &lost.backend));
        self.lease_from(at.unwrap_or_default(), false).await
    }

    async fn lease_from(&self, first: usize, reuse: bool) -> io::Result<Lease> {
        let in_turn = (0..self.servers.len()).map(|at| &self.servers[(first + at) % self.servers.len()]);
        let (shunned, well): (Vec<_>, Vec<_>) = match self.servers.as_slice() {
            [only] => (Vec::new(), vec![only]),
            _ => in_turn.partition(|server| server.is_shunned()),
        };
        let mut last = None;
        for backend in well.into_iter().chain(shunned) {
            if reuse && let Some(connection) = backend.take_idle() {
                return Ok(Lease { backend: backend.clone(), connection, reused: true });
            }
            match backend.connect(self.connect_timeout).await {
                Ok(connection) => {
                    return Ok(Lease { backend: backend.clone(), connection, reused: false });
                }
                Err(error) => {
                    backend.shunned_until.set(backend.watch.now().saturating_add(ticks(SHUNNED)));
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| io::Error::other("the upstream has no server")))
    }
}

impl Backend {
    fn new(server: &Server, idle_ticks: u64, watch: &Watch) -> Result<Rc<Self>, InvalidHeaderValue> {
        let name = server.host.as_str();
        let (address, host) = match name.parse::<IpAddr>() {
            Ok(ip @ IpAddr::V6(_)) => (Address::Socket((ip, server.port).into()), format!("[{name}]")),
            Ok(ip) => (Address::Socket((ip, server.port).into()), name.to_owned()),
            Err(_) => (Address::Name(name.to_owned(), server.port), name.to_owned()),
        };
        let authority = match server.port {
            80 => host,
            port => format!("{host}:{port}"),
        };
        let this = Rc::new(Self {
            address,
            authority: authority.try_into()?,
            idle: RefCell::default(),
            shunned_until: Cell::new(0),
            watch: watch.clone(),
        });
        let weak = Rc::downgrade(&this);
        watch.add_chore(move |now| weak.upgrade().is_some_and(|backend| backend.age(now, idle_ticks)));
        Ok(this)
    }

    fn is_shunned(&self) -> bool {
        self.shunned_until.get() != 0 && self.watch.now() < self.shunned_until.get()
    }

    /// The latest used of the connections that can take a request now.
    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { connection, .. }) = idle.pop_back() {
            // Closed meanwhile, or still busy with the end of its last exchange: neither is waited for.
            if connection.sender.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() == IDLE_CONNECTIONS {
            idle.pop_front();
        }
        idle.push_back(Idle { connection, since: self.watch.now() });
    }

    /// Closes what was idle for too long; says whether there is any left.
    fn age(&self, now: u64, idle_ticks: u64) -> bool {
        let mut idle = self.idle.borrow_mut();
        while idle.front().is_some_and(|oldest| now.saturating_sub(oldest.since) >= idle_ticks) {
            idle.pop_front();
        }
        !idle.is_empty()
    }

    async fn connect(&self, within: Duration) -> io::Result<Connection> {
        let stream = match &self.address {
            Address::Socket(address) => timeout(within, TcpStream::connect(address)).await??,
            Address::Name(name, port) => {
                let deadline = Instant::now() + within;
                let found = timeout_at(deadline, lookup_host((name.as_str(), *port))).await??;
                connect_to_one(found.collect(), deadline).await?
            }
        };
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
        let (sender, connection) =
            http1::Builder::new().handshake(Wire::new(stream)).await.map_err(io::Error::other)?;
        let serve = async move {
            // Whoever waits for the answer, or reads the body, hears of a failure.
            let _ = connection.with_upgrades().await;
        };
        Ok(Connection { sender, task: tokio::task::spawn_local(serve).abort_handle() })
    }
}

/// Tries one address after the other; none but the last may take more than half of what time is left.
async fn connect_to_one(addresses: Vec<SocketAddr>, deadline: Instant) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the server's name has no address");
    let last = addresses.len().saturating_sub(1);
    for (at, address) in addresses.into_iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let within = if at == last { left } else { left / 2 };
        match timeout(within, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = error,
            Err(elapsed) => failure = elapsed.into(),
        }
    }
    Err(failure)
}
