//! `/account/email`: another address for who is signed in, after the password was typed once more.
//!
//! Callers: the portal's dispatch.

use std::time::Duration;

use http::{Response, StatusCode};
use serde::Serialize;

use super::forgot::Accepted;
use super::form::{Fields, Format};
use super::notice::Notice;
use super::operation::answer::Answer;
use super::operation::input::{Field, Input};
use super::operation::{Credential, Description, Offered};
use super::{Portal, RETRY, Visit, failure, set_cookie, set_retry_after};
use crate::account::{AddressError, OwnChangeError, Proof, SignedIn};
use crate::identity::{Email, Identity};
use crate::response::pages::{Page, Template};
use crate::response::texts::{Text, in_words};
use crate::response::{Body, Problem};

const PATH: &str = "/account/email";

pub(super) const PAGE: Description = Description {
    about: "The page for another address.",
    answers: &[
        Answer::page(StatusCode::OK, "The page."),
        Answer::redirect("To the login page: nobody is signed in."),
    ],
    body: None,
    credential: Credential::Session,
    id: "addressPage",
    offered: Offered::WithMail,
    query: &[],
};

pub(super) const SUBMIT: Description = Description {
    about: "Asks for another address. The old one holds until the new one is confirmed, and is told.",
    answers: &[
        Answer::json::<Accepted>(StatusCode::ACCEPTED, "A link may be on its way to the new address."),
        Answer::redirect("The same for the form; or nobody is signed in."),
        Answer::problem(
            StatusCode::BAD_REQUEST,
            &["email_domain"],
            "The address is not of a domain that may register.",
        ),
        Answer::problem(StatusCode::FORBIDDEN, &["incorrect_password"], "The present password is wrong."),
        Answer::problem(
            StatusCode::TOO_MANY_REQUESTS,
            &["too_many_requests"],
            "Too many failed attempts at this account from this source.",
        ),
    ],
    body: Some(&Input::of(&[
        Field::secret("current_password", "The present password.").needed(),
        Field::email("email", "The new address.").needed(),
    ])),
    credential: Credential::Session,
    id: "changeAddress",
    offered: Offered::WithMail,
    query: &[],
};

#[derive(Serialize)]
struct AddressView<'a> {
    csrf_token: &'a str,
    email: &'a str,
    error: Option<Text>,
    invalid: Option<&'static str>,
    notice: Option<Text>,
    place: &'a str,
    present: Option<&'a str>,
    username: &'a str,
}

/// What is said above the form.
enum Message {
    None,
    Domain,
    Incorrect,
    Invalid,
    Limited(Duration),
    Same,
    StaleForm,
    Unavailable,
}

pub(super) async fn page(portal: &Portal, visit: &Visit<'_>) -> Result<Response<Body>, Problem> {
    match portal.signed_in(visit).await? {
        Some(identity) => Ok(show(portal, visit, &identity, "", Message::None)),
        None if visit.asker.wants_html() => Ok(to_login(portal, visit)),
        None => Err(unauthorized()),
    }
}

pub(super) async fn submit(
    portal: &Portal,
    visit: &Visit<'_>,
    fields: impl AsyncFnOnce() -> Result<Fields, Problem>,
) -> Result<Response<Body>, Problem> {
    let identity = portal.signed_in(visit).await?;
    let Some((identity, who)) = identity.and_then(|found| SignedIn::of(&found).map(|who| (found, who)))
    else {
        return match Format::of(visit.headers)? {
            Format::Form => Ok(to_login(portal, visit)),
            Format::Json => Err(unauthorized()),
        };
    };
    let mut fields = fields().await?;
    let typed = fields.text("email").unwrap_or_default().trim().to_owned();
    let password = fields.secret("current_password");
    let honest = portal.check_csrf(visit, &mut fields);
    let outcome = match (typed.parse::<Email>(), password) {
        _ if !honest => Err(Message::StaleForm),
        (Err(_), _) => Err(Message::Invalid),
        (Ok(_), None) => Err(Message::Incorrect),
        (Ok(email), Some(password)) => {
            let proof = Proof { password, source: visit.context.client };
            let language = visit.mail_language();
            let now = visit.context.received_at;
            match portal.accounts.change_own_address(who, proof, email, language, now).await {
                Ok(()) => Ok(()),
                Err(AddressError::Own(OwnChangeError::Gone)) => return Err(unauthorized()),
                Err(error) => Err(Message::of(error)),
            }
        }
    };
    match (outcome, fields.format) {
        (Ok(()), Format::Form) => {
            let mut response = visit.asker.see_other(&portal.pages.address("/account", &[]));
            set_cookie(&mut response, Notice::AddressChanging.set(&portal.settings.prefix));
            Ok(response)
        }
        (Ok(()), Format::Json) => Ok(super::forgot::accepted(visit)),
        (Err(message), Format::Form) => Ok(show(portal, visit, &identity, &typed, message)),
        (Err(message), Format::Json) => Err(message.problem()),
    }
}

fn to_login(portal: &Portal, visit: &Visit<'_>) -> Response<Body> {
    visit.asker.see_login(&portal.pages, Some(&portal.pages.address(PATH, &[])), None)
}

fn unauthorized() -> Problem {
    Problem::unauthorized(None).with_header(http::header::WWW_AUTHENTICATE, super::bearer_challenge())
}

fn show(
    portal: &Portal,
    visit: &Visit<'_>,
    identity: &Identity,
    email: &str,
    message: Message,
) -> Response<Body> {
    let form_token = portal.form_token(visit);
    let view = AddressView {
        csrf_token: &form_token.token,
        email,
        error: message.error(),
        invalid: message.field(),
        notice: matches!(message, Message::StaleForm).then(|| Text::new("form-stale")),
        place: &visit.place(),
        present: identity.email.as_ref().map(Email::as_str),
        username: identity.username.as_str(),
    };
    let here = portal.pages.address(PATH, &[]);
    let page = Page { form_targets: "", here: &here, status: message.status(), template: Template::Address };
    let mut response = portal.pages.respond(&visit.asker, page, &view);
    set_cookie(&mut response, form_token.set_cookie);
    match message {
        Message::Limited(wait) => set_retry_after(&mut response, wait),
        Message::Unavailable => set_retry_after(&mut response, RETRY),
        Message::None
        | Message::Domain
        | Message::Incorrect
        | Message::Invalid
        | Message::Same
        | Message::StaleForm => {}
    }
    response
}

impl Message {
    fn of(error: AddressError) -> Self {
        match error {
            AddressError::Domain => Self::Domain,
            AddressError::Same => Self::Same,
            // Said before.
            AddressError::NoMail => Self::Unavailable,
            AddressError::Own(OwnChangeError::Busy) => Self::Unavailable,
            AddressError::Own(OwnChangeError::Gone | OwnChangeError::Incorrect) => Self::Incorrect,
            AddressError::Own(OwnChangeError::Limited { retry_after }) => Self::Limited(retry_after),
            AddressError::Own(OwnChangeError::Store(error)) => {
                failure(&error);
                Self::Unavailable
            }
            // No password is set here.
            AddressError::Own(OwnChangeError::Weak(_)) => Self::Unavailable,
        }
    }

    fn error(&self) -> Option<Text> {
        match self {
            Self::None | Self::StaleForm => None,
            Self::Domain => Some(Text::new("register-email-domain")),
            Self::Incorrect => Some(Text::new("account-incorrect")),
            Self::Invalid => Some(Text::new("register-email-invalid")),
            Self::Limited(wait) => Some(Text::new("too-many-attempts").with("wait", in_words(*wait))),
            Self::Same => Some(Text::new("address-same")),
            Self::Unavailable => Some(Text::new("address-unavailable")),
        }
    }

    fn field(&self) -> Option<&'static str> {
        match self {
            Self::None | Self::Limited(_) | Self::StaleForm | Self::Unavailable => None,
            Self::Incorrect => Some("current_password"),
            Self::Domain | Self::Invalid | Self::Same => Some("email"),
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::None => StatusCode::OK,
            Self::Domain | Self::Invalid | Self::Same => StatusCode::BAD_REQUEST,
            Self::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Incorrect | Self::StaleForm => StatusCode::FORBIDDEN,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn problem(self) -> Problem {
        let (status, detail) = (self.status(), self.error());
        let problem = |code, title| {
            let detail = detail.unwrap_or_else(|| Text::new(title));
            Problem::new(status, code, Text::new(title), detail)
        };
        match self {
            Self::Domain => problem("email_domain", "register-email-domain-title"),
            Self::Incorrect => problem("incorrect_password", "address-incorrect-title"),
            Self::Invalid | Self::Same => problem("bad_request", "problem-bad-request-title"),
            Self::Limited(wait) => Problem::too_many_requests(wait),
            Self::Unavailable => Problem::unavailable(RETRY),
            // JSON needs no token.
            Self::None | Self::StaleForm => Problem::internal(),
        }
    }
}
