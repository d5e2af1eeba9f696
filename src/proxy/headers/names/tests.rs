//! Names in every spelling that some backend reads as the same.

use proptest::prelude::*;

use super::*;

fn name(raw: &str) -> HeaderName {
    HeaderName::from_bytes(raw.as_bytes()).expect("a header name")
}

fn reserved() -> ReservedNames {
    ReservedNames::new(&[name("Remote-User"), name("X-User"), name("_tenant.id"), name("Sub")])
}

#[test]
fn every_spelling_of_a_reserved_name_is_reserved() {
    for spelling in [
        "Remote-User",
        "REMOTE_USER",
        "remote.user",
        "REMOTE~USER",
        "Remote!User",
        "remote-anything",
        "remote_",
        "X-Remote-User",
        "X_Remote_User",
        "x.remote.user",
        "X-Auth-User",
        "X.Auth.User",
        "x~auth~request~user",
        "X_Auth-Token",
        "X-authentik-username",
        "X_AUTHENTIK_JWT",
        "X-WEBAUTH-USER",
        "x_webauth_role",
        "X-Foregate-Assertion",
        "x|foregate|assertion",
        "X-Forwarded-User",
        "X_Forwarded_User",
        "x.forwarded-email",
        "X-Forwarded_Groups",
        "x-forwarded_preferred.username",
        "X-Original-URL",
        "x_original_method",
        "X-Rewrite-URL",
        "x*rewrite*url",
        "X-User",
        "x_user",
        "x`user",
        "-tenant-id",
        "_tenant_id",
        "$tenant+id",
        "sub",
    ] {
        assert!(reserved().contains(&name(spelling)), "{spelling}");
    }
}

#[test]
fn names_that_only_look_alike_pass() {
    for other in [
        "Remote",
        "RemoteUser",
        "Xremote-user",
        "X-Authority",
        "X-Auth",
        "X-Webauthn",
        "X-Users",
        "X-Use",
        "X--User",
        "Y-Remote-User",
        "X-Originality",
        "Subject",
        "tenant-id",
        "Accept",
        "X-Requested-With",
        "User-Agent",
        "X-CSRF-Token",
        "Content-Type",
        "Host",
        "X-ForwardedFor",
    ] {
        assert_eq!(reserved().fate(&name(other)), Fate::Keep, "{other}");
    }
}

#[test]
fn what_frames_a_message_ends_here_in_every_spelling() {
    for (raw, fate) in [
        ("Connection", Fate::HopByHop),
        ("Keep-Alive", Fate::HopByHop),
        ("keep_alive", Fate::HopByHop),
        ("Proxy-Authorization", Fate::HopByHop),
        ("proxy_authorization", Fate::HopByHop),
        ("Proxy-Connection", Fate::HopByHop),
        ("Proxy", Fate::HopByHop),
        ("TE", Fate::Te),
        ("Trailer", Fate::Trailer),
        ("Transfer-Encoding", Fate::HopByHop),
        ("transfer_encoding", Fate::HopByHop),
        ("Content-Length", Fate::ContentLength),
        ("content.length", Fate::ContentLength),
        ("Upgrade", Fate::HopByHop),
        ("HTTP2-Settings", Fate::HopByHop),
        ("Expect", Fate::Expect),
        ("Cookie", Fate::Cookie),
        ("Authorization", Fate::Authorization),
        ("Forwarded", Fate::SetAnew),
        ("X-Forwarded-For", Fate::SetAnew),
        ("x_forwarded.for", Fate::SetAnew),
        ("X-Real-IP", Fate::SetAnew),
        ("x_real_ip", Fate::SetAnew),
        ("X_Request_Id", Fate::SetAnew),
        ("X-Forwarded-Prefix", Fate::TrustedOnly),
        ("X_Forwarded_Uri", Fate::TrustedOnly),
        ("X-Forwarded", Fate::TrustedOnly),
    ] {
        assert_eq!(reserved().fate(&name(raw)), fate, "{raw}");
    }
}

#[test]
fn trailers_carry_neither_identity_nor_framing_nor_routing() {
    for bad in [
        "Remote-User",
        "x_user",
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Cookie",
        "Authorization",
        "Content-Type",
        "content_type",
        "X-Forwarded-For",
        "X-Forwarded-Prefix",
        "Connection",
        "TE",
        "Trailer",
        "Set-Cookie",
    ] {
        assert!(!reserved().allows_trailer(&name(bad)), "{bad}");
    }
    for good in ["grpc-status", "X-Checksum", "Digest", "Server-Timing"] {
        assert!(reserved().allows_trailer(&name(good)), "{good}");
    }
    let edited = reserved().with_edited([name("X-Tenant")]);
    for spelt in ["x-tenant", "X_Tenant"] {
        assert!(!edited.allows_trailer(&name(spelt)), "{spelt}");
        assert!(!edited.contains(&name(spelt)), "{spelt} is no identity");
    }
}

#[test]
fn a_route_changes_nothing_that_is_ours_or_http_s() {
    for (spelt, why) in [
        ("X-Tenant", None),
        ("Authorization", None),
        ("Cookie", None),
        ("Set-Cookie", None),
        ("Server", None),
        ("Accept-Encoding", None),
        ("Host", Some(Fixed::Host)),
        ("Content-Length", Some(Fixed::Connection)),
        ("content_length", Some(Fixed::Connection)),
        ("Transfer-Encoding", Some(Fixed::Connection)),
        ("Connection", Some(Fixed::Connection)),
        ("Upgrade", Some(Fixed::Connection)),
        ("TE", Some(Fixed::Connection)),
        ("Proxy", Some(Fixed::Connection)),
        ("Expect", Some(Fixed::Connection)),
        ("Remote-User", Some(Fixed::Origin)),
        ("X.Auth.Anything", Some(Fixed::Origin)),
        ("X-Foregate-Assertion", Some(Fixed::Origin)),
        ("X-Forwarded-For", Some(Fixed::Origin)),
        ("X-Forwarded-Anything", Some(Fixed::Origin)),
        ("Forwarded", Some(Fixed::Origin)),
        ("X-Real-IP", Some(Fixed::Origin)),
        ("X-Request-Id", Some(Fixed::Origin)),
    ] {
        assert_eq!(fixed(&name(spelt)), why, "{spelt}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_separator_and_no_case_gets_a_name_past(
        seps in proptest::collection::vec("[!#$%&'*+.^_`|~-]", 2),
        upper in proptest::bits::u32::ANY,
        which in 0..3usize,
    ) {
        let words = [["x", "auth", "user"], ["x", "forwarded", "email"], ["remote", "any", "thing"]][which];
        let spelt: String = [words[0], &seps[0], words[1], &seps[1], words[2]]
            .concat()
            .chars()
            .enumerate()
            .map(|(at, c)| if upper & (1 << at) != 0 { c.to_ascii_uppercase() } else { c })
            .collect();
        prop_assert!(reserved().contains(&name(&spelt)), "{}", spelt);
    }
}
