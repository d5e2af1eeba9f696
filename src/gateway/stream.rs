//! One accepted connection's bytes, whatever carries them.
//!
//! Callers: `gateway::worker` accepts; `gateway::connection` serves.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::net::RecvFlags;
use socket2::{SockFilter, SockRef};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::listener::{Door, Listener};
use super::opening::Protocol;
use super::tls::{self, TlsStream};
use crate::proxy::coalesce;

/// A listening socket, as the runtime of one thread has it.
pub(super) enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Acceptor {
    /// To be called within the runtime.
    pub(super) fn new(door: Door) -> io::Result<Self> {
        Ok(match door.listener {
            Listener::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener)?),
            Listener::Unix(listener) => Self::Unix(UnixListener::from_std(listener)?),
        })
    }

    /// From now on the kernel begins no new connection here; those that have begun still come to `accept`. Whoever comes
    /// meanwhile is not refused: a TCP client asks again after a second, and finds the next listener or none.
    pub(super) fn stop_new(&self) {
        // A packet with SYN is dropped, every other one passes: offset 13 of a TCP header are its flags. Connections that
        // are accepted from here on keep the filter, which never hits any of theirs.
        let filter = [
            SockFilter::new(0x30, 0, 0, 13),       // ldb [13]
            SockFilter::new(0x45, 0, 1, 0x02),     // jset #SYN, next, the one after
            SockFilter::new(0x06, 0, 0, 0),        // drop
            SockFilter::new(0x06, 0, 0, u32::MAX), // pass
        ];
        match self {
            // Where it can't be set, who comes in the last moment may be refused.
            Self::Tcp(listener) => drop(SockRef::from(listener).attach_filter(&filter)),
            // The file is gone by now: there is no way here any more.
            Self::Unix(_) => {}
        }
    }

    /// The next connection and the address of its other end. A local program at a Unix socket counts as `127.0.0.1`.
    pub(super) async fn accept(&self) -> io::Result<(Stream, IpAddr)> {
        Ok(match self {
            Self::Tcp(listener) => {
                // It has its options from the listening socket.
                let (stream, peer) = listener.accept().await?;
                (Stream::Tcp(stream), peer.ip())
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                (Stream::Unix(stream), Ipv4Addr::LOCALHOST.into())
            }
        })
    }
}

/// A connection.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    /// TLS over TCP, after its handshake.
    Tls(Box<TlsStream>),
    Unix(UnixStream),
}

impl Stream {
    /// Waits until there is something to read, or the end.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Tls(stream) => stream.get_ref().0.readable().await,
            Self::Unix(stream) => stream.readable().await,
        }
    }

    /// What is there to be read; it stays there. Of TLS nothing can be seen so.
    pub(super) fn try_peek(&self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => {
                stream.try_io(Interest::READABLE, || Ok(rustix::net::recv(stream, bytes, RecvFlags::PEEK)?.1))
            }
            Self::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
            Self::Unix(stream) => {
                stream.try_io(Interest::READABLE, || Ok(rustix::net::recv(stream, bytes, RecvFlags::PEEK)?.1))
            }
        }
    }
}

/// Runs one expression on whichever stream it is.
macro_rules! on {
    ($stream:expr, $inner:ident => $run:expr) => {
        match $stream {
            Stream::Tcp($inner) => $run,
            Stream::Tls($inner) => $run,
            Stream::Unix($inner) => $run,
        }
    };
}

impl Stream {
    /// What is spoken on it, as far as that was agreed on.
    pub(super) fn agreed(&self) -> Protocol {
        match self {
            Self::Tls(stream) => tls::agreed(stream),
            Self::Tcp(_) | Self::Unix(_) => Protocol::Sniff,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        on!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        on!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => coalesce::poll_write(stream, cx, slices),
            // Its pieces become one record.
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Unix(stream) => coalesce::poll_write(stream, cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        on!(self, stream => stream.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::listener::Listener;
    use super::*;

    #[tokio::test]
    async fn a_door_that_takes_nobody_new_refuses_nobody_and_keeps_who_was_there() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("it can");
        let address: SocketAddr = listener.local_addr().expect("an address");
        let door = Door { inherited: false, listener: Listener::Tcp(listener) };
        let acceptor = Acceptor::new(door).expect("an acceptor");
        let mut early = TcpStream::connect(address).await.expect("it is open");
        acceptor.stop_new();
        let late = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await;
        assert!(late.is_err(), "neither taken nor refused: {late:?}");
        let (mut taken, peer) = acceptor.accept().await.expect("the one that was there");
        assert_eq!(peer, Ipv4Addr::LOCALHOST);
        early.write_all(b"ping").await.expect("it goes out");
        let mut bytes = [0; 4];
        taken.read_exact(&mut bytes).await.expect("it arrives");
        assert_eq!(&bytes, b"ping");
        drop(acceptor);
        let refused = TcpStream::connect(address).await.expect_err("it is closed");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
