//! The composition: builds the rooms from the configuration, accepts connections, serves requests, stops.
//!
//! Each thread has its own runtime, its own listening sockets and its own connections to the
//! upstreams; what they share is read and not locked. A request's way through the rooms is in
//! `gateway/worker.rs`, a connection's bytes in `gateway/wire.rs`.
//!
//! Callers: `cli`. Rules live in the rooms below; what is here is the order in which they are asked.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::lookup_host;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::account::Accounts;
use crate::authn::throttle::Throttle;
use crate::authn::{Authenticator, PasswordLogin, Tokens, bearer};
use crate::config::{Config, ListenAddress};
use crate::gate::Gate;
use crate::password::Passwords;
use crate::portal::{Portal, PortalDoors};
use crate::proxy::{HealthBoard, InvalidProxy, ProxySettings, health};
use crate::request::Origin;
use crate::response::{PageSettings, Pages};
use crate::route::Table;
use crate::store::{OpenError, Store, StoreError, StoreSettings};
use crate::telemetry::AccessWriter;

mod connection;
mod listener;
mod slot;
mod wire;
mod worker;

pub use listener::ListenError;

/// How long requests in flight may take to finish after the stop was asked for.
const DRAIN: Duration = Duration::from_secs(30);

/// Why the gateway does not start. The sentence is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address can't be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A name to listen on has no address.
    #[error("can't listen on {0}: the name has no address here")]
    ListenName(ListenAddress, #[source] Option<io::Error>),
    /// The store can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store can't write the keys of the first start.
    #[error("the store can't keep the keys that are made at the first start: {0}")]
    Store(#[from] StoreError),
    /// A stored key can't be used.
    #[error(transparent)]
    Key(#[from] bearer::UnusableKey),
    /// The upstreams: a configuration that was checked holds none of these.
    #[error(transparent)]
    Proxy(#[from] InvalidProxy),
    /// The operating system has no thread for us.
    #[error("a thread could not be started: {0}")]
    Thread(#[source] io::Error),
}

/// The store, and the rooms that change what is in it: all that administration needs.
pub struct AccountRooms {
    /// Changes accounts.
    pub accounts: Accounts,
    /// Verifies credentials.
    pub authenticator: Arc<Authenticator>,
    /// What tokens in forms are made with.
    csrf_key: [u8; 32],
    /// To be closed at the end.
    pub store: Store,
}

impl AccountRooms {
    /// Opens the store, and builds on it.
    pub async fn open(config: &Config) -> Result<Self, StartError> {
        Self::build(config, open_store(config).await?).await
    }

    /// On an open store: makes the keys that are not there yet.
    pub async fn build(config: &Config, store: Store) -> Result<Self, StartError> {
        let algorithm = config.tokens.algorithm;
        let mut keys = store.signing_keys()?;
        if !keys.iter().any(|key| key.algorithm == algorithm.as_str()) {
            keys = store.ensure_signing_key(bearer::generate_key(algorithm, SystemTime::now())).await?;
        }
        let mut random = [0; 32];
        getrandom::fill(&mut random).expect("the operating system gives random bytes");
        let csrf_key = store.ensure_secret("csrf", random).await?;
        let passwords = Passwords::start(config.password);
        let login = PasswordLogin::new(store.clone(), passwords, Throttle::new(config.login_limits));
        let tokens = Tokens::new(config.tokens.clone(), &keys)?;
        let authenticator =
            Authenticator::new(store.clone(), login, tokens, config.session.clone(), config.cache);
        let authenticator = Arc::new(authenticator);
        let accounts = Accounts::new(store.clone(), Arc::clone(&authenticator), config.public_url.host());
        Ok(Self { accounts, authenticator, csrf_key, store })
    }
}

/// What the threads share.
struct Rooms {
    access: AccessWriter,
    authenticator: Arc<Authenticator>,
    connections: AtomicUsize,
    gate: Arc<Gate>,
    health: HealthBoard,
    pages: Arc<Pages>,
    portal: Portal,
    public_url: Origin,
}

/// A gateway that listens and doesn't answer yet.
pub struct Gateway {
    addresses: Vec<SocketAddr>,
    config: Arc<Config>,
    draining: Arc<AtomicBool>,
    /// For each thread, one socket of every address.
    listeners: Vec<Vec<TcpListener>>,
    rooms: Arc<Rooms>,
    /// Administration.
    accounts: AccountRooms,
}

impl Gateway {
    /// Opens the store, builds the rooms and binds every address; nothing is answered before `run`.
    pub async fn open(config: Config) -> Result<Self, StartError> {
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        raise_descriptor_limit(config.limits.connections);
        // The store before the ports: a second start of the same configuration finds both taken, and
        // it is the store's error that says by whom.
        let store = open_store(&config).await?;
        let (addresses, listeners) = match bind(&config.listen, threads).await {
            Ok(bound) => bound,
            Err(error) => {
                store.close().await;
                return Err(error);
            }
        };
        let mut config = config;
        let chosen = addresses.first().map_or(0, SocketAddr::port);
        config.public_url = config.public_url.with_chosen_port(chosen);
        let accounts = AccountRooms::build(&config, store).await?;
        let draining = Arc::new(AtomicBool::new(false));
        let rooms = Arc::new(build(&config, &accounts, &draining));
        // Built once here, so that a fault is told before anything is answered.
        worker::proxy(&config, crate::proxy::Tunnels::new(), &rooms.health)?;
        Ok(Self { accounts, addresses, config: Arc::new(config), draining, listeners, rooms })
    }

    /// What is listened on, with the ports that the kernel chose.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The origin that browsers use.
    pub fn public_url(&self) -> &Origin {
        &self.config.public_url
    }

    /// How the servers of the upstreams are.
    pub fn health(&self) -> &HealthBoard {
        &self.rooms.health
    }

    /// The rooms that change accounts, for the admin socket.
    pub fn accounts(&self) -> &AccountRooms {
        &self.accounts
    }

    /// Answers until `stop` is done; then finishes what is running, within a bound, and closes the store.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), StartError> {
        let stopping = CancellationToken::new();
        let mut threads = Vec::new();
        for (number, listeners) in self.listeners.into_iter().enumerate() {
            let (rooms, config) = (Arc::clone(&self.rooms), Arc::clone(&self.config));
            let stopping = stopping.clone();
            let thread = std::thread::Builder::new()
                .name(format!("gateway-{number}"))
                .spawn(move || worker::run(rooms, &config, listeners, stopping))
                .map_err(StartError::Thread)?;
            threads.push(thread);
        }
        let checks = health::run(self.rooms.health.clone(), self.config.upstreams.clone());
        let checks = AbortOnDropHandle::new(tokio::spawn(checks));
        tokio::select! {
            () = stop => {}
            // A thread that can't serve stops the others too: half a gateway would go unnoticed.
            () = stopping.cancelled() => {}
        }
        // Readiness turns first, for whoever still asks on an open connection.
        self.draining.store(true, Ordering::Relaxed);
        stopping.cancel();
        let began = Instant::now();
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a thread of the gateway has panicked");
                }
            }
        });
        // Each thread ends by itself within the bound; one that doesn't is left behind with the process.
        if tokio::time::timeout(DRAIN + Duration::from_secs(5), joined).await.is_err() {
            tracing::warn!("a thread did not end in time");
        }
        // Requests that are finished in the drain are still given to servers that are well.
        drop(checks);
        self.accounts.store.close().await;
        tracing::info!(drained_ms = began.elapsed().as_millis(), "stopped");
        Ok(())
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

async fn open_store(config: &Config) -> Result<Store, StartError> {
    let settings = StoreSettings::at(&config.store);
    let opened = tokio::task::spawn_blocking(|| Store::open(settings)).await;
    Ok(opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?)
}

async fn bind(
    listen: &[ListenAddress],
    threads: usize,
) -> Result<(Vec<SocketAddr>, Vec<Vec<TcpListener>>), StartError> {
    let mut addresses = Vec::new();
    let mut by_thread: Vec<Vec<TcpListener>> = (0..threads).map(|_| Vec::new()).collect();
    for wanted in listen {
        let found = lookup_host((wanted.host.as_str(), wanted.port)).await;
        let found: Vec<SocketAddr> =
            found.map_err(|error| StartError::ListenName(wanted.clone(), Some(error)))?.collect();
        if found.is_empty() {
            return Err(StartError::ListenName(wanted.clone(), None));
        }
        for address in found {
            let sockets = listener::listen(address, threads)?;
            addresses.push(sockets[0].local_addr().map_err(|error| ListenError::Other(address, error))?);
            for (thread, socket) in by_thread.iter_mut().zip(sockets) {
                thread.push(socket);
            }
        }
    }
    Ok((addresses, by_thread))
}

fn build(config: &Config, accounts: &AccountRooms, draining: &Arc<AtomicBool>) -> Rooms {
    let pages = Arc::new(Pages::new(PageSettings {
        prefix: config.portal.prefix.clone(),
        title: config.portal.title.clone(),
    }));
    let table = Table::new(config.routes.clone());
    let gate = Arc::new(Gate::new(table, Arc::clone(&accounts.authenticator), config.public_url.clone()));
    let ready = {
        let (draining, store) = (Arc::clone(draining), accounts.store.clone());
        move || !draining.load(Ordering::Relaxed) && store.health().is_ok()
    };
    let doors = PortalDoors {
        accounts: accounts.accounts.clone(),
        authenticator: Arc::clone(&accounts.authenticator),
        csrf_key: accounts.csrf_key,
        pages: Arc::clone(&pages),
        ready: Arc::new(ready),
    };
    let hosts = config.routes.iter().filter_map(|route| route.host.clone()).collect();
    let portal = Portal::new(config.portal.clone(), &config.session, config.public_url.clone(), hosts, doors);
    Rooms {
        access: AccessWriter::start(config.log),
        authenticator: Arc::clone(&accounts.authenticator),
        connections: AtomicUsize::new(0),
        gate,
        health: HealthBoard::new(),
        pages,
        portal,
        public_url: config.public_url.clone(),
    }
}

impl Rooms {
    fn proxy_settings(config: &Config) -> ProxySettings {
        let own = config.routes.iter().map(|route| &route.identity_headers);
        let maps = own.chain([&config.identity_headers]);
        ProxySettings {
            body_bytes: config.limits.body_bytes,
            cookie_names: Portal::cookie_names(&config.session),
            identity_names: maps.flat_map(|map| map.names().cloned()).collect(),
        }
    }
}
