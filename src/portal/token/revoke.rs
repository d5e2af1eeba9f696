//! `/token/revoke` (RFC 7009): ends a refresh token with all that came of it, or one access token.
//!
//! Whoever holds the token may: it is the proof. One that is unknown is answered like one that has just ended, for to
//! the client they are the same.
//!
//! Callers: the portal's dispatch.

use http::{Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Refusal, failure};
use crate::account::RevokeFailure;
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
        Answer::json::<Revoked>(StatusCode::OK, "It is good no more."),
        Answer::oauth(
            StatusCode::TOO_MANY_REQUESTS,
            &["temporarily_unavailable"],
            "Too many forged tokens came from this source.",
        ),
    ],
    body: Some(&Input::oauth(
        &[
            Field::secret("token", "The token.").needed(),
            Field::text("token_type_hint", "Not needed: a token says what it is."),
        ],
        &[],
    )),
    credential: Credential::None,
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
    mut fields: Fields,
) -> Result<Response<Body>, Problem> {
    let Some(token) = fields.secret("token") else {
        return Ok(Refusal::InvalidRequest("token is needed.").respond(portal, visit));
    };
    let Context { client, received_at, .. } = *visit.context;
    match portal.accounts.revoke_token(&token, client, received_at).await {
        Ok(()) => Ok(visit.asker.json(StatusCode::OK, &Revoked {})),
        Err(RevokeFailure::Braked { retry_after }) => {
            Ok(Refusal::Limited(retry_after).respond(portal, visit))
        }
        Err(RevokeFailure::Store(error)) => Err(failure(&error)),
    }
}
