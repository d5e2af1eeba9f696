//! Configuration files: every fault has its place and its cure, and nothing starts with one.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::browser::NAVIGATION;
use crate::harness::{foregate, run, wait_until};
use crate::tls::Authority;

fn with_file(yaml: &str, arguments: &[&str]) -> (Output, String, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("foregate.yaml");
    std::fs::write(&file, yaml).expect("it is written");
    let output = run(foregate().arg("--config").arg(&file).args(arguments), "");
    let told = String::from_utf8(output.stderr.clone()).expect("text");
    (output, told, folder)
}

const FAULTY: &str = "\
listen: 127.0.0.1:0
sesion: { idle_timeout: 1h }
session:
  idle_timeout: soon
  lifetime: 24h
  lifetime: 12h
upstreams:
  app: http://127.0.0.1:9
routes:
  - path: /**
    upstream: ap
  - path: /never
    upstream: app
  - path: no-slash
    methods: GET
    upstream: app
";

#[test]
fn all_faults_are_told_at_once_with_their_places_and_nothing_starts() {
    for command in ["check", "serve"] {
        let (output, told, folder) = with_file(FAULTY, &[command]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        for (position, about) in
            [("2:1", "sesion"), ("4:17", "soon"), ("6:3", "lifetime"), ("11:15", "ap"), ("14:11", "no-slash")]
        {
            let line = told.lines().find(|line| line.contains(&format!("foregate.yaml:{position}: ")));
            let line = line.unwrap_or_else(|| panic!("nothing at {position}: {told}"));
            assert!(line.contains(about), "{line}");
        }
        for help in ["did you mean `session`?", "did you mean `app`?", "expected a duration such as"] {
            assert!(told.contains(help), "{help}: {told}");
        }
        // The source is shown, with a caret under what is meant.
        let lines: Vec<&str> = told.lines().collect();
        let shown =
            lines.iter().position(|line| line.ends_with("| sesion: { idle_timeout: 1h }")).expect("the line");
        let bar = lines[shown].find('|').expect("a bar");
        assert_eq!(lines[shown + 1].get(bar..bar + 8), Some("| ^^^^^^"), "{told}");
        assert!(!folder.path().join("data").exists(), "nothing was begun");
    }
}

#[test]
fn a_fault_of_any_kind_is_told_by_one_clear_place() {
    let base = "upstreams: { app: \"http://127.0.0.1:9\" }\nroutes: [{ path: /**, upstream: app }]\n";
    let faulty = [
        ("upstreams: {}\n".to_owned(), "routes"),
        (String::new(), "upstreams"),
        ("- a\n- b\n".to_owned(), "expected"),
        (format!("listen: nonsense\n{base}"), "1:9"),
        (format!("listen: 127.0.0.1:99999\n{base}"), "1:9"),
        (format!("store: mysql://a\n{base}"), "1:8"),
        (format!("password: {{ min_length: 4 }}\n{base}"), "1:"),
        (format!("password: {{ argon2: {{ memory: 1KiB }} }}\n{base}"), "1:"),
        (format!("tokens: {{ algorithm: none }}\n{base}"), "1:22"),
        (format!("session: {{ cookie: {{ name: \"a b\" }} }}\n{base}"), "1:"),
        (format!("session: {{ cookie: {{ same_site: none }} }}\n{base}"), "1:"),
        (format!("portal: {{ prefix: auth }}\n{base}"), "1:"),
        (format!("trusted_proxies: [everybody]\n{base}"), "1:19"),
        (format!("limits: {{ login: {{ per_account: many }} }}\n{base}"), "1:"),
        (format!("log: {{ level: loud }}\n{base}"), "1:"),
        (format!("public_url: ${{FOREGATE_NOT_SET_ANYWHERE}}\n{base}"), "FOREGATE_NOT_SET_ANYWHERE"),
        ("upstreams: { app: \"ftp://a\" }\nroutes: [{ path: /**, upstream: app }]\n".to_owned(), "1:19"),
        (format!("{base}  - x: [\n"), "3:"),
        (format!("a: \"b\n{base}"), "foregate.yaml:"),
        ("upstreams: { app: \"http://127.0.0.1:9\" }\nroutes: [{ path: /.auth/x, upstream: app }]\n".to_owned(), "2:"),
        (
            "upstreams: { app: \"http://127.0.0.1:9\" }\nroutes: [{ path: /**, upstream: app, require: { roles: admin } }]\n".to_owned(),
            "2:",
        ),
        (
            "upstreams: { app: \"http://127.0.0.1:9\" }\nroutes: [{ path: /a, upstream: app, access: public, require: { roles: [x] } }]\n".to_owned(),
            "2:",
        ),
    ];
    for (yaml, expected) in faulty {
        let (output, told, _folder) = with_file(&yaml, &["check"]);
        assert_eq!(output.status.code(), Some(2), "{yaml}: {output:?}");
        assert!(told.contains("foregate.yaml:") && told.contains(expected), "{yaml}: {told}");
        assert!(!told.contains("panicked") && !told.contains("Error {"), "{told}");
        assert!(told.lines().count() < 30, "{told}");
    }
}

#[test]
fn a_secret_from_the_environment_is_not_shown_with_a_fault() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("foregate.yaml");
    std::fs::write(&file, "public_url: \"${SECRET_PLACE}\"\nupstreams: { app: \"http://127.0.0.1:9\" }\nroutes: [{ path: /**, upstream: app }]\n")
        .expect("it is written");
    let output =
        run(foregate().arg("--config").arg(&file).arg("check").env("SECRET_PLACE", "hunter2-hunter2"), "");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = String::from_utf8(output.stderr).expect("text");
    assert!(!told.contains("hunter2") && told.contains("${SECRET_PLACE}"), "{told}");
}

#[test]
fn a_file_that_is_not_there_is_told_and_the_sample_is_sound() {
    let output = run(foregate().args(["--config", "/nonexistent/foregate.yaml", "check"]), "");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("/nonexistent/foregate.yaml") && told.lines().count() <= 2, "{told}");

    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/foregate.yaml");
    let output = run(foregate().arg("--config").arg(&sample).arg("check"), "");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("sound"), "{output:?}");
    assert!(output.stderr.is_empty(), "no warning: {output:?}");
    // By the environment, too.
    let output = run(foregate().arg("check").env("FOREGATE_CONFIG", &sample), "");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// A file of this repository.
fn repository(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Checks a configuration beside the files that examples name; there is to be no fault, and nothing unwise.
#[track_caller]
fn sound(what: &str, yaml: &str) {
    let authority = Authority::new("Test Root");
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("it is written");
    };
    authority.server(&["app.example.com"]).write(folder.path(), "tls");
    write("ca.pem", &authority.pem());
    write("foregate.yaml", yaml);
    let output = run(foregate().arg("check").current_dir(&folder), "");
    let said = (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned());
    assert_eq!(said, (Some(0), String::new()), "{what}:\n{yaml}");
}

#[test]
fn every_example_is_sound() {
    let readme = repository("README.md");
    let blocks = readme.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let whole: Vec<_> = blocks.filter(|block| block.contains("\nroutes:")).collect();
    assert_eq!(whole.len(), 3, "{whole:#?}");
    // What is about something else leaves out what every file needs.
    let rest = "listen: 127.0.0.1:8080\npublic_url: http://127.0.0.1:8080\n\
        upstreams: { app: \"http://127.0.0.1:3000\" }\n";
    for block in whole {
        let rest = if block.contains("listen:") { "" } else { rest };
        sound("README.md", &format!("{rest}{block}"));
    }
    sound("jupyter.yaml", &repository("config/jupyter.yaml"));
    // What is to be set in Foregate for each of the proxies stands in the comment at the top of their files.
    for file in ["Caddyfile", "envoy.yaml", "haproxy.cfg", "ingress-nginx.yaml", "nginx.conf", "traefik.yaml"]
    {
        let text = repository(&format!("config/{file}"));
        let side =
            text.split_once("Foregate's side:\n#\n").unwrap_or_else(|| panic!("{file} says nothing")).1;
        let lines = side.lines().map_while(|line| line.strip_prefix("#   "));
        sound(file, &lines.collect::<Vec<_>>().join("\n"));
    }
}

#[test]
fn the_example_of_tls_in_the_reference_is_sound() {
    let reference = repository("config/foregate.yaml");
    let (before, after) = reference.split_once("#\n#   tls:\n").expect("an example");
    let (example, after) = after.split_once("\ntls: null\n").expect("and the default");
    let example = example.lines().map(|line| line.strip_prefix("#   ").expect("a comment"));
    let example = example.collect::<Vec<_>>().join("\n");
    let at_its_origin = before.replace("http://127.0.0.1:8080\n", "https://app.example.com\n");
    assert_ne!(at_its_origin, before);
    sound("the reference", &format!("{at_its_origin}\ntls:\n{example}\n{after}"));
}

/// Everything that the file is promised to hold, in other words than the defaults. What isn't there yet is left out:
/// `portal.theme`, `registration`, `issuers`, `mail`, `tokens.refresh_*`, `tokens.key_rotation`, `upstreams.*.assertion`
/// and `log.audit`.
const PROMISED: &str = r#"
listen: [127.0.0.1:8080, "[::1]:8443", "unix:http.sock", { unix: other.sock, mode: "0600" }]
public_url: https://app.example.com
tls:
  certificates: [{ cert: tls.crt, key: tls.key }]
  client_ca: ca.pem
  redirect_from: 127.0.0.1:8081
  hsts: 30d
trusted_proxies: [127.0.0.1, 10.0.0.0/8, "fd00::/8"]
proxy_protocol: true
store: sled:./data
portal: { prefix: /login, title: Come in, after_login: /home, after_logout: /bye, allowed_redirects: ["*.example.com"] }
session: { idle_timeout: 2h, lifetime: 12h, remember: 0, cookie: { name: sid, domain: example.com, same_site: strict } }
cache: { capacity: 1000, ttl: 5s }
password: { min_length: 12, min_score: 4, argon2: { memory: 32MiB, iterations: 3, parallelism: 2 }, workers: 2 }
tokens: { issuer: "https://issuer.example.com", audience: api, algorithm: ES256, access_ttl: 5m }
identity_headers: { X-User: "{username}", X-Mail: "{email}", X-Name: "{name}", X-Roles: "{roles}" }
limits:
  login: { per_account: 5/1h, per_ip: 50/1h }
  header_bytes: 16KiB
  headers: 64
  body: 1GiB
  connections: 500
  header_timeout: 5s
  idle_timeout: 30s
upstreams:
  app: http://127.0.0.1:3000
  api:
    servers: [https://10.0.0.1:9000, https://10.0.0.2:9443]
    balance: least_requests
    health: { path: /healthz, interval: 2s, unhealthy_after: 2, healthy_after: 2 }
    timeouts: { connect: 1s, response: 10s, idle: 20s }
    host: api.internal
    http2: true
    tls: { ca: ca.pem, server_name: api.internal, client_cert: tls.crt, client_key: tls.key }
  local: { servers: ["unix:/run/api.sock"], host: upstream, balance: client_ip }
routes:
  - { name: static files, host: app.example.com, path: /static/**, methods: [GET, HEAD], access: public, upstream: local }
  - path: /admin/*/edit
    require: { roles: [admin], users: [alice], email_domains: [example.com], networks: [10.0.0.0/8], fresh_login: 15m, client_certificate: true }
    upstream: app
  - path: /api/**
    credentials: [session, bearer, basic]
    forward_authorization: true
    unauthenticated: login
    strip_prefix: /api
    headers: { X-Tenant: blue }
    identity_headers: { X-WEBAUTH-USER: "{username}" }
    csrf: false
    upstream: api
  - { host: "*.example.com", path: /**, access: optional, unauthenticated: status, upstream: app }
admin: { socket: ./admin.sock, listen: 127.0.0.1:9180 }
log: { level: debug, format: pretty }
"#;

#[test]
fn every_key_that_was_promised_is_taken() {
    sound("what was promised", PROMISED);
}

#[test]
fn the_demo_starts_by_itself_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let temporary = folder.path().join("tmp");
    std::fs::create_dir(&temporary).expect("a folder");
    let mut child = foregate()
        .args(["demo", "--json", "--listen", "127.0.0.1:0"])
        .env("TMPDIR", &temporary)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let told: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let url = told["url"].as_str().expect("a URL");
    let address = url.strip_prefix("http://").expect("plain http").parse().expect("an address");
    assert_eq!(
        std::fs::read_dir(&temporary).expect("a folder").count(),
        1,
        "it works in the temporary folder"
    );
    let ask = |method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]| {
        let mut connection = crate::harness::Connection::to(address);
        let mut head =
            format!("{method} {target} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        connection.write(&[head.as_bytes(), b"\r\n", body].concat());
        connection.reply(false)
    };
    assert_eq!(ask("GET", "/", NAVIGATION, b"").status, 200);
    assert_eq!(ask("GET", "/private", NAVIGATION, b"").status, 303);
    let users = told["users"].as_array().expect("an array");
    assert_eq!(users.len(), 2);
    for user in users {
        let body =
            serde_json::json!({ "username": user["username"], "password": user["password"] }).to_string();
        let reply = ask("POST", "/.auth/login", &[("content-type", "application/json")], body.as_bytes());
        assert_eq!(reply.status, 200, "{reply:?}");
        let cookie = reply.cookie("foregate").expect("a cookie");
        let admin = user["roles"].as_array().expect("an array").contains(&Value::from("admin"));
        assert_eq!(ask("GET", "/private", &[("cookie", &cookie)], b"").status, 200);
        assert_eq!(ask("GET", "/admin", &[("cookie", &cookie)], b"").status, if admin { 200 } else { 403 });
    }
    let kill = std::process::Command::new("kill").arg(child.id().to_string()).status();
    assert!(kill.expect("kill runs").success());
    let mut ended = None;
    wait_until(
        || {
            ended = child.try_wait().expect("it can be waited for");
            ended.is_some()
        },
        || "it does not end".to_owned(),
    );
    assert_eq!(ended.and_then(|status| status.code()), Some(0));
    assert!(TcpStream::connect(address).is_err());
    let left: Vec<_> = std::fs::read_dir(&temporary).expect("a folder").collect();
    assert!(left.is_empty(), "{left:?}");
}
