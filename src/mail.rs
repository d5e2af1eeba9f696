//! Mails to the people who have accounts here: what they say, the outbox in which they wait, and the
//! worker that takes them from there to a mail server.
//!
//! Nobody waits for a mail server: `send` keeps the mail in the store and returns, and takes as long
//! whether the mail is kept or dropped. What is kept survives a crash, and is sent at least once. Nobody
//! is flooded either: a mailbox gets a few mails of each kind an hour.
//!
//! A mail leads to our own pages alone, under `public_url`; what a client calls us (`Host`) never gets here.
//!
//! Callers: `account` sends; `config` reads the settings; `gateway` runs the worker, and `cli` tries
//! the mail server. Whether somebody should get a mail is not decided here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::identity::Email;
pub use crate::response::texts::Language;
use crate::store::{MailContent, MailId, QueuedMail, Store, StoreError};

mod compose;
mod courier;
mod figures;
mod flood;
mod folder;
mod links;
mod message;
mod settings;
mod smtp;
mod trial;
mod words;

pub use figures::{MailFigures, MailOutcome};
pub use links::{Link, Links};
pub use message::{Kind, Message};
pub use settings::{
    InvalidMailAuthorities, InvalidMailServer, InvalidSender, MailAuthorities, MailServer, MailSettings,
    Sender, SmtpServer, SmtpTls,
};
pub use trial::{Trial, TrialFailure, try_out};

use compose::Writer;
use flood::Flood;

/// Mails that may wait in all.
const OUTBOX: usize = 10_000;
/// Of these, places that strangers can't fill by asking for mails to whomever they like.
const RESERVED: usize = 1_000;

/// One mail to one person.
#[derive(Clone, Debug)]
pub struct Mail {
    /// In which language.
    pub language: Language,
    /// What it says.
    pub message: Message,
    /// Who gets it.
    pub to: Email,
}

/// The door to the outbox. Clones are the same.
#[derive(Clone)]
pub struct Mailer(Arc<Shared>);

struct Shared {
    figures: MailFigures,
    flood: Flood,
    setup: ArcSwap<Setup>,
    store: Store,
    waiting: AtomicUsize,
    /// Something has come into the outbox, or the settings are others.
    wake: Notify,
}

/// What a reload can change.
struct Setup {
    links: Links,
    settings: Option<Arc<MailSettings>>,
    writer: Option<Writer>,
}

impl Setup {
    fn new(settings: Option<MailSettings>, links: Links) -> Self {
        let writer = settings.as_ref().map(|settings| Writer::new(settings, links.clone()));
        Self { links, settings: settings.map(Arc::new), writer }
    }
}

impl Mailer {
    /// Over the outbox in this store. Without settings no mail is sent, and those that wait stay where they are.
    pub async fn new(store: Store, settings: Option<MailSettings>, links: Links) -> Result<Self, StoreError> {
        let waiting = store.count_mails().await?;
        Ok(Self(Arc::new(Shared {
            figures: MailFigures::default(),
            flood: Flood::default(),
            setup: ArcSwap::from_pointee(Setup::new(settings, links)),
            store,
            waiting: AtomicUsize::new(waiting),
            wake: Notify::new(),
        })))
    }

    /// Takes other settings over, for what waits as well.
    pub fn configure(&self, settings: Option<MailSettings>, links: Links) {
        self.0.setup.store(Arc::new(Setup::new(settings, links)));
        self.0.wake.notify_one();
    }

    /// Whether mails are sent at all: to be asked before something is offered that needs one.
    pub fn is_configured(&self) -> bool {
        self.0.setup.load().settings.is_some()
    }

    /// The links that a mail may hold.
    pub fn links(&self) -> Links {
        self.0.setup.load().links.clone()
    }

    /// What became of the mails so far.
    pub fn figures(&self) -> &MailFigures {
        &self.0.figures
    }

    /// How many mails wait.
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }

    /// Whether a mail of this kind to this mailbox would be kept now, and not dropped. To be asked before
    /// a link is made that voids an older one: or somebody who asks for ever new links for another person
    /// would void the one in the last mail that got through.
    pub fn takes(&self, to: &Email, kind: Kind) -> bool {
        self.has_room(kind) && self.0.flood.has_room(to, kind, SystemTime::now())
    }

    /// Keeps the mail until it is sent. Where that isn't possible (no mail server is configured, the
    /// mailbox has had enough of the kind for this hour, the outbox is full) it is dropped, which the log
    /// and a figure tell, and the caller is not told; it takes as long.
    pub async fn send(&self, mail: Mail) -> Result<(), StoreError> {
        let (now, kind) = (SystemTime::now(), mail.message.kind());
        let queued = QueuedMail {
            due: now,
            id: MailId::generate(),
            content: MailContent {
                attempts: 0,
                created_at: now,
                message: message::write(&mail),
                to: mail.to.clone(),
            },
        };
        if let Err(why) = self.admit(&mail.to, kind, now) {
            self.0.figures.count(MailOutcome::Dropped);
            tracing::warn!(mail.kind = kind.as_str(), "a mail was dropped: {why}");
            return self.0.store.pretend_mail(queued).await;
        }
        let id = queued.id;
        if let Err(error) = self.0.store.put_mail(queued).await {
            self.0.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(error);
        }
        self.0.figures.count(MailOutcome::Queued);
        tracing::info!(mail.id = %id, mail.kind = kind.as_str(), "a mail waits to be sent");
        self.0.wake.notify_one();
        Ok(())
    }

    /// Takes as long as `send` and sends nothing: for where it must not show that there is nobody to get a mail.
    pub async fn pretend(&self, mail: Mail) -> Result<(), StoreError> {
        let now = SystemTime::now();
        let content =
            MailContent { attempts: 0, created_at: now, message: message::write(&mail), to: mail.to };
        self.0.store.pretend_mail(QueuedMail { due: now, id: MailId::generate(), content }).await
    }

    /// Takes a place in the outbox.
    fn admit(&self, to: &Email, kind: Kind, now: SystemTime) -> Result<(), &'static str> {
        if !self.is_configured() {
            return Err("no mail server is configured (`mail.url`)");
        }
        if !self.has_room(kind) {
            return Err("the outbox is full");
        }
        if !self.0.flood.take(to, kind, now) {
            return Err("this mailbox has had enough of this kind for now");
        }
        // A few too many, where several come at once, do no harm.
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn has_room(&self, kind: Kind) -> bool {
        let limit = if kind.is_for_strangers() { OUTBOX - RESERVED } else { OUTBOX };
        self.waiting() < limit
    }
}

#[cfg(test)]
mod tests;
