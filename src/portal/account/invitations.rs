//! Whom one has invited, and inviting others, where the configuration lets members do so.
//!
//! Inviting asks for a password that was typed a short while ago, or for it now: it sends a mail in one's name. The
//! link is in that mail alone. Taking an invitation back asks for nothing, as with sessions.
//!
//! Callers: `account`.

use std::time::{Duration, SystemTime};

use http::{Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::tokens::is_fresh;
use super::{CURRENT, DONE, INCORRECT, NOTHING, Refusal, SignedIn, done, proof};
use crate::account::MemberInviteError;
use crate::identity::Email;
use crate::portal::form::{Fields, Format};
use crate::portal::me::rfc3339;
use crate::portal::notice::Notice;
use crate::portal::operation::answer::Answer;
use crate::portal::operation::input::{Field, Input};
use crate::portal::operation::{Credential, Description, Offered};
use crate::portal::{Portal, Visit, failure};
use crate::response::Body;
use crate::response::texts::{Text, lasting};
use crate::store::{EndInvitations, Invitation, ShortId};

/// When a mailbox that has had enough invitations takes further ones.
const MAILBOX_WAIT: Duration = Duration::from_secs(60 * 60);

pub(in crate::portal) const CREATE: Description = Description {
    about: "Has an invitation mailed. Where the address has an account, its owner is told instead, and the answer is the same.",
    answers: &[
        Answer::json::<InvitationFacts>(StatusCode::CREATED, "A mail is on its way.").leading_to(REVOKE.id),
        DONE,
        Answer::problem(
            StatusCode::BAD_REQUEST,
            &["email_domain"],
            "The address is not of a domain that may register.",
        ),
        INCORRECT,
        Answer::problem(StatusCode::FORBIDDEN, &["not_allowed"], "This account may not invite."),
        Answer::problem(StatusCode::CONFLICT, &["too_many_invitations"], "As many are open as there may be."),
        Answer::problem(
            StatusCode::TOO_MANY_REQUESTS,
            &["too_many_requests"],
            "Too many failed attempts at this account, or too many mails from this source or to this address.",
        ),
    ],
    body: Some(&Input::of(&[
        Field::email("email", "Whom to invite.").needed(),
        Field::secret(CURRENT, "The present password, if it was typed more than 15 minutes ago."),
    ])),
    credential: Credential::Session,
    id: "invite",
    offered: Offered::WithInvitations,
    query: &[],
};

pub(in crate::portal) const REVOKE: Description = Description {
    about: "Takes back an invitation that the account has sent.",
    answers: &[
        NOTHING,
        DONE,
        Answer::problem(StatusCode::NOT_FOUND, &["not_found"], "The account has no such open invitation."),
    ],
    body: Some(&Input::EMPTY),
    credential: Credential::Session,
    id: "revokeInvitation",
    offered: Offered::WithInvitations,
    query: &[],
};

/// One open invitation, as programs are told.
#[derive(Serialize, ToSchema)]
pub(in crate::portal) struct InvitationFacts<'a> {
    #[schema(value_type = String)]
    id: ShortId,
    email: &'a str,
    /// It ends here, used or not.
    #[schema(format = DateTime)]
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
    let typed = fields.text("email").unwrap_or_default();
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
                Self::Said {
                    code: "too_many_requests",
                    field: "email",
                    retry_after: Some(MAILBOX_WAIT),
                    status: StatusCode::TOO_MANY_REQUESTS,
                    text,
                }
            }
            MemberInviteError::NotAllowed => {
                said(StatusCode::FORBIDDEN, "not_allowed", "", Text::new("account-invite-not-allowed"))
            }
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
