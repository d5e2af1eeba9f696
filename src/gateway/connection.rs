//! One connection: what is spoken on it, the wire round its socket, hyper on the wire, and its end.
//!
//! An HTTP/1 connection that rests between two requests keeps its socket and little else: hyper is put
//! on it again when the next request comes.
//!
//! Callers: `gateway::worker`, once for each accepted socket.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, StatusCode};
use http_body::{Frame, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::http2;
use super::listener::Purpose;
use super::opening::{Protocol, open};
use super::proxy_protocol::{self, HeaderFault};
use super::rarely::Rarely;
use super::slot::{Slot, TurnedAway};
use super::stream::Stream;
use super::thread::Thread;
use super::tls::{self, Client, Greeting, Tls};
use super::wire::{InFlight, Wire, WireControl};
use crate::request::RequestId;
use crate::response::{Body, BodyError};
use crate::telemetry::metrics::ConnectionRefused;

/// Room in hyper's buffers beside a head of the largest size, so that bodies move in large pieces.
const BUFFER: usize = 64 * 1024;

/// How long a connection above the limit may take to hear so.
const TURNING_AWAY: Duration = Duration::from_millis(500);

/// How long a connection that has sent no request yet may still do so after the stop: its client has had no answer, and
/// would take the close for an error.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// Tells a connection that there are too many. It has no slot; how many there are is bounded by `_turned_away`.
pub(super) async fn turn_away(stream: Stream, _turned_away: TurnedAway, over_tls: bool) {
    if over_tls && matches!(stream, Stream::Tcp(_)) {
        // A handshake is what there is too much of.
        return tell(stream, &tls::ALERT).await;
    }
    let id = RequestId::generate();
    let full = format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\
        cache-control: no-store\r\nx-request-id: {}\r\nconnection: close\r\n\r\n",
        id.as_str()
    );
    tell(stream, full.as_bytes()).await;
}

/// To who sent a plain request to a port that speaks TLS.
const PLAIN_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 42\r\ncache-control: no-store\r\nconnection: close\r\n\r\n\
    This port speaks TLS: ask it with https.\r\n";

/// The last words on a connection, and its end.
async fn tell(mut stream: Stream, words: &[u8]) {
    let telling = async {
        stream.write_all(words).await?;
        stream.shutdown().await?;
        // Closed with its request unread, the connection would be reset and the answer with it.
        let mut request = [0; 1024];
        while stream.read(&mut request).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = timeout(TURNING_AWAY, telling).await;
}

/// Serves a connection to its end, or until the stop: then the request that is running is finished.
pub(super) async fn serve(
    thread: Rc<Thread>,
    mut stream: Stream,
    mut peer: IpAddr,
    purpose: Purpose,
    mut slot: Slot,
    stopping: CancellationToken,
) {
    // The limits of a connection are those under which it began. Nothing else of its worker is kept: a connection that lives
    // for days would hold all the rooms of a configuration that is long gone.
    let (limits, timeouts, tls, expects_header) = {
        let worker = thread.worker();
        let (limits, timeouts) = worker.connection_limits();
        (limits, timeouts, worker.tls_for(purpose).cloned(), worker.expects_proxy_header(peer))
    };
    if expects_header {
        // In a box, for every connection has room for what is awaited here, also where the protocol is off.
        match Box::pin(introduced(&thread, &mut stream, peer, timeouts.head, &stopping)).await {
            Some(source) if thread.counts_to(&mut slot, source) => peer = source,
            Some(_) | None => return,
        }
    }
    let (client, protocol) = match tls {
        Some(tls) => match Box::pin(greeted(&thread, tls, stream, peer, timeouts.head)).await {
            Some((greeted, client)) => {
                let protocol = greeted.agreed();
                stream = greeted;
                (client, protocol)
            }
            None => return,
        },
        None => (Client::plain(peer), Protocol::Sniff),
    };
    let client = Rc::new(client);
    let (mut since, mut held) = (Instant::now(), Vec::new());
    let opened = tokio::select! {
        // In this order: a request that is there is answered, also when the stop has come.
        biased;
        opened = timeout(timeouts.head, open(&mut stream, protocol, &mut held)) => opened,
        () = last_moment(&stopping, || false) => return,
    };
    let protocol = match opened {
        Ok(Ok(Some(protocol))) => {
            since = Instant::now();
            protocol
        }
        // A head that began like the preface, and has had its time.
        Err(_) if !held.is_empty() => Protocol::Http1,
        // Gone, or silent, or broken: there is nobody to tell.
        Ok(Ok(None) | Err(_)) | Err(_) => return,
    };
    if protocol == Protocol::Http2 {
        // Boxed, so that a connection of HTTP/1 does not hold the room for it.
        return Box::pin(http2::serve(thread, stream, held, client, purpose, slot, stopping)).await;
    }
    let control = Arc::new(WireControl::new(Some(slot)));
    let wire = Wire::new(stream, limits, timeouts, Arc::clone(&control)).holding(held, since);
    serve_http1(&thread, wire, &control, &client, purpose, stopping).await;
}

/// What happens to a connection beside its requests.
enum Beside {
    Rest,
    Stop,
}

async fn serve_http1(
    thread: &Rc<Thread>,
    mut wire: Wire<Stream>,
    control: &Arc<WireControl>,
    client: &Rc<Client>,
    purpose: Purpose,
    stopping: CancellationToken,
) {
    let (limits, timeouts) = (wire.limits(), wire.timeouts());
    loop {
        let service = service_fn(|request| {
            // A request keeps the rooms that it begins with.
            let (thread, worker) = (Rc::clone(thread), thread.worker());
            let (client, control) = (Rc::clone(client), Arc::clone(control));
            async move {
                let in_flight = control.begin();
                let mut response = worker.answer(Box::new(request), &client, purpose, control.fault()).await;
                // hyper closes a connection that says so.
                if thread.is_draining() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                control.answered(response.status());
                Ok::<_, Infallible>(response.map(|body| Answer { body, _in_flight: in_flight }))
            }
        });
        let connection = http1::Builder::new()
            // The wire keeps the time; hyper would need a timer for each request.
            .header_read_timeout(None)
            // The wire sees a client leave.
            .half_close(true)
            .max_headers(limits.headers)
            .max_buf_size(limits.head_bytes + BUFFER)
            .serve_connection(TokioIo::new(wire), service)
            .with_upgrades();
        // Boxed, so that a connection at rest does not hold the room for it.
        let mut connection = Box::new(connection);
        let beside = pin!(async {
            tokio::select! {
                () = last_moment(&stopping, || control.has_begun()) => Beside::Stop,
                () = control.rests() => Beside::Rest,
            }
        });
        let ended = tokio::select! {
            // In this order, for nearly every turn is the connection's.
            biased;
            ended = connection.as_mut() => Some(ended),
            beside = Rarely::new(beside) => match beside {
                Beside::Stop => {
                    Pin::new(&mut *connection).graceful_shutdown();
                    Some(connection.as_mut().await)
                }
                Beside::Rest => None,
            },
        };
        if let Some(ended) = ended {
            if let Err(error) = ended {
                // A client that went away, a limit that was over: nothing for the operator to do.
                tracing::debug!(%error, peer.address = %client.address, "a connection ended early");
            }
            return;
        }
        // hyper's buffers are given back until the next request comes.
        let Some(parts) = connection.into_parts() else { return };
        wire = parts.io.into_inner();
        wire.give_back(&parts.read_buf);
        let woken = tokio::select! {
            biased;
            woken = timeout_at(control.idle_since() + timeouts.idle, wire.rest()) => woken,
            () = stopping.cancelled() => Ok(Ok(false)),
        };
        if !matches!(woken, Ok(Ok(true))) {
            let _ = wire.shutdown().await;
            return;
        }
    }
}

/// Speaks TLS with a connection where it is to be spoken. A Unix socket is plain: what is in front of it ends TLS.
async fn greeted(
    thread: &Thread,
    tls: Arc<Tls>,
    stream: Stream,
    peer: IpAddr,
    limit: Duration,
) -> Option<(Stream, Client)> {
    let Stream::Tcp(stream) = stream else { return Some((stream, Client::plain(peer))) };
    match tls::greet(tls, stream, peer, thread, limit).await {
        Greeting::Established(stream, client) => Some((Stream::Tls(stream), client)),
        Greeting::Plain(stream) => {
            tell(Stream::Tcp(stream), PLAIN_REQUEST).await;
            None
        }
        Greeting::Gone | Greeting::Failed => None,
    }
}

/// Done when the stop has been asked for, and a client that has just connected has had the time to ask for something.
async fn last_moment(stopping: &CancellationToken, has_begun: impl Fn() -> bool) {
    stopping.cancelled().await;
    if !has_begun() {
        // In a box: all connections have room for this, and it comes once in their life.
        Box::pin(sleep(FIRST_REQUEST)).await;
    }
}

/// Takes the PROXY header off a connection that begins with one, and gives the address that it speaks of; `None` where the
/// connection is to be closed. What follows in `stream` is HTTP or TLS, from its first byte on.
pub(super) async fn introduced(
    thread: &Thread,
    stream: &mut Stream,
    peer: IpAddr,
    limit: Duration,
    stopping: &CancellationToken,
) -> Option<IpAddr> {
    let too_late = async {
        stopping.cancelled().await;
        sleep(FIRST_REQUEST).await;
    };
    let read = tokio::select! {
        read = proxy_protocol::read(stream, limit) => read,
        () = too_late => return None,
    };
    match read {
        Ok(source) => Some(source.unwrap_or(peer)),
        Err(fault) => {
            if !matches!(fault, HeaderFault::Empty) {
                thread.metrics().connection_refused(ConnectionRefused::ProxyHeader);
            }
            proxy_protocol::tell(&fault, peer);
            None
        }
    }
}

/// The body of an answer, which says when it has ended.
struct Answer {
    body: Body,
    _in_flight: InFlight,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
