//! `/healthz` and `/readyz`: whether we live, and whether new requests are welcome.
//!
//! Callers: the portal's dispatch. The same on the listener for metrics is `admin`'s.

use http::{Response, StatusCode};

use super::operation::answer::Answer;
use super::operation::{Credential, Description, Offered};
use super::{Portal, Visit};
use crate::response::Body;

pub(super) const HEALTHY: Description = Description {
    about: "Whether this process answers.",
    answers: &[Answer::text(StatusCode::OK, "`ok`.")],
    body: None,
    credential: Credential::None,
    id: "healthy",
    offered: Offered::Always,
    query: &[],
};

pub(super) const READY: Description = Description {
    about: "Whether new requests are welcome: it is not draining, and the store works.",
    answers: &[
        Answer::text(StatusCode::OK, "`ok`."),
        Answer::text(StatusCode::SERVICE_UNAVAILABLE, "`not ready`."),
    ],
    body: None,
    credential: Credential::None,
    id: "ready",
    offered: Offered::Always,
    query: &[],
};

pub(super) fn healthy(visit: &Visit<'_>) -> Response<Body> {
    visit.asker.text(StatusCode::OK, "ok")
}

pub(super) fn ready(portal: &Portal, visit: &Visit<'_>) -> Response<Body> {
    match (portal.ready)() {
        true => visit.asker.text(StatusCode::OK, "ok"),
        false => visit.asker.text(StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    }
}
