//! The engine's calls for personal access tokens.
//!
//! Callers: `store`, by way of its own methods of the same names.

use super::command::Command;
use super::unit::Rows;
use super::{Digest, Sled, StoreError, User, UserError};
use crate::identity::{TokenId, UserId};
use crate::store::{PersonalToken, PersonalTokenError, UserChange};

impl Sled {
    pub(in crate::store) async fn create_personal_token(
        &self,
        token: PersonalToken,
        session: Option<Digest>,
    ) -> Result<(), PersonalTokenError> {
        self.submit(|reply| Command::CreatePersonalToken(token, session, reply)).await
    }

    pub(in crate::store) fn personal_token(
        &self,
        digest: Digest,
    ) -> Result<Option<PersonalToken>, StoreError> {
        self.read(|rows| rows.personal_token(digest))
    }

    pub(in crate::store) fn personal_token_by_id(
        &self,
        id: TokenId,
    ) -> Result<Option<PersonalToken>, StoreError> {
        self.read(|rows| rows.personal_token_by_id(id))
    }

    pub(in crate::store) async fn personal_tokens_of(
        &self,
        user: UserId,
    ) -> Result<Vec<PersonalToken>, StoreError> {
        let mut tokens = self.scan(move |db| db.personal_tokens_of(user)).await?;
        tokens.sort_by_key(|token| std::cmp::Reverse((token.created_at, token.digest)));
        Ok(tokens)
    }

    pub(in crate::store) async fn revoke_personal_token(
        &self,
        id: TokenId,
        user: Option<UserId>,
    ) -> Result<Option<PersonalToken>, StoreError> {
        self.submit(|reply| Command::RevokePersonalToken(id, user, reply)).await
    }

    pub(in crate::store) async fn revoke_personal_tokens_of(
        &self,
        user: UserId,
    ) -> Result<usize, StoreError> {
        let mut revoked = 0;
        loop {
            match self.submit(|reply| Command::RevokePersonalTokensOf(user, reply)).await {
                Ok(0) => return Ok(revoked),
                Ok(some) => revoked += some,
                Err(error) => return Err(error),
            }
        }
    }

    /// A change, and around one that disables or enables an account the end of its tokens: all of them in one
    /// batch with all its sessions would be too many.
    pub(in crate::store) async fn change_user(
        &self,
        id: UserId,
        change: UserChange,
    ) -> Result<User, UserError> {
        let disabled = change.disabled;
        // Should the one before have come no further than to disable it: what it was to end does not come back.
        if disabled == Some(false) && self.user(id)?.is_some_and(|user| user.disabled) {
            self.revoke_personal_tokens_of(id).await?;
        }
        let user = self.submit(|reply| Command::ChangeUser(id, change, reply)).await?;
        if disabled == Some(true) {
            self.revoke_personal_tokens_of(id).await?;
        }
        Ok(user)
    }

    /// The tokens go first, for the same reason; those that come in between go with the account.
    pub(in crate::store) async fn delete_user(&self, id: UserId) -> Result<User, UserError> {
        self.revoke_personal_tokens_of(id).await?;
        self.submit(|reply| Command::DeleteUser(id, reply)).await
    }
}
