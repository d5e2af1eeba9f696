//! Whoever has been answered that something ended is not let in by it afterwards, whatever fills the caches meanwhile:
//! every credential, ended in every way, while others use it as fast as they can.

use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::harness::{Gateway, PASSWORD, Upstream};

const JSON: (&str, &str) = ("content-type", "application/json");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const ASKERS: usize = 4;

/// How often each asker asks on once the end was answered.
const AFTERWARDS: usize = 10;

fn gateway(upstream: &Upstream) -> Gateway {
    let gateway = Gateway::start(&format!(
        "public_url: http://app.test\npassword: {{ min_score: 0, argon2: {{ memory: 7MiB, iterations: 1 }} }}\n\
         limits: {{ login: {{ per_account: 100000/1m, per_ip: 100000/1m }} }}\n\
         upstreams: {{ app: \"http://{}\" }}\nroutes:\n\
         - {{ path: /**, upstream: app, credentials: [session, bearer, basic], require: {{ roles: [staff] }} }}\n",
        upstream.address
    ));
    gateway.add_user("alice", &["staff"]);
    gateway
}

fn command(gateway: &Gateway, arguments: &[&str], input: &str) -> String {
    let output = gateway.command(arguments, input);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// A credential in the field that it is shown in.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Session,
    Bearer,
    Personal,
    Basic,
}

impl Kind {
    fn of_alice(self, gateway: &Gateway) -> (&'static str, String) {
        match self {
            Self::Session => ("cookie", gateway.sign_in("alice")),
            Self::Bearer => ("authorization", format!("Bearer {}", gateway.token("alice"))),
            Self::Personal => {
                let token = command(gateway, &["token", "create", "alice", "--name", "race"], "");
                ("authorization", format!("Bearer {token}"))
            }
            Self::Basic => {
                ("authorization", format!("Basic {}", STANDARD.encode(format!("alice:{PASSWORD}"))))
            }
        }
    }

    /// Ends this one alone, as its owner does.
    fn end(self, gateway: &Gateway, (field, value): (&str, &str)) {
        match self {
            Self::Session => {
                let reply = gateway.request("POST", "/.auth/logout", &[JSON, (field, value)], b"{}");
                assert!(reply.status < 400, "{reply:?}");
            }
            Self::Bearer | Self::Personal => {
                let body = format!("token={}", value.trim_start_matches("Bearer "));
                let reply = gateway.request("POST", "/.auth/token/revoke", &[FORM], body.as_bytes());
                assert_eq!(reply.status, 200, "{reply:?}");
            }
            Self::Basic => {
                command(gateway, &["user", "set", "alice", "--password-stdin"], "another good password");
            }
        }
    }
}

/// Asks as fast as it goes while `end` is at work, and a while longer. What began after the answer has `refused`.
fn race(ask: impl Fn() -> u16 + Sync, end: impl FnOnce(), refused: &[u16], what: &str) {
    assert_eq!(ask(), 200, "{what}: before");
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..ASKERS {
            scope.spawn(|| {
                let mut afterwards = 0;
                while afterwards < AFTERWARDS {
                    let was_ended = ended.load(Ordering::SeqCst);
                    let status = ask();
                    assert!(!was_ended || refused.contains(&status), "{what}: {status} after the end");
                    afterwards += usize::from(was_ended);
                }
            });
        }
        end();
        ended.store(true, Ordering::SeqCst);
    });
}

fn race_of(kind: Kind) {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    for round in 0..3 {
        let (field, value) = kind.of_alice(&gateway);
        let ask = || gateway.get("/", &[(field, value.as_str())]).status;
        let what = |how: &str| format!("{kind:?}, {how}, round {round}");
        let set_role = |role: &str| drop(command(&gateway, &["user", "set", "alice", "--role", role], ""));
        race(ask, || set_role("guest"), &[403], &what("role"));
        set_role("staff");
        assert_eq!(ask(), 200, "{kind:?}: the role is back");
        race(ask, || kind.end(&gateway, (field, &value)), &[401], &what("ended"));
        command(&gateway, &["user", "set", "alice", "--password-stdin"], PASSWORD);
        let (field, value) = kind.of_alice(&gateway);
        let ask = || gateway.get("/", &[(field, value.as_str())]).status;
        let disable = || drop(command(&gateway, &["user", "disable", "alice"], ""));
        race(ask, disable, &[401], &what("disabled"));
        command(&gateway, &["user", "enable", "alice"], "");
    }
}

#[test]
fn a_session_that_ended_while_it_was_being_used() {
    race_of(Kind::Session);
}

#[test]
fn an_access_token_that_ended_while_it_was_being_used() {
    race_of(Kind::Bearer);
}

#[test]
fn a_personal_token_that_ended_while_it_was_being_used() {
    race_of(Kind::Personal);
}

#[test]
fn a_password_that_ended_while_it_was_being_used() {
    race_of(Kind::Basic);
}

#[test]
fn a_refresh_token_that_ended_while_it_was_being_used() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    for round in 0..6 {
        let body = json!({ "username": "alice", "password": PASSWORD }).to_string();
        let granted = gateway.request("POST", "/.auth/token", &[JSON], body.as_bytes()).json();
        let first = granted["refresh_token"].as_str().unwrap_or_else(|| panic!("{granted}")).to_owned();
        // The same one again and again: within the grace that is no reuse. What it gives is let in or not, and never
        // after the end.
        let ask = || {
            let body = json!({ "grant_type": "refresh_token", "refresh_token": first }).to_string();
            let reply = gateway.request("POST", "/.auth/token", &[JSON], body.as_bytes());
            let granted = reply.json();
            match granted["access_token"].as_str() {
                Some(token) => gateway.get("/", &[("authorization", &format!("Bearer {token}"))]).status,
                None => reply.status,
            }
        };
        let end = || match round % 3 {
            0 => {
                let body = format!("token={first}");
                let reply = gateway.request("POST", "/.auth/token/revoke", &[FORM], body.as_bytes());
                assert_eq!(reply.status, 200, "{reply:?}");
            }
            1 => drop(command(&gateway, &["user", "disable", "alice"], "")),
            _ => drop(command(&gateway, &["user", "set", "alice", "--password-stdin"], PASSWORD)),
        };
        race(ask, end, &[400, 401], &format!("refresh, round {round}"));
        if round % 3 == 1 {
            command(&gateway, &["user", "enable", "alice"], "");
            assert_ne!(ask(), 200, "enabling revives no token");
        }
    }
}
