//! Orders to the running gateway: which rooms are in force, and the reload that changes them.
//!
//! A faulty configuration changes nothing. A good one is built whole before any thread hears of it:
//! its rooms, its listening sockets; then every thread swaps, and whoever ordered it is answered
//! when the last one has.
//!
//! Callers: `gateway` runs it; `cli` orders, from a signal, the admin socket or the watch on the files.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};

use super::StartError;
use super::files::Files;
use super::rooms::Rooms;
use crate::admin::{Command, Failure, Moment, ReloadStatus, Reply, ServerStatus, UpstreamServer, perform};
use crate::config::{Config, Faults};
use crate::proxy::ServerSnapshot;
use crate::telemetry::metrics::Reload;

/// Orders that wait; who finds no room is told that the gateway is busy with reloads.
const WAITING: usize = 8;

/// Why a configuration was not taken over. Everything goes on as before.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file is faulty, or changes what can't change; each fault has its place.
    #[error("{0}")]
    Faulty(Faults),
    /// The gateway is stopping, or has too many orders already.
    #[error("the gateway takes no orders now: it is stopping, or reloading already")]
    NotNow,
    /// A file of the configuration can't be read in time: a disk that hangs, a pipe that nobody writes to.
    #[error("reading the configuration and its files took longer than {} s", .0.as_secs())]
    Slow(Duration),
    /// It is sound, and could not be put into force: an address that is taken, say.
    #[error("{0}")]
    Refused(Arc<StartError>),
}

impl ReloadError {
    /// For the log: of the file no more than places, so that nothing that stands beside a fault shows up there.
    pub(super) fn brief(&self) -> String {
        match self {
            Self::Faulty(faults) => faults.brief(),
            Self::NotNow | Self::Refused(_) | Self::Slow(_) => self.to_string(),
        }
    }
}

/// What is in force, and the way to change it. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    orders: mpsc::Sender<Order>,
    state: Arc<State>,
}

/// A reload, and who waits for it.
pub(super) type Order = oneshot::Sender<Result<Vec<String>, ReloadError>>;

pub(super) struct State {
    /// As they were looked at before they were last read, for better or worse.
    pub(super) files: ArcSwap<Files>,
    pub(super) last_reload: ArcSwap<Option<ReloadStatus>>,
    /// As it is told in `status`.
    pub(super) listening: ArcSwap<Vec<String>>,
    pub(super) rooms: ArcSwap<Rooms>,
    pub(super) started_at: SystemTime,
}

impl Control {
    pub(super) fn new(rooms: Arc<Rooms>, files: Files) -> (Self, mpsc::Receiver<Order>) {
        let (orders, receiver) = mpsc::channel(WAITING);
        let state = State {
            files: ArcSwap::from_pointee(files),
            last_reload: ArcSwap::default(),
            listening: ArcSwap::default(),
            rooms: ArcSwap::new(rooms),
            started_at: SystemTime::now(),
        };
        (Self { orders, state: Arc::new(state) }, receiver)
    }

    /// Reads the configuration again and puts it into force; gives its warnings.
    pub async fn reload(&self) -> Result<Vec<String>, ReloadError> {
        let (answer, answered) = oneshot::channel();
        self.orders.try_send(answer).map_err(|_| ReloadError::NotNow)?;
        answered.await.unwrap_or(Err(ReloadError::NotNow))
    }

    /// Carries out a command of an administrator.
    pub async fn perform(&self, command: Command) -> Reply {
        match command {
            Command::Reload => match self.reload().await {
                Ok(warnings) => {
                    Reply::Reloaded { config: self.with_config(|config| config.file.clone()), warnings }
                }
                Err(ReloadError::Faulty(faults)) => {
                    Reply::Failed(Failure::Configuration { faults: faults.to_string() })
                }
                Err(error @ (ReloadError::NotNow | ReloadError::Refused(_) | ReloadError::Slow(_))) => {
                    Reply::Failed(Failure::NotReloaded { reason: error.to_string() })
                }
            },
            Command::Status => Reply::Status(self.status()),
            command => {
                let (accounts, links) = {
                    let rooms = self.state.rooms.load();
                    (rooms.accounts.clone(), rooms.links())
                };
                perform(&accounts, &links, command, SystemTime::now()).await
            }
        }
    }

    fn status(&self) -> ServerStatus {
        let State { files: _, last_reload, listening, rooms, started_at } = &*self.state;
        let rooms = rooms.load();
        ServerStatus {
            config: rooms.config.file.clone(),
            connections: rooms.process.connections.open(),
            last_reload: (**last_reload.load()).clone(),
            listening: listening.load().to_vec(),
            process: std::process::id(),
            ready: rooms.process.is_ready(),
            servers: rooms.process.health.snapshot().into_iter().map(server).collect(),
            started_at: Moment(*started_at),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// The configuration in force.
    pub(super) fn with_config<T>(&self, read: impl FnOnce(&Config) -> T) -> T {
        read(&self.state.rooms.load().config)
    }

    /// What came of a reload is counted, and told in `status`.
    pub(super) fn note(&self, outcome: Result<(), &ReloadError>) {
        let now = SystemTime::now();
        let counted = if outcome.is_ok() { Reload::Ok } else { Reload::Failed };
        self.state.rooms.load().process.metrics.reloaded(counted, now);
        let error = outcome.err().map(ToString::to_string);
        let last = ReloadStatus { at: Moment(now), error };
        self.state.last_reload.store(Arc::new(Some(last)));
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }
}

fn server(known: ServerSnapshot) -> UpstreamServer {
    let ServerSnapshot { failures, in_flight, requests, server, state, upstream, .. } = known;
    UpstreamServer { failures, in_flight, requests, server, state: state.as_str().to_owned(), upstream }
}
