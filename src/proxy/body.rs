//! Bodies on their way through: counted, watched for standing still, never gathered.
//!
//! Neither direction has a task of its own. Back pressure is hyper's: a frame is asked for when the
//! other side has room, and time in which nobody asks counts against nobody here. What clients send is
//! in `proxy/body/request.rs`, what servers send in `proxy/body/response.rs`.
//!
//! Callers: `proxy` and `proxy::exchange`; `proxy::pool` and `proxy::streams` break requests off.

use std::task::Poll;

use bytes::Bytes;
use http_body::Frame;

use crate::response::BodyError;

mod request;
mod response;

pub use request::drain_refused;
pub(crate) use request::{Patience, Progress, RequestBody, RequestStream, beginning, sent_by};
pub(crate) use response::ResponseBody;

type Polled = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

/// Why a body was cut off.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum BodyFault {
    /// The answer ended, or nobody wants it any more, before the request had been sent.
    #[error("the rest of the request is not wanted")]
    Abandoned,
    /// The session or token that opened the stream has ended.
    #[error("the stream's credential ended")]
    Ended,
    /// The client broke off or framed its body badly.
    #[error("the client broke off")]
    Client,
    /// Nothing came for too long.
    #[error("the body stood still")]
    Stalled,
    /// It is longer than it may be.
    #[error("the body is too large")]
    TooLarge,
}
