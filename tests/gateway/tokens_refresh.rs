//! Refresh tokens: how they follow from one another, what races do, and what ends them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Gateway, PASSWORD, Reply, Upstream, wait_until};

const JSON: (&str, &str) = ("content-type", "application/json");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

fn gateway(upstream: &Upstream, tokens: &str) -> Gateway {
    let gateway = Gateway::start(&format!(
        "public_url: http://app.test\ntokens: {tokens}\n\
         upstreams: {{ app: \"http://{}\" }}\nroutes:\n\
         - {{ path: /fresh/**, upstream: app, require: {{ fresh_login: 2s }} }}\n\
         - {{ path: /**, upstream: app }}\n",
        upstream.address
    ));
    gateway.add_user("alice", &["staff"]);
    gateway
}

/// The tokens of a new login.
fn log_in(gateway: &Gateway, name: &str) -> (String, String) {
    let body = json!({ "username": name, "password": PASSWORD }).to_string();
    let reply = gateway.request("POST", "/.auth/token", &[JSON], body.as_bytes());
    assert_eq!(reply.status, 200, "{reply:?}");
    both(&reply.json())
}

fn both(granted: &Value) -> (String, String) {
    let text = |name: &str| granted[name].as_str().unwrap_or_else(|| panic!("{granted}")).to_owned();
    (text("access_token"), text("refresh_token"))
}

fn refresh(gateway: &Gateway, token: &str) -> Reply {
    let body = json!({ "grant_type": "refresh_token", "refresh_token": token }).to_string();
    gateway.request("POST", "/.auth/token", &[JSON], body.as_bytes())
}

fn show(gateway: &Gateway, token: &str) -> u16 {
    gateway.get("/", &[("authorization", &format!("Bearer {token}"))]).status
}

#[track_caller]
fn refused(reply: &Reply) {
    assert_eq!((reply.status, reply.json()["error"].as_str()), (400, Some("invalid_grant")), "{reply:?}");
    assert_eq!(reply.header("cache-control"), Some("no-store"), "{reply:?}");
}

#[test]
fn a_refresh_token_gives_an_access_token_and_its_own_successor() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "{ access_ttl: 5m, refresh_grace: 0 }");
    let (_, first) = log_in(&gateway, "alice");
    assert!(first.starts_with("fgr_") && first.len() == 68, "{first}");
    let reply = refresh(&gateway, &first);
    assert_eq!((reply.status, reply.header("cache-control")), (200, Some("no-store")), "{reply:?}");
    assert_eq!((&reply.json()["token_type"], &reply.json()["expires_in"]), (&json!("Bearer"), &json!(300)));
    let (access, second) = both(&reply.json());
    assert_eq!(show(&gateway, &access), 200);
    assert_ne!(first, second);
    // By a form as well.
    let body = format!("grant_type=refresh_token&refresh_token={second}");
    let reply = gateway.request("POST", "/.auth/token", &[FORM], body.as_bytes());
    assert_eq!(reply.status, 200, "{reply:?}");
    let (access, third) = both(&reply.json());
    assert_eq!(show(&gateway, &access), 200);
    // It is no access token, and an access token is none.
    assert_eq!(show(&gateway, &third), 401);
    refused(&refresh(&gateway, &access));
    for bad in ["fgr_", "fgr_AAAA", &third[..67], &format!("{third}="), "x"] {
        refused(&refresh(&gateway, bad));
    }
    assert_eq!(refresh(&gateway, &third).status, 200, "what is no token harms none");
    for secret in [&first, &second, &third] {
        assert!(!gateway.log().contains(secret.as_str()), "a token is in the log");
    }
}

#[test]
fn a_token_that_is_used_a_second_time_ends_its_family_and_nobody_elses() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "{ refresh_grace: 0 }");
    gateway.add_user("bob", &[]);
    let (other_access, other) = log_in(&gateway, "alice");
    let (_, of_bob) = log_in(&gateway, "bob");
    let (first_access, first) = log_in(&gateway, "alice");
    let (access, second) = both(&refresh(&gateway, &first).json());
    assert_eq!((show(&gateway, &first_access), show(&gateway, &access)), (200, 200));
    refused(&refresh(&gateway, &first));
    refused(&refresh(&gateway, &second));
    assert_eq!((show(&gateway, &first_access), show(&gateway, &access)), (401, 401), "nor what came of it");
    gateway.wait_for_log("a refresh token was shown a second time");
    let line = gateway.log().lines().find(|line| line.contains("second time")).map(str::to_owned);
    let line: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
    assert_eq!(line["level"].as_str().map(str::to_lowercase).as_deref(), Some("warn"), "{line}");
    assert_eq!(show(&gateway, &other_access), 200);
    assert_eq!(refresh(&gateway, &other).status, 200);
    assert_eq!(refresh(&gateway, &of_bob).status, 200);
}

#[test]
fn many_refreshes_of_one_token_at_once_give_one_family_and_nobody_is_signed_out() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "{}");
    let (_, mut token) = log_in(&gateway, "alice");
    for _ in 0..2 {
        let replies: Vec<Reply> = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..50).map(|_| scope.spawn(|| refresh(&gateway, &token))).collect();
            racers.into_iter().map(|racer| racer.join().expect("no panic")).collect()
        });
        let mut successors = Vec::new();
        for reply in &replies {
            assert_eq!(reply.status, 200, "{reply:?}");
            let (access, next) = both(&reply.json());
            assert_eq!(show(&gateway, &access), 200);
            successors.push(next);
        }
        successors.dedup();
        assert_eq!(successors.len(), 1, "all of them hold the one token that is good");
        token = successors.remove(0);
    }
    assert_eq!(refresh(&gateway, &token).status, 200);
}

/// Whoever stole the first has it told the second at most, and the second was used: one of the two has a copy.
#[test]
fn within_the_grace_a_token_whose_successor_was_used_ends_the_family_nevertheless() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "{ refresh_grace: 5m }");
    let (_, first) = log_in(&gateway, "alice");
    let (_, second) = both(&refresh(&gateway, &first).json());
    assert_eq!(both(&refresh(&gateway, &first).json()).1, second, "a client that races itself");
    let (access, third) = both(&refresh(&gateway, &second).json());
    assert_eq!(show(&gateway, &access), 200);
    refused(&refresh(&gateway, &first));
    refused(&refresh(&gateway, &second));
    refused(&refresh(&gateway, &third));
    assert_eq!(show(&gateway, &access), 401, "and what came of it");
}

#[test]
fn after_the_grace_an_old_token_ends_the_family() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "{ refresh_grace: 300ms }");
    let (_, first) = log_in(&gateway, "alice");
    let (_, second) = both(&refresh(&gateway, &first).json());
    let (_, again) = both(&refresh(&gateway, &first).json());
    assert_eq!(second, again, "within it, the same is told again");
    std::thread::sleep(Duration::from_millis(400));
    refused(&refresh(&gateway, &first));
    refused(&refresh(&gateway, &second));
}

#[test]
fn a_refresh_is_no_login() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "{}");
    let bearer = |token: &str| gateway.get("/fresh/x", &[("authorization", &format!("Bearer {token}"))]);
    let (access, token) = log_in(&gateway, "alice");
    assert_eq!(bearer(&access).status, 200);
    wait_until(|| bearer(&access).status == 401, || "it stays fresh".to_owned());
    let stale = r#"Bearer realm="foregate", error="insufficient_user_authentication", max_age="2""#;
    assert_eq!(bearer(&access).all("www-authenticate"), [stale]);
    let (refreshed, _) = both(&refresh(&gateway, &token).json());
    let reply = bearer(&refreshed);
    assert_eq!((reply.status, reply.all("www-authenticate")), (401, vec![stale]), "{reply:?}");
    assert_eq!(show(&gateway, &refreshed), 200);
    assert_eq!(bearer(&log_in(&gateway, "alice").0).status, 200);
}

#[test]
fn what_ends_an_account_or_its_password_ends_its_refresh_tokens() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "{}");
    let ends: [&[&[&str]]; 3] = [
        &[&["user", "set", "NAME", "--password-stdin"]],
        &[&["user", "disable", "NAME"], &["user", "enable", "NAME"]],
        &[&["user", "delete", "NAME"]],
    ];
    for (number, commands) in ends.iter().enumerate() {
        let name = format!("user{number}");
        gateway.add_user(&name, &[]);
        let (access, token) = log_in(&gateway, &name);
        let (_, token) = both(&refresh(&gateway, &token).json());
        for command in *commands {
            let command: Vec<&str> =
                command.iter().map(|part| part.replace("NAME", &name).leak() as &str).collect();
            let output = gateway.command(&command, PASSWORD);
            assert!(output.status.success(), "{output:?}");
        }
        refused(&refresh(&gateway, &token));
        assert_eq!(show(&gateway, &access), 401, "{commands:?}");
    }
    // A changed role holds with the next request, and the login goes on.
    let (access, token) = log_in(&gateway, "alice");
    let output = gateway.command(&["user", "set", "alice", "--role", "boss"], "");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(show(&gateway, &access), 200);
    assert!(upstream.last().contains("remote-groups: boss\r\n"), "{}", upstream.last());
    assert_eq!(refresh(&gateway, &token).status, 200);
}

#[test]
fn a_login_can_not_be_refreshed_for_ever() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "{ refresh_ttl: 2s }");
    let (access, mut token) = log_in(&gateway, "alice");
    let mut refreshed = 0;
    let last = loop {
        let reply = refresh(&gateway, &token);
        if reply.status != 200 {
            break reply;
        }
        token = both(&reply.json()).1;
        refreshed += 1;
        std::thread::sleep(Duration::from_millis(200));
    };
    refused(&last);
    assert!(refreshed > 1, "{refreshed}");
    assert_eq!(show(&gateway, &access), 200, "an access token has its own time");
}

#[test]
fn with_a_refresh_ttl_of_0_there_are_none() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "{ refresh_ttl: 0 }");
    let body = json!({ "username": "alice", "password": PASSWORD }).to_string();
    let granted = gateway.request("POST", "/.auth/token", &[JSON], body.as_bytes()).json();
    assert!(granted.get("refresh_token").is_none(), "{granted}");
    assert_eq!(show(&gateway, granted["access_token"].as_str().expect("a token")), 200);
}

#[test]
fn a_refresh_that_was_answered_survives_a_kill() {
    let upstream = Upstream::start();
    let yaml = format!(
        "public_url: http://app.test\ntokens: {{ refresh_grace: 0 }}\n\
         upstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app }}]\n",
        upstream.address
    );
    let gateway = Gateway::start(&yaml);
    gateway.add_user("alice", &[]);
    let (_, first) = log_in(&gateway, "alice");
    let (access, second) = both(&refresh(&gateway, &first).json());
    let gateway = Gateway::start_in(gateway.kill(), &yaml);
    assert_eq!(show(&gateway, &access), 200);
    let reply = refresh(&gateway, &second);
    assert_eq!(reply.status, 200, "{reply:?}");
    refused(&refresh(&gateway, &first));
}
