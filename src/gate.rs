//! The decision: which route is this, whose credential is on it, and may they pass.
//!
//! One decision, many doors: the proxy, the sub-requests of other proxies and `foregate explain` all
//! come here. `decide` is the only maker of a `Permit`, and without one nothing is forwarded. A
//! failure of ours is an `Err`; it is a 5xx, never a challenge and never a pass.
//!
//! Callers: `gateway`, `subrequest` and `cli`. How an answer looks in HTTP is theirs.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::header::UPGRADE;
use http::{HeaderMap, Method, StatusCode};

use crate::authn::location::{Located, PARAMETER, Showing, Shown};
use crate::authn::{Asker, Authentication, AuthenticationError, Authenticator, Rejection, TokenRefusal};
use crate::identity::{Credential, Identity, TokenLocation};
use crate::policy::{Facts, Policy, Reason, Verdict};
use crate::request::target::Parameter;
use crate::request::{Context, Origin, SentFrom, Target, sent_from};
use crate::route::{Route, Table, Unauthenticated};
use crate::telemetry::audit;

mod explain;
mod flask;
mod refusal;

pub use explain::{Explanation, Question};
pub use flask::no_bearer;

/// Proof that `Gate::decide` let this request through. Only `decide` can build one, so `forward`
/// can't be reached by an undecided request.
#[derive(Clone, Debug)]
pub struct Permit {
    identity: Option<Arc<Identity>>,
    route: Arc<Route>,
}

impl Permit {
    /// Who it is, where somebody is known.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }

    /// The route that let it through.
    pub fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// For the tests of the room that takes permits.
    #[cfg(test)]
    pub(crate) fn for_tests(identity: Option<Arc<Identity>>, route: Arc<Route>) -> Self {
        Self { identity, route }
    }
}

/// What the gate says.
#[derive(Clone, Debug)]
pub enum Decision {
    /// Forward it.
    Allow(Permit),
    /// Don't.
    Refuse(Refusal),
}

/// Why a request does not pass. What it looks like in HTTP is in `gate/refusal.rs`.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// The readings of the target lead to different routes: 400.
    Ambiguous,
    /// Sign in first, or again: 303 or 401.
    Challenge(Challenge),
    /// An unsafe request that another site made a browser send, with a cookie or a Basic password: 403.
    CrossSite {
        /// Whose session it is; nobody's where a certificate alone let it in.
        identity: Option<Arc<Identity>>,
        /// The route that minds.
        route: Arc<Route>,
    },
    /// Not permitted, and signing in would not help: 403.
    Forbid {
        /// Who it is, where somebody signed in.
        identity: Option<Arc<Identity>>,
        /// For the log.
        reason: Reason,
        /// The route that says no.
        route: Arc<Route>,
    },
    /// Too many failed logins from this source: 429.
    Limited {
        /// When to try again.
        retry_after: Duration,
        /// The route that was asked for.
        route: Arc<Route>,
    },
    /// No route: 404.
    NotFound,
}

/// Somebody has to sign in.
#[derive(Clone, Debug)]
pub struct Challenge {
    /// The route that asks.
    pub route: Arc<Route>,
    /// Whether the answer leads to the login page instead of being a 401.
    pub to_login: bool,
    /// Why what was shown does not do.
    pub why: Why,
    /// A status and a text for a program, where the route wants others than ours.
    words: Option<(StatusCode, Cow<'static, str>)>,
}

/// Why what was shown does not do.
#[derive(Clone, Debug)]
pub enum Why {
    /// Nothing was shown.
    Absent,
    /// A Basic pair was shown and is bad.
    BadBasic,
    /// A token was shown and is bad.
    BadToken(TokenRefusal),
    /// The password was typed too long ago.
    Stale {
        /// Who it is.
        identity: Arc<Identity>,
        /// The oldest age of a login that would do.
        max_age: Duration,
    },
}

/// Decides. One for the process, shared by its threads.
pub struct Gate {
    authenticator: Arc<Authenticator>,
    public_url: Origin,
    table: Table,
}

impl Gate {
    /// Over these routes.
    pub fn new(table: Table, authenticator: Arc<Authenticator>, public_url: Origin) -> Self {
        Self { authenticator, public_url, table }
    }

    /// Decides on one request. `patience` bounds the wait for a password to be hashed.
    pub async fn decide(
        &self,
        context: &Context,
        headers: &HeaderMap,
        patience: Duration,
    ) -> Result<Decision, AuthenticationError> {
        let route = match self.route(context) {
            Ok(route) => route,
            Err(refusal) => return Ok(Decision::Refuse(refusal)),
        };
        let facts = Facts {
            certificate: context.certificate.as_deref().map(|client| &client.certificate),
            client: context.client,
            now: context.received_at,
        };
        let (decision, location) = match &route.policy {
            // No authentication work at all, and so nobody is identified.
            Policy::Public => {
                return Ok(Decision::Allow(Permit { identity: None, route: Arc::clone(route) }));
            }
            Policy::PublicIf(_) => (judge(route, Authentication::Absent.into(), facts, || false), None),
            Policy::Authenticated | Policy::Optional | Policy::Require(_) => {
                let asker = Asker { client: context.client, now: context.received_at, patience };
                let authenticate = || self.authenticator.authenticate(headers, &route.credentials, asker);
                let located: Located = if route.token_locations.elsewhere() {
                    // Few routes do, and the others are not to carry it about.
                    Box::pin(self.locate(route, context, headers, asker)).await?
                } else if route.credentials.contains(&Credential::Basic) {
                    // A password may be checked there, and that is written down.
                    let id = context.id.header_value().clone();
                    let origin = audit::Origin::Request { id, source: context.client };
                    audit::within(origin, authenticate()).await?.into()
                } else {
                    authenticate().await?.into()
                };
                let location = located.location;
                (judge(route, located, facts, || context.navigates(headers)), location)
            }
        };
        Ok(match decision {
            Decision::Allow(Permit { identity, route })
                if is_cross_site(
                    identity.as_deref(),
                    location,
                    &route,
                    context,
                    headers,
                    &self.public_url,
                ) =>
            {
                Decision::Refuse(Refusal::CrossSite { identity, route })
            }
            Decision::Refuse(Refusal::Challenge(challenge)) => {
                let words = flask::words(&challenge, headers);
                Decision::Refuse(Refusal::Challenge(Challenge { words, ..challenge }))
            }
            decision => decision,
        })
    }

    /// Whose credential it is, where tokens may stand in other places than the header.
    async fn locate(
        &self,
        route: &Route,
        context: &Context,
        headers: &HeaderMap,
        asker: Asker,
    ) -> Result<Located, AuthenticationError> {
        let parameter = match route.token_locations.has(TokenLocation::Query) {
            true => context.target.parameter(PARAMETER),
            false => Parameter::Absent,
        };
        let query = match &parameter {
            Parameter::Absent => Shown::Nothing,
            Parameter::One(token) => Shown::Token(token),
            Parameter::Several => Shown::Several,
        };
        let doubled = route.csrf && !is_safe(&context.method);
        let showing = Showing { doubled, headers, locations: &route.token_locations, query };
        let locating = self.authenticator.authenticate_located(&showing, &route.credentials, asker);
        // A password may be checked there, and that is written down.
        let id = context.id.header_value().clone();
        audit::within(audit::Origin::Request { id, source: context.client }, locating).await
    }

    /// The routes, in the order of the file.
    pub fn routes(&self) -> &[Arc<Route>] {
        self.table.routes()
    }

    fn route<'a>(&'a self, context: &'a Context) -> Result<&'a Arc<Route>, Refusal> {
        match find(&self.table, &context.host.name, &context.method, &context.target) {
            Ok(route) => route.ok_or(Refusal::NotFound),
            Err(Disagreement { .. }) => Err(Refusal::Ambiguous),
        }
    }
}

/// Two readings of one target that lead to different routes.
struct Disagreement<'a> {
    first: Option<&'a Arc<Route>>,
    other: Option<&'a Arc<Route>>,
    /// The reading that leads to `other`.
    reading: &'a str,
}

/// The one route to which every reading of the target leads, if any does.
fn find<'a>(
    table: &'a Table,
    host: &str,
    method: &Method,
    target: &'a Target,
) -> Result<Option<&'a Arc<Route>>, Disagreement<'a>> {
    let mut readings = target.readings();
    let first = readings.next().and_then(|path| table.find(host, method, path));
    for reading in readings {
        let other = table.find(host, method, reading);
        if other.map(Arc::as_ptr) != first.map(Arc::as_ptr) {
            return Err(Disagreement { first, other, reading });
        }
    }
    Ok(first)
}

/// The rule, once everything is known. Whether the client navigates is asked only where it counts.
fn judge(
    route: &Arc<Route>,
    located: Located,
    facts: Facts<'_>,
    navigates: impl FnOnce() -> bool,
) -> Decision {
    let to_login = || match route.unauthenticated {
        // A session that the route would not look at leads round in a circle.
        _ if !route.credentials.contains(&Credential::Session) => false,
        Unauthenticated::Auto => navigates(),
        Unauthenticated::Login => true,
        Unauthenticated::Status => false,
    };
    let identity = match located.authentication {
        Authentication::Absent => None,
        Authentication::Verified(identity) => Some(identity),
        Authentication::Rejected(Rejection::Limited { retry_after }) => {
            return Decision::Refuse(Refusal::Limited { retry_after, route: Arc::clone(route) });
        }
        // On optional routes too: who shows a credential means it.
        Authentication::Rejected(Rejection::Bearer(refusal)) => {
            // A browser shows its cookie by itself, and a person can do nothing about an old one but sign in.
            let to_login = located.location == Some(TokenLocation::Cookie) && to_login();
            return challenge(route, Why::BadToken(refusal), to_login);
        }
        Authentication::Rejected(Rejection::Basic) => return challenge(route, Why::BadBasic, false),
    };
    // Before the policy, and on optional routes too: who shows a token that is for something else has to hear of it.
    if let Some(identity) = &identity
        && identity.token.as_ref().is_some_and(|token| !token.covers(&route.name))
    {
        let (identity, route) = (Some(Arc::clone(identity)), Arc::clone(route));
        return Decision::Refuse(Refusal::Forbid { identity, reason: Reason::TokenRoutes, route });
    }
    match (route.policy.evaluate(identity.as_deref(), facts), identity) {
        (Verdict::Allow, identity) => Decision::Allow(Permit { identity, route: Arc::clone(route) }),
        (Verdict::Forbid(reason), identity) => {
            Decision::Refuse(Refusal::Forbid { identity, reason, route: Arc::clone(route) })
        }
        (Verdict::Stale { max_age }, Some(identity)) => {
            challenge(route, Why::Stale { identity, max_age }, to_login())
        }
        (Verdict::Challenge | Verdict::Stale { .. }, _) => challenge(route, Why::Absent, to_login()),
    }
}

fn challenge(route: &Arc<Route>, why: Why, to_login: bool) -> Decision {
    let route = Arc::clone(route);
    Decision::Refuse(Refusal::Challenge(Challenge { route, to_login, why, words: None }))
}

/// Whether a browser says that another site made it send this with what it sends by itself: the session cookie, a
/// Basic password, a token in a cookie, a certificate; or by where it stands.
fn is_cross_site(
    identity: Option<&Identity>,
    location: Option<TokenLocation>,
    route: &Route,
    context: &Context,
    headers: &HeaderMap,
    public: &Origin,
) -> bool {
    let safe = is_safe(&context.method)
        // A WebSocket starts with a GET and carries anything afterwards.
        && !headers.contains_key(UPGRADE);
    // A token in another place than a cookie is put there by a program.
    let by_itself = match identity.map(|identity| identity.credential) {
        Some(Credential::Session | Credential::Basic) => true,
        Some(Credential::Bearer) => location == Some(TokenLocation::Cookie),
        // A certificate, or the place that the browser stands in.
        None => matches!(route.policy, Policy::PublicIf(_)),
    };
    // Another origin of the same site (a sister host) is no other site.
    by_itself && route.csrf && !safe && sent_from(headers, context, public) == SentFrom::Elsewhere
}

/// Whether a method changes nothing (RFC 9110 §9.2.1). TRACE never comes here.
fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

#[cfg(test)]
mod tests;
