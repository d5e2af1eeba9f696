//! What a route changes on the way: the beginning of the path, and fields of the head, both ways.

use std::collections::HashMap;

use crate::edge::Server;
use crate::harness::{Gateway, Upstream, wait_until};

/// `/api` is public and cut off; what the upstream has under `/admin` is protected.
fn stripped(upstream: &Upstream, add: &str) -> Gateway {
    Gateway::start(&format!(
        "upstreams: {{ app: \"http://{}\" }}
routes:
  - {{ path: /api/**, access: public, strip_prefix: /api{add}, upstream: app }}
  - {{ path: /admin/**, upstream: app }}
  - {{ path: /plain/**, access: public, upstream: app }}
",
        upstream.address
    ))
}

/// The target in the first line of a request.
fn target(request: &str) -> &str {
    request.split(' ').nth(1).expect("a request line")
}

fn field<'a>(request: &'a str, name: &str) -> Vec<&'a str> {
    let lines = request.split("\r\n\r\n").next().expect("a head").lines().skip(1);
    let fields = lines.filter_map(|line| line.split_once(':'));
    fields.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
}

#[test]
fn the_prefix_is_cut_off_and_told_and_everything_else_arrives_byte_for_byte() {
    let upstream = Upstream::start();
    let gateway = stripped(&upstream, "");
    for (sent, seen) in [
        ("/api", "/"),
        ("/api/", "/"),
        ("/api?", "/?"),
        ("/api?x=/api/y", "/?x=/api/y"),
        ("/api/x", "/x"),
        ("/api/x/", "/x/"),
        ("/api/api/x", "/api/x"),
        ("/api/%7Euser/%c3%a4?%2e%2e/%00%5c%zz", "/%7Euser/%c3%a4?%2e%2e/%00%5c%zz"),
        ("/api/@scope%2fname", "/@scope%2fname"),
        ("/api/a;v=1/b", "/a;v=1/b"),
        ("/api/a//b", "/a//b"),
        ("http://app.test/api/x?y", "/x?y"),
    ] {
        let reply = gateway.get(sent, &[("x-forwarded-prefix", "/evil"), ("x_forwarded_prefix", "/evil")]);
        assert_eq!(reply.status, 200, "{sent}: {reply:?}");
        let request = upstream.last();
        assert_eq!(target(&request), seen, "{sent}: {request}");
        assert_eq!(field(&request, "x-forwarded-prefix"), ["/api"], "{sent}: {request}");
        assert!(!request.contains("evil"), "{request}");
    }
    gateway.get("/plain/x", &[]);
    assert_eq!(target(&upstream.last()), "/plain/x");
    assert_eq!(field(&upstream.last(), "x-forwarded-prefix"), [""; 0]);
    let body = gateway.request("POST", "/api/form", &[], b"a=b");
    assert_eq!(body.status, 200, "{body:?}");
    assert!(upstream.last().ends_with("\r\n\r\na=b"), "{}", upstream.last());
}

#[test]
fn another_prefix_takes_its_place() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ app: \"http://{}\" }}
trusted_proxies: [127.0.0.1]
routes:
  - {{ path: /api/**, access: public, strip_prefix: /api, add_prefix: /v1/x, upstream: app }}
  - {{ path: /**, access: public, add_prefix: /v2, upstream: app }}
",
        upstream.address
    ));
    for (sent, seen) in [
        ("/api", "/v1/x"),
        ("/api/", "/v1/x/"),
        ("/api/users?q", "/v1/x/users?q"),
        ("/", "/v2/"),
        ("/a/b", "/v2/a/b"),
        ("/apix", "/v2/apix"),
    ] {
        let reply = gateway.get(sent, &[("x-forwarded-prefix", "/outer")]);
        assert_eq!(reply.status, 200, "{sent}: {reply:?}");
        let request = upstream.last();
        assert_eq!(target(&request), seen, "{sent}");
        // Behind what the trusted proxy in front cut off.
        let told = if seen.starts_with("/v1") { "/outer, /api" } else { "/outer" };
        assert_eq!(field(&request, "x-forwarded-prefix"), [told], "{sent}: {request}");
    }
    let long = format!("/{}", "a".repeat(8 * 1024 - 1));
    assert_eq!(gateway.get(&long, &[]).status, 414);
}

#[test]
fn a_target_that_means_something_else_without_its_prefix_is_refused() {
    let upstream = Upstream::start();
    for add in ["", ", add_prefix: /v1"] {
        let gateway = stripped(&upstream, add);
        let before = upstream.count();
        let mut refused = vec![
            "/%61pi/x",
            "/ap%69",
            "/api;v=1/x",
            "/api;/x",
            "//api/x",
            "/%2fapi/x",
            "/api%2fx",
            "/api%3fx",
            "/;/api/x",
            "/api/../admin",
            "/api/..%2fadmin",
            "/api/%2e%2e/admin",
            "/api/..;/admin",
            "/api/.",
            "/api/%5c..%5cadmin",
            "/api\\admin",
            "/api%00/x",
            "/api/#/admin",
        ];
        if add.is_empty() {
            refused.extend([
                "/api//evil.test",
                "/api//evil.test/admin",
                "/api///admin",
                "/api//",
                "/api/%2fadmin",
                "/api/%252fadmin",
                "/api/;/admin",
                "/api/;x=y/admin",
                "/api/%3b/admin",
            ]);
        }
        for sent in refused {
            let mut connection = gateway.connect();
            connection.write(format!("GET {sent} HTTP/1.1\r\nhost: app.test\r\n\r\n").as_bytes());
            let reply = connection.reply(false);
            assert_eq!(reply.status, 400, "{sent}: {reply:?}");
            assert_eq!(reply.all("cache-control"), ["no-store"], "{sent}: {reply:?}");
        }
        for (sent, status) in [("/apix", 404), ("/API/x", 404), ("/admin", 401)] {
            assert_eq!(gateway.get(sent, &[]).status, status, "{sent}");
        }
        assert_eq!(upstream.count(), before, "{:?}", upstream.seen());
    }
    // A refused request with a body leaves a connection on which the next request is understood.
    let gateway = stripped(&upstream, "");
    let mut connection = gateway.connect();
    connection.write(b"POST /api//x HTTP/1.1\r\nhost: app.test\r\ncontent-length: 32\r\n\r\nGET /admin HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(connection.reply(false).status, 400);
    connection.write(b"GET /api/next HTTP/1.1\r\nhost: app.test\r\n\r\n");
    let next = connection.reply(false);
    assert!(matches!(next.status, 0 | 200), "{next:?}");
    assert!(upstream.seen().iter().all(|request| target(request) == "/next"), "{:?}", upstream.seen());
}

#[test]
fn explain_says_what_the_upstream_is_sent() {
    let upstream = Upstream::start();
    let gateway = stripped(&upstream, ", add_prefix: /v1");
    for (target, said) in [
        ("/api/users?q", "the upstream is sent `/v1/users?q`"),
        ("/%61pi/users", "not every reading of the target begins with the prefix that is cut off"),
        ("/%61pi/users", "a proxied request gets 400"),
    ] {
        let output = gateway.command(&["explain", "GET", target], "");
        let output = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.contains(said), "{target}: {output}");
    }
}

/// Ways in which servers read a path: each step is done by some, in some order.
fn readings(path: &str) -> Vec<String> {
    let unescaped = |path: &str| {
        let (mut out, bytes) = (Vec::new(), path.as_bytes());
        let mut at = 0;
        while at < bytes.len() {
            let hex = bytes.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok());
            match hex.and_then(|two| u8::from_str_radix(two, 16).ok()).filter(|_| bytes[at] == b'%') {
                Some(byte) => {
                    out.push(byte);
                    at += 3;
                }
                None => {
                    out.push(bytes[at]);
                    at += 1;
                }
            }
        }
        String::from_utf8_lossy(&out).into_owned()
    };
    let without_parameters = |path: &str| {
        path.split('/')
            .map(|segment| segment.split(';').next().unwrap_or_default())
            .collect::<Vec<_>>()
            .join("/")
    };
    let resolved = |path: &str| {
        let mut stack: Vec<&str> = Vec::new();
        for segment in path.split('/') {
            match segment {
                "" | "." => {}
                ".." => drop(stack.pop()),
                name => stack.push(name),
            }
        }
        format!("/{}", stack.join("/"))
    };
    let slashed = |path: &str| path.replace('\\', "/");
    let mut all = vec![path.to_owned()];
    for _ in 0..4 {
        for one in all.clone() {
            for other in [unescaped(&one), without_parameters(&one), resolved(&one), slashed(&one)] {
                if !all.contains(&other) {
                    all.push(other);
                }
            }
        }
    }
    all
}

/// Pieces from the lists of path tricks: traversal, encodings, parameters, separators, hosts, controls.
const TRICKS: [&str; 46] = [
    "..",
    ".",
    "%2e%2e",
    "%2E%2e",
    ".%2e",
    "%252e%252e",
    "%25252e%25252e",
    "%c0%ae%c0%ae",
    "%e0%80%ae",
    "%uff0e%uff0e",
    "%ef%bc%8e%ef%bc%8e",
    "..;",
    "..;x",
    "..%3b",
    "..%00",
    "..%0d%0a",
    "..%20",
    "..%09",
    "...",
    "....",
    "..%2f",
    "..%5c",
    "..\\",
    "%5c..",
    "%2f",
    "%252f",
    "%5c",
    "%255c",
    "",
    ";",
    ";x=y",
    "%3b",
    "%3f",
    "%23",
    "?",
    "%00",
    "%0a",
    "%09",
    "%20",
    "@evil.test",
    "evil.test:80",
    "%ef%bc%8f",
    "%e2%88%95",
    "%c0%af",
    "admin;x",
    "x%2f..%2fadmin",
];

#[test]
fn no_trick_of_the_lists_reaches_another_path_of_the_upstream() {
    let upstream = Upstream::start();
    let gateway = stripped(&upstream, "");
    let mut targets = Vec::new();
    for trick in TRICKS {
        targets.extend([
            format!("/api/{trick}/admin"),
            format!("/api/{trick}admin"),
            format!("/api{trick}/admin"),
            format!("/{trick}/api/admin"),
            format!("/api/x/{trick}/{trick}/admin"),
            format!("/api/admin{trick}"),
        ]);
    }
    let mut connections = HashMap::new();
    for sent in &targets {
        let before = upstream.count();
        let connection = connections.entry(()).or_insert_with(|| gateway.connect());
        connection.write(format!("GET {sent} HTTP/1.1\r\nhost: app.test\r\n\r\n").as_bytes());
        let reply = connection.reply(false);
        if reply.header("connection") == Some("close") {
            connections.clear();
        }
        if upstream.count() == before {
            assert!(matches!(reply.status, 400 | 401 | 404), "{sent}: {reply:?}");
            continue;
        }
        // It passed. Then it is the text behind the prefix, and nobody reads another path in it than behind the prefix.
        let request = upstream.last();
        let behind = sent.strip_prefix("/api").unwrap_or_else(|| panic!("{sent}: {request}"));
        let slash = if behind.starts_with('/') { "" } else { "/" };
        assert_eq!(target(&request), [slash, behind].concat(), "{sent}: {request}");
        let path = |target: &str| target.split(['?', '#']).next().unwrap_or_default().to_owned();
        let original = readings(&path(sent));
        for reading in readings(&path(target(&request))) {
            let behind = |one: &String| match one.strip_prefix("/api") {
                Some("") => reading == "/",
                Some(rest) => rest == reading,
                None => false,
            };
            assert!(original.iter().any(behind), "{sent} is read as {reading}: {original:?}");
        }
    }
    assert!(upstream.count() > 20, "some are honest");
}

#[test]
fn a_route_sets_and_removes_fields_both_ways() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\nserver: secret/1.0\r\nx-powered-by: php\r\ncache-control: public\r\ncache-control: max-age=9\r\n\
        set-cookie: a=1\r\nset-cookie: foregate=evil\r\nx-kept: 1\r\ncontent-length: 2\r\n\r\nok"
            .to_vec()
    });
    let gateway = Gateway::start(&format!(
        "upstreams: {{ app: \"http://{}\" }}
routes:
  - path: /edited/**
    access: optional
    headers: {{ X-Tenant: blue, Authorization: Basic b3Vycw==, Accept-Language: null, X-Empty: \"\" }}
    response_headers: {{ Server: null, X-Powered-By: ~, Cache-Control: no-store, X-Frame-Options: DENY }}
    upstream: app
  - {{ path: /**, access: public, upstream: app }}
",
        upstream.address
    ));
    gateway.add_user("ann", &[]);
    let cookie = gateway.sign_in("ann");
    let sent = [
        ("cookie", cookie.as_str()),
        ("connection", "x-tenant, remote-user, authorization"),
        ("x-tenant", "red"),
        ("x_tenant", "red"),
        ("X.Tenant", "red"),
        ("x-tenant", "red too"),
        ("accept-language", "de"),
        ("accept_language", "de"),
        ("remote-user", "root"),
        ("x-request-id", "mine"),
    ];
    let reply = gateway.get("/edited/x", &sent);
    assert_eq!((reply.status, reply.text().as_str()), (200, "ok"), "{reply:?}");
    let request = upstream.last();
    for (name, values) in [
        ("x-tenant", &["blue"][..]),
        ("x_tenant", &[]),
        ("x.tenant", &[]),
        ("accept-language", &[]),
        ("accept_language", &[]),
        ("authorization", &["Basic b3Vycw=="]),
        ("x-empty", &[""]),
        ("remote-user", &["ann"]),
        ("x-forwarded-for", &["127.0.0.1"]),
    ] {
        assert_eq!(field(&request, name), values, "{name}: {request}");
    }
    assert_eq!(field(&request, "x-request-id"), [reply.header("x-request-id").expect("an id")]);
    for (name, values) in [
        ("server", &[][..]),
        ("x-powered-by", &[]),
        ("cache-control", &["no-store"]),
        ("x-frame-options", &["DENY"]),
        ("set-cookie", &["a=1"]),
        ("x-kept", &["1"]),
    ] {
        assert_eq!(reply.all(name), values, "{name}: {reply:?}");
    }
    // Another route changes nothing.
    let reply = gateway.get("/x", &[("x-tenant", "red"), ("accept-language", "de")]);
    assert_eq!(reply.all("server"), ["secret/1.0"]);
    assert_eq!(reply.all("cache-control"), ["public", "max-age=9"]);
    assert_eq!(field(&upstream.last(), "x-tenant"), ["red"]);
    assert_eq!(field(&upstream.last(), "accept-language"), ["de"]);
}

#[test]
fn a_trailer_does_not_bring_back_what_a_route_sets() {
    let upstream = Upstream::start();
    let gateway =
        Gateway::in_front_of(upstream.address, ", access: public, headers: { X-Tenant: blue, X-Gone: null }");
    let mut connection = gateway.connect();
    connection.write(
        b"POST / HTTP/1.1\r\nhost: app.test\r\nte: trailers\r\ntrailer: x-tenant, x_gone, x-checksum\r\n\
        transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-tenant: red\r\nx_gone: back\r\nx-checksum: 1\r\n\r\n",
    );
    assert_eq!(connection.reply(false).status, 200);
    let request = upstream.last();
    assert!(!request.contains("red") && !request.contains("back"), "{request}");
    assert!(request.contains("x-checksum: 1"), "{request}");
    assert_eq!(field(&request, "trailer"), ["x-checksum"], "{request}");
}

#[test]
fn an_upgrade_is_rewritten_like_any_request() {
    let server = Server::start(|peer| {
        let head = peer.head().unwrap_or_default();
        let line = head.lines().next().unwrap_or_default().to_owned();
        let tenant = head.to_lowercase().contains("x-tenant: blue");
        peer.write(format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\nserver: s\r\n\r\n{line} {tenant}"
        ));
        peer.finish();
    });
    let gateway = Gateway::start(&format!(
        "upstreams: {{ app: \"http://{}\" }}
routes:
  - path: /api/**
    access: public
    strip_prefix: /api
    headers: {{ X-Tenant: blue }}
    response_headers: {{ Server: null, X-Seen: \"1\" }}
    upstream: app
",
        server.address
    ));
    let mut connection = gateway.connect();
    connection
        .write(b"GET /api/ws?x HTTP/1.1\r\nhost: app.test\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
    let reply = connection.head();
    assert_eq!(
        (reply.status, reply.header("x-seen"), reply.header("server")),
        (101, Some("1"), None),
        "{reply:?}"
    );
    let told = connection.read("GET /ws?x HTTP/1.1 true".len());
    assert_eq!(String::from_utf8_lossy(&told), "GET /ws?x HTTP/1.1 true");
    drop(connection);
    wait_until(|| gateway.get("/.auth/healthz", &[]).status == 200, || "it does not answer".to_owned());
}
