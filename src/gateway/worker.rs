//! A request's way through the rooms, under one configuration.
//!
//! Callers: `gateway::connection` and `gateway::http2` for each request; `gateway::thread` makes one for each configuration.

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use http::header::{ALLOW, CONNECTION, LOCATION, STRICT_TRANSPORT_SECURITY};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use tracing::Level;

use super::http2::{Handshake, NoWebSocket, admit};
use super::listener::Purpose;
use super::rooms::Rooms;
use super::tls::{Client, Tls};
use super::wire::{FAULT_METHOD, WireFault, WireTimeouts};
use crate::gate::{Decision, Permit, Refusal, Why};
use crate::identity::Identity;
use crate::portal::Place;
use crate::proxy::{Ended, ForwardError, InvalidProxy, Proxy, Tunnels, drain_refused};
use crate::request::head::HeadLimits;
use crate::request::target::TARGET_BYTES;
use crate::request::{Arrival, Context, RequestId, Scheme};
use crate::response::texts::Text;
use crate::response::{Asker, Body, GRPC_STATUS, Problem, Prompt, REQUEST_ID};
use crate::route::Route;
use crate::subrequest::{Answered, Dialect, Subrequests};
use crate::telemetry::metrics::{Decided, NO_ROUTE, PORTAL, ThreadMetrics, UpstreamOutcome};
use crate::telemetry::{AccessLine, AccessLog, Ration};

/// How long a proxied request waits for a Basic password to be hashed: as long as the queue has patience.
const PATIENCE: Duration = Duration::from_secs(10);

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What nginx logs where the client has closed before there was an answer. No client sees it.
const CLIENT_CLOSED: u16 = 499;

static NOT_FORWARDED: Ration = Ration::new(Level::WARN, "a request was not forwarded");
static NO_WEBSOCKET: Ration = Ration::new(Level::WARN, "a WebSocket was not opened");
static UNSOUND: Ration = Ration::new(Level::INFO, "an unsound request was refused");

/// What one thread answers with under one configuration.
pub(super) struct Worker {
    access: AccessLog,
    pub(super) head_limits: HeadLimits,
    metrics: ThreadMetrics,
    proxy: Proxy,
    pub(super) rooms: Arc<Rooms>,
    subrequests: Subrequests,
    pub(super) timeouts: WireTimeouts,
}

/// The connections to upstreams of one thread.
pub(super) fn proxy(rooms: &Rooms, tunnels: Tunnels) -> Result<Proxy, InvalidProxy> {
    Proxy::new(&rooms.config.upstreams, rooms.proxy_settings(), tunnels, &rooms.process.health)
}

impl Worker {
    pub(super) fn new(rooms: &Arc<Rooms>, tunnels: Tunnels, access: AccessLog) -> Self {
        let proxy = proxy(rooms, tunnels).expect("the same was built when the configuration was taken");
        Self::with(rooms, proxy, access)
    }

    /// Under another configuration. Upstreams that are as they were keep their connections.
    pub(super) fn renewed(&self, rooms: &Arc<Rooms>) -> Self {
        let (settings, health) = (rooms.proxy_settings(), &rooms.process.health);
        let proxy = self.proxy.renewed(&rooms.config.upstreams, settings, health);
        let proxy = proxy.expect("the same was built when the configuration was taken");
        Self::with(rooms, proxy, self.access.clone())
    }

    fn with(rooms: &Arc<Rooms>, proxy: Proxy, access: AccessLog) -> Self {
        let limits = &rooms.config.limits;
        Self {
            access,
            head_limits: HeadLimits {
                head_bytes: limits.header_bytes,
                headers: limits.headers,
                target_bytes: TARGET_BYTES,
            },
            metrics: rooms.process.metrics.thread(),
            proxy,
            subrequests: Subrequests::new(
                Arc::clone(&rooms.gate),
                Arc::clone(&rooms.pages),
                rooms.config.public_url.clone(),
            ),
            timeouts: WireTimeouts { head: limits.header_timeout, idle: limits.idle_timeout },
            rooms: Arc::clone(rooms),
        }
    }

    /// With what connections of this purpose are greeted; `None` for plain HTTP.
    pub(super) fn tls_for(&self, purpose: Purpose) -> Option<&Arc<Tls>> {
        match purpose {
            Purpose::Redirect => None,
            Purpose::Serve => self.rooms.tls.as_ref(),
        }
    }

    /// Whether connections from this address begin with a PROXY header.
    pub(super) fn expects_proxy_header(&self, peer: IpAddr) -> bool {
        let config = &self.rooms.config;
        config.proxy_protocol && config.trusted_proxies.contains(peer)
    }

    /// What holds for a connection that begins now.
    pub(super) fn connection_limits(&self) -> (HeadLimits, WireTimeouts) {
        (self.head_limits, self.timeouts)
    }

    /// Takes one request through the rooms, or sends it to `public_url`. `fault` is why the connection can't go on, where
    /// it can't.
    ///
    /// The request is in a box, for it is handed on from call to call, and each would copy it into its own part of the
    /// connection's memory.
    pub(super) async fn answer(
        &self,
        request: Box<Request<Incoming>>,
        client: &Client,
        purpose: Purpose,
        fault: Option<WireFault>,
    ) -> Response<Body> {
        let mut response = self.take_through(request, client, purpose, fault).await;
        if client.scheme == Scheme::Https
            && let Some(hsts) = self.rooms.tls.as_ref().and_then(|tls| tls.hsts())
        {
            // An application that says more about itself is let.
            response.headers_mut().entry(STRICT_TRANSPORT_SECURITY).or_insert_with(|| hsts.clone());
        }
        response
    }

    async fn take_through(
        &self,
        mut request: Box<Request<Incoming>>,
        client: &Client,
        purpose: Purpose,
        fault: Option<WireFault>,
    ) -> Response<Body> {
        let (started, now) = (Instant::now(), SystemTime::now());
        let version = request.version();
        if let Some(fault) = fault.filter(|_| request.method().as_str() == FAULT_METHOD) {
            let problem = unsound(fault.status(), fault.code(), fault.public_message());
            return self.refuse_unsound(&request, problem, client.address, &fault, started);
        }
        let certificate = client.certificate(self.rooms.tls.as_ref(), now);
        let arrival = Arrival {
            certificate: certificate.as_ref(),
            now,
            peer: client.address,
            scheme: client.scheme,
            trusted: &self.rooms.config.trusted_proxies,
        };
        let described = admit(&mut request, &self.head_limits)
            .and_then(|handshake| Ok((Context::new(&request, &arrival)?, handshake)));
        let (context, handshake) = match described {
            Ok(described) => described,
            Err(fault) => {
                let problem = unsound(fault.status(), fault.code(), fault.public_message());
                return self.refuse_unsound(&request, problem, client.address, &fault, started);
            }
        };
        warn_of_untrusted_proxy(&context, request.headers());
        if let Some(handshake) = &handshake {
            handshake.put(&mut request);
        }
        let unanswered = Unanswered {
            context: &context,
            ended: false,
            now,
            permitted: Cell::new(None),
            started,
            version,
            worker: self,
        };
        let Answered { decided, identity, mut response, route } = match purpose {
            Purpose::Redirect => Answered::from(self.redirect(&context, &request)),
            Purpose::Serve => self.decide(&context, request, &unanswered.permitted).await,
        };
        if let Some(handshake) = &handshake {
            response = self.websocket(handshake, response, &context);
        }
        unanswered.end(&response, decided, route.as_deref(), identity.as_deref());
        response.headers_mut().insert(REQUEST_ID, context.id.header_value().clone());
        response
    }

    /// To the same target under `public_url`, whatever host was asked for.
    fn redirect(&self, context: &Context, request: &Request<Incoming>) -> Response<Body> {
        let asker = Asker::new(request.method(), request.headers(), context.id.header_value().clone());
        let to = format!("{}{}", self.rooms.config.public_url, context.target.as_str());
        // A target with a byte that no field holds was refused before.
        let Ok(to) = HeaderValue::try_from(to) else {
            return Problem::internal().respond(&asker, &self.rooms.pages);
        };
        let mut response = asker.text(StatusCode::PERMANENT_REDIRECT, "");
        response.headers_mut().insert(LOCATION, to);
        // What the client has to say next belongs elsewhere.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        response
    }

    /// The answer to a WebSocket over HTTP/2.
    fn websocket(
        &self,
        handshake: &Handshake,
        response: Response<Body>,
        context: &Context,
    ) -> Response<Body> {
        handshake.answer(response).unwrap_or_else(|fault| {
            if NO_WEBSOCKET.allows() {
                tracing::warn!(%fault, request.id = context.id.as_str(), "a WebSocket was not opened");
            }
            // What it asked for is JSON at most: a WebSocket shows no page.
            let asker = Asker::new(&context.method, &HeaderMap::new(), context.id.header_value().clone());
            let problem = match fault {
                NoWebSocket::Accept => Problem::bad_gateway(),
                NoWebSocket::Ordinary => Problem::new(
                    StatusCode::NOT_IMPLEMENTED,
                    "not_implemented",
                    Text::verbatim("No WebSocket here"),
                    Text::verbatim("There is no WebSocket at this address."),
                ),
            };
            problem.respond(&asker, &self.rooms.pages)
        })
    }

    /// A permit's route and identity are in `permitted` for as long as the request is at its upstream.
    async fn decide(
        &self,
        context: &Context,
        request: Box<Request<Incoming>>,
        permitted: &Cell<Option<Permitted>>,
    ) -> Answered {
        let asker = || Asker::new(request.method(), request.headers(), context.id.header_value().clone());
        match Place::of(&context.target, self.rooms.pages.prefix()) {
            Place::Elsewhere => {}
            Place::Ours(rest) => {
                return match Dialect::of(rest) {
                    Some(dialect) => self.subrequests.answer(dialect, context, request.headers()).await,
                    None => Answered::from(Box::pin(self.rooms.portal.handle(context, *request)).await),
                };
            }
            Place::Ambiguous => {
                let refusal = Refusal::Ambiguous;
                let response = self.refuse(&refusal, context, &request, &asker());
                return Answered { decided: Some(refusal.decided()), ..Answered::from(response) };
            }
        }
        // From here on it is not a question of another proxy, which reads the status alone.
        let asker = || asker().for_calls(request.method(), request.headers());
        match self.rooms.gate.decide(context, request.headers(), PATIENCE).await {
            Ok(Decision::Allow(permit)) if let Some(endpoint) = permit.route().token_endpoint => {
                let response = Box::pin(self.rooms.portal.handle_token(endpoint, context, *request)).await;
                let route = Some(Arc::clone(permit.route()));
                Answered { decided: Some(Decided::Allow), identity: None, response, route }
            }
            Ok(Decision::Allow(permit)) => {
                permitted.set(Some((Arc::clone(permit.route()), permit.identity().cloned())));
                let response = self.forward(context, request, &permit).await;
                let (route, identity) = permitted.take().unzip();
                Answered { decided: Some(Decided::Allow), identity: identity.flatten(), response, route }
            }
            Ok(Decision::Refuse(refusal)) => {
                let response = self.refuse(&refusal, context, &request, &asker());
                // A client that sends all of its body before it reads would not see the answer otherwise.
                drain_refused(*request);
                Answered {
                    decided: Some(refusal.decided()),
                    identity: refusal.identity().cloned(),
                    response,
                    route: refusal.route().cloned(),
                }
            }
            Err(error) => {
                tracing::error!(%error, request.id = context.id.as_str(), "a request could not be decided");
                let response = Problem::from(&error).respond(&asker(), &self.rooms.pages);
                Answered { decided: Some(Decided::Error), ..Answered::from(response) }
            }
        }
    }

    async fn forward(
        &self,
        context: &Context,
        request: Box<Request<Incoming>>,
        permit: &Permit,
    ) -> Response<Body> {
        let asker = Asker::new(request.method(), request.headers(), context.id.header_value().clone())
            .for_calls(request.method(), request.headers());
        let ended = || -> Ended {
            match permit.identity() {
                Some(identity) => Box::pin(
                    Arc::clone(&self.rooms.authenticator).end_of(Arc::clone(identity), SystemTime::now),
                ),
                None => Box::pin(std::future::pending()),
            }
        };
        let forwarded = self.proxy.forward(request, context, permit, ended).await;
        if let (Some(upstream), Some(outcome)) = (&permit.route().upstream, upstream_outcome(&forwarded)) {
            self.metrics.upstream(upstream, outcome);
        }
        match forwarded {
            Ok(response) => response,
            Err(error) => {
                if NOT_FORWARDED.allows() {
                    self.log_failure(&error, context, permit);
                }
                forward_problem(&error).respond(&asker, &self.rooms.pages)
            }
        }
    }

    fn refuse(
        &self,
        refusal: &Refusal,
        context: &Context,
        request: &Request<Incoming>,
        asker: &Asker,
    ) -> Response<Body> {
        // Only a navigation says where the person wants to go; a script or an image never does.
        let next = context.navigates(request.headers()).then(|| refusal.way_back(&context.target));
        let next = next.as_deref();
        let pages = &self.rooms.pages;
        match refusal {
            Refusal::Challenge(challenge) if challenge.to_login && !asker.calls() => {
                let prompt = match challenge.why {
                    Why::Stale { .. } => Some(Prompt::Login),
                    Why::Absent | Why::BadBasic | Why::BadToken(_) => None,
                };
                asker.see_login(pages, next, prompt)
            }
            Refusal::NotFound
                if let Some(response) = self.rooms.portal.well_known(context, request.headers(), asker) =>
            {
                response
            }
            Refusal::Ambiguous => {
                refusal.problem(&context.host.to_string(), next).closing().respond(asker, pages)
            }
            Refusal::Challenge(_)
            | Refusal::CrossSite { .. }
            | Refusal::Forbid { .. }
            | Refusal::Limited { .. }
            | Refusal::NotFound => refusal.problem(&context.host.to_string(), next).respond(asker, pages),
        }
    }

    fn refuse_unsound(
        &self,
        request: &Request<Incoming>,
        problem: Problem,
        peer: IpAddr,
        fault: &dyn std::fmt::Display,
        started: Instant,
    ) -> Response<Body> {
        self.metrics.unsound(problem.code);
        self.metrics.answered(NO_ROUTE, problem.status.as_u16(), started.elapsed());
        let id = RequestId::generate();
        if UNSOUND.allows() {
            tracing::info!(%fault, peer.address = %peer, request.id = id.as_str(), "an unsound request was refused");
        }
        let asker = Asker::new(request.method(), request.headers(), id.header_value().clone());
        let problem = match problem.status {
            StatusCode::METHOD_NOT_ALLOWED => problem
                .with_header(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")),
            _ => problem,
        };
        problem.closing().respond(&asker, &self.rooms.pages)
    }

    fn log_failure(&self, error: &ForwardError, context: &Context, permit: &Permit) {
        // To the last: hyper's own words for a failure name no cause.
        let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
        let cause = causes.map(ToString::to_string).reduce(|all, next| match all.ends_with(&next) {
            true => all,
            false => format!("{all}: {next}"),
        });
        tracing::warn!(
            %error,
            cause = cause.as_deref().unwrap_or("-"),
            request.id = context.id.as_str(),
            route.name = &*permit.route().name,
            upstream.name = permit.route().upstream.as_deref().unwrap_or("-"),
            "a request was not forwarded"
        );
    }
}

/// What the gate has let through: by which route, and whom.
type Permitted = (Arc<Route>, Option<Arc<Identity>>);

/// A request without an answer. Where it ends before there is one, because its client has gone or the stop could wait no
/// longer, it is told and counted all the same: what it changed at its upstream is changed.
struct Unanswered<'r> {
    context: &'r Context,
    ended: bool,
    now: SystemTime,
    permitted: Cell<Option<Permitted>>,
    started: Instant,
    version: Version,
    worker: &'r Worker,
}

impl Unanswered<'_> {
    fn end(
        mut self,
        response: &Response<Body>,
        decided: Option<Decided>,
        route: Option<&Route>,
        identity: Option<&Identity>,
    ) {
        self.ended = true;
        let grpc_status = response.headers().get(GRPC_STATUS).and_then(|status| status.to_str().ok());
        let counted_as = match (route, decided) {
            (Some(route), _) => &*route.name,
            (None, Some(_)) => NO_ROUTE,
            (None, None) => PORTAL,
        };
        self.tell(response.status().as_u16(), grpc_status, counted_as, decided, route, identity);
    }

    fn tell(
        &self,
        status: u16,
        grpc_status: Option<&str>,
        counted_as: &str,
        decided: Option<Decided>,
        route: Option<&Route>,
        identity: Option<&Identity>,
    ) {
        let Self { context, now, started, version, worker, .. } = self;
        let duration = started.elapsed();
        worker.metrics.answered(counted_as, status, duration);
        if let Some(decided) = decided {
            worker.rooms.process.metrics.decided(decided);
        }
        worker.access.write(
            *now,
            &AccessLine {
                client: context.client,
                duration,
                grpc_status,
                host: &context.host.name,
                id: context.id.as_str(),
                method: context.method.as_str(),
                path: context.target.path(),
                route: route.map(|route| &*route.name),
                status,
                user: identity.map(|identity| identity.username.as_str()),
                version: match *version {
                    Version::HTTP_2 => "2",
                    Version::HTTP_10 => "1.0",
                    _ => "1.1",
                },
            },
        );
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // A panic is ours and not the client's.
        let status = if std::thread::panicking() { 500 } else { CLIENT_CLOSED };
        match self.permitted.take() {
            Some((route, identity)) => {
                let name = &*route.name;
                self.tell(status, None, name, Some(Decided::Allow), Some(&route), identity.as_deref());
            }
            // The gate has not decided yet, or was not asked.
            None => {
                let counted_as = match Place::of(&self.context.target, self.worker.rooms.pages.prefix()) {
                    Place::Ours(_) => PORTAL,
                    Place::Ambiguous | Place::Elsewhere => NO_ROUTE,
                };
                self.tell(status, None, counted_as, None, None, None);
            }
        }
    }
}

/// Says once that a proxy in front seems not to be trusted: all of its clients are one source then.
fn warn_of_untrusted_proxy(context: &Context, headers: &HeaderMap) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if !context.peer_trusted
        && !TOLD.load(Ordering::Relaxed)
        && headers.contains_key(X_FORWARDED_FOR)
        && !TOLD.swap(true, Ordering::Relaxed)
    {
        tracing::warn!(
            peer.address = %context.peer,
            "X-Forwarded-For from a peer that is not among trusted_proxies is ignored; if it is your proxy, list it there"
        );
    }
}

/// What is counted of an upstream; nothing where the fault is not its own.
fn upstream_outcome<T>(forwarded: &Result<T, ForwardError>) -> Option<UpstreamOutcome> {
    match forwarded {
        Ok(_) => Some(UpstreamOutcome::Answered),
        Err(ForwardError::Connect(_)) => Some(UpstreamOutcome::Unreachable),
        Err(ForwardError::NoHealthyServer { .. }) => Some(UpstreamOutcome::Unhealthy),
        Err(ForwardError::Timeout) => Some(UpstreamOutcome::TimedOut),
        Err(ForwardError::BadAnswer(_) | ForwardError::Upstream(_)) => Some(UpstreamOutcome::Failed),
        Err(
            ForwardError::BadRequest(_)
            | ForwardError::BodyTooLarge { .. }
            | ForwardError::Identity(_)
            | ForwardError::NoUpstream
            | ForwardError::RequestBody(_)
            | ForwardError::RequestStalled
            | ForwardError::Rewrite(_)
            | ForwardError::UnknownRoute(_),
        ) => None,
    }
}

/// A request that breaks a rule of the protocol.
fn unsound(status: StatusCode, code: &'static str, rule: Text) -> Problem {
    Problem::new(status, code, Text::new("problem-bad-request-title"), rule)
}

/// The answer to a request that was let through and not forwarded.
fn forward_problem(error: &ForwardError) -> Problem {
    match error {
        ForwardError::BadAnswer(_) | ForwardError::Connect(_) | ForwardError::Upstream(_) => {
            Problem::bad_gateway()
        }
        ForwardError::NoHealthyServer { retry_after } => Problem::no_server(*retry_after),
        ForwardError::Timeout => Problem::gateway_timeout(),
        ForwardError::BodyTooLarge { .. } => Problem::too_large(),
        ForwardError::NoUpstream => Problem::not_found(),
        ForwardError::Identity(_) | ForwardError::UnknownRoute(_) => Problem::internal(),
        ForwardError::RequestStalled => Problem::request_timeout(),
        ForwardError::Rewrite(fault) => unsound(fault.status(), fault.code(), fault.public_message()),
        ForwardError::BadRequest(_) => Problem::bad_request(Text::new("problem-unreadable")),
        // Where its body ends, nobody knows: nothing behind it is read.
        ForwardError::RequestBody(_) => Problem::bad_request(Text::new("problem-unreadable")).closing(),
    }
}
