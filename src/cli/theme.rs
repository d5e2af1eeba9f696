//! `foregate theme export`: our templates, style and texts as files, to begin a theme with.
//!
//! Callers: `cli`. What a theme is, `response::theme` says.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;

use super::{CliError, note, print};
use crate::response::theme::Theme;

#[derive(Subcommand)]
pub(super) enum ThemeCommand {
    /// Write our templates, style and texts into a folder. Keep the files that you change and delete the others:
    /// what is not there is ours, and stays as good as the program
    Export {
        /// Is made where it isn't there; no file in it is overwritten
        folder: PathBuf,
    },
}

/// Runs one command.
pub(super) fn run(command: &ThemeCommand) -> Result<(), CliError> {
    match command {
        ThemeCommand::Export { folder } => export(folder),
    }
}

fn export(folder: &Path) -> Result<(), CliError> {
    let files = Theme::built_in();
    let there = files.iter().map(|(name, _)| folder.join(name)).find(|path| path.exists());
    if let Some(path) = there {
        let message = format!("{} is there already: name a folder without it", path.display());
        return Err(anyhow::anyhow!(message).into());
    }
    for (name, content) in files {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("{} can't be made", parent.display()))?;
        }
        let written = fs::File::create_new(&path).and_then(|mut file| file.write_all(content.as_bytes()));
        written.with_context(|| format!("{} can't be written", path.display()))?;
        print(&format!("{}\n", path.display()))?;
    }
    note("Keep the files that you change, delete the others, and name the folder as `portal.theme`.");
    Ok(())
}
