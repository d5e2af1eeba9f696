//! Listing and ending sessions.
//!
//! Callers: `admin::perform`.

use std::time::SystemTime;

use super::{Accounts, Failure, Reply, found, store};
use crate::account;
use crate::admin::message::Moment;
use crate::admin::session::{RevokeSessions, SessionMark, SessionSummary, SessionView};
use crate::identity::UserId;

/// Sessions of one slice at most. One takes less than a kilobyte of its line.
const SLICE: usize = 500;
/// Sessions whose accounts lose all of theirs in one go.
const ENDED_AT_ONCE: usize = 100;

pub(super) async fn list(
    accounts: &Accounts,
    login: Option<String>,
    after: Option<SessionMark>,
    now: SystemTime,
) -> Result<Reply, Failure> {
    let Some(login) = login else {
        let slice = accounts.sessions(after.map(Into::into), SLICE, now).await.map_err(store)?;
        let sessions =
            slice.sessions.into_iter().map(|(user, session)| SessionView::new(&user, session)).collect();
        let (damaged, next) = (slice.damaged, slice.next.map(Into::into));
        return Ok(Reply::Sessions { damaged, next, sessions });
    };
    let user = found(accounts, &login).await?;
    let sessions = accounts.sessions_of(user.id, now).await.map_err(store)?;
    let sessions = sessions.into_iter().map(|session| SessionView::new(&user, session)).collect();
    Ok(Reply::Sessions { damaged: Vec::new(), next: None, sessions })
}

pub(super) async fn revoke(
    accounts: &Accounts,
    which: RevokeSessions,
    now: SystemTime,
) -> Result<Reply, Failure> {
    match which {
        RevokeSessions::One { id } => match accounts.revoke_session(id, None).await.map_err(store)? {
            Some(_) => Ok(Reply::Ended { next: None, sessions: 1 }),
            None => Err(Failure::NoSession { id }),
        },
        RevokeSessions::Of { login } => {
            let user = found(accounts, &login).await?;
            let sessions = accounts.revoke_sessions(user.id).await.map_err(store)?;
            Ok(Reply::Ended { next: None, sessions })
        }
        RevokeSessions::All { after } => all(accounts, after.map(Into::into), now).await,
    }
}

/// The sessions of one slice's accounts.
async fn all(
    accounts: &Accounts,
    after: Option<account::SessionMark>,
    now: SystemTime,
) -> Result<Reply, Failure> {
    let slice = accounts.sessions(after, ENDED_AT_ONCE, now).await.map_err(store)?;
    let mut of: Vec<UserId> = slice.sessions.iter().map(|(user, _)| user.id).collect();
    of.dedup();
    // To end a session nothing has to be known of its account.
    of.extend(slice.damaged);
    // At once, for the store makes one write of many.
    let ending = of.into_iter().map(|user| {
        let accounts = accounts.clone();
        async move { accounts.revoke_sessions(user).await }
    });
    let ended = tokio::task::JoinSet::from_iter(ending).join_all().await;
    let ended: Vec<usize> = ended.into_iter().collect::<Result<_, _>>().map_err(store)?;
    Ok(Reply::Ended { next: slice.next.map(Into::into), sessions: ended.into_iter().sum() })
}

/// What `user show` says of an account's sessions.
pub(super) async fn summary(
    accounts: &Accounts,
    user: UserId,
    now: SystemTime,
) -> Result<SessionSummary, Failure> {
    let sessions = accounts.sessions_of(user, now).await.map_err(store)?;
    let last_seen = sessions.iter().map(|session| session.last_seen).max().map(Moment);
    Ok(SessionSummary { count: sessions.len(), last_seen })
}
