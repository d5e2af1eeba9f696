//! Rows of refresh families.
//!
//! Callers: the engines, by way of `record`.

use serde::{Deserialize, Serialize};

use super::{decode, encode, millis, time};
use crate::identity::{GrantId, UserId};
use crate::store::{Digest, PreviousToken, RefreshFamily, StoreError};

#[derive(Deserialize, Serialize)]
struct FamilyRow {
    access_until: u64,
    authenticated_at: u64,
    current: [u8; 32],
    expires_at: u64,
    last_used: u64,
    previous: Option<PreviousRow>,
    user_id: UserId,
}

#[derive(Deserialize, Serialize)]
struct PreviousRow {
    digest: [u8; 32],
    nonce: [u8; 32],
    until: u64,
}

pub(in crate::store) fn encode_family(family: &RefreshFamily) -> Result<Vec<u8>, StoreError> {
    encode(&FamilyRow {
        access_until: millis(family.access_until),
        authenticated_at: millis(family.authenticated_at),
        current: *family.current.as_bytes(),
        expires_at: millis(family.expires_at),
        last_used: millis(family.last_used),
        previous: family.previous.as_ref().map(|previous| PreviousRow {
            digest: *previous.digest.as_bytes(),
            nonce: previous.nonce,
            until: millis(previous.until),
        }),
        user_id: family.user_id,
    })
}

pub(in crate::store) fn decode_family(id: GrantId, bytes: &[u8]) -> Result<RefreshFamily, StoreError> {
    let row: FamilyRow = decode(bytes, "a refresh family")?;
    Ok(RefreshFamily {
        access_until: time(row.access_until),
        authenticated_at: time(row.authenticated_at),
        current: Digest::from_bytes(row.current),
        expires_at: time(row.expires_at),
        id,
        last_used: time(row.last_used),
        previous: row.previous.map(|previous| PreviousToken {
            digest: Digest::from_bytes(previous.digest),
            nonce: previous.nonce,
            until: time(previous.until),
        }),
        user_id: row.user_id,
    })
}
