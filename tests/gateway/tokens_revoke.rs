//! Revocation (RFC 7009): what is revoked, disabled or changed holds from the next request on.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::harness::{Gateway, PASSWORD, Reply, Upstream};

const JSON: (&str, &str) = ("content-type", "application/json");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

fn yaml(upstream: &Upstream) -> String {
    format!(
        "public_url: http://app.test\nupstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app }}]\n",
        upstream.address
    )
}

fn gateway(upstream: &Upstream) -> Gateway {
    let gateway = Gateway::start(&yaml(upstream));
    gateway.add_user("alice", &["staff"]);
    gateway
}

fn log_in(gateway: &Gateway) -> (String, String) {
    let body = json!({ "username": "alice", "password": PASSWORD }).to_string();
    let reply = gateway.request("POST", "/.auth/token", &[JSON], body.as_bytes());
    assert_eq!(reply.status, 200, "{reply:?}");
    both(&reply.json())
}

fn both(granted: &Value) -> (String, String) {
    let text = |name: &str| granted[name].as_str().unwrap_or_else(|| panic!("{granted}")).to_owned();
    (text("access_token"), text("refresh_token"))
}

fn refresh(gateway: &Gateway, token: &str) -> Reply {
    let body = format!("grant_type=refresh_token&refresh_token={token}");
    gateway.request("POST", "/.auth/token", &[FORM], body.as_bytes())
}

fn revoke(gateway: &Gateway, token: &str) -> Reply {
    gateway.request("POST", "/.auth/token/revoke", &[FORM], format!("token={token}").as_bytes())
}

fn show(gateway: &Gateway, token: &str) -> u16 {
    gateway.get("/", &[("authorization", &format!("Bearer {token}"))]).status
}

#[test]
fn a_revoked_access_token_is_refused_at_once_and_its_login_goes_on() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let (access, token) = log_in(&gateway);
    let (other, _) = log_in(&gateway);
    assert_eq!((show(&gateway, &access), show(&gateway, &other)), (200, 200), "both are cached");
    let reply = revoke(&gateway, &access);
    assert_eq!((reply.status, reply.header("cache-control")), (200, Some("no-store")), "{reply:?}");
    assert_eq!((show(&gateway, &access), show(&gateway, &other)), (401, 200));
    let me = gateway.get("/.auth/me", &[("authorization", &format!("Bearer {access}"))]);
    assert_eq!(me.status, 401, "{me:?}");
    assert_eq!(revoke(&gateway, &access).status, 200, "a second time is no failure");
    assert_eq!(refresh(&gateway, &token).status, 200);
    // It is kept where a crash finds it.
    let gateway = Gateway::start_in(gateway.kill(), &yaml(&upstream));
    assert_eq!((show(&gateway, &access), show(&gateway, &other)), (401, 200));
}

#[test]
fn a_revoked_refresh_token_takes_everything_that_came_of_it_along() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let (first, token) = log_in(&gateway);
    let (other, _) = log_in(&gateway);
    let (second, next) = both(&refresh(&gateway, &token).json());
    assert_eq!((show(&gateway, &first), show(&gateway, &second)), (200, 200));
    // Also by one that was replaced: whoever holds it was signed in by this login.
    let reply = gateway.request(
        "POST",
        "/.auth/token/revoke",
        &[JSON],
        json!({ "token": token, "token_type_hint": "access_token" }).to_string().as_bytes(),
    );
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(refresh(&gateway, &next).status, 400);
    assert_eq!((show(&gateway, &first), show(&gateway, &second)), (401, 401));
    assert_eq!(show(&gateway, &other), 200, "another login of the same account goes on");
    let gateway = Gateway::start_in(gateway.kill(), &yaml(&upstream));
    assert_eq!((show(&gateway, &second), show(&gateway, &other)), (401, 200));
}

#[test]
fn what_is_no_token_of_ours_is_revoked_already() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let (access, token) = log_in(&gateway);
    for unknown in ["x", "fgr_x", "a.b.c", &access[..access.len() - 2], &format!("fgr_{}", "A".repeat(64))] {
        assert_eq!(revoke(&gateway, unknown).status, 200, "{unknown}");
    }
    for (kind, body) in
        [(FORM, "token_type_hint=x"), (FORM, "token=a&token=b"), (JSON, "{"), (JSON, r#"{"token":1}"#)]
    {
        let reply = gateway.request("POST", "/.auth/token/revoke", &[kind], body.as_bytes());
        assert_eq!((reply.status, reply.json()["error"].as_str()), (400, Some("invalid_request")), "{body}");
    }
    assert_eq!(gateway.get("/.auth/token/revoke", &[]).status, 405);
    assert_eq!((show(&gateway, &access), refresh(&gateway, &token).status), (200, 200));
}

#[test]
fn a_tunnel_ends_with_the_token_that_opened_it() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n".to_vec()
    });
    let gateway = gateway(&upstream);
    for by_family in [false, true] {
        let (access, token) = log_in(&gateway);
        let mut connection = gateway.connect();
        let head = format!(
            "GET / HTTP/1.1\r\nhost: app.test\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
             authorization: Bearer {access}\r\n\r\n"
        );
        connection.write(head.as_bytes());
        assert_eq!(connection.head().status, 101);
        assert_eq!(revoke(&gateway, if by_family { &token } else { &access }).status, 200);
        assert!(connection.is_closed(), "it stays open (by_family: {by_family})");
    }
}

/// Whoever has been answered that something ended is never let in by it afterwards, whatever fills the caches meanwhile.
#[test]
fn what_ended_while_it_was_being_used_is_refused_from_the_answer_on() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    for round in 0..12 {
        let (access, token) = log_in(&gateway);
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let askers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        for _ in 0..30 {
                            let before = ended.load(Ordering::SeqCst);
                            let status = show(&gateway, &access);
                            assert!(!before || status == 401, "let in after its end: {status}");
                        }
                    })
                })
                .collect();
            match round % 4 {
                0 => assert_eq!(revoke(&gateway, &access).status, 200),
                1 => assert_eq!(revoke(&gateway, &token).status, 200),
                2 => assert!(gateway.command(&["user", "disable", "alice"], "").status.success()),
                _ => assert!(
                    gateway.command(&["user", "set", "alice", "--password-stdin"], PASSWORD).status.success()
                ),
            }
            ended.store(true, Ordering::SeqCst);
            for asker in askers {
                asker.join().expect("nobody was let in");
            }
        });
        assert_eq!(show(&gateway, &access), 401);
        if round % 4 == 2 {
            assert!(gateway.command(&["user", "enable", "alice"], "").status.success());
            assert_eq!(show(&gateway, &access), 401, "enabling revives no token");
        }
    }
}
