//! What a server sees of a request, and a client of an answer.

use std::cell::RefCell;
use std::rc::Rc;

use super::harness::{Backend, GET, Gateway, OK, Options, nobody, run};
use crate::proxy::HostHeader;

/// The head that reaches the server.
async fn seen_by_server(request: &str, host: HostHeader) -> String {
    let seen = Rc::new(RefCell::new(String::new()));
    let kept = seen.clone();
    let backend = Backend::start(async move |_, mut client| {
        *kept.borrow_mut() = client.head().await;
        client.send(OK).await;
    })
    .await;
    let gateway = Gateway::start(&[backend.address], Options { host, ..Options::default() }).await;
    let reply = gateway.send(request).await;
    assert!(reply.starts_with("HTTP/1.1 200") || reply.starts_with("HTTP/1.0 200"), "{reply}");
    seen.take()
}

#[tokio::test]
async fn a_server_sees_the_target_as_sent_and_our_fields_once() {
    run(async {
        let request = "GET /a%2fb//c;d?x=%00&y=/../ HTTP/1.1\r\nHost: evil\r\nRemote-User: root\r\nremote_user: root\r\n\
            Connection: close, Remote-User\r\nCookie: foregate=secret; a=1\r\nAuthorization: Bearer x\r\nX-Other: 1\r\n\r\n";
        let seen = seen_by_server(request, HostHeader::Preserve).await;
        assert!(seen.starts_with("GET /a%2fb//c;d?x=%00&y=/../ HTTP/1.1\r\n"), "{seen}");
        for line in ["host: app.test", "remote-user: alice", "cookie: a=1", "x-other: 1", "x-request-id: id-1"] {
            assert_eq!(seen.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line} in {seen}");
        }
        for gone in ["root", "evil", "secret", "Bearer", "connection:", "transfer-encoding", "content-length"] {
            assert!(!seen.contains(gone), "{gone} in {seen}");
        }
    })
    .await;
}

#[tokio::test]
async fn host_is_what_the_configuration_says() {
    run(async {
        let seen = seen_by_server(GET, HostHeader::Literal("intern.example".to_owned())).await;
        assert!(seen.contains("\r\nhost: intern.example\r\n"), "{seen}");
        let seen = seen_by_server(GET, HostHeader::Upstream).await;
        assert!(seen.contains("\r\nhost: 127.0.0.1:"), "{seen}");
    })
    .await;
}

#[tokio::test]
async fn an_absolute_target_goes_on_in_origin_form() {
    run(async {
        let request = "GET http://app.test/x?y HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\n\r\n";
        let seen = seen_by_server(request, HostHeader::Preserve).await;
        assert!(seen.starts_with("GET /x?y HTTP/1.1\r\n"), "{seen}");
    })
    .await;
}

#[tokio::test]
async fn an_old_client_is_served_and_the_server_does_not_notice() {
    run(async {
        let seen = seen_by_server("GET / HTTP/1.0\r\nhost: a\r\n\r\n", HostHeader::Preserve).await;
        assert!(seen.starts_with("GET / HTTP/1.1\r\n"), "{seen}");
    })
    .await;
}

#[tokio::test]
async fn a_body_is_framed_anew_and_goes_with_every_method() {
    run(async {
        for method in ["GET", "POST", "DELETE"] {
            let backend = Backend::start(async |_, mut client| {
                let head = client.head().await;
                assert_eq!(head.matches("transfer-encoding: chunked").count(), 1, "{head}");
                assert_eq!(client.until("0\r\n\r\n").await, "3\r\nabc\r\n0\r\n\r\n");
                client.send(OK).await;
            })
            .await;
            let gateway = Gateway::start(&[backend.address], Options::default()).await;
            let reply = gateway
                .send(&format!("{method} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"))
                .await;
            assert!(reply.ends_with("ok"), "{reply}");
        }
        let empty = seen_by_server("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", HostHeader::Preserve).await;
        assert!(empty.contains("\r\ncontent-length: 0\r\n"), "{empty}");
    })
    .await;
}

#[tokio::test]
async fn a_head_request_is_told_the_length_and_nothing_else() {
    run(async {
        let backend = Backend::answering("HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n").await;
        let gateway = Gateway::start(&[backend.address], Options::default()).await;
        for _ in 0..2 {
            let reply = gateway.send("HEAD / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
            assert!(reply.contains("\r\ncontent-length: 1234\r\n") && reply.ends_with("\r\n\r\n"), "{reply}");
        }
        assert_eq!(backend.connections.get(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_client_that_waits_for_100_gets_it_when_a_server_is_there() {
    run(async {
        let backend = Backend::start(async |_, mut client| {
            let head = client.head().await;
            assert!(!head.contains("expect"), "{head}");
            assert_eq!(client.exactly(4).await, "body");
            client.send(OK).await;
        })
        .await;
        let gateway = Gateway::start(&[backend.address], Options::default()).await;
        let mut client = gateway.client().await;
        client.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n").await;
        assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
        client.send("body").await;
        assert!(client.head().await.starts_with("HTTP/1.1 200"));

        // No server: refused without asking for the body.
        let gateway = Gateway::start(&[nobody().await], Options::default()).await;
        let mut client = gateway.client().await;
        client.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n").await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 502"), "{head}");
    })
    .await;
}

#[tokio::test]
async fn trailers_go_both_ways_without_our_names() {
    run(async {
        let backend = Backend::start(async |_, mut client| {
            loop {
                let head = client.head().await;
                assert!(head.contains("\r\ntrailer: x-sum\r\n") && head.contains("\r\nte: trailers\r\n"), "{head}");
                assert_eq!(client.until("\r\n\r\n").await, "1\r\na\r\n0\r\nx-sum: 1\r\n\r\n");
                client
                    .send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-back\r\n\r\n1\r\nb\r\n0\r\nx-back: 2\r\n\r\n")
                    .await;
            }
        })
        .await;
        let gateway = Gateway::start(&[backend.address], Options::default()).await;
        for _ in 0..2 {
            let reply = gateway
                .send(
                    "POST / HTTP/1.1\r\nhost: a\r\nconnection: close, te\r\nte: trailers\r\ntrailer: x-sum, Remote-User\r\n\
                     transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-sum: 1\r\nremote-user: root\r\nx_forwarded_for: 1\r\n\r\n",
                )
                .await;
            assert!(reply.ends_with("1\r\nb\r\n0\r\nx-back: 2\r\n\r\n"), "{reply}");
        }
        assert_eq!(backend.connections.get(), 1, "trailers are a clean end");
    })
    .await;
}

#[tokio::test]
async fn an_answer_passes_without_what_is_ours() {
    run(async {
        let backend = Backend::answering(
            "HTTP/1.1 418 Short And Stout\r\nset-cookie: foregate=evil\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\
             connection: keep-alive, x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\ncontent-length: 2\r\n\r\nok",
        )
        .await;
        let gateway = Gateway::start(&[backend.address], Options::default()).await;
        let reply = gateway.send(GET).await;
        assert!(reply.starts_with("HTTP/1.1 418 Short And Stout\r\n"), "{reply}");
        for line in ["set-cookie: a=1", "set-cookie: b=2", "content-length: 2"] {
            assert_eq!(reply.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line} in {reply}");
        }
        for gone in ["evil", "x-hop", "keep-alive"] {
            assert!(!reply.contains(gone), "{gone} in {reply}");
        }
    })
    .await;
}
