//! Mails that wait to be sent.
//!
//! Callers: `mail` alone.

use std::fmt;
use std::time::SystemTime;

use secrecy::SecretString;
use uuid::Uuid;

use super::{Engine, Store, StoreError};
use crate::identity::Email;

/// A mail's number: a UUIDv7, so that the earlier of two comes first.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MailId(Uuid);

impl MailId {
    /// A new number, greater than every earlier one of this process.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// From its sixteen bytes, as they were kept.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Its sixteen bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for MailId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A mail that waits to be sent.
#[derive(Clone, Debug)]
pub struct QueuedMail {
    /// When it is to be tried, to the millisecond: with `id` its place in the outbox.
    pub due: SystemTime,
    /// Its number.
    pub id: MailId,
    /// The rest of it.
    pub content: MailContent,
}

/// What is kept of a mail.
#[derive(Clone, Debug)]
pub struct MailContent {
    /// How often it was tried.
    pub attempts: u32,
    /// When it was asked for.
    pub created_at: SystemTime,
    /// What it says, in the `mail` room's own words; a link in it may be as good as a password.
    pub message: SecretString,
    /// Who gets it.
    pub to: Email,
}

impl Store {
    /// Keeps a mail until it is deleted.
    pub async fn put_mail(&self, mail: QueuedMail) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.put_mail(mail).await,
        }
    }

    /// Takes as long as keeping this mail would, and keeps nothing of it.
    pub async fn pretend_mail(&self, mail: QueuedMail) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.pretend_mail(mail).await,
        }
    }

    /// The mail that is due first, whether or not it is yet.
    pub async fn first_mail(&self) -> Result<Option<QueuedMail>, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.first_mail().await,
        }
    }

    /// How many mails wait. Reads them all.
    pub async fn count_mails(&self) -> Result<usize, StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.count_mails().await,
        }
    }

    /// Keeps a mail with another time at which it is due, in place of the one with `was_due`.
    pub async fn postpone_mail(&self, mail: QueuedMail, was_due: SystemTime) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.postpone_mail(mail, was_due).await,
        }
    }

    /// Forgets a mail.
    pub async fn delete_mail(&self, id: MailId, due: SystemTime) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sled(sled) => sled.delete_mail(id, due).await,
        }
    }
}
