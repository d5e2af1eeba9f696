//! Figures by name: one for each name and thread, and each thread's way to its own.
//!
//! Callers: `telemetry::metrics`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;

use super::stripe;

/// Which names a family takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Names {
    /// Any that is asked for: they are words of our own code, of which there are few.
    Fixed,
    /// Those of the configuration. What is counted under another is counted nowhere.
    Listed,
}

/// The figures of every name, by stripe.
pub(super) struct Family<F> {
    /// Moves on when names go, so that no thread keeps a handle to one that is not shown.
    generation: AtomicU64,
    names: Names,
    rows: Mutex<Rows<F>>,
}

type Rows<F> = BTreeMap<Box<str>, BTreeMap<usize, Arc<F>>>;

impl<F: Default> Family<F> {
    pub(super) fn new(names: Names) -> Self {
        Self { generation: AtomicU64::new(0), names, rows: Mutex::default() }
    }

    /// Exactly these are there from now on; what is counted already stays.
    pub(super) fn keep<'n>(&self, names: impl IntoIterator<Item = &'n str>) {
        let mut rows = self.rows();
        let mut before = std::mem::take(&mut *rows);
        for name in names {
            // Two routes may have one name: their figures are one.
            rows.entry(name.into()).or_insert_with(|| before.remove(name).unwrap_or_default());
        }
        // While the lock is held: whoever sees the new generation finds the new names.
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Each name, with what every thread counted for it.
    pub(super) fn collect(&self) -> Vec<(Box<str>, Vec<Arc<F>>)> {
        let rows = self.rows();
        rows.iter().map(|(name, figures)| (name.clone(), figures.values().cloned().collect())).collect()
    }

    fn of_this_thread(&self, name: &str) -> Arc<F> {
        let mut rows = self.rows();
        let figures = match self.names {
            Names::Fixed => Some(rows.entry(name.into()).or_default()),
            Names::Listed => rows.get_mut(name),
        };
        figures.map_or_else(Arc::default, |figures| Arc::clone(figures.entry(stripe()).or_default()))
    }

    fn rows(&self) -> MutexGuard<'_, Rows<F>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thread's handles to a family.
pub(super) struct Handles<F> {
    generation: Cell<u64>,
    /// The names are the configuration's and ours: nobody chooses them to collide.
    known: RefCell<FxHashMap<Box<str>, Arc<F>>>,
}

impl<F> Default for Handles<F> {
    fn default() -> Self {
        Self { generation: Cell::new(0), known: RefCell::default() }
    }
}

impl<F: Default> Handles<F> {
    /// Has this thread's figures of a name counted.
    pub(super) fn with(&self, family: &Family<F>, name: &str, count: impl FnOnce(&F)) {
        let generation = family.generation.load(Ordering::Acquire);
        let mut known = self.known.borrow_mut();
        if self.generation.replace(generation) != generation {
            known.clear();
        }
        match known.get(name) {
            Some(figures) => count(figures),
            None => {
                let figures = family.of_this_thread(name);
                count(&figures);
                known.insert(name.into(), figures);
            }
        }
    }
}
