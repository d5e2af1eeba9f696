//! Bodies on their way through: counted, watched for standing still, never gathered.
//!
//! Neither direction has a task of its own. Back pressure is hyper's: a frame is asked for when the
//! other side has room, and time in which nobody asks counts against nobody here.
//!
//! Callers: `proxy` and `proxy::exchange`.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::Ended;
use super::headers::ReservedNames;
use super::pool::Lease;
use super::watch::Deadline;
use crate::response::BodyError;

/// Of a body that nobody wants, this much is read at most, and for so long.
const DRAINED_BYTES: usize = 16 << 20;
const DRAINED_FOR: Duration = Duration::from_secs(5);

/// How far a request's body has come; shared with whoever waits for the answer.
pub(crate) struct Progress {
    /// The last frame was handed on.
    pub(crate) done: Cell<bool>,
    pub(crate) fault: Cell<Option<BodyFault>>,
    /// Nobody wants the rest: whoever sends it is told to stop.
    abandoned: Cell<bool>,
    sending: Cell<Option<Waker>>,
    /// The tick of the last frame.
    pub(crate) touched: Cell<u64>,
    /// The client has to send before anything goes on.
    pub(crate) waiting: Cell<bool>,
}

impl Progress {
    pub(crate) fn new(now: u64) -> Rc<Self> {
        Rc::new(Self {
            done: Cell::new(false),
            fault: Cell::new(None),
            abandoned: Cell::new(false),
            sending: Cell::new(None),
            touched: Cell::new(now),
            waiting: Cell::new(false),
        })
    }

    /// Breaks the request's body off, where it is still being sent.
    pub(crate) fn abandon(&self) {
        self.abandoned.set(true);
        if let Some(sending) = self.sending.take() {
            sending.wake();
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("done", &self.done).field("fault", &self.fault).finish()
    }
}

/// Why a body was cut off.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum BodyFault {
    /// The answer ended, or nobody wants it any more, before the request had been sent.
    #[error("the rest of the request is not wanted")]
    Abandoned,
    /// The session or token that opened the stream has ended.
    #[error("the stream's credential ended")]
    Ended,
    /// The client broke off or framed its body badly.
    #[error("the client broke off")]
    Client,
    /// Nothing came for too long.
    #[error("the body stood still")]
    Stalled,
    /// It is longer than it may be.
    #[error("the body is too large")]
    TooLarge,
}

/// A fault as hyper passes it on: an HTTP/2 server is told that the stream is cancelled.
#[derive(Debug, thiserror::Error)]
#[error("{fault}")]
struct Broken {
    fault: BodyFault,
    #[source]
    reason: h2::Error,
}

/// A client's body on its way to a server.
pub(crate) enum RequestBody {
    /// None.
    Empty,
    /// As it comes.
    Stream(RequestStream),
}

pub(crate) struct RequestStream {
    deadline: Deadline,
    inner: Option<Incoming>, // Invariant: taken in `drop` alone.
    /// Bytes that may still come.
    left: u64,
    progress: Rc<Progress>,
    reserved: Rc<ReservedNames>,
    /// How many ticks it may stand still; `None` for a stream of messages, which may be quiet for long.
    stall: Option<u64>,
    /// The client sends, whether or not it was asked to.
    under_way: bool,
}

impl RequestStream {
    /// `expects` is whether the client waits to be asked (`Expect: 100-continue`).
    pub(crate) fn new(
        inner: Incoming,
        expects: bool,
        limit: Option<u64>,
        reserved: Rc<ReservedNames>,
        deadline: Deadline,
        stall: Option<u64>,
    ) -> (Self, Rc<Progress>) {
        let progress = Progress::new(deadline.now());
        let left = limit.unwrap_or(u64::MAX);
        let (inner, under_way) = (Some(inner), !expects);
        let this = Self { deadline, inner, left, progress: progress.clone(), reserved, stall, under_way };
        (this, progress)
    }

    fn fail(&self, fault: BodyFault) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.progress.fault.set(Some(fault));
        Poll::Ready(Some(Err(Broken { fault, reason: h2::Reason::CANCEL.into() }.into())))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.progress.abandoned.get() {
            return self.fail(BodyFault::Abandoned);
        }
        self.under_way = true;
        let inner = self.inner.as_mut().expect("the body is there until the stream is dropped");
        let polled = Pin::new(inner).poll_frame(cx);
        if polled.is_pending() {
            if !self.progress.waiting.replace(true) {
                self.progress.touched.set(self.deadline.now());
            }
            self.progress.sending.set(Some(cx.waker().clone()));
            let Some(stall) = self.stall else { return Poll::Pending };
            let until = self.progress.touched.get().saturating_add(stall);
            return match self.deadline.poll(cx, until) {
                Poll::Ready(()) => self.fail(BodyFault::Stalled),
                Poll::Pending => Poll::Pending,
            };
        }
        if self.progress.waiting.replace(false) {
            self.deadline.disarm();
        }
        self.progress.touched.set(self.deadline.now());
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                let size = frame.data_ref().map_or(0, Bytes::len) as u64;
                let Some(left) = self.left.checked_sub(size) else { return self.fail(BodyFault::TooLarge) };
                self.left = left;
                self.progress
                    .done
                    .set(frame.is_trailers() || self.inner.as_ref().is_some_and(Incoming::is_end_stream));
                Poll::Ready(Some(Ok(self.without_ours(frame))))
            }
            Poll::Ready(Some(Err(_))) => self.fail(BodyFault::Client),
            end => {
                self.progress.done.set(true);
                end.map_err(Into::into)
            }
        }
    }

    /// Trailers carry no name that is ours to set.
    fn without_ours(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_trailers() {
            Ok(trailers) => Frame::trailers(allowed(trailers, |name| self.reserved.allows_trailer(name))),
            Err(frame) => frame,
        }
    }
}

impl Drop for RequestStream {
    fn drop(&mut self) {
        let lost = matches!(self.progress.fault.get(), Some(BodyFault::Client | BodyFault::Stalled));
        if self.under_way
            && !self.progress.done.get()
            && !lost
            && let Some(rest) = self.inner.take()
        {
            drain(rest);
        }
    }
}

/// Reads the body of a request that was refused, as `drain` does. Who waits for `100 Continue` sends
/// nothing, and is not asked to.
pub fn drain_refused(request: Request<Incoming>) {
    if !request.body().is_end_stream() && !request.headers().contains_key(header::EXPECT) {
        drain(request.into_body());
    }
}

/// Reads the rest of a body that nobody wants, within bounds, beside what else goes on.
///
/// A connection that is closed with something unread is reset, and the client may lose the answer
/// that says why. To be called on a `LocalSet`.
fn drain(mut body: Incoming) {
    // Bodies are dropped with the runtime too, and then there is nobody to read on.
    if tokio::runtime::Handle::try_current().is_err() {
        return;
    }
    let reading = async move {
        let mut left = DRAINED_BYTES;
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                Some(less) => left = less,
                None => return,
            }
        }
    };
    tokio::task::spawn_local(tokio::time::timeout(DRAINED_FOR, reading));
}

fn allowed(trailers: HeaderMap, allows: impl Fn(&http::HeaderName) -> bool) -> HeaderMap {
    let passing = trailers.iter().filter(|(name, _)| allows(name));
    passing.map(|(name, value)| (name.clone(), value.clone())).collect()
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Stream(_) => "Stream",
        })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Stream(stream) => stream.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Stream(stream) => stream.inner.as_ref().is_none_or(Incoming::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream(stream) => stream.inner.as_ref().map_or_else(SizeHint::default, Incoming::size_hint),
        }
    }
}

/// A server's body on its way to the client. At its clean end the connection goes back to the pool;
/// dropped before, or failed, it takes the connection along.
pub(crate) struct ResponseBody {
    deadline: Deadline,
    ended: Option<Ended>,
    /// What `begin` came across.
    first: Option<Frame<Bytes>>,
    inner: Incoming,
    lease: Option<Lease>,
    progress: Option<Rc<Progress>>,
    /// Since when nothing has come.
    since: Option<u64>,
    /// How many ticks it may stand still; `None` for a stream of events, which may be quiet for long.
    stall: Option<u64>,
}

impl ResponseBody {
    pub(crate) fn new(
        inner: Incoming,
        lease: Lease,
        progress: Option<Rc<Progress>>,
        deadline: Deadline,
        stall: Option<u64>,
        ended: Option<Ended>,
    ) -> Self {
        Self { deadline, ended, first: None, inner, lease: Some(lease), progress, since: None, stall }
    }

    /// Looks at what came together with the head, while the client can still be told that it is no
    /// answer. Waits for nothing.
    pub(crate) async fn begin(&mut self) -> Result<(), BodyError> {
        // hyper reads a body once it is asked for, in a task of its own.
        for last in [false, true] {
            let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut *self).poll_frame(cx))).await;
            match polled {
                Poll::Ready(Some(Ok(frame))) => {
                    self.first = Some(frame);
                    return Ok(());
                }
                Poll::Ready(Some(Err(error))) => return Err(error),
                Poll::Ready(None) => return Ok(()),
                Poll::Pending if last => return Ok(()),
                Poll::Pending => tokio::task::yield_now().await,
            }
        }
        Ok(())
    }

    fn finish(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.end(self.progress.as_deref());
        }
    }

    fn fail(&mut self, error: impl Into<BodyError>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.abandon();
        Poll::Ready(Some(Err(error.into())))
    }

    /// Takes the connection along, and over HTTP/2 the stream in both directions.
    fn abandon(&mut self) {
        if self.lease.take().is_some()
            && let Some(progress) = self.progress.as_deref().filter(|progress| !progress.done.get())
        {
            progress.abandon();
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.abandon();
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(frame) = this.first.take() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if this.ended.as_mut().is_some_and(|ended| ended.as_mut().poll(cx).is_ready()) {
            return this.fail(BodyFault::Ended);
        }
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Pending => {
                let Some(stall) = this.stall else { return Poll::Pending };
                let since = *this.since.get_or_insert_with(|| this.deadline.now());
                match this.deadline.poll(cx, since.saturating_add(stall)) {
                    Poll::Ready(()) => this.fail(BodyFault::Stalled),
                    Poll::Pending => Poll::Pending,
                }
            }
            Poll::Ready(Some(Ok(frame))) => {
                if this.since.take().is_some() {
                    this.deadline.disarm();
                }
                if frame.is_trailers() || this.inner.is_end_stream() {
                    this.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => this.fail(error),
            Poll::Ready(None) => {
                this.finish();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // `begin` is for bodies of unknown length alone.
        self.inner.size_hint()
    }
}
