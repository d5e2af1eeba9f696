//! One connection: the wire round its socket, hyper on the wire, and its end.
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
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::listener::Purpose;
use super::proxy_protocol::{self, HeaderFault};
use super::slot::{Slot, TurnedAway};
use super::stream::Stream;
use super::tls::{self, Client, Greeting, Tls};
use super::wire::{InFlight, Wire, WireControl};
use super::worker::Thread;
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
    let (head_limits, timeouts, tls, expects_header) = {
        let worker = thread.worker();
        let tls = worker.tls_for(purpose).cloned();
        (worker.head_limits, worker.timeouts, tls, worker.expects_proxy_header(peer))
    };
    if expects_header {
        // In a box, for every connection has room for what is awaited here, also where the protocol is off.
        match Box::pin(introduced(&thread, &mut stream, peer, timeouts.head, &stopping)).await {
            Some(source) if thread.counts_to(&mut slot, source) => peer = source,
            Some(_) | None => return,
        }
    }
    let client = match tls {
        Some(tls) => match Box::pin(greeted(&thread, tls, stream, peer, timeouts.head)).await {
            Some((greeted, client)) => {
                stream = greeted;
                client
            }
            None => return,
        },
        None => Client::plain(peer),
    };
    let client = Rc::new(client);
    let control = Arc::new(WireControl::new(Some(slot)));
    let wire = Wire::new(stream, head_limits, timeouts, Arc::clone(&control));
    let service = service_fn(|request| {
        // A request keeps the rooms that it begins with.
        let (thread, worker) = (Rc::clone(&thread), thread.worker());
        let (client, control) = (Rc::clone(&client), Arc::clone(&control));
        async move {
            let in_flight = control.begin();
            let mut response = worker.answer(request, &client, purpose, &control).await;
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
        .max_headers(head_limits.headers)
        .max_buf_size(head_limits.head_bytes + BUFFER)
        .serve_connection(TokioIo::new(wire), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        // In this order, for nearly every turn is the connection's.
        biased;
        ended = connection.as_mut() => ended,
        () = last_moment(&stopping, &control) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // A client that went away, a limit that was over: nothing for the operator to do.
        tracing::debug!(%error, peer.address = %peer, "a connection ended early");
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
    match tls::greet(tls, stream, peer, &thread.handshakes, limit).await {
        Greeting::Established(stream, client) => Some((Stream::Tls(stream), client)),
        Greeting::Plain(stream) => {
            tell(Stream::Tcp(stream), PLAIN_REQUEST).await;
            None
        }
        Greeting::Failed => None,
    }
}

/// Done when the stop has been asked for, and a client that has just connected has had the time to ask for something.
async fn last_moment(stopping: &CancellationToken, control: &WireControl) {
    stopping.cancelled().await;
    if !control.has_begun() {
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
