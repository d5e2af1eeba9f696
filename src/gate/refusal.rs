//! What a refusal says: to the operator in one clause, to the client as a problem.
//!
//! Callers: `gateway` and `subrequest`, which answer, and `explain`. Which of them redirects instead
//! is theirs.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use http::header::WWW_AUTHENTICATE;

use super::{Challenge, Refusal, Why};
use crate::authn::AuthenticationError;
use crate::authn::location::PARAMETER;
use crate::identity::{Credential, Identity, TokenLocation};
use crate::policy::Reason;
use crate::request::Target;
use crate::response::Problem;
use crate::response::texts::Text;
use crate::route::Route;
use crate::telemetry::metrics::Decided;

/// When to come back after a failure of ours.
const RETRY: std::time::Duration = std::time::Duration::from_secs(1);

/// RFC 6750 §3.1: the token is good, and not for this.
const INSUFFICIENT_SCOPE: &str = r#"Bearer realm="foregate", error="insufficient_scope""#;

impl Refusal {
    /// The answer to a client that isn't sent to the login page. `next` is where a person wanted to
    /// go, `host` what it is called.
    pub fn problem(&self, host: &str, next: Option<&str>) -> Problem {
        match self {
            Self::Ambiguous => Problem::bad_request(Text::new("problem-ambiguous")),
            Self::Challenge(challenge) => challenge.problem(next),
            Self::CrossSite { .. } => Problem::cross_site(),
            Self::Forbid { reason: Reason::ClientCertificate, .. } => Problem::no_certificate(),
            Self::Forbid { reason: Reason::TokenRoutes, .. } => Problem::token_scope()
                .with_header(WWW_AUTHENTICATE, HeaderValue::from_static(INSUFFICIENT_SCOPE)),
            Self::Forbid { identity: Some(identity), .. } => {
                Problem::forbidden(identity.username.as_str(), host, next)
            }
            Self::Forbid { identity: None, .. } => Problem::not_from_here(),
            Self::Limited { retry_after, .. } => Problem::too_many_requests(*retry_after),
            Self::NotFound => Problem::not_found(),
        }
    }

    /// As it is counted.
    pub fn decided(&self) -> Decided {
        match self {
            Self::Ambiguous => Decided::BadRequest,
            Self::Challenge(Challenge { to_login: true, .. }) => Decided::Login,
            Self::Challenge(_) => Decided::Unauthorized,
            Self::CrossSite { .. } => Decided::CrossSite,
            Self::Forbid { .. } => Decided::Forbidden,
            Self::Limited { .. } => Decided::Limited,
            Self::NotFound => Decided::NotFound,
        }
    }

    /// The route that said no, where one did.
    pub fn route(&self) -> Option<&Arc<Route>> {
        match self {
            Self::Challenge(Challenge { route, .. })
            | Self::CrossSite { route, .. }
            | Self::Forbid { route, .. }
            | Self::Limited { route, .. } => Some(route),
            Self::Ambiguous | Self::NotFound => None,
        }
    }

    /// Where a person is led back to afterwards: the target, without a token that the route takes from it. On a login page
    /// it would stand in a second address, and in a form.
    pub fn way_back<'t>(&self, target: &'t Target) -> Cow<'t, str> {
        let takes_it = |route: &&Arc<Route>| route.token_locations.has(TokenLocation::Query);
        let without = self.route().filter(takes_it).and_then(|_| target.without_parameter(PARAMETER));
        match without {
            None => Cow::Borrowed(target.as_str()),
            Some(Ok(without)) => Cow::Owned(without.as_str().to_owned()),
            // A part of what was sound is; if not, back to the path.
            Some(Err(_)) => Cow::Borrowed(target.path()),
        }
    }

    /// Who was refused, where somebody is known.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        match self {
            Self::Challenge(Challenge { why: Why::Stale { identity, .. }, .. }) => Some(identity),
            Self::CrossSite { identity, .. } | Self::Forbid { identity, .. } => identity.as_ref(),
            Self::Challenge(_) | Self::Ambiguous | Self::Limited { .. } | Self::NotFound => None,
        }
    }
}

impl Challenge {
    fn problem(&self, next: Option<&str>) -> Problem {
        let problem = match self.why {
            Why::Absent | Why::BadBasic | Why::BadToken(_) => Problem::unauthorized(next),
            Why::Stale { .. } => Problem::stale_login(next),
        };
        let problem = match &self.words {
            Some((status, text)) => problem.worded(*status, text.clone()),
            None => problem,
        };
        self.challenges()
            .into_iter()
            .fold(problem, |problem, value| problem.with_header(WWW_AUTHENTICATE, value))
    }

    /// `WWW-Authenticate` (RFC 6750 §3, RFC 9470 §3, RFC 7617 §2).
    pub fn challenges(&self) -> Vec<HeaderValue> {
        let bearer = match &self.why {
            Why::BadToken(_) => HeaderValue::from_static(r#"Bearer realm="foregate", error="invalid_token""#),
            Why::Absent | Why::BadBasic => HeaderValue::from_static(r#"Bearer realm="foregate""#),
            Why::Stale { max_age, .. } => HeaderValue::try_from(format!(
                r#"Bearer realm="foregate", error="insufficient_user_authentication", max_age="{}""#,
                max_age.as_secs()
            ))
            .expect("ASCII"),
        };
        let mut challenges = vec![bearer];
        if self.route.credentials.contains(&Credential::Basic) {
            challenges.push(HeaderValue::from_static(r#"Basic realm="foregate", charset="UTF-8""#));
        }
        challenges
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ambiguous => f.write_str("the target has readings that lead to different routes"),
            Self::Challenge(challenge) => f.write_str(match challenge.why {
                Why::Absent => "nobody is signed in, and the route asks for it",
                Why::BadBasic | Why::BadToken(_) => "the credential that was shown is not good",
                Why::Stale { .. } => "the password was typed too long ago",
            }),
            Self::CrossSite { .. } => f.write_str("the request comes from another site"),
            Self::Forbid { identity: Some(identity), reason, .. } => {
                write!(f, "{} {}", identity.username, reason.as_str())
            }
            Self::Forbid { identity: None, reason, .. } => write!(f, "the client {}", reason.as_str()),
            Self::Limited { .. } => f.write_str("too many logins have failed"),
            Self::NotFound => f.write_str("no route matches"),
        }
    }
}

/// A failure of ours, as the client is told it: never "not signed in".
impl From<&AuthenticationError> for Problem {
    fn from(error: &AuthenticationError) -> Self {
        match error {
            AuthenticationError::Busy | AuthenticationError::Store(_) => Self::unavailable(RETRY),
        }
    }
}
