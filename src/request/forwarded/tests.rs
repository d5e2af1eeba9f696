//! Who is believed about the client, and how far.

use proptest::prelude::*;

use super::*;

const PROXY: &str = "10.0.0.1";

fn trusted() -> TrustedProxies {
    TrustedProxies(vec!["10.0.0.0/8".parse().expect("network"), "2001:db8:f::/48".parse().expect("network")])
}

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let parse = |(name, value): &(&str, &str)| {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("value");
        (HeaderName::try_from(*name).expect("name"), value)
    };
    // Extending by pairs appends.
    lines.iter().map(parse).collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

fn read(lines: &[(&str, &str)]) -> Result<Forwarding, ForwardedFault> {
    Forwarding::read(ip(PROXY), &headers(lines), &trusted())
}

#[test]
fn trust_knows_ipv4_in_both_forms() {
    assert!(trusted().contains(ip("10.1.2.3")));
    assert!(trusted().contains(ip("::ffff:10.1.2.3")));
    assert!(trusted().contains(ip("2001:db8:f::1")));
    assert!(!trusted().contains(ip("11.0.0.1")));
    assert!(!trusted().contains(ip("2001:db8:e::1")));
    assert!(!TrustedProxies::default().contains(ip("127.0.0.1")));
    let mapped = TrustedProxies(vec!["::ffff:10.0.0.0/104".parse().expect("network")]);
    assert!(mapped.contains(ip("10.1.2.3")) && !mapped.contains(ip("11.1.2.3")));
    let all_v6 = TrustedProxies(vec!["::/0".parse().expect("network")]);
    assert!(all_v6.contains(ip("::1")) && !all_v6.contains(ip("10.1.2.3")));
}

#[test]
fn the_client_is_the_right_most_address_that_is_not_trusted() {
    for (lines, expected) in [
        (&[][..], PROXY),
        (&["192.0.2.1"], "192.0.2.1"),
        (&["203.0.113.9, 192.0.2.1"], "192.0.2.1"),
        (&["192.0.2.1,\t10.0.0.7 , 10.0.0.8"], "192.0.2.1"),
        (&["203.0.113.9", "192.0.2.1", "10.0.0.7"], "192.0.2.1"),
        (&["10.0.0.7, 10.0.0.8"], "10.0.0.7"),
        (&["192.0.2.1:4711"], "192.0.2.1"),
        (&["2001:db8::1"], "2001:db8::1"),
        (&["[2001:db8::1]"], "2001:db8::1"),
        (&["[2001:db8::1]:4711"], "2001:db8::1"),
        (&["::ffff:192.0.2.1"], "192.0.2.1"),
        (&["192.0.2.1, [::ffff:10.0.0.7]:80"], "192.0.2.1"),
        // What can't be read ends the search, at the last address known.
        (&["garbage"], PROXY),
        (&[""], PROXY),
        (&["192.0.2.1,"], PROXY),
        (&["192.0.2.1, unknown"], PROXY),
        (&["192.0.2.1, unknown, 10.0.0.7"], "10.0.0.7"),
        (&["192.0.2.1", "\u{ff}"], PROXY),
        (&["garbage, 192.0.2.1"], "192.0.2.1"),
        (&["fe80::1%eth0"], PROXY),
        (&["[fe80::1%eth0]:80"], PROXY),
        (&["192.0.2.1:"], PROXY),
        (&["192.0.2.1:+80"], PROXY),
        (&["192.0.2.1:65536"], PROXY),
        (&["[192.0.2.1]"], PROXY),
        (&["[2001:db8::1"], PROXY),
        (&["[2001:db8::1]x"], PROXY),
        (&["192.0.2.01"], PROXY),
        (&["3221225985"], PROXY),
        (&["192.0.2.1 192.0.2.2"], PROXY),
        (&["0.0.0.0"], PROXY),
        (&["::"], PROXY),
        (&["localhost"], PROXY),
    ] {
        let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
        assert_eq!(read(&lines).map(|read| read.client), Ok(ip(expected)), "{lines:?}");
    }
    let lines = headers(&[("x-forwarded-for", "192.0.2.1")]);
    assert_eq!(client(ip("198.51.100.1"), &lines, &trusted()), ip("198.51.100.1"), "the peer isn't trusted");
}

#[test]
fn forwarded_is_read_where_nothing_else_is_said() {
    for (lines, expected) in [
        (&["for=192.0.2.1"][..], said("192.0.2.1", None, None)),
        (&["For=\"[2001:db8::1]:4711\";proto=https;by=_x"], said("2001:db8::1", None, Some("https"))),
        (&["for=192.0.2.1:80;host=\"App.test:8080\""], said("192.0.2.1", Some("app.test:8080"), None)),
        (&["for=203.0.113.9, for=192.0.2.1 ; proto=HTTP"], said("192.0.2.1", None, Some("http"))),
        (&["for=192.0.2.1", "for=10.0.0.7;host=a.test"], said("192.0.2.1", Some("a.test"), None)),
        (&["for=\"192.0.\\2.1\""], said("192.0.2.1", None, None)),
        (&["for=\"192.0.2.1:_hidden\""], said("192.0.2.1", None, None)),
        (&["for=192.0.2.1, for=unknown"], said(PROXY, None, None)),
        (&["for=192.0.2.1, for=_hidden"], said(PROXY, None, None)),
        (&["for=192.0.2.1, proto=https"], said(PROXY, None, Some("https"))),
        (&["for=192.0.2.1, for=_x, for=10.0.0.7"], said("10.0.0.7", None, None)),
    ] {
        let lines: Vec<_> = lines.iter().map(|line| ("forwarded", *line)).collect();
        assert_eq!(read(&lines), Ok(expected), "{lines:?}");
    }
    for (line, expected) in [
        ("", ForwardedFault::Malformed),
        ("for", ForwardedFault::Malformed),
        ("for=", ForwardedFault::Malformed),
        ("for=\"192.0.2.1", ForwardedFault::Malformed),
        ("for=\"192.0.2.1\\", ForwardedFault::Malformed),
        ("for=\"192.0.2.1\"x", ForwardedFault::Malformed),
        ("for=192.0.2.1,", ForwardedFault::Malformed),
        ("for=192.0.2.1;;proto=http", ForwardedFault::Malformed),
        ("for=192.0.2.1 proto=http", ForwardedFault::Malformed),
        ("f r=192.0.2.1", ForwardedFault::Malformed),
        ("for =192.0.2.1", ForwardedFault::Malformed),
        ("for= 192.0.2.1", ForwardedFault::Malformed),
        ("for=192.0.2.1;for=192.0.2.2", ForwardedFault::Contradiction),
        ("for=\"x, for=192.0.2.1", ForwardedFault::Malformed),
        ("proto=http, proto=https", ForwardedFault::Contradiction),
        ("host=a, host=b", ForwardedFault::Contradiction),
        ("proto=gopher", ForwardedFault::Malformed),
        ("host=\"a b\"", ForwardedFault::Malformed),
    ] {
        assert_eq!(read(&[("forwarded", line)]), Err(expected), "{line}");
    }
    let both = [("forwarded", "for=203.0.113.9;host=evil.test;proto=http"), ("x-forwarded-for", "192.0.2.1")];
    assert_eq!(read(&both), Ok(said("192.0.2.1", None, None)));
}

fn said(client: &str, host: Option<&str>, scheme: Option<&str>) -> Forwarding {
    Forwarding {
        client: ip(client),
        host: host.map(|host| host.parse().expect("host")),
        port: None,
        scheme: scheme.map(|text| super::scheme(text).expect("scheme")),
    }
}

#[test]
fn host_port_and_scheme_are_believed_once_they_agree() {
    let said = read(&[
        ("x-forwarded-host", "App.test., app.test"),
        ("x-forwarded-port", "8443"),
        ("x-forwarded-proto", "wss"),
        ("x-forwarded-proto", "https"),
    ]);
    let said = said.expect("all agree");
    assert_eq!(said.host.map(|host| host.to_string()).as_deref(), Some("app.test"));
    assert_eq!((said.port, said.scheme), (Some(8443), Some(Scheme::Https)));
    for (name, value, expected) in [
        ("x-forwarded-host", "a.test, b.test", ForwardedFault::Contradiction),
        ("x-forwarded-host", "a.test, a.test:80", ForwardedFault::Contradiction),
        ("x-forwarded-host", "", ForwardedFault::Malformed),
        ("x-forwarded-host", "a.test,", ForwardedFault::Malformed),
        ("x-forwarded-host", "a.test/x", ForwardedFault::Malformed),
        ("x-forwarded-host", "\u{e9}", ForwardedFault::Malformed),
        ("x-forwarded-proto", "http, https", ForwardedFault::Contradiction),
        ("x-forwarded-proto", "ftp", ForwardedFault::Malformed),
        ("x-forwarded-port", "0", ForwardedFault::Malformed),
        ("x-forwarded-port", "+80", ForwardedFault::Malformed),
        ("x-forwarded-port", "65536", ForwardedFault::Malformed),
        ("x-forwarded-port", "80, 81", ForwardedFault::Contradiction),
    ] {
        assert_eq!(read(&[(name, value)]), Err(expected), "{name}: {value}");
    }
}

#[test]
fn a_single_field_may_repeat_itself_and_nothing_else() {
    let name = "x-original-url";
    assert_eq!(single(&headers(&[]), name), Ok(None));
    assert_eq!(single(&headers(&[(name, "/a")]), name), Ok(Some("/a")));
    assert_eq!(single(&headers(&[(name, "/a"), (name, "/a")]), name), Ok(Some("/a")));
    assert_eq!(single(&headers(&[(name, "/a"), (name, "/b")]), name), Err(ForwardedFault::Contradiction));
    assert_eq!(single(&headers(&[(name, "\u{e9}")]), name), Err(ForwardedFault::Malformed));
}

proptest! {
    /// Whatever a client writes, the proxy's own entry behind it decides.
    #[test]
    fn what_a_client_wrote_never_wins(lines in prop::collection::vec("[ -~]{0,30}", 0..3), glued in any::<bool>()) {
        let mut all: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", line.as_str())).collect();
        let own = match lines.last() {
            Some(last) if glued => format!("{last}, 192.0.2.1"),
            _ => "192.0.2.1".to_owned(),
        };
        if glued {
            all.pop();
        }
        all.push(("x-forwarded-for", &own));
        prop_assert_eq!(read(&all).map(|read| read.client), Ok(ip("192.0.2.1")));
    }

    #[test]
    fn forwarded_never_panics_and_never_gives_way_to_what_stands_left(left in "[ -~]{0,40}") {
        let line = format!("{left}, for=192.0.2.1");
        if let Ok(read) = read(&[("forwarded", &line)]) {
            prop_assert_eq!(read.client, ip("192.0.2.1"));
        }
    }

    #[test]
    fn an_address_survives_being_written(address in any::<u128>()) {
        let v6 = IpAddr::V6(address.into());
        prop_assume!(!v6.is_unspecified() && !v6.to_canonical().is_unspecified());
        for text in [v6.to_string(), format!("[{v6}]"), format!("[{v6}]:65535")] {
            prop_assert_eq!(super::address(&text), Some(v6.to_canonical()));
        }
    }
}
