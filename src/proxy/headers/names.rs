//! Which field of a request is what: the names that are ours to set, and those that end at this hop.
//!
//! Backends disagree about names: WSGI, CGI and PHP read `Remote_User`, `Remote.User` and
//! `Remote-User` as one. So names are compared folded: any case, and every character that is neither
//! letter nor digit equal to `-`.
//!
//! Callers: `proxy::headers` for heads, `proxy::body` for trailers. Values are not looked at here.

use http::HeaderName;

/// What is to become of one field of a client's request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    /// `Authorization`: goes on where the route says so.
    Authorization,
    /// `Content-Length`: made anew from the body.
    ContentLength,
    /// `Cookie`: goes on without our own.
    Cookie,
    /// `Expect`: ends here, for it is us who are asked.
    Expect,
    /// Ends at this hop, or is made anew from the body.
    HopByHop,
    /// Goes on as it came.
    Keep,
    /// Says who somebody is, or what was asked: ours to say, whoever the peer is.
    Reserved,
    /// `X-Forwarded-For`, `Forwarded` and what else is set anew on every request.
    SetAnew,
    /// `TE`: ends here, but a wish for trailers is made anew.
    Te,
    /// `Trailer`: ends here, and is announced anew for the names that pass.
    Trailer,
    /// Another `X-Forwarded-*`: passes from a trusted peer.
    TrustedOnly,
}

/// The families of names that some backend or another believes, configured or not.
const FAMILIES: [&str; 12] = [
    "client-cert",
    "remote-",
    "ssl-client-",
    "x-auth-",
    "x-authentik-",
    "x-client-cert",
    "x-foregate-",
    "x-original-",
    "x-remote-",
    "x-rewrite-",
    "x-ssl-client-",
    "x-webauth-",
];

/// Of the `X-Forwarded-*` family, what says who somebody is.
const FORWARDED_IDENTITY: [&str; 4] =
    ["x-forwarded-email", "x-forwarded-groups", "x-forwarded-preferred-username", "x-forwarded-user"];

/// Set anew on every request, whatever the peer sent.
const SET_ANEW: [&str; 7] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
];

/// The names that are ours to set: the families, and every name of an identity map.
#[derive(Clone, Debug, Default)]
pub struct ReservedNames {
    /// Folded, and not in a family.
    configured: Vec<Box<[u8]>>,
    /// What some route sets or removes: no trailer may say it behind the route's back.
    edited: Vec<HeaderName>,
    /// One bit for each first character of those, so that most names are told apart by one look.
    first: u64,
}

impl ReservedNames {
    /// The families, and these names in every spelling.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a HeaderName>) -> Self {
        let mut this = Self::default();
        for name in names {
            let folded: Box<[u8]> = name.as_str().bytes().map(fold).collect();
            if fate_by_family(&folded) != Fate::Reserved && !this.configured.contains(&folded) {
                this.first |= bit(folded[0]);
                this.configured.push(folded);
            }
        }
        this
    }

    /// The same, with the names of fields that some route sets or removes.
    pub fn with_edited(self, edited: impl IntoIterator<Item = HeaderName>) -> Self {
        Self { edited: edited.into_iter().collect(), ..self }
    }

    /// Whether only we may say this to a backend about a person or a request.
    pub fn contains(&self, name: &HeaderName) -> bool {
        self.fate(name) == Fate::Reserved
    }

    /// What is to become of a client's field of this name.
    pub(crate) fn fate(&self, name: &HeaderName) -> Fate {
        // `HeaderName` is lower case already, and never empty.
        let name = name.as_str().as_bytes();
        if self.first & bit(name[0]) != 0 && self.configured.iter().any(|own| is(name, own)) {
            return Fate::Reserved;
        }
        fate_by_family(name)
    }

    /// Whether a trailer of this name may go on: nothing that is ours or a route's, that frames a message,
    /// that routes it or that says who asks.
    pub(crate) fn allows_trailer(&self, name: &HeaderName) -> bool {
        const NEVER: [&str; 11] = [
            "cache-control",
            "content-encoding",
            "content-range",
            "content-type",
            "host",
            "if-match",
            "max-forwards",
            "origin",
            "range",
            "set-cookie",
            "te",
        ];
        self.fate(name) == Fate::Keep
            && !NEVER.iter().any(|never| is(name.as_str().as_bytes(), never.as_bytes()))
            && !self.edited.iter().any(|edited| same(edited, name))
    }
}

/// Whether the gateway or HTTP itself sets this name, so that no identity header can have it.
pub(crate) fn is_taken(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    ["authorization", "host", "set-cookie"].iter().any(|own| is(name, own.as_bytes()))
        || match fate_by_family(name) {
            Fate::ContentLength
            | Fate::Cookie
            | Fate::Expect
            | Fate::HopByHop
            | Fate::SetAnew
            | Fate::Te
            | Fate::Trailer => true,
            Fate::Authorization | Fate::Keep | Fate::Reserved | Fate::TrustedOnly => false,
        }
}

/// Why a route can't change fields of this name; `None` where it can.
pub(crate) fn fixed(name: &HeaderName) -> Option<Fixed> {
    let name = name.as_str().as_bytes();
    if is(name, b"host") {
        return Some(Fixed::Host);
    }
    match fate_by_family(name) {
        Fate::Authorization | Fate::Cookie | Fate::Keep => None,
        Fate::ContentLength | Fate::Expect | Fate::HopByHop | Fate::Te | Fate::Trailer => {
            Some(Fixed::Connection)
        }
        Fate::Reserved | Fate::SetAnew | Fate::TrustedOnly => Some(Fixed::Origin),
    }
}

/// Why a route can't change a field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fixed {
    /// It frames the message, or is about one connection.
    Connection,
    /// `Host`.
    Host,
    /// It says who somebody is or where a request comes from.
    Origin,
}

/// Whether a backend may read it as `X-Forwarded-Prefix`.
pub(crate) fn is_forwarded_prefix(name: &HeaderName) -> bool {
    is(name.as_str().as_bytes(), b"x-forwarded-prefix")
}

/// Whether two names are one to some backend.
pub(crate) fn same(a: &HeaderName, b: &HeaderName) -> bool {
    let (a, b) = (a.as_str(), b.as_str());
    a.len() == b.len() && a.bytes().zip(b.bytes()).all(|(a, b)| fold(a) == fold(b))
}

/// The first byte tells most names apart: a usual request costs a table jump for each field.
fn fate_by_family(name: &[u8]) -> Fate {
    let hop_by_hop = |names: &[&str]| match names.iter().any(|own| is(name, own.as_bytes())) {
        true => Fate::HopByHop,
        false => Fate::Keep,
    };
    match name[0] {
        b'a' if is(name, b"authorization") => Fate::Authorization,
        b'c' if is(name, b"cookie") => Fate::Cookie,
        b'c' if starts(name, b"client-cert") => Fate::Reserved,
        b'c' if is(name, b"content-length") => Fate::ContentLength,
        b'c' => hop_by_hop(&["connection"]),
        b'e' if is(name, b"expect") => Fate::Expect,
        b'f' if is(name, b"forwarded") => Fate::SetAnew,
        b'h' => hop_by_hop(&["http2-settings"]),
        b'k' => hop_by_hop(&["keep-alive"]),
        // `Proxy` alone becomes `HTTP_PROXY` in CGI, which some client libraries obey.
        b'p' if starts(name, b"proxy-") || name == b"proxy" => Fate::HopByHop,
        b'r' if starts(name, b"remote-") => Fate::Reserved,
        b's' if starts(name, b"ssl-client-") => Fate::Reserved,
        b't' if name == b"te" => Fate::Te,
        b't' if name == b"trailer" => Fate::Trailer,
        b't' => hop_by_hop(&["transfer-encoding"]),
        b'u' => hop_by_hop(&["upgrade"]),
        b'x' => fate_of_x(name),
        _ => Fate::Keep,
    }
}

/// Of a name that begins with `x`.
fn fate_of_x(name: &[u8]) -> Fate {
    if starts(name, b"x-forwarded") {
        return match name {
            _ if FORWARDED_IDENTITY.iter().any(|own| is(name, own.as_bytes())) => Fate::Reserved,
            _ if SET_ANEW.iter().any(|own| is(name, own.as_bytes())) => Fate::SetAnew,
            [_, _, b'f', b'o', b'r', b'w', b'a', b'r', b'd', b'e', b'd', rest @ ..]
                if rest.first().is_none_or(|c| !c.is_ascii_alphanumeric()) =>
            {
                Fate::TrustedOnly
            }
            _ => Fate::Keep,
        };
    }
    if is(name, b"x-real-ip") || is(name, b"x-request-id") {
        return Fate::SetAnew;
    }
    match FAMILIES.iter().any(|family| starts(name, family.as_bytes())) {
        true => Fate::Reserved,
        false => Fate::Keep,
    }
}

fn is(name: &[u8], folded: &[u8]) -> bool {
    name.len() == folded.len() && starts(name, folded)
}

fn starts(name: &[u8], folded: &[u8]) -> bool {
    name.len() >= folded.len() && name.iter().zip(folded).all(|(&a, &b)| fold(a) == b)
}

fn fold(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' | b'a'..=b'z' => byte,
        b'A'..=b'Z' => byte.to_ascii_lowercase(),
        _ => b'-',
    }
}

fn bit(first: u8) -> u64 {
    1 << (fold(first) & 63)
}

#[cfg(test)]
mod tests;
