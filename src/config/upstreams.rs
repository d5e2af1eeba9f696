//! `upstreams`: where requests go.
//!
//! Callers: `config`. Which route uses one is checked in `routes`.

use std::time::Duration;

use super::reader::{Section, Value};
use super::units::{Expected, duration};
use crate::proxy::{HostHeader, Server, UpstreamSettings};
use crate::request::Origin;

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
        connect_timeout: Duration::from_secs(3),
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
    fn a_host_header_is_a_word_or_a_host() {
        assert_eq!(host_header("preserve"), Ok(HostHeader::Preserve));
        assert_eq!(host_header("upstream"), Ok(HostHeader::Upstream));
        assert_eq!(host_header("a.internal:81"), Ok(HostHeader::Literal("a.internal:81".to_owned())));
        for raw in ["", "a b", "a/b", "a/", "u@a"] {
            assert!(host_header(raw).is_err(), "{raw}");
        }
    }
}
