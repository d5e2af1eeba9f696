//! What a credential opened ends with it: tunnels and streams of events.

use std::time::{Duration, Instant};

use crate::harness::{Connection, Gateway, Upstream};

/// Far above the second that is promised, far below what would end it otherwise.
const SOON: Duration = Duration::from_secs(5);

/// Switches protocols and says nothing more, or begins a stream of events.
fn upstream() -> Upstream {
    Upstream::answering(|request| {
        let head = if request.to_lowercase().contains("upgrade: echo") {
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n"
        } else {
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n"
        };
        head.as_bytes().to_vec()
    })
}

fn open(gateway: &Gateway, credential: (&str, &str), kind: &str) -> Connection {
    let mut connection = gateway.connect();
    let upgrade = if kind == "tunnel" { "connection: upgrade\r\nupgrade: echo\r\n" } else { "" };
    let (name, value) = credential;
    connection
        .write(format!("GET / HTTP/1.1\r\nhost: app.test\r\n{upgrade}{name}: {value}\r\n\r\n").as_bytes());
    let expected = if kind == "tunnel" { 101 } else { 200 };
    assert_eq!(connection.head().status, expected, "{kind}");
    connection
}

/// How long it takes until the other side closes.
fn time_to_end(mut connection: Connection) -> Duration {
    let began = Instant::now();
    connection.read_to_end();
    began.elapsed()
}

#[test]
fn a_tunnel_and_a_stream_of_events_end_when_their_session_is_signed_out() {
    let upstream = upstream();
    let gateway = Gateway::in_front_of(upstream.address, "");
    gateway.add_user("alice", &[]);
    for kind in ["tunnel", "events"] {
        let cookie = gateway.sign_in("alice");
        let other = gateway.sign_in("alice");
        let mine = open(&gateway, ("cookie", &cookie), kind);
        let mut theirs = open(&gateway, ("cookie", &other), kind);
        let headers = [("cookie", cookie.as_str()), ("content-type", "application/json")];
        assert_eq!(gateway.request("POST", "/.auth/logout", &headers, b"{}").status, 204);
        let took = time_to_end(mine);
        assert!(took < SOON, "{kind}: {took:?}");
        assert!(theirs.stays_open(), "{kind}: another session's goes on");
    }
}

#[test]
fn whatever_an_account_opened_ends_when_it_is_disabled() {
    let upstream = upstream();
    let gateway = Gateway::in_front_of(upstream.address, ", credentials: [session, bearer, basic]");
    gateway.add_user("alice", &[]);
    gateway.add_user("bob", &[]);
    let bearer = |name: &str| format!("Bearer {}", gateway.token(name));
    let mut opened = Vec::new();
    for kind in ["tunnel", "events"] {
        opened.push(open(&gateway, ("cookie", &gateway.sign_in("alice")), kind));
        opened.push(open(&gateway, ("authorization", &bearer("alice")), kind));
    }
    let mut theirs = open(&gateway, ("authorization", &bearer("bob")), "tunnel");
    assert!(gateway.command(&["user", "disable", "alice"], "").status.success());
    for connection in opened {
        let took = time_to_end(connection);
        assert!(took < SOON, "{took:?}");
    }
    assert!(theirs.stays_open(), "another account's goes on");
}

#[test]
fn a_tunnel_ends_with_the_time_of_its_session() {
    let upstream = upstream();
    let gateway = Gateway::start(&format!(
        "session: {{ lifetime: 2s }}\nupstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app }}]\n",
        upstream.address
    ));
    gateway.add_user("alice", &[]);
    let cookie = gateway.sign_in("alice");
    let took = time_to_end(open(&gateway, ("cookie", &cookie), "tunnel"));
    assert!(took < SOON, "{took:?}");
}

#[test]
fn a_tunnel_ends_when_its_token_expires() {
    let upstream = upstream();
    let gateway = Gateway::start(&format!(
        "tokens: {{ access_ttl: 2s }}\nupstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app }}]\n",
        upstream.address
    ));
    gateway.add_user("alice", &[]);
    for kind in ["tunnel", "events"] {
        let bearer = format!("Bearer {}", gateway.token("alice"));
        let took = time_to_end(open(&gateway, ("authorization", &bearer), kind));
        assert!(took < SOON, "{kind}: {took:?}");
    }
}
