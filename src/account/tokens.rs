//! Tokens for programs: a login without a session, kept going by refresh tokens, and its end.
//!
//! Callers: `portal`, through `Accounts`. How a refresh token follows from another is `authn::refresh`'s.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret, SecretString};

use super::{Accounts, Door, Event};
use crate::authn::login::identity;
use crate::authn::refresh::{self, RefreshToken};
use crate::authn::{Ended, LoginFailure, TokenFault, bearer_digest, personal};
use crate::identity::{Credential, GrantId};
use crate::store::{RefreshFamily, Rotated, Rotation, SessionError, StoreError, User};

/// What a program gets for a login or a refresh.
#[derive(Debug)]
pub struct IssuedToken {
    /// The JWT.
    pub access_token: SecretString,
    /// How long it lives.
    pub expires_in: Duration,
    /// With which it gets the next ones; none where `refresh_ttl` is 0.
    pub refresh_token: Option<SecretString>,
}

/// Why a token is not revoked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RevokeFailure {
    /// Too many forged tokens came from the same source: whether it is one of ours was not looked at.
    #[error("too many forged tokens came from its source")]
    Braked {
        /// When to try again.
        retry_after: Duration,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why there is no token for a refresh token.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RefreshFailure {
    /// Unknown, ended, revoked or used before: one answer for all.
    #[error("the refresh token is not good (any more)")]
    Invalid,
    /// It is something else, such as an access token.
    #[error("this is no refresh token")]
    NotRefreshToken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// Checks a name and a password and makes an access token, and a refresh token with it. No session is made.
    pub async fn issue_token(
        &self,
        source: IpAddr,
        login: &str,
        password: SecretString,
        now: SystemTime,
    ) -> Result<IssuedToken, LoginFailure> {
        let user = self.verify(Door::Token, source, login, password).await?;
        let tokens = self.authenticator.tokens();
        let Some(lifetime) = tokens.settings().refresh_ttl else {
            return Ok(self.issued(&user, now, None, None, now));
        };
        let token = RefreshToken::mint();
        let family = RefreshFamily {
            access_until: now + tokens.longest_access(),
            authenticated_at: now,
            current: token.digest(),
            expires_at: now + lifetime,
            id: token.family(),
            last_used: now,
            previous: None,
            user_id: user.id,
        };
        let id = family.id;
        match self.store.create_refresh_family(family).await {
            Ok(0) => {}
            Ok(ended) => tracing::debug!(
                user.id = %user.id, ended,
                "a login of a program took the place of those that were used least lately"
            ),
            // Disabled, or its password changed, while what was typed was being checked: answered as if it
            // had been before.
            Err(SessionError::NoAccount | SessionError::OldLogin) => return Err(LoginFailure::Incorrect),
            Err(SessionError::Store(error)) => return Err(error.into()),
        }
        Ok(self.issued(&user, now, Some(id), Some(token), now))
    }

    /// Gives a new access token and the successor of a refresh token.
    pub async fn refresh(
        &self,
        shown: &SecretString,
        source: IpAddr,
        now: SystemTime,
    ) -> Result<IssuedToken, RefreshFailure> {
        if !refresh::is_meant(shown) {
            return Err(RefreshFailure::NotRefreshToken);
        }
        let tokens = self.authenticator.tokens();
        let shown = RefreshToken::parse(shown.expose_secret()).ok_or(RefreshFailure::Invalid)?;
        let lifetime = tokens.settings().refresh_ttl.ok_or(RefreshFailure::Invalid)?;
        let nonce = refresh::nonce();
        let next = shown.next(&nonce);
        let rotation = Rotation {
            access_until: now + tokens.longest_access(),
            family: shown.family(),
            grace: tokens.settings().refresh_grace,
            lifetime,
            next: next.digest(),
            nonce,
            now,
            shown: shown.digest(),
        };
        let (family, user, next) = match self.store.rotate_refresh_token(rotation).await? {
            Rotated::Rotated { family, user } => (family, user, next),
            Rotated::Grace { family, nonce, user } => (family, user, shown.next(&nonce)),
            Rotated::Reused { user_id } => {
                self.authenticator.ended(Ended::Grant(shown.family()));
                self.record(Event::RefreshTokenReused, user_id);
                tracing::warn!(
                    user.id = %user_id, client.address = %source, token.family = %shown.family(),
                    "a refresh token was shown a second time: its whole family is revoked"
                );
                return Err(RefreshFailure::Invalid);
            }
            Rotated::AccountGone | Rotated::Expired | Rotated::Unknown => {
                return Err(RefreshFailure::Invalid);
            }
        };
        Ok(self.issued(&user, family.authenticated_at, Some(family.id), Some(next), now))
    }

    /// Revokes a refresh token with its family and everything that came of it, or one access token. A text that is
    /// none of ours is no failure: it is worth nothing already (RFC 7009 §2.2). Says whether there was something to end.
    pub async fn revoke_token(
        &self,
        token: &SecretString,
        source: IpAddr,
        now: SystemTime,
    ) -> Result<bool, RevokeFailure> {
        if refresh::is_meant(token) {
            let Some(token) = RefreshToken::parse(token.expose_secret()) else { return Ok(false) };
            let Some(user) = self.store.revoke_refresh_family(token.family()).await? else {
                return Ok(false);
            };
            self.authenticator.ended(Ended::Grant(token.family()));
            // With one revocation too many all tokens of the account end.
            self.authenticator.ended(Ended::User(user));
            self.record(Event::TokenRevoked, user);
            return Ok(true);
        }
        if let Some(digest) = personal::digest(token.expose_secret().as_bytes()) {
            let Some(found) = self.store.personal_token(digest)? else { return Ok(false) };
            self.revoke_personal_token(found.id(), None).await?;
            return Ok(true);
        }
        let token = token.expose_secret().as_bytes();
        let claims = match self.authenticator.verify(token, Some(bearer_digest(token)), source, now) {
            Ok(claims) => claims,
            Err(TokenFault::Braked { retry_after }) => return Err(RevokeFailure::Braked { retry_after }),
            Err(
                TokenFault::Algorithm
                | TokenFault::Audience
                | TokenFault::Expired
                | TokenFault::Form
                | TokenFault::Issuer
                | TokenFault::Key
                | TokenFault::Signature,
            ) => return Ok(false),
        };
        self.store.revoke_access_token(claims.user_id, claims.id.jti, claims.accepted_until).await?;
        self.authenticator.ended(Ended::Grant(claims.id.jti));
        // With one revocation too many all tokens of the account end.
        self.authenticator.ended(Ended::User(claims.user_id));
        self.record(Event::TokenRevoked, claims.user_id);
        Ok(true)
    }

    fn issued(
        &self,
        user: &User,
        authenticated_at: SystemTime,
        family: Option<GrantId>,
        refresh: Option<RefreshToken>,
        now: SystemTime,
    ) -> IssuedToken {
        let tokens = self.authenticator.tokens();
        let identity = identity(user, Credential::Bearer, authenticated_at);
        IssuedToken {
            access_token: self.authenticator.issue(user.id, &identity, family, now),
            expires_in: tokens.settings().access_ttl,
            refresh_token: refresh.map(|token| token.to_text()),
        }
    }
}
