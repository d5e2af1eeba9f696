//! One connection's bytes, judged before hyper sees them.
//!
//! A wrapper round the socket: what it reads goes through `request::head`, and only sound messages
//! pass on. A head that isn't is replaced by a marker that the service answers with the fault, so
//! that every refusal looks alike. The time limits of a connection are kept here as well, with one
//! lazy timer instead of one for each request.
//!
//! In the common case (a whole head in one read) nothing is copied: bytes are read straight into
//! hyper's buffer and looked at there.
//!
//! Callers: `gateway::connection`. What a request means is not looked at here.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::opening::poll_more;
use crate::request::head::{BodyFraming, HeadFault, HeadLimits, MessageReader, Passage};
use crate::response::texts::Text;

mod control;
mod linger;
mod timer;

pub(super) use control::{InFlight, WireControl};
pub(super) use linger::Linger;
pub(super) use timer::{Timer, Writes};

use control::{REFUSED, TUNNEL, UNDECIDED};
use linger::LINGER_BYTES;

/// The method of the request that stands for a fault. A client that sends it gets the answer to any unknown method.
pub(super) const FAULT_METHOD: &str = "FOREGATE-FAULT";
const FAULT_HEAD: &[u8] = b"FOREGATE-FAULT / HTTP/1.1\r\nhost: fault\r\nconnection: close\r\n\r\n";

/// Bytes that are kept, but for the last piece, while an upgrade waits for its answer.
const HELD_BYTES: usize = 16 * 1024;
/// Bytes that are read at once where they can't go straight into hyper's buffer.
const CHUNK: usize = 4096;

/// The time limits of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct WireTimeouts {
    /// From the first byte of a head to its end; also for the first byte of the first.
    pub(super) head: Duration,
    /// For the first byte of the next request, and for a client that takes nothing of an answer.
    pub(super) idle: Duration,
}

/// Why the connection can't go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum WireFault {
    /// The bytes are no sound request.
    #[error(transparent)]
    Head(HeadFault),
    /// The head did not end in time.
    #[error("the head of the request did not end in time")]
    TimedOut,
}

impl WireFault {
    /// What it is answered with.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Head(fault) => fault.status(),
            Self::TimedOut => StatusCode::REQUEST_TIMEOUT,
        }
    }

    /// A stable word.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Head(fault) => fault.code(),
            Self::TimedOut => "request_timeout",
        }
    }

    /// For the client.
    pub(super) fn public_message(self) -> Text {
        match self {
            Self::Head(fault) => fault.public_message(),
            Self::TimedOut => Text::new("problem-timeout"),
        }
    }
}

/// The wrapped socket.
pub(super) struct Wire<S> {
    control: Arc<WireControl>,
    /// Read and not passed on yet.
    held: Vec<u8>,
    /// Something of the present message has not passed yet.
    in_body: bool,
    linger: Option<Linger>,
    marker_sent: bool,
    /// So much of `held` was judged and passes, as hyper has room for it.
    passing: usize,
    reader: MessageReader,
    socket: S,
    timeouts: WireTimeouts,
    waiting: Waiting,
    writes: Writes,
}

/// Since when is a head waited for, and a timer that fires at or before the end of that.
struct Waiting {
    phase: Phase,
    since: Instant,
    timer: Timer,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// No byte of the first request yet.
    First,
    /// Part of a head is there.
    Head,
    /// Between two requests.
    Idle,
    /// A request is being answered, or its body read, or the connection is a tunnel.
    Busy,
}

impl<S> Wire<S> {
    /// At the start of a connection.
    pub(super) fn new(
        socket: S,
        limits: HeadLimits,
        timeouts: WireTimeouts,
        control: Arc<WireControl>,
    ) -> Self {
        Self {
            control,
            held: Vec::new(),
            in_body: false,
            linger: None,
            marker_sent: false,
            passing: 0,
            reader: MessageReader::new(limits),
            socket,
            timeouts,
            waiting: Waiting { phase: Phase::First, since: Instant::now(), timer: Timer::default() },
            writes: Writes::default(),
        }
    }

    /// With the first bytes, which were read already, the first of them at `since`.
    pub(super) fn holding(mut self, bytes: Vec<u8>, since: Instant) -> Self {
        self.held = bytes;
        (self.waiting.phase, self.waiting.since) = (Phase::Head, since);
        self
    }

    /// As it was told.
    pub(super) fn limits(&self) -> HeadLimits {
        self.reader.limits()
    }

    /// As it was told.
    pub(super) fn timeouts(&self) -> WireTimeouts {
        self.timeouts
    }

    /// Takes back what hyper had read and not used.
    pub(super) fn give_back(&mut self, bytes: &[u8]) {
        self.held.splice(..0, bytes.iter().copied());
        self.passing += bytes.len();
    }

    /// How much of `bytes` passes now, and whether the judge said to stop there.
    fn judge(&mut self, bytes: &[u8]) -> (usize, Stop) {
        let mut passed = 0;
        loop {
            match self.reader.judge(&bytes[passed..]) {
                Ok(Passage::Head(head)) => {
                    passed += head.len;
                    self.in_body = !matches!(head.body, BodyFraming::None | BodyFraming::Length(0));
                    // The next wait is another one, however soon it begins.
                    self.waiting.phase = Phase::Busy;
                    self.control.passed(head.upgrade);
                }
                Ok(Passage::Body { bytes, end }) => {
                    passed += bytes;
                    self.in_body = !end;
                }
                Ok(Passage::Tunnel { bytes }) => passed += bytes,
                Ok(Passage::Wait) => return (passed, Stop::Wait),
                Ok(Passage::Held) => return (passed, Stop::Held),
                Ok(Passage::Over) => return (passed, Stop::Over),
                Err(fault) => return (passed, Stop::Fault(WireFault::Head(fault))),
            }
        }
    }

    /// The next thing hyper reads after a fault: the marker between two messages, an error within one.
    fn fail(&mut self, fault: WireFault, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.held = Vec::new();
        if self.in_body {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the request's body is malformed",
            )));
        }
        if self.marker_sent {
            return Poll::Pending;
        }
        self.marker_sent = true;
        self.control.passed(false);
        let _ = self.control.fault.set(fault);
        // hyper never reads with less room than this; if it did, the connection would end without an answer.
        if buf.remaining() >= FAULT_HEAD.len() {
            buf.put_slice(FAULT_HEAD);
        }
        Poll::Ready(Ok(()))
    }

    /// Whether the limit on the present wait is over.
    fn poll_limit(&mut self, cx: &mut Context<'_>) -> Poll<Phase> {
        let unanswered = self.control.unanswered.load(Ordering::Relaxed) > 0;
        let phase = if unanswered || self.in_body || self.reader.is_tunnel() {
            Phase::Busy
        } else if !self.held.is_empty() {
            Phase::Head
        } else if self.waiting.phase == Phase::First {
            Phase::First
        } else {
            Phase::Idle
        };
        if phase != self.waiting.phase {
            self.waiting.phase = phase;
            self.waiting.since = match phase {
                Phase::Idle => {
                    self.control.started + Duration::from_millis(self.control.ended.load(Ordering::Relaxed))
                }
                Phase::Busy | Phase::First | Phase::Head => Instant::now(),
            };
        }
        self.control.set_resting(phase == Phase::Idle && !self.writes.are_stalled());
        let limit = match phase {
            // The proxy bounds how long a body may stand still; a tunnel may be quiet for as long as it likes.
            Phase::Busy if self.reader.is_tunnel() => return Poll::Pending,
            Phase::Busy => {
                // The end of the answer wakes nobody; a timer that is under way does, in time for the idle limit.
                let idle = self.timeouts.idle;
                if self.waiting.timer.poll(self.waiting.since + idle, cx).is_ready() {
                    self.waiting.since = Instant::now();
                    let _ = self.waiting.timer.poll(self.waiting.since + idle, cx);
                }
                return Poll::Pending;
            }
            Phase::First | Phase::Head => self.timeouts.head,
            Phase::Idle => self.timeouts.idle,
        };
        ready!(self.waiting.timer.poll(self.waiting.since + limit, cx));
        Poll::Ready(phase)
    }

    fn register(&self, cx: &mut Context<'_>) {
        let mut waker = self.control.waker.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *waker {
            Some(known) => known.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }
}

enum Stop {
    Fault(WireFault),
    Held,
    Over,
    Wait,
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            match this.control.switch.swap(UNDECIDED, Ordering::Acquire) {
                TUNNEL => this.reader.tunnel(),
                REFUSED => this.reader.resume(),
                _ => {}
            }
            let held = std::mem::take(&mut this.held);
            let room = held.len().min(buf.remaining());
            // What doesn't fit now is judged the next time: a message may pass in parts only once its head did.
            let (passed, stop) = this.judge_within(&held, room);
            buf.put_slice(&held[..passed]);
            this.held = held;
            if passed > 0 {
                if passed == this.held.len() {
                    // With its room: a connection may rest for long.
                    this.held = Vec::new();
                } else {
                    this.held.drain(..passed);
                }
                return Poll::Ready(Ok(()));
            }
            match stop {
                Stop::Fault(fault) => return this.fail(fault, buf),
                Stop::Wait if this.held.is_empty() => {
                    if !ready!(this.poll_straight(cx, buf))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                Stop::Wait => {
                    if !ready!(this.poll_aside(cx, buf))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                Stop::Held => {
                    this.register(cx);
                    // The service may have answered between the look above and now.
                    if this.control.switch.load(Ordering::Acquire) == UNDECIDED
                        && !ready!(this.poll_held(cx))?
                    {
                        return Poll::Ready(Ok(()));
                    }
                }
                Stop::Over => return this.poll_end(cx),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Wire<S> {
    /// Waits for the next request, while hyper is not on the wire. `false`: the client has closed.
    pub(super) async fn rest(&mut self) -> io::Result<bool> {
        if self.held.is_empty() && !poll_fn(|cx| poll_more(&mut self.socket, &mut self.held, cx)).await? {
            return Ok(false);
        }
        (self.waiting.phase, self.waiting.since) = (Phase::Head, Instant::now());
        Ok(true)
    }

    /// As `judge`, for bytes of which only the first `room` can be taken now.
    ///
    /// A head longer than the room waits in hyper's way: its buffer grows with what it is given, so
    /// the head is given in parts once it was judged as a whole.
    fn judge_within(&mut self, bytes: &[u8], room: usize) -> (usize, Stop) {
        if self.passing > 0 {
            let passed = self.passing.min(room);
            self.passing -= passed;
            return (passed, Stop::Wait);
        }
        let (passed, stop) = self.judge(bytes);
        let now = passed.min(room);
        self.passing = passed - now;
        (now, stop)
    }

    /// Reads straight into hyper's buffer. `false`: something passed, or the end.
    fn poll_straight(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.socket).poll_read(cx, buf)? {
            Poll::Pending => return self.poll_limit(cx).map(|phase| self.time_out(phase, buf)).map(Ok),
            Poll::Ready(()) if buf.filled().len() == before => return Poll::Ready(Ok(false)),
            Poll::Ready(()) => {}
        }
        let (passed, stop) = self.judge(&buf.filled()[before..]);
        let rest = &buf.filled()[before + passed..];
        if !rest.is_empty() && !matches!(stop, Stop::Over) {
            self.held.extend_from_slice(rest);
        }
        buf.set_filled(before + passed);
        Poll::Ready(Ok(passed == 0))
    }

    /// Sees a client leave while its request is answered: an error then, for nobody waits for the answer any more.
    ///
    /// hyper would look as well, after every step of an answer, and keep another buffer ready for it. It is told not to,
    /// and comes by here instead, as it flushes after every step.
    fn watch_client(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let is_answered_now = self.control.unanswered.load(Ordering::Relaxed) > 0;
        if !is_answered_now || self.in_body || self.passing > 0 || self.reader.is_tunnel() {
            return Ok(());
        }
        let mut chunk = [MaybeUninit::uninit(); CHUNK];
        let mut more = ReadBuf::uninit(&mut chunk);
        match Pin::new(&mut *self).poll_read(cx, &mut more) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(())) if more.filled().is_empty() => {
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the client has left"))
            }
            Poll::Ready(Ok(())) => {
                self.give_back(more.filled());
                Ok(())
            }
            Poll::Ready(Err(error)) => Err(error),
        }
    }

    /// While the client takes nothing, what it sends is read all the same: it may leave, and bytes that are not read when
    /// the connection ends reset it, and what was written before is lost with it.
    fn bound_write<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_pending() {
            self.watch_client(cx)?;
        }
        self.writes.bound(written, self.timeouts.idle, cx)
    }

    /// Reads on behind what is held. `false`: the end.
    fn poll_aside(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let mut chunk = [MaybeUninit::uninit(); CHUNK];
        let mut more = ReadBuf::uninit(&mut chunk);
        match Pin::new(&mut self.socket).poll_read(cx, &mut more)? {
            Poll::Pending => self.poll_limit(cx).map(|phase| self.time_out(phase, buf)).map(Ok),
            // The client went away within a head: nothing of it was a request.
            Poll::Ready(()) if more.filled().is_empty() => {
                self.held = Vec::new();
                Poll::Ready(Ok(false))
            }
            Poll::Ready(()) => {
                self.held.extend_from_slice(more.filled());
                Poll::Ready(Ok(true))
            }
        }
    }

    /// Reads on behind an upgrade that is not answered yet, to see the client leave: then nobody waits for the
    /// answer any more. `false`: the end.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.held.len() >= HELD_BYTES {
            // Not read any more; the kernel's window holds the client back.
            return Poll::Pending;
        }
        let mut chunk = [MaybeUninit::uninit(); CHUNK];
        let mut more = ReadBuf::uninit(&mut chunk);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut more))?;
        if more.filled().is_empty() {
            self.held = Vec::new();
            return Poll::Ready(Ok(false));
        }
        self.held.extend_from_slice(more.filled());
        Poll::Ready(Ok(true))
    }

    /// A head that didn't end is answered; a wait for a next request just ends.
    fn time_out(&mut self, phase: Phase, buf: &mut ReadBuf<'_>) -> bool {
        if phase == Phase::Head {
            let _ = self.fail(WireFault::TimedOut, buf);
        }
        false
    }

    /// After the last request: the end of the client's side is passed on, anything else is nobody's.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut chunk = [MaybeUninit::uninit(); CHUNK];
        let mut taken = 0;
        loop {
            let mut more = ReadBuf::uninit(&mut chunk);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut more))?;
            taken += more.filled().len();
            if more.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            if taken > LINGER_BYTES {
                // Not read any more; the kernel's window holds the client back.
                return Poll::Pending;
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write(cx, bytes);
        this.bound_write(written, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write_vectored(cx, slices);
        this.bound_write(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.socket).poll_flush(cx);
        if flushed.is_pending() {
            return this.bound_write(flushed, cx);
        }
        // What is ready here says nothing of a write that is not.
        ready!(flushed)?;
        Poll::Ready(this.watch_client(cx))
    }

    /// Ends our side; then takes what the client still sends, within bounds.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let linger = match &mut this.linger {
            Some(linger) => linger,
            None => {
                let ended = Pin::new(&mut this.socket).poll_shutdown(cx);
                ready!(this.writes.bound(ended, this.timeouts.idle, cx))?;
                if !this.in_body && !this.marker_sent {
                    return Poll::Ready(Ok(()));
                }
                this.linger.insert(Linger::new())
            }
        };
        linger.poll(&mut this.socket, cx).map(Ok)
    }
}

#[cfg(test)]
mod tests;
