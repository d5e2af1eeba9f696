//! Making an account: the page, and what it sends.
//!
//! What was typed is kept when something is wrong with it, but the password. A taken address is told only where
//! addresses are not confirmed; otherwise the answer is the same, and its owner gets a mail.
//!
//! Callers: the portal's dispatch.

use std::time::Duration;

use http::{Response, StatusCode};
use secrecy::SecretString;
use serde::Serialize;
use utoipa::ToSchema;

use super::form::{Fields, Format};
use super::login::{NEXT, RD};
use super::next::Next;
use super::notice::Notice;
use super::operation::answer::Answer;
use super::operation::input::{Field, Input};
use super::operation::{Credential, Description, Offered, Parameter};
use super::strength::weakness_text;
use super::{Portal, RETRY, Visit, failure, set_cookie, set_retry_after};
use crate::account::{Invited, NewPerson, NextStep, RegistrationError, RegistrationMode};
use crate::identity::{DisplayName, Email, UnfitUsername, Username};
use crate::password::Weakness;
use crate::response::pages::{Page, Template};
use crate::response::texts::{Text, in_words};
use crate::response::{Body, Problem};

const INVITATION: Parameter = Parameter {
    about: "The token of an invitation's link: needed where the mode is `invite`.",
    name: "invitation",
    needed: false,
};

const NO_INVITATION: [Answer; 2] = [
    Answer::problem(StatusCode::BAD_REQUEST, &["invalid_link"], "The invitation is no good any more."),
    Answer::problem(
        StatusCode::FORBIDDEN,
        &["invitation_needed"],
        "Only who is invited may make an account.",
    ),
];

pub(super) const PAGE: Description = Description {
    about: "The page for a new account.",
    answers: &[
        Answer::page(StatusCode::OK, "The page."),
        NO_INVITATION[0],
        NO_INVITATION[1],
        Answer::unavailable(),
    ],
    body: None,
    credential: Credential::None,
    id: "registerPage",
    offered: Offered::WithRegistration,
    query: &[INVITATION, NEXT, RD],
};

pub(super) const SUBMIT: Description = Description {
    about: "Makes an account. Where addresses are confirmed, a taken one gets the same answer, and its owner a mail.",
    answers: &[
        Answer::json::<Registered>(StatusCode::CREATED, "Made, or so it seems."),
        Answer::redirect("Made by the form.").with_cookie(),
        Answer::problem(
            StatusCode::BAD_REQUEST,
            &["email_domain", "weak_password"],
            "The address is not of a domain that may register, or the password is too easy to guess.",
        ),
        NO_INVITATION[0],
        NO_INVITATION[1],
        Answer::problem(StatusCode::CONFLICT, &["taken"], "Somebody has this name, or this address."),
        Answer::problem(StatusCode::TOO_MANY_REQUESTS, &["too_many_requests"], "Too many from this source."),
    ],
    body: Some(&Input::of(&[
        Field::text("username", "The name to sign in with.").needed(),
        Field::email("email", "The address. With an invitation it is the invited one."),
        Field::text("name", "The name to be shown."),
        Field::secret("password", "The password, held to the policy of this site.").needed(),
    ])),
    credential: Credential::None,
    id: "register",
    offered: Offered::WithRegistration,
    query: &[INVITATION, NEXT, RD],
};

#[derive(Serialize)]
struct RegisterView<'a> {
    action: &'a str,
    approval: bool,
    confirms: bool,
    csrf_token: &'a str,
    email: &'a str,
    error: Option<Text>,
    /// The field in which the cursor stands.
    focus: &'static str,
    /// The field that is to blame.
    invalid: Option<&'static str>,
    invited: bool,
    login: String,
    name: &'a str,
    needs_email: bool,
    notice: Option<Text>,
    place: &'a str,
    username: &'a str,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Registered<'a> {
    user: NewUser<'a>,
    /// `confirm` the address, `sign_in`, or `wait` for an administrator.
    next: &'static str,
}

/// The person, as typed.
#[derive(Serialize, ToSchema)]
pub(super) struct NewUser<'a> {
    username: &'a str,
    #[schema(required = true)]
    email: Option<&'a str>,
    name: &'a str,
}

/// What the form keeps from one showing to the next.
#[derive(Default)]
struct RegisterForm {
    email: String,
    /// What the invitation's link holds, and whom it is for.
    invitation: Option<(String, Invited)>,
    name: String,
    next: Option<Next>,
    username: String,
}

/// What is said above the form.
enum Message {
    None,
    Domain,
    EmailTaken,
    Invalid(&'static str, Text),
    Limited(Duration),
    StaleForm,
    Unavailable,
    UsernameTaken,
    Weak(Weakness),
}

/// Why there is no form to show.
enum Failed {
    Message(Message),
    Problem(Problem),
}

pub(super) fn page(portal: &Portal, visit: &Visit<'_>) -> Result<Response<Body>, Problem> {
    let form = RegisterForm::new(portal, visit)?;
    Ok(form.show(portal, visit, Message::None))
}

pub(super) async fn submit(
    portal: &Portal,
    visit: &Visit<'_>,
    mut fields: Fields,
) -> Result<Response<Body>, Problem> {
    let mut form = RegisterForm::new(portal, visit)?;
    let password = fields.secret("password");
    // Phones add a blank behind a name; behind a password it may be meant.
    let mut typed = |name| fields.text(name).unwrap_or_default().trim().to_owned();
    form.username = typed("username");
    form.name = typed("name");
    form.email = typed("email");
    if !portal.check_csrf(visit, &mut fields) {
        return Ok(form.show(portal, visit, Message::StaleForm));
    }
    match (form.register(portal, visit, password).await, fields.format) {
        (Ok(next), Format::Form) => {
            let mut response =
                visit.asker.see_login(&portal.pages, form.next.as_ref().map(Next::as_str), None);
            let notice = match next {
                NextStep::Confirm => Notice::RegisteredConfirm,
                NextStep::SignIn => Notice::Registered,
                NextStep::Wait => Notice::RegisteredWaiting,
            };
            set_cookie(&mut response, notice.set(&portal.settings.prefix));
            Ok(response)
        }
        (Ok(next), Format::Json) => Ok(visit.asker.json(StatusCode::CREATED, &form.made(next))),
        (Err(Failed::Problem(problem)), _) => Err(problem),
        (Err(Failed::Message(message)), Format::Form) => Ok(form.show(portal, visit, message)),
        (Err(Failed::Message(message)), Format::Json) => Err(message.problem()),
    }
}

impl RegisterForm {
    /// An empty one, for whom registration is open.
    fn new(portal: &Portal, visit: &Visit<'_>) -> Result<Self, Problem> {
        let mode = portal.accounts.registration().mode;
        let shown = visit.parameter(&[INVITATION.name]).filter(|token| !token.is_empty());
        let invitation = match (mode, shown) {
            (RegistrationMode::Closed, _) => return Err(Problem::not_found()),
            (RegistrationMode::Invite, None) => return Err(needs_invitation(portal)),
            (_, None) => None,
            (_, Some(token)) => {
                let invited = portal.accounts.invited(token, visit.context.received_at);
                let invited = invited.map_err(|error| match error {
                    RegistrationError::Store(error) => failure(&error),
                    _ => invalid_invitation(portal),
                })?;
                Some((token.to_owned(), invited))
            }
        };
        Ok(Self { invitation, next: portal.next(visit.parameter(&["next", "rd"])), ..Self::default() })
    }

    async fn register(
        &self,
        portal: &Portal,
        visit: &Visit<'_>,
        password: Option<SecretString>,
    ) -> Result<NextStep, Failed> {
        let invalid = |field, key| Failed::Message(Message::Invalid(field, Text::new(key)));
        let username: Username =
            self.username.parse().map_err(|_| invalid("username", "register-username-invalid"))?;
        let email: Option<Email> = match (&self.invitation, self.email.as_str()) {
            (Some(_), _) => None,
            (None, "") if !portal.accounts.registration().needs_email() => None,
            (None, typed) => Some(typed.parse().map_err(|_| invalid("email", "register-email-invalid"))?),
        };
        let name: DisplayName = self.name.parse().map_err(|_| invalid("name", "register-name-invalid"))?;
        let password = password.ok_or_else(|| invalid("password", "register-password-empty"))?;
        let person = NewPerson {
            email,
            invitation: self.invitation.as_ref().map(|(token, _)| token.as_str()),
            language: visit.mail_language(),
            name,
            now: visit.context.received_at,
            password,
            source: visit.context.client,
            username,
        };
        portal.accounts.register(person).await.map_err(|error| {
            Failed::Message(match error {
                RegistrationError::Busy => Message::Unavailable,
                RegistrationError::Closed => return Failed::Problem(Problem::not_found()),
                RegistrationError::Domain => Message::Domain,
                RegistrationError::EmailTaken => Message::EmailTaken,
                RegistrationError::InvalidInvitation => return Failed::Problem(invalid_invitation(portal)),
                RegistrationError::Limited { retry_after } => Message::Limited(retry_after),
                RegistrationError::NoEmail => return invalid("email", "register-email-invalid"),
                RegistrationError::NotInvited => return Failed::Problem(needs_invitation(portal)),
                RegistrationError::Store(error) => {
                    failure(&error);
                    Message::Unavailable
                }
                RegistrationError::Unfit(UnfitUsername::Colon) => {
                    return invalid("username", "register-username-colon");
                }
                RegistrationError::Unfit(UnfitUsername::Mixed) => {
                    return invalid("username", "register-username-mixed");
                }
                RegistrationError::UsernameTaken => Message::UsernameTaken,
                RegistrationError::Weak(weakness) => Message::Weak(weakness),
            })
        })
    }

    /// What was typed, and nothing that would tell whether the address was free.
    fn made(&self, next: NextStep) -> Registered<'_> {
        let invited = self.invitation.as_ref().map(|(_, invited)| invited.email.as_str());
        Registered {
            user: NewUser {
                username: &self.username,
                email: invited.or(Some(self.email.as_str()).filter(|email| !email.is_empty())),
                name: &self.name,
            },
            next: match next {
                NextStep::Confirm => "confirm",
                NextStep::SignIn => "sign_in",
                NextStep::Wait => "wait",
            },
        }
    }

    fn show(&self, portal: &Portal, visit: &Visit<'_>, message: Message) -> Response<Body> {
        let settings = portal.accounts.registration();
        let token = portal.form_token(visit);
        let next = self.next.as_ref().map(Next::as_str);
        let invitation = self.invitation.as_ref();
        let query = [("invitation", invitation.map(|(token, _)| token.as_str())), ("next", next)];
        let action = portal.pages.address("/register", &query);
        let invalid = message.field();
        let view = RegisterView {
            action: &action,
            approval: match invitation {
                Some((_, invited)) => invited.waits,
                None => settings.mode == RegistrationMode::Approval,
            },
            confirms: settings.confirm_email,
            csrf_token: &token.token,
            email: invitation.map_or(self.email.as_str(), |(_, invited)| invited.email.as_str()),
            error: message.error(),
            // A password is never shown again, so that is what is missing when nothing else is.
            focus: invalid.unwrap_or(if self.username.is_empty() { "username" } else { "password" }),
            invalid,
            invited: invitation.is_some(),
            login: portal.pages.login_location(next, None),
            name: &self.name,
            needs_email: settings.needs_email(),
            notice: matches!(message, Message::StaleForm).then(|| Text::new("form-stale")),
            place: &visit.place(),
            username: &self.username,
        };
        let page = Page {
            // The redirect leads to our own login page.
            form_targets: "",
            here: &action,
            status: message.status(),
            template: Template::Register,
        };
        let mut response = portal.pages.respond(&visit.asker, page, &view);
        set_cookie(&mut response, token.set_cookie);
        match message {
            Message::Limited(wait) => set_retry_after(&mut response, wait),
            Message::Unavailable => set_retry_after(&mut response, RETRY),
            Message::None
            | Message::Domain
            | Message::EmailTaken
            | Message::Invalid(..)
            | Message::StaleForm
            | Message::UsernameTaken
            | Message::Weak(_) => {}
        }
        response
    }
}

impl Message {
    fn error(&self) -> Option<Text> {
        match self {
            Self::None | Self::StaleForm => None,
            Self::Domain => Some(Text::new("register-email-domain")),
            Self::EmailTaken => Some(Text::new("register-email-taken")),
            Self::Invalid(_, text) => Some(text.clone()),
            Self::Limited(wait) => Some(Text::new("register-limited").with("wait", in_words(*wait))),
            Self::Unavailable => Some(Text::new("register-unavailable")),
            Self::UsernameTaken => Some(Text::new("register-username-taken")),
            Self::Weak(weakness) => Some(weakness_text(weakness)),
        }
    }

    fn field(&self) -> Option<&'static str> {
        match self {
            Self::None | Self::Limited(_) | Self::StaleForm | Self::Unavailable => None,
            Self::Domain | Self::EmailTaken => Some("email"),
            Self::Invalid(field, _) => Some(field),
            Self::UsernameTaken => Some("username"),
            Self::Weak(_) => Some("password"),
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::None => StatusCode::OK,
            Self::Domain | Self::Invalid(..) | Self::Weak(_) => StatusCode::BAD_REQUEST,
            Self::EmailTaken | Self::UsernameTaken => StatusCode::CONFLICT,
            Self::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::StaleForm => StatusCode::FORBIDDEN,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn problem(self) -> Problem {
        let status = self.status();
        let detail = self.error();
        let problem = |code, title| {
            let detail = detail.unwrap_or_else(|| Text::new(title));
            Problem::new(status, code, Text::new(title), detail)
        };
        match self {
            Self::Domain => problem("email_domain", "register-email-domain-title"),
            Self::EmailTaken => problem("taken", "register-email-taken-title"),
            Self::Invalid(_, text) => Problem::bad_request(text),
            Self::Limited(wait) => problem("too_many_requests", "register-limited-title").retry_after(wait),
            Self::Unavailable => Problem::unavailable(RETRY),
            Self::UsernameTaken => problem("taken", "register-username-taken-title"),
            Self::Weak(_) => problem("weak_password", "reset-weak-title"),
            // JSON needs no token.
            Self::None | Self::StaleForm => Problem::internal(),
        }
    }
}

fn needs_invitation(portal: &Portal) -> Problem {
    let title = Text::new("register-needs-invitation-title");
    let detail = Text::new("register-needs-invitation");
    Problem::new(StatusCode::FORBIDDEN, "invitation_needed", title, detail)
        .with_link(Text::new("go-to-login"), portal.pages.login_location(None, None))
}

/// Unknown, used and expired are one answer.
fn invalid_invitation(portal: &Portal) -> Problem {
    let title = Text::new("link-invalid-title");
    Problem::new(StatusCode::BAD_REQUEST, "invalid_link", title, Text::new("invitation-invalid"))
        .with_link(Text::new("go-to-login"), portal.pages.login_location(None, None))
}
