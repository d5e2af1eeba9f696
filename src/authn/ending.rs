//! Waiting for the end of a credential: for what lives longer than the request that opened it.
//!
//! Callers: `gateway`, for tunnels and streams of events. Whoever ends a session or an account moves
//! the cache's epoch; each move wakes those who wait here, and they look whether it was theirs.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::broadcast::error::RecvError;
use tokio::time::{sleep, timeout};

use super::{Authenticator, session};
use crate::identity::{Credential, Identity, Principal};
use crate::store::{Digest, StoreError, User};

/// The longest time between two looks, also where nothing happens: a session's idle limit slides.
const LOOK: Duration = Duration::from_secs(30);
/// Between two looks while the store can't be read: a failure of ours ends nobody's session.
const RETRY: Duration = Duration::from_secs(1);

impl Authenticator {
    /// Done when the credential behind an identity has ended. `clock` is asked at each look.
    pub async fn end_of(self: Arc<Self>, identity: Arc<Identity>, clock: fn() -> SystemTime) {
        // Before the first look, so that an end in between is not missed.
        let mut ends = self.cache.subscribe();
        loop {
            let wait = match self.remaining(&identity, clock()) {
                Ok(None) => return,
                Ok(Some(remaining)) => remaining.min(LOOK),
                Err(_) => {
                    sleep(RETRY).await;
                    continue;
                }
            };
            // An end of somebody else's session is no reason to read the store.
            let ours = async {
                loop {
                    match ends.recv().await {
                        Ok(ended) if !ended.concerns(&identity) => {}
                        Ok(_) | Err(RecvError::Lagged(_)) => return,
                        Err(RecvError::Closed) => std::future::pending().await,
                    }
                }
            };
            let _ = timeout(wait, ours).await;
        }
    }

    /// How long the credential lasts from now; `None` when it has ended.
    fn remaining(&self, identity: &Identity, now: SystemTime) -> Result<Option<Duration>, StoreError> {
        let credentials_since = match &identity.principal {
            Principal::Account(id) => match self.store.user(*id)?.filter(User::may_sign_in) {
                Some(user) => user.credentials_since,
                None => return Ok(None),
            },
            // Nothing of it is in the store.
            Principal::Foreign(foreign) if self.issuers().has_key(&foreign.issuer, foreign.key) => None,
            Principal::Foreign(_) => return Ok(None),
        };
        let until = match (identity.credential, identity.session) {
            (Credential::Session, Some(id)) => {
                let session = self.store.session(Digest::from_bytes(*id.as_bytes()))?;
                let session = session.map(|session| self.sessions.bounded(session));
                let Some(session) = session.filter(|session| session::is_live(session, now)) else {
                    return Ok(None);
                };
                Some(session.expires_at.min(session.last_seen + session.idle_timeout))
            }
            // It stays through a change of the password.
            _ if let Some(token) = &identity.token => {
                let token = self.store.personal_token_by_id(token.id)?;
                let Some(token) = token.filter(|token| token.is_live(now)) else { return Ok(None) };
                token.expires_at
            }
            // A password or a disabling since then; a token says its time in seconds, a typed password its own.
            (credential, _)
                if credentials_since
                    .is_some_and(|since| since > identity.authenticated_at + blur(credential)) =>
            {
                return Ok(None);
            }
            _ => match (identity.access_token, identity.account()) {
                (Some(token), Some(account)) if self.is_revoked(account, token)? => return Ok(None),
                (Some(_) | None, _) => identity.expires_at,
            },
        };
        Ok(match until {
            None => Some(LOOK),
            Some(until) => until.duration_since(now).ok().filter(|remaining| !remaining.is_zero()),
        })
    }
}

/// How much later than it says a login may have been.
fn blur(credential: Credential) -> Duration {
    match credential {
        Credential::Bearer => Duration::from_secs(1),
        Credential::Basic | Credential::Session => Duration::ZERO,
    }
}
