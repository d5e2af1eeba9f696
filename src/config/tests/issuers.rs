//! `issuers`: what is read from a sound one, and what faulty ones are told.

use std::path::Path;
use std::time::Duration;

use super::{sound, told, with};
use crate::authn::issuer::{Location, Separator, SignatureAlgorithm};
use crate::config::Config;

/// A set with one Ed25519 key (RFC 8037 appendix A.2) and one that can't be used.
const JWKS: &str = r#"{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

#[test]
fn an_issuer_needs_a_name_and_an_audience_and_has_defaults_for_the_rest() {
    let config = sound(&with("issuers: [{ issuer: \"https://idp.test/a\", audiences: [api] }]"));
    let [issuer] = &config.issuers[..] else { panic!("{:?}", config.issuers) };
    assert_eq!(issuer.audiences, ["api"]);
    let Location::Discovery(url) = &issuer.source.location else { panic!("{issuer:?}") };
    assert_eq!(url.to_string(), "https://idp.test/a/.well-known/openid-configuration");
    let algorithms = [SignatureAlgorithm::Rs256, SignatureAlgorithm::Es256, SignatureAlgorithm::EdDsa];
    assert_eq!(issuer.source.algorithms, algorithms);
    assert_eq!((issuer.leeway, issuer.source.refresh), (Duration::from_secs(30), Duration::from_secs(900)));
    let claims = &issuer.claims;
    assert_eq!(
        (claims.username.as_str(), claims.email.as_str(), claims.name.as_str()),
        ("sub", "email", "name")
    );
    assert_eq!(claims.roles, None);
    assert!(issuer.source.tls.is_some());
}

#[test]
fn everything_of_an_issuer_can_be_said() {
    let config = sound(&with(
        "issuers:\n  - issuer: any text\n    jwks: http://127.0.0.1:8000/jwks\n    audiences: api\n    algorithms: PS256\n    \
         claims: { username: preferred_username, email: mail, name: cn, roles: https://example.com/roles }\n    \
         required_claims: { tid: [a, b], level: 3 }\n    roles_separator: comma\n    roles_prefix: 'x:'\n    \
         username_prefix: 'x-'\n    leeway: 0\n    refresh: 5m",
    ));
    let issuer = &config.issuers[0];
    assert!(matches!(&issuer.source.location, Location::Url(_)) && issuer.source.tls.is_none());
    assert_eq!(issuer.source.algorithms, [SignatureAlgorithm::Ps256]);
    assert_eq!(issuer.claims.roles.as_ref().map(|path| path.as_str()), Some("https://example.com/roles"));
    let required: Vec<_> =
        issuer.required.iter().map(|(path, values)| (path.as_str(), &values[..])).collect();
    assert_eq!(required, [("tid", &["a".to_owned(), "b".to_owned()][..]), ("level", &["3".to_owned()][..])]);
    assert_eq!(issuer.roles_separator, Some(Separator::Comma));
    assert_eq!((&*issuer.roles_prefix, &*issuer.username_prefix), ("x:", "x-"));
    assert_eq!(issuer.leeway, Duration::ZERO);
}

#[test]
fn keys_in_a_file_are_read_with_the_configuration_and_make_two_of_them_equal_or_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = with("issuers: [{ issuer: me, jwks: jwks.json, audiences: [api] }]");
    let parse = || Config::parse(&text, "foregate.yaml", &|_| None, folder.path());
    let write = |text: &str| std::fs::write(folder.path().join("jwks.json"), text).expect("it is written");
    let fault = || parse().expect_err("it is faulty").to_string();
    assert!(fault().contains("there is no file `"), "{}", fault());
    for (text, message) in [
        ("{", "can't be used: it is no JSON Web Key Set"),
        ("{\"keys\":[]}", "holds no key that can verify RS256, ES256, EdDSA"),
        ("{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}", "holds no key that can verify"),
    ] {
        write(text);
        assert!(fault().contains(message), "{text}: {}", fault());
    }
    write(JWKS);
    let one = parse().expect("it is sound");
    assert_eq!(one.issuers, parse().expect("it is sound").issuers);
    write(&JWKS.replace("\"a\"", "\"b\""));
    assert_ne!(one.issuers, parse().expect("it is sound").issuers);
    let Location::File(keys) = &one.issuers[0].source.location else { panic!("a file") };
    assert_eq!(keys.ids().len(), 1);
}

#[test]
fn an_issuer_that_can_not_be_is_told_why() {
    let with = |issuer: &str| with(&format!("issuers:\n  - {issuer}"));
    for (issuer, lines) in [
        (
            "{ audiences: [a] }",
            &["2:7: `issuer` is missing", "expected who signs, as `iss` of the tokens has it"][..],
        ),
        (
            "{ issuer: \"https://a.test\" }",
            &[
                "2:7: `audiences` is missing",
                "a token that the issuer made for any other application would be good here",
            ],
        ),
        ("{ issuer: \"https://a.test\", audiences: [] }", &["`audiences` can't be an empty list"]),
        (
            "{ issuer: \"https://a.test\", audience: [a], audiences: [a] }",
            &["unknown key `audience`", "did you mean `audiences`?"],
        ),
        (
            "{ issuer: \"https://a.test\", audiences: [a], algorithms: [HS256] }",
            &["`algorithms` can't list `HS256`", "whoever can verify with a shared secret can sign with it"],
        ),
        (
            "{ issuer: \"https://a.test\", audiences: [a], algorithms: [none] }",
            &["`algorithms` can't list `none`", "a token that nobody has signed says nothing"],
        ),
        (
            "{ issuer: \"https://a.test\", audiences: [a], algorithms: [RS25] }",
            &["`algorithms` can't list `RS25`", "did you mean `RS256`?"],
        ),
        (
            "{ issuer: \"https://a.test\", audiences: [a], algorithms: [RS256, RS256] }",
            &["it is there already"],
        ),
        (
            "{ issuer: \"https://a.test\", audiences: [a], algorithms: [] }",
            &["expected at least one algorithm"],
        ),
        (
            "{ issuer: \"http://a.test\", audiences: [a] }",
            &["`http://a.test` has no OpenID configuration", "set `jwks` to a URL or a file"],
        ),
        ("{ issuer: me, audiences: [a] }", &["`me` has no OpenID configuration"]),
        (
            "{ issuer: me, audiences: [a], jwks: \"http://a.test/jwks\" }",
            &["`jwks` can't be `http://a.test/jwks`", "http is for this machine alone"],
        ),
        ("{ issuer: me, audiences: [a], jwks: \"ftp://a.test/jwks\" }", &["expected an https URL"]),
        ("{ issuer: me, audiences: [a], jwks: \"https://b:c@a.test/\" }", &["without a user"]),
        (
            "{ issuer: me, audiences: [a], jwks: nowhere.json }",
            &["there is no file `/etc/foregate/nowhere.json`"],
        ),
        (
            "{ issuer: \"https://a.test\", audiences: [a], claims: { usrname: sub } }",
            &["unknown key `usrname`", "did you mean `username`?"],
        ),
        (
            "{ issuer: \"https://a.test\", audiences: [a], claims: { roles: a..b } }",
            &["`roles` can't be `a..b`", "expected the name of a claim"],
        ),
        (
            "{ issuer: \"https://a.test\", audiences: [a], roles_separator: \";\" }",
            &["`roles_separator` can't be `;`", "expected `space` or `comma`"],
        ),
        (
            "{ issuer: \"https://a.test\", audiences: [a], roles_prefix: \"a b\" }",
            &["`roles_prefix` can't be `a b`"],
        ),
        (
            "{ issuer: \"https://a.test\", audiences: [a], username_prefix: \"a@\" }",
            &["`username_prefix` can't be `a@`"],
        ),
        (
            "{ issuer: \"https://a.test\", audiences: [a], leeway: 2m }",
            &["`leeway` can't be `2m`", "`60s` at most"],
        ),
        ("{ issuer: \"https://a.test\", audiences: [a], refresh: 0 }", &["`refresh` can't be `0`"]),
        (
            "{ issuer: \"https://a.test\", audiences: [a], refresh: 2d }",
            &["expected a time from `1s` to `1d`"],
        ),
        (
            "{ issuer: \"https://a.test\", audiences: [a], required_claims: [a] }",
            &["expected claims and their values"],
        ),
        (
            "{ issuer: \"https://a.test\", audiences: [a], required_claims: { a: [] } }",
            &["`a` can't be an empty list"],
        ),
        (
            "{ issuer: \"https://a.test\", audiences: [a], required_claims: { a.: b } }",
            &["`a.` is the name of no claim"],
        ),
        (
            "{ issuer: \"https://a.test\", audiences: [a], ca: nowhere.pem }",
            &["there is no file `/etc/foregate/nowhere.pem`"],
        ),
        ("{ issuer: \"http://127.0.0.1:8080\", audiences: [a] }", &["is ourselves", "could sign as us"]),
    ] {
        let faults = Config::parse(&with(issuer), "foregate.yaml", &|_| None, Path::new("/etc/foregate"));
        let faults = faults.expect_err(issuer).to_string();
        for line in lines {
            assert!(faults.contains(line), "{issuer}: no {line:?} in\n{faults}");
        }
    }
    told(
        &with(
            "{ issuer: \"https://a.test\", audiences: [a] }\n  - { issuer: \"https://a.test\", audiences: [b] }",
        ),
        &[
            "foregate.yaml:3:15: the issuer `https://a.test` is there twice",
            "    3 |   - { issuer: \"https://a.test\", audiences: [b] }",
            "      |               ^^^^^^^^^^^^^^^^ expected one entry with all of its `audiences`",
            "    2 |   - { issuer: \"https://a.test\", audiences: [a] }",
            "      |               ^^^^^^^^^^^^^^^^ foregate.yaml:2:15: the first",
        ],
    );
}

#[test]
fn the_example_of_the_reference_is_sound() {
    let lines = super::REFERENCE.lines().skip_while(|line| *line != "#   issuers:");
    let example = lines.map_while(|line| line.strip_prefix("#   "));
    // Its file is not there.
    let example: Vec<&str> = example.filter(|line| line.trim() != "ca: idp-ca.pem").collect();
    assert!(example.contains(&"    refresh: 15m"), "{example:?}");
    let config = sound(&with(&example.join("\n")));
    assert_eq!(config.issuers[0].audiences, ["api"]);
    assert_eq!(config.issuers[0].username_prefix, "idp:");
}
