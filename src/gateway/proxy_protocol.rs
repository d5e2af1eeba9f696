//! The PROXY header that a trusted proxy puts in front of a connection: whose connection it carries on.
//!
//! <https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt>, versions 1 and 2. The header is looked at while it is
//! still in the kernel's buffer, and exactly its bytes are taken out: what follows is the connection as if there had
//! been none, be it HTTP or TLS.
//!
//! Callers: `gateway::connection`, for peers that are trusted.

use std::io;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use tokio::io::AsyncReadExt as _;

use super::stream::Stream;

/// The longest line of version 1, its end included.
const LONGEST_V1: usize = 107;
/// The longest header of version 2. The format has room for 64 KiB; what proxies send is a tenth of this.
const LONGEST_V2: usize = 4096;
/// Of version 2, up to the length of what follows.
const START_V2: usize = 16;
/// Version and command of version 2: a connection that is the proxy's own, for a check say.
const LOCAL: u8 = 0x20;

/// Between two lines in the log about connections that were refused for their header.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Why a connection that has to begin with a PROXY header is closed.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderFault {
    /// It ended before it began, as those of a load balancer that only looks for an open port do.
    #[error("the connection ended before the first byte")]
    Empty,
    /// It went away within the header.
    #[error("the connection ended within the PROXY header: {0}")]
    Io(#[from] io::Error),
    /// The header did not end in time.
    #[error("the PROXY header did not end within limits.header_timeout")]
    Late,
    /// Something else, or a header that breaks the rules of the format.
    #[error(
        "it does not begin with a sound PROXY header: let the proxy send one, or take it off `trusted_proxies`"
    )]
    Unsound,
}

/// The bytes begin with no sound header.
#[derive(Debug, Eq, PartialEq)]
struct Unsound;

/// A whole header.
#[derive(Debug, Eq, PartialEq)]
struct Header {
    /// How many bytes it has.
    length: usize,
    /// Whose connection it is; `None` where it is the proxy's own, or that of a program without an address.
    source: Option<IpAddr>,
}

/// Takes the header off the front of a connection; gives the address in it.
pub(super) async fn read(stream: &mut Stream, limit: Duration) -> Result<Option<IpAddr>, HeaderFault> {
    tokio::time::timeout(limit, take(stream)).await.unwrap_or(Err(HeaderFault::Late))
}

async fn take(stream: &mut Stream) -> Result<Option<IpAddr>, HeaderFault> {
    let mut taken = 0;
    let mut bytes = vec![0; LONGEST_V2];
    loop {
        stream.readable().await?;
        let there = match stream.try_peek(&mut bytes[taken..]) {
            Ok(0) if taken == 0 => return Err(HeaderFault::Empty),
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(there) => taken + there,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        };
        let found = parse(&bytes[..there]).map_err(|Unsound| HeaderFault::Unsound)?;
        // As long as it has not ended all of it is the header.
        let length = found.as_ref().map_or(there, |header| header.length);
        stream.read_exact(&mut bytes[taken..length]).await?;
        taken = length;
        if let Some(Header { source, .. }) = found {
            return Ok(source);
        }
    }
}

/// `None` where there is more to come.
fn parse(bytes: &[u8]) -> Result<Option<Header>, Unsound> {
    let whole = match bytes.first() {
        None => return Ok(None),
        Some(b'P') => whole_v1(bytes)?,
        Some(b'\r') => whole_v2(bytes)?,
        Some(_) => return Err(Unsound),
    };
    let Some(whole) = whole else { return Ok(None) };
    // Nothing else of such a header counts.
    if whole[0] == b'\r' && whole[START_V2 - 4] == LOCAL {
        return Ok(Some(Header { length: whole.len(), source: None }));
    }
    let source = match ProxyHeader::parse(whole, ParseConfig::default()) {
        Ok((header, length)) if length == whole.len() => match header.proxied_address() {
            // No proxy carries a datagram over a stream.
            Some(address) if address.protocol == Protocol::Datagram => return Err(Unsound),
            Some(address) => Some(address.source.ip().to_canonical()),
            None => None,
        },
        Ok(_) | Err(_) => return Err(Unsound),
    };
    Ok(Some(Header { length: whole.len(), source }))
}

/// The line, held to what the crate lets pass: the space after the word, digits that could be read as octal, a sign, a
/// line that is too long.
fn whole_v1(bytes: &[u8]) -> Result<Option<&[u8]>, Unsound> {
    const START: &[u8] = b"PROXY ";
    let common = bytes.len().min(START.len());
    if bytes[..common] != START[..common] {
        return Err(Unsound);
    }
    let Some(end) = bytes.iter().take(LONGEST_V1).position(|byte| *byte == b'\n') else {
        return if bytes.len() < LONGEST_V1 { Ok(None) } else { Err(Unsound) };
    };
    let line = bytes[..end].strip_suffix(b"\r").ok_or(Unsound)?;
    let mut words = line[START.len()..].split(|byte| *byte == b' ');
    let is_port = |port: &[u8]| match port {
        [b'0'] => true,
        [b'1'..=b'9', more @ ..] => more.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let is_sound = match words.next() {
        Some(b"UNKNOWN") => true,
        Some(b"TCP4" | b"TCP6") => words.skip(2).all(is_port),
        Some(_) | None => false,
    };
    if is_sound { Ok(Some(&bytes[..=end])) } else { Err(Unsound) }
}

/// All that the length speaks of, with its checksum verified if it has one.
fn whole_v2(bytes: &[u8]) -> Result<Option<&[u8]>, Unsound> {
    const START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    let common = bytes.len().min(START.len());
    if bytes[..common] != START[..common] {
        return Err(Unsound);
    }
    let Some(length) = bytes.get(START_V2 - 2..START_V2) else { return Ok(None) };
    let length = START_V2 + usize::from(u16::from_be_bytes([length[0], length[1]]));
    if length > LONGEST_V2 {
        return Err(Unsound);
    }
    let Some(whole) = bytes.get(..length) else { return Ok(None) };
    let (command, family) = (whole[START_V2 - 4], whole[START_V2 - 3] >> 4);
    let addresses = match family {
        _ if command == LOCAL => return Ok(Some(whole)),
        0 => 0,
        1 => 12,
        2 => 36,
        3 => 216,
        _ => return Err(Unsound),
    };
    verify_fields(whole, START_V2 + addresses)?;
    Ok(Some(whole))
}

/// Every field ends where the header does at the latest, and a checksum among them is right.
fn verify_fields(whole: &[u8], start: usize) -> Result<(), Unsound> {
    const CHECKSUM: u8 = 3;
    let mut at = start;
    let mut rest = whole.get(at..).ok_or(Unsound)?;
    while let [kind, high, low, after @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, after) = after.split_at_checked(length).ok_or(Unsound)?;
        at += 3;
        if *kind == CHECKSUM {
            let told: [u8; 4] = value.try_into().map_err(|_| Unsound)?;
            let zeroed = whole.iter().enumerate().map(|(place, byte)| match place {
                place if (at..at + 4).contains(&place) => 0,
                _ => *byte,
            });
            if crc32c(zeroed) != u32::from_be_bytes(told) {
                return Err(Unsound);
            }
        }
        at += length;
        rest = after;
    }
    if rest.is_empty() { Ok(()) } else { Err(Unsound) }
}

/// Castagnoli's checksum, bit by bit: few proxies send one, and then over some hundred bytes.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

/// Says that a connection was closed for its header: once in a while, with how many there were.
pub(super) fn tell(fault: &HeaderFault, peer: IpAddr) {
    static TOLD: Mutex<(Option<Instant>, u64)> = Mutex::new((None, 0));
    if matches!(fault, HeaderFault::Empty) {
        return tracing::debug!(peer.address = %peer, "a trusted proxy opened a connection and sent nothing");
    }
    // Nothing panics while it is held.
    let Ok(mut told) = TOLD.lock() else { return };
    told.1 += 1;
    if told.0.is_some_and(|last| last.elapsed() < TOLD_EVERY) {
        return;
    }
    tracing::info!(
        %fault,
        peer.address = %peer,
        refused = told.1,
        "a connection of a trusted proxy was closed: `proxy_protocol` is on"
    );
    *told = (Some(Instant::now()), 0);
}

#[cfg(test)]
mod tests;
