//! One HTTP/2 connection: hyper's server on the frames' wire, with a bound on everything that it opens.
//!
//! Each stream is a task of its own on this thread. The tasks are counted, so that it is known when the
//! connection is idle, and timed, so that a client which opens no window does not hold an answer forever.
//!
//! Callers: `gateway::connection`, once it knows that HTTP/2 is spoken.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

mod frames;
mod translate;

pub(super) use translate::{Handshake, NoWebSocket, admit};

use frames::Frames;

use super::listener::Purpose;
use super::slot::Slot;
use super::thread::Thread;
use super::tls::Client;
use super::wire::{Timer, WireTimeouts};
use crate::response::{Body, BodyError};

/// Requests at once on one connection.
const STREAMS: u32 = 100;
/// What a client may send of one body, and of all of them, before we have taken it.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What of an answer is kept for a client that doesn't take it.
const SEND_BUFFER: usize = 64 * 1024;
/// Answers go out in pieces of this size: a frame's, so that what a client takes is noticed.
const PIECE: usize = 16 * 1024;
/// Streams that the client may reset before they were looked at: "rapid reset".
const PENDING_RESETS: usize = 20;
/// Streams that the client may make us reset in the life of a connection, by whatever fault: "made you reset".
const LOCAL_RESETS: usize = 500;
/// A client that is gone without a word is noticed after about this long, and these seconds to answer.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves a connection to its end, or until the stop: then the requests that are running are finished.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    thread: Rc<Thread>,
    stream: S,
    held: Vec<u8>,
    client: Rc<Client>,
    purpose: Purpose,
    slot: Slot,
    stopping: CancellationToken,
) {
    // The limits of a connection are those under which it began.
    let worker = thread.worker();
    let timeouts = worker.timeouts;
    let streams = Streams::new(timeouts);
    let io = TokioIo::new(Frames::new(stream, held, timeouts, Some(slot)));
    let (opening, peer) = (streams.clone(), client.address);
    let service = service_fn(move |request: Request<Incoming>| {
        // A request keeps the rooms that it begins with.
        let (worker, client, flow) = (thread.worker(), Rc::clone(&client), opening.open());
        async move {
            let mut response = worker.answer(Box::new(request), &client, purpose, None).await;
            // It speaks of an HTTP/1 connection.
            response.headers_mut().remove(header::CONNECTION);
            Ok::<_, Infallible>(response.map(|body| Answer { body, flow, rest: Bytes::new() }))
        }
    });
    let mut connection = pin!(
        http2::Builder::new(streams.clone())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(u32::try_from(worker.head_limits.head_bytes).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(PENDING_RESETS)
            .max_local_error_reset_streams(LOCAL_RESETS)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .enable_connect_protocol()
            .serve_connection(io, service)
    );
    drop(worker);
    // Since when the client is told to go.
    let mut leaving = None;
    let ended = loop {
        let deadline = streams.deadline(leaving);
        tokio::select! {
            // In this order, for nearly every turn is the connection's.
            biased;
            ended = connection.as_mut() => break ended,
            () = stopping.cancelled(), if leaving.is_none() => {}
            () = sleep_until(deadline) => {
                // It may lie further in the future by now.
                if streams.deadline(leaving) > Instant::now() {
                    continue;
                }
                if leaving.is_some() {
                    tracing::debug!(peer.address = %peer, "a client did not go when it was told to");
                    return;
                }
            }
        }
        connection.as_mut().graceful_shutdown();
        leaving = Some(Instant::now());
    };
    if let Err(error) = ended {
        // A client that went away, a limit that was over: nothing for the operator to do.
        tracing::debug!(%error, peer.address = %peer, "a connection ended early");
    }
}

/// The streams of one connection: hyper's executor, and what is known of those that it started.
#[derive(Clone)]
struct Streams(Rc<Known>);

struct Known {
    /// Of the last of them, or the start of the connection.
    ended: Cell<Instant>,
    live: Cell<usize>,
    /// Of the stream whose task is started next.
    next: RefCell<Option<Rc<Flow>>>,
    none_yet: Cell<bool>,
    timeouts: WireTimeouts,
}

/// Since when a piece of an answer is with hyper, which waits for the client to take what was before.
#[derive(Default)]
struct Flow {
    handed: Cell<Option<Instant>>,
}

impl Streams {
    fn new(timeouts: WireTimeouts) -> Self {
        Self(Rc::new(Known {
            ended: Cell::new(Instant::now()),
            live: Cell::new(0),
            next: RefCell::default(),
            none_yet: Cell::new(true),
            timeouts,
        }))
    }

    /// A request has come; hyper starts its task next.
    fn open(&self) -> Rc<Flow> {
        let flow = Rc::new(Flow::default());
        self.0.none_yet.set(false);
        self.0.next.replace(Some(Rc::clone(&flow)));
        flow
    }

    /// When the connection has been without a stream for too long; to be asked again then.
    fn deadline(&self, leaving: Option<Instant>) -> Instant {
        let Known { ended, live, none_yet, timeouts, .. } = &*self.0;
        match leaving {
            _ if live.get() > 0 => Instant::now() + timeouts.idle.max(Duration::from_millis(1)),
            // For the client to hear it, and for what is left of answers to be taken.
            Some(since) => since.max(ended.get()) + timeouts.head,
            None if none_yet.get() => ended.get() + timeouts.head,
            None => ended.get() + timeouts.idle,
        }
    }
}

impl<F: Future<Output = ()> + 'static> Executor<F> for Streams {
    fn execute(&self, task: F) {
        let flow = self.0.next.take();
        let live = Live::new(Rc::clone(&self.0));
        tokio::task::spawn_local(async move {
            let (mut task, mut timer) = (pin!(task), Timer::default());
            let idle = live.0.timeouts.idle;
            // Dropped before its end, a stream is reset.
            poll_fn(|cx| match (task.as_mut().poll(cx), flow.as_ref().and_then(|flow| flow.handed.get())) {
                (Poll::Pending, Some(since)) => timer.poll(since + idle, cx),
                (polled, _) => polled,
            })
            .await;
        });
    }
}

/// A stream, or one half of a tunnel on one.
struct Live(Rc<Known>);

impl Live {
    fn new(known: Rc<Known>) -> Self {
        known.live.set(known.live.get() + 1);
        Self(known)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.ended.set(Instant::now());
        self.0.live.set(self.0.live.get() - 1);
    }
}

/// The body of an answer, in pieces of which each is asked for when the client has taken those before.
struct Answer {
    body: Body,
    flow: Rc<Flow>,
    rest: Bytes,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        this.flow.handed.set(None);
        if this.rest.is_empty() {
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other => return other,
            }
        }
        this.flow.handed.set(Some(Instant::now()));
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Asked for before the first piece alone.
        self.body.size_hint()
    }
}
