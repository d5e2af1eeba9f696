//! Signing out: the page asks, the POST ends the session at once.
//!
//! Callers: the portal's dispatch.

use http::{Response, StatusCode};
use serde::Serialize;

use super::form::{Fields, Format};
use super::login::{NEXT, NEXT_FIELD, RD, RD_FIELD};
use super::next::Next;
use super::notice::Notice;
use super::operation::answer::Answer;
use super::operation::input::Input;
use super::operation::{Credential, Description, Offered};
use super::{Portal, Visit, failure, set_cookie, token};
use crate::account::RevokeFailure;
use crate::response::pages::{Page, Template};
use crate::response::texts::Text;
use crate::response::{Body, Problem};

pub(super) const PAGE: Description = Description {
    about: "The page that asks whether to sign out.",
    answers: &[Answer::page(StatusCode::OK, "The page."), Answer::unavailable()],
    body: None,
    credential: Credential::None,
    id: "logoutPage",
    offered: Offered::Always,
    query: &[NEXT, RD],
};

pub(super) const SUBMIT: Description = Description {
    about: "Signs out: the session ends at once, everywhere. Whoever has none is signed out already.",
    answers: &[
        Answer::nothing("Signed out.").with_cookie(),
        Answer::redirect("Signed out by the form.").with_cookie(),
        Answer::problem(
            StatusCode::TOO_MANY_REQUESTS,
            &["too_many_requests"],
            "There was nothing to end but a token in a cookie that could not be looked at: too many forged ones came from this source.",
        ),
    ],
    body: Some(&Input::of(&[NEXT_FIELD, RD_FIELD])),
    credential: Credential::None,
    id: "logOut",
    offered: Offered::Always,
    query: &[],
};

#[derive(Serialize)]
struct LogoutView<'a> {
    csrf_token: &'a str,
    next: Option<&'a str>,
    notice: Option<Text>,
    place: &'a str,
    sign_in: String,
    stay: &'a str,
    username: Option<&'a str>,
}

pub(super) async fn page(portal: &Portal, visit: &Visit<'_>) -> Result<Response<Body>, Problem> {
    let next = portal.next(visit.parameter(&["next", "rd"]));
    show(portal, visit, next.as_ref(), None).await
}

pub(super) async fn submit(
    portal: &Portal,
    visit: &Visit<'_>,
    mut fields: Fields,
) -> Result<Response<Body>, Problem> {
    let next = fields.text("next").or(fields.text("rd"));
    let next = portal.next(next.as_deref());
    if !portal.check_csrf(visit, &mut fields) {
        let notice = Text::new("form-stale-confirm");
        return show(portal, visit, next.as_ref(), Some(notice)).await;
    }
    let mut ended = false;
    for cookie in portal.session_cookies(visit) {
        // The cookie is taken away only after the session has ended: whoever reads 503 is still signed in.
        ended |= portal.accounts.log_out(cookie).await.map_err(|error| failure(&error))?;
    }
    token::cookies::end(portal, visit, ended).await.map_err(|error| match error {
        RevokeFailure::Braked { retry_after } => Problem::too_many_requests(retry_after),
        RevokeFailure::Store(error) => failure(&error),
    })?;
    let mut response = match fields.format {
        Format::Form => {
            let to = next.as_ref().map_or(portal.settings.after_logout.as_str(), Next::as_str);
            let mut response = visit.asker.see_other(to);
            set_cookie(&mut response, Notice::SignedOut.set(&portal.settings.prefix));
            response
        }
        Format::Json => visit.asker.no_content(),
    };
    set_cookie(&mut response, Some(portal.accounts.removal_cookie()));
    token::cookies::clear(portal, visit, &mut response);
    Ok(response)
}

async fn show(
    portal: &Portal,
    visit: &Visit<'_>,
    next: Option<&Next>,
    notice: Option<Text>,
) -> Result<Response<Body>, Problem> {
    let identity = portal.signed_in(visit).await?;
    let token = portal.form_token(visit);
    let status = if notice.is_some() { StatusCode::FORBIDDEN } else { StatusCode::OK };
    let view = LogoutView {
        csrf_token: &token.token,
        next: next.map(Next::as_str),
        notice,
        place: &visit.place(),
        sign_in: portal.pages.login_location(None, None),
        stay: &portal.settings.after_login,
        username: identity.as_ref().map(|identity| identity.username.as_str()),
    };
    let page = Page {
        form_targets: &portal.form_targets(visit, next),
        here: &portal.pages.address("/logout", &[("next", next.map(Next::as_str))]),
        status,
        template: Template::Logout,
    };
    let mut response = portal.pages.respond(&visit.asker, page, &view);
    set_cookie(&mut response, token.set_cookie);
    Ok(response)
}
