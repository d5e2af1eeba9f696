//! The protocol over a real socket, with an answer that needs no store.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener as StaleListener;
use std::path::PathBuf;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::admin::connect;

struct Running {
    directory: TempDir,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let server = AdminServer::bind(&directory.path().join("admin.sock")).await.expect("it binds");
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(server.run(reply, async { drop(stopped.await) }));
        Self { directory, stop, task }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("admin.sock")
    }

    async fn stop(self) -> TempDir {
        drop(self.stop);
        self.task.await.expect("it ends");
        self.directory
    }

    /// Sends raw bytes and reads everything that comes back until the other end closes.
    async fn raw(&self, bytes: &[u8], lines: usize) -> Vec<String> {
        let mut stream = BufReader::new(UnixStream::connect(self.path()).await.expect("it connects"));
        // The server may have closed before it read all of a line that is too long.
        drop(stream.write_all(bytes).await);
        let mut seen = Vec::new();
        for _ in 0..lines {
            let mut line = String::new();
            stream.read_line(&mut line).await.expect("a line");
            seen.push(line.trim_end().to_owned());
        }
        seen
    }
}

async fn reply(command: Command) -> Reply {
    match command {
        Command::UserShow { login } => Reply::Failed(Failure::NotFound { login, nearest: None }),
        _ => Reply::Reloaded { config: PathBuf::new(), warnings: vec!["seven".to_owned()] },
    }
}

#[tokio::test]
async fn a_command_is_answered() {
    let server = Running::start().await;
    let client = connect(&server.path()).await.expect("may connect").expect("it listens");
    let reply = client.request(&Command::UserShow { login: "李雷".to_owned() }).await.expect("a reply");
    let Reply::Failed(Failure::NotFound { login, .. }) = reply else { panic!("{reply:?}") };
    assert_eq!(login, "李雷");
    let reply = client.request(&Command::Reload).await.expect("a second one");
    assert!(matches!(reply, Reply::Reloaded { .. }), "{reply:?}");
    server.stop().await;
}

#[tokio::test]
async fn garbage_is_answered_and_the_next_line_still_counts() {
    let server = Running::start().await;
    let seen = server.raw(b"GET / HTTP/1.1\n\"reload\"\n", 2).await;
    assert_eq!(seen[0], r#"{"failed":"not_understood"}"#);
    assert!(seen[1].starts_with(r#"{"reloaded":"#), "{seen:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_line_over_the_bound_is_answered_and_the_connection_closed() {
    let server = Running::start().await;
    let seen = server.raw(&vec![b'x'; line::MAX_LINE + 2], 1).await;
    assert!(seen[0].contains("too_long"), "{seen:?}");
    server.stop().await;
}

#[tokio::test]
async fn only_the_owner_may_use_the_socket_and_it_goes_at_the_end() {
    let server = Running::start().await;
    let mode = fs::metadata(server.path()).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let path = server.path();
    let _directory = server.stop().await;
    assert!(!path.exists());
    assert!(connect(&path).await.expect("nobody is no failure").is_none());
}

#[tokio::test]
async fn a_silent_connection_does_not_hold_up_the_stop() {
    let server = Running::start().await;
    let mut silent = UnixStream::connect(server.path()).await.expect("it connects");
    server.raw(b"\"status\"\n", 1).await;
    server.stop().await;
    let mut rest = Vec::new();
    silent.read_to_end(&mut rest).await.expect("closed");
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_or_a_file_is_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("admin.sock");
    drop(StaleListener::bind(&path).expect("it binds"));
    assert!(path.exists(), "the standard library leaves the file");
    assert!(connect(&path).await.expect("stale is no failure").is_none());
    let first = AdminServer::bind(&path).await.expect("the stale one is replaced");
    let error = AdminServer::bind(&path).await.expect_err("the first is there");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    drop(first);
    fs::write(&path, "precious").expect("it writes");
    let error = AdminServer::bind(&path).await.expect_err("a file is there");
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&path).expect("still there"), b"precious");
}

#[tokio::test]
async fn a_path_longer_than_an_address_works() {
    let directory = tempfile::tempdir().expect("a directory");
    let deep = directory.path().join("d".repeat(120));
    fs::create_dir(&deep).expect("it is made");
    let path = deep.join("admin.sock");
    let server = AdminServer::bind(&path).await.expect("it binds");
    assert!(connect(&path).await.expect("may connect").is_some());
    drop(server);
    assert!(!path.exists());
}
