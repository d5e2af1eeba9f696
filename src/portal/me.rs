//! `/me`: who this credential is, for applications and scripts.
//!
//! Callers: the portal's dispatch; the login by JSON answers with the same members.

use std::collections::BTreeSet;
use std::time::SystemTime;

use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::operation::answer::Answer;
use super::operation::{self, Description, Offered};
use super::{Portal, Visit, bearer_challenge};
use crate::authn::{Authentication, Rejection};
use crate::identity::{Identity, Role};
use crate::response::{Body, Problem};

pub(super) const ANSWER: Description = Description {
    about: "Whose this credential is.",
    answers: &[
        Answer::json::<Me>(StatusCode::OK, "The person."),
        Answer::problem(
            StatusCode::TOO_MANY_REQUESTS,
            &["too_many_requests"],
            "Too many failed attempts at this account from this source.",
        ),
    ],
    body: None,
    credential: operation::Credential::Any,
    id: "me",
    offered: Offered::Always,
    query: &[],
};

/// An identity as programs see it.
// What isn't listed here is never told.
#[derive(Serialize, ToSchema)]
pub(super) struct Me<'a> {
    username: &'a str,
    #[schema(required = true)]
    email: Option<&'a str>,
    name: &'a str,
    #[schema(value_type = Vec<String>)]
    roles: &'a BTreeSet<Role>,
    /// `session`, `bearer` or `basic`.
    credential: &'static str,
    /// When the password was typed; null where another issuer does not say.
    #[schema(required = true, format = DateTime)]
    authenticated_at: Option<String>,
}

impl<'a> Me<'a> {
    pub(super) fn of(identity: &'a Identity) -> Self {
        Self {
            username: identity.username.as_str(),
            email: identity.email.as_ref().map(|email| email.as_str()),
            name: identity.name.as_str(),
            roles: &identity.roles,
            credential: identity.credential.as_str(),
            authenticated_at: Some(identity.authenticated_at)
                .filter(|at| *at > SystemTime::UNIX_EPOCH)
                .map(rfc3339),
        }
    }
}

pub(super) async fn answer(portal: &Portal, visit: &Visit<'_>) -> Result<Response<Body>, Problem> {
    match portal.whoever(visit).await? {
        Authentication::Verified(identity) => Ok(visit.asker.json(StatusCode::OK, &Me::of(&identity))),
        Authentication::Absent => Err(challenge(visit, bearer_challenge())),
        Authentication::Rejected(Rejection::Basic) => Err(challenge(visit, bearer_challenge())),
        Authentication::Rejected(Rejection::Bearer(_)) => {
            let shown = "Bearer realm=\"foregate\", error=\"invalid_token\"";
            Err(challenge(visit, HeaderValue::from_static(shown)))
        }
        Authentication::Rejected(Rejection::Limited { retry_after }) => {
            Err(Problem::too_many_requests(retry_after))
        }
    }
}

fn challenge(visit: &Visit<'_>, bearer: HeaderValue) -> Problem {
    let problem = Problem::unauthorized(None).with_header(WWW_AUTHENTICATE, bearer);
    // A browser that reads `Basic` opens a dialogue of its own in front of our page.
    if visit.asker.wants_html() {
        return problem;
    }
    problem.with_header(
        WWW_AUTHENTICATE,
        HeaderValue::from_static("Basic realm=\"foregate\", charset=\"UTF-8\""),
    )
}

/// `2026-02-03T04:05:06Z`.
pub(super) fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let timestamp =
        i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    timestamp.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::identity::{Credential, Principal, UserId};

    #[test]
    fn an_identity_is_told_member_by_member() {
        let identity = Identity {
            access_token: None,
            authenticated_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_770_091_506_789),
            credential: Credential::Bearer,
            email: None,
            expires_at: None,
            name: "Zoë".parse().expect("a name"),
            roles: ["staff", "admin"].map(|role| role.parse().expect("a role")).into(),
            session: None,
            token: None,
            principal: Principal::Account(UserId::generate()),
            username: "zoe".parse().expect("a username"),
        };
        let expected = serde_json::json!({
            "username": "zoe", "email": null, "name": "Zoë", "roles": ["admin", "staff"],
            "credential": "bearer", "authenticated_at": "2026-02-03T04:05:06Z",
        });
        assert_eq!(serde_json::to_value(Me::of(&identity)).expect("JSON"), expected);
    }
}
