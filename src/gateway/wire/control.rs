//! What the service and the wire tell each other about one connection.
//!
//! Callers: the wire counts heads and waits for verdicts; `gateway::connection` begins and ends answers,
//! and says what became of an upgrade.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep, sleep_until};

use super::WireFault;
use crate::gateway::slot::Slot;

/// What the service and the wire tell each other.
pub(in crate::gateway) struct WireControl {
    /// When the last answer ended, in milliseconds after the start.
    pub(super) ended: AtomicU64,
    pub(super) fault: OnceLock<WireFault>,
    /// Answers of which the head is known.
    answered: AtomicUsize,
    /// Heads that passed. Requests in one piece pass together, long before they are answered.
    heads: AtomicUsize,
    /// Nothing is under way, and the next request was waited for when it was last looked.
    resting: AtomicBool,
    /// Held for as long as the socket is: by a tunnel too, which outlives the service.
    _slot: Option<Slot>,
    pub(super) started: Instant,
    pub(super) switch: AtomicU8,
    /// Requests that passed and whose answers have not ended.
    pub(super) unanswered: AtomicUsize,
    /// The number of the head that asks for an upgrade, counted from 1; 0: none does.
    upgrade: AtomicUsize,
    pub(super) waker: Mutex<Option<Waker>>,
}

/// So long after an answer a connection is at rest; one that was busy then is looked at again later.
const REST_AFTER: Duration = Duration::from_secs(2);
const REST_AFTER_BUSY: Duration = Duration::from_secs(10);

pub(super) const UNDECIDED: u8 = 0;
pub(super) const TUNNEL: u8 = 1;
pub(super) const REFUSED: u8 = 2;

/// Held while an answer is under way; the idle limit runs from its end on.
pub(in crate::gateway) struct InFlight(Arc<WireControl>);

impl WireControl {
    /// At the start of a connection.
    pub(in crate::gateway) fn new(slot: Option<Slot>) -> Self {
        Self {
            _slot: slot,
            answered: AtomicUsize::new(0),
            ended: AtomicU64::new(0),
            fault: OnceLock::new(),
            heads: AtomicUsize::new(0),
            resting: AtomicBool::new(false),
            started: Instant::now(),
            switch: AtomicU8::new(UNDECIDED),
            unanswered: AtomicUsize::new(0),
            upgrade: AtomicUsize::new(0),
            waker: Mutex::new(None),
        }
    }

    /// Why the marker stands in place of a request.
    pub(in crate::gateway) fn fault(&self) -> Option<WireFault> {
        self.fault.get().copied()
    }

    /// Whether there was a request so far.
    pub(in crate::gateway) fn has_begun(&self) -> bool {
        self.heads.load(Ordering::Relaxed) > 0
    }

    /// An answer begins; one for each request.
    pub(in crate::gateway) fn begin(self: &Arc<Self>) -> InFlight {
        InFlight(Arc::clone(self))
    }

    /// An answer's head is known, in the order of the requests: if this one asked for an upgrade, what
    /// follows is a tunnel or the next request.
    pub(in crate::gateway) fn answered(&self, status: StatusCode) {
        let answered = self.answered.fetch_add(1, Ordering::Relaxed) + 1;
        if self.upgrade.load(Ordering::Relaxed) != answered {
            return;
        }
        let switch = if status == StatusCode::SWITCHING_PROTOCOLS { TUNNEL } else { REFUSED };
        self.switch.store(switch, Ordering::Release);
        self.wake();
    }

    /// Ready when the connection has been without a request for a while. To be awaited beside the connection, and after
    /// it: it is the connection that looks whether anything has come.
    pub(in crate::gateway) async fn rests(&self) {
        loop {
            let rested_at = self.idle_since() + REST_AFTER;
            let now = Instant::now();
            if self.unanswered.load(Ordering::Relaxed) > 0 {
                sleep(REST_AFTER_BUSY).await;
            } else if now < rested_at {
                sleep_until(rested_at).await;
            } else if self.resting.load(Ordering::Relaxed) {
                return;
            } else {
                sleep(REST_AFTER).await;
            }
        }
    }

    /// When the last answer ended.
    pub(in crate::gateway) fn idle_since(&self) -> Instant {
        self.started + Duration::from_millis(self.ended.load(Ordering::Relaxed))
    }

    pub(super) fn set_resting(&self, resting: bool) {
        self.resting.store(resting, Ordering::Relaxed);
    }

    /// A head passes, or the marker in place of one.
    pub(super) fn passed(&self, upgrade: bool) {
        self.set_resting(false);
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        let heads = self.heads.fetch_add(1, Ordering::Relaxed) + 1;
        if upgrade {
            self.switch.store(UNDECIDED, Ordering::Relaxed);
            self.upgrade.store(heads, Ordering::Relaxed);
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waker.wake();
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        // hyper need not ask for the next head now: if it was told to wait before, it waits on. So the
        // time is kept, for the timer that runs since then.
        let ended = u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.ended.store(ended, Ordering::Relaxed);
        self.0.unanswered.fetch_sub(1, Ordering::Relaxed);
    }
}
