//! What proxies in front say of the request: whose it is, and under which scheme and host it came to them.
//!
//! A header is a claim. It is read only when the other end of the connection is a trusted proxy, and then from the
//! right: the last entry was written by the peer, the one before by whom the peer saw, and so on until somebody is not
//! trusted. What can't be read is never skipped, for behind it stands what a client may have written.
//!
//! Two dialects are spoken. Where any of `X-Forwarded-For`, `-Host`, `-Port` or `-Proto` is present, that is the proxy's, and
//! `Forwarded` (RFC 7239) is not looked at: nearly every proxy that sets the former passes the latter on as the
//! client sent it. A proxy that speaks `Forwarded` alone has to remove the others.
//!
//! Callers: `Context`; `subrequest` for `single`. Removing and setting these headers is `proxy`'s.

use std::borrow::Cow;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;

use super::host::read_port;
use super::{Host, Scheme};

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The peers whose word is taken. Empty by default, loopback not excepted.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(pub Vec<IpNet>);

impl TrustedProxies {
    /// Whether this address is one of them, IPv4 also where it comes mapped into IPv6, on either side.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let mapped = match address {
            IpAddr::V4(address) => Some(IpAddr::V6(address.to_ipv6_mapped())),
            IpAddr::V6(_) => None,
        };
        self.0.iter().any(|network| {
            // `::/0` means every IPv6 address; a network says that it means mapped ones by being among them.
            let is_mapped_network = || matches!(network, IpNet::V6(v6) if v6.prefix_len() >= 96);
            network.contains(&address)
                || mapped.is_some_and(|mapped| is_mapped_network() && network.contains(&mapped))
        })
    }
}

/// What a trusted peer says of one request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Forwarding {
    /// The right-most address that is not a trusted proxy's, or the last one known before an entry that can't be read.
    pub client: IpAddr,
    /// `X-Forwarded-Host`, or `host` of `Forwarded`.
    pub host: Option<Host>,
    /// `X-Forwarded-Port`.
    pub port: Option<u16>,
    /// `X-Forwarded-Proto`, or `proto` of `Forwarded`; `wss` is `https`.
    pub scheme: Option<Scheme>,
}

/// A trusted peer's description that is malformed or says two things.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ForwardedFault {
    /// Several values that differ.
    #[error("a forwarding header gives two different values")]
    Contradiction,
    /// Not what the field may hold.
    #[error("a forwarding header can't be read")]
    Malformed,
}

impl Forwarding {
    /// Reads the headers of a request whose `peer` is trusted.
    pub fn read(peer: IpAddr, headers: &HeaderMap, trusted: &TrustedProxies) -> Result<Self, ForwardedFault> {
        let peer = peer.to_canonical();
        let x_fields = [&FORWARDED_FOR, &FORWARDED_HOST, &FORWARDED_PORT, &FORWARDED_PROTO];
        if headers.keys().any(|name| x_fields.contains(&name)) {
            return Ok(Self {
                client: client(peer, headers, trusted),
                host: agreed(headers, &FORWARDED_HOST, |value| Host::known(value.as_bytes()).ok())?,
                port: agreed(headers, &FORWARDED_PORT, read_port)?,
                scheme: agreed(headers, &FORWARDED_PROTO, scheme)?,
            });
        }
        // Unlike a list of addresses this grammar has quotes, which an entry of the client's could open for the rest
        // of the line. So a malformed field as a whole is a fault, and no address is guessed.
        let mut elements = Vec::new();
        for field in headers.get_all(header::FORWARDED) {
            elements.append(&mut forwarded_elements(field.to_str().map_err(|_| ForwardedFault::Malformed)?)?);
        }
        let hops = elements.iter().rev().map(|element| element.client.as_deref().and_then(address));
        Ok(Self {
            client: last_trusted_or_first_other(peer, hops, trusted),
            host: all_equal(elements.iter().filter_map(|element| element.host.as_deref()), |v| {
                v.parse().ok()
            })?,
            port: None,
            scheme: all_equal(elements.iter().filter_map(|element| element.scheme.as_deref()), scheme)?,
        })
    }
}

/// The client by `X-Forwarded-For` alone, all lines as one list; the peer where it isn't trusted.
pub fn client(peer: IpAddr, headers: &HeaderMap, trusted: &TrustedProxies) -> IpAddr {
    let peer = peer.to_canonical();
    if !trusted.contains(peer) {
        return peer;
    }
    let lines = headers.get_all(&FORWARDED_FOR).iter().rev();
    let entries = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    let hops = entries.map(|entry| std::str::from_utf8(entry).ok().and_then(|entry| address(trim(entry))));
    last_trusted_or_first_other(peer, hops, trusted)
}

/// The one value of a field that may come once, or several times with the same value.
pub fn single<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, ForwardedFault> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.any(|value| value != first) {
        return Err(ForwardedFault::Contradiction);
    }
    first.to_str().map(Some).map_err(|_| ForwardedFault::Malformed)
}

/// Hops come from the nearest on; `None` is one that can't be read.
fn last_trusted_or_first_other(
    peer: IpAddr,
    hops: impl Iterator<Item = Option<IpAddr>>,
    trusted: &TrustedProxies,
) -> IpAddr {
    let mut known = peer;
    for hop in hops {
        match hop {
            None => return known,
            Some(hop) if !trusted.contains(hop) => return hop,
            Some(hop) => known = hop,
        }
    }
    known
}

/// The value of a field that several proxies may have written to, as a list or line by line, if all wrote the same.
fn agreed<T: PartialEq>(
    headers: &HeaderMap,
    name: &HeaderName,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, ForwardedFault> {
    let lines: Result<Vec<&str>, _> = headers.get_all(name).iter().map(HeaderValue::to_str).collect();
    let lines = lines.map_err(|_| ForwardedFault::Malformed)?;
    all_equal(lines.iter().flat_map(|line| line.split(',')).map(trim), read)
}

fn all_equal<'v, T: PartialEq>(
    values: impl Iterator<Item = &'v str>,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, ForwardedFault> {
    let mut agreed = None;
    for value in values {
        let value = read(value).ok_or(ForwardedFault::Malformed)?;
        match &agreed {
            Some(first) if *first != value => return Err(ForwardedFault::Contradiction),
            _ => agreed = Some(value),
        }
    }
    Ok(agreed)
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// An address with or without a port, an IPv6 address with or without brackets; no zone, no name, not the address that
/// means none. RFC 7239 §6.
fn address(text: &str) -> Option<IpAddr> {
    let (address, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            (IpAddr::V6(address.parse().ok()?), port)
        }
        None => match text.split_once(':') {
            Some((before, after)) if !after.contains(':') => {
                (IpAddr::V4(before.parse().ok()?), &text[before.len()..])
            }
            _ => (text.parse().ok()?, ""),
        },
    };
    let is_port = |port: &str| {
        let is_hidden = port.strip_prefix('_').is_some_and(|name| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        });
        is_hidden || (port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok())
    };
    let is_sound = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    let address = address.to_canonical();
    (is_sound && !address.is_unspecified()).then_some(address)
}

/// Also the names that some proxies give to WebSocket requests.
fn scheme(text: &str) -> Option<Scheme> {
    let is = |name: &str| text.eq_ignore_ascii_case(name);
    match () {
        () if is("http") || is("ws") => Some(Scheme::Http),
        () if is("https") || is("wss") => Some(Scheme::Https),
        () => None,
    }
}

/// One hop's element of `Forwarded`.
#[derive(Debug, Default)]
struct Element<'f> {
    client: Option<Cow<'f, str>>,
    host: Option<Cow<'f, str>>,
    scheme: Option<Cow<'f, str>>,
}

/// RFC 7239 §4: elements between commas, pairs between semicolons, values bare or quoted. Bare values may hold `:`, `[`
/// and `]`, as not every proxy quotes addresses.
fn forwarded_elements(field: &str) -> Result<Vec<Element<'_>>, ForwardedFault> {
    let mut elements = vec![Element::default()];
    let mut rest = field;
    loop {
        let (name, after) = rest.split_once('=').ok_or(ForwardedFault::Malformed)?;
        let (value, after) = forwarded_value(after)?;
        let element = elements.last_mut().expect("there is one from the start");
        let slot = match name.trim_start_matches([' ', '\t']) {
            name if name.eq_ignore_ascii_case("for") => Some(&mut element.client),
            name if name.eq_ignore_ascii_case("host") => Some(&mut element.host),
            name if name.eq_ignore_ascii_case("proto") => Some(&mut element.scheme),
            name if !name.is_empty() && name.bytes().all(is_token) => None,
            _ => return Err(ForwardedFault::Malformed),
        };
        if let Some(slot) = slot
            && slot.replace(value).is_some()
        {
            return Err(ForwardedFault::Contradiction);
        }
        let after = after.trim_start_matches([' ', '\t']);
        rest = match after.split_at_checked(1) {
            None => return Ok(elements),
            Some((";", pair)) => pair,
            Some((",", element)) => {
                elements.push(Element::default());
                element
            }
            Some(_) => return Err(ForwardedFault::Malformed),
        };
    }
}

/// A value and what follows it.
fn forwarded_value(text: &str) -> Result<(Cow<'_, str>, &str), ForwardedFault> {
    let Some(quoted) = text.strip_prefix('"') else {
        let is_value = |byte| is_token(byte) || matches!(byte, b':' | b'[' | b']');
        let end = text.bytes().position(|byte| !is_value(byte)).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return if value.is_empty() {
            Err(ForwardedFault::Malformed)
        } else {
            Ok((Cow::Borrowed(value), rest))
        };
    };
    let end = quoted.find(['"', '\\']).ok_or(ForwardedFault::Malformed)?;
    if quoted[end..].starts_with('"') {
        return Ok((Cow::Borrowed(&quoted[..end]), &quoted[end + 1..]));
    }
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((Cow::Owned(value), &quoted[at + 1..])),
            '\\' => value.push(characters.next().ok_or(ForwardedFault::Malformed)?.1),
            other => value.push(other),
        }
    }
    Err(ForwardedFault::Malformed)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
