//! Overload is bounded, and what is within the bounds is served (contract: invariant 5).

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::edge::{Server, memory};
use crate::harness::{Connection, Gateway, PATIENCE, Reply, Upstream, wait_until};

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

/// Slow enough for a loaded machine, and far below what waiting for an attacker would cost.
const USUAL: Duration = Duration::from_millis(300);

/// That somebody else's requests are answered as if nothing were.
#[track_caller]
fn check_usual_speed(gateway: &Gateway, target: &str) {
    let mut times: Vec<Duration> = (0..21)
        .map(|_| {
            let began = Instant::now();
            let reply = gateway.get(target, &[]);
            assert_eq!(reply.status, 200, "{reply:?}");
            began.elapsed()
        })
        .collect();
    times.sort();
    assert!(times[times.len() / 2] < USUAL, "the times were {times:?}");
}

/// Answers `/large` with more than any buffer holds, `/hold` never, and everything else at once, bodies read.
fn mixed(peer: &mut crate::edge::Peer) {
    while let Some(head) = peer.head() {
        if head.starts_with("GET /large") {
            peer.write("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
            let block = vec![b'x'; 64 * 1024];
            while peer.write(&block) {}
            return;
        }
        if head.starts_with("GET /hold") || head.starts_with("POST") {
            return peer.wait_for_end();
        }
        peer.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    }
}

fn attacked(server: &Server, limits: &str) -> Gateway {
    Gateway::start(&format!(
        "limits: {{ {limits} }}
upstreams:
  app: {{ servers: [\"http://{0}\"], timeouts: {{ idle: 3s }} }}
  slow: {{ servers: [\"http://{0}\"], timeouts: {{ response: 2s }} }}
routes:
  - {{ path: /hold/**, access: public, upstream: slow }}
  - {{ path: /**, access: public, upstream: app }}
",
        server.address
    ))
}

fn open(gateway: &Gateway, count: usize, bytes: &[u8]) -> Vec<Connection> {
    let attacker = |_| {
        let mut connection = gateway.connect();
        connection.write(bytes);
        connection
    };
    (0..count).map(attacker).collect()
}

#[test]
fn heads_that_never_end_cost_the_others_nothing_and_are_ended() {
    let server = Server::start(mixed);
    let gateway = attacked(&server, "header_timeout: 2s");
    let began = Instant::now();
    let mut silent = open(&gateway, 100, b"");
    let mut attackers = open(&gateway, 200, b"GET / HTTP/1.1\r\nhost: app.test\r\nx-");
    while began.elapsed() < Duration::from_secs(1) {
        for attacker in &mut attackers {
            attacker.write(b"a");
        }
        check_usual_speed(&gateway, "/");
    }
    for attacker in &mut attackers {
        assert_eq!(attacker.reply(false).status, 408);
        assert!(attacker.is_closed());
    }
    for connection in &mut silent {
        assert!(connection.is_closed());
    }
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[test]
fn bodies_that_drip_cost_the_others_nothing_and_one_that_stands_still_is_ended() {
    let server = Server::start(mixed);
    let gateway = attacked(&server, "body: null");
    let head = b"POST / HTTP/1.1\r\nhost: app.test\r\ncontent-length: 1000000\r\n\r\n";
    let mut attackers = open(&gateway, 100, head);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        for attacker in &mut attackers {
            assert!(attacker.try_write(b"a"));
        }
        check_usual_speed(&gateway, "/");
    }
    // From now on nothing comes any more.
    for attacker in &mut attackers {
        assert_eq!(attacker.reply(false).status, 408);
        assert!(attacker.is_closed());
    }
}

#[test]
fn readers_that_take_nothing_cost_the_others_nothing_and_are_left() {
    let server = Server::start(mixed);
    let gateway = attacked(&server, "idle_timeout: 3s");
    check_usual_speed(&gateway, "/");
    let before = memory(&gateway, "VmRSS");
    let attackers = open(&gateway, 60, b"GET /large HTTP/1.1\r\nhost: app.test\r\n\r\n");
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        check_usual_speed(&gateway, "/");
    }
    let grown = memory(&gateway, "VmHWM").saturating_sub(before);
    assert!(grown < 60 * 768, "{grown} kB more for 60 readers");
    wait_until(
        || descriptors(&gateway) < 60,
        || format!("they are not left: {} descriptors", descriptors(&gateway)),
    );
    drop(attackers);
}

/// How many files and sockets the process has open.
fn descriptors(gateway: &Gateway) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", gateway.id())).expect("it is running").count()
}

#[test]
fn bodies_without_an_end_are_broken_off_and_cost_the_others_nothing() {
    let server = Server::start(mixed);
    let gateway = attacked(&server, "body: 1MiB");
    let head = b"POST / HTTP/1.1\r\nhost: app.test\r\ntransfer-encoding: chunked\r\n\r\n";
    let attackers = open(&gateway, 4, head);
    let flooding = attackers.into_iter().map(|mut attacker| {
        std::thread::spawn(move || {
            let chunk = [b"4000\r\n".as_slice(), &[b'x'; 0x4000], b"\r\n"].concat();
            let mut sent = 0;
            while sent < 128 << 20 && attacker.try_write(&chunk) {
                sent += 0x4000;
                std::thread::sleep(Duration::from_millis(1));
            }
            // It is told, unless the answer was lost to what it had sent meanwhile.
            let status = attacker.reply(false).status;
            assert!(matches!(status, 0 | 413), "{status}");
            sent
        })
    });
    let flooding: Vec<_> = flooding.collect();
    for _ in 0..3 {
        check_usual_speed(&gateway, "/");
    }
    for attacker in flooding {
        let sent = attacker.join().expect("no panic");
        // Some is read after the refusal, so that it is seen; more is in the kernel's buffers.
        assert!(sent < 64 << 20, "{sent} bytes were taken");
    }
}

#[test]
fn idle_connections_cost_the_others_nothing_and_are_closed() {
    let server = Server::start(mixed);
    let gateway = attacked(&server, "idle_timeout: 3s");
    let mut idle = open(&gateway, 300, GET);
    for connection in &mut idle {
        assert_eq!(connection.reply(false).status, 200);
    }
    for _ in 0..3 {
        check_usual_speed(&gateway, "/");
    }
    for connection in &mut idle {
        assert!(connection.is_closed());
    }
}

#[test]
fn a_server_that_never_answers_costs_the_others_nothing() {
    let server = Server::start(mixed);
    let gateway = attacked(&server, "body: null");
    let began = Instant::now();
    let mut waiting = open(&gateway, 200, b"GET /hold/x HTTP/1.1\r\nhost: app.test\r\n\r\n");
    while began.elapsed() < Duration::from_secs(1) {
        check_usual_speed(&gateway, "/");
    }
    for connection in &mut waiting {
        assert_eq!(connection.reply(false).status, 504);
    }
}

#[test]
fn a_client_that_leaves_before_its_upgrade_is_answered_takes_the_request_along() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let server = Server::start(move |peer| {
        peer.head();
        let say = |what| tell.lock().expect("no panic").send(what).expect("somebody waits");
        say("asked");
        peer.wait_for_end();
        say("gone");
    });
    let gateway = Gateway::in_front_of(server.address, ", access: public");
    for early in ["", "early bytes"] {
        let mut connection = gateway.connect();
        let upgrade = "GET / HTTP/1.1\r\nhost: app.test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        connection.write(format!("{upgrade}{early}").as_bytes());
        assert_eq!(told.recv_timeout(PATIENCE), Ok("asked"));
        drop(connection);
        // The response timeout of 60 s is longer than this test's patience.
        assert_eq!(told.recv_timeout(PATIENCE), Ok("gone"), "{early:?}");
    }
}

#[test]
fn one_source_that_fills_all_places_does_not_shut_out_the_others() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "limits: {{ connections: 100, header_timeout: 2m }}
upstreams: {{ app: \"http://{}\" }}
routes: [{{ path: /**, access: public, upstream: app }}]
",
        upstream.address
    ));
    let flood = open(&gateway, 100, b"GET / HT");
    // More than once, for a place that was just given back counts for a moment.
    let is_full = || {
        (0..5).all(|_| {
            std::thread::sleep(Duration::from_millis(20));
            gateway.send(GET).status == 503
        })
    };
    wait_until(is_full, || "the places are not filled".to_owned());
    check_full(&gateway.send(GET));
    for number in 2..8 {
        let mut other = Connection::from([127, 0, 0, number], gateway.address);
        let mut second = Connection::from([127, 0, 0, number], gateway.address);
        for connection in [&mut other, &mut second] {
            connection.write(GET);
            assert_eq!(connection.reply(false).status, 200, "127.0.0.{number}");
        }
        // It is one that holds more than few now.
        let mut third = Connection::from([127, 0, 0, number], gateway.address);
        third.write(GET);
        check_full(&third.reply(false));
        check_full(&gateway.send(GET));
    }
    gateway.wait_for_log("connections were turned away: limits.connections is reached");
    drop(flood);
    wait_until(|| gateway.send(GET).status == 200, || "the places are not given back".to_owned());
}

#[test]
fn one_source_has_a_bound_of_its_own_and_a_trusted_proxy_has_none() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "limits: {{ connections_per_ip: 3 }}
trusted_proxies: [127.0.0.3]
upstreams: {{ app: \"http://{}\" }}
routes: [{{ path: /**, access: public, upstream: app }}]
",
        upstream.address
    ));
    let serve = |last: u8, count: usize| -> Vec<Connection> {
        let one = |_| {
            let mut connection = Connection::from([127, 0, 0, last], gateway.address);
            connection.write(GET);
            assert_eq!(connection.reply(false).status, 200, "127.0.0.{last}");
            connection
        };
        (0..count).map(one).collect()
    };
    let held = serve(1, 3);
    check_full(&gateway.send(GET));
    let _others = (serve(2, 3), serve(3, 50));
    check_full(&gateway.send(GET));
    gateway.wait_for_log("connections were turned away: limits.connections_per_ip is reached");
    drop(held);
    wait_until(|| gateway.send(GET).status == 200, || "the places are not given back".to_owned());
}

#[test]
fn a_flood_above_the_limit_piles_up_no_sockets() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "limits: {{ connections_per_ip: 1 }}
upstreams: {{ app: \"http://{}\" }}
routes: [{{ path: /**, access: public, upstream: app }}]
",
        upstream.address
    ));
    let mut served = gateway.connect();
    served.write(GET);
    assert_eq!(served.reply(false).status, 200);
    let before = descriptors(&gateway);
    let mut most = 0;
    let flood: Vec<Connection> = (0..600)
        .filter_map(|_| {
            most = most.max(descriptors(&gateway));
            Connection::try_to(gateway.address)
        })
        .collect();
    // Those that are being told, and as many as the threads have just accepted.
    assert!(most < before + 256 + 16, "{before} and then {most}");
    for mut connection in flood {
        let reply = connection.reply(false);
        assert!(matches!(reply.status, 0 | 503), "{reply:?}");
    }
    served.write(GET);
    assert_eq!(served.reply(false).status, 200);
    let mut other = Connection::from([127, 0, 0, 2], gateway.address);
    other.write(GET);
    assert_eq!(other.reply(false).status, 200);
}

#[test]
fn the_stop_waits_for_running_requests_as_long_as_it_is_told() {
    let server = Server::start(mixed);
    let mut gateway = Gateway::start(&format!(
        "limits: {{ drain_timeout: 1s }}
upstreams: {{ app: \"http://{}\" }}
routes: [{{ path: /**, access: public, upstream: app }}]
",
        server.address
    ));
    let _waiting = open(&gateway, 1, b"GET /hold HTTP/1.1\r\nhost: app.test\r\n\r\n");
    wait_until(|| server.accepted() == 1, || "it does not arrive".to_owned());
    let began = Instant::now();
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    let took = began.elapsed();
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(10), "{took:?}");
}
