//! Several servers: which one is asked, when another one is, and what is known of them afterwards.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

use super::harness::{Backend, GET, Gateway, OK, Options, nobody, rest, run};
use crate::proxy::health::Hold;
use crate::proxy::{Balance, HealthBoard, HealthSettings, HostHeader, ServerSnapshot, ServerState, health};

const POST: &str = "POST / HTTP/1.1\r\nhost: app.test\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbody";

/// Reads the head of a request, and the body of `POST`, and closes without an answer.
async fn breaking() -> Backend {
    Backend::start(async |_, mut client| {
        if client.head().await.starts_with("POST") {
            client.exactly(4).await;
        }
    })
    .await
}

/// Answers, and keeps the heads that it saw.
async fn recording() -> (Backend, Rc<RefCell<Vec<String>>>) {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let record = seen.clone();
    let backend = Backend::start(async move |_, mut client| {
        loop {
            let head = client.head().await;
            if head.starts_with("POST") {
                assert_eq!(client.exactly(4).await, "body");
            }
            record.borrow_mut().push(head);
            client.send(OK).await;
        }
    })
    .await;
    (backend, seen)
}

fn options(board: &HealthBoard) -> Options {
    Options { board: board.clone(), ..Options::default() }
}

#[track_caller]
fn status(board: &HealthBoard, backend: &Backend) -> ServerSnapshot {
    let name = format!("http://{}", backend.address);
    let found = board.snapshot().into_iter().find(|status| status.server == name);
    found.expect("the board knows it")
}

#[tokio::test]
async fn a_get_whose_server_broke_goes_on_to_another() {
    run(async {
        let (bad, good) = (breaking().await, Backend::answering(OK).await);
        let board = HealthBoard::new();
        let gateway = Gateway::start(&[bad.address, good.address], options(&board)).await;
        for _ in 0..12 {
            let reply = gateway.send(GET).await;
            assert!(reply.starts_with("HTTP/1.1 200") && reply.ends_with("ok"), "{reply}");
        }
        // In turn it got three of the first six; those that failed there in a row took it out.
        assert_eq!(bad.connections.get(), 3);
        let (bad, good) = (status(&board, &bad), status(&board, &good));
        assert_eq!((bad.requests, bad.failures, bad.retries, bad.state), (3, 3, 3, ServerState::Ejected));
        assert_eq!((good.requests, good.failures, good.retries, good.state), (12, 0, 0, ServerState::Up));
        assert_eq!((bad.in_flight, good.in_flight), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn what_may_have_had_an_effect_goes_on_to_no_other_server() {
    run(async {
        for request in [
            POST.to_owned(),
            POST.replace("POST", "PUT"),
            "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".to_owned(),
        ] {
            let bad = Backend::start(async |_, mut client| {
                let head = client.head().await;
                if head.contains("content-length: 4") {
                    client.exactly(4).await;
                }
            })
            .await;
            let good = Backend::answering(OK).await;
            let gateway = Gateway::start(&[bad.address, good.address], Options::default()).await;
            let replies = [gateway.send(&request).await, gateway.send(&request).await];
            let failed = replies.iter().filter(|reply| reply.starts_with("HTTP/1.1 502")).count();
            assert_eq!((failed, bad.connections.get(), good.connections.get()), (1, 1, 1), "{replies:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_found_no_connection_goes_on_with_its_body() {
    run(async {
        let (good, seen) = recording().await;
        let board = HealthBoard::new();
        let gateway = Gateway::start(&[nobody().await, good.address], options(&board)).await;
        for request in [POST, GET, POST] {
            let reply = gateway.send(request).await;
            assert!(reply.ends_with("ok"), "{reply}");
        }
        assert_eq!(seen.borrow().len(), 3);
        let retries: u64 = board.snapshot().iter().map(|status| status.retries).sum();
        assert_eq!(retries, 1, "once it is known, nobody asks it");
    })
    .await;
}

#[tokio::test]
async fn a_request_goes_on_once_and_not_twice() {
    run(async {
        let servers = [breaking().await, breaking().await, breaking().await];
        let gateway = Gateway::start(&servers.each_ref().map(|s| s.address), Options::default()).await;
        let reply = gateway.send(GET).await;
        assert!(reply.starts_with("HTTP/1.1 502") && reply.ends_with("upstream_failed"), "{reply}");
        assert_eq!(servers.iter().map(|server| server.connections.get()).sum::<usize>(), 2);
    })
    .await;
}

/// A server whose queue of connections is full: connecting takes until somebody gives up.
struct Full {
    address: SocketAddr,
    _queue: Vec<std::net::TcpStream>,
    _socket: Socket,
}

impl Full {
    fn start() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
        socket.listen(0).expect("it listens");
        let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("an address");
        let connect = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok();
        let queue: Vec<_> = std::iter::from_fn(connect).take(16).collect();
        assert!(queue.len() < 16, "the queue takes them all");
        Self { address, _queue: queue, _socket: socket }
    }
}

#[tokio::test]
async fn connecting_takes_its_time_twice_at_the_most() {
    run(async {
        let full = [Full::start(), Full::start(), Full::start()];
        let within = Duration::from_millis(400);
        let options = || Options { connect_timeout: within, ..Options::default() };
        let gateway = Gateway::start(&full.each_ref().map(|full| full.address), options()).await;
        let began = Instant::now();
        let reply = gateway.send(GET).await;
        assert!(reply.starts_with("HTTP/1.1 502") && reply.ends_with("upstream_unreachable"), "{reply}");
        let took = began.elapsed();
        assert!(took >= 2 * within && took < 3 * within, "it took {took:?}");

        // Whoever meets it first waits for it once, and nobody after that.
        let good = Backend::answering(OK).await;
        let gateway = Gateway::start(&[full[0].address, good.address], options()).await;
        let began = Instant::now();
        for _ in 0..6 {
            let reply = gateway.send(POST).await;
            assert!(reply.ends_with("ok"), "{reply}");
        }
        let took = began.elapsed();
        assert!(took >= within && took < 2 * within, "it took {took:?}");
    })
    .await;
}

#[tokio::test]
async fn a_request_never_goes_on_to_the_server_that_failed() {
    run(async {
        let (bad, good) = (breaking().await, Backend::answering(OK).await);
        let board = HealthBoard::new();
        // By the fewest in flight it would always be the bad one's turn.
        let busy = Hold::new(board.server("app", &format!("http://{}", good.address)));
        let _busy = [(); 3].map(|()| busy.begin(0).expect("nobody tries it"));
        let options = Options { balance: Balance::LeastRequests, ..options(&board) };
        let gateway = Gateway::start(&[bad.address, good.address], options).await;
        let reply = gateway.send(GET).await;
        assert!(reply.ends_with("ok"), "{reply}");
        assert_eq!((bad.connections.get(), good.connections.get()), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_began_is_not_begun_again() {
    run(async {
        let cut = Backend::start(async |_, mut client| {
            client.head().await;
            client.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").await;
        })
        .await;
        let good = Backend::answering(OK).await;
        let board = HealthBoard::new();
        let gateway = Gateway::start(&[cut.address, good.address], options(&board)).await;
        let mut replies = Vec::new();
        for _ in 0..8 {
            replies.push(gateway.send(GET).await);
        }
        assert_eq!(replies.iter().filter(|reply| reply.ends_with("\r\n\r\nabc")).count(), 4, "{replies:?}");
        assert_eq!(cut.connections.get(), 4);
        // It counts, and takes nobody out: the answer may be at fault.
        let (cut, good) = (status(&board, &cut), status(&board, &good));
        assert_eq!((cut.failures, cut.state, good.failures), (4, ServerState::Up, 0));
    })
    .await;
}

#[tokio::test]
async fn a_late_answer_is_waited_for_once() {
    run(async {
        let silent = Backend::start(async |_, mut client| {
            client.head().await;
            client.rest().await;
        })
        .await;
        let (good, seen) = recording().await;
        let board = HealthBoard::new();
        let options = Options { response_timeout: Duration::from_millis(200), ..options(&board) };
        let gateway = Gateway::start(&[silent.address, good.address], options).await;
        let mut late = 0;
        for _ in 0..8 {
            let reply = gateway.send(GET).await;
            late += usize::from(reply.starts_with("HTTP/1.1 504"));
        }
        // Three in a row, and then it is left out. None of them went to the other one as well.
        assert_eq!((late, silent.connections.get(), seen.borrow().len()), (3, 3, 5));
        assert_eq!(status(&board, &silent).state, ServerState::Ejected);
    })
    .await;
}

#[tokio::test]
async fn the_time_that_a_broken_server_took_is_not_given_to_the_next_one_again() {
    run(async {
        let slow_end = async || {
            Backend::start(async |_, mut client| {
                client.head().await;
                tokio::time::sleep(Duration::from_millis(800)).await;
            })
            .await
        };
        let (one, two) = (slow_end().await, slow_end().await);
        let options = Options { response_timeout: Duration::from_secs(1), ..Options::default() };
        let gateway = Gateway::start(&[one.address, two.address], options).await;
        let began = Instant::now();
        let reply = gateway.send(GET).await;
        assert!(reply.starts_with("HTTP/1.1 504"), "{reply}");
        assert!(began.elapsed() < Duration::from_millis(1500), "it took {:?}", began.elapsed());
        assert_eq!((one.connections.get(), two.connections.get()), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_closed_while_idle_is_no_failure_of_its_server() {
    run(async {
        // Each connection is good for one request, which the second one finds out by its end.
        let one_each = async || {
            Backend::start(async |_, mut client| {
                client.head().await;
                client.send(OK).await;
                client.head().await;
            })
            .await
        };
        let (one, two) = (one_each().await, one_each().await);
        let board = HealthBoard::new();
        let gateway = Gateway::start(&[one.address, two.address], options(&board)).await;
        for _ in 0..8 {
            let reply = gateway.send(GET).await;
            assert!(reply.ends_with("ok"), "{reply}");
        }
        for status in board.snapshot() {
            assert_eq!((status.requests, status.failures, status.retries), (4, 0, 0), "{status:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn kept_connections_that_were_closed_take_no_server_out() {
    run(async {
        let servers = [(); 2].map(async |()| {
            Backend::start(async |_, mut client| {
                client.head().await;
                // The others come meanwhile, each on a connection of its own.
                rest().await;
                client.send(OK).await;
                client.head().await;
            })
            .await
        });
        let [one, two] = servers;
        let (one, two) = (one.await, two.await);
        let board = HealthBoard::new();
        let gateway = Gateway::start(&[one.address, two.address], options(&board)).await;
        let get = || gateway.send(GET);
        tokio::join!(get(), get(), get(), get(), get(), get(), get(), get());
        // Each meets a connection that closes, and may not go out again.
        for _ in 0..8 {
            let reply = gateway.send(POST).await;
            assert!(reply.starts_with("HTTP/1.1 502"), "{reply}");
        }
        for status in board.snapshot() {
            assert_eq!((status.failures, status.state), (4, ServerState::Up), "{status:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn where_all_are_ejected_all_are_asked() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let board = HealthBoard::new();
        let gateway = Gateway::start(&[address, nobody().await], options(&board)).await;
        for _ in 0..4 {
            let reply = gateway.send(GET).await;
            assert!(reply.starts_with("HTTP/1.1 502") && reply.ends_with("upstream_unreachable"), "{reply}");
        }
        assert!(board.snapshot().iter().all(|status| status.state == ServerState::Ejected));
        // One is back before its time is over. Nobody waits for that.
        let listener = TcpListener::bind(address).await.expect("the port is free");
        tokio::task::spawn_local(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 1000]).await;
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, OK.as_bytes()).await;
            }
        });
        for _ in 0..4 {
            let reply = gateway.send(GET).await;
            assert!(reply.ends_with("ok"), "{reply}");
        }
        let up = board.snapshot().into_iter().filter(|status| status.state == ServerState::Up);
        assert_eq!(up.map(|status| status.server).collect::<Vec<_>>(), [format!("http://{address}")]);
    })
    .await;
}

#[tokio::test]
async fn the_fewest_requests_in_flight_decide_and_what_lasts_is_in_flight() {
    run(async {
        const UPGRADE: &str =
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        for (request, answer) in [
            (GET, ""),
            (GET, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n"),
            (GET, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"),
            (
                UPGRADE,
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
            ),
        ] {
            // The first request that comes to either is the one that lasts.
            let first = Rc::new(Cell::new(true));
            let lasting = async || {
                let first = first.clone();
                Backend::start(async move |_, mut client| {
                    loop {
                        client.head().await;
                        if !first.replace(false) {
                            client.send(OK).await;
                            continue;
                        }
                        client.send(answer).await;
                        client.rest().await;
                        return;
                    }
                })
                .await
            };
            let (one, two) = (lasting().await, lasting().await);
            let board = HealthBoard::new();
            let options = Options { balance: Balance::LeastRequests, ..options(&board) };
            let gateway = Gateway::start(&[one.address, two.address], options).await;
            let mut long = gateway.client().await;
            long.send(request).await;
            match answer {
                "" => rest().await,
                _ => drop(long.head().await),
            }
            rest().await;
            let busy = match status(&board, &one).in_flight {
                1 => &one,
                _ => &two,
            };
            for _ in 0..6 {
                let reply = gateway.send(GET).await;
                assert!(reply.ends_with("ok"), "{reply}");
            }
            let seen = status(&board, busy);
            assert_eq!((seen.in_flight, seen.requests), (1, 1), "{answer:?}");
            drop(long);
            rest().await;
            assert_eq!(status(&board, busy).in_flight, 0, "{answer:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn one_client_stays_at_one_server() {
    run(async {
        let (one, two) = (Backend::answering(OK).await, Backend::answering(OK).await);
        let board = HealthBoard::new();
        let options = Options { balance: Balance::ClientIp, ..options(&board) };
        let gateway = Gateway::start(&[one.address, two.address], options).await;
        for _ in 0..8 {
            gateway.send(GET).await;
        }
        let mut counts = [status(&board, &one).requests, status(&board, &two).requests];
        counts.sort_unstable();
        assert_eq!(counts, [0, 8]);
    })
    .await;
}

#[tokio::test]
async fn a_check_is_a_small_request_and_its_status_decides() {
    run(async {
        for (host, expected, answer, state) in [
            (HostHeader::Preserve, None, "HTTP/1.1 204 No Content\r\n\r\n", ServerState::Up),
            (
                HostHeader::Upstream,
                None,
                "HTTP/1.1 302 Found\r\ncontent-length: 2\r\n\r\nno",
                ServerState::Up,
            ),
            (
                HostHeader::Literal("in.test".to_owned()),
                Some("in.test"),
                "HTTP/1.1 404 Not Found\r\n\r\n",
                ServerState::Down,
            ),
            (HostHeader::Preserve, None, "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", ServerState::Down),
            (HostHeader::Preserve, None, "garbage\r\n\r\n", ServerState::Down),
            (HostHeader::Preserve, None, "", ServerState::Down),
        ] {
            let heads = Rc::new(RefCell::new(Vec::new()));
            let record = heads.clone();
            let backend = Backend::start(async move |_, mut client| {
                let head = client.head().await;
                record.borrow_mut().push(head);
                client.send(answer).await;
                if answer.is_empty() {
                    client.rest().await;
                }
            })
            .await;
            let board = HealthBoard::new();
            let settings = crate::proxy::UpstreamSettings {
                assertion: false,
                balance: Balance::RoundRobin,
                connect_timeout: Duration::from_secs(1),
                health: Some(HealthSettings {
                    healthy_after: 1,
                    interval: Duration::from_millis(100),
                    path: "/health?deep=1".parse().expect("a path"),
                    unhealthy_after: 2,
                }),
                host,
                http2: false,
                idle_timeout: Duration::from_secs(1),
                name: "app".to_owned(),
                response_timeout: Duration::from_secs(1),
                servers: vec![crate::proxy::Server::Tcp {
                    host: "127.0.0.1".to_owned(),
                    port: backend.address.port(),
                    tls: false,
                }],
                tls: None,
            };
            let checks = tokio::spawn(health::run(board.clone(), vec![settings]));
            while backend.connections.get() < 4 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            checks.abort();
            let _ = checks.await;
            assert_eq!(status(&board, &backend).state, state, "{answer:?}");
            let head = heads.borrow()[0].clone();
            assert!(head.starts_with("GET /health?deep=1 HTTP/1.1\r\n"), "{head}");
            let host = format!("\r\nhost: {}\r\n", expected.unwrap_or(&backend.address.to_string()));
            assert!(head.contains(&host), "{head}");
            assert!(head.contains("\r\nuser-agent: foregate-health\r\n"), "{head}");
            // It ends with who runs it: the next configuration's checks are alone.
            rest().await;
            let checked = backend.connections.get();
            rest().await;
            assert_eq!(backend.connections.get(), checked);
        }
    })
    .await;
}
