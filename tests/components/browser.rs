//! Chromium, as a person uses it. What it does is in `tests/browser/`; what it does it to is here.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::Stdio;

use crate::harness::{Gateway, PASSWORD, Upstream, foregate, wait_until};
use crate::mailbox::last_mail_to;
use crate::program::{Program, components, directory, free_address, missing, python, repository, system};
use crate::tls::over_tls;

const PAGE: &str = "<!doctype html><html lang=en><title>Reports</title><link rel=icon href=data:,>\
    <h1>Reports</h1><p>You are <b id=user>USER</b>.</p><p><a href=/.auth/logout>Sign out</a></p>";

/// An application that shows who it was told that the person is.
fn application() -> Upstream {
    Upstream::answering(|request| {
        let user = request.lines().find_map(|line| line.strip_prefix("remote-user: ")).unwrap_or("nobody");
        let page = PAGE.replace("USER", user);
        let length = page.len();
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {length}\r\n\r\n{page}")
            .into_bytes()
    })
}

fn gateway(application: &Upstream) -> Gateway {
    let address = free_address();
    let yaml = yaml(address, &format!("http://{address}"), application);
    with_alice(Gateway::start(&format!(
        "portal: {{ account_deletion: true }}\npassword: {{ argon2: {{ memory: 7MiB, iterations: 1 }} }}\n{yaml}"
    )))
}

fn with_alice(gateway: Gateway) -> Gateway {
    gateway.add_user("alice", &["staff"]);
    gateway
}

fn yaml(address: SocketAddr, public_url: &str, application: &Upstream) -> String {
    let dead = free_address();
    format!(
        "listen: {address}\n\
         public_url: {public_url}\n\
         upstreams: {{ app: \"http://{}\", dead: \"http://{dead}\" }}\n\
         mail: {{ url: \"file:./outbox\", from: login@app.test }}\n\
         registration: {{ mode: open, members_invite: true }}\n\
         limits: {{ login: {{ per_account: 100/15m, per_ip: 1000/15m }} }}\n\
         routes:\n\
         \x20 - {{ path: /admin/**, require: {{ roles: [admin] }}, upstream: app }}\n\
         \x20 - {{ path: /dead, upstream: dead }}\n\
         \x20 - {{ path: /**, upstream: app }}\n",
        application.address
    )
}

fn url(gateway: &Gateway) -> String {
    format!("http://{}", gateway.address)
}

/// Registers somebody who has not confirmed the address yet; gives the link that does.
fn add_unconfirmed(gateway: &Gateway) -> String {
    let newcomer = serde_json::json!({ "username": "unconfirmed", "email": "unconfirmed@example.com", "password": PASSWORD });
    let json = [("content-type", "application/json")];
    let registered = gateway.request("POST", "/.auth/register", &json, newcomer.to_string().as_bytes());
    assert_eq!(registered.status, 201, "{registered:?}");
    last_mail_to(gateway, "unconfirmed@example.com", 1).link("confirm")
}

/// Runs a script of `tests/browser/` against a gateway; its failure is the test's.
pub(crate) fn drive(script: &str, url: &str, environment: &[(&str, &str)]) {
    let folder = repository("tests/browser");
    if !folder.join("node_modules/playwright-core").is_dir() {
        missing("playwright-core");
    }
    let screenshots = components().with_file_name("screenshots");
    let mut command = system("node");
    command.arg(script).arg(url).arg(screenshots);
    command.current_dir(folder).stdin(Stdio::null()).env("FOREGATE_TEST_PASSWORD", PASSWORD);
    command.env("FOREGATE_TEST_CHROMIUM", system("chromium").get_program());
    for (name, value) in environment {
        command.env(name, value);
    }
    let output = command.output().expect("node runs");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", said(&output.stdout), said(&output.stderr));
    print!("{}", said(&output.stdout));
}

#[test]
fn a_person_signs_in_comes_back_to_the_page_signs_out_and_is_refused() {
    let application = application();
    let gateway = gateway(&application);
    drive("login.mjs", &url(&gateway), &[]);
    assert!(application.count() > 0);
}

#[test]
fn a_person_signs_in_and_out_over_tls() {
    let application = application();
    let address = free_address();
    let url = format!("https://localhost:{}", address.port());
    let gateway = with_alice(over_tls(&yaml(address, &url, &application)));
    drive("login.mjs", &url, &[("FOREGATE_TEST_CERTIFICATE", &certificate(&gateway))]);
    assert!(application.count() > 0);
    let log = gateway.log();
    let requests = log.lines().filter(|line| line.contains(r#""message":"request""#));
    let others: Vec<_> = requests.filter(|line| !line.contains(r#""http.version":"2""#)).collect();
    assert!(others.is_empty(), "not over HTTP/2: {others:#?}");
}

/// The file with the certificate that a browser is to believe.
fn certificate(gateway: &Gateway) -> String {
    gateway.directory().join("tls.crt").display().to_string()
}

#[test]
fn every_page_fits_every_window_in_both_schemes() {
    let application = application();
    let address = free_address();
    let gateway = with_alice(Gateway::start(&yaml(address, &format!("http://{address}"), &application)));
    let confirm = add_unconfirmed(&gateway);
    let added = gateway.command(&["user", "add", "newcomer", "--email", "newcomer@example.com"], "");
    let said = String::from_utf8_lossy(&added.stdout).into_owned();
    let link = said.find("/.auth/reset").and_then(|at| said[at..].split_whitespace().next());
    let link = link.unwrap_or_else(|| panic!("no link: {added:?}"));
    let environment = [("FOREGATE_TEST_CONFIRM", confirm.as_str()), ("FOREGATE_TEST_RESET", link)];
    drive("pages.mjs", &url(&gateway), &environment);
}

#[test]
fn the_account_page_fits_and_works_with_the_script_and_without_it() {
    let application = application();
    let gateway = gateway(&application);
    drive("account.mjs", &url(&gateway), &[]);
}

#[test]
fn a_person_registers_confirms_and_recovers_a_password_without_scripts() {
    let application = application();
    let gateway = gateway(&application);
    let outbox = gateway.directory().join("outbox").display().to_string();
    drive("register.mjs", &url(&gateway), &[("FOREGATE_TEST_OUTBOX", &outbox)]);
}

#[test]
fn a_look_of_the_operators_is_as_sound_as_ours() {
    let application = application();
    let address = free_address();
    let look = "portal: { title: Example Ltd, logo: logo.svg, color: \"#f2b705\", message: \"On Sunday from 6 to 8 nothing will work.\", \
        footer: [{ text: Imprint, url: \"https://example.com/imprint\" }, { text: { en: Privacy, de: Datenschutz }, url: /privacy }] }\n";
    let folder = tempfile::tempdir().expect("a folder");
    let logo = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 160 40'><circle cx='20' cy='20' r='18' fill='#f2b705'/>\
        <path d='M50 20h100' stroke='#888' stroke-width='8'/></svg>";
    std::fs::write(folder.path().join("logo.svg"), logo).expect("it is written");
    let yaml = format!("{look}{}", yaml(address, &format!("http://{address}"), &application));
    let gateway = with_alice(Gateway::start_in(folder, &yaml));
    add_unconfirmed(&gateway);
    let environment = [("FOREGATE_TEST_PAGE", "login"), ("FOREGATE_TEST_LOOK", "look-")];
    drive("pages.mjs", &url(&gateway), &environment);
}

/// A page with a WebSocket and a stream of events, over TLS.
fn live(protocol: &str) {
    let (folder, pages, sockets) = (directory(), free_address(), free_address());
    let mut command = python("python");
    command.arg(repository("tests/components/live.py")).args([pages.to_string(), sockets.to_string()]);
    let application = Program::start(command, folder, sockets);
    let address = free_address();
    let url = format!("https://localhost:{}", address.port());
    let gateway = over_tls(&format!(
        "listen: {address}\n\
         public_url: {url}\n\
         upstreams: {{ pages: \"http://{pages}\", sockets: \"http://{sockets}\" }}\n\
         routes:\n\
         \x20 - {{ path: /socket, upstream: sockets }}\n\
         \x20 - {{ path: /**, upstream: pages }}\n"
    ));
    let mut gateway = with_alice(gateway);
    let (certificate, process) = (certificate(&gateway), gateway.id().to_string());
    let environment = [
        ("FOREGATE_TEST_CERTIFICATE", certificate.as_str()),
        ("FOREGATE_TEST_GATEWAY", &process),
        ("FOREGATE_TEST_PROTOCOL", protocol),
    ];
    drive("live.mjs", &url, &environment);
    assert_eq!(gateway.wait(), Some(0));
    // The application has heard of both ends, too.
    for ended in ["events ended", "socket ended"] {
        wait_until(|| application.log().contains(ended), || format!("{ended}: {}", application.log()));
    }
    let version = if protocol == "h2" { "2" } else { "1.1" };
    let asked = |path: &str, status: u64| {
        let log = gateway.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let mut lines = lines.filter(|line| line["message"] == "request" && line["path"] == path);
        lines.find(|line| line["status"] == status)
    };
    let opened = if protocol == "h2" { 200 } else { 101 };
    for (path, status, user) in
        [("/socket", opened, Some("alice")), ("/events", 200, Some("alice")), ("/socket", 401, None)]
    {
        wait_until(|| asked(path, status).is_some(), || format!("{path} {status}: {}", gateway.log()));
        let line = asked(path, status).expect("it was there");
        assert_eq!((&line["http.version"], &line["method"]), (&version.into(), &"GET".into()), "{line}");
        assert_eq!(line["user.name"].as_str(), user, "{line}");
    }
}

#[test]
fn over_http2_what_is_live_ends_with_its_session_and_with_the_gateway() {
    live("h2");
}

#[test]
fn over_tls_without_http2_what_is_live_ends_with_its_session_and_with_the_gateway() {
    live("http/1.1");
}

#[test]
fn the_demo_keeps_what_it_promises() {
    let mut demo = foregate()
        .args(["demo", "--json", "--listen", &free_address().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    BufReader::new(demo.stdout.take().expect("stdout is a pipe"))
        .read_line(&mut line)
        .expect("it says something");
    let told: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let users = told["users"].to_string();
    let driven = std::panic::catch_unwind(|| {
        drive("demo.mjs", told["url"].as_str().expect("a URL"), &[("FOREGATE_TEST_USERS", users.as_str())]);
    });
    demo.kill().expect("it is running");
    demo.wait().expect("it ends");
    if let Err(failure) = driven {
        std::panic::resume_unwind(failure);
    }
}
