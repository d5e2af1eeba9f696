//! Confirming an address by the link in a mail: looking at the page changes nothing, sending it does.
//!
//! Mail scanners open every link; none of them sends a form. The page says which account it is about, for
//! somebody may have registered with another person's address.
//!
//! Callers: the portal's dispatch.

use http::{Response, StatusCode};
use serde::Serialize;

use super::forgot;
use super::form::{Fields, Format};
use super::notice::Notice;
use super::operation::answer::Answer;
use super::operation::input::{Field, Input};
use super::operation::{Credential, Description, Offered};
use super::reset::{INVALID_LINK, TOKEN, invalid_link, link_token};
use super::{Portal, Visit, failure, set_cookie};
use crate::response::pages::{Page, Template};
use crate::response::texts::Text;
use crate::response::{Body, Problem};
use crate::store::{ConfirmError, Confirmed};

const TAKEN: Answer =
    Answer::problem(StatusCode::CONFLICT, &["taken"], "Another account has this address meanwhile.");

pub(super) const PAGE: Description = Description {
    about: "The page that a link in a mail leads to. Looking at it changes nothing.",
    answers: &[Answer::page(StatusCode::OK, "The page."), INVALID_LINK, TAKEN, Answer::unavailable()],
    body: None,
    credential: Credential::None,
    id: "confirmPage",
    offered: Offered::Always,
    query: &[TOKEN],
};

pub(super) const SUBMIT: Description = Description {
    about: "Confirms the address of a new account, or a new address of an old one.",
    answers: &[
        Answer::nothing("Confirmed."),
        Answer::redirect("Confirmed by the form.").with_cookie(),
        INVALID_LINK,
        TAKEN,
    ],
    body: Some(&Input::EMPTY),
    credential: Credential::None,
    id: "confirm",
    offered: Offered::Always,
    query: &[TOKEN],
};

pub(super) const RESEND: Description = Description {
    about: "Sends the link for a new account's address once more. Whether somebody waits for it is not told.",
    answers: &[
        Answer::json::<forgot::Accepted>(StatusCode::ACCEPTED, "It may be on its way."),
        Answer::redirect("The same for the form."),
        Answer::problem(StatusCode::TOO_MANY_REQUESTS, &["too_many_requests"], "Too many from this source."),
    ],
    body: Some(&Input::of(&[Field::text("username", "The name or the e-mail address.").needed()])),
    credential: Credential::None,
    id: "resendConfirmation",
    offered: Offered::WithMail,
    query: &[],
};

#[derive(Serialize)]
struct ConfirmView<'a> {
    action: &'a str,
    csrf_token: &'a str,
    email: &'a str,
    is_new: bool,
    notice: Option<Text>,
    place: &'a str,
    username: &'a str,
}

pub(super) fn page(portal: &Portal, visit: &Visit<'_>) -> Result<Response<Body>, Problem> {
    show(portal, visit, link_token(visit)?, false)
}

pub(super) async fn submit(
    portal: &Portal,
    visit: &Visit<'_>,
    mut fields: Fields,
) -> Result<Response<Body>, Problem> {
    let token = link_token(visit)?;
    if !portal.check_csrf(visit, &mut fields) {
        return show(portal, visit, token, true);
    }
    let confirmed = portal.accounts.confirm_address(token, visit.context.received_at).await;
    let confirmed = confirmed.map_err(|error| refused(portal, error))?;
    if fields.format == Format::Json {
        return Ok(visit.asker.no_content());
    }
    let (notice, is_changed) = match confirmed {
        Confirmed::Changed { .. } => (Notice::AddressChanged, true),
        Confirmed::Own(user) if user.may_sign_in() => (Notice::AddressConfirmed, false),
        Confirmed::Own(_) => (Notice::AddressConfirmedWaiting, false),
    };
    // Whoever is signed in in this browser goes back to where the change was asked for.
    let mut response = if is_changed && portal.signed_in(visit).await?.is_some() {
        visit.asker.see_other(&portal.pages.address("/account", &[]))
    } else {
        visit.asker.see_login(&portal.pages, None, None)
    };
    set_cookie(&mut response, notice.set(&portal.settings.prefix));
    Ok(response)
}

/// Sends the link once more. Whether there is somebody who waits for it is not told.
pub(super) async fn resend(
    portal: &Portal,
    visit: &Visit<'_>,
    mut fields: Fields,
) -> Result<Response<Body>, Problem> {
    let username = fields.text("username").unwrap_or_default();
    // The page that sends this can be had again only by signing in once more.
    if !portal.check_csrf(visit, &mut fields) {
        return Ok(visit.asker.see_login(&portal.pages, None, None));
    }
    if username.trim().is_empty() {
        return Err(Problem::bad_request(Text::verbatim("username is needed.")));
    }
    let sent = portal.accounts.send_confirmation_link(&username, visit.link_request()).await;
    sent.map_err(forgot::problem)?;
    Ok(match fields.format {
        Format::Form => {
            let mut response = visit.asker.see_login(&portal.pages, None, None);
            set_cookie(&mut response, Notice::ConfirmationSent.set(&portal.settings.prefix));
            response
        }
        Format::Json => forgot::accepted(visit),
    })
}

fn show(portal: &Portal, visit: &Visit<'_>, token: &str, is_stale: bool) -> Result<Response<Body>, Problem> {
    let asked = portal.accounts.address_to_confirm(token, visit.context.received_at);
    let asked = asked.map_err(|error| refused(portal, error))?;
    let form_token = portal.form_token(visit);
    let action = portal.pages.address("/confirm", &[("token", Some(token))]);
    let view = ConfirmView {
        action: &action,
        csrf_token: &form_token.token,
        email: asked.email.as_str(),
        is_new: asked.is_new,
        notice: is_stale.then(|| Text::new("form-stale-confirm")),
        place: &visit.place(),
        username: asked.username.as_str(),
    };
    let status = if is_stale { StatusCode::FORBIDDEN } else { StatusCode::OK };
    let page = Page { form_targets: "", here: &action, status, template: Template::Confirm };
    let mut response = portal.pages.respond(&visit.asker, page, &view);
    set_cookie(&mut response, form_token.set_cookie);
    Ok(response)
}

fn refused(portal: &Portal, error: ConfirmError) -> Problem {
    match error {
        ConfirmError::EmailTaken => {
            let title = Text::new("confirm-taken-title");
            Problem::new(StatusCode::CONFLICT, "taken", title, Text::new("confirm-taken"))
                .with_link(Text::new("go-to-login"), portal.pages.login_location(None, None))
        }
        ConfirmError::Invalid => invalid_link(portal),
        ConfirmError::Store(error) => failure(&error),
    }
}
