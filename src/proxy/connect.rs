//! From a server's address to a socket that HTTP can be spoken on.
//!
//! Names are looked up again while they are used: on the way of a request only where there is nothing
//! to go by, else beside it. What a connection costs in time (the look-up, each address tried, the TLS
//! handshake) counts against one deadline, which the caller holds.
//!
//! Callers: `proxy::pool`, and `proxy::health` for its checks.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::uri::Scheme;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, timeout};

use super::Server;
use super::tls::{UpstreamTls, speaks_http2};
use super::wire::Socket;

/// An idle peer that is gone without a word is noticed after about this long.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A peer that acknowledges nothing of what it was sent is given up after this long.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// How to reach one server.
#[derive(Debug)]
pub(crate) struct Address {
    /// Name or address; nothing for a Unix socket.
    host: String,
    port: Option<u16>,
    tls: Option<Arc<UpstreamTls>>,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Named(Names),
    Socket(SocketAddr),
    Unix(PathBuf),
}

/// A name and the addresses that it had at last. Of one thread, but for checks that go from one to another.
#[derive(Debug, Default)]
struct Names {
    known: Mutex<Vec<SocketAddr>>,
    /// From this tick on it is looked up again.
    stale_from: AtomicU64,
}

impl Names {
    fn known(&self) -> MutexGuard<'_, Vec<SocketAddr>> {
        // A list of addresses is whole at any time.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connected socket.
#[derive(Debug)]
pub(crate) struct Connected {
    /// Both sides agreed on HTTP/2; without TLS nobody was asked.
    pub(crate) agreed_http2: bool,
    /// `None` for a Unix socket.
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) socket: Socket,
}

impl Address {
    pub(crate) fn new(server: &Server, tls: Option<&Arc<UpstreamTls>>) -> Self {
        match server {
            Server::Unix(path) => {
                let place = Place::Unix(path.clone());
                Self { host: String::new(), port: None, tls: None, place }
            }
            Server::Tcp { host, port, tls: over_tls } => {
                let place = match host.parse::<IpAddr>() {
                    Ok(ip) => Place::Socket((ip, *port).into()),
                    Err(_) => Place::Named(Names::default()),
                };
                let tls = tls.filter(|_| *over_tls).cloned();
                Self { host: host.clone(), port: Some(*port), tls, place }
            }
        }
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The scheme of its URLs.
    pub(crate) fn scheme(&self) -> Scheme {
        if self.is_tls() { Scheme::HTTPS } else { Scheme::HTTP }
    }

    /// Whether a connection that went to `peer` still goes to this server.
    pub(crate) fn is_at(&self, peer: Option<SocketAddr>) -> bool {
        match (&self.place, peer) {
            (Place::Named(names), Some(peer)) => names.known().contains(&peer),
            (Place::Named(_), None) | (Place::Socket(_) | Place::Unix(_), _) => true,
        }
    }

    /// Whether the name should be looked up again; says so once, and then not until `again`.
    pub(crate) fn is_stale(&self, now: u64, again: u64) -> bool {
        let Place::Named(names) = &self.place else { return false };
        let stale = now >= names.stale_from.load(Ordering::Relaxed);
        if stale {
            names.stale_from.store(again, Ordering::Relaxed);
        }
        stale
    }

    /// Looks the name up; on a failure what was known stays known.
    pub(crate) async fn look_up(&self) -> io::Result<()> {
        let (Place::Named(names), Some(port)) = (&self.place, self.port) else { return Ok(()) };
        let found: Vec<_> = lookup_host((self.host.as_str(), port)).await?.collect();
        if !found.is_empty() {
            *names.known() = found;
        }
        Ok(())
    }

    /// The addresses as if they had been looked up.
    #[cfg(test)]
    pub(crate) fn set_known(&self, addresses: Vec<SocketAddr>) {
        if let Place::Named(names) = &self.place {
            *names.known() = addresses;
        }
    }

    /// A connection. `stale` is whether the name should be looked up first; `to_upgrade` whether HTTP/1.1 has to be spoken.
    pub(crate) async fn connect(
        &self,
        stale: bool,
        to_upgrade: bool,
        deadline: Instant,
    ) -> io::Result<Connected> {
        let stream = match &self.place {
            Place::Unix(path) => {
                let socket = Socket::Unix(UnixStream::connect(path).await?);
                return Ok(Connected { agreed_http2: false, peer: None, socket });
            }
            Place::Socket(address) => TcpStream::connect(address).await?,
            Place::Named(names) => self.connect_by_name(names, stale, deadline).await?,
        };
        let peer = Some(stream.peer_addr()?);
        stream.set_nodelay(true)?;
        let socket = SockRef::from(&stream);
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
        let Some(tls) = &self.tls else {
            return Ok(Connected { agreed_http2: false, peer, socket: Socket::Tcp(stream) });
        };
        let stream = tls.connect(stream, &self.host, to_upgrade).await?;
        let agreed_http2 = speaks_http2(&stream);
        Ok(Connected { agreed_http2, peer, socket: Socket::Tls(Box::new(stream)) })
    }

    async fn connect_by_name(&self, names: &Names, stale: bool, deadline: Instant) -> io::Result<TcpStream> {
        let known = || names.known().clone();
        if stale || known().is_empty() {
            let looked_up = self.look_up().await;
            // A name service that is away for a while takes nobody along whose address is known.
            if known().is_empty() {
                looked_up?;
            }
            return connect_to_one(known(), deadline).await;
        }
        let tried = known();
        let halfway = Instant::now() + deadline.saturating_duration_since(Instant::now()) / 2;
        let failure = match connect_to_one(tried.clone(), halfway).await {
            Ok(stream) => return Ok(stream),
            Err(failure) => failure,
        };
        // It may have moved since.
        if self.look_up().await.is_err() || known() == tried {
            return Err(failure);
        }
        connect_to_one(known(), deadline).await
    }
}

/// Tries one address after the other; none but the last may take more than half of what time is left.
async fn connect_to_one(addresses: Vec<SocketAddr>, deadline: Instant) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the server's name has no address");
    let last = addresses.len().saturating_sub(1);
    for (at, address) in addresses.into_iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let within = if at == last { left } else { left / 2 };
        match timeout(within, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = error,
            Err(elapsed) => failure = elapsed.into(),
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, port: u16, tls: bool) -> Address {
        Address::new(&Server::Tcp { host: host.to_owned(), port, tls }, None)
    }

    #[test]
    fn a_name_is_looked_up_again_once_in_a_while_and_an_address_never() {
        let name = address("app", 80, false);
        assert!(name.is_stale(0, 300) && !name.is_stale(1, 301) && !name.is_stale(299, 599));
        assert!(name.is_stale(300, 600) && !name.is_stale(300, 600));
        for other in [address("127.0.0.1", 80, false), Address::new(&Server::Unix("/a".into()), None)] {
            assert!(!other.is_stale(0, 300));
        }
    }

    #[test]
    fn a_servers_own_host_is_as_a_browser_would_say_it() {
        for (host, port, tls, expected) in [
            ("app", 80, false, "app"),
            ("app", 443, false, "app:443"),
            ("app", 443, true, "app"),
            ("app", 80, true, "app:80"),
            ("127.0.0.1", 9000, false, "127.0.0.1:9000"),
            ("::1", 80, false, "[::1]"),
            ("::1", 9000, true, "[::1]:9000"),
        ] {
            assert_eq!(Server::Tcp { host: host.to_owned(), port, tls }.authority(), expected);
        }
        assert_eq!(Server::Unix("/a".into()).authority(), "localhost");
    }
}
