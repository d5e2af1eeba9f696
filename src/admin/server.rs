//! The server's end of the admin socket.
//!
//! Who may come in is the operating system's answer twice over: the socket's mode is 0600, and the
//! user at the other end must be our own or root.
//!
//! Callers: `gateway`, which has opened the store before it binds: its lock makes sure that a socket
//! nobody answers on is one that a crash left behind.

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::BufReader;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::failure::Failure;
use super::line::{self, LineError};
use super::message::{Command, Reply};
use super::socket::{self, SocketFile};
use crate::telemetry::audit;

/// How long a connection may take to send its command.
const READ_WAIT: Duration = Duration::from_secs(10);
/// How long commands that have begun may take when the server stops.
const STOP_WAIT: Duration = Duration::from_secs(10);
/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 16;

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
        let (listener, file) = socket::listen(path, 0o600, CONNECTIONS as u32).await?;
        Ok(Self { _file: file, listener })
    }

    /// Answers until `stop`; what has begun by then is finished.
    pub async fn run<A, R>(self, answer: A, stop: impl Future<Output = ()>)
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
    let uid = stream.peer_cred().map_or(u32::MAX, |peer| peer.uid());
    let mut stream = BufReader::new(stream);
    loop {
        let command = tokio::select! {
            command = line::read::<Command>(&mut stream, READ_WAIT) => command,
            _ = stopped.changed() => return,
        };
        let (reply, goes_on) = match command {
            Ok(Some(command)) => {
                let (name, quiet) = (command.name(), command.is_one_of_many());
                let reply = audit::within(audit::Origin::CommandLine { uid }, answer(command)).await;
                let failed = matches!(reply, Reply::Failed(_));
                if failed || !quiet {
                    tracing::info!(admin.command = name, admin.failed = failed, "administration");
                }
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

#[cfg(test)]
mod tests;
