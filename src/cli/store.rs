//! `foregate store`: a backup while the server runs or not, and the way back.
//!
//! Callers: `cli`. What a backup's file looks like is `store`'s.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, anyhow};
use clap::Subcommand;
use tokio::sync::mpsc;

use super::administration::Administration;
use super::{CliError, note};
use crate::admin::{Command, Reply};
use crate::config::Config;
use crate::store::{BackupRow, BackupWriter, Restoring, Store, StoreSettings, read_backup};

/// Rows that are written in one unit: an account that was never confirmed brings three more along.
const ROWS_PER_UNIT: usize = 70;
/// Units that are read ahead.
const UNITS_AHEAD: usize = 8;

#[derive(Subcommand)]
pub(super) enum StoreCommand {
    /// Write everything into a file, also while the server runs. It holds password hashes and private keys: keep it safe
    Backup {
        /// Where to; `-` is standard output
        file: PathBuf,
        /// Replace the file if it is there
        #[arg(long)]
        force: bool,
    },
    /// Make the configured store anew from a backup. Accounts, keys and personal tokens come back; everybody has to sign
    /// in again, and what was signed before is void
    Restore {
        /// The backup
        file: PathBuf,
        /// Bring sessions, links and refresh tokens back as well, those that were ended since among them
        #[arg(long)]
        with_sessions: bool,
    },
    /// Copy everything, sessions included, into a new store; meant for a move with the server stopped
    Copy {
        /// The new store, as in the configuration: sled:DIRECTORY
        #[arg(long, value_name = "URL", value_parser = target)]
        to: PathBuf,
    },
}

pub(super) fn run(config: &Config, command: StoreCommand) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            StoreCommand::Backup { file, .. } if file == Path::new("-") => {
                let rows = back_up(config, BufWriter::new(io::stdout())).await?;
                note(format_args!("{rows} rows are written."));
                Ok(())
            }
            StoreCommand::Backup { file, force } => back_up_to(config, &file, force).await,
            StoreCommand::Restore { file, with_sessions } => {
                let what = match with_sessions {
                    true => Restoring::All,
                    false => Restoring::WithoutSessions { since: SystemTime::now() },
                };
                restore(&file, &config.store, what).await?;
                if !with_sessions {
                    note("Everybody has to sign in again. Personal access tokens that were revoked after the backup are good");
                    note("again: `foregate token list NAME` shows those of an account.");
                }
                Ok(())
            }
            StoreCommand::Copy { to } => copy(config, &to).await,
        }
    })
}

async fn back_up_to(config: &Config, file: &Path, force: bool) -> Result<(), CliError> {
    if !force && file.exists() {
        return Err(CliError::Failed(anyhow!(
            "{} is there already; choose another name, or replace it with --force",
            file.display()
        )));
    }
    let written = write_whole(config, file).await?;
    note(format_args!("The backup is in {}: {written} rows.", file.display()));
    note("It holds password hashes and private keys: keep it where nobody else can read it.");
    Ok(())
}

/// Under another name until all of it is on disk, so that a backup with its name is a whole one.
async fn write_whole(config: &Config, file: &Path) -> Result<u64, CliError> {
    let partial = with_ending(file, "partial");
    let told = |what: &str| format!("can't {what} {}", partial.display());
    let removed = fs::remove_file(&partial);
    if let Err(error) = removed
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(anyhow!(error).context(told("replace")).into());
    }
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial);
    let opened = opened.with_context(|| told("make"))?;
    let synced = opened.try_clone().with_context(|| told("make"))?;
    let written = back_up(config, BufWriter::new(opened)).await;
    let written = written.and_then(|rows| {
        synced.sync_all().with_context(|| told("write"))?;
        fs::rename(&partial, file).with_context(|| format!("can't give {} its name", file.display()))?;
        Ok(rows)
    });
    if written.is_err() {
        drop(fs::remove_file(&partial));
    }
    written
}

/// Writes all rows as they are at one moment; says how many lines that took.
async fn back_up(config: &Config, out: impl Write) -> Result<u64, CliError> {
    let administration = Administration::open(config).await?;
    let written = read_all(&administration, out).await;
    administration.close(config).await;
    written
}

async fn read_all(from: &Administration, out: impl Write) -> Result<u64, CliError> {
    let Reply::BackupBegun { id } = from.perform(Command::StoreBackup).await? else {
        return Err(Administration::unexpected());
    };
    let mut writer = BackupWriter::begin(out, SystemTime::now()).context("can't write the backup")?;
    let mut after = Vec::new();
    loop {
        let (rows, _) = slice(from.perform(Command::StoreRows { after: after.clone() }).await?)?;
        let Some(last) = rows.last() else { break };
        after.clone_from(&last.key);
        put(&mut writer, &rows)?;
    }
    // Few are left for the last look, during which the server writes nothing.
    for last in [false, true] {
        loop {
            let (rows, all) = slice(from.perform(Command::StoreChanges { id, last }).await?)?;
            put(&mut writer, &rows)?;
            if all {
                break;
            }
        }
    }
    let (_, rows) = writer.finish().context("can't write the backup")?;
    Ok(rows)
}

fn slice(reply: Reply) -> Result<(Vec<BackupRow>, bool), CliError> {
    match reply {
        Reply::BackupRows { all, rows } => Ok((rows, all)),
        _ => Err(Administration::unexpected()),
    }
}

fn put(writer: &mut BackupWriter<impl Write>, rows: &[BackupRow]) -> Result<(), CliError> {
    for row in rows {
        writer.row(row).context("can't write the backup")?;
    }
    Ok(())
}

/// Makes a store in a place where there is none, under another name until it is whole.
async fn restore(file: &Path, directory: &Path, what: Restoring) -> Result<(), CliError> {
    let is_free = match fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => {
            return Err(anyhow!(error).context(format!("can't read {}", directory.display())).into());
        }
    };
    if !is_free {
        return Err(CliError::Failed(anyhow!(
            "there is a store in {} already; stop the server and move it away first: mv {} {}",
            directory.display(),
            directory.display(),
            with_ending(directory, "old").display()
        )));
    }
    // All of it is looked at before anything is written.
    let rows = read(file, drop)?;
    let making = with_ending(directory, "restoring");
    if making.exists() {
        fs::remove_dir_all(&making).with_context(|| format!("can't remove {}", making.display()))?;
    }
    let restored = fill(&making, file, what).await;
    let accounts = match restored {
        Ok(accounts) => accounts,
        Err(error) => {
            drop(fs::remove_dir_all(&making));
            return Err(error);
        }
    };
    let moved = fs::remove_dir(directory).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    });
    moved.and_then(|()| fs::rename(&making, directory)).with_context(|| {
        format!("the store is whole in {}, and can't be moved to {}", making.display(), directory.display())
    })?;
    note(format_args!(
        "The store in {} is made: {accounts} accounts, from a backup of {rows} rows.",
        directory.display()
    ));
    if rustix::process::geteuid().is_root() {
        note(format_args!(
            "It belongs to root: chown -R USER: {} if the server runs as another user.",
            directory.display()
        ));
    }
    Ok(())
}

async fn fill(directory: &Path, file: &Path, what: Restoring) -> Result<u64, CliError> {
    let store = Store::open(StoreSettings::at(directory))?;
    let (give, mut units) = mpsc::channel(UNITS_AHEAD);
    let file = file.to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        let mut unit = Vec::with_capacity(ROWS_PER_UNIT);
        read(&file, |row| {
            unit.push(row);
            if unit.len() == ROWS_PER_UNIT {
                // Where writing has failed nobody takes it, and that failure is told.
                let _ = give.blocking_send(std::mem::take(&mut unit));
            }
        })?;
        let _ = give.blocking_send(unit);
        Ok::<_, anyhow::Error>(())
    });
    let mut written = Ok(());
    while let Some(unit) = units.recv().await {
        written = store.restore_rows(unit, what).await;
        if written.is_err() {
            break;
        }
    }
    drop(units);
    let read = reading.await?;
    let verified = match written {
        Ok(()) => store.verify().await,
        Err(error) => Err(error),
    };
    store.close().await;
    let verified = verified?;
    read?;
    if verified.faults > 0 {
        return Err(CliError::Failed(anyhow!(
            "{} rows of the backup do not fit together, such as: {}",
            verified.faults,
            verified.first_faults.join(", ")
        )));
    }
    Ok(verified.accounts)
}

/// Reads a backup to its end; says how many rows it has.
fn read(file: &Path, mut take: impl FnMut(BackupRow)) -> anyhow::Result<u64> {
    let opened = File::open(file).with_context(|| format!("can't read {}", file.display()))?;
    let rows = read_backup(BufReader::new(opened), |row| {
        take(row);
        Ok(())
    });
    rows.with_context(|| format!("nothing was restored from {}", file.display()))
}

async fn copy(config: &Config, to: &Path) -> Result<(), CliError> {
    let file = with_ending(to, "copying");
    write_whole(config, &file).await?;
    let copied = restore(&file, to, Restoring::All).await;
    drop(fs::remove_file(&file));
    copied
}

/// `sled:DIRECTORY`, below the folder that the command is run in.
fn target(raw: &str) -> Result<PathBuf, String> {
    match raw.split_once(':') {
        Some(("sled", directory)) if !directory.is_empty() => Ok(directory.into()),
        Some(("mysql" | "mariadb" | "postgres" | "postgresql", _)) => {
            Err("databases are not supported yet: expected `sled:DIRECTORY`".to_owned())
        }
        Some(_) | None => Err("expected `sled:DIRECTORY`".to_owned()),
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}
