//! Personal access tokens as the store has them, and what can be done with them.
//!
//! A token is bound to its account: it ends when the account is disabled (also for when it is enabled again)
//! and goes with it. A new password leaves it alone, for it was never made from the old one.
//!
//! Callers: everybody who asks the store for something, by way of `store`.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use super::{Digest, Engine, Store, StoreError};
use crate::identity::{Scope, TokenId, TokenLabel, UserId};

/// An account holds at most this many personal access tokens; there is no further one then.
pub const PERSONAL_TOKENS_PER_ACCOUNT: usize = 100;

/// The use of a token is written down at most this often.
pub const TOKEN_USE_EVERY: Duration = Duration::from_secs(5 * 60);

/// A personal access token as it is kept. The token itself never is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PersonalToken {
    /// When it was made.
    pub created_at: SystemTime,
    /// SHA-256 of the token.
    pub digest: Digest,
    /// It ends here; `None`: not by itself.
    pub expires_at: Option<SystemTime>,
    /// What its owner calls it.
    pub label: TokenLabel,
    /// The last use that was written down.
    pub last_used_at: Option<SystemTime>,
    /// The routes that it is for, by their names; empty: all.
    pub routes: BTreeSet<String>,
    /// What it is for besides.
    pub scopes: BTreeSet<Scope>,
    /// Whose it is.
    pub user_id: UserId,
}

impl PersonalToken {
    /// What it is called in lists and commands.
    pub fn id(&self) -> TokenId {
        let first = self.digest.as_bytes().first_chunk();
        TokenId::from_bytes(*first.expect("a digest has more than eight bytes"))
    }

    /// Whether its time is not over.
    pub fn is_live(&self, now: SystemTime) -> bool {
        self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}

/// Why a personal access token was not made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PersonalTokenError {
    /// The account is gone or may not sign in: it is disabled, say.
    #[error("the account is gone or may not sign in")]
    NoAccount,
    /// The session that asks for it has ended meanwhile.
    #[error("the session has ended")]
    NoSession,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The account holds as many as it may.
    #[error(
        "the account has {PERSONAL_TOKENS_PER_ACCOUNT} personal access tokens, the most that it may have; revoke one first"
    )]
    TooMany,
}

impl Store {
    /// Keeps a personal access token of an account that may sign in; where a session asks for it, of one
    /// that has not ended.
    pub async fn create_personal_token(
        &self,
        token: PersonalToken,
        session: Option<Digest>,
    ) -> Result<(), PersonalTokenError> {
        match &self.engine {
            Engine::Sled(sled) => sled.create_personal_token(token, session).await,
        }
    }

    /// The token with this digest, whether or not its time is over: the reader compares.
    pub fn personal_token(&self, digest: Digest) -> Result<Option<PersonalToken>, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.personal_token(digest),
        }
    }

    /// The token with this id.
    pub fn personal_token_by_id(&self, id: TokenId) -> Result<Option<PersonalToken>, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.personal_token_by_id(id),
        }
    }

    /// All tokens of one account, the newest first.
    pub async fn personal_tokens_of(&self, user: UserId) -> Result<Vec<PersonalToken>, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.personal_tokens_of(user).await,
        }
    }

    /// Ends one token; gives it where it was there. With `user`, of this account alone.
    pub async fn revoke_personal_token(
        &self,
        id: TokenId,
        user: Option<UserId>,
    ) -> Result<Option<PersonalToken>, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.revoke_personal_token(id, user).await,
        }
    }

    /// Ends all tokens of one account; says how many.
    pub async fn revoke_personal_tokens_of(&self, user: UserId) -> Result<usize, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.revoke_personal_tokens_of(user).await,
        }
    }

    /// Notes that a token was used. Doesn't wait; may be lost in a crash or when the store is busy.
    pub fn touch_personal_token(&self, digest: Digest, now: SystemTime) {
        match &self.engine {
            Engine::Sled(sled) => sled.touch(digest, now),
        }
    }
}
