//! Sub-requests: another proxy asks about a request that it holds, and acts on our answer.
//!
//! The original request is taken from the headers of a trusted peer, described as any other, and
//! decided by the same gate; the answer is rendered in that proxy's dialect. Whoever is not a trusted
//! proxy is refused: it could describe any request it likes. A description that is missing, doubled
//! or contradictory is a 400, never a pass.
//!
//! Callers: `gateway`, for three paths under the portal's prefix.

use std::sync::Arc;
use std::time::Duration;

use http::header::{LOCATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use tracing::Level;

use crate::gate::{Challenge, Decision, Gate, Permit, Refusal, Why};
use crate::identity::Identity;
use crate::request::{Context, Origin};
use crate::response::texts::Text;
use crate::response::{Asker, Body, Pages, Problem, Prompt};
use crate::route::Route;
use crate::route::identity_headers::ReadyValues;
use crate::telemetry::Ration;
use crate::telemetry::metrics::Decided;

mod original;

use original::original;

/// How long a password may be waited for: Envoy gives the whole answer 200 ms.
const PATIENCE: Duration = Duration::from_millis(120);

/// Which proxy asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dialect {
    /// nginx and ingress-nginx, `auth_request`: 401 and 403 pass on, anything else becomes a 500.
    AuthRequest,
    /// Envoy, `ext_authz` over HTTP: the original method, path and host are the question's own.
    ExtAuthz,
    /// Traefik, Caddy and HAProxy: what isn't 2xx goes to the client as it is.
    ForwardAuth,
}

impl Dialect {
    /// Which endpoint a path below the prefix is, if it is one of these. `/ext-authz` has the original
    /// path behind it.
    pub fn of(path: &str) -> Option<Self> {
        match path {
            "/auth-request" => Some(Self::AuthRequest),
            "/forward-auth" => Some(Self::ForwardAuth),
            _ => path
                .strip_prefix("/ext-authz")
                .filter(|rest| rest.is_empty() || rest.starts_with('/'))
                .map(|_| Self::ExtAuthz),
        }
    }
}

/// Answers sub-requests. One for each thread.
pub struct Subrequests {
    gate: Arc<Gate>,
    pages: Arc<Pages>,
    public_url: Origin,
    ready: ReadyValues,
}

/// An answer, and what the log and the figures say of it.
pub struct Answered {
    /// What the gate said, where it was asked.
    pub decided: Option<Decided>,
    /// Who it was about, if somebody is known.
    pub identity: Option<Arc<Identity>>,
    /// For the proxy.
    pub response: Response<Body>,
    /// The route that decided, if one did.
    pub route: Option<Arc<Route>>,
}

impl From<Response<Body>> for Answered {
    fn from(response: Response<Body>) -> Self {
        Self { decided: None, identity: None, response, route: None }
    }
}

static UNSOUND: Ration = Ration::new(Level::WARN, "a sub-request without a sound description");
static UNTRUSTED: Ration =
    Ration::new(Level::WARN, "a sub-request from a peer that is not among trusted_proxies was refused");

impl Subrequests {
    /// `public_url` is where the login page is.
    pub fn new(gate: Arc<Gate>, pages: Arc<Pages>, public_url: Origin) -> Self {
        Self { gate, pages, public_url, ready: ReadyValues::default() }
    }

    /// Answers one question. `context` describes the question itself, not what it is about.
    pub async fn answer(&self, dialect: Dialect, context: &Context, headers: &HeaderMap) -> Answered {
        // What the client wants to see decides the form of a refusal; whether there is a body, the question.
        let asker = Asker::new(&context.method, headers, context.id.header_value().clone());
        if !context.peer_trusted {
            if UNTRUSTED.allows() {
                tracing::warn!(
                    peer.address = %context.peer,
                    "a sub-request from a peer that is not among trusted_proxies was refused"
                );
            }
            let title = Text::verbatim("Not a trusted proxy");
            let detail = Text::verbatim("Only a trusted proxy may ask this.");
            let problem = Problem::new(StatusCode::FORBIDDEN, "untrusted_peer", title, detail);
            return problem.respond(&asker.in_json(), &self.pages).into();
        }
        let original = match original(dialect, self.pages.prefix(), context, headers) {
            Ok(original) => original,
            Err(fault) => {
                if UNSOUND.allows() {
                    tracing::warn!(%fault, peer.address = %context.peer, "a sub-request without a sound description");
                }
                let detail = Text::verbatim("The original request is not described soundly.");
                return Problem::bad_request(detail).respond(&asker.in_json(), &self.pages).into();
            }
        };
        match self.gate.decide(&original, headers, PATIENCE).await {
            Ok(Decision::Allow(permit)) => self.allow(&permit, &asker),
            Ok(Decision::Refuse(refusal)) => Answered {
                decided: Some(refusal.decided()),
                identity: refusal.identity().cloned(),
                response: self.refuse(dialect, &refusal, &original, headers, &asker),
                route: refusal.route().cloned(),
            },
            Err(error) => {
                tracing::error!(%error, request.id = context.id.as_str(), "a sub-request could not be decided");
                let response = Problem::from(&error).respond(&asker, &self.pages);
                Answered { decided: Some(Decided::Error), ..response.into() }
            }
        }
    }

    fn allow(&self, permit: &Permit, asker: &Asker) -> Answered {
        // Every identity header of the route, empty where there is no identity, so that a proxy which copies
        // them overwrites what the client sent.
        let map = &permit.route().identity_headers;
        let values = match permit.identity() {
            None => Ok(map.empty_values()),
            Some(identity) => self.ready.get(map, identity),
        };
        let values = match values {
            Ok(values) => values,
            Err(error) => {
                tracing::error!(%error, request.id = asker.request_id(), "a sub-request can't be answered");
                let response = Problem::internal().respond(asker, &self.pages);
                return Answered { decided: Some(Decided::Error), ..response.into() };
            }
        };
        let mut response = asker.status(StatusCode::OK);
        for (name, value) in values.iter() {
            response.headers_mut().insert(name, value.clone());
        }
        Answered {
            decided: Some(Decided::Allow),
            identity: permit.identity().cloned(),
            response,
            route: Some(Arc::clone(permit.route())),
        }
    }

    fn refuse(
        &self,
        dialect: Dialect,
        refusal: &Refusal,
        original: &Context,
        headers: &HeaderMap,
        asker: &Asker,
    ) -> Response<Body> {
        let url = || format!("{}{}", original.origin(), refusal.way_back(&original.target));
        match (dialect, refusal) {
            (Dialect::AuthRequest, Refusal::Challenge(challenge)) => {
                // nginx hands the status on and nothing else; its configuration picks up the Location.
                let next = original.may_navigate(headers).then(url);
                let mut response = asker.text(StatusCode::UNAUTHORIZED, "");
                let location = self.login_url(challenge, next.as_deref());
                response.headers_mut().insert(LOCATION, location);
                for value in challenge.challenges() {
                    response.headers_mut().append(WWW_AUTHENTICATE, value);
                }
                response
            }
            // A 404 or a 429 would reach the client as nginx's own 500.
            (Dialect::AuthRequest, Refusal::NotFound | Refusal::Limited { .. }) => {
                asker.text(StatusCode::FORBIDDEN, "")
            }
            (_, Refusal::Challenge(challenge)) if challenge.to_login => {
                let next = original.navigates(headers).then(url);
                let mut response = asker.see_other("/");
                response.headers_mut().insert(LOCATION, self.login_url(challenge, next.as_deref()));
                response
            }
            (_, refusal) => {
                let next = original.navigates(headers).then(url);
                refusal.problem(&original.host.to_string(), next.as_deref()).respond(asker, &self.pages)
            }
        }
    }

    /// The login page on the origin that browsers use.
    fn login_url(&self, challenge: &Challenge, next: Option<&str>) -> HeaderValue {
        let prompt = match challenge.why {
            Why::Stale { .. } => Some(Prompt::Login),
            Why::Absent | Why::BadBasic | Why::BadToken(_) => None,
        };
        let url = format!("{}{}", self.public_url, self.pages.login_location(next, prompt));
        HeaderValue::try_from(url).expect("an origin and a percent-encoded query are visible ASCII")
    }
}

/// A method as a proxy names it.
fn method(raw: &str) -> Option<Method> {
    Method::from_bytes(raw.as_bytes()).ok()
}
