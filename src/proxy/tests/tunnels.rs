//! Upgrades: agreed on by both sides, carried, and ended.

use super::harness::{Backend, Client, Gateway, OK, Options, run};

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: k\r\n\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: a\r\n\r\n";

/// Greets in the same breath as the 101, then gives back what it gets.
async fn echo() -> Backend {
    Backend::start(async |_, mut client| {
        let head = client.head().await;
        assert_eq!(head.matches("upgrade: websocket\r\n").count(), 1, "{head}");
        assert_eq!(head.matches("connection: upgrade\r\n").count(), 1, "{head}");
        client.send(&format!("{SWITCHING}hello")).await;
        let (mut read, mut write) = client.stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await
}

async fn open(gateway: &Gateway) -> Client {
    let mut client = gateway.client().await;
    client.send(UPGRADE).await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    for line in ["connection: upgrade", "upgrade: websocket", "sec-websocket-accept: a"] {
        assert_eq!(head.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line} in {head}");
    }
    assert_eq!(client.exactly(5).await, "hello");
    client
}

#[tokio::test]
async fn bytes_go_both_ways_once_both_sides_agreed() {
    run(async {
        let backend = echo().await;
        let gateway = Gateway::start(&[backend.address], Options::default()).await;
        let mut client = open(&gateway).await;
        for text in ["one", "GET / HTTP/1.1\r\n\r\n", &"x".repeat(100_000)] {
            client.send(text).await;
            assert_eq!(client.exactly(text.len()).await, text);
        }
        assert_eq!(gateway.tunnels.len(), 1);
        // A half-closed side still hears the other's last words.
        client.send("last").await;
        tokio::io::AsyncWriteExt::shutdown(&mut client.stream).await.expect("half a close");
        assert_eq!(client.rest().await, "last");
        gateway.tunnels.end().await;
    })
    .await;
}

#[tokio::test]
async fn tunnels_end_with_the_gateway_and_with_the_session() {
    run(async {
        let backend = echo().await;
        let gateway = Gateway::start(&[backend.address], Options::default()).await;
        let mut client = open(&gateway).await;
        gateway.ended.cancel();
        assert!(client.is_closed().await);

        let gateway = Gateway::start(&[backend.address], Options::default()).await;
        let mut client = open(&gateway).await;
        gateway.tunnels.end().await;
        assert!(client.is_closed().await);
        assert!(gateway.tunnels.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_refused_upgrade_is_an_ordinary_answer_and_the_next_request_an_ordinary_one() {
    run(async {
        let backend = Backend::answering(OK).await;
        let gateway = Gateway::start(&[backend.address], Options::default()).await;
        let mut client = gateway.client().await;
        client.send(UPGRADE).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 200") && !head.contains("upgrade"), "{head}");
        assert_eq!(client.exactly(2).await, "ok");
        client.send("GET /admin HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        assert!(client.rest().await.ends_with("ok"));
        assert!(gateway.tunnels.is_empty());
        assert_eq!(backend.connections.get(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_protocol_that_could_carry_requests_is_not_offered() {
    run(async {
        let backend = Backend::start(async |_, mut client| {
            let head = client.head().await;
            assert!(!head.contains("upgrade") && !head.contains("h2c") && !head.contains("settings"), "{head}");
            client.send(OK).await;
        })
        .await;
        let gateway = Gateway::start(&[backend.address], Options::default()).await;
        let reply = gateway
            .send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings, close\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n\r\n")
            .await;
        assert!(reply.ends_with("ok"), "{reply}");
    })
    .await;
}

#[tokio::test]
async fn a_server_that_switches_to_something_else_is_a_502() {
    run(async {
        let backend = Backend::start(async |_, mut client| {
            client.head().await;
            client
                .send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n")
                .await;
            assert!(client.is_closed().await);
        })
        .await;
        let gateway = Gateway::start(&[backend.address], Options::default()).await;
        let mut client = gateway.client().await;
        client.send(UPGRADE).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 502"), "{head}");
    })
    .await;
}
