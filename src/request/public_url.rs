//! The origin that browsers use, as configured.
//!
//! Callers: `config` parses it; who makes a link, an issuer or a cookie reads it.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::Scheme;

/// Scheme, host and port: nothing else is in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublicUrl {
    host: String, // Invariant: lower case, no trailing dot; an IPv6 address in brackets.
    port: u16,
    scheme: Scheme,
}

/// Why a text is no origin.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected an origin such as `https://login.example.com`: http or https, a host and perhaps a port")]
pub struct InvalidPublicUrl;

impl PublicUrl {
    /// Lower case; an IPv6 address in brackets; no port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, also where it goes without saying.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How browsers reach us.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Whether browsers reach us over TLS.
    pub fn is_https(&self) -> bool {
        self.scheme == Scheme::Https
    }

    /// As browsers write it in `Origin`: without the port that goes without saying, without a closing slash.
    pub fn origin(&self) -> String {
        if self.port == self.scheme.default_port() {
            format!("{}://{}", self.scheme, self.host)
        } else {
            format!("{}://{}:{}", self.scheme, self.host, self.port)
        }
    }
}

impl FromStr for PublicUrl {
    type Err = InvalidPublicUrl;

    fn from_str(raw: &str) -> Result<Self, InvalidPublicUrl> {
        let (scheme, rest) = raw.split_once("://").ok_or(InvalidPublicUrl)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(InvalidPublicUrl),
        };
        // Browsers show an origin with a closing slash, and people copy it from there.
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match authority.rsplit_once(':') {
            // The last colon of a bracketed address without a port is within the brackets.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            Some(_) | None => (authority, None),
        };
        let port = match port {
            None => scheme.default_port(),
            Some(port) if port.starts_with(|c: char| c.is_ascii_digit()) => {
                port.parse().map_err(|_| InvalidPublicUrl)?
            }
            Some(_) => return Err(InvalidPublicUrl),
        };
        Ok(Self { host: host_name(host).ok_or(InvalidPublicUrl)?, port, scheme })
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin())
    }
}

/// A name, an IPv4 address, or an IPv6 address in brackets, in the one form that it is compared in.
fn host_name(raw: &str) -> Option<String> {
    if let Some(address) = raw.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().ok().map(|address| format!("[{address}]"));
    }
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let label = |label: &str| (1..=63).contains(&label.len()) && label.chars().all(letter);
    if raw.len() > 253 || !raw.split('.').all(label) {
        return None;
    }
    // `1.2.3` and `0x7f.1` are addresses to some and names to others.
    let last = raw.rsplit('.').next().unwrap_or(raw);
    if last.starts_with(|c: char| c.is_ascii_digit()) && raw.parse::<Ipv4Addr>().is_err() {
        return None;
    }
    Some(raw.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(raw.parse().map(|url: PublicUrl| url.origin()), Ok(origin.to_owned()), "{raw}");
        }
        for raw in [
            "",
            "example.com",
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
            "https://example.com.",
            "https://exa mple.com",
            "https://exämple.com",
            "https://::1",
            "https://[::1",
            "https://1.2.3",
            "https://-\n.com",
        ] {
            assert_eq!(raw.parse::<PublicUrl>(), Err(InvalidPublicUrl), "{raw:?}");
        }
    }
}
