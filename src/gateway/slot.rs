//! The bound on connections: each holds a slot for as long as its socket is open.
//!
//! Callers: `gateway::worker` takes one for each accepted socket; the wire keeps it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::rooms::Process;
use crate::telemetry::metrics::{ConnectionRefused, Open};

/// One of the connections that may be open at once.
pub(super) struct Slot {
    /// `None` for one too many, which is no slot and goes at once.
    _counted: Option<Open>,
    process: Arc<Process>,
}

impl Slot {
    /// One that is free.
    pub(super) fn take(process: &Arc<Process>, limit: usize) -> Option<Self> {
        let open = process.connections.fetch_add(1, Ordering::Relaxed);
        let free = open < limit;
        // Dropping it gives it back also where it was one too many.
        let slot =
            Self { _counted: free.then(|| process.metrics.connection()), process: Arc::clone(process) };
        if free {
            return Some(slot);
        }
        process.metrics.connection_refused(ConnectionRefused::Limit);
        None
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.process.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
