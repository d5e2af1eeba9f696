//! Accounts, sessions, one-time tokens, mails and keys on disk.
//!
//! Methods are whole operations of the domain, each atomic and, once it has answered, durable: it
//! survives `kill -9` and a crash of the host. Reads are point look-ups that may run inline; what
//! writes or scans waits for its own threads. Times are passed in, with two exceptions: the sweeper
//! reads the clock, and nobody depends on what it has got round to; and when a new password begins to
//! count is for the writer to say.
//!
//! `Unavailable` for a write means that it is not acknowledged, not that it did not happen: after a
//! failure in the middle of it either is possible, as it is with any database.
//!
//! Callers: `authn` reads; `account` changes; `mail` keeps its outbox; `cli` and `gateway` open and close. Nobody else, and
//! nothing above this room knows which engine is below.

mod backup;
mod error;
mod failures;
mod model;
mod outbox;
mod personal;
mod record;
mod refresh;
mod short;
mod sled;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use secrecy::SecretString;

pub use self::backup::{BackupError, BackupRow, BackupWriter, read_backup};
pub use self::error::{
    ConfirmError, InvitationError, OpenError, SessionError, StoreError, TokenError, UserError,
};
pub use self::failures::{FailureKey, Failures, TriedAccount};
pub use self::model::{
    ConfirmationLink, Confirmed, DamagedAccount, Digest, EndInvitations, EndSessions, Invitation, Inviters,
    NewUser, OneTimeToken, Purpose, Registered, Restoring, Session, SigningKey, Standing, User, UserChange,
    Verification,
};
pub use self::outbox::{MailContent, MailId, QueuedMail};
pub use self::personal::{PERSONAL_TOKENS_PER_ACCOUNT, PersonalToken, PersonalTokenError, TOKEN_USE_EVERY};
pub use self::refresh::{
    FAMILIES_PER_ACCOUNT, PreviousToken, REVOCATIONS_PER_ACCOUNT, RefreshFamily, Rotated, Rotation,
};
pub use self::short::{InvalidShortId, ShortId};
use crate::identity::{Email, GrantId, UserId};

/// An account holds at most this many sessions; a further one ends its oldest.
pub const SESSIONS_PER_ACCOUNT: usize = 100;

/// At most this many invitations are open at a time; for a further one, another has to end.
pub const INVITATIONS: usize = 10_000;
/// Members' invitations leave the rest to administrators.
pub const INVITATIONS_OF_MEMBERS: usize = 9_000;

/// A session's last use is written down at least this often, however long it may lie idle: its person
/// is shown it.
const LONGEST_UNNOTED: Duration = Duration::from_secs(15 * 60);

/// How old the last use that was written down may be before a further one is: a tenth of the idle
/// timeout, so that the one never ends a session that the other keeps.
pub fn noted_after(idle_timeout: Duration) -> Duration {
    (idle_timeout / 10).min(LONGEST_UNNOTED)
}

/// Where the store is and what it may take.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// What the engine may keep in memory; the process takes about twice as much.
    pub cache_bytes: u64,
    /// A directory on a local disk, made when it is not there.
    pub directory: PathBuf,
    /// With less room than this on the disk no account is made; never more than a twentieth of the disk.
    pub registration_reserve_bytes: u64,
    /// With less room than this nothing is written, so that the engine never meets the end of the
    /// disk in the middle of something; never more than a twentieth of the disk.
    pub write_reserve_bytes: u64,
}

impl StoreSettings {
    /// The usual: 64 MiB of cache, 256 MiB kept from registrations, 16 MiB from all writes.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self {
            cache_bytes: 64 << 20,
            directory: directory.into(),
            registration_reserve_bytes: 256 << 20,
            write_reserve_bytes: 16 << 20,
        }
    }
}

/// The open store. Cheap to clone. `close` waits for a clean stop; when merely the last clone goes,
/// the writer stops cleanly by itself, unless the process is faster.
#[derive(Clone)]
pub struct Store {
    engine: Engine,
}

/// The engines: nobody outside this room can tell which one it is.
#[derive(Clone)]
enum Engine {
    Sled(sled::Sled),
}

impl Store {
    /// Opens the store, or makes an empty one where there is none. Blocks, up to seconds for a
    /// large one: not to be called on a runtime that serves.
    pub fn open(settings: StoreSettings) -> Result<Self, OpenError> {
        Ok(Self { engine: Engine::Sled(sled::Sled::open(settings)?) })
    }

    /// Writes what waits, marks the stop as a clean one and lets go of the directory. Every call
    /// afterwards, also through other clones, answers `Unavailable`.
    pub async fn close(self) {
        match self.engine {
            Engine::Sled(sled) => sled.close().await,
        }
    }

    // ---- accounts ----------------------------------------------------------------------------

    /// Makes an account; its name and address are unique, folded.
    pub async fn create_user(&self, new: NewUser) -> Result<User, UserError> {
        match &self.engine {
            Engine::Sled(sled) => sled.create_user(new).await,
        }
    }

    /// Makes many accounts, each whole or not at all, and answers for each of them in its place. What a crash in
    /// the middle leaves is a beginning of them. After a failure of the store the rest is not tried.
    pub async fn create_users(&self, new: Vec<NewUser>) -> Vec<Result<User, UserError>> {
        match &self.engine {
            Engine::Sled(sled) => sled.create_users(new).await,
        }
    }

    /// What `create_users` would answer for each of them alone; makes nothing.
    pub async fn check_users(&self, new: Vec<NewUser>) -> Result<Vec<Result<(), UserError>>, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.check_users(new).await,
        }
    }

    /// Makes an account that waits for the confirmation of its address, and the link for that, in one unit. Never
    /// confirmed, it goes with its last link. An address that is taken is not told by an error: see `Registered`.
    pub async fn register(&self, new: NewUser, link: ConfirmationLink) -> Result<Registered, UserError> {
        match &self.engine {
            Engine::Sled(sled) => sled.register(new, link).await,
        }
    }

    /// Changes an account and ends the sessions that the change asks to end, in one unit.
    pub async fn change_user(&self, id: UserId, change: UserChange) -> Result<User, UserError> {
        match &self.engine {
            Engine::Sled(sled) => sled.change_user(id, change).await,
        }
    }

    /// Puts a better hash of the same password in place, if `old` is still the one there.
    pub async fn upgrade_hash(
        &self,
        id: UserId,
        old: SecretString,
        new: SecretString,
    ) -> Result<bool, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.upgrade_hash(id, old, new).await,
        }
    }

    /// Deletes an account with everything that hangs on it.
    pub async fn delete_user(&self, id: UserId) -> Result<User, UserError> {
        match &self.engine {
            Engine::Sled(sled) => sled.delete_user(id).await,
        }
    }

    /// The account of this name or address, where it is there and can't be read.
    pub fn damaged_user(&self, login: &str) -> Result<Option<DamagedAccount>, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.damaged_user(login),
        }
    }

    /// Deletes an account that can't be read with everything that hangs on it; says whether it was one.
    pub async fn delete_damaged_user(&self, id: UserId) -> Result<bool, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.delete_damaged_user(id).await,
        }
    }

    /// The account with this number.
    pub fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.user(id),
        }
    }

    /// The account with this name or this address, in any spelling that folds to it.
    pub fn user_by_login(&self, login: &str) -> Result<Option<User>, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.user_by_login(login),
        }
    }

    /// Whether anybody at all has registered with an address and not confirmed it.
    pub fn has_newcomers(&self) -> Result<bool, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.has_newcomers(),
        }
    }

    /// Whoever has registered with this address last and not confirmed it: also where it is another account's.
    pub fn newcomer(&self, address: &str) -> Result<Option<User>, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.newcomer(address),
        }
    }

    /// The address with which an account without one has registered, as long as nobody has confirmed it.
    pub fn contended_address(&self, user: &User) -> Result<Option<Email>, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.contended_address(user),
        }
    }

    /// Up to `limit` accounts in the order of their folded names, after the name `after`. One that can't be read hides none
    /// of the others.
    pub async fn users(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<Result<User, DamagedAccount>>, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.users(after, limit).await,
        }
    }

    // ---- sessions ----------------------------------------------------------------------------

    /// Keeps a session of an account that is there and enabled, if its login is not older than `credentials_since`.
    /// Gives the sessions that ended for it, where the account held as many as it may.
    pub async fn create_session(&self, session: Session) -> Result<Vec<Digest>, SessionError> {
        match &self.engine {
            Engine::Sled(sled) => sled.create_session(session).await,
        }
    }

    /// The session with this digest, whether or not its time is over: the reader compares.
    pub fn session(&self, digest: Digest) -> Result<Option<Session>, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.session(digest),
        }
    }

    /// All sessions of one account.
    pub async fn sessions_of(&self, user: UserId) -> Result<Vec<Session>, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.sessions_of(user).await,
        }
    }

    /// The session with this name.
    pub fn session_by_short_id(&self, id: ShortId) -> Result<Option<Session>, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.session_by_short_id(id),
        }
    }

    /// Up to `limit` sessions of all accounts, those of one account together, after the session `after`.
    pub async fn sessions(
        &self,
        after: Option<(UserId, Digest)>,
        limit: usize,
    ) -> Result<Vec<Session>, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.sessions(after, limit).await,
        }
    }

    /// Ends one session; says whether it was there.
    pub async fn end_session(&self, digest: Digest) -> Result<bool, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.end_session(digest).await,
        }
    }

    /// Ends the sessions of one account; says how many.
    pub async fn end_sessions_of(&self, user: UserId, which: EndSessions) -> Result<usize, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.end_sessions_of(user, which).await,
        }
    }

    /// Notes that a session was used. Doesn't wait; may be lost in a crash or when the store is busy.
    pub fn touch_session(&self, digest: Digest, now: SystemTime) {
        match &self.engine {
            Engine::Sled(sled) => sled.touch(digest, now),
        }
    }

    // ---- refresh tokens, and access tokens that were revoked ---------------------------------

    /// Keeps the family of a login, of an account that is there and enabled, if the login is not older than
    /// `credentials_since`. Gives how many others it took the place of.
    pub async fn create_refresh_family(&self, family: RefreshFamily) -> Result<usize, SessionError> {
        match &self.engine {
            Engine::Sled(sled) => sled.create_refresh_family(family).await,
        }
    }

    /// A refresh token was shown: says what becomes of it and of its family.
    pub async fn rotate_refresh_token(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.rotate_refresh_token(rotation).await,
        }
    }

    /// The family of this name, whether or not its time is over and its account goes on.
    pub fn refresh_family(&self, id: GrantId) -> Result<Option<RefreshFamily>, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.refresh_family(id),
        }
    }

    /// Revokes a family with all of its access tokens. Gives whose it was.
    pub async fn revoke_refresh_family(&self, id: GrantId) -> Result<Option<UserId>, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.revoke_refresh_family(id).await,
        }
    }

    /// Revokes an access token, which would end by itself at `until`.
    pub async fn revoke_access_token(
        &self,
        user: UserId,
        jti: GrantId,
        until: SystemTime,
    ) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.revoke_access_token(user, jti, until).await,
        }
    }

    /// Whether this access token, or this family, of this account was revoked.
    pub fn is_revoked(&self, user: UserId, id: GrantId) -> Result<bool, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.is_revoked(user, id),
        }
    }

    // ---- one-time tokens ---------------------------------------------------------------------

    /// Keeps a one-time token; older ones of the same account and purpose are void from then on.
    pub async fn create_one_time_token(&self, token: OneTimeToken) -> Result<(), TokenError> {
        match &self.engine {
            Engine::Sled(sled) => sled.create_one_time_token(token).await,
        }
    }

    /// Takes as long as `create_one_time_token` and keeps nothing: for where it must not show that there is nobody to
    /// get a link.
    pub async fn pretend_one_time_token(&self) -> Result<(), TokenError> {
        match &self.engine {
            Engine::Sled(sled) => sled.pretend_one_time_token().await,
        }
    }

    /// Reads a one-time token without using it, for the page that asks before it acts.
    pub fn one_time_token(&self, digest: Digest, now: SystemTime) -> Result<OneTimeToken, TokenError> {
        match &self.engine {
            Engine::Sled(sled) => sled.one_time_token(digest, now),
        }
    }

    /// Uses a token for setting a password: exactly once, it sets the hash and ends all sessions of the account.
    pub async fn set_password_with_token(
        &self,
        digest: Digest,
        hash: SecretString,
        now: SystemTime,
    ) -> Result<User, TokenError> {
        match &self.engine {
            Engine::Sled(sled) => sled.set_password_with_token(digest, hash, now).await,
        }
    }

    /// Uses a token for confirming an address: exactly once. A changed one is claimed at this moment, and all
    /// links of the account are void with the old one.
    pub async fn confirm_email(&self, digest: Digest, now: SystemTime) -> Result<Confirmed, ConfirmError> {
        match &self.engine {
            Engine::Sled(sled) => sled.confirm_email(digest, now).await,
        }
    }

    // ---- invitations -------------------------------------------------------------------------

    /// Keeps an invitation; an older one of the same sender to the same address is void from then on. A member has
    /// `own` of them open at most, and is not told whether the address is taken: it shows when the link is used.
    pub async fn create_invitation(&self, invitation: Invitation, own: usize) -> Result<(), InvitationError> {
        match &self.engine {
            Engine::Sled(sled) => sled.create_invitation(invitation, own).await,
        }
    }

    /// Ends invitations and gives them: some of them, where there are very many. With none given, none is left.
    pub async fn end_invitations(&self, which: EndInvitations) -> Result<Vec<Invitation>, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.end_invitations(which).await,
        }
    }

    /// Up to `limit` open invitations in the order of their digests, beginning behind this one.
    pub async fn invitations(
        &self,
        after: Option<Digest>,
        limit: usize,
        now: SystemTime,
    ) -> Result<Vec<Invitation>, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.invitations(after, limit, now).await,
        }
    }

    /// The open invitations that a member has sent.
    pub async fn invitations_of(
        &self,
        member: UserId,
        now: SystemTime,
    ) -> Result<Vec<Invitation>, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.invitations_of(member, now).await,
        }
    }

    /// Reads an invitation without using it, for the page that asks for a name and a password.
    /// A member's is told as an administrator's where one has invited the address, too.
    pub fn invitation(
        &self,
        digest: Digest,
        inviters: &Inviters,
        now: SystemTime,
    ) -> Result<Invitation, InvitationError> {
        match &self.engine {
            Engine::Sled(sled) => sled.invitation(digest, inviters, now),
        }
    }

    /// Uses an invitation: exactly once, it makes the account with the invitation's address and, beside its own, roles.
    /// The others to this address end with it.
    pub async fn accept_invitation(
        &self,
        digest: Digest,
        inviters: Inviters,
        new: NewUser,
        now: SystemTime,
    ) -> Result<User, InvitationError> {
        match &self.engine {
            Engine::Sled(sled) => sled.accept_invitation(digest, inviters, new, now).await,
        }
    }

    // ---- failed logins -----------------------------------------------------------------------

    /// Notes a count of failed logins. Doesn't wait; the last second may be lost in a crash.
    pub fn note_failures(&self, count: Failures) {
        match &self.engine {
            Engine::Sled(sled) => sled.note_failures(count),
        }
    }

    /// The counts that still count.
    pub async fn failures(&self, now: SystemTime) -> Result<Vec<Failures>, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.failures(now).await,
        }
    }

    /// Clears the counts at one account, of all sources; says how many there were.
    pub async fn clear_failures(&self, account: TriedAccount) -> Result<usize, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.clear_failures(account).await,
        }
    }

    // ---- keys --------------------------------------------------------------------------------

    /// The signing keys, newest first.
    pub fn signing_keys(&self) -> Result<Vec<SigningKey>, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.signing_keys(),
        }
    }

    /// Keeps a signing key unless one of its algorithm is there already; gives all of them, newest first.
    pub async fn ensure_signing_key(&self, candidate: SigningKey) -> Result<Vec<SigningKey>, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.ensure_signing_key(candidate).await,
        }
    }

    /// Takes a key in and others away, in one unit; gives all of them, newest first.
    pub async fn change_signing_keys(
        &self,
        add: Option<SigningKey>,
        remove: Vec<String>,
    ) -> Result<Vec<SigningKey>, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.change_signing_keys(add, remove).await,
        }
    }

    /// Keeps a secret under a name unless one is there already; gives the one that is kept.
    pub async fn ensure_secret(
        &self,
        name: &'static str,
        candidate: [u8; 32],
    ) -> Result<[u8; 32], StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.ensure_secret(name, candidate).await,
        }
    }

    // ---- backups -----------------------------------------------------------------------------

    /// Begins a backup; gives its number. One that is under way already ends.
    pub fn begin_backup(&self) -> u64 {
        match &self.engine {
            Engine::Sled(sled) => sled.begin_backup(),
        }
    }

    /// Up to `limit` rows behind this key, in the order of the keys; none at the end.
    pub async fn backup_rows(&self, after: Vec<u8>, limit: usize) -> Result<Vec<BackupRow>, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.backup_rows(after, limit).await,
        }
    }

    /// Up to `limit` of the rows that changed since the backup began or since they were asked for, as they are now; and
    /// whether those were all. Where `last` is set nothing changes meanwhile, and with the last of them the backup is over.
    pub async fn backup_changes(
        &self,
        id: u64,
        limit: usize,
        last: bool,
    ) -> Result<(Vec<BackupRow>, bool), StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.backup_changes(id, limit, last).await,
        }
    }

    /// Writes rows of a backup, in one unit: some hundreds at most. For a store that is not in use yet.
    pub async fn restore_rows(&self, rows: Vec<BackupRow>, what: Restoring) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.restore_rows(rows, what).await,
        }
    }

    // ---- the store itself --------------------------------------------------------------------

    /// `Ok` while writing works; for readiness.
    pub fn health(&self) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.health(),
        }
    }

    /// Checks that every row and every index entry vouch for each other. Reads everything: for the
    /// command line and for tests; after an unclean stop the store does it by itself.
    pub async fn verify(&self) -> Result<Verification, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.verify().await,
        }
    }
}
