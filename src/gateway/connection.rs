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
use http_body::{Frame, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::listener::Purpose;
use super::slot::{Slot, TurnedAway};
use super::stream::Stream;
use super::tls::{self, Client, Greeting};
use super::wire::{InFlight, Wire, WireControl};
use super::worker::Thread;
use crate::request::RequestId;
use crate::response::{Body, BodyError};

/// Room in hyper's buffers beside a head of the largest size, so that bodies move in large pieces.
const BUFFER: usize = 64 * 1024;

/// How long a connection above the limit may take to hear so.
const TURNING_AWAY: Duration = Duration::from_millis(500);

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

/// Speaks TLS with a connection where it is to be spoken, and serves it. A Unix socket is plain: what is in front of
/// it ends TLS.
pub(super) async fn greet_and_serve(
    thread: Rc<Thread>,
    stream: Stream,
    address: IpAddr,
    purpose: Purpose,
    slot: Slot,
) {
    let worker = thread.worker();
    let (stream, client) = match (worker.tls_for(purpose).cloned(), stream) {
        (Some(tls), Stream::Tcp(stream)) => {
            let patience = worker.timeouts.head;
            drop(worker);
            match tls::greet(tls, stream, address, &thread.handshakes, patience).await {
                Greeting::Established(stream, client) => (Stream::Tls(stream), client),
                Greeting::Plain(stream) => return tell(Stream::Tcp(stream), PLAIN_REQUEST).await,
                Greeting::Failed => return,
            }
        }
        (_, stream) => (stream, Client::plain(address)),
    };
    let stopping = thread.stopping.clone();
    serve(thread, stream, client, purpose, slot, stopping).await;
}

/// Serves a connection to its end, or until the stop: then the request that is running is finished.
async fn serve(
    thread: Rc<Thread>,
    stream: Stream,
    client: Client,
    purpose: Purpose,
    slot: Slot,
    stopping: CancellationToken,
) {
    let client = Rc::new(client);
    let peer = client.address;
    let control = Arc::new(WireControl::new(Some(slot)));
    // The limits of a connection are those under which it began.
    let worker = thread.worker();
    let wire = Wire::new(stream, worker.head_limits, worker.timeouts, Arc::clone(&control));
    let service = service_fn(|request| {
        // A request keeps the rooms that it begins with.
        let (worker, client, control) = (thread.worker(), Rc::clone(&client), Arc::clone(&control));
        async move {
            let in_flight = control.begin();
            let response = worker.answer(request, &client, purpose, &control).await;
            control.answered(response.status());
            Ok::<_, Infallible>(response.map(|body| Answer { body, _in_flight: in_flight }))
        }
    });
    let connection = http1::Builder::new()
        // The wire keeps the time; hyper would need a timer for each request.
        .header_read_timeout(None)
        .max_headers(worker.head_limits.headers)
        .max_buf_size(worker.head_limits.head_bytes + BUFFER)
        .serve_connection(TokioIo::new(wire), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        // In this order, for nearly every turn is the connection's.
        biased;
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // A client that went away, a limit that was over: nothing for the operator to do.
        tracing::debug!(%error, peer.address = %peer, "a connection ended early");
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
