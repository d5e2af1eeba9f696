//! One thread: accepts, and takes each request through the rooms.
//!
//! Callers: `gateway`, once for each core.

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use http::header::ALLOW;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::task::LocalSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{serve, turn_away};
use super::slot::Slot;
use super::wire::{FAULT_METHOD, WireControl, WireTimeouts};
use super::{DRAIN, Rooms};
use crate::config::Config;
use crate::gate::{Decision, Permit, Refusal, Why};
use crate::portal::Place;
use crate::proxy::{Ended, ForwardError, InvalidProxy, Proxy, Tunnels, drain_refused};
use crate::request::head::HeadLimits;
use crate::request::target::TARGET_BYTES;
use crate::request::{Arrival, Context, RequestId, Scheme, TrustedProxies};
use crate::response::{Asker, Body, Problem, Prompt, REQUEST_ID};
use crate::subrequest::{Answered, Dialect, Subrequests};
use crate::telemetry::{AccessLine, AccessLog};

/// How long a proxied request waits for a Basic password to be hashed: as long as the queue has patience.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two hand-overs of the log.
const LOG_EVERY: Duration = Duration::from_millis(200);
/// After an accept that failed for want of something: descriptors, memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What one thread has for itself.
pub(super) struct Worker {
    access: AccessLog,
    pub(super) head_limits: HeadLimits,
    proxy: Proxy,
    rooms: Arc<Rooms>,
    subrequests: Subrequests,
    pub(super) timeouts: WireTimeouts,
    trusted: TrustedProxies,
}

/// The connections to upstreams of one thread.
pub(super) fn proxy(config: &Config, tunnels: Tunnels) -> Result<Proxy, InvalidProxy> {
    Proxy::new(&config.upstreams, Rooms::proxy_settings(config), tunnels)
}

/// Runs a thread until the stop, and then until what is running has finished or the bound is over.
pub(super) fn run(
    rooms: Arc<Rooms>,
    config: &Config,
    listeners: Vec<TcpListener>,
    stopping: CancellationToken,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "a thread of the gateway could not start");
            return stopping.cancel();
        }
    };
    LocalSet::new().block_on(&runtime, serve_all(rooms, config, listeners, stopping));
}

async fn serve_all(
    rooms: Arc<Rooms>,
    config: &Config,
    listeners: Vec<TcpListener>,
    stopping: CancellationToken,
) {
    let tunnels = Tunnels::new();
    let limits = &config.limits;
    let worker = Rc::new(Worker {
        access: AccessLog::new(rooms.access.clone()),
        head_limits: HeadLimits {
            head_bytes: limits.header_bytes,
            headers: limits.headers,
            target_bytes: TARGET_BYTES,
        },
        proxy: proxy(config, tunnels.clone()).expect("the same was built when the gateway was opened"),
        subrequests: Subrequests::new(
            Arc::clone(&rooms.gate),
            Arc::clone(&rooms.pages),
            rooms.public_url.clone(),
        ),
        rooms,
        timeouts: WireTimeouts { head: limits.header_timeout, idle: limits.idle_timeout },
        trusted: config.trusted_proxies.clone(),
    });
    let connections = TaskTracker::new();
    for listener in listeners {
        let accepting =
            accept(Rc::clone(&worker), listener, limits.connections, connections.clone(), stopping.clone());
        tokio::task::spawn_local(accepting);
    }
    let logging = tokio::task::spawn_local(hand_over_log(Rc::clone(&worker)));
    stopping.cancelled().await;
    connections.close();
    // Tunnels are told to go at once: they would never finish by themselves.
    let finished = async {
        tokio::join!(tunnels.end(), connections.wait());
    };
    if tokio::time::timeout(DRAIN, finished).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "requests that did not finish in time are broken off"
        );
    }
    logging.abort();
    worker.access.flush();
}

async fn hand_over_log(worker: Rc<Worker>) {
    loop {
        sleep(LOG_EVERY).await;
        worker.access.flush();
    }
}

async fn accept(
    worker: Rc<Worker>,
    listener: TcpListener,
    limit: usize,
    connections: TaskTracker,
    stopping: CancellationToken,
) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "a listening socket can't be used");
            return stopping.cancel();
        }
    };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopping.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                let Some(slot) = Slot::take(&worker.rooms, limit) else {
                    tracing::warn!(limit, "a connection was turned away: limits.connections is reached");
                    connections.spawn_local(turn_away(stream));
                    continue;
                };
                connections.spawn_local(serve(Rc::clone(&worker), stream, peer, slot, stopping.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Worker {
    /// Takes one request through the rooms.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        control: &WireControl,
    ) -> Response<Body> {
        let (started, now) = (Instant::now(), SystemTime::now());
        let (parts, body) = request.into_parts();
        if let Some(fault) = control.fault().filter(|_| parts.method.as_str() == FAULT_METHOD) {
            let problem = Problem::new(fault.status(), fault.code(), "Bad request", fault.public_message());
            return self.refuse_unsound(&parts, problem, peer, &fault);
        }
        let arrival = Arrival { now, peer: peer.ip(), scheme: Scheme::Http, trusted: &self.trusted };
        let context = match Context::new(&parts, &arrival) {
            Ok(context) => context,
            Err(fault) => {
                let problem =
                    Problem::new(fault.status(), fault.code(), "Bad request", fault.public_message());
                return self.refuse_unsound(&parts, problem, peer, &fault);
            }
        };
        warn_of_untrusted_proxy(&context, &parts.headers);
        let request = Request::from_parts(parts, body);
        let Answered { identity, mut response, route } = self.decide(&context, request).await;
        response.headers_mut().insert(REQUEST_ID, context.id.header_value().clone());
        self.access.write(
            now,
            &AccessLine {
                client: context.client,
                duration: started.elapsed(),
                host: &context.host.name,
                id: context.id.as_str(),
                method: context.method.as_str(),
                path: context.target.path(),
                route: route.as_deref().map(|route| &*route.name),
                status: response.status().as_u16(),
                user: identity.as_deref().map(|identity| identity.username.as_str()),
            },
        );
        response
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
                return Answered::from(self.refuse(&Refusal::Ambiguous, context, &request, &asker()));
            }
        }
        match self.rooms.gate.decide(context, request.headers(), PATIENCE).await {
            Ok(Decision::Allow(permit)) => self.forward(context, request, &permit).await,
            Ok(Decision::Refuse(refusal)) => {
                let response = self.refuse(&refusal, context, &request, &asker());
                // A client that sends all of its body before it reads would not see the answer otherwise.
                drain_refused(request);
                Answered { identity: refusal.identity().cloned(), response, route: refusal.route().cloned() }
            }
            Err(error) => {
                tracing::error!(%error, request.id = context.id.as_str(), "a request could not be decided");
                Answered::from(Problem::from(&error).respond(&asker(), &self.rooms.pages))
            }
        }
    }

    async fn forward(&self, context: &Context, request: Request<Incoming>, permit: &Permit) -> Answered {
        let asker = Asker::new(request.method(), request.headers(), context.id.header_value().clone());
        let ended = || -> Ended {
            match permit.identity() {
                Some(identity) => Box::pin(
                    Arc::clone(&self.rooms.authenticator).end_of(Arc::clone(identity), SystemTime::now),
                ),
                None => Box::pin(std::future::pending()),
            }
        };
        let response = match self.proxy.forward(request, context, permit, ended).await {
            Ok(response) => response,
            Err(error) => {
                self.log_failure(&error, context, permit);
                forward_problem(&error).respond(&asker, &self.rooms.pages)
            }
        };
        Answered { identity: permit.identity().cloned(), response, route: Some(Arc::clone(permit.route())) }
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
            Refusal::Challenge(challenge) if challenge.to_login => {
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
        peer: SocketAddr,
        fault: &dyn std::fmt::Display,
    ) -> Response<Body> {
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
        let source = std::error::Error::source(error).map(ToString::to_string);
        tracing::warn!(
            %error,
            cause = source.as_deref().unwrap_or("-"),
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

/// The answer to a request that was let through and not forwarded.
fn forward_problem(error: &ForwardError) -> Problem {
    match error {
        ForwardError::BadAnswer(_) | ForwardError::Connect(_) | ForwardError::Upstream(_) => {
            Problem::bad_gateway()
        }
        ForwardError::Timeout => Problem::gateway_timeout(),
        ForwardError::BodyTooLarge { .. } => Problem::too_large(),
        ForwardError::NoUpstream => Problem::not_found(),
        ForwardError::Identity(_) | ForwardError::UnknownRoute(_) => Problem::internal(),
        ForwardError::RequestStalled => Problem::request_timeout(),
        ForwardError::BadRequest(_) => Problem::bad_request("The request could not be read."),
        // Where its body ends, nobody knows: nothing behind it is read.
        ForwardError::RequestBody(_) => Problem::bad_request("The request could not be read.").closing(),
    }
}
