//! The first bytes of a connection, which say what is spoken on it.
//!
//! HTTP/2 with prior knowledge begins with a preface that is no HTTP/1 request (RFC 9113 §3.4). What is
//! read here is handed on as read already, so finding out costs no system call; and a connection that has
//! sent nothing yet costs none of hyper's buffers.
//!
//! Callers: `gateway::connection`.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// What every HTTP/2 client sends first.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes that are read at once.
const CHUNK: usize = 4096;

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Protocol {
    /// HTTP/1, as agreed on.
    Http1,
    /// HTTP/2, as agreed on.
    Http2,
    /// Whatever the first bytes say.
    Sniff,
}

/// Reads until the protocol is known, and for HTTP/1 until something is there. `None`: the client has closed.
///
/// What was read is in `held`, also where this is not waited for any longer.
pub(super) async fn open<S: AsyncRead + Unpin>(
    stream: &mut S,
    protocol: Protocol,
    held: &mut Vec<u8>,
) -> io::Result<Option<Protocol>> {
    loop {
        match protocol {
            // The server may speak first, and a client may wait for that.
            Protocol::Http2 => return Ok(Some(Protocol::Http2)),
            Protocol::Http1 if !held.is_empty() => return Ok(Some(Protocol::Http1)),
            Protocol::Sniff if held.starts_with(PREFACE) => return Ok(Some(Protocol::Http2)),
            Protocol::Sniff if !PREFACE.starts_with(held) => return Ok(Some(Protocol::Http1)),
            Protocol::Http1 | Protocol::Sniff => {}
        }
        if !poll_fn(|cx| poll_more(stream, held, cx)).await? {
            return Ok(None);
        }
    }
}

/// Reads behind what is held, over a buffer that lives for this call alone. `false`: the end.
pub(super) fn poll_more<S: AsyncRead + Unpin>(
    stream: &mut S,
    held: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<bool>> {
    let mut chunk = [MaybeUninit::uninit(); CHUNK];
    let mut more = ReadBuf::uninit(&mut chunk);
    ready!(Pin::new(stream).poll_read(cx, &mut more))?;
    held.extend_from_slice(more.filled());
    Poll::Ready(Ok(!more.filled().is_empty()))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// What is found out about these bytes when they come in two pieces, and what is held then.
    async fn opened(bytes: &[u8], cut: usize) -> (Option<Protocol>, Vec<u8>) {
        let (mut client, mut server) = tokio::io::duplex(64);
        let sending = async move {
            client.write_all(&bytes[..cut]).await.expect("it is taken");
            tokio::task::yield_now().await;
            client.write_all(&bytes[cut..]).await.expect("it is taken");
        };
        let mut held = Vec::new();
        let (found, ()) = tokio::join!(open(&mut server, Protocol::Sniff, &mut held), sending);
        (found.expect("no error"), held)
    }

    #[tokio::test]
    async fn the_preface_is_known_however_it_is_cut() {
        let request = b"GET / HTTP/1.1\r\n";
        let options = b"PRI * HTTP/1.1\r\n";
        for cut in 0..PREFACE.len() {
            let (found, held) = opened(PREFACE, cut).await;
            assert_eq!((found, &held[..]), (Some(Protocol::Http2), PREFACE), "cut at {cut}");
        }
        for bytes in [request, options] {
            for cut in 0..bytes.len() {
                let (found, held) = opened(bytes, cut).await;
                assert_eq!(found, Some(Protocol::Http1), "cut at {cut}");
                assert!(bytes.starts_with(&held), "nothing that was read is lost");
            }
        }
        for cut in 0..PREFACE.len() {
            assert_eq!(opened(&PREFACE[..cut], cut).await.0, None, "closed within the preface");
        }
    }
}
