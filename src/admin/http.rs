//! The admin listener: `/metrics`, `/healthz` and `/readyz` over plain HTTP.
//!
//! For Prometheus and for load balancers, on an address of its own, which clients of the gateway
//! don't reach. It only tells; what changes something goes over the admin socket. It is open before
//! the first request is answered and closes last, so that a load balancer sees readiness turn while
//! what is running is finished.
//!
//! Callers: `cli` binds it and runs it beside the gateway.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::telemetry::metrics::{Exposition, Metrics};

/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 64;
/// How long a request's head may take, and so also the wait for the next one on a connection.
const HEAD_WAIT: Duration = Duration::from_secs(20);
/// How long a connection is kept; a request that is running by then is answered.
const LIFETIME: Duration = Duration::from_secs(60);
/// How long an answer may take to be read once its connection is to end.
const ENDING: Duration = Duration::from_secs(2);
/// After an accept that failed for want of something: descriptors, memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why new requests are not welcome.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotReady {
    /// The stop was asked for.
    Draining,
    /// The store can't be written.
    Store,
}

impl NotReady {
    fn as_str(self) -> &'static str {
        match self {
            Self::Draining => "draining\n",
            Self::Store => "store: it can't be written\n",
        }
    }
}

/// Why the address can't be listened on. The sentence is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum AdminListenError {
    /// Another program has it.
    #[error(
        "can't listen on {0} for metrics and health: another program has this port; stop it, or set `admin.listen` to another address"
    )]
    Taken(SocketAddr),
    /// The name has no address.
    #[error("can't listen on {0} for metrics and health: the name has no address here (`admin.listen`)")]
    Name(String, #[source] Option<io::Error>),
    /// Anything else.
    #[error("can't listen on {0} for metrics and health (`admin.listen`): {1}")]
    Other(SocketAddr, #[source] io::Error),
}

/// What is told.
#[derive(Clone)]
pub struct AdminSources {
    /// The figures.
    pub metrics: Metrics,
    /// Whether new requests are welcome.
    pub ready: Arc<dyn Fn() -> Result<(), NotReady> + Send + Sync>,
    /// What does not work and keeps requests welcome, a line for each.
    pub troubles: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
}

/// The bound listener. Nothing is answered before `run`.
#[derive(Debug)]
pub struct AdminHttp {
    addresses: Vec<SocketAddr>,
    listeners: Vec<TcpListener>,
}

impl AdminHttp {
    /// Binds every address of a name, or the one that it is.
    pub async fn bind(host: &str, port: u16) -> Result<Self, AdminListenError> {
        let name = |error| AdminListenError::Name(format!("{host}:{port}"), error);
        let found: Vec<SocketAddr> =
            lookup_host((host, port)).await.map_err(|error| name(Some(error)))?.collect();
        if found.is_empty() {
            return Err(name(None));
        }
        let (mut addresses, mut listeners) = (Vec::new(), Vec::new());
        for address in found {
            let explain = |error: io::Error| match error.kind() {
                io::ErrorKind::AddrInUse => AdminListenError::Taken(address),
                _ => AdminListenError::Other(address, error),
            };
            let listener = TcpListener::bind(address).await.map_err(explain)?;
            addresses.push(listener.local_addr().map_err(explain)?);
            listeners.push(listener);
        }
        Ok(Self { addresses, listeners })
    }

    /// What is listened on, with the port that the kernel chose where it was asked to.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Answers until `stop`; an answer that has begun by then is finished.
    pub async fn run(self, sources: AdminSources, stop: impl Future<Output = ()>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let (stopping, stopped) = watch::channel(());
        let mut accepting = JoinSet::new();
        for listener in self.listeners {
            accepting.spawn(accept(listener, sources.clone(), Arc::clone(&places), stopped.clone()));
        }
        stop.await;
        drop(stopping);
        while accepting.join_next().await.is_some() {}
    }
}

async fn accept(
    listener: TcpListener,
    sources: AdminSources,
    places: Arc<Semaphore>,
    mut stopped: watch::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            _ = stopped.changed() => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let (sources, stopped) = (sources.clone(), stopped.clone());
                connections.spawn(async move {
                    serve(stream, sources, stopped).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin listener accepts no connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Nobody new is answered, and each connection ends within its bound.
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve(stream: TcpStream, sources: AdminSources, mut stopped: watch::Receiver<()>) {
    let service = service_fn(|request| {
        let response = answer(&request, &sources);
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT)
        .max_headers(64)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Ok(ended),
        () = async { tokio::select! { () = sleep(LIFETIME) => {}, _ = stopped.changed() => {} } } => {
            connection.as_mut().graceful_shutdown();
            timeout(ENDING, connection).await
        }
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection to the admin listener ended early"),
        Err(_) => tracing::debug!("a connection to the admin listener was too slow"),
    }
}

fn answer<B>(request: &Request<B>, sources: &AdminSources) -> Response<Full<Bytes>> {
    const PLAIN: &str = "text/plain; charset=utf-8";
    let known = matches!(request.uri().path(), "/metrics" | "/healthz" | "/readyz");
    if known && !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "GET and HEAD alone\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => {
            let exposition = Exposition::accepted(&accept_field(request.headers()));
            text(StatusCode::OK, exposition.content_type(), sources.metrics.expose(exposition))
        }
        "/healthz" => text(StatusCode::OK, PLAIN, "ok\n"),
        "/readyz" => match (sources.ready)() {
            // Another issuer's outage is no reason to take this instance out: sessions and our own tokens go on, and
            // every other instance has the same trouble.
            Ok(()) => {
                let troubles = (sources.troubles)().into_iter().map(|line| line + "\n");
                text(
                    StatusCode::OK,
                    PLAIN,
                    std::iter::once("ok\n".to_owned()).chain(troubles).collect::<String>(),
                )
            }
            Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, PLAIN, reason.as_str()),
        },
        _ => text(StatusCode::NOT_FOUND, PLAIN, "expected /metrics, /healthz or /readyz\n"),
    }
}

/// All fields of that name as one, as RFC 9110 §5.3 reads them.
fn accept_field(headers: &HeaderMap) -> String {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.collect::<Vec<_>>().join(",")
}

fn text(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    const FIELDS: [(HeaderName, &str); 2] =
        [(CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in FIELDS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
