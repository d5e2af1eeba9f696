//! The target of a request: kept as it came, and read in every way in which a backend may read it.
//!
//! The same path means different files to different servers: some decode `%2f`, some merge slashes, some cut
//! `;parameters`, some decode twice. Rules that judge one reading while the backend serves another are the commonest hole
//! of gateways. So a path without honest use is a fault, and of any other all readings are given: whoever matches
//! rules has to match each, and what is forwarded is the target byte for byte, or with another beginning
//! (`target/rewrite.rs`) that adds no reading.
//!
//! Callers: `Context` and, for the original request's URL, `subrequest`; `gate` matches the readings. What rules
//! exist is not known here. The query is never read,
//! but for one parameter where a route asks for it (`target/parameter.rs`).

use std::str::FromStr;
use std::sync::Arc;

use http::StatusCode;
use http::uri::{PathAndQuery, Uri};
use memchr::memchr_iter;
use unicode_normalization::UnicodeNormalization;

use crate::response::texts::Text;

mod parameter;
mod rewrite;

pub use parameter::Parameter;
pub use rewrite::RewriteFault;

/// The longest target, path and query together.
pub const TARGET_BYTES: usize = 8 * 1024;

/// More readings than this have no honest use.
const READINGS: usize = 32;

/// What all readings of one path may take in memory, as it is held as long as the request lasts.
const READING_BYTES: usize = 64 * 1024;

/// Path and query as sent, and every reading of the path. Cheap to clone.
///
/// Invariant: no reading holds a dot segment, a backslash or a control character, and there is at least one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    raw: PathAndQuery,
    /// `None`: the path as sent is its only reading, which is nearly always so.
    readings: Option<Arc<[String]>>,
}

impl Target {
    /// Reads a target in origin form (RFC 9112 §3.2.1).
    pub fn parse(raw: &str) -> Result<Self, TargetFault> {
        if !raw.starts_with('/') {
            return Err(TargetFault::Form);
        }
        // Before `http` sees it: it would cut at `#`.
        check_characters(raw)?;
        Self::judge(PathAndQuery::try_from(raw).map_err(|_| TargetFault::Character)?)
    }

    /// Takes path and query of a request's URI. Its authority, if there is one, is `Context`'s business.
    pub fn from_uri(uri: &Uri) -> Result<Self, TargetFault> {
        let raw = uri.path_and_query().ok_or(TargetFault::Form)?;
        check_characters(raw.as_str())?;
        if uri.authority().is_some() && raw.as_str().starts_with('?') {
            // `http://host?query`: the empty path of an absolute URL is `/` (RFC 9110 §4.2.3).
            return Self::parse(&format!("/{}", raw.as_str()));
        }
        Self::judge(raw.clone())
    }

    fn judge(raw: PathAndQuery) -> Result<Self, TargetFault> {
        let readings = match raw.as_str() {
            target if target.len() > TARGET_BYTES => return Err(TargetFault::TooLong),
            target if !target.starts_with('/') => return Err(TargetFault::Form),
            _ if is_plain(raw.path()) => None,
            _ => {
                let mut readings = Readings::default();
                readings.of(raw.path())?;
                let is_itself = matches!(&readings.found[..], [only] if only == raw.path());
                (!is_itself).then(|| readings.found.into())
            }
        };
        Ok(Self { raw, readings })
    }

    /// Path and query exactly as sent; this is what goes to the upstream.
    pub fn as_str(&self) -> &str {
        self.raw.as_str()
    }

    /// The path as sent. For matching, see `readings`.
    pub fn path(&self) -> &str {
        self.raw.path()
    }

    /// Path and query as `http` has them.
    pub fn path_and_query(&self) -> &PathAndQuery {
        &self.raw
    }

    /// What follows the first `?`, as sent; not even looked at.
    pub fn query(&self) -> Option<&str> {
        self.raw.query()
    }

    /// Every path that a common server may take this for, each once, decoded; the likeliest first. Where a reading keeps
    /// an encoded slash apart from a real one, it stands there as `%2F`.
    pub fn readings(&self) -> impl Iterator<Item = &str> {
        let (as_sent, found) = match &self.readings {
            None => (Some(self.path()), &[][..]),
            Some(found) => (None, &found[..]),
        };
        as_sent.into_iter().chain(found.iter().map(String::as_str))
    }
}

impl FromStr for Target {
    type Err = TargetFault;

    fn from_str(raw: &str) -> Result<Self, TargetFault> {
        Self::parse(raw)
    }
}

/// Why a target is refused, whatever the rules are.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TargetFault {
    /// Windows reads it as a slash.
    #[error("a backslash in the path")]
    Backslash,
    /// RFC 3986 §2.
    #[error("a character that may not stand in a target unencoded")]
    Character,
    /// Raw or encoded.
    #[error("a control character in the path")]
    Control,
    /// RFC 3986 §3.3, in any encoding.
    #[error("a dot segment in the path")]
    DotSegment,
    /// Invalid UTF-8 in the decoded path, overlong forms among it.
    #[error("the decoded path is not UTF-8")]
    Encoding,
    /// RFC 3986 §2.1.
    #[error("broken percent-encoding in the path")]
    Escape,
    /// Neither `/path` nor, where that is allowed, a URL with one.
    #[error("the target does not start with a slash")]
    Form,
    /// A fragment is never sent (RFC 9110 §4.2.5).
    #[error("a `#` in the target")]
    Fragment,
    /// Some backends fold it to the character it looks like.
    #[error("a full-width or similar form of a dot, slash, backslash or percent sign")]
    LookAlike,
    /// Nested encodings, mostly.
    #[error("the path has too many readings")]
    Readings,
    /// RFC 9110 §15.5.15.
    #[error("the target is too long")]
    TooLong,
}

impl TargetFault {
    /// A stable word for problem details, logs and metrics.
    pub fn code(self) -> &'static str {
        if self == Self::TooLong { "uri_too_long" } else { "bad_request" }
    }

    /// For the client.
    pub fn public_message(self) -> Text {
        Text::new(if self == Self::TooLong { "unsound-target-long" } else { "unsound-target" })
    }

    /// What it is answered with.
    pub fn status(self) -> StatusCode {
        if self == Self::TooLong { StatusCode::URI_TOO_LONG } else { StatusCode::BAD_REQUEST }
    }
}

/// Holds for path and query.
fn check_characters(target: &str) -> Result<(), TargetFault> {
    let is_fault = |byte: u8| !matches!(byte, b'!'..=b'"' | b'$'..=b'~');
    // Written without a branch, so that it looks at many bytes at once.
    if !target.bytes().fold(false, |found, byte| found | is_fault(byte)) {
        return Ok(());
    }
    match target.bytes().find(|byte| is_fault(*byte)) {
        None => Ok(()),
        Some(b'#') => Err(TargetFault::Fragment),
        Some(byte) if byte.is_ascii_control() => Err(TargetFault::Control),
        Some(_) => Err(TargetFault::Character),
    }
}

/// Whether nobody reads the path as anything but itself. Says no for some of which that is true as well.
fn is_plain(path: &str) -> bool {
    let path = path.as_bytes();
    // Written without a branch, so that it looks at many bytes at once.
    let special =
        path.iter().fold(false, |found, byte| found | (*byte == b'%') | (*byte == b';') | (*byte == b'\\'));
    // `/.well-known` and our own prefix are plain, `/.` and `/..` are not.
    let is_plain_after =
        |slash: usize| !matches!(path[slash + 1..], [b'/', ..] | [b'.'] | [b'.', b'/' | b'.', ..]);
    !special && memchr_iter(b'/', path).all(is_plain_after)
}

/// All readings of one path, found by applying whatever a server might do until nothing new comes out. That covers
/// every order in which a chain of servers might do it.
#[derive(Default)]
struct Readings {
    bytes: usize,
    found: Vec<String>,
}

impl Readings {
    fn of(&mut self, raw: &str) -> Result<(), TargetFault> {
        // Parameters are cut by some before they decode, so that `%3b` is none, and by others afterwards.
        for cut in [None, without_parameters(raw), without_last_parameters(raw)] {
            let raw = cut.as_deref().unwrap_or(raw);
            self.add(decode(raw, Slash::Kept, Stray::Fault)?)?;
            self.add(decode(raw, Slash::Decoded, Stray::Fault)?)?;
        }
        let mut next = 0;
        while let Some(reading) = self.found.get(next).cloned() {
            if reading.contains('%') {
                self.add(decode(&reading, Slash::Kept, Stray::Literal)?)?;
                self.add(decode(&reading, Slash::Decoded, Stray::Literal)?)?;
            }
            for other in [
                without_parameters(&reading),
                without_last_parameters(&reading),
                cut_at_query(&reading),
                with_merged_slashes(&reading),
                without_authority(&reading),
            ] {
                other.map_or(Ok(()), |other| self.add(other))?;
            }
            next += 1;
        }
        Ok(())
    }

    fn add(&mut self, reading: String) -> Result<(), TargetFault> {
        if self.found.contains(&reading) {
            return Ok(());
        }
        check_reading(&reading)?;
        self.bytes += reading.len();
        self.found.push(reading);
        if self.found.len() > READINGS || self.bytes > READING_BYTES {
            return Err(TargetFault::Readings);
        }
        Ok(())
    }
}

fn check_reading(path: &str) -> Result<(), TargetFault> {
    // `..;x` hides a dot segment from whoever cuts parameters later, `.. ` is one on Windows.
    let is_dots = |segment: &str| {
        let name = segment.split(';').next().unwrap_or_default();
        matches!(name.trim_end_matches(' '), "." | "..")
    };
    if path.contains('\\') {
        Err(TargetFault::Backslash)
    } else if path.contains(char::is_control) {
        Err(TargetFault::Control)
    } else if path.split('/').any(is_dots) {
        Err(TargetFault::DotSegment)
    } else if !path.is_ascii() && path.chars().any(is_look_alike) {
        Err(TargetFault::LookAlike)
    } else {
        Ok(())
    }
}

/// Whether compatibility folding (NFKC) makes a separator, an escape or one or two dots of it. An ellipsis makes three
/// and may stand in a title.
fn is_look_alike(character: char) -> bool {
    if character.is_ascii() {
        return false;
    }
    let mut folded = std::iter::once(character).nfkc();
    let mut dots = 0;
    let is_separator = folded.any(|folded| {
        dots = if folded == '.' { dots + 1 } else { 3 };
        matches!(folded, '/' | '\\' | '%')
    });
    is_separator || (1..=2).contains(&dots)
}

/// What happens to `%2f`.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Slash {
    Decoded,
    Kept,
}

/// What a `%` is that no two hexadecimal digits follow.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Stray {
    Fault,
    Literal,
}

/// One round of percent-decoding.
fn decode(path: &str, slash: Slash, stray: Stray) -> Result<String, TargetFault> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        let digit = |at: usize| after.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        rest = after;
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                rest = &after[2..];
                match u8::try_from(high * 16 + low).expect("two hexadecimal digits are a byte") {
                    b'/' if slash == Slash::Kept => decoded.extend_from_slice(b"%2F"),
                    byte => decoded.push(byte),
                }
            }
            // `%u002e` is a dot to IIS.
            (b'%', _, _) if stray == Stray::Fault || is_wide_escape(after) => {
                return Err(TargetFault::Escape);
            }
            (byte, _, _) => decoded.push(*byte),
        }
    }
    String::from_utf8(decoded).map_err(|_| TargetFault::Encoding)
}

fn is_wide_escape(after: &[u8]) -> bool {
    matches!(after, [b'u' | b'U', a, b, c, d, ..] if [a, b, c, d].iter().all(|byte| byte.is_ascii_hexdigit()))
}

/// Cuts `;…` off each segment, as servlet containers do.
fn without_parameters(path: &str) -> Option<String> {
    path.contains(';').then(|| {
        let names = path.split('/').map(|segment| segment.split(';').next().unwrap_or_default());
        names.collect::<Vec<_>>().join("/")
    })
}

/// Cuts `;…` off the last segment alone, as RFC 2396 parsers do.
fn without_last_parameters(path: &str) -> Option<String> {
    let last = path.rfind('/').map_or(0, |slash| slash + 1);
    path[last..].find(';').map(|semicolon| path[..last + semicolon].to_owned())
}

/// Cuts where somebody who parses a decoded path as a URL sees a query or a fragment.
fn cut_at_query(path: &str) -> Option<String> {
    path.find(['?', '#']).map(|end| path[..end].to_owned())
}

/// Makes one slash of several, as nginx does.
fn with_merged_slashes(path: &str) -> Option<String> {
    path.contains("//").then(|| {
        let mut before = None;
        path.chars().filter(|next| before.replace(*next) != Some('/') || *next != '/').collect()
    })
}

/// Takes `//name/path` for a URL without a scheme, as URL parsers do that are given a path: the name is a host to them.
fn without_authority(path: &str) -> Option<String> {
    path.starts_with("//").then(|| {
        let name = path.trim_start_matches('/');
        name.find('/').map_or("/", |slash| &name[slash..]).to_owned()
    })
}

#[cfg(test)]
mod tests;
