//! One connection: what is spoken on it, the wire round its socket, hyper on the wire, and its end.
//!
//! An HTTP/1 connection that rests between two requests keeps its socket and little else: hyper is put
//! on it again when the next request comes.
//!
//! Callers: `gateway::worker`, once for each accepted socket.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
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
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::http2;
use super::opening::{Protocol, open};
use super::slot::{Slot, TurnedAway};
use super::stream::Stream;
use super::wire::{InFlight, Wire, WireControl};
use super::worker::Thread;
use crate::request::RequestId;
use crate::response::{Body, BodyError};

/// Room in hyper's buffers beside a head of the largest size, so that bodies move in large pieces.
const BUFFER: usize = 64 * 1024;

/// How long a connection above the limit may take to hear so.
const TURNING_AWAY: Duration = Duration::from_millis(500);

/// Tells a connection that there are too many. It has no slot; how many there are is bounded by `_turned_away`.
pub(super) async fn turn_away(mut stream: Stream, _turned_away: TurnedAway) {
    let id = RequestId::generate();
    let full = format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\
        cache-control: no-store\r\nx-request-id: {}\r\nconnection: close\r\n\r\n",
        id.as_str()
    );
    let telling = async {
        stream.write_all(full.as_bytes()).await?;
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
    peer: IpAddr,
    slot: Slot,
    stopping: CancellationToken,
    protocol: Protocol,
) {
    let (mut since, mut held) = (Instant::now(), Vec::new());
    // The limits of a connection are those under which it began.
    let (limits, timeouts) = thread.worker().connection_limits();
    let opened = tokio::select! {
        // In this order: a request that is there is answered, also when the stop has come.
        biased;
        opened = timeout(timeouts.head, open(&mut stream, protocol, &mut held)) => opened,
        () = stopping.cancelled() => return,
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
        return Box::pin(http2::serve(thread, stream, held, peer, slot, stopping)).await;
    }
    let control = Arc::new(WireControl::new(Some(slot)));
    let wire = Wire::new(stream, limits, timeouts, Arc::clone(&control)).holding(held, since);
    serve_http1(&thread, wire, &control, peer, stopping).await;
}

async fn serve_http1(
    thread: &Rc<Thread>,
    mut wire: Wire<Stream>,
    control: &Arc<WireControl>,
    peer: IpAddr,
    stopping: CancellationToken,
) {
    let (limits, timeouts) = (wire.limits(), wire.timeouts());
    loop {
        let service = service_fn(|request| {
            // A request keeps the rooms that it begins with.
            let (worker, control) = (thread.worker(), Arc::clone(control));
            async move {
                let in_flight = control.begin();
                let response = worker.answer(request, peer, control.fault()).await;
                control.answered(response.status());
                Ok::<_, Infallible>(response.map(|body| Answer { body, _in_flight: in_flight }))
            }
        });
        let connection = http1::Builder::new()
            // The wire keeps the time; hyper would need a timer for each request.
            .header_read_timeout(None)
            .max_headers(limits.headers)
            .max_buf_size(limits.head_bytes + BUFFER)
            .serve_connection(TokioIo::new(wire), service)
            .with_upgrades();
        // Boxed, so that a connection at rest does not hold the room for it.
        let mut connection = Box::new(connection);
        let ended = tokio::select! {
            // In this order, for nearly every turn is the connection's.
            biased;
            ended = connection.as_mut() => Some(ended),
            () = stopping.cancelled() => {
                Pin::new(&mut *connection).graceful_shutdown();
                Some(connection.as_mut().await)
            }
            () = control.rests() => None,
        };
        if let Some(ended) = ended {
            if let Err(error) = ended {
                // A client that went away, a limit that was over: nothing for the operator to do.
                tracing::debug!(%error, peer.address = %peer, "a connection ended early");
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
