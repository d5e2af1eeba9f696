//! Which figures there are: the names that the configuration gives them, and those that are read
//! where they are when somebody asks.
//!
//! Callers: `gateway`, for the rooms that it starts with and for those of each reload.

use std::sync::Arc;

use super::rooms::Rooms;
use crate::telemetry::metrics::{Kind, Row};

/// Names the rows of this configuration, and has the rooms' own state read at each scrape.
pub(super) fn name(rooms: &Rooms) {
    let metrics = &rooms.process.metrics;
    metrics.configure(
        rooms.config.routes.iter().map(|route| &*route.name),
        rooms.config.upstreams.iter().map(|upstream| upstream.name.as_str()),
    );
    let store = rooms.process.store.clone();
    metrics.set_collector("store_healthy", "Whether the store can be written", Kind::Gauge, move || {
        Row::alone(f64::from(u8::from(store.health().is_ok())))
    });
    let load = Arc::clone(rooms.authenticator.login().passwords().load());
    let queued = Arc::clone(&load);
    metrics.set_collector(
        "password_hashes_queued",
        "Passwords that wait to be hashed",
        Kind::Gauge,
        move || Row::alone(queued.queued() as f64),
    );
    metrics.set_collector(
        "password_hashes_running",
        "Passwords that are being hashed",
        Kind::Gauge,
        move || Row::alone(load.running() as f64),
    );
}
