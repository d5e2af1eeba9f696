//! Routes: which request belongs to which policy and which upstream.
//!
//! A route is host, path and method on one side; policy, credentials and upstream on the other. The
//! first that matches decides. The table is built once from the configuration and only read after.
//!
//! Callers: `config` parses routes into it, `gate` looks up, `proxy` and `subrequest` read the route
//! that a permit names. Who may pass is `policy`'s; what a target's readings are is `request`'s.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::Method;

use crate::identity::{Credential, TokenErrors, TokenLocations};
use crate::policy::Policy;

mod edits;
pub mod identity_headers;
mod pattern;
mod table;

pub use edits::{HeaderEdit, PathRewrite};
pub use identity_headers::IdentityHeaders;
pub use pattern::{InvalidHostPattern, InvalidPathPattern};
pub use table::{Mismatch, Table};

/// One rule of the configuration, already parsed.
#[derive(Clone, Debug)]
pub struct Route {
    /// Which of the credentials count here; the order in the file is of no account.
    pub credentials: BTreeSet<Credential>,
    /// Whether unsafe requests from another site are refused, where a browser is let in by what it sends by itself.
    pub csrf: bool,
    /// Whether the client's `Authorization` goes on to the upstream as it came.
    pub forward_authorization: bool,
    /// Fields that are set on the forwarded request, or removed from it.
    pub headers: Vec<HeaderEdit>,
    /// For which hosts; `None` for any.
    pub host: Option<HostPattern>,
    /// What the application is told of who it is: the route's own map, or the one for all.
    pub identity_headers: Arc<IdentityHeaders>,
    /// For which methods; `None` for any.
    pub methods: Option<Vec<Method>>,
    /// Shown by `explain`, logs and metrics. The path where the configuration names none.
    pub name: Arc<str>,
    /// For which paths.
    pub path: PathPattern,
    /// Who may pass.
    pub policy: Policy,
    /// Fields that are set on the upstream's answers, or removed from them.
    pub response_headers: Vec<HeaderEdit>,
    /// How the path begins for the upstream; `None`: as it came.
    pub rewrite: Option<PathRewrite>,
    /// Which endpoint for tokens of ours answers here, in place of an upstream.
    pub token_endpoint: Option<TokenEndpoint>,
    /// In which words a refused token is answered.
    pub token_errors: TokenErrors,
    /// Where a token may stand, if one counts here.
    pub token_locations: TokenLocations,
    /// What somebody without a credential is answered.
    pub unauthenticated: Unauthenticated,
    /// Where it goes, by the upstream's name; `None`: for sub-requests alone.
    pub upstream: Option<Arc<str>>,
}

/// What somebody without a credential is answered.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Unauthenticated {
    /// Browsers that navigate go to the login page, everybody else gets 401.
    #[default]
    Auto,
    /// Always to the login page.
    Login,
    /// Always 401.
    Status,
}

/// An endpoint for tokens, at an address where a program looks for it that was written for another login.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenEndpoint {
    /// `/token/refresh`.
    Refresh,
    /// `/token/revoke`.
    Revoke,
    /// `/token`.
    Token,
}

impl TokenEndpoint {
    /// Below the portal's prefix.
    pub fn path(self) -> &'static str {
        match self {
            Self::Refresh => "/token/refresh",
            Self::Revoke => "/token/revoke",
            Self::Token => "/token",
        }
    }
}

/// `app.example.com` or `*.example.com`, lower case, without a port.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum HostPattern {
    /// Exactly this host.
    Exact(String),
    /// Any host under this domain, not the domain itself; kept without `*.`.
    Under(String),
}

/// A path of literal segments, `*` for one segment, and perhaps a closing `/**` for any depth, the bare prefix included.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct PathPattern {
    pub(crate) any_depth: bool,
    pub(crate) segments: Vec<Segment>,
}

/// One segment of a pattern.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Segment {
    /// `*`: one segment, whatever it is, but not an empty one.
    Any,
    /// This text.
    Literal(String),
}
