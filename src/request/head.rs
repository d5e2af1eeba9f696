//! The strict reading of HTTP/1 bytes, before hyper reads them again.
//!
//! hyper takes what is common: bare LF, `Content-Length` beside `Transfer-Encoding`, a missing `Host`. Each
//! of these has two readings, and a backend may know the other one (RFC 9112 §11.2). So the bytes pass here first,
//! and what is not plain is a fault: line by line, in one pass, without allocation.
//!
//! Callers: the connection wrapper in `gateway`, which hands bytes on only as far as [`MessageReader`] lets
//! them. What a target or a host means is not looked at here; `target` and `host` do that.

use http::{HeaderMap, Uri};
use memchr::memchr;

mod chunk;
mod fault;
mod message;

pub use chunk::{ChunkReader, Chunked};
pub use fault::HeadFault;
pub use message::{MessageReader, Passage};

/// The longest method; the longest registered one (`UPDATEREDIRECTREF`) has 17.
pub(super) const METHOD_BYTES: usize = 32;

/// What a head may measure at most.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HeadLimits {
    /// From the first byte to the empty line, both included.
    pub head_bytes: usize,
    /// Field lines.
    pub headers: usize,
    /// The request target.
    pub target_bytes: usize,
}

/// What is known of a head so far.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HeadState {
    /// Nothing wrong yet, nothing finished either.
    Partial,
    /// A sound head.
    Complete(Head),
    /// Certain, whatever follows.
    Fault(HeadFault),
}

/// What the connection has to know of a sound head.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Head {
    /// How the end of the body is found.
    pub body: BodyFraming,
    /// The client asks for no further request on this connection (RFC 9112 §9.3).
    pub close: bool,
    /// The client waits for `100 Continue` before it sends the body (RFC 9110 §10.1.1).
    pub expects_continue: bool,
    /// Bytes up to and including the empty line, a tolerated empty line in front included.
    pub len: usize,
    /// An `Upgrade` field, `upgrade` among the tokens of `Connection` (RFC 9110 §7.8), and no body.
    pub upgrade: bool,
}

/// How the end of a body is found (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyFraming {
    /// There is none.
    None,
    /// After this many bytes.
    Length(u64),
    /// After the last chunk and its trailers.
    Chunked,
}

/// Reads a head that is all there, or as much of it as is; see [`HeadReader`] for one that arrives in parts.
pub fn read_head(bytes: &[u8], limits: &HeadLimits) -> HeadState {
    HeadReader::default().read(bytes, limits)
}

/// Reads one head out of a growing buffer and never looks at a byte twice: a head that drips in byte by byte
/// costs no more than its length.
///
/// Ahead of the request line exactly one empty line is passed over (RFC 9112 §2.2 asks for "at least one", for old
/// clients that send CR LF after a body); a second one is a fault.
#[derive(Clone, Debug, Default)]
pub struct HeadReader {
    close: bool,
    connection_upgrade: bool,
    content_length: Option<u64>,
    empty_line_seen: bool,
    expects_continue: bool,
    fields: usize,
    has_host: bool,
    is_chunked: bool,
    keep_alive: bool,
    line_start: usize,
    /// Everything before was looked at and holds no LF after `line_start`.
    looked: usize,
    upgrade_field: bool,
    version: Option<Version>,
}

/// What stands before a separator and what after it.
type Halves<'l> = (&'l [u8], &'l [u8]);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Version {
    Http10,
    Http11,
}

impl HeadReader {
    /// Whether no byte of a head was seen yet.
    pub fn is_untouched(&self) -> bool {
        self.looked == 0
    }

    /// `bytes` starts where the head starts, and on each call begins with what it was on the last.
    /// After `Complete` or `Fault` the reader has done its work.
    pub fn read(&mut self, bytes: &[u8], limits: &HeadLimits) -> HeadState {
        match self.advance(bytes, limits) {
            Ok(None) => HeadState::Partial,
            Ok(Some(head)) => HeadState::Complete(head),
            Err(fault) => HeadState::Fault(fault),
        }
    }

    fn advance(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<Head>, HeadFault> {
        while let Some(found) = memchr(b'\n', bytes.get(self.looked..).unwrap_or_default()) {
            let line_feed = self.looked + found;
            let line = &bytes[self.line_start..line_feed];
            self.line_start = line_feed + 1;
            self.looked = self.line_start;
            // A line that begins beyond the limit is not read: the fault is the size, not what stands there.
            if self.line_start > limits.head_bytes && self.version.is_some() {
                return Err(HeadFault::TooLarge);
            }
            let line = line.strip_suffix(b"\r").ok_or(HeadFault::LineEnd)?;
            match (self.version, line) {
                (None, []) if self.empty_line_seen => return Err(HeadFault::EmptyLine),
                (None, []) => self.empty_line_seen = true,
                (None, line) => self.version = Some(request_line(line, limits)?),
                (Some(version), []) => return self.finish(version).map(Some),
                (Some(_), line) => self.field(line, limits)?,
            }
            if self.line_start >= limits.head_bytes {
                return Err(HeadFault::TooLarge);
            }
        }
        self.check_unfinished(bytes, limits)?;
        Ok(None)
    }

    /// Finds what is certain of a line that has no end yet.
    fn check_unfinished(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<(), HeadFault> {
        let unseen = bytes.get(self.looked..).unwrap_or_default();
        // A closing CR may turn out as half of a line end; it is looked at again with its successor.
        let held = usize::from(unseen.last() == Some(&b'\r'));
        check_text(&unseen[..unseen.len() - held])?;
        self.looked = self.looked.max(bytes.len() - held);
        if self.version.is_none() {
            request_line_so_far(bytes.get(self.line_start..).unwrap_or_default(), limits)?;
        }
        if bytes.len() >= limits.head_bytes { Err(HeadFault::TooLarge) } else { Ok(()) }
    }

    fn field(&mut self, line: &[u8], limits: &HeadLimits) -> Result<(), HeadFault> {
        self.fields += 1;
        if self.fields > limits.headers {
            return Err(HeadFault::TooManyFields);
        }
        let (name, value) = split_field(line)?;
        match framing_field(name)? {
            Framing::ContentLength => {
                if self.content_length.replace(content_length(value)?).is_some() {
                    return Err(HeadFault::ContentLength);
                }
            }
            Framing::TransferEncoding => {
                if self.is_chunked || !trim_spaces(value).eq_ignore_ascii_case(b"chunked") {
                    return Err(HeadFault::TransferEncoding);
                }
                self.is_chunked = true;
            }
            Framing::Host if self.has_host => return Err(HeadFault::HostRepeated),
            Framing::Host => self.has_host = true,
            Framing::Connection => {
                for token in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    self.close |= token.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                    self.connection_upgrade |= token.eq_ignore_ascii_case(b"upgrade");
                }
            }
            Framing::Expect => {
                self.expects_continue |= value.trim_ascii().eq_ignore_ascii_case(b"100-continue");
            }
            Framing::Upgrade => self.upgrade_field = true,
            Framing::Other => {}
        }
        Ok(())
    }

    fn finish(&self, version: Version) -> Result<Head, HeadFault> {
        let is_http11 = version == Version::Http11;
        if !self.has_host {
            return Err(HeadFault::HostMissing);
        }
        let body = match (self.is_chunked, self.content_length) {
            (true, Some(_)) => return Err(HeadFault::BothFramings),
            (true, None) if !is_http11 => return Err(HeadFault::TransferEncoding),
            (true, None) => BodyFraming::Chunked,
            (false, Some(length)) => BodyFraming::Length(length),
            (false, None) => BodyFraming::None,
        };
        let has_body = !matches!(body, BodyFraming::None | BodyFraming::Length(0));
        Ok(Head {
            body,
            close: self.close || (!is_http11 && !self.keep_alive),
            expects_continue: is_http11 && self.expects_continue,
            len: self.line_start,
            // With a body the request is never offered as an upgrade, so nothing has to wait for its answer.
            upgrade: is_http11 && self.connection_upgrade && self.upgrade_field && !has_body,
        })
    }
}

/// Holds an HTTP/2 request to what would be refused on HTTP/1, into which it is translated: no fields of a connection (RFC
/// 9113 §8.2.2), one plain `Content-Length`, no framing field in disguise.
pub fn check_http2_fields(headers: &HeaderMap) -> Result<(), HeadFault> {
    for name in headers.keys() {
        match framing_field(name.as_str().as_bytes())? {
            Framing::Connection | Framing::TransferEncoding | Framing::Upgrade => {
                return Err(HeadFault::ConnectionField);
            }
            Framing::ContentLength => {
                let mut values = headers.get_all(name).iter();
                values.next().map_or(Ok(0), |value| content_length(value.as_bytes()))?;
                if values.next().is_some() {
                    return Err(HeadFault::ContentLength);
                }
            }
            Framing::Other if matches!(name.as_str(), "keep-alive" | "proxy-connection") => {
                return Err(HeadFault::ConnectionField);
            }
            Framing::Expect | Framing::Host | Framing::Other => {}
        }
    }
    Ok(())
}

/// RFC 9112 §3: exactly one space between the parts, none within.
fn request_line(line: &[u8], limits: &HeadLimits) -> Result<Version, HeadFault> {
    let (method, rest) = split_method(line)?.ok_or(HeadFault::RequestLine)?;
    let target_end = memchr(b' ', rest).unwrap_or(rest.len());
    if target_end > limits.target_bytes {
        return Err(HeadFault::TargetTooLong);
    }
    let (target, version) = (&rest[..target_end], &rest[target_end..]);
    let version = match version {
        b" HTTP/1.1" => Version::Http11,
        b" HTTP/1.0" => Version::Http10,
        [b' ', b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            return Err(HeadFault::VersionUnsupported);
        }
        [] => return Err(HeadFault::RequestLine),
        _ => {
            check_text(version)?;
            let is_one_word = !version[1..].contains(&b' ');
            return Err(if is_one_word { HeadFault::Version } else { HeadFault::RequestLine });
        }
    };
    // `post` is another method than `POST` (RFC 9110 §9.1), but some backends don't know that.
    if method.iter().any(u8::is_ascii_lowercase) {
        return Err(HeadFault::Method);
    }
    if matches!(method, b"CONNECT" | b"TRACE") {
        return Err(HeadFault::MethodRefused);
    }
    check_target(method, target)?;
    Ok(version)
}

/// The same, for as much of the line as there is.
fn request_line_so_far(line: &[u8], limits: &HeadLimits) -> Result<(), HeadFault> {
    if matches!(line, [] | [b'\r']) {
        return Ok(());
    }
    let Some((_, rest)) = split_method(line)? else { return Ok(()) };
    // Past the longest target and ` HTTP/1.1` CR, one of the two is too long; which, is looked up only then.
    if rest.len() <= limits.target_bytes + 10 {
        return Ok(());
    }
    let target_end = memchr(b' ', rest).unwrap_or(rest.len());
    Err(if target_end > limits.target_bytes { HeadFault::TargetTooLong } else { HeadFault::RequestLine })
}

/// The method and what follows its space; `None` if there is no space yet and the method may go on.
fn split_method(line: &[u8]) -> Result<Option<Halves<'_>>, HeadFault> {
    let end = line.iter().position(|byte| !is_class(*byte, TOKEN)).unwrap_or(line.len());
    match line.get(end) {
        _ if end > METHOD_BYTES => Err(HeadFault::Method),
        Some(b' ') if end > 0 => Ok(Some((&line[..end], &line[end + 1..]))),
        Some(b'\r') => Err(HeadFault::RequestLine),
        Some(byte) if byte.is_ascii_control() => Err(HeadFault::Control),
        Some(_) => Err(HeadFault::Method),
        None => Ok(None),
    }
}

/// RFC 9112 §3.2, less the form of CONNECT. The characters are those that `http::Uri` takes, without the non-ASCII
/// ones and without `#`, from which on it would cut silently.
fn check_target(method: &[u8], target: &[u8]) -> Result<(), HeadFault> {
    let is_absolute = || {
        let scheme =
            |prefix: &[u8]| target.get(..prefix.len()).is_some_and(|t| t.eq_ignore_ascii_case(prefix));
        scheme(b"http://") || scheme(b"https://")
    };
    match target {
        b"*" if method == b"OPTIONS" => return Ok(()),
        [b'/', ..] => {}
        // `http://`, `http://a:b:c/`: hyper would refuse it with an answer of its own.
        _ if is_absolute() && Uri::try_from(target).is_ok_and(|uri| uri.host().is_some()) => {}
        _ => {
            check_text(target)?;
            return Err(HeadFault::Target);
        }
    }
    let path_end = target.iter().position(|byte| !is_class(*byte, PATH)).unwrap_or(target.len());
    let sound = match &target[path_end..] {
        [] => true,
        [b'?', query @ ..] => query.iter().all(|byte| is_class(*byte, QUERY)),
        _ => false,
    };
    if sound {
        return Ok(());
    }
    check_text(target)?;
    Err(HeadFault::Target)
}

enum Framing {
    Connection,
    ContentLength,
    Expect,
    Host,
    Other,
    TransferEncoding,
    Upgrade,
}

/// Which of the few fields that matter here this is. The length decides nearly always.
fn framing_field(name: &[u8]) -> Result<Framing, HeadFault> {
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    // CGI, WSGI and kin read `Content_Length` as `Content-Length`: such a body would have two ends.
    let disguised = |known: &[u8]| {
        let mut pairs = name.iter().zip(known);
        let alike =
            pairs.all(|(a, b)| a.eq_ignore_ascii_case(b) || (*b == b'-' && !a.is_ascii_alphanumeric()));
        if alike && !is(known) { Err(HeadFault::FieldNameDisguised) } else { Ok(alike) }
    };
    Ok(match name.len() {
        4 if is(b"host") => Framing::Host,
        6 if is(b"expect") => Framing::Expect,
        7 if is(b"upgrade") => Framing::Upgrade,
        10 if is(b"connection") => Framing::Connection,
        14 if disguised(b"content-length")? => Framing::ContentLength,
        17 if disguised(b"transfer-encoding")? => Framing::TransferEncoding,
        _ => Framing::Other,
    })
}

/// RFC 9112 §5: a token, at once the colon, then a value without control characters but tabs.
fn split_field(line: &[u8]) -> Result<Halves<'_>, HeadFault> {
    let colon = line.iter().position(|byte| !is_class(*byte, TOKEN)).unwrap_or(line.len());
    match (colon, line.get(colon)) {
        (0, Some(b' ' | b'\t')) => Err(HeadFault::Fold),
        (1.., Some(b':')) => {
            check_text(&line[colon + 1..])?;
            Ok((&line[..colon], &line[colon + 1..]))
        }
        _ => {
            check_text(line)?;
            Err(HeadFault::FieldName)
        }
    }
}

/// RFC 9110 §8.6. No sign, no list; 19 digits always fit.
fn content_length(value: &[u8]) -> Result<u64, HeadFault> {
    let digits = trim_spaces(value);
    if !(1..=19).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return Err(HeadFault::ContentLength);
    }
    Ok(digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// Around a framing value spaces alone are taken for blanks: a tab there has been a way to hide it from one of two.
fn trim_spaces(mut value: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] | [rest @ .., b' '] = value {
        value = rest;
    }
    value
}

/// No control characters but tabs. Written without a branch, so that it runs on many bytes at once.
fn check_text(bytes: &[u8]) -> Result<(), HeadFault> {
    let bad =
        bytes.iter().fold(false, |bad, byte| bad | ((*byte < b' ') & (*byte != b'\t')) | (*byte == 0x7f));
    match bad {
        false => Ok(()),
        true if bytes.contains(&b'\r') => Err(HeadFault::LineEnd),
        true => Err(HeadFault::Control),
    }
}

const TOKEN: u8 = 1;
const PATH: u8 = 2;
const QUERY: u8 = 4;

static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            )
        {
            classes[byte] |= TOKEN;
        }
        if matches!(b, 0x21..=0x22 | 0x24..=0x3b | 0x3d | 0x40..=0x5f | 0x61..=0x7e) {
            classes[byte] |= PATH;
        }
        if matches!(b, 0x21 | 0x24..=0x3b | 0x3d | 0x3f..=0x7e) {
            classes[byte] |= QUERY;
        }
        byte += 1;
    }
    classes
};

fn is_class(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

#[cfg(test)]
mod tests;
