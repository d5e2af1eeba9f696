//! Active checks: one small request after the other to each server that an operator wants watched.
//!
//! A check goes the way that requests go, on a connection of its own: what it says about a server
//! includes that new connections can be made.
//!
//! Callers: `gateway`, once for each configuration.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::rt::{Read, Write};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::{HealthBoard, ServerHealth};
use crate::proxy::connect::Address;
use crate::proxy::form;
use crate::proxy::wire::Wire;
use crate::proxy::{HostHeader, UpstreamSettings};

/// How the servers of an upstream are watched (`upstreams.NAME.health`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HealthSettings {
    /// So many good checks in a row bring a server back.
    pub healthy_after: u32,
    /// From one check to the next.
    pub interval: Duration,
    /// What is asked for.
    pub path: PathAndQuery,
    /// So many bad checks in a row take a server out.
    pub unhealthy_after: u32,
}

/// Checks the servers of one configuration until it is dropped; a next configuration has a next `run`.
///
/// Servers that the configuration doesn't have are forgotten; what is known of the others holds on.
pub async fn run(board: HealthBoard, upstreams: Vec<UpstreamSettings>) {
    board.keep(&upstreams);
    let mut checks = JoinSet::new();
    for upstream in upstreams {
        let Some(settings) = upstream.health else { continue };
        // One that is listed twice gets two turns of requests, and has one health.
        let mut servers = Vec::new();
        for server in upstream.servers {
            if !servers.contains(&server) {
                servers.push(server);
            }
        }
        let count = u32::try_from(servers.len()).unwrap_or(u32::MAX).max(1);
        for (place, server) in (0_u32..).zip(servers) {
            let health = board.server(&upstream.name, &server.to_string());
            let host = match &upstream.host {
                HostHeader::Literal(host) => host.clone(),
                HostHeader::Preserve | HostHeader::Upstream => server.authority(),
            };
            // Configured hosts have been read as such; one that can't be said is a check that fails.
            let host = HeaderValue::try_from(host).ok();
            // The servers of an upstream take turns within an interval, and gateways that were started
            // together do not keep step.
            let first =
                settings.interval / count * place + settings.interval.mul_f64(random() / f64::from(count));
            let within = settings.interval.min(upstream.response_timeout);
            let address = Address::new(&server, upstream.tls.as_ref(), health.last_known());
            let http2 = upstream.http2;
            let watched = Watched { health, host, http2, address, settings: settings.clone(), within };
            checks.spawn(watch(watched, first));
        }
    }
    // None ends by itself; dropping the set ends them all.
    while let Some(ended) = checks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "the checks of a server have ended");
        }
    }
    std::future::pending().await
}

/// One server, and how it is asked.
struct Watched {
    health: Arc<ServerHealth>,
    host: Option<HeaderValue>,
    http2: bool,
    address: Address,
    settings: HealthSettings,
    within: Duration,
}

async fn watch(watched: Watched, first: Duration) {
    let mut turns = interval_at(Instant::now() + first, watched.settings.interval);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let outcome = match timeout(watched.within, check(&watched)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("no answer to its check within {:?}", watched.within)),
        };
        watched.health.checked(outcome, &watched.settings);
    }
}

/// Whether the server is well; the error says why not.
async fn check(watched: &Watched) -> Result<(), String> {
    let deadline = Instant::now() + watched.within;
    // Beside the check, for the next one: it is about the server, and not about the name service.
    drop(watched.address.look_up());
    let connected = watched.address.connect(false, deadline).await;
    let connected = connected.map_err(|error| format!("connecting: {error}"))?;
    let http2 = watched.http2 && (connected.agreed_http2 || !watched.address.is_tls());
    let stream = TokioIo::new(Wire::new(connected.socket));
    let status = ask(stream, http2, watched).await.map_err(|error| format!("its check failed: {error}"))?;
    match status.is_success() || status.is_redirection() {
        true => Ok(()),
        false => Err(format!("its check was answered with {}", status.as_u16())),
    }
}

async fn ask(
    stream: impl Read + Write + Send + Unpin + 'static,
    http2: bool,
    watched: &Watched,
) -> Result<StatusCode, Box<dyn std::error::Error + Send + Sync>> {
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = watched.settings.path.clone().into();
    let headers = request.headers_mut();
    headers.insert(header::HOST, watched.host.clone().ok_or("its host can't be said in a header")?);
    headers.insert(header::USER_AGENT, HeaderValue::from_static("foregate-health"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    if http2 {
        form::for_http2(&mut request, watched.address.scheme())?;
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
        return answered(sender.send_request(request), connection).await;
    }
    request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    let (mut sender, connection) = http1::handshake(stream).await?;
    answered(sender.send_request(request), connection).await
}

/// The answer's status, while the connection is driven. It says all: the connection is closed then, whatever is still to
/// come of the body.
async fn answered(
    answer: impl Future<Output = hyper::Result<Response<Incoming>>>,
    connection: impl Future,
) -> Result<StatusCode, Box<dyn std::error::Error + Send + Sync>> {
    tokio::pin!(answer);
    let answer = tokio::select! {
        answer = &mut answer => answer,
        // The connection is driven by being waited for. When it ends, what was asked has its outcome.
        _ = connection => answer.await,
    };
    Ok(answer?.status())
}

/// From 0 to 1.
fn random() -> f64 {
    let mut bytes = [0; 4];
    // Without random bytes the checks are less well spread, and that is all.
    let _ = getrandom::fill(&mut bytes);
    f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX)
}
