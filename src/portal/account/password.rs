//! A new password for oneself: with the present one, everybody else out, and a new cookie.
//!
//! Callers: `account`.

use http::{Response, StatusCode};
use secrecy::ExposeSecret;

use super::{CURRENT, DONE, INCORRECT, LIMITED, NOTHING, Refusal, SignedIn, done, proof};
use crate::portal::form::{Fields, Format};
use crate::portal::notice::Notice;
use crate::portal::operation::answer::Answer;
use crate::portal::operation::input::{Field, Input};
use crate::portal::operation::{Credential, Description, Offered};
use crate::portal::{Portal, Visit, set_cookie};
use crate::response::Body;
use crate::response::texts::Text;

pub(in crate::portal) const SUBMIT: Description = Description {
    about: "Changes the password, and ends the account's other sessions.",
    answers: &[
        NOTHING.with_cookie(),
        DONE,
        Answer::problem(StatusCode::BAD_REQUEST, &["weak_password"], "The password is too easy to guess."),
        INCORRECT,
        LIMITED,
    ],
    body: Some(&Input::of(&[
        Field::secret(CURRENT, "The present password.").needed(),
        Field::secret("password", "The new one, held to the policy of this site.").needed(),
        Field::secret("password_again", "The same once more, where a person types it."),
    ])),
    credential: Credential::Session,
    id: "changePassword",
    offered: Offered::Always,
    query: &[],
};

/// `POST /account/password`: `current_password`, `password`; the page has `password_again` as well.
pub(super) async fn submit(
    portal: &Portal,
    visit: &Visit<'_>,
    who: SignedIn,
    mut fields: Fields,
) -> Result<Response<Body>, Refusal> {
    let proof = proof(visit, &mut fields)?;
    let new = fields.secret("password");
    let new = new.ok_or_else(|| Refusal::incomplete("password", Text::new("account-new-missing")))?;
    let again = fields.secret("password_again");
    if again.is_some_and(|again| again.expose_secret() != new.expose_secret()) {
        return Err(Refusal::incomplete("password", Text::new("reset-differs")));
    }
    let (user_agent, now) = (visit.user_agent(), visit.context.received_at);
    let cookie = portal.accounts.change_own_password(who, proof, new, user_agent, now).await?;
    let mut response = match fields.format {
        Format::Form => done(portal, visit, Notice::PasswordChanged),
        Format::Json => visit.asker.no_content(),
    };
    set_cookie(&mut response, Some(cookie));
    Ok(response)
}
