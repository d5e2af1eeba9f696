//! Origins: scheme, host and port, what browsers call the same place (RFC 6454).
//!
//! Callers: `config` parses the public one; who makes a link or an issuer writes it; `gate` and
//! `portal` ask whether a request was sent by a page of the place that it is for.

use std::fmt;
use std::str::FromStr;

use http::HeaderMap;
use http::header::{HeaderName, ORIGIN};

use super::{Context, Host, Scheme};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Scheme, host and port: nothing else is in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin {
    host: String, // Invariant: as in `Host`.
    port: u16,
    scheme: Scheme,
}

/// Why a text is no origin.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected an origin such as `https://login.example.com`: http or https, a host and perhaps a port")]
pub struct InvalidOrigin;

/// Where a request says that it was sent from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SentFrom {
    /// Another site.
    Elsewhere,
    /// A page of the same origin, or nothing is said: then it is no browser, and held to the other rules.
    Here,
    /// Another origin of the same site: a sister host, or another port.
    SameSite,
}

impl Origin {
    /// Of a plain listener. Port 0 stands for one that the kernel has yet to choose.
    pub fn http(host: &str, port: u16) -> Self {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_ascii_lowercase() };
        Self { host, port, scheme: Scheme::Http }
    }

    /// As `http`, of a listener with TLS.
    pub fn https(host: &str, port: u16) -> Self {
        Self { scheme: Scheme::Https, ..Self::http(host, port) }
    }

    /// The same with the port that the kernel chose, where one was left to it.
    pub fn with_chosen_port(self, chosen: u16) -> Self {
        let port = if self.port == 0 { chosen } else { self.port };
        Self { port, ..self }
    }

    /// Lower case; an IPv6 address in brackets; no port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Also where it goes without saying.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is reached over TLS.
    pub fn is_https(&self) -> bool {
        self.scheme == Scheme::Https
    }

    /// Whether this is the place that a request is for. TLS may end in front of us without our
    /// knowing, so https is here where we see http; never the other way.
    fn is_of(&self, context: &Context) -> bool {
        let upgraded = context.scheme == Scheme::Http && self.scheme == Scheme::Https;
        let port = context.host.port.unwrap_or(self.scheme.default_port());
        (self.scheme == context.scheme || upgraded) && *self.host == *context.host.name && self.port == port
    }
}

/// Reads `Sec-Fetch-Site` and `Origin`. Browsers set both and no page can forge either; when one of
/// them says "elsewhere", it is. `public` counts as here too: a proxy in front may have changed the host.
pub fn sent_from(headers: &HeaderMap, context: &Context, public: &Origin) -> SentFrom {
    let mut same_site = false;
    for site in headers.get_all(SEC_FETCH_SITE) {
        match site.as_bytes() {
            b"same-origin" | b"none" => {}
            b"same-site" => same_site = true,
            _ => return SentFrom::Elsewhere,
        }
    }
    if same_site {
        return SentFrom::SameSite;
    }
    let here = headers.get_all(ORIGIN).iter().all(|origin| {
        // `null` is no origin: a sandboxed frame or a data URL.
        let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Origin>().ok());
        origin.is_some_and(|origin| origin == *public || origin.is_of(context))
    });
    if here { SentFrom::Here } else { SentFrom::Elsewhere }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(raw: &str) -> Result<Self, InvalidOrigin> {
        let (scheme, rest) = raw.split_once("://").ok_or(InvalidOrigin)?;
        let scheme = Scheme::parse(scheme).ok_or(InvalidOrigin)?;
        // Browsers show an origin with a closing slash, and people copy it from there.
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let Host { name, port } = authority.parse().map_err(|_| InvalidOrigin)?;
        Ok(Self { host: name.to_string(), port: port.unwrap_or(scheme.default_port()), scheme })
    }
}

impl fmt::Display for Origin {
    /// As browsers write it: without the port that goes without saying, without a closing slash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        if self.port == self.scheme.default_port() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::SystemTime;

    use http::{HeaderValue, Method};

    use super::*;
    use crate::request::{RequestId, Target};

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (raw, origin) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("https://Login.Example.COM", "https://login.example.com"),
            ("https://login.example.com:443/", "https://login.example.com"),
            ("https://login.example.com:8443", "https://login.example.com:8443"),
            ("HTTP://localhost:80", "http://localhost"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://[0:0::1]", "http://[::1]"),
            ("http://my_app:3000", "http://my_app:3000"),
        ] {
            assert_eq!(raw.parse().map(|url: Origin| url.to_string()), Ok(origin.to_owned()), "{raw}");
        }
        for raw in [
            "",
            "null",
            "example.com",
            "//a",
            "ftp://example.com",
            "https://",
            "https://example.com/path",
            "https://example.com//",
            "https://example.com?q",
            "https://example.com#f",
            "https://user@example.com",
            "https://example.com:",
            "https://example.com:+80",
            "https://example.com:65536",
            "https://exa mple.com",
            "https://ex\u{e4}mple.com",
            "https://::1",
            "https://[::1",
            "https://1.2.3",
            "https://-\n.com",
            "file://",
        ] {
            assert_eq!(raw.parse::<Origin>(), Err(InvalidOrigin), "{raw:?}");
        }
    }

    #[test]
    fn where_a_request_was_sent_from() {
        use SentFrom::{Elsewhere, Here, SameSite};
        let context = |name: &str, port, scheme| Context {
            client: IpAddr::from([192, 0, 2, 1]),
            host: Host { name: name.into(), port },
            id: RequestId::generate(),
            method: Method::POST,
            peer: IpAddr::from([192, 0, 2, 1]),
            certificate: None,
            peer_trusted: false,
            received_at: SystemTime::UNIX_EPOCH,
            scheme,
            target: Target::parse("/").expect("a target"),
        };
        let plain = context("app.test", Some(8080), Scheme::Http);
        let tls = context("app.test", None, Scheme::Https);
        let cases = [
            (&plain, None, None, Here),
            (&plain, Some("http://app.test:8080"), None, Here),
            (&plain, Some("http://app.test:8080"), Some("same-origin"), Here),
            (&plain, Some("http://APP.test:8080"), Some("none"), Here),
            (&plain, Some("https://app.test:8080"), None, Here),
            (&plain, Some("http://app.test"), None, Elsewhere),
            (&plain, Some("http://app.test:8081"), None, Elsewhere),
            (&plain, Some("http://evil.test:8080"), None, Elsewhere),
            (&plain, Some("http://app.test.evil.test:8080"), None, Elsewhere),
            (&plain, Some("null"), None, Elsewhere),
            (&plain, Some("null"), Some("same-origin"), Elsewhere),
            (&plain, Some(""), None, Elsewhere),
            (&plain, Some("http://app.test:8080"), Some("cross-site"), Elsewhere),
            (&plain, None, Some("cross-site"), Elsewhere),
            (&plain, None, Some("same-site"), SameSite),
            (&plain, Some("http://sister.test:8080"), Some("same-site"), SameSite),
            (&plain, None, Some("nonsense"), Elsewhere),
            (&plain, Some("https://login.test"), None, Here),
            (&plain, Some("https://login.test:444"), None, Elsewhere),
            (&plain, Some("http://login.test"), None, Elsewhere),
            (&tls, Some("https://app.test"), None, Here),
            (&tls, Some("https://app.test:443"), None, Here),
            (&tls, Some("http://app.test"), None, Elsewhere),
            (&tls, Some("http://app.test:443"), None, Elsewhere),
        ];
        let public = "https://login.test".parse().expect("an origin");
        for (context, origin, site, expected) in cases {
            let mut headers = HeaderMap::new();
            let mut set = |name: HeaderName, value: Option<&'static str>| {
                value.map(|value| headers.insert(name, HeaderValue::from_static(value)));
            };
            set(ORIGIN, origin);
            set(SEC_FETCH_SITE, site);
            assert_eq!(
                sent_from(&headers, context, &public),
                expected,
                "{:?} {origin:?} {site:?}",
                context.host
            );
        }
    }
}
