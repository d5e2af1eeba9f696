//! What is listened on: opened at the start, changed by a reload without a moment in which nobody listens.
//!
//! New sockets are opened before old ones close, and a change that comes to nothing is undone whole.
//!
//! Callers: `gateway`. How one address is opened is `gateway/listener.rs`'s.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use super::ListenError;
use super::listener::{self, Beside, Bound, Door, Inherited, Purpose};
use super::thread::DoorId;
use crate::config::{Config, Listen};

/// How long a socket that is closed may stay with a thread that is busy.
const LEAVING: Duration = Duration::from_secs(5);

/// What a configuration listens on, and what for.
pub(super) fn listed(config: &Config) -> Vec<(Listen, Purpose)> {
    let serving = config.listen.iter().map(|listen| (listen.clone(), Purpose::Serve));
    let redirecting = config.tls.iter().flat_map(|tls| &tls.redirect_from);
    serving.chain(redirecting.map(|address| (Listen::Tcp(address.clone()), Purpose::Redirect))).collect()
}

/// What is listened on.
pub(super) struct Doors {
    entries: Vec<Entry>,
    pub(super) inherited: Inherited,
    /// Ports that were closed a moment ago: some thread may still have a socket there.
    leaving: Vec<(u16, Instant)>,
    next: DoorId,
    threads: usize,
}

/// One address of the configuration.
pub(super) struct Entry {
    bound: Bound,
    pub(super) id: DoorId,
    listen: Listen,
    purpose: Purpose,
}

/// What a change takes away, for as long as it may still be undone.
pub(super) struct Closing {
    pub(super) gone: Vec<Entry>,
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
    pub(super) fn new(threads: usize) -> Self {
        Self { entries: Vec::new(), inherited: Inherited::take(), leaving: Vec::new(), next: 0, threads }
    }

    /// Sockets that nobody accepts at keep their clients waiting for ever.
    pub(super) fn warn_of_unused_sockets(&self, listed: &[Listen]) {
        if self.inherited.len() > 0 && !listed.contains(&Listen::Systemd) {
            tracing::warn!(
                sockets = self.inherited.len(),
                "systemd has handed over sockets, and `listen` does not say `systemd`: whoever connects to them waits in vain"
            );
        }
    }

    /// Opens what is listed and isn't open yet. Gives what is open and isn't listed any more, to be closed. Where
    /// something can't be opened nothing changes.
    pub(super) async fn change(&mut self, listed: &[(Listen, Purpose)]) -> Result<Closing, ListenError> {
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
    pub(super) fn hide(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.bound.file = None);
    }

    /// A change is in force, and won't be undone. The files of the Unix sockets that go are taken away first: nobody finds
    /// them any more, and who waits at them is still answered.
    pub(super) fn settle(&mut self, closing: &mut Closing) {
        for entry in &mut closing.gone {
            entry.bound.file = None;
            self.leaving.extend(entry.bound.address.map(|address| (address.port(), Instant::now())));
        }
    }

    /// Goes back to what was open before a change that came to nothing.
    pub(super) fn undo(&mut self, closing: Closing) {
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
    pub(super) fn fresh(&mut self) -> Vec<(DoorId, Purpose, Vec<Door>)> {
        let fresh = self.entries.iter_mut().filter(|entry| !entry.bound.doors.is_empty());
        fresh.map(|entry| (entry.id, entry.purpose, std::mem::take(&mut entry.bound.doors))).collect()
    }

    /// Where requests are answered.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let serving = self.entries.iter().filter(|entry| entry.purpose == Purpose::Serve);
        serving.filter_map(|entry| entry.bound.address)
    }

    pub(super) fn shown(&self) -> Vec<String> {
        let shown = |entry: &Entry| match entry.purpose {
            Purpose::Redirect => format!("{} (redirects)", entry.bound.shown),
            Purpose::Serve => entry.bound.shown.clone(),
        };
        self.entries.iter().map(shown).collect()
    }

    /// The public URL with the port that the kernel chose, where it has port 0.
    pub(super) fn with_chosen_port(&self, mut config: Config) -> Config {
        let chosen = self.addresses().next().map_or(0, |address| address.port());
        config.public_url = config.public_url.with_chosen_port(chosen);
        config
    }
}
