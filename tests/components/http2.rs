//! HTTP/2 with clients that are in use, with and without TLS: curl, nghttp, h2load, and gRPC from end to end.

use std::net::TcpListener;
use std::process::Command;

use crate::harness::{Gateway, PASSWORD, Upstream, wait_until};
use crate::program::{Program, directory, free_address, python, repository, system};
use crate::tls::{authority, over_tls};

/// Runs a client; gives what it wrote.
fn said(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn curl_speaks_both_protocols() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(upstream.address, ", access: public");
    let url = format!("http://{}/a", gateway.address);
    let format = ["--silent", "--max-time", "20", "--write-out", " %{http_version} %{http_code}"];
    let curl = |arguments: &[&str]| said(system("curl").args(format).args(arguments).arg(&url));
    assert_eq!(curl(&["--http2-prior-knowledge"]), "hello 2 200");
    assert_eq!(curl(&["--http1.1"]), "hello 1.1 200");
    // An upgrade to h2c is not taken: the request is answered as the HTTP/1.1 that it is.
    assert_eq!(curl(&["--http2"]), "hello 1.1 200");
    let seen = upstream.last().to_lowercase();
    assert!(!seen.contains("h2c") && !seen.contains("http2-settings"), "{seen}");
    // With `Expect: 100-continue`, and without a length.
    let large = "x".repeat(2 << 20);
    let folder = directory();
    let file = folder.path().join("large");
    std::fs::write(&file, &large).expect("a file");
    let at = format!("@{}", file.display());
    assert_eq!(curl(&["--http2-prior-knowledge", "--data-binary", &at]), "hello 2 200");
    assert!(upstream.last().ends_with(&large));
    let upload = file.display().to_string();
    let chunked = ["--http2-prior-knowledge", "--upload-file", &upload, "--header", "content-length:"];
    assert_eq!(curl(&chunked), "hello 2 200");
    assert!(upstream.last().matches('x').count() >= large.len());
}

#[test]
fn nghttp_gets_many_pages_on_one_connection() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(upstream.address, ", access: public");
    let mut command = system("nghttp");
    command.args(["--no-dep", "--null-out", "--stat"]);
    command.args((0..20).map(|number| format!("http://{}/{number}", gateway.address)));
    let text = said(&mut command);
    assert_eq!(text.matches(" 200 ").count(), 20, "{text}");
    assert_eq!(upstream.count(), 20);
}

#[test]
fn h2load_is_served_to_the_last_request() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(upstream.address, ", access: public");
    for streams in ["1", "100", "150"] {
        let mut command = system("h2load");
        command.args(["--requests", "3000", "--clients", "4", "--max-concurrent-streams", streams]);
        let text = said(command.arg(format!("http://{}/", gateway.address)));
        let all = "3000 total, 3000 started, 3000 done, 3000 succeeded, 0 failed, 0 errored, 0 timeout";
        assert!(text.contains(all), "{streams} streams: {text}");
        assert!(text.contains("status codes: 3000 2xx"), "{text}");
    }
}

/// One public application over TLS.
fn public_over_tls(upstream: &Upstream) -> Gateway {
    over_tls(&format!(
        "public_url: https://localhost\nupstreams: {{ app: \"http://{}\" }}\n\
         routes: [{{ path: /**, access: public, upstream: app }}]\n",
        upstream.address
    ))
}

/// curl, silent and believing the authority of a gateway.
fn secure_curl(gateway: &Gateway, arguments: &[&str], target: &str) -> String {
    let url = format!("https://localhost:{}{target}", gateway.address.port());
    let mut command = system("curl");
    command.args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", "--cacert"]);
    said(command.arg(authority(gateway)).args(arguments).arg(url))
}

#[test]
fn curl_agrees_on_the_protocol_that_it_asks_for_over_tls() {
    let upstream = Upstream::start();
    let gateway = public_over_tls(&upstream);
    let format = ["--write-out", " %{http_version} %{http_code}"];
    for (arguments, expected) in [
        (&["--http2"][..], "hello 2 200"),
        (&["--http1.1"], "hello 1.1 200"),
        // What it does by itself, and what does without a choice.
        (&[], "hello 2 200"),
        (&["--no-alpn"], "hello 1.1 200"),
        (&["--http2", "--tls-max", "1.2"], "hello 2 200"),
        // A body that waits for leave to come.
        (&["--http2", "--data", "a=b", "--header", "expect: 100-continue"], "hello 2 200"),
    ] {
        let said = secure_curl(&gateway, &[&format, arguments].concat(), "/a");
        assert_eq!(said, expected, "{arguments:?}");
    }
    assert!(upstream.last().ends_with("a=b"), "{}", upstream.last());
    assert!(upstream.seen().iter().all(|request| request.contains("x-forwarded-proto: https\r\n")));
}

#[test]
fn h2load_is_served_to_the_last_request_over_tls() {
    let upstream = Upstream::start();
    let gateway = public_over_tls(&upstream);
    for (protocol, streams) in [("h2", "100"), ("http/1.1", "1")] {
        let mut command = system("h2load");
        command.args(["--requests", "2000", "--clients", "4", "--max-concurrent-streams", streams]);
        command.args(["--npn-list", protocol]);
        let text = said(command.arg(format!("https://localhost:{}/", gateway.address.port())));
        assert!(text.contains(&format!("Application protocol: {protocol}")), "{text}");
        let all = "2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout";
        assert!(text.contains(all), "{text}");
        assert!(text.contains("status codes: 2000 2xx"), "{text}");
    }
}

/// The gRPC server, and the gateway before it.
fn calls(start: impl FnOnce(&str) -> Gateway) -> (Program, Gateway) {
    let (folder, address) = (directory(), free_address());
    let mut command = python("python3");
    command.arg(repository("tests/components/calls.py")).args(["serve", &address.to_string()]);
    let server = Program::start(command, folder, address);
    // Nobody listens there for as long as the test runs, and nobody else is given it.
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let gateway = start(&format!(
        "upstreams:\n\
         \x20 calls: {{ servers: [\"http://{address}\"], http2: true }}\n\
         \x20 gone: {{ servers: [\"http://{gone}\"], http2: true }}\n\
         routes:\n\
         \x20 - {{ path: /admin.Calls/*, require: {{ roles: [admin] }}, upstream: calls }}\n\
         \x20 - {{ path: /test.Calls/*, upstream: calls }}\n\
         \x20 - {{ path: /gone.Calls/*, upstream: gone }}\n"
    ));
    (server, gateway)
}

/// What the client says of its calls; an empty token is none.
fn made(gateway: &Gateway, token: &str) -> serde_json::Value {
    let mut command = python("python3");
    command.arg(repository("tests/components/calls.py"));
    command.args(["call", &gateway.address.to_string(), token]);
    made_by(&mut command)
}

/// As `made`, over TLS.
fn made_over_tls(gateway: &Gateway, token: &str) -> serde_json::Value {
    let mut command = python("python3");
    command.arg(repository("tests/components/calls.py"));
    command.args(["call", &format!("localhost:{}", gateway.address.port()), token]);
    made_by(command.arg(authority(gateway)))
}

fn made_by(command: &mut Command) -> serde_json::Value {
    let text = said(command);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

#[test]
fn every_kind_of_grpc_call_passes() {
    let (server, gateway) = calls(Gateway::start);
    gateway.add_user("alice", &[]);
    every_kind_has_passed(&made(&gateway, &gateway.token("alice")), &server);
}

#[test]
fn every_kind_of_grpc_call_passes_over_tls() {
    let (server, gateway) = calls(|yaml| over_tls(&format!("public_url: https://localhost\n{yaml}")));
    gateway.add_user("alice", &[]);
    let password = format!("password={PASSWORD}");
    let form = ["--data", "username=alice", "--data-urlencode", &password];
    let told = secure_curl(&gateway, &form, "/.auth/token");
    let told: serde_json::Value = serde_json::from_str(&told).unwrap_or_else(|_| panic!("{told}"));
    let token = told["access_token"].as_str().unwrap_or_else(|| panic!("no token in {told}"));
    every_kind_has_passed(&made_over_tls(&gateway, token), &server);
    for token in ["", "nonsense"] {
        let said = made_over_tls(&gateway, token);
        assert_eq!(said["unary"]["code"], "UNAUTHENTICATED", "{said}");
    }
}

fn every_kind_has_passed(said: &serde_json::Value, server: &Program) {
    let result = |name: &str| &said[name]["result"];
    assert_eq!(*result("unary"), serde_json::json!(["cba", "first", "last", "alice"]), "{said}");
    assert_eq!(*result("collect"), "a,b,c", "{said}");
    assert_eq!(*result("count"), 1000, "{said}");
    assert_eq!(*result("conversation"), serde_json::json!([20, "echo 0", "echo 19"]), "{said}");
    assert_eq!(*result("large"), 5_000_000, "{said}");
    assert_eq!(*result("sent"), 3_000_000, "{said}");
    assert_eq!(*result("cancelled"), "begun", "{said}");
    // An error of the application keeps its words and its details.
    let fail = &said["fail"];
    assert_eq!(
        (&fail["code"], &fail["details"]),
        (&"FAILED_PRECONDITION".into(), &"zoë: 100 %".into()),
        "{said}"
    );
    assert!(fail["trailing"]["grpc-status-details-bin"].as_str().is_some_and(|it| it.contains("details")));
    assert_eq!(said["late"]["code"], "DEADLINE_EXCEEDED", "{said}");
    assert_eq!(said["forbidden"]["code"], "PERMISSION_DENIED", "{said}");
    assert_eq!(said["unknown"]["code"], "UNIMPLEMENTED", "{said}");
    assert_eq!(said["gone"]["code"], "UNAVAILABLE", "{said}");
    // The server hears that the client has given up, long before it would have ended by itself.
    for call in ["cancelled", "late"] {
        let heard = |log: &str| log.lines().any(|line| line.starts_with(call));
        wait_until(|| heard(&server.log()), || format!("{call}: {}", server.log()));
        let log = server.log();
        let line = log.lines().find(|line| line.starts_with(call)).expect("it was there");
        let seconds: f64 = line.split(' ').nth(3).and_then(|text| text.parse().ok()).expect("a number");
        assert!(seconds < 5.0, "{line}");
    }
}

#[test]
fn a_grpc_client_that_is_not_signed_in_is_told_so() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(upstream.address, "");
    for token in ["", "nonsense"] {
        let said = made(&gateway, token);
        assert_eq!(said["unary"]["code"], "UNAUTHENTICATED", "{said}");
        assert_eq!(said["unary"]["details"], "You need to be signed in to open this page.", "{said}");
    }
    assert_eq!(upstream.count(), 0);
}
