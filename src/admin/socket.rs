//! Unix sockets as files: bound where nobody answers, with the mode that says who may connect, and
//! taken away at the end.
//!
//! Callers: `admin::server` and `admin::client`; `gateway` for the sockets that it listens on.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use tokio::net::{UnixListener, UnixSocket, UnixStream};

use super::client::is_nobody;

/// The longest path that a Unix socket's address holds on every system we know (107 bytes on Linux, 103 on the BSDs).
const ADDRESS: usize = 103;

/// Listens on a socket of this mode. One that nobody answers on is taken away first; one that somebody answers on, or a
/// file that is no socket, is an error.
pub async fn listen(path: &Path, mode: u32, backlog: u32) -> io::Result<(UnixListener, SocketFile)> {
    clear(path).await?;
    let (_directory, address) = reachable(path)?;
    let socket = UnixSocket::new_stream()?;
    // Linux gives the file the mode that the socket has by now, less the process's mask, so nobody else can
    // ever connect. Where that isn't so, the mode comes a moment late.
    rustix::fs::fchmod(&socket, Mode::from_raw_mode(mode))?;
    socket.bind(&address)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    let file = SocketFile::at(path)?;
    Ok((socket.listen(backlog)?, file))
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
pub struct SocketFile {
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
            tracing::warn!(%error, path = %self.path.display(), "a socket's file was not removed");
        }
    }
}
