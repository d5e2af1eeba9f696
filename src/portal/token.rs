//! `/token`: an access token for a name and a password, or for a refresh token; faults as RFC 6749 §5.2 words them.
//!
//! Callers: the portal's dispatch.

use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use utoipa::ToSchema;

pub(super) mod cookies;
pub(super) mod introspect;
pub(super) mod revoke;

use super::form::Fields;
use super::operation::answer::Answer;
use super::operation::input::{Field, Input};
use super::operation::{Credential, Description, Offered};
use super::{Portal, RETRY, Visit, failure, set_challenge, set_retry_after};
use crate::account::{RefreshFailure, RevokeFailure};
use crate::authn::location::REFRESH_COOKIE;
use crate::authn::{LoginFailure, TokenRefusal};
use crate::gate::no_bearer;
use crate::identity::TokenErrors;
use crate::request::Context;
use crate::response::texts::{Language, Text, in_words};
use crate::response::{Body, Problem};
use cookies::NoCookie;

/// Where the tokens are, below the prefix.
const PATH: &str = "/token";

pub(super) const SUBMIT: Description = Description {
    about: "An access token for a name (or an address) and a password, or for a refresh token.",
    answers: &[
        Answer::json::<Granted>(StatusCode::OK, "The token.").with_token_cookies(),
        Answer::oauth(
            StatusCode::BAD_REQUEST,
            &["invalid_request", "invalid_grant", "unsupported_grant_type"],
            "The request is not sound, the refresh token no good any more, or the account waits for something.",
        ),
        WRONG,
        OTHER_TOKEN,
        LIMITED,
    ],
    body: Some(&Input::oauth(
        &[
            Field::text("grant_type", "`password`, which is meant when it is left out, or `refresh_token`."),
            Field::text("username", "The name or the e-mail address."),
            Field::text("email", "The e-mail address, instead of `username`."),
            Field::secret("password", "The password."),
            Field::secret(
                "refresh_token",
                "A refresh token, for the grant of that name; left out, the one in the cookie.",
            ),
            COOKIES,
        ],
        &[&["username", "password"], &["email", "password"], &["grant_type"]],
    )),
    credential: Credential::None,
    id: "token",
    offered: Offered::Always,
    query: &[],
};

pub(super) const REFRESH: Description = Description {
    about: "An access token for a refresh token, which is shown as other tokens are.",
    answers: &[
        Answer::json::<Granted>(StatusCode::OK, "The token.").with_token_cookies(),
        Answer::oauth(
            StatusCode::BAD_REQUEST,
            &["invalid_request", "invalid_grant"],
            "There is no refresh token, or it is no good any more.",
        ),
        WRONG,
        OTHER_TOKEN,
        LIMITED,
    ],
    body: Some(&Input::oauth(&[COOKIES], &[]).optional()),
    credential: Credential::RefreshToken,
    id: "refreshToken",
    offered: Offered::Always,
    query: &[],
};

const COOKIES: Field = Field::flag(
    "cookies",
    "Where cookies are given: whether the tokens come in them alone, or not in them. For a refresh token from a cookie they \
     come in cookies alone.",
);

const OTHER_TOKEN: Answer = Answer::oauth(
    StatusCode::UNPROCESSABLE_ENTITY,
    &["invalid_grant"],
    "With `tokens.errors: flask`: it is no refresh token, but another one.",
);

const WRONG: Answer = Answer::oauth(
    StatusCode::UNAUTHORIZED,
    &["invalid_grant", "invalid_request"],
    "The name, the password or both are wrong; with `tokens.errors: flask`, or the refresh token.",
);

const LIMITED: Answer = Answer::oauth(
    StatusCode::TOO_MANY_REQUESTS,
    &["temporarily_unavailable"],
    "Too many failed attempts at this account from this source.",
);

/// RFC 6749 §5.1; what is in a cookie that was shown is not told here.
#[derive(Serialize, ToSchema)]
pub(super) struct Granted<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    access_token: Option<&'a str>,
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
    /// As Flask-JWT-Extended has it, where that is wished.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
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
    /// Another kind of token.
    NotRefreshToken,
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
    let error_description = &*detail.replace('’', "'");
    let msg = Some(error_description).filter(|_| errors(portal) == TokenErrors::Flask);
    let refused = Refused { error, error_description, code: Some(problem.code), msg };
    let mut response = visit.asker.json(problem.status, &refused);
    for (name, value) in problem.headers() {
        response.headers_mut().append(name, value.clone());
    }
    response
}

fn errors(portal: &Portal) -> TokenErrors {
    portal.authenticator.tokens().settings().errors
}

pub(super) async fn submit(
    portal: &Portal,
    visit: &Visit<'_>,
    fields: Fields,
) -> Result<Response<Body>, Problem> {
    let granted = match Grant::of(fields) {
        Ok((grant, carrier)) => issue(portal, visit, grant, carrier).await,
        Err(refusal) => Err(refusal),
    };
    Ok(granted.unwrap_or_else(|refusal| refusal.respond(portal, visit)))
}

/// `/token/refresh`: a new access token for the refresh token in `Authorization` or in the cookie, as programs ask that were
/// written for Flask-JWT-Extended. Its body, if it has one, says how the tokens are to come.
pub(super) async fn refresh(
    portal: &Portal,
    visit: &Visit<'_>,
    mut fields: Fields,
) -> Result<Response<Body>, Problem> {
    let grant = match bearer(visit) {
        Some(token) => Grant::Refresh { token },
        None => Grant::RefreshCookie,
    };
    let granted = issue(portal, visit, grant, Carrier::of(&mut fields)).await;
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
            if carrier == Carrier::Body {
                let detail =
                    "A refresh token from a cookie is answered in cookies: leave cookies out, or send true.";
                return Err(Refusal::InvalidRequest(detail));
            }
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

impl Carrier {
    fn of(fields: &mut Fields) -> Self {
        match (fields.has(COOKIES.name), fields.flag(COOKIES.name)) {
            (false, _) => Self::Either,
            (true, true) => Self::Cookies,
            (true, false) => Self::Body,
        }
    }
}

impl Grant {
    fn of(mut fields: Fields) -> Result<(Self, Carrier), Refusal> {
        let carrier = Carrier::of(&mut fields);
        match fields.text("grant_type").as_deref() {
            None | Some("password") => {}
            Some("refresh_token") => {
                let token = fields.secret("refresh_token");
                let grant = token.map_or(Self::RefreshCookie, |token| Self::Refresh { token });
                return Ok((grant, carrier));
            }
            Some(_) => return Err(Refusal::UnsupportedGrantType),
        }
        let login = match (fields.text("username"), fields.text("email")) {
            (Some(login), None) | (None, Some(login)) => login.trim().to_owned(),
            (Some(_), Some(_)) => return Err(Refusal::InvalidRequest("Send username or email, not both.")),
            (None, None) => String::new(),
        };
        match fields.secret("password") {
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
            Self::NotRefreshToken if errors == TokenErrors::Flask => StatusCode::UNPROCESSABLE_ENTITY,
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
            | Self::NotRefreshToken
            | Self::Pending(_)
            | Self::UnsupportedGrantType => StatusCode::BAD_REQUEST,
            Self::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error(&self) -> &'static str {
        match self {
            Self::InvalidGrant | Self::InvalidRefreshToken | Self::NotRefreshToken | Self::Pending(_) => {
                "invalid_grant"
            }
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
            Self::NoRefreshToken => "A refresh token is needed.",
            Self::NotRefreshToken => "A refresh token is expected, and this is another one.",
            Self::Limited(wait) => {
                let text = Text::new("too-many-attempts").with("wait", in_words(*wait));
                limited = portal.pages.texts().say(Language::English, &text);
                &limited
            }
            Self::Unavailable => "Tokens can not be issued at the moment. Please try again shortly.",
            Self::UnsupportedGrantType => "The grant type is not supported here.",
        };
        let errors = errors(portal);
        let missing;
        let msg = match (errors, self) {
            (TokenErrors::Problem, _) => None,
            (TokenErrors::Flask, Self::Cookie(TokenRefusal::CsrfMissing)) => Some("Missing CSRF token"),
            (TokenErrors::Flask, Self::Cookie(_)) => Some("CSRF double submit tokens do not match"),
            (TokenErrors::Flask, Self::InvalidRefreshToken) => Some("Token has been revoked"),
            (TokenErrors::Flask, Self::NotRefreshToken) => Some("Only refresh tokens are allowed"),
            (TokenErrors::Flask, Self::NoRefreshToken) if !portal.gives_cookies() => {
                Some(no_bearer(visit.headers))
            }
            (TokenErrors::Flask, Self::NoRefreshToken) => {
                let in_header = no_bearer(visit.headers);
                missing = format!(
                    "Missing JWT in headers or cookies ({in_header}; Missing cookie \"{REFRESH_COOKIE}\")"
                );
                Some(missing.as_str())
            }
            (TokenErrors::Flask, _) => Some(error_description),
        };
        let refused = Refused { error: self.error(), error_description, code: None, msg };
        let mut response = visit.asker.json(self.status(errors), &refused);
        if response.status() == StatusCode::UNAUTHORIZED {
            set_challenge(&mut response);
        }
        match self {
            Self::Limited(wait) => set_retry_after(&mut response, *wait),
            Self::Unavailable => set_retry_after(&mut response, RETRY),
            Self::Cookie(_)
            | Self::InvalidGrant
            | Self::InvalidRefreshToken
            | Self::InvalidRequest(_)
            | Self::NoRefreshToken
            | Self::NotRefreshToken
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
            RefreshFailure::NotRefreshToken => Self::NotRefreshToken,
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
            (Format::Form, "username=alice&email=b%40c&password=pw", Err("invalid_request")),
            (
                Format::Form,
                "grant_type=client_credentials&username=a&password=b",
                Err("unsupported_grant_type"),
            ),
            (Format::Form, "grant_type=Password&username=a&password=b", Err("unsupported_grant_type")),
        ];
        for (format, body, expected) in cases {
            let grant = Grant::of(fields(format, body)).map(|(grant, _)| grant);
            let seen = match &grant {
                Ok(Grant::Password { login, .. }) => Ok(login.as_str()),
                Ok(Grant::Refresh { token }) => Ok(token.expose_secret()),
                Ok(Grant::RefreshCookie) => Ok("the cookie"),
                Err(refusal) => Err(refusal.error()),
            };
            assert_eq!(seen, expected, "{body}");
        }
        let blanks = Grant::of(fields(Format::Form, "username=a&password=+pw+")).expect("sound");
        let (Grant::Password { password, .. }, Carrier::Either) = blanks else { panic!("{blanks:?}") };
        assert_eq!(password.expose_secret(), " pw ", "a password keeps its blanks");
    }
}
