//! What checks and failed requests make of a server, as tables; the clock is a number.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::proxy::{Balance, HostHeader, Server};

fn health() -> Hold {
    Hold::new(HealthBoard::new().server("app", "http://a:1"))
}

fn settings(unhealthy_after: u32, healthy_after: u32) -> HealthSettings {
    let path = "/healthz".parse().expect("a path");
    HealthSettings { healthy_after, interval: Duration::from_secs(5), path, unhealthy_after }
}

fn begin(health: &Hold, now: u64) -> InFlight {
    health.begin(now).expect("nobody else tries it")
}

/// A request at a time that fails.
fn fail(health: &Hold, failure: Failure, now: u64) {
    begin(health, now).failed(failure, now, true);
}

#[test]
fn so_many_checks_in_a_row_change_the_state() {
    for (unhealthy_after, healthy_after, checks, states) in [
        // `+` is a good check; `u` and `d` are the state after it.
        (3, 1, "---+", "uudu"),
        (3, 1, "--+--+---", "uuuuuuuud"),
        (1, 1, "-+-+", "dudu"),
        (1, 3, "-++-+++", "ddddddu"),
        (2, 2, "++++--++", "uuuuuddu"),
    ] {
        let (health, settings) = (health(), settings(unhealthy_after, healthy_after));
        let seen: String = checks
            .chars()
            .map(|check| {
                health.checked(if check == '+' { Ok(()) } else { Err("no".to_owned()) }, &settings);
                if health.is_down() { 'd' } else { 'u' }
            })
            .collect();
        assert_eq!(seen, states, "{checks} with {unhealthy_after} and {healthy_after}");
    }
}

#[test]
fn one_missing_connection_ejects_and_broken_exchanges_do_in_a_row() {
    use Failure::{Broken, Connect, Garbage, Other, Timeout};
    // `None` is a success.
    for (outcomes, ejected) in [
        (&[Some(Connect)][..], true),
        (&[Some(Broken)], false),
        (&[Some(Broken), Some(Timeout)], false),
        (&[Some(Broken), Some(Timeout), Some(Broken)], true),
        (&[Some(Garbage); 3], true),
        (&[Some(Broken), Some(Broken), None, Some(Broken), Some(Broken)], false),
        (&[Some(Connect), None], false),
        (&[Some(Other); 9], false),
    ] {
        let health = health();
        for outcome in outcomes {
            match outcome {
                Some(failure) => fail(&health, *failure, 7),
                None => begin(&health, 7).succeeded(),
            }
        }
        assert_eq!(health.is_ejected(8), ejected, "{outcomes:?}");
    }
}

#[test]
fn an_ejection_lasts_longer_each_time_until_an_answer_comes() {
    let health = health();
    let mut now = 1_000;
    for seconds in [5, 10, 20, 40, 60, 60, 60] {
        fail(&health, Failure::Connect, now);
        assert!(health.is_ejected(now + seconds * 1000 - 1), "{seconds}");
        now += seconds * 1000;
        assert!(!health.is_ejected(now), "{seconds}");
    }
    begin(&health, now).succeeded();
    fail(&health, Failure::Connect, now);
    assert!(health.is_ejected(now + 4_999) && !health.is_ejected(now + 5_000));
}

#[test]
fn after_an_ejection_one_request_tries_the_server() {
    let health = health();
    fail(&health, Failure::Connect, 0);
    let trial = begin(&health, 5_000);
    assert!(health.is_ejected(5_001), "others keep away meanwhile");
    trial.succeeded();
    assert!(!health.is_ejected(5_001));

    fail(&health, Failure::Connect, 6_000);
    let trial = begin(&health, 11_000);
    trial.failed(Failure::Broken, 11_500, true);
    assert!(health.is_ejected(21_499), "one failure of a trial is enough");
    assert!(!health.is_ejected(21_500));
}

#[test]
fn of_threads_that_see_the_end_of_an_ejection_together_one_makes_the_trial() {
    let health = health();
    fail(&health, Failure::Connect, 0);
    let won = [(); 4].map(|()| health.win_trial(5_000, 5_001));
    assert_eq!(won, [true, false, false, false]);
    assert!(health.is_ejected(5_002));
}

#[test]
fn a_trial_that_nobody_hears_of_again_is_followed_by_another() {
    let health = health();
    fail(&health, Failure::Connect, 0);
    drop(begin(&health, 5_000));
    assert!(health.is_ejected(9_999) && !health.is_ejected(10_000));
    begin(&health, 10_000).succeeded();
    assert!(!health.is_ejected(10_001));
}

#[test]
fn requests_that_fail_together_eject_once() {
    let health = health();
    let together: Vec<_> = (0..50).map(|_| begin(&health, 0)).collect();
    together.iter().for_each(|flight| flight.failed(Failure::Connect, 10, true));
    assert!(health.is_ejected(5_009) && !health.is_ejected(5_010));
    // Nor does it last longer when it is asked for want of another.
    fail(&health, Failure::Connect, 3_000);
    assert!(!health.is_ejected(5_010));
}

#[test]
fn an_answer_to_what_was_sent_before_the_ejection_does_not_end_it() {
    let health = health();
    let before = begin(&health, 0);
    fail(&health, Failure::Connect, 1);
    before.succeeded();
    assert!(health.is_ejected(2));
    // One that was sent there since, for there was no other server, does.
    begin(&health, 2).succeeded();
    assert!(!health.is_ejected(3));
}

#[test]
fn a_server_without_others_is_counted_and_never_ejected() {
    let board = HealthBoard::new();
    let health = Hold::new(board.server("app", "http://a:1"));
    for _ in 0..9 {
        begin(&health, 5).failed(Failure::Connect, 5, false);
    }
    let status = board.snapshot().pop().expect("one server");
    assert_eq!((status.failures, status.requests, status.state), (9, 9, ServerState::Up));
}

#[test]
fn a_server_that_its_checks_bring_back_is_no_longer_ejected() {
    let (health, settings) = (health(), settings(1, 1));
    fail(&health, Failure::Connect, 0);
    // It was up by its checks all the time: a good one more says nothing of what requests met.
    health.checked(Ok(()), &settings);
    assert!(health.is_ejected(1));
    health.checked(Err("no".to_owned()), &settings);
    health.checked(Ok(()), &settings);
    assert!(!health.is_ejected(1));
}

#[test]
fn the_board_shows_what_there_is_and_keeps_what_stays() {
    let upstream = |name: &str, ports: &[u16], health| UpstreamSettings {
        assertion: false,
        balance: Balance::RoundRobin,
        connect_timeout: Duration::from_secs(1),
        health,
        host: HostHeader::Preserve,
        http2: false,
        idle_timeout: Duration::from_secs(1),
        name: name.to_owned(),
        response_timeout: Duration::from_secs(1),
        servers: ports.iter().map(|&port| Server::Tcp { host: "::1".to_owned(), port, tls: false }).collect(),
        tls: None,
    };
    let board = HealthBoard::new();
    board.keep(&[upstream("b", &[1], None), upstream("a", &[2, 80], Some(settings(1, 1)))]);
    let first = Hold::new(board.server("a", "http://[::1]:2"));
    let flight = begin(&first, 0);
    flight.moved_on();
    first.checked(Err("no".to_owned()), &settings(1, 1));
    let shown: Vec<_> = board
        .snapshot()
        .into_iter()
        .map(|s| (s.upstream, s.server, s.state.as_str(), s.in_flight, s.requests, s.retries))
        .collect();
    let line = |upstream: &str, server: &str, state, count, retries| {
        (upstream.to_owned(), server.to_owned(), state, count, u64::try_from(count).expect("few"), retries)
    };
    assert_eq!(
        shown,
        [
            line("a", "http://[::1]:2", "down", 1, 1),
            line("a", "http://[::1]:80", "up", 0, 0),
            line("b", "http://[::1]:1", "up", 0, 0),
        ]
    );
    // A next configuration: one server stays, and what is under way there is still counted.
    board.keep(&[upstream("a", &[2, 3], Some(settings(1, 1)))]);
    drop(flight);
    let [stayed, came] = &board.snapshot()[..] else { panic!("{:?}", board.snapshot()) };
    assert_eq!((stayed.state, stayed.in_flight, stayed.requests), (ServerState::Down, 0, 1));
    assert_eq!((came.state, came.requests), (ServerState::Up, 0));
    // Without checks nobody would ever say that it is up again.
    board.keep(&[upstream("a", &[2, 3], None)]);
    assert_eq!(board.snapshot()[0].state, ServerState::Up);
}

/// A server that counts the connections of its checks, answers them with a head that promises a body, and sends none.
async fn promising(listener: tokio::net::TcpListener, seen: Arc<AtomicUsize>, closed: Arc<AtomicUsize>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        seen.fetch_add(1, Ordering::SeqCst);
        let closed = Arc::clone(&closed);
        tokio::spawn(async move {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").await;
            let _ = stream.read(&mut head).await;
            closed.fetch_add(1, Ordering::SeqCst);
        });
    }
}

/// An upstream at these servers, checked often.
fn checked_often(servers: Vec<Server>) -> UpstreamSettings {
    UpstreamSettings {
        assertion: false,
        balance: Balance::RoundRobin,
        connect_timeout: Duration::from_secs(2),
        health: Some(HealthSettings { interval: Duration::from_millis(400), ..settings(1, 1) }),
        host: HostHeader::Preserve,
        http2: false,
        idle_timeout: Duration::from_secs(20),
        name: "app".to_owned(),
        response_timeout: Duration::from_secs(20),
        servers,
        tls: None,
    }
}

#[tokio::test]
async fn a_server_that_is_listed_twice_is_checked_once_and_its_status_is_the_verdict() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (seen, closed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let server = tokio::spawn(promising(listener, Arc::clone(&seen), Arc::clone(&closed)));
    let one = Server::Tcp { host: "127.0.0.1".to_owned(), port, tls: false };
    let board = HealthBoard::new();
    let checks = tokio::spawn(run(board.clone(), vec![checked_often(vec![one.clone(), one])]));
    tokio::time::sleep(Duration::from_millis(1900)).await;
    let snapshot = board.snapshot();
    assert!(snapshot.iter().all(|server| server.state == ServerState::Up), "{snapshot:?}");
    let (seen, closed) = (seen.load(Ordering::SeqCst), closed.load(Ordering::SeqCst));
    // The first within an interval, and one in each after it.
    assert!((2..=5).contains(&seen), "{seen} checks");
    assert!(closed + 1 >= seen, "{closed} of {seen} were closed at once");
    checks.abort();
    server.abort();
}

#[tokio::test]
async fn checks_go_by_the_addresses_that_are_known() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (seen, closed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let server = tokio::spawn(promising(listener, Arc::clone(&seen), closed));
    // No name service knows this one.
    let named = Server::Tcp { host: "app.invalid".to_owned(), port: address.port(), tls: false };
    let board = HealthBoard::new();
    board.server("app", &named.to_string()).last_known().set(vec![address]);
    let checks = tokio::spawn(run(board.clone(), vec![checked_often(vec![named])]));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let snapshot = board.snapshot();
    assert!(snapshot.iter().all(|server| server.state == ServerState::Up), "{snapshot:?}");
    assert!(seen.load(Ordering::SeqCst) >= 2);
    checks.abort();
    server.abort();
}
