//! `/token`: an access token for a name and a password, or for a refresh token; faults as RFC 6749 §5.2 words them.
//!
//! Callers: the portal's dispatch.

use std::time::Duration;

use http::{Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use utoipa::ToSchema;

pub(super) mod introspect;
pub(super) mod revoke;

use super::form::Fields;
use super::operation::answer::Answer;
use super::operation::input::{Field, Input};
use super::operation::{Credential, Description, Offered};
use super::{Portal, RETRY, Visit, failure, set_challenge, set_retry_after};
use crate::account::RefreshFailure;
use crate::authn::LoginFailure;
use crate::request::Context;
use crate::response::texts::{Language, Text, in_words};
use crate::response::{Body, Problem};

/// Where the tokens are, below the prefix.
const PATH: &str = "/token";

pub(super) const SUBMIT: Description = Description {
    about: "An access token for a name (or an address) and a password, or for a refresh token.",
    answers: &[
        Answer::json::<Granted>(StatusCode::OK, "The token."),
        Answer::oauth(
            StatusCode::BAD_REQUEST,
            &["invalid_request", "invalid_grant", "unsupported_grant_type"],
            "The request is not sound, the refresh token no good any more, or the account waits for something.",
        ),
        Answer::oauth(
            StatusCode::UNAUTHORIZED,
            &["invalid_grant"],
            "The name, the password or both are wrong.",
        ),
        Answer::oauth(
            StatusCode::TOO_MANY_REQUESTS,
            &["temporarily_unavailable"],
            "Too many failed attempts at this account from this source.",
        ),
    ],
    body: Some(&Input::oauth(
        &[
            Field::text("grant_type", "`password`, which is meant when it is left out, or `refresh_token`."),
            Field::text("username", "The name or the e-mail address."),
            Field::text("email", "The e-mail address, instead of `username`."),
            Field::secret("password", "The password."),
            Field::secret("refresh_token", "A refresh token, for the grant of that name."),
        ],
        &[&["username", "password"], &["email", "password"], &["grant_type", "refresh_token"]],
    )),
    credential: Credential::None,
    id: "token",
    offered: Offered::Always,
    query: &[],
};

/// RFC 6749 §5.1.
#[derive(Serialize, ToSchema)]
pub(super) struct Granted<'a> {
    access_token: &'a str,
    token_type: &'static str,
    /// In seconds.
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    refresh_token: Option<&'a str>,
}

/// RFC 6749 §5.2.
#[derive(Serialize, ToSchema)]
pub(super) struct Refused<'a> {
    error: &'a str,
    error_description: &'a str,
    /// What other endpoints call it, where it is a fault that they have too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    code: Option<&'a str>,
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

/// Whether RFC 6749 words what goes wrong at this path, below the prefix.
pub(super) fn is_at(path: &str) -> bool {
    path.strip_prefix(PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A fault that any endpoint can have, as the token endpoints tell it.
pub(super) fn refuse(problem: &Problem, portal: &Portal, visit: &Visit<'_>) -> Response<Body> {
    let error = match (problem.code, problem.status) {
        ("unauthorized", _) => "invalid_token",
        ("forbidden", _) => "insufficient_scope",
        (_, status) if status.is_server_error() => "temporarily_unavailable",
        (_, _) => "invalid_request",
    };
    let detail = portal.pages.texts().say(Language::English, &problem.detail);
    // §5.2 takes printable ASCII alone.
    let error_description = &detail.replace('’', "'");
    let mut response =
        visit.asker.json(problem.status, &Refused { error, error_description, code: Some(problem.code) });
    for (name, value) in problem.headers() {
        response.headers_mut().append(name, value.clone());
    }
    response
}

pub(super) async fn submit(
    portal: &Portal,
    visit: &Visit<'_>,
    fields: Fields,
) -> Result<Response<Body>, Problem> {
    let granted = match Grant::of(fields) {
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
    fn of(mut fields: Fields) -> Result<Self, Refusal> {
        match fields.text("grant_type").as_deref() {
            None | Some("password") => {}
            Some("refresh_token") => {
                let token = fields.secret("refresh_token");
                let token = token.ok_or(Refusal::InvalidRequest("refresh_token is needed."))?;
                return Ok(Self::Refresh { token });
            }
            Some(_) => return Err(Refusal::UnsupportedGrantType),
        }
        let login = match (fields.text("username"), fields.text("email")) {
            (Some(login), None) | (None, Some(login)) => login.trim().to_owned(),
            (Some(_), Some(_)) => return Err(Refusal::InvalidRequest("Send username or email, not both.")),
            (None, None) => String::new(),
        };
        match fields.secret("password") {
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
            visit.asker.json(self.status(), &Refused { error: self.error(), error_description, code: None });
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
    use crate::portal::form::Format;

    fn fields(format: Format, body: &str) -> Fields {
        let input = SUBMIT.body.expect("a body");
        Fields::parse(format, body.as_bytes(), input).unwrap_or_else(|_| panic!("{body} is sound"))
    }

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
            (Format::Form, "username=alice&email=b%40c&password=pw", Err("invalid_request")),
            (
                Format::Form,
                "grant_type=client_credentials&username=a&password=b",
                Err("unsupported_grant_type"),
            ),
            (Format::Form, "grant_type=Password&username=a&password=b", Err("unsupported_grant_type")),
        ];
        for (format, body, expected) in cases {
            let grant = Grant::of(fields(format, body));
            let seen = match &grant {
                Ok(Grant::Password { login, .. }) => Ok(login.as_str()),
                Ok(Grant::Refresh { token }) => Ok(token.expose_secret()),
                Err(refusal) => Err(refusal.error()),
            };
            assert_eq!(seen, expected, "{body}");
        }
        let blanks = Grant::of(fields(Format::Form, "username=a&password=+pw+")).expect("sound");
        let Grant::Password { password, .. } = blanks else { panic!("{blanks:?}") };
        assert_eq!(password.expose_secret(), " pw ", "a password keeps its blanks");
    }
}
