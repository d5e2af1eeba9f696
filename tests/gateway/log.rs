//! The log: that it keeps nobody waiting, that a client can't fill it, and that no request is missing from it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::{Connection, Gateway, PATIENCE, Upstream, complete, foregate, wait_until};

/// Far above what it takes.
const SOON: Duration = Duration::from_secs(5);

/// A request that nobody can understand.
const UNSOUND: &[u8] = b"GET /a\\b HTTP/1.1\r\nhost: app.test\r\n\r\n";
const SOUND: &[u8] = b"GET /x HTTP/1.1\r\nhost: app.test\r\n\r\n";

/// A gateway whose standard error is read until it listens, and no further.
struct Unread {
    address: SocketAddr,
    child: Child,
    _directory: TempDir,
    /// Open, whether it is read or not.
    stderr: Option<BufReader<ChildStderr>>,
}

impl Unread {
    fn start(upstream: SocketAddr, more: &str) -> Self {
        let directory = tempfile::tempdir().expect("a folder");
        let file = directory.path().join("foregate.yaml");
        let yaml = format!(
            "upstreams: {{ app: \"http://{upstream}\" }}\nroutes:\n  - {{ path: /**, upstream: app, access: public }}\n{more}"
        );
        std::fs::write(&file, complete(&yaml)).expect("the configuration is written");
        let mut command = foregate();
        command.args(["serve", "--config"]).arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("stderr is a pipe"));
        let address = loop {
            let mut line = String::new();
            assert!(stderr.read_line(&mut line).expect("text") > 0, "it does not listen");
            let line: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(address) = line["listen.address"].as_str() {
                break address.parse().expect("an address");
            }
        };
        Self { address, child, _directory: directory, stderr: Some(stderr) }
    }

    /// One request on a connection of its own; its status, or 0 where no answer comes in time.
    fn status(&self, request: &[u8]) -> u16 {
        let (tell, told) = mpsc::channel();
        let (address, request) = (self.address, request.to_vec());
        std::thread::spawn(move || {
            let mut connection = Connection::to(address);
            connection.write(&request);
            let _ = tell.send(connection.reply(false).status);
        });
        told.recv_timeout(SOON).unwrap_or(0)
    }

    /// More lines than a pipe has room for.
    fn fill(&self) {
        for _ in 0..12 {
            let mut connection = Connection::to(self.address);
            for _ in 0..100 {
                connection.write(SOUND);
                assert_eq!(connection.reply(false).status, 200);
            }
        }
        // They are handed over a few times a second.
        std::thread::sleep(Duration::from_millis(500));
    }

    fn terminate(&mut self) -> Option<i32> {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
        let begun = Instant::now();
        while begun.elapsed() < 2 * SOON {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not end");
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_standard_error_that_nobody_reads_stops_neither_requests_nor_the_end() {
    let upstream = Upstream::start();
    let mut gateway = Unread::start(upstream.address, "log: { level: debug }\n");
    gateway.fill();
    for _ in 0..12 {
        assert_eq!(gateway.status(UNSOUND), 400);
    }
    for _ in 0..12 {
        assert_eq!(gateway.status(SOUND), 200);
    }
    assert_eq!(gateway.terminate(), Some(0));
}

#[test]
fn a_standard_error_that_is_read_again_has_every_line_that_waited() {
    let upstream = Upstream::start();
    let mut gateway = Unread::start(upstream.address, "");
    gateway.fill();
    assert_eq!(gateway.status(UNSOUND), 400);
    let mut stderr = gateway.stderr.take().expect("it is open");
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).expect("text");
        text
    });
    assert_eq!(gateway.terminate(), Some(0));
    let text = reading.join().expect("it is read");
    assert_eq!(text.matches(r#""path":"/x""#).count(), 1200);
    assert!(text.contains("an unsound request was refused"), "{text}");
    assert!(text.lines().last().is_some_and(|line| line.contains(r#""message":"stopped""#)), "the last line");
    assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "whole lines");
}

#[test]
fn refusals_in_great_number_are_counted_in_the_log_and_not_told_one_by_one() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(upstream.address, ", access: public");
    const SENT: u64 = 400;
    let begun = Instant::now();
    for _ in 0..SENT {
        let mut connection = gateway.connect();
        connection.write(UNSOUND);
        assert_eq!(connection.reply(false).status, 400);
    }
    let seconds = begun.elapsed().as_secs() + 2;
    let told = || {
        let log = gateway.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let (mut single, mut counted) = (0, 0);
        for line in lines {
            let message = line["message"].as_str().unwrap_or_default();
            if message == "an unsound request was refused" {
                single += 1;
            } else if message.starts_with("an unsound request was refused: ") {
                counted += line["count"].as_u64().expect("a number");
            }
        }
        (single, counted)
    };
    wait_until(|| told().0 + told().1 == SENT, || format!("{:?}", told()));
    assert!(told().0 <= 50 * seconds, "{:?} in {seconds} s", told());
}

#[test]
fn a_client_that_leaves_before_the_answer_is_in_the_log_and_in_the_figures() {
    let (release, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let upstream = Upstream::answering(move |_| {
        let _ = held.lock().expect("no panic while it is held").recv_timeout(PATIENCE);
        Vec::new()
    });
    let gateway = Gateway::start(&format!(
        "upstreams: {{ app: \"http://{}\" }}\nadmin: {{ listen: 127.0.0.1:0 }}\nroutes:\n  - {{ name: all, path: /**, upstream: app, access: public }}\n",
        upstream.address
    ));
    let mut client = gateway.connect();
    client.write(b"POST /orders?secret HTTP/1.1\r\nhost: app.test\r\ncontent-length: 3\r\n\r\none");
    upstream.wait_for(1);
    drop(client);
    gateway.wait_for_log(r#""status":499"#);
    drop(release);
    let log = gateway.log();
    let line = log.lines().find(|line| line.contains(r#""status":499"#)).expect("it was there");
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    for (key, expected) in [
        ("method", "POST"),
        ("path", "/orders"),
        ("route.name", "all"),
        ("host", "app.test"),
        ("message", "request"),
    ] {
        assert_eq!(line[key], expected, "{line}");
    }
    let mut admin = Connection::to(gateway.admin_address());
    admin.write(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let figures = admin.reply(false).text();
    assert!(figures.contains(r#"foregate_requests_total{route="all",status_class="4xx"} 1"#), "{figures}");
    assert!(figures.contains(r#"foregate_decisions_total{decision="allow"} 1"#), "{figures}");
}
