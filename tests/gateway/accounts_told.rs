//! What the command line tells of accounts, and which names it lets nobody have.

use std::os::unix::fs::MetadataExt as _;
use std::process::Output;

use crate::harness::{Gateway, PASSWORD, Upstream, complete, foregate, run};
use crate::mailbox::MAIL;

fn gateway() -> (Gateway, Upstream) {
    let upstream = Upstream::start();
    let yaml = format!(
        "{MAIL}registration: {{ mode: open }}\nupstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app }}]\n",
        upstream.address
    );
    (Gateway::start(&yaml), upstream)
}

fn register(gateway: &Gateway, name: &str, email: &str) -> u16 {
    let body = serde_json::json!({ "username": name, "email": email, "password": PASSWORD }).to_string();
    let json = ("content-type", "application/json");
    gateway.request("POST", "/.auth/register", &[json], body.as_bytes()).status
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_stands_in_for_a_taken_address_is_told_from_an_account_and_is_not_exported() {
    let (gateway, _upstream) = gateway();
    gateway.add_user("owner", &[]);
    assert_eq!(register(&gateway, "fresh", "fresh@example.com"), 201);
    assert_eq!(register(&gateway, "mallory", "owner@example.com"), 201);
    let list = String::from_utf8(gateway.command(&["user", "list"], "").stdout).expect("text");
    let state = |name: &str| {
        let line = list.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{list}"));
        line.rsplit("  ").next().unwrap_or_default().to_owned()
    };
    assert_eq!([state("owner"), state("fresh"), state("mallory")], ["enabled", "unconfirmed", "stand-in"]);
    let shown = gateway.command(&["user", "show", "mallory"], "");
    let shown = String::from_utf8(shown.stdout).expect("text");
    assert!(shown.contains("stand-in: keeps the name"), "{shown}");
    let export = String::from_utf8(gateway.command(&["user", "export"], "").stdout).expect("text");
    let names: Vec<_> = export
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["username"].clone())
        .collect();
    assert_eq!(names, ["fresh", "owner"]);

    // Whoever sets an address vouches for it, and is told what that has changed.
    let set = gateway.command(&["user", "set", "fresh", "--email", "fresh@example.com"], "");
    assert!(told(&set).contains("counts as confirmed now"), "{set:?}");
    assert_eq!(gateway.sign_in_with("fresh", PASSWORD).status, 200);
    let again = gateway.command(&["user", "set", "fresh", "--email", "fresh@example.com"], "");
    assert!(!told(&again).contains("confirmed"), "{again:?}");
    let disabled = gateway.command(&["user", "disable", "fresh"], "");
    assert!(told(&disabled).contains("personal access tokens are deleted for good"), "{disabled:?}");
}

#[test]
fn a_name_that_basic_can_not_take_or_that_passes_for_another_is_no_new_accounts() {
    let (gateway, _upstream) = gateway();
    gateway.add_user("alice", &[]);
    // A colon, a Cyrillic а among Latin letters, and a capital i in place of an l.
    for (name, status) in [("a:b", 400), ("\u{430}nna", 400), ("AIice", 409), ("анна", 201)] {
        assert_eq!(
            register(&gateway, name, &format!("{status}-{}@example.com", name.len())),
            status,
            "{name}"
        );
    }
    let colon = gateway.command(&["user", "add", "a:b"], "");
    assert_eq!(colon.status.code(), Some(1));
    assert!(told(&colon).contains("can't hold a colon"), "{colon:?}");
    let file = gateway.directory().join("users.csv");
    std::fs::write(&file, "username\na:b\ncarol\n").expect("it is written");
    let imported = gateway.command(&["user", "import", file.to_str().expect("text"), "--partial"], "");
    assert!(imported.status.success(), "{imported:?}");
    assert!(
        told(&imported).contains("line 2") && told(&imported).contains("can't hold a colon"),
        "{imported:?}"
    );
    // An administrator may know better.
    let mixed = gateway.command(&["user", "add", "\u{430}nna"], "");
    assert!(mixed.status.success() && told(&mixed).contains("warning: a username can't mix"), "{mixed:?}");
    let alike = gateway.command(&["user", "add", "a1ice"], "");
    assert!(alike.status.success() && told(&alike).contains("looks like the username `alice`"), "{alike:?}");
}

#[test]
fn nothing_asked_is_help_and_a_mistake() {
    let output = run(&mut foregate(), "");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{output:?}");
    assert!(told(&output).contains("foregate demo "), "{output:?}");
}

#[test]
fn a_trail_that_root_has_begun_is_the_servers() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can give a file away");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("foregate.yaml");
    let yaml = "log: { audit: audit.jsonl }\nupstreams: { app: http://127.0.0.1:1 }\nroutes: [{ path: /**, upstream: app }]\n";
    std::fs::write(&config, complete(yaml)).expect("it is written");
    let add = |name: &str| run(foregate().args(["user", "add", name, "-c"]).arg(&config), "");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    std::os::unix::fs::chown(&data, Some(12345), Some(12346)).expect("root may");
    let made = add("alice");
    assert!(made.status.success(), "{made:?}");
    let trail = folder.path().join("audit.jsonl");
    let owner = || std::fs::metadata(&trail).map(|found| (found.uid(), found.gid())).expect("a file");
    assert_eq!(owner(), (12345, 12346));
    // One that was there is as somebody has made it.
    std::os::unix::fs::chown(&trail, Some(0), Some(0)).expect("root may");
    assert!(add("bob").status.success());
    assert_eq!(owner(), (0, 0));
}
