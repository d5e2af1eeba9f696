//! One request to one upstream: sent, waited for, and sent again where that can do no harm.
//!
//! A kept connection may turn out closed at the moment it is used. What hyper hands back was not
//! sent, so it goes out again on a new connection, once. What was sent into a connection that had been
//! used before goes out again too, once, if it has no body and repeating it changes nothing. What an
//! HTTP/2 server says it has not looked at goes out again, once, whatever it would have changed.
//!
//! Callers: `proxy`.

use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use http::{Method, Request, Response, header};
use hyper::body::Incoming;

use super::body::{BodyFault, Progress, RequestBody};
use super::error::ForwardError;
use super::form;
use super::pool::Lease;
use super::spare::Spare;
use super::streams;
use super::upstream::Upstream;
use super::watch::Watch;
use super::wire;

/// Sends `request` and waits for the head of the answer.
pub(crate) async fn exchange(
    upstream: &Upstream,
    watch: &Watch,
    mut request: Request<RequestBody>,
    progress: Option<&Rc<Progress>>,
    limit: Option<u64>,
) -> Result<(Response<Incoming>, Lease), ForwardError> {
    let mut resent = false;
    let to_upgrade = request.headers().contains_key(header::UPGRADE);
    let mut lease = upstream.lease().await.map_err(ForwardError::Connect)?;
    loop {
        if to_upgrade {
            lease = lease.able_to_upgrade().await.map_err(ForwardError::Connect)?;
        }
        if upstream.host_of_server {
            request.headers_mut().insert(header::HOST, lease.backend.authority.clone());
        }
        // Also where it was idle for no time at all: a server that closes after so many requests need not say so.
        let spare = is_spared(&lease, &request).then(|| Spare::of(&request, lease.backend.buffers()));
        if lease.is_http2()
            && let Some(progress) = progress
        {
            progress.keep();
        }
        match lease.is_http2() {
            true => form::for_http2(&mut request, lease.backend.scheme())
                .map_err(|_| ForwardError::BadRequest("its host"))?,
            false => form::for_http1(&mut request),
        }
        let (error, unsent) = match send(upstream, watch, &mut lease, request, progress).await {
            Ok(response) => {
                if let Some(progress) = progress {
                    progress.keep_no_longer();
                }
                return Ok((response, lease));
            }
            Err(Lost::Timeout) => {
                // The server may be gone without a word: others should not have to wait as long.
                lease.retire();
                return Err(ForwardError::Timeout);
            }
            Err(Lost::Failed(error, unsent)) => (error, unsent),
        };
        let refused = streams::is_refused(&error);
        if refused {
            lease.retire();
        }
        let again = match unsent {
            Some(unsent) if lease.reused => Some(*unsent),
            None if refused && !resent => spare.and_then(|spare| {
                let body = progress.map_or(Some(RequestBody::Empty), Progress::again)?;
                spare.restore(body)
            }),
            None if lease.reused && progress.is_none() && closed_unanswered(&error) => {
                let repeatable = spare.filter(|spare| is_repeatable(spare.method()));
                repeatable.and_then(|spare| spare.restore(RequestBody::Empty))
            }
            Some(_) | None => None,
        };
        let Some(again) = again else { return Err(failure(error, progress, limit)) };
        (request, resent) = (again, true);
        // A new connection counts as not used before, so this happens once.
        lease = upstream.fresh(lease).await.map_err(ForwardError::Connect)?;
    }
}

/// Why no answer came.
enum Lost {
    /// The connection failed; with the request, if it was not sent.
    Failed(hyper::Error, Option<Box<Request<RequestBody>>>),
    Timeout,
}

async fn send(
    upstream: &Upstream,
    watch: &Watch,
    lease: &mut Lease,
    request: Request<RequestBody>,
    progress: Option<&Rc<Progress>>,
) -> Result<Response<Incoming>, Lost> {
    let started = watch.now();
    let mut deadline = watch.deadline();
    let mut answer = pin!(lease.send(request));
    poll_fn(|cx| {
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(answer.map_err(|mut error| {
                let unsent = error.take_message();
                Lost::Failed(error.into_error(), unsent.map(Box::new))
            }));
        }
        // The server's time counts from the last it was sent; while the client has to send, it does not.
        let since = match progress {
            Some(progress) if progress.waiting.get() && !progress.done.get() => deadline.now(),
            Some(progress) => progress.touched.get().max(started),
            None => started,
        };
        deadline.poll(cx, since.saturating_add(upstream.response_ticks)).map(|()| Err(Lost::Timeout))
    })
    .await
}

/// Whether the head is kept: for what may go out again, or where a server may say that it did nothing
/// about a request.
fn is_spared(lease: &Lease, request: &Request<RequestBody>) -> bool {
    let empty = matches!(request.body(), RequestBody::Empty);
    lease.is_http2() || (lease.reused && empty && is_repeatable(request.method()))
}

/// Whether sending it twice changes no more than sending it once.
fn is_repeatable(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}

/// Whether the connection ended without an answer, as it does when the server closed it just then.
fn closed_unanswered(error: &hyper::Error) -> bool {
    let gone =
        || error.source().and_then(|cause| cause.downcast_ref::<io::Error>()).is_some_and(wire::is_gone);
    error.is_incomplete_message() || error.is_canceled() || error.is_closed() || gone()
}

/// A fault of the client's body shows up as a failure to send: the fault is what counts.
fn failure(error: hyper::Error, progress: Option<&Rc<Progress>>, limit: Option<u64>) -> ForwardError {
    match progress.and_then(|progress| progress.fault.get()) {
        Some(BodyFault::TooLarge) => ForwardError::BodyTooLarge { limit: limit.unwrap_or(u64::MAX) },
        Some(BodyFault::Stalled) => ForwardError::RequestStalled,
        Some(BodyFault::Abandoned | BodyFault::Client | BodyFault::Ended) => ForwardError::RequestBody(error),
        None => ForwardError::Upstream(error),
    }
}
