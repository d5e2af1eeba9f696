//! The socket to a server, as hyper's client sees it.
//!
//! A server may answer and close before it has read the whole request: 413 to a large upload, say.
//! Sending the rest then fails while the answer is there to be read. A failed write alone is
//! therefore not the end: what is written goes nowhere from then on, and reading tells what is.
//!
//! Callers: `proxy::pool` connects; the rest is hyper's.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A connected socket.
#[derive(Debug)]
pub(crate) struct Wire {
    /// The other side takes nothing any more.
    deaf: bool,
    io: TokioIo<TcpStream>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { deaf: false, io: TokioIo::new(stream) }
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

/// Whether an error says that the other side closed.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.deaf {
            return Poll::Ready(Ok(buf.len()));
        }
        let result = ready!(Pin::new(&mut self.io).poll_write(cx, buf));
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
        let result = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs));
        Poll::Ready(self.written(result, all))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.deaf {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_shutdown(cx)
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
        let mut wire = TokioIo::new(Wire::new(stream));
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
