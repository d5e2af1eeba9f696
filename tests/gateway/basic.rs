//! Basic: for programs that know nothing better, where a route lists it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::harness::{Connection, Gateway, PASSWORD, Upstream, wait_until};

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

fn gateway(upstream: &Upstream) -> Gateway {
    // A hash that is felt: without the cache these tests would take minutes.
    let gateway = Gateway::start(&format!(
        "password: {{ min_score: 0, argon2: {{ memory: 64MiB, iterations: 2 }} }}\n\
         upstreams: {{ app: \"http://{}\" }}\nroutes:\n\
         \x20 - {{ path: /dav/**, upstream: app, credentials: [basic, session] }}\n\
         \x20 - {{ path: /fresh, upstream: app, credentials: [basic], require: {{ fresh_login: 1s }} }}\n\
         \x20 - {{ path: /**, upstream: app }}\n",
        upstream.address
    ));
    gateway.add_user("alice", &[]);
    gateway
}

#[test]
fn a_name_and_a_password_count_where_a_route_lists_them_alone() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let right = basic("alice", PASSWORD);
    let get = |path: &str, value: &str| gateway.get(path, &[("authorization", value)]);
    assert_eq!(get("/other", &right).status, 401);
    assert_eq!(get("/dav", &right).status, 200);
    let seen = upstream.last();
    assert!(seen.contains("remote-user: alice\r\n"), "{seen}");
    assert!(!seen.to_lowercase().contains("authorization"), "{seen}");
    assert_eq!(get("/dav/a", &basic("Alice@Example.com", PASSWORD)).status, 200);
    let count = upstream.count();
    for wrong in [
        basic("alice", "wrong"),
        basic("nobody", PASSWORD),
        basic("alice", ""),
        "Basic".into(),
        "Basic !!!".into(),
        format!("Basic {}", STANDARD.encode("alice")),
        format!("{right}x"),
    ] {
        let reply = get("/dav", &wrong);
        assert_eq!(reply.status, 401, "{wrong}: {reply:?}");
        assert!(
            reply.all("www-authenticate").contains(&r#"Basic realm="foregate", charset="UTF-8""#),
            "{reply:?}"
        );
    }
    // Bad beside a good cookie is bad.
    let cookie = gateway.sign_in("alice");
    let wrong = basic("alice", "wrong");
    assert_eq!(gateway.get("/dav", &[("authorization", &wrong), ("cookie", &cookie)]).status, 401);
    assert_eq!(upstream.count(), count);
}

#[test]
fn one_hash_serves_many_requests_also_those_that_come_at_once() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let right = basic("alice", PASSWORD);
    let began = Instant::now();
    assert_eq!(gateway.sign_in_with("alice", PASSWORD).status, 200);
    let one_hash = began.elapsed();

    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| assert_eq!(gateway.get("/dav", &[("authorization", &right)]).status, 200));
        }
    });
    let at_once = began.elapsed();
    assert!(at_once < one_hash * 5 + Duration::from_millis(200), "{at_once:?}, where one takes {one_hash:?}");
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(gateway.get("/dav", &[("authorization", &right)]).status, 200);
    }
    let cached = began.elapsed();
    assert!(cached < one_hash * 5 + Duration::from_millis(200), "{cached:?}, where one takes {one_hash:?}");
}

fn hashes(gateway: &Gateway) -> f64 {
    let mut connection = Connection::to(gateway.admin_address());
    connection.write(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let text = connection.reply(false).text();
    let line = text.lines().find_map(|line| line.strip_prefix("foregate_password_hashes_total "));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

/// How often each status was the answer to so many requests at once, each on a connection of its own.
fn burst(gateway: &Gateway, count: usize, value: &str) -> BTreeMap<u16, usize> {
    let request = format!("GET /dav HTTP/1.1\r\nhost: app.test\r\nauthorization: {value}\r\n\r\n");
    let mut connections: Vec<_> = (0..count).map(|_| gateway.connect()).collect();
    for connection in &mut connections {
        connection.write(request.as_bytes());
    }
    let mut statuses = BTreeMap::new();
    for mut connection in connections {
        *statuses.entry(connection.reply(false).status).or_default() += 1;
    }
    statuses
}

#[test]
fn a_burst_of_one_user_costs_one_hash_and_one_with_a_wrong_password_no_more_than_may_fail() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "admin: {{ listen: \"127.0.0.1:0\" }}\ntrusted_proxies: [127.0.0.1]\nlimits: {{ login: {{ per_account: 4/10m, per_ip: 50/10m }} }}\n\
         upstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app, credentials: [basic] }}]\n",
        upstream.address
    ));
    gateway.add_user("alice", &[]);
    let before = hashes(&gateway);
    let right = basic("alice", PASSWORD);
    assert_eq!(burst(&gateway, 2000, &right), BTreeMap::from([(200, 2000)]));
    assert_eq!(burst(&gateway, 200, &right), BTreeMap::from([(200, 200)]));
    assert_eq!(hashes(&gateway) - before, 1.0, "of 2,200 requests");

    let statuses = burst(&gateway, 1000, &basic("alice", "a wrong one"));
    assert!(statuses.keys().all(|status| [401, 429].contains(status)), "{statuses:?}");
    assert!((2.0..=5.0).contains(&(hashes(&gateway) - before)), "{}", hashes(&gateway) - before);
    // One after the other, as a program does that nobody looks after.
    for _ in 0..20 {
        gateway.get("/dav", &[("authorization", &basic("alice", "a wrong one"))]);
    }
    assert_eq!(gateway.get("/dav", &[("authorization", &basic("alice", "a wrong one"))]).status, 429);
    assert_eq!(hashes(&gateway) - before, 5.0, "one, and as many as may fail");
}

#[test]
fn who_asks_after_an_account_was_disabled_is_not_let_in_by_a_check_of_before() {
    let upstream = Upstream::start();
    // A hash that takes longer than it takes to disable the account.
    let gateway = Gateway::start(&format!(
        "password: {{ min_score: 0, argon2: {{ memory: 128MiB, iterations: 2 }} }}\n\
         upstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app, credentials: [basic] }}]\n",
        upstream.address
    ));
    gateway.add_user("alice", &[]);
    let request =
        format!("GET / HTTP/1.1\r\nhost: app.test\r\nauthorization: {}\r\n\r\n", basic("alice", PASSWORD));
    let mut before = gateway.connect();
    before.write(request.as_bytes());
    assert!(gateway.command(&["user", "disable", "alice"], "").status.success());
    let mut after = gateway.connect();
    after.write(request.as_bytes());
    assert_eq!(after.reply(false).status, 401);
    before.reply(false);
}

#[test]
fn a_password_that_comes_with_every_request_is_always_fresh() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let right = basic("alice", PASSWORD);
    assert_eq!(gateway.get("/fresh", &[("authorization", &right)]).status, 200);
    let began = Instant::now();
    wait_until(|| began.elapsed() > Duration::from_millis(1200), || "time stands still".to_owned());
    assert_eq!(gateway.get("/fresh", &[("authorization", &right)]).status, 200);
}
