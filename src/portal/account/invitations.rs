//! Whom one has invited, and inviting others, where the configuration lets members do so.
//!
//! Inviting asks for a password that was typed a short while ago, or for it now: it sends a mail in one's name. The
//! link is in that mail alone. Taking an invitation back asks for nothing, as with sessions.
//!
//! Callers: `account`.

use std::time::SystemTime;

use http::{Response, StatusCode};
use serde::Serialize;

use super::tokens::is_fresh;
use super::{Refusal, SignedIn, done, proof};
use crate::account::MemberInviteError;
use crate::identity::Email;
use crate::portal::form::{Fields, Format};
use crate::portal::me::rfc3339;
use crate::portal::notice::Notice;
use crate::portal::{Portal, Visit, failure};
use crate::response::texts::{Text, lasting};
use crate::response::{Body, Problem};
use crate::store::{EndInvitations, Invitation, ShortId};

/// One open invitation, as programs are told.
#[derive(Serialize)]
pub(super) struct InvitationFacts<'a> {
    id: ShortId,
    email: &'a str,
    expires_at: String,
}

/// One open invitation, as a row of the page.
#[derive(Serialize)]
pub(super) struct InvitationRow {
    id: ShortId,
    email: String,
    expires: Text,
    expires_at: String,
}

impl<'a> InvitationFacts<'a> {
    pub(super) fn new(invitation: &'a Invitation) -> Self {
        Self {
            email: invitation.email.as_str(),
            expires_at: rfc3339(invitation.expires_at),
            id: invitation.digest.into(),
        }
    }
}

impl InvitationRow {
    pub(super) fn new(invitation: &Invitation, now: SystemTime) -> Self {
        let left = lasting(invitation.expires_at.duration_since(now).unwrap_or_default());
        Self {
            email: invitation.email.to_string(),
            expires: Text::new("account-invite-left").with("left", left),
            expires_at: rfc3339(invitation.expires_at),
            id: invitation.digest.into(),
        }
    }
}

/// `POST /account/invitations`: `email`, and `current_password` where the login is a while ago.
pub(super) async fn create(
    portal: &Portal,
    visit: &Visit<'_>,
    who: SignedIn,
    mut fields: Fields,
) -> Result<Response<Body>, Refusal> {
    let now = visit.context.received_at;
    let typed = fields.text("email")?.unwrap_or_default();
    let email: Email = typed
        .trim()
        .parse()
        .map_err(|_| Refusal::incomplete("email", Text::new("register-email-invalid")))?;
    let identity = portal.signed_in(visit).await?.ok_or(Refusal::Gone)?;
    if !is_fresh(&identity, now) {
        let proof = proof(visit, &mut fields)?;
        portal.accounts.confirm(who.user, proof).await?;
    }
    let (source, language) = (visit.context.client, visit.mail_language());
    let made = portal.accounts.invite_as_member(who, email, source, language, now).await?;
    Ok(match fields.format {
        Format::Form => done(portal, visit, Notice::InvitationSent),
        Format::Json => visit.asker.json(StatusCode::CREATED, &InvitationFacts::new(&made)),
    })
}

/// `POST /account/invitations/{id}/revoke`.
pub(super) async fn revoke(
    portal: &Portal,
    visit: &Visit<'_>,
    who: SignedIn,
    id: &str,
    format: Format,
) -> Result<Response<Body>, Refusal> {
    // What names none, somebody else's and one that was used are one answer.
    let id: ShortId = id.parse().map_err(|_| gone())?;
    let which = EndInvitations::One { id, of: Some(who.user) };
    match portal.accounts.revoke_invitations(which).await.map_err(|error| failure(&error))? {
        0 => Err(gone()),
        _ => Ok(match format {
            Format::Form => done(portal, visit, Notice::InvitationRevoked),
            Format::Json => visit.asker.no_content(),
        }),
    }
}

fn gone() -> Refusal {
    said(StatusCode::NOT_FOUND, "not_found", "", Text::new("account-invite-gone"))
}

fn said(status: StatusCode, code: &'static str, field: &'static str, text: Text) -> Refusal {
    Refusal::Said { code, field, retry_after: None, status, text }
}

impl From<MemberInviteError> for Refusal {
    fn from(error: MemberInviteError) -> Self {
        match error {
            MemberInviteError::Domain => {
                let text = Text::new("register-email-domain");
                said(StatusCode::BAD_REQUEST, "email_domain", "email", text)
            }
            MemberInviteError::Mailbox => {
                let text = Text::new("account-invite-mailbox");
                said(StatusCode::TOO_MANY_REQUESTS, "too_many_mails", "email", text)
            }
            MemberInviteError::NotAllowed => Self::Problem(Problem::not_found()),
            MemberInviteError::Own(error) => error.into(),
            MemberInviteError::Same => {
                said(StatusCode::BAD_REQUEST, "bad_request", "email", Text::new("address-same"))
            }
            MemberInviteError::TooMany { limit } => {
                let text = Text::new("account-invite-too-many").with("limit", limit.to_string());
                said(StatusCode::CONFLICT, "too_many_invitations", "email", text)
            }
        }
    }
}
