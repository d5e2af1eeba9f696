//! The rule of `judge` as a table, and that `explain` says the same. What `decide` does over sockets
//! is shown by the black-box tests.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Method;

use super::*;
use crate::identity::{Principal, UserId};
use crate::policy::Requirements;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;
const SESSION_AND_BEARER: [Credential; 2] = [Credential::Session, Credential::Bearer];

fn route(policy: Policy, credentials: &[Credential], unauthenticated: Unauthenticated) -> Arc<Route> {
    Arc::new(Route {
        credentials: credentials.iter().copied().collect(),
        csrf: true,
        forward_authorization: false,
        headers: Vec::new(),
        host: None,
        identity_headers: Arc::default(),
        methods: None,
        name: "the route".into(),
        path: "/**".parse().expect("a path pattern"),
        policy,
        response_headers: Vec::new(),
        rewrite: None,
        token_endpoint: None,
        token_errors: Default::default(),
        token_locations: Default::default(),
        unauthenticated,
        upstream: None,
    })
}

fn alice() -> Arc<Identity> {
    Arc::new(Identity {
        access_token: None,
        authenticated_at: NOW,
        credential: Credential::Session,
        email: None,
        expires_at: None,
        name: "Alice".parse().expect("a name"),
        roles: BTreeSet::from(["staff".parse().expect("a role")]),
        session: None,
        token: None,
        principal: Principal::Account(UserId::generate()),
        username: "alice".parse().expect("a username"),
    })
}

fn facts(after: u64) -> Facts<'static> {
    Facts { certificate: None, client: IpAddr::from([192, 0, 2, 1]), now: NOW + Duration::from_secs(after) }
}

/// What a decision is, in one word.
fn word(decision: &Decision) -> &'static str {
    match decision {
        Decision::Allow(permit) if permit.identity().is_some() => "allow somebody",
        Decision::Allow(_) => "allow nobody",
        Decision::Refuse(Refusal::Challenge(Challenge {
            to_login: true, why: Why::Stale { .. }, ..
        })) => "login again",
        Decision::Refuse(Refusal::Challenge(Challenge { to_login: true, .. })) => "login",
        Decision::Refuse(Refusal::Challenge(Challenge { why: Why::Absent, .. })) => "401",
        Decision::Refuse(Refusal::Challenge(Challenge { why: Why::BadBasic | Why::BadToken(_), .. })) => {
            "401 rejected"
        }
        Decision::Refuse(Refusal::Challenge(Challenge { why: Why::Stale { .. }, .. })) => "401 stale",
        Decision::Refuse(Refusal::Forbid { .. }) => "403",
        Decision::Refuse(Refusal::Limited { .. }) => "429",
        Decision::Refuse(Refusal::Ambiguous | Refusal::CrossSite { .. } | Refusal::NotFound) => "other",
    }
}

#[test]
fn decisions() {
    use Authentication::{Absent, Rejected, Verified};
    use Unauthenticated::{Auto, Login, Status};
    let require = |change: fn(&mut Requirements)| {
        let mut requirements = Requirements::default();
        change(&mut requirements);
        Policy::Require(requirements)
    };
    let roles = || require(|r| r.roles = Some(BTreeSet::from(["admin".parse().expect("a role")])));
    let fresh = || require(|r| r.fresh_login = Some(Duration::from_secs(60)));
    let limited = Rejected(Rejection::Limited { retry_after: Duration::from_secs(1) });
    let bearer: &[Credential] = &[Credential::Bearer];
    let both: &[Credential] = &SESSION_AND_BEARER;
    let authenticated = || Policy::Authenticated;
    let cases = [
        (authenticated(), both, Auto, Absent, true, "login"),
        (authenticated(), both, Auto, Absent, false, "401"),
        (authenticated(), both, Login, Absent, false, "login"),
        (authenticated(), both, Status, Absent, true, "401"),
        // A session would not count: the login page would lead round in a circle.
        (authenticated(), bearer, Auto, Absent, true, "401"),
        (authenticated(), bearer, Login, Absent, true, "401"),
        (authenticated(), both, Auto, Verified(alice()), true, "allow somebody"),
        (
            authenticated(),
            both,
            Auto,
            Rejected(Rejection::Bearer(TokenRefusal::Signature)),
            true,
            "401 rejected",
        ),
        (authenticated(), both, Login, Rejected(Rejection::Basic), true, "401 rejected"),
        (authenticated(), both, Auto, limited.clone(), true, "429"),
        (Policy::Optional, both, Auto, Absent, true, "allow nobody"),
        (Policy::Optional, both, Auto, Verified(alice()), true, "allow somebody"),
        (
            Policy::Optional,
            both,
            Auto,
            Rejected(Rejection::Bearer(TokenRefusal::Signature)),
            true,
            "401 rejected",
        ),
        (Policy::Optional, both, Auto, limited, true, "429"),
        (roles(), both, Auto, Absent, true, "login"),
        (roles(), both, Auto, Verified(alice()), true, "403"),
        (roles(), both, Login, Verified(alice()), false, "403"),
        (fresh(), both, Auto, Verified(alice()), true, "login again"),
        (fresh(), both, Auto, Verified(alice()), false, "401 stale"),
        (fresh(), both, Status, Verified(alice()), true, "401 stale"),
    ];
    for (policy, credentials, unauthenticated, authentication, navigates, expected) in cases {
        let route = route(policy.clone(), credentials, unauthenticated);
        let shown = format!("{policy:?} {unauthenticated:?} {authentication:?} navigates={navigates}");
        let decision = judge(&route, authentication.into(), facts(61), || navigates);
        assert_eq!(word(&decision), expected, "{shown}");
    }
}

#[test]
fn an_explanation_names_the_route_and_what_was_passed_over() {
    let mut first = (*route(Policy::Public, &SESSION_AND_BEARER, Unauthenticated::Auto)).clone();
    first.path = "/public/**".parse().expect("a path pattern");
    first.name = "public".into();
    let second = (*route(Policy::Authenticated, &SESSION_AND_BEARER, Unauthenticated::Auto)).clone();
    let table = Table::new(vec![first, second]);
    let ask = |target: &str, identity: Option<Arc<Identity>>| {
        let target = Target::parse(target).map_err(|fault| fault.to_string());
        let question = Question {
            facts: facts(0),
            host: "app.test".to_owned(),
            identity,
            method: Method::GET,
            navigates: true,
            target,
        };
        Gate::explain(&table, &question)
    };
    for (target, signed_in, decision, route, passed_over) in [
        ("/public/a", false, "allow", Some("public"), 0),
        ("/a", false, "login", Some("the route"), 1),
        ("/a", true, "allow", Some("the route"), 1),
        ("/public/..%2fa", true, "bad-request", None, 0),
        ("/public;x/a", false, "bad-request", None, 0),
    ] {
        let explanation = ask(target, signed_in.then(alice));
        assert_eq!(explanation.decision, decision, "{target}: {explanation:?}");
        assert_eq!(explanation.route.as_deref().map(|route| &*route.name), route, "{target}");
        assert_eq!(explanation.passed_over.len(), passed_over, "{target}");
    }
}
