//! Patterns of hosts and paths as the configuration writes them, and which of them cover which.
//!
//! Callers: `config` parses them and refuses routes that no request can reach; who shows a route prints
//! its patterns. Matching a request against them is the table's.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::table::listed;
use super::{HostPattern, PathPattern, Route, Segment};

/// Why a text is no host pattern.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidHostPattern {
    /// Anything else.
    #[error("expected a host such as `app.example.com` or `*.example.com`")]
    Syntax,
    /// Ports play no part in matching.
    #[error("expected a host without a port: routes match on every port")]
    Port,
    /// Browsers send names in ASCII.
    #[error("expected a host in its ASCII form, as browsers send it: `xn--…`")]
    NotAscii,
}

/// Why a text is no path pattern.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidPathPattern {
    /// It doesn't begin with a slash.
    #[error("expected a path that begins with `/`, such as `/`, `/admin/**` or `/api/*/status`")]
    NotAbsolute,
    /// A star beside other characters, or `**` before the end.
    #[error("expected `*` as a whole segment, and `**` as the last one alone")]
    Star,
    /// `.` or `..`.
    #[error("expected no `.` or `..` segment: no request has one")]
    DotSegment,
    /// `//`, or a slash at the end.
    #[error("expected no empty segment and no `/` at the end")]
    EmptySegment,
    /// `%41`.
    #[error("expected the character itself in place of `%` and its number: paths are compared decoded")]
    Encoded,
    /// `?` or `#`.
    #[error("expected the path alone: no `?` and no `#` play a part in matching")]
    Query,
    /// What no request that is let in can have.
    #[error("expected no backslash and no control character: no request has one")]
    Character,
}

impl FromStr for HostPattern {
    type Err = InvalidHostPattern;

    fn from_str(raw: &str) -> Result<Self, InvalidHostPattern> {
        if !raw.is_ascii() {
            return Err(InvalidHostPattern::NotAscii);
        }
        let host = raw.to_ascii_lowercase();
        if let Some(address) = host.strip_prefix('[') {
            return match address.split_once(']') {
                Some((address, "")) => address
                    .parse::<Ipv6Addr>()
                    .map(|address| Self::Exact(format!("[{address}]")))
                    .map_err(|_| InvalidHostPattern::Syntax),
                Some((_, port)) if port.starts_with(':') => Err(InvalidHostPattern::Port),
                Some(_) | None => Err(InvalidHostPattern::Syntax),
            };
        }
        if let Some((name, port)) = host.split_once(':') {
            let port = !name.is_empty() && port.chars().all(|c| c.is_ascii_digit());
            return Err(if port { InvalidHostPattern::Port } else { InvalidHostPattern::Syntax });
        }
        let (under, name) = match host.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, host.as_str()),
        };
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let label = |label: &str| (1..=63).contains(&label.len()) && label.chars().all(letter);
        if name.len() > 253 || !name.split('.').all(label) {
            return Err(InvalidHostPattern::Syntax);
        }
        // `1.2.3` is an address to some and a name to others, and no address has anything under it.
        let numeric =
            name.rsplit('.').next().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit()));
        if numeric && (under || name.parse::<Ipv4Addr>().is_err()) {
            return Err(InvalidHostPattern::Syntax);
        }
        Ok(if under { Self::Under(name.to_owned()) } else { Self::Exact(name.to_owned()) })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Under(domain) => write!(f, "*.{domain}"),
        }
    }
}

/// `/` has no segment, `/**` has none and is for any depth.
impl FromStr for PathPattern {
    type Err = InvalidPathPattern;

    fn from_str(raw: &str) -> Result<Self, InvalidPathPattern> {
        let path = raw.strip_prefix('/').ok_or(InvalidPathPattern::NotAbsolute)?;
        if path.contains(['?', '#']) {
            return Err(InvalidPathPattern::Query);
        }
        if path.contains('%') {
            return Err(InvalidPathPattern::Encoded);
        }
        if path.contains(|c: char| c == '\\' || c.is_control()) {
            return Err(InvalidPathPattern::Character);
        }
        let (path, any_depth) = match path.strip_suffix("**") {
            Some("") => ("", true),
            Some(path) => (path.strip_suffix('/').ok_or(InvalidPathPattern::Star)?, true),
            None => (path, false),
        };
        if path.is_empty() {
            // `//**` has lost its slash here and must not pass for `/**`.
            let root = matches!(raw, "/" | "/**");
            return if root {
                Ok(Self { any_depth, segments: Vec::new() })
            } else {
                Err(InvalidPathPattern::EmptySegment)
            };
        }
        let segments = path.split('/').map(|segment| match segment {
            "" => Err(InvalidPathPattern::EmptySegment),
            "." | ".." => Err(InvalidPathPattern::DotSegment),
            "*" => Ok(Segment::Any),
            text if text.contains('*') => Err(InvalidPathPattern::Star),
            text => Ok(Segment::Literal(text.to_owned())),
        });
        Ok(Self { any_depth, segments: segments.collect::<Result<_, _>>()? })
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::Any => f.write_str("/*")?,
                Segment::Literal(text) => write!(f, "/{text}")?,
            }
        }
        match (self.any_depth, self.segments.is_empty()) {
            (true, _) => f.write_str("/**"),
            (false, true) => f.write_str("/"),
            (false, false) => Ok(()),
        }
    }
}

impl HostPattern {
    /// Whether every host that `later` is for is one of ours.
    pub fn covers(&self, later: &Self) -> bool {
        let within =
            |host: &str, domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        match (self, later) {
            (Self::Exact(ours), Self::Exact(theirs)) => ours == theirs,
            (Self::Exact(_), Self::Under(_)) => false,
            (Self::Under(domain), Self::Exact(host)) => within(host, domain),
            (Self::Under(ours), Self::Under(theirs)) => ours == theirs || within(theirs, ours),
        }
    }
}

impl PathPattern {
    /// Whether every path that `later` is for is one of ours.
    pub fn covers(&self, later: &Self) -> bool {
        let depth = if self.any_depth {
            later.segments.len() >= self.segments.len()
        } else {
            !later.any_depth && later.segments.len() == self.segments.len()
        };
        depth
            && self.segments.iter().zip(&later.segments).all(|pair| match pair {
                (Segment::Any, Segment::Any | Segment::Literal(_)) => true,
                (Segment::Literal(_), Segment::Any) => false,
                (Segment::Literal(ours), Segment::Literal(theirs)) => ours == theirs,
            })
    }
}

impl Route {
    /// Whether no request is left over for `later`, which stands behind this one.
    pub fn covers(&self, later: &Self) -> bool {
        let host = match (&self.host, &later.host) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(ours), Some(theirs)) => ours.covers(theirs),
        };
        let methods = match (&self.methods, &later.methods) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(ours), Some(theirs)) => theirs.iter().all(|method| listed(ours, method)),
        };
        // Also where this one is for sub-requests alone: a proxied request that it matches is answered
        // 404 and never tried on a later route, which may ask for less.
        host && methods && self.path.covers(&later.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_patterns_read_back_as_they_were_written() {
        for (raw, shown) in [
            ("app.example.com", "app.example.com"),
            ("*.Example.COM", "*.example.com"),
            ("localhost", "localhost"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(raw.parse().map(|host: HostPattern| host.to_string()), Ok(shown.to_owned()), "{raw}");
        }
        use InvalidHostPattern::{NotAscii, Port, Syntax};
        for (raw, why) in [
            ("", Syntax),
            ("*", Syntax),
            ("*.", Syntax),
            ("a.*.com", Syntax),
            ("a..b", Syntax),
            ("a.com.", Syntax),
            ("a b", Syntax),
            ("http://a.com", Syntax),
            ("1.2.3", Syntax),
            ("*.1.2.3.4", Syntax),
            ("a.com:80", Port),
            ("[::1]:80", Port),
            ("::1", Syntax),
            ("bücher.example", NotAscii),
        ] {
            assert_eq!(raw.parse::<HostPattern>(), Err(why), "{raw}");
        }
    }

    #[test]
    fn path_patterns_read_back_as_they_were_written() {
        for raw in [
            "/",
            "/**",
            "/a",
            "/a/b.c",
            "/*",
            "/a/*/b",
            "/a/**",
            "/*/**",
            "/größe",
            "/.well-known/x",
            "/a b",
            "/...",
        ] {
            assert_eq!(raw.parse().map(|path: PathPattern| path.to_string()), Ok(raw.to_owned()), "{raw}");
        }
        use InvalidPathPattern::{Character, DotSegment, EmptySegment, Encoded, NotAbsolute, Query, Star};
        for (raw, why) in [
            ("", NotAbsolute),
            ("a", NotAbsolute),
            ("**", NotAbsolute),
            ("/a*", Star),
            ("/a**", Star),
            ("/***", Star),
            ("/**/a", Star),
            ("/a/**/b/**", Star),
            ("/a/**/", Star),
            ("//", EmptySegment),
            ("//**", EmptySegment),
            ("/a//b", EmptySegment),
            ("/a/", EmptySegment),
            ("/a//**", EmptySegment),
            ("/.", DotSegment),
            ("/a/../b", DotSegment),
            ("/a%2fb", Encoded),
            ("/a?b", Query),
            ("/a#b", Query),
            ("/a\\b", Character),
            ("/a\nb", Character),
        ] {
            assert_eq!(raw.parse::<PathPattern>(), Err(why), "{raw}");
        }
    }

    #[test]
    fn a_pattern_covers_what_leaves_it_nothing() {
        for (ours, theirs, covers) in [
            ("/**", "/", true),
            ("/**", "/a/b", true),
            ("/**", "/**", true),
            ("/a/**", "/a", true),
            ("/a/**", "/a/**", true),
            ("/a/**", "/a/*/c", true),
            ("/a/**", "/**", false),
            ("/a/**", "/ab", false),
            ("/a/**", "/*/b", false),
            ("/*", "/a", true),
            ("/*", "/", false),
            ("/*", "/a/b", false),
            ("/*", "/a/**", false),
            ("/*/**", "/a/**", true),
            ("/*/**", "/**", false),
            ("/a", "/a", true),
            ("/a", "/a/**", false),
            ("/", "/", true),
            ("/", "/**", false),
        ] {
            let parse = |raw: &str| raw.parse::<PathPattern>().expect("a pattern");
            assert_eq!(parse(ours).covers(&parse(theirs)), covers, "{ours} before {theirs}");
        }
        for (ours, theirs, covers) in [
            ("a.test", "a.test", true),
            ("a.test", "b.test", false),
            ("*.test", "a.test", true),
            ("*.test", "a.b.test", true),
            ("*.test", "test", false),
            ("*.test", "atest", false),
            ("*.test", "*.test", true),
            ("*.test", "*.a.test", true),
            ("*.a.test", "*.test", false),
            ("a.test", "*.a.test", false),
        ] {
            let parse = |raw: &str| raw.parse::<HostPattern>().expect("a pattern");
            assert_eq!(parse(ours).covers(&parse(theirs)), covers, "{ours} before {theirs}");
        }
    }
}
