//! Small pieces on their way to a socket, put together.
//!
//! hyper writes a head and a short body as two slices. `writev` takes its way through the file system's layers, which
//! `send` spares: for a kilobyte that is a twelfth of the kernel's time for a request, and copying it costs next to nothing.
//!
//! Callers: `proxy::wire` towards servers, `gateway::stream` towards clients.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

/// Larger writes are better off without a copy.
const BYTES: usize = 4096;

thread_local! {
    static TOGETHER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes these slices to a plain socket, as `AsyncWrite::poll_write_vectored` does.
pub fn poll_write<S: AsyncWrite + Unpin>(
    socket: &mut S,
    cx: &mut Context<'_>,
    slices: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    match slices {
        [one] => Pin::new(socket).poll_write(cx, one),
        small if small.iter().map(|slice| slice.len()).sum::<usize>() <= BYTES => {
            TOGETHER.with_borrow_mut(|together| {
                together.clear();
                for slice in small {
                    together.extend_from_slice(slice);
                }
                Pin::new(socket).poll_write(cx, together)
            })
        }
        large => Pin::new(socket).poll_write_vectored(cx, large),
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn what_is_written_arrives_in_its_order_whatever_its_size() {
        let (mut near, mut far) = tokio::io::duplex(64 * 1024);
        for sizes in [&[0][..], &[5], &[1, 2, 3], &[100, 0, 3996], &[100, 0, 3997], &[1, 9000, 2], &[]] {
            let pieces: Vec<Vec<u8>> =
                sizes.iter().zip(b'a'..).map(|(&size, byte)| vec![byte; size]).collect();
            let mut sent = 0;
            let all = pieces.concat();
            while sent < all.len() {
                // What was taken is not offered again.
                let mut skip = sent;
                let rest: Vec<_> = pieces
                    .iter()
                    .map(|piece| {
                        let begin = skip.min(piece.len());
                        skip -= begin;
                        IoSlice::new(&piece[begin..])
                    })
                    .collect();
                sent += poll_fn(|cx| poll_write(&mut near, cx, &rest)).await.expect("it is taken");
            }
            let mut arrived = vec![0; all.len()];
            far.read_exact(&mut arrived).await.expect("it arrives");
            assert_eq!(arrived, all, "{sizes:?}");
        }
    }
}
