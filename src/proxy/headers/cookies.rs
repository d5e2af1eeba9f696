//! Our cookies in what passes through: taken out of requests, never set by a backend.
//!
//! The backend's own cookies are left byte for byte as they are.
//!
//! Callers: `proxy::headers`. What a cookie of ours means is `authn`'s and the portal's.

use http::{HeaderMap, HeaderValue, header};
use memchr::{memchr, memmem};

/// The names of our cookies, as they are sent.
#[derive(Clone, Debug, Default)]
pub struct CookieNames {
    finders: Vec<memmem::Finder<'static>>,
    /// With and without the prefixes that browsers know.
    variants: Vec<String>,
}

const PREFIXES: [&str; 2] = ["__Host-", "__Secure-"];

impl CookieNames {
    /// These names.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut this = Self::default();
        for name in names {
            this.finders.push(memmem::Finder::new(name.as_bytes()).into_owned());
            let bare = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
            this.variants.push(bare.to_owned());
            this.variants.extend(PREFIXES.map(|prefix| [prefix, bare].concat()));
        }
        this
    }

    /// Takes our cookies out of every `Cookie` line, and a line that is empty then away.
    pub(crate) fn take_out(&self, headers: &mut HeaderMap) {
        let occurs =
            |line: &HeaderValue| self.finders.iter().any(|name| name.find(line.as_bytes()).is_some());
        if !headers.get_all(header::COOKIE).iter().any(occurs) {
            return;
        }
        let lines: Vec<_> =
            headers.get_all(header::COOKIE).iter().map(|line| self.without_ours(line)).collect();
        headers.remove(header::COOKIE);
        for line in lines.into_iter().flatten() {
            headers.append(header::COOKIE, line);
        }
    }

    /// Takes away each `Set-Cookie` that a browser would keep under one of our names, or send as one.
    pub(crate) fn refuse(&self, headers: &mut HeaderMap) {
        let ours = |line: &HeaderValue| self.is_set_by(line);
        if !headers.get_all(header::SET_COOKIE).iter().any(ours) {
            return;
        }
        let lines = headers.get_all(header::SET_COOKIE).iter().filter(|line| !ours(line));
        let lines: Vec<_> = lines.cloned().collect();
        headers.remove(header::SET_COOKIE);
        for line in lines {
            headers.append(header::SET_COOKIE, line);
        }
    }

    /// Whether a browser keeps a cookie of ours after this `Set-Cookie`, or sends one as ours.
    pub(crate) fn is_set_by(&self, line: &HeaderValue) -> bool {
        let pair = line.as_bytes().split(|&b| b == b';').next().unwrap_or_default();
        self.variants.iter().any(|own| own.as_bytes() == cookie_name(pair))
    }

    /// What is left of one `Cookie` line, if anything.
    fn without_ours(&self, line: &HeaderValue) -> Option<HeaderValue> {
        let bytes = line.as_bytes();
        let ours = |pair: &[u8]| {
            let name = cookie_name(pair);
            self.finders.iter().any(|own| own.needle() == name)
        };
        if memchr(b';', bytes).is_none() && ours(bytes) {
            // Nothing but ours, as it is before most applications.
            return None;
        }
        if !bytes.split(|&b| b == b';').any(ours) {
            return Some(line.clone());
        }
        let mut rest = Vec::with_capacity(bytes.len());
        for pair in bytes.split(|&b| b == b';').filter(|pair| !ours(pair)) {
            if rest.is_empty() {
                rest.extend_from_slice(pair.trim_ascii_start());
            } else {
                rest.push(b';');
                rest.extend_from_slice(pair);
            }
        }
        if rest.trim_ascii().iter().all(|&b| b == b';' || b == b' ' || b == b'\t') {
            return None;
        }
        // Parts of a value that was valid are valid; the line would go altogether if not.
        HeaderValue::try_from(rest).ok()
    }
}

/// The name under which a pair counts. A nameless `=a=b` is sent, and read by some, as `a=b`.
fn cookie_name(pair: &[u8]) -> &[u8] {
    let mut pair = pair.trim_ascii();
    while let Some(nameless) = pair.strip_prefix(b"=") {
        pair = nameless.trim_ascii_start();
    }
    pair.split(|&b| b == b'=').next().unwrap_or_default().trim_ascii_end()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names() -> CookieNames {
        CookieNames::new(["__Host-foregate", "foregate_csrf"])
    }

    fn lines(name: header::HeaderName, values: &[&str]) -> HeaderMap {
        let value = |v: &&str| (name.clone(), HeaderValue::from_bytes(v.as_bytes()).expect("a value"));
        values.iter().map(value).collect()
    }

    fn taken_out(values: &[&str]) -> Vec<String> {
        let mut headers = lines(header::COOKIE, values);
        names().take_out(&mut headers);
        let text = |v: &HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
        headers.get_all(header::COOKIE).iter().map(text).collect()
    }

    #[test]
    fn our_cookies_go_and_the_others_stay_byte_for_byte() {
        let cases: [(&[&str], &[&str]); 22] = [
            (&["a=1; b=2"], &["a=1; b=2"]),
            (&["__Host-foregate=x"], &[]),
            (&["__Host-foregate=x; a=1"], &["a=1"]),
            (&["a=1; __Host-foregate=x"], &["a=1"]),
            (&["a=1; __Host-foregate=x; b=2"], &["a=1; b=2"]),
            (&["a=1;__Host-foregate=x;b=2"], &["a=1;b=2"]),
            (&["a=1 ;  __Host-foregate = x ;\tb=2 "], &["a=1 ;\tb=2 "]),
            (&["a=1; __Host-foregate=x; __Host-foregate=y; foregate_csrf=z"], &["a=1"]),
            (&["__Host-foregate=x", "a=1", "b=2; foregate_csrf=q"], &["a=1", "b=2"]),
            (&["__Host-foregate=x; "], &[]),
            (&["__Host-foregate=x;;"], &[]),
            (&["__Host-foregate"], &[]),
            (&["=__Host-foregate=x; a=1"], &["a=1"]),
            (&["a=1; = __Host-foregate=x"], &["a=1"]),
            (&["a=\"1; b\"; __Host-foregate=\"x\""], &["a=\"1; b\""]),
            (&["a=__Host-foregate=x"], &["a=__Host-foregate=x"]),
            (&["__Host-foregate2=x; x__Host-foregate=y"], &["__Host-foregate2=x; x__Host-foregate=y"]),
            (&["__host-foregate=x"], &["__host-foregate=x"]),
            (&["foregate=x"], &["foregate=x"]),
            (&["=x; a; b="], &["=x; a; b="]),
            (&["ä=ö; __Host-foregate=x"], &["ä=ö"]),
            (&[""], &[""]),
        ];
        for (sent, left) in cases {
            assert_eq!(taken_out(sent), left, "{sent:?}");
        }
    }

    #[test]
    fn a_backend_sets_no_cookie_under_our_names() {
        let mut headers = lines(
            header::SET_COOKIE,
            &[
                "a=1; Path=/",
                "__Host-foregate=evil; Path=/; Secure",
                "foregate=evil",
                "__Secure-foregate=evil",
                "  \t__Host-foregate =evil",
                "=__Host-foregate=evil",
                "= foregate=evil",
                "foregate_csrf=evil",
                "__Host-foregate_csrf=evil",
                "foregate",
                "foregate; Path=/",
                "b=foregate=1",
                "Foregate=1",
            ],
        );
        names().refuse(&mut headers);
        let left: Vec<_> = headers.get_all(header::SET_COOKIE).iter().collect();
        assert_eq!(left, ["a=1; Path=/", "b=foregate=1", "Foregate=1"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_left_reads_the_same_without_ours(
            pairs in proptest::collection::vec("[ \t]?(__Host-foregate|foregate_csrf|a|b|=)? ?=?[a-z=\"]{0,4}[ \t]?", 0..6)
        ) {
            let line = pairs.join(";");
            let ours = |pair: &str| ["__Host-foregate", "foregate_csrf"].contains(&pair.trim_matches([' ', '\t', '=']).split('=').next().unwrap_or("").trim());
            let expected: Vec<_> = pairs.iter().filter(|p| !ours(p)).map(|p| p.trim()).filter(|p| !p.is_empty()).collect();
            let left = taken_out(&[line.trim()]).join("");
            let seen: Vec<_> = left.split(';').map(str::trim).filter(|p| !p.is_empty()).collect();
            prop_assert_eq!(seen, expected, "{:?}", line);
        }
    }
}
