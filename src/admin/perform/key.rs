//! Commands on signing keys.
//!
//! Callers: `perform`.

use std::time::SystemTime;

use super::super::failure::Failure;
use super::super::message::{KeyView, Reply};
use crate::account::{Accounts, KeyError};
use crate::authn::bearer::KeyState;

pub(super) fn list(accounts: &Accounts, now: SystemTime) -> Result<Reply, Failure> {
    let keys = accounts.keys(now).map_err(super::store)?;
    Ok(Reply::Keys { keys: keys.iter().map(|(key, state)| KeyView::new(key, state.as_str())).collect() })
}

pub(super) async fn rotate(accounts: &Accounts, now: SystemTime) -> Result<Reply, Failure> {
    let key = accounts.rotate_key(now).await;
    let key = key.map_err(|error| match error {
        KeyError::Own => Failure::OwnKeys,
        KeyError::Store(_) | KeyError::Unusable(_) => Failure::Store { reason: error.to_string() },
    })?;
    Ok(Reply::Key { key: KeyView::new(&key, KeyState::Signing.as_str()) })
}
