//! Places of the commands that run the gateway or ask its rules: their modules come with the gateway.
//!
//! Callers: `cli` and `cli::demo`.

use super::CliError;

fn not_wired() -> Result<(), CliError> {
    Err(CliError::Failed(anyhow::anyhow!("not wired yet")))
}

pub(super) mod serve {
    use std::path::Path;

    use super::{CliError, not_wired};
    use crate::config::Config;

    /// `foregate serve`.
    pub(in crate::cli) fn run(_config: &Path) -> Result<(), CliError> {
        not_wired()
    }

    /// Serves this configuration until `stop`; `ready` is called once its listeners are bound.
    pub(in crate::cli) async fn until(
        _config: Config,
        _ready: impl FnOnce() -> Result<(), CliError>,
        _stop: impl Future<Output = ()>,
    ) -> Result<(), CliError> {
        not_wired()
    }
}

pub(super) mod check {
    use std::path::Path;

    use super::{CliError, not_wired};

    /// `foregate check`.
    pub(in crate::cli) fn run(_config: &Path) -> Result<(), CliError> {
        not_wired()
    }
}

pub(super) mod explain {
    use std::path::Path;

    use super::{CliError, not_wired};
    use crate::cli::ExplainArguments;

    /// `foregate explain`.
    pub(in crate::cli) fn run(_config: &Path, _arguments: &ExplainArguments) -> Result<(), CliError> {
        not_wired()
    }
}
