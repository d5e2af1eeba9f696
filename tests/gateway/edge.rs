//! What the tests of the HTTP edge share: refusals of unsound requests, servers that do as they are
//! told, and looks into the process.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{Gateway, PATIENCE, Reply};

/// Bytes as text, cut to what fits a message.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(300)];
    format!("{:?}", String::from_utf8_lossy(start))
}

/// Sends bytes that are refused, and expects what all such refusals have in common.
#[track_caller]
pub(crate) fn refused(gateway: &Gateway, bytes: &[u8], status: u16) -> Reply {
    let mut connection = gateway.connect();
    connection.write(bytes);
    let reply = connection.reply(false);
    assert_eq!(reply.status, status, "{}: {reply:?}", shown(bytes));
    check_refusal(&reply, bytes);
    let more = connection.read_to_end();
    assert!(more.is_empty(), "{} is followed by {}", shown(bytes), shown(&more));
    reply
}

/// What every refusal carries.
#[track_caller]
pub(crate) fn check_refusal(reply: &Reply, bytes: &[u8]) {
    let case = shown(bytes);
    assert_eq!(reply.all("cache-control"), ["no-store"], "{case}: {reply:?}");
    assert_eq!(reply.all("connection"), ["close"], "{case}: {reply:?}");
    let ids = reply.all("x-request-id");
    assert!(ids.len() == 1 && ids[0].len() == 32, "{case}: {reply:?}");
    if reply.header("content-type").is_some_and(|kind| kind.starts_with("text/html")) {
        assert!(reply.text().contains(ids[0]), "{case}: {reply:?}");
        return;
    }
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{case}: {reply:?}");
    let problem = reply.json();
    assert_eq!(problem["status"], reply.status, "{case}: {reply:?}");
    for member in ["title", "detail", "code"] {
        assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{case}: {reply:?}");
    }
    assert_eq!(problem["request_id"], ids[0], "{case}: {reply:?}");
}

/// A server that does with each connection what it is told.
pub(crate) struct Server {
    accepted: Arc<AtomicUsize>,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Each connection is served on a thread of its own.
    pub(crate) fn start(serve: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let accepted = Arc::new(AtomicUsize::new(0));
        let (serve, count) = (Arc::new(serve), Arc::clone(&accepted));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::SeqCst);
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || serve(&mut Peer::new(stream)));
            }
        });
        Self { accepted, address }
    }

    /// How many connections were made to it.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// A server's end of a connection. What fails here is seen by the client.
pub(crate) struct Peer(BufReader<TcpStream>);

impl Peer {
    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("nodelay can be set");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        Self(BufReader::new(stream))
    }

    /// The head of the next request, its empty line included; `None` at the end.
    pub(crate) fn head(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            self.0.read_until(b'\n', &mut head).ok().filter(|&read| read > 0)?;
        }
        Some(String::from_utf8_lossy(&head).into_owned())
    }

    /// Exactly so many bytes, if they come.
    pub(crate) fn read(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).ok().map(|()| bytes)
    }

    /// Whatever is there; empty at the end.
    pub(crate) fn read_some(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 64 * 1024];
        let read = self.0.read(&mut bytes).unwrap_or(0);
        bytes.truncate(read);
        bytes
    }

    /// Whether it went out.
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.get_mut().write_all(bytes.as_ref()).is_ok()
    }

    /// Waits for the other side to close.
    pub(crate) fn wait_for_end(&mut self) {
        while !self.read_some().is_empty() {}
    }

    /// What is dropped from now on ends with a reset, and nobody reads what was under way.
    pub(crate) fn reset(&mut self) {
        let socket = socket2::SockRef::from(self.0.get_ref());
        socket.set_linger(Some(std::time::Duration::ZERO)).expect("linger can be set");
    }

    /// Sends nothing more.
    pub(crate) fn finish(&mut self) {
        let _ = self.0.get_mut().shutdown(Shutdown::Write);
    }
}

/// A number of kilobytes from the process's status: `VmRSS`, or `VmHWM` for the most it ever was.
pub(crate) fn memory(gateway: &Gateway, what: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.id())).expect("it is running");
    let line = status.lines().find(|line| line.starts_with(what)).expect("the kernel says it");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}
