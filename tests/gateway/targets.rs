//! Nothing protected is reached by a target that can be read in two ways (contract: invariant 1).

use crate::edge::{refused, shown};
use crate::harness::{Gateway, Upstream};

/// A public place, a protected one, and a public rest, so that both ways round are open to a bypass.
fn behind(upstream: &Upstream) -> Gateway {
    Gateway::start(&format!(
        "upstreams: {{ app: \"http://{}\" }}
routes:
  - {{ path: /public/**, access: public, upstream: app }}
  - {{ path: /admin/**, upstream: app }}
  - {{ path: /**, access: public, upstream: app }}
",
        upstream.address
    ))
}

fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nhost: app.test\r\n\r\n").into_bytes()
}

#[test]
fn a_target_without_honest_use_is_refused_and_reaches_no_upstream() {
    let upstream = Upstream::start();
    let gateway = behind(&upstream);
    for target in [
        // Dot segments, in every encoding.
        "/.",
        "/..",
        "/a/../b",
        "/a/./b",
        "/a/..",
        "/%2e",
        "/%2E%2e/a",
        "/.%2e/a",
        "/a/%2e./b",
        "/a/.%2E/b",
        "/%252e%252e/a",
        "/a/%25%32%65%25%32%65/b",
        "/a/..;/b",
        "/a/..;x=y/b",
        "/a/%2e%2e;/b",
        "/a/..%3b/b",
        "/a/..%2fb",
        "/a%2f..%2fb",
        "/a/..%20/b",
        "/a/%u002e%u002e/b",
        "/a/%c0%ae%c0%ae/b",
        "/a/%e0%80%ae/b",
        "/a/%ef%bc%8e%ef%bc%8e/b",
        // Backslashes.
        "/a\\b",
        "/a%5cb",
        "/a%5Cb",
        "/..%5c",
        "/a%255cb",
        "/a%ef%bc%bcb",
        // Controls.
        "/a%00",
        "/%00",
        "/a%2500",
        "/a%0ab",
        "/a%0db",
        "/a%0d%0ab",
        "/a%09b",
        "/a%1fb",
        "/a%7f",
        "/a%7Fb",
        "/a%c2%85b",
        "/a\u{0}",
        "/a\u{1}b",
        "/a\tb",
        "/a\u{b}b",
        "/a\u{7f}",
        // Fragments.
        "/a#b",
        "/a#",
        "/public/#/../admin",
        "/a?b#c",
        // Percent-encoding that is none.
        "/%",
        "/a%",
        "/a%2",
        "/a%zz",
        "/a%2g",
        "/a%%32%65",
        // Overlong and broken UTF-8.
        "/%c0%af",
        "/a%e0%80%afb",
        "/%ff",
        "/a%c3",
        "/a\u{e9}",
        // Nothing that a request line may hold.
        "a",
        "*",
        "?a",
        "",
        "http:/a",
        "ftp://app.test/",
        "//app.test\\@evil.test/",
        "/a b",
        "/a<b",
        "/a?b\u{7f}",
        "/a?b\u{e9}",
    ] {
        refused(&gateway, &get(target), 400);
        assert_eq!(upstream.count(), 0, "{target:?} arrived: {:?}", upstream.seen());
    }
    let long = format!("/{}", "a".repeat(8 * 1024));
    refused(&gateway, &get(&long), 414);
    let long = format!("/?{}", "a".repeat(8 * 1024));
    refused(&gateway, &get(&long), 414);
    assert_eq!(upstream.count(), 0);
    let longest = format!("/{}", "a".repeat(8 * 1024 - 1));
    assert_eq!(gateway.get(&longest, &[]).status, 200);
}

#[test]
fn a_protected_route_is_not_reached_by_way_of_a_public_one() {
    let upstream = Upstream::start();
    let gateway = behind(&upstream);
    for target in [
        "/public/..%2fadmin",
        "/public/..%2fadmin/x",
        "/public/..%252fadmin",
        "/public/%2e%2e/admin",
        "/public/%252e%252e/admin",
        "/public/../admin",
        "/public;/../admin",
        "/public/..;/admin",
        "/public/..;a=b/admin",
        "/public/%5c../admin",
        "/public//../admin",
        "//admin",
        "///admin",
        "//admin/x",
        "/%2fadmin",
        "/%2Fadmin/x",
        "/%252fadmin",
        "/admin%2f",
        "/admin%2fx",
        "/admin%252fx",
        "/;/admin",
        "/;x/admin",
        "/;x=y/admin/z",
        "/%3bx/admin",
        "/admin;x",
        "/admin;x=y/z",
        "/admin%3bx",
        "/admin%253bx",
        "/admin%3fx",
        "/admin%23x",
        "/admi%256e",
        "/%2561dmin",
        "//app.test/admin",
    ] {
        let reply = gateway.get(target, &[]);
        assert!(matches!(reply.status, 400 | 401), "{target}: {reply:?}");
        assert_eq!(upstream.count(), 0, "{target} arrived: {:?}", upstream.seen());
    }
    // One reading, whatever the spelling: it is the protected route, and says so.
    for target in
        ["/admin", "/admin/", "/admin/x", "/%61dmin", "/admin?x=/public/", "/admin/a%2fb", "/admin//x"]
    {
        assert_eq!(gateway.get(target, &[]).status, 401, "{target}");
    }
    assert_eq!(upstream.count(), 0);
}

#[test]
fn a_target_of_which_every_reading_leads_to_one_route_passes_byte_for_byte() {
    let upstream = Upstream::start();
    let gateway = behind(&upstream);
    for target in [
        "/@scope%2fname",
        "/@scope%2Fname",
        "/public/a%2fb",
        "/public//x",
        "/public/;x/y",
        "/public/a;v=1?q",
        "/public/%7Euser",
        "/public/%c3%a4",
        "/public/100%25",
        "/public/a%20b",
        "/public/.well-known/x",
        "/public/...",
        "/public/a..b",
        "/public/a|b'\"^{}[]",
        "/?",
        "/public?a=/../admin",
        "/public?%2e%2e/%00%5c%zz",
        "/public?a=b?c=/admin",
        "/public?\\",
        "/publicadmin",
        "/adminx",
        "/Admin",
        "/x/admin",
    ] {
        let reply = gateway.get(target, &[]);
        assert_eq!(reply.status, 200, "{target}: {reply:?}");
        let seen = upstream.last();
        assert!(seen.starts_with(&format!("GET {target} HTTP/1.1\r\n")), "{target}: {seen}");
    }
}

#[test]
fn patterns_end_at_segments_and_the_query_is_never_matched() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ app: \"http://{}\" }}
routes:
  - {{ path: /exact, access: public, upstream: app }}
  - {{ path: /one/*, access: public, upstream: app }}
  - {{ path: /one/*/end, access: public, upstream: app }}
  - {{ path: /deep/**, access: public, upstream: app }}
",
        upstream.address
    ));
    for (target, status) in [
        ("/exact", 200),
        ("/exact?x", 200),
        ("/exact/", 404),
        ("/exact/x", 404),
        ("/exactly", 404),
        ("/Exact", 404),
        ("/%65xact", 200),
        ("/one/a", 200),
        ("/one/", 404),
        ("/one", 404),
        ("/one/a/b", 404),
        ("/one/a/end", 200),
        ("/one/a/b/end", 404),
        ("/deep", 200),
        ("/deep/", 200),
        ("/deep/a/b/c", 200),
        ("/deeper", 404),
        ("/deep-er", 404),
        ("/", 404),
        ("/?/exact", 404),
        ("/x?/../exact", 404),
        ("/x?x=/deep/", 404),
    ] {
        let reply = gateway.get(target, &[]);
        assert_eq!(reply.status, status, "{target}: {reply:?}");
    }
}

#[test]
fn hosts_are_matched_without_case_trailing_dot_and_port_and_methods_are_in_capitals() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ app: \"http://{}\" }}
routes:
  - {{ host: secret.test, path: /**, upstream: app }}
  - {{ host: \"*.wild.test\", path: /**, upstream: app }}
  - {{ path: /get, methods: [GET], access: public, upstream: app }}
  - {{ path: /get, upstream: app }}
  - {{ path: /**, access: public, upstream: app }}
",
        upstream.address
    ));
    for (host, status) in [
        ("secret.test", 401),
        ("SECRET.Test", 401),
        ("secret.test.", 401),
        ("Secret.Test.:8080", 401),
        ("secret.test:80", 401),
        ("a.wild.test", 401),
        ("A.WILD.TEST.:1", 401),
        ("a.b.wild.test", 401),
        ("secret.test..", 400),
        ("secret.test:", 400),
        ("secret.test:0", 400),
        ("secret.test:port", 400),
        ("secret.test@open.test", 400),
        ("open.test, secret.test", 400),
        ("secret%2etest", 400),
        ("secret.test/", 400),
        ("", 400),
        ("[::1", 400),
        ("open.test", 200),
        ("xsecret.test", 200),
        ("secret.test.open.test", 200),
        ("xwild.test", 200),
        ("[::1]:80", 200),
    ] {
        let before = upstream.count();
        let reply = gateway.get("/", &[("host", host)]);
        assert_eq!(reply.status, status, "{host:?}: {reply:?}");
        assert_eq!(upstream.count() - before, usize::from(status == 200), "{host:?}");
    }
    for (method, status) in
        [("GET", 200), ("get", 400), ("Get", 400), ("HEAD", 200), ("POST", 401), ("X-Y", 401)]
    {
        assert_eq!(gateway.request(method, "/get", &[], b"").status, status, "{method}");
    }
}

#[test]
fn an_odd_spelling_of_the_portal_is_neither_the_portal_nor_a_route() {
    let upstream = Upstream::start();
    let gateway = behind(&upstream);
    for target in [
        "/%2eauth/login",
        "/.auth%2flogin",
        "/.auth%2Flogin",
        "//.auth/login",
        "/.auth;x/login",
        "/;x/.auth/login",
        "/.%61uth/login",
        "/%252eauth/login",
        "/x/../.auth/login",
        "/%2f.auth/me",
    ] {
        let reply = gateway.get(target, &[("accept", "text/html")]);
        assert_eq!(reply.status, 400, "{target}: {reply:?}");
        assert_eq!(reply.all("cache-control"), ["no-store"], "{target}: {reply:?}");
    }
    assert_eq!(upstream.count(), 0, "{:?}", upstream.seen());
    // These are nobody's but the backend's.
    for target in ["/.authx", "/.AUTH/login", "/x/.auth/login", "/auth/login"] {
        assert_eq!(gateway.get(target, &[]).status, 200, "{target}");
        assert!(
            upstream.last().starts_with(&format!("GET {target} ")),
            "{}",
            shown(upstream.last().as_bytes())
        );
    }
    assert_eq!(gateway.get("/.auth/login", &[("accept", "text/html")]).status, 200);
    assert_eq!(gateway.get("/.auth/nowhere", &[]).status, 404);
    assert_eq!(gateway.get("/.auth", &[]).status, 303);
}
