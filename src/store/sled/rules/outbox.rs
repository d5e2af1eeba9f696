//! The outbox: mails that wait, in the order in which they are due.
//!
//! Callers: `writer`, by way of the commands. What a mail says, and when it is tried again, is the `mail` room's.

use std::time::SystemTime;

use super::super::keys;
use super::super::unit::Unit;
use crate::store::record::{self, millis};
use crate::store::{MailId, QueuedMail, StoreError};

pub(in crate::store::sled) fn put_mail(unit: &mut Unit<'_, '_>, mail: &QueuedMail) -> Result<(), StoreError> {
    unit.put(keys::mail(millis(mail.due), mail.id), record::encode_mail(mail)?.as_slice());
    Ok(())
}

/// Writes as much as the mail would have taken, and to the same disk, where nobody will look for it.
pub(in crate::store::sled) fn pretend_mail(
    unit: &mut Unit<'_, '_>,
    mail: &QueuedMail,
) -> Result<(), StoreError> {
    let length = record::encode_mail(mail)?.len();
    unit.put(keys::PRETENDED.to_vec(), vec![0; length]);
    Ok(())
}

/// Puts the mail at its new place; `was_due` names the one that it had.
pub(in crate::store::sled) fn postpone_mail(
    unit: &mut Unit<'_, '_>,
    mail: &QueuedMail,
    was_due: SystemTime,
) -> Result<(), StoreError> {
    unit.delete(keys::mail(millis(was_due), mail.id));
    put_mail(unit, mail)
}

pub(in crate::store::sled) fn delete_mail(
    unit: &mut Unit<'_, '_>,
    id: MailId,
    due: SystemTime,
) -> Result<(), StoreError> {
    unit.delete(keys::mail(millis(due), id));
    Ok(())
}
