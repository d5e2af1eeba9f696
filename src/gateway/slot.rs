//! The bound on connections: each holds a slot for as long as its socket is open.
//!
//! Callers: `gateway::worker` takes one for each accepted socket; the wire keeps it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::rooms::Process;

/// One of the connections that may be open at once.
pub(super) struct Slot(Arc<Process>);

impl Slot {
    /// One that is free.
    pub(super) fn take(process: &Arc<Process>, limit: usize) -> Option<Self> {
        let open = process.connections.fetch_add(1, Ordering::Relaxed);
        // Dropping it gives it back also where it was one too many.
        let slot = Self(Arc::clone(process));
        (open < limit).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
