//! Where to after signing in or out: a place of ours, or none.
//!
//! What comes in is a stranger's text that ends up in `Location`. It is followed when it is a path
//! on this origin or an http(s) URL of a host that we know, and only if no browser, proxy or
//! application could read it as anything else; everybody else's is dropped, and the settled place
//! is taken instead. A pure rule: no request, no clock.
//!
//! Callers: every page of the portal that sends somebody on.

use std::fmt::Write;

use super::place::below;
use crate::request::{Host, Scheme, Target, read_url};
use crate::route::HostPattern;

/// Longer ones are not followed.
const MAX_BYTES: usize = 2048;

/// What some application would take for a place outside, if it stood at the beginning.
const SCHEMES: [&str; 7] = ["http", "https", "javascript", "data", "vbscript", "file", "ftp"];

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
    host: Option<Host>,
    place: String,
}

impl Next {
    /// Reads a stranger's text. `None` means: take the settled place.
    pub fn parse(raw: &str, rules: &NextRules) -> Option<Self> {
        // Browsers drop tabs and line ends anywhere in a URL, and blanks around it: what needs that is no honest place.
        let odd = |c: char| c.is_control() || c.is_whitespace() || "\\<>\"".contains(c);
        if raw.len() > MAX_BYTES || raw.contains(odd) {
            return None;
        }
        let raw = ascii(raw);
        // A fragment is the browser's own; a target has none.
        let (before, fragment) = raw.find('#').map_or((raw.as_str(), ""), |at| raw.split_at(at));
        let (origin, target) = if before.starts_with('/') {
            (None, Target::parse(before).ok()?)
        } else {
            let (scheme, host, target) = read_url(before).ok()?;
            rules.hosts.iter().any(|pattern| pattern.matches(&host.name)).then_some(())?;
            (Some((scheme, host)), target)
        };
        if target.readings().any(|path| leaves(path) || is_ours(path, &rules.prefix)) {
            return None;
        }
        let place =
            format!("{}{}{fragment}", origin.as_ref().map(written).unwrap_or_default(), target.as_str());
        Some(Self { host: origin.map(|(_, host)| host), place })
    }

    /// For `Location`.
    pub fn as_str(&self) -> &str {
        &self.place
    }

    /// The host, if it names one.
    pub fn host(&self) -> Option<&Host> {
        self.host.as_ref()
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

/// Written out anew, so that every reader agrees on it.
fn written((scheme, host): &(Scheme, Host)) -> String {
    let port = host.port.map(|port| format!(":{port}")).unwrap_or_default();
    format!("{scheme}://{}{port}", host.name)
}

/// Whether a reading of a path is a place outside: `//host`, or `/https://host` behind whoever cuts the first slash off.
fn leaves(path: &str) -> bool {
    let scheme = path.trim_start_matches('/').split_once(':').map(|(scheme, _)| scheme);
    path.starts_with("//")
        || scheme.is_some_and(|scheme| SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)))
}

/// Whether a reading of a path is the portal's: a login page would be a circle, the logout page a trap.
/// The account's pages are for people who are signed in, so one may well come back to them.
fn is_ours(path: &str, prefix: &str) -> bool {
    let under = |path: &str, prefix: &str| below(path, prefix).is_some();
    under(path, prefix) && !under(path, &format!("{prefix}/account"))
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
            "/with%20blanks/",
            "/Special:Login",
            "/a;v=1/b",
            "/.authentic",
            "/.auth/account",
            "/.auth/account/tokens?x",
            "/search?q=100%",
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
            ("https://app.example.com./a", "https://app.example.com/a"),
            ("https://app.example.com?a", "https://app.example.com/?a"),
            ("https://app.example.com#a", "https://app.example.com/#a"),
            ("http://[0:0::1]:80/", "http://[::1]:80/"),
            ("/ä?ö#ü", "/%C3%A4?%C3%B6#%C3%BC"),
        ] {
            assert_eq!(Next::parse(raw, &rules()).as_ref().map(Next::as_str), Some(place));
        }
        let next = Next::parse("https://app.example.com:8443/a", &rules()).expect("a place of ours");
        assert_eq!(next.host().map(Host::to_string).as_deref(), Some("app.example.com:8443"));
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
            "https://app.example.com:/",
            "https://app.example.com:0/",
            "https://app.example.com:99999/",
            "https://app.example.com:+80/",
            "https://app.example.com:80:80/",
            "https:///app.example.com/",
            "https:/app.example.com/",
            "https:app.example.com/",
            "https://app.example.com\\.evil.test/",
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
            // ours: a circle or a trap
            "/.auth",
            "/.auth/",
            "/.auth/login",
            "/.auth/logout?x",
            "/%2eauth/login",
            "/.auth;x/login",
            "/.auth%2flogin",
            "https://app.example.com/.auth/login",
            "https://app.example.com/%2Eauth/login",
            // in a page's attribute they would be escaped, and still have no business here
            "/\"><script>",
            "/<b>",
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
                let rest = place.split_once("://").filter(|_| next.host().is_some()).map_or(place, |(_, rest)| &rest[rest.find('/').unwrap_or(0)..]);
                prop_assert!(rest.starts_with('/') && !rest.starts_with("//") && !rest.contains('\\'), "{place:?}");
                if let Some(Host { name, .. }) = next.host() {
                    prop_assert!(**name == *"app.example.com" || name.ends_with(".apps.example.com"), "{place:?}");
                }
                prop_assert_eq!(Next::parse(place, &rules()).map(|again| again.place), Some(next.place.clone()), "it is its own reading");
            }
        }
    }
}
