//! Values as people write them: `1h30m`, `19MiB`, `10/15m`, `127.0.0.1:8080`, `10.0.0.0/8`.
//!
//! Nothing here knows of YAML or of files. An error says what was expected, never what was found: the
//! caller has that, and knows whether it may be shown.
//!
//! Callers: the sections of `config`.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use crate::authn::Rate;
use crate::request::Host;

/// What was expected.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected {0}")]
pub(super) struct Expected(pub(super) &'static str);

const DURATION: Expected = Expected("a duration such as `500ms`, `30s`, `15m`, `1h30m` or `7d`");
const SIZE: Expected = Expected("a size such as `512`, `32KiB`, `19MiB` or `10MB`");
const RATE: Expected = Expected("so many in so long, such as `10/15m`");
const LISTEN: Expected = Expected(
    "an address with a port such as `127.0.0.1:8080` or `[::]:8080`, `unix:/run/foregate/http.sock`, or `systemd`",
);
const NETWORK: Expected = Expected("a network such as `10.0.0.0/8` or an address such as `192.0.2.1`");

/// What is longer than this was not meant: sums with it could leave the calendar.
const LONGEST: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// `30s`, `1h30m`, or `0`: each unit once, the larger ones first.
pub(super) fn duration_or_zero(raw: &str) -> Result<Duration, Expected> {
    const UNITS: [(&str, u64); 5] =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    if raw == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = raw;
    let mut units = UNITS.as_slice();
    let mut total: u64 = 0;
    loop {
        let (number, after) = leading_number(rest).ok_or(DURATION)?;
        let length = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(length);
        let at = units.iter().position(|(name, _)| *name == unit).ok_or(DURATION)?;
        let milliseconds = number.checked_mul(units[at].1).ok_or(DURATION)?;
        total = total.checked_add(milliseconds).ok_or(DURATION)?;
        if after.is_empty() {
            break;
        }
        units = &units[at + 1..];
        rest = after;
    }
    let total = Duration::from_millis(total);
    if total > LONGEST { Err(Expected("a duration of ten years (`3650d`) at most")) } else { Ok(total) }
}

/// A duration that isn't nothing.
pub(super) fn duration(raw: &str) -> Result<Duration, Expected> {
    match duration_or_zero(raw)? {
        Duration::ZERO => Err(Expected("a duration longer than nothing, such as `30s`")),
        duration => Ok(duration),
    }
}

/// Bytes: `512`, `32KiB`, `10MB`.
pub(super) fn size(raw: &str) -> Result<u64, Expected> {
    let (number, unit) = leading_number(raw).ok_or(SIZE)?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1000 * 1000,
        "GB" => 1000 * 1000 * 1000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(SIZE),
    };
    number.checked_mul(factor).ok_or(SIZE)
}

/// `10/15m`.
pub(super) fn rate(raw: &str) -> Result<Rate, Expected> {
    let (count, period) = raw.split_once('/').ok_or(RATE)?;
    let (count, nothing) = leading_number(count).ok_or(RATE)?;
    let count = u32::try_from(count).ok().filter(|count| *count > 0 && nothing.is_empty()).ok_or(RATE)?;
    Ok(Rate { count, period: duration(period).map_err(|_| RATE)? })
}

/// A network, or one address as the network that holds it alone.
pub(super) fn network(raw: &str) -> Result<IpNet, Expected> {
    let network: IpNet = match raw.parse::<IpAddr>() {
        Ok(address) => address.into(),
        Err(_) => raw.parse().map_err(|_| NETWORK)?,
    };
    // `10.1.2.3/8` is either a slip in the address or one in the length.
    if network.trunc() == network {
        Ok(network)
    } else {
        Err(Expected("a network whose address has no bits beyond its length, such as `10.0.0.0/8`"))
    }
}

/// Where connections come in.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Listen {
    /// The sockets that systemd has opened (`LISTEN_FDS`).
    Systemd,
    /// An address of this machine.
    Tcp(ListenAddress),
    /// A file that only local programs can connect to.
    Unix {
        /// Who may connect: the file's mode.
        mode: u32,
        /// Where it is.
        path: PathBuf,
    },
}

impl Listen {
    /// Whether only this machine can reach it, as far as that is known.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Systemd | Self::Unix { .. } => true,
            Self::Tcp(address) => address.is_loopback(),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Systemd => f.write_str("systemd"),
            Self::Tcp(address) => address.fmt(f),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Where to listen: a name or an address, and a port; port 0 lets the system choose one.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ListenAddress {
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl ListenAddress {
    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
    }
}

impl FromStr for ListenAddress {
    type Err = InvalidListenAddress;

    fn from_str(raw: &str) -> Result<Self, InvalidListenAddress> {
        let (host, port) = raw.rsplit_once(':').ok_or(InvalidListenAddress)?;
        // Port 0 is the kernel's choice, which no request can name.
        let port = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
        let port = port.and_then(|port| port.parse().ok()).ok_or(InvalidListenAddress)?;
        let Host { name, port: None } = host.parse().map_err(|_| InvalidListenAddress)? else {
            return Err(InvalidListenAddress);
        };
        Ok(Self { host: name.trim_start_matches('[').trim_end_matches(']').to_owned(), port })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Why a text is no address to listen on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{LISTEN}")]
pub struct InvalidListenAddress;

/// Digits, as many as there are, and what follows them.
fn leading_number(raw: &str) -> Option<(u64, &str)> {
    let end = raw.find(|c: char| !c.is_ascii_digit()).unwrap_or(raw.len());
    Some((raw[..end].parse().ok()?, &raw[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_the_larger_ones_first() {
        for (raw, milliseconds) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("15m", 900_000),
            ("12h", 43_200_000),
            ("7d", 604_800_000),
            ("1h30m", 5_400_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(duration_or_zero(raw), Ok(Duration::from_millis(milliseconds)), "{raw}");
        }
        for raw in [
            "",
            "30",
            "s",
            "1.5h",
            "30 s",
            "-1s",
            "+1s",
            "30m1h",
            "1h1h",
            "1w",
            "5S",
            "99999999999999999999s",
            "4000d",
        ] {
            assert!(duration_or_zero(raw).is_err(), "{raw}");
        }
        assert!(duration("0s").is_err());
    }

    #[test]
    fn sizes_tell_binary_from_decimal_units() {
        for (raw, bytes) in [
            ("512", 512),
            ("0", 0),
            ("1B", 1),
            ("32KiB", 32_768),
            ("19MiB", 19_922_944),
            ("10MB", 10_000_000),
        ] {
            assert_eq!(size(raw), Ok(bytes), "{raw}");
        }
        for raw in [
            "",
            "MiB",
            "1.5MiB",
            "10 MB",
            "10mb",
            "-1",
            "1TiB",
            "18446744073709551616",
            "18446744073709551615KiB",
        ] {
            assert!(size(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn a_rate_is_a_count_in_a_period() {
        assert_eq!(rate("10/15m"), Ok(Rate { count: 10, period: Duration::from_secs(900) }));
        for raw in ["", "10", "10/", "/15m", "0/15m", "10/0s", "10/15", "x/15m", "10x/15m", "4294967296/1s"] {
            assert!(rate(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn networks_have_no_bits_beyond_their_length() {
        for (raw, expected) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.1", "192.0.2.1/32"),
            ("::1", "::1/128"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(network(raw).map(|network| network.to_string()), Ok(expected.to_owned()), "{raw}");
        }
        for raw in ["", "10.0.0.0/33", "10.1.2.3/8", "example.com", "10.0.0", "::1/129"] {
            assert!(network(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn addresses_to_listen_on_have_a_port() {
        for (raw, shown) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[::]:8443", "[::]:8443"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("localhost:8080", "localhost:8080"),
            ("127.0.0.1:0", "127.0.0.1:0"),
        ] {
            assert_eq!(raw.parse().map(|a: ListenAddress| a.to_string()), Ok(shown.to_owned()), "{raw}");
        }
        for raw in [
            "",
            "8080",
            ":8080",
            "127.0.0.1",
            "127.0.0.1:",
            "::1:8080x",
            "127.0.0.1:65536",
            "[::1]",
            "a b:80",
            "[::1:80",
            "*:80",
            "a:+80",
            "u@h:80",
            "h:80/x",
        ] {
            assert!(raw.parse::<ListenAddress>().is_err(), "{raw}");
        }
        for (raw, loopback) in
            [("127.0.0.1:1", true), ("[::1]:1", true), ("localhost:1", true), ("0.0.0.0:1", false)]
        {
            assert_eq!(raw.parse().map(|a: ListenAddress| a.is_loopback()), Ok(loopback), "{raw}");
        }
    }
}
