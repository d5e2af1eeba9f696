//! How many mails there were, and what became of them.
//!
//! Callers: `mail` counts; `gateway` shows them among the metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// What became of a mail.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MailOutcome {
    /// Never kept: a full outbox, a mailbox that has had enough, or no mail server.
    Dropped,
    /// An attempt has failed; it is tried again.
    Failed,
    /// Refused for good, or tried for too long.
    GivenUp,
    /// It was kept.
    Queued,
    /// The server has it.
    Sent,
}

impl MailOutcome {
    /// Each.
    pub const ALL: [Self; 5] = [Self::Dropped, Self::Failed, Self::GivenUp, Self::Queued, Self::Sent];

    /// As a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::Failed => "failed",
            Self::GivenUp => "given_up",
            Self::Queued => "queued",
            Self::Sent => "sent",
        }
    }
}

/// Counts since the start.
#[derive(Debug, Default)]
pub struct MailFigures([AtomicU64; MailOutcome::ALL.len()]);

impl MailFigures {
    /// How often that was.
    pub fn of(&self, outcome: MailOutcome) -> u64 {
        self.0[outcome as usize].load(Ordering::Relaxed)
    }

    pub(super) fn count(&self, outcome: MailOutcome) {
        self.0[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }
}
