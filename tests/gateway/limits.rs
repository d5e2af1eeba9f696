//! Overload is bounded, and what is within the bounds is served (contract: invariant 5).

use std::sync::Mutex;
use std::sync::mpsc::channel;

use crate::edge::Server;
use crate::harness::{Gateway, PATIENCE, Reply, wait_until};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: app.test\r\n\r\n";

/// Two connections at once, to this server.
fn two(server: &Server) -> Gateway {
    Gateway::start(&format!(
        "limits: {{ connections: 2 }}
upstreams: {{ app: \"http://{}\" }}
routes: [{{ path: /**, access: public, upstream: app }}]
",
        server.address
    ))
}

#[track_caller]
fn check_full(reply: &Reply) {
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")), "{reply:?}");
    assert_eq!(reply.all("cache-control"), ["no-store"], "{reply:?}");
    assert_eq!(reply.header("x-request-id").map(str::len), Some(32), "{reply:?}");
    assert_eq!(reply.all("connection"), ["close"], "{reply:?}");
}

#[test]
fn a_connection_above_the_limit_is_told_to_come_back_while_the_others_are_served() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let server = Server::start(move |peer| {
        while peer.head().is_some() {
            let _ = wait.lock().expect("no panic").recv_timeout(PATIENCE);
            peer.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let gateway = two(&server);
    let mut served = [gateway.connect(), gateway.connect()];
    for connection in &mut served {
        connection.write(GET);
    }
    wait_until(|| server.accepted() == 2, || "the two are not served".to_owned());
    for _ in 0..5 {
        let mut third = gateway.connect();
        third.write(GET);
        check_full(&third.reply(false));
        assert!(third.is_closed());
    }
    // Also who says nothing is told.
    let mut silent = gateway.connect();
    check_full(&silent.reply(false));
    for _ in &served {
        go.send(()).expect("the server waits");
    }
    for connection in &mut served {
        assert_eq!(connection.reply(false).text(), "ok");
    }
    let [first, _second] = served;
    drop(first);
    wait_until(
        || {
            let _ = go.send(());
            gateway.send(GET).status == 200
        },
        || "the place is not given back".to_owned(),
    );
}

#[test]
fn an_upgraded_connection_keeps_its_place() {
    let server = Server::start(|peer| {
        if peer.head().is_some() {
            peer.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
            peer.wait_for_end();
        }
    });
    let gateway = two(&server);
    let upgraded = [(); 2].map(|()| {
        let mut connection = gateway.connect();
        connection.write(b"GET / HTTP/1.1\r\nhost: app.test\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
        assert_eq!(connection.reply(false).status, 101);
        connection
    });
    for _ in 0..5 {
        check_full(&gateway.send(GET));
    }
    drop(upgraded);
    wait_until(
        || gateway.get("/.auth/healthz", &[]).status == 200,
        || "the places are not given back".to_owned(),
    );
}
