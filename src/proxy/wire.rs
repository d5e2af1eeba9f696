//! The socket to a server, as hyper's client sees it: plain TCP, TLS or a Unix socket.
//!
//! A server may answer and close before it has read the whole request: 413 to a large upload, say.
//! Sending the rest then fails while the answer is there to be read. A failed write alone is
//! therefore not the end: what is written goes nowhere from then on, and reading tells what is.
//!
//! Callers: `proxy::connect` makes sockets; `proxy::pool`, `proxy::streams` and `proxy::health` put
//! hyper on them, and the rest is hyper's.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio_rustls::client::TlsStream;

use super::coalesce;

/// What carries the bytes.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

/// A connected socket.
#[derive(Debug)]
pub(crate) struct Wire {
    /// The other side takes nothing any more.
    deaf: bool,
    /// Told once what the server's first bytes are.
    first: Option<oneshot::Sender<FirstWords>>,
    socket: Socket,
}

/// How a server begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FirstWords {
    /// With what every HTTP/2 server begins with.
    Settings,
    /// With something else: HTTP/1.1, most likely.
    Other,
}

impl Wire {
    pub(crate) fn new(socket: Socket) -> Self {
        Self { deaf: false, first: None, socket }
    }

    /// Also tells how the server begins, once it does.
    pub(crate) fn telling_first(socket: Socket) -> (Self, oneshot::Receiver<FirstWords>) {
        let (tell, told) = oneshot::channel();
        (Self { deaf: false, first: Some(tell), socket }, told)
    }

    fn written(&mut self, result: io::Result<usize>, all: usize) -> io::Result<usize> {
        match result {
            Err(error) if is_gone(&error) => {
                self.deaf = true;
                Ok(all)
            }
            other => other,
        }
    }
}

impl FirstWords {
    fn of(bytes: &[u8]) -> Self {
        // A frame's head: three bytes of length, then the type, which is 4 for SETTINGS.
        match bytes.get(3) {
            None | Some(4) => Self::Settings,
            Some(_) => Self::Other,
        }
    }
}

/// Whether an error says that the other side closed.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            // TLS without the word of parting.
            | io::ErrorKind::UnexpectedEof
    )
}

/// The same call on whichever socket it is.
macro_rules! on_socket {
    ($wire:expr, $socket:ident => $call:expr) => {
        match &mut $wire.socket {
            Socket::Tcp(stream) => {
                let $socket = Pin::new(stream);
                $call
            }
            Socket::Tls(stream) => {
                let $socket = Pin::new(stream.as_mut());
                $call
            }
            Socket::Unix(stream) => {
                let $socket = Pin::new(stream);
                $call
            }
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = ready!(on_socket!(self, socket => socket.poll_read(cx, buf)));
        let read = &buf.filled()[before..];
        if !read.is_empty()
            && let Some(first) = self.first.take()
        {
            let _ = first.send(FirstWords::of(read));
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.deaf {
            return Poll::Ready(Ok(buf.len()));
        }
        let result = ready!(on_socket!(self, socket => socket.poll_write(cx, buf)));
        Poll::Ready(self.written(result, buf.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = bufs.iter().map(|buf| buf.len()).sum();
        if self.deaf {
            return Poll::Ready(Ok(all));
        }
        let result = ready!(match &mut self.socket {
            Socket::Tcp(stream) => coalesce::poll_write(stream, cx, bufs),
            Socket::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, bufs),
            Socket::Unix(stream) => coalesce::poll_write(stream, cx, bufs),
        });
        Poll::Ready(self.written(result, all))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.socket {
            Socket::Tcp(stream) => stream.is_write_vectored(),
            Socket::Tls(stream) => stream.is_write_vectored(),
            Socket::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.deaf {
            return Poll::Ready(Ok(()));
        }
        // TLS may hold what was taken: that it can't be sent is the same as a failed write.
        let result = ready!(on_socket!(self, socket => socket.poll_flush(cx)));
        Poll::Ready(self.written(result.map(|()| 0), 0).map(|_| ()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.deaf {
            return Poll::Ready(Ok(()));
        }
        on_socket!(self, socket => socket.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_was_answered_can_be_read_when_writing_fails_already() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let stream =
            TcpStream::connect(listener.local_addr().expect("an address")).await.expect("it listens");
        let mut wire = Wire::new(Socket::Tcp(stream));
        let (mut server, _) = listener.accept().await.expect("a connection");
        wire.write_all(b"never read").await.expect("taken");
        server.write_all(b"answer").await.expect("taken");
        drop(server);
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            wire.write_all(b"goes nowhere").await.expect("a write is not the end");
        }
        let mut answer = [0; 6];
        wire.read_exact(&mut answer).await.expect("the answer");
        assert_eq!(&answer, b"answer");
        assert!(!matches!(wire.read(&mut [0; 1]).await, Ok(1..)));
    }
}
