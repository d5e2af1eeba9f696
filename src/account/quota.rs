//! How often one source may have something done that costs us work and sends somebody a mail.
//!
//! Failed logins are `authn::throttle`'s: they are about guessing. This is about filling the store with
//! accounts and other people's mailboxes with mails. How much one mailbox gets is `mail`'s to bound.
//!
//! Callers: `account`. Kept in memory; a restart forgets it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::authn::Rate;
use crate::authn::throttle::network;

/// Sources that are remembered at most. With no room left, new ones wait.
const CAPACITY: usize = 100_000;
const NO_ROOM: Duration = Duration::from_secs(60);

/// What is asked for. Each counts for itself.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Errand {
    /// A link by mail: to confirm an address, or to set a password.
    Link,
    /// An account.
    Registration,
}

/// Counts errands. All clones count together.
#[derive(Clone, Default)]
pub(super) struct Quota(Arc<Mutex<HashMap<(Errand, IpAddr), Window>>>);

#[derive(Clone, Copy)]
struct Window {
    began: Instant,
    count: u32,
}

impl Quota {
    /// Counts one, or says how long to wait for the next.
    pub(super) fn take(&self, errand: Errand, source: IpAddr, rate: Rate) -> Result<(), Duration> {
        self.take_at(errand, source, rate, Instant::now())
    }

    fn take_at(&self, errand: Errand, source: IpAddr, rate: Rate, now: Instant) -> Result<(), Duration> {
        let key = (errand, network(source));
        let age = |window: &Window| now.saturating_duration_since(window.began);
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= CAPACITY && !windows.contains_key(&key) {
            windows.retain(|_, window| age(window) < rate.period);
            if windows.len() >= CAPACITY {
                return Err(NO_ROOM);
            }
        }
        let window = windows.entry(key).or_insert(Window { began: now, count: 0 });
        if age(window) >= rate.period {
            *window = Window { began: now, count: 0 };
        }
        if window.count >= rate.count {
            return Err(rate.period - age(window));
        }
        window.count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_in_so_long_for_each_source_and_errand() {
        let (quota, start) = (Quota::default(), Instant::now());
        let rate = Rate { count: 2, period: Duration::from_secs(60) };
        let here = IpAddr::from([192, 0, 2, 1]);
        let take = |errand, source, seconds| {
            quota.take_at(errand, source, rate, start + Duration::from_secs(seconds))
        };
        assert_eq!(take(Errand::Registration, here, 0), Ok(()));
        assert_eq!(take(Errand::Registration, here, 10), Ok(()));
        assert_eq!(take(Errand::Registration, here, 20), Err(Duration::from_secs(40)));
        assert_eq!(take(Errand::Link, here, 20), Ok(()), "another errand");
        assert_eq!(take(Errand::Registration, IpAddr::from([192, 0, 2, 2]), 20), Ok(()), "another source");
        assert_eq!(take(Errand::Registration, here, 60), Ok(()), "another hour");
    }

    #[test]
    fn one_customers_ipv6_addresses_are_one_source() {
        let quota = Quota::default();
        let rate = Rate { count: 1, period: Duration::from_secs(60) };
        let take = |address: &str| quota.take(Errand::Link, address.parse().expect("an address"), rate);
        assert!(
            take("2001:db8::1").is_ok() && take("2001:db8::2").is_err() && take("2001:db8:0:1::1").is_ok()
        );
    }
}
