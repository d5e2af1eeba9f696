//! The sessions of an account: showing them, and ending one, the others or all.
//!
//! Callers: `portal` for the person's own, `admin` for everybody's. How a session begins is in `account`.

use std::time::SystemTime;

use super::{Accounts, Digest, Ended, Event, Session, StoreError, User, session};
use crate::identity::UserId;
use crate::store::{EndSessions, ShortId};

/// Some of all sessions.
pub struct SessionSlice {
    /// Accounts with sessions among these that can't be read; theirs are left out.
    pub damaged: Vec<UserId>,
    /// Where the next slice begins; `None` at the end.
    pub next: Option<SessionMark>,
    /// Each with its account, those of one account together.
    pub sessions: Vec<(User, Session)>,
}

/// Between two sessions in the order of all of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SessionMark {
    /// The last one before it.
    pub digest: Digest,
    /// Whose that is.
    pub user: UserId,
}

impl Accounts {
    /// The sessions of an account whose time is not over, the one that was used last before the others.
    pub async fn sessions_of(&self, user: UserId, now: SystemTime) -> Result<Vec<Session>, StoreError> {
        let mut sessions: Vec<Session> =
            self.store.sessions_of(user).await?.into_iter().filter_map(|kept| self.live(kept, now)).collect();
        sessions.sort_by_key(|session| (std::cmp::Reverse(session.last_seen), session.digest));
        Ok(sessions)
    }

    /// Up to `limit` sessions of all accounts; those whose time is over are left out.
    pub async fn sessions(
        &self,
        after: Option<SessionMark>,
        limit: usize,
        now: SystemTime,
    ) -> Result<SessionSlice, StoreError> {
        let kept = self.store.sessions(after.map(|mark| (mark.user, mark.digest)), limit).await?;
        let last = kept.last().map(|last| SessionMark { digest: last.digest, user: last.user_id });
        let next = last.filter(|_| kept.len() >= limit);
        let mut sessions: Vec<(User, Session)> = Vec::with_capacity(kept.len());
        let mut damaged = Vec::new();
        for session in kept.into_iter().filter_map(|kept| self.live(kept, now)) {
            let known = sessions.last().map(|(user, _)| user).filter(|user| user.id == session.user_id);
            let user = match known {
                Some(user) => Some(user.clone()),
                None if damaged.last() == Some(&session.user_id) => None,
                None => match self.store.user(session.user_id) {
                    Ok(user) => user,
                    // It hides no other.
                    Err(StoreError::Corrupt(_)) => {
                        damaged.push(session.user_id);
                        None
                    }
                    Err(error) => return Err(error),
                },
            };
            // It went between the two looks.
            sessions.extend(user.map(|user| (user, session)));
        }
        Ok(SessionSlice { damaged, next, sessions })
    }

    /// Ends the session with this name, if it is this account's where one is given. Somebody else's is
    /// not there.
    pub async fn revoke_session(
        &self,
        id: ShortId,
        of: Option<UserId>,
    ) -> Result<Option<Session>, StoreError> {
        let found = self.store.session_by_short_id(id)?;
        let Some(found) = found.filter(|found| of.is_none_or(|user| found.user_id == user)) else {
            return Ok(None);
        };
        let was_there = self.store.end_session(found.digest).await?;
        self.authenticator.ended(Ended::Session(found.digest));
        if was_there {
            self.record(Event::SessionRevoked, found.user_id);
        }
        Ok(was_there.then_some(found))
    }

    /// Ends all sessions of an account but this one; says how many.
    pub async fn revoke_other_sessions(&self, user: UserId, keep: Digest) -> Result<usize, StoreError> {
        self.end_sessions(user, EndSessions::Except(keep)).await
    }

    /// Ends all sessions of an account; says how many. Its tokens and the links on their way to it stay good.
    pub async fn revoke_sessions(&self, user: UserId) -> Result<usize, StoreError> {
        self.end_sessions(user, EndSessions::AllSessions).await
    }

    async fn end_sessions(&self, user: UserId, which: EndSessions) -> Result<usize, StoreError> {
        let ended = self.store.end_sessions_of(user, which).await?;
        self.authenticator.ended(Ended::User(user));
        if ended > 0 {
            self.record(Event::SessionRevoked, user);
        }
        Ok(ended)
    }

    fn live(&self, kept: Session, now: SystemTime) -> Option<Session> {
        let bounded = self.authenticator.sessions().bounded(kept);
        session::is_live(&bounded, now).then_some(bounded)
    }
}
