//! The stop: who is told to go, who may finish, and how long it takes.

use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::edge::Server;
use crate::harness::{Connection, Gateway, Upstream, complete, foregate, run, wait_until};
use crate::listeners::Load;

/// Far below the bound on the drain.
const SOON: Duration = Duration::from_secs(5);

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: app.test\r\n\r\n";

/// Answers `/slow` once it is let; switches protocols; begins streams of events; answers anything else at once.
fn server(go: &Arc<AtomicBool>) -> Server {
    let go = Arc::clone(go);
    Server::start(move |peer| {
        while let Some(head) = peer.head() {
            let head = head.to_lowercase();
            if head.contains("upgrade: echo") {
                peer.write(
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n",
                );
                return peer.wait_for_end();
            }
            if head.starts_with("get /events") {
                peer.write("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n");
                return peer.wait_for_end();
            }
            if head.starts_with("get /slow") {
                peer.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nslow ");
                while !go.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(10));
                }
                peer.write("hello");
                continue;
            }
            if head.starts_with("get /wait") {
                while !go.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            peer.write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
        }
    })
}

fn start(server: &Server, head: &str) -> Gateway {
    Gateway::start(&format!(
        "{head}\nupstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, access: public, upstream: app }}]\n",
        server.address
    ))
}

fn open(gateway: &Gateway, target: &str, more: &str) -> Connection {
    let mut connection = gateway.connect();
    connection.write(format!("GET {target} HTTP/1.1\r\nhost: app.test\r\n{more}\r\n").as_bytes());
    connection
}

#[test]
fn what_is_running_finishes_and_what_would_never_finish_is_told_to_go() {
    let go = Arc::new(AtomicBool::new(false));
    let server = server(&go);
    let mut gateway = start(&server, "");
    let mut slow = open(&gateway, "/slow", "");
    assert_eq!(slow.head().status, 200);
    let mut waiting = open(&gateway, "/wait", "");
    let mut tunnel = open(&gateway, "/", "connection: upgrade\r\nupgrade: echo\r\n");
    assert_eq!(tunnel.head().status, 101);
    let mut events = open(&gateway, "/events", "");
    assert_eq!(events.head().status, 200);
    let mut idle = open(&gateway, "/", "");
    assert_eq!(idle.reply(false).status, 200);
    let address = gateway.address;
    wait_until(|| server.accepted() >= 4, || format!("{} connections", server.accepted()));
    gateway.signal("TERM");
    let began = Instant::now();
    // What has nothing to finish goes at once: the others still wait for their server.
    assert!(idle.is_closed());
    tunnel.read_to_end();
    events.read_to_end();
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    wait_until(|| TcpStream::connect(address).is_err(), || "it listens still".to_owned());
    // Administration goes on until the end.
    let status = gateway.command(&["status", "--json"], "");
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
    assert_eq!(status["ready"], false, "{status}");
    let refused = gateway.command(&["reload"], "");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("it is stopping"), "{refused:?}");
    go.store(true, Ordering::Relaxed);
    assert_eq!(slow.read(10), b"slow hello");
    assert!(slow.is_closed());
    let reply = waiting.reply(false);
    assert_eq!(
        (reply.status, reply.header("connection"), reply.text().as_str()),
        (200, Some("close"), "hello")
    );
    assert!(waiting.is_closed());
    assert_eq!(gateway.wait(), Some(0), "{}", gateway.log());
    assert!(gateway.log().contains("\"stopped\""), "{}", gateway.log());
}

#[test]
fn a_stream_of_events_holds_no_stop_up() {
    let server = server(&Arc::default());
    let mut gateway = start(&server, "");
    let mut events = open(&gateway, "/events", "");
    assert_eq!(events.head().status, 200);
    let began = Instant::now();
    gateway.signal("TERM");
    events.read_to_end();
    assert_eq!(gateway.wait(), Some(0), "{}", gateway.log());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn a_client_that_has_just_connected_may_still_ask() {
    let go = Arc::new(AtomicBool::new(true));
    let server = server(&go);
    let mut gateway = start(&server, "");
    let mut connections: Vec<Connection> = (0..20).map(|_| gateway.connect()).collect();
    gateway.signal("TERM");
    gateway.wait_for_log("stopping");
    for connection in &mut connections {
        connection.write(GET);
        let reply = connection.reply(false);
        assert_eq!((reply.status, reply.header("connection")), (200, Some("close")), "{reply:?}");
        assert!(connection.is_closed());
    }
    // One that asks for nothing is not waited for.
    let began = Instant::now();
    assert_eq!(gateway.wait(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn readiness_turns_first_and_the_port_closes_after_the_delay() {
    let go = Arc::new(AtomicBool::new(true));
    let server = server(&go);
    let mut gateway = start(&server, "limits: { drain_delay: 2s }");
    let mut kept = open(&gateway, "/.auth/readyz", "");
    assert_eq!(kept.reply(false).status, 200);
    let mut tunnel = open(&gateway, "/", "connection: upgrade\r\nupgrade: echo\r\n");
    assert_eq!(tunnel.head().status, 101);
    let began = Instant::now();
    gateway.signal("TERM");
    gateway.wait_for_log("not ready any more");
    // On the connection that was open, and on new ones, which are taken as before; each is asked to come back anew.
    kept.write(b"GET /.auth/readyz HTTP/1.1\r\nhost: app.test\r\n\r\n");
    let reply = kept.reply(false);
    assert_eq!((reply.status, reply.header("connection")), (503, Some("close")), "{reply:?}");
    assert!(kept.is_closed());
    assert_eq!(gateway.get("/.auth/readyz", &[]).status, 503);
    assert_eq!(gateway.get("/.auth/healthz", &[]).status, 200);
    assert_eq!(gateway.get("/", &[]).text(), "hello");
    assert!(tunnel.stays_open(), "tunnels live on in the delay");
    assert!(began.elapsed() < Duration::from_secs(2), "the delay is over too early to say anything");
    assert_eq!(gateway.wait(), Some(0), "{}", gateway.log());
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(tunnel.is_closed());
}

#[test]
fn a_second_signal_ends_at_once() {
    let go = Arc::new(AtomicBool::new(false));
    let server = server(&go);
    for (head, second) in [("", "TERM"), ("", "INT"), ("limits: { drain_delay: 10m }", "TERM")] {
        let mut gateway = start(&server, head);
        let mut slow = open(&gateway, "/slow", "");
        assert_eq!(slow.head().status, 200);
        gateway.signal("TERM");
        gateway.wait_for_log("stopping");
        let began = Instant::now();
        gateway.signal(second);
        assert_eq!(gateway.wait(), Some(1), "{}", gateway.log());
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        assert!(gateway.log().contains("ending at once"), "{}", gateway.log());
    }
    go.store(true, Ordering::Relaxed);
}

#[test]
fn a_stop_under_load_breaks_no_request_off() {
    let upstream = Upstream::start();
    for _ in 0..5 {
        let mut gateway = Gateway::in_front_of(upstream.address, ", access: public");
        let load = Load::on(gateway.address, 8);
        std::thread::sleep(Duration::from_millis(200));
        gateway.signal("TERM");
        let code = gateway.wait();
        let (answered, failed) = load.stop();
        assert_eq!(code, Some(0), "{}", gateway.log());
        // Who comes too late is refused, as before the start.
        let broken: Vec<_> = failed.iter().filter(|error| !error.contains("refused")).collect();
        assert!(
            broken.is_empty() && answered > 0,
            "{answered} answered, {}: {:?}",
            broken.len(),
            broken.first()
        );
    }
}

#[test]
fn a_thread_that_fails_ends_the_program_and_it_says_that_it_failed() {
    let directory = tempfile::tempdir().expect("a folder");
    let file = directory.path().join("foregate.yaml");
    let yaml = "upstreams: { app: \"http://127.0.0.1:9\" }\nroutes: [{ path: /**, access: public, upstream: app }]\n";
    std::fs::write(&file, complete(yaml)).expect("the configuration is written");
    // With how few descriptors the threads alone fail is for the operating system to say.
    for descriptors in 10..40 {
        let mut command = Command::new("timeout");
        command.args(["10", "sh", "-c", "ulimit -n \"$1\"; exec \"$0\" serve --config \"$2\""]);
        command.arg(foregate().get_program()).arg(descriptors.to_string()).arg(&file);
        let output = run(&mut command, "");
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        if log.contains("a thread of the gateway could not start") {
            assert_eq!(output.status.code(), Some(1), "{log}");
            assert!(log.ends_with("error: a thread of the gateway has failed; the log says why\n"), "{log}");
            return;
        }
        // The command that counts the time has a code of its own for its end.
        assert_ne!(output.status.code(), Some(124), "it runs with {descriptors}:\n{log}");
    }
    panic!("no thread has failed");
}
