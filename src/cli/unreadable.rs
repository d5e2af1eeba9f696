//! Accounts that can't be read: told beside what is said of the others, and a failure at the end.
//!
//! Callers: `cli`'s lists.

use anyhow::anyhow;

use super::{CliError, note};
use crate::admin::DamagedView;
use crate::identity::UserId;

/// How many were told.
#[derive(Default)]
pub(super) struct Unreadable(usize);

impl Unreadable {
    /// Tells them.
    pub(super) fn tell(&mut self, damaged: &[DamagedView]) {
        self.0 += damaged.len();
        for DamagedView { id, name, reason } in damaged {
            note(format_args!("error: account `{name}` (key {id}) can't be read: {reason}"));
        }
    }

    /// Tells those of which nothing but the key is known.
    pub(super) fn tell_keys(&mut self, damaged: &[UserId]) {
        self.0 += damaged.len();
        for id in damaged {
            note(format_args!("error: the account with the key {id} can't be read"));
        }
    }

    /// A failure, if there were any.
    pub(super) fn end(self) -> Result<(), CliError> {
        let which = match self.0 {
            0 => return Ok(()),
            1 => "1 account was left out".to_owned(),
            count => format!("{count} accounts were left out"),
        };
        Err(CliError::Failed(anyhow!(
            "{which}: the store is damaged, or was written by a newer version; a backup brings them back"
        )))
    }
}
