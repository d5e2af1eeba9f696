//! `foregate explain`: the same decision over a made-up request, with what led to it.
//!
//! Callers: `cli`. It answers from the routes alone; no credential is verified and no store is read.

use std::fmt::Write as _;
use std::sync::Arc;

use http::Method;

use super::{Decision, Disagreement, Gate, Refusal, find, judge};
use crate::authn::Authentication;
use crate::authn::location::{ACCESS_COOKIE, PARAMETER};
use crate::identity::{Credential, Identity, TokenLocation};
use crate::policy::{Facts, Policy};
use crate::request::Target;
use crate::route::{Mismatch, Route, Table};

/// A request that nobody sent.
#[derive(Clone, Debug)]
pub struct Question<'q> {
    /// Client, certificate and time.
    pub facts: Facts<'q>,
    /// Lower case, without a port.
    pub host: String,
    /// Who asks, if anybody is signed in.
    pub identity: Option<Arc<Identity>>,
    /// Of the request.
    pub method: Method,
    /// Whether the person sits at a browser.
    pub navigates: bool,
    /// Path and query; `Err` says why it has no honest reading.
    pub target: Result<Target, String>,
}

/// What would be decided, and why.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// `allow`, `login`, `unauthorized`, `forbidden`, `not-found` or `bad-request`.
    pub decision: &'static str,
    /// Routes before the one that decides, and why each is not meant.
    pub passed_over: Vec<(Arc<Route>, Mismatch)>,
    /// The route that decides.
    pub route: Option<Arc<Route>>,
    /// One sentence.
    pub why: String,
}

impl Gate {
    /// What `decide` would say to this, with the reasons.
    pub fn explain(table: &Table, question: &Question<'_>) -> Explanation {
        let target = match &question.target {
            Ok(target) => target,
            Err(reason) => return Explanation::bad_request(reason.clone()),
        };
        let route = match find(table, &question.host, &question.method, target) {
            Ok(route) => route,
            Err(Disagreement { first, other, reading }) => {
                let name = |route: Option<&Arc<Route>>| {
                    route.map_or("no route".to_owned(), |r| format!("`{}`", r.name))
                };
                return Explanation::bad_request(format!(
                    "servers read this target in different ways: one reading leads to {}, `{reading}` to {}",
                    name(first),
                    name(other)
                ));
            }
        };
        let path = target.readings().next().unwrap_or("/");
        let passed_over = table
            .routes()
            .iter()
            .take_while(|other| route.is_none_or(|route| !Arc::ptr_eq(other, route)))
            .filter_map(|other| {
                other
                    .mismatch(&question.host, &question.method, path)
                    .map(|mismatch| (Arc::clone(other), mismatch))
            })
            .collect();
        let Some(route) = route else {
            return Explanation {
                decision: "not-found",
                passed_over,
                route: None,
                why: "no route matches".to_owned(),
            };
        };
        let (decision, mut why) = explain_route(route, question);
        if route.token_locations.elsewhere() && !matches!(route.policy, Policy::Public | Policy::PublicIf(_))
        {
            let place = |location: TokenLocation| match location {
                TokenLocation::Cookie => format!("the cookie `{ACCESS_COOKIE}`"),
                TokenLocation::Header => "the header `Authorization`".to_owned(),
                TokenLocation::Query => format!("the parameter `{PARAMETER}`"),
            };
            let places: Vec<_> = route.token_locations.iter().map(place).collect();
            why += &format!("; a token may stand in {}", places.join(", then in "));
        }
        if let Some(endpoint) = route.token_endpoint {
            why += &format!("; Foregate itself answers, as at its endpoint `{}`", endpoint.path());
        } else if route.upstream.is_none() {
            why += "; the route has no upstream: it is for sub-requests, and a proxied request gets 404";
        } else if let Some(rewrite) = &route.rewrite {
            let _ = match target.rewritten(rewrite.strip(), rewrite.add()) {
                Ok(rewritten) => write!(why, "; the upstream is sent `{}`", rewritten.as_str()),
                Err(fault) => {
                    write!(why, "; {fault}, and so a proxied request gets {}", fault.status().as_u16())
                }
            };
        }
        Explanation { decision, passed_over, route: Some(Arc::clone(route)), why }
    }
}

impl Explanation {
    fn bad_request(why: String) -> Self {
        Self { decision: "bad-request", passed_over: Vec::new(), route: None, why }
    }
}

fn explain_route(route: &Arc<Route>, question: &Question<'_>) -> (&'static str, String) {
    if matches!(route.policy, Policy::Public) {
        return ("allow", "the route is public".to_owned());
    }
    let is_looked_at = !matches!(route.policy, Policy::PublicIf(_));
    let identity = question.identity.as_ref().filter(|_| is_looked_at);
    let counted = identity.filter(|identity| route.credentials.contains(&identity.credential));
    let authentication =
        counted.map_or(Authentication::Absent, |identity| Authentication::Verified(Arc::clone(identity)));
    let mut why = String::new();
    if let (Some(identity), None) = (identity, counted) {
        let kinds: Vec<&str> = route.credentials.iter().copied().map(Credential::as_str).collect();
        let shown = identity.credential.as_str();
        let _ =
            write!(why, "a {shown} credential does not count on this route ({} does); ", kinds.join(" or "));
    }
    match judge(route, authentication.into(), question.facts, || question.navigates) {
        Decision::Allow(permit) => {
            why += match (permit.identity(), &route.policy) {
                (_, Policy::PublicIf(_)) => "what is required of the connection holds, and no login is",
                (None, _) => "the route is open to everybody",
                (Some(_), Policy::Require(_)) => "signed in, and everything that is required holds",
                (Some(_), _) => "signed in",
            };
            ("allow", why)
        }
        Decision::Refuse(refusal) => {
            let decision = match &refusal {
                Refusal::Ambiguous => "bad-request",
                Refusal::Challenge(challenge) if challenge.to_login => "login",
                Refusal::Challenge(_) | Refusal::Limited { .. } => "unauthorized",
                Refusal::CrossSite { .. } | Refusal::Forbid { .. } => "forbidden",
                Refusal::NotFound => "not-found",
            };
            (decision, why + &refusal.to_string())
        }
    }
}
