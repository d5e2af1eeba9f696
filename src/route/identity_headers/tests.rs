//! Templates, maps and the values that they give.

use std::collections::BTreeSet;
use std::time::SystemTime;

use percent_encoding::percent_decode_str;
use proptest::prelude::*;

use super::*;
use crate::identity::{Credential, Principal, UserId};

fn identity(username: &str, name: &str) -> Identity {
    Identity {
        access_token: None,
        authenticated_at: SystemTime::UNIX_EPOCH,
        credential: Credential::Session,
        email: Some("alice@example.com".parse().expect("an address")),
        expires_at: None,
        name: name.to_owned().try_into().expect("a display name"),
        roles: BTreeSet::from(["admin", "staff"].map(|role| role.parse().expect("a role"))),
        session: None,
        token: None,
        principal: Principal::Account(UserId::generate()),
        username: username.parse().expect("a username"),
    }
}

fn map(entries: &[(&'static str, &str)]) -> IdentityHeaders {
    let header = |&(name, template): &(&'static str, &str)| IdentityHeader {
        name: HeaderName::from_static(name),
        template: template.parse().expect("a template"),
    };
    IdentityHeaders::new(entries.iter().map(header).collect())
}

#[test]
fn values_are_what_the_templates_say() {
    let map = map(&[
        ("remote-user", "{username}"),
        ("remote-email", "{email}"),
        ("remote-groups", "{roles}"),
        ("x-who", "user:{name} <{email}>"),
    ]);
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
fn a_template_is_text_and_known_placeholders() {
    for bad in ["{user}", "{", "}", "{username", "a\nb", "{}"] {
        assert!(bad.parse::<Template>().is_err(), "{bad:?}");
    }
}

#[test]
fn ready_values_are_those_of_this_identity_and_this_map() {
    let maps = [Arc::new(map(&[("a-a", "{username}")])), Arc::new(map(&[("b-b", "{name}")]))];
    let ready = ReadyValues::default();
    for round in 0..3000 {
        let who = Arc::new(identity(&format!("user{round}"), "N"));
        for map in maps.iter().cycle().take(4) {
            let set = ready.get(map, &who).expect("values");
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
