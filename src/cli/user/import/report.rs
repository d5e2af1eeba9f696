//! What an import tells: the rejected lines while it goes on, how far it is, and what came of it.
//!
//! Callers: `cli::user::import`.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::{CliError, Tally, note, print};

/// Told as it happens, so that it takes no memory.
pub(super) struct Report {
    bar: ProgressBar,
    /// What is counted was not imported.
    checking: bool,
    dry_run: bool,
    json: bool,
    /// Nothing of the JSON object was printed so far.
    blank: bool,
    tally: Tally,
}

#[derive(Serialize)]
struct Rejected<'a> {
    line: u64,
    reason: &'a str,
}

impl Report {
    pub(super) fn new(json: bool, dry_run: bool) -> Self {
        Self {
            bar: ProgressBar::hidden(),
            checking: true,
            dry_run,
            json,
            blank: true,
            tally: Tally::default(),
        }
    }

    /// Shows how far a pass over this many bytes is, on a terminal. What was counted before are the same lines.
    pub(super) fn begin(&mut self, checking: bool, bytes: u64) {
        self.bar.finish_and_clear();
        self.checking = checking;
        self.tally = Tally::default();
        if !io::stderr().is_terminal() {
            return;
        }
        self.bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{msg} [{bar:40}] {percent}%, {eta} to go");
        self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        self.bar.set_message(if checking { "Checking" } else { "Importing" });
    }

    pub(super) fn progress(&self, position: u64) {
        self.bar.set_position(position);
    }

    pub(super) fn add(&mut self, more: Tally) {
        self.tally.lines += more.lines;
        self.tally.made += more.made;
        self.tally.rejected += more.rejected;
        self.tally.skipped += more.skipped;
        self.tally.taken += more.taken;
        self.tally.without_password += more.without_password;
    }

    /// Whether what was counted was only looked at.
    pub(super) fn is_checking(&self) -> bool {
        self.checking
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    pub(super) fn rejected(&mut self, line: u64, reason: &str) -> Result<(), CliError> {
        if !self.json {
            self.bar.suspend(|| note(format_args!("line {line}: {reason}")));
            return Ok(());
        }
        let head = if self.blank { "{\"rejected\":[\n  " } else { ",\n  " };
        self.blank = false;
        print(&format!("{head}{}", serde_json::to_string(&Rejected { line, reason })?))
    }

    /// Ends what is drawn, and the JSON object.
    pub(super) fn finish(&mut self) -> Result<(), CliError> {
        self.bar.finish_and_clear();
        if !self.json {
            return Ok(());
        }
        let head = if self.blank { "{\"rejected\":[" } else { "\n" };
        let Tally { lines, made, skipped, .. } = self.tally;
        let imported = if self.checking { 0 } else { made };
        let dry_run = self.dry_run;
        print(&format!(
            "{head}],\"lines\":{lines},\"imported\":{imported},\"skipped\":{skipped},\"dry_run\":{dry_run}}}\n"
        ))
    }

    /// The sentences at a good end.
    pub(super) fn sum_up(&self) {
        let Tally { made, rejected, skipped, without_password, .. } = self.tally;
        let done = if self.dry_run { "can be imported" } else { "imported" };
        let skipped = if skipped == 0 { String::new() } else { format!("; {skipped} were there already") };
        let rejected = match rejected {
            0 => String::new(),
            1 => "; 1 line was rejected".to_owned(),
            rejected => format!("; {rejected} lines were rejected"),
        };
        note(format_args!("{} {done}{skipped}{rejected}.", accounts(made)));
        if without_password > 0 {
            note(format_args!(
                "{} without a password: nobody can sign in there until one is set.",
                accounts(without_password)
            ));
        }
    }
}

fn accounts(count: u64) -> String {
    if count == 1 { "1 account".to_owned() } else { format!("{count} accounts") }
}
