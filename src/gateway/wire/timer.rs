//! Timers that cost nothing while they are moved on, and the limit on a client that takes nothing.
//!
//! Callers: the wires of HTTP/1 and HTTP/2, and `gateway::http2` for its streams.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A timer that is moved only when it has to fire earlier, or has fired too early.
#[derive(Default)]
pub(in crate::gateway) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready when the deadline is over.
    pub(in crate::gateway) fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

/// What a client takes of what is written to it, its close included.
#[derive(Default)]
pub(in crate::gateway) struct Writes {
    stalled_since: Option<Instant>,
    timer: Timer,
}

impl Writes {
    /// Whether something waits for the client to take it.
    pub(in crate::gateway) fn are_stalled(&self) -> bool {
        self.stalled_since.is_some()
    }

    /// A client that takes nothing for as long as the idle limit is gone.
    pub(in crate::gateway) fn bound<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        idle: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled_since = None;
            return written;
        }
        let since = *self.stalled_since.get_or_insert_with(Instant::now);
        ready!(self.timer.poll(since + idle, cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}
