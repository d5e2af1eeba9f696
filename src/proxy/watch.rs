//! Coarse deadlines for one thread: a tenth of a second is fine enough for a body that stands still.
//!
//! A runtime timer for each request would cost a registration and, on a thread that is not busy, a
//! write to the runtime's own wake-up file. Here one timer ticks for all: arming a deadline is a
//! store into a slot. A deadline never comes early by the clock of the ticks, at most one tick late.
//! The ticking stops when nothing is waited for.
//!
//! Callers: `proxy::exchange` and `proxy::body` for deadlines, `proxy::pool` for ageing.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// How fine a deadline is.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// The ticking stops after this many ticks without anything to wait for.
const IDLE_TICKS: u32 = 20;

const UNARMED: u64 = u64::MAX;

/// The clock of one thread; cheap to clone.
#[derive(Clone)]
pub(crate) struct Watch(Rc<Inner>);

struct Inner {
    /// Run at each tick.
    chores: RefCell<Vec<Chore>>,
    epoch: Instant,
    now: Cell<u64>,
    running: Cell<bool>,
    slots: RefCell<Slots>,
}

type Chore = Box<dyn Fn(u64) -> Left>;

/// What a chore leaves to be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Left {
    /// What it looked after is gone, and it goes too.
    Gone,
    /// Nothing for now.
    Nothing,
    /// It has something to look after, so the ticking goes on.
    Something,
}

#[derive(Default)]
struct Slots {
    entries: Vec<Entry>,
    free: Vec<usize>,
}

struct Entry {
    until: u64,
    waker: Option<Waker>,
}

/// How many ticks a duration is, so that what waits for them never waits less.
pub(crate) fn ticks(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX / 2).saturating_add(1)
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self(Rc::new(Inner {
            chores: RefCell::default(),
            epoch: Instant::now(),
            now: Cell::new(0),
            running: Cell::new(false),
            slots: RefCell::default(),
        }))
    }

    /// The current tick. Starts the ticking where it had stopped.
    pub(crate) fn now(&self) -> u64 {
        if !self.0.running.get() {
            self.0.running.set(true);
            self.0.now.set(self.0.elapsed());
            tokio::task::spawn_local(run(Rc::downgrade(&self.0)));
        }
        self.0.now.get()
    }

    /// A deadline that isn't armed.
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline { slot: None, watch: self.clone() }
    }

    /// To be run at each tick.
    pub(crate) fn add_chore(&self, chore: impl Fn(u64) -> Left + 'static) {
        self.0.chores.borrow_mut().push(Box::new(chore));
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watch").field(&self.0.now.get()).finish()
    }
}

impl Inner {
    fn elapsed(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos() / TICK.as_nanos()).unwrap_or(u64::MAX)
    }

    /// One tick; says whether anything is still waited for.
    fn tick(&self) -> bool {
        let now = self.elapsed();
        self.now.set(now);
        let mut waiting = false;
        let mut due = Vec::new();
        for entry in &mut self.slots.borrow_mut().entries {
            if entry.until <= now {
                due.extend(entry.waker.take());
            }
            waiting |= entry.until != UNARMED;
        }
        // Outside the borrow: whoever is woken may look at the slots.
        due.into_iter().for_each(Waker::wake);
        self.chores.borrow_mut().retain(|chore| {
            let left = chore(now);
            waiting |= left == Left::Something;
            left != Left::Gone
        });
        waiting
    }
}

async fn run(watch: Weak<Inner>) {
    let mut idle = 0;
    while idle < IDLE_TICKS {
        tokio::time::sleep(TICK).await;
        let Some(inner) = watch.upgrade() else { return };
        idle = if inner.tick() { 0 } else { idle + 1 };
    }
    if let Some(inner) = watch.upgrade() {
        inner.running.set(false);
    }
}

/// One thing waited for.
#[derive(Debug)]
pub(crate) struct Deadline {
    slot: Option<usize>,
    watch: Watch,
}

impl Deadline {
    /// The current tick.
    pub(crate) fn now(&self) -> u64 {
        self.watch.now()
    }

    /// Ready once the tick `until` is reached; wakes the task then.
    pub(crate) fn poll(&mut self, cx: &Context<'_>, until: u64) -> Poll<()> {
        if self.watch.now() >= until {
            return Poll::Ready(());
        }
        let mut slots = self.watch.0.slots.borrow_mut();
        let slot = *self.slot.get_or_insert_with(|| {
            slots.free.pop().unwrap_or_else(|| {
                slots.entries.push(Entry { until: UNARMED, waker: None });
                slots.entries.len() - 1
            })
        });
        let entry = &mut slots.entries[slot];
        entry.until = until;
        match &mut entry.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Waits for nothing.
    pub(crate) fn disarm(&mut self) {
        if let Some(slot) = self.slot {
            self.watch.0.slots.borrow_mut().entries[slot].until = UNARMED;
        }
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        let Some(slot) = self.slot else { return };
        let mut slots = self.watch.0.slots.borrow_mut();
        slots.entries[slot].until = UNARMED;
        let waker = slots.entries[slot].waker.take();
        slots.free.push(slot);
        // Dropping the last waker of a task may drop what holds another deadline.
        drop(slots);
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::task::LocalSet;

    use super::*;

    #[tokio::test]
    async fn deadlines_come_in_order_and_never_early() {
        let wait = async |watch: &Watch, wait: Duration| {
            let started = Instant::now();
            let mut deadline = watch.deadline();
            let until = watch.now() + ticks(wait);
            poll_fn(|cx| deadline.poll(cx, until)).await;
            let took = started.elapsed();
            assert!(took >= wait && took < wait + 5 * TICK, "{wait:?} took {took:?}");
        };
        let all = async {
            let watch = Watch::new();
            let (short, long) = (Duration::from_millis(120), Duration::from_millis(350));
            tokio::join!(wait(&watch, long), wait(&watch, short), wait(&watch, Duration::ZERO));
            assert_eq!(watch.0.slots.borrow().free.len(), 3, "the slots are given back");
        };
        LocalSet::new().run_until(all).await;
    }
}
