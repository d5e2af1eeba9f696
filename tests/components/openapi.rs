//! schemathesis, which reads the OpenAPI document that the portal gives of itself, makes up requests by it, sound ones
//! and unsound ones, and compares every answer with it.

use crate::harness::{Gateway, PASSWORD, run};
use crate::mailbox::{MAIL, last_mail_to};
use crate::program::{python, repository};

/// Nothing is throttled: thousands of wrong passwords come from here.
const CONFIG: &str = "registration: { mode: open, members_invite: true }\ntokens: { cookies: true }\n\
    portal: { account_deletion: true, theme: theme }\n\
    limits: { login: { per_account: 1000000/1m, per_ip: 1000000/1m } }\n\
    upstreams: { app: \"http://127.0.0.1:9\" }\n\
    routes:\n\
    \x20 - { name: files, path: /files/**, credentials: [basic], upstream: app }\n\
    \x20 - { name: rest, path: /**, upstream: app }\n";

/// What a link ends with.
fn token(link: &str) -> &str {
    let (_, token) = link.split_once("token=").unwrap_or_else(|| panic!("no token: {link}"));
    token.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').next().expect("a part")
}

/// Tries every operation with so many made-up requests, beside those for every border of what is described.
fn try_everything(examples: &str, seed: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(folder.path().join("theme/assets")).expect("a theme");
    std::fs::write(folder.path().join("theme/assets/logo.svg"), "<svg/>").expect("a picture");
    let gateway = Gateway::start_in(folder, &format!("{MAIL}{CONFIG}"));

    gateway.add_user("alice", &["staff"]);
    let access = gateway.token("alice");
    let made = gateway.command(&["token", "create", "alice", "--name", "x", "--scope", "introspect"], "");
    let introspector = String::from_utf8(made.stdout).expect("text");
    let added = gateway.command(&["user", "add", "bob", "--email", "bob@example.com"], "");
    let reset = String::from_utf8(added.stdout).expect("text");
    let carol =
        serde_json::json!({ "username": "carol", "email": "carol@example.com", "password": PASSWORD });
    let json = ("content-type", "application/json");
    let reply = gateway.request("POST", "/.auth/register", &[json], carol.to_string().as_bytes());
    assert_eq!(reply.status, 201, "{reply:?}");
    let confirm = last_mail_to(&gateway, "carol@example.com", 1).link("confirm");

    let document = gateway.get("/.auth/openapi.json", &[]).json();
    let paths = document["paths"].as_object().expect("paths").values();
    let operations: usize = paths.map(|methods| methods.as_object().expect("methods").len()).sum();

    let mut command = python("schemathesis");
    command
        .arg("--config-file")
        .arg(repository("tests/components/schemathesis.toml"))
        .args(["run", &format!("http://{}/.auth/openapi.json", gateway.address)])
        .args(["--checks", "all", "--max-examples", examples, "--seed", seed])
        .args(["--generation-database", "none", "--no-color"])
        .current_dir(gateway.directory())
        .env("HOME", gateway.directory())
        .env("PASSWORD", PASSWORD)
        .env("TOKEN", access)
        .env("INTROSPECTOR", introspector.trim())
        .env("RESET", token(&reset))
        .env("CONFIRM", token(&confirm));
    let output = run(&mut command, "");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        gateway.log()
    );
    // It leaves out where it has the document from.
    let tried = format!("Tested: {}\n", operations - 1);
    assert!(said.contains(&tried), "not all of {operations} operations:\n{said}");
}

#[test]
fn the_portal_answers_as_its_openapi_document_says() {
    try_everything("10", "1");
}

#[test]
#[ignore = "a few minutes"]
fn heavy_the_portal_answers_as_its_openapi_document_says_to_much_more() {
    try_everything("200", "2");
}
