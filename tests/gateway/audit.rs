//! The audit trail: what is in it, how it is read, and what disks and logrotate do to it.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::browser::{Browser, Form};
use crate::harness::{Connection, Gateway, PASSWORD, Upstream, foregate, wait_until};
use crate::mailbox::{MAIL, last_mail_to};

fn gateway(upstream: &Upstream) -> Gateway {
    Gateway::start(&format!(
        "log: {{ audit: audit.jsonl }}\nlimits: {{ login: {{ per_account: 2/1m, per_ip: 100/1m }} }}\n\
         admin: {{ listen: 127.0.0.1:0 }}\n\
         upstreams: {{ app: \"http://{}\" }}\n\
         routes: [{{ path: /**, upstream: app, credentials: [session, bearer, basic] }}]\n",
        upstream.address
    ))
}

fn file(gateway: &Gateway) -> PathBuf {
    gateway.directory().join("audit.jsonl")
}

fn events(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// The events in the file, once there are so many.
fn written(gateway: &Gateway, count: usize) -> Vec<Value> {
    let read = || std::fs::read_to_string(file(gateway)).unwrap_or_default();
    wait_until(|| read().lines().count() >= count, || format!("fewer than {count} events:\n{}", read()));
    events(&read())
}

/// `foregate audit` with these arguments; its standard output.
fn audit(gateway: &Gateway, arguments: &[&str]) -> String {
    let output = gateway.command(&[&["audit"], arguments].concat(), "");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn words(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event"].as_str().expect("a word")).collect()
}

#[test]
fn what_happens_to_accounts_is_written_down_with_who_and_from_where() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    gateway.add_user("alice", &[]);
    let (code, uid) =
        (gateway.command(&["user", "set", "alice", "--role", "staff"], ""), rustix::process::getuid());
    assert!(code.status.success(), "{code:?}");
    let browser = Browser::new(&gateway);
    let reply = browser.sign_in("alice");
    assert_eq!(reply.status, 303, "{reply:?}");
    let id = reply.header("x-request-id").expect("an id").to_owned();
    assert_eq!(gateway.sign_in_with("nobody of that name", "x").status, 401);
    let basic = |password: &str| {
        use base64::Engine as _;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("alice:{password}")))
    };
    assert_eq!(gateway.get("/", &[("authorization", &basic("wrong"))]).status, 401);
    assert_eq!(gateway.get("/", &[("authorization", &basic("wrong"))]).status, 401);
    assert_eq!(gateway.sign_in_with("alice", PASSWORD).status, 429);
    browser.submit(&Form::read(&browser.open("/.auth/logout")));
    for command in [
        &["user", "unlock", "alice"][..],
        &["user", "disable", "alice"],
        &["user", "enable", "alice"],
        &["user", "export"],
        &["user", "delete", "alice", "--yes"],
        &["key", "rotate"],
        &["reload"],
    ] {
        let output = gateway.command(command, "");
        assert!(output.status.success(), "{output:?}");
    }

    let events = written(&gateway, 15);
    assert_eq!(
        words(&events),
        [
            "account_added",
            "account_changed",
            "login_ok",
            "login_failed",
            "login_failed",
            "login_failed",
            "login_braked",
            "logout",
            "account_unlocked",
            "account_disabled",
            "account_enabled",
            "accounts_exported",
            "account_deleted",
            "key_rotated",
            "configuration_reloaded",
        ]
    );
    let number = &events[0]["account_id"];
    assert_eq!(events[0]["uid"], json!(uid.as_raw()));
    assert_eq!(
        (&events[0]["actor"], &events[0]["account"], &events[0]["source"]),
        (&json!("cli"), &json!("alice"), &Value::Null)
    );
    let login = &events[2];
    assert_eq!(
        (&login["account"], &login["account_id"], &login["source"]),
        (&json!("alice"), number, &json!("127.0.0.1"))
    );
    assert_eq!(
        (&login["outcome"], &login["request_id"], &login["actor"]),
        (&json!("ok"), &json!(id), &json!("client"))
    );
    assert_eq!((&login["door"], &events[4]["door"]), (&json!("login"), &json!("basic")));
    assert_eq!(events[0].get("door"), None);
    assert_eq!((&events[3]["account"], &events[3]["account_id"]), (&json!("unknown"), &Value::Null));
    for basic in &events[4..6] {
        assert_eq!((&basic["account"], &basic["source"]), (&json!("alice"), &json!("127.0.0.1")));
        assert!(basic["request_id"].is_string(), "{basic}");
    }
    assert_eq!(events[6]["outcome"], json!("refused"));
    assert_eq!((&events[14]["actor"], &events[14]["account"]), (&json!("server"), &Value::Null));
    let times: Vec<_> = events.iter().map(|event| event["time"].as_str().expect("a time")).collect();
    assert!(
        times.is_sorted() && times.iter().all(|time| time.len() == 24 && time.ends_with('Z')),
        "{times:?}"
    );
    assert_eq!(std::fs::metadata(file(&gateway)).expect("a file").permissions().mode() & 0o777, 0o600);
    let log = gateway.log();
    assert!(!log.contains("nobody of that name"), "{log}");
    let logged = log.lines().filter(|line| line.contains(r#""event":"login_ok""#) && line.contains(&id));
    assert_eq!(logged.count(), 1, "{log}");

    // And read back.
    assert_eq!(words(&self::events(&audit(&gateway, &["--json"]))), words(&events));
    assert_eq!(
        self::events(&audit(&gateway, &["--json", "--user", "ALICE", "--event", "login_failed"])).len(),
        2
    );
    assert_eq!(
        self::events(&audit(&gateway, &["--json", "--event", "LOGIN_FAILED", "--source", "127.0.0.0/8"]))
            .len(),
        3
    );
    assert_eq!(audit(&gateway, &["--source", "192.0.2.1"]), "");
    assert_eq!(audit(&gateway, &["--since", "2999-01-01T00:00:00Z"]), "");
    let shown = audit(&gateway, &["--since", "1h", "--event", "account-added"]);
    assert!(
        shown.contains("account_added") && shown.contains(&format!("cli of user {}", uid.as_raw())),
        "{shown}"
    );
    for bad in [["--event", "login"], ["--source", "x"], ["--since", "soon"]] {
        assert_eq!(gateway.command(&["audit", bad[0], bad[1]], "").status.code(), Some(2), "{bad:?}");
    }
}

#[test]
fn the_way_of_an_account_from_registration_to_a_new_address_is_written_down() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "{MAIL}registration: {{ mode: approval }}\nlog: {{ audit: audit.jsonl }}\n\
         upstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app }}]\n",
        upstream.address
    ));
    let post = |target: &str, cookie: &str, body: Value| {
        let headers = [("content-type", "application/json"), ("cookie", cookie)];
        let reply = gateway.request("POST", target, &headers, body.to_string().as_bytes());
        assert!(matches!(reply.status, 200..300), "{target}: {reply:?}");
        reply
    };
    let person = json!({ "username": "zoe", "email": "zoe@example.com", "password": PASSWORD });
    post("/.auth/register", "", person);
    let confirm = last_mail_to(&gateway, "zoe@example.com", 1).link("confirm");
    post(&confirm, "", json!({}));
    let again = json!({ "username": "zoe2", "email": "zoe@example.com", "password": PASSWORD });
    post("/.auth/register", "", again);
    assert!(gateway.command(&["user", "approve", "zoe"], "").status.success());
    post("/.auth/forgot", "", json!({ "email": "zoe@example.com" }));
    post("/.auth/forgot", "", json!({ "email": "nobody@example.com" }));
    let login = post("/.auth/login", "", json!({ "username": "zoe", "password": PASSWORD }));
    let cookie = login.cookie("foregate").expect("a cookie");
    let change = json!({ "current_password": PASSWORD, "email": "new@example.com" });
    post("/.auth/account/email", &cookie, change);
    post(&last_mail_to(&gateway, "new@example.com", 1).link("confirm"), "", json!({}));
    assert!(gateway.command(&["user", "invite", "guest@example.com"], "").status.success());
    let expected = [
        "account_registered",
        "address_confirmed",
        "address_taken",
        "account_approved",
        "password_reset_asked",
        "password_reset_asked",
        "login_ok",
        "login_ok",
        "address_change_asked",
        "address_changed",
        "invited",
    ];
    let events = written(&gateway, expected.len());
    assert_eq!(words(&events), expected);
    let about: Vec<_> = events.iter().map(|event| event["account"].as_str().unwrap_or("none")).collect();
    assert_eq!(about[..6], ["zoe", "zoe", "zoe", "zoe", "zoe", "unknown"], "{events:#?}");
}

#[test]
fn a_file_that_is_moved_away_is_followed_by_who_writes_and_by_who_reads() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    gateway.add_user("alice", &[]);
    written(&gateway, 1);
    let mut reader = foregate()
        .arg("--config")
        .arg(&gateway.config)
        .args(["audit", "--json", "--follow"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(reader.stdout.take().expect("a pipe")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    assert!(next().contains("account_added"));
    // A line that a crash has cut is passed over.
    let moved = gateway.directory().join("audit.jsonl.1");
    let mut content = std::fs::read_to_string(file(&gateway)).expect("text");
    content.push_str("{\"time\":\"2026");
    std::fs::write(&moved, content).expect("it is written");
    std::fs::remove_file(file(&gateway)).expect("it goes");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    gateway.sign_in("alice");
    assert!(next().contains("login_ok"));
    let _ = reader.kill();
    let _ = reader.wait();
    assert_eq!(words(&events(&audit(&gateway, &["--json"]))), ["account_added", "login_ok"]);
}

#[test]
fn a_trail_that_can_not_be_written_refuses_no_login_and_is_counted() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    gateway.add_user("alice", &[]);
    written(&gateway, 1);
    // A faulty file is refused at a reload, and the one before stays.
    let yaml = std::fs::read_to_string(&gateway.config).expect("text");
    std::fs::write(&gateway.config, yaml.replace("audit: audit.jsonl", "audit: no/such/folder"))
        .expect("it is written");
    let output = gateway.command(&["reload"], "");
    assert!(String::from_utf8_lossy(&output.stderr).contains("audit trail"), "{output:?}");
    gateway.sign_in("alice");
    let events = written(&gateway, 3);
    assert_eq!(words(&events)[1..], ["configuration_refused", "login_ok"]);
    // Nor does anything stop where the file is a full disk.
    std::fs::write(&gateway.config, yaml).expect("it is written");
    std::fs::remove_file(file(&gateway)).expect("it goes");
    std::os::unix::fs::symlink("/dev/full", file(&gateway)).expect("a link");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    gateway.sign_in("alice");
    gateway.wait_for_log("a new audit trail can't be begun");
    let mut watched = Connection::to(gateway.admin_address());
    watched.write(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    let figures = watched.reply(false).text();
    assert!(figures.contains("foregate_audit_lost_total 0"), "{figures}");
}
