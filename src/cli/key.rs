//! `foregate key`: the keys that sign our tokens.
//!
//! Callers: `cli`. Where a command is carried out is `administration`'s; what it does, `admin`'s.

use clap::Subcommand;

use super::administration::Administration;
use super::table::lined_up;
use super::{CliError, note, print};
use crate::admin::{Command, KeyView, Reply};
use crate::config::Config;

#[derive(Subcommand)]
pub(super) enum KeyCommand {
    /// List the keys, newest first: which one signs, and which only verify
    List {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Sign with a new key from the next token on; what the old one has signed stays good until it expires
    Rotate {
        /// Print the new key as a JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Runs one command on keys.
pub(super) fn run(config: &Config, command: KeyCommand) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let administration = Administration::open(config).await?;
        let done = match command {
            KeyCommand::List { json } => list(&administration, json).await,
            KeyCommand::Rotate { json } => rotate(&administration, json).await,
        };
        administration.close(config).await;
        done
    })
}

async fn list(administration: &Administration, json: bool) -> Result<(), CliError> {
    let reply = administration.perform(Command::KeyList).await?;
    let Reply::Keys { keys } = reply else { return Err(Administration::unexpected()) };
    match json {
        true => print(&format!("{}\n", serde_json::to_string_pretty(&keys)?)),
        false => print(&table(&keys)),
    }
}

async fn rotate(administration: &Administration, json: bool) -> Result<(), CliError> {
    let reply = administration.perform(Command::KeyRotate).await?;
    let Reply::Key { key } = reply else { return Err(Administration::unexpected()) };
    if json {
        return print(&format!("{}\n", serde_json::to_string_pretty(&key)?));
    }
    print(&format!("{}\n", key.kid))?;
    note("It signs from the next token on. Whoever keeps the key set sees it within 5 minutes.");
    Ok(())
}

fn table(keys: &[KeyView]) -> String {
    let rows = keys
        .iter()
        .map(|key| [key.kid.clone(), key.algorithm.clone(), key.state.clone(), key.signs_from.to_string()]);
    lined_up(["KID", "ALGORITHM", "STATE", "SIGNS FROM"], true, rows)
}
