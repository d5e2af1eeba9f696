//! Deleting one's own account, where `portal.account_deletion` allows it.
//!
//! Callers: `account`.

use http::Response;

use super::{CURRENT, DONE, INCORRECT, LIMITED, NOTHING, Refusal, SignedIn, proof};
use crate::portal::form::{Fields, Format};
use crate::portal::notice::Notice;
use crate::portal::operation::input::{Field, Input};
use crate::portal::operation::{Credential, Description, Offered};
use crate::portal::{Portal, Visit, set_cookie};
use crate::response::Body;

pub(in crate::portal) const SUBMIT: Description = Description {
    about: "Deletes the account.",
    answers: &[NOTHING.with_cookie(), DONE, INCORRECT, LIMITED],
    body: Some(&Input::of(&[Field::secret(CURRENT, "The present password.").needed()])),
    credential: Credential::Session,
    id: "deleteAccount",
    offered: Offered::WithDeletion,
    query: &[],
};

/// `POST /account/delete`: `current_password`.
pub(super) async fn submit(
    portal: &Portal,
    visit: &Visit<'_>,
    who: SignedIn,
    mut fields: Fields,
) -> Result<Response<Body>, Refusal> {
    let proof = proof(visit, &mut fields)?;
    portal.accounts.delete_own(who, proof).await?;
    let mut response = match fields.format {
        Format::Form => {
            let mut response = visit.asker.see_login(&portal.pages, None, None);
            set_cookie(&mut response, Notice::AccountDeleted.set(&portal.settings.prefix));
            response
        }
        Format::Json => visit.asker.no_content(),
    };
    set_cookie(&mut response, Some(portal.accounts.removal_cookie()));
    Ok(response)
}
