//! `/token/revoke` (RFC 7009): ends a refresh token with all that came of it, or one access token.
//!
//! Without `token` it is the one in `Authorization`, and those in cookies, which are taken away: how programs sign out that
//! were written for Flask-JWT-Extended.
//!
//! Whoever holds the token may: it is the proof. One that is unknown is answered like one that has just ended, for to
//! the client they are the same.
//!
//! Callers: the portal's dispatch.

use bytes::Bytes;
use http::{Response, StatusCode};

use super::{Refusal, bearer, cookies};
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
        Ok(of) => {
            let mut response = visit.asker.answer(StatusCode::OK, "application/json", "{}");
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

async fn revoke(portal: &Portal, visit: &Visit<'_>, format: Format, body: &[u8]) -> Result<Of, Refusal> {
    let unsound = |_| Refusal::InvalidRequest("The body is not sound: each parameter once, and each a text.");
    let mut fields = Fields::parse(format, body).map_err(unsound)?;
    // `token_type_hint` tells us nothing that the token doesn't.
    let token = fields.secret("token").map_err(unsound)?;
    let Context { client, received_at, .. } = *visit.context;
    if let Some(token) = token {
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
    cookies::end(portal, visit).await?;
    Ok(Of::Request)
}
