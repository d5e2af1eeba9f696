//! The header fields of what passes through: what goes, what stays, what is set, and in which order.
//!
//! Pure: no socket and no clock. The order of the work on a request carries the promise "identity
//! headers come from us or not at all", so it is written down in one place, `HeaderRules::forward`.
//!
//! Callers: `proxy`, and the benches. The parts are in `headers/`: names, cookies, certificate, origin,
//! and what caches may keep.

use http::header::InvalidHeaderValue;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

pub(super) mod cache;
pub mod certificate;
pub(crate) mod cookies;
pub(crate) mod names;
pub(crate) mod origin;

pub use certificate::CertificateHeaders;
pub use cookies::CookieNames;
pub use names::ReservedNames;

use names::Fate;
use origin::{Chain, Origins};

use crate::request::Context;
use crate::route::HeaderEdit;
use crate::route::identity_headers::HeaderSet;

/// Fields that every request is given.
const SET_ALWAYS: usize = 9;

/// In a family of names that are ours alone: whatever a client sends under it is taken out.
const X_FOREGATE_ASSERTION: HeaderName = HeaderName::from_static("x-foregate-assertion");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What holds for the headers of every request of one proxy.
#[derive(Debug)]
pub struct HeaderRules {
    pub(crate) cookies: CookieNames,
    pub(crate) origins: Origins,
    pub(crate) reserved: ReservedNames,
}

/// What differs from one request to the next.
#[derive(Debug)]
pub struct Forwarding<'a> {
    /// Who it is, signed, where the upstream is to be told so.
    pub assertion: Option<&'a HeaderValue>,
    /// The request.
    pub context: &'a Context,
    /// Whether the route passes `Authorization` on.
    pub authorization: bool,
    /// What the route sets or removes; none of the names is ours.
    pub edits: &'a [HeaderEdit],
    /// `None` where `Host` is what the client asked for.
    pub host: Option<&'a HeaderValue>,
    /// Of whoever is identified.
    pub identity: Option<&'a HeaderSet>,
    /// What the route cut off the path.
    pub prefix: Option<&'a HeaderValue>,
    /// The protocols of an upgrade that goes on.
    pub upgrade: Option<&'a HeaderValue>,
}

impl HeaderRules {
    /// Our cookies, and the names that are ours to set.
    pub fn new(cookies: CookieNames, reserved: ReservedNames) -> Self {
        Self { cookies, origins: Origins::new(), reserved }
    }

    /// Turns a client's fields into those for the server, and says what of them the body's framing asks for. The
    /// framing itself is left out: it follows from the body.
    pub fn forward(
        &self,
        headers: &mut HeaderMap,
        request: &Forwarding<'_>,
    ) -> Result<Asked, InvalidHeaderValue> {
        let chain = match request.context.peer_trusted {
            true => Chain::of(headers),
            false => Chain::default(),
        };
        // The order carries the guarantee "identity headers come from us or not at all":
        // 1. what the client's `Connection` lists, for it may list any name, and applied later it
        //    would delete what we add;
        // 2. then hop-by-hop fields, and whatever the client sent under our names or the route's;
        // 3. the route's own;
        // 4. ours last, so that nothing takes their place.
        remove_connection_named(headers);
        let found = self.strip(headers, request);
        if found.cookie {
            self.cookies.take_out(headers);
        }
        // Once for all that is set from here on.
        let certificate = request.context.certificate.as_deref().map(|client| &client.headers);
        let sets = || request.identity.into_iter().chain(certificate);
        let set = sets().map(|set| set.len()).sum::<usize>();
        headers.reserve(SET_ALWAYS + request.edits.len() + set);
        set_edited(headers, request.edits);
        self.origins.with(request.context, |origin| {
            origin.set(headers, &chain)?;
            headers.insert(header::HOST, request.host.unwrap_or(&origin.host).clone());
            Ok(())
        })?;
        if let Some(prefix) = request.prefix {
            chain.set_prefix(headers, prefix)?;
        }
        headers.insert(X_REQUEST_ID, request.context.id.header_value().clone());
        if let Some(protocols) = request.upgrade {
            headers.insert(header::UPGRADE, protocols.clone());
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        } else if found.te_trailers {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
        }
        if let Some(names) = found.trailers {
            headers.insert(header::TRAILER, names);
        }
        for (name, value) in sets().flat_map(|set| set.iter()) {
            headers.insert(name, value.clone());
        }
        if let Some(assertion) = request.assertion {
            headers.insert(X_FOREGATE_ASSERTION, assertion.clone());
        }
        Ok(found.asked)
    }

    /// One pass over the fields; allocates nothing when nothing has to go.
    fn strip(&self, headers: &mut HeaderMap, request: &Forwarding<'_>) -> Found {
        let mut found = Found::default();
        let mut doomed = Vec::new();
        // Taken into the chain, and set anew.
        let replaced = |name: &HeaderName| request.prefix.is_some() && names::is_forwarded_prefix(name);
        let edited = |name: &HeaderName| request.edits.iter().any(|edit| names::same(&edit.name, name));
        for (name, value) in &*headers {
            match self.reserved.fate(name) {
                Fate::Keep | Fate::Cookie | Fate::Authorization if edited(name) => {}
                Fate::Keep => continue,
                Fate::Cookie => {
                    found.cookie = true;
                    continue;
                }
                Fate::Authorization if request.authorization => continue,
                Fate::TrustedOnly if request.context.peer_trusted && !replaced(name) => continue,
                Fate::ContentLength => found.asked.told_length = true,
                Fate::Expect => found.asked.expects = true,
                Fate::Te => found.te_trailers |= tokens(value).any(|t| t.eq_ignore_ascii_case("trailers")),
                Fate::Trailer => found.trailers = self.announced(headers),
                Fate::Authorization | Fate::HopByHop | Fate::Reserved | Fate::SetAnew | Fate::TrustedOnly => {
                }
            }
            doomed.push(name.clone());
        }
        for name in doomed {
            headers.remove(name);
        }
        found
    }

    /// The trailers that a client announces, as far as they may go on.
    fn announced(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let lines = headers.get_all(header::TRAILER).iter().flat_map(tokens);
        let names = lines.filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok());
        let allowed: Vec<_> = names.filter(|name| self.reserved.allows_trailer(name)).collect();
        let joined = allowed.iter().map(HeaderName::as_str).collect::<Vec<_>>().join(", ");
        HeaderValue::try_from(joined).ok().filter(|value| !value.is_empty())
    }

    /// Turns a server's fields into those for the client, with the route's edits. `Content-Length` stays where
    /// it says the length of a body, or of the one that a HEAD asks about. The request's id, which takes the place of the
    /// server's, is the gateway's to set: every answer has it, also those that no server gave.
    pub fn answer(
        &self,
        status: StatusCode,
        headers: &mut HeaderMap,
        edits: &[HeaderEdit],
    ) -> Result<(), Unframed> {
        let told = Told::of(headers);
        if told.connection {
            remove_connection_named(headers);
            headers.remove(header::CONNECTION);
        }
        if told.hop_by_hop {
            while let Some(name) = headers.keys().find(|name| ends_at_this_hop(name)).cloned() {
                headers.remove(name);
            }
        }
        frame_answer(status, headers, told)?;
        if told.set_cookie {
            self.cookies.refuse(headers);
        }
        for edit in edits {
            headers.remove(&edit.name);
        }
        set_edited(headers, edits);
        Ok(())
    }
}

/// What of a server's fields asks for a closer look. One pass finds it, for most answers have little of it.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    coding: bool,
    connection: bool,
    hop_by_hop: bool,
    length: bool,
    set_cookie: bool,
    trailer: bool,
}

impl Told {
    fn of(headers: &HeaderMap) -> Self {
        let mut told = Self::default();
        for name in headers.keys() {
            match name.as_str() {
                "connection" => told.connection = true,
                "content-length" => told.length = true,
                "set-cookie" => told.set_cookie = true,
                "trailer" => told.trailer = true,
                "transfer-encoding" => told.coding = true,
                _ => told.hop_by_hop |= ends_at_this_hop(name),
            }
        }
        told
    }
}

/// What of a server's answer goes no further, beside `Connection`. Framing and `Trailer` are `frame_answer`'s.
fn ends_at_this_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "proxy-connection"
            | "te"
            | "upgrade"
    )
}

/// What a request says of its body, in fields that end here.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Asked {
    /// Whether it waits for a word before it sends it (`Expect`).
    pub expects: bool,
    /// Whether it told the length.
    pub told_length: bool,
}

/// Sets what the edits set, where everything of those names is gone.
fn set_edited(headers: &mut HeaderMap, edits: &[HeaderEdit]) {
    for edit in edits {
        if let Some(value) = &edit.value {
            headers.insert(&edit.name, value.clone());
        }
    }
}

/// A server frames its answer in a way that two readers could take differently.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unframed;

/// What the strip came across.
#[derive(Debug, Default)]
struct Found {
    asked: Asked,
    cookie: bool,
    te_trailers: bool,
    trailers: Option<HeaderValue>,
}

/// Framing is never copied: hyper makes it anew from the body. Only the length that is told is kept.
fn frame_answer(status: StatusCode, headers: &mut HeaderMap, told: Told) -> Result<(), Unframed> {
    if told.coding
        && let header::Entry::Occupied(codings) = headers.entry(header::TRANSFER_ENCODING)
    {
        let (_, mut codings) = codings.remove_entry_mult();
        // hyper takes `gzip, chunked` apart only as far as `chunked`: the rest would be lost. And of two
        // lines it looks at the last alone.
        let is_chunked =
            codings.next().is_some_and(|first| first.as_bytes().eq_ignore_ascii_case(b"chunked"));
        let is_alone = codings.next().is_none();
        drop(codings);
        // Where a length is told as well, one of the two is a lie, or somebody else's (RFC 9112 §6.3).
        if !is_chunked || !is_alone || headers.contains_key(header::CONTENT_LENGTH) {
            return Err(Unframed);
        }
        return Ok(());
    }
    if told.trailer {
        headers.remove(header::TRAILER);
    }
    if !told.length {
        return Ok(());
    }
    if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        headers.remove(header::CONTENT_LENGTH);
    } else if !has_one_plain_length(headers)
        && let Some(length) = headers.remove(header::CONTENT_LENGTH)
    {
        // Several equal ones, in lines or in a list, become one. hyper refused those that differ.
        let first = tokens(&length).next().and_then(|token| HeaderValue::from_str(token).ok());
        headers.insert(header::CONTENT_LENGTH, first.ok_or(Unframed)?);
    }
    Ok(())
}

/// As it nearly always is: then it stays where it is.
fn has_one_plain_length(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(header::CONTENT_LENGTH).iter();
    let is_digits = |value: &[u8]| !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let is_plain = lines.next().is_some_and(|length| is_digits(length.as_bytes()));
    is_plain && lines.next().is_none()
}

/// Removes every field that `Connection` names.
fn remove_connection_named(headers: &mut HeaderMap) {
    const USUAL: [&str; 3] = ["keep-alive", "close", "upgrade"];
    let mut named = Vec::new();
    for value in headers.get_all(header::CONNECTION) {
        if USUAL.iter().any(|usual| value.as_bytes().eq_ignore_ascii_case(usual.as_bytes())) {
            continue;
        }
        named.extend(tokens(value).filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok()));
    }
    for name in named {
        // These five lines are read further down, and removed there.
        if !matches!(name.as_str(), "connection" | "te" | "trailer" | "transfer-encoding" | "content-length")
        {
            headers.remove(name);
        }
    }
}

/// The members of a list. What is no text is no token, and hides no other.
pub(crate) fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    let members = value.as_bytes().split(|&byte| byte == b',');
    members.filter_map(|token| str::from_utf8(token.trim_ascii()).ok()).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests;
