//! One thread: accepts, and takes each request through the rooms.
//!
//! Callers: `gateway`, once for each core.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use http::header::{ALLOW, CONNECTION, LOCATION, STRICT_TRANSPORT_SECURITY};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{serve, turn_away};
use super::http2::{Handshake, NoWebSocket, admit};
use super::listener::{Door, Purpose};
use super::rooms::{Process, Rooms};
use super::slot::{ConnectionLimits, Slot};
use super::stream::{Acceptor, Stream};
use super::tls::{Client, Handshakes, Tls};
use super::wire::{FAULT_METHOD, WireFault, WireTimeouts};
use crate::gate::{Decision, Permit, Refusal, Why};
use crate::portal::Place;
use crate::proxy::{Ended, ForwardError, InvalidProxy, Proxy, Tunnels, drain_refused};
use crate::request::head::HeadLimits;
use crate::request::target::TARGET_BYTES;
use crate::request::{Arrival, Context, RequestId, Scheme};
use crate::response::{Asker, Body, GRPC_STATUS, Problem, Prompt, REQUEST_ID};
use crate::subrequest::{Answered, Dialect, Subrequests};
use crate::telemetry::metrics::{Decided, Metrics, NO_ROUTE, PORTAL, ThreadMetrics, UpstreamOutcome};
use crate::telemetry::{AccessLine, AccessLog};

/// How long a proxied request waits for a Basic password to be hashed: as long as the queue has patience.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two hand-overs of the log.
const LOG_EVERY: Duration = Duration::from_millis(200);
/// After an accept that failed for want of something: descriptors, memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Marks what a door is called between the threads and who opens and closes them.
pub(super) type DoorId = u64;

/// What a thread is told from outside.
pub(super) enum Message {
    Change(Change),
    /// Answered by a thread that turns.
    Ping(oneshot::Sender<()>),
}

/// Other rooms, and other sockets to listen on.
pub(super) struct Change {
    pub(super) close: Vec<DoorId>,
    /// Told once this thread has taken it.
    pub(super) done: oneshot::Sender<()>,
    pub(super) open: Vec<(DoorId, Purpose, Door)>,
    pub(super) rooms: Arc<Rooms>,
}

/// After a door was closed to newcomers: connections that had begun by then come to their end, or to us.
const LAST_CALL: Duration = Duration::from_millis(100);

/// What one thread has for itself, under whatever configuration.
pub(super) struct Thread {
    access: AccessLog,
    connections: TaskTracker,
    doors: RefCell<HashMap<DoorId, CancellationToken>>,
    pub(super) handshakes: Handshakes,
    process: Arc<Process>,
    stopping: CancellationToken,
    tunnels: Tunnels,
    worker: RefCell<Rc<Worker>>,
}

/// What one thread answers with under one configuration.
pub(super) struct Worker {
    access: AccessLog,
    pub(super) head_limits: HeadLimits,
    metrics: ThreadMetrics,
    proxy: Proxy,
    rooms: Arc<Rooms>,
    subrequests: Subrequests,
    pub(super) timeouts: WireTimeouts,
}

/// The connections to upstreams of one thread.
pub(super) fn proxy(rooms: &Rooms, tunnels: Tunnels) -> Result<Proxy, InvalidProxy> {
    Proxy::new(&rooms.config.upstreams, rooms.proxy_settings(), tunnels, &rooms.process.health)
}

/// Runs a thread until the stop, and then until what is running has finished or the bound is over.
pub(super) fn run(messages: UnboundedReceiver<Message>, stopping: CancellationToken) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "a thread of the gateway could not start");
            return stopping.cancel();
        }
    };
    LocalSet::new().block_on(&runtime, serve_all(messages, stopping));
}

async fn serve_all(mut messages: UnboundedReceiver<Message>, stopping: CancellationToken) {
    // Without its rooms there is nothing to turn for.
    let first = loop {
        match messages.recv().await {
            Some(Message::Change(first)) => break first,
            Some(Message::Ping(_)) => {}
            None => return,
        }
    };
    let thread = Thread::new(&first.rooms, stopping.clone());
    thread.take(first);
    let logging = tokio::task::spawn_local(hand_over_log(Rc::clone(&thread)));
    loop {
        tokio::select! {
            Some(message) = messages.recv() => match message {
                Message::Change(change) => thread.take(change),
                Message::Ping(answer) => drop(answer.send(())),
            },
            () = stopping.cancelled() => break,
        }
    }
    let mut drained = std::pin::pin!(thread.drain());
    loop {
        tokio::select! {
            () = &mut drained => break,
            Some(message) = messages.recv() => match message {
                // Too late: who waits for it sees that nobody will answer.
                Message::Change(_) => {}
                Message::Ping(answer) => drop(answer.send(())),
            },
        }
    }
    logging.abort();
    thread.access.flush();
}

async fn hand_over_log(thread: Rc<Thread>) {
    loop {
        sleep(LOG_EVERY).await;
        thread.access.flush();
    }
}

impl Thread {
    fn new(rooms: &Arc<Rooms>, stopping: CancellationToken) -> Rc<Self> {
        let tunnels = Tunnels::counted(rooms.process.metrics.clone());
        let access = AccessLog::new(rooms.process.access.clone());
        Rc::new(Self {
            connections: TaskTracker::new(),
            doors: RefCell::default(),
            handshakes: Handshakes::new(most_handshakes(rooms)),
            process: Arc::clone(&rooms.process),
            stopping,
            worker: RefCell::new(Rc::new(Worker::new(rooms, tunnels.clone(), access.clone()))),
            access,
            tunnels,
        })
    }

    /// What answers from now on.
    pub(super) fn worker(&self) -> Rc<Worker> {
        Rc::clone(&self.worker.borrow())
    }

    /// Whether whoever asks again had better ask somebody else.
    pub(super) fn is_draining(&self) -> bool {
        self.process.draining.load(Ordering::Relaxed)
    }

    /// What connections are counted by.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.process.metrics
    }

    /// Counts a connection to the source that its proxy names. `false` where that one has as many as it may.
    pub(super) fn counts_to(&self, slot: &mut Slot, source: IpAddr) -> bool {
        let worker = self.worker();
        let config = &worker.rooms.config;
        config.trusted_proxies.contains(source) || slot.moved_to(source, ConnectionLimits::of(&config.limits))
    }

    fn take(self: &Rc<Self>, change: Change) {
        let worker = self.worker().renewed(&change.rooms);
        *self.worker.borrow_mut() = Rc::new(worker);
        self.handshakes.limit(most_handshakes(&change.rooms));
        for (id, purpose, door) in change.open {
            let closing = self.stopping.child_token();
            self.doors.borrow_mut().insert(id, closing.clone());
            self.connections.spawn_local(accept(Rc::clone(self), door, purpose, closing));
        }
        for id in change.close {
            if let Some(closing) = self.doors.borrow_mut().remove(&id) {
                closing.cancel();
            }
        }
        // Who waits for it may have gone.
        let _ = change.done.send(());
    }

    /// After the stop: what is running finishes, within the bound.
    async fn drain(&self) {
        // Tunnels are told to go at once: they would never finish by themselves.
        let finished = async {
            self.connections.close();
            tokio::join!(self.tunnels.end(), self.connections.wait());
        };
        let bound = self.worker().rooms.config.limits.drain_timeout;
        if timeout(bound, finished).await.is_err() {
            tracing::warn!(
                connections = self.connections.len(),
                "requests that did not finish in time are broken off"
            );
        }
    }

    fn begin(self: &Rc<Self>, stream: Stream, peer: IpAddr, purpose: Purpose) {
        let (worker, open) = (self.worker(), &self.process.connections);
        let config = &worker.rooms.config;
        let trusted = config.trusted_proxies.contains(peer);
        let slot = match Slot::take(open, peer, trusted, ConnectionLimits::of(&config.limits)) {
            Ok(slot) => slot,
            Err(full) => {
                if let Some(count) = open.refused() {
                    tracing::warn!(count, peer.address = %peer, "connections were turned away: {full}");
                }
                if let Some(turned_away) = open.turn_away() {
                    let over_tls = worker.tls_for(purpose).is_some();
                    self.connections.spawn_local(turn_away(stream, turned_away, over_tls));
                }
                return;
            }
        };
        let stopping = self.stopping.clone();
        self.connections.spawn_local(serve(Rc::clone(self), stream, peer, purpose, slot, stopping));
    }
}

/// Clients that don't finish their handshakes leave three quarters of the connections to all others.
fn most_handshakes(rooms: &Rooms) -> usize {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (rooms.config.limits.connections / 4 / threads).max(16)
}

/// Accepts until the door closes, and then what the kernel had taken for it by that time: that would be reset with the
/// socket.
async fn accept(thread: Rc<Thread>, door: Door, purpose: Purpose, closing: CancellationToken) {
    let inherited = door.inherited;
    let acceptor = match Acceptor::new(door) {
        Ok(acceptor) => acceptor,
        Err(error) => {
            tracing::error!(%error, "a listening socket can't be used");
            return thread.stopping.cancel();
        }
    };
    tokio::select! {
        // In this order, for a flood of connections must not keep a door open.
        biased;
        () = closing.cancelled() => {}
        () = accept_all(&thread, &acceptor, purpose) => {}
    }
    // The queue of an inherited socket stays, for the process that comes after this one.
    if !inherited {
        acceptor.stop_new();
        let _ = timeout(LAST_CALL, accept_all(&thread, &acceptor, purpose)).await;
    }
}

/// Accepts. Never ends.
async fn accept_all(thread: &Rc<Thread>, acceptor: &Acceptor, purpose: Purpose) {
    loop {
        match acceptor.accept().await {
            Ok((stream, peer)) => thread.begin(stream, peer, purpose),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Worker {
    fn new(rooms: &Arc<Rooms>, tunnels: Tunnels, access: AccessLog) -> Self {
        let proxy = proxy(rooms, tunnels).expect("the same was built when the configuration was taken");
        Self::with(rooms, proxy, access)
    }

    /// Under another configuration. Upstreams that are as they were keep their connections.
    fn renewed(&self, rooms: &Arc<Rooms>) -> Self {
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
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
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
        request: Request<Incoming>,
        client: &Client,
        purpose: Purpose,
        fault: Option<WireFault>,
    ) -> Response<Body> {
        let (started, now) = (Instant::now(), SystemTime::now());
        let (mut parts, body) = request.into_parts();
        let version = parts.version;
        if let Some(fault) = fault.filter(|_| parts.method.as_str() == FAULT_METHOD) {
            let problem = Problem::new(fault.status(), fault.code(), "Bad request", fault.public_message());
            return self.refuse_unsound(&parts, problem, client.address, &fault, started);
        }
        let certificate = client.certificate(self.rooms.tls.as_ref(), now);
        let arrival = Arrival {
            certificate: certificate.as_ref(),
            now,
            peer: client.address,
            scheme: client.scheme,
            trusted: &self.rooms.config.trusted_proxies,
        };
        let described = admit(&mut parts, &self.head_limits)
            .and_then(|handshake| Ok((Context::new(&parts, &arrival)?, handshake)));
        let (context, handshake) = match described {
            Ok(described) => described,
            Err(fault) => {
                let problem =
                    Problem::new(fault.status(), fault.code(), "Bad request", fault.public_message());
                return self.refuse_unsound(&parts, problem, client.address, &fault, started);
            }
        };
        warn_of_untrusted_proxy(&context, &parts.headers);
        if let Some(handshake) = &handshake {
            handshake.put(&mut parts);
        }
        let request = Request::from_parts(parts, body);
        let Answered { decided, identity, mut response, route } = match purpose {
            Purpose::Redirect => Answered::from(self.redirect(&context, &request)),
            Purpose::Serve => self.decide(&context, request).await,
        };
        if let Some(handshake) = &handshake {
            response = self.websocket(handshake, response, &context);
        }
        let duration = started.elapsed();
        let counted_as = match (&route, decided) {
            (Some(route), _) => &*route.name,
            (None, Some(_)) => NO_ROUTE,
            (None, None) => PORTAL,
        };
        self.metrics.answered(counted_as, response.status().as_u16(), duration);
        if let Some(decided) = decided {
            self.rooms.process.metrics.decided(decided);
        }
        response.headers_mut().insert(REQUEST_ID, context.id.header_value().clone());
        self.access.write(
            now,
            &AccessLine {
                client: context.client,
                duration,
                grpc_status: response.headers().get(GRPC_STATUS).and_then(|status| status.to_str().ok()),
                host: &context.host.name,
                id: context.id.as_str(),
                method: context.method.as_str(),
                path: context.target.path(),
                route: route.as_deref().map(|route| &*route.name),
                status: response.status().as_u16(),
                user: identity.as_deref().map(|identity| identity.username.as_str()),
                version: match version {
                    Version::HTTP_2 => "2",
                    Version::HTTP_10 => "1.0",
                    _ => "1.1",
                },
            },
        );
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
            tracing::warn!(%fault, request.id = context.id.as_str(), "a WebSocket was not opened");
            // What it asked for is JSON at most: a WebSocket shows no page.
            let asker = Asker::new(&context.method, &HeaderMap::new(), context.id.header_value().clone());
            let problem = match fault {
                NoWebSocket::Accept => Problem::bad_gateway(),
                NoWebSocket::Ordinary => Problem::new(
                    StatusCode::NOT_IMPLEMENTED,
                    "not_implemented",
                    "No WebSocket here",
                    "There is no WebSocket at this address.",
                ),
            };
            problem.respond(&asker, &self.rooms.pages)
        })
    }

    async fn decide(&self, context: &Context, request: Request<Incoming>) -> Answered {
        let asker = || Asker::new(request.method(), request.headers(), context.id.header_value().clone());
        match Place::of(&context.target, self.rooms.pages.prefix()) {
            Place::Elsewhere => {}
            Place::Ours(rest) => {
                return match Dialect::of(rest) {
                    Some(dialect) => self.subrequests.answer(dialect, context, request.headers()).await,
                    None => Answered::from(self.rooms.portal.handle(context, request).await),
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
            Ok(Decision::Allow(permit)) => self.forward(context, request, &permit).await,
            Ok(Decision::Refuse(refusal)) => {
                let response = self.refuse(&refusal, context, &request, &asker());
                // A client that sends all of its body before it reads would not see the answer otherwise.
                drain_refused(request);
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

    async fn forward(&self, context: &Context, request: Request<Incoming>, permit: &Permit) -> Answered {
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
        let response = match forwarded {
            Ok(response) => response,
            Err(error) => {
                self.log_failure(&error, context, permit);
                forward_problem(&error).respond(&asker, &self.rooms.pages)
            }
        };
        Answered {
            decided: Some(Decided::Allow),
            identity: permit.identity().cloned(),
            response,
            route: Some(Arc::clone(permit.route())),
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
        let next = context.navigates(request.headers()).then(|| context.target.as_str());
        let pages = &self.rooms.pages;
        match refusal {
            Refusal::Challenge(challenge) if challenge.to_login && !asker.calls() => {
                let prompt = match challenge.why {
                    Why::Stale { .. } => Some(Prompt::Login),
                    Why::Absent | Why::Rejected(_) => None,
                };
                asker.see_login(pages, next, prompt)
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
        parts: &http::request::Parts,
        problem: Problem,
        peer: IpAddr,
        fault: &dyn std::fmt::Display,
        started: Instant,
    ) -> Response<Body> {
        self.metrics.unsound(problem.code);
        self.metrics.answered(NO_ROUTE, problem.status.as_u16(), started.elapsed());
        let id = RequestId::generate();
        tracing::info!(%fault, peer.address = %peer, request.id = id.as_str(), "an unsound request was refused");
        let asker = Asker::new(&parts.method, &parts.headers, id.header_value().clone());
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

/// Says once that a proxy in front seems not to be trusted: all of its clients are one source then.
fn warn_of_untrusted_proxy(context: &Context, headers: &HeaderMap) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if !context.peer_trusted
        && !TOLD.load(Ordering::Relaxed)
        && headers.contains_key("x-forwarded-for")
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
        ForwardError::Rewrite(fault) => {
            Problem::new(fault.status(), fault.code(), "Bad request", fault.public_message())
        }
        ForwardError::BadRequest(_) => Problem::bad_request("The request could not be read."),
        // Where its body ends, nobody knows: nothing behind it is read.
        ForwardError::RequestBody(_) => Problem::bad_request("The request could not be read.").closing(),
    }
}
