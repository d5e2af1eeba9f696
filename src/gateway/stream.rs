//! One accepted connection's bytes, whatever carries them.
//!
//! Callers: `gateway::worker` accepts; `gateway::connection` serves.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::listener::Door;
use super::tls::TlsStream;

/// A listening socket, as the runtime of one thread has it.
pub(super) enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Acceptor {
    /// To be called within the runtime.
    pub(super) fn new(door: Door) -> io::Result<Self> {
        Ok(match door {
            Door::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener)?),
            Door::Unix(listener) => Self::Unix(UnixListener::from_std(listener)?),
        })
    }

    /// The next connection and the address of its other end. A local program at a Unix socket counts as `127.0.0.1`.
    pub(super) async fn accept(&self) -> io::Result<(Stream, IpAddr)> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                let _ = stream.set_nodelay(true);
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
        on!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, slices))
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
