//! The embedded engine: sled 0.34.7 behind one writer thread. Nothing outside this file and its
//! children names sled, and each of its known faults has an answer here.
//!
//! Reads go to the tree directly. Writes are commands to the writer, which answers once they are on
//! disk. The tree is swapped out while the writer recovers from a failure, and taken away at the end.
//!
//! Callers: `store`.

mod backup;
mod command;
mod journal;
mod keys;
mod open;
mod outbox;
mod personal;
mod rules;
mod space;
mod unit;
mod verify;
mod writer;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use ::sled::Db;
use arc_swap::{ArcSwap, ArcSwapOption};
use secrecy::SecretString;
use tokio::sync::oneshot;

use self::backup::Tracking;
use self::command::{Command, Reply};
use self::unit::{Group, Rows, read_error};
use self::writer::Writer;
use super::failures::{FailureKey, Failures, TriedAccount, decode_failures};
use super::record;
use super::{
    BackupRow, ConfirmError, ConfirmationLink, Confirmed, DamagedAccount, Digest, EndInvitations,
    EndSessions, Invitation, InvitationError, Inviters, NewUser, OneTimeToken, OpenError, RefreshFamily,
    Registered, Restoring, Rotated, Rotation, Session, SessionError, ShortId, SigningKey, StoreError,
    StoreSettings, TokenError, User, UserError, Verification,
};
use crate::identity::{Email, GrantId, UserId, fold};

/// Commands that may wait. Past it the answer is `Busy`.
const QUEUE: usize = 1024;

/// Touches that may wait for the next time they are written; further ones are lost.
const TOUCHES: usize = 8192;

/// Counts of failed logins that may wait; further ones are lost. Each has cost a password hash.
const COUNTS: usize = 8192;

/// A disk that doesn't answer for this long keeps nobody waiting.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// With the queue full, those who make many accounts at once ask again after this.
const BUSY_WAIT: Duration = Duration::from_millis(20);

/// The engine's handle.
#[derive(Clone)]
pub(super) struct Sled {
    commands: SyncSender<Command>,
    shared: Arc<Shared>,
}

/// What readers and the writer both look at.
struct Shared {
    backup: Tracking,
    closed: AtomicBool,
    /// Why writing doesn't work at the moment.
    failure: ArcSwap<Option<String>>,
    /// Counts of failed logins that wait to be written; the latest of each.
    failures: Mutex<HashMap<FailureKey, Failures>>,
    touched: Mutex<HashMap<Digest, SystemTime>>,
    /// `None` while the writer opens it anew, and after the end.
    tree: ArcSwapOption<Db>,
}

impl Sled {
    pub(super) fn open(settings: StoreSettings) -> Result<Self, OpenError> {
        let opened = open::open(&settings)?;
        let shared = Arc::new(Shared {
            backup: Tracking::default(),
            closed: AtomicBool::new(false),
            failure: ArcSwap::from_pointee(None),
            failures: Mutex::default(),
            touched: Mutex::default(),
            tree: ArcSwapOption::empty(),
        });
        let (commands, waiting) = mpsc::sync_channel(QUEUE);
        let directory = settings.directory.clone();
        let writer = Writer::new(opened, settings, shared.clone(), waiting);
        thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| OpenError::Failed { directory, reason: error.to_string() })?;
        Ok(Self { commands, shared })
    }

    pub(super) async fn close(self) {
        self.shared.closed.store(true, Ordering::Release);
        let (reply, stopped) = oneshot::channel();
        let commands = self.commands;
        // Waits for room in the queue, hence not on the runtime. Somebody else's close may have been
        // first: then the writer is gone and `stopped` ends by itself.
        let sent = tokio::task::spawn_blocking(move || drop(commands.send(Command::Close(reply))));
        drop(sent.await);
        drop(stopped.await);
    }

    // ---- reading -----------------------------------------------------------------------------

    pub(super) fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        self.read(|rows| rows.user(id))
    }

    pub(super) fn user_by_login(&self, login: &str) -> Result<Option<User>, StoreError> {
        self.read(|rows| rows.user_by_login(login))
    }

    pub(super) fn newcomer(&self, login: &str) -> Result<Option<User>, StoreError> {
        self.read(|rows| rows.newcomer(&fold(login)))
    }

    pub(super) fn contended_address(&self, user: &User) -> Result<Option<Email>, StoreError> {
        self.read(|rows| rules::contended(rows, user))
    }

    pub(super) fn has_newcomers(&self) -> Result<bool, StoreError> {
        self.read(|rows| {
            let first = rows.scan_prefix(keys::newcomer("")).next();
            first.transpose().map_err(read_error).map(|first| first.is_some())
        })
    }

    pub(super) fn session(&self, digest: Digest) -> Result<Option<Session>, StoreError> {
        self.read(|rows| Ok(rows.session(digest)?.map(|kept| kept.session)))
    }

    pub(super) fn one_time_token(&self, digest: Digest, now: SystemTime) -> Result<OneTimeToken, TokenError> {
        self.shared.with_tree(|db| rules::live_token(&***db, digest, now))
    }

    pub(super) fn invitation(
        &self,
        digest: Digest,
        inviters: &Inviters,
        now: SystemTime,
    ) -> Result<Invitation, InvitationError> {
        self.shared.with_tree(|db| rules::live_invitation(&***db, digest, inviters, now))
    }

    pub(super) async fn invitations(
        &self,
        after: Option<Digest>,
        limit: usize,
        now: SystemTime,
    ) -> Result<Vec<Invitation>, StoreError> {
        self.scan(move |db| {
            let start = after.map_or_else(
                || Bound::Included(keys::invitations()),
                |digest| Bound::Excluded(keys::invitation(digest)),
            );
            let end = Bound::Excluded(keys::invitation_to(""));
            let mut found = Vec::new();
            for row in db.range::<Vec<u8>, _>((start, end)) {
                if found.len() >= limit {
                    break;
                }
                let (key, value) = row.map_err(read_error)?;
                let Some(digest) = keys::invitation_digest(&key) else { continue };
                let invitation = record::decode_invitation(digest, &value)?;
                // A member's ends with the member; the sweeper takes it.
                let is_left = match invitation.invited_by {
                    Some(member) => Rows::get(db, &keys::user(member))?.is_some(),
                    None => true,
                };
                found.extend(Some(invitation).filter(|invitation| is_left && now < invitation.expires_at));
            }
            Ok(found)
        })
        .await
    }

    pub(super) async fn invitations_of(
        &self,
        member: UserId,
        now: SystemTime,
    ) -> Result<Vec<Invitation>, StoreError> {
        self.scan(move |db| rules::invitations_of(db, member, now)).await
    }

    pub(super) fn signing_keys(&self) -> Result<Vec<SigningKey>, StoreError> {
        self.read(|rows| rows.signing_keys())
    }

    pub(super) fn refresh_family(&self, id: GrantId) -> Result<Option<RefreshFamily>, StoreError> {
        self.read(|rows| rows.family(id))
    }

    pub(super) fn is_revoked(&self, user: UserId, id: GrantId) -> Result<bool, StoreError> {
        self.read(|rows| Ok(Rows::get(rows, &keys::revoked(user, id))?.is_some()))
    }

    pub(super) async fn users(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<Result<User, DamagedAccount>>, StoreError> {
        self.scan(move |db| {
            let start = keys::username(&after.as_deref().map(fold).unwrap_or_default());
            let entries = db.range::<Vec<u8>, _>((Bound::Excluded(start), Bound::Excluded(vec![b'N' + 1])));
            let mut users = Vec::new();
            for entry in entries {
                if users.len() >= limit {
                    break;
                }
                let (key, value) = entry.map_err(read_error)?;
                let Some(id) = keys::user_id_of(&value) else { continue };
                let user = match db.user(id) {
                    Ok(user) => user,
                    Err(StoreError::Corrupt(reason)) => {
                        let name = String::from_utf8_lossy(&key[1..]).into_owned();
                        users.push(Err(DamagedAccount { id, name, reason }));
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                // As with every entry: it counts when its row says the same.
                let user = user.filter(|user| keys::username(&user.username.folded()) == key.as_ref());
                users.extend(user.map(Ok));
            }
            Ok(users)
        })
        .await
    }

    pub(super) async fn sessions_of(&self, user: UserId) -> Result<Vec<Session>, StoreError> {
        let kept = self.scan(move |db| db.sessions_of(user)).await?;
        Ok(kept.into_iter().map(|kept| kept.session).collect())
    }

    pub(super) async fn check_users(
        &self,
        new: Vec<NewUser>,
    ) -> Result<Vec<Result<(), UserError>>, StoreError> {
        self.scan(move |db| {
            // The rule itself, in a unit that nobody makes durable.
            let group = Group::new(db);
            Ok(new.iter().map(|new| rules::create_user(&mut group.unit(), new).map(drop)).collect())
        })
        .await
    }

    pub(super) fn session_by_short_id(&self, id: ShortId) -> Result<Option<Session>, StoreError> {
        self.read(|rows| {
            let Some(key) = rows.keys_under(&keys::sessions_beginning(id.as_bytes()))?.into_iter().next()
            else {
                return Ok(None);
            };
            let digest = keys::digest_of(&key[1..]);
            let digest = digest.ok_or_else(|| StoreError::Corrupt("a session's key".to_owned()))?;
            Ok(rows.session(digest)?.map(|kept| kept.session))
        })
    }

    pub(super) async fn sessions(
        &self,
        after: Option<(UserId, Digest)>,
        limit: usize,
    ) -> Result<Vec<Session>, StoreError> {
        self.scan(move |db| {
            let start = after.map_or_else(
                || Bound::Included(b"L".to_vec()),
                |(user, digest)| Bound::Excluded(keys::session_of(user, digest)),
            );
            let end = Bound::Excluded(keys::END_OF_LIST.to_vec());
            let mut sessions = Vec::new();
            for key in db.range::<Vec<u8>, _>((start, end)).keys() {
                if sessions.len() >= limit {
                    break;
                }
                let key = key.map_err(read_error)?;
                let Some((user, digest)) = keys::parse_session_of(&key) else { continue };
                // As with every entry: it counts when its row says the same.
                let kept = db.session(digest)?.filter(|kept| kept.session.user_id == user);
                sessions.extend(kept.map(|kept| kept.session));
            }
            Ok(sessions)
        })
        .await
    }

    pub(super) async fn failures(&self, now: SystemTime) -> Result<Vec<Failures>, StoreError> {
        self.scan(move |db| {
            let mut counts = Vec::new();
            for row in db.scan_prefix(b"B") {
                let (key, value) = row.map_err(read_error)?;
                // One that can't be read brakes nobody; the sweeper takes it away.
                counts
                    .extend(decode_failures(&key[1..], &value).ok().filter(|count| count.forgotten_at > now));
            }
            Ok(counts)
        })
        .await
    }

    pub(super) fn begin_backup(&self) -> u64 {
        self.shared.backup.begin()
    }

    pub(super) async fn backup_rows(
        &self,
        after: Vec<u8>,
        limit: usize,
    ) -> Result<Vec<BackupRow>, StoreError> {
        self.scan(move |db| backup::rows_after(db, &after, limit)).await
    }

    pub(super) async fn backup_changes(
        &self,
        id: u64,
        limit: usize,
        last: bool,
    ) -> Result<(Vec<BackupRow>, bool), StoreError> {
        if last {
            return self.submit(|reply| Command::BackupChanges(id, limit, reply)).await;
        }
        let shared = self.shared.clone();
        blocking(move || shared.with_tree(|db| backup::changes(&shared.backup, db, id, limit, false))).await
    }

    pub(super) async fn restore_rows(&self, rows: Vec<BackupRow>, what: Restoring) -> Result<(), StoreError> {
        self.submit(|reply| Command::RestoreRows(rows, what, reply)).await
    }

    pub(super) async fn verify(&self) -> Result<Verification, StoreError> {
        let shared = self.shared.clone();
        blocking(move || verify::verify(&shared)).await
    }

    fn read<T>(&self, read: impl FnOnce(&::sled::Tree) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.shared.with_tree(|db| read(db))
    }

    async fn scan<T, F>(&self, scan: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&::sled::Tree) -> Result<T, StoreError> + Send + 'static,
    {
        let shared = self.shared.clone();
        blocking(move || shared.with_tree(|db| scan(db))).await
    }

    // ---- writing -----------------------------------------------------------------------------

    pub(super) async fn create_user(&self, new: NewUser) -> Result<User, UserError> {
        self.submit(|reply| Command::CreateUser(new, reply)).await
    }

    pub(super) fn damaged_user(&self, login: &str) -> Result<Option<DamagedAccount>, StoreError> {
        let name = fold(login);
        self.read(|rows| {
            for entry in [keys::username(&name), keys::email(&name)] {
                let Some(id) = Rows::get(rows, &entry)?.as_deref().and_then(keys::user_id_of) else {
                    continue;
                };
                if let Err(StoreError::Corrupt(reason)) = rows.user(id) {
                    return Ok(Some(DamagedAccount { id, name, reason }));
                }
            }
            Ok(None)
        })
    }

    pub(super) async fn delete_damaged_user(&self, id: UserId) -> Result<bool, StoreError> {
        self.submit(|reply| Command::DeleteDamagedUser(id, reply)).await
    }

    pub(super) async fn create_users(&self, new: Vec<NewUser>) -> Vec<Result<User, UserError>> {
        let mut results = Vec::with_capacity(new.len());
        let mut failure = None;
        // Fewer may be answered for than were asked: the next command begins behind them.
        while failure.is_none() && results.len() < new.len() {
            let some: Arc<[NewUser]> =
                new.iter().skip(results.len()).take(command::USERS_PER_COMMAND).cloned().collect();
            match self.create_some(&some).await {
                Ok(made) => {
                    failure = made.iter().find_map(|result| result.as_ref().err().and_then(store_failure));
                    results.extend(made);
                }
                Err(error) => failure = Some(error),
            }
        }
        let left = new.len() - results.len();
        results.extend(failure.iter().cycle().take(left).map(|error| Err(UserError::Store(error.clone()))));
        results
    }

    /// One command's worth, or as much of it as a batch holds. Where the queue is full the others go first for a while:
    /// they are people who wait.
    async fn create_some(&self, some: &Arc<[NewUser]>) -> Result<Vec<Result<User, UserError>>, StoreError> {
        let deadline = Instant::now() + ANSWER_WAIT;
        loop {
            match self.submit(|reply| Command::CreateUsers(some.clone(), reply)).await {
                Err(StoreError::Busy) if Instant::now() < deadline => tokio::time::sleep(BUSY_WAIT).await,
                answer => return answer,
            }
        }
    }

    pub(super) async fn register(
        &self,
        new: NewUser,
        link: ConfirmationLink,
    ) -> Result<Registered, UserError> {
        self.submit(|reply| Command::Register(Box::new(new), link, reply)).await
    }

    pub(super) async fn upgrade_hash(
        &self,
        id: UserId,
        old: SecretString,
        new: SecretString,
    ) -> Result<bool, StoreError> {
        self.submit(|reply| Command::UpgradeHash(id, old, new, reply)).await
    }

    pub(super) async fn create_session(&self, session: Session) -> Result<Vec<Digest>, SessionError> {
        self.submit(|reply| Command::CreateSession(session, reply)).await
    }

    pub(super) async fn end_session(&self, digest: Digest) -> Result<bool, StoreError> {
        self.submit(|reply| Command::EndSession(digest, reply)).await
    }

    pub(super) async fn end_sessions_of(
        &self,
        user: UserId,
        which: EndSessions,
    ) -> Result<usize, StoreError> {
        self.submit(|reply| Command::EndSessionsOf(user, which, reply)).await
    }

    /// Notes the use of a session or a personal access token: digests of random values tell themselves apart.
    pub(super) fn touch(&self, digest: Digest, now: SystemTime) {
        let mut touched = self.shared.touched.lock().unwrap_or_else(PoisonError::into_inner);
        let room = touched.len() < TOUCHES;
        match touched.entry(digest) {
            Entry::Occupied(mut entry) => {
                let latest = (*entry.get()).max(now);
                entry.insert(latest);
            }
            Entry::Vacant(entry) if room => drop(entry.insert(now)),
            Entry::Vacant(_) => (),
        }
    }

    pub(super) async fn create_refresh_family(&self, family: RefreshFamily) -> Result<usize, SessionError> {
        self.submit(|reply| Command::CreateFamily(family, reply)).await
    }

    pub(super) async fn rotate_refresh_token(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        self.submit(|reply| Command::Rotate(rotation, reply)).await
    }

    pub(super) async fn revoke_refresh_family(&self, id: GrantId) -> Result<Option<UserId>, StoreError> {
        self.submit(|reply| Command::RevokeFamily(id, reply)).await
    }

    pub(super) async fn revoke_access_token(
        &self,
        user: UserId,
        jti: GrantId,
        until: SystemTime,
    ) -> Result<(), StoreError> {
        self.submit(|reply| Command::RevokeToken(user, jti, until, reply)).await
    }

    pub(super) fn note_failures(&self, count: Failures) {
        let mut waiting = self.shared.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < COUNTS || waiting.contains_key(&count.key) {
            waiting.insert(count.key, count);
        }
    }

    pub(super) async fn clear_failures(&self, account: TriedAccount) -> Result<usize, StoreError> {
        let is_there = |key: &FailureKey| matches!(key, FailureKey::Pair(_, at) if *at == account);
        self.shared.failures.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| !is_there(key));
        let mut cleared = 0;
        loop {
            match self.submit(|reply| Command::ClearFailures(account, reply)).await? {
                0 => return Ok(cleared),
                more => cleared += more,
            }
        }
    }

    pub(super) async fn create_one_time_token(&self, token: OneTimeToken) -> Result<(), TokenError> {
        self.submit(|reply| Command::CreateToken(token, reply)).await
    }

    pub(super) async fn pretend_one_time_token(&self) -> Result<(), TokenError> {
        self.submit(Command::PretendToken).await
    }

    pub(super) async fn set_password_with_token(
        &self,
        digest: Digest,
        hash: SecretString,
        now: SystemTime,
    ) -> Result<User, TokenError> {
        self.submit(|reply| Command::SetPassword(digest, hash, now, reply)).await
    }

    pub(super) async fn confirm_email(
        &self,
        digest: Digest,
        now: SystemTime,
    ) -> Result<Confirmed, ConfirmError> {
        self.submit(|reply| Command::ConfirmEmail(digest, now, reply)).await
    }

    pub(super) async fn create_invitation(
        &self,
        invitation: Invitation,
        own: usize,
    ) -> Result<(), InvitationError> {
        self.submit(|reply| Command::CreateInvitation(invitation, own, reply)).await
    }

    pub(super) async fn end_invitations(&self, which: EndInvitations) -> Result<Vec<Invitation>, StoreError> {
        self.submit(|reply| Command::EndInvitations(which, reply)).await
    }

    pub(super) async fn accept_invitation(
        &self,
        digest: Digest,
        inviters: Inviters,
        new: NewUser,
        now: SystemTime,
    ) -> Result<User, InvitationError> {
        self.submit(|reply| Command::AcceptInvitation(digest, inviters, Box::new(new), now, reply)).await
    }

    pub(super) async fn ensure_signing_key(
        &self,
        candidate: SigningKey,
    ) -> Result<Vec<SigningKey>, StoreError> {
        self.submit(|reply| Command::EnsureKey(candidate, reply)).await
    }

    pub(super) async fn change_signing_keys(
        &self,
        add: Option<SigningKey>,
        remove: Vec<String>,
    ) -> Result<Vec<SigningKey>, StoreError> {
        self.submit(|reply| Command::ChangeKeys(add, remove, reply)).await
    }

    pub(super) async fn ensure_secret(
        &self,
        name: &'static str,
        candidate: [u8; 32],
    ) -> Result<[u8; 32], StoreError> {
        self.submit(|reply| Command::EnsureSecret(name, candidate, reply)).await
    }

    pub(super) fn health(&self) -> Result<(), StoreError> {
        self.shared.is_open()?;
        match self.shared.failure.load().as_ref() {
            Some(reason) => Err(StoreError::Unavailable(reason.clone())),
            None => Ok(()),
        }
    }

    async fn submit<T, E: From<StoreError>>(
        &self,
        command: impl FnOnce(Reply<T, E>) -> Command,
    ) -> Result<T, E> {
        self.health()?;
        let (reply, answer) = oneshot::channel();
        self.commands.try_send(command(reply)).map_err(|refused| match refused {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Disconnected(_) => closed(),
        })?;
        match tokio::time::timeout(ANSWER_WAIT, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => {
                self.shared.is_open()?;
                Err(StoreError::Unavailable("the write was broken off".to_owned()).into())
            }
            Err(_) => {
                // The writer takes it back when it has got through.
                let reason = "the disk doesn't answer".to_owned();
                self.shared.failure.store(Arc::new(Some(reason.clone())));
                Err(StoreError::Unavailable(reason).into())
            }
        }
    }
}

impl Shared {
    /// Lends the tree for one read. Whoever holds it keeps the writer from recovering: be short.
    fn with_tree<T, E: From<StoreError>>(&self, read: impl FnOnce(&Arc<Db>) -> Result<T, E>) -> Result<T, E> {
        self.is_open()?;
        match self.tree.load().as_ref() {
            Some(db) => read(db),
            None => Err(StoreError::Unavailable("the store is being opened again".to_owned()).into()),
        }
    }

    fn is_open(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Acquire) { Err(closed()) } else { Ok(()) }
    }
}

/// The store's own failure, after which there is no use in going on; a row that is too large says nothing of others.
fn store_failure(error: &UserError) -> Option<StoreError> {
    match error {
        UserError::Store(StoreError::TooLarge { .. })
        | UserError::EmailTaken
        | UserError::NotFound
        | UserError::UsernameTaken => None,
        UserError::Store(error) => Some(error.clone()),
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".to_owned())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(StoreError::Unavailable(format!("a read ended early: {error}"))))
}
