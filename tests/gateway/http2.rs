//! HTTP/2 from clients: what arrives at a server that speaks HTTP/1.1, and what never does.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use http::{HeaderMap, HeaderValue, Request};

use crate::edge::Server;
use crate::frames::{
    CANCEL, CONTINUATION, Client, DATA, END_HEADERS, END_STREAM, Fields, HEADERS, NO_ERROR, NO_TABLE,
    PREFACE, PROTOCOL_ERROR, RST_STREAM, Raw, SETTINGS, block, frame,
};
use crate::harness::{Gateway, PATIENCE, Upstream, wait_until};

/// Far above what it takes, far below what would end it otherwise.
const SOON: Duration = Duration::from_secs(5);

fn public(upstream: &Upstream) -> Gateway {
    Gateway::in_front_of(upstream.address, ", access: public")
}

/// Of what a server saw: the request line, and its fields in lower case.
fn fields(seen: &str) -> Vec<String> {
    let head = seen.split("\r\n\r\n").next().unwrap_or_default();
    head.lines().skip(1).map(str::to_lowercase).collect()
}

#[test]
fn both_protocols_are_served_on_one_port() {
    let upstream = Upstream::start();
    let gateway = public(&upstream);
    let mut client = Client::to(gateway.address);
    for number in 0..3 {
        let answer = client.get(&format!("/a?{number}"), &[]);
        assert_eq!((answer.status, answer.text()), (200, "hello".to_owned()));
        assert_eq!(gateway.get("/b", &[]).text(), "hello");
    }
    let seen = &upstream.seen()[4];
    assert!(seen.starts_with("GET /a?2 HTTP/1.1\r\n"), "{seen}");
    assert_eq!(fields(seen).iter().filter(|line| line.starts_with("host:")).count(), 1);
    assert!(fields(seen).contains(&"host: app.test".to_owned()), "{seen}");
    assert!(!seen.contains("transfer-encoding") && !seen.contains("content-length"), "{seen}");
    gateway.wait_for_log(r#""http.version":"2""#);
    gateway.wait_for_log(r#""http.version":"1.1""#);
}

#[test]
fn the_preface_is_known_however_it_is_cut() {
    let upstream = Upstream::start();
    let gateway = public(&upstream);
    let mut raw = Raw::silent(gateway.address);
    for byte in PREFACE.iter().chain(&frame(SETTINGS, 0, 0, NO_TABLE)) {
        raw.write(&[*byte]);
        std::thread::sleep(Duration::from_millis(1));
    }
    raw.get(1, "/");
    assert_eq!(raw.outcome(1).status, Some(200));
    // What only begins like it is HTTP/1, and no request of it.
    let reply = gateway.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    assert_eq!(reply.status, 505, "{reply:?}");
    assert_eq!(upstream.count(), 1);
}

#[test]
fn bodies_and_trailers_pass_and_are_framed_anew() {
    let upstream = Upstream::answering(|request| {
        if request.starts_with("HEAD") {
            return b"HTTP/1.1 200 OK\r\ncontent-length: 12345\r\n\r\n".to_vec();
        }
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n".to_vec()
    });
    let gateway = public(&upstream);
    let mut client = Client::to(gateway.address);

    let answer = client.call("POST", "/", &[("content-length", "5")], Some(b"hello"));
    assert_eq!((answer.status, answer.text()), (200, "abc".to_owned()));
    assert_eq!(answer.trailers.expect("trailers")["x-sum"], "7");
    assert!(!answer.headers.contains_key("transfer-encoding") && !answer.headers.contains_key("connection"));
    let seen = upstream.last();
    assert!(
        seen.ends_with("\r\n\r\nhello") && fields(&seen).contains(&"content-length: 5".to_owned()),
        "{seen}"
    );

    // Without a length it goes in chunks, trailers of the client behind them: but none under our names.
    let trailers = HeaderMap::from_iter(
        [("x-check", "1"), ("remote-user", "root"), ("content-length", "3"), ("authorization", "root")]
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value))),
    );
    let request = Request::post("http://app.test/").header("trailer", "x-check").header("te", "trailers");
    client.send(request.body(()).expect("a request"), Some(b"hello"), Some(trailers)).expect("an answer");
    let seen = upstream.last();
    assert!(fields(&seen).contains(&"transfer-encoding: chunked".to_owned()), "{seen}");
    assert!(fields(&seen).contains(&"te: trailers".to_owned()), "{seen}");
    assert!(seen.contains("5\r\nhello\r\n") && seen.contains("0\r\nx-check: 1\r\n\r\n"), "{seen}");
    assert!(!seen.contains("root") && !seen.contains("content-length"), "{seen}");

    // A GET that may have one, and has none in the end.
    client.call("GET", "/", &[], Some(b""));
    assert!(upstream.last().ends_with("\r\n\r\n0\r\n\r\n"), "{}", upstream.last());

    let answer = client.call("HEAD", "/", &[], None);
    assert_eq!((answer.status, answer.header("content-length"), answer.body.len()), (200, Some("12345"), 0));
    let large = vec![b'x'; 3 << 20];
    client.call("PUT", "/large", &[], Some(&large));
    let sent: usize = upstream.last().matches('x').count();
    assert!(sent >= large.len(), "{sent}");
}

#[test]
fn a_body_in_very_many_small_frames_passes() {
    let upstream = Upstream::start();
    let gateway = public(&upstream);
    let mut raw = Raw::to(gateway.address);
    let mut writing = raw.try_clone();
    raw.request(1, "POST", "/", &[("content-length", "60000")], 0);
    // As some gRPC clients send them: each message a frame, and as many at once as the window allows.
    let sending = std::thread::spawn(move || {
        let all: Vec<u8> = (0..6000).flat_map(|_| frame(DATA, 0, 1, b"0123456789")).collect();
        assert!(writing.write(&all));
        assert!(writing.write(&frame(DATA, END_STREAM, 1, b"")));
    });
    let outcome = raw.outcome(1);
    assert_eq!((outcome.status, outcome.goaway), (Some(200), None), "{outcome:?}");
    sending.join().expect("it is taken");
    assert!(upstream.last().ends_with(&"0123456789".repeat(6000)));
}

#[test]
fn a_request_names_one_host() {
    let upstream = Upstream::start();
    let gateway = public(&upstream);
    let mut client = Client::to(gateway.address);
    assert_eq!(client.get("/", &[("host", "app.test")]).status, 200);
    assert_eq!(client.get("/", &[("host", "APP.test")]).status, 200);
    assert_eq!(upstream.count(), 2);
    for other in ["other.test", "app.test:81", "app.test, other.test", ""] {
        let answer = client.get("/", &[("host", other)]);
        assert_eq!(answer.status, 400, "{other}: {answer:?}");
        assert!(!answer.headers.contains_key("connection"));
    }
    assert_eq!(client.get("/", &[("host", "app.test"), ("host", "app.test")]).status, 400);
    // Without an authority the field is enough; without both there is none.
    let mut raw = Raw::to(gateway.address);
    let head = |fields: &[(&str, &str)]| {
        let usual = [(":method", "GET"), (":scheme", "http"), (":path", "/")];
        block(&[&usual[..], fields].concat())
    };
    for (stream, fields, status) in [(1, &[("host", "app.test")][..], 200), (3, &[], 400)] {
        raw.write(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &head(fields)));
        assert_eq!(raw.outcome(stream).status, Some(status), "{fields:?}");
    }
    assert_eq!(upstream.count(), 3);
}

#[test]
fn the_scheme_is_that_of_the_connection() {
    let upstream = Upstream::start();
    let gateway = public(&upstream);
    let mut client = Client::to(gateway.address);
    let request = Request::get("https://app.test/").body(()).expect("a request");
    assert_eq!(client.send(request, None, None).expect("an answer").status, 200);
    let seen = upstream.last();
    assert!(fields(&seen).contains(&"x-forwarded-proto: http".to_owned()), "{seen}");
}

#[test]
fn what_is_malformed_reaches_nobody() {
    let upstream = Upstream::start();
    let gateway = public(&upstream);
    let cases: [&[(&str, &str)]; 18] = [
        &[("connection", "close")],
        &[("connection", "x-foo")],
        &[("keep-alive", "timeout=5")],
        &[("proxy-connection", "keep-alive")],
        &[("transfer-encoding", "chunked")],
        &[("upgrade", "websocket")],
        &[("te", "gzip")],
        &[("X-Upper", "1")],
        &[("x bad", "1")],
        &[("x-bad:", "1")],
        &[("", "1")],
        &[("x", "a\r\nremote-user: root")],
        &[("x", "a\nb")],
        &[("x", "a\0b")],
        &[("content-length", "5"), ("content-length", "6")],
        &[("content-length", "+0")],
        &[("content_length", "0")],
        &[(":path", "/again")],
    ];
    for fields in cases {
        let mut raw = Raw::to(gateway.address);
        raw.request(1, "GET", "/", fields, END_STREAM);
        let outcome = raw.outcome(1);
        let refused = outcome.status == Some(400)
            || outcome.reset == Some(PROTOCOL_ERROR)
            || outcome.goaway == Some(PROTOCOL_ERROR);
        assert!(refused, "{fields:?}: {outcome:?}");
    }
    for (method, target) in [
        ("GET", ""),
        ("GET", "no-slash"),
        ("GET", "/a b"),
        ("get", "/"),
        ("G T", "/"),
        ("GET", "/a\r\nx: y"),
        ("GET", "*"),
        ("GET", "http://app.test/"),
    ] {
        let mut raw = Raw::to(gateway.address);
        raw.request(1, method, target, &[], END_STREAM);
        let outcome = raw.outcome(1);
        let refused = outcome.status == Some(400) || outcome.reset.is_some() || outcome.goaway.is_some();
        assert!(refused, "{method} {target:?}: {outcome:?}");
    }
    assert_eq!(upstream.count(), 0, "{:?}", upstream.seen());
}

#[test]
fn a_fragment_in_the_path_is_never_part_of_what_is_forwarded() {
    let upstream = Upstream::start();
    let gateway = public(&upstream);
    let mut raw = Raw::to(gateway.address);
    raw.get(1, "/public#/../admin");
    let outcome = raw.outcome(1);
    let seen = upstream.seen();
    let fine = seen.is_empty() || (seen.len() == 1 && seen[0].starts_with("GET /public HTTP/1.1\r\n"));
    assert!(fine, "{outcome:?}: {seen:?}");
}

/// A server that records the bytes of each connection, whatever they are, and answers nothing.
fn recorder() -> (Server, mpsc::Receiver<Vec<u8>>) {
    let (tell, told) = mpsc::channel();
    let server = Server::start(move |peer| {
        let mut bytes = Vec::new();
        loop {
            let more = peer.read_some();
            if more.is_empty() {
                break;
            }
            bytes.extend_from_slice(&more);
        }
        tell.send(bytes).expect("the test waits");
    });
    (server, told)
}

#[test]
fn a_body_that_is_not_as_long_as_it_says_never_becomes_a_request() {
    let smuggled = b"GET /smuggled HTTP/1.1\r\nhost: app.test\r\n\r\n";
    // Longer, and shorter, than what is said.
    for (length, body) in
        [("0", &smuggled[..]), ("5", smuggled), ("41", smuggled), ("43", smuggled), ("500", smuggled)]
    {
        let (server, told) = recorder();
        let gateway = Gateway::start(&format!(
            "upstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, access: public, upstream: app }}]\n",
            server.address
        ));
        let mut raw = Raw::to(gateway.address);
        raw.request(1, "POST", "/first", &[("content-length", length)], 0);
        // What arrives together with the head might be refused before anything is forwarded.
        std::thread::sleep(Duration::from_millis(50));
        raw.write(&frame(DATA, END_STREAM, 1, body));
        let outcome = raw.outcome(1);
        assert_eq!(outcome.reset, Some(PROTOCOL_ERROR), "{length}: {outcome:?}");
        // The connection to the server is gone with it: nothing that comes later is taken for the rest.
        if let Ok(bytes) = told.recv_timeout(PATIENCE) {
            let text = String::from_utf8_lossy(&bytes);
            let (head, sent) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
            assert_eq!(head.matches("HTTP/1.1").count(), 1, "{length}: {text}");
            let said: usize = length.parse().expect("a number");
            assert!(sent.len() <= said, "{length}: {text}");
        }
    }
}

#[test]
fn methods_that_are_refused_on_http1_are_refused() {
    let upstream = Upstream::start();
    let gateway = public(&upstream);
    let mut raw = Raw::to(gateway.address);
    raw.request(1, "TRACE", "/", &[], END_STREAM);
    assert_eq!(raw.outcome(1).status, Some(405));
    let connect = block(&[(":method", "CONNECT"), (":authority", "app.test:443")]);
    raw.write(&frame(HEADERS, END_HEADERS, 3, &connect));
    assert_eq!(raw.outcome(3).status, Some(405));
    for (stream, protocol) in [(5, "connect-udp"), (7, "webtransport"), (9, "WebSocket"), (11, "h2c")] {
        raw.request(stream, "CONNECT", "/", &[(":protocol", protocol)], 0);
        let outcome = raw.outcome(stream);
        assert_eq!(outcome.status, Some(501), "{protocol}: {outcome:?}");
    }
    // A protocol is named by CONNECT alone.
    raw.request(13, "GET", "/", &[(":protocol", "websocket")], END_STREAM);
    let outcome = raw.outcome(13);
    assert!(outcome.reset.is_some() || matches!(outcome.status, Some(400 | 501)), "{outcome:?}");
    let long = "A".repeat(33);
    raw.request(15, &long, "/", &[], END_STREAM);
    assert_eq!(raw.outcome(15).status, Some(400));
    assert_eq!(upstream.count(), 0);
    raw.get(17, "/");
    assert_eq!(raw.outcome(17).status, Some(200));
}

#[test]
fn heads_have_the_limits_of_http1() {
    let upstream = Upstream::start();
    let gateway = public(&upstream);
    let mut raw = Raw::to(gateway.address);
    raw.get(1, &format!("/{}", "a".repeat(8191)));
    assert_eq!(raw.outcome(1).status, Some(200));
    raw.get(3, &format!("/{}", "a".repeat(8192)));
    assert_eq!(raw.outcome(3).status, Some(414));
    raw.request(5, "GET", "/", &[("x", "y"); 101], END_STREAM);
    assert_eq!(raw.outcome(5).status, Some(431));
    // Cookies in many fields are one.
    raw.request(7, "GET", "/", &[("cookie", "a=b"); 300], END_STREAM);
    assert_eq!(raw.outcome(7).status, Some(200));
    // More than 32 KiB, over several frames.
    let value = "v".repeat(10_000);
    let large = [("a", value.as_str()), ("b", &value), ("c", &value), ("d", &value)];
    let usual = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "app.test")];
    let all = block(&[&usual[..], &large].concat());
    let pieces: Vec<&[u8]> = all.chunks(16_000).collect();
    raw.write(&frame(HEADERS, END_STREAM, 9, pieces[0]));
    raw.write(&frame(CONTINUATION, 0, 9, pieces[1]));
    raw.write(&frame(CONTINUATION, END_HEADERS, 9, pieces[2]));
    let outcome = raw.outcome(9);
    assert_eq!(outcome.status, Some(431), "{outcome:?}");
    assert_eq!(upstream.count(), 2);
    raw.get(11, "/");
    assert_eq!(raw.outcome(11).status, Some(200), "the connection serves on");
}

#[test]
fn a_session_is_found_among_cookies_in_many_fields_and_kept_from_the_application() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(upstream.address, "");
    gateway.add_user("alice", &[]);
    let session = gateway.sign_in("alice");
    let mut client = Client::to(gateway.address);
    assert_eq!(client.get("/", &[("cookie", "a=1")]).status, 401);
    let cookies =
        [("cookie", "a=1"), ("cookie", session.as_str()), ("cookie", "b=2; c=3"), ("remote-user", "root")];
    assert_eq!(client.get("/", &cookies).status, 200);
    let seen = upstream.last();
    let lines = fields(&seen);
    let sent: Vec<_> = lines.iter().filter(|line| line.starts_with("cookie:")).collect();
    assert_eq!(sent, ["cookie: a=1; b=2; c=3"], "{seen}");
    let users: Vec<_> = lines.iter().filter(|line| line.starts_with("remote-user:")).collect();
    assert_eq!(users, ["remote-user: alice"], "{seen}");
    // Two sessions in two fields are two sessions: nobody knows which is meant.
    let other = gateway.sign_in("alice");
    assert_eq!(client.get("/", &[("cookie", &session), ("cookie", &other)]).status, 401);
}

#[test]
fn refused_and_early_answered_requests_with_bodies_leave_the_connection_in_use() {
    let upstream = Server::start(|peer| {
        while let Some(head) = peer.head() {
            if head.starts_with("POST") {
                // Before the body was read; then the rest of it is never read.
                peer.write(
                    "HTTP/1.1 413 Content Too Large\r\ncontent-length: 5\r\nconnection: close\r\n\r\nearly",
                );
                return;
            }
            peer.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let gateway = Gateway::start(&format!(
        "limits: {{ body: 64KiB }}\nupstreams: {{ app: \"http://{}\" }}\nroutes:\n  - {{ path: /public/**, access: public, upstream: app }}\n  - {{ path: /**, upstream: app }}\n",
        upstream.address
    ));
    let mut client = Client::to(gateway.address);
    let body = vec![b'x'; 60_000];
    for _ in 0..3 {
        assert_eq!(client.call("POST", "/private", &[], Some(&body)).status, 401);
        let answer = client.call("POST", "/public/a", &[], Some(&body));
        assert_eq!((answer.status, answer.text()), (413, "early".to_owned()));
        let answer =
            client.call("POST", "/public/a", &[("content-length", "100000")], Some(&[b'x'; 100_000]));
        assert_eq!(answer.status, 413);
        assert!(answer.header("content-type") == Some("application/problem+json"), "{answer:?}");
        assert_eq!(client.get("/public/b", &[]).text(), "ok");
    }
}

#[test]
fn a_client_that_gives_up_takes_its_request_along() {
    let (tell, told) = mpsc::channel();
    let server = Server::start(move |peer| {
        let _ = peer.head();
        // Ends when the gateway closes the connection.
        peer.wait_for_end();
        tell.send(()).expect("the test waits");
    });
    let gateway = Gateway::start(&format!(
        "upstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, access: public, upstream: app }}]\n",
        server.address
    ));
    let mut raw = Raw::to(gateway.address);
    raw.get(1, "/slow");
    wait_until(|| server.accepted() == 1, || "the request does not arrive".to_owned());
    raw.write(&frame(RST_STREAM, 0, 1, &CANCEL.to_be_bytes()));
    told.recv_timeout(SOON).expect("the server's connection is closed");
    raw.get(3, "/slow");
    wait_until(|| server.accepted() == 2, || "the second does not arrive".to_owned());
    drop(raw);
    told.recv_timeout(SOON).expect("so it is when the client is gone altogether");
    // Neither is missing from the log.
    wait_until(|| gateway.log().matches(r#""status":499"#).count() == 2, || gateway.log());
}

#[test]
fn a_broken_off_answer_is_no_whole_one() {
    let server = Server::start(|peer| {
        let _ = peer.head();
        peer.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
    });
    let gateway = Gateway::start(&format!(
        "upstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, access: public, upstream: app }}]\n",
        server.address
    ));
    let mut raw = Raw::to(gateway.address);
    raw.get(1, "/");
    let outcome = raw.outcome(1);
    assert!(outcome.reset.is_some() && !outcome.ended, "{outcome:?}");
    assert_eq!(outcome.data, b"half");
}

// --- gRPC ---

const CALL: (&str, &str) = ("content-type", "application/grpc");

#[test]
fn a_call_that_is_refused_ends_with_a_status_of_grpc() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "limits: {{ body: 64KiB }}\nupstreams: {{ app: \"http://{}\", gone: \"http://127.0.0.1:1\" }}\nroutes:\n\
         \x20 - {{ path: /admin.Service/*, require: {{ roles: [admin] }}, upstream: app }}\n\
         \x20 - {{ path: /gone.Service/*, access: public, upstream: gone }}\n\
         \x20 - {{ path: /public.Service/*, access: public, upstream: app }}\n\
         \x20 - {{ path: /login.Service/*, unauthenticated: login, upstream: app }}\n\
         \x20 - {{ path: /app.Service/*, upstream: app }}\n",
        upstream.address
    ));
    gateway.add_user("zoë", &[]);
    let token = format!("Bearer {}", gateway.token("zoë"));
    let auth = ("authorization", token.as_str());
    let large = ("content-length", "100000");
    let cases: [(&str, Fields<'_>, &str); 8] = [
        ("/app.Service/Get", &[CALL], "16"),
        ("/app.Service/Get", &[CALL, ("authorization", "Bearer x")], "16"),
        ("/login.Service/Get", &[CALL, ("accept", "text/html")], "16"),
        ("/admin.Service/Get", &[CALL, auth], "7"),
        ("/other.Service/Get", &[CALL], "12"),
        ("/gone.Service/Get", &[CALL], "14"),
        ("/public.Service/Get", &[CALL, large], "8"),
        ("/app.Service/Get", &[("content-type", "application/grpc+proto"), ("te", "trailers")], "16"),
    ];
    let mut client = Client::to(gateway.address);
    for (target, fields, status) in cases {
        let body = if fields.contains(&large) { vec![0; 100_000] } else { vec![0, 0, 0, 0, 0] };
        let answer = client.call("POST", target, fields, Some(&body));
        assert_eq!(answer.status, 200, "{target}: {answer:?}");
        assert_eq!(answer.header("grpc-status"), Some(status), "{target}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/grpc"), "{target}: {answer:?}");
        assert!(answer.header("grpc-message").is_some_and(|message| !message.is_empty()), "{answer:?}");
        assert!(answer.body.is_empty() && answer.trailers.is_none(), "{answer:?}");
        let fields: Vec<_> = fields.iter().copied().filter(|field| *field != large).collect();
        let reply = gateway.request("POST", target, &fields, &body);
        assert_eq!((reply.status, reply.header("grpc-status")), (200, Some(status)), "{target}: {reply:?}");
        assert!(reply.body.is_empty() && !reply.cut, "{reply:?}");
    }
    // What is wrong is told in any script.
    let answer = client.call("POST", "/admin.Service/Get", &[CALL, auth], Some(b""));
    assert!(answer.header("grpc-message").is_some_and(|message| message.contains("zo%C3%AB")), "{answer:?}");
    gateway.wait_for_log(r#""grpc.status":"16""#);
    gateway.wait_for_log(r#""grpc.status":"7""#);
    // Other programs are answered as ever, and so are proxies that ask about a call: 200 would be a yes.
    assert_eq!(
        client.call("POST", "/app.Service/Get", &[("content-type", "application/json")], Some(b"{}")).status,
        401
    );
}

#[test]
fn a_proxy_that_asks_about_a_call_is_told_by_the_status() {
    let gateway = Gateway::start(
        "trusted_proxies: [127.0.0.1]\nupstreams: { app: \"http://127.0.0.1:1\" }\nroutes: [{ path: /**, upstream: app }]\n",
    );
    let forwarded = [
        ("x-forwarded-method", "POST"),
        ("x-forwarded-uri", "/app.Service/Get"),
        ("x-forwarded-host", "app.test"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-original-url", "http://app.test/app.Service/Get"),
        ("x-original-method", "POST"),
        ("te", "trailers"),
        CALL,
    ];
    let mut client = Client::to(gateway.address);
    for question in ["/.auth/auth-request", "/.auth/forward-auth", "/.auth/ext-authz/app.Service/Get"] {
        // Envoy asks with the request's own method, path and host.
        let is_told = |name: &str| {
            !question.contains("ext-authz")
                || !name.starts_with("x-")
                || name.ends_with("-for")
                || name.ends_with("-proto")
        };
        let fields: Vec<_> = forwarded.into_iter().filter(|(name, _)| is_told(name)).collect();
        let answer = client.call("POST", question, &fields, Some(b""));
        assert_eq!((answer.status, answer.header("grpc-status")), (401, None), "{question}: {answer:?}");
        // Not even where it is unsound, or could be another address.
        let unsound = [&forwarded[..], &[("host", "other.test")]].concat();
        for (question, fields) in
            [(question.to_owned(), &unsound[..]), (format!("/a/..{question}"), &forwarded)]
        {
            let answer = client.call("POST", &question, fields, Some(b""));
            assert!(answer.status >= 400 && answer.header("grpc-status").is_none(), "{question}: {answer:?}");
        }
    }
}

// --- WebSocket ---

/// Answers a handshake of HTTP/1.1 as its path says, and then gives back what it gets.
fn websockets() -> (std::net::SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let tell = tell.clone();
            std::thread::spawn(move || {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if stream.read(&mut byte).unwrap_or(0) == 0 {
                        return;
                    }
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).expect("ASCII");
                let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: "));
                let joined = [key.unwrap_or_default(), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
                let digest = &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY;
                let digest = aws_lc_rs::digest::digest(digest, joined.as_bytes());
                let accept = base64::engine::general_purpose::STANDARD.encode(digest);
                let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let _ = tell.send(head.clone());
                let answer = match &*target {
                    "/wrong" => "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n".to_owned(),
                    "/ordinary" => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned(),
                    "/refused" => "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno".to_owned(),
                    _ => format!("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\nsec-websocket-protocol: chat\r\n\r\nwelcome"),
                };
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..read]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, told)
}

const WEBSOCKET: (&str, &str) = (":protocol", "websocket");

/// Reads until so many bytes of a stream are there.
fn data(raw: &mut Raw, stream: u32, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        let got = raw.next().expect("the connection lives");
        if got.stream == stream && got.kind == DATA {
            bytes.extend_from_slice(&got.payload);
        }
    }
    bytes
}

#[test]
fn a_websocket_is_a_stream_like_others() {
    let (address, told) = websockets();
    let gateway = Gateway::in_front_of(address, ", methods: [GET], access: public");
    let mut raw = Raw::to(gateway.address);
    let settings = raw_settings(gateway.address);
    assert!(settings.contains(&(8, 1)), "extended CONNECT is offered: {settings:?}");
    let fields = [
        WEBSOCKET,
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat, other"),
        ("sec-websocket-extensions", "permessage-deflate"),
        ("origin", "http://app.test"),
    ];
    raw.request(1, "CONNECT", "/chat?room=1", &fields, 0);
    raw.request(3, "CONNECT", "/chat?room=2", &fields, 0);
    let got = raw.next().expect("an answer");
    assert_eq!((got.kind, got.status(), got.flags & END_STREAM), (HEADERS, 200, 0));
    let keys: Vec<String> = (0..2)
        .map(|_| {
            let head = told.recv_timeout(PATIENCE).expect("a handshake");
            assert!(head.starts_with("GET /chat?room="), "{head}");
            for line in [
                "connection: upgrade",
                "upgrade: websocket",
                "sec-websocket-version: 13",
                "sec-websocket-protocol: chat, other",
                "sec-websocket-extensions: permessage-deflate",
                "host: app.test",
                "origin: http://app.test",
            ] {
                assert_eq!(head.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line} in {head}");
            }
            assert!(!head.contains("protocol: websocket"), "{head}");
            head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).expect("a key").to_owned()
        })
        .collect();
    assert_ne!(keys[0], keys[1]);
    assert_eq!(keys[0].len(), 24);
    raw.write(&frame(DATA, 0, 3, b"to the second"));
    let bytes = data(&mut raw, 3, 7 + 13);
    assert_eq!(String::from_utf8_lossy(&bytes), "welcometo the second");
    // An end in one direction, and then in the other.
    raw.write(&frame(DATA, END_STREAM, 3, b"bye"));
    let outcome = raw.outcome(3);
    assert!(outcome.data == b"bye" && outcome.ended, "{outcome:?}");
    raw.write(&frame(DATA, 0, 1, b"still here"));
    assert_eq!(data(&mut raw, 1, 10), b"still here");
}

/// The settings that the gateway sends.
fn raw_settings(address: std::net::SocketAddr) -> Vec<(u16, u32)> {
    let mut stream = std::net::TcpStream::connect(address).expect("it takes connections");
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, b"")].concat()).expect("it is taken");
    let mut head = [0; 9];
    stream.read_exact(&mut head).expect("a frame");
    assert_eq!(head[3], SETTINGS);
    let mut payload = vec![0; usize::from(head[2])];
    stream.read_exact(&mut payload).expect("settings");
    let pair = |six: &[u8]| {
        (u16::from_be_bytes([six[0], six[1]]), u32::from_be_bytes([six[2], six[3], six[4], six[5]]))
    };
    payload.chunks(6).map(pair).collect()
}

#[test]
fn the_limits_are_told_to_the_client() {
    let upstream = Upstream::start();
    let gateway = public(&upstream);
    let settings = raw_settings(gateway.address);
    for expected in [(3, 100), (4, 64 * 1024), (6, 32 * 1024), (8, 1)] {
        assert!(settings.contains(&expected), "{expected:?} in {settings:?}");
    }
}

#[test]
fn nothing_but_a_websocket_is_taken_for_one() {
    let (address, _told) = websockets();
    let gateway = Gateway::in_front_of(address, "");
    gateway.add_user("alice", &[]);
    let cookie = gateway.sign_in("alice");
    let mut raw = Raw::to(gateway.address);
    let ours = ("origin", "http://app.test");
    let session = ("cookie", cookie.as_str());
    let cases: [(&str, Fields<'_>, u16); 8] = [
        ("/echo", &[WEBSOCKET, session, ours], 200),
        ("/echo", &[WEBSOCKET, ours], 401),
        ("/echo", &[WEBSOCKET, session, ("origin", "http://evil.test")], 403),
        ("/wrong", &[WEBSOCKET, session, ours], 502),
        ("/ordinary", &[WEBSOCKET, session, ours], 501),
        ("/refused", &[WEBSOCKET, session, ours], 403),
        ("/.auth/login", &[WEBSOCKET, ours], 501),
        ("/.auth/healthz", &[WEBSOCKET, ours], 501),
    ];
    for (number, (target, fields, status)) in (0..).zip(cases) {
        let stream = number * 2 + 1;
        raw.request(stream, "CONNECT", target, fields, 0);
        let got = loop {
            let got = raw.next().expect("an answer");
            if got.kind == HEADERS && got.stream == stream {
                break got;
            }
        };
        assert!(got.status() == status, "{target} {fields:?}: {}", got.status());
        assert!(status == 200 || got.status() >= 400);
    }
}

#[test]
fn a_websocket_ends_with_its_session() {
    let (address, _told) = websockets();
    let gateway = Gateway::in_front_of(address, "");
    gateway.add_user("alice", &[]);
    let cookie = gateway.sign_in("alice");
    let mut raw = Raw::to(gateway.address);
    raw.request(1, "CONNECT", "/echo", &[WEBSOCKET, ("cookie", &cookie), ("origin", "http://app.test")], 0);
    assert_eq!(data(&mut raw, 1, 7), b"welcome");
    let headers = [("cookie", cookie.as_str()), ("content-type", "application/json")];
    assert_eq!(gateway.request("POST", "/.auth/logout", &headers, b"{}").status, 204);
    let began = Instant::now();
    let outcome = raw.outcome(1);
    assert!(outcome.ended || outcome.reset.is_some(), "{outcome:?}");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    raw.request(3, "GET", "/.auth/healthz", &[], END_STREAM);
    assert!(raw.outcome(3).status.is_some(), "the connection goes on");
}

// --- Time, and the end ---

/// With short limits.
fn short(upstream: std::net::SocketAddr) -> Gateway {
    Gateway::start(&format!(
        "limits: {{ header_timeout: 1s, idle_timeout: 2s }}\nupstreams: {{ app: \"http://{upstream}\" }}\nroutes: [{{ path: /**, access: public, upstream: app }}]\n"
    ))
}

/// Ends within this time, and not at once.
#[track_caller]
fn ends_after(raw: &mut Raw, at_least: Duration) -> Option<u32> {
    let began = Instant::now();
    let code = raw.goaway();
    let took = began.elapsed();
    assert!(took >= at_least && took < at_least + SOON, "{took:?}, {code:?}");
    code
}

#[test]
fn a_connection_without_requests_is_told_to_go() {
    let upstream = Upstream::start();
    let gateway = short(upstream.address);
    let most = Duration::from_millis(900);
    // Nothing; part of the preface; the preface; settings, and no request.
    let mut silent = Raw::silent(gateway.address);
    ends_after(&mut silent, most);
    let mut begun = Raw::silent(gateway.address);
    begun.write(PREFACE);
    ends_after(&mut begun, most);
    let mut idle = Raw::to(gateway.address);
    assert_eq!(ends_after(&mut idle, most), Some(NO_ERROR));
    // After a request the idle limit holds.
    let mut used = Raw::to(gateway.address);
    used.get(1, "/");
    assert_eq!(used.outcome(1).status, Some(200));
    assert_eq!(ends_after(&mut used, Duration::from_millis(1900)), Some(NO_ERROR));
    // Pings are no requests.
    let mut pinging = Raw::to(gateway.address);
    pinging.get(1, "/");
    assert_eq!(pinging.outcome(1).status, Some(200));
    let mut other = pinging.try_clone();
    let pings = std::thread::spawn(move || {
        while other.write(&frame(6, 0, 0, b"12345678")) {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    assert_eq!(ends_after(&mut pinging, Duration::from_millis(1900)), Some(NO_ERROR));
    pinging.shutdown();
    pings.join().expect("it ends");
}

#[test]
fn a_head_that_does_not_end_ends_the_connection() {
    let upstream = Upstream::start();
    let gateway = short(upstream.address);
    let head = block(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "app.test")]);
    let whole = frame(HEADERS, END_HEADERS | END_STREAM, 3, &head);
    let cases: [Vec<u8>; 4] = [
        frame(HEADERS, END_STREAM, 3, &head),
        whole[..5].to_vec(),
        whole[..whole.len() - 1].to_vec(),
        [&frame(HEADERS, 0, 3, &head)[..], &frame(CONTINUATION, 0, 3, b"")].concat(),
    ];
    for bytes in cases {
        let mut raw = Raw::to(gateway.address);
        // Within a head there is room for nothing else.
        raw.acknowledges = false;
        // A stream that is open: without the limit for heads it would keep the connection.
        raw.request(1, "POST", "/", &[], 0);
        raw.write(&bytes);
        ends_after(&mut raw, Duration::from_millis(900));
    }
}

#[test]
fn a_client_that_takes_nothing_is_left() {
    let body = "x".repeat(300_000);
    let upstream = Upstream::answering(move |_| {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    });
    let gateway = short(upstream.address);
    let mut raw = Raw::silent(gateway.address);
    raw.write(PREFACE);
    // No window for answers at all.
    raw.write(&frame(SETTINGS, 0, 0, &[NO_TABLE, &[0, 4, 0, 0, 0, 0]].concat()));
    raw.get(1, "/");
    let began = Instant::now();
    let outcome = raw.outcome(1);
    assert_eq!((outcome.status, outcome.reset), (Some(200), Some(CANCEL)), "{outcome:?}");
    assert!(began.elapsed() >= Duration::from_millis(1900), "{:?}", began.elapsed());
    // One that takes a little now and then is not.
    let mut slow = Raw::silent(gateway.address);
    slow.write(PREFACE);
    slow.write(&frame(SETTINGS, 0, 0, &[NO_TABLE, &[0, 4, 0, 0, 0, 0]].concat()));
    slow.get(1, "/");
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(700));
        slow.write(&frame(8, 0, 1, &50_000_u32.to_be_bytes()));
        slow.write(&frame(8, 0, 0, &50_000_u32.to_be_bytes()));
    }
    let outcome = slow.outcome(1);
    assert!(outcome.ended && outcome.data.len() == 300_000, "{:?} {}", outcome.reset, outcome.data.len());
}

#[test]
fn at_the_stop_a_client_is_told_to_go_and_its_requests_are_finished() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let server = Server::start(move |peer| {
        while peer.head().is_some() {
            let _ = wait.lock().expect("no panic").recv_timeout(PATIENCE);
            peer.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let mut gateway = Gateway::start(&format!(
        "upstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, access: public, upstream: app }}]\n",
        server.address
    ));
    let mut raw = Raw::to(gateway.address);
    let mut idle = Raw::to(gateway.address);
    raw.get(1, "/");
    wait_until(|| server.accepted() == 1, || "the request does not arrive".to_owned());
    gateway.signal("TERM");
    assert_eq!(idle.goaway(), Some(NO_ERROR));
    let first = raw.next().expect("a frame");
    assert_eq!((first.kind, first.code()), (7, NO_ERROR));
    go.send(()).expect("the server waits");
    let outcome = raw.outcome(1);
    assert_eq!((outcome.status, outcome.data), (Some(200), b"ok".to_vec()));
    raw.goaway();
    assert_eq!(gateway.wait(), Some(0));
}

#[test]
fn at_the_stop_a_websocket_is_told_to_go() {
    let (address, _told) = websockets();
    let mut gateway = Gateway::in_front_of(address, ", access: public");
    let mut raw = Raw::to(gateway.address);
    raw.request(1, "CONNECT", "/echo", &[WEBSOCKET, ("origin", "http://app.test")], 0);
    assert_eq!(data(&mut raw, 1, 7), b"welcome");
    let began = Instant::now();
    gateway.signal("TERM");
    let outcome = raw.outcome(1);
    assert!(outcome.ended || outcome.reset.is_some(), "{outcome:?}");
    raw.goaway();
    assert_eq!(gateway.wait(), Some(0));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[test]
fn a_websocket_that_is_silent_keeps_its_connection() {
    let (address, _told) = websockets();
    let gateway = short(address);
    let mut raw = Raw::to(gateway.address);
    raw.request(1, "CONNECT", "/echo", &[WEBSOCKET, ("origin", "http://app.test")], 0);
    assert_eq!(data(&mut raw, 1, 7), b"welcome");
    // Another one, without a WebSocket, comes to the end of the limit.
    let mut idle = Raw::to(gateway.address);
    idle.get(1, "/.auth/healthz");
    assert!(idle.outcome(1).status.is_some());
    assert_eq!(ends_after(&mut idle, Duration::from_millis(1900)), Some(NO_ERROR));
    raw.write(&frame(DATA, 0, 1, b"still here"));
    assert_eq!(data(&mut raw, 1, 10), b"still here");
}

#[test]
fn an_http1_connection_that_has_rested_serves_on() {
    let upstream = Upstream::start();
    let gateway = public(&upstream);
    let mut connection = gateway.connect();
    let get = b"GET / HTTP/1.1\r\nhost: app.test\r\n\r\n";
    for rest in [0, 2500, 0, 100] {
        std::thread::sleep(Duration::from_millis(rest));
        // In pieces, and two in one.
        connection.write(&get[..7]);
        std::thread::sleep(Duration::from_millis(20));
        connection.write(&[&get[7..], get].concat());
        for _ in 0..2 {
            let reply = connection.reply(false);
            assert_eq!((reply.status, reply.text()), (200, "hello".to_owned()), "after {rest} ms");
        }
    }
}

#[test]
fn an_http1_connection_at_rest_ends_with_the_idle_limit_and_with_the_gateway() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::start(&format!(
        "limits: {{ idle_timeout: 4s }}\nupstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, access: public, upstream: app }}]\n",
        upstream.address
    ));
    let open = || {
        let mut connection = gateway.connect();
        connection.write(b"GET / HTTP/1.1\r\nhost: app.test\r\n\r\n");
        assert_eq!(connection.reply(false).status, 200);
        connection
    };
    let began = Instant::now();
    assert!(open().is_closed());
    let took = began.elapsed();
    assert!(took > Duration::from_millis(3900) && took < Duration::from_secs(4) + SOON, "{took:?}");
    // Its client may go, too, and at the stop nobody waits for it.
    drop(open());
    let mut resting = open();
    std::thread::sleep(Duration::from_millis(2500));
    let began = Instant::now();
    gateway.signal("TERM");
    assert!(resting.is_closed());
    assert_eq!(gateway.wait(), Some(0));
    assert!(began.elapsed() < Duration::from_millis(1400), "{:?}", began.elapsed());
}
