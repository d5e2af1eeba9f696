//! Templates, maps and the values that they give.

use std::collections::BTreeSet;
use std::time::SystemTime;

use percent_encoding::percent_decode_str;
use proptest::prelude::*;

use super::*;
use crate::identity::{Credential, UserId};

fn identity(username: &str, name: &str) -> Identity {
    Identity {
        authenticated_at: SystemTime::UNIX_EPOCH,
        credential: Credential::Session,
        email: Some("alice@example.com".parse().expect("an address")),
        expires_at: None,
        name: name.to_owned().try_into().expect("a display name"),
        roles: BTreeSet::from(["admin", "staff"].map(|role| role.parse().expect("a role"))),
        session: None,
        user_id: UserId::generate(),
        username: username.parse().expect("a username"),
    }
}

fn map(entries: &[(&str, &str)]) -> Result<IdentityHeaders, InvalidIdentityHeaders> {
    let owned: Vec<_> = entries.iter().map(|&(n, t)| (n.to_owned(), t.to_owned())).collect();
    IdentityHeaders::parse(&owned)
}

#[test]
fn values_are_what_the_templates_say() {
    let map = map(&[
        ("Remote-User", "{username}"),
        ("Remote-Email", "{email}"),
        ("Remote-Groups", "{roles}"),
        ("X-Who", "user:{name} <{email}>"),
    ])
    .expect("a map");
    let set = map.values(&identity("alice", "Alice A.")).expect("values");
    let seen: Vec<_> = set.iter().map(|(n, v)| (n.as_str(), v.to_str().expect("ASCII"))).collect();
    assert_eq!(
        seen,
        [
            ("remote-user", "alice"),
            ("remote-email", "alice@example.com"),
            ("remote-groups", "admin,staff"),
            ("x-who", "user:Alice A. <alice@example.com>"),
        ]
    );
    let mut nobody = identity("alice", "");
    nobody.email = None;
    let set = map.values(&nobody).expect("values");
    assert_eq!(set[1].1, "", "an address that isn't there is an empty field, not a missing one");
}

#[test]
fn what_can_not_stand_is_encoded_and_comes_back_exactly() {
    for (text, value) in [
        ("alice", "alice"),
        ("Alice  A. Smith", "Alice  A. Smith"),
        ("100%", "100%"),
        ("Zoë", "Zo%C3%AB"),
        ("Zoë 100%", "Zo%C3%AB 100%25"),
        ("%C3%AB", "%25C3%25AB"),
        ("50%ab", "50%25ab"),
        (" a ", "%20a%20"),
        ("a=b;c,d\"", "a=b;c,d\""),
        ("", ""),
    ] {
        assert_eq!(header_value(text).expect(text), value, "{text}");
    }
    for bad in ["a\nb", "a\0", "a\u{7f}", "a\u{85}b", "\t"] {
        assert_eq!(header_value(bad), Err(InvalidIdentity), "{bad:?}");
    }
}

#[test]
fn a_map_says_each_thing_once_and_leaves_http_alone() {
    assert!(matches!(
        map(&[("Remote-User", "{username}"), ("remote_user", "{name}")]),
        Err(InvalidIdentityHeaders::Doubled(_))
    ));
    for taken in [
        "Authorization",
        "Host",
        "Connection",
        "content_length",
        "Cookie",
        "X-Forwarded-For",
        "X-Request-Id",
        "TE",
    ] {
        assert!(matches!(map(&[(taken, "x")]), Err(InvalidIdentityHeaders::Taken(_))), "{taken}");
    }
    for fine in ["X-WEBAUTH-USER", "X-Forwarded-User"] {
        assert!(map(&[(fine, "{username}")]).is_ok(), "{fine}");
    }
    assert!(matches!(map(&[("a b", "x")]), Err(InvalidIdentityHeaders::Name(_))));
    for bad in ["{user}", "{", "}", "{username", "a\nb", "{}"] {
        assert!(map(&[("X-A", bad)]).is_err(), "{bad:?}");
    }
}

#[test]
fn ready_values_are_those_of_this_identity_and_this_map() {
    let maps = [map(&[("A-A", "{username}")]).expect("a map"), map(&[("B-B", "{name}")]).expect("a map")];
    let ready = ReadyValues::new();
    for round in 0..3000 {
        let who = Arc::new(identity(&format!("user{round}"), "N"));
        for (number, map) in maps.iter().enumerate().cycle().take(4) {
            let set = ready.get(map, number, &who).expect("values");
            assert_eq!(set, map.values(&who).expect("values"), "{round}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_two_texts_have_one_meaning(text in "[ -~%äé漢]{0,12}") {
        let value = header_value(&text).expect("no control character");
        let value = value.to_str().expect("ASCII");
        prop_assert_eq!(value.trim(), value);
        if value.contains('%') {
            prop_assert_eq!(percent_decode_str(value).decode_utf8_lossy(), text);
        } else {
            prop_assert_eq!(value, text);
        }
    }
}
