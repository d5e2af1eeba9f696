//! `/token/revoke` (RFC 7009): ends a refresh token with all that came of it, or one access token.
//!
//! Without `token` it is the one in `Authorization`, and those in cookies, which are taken away: how programs sign out that
//! were written for Flask-JWT-Extended.
//!
//! Whoever holds the token may: it is the proof. One that is unknown is answered like one that has just ended, for to
//! the client they are the same.
//!
//! Callers: the portal's dispatch.

use http::{Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Refusal, bearer, cookies};
use crate::portal::form::Fields;
use crate::portal::operation::answer::Answer;
use crate::portal::operation::input::{Field, Input};
use crate::portal::operation::{Credential, Description, Offered};
use crate::portal::{Portal, Visit};
use crate::request::Context;
use crate::response::{Body, Problem};

pub(in crate::portal) const SUBMIT: Description = Description {
    about: "Ends a token (RFC 7009). One that is unknown is answered like one that has just ended.",
    answers: &[
        Answer::json::<Revoked>(StatusCode::OK, "It is good no more.").with_token_cookies(),
        Answer::oauth(StatusCode::BAD_REQUEST, &["invalid_request"], "There is no token."),
        Answer::oauth(
            StatusCode::TOO_MANY_REQUESTS,
            &["temporarily_unavailable"],
            "Too many forged tokens came from this source.",
        ),
    ],
    body: Some(&Input::oauth(
        &[
            Field::secret(
                "token",
                "The token; left out, the one in `Authorization` and those in cookies, which are taken away.",
            ),
            Field::text("token_type_hint", "Not needed: a token says what it is."),
        ],
        &[],
    ).optional()),
    credential: Credential::OwnToken,
    id: "revokeToken",
    offered: Offered::Always,
    query: &[],
};

/// Nothing more is said.
#[derive(Serialize, ToSchema)]
pub(in crate::portal) struct Revoked {}

pub(in crate::portal) async fn submit(
    portal: &Portal,
    visit: &Visit<'_>,
    fields: Fields,
) -> Result<Response<Body>, Problem> {
    Ok(match revoke(portal, visit, fields).await {
        Ok(of) => {
            let mut response = visit.asker.json(StatusCode::OK, &Revoked {});
            if of == Of::Request {
                cookies::clear(portal, visit, &mut response);
            }
            response
        }
        Err(refusal) => refusal.respond(portal, visit),
    })
}

/// What was ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Of {
    /// The token in the body.
    Body,
    /// What the request itself was made with.
    Request,
}

async fn revoke(portal: &Portal, visit: &Visit<'_>, mut fields: Fields) -> Result<Of, Refusal> {
    let Context { client, received_at, .. } = *visit.context;
    if let Some(token) = fields.secret("token") {
        portal.accounts.revoke_token(&token, client, received_at).await?;
        return Ok(Of::Body);
    }
    let in_header = bearer(visit);
    if in_header.is_none() && !cookies::are_shown(portal, visit) {
        return Err(Refusal::InvalidRequest("token is needed."));
    }
    if let Some(token) = in_header {
        portal.accounts.revoke_token(&token, client, received_at).await?;
    }
    cookies::end(portal, visit, false).await?;
    Ok(Of::Request)
}
