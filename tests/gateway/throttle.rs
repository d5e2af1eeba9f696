//! Guessing is slowed down: for one source at one account, under every spelling and at every door.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::browser::{Browser, Form};
use crate::harness::{Gateway, PASSWORD, Reply, Upstream};

const HERE: &str = "192.0.2.1";
const ELSEWHERE: &str = "198.51.100.7";
const DOORS: [&str; 4] = ["form", "json", "token", "basic"];

fn gateway(upstream: &Upstream) -> Gateway {
    let gateway = Gateway::start(&format!(
        "trusted_proxies: [127.0.0.1]\nlimits: {{ login: {{ per_account: 4/10m, per_ip: 50/10m }} }}\n\
         upstreams: {{ app: \"http://{}\" }}\nroutes:\n\
         \x20 - {{ path: /**, upstream: app, credentials: [session, bearer, basic] }}\n",
        upstream.address
    ));
    for name in ["alice", "bob"] {
        gateway.add_user(name, &[]);
    }
    gateway
}

/// One try at one door.
fn knock(gateway: &Gateway, door: &str, from: &str, login: &str, password: &str) -> Reply {
    let from = ("x-forwarded-for", from);
    let json = ("content-type", "application/json");
    let body = serde_json::json!({ "username": login, "password": password }).to_string();
    match door {
        "form" => {
            let browser = Browser::new(gateway);
            let form = Form::read(&browser.send("GET", "/.auth/login", &[from], b""));
            browser.submit_with(&form.with("username", login).with("password", password), &[from])
        }
        "json" => gateway.request("POST", "/.auth/login", &[json, from], body.as_bytes()),
        "token" => gateway.request("POST", "/.auth/token", &[json, from], body.as_bytes()),
        _ => {
            let value = format!("Basic {}", STANDARD.encode(format!("{login}:{password}")));
            gateway.get("/", &[("authorization", &value), from])
        }
    }
}

fn assert_braked(reply: &Reply, what: &str) {
    assert_eq!(reply.status, 429, "{what}: {reply:?}");
    let wait: u64 = reply.header("retry-after").and_then(|wait| wait.parse().ok()).unwrap_or_default();
    assert!((1..=600).contains(&wait), "{what}: {reply:?}");
    assert!(
        reply.header("set-cookie").is_none_or(|cookie| cookie.starts_with("foregate-csrf=")),
        "{reply:?}"
    );
}

#[test]
fn failures_at_any_door_brake_every_door_and_every_spelling() {
    let upstream = Upstream::start();
    for (door, spelling) in
        [("form", "alice"), ("json", "ALICE"), ("token", "alice@example.com"), ("basic", "Alice")]
    {
        let gateway = gateway(&upstream);
        // A pair that is in the cache of Basic is braked as well.
        assert_eq!(knock(&gateway, "basic", HERE, "alice", PASSWORD).status, 200);
        let count = upstream.count();
        let cookie = gateway.sign_in("alice");
        for failure in 0..4 {
            assert_eq!(knock(&gateway, door, HERE, spelling, "wrong").status, 401, "{door} {failure}");
        }
        for other in DOORS {
            for spelling in ["alice", " aLiCe ", "ALICE@example.com"] {
                let reply = knock(&gateway, other, HERE, spelling, PASSWORD);
                assert_braked(&reply, &format!("failed at {door}, then {other} as {spelling:?}"));
            }
        }
        assert_eq!(upstream.count(), count, "{door}");
        // Nobody is locked out: not from elsewhere, not who is signed in, not another account.
        for other in DOORS {
            let reply = knock(&gateway, other, ELSEWHERE, "alice", PASSWORD);
            assert!(matches!(reply.status, 200 | 303), "{other}: {reply:?}");
            let reply = knock(&gateway, other, HERE, "bob", PASSWORD);
            assert!(matches!(reply.status, 200 | 303), "{other}: {reply:?}");
        }
        let reply = gateway.get("/", &[("cookie", &cookie), ("x-forwarded-for", HERE)]);
        assert_eq!(reply.status, 200, "{reply:?}");
    }
}

#[test]
fn a_name_that_nobody_has_is_braked_alike() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let mut told = Vec::new();
    for name in ["alice", "nobody"] {
        let mut replies = Vec::new();
        for number in 0..7 {
            let spelling = if number % 2 == 0 { name.to_owned() } else { name.to_uppercase() };
            let reply = knock(&gateway, "json", HERE, &spelling, "wrong");
            let id = reply.header("x-request-id").expect("an id").to_owned();
            replies.push((
                reply.status,
                reply.text().replace(&id, "ID"),
                reply.header("retry-after").map(str::to_owned),
            ));
        }
        told.push(replies);
    }
    assert_eq!(told[0].iter().map(|reply| reply.0).collect::<Vec<_>>(), [401, 401, 401, 401, 429, 429, 429]);
    assert_eq!(told[0], told[1]);
}

#[test]
fn a_success_clears_the_pair() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    for _ in 0..3 {
        for _ in 0..3 {
            assert_eq!(knock(&gateway, "json", HERE, "alice", "wrong").status, 401);
        }
        assert_eq!(knock(&gateway, "form", HERE, "alice", PASSWORD).status, 303);
    }
}

#[test]
fn a_source_that_tries_many_names_is_braked_as_a_whole() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    // Of one /64, which is one customer's.
    for number in 0..50 {
        let from = format!("2001:db8::{number:x}");
        assert_eq!(
            knock(&gateway, "token", &from, &format!("name{number}"), "wrong").status,
            401,
            "{number}"
        );
    }
    for door in DOORS {
        assert_braked(&knock(&gateway, door, "2001:db8::ffff", "alice", PASSWORD), door);
    }
    assert_eq!(knock(&gateway, "json", "2001:db8:0:1::1", "alice", PASSWORD).status, 200);
}

#[test]
fn right_passwords_that_come_at_once_are_all_let_in() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    std::thread::scope(|scope| {
        for number in 0..24 {
            let gateway = &gateway;
            scope.spawn(move || {
                let door = ["json", "token"][number % 2];
                let reply = knock(gateway, door, HERE, "alice", PASSWORD);
                assert_eq!(reply.status, 200, "{reply:?}");
            });
        }
    });
}

#[test]
fn a_restart_forgets_no_failure_whether_it_was_clean_or_not() {
    let upstream = Upstream::start();
    let mut gateway = gateway(&upstream);
    for (round, signal) in ["TERM", "KILL"].into_iter().enumerate() {
        let from = format!("192.0.2.{}", 10 + round);
        // Elsewhere, an unknown name: braked alike.
        for (from, login) in [(&*from, "alice"), (ELSEWHERE, "nobody")] {
            while knock(&gateway, "json", from, login, "wrong").status == 401 {}
            assert_braked(&knock(&gateway, "json", from, login, PASSWORD), login);
        }
        // A count is written within a second.
        std::thread::sleep(Duration::from_millis(1500));
        gateway.signal(signal);
        gateway.wait();
        let yaml = std::fs::read_to_string(&gateway.config).expect("the configuration");
        gateway = Gateway::start_in(gateway.kill(), &yaml);
        for (from, login) in [(&*from, "ALICE"), (ELSEWHERE, "nobody")] {
            assert_braked(&knock(&gateway, "token", from, login, PASSWORD), login);
        }
        assert_eq!(knock(&gateway, "json", "203.0.113.9", "alice", PASSWORD).status, 200, "others sign in");
    }
}

#[test]
fn an_administrator_unlocks_an_account_for_all_sources() {
    let upstream = Upstream::start();
    let mut gateway = gateway(&upstream);
    let brake = |gateway: &Gateway| {
        for from in [HERE, ELSEWHERE] {
            while knock(gateway, "json", from, "alice", "wrong").status == 401 {}
            assert_braked(&knock(gateway, "json", from, "alice", PASSWORD), from);
        }
        while knock(gateway, "json", HERE, "bob", "wrong").status == 401 {}
    };
    brake(&gateway);
    let output = gateway.command(&["user", "unlock", "Alice"], "");
    assert!(output.status.success(), "{output:?}");
    for from in [HERE, ELSEWHERE] {
        assert_eq!(knock(&gateway, "json", from, "alice", PASSWORD).status, 200);
    }
    assert_braked(&knock(&gateway, "json", HERE, "bob", PASSWORD), "somebody else's account");
    // The same on the store itself, with no server.
    brake(&gateway);
    gateway.signal("TERM");
    gateway.wait();
    let output = gateway.command(&["user", "unlock", "alice"], "");
    assert!(output.status.success(), "{output:?}");
    let yaml = std::fs::read_to_string(&gateway.config).expect("the configuration");
    let gateway = Gateway::start_in(gateway.kill(), &yaml);
    assert_eq!(knock(&gateway, "json", HERE, "alice", PASSWORD).status, 200);
    assert_braked(&knock(&gateway, "json", HERE, "bob", PASSWORD), "somebody else's account");
    let output = gateway.command(&["user", "unlock", "alise"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("alice"), "{output:?}");
}

#[test]
fn more_logins_than_can_be_checked_are_told_so_and_nobody_else_waits() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "trusted_proxies: [127.0.0.1]\nlimits: {{ login: {{ per_account: 1000/1m, per_ip: 1000/1m }} }}\n\
         password: {{ min_score: 0, argon2: {{ memory: 64MiB, iterations: 3 }}, workers: 1 }}\n\
         upstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app }}]\n",
        upstream.address
    ));
    gateway.add_user("alice", &[]);
    let cookie = gateway.sign_in("alice");
    std::thread::scope(|scope| {
        let logins: Vec<_> = (0..120)
            .map(|number| {
                let gateway = &gateway;
                // One source alone has no more than a few under way.
                let from = format!("192.0.2.{number}");
                scope.spawn(move || knock(gateway, "json", &from, &format!("name{number}"), "wrong"))
            })
            .collect();
        let mut times = Vec::new();
        while !logins.iter().all(|login| login.is_finished()) {
            let began = Instant::now();
            assert_eq!(gateway.get("/", &[("cookie", &cookie)]).status, 200);
            times.push(began.elapsed());
        }
        times.sort();
        let median = times[times.len() / 2];
        assert!(median < Duration::from_millis(500), "{median:?} of {}", times.len());
        let replies: Vec<_> = logins.into_iter().map(|login| login.join().expect("no panic")).collect();
        assert!(replies.iter().all(|reply| matches!(reply.status, 401 | 503)), "{replies:?}");
        let busy: Vec<_> = replies.iter().filter(|reply| reply.status == 503).collect();
        assert!(busy.len() >= 40, "the queue has an end: {}", busy.len());
        for reply in busy {
            assert!(reply.header("retry-after").is_some(), "{reply:?}");
            assert_eq!(reply.json()["code"], "unavailable");
        }
    });
}

#[test]
fn wrong_passwords_that_come_at_once_are_no_way_round() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let statuses = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..24)
            .map(|number| {
                let gateway = &gateway;
                scope.spawn(move || knock(gateway, "json", HERE, "alice", &format!("wrong {number}")).status)
            })
            .collect();
        tries.into_iter().map(|one| one.join().expect("no panic")).collect::<Vec<_>>()
    });
    let checked = statuses.iter().filter(|&&status| status == 401).count();
    assert!(checked <= 4, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 401 | 429)), "{statuses:?}");
}
