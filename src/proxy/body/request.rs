//! A client's body on its way to a server, which may begin more than once.
//!
//! Where it stands is in few flags, here by what happens:
//!
//! | | `done` | `waiting` | `kept` | `again` | `turn` |
//! | --- | --- | --- | --- | --- | --- |
//! | over HTTP/1.1 (`begin_alone`) | no | | none | empty | 0 |
//! | over HTTP/2 (`begin_shared`) | no | | begins | | |
//! | the client has to send | no | yes | | empty | |
//! | a frame goes on | if the last | no | grows, or none for good once it is too long | loses one | |
//! | refused (`again`) | no | | begins anew | what was kept, then what was left of it | one more |
//! | the answer's head (`answered`) | | | none for good | | |
//!
//! Broken off (`abandon`) or dropped, what the client still sends is read within bounds, unless all is
//! `done` or something is `kept`: that waits for its next turn, and goes with the `Progress`.
//!
//! Callers: `proxy::body` hands it on.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::task::AbortHandle;

use super::{BodyFault, Polled};
use crate::proxy::headers::ReservedNames;
use crate::proxy::watch::Deadline;
use crate::response::BodyError;

/// Of a body that nobody wants, this much is read at most, and for so long.
const DRAINED_BYTES: usize = 16 << 20;
const DRAINED_FOR: Duration = Duration::from_secs(5);

/// Of a body that may have to go out again, this much is kept; of a longer one nothing. Each part holds
/// on to the buffer that it was read into.
const KEPT_BYTES: usize = 64 << 10;
const KEPT_PARTS: usize = 64;

/// How far a request's body has come; shared with whoever waits for the answer.
pub(crate) struct Progress {
    /// The last frame was handed on.
    pub(crate) done: Cell<bool>,
    pub(crate) fault: Cell<Option<BodyFault>>,
    /// The task that sends it over a shared connection.
    sending: Cell<Option<AbortHandle>>,
    source: RefCell<Option<Source>>,
    /// How many times it began: a stream of an earlier time has nothing to send any more.
    turn: Cell<u32>,
    /// The tick of the last frame.
    pub(crate) touched: Cell<u64>,
    /// How many ticks it may stand still.
    stall: Cell<u64>,
    patience: Patience,
    /// Frames that were handed on over a shared connection and are not on the wire yet.
    unwritten: RefCell<Option<Arc<AtomicUsize>>>,
    /// The client has to send before anything goes on.
    pub(crate) waiting: Cell<bool>,
}

impl Progress {
    /// Breaks the request's body off, where it is still being sent over a shared connection: its task
    /// may hold a frame for which the server opens no window, and ask for no further one ever. With the
    /// task the stream goes, which is reset, and what comes from the client is nobody's any more.
    ///
    /// Says whether it can be broken off. A stream that ended on both sides is reset by nothing, and what
    /// is left of it waits for the server's window as long as the connection lives.
    pub(crate) fn abandon(&self) -> bool {
        match self.sending.take().filter(|sending| !sending.is_finished()) {
            Some(sending) => {
                sending.abort();
                true
            }
            None => {
                let unwritten = self.unwritten.borrow();
                unwritten.as_ref().is_none_or(|unwritten| unwritten.load(Ordering::Relaxed) == 0)
            }
        }
    }

    /// It is about to be sent over a connection of its own.
    pub(crate) fn begin_alone(&self) {
        self.unwritten.replace(None);
        self.stall.set(self.patience.stall);
    }

    /// It is about to be sent over a shared connection. Keeps what is sent from now on, as far as it is
    /// little, so that it can be sent again.
    pub(crate) fn begin_shared(&self) {
        self.unwritten.replace(Some(Arc::default()));
        self.stall.set(if self.patience.messages { self.patience.unanswered } else { self.patience.stall });
        if let Some(source) = &mut *self.source.borrow_mut() {
            source.kept.get_or_insert_default();
        }
    }

    /// The head of the answer is there, and so it is not going to be sent again.
    pub(crate) fn answered(&self) {
        if self.patience.messages && self.unwritten.borrow().is_some() {
            self.stall.set(u64::MAX);
        }
        if let Some(source) = &mut *self.source.borrow_mut() {
            source.kept = None;
        }
    }

    /// The body from its beginning, if all of it was kept. The stream that sent it has nothing any more.
    pub(crate) fn again(self: &Rc<Self>) -> Option<RequestBody> {
        if self.fault.get().is_some() {
            return None;
        }
        let mut source = self.source.borrow_mut();
        let source = source.as_mut()?;
        // The last time may have ended before all that had been kept was sent again.
        let mut again = VecDeque::from(std::mem::take(source.kept.as_mut()?));
        again.append(&mut source.again);
        source.again = again;
        self.done.set(false);
        self.turn.set(self.turn.get() + 1);
        Some(RequestBody::Stream(RequestStream { progress: Rc::clone(self), turn: self.turn.get() }))
    }

    /// Has the rest read, so that the client sees the answer.
    fn let_go(&self) {
        let Some(source) = self.source.take() else { return };
        let lost = matches!(self.fault.get(), Some(BodyFault::Client | BodyFault::Stalled));
        if source.under_way && !self.done.get() && !lost {
            drain(source.inner);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.let_go();
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("done", &self.done).field("fault", &self.fault).finish()
    }
}

thread_local! {
    /// Whether a shared connection is at work on what is to be sent.
    static BEGINNING: Cell<bool> = const { Cell::new(false) };
    /// Whose body it asked for a frame last.
    static ASKED: Cell<Option<Rc<Progress>>> = const { Cell::new(None) };
}

/// Runs the part of a shared connection that begins to send requests.
///
/// hyper asks a body for its first frame there. If not all of it can be sent at once, the rest is left
/// to a task, which is told of by `sent_by` before anything else happens.
pub(crate) fn beginning<T>(part: impl FnOnce() -> T) -> T {
    BEGINNING.set(true);
    let done = part();
    BEGINNING.set(false);
    drop(ASKED.take());
    done
}

/// The body that was asked for a frame just now is sent by this task.
pub(crate) fn sent_by(task: AbortHandle) {
    if let Some(progress) = ASKED.take() {
        progress.sending.set(Some(task));
    }
}

/// A frame on its way over a shared connection.
struct Unwritten {
    count: Arc<AtomicUsize>,
    data: Bytes,
}

impl AsRef<[u8]> for Unwritten {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Unwritten {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
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

/// The sending of one, which may begin anew as another stream.
pub(crate) struct RequestStream {
    progress: Rc<Progress>,
    turn: u32,
}

/// What comes from the client, and what holds for it.
struct Source {
    /// What was kept and is to be sent again, before anything else.
    again: VecDeque<Bytes>,
    deadline: Deadline,
    inner: Incoming,
    /// All that was sent, as long as it may have to be sent again.
    kept: Option<Vec<Bytes>>,
    /// Bytes that may still come.
    left: u64,
    reserved: Rc<ReservedNames>,
    /// The client sends, whether or not it was asked to.
    under_way: bool,
}

/// How long a client may send nothing of its body, in ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Its body is a stream of messages. Over HTTP/2 that may be quiet for as long as it likes once the
    /// server has answered, and for `unanswered` before.
    pub(crate) messages: bool,
    pub(crate) stall: u64,
    pub(crate) unanswered: u64,
}

impl RequestStream {
    /// `expects` is whether the client waits to be asked (`Expect: 100-continue`).
    pub(crate) fn new(
        inner: Incoming,
        expects: bool,
        limit: Option<u64>,
        reserved: Rc<ReservedNames>,
        deadline: Deadline,
        patience: Patience,
    ) -> (Self, Rc<Progress>) {
        let progress = Rc::new(Progress {
            done: Cell::new(false),
            fault: Cell::new(None),
            sending: Cell::new(None),
            touched: Cell::new(deadline.now()),
            turn: Cell::new(0),
            stall: Cell::new(patience.stall),
            patience,
            unwritten: RefCell::new(None),
            waiting: Cell::new(false),
            source: RefCell::new(Some(Source {
                again: VecDeque::new(),
                deadline,
                inner,
                kept: None,
                left: limit.unwrap_or(u64::MAX),
                reserved,
                under_way: !expects,
            })),
        });
        (Self { progress: Rc::clone(&progress), turn: 0 }, progress)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Polled {
        if BEGINNING.get() {
            drop(ASKED.replace(Some(Rc::clone(&self.progress))));
        }
        let progress = &*self.progress;
        let mut source = progress.source.borrow_mut();
        let polled = match source.as_mut().filter(|_| self.turn == progress.turn.get()) {
            Some(source) => source.poll(progress, cx),
            None => broken(BodyFault::Abandoned),
        };
        polled.map_ok(|frame| self.counted(frame))
    }

    /// Counts a frame until it is on the wire, where that is not for the connection's end to tell.
    fn counted(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let unwritten = self.progress.unwritten.borrow();
        let Some(count) = &*unwritten else { return frame };
        frame.map_data(|data| {
            count.fetch_add(1, Ordering::Relaxed);
            Bytes::from_owner(Unwritten { count: Arc::clone(count), data })
        })
    }

    /// What is still to come; `None` where that is nothing.
    fn rest<T>(&self, look: impl FnOnce(&Source) -> T) -> Option<T> {
        let source = self.progress.source.borrow();
        source.as_ref().filter(|_| self.turn == self.progress.turn.get()).map(look)
    }
}

impl Drop for RequestStream {
    fn drop(&mut self) {
        // What may have to be sent again waits for that, and goes with the progress otherwise.
        if self.rest(|source| source.kept.is_none()) == Some(true) {
            self.progress.let_go();
        }
    }
}

fn broken(fault: BodyFault) -> Polled {
    Poll::Ready(Some(Err(Broken { fault, reason: h2::Reason::CANCEL.into() }.into())))
}

impl Source {
    fn poll(&mut self, progress: &Progress, cx: &mut Context<'_>) -> Polled {
        let fail = |fault| {
            progress.fault.set(Some(fault));
            broken(fault)
        };
        self.under_way = true;
        if let Some(data) = self.again.pop_front() {
            self.keep(Some(&data));
            progress.touched.set(self.deadline.now());
            progress.done.set(self.is_end_stream());
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if polled.is_pending() {
            if !progress.waiting.replace(true) {
                progress.touched.set(self.deadline.now());
            }
            let until = progress.touched.get().saturating_add(progress.stall.get());
            return match self.deadline.poll(cx, until) {
                Poll::Ready(()) => fail(BodyFault::Stalled),
                Poll::Pending => Poll::Pending,
            };
        }
        if progress.waiting.replace(false) {
            self.deadline.disarm();
        }
        progress.touched.set(self.deadline.now());
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                let size = frame.data_ref().map_or(0, Bytes::len) as u64;
                let Some(left) = self.left.checked_sub(size) else { return fail(BodyFault::TooLarge) };
                self.left = left;
                self.keep(frame.data_ref());
                progress.done.set(frame.is_trailers() || self.inner.is_end_stream());
                Poll::Ready(Some(Ok(self.without_ours(frame))))
            }
            Poll::Ready(Some(Err(_))) => fail(BodyFault::Client),
            end => {
                progress.done.set(true);
                end.map_err(Into::into)
            }
        }
    }

    /// Trailers are not kept, and what was is worth nothing without them.
    fn keep(&mut self, data: Option<&Bytes>) {
        let Some(kept) = &mut self.kept else { return };
        match data {
            Some(data)
                if kept.len() < KEPT_PARTS
                    && kept.iter().map(Bytes::len).sum::<usize>() + data.len() <= KEPT_BYTES =>
            {
                kept.push(data.clone());
            }
            Some(_) | None => self.kept = None,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.again.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let again = self.again.iter().map(Bytes::len).sum::<usize>() as u64;
        match self.inner.size_hint().exact() {
            Some(exact) => SizeHint::with_exact(exact + again),
            None => SizeHint::default(),
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
/// that says why. To be called where local tasks can be spawned.
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

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Stream(stream) => stream.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Stream(stream) => stream.rest(Source::is_end_stream).unwrap_or(true),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream(stream) => stream.rest(Source::size_hint).unwrap_or_default(),
        }
    }
}
