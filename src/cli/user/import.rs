//! `foregate user import`: a file of accounts, checked as a whole and then made a slice at a time.
//!
//! The file is read twice, so that its length is of no account: once to check every line, here and against the
//! store, and, where all of them are good, once more to make the accounts. With `--partial` once is enough. What
//! other people do to the accounts in between is told line by line, as any other refusal.
//!
//! Callers: `cli::user`.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::{Args, ValueEnum};

use super::super::administration::Administration;
use super::super::{CliError, note, print};

use crate::admin::{AccountRecord, Command, ImportUsers, Imported, Refusal, Reply};

mod authelia;
mod duplicates;
mod htpasswd;
mod jsonl;
mod lines;
mod report;
mod row;
mod table;

use self::duplicates::Duplicates;
use self::lines::Lines;
use self::report::Report;

/// Lines of one slice at most, and bytes of one: well below what a line of the admin socket holds, for the last
/// account may bring it over.
const SLICE: usize = 500;
const SLICE_BYTES: usize = 256 * 1024;

#[derive(Args)]
pub(in crate::cli) struct ImportArguments {
    /// The file: .csv or .jsonl with username, email, name, roles, password_hash, disabled; an Authelia users file
    /// (.yml); or an .htpasswd
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Import the good lines although others are rejected
    #[arg(long)]
    partial: bool,
    /// Pass over accounts whose username is there already, and leave them as they are
    #[arg(long)]
    skip_existing: bool,
    /// Check every line, and import nothing
    #[arg(long)]
    dry_run: bool,
    /// What the file is, where its name doesn't say it
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Print one JSON object: the rejected lines, and how many accounts were imported
    #[arg(long)]
    json: bool,
}

/// What a file of accounts can be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Format {
    /// Columns, named in the first line.
    Csv,
    /// A JSON object on each line.
    Jsonl,
    /// The users file of Authelia.
    Authelia,
    /// Names and hashes, as Apache and nginx read them.
    Htpasswd,
}

/// An import of a file that is there, in a format that is known.
pub(super) struct Import {
    dry_run: bool,
    file: PathBuf,
    format: Format,
    json: bool,
    partial: bool,
    skip_existing: bool,
}

impl ImportArguments {
    /// Looks at the file's name, before anything is opened.
    pub(super) fn read(self) -> Result<Import, CliError> {
        let format = self.format.or_else(|| Format::of(&self.file)).ok_or_else(|| {
            CliError::Usage(format!(
                "what {} is can't be told by its name (.csv, .jsonl, .yml or .htpasswd); say it with --format",
                self.file.display()
            ))
        })?;
        let found = std::fs::metadata(&self.file).map_err(|error| unreadable(&self.file, &error))?;
        if !found.is_file() {
            let file = self.file.display();
            return Err(CliError::Failed(anyhow!("{file} is no regular file, and it is read twice")));
        }
        Ok(Import {
            dry_run: self.dry_run,
            file: self.file,
            format,
            json: self.json,
            partial: self.partial,
            skip_existing: self.skip_existing,
        })
    }
}

impl Format {
    fn of(file: &Path) -> Option<Self> {
        let name = file.file_name()?.to_str()?.to_lowercase();
        let suffix = name.rsplit('.').next()?;
        match suffix {
            "csv" => Some(Self::Csv),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "yml" | "yaml" => Some(Self::Authelia),
            "htpasswd" => Some(Self::Htpasswd),
            _ => None,
        }
    }
}

impl Import {
    pub(super) async fn run(self, administration: &Administration) -> Result<(), CliError> {
        let mut report = Report::new(self.json, self.dry_run);
        let done = self.passes(administration, &mut report).await;
        report.finish()?;
        done?;
        let Tally { lines, made, rejected, skipped, taken, .. } = report.tally();
        if rejected == 0 || (self.partial && made + skipped > 0) {
            report.sum_up();
            return Ok(());
        }
        Err(CliError::Failed(if report.is_checking() || made == 0 {
            let mend = if self.partial { "" } else { "; mend them, or import the rest with --partial" };
            let skip =
                if taken > 0 { "; --skip-existing passes over accounts that are there already" } else { "" };
            anyhow!("nothing was imported, for {rejected} of {lines} lines can't be{mend}{skip}")
        } else {
            // Somebody took a name between the two looks at it.
            anyhow!("{made} accounts were imported, and {rejected} that were good a moment ago were rejected")
        }))
    }

    async fn passes(&self, administration: &Administration, report: &mut Report) -> Result<(), CliError> {
        if self.dry_run || !self.partial {
            self.pass(administration, report, true).await?;
            if self.dry_run || report.tally().rejected > 0 {
                return Ok(());
            }
        }
        let done = self.pass(administration, report, false).await;
        done.map_err(|error| match error {
            CliError::Failed(error) if report.tally().made > 0 => {
                let made = report.tally().made;
                CliError::Failed(error.context(format!(
                    "{made} accounts were imported before this happened; import again with --skip-existing to go on"
                )))
            }
            error => error,
        })
    }

    /// Reads the file from its beginning to its end, and has each line checked or imported.
    async fn pass(
        &self,
        administration: &Administration,
        report: &mut Report,
        check: bool,
    ) -> Result<(), CliError> {
        let mut lines = Lines::open(&self.file, self.format)?;
        report.begin(check, lines.bytes());
        // What was checked as a whole needs no second look at what stands in it twice.
        let mut duplicates = (check || self.partial).then(Duplicates::default);
        let mut slice = Slice { check, ..Slice::default() };
        while let Some(line) = lines.next() {
            let line = line?;
            let sound = line.account.and_then(|account| match &mut duplicates {
                Some(duplicates) => duplicates.claim(account, line.number),
                None => Ok(account),
            });
            match sound {
                Ok(account) => slice.push(line.number, account),
                Err(why) => slice.rejected.push((line.number, why)),
            }
            if slice.is_full() {
                let full = std::mem::replace(&mut slice, Slice { check, ..Slice::default() });
                self.settle(full, administration, report).await?;
                report.progress(lines.position());
            }
        }
        self.settle(slice, administration, report).await
    }

    /// Has a slice checked or imported, and tells what became of its lines, in their order.
    async fn settle(
        &self,
        slice: Slice,
        administration: &Administration,
        report: &mut Report,
    ) -> Result<(), CliError> {
        let Slice { accounts, check, numbers, mut rejected, without_password, .. } = slice;
        let mut tally = Tally { lines: (numbers.len() + rejected.len()) as u64, ..Tally::default() };
        let mut failure = None;
        if !accounts.is_empty() {
            let import = Command::UserImport(ImportUsers { accounts, check });
            let reply = administration.perform(import).await?;
            let Reply::Imported(Imported { made, refused, failure: stopped }) = reply else {
                return Err(Administration::unexpected());
            };
            tally.made = made as u64;
            let not_made = |place| refused.iter().any(|(refused, _)| *refused == place);
            tally.without_password =
                without_password.into_iter().filter(|place| !not_made(*place)).count() as u64;
            failure = stopped;
            for (place, why) in &refused {
                let number = numbers.get(*place).copied().unwrap_or_default();
                match why {
                    Refusal::UsernameTaken if self.skip_existing => tally.skipped += 1,
                    why => {
                        tally.taken += u64::from(*why == Refusal::UsernameTaken);
                        rejected.push((number, why.to_string()));
                    }
                }
            }
        }
        rejected.sort_by_key(|(number, _)| *number);
        tally.rejected = rejected.len() as u64;
        report.add(tally);
        for (number, why) in rejected {
            report.rejected(number, &why)?;
        }
        match failure {
            Some(reason) => Err(CliError::Failed(anyhow!("the store failed: {reason}"))),
            None => Ok(()),
        }
    }
}

/// What became of the lines so far.
#[derive(Clone, Copy, Default)]
struct Tally {
    lines: u64,
    /// Imported; while checking: good.
    made: u64,
    rejected: u64,
    skipped: u64,
    /// Of the rejected ones: those whose username is there already.
    taken: u64,
    /// Of those that were made.
    without_password: u64,
}

/// Lines that are settled together.
#[derive(Default)]
struct Slice {
    accounts: Vec<AccountRecord>,
    bytes: usize,
    check: bool,
    /// Of the accounts, place by place.
    numbers: Vec<u64>,
    rejected: Vec<(u64, String)>,
    /// Places of the accounts that bring no hash along.
    without_password: Vec<usize>,
}

impl Slice {
    fn push(&mut self, number: u64, account: AccountRecord) {
        use secrecy::ExposeSecret as _;
        match &account.password_hash {
            Some(hash) => self.bytes += hash.0.expose_secret().len(),
            None => self.without_password.push(self.accounts.len()),
        }
        self.bytes += account.username.as_str().len() + account.name.as_str().len();
        self.bytes += account.email.as_ref().map_or(0, |email| email.as_str().len());
        self.bytes += account.roles.iter().map(|role| role.as_str().len() + 3).sum::<usize>();
        self.accounts.push(account);
        self.numbers.push(number);
    }

    fn is_full(&self) -> bool {
        self.accounts.len() + self.rejected.len() >= SLICE || self.bytes >= SLICE_BYTES
    }
}

fn unreadable(file: &Path, error: &io::Error) -> CliError {
    CliError::Failed(anyhow!("{} can't be read: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_says_what_it_is() {
        for (name, format) in [
            ("users.csv", Some(Format::Csv)),
            ("a/USERS.CSV", Some(Format::Csv)),
            ("users.jsonl", Some(Format::Jsonl)),
            ("users_database.yml", Some(Format::Authelia)),
            ("/etc/nginx/.htpasswd", Some(Format::Htpasswd)),
            ("htpasswd", Some(Format::Htpasswd)),
            ("users.json", None),
            ("users", None),
        ] {
            assert_eq!(Format::of(Path::new(name)), format, "{name}");
        }
    }
}
