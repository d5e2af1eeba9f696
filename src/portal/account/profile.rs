//! Who one is here: name, address and roles; the name to be shown can be changed.
//!
//! Callers: `account`.

use std::collections::BTreeSet;

use http::{Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::{DONE, Refusal, SignedIn, User, done};
use crate::identity::{DisplayName, Role};
use crate::portal::form::{Fields, Format};
use crate::portal::notice::Notice;
use crate::portal::operation::answer::Answer;
use crate::portal::operation::input::{Field, Input};
use crate::portal::operation::{Credential, Description, Offered};
use crate::portal::{Portal, Visit};
use crate::response::Body;
use crate::response::texts::Text;

pub(in crate::portal) const SUBMIT: Description = Description {
    about: "Changes the name that is shown.",
    answers: &[Answer::json::<Profile>(StatusCode::OK, "The profile as it is now."), DONE],
    body: Some(&Input::of(&[Field::text("name", "The name to be shown; it may be empty.").there()])),
    credential: Credential::Session,
    id: "changeProfile",
    offered: Offered::Always,
    query: &[],
};

/// As the page shows it and as programs are told.
#[derive(Serialize, ToSchema)]
pub(in crate::portal) struct Profile<'a> {
    username: &'a str,
    #[schema(required = true)]
    email: Option<&'a str>,
    name: &'a str,
    #[schema(value_type = Vec<String>)]
    roles: &'a BTreeSet<Role>,
}

impl<'a> Profile<'a> {
    pub(super) fn new(user: &'a User) -> Self {
        Self {
            email: user.email.as_ref().map(|email| email.as_str()),
            name: user.name.as_str(),
            roles: &user.roles,
            username: user.username.as_str(),
        }
    }
}

/// `POST /account/profile`: `name`, which may be empty.
pub(super) async fn submit(
    portal: &Portal,
    visit: &Visit<'_>,
    who: SignedIn,
    mut fields: Fields,
) -> Result<Response<Body>, Refusal> {
    if !fields.has("name") {
        return Err(Refusal::incomplete("name", Text::new("account-name-odd")));
    }
    let name = fields.text("name").unwrap_or_default();
    let name: DisplayName =
        name.trim().parse().map_err(|_| Refusal::incomplete("name", Text::new("account-name-odd")))?;
    let user = portal.accounts.rename_own(who, name).await?;
    Ok(match fields.format {
        Format::Form => done(portal, visit, Notice::ProfileSaved),
        Format::Json => visit.asker.json(StatusCode::OK, &Profile::new(&user)),
    })
}
