//! Listening sockets: one for each thread on every address, so that the kernel spreads connections
//! and no thread waits for another. Unix sockets and those of systemd are one for all threads.
//!
//! Callers: `gateway` at its start and at a reload.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::lookup_host;

use crate::admin::socket::{self, SocketFile};
use crate::config::{Listen, ListenAddress};

/// Connections that the kernel holds until a thread takes them.
const BACKLOG: i32 = 1024;

/// A client that was quiet for this long is asked whether it is there, ...
const QUIET: Duration = Duration::from_secs(60);
/// ... again after this, ...
const PROBE_EVERY: Duration = Duration::from_secs(15);
/// ... and so many times.
const PROBES: u32 = 4;

/// A client that acknowledges nothing of what it is sent, or takes nothing of it, is given up after this long.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(90);

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
    /// One of the descriptors that were handed over is no listening stream socket.
    #[error(
        "`listen` says `systemd`, and number {0} of the sockets that it has handed over is not one that connections come in at: a socket unit of Foregate has `ListenStream=` alone, and no `Accept=yes`"
    )]
    NoListener(usize),
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
pub(super) struct Door {
    /// Whoever started us has it as well, and hands it to the process that comes after us: what waits in its queue
    /// when we close it is not lost.
    pub(super) inherited: bool,
    pub(super) listener: Listener,
}

/// What a door is made of.
#[derive(Debug)]
pub(super) enum Listener {
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
    pub(super) file: Option<SocketFile>,
    /// One for each thread.
    pub(super) doors: Vec<Door>,
    /// It is an IPv6 address that leaves IPv4 to a socket beside it.
    pub(super) only_v6: bool,
    /// As it is told: an address, or `unix:` and a path.
    pub(super) shown: String,
}

/// The sockets that systemd handed over at the start. They stay open for as long as the process lives, so that a
/// configuration can leave them and come back.
#[derive(Debug, Default)]
pub(super) struct Inherited(Vec<Option<Listener>>);

impl Inherited {
    /// Takes what the environment names. To be called once, before any thread is started.
    pub(super) fn take() -> Self {
        let mut sockets = listenfd::ListenFd::from_env();
        let count = sockets.len();
        let listener = |at| match sockets.take_tcp_listener(at) {
            Ok(listener) => listener.map(Listener::Tcp),
            Err(_) => sockets.take_unix_listener(at).ok().flatten().map(Listener::Unix),
        };
        Self((0..count).map(listener).map(|found| found.filter(Listener::accepts)).collect())
    }

    /// How many there are, usable or not.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them, if each is a listening socket.
    fn open(&self, threads: usize) -> Result<Vec<Bound>, ListenError> {
        let other = |error| ListenError::Other(Listen::Systemd.to_string(), error);
        let shared = |(at, listener): (usize, &Option<Listener>)| {
            let listener = listener.as_ref().ok_or(ListenError::NoListener(at + 1))?;
            listener.try_clone().and_then(|listener| listener.for_threads(threads, true)).map_err(other)
        };
        if self.0.is_empty() {
            return Err(ListenError::NoSystemd);
        }
        self.0.iter().enumerate().map(shared).collect()
    }
}

impl Listener {
    /// Whether connections come in at it: a descriptor from outside can be anything.
    fn accepts(&self) -> bool {
        match self {
            Self::Tcp(listener) => rustix::net::sockopt::socket_acceptconn(listener),
            Self::Unix(listener) => rustix::net::sockopt::socket_acceptconn(listener),
        }
        .unwrap_or(false)
    }

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
    fn for_threads(self, threads: usize, inherited: bool) -> io::Result<Bound> {
        self.set_nonblocking()?;
        if let Self::Tcp(listener) = &self
            && let Err(error) = prepare(&SockRef::from(listener))
        {
            // Whoever made it may have made it of another kind, such as MPTCP, on which not all can be set.
            tracing::warn!(%error, "clients that vanish without a word may go unnoticed: no keep-alive on a socket of systemd's");
        }
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
        let mut listeners = (1..threads).map(|_| self.try_clone()).collect::<io::Result<Vec<_>>>()?;
        listeners.push(self);
        let doors = listeners.into_iter().map(|listener| Door { inherited, listener }).collect();
        Ok(Bound { address, doors, file: None, only_v6: false, shown })
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
    /// Whether a socket on this address leaves IPv4 to another.
    pub(super) fn leaves_v4(&self, address: SocketAddr) -> bool {
        address.is_ipv6() && self.has_v4_of(address.port())
    }

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
        Listen::Systemd => inherited.open(threads),
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
            let listener = Listener::Unix(listener.into_std().map_err(other)?);
            let mut bound = listener.for_threads(threads, false).map_err(other)?;
            // Under a long path it was bound by another name.
            bound.shown = listen.to_string();
            Ok(vec![Bound { file: Some(file), ..bound }])
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
    let only_v6 = beside.leaves_v4(address);
    if address.port() != 0 && !beside.own_ports.contains(&address.port()) {
        // Sockets that share a port would also share it with another process of ours, which takes
        // half of the connections and says nothing. So the first look is without sharing.
        bind(address, false, only_v6).map_err(explain)?;
    }
    let first = listen_on(address, only_v6).map_err(explain)?;
    let address = first.local_addr().map_err(explain)?;
    let door = |listener| Door { inherited: false, listener: Listener::Tcp(listener) };
    let mut doors = vec![door(first)];
    for _ in 1..threads {
        doors.push(door(listen_on(address, only_v6).map_err(explain)?));
    }
    Ok(Bound { address: Some(address), doors, file: None, only_v6, shown: address.to_string() })
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
    prepare(&SockRef::from(&socket))?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// What every connection that comes in at a socket has from it, without a call for each.
///
/// A client that is gone without a word is noticed, however quiet its connection is, and so is one that no longer
/// acknowledges or takes what it is sent.
fn prepare(socket: &SockRef<'_>) -> io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(QUIET).with_interval(PROBE_EVERY).with_retries(PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    socket.set_tcp_nodelay(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: Beside<'static> = Beside { listed: &[], own_ports: &[] };

    #[test]
    fn every_thread_has_a_socket_on_the_same_port_and_nobody_else_gets_it() {
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        let bound = open_tcp(here, 3, &ALONE).expect("the kernel has a port");
        let port = |door: &Door| match &door.listener {
            Listener::Tcp(listener) => listener.local_addr().map(|address| address.port()).ok(),
            Listener::Unix(_) => None,
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

    #[test]
    fn every_connection_has_its_options_from_the_socket_that_it_came_in_at() {
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        let own = open_tcp(here, 1, &ALONE).expect("the kernel has a port");
        let foreign = TcpListener::bind(here).expect("the kernel has a port");
        let handed_over = Inherited(vec![Some(Listener::Tcp(foreign))]).open(2).expect("it listens");
        for bound in handed_over.iter().chain([&own]) {
            let Some(Door { listener: Listener::Tcp(listener), .. }) = bound.doors.first() else {
                panic!("no TCP: {bound:?}")
            };
            listener.set_nonblocking(false).expect("it can");
            let _client =
                std::net::TcpStream::connect(bound.address.expect("an address")).expect("it listens");
            let (accepted, _) = listener.accept().expect("the client");
            let socket = SockRef::from(&accepted);
            assert!(socket.keepalive().expect("it says"));
            assert!(socket.tcp_nodelay().expect("it says"));
            assert_eq!(socket.tcp_keepalive_time().expect("it says"), QUIET);
            assert_eq!(socket.tcp_keepalive_interval().expect("it says"), PROBE_EVERY);
            assert_eq!(socket.tcp_keepalive_retries().expect("it says"), PROBES);
            #[cfg(target_os = "linux")]
            assert_eq!(socket.tcp_user_timeout().expect("it says"), Some(UNACKNOWLEDGED));
        }
    }
}
