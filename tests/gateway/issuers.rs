//! Tokens of other issuers: who comes in with one, where the keys come from, and what becomes of them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Connection, Gateway, Reply, Upstream, wait_until};
use crate::idp::{Idp, Manner, Signer, now, ok};

const REFUSED: &str = r#"Bearer realm="foregate", error="invalid_token""#;

fn gateway(upstream: &Upstream, issuers: &str, routes: &str) -> Gateway {
    Gateway::start(&yaml(upstream, issuers, routes))
}

fn yaml(upstream: &Upstream, issuers: &str, routes: &str) -> String {
    format!(
        "public_url: http://app.test\nadmin: {{ listen: \"127.0.0.1:0\" }}\n{issuers}\
         upstreams: {{ app: \"http://{}\" }}\nroutes:\n{routes}  - {{ path: /**, upstream: app }}\n",
        upstream.address
    )
}

fn show(gateway: &Gateway, token: &str) -> Reply {
    gateway.get("/", &[("authorization", &format!("Bearer {token}"))])
}

fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    claims
}

/// A page of the admin listener.
fn told(gateway: &Gateway, target: &str) -> (u16, String) {
    let mut connection = Connection::to(gateway.admin_address());
    connection.write(format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes());
    let reply = connection.reply(false);
    (reply.status, reply.text())
}

/// A figure of one issuer.
fn figure(gateway: &Gateway, name: &str, more: &str) -> f64 {
    let (_, text) = told(gateway, "/metrics");
    let line =
        text.lines().find(|line| line.starts_with(&format!("foregate_{name}{{")) && line.contains(more));
    let line = line.unwrap_or_else(|| panic!("no {name} with {more} in\n{text}"));
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
}

#[test]
fn somebody_of_another_issuer_comes_in_and_needs_no_account() {
    let upstream = Upstream::start();
    let signers = [Signer::rsa("r"), Signer::p256("e"), Signer::ed25519("d")];
    let idp = Idp::with(&signers.each_ref());
    let routes = "  - { path: /admin/**, require: { roles: [admin] }, upstream: app }\n\
                  \x20 - { path: /root/**, require: { roles: [root] }, upstream: app }\n\
                  \x20 - { path: /fresh/**, require: { fresh_login: 10m }, upstream: app }\n\
                  \x20 - { path: /session/**, credentials: [session], upstream: app }\n";
    let gateway = gateway(&upstream, &idp.yaml(""), routes);
    // An account of the same name is somebody else.
    gateway.add_user("alice", &["root"]);
    for signer in &signers {
        let token = signer.token(&idp.claims());
        let bearer = format!("Bearer {token}");
        let reply = gateway.get("/page", &[("authorization", &bearer)]);
        assert_eq!(reply.status, 200, "{}: {reply:?}", signer.algorithm);
        let seen = upstream.last().to_lowercase();
        for header in [
            "remote-user: alice\r\n",
            "remote-email: alice@idp.test\r\n",
            "remote-name: alice of the idp\r\n",
            "remote-groups: admin,staff\r\n",
        ] {
            assert!(seen.contains(header), "no {header:?} in {seen}");
        }
        assert!(!seen.contains("authorization:"), "{seen}");
        let statuses = ["/admin/x", "/root/x", "/session/x"]
            .map(|target| gateway.get(target, &[("authorization", &bearer)]).status);
        assert_eq!(statuses, [200, 403, 401]);
    }
    assert_eq!(gateway.command(&["user", "disable", "alice"], "").status.code(), Some(0));
    let token = signers[2].token(&idp.claims());
    let me = gateway.get("/.auth/me", &[("authorization", &format!("Bearer {token}"))]);
    assert_eq!(
        me.json(),
        json!({
            "username": "alice", "email": "alice@idp.test", "name": "Alice of the IdP",
            "roles": ["admin", "staff"], "credential": "bearer", "authenticated_at": null,
        })
    );
    // Fresh is who says when he signed in, and that it was lately.
    for (auth_time, status) in
        [(None, 401), (Some(now() - 60), 200), (Some(now() - 3600), 401), (Some(now() + 3600), 401)]
    {
        let mut claims = idp.claims();
        if let Some(auth_time) = auth_time {
            claims["auth_time"] = auth_time.into();
        }
        let bearer = format!("Bearer {}", signers[0].token(&claims));
        let reply = gateway.get("/fresh/x", &[("authorization", &bearer)]);
        assert_eq!(reply.status, status, "{auth_time:?}: {reply:?}");
        if status == 401 {
            let challenge = reply.header("www-authenticate").expect("a challenge");
            assert!(challenge.contains("insufficient_user_authentication"), "{challenge}");
        }
    }
    assert_eq!(idp.fetches(), 1, "one look at the keys is enough for all of this");
}

#[test]
fn a_new_key_is_fetched_when_it_is_first_named_and_made_up_ones_are_not_looked_for() {
    let upstream = Upstream::start();
    let (old, new, third) = (Signer::ed25519("old"), Signer::ed25519("new"), Signer::ed25519("third"));
    let idp = Idp::with(&[&old]);
    let gateway = gateway(&upstream, &idp.yaml(""), "");
    assert_eq!(show(&gateway, &old.token(&idp.claims())).status, 200);
    idp.publish(&[&old, &new]);
    assert_eq!(show(&gateway, &new.token(&idp.claims())).status, 200);
    assert_eq!(idp.fetches(), 2);
    // From here on it takes half a minute until it is asked again, whatever is named.
    for number in 0..50 {
        let mut header = new.header();
        header["kid"] = json!(format!("made-up-{number}"));
        let token = new.token_with(&header.to_string(), &idp.claims().to_string());
        let began = Instant::now();
        assert_eq!(show(&gateway, &token).status, 401);
        assert!(began.elapsed() < Duration::from_secs(1), "nobody waits");
    }
    idp.publish(&[&old, &new, &third]);
    assert_eq!(show(&gateway, &third.token(&idp.claims())).status, 401);
    assert_eq!(idp.fetches(), 2);
    // Who could not have been good is not a reason to ask either.
    let gateway = self::gateway(&upstream, &idp.yaml(""), "");
    assert_eq!(show(&gateway, &old.token(&idp.claims())).status, 200);
    let fetches = idp.fetches();
    let mut header = old.header();
    header["kid"] = "unknown".into();
    for (name, value) in [("aud", json!("other")), ("exp", json!(1)), ("sub", json!(null))] {
        let token = old.token_with(&header.to_string(), &with(&idp.claims(), name, value).to_string());
        assert_eq!(show(&gateway, &token).status, 401);
    }
    assert_eq!(idp.fetches(), fetches);
}

#[test]
fn who_shows_a_known_key_never_waits_and_who_shows_an_unknown_one_not_for_long() {
    let upstream = Upstream::start();
    let (known, unknown) = (Signer::ed25519("known"), Signer::ed25519("unknown"));
    let idp = Idp::with(&[&known]);
    let gateway = gateway(&upstream, &idp.yaml(""), "");
    assert_eq!(show(&gateway, &known.token(&idp.claims())).status, 200);
    idp.answers(Manner::After(Duration::from_secs(30)));
    let before = idp.count();
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..5)
            .map(|number| {
                let token = unknown.token(&with(&idp.claims(), "jti", json!(number)));
                let gateway = &gateway;
                scope.spawn(move || {
                    let began = Instant::now();
                    (show(gateway, &token).status, began.elapsed())
                })
            })
            .collect();
        wait_until(|| idp.count() > before, || "it is not asked".to_owned());
        for number in 0..20 {
            let began = Instant::now();
            assert_eq!(show(&gateway, &known.token(&with(&idp.claims(), "jti", json!(number)))).status, 200);
            assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        }
        for waiting in waiting {
            let (status, took) = waiting.join().expect("it is answered");
            assert_eq!(status, 401);
            assert!((Duration::from_secs(1)..Duration::from_secs(4)).contains(&took), "{took:?}");
        }
    });
    assert_eq!(idp.count(), before + 1, "all of them have waited for one fetch");
}

#[test]
fn a_key_that_is_taken_back_ends_what_it_vouched_for() {
    let upstream = Upstream::answering(|request| {
        let head = if request.to_lowercase().contains("upgrade: echo") {
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n"
        } else {
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
        };
        head.as_bytes().to_vec()
    });
    let (stolen, good) = (Signer::ed25519("stolen"), Signer::ed25519("good"));
    let idp = Idp::with(&[&stolen, &good]);
    let gateway = gateway(&upstream, &idp.yaml(", refresh: 1s"), "");
    let (theirs, ours) = (stolen.token(&idp.claims()), good.token(&idp.claims()));
    let open = |token: &str| {
        let mut connection = gateway.connect();
        let head = "GET / HTTP/1.1\r\nhost: app.test\r\nconnection: upgrade\r\nupgrade: echo\r\nauthorization: Bearer";
        connection.write(format!("{head} {token}\r\n\r\n").as_bytes());
        assert_eq!(connection.head().status, 101);
        connection
    };
    let (mut their_tunnel, mut our_tunnel) = (open(&theirs), open(&ours));
    assert_eq!((show(&gateway, &theirs).status, show(&gateway, &ours).status), (200, 200));
    idp.publish(&[&good]);
    wait_until(|| show(&gateway, &theirs).status == 401, || gateway.log());
    assert_eq!(show(&gateway, &ours).status, 200);
    their_tunnel.read_to_end();
    assert!(our_tunnel.stays_open());
    // An empty set is an answer too, and a clear one.
    idp.publish(&[]);
    wait_until(|| show(&gateway, &ours).status == 401, || gateway.log());
    our_tunnel.read_to_end();
    gateway.wait_for_log("an issuer has no key that can be used");
}

#[test]
fn keys_that_can_not_be_fetched_stay_as_they_were_and_that_is_told() {
    let upstream = Upstream::start();
    let signer = Signer::ed25519("k");
    let idp = Idp::with(&[&signer]);
    let gateway = gateway(&upstream, &idp.yaml(", refresh: 1s"), "");
    assert_eq!(show(&gateway, &signer.token(&idp.claims())).status, 200);
    assert_eq!(told(&gateway, "/readyz"), (200, "ok\n".to_owned()));
    assert_eq!((figure(&gateway, "issuer_keys", ""), figure(&gateway, "issuer_healthy", "")), (1.0, 1.0));
    assert!(figure(&gateway, "issuer_fetched_timestamp_seconds", "") >= now() as f64 - 60.0);

    idp.answers(Manner::With(
        b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec(),
    ));
    wait_until(|| figure(&gateway, "issuer_healthy", "") == 0.0, || told(&gateway, "/metrics").1);
    assert!(figure(&gateway, "issuer_fetches_total", "outcome=\"failed\"") >= 1.0);
    let token = signer.token(&with(&idp.claims(), "jti", json!("another")));
    assert_eq!(show(&gateway, &token).status, 200);
    let (status, text) = told(&gateway, "/readyz");
    assert_eq!(status, 200);
    let trouble = format!("ok\nissuer {}: the key that is known goes on to hold: ", idp.url);
    assert!(text.starts_with(&trouble) && text.contains("was answered with 503"), "{text}");
    assert_eq!(gateway.get("/.auth/readyz", &[]).text(), "ok", "the public is told nothing of this");
    gateway.wait_for_log("the keys of an issuer can't be fetched");

    idp.answers(Manner::Well);
    wait_until(|| told(&gateway, "/readyz").1 == "ok\n", || told(&gateway, "/readyz").1);
    gateway.wait_for_log("the keys of an issuer can be fetched again");
}

#[test]
fn a_start_without_the_issuer_serves_everybody_else_and_the_issuer_when_it_is_there() {
    let upstream = Upstream::start();
    let signer = Signer::ed25519("k");
    let idp = Idp::with(&[&signer]);
    idp.answers(Manner::With(Vec::new()));
    let gateway = gateway(&upstream, &idp.yaml(", refresh: 1s"), "");
    gateway.add_user("bob", &[]);
    let reply = show(&gateway, &signer.token(&idp.claims()));
    assert_eq!((reply.status, reply.header("www-authenticate")), (401, Some(REFUSED)), "{reply:?}");
    assert_eq!(show(&gateway, &gateway.token("bob")).status, 200);
    let (status, text) = told(&gateway, "/readyz");
    assert!(status == 200 && text.contains("none of its tokens is taken"), "{text}");
    assert_eq!(figure(&gateway, "issuer_keys", ""), 0.0);
    idp.answers(Manner::Well);
    // The same token, for it was never looked at.
    let token = signer.token(&idp.claims());
    wait_until(|| show(&gateway, &token).status == 200, || gateway.log());
}

#[test]
fn what_an_issuer_says_is_not_taken_for_keys_unless_it_is() {
    let upstream = Upstream::start();
    let signer = Signer::ed25519("k");
    let idp = Idp::with(&[&signer]);
    let elsewhere = Idp::with(&[&signer]);
    let redirect = |to: &str| {
        format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .into_bytes()
    };
    let set = json!({ "keys": [signer.jwk] }).to_string();
    let configuration = |value: Value| Manner::With(ok(&value.to_string()));
    let gateway = gateway(&upstream, &idp.yaml(", refresh: 1s"), "");
    let token = signer.token(&idp.claims());
    assert_eq!(show(&gateway, &token).status, 200);
    for (manner, told_of) in [
        (Manner::With(redirect(&elsewhere.url)), "it leads to another origin"),
        (Manner::With(redirect("/round")), "it leads to another origin, or round in a circle"),
        (Manner::With(ok(&"x".repeat(300 * 1024))), "is larger than 256 KiB"),
        (Manner::With(ok("<html>")), "it is no JSON object"),
        (Manner::With(ok(&set)), "it has no `issuer`"),
        (configuration(json!({ "issuer": idp.url })), "it has no `jwks_uri`"),
        (
            configuration(json!({ "issuer": idp.url, "jwks_uri": "http://idp.test/keys" })),
            "names a `jwks_uri`",
        ),
        (configuration(json!({ "issuer": idp.url, "jwks_uri": "file:///etc/passwd" })), "names a `jwks_uri`"),
        (
            configuration(json!({ "issuer": format!("{}/", idp.url), "jwks_uri": "x" })),
            "names another issuer",
        ),
        (
            configuration(json!({ "issuer": idp.url, "jwks_uri": format!("{}/nothing", idp.url) })),
            "is no set of keys",
        ),
    ] {
        idp.answers(manner);
        wait_until(
            || told(&gateway, "/readyz").1.contains(told_of),
            || format!("no {told_of:?} in {}", told(&gateway, "/readyz").1),
        );
    }
    assert_eq!(elsewhere.count(), 0, "nobody is sent anywhere else");
    assert_eq!(show(&gateway, &token).status, 200, "and the keys that were known hold all the while");
    idp.answers(Manner::Well);
    idp.calls_itself("https://idp.example.com");
    wait_until(
        || told(&gateway, "/readyz").1.contains("names another issuer"),
        || told(&gateway, "/readyz").1,
    );
}

#[test]
fn a_reload_takes_issuers_in_and_out_and_keeps_the_keys_of_those_that_stay() {
    let upstream = Upstream::answering(|request| {
        let head = if request.to_lowercase().contains("upgrade: echo") {
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n"
        } else {
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
        };
        head.as_bytes().to_vec()
    });
    let (one, two) = (Signer::ed25519("k"), Signer::ed25519("k"));
    let (stays, goes) = (Idp::with(&[&one]), Idp::with(&[&two]));
    let both = format!("{}{}", stays.yaml(""), goes.yaml("").replace("issuers:\n", ""));
    let gateway = gateway(&upstream, &both, "");
    let (ours, theirs) = (one.token(&stays.claims()), two.token(&goes.claims()));
    assert_eq!((show(&gateway, &ours).status, show(&gateway, &theirs).status), (200, 200));
    // Keys of the one are nothing to the other, though they have one name.
    assert_eq!(show(&gateway, &two.token(&stays.claims())).status, 401);
    let open = |token: &str| {
        let mut connection = gateway.connect();
        let head = "GET / HTTP/1.1\r\nhost: app.test\r\nconnection: upgrade\r\nupgrade: echo\r\nauthorization: Bearer";
        connection.write(format!("{head} {token}\r\n\r\n").as_bytes());
        assert_eq!(connection.head().status, 101);
        connection
    };
    let (mut our_tunnel, mut their_tunnel) = (open(&ours), open(&theirs));
    let reload = |issuers: &str| {
        gateway.write_config(&yaml(&upstream, issuers, ""));
        let output = gateway.command(&["reload"], "");
        assert!(output.status.success(), "{output:?}");
    };
    let fetched = stays.fetches();
    reload(&stays.yaml(""));
    assert_eq!((show(&gateway, &ours).status, show(&gateway, &theirs).status), (200, 401));
    their_tunnel.read_to_end();
    assert!(our_tunnel.stays_open());
    // What is changed about its tokens needs no other keys.
    reload(&stays.yaml(", username_prefix: 'idp-'"));
    assert_eq!(show(&gateway, &ours).status, 200);
    assert!(upstream.last().to_lowercase().contains("remote-user: idp-alice\r\n"), "{}", upstream.last());
    reload(&stays.yaml("").replace("[api]", "[other]"));
    assert_eq!(show(&gateway, &ours).status, 401);
    reload(&both);
    assert_eq!((show(&gateway, &ours).status, show(&gateway, &theirs).status), (200, 200));
    assert_eq!(stays.fetches(), fetched);
    // A faulty one changes nothing.
    gateway.write_config(&yaml(&upstream, "issuers: [{ issuer: me }]\n", ""));
    assert!(!gateway.command(&["reload"], "").status.success());
    assert_eq!((show(&gateway, &ours).status, show(&gateway, &theirs).status), (200, 200));
}

#[test]
fn keys_in_a_file_are_read_again_when_it_changes() {
    let upstream = Upstream::start();
    let (old, new) = (Signer::p256("old"), Signer::p256("new"));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("jwks.json");
    let write = |signers: &[&Signer]| {
        let keys: Vec<&Value> = signers.iter().map(|signer| &signer.jwk).collect();
        std::fs::write(&file, json!({ "keys": keys }).to_string()).expect("it is written");
    };
    write(&[&old]);
    let issuers =
        format!("issuers: [{{ issuer: urn:partner, jwks: \"{}\", audiences: [api] }}]\n", file.display());
    let gateway = gateway(&upstream, &issuers, "");
    let claims = json!({ "iss": "urn:partner", "aud": ["x", "api"], "sub": "robot", "exp": now() + 300 });
    let (before, after) = (old.token(&claims), new.token(&claims));
    assert_eq!((show(&gateway, &before).status, show(&gateway, &after).status), (200, 401));
    write(&[&new]);
    wait_until(|| show(&gateway, &after).status == 200, || gateway.log());
    assert_eq!(show(&gateway, &before).status, 401);
    std::fs::write(&file, "{").expect("it is written");
    gateway.wait_for_log("the one before stays in force");
    assert_eq!(show(&gateway, &after).status, 200);
}

#[test]
fn other_proxies_are_told_who_it_is_and_what_it_needs() {
    let upstream = Upstream::start();
    let signer = Signer::ed25519("k");
    let idp = Idp::with(&[&signer]);
    let issuers =
        format!("trusted_proxies: [127.0.0.1]\n{}", idp.yaml(", required_claims: { groups: [staff] }"));
    let gateway = gateway(&upstream, &issuers, "");
    let ask = |token: &str| {
        let bearer = format!("Bearer {token}");
        gateway.get(
            "/.auth/auth-request",
            &[
                ("authorization", bearer.as_str()),
                ("x-original-url", "http://app.test/"),
                ("x-original-method", "GET"),
            ],
        )
    };
    let reply = ask(&signer.token(&idp.claims()));
    assert_eq!((reply.status, reply.header("remote-user")), (200, Some("alice")), "{reply:?}");
    assert_eq!(ask(&signer.token(&with(&idp.claims(), "groups", json!(["other"])))).status, 401);
    assert_eq!(upstream.count(), 0);
}
