//! `/token/introspect` (RFC 7662): a service asks what a token is worth that it was shown.
//!
//! It shows a personal access token with the scope `introspect`: whoever could ask without one could try tokens here.
//!
//! Callers: the portal's dispatch.

use std::collections::BTreeSet;
use std::time::SystemTime;

use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::operation::{self, Description, Offered};
use super::super::{PATIENCE, bearer_challenge};
use super::Refusal;
use crate::authn::introspect::Introspected;
use crate::authn::{Asker, Authentication};
use crate::identity::{Credential, Role, Scope};
use crate::portal::form::Fields;
use crate::portal::operation::answer::Answer;
use crate::portal::operation::input::{Field, Input};
use crate::portal::{Portal, Visit, failure};
use crate::request::Context;
use crate::response::{Body, Problem};

pub(in crate::portal) const SUBMIT: Description = Description {
    about: "What a token is worth (RFC 7662).",
    answers: &[
        Answer::json::<Introspection>(StatusCode::OK, "What it is worth."),
        Answer::oauth(StatusCode::UNAUTHORIZED, &["invalid_token"], "Who asks shows no token that is good."),
        Answer::oauth(
            StatusCode::FORBIDDEN,
            &["insufficient_scope"],
            "Who asks shows a token without the scope `introspect`.",
        ),
    ],
    body: Some(&Input::oauth(
        &[
            Field::secret("token", "The token in question.").needed(),
            Field::text("token_type_hint", "Not needed: a token says what it is."),
        ],
        &[],
    )),
    credential: operation::Credential::Introspector,
    id: "introspect",
    offered: Offered::Always,
    query: &[],
};

/// What a token is worth.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(in crate::portal) enum Introspection<'a> {
    Active(Active<'a>),
    Inactive(Inactive),
}

/// Nothing; why is nobody's business (RFC 7662 §2.2).
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::portal) struct Inactive {
    active: bool,
}

/// RFC 7662 §2.2; `roles` and `email` as in our access tokens, as the account has them now.
#[derive(Serialize, ToSchema)]
pub(in crate::portal) struct Active<'a> {
    active: bool,
    /// `Bearer` or `refresh_token`.
    token_type: &'static str,
    username: &'a str,
    sub: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    exp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = f64)]
    iat: Option<&'a serde_json::Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    iss: Option<&'a str>,
    /// One, or a list of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    aud: Option<&'a serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    jti: Option<&'a str>,
    auth_time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    email: Option<&'a str>,
    #[schema(value_type = Vec<String>)]
    roles: &'a BTreeSet<Role>,
    /// Those that a personal token is for; without it, all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Vec<String>>)]
    routes: Option<&'a BTreeSet<String>>,
}

pub(in crate::portal) async fn submit(
    portal: &Portal,
    visit: &Visit<'_>,
    fields: impl AsyncFnOnce() -> Result<Fields, Problem>,
) -> Result<Response<Body>, Problem> {
    check_caller(portal, visit).await?;
    let Some(token) = fields().await?.secret("token") else {
        return Ok(Refusal::InvalidRequest("token is needed.").respond(portal, visit));
    };
    let Context { client, received_at, .. } = *visit.context;
    let asker = Asker { client, now: received_at, patience: PATIENCE };
    let found = portal.authenticator.introspect(&token, asker).await.map_err(|error| failure(&error))?;
    let told = match &found {
        Some(found) => Introspection::Active(Active::of(found)),
        None => Introspection::Inactive(Inactive { active: false }),
    };
    Ok(visit.asker.json(StatusCode::OK, &told))
}

async fn check_caller(portal: &Portal, visit: &Visit<'_>) -> Result<(), Problem> {
    let identity = match portal.authenticate(visit, &BTreeSet::from([Credential::Bearer])).await? {
        Authentication::Verified(identity) => identity,
        Authentication::Absent => {
            return Err(Problem::unauthorized(None).with_header(WWW_AUTHENTICATE, bearer_challenge()));
        }
        Authentication::Rejected(_) => {
            let value = HeaderValue::from_static("Bearer realm=\"foregate\", error=\"invalid_token\"");
            return Err(Problem::unauthorized(None).with_header(WWW_AUTHENTICATE, value));
        }
    };
    if identity.token.as_ref().is_some_and(|token| token.has_scope(Scope::INTROSPECT)) {
        return Ok(());
    }
    let value = HeaderValue::from_static(
        "Bearer realm=\"foregate\", error=\"insufficient_scope\", scope=\"introspect\"",
    );
    let place = visit.context.host.to_string();
    Err(Problem::forbidden(identity.username.as_str(), &place, None).with_header(WWW_AUTHENTICATE, value))
}

impl<'a> Active<'a> {
    fn of(found: &'a Introspected) -> Self {
        let Introspected { claims, identity, is_refresh } = found;
        let scopes = identity.token.as_ref().map(|token| &token.scopes).filter(|scopes| !scopes.is_empty());
        let words = |scopes: &BTreeSet<Scope>| scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join(" ");
        Self {
            active: true,
            token_type: if *is_refresh { "refresh_token" } else { "Bearer" },
            username: identity.username.as_str(),
            sub: claims.sub.clone().unwrap_or_else(|| identity.principal.to_string()),
            scope: scopes.map(words),
            exp: identity.expires_at.map(seconds),
            iat: claims.iat.as_ref(),
            iss: claims.iss.as_deref(),
            aud: claims.aud.as_ref(),
            jti: claims.jti.as_deref(),
            auth_time: seconds(identity.authenticated_at),
            email: identity.email.as_ref().map(|email| email.as_str()),
            roles: &identity.roles,
            routes: identity.token.as_ref().map(|token| &token.routes).filter(|routes| !routes.is_empty()),
        }
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
