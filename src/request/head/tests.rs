//! Heads: what is sound, what is a fault, and that neither depends on how the bytes are cut.

use proptest::prelude::*;

use super::*;

const LIMITS: HeadLimits = HeadLimits { head_bytes: 32 * 1024, headers: 100, target_bytes: 8 * 1024 };

/// Read whole and read byte by byte are the same, and nothing is said too soon.
fn read(bytes: &[u8]) -> HeadState {
    let whole = read_head(bytes, &LIMITS);
    let mut reader = HeadReader::default();
    let dripped = (1..=bytes.len())
        .map(|end| reader.read(&bytes[..end], &LIMITS))
        .find(|state| *state != HeadState::Partial)
        .unwrap_or(HeadState::Partial);
    assert_eq!(dripped, whole, "byte by byte: {:?}", String::from_utf8_lossy(bytes));
    whole
}

fn complete(head: &str) -> Head {
    match read(head.as_bytes()) {
        HeadState::Complete(head) => head,
        state => panic!("{state:?}: {head:?}"),
    }
}

fn fault(head: &[u8]) -> HeadFault {
    match read(head) {
        HeadState::Fault(fault) => fault,
        state => panic!("{state:?}: {:?}", String::from_utf8_lossy(head)),
    }
}

#[test]
fn a_plain_head_is_complete_at_its_empty_line() {
    let head =
        "GET /a?b=c HTTP/1.1\r\nHost: app.test\r\nAccept:\t*/*\r\nX-Empty:\r\nX-Old: caf\u{e9}\r\n\r\n";
    let read = complete(&format!("{head}GET /next"));
    let expected = Head {
        body: BodyFraming::None,
        close: false,
        expects_continue: false,
        len: head.len(),
        upgrade: false,
    };
    assert_eq!(read, expected);
    for end in 0..head.len() {
        assert_eq!(read_head(&head.as_bytes()[..end], &LIMITS), HeadState::Partial, "{end}");
    }
}

#[test]
fn what_the_head_says_of_body_and_connection_is_told() {
    let with = |fields: &str| complete(&format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n"));
    assert_eq!(with("content-LENGTH:  12 \r\n").body, BodyFraming::Length(12));
    assert_eq!(with("Content-Length: 0\r\n").body, BodyFraming::Length(0));
    let most = "9999999999999999999";
    assert_eq!(
        with(&format!("Content-Length:{most}\r\n")).body,
        BodyFraming::Length(most.parse().expect("u64"))
    );
    assert_eq!(with("Transfer-Encoding: CHUNKED\r\n").body, BodyFraming::Chunked);
    assert!(with("Expect: 100-Continue\r\n").expects_continue);
    assert!(with("Connection: foo , Close\r\n").close);
    assert!(!with("Connection: keep-alive\r\n").close);
    assert!(with("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n").upgrade);
    assert!(with("Connection: keep-alive\r\nUpgrade: websocket\r\nConnection: upgrade\r\n").upgrade);
    assert!(!with("Upgrade: websocket\r\n").upgrade);
    assert!(!with("Connection: upgrade\r\n").upgrade);

    let old = complete(
        "GET / HTTP/1.0\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\nExpect: 100-continue\r\n\r\n",
    );
    assert!(old.close && !old.upgrade && !old.expects_continue);
    assert!(!complete("GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n").close);
}

#[test]
fn one_empty_line_in_front_is_passed_over_and_counted() {
    let head = "\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(complete(head).len, head.len());
    assert_eq!(fault(b"\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"), HeadFault::EmptyLine);
    assert_eq!(fault(b"\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"), HeadFault::LineEnd);
    assert_eq!(fault(b" GET / HTTP/1.1\r\n"), HeadFault::Method);
}

#[test]
fn a_request_line_is_method_target_version() {
    for (line, expected) in [
        ("GET / HTTP/1.1", None),
        ("get / HTTP/1.1", Some(HeadFault::Method)),
        ("M-SEARCH / HTTP/1.1", None),
        ("GET //x HTTP/1.1", None),
        ("GET /a\\b HTTP/1.1", None), // `target` refuses it
        ("GET http://h/ HTTP/1.1", None),
        ("GET HTTPS://h HTTP/1.1", None),
        ("GET /?q={\"a\":1} HTTP/1.1", Some(HeadFault::Target)),
        ("GET /?q={a}|^`\\ HTTP/1.1", None),
        ("OPTIONS * HTTP/1.1", None),
        ("GET * HTTP/1.1", Some(HeadFault::Target)),
        ("OPTIONS *x HTTP/1.1", Some(HeadFault::Target)),
        ("GET h:80 HTTP/1.1", Some(HeadFault::Target)),
        ("GET ftp://h/ HTTP/1.1", Some(HeadFault::Target)),
        ("GET x HTTP/1.1", Some(HeadFault::Target)),
        ("GET ?x HTTP/1.1", Some(HeadFault::Target)),
        ("GET /#x HTTP/1.1", Some(HeadFault::Target)),
        ("GET /?a#x HTTP/1.1", Some(HeadFault::Target)),
        ("GET /<x> HTTP/1.1", Some(HeadFault::Target)),
        ("GET /\u{e9} HTTP/1.1", Some(HeadFault::Target)),
        ("GET /\t HTTP/1.1", Some(HeadFault::Target)),
        ("GET /\u{0} HTTP/1.1", Some(HeadFault::Control)),
        ("GET /?\u{7f} HTTP/1.1", Some(HeadFault::Control)),
        ("GET  / HTTP/1.1", Some(HeadFault::RequestLine)),
        ("GET /  HTTP/1.1", Some(HeadFault::RequestLine)),
        ("GET / HTTP/1.1 ", Some(HeadFault::RequestLine)),
        ("GET /\tHTTP/1.1", Some(HeadFault::RequestLine)),
        ("GET /a b HTTP/1.1", Some(HeadFault::RequestLine)),
        ("GET /", Some(HeadFault::RequestLine)),
        ("GET", Some(HeadFault::RequestLine)),
        (" / HTTP/1.1", Some(HeadFault::Method)),
        ("G(T / HTTP/1.1", Some(HeadFault::Method)),
        ("G\u{e9}T / HTTP/1.1", Some(HeadFault::Method)),
        ("GET / http/1.1", Some(HeadFault::Version)),
        ("GET / HTTP/1", Some(HeadFault::Version)),
        ("GET / HTTP/1.11", Some(HeadFault::Version)),
        ("GET / HTTPS/1.1", Some(HeadFault::Version)),
        ("GET / HTTP/1.2", Some(HeadFault::VersionUnsupported)),
        ("GET / HTTP/0.9", Some(HeadFault::VersionUnsupported)),
        ("PRI * HTTP/2.0", Some(HeadFault::VersionUnsupported)),
        ("TRACE / HTTP/1.1", Some(HeadFault::MethodRefused)),
        ("trace / HTTP/1.1", Some(HeadFault::Method)),
        ("CONNECT h:80 HTTP/1.1", Some(HeadFault::MethodRefused)),
    ] {
        let head = format!("{line}\r\nHost: h\r\n\r\n");
        match expected {
            None => drop(complete(&head)),
            Some(expected) => {
                let whole = read_head(head.as_bytes(), &LIMITS);
                assert_eq!(whole, HeadState::Fault(expected), "{line:?}");
            }
        }
    }
    let long = |method: usize| format!("{} / HTTP/1.1\r\nHost: h\r\n\r\n", "M".repeat(method));
    complete(&long(32));
    assert_eq!(fault(long(33).as_bytes()), HeadFault::Method);
}

#[test]
fn fields_with_two_readings_are_faults() {
    for (fields, expected) in [
        ("", HeadFault::HostMissing),
        ("Host: a\r\nHost: a\r\n", HeadFault::HostRepeated),
        ("Host: a\r\nhost: b\r\n", HeadFault::HostRepeated),
        ("Host: a\nX: y\r\n", HeadFault::LineEnd),
        ("Host: a\r\r\n", HeadFault::LineEnd),
        ("Host: a\rX: y\r\n", HeadFault::LineEnd),
        ("Host: a\r\n folded\r\n", HeadFault::Fold),
        ("Host: a\r\n\tfolded\r\n", HeadFault::Fold),
        (" Host: a\r\n", HeadFault::Fold),
        ("Host : a\r\n", HeadFault::FieldName),
        ("Host\t: a\r\n", HeadFault::FieldName),
        (": a\r\n", HeadFault::FieldName),
        ("Host\r\n", HeadFault::FieldName),
        ("X(y: a\r\n", HeadFault::FieldName),
        ("X\u{e9}: a\r\n", HeadFault::FieldName),
        ("X: \u{0}\r\n", HeadFault::Control),
        ("X\u{0}: a\r\n", HeadFault::Control),
        ("X: \u{b}\r\n", HeadFault::Control),
        ("X: \u{7f}\r\n", HeadFault::Control),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", HeadFault::ContentLength),
        ("Content-Length: 5, 5\r\n", HeadFault::ContentLength),
        ("Content-Length: +5\r\n", HeadFault::ContentLength),
        ("Content-Length: -5\r\n", HeadFault::ContentLength),
        ("Content-Length: 0x5\r\n", HeadFault::ContentLength),
        ("Content-Length: 5 5\r\n", HeadFault::ContentLength),
        ("Content-Length: 5_0\r\n", HeadFault::ContentLength),
        ("Content-Length: \"5\"\r\n", HeadFault::ContentLength),
        ("Content-Length:\r\n", HeadFault::ContentLength),
        ("Content-Length:\t5\r\n", HeadFault::ContentLength),
        ("Content-Length: 18446744073709551616\r\n", HeadFault::ContentLength),
        ("Content_Length: 5\r\n", HeadFault::FieldNameDisguised),
        ("Content.Length: 5\r\n", HeadFault::FieldNameDisguised),
        ("TRANSFER_ENCODING: chunked\r\n", HeadFault::FieldNameDisguised),
        ("Transfer-Encoding: gzip, chunked\r\n", HeadFault::TransferEncoding),
        ("Transfer-Encoding: chunked, chunked\r\n", HeadFault::TransferEncoding),
        ("Transfer-Encoding: chunked,\r\n", HeadFault::TransferEncoding),
        ("Transfer-Encoding: chunked;q=1\r\n", HeadFault::TransferEncoding),
        ("Transfer-Encoding: xchunked\r\n", HeadFault::TransferEncoding),
        ("Transfer-Encoding: \"chunked\"\r\n", HeadFault::TransferEncoding),
        ("Transfer-Encoding: identity\r\n", HeadFault::TransferEncoding),
        ("Transfer-Encoding:\tchunked\r\n", HeadFault::TransferEncoding),
        ("Transfer-Encoding:\r\n", HeadFault::TransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", HeadFault::TransferEncoding),
        ("Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", HeadFault::BothFramings),
        ("Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", HeadFault::BothFramings),
    ] {
        let head = format!("POST / HTTP/1.1\r\n{fields}\r\n");
        let whole = read_head(head.as_bytes(), &LIMITS);
        assert_eq!(whole, HeadState::Fault(expected), "{fields:?}");
    }
    assert_eq!(fault(b"GET / HTTP/1.0\r\n\r\n"), HeadFault::HostMissing);
    let old = b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(fault(old), HeadFault::TransferEncoding);
}

#[test]
fn what_is_too_large_is_told_before_its_end() {
    let limits = HeadLimits { head_bytes: 200, headers: 3, target_bytes: 50 };
    let state = |head: &str| read_head(head.as_bytes(), &limits);
    let large = |fault| HeadState::Fault(fault);

    let exact = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(200 - 32));
    assert_eq!(exact.len(), 200);
    assert!(matches!(state(&exact), HeadState::Complete(_)));
    assert_eq!(state(&exact.replace("X: ", "X: x")), large(HeadFault::TooLarge));
    assert_eq!(state(&exact.replace("\r\n\r\n", "xxxx")), large(HeadFault::TooLarge));
    assert_eq!(state(&exact[..199]), HeadState::Partial);

    let target = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "t".repeat(len - 1));
    assert!(matches!(state(&target(50)), HeadState::Complete(_)));
    assert_eq!(state(&target(51)), large(HeadFault::TargetTooLong));
    assert_eq!(state(&target(500)), large(HeadFault::TargetTooLong));
    assert_eq!(state(&target(500)[..100]), large(HeadFault::TargetTooLong), "before the line ends");
    assert_eq!(state(&format!("GET / {}", "v".repeat(90))), large(HeadFault::RequestLine));

    let fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "a: b\r\n".repeat(count - 1));
    assert!(matches!(state(&fields(3)), HeadState::Complete(_)));
    assert_eq!(state(&fields(4)), large(HeadFault::TooManyFields));
}

#[test]
fn garbage_is_told_at_its_first_byte() {
    for (start, expected) in [
        (&b"\x16\x03\x01"[..], HeadFault::Control), // somebody speaks TLS
        (b"\x00", HeadFault::Control),
        (b"{", HeadFault::Method),
        (b"GET / HTTP/1.1\r\nHost: h\x00", HeadFault::Control),
        (b"GET / HTTP/1.1\rX", HeadFault::LineEnd),
    ] {
        assert_eq!(fault(start), expected, "{start:?}");
    }
}

#[test]
fn every_fault_has_its_status() {
    for (fault, status, code) in [
        (HeadFault::BothFramings, 400, "bad_request"),
        (HeadFault::MethodRefused, 405, "method_not_allowed"),
        (HeadFault::TargetTooLong, 414, "uri_too_long"),
        (HeadFault::TooLarge, 431, "header_too_large"),
        (HeadFault::TooManyFields, 431, "header_too_large"),
        (HeadFault::VersionUnsupported, 505, "version_not_supported"),
    ] {
        assert_eq!((fault.status().as_u16(), fault.code()), (status, code), "{fault}");
    }
}

proptest! {
    #[test]
    fn never_panics_and_a_complete_head_has_no_loose_line_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_head(&bytes, &LIMITS);
        let mut head = b"GET / HTTP/1.1\r\nHost: h\r\n".to_vec();
        head.extend_from_slice(&bytes);
        head.extend_from_slice(b"\r\n\r\n");
        if let HeadState::Complete(read) = read_head(&head, &LIMITS) {
            let head = &head[..read.len];
            for (at, byte) in head.iter().enumerate() {
                match byte {
                    b'\r' => prop_assert_eq!(head.get(at + 1), Some(&b'\n')),
                    b'\n' => prop_assert_eq!(head[at - 1], b'\r'),
                    byte => prop_assert!(!byte.is_ascii_control() || *byte == b'\t'),
                }
            }
        }
    }

    #[test]
    fn hyper_s_parser_reads_a_sound_target_whole(target in "/[!-~]{0,20}") {
        let head = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        if let HeadState::Complete(_) = read_head(head.as_bytes(), &LIMITS) {
            let uri = http::Uri::try_from(target.as_str());
            prop_assert_eq!(uri.map(|uri| uri.to_string()).ok(), Some(target));
        }
    }
}
