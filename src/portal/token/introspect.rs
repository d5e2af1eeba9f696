//! `/token/introspect` (RFC 7662): a service asks what a token is worth that it was shown.
//!
//! It shows a personal access token with the scope `introspect`: whoever could ask without one could try tokens here.
//!
//! Callers: the portal's dispatch.

use std::collections::BTreeSet;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::super::{PATIENCE, bearer_challenge};
use super::Refusal;
use crate::authn::introspect::Introspected;
use crate::authn::{Asker, Authentication};
use crate::identity::{Credential, Role, Scope};
use crate::portal::form::{self, Fields, Format};
use crate::portal::{Portal, Visit, failure};
use crate::request::Context;
use crate::response::{Body, BodyError, Problem};

/// RFC 7662 §2.2; `roles` and `email` as in our access tokens, as the account has them now. `routes` are those that a
/// personal token is for; without it, all.
#[derive(Serialize)]
struct Active<'a> {
    active: bool,
    token_type: &'static str,
    username: &'a str,
    sub: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<&'a serde_json::Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<&'a str>,
    auth_time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    roles: &'a BTreeSet<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    routes: Option<&'a BTreeSet<String>>,
}

pub(in crate::portal) async fn submit<B>(
    portal: &Portal,
    visit: &Visit<'_>,
    body: B,
) -> Result<Response<Body>, Problem>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    check_caller(portal, visit).await?;
    let format = Format::of(visit.headers)?;
    let body = form::read(visit.headers, body).await?;
    let unsound = || Refusal::InvalidRequest("token is needed, once, as a text.").respond(portal, visit);
    let token = Fields::parse(format, &body).and_then(|mut fields| fields.secret("token"));
    let Ok(Some(token)) = token else { return Ok(unsound()) };
    let Context { client, received_at, .. } = *visit.context;
    let asker = Asker { client, now: received_at, patience: PATIENCE };
    let found = portal.authenticator.introspect(&token, asker).await.map_err(|error| failure(&error))?;
    Ok(match &found {
        Some(found) => visit.asker.json(StatusCode::OK, &Active::of(found)),
        // Exactly this: why is nobody's business (§2.2).
        None => visit.asker.json(StatusCode::OK, &serde_json::json!({ "active": false })),
    })
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
