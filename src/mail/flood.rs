//! The bound on how many mails of one kind a mailbox gets in an hour.
//!
//! Kept in memory: whoever could end the process at will has better ways to be a nuisance. Each kind
//! counts for itself, so that who asks for ever new links for somebody else can't keep the notice away that a
//! password was changed.
//!
//! Callers: `mail`.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::Kind;
use crate::identity::Email;

/// Mails of one kind to one mailbox in an hour.
const PER_HOUR: u32 = 5;
const HOUR: Duration = Duration::from_secs(60 * 60);
/// Mailboxes that are kept in mind. Past it the outbox itself is the bound.
const KNOWN: usize = 100_000;

#[derive(Default)]
pub(super) struct Flood {
    /// Nobody can choose addresses that are one here.
    hasher: RandomState,
    windows: Mutex<HashMap<u64, Window>>,
}

struct Window {
    began: SystemTime,
    count: u32,
}

impl Flood {
    /// Counts a mail; `false` where it is one too many.
    pub(super) fn take(&self, to: &Email, kind: Kind, now: SystemTime) -> bool {
        let key = self.hasher.hash_one((to.folded(), kind));
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= KNOWN && !windows.contains_key(&key) {
            windows.retain(|_, window| window.holds(now));
            if windows.len() >= KNOWN {
                return true;
            }
        }
        let window = windows.entry(key).or_insert(Window { began: now, count: 0 });
        if !window.holds(now) {
            *window = Window { began: now, count: 0 };
        }
        let fits = window.count < PER_HOUR;
        window.count += u32::from(fits);
        fits
    }

    /// Whether `take` would take one.
    pub(super) fn has_room(&self, to: &Email, kind: Kind, now: SystemTime) -> bool {
        let key = self.hasher.hash_one((to.folded(), kind));
        let windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        windows.get(&key).is_none_or(|window| !window.holds(now) || window.count < PER_HOUR)
    }
}

impl Window {
    /// A clock that was set back begins a new one.
    fn holds(&self, now: SystemTime) -> bool {
        now.duration_since(self.began).is_ok_and(|since| since < HOUR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_gets_a_few_of_each_kind_an_hour() {
        let flood = Flood::default();
        let now = SystemTime::now();
        let (one, shouted, other): (Email, Email, Email) = (
            "a@b.test".parse().expect("an address"),
            "A@B.test".parse().expect("an address"),
            "c@b.test".parse().expect("an address"),
        );
        for _ in 0..PER_HOUR {
            assert!(flood.has_room(&one, Kind::ResetPassword, now));
            assert!(flood.take(&one, Kind::ResetPassword, now));
        }
        assert!(!flood.take(&shouted, Kind::ResetPassword, now), "the same mailbox");
        assert!(!flood.has_room(&shouted, Kind::ResetPassword, now));
        assert!(flood.take(&one, Kind::PasswordChanged, now), "another kind");
        assert!(flood.take(&other, Kind::ResetPassword, now), "another mailbox");
        assert!(flood.take(&one, Kind::ResetPassword, now + HOUR), "an hour later");
    }
}
