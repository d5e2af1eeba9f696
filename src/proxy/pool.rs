//! Connections to one server: kept alive, used in turn, never shared between threads.
//!
//! A connection is used again only after both sides of an exchange ended cleanly. Whatever else
//! happens to it (an early answer, an error, a client that left), it is closed: what is left on the
//! wire must never be read as the answer to somebody else's request.
//!
//! Callers: `proxy::upstream` takes leases, `proxy::body` ends them.

use std::cell::RefCell;
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

use super::Server;
use super::body::{Progress, RequestBody};
use super::health::InFlight;
use super::watch::Watch;
use super::wire::Wire;

/// Kept for one server on one thread.
const IDLE_CONNECTIONS: usize = 128;

/// What one connection reads ahead of a client that takes nothing. Bodies still move in large pieces.
const BUFFER: usize = 128 * 1024;

/// An idle peer that is gone without a word is noticed after about this long.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// One server and its idle connections, the latest used at the back.
#[derive(Debug)]
pub(crate) struct Backend {
    address: Address,
    pub(crate) authority: HeaderValue,
    idle: RefCell<VecDeque<Idle>>,
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
    /// The request that it carries, counted at its server until this is dropped.
    pub(crate) flight: Option<InFlight>,
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

impl Backend {
    pub(crate) fn new(
        server: &Server,
        idle_ticks: u64,
        watch: &Watch,
    ) -> Result<Rc<Self>, InvalidHeaderValue> {
        let name = server.host.as_str();
        let address = match name.parse::<IpAddr>() {
            Ok(ip) => Address::Socket((ip, server.port).into()),
            Err(_) => Address::Name(name.to_owned(), server.port),
        };
        let this = Rc::new(Self {
            address,
            authority: server.authority().try_into()?,
            idle: RefCell::default(),
            watch: watch.clone(),
        });
        let weak = Rc::downgrade(&this);
        watch.add_chore(move |now| weak.upgrade().is_some_and(|backend| backend.age(now, idle_ticks)));
        Ok(this)
    }

    /// A connection for one exchange: an idle one if there is one and `reuse` says so.
    pub(crate) async fn lease(self: &Rc<Self>, reuse: bool, within: Duration) -> io::Result<Lease> {
        if reuse && let Some(connection) = self.take_idle() {
            return Ok(Lease { backend: self.clone(), connection, flight: None, reused: true });
        }
        let connection = self.connect(within).await?;
        Ok(Lease { backend: self.clone(), connection, flight: None, reused: false })
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
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER)
            .handshake(Wire::new(stream))
            .await
            .map_err(io::Error::other)?;
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
