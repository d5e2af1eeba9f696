//! A server's body on its way to the client, and what is told of one that does not come to its end.
//!
//! Callers: `proxy::body` hands it on.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{BodyFault, Polled, Progress};
use crate::proxy::Ended;
use crate::proxy::pool::Lease;
use crate::proxy::watch::{Deadline, ticks};
use crate::request::RequestId;
use crate::response::BodyError;

thread_local! {
    static CUT_SHORT: Told = const { Told { next: Cell::new(0), untold: Cell::new(0) } };
}

/// Tells of a flood once a second, with how many there were.
struct Told {
    next: Cell<u64>,
    untold: Cell<usize>,
}

impl Told {
    fn add(&self, now: u64) -> Option<usize> {
        self.untold.set(self.untold.get() + 1);
        let due = now >= self.next.get();
        due.then(|| {
            self.next.set(now + ticks(Duration::from_secs(1)));
            self.untold.take()
        })
    }
}

/// A server's body on its way to the client. At its clean end the connection goes back to the pool;
/// dropped before, or failed, it takes the connection along.
pub(crate) struct ResponseBody {
    /// Not yet: a failure would be told by the answer that takes this one's place.
    beginning: bool,
    deadline: Deadline,
    ended: Option<Ended>,
    /// What `begin` came across.
    first: Option<Frame<Bytes>>,
    /// Of the request.
    id: RequestId,
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
        id: RequestId,
    ) -> Self {
        Self {
            beginning: false,
            deadline,
            ended,
            first: None,
            id,
            inner,
            lease: Some(lease),
            progress,
            since: None,
            stall,
        }
    }

    /// Looks at what came together with the head, while the client can still be told that it is no
    /// answer. Waits for nothing.
    pub(crate) async fn begin(&mut self) -> Result<(), BodyError> {
        self.beginning = true;
        let begun = self.look().await;
        self.beginning = false;
        begun
    }

    async fn look(&mut self) -> Result<(), BodyError> {
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

    /// The server did not end what it began. Nobody else hears of it: the client was told of success.
    fn cut_short(&mut self, error: impl Into<BodyError>) -> Polled {
        let error = error.into();
        let of_the_client = self.progress.as_ref().is_some_and(|progress| progress.fault.get().is_some());
        if let Some(flight) = self.lease.as_ref().and_then(|lease| lease.flight.as_ref())
            && !of_the_client
        {
            flight.cut_short();
            if !self.beginning
                && let Some(count) = CUT_SHORT.with(|told| told.add(self.deadline.now()))
            {
                tracing::warn!(
                    upstream.name = flight.upstream(),
                    upstream.server = flight.server(),
                    request.id = self.id.as_str(),
                    %error,
                    count,
                    "an answer was cut short"
                );
            }
        }
        self.fail(error)
    }

    fn fail(&mut self, error: impl Into<BodyError>) -> Polled {
        self.abandon();
        Poll::Ready(Some(Err(error.into())))
    }

    /// Takes the connection along, and over HTTP/2 the stream in both directions.
    fn abandon(&mut self) {
        if self.lease.take().is_some()
            && let Some(progress) = self.progress.as_deref()
        {
            // The answer's half goes with `inner`, so that the stream is reset whatever is left of the other.
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
        // Not at its beginning: that it is to end is no fault of the answer.
        if !this.beginning && this.ended.as_mut().is_some_and(|ended| ended.as_mut().poll(cx).is_ready()) {
            return this.fail(BodyFault::Ended);
        }
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Pending => {
                let Some(stall) = this.stall else { return Poll::Pending };
                let since = *this.since.get_or_insert_with(|| this.deadline.now());
                match this.deadline.poll(cx, since.saturating_add(stall)) {
                    Poll::Ready(()) => this.cut_short(BodyFault::Stalled),
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
            Poll::Ready(Some(Err(error))) => this.cut_short(error),
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
