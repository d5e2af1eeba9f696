//! The bound on handshakes of one thread: how many wait for their client, and how much of the time they take.
//!
//! A handshake that waits for its client holds one of a limited number of places. Where there is none it isn't the
//! new one that has to go but the one that has waited longest: who holds places without finishing keeps nobody out.
//! What a handshake computes is done one at a time, and whatever else is ready goes in between: a flood of
//! handshakes delays requests by one of them, not by all.
//!
//! Callers: `gateway::tls`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;

use tokio::sync::{Semaphore, oneshot};
use tokio::task::yield_now;

/// The handshakes of one thread.
pub(in crate::gateway) struct Handshakes {
    most: Cell<usize>,
    next: Cell<u64>,
    turn: Semaphore,
    /// In the order of their beginning. One that is dropped here ends.
    waiting: RefCell<BTreeMap<u64, oneshot::Sender<()>>>,
}

/// Why a handshake lost its place.
#[derive(Debug, thiserror::Error)]
#[error("too many handshakes wait, and this one has waited longest")]
pub(super) struct Crowded;

/// A place, given back when it is dropped.
struct Place<'h> {
    handshakes: &'h Handshakes,
    number: u64,
}

impl Handshakes {
    /// None yet.
    pub(in crate::gateway) fn new(most: usize) -> Self {
        Self {
            most: Cell::new(most),
            next: Cell::new(0),
            turn: Semaphore::new(1),
            waiting: RefCell::default(),
        }
    }

    /// From now on so many may wait for their clients; at least one.
    pub(in crate::gateway) fn limit(&self, most: usize) {
        self.most.set(most.max(1));
    }

    /// Waits for a client in one of the places.
    pub(super) async fn waiting<T>(&self, client: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let (keep, gone) = oneshot::channel();
        let number = self.next.replace(self.next.get() + 1);
        {
            let mut waiting = self.waiting.borrow_mut();
            waiting.insert(number, keep);
            while waiting.len() > self.most.get() {
                waiting.pop_first();
            }
        }
        let _place = Place { handshakes: self, number };
        tokio::select! {
            done = client => done,
            _ = gone => Err(io::Error::other(Crowded)),
        }
    }

    /// Computes when it is its turn, and lets others go on before the next one computes.
    pub(super) async fn in_turn<T>(&self, compute: impl FnOnce() -> T) -> T {
        let _turn = self.turn.acquire().await;
        let computed = compute();
        yield_now().await;
        computed
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.handshakes.waiting.borrow_mut().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::rc::Rc;

    use tokio::task::LocalSet;

    use super::*;

    #[tokio::test]
    async fn the_one_that_has_waited_longest_gives_its_place_to_a_new_one() {
        LocalSet::new()
            .run_until(async {
                let handshakes = Rc::new(Handshakes::new(2));
                let wait = || {
                    let handshakes = Rc::clone(&handshakes);
                    tokio::task::spawn_local(
                        async move { handshakes.waiting(pending::<io::Result<()>>()).await },
                    )
                };
                let (first, second, third) = (wait(), wait(), wait());
                assert!(first.await.expect("it did not panic").is_err());
                assert!(!second.is_finished() && !third.is_finished());
                third.abort();
                let _ = third.await;
                let fourth = wait();
                yield_now().await;
                assert!(!second.is_finished() && !fourth.is_finished(), "the place was given back");
                assert_eq!(handshakes.waiting(async { Ok(5) }).await.expect("it is done at once"), 5);
                assert!(second.await.expect("it did not panic").is_err());
            })
            .await;
    }

    #[tokio::test]
    async fn others_go_on_between_two_computations() {
        LocalSet::new()
            .run_until(async {
                let handshakes = Rc::new(Handshakes::new(8));
                let order = Rc::new(RefCell::new(Vec::new()));
                let tasks: Vec<_> = (0..3)
                    .map(|number| {
                        let (handshakes, order) = (Rc::clone(&handshakes), Rc::clone(&order));
                        tokio::task::spawn_local(async move {
                            handshakes.in_turn(|| order.borrow_mut().push(number)).await;
                        })
                    })
                    .collect();
                let other = {
                    let order = Rc::clone(&order);
                    tokio::task::spawn_local(async move { order.borrow_mut().push(99) })
                };
                for task in tasks {
                    task.await.expect("it did not panic");
                }
                other.await.expect("it did not panic");
                assert_eq!(*order.borrow(), [0, 99, 1, 2]);
            })
            .await;
    }
}
