//! The composition: builds the rooms from the configuration, accepts connections, serves requests, reloads, stops.
//!
//! Each thread has its own runtime, its own listening sockets and its own connections to the
//! upstreams; what they share is read and not locked. A request's way through the rooms is in
//! `gateway/worker.rs`, a connection's bytes in `gateway/wire.rs` and, for HTTP/2, in `gateway/http2/`.
//!
//! Callers: `cli`. Rules live in the rooms below; what is here is the order in which they are asked.

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::admin::AdminSources;
use crate::authn::IssuerState;
use crate::config::Config;
use crate::proxy::{InvalidProxy, Tunnels};
use crate::request::Origin;
use crate::store::{OpenError, StoreError};
use crate::telemetry::audit::{self, About, AuditFileError, Event};

mod connection;
mod control;
mod crew;
mod doors;
mod figures;
mod files;
mod http2;
mod keys;
mod listener;
mod notify;
mod opening;
mod proxy_protocol;
mod rarely;
mod rooms;
mod slot;
mod stream;
mod thread;
mod tls;
mod wire;
mod worker;

pub use control::{Control, ReloadError};
pub use listener::ListenError;
pub use rooms::AccountRooms;
pub use tls::TlsError;

use control::Order;
use crew::{Crew, Pulse};
use doors::{Doors, listed};
use files::Files;
use rooms::{Process, Rooms, mail_links, open_store};
use slot::ConnectionLimits;
use thread::DoorId;

/// File descriptors that are no connection's: listening sockets, the store, logs.
const OWN_DESCRIPTORS: u64 = 64;
/// How long reading a configuration may take.
const LOADING: Duration = Duration::from_secs(30);
/// How long the end of administration and of the store may take, beside the drain.
const CLOSING: Duration = Duration::from_secs(15);

/// Why the gateway does not start, or does not take a configuration over. The sentence is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The file of the audit trail can't be written.
    #[error(transparent)]
    Audit(#[from] AuditFileError),
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
        let room = room_for_connections(ConnectionLimits::of(&config.limits, usize::MAX).most());
        // Of the files as they were read, or a moment later: a change in between is seen at the next reload.
        let files = Files::of(&config.files);
        // First, while no other thread reads the environment (the log's never does): it takes variables out of it.
        let mut doors = Doors::new(threads);
        doors.warn_of_unused_sockets(&config.listen);
        // The store before the ports: a second start of the same configuration finds both taken, and
        // it is the store's error that says by whom.
        let patience = match doors.inherited.len() {
            0 => Duration::ZERO,
            // The process before this one lets go of it at the end of its drain.
            _ => config.limits.drain_timeout + CLOSING,
        };
        audit::open(config.audit.as_deref())?;
        let store = open_store(&config, patience).await?;
        if let Err(error) = doors.change(&listed(&config)).await {
            store.close().await;
            return Err(error.into());
        }
        let config = doors.with_chosen_port(config);
        let rooms = Arc::new(Rooms::first(config, store, room).await?);
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
        let control = self.control.clone();
        let troubles = move || {
            let rooms = control.state().rooms.load();
            rooms.authenticator.issuers().states().iter().filter_map(IssuerState::trouble).collect()
        };
        AdminSources { metrics, ready: Arc::new(move || process.readiness()), troubles: Arc::new(troubles) }
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
        let delivered = CancellationToken::new();
        let delivering = tokio::spawn(process.mailer.clone().deliver(delivered.clone().cancelled_owned()));
        // From here on the rooms are those of the configuration in force.
        drop(rooms);
        let watching = tokio::spawn(files::watch(control.clone()));
        let tending = tokio::spawn(keys::tend(control.clone()));
        let feeding = tokio::spawn(notify::feed_watchdog(crew.pulse()));
        notify::ready(&format!("Listening on {}", doors.shown().join(" ")));
        let serving = async {
            while let Some(order) = orders.recv().await {
                let outcome = reload(&control, &mut doors, &mut crew).await;
                let _ = order.send(outcome);
            }
        };
        let was_asked = tokio::select! {
            () = stop => true,
            // A thread that can't serve stops the others too: half a gateway would go unnoticed.
            () = stopping.cancelled() => false,
            // A reload that hangs holds no stop up. There are orders for as long as there is a `Control`, as here.
            () = serving => false,
        };
        watching.abort();
        tending.abort();
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
        let all_ended = crew.join(limits.drain_timeout).await;
        // To the end: what the last requests put into the outbox may go out as well. It ends within a bound of its own.
        delivered.cancel();
        if delivering.await.is_err() {
            tracing::error!("the worker that sends mails has panicked");
        }
        feeding.abort();
        Ok(Drained { began, doors, process, failed: !(was_asked && all_ended) })
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
    failed: bool,
    process: Arc<Process>,
}

/// The gateway has stopped though nobody asked for it, or a part of it has broken at the stop.
#[derive(Debug, thiserror::Error)]
#[error("a thread of the gateway has failed; the log says why")]
pub struct ThreadFailed;

impl Drained {
    /// Lets go of everything.
    pub async fn close(self) -> Result<(), ThreadFailed> {
        let Self { began, doors, failed, process } = self;
        // Whoever was handed the same sockets may wait for the store: it is the last to go.
        drop(doors);
        process.store.clone().close().await;
        tracing::info!(drained_ms = began.elapsed().as_millis(), "stopped");
        if failed { Err(ThreadFailed) } else { Ok(()) }
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
            // It may have been another one's by then.
            let before = control.with_config(|config| config.audit.clone());
            if let Err(error) = audit::open(before.as_deref()) {
                tracing::error!(%error, "the audit trail is in the log alone");
            }
            let error = error.brief();
            tracing::error!(error, "the configuration was not reloaded: the one before stays in force")
        }
    }
    let event = if outcome.is_ok() { Event::ConfigurationReloaded } else { Event::ConfigurationRefused };
    audit::record(event, About::Server);
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
    // Certificates and secrets may lie on a slow disk; nobody else waits for that. They are looked at before they are
    // read: what changes meanwhile has changed since.
    let known = old.config.files.clone();
    let looks = in_time(move || Files::of(&known)).await?;
    control.state().files.store(Arc::new(looks.clone()));
    let (loaded, looks) = in_time(move || {
        let mut files = BTreeSet::new();
        let loaded = Config::load_noting(&file, &mut files);
        // Of a faulty one those that it names as well: one of them may be what is missing.
        (loaded, looks.renewed(&files))
    })
    .await?;
    control.state().files.store(Arc::new(looks));
    let config = loaded.map_err(ReloadError::Faulty)?;
    old.config.refuse_change(&config).map_err(ReloadError::Faulty)?;
    let refused = |error: StartError| ReloadError::Refused(Arc::new(error));
    audit::open(config.audit.as_deref()).map_err(|error| refused(error.into()))?;
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
    rooms.authenticator.retire_issuers(&old.authenticator);
    crate::telemetry::set_level(level);
    rooms.process.access.set_level(level);
    rooms.process.mailer.configure(rooms.config.mail.clone(), mail_links(&rooms.config));
    control.state().rooms.store(rooms);
    control.state().listening.store(Arc::new(doors.shown()));
    Ok(warnings)
}

/// What waits for a disk, on a thread of its own.
async fn in_time<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> Result<T, ReloadError> {
    let reading = tokio::task::spawn_blocking(read);
    let read = timeout(LOADING, reading).await.map_err(|_| ReloadError::Slow(LOADING))?;
    Ok(read.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())))
}

async fn build(old: &Rooms, config: Config) -> Result<Rooms, StartError> {
    let rooms = old.renewed(config).await?;
    worker::proxy(&rooms, Tunnels::new())?;
    Ok(rooms)
}

/// How many connections there are descriptors for. Each may need a second one for its upstream, and the usual limit of
/// 1024 is for programs of another time. What the operating system allows is taken.
fn room_for_connections(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let allowed = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let Some(allowed) = allowed else { return usize::MAX };
    let room = usize::try_from(allowed.saturating_sub(OWN_DESCRIPTORS) / 2).unwrap_or(usize::MAX).max(8);
    if room < wanted {
        tracing::warn!(
            descriptors = allowed,
            connections = room,
            "this process may open too few file descriptors for limits.connections: fewer connections are taken; raise its limit (LimitNOFILE in systemd)"
        );
    }
    room
}
