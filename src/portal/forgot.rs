//! A forgotten password: an address goes in, and the same answer comes out for every one.
//!
//! Callers: the portal's dispatch; `confirm` for the answers of a link that is asked for.

use http::{Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::form::{Fields, Format};
use super::notice::Notice;
use super::operation::answer::Answer;
use super::operation::input::{Field, Input};
use super::operation::{Credential, Description, Offered};
use super::{Portal, RETRY, Visit, failure, set_cookie, set_retry_after};
use crate::account::LinkError;
use crate::identity::Email;
use crate::response::pages::{Page, Template};
use crate::response::texts::{Text, in_words};
use crate::response::{Body, Problem};

pub(super) const PAGE: Description = Description {
    about: "The page for a forgotten password.",
    answers: &[Answer::page(StatusCode::OK, "The page.")],
    body: None,
    credential: Credential::None,
    id: "forgotPage",
    offered: Offered::WithMail,
    query: &[],
};

pub(super) const SUBMIT: Description = Description {
    about: "Sends a link that sets a new password. The answer is the same for every address.",
    answers: &[
        Answer::json::<Accepted>(StatusCode::ACCEPTED, "It may be on its way."),
        Answer::redirect("The same for the form.").with_cookie(),
        Answer::problem(StatusCode::TOO_MANY_REQUESTS, &["too_many_requests"], "Too many from this source."),
    ],
    body: Some(&Input::of(&[Field::email("email", "The address of the account.").needed()])),
    credential: Credential::None,
    id: "forgot",
    offered: Offered::WithMail,
    query: &[],
};

#[derive(Serialize)]
struct ForgotView<'a> {
    csrf_token: &'a str,
    email: &'a str,
    error: Option<Text>,
    login: String,
    notice: Option<Text>,
    place: &'a str,
}

/// Nothing is told.
#[derive(Serialize, ToSchema)]
pub(super) struct Accepted {}

pub(super) fn page(portal: &Portal, visit: &Visit<'_>) -> Response<Body> {
    show(portal, visit, "", StatusCode::OK, None)
}

pub(super) async fn submit(
    portal: &Portal,
    visit: &Visit<'_>,
    mut fields: Fields,
) -> Result<Response<Body>, Problem> {
    let typed = fields.text("email").unwrap_or_default().trim().to_owned();
    if !portal.check_csrf(visit, &mut fields) {
        return Ok(show(portal, visit, &typed, StatusCode::FORBIDDEN, None));
    }
    // What is no address at all is told so: that says nothing about anybody.
    let Ok(email) = typed.parse::<Email>() else {
        let text = Text::new("register-email-invalid");
        return match fields.format {
            Format::Form => Ok(show(portal, visit, &typed, StatusCode::BAD_REQUEST, Some(text))),
            Format::Json => Err(Problem::bad_request(text)),
        };
    };
    match (portal.accounts.send_reset_link(&email, visit.link_request()).await, fields.format) {
        (Ok(()), Format::Form) => {
            let mut response = visit.asker.see_login(&portal.pages, None, None);
            set_cookie(&mut response, Notice::LinkSent.set(&portal.settings.prefix));
            Ok(response)
        }
        (Ok(()), Format::Json) => Ok(accepted(visit)),
        (Err(error), Format::Json) => Err(problem(error)),
        (Err(LinkError::Limited { retry_after }), Format::Form) => {
            let text = Text::new("forgot-limited").with("wait", in_words(retry_after));
            let mut response = show(portal, visit, &typed, StatusCode::TOO_MANY_REQUESTS, Some(text));
            set_retry_after(&mut response, retry_after);
            Ok(response)
        }
        (Err(LinkError::Store(error)), Format::Form) => {
            failure(&error);
            let text = Text::new("forgot-unavailable");
            let mut response = show(portal, visit, &typed, StatusCode::SERVICE_UNAVAILABLE, Some(text));
            set_retry_after(&mut response, RETRY);
            Ok(response)
        }
    }
}

/// To a program that asked for a link: it may be on its way.
pub(super) fn accepted(visit: &Visit<'_>) -> Response<Body> {
    visit.asker.json(StatusCode::ACCEPTED, &Accepted {})
}

pub(super) fn problem(error: LinkError) -> Problem {
    match error {
        LinkError::Limited { retry_after } => {
            let title = Text::new("register-limited-title");
            let detail = Text::new("forgot-limited").with("wait", in_words(retry_after));
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", title, detail)
                .retry_after(retry_after)
        }
        LinkError::Store(error) => failure(&error),
    }
}

fn show(
    portal: &Portal,
    visit: &Visit<'_>,
    email: &str,
    status: StatusCode,
    error: Option<Text>,
) -> Response<Body> {
    let form_token = portal.form_token(visit);
    let view = ForgotView {
        csrf_token: &form_token.token,
        email,
        error,
        login: portal.pages.login_location(None, None),
        notice: (status == StatusCode::FORBIDDEN).then(|| Text::new("forgot-stale")),
        place: &visit.place(),
    };
    let here = portal.pages.address("/forgot", &[]);
    let page = Page { form_targets: "", here: &here, status, template: Template::Forgot };
    let mut response = portal.pages.respond(&visit.asker, page, &view);
    set_cookie(&mut response, form_token.set_cookie);
    response
}
