//! What can go wrong at the store, in words for the operator; the rooms above say it to the client.
//!
//! Callers: everybody who asks the store for something, by way of `store`.

use std::io;
use std::path::PathBuf;

/// A failure of the store itself. It is a 503, never "wrong password" and never "signed out".
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Too many writes wait already.
    #[error("too many writes are waiting")]
    Busy,
    /// A record that can't be read: the store is of a newer version, or damaged.
    #[error("the store holds a record that can't be read: {0}")]
    Corrupt(String),
    /// A row larger than the store takes: an account with hundreds of roles, say. Nothing was changed.
    #[error("the record is larger than {limit} bytes")]
    TooLarge {
        /// What a row may have.
        limit: usize,
    },
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
    /// The password was set, or the account disabled, after the login had begun: what was typed may be
    /// the old one.
    #[error("the account was changed meanwhile")]
    OldLogin,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<TokenError> for ConfirmError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Invalid => Self::Invalid,
            TokenError::Store(error) => Self::Store(error),
        }
    }
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

/// Why an address was not confirmed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConfirmError {
    /// Another account has got it since the link was made.
    #[error("this e-mail address belongs to another account by now")]
    EmailTaken,
    /// The link is not good, or not any more.
    #[error("this link is not valid any more")]
    Invalid,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an invitation was not kept, or made no account.
#[derive(Clone, Debug, thiserror::Error)]
pub enum InvitationError {
    /// An account has this address.
    #[error("this e-mail address belongs to an account")]
    EmailTaken,
    /// It is not good, or not any more; or who invites is not there any more.
    #[error("this invitation is not valid any more")]
    Invalid,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// As many are open as the store keeps.
    #[error("{limit} invitations are open, and that is as many as there may be")]
    TooMany {
        /// How many that is.
        limit: usize,
    },
    /// As many of the member who invites are open as there may be.
    #[error("{limit} invitations of this member are open, and that is as many as there may be")]
    TooManyOwn {
        /// How many that is.
        limit: usize,
    },
    /// Another account has this name.
    #[error("this username is taken")]
    UsernameTaken,
}

/// Why the store was not opened. Each says what the operator can do about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A damaged file, also without its snapshots.
    #[error(
        "the store in {} is damaged and could not be opened ({reason}){}; \
         move the directory aside and restore the newest backup into an empty one",
        directory.display(), moved(aside)
    )]
    Corrupt {
        /// Files that were moved away in the attempt.
        aside: Option<PathBuf>,
        /// The store's directory.
        directory: PathBuf,
        /// What the engine said.
        reason: String,
    },
    /// The directory can't be made, read or written.
    #[error(
        "the store directory {} can't be used ({source}): make sure that it exists and that the user \
         Foregate runs as owns it",
        directory.display()
    )]
    Directory {
        /// The store's directory.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The files of a store are there and its content is not.
    #[error(
        "{} has the files of a store but nothing of Foregate's in them: it was emptied by a crash, or \
         belongs to another program. It is left as it is; restore a backup into an empty directory, or, \
         if there never was an account in it, name an empty directory",
        directory.display()
    )]
    Emptied {
        /// The store's directory.
        directory: PathBuf,
    },
    /// The engine failed in a way that is no damage: a full disk, an input/output error.
    #[error(
        "the store in {} could not be opened ({reason}): look at the free space and at the kernel's log, \
         then start again",
        directory.display()
    )]
    Failed {
        /// The store's directory.
        directory: PathBuf,
        /// What the engine said.
        reason: String,
    },
    /// Another process has it open.
    #[error(
        "the store in {} is in use by another process: stop that one, or reach it through its admin \
         socket {}",
        directory.display(), directory.join("admin.sock").display()
    )]
    Locked {
        /// The store's directory.
        directory: PathBuf,
    },
    /// The directory is on a filesystem of another machine.
    #[error(
        "the store directory {} is on {filesystem}, where neither locks nor syncs can be relied on: \
         name a directory on a local disk",
        directory.display()
    )]
    Network {
        /// The store's directory.
        directory: PathBuf,
        /// `NFS`, say.
        filesystem: &'static str,
    },
    /// Written by a newer Foregate.
    #[error(
        "the store in {} has format {found} and this Foregate knows {known} at most: run the newer \
         version that wrote it, or restore a backup of before the upgrade",
        directory.display()
    )]
    Newer {
        /// The store's directory.
        directory: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that we read.
        known: u32,
    },
    /// There is something else under this name.
    #[error("the store path {} is not a directory: name a directory", directory.display())]
    NotADirectory {
        /// The path.
        directory: PathBuf,
    },
    /// The engine opened its log, and less is in it than was acknowledged.
    #[error(
        "the store in {} is damaged: {acknowledged} writes were acknowledged and its log ends after \
         {found} of them; move the directory aside and restore the newest backup into an empty one, or, \
         to go on with what is left, remove the file {}",
        directory.display(), directory.join("acknowledged").display()
    )]
    Shortened {
        /// Writes that had been answered.
        acknowledged: u64,
        /// The store's directory.
        directory: PathBuf,
        /// Writes that are left.
        found: u64,
    },
}

fn moved(aside: &Option<PathBuf>) -> String {
    aside.as_ref().map(|path| format!("; its snapshots were moved to {}", path.display())).unwrap_or_default()
}
