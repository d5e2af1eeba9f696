//! One HTTP/2 connection's bytes: frames counted and timed before hyper sees them.
//!
//! hyper and h2 hold each frame to the protocol and bound what a connection may have open. What they do
//! not bound is kept here: how long a frame or a block of header fields may take, how many frames may
//! come that carry nothing, and how long a client may take nothing. No payload is looked at; small
//! pieces of one body are put together.
//!
//! Callers: `gateway::http2`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::gateway::opening::PREFACE;
use crate::gateway::slot::Slot;
use crate::gateway::wire::{Linger, Timer, WireTimeouts, Writes};

/// What frames without use may cost before the connection ends, and what of that comes back each second.
const BUDGET: u32 = 4000;
const BUDGET_PER_SECOND: u32 = 200;

/// An answer of so many bytes makes up for one such frame: who is sent much has a window to keep open.
const CREDIT_BYTES: usize = 64;

const FRAME_HEAD: usize = 9;

/// The longest frame that we take, as was not told otherwise.
const FRAME_BYTES: usize = 16 * 1024;
/// A DATA frame below this size counts against what h2 keeps of such at once, which is some two thousand.
const SMALL_BYTES: usize = 256;

/// More CONTINUATION frames than h2 takes for any size of header fields that can be configured.
const MARKER_FRAMES: usize = 100;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// The wrapped socket.
pub(super) struct Frames<S> {
    /// Read before this was there, and how much of it has passed.
    held: (Vec<u8>, usize),
    inbound: Inbound,
    linger: Option<Linger>,
    /// How much of the marker was passed, once there were too many frames.
    marker: Option<usize>,
    read_timer: Timer,
    /// Held for as long as the socket is.
    _slot: Option<Slot>,
    socket: S,
    timeouts: WireTimeouts,
    unfinished_since: Option<Instant>,
    writes: Writes,
}

impl<S> Frames<S> {
    /// At the start of a connection; `held` was read already.
    pub(super) fn new(socket: S, held: Vec<u8>, timeouts: WireTimeouts, slot: Option<Slot>) -> Self {
        Self {
            held: (held, 0),
            inbound: Inbound::new(),
            linger: None,
            marker: None,
            read_timer: Timer::default(),
            _slot: slot,
            socket,
            timeouts,
            unfinished_since: None,
            writes: Writes::default(),
        }
    }

    /// Judges what was read behind `before`; where it was too much, cuts it off between two frames.
    fn judge(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let begun = self.inbound.begun;
        let (passed, too_many) = self.inbound.judge(&mut buf.filled_mut()[before..]);
        buf.set_filled(before + passed);
        if too_many {
            self.marker = Some(0);
        }
        if !self.inbound.is_unfinished() {
            self.unfinished_since = None;
        } else if self.unfinished_since.is_none() || self.inbound.begun != begun {
            self.unfinished_since = Some(Instant::now());
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Frames<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        while this.marker.is_none() {
            let (held, passed) = &mut this.held;
            if held.is_empty() {
                match Pin::new(&mut this.socket).poll_read(cx, buf)? {
                    Poll::Pending => {
                        let Some(since) = this.unfinished_since else { return Poll::Pending };
                        ready!(this.read_timer.poll(since + this.timeouts.head, cx));
                        let late = io::Error::new(io::ErrorKind::TimedOut, "a frame did not end in time");
                        return Poll::Ready(Err(late));
                    }
                    Poll::Ready(()) if buf.filled().len() == before => return Poll::Ready(Ok(())),
                    Poll::Ready(()) => {}
                }
            } else {
                let room = buf.remaining().min(held.len() - *passed);
                buf.put_slice(&held[*passed..*passed + room]);
                *passed += room;
                if *passed == held.len() {
                    this.held = (Vec::new(), 0);
                }
            }
            this.judge(buf, before);
            if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
        // Nothing more is read of this client. What stands in its place makes h2 say GOAWAY with
        // ENHANCE_YOUR_CALM, after which it asks for no more.
        let Some(passed) = &mut this.marker else { return Poll::Pending };
        let mut more = false;
        while *passed < MARKER_FRAMES * FRAME_HEAD && buf.remaining() > 0 {
            buf.put_slice(&[marker(*passed)]);
            *passed += 1;
            more = true;
        }
        if more { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

/// A byte of the marker: a block of header fields that goes on and on without any.
fn marker(at: usize) -> u8 {
    match (at / FRAME_HEAD, at % FRAME_HEAD) {
        (0, 3) => HEADERS,
        (_, 3) => CONTINUATION,
        // The stream that it is about, which is the lowest there is.
        (_, 8) => 1,
        _ => 0,
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Frames<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write(cx, bytes);
        this.inbound.credit(&written);
        this.writes.bound(written, this.timeouts.idle, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write_vectored(cx, slices);
        this.inbound.credit(&written);
        this.writes.bound(written, this.timeouts.idle, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.socket).poll_flush(cx);
        // What is ready here says nothing of a write that is not.
        if flushed.is_ready() { flushed } else { this.writes.bound(flushed, this.timeouts.idle, cx) }
    }

    /// Ends our side, so that a GOAWAY arrives; then takes what the client still sends, within bounds.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            let ended = Pin::new(&mut this.socket).poll_shutdown(cx);
            ready!(this.writes.bound(ended, this.timeouts.idle, cx))?;
        }
        this.linger.get_or_insert_with(Linger::new).poll(&mut this.socket, cx).map(Ok)
    }
}

/// Of the payload, as the first three bytes of a frame say.
fn length(head: &[u8]) -> usize {
    usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])
}

/// Where the client's bytes are in its frames, and what is left for frames without use.
struct Inbound {
    /// Frames that begin something new: all but those that continue a block of header fields.
    begun: u64,
    budget: u32,
    budget_since: Instant,
    head: [u8; FRAME_HEAD],
    /// Bytes of `head` that are there.
    head_bytes: usize,
    in_block: bool,
    /// Bytes of the payload, or of the preface, that are still to come.
    left: usize,
}

impl Inbound {
    fn new() -> Self {
        Self {
            begun: 0,
            budget: BUDGET,
            budget_since: Instant::now(),
            head: [0; FRAME_HEAD],
            head_bytes: 0,
            in_block: false,
            left: PREFACE.len(),
        }
    }

    /// Judges what was read, and puts small DATA frames together that follow each other on one stream: h2
    /// keeps few small frames for who is slow to take them, and some clients send each message in one.
    ///
    /// Gives how many bytes there are then, and whether they end before a frame that is one too many.
    fn judge(&mut self, bytes: &mut [u8]) -> (usize, bool) {
        let (mut from, mut to) = (0, 0);
        // Where the head stands of the frame before, if it is one to which more can be added.
        let mut open = None;
        // The same of the frame whose payload comes now.
        let mut opening = None;
        loop {
            let moved = self.left.min(bytes.len() - from);
            if from != to {
                bytes.copy_within(from..from + moved, to);
            }
            self.left -= moved;
            (from, to) = (from + moved, to + moved);
            if from == bytes.len() {
                return (to, false);
            }
            if let Some(at) = opening.take() {
                open = Some(at);
            }
            if self.budget == 0 && self.head_bytes == 0 && !self.refill() {
                return (to, true);
            }
            let taken = (FRAME_HEAD - self.head_bytes).min(bytes.len() - from);
            self.head[self.head_bytes..self.head_bytes + taken].copy_from_slice(&bytes[from..from + taken]);
            let is_whole = taken == FRAME_HEAD;
            self.head_bytes = (self.head_bytes + taken) % FRAME_HEAD;
            if self.head_bytes == 0 {
                self.begin();
            }
            let is_here = is_whole && self.left <= bytes.len() - from - FRAME_HEAD;
            if is_here
                && let Some(at) = open
                && self.joins(&bytes[at..at + FRAME_HEAD])
            {
                let all = length(&bytes[at..]) + self.left;
                let [_, high, middle, low] = u32::try_from(all).unwrap_or(0).to_be_bytes();
                bytes[at..at + 3].copy_from_slice(&[high, middle, low]);
                bytes[at + 4] |= self.head[4];
                from += FRAME_HEAD;
                continue;
            }
            bytes.copy_within(from..from + taken, to);
            (open, opening) = (None, is_here.then_some(to));
            (from, to) = (from + taken, to + taken);
        }
    }

    /// Whether the frame that begins now can be added to the one with this head.
    fn joins(&self, before: &[u8]) -> bool {
        let small = self.left < SMALL_BYTES;
        let plain = self.head[3] == DATA && self.head[4] & !END_STREAM == 0;
        let open = before[3] == DATA && before[4] == 0;
        small && plain && open && before[5..] == self.head[5..] && length(before) + self.left <= FRAME_BYTES
    }

    fn begin(&mut self) {
        self.left = length(&self.head);
        let [_, _, _, kind, flags, ..] = self.head;
        let is = |flag| flags & flag != 0;
        if matches!(kind, HEADERS | CONTINUATION) {
            self.in_block = !is(END_HEADERS);
        }
        self.begun += u64::from(kind != CONTINUATION);
        let cost = match kind {
            DATA if self.left == 0 && !is(END_STREAM) => 10,
            DATA | HEADERS => 0,
            RST_STREAM => 5,
            SETTINGS | PING if !is(ACK) => 2,
            _ => 1,
        };
        self.budget = self.budget.saturating_sub(cost);
    }

    /// Gives back what time has brought; says whether that is anything.
    fn refill(&mut self) -> bool {
        let earned = self.budget_since.elapsed().as_millis() * u128::from(BUDGET_PER_SECOND) / 1000;
        if earned > 0 {
            self.budget_since += Duration::from_millis(
                u64::try_from(earned * 1000 / u128::from(BUDGET_PER_SECOND)).unwrap_or(u64::MAX),
            );
        }
        self.budget = u32::try_from(earned).unwrap_or(BUDGET).min(BUDGET);
        self.budget > 0
    }

    /// What was sent makes up for some.
    fn credit(&mut self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = written {
            let credit = u32::try_from(bytes / CREDIT_BYTES).unwrap_or(BUDGET);
            self.budget = self.budget.saturating_add(credit).min(BUDGET);
        }
    }

    /// Whether something began that has to end soon. The time for bodies is kept where they go.
    fn is_unfinished(&self) -> bool {
        self.in_block || self.head_bytes > 0 || (self.left > 0 && self.head[3] != DATA) || self.begun == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let [high, low] = u16::try_from(payload.len()).expect("it fits").to_be_bytes();
        [&[0, high, low, kind, flags, 0, 0, 0, stream], payload].concat()
    }

    /// Everything behind the preface that passes, read in pieces of these sizes.
    fn passed(bytes: &[u8], mut sizes: impl Iterator<Item = usize>) -> Vec<u8> {
        let mut inbound = Inbound::new();
        inbound.left = 0;
        let (mut all, mut rest) = (Vec::new(), bytes);
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(sizes.next().expect("it goes on").min(rest.len()));
            rest = more;
            let mut piece = piece.to_vec();
            let (kept, too_many) = inbound.judge(&mut piece);
            assert!(!too_many);
            all.extend_from_slice(&piece[..kept]);
        }
        assert!(!inbound.is_unfinished() || inbound.begun == 0);
        all
    }

    /// Kind, flags, stream and payload of each frame; of DATA, those of one stream that follow each other are one.
    fn meaning(mut bytes: &[u8]) -> Vec<(u8, u8, Vec<u8>, Vec<u8>)> {
        let mut frames: Vec<(u8, u8, Vec<u8>, Vec<u8>)> = Vec::new();
        while !bytes.is_empty() {
            let (head, rest) = bytes.split_at(FRAME_HEAD);
            let (payload, rest) = rest.split_at(length(head));
            assert!(payload.len() <= FRAME_BYTES);
            bytes = rest;
            match frames.last_mut() {
                Some((DATA, flags @ 0, stream, all))
                    if head[3] == DATA && head[4] & !END_STREAM == 0 && *stream == head[5..] =>
                {
                    *flags = head[4];
                    all.extend_from_slice(payload);
                }
                _ => frames.push((head[3], head[4], head[5..].to_vec(), payload.to_vec())),
            }
        }
        frames
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn frames_keep_their_meaning_however_they_are_cut(
            frames in prop::collection::vec((0_u8..12, 0_u8..16, 1_u8..4, 0_usize..400), 1..40),
            plain in prop::collection::vec(any::<bool>(), 40),
            sizes in prop::collection::vec(1_usize..3000, 1..20),
        ) {
            let bytes: Vec<u8> = frames.iter().zip(plain).enumerate().flat_map(|(number, ((kind, flags, stream, size), plain))| {
                let payload: Vec<u8> = (0..*size).map(|at| (at + number) as u8).collect();
                match plain {
                    true => frame(DATA, 0, *stream, &payload),
                    false => frame(*kind, if *kind == HEADERS || *kind == CONTINUATION { *flags | END_HEADERS } else { *flags }, *stream, &payload),
                }
            }).collect();
            let all = passed(&bytes, sizes.into_iter().cycle());
            prop_assert!(all.len() <= bytes.len());
            prop_assert_eq!(meaning(&all), meaning(&bytes));
        }
    }

    #[test]
    fn small_frames_of_one_body_become_large_ones() {
        let small: Vec<u8> = (0..5000).flat_map(|_| frame(DATA, 0, 1, b"0123456789")).collect();
        let bytes = [small, frame(DATA, END_STREAM, 1, b"")].concat();
        let all = passed(&bytes, std::iter::repeat(8192));
        // Beside the one that each piece cuts through.
        assert!(all.len() < 50_000 + 3 * FRAME_HEAD * bytes.len().div_ceil(8192), "{}", all.len());
        assert_eq!(meaning(&all), meaning(&bytes));
    }

    #[test]
    fn what_carries_nothing_is_bounded_and_comes_back_with_time_and_answers() {
        let mut inbound = Inbound::new();
        inbound.left = 0;
        let ping = frame(PING, 0, 0, b"12345678");
        let mut pings = ping.repeat(3000);
        let (kept, too_many) = inbound.judge(&mut pings);
        assert!(too_many && kept % ping.len() == 0, "{kept}");
        assert_eq!(kept / ping.len(), BUDGET as usize / 2);
        inbound.credit(&Poll::Ready(Ok(CREDIT_BYTES * 2)));
        assert_eq!(inbound.judge(&mut ping.clone()), (ping.len(), false));
        assert_eq!(inbound.judge(&mut ping.clone()), (0, true));
        inbound.budget_since -= Duration::from_secs(1);
        let (kept, too_many) = inbound.judge(&mut ping.repeat(300));
        assert!(too_many && (100..110).contains(&(kept / ping.len())), "{kept}");
    }
}
