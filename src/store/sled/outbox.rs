//! The outbox in the tree. How a mail changes places is in `rules/outbox.rs`.
//!
//! Callers: `store::outbox`.

use std::time::SystemTime;

use super::command::Command;
use super::unit::{Rows as _, read_error};
use super::{Sled, keys};
use crate::store::record::{self, time};
use crate::store::{MailId, QueuedMail, StoreError};

impl Sled {
    pub(in crate::store) async fn first_mail(&self) -> Result<Option<QueuedMail>, StoreError> {
        self.scan(|db| {
            for row in db.scan_prefix(b"Q") {
                let (key, row) = row.map_err(read_error)?;
                // One that can't be read holds up nobody; `verify` tells of it.
                let (Some((due, id)), Ok(content)) = (keys::parse_mail(&key), record::decode_mail(&row))
                else {
                    continue;
                };
                return Ok(Some(QueuedMail { due: time(due), id, content }));
            }
            Ok(None)
        })
        .await
    }

    pub(in crate::store) async fn count_mails(&self) -> Result<usize, StoreError> {
        self.scan(|db| db.keys_under(b"Q").map(|keys| keys.len())).await
    }

    pub(in crate::store) async fn put_mail(&self, mail: QueuedMail) -> Result<(), StoreError> {
        self.submit(|reply| Command::PutMail(mail, reply)).await
    }

    pub(in crate::store) async fn pretend_mail(&self, mail: QueuedMail) -> Result<(), StoreError> {
        self.submit(|reply| Command::PretendMail(mail, reply)).await
    }

    pub(in crate::store) async fn postpone_mail(
        &self,
        mail: QueuedMail,
        was_due: SystemTime,
    ) -> Result<(), StoreError> {
        self.submit(|reply| Command::PostponeMail(mail, was_due, reply)).await
    }

    pub(in crate::store) async fn delete_mail(&self, id: MailId, due: SystemTime) -> Result<(), StoreError> {
        self.submit(|reply| Command::DeleteMail(id, due, reply)).await
    }
}
