//! A refused token in the words of Flask-JWT-Extended, for programs that were written for it.
//!
//! Status and text are those of version 4.7 with PyJWT 2.15, the oddest spelling included: programs compare them. What that
//! library has no answer for (a permission, a limit, another site) keeps ours.
//!
//! Callers: `gate`, where `tokens.errors` asks for it, and the portal's token endpoints. That it is JSON is `response`'s.

use std::borrow::Cow;

use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};

use super::{Challenge, Why};
use crate::authn::location::{ACCESS_COOKIE, PARAMETER};
use crate::authn::{TokenPart, TokenRefusal};
use crate::identity::{Credential, TokenErrors, TokenLocation};
use crate::route::Route;

/// A status and a text.
pub(super) type Words = (StatusCode, Cow<'static, str>);

const BAD_HEADER: &str = "Bad Authorization header. Expected 'Authorization: Bearer <JWT>'";
const OTHER_TYPE: &str =
    "Missing 'Bearer' type in 'Authorization' header. Expected 'Authorization: Bearer <JWT>'";

/// The words for a challenge, where its route wants them.
pub(super) fn words(challenge: &Challenge, headers: &HeaderMap) -> Option<Words> {
    let route = &*challenge.route;
    if route.token_errors != TokenErrors::Flask || !route.credentials.contains(&Credential::Bearer) {
        return None;
    }
    match &challenge.why {
        Why::Absent => Some((StatusCode::UNAUTHORIZED, missing(route, headers).into())),
        Why::BadBasic => None,
        Why::BadToken(refusal) => Some(refused(*refusal, headers)),
        Why::Stale { .. } => Some((StatusCode::UNAUTHORIZED, "Fresh token required".into())),
    }
}

fn missing(route: &Route, headers: &HeaderMap) -> String {
    let absent = |location: TokenLocation| match location {
        TokenLocation::Cookie => format!("Missing cookie \"{ACCESS_COOKIE}\""),
        TokenLocation::Header => no_bearer(headers).to_owned(),
        // Their spelling.
        TokenLocation::Query => format!("Missing '{PARAMETER}' query paramater"),
    };
    let name = |location: TokenLocation| match location {
        TokenLocation::Cookie => "cookies",
        TokenLocation::Header => "headers",
        TokenLocation::Query => "query_string",
    };
    let details = route.token_locations.iter().map(absent).collect::<Vec<_>>().join("; ");
    let names: Vec<&str> = route.token_locations.iter().map(name).collect();
    match names.split_last() {
        Some((last, names)) if !names.is_empty() => {
            format!("Missing JWT in {} or {last} ({details})", names.join(", "))
        }
        Some(_) | None => details,
    }
}

/// What is said of an `Authorization` in which no token stands.
pub fn no_bearer(headers: &HeaderMap) -> &'static str {
    if authorization(headers).is_empty() { "Missing Authorization Header" } else { OTHER_TYPE }
}

fn refused(refusal: TokenRefusal, headers: &HeaderMap) -> Words {
    const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;
    const UNPROCESSABLE: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;
    let (status, text) = match refusal {
        // By their rule two fields are one list, with a token in it or more.
        TokenRefusal::Conflict if headers.get_all(AUTHORIZATION).iter().nth(1).is_some() => {
            (UNAUTHORIZED, OTHER_TYPE)
        }
        TokenRefusal::Part(_) | TokenRefusal::Segments if is_malformed(headers) => {
            (UNPROCESSABLE, BAD_HEADER)
        }
        TokenRefusal::Algorithm => (UNPROCESSABLE, "The specified alg value is not allowed"),
        TokenRefusal::Conflict => (UNPROCESSABLE, "More than one token"),
        TokenRefusal::CsrfMismatch => (UNAUTHORIZED, "CSRF double submit tokens do not match"),
        TokenRefusal::CsrfMissing => (UNAUTHORIZED, "Missing CSRF token"),
        TokenRefusal::Expired => (UNAUTHORIZED, "Token has expired"),
        TokenRefusal::NoCsrfClaim => (UNPROCESSABLE, "Missing claim: csrf"),
        TokenRefusal::Part(TokenPart::Header) => (UNPROCESSABLE, "Invalid header padding"),
        TokenRefusal::Part(TokenPart::Payload) => (UNPROCESSABLE, "Invalid payload padding"),
        TokenRefusal::Part(TokenPart::Signature) => (UNPROCESSABLE, "Invalid crypto padding"),
        TokenRefusal::Refresh => (UNPROCESSABLE, "Only non-refresh tokens are allowed"),
        TokenRefusal::Revoked => (UNAUTHORIZED, "Token has been revoked"),
        TokenRefusal::Segments => (UNPROCESSABLE, "Not enough segments"),
        // What else there is has no meaning to that library but this.
        TokenRefusal::Invalid | TokenRefusal::Signature => (UNPROCESSABLE, "Signature verification failed"),
    };
    (status, text.into())
}

fn authorization(headers: &HeaderMap) -> &[u8] {
    headers.get(AUTHORIZATION).map_or(&[], |value| value.as_bytes().trim_ascii())
}

/// `Bearer` with nothing behind it, or with more than one word.
fn is_malformed(headers: &HeaderMap) -> bool {
    let words = authorization(headers).split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    !matches!(words.count(), 0 | 2)
}
