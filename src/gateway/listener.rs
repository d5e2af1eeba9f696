//! Listening sockets: one for each thread on every address, so that the kernel spreads connections
//! and no thread waits for another. Unix sockets and those of systemd are one for all threads.
//!
//! Callers: `gateway` at its start and at a reload.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::lookup_host;

use crate::admin::socket::{self, SocketFile};
use crate::config::{Listen, ListenAddress};

/// Connections that the kernel holds until a thread takes them.
const BACKLOG: i32 = 1024;

/// Why an address can't be listened on; the sentence is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A name to listen on has no address.
    #[error("can't listen on {0}: the name has no address here")]
    Name(ListenAddress, #[source] Option<io::Error>),
    /// Another process has it.
    #[error(
        "can't listen on {0}: another program has this port; stop it, or set `listen` to another address"
    )]
    Taken(SocketAddr),
    /// A port below 1024 without the right.
    #[error(
        "can't listen on {0}: ports below 1024 need the capability CAP_NET_BIND_SERVICE; set `listen` to a higher port"
    )]
    Forbidden(SocketAddr),
    /// No interface has it.
    #[error("can't listen on {0}: this machine does not have that address; see `ip address`")]
    NotHere(SocketAddr),
    /// Anything else.
    #[error("can't listen on {0}: {1}")]
    Other(String, #[source] io::Error),
    /// `listen: systemd` in a process that systemd did not start so.
    #[error(
        "`listen` says `systemd`, and systemd has handed over no socket: start Foregate by a socket unit (systemctl start foregate.socket)"
    )]
    NoSystemd,
}

/// What is done with whoever comes in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Purpose {
    /// It is sent to `public_url`; always over plain HTTP.
    Redirect,
    /// It is answered.
    Serve,
}

/// A listening socket of one thread.
#[derive(Debug)]
pub(super) enum Door {
    /// TCP, over IPv4 or IPv6.
    Tcp(TcpListener),
    /// A file.
    Unix(UnixListener),
}

/// One address that is listened on, with a socket for each thread.
#[derive(Debug)]
pub(super) struct Bound {
    /// With the port that the kernel chose; `None` for a Unix socket.
    pub(super) address: Option<SocketAddr>,
    /// For as long as it is listened on.
    _file: Option<SocketFile>,
    /// One for each thread.
    pub(super) doors: Vec<Door>,
    /// As it is told: an address, or `unix:` and a path.
    pub(super) shown: String,
}

/// The sockets that systemd handed over at the start. They stay open for as long as the process lives, so that a
/// configuration can leave them and come back.
#[derive(Debug, Default)]
pub(super) struct Inherited(Vec<Door>);

impl Inherited {
    /// Takes what the environment names. To be called once, before any thread is started.
    pub(super) fn take() -> Self {
        let mut sockets = listenfd::ListenFd::from_env();
        let count = sockets.len();
        let door = |at| match sockets.take_tcp_listener(at) {
            Ok(Some(listener)) => Some(Door::Tcp(listener)),
            Ok(None) => None,
            Err(_) => sockets.take_unix_listener(at).ok().flatten().map(Door::Unix),
        };
        Self((0..count).filter_map(door).collect())
    }
}

impl Door {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(listener) => Self::Tcp(listener.try_clone()?),
            Self::Unix(listener) => Self::Unix(listener.try_clone()?),
        })
    }

    fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => listener.set_nonblocking(true),
            Self::Unix(listener) => listener.set_nonblocking(true),
        }
    }

    /// The same socket for each thread.
    fn for_threads(self, threads: usize, file: Option<SocketFile>) -> io::Result<Bound> {
        self.set_nonblocking()?;
        let (address, shown) = match &self {
            Self::Tcp(listener) => {
                let address = listener.local_addr()?;
                (Some(address), address.to_string())
            }
            Self::Unix(listener) => {
                let address = listener.local_addr()?;
                let path = address.as_pathname().map(|path| path.display().to_string());
                (None, format!("unix:{}", path.unwrap_or_default()))
            }
        };
        let mut doors = (1..threads).map(|_| self.try_clone()).collect::<io::Result<Vec<_>>>()?;
        doors.push(self);
        Ok(Bound { address, doors, _file: file, shown })
    }
}

/// What a new socket stands beside.
pub(super) struct Beside<'a> {
    /// All that the configuration lists.
    pub(super) listed: &'a [Listen],
    /// Ports that are ours already: a reload may widen `127.0.0.1` to `0.0.0.0`.
    pub(super) own_ports: &'a [u16],
}

impl Beside<'_> {
    /// `[::]` takes IPv4 as well, where the system does so by itself, unless an IPv4 address of the same port stands beside it.
    fn has_v4_of(&self, port: u16) -> bool {
        self.listed.iter().any(|listen| match listen {
            Listen::Tcp(address) => address.port == port && address.host.parse::<Ipv4Addr>().is_ok(),
            Listen::Systemd | Listen::Unix { .. } => false,
        })
    }
}

/// Listens; a name may have several addresses, and systemd several sockets.
pub(super) async fn open(
    listen: &Listen,
    threads: usize,
    inherited: &Inherited,
    beside: &Beside<'_>,
) -> Result<Vec<Bound>, ListenError> {
    let other = |error| ListenError::Other(listen.to_string(), error);
    match listen {
        Listen::Systemd if inherited.0.is_empty() => Err(ListenError::NoSystemd),
        Listen::Systemd => {
            let shared = |door: &Door| door.try_clone()?.for_threads(threads, None);
            inherited.0.iter().map(|door| shared(door).map_err(other)).collect()
        }
        Listen::Tcp(address) => {
            let found = lookup_host((address.host.as_str(), address.port)).await;
            let found = found.map_err(|error| ListenError::Name(address.clone(), Some(error)))?;
            let bound: Vec<Bound> =
                found.map(|address| open_tcp(address, threads, beside)).collect::<Result<_, _>>()?;
            if bound.is_empty() { Err(ListenError::Name(address.clone(), None)) } else { Ok(bound) }
        }
        Listen::Unix { mode, path } => {
            let opened = socket::listen(path, *mode, BACKLOG as u32).await;
            let (listener, file) = opened.map_err(other)?;
            let door = Door::Unix(listener.into_std().map_err(other)?);
            Ok(vec![door.for_threads(threads, Some(file)).map_err(other)?])
        }
    }
}

/// Opens a socket for each thread on one address. With port 0 all get the same port, of the kernel's choice.
fn open_tcp(address: SocketAddr, threads: usize, beside: &Beside<'_>) -> Result<Bound, ListenError> {
    let explain = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => ListenError::Taken(address),
        io::ErrorKind::PermissionDenied => ListenError::Forbidden(address),
        io::ErrorKind::AddrNotAvailable => ListenError::NotHere(address),
        _ => ListenError::Other(address.to_string(), error),
    };
    let only_v6 = address.is_ipv6() && beside.has_v4_of(address.port());
    if address.port() != 0 && !beside.own_ports.contains(&address.port()) {
        // Sockets that share a port would also share it with another process of ours, which takes
        // half of the connections and says nothing. So the first look is without sharing.
        bind(address, false, only_v6).map_err(explain)?;
    }
    let first = listen_on(address, only_v6).map_err(explain)?;
    let address = first.local_addr().map_err(explain)?;
    let mut doors = vec![Door::Tcp(first)];
    for _ in 1..threads {
        doors.push(Door::Tcp(listen_on(address, only_v6).map_err(explain)?));
    }
    Ok(Bound { address: Some(address), doors, _file: None, shown: address.to_string() })
}

fn listen_on(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = bind(address, true, only_v6)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bind(address: SocketAddr, shared: bool, only_v6: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if only_v6 {
        socket.set_only_v6(true)?;
    }
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: Beside<'static> = Beside { listed: &[], own_ports: &[] };

    #[test]
    fn every_thread_has_a_socket_on_the_same_port_and_nobody_else_gets_it() {
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        let bound = open_tcp(here, 3, &ALONE).expect("the kernel has a port");
        let port = |door: &Door| match door {
            Door::Tcp(listener) => listener.local_addr().map(|address| address.port()).ok(),
            Door::Unix(_) => None,
        };
        let ports: Vec<_> = bound.doors.iter().map(port).collect();
        assert_eq!(ports.len(), 3);
        assert!(ports[0].is_some() && ports.iter().all(|one| *one == ports[0]), "{ports:?}");
        let taken = bound.address.expect("an address");
        let error = open_tcp(taken, 1, &ALONE).expect_err("it is taken");
        assert!(matches!(error, ListenError::Taken(address) if address == taken), "{error}");
        let own = Beside { own_ports: &[taken.port()], ..ALONE };
        assert!(open_tcp(taken, 1, &own).is_ok(), "a port of ours is not taken");
    }

    #[test]
    fn an_address_of_another_machine_is_told() {
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 0));
        let error = open_tcp(elsewhere, 1, &ALONE).expect_err("a documentation address");
        assert!(matches!(error, ListenError::NotHere(_)), "{error}");
    }
}
