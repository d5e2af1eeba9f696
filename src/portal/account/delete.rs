//! Deleting one's own account, where `portal.account_deletion` allows it.
//!
//! Callers: `account`.

use http::Response;

use super::{Refusal, SignedIn, proof};
use crate::portal::form::{Fields, Format};
use crate::portal::notice::Notice;
use crate::portal::{Portal, Visit, set_cookie};
use crate::response::Body;

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
