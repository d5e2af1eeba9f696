//! Where one is signed in, and signing out there.
//!
//! Ending a session asks for no password: it takes nothing from whose account it is, and who has lost a
//! device is in a hurry.
//!
//! Callers: `account`.

use std::net::IpAddr;
use std::time::SystemTime;

use http::{Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::{DONE, NOTHING, Refusal, SignedIn, done};
use crate::account::Device;
use crate::portal::form::Format;
use crate::portal::me::rfc3339;
use crate::portal::notice::Notice;
use crate::portal::operation::answer::Answer;
use crate::portal::operation::input::Input;
use crate::portal::operation::{Credential, Description, Offered};
use crate::portal::{Portal, Visit, failure, set_cookie};
use crate::response::Body;
use crate::response::texts::{Text, ago};
use crate::store::{Session, ShortId};

pub(in crate::portal) const REVOKE: Description = Description {
    about: "Ends one of the account's sessions.",
    answers: &[
        NOTHING,
        DONE,
        Answer::problem(StatusCode::NOT_FOUND, &["not_found"], "The account has no such session."),
    ],
    body: Some(&Input::EMPTY),
    credential: Credential::Session,
    id: "revokeSession",
    offered: Offered::Always,
    query: &[],
};

pub(in crate::portal) const REVOKE_OTHERS: Description = Description {
    about: "Ends all sessions of the account but this one.",
    answers: &[Answer::json::<Ended>(StatusCode::OK, "Done."), DONE],
    body: Some(&Input::EMPTY),
    credential: Credential::Session,
    id: "revokeOtherSessions",
    offered: Offered::Always,
    query: &[],
};

/// One session, as programs are told.
#[derive(Serialize, ToSchema)]
pub(in crate::portal) struct SessionFacts<'a> {
    id: String,
    /// Whether it is this one.
    current: bool,
    /// Where it was begun.
    #[schema(value_type = String)]
    address: IpAddr,
    user_agent: &'a str,
    #[schema(format = DateTime)]
    signed_in_at: String,
    #[schema(format = DateTime)]
    last_seen: String,
    #[schema(format = DateTime)]
    expires_at: String,
    /// Whether it outlasts the browser.
    remembered: bool,
}

/// One session, as a row of the page.
#[derive(Serialize)]
pub(super) struct SessionRow {
    id: String,
    current: bool,
    address: IpAddr,
    device: Text,
    last_seen: Text,
    last_seen_at: String,
    signed_in: Text,
    signed_in_at: String,
    remembered: bool,
}

#[derive(Serialize, ToSchema)]
pub(in crate::portal) struct Ended {
    /// How many there were.
    ended: usize,
}

impl<'a> SessionFacts<'a> {
    pub(super) fn new(session: &'a Session, who: SignedIn) -> Self {
        Self {
            address: session.client,
            current: session.digest == who.session,
            expires_at: rfc3339(session.expires_at),
            id: ShortId::from(session.digest).to_string(),
            last_seen: rfc3339(session.last_seen),
            remembered: session.remembered,
            signed_in_at: rfc3339(session.authenticated_at),
            user_agent: &session.user_agent,
        }
    }
}

impl SessionRow {
    pub(super) fn new(session: &Session, who: SignedIn, now: SystemTime) -> Self {
        let current = session.digest == who.session;
        // What was written down last may be a while ago; this one is in use now.
        let last_seen = if current { now } else { session.last_seen };
        Self {
            address: session.client,
            current,
            device: device(&session.user_agent),
            id: ShortId::from(session.digest).to_string(),
            last_seen: since(last_seen, now),
            last_seen_at: rfc3339(last_seen),
            remembered: session.remembered,
            signed_in: since(session.authenticated_at, now),
            signed_in_at: rfc3339(session.authenticated_at),
        }
    }
}

/// `POST /account/sessions/{id}/revoke`.
pub(super) async fn revoke(
    portal: &Portal,
    visit: &Visit<'_>,
    who: SignedIn,
    id: &str,
    format: Format,
) -> Result<Response<Body>, Refusal> {
    // What names none, somebody else's and one that has ended are one answer.
    let id: ShortId = id.parse().map_err(|_| gone())?;
    let ended = portal.accounts.revoke_session(id, Some(who.user)).await;
    let ended = ended.map_err(|error| failure(&error))?.ok_or_else(gone)?;
    let own = ended.digest == who.session;
    let mut response = match format {
        Format::Form if own => {
            let mut response = visit.asker.see_other(&portal.settings.after_logout);
            set_cookie(&mut response, Notice::SignedOut.set(&portal.settings.prefix));
            response
        }
        Format::Form => done(portal, visit, Notice::SessionEnded),
        Format::Json => visit.asker.no_content(),
    };
    set_cookie(&mut response, own.then(|| portal.accounts.removal_cookie()));
    Ok(response)
}

/// `POST /account/sessions/revoke-others`.
pub(super) async fn revoke_others(
    portal: &Portal,
    visit: &Visit<'_>,
    who: SignedIn,
    format: Format,
) -> Result<Response<Body>, Refusal> {
    let SignedIn { session, user } = who;
    let ended = portal.accounts.revoke_other_sessions(user, session).await;
    let ended = ended.map_err(|error| failure(&error))?;
    Ok(match format {
        Format::Form => done(portal, visit, Notice::OtherSessionsEnded),
        Format::Json => visit.asker.json(StatusCode::OK, &Ended { ended }),
    })
}

fn gone() -> Refusal {
    let text = Text::new("account-session-gone");
    Refusal::Said { code: "not_found", field: "", retry_after: None, status: StatusCode::NOT_FOUND, text }
}

fn device(user_agent: &str) -> Text {
    match Device::of(user_agent) {
        Device::Known { browser, system: Some(system) } => {
            Text::new("account-device").with("browser", browser).with("system", system)
        }
        Device::Known { browser, system: None } => Text::verbatim(browser),
        Device::Silent => Text::new("account-device-unknown"),
        Device::Unknown(words) => Text::verbatim(words.to_owned()),
    }
}

fn since(then: SystemTime, now: SystemTime) -> Text {
    ago(now.duration_since(then).unwrap_or_default())
}
