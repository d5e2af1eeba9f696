//! The keys that sign our tokens: taking a new one into use, and what others see of it.

use jsonwebtoken::jwk::JwkSet;
use serde_json::{Value, json};

use crate::harness::{Gateway, Reply, Upstream};

fn yaml(upstream: &Upstream, algorithm: &str) -> String {
    format!(
        "public_url: http://app.test\ntokens: {{ algorithm: {algorithm} }}\n\
         upstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /app/**, upstream: app }}]\n",
        upstream.address
    )
}

fn gateway(upstream: &Upstream, algorithm: &str) -> Gateway {
    let gateway = Gateway::start(&yaml(upstream, algorithm));
    gateway.add_user("alice", &[]);
    gateway
}

fn kid(token: &str) -> String {
    jsonwebtoken::decode_header(token).expect("a header").kid.expect("a kid")
}

fn show(gateway: &Gateway, token: &str) -> u16 {
    gateway.get("/app", &[("authorization", &format!("Bearer {token}"))]).status
}

fn command(gateway: &Gateway, arguments: &[&str]) -> String {
    let output = gateway.command(arguments, "");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn list(gateway: &Gateway) -> Vec<Value> {
    serde_json::from_str(&command(gateway, &["key", "list", "--json"])).expect("an array")
}

fn published(gateway: &Gateway) -> JwkSet {
    serde_json::from_slice(&gateway.get("/.auth/jwks.json", &[]).body).expect("a key set")
}

#[test]
fn a_new_key_signs_the_next_token_and_the_old_one_verifies_on() {
    let upstream = Upstream::start();
    for algorithm in ["EdDSA", "ES256", "RS256", "HS256"] {
        let gateway = gateway(&upstream, algorithm);
        let before = gateway.token("alice");
        assert_eq!(show(&gateway, &before), 200);
        let new = command(&gateway, &["key", "rotate"]);
        let new = new.trim();
        assert_ne!(new, kid(&before));
        let after = gateway.token("alice");
        assert_eq!(kid(&after), new, "{algorithm}");
        assert_eq!((show(&gateway, &before), show(&gateway, &after)), (200, 200), "{algorithm}");
        let keys = published(&gateway);
        for token in [&before, &after] {
            assert_eq!(keys.find(&kid(token)).is_some(), algorithm != "HS256", "{algorithm}");
        }
        let listed = list(&gateway);
        assert_eq!(listed.len(), 2, "{listed:?}");
        assert_eq!((&listed[0]["kid"], &listed[0]["state"]), (&json!(new), &json!("signing")));
        assert_eq!((&listed[1]["kid"], &listed[1]["state"]), (&json!(kid(&before)), &json!("verifying")));
        assert!(!format!("{listed:?}").contains("private"), "{listed:?}");
        // The same without a server, and after a start.
        let directory = gateway.kill();
        let gateway = Gateway::start_in(directory, &yaml(&upstream, algorithm));
        assert_eq!((show(&gateway, &before), show(&gateway, &after)), (200, 200), "{algorithm}");
        assert_eq!(kid(&gateway.token("alice")), new);
    }
}

#[test]
fn keys_are_managed_without_a_server_too() {
    let upstream = Upstream::start();
    let mut gateway = gateway(&upstream, "EdDSA");
    let before = gateway.token("alice");
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    let new: Value = serde_json::from_str(&command(&gateway, &["key", "rotate", "--json"])).expect("JSON");
    assert_eq!(list(&gateway).len(), 2);
    let table = command(&gateway, &["key", "list"]);
    assert!(table.starts_with("KID ") && table.contains("verifying"), "{table}");
    let gateway = Gateway::start_in(gateway.into_directory(), &yaml(&upstream, "EdDSA"));
    assert_eq!(show(&gateway, &before), 200);
    assert_eq!(new["kid"], json!(kid(&gateway.token("alice"))));
}

#[test]
fn keys_of_ones_own_sign_in_their_order_and_are_taken_over_when_they_change() {
    let upstream = Upstream::start();
    let directory = tempfile::tempdir().expect("a folder");
    let file = |name: &str, kind: &'static rcgen::SignatureAlgorithm| {
        use std::os::unix::fs::PermissionsExt as _;
        let key = rcgen::KeyPair::generate_for(kind).expect("a key").serialize_pem();
        let path = directory.path().join(name);
        std::fs::write(&path, key).expect("the key is written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("its mode is set");
    };
    file("one.pem", &rcgen::PKCS_ECDSA_P256_SHA256);
    file("two.pem", &rcgen::PKCS_ED25519);
    let yaml = |keys: &str| yaml(&upstream, "EdDSA").replace("algorithm: EdDSA", &format!("keys: {keys}"));
    let (first, second) = (yaml("[one.pem]"), yaml("[two.pem, one.pem]"));
    let gateway = Gateway::start_in(directory, &first);
    gateway.add_user("alice", &[]);
    let before = gateway.token("alice");
    assert_eq!(jsonwebtoken::decode_header(&before).expect("a header").alg, jsonwebtoken::Algorithm::ES256);
    assert_eq!(show(&gateway, &before), 200);
    assert!(published(&gateway).find(&kid(&before)).is_some());
    let refused = gateway.command(&["key", "rotate"], "");
    assert!(
        !refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("tokens.keys"),
        "{refused:?}"
    );
    gateway.write_config(&second);
    command(&gateway, &["reload"]);
    let after = gateway.token("alice");
    assert_eq!(jsonwebtoken::decode_header(&after).expect("a header").alg, jsonwebtoken::Algorithm::EdDSA);
    assert_eq!((show(&gateway, &before), show(&gateway, &after)), (200, 200));
    let listed = list(&gateway);
    assert_eq!(
        (&listed[0]["kid"], &listed[0]["state"]),
        (&json!(kid(&after)), &json!("signing")),
        "{listed:?}"
    );
    // One that can't sign changes nothing.
    std::fs::write(gateway.directory().join("two.pem"), "nothing").expect("it is written");
    let refused = gateway.command(&["reload"], "");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("holds no private key"), "{said}");
    assert_eq!(kid(&gateway.token("alice")), kid(&after));
}

#[test]
fn the_key_set_and_the_metadata_can_be_kept_and_asked_for_again() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "EdDSA");
    let etag = |reply: &Reply| reply.header("etag").unwrap_or_else(|| panic!("{reply:?}")).to_owned();
    let metadata = "/.well-known/oauth-authorization-server";
    for target in ["/.auth/jwks.json", metadata, &format!("/.auth{metadata}")] {
        let reply = gateway.get(target, &[]);
        let kept = (reply.status, reply.header("cache-control"), reply.header("content-type"));
        assert_eq!(kept, (200, Some("public, max-age=300"), Some("application/json")), "{target}: {reply:?}");
        for (shown, status) in
            [(etag(&reply), 304), (format!("\"x\", W/{}", etag(&reply)), 304), ("\"x\"".to_owned(), 200)]
        {
            let again = gateway.get(target, &[("if-none-match", &shown)]);
            assert_eq!((again.status, etag(&again)), (status, etag(&reply)), "{target} {shown}");
            assert_eq!(again.body.is_empty(), status == 304, "{again:?}");
        }
    }
    let before = etag(&gateway.get("/.auth/jwks.json", &[]));
    command(&gateway, &["key", "rotate"]);
    assert_ne!(etag(&gateway.get("/.auth/jwks.json", &[("if-none-match", &before)])), before);
    let document = gateway.get(metadata, &[]).json();
    for (name, value) in [
        ("issuer", "http://app.test"),
        ("token_endpoint", "http://app.test/.auth/token"),
        ("jwks_uri", "http://app.test/.auth/jwks.json"),
        ("revocation_endpoint", "http://app.test/.auth/token/revoke"),
    ] {
        assert_eq!(document[name], value, "{document}");
    }
    assert_eq!(document["grant_types_supported"], json!(["password", "refresh_token"]));
    assert_eq!(gateway.request("POST", metadata, &[], b"").status, 404);
    // Where a route has the path, it is the route's.
    let gateway = Gateway::in_front_of(upstream.address, ", access: public");
    assert_ne!(gateway.get(metadata, &[]).header("content-type"), Some("application/json"));
    assert!(
        upstream.last().starts_with("GET /.well-known/oauth-authorization-server "),
        "{}",
        upstream.last()
    );
}
