//! What a task waits for beside its work, and what hardly ever comes: the stop, a connection's rest.
//!
//! `select!` asks all of its branches whenever the task is woken, and each of them takes locks to say that nothing has
//! happened. Here a future is asked once, and then only after it has called itself.
//!
//! Callers: `gateway::connection`, whose tasks are woken for each request.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// A future that is polled only after it has called, however often whoever awaits it is.
pub(super) struct Rarely<F> {
    bell: Arc<Bell>,
    future: F,
    /// What the future calls by.
    waker: Waker,
}

/// Whether the future has called, and the task that is woken then.
struct Bell {
    rung: AtomicBool,
    task: Mutex<Waker>,
}

impl<F: Future + Unpin> Rarely<F> {
    pub(super) fn new(future: F) -> Self {
        let bell = Arc::new(Bell { rung: AtomicBool::new(true), task: Mutex::new(Waker::noop().clone()) });
        Self { waker: Waker::from(Arc::clone(&bell)), bell, future }
    }
}

impl<F: Future + Unpin> Future for Rarely<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // A task is woken by one waker for all of its life, and this is polled by one task: so it has to be told once.
        if !self.bell.rung.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        self.bell.task.lock().unwrap_or_else(PoisonError::into_inner).clone_from(cx.waker());
        // Before it is asked: a call from here on is another one.
        self.bell.rung.swap(false, Ordering::AcqRel);
        let Self { future, waker, .. } = &mut *self;
        Pin::new(future).poll(&mut Context::from_waker(waker))
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.lock().unwrap_or_else(PoisonError::into_inner).wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_asked_once_and_then_only_when_it_has_called() {
        let (done, mut is_done) = oneshot::channel::<()>();
        let mut asked = 0;
        let counted = poll_fn(|cx| {
            asked += 1;
            Pin::new(&mut is_done).poll(cx)
        });
        let mut rarely = Rarely::new(counted);
        for _ in 0..50 {
            tokio::select! {
                biased;
                _ = &mut rarely => panic!("nothing has happened"),
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
        }
        done.send(()).expect("it is waited for");
        assert_eq!(rarely.await, Ok(()));
        assert_eq!(asked, 2);
    }

    #[tokio::test]
    async fn a_call_of_another_thread_is_heard() {
        for _ in 0..2000 {
            let (done, is_done) = oneshot::channel();
            let caller = std::thread::spawn(move || done.send(7));
            assert_eq!(Rarely::new(is_done).await, Ok(7));
            caller.join().expect("no panic").expect("it was waited for");
        }
    }
}
