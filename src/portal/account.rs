//! The page of one's own account, and what it can change: one file for each of its sections.
//!
//! Everything here is for who is signed in by a session. What a session alone must not be enough for
//! asks for the present password in the same form, so nobody is sent away to confirm a login first.
//! A change that succeeds leads back to the page with a notice; one that fails shows it with the error
//! in its section. A section has a template in `templates/account/` and a view here.
//!
//! Callers: the portal's dispatch.

use std::time::Duration;

use http::header::WWW_AUTHENTICATE;
use http::{Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use utoipa::ToSchema;

use super::form::{Fields, Format};
use super::notice::Notice;
use super::operation::answer::Answer;
use super::operation::{Credential, Description, Offered};
use super::{Portal, RETRY, Visit, bearer_challenge, failure, set_cookie, set_retry_after};
use crate::account::{OwnChangeError, Proof, SignedIn};
use crate::response::pages::{Page, Template};
use crate::response::texts::{Text, in_words};
use crate::response::{Body, Problem};
use crate::store::User;

pub(super) mod delete;
pub(super) mod invitations;
pub(super) mod password;
pub(super) mod profile;
pub(super) mod sessions;
pub(super) mod tokens;

use invitations::{InvitationFacts, InvitationRow};
use profile::Profile;
use sessions::{SessionFacts, SessionRow};
use tokens::{TokenFacts, TokenRow};

/// Where it is, below the prefix.
pub(super) const PATH: &str = "/account";

pub(super) const PAGE: Description = Description {
    about: "The account of who is signed in: as a page, or its facts.",
    answers: &[
        Answer::json::<AccountFacts>(StatusCode::OK, "The account."),
        Answer::page(StatusCode::OK, "The page."),
        Answer::redirect("To the login page: nobody is signed in."),
    ],
    body: None,
    credential: Credential::Session,
    id: "account",
    offered: Offered::Always,
    query: &[],
};

/// What most changes may answer: whoever is not signed in is sent to the login page by the form.
const DONE: Answer = Answer::redirect("Done by the form; or nobody is signed in.");
const NOTHING: Answer = Answer::nothing("Done.");
/// Where the present password is asked for.
const INCORRECT: Answer =
    Answer::problem(StatusCode::FORBIDDEN, &["incorrect_password"], "The present password is wrong.");
const LIMITED: Answer = Answer::problem(
    StatusCode::TOO_MANY_REQUESTS,
    &["too_many_requests"],
    "Too many failed attempts at this account from this source.",
);

/// The field with the present password.
const CURRENT: &str = "current_password";

/// The sections that can say what went wrong in them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Section {
    Delete,
    Invitations,
    Password,
    Profile,
    Sessions,
    Tokens,
}

impl Section {
    /// As its template is called.
    fn name(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Invitations => "invitations",
            Self::Password => "password",
            Self::Profile => "profile",
            Self::Sessions => "sessions",
            Self::Tokens => "tokens",
        }
    }
}

/// Why a change was not made, for a page and for a program.
#[derive(Debug)]
enum Refusal {
    /// The account or the session has gone meanwhile: sign in again.
    Gone,
    /// Something else than the section's usual: as it is.
    Problem(Problem),
    /// Said above the section's form; `field` is the one to blame, or empty.
    Said {
        code: &'static str,
        field: &'static str,
        retry_after: Option<Duration>,
        status: StatusCode,
        text: Text,
    },
    /// The page was open for too long.
    StaleForm,
}

#[derive(Serialize)]
struct AccountView<'a> {
    csrf_token: &'a str,
    can_change_email: bool,
    can_delete: bool,
    can_invite: bool,
    error: Option<Text>,
    /// The section that the error is said in.
    error_in: &'static str,
    /// Whether the password was typed a short while ago.
    fresh: bool,
    /// The field to blame for it.
    invalid: &'static str,
    invitations: Vec<InvitationRow>,
    logout: String,
    /// A personal access token, shown this once.
    new_token: Option<&'a str>,
    notice: Option<Text>,
    place: &'a str,
    profile: Profile<'a>,
    sessions: Vec<SessionRow>,
    /// The routes that a token can be for.
    token_routes: &'a [String],
    tokens: Vec<TokenRow>,
}

/// What programs are told of the account that they are signed in to.
#[derive(Serialize, ToSchema)]
pub(super) struct AccountFacts<'a> {
    #[serde(flatten)]
    profile: Profile<'a>,
    sessions: Vec<SessionFacts<'a>>,
    tokens: Vec<TokenFacts<'a>>,
    /// Only for who may invite.
    #[serde(skip_serializing_if = "Option::is_none")]
    invitations: Option<Vec<InvitationFacts<'a>>>,
}

/// What is said on the page besides what is always there.
#[derive(Default)]
struct Said {
    error: Option<(Section, Text)>,
    /// A personal access token, to be shown this once.
    new_token: Option<SecretString>,
    field: &'static str,
    notice: Option<Text>,
    retry_after: Option<Duration>,
    status: StatusCode,
}

/// Whether a path is one of a change's.
pub(super) fn is_below(path: &str) -> bool {
    path.strip_prefix(PATH).is_some_and(|rest| rest.starts_with('/'))
}

/// What a POST is to change.
pub(super) enum Change<'a> {
    Delete,
    Invitation(&'a str),
    Invite,
    NewToken,
    OtherSessions,
    Password,
    Profile,
    Session(&'a str),
    Token(&'a str),
}

impl Change<'_> {
    fn section(&self) -> Section {
        match self {
            Self::Delete => Section::Delete,
            Self::Invitation(_) | Self::Invite => Section::Invitations,
            Self::NewToken | Self::Token(_) => Section::Tokens,
            Self::OtherSessions | Self::Session(_) => Section::Sessions,
            Self::Password => Section::Password,
            Self::Profile => Section::Profile,
        }
    }
}

/// Every change. Nothing is read of a body that nobody who is signed in has sent.
pub(super) async fn submit(
    portal: &Portal,
    visit: &Visit<'_>,
    change: Change<'_>,
    fields: impl AsyncFnOnce() -> Result<Fields, Problem>,
) -> Result<Response<Body>, Problem> {
    let Some(who) = who(portal, visit).await? else {
        return signed_out(portal, visit, Format::of(visit.headers)?);
    };
    let mut fields = fields().await?;
    let (section, format) = (change.section(), fields.format);
    let honest = portal.check_csrf(visit, &mut fields);
    let done = match change {
        _ if !honest => Err(Refusal::StaleForm),
        Change::Delete => delete::submit(portal, visit, who, fields).await,
        Change::Invitation(id) => invitations::revoke(portal, visit, who, id, format).await,
        Change::Invite => invitations::create(portal, visit, who, fields).await,
        Change::NewToken => tokens::create(portal, visit, who, fields).await,
        Change::OtherSessions => sessions::revoke_others(portal, visit, who, format).await,
        Change::Password => password::submit(portal, visit, who, fields).await,
        Change::Profile => profile::submit(portal, visit, who, fields).await,
        Change::Session(id) => sessions::revoke(portal, visit, who, id, format).await,
        Change::Token(id) => tokens::revoke(portal, visit, who, id, format).await,
    };
    match (done, format) {
        (Ok(response), _) => Ok(response),
        (Err(Refusal::Gone), _) => signed_out(portal, visit, format),
        (Err(Refusal::Problem(problem)), _) => Err(problem),
        (Err(refusal), Format::Form) => show(portal, visit, who, refusal.said(section)).await,
        (Err(refusal), Format::Json) => Err(refusal.problem()),
    }
}

pub(super) async fn page(portal: &Portal, visit: &Visit<'_>) -> Result<Response<Body>, Problem> {
    let Some(who) = who(portal, visit).await? else {
        let format = if visit.asker.wants_html() { Format::Form } else { Format::Json };
        return signed_out(portal, visit, format);
    };
    let notice = Notice::read(visit.headers);
    let said = Said { notice: notice.map(Notice::text), ..Said::default() };
    if !visit.asker.wants_html() {
        return facts(portal, visit, who).await;
    }
    let mut response = show(portal, visit, who, said).await?;
    if notice.is_some() {
        set_cookie(&mut response, Notice::clear(&portal.settings.prefix));
    }
    Ok(response)
}

/// Whoever is signed in here; `None` where nobody is.
async fn who(portal: &Portal, visit: &Visit<'_>) -> Result<Option<SignedIn>, Problem> {
    let identity = portal.signed_in(visit).await?;
    Ok(identity.and_then(|identity| SignedIn::of(&identity)))
}

/// A person signs in and comes back to the page; a program is told.
fn signed_out(portal: &Portal, visit: &Visit<'_>, format: Format) -> Result<Response<Body>, Problem> {
    let here = portal.pages.address(PATH, &[]);
    match format {
        Format::Form => Ok(visit.asker.see_login(&portal.pages, Some(&here), None)),
        Format::Json => {
            Err(Problem::unauthorized(Some(&here)).with_header(WWW_AUTHENTICATE, bearer_challenge()))
        }
    }
}

/// What a program is told instead of the page.
async fn facts(portal: &Portal, visit: &Visit<'_>, who: SignedIn) -> Result<Response<Body>, Problem> {
    let user = match portal.accounts.own(who) {
        Ok(user) => user,
        Err(error) => match Refusal::from(error) {
            Refusal::Gone => return signed_out(portal, visit, Format::Json),
            refusal => return Err(refusal.problem()),
        },
    };
    let now = visit.context.received_at;
    let sessions = portal.accounts.sessions_of(user.id, now).await.map_err(|error| failure(&error))?;
    let tokens = portal.accounts.personal_tokens(user.id).await.map_err(|error| failure(&error))?;
    let sessions = sessions.iter().map(|session| SessionFacts::new(session, who)).collect();
    let tokens = tokens.iter().map(TokenFacts::new).collect();
    let can_invite = portal.accounts.may_invite(&user);
    let invited = match can_invite {
        true => portal.accounts.invitations_of(user.id, now).await.map_err(|error| failure(&error))?,
        false => Vec::new(),
    };
    let invitations = can_invite.then(|| invited.iter().map(InvitationFacts::new).collect());
    let facts = AccountFacts { invitations, profile: Profile::new(&user), sessions, tokens };
    Ok(visit.asker.json(StatusCode::OK, &facts))
}

async fn show(
    portal: &Portal,
    visit: &Visit<'_>,
    who: SignedIn,
    said: Said,
) -> Result<Response<Body>, Problem> {
    let user = match portal.accounts.own(who) {
        Ok(user) => user,
        Err(error) => match Refusal::from(error) {
            Refusal::Gone => return signed_out(portal, visit, Format::Form),
            refusal => return Err(refusal.problem()),
        },
    };
    let now = visit.context.received_at;
    let sessions = portal.accounts.sessions_of(user.id, now).await.map_err(|error| failure(&error))?;
    let tokens = portal.accounts.personal_tokens(user.id).await.map_err(|error| failure(&error))?;
    let can_invite = portal.accounts.may_invite(&user);
    let invited = match can_invite {
        true => portal.accounts.invitations_of(user.id, now).await.map_err(|error| failure(&error))?,
        false => Vec::new(),
    };
    let token = portal.form_token(visit);
    let fresh = portal.signed_in(visit).await?.is_some_and(|identity| tokens::is_fresh(&identity, now));
    let (section, error) = said.error.unzip();
    let view = AccountView {
        csrf_token: &token.token,
        can_change_email: portal.accounts.sends_mail(),
        can_delete: portal.settings.account_deletion,
        can_invite,
        error,
        error_in: section.map(Section::name).unwrap_or_default(),
        fresh,
        invalid: said.field,
        invitations: invited.iter().map(|invitation| InvitationRow::new(invitation, now)).collect(),
        logout: portal.pages.address("/logout", &[]),
        new_token: said.new_token.as_ref().map(ExposeSecret::expose_secret),
        notice: said.notice,
        place: &visit.place(),
        profile: Profile::new(&user),
        sessions: sessions.iter().map(|session| SessionRow::new(session, who, now)).collect(),
        token_routes: &portal.token_routes,
        tokens: tokens.iter().map(|token| TokenRow::new(token, now)).collect(),
    };
    let page = Page {
        form_targets: "",
        here: &portal.pages.address(PATH, &[]),
        status: said.status,
        template: Template::Account,
    };
    let mut response = portal.pages.respond(&visit.asker, page, &view);
    set_cookie(&mut response, token.set_cookie);
    if let Some(wait) = said.retry_after {
        set_retry_after(&mut response, wait);
    }
    Ok(response)
}

/// Back to the page, which says this once.
fn done(portal: &Portal, visit: &Visit<'_>, notice: Notice) -> Response<Body> {
    let mut response = visit.asker.see_other(&portal.pages.address(PATH, &[]));
    set_cookie(&mut response, notice.set(&portal.settings.prefix));
    response
}

/// The present password out of a form, with where it comes from.
fn proof(visit: &Visit<'_>, fields: &mut Fields) -> Result<Proof, Refusal> {
    match fields.secret(CURRENT) {
        Some(password) => Ok(Proof { password, source: visit.context.client }),
        None => Err(Refusal::incomplete(CURRENT, Text::new("account-present-missing"))),
    }
}

impl Refusal {
    fn incomplete(field: &'static str, text: Text) -> Self {
        Self::Said { code: "bad_request", field, retry_after: None, status: StatusCode::BAD_REQUEST, text }
    }

    fn said(self, section: Section) -> Said {
        match self {
            Self::Said { code: _, field, retry_after, status, text } => {
                Said { error: Some((section, text)), field, retry_after, status, ..Said::default() }
            }
            Self::StaleForm => Said {
                notice: Some(Text::new("account-stale")),
                status: StatusCode::FORBIDDEN,
                ..Said::default()
            },
            // These have an answer of their own.
            Self::Gone | Self::Problem(_) => Said::default(),
        }
    }

    fn problem(self) -> Problem {
        match self {
            Self::Said { retry_after: Some(wait), status: StatusCode::TOO_MANY_REQUESTS, .. } => {
                Problem::too_many_requests(wait)
            }
            Self::Said { retry_after: Some(wait), .. } => Problem::unavailable(wait),
            Self::Said { code, status, text, .. } => {
                Problem::new(status, code, Text::new("account-refused-title"), text)
            }
            Self::Problem(problem) => problem,
            // JSON needs no token, and who has gone is told to sign in.
            Self::Gone | Self::StaleForm => Problem::internal(),
        }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<OwnChangeError> for Refusal {
    fn from(error: OwnChangeError) -> Self {
        let said = |status, code, field, text| Self::Said { code, field, retry_after: None, status, text };
        match error {
            OwnChangeError::Gone => Self::Gone,
            OwnChangeError::Incorrect => {
                let text = Text::new("account-incorrect");
                said(StatusCode::FORBIDDEN, "incorrect_password", CURRENT, text)
            }
            OwnChangeError::Limited { retry_after } => Self::Said {
                code: "too_many_requests",
                field: "",
                retry_after: Some(retry_after),
                status: StatusCode::TOO_MANY_REQUESTS,
                text: Text::new("too-many-attempts").with("wait", in_words(retry_after)),
            },
            OwnChangeError::Weak(weakness) => {
                let text = super::strength::weakness_text(&weakness);
                said(StatusCode::BAD_REQUEST, "weak_password", "password", text)
            }
            OwnChangeError::Store(error) => {
                failure(&error);
                Self::unavailable()
            }
            OwnChangeError::Busy => Self::unavailable(),
        }
    }
}

impl Refusal {
    fn unavailable() -> Self {
        Self::Said {
            code: "unavailable",
            field: "",
            retry_after: Some(RETRY),
            status: StatusCode::SERVICE_UNAVAILABLE,
            text: Text::new("account-unavailable"),
        }
    }
}
