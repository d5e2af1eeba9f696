//! Personal access tokens of an account: make, list, revoke.
//!
//! Callers: `portal` for the person, `admin` for an administrator, through `Accounts`.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret, SecretString};

use super::{Accounts, Digest, Ended, Event, StoreError};
use crate::authn::personal;
use crate::identity::{Scope, SessionId, TokenId, TokenLabel, UserId};
use crate::store::{PersonalToken, PersonalTokenError};

/// A personal access token to make.
#[derive(Clone, Debug)]
pub struct NewPersonalToken {
    /// How long it lives; `None`: until it is revoked.
    pub expires_in: Option<Duration>,
    /// What its owner calls it.
    pub label: TokenLabel,
    /// The routes that it is for, by their names; empty: all.
    pub routes: BTreeSet<String>,
    /// What it is for besides.
    pub scopes: BTreeSet<Scope>,
}

/// A personal access token, freshly made: the one moment at which it is known.
#[derive(Debug)]
pub struct MadePersonalToken {
    /// What of it is kept.
    pub kept: PersonalToken,
    /// To be shown once.
    pub token: SecretString,
}

impl Accounts {
    /// Makes a token for an account. Where the person asks, it is by a session, which has to be there still.
    pub async fn create_personal_token(
        &self,
        user: UserId,
        session: Option<SessionId>,
        new: NewPersonalToken,
        now: SystemTime,
    ) -> Result<MadePersonalToken, PersonalTokenError> {
        let token = personal::mint();
        let kept = PersonalToken {
            created_at: now,
            digest: Digest::of(token.expose_secret().as_bytes()),
            // What lies beyond all calendars never comes.
            expires_at: new.expires_in.and_then(|lifetime| now.checked_add(lifetime)),
            label: new.label,
            last_used_at: None,
            routes: new.routes,
            scopes: new.scopes,
            user_id: user,
        };
        let session = session.map(|session| Digest::from_bytes(*session.as_bytes()));
        self.store.create_personal_token(kept.clone(), session).await?;
        self.record(Event::TokenCreated, user);
        Ok(MadePersonalToken { kept, token })
    }

    /// The tokens of an account, the newest first.
    pub async fn personal_tokens(&self, user: UserId) -> Result<Vec<PersonalToken>, StoreError> {
        self.store.personal_tokens_of(user).await
    }

    /// Ends a token from the next request on, with what it has opened; gives it where it was there.
    /// With `user`, one of this account alone.
    pub async fn revoke_personal_token(
        &self,
        id: TokenId,
        user: Option<UserId>,
    ) -> Result<Option<PersonalToken>, StoreError> {
        let ended = self.store.revoke_personal_token(id, user).await?;
        if let Some(ended) = &ended {
            self.authenticator.ended(Ended::PersonalToken(id));
            self.record(Event::TokenRevoked, ended.user_id);
        }
        Ok(ended)
    }

    /// Ends all tokens of an account; says how many.
    pub async fn revoke_personal_tokens(&self, user: UserId) -> Result<usize, StoreError> {
        let ended = self.store.revoke_personal_tokens_of(user).await;
        // Also after a failure in the middle of it; what has not ended is merely read again.
        self.authenticator.ended(Ended::User(user));
        if ended.as_ref().is_ok_and(|ended| *ended > 0) {
            self.record(Event::TokenRevoked, user);
        }
        ended
    }
}
