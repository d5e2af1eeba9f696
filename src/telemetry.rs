//! The log: its subscriber, and one line for each request.
//!
//! Lines are handed over in batches, so that a request pays a fraction of a microsecond for its own.
//! A credential never comes here.
//!
//! Callers: every room from `authn` upwards. It imports nothing of ours.

/// How the log is written (`log` in the configuration).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogSettings {
    /// In which form.
    pub format: LogFormat,
    /// From which level on: `error`, `warn`, `info`, `debug` or `trace`.
    pub level: tracing::Level,
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
