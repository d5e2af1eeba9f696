//! Signing in: the page, and what it sends.
//!
//! Every wrong pair gets the same page with the same sentence, whether the name is unknown, the
//! password wrong or the account disabled. An account that waits for something is told so once the password was right. A form that was open for too long is shown afresh.
//!
//! Callers: the portal's dispatch.

use std::time::Duration;

use http::{Response, StatusCode};
use secrecy::SecretString;
use serde::Serialize;
use utoipa::ToSchema;

use super::form::{Fields, Format};
use super::me::Me;
use super::next::Next;
use super::notice::Notice;
use super::operation::answer::Answer;
use super::operation::input::{Field, Input};
use super::operation::{Credential, Description, Offered, Parameter};
use super::pending::Pending;
use super::{
    Portal, RETRY, Visit, bearer_challenge, failure, set_challenge, set_cookie, set_retry_after, token,
};
use crate::account::{LoggedIn, LoginAttempt, SignedIn};
use crate::authn::LoginFailure;
use crate::request::Host;
use crate::response::pages::{Page, Template};
use crate::response::texts::{Text, in_words, lasting};
use crate::response::{Body, Problem, Prompt};

pub(super) const START: Description = Description {
    about: "Leads to the login page.",
    answers: &[Answer::redirect("To the login page.")],
    body: None,
    credential: Credential::None,
    id: "start",
    offered: Offered::Always,
    query: &[],
};

/// Where to afterwards.
pub(super) const NEXT: Parameter = Parameter {
    about: "Where to afterwards: a path, or an address of a host that is known here.",
    name: "next",
    needed: false,
};
pub(super) const RD: Parameter = Parameter { about: "The same as `next`.", name: "rd", needed: false };
/// The same in a form.
pub(super) const NEXT_FIELD: Field = Field::text(NEXT.name, NEXT.about);
pub(super) const RD_FIELD: Field = Field::text(RD.name, RD.about);

pub(super) const PAGE: Description = Description {
    about: "The login page. Whoever is signed in already goes on at once.",
    answers: &[
        Answer::page(StatusCode::OK, "The page."),
        Answer::redirect("To where the person wanted to go: somebody is signed in already."),
        Answer::unavailable(),
    ],
    body: None,
    credential: Credential::None,
    id: "loginPage",
    offered: Offered::Always,
    query: &[
        NEXT,
        RD,
        Parameter {
            about: "`login` asks for the password again, `select_account` for somebody else.",
            name: "prompt",
            needed: false,
        },
    ],
};

pub(super) const SUBMIT: Description = Description {
    about: "Signs in. Every wrong pair gets one answer.",
    answers: &[
        Answer::json::<Welcome>(StatusCode::OK, "Signed in.").with_cookie(),
        Answer::redirect("Signed in by the form.").with_cookie(),
        Answer::problem(
            StatusCode::UNAUTHORIZED,
            &["incorrect_credentials"],
            "The name, the password or both are wrong.",
        ),
        Answer::problem(
            StatusCode::FORBIDDEN,
            &["unconfirmed", "waiting_for_approval"],
            "The password is right, and the account waits for something.",
        ),
        Answer::problem(
            StatusCode::TOO_MANY_REQUESTS,
            &["too_many_requests"],
            "Too many failed attempts at this account from this source.",
        ),
    ],
    body: Some(&Input::of(&[
        Field::text("username", "The name or the e-mail address.").needed(),
        Field::secret("password", "The password.").needed(),
        Field::flag("remember", "Whether the session outlasts the browser."),
        NEXT_FIELD,
        RD_FIELD,
        Field::text("prompt", "What the page was asked for with."),
    ])),
    credential: Credential::None,
    id: "logIn",
    offered: Offered::Always,
    query: &[],
};

#[derive(Serialize)]
struct LoginView<'a> {
    confirming: bool,
    csrf_token: &'a str,
    error: Option<Text>,
    /// Where a forgotten password is told; none where no mail can be sent.
    forgot: Option<String>,
    /// Where to once somebody has signed in in another tab; none where the password is asked for again anyway.
    go_on: Option<String>,
    invalid: bool,
    next: Option<&'a str>,
    notice: Option<Text>,
    place: &'a str,
    prompt: Option<&'static str>,
    /// Where an account is made; none where nobody may make one.
    register: Option<String>,
    remember: bool,
    remember_for: Option<Text>,
    switch_to: String,
    username: &'a str,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Welcome<'a> {
    user: Me<'a>,
}

/// What the form keeps from one showing to the next.
struct LoginForm {
    next: Option<Next>,
    prompt: Option<Prompt>,
    remember: bool,
    username: String,
}

/// What is said above the form, and with which status.
enum Message {
    None,
    Notice(Notice),
    StaleForm,
    Incomplete,
    Incorrect,
    Limited(Duration),
    Pending(Pending),
    Unavailable,
}

pub(super) async fn page(portal: &Portal, visit: &Visit<'_>) -> Result<Response<Body>, Problem> {
    let next = portal.next(visit.parameter(&["next", "rd"]));
    let prompt = visit.parameter(&["prompt"]).and_then(Prompt::parse);
    let identity = portal.signed_in(visit).await?;
    // Who confirms a login goes on as before: remembered, where the box was ticked then.
    let present = identity.as_ref().filter(|_| prompt == Some(Prompt::Login));
    let remembered =
        present.and_then(|identity| SignedIn::of(identity)).map(|who| portal.accounts.is_remembered(who));
    let remember = remembered.transpose().map_err(|error| failure(&error))?.unwrap_or(false);
    let (prompt, username) = match (identity, prompt) {
        (Some(_), None) => return Ok(visit.asker.see_other(destination(portal, next.as_ref()))),
        (Some(identity), Some(Prompt::Login)) => (prompt, identity.username.to_string()),
        (Some(_), Some(Prompt::SelectAccount)) => (prompt, String::new()),
        // Nobody is signed in: there is nothing to confirm and nobody to change from.
        (None, _) => (None, String::new()),
    };
    let form = LoginForm { next, prompt, remember, username };
    let notice = Notice::read(visit.headers);
    let message = notice.map_or(Message::None, Message::Notice);
    let mut response = form.show(portal, visit, message);
    if notice.is_some() {
        set_cookie(&mut response, Notice::clear(&portal.settings.prefix));
    }
    Ok(response)
}

pub(super) async fn submit(
    portal: &Portal,
    visit: &Visit<'_>,
    mut fields: Fields,
) -> Result<Response<Body>, Problem> {
    let password = fields.secret("password");
    let next = fields.text("next").or(fields.text("rd"));
    let form = LoginForm {
        next: portal.next(next.as_deref()),
        prompt: fields.text("prompt").as_deref().and_then(Prompt::parse),
        remember: fields.flag("remember"),
        // Phones add a blank behind a name; behind a password it may be meant.
        username: fields.text("username").unwrap_or_default().trim().to_owned(),
    };
    if !portal.check_csrf(visit, &mut fields) {
        return Ok(form.show(portal, visit, Message::StaleForm));
    }
    let outcome = match password {
        Some(password) if !form.username.is_empty() => attempt(portal, visit, &form, password).await,
        Some(_) | None => Err(Message::Incomplete),
    };
    match (outcome, fields.format) {
        (Ok(logged_in), Format::Form) => {
            let mut response = visit.asker.see_other(destination(portal, form.next.as_ref()));
            set_cookie(&mut response, Some(logged_in.cookie));
            // A token in a cookie comes before the session, and may be somebody else's or too old for what is wanted.
            token::cookies::clear(portal, visit, &mut response);
            Ok(response)
        }
        (Ok(logged_in), Format::Json) => {
            let user = Me::of(&logged_in.identity);
            let mut response = visit.asker.json(StatusCode::OK, &Welcome { user });
            set_cookie(&mut response, Some(logged_in.cookie));
            token::cookies::clear(portal, visit, &mut response);
            Ok(response)
        }
        (Err(Message::Pending(pending)), Format::Form) => Ok(pending.show(portal, visit, &form.username)),
        (Err(message), Format::Form) => Ok(form.show(portal, visit, message)),
        (Err(message), Format::Json) => Err(message.problem()),
    }
}

async fn attempt(
    portal: &Portal,
    visit: &Visit<'_>,
    form: &LoginForm,
    password: SecretString,
) -> Result<LoggedIn, Message> {
    let attempt = LoginAttempt {
        login: &form.username,
        now: visit.context.received_at,
        password,
        previous: portal.session_cookie(visit),
        remember: form.remember && portal.remember.is_some(),
        source: visit.context.client,
        user_agent: visit.user_agent(),
    };
    portal.accounts.log_in(attempt).await.map_err(|error| match error {
        LoginFailure::Busy => Message::Unavailable,
        LoginFailure::Incorrect => Message::Incorrect,
        LoginFailure::Limited { retry_after } => Message::Limited(retry_after),
        LoginFailure::Store(error) => {
            failure(&error);
            Message::Unavailable
        }
        LoginFailure::Unconfirmed => Message::Pending(Pending::Confirmation),
        LoginFailure::WaitingForApproval => Message::Pending(Pending::Approval),
    })
}

fn destination<'a>(portal: &'a Portal, next: Option<&'a Next>) -> &'a str {
    next.map_or(portal.settings.after_login.as_str(), Next::as_str)
}

impl LoginForm {
    fn show(&self, portal: &Portal, visit: &Visit<'_>, message: Message) -> Response<Body> {
        let token = portal.form_token(visit);
        let next = self.next.as_ref();
        let place = next.and_then(Next::host).map_or_else(|| visit.place(), Host::to_string);
        let confirming = self.prompt == Some(Prompt::Login) && !self.username.is_empty();
        let (error, notice) = message.text();
        let view = LoginView {
            confirming,
            csrf_token: &token.token,
            error,
            forgot: portal.accounts.sends_mail().then(|| portal.pages.address("/forgot", &[])),
            go_on: self.prompt.is_none().then(|| portal.pages.login_location(next.map(Next::as_str), None)),
            invalid: matches!(message, Message::Incorrect | Message::Incomplete),
            next: next.map(Next::as_str),
            notice,
            place: &place,
            prompt: self.prompt.map(Prompt::as_str),
            register: portal
                .registers()
                .then(|| portal.pages.address("/register", &[("next", next.map(Next::as_str))])),
            remember: self.remember,
            remember_for: portal.remember.map(lasting),
            switch_to: portal.pages.login_location(next.map(Next::as_str), Some(Prompt::SelectAccount)),
            username: &self.username,
        };
        let page = Page {
            form_targets: &portal.form_targets(visit, next),
            here: &portal.pages.login_location(next.map(Next::as_str), self.prompt),
            status: message.status(),
            template: Template::Login,
        };
        let mut response = portal.pages.respond(&visit.asker, page, &view);
        set_cookie(&mut response, token.set_cookie);
        match message {
            Message::Incorrect => set_challenge(&mut response),
            Message::Limited(wait) => set_retry_after(&mut response, wait),
            Message::Unavailable => set_retry_after(&mut response, RETRY),
            Message::None
            | Message::Notice(_)
            | Message::StaleForm
            | Message::Incomplete
            | Message::Pending(_) => {}
        }
        response
    }
}

impl Message {
    /// The error, or else the notice.
    fn text(&self) -> (Option<Text>, Option<Text>) {
        match self {
            Self::None | Self::Pending(_) => (None, None),
            Self::Notice(notice) => (None, Some(notice.text())),
            Self::StaleForm => (None, Some(Text::new("form-stale"))),
            Self::Incomplete => (Some(Text::new("login-incomplete")), None),
            Self::Incorrect => (Some(Text::new("login-incorrect")), None),
            Self::Limited(wait) => (Some(Text::new("too-many-attempts").with("wait", in_words(*wait))), None),
            Self::Unavailable => (Some(Text::new("login-unavailable")), None),
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::None | Self::Notice(_) => StatusCode::OK,
            Self::StaleForm | Self::Pending(_) => StatusCode::FORBIDDEN,
            Self::Incomplete => StatusCode::BAD_REQUEST,
            Self::Incorrect => StatusCode::UNAUTHORIZED,
            Self::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn problem(&self) -> Problem {
        match self {
            Self::Incorrect => Problem::new(
                self.status(),
                "incorrect_credentials",
                Text::new("login-incorrect-title"),
                Text::new("login-incorrect"),
            )
            .with_header(http::header::WWW_AUTHENTICATE, bearer_challenge()),
            Self::Limited(wait) => Problem::too_many_requests(*wait),
            Self::Pending(pending) => pending.problem(),
            Self::Unavailable => Problem::unavailable(RETRY),
            Self::Incomplete => {
                Problem::bad_request(Text::verbatim("username and password are both needed."))
            }
            // JSON needs no token, and is shown no notice.
            Self::None | Self::Notice(_) | Self::StaleForm => Problem::internal(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::texts::{Language, Texts};

    #[test]
    fn errors_are_told_by_status_word_and_sentence() {
        let wait = Duration::from_secs(40);
        let texts = Texts::built_in();
        let cases = [
            (Message::Incorrect, 401, "incorrect_credentials", "Incorrect username or password."),
            (Message::Incomplete, 400, "bad_request", "Enter your username and your password."),
            (
                Message::Limited(wait),
                429,
                "too_many_requests",
                "Too many failed attempts. Please try again in 40 seconds.",
            ),
            (
                Message::Unavailable,
                503,
                "unavailable",
                "Passwords can’t be checked at the moment. Please try again in a few seconds.",
            ),
        ];
        for (message, status, code, sentence) in cases {
            assert_eq!((message.status().as_u16(), message.problem().code), (status, code));
            assert_eq!(message.problem().status, message.status(), "form and JSON agree");
            let said = message.text().0.map(|text| texts.say(Language::English, &text));
            assert_eq!(said.as_deref(), Some(sentence));
        }
    }
}
