//! Introspection (RFC 7662): who may ask, and what is said of each kind of token.

use serde_json::{Value, json};

use crate::harness::{Gateway, PASSWORD, Reply, Upstream};

const JSON: (&str, &str) = ("content-type", "application/json");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

fn gateway(upstream: &Upstream) -> Gateway {
    let gateway = Gateway::start(&format!(
        "public_url: http://app.test\nupstreams: {{ app: \"http://{}\" }}\nroutes:\n\
         \x20 - {{ name: dav, path: /dav/**, upstream: app }}\n  - {{ path: /**, upstream: app }}\n",
        upstream.address
    ));
    gateway.add_user("alice", &["staff"]);
    gateway.add_user("service", &[]);
    gateway
}

fn log_in(gateway: &Gateway) -> (String, String) {
    let body = json!({ "username": "alice", "password": PASSWORD }).to_string();
    let granted = gateway.request("POST", "/.auth/token", &[JSON], body.as_bytes()).json();
    let text = |name: &str| granted[name].as_str().unwrap_or_else(|| panic!("{granted}")).to_owned();
    (text("access_token"), text("refresh_token"))
}

fn personal(gateway: &Gateway, name: &str, scopes: &[&str]) -> String {
    let mut arguments = vec!["token", "create", name, "--name", "test"];
    for scope in scopes {
        arguments.extend(["--scope", scope]);
    }
    let output = gateway.command(&arguments, "");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

fn ask(gateway: &Gateway, by: &str, token: &str) -> Reply {
    let bearer = format!("Bearer {by}");
    let body = format!("token={token}&token_type_hint=access_token");
    gateway.request("POST", "/.auth/token/introspect", &[FORM, ("authorization", &bearer)], body.as_bytes())
}

#[track_caller]
fn told(reply: &Reply) -> Value {
    assert_eq!((reply.status, reply.header("cache-control")), (200, Some("no-store")), "{reply:?}");
    reply.json()
}

#[test]
fn only_a_personal_token_with_the_scope_may_ask() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let (access, refresh) = log_in(&gateway);
    let body = format!("token={access}");
    let reply = gateway.request("POST", "/.auth/token/introspect", &[FORM], body.as_bytes());
    assert_eq!((reply.status, reply.header("www-authenticate").is_some()), (401, true), "{reply:?}");
    assert_eq!(ask(&gateway, "fgt_x", &access).status, 401);
    assert_eq!(ask(&gateway, &refresh, &access).status, 401);
    for unfit in
        [access.clone(), personal(&gateway, "service", &[]), personal(&gateway, "service", &["other"])]
    {
        let reply = ask(&gateway, &unfit, &access);
        assert_eq!(reply.status, 403, "{reply:?}");
        assert!(!reply.text().contains("active"), "{reply:?}");
        let challenge = reply.header("www-authenticate").unwrap_or_default();
        assert!(challenge.contains("insufficient_scope"), "{challenge}");
    }
    // Nor by the session of a person.
    let cookie = gateway.sign_in("alice");
    let reply =
        gateway.request("POST", "/.auth/token/introspect", &[FORM, ("cookie", &cookie)], body.as_bytes());
    assert_eq!(reply.status, 401, "{reply:?}");
    assert_eq!(gateway.get("/.auth/token/introspect", &[]).status, 405);
}

#[test]
fn each_kind_of_token_is_told_and_what_is_none_is_inactive_and_nothing_else() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let by = personal(&gateway, "service", &["introspect"]);
    let (access, refresh) = log_in(&gateway);
    let answer = told(&ask(&gateway, &by, &access));
    assert_eq!(
        (&answer["active"], &answer["username"], &answer["token_type"], &answer["roles"]),
        (&json!(true), &json!("alice"), &json!("Bearer"), &json!(["staff"])),
        "{answer}"
    );
    for name in ["sub", "iss", "aud", "jti"] {
        assert!(answer[name].is_string(), "{name}: {answer}");
    }
    assert!(answer["exp"].as_u64() > answer["iat"].as_u64(), "{answer}");
    let of_refresh = told(&ask(&gateway, &by, &refresh));
    assert_eq!((&of_refresh["active"], &of_refresh["token_type"]), (&json!(true), &json!("refresh_token")));
    assert_eq!(of_refresh["sub"], answer["sub"]);
    let of_personal = told(&ask(&gateway, &by, &by));
    assert_eq!((&of_personal["username"], &of_personal["scope"]), (&json!("service"), &json!("introspect")));
    assert_eq!(of_personal.get("routes"), None, "for all: {of_personal}");
    let output = gateway.command(&["token", "create", "service", "--name", "dav", "--route", "dav"], "");
    let bound = String::from_utf8(output.stdout).expect("text");
    let of_bound = told(&ask(&gateway, &by, bound.trim()));
    assert_eq!((&of_bound["active"], &of_bound["routes"]), (&json!(true), &json!(["dav"])), "{of_bound}");
    // Asking uses nothing up.
    let body = format!("grant_type=refresh_token&refresh_token={refresh}");
    let refreshed = gateway.request("POST", "/.auth/token", &[FORM], body.as_bytes());
    assert_eq!(refreshed.status, 200, "{refreshed:?}");

    let inactive = |token: &str| {
        let reply = ask(&gateway, &by, token);
        assert_eq!(told(&reply), json!({ "active": false }), "{token}");
        assert_eq!(reply.text().replace(' ', ""), r#"{"active":false}"#);
    };
    for none in ["x", "a.b.c", "fgr_x", "fgt_x", &access[..access.len() - 4], refresh.as_str()] {
        inactive(none);
    }
    assert_eq!(
        gateway.request("POST", "/.auth/token/revoke", &[FORM], format!("token={access}").as_bytes()).status,
        200
    );
    inactive(&access);
    let (access, refresh) = log_in(&gateway);
    assert_eq!(told(&ask(&gateway, &by, &access))["active"], true);
    assert!(gateway.command(&["user", "set", "alice", "--role", "boss"], "").status.success());
    assert_eq!(told(&ask(&gateway, &by, &access))["roles"], json!(["boss"]));
    assert!(gateway.command(&["user", "disable", "alice"], "").status.success());
    inactive(&access);
    inactive(&refresh);
    assert_eq!(upstream.count(), 0);
}

#[test]
fn what_a_flood_of_forged_tokens_keeps_from_being_looked_at_is_not_called_inactive() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let service = personal(&gateway, "service", &["introspect"]);
    let (good, _) = log_in(&gateway);
    let (signed, signature) = good.rsplit_once('.').expect("a JWT");
    let mut braked = 0;
    for number in 0..200 {
        let reply = ask(&gateway, &service, &format!("{signed}.{number:04}{}", &signature[4..]));
        braked += usize::from(reply.status == 503);
    }
    assert!(braked > 0, "there was a flood");
    assert_eq!(told(&ask(&gateway, &service, &good))["active"], true, "it was made here");
}
