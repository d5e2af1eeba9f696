//! `foregate user export`: all accounts with their hashes, as `user import` takes them back.
//!
//! Callers: `cli::user`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use secrecy::ExposeSecret;

use super::super::administration::Administration;
use super::super::unreadable::Unreadable;
use super::super::{CliError, note};
use crate::admin::{AccountRecord, Command, DamagedView, Reply};

/// Columns that are always there.
const USUAL: usize = 6;

#[derive(Args)]
pub(in crate::cli) struct ExportArguments {
    /// How they are written
    #[arg(long, value_name = "FORMAT", default_value = "jsonl")]
    format: Format,
    /// Write them into this file, which nobody else may read, in place of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// A JSON object on each line.
    Jsonl,
    /// Columns, named in the first line.
    Csv,
}

/// Writes all accounts, a slice at a time.
pub(super) async fn run(administration: &Administration, arguments: ExportArguments) -> Result<(), CliError> {
    let Some(path) = arguments.output else {
        let (_, unreadable) = write(administration, arguments.format, io::stdout().lock()).await?;
        return unreadable.end();
    };
    let file = NewFile::beside(&path)?;
    let (written, unreadable) = write(administration, arguments.format, &file.file).await?;
    file.finish(&path)?;
    let accounts = if written == 1 { "1 account is".to_owned() } else { format!("{written} accounts are") };
    note(format_args!(
        "{accounts} in {}, with the password hashes: keep it as you keep the store.",
        path.display()
    ));
    unreadable.end()
}

async fn write(
    administration: &Administration,
    format: Format,
    to: impl Write,
) -> Result<(u64, Unreadable), CliError> {
    let mut writer = match format {
        Format::Jsonl => Writer::Jsonl(BufWriter::new(to)),
        Format::Csv => {
            // Columns that are empty for everybody would only puzzle those who have none of it.
            let mut more = false;
            let look = |account: &AccountRecord| {
                more |= !account.awaits.is_empty() || account.language.is_some();
                Ok(())
            };
            each(administration, look, |_| {}).await?;
            let mut table = ::csv::WriterBuilder::new().flexible(true).from_writer(to);
            let heads =
                ["username", "email", "name", "roles", "password_hash", "disabled", "awaits", "language"];
            table.write_record(if more { &heads[..] } else { &heads[..USUAL] }).map_err(broken)?;
            Writer::Csv { more, table: Box::new(table) }
        }
    };
    let (mut written, mut unreadable) = (0, Unreadable::default());
    let visit = |account: &AccountRecord| {
        written += 1;
        writer.write(account)
    };
    each(administration, visit, |damaged| unreadable.tell(damaged)).await?;
    writer.flush()?;
    Ok((written, unreadable))
}

/// Passes over all accounts, a slice at a time, and over those that can't be read.
async fn each(
    administration: &Administration,
    mut visit: impl FnMut(&AccountRecord) -> Result<(), CliError>,
    mut miss: impl FnMut(&[DamagedView]),
) -> Result<(), CliError> {
    let mut after = None;
    loop {
        let reply = administration.perform(Command::UserExport { after: after.clone() }).await?;
        let Reply::Exported { accounts, damaged, next } = reply else {
            return Err(Administration::unexpected());
        };
        miss(&damaged);
        accounts.iter().try_for_each(&mut visit)?;
        // A slice that doesn't move on would be asked for again and again.
        after = next.filter(|next| after.as_ref() != Some(next));
        if after.is_none() {
            return Ok(());
        }
    }
}

enum Writer<W: Write> {
    Csv { more: bool, table: Box<::csv::Writer<W>> },
    Jsonl(BufWriter<W>),
}

impl<W: Write> Writer<W> {
    fn write(&mut self, account: &AccountRecord) -> Result<(), CliError> {
        match self {
            Self::Jsonl(to) => {
                serde_json::to_writer(&mut *to, account).map_err(io::Error::from)?;
                to.write_all(b"\n")?;
            }
            Self::Csv { more, table } => {
                let roles: Vec<_> = account.roles.iter().map(|role| role.as_str()).collect();
                let awaits: Vec<_> = account.awaits.iter().map(|awaited| awaited.as_str()).collect();
                let cells = [
                    account.username.as_str(),
                    account.email.as_ref().map_or("", |email| email.as_str()),
                    account.name.as_str(),
                    &roles.join(";"),
                    account.password_hash.as_ref().map_or("", |hash| hash.0.expose_secret()),
                    if account.disabled { "true" } else { "false" },
                    &awaits.join(";"),
                    account.language.as_deref().unwrap_or_default(),
                ];
                table.write_record(if *more { &cells[..] } else { &cells[..USUAL] }).map_err(broken)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Jsonl(to) => to.flush(),
            Self::Csv { table, .. } => table.flush(),
        }
    }
}

/// Whoever reads our output may have seen enough: that has to be told from a failure.
fn broken(error: ::csv::Error) -> CliError {
    match error.into_kind() {
        ::csv::ErrorKind::Io(error) => error.into(),
        other => CliError::Failed(anyhow::anyhow!("an account can't be written as CSV: {other:?}")),
    }
}

/// A file that takes its name when it is whole, and goes when it never is.
struct NewFile {
    file: File,
    path: PathBuf,
    whole: bool,
}

impl NewFile {
    fn beside(path: &Path) -> Result<Self, CliError> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary);
        let file = file.with_context(|| format!("{} can't be written", path.display()))?;
        Ok(Self { file, path: temporary, whole: false })
    }

    fn finish(mut self, path: &Path) -> Result<(), CliError> {
        let done = self.file.sync_all().and_then(|()| fs::rename(&self.path, path));
        self.whole = done.is_ok();
        Ok(done.with_context(|| format!("{} can't be written", path.display()))?)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.whole {
            // There is nothing to be done where even this fails.
            let _ = fs::remove_file(&self.path);
        }
    }
}
