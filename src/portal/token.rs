//! `/token`: an access token for a name and a password, or for a refresh token; faults as RFC 6749 §5.2 words them.
//!
//! Callers: the portal's dispatch.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

pub(super) mod introspect;
pub(super) mod revoke;

use super::form::{self, Fields, Format};
use super::{Portal, RETRY, Visit, failure, set_challenge, set_retry_after};
use crate::account::RefreshFailure;
use crate::authn::LoginFailure;
use crate::request::Context;
use crate::response::texts::{Language, Text, in_words};
use crate::response::{Body, BodyError, Problem};

#[derive(Serialize)]
struct Granted<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
}

#[derive(Serialize)]
struct Refused<'a> {
    error: &'a str,
    error_description: &'a str,
}

/// What is asked for.
#[derive(Debug)]
enum Grant {
    Password { login: String, password: SecretString },
    Refresh { token: SecretString },
}

/// Why there is no token.
#[derive(Debug)]
enum Refusal {
    InvalidGrant,
    InvalidRefreshToken,
    InvalidRequest(&'static str),
    Limited(Duration),
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
        Ok(grant) => issue(portal, visit, grant).await,
        Err(refusal) => Err(refusal),
    };
    Ok(granted.unwrap_or_else(|refusal| refusal.respond(portal, visit)))
}

async fn issue(portal: &Portal, visit: &Visit<'_>, grant: Grant) -> Result<Response<Body>, Refusal> {
    let Context { client, received_at, .. } = *visit.context;
    let issued = match grant {
        Grant::Password { login, password } => {
            portal.accounts.issue_token(client, &login, password, received_at).await?
        }
        Grant::Refresh { token } => portal.accounts.refresh(&token, client, received_at).await?,
    };
    let granted = Granted {
        access_token: issued.access_token.expose_secret(),
        token_type: "Bearer",
        expires_in: issued.expires_in.as_secs(),
        refresh_token: issued.refresh_token.as_ref().map(ExposeSecret::expose_secret),
    };
    Ok(visit.asker.json(StatusCode::OK, &granted))
}

impl Grant {
    fn parse(format: Format, body: &[u8]) -> Result<Self, Refusal> {
        let unsound =
            |_| Refusal::InvalidRequest("The body is not sound: each parameter once, and each a text.");
        let mut fields = Fields::parse(format, body).map_err(unsound)?;
        match fields.text("grant_type").map_err(unsound)?.as_deref() {
            None | Some("password") => {}
            Some("refresh_token") => {
                let token = fields.secret("refresh_token").map_err(unsound)?;
                let token = token.ok_or(Refusal::InvalidRequest("refresh_token is needed."))?;
                return Ok(Self::Refresh { token });
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
            Some(password) if !login.is_empty() => Ok(Self::Password { login, password }),
            Some(_) | None => {
                Err(Refusal::InvalidRequest("username (or email) and password are both needed."))
            }
        }
    }
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::InvalidGrant => StatusCode::UNAUTHORIZED,
            Self::InvalidRefreshToken
            | Self::InvalidRequest(_)
            | Self::Pending(_)
            | Self::UnsupportedGrantType => StatusCode::BAD_REQUEST,
            Self::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error(&self) -> &'static str {
        match self {
            Self::InvalidGrant | Self::InvalidRefreshToken | Self::Pending(_) => "invalid_grant",
            Self::InvalidRequest(_) => "invalid_request",
            // RFC 6749 has no word of its own for these at this endpoint; it has this one at the other.
            Self::Limited(_) | Self::Unavailable => "temporarily_unavailable",
            Self::UnsupportedGrantType => "unsupported_grant_type",
        }
    }

    fn respond(&self, portal: &Portal, visit: &Visit<'_>) -> Response<Body> {
        let limited;
        let error_description = match self {
            Self::InvalidGrant => "Incorrect username or password.",
            Self::InvalidRefreshToken => "The refresh token is not good any more.",
            Self::InvalidRequest(detail) | Self::Pending(detail) => detail,
            Self::Limited(wait) => {
                let text = Text::new("too-many-attempts").with("wait", in_words(*wait));
                limited = portal.pages.texts().say(Language::English, &text);
                &limited
            }
            Self::Unavailable => "Tokens can not be issued at the moment. Please try again shortly.",
            Self::UnsupportedGrantType => "The grant type is not supported here.",
        };
        let mut response =
            visit.asker.json(self.status(), &Refused { error: self.error(), error_description });
        match self {
            Self::InvalidGrant => set_challenge(&mut response),
            Self::Limited(wait) => set_retry_after(&mut response, *wait),
            Self::Unavailable => set_retry_after(&mut response, RETRY),
            Self::InvalidRefreshToken
            | Self::InvalidRequest(_)
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
            (Format::Form, "grant_type=refresh_token", Err("invalid_request")),
            (
                Format::Form,
                "grant_type=refresh_token&username=alice&password=x&refresh_token=",
                Err("invalid_request"),
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
            let grant = Grant::parse(format, body.as_bytes());
            let seen = match &grant {
                Ok(Grant::Password { login, .. }) => Ok(login.as_str()),
                Ok(Grant::Refresh { token }) => Ok(token.expose_secret()),
                Err(refusal) => Err(refusal.error()),
            };
            assert_eq!(seen, expected, "{body}");
        }
        let blanks = Grant::parse(Format::Form, b"username=a&password=+pw+").expect("sound");
        let Grant::Password { password, .. } = blanks else { panic!("{blanks:?}") };
        assert_eq!(password.expose_secret(), " pw ", "a password keeps its blanks");
    }
}
