//! Setting a password by a one-time link: looking at the page changes nothing, sending it does.
//!
//! The page holds no link to anywhere else: a browser would tell the address it came from.
//!
//! Callers: the portal's dispatch.

use http::{Response, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::form::{Fields, Format};
use super::notice::Notice;
use super::operation::answer::Answer;
use super::operation::input::{Field, Input};
use super::operation::{Credential, Description, Offered, Parameter};
use super::strength::weakness_text;
use super::{Portal, RETRY, Visit, failure, set_cookie, set_retry_after};
use crate::account::SetPasswordError;
use crate::identity::Username;
use crate::password::Weakness;
use crate::response::pages::{Page, Template};
use crate::response::texts::Text;
use crate::response::{Body, Problem};
use crate::store::TokenError;

/// What a link by mail carries.
pub(super) const TOKEN: Parameter =
    Parameter { about: "The token of the link.", name: "token", needed: true };
pub(super) const INVALID_LINK: Answer = Answer::problem(
    StatusCode::BAD_REQUEST,
    &["bad_request", "invalid_link"],
    "The link is not whole, or no good any more: unknown, used or too old.",
);

pub(super) const PAGE: Description = Description {
    about: "The page that a link for a new password leads to. Looking at it changes nothing.",
    answers: &[Answer::page(StatusCode::OK, "The page."), INVALID_LINK, Answer::unavailable()],
    body: None,
    credential: Credential::None,
    id: "resetPage",
    offered: Offered::Always,
    query: &[TOKEN],
};

pub(super) const SUBMIT: Description = Description {
    about: "Sets a password by a link, and ends all sessions and refresh tokens of the account.",
    answers: &[
        Answer::nothing("Set."),
        Answer::redirect("Set by the form.").with_cookie(),
        INVALID_LINK,
        Answer::problem(StatusCode::BAD_REQUEST, &["weak_password"], "The password is too easy to guess."),
    ],
    body: Some(&Input::of(&[
        Field::secret("password", "The password, held to the policy of this site.").needed(),
        Field::secret("password_again", "The same once more, where a person types it."),
    ])),
    credential: Credential::None,
    id: "reset",
    offered: Offered::Always,
    query: &[TOKEN],
};

#[derive(Serialize)]
struct ResetView<'a> {
    csrf_token: &'a str,
    error: Option<Text>,
    notice: Option<Text>,
    place: &'a str,
    token: String,
    username: &'a str,
}

/// What is said above the form.
enum Message {
    None,
    Again(Text),
    StaleForm,
    Unavailable,
    Weak(Weakness),
}

pub(super) fn page(portal: &Portal, visit: &Visit<'_>) -> Result<Response<Body>, Problem> {
    let token = link_token(visit)?;
    let username = holder(portal, visit, token)?;
    Ok(show(portal, visit, token, &username, Message::None))
}

pub(super) async fn submit(
    portal: &Portal,
    visit: &Visit<'_>,
    mut fields: Fields,
) -> Result<Response<Body>, Problem> {
    let token = link_token(visit)?;
    // Before anything is hashed: a link that is no good is told at once.
    let username = holder(portal, visit, token)?;
    let honest = portal.check_csrf(visit, &mut fields);
    let (password, again) = (fields.secret("password"), fields.secret("password_again"));
    let message = match password {
        _ if !honest => Message::StaleForm,
        None => Message::Again(Text::new("reset-empty")),
        Some(password) if differs(&password, again.as_ref()) => Message::Again(Text::new("reset-differs")),
        Some(password) => {
            let now = visit.context.received_at;
            match portal.accounts.set_password_by_link(token, password, now).await {
                Ok(()) => return Ok(done(portal, visit, fields.format)),
                Err(SetPasswordError::InvalidLink) => return Err(invalid_link(portal)),
                Err(SetPasswordError::Weak(weakness)) => Message::Weak(weakness),
                Err(SetPasswordError::Busy) => Message::Unavailable,
                Err(SetPasswordError::Store(error)) => {
                    failure(&error);
                    Message::Unavailable
                }
            }
        }
    };
    match fields.format {
        Format::Form => Ok(show(portal, visit, token, &username, message)),
        Format::Json => Err(message.problem()),
    }
}

/// The page has two fields; a program may leave the second out.
fn differs(password: &SecretString, again: Option<&SecretString>) -> bool {
    again.is_some_and(|again| again.expose_secret() != password.expose_secret())
}

fn done(portal: &Portal, visit: &Visit<'_>, format: Format) -> Response<Body> {
    match format {
        Format::Form => {
            let mut response = visit.asker.see_login(&portal.pages, None, None);
            set_cookie(&mut response, Notice::PasswordSet.set(&portal.settings.prefix));
            response
        }
        Format::Json => visit.asker.no_content(),
    }
}

pub(super) fn link_token<'a>(visit: &'a Visit<'_>) -> Result<&'a str, Problem> {
    visit.parameter(&["token"]).ok_or(Problem::bad_request(Text::new("link-incomplete")))
}

fn holder(portal: &Portal, visit: &Visit<'_>, token: &str) -> Result<Username, Problem> {
    portal.accounts.password_link(token, visit.context.received_at).map_err(|error| match error {
        TokenError::Invalid => invalid_link(portal),
        TokenError::Store(error) => failure(&error),
    })
}

/// Unknown, used and expired are one answer.
pub(super) fn invalid_link(portal: &Portal) -> Problem {
    let title = Text::new("link-invalid-title");
    Problem::new(StatusCode::BAD_REQUEST, "invalid_link", title, Text::new("link-invalid"))
        .with_link(Text::new("go-to-login"), portal.pages.login_location(None, None))
}

fn show(
    portal: &Portal,
    visit: &Visit<'_>,
    token: &str,
    username: &Username,
    message: Message,
) -> Response<Body> {
    let form_token = portal.form_token(visit);
    let view = ResetView {
        csrf_token: &form_token.token,
        error: message.error(),
        notice: matches!(message, Message::StaleForm).then(|| Text::new("reset-stale")),
        place: &visit.place(),
        token: utf8_percent_encode(token, NON_ALPHANUMERIC).to_string(),
        username: username.as_str(),
    };
    let page = Page {
        form_targets: "",
        here: &portal.pages.address("/reset", &[("token", Some(token))]),
        status: message.status(),
        template: Template::Reset,
    };
    let mut response = portal.pages.respond(&visit.asker, page, &view);
    set_cookie(&mut response, form_token.set_cookie);
    if matches!(message, Message::Unavailable) {
        set_retry_after(&mut response, RETRY);
    }
    response
}

impl Message {
    fn error(&self) -> Option<Text> {
        match self {
            Self::None | Self::StaleForm => None,
            Self::Again(text) => Some(text.clone()),
            Self::Unavailable => Some(Text::new("reset-unavailable")),
            Self::Weak(weakness) => Some(weakness_text(weakness)),
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::None => StatusCode::OK,
            Self::StaleForm => StatusCode::FORBIDDEN,
            Self::Again(_) | Self::Weak(_) => StatusCode::BAD_REQUEST,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn problem(self) -> Problem {
        match self {
            Self::Weak(weakness) => {
                let title = Text::new("reset-weak-title");
                let detail = weakness_text(&weakness);
                Problem::new(StatusCode::BAD_REQUEST, "weak_password", title, detail)
            }
            Self::Again(detail) => Problem::bad_request(detail),
            Self::Unavailable => Problem::unavailable(RETRY),
            // JSON needs no token.
            Self::None | Self::StaleForm => Problem::internal(),
        }
    }
}
