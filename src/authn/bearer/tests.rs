//! Tokens: every algorithm, and what a forger tries.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::identity::{Credential, Principal, UserId};

const ALL: [Algorithm; 4] = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Hs256, Algorithm::Rs256];

fn settings(algorithm: Algorithm) -> TokenSettings {
    TokenSettings {
        access_ttl: Duration::from_secs(900),
        algorithm,
        audience: "http://localhost".to_owned(),
        cookies: false,
        errors: Default::default(),
        issuer: "http://localhost".to_owned(),
        key_rotation: None,
        keys: Vec::new(),
        refresh_grace: Duration::from_secs(10),
        refresh_ttl: None,
    }
}

fn identity() -> Identity {
    Identity {
        access_token: None,
        authenticated_at: SystemTime::now(),
        credential: Credential::Bearer,
        email: "alice@example.com".parse().ok(),
        expires_at: None,
        name: "Alice".parse().expect("a name"),
        roles: BTreeSet::from(["staff".parse().expect("a role")]),
        session: None,
        token: None,
        principal: Principal::Account(UserId::generate()),
        username: "alice".parse().expect("a username"),
    }
}

fn tokens(algorithm: Algorithm) -> (Tokens, SigningKey) {
    let key = generate_key(algorithm, SystemTime::now());
    (Tokens::new(settings(algorithm), std::slice::from_ref(&key)).expect("a usable key"), key)
}

fn issue(tokens: &Tokens, identity: &Identity, now: SystemTime) -> SecretString {
    tokens.issue(identity.account().expect("an account"), identity, None, now)
}

/// A token with this header and these claims, signed by this key.
fn forge(tokens: &Tokens, key: &SigningKey, change: impl FnOnce(&mut Value, &mut Value)) -> String {
    let algorithm = Algorithm::from_name(&key.algorithm).expect("an algorithm");
    let good = issue(tokens, &identity(), SystemTime::now());
    let mut parts = good.expose_secret().split('.');
    let mut part = || -> Value {
        let bytes = URL_SAFE_NO_PAD.decode(parts.next().expect("a part")).expect("base64url");
        serde_json::from_slice(&bytes).expect("JSON")
    };
    let (mut header, mut claims) = (part(), part());
    change(&mut header, &mut claims);
    let input = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let private = encoding_key(algorithm, key.private.expose_secret()).expect("a key");
    let signature =
        jsonwebtoken::crypto::sign(input.as_bytes(), &private, algorithm.library()).expect("a signature");
    format!("{input}.{signature}")
}

fn accepts(tokens: &Tokens, token: &str) -> bool {
    tokens.verify(token.as_bytes(), SystemTime::now()).is_ok()
}

#[test]
fn every_algorithm_issues_what_it_verifies_and_publishes_no_secret() {
    for algorithm in ALL {
        let (tokens, key) = tokens(algorithm);
        let alice = identity();
        let token = issue(&tokens, &alice, SystemTime::now());
        let claims =
            tokens.verify(token.expose_secret().as_bytes(), SystemTime::now()).expect("a good token");
        assert_eq!(Some(claims.user_id), alice.account());
        let jwks: Value = serde_json::from_str(&tokens.jwks()).expect("JSON");
        let keys = jwks["keys"].as_array().expect("an array");
        assert_eq!(keys.len(), usize::from(algorithm != Algorithm::Hs256), "{algorithm}");
        for jwk in keys {
            assert_eq!((jwk["kid"].as_str(), jwk["use"].as_str()), (Some(key.kid.as_str()), Some("sig")));
            assert!(jwk.get("d").is_none() && jwk.get("k").is_none(), "{jwk}");
        }
    }
}

#[test]
fn a_forged_token_is_refused() {
    for algorithm in ALL {
        let (tokens, key) = tokens(algorithm);
        assert!(
            accepts(&tokens, &forge(&tokens, &key, |_, _| {})),
            "{algorithm}: the forger itself is sound"
        );
        let hour_ago = since_1970(SystemTime::now()).as_secs() - 3600;
        type Change = fn(&mut Value, &mut Value, u64);
        let changes: [(&str, Change); 19] = [
            ("alg none", |h, _, _| h["alg"] = json!("none")),
            ("alg of another key", |h, _, _| {
                h["alg"] = json!(if h["alg"] == "HS256" { "EdDSA" } else { "HS256" })
            }),
            ("crit", |h, _, _| h["crit"] = json!(["exp"])),
            ("jku", |h, _, _| h["jku"] = json!("https://evil.test/jwks")),
            ("jwk", |h, _, _| h["jwk"] = json!({"kty": "oct", "k": "AA"})),
            ("b64", |h, _, _| h["b64"] = json!(false)),
            ("unknown kid", |h, _, _| h["kid"] = json!("../../dev/null")),
            ("no kid", |h, _, _| drop(h.as_object_mut().expect("an object").remove("kid"))),
            ("typ JWT", |h, _, _| h["typ"] = json!("JWT")),
            ("expired", |_, c, hour_ago| c["exp"] = json!(hour_ago)),
            ("no exp", |_, c, _| drop(c.as_object_mut().expect("an object").remove("exp"))),
            ("no sub", |_, c, _| drop(c.as_object_mut().expect("an object").remove("sub"))),
            ("no aud", |_, c, _| drop(c.as_object_mut().expect("an object").remove("aud"))),
            ("no iss", |_, c, _| drop(c.as_object_mut().expect("an object").remove("iss"))),
            ("another aud", |_, c, _| c["aud"] = json!("http://elsewhere")),
            ("another iss", |_, c, _| c["iss"] = json!("http://elsewhere")),
            ("aud as a list", |_, c, _| c["aud"] = json!(["http://localhost"])),
            ("an unknown claim", |_, c, _| c["cnf"] = json!({})),
            ("iat moved", |_, c, hour_ago| c["iat"] = json!(hour_ago)),
        ];
        for (name, change) in changes {
            let token = forge(&tokens, &key, |header, claims| change(header, claims, hour_ago));
            assert!(!accepts(&tokens, &token), "{algorithm}: {name}");
        }
    }
}

#[test]
fn what_is_wrong_in_anything_else_costs_no_look_at_a_signature() {
    for algorithm in ALL {
        let (tokens, key) = tokens(algorithm);
        let now = SystemTime::now();
        let unsigned = |change: &dyn Fn(&mut Value, &mut Value)| {
            let token = forge(&tokens, &key, |header, claims| change(header, claims));
            let (input, signature) = token.rsplit_once('.').expect("a signature");
            let other = if signature.starts_with("AAAA") { "BBBB" } else { "AAAA" };
            tokens.verify(format!("{input}.{other}{}", &signature[4..]).as_bytes(), now).err()
        };
        assert!(matches!(unsigned(&|_, _| {}), Some(TokenFault::Signature)), "{algorithm}");
        let kid = unsigned(&|header, _| header["kid"] = json!("x"));
        assert!(matches!(kid, Some(TokenFault::Key)), "{algorithm}");
        let exp = unsigned(&|_, claims| claims["exp"] = json!(since_1970(now).as_secs() - 30));
        assert!(matches!(exp, Some(TokenFault::Expired)), "{algorithm}");
        let exp = unsigned(&|_, claims| claims["exp"] = json!(since_1970(now).as_secs() - 29));
        assert!(matches!(exp, Some(TokenFault::Signature)), "{algorithm}: a clock may be behind");
        let exp = unsigned(&|_, claims| claims["exp"] = json!(u64::MAX));
        assert!(matches!(exp, Some(TokenFault::Form)), "{algorithm}: no date");
        let aud = unsigned(&|_, claims| claims["aud"] = json!("x"));
        assert!(matches!(aud, Some(TokenFault::Audience)), "{algorithm}");
        let iss = unsigned(&|_, claims| claims["iss"] = json!("x"));
        assert!(matches!(iss, Some(TokenFault::Issuer)), "{algorithm}");
    }
}

#[test]
fn a_mangled_token_is_refused() {
    for algorithm in ALL {
        let (tokens, _) = tokens(algorithm);
        let good = issue(&tokens, &identity(), SystemTime::now());
        let good = good.expose_secret();
        let (input, signature) = good.rsplit_once('.').expect("a signature");
        let zero =
            URL_SAFE_NO_PAD.encode(vec![0; URL_SAFE_NO_PAD.decode(signature).expect("base64url").len()]);
        let mut bad = vec![
            format!("{input}."),
            input.to_owned(),
            format!("{input}.{zero}"),
            format!("{good}="),
            format!("{good}."),
            format!(" {good}"),
            format!("{good}\n"),
            good[..good.len() - 1].to_owned(),
            good[..good.len() / 2].to_owned(),
            good.replacen('.', "..", 1),
            ".".repeat(20_000),
            "x".repeat(8 * 1024 + 1),
            String::new(),
        ];
        // The last character's spare bits: the same signature in another spelling.
        let last = good.chars().last().expect("a character");
        let twin = char::from(last as u8 ^ 1);
        if twin.is_ascii_alphanumeric() {
            bad.push(format!("{}{twin}", &good[..good.len() - 1]));
        }
        for token in bad {
            assert!(!accepts(&tokens, &token), "{algorithm}: {token:.60}");
        }
    }
}

#[test]
fn a_doubled_member_is_refused() {
    let (tokens, key) = tokens(Algorithm::EdDsa);
    let sign = |header: &str, claims: &str| {
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let private = encoding_key(Algorithm::EdDsa, key.private.expose_secret()).expect("a key");
        let signature =
            jsonwebtoken::crypto::sign(input.as_bytes(), &private, jsonwebtoken::Algorithm::EdDSA);
        format!("{input}.{}", signature.expect("a signature"))
    };
    let (mut header, mut claims) = (String::new(), String::new());
    forge(&tokens, &key, |h, c| (header, claims) = (h.to_string(), c.to_string()));
    assert!(accepts(&tokens, &sign(&header, &claims)));
    let doubled = |json: &str, member: &str| json.replacen('{', &format!("{{{member},"), 1);
    assert!(!accepts(&tokens, &sign(&doubled(&header, r#""alg":"EdDSA""#), &claims)));
    assert!(!accepts(&tokens, &sign(&header, &doubled(&claims, r#""exp":99999999999"#))));
    assert!(!accepts(&tokens, &sign(&header, &doubled(&claims, r#""aud":"http://localhost""#))));
}

#[test]
fn another_instances_key_is_refused() {
    let (ours, _) = tokens(Algorithm::EdDsa);
    let (theirs, _) = tokens(Algorithm::EdDsa);
    let token = issue(&theirs, &identity(), SystemTime::now());
    assert!(!accepts(&ours, token.expose_secret()));
}

#[test]
fn a_token_says_to_the_millisecond_when_it_was_made() {
    let (tokens, _) = tokens(Algorithm::EdDsa);
    let now =
        SystemTime::UNIX_EPOCH + Duration::from_millis(since_1970(SystemTime::now()).as_millis() as u64);
    let token = issue(&tokens, &identity(), now);
    let claims = tokens.verify(token.expose_secret().as_bytes(), now).expect("a good token");
    assert_eq!(claims.issued_at, now);
}
