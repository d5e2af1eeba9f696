//! Bodies: streamed with back pressure, bounded, cut where they break.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::harness::{Backend, GET, Gateway, OK, Options, rest, run};

#[tokio::test]
async fn a_body_that_breaks_never_ends_cleanly() {
    run(async {
        for (answer, end) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", "half"),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", "4\r\nhalf\r\n"),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n", "4\r\nhalf\r\n"),
        ] {
            let backend = Backend::start(async move |_, mut client| {
                client.head().await;
                client.send(answer).await;
            })
            .await;
            let gateway = Gateway::start(&[backend.address], Options::default()).await;
            let mut client = gateway.client().await;
            client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            let reply = client.rest().await;
            assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
            assert!(!reply.ends_with("0\r\n\r\n"), "{reply}");
            assert!(reply.ends_with(end) || reply.ends_with("\r\n\r\n"), "{reply}");
        }
    })
    .await;
}

const MIB: usize = 1 << 20;

#[tokio::test]
async fn a_large_answer_waits_for_its_reader() {
    run(async {
        let sent = Rc::new(Cell::new(0));
        let counter = sent.clone();
        let backend = Backend::start(async move |_, mut client| {
            client.head().await;
            client.send(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 64 * MIB)).await;
            for _ in 0..64 * 16 {
                client.stream.write_all(&[b'x'; MIB / 16]).await.expect("the gateway reads on");
                counter.set(counter.get() + MIB / 16);
            }
        })
        .await;
        let gateway = Gateway::start(&[backend.address], Options::default()).await;
        let mut client = gateway.client().await;
        client.send(GET).await;
        client.head().await;
        // The sockets' own buffers take what they take; the gateway adds less than a MiB.
        let mut before = usize::MAX;
        while before != sent.get() {
            before = sent.get();
            rest().await;
        }
        assert!(sent.get() < 32 * MIB, "{} MiB went out unread", sent.get() / MIB);
        let mut total = 0;
        let mut buffer = vec![0; MIB];
        loop {
            match client.stream.read(&mut buffer).await.expect("the rest") {
                0 => break,
                some => total += some,
            }
        }
        assert_eq!(total, 64 * MIB);
    })
    .await;
}

#[tokio::test]
async fn a_large_upload_waits_for_its_reader() {
    run(async {
        let read_on = Rc::new(tokio::sync::Notify::new());
        let told = read_on.clone();
        let backend = Backend::start(async move |_, mut client| {
            client.head().await;
            told.notified().await;
            let mut left = 64 * MIB;
            let mut buffer = vec![0; MIB];
            while left > 0 {
                left -= client.stream.read(&mut buffer).await.expect("the upload");
            }
            client.send(OK).await;
        })
        .await;
        let gateway = Gateway::start(&[backend.address], Options::default()).await;
        let mut client = gateway.client().await;
        client.send(&format!("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", 64 * MIB)).await;
        let (mut read, mut write) = client.stream.into_split();
        let sent = Rc::new(Cell::new(0));
        let counter = sent.clone();
        tokio::task::spawn_local(async move {
            for _ in 0..64 * 16 {
                write.write_all(&[b'x'; MIB / 16]).await.expect("the gateway reads on");
                counter.set(counter.get() + MIB / 16);
            }
            std::future::pending::<()>().await;
            drop(write);
        });
        let mut before = usize::MAX;
        while before != sent.get() {
            before = sent.get();
            rest().await;
        }
        assert!(sent.get() < 32 * MIB, "{} MiB went in unread", sent.get() / MIB);
        let mut head = [0; 15];
        read_on.notify_one();
        read.read_exact(&mut head).await.expect("an answer");
        assert_eq!(&head, b"HTTP/1.1 200 OK");
    })
    .await;
}

#[tokio::test]
async fn a_told_length_over_the_limit_reaches_no_server() {
    run(async {
        let backend = Backend::answering(OK).await;
        let options = Options { body_bytes: Some(4), ..Options::default() };
        let gateway = Gateway::start(&[backend.address], options).await;
        let reply = gateway
            .send("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 5\r\n\r\n")
            .await;
        assert!(reply.starts_with("HTTP/1.1 413") && reply.ends_with("body_too_large"), "{reply}");
        assert_eq!(backend.connections.get(), 0);
    })
    .await;
}

#[tokio::test]
async fn an_untold_length_over_the_limit_is_broken_off() {
    run(async {
        let backend = Backend::start(async |_, mut client| {
            client.head().await;
            let body = client.rest().await;
            assert!(!body.ends_with("0\r\n\r\n"), "the server saw a whole body: {body}");
        })
        .await;
        let options = Options { body_bytes: Some(4), ..Options::default() };
        let gateway = Gateway::start(&[backend.address], options).await;
        let reply = gateway
            .send("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
            .await;
        assert!(reply.starts_with("HTTP/1.1 413"), "{reply}");
    })
    .await;
}

#[tokio::test]
async fn a_body_of_the_client_that_stands_still_is_a_408() {
    run(async {
        let backend = Backend::start(async |_, mut client| {
            client.head().await;
            client.rest().await;
        })
        .await;
        let options = Options {
            response_timeout: Duration::from_millis(100),
            stall: Duration::from_millis(400),
            ..Options::default()
        };
        let gateway = Gateway::start(&[backend.address], options).await;
        let mut client = gateway.client().await;
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nab").await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 408"), "the server is not to blame: {head}");
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_stands_still_is_cut_but_a_stream_of_events_is_not() {
    run(async {
        for (kind, cut) in [("text/plain", true), ("text/event-stream; charset=utf-8", false)] {
            let backend = Backend::start(async move |_, mut client| {
                client.head().await;
                client
                    .send(&format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n"
                    ))
                    .await;
                if cut {
                    assert!(client.is_closed().await);
                } else {
                    tokio::time::sleep(Duration::from_millis(800)).await;
                    client.send("6\r\nsecond\r\n0\r\n\r\n").await;
                }
            })
            .await;
            let options = Options { stall: Duration::from_millis(200), ..Options::default() };
            let gateway = Gateway::start(&[backend.address], options).await;
            let mut client = gateway.client().await;
            client.send(GET).await;
            client.head().await;
            // At once, not with what follows.
            assert_eq!(client.until("first\r\n").await, "5\r\nfirst\r\n");
            let rest = client.rest().await;
            assert_eq!(rest, if cut { "" } else { "6\r\nsecond\r\n0\r\n\r\n" }, "{kind}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_of_events_ends_with_the_session_and_a_download_does_not() {
    run(async {
        for (kind, ends) in [("text/event-stream", true), ("text/plain", false)] {
            let backend = Backend::start(async move |_, mut client| {
                client.head().await;
                client
                    .send(&format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: 4\r\n\r\nab"))
                    .await;
                rest().await;
                if !ends {
                    client.send("cd").await;
                }
                client.rest().await;
            })
            .await;
            let gateway = Gateway::start(&[backend.address], Options::default()).await;
            let mut client = gateway.client().await;
            client.send(GET).await;
            client.head().await;
            assert_eq!(client.exactly(2).await, "ab");
            gateway.ended.cancel();
            assert_eq!(client.rest().await, if ends { "" } else { "cd" }, "{kind}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_answer_to_an_upload_that_is_not_read_arrives_whole() {
    const LENGTH: usize = 30_000;
    run(async {
        let backend = Backend::start(async |_, mut client| {
            client.head().await;
            let head = "HTTP/1.1 413 Payload Too Large\r\nconnection: close\r\ncontent-length: 30000\r\n\r\n";
            client.send(&[head, &"x".repeat(LENGTH)].concat()).await;
            // Closed with most of the upload unread, so that the rest of it is answered by a reset.
        })
        .await;
        let gateway = Gateway::start(&[backend.address], Options::default()).await;
        let mut client = gateway.client().await;
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9000000\r\n\r\n").await;
        for _ in 0..16 {
            client.send(&"x".repeat(65_536)).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        rest().await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 413"), "{head}");
        assert_eq!(client.exactly(LENGTH).await.len(), LENGTH);
    })
    .await;
}

#[test]
fn a_thread_that_stops_takes_an_upload_along() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    let _client = local.block_on(&runtime, async {
        let backend = Backend::start(async |_, mut client| drop(client.rest().await)).await;
        let gateway = Gateway::start(&[backend.address], Options::default()).await;
        let mut client = gateway.client().await;
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nab").await;
        rest().await;
        client
    });
    // Outside of the runtime, in the middle of the body: it must not panic.
    drop(local);
}
