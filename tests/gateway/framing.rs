//! One request in, at most one request out (contract: invariant 2), and the limits on what comes in.

use std::time::{Duration, Instant};

use crate::edge::{Server, check_refusal, refused, shown};
use crate::harness::{Connection, Gateway, Upstream};

const GOOD: &[u8] = b"GET /good HTTP/1.1\r\nhost: app.test\r\n\r\n";

/// Everything is public and goes to the upstream.
fn open(upstream: &Upstream) -> Gateway {
    Gateway::in_front_of(upstream.address, ", access: public")
}

/// Heads that no two parsers have to agree on, with the status that refuses them.
fn unsound() -> Vec<(Vec<u8>, u16)> {
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: app.test\r\n\r\n";
    let framing = [
        // Two framings.
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
        "content-length: 0\r\ntransfer-encoding: chunked",
        // Two lengths, equal ones too, and lengths that are no number.
        "content-length: 5\r\ncontent-length: 6",
        "content-length: 5\r\ncontent-length: 5",
        "content-length: 0\r\ncontent-length: 5",
        "content-length: 5\r\nContent-Length: 5",
        "content-length: 5, 5",
        "content-length: 5,6",
        "content-length: +5",
        "content-length: -5",
        "content-length: 0x5",
        "content-length: 5 5",
        "content-length: 5.0",
        "content-length: 5;",
        "content-length: \"5\"",
        "content-length:",
        "content-length: ",
        "content-length: five",
        "content-length: 99999999999999999999",
        "content-length: 18446744073709551621",
        "content-length:\t5",
        "content-length: 5\t",
        "content-length: \u{b}5",
        "content_length: 5",
        "content.length: 5",
        // Codings other than exactly `chunked`.
        "transfer-encoding: x, chunked",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: chunked,",
        "transfer-encoding: ,chunked",
        "transfer-encoding: identity",
        "transfer-encoding: gzip",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: xchunked",
        "transfer-encoding: chunkedx",
        "transfer-encoding: chunked;q=1",
        "transfer-encoding: \"chunked\"",
        "transfer-encoding: chunk",
        "transfer-encoding:",
        "transfer-encoding:\tchunked",
        "transfer-encoding: chunked\t",
        "transfer-encoding: \u{b}chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: x",
        "transfer-encoding: x\r\ntransfer-encoding: chunked",
        "transfer_encoding: chunked",
        "transfer~encoding: chunked",
        // Names and lines.
        "transfer-encoding : chunked",
        "content-length : 5",
        "content-length\t: 5",
        "x : y",
        " x: y",
        "\tx: y",
        "x: y\r\n folded",
        "x: y\r\n\tfolded",
        "x: y\r\n \r\ncontent-length: 5",
        "transfer-encoding:\r\n chunked",
        "x",
        ": y",
        "x y: z",
        "x\u{0}: y",
        "x(y): z",
        "x@y: z",
        "x\u{e9}: z",
        // Controls and line ends within a value.
        "x: y\u{0}",
        "x: \u{0}y",
        "x: y\u{1}",
        "x: y\u{7f}",
        "x: y\rz: a",
        "x: y\r\rz",
        "x: y\nz: a",
        "x: y\r",
        "x: y\n\ncontent-length: 5",
    ];
    let mut cases: Vec<(Vec<u8>, u16)> = framing
        .iter()
        .map(|fields| {
            let head = format!("POST /bad HTTP/1.1\r\nhost: app.test\r\n{fields}\r\n\r\n");
            (format!("{head}0\r\n\r\n{smuggled}").into_bytes(), 400)
        })
        .collect();
    for head in [
        // The coding on a version that has none.
        "POST /bad HTTP/1.0\r\nhost: app.test\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /bad HTTP/1.0\r\nhost: app.test\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        // Hosts.
        "GET /bad HTTP/1.1\r\n\r\n",
        "GET /bad HTTP/1.0\r\n\r\n",
        "GET /bad HTTP/1.1\r\nhost: app.test\r\nhost: app.test\r\n\r\n",
        "GET /bad HTTP/1.1\r\nhost: app.test\r\nHOST: other.test\r\n\r\n",
        "GET /bad HTTP/1.1\r\nhost : app.test\r\n\r\n",
        "GET /bad HTTP/1.1\r\nhost:\r\n\r\n",
        "GET /bad HTTP/1.1\r\nhost: app.test other.test\r\n\r\n",
        "GET /bad HTTP/1.1\r\nhost: app.test\u{0}\r\n\r\n",
        "GET http://other.test/bad HTTP/1.1\r\nhost: app.test\r\n\r\n",
        "GET http://app.test:81/bad HTTP/1.1\r\nhost: app.test\r\n\r\n",
        "GET http://app.test@other.test/bad HTTP/1.1\r\nhost: app.test\r\n\r\n",
        "GET http://user@app.test/bad HTTP/1.1\r\nhost: app.test\r\n\r\n",
        "GET http:///bad HTTP/1.1\r\nhost: app.test\r\n\r\n",
        // Line ends.
        "GET /bad HTTP/1.1\nhost: app.test\n\n",
        "GET /bad HTTP/1.1\nhost: app.test\r\n\r\n",
        "GET /bad HTTP/1.1\r\nhost: app.test\n\r\n",
        "GET /bad HTTP/1.1\r\nhost: app.test\r\n\n",
        "GET /bad HTTP/1.1\rhost: app.test\r\r",
        "GET /bad\rHTTP/1.1\r\nhost: app.test\r\n\r\n",
        "\nGET /bad HTTP/1.1\r\nhost: app.test\r\n\r\n",
        "\r\n\r\nGET /bad HTTP/1.1\r\nhost: app.test\r\n\r\n",
        // Request lines.
        "GET /bad\r\n",
        "GET /bad\r\n\r\n",
        "GET\r\n\r\n",
        "/bad HTTP/1.1\r\nhost: app.test\r\n\r\n",
        " GET /bad HTTP/1.1\r\nhost: app.test\r\n\r\n",
        "GET  /bad HTTP/1.1\r\nhost: app.test\r\n\r\n",
        "GET /bad  HTTP/1.1\r\nhost: app.test\r\n\r\n",
        "GET\t/bad HTTP/1.1\r\nhost: app.test\r\n\r\n",
        "GET /bad HTTP/1.1 \r\nhost: app.test\r\n\r\n",
        "GET /bad HTTP/1.1 x\r\nhost: app.test\r\n\r\n",
        "GET /bad http/1.1\r\nhost: app.test\r\n\r\n",
        "GET /bad HTTP/1\r\nhost: app.test\r\n\r\n",
        "GET /bad HTTP/11\r\nhost: app.test\r\n\r\n",
        "GET /bad HTTP/1.1.1\r\nhost: app.test\r\n\r\n",
        "GET /bad HTTPS/1.1\r\nhost: app.test\r\n\r\n",
        "G(T /bad HTTP/1.1\r\nhost: app.test\r\n\r\n",
        "GET\u{0} /bad HTTP/1.1\r\nhost: app.test\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{0}\u{a5}\u{1}\u{0}\u{0}",
        "GET app.test:80 HTTP/1.1\r\nhost: app.test\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nhost: app.test\r\n\r\n",
    ] {
        cases.push((head.as_bytes().to_vec(), 400));
    }
    for (head, status) in [
        ("CONNECT app.test:443 HTTP/1.1\r\nhost: app.test:443\r\n\r\n", 405),
        ("CONNECT /bad HTTP/1.1\r\nhost: app.test\r\n\r\n", 405),
        ("connect /bad HTTP/1.1\r\nhost: app.test\r\n\r\n", 400),
        ("TRACE / HTTP/1.1\r\nhost: app.test\r\n\r\n", 405),
        ("Trace / HTTP/1.1\r\nhost: app.test\r\n\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 505),
        ("GET /bad HTTP/2.0\r\nhost: app.test\r\n\r\n", 505),
        ("GET /bad HTTP/1.2\r\nhost: app.test\r\n\r\n", 505),
        ("GET /bad HTTP/0.9\r\n\r\n", 505),
    ] {
        cases.push((head.as_bytes().to_vec(), status));
    }
    cases
}

#[test]
fn a_head_with_two_readings_is_refused_and_nothing_of_it_arrives() {
    let upstream = Upstream::start();
    let gateway = open(&upstream);
    for (bytes, status) in unsound() {
        let reply = refused(&gateway, &bytes, status);
        assert_eq!(reply.header("allow").is_some(), status == 405, "{reply:?}");
        assert_eq!(upstream.count(), 0, "{} arrived: {:?}", shown(&bytes), upstream.seen());
    }
}

#[test]
fn behind_a_sound_request_an_unsound_one_is_refused_and_one_arrives() {
    let upstream = Upstream::start();
    let gateway = open(&upstream);
    for (sent, (bytes, status)) in unsound().into_iter().enumerate() {
        let mut connection = gateway.connect();
        let both = [GOOD, &bytes].concat();
        // At once, and cut at every other place.
        if sent % 2 == 0 {
            connection.write(&both);
        } else {
            let (before, after) = both.split_at((GOOD.len() + 3 + sent % 30).min(both.len()));
            connection.write(before);
            connection.write(after);
        }
        let reply = connection.reply(false);
        assert_eq!(reply.status, 200, "{}: {reply:?}", shown(&bytes));
        let reply = connection.reply(false);
        assert_eq!(reply.status, status, "{}: {reply:?}", shown(&bytes));
        check_refusal(&reply, &bytes);
        assert!(connection.is_closed(), "{}", shown(&bytes));
        assert_eq!(upstream.count(), sent + 1, "{}: {:?}", shown(&bytes), upstream.last());
    }
}

#[test]
fn a_chunked_body_with_two_readings_is_broken_off_and_ends_nowhere() {
    let upstream = Upstream::start();
    let gateway = open(&upstream);
    let long_extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(300));
    let long_trailers = format!("0\r\n{}\r\n", "x: y\r\n".repeat(40));
    for body in [
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5;\r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5;\u{0}\r\nhello\r\n0\r\n\r\n",
        "\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "00000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhello\r\r\n0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
        "6\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\n",
        "5\r\nhello\r\n0\r\nx\r\n\r\n",
        "5\r\nhello\r\n0\r\nx : y\r\n\r\n",
        "5\r\nhello\r\n0\r\nx: y\r\n z\r\n\r\n",
        "5\r\nhello\r\n0\r\nx: y\nz: a\r\n\r\n",
        "5\r\nhello\r\n0\r\nx: \u{0}\r\n\r\n",
        "5\r\nhello\r\n0\r\ncontent-length: 9\r\n\r\n",
        "5\r\nhello\r\n0\r\ntransfer-encoding: chunked\r\n\r\n",
        "5\r\nhello\r\n0\r\nhost: other.test\r\n\r\n",
        "5\r\nhello\r\n0\r\nconnection: close\r\n\r\n",
        &long_extension,
        &long_trailers,
    ] {
        let head = "POST /bad HTTP/1.1\r\nhost: app.test\r\ntransfer-encoding: chunked\r\n\r\n";
        let bytes = [head.as_bytes(), body.as_bytes(), GOOD].concat();
        // With the head, and after it.
        for cut in [0, head.len()] {
            let mut connection = gateway.connect();
            connection.write(&bytes[..cut]);
            connection.write(&bytes[cut..]);
            let reply = connection.reply(false);
            assert!(matches!(reply.status, 0 | 400), "{}: {reply:?}", shown(&bytes));
            if reply.status == 400 {
                assert_eq!(reply.all("cache-control"), ["no-store"], "{reply:?}");
                assert!(reply.header("x-request-id").is_some(), "{reply:?}");
            }
            assert!(connection.is_closed(), "{}", shown(&bytes));
            assert_eq!(upstream.count(), 0, "{}: {:?}", shown(&bytes), upstream.seen());
        }
    }
}

#[test]
fn what_is_sound_passes_once_and_is_framed_anew() {
    let upstream = Upstream::start();
    let gateway = open(&upstream);
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: app.test\r\n\r\n";
    for (sent, body) in [
        (format!("content-length: {}\r\n\r\n{smuggled}", smuggled.len()), smuggled),
        (format!("content-length:{}\r\n\r\n{smuggled}", smuggled.len()), smuggled),
        (format!("CONTENT-LENGTH:   00{}  \r\n\r\n{smuggled}", smuggled.len()), smuggled),
        (
            format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len()),
            smuggled,
        ),
        (
            format!(
                "Transfer-Encoding: Chunked\r\n\r\n{:X};a=b\r\n{smuggled}\r\n000\r\n\r\n",
                smuggled.len()
            ),
            smuggled,
        ),
        ("content-length: 0\r\n\r\n".to_owned(), ""),
        ("x: y\r\n\r\n".to_owned(), ""),
        ("x:y\t \r\nempty:\r\nnon-ascii: \u{e9}\r\n\r\n".to_owned(), ""),
    ] {
        let bytes = format!("\r\nPOST /sound HTTP/1.1\r\nhost: app.test\r\n{sent}");
        let before = upstream.count();
        let mut connection = gateway.connect();
        connection.write(&[bytes.as_bytes(), GOOD].concat());
        for _ in 0..2 {
            let reply = connection.reply(false);
            assert_eq!(reply.status, 200, "{bytes:?}: {reply:?}");
        }
        let seen = upstream.seen();
        assert_eq!(seen.len() - before, 2, "{bytes:?}: {seen:?}");
        let (head, arrived) = seen[before].split_once("\r\n\r\n").expect("a head");
        let chunked = head.contains("transfer-encoding: chunked");
        let lengths = head.matches("content-length").count();
        assert_eq!(usize::from(chunked) + lengths, 1, "one framing: {head}");
        let expected =
            if chunked { format!("{:X}\r\n{body}\r\n0\r\n\r\n", body.len()) } else { body.to_owned() };
        assert_eq!(arrived.to_uppercase(), expected.to_uppercase(), "{bytes:?}");
        assert!(seen[before + 1].starts_with("GET /good "), "{seen:?}");
    }
}

#[test]
fn an_absolute_target_with_the_authority_of_the_host_is_forwarded_as_a_path() {
    let upstream = Upstream::start();
    let gateway = open(&upstream);
    for (target, path) in
        [("http://app.test/a?b", "/a?b"), ("HTTP://APP.TEST./a", "/a"), ("http://app.test?b", "/?b")]
    {
        let reply = gateway.get(target, &[]);
        assert_eq!(reply.status, 200, "{target}: {reply:?}");
        assert!(upstream.last().starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{}", upstream.last());
    }
}

#[test]
fn two_requests_in_one_piece_are_two_and_after_close_there_is_none() {
    let upstream = Upstream::start();
    let gateway = open(&upstream);
    let mut connection = gateway.connect();
    connection.write(&[GOOD, GOOD].concat());
    assert_eq!((connection.reply(false).status, connection.reply(false).status), (200, 200));
    assert_eq!(upstream.count(), 2);

    for last in [
        "GET /last HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\n\r\n",
        "GET /last HTTP/1.1\r\nhost: app.test\r\nconnection: x, Close\r\n\r\n",
        "GET /last HTTP/1.0\r\nhost: app.test\r\n\r\n",
    ] {
        let before = upstream.count();
        let mut connection = gateway.connect();
        connection.write(&[last.as_bytes(), GOOD].concat());
        assert_eq!(connection.reply(false).status, 200);
        assert!(connection.is_closed());
        assert_eq!(upstream.count() - before, 1, "{last:?}");
    }
}

#[test]
fn a_head_that_comes_byte_by_byte_is_read() {
    let upstream = Upstream::start();
    let gateway = open(&upstream);
    let mut connection = gateway.connect();
    for sent in [
        "GET /slow HTTP/1.1\r\nhost: app.test\r\nx: y\r\n\r\n",
        "POST /slow HTTP/1.1\r\nhost: app.test\r\ntransfer-encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nx: y\r\n\r\n",
    ] {
        for byte in sent.bytes() {
            connection.write(&[byte]);
        }
        let reply = connection.reply(false);
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    assert_eq!(upstream.count(), 2);
}

#[test]
fn heads_over_the_limits_are_refused_by_what_is_too_much() {
    let upstream = Upstream::start();
    let gateway = open(&upstream);
    let with = |fields: &str| format!("GET / HTTP/1.1\r\nhost: app.test\r\n{fields}\r\n").into_bytes();
    let long = format!("x: {}\r\n", "y".repeat(33 * 1024));
    let many = "x: y\r\n".repeat(100);
    let large = format!("x: {}\r\n", "y".repeat(600)).repeat(60);
    for fields in [&long, &many, &large] {
        let reply = refused(&gateway, &with(fields), 431);
        assert_eq!(reply.json()["code"], "header_too_large");
    }
    // Also where it comes in parts, and never ends.
    let mut connection = gateway.connect();
    connection.write(b"GET / HTTP/1.1\r\nhost: app.test\r\nx: ");
    for _ in 0..40 {
        connection.write(&[b'y'; 1024]);
    }
    let reply = connection.reply(false);
    assert_eq!(reply.status, 431, "{reply:?}");
    check_refusal(&reply, b"a head without end");
    assert!(connection.is_closed());
    let reply = refused(&gateway, format!("GET /{}", "a".repeat(9000)).as_bytes(), 414);
    assert_eq!(reply.json()["code"], "uri_too_long");
    refused(&gateway, "M".repeat(100).as_bytes(), 400);
    assert_eq!(upstream.count(), 0);

    let most = "x: y\r\n".repeat(99);
    let longest = format!("x: {}\r\n", "y".repeat(31 * 1024));
    for fields in [&most, &longest] {
        let mut connection = gateway.connect();
        connection.write(&with(fields));
        let reply = connection.reply(false);
        assert_eq!(reply.status, 200, "{reply:?}");
    }
}

#[test]
fn a_head_that_does_not_end_in_time_is_answered_408_and_an_idle_connection_just_closed() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "limits: {{ header_timeout: 1s, idle_timeout: 1s }}
upstreams: {{ app: \"http://{}\" }}
routes: [{{ path: /**, access: public, upstream: app }}]
",
        upstream.address
    ));
    let started = Instant::now();
    let (mut late, mut later, mut silent, mut idle) =
        (gateway.connect(), gateway.connect(), gateway.connect(), gateway.connect());
    late.write(b"GET / HTTP/1.1\r\nhost: ");
    idle.write(GOOD);
    assert_eq!(idle.reply(false).status, 200);
    later.write(GOOD);
    assert_eq!(later.reply(false).status, 200);
    // A head that goes on is not given more time for that.
    let slow = std::thread::spawn(move || {
        for byte in b"GET / HTTP/1.1\r\nhost: app.test\r\n".iter().cycle() {
            later.write(&[*byte]);
            std::thread::sleep(Duration::from_millis(50));
            if started.elapsed() > Duration::from_millis(1700) {
                break;
            }
        }
        later.reply(false)
    });
    for connection in [&mut silent, &mut idle] {
        assert!(connection.is_closed(), "nothing is said");
    }
    let reply = late.reply(false);
    assert_eq!(reply.status, 408, "{reply:?}");
    check_refusal(&reply, b"half a head");
    assert!(late.is_closed());
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(4), "{took:?}");
    let reply = slow.join().expect("no panic");
    assert_eq!(reply.status, 408, "{reply:?}");
    assert_eq!(upstream.count(), 2, "{:?}", upstream.seen());
}

#[test]
fn what_moves_or_is_waited_for_is_not_cut_by_the_idle_limit() {
    let server = Server::start(|peer| {
        while let Some(head) = peer.head() {
            if head.starts_with("POST") {
                let body = peer.read(16);
                peer.write("HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n");
                peer.write(body.unwrap_or_default());
            } else if head.starts_with("GET /events") {
                peer.write("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n");
                std::thread::sleep(Duration::from_millis(2500));
                peer.write("data: 2\n\n");
                return peer.finish();
            } else {
                std::thread::sleep(Duration::from_millis(2500));
                peer.write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate");
            }
        }
    });
    let gateway = Gateway::start(&format!(
        "limits: {{ idle_timeout: 1s, header_timeout: 1s }}
upstreams: {{ app: \"http://{}\" }}
routes: [{{ path: /**, access: public, upstream: app }}]
",
        server.address
    ));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut upload = gateway.connect();
            upload.write(b"POST /upload HTTP/1.1\r\nhost: app.test\r\ncontent-length: 16\r\n\r\n");
            for _ in 0..16 {
                upload.write(b"x");
                std::thread::sleep(Duration::from_millis(150));
            }
            let reply = upload.reply(false);
            assert_eq!((reply.status, reply.text().as_str()), (200, "xxxxxxxxxxxxxxxx"), "{reply:?}");
        });
        scope.spawn(|| {
            let reply = gateway.get("/events", &[]);
            assert_eq!((reply.status, reply.cut), (200, false), "{reply:?}");
            assert_eq!(reply.text(), "data: 1\n\ndata: 2\n\n", "{reply:?}");
        });
        scope.spawn(|| {
            let mut patient = gateway.connect();
            patient.write(b"GET /late HTTP/1.1\r\nhost: app.test\r\n\r\n");
            let reply = patient.reply(false);
            assert_eq!((reply.status, reply.text().as_str()), (200, "late"), "{reply:?}");
            assert!(patient.is_closed(), "afterwards the limit holds");
        });
    });
}

#[test]
fn a_refused_request_gets_its_answer_in_full_while_its_body_still_comes() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(upstream.address, "");
    let body = GOOD.repeat((1 << 20) / GOOD.len());
    for framing in ["length", "chunks"] {
        for wait in [false, true] {
            let mut connection = gateway.connect();
            let head = "POST /refused HTTP/1.1\r\nhost: app.test\r\n";
            match framing {
                "length" => {
                    connection.write(format!("{head}content-length: {}\r\n\r\n", body.len()).as_bytes())
                }
                _ => {
                    let size = body.len();
                    connection
                        .write(format!("{head}transfer-encoding: chunked\r\n\r\n{size:x}\r\n").as_bytes());
                }
            }
            // A client that sends all before it reads, and one that looks in between.
            let half = body.len() / 2;
            let early = wait.then(|| connection.reply(false));
            assert!(connection.try_write(&body[..half]), "{framing}: the first half is taken");
            assert!(connection.try_write(&body[half..]), "{framing}: the second half is taken");
            let reply = early.unwrap_or_else(|| connection.reply(false));
            assert_eq!((reply.status, reply.cut), (401, false), "{framing}: {reply:?}");
            assert_eq!(reply.json()["code"], "unauthorized");
            if framing == "chunks" {
                connection.write(b"\r\n0\r\n\r\n");
            }
            // Nothing of the body is ever answered.
            connection.write(b"GET /.auth/healthz HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\n\r\n");
            let rest = connection.read_to_end();
            let answers = String::from_utf8_lossy(&rest).matches("HTTP/1.1 ").count();
            assert!(answers <= 1, "{framing}: {}", shown(&rest));
            assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 200 "), "{framing}: {}", shown(&rest));
        }
    }
    assert_eq!(upstream.count(), 0, "{:?}", upstream.seen());
}

#[test]
fn a_body_that_is_no_body_is_refused_with_a_word_that_the_connection_ends() {
    let upstream = Upstream::start();
    let gateway = open(&upstream);
    for body in ["5\r\nhello\r\nxyz\r\n", "5\r\nhello!\r\n", "g\r\n", "5\r\nhello\r\n0\r\nx\r\n\r\n"] {
        let head = "POST /bad HTTP/1.1\r\nhost: app.test\r\ntransfer-encoding: chunked\r\n\r\n";
        refused(&gateway, format!("{head}{body}").as_bytes(), 400);
    }
    assert_eq!(upstream.count(), 0, "none is passed off as whole: {:?}", upstream.seen());
}

#[test]
fn a_refused_request_with_a_small_body_leaves_the_connection_to_the_next() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(upstream.address, "");
    let mut connection = gateway.connect();
    for _ in 0..3 {
        connection.write(b"POST /refused HTTP/1.1\r\nhost: app.test\r\ncontent-length: 5\r\n\r\nhello");
        assert_eq!(connection.reply(false).status, 401);
    }
    assert_eq!(upstream.count(), 0);
}

#[test]
fn a_body_over_the_limit_is_413_where_told_and_broken_off_where_not() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "limits: {{ body: 1KiB }}
upstreams: {{ app: \"http://{}\" }}
routes: [{{ path: /**, access: public, upstream: app }}]
",
        upstream.address
    ));
    let reply = gateway.request("POST", "/", &[], &[b'x'; 1024]);
    assert_eq!(reply.status, 200, "{reply:?}");
    let reply = gateway.request("POST", "/", &[], &[b'x'; 1025]);
    assert_eq!((reply.status, reply.all("cache-control")), (413, vec!["no-store"]), "{reply:?}");
    assert!(reply.header("x-request-id").is_some() && reply.json()["status"] == 413, "{reply:?}");
    // Told and never sent: nobody waits for it.
    let mut connection = gateway.connect();
    connection.write(b"POST / HTTP/1.1\r\nhost: app.test\r\ncontent-length: 99999999\r\n\r\n");
    assert_eq!(connection.reply(false).status, 413);
    // Who asks first is told before it sends.
    let mut connection = gateway.connect();
    connection
        .write(b"POST / HTTP/1.1\r\nhost: app.test\r\nexpect: 100-continue\r\ncontent-length: 2000\r\n\r\n");
    assert_eq!(connection.head().status, 413);
    assert_eq!(upstream.count(), 1);

    let mut connection = gateway.connect();
    connection.write(b"POST / HTTP/1.1\r\nhost: app.test\r\ntransfer-encoding: chunked\r\n\r\n");
    for _ in 0..3 {
        connection.write(&[&b"190\r\n"[..], &[b'x'; 400], b"\r\n"].concat());
    }
    connection.write(b"0\r\n\r\n");
    let reply = connection.reply(false);
    assert_eq!(reply.status, 413, "{reply:?}");
    assert_eq!(upstream.count(), 1, "the rest never came: {:?}", upstream.seen());
}

const UPGRADE: &str =
    "GET /socket HTTP/1.1\r\nhost: app.test\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";

/// A server that switches on `/socket` and sends back what comes; anything else is answered plainly.
fn echo() -> Server {
    Server::start(|peer| {
        while let Some(head) = peer.head() {
            if !head.starts_with("GET /socket ") {
                peer.write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nplain");
                continue;
            }
            assert!(head.contains("upgrade: websocket\r\n"), "{head}");
            peer.write(
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
            );
            loop {
                let bytes = peer.read_some();
                if bytes.is_empty() || !peer.write(&bytes) {
                    return;
                }
            }
        }
    })
}

fn read_switch(connection: &mut Connection) {
    let reply = connection.reply(false);
    assert_eq!(reply.status, 101, "{reply:?}");
    assert_eq!(reply.all("upgrade"), ["websocket"], "{reply:?}");
    assert_eq!(reply.header("connection").map(str::to_lowercase).as_deref(), Some("upgrade"), "{reply:?}");
}

#[test]
fn bytes_behind_a_refused_upgrade_are_judged_as_the_next_request() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ app: \"http://{}\" }}
routes:
  - {{ path: /admin/**, upstream: app }}
  - {{ path: /**, access: public, upstream: app }}
",
        upstream.address
    ));
    let smuggled = "GET /admin/x HTTP/1.1\r\nhost: app.test\r\n\r\n";
    for apart in [false, true] {
        let before = upstream.count();
        let mut connection = gateway.connect();
        connection.write(UPGRADE.as_bytes());
        if apart {
            upstream.wait_for(before + 1);
        }
        connection.write(smuggled.as_bytes());
        assert_eq!(connection.reply(false).status, 200);
        let reply = connection.reply(false);
        assert_eq!(reply.status, 401, "{reply:?}");
        assert_eq!(upstream.count() - before, 1, "{:?}", upstream.seen());

        let mut connection = gateway.connect();
        connection.write(format!("{UPGRADE}\u{1}not HTTP").as_bytes());
        assert_eq!(connection.reply(false).status, 200);
        let reply = connection.reply(false);
        assert_eq!(reply.status, 400, "{reply:?}");
        assert!(connection.is_closed());
    }
    // One that a rule refuses.
    let before = upstream.count();
    let mut connection = gateway.connect();
    connection.write(format!("{}{smuggled}", UPGRADE.replace("/socket", "/admin/socket")).as_bytes());
    assert_eq!((connection.reply(false).status, connection.reply(false).status), (401, 401));
    assert_eq!(upstream.count(), before);
}

#[test]
fn bytes_sent_early_behind_an_upgrade_arrive_once_it_is_accepted() {
    let server = echo();
    let gateway = Gateway::in_front_of(server.address, ", access: public");
    let mut connection = gateway.connect();
    connection.write(format!("{UPGRADE}early\u{0}\r\n\r\n").as_bytes());
    read_switch(&mut connection);
    assert_eq!(connection.read(10), b"early\0\r\n\r\n");
    for _ in 0..3 {
        connection.write(GOOD);
        assert_eq!(connection.read(GOOD.len()), GOOD);
    }
}

#[test]
fn an_upgrade_behind_another_request_in_one_piece_is_one_still() {
    let server = echo();
    let gateway = Gateway::in_front_of(server.address, ", access: public");
    let mut connection = gateway.connect();
    connection.write(&[GOOD, GOOD, UPGRADE.as_bytes(), b"\x81\x00early"].concat());
    for _ in 0..2 {
        assert_eq!(connection.reply(false).text(), "plain");
    }
    read_switch(&mut connection);
    assert_eq!(connection.read(7), b"\x81\x00early");
}

#[test]
fn a_quiet_tunnel_outlives_the_limits_on_requests() {
    let server = echo();
    let gateway = Gateway::start(&format!(
        "limits: {{ idle_timeout: 1s, header_timeout: 1s }}
upstreams: {{ app: \"http://{}\" }}
routes: [{{ path: /**, access: public, upstream: app }}]
",
        server.address
    ));
    let mut connection = gateway.connect();
    connection.write(UPGRADE.as_bytes());
    read_switch(&mut connection);
    connection.write(b"one");
    assert_eq!(connection.read(3), b"one");
    std::thread::sleep(Duration::from_millis(2300));
    connection.write(b"two");
    assert_eq!(connection.read(3), b"two");
}

#[test]
fn an_upgrade_to_a_protocol_of_requests_is_never_offered() {
    let upstream = Upstream::start();
    let gateway = open(&upstream);
    for (connection, upgrade) in [
        ("Upgrade, HTTP2-Settings", "h2c"),
        ("upgrade", "HTTP/2.0"),
        ("upgrade", "TLS/1.0"),
        ("close", "websocket"),
    ] {
        let head = format!(
            "GET / HTTP/1.1\r\nhost: app.test\r\nconnection: {connection}\r\nupgrade: {upgrade}\r\nhttp2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n"
        );
        assert_eq!(gateway.send(head.as_bytes()).status, 200);
        let seen = upstream.last();
        for name in ["upgrade", "http2-settings", "connection"] {
            assert!(!seen.contains(name), "{name} in {seen}");
        }
    }
}
