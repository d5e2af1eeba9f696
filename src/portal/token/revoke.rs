//! `/token/revoke` (RFC 7009): ends a refresh token with all that came of it, or one access token.
//!
//! Whoever holds the token may: it is the proof. One that is unknown is answered like one that has just ended, for to
//! the client they are the same.
//!
//! Callers: the portal's dispatch.

use bytes::Bytes;
use http::{Response, StatusCode};

use super::{Refusal, failure};
use crate::account::RevokeFailure;
use crate::portal::form::{self, Fields, Format};
use crate::portal::{Portal, Visit};
use crate::request::Context;
use crate::response::{Body, BodyError, Problem};

pub(in crate::portal) async fn submit<B>(
    portal: &Portal,
    visit: &Visit<'_>,
    body: B,
) -> Result<Response<Body>, Problem>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    let format = Format::of(visit.headers)?;
    let body = form::read(visit.headers, body).await?;
    Ok(match revoke(portal, visit, format, &body).await {
        Ok(()) => visit.asker.answer(StatusCode::OK, "application/json", "{}"),
        Err(refusal) => refusal.respond(portal, visit),
    })
}

async fn revoke(portal: &Portal, visit: &Visit<'_>, format: Format, body: &[u8]) -> Result<(), Refusal> {
    let unsound = |_| Refusal::InvalidRequest("The body is not sound: each parameter once, and each a text.");
    let mut fields = Fields::parse(format, body).map_err(unsound)?;
    // `token_type_hint` tells us nothing that the token doesn't.
    let token = fields.secret("token").map_err(unsound)?;
    let token = token.ok_or(Refusal::InvalidRequest("token is needed."))?;
    let Context { client, received_at, .. } = *visit.context;
    portal.accounts.revoke_token(&token, client, received_at).await.map_err(|error| match error {
        RevokeFailure::Braked { retry_after } => Refusal::Limited(retry_after),
        RevokeFailure::Store(error) => {
            failure(&error);
            Refusal::Unavailable
        }
    })
}
