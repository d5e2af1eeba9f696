//! Signed assertions, each made once for an identity and an upstream, and used for half of its life.
//!
//! A bounded memory of one thread. An identity is known by its allocation, which the memory keeps
//! alive: whoever signs in anew, or is changed, is another one, so nothing here is older than what the
//! authenticator says now.
//!
//! Callers: `proxy`.

use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderValue;

use crate::authn::assertion::{Asserter, LIFETIME};
use crate::identity::Identity;

const SLOTS: usize = 1024;

/// What is left when it arrives is at least the other half.
const USED_FOR: Duration = Duration::from_secs(LIFETIME.as_secs() / 2);

/// The assertions of one thread.
#[derive(Debug)]
pub(super) struct Assertions {
    asserter: Asserter,
    hasher: RandomState,
    slots: RefCell<Vec<Option<Made>>>,
}

#[derive(Debug)]
struct Made {
    at: SystemTime,
    identity: Arc<Identity>,
    upstream: Box<str>,
    value: HeaderValue,
}

impl Assertions {
    pub(super) fn new(asserter: Asserter) -> Self {
        Self { asserter, hasher: RandomState::new(), slots: RefCell::default() }
    }

    /// What this upstream is told about this identity now.
    pub(super) fn get(&self, identity: &Arc<Identity>, upstream: &str, now: SystemTime) -> HeaderValue {
        let mut slots = self.slots.borrow_mut();
        if slots.is_empty() {
            slots.resize_with(SLOTS, || None);
        }
        let at = self.hasher.hash_one((Arc::as_ptr(identity).addr(), upstream)) as usize % SLOTS;
        let slot = &mut slots[at];
        match slot {
            Some(made) if made.is_for(identity, upstream, now) => made.value.clone(),
            _ => {
                let value = self.asserter.assertion(identity, upstream, now);
                *slot = Some(Made {
                    at: now,
                    identity: Arc::clone(identity),
                    upstream: upstream.into(),
                    value: value.clone(),
                });
                value
            }
        }
    }
}

impl Made {
    fn is_for(&self, identity: &Arc<Identity>, upstream: &str, now: SystemTime) -> bool {
        // One from the future is another clock's: after the clock was set back it is made anew.
        let is_young = now.duration_since(self.at).is_ok_and(|age| age < USED_FOR);
        is_young && Arc::ptr_eq(&self.identity, identity) && *self.upstream == *upstream
    }
}
