//! What is generated from the command line itself: completions for shells, manual pages.
//!
//! Callers: `cli`.

use std::path::Path;

use anyhow::{Context, anyhow};
use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

use super::{CliError, note, print};

/// Prints what a shell reads to complete our commands.
pub(super) fn completions(shell: Shell, mut command: Command) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "foregate", &mut script);
    print(&String::from_utf8(script)?)
}

/// Prints the manual page of one command, named by its words, or of the program.
pub(super) fn manual(words: &[String], command: Command) -> Result<(), CliError> {
    let mut page = built(command);
    for word in words {
        let found = page.find_subcommand(word).cloned();
        page = found.ok_or_else(|| {
            CliError::Usage(format!(
                "there is no command `{}`: `foregate --help` lists them",
                words.join(" ")
            ))
        })?;
    }
    print(&rendered(page)?)
}

/// Writes all manual pages into a folder: `foregate.1`, `foregate-user-add.1`, ...
pub(super) fn all_manuals(folder: &Path, command: Command) -> Result<(), CliError> {
    let mut waiting = vec![built(command)];
    let mut written = 0;
    std::fs::create_dir_all(folder).with_context(|| format!("can't make the folder {}", folder.display()))?;
    while let Some(page) = waiting.pop() {
        waiting.extend(
            page.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help").cloned(),
        );
        let name = page.get_display_name().unwrap_or(page.get_name()).to_owned();
        let file = folder.join(format!("{name}.1"));
        std::fs::write(&file, rendered(page)?)
            .map_err(|error| anyhow!("can't write {}: {error}", file.display()))?;
        written += 1;
    }
    note(format_args!("{written} pages are in {}", folder.display()));
    Ok(())
}

/// With the full name of every command in its page.
fn built(mut command: Command) -> Command {
    command.build();
    command
}

fn rendered(command: Command) -> Result<String, CliError> {
    let mut page = Vec::new();
    let source = concat!("foregate ", env!("CARGO_PKG_VERSION"));
    Man::new(command).source(source).manual("Foregate").render(&mut page)?;
    Ok(String::from_utf8(page)?)
}
