//! Why a request was not forwarded, for two readers: the log, and the client.
//!
//! Callers: `proxy` and its parts make them; `gateway` logs and answers them.

use std::io;
use std::time::Duration;

use http::StatusCode;

use crate::request::target::RewriteFault;
use crate::route::identity_headers::InvalidIdentity;

/// Why a request got no answer from its upstream.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The server's answer can't be passed on: framed in two ways, or an upgrade nobody asked for.
    #[error("the upstream's answer is not sound: {0}")]
    BadAnswer(&'static str),
    /// A field's value that can't be sent on, or a target that is not the one that was judged.
    #[error("the request can't be sent on: {0}")]
    BadRequest(&'static str),
    /// The request's body is longer than `limits.body`.
    #[error("the request's body is larger than {limit} bytes")]
    BodyTooLarge {
        /// The limit.
        limit: u64,
    },
    /// No server of the upstream can be reached; the last failure.
    #[error("connecting to the upstream")]
    Connect(#[source] io::Error),
    /// The identity can't be said in a header.
    #[error("the identity headers can't be set")]
    Identity(#[from] InvalidIdentity),
    /// The checks say that every server is down.
    #[error("no server of the upstream is healthy")]
    NoHealthyServer {
        /// When the next checks are through.
        retry_after: Duration,
    },
    /// The route goes to no upstream: it is for sub-requests alone.
    #[error("the route has no upstream")]
    NoUpstream,
    /// The client broke off in the middle of its body, or framed it badly.
    #[error("reading the request's body")]
    RequestBody(#[source] hyper::Error),
    /// The client's body stood still for too long.
    #[error("the request's body stood still")]
    RequestStalled,
    /// The target can't be given the beginning that the route says.
    #[error(transparent)]
    Rewrite(#[from] RewriteFault),
    /// The head of the answer did not come in time.
    #[error("the upstream did not answer in time")]
    Timeout,
    /// The route was not known when this proxy was built.
    #[error("the route was not known when the proxy was built: {0}")]
    UnknownRoute(&'static str),
    /// The connection failed before the answer was there.
    #[error("talking to the upstream")]
    Upstream(#[source] hyper::Error),
}

impl ForwardError {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadAnswer(_) | Self::Connect(_) | Self::Upstream(_) => StatusCode::BAD_GATEWAY,
            Self::BadRequest(_) | Self::RequestBody(_) => StatusCode::BAD_REQUEST,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Identity(_) | Self::UnknownRoute(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NoHealthyServer { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoUpstream => StatusCode::NOT_FOUND,
            Self::RequestStalled => StatusCode::REQUEST_TIMEOUT,
            Self::Rewrite(fault) => fault.status(),
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// A stable word for problem details.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadAnswer(_) | Self::Upstream(_) => "upstream_failed",
            Self::BadRequest(_) | Self::RequestBody(_) => "bad_request",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::Connect(_) => "upstream_unreachable",
            Self::Identity(_) | Self::UnknownRoute(_) => "internal",
            Self::NoHealthyServer { .. } => "no_healthy_upstream",
            Self::NoUpstream => "not_found",
            Self::RequestStalled => "request_timeout",
            Self::Rewrite(fault) => fault.code(),
            Self::Timeout => "upstream_timeout",
        }
    }
}
