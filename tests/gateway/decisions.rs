//! Who is let through, and what everybody else is told (contract: the table of decisions).

use std::time::{Duration, Instant};

use crate::browser::{Browser, Form, NAVIGATION};
use crate::harness::{Gateway, PASSWORD, Reply, Upstream, wait_until};

const BROWSER: &[(&str, &str)] = &[("accept", "text/html,*/*;q=0.8"), ("sec-fetch-mode", "navigate")];
const COOKIE_LENGTH: usize = 43;

type Headers<'a> = &'a [(&'a str, &'a str)];

fn header<'a>(name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![(name, value)]
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// A 401 that is no page.
fn assert_unauthorized(reply: &Reply, challenge: &str) {
    assert_eq!(reply.status, 401, "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{reply:?}");
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.all("www-authenticate"), [challenge], "{reply:?}");
    assert_eq!(reply.json()["status"], 401);
}

#[test]
fn nobody_reaches_a_protected_route_without_signing_in_and_everybody_after() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(upstream.address, "");
    gateway.add_user("alice", &["staff"]);

    let reply = gateway.get("/a?b=c", BROWSER);
    assert_eq!(
        (reply.status, reply.header("location")),
        (303, Some("/.auth/login?next=/a%3Fb%3Dc")),
        "{reply:?}"
    );
    let reply = gateway.get("/a", &[]);
    assert_eq!(reply.status, 401, "{reply:?}");
    assert_eq!(reply.json()["code"], "unauthorized");
    assert_eq!(reply.all("www-authenticate"), [r#"Bearer realm="foregate""#]);
    assert_eq!(upstream.count(), 0);

    let cookie = gateway.sign_in("alice");
    let reply = gateway.get("/a?b=c", &[("cookie", &cookie)]);
    assert_eq!((reply.status, reply.text().as_str()), (200, "hello"), "{reply:?}");
    let seen = upstream.last();
    assert!(seen.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains("remote-user: alice\r\n") && seen.contains("remote-groups: staff\r\n"), "{seen}");
    assert!(!seen.contains("cookie"), "{seen}");
}

#[test]
fn only_a_navigation_is_led_to_the_login_page() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(upstream.address, "");
    let html = ("accept", "text/html,*/*;q=0.8");
    let led: [(&str, Headers<'_>); 4] = [
        ("GET", &[html]),
        ("HEAD", &[html]),
        ("GET", &[html, ("sec-fetch-mode", "navigate")]),
        ("GET", NAVIGATION),
    ];
    for (method, headers) in led {
        let reply = gateway.request(method, "/a%20b?c", headers, b"");
        assert_eq!(
            (reply.status, reply.header("location")),
            (303, Some("/.auth/login?next=/a%2520b%3Fc")),
            "{method} {headers:?}: {reply:?}"
        );
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{reply:?}");
        assert!(reply.header("x-request-id").is_some(), "{reply:?}");
        assert!(reply.header("set-cookie").is_none(), "nothing is taken away: {reply:?}");
    }
    let told: [(&str, Headers<'_>, bool); 7] = [
        ("POST", &[html], true),
        ("DELETE", &[html], true),
        ("GET", &[html, ("x-requested-with", "XMLHttpRequest")], true),
        ("GET", &[html, ("sec-fetch-mode", "cors")], true),
        ("GET", &[html, ("sec-fetch-mode", "no-cors")], true),
        ("GET", &[("accept", "*/*")], false),
        ("GET", &[("accept", "application/json")], false),
    ];
    for (method, headers, page) in told {
        let reply = gateway.request(method, "/a", headers, b"");
        assert_eq!(reply.status, 401, "{method} {headers:?}: {reply:?}");
        assert_eq!(reply.all("www-authenticate"), [r#"Bearer realm="foregate""#], "{reply:?}");
        if page {
            assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"), "{reply:?}");
            let html = reply.text();
            assert!(html.contains(r#"href="/.auth/login""#), "a way to sign in, and no next: {html}");
            let id = reply.header("x-request-id").expect("an id");
            assert!(html.contains(id), "{html}");
        } else {
            assert_unauthorized(&reply, r#"Bearer realm="foregate""#);
            assert_eq!(reply.json()["request_id"].as_str(), reply.header("x-request-id"));
        }
    }
    assert_eq!(upstream.count(), 0);
}

#[test]
fn a_route_says_whether_it_leads_to_the_login_page() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ app: \"http://{}\" }}\nroutes:\n\
         \x20 - {{ path: /login, upstream: app, unauthenticated: login }}\n\
         \x20 - {{ path: /status, upstream: app, unauthenticated: status }}\n\
         \x20 - {{ path: /bearer, upstream: app, credentials: [bearer] }}\n\
         \x20 - {{ path: /basic, upstream: app, credentials: [basic, session] }}\n",
        upstream.address
    ));
    let reply = gateway.get("/login", &[]);
    assert_eq!((reply.status, reply.header("location")), (303, Some("/.auth/login")), "no next: {reply:?}");
    assert_eq!(gateway.request("POST", "/login", &[], b"x").status, 303);
    assert_eq!(gateway.get("/status", BROWSER).status, 401);
    // A login would not count there.
    assert_eq!(gateway.get("/bearer", BROWSER).status, 401);
    let reply = gateway.get("/basic", &[]);
    assert_eq!(
        reply.all("www-authenticate"),
        [r#"Bearer realm="foregate""#, r#"Basic realm="foregate", charset="UTF-8""#],
        "{reply:?}"
    );
    assert_eq!(gateway.get("/basic", BROWSER).status, 303);
    assert_eq!(gateway.get("/nowhere", BROWSER).status, 404);
    assert_eq!(upstream.count(), 0);
}

#[test]
fn what_no_route_names_is_not_there() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ app: \"http://{}\" }}\nroutes:\n\
         \x20 - {{ path: /a, methods: [GET], access: public, upstream: app }}\n\
         \x20 - {{ path: /b, host: b.test, access: public, upstream: app }}\n",
        upstream.address
    ));
    let page = gateway.get("/nothing", BROWSER);
    assert_eq!((page.status, page.header("content-type")), (404, Some("text/html; charset=utf-8")));
    let reply = gateway.get("/nothing", &[]);
    assert_eq!((reply.status, reply.json()["code"].as_str()), (404, Some("not_found")));
    assert_eq!(gateway.request("POST", "/a", &[], b"x").status, 404);
    assert_eq!(gateway.get("/b", &[]).status, 404);
    assert_eq!(gateway.get("/A", &[]).status, 404);
    assert_eq!(upstream.count(), 0);
    assert_eq!(gateway.get("/b", &[("host", "B.test:8080")]).status, 200);
}

#[test]
fn an_optional_route_names_who_is_signed_in_and_refuses_a_bad_token() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(upstream.address, ", access: optional");
    gateway.add_user("alice", &[]);
    let (cookie, token) = (gateway.sign_in("alice"), bearer(&gateway.token("alice")));

    assert_eq!(gateway.get("/", BROWSER).status, 200);
    assert!(!upstream.last().contains("remote-user"), "{}", upstream.last());
    for (name, value) in [("cookie", &cookie), ("authorization", &token)] {
        assert_eq!(gateway.get("/", &header(name, value)).status, 200);
        assert!(upstream.last().contains("remote-user: alice\r\n"), "{}", upstream.last());
    }
    // A cookie that has ended counts as none.
    let ended = format!("foregate={}", "A".repeat(COOKIE_LENGTH));
    assert_eq!(gateway.get("/", &header("cookie", &ended)).status, 200);
    assert!(!upstream.last().contains("remote-user"), "{}", upstream.last());

    let count = upstream.count();
    let bad = gateway.get("/", &[("authorization", "Bearer nonsense"), ("cookie", &cookie)]);
    assert_unauthorized(&bad, r#"Bearer realm="foregate", error="invalid_token""#);
    assert_eq!(upstream.count(), count);
}

#[test]
fn a_public_route_looks_at_no_credential() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(upstream.address, ", access: public");
    gateway.add_user("alice", &[]);
    let cookie = gateway.sign_in("alice");
    let token = bearer(&gateway.token("alice"));
    for (name, value) in [
        ("cookie", &*cookie),
        ("authorization", &token),
        ("authorization", "Bearer nonsense"),
        ("accept", "*/*"),
    ] {
        let reply = gateway.get("/", &header(name, value));
        assert_eq!(reply.status, 200, "{name}: {reply:?}");
        let seen = upstream.last().to_lowercase();
        assert!(!seen.contains("remote-user") && !seen.contains("foregate="), "{name}: {seen}");
    }
}

#[test]
fn a_bad_credential_is_refused_whatever_else_is_there() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(upstream.address, "");
    gateway.add_user("alice", &[]);
    gateway.add_user("bob", &[]);
    let (alice, bob) = (gateway.sign_in("alice"), gateway.sign_in("bob"));
    let token = bearer(&gateway.token("alice"));

    let with = |headers: &[(&str, &str)]| gateway.get("/", headers);
    let bad = with(&[("authorization", "Bearer abc.def.ghi"), ("cookie", &alice)]);
    assert_unauthorized(&bad, r#"Bearer realm="foregate", error="invalid_token""#);
    for value in ["Bearer", "bearer ", "BEARER x"] {
        assert_eq!(with(&[("authorization", value), ("cookie", &alice)]).status, 401, "{value}");
    }
    // Two of them have no one meaning.
    assert_eq!(with(&[("authorization", &token), ("authorization", &token)]).status, 401);
    // Two different values of our cookie are none, in one field or in two, in either order.
    let (one, two) = (format!("{alice}; {bob}"), format!("{bob}; x=y; {alice}"));
    assert_eq!(with(&[("cookie", &one)]).status, 401);
    assert_eq!(with(&[("cookie", &two)]).status, 401);
    assert_eq!(with(&[("cookie", &alice), ("cookie", &bob)]).status, 401);
    assert_eq!(upstream.count(), 0);

    // An old cookie never hides a good token, nor does a scheme that the route doesn't take hide the cookie.
    let ended = format!("foregate={}", "A".repeat(COOKIE_LENGTH));
    assert_eq!(with(&[("authorization", &token), ("cookie", &ended)]).status, 200);
    assert_eq!(with(&[("authorization", "Basic YWxpY2U6eA=="), ("cookie", &alice)]).status, 200);
    assert_eq!(with(&[("cookie", &format!("{alice}; {alice}"))]).status, 200);
    assert_eq!(upstream.count(), 3);
}

#[test]
fn a_requirement_that_is_not_met_is_told_to_whoever_is_signed_in() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ app: \"http://{}\" }}\ntrusted_proxies: [127.0.0.1]\nroutes:\n\
         \x20 - {{ path: /roles, upstream: app, require: {{ roles: [admin, staff] }} }}\n\
         \x20 - {{ path: /users, upstream: app, require: {{ users: [Alice] }} }}\n\
         \x20 - {{ path: /domains, upstream: app, require: {{ email_domains: [example.com] }} }}\n\
         \x20 - {{ path: /networks, upstream: app, require: {{ networks: [10.0.0.0/8, \"2001:db8::/32\"] }} }}\n\
         \x20 - {{ path: /all, upstream: app, require: {{ roles: [staff], users: [bob] }} }}\n",
        upstream.address
    ));
    gateway.add_user("alice", &["staff"]);
    gateway.add_user("bob", &["guest"]);
    gateway.command(&["user", "set", "bob", "--email", "bob@sub.example.com"], "");
    let (alice, bob) = (gateway.sign_in("alice"), gateway.sign_in("bob"));
    let near = ("x-forwarded-for", "10.1.2.3");
    let far = ("x-forwarded-for", "192.0.2.1");
    let cases = [
        ("/roles", &alice, far, 200),
        ("/roles", &bob, near, 403),
        ("/users", &alice, far, 200),
        ("/users", &bob, near, 403),
        ("/domains", &alice, far, 200),
        ("/domains", &bob, near, 403),
        ("/networks", &bob, near, 200),
        ("/networks", &bob, ("x-forwarded-for", "2001:db8::7"), 200),
        ("/networks", &alice, far, 403),
        ("/all", &alice, near, 403),
        ("/all", &bob, near, 403),
    ];
    for (path, cookie, from, expected) in cases {
        let count = upstream.count();
        let reply = gateway.get(path, &[("cookie", cookie), from]);
        assert_eq!(reply.status, expected, "{path} {from:?}: {reply:?}");
        assert_eq!(upstream.count() - count, usize::from(expected == 200), "{path}");
        if expected == 403 {
            assert_eq!(reply.json()["code"], "forbidden", "{reply:?}");
            assert!(reply.header("www-authenticate").is_none(), "signing in again is of no use: {reply:?}");
        }
    }
    let mut headers = BROWSER.to_vec();
    headers.push(("cookie", &bob));
    let page = gateway.get("/roles?x=1", &headers);
    assert_eq!(page.status, 403, "{page:?}");
    let html = page.text();
    assert!(html.contains("signed in as bob"), "{html}");
    assert!(html.contains("/.auth/login?next=/roles%3Fx%3D1&amp;prompt=select_account"), "{html}");
    assert!(
        !html.contains("staff") && !html.contains("admin"),
        "what is missing is nobody's business: {html}"
    );
    // A login page that is asked for to change the account is shown, not skipped.
    let switch = gateway.get("/.auth/login?next=/roles&prompt=select_account", &headers);
    assert_eq!(switch.status, 200, "{switch:?}");
}

#[test]
fn a_login_that_is_not_fresh_is_confirmed_and_goes_on() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(upstream.address, ", require: { fresh_login: 1s }");
    gateway.add_user("alice", &[]);
    let browser = Browser::new(&gateway);
    assert_eq!(browser.sign_in("alice").status, 303);
    let token = bearer(&gateway.token("alice"));
    assert_eq!(browser.open("/vault").status, 200);
    let signed_in = Instant::now();
    wait_until(|| signed_in.elapsed() > Duration::from_millis(1100), || "time stands still".to_owned());

    let stale = browser.open("/vault?a=b");
    let to_login = "/.auth/login?next=/vault%3Fa%3Db&prompt=login";
    assert_eq!((stale.status, stale.header("location")), (303, Some(to_login)), "{stale:?}");
    let challenge = r#"Bearer realm="foregate", error="insufficient_user_authentication", max_age="1""#;
    assert_unauthorized(&gateway.get("/vault", &header("authorization", &token)), challenge);
    assert_eq!(upstream.count(), 1);

    let before = browser.cookie("foregate").expect("a session");
    let page = browser.open(to_login);
    assert_eq!(page.status, 200, "it asks although somebody is signed in: {page:?}");
    let form = Form::read(&page);
    assert_eq!(form.value("username"), Some("alice"));
    let wrong = browser.submit(&form.clone().with("password", "wrong password"));
    assert_eq!(wrong.status, 401, "{wrong:?}");
    let right = browser.submit(&Form::read(&wrong).with("password", PASSWORD));
    assert_eq!((right.status, right.header("location")), (303, Some("/vault?a=b")), "{right:?}");
    assert_ne!(browser.cookie("foregate"), Some(before));
    assert_eq!(browser.open("/vault?a=b").status, 200);
}

#[test]
fn a_writing_request_of_a_session_from_another_site_is_refused() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ app: \"http://{0}\" }}\nroutes:\n\
         \x20 - {{ path: /open, upstream: app, csrf: false }}\n\
         \x20 - {{ path: /**, upstream: app }}\n",
        upstream.address
    ));
    gateway.add_user("alice", &[]);
    let (cookie, token) = (gateway.sign_in("alice"), bearer(&gateway.token("alice")));
    let evil = ("origin", "https://evil.test");
    let cases: [(&str, &str, Headers<'_>, u16); 8] = [
        ("POST", "/a", &[evil], 403),
        ("POST", "/a", &[("sec-fetch-site", "cross-site")], 403),
        ("DELETE", "/a", &[("origin", "null")], 403),
        ("POST", "/a", &[("origin", "http://app.test"), ("sec-fetch-site", "same-origin")], 200),
        ("POST", "/a", &[("sec-fetch-site", "same-site")], 200),
        ("POST", "/a", &[], 200),
        ("GET", "/a", &[evil, ("sec-fetch-site", "cross-site")], 200),
        ("POST", "/open", &[evil], 200),
    ];
    for (method, path, headers, expected) in cases {
        let mut all = vec![("cookie", cookie.as_str())];
        all.extend(headers);
        let count = upstream.count();
        let reply = gateway.request(method, path, &all, b"");
        assert_eq!(reply.status, expected, "{method} {path} {headers:?}: {reply:?}");
        assert_eq!(upstream.count() - count, usize::from(expected == 200));
        if expected == 403 {
            assert_eq!(reply.json()["code"], "cross_site");
        }
    }
    // No browser sends a token by itself.
    let reply = gateway.request("POST", "/a", &[("authorization", &token), evil], b"");
    assert_eq!(reply.status, 200, "{reply:?}");
}
