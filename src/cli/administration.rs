//! Where a command on accounts is carried out: in the running server, or on the store itself.
//!
//! Callers: `cli::user` and `cli::demo`.

use std::io;
use std::os::unix::fs::fchown;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, anyhow};
use rustix::fs::{FileType, Mode, OFlags};

use super::CliError;
use crate::account::Accounts;
use crate::admin::{Client, Command, Failure, LinkBase, Reply, connect, perform};
use crate::config::Config;
use crate::gateway::AccountRooms;
use crate::store::{OpenError, Store, StoreSettings};
use crate::telemetry::audit;
use crate::telemetry::metrics::Metrics;

/// Carries out commands.
pub(super) enum Administration {
    /// Through the server that has the store.
    Server(Client),
    /// On the store, which nobody else has.
    Store(Box<Offline>),
}

/// The store, opened by this process.
pub(super) struct Offline {
    accounts: Accounts,
    links: LinkBase,
    /// The file of the audit trail wasn't there before.
    made_audit_file: bool,
    store: Store,
}

impl Administration {
    /// Asks the server if one runs, and opens the store if none does.
    pub(super) async fn open(config: &Config) -> Result<Self, CliError> {
        let socket = &config.admin_socket;
        if let Some(client) = reach(socket).await? {
            return Ok(Self::Server(client));
        }
        match Store::open(StoreSettings::at(&config.store)) {
            Ok(store) => Ok(Self::Store(Box::new(Offline::new(store, config).await?))),
            // A server that was just starting listens by now.
            Err(OpenError::Locked { directory }) => match reach(socket).await? {
                Some(client) => Ok(Self::Server(client)),
                None => Err(CliError::Failed(anyhow!(
                    "the store in {} is in use by another process, and no server answers on the admin socket {}; \
                     wait until that process ends, or stop it",
                    directory.display(),
                    socket.display()
                ))),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Carries out one command.
    pub(super) async fn perform(&self, command: Command) -> Result<Reply, CliError> {
        let reply = match self {
            Self::Server(client) => client.request(&command).await?,
            Self::Store(offline) => {
                let origin = audit::Origin::CommandLine { uid: rustix::process::getuid().as_raw() };
                let done = perform(&offline.accounts, &offline.links, command, SystemTime::now());
                audit::within(origin, done).await
            }
        };
        match reply {
            Reply::Failed(failure) => Err(failed(failure)),
            reply @ (Reply::Account(_)
            | Reply::Accounts { .. }
            | Reply::Added { .. }
            | Reply::BackupBegun { .. }
            | Reply::BackupRows { .. }
            | Reply::DamagedDeleted(_)
            | Reply::Ended { .. }
            | Reply::Invitations { .. }
            | Reply::InvitationsEnded { .. }
            | Reply::Invited { .. }
            | Reply::Exported { .. }
            | Reply::Imported(_)
            | Reply::Key { .. }
            | Reply::Keys { .. }
            | Reply::Reloaded { .. }
            | Reply::Schemes { .. }
            | Reply::Sessions { .. }
            | Reply::Status(_)
            | Reply::Token(_)) => Ok(reply),
        }
    }

    /// The reply was to something else.
    pub(super) fn unexpected() -> CliError {
        CliError::Failed(anyhow!(
            "the server gave an answer to another question: it may run another version of Foregate than this one; \
             restart it after an upgrade"
        ))
    }

    /// Lets go of the store. Call it also after a failure: a clean end is what the next start likes best.
    pub(super) async fn close(self, config: &Config) {
        match self {
            Self::Server(_) => {}
            Self::Store(offline) => {
                offline.store.close().await;
                if let Some(path) = config.audit.as_deref().filter(|_| offline.made_audit_file)
                    && let Err(error) = hand_file_back(path, &config.store)
                {
                    super::note(format_args!(
                        "warning: {} belongs to root now, and the server may not be able to write to it: {error}",
                        path.display()
                    ));
                }
                if let Err(error) = hand_back(&config.store) {
                    super::note(format_args!(
                        "warning: the new files in {} belong to root now, and the server may not be able to open them: {error}",
                        config.store.display()
                    ));
                }
            }
        }
    }
}

impl Offline {
    async fn new(store: Store, config: &Config) -> Result<Self, CliError> {
        let made_audit_file = config.audit.as_deref().is_some_and(|path| !path.exists());
        audit::open(config.audit.as_deref())?;
        // One password at most is hashed here; a thread for each core would only take memory.
        let mut config = config.clone();
        config.password.workers = 1;
        let rooms = AccountRooms::build(&config, store, Metrics::new(SystemTime::now())).await?;
        let AccountRooms { accounts, store, .. } = rooms;
        Ok(Self { accounts, links: links(&config), made_audit_file, store })
    }
}

/// Where our links begin.
pub(super) fn links(config: &Config) -> LinkBase {
    LinkBase::new(&config.public_url.to_string(), &config.portal.prefix)
}

async fn reach(socket: &Path) -> Result<Option<Client>, CliError> {
    let reached = connect(socket).await.with_context(|| {
        format!(
            "can't connect to the admin socket {}; run this as the user that the server runs as, or as root",
            socket.display()
        )
    });
    Ok(reached?)
}

fn failed(failure: Failure) -> CliError {
    CliError::Failed(failure.into())
}

/// Gives a file that root has just made to the user whose store this is: the server runs as that one.
fn hand_file_back(path: &Path, store: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let owner = rustix::fs::stat(store)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    let found = rustix::fs::fstat(&file)?;
    // By its descriptor, and only what has no second name: see below.
    let is_ours = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile && found.st_nlink == 1;
    if owner.st_uid != 0 && found.st_uid == 0 && is_ours {
        fchown(&file, Some(owner.st_uid), Some(owner.st_gid))?;
    }
    Ok(())
}

/// Gives what root has written in another user's store to that user, who could not open it otherwise.
fn hand_back(directory: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    // By descriptors alone: whoever owns the directory could put a link to somebody else's file into the
    // place of a name between two looks at it.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(directory, flags | OFlags::DIRECTORY, Mode::empty())?;
    let owner = rustix::fs::fstat(&opened)?;
    if owner.st_uid == 0 {
        return Ok(());
    }
    for entry in rustix::fs::Dir::read_from(&opened)? {
        let entry = entry?;
        let kind = entry.file_type();
        let ours = matches!(kind, FileType::RegularFile | FileType::Directory) && entry.file_name() != c"..";
        if !ours {
            continue;
        }
        let file = rustix::fs::openat(&opened, entry.file_name(), flags, Mode::empty())?;
        let found = rustix::fs::fstat(&file)?;
        // A file with a second name may be one that the owner could only link to.
        if found.st_uid == 0 && (kind == FileType::Directory || found.st_nlink == 1) {
            fchown(&file, Some(owner.st_uid), Some(owner.st_gid))?;
        }
    }
    Ok(())
}
