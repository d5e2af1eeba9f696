//! What one client can make us hold, as configured.
//!
//! Callers: `config` reads them; `gateway` hands each to the room that keeps it.

use std::time::Duration;

/// Bounds on requests and connections (`limits` in the configuration).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Bytes of a request's body that are forwarded at most; `None` for any.
    pub body_bytes: Option<u64>,
    /// Connections at once.
    pub connections: usize,
    /// Connections of one source at once (IPv6: a /64); `None` for any number.
    pub connections_per_ip: Option<usize>,
    /// How long running requests may take to finish once the stop was asked for.
    pub drain_timeout: Duration,
    /// Between "not ready" and the close of the listeners, for whoever balances the load to notice.
    pub drain_delay: Duration,
    /// Bytes of a request's head.
    pub header_bytes: usize,
    /// How long a request's head may take from its first byte.
    pub header_timeout: Duration,
    /// Header fields of one request.
    pub headers: usize,
    /// How long a connection may wait for its next request.
    pub idle_timeout: Duration,
}
