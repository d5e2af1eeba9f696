//! The last moments of a connection whose answer was sent and whose client may still be sending.
//!
//! Closing with bytes unread would reset the connection and take the answer along (RFC 9112 §9.6), so
//! they are taken for a while, and thrown away.
//!
//! Callers: the wire, and `gateway::http2` for its own.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Sleep;

use super::CHUNK;

/// So much is taken at most, and for so long.
pub(super) const LINGER_BYTES: usize = 256 * 1024;
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// Begun when our side has ended.
pub(in crate::gateway) struct Linger {
    bytes: usize,
    timer: Pin<Box<Sleep>>,
}

impl Linger {
    /// From now on.
    pub(in crate::gateway) fn new() -> Self {
        Self { bytes: 0, timer: Box::pin(tokio::time::sleep(LINGER)) }
    }

    /// Ready when the client has ended too, or has had its time.
    pub(in crate::gateway) fn poll<S: AsyncRead + Unpin>(
        &mut self,
        socket: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let mut chunk = [0; CHUNK];
        while self.bytes < LINGER_BYTES && self.timer.as_mut().poll(cx).is_pending() {
            let mut more = ReadBuf::new(&mut chunk);
            // Whatever goes wrong now, the answer was sent.
            let read = ready!(Pin::new(&mut *socket).poll_read(cx, &mut more));
            if read.is_err() || more.filled().is_empty() {
                break;
            }
            self.bytes += more.filled().len();
        }
        Poll::Ready(())
    }
}
