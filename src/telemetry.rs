//! The log: its subscriber, and one line for each request.
//!
//! Lines of requests are collected by each thread and handed over in batches to a thread that
//! writes them, so that a request pays a fraction of a microsecond for its own and never waits for a
//! terminal or a pipe. A credential never comes here, and of a target only the path.
//!
//! Callers: every room from `authn` upwards. It imports nothing of ours.

use std::cell::RefCell;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tracing::Level;
use tracing_subscriber::filter::LevelFilter;

/// A batch is handed over when it has this size, and otherwise by `flush`.
const BATCH_BYTES: usize = 16 * 1024;
/// Batches that wait for the writer; past that lines are dropped, and counted.
const BATCHES: usize = 64;

/// How the log is written (`log` in the configuration).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LogSettings {
    /// In which form.
    pub format: LogFormat,
    /// From which level on.
    pub level: Level,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// Readable on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For reading.
    Pretty,
}

impl LogFormat {
    fn is_json(self) -> bool {
        match self {
            Self::Auto => !io::stderr().is_terminal(),
            Self::Json => true,
            Self::Pretty => false,
        }
    }
}

/// Starts the log of this process, on standard error. A second start changes nothing.
pub fn start(settings: LogSettings) {
    let level = LevelFilter::from_level(settings.level);
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr).with_target(false);
    // Colour is for people, and only where they have not asked for none.
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let _ = if settings.format.is_json() {
        builder.json().flatten_event(true).try_init().map_err(drop)
    } else {
        builder.with_ansi(colour).try_init().map_err(drop)
    };
}

/// What is said of one request.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct AccessLine<'a> {
    /// The client's address.
    #[serde(rename = "client.address")]
    pub client: IpAddr,
    /// How long the head of the answer took.
    #[serde(rename = "duration_us", serialize_with = "as_micros")]
    pub duration: Duration,
    /// The host that was asked for.
    pub host: &'a str,
    /// The request id.
    #[serde(rename = "request.id")]
    pub id: &'a str,
    /// As sent.
    pub method: &'a str,
    /// Without the query, which may hold what is nobody's business.
    pub path: &'a str,
    /// The route that decided, if one did.
    #[serde(rename = "route.name", skip_serializing_if = "Option::is_none")]
    pub route: Option<&'a str>,
    /// Of the answer.
    pub status: u16,
    /// Who it was, if somebody is known.
    #[serde(rename = "user.name", skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
}

fn as_micros<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_micros().try_into().unwrap_or(u64::MAX))
}

#[derive(Serialize)]
struct JsonLine<'a> {
    timestamp: String,
    level: &'static str,
    message: &'static str,
    #[serde(flatten)]
    line: &'a AccessLine<'a>,
}

/// The thread that writes the lines of all others. Cheap to clone.
#[derive(Clone)]
pub struct AccessWriter {
    batches: Option<SyncSender<Vec<u8>>>,
    dropped: Arc<AtomicU64>,
    is_json: bool,
}

impl AccessWriter {
    /// Starts the thread, unless the level says that requests are not written.
    pub fn start(settings: LogSettings) -> Self {
        let batches = (settings.level >= Level::INFO).then(|| {
            let (sender, receiver) = sync_channel(BATCHES);
            std::thread::Builder::new()
                .name("log".to_owned())
                .spawn(move || write_batches(&receiver))
                .expect("the operating system starts a thread");
            sender
        });
        Self { batches, dropped: Arc::default(), is_json: settings.format.is_json() }
    }
}

fn write_batches(batches: &Receiver<Vec<u8>>) {
    while let Ok(batch) = batches.recv() {
        // A log that can't be written is no reason to stop serving.
        let _ = io::stderr().lock().write_all(&batch);
    }
}

/// The lines of one thread.
pub struct AccessLog {
    buffer: RefCell<Vec<u8>>,
    writer: AccessWriter,
}

impl AccessLog {
    /// Empty.
    pub fn new(writer: AccessWriter) -> Self {
        Self { buffer: RefCell::default(), writer }
    }

    /// Adds a line.
    pub fn write(&self, now: SystemTime, line: &AccessLine<'_>) {
        if self.writer.batches.is_none() {
            return;
        }
        let mut buffer = self.buffer.borrow_mut();
        let timestamp = jiff::Timestamp::try_from(now).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        // Writing to memory doesn't fail.
        let _ = if self.writer.is_json {
            let line =
                JsonLine { timestamp: format!("{timestamp:.3}"), level: "INFO", message: "request", line };
            serde_json::to_writer(&mut *buffer, &line).map_err(io::Error::from)
        } else {
            let AccessLine { client, duration, host, method, path, route, status, user, id } = line;
            let (route, user) = (route.unwrap_or("-"), user.unwrap_or("-"));
            let millis = duration.as_secs_f64() * 1000.0;
            write!(
                buffer,
                "{timestamp:.3}  INFO {status} {method} {host}{path} client={client} user={user} route={route:?} {millis:.1}ms id={id}"
            )
        };
        buffer.push(b'\n');
        if buffer.len() >= BATCH_BYTES {
            self.hand_over(&mut buffer);
        }
    }

    /// Hands over what there is. Called a few times a second, and at the end.
    pub fn flush(&self) {
        let mut buffer = self.buffer.borrow_mut();
        if !buffer.is_empty() {
            self.hand_over(&mut buffer);
        }
    }

    fn hand_over(&self, buffer: &mut Vec<u8>) {
        let lines = std::mem::take(buffer);
        let Some(batches) = &self.writer.batches else { return };
        if let Err(TrySendError::Full(lines)) = batches.try_send(lines) {
            let count = memchr::memchr_iter(b'\n', &lines).count() as u64;
            let dropped = self.writer.dropped.fetch_add(count, Ordering::Relaxed) + count;
            tracing::warn!(dropped, "standard error does not keep up: lines of requests are dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_json_object() {
        let (sender, receiver) = sync_channel(1);
        let writer = AccessWriter { batches: Some(sender), dropped: Arc::default(), is_json: true };
        let log = AccessLog::new(writer);
        log.write(
            SystemTime::UNIX_EPOCH,
            &AccessLine {
                client: IpAddr::from([192, 0, 2, 1]),
                duration: Duration::from_micros(1500),
                host: "app.test",
                id: "1",
                method: "GET",
                path: "/a\"b",
                route: Some("all"),
                status: 200,
                user: None,
            },
        );
        log.flush();
        let line = receiver.recv().expect("a batch");
        let value: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
        assert_eq!(value["duration_us"], 1500);
        assert_eq!(value["path"], "/a\"b");
        assert_eq!(value["timestamp"], "1970-01-01T00:00:00.000Z");
        assert!(value.get("user.name").is_none());
    }
}
