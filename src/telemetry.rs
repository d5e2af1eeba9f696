//! The log: its subscriber, and one line for each request; and, in `telemetry/metrics.rs`, the figures.
//!
//! One thread writes what all others hand over (`telemetry/queue.rs`), so that nobody waits for a terminal
//! or a pipe; lines of requests come to it in batches of each thread, and cost a request a fraction of a
//! microsecond. What clients can cause at will is rationed (`telemetry/ration.rs`). A credential never comes
//! here, and of a target only the path.
//!
//! Callers: every room from `authn` upwards. It imports nothing of ours.

use std::cell::RefCell;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

pub mod audit;
pub mod metrics;
mod queue;
mod ration;

use queue::{Event, Kind, Queue};
pub use ration::Ration;

/// A batch is handed over when it has this size, and otherwise by `flush`.
const BATCH_BYTES: usize = 16 * 1024;

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
    let (level, handle) = reload::Layer::new(LevelFilter::from_level(settings.level));
    let queue = queue::started(settings.format.is_json());
    let layer = tracing_subscriber::fmt::layer().with_writer(move || Event(queue)).with_target(false);
    // Colour is for people, and only where they have not asked for none.
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // The HTTP/2 library tells of each frame, and warns of each client that floods it: what comes of that
    // is told by whoever ends the connection.
    let ours = filter_fn(|metadata| !metadata.target().starts_with("h2"));
    let registry = tracing_subscriber::registry().with(level).with(ours);
    let started = if settings.format.is_json() {
        registry.with(layer.json().flatten_event(true)).try_init()
    } else {
        registry.with(layer.with_ansi(colour)).try_init()
    };
    if started.is_ok() {
        let _ = LEVEL.set(handle);
    }
}

/// Ends the log: has all of it written, within this bound. `false`: standard error doesn't take it, nor anything else.
pub fn finish(bound: Duration) -> bool {
    // The last second is over.
    ration::settle(Instant::now() + Duration::from_secs(1));
    audit::flush(bound);
    queue::get().is_none_or(|queue| queue.flush(bound))
}

static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// From which level on the log is written from now on; lines of requests have `AccessWriter::set_level`.
pub fn set_level(level: Level) {
    if let Some(handle) = LEVEL.get() {
        let _ = handle.reload(LevelFilter::from_level(level));
    }
}

/// What is said of one request.
#[derive(Clone, Copy, Debug)]
pub struct AccessLine<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// How long the head of the answer took.
    pub duration: Duration,
    /// The outcome of a gRPC call, where the head of the answer tells it: its status is 200 then.
    pub grpc_status: Option<&'a str>,
    /// The host that was asked for.
    pub host: &'a str,
    /// The request id.
    pub id: &'a str,
    /// As sent.
    pub method: &'a str,
    /// Without the query, which may hold what is nobody's business.
    pub path: &'a str,
    /// The route that decided, if one did.
    pub route: Option<&'a str>,
    /// Of the answer.
    pub status: u16,
    /// Who it was, if somebody is known.
    pub user: Option<&'a str>,
    /// Of HTTP: "1.0", "1.1" or "2".
    pub version: &'static str,
}

/// Whether and how lines of requests are written. Cheap to clone.
#[derive(Clone)]
pub struct AccessWriter {
    is_json: bool,
    is_on: Arc<AtomicBool>,
    queue: Queue,
}

impl AccessWriter {
    /// To the thread that writes, which is started where the log was not.
    pub fn start(settings: LogSettings) -> Self {
        let is_json = settings.format.is_json();
        let queue = queue::started(is_json).clone();
        let writer = Self { is_json, is_on: Arc::new(AtomicBool::new(false)), queue };
        writer.set_level(settings.level);
        writer
    }

    /// Requests are written from `info` on.
    pub fn set_level(&self, level: Level) {
        self.is_on.store(level >= Level::INFO, Ordering::Relaxed);
    }
}

/// The lines of one thread. Clones write into the same.
#[derive(Clone)]
pub struct AccessLog(Rc<Lines>);

struct Lines {
    buffer: RefCell<Vec<u8>>,
    clock: RefCell<Clock>,
    writer: AccessWriter,
}

impl AccessLog {
    /// Empty.
    pub fn new(writer: AccessWriter) -> Self {
        Self(Rc::new(Lines { buffer: RefCell::default(), clock: RefCell::default(), writer }))
    }

    /// Adds a line.
    pub fn write(&self, now: SystemTime, line: &AccessLine<'_>) {
        if !self.0.writer.is_on.load(Ordering::Relaxed) {
            return;
        }
        let mut buffer = self.0.buffer.borrow_mut();
        if buffer.capacity() == 0 {
            // With room for the line that fills it, so that it never grows.
            buffer.reserve(BATCH_BYTES + BATCH_BYTES / 4);
        }
        let mut clock = self.0.clock.borrow_mut();
        let time = clock.at(now);
        if self.0.writer.is_json {
            write_json(&mut buffer, time, line);
        } else {
            let AccessLine { client, duration, host, method, path, route, status, user, id, .. } = line;
            let (route, user) = (route.unwrap_or("-"), user.unwrap_or("-"));
            let millis = duration.as_secs_f64() * 1000.0;
            // Writing to memory doesn't fail.
            let _ = write!(
                buffer,
                "{time}  INFO {status} {method} {host}{path} client={client} user={user} route={route:?} {millis:.1}ms id={id}"
            );
            if let Some(status) = line.grpc_status {
                let _ = write!(buffer, " grpc={status:?}");
            }
        }
        buffer.push(b'\n');
        if buffer.len() >= BATCH_BYTES {
            drop(buffer);
            self.0.hand_over();
        }
    }

    /// Hands over what there is, and has told what clients caused too often. Called a few times a second, and at the end.
    pub fn flush(&self) {
        self.0.hand_over();
        ration::settle(Instant::now());
    }
}

impl Lines {
    fn hand_over(&self) {
        let lines = self.buffer.take();
        if !lines.is_empty() {
            self.writer.queue.hand_over(Kind::Requests, lines);
        }
    }
}

/// Requests that are broken off at the stop come after the last flush.
impl Drop for Lines {
    fn drop(&mut self) {
        self.hand_over();
    }
}

/// Written by hand: a serializer would look at each character of each key, and this is on every request's way.
fn write_json(buffer: &mut Vec<u8>, time: &str, line: &AccessLine<'_>) {
    let AccessLine { client, duration, grpc_status, host, method, path, route, status, user, id, version } =
        line;
    write_plain(buffer, r#"{"timestamp":""#, time);
    buffer.extend_from_slice(br#"","level":"INFO","message":"request","client.address":""#);
    write_address(buffer, *client);
    buffer.extend_from_slice(br#"","duration_us":"#);
    write_number(buffer, duration.as_micros().try_into().unwrap_or(u64::MAX));
    if let Some(status) = grpc_status {
        write_text(buffer, r#","grpc.status":"#, status);
    }
    write_plain(buffer, r#","host":""#, host);
    write_plain(buffer, r#"","http.version":""#, version);
    write_plain(buffer, r#"","request.id":""#, id);
    write_plain(buffer, r#"","method":""#, method);
    write_text(buffer, r#"","path":"#, path);
    if let Some(route) = route {
        write_text(buffer, r#","route.name":"#, route);
    }
    buffer.extend_from_slice(br#","status":"#);
    write_number(buffer, u64::from(*status));
    if let Some(user) = user {
        write_text(buffer, r#","user.name":"#, user);
    }
    buffer.push(b'}');
}

/// A key with all that belongs before its text, and a text that by the rule of whoever made it holds nothing that JSON
/// would escape: a time, a host, a token of HTTP.
fn write_plain(buffer: &mut Vec<u8>, key: &str, text: &str) {
    debug_assert!(!text.bytes().any(is_escaped), "{text:?} is not plain");
    buffer.extend_from_slice(key.as_bytes());
    buffer.extend_from_slice(text.as_bytes());
}

fn is_escaped(byte: u8) -> bool {
    (byte < b' ') | (byte == b'"') | (byte == b'\\')
}

/// A key as it stands, and any text as a JSON string.
fn write_text(buffer: &mut Vec<u8>, key: &str, text: &str) {
    buffer.extend_from_slice(key.as_bytes());
    // Written without a branch, so that it looks at many bytes at once.
    let special = text.bytes().fold(false, |found, byte| found | is_escaped(byte));
    if special {
        // Writing to memory doesn't fail.
        let _ = serde_json::to_writer(buffer, text);
    } else {
        buffer.push(b'"');
        buffer.extend_from_slice(text.as_bytes());
        buffer.push(b'"');
    }
}

fn write_address(buffer: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => {
            for (place, octet) in v4.octets().into_iter().enumerate() {
                if place > 0 {
                    buffer.push(b'.');
                }
                write_number(buffer, u64::from(octet));
            }
        }
        IpAddr::V6(v6) => {
            let _ = write!(buffer, "{v6}");
        }
    }
}

fn write_number(buffer: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return buffer.extend_from_slice(&digits[first..]);
        }
    }
}

/// The time as a text (RFC 3339, to the millisecond), of which all but the milliseconds is made once a second.
#[derive(Default)]
struct Clock {
    second: Option<u64>,
    text: String,
}

impl Clock {
    fn at(&mut self, now: SystemTime) -> &str {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if self.second.replace(since.as_secs()) != Some(since.as_secs()) {
            let second = i64::try_from(since.as_secs()).ok();
            let timestamp = second.and_then(|second| jiff::Timestamp::from_second(second).ok());
            self.text = format!("{:.3}", timestamp.unwrap_or(jiff::Timestamp::UNIX_EPOCH));
        }
        // It ends in `.000Z`.
        let millis = since.subsec_millis();
        let digits =
            [millis / 100, millis / 10 % 10, millis % 10].map(|digit| char::from(b'0' + digit as u8));
        self.text.truncate(self.text.len() - 4);
        self.text.extend(digits);
        self.text.push('Z');
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[(SystemTime, AccessLine<'_>)]) -> String {
        let (queue, writer) = Queue::new(true);
        let access = AccessWriter { is_json: true, is_on: Arc::new(AtomicBool::new(true)), queue };
        let log = AccessLog::new(access);
        for (now, line) in lines {
            log.write(*now, line);
        }
        // What is left is handed over at the end.
        drop(log);
        let mut written = Vec::new();
        writer.run(&mut written);
        String::from_utf8(written).expect("UTF-8")
    }

    const LINE: AccessLine<'static> = AccessLine {
        client: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
        duration: Duration::from_micros(1500),
        grpc_status: None,
        host: "app.test",
        id: "1",
        method: "GET",
        path: "/a\"b",
        route: Some("all"),
        status: 200,
        user: None,
        version: "2",
    };

    #[test]
    fn a_line_is_one_json_object() {
        let line = lines(&[(SystemTime::UNIX_EPOCH, LINE)]);
        assert_eq!(
            line,
            concat!(
                r#"{"timestamp":"1970-01-01T00:00:00.000Z","level":"INFO","message":"request","#,
                r#""client.address":"192.0.2.1","duration_us":1500,"host":"app.test","http.version":"2","request.id":"1","#,
                r#""method":"GET","path":"/a\"b","route.name":"all","status":200}"#,
                "\n"
            )
        );
        let other = AccessLine { path: "/\\\u{1}\n", route: None, user: Some("zo\u{eb} \"z\""), ..LINE };
        let value: serde_json::Value =
            serde_json::from_str(&lines(&[(SystemTime::UNIX_EPOCH, other)])).expect("JSON");
        assert_eq!(value["path"], "/\\\u{1}\n");
        assert_eq!(value["user.name"], "zo\u{eb} \"z\"");
        assert!(value.get("route.name").is_none());
        let v6 = AccessLine {
            client: "2001:db8::1".parse().expect("an address"),
            duration: Duration::MAX,
            ..LINE
        };
        let value: serde_json::Value =
            serde_json::from_str(&lines(&[(SystemTime::UNIX_EPOCH, v6)])).expect("JSON");
        assert_eq!(value["client.address"], "2001:db8::1");
        assert_eq!(value["duration_us"], u64::MAX);
    }

    #[test]
    fn the_time_of_a_line_is_told_to_the_millisecond() {
        let at = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        let mut clock = Clock::default();
        for (millis, expected) in [
            (7, "1970-01-01T00:00:00.007Z"),
            (999, "1970-01-01T00:00:00.999Z"),
            (1000, "1970-01-01T00:00:01.000Z"),
            (951_782_399_120, "2000-02-28T23:59:59.120Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (7, "1970-01-01T00:00:00.007Z"),
        ] {
            assert_eq!(clock.at(at(millis)), expected);
        }
    }
}
