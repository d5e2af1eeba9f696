//! The keys that sign our tokens: showing them, and taking a new one into use.
//!
//! Callers: `admin` for the command line, `gateway` for what is due by time. Which key signs when is `authn`'s.

use std::time::SystemTime;

use super::Accounts;
use crate::authn::Tokens;
use crate::authn::bearer::{KeyState, UnusableKey, generate_key, ring};
use crate::store::{SigningKey, StoreError};
use crate::telemetry::audit::{self, About, Event};

/// Why a key was not taken into use.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// They are files, and ours is not to make one.
    #[error("the keys of `tokens.keys` sign: put the file of a new one before the others")]
    Own,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored one can't be used.
    #[error(transparent)]
    Unusable(#[from] UnusableKey),
}

impl Accounts {
    /// The keys, newest first, and what each of them does.
    pub fn keys(&self, now: SystemTime) -> Result<Vec<(SigningKey, KeyState)>, StoreError> {
        let tokens = self.authenticator.tokens();
        let own = tokens.settings().keys.iter().map(|own| own.key.clone());
        let keys: Vec<SigningKey> = own.chain(self.store.signing_keys()?).collect();
        let states: Vec<_> = keys.iter().map(|key| ring::state(key, &keys, tokens.settings(), now)).collect();
        Ok(keys.into_iter().zip(states).collect())
    }

    /// Makes a key that signs from the next token on; gives it. The others verify what they have signed.
    pub async fn rotate_key(&self, now: SystemTime) -> Result<SigningKey, KeyError> {
        let tokens = self.authenticator.tokens();
        if !tokens.settings().keys.is_empty() {
            return Err(KeyError::Own);
        }
        let key = generate_key(tokens.settings().algorithm, now);
        self.change_keys(Some(key.clone()), Vec::new()).await?;
        audit::record(Event::KeyRotated, About::Server);
        tracing::info!(key.id = %key.kid, key.algorithm = %key.algorithm, "a new key signs the tokens");
        Ok(key)
    }

    /// Does what is due by time: a new key, and the end of old ones.
    pub async fn tend_keys(&self, now: SystemTime) -> Result<(), KeyError> {
        let tokens = self.authenticator.tokens();
        let keys = self.store.signing_keys()?;
        let due = ring::due(&keys, tokens.settings(), now);
        // A reload may have read the keys just before one was made.
        if due == ring::Due::default() && tokens.has_exactly(&keys) {
            return Ok(());
        }
        let new = due
            .new_from
            .map(|signs_from| SigningKey { signs_from, ..generate_key(tokens.settings().algorithm, now) });
        let published = new.as_ref().map(|key| key.kid.clone());
        self.change_keys(new, due.over.clone()).await?;
        if let Some(kid) = published {
            audit::record(Event::KeyRotated, About::Server);
            tracing::info!(key.id = %kid, "a new key is published, and will sign the tokens in a few minutes");
        }
        for kid in &due.over {
            tracing::info!(key.id = %kid, "a key has gone: the last token that it has signed is over");
        }
        Ok(())
    }

    /// The running server takes the keys over at once; what it has verified stays verified.
    async fn change_keys(&self, add: Option<SigningKey>, remove: Vec<String>) -> Result<(), KeyError> {
        let keys = self.store.change_signing_keys(add, remove).await?;
        let settings = self.authenticator.tokens().settings().clone();
        self.authenticator.take_over(Tokens::new(settings, &keys)?);
        Ok(())
    }
}
