//! One thread: its runtime, its doors, its connections, and the end of all of them.
//!
//! Callers: `gateway::crew` starts one for each core and tells it of changes; its connections ask it for the rooms
//! that are in force.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{serve, turn_away};
use super::listener::{Door, Purpose};
use super::rooms::{Process, Rooms};
use super::slot::{ConnectionLimits, Slot};
use super::stream::{Acceptor, Stream};
use super::tls::Handshakes;
use super::worker::Worker;
use crate::proxy::Tunnels;
use crate::telemetry::AccessLog;
use crate::telemetry::metrics::Metrics;

/// Between two hand-overs of the log.
const LOG_EVERY: Duration = Duration::from_millis(200);
/// After an accept that failed for want of something: descriptors, memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Marks what a door is called between the threads and who opens and closes them.
pub(super) type DoorId = u64;

/// What a thread is told from outside.
pub(super) enum Message {
    Change(Change),
    /// Answered by a thread that turns.
    Ping(oneshot::Sender<()>),
    #[cfg(test)]
    Panic,
}

/// Other rooms, and other sockets to listen on.
pub(super) struct Change {
    pub(super) close: Vec<DoorId>,
    /// Told once this thread has taken it.
    pub(super) done: oneshot::Sender<()>,
    pub(super) open: Vec<(DoorId, Purpose, Door)>,
    pub(super) rooms: Arc<Rooms>,
}

/// After a door was closed to newcomers: connections that had begun by then come to their end, or to us.
const LAST_CALL: Duration = Duration::from_millis(100);

/// What one thread has for itself, under whatever configuration.
pub(super) struct Thread {
    access: AccessLog,
    connections: TaskTracker,
    doors: RefCell<HashMap<DoorId, CancellationToken>>,
    pub(super) handshakes: Handshakes,
    process: Arc<Process>,
    stopping: CancellationToken,
    tunnels: Tunnels,
    worker: RefCell<Rc<Worker>>,
}

/// Runs a thread until the stop, and then until what is running has finished or the bound is over. Whatever ends it
/// stops the others too, a panic as well: half a gateway would go unnoticed.
pub(super) fn run(messages: UnboundedReceiver<Message>, stopping: CancellationToken) {
    let _stops_the_others = stopping.clone().drop_guard();
    let built = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(error) => {
            return tracing::error!(%error, "a thread of the gateway could not start");
        }
    };
    runtime.block_on(serve_all(messages, stopping));
    // A look-up that a silent name service holds up is not waited for.
    runtime.shutdown_background();
}

async fn serve_all(mut messages: UnboundedReceiver<Message>, stopping: CancellationToken) {
    // Without its rooms there is nothing to turn for.
    let first = loop {
        match messages.recv().await {
            Some(Message::Change(first)) => break first,
            Some(Message::Ping(_)) => {}
            #[cfg(test)]
            Some(Message::Panic) => panic!("as it was told"),
            None => return,
        }
    };
    let thread = Thread::new(&first.rooms, stopping.clone());
    thread.take(first);
    let logging = tokio::task::spawn_local(hand_over_log(Rc::clone(&thread)));
    loop {
        tokio::select! {
            Some(message) = messages.recv() => match message {
                Message::Change(change) => thread.take(change),
                Message::Ping(answer) => drop(answer.send(())),
                #[cfg(test)]
                Message::Panic => panic!("as it was told"),
            },
            () = stopping.cancelled() => break,
        }
    }
    let mut drained = pin!(thread.drain());
    loop {
        tokio::select! {
            () = &mut drained => break,
            Some(message) = messages.recv() => match message {
                // Too late: who waits for it sees that nobody will answer.
                Message::Change(_) => {}
                Message::Ping(answer) => drop(answer.send(())),
                #[cfg(test)]
                Message::Panic => {}
            },
        }
    }
    logging.abort();
    thread.access.flush();
}

async fn hand_over_log(thread: Rc<Thread>) {
    loop {
        sleep(LOG_EVERY).await;
        thread.access.flush();
    }
}

impl Thread {
    fn new(rooms: &Arc<Rooms>, stopping: CancellationToken) -> Rc<Self> {
        let tunnels = Tunnels::counted(rooms.process.metrics.clone());
        let access = AccessLog::new(rooms.process.access.clone());
        Rc::new(Self {
            connections: TaskTracker::new(),
            doors: RefCell::default(),
            handshakes: Handshakes::new(most_handshakes(rooms)),
            process: Arc::clone(&rooms.process),
            stopping,
            worker: RefCell::new(Rc::new(Worker::new(rooms, tunnels.clone(), access.clone()))),
            access,
            tunnels,
        })
    }

    /// What answers from now on.
    pub(super) fn worker(&self) -> Rc<Worker> {
        Rc::clone(&self.worker.borrow())
    }

    /// Whether whoever asks again had better ask somebody else.
    pub(super) fn is_draining(&self) -> bool {
        self.process.draining.load(Ordering::Relaxed)
    }

    /// What connections are counted by.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.process.metrics
    }

    /// Counts a connection to the source that its proxy names. `false` where that one has as many as it may.
    pub(super) fn counts_to(&self, slot: &mut Slot, source: IpAddr) -> bool {
        let worker = self.worker();
        let config = &worker.rooms.config;
        config.trusted_proxies.contains(source)
            || slot.moved_to(source, ConnectionLimits::of(&config.limits, self.process.room))
    }

    fn take(self: &Rc<Self>, change: Change) {
        let worker = self.worker().renewed(&change.rooms);
        *self.worker.borrow_mut() = Rc::new(worker);
        self.handshakes.limit(most_handshakes(&change.rooms));
        for (id, purpose, door) in change.open {
            let closing = self.stopping.child_token();
            self.doors.borrow_mut().insert(id, closing.clone());
            self.connections.spawn_local(accept(Rc::clone(self), door, purpose, closing));
        }
        for id in change.close {
            if let Some(closing) = self.doors.borrow_mut().remove(&id) {
                closing.cancel();
            }
        }
        // Who waits for it may have gone.
        let _ = change.done.send(());
    }

    /// After the stop: what is running finishes, within the bound.
    async fn drain(&self) {
        // Tunnels are told to go at once: they would never finish by themselves.
        let finished = async {
            self.connections.close();
            tokio::join!(self.tunnels.end(), self.connections.wait());
        };
        let bound = self.worker().rooms.config.limits.drain_timeout;
        if timeout(bound, finished).await.is_err() {
            tracing::warn!(
                connections = self.connections.len(),
                "requests that did not finish in time are broken off"
            );
        }
    }

    fn begin(self: &Rc<Self>, stream: Stream, peer: IpAddr, purpose: Purpose) {
        let (worker, open) = (self.worker(), &self.process.connections);
        let config = &worker.rooms.config;
        let trusted = config.trusted_proxies.contains(peer);
        let slot =
            match Slot::take(open, peer, trusted, ConnectionLimits::of(&config.limits, self.process.room)) {
                Ok(slot) => slot,
                Err(full) => {
                    if let Some(count) = open.refused() {
                        tracing::warn!(count, peer.address = %peer, "connections were turned away: {full}");
                    }
                    if let Some(turned_away) = open.turn_away() {
                        let over_tls = worker.tls_for(purpose).is_some();
                        self.connections.spawn_local(turn_away(stream, turned_away, over_tls));
                    }
                    return;
                }
            };
        let stopping = self.stopping.clone();
        self.connections.spawn_local(serve(Rc::clone(self), stream, peer, purpose, slot, stopping));
    }
}

/// Clients that don't finish their handshakes leave three quarters of the connections to all others.
fn most_handshakes(rooms: &Rooms) -> usize {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (rooms.config.limits.connections / 4 / threads).max(16)
}

/// Accepts until the door closes, and then what the kernel had taken for it by that time: that would be reset with the
/// socket.
async fn accept(thread: Rc<Thread>, door: Door, purpose: Purpose, closing: CancellationToken) {
    let inherited = door.inherited;
    let acceptor = match Acceptor::new(door) {
        Ok(acceptor) => acceptor,
        Err(error) => {
            tracing::error!(%error, "a listening socket can't be used");
            return thread.stopping.cancel();
        }
    };
    tokio::select! {
        // In this order, for a flood of connections must not keep a door open.
        biased;
        () = closing.cancelled() => {}
        () = accept_all(&thread, &acceptor, purpose) => {}
    }
    // The queue of an inherited socket stays, for the process that comes after this one.
    if !inherited {
        acceptor.stop_new();
        let _ = timeout(LAST_CALL, accept_all(&thread, &acceptor, purpose)).await;
    }
}

/// Accepts. Never ends.
async fn accept_all(thread: &Rc<Thread>, acceptor: &Acceptor, purpose: Purpose) {
    loop {
        match acceptor.accept().await {
            Ok((stream, peer)) => thread.begin(stream, peer, purpose),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
