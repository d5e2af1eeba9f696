//! Listening sockets: one for each thread on every address, so that the kernel spreads connections
//! and no thread waits for another.
//!
//! Callers: `gateway` at its start.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel holds until a thread takes them.
const BACKLOG: i32 = 1024;

/// Why an address can't be listened on; the sentence is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Anything else.
    #[error("can't listen on {0}: {1}")]
    Other(SocketAddr, #[source] io::Error),
    /// Another process has it.
    #[error(
        "can't listen on {0}: another program has this port; stop it, or set `listen` to another address"
    )]
    Taken(SocketAddr),
    /// A port below 1024 without the right.
    #[error(
        "can't listen on {0}: ports below 1024 need the capability CAP_NET_BIND_SERVICE; set `listen` to a higher port"
    )]
    Forbidden(SocketAddr),
    /// No interface has it.
    #[error("can't listen on {0}: this machine does not have that address; see `ip address`")]
    NotHere(SocketAddr),
}

/// Opens `count` sockets on one address. With port 0 all get the same port, of the kernel's choice.
pub(super) fn listen(address: SocketAddr, count: usize) -> Result<Vec<TcpListener>, ListenError> {
    let explain = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => ListenError::Taken(address),
        io::ErrorKind::PermissionDenied => ListenError::Forbidden(address),
        io::ErrorKind::AddrNotAvailable => ListenError::NotHere(address),
        _ => ListenError::Other(address, error),
    };
    if address.port() != 0 {
        // Sockets that share a port would also share it with another process of ours, which takes
        // half of the connections and says nothing. So the first look is without sharing.
        open(address, false).map_err(explain)?;
    }
    let first = open(address, true).map_err(explain)?;
    let address = first.local_addr().map_err(explain)?;
    let mut sockets = vec![first];
    for _ in 1..count {
        sockets.push(open(address, true).map_err(explain)?);
    }
    Ok(sockets)
}

fn open(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if shared {
        socket.listen(BACKLOG)?;
    }
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_told_even_if_it_could_be_shared() {
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        let sockets = listen(here, 2).expect("a free port");
        let address = sockets[0].local_addr().expect("an address");
        assert_eq!(sockets[1].local_addr().expect("an address"), address);
        let error = listen(address, 1).expect_err("it is taken");
        assert!(matches!(error, ListenError::Taken(_)), "{error}");
    }

    #[test]
    fn an_address_of_another_machine_is_told() {
        let error = listen(SocketAddr::from(([192, 0, 2, 1], 0)), 1).expect_err("a documentation address");
        assert!(matches!(error, ListenError::NotHere(_)), "{error}");
    }
}
