//! Other proxies ask about a request that they hold (contract: §3, §9), as raw requests in the form in
//! which each of them asks. The real proxies are asked elsewhere.

use std::time::{Duration, Instant};

use crate::harness::{Gateway, PASSWORD, Reply, wait_until};

const BROWSER: (&str, &str) = ("accept", "text/html,*/*;q=0.8");
const LOGIN: &str = "http://login.test/.auth/login";

const ROUTES: &str = "public_url: http://login.test
upstreams: { unused: \"http://127.0.0.1:9\" }
routes:
  - { path: /public/**, access: public }
  - { path: /optional/**, access: optional }
  - { path: /admin/**, require: { roles: [admin] } }
  - { path: /basic/**, credentials: [basic] }
  - { path: /network/**, require: { networks: [192.0.2.0/24] } }
  - { path: /own/**, identity_headers: { X-Who: \"{username}\" } }
  - { path: /staff/**, methods: [GET, POST] }
  - { host: only.test, path: /host/** }
";

fn start() -> Gateway {
    let gateway = Gateway::start(&format!("trusted_proxies: [127.0.0.1/32, 10.0.0.0/8]\n{ROUTES}"));
    gateway.add_user("alice", &["staff"]);
    gateway
}

/// The three ways to ask about one request.
const DIALECTS: [&str; 3] = ["auth-request", "forward-auth", "ext-authz"];

/// Asks about `method path` on `app.test`, as a proxy of this dialect does.
fn ask(gateway: &Gateway, dialect: &str, method: &str, path: &str, more: &[(&str, &str)]) -> Reply {
    let url = format!("http://app.test{path}");
    let mut headers = match dialect {
        "auth-request" => vec![
            ("host", "auth.internal"),
            ("x-original-url", url.as_str()),
            ("x-original-method", method),
            ("x-forwarded-for", "203.0.113.9"),
        ],
        "forward-auth" => vec![
            ("host", "auth.internal"),
            ("x-forwarded-method", method),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "app.test"),
            ("x-forwarded-uri", path),
            ("x-forwarded-for", "203.0.113.9"),
        ],
        _ => vec![("host", "app.test"), ("x-forwarded-proto", "http"), ("x-forwarded-for", "203.0.113.9")],
    };
    headers.extend_from_slice(more);
    match dialect {
        "ext-authz" => gateway.request(method, &format!("/.auth/ext-authz{path}"), &headers, b""),
        _ => gateway.request("GET", &format!("/.auth/{dialect}"), &headers, b""),
    }
}

#[track_caller]
fn check_identity(reply: &Reply, user: &str) {
    assert_eq!(reply.status, 200, "{reply:?}");
    let email = if user.is_empty() { String::new() } else { format!("{user}@example.com") };
    let groups = if user.is_empty() { "" } else { "staff" };
    for (name, value) in
        [("remote-user", user), ("remote-email", &email), ("remote-name", ""), ("remote-groups", groups)]
    {
        assert_eq!(reply.all(name), [value], "{name}: {reply:?}");
    }
    assert_eq!(reply.all("cache-control"), ["no-store"], "{reply:?}");
    assert!(reply.header("x-request-id").is_some(), "{reply:?}");
}

#[test]
fn allow_is_exactly_200_with_every_identity_header_and_never_the_clients() {
    let gateway = start();
    let cookie = gateway.sign_in("alice");
    let bearer = format!("Bearer {}", gateway.token("alice"));
    // What the client said reaches the question in most proxies.
    let lies = [
        ("remote-user", "root"),
        ("remote_user", "root"),
        ("remote-groups", "admin"),
        ("x-auth-user", "root"),
    ];
    for dialect in DIALECTS {
        let ask = |path: &str, credential: (&'static str, &str)| {
            ask(&gateway, dialect, "GET", path, &[&lies[..], &[credential]].concat())
        };
        check_identity(&ask("/staff/x?a=b", ("cookie", &cookie)), "alice");
        check_identity(&ask("/staff/x", ("authorization", &bearer)), "alice");
        check_identity(&ask("/optional/x", ("cookie", &cookie)), "alice");
        check_identity(&ask("/optional/x", ("x", "y")), "");
        check_identity(&ask("/optional/x", ("cookie", "foregate=gone")), "");
        check_identity(&ask("/public/x", ("x", "y")), "");
        // A public route looks at no credential at all.
        check_identity(&ask("/public/x", ("cookie", &cookie)), "");
        check_identity(&ask("/public/x", ("authorization", "Bearer nonsense")), "");
        let own = ask("/own/x", ("cookie", &cookie));
        assert_eq!((own.status, own.all("x-who")), (200, vec!["alice"]), "{own:?}");
    }
}

#[test]
fn nginx_gets_401_with_the_way_to_the_login_page_and_never_a_redirect() {
    let gateway = start();
    let cookie = gateway.sign_in("alice");
    let ask =
        |method: &str, path: &str, more: &[(&str, &str)]| ask(&gateway, "auth-request", method, path, more);
    let reply = ask("GET", "/staff/x?a=b&c=d", &[BROWSER, ("sec-fetch-mode", "navigate")]);
    assert_eq!(reply.status, 401, "{reply:?}");
    let expected = format!("{LOGIN}?next=http%3A//app.test/staff/x%3Fa%3Db%26c%3Dd");
    assert_eq!(reply.all("location"), [expected.as_str()], "{reply:?}");
    assert_eq!(reply.all("www-authenticate"), [r#"Bearer realm="foregate""#], "{reply:?}");
    // nginx may pass nothing of the client on; what certainly is no navigation sets no target.
    let reply = ask("GET", "/staff/x", &[]);
    assert_eq!(reply.all("location"), [format!("{LOGIN}?next=http%3A//app.test/staff/x")], "{reply:?}");
    for more in [("sec-fetch-mode", "cors"), ("x-requested-with", "XMLHttpRequest")] {
        let reply = ask("GET", "/staff/x", &[more]);
        assert_eq!((reply.status, reply.all("location")), (401, vec![LOGIN]), "{reply:?}");
    }
    let reply = ask("POST", "/staff/x", &[BROWSER]);
    assert_eq!((reply.status, reply.all("location")), (401, vec![LOGIN]), "{reply:?}");
    let reply = ask("GET", "/staff/x", &[("authorization", "Bearer nonsense")]);
    assert_eq!(reply.status, 401, "{reply:?}");
    assert!(reply.all("www-authenticate")[0].contains("invalid_token"), "{reply:?}");
    assert_eq!(ask("GET", "/admin/x", &[("cookie", &cookie), BROWSER]).status, 403);
    // nginx would make a 500 of a 404.
    assert_eq!(ask("GET", "/nowhere", &[BROWSER]).status, 403);
    assert_eq!(ask("DELETE", "/staff/x", &[("cookie", &cookie)]).status, 403);
    let cross = [("cookie", cookie.as_str()), ("sec-fetch-site", "cross-site")];
    assert_eq!(ask("POST", "/staff/x", &cross).status, 403);
}

#[test]
fn the_others_get_a_redirect_for_browsers_and_401_for_programs() {
    let gateway = start();
    let cookie = gateway.sign_in("alice");
    for dialect in ["forward-auth", "ext-authz"] {
        let ask =
            |method: &str, path: &str, more: &[(&str, &str)]| ask(&gateway, dialect, method, path, more);
        let reply = ask("GET", "/staff/x?a=b", &[BROWSER]);
        assert_eq!(reply.status, 303, "{dialect}: {reply:?}");
        let expected = format!("{LOGIN}?next=http%3A//app.test/staff/x%3Fa%3Db");
        assert_eq!(reply.all("location"), [expected.as_str()], "{dialect}: {reply:?}");
        for (method, more) in [
            ("GET", &[][..]),
            ("GET", &[("accept", "application/json")]),
            ("GET", &[BROWSER, ("x-requested-with", "XMLHttpRequest")]),
            ("GET", &[BROWSER, ("sec-fetch-mode", "cors")]),
            ("POST", &[BROWSER]),
        ] {
            let reply = ask(method, "/staff/x", more);
            assert_eq!(reply.status, 401, "{dialect} {method} {more:?}: {reply:?}");
            assert!(reply.header("location").is_none(), "{reply:?}");
            assert_eq!(reply.all("www-authenticate"), [r#"Bearer realm="foregate""#], "{reply:?}");
        }
        let reply = ask("GET", "/admin/x", &[("cookie", &cookie)]);
        assert_eq!((reply.status, reply.json()["code"].as_str()), (403, Some("forbidden")), "{reply:?}");
        assert_eq!(ask("GET", "/nowhere", &[]).status, 404);
        let cross = [("cookie", cookie.as_str()), ("sec-fetch-site", "cross-site")];
        let reply = ask("POST", "/staff/x", &cross);
        assert_eq!((reply.status, reply.json()["code"].as_str()), (403, Some("cross_site")), "{reply:?}");
    }
}

#[test]
fn a_peer_that_is_no_trusted_proxy_is_told_nothing() {
    let gateway = Gateway::start(ROUTES);
    gateway.add_user("alice", &["staff"]);
    let cookie = gateway.sign_in("alice");
    for dialect in DIALECTS {
        for path in ["/public/x", "/staff/x", "/nowhere"] {
            let reply = ask(&gateway, dialect, "GET", path, &[("cookie", &cookie), BROWSER]);
            assert_eq!(reply.status, 403, "{dialect} {path}: {reply:?}");
            assert!(reply.header("remote-user").is_none() && reply.header("location").is_none(), "{reply:?}");
        }
    }
}

#[test]
fn a_question_without_a_sound_description_is_400_whoever_is_signed_in() {
    let gateway = start();
    let cookie = gateway.sign_in("alice");
    let forward = |name: &str, value: &str| {
        let fields = [
            ("x-forwarded-method", "GET"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "app.test"),
            ("x-forwarded-uri", "/public/x"),
        ];
        let kept = fields.iter().filter(|(known, _)| *known != name);
        let fields: String = kept.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let own = if value.is_empty() { String::new() } else { format!("{name}: {value}\r\n") };
        format!("GET /.auth/forward-auth HTTP/1.1\r\nhost: auth.internal\r\n{fields}{own}")
    };
    let nginx = |fields: &str| format!("GET /.auth/auth-request HTTP/1.1\r\nhost: auth.internal\r\n{fields}");
    let sound = "x-original-method: GET\r\nx-original-url: http://app.test/public/x\r\n";
    let envoy = |target: &str, fields: &str| {
        format!("GET /.auth/ext-authz{target} HTTP/1.1\r\nhost: app.test\r\n{fields}")
    };
    // They are sound as they are, so that what follows fails for one reason alone.
    for head in [forward("", ""), nginx(sound), envoy("/public/x", "")] {
        let reply = gateway.send(format!("{head}\r\n").as_bytes());
        assert_eq!(reply.status, 200, "{head}: {reply:?}");
    }
    let mut heads = vec![
        // Missing.
        forward("x-forwarded-method", ""),
        forward("x-forwarded-host", ""),
        forward("x-forwarded-uri", ""),
        nginx(""),
        nginx("x-original-method: GET\r\n"),
        nginx("x-original-url: http://app.test/public/x\r\n"),
        nginx("x-original-uri: /public/x\r\nx-original-method: GET\r\n"),
        nginx("x-forwarded-method: GET\r\nx-forwarded-host: app.test\r\nx-forwarded-uri: /public/x\r\n"),
        // Doubled with another value.
        format!("{}x-forwarded-uri: /staff/x\r\n", forward("", "")),
        format!("{}x-forwarded-host: other.test\r\n", forward("", "")),
        format!("{}x-forwarded-method: POST\r\n", forward("", "")),
        format!("{}x-forwarded-proto: https\r\n", forward("", "")),
        nginx(&format!("{sound}x-original-url: http://app.test/staff/x\r\n")),
        nginx(&format!("{sound}x-original-method: POST\r\n")),
        // Contradictory.
        format!("{}x-original-url: http://app.test/staff/x\r\n", forward("", "")),
        format!("{}x-original-url: http://other.test/public/x\r\n", forward("", "")),
        format!("{}x-original-uri: /staff/x\r\n", forward("", "")),
        format!("{}x-original-method: POST\r\n", forward("", "")),
        nginx(&format!("{sound}x-forwarded-uri: /staff/x\r\n")),
        nginx(&format!("{sound}x-forwarded-method: POST\r\n")),
        nginx(&format!("{sound}x-forwarded-host: other.test\r\n")),
        envoy("/public/x", "x-forwarded-uri: /staff/x\r\n"),
        envoy("/public/x", "x-forwarded-host: other.test\r\n"),
        envoy("/public/x", "x-original-url: http://app.test/staff/x\r\n"),
        envoy("/public/x", "x-forwarded-method: POST\r\n"),
    ];
    // Unreadable.
    for method in ["CONNECT", "TRACE", "trace", "GE T", "G(T", "\u{e9}"] {
        heads.push(forward("x-forwarded-method", method));
        heads.push(nginx(&format!(
            "x-original-method: {method}\r\nx-original-url: http://app.test/public/x\r\n"
        )));
    }
    heads.push(forward("x-forwarded-host", "app.test/x"));
    for host in ["a b", "a..b", "user@app.test", "app.test:", "app.test:x", "app.test, app.test", "\u{e9}"] {
        heads.push(forward("x-forwarded-host", host));
        heads.push(nginx(&format!("x-original-method: GET\r\nx-original-url: http://{host}/public/x\r\n")));
    }
    for proto in ["gopher", "http, https", "\u{e9}"] {
        heads.push(forward("x-forwarded-proto", proto));
    }
    for target in [
        "/public/../staff",
        "/public/%2e%2e/staff",
        "/public/..%2fstaff",
        "/public/..;/staff",
        "/public\\staff",
        "/public/%5cstaff",
        "/public/%00",
        "/public/%0a",
        "/public/%zz",
        "/public/#/staff",
        "/public/%c0%af",
        "/public/a b",
        "/public/\u{e9}",
    ] {
        heads.push(forward("x-forwarded-uri", target));
        heads.push(nginx(&format!("x-original-method: GET\r\nx-original-url: http://app.test{target}\r\n")));
        if !target.contains([' ', '#', '\u{e9}']) {
            heads.push(envoy(target, ""));
        }
    }
    for target in ["public/x", "http://app.test/public/x", "*", "?x"] {
        heads.push(forward("x-forwarded-uri", target));
    }
    for url in [
        "/public/x",
        "app.test/public/x",
        "ftp://app.test/public/x",
        "http:///public/x",
        "http:app.test/public/x",
    ] {
        heads.push(nginx(&format!("x-original-method: GET\r\nx-original-url: {url}\r\n")));
    }
    for head in heads {
        let reply = gateway.send(format!("{head}cookie: {cookie}\r\n\r\n").as_bytes());
        assert_eq!(reply.status, 400, "{head}: {reply:?}");
        assert!(reply.header("remote-user").is_none(), "{head}: {reply:?}");
    }
    // Paths of which the readings lead to different routes: no pass either.
    for target in ["/staff%2f..x", "/public;/x", "//public/x", "/public%2fx", "/;x/public/y"] {
        for dialect in DIALECTS {
            let reply = ask(&gateway, dialect, "GET", target, &[("cookie", &cookie)]);
            assert!(!(200..300).contains(&reply.status), "{dialect} {target}: {reply:?}");
        }
    }
}

#[test]
fn the_question_may_come_with_any_method_and_without_its_body() {
    let gateway = start();
    let cookie = gateway.sign_in("alice");
    let fields = format!(
        "host: auth.internal\r\nx-forwarded-method: GET\r\nx-forwarded-host: app.test\r\nx-forwarded-uri: /staff/x\r\ncookie: {cookie}\r\n"
    );
    for (method, more) in [
        ("GET", ""),
        ("HEAD", ""),
        ("POST", "content-length: 0\r\n"),
        ("PUT", "content-length: 0\r\n"),
        ("DELETE", ""),
        ("OPTIONS", ""),
        ("PROPFIND", ""),
        ("X-ODD", ""),
        // Caddy asks for a WebSocket as it came.
        ("GET", "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n"),
    ] {
        let head = format!("{method} /.auth/forward-auth HTTP/1.1\r\n{fields}{more}\r\n");
        let reply = gateway.send(head.as_bytes());
        assert_eq!((reply.status, reply.all("remote-user")), (200, vec!["alice"]), "{head}: {reply:?}");
    }
    // Asked about with the original method by Envoy, whose routes then count.
    for (method, status) in [("GET", 200), ("POST", 200), ("DELETE", 404), ("get", 400)] {
        let reply = ask(&gateway, "ext-authz", method, "/staff/x", &[("cookie", &cookie)]);
        assert_eq!(reply.status, status, "{method}: {reply:?}");
    }
    // HAProxy asks with HEAD, and several times on one connection; a body that was announced is not waited for.
    let mut connection = gateway.connect();
    for _ in 0..3 {
        connection.write(format!("HEAD /.auth/forward-auth HTTP/1.1\r\n{fields}\r\n").as_bytes());
        let reply = connection.reply(true);
        assert_eq!((reply.status, reply.all("remote-user")), (200, vec!["alice"]), "{reply:?}");
    }
    connection.write(
        format!("POST /.auth/forward-auth HTTP/1.1\r\n{fields}content-length: 1000\r\n\r\n").as_bytes(),
    );
    assert_eq!(connection.reply(false).status, 200);
}

#[test]
fn a_query_that_is_not_ours_changes_nothing() {
    let gateway = start();
    let cookie = gateway.sign_in("alice");
    // Caddy appends the original query to the question.
    for query in ["?a=b", "?next=/public/x", "?/public/../x&%00%zz", "?rd=http://evil.test/"] {
        let head = format!(
            "GET /.auth/forward-auth{query} HTTP/1.1\r\nhost: app.test\r\nx-forwarded-method: GET\r\n\
            x-forwarded-proto: http\r\nx-forwarded-host: app.test\r\nx-forwarded-uri: /staff/x\r\n"
        );
        let reply = gateway.send(format!("{head}cookie: {cookie}\r\n\r\n").as_bytes());
        assert_eq!(reply.status, 200, "{query}: {reply:?}");
        let reply = gateway.send(format!("{head}accept: text/html\r\n\r\n").as_bytes());
        assert_eq!(reply.status, 303, "{query}: {reply:?}");
        assert_eq!(reply.all("location"), [format!("{LOGIN}?next=http%3A//app.test/staff/x")], "{reply:?}");
    }
    // The endpoints are these and none beside them.
    for path in ["/.auth/auth-requests", "/.auth/forward-auth/x", "/.auth/ext-authzx", "/.auth//forward-auth"]
    {
        let reply = gateway.get(path, &[("x-forwarded-uri", "/public/x"), ("x-forwarded-host", "app.test")]);
        assert!(matches!(reply.status, 400 | 404), "{path}: {reply:?}");
    }
}

#[test]
fn the_host_that_counts_is_the_original_one() {
    let gateway = start();
    let cookie = gateway.sign_in("alice");
    for (host, status) in
        [("only.test", 200), ("ONLY.test:8443", 200), ("only.test.", 200), ("app.test", 404)]
    {
        let reply = gateway.get(
            "/.auth/forward-auth",
            &[
                ("host", "only.test"),
                ("x-forwarded-method", "GET"),
                ("x-forwarded-host", host),
                ("x-forwarded-uri", "/host/x"),
                ("cookie", &cookie),
            ],
        );
        assert_eq!(reply.status, status, "{host}: {reply:?}");
        let reply = gateway.get("/.auth/ext-authz/host/x", &[("host", host), ("cookie", &cookie)]);
        assert_eq!(reply.status, status, "{host}: {reply:?}");
    }
}

#[test]
fn networks_are_those_of_the_client_behind_the_proxies() {
    let gateway = start();
    let cookie = gateway.sign_in("alice");
    for dialect in DIALECTS {
        for (told, status) in [
            ("192.0.2.7", 200),
            ("203.0.113.9", 403),
            // The right-most that is no proxy of ours; what stands before it was the client's to write.
            ("192.0.2.7, 203.0.113.9", 403),
            ("203.0.113.9, 192.0.2.7", 200),
            ("203.0.113.9, 192.0.2.7, 10.1.1.1", 200),
            ("192.0.2.7, garbage", 403),
            ("", 403),
        ] {
            let mut headers = vec![("cookie", cookie.as_str()), ("x-forwarded-for", told)];
            let (target, host) = match dialect {
                "ext-authz" => ("/.auth/ext-authz/network/x".to_owned(), "app.test"),
                _ => (format!("/.auth/{dialect}"), "auth.internal"),
            };
            headers.push(("host", host));
            match dialect {
                "auth-request" => headers
                    .extend([("x-original-url", "http://app.test/network/x"), ("x-original-method", "GET")]),
                "forward-auth" => headers.extend([
                    ("x-forwarded-method", "GET"),
                    ("x-forwarded-host", "app.test"),
                    ("x-forwarded-uri", "/network/x"),
                ]),
                _ => {}
            }
            let reply = gateway.get(&target, &headers);
            assert_eq!(reply.status, status, "{dialect} {told:?}: {reply:?}");
        }
    }
}

#[test]
fn a_malformed_cookie_never_passes_a_protected_route() {
    let gateway = start();
    let cookie = gateway.sign_in("alice");
    let value = cookie.split_once('=').expect("a value").1.to_owned();
    let (half, cut) = (&value[..value.len() / 2], &value[..value.len() - 1]);
    let mut cookies = vec![
        String::new(),
        "foregate".to_owned(),
        "foregate=".to_owned(),
        "foregate==".to_owned(),
        "foregate=;foregate=".to_owned(),
        "foregate=\"\"".to_owned(),
        "foregate=null".to_owned(),
        "foregate=0".to_owned(),
        "foregate=../../x".to_owned(),
        "foregate=%00".to_owned(),
        "foregate=\u{e9}".to_owned(),
        format!("foregate={half}"),
        format!("foregate={cut}"),
        format!("foregate={value}x"),
        format!("foregate={value}="),
        format!("foregate=x{value}"),
        format!("foregate={}", value.to_uppercase()),
        format!("foregate={}", "A".repeat(value.len())),
        format!("foregate={}", "A".repeat(8000)),
        format!("Foregate={value}"),
        format!("foregate2={value}"),
        format!("foregate, x={value}"),
        format!("foregate={value}; foregate=other"),
        format!("foregate=other; foregate={value}"),
        format!("__Host-foregate={value}"),
        ";".repeat(4000),
        "=".repeat(4000),
        "a=b; ".repeat(2000),
    ];
    cookies.push("foregate=x; ".repeat(1000));
    for dialect in DIALECTS {
        for cookie in &cookies {
            let reply = ask(&gateway, dialect, "GET", "/staff/x", &[("cookie", cookie)]);
            assert_eq!(reply.status, 401, "{dialect} {cookie:.80}: {reply:?}");
            assert!(reply.header("remote-user").is_none(), "{reply:?}");
        }
    }
    // The same twice is one.
    let twice = format!("{cookie}; {cookie}");
    assert_eq!(ask(&gateway, "forward-auth", "GET", "/staff/x", &[("cookie", &twice)]).status, 200);
}

#[test]
fn a_basic_password_is_answered_in_time_and_known_the_next_time() {
    // Hashing that takes far longer than a proxy waits.
    let gateway = Gateway::start(&format!(
        "trusted_proxies: [127.0.0.1/32]
password: {{ min_score: 0, argon2: {{ memory: 64MiB, iterations: 8 }} }}\n{ROUTES}"
    ));
    gateway.add_user("alice", &["staff"]);
    let basic = |password: &str| {
        use base64::Engine as _;
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("alice:{password}"));
        format!("Basic {pair}")
    };
    let good = basic(PASSWORD);
    let timed = |authorization: &str| {
        let started = Instant::now();
        let reply = ask(&gateway, "ext-authz", "GET", "/basic/x", &[("authorization", authorization)]);
        (reply, started.elapsed())
    };
    // The fastest counts: the machine may have other things to do, and hashing is one of them.
    let mut fastest = Duration::MAX;
    for unknown in [&good, &basic("wrong 1"), &basic("wrong 2"), &basic("wrong 3")] {
        let (reply, took) = timed(unknown);
        assert_eq!(reply.status, 401, "hashing takes longer than that: {reply:?}");
        assert!(reply.all("www-authenticate").iter().any(|value| value.starts_with("Basic ")), "{reply:?}");
        fastest = fastest.min(took);
    }
    assert!(fastest < Duration::from_millis(200), "{fastest:?}");
    // The work goes on, and its result is found.
    wait_until(
        || {
            let (reply, _) = timed(&good);
            reply.status == 200 && reply.all("remote-user") == ["alice"]
        },
        || "the right password is never found right".to_owned(),
    );
    let (wrong, _) = timed(&basic("wrong 1"));
    assert_eq!(wrong.status, 401, "{wrong:?}");
}
