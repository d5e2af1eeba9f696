//! Every page and endpoint of ours, under one path prefix: parse the request, call a room, render.
//!
//! Forms and JSON meet at the same paths. Nothing here decides who may pass a route, and nothing
//! here changes an account except through `account`.
//!
//! Callers: `gateway`, for paths under the prefix.

use crate::route::HostPattern;

/// What the pages need (`portal` in the configuration).
#[derive(Clone, Debug)]
pub struct PortalSettings {
    /// Where to when there is no `next`: a path.
    pub after_login: String,
    /// Where to after signing out: a path.
    pub after_logout: String,
    /// Further hosts that `next` may name.
    pub allowed_redirects: Vec<HostPattern>,
    /// Under which our paths live, such as `/.auth`: begins with a slash, doesn't end in one.
    pub prefix: String,
    /// The heading of the login page.
    pub title: String,
}
