//! What one request says, believed only as far as it can be: id, client address, host, scheme, target.
//!
//! `Context::new` is the border: what has two meanings is a fault there and never reaches a rule.
//!
//! Callers: `gateway` builds a context for each request, `subrequest` one from a trusted peer's
//! description of another; `gate`, `portal` and `proxy` read it. No credential is looked at here.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use http::uri::Uri;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version, header};

pub mod forwarded;
pub mod head;
mod host;
mod id;
mod limits;
mod origin;
pub mod target;

use forwarded::{ForwardedFault, Forwarding};
use head::HeadFault;
use target::TargetFault;

use crate::identity::Certificate;
use crate::response::texts::Text;

pub use forwarded::TrustedProxies;
pub use host::{Host, InvalidHost};
pub use id::RequestId;
pub use limits::Limits;
pub use origin::{InvalidOrigin, Origin, SentFrom, sent_from};
pub use target::Target;

/// One request, described without doubt.
#[derive(Clone, Debug)]
pub struct Context {
    /// What the client's connection showed, if it is good now; the one behind a proxy shows us none.
    pub certificate: Option<Arc<ClientCertificate>>,
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

/// What the connection knows and the request doesn't say.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'c> {
    /// What the client showed, if it is good now.
    pub certificate: Option<&'c Arc<ClientCertificate>>,
    /// When the head was complete.
    pub now: SystemTime,
    /// The other end of the connection.
    pub peer: IpAddr,
    /// The listener's.
    pub scheme: Scheme,
    /// Whose word is taken.
    pub trusted: &'c TrustedProxies,
}

/// A client's certificate that TLS has verified, and what upstreams are told of it: made once for a connection.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// Whose it is.
    pub certificate: Certificate,
    /// Ready to be set, each once.
    pub headers: Arc<[(HeaderName, HeaderValue)]>,
}

/// A request that a trusted proxy asks about, read out of what it sent.
#[derive(Clone, Debug)]
pub struct OriginalRequest {
    /// Who asked the proxy.
    pub client: IpAddr,
    /// The host that was asked for.
    pub host: Host,
    /// Of the request itself, not of the question about it.
    pub method: Method,
    /// How the proxy was reached.
    pub scheme: Scheme,
    /// Of the request itself.
    pub target: Target,
}

impl Context {
    /// Describes a request that hyper read. For HTTP/1 its bytes went by `head::MessageReader` first; what that refuses and
    /// hyper leaves visible is refused here once more.
    pub fn new<B>(request: &Request<B>, arrival: &Arrival<'_>) -> Result<Self, RequestFault> {
        check_method(request.method())?;
        if request.version() == Version::HTTP_2 {
            head::check_http2_fields(request.headers())?;
        }
        let sent_to = addressed_host(request)?;
        let target = Target::from_uri(request.uri())?;
        let peer = arrival.peer.to_canonical();
        let peer_trusted = arrival.trusted.contains(peer);
        let told = if peer_trusted {
            Forwarding::read(peer, request.headers(), arrival.trusted)?
        } else {
            Forwarding { client: peer, host: None, port: None, scheme: None }
        };
        let id = if peer_trusted { RequestId::from_headers(request.headers()) } else { None };
        let mut host = told.host.unwrap_or(sent_to);
        // The port is spoken of apart when the host came without. 80 and 443 go without saying; the wrong one of them is
        // an inner hop's, left over beside the outer one's scheme.
        host.port = host.port.or(told.port.filter(|port| !matches!(port, 80 | 443)));
        Ok(Self {
            // A proxy that speaks for somebody else shows its own.
            certificate: arrival.certificate.filter(|_| told.client == peer).cloned(),
            client: told.client,
            host,
            id: id.unwrap_or_else(RequestId::generate),
            method: request.method().clone(),
            peer,
            peer_trusted,
            received_at: arrival.now,
            scheme: told.scheme.unwrap_or(arrival.scheme),
            target,
        })
    }

    /// The context of a request that a trusted proxy asks about; `question` is the context of the sub-request itself. Whether
    /// its peer is trusted is for the caller to check.
    pub fn described(original: OriginalRequest, question: &Self) -> Result<Self, RequestFault> {
        let OriginalRequest { client, host, method, scheme, target } = original;
        check_method(&method)?;
        Ok(Self {
            // The connection is the proxy's.
            certificate: None,
            client: client.to_canonical(),
            host,
            id: question.id.clone(),
            method,
            peer: question.peer,
            peer_trusted: question.peer_trusted,
            received_at: question.received_at,
            scheme,
            target,
        })
    }

    /// Whether a person in front of a browser goes to this address, so that a login page is of use. `headers` are those of
    /// the request, or of the sub-request about it.
    pub fn navigates(&self, headers: &HeaderMap) -> bool {
        accepts_html(headers) && self.may_navigate(headers)
    }

    /// As `navigates`, but what isn't said is taken for a yes: for a proxy that doesn't hand on what the client accepts.
    pub fn may_navigate(&self, headers: &HeaderMap) -> bool {
        let all = |name: &str, holds: fn(&[u8]) -> bool| {
            headers.get_all(name).iter().all(|value| holds(value.as_bytes().trim_ascii()))
        };
        matches!(self.method, Method::GET | Method::HEAD)
            && all("x-requested-with", |value| !value.eq_ignore_ascii_case(b"XMLHttpRequest"))
            && all("sec-fetch-mode", |value| value.eq_ignore_ascii_case(b"navigate"))
    }

    /// `scheme://host[:port]`, without the port that goes without saying (RFC 6454 §6.2).
    pub fn origin(&self) -> String {
        let Self { scheme, host, .. } = self;
        match host.port.filter(|port| *port != scheme.default_port()) {
            None => format!("{scheme}://{}", host.name),
            Some(port) => format!("{scheme}://{}:{port}", host.name),
        }
    }
}

/// Whether an answer may be a page: `text/html` is named and not ruled out by `q=0`. A mere `*/*` is no browser's.
/// RFC 9110 §12.5.1.
pub fn accepts_html(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT).iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).any(|range| {
        let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let is_html = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(b"text/html"));
        let is_zero = |part: &[u8]| match part {
            [b'q' | b'Q', b'=', weight @ ..] => weight.iter().all(|byte| matches!(byte, b'0' | b'.')),
            _ => false,
        };
        is_html && !parts.any(is_zero)
    })
}

/// Reads a whole URL, as `X-Original-URL` has it: scheme, host and target, each as strictly as in a request.
pub fn read_url(url: &str) -> Result<(Scheme, Host, Target), RequestFault> {
    let (scheme, rest) = url.split_once("://").ok_or(TargetFault::Form)?;
    let scheme = Scheme::parse(scheme).ok_or(TargetFault::Form)?;
    let (host, target) = rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
    let host = Host::known(host.as_bytes()).map_err(|InvalidHost| RequestFault::Host)?;
    let target = match target.as_bytes() {
        [] => Target::parse("/")?,
        [b'?', ..] => Target::parse(&format!("/{target}"))?,
        _ => Target::parse(target)?,
    };
    Ok((scheme, host, target))
}

/// A method with a lower-case letter is another one, but not to every backend: so there is none.
fn check_method(method: &Method) -> Result<(), HeadFault> {
    let method = method.as_str();
    if method.len() > head::METHOD_BYTES || method.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return Err(HeadFault::Method);
    }
    if matches!(method, "CONNECT" | "TRACE") { Err(HeadFault::MethodRefused) } else { Ok(()) }
}

/// The host that the request itself names: exactly one `Host` field, or in HTTP/2 `:authority`; where there are both, in an
/// absolute-form target too, they are the same (RFC 9112 §3.2.2, RFC 9113 §8.3.1).
fn addressed_host<B>(request: &Request<B>) -> Result<Host, RequestFault> {
    let mut fields = request.headers().get_all(header::HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(HeadFault::HostRepeated.into());
    }
    let field = field.map(|value| Host::known(value.as_bytes())).transpose();
    let field = field.map_err(|InvalidHost| RequestFault::Host)?;
    match (field, authority(request.uri())?) {
        (Some(field), None) => Ok(field),
        (Some(field), Some(authority)) if field == authority => Ok(field),
        (Some(_), Some(_)) => Err(RequestFault::Authority),
        (None, Some(authority)) if request.version() == Version::HTTP_2 => Ok(authority),
        (None, _) => Err(HeadFault::HostMissing.into()),
    }
}

fn authority(uri: &Uri) -> Result<Option<Host>, RequestFault> {
    let Some(authority) = uri.authority() else { return Ok(None) };
    if uri.scheme_str().and_then(Scheme::parse).is_none() {
        return Err(TargetFault::Form.into());
    }
    authority.as_str().parse().map(Some).map_err(|InvalidHost| RequestFault::Host)
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
    /// By its name in any case.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Http, Self::Https].into_iter().find(|scheme| name.eq_ignore_ascii_case(scheme.as_str()))
    }

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

/// Why a request can't be described: it is answered with `status` and the connection closes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RequestFault {
    /// RFC 9112 §3.2.2.
    #[error("the authority of the target is not the host")]
    Authority,
    /// A trusted proxy contradicts itself or can't be understood.
    #[error("the description by the proxy in front: {0}")]
    Forwarded(#[from] ForwardedFault),
    /// The bytes.
    #[error(transparent)]
    Head(#[from] HeadFault),
    /// RFC 9110 §7.2.
    #[error("Host is not a host")]
    Host,
    /// The target.
    #[error(transparent)]
    Target(#[from] TargetFault),
}

impl RequestFault {
    /// A stable word for problem details, logs and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Authority | Self::Forwarded(_) | Self::Host => "bad_request",
            Self::Head(fault) => fault.code(),
            Self::Target(fault) => fault.code(),
        }
    }

    /// For the client: what to do, and nothing about the inside.
    pub fn public_message(self) -> Text {
        match self {
            Self::Authority | Self::Host => Text::new("unsound-host"),
            Self::Forwarded(_) => Text::new("unsound-forwarded"),
            Self::Head(fault) => fault.public_message(),
            Self::Target(fault) => fault.public_message(),
        }
    }

    /// What it is answered with. A 405 wants an `Allow` field beside it.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Authority | Self::Forwarded(_) | Self::Host => StatusCode::BAD_REQUEST,
            Self::Head(fault) => fault.status(),
            Self::Target(fault) => fault.status(),
        }
    }
}

#[cfg(test)]
mod tests;
