//! What one request says, believed only as far as it can be: id, client address, host, scheme, target.
//!
//! `Context::new` is the border: what has two meanings is a fault there and never reaches a rule.
//!
//! Callers: `gateway` builds a context for each request, `subrequest` one from a trusted peer's
//! description of another; `gate`, `portal` and `proxy` read it. No credential is looked at here.

use std::fmt;
use std::net::IpAddr;
use std::time::SystemTime;

use http::{HeaderValue, Method};

pub mod forwarded;
pub mod head;
pub mod target;

pub use forwarded::TrustedProxies;
pub use target::Target;

/// One request, described without doubt.
#[derive(Clone, Debug)]
pub struct Context {
    /// Who really asks: the right-most address that is not a trusted proxy's, IPv4 also where it came mapped into IPv6.
    pub client: IpAddr,
    /// The one host that is asked for.
    pub host: Host,
    /// For logs and for the person to quote.
    pub id: RequestId,
    /// As sent; case matters.
    pub method: Method,
    /// The other end of the connection.
    pub peer: IpAddr,
    /// Whether the peer is one of `trusted_proxies`.
    pub peer_trusted: bool,
    /// When the head was complete.
    pub received_at: SystemTime,
    /// How the client reached us or the trusted proxy in front.
    pub scheme: Scheme,
    /// Path and query, with every reading of the path.
    pub target: Target,
}

/// A host without doubt: lower case, no trailing dot; the port apart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Host {
    /// Lower case; an IPv6 address in brackets.
    pub name: String,
    /// As sent, if one was.
    pub port: Option<u16>,
}

/// `http` or `https`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// Plain.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that goes without saying.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The value of `X-Request-Id`: taken from a trusted proxy, or made.
#[derive(Clone, Debug)]
pub struct RequestId(HeaderValue); // Invariant: 1 to 128 characters out of A-Z a-z 0-9 - _ . ~ + / = : @

impl RequestId {
    /// As a header's value.
    pub fn header_value(&self) -> &HeaderValue {
        &self.0
    }
}

/// Why a request can't be described: it is answered with `status` and the connection closes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RequestFault {
    /// Replaced by the room's own list.
    #[error("the request is not sound")]
    Unsound,
}
