//! Forwarding what the gate let through: choose a server, stream both ways, answer for its failures.
//!
//! `forward` takes a `Permit`, and only the gate makes one. Headers are put in order in
//! `proxy/headers.rs`; connections to servers are kept in `proxy/pool.rs`; an upgraded connection
//! is carried by `proxy/upgrade.rs`.
//!
//! Callers: `gateway`. Nothing here knows who may pass.

use std::time::Duration;

use http::HeaderName;

pub mod headers;

/// Where requests go (`upstreams.NAME` in the configuration).
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// What the server sees as `Host`.
    pub host: HostHeader,
    /// How long an unused connection is kept, and a body may stand still.
    pub idle_timeout: Duration,
    /// Its name in routes, logs and metrics.
    pub name: String,
    /// How long the head of an answer may take.
    pub response_timeout: Duration,
    /// Its servers, at least one; used in turn.
    pub servers: Vec<Server>,
}

/// What the server sees as `Host`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HostHeader {
    /// This text.
    Literal(String),
    /// What the client asked for.
    Preserve,
    /// The server's own address.
    Upstream,
}

/// One server of an upstream: `http://host:port`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Server {
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// One identity header: its name and what it says, such as `{username}` or `user:{email}`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IdentityHeader {
    /// The name as configured.
    pub name: HeaderName,
    /// Text and placeholders.
    pub template: Template,
}

/// Text with `{username}`, `{email}`, `{name}` and `{roles}` in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template(pub Vec<TemplatePart>);

/// A piece of a template.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TemplatePart {
    /// `{email}`, empty without one.
    Email,
    /// `{name}`.
    Name,
    /// `{roles}`, separated by commas.
    Roles,
    /// Itself.
    Text(String),
    /// `{username}`.
    Username,
}
