//! Signing what upstreams are told about somebody, for whoever forwards.
//!
//! Callers: `proxy`, which keeps what it was given for a while. What is in it is in `bearer/assertion.rs`.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderValue;

use super::Authenticator;
pub use super::bearer::ASSERTION_LIFETIME as LIFETIME;
use crate::identity::Identity;

/// Signs assertions. Cheap to clone.
#[derive(Clone)]
pub struct Asserter(Arc<Authenticator>);

impl Asserter {
    /// With the authenticator's keys.
    pub fn new(authenticator: Arc<Authenticator>) -> Self {
        Self(authenticator)
    }

    /// The value of `X-Foregate-Assertion` for this upstream, marked sensitive.
    pub fn assertion(&self, identity: &Identity, upstream: &str, now: SystemTime) -> HeaderValue {
        let signed = self.0.tokens().assertion(identity, upstream, now);
        let mut value = HeaderValue::try_from(signed).expect("a JWT is base64url and dots");
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for Asserter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asserter")
    }
}
