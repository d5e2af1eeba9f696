//! The decision on one request; only the gate makes a `Permit`.
//!
//! Callers: `gateway` and `subrequest` ask; `proxy` is handed the permit.

use std::sync::Arc;

use crate::identity::Identity;
use crate::route::Route;

/// Proof that the gate let a request through.
#[derive(Clone, Debug)]
pub struct Permit {
    identity: Option<Arc<Identity>>,
    route: Arc<Route>,
}

impl Permit {
    /// Whoever asks, where somebody is identified.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }

    /// The route that decided.
    pub fn route(&self) -> &Route {
        &self.route
    }

    #[cfg(test)]
    pub(crate) fn for_tests(identity: Option<Arc<Identity>>, route: Arc<Route>) -> Self {
        Self { identity, route }
    }
}
