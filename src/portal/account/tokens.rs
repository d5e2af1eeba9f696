//! Personal access tokens: made here, shown once, revoked.
//!
//! Making one asks for a password that was typed a short while ago, or for it now: a token outlives the session
//! that made it. Revoking asks for nothing, as with sessions. Scopes are an administrator's to give.
//!
//! Callers: `account`.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use http::{Response, StatusCode};
use secrecy::ExposeSecret;
use serde::Serialize;
use utoipa::ToSchema;

use super::{CURRENT, DONE, INCORRECT, LIMITED, NOTHING, Refusal, Said, SignedIn, done, proof, show};
use crate::account::{MadePersonalToken, NewPersonalToken};
use crate::identity::{Identity, SessionId, TokenId, TokenLabel};
use crate::portal::form::{Fields, Format};
use crate::portal::me::rfc3339;
use crate::portal::notice::Notice;
use crate::portal::operation::answer::Answer;
use crate::portal::operation::input::{Field, Input};
use crate::portal::operation::{Credential, Description, Offered};
use crate::portal::{Portal, RETRY, Visit, failure};
use crate::response::texts::{Text, ago, lasting};
use crate::response::{Body, Problem};
use crate::store::{PERSONAL_TOKENS_PER_ACCOUNT, PersonalToken, PersonalTokenError};

/// A password typed within this time is not asked for again.
const FRESH: Duration = Duration::from_secs(15 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest choice of an end, in days; there is also none.
const LONGEST_DAYS: u64 = 3650;

pub(in crate::portal) const CREATE: Description = Description {
    about: "Makes a personal access token, which is shown this once.",
    answers: &[
        Answer::json::<MadeFacts>(StatusCode::CREATED, "Made.").leading_to(REVOKE.id),
        Answer::page(StatusCode::CREATED, "Made by the form: the page shows it."),
        Answer::redirect("Nobody is signed in."),
        INCORRECT,
        Answer::problem(
            StatusCode::CONFLICT,
            &["too_many_tokens"],
            "The account has as many as it may have.",
        ),
        LIMITED,
    ],
    body: Some(&Input::closed(&[
        Field::text("name", "What it is called.").needed(),
        Field::number("expires_in_days", 1, LONGEST_DAYS, "When it ends; without, never."),
        Field::routes("routes", "The routes that it is good for; without, all."),
        Field::no_list("scopes", "Scopes are an administrator's to give."),
        Field::secret(CURRENT, "The present password, if it was typed more than 15 minutes ago."),
    ])),
    credential: Credential::Session,
    id: "createToken",
    offered: Offered::Always,
    query: &[],
};

pub(in crate::portal) const REVOKE: Description = Description {
    about: "Revokes one of the account's personal access tokens.",
    answers: &[
        NOTHING,
        DONE,
        Answer::problem(StatusCode::NOT_FOUND, &["not_found"], "The account has no such token."),
    ],
    body: Some(&Input::EMPTY),
    credential: Credential::Session,
    id: "revokeOwnToken",
    offered: Offered::Always,
    query: &[],
};

/// One token, as programs are told.
#[derive(Serialize, ToSchema)]
pub(in crate::portal) struct TokenFacts<'a> {
    #[schema(value_type = String)]
    id: TokenId,
    name: &'a str,
    /// The routes that it is good for; none: all.
    routes: &'a BTreeSet<String>,
    scopes: Vec<&'a str>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(required = true, format = DateTime)]
    expires_at: Option<String>,
    #[schema(required = true, format = DateTime)]
    last_used_at: Option<String>,
}

/// One token, freshly made, as programs are told.
#[derive(Serialize, ToSchema)]
pub(in crate::portal) struct MadeFacts<'a> {
    /// The token itself.
    token: &'a str,
    #[serde(flatten)]
    facts: TokenFacts<'a>,
}

/// One token, as a row of the page.
#[derive(Serialize)]
pub(super) struct TokenRow {
    id: TokenId,
    name: String,
    routes: Vec<String>,
    made: Text,
    made_at: String,
    expires: Option<Text>,
    expires_at: String,
    last_used: Option<Text>,
    last_used_at: String,
}

impl<'a> TokenFacts<'a> {
    pub(super) fn new(token: &'a PersonalToken) -> Self {
        Self {
            id: token.id(),
            name: token.label.as_str(),
            routes: &token.routes,
            scopes: token.scopes.iter().map(|scope| scope.as_str()).collect(),
            created_at: rfc3339(token.created_at),
            expires_at: token.expires_at.map(rfc3339),
            last_used_at: token.last_used_at.map(rfc3339),
        }
    }
}

impl TokenRow {
    pub(super) fn new(token: &PersonalToken, now: SystemTime) -> Self {
        let since = |then: SystemTime| ago(now.duration_since(then).unwrap_or_default());
        let left = |end: SystemTime| {
            let left = lasting(end.duration_since(now).unwrap_or_default());
            Text::new("account-token-left").with("left", left)
        };
        Self {
            id: token.id(),
            name: token.label.to_string(),
            routes: token.routes.iter().cloned().collect(),
            made: since(token.created_at),
            made_at: rfc3339(token.created_at),
            expires: token.expires_at.map(left),
            expires_at: token.expires_at.map(rfc3339).unwrap_or_default(),
            last_used: token.last_used_at.map(since),
            last_used_at: token.last_used_at.map(rfc3339).unwrap_or_default(),
        }
    }
}

/// Whether the password was typed a short while ago.
pub(super) fn is_fresh(identity: &Identity, now: SystemTime) -> bool {
    now.duration_since(identity.authenticated_at).is_ok_and(|age| age < FRESH)
}

/// `POST /account/tokens`.
pub(super) async fn create(
    portal: &Portal,
    visit: &Visit<'_>,
    who: SignedIn,
    mut fields: Fields,
) -> Result<Response<Body>, Refusal> {
    let now = visit.context.received_at;
    let new = wanted(portal, &mut fields)?;
    let identity = portal.signed_in(visit).await?.ok_or(Refusal::Gone)?;
    if !is_fresh(&identity, now) {
        let proof = proof(visit, &mut fields)?;
        portal.accounts.confirm(who.user, proof).await?;
    }
    let session = SessionId::from_bytes(*who.session.as_bytes());
    let made = portal.accounts.create_personal_token(who.user, Some(session), new, now).await?;
    let MadePersonalToken { kept, token } = made;
    match fields.format {
        Format::Json => {
            let facts = MadeFacts { token: token.expose_secret(), facts: TokenFacts::new(&kept) };
            Ok(visit.asker.json(StatusCode::CREATED, &facts))
        }
        // Not by a redirect: what is shown once must be nowhere in between.
        Format::Form => {
            let said = Said { new_token: Some(token), status: StatusCode::CREATED, ..Said::default() };
            Ok(show(portal, visit, who, said).await?)
        }
    }
}

/// `POST /account/tokens/{id}/revoke`.
pub(super) async fn revoke(
    portal: &Portal,
    visit: &Visit<'_>,
    who: SignedIn,
    id: &str,
    format: Format,
) -> Result<Response<Body>, Refusal> {
    // What names none, somebody else's and one that has ended are one answer.
    let id: TokenId = id.parse().map_err(|_| Problem::not_found())?;
    let ended = portal.accounts.revoke_personal_token(id, Some(who.user)).await;
    ended.map_err(|error| failure(&error))?.ok_or_else(Problem::not_found)?;
    Ok(match format {
        Format::Form => done(portal, visit, Notice::TokenRevoked),
        Format::Json => visit.asker.no_content(),
    })
}

fn wanted(portal: &Portal, fields: &mut Fields) -> Result<NewPersonalToken, Refusal> {
    let name = fields.text("name").unwrap_or_default();
    let label: TokenLabel =
        name.parse().map_err(|_| Refusal::incomplete("name", Text::new("account-token-name-odd")))?;
    let days = fields.number("expires_in_days")?;
    if days.is_some_and(|days| !(1..=LONGEST_DAYS).contains(&days)) {
        return Err(Refusal::incomplete("expires_in_days", Text::new("account-token-days-odd")));
    }
    if !fields.list("scopes").is_empty() {
        return Err(Refusal::incomplete("scopes", Text::new("account-token-no-scopes")));
    }
    let routes = fields.list("routes");
    if let Some(unknown) = routes.iter().find(|route| !portal.token_routes.contains(*route)) {
        let names = portal.token_routes.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let text = Text::new("account-token-route-odd").with("route", unknown.clone()).with("routes", names);
        return Err(Refusal::incomplete("routes", text));
    }
    Ok(NewPersonalToken {
        expires_in: days.map(|days| DAY * u32::try_from(days).unwrap_or(u32::MAX)),
        label,
        routes: routes.into_iter().collect(),
        scopes: BTreeSet::new(),
    })
}

impl From<PersonalTokenError> for Refusal {
    fn from(error: PersonalTokenError) -> Self {
        match error {
            PersonalTokenError::NoAccount | PersonalTokenError::NoSession => Self::Gone,
            PersonalTokenError::TooMany => Self::Said {
                field: "name",
                code: "too_many_tokens",
                retry_after: None,
                status: StatusCode::CONFLICT,
                text: Text::new("account-token-too-many")
                    .with("limit", PERSONAL_TOKENS_PER_ACCOUNT.to_string()),
            },
            PersonalTokenError::Store(error) => {
                tracing::error!(%error, "a personal access token was not made");
                Self::Problem(Problem::unavailable(RETRY))
            }
        }
    }
}
