//! A new password for oneself: with the present one, everybody else out, and a new cookie.
//!
//! Callers: `account`.

use http::Response;
use secrecy::ExposeSecret;

use super::{Refusal, SignedIn, done, proof};
use crate::portal::form::{Fields, Format};
use crate::portal::notice::Notice;
use crate::portal::{Portal, Visit, set_cookie};
use crate::response::Body;
use crate::response::texts::Text;

/// `POST /account/password`: `current_password`, `password`; the page has `password_again` as well.
pub(super) async fn submit(
    portal: &Portal,
    visit: &Visit<'_>,
    who: SignedIn,
    mut fields: Fields,
) -> Result<Response<Body>, Refusal> {
    let proof = proof(visit, &mut fields)?;
    let new = fields.secret("password")?;
    let new = new.ok_or_else(|| Refusal::incomplete("password", Text::new("account-new-missing")))?;
    let again = fields.secret("password_again")?;
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
