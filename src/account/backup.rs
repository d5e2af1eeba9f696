//! The rows of a backup, for who administers the accounts.
//!
//! Callers: `admin`, through `Accounts`. What a backup is, is `store`'s.

use super::{Accounts, StoreError};
use crate::store::BackupRow;
use crate::telemetry::audit::{self, About, Event};

impl Accounts {
    /// Begins a backup; gives its number. One that is under way already ends.
    pub fn begin_backup(&self) -> u64 {
        audit::record(Event::StoreBackup, About::Server);
        self.store.begin_backup()
    }

    /// Up to `limit` rows behind this key; none at the end.
    pub async fn backup_rows(&self, after: Vec<u8>, limit: usize) -> Result<Vec<BackupRow>, StoreError> {
        self.store.backup_rows(after, limit).await
    }

    /// Up to `limit` rows that changed since; see `Store::backup_changes`.
    pub async fn backup_changes(
        &self,
        id: u64,
        limit: usize,
        last: bool,
    ) -> Result<(Vec<BackupRow>, bool), StoreError> {
        self.store.backup_changes(id, limit, last).await
    }
}
