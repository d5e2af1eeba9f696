//! The signed assertion: what an upstream is told about somebody, so that it can verify it.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use crate::harness::{Gateway, Upstream};
use crate::idp::{Idp, Signer};
use crate::upstreams_connect::{Door, Server};

fn gateway(upstream: &Upstream, tokens: &str) -> Gateway {
    let server = format!("servers: [\"http://{}\"]", upstream.address);
    let gateway = Gateway::start(&format!(
        "public_url: http://app.test\ntokens: {tokens}\n\
         upstreams:\n\
         \x20 app: {{ {server}, assertion: true }}\n\
         \x20 other: {{ {server}, assertion: true }}\n\
         \x20 plain: {{ {server} }}\n\
         routes:\n\
         \x20 - {{ path: /public, upstream: app, access: public }}\n\
         \x20 - {{ path: /optional, upstream: app, access: optional }}\n\
         \x20 - {{ path: /other, upstream: other }}\n\
         \x20 - {{ path: /plain, upstream: plain }}\n\
         \x20 - {{ path: /**, upstream: app }}\n"
    ));
    gateway.add_user("alice", &["staff", "admin"]);
    gateway
}

/// What the upstream was told with its last request.
fn told(upstream: &Upstream) -> Option<String> {
    let request = upstream.last();
    let lines: Vec<&str> =
        request.lines().filter(|line| line.to_lowercase().starts_with("x-foregate-assertion:")).collect();
    assert!(lines.len() <= 1, "{request}");
    lines.first().map(|line| line.split_once(':').expect("a field").1.trim().to_owned())
}

fn header(token: &str) -> Value {
    let part = token.split('.').next().expect("a part");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
}

/// As a backend does: by the published keys, and for its own name alone.
fn verify(gateway: &Gateway, token: &str, algorithm: Algorithm, audience: &str) -> Option<Value> {
    let keys: JwkSet = serde_json::from_value(gateway.get("/.auth/jwks.json", &[]).json()).expect("keys");
    let kid = header(token)["kid"].as_str().expect("a kid").to_owned();
    let key = DecodingKey::from_jwk(keys.find(&kid).expect("it is published")).expect("a key");
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&[audience]);
    validation.set_issuer(&["http://app.test"]);
    jsonwebtoken::decode::<Value>(token, &key, &validation).ok().map(|decoded| decoded.claims)
}

#[test]
fn an_upstream_is_told_who_it_is_in_a_way_that_it_can_verify() {
    for (name, algorithm) in
        [("EdDSA", Algorithm::EdDSA), ("ES256", Algorithm::ES256), ("RS256", Algorithm::RS256)]
    {
        let upstream = Upstream::start();
        let gateway = gateway(&upstream, &format!("{{ algorithm: {name} }}"));
        let cookie = gateway.sign_in("alice");
        assert_eq!(gateway.get("/x", &[("cookie", &cookie)]).status, 200);
        let assertion = told(&upstream).expect("it is told");
        assert_eq!(header(&assertion)["typ"], "assertion+jwt");
        let claims = verify(&gateway, &assertion, algorithm, "app").expect("it verifies");
        assert_eq!(
            (
                &claims["iss"],
                &claims["aud"],
                &claims["preferred_username"],
                &claims["email"],
                &claims["roles"]
            ),
            (
                &json!("http://app.test"),
                &json!("app"),
                &json!("alice"),
                &json!("alice@example.com"),
                &json!(["admin", "staff"])
            )
        );
        let second = |name: &str| claims[name].as_u64().expect("a time");
        assert_eq!(second("exp") - second("iat"), 60, "{claims}");
        assert!(claims["sub"].as_str().is_some_and(|sub| sub.len() == 36), "{claims}");
        assert_eq!(verify(&gateway, &assertion, algorithm, "other"), None, "it is for that upstream alone");
        assert_eq!(gateway.get("/other", &[("cookie", &cookie)]).status, 200);
        assert!(verify(&gateway, &told(&upstream).expect("told"), algorithm, "other").is_some());

        // It is no token of ours.
        let count = upstream.count();
        let bearer = format!("Bearer {assertion}");
        assert_eq!(gateway.get("/x", &[("authorization", &bearer)]).status, 401);
        assert_eq!(gateway.get("/.auth/me", &[("authorization", &bearer)]).status, 401);
        assert_eq!(upstream.count(), count);
    }
}

#[test]
fn an_upstream_over_http2_is_told_as_well_and_of_whom_another_issuer_vouches_for_too() {
    let server = Server::start(Door::Plain { http2: true });
    let signer = Signer::ed25519("k");
    let idp = Idp::with(&[&signer]);
    let gateway = Gateway::start(&format!(
        "public_url: http://app.test\n{}\
         upstreams: {{ app: {{ servers: [\"http://{}\"], http2: true, assertion: true }} }}\n\
         routes: [{{ path: /**, upstream: app }}]\n",
        idp.yaml(""),
        server.address
    ));
    gateway.add_user("alice", &["staff"]);
    let told = |field: (&str, &str)| {
        let forged = ("x-foregate-assertion", "eyJ.spoofed.x");
        assert_eq!(gateway.get("/x", &[forged, field]).status, 200);
        let seen = server.last();
        assert_eq!(seen.version, http::Version::HTTP_2);
        let told: Vec<_> = seen.headers.get_all("x-foregate-assertion").iter().collect();
        assert_eq!(told.len(), 1, "{seen:?}");
        let told = told[0].to_str().expect("ASCII").to_owned();
        verify(&gateway, &told, Algorithm::EdDSA, "app").expect("it verifies")
    };
    let ours = told(("cookie", &gateway.sign_in("alice")));
    assert_eq!((&ours["preferred_username"], &ours["roles"]), (&json!("alice"), &json!(["staff"])));
    let theirs = format!("Bearer {}", signer.token(&idp.claims()));
    let theirs = told(("authorization", &theirs));
    assert_eq!(
        (&theirs["preferred_username"], &theirs["email"], &theirs["roles"], &theirs["iss"]),
        (&json!("alice"), &json!("alice@idp.test"), &json!(["admin", "staff"]), &json!("http://app.test"))
    );
    // An account of the same name is somebody else.
    assert!(theirs["sub"].as_str().is_some_and(|sub| sub.len() == 36 && theirs["sub"] != ours["sub"]));
}

#[test]
fn what_a_client_says_under_this_name_never_arrives() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "{}");
    let cookie = gateway.sign_in("alice");
    for name in ["X-Foregate-Assertion", "x_foregate_assertion", "X.Foregate.Assertion"] {
        let spoofed = (name, "eyJ.spoofed.x");
        for path in ["/public", "/optional"] {
            assert_eq!(gateway.get(path, &[spoofed]).status, 200);
            assert_eq!(told(&upstream), None, "nobody is known: {path}");
            assert!(!upstream.last().contains("spoofed"), "{}", upstream.last());
        }
        assert_eq!(gateway.get("/plain", &[spoofed, ("cookie", &cookie)]).status, 200);
        assert!(told(&upstream).is_none() && !upstream.last().contains("spoofed"), "{}", upstream.last());
        let listed = [spoofed, ("cookie", cookie.as_str()), ("connection", "x-foregate-assertion")];
        let mut connection = gateway.connect();
        let fields: String = listed.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        connection.write(format!("GET /x HTTP/1.1\r\nhost: app.test\r\n{fields}\r\n").as_bytes());
        assert_eq!(connection.reply(false).status, 200);
        assert!(
            told(&upstream).is_some_and(|told| verify(&gateway, &told, Algorithm::EdDSA, "app").is_some())
        );
        assert!(!upstream.last().contains("spoofed"), "{}", upstream.last());
    }
}

#[test]
fn one_signature_serves_many_requests_and_none_is_older_than_a_change_of_roles() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "{}");
    let cookie = gateway.sign_in("alice");
    let mut connection = gateway.connect();
    let mut assertions = BTreeSet::new();
    for _ in 0..50 {
        connection.write(format!("GET /x HTTP/1.1\r\nhost: app.test\r\ncookie: {cookie}\r\n\r\n").as_bytes());
        assert_eq!(connection.reply(false).status, 200);
        assertions.insert(told(&upstream).expect("told"));
    }
    // One thread serves a connection, and one may end and begin in the middle of it.
    assert!(assertions.len() <= 2, "{} signatures for 50 requests", assertions.len());
    assert!(gateway.command(&["user", "set", "alice", "--role", "news"], "").status.success());
    connection.write(format!("GET /x HTTP/1.1\r\nhost: app.test\r\ncookie: {cookie}\r\n\r\n").as_bytes());
    assert_eq!(connection.reply(false).status, 200);
    let claims = verify(&gateway, &told(&upstream).expect("told"), Algorithm::EdDSA, "app").expect("sound");
    assert_eq!(claims["roles"], json!(["news"]));
}

#[test]
fn a_websocket_is_opened_with_it_and_a_token_of_a_program_is_told_of_as_well() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n".to_vec()
    });
    let gateway = gateway(&upstream, "{}");
    let made = gateway.command(&["token", "create", "alice"], "");
    let token = String::from_utf8(made.stdout).expect("text");
    let mut connection = gateway.connect();
    let head = format!(
        "GET /ws HTTP/1.1\r\nhost: app.test\r\nconnection: upgrade\r\nupgrade: echo\r\nauthorization: Bearer {}\r\n\r\n",
        token.trim()
    );
    connection.write(head.as_bytes());
    assert_eq!(connection.head().status, 101);
    let claims = verify(&gateway, &told(&upstream).expect("told"), Algorithm::EdDSA, "app").expect("sound");
    assert_eq!(claims["preferred_username"], "alice");
}
