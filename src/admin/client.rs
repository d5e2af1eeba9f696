//! The command line's end of the admin socket.
//!
//! Callers: `cli`. Whether to open the store instead is decided there.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::failure::Failure;
use super::line::{self, LineError};
use super::message::{Command, Reply};
use super::socket::reachable;

/// How long connecting may take, and how long a reply: a password may have to wait for its turn to
/// be hashed, and a write for the disk.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
const REPLY_WAIT: Duration = Duration::from_secs(30);

/// A server that answers on its admin socket.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
}

/// Why there is no reply. Whether the command was carried out isn't known then.
#[derive(Debug, thiserror::Error)]
#[error(
    "the server at the admin socket {} did not answer, so it isn't known whether the command was carried out; \
     look at its log",
    path.display()
)]
pub struct ClientError {
    path: PathBuf,
    source: LineError,
}

/// The server behind this socket; `None` where there is no socket, or one that nobody listens on.
pub async fn connect(path: &Path) -> io::Result<Option<Client>> {
    match dial(path).await {
        Ok(_) => Ok(Some(Client { path: path.to_owned() })),
        Err(error) if is_nobody(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Client {
    /// Sends one command and waits for its reply.
    ///
    /// Each has a connection of its own, so that nothing is lost while a person thinks about a question.
    pub async fn request(&self, command: &Command) -> Result<Reply, ClientError> {
        let failed = |source| ClientError { path: self.path.clone(), source };
        let mut stream = BufReader::new(dial(&self.path).await.map_err(|error| failed(error.into()))?);
        match line::write(&mut stream, command).await {
            Ok(()) => {}
            Err(LineError::TooLong) => {
                return Ok(Reply::Failed(Failure::TooLong { limit: line::MAX_LINE }));
            }
            Err(error) => return Err(failed(error)),
        }
        let reply = line::read(&mut stream, REPLY_WAIT).await.map_err(failed)?;
        reply.ok_or_else(|| failed(io::Error::from(io::ErrorKind::UnexpectedEof).into()))
    }
}

async fn dial(path: &Path) -> io::Result<UnixStream> {
    let (_directory, path) = reachable(path)?;
    let stream = timeout(CONNECT_WAIT, UnixStream::connect(path)).await;
    stream.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Whether connecting failed for want of a server, not for want of a right.
pub(super) fn is_nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory
    )
}
