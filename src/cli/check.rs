//! `foregate check`: the whole configuration, without starting anything.
//!
//! Callers: `cli`.

use std::path::Path;

use super::{CliError, note, print};
use crate::config::Config;

/// Prints every fault, or what a sound configuration holds.
pub(super) fn run(path: &Path) -> Result<(), CliError> {
    let config = Config::load(path).map_err(|faults| CliError::Configuration(faults.to_string()))?;
    for warning in &config.warnings {
        note(format_args!("warning: {warning}"));
    }
    print(&format!(
        "{}: sound: {} and {}\n",
        path.display(),
        count(config.routes.len(), "route"),
        count(config.upstreams.len(), "upstream")
    ))
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
