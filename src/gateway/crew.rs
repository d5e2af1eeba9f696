//! The threads that serve: started together, told of each change, and waited for at the end.
//!
//! Callers: `gateway`. What one of them does is `gateway/thread.rs`'s.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::StartError;
use super::listener::{Door, Purpose};
use super::rooms::Rooms;
use super::thread::{self, Change, DoorId, Message};
use crate::proxy::health;

/// The threads that serve.
pub(super) struct Crew {
    /// Of the servers of the configuration in force.
    checks: Option<AbortOnDropHandle<()>>,
    messages: Vec<mpsc::UnboundedSender<Message>>,
    threads: Vec<JoinHandle<()>>,
}

impl Crew {
    pub(super) fn start(count: usize, stopping: &CancellationToken) -> Result<Self, StartError> {
        let mut crew = Self { checks: None, messages: Vec::new(), threads: Vec::new() };
        for number in 0..count {
            let (sender, messages) = mpsc::unbounded_channel();
            let stopping = stopping.clone();
            let thread = std::thread::Builder::new()
                .name(format!("gateway-{number}"))
                .spawn(move || thread::run(messages, stopping))
                .map_err(StartError::Thread)?;
            crew.messages.push(sender);
            crew.threads.push(thread);
        }
        Ok(crew)
    }

    /// Gives every thread its rooms and sockets, waits until each has taken them, and has the servers checked.
    pub(super) async fn change(
        &mut self,
        rooms: &Arc<Rooms>,
        mut open: Vec<(DoorId, Purpose, Vec<Door>)>,
        close: &[DoorId],
    ) {
        let mut taken = Vec::new();
        for thread in &self.messages {
            let (done, when_done) = oneshot::channel();
            let open = open.iter_mut();
            let open = open.filter_map(|(id, purpose, doors)| Some((*id, *purpose, doors.pop()?))).collect();
            let change = Change { close: close.to_vec(), done, open, rooms: Arc::clone(rooms) };
            // A thread that is gone, by a panic too, has stopped the others.
            if thread.send(Message::Change(change)).is_ok() {
                taken.push(when_done);
            }
        }
        for one in taken {
            let _ = one.await;
        }
        // Those of the configuration before are dropped with their handle, so no server is checked twice.
        let checks = health::run(rooms.process.health.clone(), rooms.config.upstreams.clone());
        self.checks = Some(AbortOnDropHandle::new(tokio::spawn(checks)));
    }

    /// A way to see whether the threads turn.
    pub(super) fn pulse(&self) -> Pulse {
        Pulse(self.messages.clone())
    }

    /// Waits until every thread has ended, each of which gives its requests so much time. Whether none has panicked.
    pub(super) async fn join(self, drain: Duration) -> bool {
        let threads = self.threads;
        let joined = tokio::task::spawn_blocking(move || {
            let mut sound = true;
            for thread in threads {
                if let Err(panic) = thread.join() {
                    let text = panic.downcast_ref::<String>().map(String::as_str);
                    let panic = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("-");
                    tracing::error!(panic, "a thread of the gateway has panicked");
                    sound = false;
                }
            }
            sound
        });
        // Each thread ends by itself within the bound; one that doesn't is left behind with the process.
        let Ok(joined) = tokio::time::timeout(drain + Duration::from_secs(5), joined).await else {
            tracing::warn!("a thread did not end in time");
            return true;
        };
        joined.unwrap_or(false)
    }
}

/// Asks the threads whether they turn.
pub(super) struct Pulse(pub(super) Vec<mpsc::UnboundedSender<Message>>);

impl Pulse {
    /// Done when each has answered. A thread that has ended is not asked: the end of all is what ends it.
    pub(super) async fn answers(&self) {
        let ping = |thread: &mpsc::UnboundedSender<Message>| {
            let (answer, answered) = oneshot::channel();
            thread.send(Message::Ping(answer)).ok().map(|()| answered)
        };
        let asked: Vec<_> = self.0.iter().filter_map(ping).collect();
        for answered in asked {
            let _ = answered.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_that_panics_stops_the_gateway_and_is_told() {
        let stopping = CancellationToken::new();
        let crew = Crew::start(2, &stopping).expect("threads start");
        assert!(crew.messages[0].send(Message::Panic).is_ok());
        let stopped = tokio::time::timeout(Duration::from_secs(10), stopping.cancelled()).await;
        assert!(stopped.is_ok(), "the others go on without it");
        let mut crew = crew;
        // The other one waits for its rooms, which will never come.
        crew.messages.clear();
        assert!(!crew.join(Duration::ZERO).await, "it has ended well");
    }
}
