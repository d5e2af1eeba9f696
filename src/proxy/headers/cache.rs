//! Who may keep an answer: `Cache-Control`, where it was asked for with a token in the address (RFC 6750 §2.3).
//!
//! What speaks to one kind of cache alone overrides it there, so nothing of that stays.
//!
//! Callers: `proxy`.

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue};

/// How the fields end that speak to one kind of cache (RFC 9213 §2), such as `CDN-Cache-Control`.
const TARGETED: &str = "-cache-control";
/// Those that have other names: of the Edge Architecture Specification, of Akamai, of nginx.
const OLDER: [&str; 3] = ["surrogate-control", "edge-control", "x-accel-expires"];

/// What lets others keep an answer or speaks to them alone, and what is said anew.
const SHARED: [&[u8]; 4] = [b"public", b"s-maxage", b"proxy-revalidate", b"private"];

/// Lets nobody keep the answer but the client itself. What else the upstream says of it stays.
pub(in crate::proxy) fn keep_private(headers: &mut HeaderMap) {
    let mut directives: Vec<&[u8]> = vec![b"private"];
    for field in headers.get_all(CACHE_CONTROL) {
        directives.extend(split(field.as_bytes()).filter(|directive| !is_shared(directive)));
    }
    let value = HeaderValue::from_bytes(&directives.join(&b", "[..]));
    // Made of parts of such values: it is one.
    headers.insert(CACHE_CONTROL, value.unwrap_or(HeaderValue::from_static("private")));
    let targeted: Vec<HeaderName> = headers.keys().filter(|name| is_targeted(name)).cloned().collect();
    for name in targeted {
        headers.remove(name);
    }
}

fn is_targeted(name: &HeaderName) -> bool {
    name.as_str().ends_with(TARGETED) || OLDER.contains(&name.as_str())
}

fn is_shared(directive: &[u8]) -> bool {
    let name = directive.split(|&byte| byte == b'=').next().unwrap_or_default().trim_ascii();
    name.is_empty() || SHARED.iter().any(|shared| name.eq_ignore_ascii_case(shared))
}

/// At the commas that stand in no quoted text.
fn split(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = value.split(move |&byte| {
        let is_plain = !std::mem::take(&mut escaped);
        match byte {
            b'\\' if quoted && is_plain => escaped = true,
            b'"' if is_plain => quoted = !quoted,
            _ => {}
        }
        byte == b',' && !quoted
    });
    parts.map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_for_everybody_is_for_the_client_alone() {
        for (said, expected) in [
            (&[][..], "private"),
            (&["public, max-age=60"], "private, max-age=60"),
            (&["max-age=60"], "private, max-age=60"),
            (&["Public", "S-MaxAge=9 , max-age=60"], "private, max-age=60"),
            (&["max-age=1, s-maxage = 9, proxy-revalidate"], "private, max-age=1"),
            (&["no-store"], "private, no-store"),
            (&["public,, no-store, no-cache,"], "private, no-store, no-cache"),
            (&["private, max-age=60"], "private, max-age=60"),
            (&["private=\"a, public\", max-age=60"], "private, max-age=60"),
            (&["no-cache=\"a, \\\"b, public\", public"], "private, no-cache=\"a, \\\"b, public\""),
            (&["x=\"a, public"], "private, x=\"a, public"),
        ] {
            let mut headers = HeaderMap::new();
            for said in said {
                headers.append(CACHE_CONTROL, HeaderValue::from_static(said));
            }
            keep_private(&mut headers);
            let seen: Vec<_> = headers.get_all(CACHE_CONTROL).iter().collect();
            assert_eq!(seen, [expected], "{said:?}");
        }
    }

    #[test]
    fn no_cache_is_told_otherwise_in_a_field_of_its_own() {
        let targeted = [
            "cdn-cache-control",
            "cloudflare-cdn-cache-control",
            "vercel-cdn-cache-control",
            "x-litespeed-cache-control",
            "surrogate-control",
            "edge-control",
            "x-accel-expires",
        ];
        let others = ["etag", "surrogate-key", "x-cache-control-hint", "expires"];
        let mut headers = HeaderMap::new();
        for name in targeted.into_iter().chain(others) {
            for value in ["max-age=600", "public"] {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
        }
        keep_private(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["cache-control", "etag", "expires", "surrogate-key", "x-cache-control-hint"]);
        assert_eq!(headers.get_all("etag").iter().count(), 2, "the others stay whole");
    }
}
