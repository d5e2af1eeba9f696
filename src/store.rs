//! Accounts, sessions, one-time tokens and keys on disk.
//!
//! Methods are whole operations of the domain, each atomic and, once it has answered, durable: it
//! survives `kill -9` and a crash of the host. Reads are point look-ups that may run inline; what
//! writes or scans waits for its own threads. Times are passed in, never read here.
//!
//! Callers: `authn` reads; `account` changes; `cli` and `gateway` open and close. Nobody else, and
//! nothing above this room knows which engine is below.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use secrecy::SecretString;

use crate::identity::{DisplayName, Email, Role, UserId, Username};

/// SHA-256 of a random token (a session cookie, a one-time link). The token itself is never kept.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of a token's bytes.
    pub fn of(token: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token);
        Self(digest.as_ref().try_into().expect("SHA-256 gives 32 bytes"))
    }

    /// From its bytes, as they were kept.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Digest {
    /// The first four bytes: enough to follow one session through a log, useless as a credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}{d:02x}…")
    }
}

/// An account as it is kept.
#[derive(Clone, Debug)]
pub struct User {
    /// When it was made.
    pub created_at: SystemTime,
    /// A disabled account can't sign in and holds no session.
    pub disabled: bool,
    /// Unique among all accounts, folded.
    pub email: Option<Email>,
    /// The account's number.
    pub id: UserId,
    /// For display.
    pub name: DisplayName,
    /// When the password was last set; `None` without a password.
    pub password_changed_at: Option<SystemTime>,
    /// A hash in one of the formats of the `password` room; `None` until one is set.
    pub password_hash: Option<SecretString>,
    /// What `require.roles` looks at.
    pub roles: BTreeSet<Role>,
    /// Unique among all accounts, folded.
    pub username: Username,
    /// Goes up with every change.
    pub version: u64,
}

/// An account to be made. Its number and version are the store's to give.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// When.
    pub created_at: SystemTime,
    /// Its address, if it has one.
    pub email: Option<Email>,
    /// For display.
    pub name: DisplayName,
    /// `None`: nobody can sign in until one is set.
    pub password_hash: Option<SecretString>,
    /// Its roles.
    pub roles: BTreeSet<Role>,
    /// Its login name.
    pub username: Username,
}

/// What to change of an account; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    /// Disabled or not.
    pub disabled: Option<bool>,
    /// `Some(None)` takes the address away.
    pub email: Option<Option<Email>>,
    /// For display.
    pub name: Option<DisplayName>,
    /// A new hash, and when it was set.
    pub password: Option<(SecretString, SystemTime)>,
    /// The whole new set.
    pub roles: Option<BTreeSet<Role>>,
    /// Which of its sessions end in the same unit.
    pub sessions: EndSessions,
}

/// Which sessions of an account end with a change.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum EndSessions {
    /// None: the change is seen by the sessions that go on.
    #[default]
    None,
    /// All of them, and all one-time tokens.
    All,
    /// All but this one.
    Except(Digest),
}

/// A login kept on the server.
#[derive(Clone, Debug)]
pub struct Session {
    /// When the password was typed.
    pub authenticated_at: SystemTime,
    /// Where from.
    pub client: IpAddr,
    /// SHA-256 of the cookie's value.
    pub digest: Digest,
    /// It ends here, used or not.
    pub expires_at: SystemTime,
    /// It ends this long after its last use.
    pub idle_timeout: Duration,
    /// The last use that was written down.
    pub last_seen: SystemTime,
    /// Made with "remember me".
    pub remembered: bool,
    /// The browser's name for itself, at most 256 bytes.
    pub user_agent: String,
    /// Whose it is.
    pub user_id: UserId,
}

/// What a one-time token is good for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// Setting a password.
    SetPassword,
}

/// A link that works once.
#[derive(Clone, Debug)]
pub struct OneTimeToken {
    /// SHA-256 of what the link holds.
    pub digest: Digest,
    /// It ends here, used or not.
    pub expires_at: SystemTime,
    /// What for.
    pub purpose: Purpose,
    /// Whose.
    pub user_id: UserId,
}

/// A JWT signing key as it is kept.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// `EdDSA`, `ES256`, `RS256` or `HS256`.
    pub algorithm: String,
    /// When it was made.
    pub created_at: SystemTime,
    /// Its name in `kid`: the RFC 7638 thumbprint, or a random one for a secret.
    pub kid: String,
    /// PKCS#8 in DER (version 1 for Ed25519), or the raw secret of `HS256`.
    pub private: secrecy::SecretBox<[u8]>,
}

/// A failure of the store itself. It is a 503, never "wrong password" and never "signed out".
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Too many writes wait already.
    #[error("too many writes are waiting")]
    Busy,
    /// A record that can't be read: the store is of a newer version, or damaged.
    #[error("the store holds a record that can't be read: {0}")]
    Corrupt(String),
    /// Writing failed (a full disk, say); it is tried again in the background.
    #[error("the store can't write at the moment: {0}")]
    Unavailable(String),
}

/// Why an account was not made or changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UserError {
    /// Another account has this address.
    #[error("this e-mail address belongs to another account")]
    EmailTaken,
    /// There is no such account (any more).
    #[error("there is no such account")]
    NotFound,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another account has this name.
    #[error("this username is taken")]
    UsernameTaken,
}

/// Why a session was not made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SessionError {
    /// The account was disabled or deleted meanwhile.
    #[error("the account is disabled or gone")]
    NoAccount,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a one-time token did nothing: unknown, used, expired and of another purpose are one answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TokenError {
    /// It is not good, or not any more.
    #[error("this link is not valid any more")]
    Invalid,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The open store. Cheap to clone; the last clone that goes closes it cleanly.
#[derive(Clone)]
pub struct Store {
    _engine: (),
}

impl Store {
    // ---- accounts ----------------------------------------------------------------------------

    /// Makes an account; its name and address are unique, folded.
    pub async fn create_user(&self, new: NewUser) -> Result<User, UserError> {
        unimplemented!("{new:?}")
    }

    /// Changes an account and ends the sessions that the change asks to end, in one unit.
    pub async fn change_user(&self, id: UserId, change: UserChange) -> Result<User, UserError> {
        unimplemented!("{id} {change:?}")
    }

    /// Puts a better hash of the same password in place, if `old` is still the one there.
    pub async fn upgrade_hash(
        &self,
        id: UserId,
        old: SecretString,
        new: SecretString,
    ) -> Result<bool, StoreError> {
        unimplemented!("{id} {old:?} {new:?}")
    }

    /// Deletes an account with everything that hangs on it.
    pub async fn delete_user(&self, id: UserId) -> Result<User, UserError> {
        unimplemented!("{id}")
    }

    /// The account with this number.
    pub fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        unimplemented!("{id}")
    }

    /// The account with this name or this address, in any spelling that folds to it.
    pub fn user_by_login(&self, login: &str) -> Result<Option<User>, StoreError> {
        unimplemented!("{login}")
    }

    /// Up to `limit` accounts in the order of their folded names, after the name `after`.
    pub async fn users(&self, after: Option<Username>, limit: usize) -> Result<Vec<User>, StoreError> {
        unimplemented!("{after:?} {limit}")
    }

    // ---- sessions ----------------------------------------------------------------------------

    /// Keeps a session of an account that is there and enabled.
    pub async fn create_session(&self, session: Session) -> Result<(), SessionError> {
        unimplemented!("{session:?}")
    }

    /// The session with this digest, whether or not its time is over: the reader compares.
    pub fn session(&self, digest: Digest) -> Result<Option<Session>, StoreError> {
        unimplemented!("{digest:?}")
    }

    /// All sessions of one account.
    pub async fn sessions_of(&self, user: UserId) -> Result<Vec<Session>, StoreError> {
        unimplemented!("{user}")
    }

    /// Ends one session; says whether it was there.
    pub async fn end_session(&self, digest: Digest) -> Result<bool, StoreError> {
        unimplemented!("{digest:?}")
    }

    /// Ends the sessions of one account; says how many.
    pub async fn end_sessions_of(&self, user: UserId, which: EndSessions) -> Result<usize, StoreError> {
        unimplemented!("{user} {which:?}")
    }

    /// Notes that a session was used. Doesn't wait; may be lost in a crash or when the store is busy.
    pub fn touch_session(&self, digest: Digest, now: SystemTime) {
        unimplemented!("{digest:?} {now:?}")
    }

    // ---- one-time tokens ---------------------------------------------------------------------

    /// Keeps a one-time token; older ones of the same account and purpose are void from then on.
    pub async fn create_one_time_token(&self, token: OneTimeToken) -> Result<(), TokenError> {
        unimplemented!("{token:?}")
    }

    /// Reads a one-time token without using it, for the page that asks before it acts.
    pub fn one_time_token(&self, digest: Digest, now: SystemTime) -> Result<OneTimeToken, TokenError> {
        unimplemented!("{digest:?} {now:?}")
    }

    /// Uses a token for setting a password: exactly once, it sets the hash and ends all sessions of the account.
    pub async fn set_password_with_token(
        &self,
        digest: Digest,
        hash: SecretString,
        now: SystemTime,
    ) -> Result<User, TokenError> {
        unimplemented!("{digest:?} {hash:?} {now:?}")
    }

    // ---- keys --------------------------------------------------------------------------------

    /// The signing keys, newest first.
    pub fn signing_keys(&self) -> Result<Vec<SigningKey>, StoreError> {
        unimplemented!()
    }

    /// Keeps a signing key unless one of its algorithm is there already; gives all of them, newest first.
    pub async fn ensure_signing_key(&self, candidate: SigningKey) -> Result<Vec<SigningKey>, StoreError> {
        unimplemented!("{candidate:?}")
    }

    /// Keeps a secret under a name unless one is there already; gives the one that is kept.
    pub async fn ensure_secret(
        &self,
        name: &'static str,
        candidate: [u8; 32],
    ) -> Result<[u8; 32], StoreError> {
        unimplemented!("{name} {}", candidate.len())
    }

    // ---- the store itself --------------------------------------------------------------------

    /// `Ok` while writing works; for readiness.
    pub fn health(&self) -> Result<(), StoreError> {
        unimplemented!()
    }
}
