//! The sections that each become one room's settings, with the defaults of the contract.
//!
//! Callers: `config`. Upstreams, routes and identity headers have files of their own.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::thread::available_parallelism;
use std::time::Duration;

use super::fault::Fault;
use super::look;
use super::reader::{Reader, Section, Value};
use super::units::{
    Expected, InvalidListenAddress, Listen, ListenAddress, duration, duration_or_zero, network, rate, size,
};
use crate::authn::{
    Algorithm, CacheSettings, LoginLimits, Rate, SameSite, SessionSettings, TokenSettings, location,
};
use crate::identity::TokenErrors;
use crate::password::PasswordSettings;
use crate::portal::PortalSettings;
use crate::request::Limits;
use crate::request::{Origin, TrustedProxies};
use crate::route::{HostPattern, PathPattern, Segment};
use crate::telemetry::{LogFormat, LogSettings};

/// Of a Unix socket, unless another is set: whoever shares our group may connect.
const SOCKET_MODE: u32 = 0o660;

/// What the system takes as a socket's address ends here, and nobody could connect to it.
const SOCKET_PATH: usize = 107;
const TOO_LONG: &str = "expected a path of 107 bytes at most, this file's folder included";

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The addresses, and where they stand.
pub(super) fn listen<'a>(root: &mut Section<'a>) -> (Vec<Listen>, Option<Value<'a>>) {
    let Some(value) = root.get("listen") else {
        return (vec![Listen::Tcp(ListenAddress { host: "127.0.0.1".to_owned(), port: 8080 })], None);
    };
    let mut found: Vec<Listen> = Vec::new();
    let mut faulty = false;
    for value in value.one_or_more("expected at least one address, such as `127.0.0.1:8080`") {
        let listen = match value.is_mapping() {
            true => value.section(unix_socket),
            false => value.parse(|raw| address_to_listen_on(raw, value.reader())),
        };
        let Some(listen) = listen else {
            faulty = true;
            continue;
        };
        if found.iter().any(|known| is_same(known, &listen)) {
            value.refuse("it is there already");
        }
        found.push(listen);
    }
    // What can't be read might have been the address that others are made of.
    (if faulty { Vec::new() } else { found }, Some(value))
}

/// With port 0 each is another one. A Unix socket has one mode.
fn is_same(one: &Listen, other: &Listen) -> bool {
    match (one, other) {
        (Listen::Tcp(one), Listen::Tcp(other)) => one == other && one.port != 0,
        (Listen::Unix { path: one, .. }, Listen::Unix { path: other, .. }) => one == other,
        (Listen::Systemd, Listen::Systemd) => true,
        (Listen::Systemd | Listen::Tcp(_) | Listen::Unix { .. }, _) => false,
    }
}

/// `{ unix: PATH, mode: "0660" }`
fn unix_socket(section: &mut Section<'_>) -> Option<Listen> {
    let path = section.require("unix", "expected the path of a socket, such as `/run/foregate/http.sock`");
    let path = path.and_then(|value| socket_path(&value));
    let mode = section.get("mode").and_then(|value| value.parse(file_mode));
    Some(Listen::Unix { mode: mode.unwrap_or(SOCKET_MODE), path: path? })
}

fn address_to_listen_on(raw: &str, reader: &Reader<'_>) -> Result<Listen, String> {
    match raw.strip_prefix("unix:") {
        Some(path) if path.is_empty() || path.contains(char::is_control) => {
            Err(InvalidListenAddress.to_string())
        }
        Some(path) => match reader.resolve(path) {
            path if path.as_os_str().len() > SOCKET_PATH => Err(TOO_LONG.to_owned()),
            path => Ok(Listen::Unix { mode: SOCKET_MODE, path }),
        },
        None if raw == "systemd" => Ok(Listen::Systemd),
        None => raw.parse().map(Listen::Tcp).map_err(|error: InvalidListenAddress| error.to_string()),
    }
}

fn socket_path(value: &Value<'_>) -> Option<PathBuf> {
    let path = value.path()?;
    if path.as_os_str().len() > SOCKET_PATH {
        value.refuse(TOO_LONG);
    }
    Some(path)
}

/// `0660`, as `chmod` takes it.
fn file_mode(raw: &str) -> Result<u32, Expected> {
    let digits = (3..=4).contains(&raw.len()) && raw.bytes().all(|byte| byte.is_ascii_digit());
    let mode = u32::from_str_radix(raw, 8).ok().filter(|mode| digits && *mode <= 0o777);
    mode.ok_or(Expected("a file mode in quotes, such as `\"0660\"`"))
}

pub(super) fn public_url(
    root: &mut Section<'_>,
    listen: &[Listen],
    listen_value: Option<Value<'_>>,
    over_tls: bool,
) -> Option<Origin> {
    let value = root.get("public_url");
    let url = match &value {
        Some(value) => value.parse(Origin::from_str)?,
        None => match listen.iter().find_map(|listen| match listen {
            Listen::Tcp(address) => Some(address),
            Listen::Systemd | Listen::Unix { .. } => None,
        }) {
            Some(address) if over_tls => Origin::https(&address.host, address.port),
            Some(address) => Origin::http(&address.host, address.port),
            None => {
                // Only a faulty `listen` leaves nothing, and then there was a fault.
                let place = listen_value.filter(|_| !listen.is_empty())?;
                let fault = place.fault("`public_url` is missing: no address of `listen` tells it");
                place.reader().add(fault.help("set it to the origin that browsers use"));
                return None;
            }
        },
    };
    if let Some(value) = value.filter(|_| over_tls && !url.is_https()) {
        value.refuse("expected `https://` and a host: with `tls` browsers come over https");
        return None;
    }
    let open = listen.iter().any(|listen| !listen.is_local());
    if let Some(place) = value.or(listen_value).filter(|_| open && !url.is_https()) {
        let message = "passwords and sessions travel unencrypted: `public_url` is plain http, and `listen` is open to other machines";
        let warning = place.fault(message);
        place.reader().warn(warning.help("set `public_url` to the https origin that browsers use"));
    }
    Some(url)
}

pub(super) fn trusted_proxies(root: &mut Section<'_>) -> TrustedProxies {
    let values = root.get("trusted_proxies").map(|value| value.list()).unwrap_or_default();
    let networks = values.iter().filter_map(|value| Some((value, value.parse(network)?)));
    let (values, networks): (Vec<&Value<'_>>, Vec<_>) = networks.unzip();
    if let Some(at) = networks.iter().position(|network| network.prefix_len() == 0) {
        let warning =
            values[at].fault("everybody is a trusted proxy: any client can say who and where it is");
        root.reader().warn(warning.help("list the addresses of your proxies alone"));
    }
    TrustedProxies(networks)
}

/// Whether connections of trusted proxies begin with a PROXY header.
pub(super) fn proxy_protocol(root: &mut Section<'_>, trusted: &TrustedProxies) -> bool {
    let Some(value) = root.get("proxy_protocol") else { return false };
    let is_on = value.flag().unwrap_or(false);
    if is_on && trusted.0.is_empty() {
        let warning = value.fault("no connection begins with a PROXY header: `trusted_proxies` is empty");
        root.reader().warn(warning.help("list the addresses of your proxies under `trusted_proxies`"));
    }
    is_on
}

/// The folder, and the fault of changing it while it is in use.
pub(super) fn store(root: &mut Section<'_>) -> (PathBuf, Fault) {
    let default = root.reader().resolve("data");
    let value = root.get("store");
    let fixed = fixed(root, value, "store");
    let Some(value) = value else { return (default, fixed) };
    let directory = value.parse(|raw| match raw.split_once(':') {
        Some(("sled", directory)) if !directory.is_empty() && !directory.contains(char::is_control) => {
            Ok(directory.to_owned())
        }
        Some(("mysql" | "mariadb" | "postgres" | "postgresql", _)) => {
            Err(Expected("`sled:DIRECTORY`: databases are not supported yet"))
        }
        Some(_) | None => Err(Expected("`sled:DIRECTORY`, such as `sled:./data`")),
    });
    (directory.map_or(default, |directory| value.reader().resolve(&directory)), fixed)
}

pub(super) fn portal(root: &mut Section<'_>) -> PortalSettings {
    root.section("portal", |portal| {
        let prefix = portal.get("prefix").and_then(|value| value.parse(prefix));
        let prefix = prefix.unwrap_or_else(|| "/.auth".to_owned());
        let look = look::read(portal);
        let after_login = portal.get("after_login").and_then(|value| value.parse(local_path));
        let after_logout = portal.get("after_logout").and_then(|value| value.parse(local_path));
        let hosts = portal.get("allowed_redirects").and_then(|value| value.parse_list(HostPattern::from_str));
        let account_deletion = portal.get("account_deletion").and_then(|value| value.flag());
        PortalSettings {
            account_deletion: account_deletion.unwrap_or(false),
            after_login: after_login.unwrap_or_else(|| "/".to_owned()),
            after_logout: after_logout.unwrap_or_else(|| format!("{prefix}/login")),
            allowed_redirects: hosts.unwrap_or_default(),
            look,
            prefix,
        }
    })
}

pub(super) fn session(root: &mut Section<'_>, public_url: Option<&Origin>) -> SessionSettings {
    root.section("session", |session| {
        let idle_timeout = session.get("idle_timeout").and_then(|value| value.parse(duration));
        let lifetime = session.get("lifetime").and_then(|value| value.parse(duration));
        let remember = session.get("remember").and_then(|value| value.parse(duration_or_zero));
        let (name, domain, same_site) =
            session.section("cookie", |cookie| cookie_settings(cookie, public_url));
        let secure = public_url.is_some_and(Origin::is_https);
        let prefix = match (secure, &domain) {
            (true, None) => "__Host-",
            (true, Some(_)) => "__Secure-",
            (false, _) => "",
        };
        SessionSettings {
            cookie_domain: domain,
            cookie_name: format!("{prefix}{name}"),
            idle_timeout: idle_timeout.unwrap_or(HOUR),
            lifetime: lifetime.unwrap_or(DAY),
            remember: Some(remember.unwrap_or(30 * DAY)).filter(|remember| !remember.is_zero()),
            same_site,
            secure,
        }
    })
}

fn cookie_settings(
    cookie: &mut Section<'_>,
    public_url: Option<&Origin>,
) -> (String, Option<String>, SameSite) {
    let name = cookie.get("name").and_then(|value| {
        let name = value.parse(cookie_name)?;
        if location::COOKIES.contains(&name.as_str()) {
            value.refuse("expected another name: tokens are kept in a cookie of this one");
        }
        Some(name)
    });
    let domain = cookie.get("domain").and_then(|value| {
        let domain = value.parse(cookie_domain)?;
        // A browser drops a cookie for a domain that its page isn't in, and nobody could sign in.
        let host = public_url?.host();
        let within = host.strip_suffix(&domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        if !within {
            value.refuse("expected a domain that the host of `public_url` is in");
        }
        Some(domain)
    });
    let words = [("lax", SameSite::Lax), ("strict", SameSite::Strict), ("none", SameSite::None)];
    let same_site = cookie.get("same_site").and_then(|value| {
        let same_site = value.word(&words)?;
        if same_site == SameSite::None && public_url.is_some_and(|url| !url.is_https()) {
            value.refuse(
                "browsers take `none` over https alone: expected `lax` or `strict`, or an https `public_url`",
            );
        }
        Some(same_site)
    });
    (name.unwrap_or_else(|| "foregate".to_owned()), domain, same_site.unwrap_or(SameSite::Lax))
}

pub(super) fn cache(root: &mut Section<'_>) -> CacheSettings {
    root.section("cache", |cache| CacheSettings {
        capacity: cache.get("capacity").and_then(|value| value.number(1..=100_000_000)).unwrap_or(100_000),
        ttl: cache.get("ttl").and_then(|value| value.parse(duration)).unwrap_or(Duration::from_secs(30)),
    })
}

pub(super) fn password(root: &mut Section<'_>) -> PasswordSettings {
    // OWASP's weakest choice has 7 MiB; the contract refuses hashes beyond 1 GiB.
    let memory = |raw: &str| bounded(raw, 7 << 20..=1 << 30, "a size from `7MiB` to `1GiB`");
    let cores = available_parallelism().map_or(1, std::num::NonZero::get);
    root.section("password", |password| {
        let min_length = password.get("min_length").and_then(|value| value.number(8..=1024));
        let min_score = password.get("min_score").and_then(|value| value.number(0..=4));
        let workers = password.get("workers").and_then(|value| value.number(1..=1024));
        let (memory, iterations, parallelism) = password.section("argon2", |argon2| {
            (
                argon2.get("memory").and_then(|value| value.parse(memory)).unwrap_or(19 << 20),
                argon2.get("iterations").and_then(|value| value.number(1..=100)).unwrap_or(2),
                argon2.get("parallelism").and_then(|value| value.number(1..=16)).unwrap_or(1),
            )
        });
        // Memory times passes of OWASP's choices: 46 MiB once, 19 twice, 12 three times, 9 four times, 7 five times.
        if memory.saturating_mul(iterations) < 35 << 20 {
            let warning = password.fault("these Argon2id costs are below what OWASP advises");
            password
                .reader()
                .warn(warning.help("memory times iterations: 35 MiB at least, such as 19MiB and 2"));
        }
        PasswordSettings {
            iterations: narrow(iterations),
            memory_kib: narrow(memory / 1024),
            min_length: usize::try_from(min_length.unwrap_or(8)).unwrap_or(usize::MAX),
            min_score: min_score.and_then(|score| u8::try_from(score).ok()).unwrap_or(3),
            parallelism: narrow(parallelism),
            workers: workers
                .map_or_else(|| cores.saturating_sub(1).max(1), |workers| narrow(workers) as usize),
        }
    })
}

/// Our own tokens.
pub(super) fn tokens(root: &mut Section<'_>, public_url: Option<&Origin>) -> TokenSettings {
    let origin = || public_url.map(ToString::to_string).unwrap_or_default();
    let algorithms = [
        ("EdDSA", Algorithm::EdDsa),
        ("ES256", Algorithm::Es256),
        ("RS256", Algorithm::Rs256),
        ("HS256", Algorithm::Hs256),
    ];
    root.section("tokens", |tokens| {
        let keys = tokens.get("keys").map(|list| super::tokens::own_keys(&list)).unwrap_or_default();
        let algorithm_value = tokens.get("algorithm");
        let algorithm = algorithm_value.and_then(|value| value.word(&algorithms));
        if let (Some(value), Some(algorithm), Some(first)) = (algorithm_value, algorithm, keys.first())
            && algorithm != first.algorithm
        {
            let message = format!("the first of `keys` signs with {}, not with {algorithm}", first.algorithm);
            value.reader().add(value.fault(message).help("leave `algorithm` out: the key says it"));
        }
        let errors = [("problem", TokenErrors::Problem), ("flask", TokenErrors::Flask)];
        TokenSettings {
            errors: tokens.get("errors").and_then(|value| value.word(&errors)).unwrap_or_default(),
            issuer: tokens.get("issuer").and_then(|value| value.line(500)).unwrap_or_else(origin),
            audience: tokens.get("audience").and_then(|value| value.line(500)).unwrap_or_else(origin),
            cookies: tokens.get("cookies").and_then(|value| value.flag()).unwrap_or(false),
            algorithm: keys.first().map(|own| own.algorithm).or(algorithm).unwrap_or(Algorithm::EdDsa),
            keys,
            access_ttl: tokens
                .get("access_ttl")
                .and_then(|value| value.parse(duration))
                .unwrap_or(15 * MINUTE),
            key_rotation: Some(tokens.get("key_rotation").and_then(|value| value.parse(rotation)))
                .map(|rotation| rotation.unwrap_or(90 * DAY))
                .filter(|rotation| !rotation.is_zero()),
            refresh_grace: tokens
                .get("refresh_grace")
                .and_then(|value| value.parse(grace))
                .unwrap_or(Duration::from_secs(10)),
            refresh_ttl: Some(tokens.get("refresh_ttl").and_then(|value| value.parse(duration_or_zero)))
                .map(|ttl| ttl.unwrap_or(30 * DAY))
                .filter(|ttl| !ttl.is_zero()),
        }
    })
}

/// The limits, those of failed logins, and how many registrations (and as many links by mail) one source gets.
pub(super) fn limits(root: &mut Section<'_>) -> (Limits, LoginLimits, Rate) {
    let header_bytes = |raw: &str| bounded(raw, 8 << 10..=1 << 20, "a size from `8KiB` to `1MiB`");
    let per = |count| Rate { count, period: 15 * MINUTE };
    root.section("limits", |limits| {
        let login = limits.section("login", |login| LoginLimits {
            per_account: login.get("per_account").and_then(|value| value.parse(rate)).unwrap_or(per(10)),
            per_ip: login.get("per_ip").and_then(|value| value.parse(rate)).unwrap_or(per(100)),
        });
        let registration = limits.get("registration").and_then(|value| value.parse(rate));
        let registration = registration.unwrap_or(Rate { count: 100, period: HOUR });
        let mut timeout = |key, default| {
            let timeout = limits.get(key).and_then(|value| value.parse(duration));
            timeout.unwrap_or(Duration::from_secs(default))
        };
        let (header_timeout, idle_timeout) = (timeout("header_timeout", 10), timeout("idle_timeout", 75));
        let drain_timeout = timeout("drain_timeout", 30);
        let mut number = |key, range: RangeInclusive<u64>, default| {
            let number = limits.get(key).and_then(|value| value.number(range));
            number.map_or(default, |number| narrow(number) as usize)
        };
        let connections = number("connections", 1..=1_000_000, 10_000);
        let headers = number("headers", 10..=10_000, 100);
        let per_ip = limits.get("connections_per_ip").and_then(|value| value.number(1..=1_000_000));
        let drain_delay = limits.get("drain_delay").and_then(|value| value.parse(duration_or_zero));
        let header_bytes = limits.get("header_bytes").and_then(|value| value.parse(header_bytes));
        let limits = Limits {
            body_bytes: limits.get("body").and_then(|value| value.parse(size)),
            connections,
            connections_per_ip: per_ip.map(|number| narrow(number) as usize),
            drain_timeout,
            drain_delay: drain_delay.unwrap_or(Duration::ZERO),
            header_bytes: header_bytes.map_or(32 << 10, |bytes| narrow(bytes) as usize),
            header_timeout,
            headers,
            idle_timeout,
        };
        (limits, login, registration)
    })
}

/// Where orders are taken, and the fault of changing that while they are.
pub(super) fn admin_socket(admin: &mut Section<'_>, store: &std::path::Path) -> (PathBuf, Fault) {
    let value = admin.get("socket");
    let socket = value.and_then(|value| socket_path(&value));
    (socket.unwrap_or_else(|| store.join("admin.sock")), fixed(admin, value, "admin.socket"))
}

/// Where metrics and health are told, and the fault of changing that. `listen` is where clients come in.
pub(super) fn admin_listen(admin: &mut Section<'_>, listen: &[Listen]) -> (Option<ListenAddress>, Fault) {
    let value = admin.get("listen");
    let address = value.and_then(|value| watched_address(&value, listen));
    (address, fixed(admin, value, "admin.listen"))
}

fn watched_address(value: &Value<'_>, listen: &[Listen]) -> Option<ListenAddress> {
    let expected = Expected("an address with a port, such as `127.0.0.1:9180`");
    let address = value.parse(|raw| ListenAddress::from_str(raw).map_err(|_| expected))?;
    if address.port != 0 && listen.contains(&Listen::Tcp(address.clone())) {
        value.refuse("expected another address than those of `listen`, such as `127.0.0.1:9180`");
    }
    // An address of one's own choice is meant; all of them are where the clients come in, too.
    if address.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified()) {
        let warning = value.fault(
            "metrics are told to whoever reaches this machine: the names of routes and upstreams, and how they are used",
        );
        value.reader().warn(
            warning.help("listen on one address that Prometheus alone reaches, such as `127.0.0.1:9180`"),
        );
    }
    Some(address)
}

/// For a key that a running process can't change.
fn fixed(section: &Section<'_>, value: Option<Value<'_>>, key: &str) -> Fault {
    let message = format!("`{key}` can't change while Foregate runs");
    let fault = match value {
        Some(value) => value.fault(message),
        None => section.fault(message),
    };
    fault.help("restart it, or leave this as it was")
}

/// The log, the file of the audit trail, and the fault of changing the log's form while it is written.
pub(super) fn log(root: &mut Section<'_>) -> (LogSettings, Option<PathBuf>, Fault) {
    use tracing::Level;
    let levels = [
        ("error", Level::ERROR),
        ("warn", Level::WARN),
        ("info", Level::INFO),
        ("debug", Level::DEBUG),
        ("trace", Level::TRACE),
    ];
    let formats = [("auto", LogFormat::Auto), ("pretty", LogFormat::Pretty), ("json", LogFormat::Json)];
    root.section("log", |log| {
        let format = log.get("format");
        let settings = LogSettings {
            format: format.and_then(|value| value.word(&formats)).unwrap_or(LogFormat::Auto),
            level: log.get("level").and_then(|value: Value<'_>| value.word(&levels)).unwrap_or(Level::INFO),
        };
        let audit = log.get("audit").and_then(|value| value.path());
        (settings, audit, fixed(log, format, "log.format"))
    })
}

/// A key is published for minutes before it signs, and looked after every few minutes.
fn rotation(raw: &str) -> Result<Duration, Expected> {
    let expected = Expected("a time of at least `1h`, such as `90d`; `0` for never");
    duration_or_zero(raw).ok().filter(|rotation| rotation.is_zero() || *rotation >= HOUR).ok_or(expected)
}

/// For clients that race themselves; longer, and a stolen token would be of use for as long.
fn grace(raw: &str) -> Result<Duration, Expected> {
    let expected = Expected("a time of at most `5m`, such as `10s`; `0` for none");
    duration_or_zero(raw).ok().filter(|grace| *grace <= 5 * MINUTE).ok_or(expected)
}

fn bounded(raw: &str, range: RangeInclusive<u64>, expected: &'static str) -> Result<u64, Expected> {
    size(raw).ok().filter(|size| range.contains(size)).ok_or(Expected(expected))
}

/// For numbers that were read within a range of which every value fits.
fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn prefix(raw: &str) -> Result<String, Expected> {
    plain_path(raw).ok_or(Expected(
        "a path such as `/.auth`: letters, digits, `.`, `_`, `~` and `-`, and no `/` at the end",
    ))
}

/// A path that every reader takes for itself, and that nobody has a reason to write in another way.
pub(super) fn plain_path(raw: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._~-".contains(c);
    let pattern: PathPattern = raw.parse().ok()?;
    let literal = |segment: &Segment| match segment {
        Segment::Any => false,
        Segment::Literal(text) => text.chars().all(plain),
    };
    let sound = !pattern.any_depth && !pattern.segments.is_empty() && pattern.segments.iter().all(literal);
    sound.then(|| raw.to_owned())
}

/// A path that a browser can't take for another origin.
fn local_path(raw: &str) -> Result<String, Expected> {
    let sound = raw.starts_with('/')
        && !raw.starts_with("//")
        && raw.len() <= 2048
        && raw.chars().all(|c| c.is_ascii_graphic() && c != '\\');
    sound.then(|| raw.to_owned()).ok_or(Expected("a path on this origin, such as `/` or `/home`"))
}

fn cookie_name(raw: &str) -> Result<String, Expected> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    // The prefixes `__Host-` and `__Secure-` come by themselves where they hold.
    let sound = (1..=64).contains(&raw.len()) && raw.chars().all(token) && !raw.starts_with("__");
    sound.then(|| raw.to_owned()).ok_or(Expected("a cookie's name such as `foregate`, without a `__` prefix"))
}

fn cookie_domain(raw: &str) -> Result<String, Expected> {
    let expected = Expected("a domain such as `example.com`");
    match raw.parse() {
        Ok(HostPattern::Exact(domain))
            if domain.parse::<std::net::IpAddr>().is_err() && !domain.starts_with('[') =>
        {
            Ok(domain)
        }
        Ok(HostPattern::Exact(_) | HostPattern::Under(_)) | Err(_) => Err(expected),
    }
}
