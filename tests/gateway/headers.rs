//! Identity and forwarding headers come from us or not at all (contract: §6).

use crate::harness::{Gateway, Reply, Upstream};

/// The values of a field in a recorded request, by its exact name in any case.
fn values<'s>(seen: &'s str, name: &str) -> Vec<&'s str> {
    let head = seen.split("\r\n\r\n").next().unwrap_or_default();
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
}

/// A public place, an optional one and a protected rest; `more` stands before it all.
fn behind(upstream: &Upstream, more: &str) -> Gateway {
    let gateway = Gateway::start(&format!(
        "{more}upstreams: {{ app: \"http://{}\" }}
routes:
  - {{ path: /public/**, access: public, upstream: app }}
  - {{ path: /optional/**, access: optional, upstream: app }}
  - {{ path: /forward/**, forward_authorization: true, upstream: app }}
  - {{ path: /own/**, identity_headers: {{ X-Who: \"<{{username}}>\", X-Team: \"{{roles}}\" }}, upstream: app }}
  - {{ path: /**, upstream: app }}
",
        upstream.address
    ));
    gateway.add_user("alice", &["staff", "admin"]);
    gateway
}

#[track_caller]
fn ok(reply: &Reply) {
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[test]
fn an_identity_header_of_the_client_never_arrives_and_ours_arrives_once() {
    let upstream = Upstream::start();
    let gateway = behind(&upstream, "");
    let cookie = gateway.sign_in("alice");
    let names = [
        // What we set, in every spelling that some backend reads as the same.
        "Remote-User",
        "remote-user",
        "REMOTE-USER",
        "Remote_User",
        "REMOTE_USER",
        "remote.user",
        "Remote~User",
        "Remote!User",
        "remote|user",
        "Remote-Email",
        "Remote_Email",
        "Remote-Name",
        "Remote-Groups",
        "remote_groups",
        // The families.
        "Remote-Role",
        "Remote-Anything",
        "X-Remote-User",
        "X_Remote_User",
        "X-Auth-User",
        "X-Auth-Request-User",
        "x_auth_request_email",
        "X-Authentik-Username",
        "x.authentik.groups",
        "X-WEBAUTH-USER",
        "x_webauth_role",
        "X-Foregate-Assertion",
        "x_foregate_assertion",
        "X-Forwarded-User",
        "X_Forwarded_User",
        "x.forwarded.user",
        "X-Forwarded-Email",
        "X-Forwarded-Groups",
        "X-Forwarded-Preferred-Username",
        "X-Original-URL",
        "X_Original_URL",
        "X-Original-Method",
        "X-Rewrite-URL",
        "x_rewrite_url",
        // Of another route's map, as both may lead to one backend.
        "X-Who",
        "x_who",
        "X-Team",
        "X.Team",
        // What CGI makes of it.
        "Proxy",
        "Proxy-Authorization",
    ];
    let fields: Vec<(&str, &str)> = names.iter().map(|name| (*name, "evil")).collect();
    let mut tried = 0;
    for path in ["/public/x", "/optional/x", "/own/x", "/x"] {
        for with in [Some(cookie.as_str()), None] {
            if with.is_none() && !path.starts_with("/public") && !path.starts_with("/optional") {
                continue;
            }
            for (at, part) in fields.chunks(20).enumerate() {
                // Twice each, and once hidden among the connection's own.
                let listed = part.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
                let mut headers = part.repeat(2);
                if at == 0 {
                    headers.push(("connection", &listed));
                }
                headers.extend(with.map(|cookie| ("cookie", cookie)));
                ok(&gateway.get(path, &headers));
                tried += 1;
                let seen = upstream.last();
                assert!(!seen.contains("evil"), "{path}: {seen}");
                let known = with.is_some() && !path.starts_with("/public");
                let user: &[&str] = if known && path != "/own/x" { &["alice"] } else { &[] };
                assert_eq!(values(&seen, "remote-user"), user, "{path}: {seen}");
                assert_eq!(values(&seen, "remote-email").len(), user.len(), "{path}: {seen}");
                let who: &[&str] = if known && path == "/own/x" { &["<alice>"] } else { &[] };
                assert_eq!(values(&seen, "x-who"), who, "{path}: {seen}");
            }
        }
    }
    assert_eq!(upstream.count(), tried);
    ok(&gateway.get("/x", &[("cookie", &cookie)]));
    let seen = upstream.last();
    assert_eq!(values(&seen, "remote-email"), ["alice@example.com"], "{seen}");
    assert_eq!(values(&seen, "remote-groups"), ["admin,staff"], "{seen}");
}

#[test]
fn a_connection_field_of_the_client_takes_nothing_of_ours_away() {
    let upstream = Upstream::start();
    let gateway = behind(&upstream, "");
    let cookie = gateway.sign_in("alice");
    for listed in [
        "remote-user",
        "Remote-User, close",
        "keep-alive, REMOTE-USER, Remote-Groups, x-forwarded-for, x-real-ip, forwarded, host, cookie",
        "x-request-id, x-forwarded-proto, x-forwarded-host",
        "close, content-length, transfer-encoding",
    ] {
        let head = format!(
            "POST /x HTTP/1.1\r\nhost: app.test\r\ncookie: {cookie}; theirs=1\r\nconnection: {listed}\r\ncontent-length: 5\r\n\r\nhello"
        );
        ok(&gateway.send(head.as_bytes()));
        let seen = upstream.last();
        for name in [
            "remote-user",
            "remote-groups",
            "x-forwarded-for",
            "x-real-ip",
            "x-request-id",
            "host",
            "forwarded",
        ] {
            assert_eq!(values(&seen, name).len(), 1, "{name} of {listed:?}: {seen}");
        }
        assert!(seen.ends_with("\r\n\r\nhello"), "{listed:?}: {seen}");
    }
}

#[test]
fn trailers_of_the_client_never_carry_what_is_ours_to_say() {
    let upstream = Upstream::start();
    let gateway = behind(&upstream, "");
    let cookie = gateway.sign_in("alice");
    let head = format!(
        "POST /x HTTP/1.1\r\nhost: app.test\r\ncookie: {cookie}\r\ntrailer: remote-user, x_auth_user, x-sum\r\n\
        transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nRemote-User: evil\r\nremote_groups: evil\r\nX_Auth_User: evil\r\n\
        X-Forwarded-For: evil\r\nForwarded: evil\r\nX-Request-Id: evil\r\nCookie: foregate=evil\r\nAuthorization: evil\r\n\
        X-Who: evil\r\nSet-Cookie: evil\r\nx-sum: 1\r\n\r\n"
    );
    ok(&gateway.send(head.as_bytes()));
    let seen = upstream.last();
    assert!(!seen.contains("evil"), "{seen}");
    assert!(seen.ends_with("0\r\nx-sum: 1\r\n\r\n"), "{seen}");
    assert_eq!(values(&seen, "trailer"), ["x-sum"], "{seen}");
}

#[test]
fn our_cookie_never_reaches_a_backend_and_its_own_pass_untouched() {
    let upstream = Upstream::start();
    let gateway = behind(&upstream, "");
    let cookie = gateway.sign_in("alice");
    for (path, sent, arrives) in [
        ("/x", format!("{cookie}; a=b"), Some("a=b")),
        ("/x", format!("a=b; {cookie}; c=\"d e\"; f"), Some("a=b; c=\"d e\"; f")),
        ("/x", cookie.clone(), None),
        ("/public/x", cookie.clone(), None),
        ("/public/x", format!("a=b; {cookie}"), Some("a=b")),
        ("/public/x", "foregate=anything; a=b".to_owned(), Some("a=b")),
        ("/optional/x", "a=b; foregate=x; foregate=y".to_owned(), Some("a=b")),
        (
            "/public/x",
            " a=b;c=d ; xforegate=1; foregate2=2 ".to_owned(),
            Some("a=b;c=d ; xforegate=1; foregate2=2"),
        ),
        ("/public/x", "a=foregate=1".to_owned(), Some("a=foregate=1")),
        ("/public/x", "=;;; \"".to_owned(), Some("=;;; \"")),
    ] {
        ok(&gateway.get(path, &[("cookie", &sent)]));
        let seen = upstream.last();
        assert_eq!(values(&seen, "cookie"), arrives.into_iter().collect::<Vec<_>>(), "{sent:?}: {seen}");
        let secret = cookie.split('=').nth(1).expect("a value");
        assert!(!seen.contains(secret), "{seen}");
    }
    // In two lines.
    ok(&gateway.get("/x", &[("cookie", "a=b"), ("cookie", &cookie)]));
    assert_eq!(values(&upstream.last(), "cookie"), ["a=b"]);
}

#[test]
fn a_backend_can_not_set_our_cookie_and_sets_its_own() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\nset-cookie: foregate=fixed; Path=/\r\nset-cookie: a=b; Path=/; HttpOnly\r\n\
        set-cookie: __Host-foregate=fixed\r\nset-cookie:  foregate =fixed\r\nset-cookie: __Secure-foregate=fixed\r\n\
        set-cookie: foregate\r\nset-cookie: foregate2=c\r\ncontent-length: 0\r\n\r\n"
            .to_vec()
    });
    let gateway = Gateway::in_front_of(upstream.address, ", access: public");
    let reply = gateway.get("/", &[]);
    assert_eq!(reply.all("set-cookie"), ["a=b; Path=/; HttpOnly", "foregate2=c"], "{reply:?}");
}

#[test]
fn authorization_is_forwarded_only_where_the_route_says_so() {
    let upstream = Upstream::start();
    let gateway = behind(&upstream, "");
    let bearer = format!("Bearer {}", gateway.token("alice"));
    for (path, arrives) in [("/x", false), ("/public/x", false), ("/optional/x", false), ("/forward/x", true)]
    {
        ok(&gateway.get(path, &[("authorization", &bearer)]));
        let seen = upstream.last();
        let expected: &[&str] = if arrives { &[&bearer] } else { &[] };
        assert_eq!(values(&seen, "authorization"), expected, "{path}: {seen}");
        assert_eq!(seen.contains(&bearer), arrives, "{path}: {seen}");
    }
    ok(&gateway.get("/public/x", &[("authorization", "Basic dTpw"), ("proxy-authorization", "Basic dTpw")]));
    assert!(!upstream.last().contains("dTpw"), "{}", upstream.last());
}

/// What a client may say of where it comes from.
const CLAIMS: [(&str, &str); 14] = [
    ("X-Forwarded-For", "203.0.113.9"),
    ("X_Forwarded_For", "203.0.113.66"),
    ("x.forwarded.for", "203.0.113.66"),
    ("X-Forwarded-Proto", "https"),
    ("X_Forwarded_Proto", "evil"),
    ("X-Forwarded-Host", "claimed.test"),
    ("X_Forwarded_Host", "evil"),
    ("X-Forwarded-Port", "4443"),
    ("X-Forwarded-Prefix", "/evil"),
    ("X_Forwarded_Prefix", "/evil"),
    ("X-Forwarded-Server", "evil"),
    ("X-Real-IP", "203.0.113.66"),
    ("X_Real_IP", "203.0.113.66"),
    ("X-Forwarded", "for=203.0.113.66"),
];

#[test]
fn what_a_client_says_of_its_origin_is_replaced_in_every_spelling() {
    let upstream = Upstream::start();
    let gateway = behind(&upstream, "");
    let mut claims = CLAIMS.to_vec();
    claims.extend([("Forwarded", "for=203.0.113.66;host=evil;proto=https"), ("host", "app.test:8080")]);
    ok(&gateway.get("/public/x", &claims));
    let seen = upstream.last();
    for (name, value) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "app.test:8080"),
        ("x-forwarded-port", "8080"),
        ("x-real-ip", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1;host=\"app.test:8080\";proto=http"),
        ("host", "app.test:8080"),
    ] {
        assert_eq!(values(&seen, name), [value], "{name}: {seen}");
    }
    for lie in ["evil", "203.0.113", "claimed", "4443", "https"] {
        assert!(!seen.contains(lie), "{lie}: {seen}");
    }
    ok(&gateway.get("/public/x", &[]));
    let seen = upstream.last();
    assert_eq!(values(&seen, "x-forwarded-port"), ["80"], "{seen}");
    assert_eq!(values(&seen, "x-forwarded-host"), ["app.test"], "{seen}");
}

#[test]
fn what_a_trusted_proxy_says_of_the_origin_is_kept_and_added_to() {
    let upstream = Upstream::start();
    let gateway = behind(&upstream, "trusted_proxies: [127.0.0.1/32, 10.0.0.0/8]\n");
    ok(&gateway.get(
        "/public/x",
        &[
            ("X-Forwarded-For", "203.0.113.66, 203.0.113.9"),
            ("X-Forwarded-For", "10.1.2.3"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "claimed.test"),
            ("X-Forwarded-Prefix", "/app"),
        ],
    ));
    let seen = upstream.last();
    for (name, value) in [
        ("x-forwarded-for", "203.0.113.66, 203.0.113.9, 10.1.2.3, 127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "claimed.test"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-prefix", "/app"),
        ("x-real-ip", "203.0.113.9"),
        ("host", "claimed.test"),
    ] {
        assert_eq!(values(&seen, name), [value], "{name}: {seen}");
    }
    ok(&gateway.get("/public/x", &[("Forwarded", "for=203.0.113.9;proto=https;host=claimed.test")]));
    let seen = upstream.last();
    assert_eq!(
        values(&seen, "forwarded"),
        ["for=203.0.113.9;proto=https;host=claimed.test, for=127.0.0.1;host=claimed.test;proto=https"],
        "{seen}"
    );
    assert_eq!(values(&seen, "x-real-ip"), ["203.0.113.9"], "{seen}");
    // Even a trusted proxy says nothing of who somebody is.
    ok(&gateway
        .get("/public/x", &[("Remote-User", "evil"), ("X-Forwarded-User", "evil"), ("x_auth_user", "evil")]));
    assert!(!upstream.last().contains("evil"), "{}", upstream.last());
    // What contradicts itself or can't be read is no description.
    let before = upstream.count();
    for bad in [
        &[("X-Forwarded-Proto", "https, http")][..],
        &[("X-Forwarded-Proto", "gopher")],
        &[("X-Forwarded-Host", "a.test"), ("X-Forwarded-Host", "b.test")],
        &[("X-Forwarded-Host", "a b")],
        &[("X-Forwarded-Port", "x")],
        &[("Forwarded", "for=\"unclosed")],
    ] {
        let reply = gateway.get("/public/x", bad);
        assert_eq!(reply.status, 400, "{bad:?}: {reply:?}");
    }
    assert_eq!(upstream.count(), before);
}

#[test]
fn the_host_is_the_clients_the_servers_or_a_fixed_one() {
    let upstream = Upstream::start();
    let address = upstream.address;
    let gateway = Gateway::start(&format!(
        "upstreams:
  kept: {{ servers: [\"http://{address}\"], host: preserve }}
  theirs: {{ servers: [\"http://{address}\"], host: upstream }}
  fixed: {{ servers: [\"http://{address}\"], host: \"inner.test:99\" }}
routes:
  - {{ path: /kept, access: public, upstream: kept }}
  - {{ path: /theirs, access: public, upstream: theirs }}
  - {{ path: /fixed, access: public, upstream: fixed }}
"
    ));
    for (path, host) in [
        ("/kept", "app.test:81".to_owned()),
        ("/theirs", address.to_string()),
        ("/fixed", "inner.test:99".to_owned()),
    ] {
        ok(&gateway.get(path, &[("host", "App.Test.:81")]));
        let seen = upstream.last();
        assert_eq!(values(&seen, "host"), [host], "{seen}");
        assert_eq!(values(&seen, "x-forwarded-host"), ["app.test:81"], "{seen}");
    }
}

#[test]
fn a_request_has_one_id_for_the_client_the_upstream_and_the_log() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\nx-request-id: theirs\r\ncontent-length: 0\r\n\r\n".to_vec()
    });
    for trusted in [false, true] {
        let gateway = behind(&upstream, if trusted { "trusted_proxies: [127.0.0.1/32]\n" } else { "" });
        for (path, status) in
            [("/public/x", 200), ("/x", 401), ("/.auth/login", 200), ("/.auth/healthz", 200)]
        {
            let reply = gateway.get(path, &[("x-request-id", "given-1"), ("x_request_id", "other")]);
            assert_eq!(reply.status, status, "{reply:?}");
            let ids = reply.all("x-request-id");
            assert_eq!(ids.len(), 1, "{reply:?}");
            assert_eq!(ids[0] == "given-1", trusted, "{path}: {reply:?}");
            gateway.wait_for_log(&format!("\"{}\"", ids[0]));
            if status == 200 && path == "/public/x" {
                let seen = upstream.last();
                assert_eq!(values(&seen, "x-request-id"), ids, "{seen}");
                assert!(!seen.contains("other"), "{seen}");
            }
        }
        // One that could forge a log line, or is two, is none.
        for bad in [&[("x-request-id", "a b")][..], &[("x-request-id", "a"), ("x-request-id", "b")]] {
            let reply = gateway.get("/public/x", bad);
            assert_eq!(reply.header("x-request-id").map(str::len), Some(32), "{reply:?}");
        }
    }
}

#[test]
fn a_name_that_can_not_stand_in_a_header_is_percent_encoded() {
    let upstream = Upstream::start();
    let gateway = behind(&upstream, "");
    let output = gateway.command(
        &[
            "user",
            "add",
            "jürgen",
            "--email",
            "j@example.com",
            "--name",
            "Jürgen 100% Müller",
            "--password-stdin",
        ],
        crate::harness::PASSWORD,
    );
    assert!(output.status.success(), "{output:?}");
    let cookie = gateway.sign_in("jürgen");
    ok(&gateway.get("/x", &[("cookie", &cookie)]));
    let seen = upstream.last();
    assert_eq!(values(&seen, "remote-user"), ["j%C3%BCrgen"], "{seen}");
    let [name] = values(&seen, "remote-name")[..] else { panic!("{seen}") };
    assert!(name.is_ascii() && name.contains("J%C3%BCrgen") && name.contains("M%C3%BCller"), "{seen}");
    assert!(name.contains("100%25"), "what is encoded can be decoded: {seen}");
}

#[test]
fn fields_of_one_hop_end_at_it_and_all_others_pass() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\nconnection: x-hop, keep-alive\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nproxy-authenticate: x\r\n\
        upgrade: h2c\r\nx-pass: a\r\nx-pass: b\r\nserver: theirs\r\nwww-authenticate: Negotiate\r\nlocation: /y\r\ncontent-length: 0\r\n\r\n"
            .to_vec()
    });
    let gateway = behind(&upstream, "");
    let reply = gateway.get(
        "/public/x",
        &[
            ("connection", "x-mine, keep-alive"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip"),
            ("proxy-connection", "keep-alive"),
            ("x-pass", "a"),
            ("X-Pass", "b"),
            ("accept-encoding", "br"),
            ("user-agent", "test"),
        ],
    );
    ok(&reply);
    for gone in ["x-hop", "keep-alive", "proxy-authenticate", "upgrade"] {
        assert!(reply.header(gone).is_none(), "{gone}: {reply:?}");
    }
    assert_eq!(reply.all("x-pass"), ["a", "b"], "{reply:?}");
    for (name, value) in [("server", "theirs"), ("www-authenticate", "Negotiate"), ("location", "/y")] {
        assert_eq!(reply.all(name), [value], "{reply:?}");
    }
    let seen = upstream.last();
    for gone in ["x-mine", "keep-alive", "te", "proxy-connection", "connection"] {
        assert!(values(&seen, gone).is_empty(), "{gone}: {seen}");
    }
    assert_eq!(values(&seen, "x-pass"), ["a", "b"], "{seen}");
    assert_eq!(
        (values(&seen, "accept-encoding"), values(&seen, "user-agent")),
        (vec!["br"], vec!["test"]),
        "{seen}"
    );
}
