//! Targets: what is refused, and every reading of what is not.

use proptest::prelude::*;

use super::*;

fn readings(raw: &str) -> Vec<String> {
    let target = Target::parse(raw).unwrap_or_else(|fault| panic!("{raw}: {fault}"));
    assert_eq!(target.as_str(), raw);
    target.readings().map(str::to_owned).collect()
}

#[test]
fn a_plain_path_is_its_only_reading() {
    for raw in ["/", "/a", "/a/", "/a/b.c", "/a..b/...", "/.well-known/x", "/A/b:c@d,e=f&g+h!$'()*~[]|^\"{}"]
    {
        let target = Target::parse(raw).expect(raw);
        assert!(target.readings.is_none(), "{raw} needs no list");
        assert_eq!(readings(raw), [raw]);
    }
    let target = Target::parse("/a?b=/../%zz\\&c=d//;e?f").expect("the query is not read");
    assert_eq!((target.path(), target.query()), ("/a", Some("b=/../%zz\\&c=d//;e?f")));
    assert_eq!(Target::parse("/a?").expect("empty query").as_str(), "/a?");
}

#[test]
fn a_dot_segment_is_not_plain() {
    for raw in ["/.", "/..", "/./a", "/../a", "/a/.", "/a/..", "/a/../b", "/..a"] {
        assert!(!is_plain(raw), "{raw}");
    }
    for raw in ["/.a", "/.auth/login", "/a/.b", "/a.", "/a./b", "/a/b..", "/.a."] {
        assert!(is_plain(raw), "{raw}");
    }
}

#[test]
fn an_encoded_path_is_read_decoded() {
    assert_eq!(readings("/a%20b"), ["/a b"]);
    assert_eq!(readings("/%61%62"), ["/ab"]);
    assert_eq!(readings("/caf%C3%a9"), ["/caf\u{e9}"]);
    assert_eq!(readings("/wait%E2%80%A6"), ["/wait\u{2026}"]);
    assert_eq!(readings("/100%25"), ["/100%"]);
    assert_eq!(readings("/100%25%20free"), ["/100% free"]);
    assert_eq!(readings("/a%2Bb%40c"), ["/a+b@c"]);
}

#[test]
fn what_backends_read_differently_has_all_its_readings() {
    for (raw, expected) in [
        ("/@scope%2fname", &["/@scope%2Fname", "/@scope/name"][..]),
        ("/a//b", &["/a//b", "/a/b"]),
        ("/a///b/", &["/a///b/", "/a/b/"]),
        ("/a%2f/b", &["/a%2F/b", "/a//b", "/a/b"]),
        ("/a;v=1/b", &["/a;v=1/b", "/a/b"]),
        ("/a;v/b;w", &["/a;v/b;w", "/a/b", "/a;v/b"]),
        ("/a%3bv/b", &["/a;v/b", "/a/b"]),
        ("/;v/a", &["/;v/a", "//a", "/a", "/"]),
        ("/a%2520b", &["/a%20b", "/a b"]),
        ("/a%252fb", &["/a%2fb", "/a%2Fb", "/a/b"]),
        ("/a%25252fb", &["/a%252fb", "/a%2fb", "/a%2Fb", "/a/b"]),
        ("/a%3fb", &["/a?b", "/a"]),
        ("/c%23/x", &["/c#/x", "/c"]),
        ("//x/admin", &["//x/admin", "/x/admin", "/admin"]),
        ("//x", &["//x", "/x", "/"]),
        ("//", &["//", "/"]),
    ] {
        assert_eq!(readings(raw), expected, "{raw}");
    }
}

#[test]
fn a_target_without_honest_use_is_refused() {
    for (raw, expected) in [
        ("", TargetFault::Form),
        ("a", TargetFault::Form),
        ("*", TargetFault::Form),
        ("?a", TargetFault::Form),
        ("http://h/", TargetFault::Form),
        ("/a#b", TargetFault::Fragment),
        ("/a?b#c", TargetFault::Fragment),
        ("/a b", TargetFault::Character),
        ("/a<b", TargetFault::Character),
        ("/a?b c", TargetFault::Character),
        ("/\u{e9}", TargetFault::Character),
        ("/a\tb", TargetFault::Control),
        ("/a\u{7f}", TargetFault::Control),
        ("/a?\r\nX: y", TargetFault::Control),
        // dot segments
        ("/.", TargetFault::DotSegment),
        ("/..", TargetFault::DotSegment),
        ("/a/../b", TargetFault::DotSegment),
        ("/a/./b", TargetFault::DotSegment),
        ("/a/%2e%2E/b", TargetFault::DotSegment),
        ("/a/.%2e", TargetFault::DotSegment),
        ("/a/%2e./b", TargetFault::DotSegment),
        ("/a/%2e", TargetFault::DotSegment),
        ("/a/%252e%252e/b", TargetFault::DotSegment),
        ("/a/%25252e./b", TargetFault::DotSegment),
        ("/a/%%32e", TargetFault::Escape),
        ("/a/%25%32%65/b", TargetFault::DotSegment),
        ("/a/..;/b", TargetFault::DotSegment),
        ("/a/..;x=y/b", TargetFault::DotSegment),
        ("/a/.;/b", TargetFault::DotSegment),
        ("/a/%2e%2e%3b/b", TargetFault::DotSegment),
        ("/a/..%253b/b", TargetFault::DotSegment),
        ("/a/..%20/b", TargetFault::DotSegment),
        ("/a/..%3fx", TargetFault::DotSegment),
        ("/a/..%23x", TargetFault::DotSegment),
        ("/public/..%2fadmin", TargetFault::DotSegment),
        ("/public/..%252fadmin", TargetFault::DotSegment),
        ("/a%2f..%2fb", TargetFault::DotSegment),
        ("/a%2f%2e%2e%2fb", TargetFault::DotSegment),
        ("/a;%2f..%2fb", TargetFault::DotSegment),
        ("/a;x/..;y/b", TargetFault::DotSegment),
        ("//x/../b", TargetFault::DotSegment),
        // backslashes
        ("/a\\b", TargetFault::Backslash),
        ("/a%5cb", TargetFault::Backslash),
        ("/a%5C..%5Cb", TargetFault::Backslash),
        ("/a%255cb", TargetFault::Backslash),
        ("/..\\b", TargetFault::Backslash),
        // controls
        ("/a%00", TargetFault::Control),
        ("/a%0a", TargetFault::Control),
        ("/a%0D%0Ab", TargetFault::Control),
        ("/a%09", TargetFault::Control),
        ("/a%7f", TargetFault::Control),
        ("/a%2500", TargetFault::Control),
        ("/a%c2%85", TargetFault::Control),
        // percent-encoding
        ("/%", TargetFault::Escape),
        ("/%2", TargetFault::Escape),
        ("/%zz", TargetFault::Escape),
        ("/%+1", TargetFault::Escape),
        ("/%u002e", TargetFault::Escape),
        ("/%25u002e", TargetFault::Escape),
        ("/%E9", TargetFault::Encoding),
        ("/%ff", TargetFault::Encoding),
        ("/%c0%ae%c0%ae/", TargetFault::Encoding),
        ("/%e0%80%af", TargetFault::Encoding),
        ("/%f0%80%80%af", TargetFault::Encoding),
        ("/%ed%a0%80", TargetFault::Encoding),
        ("/%25c0%25ae", TargetFault::Encoding),
        // look-alikes
        ("/%ef%bc%8e%ef%bc%8e/b", TargetFault::LookAlike),
        ("/a%ef%bc%8fb", TargetFault::LookAlike),
        ("/a%ef%bc%bcb", TargetFault::LookAlike),
        ("/%ef%bc%852e", TargetFault::LookAlike),
        ("/%e2%80%a5/b", TargetFault::LookAlike),
        ("/%e2%80%a4%e2%80%a4/b", TargetFault::LookAlike),
        ("/%e2%84%80", TargetFault::LookAlike),
    ] {
        assert_eq!(Target::parse(raw), Err(expected), "{raw:?}");
    }
}

#[test]
fn length_and_number_of_readings_are_bounded() {
    let path = |len: usize| format!("/{}", "p".repeat(len - 1));
    assert!(Target::parse(&path(TARGET_BYTES)).is_ok());
    assert_eq!(Target::parse(&path(TARGET_BYTES + 1)), Err(TargetFault::TooLong));
    assert_eq!(TargetFault::TooLong.status(), 414);

    let nested = |depth: usize| format!("/a%{}41", "25".repeat(depth));
    assert_eq!(readings(&nested(31)).len(), 32);
    assert_eq!(Target::parse(&nested(32)), Err(TargetFault::Readings));
    let long = format!("{}%2525252541", path(8000));
    assert_eq!(Target::parse(&long).map(|target| target.readings().count()), Ok(5));
    let longer = format!("{}%{}41", path(8000), "25".repeat(9));
    let count = Target::parse(&longer).map(|target| target.readings().count());
    assert_eq!(count, Err(TargetFault::Readings));
}

#[test]
fn a_uri_gives_its_path_and_query() {
    let from =
        |uri: &str| Target::from_uri(&uri.parse().expect(uri)).map(|target| target.as_str().to_owned());
    assert_eq!(from("/a%20b?c").as_deref(), Ok("/a%20b?c"));
    assert_eq!(from("http://h/a?b").as_deref(), Ok("/a?b"));
    assert_eq!(from("http://h").as_deref(), Ok("/"));
    assert_eq!(from("http://h?b").as_deref(), Ok("/?b"));
    assert_eq!(from("*"), Err(TargetFault::Form));
    assert_eq!(from("h:80"), Err(TargetFault::Form));
}

/// Pieces that mean something to one server or another.
fn hostile_path() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "/",
        "/",
        "//",
        ".",
        "..",
        ";",
        "a",
        "admin",
        "%2f",
        "%2F",
        "%2e",
        "%252e",
        "%25",
        "%",
        "%3b",
        "%3f",
        "#",
        "\\",
        "%5c",
        "%00",
        "%c0%ae",
        "%c3%a9",
        "%ef%bc%8e",
        "32",
        "2e",
        "?",
        "%20",
        "u002e",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #[test]
    fn no_reading_holds_what_is_refused(raw in prop_oneof![hostile_path(), "\\PC*", "/[ -~]{0,40}"]) {
        let Ok(target) = Target::parse(&raw) else { return Ok(()) };
        prop_assert_eq!(target.as_str(), &raw);
        prop_assert_eq!(Target::parse(target.as_str()), Ok(target.clone()));
        let all: Vec<_> = target.readings().collect();
        prop_assert!((1..=READINGS).contains(&all.len()));
        for (at, reading) in all.iter().enumerate() {
            prop_assert!(reading.starts_with('/'), "{}", reading);
            prop_assert!(!reading.contains('\\') && !reading.contains(char::is_control));
            prop_assert!(!reading.split('/').any(|segment| segment == "." || segment == ".."), "{}", reading);
            prop_assert!(!all[..at].contains(reading), "twice: {}", reading);
        }
    }

    /// What one server hands on decoded, the next reads again; nothing new may come out.
    #[test]
    fn a_reading_has_no_reading_that_the_target_hasn_t(raw in hostile_path()) {
        let Ok(target) = Target::parse(&raw) else { return Ok(()) };
        let all: Vec<_> = target.readings().collect();
        for reading in &all {
            let Ok(again) = Target::parse(reading) else { continue };
            if again.query().is_some() {
                continue;
            }
            for deeper in again.readings() {
                prop_assert!(all.contains(&deeper), "{} of {}", deeper, reading);
            }
        }
    }

    #[test]
    fn what_is_called_plain_has_no_other_reading(raw in "/[/.a~;%\\\\]{0,8}") {
        if is_plain(&raw) {
            let mut readings = Readings::default();
            prop_assert_eq!(readings.of(&raw), Ok(()));
            prop_assert_eq!(readings.found, [raw]);
        }
    }

    #[test]
    fn a_path_of_plain_characters_is_its_only_reading(raw in "(/[A-Za-z0-9_~!$&'()*+,=:@-]{1,8}){1,5}/?") {
        prop_assert_eq!(readings(&raw), [raw]);
    }
}
