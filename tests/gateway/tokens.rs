//! Access tokens: how they are got, what they are worth, and what is none.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation};
use serde_json::{Value, json};

use crate::harness::{Gateway, PASSWORD, Reply, Upstream};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("content-type", "application/json");
const REFUSED: &str = r#"Bearer realm="foregate", error="invalid_token""#;

fn gateway(upstream: &Upstream, tokens: &str) -> Gateway {
    let gateway = Gateway::start(&format!(
        "public_url: http://app.test\ntokens: {tokens}\n\
         upstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app }}]\n",
        upstream.address
    ));
    gateway.add_user("alice", &["staff"]);
    gateway
}

fn ask(gateway: &Gateway, kind: (&str, &str), body: &str) -> Reply {
    gateway.request("POST", "/.auth/token", &[kind], body.as_bytes())
}

fn show(gateway: &Gateway, token: &str) -> Reply {
    gateway.get("/", &[("authorization", &format!("Bearer {token}"))])
}

fn part(token: &str, number: usize) -> Value {
    let part = token.split('.').nth(number).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
}

#[test]
fn a_token_is_got_by_json_and_by_form_and_let_through() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "{ access_ttl: 10m }");
    for (kind, body) in [
        (JSON, json!({ "username": "alice", "password": PASSWORD }).to_string()),
        (JSON, json!({ "email": "alice@example.com", "password": PASSWORD }).to_string()),
        (
            JSON,
            json!({ "username": "Alice@Example.com", "password": PASSWORD, "grant_type": "password" })
                .to_string(),
        ),
        (FORM, format!("username=alice&password={}", PASSWORD.replace(' ', "+"))),
        (
            FORM,
            format!(
                "grant_type=password&email=alice%40example.com&password={}",
                PASSWORD.replace(' ', "%20")
            ),
        ),
    ] {
        let reply = ask(&gateway, kind, &body);
        assert_eq!(reply.status, 200, "{body}: {reply:?}");
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert!(reply.header("set-cookie").is_none(), "no session is made: {reply:?}");
        let granted = reply.json();
        assert_eq!((&granted["token_type"], &granted["expires_in"]), (&json!("Bearer"), &json!(600)));
        let reply = show(&gateway, granted["access_token"].as_str().expect("a token"));
        assert_eq!(reply.status, 200, "{reply:?}");
        let seen = upstream.last();
        assert!(seen.contains("remote-user: alice\r\n"), "{seen}");
        assert!(!seen.to_lowercase().contains("authorization"), "{seen}");
    }
    let token = gateway.token("alice");
    let me = gateway.get("/.auth/me", &[("authorization", &format!("bEARER {token}"))]);
    assert_eq!((me.status, me.json()["credential"].as_str()), (200, Some("bearer")), "{me:?}");
}

#[test]
fn what_is_wrong_with_a_request_for_a_token_is_said_as_rfc_6749_has_it() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "{}");
    let cases = [
        (JSON, r#"{"username":"alice","password":"wrong"}"#, 401, "invalid_grant"),
        (FORM, "username=nobody&password=wrong", 401, "invalid_grant"),
        (FORM, "username=alice", 400, "invalid_request"),
        (FORM, "", 400, "invalid_request"),
        (JSON, "{", 400, "invalid_request"),
        (FORM, "username=alice&username=alice&password=x", 400, "invalid_request"),
        (JSON, r#"{"username":"alice","username":"bob","password":"x"}"#, 400, "invalid_request"),
        (FORM, "grant_type=client_credentials", 400, "unsupported_grant_type"),
    ];
    for (kind, body, status, error) in cases {
        let reply = ask(&gateway, kind, body);
        assert_eq!(
            (reply.status, reply.json()["error"].as_str()),
            (status, Some(error)),
            "{body}: {reply:?}"
        );
        assert!(reply.json()["error_description"].is_string(), "{reply:?}");
        assert_eq!(reply.header("content-type"), Some("application/json"), "{reply:?}");
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{reply:?}");
        assert_eq!(reply.header("www-authenticate").is_some(), status == 401, "{reply:?}");
    }
    let reply = gateway.get("/.auth/token", &[]);
    assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")), "{reply:?}");
}

#[test]
fn others_can_verify_a_token_with_the_published_keys() {
    let upstream = Upstream::start();
    for (name, algorithm) in
        [("EdDSA", Algorithm::EdDSA), ("ES256", Algorithm::ES256), ("RS256", Algorithm::RS256)]
    {
        let settings = format!("{{ algorithm: {name}, issuer: \"https://issuer.test\", audience: api }}");
        let gateway = gateway(&upstream, &settings);
        let token = gateway.token("alice");
        let header = jsonwebtoken::decode_header(&token).expect("a header");
        assert_eq!((header.alg, header.typ.as_deref()), (algorithm, Some("at+jwt")));
        let reply = gateway.get("/.auth/jwks.json", &[]);
        assert_eq!(
            (reply.status, reply.header("cache-control")),
            (200, Some("public, max-age=300")),
            "{reply:?}"
        );
        for private in ["\"d\"", "\"p\"", "\"q\"", "\"k\""] {
            assert!(!reply.text().contains(private), "{name}: {}", reply.text());
        }
        let keys: JwkSet = serde_json::from_slice(&reply.body).expect("a key set");
        let key = keys.find(header.kid.as_deref().expect("a kid")).expect("the key of that kid");
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&["api"]);
        validation.set_issuer(&["https://issuer.test"]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let key = DecodingKey::from_jwk(key).expect("a key that can be used");
        let claims = jsonwebtoken::decode::<Value>(&token, &key, &validation).expect("a good token").claims;
        assert_eq!(claims["preferred_username"], "alice");
        assert_eq!(claims["email"], "alice@example.com");
        assert_eq!(claims["roles"], json!(["staff"]));
        for claim in ["iat", "exp", "auth_time"] {
            assert!(claims[claim].is_u64(), "{claims}");
        }
        assert!(claims["jti"].is_string() && claims["sub"].is_string(), "{claims}");
        assert_eq!(show(&gateway, &token).status, 200, "{name}");
    }
    // A secret of ours is nobody else's.
    let gateway = gateway(&upstream, "{ algorithm: HS256 }");
    let token = gateway.token("alice");
    assert_eq!(jsonwebtoken::decode_header(&token).expect("a header").alg, Algorithm::HS256);
    assert_eq!(gateway.get("/.auth/jwks.json", &[]).json(), json!({ "keys": [] }));
    assert_eq!(show(&gateway, &token).status, 200);
}

#[test]
fn a_token_that_we_did_not_make_is_none() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "{}");
    let other = self::gateway(&upstream, "{}");
    let good = gateway.token("alice");
    let (header, claims) = (part(&good, 0), part(&good, 1));
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let [head, body, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("{good}") };
    let with = |change: &dyn Fn(&mut Value)| {
        let mut header = header.clone();
        change(&mut header);
        encode(&header)
    };
    let mut forged = vec![
        ("another instance's", other.token("alice")),
        ("none", format!("{}.{body}.", with(&|header| header["alg"] = json!("none")))),
        ("None", format!("{}.{body}.{signature}", with(&|header| header["alg"] = json!("None")))),
        ("no signature", format!("{head}.{body}.")),
        ("two parts", format!("{head}.{body}")),
        ("five parts", format!("{good}.a.b")),
        (
            "the key in the token",
            format!(
                "{}.{body}.{signature}",
                with(&|header| header["jwk"] = json!({ "kty": "oct", "k": "AAAA" }))
            ),
        ),
        (
            "the key elsewhere",
            format!(
                "{}.{body}.{signature}",
                with(&|header| header["jku"] = json!("https://evil.test/jwks.json"))
            ),
        ),
        (
            "an odd kid",
            format!("{}.{body}.{signature}", with(&|header| header["kid"] = json!("../../../dev/null"))),
        ),
        ("padded", format!("{good}=")),
        ("cut", good[..good.len() - 1].to_owned()),
        ("halved", good[..good.len() / 2].to_owned()),
        ("long", format!("{good}{}", "A".repeat(9000))),
    ];
    for (name, value) in
        [("sub", json!("0")), ("exp", json!(99_999_999_999_u64)), ("roles", json!(["admin"]))]
    {
        let mut claims = claims.clone();
        claims[name] = value;
        forged.push((name, format!("{head}.{}.{signature}", encode(&claims))));
    }
    // The public key as the secret of an HMAC, in every form that a library may have it.
    let jwks = gateway.get("/.auth/jwks.json", &[]).json();
    let key = &jwks["keys"][0];
    let x = key["x"].as_str().expect("an Ed25519 key");
    let raw = URL_SAFE_NO_PAD.decode(x).expect("base64url");
    let mut der = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    der.extend(&raw);
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        base64::engine::general_purpose::STANDARD.encode(&der)
    );
    let secrets =
        [raw, x.into(), der, pem.clone().into(), pem.trim_end().into(), key.to_string().into(), vec![]];
    for secret in secrets {
        let input = format!("{}.{body}", with(&|header| header["alg"] = json!("HS256")));
        let key = EncodingKey::from_secret(&secret);
        let signature =
            jsonwebtoken::crypto::sign(input.as_bytes(), &key, Algorithm::HS256).expect("a signature");
        forged.push(("HMAC with the public key", format!("{input}.{signature}")));
    }
    for (what, token) in forged {
        let reply = show(&gateway, &token);
        assert_eq!((reply.status, reply.all("www-authenticate")), (401, vec![REFUSED]), "{what}: {reply:?}");
        let me = gateway.get("/.auth/me", &[("authorization", &format!("Bearer {token}"))]);
        assert_eq!(me.status, 401, "{what}: {me:?}");
    }
    assert_eq!(upstream.count(), 0);
    assert_eq!(show(&gateway, &good).status, 200, "the good one is good all the while");
}

#[test]
fn a_token_of_before_a_new_password_is_refused_even_of_the_same_second() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "{}");
    let link_of = |name: &str| {
        let output = gateway.command(&["user", "add", name], "");
        let link = String::from_utf8(output.stdout).expect("text");
        link.trim()[link.find("/.auth/").expect("a path")..].to_owned()
    };
    // By the link a person sets it within milliseconds.
    let link = link_of("bob");
    let set = |password: &str| {
        gateway.request("POST", &link, &[JSON], json!({ "password": password }).to_string().as_bytes())
    };
    assert_eq!(set(PASSWORD).status, 204);
    let before = gateway.token("bob");
    assert_eq!(show(&gateway, &before).status, 200);
    let output = gateway.command(&["user", "set", "bob", "--password-stdin"], PASSWORD);
    assert!(output.status.success(), "{output:?}");
    let after = gateway.token("bob");
    assert_eq!(show(&gateway, &before).status, 401, "iat {}", part(&before, 1)["iat"]);
    assert_eq!(show(&gateway, &after).status, 200);
}

#[test]
fn a_token_ends_when_its_time_is_over() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "{ access_ttl: 1s }");
    let token = gateway.token("alice");
    let claims = part(&token, 1);
    assert_eq!(claims["exp"].as_u64().expect("a time") - claims["iat"].as_u64().expect("a time"), 1);
    // Clocks differ by up to 30 s; that the end holds is tested where the clock is an argument.
    assert_eq!(show(&gateway, &token).status, 200);
}

#[test]
fn a_cookie_is_no_token_and_a_token_no_cookie() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "{}");
    let cookie = gateway.sign_in("alice");
    let value = cookie.strip_prefix("foregate=").expect("its name");
    let token = gateway.token("alice");
    assert_eq!(show(&gateway, value).status, 401);
    let cookie_of_token = format!("foregate={token}");
    let reply = gateway.get("/", &[("cookie", &cookie_of_token)]);
    assert_eq!(reply.all("www-authenticate"), [r#"Bearer realm="foregate""#], "it is nothing: {reply:?}");
    // Nor is it looked for anywhere but in its header.
    for target in [format!("/?access_token={token}"), format!("/?token={token}")] {
        assert_eq!(gateway.get(&target, &[]).status, 401);
    }
    assert_eq!(upstream.count(), 0);
}
