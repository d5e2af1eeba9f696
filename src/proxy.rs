//! Forwarding what the gate let through: choose a server, stream both ways, answer for its failures.
//!
//! `forward` takes a `Permit`, and only the gate makes one. Headers are put in order in
//! `proxy/headers.rs`; a server is chosen in `proxy/upstream.rs`, by `proxy/balance.rs`'s rule and what
//! `proxy/health.rs` knows; connections to servers are made in `proxy/connect.rs`, over TLS by
//! `proxy/tls.rs`, and kept in `proxy/pool.rs`, those of HTTP/2 shared by `proxy/streams.rs`; one
//! request and its retries are in `proxy/exchange.rs`; bodies in `proxy/body.rs`; small writes become one in
//! `proxy/coalesce.rs`; an upgraded
//! connection is carried by `proxy/upgrade.rs`. A `Proxy` belongs to one thread and shares with those
//! of others the health of the servers and TLS sessions, and nothing else.
//!
//! Callers: `gateway`. Nothing here knows who may pass.

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;
use rustc_hash::FxHashMap;

mod assertion;
mod balance;
mod body;
pub mod coalesce;
mod connect;
mod error;
mod exchange;
mod form;
pub mod headers;
pub mod health;
mod pool;
mod spare;
mod streams;
#[cfg(test)]
mod tests;
pub mod tls;
mod upgrade;
mod upstream;
mod watch;
mod wire;

pub use balance::Balance;
pub use body::drain_refused;
pub use error::ForwardError;
pub use health::{HealthBoard, HealthSettings, ServerSnapshot, ServerState};
pub use upgrade::Tunnels;

use assertion::Assertions;
use body::{Patience, Progress, RequestBody, RequestStream, ResponseBody};
use headers::{CookieNames, Forwarding, HeaderRules, ReservedNames};
use tls::UpstreamTls;
use upstream::Upstream;
use watch::Watch;

use crate::authn::assertion::Asserter;
use crate::authn::location::PARAMETER;
use crate::gate::Permit;
use crate::identity::TokenLocation;
use crate::request::target::{Parameter, TargetFault};
use crate::request::{Context, Target};
use crate::response::Body;
use crate::route::identity_headers::ReadyValues;
use crate::route::{PathRewrite, Route};

/// What holds for everything that is forwarded.
#[derive(Clone, Debug)]
pub struct ProxySettings {
    /// Signs what upstreams with `assertion` are told; `None` where there is none of them.
    pub asserter: Option<Asserter>,
    /// Bytes of a request's body that are forwarded at most; `None` for any.
    pub body_bytes: Option<u64>,
    /// Our own cookies, by the names under which they are sent: they reach no upstream.
    pub cookie_names: Vec<String>,
    /// Every field that some route sets or removes on the way to its upstream: no trailer can bring it back.
    pub edited_names: Vec<HeaderName>,
    /// Every name that some route sets. It is taken out of every request, for two routes may lead to one backend.
    pub identity_names: Vec<HeaderName>,
}

/// Done when the credential has ended that opened a tunnel or a stream of events.
pub type Ended = Pin<Box<dyn Future<Output = ()>>>;

/// The forwarding of one thread, with its own connections to each server.
///
/// `forward` is to be called where local tasks can be spawned.
#[derive(Debug)]
pub struct Proxy {
    assertions: Option<Assertions>,
    body_bytes: Option<u64>,
    ready: ReadyValues,
    reserved: Rc<ReservedNames>,
    rules: HeaderRules,
    tunnels: Tunnels,
    /// By name.
    /// The names are the configuration's: nobody chooses them to collide.
    upstreams: FxHashMap<String, Rc<Upstream>>,
    watch: Watch,
}

/// Why a proxy can't be built. A configuration that was checked holds none of these.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidProxy {
    /// An upstream that is to be told by assertion, and nobody to sign it.
    #[error("upstream `{0}`: nobody signs its assertions")]
    Asserter(String),
    /// A host or server name that can't be a header's value.
    #[error("upstream `{0}`: a host that can't be a header's value")]
    Host(String),
}

impl Proxy {
    /// Connects to nothing yet.
    pub fn new(
        upstreams: &[UpstreamSettings],
        settings: ProxySettings,
        tunnels: Tunnels,
        health: &HealthBoard,
    ) -> Result<Self, InvalidProxy> {
        let watch = Watch::new();
        let upstreams: Result<_, _> =
            upstreams.iter().map(|upstream| connect_later(upstream, &watch, health)).collect();
        Self::with(upstreams?, settings, tunnels, watch)
    }

    /// Under another configuration. An upstream that is as it was keeps its connections.
    pub fn renewed(
        &self,
        upstreams: &[UpstreamSettings],
        settings: ProxySettings,
        health: &HealthBoard,
    ) -> Result<Self, InvalidProxy> {
        let kept = |wanted: &UpstreamSettings| {
            self.upstreams.get(&wanted.name).filter(|upstream| upstream.settings == *wanted).cloned()
        };
        let upstream = |wanted| match kept(wanted) {
            Some(upstream) => Ok(upstream),
            None => connect_later(wanted, &self.watch, health),
        };
        let upstreams: Result<_, _> = upstreams.iter().map(upstream).collect();
        Self::with(upstreams?, settings, self.tunnels.clone(), self.watch.clone())
    }

    fn with(
        upstreams: Vec<Rc<Upstream>>,
        settings: ProxySettings,
        tunnels: Tunnels,
        watch: Watch,
    ) -> Result<Self, InvalidProxy> {
        if let (None, Some(upstream)) =
            (&settings.asserter, upstreams.iter().find(|upstream| upstream.settings.assertion))
        {
            return Err(InvalidProxy::Asserter(upstream.settings.name.clone()));
        }
        let reserved = ReservedNames::new(&settings.identity_names).with_edited(settings.edited_names);
        Ok(Self {
            assertions: settings.asserter.map(Assertions::new),
            body_bytes: settings.body_bytes,
            ready: ReadyValues::default(),
            reserved: Rc::new(reserved.clone()),
            rules: HeaderRules::new(
                CookieNames::new(settings.cookie_names.iter().map(String::as_str)),
                reserved,
            ),
            tunnels,
            upstreams: upstreams
                .into_iter()
                .map(|upstream| (upstream.settings.name.clone(), upstream))
                .collect(),
            watch,
        })
    }

    /// Sends a permitted request to its upstream and gives back the answer as it comes.
    ///
    /// `ended` is asked for where the answer is an upgraded connection or a stream of events: that is
    /// closed when it is done, and at the stop; other answers come to their end.
    pub async fn forward(
        &self,
        mut request: Box<Request<Incoming>>,
        context: &Context,
        permit: &Permit,
        ended: impl FnOnce() -> Ended,
    ) -> Result<Response<Body>, ForwardError> {
        let route = permit.route();
        let upstream = self.upstream(route)?;
        let identity = match permit.identity() {
            Some(identity) => Some(self.ready.get(&route.identity_headers, identity)?),
            None => None,
        };
        let assertion = match (permit.identity(), &self.assertions) {
            (Some(identity), Some(assertions)) if upstream.settings.assertion => {
                Some(assertions.get(identity, &upstream.settings.name, context.received_at))
            }
            _ => None,
        };
        let limit = self.body_bytes;
        if let Some(limit) = limit.filter(|&limit| request.body().size_hint().lower() > limit) {
            drain_refused(*request);
            return Err(ForwardError::BodyTooLarge { limit });
        }
        let uri = match (without_token(route, context), &route.rewrite) {
            (None, None) => judged_target(request.uri(), context),
            (None, Some(rewrite)) => rewritten_target(rewrite, &context.target),
            (Some(Ok(target)), None) => Ok(target.path_and_query().clone().into()),
            (Some(Ok(target)), Some(rewrite)) => rewritten_target(rewrite, &target),
            (Some(Err(_)), _) => Err(ForwardError::BadRequest("its target without its token")),
        };
        let uri = match uri {
            Ok(uri) => uri,
            Err(fault) => {
                drain_refused(*request);
                return Err(fault);
            }
        };
        // A request with a body can't become a tunnel: it goes on as an ordinary one.
        let offered = match request.body().is_end_stream() {
            true => upgrade::offered(request.version(), request.headers()),
            false => None,
        };
        let downstream = offered.is_some().then(|| hyper::upgrade::on(&mut *request));

        let (parts, body) = request.into_parts();
        let mut headers = parts.headers;
        let forwarding = Forwarding {
            assertion: assertion.as_ref(),
            authorization: route.forward_authorization,
            context,
            edits: &route.headers,
            host: upstream.host.as_ref(),
            identity: identity.as_ref(),
            prefix: route.rewrite.as_ref().and_then(PathRewrite::told),
            upgrade: offered.as_ref(),
        };
        let asked = self
            .rules
            .forward(&mut headers, &forwarding)
            .map_err(|_| ForwardError::BadRequest("a field's value"))?;
        frame_request(&parts.method, &mut headers, &body, asked.told_length);
        let is_head = parts.method == Method::HEAD;
        let messages = parts.version == Version::HTTP_2 && is_grpc(&headers);
        let (body, progress) = self.request_body(body, asked.expects, messages, upstream);
        let mut sent = Box::new(Request::new(body));
        *sent.method_mut() = parts.method;
        *sent.uri_mut() = uri;
        *sent.headers_mut() = headers;

        let (mut answer, mut lease) =
            exchange::exchange(upstream, &self.watch, context.client, sent, progress.as_ref(), limit).await?;
        lease.answered(progress.as_deref());
        *answer.version_mut() = Version::HTTP_11;
        let status = answer.status();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let accepted = offered.and_then(|offered| upgrade::accepted(&offered, answer.headers()));
            let (Some(protocol), Some(downstream)) = (accepted, downstream) else {
                return Err(ForwardError::BadAnswer("an upgrade that nobody asked for"));
            };
            let upstream = hyper::upgrade::on(&mut answer);
            self.answer_head(status, answer.headers_mut(), context, route)?;
            let (mut parts, _) = answer.into_parts();
            parts.headers.remove(header::CONTENT_LENGTH);
            parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            parts.headers.insert(header::UPGRADE, protocol);
            self.tunnels.carry(downstream, upstream, lease, ended());
            return Ok(Response::from_parts(parts, Body::Empty));
        }
        // HTTP/2 has no coding that would say that trailers may come.
        let trailer = match lease.is_http2() && !answer.headers().contains_key(header::CONTENT_LENGTH) {
            true => answer.headers_mut().remove(header::TRAILER),
            false => None,
        };
        let chunked = answer.headers().contains_key(header::TRANSFER_ENCODING);
        self.answer_head(status, answer.headers_mut(), context, route)?;
        if let Some(trailer) = trailer {
            answer.headers_mut().insert(header::TRAILER, trailer);
        }
        let (parts, body) = answer.into_parts();
        if is_head || body.is_end_stream() {
            lease.end(progress.as_deref());
            return Ok(Response::from_parts(parts, Body::Empty));
        }
        let (stall, ended) = match Kind::of(&parts.headers) {
            Kind::Plain => (Some(upstream.stall_ticks), None),
            // At the stop a call may finish by itself, events never do: their client comes back to whoever serves then.
            Kind::Calls => (None, Some(ended())),
            Kind::Events => (None, Some(self.tunnels.or_all(ended()))),
        };
        let (deadline, id) = (self.watch.deadline(), context.id.clone());
        let mut stream = ResponseBody::new(body, lease, progress, deadline, stall, ended, id);
        if chunked && stream.begin().await.is_err() {
            return Err(ForwardError::BadAnswer("a body that is not chunked as its head says"));
        }
        Ok(Response::from_parts(parts, Body::Stream(Box::pin(stream))))
    }

    fn answer_head(
        &self,
        status: StatusCode,
        headers: &mut HeaderMap,
        context: &Context,
        route: &Route,
    ) -> Result<(), ForwardError> {
        let unframed = |headers::Unframed| ForwardError::BadAnswer("a body framed in two ways");
        self.rules.answer(status, headers, &route.response_headers).map_err(unframed)?;
        if takes_from_query(route) && context.target.parameter(PARAMETER) != Parameter::Absent {
            // The page's address holds a token: nothing that it loads is told, and nobody keeps it for others
            // (RFC 6750 §2.3).
            headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
            headers::cache::keep_private(headers);
        }
        Ok(())
    }

    fn upstream(&self, route: &Route) -> Result<&Upstream, ForwardError> {
        let name = route.upstream.as_deref().ok_or(ForwardError::NoUpstream)?;
        let known = self.upstreams.get(name);
        known.map(Rc::as_ref).ok_or(ForwardError::UnknownRoute("its upstream is missing"))
    }

    fn request_body(
        &self,
        body: Incoming,
        expects: bool,
        messages: bool,
        upstream: &Upstream,
    ) -> (RequestBody, Option<Rc<Progress>>) {
        if body.is_end_stream() {
            return (RequestBody::Empty, None);
        }
        let deadline = self.watch.deadline();
        let (limit, reserved) = (self.body_bytes, self.reserved.clone());
        let patience = Patience {
            messages,
            stall: upstream.stall_ticks,
            unanswered: upstream.stall_ticks.max(upstream.response_ticks),
        };
        let (stream, progress) = RequestStream::new(body, expects, limit, reserved, deadline, patience);
        (RequestBody::Stream(stream), Some(progress))
    }
}

const CALLS: &[u8] = b"application/grpc";
const EVENTS: &[u8] = b"text/event-stream";

/// What an answer's body consists of. Events and messages may be far apart, and silence is no fault there: a server that
/// is gone is found by the system's keep-alive, and so is a client that left without a word; one that closed, by its wire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Messages of a call.
    Calls,
    Events,
    Plain,
}

impl Kind {
    fn of(headers: &HeaderMap) -> Self {
        match content_type(headers) {
            told if begins(told, EVENTS) => Self::Events,
            told if begins(told, CALLS) => Self::Calls,
            _ => Self::Plain,
        }
    }
}

/// Whether a request says that it is gRPC. What only begins like it (`application/grpc-web`) goes over
/// HTTP/1.1 too, and is not.
fn is_grpc(headers: &HeaderMap) -> bool {
    let told = content_type(headers);
    begins(told, CALLS) && matches!(told.get(CALLS.len()), None | Some(b'+' | b';'))
}

fn content_type(headers: &HeaderMap) -> &[u8] {
    headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default()
}

/// In any case.
fn begins(told: &[u8], with: &[u8]) -> bool {
    told.get(..with.len()).is_some_and(|told| told.eq_ignore_ascii_case(with))
}

fn connect_later(
    settings: &UpstreamSettings,
    watch: &Watch,
    health: &HealthBoard,
) -> Result<Rc<Upstream>, InvalidProxy> {
    let upstream = Upstream::new(settings, watch, health);
    upstream.map(Rc::new).map_err(|_| InvalidProxy::Host(settings.name.clone()))
}

/// The target in origin form. What is sent is what was judged, or nothing is.
fn judged_target(uri: &Uri, context: &Context) -> Result<Uri, ForwardError> {
    let judged = context.target.as_str();
    match uri.path_and_query() {
        Some(same) if same.as_str() == judged => Ok(same.clone().into()),
        _ => {
            let parsed = PathAndQuery::try_from(judged).ok().filter(|parsed| parsed.as_str() == judged);
            parsed.map(Uri::from).ok_or(ForwardError::BadRequest("its target"))
        }
    }
}

fn takes_from_query(route: &Route) -> bool {
    route.token_locations.elsewhere() && route.token_locations.has(TokenLocation::Query)
}

/// The target without the token in its query, where the route takes one from there.
fn without_token(route: &Route, context: &Context) -> Option<Result<Target, TargetFault>> {
    if takes_from_query(route) { context.target.without_parameter(PARAMETER) } else { None }
}

/// The target with another beginning. Decided was on the one that came, and so this reaches nothing that one could not.
fn rewritten_target(rewrite: &PathRewrite, target: &Target) -> Result<Uri, ForwardError> {
    let rewritten = target.rewritten(rewrite.strip(), rewrite.add())?;
    Ok(rewritten.path_and_query().clone().into())
}

/// Frames the request by its body alone. hyper tells the length where it is known; where it is not, it
/// would send a GET without its body, so the coding is named here.
fn frame_request(method: &Method, headers: &mut HeaderMap, body: &Incoming, told_length: bool) {
    if body.is_end_stream() {
        // Servers want the length of a POST told even when there is nothing.
        if told_length || [Method::POST, Method::PUT, Method::PATCH].contains(method) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
    } else if body.size_hint().exact().is_none() {
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    } else {
        // Trailers come with chunks alone.
        headers.remove(header::TRAILER);
    }
}

/// Where requests go (`upstreams.NAME` in the configuration).
///
/// Two are equal if they do the same, the certificates and keys that they were made of included.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpstreamSettings {
    /// Whether it is told who it is by a signed assertion as well.
    pub assertion: bool,
    /// How requests are spread over the servers.
    pub balance: Balance,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How the servers are checked; `None`: they are not.
    pub health: Option<HealthSettings>,
    /// What the server sees as `Host`.
    pub host: HostHeader,
    /// Whether HTTP/2 is spoken: if the server agrees over TLS, and without asking where there is none.
    pub http2: bool,
    /// How long an unused connection is kept, and a body may stand still.
    pub idle_timeout: Duration,
    /// Its name in routes, logs and metrics.
    pub name: String,
    /// How long the head of an answer may take.
    pub response_timeout: Duration,
    /// Its servers, at least one.
    pub servers: Vec<Server>,
    /// There if one of the servers is spoken to over TLS.
    pub tls: Option<Arc<UpstreamTls>>,
}

/// What the server sees as `Host`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HostHeader {
    /// This text.
    Literal(String),
    /// What the client asked for.
    Preserve,
    /// The server's own address.
    Upstream,
}

/// One server of an upstream: `http://host:port`, `https://host:port` or `unix:/path`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Server {
    /// By a network.
    Tcp {
        /// Name or address; an IPv6 address without brackets.
        host: String,
        /// Its port.
        port: u16,
        /// Whether over TLS.
        tls: bool,
    },
    /// By a socket on this machine.
    Unix(PathBuf),
}

impl Server {
    /// What a client of it says as `Host`.
    pub(crate) fn authority(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Tcp { host, port, tls } => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                match (port, tls) {
                    (80, false) | (443, true) => host,
                    (port, _) => format!("{host}:{port}"),
                }
            }
        }
    }
}

/// As in the configuration, the port included: the name by which its health is known.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { host, port, tls } => {
                let scheme = if *tls { "https" } else { "http" };
                match host.contains(':') {
                    true => write!(f, "{scheme}://[{host}]:{port}"),
                    false => write!(f, "{scheme}://{host}:{port}"),
                }
            }
        }
    }
}
