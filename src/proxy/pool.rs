//! Connections to one server: kept alive, used in turn or shared, never between threads.
//!
//! An HTTP/1.1 connection is used again only after both sides of an exchange ended cleanly. Whatever
//! else happens to it (an early answer, an error, a client that left), it is closed: what is left on
//! the wire must never be read as the answer to somebody else's request. Over HTTP/2 that is said of
//! the stream, and the connection lives on.
//!
//! Callers: `proxy::upstream` takes leases, `proxy::exchange` sends, `proxy::body` ends them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http::header::InvalidHeaderValue;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use super::body::{Progress, RequestBody};
use super::connect::{Address, Connected, LastKnown};
use super::health::InFlight;
use super::spare::Buffers;
use super::streams::{Shared, Stream};
use super::watch::{Left, Watch, ticks};
use super::wire::Wire;
use super::{Server, UpstreamSettings};

/// Kept for one server on one thread. Many, for a wave of more requests than this closes and opens a connection for each
/// above it, again and again; what is not used grows old and is closed.
const IDLE_CONNECTIONS: usize = 1024;

/// What one connection reads ahead of a client that takes nothing. Bodies still move in large pieces.
const BUFFER: usize = 128 * 1024;

/// While a server is in use, its name is looked up again after this long.
const LOOKED_UP_FOR: Duration = Duration::from_secs(30);

/// A connection that is younger counts as new to whom a connection failed just now: of many requests
/// on one that is lost, the first opens another for all.
const NEW_FOR_TICKS: u64 = 2;

/// One server and its connections.
#[derive(Debug)]
pub(crate) struct Backend {
    address: Address,
    pub(crate) authority: HeaderValue,
    buffers: Rc<Buffers>,
    connect_timeout: Duration,
    /// Whether HTTP/2 is to be spoken: where it is not agreed on over TLS, the server has to know.
    http2: bool,
    /// The latest used at the back.
    idle: RefCell<VecDeque<Idle>>,
    /// Held while a shared connection is opened, so that a thousand requests open one.
    opening: Mutex<()>,
    shared: RefCell<Vec<Rc<Shared>>>,
    /// The last time that the server was asked, it wanted HTTP/1.1.
    wants_http1: Cell<bool>,
    watch: Watch,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: u64,
}

/// An HTTP/1.1 connection. Dropped, it is closed at once, whatever is still under way on it.
#[derive(Debug)]
struct Connection {
    peer: Option<SocketAddr>,
    sender: SendRequest<RequestBody>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What an exchange goes over.
#[derive(Debug)]
enum Line {
    Own(Connection),
    Shared(Stream),
}

/// A connection, or a place on one, in use for one exchange.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) backend: Rc<Backend>,
    /// The request that it carries, counted at its server until this is dropped.
    pub(crate) flight: Option<InFlight>,
    /// The answer began before the request had been sent to its end.
    early: bool,
    line: Line,
    /// It served another exchange before, so it may have been closed meanwhile.
    pub(crate) reused: bool,
}

impl Lease {
    /// Sends a request in the form that `is_http2` asks for, and waits for the head of the answer.
    pub(crate) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        match &mut self.line {
            Line::Own(connection) => connection.sender.try_send_request(request).await,
            Line::Shared(stream) => stream.sender.try_send_request(request).await,
        }
    }

    /// Whether HTTP/2 is spoken.
    pub(crate) fn is_http2(&self) -> bool {
        matches!(self.line, Line::Shared(_))
    }

    /// The same server over a connection that can be handed out as a whole.
    pub(crate) async fn able_to_upgrade(self) -> io::Result<Self> {
        if !self.is_http2() {
            return Ok(self);
        }
        let backend = self.backend;
        let deadline = Instant::now() + backend.connect_timeout;
        let connecting = async {
            let connected = backend.address.connect(true, deadline).await?;
            speak_http1(connected).await
        };
        let line = Line::Own(timeout_at(deadline, connecting).await??);
        Ok(Self { backend, flight: self.flight, line, early: false, reused: false })
    }

    /// The connection is not to be trusted with further requests; those on it go on.
    pub(crate) fn retire(&self) {
        match &self.line {
            Line::Own(_) => {}
            Line::Shared(stream) => stream.retire(),
        }
    }

    /// The head of the answer is there.
    pub(crate) fn answered(&mut self, progress: Option<&Progress>) {
        self.early = progress.is_some_and(|progress| !progress.done.get());
    }

    /// The answer ended cleanly. The connection is kept if the request had been sent to its end before it began: a server
    /// that answers early may have left the rest of the body unread, and read it as the next request.
    pub(crate) fn end(self, progress: Option<&Progress>) {
        let sent = progress.is_none_or(|progress| progress.done.get());
        match self.line {
            Line::Own(connection) if sent && !self.early && !connection.sender.is_closed() => {
                self.backend.keep(connection)
            }
            Line::Own(_) => {}
            Line::Shared(stream) => {
                if progress.is_some_and(|progress| !progress.abandon()) {
                    stream.retire();
                }
            }
        }
    }
}

impl Backend {
    pub(crate) fn new(
        server: &Server,
        settings: &UpstreamSettings,
        last_known: LastKnown,
        watch: &Watch,
    ) -> Result<Rc<Self>, InvalidHeaderValue> {
        let address = Address::new(server, settings.tls.as_ref(), last_known);
        let this = Rc::new(Self {
            authority: server.authority().try_into()?,
            address,
            buffers: Rc::default(),
            connect_timeout: settings.connect_timeout,
            http2: settings.http2,
            idle: RefCell::default(),
            opening: Mutex::new(()),
            shared: RefCell::default(),
            wants_http1: Cell::new(false),
            watch: watch.clone(),
        });
        let weak = Rc::downgrade(&this);
        let idle_ticks = ticks(settings.idle_timeout);
        watch.add_chore(move |now| match weak.upgrade() {
            None => Left::Gone,
            Some(backend) if backend.age(now, idle_ticks) => Left::Something,
            Some(_) => Left::Nothing,
        });
        Ok(this)
    }

    /// For heads that may have to be sent again.
    pub(crate) fn buffers(&self) -> &Rc<Buffers> {
        &self.buffers
    }

    /// The scheme of its URLs.
    pub(crate) fn scheme(&self) -> http::uri::Scheme {
        self.address.scheme()
    }

    /// A connection for one exchange: one that is there if `reuse` says so, else a new one.
    pub(crate) async fn lease(self: &Rc<Self>, reuse: bool, within: Duration) -> io::Result<Lease> {
        if reuse && let Some(line) = self.take_idle().map(Line::Own).or_else(|| self.take_shared(0)) {
            self.look_up_beside();
            return Ok(Lease { backend: self.clone(), flight: None, line, early: false, reused: true });
        }
        let deadline = Instant::now() + within;
        let late = |_| {
            let message = format!("connecting took longer than {within:?}");
            io::Error::new(io::ErrorKind::TimedOut, message)
        };
        let (line, reused) = timeout_at(deadline, self.open(reuse, deadline)).await.map_err(late)??;
        Ok(Lease { backend: self.clone(), flight: None, line, early: false, reused })
    }

    /// A new connection, or one that somebody else opened meanwhile; and whether it was used.
    async fn open(self: &Rc<Self>, reuse: bool, deadline: Instant) -> io::Result<(Line, bool)> {
        let _turn = match self.http2 && !self.wants_http1.get() {
            true => Some(self.opening.lock().await),
            false => None,
        };
        let now = self.watch.now();
        let born_from = if reuse { 0 } else { now.saturating_sub(NEW_FOR_TICKS) };
        if let Some(line) = self.take_shared(born_from) {
            return Ok((line, reuse));
        }
        self.look_up_beside();
        let connected = self.address.connect(false, deadline).await?;
        let speaks_http2 = self.http2 && (connected.agreed_http2 || !self.address.is_tls());
        self.wants_http1.set(self.http2 && !speaks_http2);
        if !speaks_http2 {
            return Ok((Line::Own(speak_http1(connected).await?), false));
        }
        let shared = Shared::open(connected.socket, connected.peer, now).await?;
        let line = Line::Shared(Stream::on(&shared));
        self.shared.borrow_mut().push(shared);
        Ok((line, false))
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

    /// A place on the first shared connection that has one and was opened at this tick or later.
    fn take_shared(&self, born_from: u64) -> Option<Line> {
        if !self.http2 {
            return None;
        }
        let mut shared = self.shared.borrow_mut();
        shared.retain(|shared| shared.is_open());
        let found = shared.iter().find(|shared| shared.born >= born_from && shared.has_room())?;
        found.used.set(self.watch.now());
        Some(Line::Shared(Stream::on(found)))
    }

    fn keep(&self, connection: Connection) {
        if !self.address.is_at(connection.peer) {
            return;
        }
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
        let mut shared = self.shared.borrow_mut();
        shared.retain(|shared| {
            if !shared.is_idle() {
                shared.used.set(now);
            }
            shared.is_open() && now.saturating_sub(shared.used.get()) < idle_ticks
        });
        !idle.is_empty() || !shared.is_empty()
    }

    /// Looks the name up again where it is time to; nobody waits for it.
    fn look_up_beside(self: &Rc<Self>) {
        let now = self.watch.now();
        if !self.address.is_stale(now, now.saturating_add(ticks(LOOKED_UP_FOR))) {
            return;
        }
        let (this, look_up) = (Rc::downgrade(self), self.address.look_up());
        tokio::task::spawn_local(async move {
            if let (Ok(()), Some(this)) = (look_up.await, this.upgrade()) {
                this.leave_vanished();
            }
        });
    }

    /// As if its name had been looked up, and had these addresses.
    #[cfg(test)]
    pub(crate) fn moved_to(&self, addresses: Vec<SocketAddr>) {
        self.address.set_known(addresses);
        self.leave_vanished();
    }

    /// As if the name service had been asked and said nothing, until what is given back is dropped.
    #[cfg(test)]
    pub(crate) fn hang_look_ups(&self) -> impl Sized + use<> {
        self.address.hang_look_ups()
    }

    /// Lets go of the connections to addresses that the name no longer has.
    fn leave_vanished(&self) {
        self.idle.borrow_mut().retain(|idle| self.address.is_at(idle.connection.peer));
        // Streams that are open end in their own time.
        self.shared.borrow_mut().retain(|shared| self.address.is_at(shared.peer));
    }
}

async fn speak_http1(connected: Connected) -> io::Result<Connection> {
    let Connected { peer, socket, .. } = connected;
    let handshake = http1::Builder::new().max_buf_size(BUFFER).handshake(TokioIo::new(Wire::new(socket)));
    let (sender, connection) = handshake.await.map_err(io::Error::other)?;
    let serve = async move {
        // Whoever waits for the answer, or reads the body, hears of a failure.
        let _ = connection.with_upgrades().await;
    };
    Ok(Connection { peer, sender, task: tokio::task::spawn_local(serve).abort_handle() })
}
