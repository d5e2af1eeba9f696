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
use std::os::unix::fs::PermissionsExt as _;
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
mod notify;
mod opening;
mod proxy_protocol;
mod rooms;
mod slot;
mod stream;
mod tls;
mod wire;
mod worker;

pub use control::{Control, ReloadError};
pub use listener::ListenError;
pub use rooms::AccountRooms;
pub use tls::TlsError;

use control::Order;
use files::Files;
use listener::{Beside, Bound, Door, Inherited, Purpose};
use rooms::{Process, Rooms, open_store};
use slot::ConnectionLimits;
use worker::{Change, DoorId, Message};

/// How long a socket that is closed may stay with a thread that is busy.
const LEAVING: Duration = Duration::from_secs(5);
/// How long the end of administration and of the store may take, beside the drain.
const CLOSING: Duration = Duration::from_secs(15);

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
    /// TLS: a configuration that was checked holds nothing of this.
    #[error(transparent)]
    Tls(#[from] TlsError),
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
        // Of the files as they were read, or a moment later: a change in between is seen at the next reload.
        let files = Files::of(&config.files);
        // First, while this is the only thread: it takes variables out of the environment.
        let mut doors = Doors::new(threads);
        doors.warn_of_unused_sockets(&config.listen);
        // The store before the ports: a second start of the same configuration finds both taken, and
        // it is the store's error that says by whom.
        let patience = match doors.inherited.len() {
            0 => Duration::ZERO,
            // The process before this one lets go of it at the end of its drain.
            _ => config.limits.drain_timeout + CLOSING,
        };
        let store = open_store(&config, patience).await?;
        if let Err(error) = doors.change(&listed(&config)).await {
            store.close().await;
            return Err(error.into());
        }
        let config = doors.with_chosen_port(config);
        let rooms = Arc::new(Rooms::first(config, store).await?);
        // Built once here, so that a fault is told before anything is answered.
        worker::proxy(&rooms, Tunnels::new())?;
        figures::name(&rooms);
        let (control, orders) = Control::new(Arc::clone(&rooms), files);
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

    /// Answers until `stop` is done; then finishes what is running, within a bound.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<Drained, StartError> {
        let Self { control, mut doors, mut orders, rooms, threads } = self;
        let process = Arc::clone(&rooms.process);
        let stopping = CancellationToken::new();
        let mut crew = Crew::start(threads, &stopping)?;
        crew.change(&rooms, doors.fresh(), &[]).await;
        // From here on the rooms are those of the configuration in force.
        drop(rooms);
        let watching = tokio::spawn(files::watch(control.clone()));
        let feeding = tokio::spawn(notify::feed_watchdog(crew.pulse()));
        notify::ready(&format!("Listening on {}", doors.shown().join(" ")));
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
        // Readiness turns first, for whoever asks on an open connection, or on a new one within the delay.
        process.draining.store(true, Ordering::Relaxed);
        let limits = control.with_config(|config| config.limits);
        let (delay, at_most) = (limits.drain_delay, limits.drain_timeout + CLOSING);
        if !delay.is_zero() {
            tracing::info!(?delay, "stopping: not ready any more; connections are taken for a while yet");
            notify::stopping("Not ready; connections are taken for a while yet", delay + at_most);
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = stopping.cancelled() => {}
            }
        }
        tracing::info!("stopping: no new connections; what is running is finished");
        notify::stopping("Finishing what is running", at_most);
        let began = Instant::now();
        // The files of Unix sockets first: then nobody comes while their queues are emptied for the last time.
        doors.hide();
        stopping.cancel();
        crew.join(limits.drain_timeout).await;
        feeding.abort();
        Ok(Drained { began, doors, process })
    }

    /// Lets go of everything without having answered.
    pub async fn close(self) {
        self.rooms.process.store.clone().close().await;
    }
}

/// A gateway that answers no more, and still has its store: until it is closed, administration goes on.
pub struct Drained {
    began: Instant,
    doors: Doors,
    process: Arc<Process>,
}

impl Drained {
    /// Lets go of everything.
    pub async fn close(self) {
        let Self { began, doors, process } = self;
        // Whoever was handed the same sockets may wait for the store: it is the last to go.
        drop(doors);
        process.store.clone().close().await;
        tracing::info!(drained_ms = began.elapsed().as_millis(), "stopped");
    }
}

/// Reads the configuration again and puts it into force, or changes nothing.
async fn reload(control: &Control, doors: &mut Doors, crew: &mut Crew) -> Result<Vec<String>, ReloadError> {
    notify::reloading();
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
    let listening = doors.shown().join(" ");
    notify::ready(&match &outcome {
        Ok(_) => format!("Listening on {listening}"),
        Err(_) => format!(
            "Listening on {listening}; the last reload was refused, and the configuration before it is in force"
        ),
    });
    outcome
}

async fn try_reload(
    control: &Control,
    doors: &mut Doors,
    crew: &mut Crew,
) -> Result<Vec<String>, ReloadError> {
    let old = control.state().rooms.load_full();
    let file = old.config.file.clone();
    // Looked at before they are read: what changes meanwhile has changed since.
    let looks = Files::of(&old.config.files);
    control.state().files.store(Arc::new(looks.clone()));
    // Certificates and secrets may lie on a slow disk; nobody else waits for that.
    let loaded = tokio::task::spawn_blocking(move || Config::load(&file)).await;
    let loaded = loaded.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    let config = loaded.map_err(ReloadError::Faulty)?;
    old.config.refuse_change(&config).map_err(ReloadError::Faulty)?;
    let refused = |error: StartError| ReloadError::Refused(Arc::new(error));
    // New sockets before the old ones close: there is no moment in which nobody listens.
    let mut closing = doors.change(&listed(&config)).await.map_err(|error| refused(error.into()))?;
    let warnings = config.warnings.iter().map(ToString::to_string).collect();
    let config = doors.with_chosen_port(config);
    let level = config.log.level;
    let rooms = match build(&old, config).await {
        Ok(rooms) => Arc::new(rooms),
        Err(error) => {
            doors.undo(closing);
            return Err(refused(error));
        }
    };
    doors.settle(&mut closing);
    let closed: Vec<DoorId> = closing.gone.iter().map(|entry| entry.id).collect();
    // Before any thread counts under a new name.
    figures::name(&rooms);
    crew.change(&rooms, doors.fresh(), &closed).await;
    crate::telemetry::set_level(level);
    rooms.process.access.set_level(level);
    control.state().files.store(Arc::new(looks.renewed(&rooms.config.files)));
    control.state().rooms.store(rooms);
    control.state().listening.store(Arc::new(doors.shown()));
    Ok(warnings)
}

async fn build(old: &Rooms, config: Config) -> Result<Rooms, StartError> {
    let rooms = old.renewed(config).await?;
    worker::proxy(&rooms, Tunnels::new())?;
    Ok(rooms)
}

/// What a configuration listens on, and what for.
fn listed(config: &Config) -> Vec<(Listen, Purpose)> {
    let serving = config.listen.iter().map(|listen| (listen.clone(), Purpose::Serve));
    let redirecting = config.tls.iter().flat_map(|tls| &tls.redirect_from);
    serving.chain(redirecting.map(|address| (Listen::Tcp(address.clone()), Purpose::Redirect))).collect()
}

/// What is listened on.
struct Doors {
    entries: Vec<Entry>,
    inherited: Inherited,
    /// Ports that were closed a moment ago: some thread may still have a socket there.
    leaving: Vec<(u16, Instant)>,
    next: DoorId,
    threads: usize,
}

/// One address of the configuration.
struct Entry {
    bound: Bound,
    id: DoorId,
    listen: Listen,
    purpose: Purpose,
}

/// What a change takes away, for as long as it may still be undone.
struct Closing {
    gone: Vec<Entry>,
    /// Unix sockets that were given another mode, and their mode before.
    modes: Vec<(DoorId, u32)>,
}

impl Entry {
    /// Whether it is what the configuration lists there, with another mode at most.
    fn is(&self, listen: &Listen, purpose: Purpose) -> bool {
        let same = match (&self.listen, listen) {
            (Listen::Unix { path, .. }, Listen::Unix { path: listed, .. }) => path == listed,
            (Listen::Systemd | Listen::Tcp(_) | Listen::Unix { .. }, _) => self.listen == *listen,
        };
        same && self.purpose == purpose
    }

    /// Whether it takes IPv4, or leaves it, as it would if it were opened now.
    fn fits(&self, beside: &Beside<'_>) -> bool {
        self.bound.address.is_none_or(|address| {
            matches!(self.listen, Listen::Systemd) || beside.leaves_v4(address) == self.bound.only_v6
        })
    }

    /// Gives a Unix socket another mode; says which it had.
    fn change_mode(&mut self, listed: u32) -> Result<Option<u32>, ListenError> {
        let Listen::Unix { mode, path } = &mut self.listen else { return Ok(None) };
        if *mode == listed {
            return Ok(None);
        }
        let permissions = std::fs::Permissions::from_mode(listed);
        std::fs::set_permissions(&*path, permissions)
            .map_err(|error| ListenError::Other(format!("unix:{}", path.display()), error))?;
        Ok(Some(std::mem::replace(mode, listed)))
    }
}

impl Doors {
    fn new(threads: usize) -> Self {
        Self { entries: Vec::new(), inherited: Inherited::take(), leaving: Vec::new(), next: 0, threads }
    }

    /// Sockets that nobody accepts at keep their clients waiting for ever.
    fn warn_of_unused_sockets(&self, listed: &[Listen]) {
        if self.inherited.len() > 0 && !listed.contains(&Listen::Systemd) {
            tracing::warn!(
                sockets = self.inherited.len(),
                "systemd has handed over sockets, and `listen` does not say `systemd`: whoever connects to them waits in vain"
            );
        }
    }

    /// Opens what is listed and isn't open yet. Gives what is open and isn't listed any more, to be closed. Where
    /// something can't be opened nothing changes.
    async fn change(&mut self, listed: &[(Listen, Purpose)]) -> Result<Closing, ListenError> {
        self.leaving.retain(|(_, since)| since.elapsed() < LEAVING);
        let leaving = self.leaving.iter().map(|(port, _)| *port);
        let own = self.entries.iter().filter_map(|entry| entry.bound.address);
        let mut own_ports: Vec<u16> = own.map(|address| address.port()).chain(leaving).collect();
        let all: Vec<Listen> = listed.iter().map(|(listen, _)| listen.clone()).collect();
        let mut opened: Vec<Entry> = Vec::new();
        for (listen, purpose) in listed {
            let beside = Beside { listed: &all, own_ports: &own_ports };
            if self.entries.iter().any(|entry| entry.is(listen, *purpose) && entry.fits(&beside)) {
                continue;
            }
            for bound in listener::open(listen, self.threads, &self.inherited, &beside).await? {
                opened.push(Entry { bound, id: self.next, listen: listen.clone(), purpose: *purpose });
                self.next += 1;
            }
            let ports = opened.iter().filter_map(|entry| entry.bound.address);
            own_ports.extend(ports.map(|address| address.port()));
        }
        let beside = Beside { listed: &all, own_ports: &own_ports };
        let is_listed = |entry: &Entry| {
            entry.fits(&beside) && listed.iter().any(|(listen, purpose)| entry.is(listen, *purpose))
        };
        let (kept, gone) = std::mem::take(&mut self.entries).into_iter().partition::<Vec<_>, _>(is_listed);
        self.entries = kept;
        self.entries.append(&mut opened);
        let mut closing = Closing { gone, modes: Vec::new() };
        match self.change_modes(listed, &mut closing.modes) {
            Ok(()) => Ok(closing),
            Err(error) => {
                self.undo(closing);
                Err(error)
            }
        }
    }

    fn change_modes(
        &mut self,
        listed: &[(Listen, Purpose)],
        before: &mut Vec<(DoorId, u32)>,
    ) -> Result<(), ListenError> {
        for entry in &mut self.entries {
            let mode = listed.iter().find_map(|(listen, purpose)| match listen {
                Listen::Unix { mode, .. } if entry.is(listen, *purpose) => Some(*mode),
                Listen::Systemd | Listen::Tcp(_) | Listen::Unix { .. } => None,
            });
            if let Some(mode) = mode
                && let Some(old) = entry.change_mode(mode)?
            {
                before.push((entry.id, old));
            }
        }
        Ok(())
    }

    /// Takes the files of Unix sockets away, before the sockets are closed.
    fn hide(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.bound.file = None);
    }

    /// A change is in force, and won't be undone. The files of the Unix sockets that go are taken away first: nobody finds
    /// them any more, and who waits at them is still answered.
    fn settle(&mut self, closing: &mut Closing) {
        for entry in &mut closing.gone {
            entry.bound.file = None;
            self.leaving.extend(entry.bound.address.map(|address| (address.port(), Instant::now())));
        }
    }

    /// Goes back to what was open before a change that came to nothing.
    fn undo(&mut self, closing: Closing) {
        // What was opened for it still has its sockets, which no thread was given.
        self.entries.retain(|entry| entry.bound.doors.is_empty());
        for (id, mode) in closing.modes {
            let changed = self.entries.iter_mut().find(|entry| entry.id == id);
            if let Some(Err(error)) = changed.map(|entry| entry.change_mode(mode)) {
                tracing::error!(%error, "a socket did not get its mode back");
            }
        }
        self.entries.extend(closing.gone);
    }

    /// The sockets that no thread has yet, one for each thread in a row.
    fn fresh(&mut self) -> Vec<(DoorId, Purpose, Vec<Door>)> {
        let fresh = self.entries.iter_mut().filter(|entry| !entry.bound.doors.is_empty());
        fresh.map(|entry| (entry.id, entry.purpose, std::mem::take(&mut entry.bound.doors))).collect()
    }

    /// Where requests are answered.
    fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let serving = self.entries.iter().filter(|entry| entry.purpose == Purpose::Serve);
        serving.filter_map(|entry| entry.bound.address)
    }

    fn shown(&self) -> Vec<String> {
        let shown = |entry: &Entry| match entry.purpose {
            Purpose::Redirect => format!("{} (redirects)", entry.bound.shown),
            Purpose::Serve => entry.bound.shown.clone(),
        };
        self.entries.iter().map(shown).collect()
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
    messages: Vec<mpsc::UnboundedSender<Message>>,
    threads: Vec<JoinHandle<()>>,
}

impl Crew {
    fn start(count: usize, stopping: &CancellationToken) -> Result<Self, StartError> {
        let mut crew = Self { checks: None, messages: Vec::new(), threads: Vec::new() };
        for number in 0..count {
            let (sender, messages) = mpsc::unbounded_channel();
            let stopping = stopping.clone();
            let thread = std::thread::Builder::new()
                .name(format!("gateway-{number}"))
                .spawn(move || worker::run(messages, stopping))
                .map_err(StartError::Thread)?;
            crew.messages.push(sender);
            crew.threads.push(thread);
        }
        Ok(crew)
    }

    /// Gives every thread its rooms and sockets, waits until each has taken them, and has the servers checked.
    async fn change(
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
            // A thread that is gone has stopped the others.
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
    fn pulse(&self) -> Pulse {
        Pulse(self.messages.clone())
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

/// Asks the threads whether they turn.
struct Pulse(Vec<mpsc::UnboundedSender<Message>>);

impl Pulse {
    /// Done when each has answered. A thread that has ended is not asked: the end of all is what ends it.
    async fn answers(&self) {
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
