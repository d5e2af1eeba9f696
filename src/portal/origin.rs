//! Whether a POST was sent by a page of ours.
//!
//! Browsers say where a request comes from in `Sec-Fetch-Site` and `Origin`, and a page can't forge
//! either. What says "elsewhere" is refused; what says nothing is no browser, and is held to the
//! rest of the rules.
//!
//! Callers: the portal, before any POST is looked at.

use std::str::FromStr;

use http::header::{HeaderName, ORIGIN};
use http::{HeaderMap, Uri};

use crate::request::{Host, Scheme};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Scheme, host and port: what browsers call the same place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin {
    host: String,
    port: u16,
    scheme: Scheme,
}

/// Why a text is no origin.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an origin looks like https://login.example.com or http://localhost:8080")]
pub struct InvalidOrigin;

impl Origin {
    /// Of a host that was asked for.
    pub fn new(scheme: Scheme, host: &Host) -> Self {
        Self { host: host.name.clone(), port: host.port.unwrap_or(scheme.default_port()), scheme }
    }

    /// Without scheme and port.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(raw: &str) -> Result<Self, InvalidOrigin> {
        let uri: Uri = raw.parse().map_err(|_| InvalidOrigin)?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return Err(InvalidOrigin),
        };
        let authority =
            uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or(InvalidOrigin)?;
        if authority.host().is_empty() || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(InvalidOrigin);
        }
        let port = authority.port_u16().unwrap_or(scheme.default_port());
        Ok(Self { host: authority.host().to_ascii_lowercase(), port, scheme })
    }
}

/// Whether these headers say that a request to `here` comes from elsewhere. `public` counts as here
/// too: a proxy in front may have changed the host on the way.
pub(super) fn is_elsewhere(headers: &HeaderMap, here: &Host, scheme: Scheme, public: &Origin) -> bool {
    let fetched_elsewhere = headers
        .get_all(SEC_FETCH_SITE)
        .iter()
        .any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"));
    let sent_elsewhere = headers.get_all(ORIGIN).iter().any(|origin| {
        let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Origin>().ok());
        // `null` is no origin: a sandboxed frame or a data URL.
        !origin.is_some_and(|origin| origin == *public || is_same_place(&origin, here, scheme))
    });
    fetched_elsewhere || sent_elsewhere
}

/// TLS may end in front of us without our knowing, so https is here where we see http; never the other way.
fn is_same_place(origin: &Origin, here: &Host, scheme: Scheme) -> bool {
    let upgraded = scheme == Scheme::Http && origin.scheme == Scheme::Https;
    let port = here.port.unwrap_or(origin.scheme.default_port());
    (origin.scheme == scheme || upgraded) && origin.host == here.name && origin.port == port
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn origins() {
        for good in ["http://a", "https://a.test:8443", "https://a.test/", "http://[::1]:8080"] {
            assert!(good.parse::<Origin>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "null",
            "a.test",
            "//a",
            "ftp://a",
            "https://",
            "https://u@a",
            "https://a/b",
            "https://a?b",
            "file://",
        ] {
            assert_eq!(bad.parse::<Origin>(), Err(InvalidOrigin), "{bad}");
        }
    }

    #[test]
    fn only_pages_of_ours_may_post() {
        let host = |name: &str, port| Host { name: name.into(), port };
        let plain = (host("app.test", Some(8080)), Scheme::Http);
        let tls = (host("app.test", None), Scheme::Https);
        let cases = [
            (&plain, None, None, false),
            (&plain, Some("http://app.test:8080"), None, false),
            (&plain, Some("http://app.test:8080"), Some("same-origin"), false),
            (&plain, Some("http://APP.test:8080"), Some("none"), false),
            (&plain, Some("https://app.test:8080"), None, false),
            (&plain, Some("http://app.test"), None, true),
            (&plain, Some("http://app.test:8081"), None, true),
            (&plain, Some("http://evil.test:8080"), None, true),
            (&plain, Some("http://app.test.evil.test:8080"), None, true),
            (&plain, Some("null"), None, true),
            (&plain, Some("null"), Some("same-origin"), true),
            (&plain, Some(""), None, true),
            (&plain, Some("http://app.test:8080"), Some("cross-site"), true),
            (&plain, None, Some("cross-site"), true),
            (&plain, None, Some("same-site"), true),
            (&plain, None, Some("nonsense"), true),
            (&plain, Some("https://login.test"), None, false),
            (&plain, Some("https://login.test:444"), None, true),
            (&plain, Some("http://login.test"), None, true),
            (&tls, Some("https://app.test"), None, false),
            (&tls, Some("https://app.test:443"), None, false),
            (&tls, Some("http://app.test"), None, true),
            (&tls, Some("http://app.test:443"), None, true),
        ];
        let public = "https://login.test".parse().expect("an origin");
        for ((here, scheme), origin, site, expected) in cases {
            let mut headers = HeaderMap::new();
            if let Some(origin) = origin {
                headers.insert(ORIGIN, HeaderValue::from_static(origin));
            }
            if let Some(site) = site {
                headers.insert(SEC_FETCH_SITE, HeaderValue::from_static(site));
            }
            assert_eq!(
                is_elsewhere(&headers, here, *scheme, &public),
                expected,
                "{here:?} {origin:?} {site:?}"
            );
        }
    }
}
