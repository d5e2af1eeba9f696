//! Where to after signing in or out: a place of ours, or none.
//!
//! What comes in is a stranger's text that ends up in `Location`. It is followed when it is a path
//! on this origin or an http(s) URL of a host that we know, and only if no browser, proxy or
//! application could read it as anything else; everybody else's is dropped, and the settled place
//! is taken instead. A pure rule: no request, no clock.
//!
//! Callers: every page of the portal that sends somebody on.

use std::fmt::Write;

use percent_encoding::percent_decode_str;

use crate::route::HostPattern;

/// Longer ones are not followed.
const MAX_BYTES: usize = 2048;

/// How often an application may decode what it gets. Deeper tricks are ours to refuse, not to understand.
const DECODINGS: usize = 3;

/// Which places are ours.
#[derive(Clone, Debug)]
pub struct NextRules {
    /// Hosts that a URL may name: `public_url`'s, those of the routes, and `allowed_redirects`.
    pub hosts: Vec<HostPattern>,
    /// Under which the portal's own pages live.
    pub prefix: String,
}

/// A place that has been checked: visible ASCII, safe in `Location` and, escaped, in a page.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Next {
    origin: Option<String>,
    place: String,
}

impl Next {
    /// Reads a stranger's text. `None` means: take the settled place.
    pub fn parse(raw: &str, rules: &NextRules) -> Option<Self> {
        // Browsers drop tabs and line ends anywhere in a URL, and blanks around it: what needs that is no honest place.
        let odd = |c: char| c.is_control() || c.is_whitespace() || "\\<>\"".contains(c) || is_wide_mark(c);
        if raw.len() > MAX_BYTES || raw.contains(odd) {
            return None;
        }
        let (origin, rest) = if raw.starts_with('/') { (None, raw) } else { split_origin(raw, rules)? };
        is_sound(rest, rules).then(|| {
            let place = format!("{}{}", origin.as_deref().unwrap_or_default(), ascii(rest));
            Self { origin, place }
        })
    }

    /// For `Location`.
    pub fn as_str(&self) -> &str {
        &self.place
    }

    /// Its host as `form-action` takes it.
    pub(super) fn form_target(&self) -> Option<String> {
        let (name, _) = split_port(self.host()?)?;
        form_target(&HostPattern::Exact(name.to_owned()))
    }

    /// `app.example.com`, port included, if it names one: for the person to read.
    pub fn host(&self) -> Option<&str> {
        self.origin.as_deref().and_then(|origin| origin.split_once("://")).map(|(_, host)| host)
    }
}

/// A host as `form-action` takes it: http with any port covers https too. `None` for what its grammar has no words for.
pub(super) fn form_target(host: &HostPattern) -> Option<String> {
    let (any, name) = match host {
        HostPattern::Exact(name) => ("", name),
        HostPattern::Under(domain) => ("*.", domain),
    };
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    (plain && !name.is_empty()).then(|| format!("http://{any}{name}:*"))
}

/// Splits `https://app.example.com:8443/a` into origin and rest, if the host is one of ours.
fn split_origin<'a>(raw: &'a str, rules: &NextRules) -> Option<(Option<String>, &'a str)> {
    let (scheme, rest) = raw.split_once("://")?;
    let scheme = ["http", "https"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known))?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let (host, port) = split_port(authority)?;
    let host = host.to_ascii_lowercase();
    is_host(&host).then_some(())?;
    rules.hosts.iter().any(|pattern| covers(pattern, &host)).then_some(())?;
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let origin = format!("{scheme}://{host}{port}");
    // `https://host?a` means the root; written out, every reader agrees.
    Some((Some(origin), if rest.is_empty() { "/" } else { rest })).filter(|(_, rest)| rest.starts_with('/'))
}

fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let inside_brackets = authority.ends_with(']');
    match authority.rsplit_once(':').filter(|_| !inside_brackets) {
        None => Some((authority, None)),
        Some((host, port)) => {
            let plain = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
            port.parse().ok().filter(|port| plain && *port != 0).map(|port| (host, Some(port)))
        }
    }
}

/// Labels of letters, digits and hyphens (and `_`, which names in private networks have), or an address in brackets.
/// User-info, percent-encoding and every other script fail here: a browser would turn them into another name.
fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    host.len() <= 253 && host.split('.').all(|label| !label.is_empty() && label.bytes().all(good))
}

fn covers(pattern: &HostPattern, host: &str) -> bool {
    match pattern {
        HostPattern::Exact(exact) => exact == host,
        HostPattern::Under(domain) => {
            host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
        }
    }
}

/// Whether path, query and fragment have one reading, and the path is no login page of ours.
fn is_sound(rest: &str, rules: &NextRules) -> bool {
    let (before, _fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (path, _query) = before.split_once('?').unwrap_or((before, ""));
    // A second `#` is read in two ways; percent-encoding that is broken too.
    if rest.matches('#').count() > 1 || !percent_is_sound(rest) {
        return false;
    }
    let mut path = path.to_owned();
    for _ in 0..=DECODINGS {
        if !is_sound_path(&path, &rules.prefix) {
            return false;
        }
        let Ok(decoded) = percent_decode_str(&path).decode_utf8() else { return false };
        if decoded == path {
            return true;
        }
        path = decoded.into_owned();
    }
    // It still changes: nobody encodes a path that often and means well.
    false
}

/// One decoding's path, by the rules that hold for all of them.
fn is_sound_path(path: &str, prefix: &str) -> bool {
    let mut segments = path.split('/').skip(1);
    let first = segments.next().unwrap_or_default();
    // `//host` leaves the origin. So would `/http://host` behind whoever cuts the first slash off.
    let leaves =
        path.starts_with("//") || !path.starts_with('/') || (first.ends_with(':') && path.contains(":/"));
    let odd = |c: char| c.is_control() || c == '\\' || c == '\u{fffd}';
    let dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
    !leaves && !path.contains(odd) && !path.split('/').any(dots) && !is_ours(path, prefix)
}

/// Whether this is the portal's: coming back to a login page would be a circle, to the logout page a trap.
fn is_ours(path: &str, prefix: &str) -> bool {
    // Applications and proxies in between may fold case and drop doubled slashes: so does this.
    let segments = |text: &str| {
        let kept = text.split('/').map(|segment| segment.split(';').next().unwrap_or_default());
        kept.filter(|segment| !segment.is_empty()).map(str::to_lowercase).collect::<Vec<_>>()
    };
    segments(path).starts_with(&segments(prefix))
}

/// Every `%` is followed by two hexadecimal digits.
fn percent_is_sound(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Letters that look like a slash, a backslash, a dot or a blank and become one in some readers.
fn is_wide_mark(c: char) -> bool {
    matches!(c, '\u{2024}' | '\u{2044}' | '\u{2215}' | '\u{29f8}' | '\u{3002}' | '\u{feff}')
        || ('\u{200b}'..='\u{200f}').contains(&c)
        || ('\u{2028}'..='\u{202e}').contains(&c)
        || ('\u{2060}'..='\u{2069}').contains(&c)
        || ('\u{ff00}'..='\u{ffef}').contains(&c)
}

/// Other scripts percent-encoded, the rest as it is.
fn ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                write!(out, "%{byte:02X}").expect("writing to a string");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules() -> NextRules {
        let hosts = vec![
            HostPattern::Exact("login.example.com".into()),
            HostPattern::Exact("app.example.com".into()),
            HostPattern::Exact("[::1]".into()),
            HostPattern::Under("apps.example.com".into()),
        ];
        NextRules { hosts, prefix: "/.auth".into() }
    }

    #[test]
    fn places_of_ours_are_followed_as_they_came() {
        for place in [
            "/",
            "/a/b?c=d&e=f",
            "/a#fragment",
            "/search?url=https://example.com//x",
            "/?next=//example.com",
            "/@scope%2fname",
            "/a?filter={b|c}^`d`",
            "/a//b",
            "/caf%C3%A9",
            "/wiki/Special:Login",
            "/Special:Login",
            "/a;v=1/b",
            "/.authentic",
            "/.hidden/...",
            "https://app.example.com/",
            "https://app.example.com:8443/a?b#c",
            "http://login.example.com/a",
            "https://blue.apps.example.com/x",
            "https://a.b.apps.example.com/x",
            "http://[::1]:8080/x",
        ] {
            let next = Next::parse(place, &rules());
            assert_eq!(next.as_ref().map(Next::as_str), Some(place));
        }
    }

    #[test]
    fn places_are_written_out_where_readers_might_differ() {
        for (raw, place) in [
            ("HTTPS://App.Example.COM/A", "https://app.example.com/A"),
            ("https://app.example.com", "https://app.example.com/"),
            ("/ä?ö", "/%C3%A4?%C3%B6"),
        ] {
            assert_eq!(Next::parse(raw, &rules()).as_ref().map(Next::as_str), Some(place));
        }
        let next = Next::parse("https://app.example.com:8443/a", &rules()).expect("a place of ours");
        assert_eq!(next.host(), Some("app.example.com:8443"));
        assert_eq!(next.form_target().as_deref(), Some("http://app.example.com:*"));
        assert_eq!(Next::parse("/a", &rules()).expect("a path").host(), None);
    }

    #[test]
    fn everything_else_is_not_followed() {
        let long = format!("/{}", "a".repeat(MAX_BYTES));
        for place in [
            // not a path, not a URL
            "",
            "a",
            "a/b",
            "?a",
            "#a",
            ".",
            "..",
            "javascript:alert(1)",
            "data:text/html,x",
            "mailto:a@b",
            "ftp://app.example.com/",
            // another host in disguise
            "//evil.test",
            "///evil.test",
            "/\\evil.test",
            "\\\\evil.test",
            "/\t/evil.test",
            "/\n/evil.test",
            " /a",
            "/a ",
            "/%2fevil.test",
            "/%2F%2Fevil.test",
            "/%252fevil.test",
            "/%25252fevil.test",
            "/%5cevil.test",
            "/%255cevil.test",
            "/%09/evil.test",
            "/%0d%0aset-cookie:a=b",
            "/%00",
            "/%7f",
            "/a\u{ff0f}b",
            "/\u{2215}evil.test",
            "/http://evil.test",
            "/https:/evil.test",
            "/%68ttps://evil.test",
            // hosts that only look like ours
            "https://evil.test/",
            "https://app.example.com.evil.test/",
            "https://evilapp.example.com/",
            "https://apps.example.com/",
            "https://evilapps.example.com/",
            "https://.apps.example.com/",
            "https://app.example.com@evil.test/",
            "https://user@app.example.com/",
            "https://user:pw@app.example.com/",
            "https://app.example.com%40evil.test/",
            "https://app.example.com\u{3002}evil.test/",
            "https://app.example.com./",
            "https://app.example.com:/",
            "https://app.example.com:0/",
            "https://app.example.com:99999/",
            "https://app.example.com:+80/",
            "https://app.example.com:80:80/",
            "https:///app.example.com/",
            "https:/app.example.com/",
            "https:app.example.com/",
            "https://app.example.com\\.evil.test/",
            "https://app.example.com?a",
            "https://app.example.com#a",
            "https://[::1/",
            "https://[::1]evil.test/",
            "https://app.example.com//evil.test",
            // dot segments, broken encoding
            "/a/../b",
            "/..",
            "/./a",
            "/%2e%2e/a",
            "/a/%2e",
            "/a/..;/b",
            "/a/%2e%2e%3bx/b",
            "/a/%252e%252e/b",
            "/%",
            "/%2",
            "/%zz",
            "/%c0%af",
            "/a?b=%",
            "/a#b#c",
            // ours: a circle or a trap
            "/.auth",
            "/.auth/",
            "/.auth/login",
            "/.auth/logout?x",
            "/.AUTH/login",
            "/%2eauth/login",
            "/.auth;x/login",
            "/.auth%2flogin",
            "https://app.example.com/.auth/login",
            "https://app.example.com/%2Eauth/login",
            // in a page's attribute they would be escaped, and still have no business here
            "/\"><script>",
            "/<b>",
            "/a\u{202e}b",
            &long,
        ] {
            assert_eq!(Next::parse(place, &rules()), None, "{place:?}");
        }
    }

    #[test]
    fn hosts_as_a_policy_names_them() {
        let seen: Vec<_> = rules().hosts.iter().map(form_target).collect();
        let expected =
            ["http://login.example.com:*", "http://app.example.com:*", "", "http://*.apps.example.com:*"];
        assert_eq!(seen, expected.map(|text| Some(text.to_owned()).filter(|text| !text.is_empty())));
        assert_eq!(form_target(&HostPattern::Exact("a;script-src *".into())), None);
    }

    #[test]
    fn the_portal_on_a_longer_prefix_is_found_as_well() {
        let rules = NextRules { prefix: "/a/auth".into(), ..rules() };
        for (place, followed) in [
            ("/a/auth/login", false),
            ("/a//auth/login", false),
            ("/a", true),
            ("/a/authors", true),
            ("/b/auth", true),
        ] {
            assert_eq!(Next::parse(place, &rules).is_some(), followed, "{place}");
        }
    }

    proptest! {
        /// Whatever comes in: what goes out is visible ASCII and begins with one slash or a known origin.
        #[test]
        fn what_is_followed_stays_here(raw in "(https?:)?[/\\\\]{0,3}(app\\.example\\.com|evil\\.test|[a-z.@:]{0,9})?[ -~\u{80}-\u{2100}\t\n/\\\\%.@:;#?]{0,24}") {
            if let Some(next) = Next::parse(&raw, &rules()) {
                let place = next.as_str();
                prop_assert!(place.bytes().all(|b| b.is_ascii_graphic()), "{place:?}");
                let rest = next.origin.as_deref().map_or(place, |origin| &place[origin.len()..]);
                prop_assert!(rest.starts_with('/') && !rest.starts_with("//") && !rest.contains('\\'), "{place:?}");
                if let Some(host) = next.host() {
                    let name = host.split(':').next().unwrap_or_default();
                    prop_assert!(name == "app.example.com" || name.ends_with(".apps.example.com"), "{place:?}");
                }
                prop_assert_eq!(Next::parse(place, &rules()).map(|again| again.place), Some(next.place.clone()), "it is its own reading");
            }
        }
    }
}
