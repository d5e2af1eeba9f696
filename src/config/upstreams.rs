//! `upstreams`: where requests go.
//!
//! Callers: `config`. Which route uses one is checked in `routes`.

use std::cell::LazyCell;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use rustls_pki_types::ServerName;
use zeroize::Zeroizing;

use super::fault::quote;
use super::reader::{Reader, Section, Value};
use super::units::{Expected, duration};
use crate::authn::Algorithm;
use crate::proxy::tls::{Authorities, ClientIdentity, InvalidIdentity, InvalidTls, UpstreamTls, server_name};
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
pub(super) fn read(root: &mut Section<'_>, algorithm: Algorithm) -> Vec<UpstreamSettings> {
    let example = "expected names and servers, such as `app: http://127.0.0.1:3000`";
    let Some(map) = root.require("upstreams", example) else { return Vec::new() };
    // `{}` says that there is none: another proxy forwards, and Foregate answers its questions alone.
    // Some hundred certificates: read once for all, and only where they are needed.
    let of_the_system: OfTheSystem = LazyCell::new(Authorities::of_the_system);
    map.entries(example).iter().map(|value| upstream(value, algorithm, &of_the_system)).collect()
}

/// What the system trusts; `None` where it trusts nobody.
type OfTheSystem = LazyCell<Option<Authorities>>;

fn upstream(value: &Value<'_>, algorithm: Algorithm, of_the_system: &OfTheSystem) -> UpstreamSettings {
    let name = value.key().to_owned();
    if name.is_empty()
        || name.chars().count() > 64
        || name.contains(|c: char| c.is_control() || c.is_whitespace())
    {
        let fault = value.fault_of_key("this is no name for an upstream");
        value.reader().add(fault.help("expected 1 to 64 characters without blanks"));
    }
    let mut settings = UpstreamSettings {
        assertion: false,
        balance: Balance::RoundRobin,
        connect_timeout: Duration::from_secs(3),
        health: None,
        host: HostHeader::Preserve,
        http2: false,
        idle_timeout: Duration::from_secs(90),
        name,
        response_timeout: Duration::from_secs(60),
        servers: Vec::new(),
        tls: None,
    };
    if !value.is_mapping() {
        let servers: Vec<_> = read_server(*value).into_iter().collect();
        settings.tls = Tls::default().settings(&servers, false, of_the_system);
        settings.servers = servers.into_iter().map(|(_, server)| server).collect();
        return settings;
    }
    value.section(|section| {
        let mut servers = Vec::new();
        if let Some(list) = section.require("servers", SERVER) {
            let list = list.list_of_some("expected a list of servers such as `http://127.0.0.1:3000`");
            servers = list.into_iter().filter_map(read_server).collect();
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
        if let Some(value) = section.get("assertion") {
            settings.assertion = value.flag().unwrap_or(false);
            // The key is a secret of ours: who could verify with it could sign with it.
            if settings.assertion && algorithm == Algorithm::Hs256 {
                let fault = value.fault_of_key(
                    "`assertion` can't be with `tokens: { algorithm: HS256 }`: no upstream could verify it",
                );
                value.reader().add(fault.help("set `tokens: { algorithm: EdDSA }`, `ES256` or `RS256`"));
            }
        }
        settings.http2 = section.get("http2").and_then(|value| value.flag()).unwrap_or(false);
        let mut tls = Tls::default();
        if let Some(value) = section.get("tls") {
            tls = value.section(read_tls);
            let none_over_tls = !servers.iter().any(|(_, server)| tls_host(server).is_some());
            if none_over_tls && !servers.is_empty() && tls.says_something() {
                let warning = value.fault_of_key("`tls` has no effect: no server here is spoken to over TLS");
                value.reader().warn(warning.help("write `https://` before the servers that it is for"));
            }
        }
        settings.tls = tls.settings(&servers, settings.http2, of_the_system);
        settings.servers = servers.into_iter().map(|(_, server)| server).collect();
    });
    settings
}

/// A server, and where it stands.
fn read_server(value: Value<'_>) -> Option<(Value<'_>, Server)> {
    Some((value, value.parse(|raw| server(raw, value.reader()))?))
}

/// The host of a server that is spoken to over TLS.
fn tls_host(server: &Server) -> Option<&str> {
    match server {
        Server::Tcp { host, tls: true, .. } => Some(host),
        Server::Tcp { tls: false, .. } | Server::Unix(_) => None,
    }
}

/// What stands under `tls`.
#[derive(Default)]
struct Tls {
    authorities: Option<Authorities>,
    /// Something here is faulty, which has been said.
    faulty: bool,
    identity: Option<ClientIdentity>,
    server_name: Option<ServerName<'static>>,
}

fn read_tls(section: &mut Section<'_>) -> Tls {
    let mut tls = Tls::default();
    if let Some(value) = section.get("ca") {
        let pem = value.path().and_then(|path| read_pem(&value, &path).map(|pem| (path, pem)));
        tls.authorities = pem.and_then(|(path, pem)| match Authorities::from_pem(&pem) {
            Ok(authorities) => Some(authorities),
            Err(fault) => refuse_file(&value, &path, fault),
        });
        tls.faulty |= tls.authorities.is_none();
    }
    if let Some(value) = section.get("server_name") {
        let expected = Expected("a name or an address that the servers' certificates are for");
        tls.server_name = value.parse(|raw| server_name(raw).ok_or(expected));
        tls.faulty |= tls.server_name.is_none();
    }
    match (section.get("client_cert"), section.get("client_key")) {
        (None, None) => {}
        (Some(certificate), Some(key)) => {
            tls.identity = read_identity(&certificate, &key);
            tls.faulty |= tls.identity.is_none();
        }
        (Some(alone), None) => {
            let fault = alone.fault_of_key("`client_cert` stands without `client_key`");
            alone.reader().add(fault.help("expected the key's file beside it"));
            tls.faulty = true;
        }
        (None, Some(alone)) => {
            let fault = alone.fault_of_key("`client_key` stands without `client_cert`");
            alone.reader().add(fault.help("expected the certificate's file beside it"));
            tls.faulty = true;
        }
    }
    tls
}

fn read_identity(certificate: &Value<'_>, key: &Value<'_>) -> Option<ClientIdentity> {
    let certificate_path = certificate.path();
    // As every secret, it may be written `{ file: PATH }`.
    let key_path = match key.is_mapping() {
        true => key.section(|section| section.require("file", "expected the path of the key's file")?.path()),
        false => key.path(),
    };
    let certificate_pem = certificate_path.as_deref().and_then(|path| read_pem(certificate, path));
    let key_pem = key_path.as_deref().and_then(|path| read_pem(key, path)).map(Zeroizing::new);
    match ClientIdentity::from_pem(&certificate_pem?, &key_pem?) {
        Ok(identity) => Some(identity),
        Err(InvalidIdentity::Certificate(fault)) => refuse_file(certificate, &certificate_path?, fault),
        Err(InvalidIdentity::Key(fault)) => refuse_file(key, &key_path?, fault),
    }
}

impl Tls {
    fn says_something(&self) -> bool {
        self.authorities.is_some() || self.identity.is_some() || self.server_name.is_some()
    }

    /// `None` where no server is spoken to over TLS, or something is faulty.
    fn settings(
        &self,
        servers: &[(Value<'_>, Server)],
        http2: bool,
        of_the_system: &OfTheSystem,
    ) -> Option<Arc<UpstreamTls>> {
        let over_tls = || servers.iter().filter_map(|(value, server)| Some((value, tls_host(server)?)));
        for (value, host) in over_tls().filter(|(_, host)| server_name(host).is_none()) {
            if self.server_name.is_none() {
                let fault = value.fault(format!("no certificate can be for the name `{}`", quote(host)));
                value.reader().add(fault.help("set `tls: { server_name: ... }` to the name that it is for"));
            }
        }
        let (value, _) = over_tls().next().filter(|_| !self.faulty)?;
        let Some(authorities) = self.authorities.as_ref().or_else(|| of_the_system.as_ref()) else {
            let fault = value.fault("no server can be trusted: this machine has no root certificates");
            let help = "set `tls: { ca: FILE }`, or install the system's (in Debian: ca-certificates)";
            value.reader().add(fault.help(help));
            return None;
        };
        let name = self.server_name.clone();
        match UpstreamTls::new(authorities, self.identity.as_ref(), name, http2) {
            Ok(tls) => Some(Arc::new(tls)),
            Err(fault) => {
                value.reader().add(value.fault(format!("TLS can't be set up: `tls` {fault}")));
                None
            }
        }
    }
}

/// What a file holds.
fn read_pem(value: &Value<'_>, path: &Path) -> Option<Vec<u8>> {
    let why = match value.reader().read_file(path) {
        Ok(bytes) => return Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => "there is no such file".to_owned(),
        Err(error) => error.to_string(),
    };
    let fault = value.fault(format!("`{}` can't be read: {why}", path.display()));
    value.reader().add(fault.help("expected a PEM file; a relative path is relative to this file"));
    None
}

fn refuse_file<T>(value: &Value<'_>, path: &Path, fault: InvalidTls) -> Option<T> {
    let expected = match fault {
        InvalidTls::Certificate | InvalidTls::NoCertificate => {
            "expected `-----BEGIN CERTIFICATE-----` and what follows it"
        }
        InvalidTls::Key | InvalidTls::NoKey => {
            "expected an unencrypted key: `-----BEGIN PRIVATE KEY-----` and what follows it"
        }
        InvalidTls::Mismatch => "expected the key that the certificate was made for",
    };
    value.reader().add(value.fault(format!("`{}` {fault}", path.display())).help(expected));
    None
}

fn server(raw: &str, reader: &Reader<'_>) -> Result<Server, Expected> {
    if let Some(path) = raw.strip_prefix("unix:") {
        let path = reader.resolve(path);
        let bytes = path.as_os_str().as_encoded_bytes();
        // What the system takes as a socket's address ends there.
        let sound = raw != "unix:" && bytes.len() <= 107 && !bytes.iter().any(u8::is_ascii_control);
        return sound.then_some(Server::Unix(path)).ok_or(Expected("`unix:PATH`, of 107 bytes at most"));
    }
    // A server is an origin: scheme, host and port, and nothing behind them.
    let url: Origin = raw.parse().map_err(|_| {
        Expected("a server such as `http://127.0.0.1:3000`, `https://app:8443` or `unix:/run/app.sock`: no path and no user")
    })?;
    let host = url.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Server::Tcp { host, port: url.port(), tls: url.is_https() })
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
    fn a_server_is_a_host_and_a_port_or_a_socket() {
        let source = super::super::file::Source::new("test", "");
        let reader = Reader::new(&source, Path::new("/etc/foregate"), &|_| None, Vec::new());
        for (raw, host, port, tls) in [
            ("http://127.0.0.1:3000", "127.0.0.1", 3000, false),
            ("http://app", "app", 80, false),
            ("http://app/", "app", 80, false),
            ("http://[::1]:3000", "::1", 3000, false),
            ("http://my_app:3000", "my_app", 3000, false),
            ("https://app", "app", 443, true),
            ("https://[::1]:8443", "::1", 8443, true),
        ] {
            let expected = Server::Tcp { host: host.to_owned(), port, tls };
            assert_eq!(server(raw, &reader), Ok(expected), "{raw}");
        }
        for (raw, path) in [("unix:/run/a.sock", "/run/a.sock"), ("unix:a.sock", "/etc/foregate/a.sock")] {
            assert_eq!(server(raw, &reader), Ok(Server::Unix(path.into())), "{raw}");
        }
        let long = format!("unix:/{}", "a".repeat(107));
        for raw in [
            "",
            "127.0.0.1:3000",
            "http://",
            "ftp://a:1",
            "unix:",
            "unix:/a\tb",
            &long,
            "http://a/path",
            "http://u:p@a",
            "http://a?q",
            "http://a:0",
        ] {
            assert!(server(raw, &reader).is_err(), "{raw}");
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
