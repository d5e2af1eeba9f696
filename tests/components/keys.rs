//! Signing keys over hours, which libfaketime makes pass: the program is the same, its clock is not.

use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Gateway, foregate};

/// So many minutes from now.
fn gateway_in(minutes: u32, directory: TempDir) -> Gateway {
    let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1", std::env::consts::ARCH);
    assert!(std::path::Path::new(&library).exists(), "libfaketime is not installed: {library}");
    let mut command = foregate();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .env("LD_PRELOAD", library)
        .env("FAKETIME", format!("+{minutes}m"))
        // Waits are as long as ever.
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let yaml = "public_url: http://app.test\ntokens: { key_rotation: 1h, access_ttl: 30m }\n\
                upstreams: { app: \"http://127.0.0.1:9\" }\nroutes: [{ path: /**, upstream: app }]\n";
    Gateway::start_with(directory, yaml, command)
}

fn kid(token: &str) -> String {
    jsonwebtoken::decode_header(token).expect("a header").kid.expect("a name")
}

fn published(gateway: &Gateway) -> Vec<String> {
    let keys = gateway.get("/.auth/jwks.json", &[]).json();
    let keys = keys["keys"].as_array().unwrap_or_else(|| panic!("{keys}"));
    keys.iter().map(|key| key["kid"].as_str().expect("a name").to_owned()).collect()
}

fn holds(gateway: &Gateway, token: &str) -> bool {
    gateway.get("/.auth/me", &[("authorization", &format!("Bearer {token}"))]).status == 200
}

#[test]
fn keys_change_with_the_time_and_the_old_one_verifies_until_its_last_token_is_over() {
    let gateway = gateway_in(0, tempfile::tempdir().expect("a folder"));
    gateway.add_user("alice", &[]);
    let old = kid(&gateway.token("alice"));
    let gateway = gateway_in(50, gateway.kill());
    let last = gateway.token("alice");
    assert_eq!((kid(&last), published(&gateway)), (old.clone(), vec![old.clone()]));

    let gateway = gateway_in(56, gateway.kill());
    gateway.wait_for_log("a new key is published");
    assert_eq!(kid(&gateway.token("alice")), old, "the next is published before it signs");
    let both = published(&gateway);
    assert_eq!(both.len(), 2, "{both:?}");
    let new = both.into_iter().find(|kid| *kid != old).expect("another");

    let gateway = gateway_in(62, gateway.kill());
    let first = gateway.token("alice");
    assert_eq!(kid(&first), new);
    assert!(holds(&gateway, &first) && holds(&gateway, &last));
    let gateway = gateway_in(79, gateway.kill());
    assert!(holds(&gateway, &first) && holds(&gateway, &last), "both have time left");
    assert_eq!(published(&gateway).len(), 2);

    let gateway = gateway_in(93, gateway.kill());
    gateway.wait_for_log("a key has gone");
    assert_eq!(published(&gateway), std::slice::from_ref(&new), "of the old one no token is left");
    assert!(!holds(&gateway, &last));
    assert_eq!(kid(&gateway.token("alice")), new);
    let listed: Value =
        serde_json::from_slice(&gateway.command(&["key", "list", "--json"], "").stdout).expect("the keys");
    assert_eq!((listed[0]["kid"].as_str(), listed.as_array().map(Vec::len)), (Some(&*new), Some(1)));
}
