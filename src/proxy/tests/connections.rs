//! Which connection carries what, and what happens when one fails.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::harness::{Backend, GET, Gateway, OK, Options, nobody, rest, run};
use crate::proxy::connect::LastKnown;
use crate::proxy::watch::Watch;
use crate::proxy::{Balance, HostHeader, Server, UpstreamSettings, pool};

#[tokio::test]
async fn a_connection_is_used_again_after_a_clean_end() {
    run(async {
        let backend = Backend::answering(OK).await;
        let gateway = Gateway::start(&[backend.address], Options::default()).await;
        for _ in 0..5 {
            let reply = gateway.send(GET).await;
            assert!(reply.starts_with("HTTP/1.1 200 OK") && reply.ends_with("\r\n\r\nok"), "{reply}");
        }
        assert_eq!(backend.connections.get(), 1);
    })
    .await;
}

#[tokio::test]
async fn every_kind_of_clean_end_gives_the_connection_back() {
    for answer in [
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ] {
        run(async move {
            let backend = Backend::answering(answer).await;
            let gateway = Gateway::start(&[backend.address], Options::default()).await;
            for _ in 0..3 {
                let reply = gateway.send(GET).await;
                assert!(reply.starts_with("HTTP/1.1 20") || reply.starts_with("HTTP/1.1 304"), "{reply}");
            }
            assert_eq!(backend.connections.get(), 1, "{answer}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_not_used() {
    run(async {
        let backend = Backend::start(async |_, mut client| {
            client.head().await;
            client.send(OK).await;
        })
        .await;
        let gateway = Gateway::start(&[backend.address], Options::default()).await;
        for _ in 0..3 {
            let reply = gateway.send(GET).await;
            assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
        }
        assert_eq!(backend.connections.get(), 3);
    })
    .await;
}

/// The first connection closes at its second request: the race between a request and a server's own
/// idle timeout.
async fn closing_at_the_second_request() -> Backend {
    Backend::start(async |number, mut client| {
        client.head().await;
        client.send(OK).await;
        client.head().await;
        if number > 0 {
            client.send(OK).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_get_that_met_a_closing_connection_is_sent_once_more() {
    run(async {
        let backend = closing_at_the_second_request().await;
        let gateway = Gateway::start(&[backend.address], Options::default()).await;
        gateway.send(GET).await;
        rest().await;
        let reply = gateway.send(GET).await;
        assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
        assert_eq!(backend.connections.get(), 2);
    })
    .await;
}

#[tokio::test]
async fn what_may_have_had_an_effect_is_not_sent_twice() {
    run(async {
        for request in [
            "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
            "PUT / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx",
        ] {
            let backend = closing_at_the_second_request().await;
            let gateway = Gateway::start(&[backend.address], Options::default()).await;
            gateway.send(GET).await;
            rest().await;
            let reply = gateway.send(request).await;
            assert!(reply.starts_with("HTTP/1.1 502"), "{reply}");
            assert_eq!(backend.connections.get(), 1);
        }
    })
    .await;
}

#[tokio::test]
async fn an_answer_before_the_request_was_sent_costs_the_connection() {
    run(async {
        let backend = Backend::start(async |number, mut client| {
            client.head().await;
            if number == 0 {
                client.exactly(2).await;
            }
            client.send(OK).await;
            let after = client.rest().await;
            assert!(!after.contains("GET"), "the poisoned connection carried: {after}");
        })
        .await;
        let gateway = Gateway::start(&[backend.address], Options::default()).await;
        let mut client = gateway.client().await;
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nab").await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(client.exactly(2).await, "ok");
        let reply = gateway.send(GET).await;
        assert!(reply.ends_with("ok"), "{reply}");
        assert_eq!(backend.connections.get(), 2);
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_began_before_the_request_was_sent_costs_the_connection_however_both_end() {
    run(async {
        // It answers the head, and may take the body for the next request, whatever it does with it here.
        let backend = Backend::start(async |_, mut client| {
            client.head().await;
            client.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").await;
            client.exactly(4).await;
            client.send("early").await;
            client.rest().await;
        })
        .await;
        let gateway = Gateway::start(&[backend.address], Options::default()).await;
        for connections in 1..=2 {
            let mut client = gateway.client().await;
            client.send("POST / HTTP/1.1\r\nhost: app.test\r\ncontent-length: 4\r\n\r\n").await;
            client.until("\r\n\r\n").await;
            client.send("body").await;
            client.until("early").await;
            rest().await;
            assert_eq!(backend.connections.get(), connections);
        }
    })
    .await;
}

#[tokio::test]
async fn bytes_after_an_answer_are_nobodys_answer() {
    run(async {
        let backend = Backend::start(async |number, mut client| {
            client.head().await;
            client.send(OK).await;
            if number == 0 {
                client.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil").await;
            }
            client.rest().await;
        })
        .await;
        let gateway = Gateway::start(&[backend.address], Options::default()).await;
        for _ in 0..2 {
            let reply = gateway.send(GET).await;
            assert!(reply.ends_with("\r\n\r\nok") || reply.starts_with("HTTP/1.1 502"), "{reply}");
            assert!(!reply.contains("evil"), "{reply}");
            rest().await;
        }
        assert_eq!(backend.connections.get(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_server_that_can_not_be_understood_is_a_502() {
    run(async {
        for answer in [
            "",
            "HTTP/1.1 200 OK\r\nconte",
            "SSH-2.0-OpenSSH\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        ] {
            let backend = Backend::start(async move |_, mut client| {
                client.head().await;
                client.send(answer).await;
            })
            .await;
            let gateway = Gateway::start(&[backend.address], Options::default()).await;
            let reply = gateway.send(GET).await;
            assert!(reply.starts_with("HTTP/1.1 502 Bad Gateway"), "{answer:?}: {reply}");
            assert!(reply.ends_with("upstream_failed"), "{reply}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_head_that_does_not_come_is_a_504_and_the_connection_goes() {
    run(async {
        let backend = Backend::start(async |number, mut client| {
            client.head().await;
            match number {
                0 => assert!(client.is_closed().await),
                _ => client.send(OK).await,
            }
        })
        .await;
        let options = Options { response_timeout: Duration::from_millis(200), ..Options::default() };
        let gateway = Gateway::start(&[backend.address], options).await;
        let reply = gateway.send(GET).await;
        assert!(reply.starts_with("HTTP/1.1 504") && reply.ends_with("upstream_timeout"), "{reply}");
        let reply = gateway.send(GET).await;
        assert!(reply.ends_with("ok"), "{reply}");
        assert_eq!(backend.connections.get(), 2);
    })
    .await;
}

#[tokio::test]
async fn servers_are_used_in_turn_and_a_dead_one_is_passed_over() {
    run(async {
        let (one, two) = (Backend::answering(OK).await, Backend::answering(OK).await);
        let dead = nobody().await;
        let gateway = Gateway::start(&[one.address, dead, two.address], Options::default()).await;
        for _ in 0..6 {
            let reply = gateway.send(GET).await;
            assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
        }
        // Kept and used again, but for the request that the dead one got first: its second try is on a new connection.
        let opened = [one.connections.get(), two.connections.get()];
        assert!(matches!(opened, [1, 1] | [1, 2] | [2, 1]), "{opened:?}");

        let gateway = Gateway::start(&[dead], Options::default()).await;
        let reply = gateway.send(GET).await;
        assert!(reply.starts_with("HTTP/1.1 502") && reply.ends_with("upstream_unreachable"), "{reply}");
    })
    .await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time() {
    run(async {
        let backend = Backend::start(async |_, mut client| {
            client.head().await;
            client.send(OK).await;
            assert!(client.is_closed().await);
        })
        .await;
        let options = Options { stall: Duration::from_millis(200), ..Options::default() };
        let gateway = Gateway::start(&[backend.address], options).await;
        gateway.send(GET).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        gateway.send(GET).await;
        assert_eq!(backend.connections.get(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_exchange_along() {
    run(async {
        let backend = Backend::start(async |number, mut client| {
            client.head().await;
            match number {
                0 => assert!(client.is_closed().await, "the request is given up"),
                _ => client.send(OK).await,
            }
        })
        .await;
        let gateway = Gateway::start(&[backend.address], Options::default()).await;
        let mut client = gateway.client().await;
        client.send(GET).await;
        rest().await;
        drop(client);
        rest().await;
        let reply = gateway.send(GET).await;
        assert!(reply.ends_with("ok"), "{reply}");
    })
    .await;
}

#[tokio::test]
async fn garbage_in_place_of_a_body_is_a_502_while_the_client_has_seen_nothing() {
    run(async {
        for answer in [
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ] {
            let backend = Backend::start(async move |_, mut client| {
                client.head().await;
                client.send(answer).await;
                client.rest().await;
            })
            .await;
            let gateway = Gateway::start(&[backend.address], Options::default()).await;
            let reply = gateway.send(GET).await;
            assert!(reply.starts_with("HTTP/1.1 502"), "{reply}");
            let reply = gateway.send(GET).await;
            assert!(reply.starts_with("HTTP/1.1 502"), "{reply}");
            assert_eq!(backend.connections.get(), 2, "the connection is not used again");
        }
    })
    .await;
}

/// One server by its name, without a proxy around it.
fn by_name(port: u16, watch: &Watch) -> Rc<pool::Backend> {
    by_name_knowing(port, &LastKnown::default(), watch)
}

fn by_name_knowing(port: u16, last_known: &LastKnown, watch: &Watch) -> Rc<pool::Backend> {
    let settings = UpstreamSettings {
        assertion: false,
        balance: Balance::RoundRobin,
        connect_timeout: Duration::from_secs(2),
        health: None,
        host: HostHeader::Preserve,
        http2: false,
        idle_timeout: Duration::from_secs(20),
        name: "app".to_owned(),
        response_timeout: Duration::from_secs(20),
        servers: Vec::new(),
        tls: None,
    };
    let server = Server::Tcp { host: "localhost".to_owned(), port, tls: false };
    pool::Backend::new(&server, &settings, last_known.clone(), watch).expect("a host")
}

#[tokio::test]
async fn connections_to_addresses_that_a_name_no_longer_has_are_left() {
    run(async {
        let server = Backend::start(async |_, mut client| assert!(client.is_closed().await)).await;
        let watch = Watch::new();
        let backend = by_name(server.address.port(), &watch);
        let within = Duration::from_secs(2);
        let lease = async || {
            let lease = backend.lease(true, within).await.expect("it listens");
            rest().await;
            lease
        };
        lease().await.end(None);
        let used_again = lease().await;
        assert!(used_again.reused);
        used_again.end(None);
        let elsewhere = vec!["192.0.2.1:1".parse().expect("an address")];
        backend.moved_to(elsewhere.clone());
        backend.moved_to(vec![server.address]);
        let fresh = lease().await;
        assert!(!fresh.reused, "what was idle is gone");
        backend.moved_to(elsewhere);
        fresh.end(None);
        backend.moved_to(vec![server.address]);
        assert!(!lease().await.reused, "what comes back is not kept");
    })
    .await;
}

#[tokio::test]
async fn a_name_that_moved_is_found_where_it_is_now() {
    run(async {
        let server = Backend::start(async |_, mut client| assert!(client.is_closed().await)).await;
        let watch = Watch::new();
        let backend = by_name(server.address.port(), &watch);
        let within = Duration::from_secs(2);
        drop(backend.lease(true, within).await.expect("it listens"));
        // Nobody listens there, and what is known is not old.
        backend.moved_to(vec!["127.0.0.1:1".parse().expect("an address")]);
        backend.lease(true, within).await.expect("it was looked up again");
        rest().await;
        assert_eq!(server.connections.get(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_silent_name_service_takes_nobody_along_whose_address_is_known() {
    run(async {
        let server = Backend::start(async |_, mut client| assert!(client.is_closed().await)).await;
        let watch = Watch::new();
        let backend = by_name(server.address.port(), &watch);
        let _silence = backend.hang_look_ups();
        // It has never been looked up here, so it is time to.
        backend.moved_to(vec![server.address]);
        let began = Instant::now();
        backend.lease(true, Duration::from_secs(10)).await.expect("its address is known");
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    })
    .await;
}

#[tokio::test]
async fn what_one_look_up_found_serves_whoever_has_found_nothing() {
    run(async {
        let server = Backend::start(async |_, mut client| assert!(client.is_closed().await)).await;
        let (watch, last_known) = (Watch::new(), LastKnown::default());
        let within = Duration::from_secs(10);
        let first = by_name_knowing(server.address.port(), &last_known, &watch);
        drop(first.lease(true, within).await.expect("it listens"));
        let next = by_name_knowing(server.address.port(), &last_known, &watch);
        let _silence = next.hang_look_ups();
        next.lease(true, within).await.expect("another one has found it");
    })
    .await;
}

#[tokio::test]
async fn a_look_up_takes_part_of_the_time_where_nothing_is_known_and_all_wait_for_the_same() {
    run(async {
        let watch = Watch::new();
        let backend = by_name(1, &watch);
        let silence = backend.hang_look_ups();
        let began = Instant::now();
        let (one, other) = tokio::join!(
            backend.lease(true, Duration::from_secs(1)),
            backend.lease(true, Duration::from_secs(4))
        );
        // By another look-up the second would have found its name, and nobody at the port.
        let told = one.expect_err("it is not known").to_string();
        assert_eq!(told, "the look-up of the name `localhost` takes too long");
        assert_eq!(other.expect_err("it is not known").to_string(), told);
        assert!((2..4).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        drop(silence);
        let refused = backend.lease(true, Duration::from_secs(1)).await.expect_err("nobody listens");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    })
    .await;
}
