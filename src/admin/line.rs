//! One JSON line in, one out, within a bound and a deadline.
//!
//! Callers: both ends of the admin socket. What a line says is `message`'s.

use std::io;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use zeroize::Zeroizing;

/// Bytes of the longest line, its end not counted.
pub(super) const MAX_LINE: usize = 1024 * 1024;
/// How long writing a line may take: past that the other end has stopped reading.
const WRITE_WAIT: Duration = Duration::from_secs(10);

/// Why there is no message.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    /// It isn't one. Says no more, for what it holds may be a secret.
    #[error("the line is not a message of this protocol")]
    Garbage,
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It took too long.
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
    /// Over the bound.
    #[error("the line is longer than {MAX_LINE} bytes")]
    TooLong,
}

/// The next message; `None` where the other end has closed between two lines.
pub(super) async fn read<T: DeserializeOwned>(
    reader: &mut (impl AsyncBufRead + Unpin),
    wait: Duration,
) -> Result<Option<T>, LineError> {
    let mut line = Zeroizing::new(Vec::new());
    // The line's end and one byte more would fit only if it were too long.
    let mut bounded = reader.take(MAX_LINE as u64 + 1);
    let read = timeout(wait, bounded.read_until(b'\n', &mut line)).await;
    if read.map_err(|_| LineError::Late(wait))?? == 0 {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        // Without its end it is over the bound, or the other end went away within it.
        return Err(if line.len() == MAX_LINE { LineError::TooLong } else { LineError::Garbage });
    }
    serde_json::from_slice(&line).map(Some).map_err(|_| LineError::Garbage)
}

/// Writes one message.
pub(super) async fn write<T: Serialize>(
    writer: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> Result<(), LineError> {
    let mut line = Zeroizing::new(Vec::with_capacity(8 * 1024));
    serde_json::to_writer(&mut *line, message).map_err(io::Error::from)?;
    if line.len() > MAX_LINE {
        return Err(LineError::TooLong);
    }
    line.push(b'\n');
    let written = timeout(WRITE_WAIT, async {
        writer.write_all(&line).await?;
        writer.flush().await
    });
    Ok(written.await.map_err(|_| LineError::Late(WRITE_WAIT))??)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(1);

    async fn string(mut bytes: &[u8]) -> Result<Option<String>, LineError> {
        read(&mut bytes, WAIT).await
    }

    #[tokio::test]
    async fn lines_are_read_one_at_a_time() {
        let mut bytes = &b"\"one\"\n\"two\"\n"[..];
        for expected in [Some("one"), Some("two"), None] {
            let line: Option<String> = read(&mut bytes, WAIT).await.expect("a line");
            assert_eq!(line.as_deref(), expected);
        }
    }

    #[tokio::test]
    async fn the_longest_line_is_taken_and_a_longer_one_is_not() {
        let longest = format!("\"{}\"\n", "x".repeat(MAX_LINE - 2));
        assert!(string(longest.as_bytes()).await.is_ok());
        for end in ["\n", "", "\nmore"] {
            let longer = format!("\"{}\"{end}", "x".repeat(MAX_LINE - 1));
            assert!(matches!(string(longer.as_bytes()).await, Err(LineError::TooLong)), "{end:?}");
        }
        let mut sink = Vec::new();
        assert!(matches!(write(&mut sink, &"x".repeat(MAX_LINE)).await, Err(LineError::TooLong)));
        assert!(sink.is_empty());
    }

    #[tokio::test]
    async fn garbage_is_refused_and_not_repeated() {
        for bad in [&b"hunter2\n"[..], b"\"hunter2", b"\n", b"\xff\n", b"7\n"] {
            let error = string(bad).await.expect_err("no message");
            assert!(matches!(error, LineError::Garbage), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_line_that_does_not_end_is_given_up() {
        let (mut near, far) = tokio::io::duplex(64);
        near.write_all(b"\"half").await.expect("it fits");
        let mut far = tokio::io::BufReader::new(far);
        assert!(matches!(read::<String>(&mut far, Duration::from_millis(20)).await, Err(LineError::Late(_))));
    }
}
