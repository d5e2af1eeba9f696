//! `upstreams`: where requests go.
//!
//! Callers: `config`. Which route uses one is checked in `routes`.

use std::time::Duration;

use http::uri::PathAndQuery;

use super::reader::{Section, Value};
use super::units::{Expected, duration};
use crate::proxy::{Balance, HealthSettings, HostHeader, Server, UpstreamSettings};
use crate::request::Origin;

const BALANCES: [(&str, Balance); 3] = [
    ("round_robin", Balance::RoundRobin),
    ("least_requests", Balance::LeastRequests),
    ("client_ip", Balance::ClientIp),
];
const HEALTH_PATH: &str = "expected what to ask the servers for, such as `path: /healthz`";
const SERVER: &str = "expected a server such as `http://127.0.0.1:3000`";

/// Every upstream that is named, in the order of the file; also faulty ones, so that what names them isn't faulty, too.
pub(super) fn read(root: &mut Section<'_>) -> Vec<UpstreamSettings> {
    let example = "expected names and servers, such as `app: http://127.0.0.1:3000`";
    let Some(map) = root.require("upstreams", example) else { return Vec::new() };
    // `{}` says that there is none: another proxy forwards, and Foregate answers its questions alone.
    map.entries(example).iter().map(upstream).collect()
}

fn upstream(value: &Value<'_>) -> UpstreamSettings {
    let name = value.key().to_owned();
    if name.is_empty()
        || name.chars().count() > 64
        || name.contains(|c: char| c.is_control() || c.is_whitespace())
    {
        let fault = value.fault_of_key("this is no name for an upstream");
        value.reader().add(fault.help("expected 1 to 64 characters without blanks"));
    }
    let mut settings = UpstreamSettings {
        balance: Balance::RoundRobin,
        connect_timeout: Duration::from_secs(3),
        health: None,
        host: HostHeader::Preserve,
        idle_timeout: Duration::from_secs(90),
        name,
        response_timeout: Duration::from_secs(60),
        servers: Vec::new(),
    };
    if !value.is_mapping() {
        settings.servers = value.parse(server).into_iter().collect();
        return settings;
    }
    value.section(|section| {
        if let Some(servers) = section.require("servers", SERVER) {
            let servers = servers.list_of_some("expected a list of servers such as `http://127.0.0.1:3000`");
            settings.servers = servers.iter().filter_map(|value| value.parse(server)).collect();
        }
        if let Some(balance) = section.get("balance").and_then(|value| value.word(&BALANCES)) {
            settings.balance = balance;
        }
        settings.health = section.get("health").and_then(|value| value.section(health));
        section.section("timeouts", |timeouts| {
            let mut set = |key, timeout: &mut Duration| {
                *timeout = timeouts.get(key).and_then(|value| value.parse(duration)).unwrap_or(*timeout);
            };
            set("connect", &mut settings.connect_timeout);
            set("response", &mut settings.response_timeout);
            set("idle", &mut settings.idle_timeout);
        });
        if let Some(host) = section.get("host").and_then(|value| value.parse(host_header)) {
            settings.host = host;
        }
    });
    settings
}

fn server(raw: &str) -> Result<Server, Expected> {
    if raw.starts_with("unix:") {
        return Err(Expected("`http://host:port`: Unix sockets are not supported yet"));
    }
    // A server is an origin: scheme, host and port, and nothing behind them.
    let url: Origin =
        raw.parse().map_err(|_| Expected("a server such as `http://127.0.0.1:3000`: no path and no user"))?;
    if url.is_https() {
        return Err(Expected("`http://host:port`: TLS to upstreams is not supported yet"));
    }
    let host = url.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Server { host, port: url.port() })
}

/// The checks of the servers; `None` where it isn't said what to ask for.
fn health(health: &mut Section<'_>) -> Option<HealthSettings> {
    let path = health.require("path", HEALTH_PATH).and_then(|value| value.parse(health_path));
    let interval = health.get("interval").and_then(|value| value.parse(check_interval));
    let mut count =
        |key| health.get(key).and_then(|value| value.number(1..=1000)).and_then(|n| n.try_into().ok());
    let (healthy_after, unhealthy_after) = (count("healthy_after"), count("unhealthy_after"));
    Some(HealthSettings {
        healthy_after: healthy_after.unwrap_or(1),
        interval: interval.unwrap_or(Duration::from_secs(5)),
        path: path?,
        unhealthy_after: unhealthy_after.unwrap_or(3),
    })
}

fn health_path(raw: &str) -> Result<PathAndQuery, Expected> {
    const PATH: Expected = Expected("a path such as `/healthz`, with a query or without");
    // A fragment is cut off by the parser, which would ask for something else than what was written.
    let is_path = raw.starts_with('/') && raw.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    raw.parse().ok().filter(|_| is_path).ok_or(PATH)
}

/// More often than this a check is a load, not a check.
fn check_interval(raw: &str) -> Result<Duration, Expected> {
    let interval = duration(raw)?;
    if interval < Duration::from_millis(100) {
        Err(Expected("an interval of `100ms` or longer"))
    } else {
        Ok(interval)
    }
}

fn host_header(raw: &str) -> Result<HostHeader, Expected> {
    match raw {
        "preserve" => Ok(HostHeader::Preserve),
        "upstream" => Ok(HostHeader::Upstream),
        // What an origin has behind its scheme is what a `Host` header holds.
        literal => match format!("http://{literal}").parse::<Origin>() {
            Ok(_) if !literal.ends_with('/') => Ok(HostHeader::Literal(literal.to_owned())),
            Ok(_) | Err(_) => Err(Expected("`preserve`, `upstream` or a host such as `app.internal`")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_and_a_port() {
        for (raw, host, port) in [
            ("http://127.0.0.1:3000", "127.0.0.1", 3000),
            ("http://app", "app", 80),
            ("http://app/", "app", 80),
            ("http://[::1]:3000", "::1", 3000),
            ("http://my_app:3000", "my_app", 3000),
        ] {
            assert_eq!(server(raw), Ok(Server { host: host.to_owned(), port }), "{raw}");
        }
        for raw in [
            "",
            "127.0.0.1:3000",
            "http://",
            "https://a:1",
            "unix:/run/a.sock",
            "http://a/path",
            "http://u:p@a",
            "http://a?q",
            "http://a:0",
        ] {
            assert!(server(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn checks_ask_for_a_path() {
        for raw in ["/", "/healthz", "/health?deep=1&x", "/a%20b"] {
            assert_eq!(health_path(raw).map(|path| path.to_string()), Ok(raw.to_owned()));
        }
        for raw in ["", "healthz", "/a b", "/a#b", "http://a/b", "/\u{e9}", "/a\n", "*", "?a"] {
            assert!(health_path(raw).is_err(), "{raw:?}");
        }
    }

    #[test]
    fn a_host_header_is_a_word_or_a_host() {
        assert_eq!(host_header("preserve"), Ok(HostHeader::Preserve));
        assert_eq!(host_header("upstream"), Ok(HostHeader::Upstream));
        assert_eq!(host_header("a.internal:81"), Ok(HostHeader::Literal("a.internal:81".to_owned())));
        for raw in ["", "a b", "a/b", "a/", "u@a"] {
            assert!(host_header(raw).is_err(), "{raw}");
        }
    }
}
