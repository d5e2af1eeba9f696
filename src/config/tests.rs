//! The configuration as its reader meets it: what is read, and what a faulty file is told.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::policy::Policy;
use crate::proxy::Balance;
use crate::route::HeaderEdit;

mod faults;
mod issuers;
mod schema;
mod tls;

const REFERENCE: &str = include_str!("../../config/foregate.yaml");
const MINIMAL: &str = "upstreams: { app: http://127.0.0.1:3000 }\nroutes: [{ path: /**, upstream: app }]\n";

fn environment(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("9000".to_owned()),
        "SECRET" => Some("hunter2/x".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn parse(text: &str) -> Result<Config, Faults> {
    Config::parse(text, "foregate.yaml", &environment, Path::new("/etc/foregate"))
}

fn sound(text: &str) -> Config {
    parse(text).unwrap_or_else(|faults| panic!("{faults}"))
}

/// The minimal file with this before it.
fn with(head: &str) -> String {
    format!("{head}\n{MINIMAL}")
}

/// That the file is refused in exactly these lines.
#[track_caller]
fn told(text: &str, lines: &[&str]) {
    match parse(text) {
        Ok(_) => panic!("this is sound:\n{text}"),
        Err(faults) => assert_eq!(faults.to_string(), lines.join("\n"), "\n{text}"),
    }
}

#[test]
fn another_proxy_may_do_all_the_forwarding() {
    let text = "upstreams: {}\nroutes: [{ path: /** }]\n";
    let config =
        Config::parse(text, "foregate.yaml", &|_| None, std::path::Path::new("/")).expect("it is sound");
    assert_eq!((config.upstreams.len(), config.routes.len()), (0, 1));
}

#[test]
fn the_reference_says_the_defaults() {
    let (reference, minimal) = (sound(REFERENCE), sound(MINIMAL));
    // Where the two are to differ: mail, upstreams and routes are examples there.
    let common =
        |config: Config| format!("{:?}", Config { mail: None, routes: vec![], upstreams: vec![], ..config });
    assert!(reference.mail.is_some());
    assert_eq!(reference.upstreams.len(), 2);
    assert_eq!(reference.routes.len(), 5);
    assert_eq!(common(reference.clone()), common(minimal));
    let [app, api] = &reference.upstreams[..] else { panic!("two upstreams") };
    assert_eq!(
        (app.connect_timeout, app.response_timeout, app.idle_timeout, &app.host),
        (api.connect_timeout, api.response_timeout, api.idle_timeout, &api.host)
    );
}

#[test]
fn every_key_of_the_reference_is_read() {
    // Each line that sets a key is made to set another one, which has to be noticed.
    for (number, line) in REFERENCE.lines().enumerate() {
        let code = line.trim_start().trim_start_matches("- ");
        let chosen_names = ["Remote-", "app:", "api:"];
        if code.is_empty() || code.starts_with('#') || chosen_names.iter().any(|name| code.starts_with(name))
        {
            continue;
        }
        let broken = line.replacen(code, &format!("zz{code}"), 1);
        let text: Vec<&str> =
            REFERENCE.lines().enumerate().map(|(n, l)| if n == number { &broken } else { l }).collect();
        let faults = parse(&text.join("\n")).map(|_| ()).expect_err(line);
        assert!(faults.iter().any(|fault| fault.message().starts_with("unknown key `zz")), "{faults}");
    }
}

#[test]
fn checks_are_off_unless_asked_for_and_say_their_path_alone() {
    let upstream = |keys: &str| {
        let text = format!(
            "upstreams: {{ app: {{ servers: [http://a:1]{keys} }} }}\nroutes: [{{ path: /, upstream: app }}]\n"
        );
        sound(&text).upstreams.remove(0)
    };
    let app = upstream("");
    assert_eq!((app.balance, app.health), (Balance::RoundRobin, None));
    let health = upstream(", health: { path: /up }").health.expect("checks");
    assert_eq!(
        (health.interval, health.unhealthy_after, health.healthy_after),
        (Duration::from_secs(5), 3, 1)
    );
    let app = upstream(
        ", balance: client_ip, health: { path: '/up?x', interval: 1m, unhealthy_after: 2, healthy_after: 4 }",
    );
    let health = app.health.expect("checks");
    assert_eq!(app.balance, Balance::ClientIp);
    assert_eq!(health.path, "/up?x");
    assert_eq!(
        (health.interval, health.unhealthy_after, health.healthy_after),
        (Duration::from_secs(60), 2, 4)
    );
    assert_eq!(upstream(", balance: least_requests").balance, Balance::LeastRequests);
}

#[test]
fn what_is_written_is_what_is_meant() {
    let config = sound(&with(
        "listen: ['127.0.0.1:0', '[::1]:80', systemd, 'unix:run/a.sock', { unix: /b.sock, mode: '0600' }]\n\
         proxy_protocol: true\n\
         public_url: https://Login.Example.com/\n\
         trusted_proxies: [10.0.0.0/8, '::1']\n\
         store: sled:/var/lib/foregate\n\
         portal: { prefix: /-/login, allowed_redirects: ['*.example.com'] }\n\
         session: { remember: 0, cookie: { name: gate, domain: example.com, same_site: none } }\n\
         password: { argon2: { memory: 64MiB }, workers: 3 }\n\
         tokens: { audience: api, algorithm: HS256 }\n\
         limits: { login: { per_ip: 5/1m }, body: 10MB, headers: '${PORT}', connections_per_ip: 20, drain_timeout: 5m, drain_delay: 5s }\n\
         admin: { socket: run/admin.sock, listen: 'localhost:9180' }\n\
         log: { level: debug, format: json }",
    ));
    assert_eq!(
        config.listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["127.0.0.1:0", "[::1]:80", "systemd", "unix:/etc/foregate/run/a.sock", "unix:/b.sock"]
    );
    assert!(matches!(
        config.listen[3..],
        [Listen::Unix { mode: 0o660, .. }, Listen::Unix { mode: 0o600, .. }]
    ));
    assert_eq!((config.proxy_protocol, config.limits.drain_delay), (true, Duration::from_secs(5)));
    assert_eq!(config.public_url.to_string(), "https://login.example.com");
    assert_eq!(config.store, Path::new("/var/lib/foregate"));
    assert_eq!(config.portal.after_logout, "/-/login/login");
    assert_eq!(config.session.cookie_name, "__Secure-gate");
    assert_eq!(config.session.remember, None);
    assert!(config.session.secure);
    assert_eq!((config.password.memory_kib, config.password.workers), (64 * 1024, 3));
    assert_eq!(
        (config.tokens.audience.as_str(), config.tokens.issuer.as_str()),
        ("api", "https://login.example.com")
    );
    assert_eq!(config.login_limits.per_ip.period, Duration::from_secs(60));
    assert_eq!((config.limits.body_bytes, config.limits.headers), (Some(10_000_000), 9000));
    assert_eq!(config.limits.connections_per_ip, Some(20));
    assert_eq!(config.limits.drain_timeout, Duration::from_secs(300));
    assert_eq!(config.admin_socket, Path::new("/etc/foregate/run/admin.sock"));
    assert_eq!(config.admin_listen.map(|address| address.to_string()).as_deref(), Some("localhost:9180"));
    assert_eq!(config.warnings, []);
    assert_eq!(sound(&with("public_url: https://a.test")).session.cookie_name, "__Host-foregate");
}

#[test]
fn a_route_s_headers_are_texts_variables_files_and_removals() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("token"), "Bearer s3cret\r\n").expect("written");
    let text = "upstreams: { app: http://a:1 }
routes:
  - path: /**
    strip_prefix:
    headers:
      X-Tenant: blue
      X-Secret: \"${SECRET}\"
      X-Empty: \"\"
      Authorization: { file: token }
      Cookie:
      Accept-Language: ~
    response_headers: { Server: null, Cache-Control: no-store }
";
    let config = Config::parse(text, "foregate.yaml", &environment, folder.path());
    let config = config.unwrap_or_else(|faults| panic!("{faults}"));
    let [route] = &config.routes[..] else { panic!("one route") };
    assert_eq!(route.rewrite, None);
    let shown = |edits: &[HeaderEdit]| {
        let value =
            |edit: &HeaderEdit| edit.value.as_ref().map(|value| value.to_str().expect("text").to_owned());
        edits.iter().map(|edit| (edit.name.to_string(), value(edit))).collect::<Vec<_>>()
    };
    let set = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
    let removed = |name: &str| (name.to_owned(), None);
    assert_eq!(
        shown(&route.headers),
        [
            set("x-tenant", "blue"),
            set("x-secret", "hunter2/x"),
            set("x-empty", ""),
            set("authorization", "Bearer s3cret"),
            removed("cookie"),
            removed("accept-language"),
        ]
    );
    assert_eq!(shown(&route.response_headers), [removed("server"), set("cache-control", "no-store")]);
    let printed = format!("{config:?}");
    assert!(!printed.contains("s3cret") && !printed.contains("hunter2"), "{printed}");
}

#[test]
fn null_is_as_good_as_absent() {
    let nothing =
        "listen: null\npublic_url:\ntrusted_proxies: ~\nsession: { cookie: null, idle_timeout: null }\nlog:";
    assert_eq!(format!("{:?}", sound(&with(nothing))), format!("{:?}", sound(MINIMAL)));
}

#[test]
fn an_empty_list_in_require_asks_for_nothing() {
    for (require, policy) in [
        ("{}", Policy::Authenticated),
        ("{ roles: [], users: [], email_domains: [], networks: [] }", Policy::Authenticated),
        ("null", Policy::Authenticated),
    ] {
        let text = format!("upstreams: {{ a: http://a }}\nroutes: [{{ path: /, require: {require} }}]\n");
        assert_eq!(sound(&text).routes[0].policy, policy, "{require}");
    }
    let text = "upstreams: { a: http://a }\nroutes: [{ path: /, require: { users: [Bob], roles: [] } }]\n";
    let Policy::Require(requirements) = &sound(text).routes[0].policy else { panic!("requires a user") };
    assert_eq!(requirements.users, Some(["bob".to_owned()].into()));
    assert_eq!(requirements.roles, None);
}

#[test]
fn a_route_for_sub_requests_alone_hides_a_later_one_too() {
    let text = "upstreams: { a: http://a }\nroutes: [{ path: /** }, { path: /a, upstream: a }]\n";
    let faults = Config::parse(text, "foregate.yaml", &|_| None, Path::new("")).expect_err("a hidden route");
    assert!(faults.to_string().contains("no request reaches this route"), "{faults}");
}

#[test]
fn what_is_unwise_is_a_warning() {
    for (head, message) in [
        (
            "trusted_proxies: [0.0.0.0/0]",
            "everybody is a trusted proxy: any client can say who and where it is",
        ),
        (
            "listen: 0.0.0.0:80",
            "passwords and sessions travel unencrypted: `public_url` is plain http, and `listen` is open to other machines",
        ),
        (
            "admin: { listen: '[::]:9180' }",
            "metrics are told to whoever reaches this machine: the names of routes and upstreams, and how they are used",
        ),
        ("proxy_protocol: true", "no connection begins with a PROXY header: `trusted_proxies` is empty"),
        ("password: { argon2: { iterations: 1 } }", "these Argon2id costs are below what OWASP advises"),
    ] {
        let config = sound(&with(head));
        assert_eq!(config.warnings.iter().map(Fault::message).collect::<Vec<_>>(), [message]);
    }
}

#[test]
fn a_file_that_can_not_be_read_is_told_in_one_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = |path: &Path| Config::load(path).map(|_| ()).expect_err("a fault").to_string();
    let gone = folder.path().join("gone.yaml");
    assert_eq!(told(&gone), format!("{}: there is no such file", gone.display()));
    let directory = folder.path().display();
    assert_eq!(told(folder.path()), format!("{directory}: is a directory, not a configuration file"));
    for (content, message) in [
        (b"a: b\n\xff".to_vec(), "is not UTF-8 text: line 2 has other bytes"),
        (vec![b' '; (1 << 20) + 1], "is larger than 1 MiB, which no configuration is"),
        (Vec::new(), "is empty: `upstreams` and `routes` are required"),
    ] {
        let path = folder.path().join("foregate.yaml");
        std::fs::write(&path, content).expect("written");
        assert_eq!(told(&path), format!("{}: {message}", path.display()));
    }
    let path = folder.path().join("foregate.yaml");
    std::fs::write(&path, format!("\u{feff}{MINIMAL}")).expect("written");
    let config = Config::load(&path).expect("sound, with a byte order mark");
    assert_eq!(config.store, folder.path().join("data"), "relative to the file");
}

#[test]
fn hostile_files_are_refused_in_a_moment() {
    let many = |piece: &str, count: usize| with(&piece.repeat(count));
    let started = std::time::Instant::now();
    for text in [
        many("[", 200_000),
        many("a: {", 200_000),
        many("- ", 200_000),
        many("? ", 200_000),
        (0..50_000).map(|n| format!("key{n}: 1\n")).collect(),
        format!("upstreams: {{ a: http://a }}\nroutes:\n{}", "- { path: /a, upstream: b }\n".repeat(30_000)),
        format!("upstreams: {{ a: http://a }}\nroutes:\n{}", "- { path: /a, upstream: b }\n".repeat(4_000)),
        format!(
            "upstreams: {{ {0}a: http://a }}\nroutes: [{{ path: /, upstream: {0}b }}]\n{0}: 1\n",
            "x".repeat(200_000)
        ),
        // All in one line, which must not be walked once for each fault.
        with(&format!("trusted_proxies: [{}]", "x, ".repeat(100_000))),
        with(&format!("trusted_proxies: [{}x]", "::/0, ".repeat(100_000))),
        with(&format!("log: {{ {} }}", "a: 1, ".repeat(100_000))),
        with(&format!("cache: [{}]", "&a 1, ".repeat(100_000))),
        (0..9).fold("x: &x0 [a]\n".to_owned(), |text, n| {
            format!("{text}y{n}: &x{} [{}]\n", n + 1, format!("*x{n}, ").repeat(9))
        }),
    ] {
        assert!(parse(&text).is_err());
    }
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        let _ = parse(&text).map_err(|faults| faults.to_string());
    }

    #[test]
    fn no_yaml_like_text_makes_it_panic(text in "([a-c:\\[\\]{}&*!|>'\"%@`#?,\\-~ \r\n\t\u{0}\u{85}\u{2028}é${}]|routes:|path: |upstreams:|\n  ){0,80}") {
        let _ = parse(&text).map_err(|faults| faults.to_string());
    }

    #[test]
    fn no_edit_of_the_reference_makes_it_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), "[ -~\n\té]{0,3}"), 1..6)
    ) {
        let mut text: Vec<char> = REFERENCE.chars().collect();
        for (from, length, put) in edits {
            let from = from.index(text.len());
            let end = (from + length.index(20)).min(text.len());
            text.splice(from..end, put.chars());
        }
        let _ = parse(&text.iter().collect::<String>()).map_err(|faults| faults.to_string());
    }

    #[test]
    fn every_fault_has_a_place_in_the_file(line in 0..200_usize, put in "[a-z:{} ]{1,6}") {
        let mut lines: Vec<&str> = REFERENCE.lines().collect();
        let line = line % lines.len();
        lines[line] = &put;
        if let Err(faults) = parse(&lines.join("\n")) {
            for fault in faults.iter() {
                let (line, column) = fault.position().expect("a place");
                prop_assert!((1..=lines.len()).contains(&line), "{}", fault);
                prop_assert!(column <= lines[line - 1].chars().count() + 1, "{}", fault);
            }
        }
    }
}
