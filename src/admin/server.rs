//! The server's end of the admin socket.
//!
//! Who may come in is the operating system's answer twice over: the socket's mode is 0600, and the
//! user at the other end must be our own or root.
//!
//! Callers: `gateway`, which has opened the store before it binds: its lock makes sure that a socket
//! nobody answers on is one that a crash left behind.

use std::fs;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::{Mode, OFlags};
use tokio::io::BufReader;
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::client::is_nobody;
use super::line::{self, LineError};
use super::message::{Command, Failure, LinkBase, Reply};
use super::perform::perform;
use crate::account::Accounts;

/// How long a connection may take to send its command.
const READ_WAIT: Duration = Duration::from_secs(10);
/// How long commands that have begun may take when the server stops.
const STOP_WAIT: Duration = Duration::from_secs(10);
/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 16;
/// The longest path that a Unix socket's address holds on every system we know (107 bytes on Linux, 103 on the BSDs).
const ADDRESS: usize = 103;

/// The bound socket. Its file goes when this goes.
#[derive(Debug)]
pub struct AdminServer {
    _file: SocketFile,
    listener: UnixListener,
}

impl AdminServer {
    /// Binds the socket. One that nobody answers on is taken away first; one that somebody answers
    /// on, or a file that is no socket, is an error.
    pub async fn bind(path: &Path) -> io::Result<Self> {
        clear(path).await?;
        let (_directory, address) = reachable(path)?;
        let socket = UnixSocket::new_stream()?;
        // Linux gives the file the mode that the socket has by now, so nobody else can ever connect.
        // Where that isn't so, the mode comes a moment late and the check of the peer holds alone.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        socket.bind(&address)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        let file = SocketFile::at(path)?;
        Ok(Self { _file: file, listener: socket.listen(CONNECTIONS as u32)? })
    }

    /// Answers until `stop`; what has begun by then is finished.
    pub async fn run(self, accounts: Accounts, links: LinkBase, stop: impl Future<Output = ()>) {
        let accounts = Arc::new((accounts, links));
        let answer = move |command: Command| {
            let accounts = Arc::clone(&accounts);
            async move { perform(&accounts.0, &accounts.1, command, SystemTime::now()).await }
        };
        self.answer_with(answer, stop).await;
    }

    async fn answer_with<A, R>(self, answer: A, stop: impl Future<Output = ()>)
    where
        A: Fn(Command) -> R + Clone + Send + 'static,
        R: Future<Output = Reply> + Send,
    {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let (stopping, stopped) = watch::channel(());
        let mut connections = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            let place = Arc::clone(&places).acquire_owned();
            let next = async {
                let place = place.await;
                (place, self.listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                next = next => next,
                () = &mut stop => break,
            };
            while connections.try_join_next().is_some() {}
            match accepted {
                Ok((stream, _)) if is_allowed(&stream) => {
                    let (answer, stopped) = (answer.clone(), stopped.clone());
                    connections.spawn(async move {
                        converse(stream, answer, stopped).await;
                        drop(place);
                    });
                }
                Ok(_) => tracing::warn!("another user's connection to the admin socket was refused"),
                Err(error) => {
                    // No file descriptor is free, say: that passes, and must not become a busy loop.
                    tracing::warn!(%error, "the admin socket accepts no connection");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(stopping);
        if timeout(STOP_WAIT, async { while connections.join_next().await.is_some() {} }).await.is_err() {
            tracing::warn!("an administration command was not finished at the stop");
        }
    }
}

/// One connection: a line in, a line out, until the other end closes or we stop.
async fn converse<A, R>(stream: UnixStream, answer: A, mut stopped: watch::Receiver<()>)
where
    A: Fn(Command) -> R,
    R: Future<Output = Reply>,
{
    let mut stream = BufReader::new(stream);
    loop {
        let command = tokio::select! {
            command = line::read::<Command>(&mut stream, READ_WAIT) => command,
            _ = stopped.changed() => return,
        };
        let (reply, goes_on) = match command {
            Ok(Some(command)) => {
                let name = command.name();
                let reply = answer(command).await;
                let failed = matches!(reply, Reply::Failed(_));
                tracing::info!(admin.command = name, admin.failed = failed, "administration");
                (reply, true)
            }
            Ok(None) | Err(LineError::Io(_) | LineError::Late(_)) => return,
            Err(LineError::Garbage) => (Reply::Failed(Failure::NotUnderstood), true),
            // Where the next line begins isn't known.
            Err(LineError::TooLong) => (Reply::Failed(Failure::TooLong { limit: line::MAX_LINE }), false),
        };
        if let Err(error) = line::write(&mut stream, &reply).await {
            tracing::debug!(%error, "the reply to an administration command was not read");
            return;
        }
        if !goes_on {
            return;
        }
    }
}

fn is_allowed(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}

/// Takes away a socket that nobody answers on.
async fn clear(path: &Path) -> io::Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !kind.is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
    }
    let (_directory, address) = reachable(path)?;
    match UnixStream::connect(address).await {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another server answers on it")),
        Err(error) if is_nobody(&error) => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

/// The same file under a path that fits into a Unix socket's address; good as long as the directory is held.
pub(super) fn reachable(path: &Path) -> io::Result<(Option<OwnedFd>, PathBuf)> {
    if path.as_os_str().len() <= ADDRESS {
        return Ok((None, path.to_owned()));
    }
    let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "the path is too long for a Unix socket");
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(too_long()) };
    let directory =
        rustix::fs::open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&directory);
    let short = PathBuf::from(format!("/proc/self/fd/{number}")).join(name);
    if short.as_os_str().as_bytes().len() > ADDRESS {
        return Err(too_long());
    }
    Ok((Some(directory), short))
}

/// The file of a bound socket; it goes with the value, unless another has taken its place.
#[derive(Debug)]
struct SocketFile {
    id: (u64, u64),
    path: PathBuf,
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        let found = fs::symlink_metadata(path)?;
        Ok(Self { id: (found.dev(), found.ino()), path: path.to_owned() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.id);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, "the admin socket's file was not removed");
        }
    }
}

#[cfg(test)]
mod tests;
