//! Hosts, as `Host` and its kin name them.
//!
//! Callers: `request` for the host of a request, `origin` for that of a URL, `config` for those that are written down.

use std::cell::RefCell;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use memchr::memchr;

/// The longest name that DNS knows.
const NAME_BYTES: usize = 253;

/// So many hosts are remembered by a thread.
const REMEMBERED: usize = 64;

/// A longer one is read each time: hardly anybody has it.
const REMEMBERED_BYTES: usize = 128;

thread_local! {
    /// Each text has one place, so a flood of others only costs their reading.
    static KNOWN: RefCell<[Option<Known>; REMEMBERED]> = const { RefCell::new([const { None }; REMEMBERED]) };
}

/// A text, and the host that it was read as.
struct Known {
    host: Host,
    raw: Box<[u8]>,
}

/// A host without doubt: lower case, no trailing dot; the port apart. Cheap to clone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Host {
    /// Lower case; an IPv6 address in brackets.
    pub name: Arc<str>,
    /// As sent, if one was.
    pub port: Option<u16>,
}

/// A text that is no host, or is more than one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a host name, an IP address or one of them with a port")]
pub struct InvalidHost;

impl Host {
    /// As `from_str`, for what requests say: the same few hosts, again and again.
    pub(super) fn known(raw: &[u8]) -> Result<Self, InvalidHost> {
        let read = || str::from_utf8(raw).map_err(|_| InvalidHost)?.parse::<Self>();
        let place = match raw {
            [first, .., last] if raw.len() <= REMEMBERED_BYTES => {
                raw.len() + usize::from(*first) * 7 + usize::from(*last) * 31
            }
            _ => return read(),
        };
        KNOWN.with_borrow_mut(|known| {
            let slot = &mut known[place % REMEMBERED];
            match slot {
                Some(known) if *known.raw == *raw => Ok(known.host.clone()),
                slot => {
                    let host = read()?;
                    *slot = Some(Known { raw: raw.into(), host: host.clone() });
                    Ok(host)
                }
            }
        })
    }
}

impl FromStr for Host {
    type Err = InvalidHost;

    /// Stricter than RFC 3986 §3.2.2: no percent-encoding, no empty label and no empty port; a name of which the last label
    /// is a number has to be an IPv4 address in its usual form, as `127.1` is one to some.
    fn from_str(raw: &str) -> Result<Self, InvalidHost> {
        let (name, port) = match raw.strip_prefix('[').map(|rest| rest.split_once(']')) {
            Some(None) => return Err(InvalidHost),
            Some(Some((address, port))) => {
                let address: Ipv6Addr = address.parse().map_err(|_| InvalidHost)?;
                (format!("[{address}]").into(), port)
            }
            None => {
                let (name, port) = raw.split_at(memchr(b':', raw.as_bytes()).unwrap_or(raw.len()));
                (registered_name(name).ok_or(InvalidHost)?, port)
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            None => return Err(InvalidHost),
            Some(digits) => Some(read_port(digits).ok_or(InvalidHost)?),
        };
        Ok(Self { name, port })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            None => f.write_str(&self.name),
            Some(port) => write!(f, "{}:{port}", self.name),
        }
    }
}

/// Digits alone, 1 to 65535.
pub(super) fn read_port(digits: &str) -> Option<u16> {
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten().filter(|port| *port > 0)
}

fn registered_name(raw: &str) -> Option<Arc<str>> {
    let name = raw.strip_suffix('.').unwrap_or(raw);
    let is_character = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let mut before = b'.';
    let mut labelled = name.bytes().all(|byte| {
        let is_sound = is_character(byte) && (byte, before) != (b'.', b'.');
        before = byte;
        is_sound
    });
    labelled &= before != b'.';
    let is_sound =
        name.len() <= NAME_BYTES && labelled && (!ends_in_number(name) || name.parse::<Ipv4Addr>().is_ok());
    is_sound.then(|| name.to_ascii_lowercase().into())
}

fn ends_in_number(name: &str) -> bool {
    let last = name.as_bytes().rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    match last {
        [b'0', b'x' | b'X', digits @ ..] => digits.iter().all(u8::is_ascii_hexdigit),
        digits => digits.iter().all(u8::is_ascii_digit),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_host_is_read_in_one_form() {
        for (raw, name, port) in [
            ("app.test", "app.test", None),
            ("APP.Test.:8080", "app.test", Some(8080)),
            ("my_app-1~x", "my_app-1~x", None),
            ("127.0.0.1:80", "127.0.0.1", Some(80)),
            ("[::1]", "[::1]", None),
            ("[2001:DB8:0::1]:65535", "[2001:db8::1]", Some(65535)),
            ("1.2.3.a", "1.2.3.a", None),
            ("xn--caf-dma.test", "xn--caf-dma.test", None),
        ] {
            assert_eq!(raw.parse(), Ok(Host { name: name.into(), port }), "{raw}");
        }
    }

    #[test]
    fn what_may_be_two_hosts_is_none() {
        for raw in [
            "",
            ".",
            "..",
            ".a",
            "a..b",
            "a..",
            ":80",
            "a:",
            "a:0",
            "a:+80",
            "a:65536",
            "a:80:80",
            "a:8o",
            "a b",
            " a",
            "a\t",
            "a,b",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "u@a",
            "u:p@a",
            "a%2eb",
            "a%00",
            "caf\u{e9}",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]:",
            "[::1%eth0]",
            "[1.2.3.4]",
            "[v1.x]",
            "1",
            "127.1",
            "1.2.3.4.5",
            "0x7f.1",
            "0x7f000001",
            "1.2.3.04",
            "256.1.1.1",
            "a.1",
            "a.0x1",
            "http://a",
            "*",
            "*.a",
            "a;b",
            "a\"",
            "a'b",
            "(a)",
        ] {
            assert_eq!(raw.parse::<Host>(), Err(InvalidHost), "{raw:?}");
        }
        assert!("a".repeat(254).parse::<Host>().is_err());
    }

    #[test]
    fn a_host_is_read_alike_whether_or_not_it_is_remembered() {
        let long = "a".repeat(REMEMBERED_BYTES + 1);
        // Same length, same ends: they share a place.
        let hosts = ["app.test:80", "apc.test:80", "a..test: 80", "A", "", "caf\u{e9}", "b\u{e9}b", &long];
        for _ in 0..3 {
            for raw in hosts {
                assert_eq!(Host::known(raw.as_bytes()), raw.parse(), "{raw}");
            }
        }
        assert_eq!(Host::known(b"a\xffa"), Err(InvalidHost));
    }

    proptest! {
        #[test]
        fn reading_again_changes_nothing(raw in "[\\[\\]a-zA-Z0-9.:_~-]{0,20}|\\PC*") {
            if let Ok(host) = raw.parse::<Host>() {
                prop_assert_eq!(host.to_string().parse(), Ok(host));
            }
        }
    }
}
