//! Which figures there are: the names that the configuration gives them, and those that are read
//! where they are when somebody asks.
//!
//! Callers: `gateway`, for the rooms that it starts with and for those of each reload.

use std::sync::Arc;
use std::time::SystemTime;

use super::rooms::{Process, Rooms};
use crate::authn::IssuerState;
use crate::mail::MailOutcome;
use crate::proxy::{ServerSnapshot, ServerState};
use crate::telemetry::metrics::{Kind, Row};

/// Names the rows of this configuration, and has the rooms' own state read at each scrape.
pub(super) fn name(rooms: &Rooms) {
    let metrics = &rooms.process.metrics;
    metrics.configure(
        rooms.config.routes.iter().map(|route| &*route.name),
        rooms.config.upstreams.iter().map(|upstream| upstream.name.as_str()),
    );
    servers(rooms);
    issuers(rooms);
    let store = rooms.process.store.clone();
    metrics.set_collector("store_healthy", "Whether the store can be written", Kind::Gauge, move || {
        Row::alone(f64::from(u8::from(store.health().is_ok())))
    });
    mails(rooms);
    let load = Arc::clone(rooms.authenticator.login().passwords().load());
    let (computed, queued) = (Arc::clone(&load), Arc::clone(&load));
    metrics.set_collector("password_hashes", "Passwords that were hashed", Kind::Counter, move || {
        Row::alone(computed.computed() as f64)
    });
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

/// The outbox, and what became of what was in it.
fn mails(rooms: &Rooms) {
    let Process { mailer, metrics, .. } = &*rooms.process;
    let counted = mailer.clone();
    metrics.set_collector("mails", "Mails, by what became of them", Kind::Counter, move || {
        let row = |outcome: MailOutcome| Row {
            labels: vec![("outcome", outcome.as_str().to_owned())],
            value: counted.figures().of(outcome) as f64,
        };
        MailOutcome::ALL.into_iter().map(row).collect()
    });
    let waiting = mailer.clone();
    metrics.set_collector("mail_outbox", "Mails that wait to be sent", Kind::Gauge, move || {
        Row::alone(waiting.waiting() as f64)
    });
}

/// What is known of each server of each upstream.
fn servers(rooms: &Rooms) {
    let Process { health, metrics, .. } = &*rooms.process;
    let collect = |name, help, kind, value: fn(&ServerSnapshot) -> f64| {
        let health = health.clone();
        metrics.set_collector(name, help, kind, move || {
            let row = |server: ServerSnapshot| {
                let value = value(&server);
                Row { labels: vec![("upstream", server.upstream), ("server", server.server)], value }
            };
            health.snapshot().into_iter().map(row).collect()
        });
    };
    collect(
        "upstream_healthy",
        "Whether a server gets requests: neither down by its checks nor left out after failures",
        Kind::Gauge,
        |server| f64::from(u8::from(server.state == ServerState::Up)),
    );
    collect(
        "upstream_in_flight",
        "Requests, tunnels and streams under way at a server",
        Kind::Gauge,
        |server| server.in_flight as f64,
    );
    collect("upstream_server_requests", "Requests given to a server", Kind::Counter, |server| {
        server.requests as f64
    });
    collect(
        "upstream_server_failures",
        "Requests that got no answer from a server",
        Kind::Counter,
        |server| server.failures as f64,
    );
    collect(
        "upstream_server_retries",
        "Requests that went on from a server to another one",
        Kind::Counter,
        |server| server.retries as f64,
    );
}

/// What is known of the keys of each issuer.
fn issuers(rooms: &Rooms) {
    let metrics = &rooms.process.metrics;
    let collect = |name, help, kind, rows: fn(IssuerState) -> Vec<Row>| {
        let authenticator = Arc::clone(&rooms.authenticator);
        metrics.set_collector(name, help, kind, move || {
            authenticator.issuers().states().into_iter().flat_map(rows).collect()
        });
    };
    collect("issuer_keys", "Usable keys of another issuer", Kind::Gauge, |state| {
        let keys = state.keys as f64;
        vec![Row { labels: vec![("issuer", state.issuer)], value: keys }]
    });
    collect(
        "issuer_healthy",
        "Whether another issuer has keys, and the last try to fetch them did not fail",
        Kind::Gauge,
        |state| {
            let healthy = state.is_healthy();
            vec![Row { labels: vec![("issuer", state.issuer)], value: f64::from(u8::from(healthy)) }]
        },
    );
    collect(
        "issuer_fetched_timestamp_seconds",
        "When the keys of another issuer were last fetched; 0: never, or they are in a file",
        Kind::Gauge,
        |state| {
            let since_1970 = state.fetched_at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
            let seconds = since_1970.unwrap_or_default().as_secs() as f64;
            vec![Row { labels: vec![("issuer", state.issuer)], value: seconds }]
        },
    );
    collect("issuer_fetches", "Tries to fetch the keys of another issuer", Kind::Counter, |state| {
        let row = |outcome: &str, count: u64| Row {
            labels: vec![("issuer", state.issuer.clone()), ("outcome", outcome.to_owned())],
            value: count as f64,
        };
        vec![row("ok", state.fetched), row("failed", state.failed)]
    });
}
