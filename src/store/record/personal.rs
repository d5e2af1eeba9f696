//! How a personal access token looks on disk.
//!
//! Callers: the engines.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{decode, encode, millis, time};
use crate::identity::{Scope, TokenLabel, UserId};
use crate::store::{Digest, PersonalToken, StoreError};

#[derive(Deserialize, Serialize)]
struct PersonalTokenRow {
    created_at: u64,
    expires_at: Option<u64>,
    label: TokenLabel,
    last_used_at: Option<u64>,
    routes: BTreeSet<String>,
    scopes: BTreeSet<Scope>,
    user_id: UserId,
}

pub(in crate::store) fn encode_personal_token(token: &PersonalToken) -> Result<Vec<u8>, StoreError> {
    encode(&PersonalTokenRow {
        created_at: millis(token.created_at),
        expires_at: token.expires_at.map(millis),
        label: token.label.clone(),
        last_used_at: token.last_used_at.map(millis),
        routes: token.routes.clone(),
        scopes: token.scopes.clone(),
        user_id: token.user_id,
    })
}

pub(in crate::store) fn decode_personal_token(
    digest: Digest,
    bytes: &[u8],
) -> Result<PersonalToken, StoreError> {
    let row: PersonalTokenRow = decode(bytes, "a personal access token")?;
    Ok(PersonalToken {
        created_at: time(row.created_at),
        digest,
        expires_at: row.expires_at.map(time),
        label: row.label,
        last_used_at: row.last_used_at.map(time),
        routes: row.routes,
        scopes: row.scopes,
        user_id: row.user_id,
    })
}
