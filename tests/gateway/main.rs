//! The gateway as a black box: the real program, real sockets, real upstreams.
//!
//! Each file is one subject; `harness` starts programs and speaks to them, `edge` holds what the
//! files about the HTTP edge share. A test's name is the sentence that it proves.

mod decisions;
mod edge;
mod forwarding;
mod framing;
#[allow(dead_code, reason = "files of tests are added as their subjects are")]
mod harness;
mod headers;
mod limits;
mod subrequests;
mod targets;
