//! `/token`: an access token for a name and a password, or for a refresh token; faults as RFC 6749 §5.2 words them.
//!
//! Callers: the portal's dispatch.

use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

pub(super) mod cookies;
pub(super) mod introspect;
pub(super) mod revoke;

use cookies::NoCookie;

use super::form::{self, Fields, Format};
use super::{Portal, RETRY, Visit, failure, set_challenge, set_retry_after};
use crate::account::{RefreshFailure, RevokeFailure};
use crate::authn::location::REFRESH_COOKIE;
use crate::authn::{LoginFailure, TokenRefusal};
use crate::identity::TokenErrors;
use crate::request::Context;
use crate::response::texts::{Language, Text, in_words};
use crate::response::{Body, BodyError, Problem};

#[derive(Serialize)]
struct Granted<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<&'a str>,
    token_type: &'static str,
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
}

#[derive(Serialize)]
struct Refused<'a> {
    error: &'a str,
    error_description: &'a str,
    /// As Flask-JWT-Extended has it, where that is wished.
    #[serde(skip_serializing_if = "Option::is_none")]
    msg: Option<&'a str>,
}

/// How the tokens are wished to come; by itself, in every way that is open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Carrier {
    Body,
    Cookies,
    Either,
}

/// What is asked for.
#[derive(Debug)]
enum Grant {
    Password {
        login: String,
        password: SecretString,
    },
    Refresh {
        token: SecretString,
    },
    /// With the one in the cookie.
    RefreshCookie,
}

/// Why there is no token.
#[derive(Debug)]
enum Refusal {
    /// A refresh token in a cookie, without its double or with another's.
    Cookie(TokenRefusal),
    InvalidGrant,
    InvalidRefreshToken,
    InvalidRequest(&'static str),
    Limited(Duration),
    /// No refresh token at all.
    NoRefreshToken,
    Pending(&'static str),
    Unavailable,
    UnsupportedGrantType,
}

pub(super) async fn submit<B>(portal: &Portal, visit: &Visit<'_>, body: B) -> Result<Response<Body>, Problem>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    let format = Format::of(visit.headers)?;
    let body = form::read(visit.headers, body).await?;
    let granted = match Grant::parse(format, &body) {
        Ok((grant, carrier)) => issue(portal, visit, grant, carrier).await,
        Err(refusal) => Err(refusal),
    };
    Ok(granted.unwrap_or_else(|refusal| refusal.respond(portal, visit)))
}

/// `/token/refresh`: a new access token for the refresh token in `Authorization` or in the cookie, as programs ask that were
/// written for Flask-JWT-Extended. Its body, if it has one, says nothing.
pub(super) async fn refresh<B>(portal: &Portal, visit: &Visit<'_>, body: B) -> Result<Response<Body>, Problem>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    form::read(visit.headers, body).await?;
    let grant = match bearer(visit) {
        Some(token) => Grant::Refresh { token },
        None => Grant::RefreshCookie,
    };
    let granted = issue(portal, visit, grant, Carrier::Either).await;
    Ok(granted.unwrap_or_else(|refusal| refusal.respond(portal, visit)))
}

/// The one token in `Authorization`.
fn bearer(visit: &Visit<'_>) -> Option<SecretString> {
    let mut fields = visit.headers.get_all(AUTHORIZATION).iter();
    let value = fields.next().filter(|_| fields.next().is_none())?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned().into())
}

async fn issue(
    portal: &Portal,
    visit: &Visit<'_>,
    grant: Grant,
    carrier: Carrier,
) -> Result<Response<Body>, Refusal> {
    let in_cookies = match carrier {
        Carrier::Body => false,
        Carrier::Cookies if !portal.gives_cookies() => {
            return Err(Refusal::InvalidRequest("No tokens are given in cookies here."));
        }
        Carrier::Cookies | Carrier::Either => portal.gives_cookies(),
    };
    let is_from_cookie = matches!(grant, Grant::RefreshCookie);
    let Context { client, received_at, .. } = *visit.context;
    let issued = match grant {
        Grant::Password { login, password } => {
            portal.accounts.issue_token(client, &login, password, received_at).await?
        }
        Grant::Refresh { token } => portal.accounts.refresh(&token, client, received_at).await?,
        Grant::RefreshCookie => {
            let token = cookies::refresh_token(portal, visit)?;
            portal.accounts.refresh(&token, client, received_at).await?
        }
    };
    let in_body = !is_from_cookie && carrier != Carrier::Cookies;
    let granted = Granted {
        access_token: Some(issued.access_token.expose_secret()).filter(|_| in_body),
        token_type: "Bearer",
        expires_in: issued.expires_in.as_secs(),
        refresh_token: issued.refresh_token.as_ref().map(ExposeSecret::expose_secret).filter(|_| in_body),
    };
    let mut response = visit.asker.json(StatusCode::OK, &granted);
    if in_cookies || is_from_cookie {
        cookies::set(portal, &mut response, &issued);
    }
    Ok(response)
}

impl Grant {
    fn parse(format: Format, body: &[u8]) -> Result<(Self, Carrier), Refusal> {
        let unsound =
            |_| Refusal::InvalidRequest("The body is not sound: each parameter once, and each a text.");
        let mut fields = Fields::parse(format, body).map_err(unsound)?;
        let carrier = match (fields.has("cookies"), fields.flag("cookies")) {
            (false, _) => Carrier::Either,
            (true, true) => Carrier::Cookies,
            (true, false) => Carrier::Body,
        };
        match fields.text("grant_type").map_err(unsound)?.as_deref() {
            None | Some("password") => {}
            Some("refresh_token") => {
                let token = fields.secret("refresh_token").map_err(unsound)?;
                let grant = token.map_or(Self::RefreshCookie, |token| Self::Refresh { token });
                return Ok((grant, carrier));
            }
            Some(_) => return Err(Refusal::UnsupportedGrantType),
        }
        let login = match (fields.text("username").map_err(unsound)?, fields.text("email").map_err(unsound)?)
        {
            (Some(login), None) | (None, Some(login)) => login.trim().to_owned(),
            (Some(_), Some(_)) => return Err(Refusal::InvalidRequest("Send username or email, not both.")),
            (None, None) => String::new(),
        };
        match fields.secret("password").map_err(unsound)? {
            Some(password) if !login.is_empty() => Ok((Self::Password { login, password }, carrier)),
            Some(_) | None => {
                Err(Refusal::InvalidRequest("username (or email) and password are both needed."))
            }
        }
    }
}

impl Refusal {
    fn status(&self, errors: TokenErrors) -> StatusCode {
        match self {
            Self::InvalidGrant => StatusCode::UNAUTHORIZED,
            // There it is a token like others, and a program asks for a new login by the status.
            Self::Cookie(_) | Self::InvalidRefreshToken | Self::NoRefreshToken
                if errors == TokenErrors::Flask =>
            {
                StatusCode::UNAUTHORIZED
            }
            Self::Cookie(_)
            | Self::InvalidRefreshToken
            | Self::InvalidRequest(_)
            | Self::NoRefreshToken
            | Self::Pending(_)
            | Self::UnsupportedGrantType => StatusCode::BAD_REQUEST,
            Self::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error(&self) -> &'static str {
        match self {
            Self::InvalidGrant | Self::InvalidRefreshToken | Self::Pending(_) => "invalid_grant",
            Self::Cookie(_) | Self::InvalidRequest(_) | Self::NoRefreshToken => "invalid_request",
            // RFC 6749 has no word of its own for these at this endpoint; it has this one at the other.
            Self::Limited(_) | Self::Unavailable => "temporarily_unavailable",
            Self::UnsupportedGrantType => "unsupported_grant_type",
        }
    }

    fn respond(&self, portal: &Portal, visit: &Visit<'_>) -> Response<Body> {
        let limited;
        let error_description = match self {
            Self::Cookie(_) => "X-CSRF-TOKEN has to repeat the cookie csrf_refresh_token.",
            Self::InvalidGrant => "Incorrect username or password.",
            Self::InvalidRefreshToken => "The refresh token is not good any more.",
            Self::InvalidRequest(detail) | Self::Pending(detail) => detail,
            Self::NoRefreshToken => "refresh_token is needed.",
            Self::Limited(wait) => {
                let text = Text::new("too-many-attempts").with("wait", in_words(*wait));
                limited = portal.pages.texts().say(Language::English, &text);
                &limited
            }
            Self::Unavailable => "Tokens can not be issued at the moment. Please try again shortly.",
            Self::UnsupportedGrantType => "The grant type is not supported here.",
        };
        let errors = portal.authenticator.tokens().settings().errors;
        let missing;
        let msg = match (errors, self) {
            (TokenErrors::Problem, _) => None,
            (TokenErrors::Flask, Self::Cookie(TokenRefusal::CsrfMissing)) => Some("Missing CSRF token"),
            (TokenErrors::Flask, Self::Cookie(_)) => Some("CSRF double submit tokens do not match"),
            (TokenErrors::Flask, Self::InvalidRefreshToken) => Some("Token has been revoked"),
            (TokenErrors::Flask, Self::NoRefreshToken) => {
                missing = format!("Missing cookie \"{REFRESH_COOKIE}\"");
                Some(missing.as_str())
            }
            (TokenErrors::Flask, _) => Some(error_description),
        };
        let refused = Refused { error: self.error(), error_description, msg };
        let mut response = visit.asker.json(self.status(errors), &refused);
        match self {
            Self::InvalidGrant => set_challenge(&mut response),
            Self::Limited(wait) => set_retry_after(&mut response, *wait),
            Self::Unavailable => set_retry_after(&mut response, RETRY),
            Self::Cookie(_)
            | Self::InvalidRefreshToken
            | Self::InvalidRequest(_)
            | Self::NoRefreshToken
            | Self::Pending(_)
            | Self::UnsupportedGrantType => {}
        }
        response
    }
}

impl From<LoginFailure> for Refusal {
    fn from(error: LoginFailure) -> Self {
        match error {
            LoginFailure::Busy => Self::Unavailable,
            LoginFailure::Incorrect => Self::InvalidGrant,
            LoginFailure::Limited { retry_after } => Self::Limited(retry_after),
            LoginFailure::Store(error) => {
                failure(&error);
                Self::Unavailable
            }
            LoginFailure::Unconfirmed => Self::Pending("The account's e-mail address is not confirmed yet."),
            LoginFailure::WaitingForApproval => {
                Self::Pending("The account waits for an administrator's approval.")
            }
        }
    }
}

impl From<RevokeFailure> for Refusal {
    fn from(error: RevokeFailure) -> Self {
        match error {
            RevokeFailure::Braked { retry_after } => Self::Limited(retry_after),
            RevokeFailure::Store(error) => {
                failure(&error);
                Self::Unavailable
            }
        }
    }
}

impl From<NoCookie> for Refusal {
    fn from(reason: NoCookie) -> Self {
        match reason {
            NoCookie::Missing => Self::NoRefreshToken,
            NoCookie::Refused(refusal) => Self::Cookie(refusal),
        }
    }
}

impl From<RefreshFailure> for Refusal {
    fn from(error: RefreshFailure) -> Self {
        match error {
            RefreshFailure::Invalid => Self::InvalidRefreshToken,
            RefreshFailure::Store(error) => {
                failure(&error);
                Self::Unavailable
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_for_a_token() {
        let cases = [
            (Format::Form, "username=alice&password=+pw+", Ok("alice")),
            (Format::Form, "email=a%40b.test&password=pw", Ok("a@b.test")),
            (Format::Form, "grant_type=password&username=+alice+&password=pw&scope=x", Ok("alice")),
            (Format::Json, r#"{"username":"alice","password":"pw"}"#, Ok("alice")),
            (Format::Json, r#"{"username":"alice","password":"pw","grant_type":null}"#, Ok("alice")),
            (Format::Form, "grant_type=refresh_token&refresh_token=fgr_x", Ok("fgr_x")),
            (Format::Json, r#"{"grant_type":"refresh_token","refresh_token":"fgr_x"}"#, Ok("fgr_x")),
            (Format::Form, "grant_type=refresh_token", Ok("the cookie")),
            (
                Format::Form,
                "grant_type=refresh_token&username=alice&password=x&refresh_token=",
                Ok("the cookie"),
            ),
            (Format::Form, "", Err("invalid_request")),
            (Format::Form, "username=alice", Err("invalid_request")),
            (Format::Form, "username=alice&password=", Err("invalid_request")),
            (Format::Form, "username=+&password=pw", Err("invalid_request")),
            (Format::Form, "username=alice&username=bob&password=pw", Err("invalid_request")),
            (Format::Form, "username=alice&email=b%40c&password=pw", Err("invalid_request")),
            (Format::Json, r#"{"username":"alice","password":"a","password":"b"}"#, Err("invalid_request")),
            (Format::Json, r#"{"username":["alice"],"password":"a"}"#, Err("invalid_request")),
            (Format::Json, "[]", Err("invalid_request")),
            (
                Format::Form,
                "grant_type=client_credentials&username=a&password=b",
                Err("unsupported_grant_type"),
            ),
            (Format::Form, "grant_type=Password&username=a&password=b", Err("unsupported_grant_type")),
        ];
        for (format, body, expected) in cases {
            let grant = Grant::parse(format, body.as_bytes()).map(|(grant, _)| grant);
            let seen = match &grant {
                Ok(Grant::Password { login, .. }) => Ok(login.as_str()),
                Ok(Grant::Refresh { token }) => Ok(token.expose_secret()),
                Ok(Grant::RefreshCookie) => Ok("the cookie"),
                Err(refusal) => Err(refusal.error()),
            };
            assert_eq!(seen, expected, "{body}");
        }
        let blanks = Grant::parse(Format::Form, b"username=a&password=+pw+").expect("sound");
        let (Grant::Password { password, .. }, Carrier::Either) = blanks else { panic!("{blanks:?}") };
        assert_eq!(password.expose_secret(), " pw ", "a password keeps its blanks");
    }
}
