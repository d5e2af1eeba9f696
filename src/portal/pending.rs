//! The page for somebody whose password is right and whose account waits for something.
//!
//! Callers: `login`.

use http::{Response, StatusCode};
use serde::Serialize;

use super::{Portal, Visit, set_cookie};
use crate::response::pages::{Page, Template};
use crate::response::texts::Text;
use crate::response::{Body, Problem};

#[derive(Serialize)]
struct PendingView<'a> {
    csrf_token: &'a str,
    login: String,
    place: &'a str,
    resends: bool,
    unconfirmed: bool,
    username: &'a str,
}

/// What it waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Pending {
    /// An administrator.
    Approval,
    /// The link in a mail.
    Confirmation,
}

impl Pending {
    pub(super) fn show(self, portal: &Portal, visit: &Visit<'_>, username: &str) -> Response<Body> {
        let form_token = portal.form_token(visit);
        let view = PendingView {
            csrf_token: &form_token.token,
            login: portal.pages.login_location(None, None),
            place: &visit.place(),
            resends: portal.accounts.sends_mail(),
            unconfirmed: self == Self::Confirmation,
            username,
        };
        // Only a password leads here, so no link does.
        let page =
            Page { form_targets: "", here: "", status: StatusCode::FORBIDDEN, template: Template::Pending };
        let mut response = portal.pages.respond(&visit.asker, page, &view);
        set_cookie(&mut response, form_token.set_cookie);
        response
    }

    pub(super) fn problem(self) -> Problem {
        let (code, title, detail) = match self {
            Self::Approval => ("waiting_for_approval", "pending-approval-title", "pending-approval"),
            Self::Confirmation => ("unconfirmed", "pending-unconfirmed-title", "pending-unconfirmed"),
        };
        Problem::new(StatusCode::FORBIDDEN, code, Text::new(title), Text::new(detail))
    }
}
