//! One request to one upstream: sent, waited for, and sent again where that can do no harm.
//!
//! Two things can happen once each. A kept connection may turn out closed at the moment it is used:
//! then the request goes out again on a new connection to the same server. And a server may fail: then
//! the request goes on to another one. Either way it is only a request of which nothing was sent, or one
//! without a body that changes nothing when repeated, or one of which an HTTP/2 server says that it has
//! not looked at it; and nothing of an answer was passed on.
//!
//! A request whose answer did not come in time is never sent again: whoever waits has waited enough,
//! and what made one server slow would make the next one slow. The time that a failed server took is
//! not given to the next one again.
//!
//! Callers: `proxy`.

use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::{Method, Request, Response, header};
use hyper::body::Incoming;

use super::body::{BodyFault, Progress, RequestBody};
use super::error::ForwardError;
use super::form;
use super::health::Failure;
use super::pool::Lease;
use super::spare::Spare;
use super::streams;
use super::upstream::{Chosen, Upstream};
use super::watch::Watch;
use super::wire;

/// So often a server may say that it has not looked at a request. One that ends each connection after
/// a number of requests does so to all that come too late, and again on a connection that many share.
const REFUSALS: u32 = 4;

/// Sends `request` and waits for the head of the answer.
pub(crate) async fn exchange(
    upstream: &Upstream,
    watch: &Watch,
    client: IpAddr,
    request: Box<Request<RequestBody>>,
    progress: Option<&Rc<Progress>>,
    limit: Option<u64>,
) -> Result<(Response<Incoming>, Lease), ForwardError> {
    let none_is_up = || ForwardError::NoHealthyServer {
        retry_after: upstream.check_interval.unwrap_or(Duration::from_secs(1)),
    };
    let chosen = upstream.choose(client, None).ok_or_else(none_is_up)?;
    let mut waited = 0;
    let first = attempt(upstream, watch, chosen, request, progress, limit, &mut waited, true).await;
    let failed = match first {
        Ok(answered) => return Ok(answered),
        Err(failed) => failed,
    };
    let Failed { chosen, error, unharmed: Some(request) } = failed else { return Err(failed.error) };
    let Some(other) = upstream.choose(client, Some(&chosen)) else { return Err(error) };
    chosen.flight.moved_on();
    tracing::debug!(
        upstream.name = upstream.settings.name,
        upstream.server = chosen.flight.server(),
        upstream.next = other.flight.server(),
        %error,
        "a request goes on to another server"
    );
    drop(chosen);
    // On a new connection: one that was closed meanwhile would make it one time more.
    let second = attempt(upstream, watch, other, request, progress, limit, &mut waited, false).await;
    second.map_err(|failed| failed.error)
}

/// No answer from one server.
struct Failed {
    chosen: Chosen,
    error: ForwardError,
    /// The request, if another server may have it.
    unharmed: Option<Box<Request<RequestBody>>>,
}

/// One server's turn. `waited` counts the ticks for which its answer was waited for; `reuse` is whether a kept connection will
/// do.
#[allow(clippy::too_many_arguments, reason = "what one turn needs, named")]
async fn attempt(
    upstream: &Upstream,
    watch: &Watch,
    chosen: Chosen,
    mut request: Box<Request<RequestBody>>,
    progress: Option<&Rc<Progress>>,
    limit: Option<u64>,
    waited: &mut u64,
    mut reuse: bool,
) -> Result<(Response<Incoming>, Lease), Failed> {
    let to_upgrade = request.headers().contains_key(header::UPGRADE);
    let mut refusals = 0;
    loop {
        let leased = match upstream.lease(&chosen, reuse).await {
            Ok(lease) if to_upgrade => lease.able_to_upgrade().await,
            leased => leased,
        };
        let mut lease = match leased {
            Ok(lease) => lease,
            Err(error) => {
                upstream.failed(&chosen, Failure::Connect);
                let error = ForwardError::Connect(error);
                return Err(Failed { chosen, error, unharmed: Some(request) });
            }
        };
        if upstream.host_of_server {
            request.headers_mut().insert(header::HOST, lease.backend.authority.clone());
        }
        // Also where it was idle for no time at all: a server that closes after so many requests need not say so.
        let spare =
            is_spared(upstream, &lease, &request).then(|| Spare::of(&request, lease.backend.buffers()));
        if let Some(progress) = progress {
            match lease.is_http2() {
                true => progress.begin_shared(),
                false => progress.begin_alone(),
            }
        }
        let formed = match lease.is_http2() {
            true => form::for_http2(&mut request, lease.backend.scheme()),
            false => {
                form::for_http1(&mut request);
                Ok(())
            }
        };
        if formed.is_err() {
            let error = ForwardError::BadRequest("its host");
            return Err(Failed { chosen, error, unharmed: None });
        }
        let began = watch.now();
        let sent = send(upstream, watch, &mut lease, request, progress, began.saturating_sub(*waited)).await;
        *waited += watch.now().saturating_sub(began);
        let (error, unsent) = match sent {
            Ok(response) => {
                if let Some(progress) = progress {
                    progress.answered();
                }
                chosen.flight.succeeded();
                lease.flight = Some(chosen.flight);
                return Ok((response, lease));
            }
            Err(Lost::Timeout) => {
                // The server may be gone without a word: others should not have to wait as long.
                lease.retire();
                upstream.failed(&chosen, Failure::Timeout);
                return Err(Failed { chosen, error: ForwardError::Timeout, unharmed: None });
            }
            Err(Lost::Failed(error, unsent)) => (error, unsent),
        };
        let refused = streams::is_refused(&error);
        if refused {
            lease.retire();
        }
        let broken = unsent.is_some() || closed_unanswered(&error);
        let unharmed = match unsent {
            Some(unsent) => Some(unsent),
            None if refused => spare.and_then(|spare| {
                let body = progress.map_or(Some(RequestBody::Empty), Progress::again)?;
                spare.restore(body).map(Box::new)
            }),
            None if broken && progress.is_none() => {
                let repeatable = spare.filter(|spare| is_repeatable(spare.method()));
                repeatable.and_then(|spare| spare.restore(RequestBody::Empty)).map(Box::new)
            }
            None => None,
        };
        match unharmed {
            // A new connection counts as not used before, so this happens once, and else by the server's word.
            Some(unharmed) if lease.reused || (refused && refusals < REFUSALS) => {
                refusals += u32::from(refused);
                (request, reuse) = (unharmed, false);
            }
            unharmed => {
                let of_the_client = progress.is_some_and(|progress| progress.fault.get().is_some());
                if !of_the_client {
                    // That a connection was closed which nobody used says nothing of the server.
                    let broken = broken && !lease.reused;
                    let failure = match broken {
                        true => Failure::Broken,
                        false if error.is_parse() => Failure::Garbage,
                        false => Failure::Other,
                    };
                    upstream.failed(&chosen, failure);
                }
                return Err(Failed { chosen, error: failure(error, progress, limit), unharmed });
            }
        }
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
    request: Box<Request<RequestBody>>,
    progress: Option<&Rc<Progress>>,
    started: u64,
) -> Result<Response<Incoming>, Lost> {
    let mut deadline = watch.deadline();
    let mut answer = pin!(lease.send(*request));
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
fn is_spared(upstream: &Upstream, lease: &Lease, request: &Request<RequestBody>) -> bool {
    let empty = matches!(request.body(), RequestBody::Empty);
    let repeatable = empty && is_repeatable(request.method());
    lease.is_http2() || (repeatable && (lease.reused || upstream.has_others()))
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
