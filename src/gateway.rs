//! The composition: builds the rooms from the configuration, accepts connections, serves requests, reloads, stops.
//!
//! Each thread has its own runtime, its own listening sockets and its own connections to the
//! upstreams; what they share is read and not locked. A request's way through the rooms is in
//! `gateway/worker.rs`, a connection's bytes in `gateway/wire.rs` and, for HTTP/2, in `gateway/http2/`.
//!
//! Callers: `cli`. Rules live in the rooms below; what is here is the order in which they are asked.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::admin::AdminSources;
use crate::config::{Config, Listen};
use crate::proxy::{InvalidProxy, Tunnels, health};
use crate::request::Origin;
use crate::store::{OpenError, StoreError};

mod connection;
mod control;
mod figures;
mod files;
mod http2;
mod listener;
mod opening;
mod rooms;
mod slot;
mod stream;
mod wire;
mod worker;

pub use control::{Control, ReloadError};
pub use listener::ListenError;
pub use rooms::AccountRooms;

use control::Order;
use listener::{Beside, Bound, Door, Inherited};
use rooms::{Rooms, open_store};
use slot::ConnectionLimits;
use worker::{Change, DoorId};

/// Why the gateway does not start, or does not take a configuration over. The sentence is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address can't be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The store can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store can't write the keys of the first start.
    #[error("the store can't keep the keys that are made at the first start: {0}")]
    Store(#[from] StoreError),
    /// A stored key can't be used.
    #[error(transparent)]
    Key(#[from] crate::authn::bearer::UnusableKey),
    /// The upstreams: a configuration that was checked holds none of these.
    #[error(transparent)]
    Proxy(#[from] InvalidProxy),
    /// The operating system has no thread for us.
    #[error("a thread could not be started: {0}")]
    Thread(#[source] io::Error),
}

/// A gateway that listens and doesn't answer yet.
pub struct Gateway {
    control: Control,
    doors: Doors,
    orders: mpsc::Receiver<Order>,
    rooms: Arc<Rooms>,
    threads: usize,
}

impl Gateway {
    /// Opens the store, builds the rooms and binds every address; nothing is answered before `run`.
    pub async fn open(config: Config) -> Result<Self, StartError> {
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        raise_descriptor_limit(ConnectionLimits::of(&config.limits).most());
        let looks = files::look_at(&config.files);
        // The store before the ports: a second start of the same configuration finds both taken, and
        // it is the store's error that says by whom.
        let store = open_store(&config).await?;
        let mut doors = Doors::new(threads);
        if let Err(error) = doors.change(&config.listen).await {
            store.close().await;
            return Err(error.into());
        }
        let config = doors.with_chosen_port(config);
        let rooms = Arc::new(Rooms::first(config, store).await?);
        // Built once here, so that a fault is told before anything is answered.
        worker::proxy(&rooms, Tunnels::new())?;
        figures::name(&rooms);
        let (control, orders) = Control::new(Arc::clone(&rooms), looks);
        control.state().listening.store(Arc::new(doors.shown()));
        Ok(Self { control, doors, orders, rooms, threads })
    }

    /// What is listened on, with the ports that the kernel chose.
    pub fn listening(&self) -> Vec<String> {
        self.doors.shown()
    }

    /// The first address with a port that is listened on.
    pub fn address(&self) -> Option<SocketAddr> {
        self.doors.addresses().next()
    }

    /// The origin that browsers use.
    pub fn public_url(&self) -> &Origin {
        &self.rooms.config.public_url
    }

    /// What is told to those who watch.
    pub fn watched(&self) -> AdminSources {
        let process = Arc::clone(&self.rooms.process);
        let metrics = process.metrics.clone();
        AdminSources { metrics, ready: Arc::new(move || process.readiness()) }
    }

    /// What is in force, and the way to change it.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Answers until `stop` is done; then finishes what is running, within a bound, and closes the store.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), StartError> {
        let Self { control, mut doors, mut orders, rooms, threads } = self;
        let process = Arc::clone(&rooms.process);
        let stopping = CancellationToken::new();
        let mut crew = Crew::start(threads, &stopping)?;
        crew.change(&rooms, doors.fresh(), &[]).await;
        let watching = tokio::spawn(files::watch(control.clone()));
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                // A thread that can't serve stops the others too: half a gateway would go unnoticed.
                () = stopping.cancelled() => break,
                Some(order) = orders.recv() => {
                    let outcome = reload(&control, &mut doors, &mut crew).await;
                    let _ = order.send(outcome);
                }
            }
        }
        watching.abort();
        // Who orders a reload from now on is told that it is too late.
        drop(orders);
        // Readiness turns first, for whoever still asks on an open connection.
        process.draining.store(true, Ordering::Relaxed);
        stopping.cancel();
        let began = Instant::now();
        crew.join(control.state().rooms.load().config.limits.drain_timeout).await;
        drop(doors);
        process.store.clone().close().await;
        tracing::info!(drained_ms = began.elapsed().as_millis(), "stopped");
        Ok(())
    }

    /// Lets go of everything without having answered.
    pub async fn close(self) {
        self.rooms.process.store.clone().close().await;
    }
}

/// Reads the configuration again and puts it into force, or changes nothing.
async fn reload(control: &Control, doors: &mut Doors, crew: &mut Crew) -> Result<Vec<String>, ReloadError> {
    let outcome = try_reload(control, doors, crew).await;
    match &outcome {
        Ok(warnings) => {
            tracing::info!(listening = doors.shown().join(" "), "the configuration was reloaded");
            for warning in warnings {
                tracing::warn!("{warning}");
            }
        }
        Err(error) => {
            tracing::error!(%error, "the configuration was not reloaded: the one before stays in force")
        }
    }
    control.note(outcome.as_ref().map(drop));
    outcome
}

async fn try_reload(
    control: &Control,
    doors: &mut Doors,
    crew: &mut Crew,
) -> Result<Vec<String>, ReloadError> {
    let old = control.state().rooms.load_full();
    let file = old.config.file.clone();
    // Before they are read: a change in between is seen by the watch.
    let mut looks = files::look_at(&old.config.files);
    control.state().looks.store(Arc::new(looks.clone()));
    // Certificates and secrets may lie on a slow disk; nobody else waits for that.
    let loaded = tokio::task::spawn_blocking(move || Config::load(&file)).await;
    let loaded = loaded.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    let config = loaded.map_err(ReloadError::Faulty)?;
    old.config.refuse_change(&config).map_err(ReloadError::Faulty)?;
    let refused = |error: StartError| ReloadError::Refused(Arc::new(error));
    // New sockets before the old ones close: there is no moment in which nobody listens.
    let closing = doors.change(&config.listen).await.map_err(|error| refused(error.into()))?;
    let warnings = config.warnings.iter().map(ToString::to_string).collect();
    let config = doors.with_chosen_port(config);
    let level = config.log.level;
    let named = files::look_at(config.files.iter().filter(|file| !looks.contains_key(*file)));
    looks.retain(|file, _| config.files.contains(file));
    looks.extend(named);
    let rooms = match build(&old, config).await {
        Ok(rooms) => Arc::new(rooms),
        Err(error) => {
            doors.undo(closing);
            return Err(refused(error));
        }
    };
    let closed: Vec<DoorId> = closing.iter().map(|entry| entry.id).collect();
    // Before any thread counts under a new name.
    figures::name(&rooms);
    crew.change(&rooms, doors.fresh(), &closed).await;
    crate::telemetry::set_level(level);
    rooms.process.access.set_level(level);
    control.state().rooms.store(rooms);
    control.state().listening.store(Arc::new(doors.shown()));
    control.state().looks.store(Arc::new(looks));
    Ok(warnings)
}

async fn build(old: &Rooms, config: Config) -> Result<Rooms, StartError> {
    let rooms = old.renewed(config).await?;
    worker::proxy(&rooms, Tunnels::new())?;
    Ok(rooms)
}

/// What is listened on.
struct Doors {
    entries: Vec<Entry>,
    inherited: Inherited,
    next: DoorId,
    threads: usize,
}

/// One address of the configuration.
struct Entry {
    bound: Bound,
    id: DoorId,
    listen: Listen,
}

impl Doors {
    fn new(threads: usize) -> Self {
        Self { entries: Vec::new(), inherited: Inherited::take(), next: 0, threads }
    }

    /// Opens what is listed and isn't open yet. Gives what is open and isn't listed any more, to be closed. Where
    /// something can't be opened nothing changes.
    async fn change(&mut self, listed: &[Listen]) -> Result<Vec<Entry>, ListenError> {
        let own_ports: Vec<u16> = self.addresses().map(|address| address.port()).collect();
        let beside = Beside { listed, own_ports: &own_ports };
        let mut opened = Vec::new();
        for listen in listed {
            if self.entries.iter().any(|entry| entry.listen == *listen) {
                continue;
            }
            for bound in listener::open(listen, self.threads, &self.inherited, &beside).await? {
                opened.push(Entry { bound, id: self.next, listen: listen.clone() });
                self.next += 1;
            }
        }
        let (kept, gone) = std::mem::take(&mut self.entries)
            .into_iter()
            .partition::<Vec<_>, _>(|entry| listed.contains(&entry.listen));
        self.entries = kept;
        self.entries.append(&mut opened);
        Ok(gone)
    }

    /// Goes back to what was open before a change that came to nothing.
    fn undo(&mut self, gone: Vec<Entry>) {
        // What was opened for it still has its sockets, which no thread was given.
        self.entries.retain(|entry| entry.bound.doors.is_empty());
        self.entries.extend(gone);
    }

    /// The sockets that no thread has yet, one for each thread in a row.
    fn fresh(&mut self) -> Vec<(DoorId, Vec<Door>)> {
        let fresh = self.entries.iter_mut().filter(|entry| !entry.bound.doors.is_empty());
        fresh.map(|entry| (entry.id, std::mem::take(&mut entry.bound.doors))).collect()
    }

    fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.entries.iter().filter_map(|entry| entry.bound.address)
    }

    fn shown(&self) -> Vec<String> {
        self.entries.iter().map(|entry| entry.bound.shown.clone()).collect()
    }

    /// The public URL with the port that the kernel chose, where it has port 0.
    fn with_chosen_port(&self, mut config: Config) -> Config {
        let chosen = self.addresses().next().map_or(0, |address| address.port());
        config.public_url = config.public_url.with_chosen_port(chosen);
        config
    }
}

/// The threads that serve.
struct Crew {
    /// Of the servers of the configuration in force.
    checks: Option<AbortOnDropHandle<()>>,
    changes: Vec<mpsc::UnboundedSender<Change>>,
    threads: Vec<JoinHandle<()>>,
}

impl Crew {
    fn start(count: usize, stopping: &CancellationToken) -> Result<Self, StartError> {
        let mut crew = Self { checks: None, changes: Vec::new(), threads: Vec::new() };
        for number in 0..count {
            let (sender, changes) = mpsc::unbounded_channel();
            let stopping = stopping.clone();
            let thread = std::thread::Builder::new()
                .name(format!("gateway-{number}"))
                .spawn(move || worker::run(changes, stopping))
                .map_err(StartError::Thread)?;
            crew.changes.push(sender);
            crew.threads.push(thread);
        }
        Ok(crew)
    }

    /// Gives every thread its rooms and sockets, waits until each has taken them, and has the servers checked.
    async fn change(&mut self, rooms: &Arc<Rooms>, mut open: Vec<(DoorId, Vec<Door>)>, close: &[DoorId]) {
        let mut taken = Vec::new();
        for thread in &self.changes {
            let (done, when_done) = oneshot::channel();
            let open = open.iter_mut().filter_map(|(id, doors)| Some((*id, doors.pop()?))).collect();
            let change = Change { close: close.to_vec(), done, open, rooms: Arc::clone(rooms) };
            // A thread that is gone has stopped the others.
            if thread.send(change).is_ok() {
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

    /// Waits until every thread has ended, each of which gives its requests so much time.
    async fn join(self, drain: Duration) {
        let threads = self.threads;
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a thread of the gateway has panicked");
                }
            }
        });
        // Each thread ends by itself within the bound; one that doesn't is left behind with the process.
        if tokio::time::timeout(drain + Duration::from_secs(5), joined).await.is_err() {
            tracing::warn!("a thread did not end in time");
        }
    }
}

/// Each connection may need a second descriptor for its upstream, and the usual limit of 1024 is for
/// programs of another time. What the operating system allows is taken.
fn raise_descriptor_limit(connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let allowed = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let wanted = connections as u64 * 2 + 64;
    if let Some(allowed) = allowed.filter(|&allowed| allowed < wanted) {
        tracing::warn!(
            allowed,
            wanted,
            "limits.connections needs more file descriptors than this process may open; raise its limit (LimitNOFILE in systemd)"
        );
    }
}
