//! From a server's address to a socket that HTTP can be spoken on.
//!
//! Names are looked up again while they are used, beside the requests: a name service that fails, or is
//! silent, takes nobody along whose address is known. A look-up is waited for only where there is nothing
//! to go by: no address is known, or none of those that are answers. Even then it may take half of the
//! time that is left. What a connection costs in time (the look-up, each address tried, the TLS
//! handshake) counts against one deadline, which the caller holds.
//!
//! The system's look-up occupies a thread, and can't be broken off. So there is one at a time for each
//! name and thread, which everybody waits for, and runtimes end without waiting for it.
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
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::Server;
use super::tls::{UpstreamTls, speaks_http2};
use super::wire::Socket;

/// An idle peer that is gone without a word is noticed after about this long.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A peer that acknowledges nothing of what it was sent is given up after this long.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// A look-up that takes longer than any system gives it is taken for lost, and the next one may begin.
const LOOKING_UP: Duration = Duration::from_secs(60);

/// How to reach one server.
#[derive(Debug)]
pub(crate) struct Address {
    /// Name or address; nothing for a Unix socket.
    host: String,
    tls: Option<Arc<UpstreamTls>>,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Named(Arc<Names>),
    Socket(SocketAddr),
    Unix(PathBuf),
}

/// The addresses that a server's name had at last, wherever it was looked up. Clones are the same.
///
/// Asked only by who has looked up nothing yet: a new thread, or a new configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastKnown(Arc<Mutex<Vec<SocketAddr>>>);

#[cfg(test)]
impl LastKnown {
    /// As if they had been found.
    pub(crate) fn set(&self, addresses: Vec<SocketAddr>) {
        *hold(&self.0) = addresses;
    }
}

/// A name and the addresses that it had at last. Of one thread, but for checks that go from one to another.
#[derive(Debug)]
struct Names {
    host: String,
    known: Mutex<Vec<SocketAddr>>,
    last_known: LastKnown,
    /// The latest look-up; it is over when its sender is gone.
    looking: Mutex<Option<LookUp>>,
    port: u16,
    /// From this tick on it is looked up again.
    stale_from: AtomicU64,
}

/// What becomes of a look-up: nothing yet, or how it ended.
type LookUp = watch::Receiver<Option<Result<(), Arc<io::Error>>>>;

/// Whatever is held here is whole at any time.
fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Names {
    /// The addresses to go by; none where nobody has ever found any.
    fn known(&self) -> Vec<SocketAddr> {
        let mut known = hold(&self.known);
        if known.is_empty() {
            known.clone_from(&hold(&self.last_known.0));
        }
        known.clone()
    }

    /// The look-up that is under way, or one that begins with this. It goes on whether or not somebody waits for it.
    fn look_up(self: &Arc<Self>) -> LookUp {
        let mut looking = hold(&self.looking);
        if let Some(under_way) = looking.as_ref().filter(|latest| latest.has_changed().is_ok()) {
            return under_way.clone();
        }
        let (tell, look_up) = watch::channel(None);
        let this = Arc::clone(self);
        tokio::spawn(async move { tell.send(Some(this.ask().await.map_err(Arc::new))) });
        *looking = Some(look_up.clone());
        look_up
    }

    /// Asks the system; on a failure what was known stays known.
    async fn ask(&self) -> io::Result<()> {
        let found = timeout(LOOKING_UP, lookup_host((self.host.as_str(), self.port))).await??;
        let found: Vec<_> = found.collect();
        if !found.is_empty() {
            hold(&self.last_known.0).clone_from(&found);
            *hold(&self.known) = found;
        }
        Ok(())
    }
}

/// Waits for its end. A failure is that of all who wait.
async fn outcome(mut look_up: LookUp) -> io::Result<()> {
    match look_up.wait_for(Option::is_some).await.as_deref() {
        Ok(Some(Err(error))) => Err(io::Error::new(error.kind(), Arc::clone(error))),
        Ok(Some(Ok(())) | None) => Ok(()),
        Err(_) => Err(io::Error::other("the name's look-up was broken off")),
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
    pub(crate) fn new(server: &Server, tls: Option<&Arc<UpstreamTls>>, last_known: LastKnown) -> Self {
        match server {
            Server::Unix(path) => {
                let place = Place::Unix(path.clone());
                Self { host: String::new(), tls: None, place }
            }
            Server::Tcp { host, port, tls: over_tls } => {
                let place = match host.parse::<IpAddr>() {
                    Ok(ip) => Place::Socket((ip, *port).into()),
                    Err(_) => Place::Named(Arc::new(Names {
                        host: host.clone(),
                        known: Mutex::default(),
                        last_known,
                        looking: Mutex::default(),
                        port: *port,
                        stale_from: AtomicU64::default(),
                    })),
                };
                let tls = tls.filter(|_| *over_tls).cloned();
                Self { host: host.clone(), tls, place }
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
            (Place::Named(names), Some(peer)) => hold(&names.known).contains(&peer),
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

    /// Looks the name up. The look-up begins with the call; nobody has to wait for its end.
    pub(crate) fn look_up(&self) -> impl Future<Output = io::Result<()>> + use<> {
        let begun = match &self.place {
            Place::Named(names) => Some(names.look_up()),
            Place::Socket(_) | Place::Unix(_) => None,
        };
        async move {
            match begun {
                Some(look_up) => outcome(look_up).await,
                None => Ok(()),
            }
        }
    }

    /// The addresses as if they had been looked up.
    #[cfg(test)]
    pub(crate) fn set_known(&self, addresses: Vec<SocketAddr>) {
        if let Place::Named(names) = &self.place {
            *hold(&names.known) = addresses;
        }
    }

    /// As if the name service had been asked and said nothing, until what is given back is dropped.
    #[cfg(test)]
    pub(crate) fn hang_look_ups(&self) -> impl Sized + use<> {
        let (silent, look_up) = watch::channel(None);
        if let Place::Named(names) = &self.place {
            *hold(&names.looking) = Some(look_up);
        }
        silent
    }

    /// A connection; `to_upgrade` is whether HTTP/1.1 has to be spoken.
    pub(crate) async fn connect(&self, to_upgrade: bool, deadline: Instant) -> io::Result<Connected> {
        let stream = match &self.place {
            Place::Unix(path) => {
                let socket = Socket::Unix(UnixStream::connect(path).await?);
                return Ok(Connected { agreed_http2: false, peer: None, socket });
            }
            Place::Socket(address) => TcpStream::connect(address).await?,
            Place::Named(names) => connect_by_name(names, deadline).await?,
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
}

async fn connect_by_name(names: &Arc<Names>, deadline: Instant) -> io::Result<TcpStream> {
    let halfway = || Instant::now() + deadline.saturating_duration_since(Instant::now()) / 2;
    let tried = names.known();
    let failure = match tried.is_empty() {
        true => None,
        false => match connect_to_one(tried.clone(), halfway()).await {
            Ok(stream) => return Ok(stream),
            Err(failure) => Some(failure),
        },
    };
    // Nothing to go by, or it may have moved since.
    if names.known() == tried {
        let looked_up = timeout_at(halfway(), outcome(names.look_up())).await;
        let looked_up = looked_up.unwrap_or_else(|_| {
            let message = format!("the look-up of the name `{}` takes too long", names.host);
            Err(io::Error::new(io::ErrorKind::TimedOut, message))
        });
        match failure {
            Some(failure) if names.known() == tried => return Err(failure),
            Some(_) => {}
            None => looked_up?,
        }
    }
    connect_to_one(names.known(), deadline).await
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
        Address::new(&Server::Tcp { host: host.to_owned(), port, tls }, None, LastKnown::default())
    }

    #[test]
    fn a_name_is_looked_up_again_once_in_a_while_and_an_address_never() {
        let name = address("app", 80, false);
        assert!(name.is_stale(0, 300) && !name.is_stale(1, 301) && !name.is_stale(299, 599));
        assert!(name.is_stale(300, 600) && !name.is_stale(300, 600));
        let socket = Address::new(&Server::Unix("/a".into()), None, LastKnown::default());
        for other in [address("127.0.0.1", 80, false), socket] {
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
