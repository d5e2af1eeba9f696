//! The target of a request: kept as it came, and read in every way in which a backend may read it.
//!
//! The same path means different files to different servers: some decode `%2f`, some merge slashes, some cut
//! `;parameters`, some decode twice. Rules that judge one reading while the backend serves another are the commonest hole
//! of gateways. So a path without honest use is a fault, and of any other all readings are given: whoever matches
//! rules has to match each, and what is forwarded is the target byte for byte.
//!
//! Callers: `Context` and, for the original request's URL, `subrequest`; `gate` matches the readings. What rules
//! exist is not known here. The query is never read.

use std::str::FromStr;
use std::sync::Arc;

use http::StatusCode;
use http::uri::{PathAndQuery, Uri};
use unicode_normalization::UnicodeNormalization;

/// The longest target, path and query together.
pub const TARGET_BYTES: usize = 8 * 1024;

/// More readings than this have no honest use.
const READINGS: usize = 32;

/// What all readings of one path may take in memory, as it is held as long as the request lasts.
const READING_BYTES: usize = 64 * 1024;

/// Path and query as sent, and every reading of the path. Cheap to clone.
///
/// Invariant: no reading holds a dot segment, a backslash or a control character, and there is at least one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    raw: PathAndQuery,
    /// `None`: the path as sent is its only reading, which is nearly always so.
    readings: Option<Arc<[String]>>,
}

impl Target {
    /// Reads a target in origin form (RFC 9112 §3.2.1).
    pub fn parse(raw: &str) -> Result<Self, TargetFault> {
        if !raw.starts_with('/') {
            return Err(TargetFault::Form);
        }
        // Before `http` sees it: it would cut at `#`.
        check_characters(raw)?;
        Self::judge(PathAndQuery::try_from(raw).map_err(|_| TargetFault::Character)?)
    }

    /// Takes path and query of a request's URI. Its authority, if there is one, is `Context`'s business.
    pub fn from_uri(uri: &Uri) -> Result<Self, TargetFault> {
        let raw = uri.path_and_query().ok_or(TargetFault::Form)?;
        check_characters(raw.as_str())?;
        if uri.authority().is_some() && raw.as_str().starts_with('?') {
            // `http://host?query`: the empty path of an absolute URL is `/` (RFC 9110 §4.2.3).
            return Self::parse(&format!("/{}", raw.as_str()));
        }
        Self::judge(raw.clone())
    }

    fn judge(raw: PathAndQuery) -> Result<Self, TargetFault> {
        let readings = match raw.as_str() {
            target if target.len() > TARGET_BYTES => return Err(TargetFault::TooLong),
            target if !target.starts_with('/') => return Err(TargetFault::Form),
            _ if is_plain(raw.path()) => None,
            _ => {
                let mut readings = Readings::default();
                readings.of(raw.path())?;
                let is_itself = matches!(&readings.found[..], [only] if only == raw.path());
                (!is_itself).then(|| readings.found.into())
            }
        };
        Ok(Self { raw, readings })
    }

    /// Path and query exactly as sent; this is what goes to the upstream.
    pub fn as_str(&self) -> &str {
        self.raw.as_str()
    }

    /// The path as sent. For matching, see `readings`.
    pub fn path(&self) -> &str {
        self.raw.path()
    }

    /// Path and query as `http` has them.
    pub fn path_and_query(&self) -> &PathAndQuery {
        &self.raw
    }

    /// What follows the first `?`, as sent; not even looked at.
    pub fn query(&self) -> Option<&str> {
        self.raw.query()
    }

    /// Every path that a common server may take this for, each once, decoded; the likeliest first. Where a reading keeps
    /// an encoded slash apart from a real one, it stands there as `%2F`.
    pub fn readings(&self) -> impl Iterator<Item = &str> {
        let (as_sent, found) = match &self.readings {
            None => (Some(self.path()), &[][..]),
            Some(found) => (None, &found[..]),
        };
        as_sent.into_iter().chain(found.iter().map(String::as_str))
    }
}

impl FromStr for Target {
    type Err = TargetFault;

    fn from_str(raw: &str) -> Result<Self, TargetFault> {
        Self::parse(raw)
    }
}

/// Why a target is refused, whatever the rules are.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TargetFault {
    /// Windows reads it as a slash.
    #[error("a backslash in the path")]
    Backslash,
    /// RFC 3986 §2.
    #[error("a character that may not stand in a target unencoded")]
    Character,
    /// Raw or encoded.
    #[error("a control character in the path")]
    Control,
    /// RFC 3986 §3.3, in any encoding.
    #[error("a dot segment in the path")]
    DotSegment,
    /// Invalid UTF-8 in the decoded path, overlong forms among it.
    #[error("the decoded path is not UTF-8")]
    Encoding,
    /// RFC 3986 §2.1.
    #[error("broken percent-encoding in the path")]
    Escape,
    /// Neither `/path` nor, where that is allowed, a URL with one.
    #[error("the target does not start with a slash")]
    Form,
    /// A fragment is never sent (RFC 9110 §4.2.5).
    #[error("a `#` in the target")]
    Fragment,
    /// Some backends fold it to the character it looks like.
    #[error("a full-width or similar form of a dot, slash, backslash or percent sign")]
    LookAlike,
    /// Nested encodings, mostly.
    #[error("the path has too many readings")]
    Readings,
    /// RFC 9110 §15.5.15.
    #[error("the target is too long")]
    TooLong,
}

impl TargetFault {
    /// A stable word for problem details, logs and metrics.
    pub fn code(self) -> &'static str {
        if self == Self::TooLong { "uri_too_long" } else { "bad_request" }
    }

    /// For the client.
    pub fn public_message(self) -> &'static str {
        if self == Self::TooLong { "The address is too long." } else { "The address is not valid." }
    }

    /// What it is answered with.
    pub fn status(self) -> StatusCode {
        if self == Self::TooLong { StatusCode::URI_TOO_LONG } else { StatusCode::BAD_REQUEST }
    }
}

/// Holds for path and query.
fn check_characters(target: &str) -> Result<(), TargetFault> {
    match target.bytes().find(|byte| !matches!(byte, b'!'..=b'"' | b'$'..=b'~')) {
        None => Ok(()),
        Some(b'#') => Err(TargetFault::Fragment),
        Some(byte) if byte.is_ascii_control() => Err(TargetFault::Control),
        Some(_) => Err(TargetFault::Character),
    }
}

/// Whether nobody reads the path as anything but itself. Says no for some of which that is true as well.
fn is_plain(path: &str) -> bool {
    let mut before = [0, 0];
    let plain = path.bytes().all(|byte| {
        let plain = match (before, byte) {
            (_, b'%' | b';' | b'\\') | ([_, b'/'], b'/') => false,
            // `/.well-known` and our own prefix are plain, `/.` and `/..` are not.
            ([b'/', b'.'], b'/' | b'.') => false,
            _ => true,
        };
        before = [before[1], byte];
        plain
    });
    plain && before != *b"/."
}

/// All readings of one path, found by applying whatever a server might do until nothing new comes out. That covers
/// every order in which a chain of servers might do it.
#[derive(Default)]
struct Readings {
    bytes: usize,
    found: Vec<String>,
}

impl Readings {
    fn of(&mut self, raw: &str) -> Result<(), TargetFault> {
        // Parameters are cut by some before they decode, so that `%3b` is none, and by others afterwards.
        for cut in [None, without_parameters(raw), without_last_parameters(raw)] {
            let raw = cut.as_deref().unwrap_or(raw);
            self.add(decode(raw, Slash::Kept, Stray::Fault)?)?;
            self.add(decode(raw, Slash::Decoded, Stray::Fault)?)?;
        }
        let mut next = 0;
        while let Some(reading) = self.found.get(next).cloned() {
            if reading.contains('%') {
                self.add(decode(&reading, Slash::Kept, Stray::Literal)?)?;
                self.add(decode(&reading, Slash::Decoded, Stray::Literal)?)?;
            }
            for other in [
                without_parameters(&reading),
                without_last_parameters(&reading),
                cut_at_query(&reading),
                with_merged_slashes(&reading),
                without_authority(&reading),
            ] {
                other.map_or(Ok(()), |other| self.add(other))?;
            }
            next += 1;
        }
        Ok(())
    }

    fn add(&mut self, reading: String) -> Result<(), TargetFault> {
        if self.found.contains(&reading) {
            return Ok(());
        }
        check_reading(&reading)?;
        self.bytes += reading.len();
        self.found.push(reading);
        if self.found.len() > READINGS || self.bytes > READING_BYTES {
            return Err(TargetFault::Readings);
        }
        Ok(())
    }
}

fn check_reading(path: &str) -> Result<(), TargetFault> {
    // `..;x` hides a dot segment from whoever cuts parameters later, `.. ` is one on Windows.
    let is_dots = |segment: &str| {
        let name = segment.split(';').next().unwrap_or_default();
        matches!(name.trim_end_matches(' '), "." | "..")
    };
    if path.contains('\\') {
        Err(TargetFault::Backslash)
    } else if path.contains(char::is_control) {
        Err(TargetFault::Control)
    } else if path.split('/').any(is_dots) {
        Err(TargetFault::DotSegment)
    } else if !path.is_ascii() && path.chars().any(is_look_alike) {
        Err(TargetFault::LookAlike)
    } else {
        Ok(())
    }
}

/// Whether compatibility folding (NFKC) makes a separator, an escape or one or two dots of it. An ellipsis makes three
/// and may stand in a title.
fn is_look_alike(character: char) -> bool {
    if character.is_ascii() {
        return false;
    }
    let mut folded = std::iter::once(character).nfkc();
    let mut dots = 0;
    let is_separator = folded.any(|folded| {
        dots = if folded == '.' { dots + 1 } else { 3 };
        matches!(folded, '/' | '\\' | '%')
    });
    is_separator || (1..=2).contains(&dots)
}

/// What happens to `%2f`.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Slash {
    Decoded,
    Kept,
}

/// What a `%` is that no two hexadecimal digits follow.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Stray {
    Fault,
    Literal,
}

/// One round of percent-decoding.
fn decode(path: &str, slash: Slash, stray: Stray) -> Result<String, TargetFault> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        let digit = |at: usize| after.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        rest = after;
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                rest = &after[2..];
                match u8::try_from(high * 16 + low).expect("two hexadecimal digits are a byte") {
                    b'/' if slash == Slash::Kept => decoded.extend_from_slice(b"%2F"),
                    byte => decoded.push(byte),
                }
            }
            // `%u002e` is a dot to IIS.
            (b'%', _, _) if stray == Stray::Fault || is_wide_escape(after) => {
                return Err(TargetFault::Escape);
            }
            (byte, _, _) => decoded.push(*byte),
        }
    }
    String::from_utf8(decoded).map_err(|_| TargetFault::Encoding)
}

fn is_wide_escape(after: &[u8]) -> bool {
    matches!(after, [b'u' | b'U', a, b, c, d, ..] if [a, b, c, d].iter().all(|byte| byte.is_ascii_hexdigit()))
}

/// Cuts `;…` off each segment, as servlet containers do.
fn without_parameters(path: &str) -> Option<String> {
    path.contains(';').then(|| {
        let names = path.split('/').map(|segment| segment.split(';').next().unwrap_or_default());
        names.collect::<Vec<_>>().join("/")
    })
}

/// Cuts `;…` off the last segment alone, as RFC 2396 parsers do.
fn without_last_parameters(path: &str) -> Option<String> {
    let last = path.rfind('/').map_or(0, |slash| slash + 1);
    path[last..].find(';').map(|semicolon| path[..last + semicolon].to_owned())
}

/// Cuts where somebody who parses a decoded path as a URL sees a query or a fragment.
fn cut_at_query(path: &str) -> Option<String> {
    path.find(['?', '#']).map(|end| path[..end].to_owned())
}

/// Makes one slash of several, as nginx does.
fn with_merged_slashes(path: &str) -> Option<String> {
    path.contains("//").then(|| {
        let mut before = None;
        path.chars().filter(|next| before.replace(*next) != Some('/') || *next != '/').collect()
    })
}

/// Takes `//name/path` for a URL without a scheme, as URL parsers do that are given a path: the name is a host to them.
fn without_authority(path: &str) -> Option<String> {
    path.starts_with("//").then(|| {
        let name = path.trim_start_matches('/');
        name.find('/').map_or("/", |slash| &name[slash..]).to_owned()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn readings(raw: &str) -> Vec<String> {
        let target = Target::parse(raw).unwrap_or_else(|fault| panic!("{raw}: {fault}"));
        assert_eq!(target.as_str(), raw);
        target.readings().map(str::to_owned).collect()
    }

    #[test]
    fn a_plain_path_is_its_only_reading() {
        for raw in
            ["/", "/a", "/a/", "/a/b.c", "/a..b/...", "/.well-known/x", "/A/b:c@d,e=f&g+h!$'()*~[]|^\"{}"]
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
}
