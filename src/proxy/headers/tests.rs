//! Header fields in order: what goes, what stays, what is set.

use std::net::IpAddr;
use std::time::SystemTime;

use http::Method;

use super::*;
use crate::request::{Host, RequestId, Scheme, Target};

fn context(peer_trusted: bool) -> Context {
    Context {
        certificate: None,
        client: IpAddr::from([192, 0, 2, 7]),
        host: Host { name: "app.example.com".into(), port: Some(8443) },
        id: RequestId::for_tests("id-1"),
        method: Method::GET,
        peer: if peer_trusted { IpAddr::from([10, 0, 0, 1]) } else { IpAddr::from([192, 0, 2, 7]) },
        peer_trusted,
        received_at: SystemTime::UNIX_EPOCH,
        scheme: Scheme::Https,
        target: Target::parse("/").expect("a target"),
    }
}

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&str, &str)| {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        (name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"))
    };
    fields.iter().map(field).collect()
}

fn rules() -> HeaderRules {
    HeaderRules {
        cookies: CookieNames::new(["foregate"]),
        origins: Origins::new(),
        reserved: ReservedNames::new(&[HeaderName::from_static("x-user")]),
    }
}

fn lines(headers: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<_> =
        headers.iter().map(|(n, v)| format!("{n}: {}", String::from_utf8_lossy(v.as_bytes()))).collect();
    lines.sort();
    lines
}

fn forwarded(trusted: bool, fields: &[(&str, &str)]) -> Vec<String> {
    let identity: HeaderSet = [("remote-user", "alice"), ("x-user", "alice")]
        .map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)))
        .into();
    let mut headers = map(fields);
    let request = Forwarding {
        assertion: None,
        context: &context(trusted),
        authorization: false,
        edits: &[],
        host: None,
        identity: Some(&identity),
        prefix: None,
        upgrade: None,
    };
    rules().forward(&mut headers, &request).expect("sound values");
    lines(&headers)
}

const OURS: [&str; 10] = [
    "forwarded: for=192.0.2.7;host=\"app.example.com:8443\";proto=https",
    "host: app.example.com:8443",
    "remote-user: alice",
    "x-forwarded-for: 192.0.2.7",
    "x-forwarded-host: app.example.com:8443",
    "x-forwarded-port: 8443",
    "x-forwarded-proto: https",
    "x-real-ip: 192.0.2.7",
    "x-request-id: id-1",
    "x-user: alice",
];

#[test]
fn only_ours_is_left_of_what_only_we_may_say() {
    let seen = forwarded(
        false,
        &[
            ("Host", "evil.example"),
            ("Remote-User", "root"),
            ("Remote_User", "root"),
            ("remote.user", "root"),
            ("X~Auth~User", "root"),
            ("x_user", "root"),
            ("X-User", "root"),
            ("X-Forwarded-For", "1.1.1.1"),
            ("X_Forwarded_For", "1.1.1.1"),
            ("X-Forwarded-Prefix", "/evil"),
            ("X-Forwarded-Uri", "/evil"),
            ("Forwarded", "for=1.1.1.1"),
            ("X-Real-IP", "1.1.1.1"),
            ("X_Request_Id", "evil"),
            ("X-Request-Id", "evil"),
            ("X-Original-URL", "/evil"),
            ("Authorization", "Bearer secret"),
            ("Proxy-Authorization", "Basic secret"),
            ("Cookie", "foregate=secret"),
            ("Content-Length", "5"),
            ("Transfer-Encoding", "chunked"),
            ("Expect", "100-continue"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "AAA"),
            ("Keep-Alive", "timeout=5"),
            ("TE", "gzip"),
            ("Trailer", "Remote-User"),
        ],
    );
    assert_eq!(seen, OURS);
}

#[test]
fn connection_takes_away_what_the_client_sent_and_never_what_we_set() {
    let seen = forwarded(
        false,
        &[
            ("Connection", "close, Remote-User, X-User, X-Real-IP, X-Forwarded-For, Host, X-Request-Id"),
            ("Connection", "x-private, Forwarded, \u{e4}, , bad name"),
            ("X-Private", "1"),
            ("X-Other", "2"),
            ("Remote-User", "root"),
        ],
    );
    let mut expected: Vec<_> = OURS.map(str::to_owned).into();
    expected.push("x-other: 2".to_owned());
    expected.sort();
    assert_eq!(seen, expected);
}

#[test]
fn a_trusted_peer_is_appended_to() {
    let seen = forwarded(
        true,
        &[
            ("X-Forwarded-For", "203.0.113.9"),
            ("X-Forwarded-For", "192.0.2.7"),
            ("X_Forwarded_For", "6.6.6.6"),
            ("Forwarded", "for=192.0.2.7"),
            ("X-Forwarded-Proto", "http"),
            ("X-Forwarded-Prefix", "/app"),
            ("X-Forwarded-User", "root"),
            ("X-Forwarded_Email", "root"),
        ],
    );
    for line in [
        "x-forwarded-for: 203.0.113.9, 192.0.2.7, 10.0.0.1",
        "forwarded: for=192.0.2.7, for=10.0.0.1;host=\"app.example.com:8443\";proto=https",
        "x-forwarded-proto: https",
        "x-forwarded-prefix: /app",
        "x-real-ip: 192.0.2.7",
    ] {
        assert!(seen.iter().any(|seen| seen == line), "{line} in {seen:#?}");
    }
    assert!(!seen.concat().contains("root") && !seen.concat().contains("6.6.6.6"), "{seen:#?}");
}

#[test]
fn trailers_are_announced_anew_without_our_names() {
    let seen = forwarded(
        false,
        &[
            ("TE", "gzip;q=0.5, Trailers"),
            ("Trailer", "X-Sum, remote_user"),
            ("Trailer", "Content-Length, grpc-status"),
            ("Connection", "TE"),
        ],
    );
    for line in ["te: trailers", "connection: te", "trailer: x-sum, grpc-status"] {
        assert!(seen.iter().any(|seen| seen == line), "{line} in {seen:#?}");
    }
}

#[test]
fn other_fields_pass_as_they_came() {
    let fields = [
        ("accept", "*/*"),
        ("cookie", "a=1; b=\"2\""),
        ("x-a", "1"),
        ("x-a", "2"),
        ("sec-websocket-key", "k"),
    ];
    let seen = forwarded(false, &fields);
    for (name, value) in fields {
        assert!(seen.contains(&format!("{name}: {value}")), "{name} in {seen:#?}");
    }
}

#[test]
fn authorization_passes_where_the_route_says_so() {
    let mut headers = map(&[("authorization", "Basic x"), ("proxy-authorization", "Basic y")]);
    let request = Forwarding {
        assertion: None,
        context: &context(false),
        authorization: true,
        edits: &[],
        host: Some(&HeaderValue::from_static("backend:9000")),
        identity: None,
        prefix: None,
        upgrade: Some(&HeaderValue::from_static("websocket")),
    };
    rules().forward(&mut headers, &request).expect("sound values");
    let seen = lines(&headers);
    for line in ["authorization: Basic x", "host: backend:9000", "connection: upgrade", "upgrade: websocket"]
    {
        assert!(seen.iter().any(|seen| seen == line), "{line} in {seen:#?}");
    }
    assert!(!seen.concat().contains("Basic y") && !seen.concat().contains("remote-user"));
}

#[test]
fn an_answer_loses_what_ends_at_this_hop() {
    let mut headers = map(&[
        ("connection", "close, x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("content-length", "5, 5"),
        ("content-length", "5"),
        ("set-cookie", "foregate=evil"),
        ("set-cookie", "a=1"),
        ("upgrade", "h2"),
        ("server", "x"),
    ]);
    rules().answer(StatusCode::OK, &mut headers, &[]).expect("sound framing");
    assert_eq!(lines(&headers), ["content-length: 5", "server: x", "set-cookie: a=1"]);
}

#[test]
fn an_answer_framed_in_two_ways_is_refused() {
    let (coding, length) = ("transfer-encoding", ("content-length", "5"));
    for (fields, sound) in [
        (&[(coding, "chunked")][..], true),
        (&[(coding, "Chunked")], true),
        (&[(coding, "chunked"), length], false),
        (&[length, (coding, "chunked")], false),
        (&[(coding, "chunked"), (coding, "chunked")], false),
        (&[(coding, "chunked"), (coding, "identity")], false),
        (&[(coding, "gzip, chunked")], false),
        (&[(coding, "gzip")], false),
    ] {
        let mut headers = map(fields);
        let framed = rules().answer(StatusCode::OK, &mut headers, &[]);
        assert_eq!(framed.is_ok(), sound, "{fields:?}");
        assert!(!headers.contains_key(header::TRANSFER_ENCODING) && (!sound || headers.is_empty()));
    }
}

fn edit(name: &'static str, value: Option<&'static str>) -> HeaderEdit {
    HeaderEdit { name: HeaderName::from_static(name), value: value.map(HeaderValue::from_static) }
}

#[test]
fn a_route_s_edits_take_the_place_of_the_client_s_fields_in_every_spelling() {
    let edits = [
        edit("x-tenant", Some("blue")),
        edit("cookie", None),
        edit("authorization", Some("Basic ours")),
        edit("accept-language", None),
    ];
    let fields = [
        ("connection", "x-tenant, remote-user, x-request-id"),
        ("x-tenant", "red"),
        ("x_tenant", "red"),
        ("x.tenant", "red"),
        ("X-TENANT", "red"),
        ("cookie", "a=1"),
        ("authorization", "Bearer theirs"),
        ("accept_language", "de"),
        ("x-tenants", "kept"),
        ("accept", "kept"),
    ];
    let mut headers = map(&fields);
    let request = Forwarding {
        assertion: None,
        context: &context(false),
        authorization: false,
        edits: &edits,
        host: None,
        identity: None,
        prefix: None,
        upgrade: None,
    };
    rules().forward(&mut headers, &request).expect("sound values");
    let ours = |line: &String| OURS.contains(&line.as_str());
    let seen: Vec<_> = lines(&headers).into_iter().filter(|line| !ours(line)).collect();
    assert_eq!(seen, ["accept: kept", "authorization: Basic ours", "x-tenant: blue", "x-tenants: kept"]);
}

#[test]
fn no_edit_takes_the_place_of_what_is_ours() {
    // The configuration refuses these names; the order of the work holds by itself.
    let identity: HeaderSet = [(HeaderName::from_static("x-user"), HeaderValue::from_static("alice"))].into();
    let names = ["x-user", "x-request-id", "x-forwarded-for", "x-forwarded-proto", "forwarded", "host"];
    for value in [None, Some("evil")] {
        let edits = names.map(|name| edit(name, value));
        let mut headers = HeaderMap::new();
        let request = Forwarding {
            assertion: None,
            context: &context(false),
            authorization: false,
            edits: &edits,
            host: None,
            identity: Some(&identity),
            prefix: None,
            upgrade: None,
        };
        rules().forward(&mut headers, &request).expect("sound values");
        let without = "remote-user: alice";
        let expected: Vec<_> = OURS.into_iter().filter(|line| *line != without).collect();
        assert_eq!(lines(&headers), expected);
    }
}

#[test]
fn the_prefix_that_was_cut_off_is_told_behind_those_of_trusted_proxies() {
    let prefix = HeaderValue::from_static("/api");
    let fields =
        [("x-forwarded-prefix", "/a"), ("x-forwarded-prefix", "/b,/c"), ("x_forwarded_prefix", "/evil")];
    for (trusted, own, expected) in [
        (false, Some(&prefix), &["x-forwarded-prefix: /api"][..]),
        (true, Some(&prefix), &["x-forwarded-prefix: /a, /b,/c, /api"]),
        (false, None, &[]),
        (true, None, &["x-forwarded-prefix: /a", "x-forwarded-prefix: /b,/c", "x_forwarded_prefix: /evil"]),
    ] {
        let mut headers = map(&fields);
        let request = Forwarding {
            assertion: None,
            context: &context(trusted),
            authorization: false,
            edits: &[],
            host: None,
            identity: None,
            prefix: own,
            upgrade: None,
        };
        rules().forward(&mut headers, &request).expect("sound values");
        let seen = lines(&headers);
        let seen: Vec<_> = seen.iter().filter(|line| line.contains("prefix")).collect();
        assert_eq!(seen, expected, "{trusted}");
    }
}

#[test]
fn an_answer_is_edited() {
    let edits = [
        edit("server", None),
        edit("x-frame-options", Some("DENY")),
        edit("cache-control", Some("no-store")),
    ];
    let mut headers = map(&[
        ("server", "x"),
        ("server", "y"),
        ("cache-control", "public"),
        ("cache-control", "max-age=1"),
        ("etag", "z"),
    ]);
    rules().answer(StatusCode::OK, &mut headers, &edits).expect("sound framing");
    assert_eq!(lines(&headers), ["cache-control: no-store", "etag: z", "x-frame-options: DENY"]);
}
