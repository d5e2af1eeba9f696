//! HTTP/2 to a server: one connection carries many requests at once, each on a stream of its own.
//!
//! A stream that ends badly takes nobody along: it is reset, and the connection goes on. A connection
//! takes no further streams once the server says GOAWAY, refuses one or leaves one unanswered for too
//! long; those that are under way on it come to their end.
//!
//! The windows keep slow readers from stopping the others: the connection's is as large as all of its
//! streams' together.
//!
//! Callers: `proxy::pool`.

use std::cell::{Cell, OnceCell};
use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::http2::{self, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::body::{self, RequestBody};
use super::wire::{FirstWords, Socket, Wire};

/// Streams on one connection at most, also where the server would take more.
const STREAMS: u32 = 100;

/// What of one answer may be under way to us.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS;

/// What of one request may wait to be sent.
const SEND_BUFFER: usize = 256 << 10;

/// Of the head of an answer.
const HEADER_LIST: u32 = 64 << 10;

/// While streams are open and nothing comes, the server is asked whether it is there. gRPC servers take
/// more than one such question in five minutes for an attack and close. What is faster noticed: the
/// system gives up what is not acknowledged, and an answer that is late retires its connection.
const PING_EVERY: Duration = Duration::from_secs(310);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// A connection that nobody uses any more has so long to say goodbye. One that can't, because the server
/// reads nothing or leaves open what we have ended, is closed then.
pub(super) const LINGER: Duration = Duration::from_secs(5);

/// Runs a connection's parts on the thread that they belong to.
#[derive(Clone, Debug, Default)]
struct LocalExecutor {
    /// The first part: it reads and writes for all.
    socket: Rc<OnceCell<AbortHandle>>,
}

impl<F: Future + 'static> Executor<F> for LocalExecutor {
    fn execute(&self, part: F) {
        let task = tokio::task::spawn_local(part).abort_handle();
        if let Err(task) = self.socket.set(task) {
            body::sent_by(task);
        }
    }
}

/// A connection that requests share. Dropped by all, streams included, it ends within `LINGER`.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The tick at which it was opened.
    pub(crate) born: u64,
    /// Lets go of the socket in the end.
    _held: oneshot::Sender<()>,
    /// How many streams the server takes.
    most: Rc<Cell<usize>>,
    pub(crate) peer: Option<SocketAddr>,
    retired: Cell<bool>,
    sender: SendRequest<RequestBody>,
    streams: Cell<usize>,
    /// The tick at which it was last given out or given back.
    pub(crate) used: Cell<u64>,
}

impl Shared {
    /// Speaks HTTP/2 first, and waits until the server has told its settings.
    pub(crate) async fn open(socket: Socket, peer: Option<SocketAddr>, now: u64) -> io::Result<Rc<Self>> {
        let (wire, first) = Wire::telling_first(socket);
        let executor = LocalExecutor::default();
        let handshake = http2::Builder::new(executor.clone())
            .timer(TokioTimer::new())
            .initial_max_send_streams(STREAMS as usize)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEADER_LIST)
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .handshake(TokioIo::new(wire));
        let (sender, mut connection) = handshake.await.map_err(io::Error::other)?;
        match first.await {
            Ok(FirstWords::Settings) => {}
            Ok(FirstWords::Other) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the server does not speak HTTP/2"));
            }
            Err(_) => {
                let message = "the server closed before it said a word of HTTP/2";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
            }
        }
        let most = Rc::new(Cell::new(connection.current_max_send_streams()));
        let told = Rc::clone(&most);
        let (held, dropped) = oneshot::channel();
        let mut serve = poll_fn(move |cx| {
            let polled = body::beginning(|| Pin::new(&mut connection).poll(cx));
            told.set(connection.current_max_send_streams());
            polled
        });
        tokio::task::spawn_local(async move {
            // Whoever waits for an answer, or reads a body, hears of a failure.
            let _ = (&mut serve).await;
            drop(serve);
            // After a GOAWAY streams may go on for long.
            let _ = dropped.await;
            if let Some(socket) = executor.socket.get().filter(|socket| !socket.is_finished()) {
                tokio::time::sleep(LINGER).await;
                socket.abort();
            }
        });
        Ok(Rc::new(Self {
            born: now,
            _held: held,
            most,
            peer,
            retired: Cell::new(false),
            sender,
            streams: Cell::new(0),
            used: Cell::new(now),
        }))
    }

    /// Whether it can take a further stream at once.
    pub(crate) fn has_room(&self) -> bool {
        self.streams.get() < self.most.get().min(STREAMS as usize)
    }

    /// Whether it will take further streams at all.
    pub(crate) fn is_open(&self) -> bool {
        !self.retired.get() && !self.sender.is_closed()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.streams.get() == 0
    }
}

/// A place on a shared connection.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) sender: SendRequest<RequestBody>,
    shared: Rc<Shared>,
}

impl Stream {
    pub(crate) fn on(shared: &Rc<Shared>) -> Self {
        shared.streams.set(shared.streams.get() + 1);
        Self { sender: shared.sender.clone(), shared: Rc::clone(shared) }
    }

    /// Keeps the connection from further streams.
    pub(crate) fn retire(&self) {
        self.shared.retired.set(true);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.streams.set(self.shared.streams.get().saturating_sub(1));
    }
}

/// Whether the server says of a request that it has done nothing about it: by its own word, not by
/// our guess.
pub(crate) fn is_refused(error: &hyper::Error) -> bool {
    let Some(cause) = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>()) else {
        return false;
    };
    // After a GOAWAY, h2 says so to the streams behind the last one that was processed, and only to those.
    cause.is_remote() && (cause.is_go_away() || cause.reason() == Some(h2::Reason::REFUSED_STREAM))
}
