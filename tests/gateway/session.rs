//! How long a session lives, and what ends it from one request to the next.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::browser::{Browser, Form};
use crate::harness::{Connection, Gateway, PASSWORD, Upstream, wait_until};

fn with_session(upstream: &Upstream, session: &str) -> String {
    format!(
        "session: {session}\nupstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app }}]\n",
        upstream.address
    )
}

/// Waits until so much time has passed since then.
fn pass(since: Instant, time: Duration) {
    wait_until(|| since.elapsed() >= time, || "time stands still".to_owned());
}

#[test]
fn a_session_that_is_used_lives_on_and_one_that_is_not_ends() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&with_session(&upstream, "{ idle_timeout: 2s, lifetime: 1h }"));
    gateway.add_user("alice", &[]);
    let (used, idle) = (gateway.sign_in("alice"), gateway.sign_in("alice"));
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(3500) {
        let asked = Instant::now();
        assert_eq!(gateway.get("/", &[("cookie", &used)]).status, 200, "after {:?}", began.elapsed());
        pass(asked, Duration::from_millis(300));
    }
    let last = Instant::now();
    assert_eq!(gateway.get("/", &[("cookie", &idle)]).status, 401);
    pass(last, Duration::from_millis(2100));
    assert_eq!(gateway.get("/", &[("cookie", &used)]).status, 401);
}

#[test]
fn every_session_ends_when_its_lifetime_is_over() {
    let upstream = Upstream::start();
    let gateway =
        Gateway::start(&with_session(&upstream, "{ idle_timeout: 1h, lifetime: 2s, remember: 1h }"));
    gateway.add_user("alice", &[]);
    let began = Instant::now();
    let cookie = gateway.sign_in("alice");
    let body = serde_json::json!({ "username": "alice", "password": PASSWORD, "remember": true }).to_string();
    let reply =
        gateway.request("POST", "/.auth/login", &[("content-type", "application/json")], body.as_bytes());
    let remembered = reply.cookie("foregate").expect("a cookie");
    while began.elapsed() < Duration::from_millis(800) {
        assert_eq!(gateway.get("/", &[("cookie", &cookie)]).status, 200);
    }
    pass(began, Duration::from_millis(2500));
    assert_eq!(gateway.get("/", &[("cookie", &cookie)]).status, 401);
    assert_eq!(gateway.get("/", &[("cookie", &remembered)]).status, 200, "it has limits of its own");
}

#[test]
fn sessions_outlive_a_restart_and_their_ends_do_too() {
    let upstream = Upstream::start();
    // The public URL stands in tokens, and the port differs from start to start.
    let yaml = format!("public_url: http://app.test\n{}", with_session(&upstream, "{ idle_timeout: 1h }"));
    let mut gateway = Gateway::start(&yaml);
    gateway.add_user("alice", &[]);
    let (alive, ended) = (gateway.sign_in("alice"), gateway.sign_in("alice"));
    let token = format!("Bearer {}", gateway.token("alice"));
    let done = gateway.request(
        "POST",
        "/.auth/logout",
        &[("content-type", "application/json"), ("cookie", &ended)],
        b"{}",
    );
    assert_eq!(done.status, 204, "{done:?}");
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    let gateway = Gateway::start_in(gateway.kill(), &yaml);
    assert_eq!(gateway.get("/", &[("cookie", &alive)]).status, 200);
    assert_eq!(gateway.get("/", &[("cookie", &ended)]).status, 401);
    assert_eq!(gateway.get("/", &[("authorization", &token)]).status, 200, "the keys are kept");
    // A form that was open over the restart is good as well.
    let browser = Browser::new(&gateway);
    let form = Form::read(&browser.open("/.auth/login"));
    let cookies = browser.into_cookies();
    let gateway = Gateway::start_in(gateway.kill(), &yaml);
    let reply =
        Browser::on(cookies, &gateway).submit(&form.with("username", "alice").with("password", PASSWORD));
    assert_eq!(reply.status, 303, "{reply:?}");
}

/// Everything that somebody can show, on connections that stay open: several of them, so that the
/// caches of several threads know them.
struct Everywhere {
    connections: Vec<Connection>,
    credentials: Vec<(&'static str, String)>,
}

impl Everywhere {
    fn sign_in(gateway: &Gateway, name: &str) -> Self {
        let basic = STANDARD.encode(format!("{name}:{PASSWORD}"));
        let credentials = vec![
            ("cookie", gateway.sign_in(name)),
            ("authorization", format!("Bearer {}", gateway.token(name))),
            ("authorization", format!("Basic {basic}")),
        ];
        let connections = (0..8).map(|_| gateway.connect()).collect();
        let mut everywhere = Self { connections, credentials };
        // Twice, so that it comes from a cache.
        for _ in 0..2 {
            everywhere.expect([200; 3], "before");
        }
        everywhere
    }

    /// What each credential gets on each connection.
    fn expect(&mut self, statuses: [u16; 3], when: &str) {
        for connection in &mut self.connections {
            for ((name, value), expected) in self.credentials.iter().zip(statuses) {
                connection
                    .write(format!("GET / HTTP/1.1\r\nhost: app.test\r\n{name}: {value}\r\n\r\n").as_bytes());
                let reply = connection.reply(false);
                assert_eq!(reply.status, expected, "{when}, {name} {:.6}: {reply:?}", value);
            }
        }
    }
}

#[test]
fn what_an_administrator_changes_holds_from_the_next_request_on() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(
        upstream.address,
        ", credentials: [session, bearer, basic], require: { roles: [staff] }",
    );
    let run = |arguments: &[&str], input: &str| {
        let output = gateway.command(arguments, input);
        assert!(output.status.success(), "{output:?}");
    };
    for name in ["alice", "bob", "carol", "dave"] {
        gateway.add_user(name, &["staff"]);
    }
    let mut alice = Everywhere::sign_in(&gateway, "alice");
    run(&["user", "set", "alice", "--role", "guest"], "");
    alice.expect([403; 3], "without the role");
    run(&["user", "set", "alice", "--role", "guest", "--role", "staff"], "");
    alice.expect([200; 3], "with the role again");
    assert!(upstream.last().contains("remote-groups: guest,staff\r\n"), "{}", upstream.last());

    let mut bob = Everywhere::sign_in(&gateway, "bob");
    run(&["user", "disable", "bob"], "");
    bob.expect([401; 3], "disabled");
    run(&["user", "enable", "bob"], "");
    // What was given out is void for good; the password is good again.
    bob.expect([401, 401, 200], "enabled again");
    Everywhere::sign_in(&gateway, "bob").expect([200; 3], "signed in anew");

    let mut carol = Everywhere::sign_in(&gateway, "carol");
    run(&["user", "set", "carol", "--password-stdin"], "another horse battery");
    carol.expect([401; 3], "with another password");

    let mut dave = Everywhere::sign_in(&gateway, "dave");
    run(&["user", "delete", "dave", "--yes"], "");
    dave.expect([401; 3], "deleted");
    // Somebody else under the same name is somebody else.
    gateway.add_user("dave", &["staff"]);
    dave.expect([401, 401, 200], "made anew");
    alice.expect([200; 3], "nobody else is touched");
}

#[test]
fn no_login_with_the_old_password_outlives_a_new_one() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(upstream.address, "");
    gateway.add_user("alice", &[]);
    let over = AtomicBool::new(false);
    let (mut cookies, mut tokens) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        let signing_in: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let (mut cookies, mut tokens) = (Vec::new(), Vec::new());
                    while !over.load(Ordering::Relaxed) {
                        cookies.extend(gateway.sign_in_with("alice", PASSWORD).cookie("foregate"));
                        let body =
                            serde_json::json!({ "username": "alice", "password": PASSWORD }).to_string();
                        let json = ("content-type", "application/json");
                        let reply = gateway.request("POST", "/.auth/token", &[json], body.as_bytes());
                        if reply.status == 200 {
                            tokens.push(format!(
                                "Bearer {}",
                                reply.json()["access_token"].as_str().expect("a token")
                            ));
                        }
                    }
                    (cookies, tokens)
                })
            })
            .collect();
        wait_until(|| gateway.log().matches("/.auth/token").count() > 2, || gateway.log());
        let output = gateway.command(&["user", "set", "alice", "--password-stdin"], "another horse battery");
        assert!(output.status.success(), "{output:?}");
        over.store(true, Ordering::Relaxed);
        for thread in signing_in {
            let (some_cookies, some_tokens) = thread.join().expect("no panic");
            cookies.extend(some_cookies);
            tokens.extend(some_tokens);
        }
    });
    assert!(!cookies.is_empty() && !tokens.is_empty(), "the race was run");
    for cookie in cookies {
        assert_eq!(gateway.get("/", &[("cookie", &cookie)]).status, 401);
    }
    for token in tokens {
        assert_eq!(gateway.get("/", &[("authorization", &token)]).status, 401);
    }
    assert_eq!(upstream.count(), 0);
    // And the new one holds at once.
    assert_eq!(gateway.sign_in_with("alice", "another horse battery").status, 200);
}

#[test]
fn a_remembered_login_is_fresh_as_long_as_any_other_and_stays_remembered_when_it_is_confirmed() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "session: {{ idle_timeout: 1s, lifetime: 2s, remember: 30d }}\nupstreams: {{ app: \"http://{0}\" }}\nroutes:\n\
         \x20 - {{ path: /vault, upstream: app, require: {{ fresh_login: 3s }} }}\n\
         \x20 - {{ path: /**, upstream: app }}\n",
        upstream.address
    ));
    gateway.add_user("alice", &[]);
    let browser = Browser::new(&gateway);
    let page = browser.open("/.auth/login");
    let form = Form::read(&page).with("username", "alice").with("password", PASSWORD).with("remember", "1");
    assert_eq!(browser.submit(&form).status, 303);
    let began = Instant::now();
    // The browser shows the same cookie after it was closed: nothing else tells the two apart.
    assert_eq!(browser.open("/vault").status, 200, "the password was typed just now");
    pass(began, Duration::from_millis(3200));
    assert_eq!(browser.open("/").status, 200, "neither limit of an ordinary session ends it");
    let stale = browser.open("/vault");
    assert_eq!(
        (stale.status, stale.header("location")),
        (303, Some("/.auth/login?next=/vault&prompt=login"))
    );
    assert_eq!(gateway.get("/vault", &[("cookie", &browser.cookies())]).status, 401);

    let page = browser.open("/.auth/login?next=/vault&prompt=login");
    let form = Form::read(&page);
    assert_eq!((form.value("username"), form.value("remember")), (Some("alice"), Some("1")));
    let confirmed = browser.submit(&form.with("password", PASSWORD));
    assert_eq!((confirmed.status, confirmed.header("location")), (303, Some("/vault")));
    let cookie = confirmed.all("set-cookie").join("\n");
    assert!(cookie.contains("Max-Age=2592000"), "{cookie}");
    assert_eq!(browser.open("/vault").status, 200);
    // So does a change of the password, by whoever is remembered.
    let form = Form::to(&browser.open("/.auth/account"), "/.auth/account/password");
    let form = form.with("current_password", PASSWORD).with("password", "another horse battery");
    let changed = browser.submit(&form.with("password_again", "another horse battery"));
    assert!(changed.all("set-cookie").join("\n").contains("Max-Age=2592000"), "{changed:?}");
    assert_eq!(browser.open("/vault").status, 200, "who has just typed the password is fresh");
}

#[test]
fn many_people_at_once_are_never_taken_for_one_another() {
    let upstream = Upstream::answering(|request| {
        let user = request.lines().find_map(|line| line.strip_prefix("remote-user: ")).unwrap_or("nobody");
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{user}", user.len()).into_bytes()
    });
    let gateway = Gateway::in_front_of(upstream.address, "");
    let names: Vec<String> = (0..12).map(|number| format!("user{number}")).collect();
    for name in &names {
        gateway.add_user(name, &[]);
    }
    std::thread::scope(|scope| {
        for name in &names {
            let gateway = &gateway;
            scope.spawn(move || {
                // All sign in at once, too.
                let (cookie, token) = (gateway.sign_in(name), gateway.token(name));
                let mut connection = gateway.connect();
                for round in 0..40 {
                    let credential = match round % 2 {
                        0 => format!("cookie: {cookie}"),
                        _ => format!("authorization: Bearer {token}"),
                    };
                    connection.write(
                        format!("GET /{round} HTTP/1.1\r\nhost: app.test\r\n{credential}\r\n\r\n").as_bytes(),
                    );
                    let reply = connection.reply(false);
                    assert_eq!((reply.status, reply.text()), (200, name.clone()), "{reply:?}");
                }
            });
        }
    });
}
