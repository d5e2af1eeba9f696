//! What was answered is kept: through `kill -9`, and through a disk that is full.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::browser::NAVIGATION;
use crate::harness::{Gateway, PASSWORD, Upstream, wait_until};

const JSON: (&str, &str) = ("content-type", "application/json");
const ROUNDS: usize = 25;

/// What has been answered so far.
#[derive(Default)]
struct Answered {
    /// Cookies of sessions that were begun and not ended.
    alive: Vec<String>,
    /// Cookies of sessions that were ended.
    ended: Vec<String>,
    users: BTreeSet<String>,
}

#[test]
fn nothing_that_was_answered_is_lost_by_kill_9() {
    let upstream = Upstream::start();
    let yaml = format!(
        "public_url: http://app.test\nlimits: {{ login: {{ per_account: 1000/1m, per_ip: 1000/1m }} }}\n\
         upstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app }}]\n",
        upstream.address
    );
    let mut gateway = Gateway::start(&yaml);
    gateway.add_user("alice", &[]);
    let answered = Mutex::new(Answered::default());
    for round in 0..ROUNDS {
        let (answers, over) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let note = |change: &dyn Fn(&mut Answered)| {
            change(&mut answered.lock().expect("no panic while it is held"));
            answers.fetch_add(1, Ordering::Relaxed);
        };
        std::thread::scope(|scope| {
            let (gateway, note, over) = (&gateway, &note, &over);
            // Logins, and the end of every second one.
            scope.spawn(move || {
                for number in 0.. {
                    let Some(cookie) = gateway.try_sign_in("alice") else { return };
                    if number % 2 == 0 {
                        note(&|answered| answered.alive.push(cookie.clone()));
                        continue;
                    }
                    let headers = [JSON, ("cookie", cookie.as_str())];
                    let done = gateway.try_request("POST", "/.auth/logout", &headers, b"{}");
                    // Without an answer it may be either, so it is neither.
                    match done {
                        Some(204) => note(&|answered| answered.ended.push(cookie.clone())),
                        _ => return,
                    }
                }
            });
            scope.spawn(move || {
                for number in 0.. {
                    let name = format!("user-{round}-{number}");
                    if over.load(Ordering::Relaxed) > 0
                        || !gateway
                            .command(&["user", "add", &name, "--password-stdin"], PASSWORD)
                            .status
                            .success()
                    {
                        return;
                    }
                    note(&|answered| {
                        answered.users.insert(name.clone());
                    });
                }
            });
            // After a number of answers that differs from round to round, in the middle of the next ones.
            wait_until(|| answers.load(Ordering::Relaxed) >= 3 + round % 7, || gateway.log());
            over.store(1, Ordering::Relaxed);
            gateway.signal("KILL");
        });
        gateway = Gateway::start_in(gateway.kill(), &yaml);
        let answered = answered.lock().expect("no panic while it is held");
        let output = gateway.command(&["user", "list", "--json"], "");
        let list: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let there: BTreeSet<&str> =
            list.as_array().expect("an array").iter().filter_map(|user| user["username"].as_str()).collect();
        let lost: Vec<_> = answered.users.iter().filter(|name| !there.contains(name.as_str())).collect();
        assert!(lost.is_empty(), "round {round}: lost {lost:?}");
        let mut connection = gateway.connect();
        let all = answered.alive.iter().map(|cookie| (cookie, 200));
        // The newest hundred sessions of one account are kept.
        for (cookie, expected) in
            all.rev().take(90).chain(answered.ended.iter().rev().take(90).map(|cookie| (cookie, 401)))
        {
            connection
                .write(format!("GET / HTTP/1.1\r\nhost: app.test\r\ncookie: {cookie}\r\n\r\n").as_bytes());
            let reply = connection.reply(false);
            assert_eq!(reply.status, expected, "round {round}: {reply:?}");
        }
    }
    let answered = answered.into_inner().expect("no panic while it was held");
    println!(
        "{ROUNDS} rounds: {} accounts, {} sessions begun, {} ended",
        answered.users.len(),
        answered.alive.len(),
        answered.ended.len()
    );
    for name in answered.users.iter().take(3) {
        assert_eq!(gateway.sign_in_with(name, PASSWORD).status, 200, "{name}");
    }
}

/// A small file system of its own; goes with the value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir(at).expect("a folder");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"]).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }

    fn fill(&self) {
        let mut chunk = 1 << 20;
        let mut content = Vec::new();
        // Down to the last page.
        for number in 0.. {
            content.resize(chunk, 0_u8);
            if fs::write(self.0.join(format!("filler-{number}")), &content).is_err() {
                if chunk <= 4096 {
                    return;
                }
                chunk /= 4;
            }
        }
    }

    fn make_room(&self) {
        for entry in fs::read_dir(&self.0).expect("a folder").flatten() {
            if entry.file_name().to_string_lossy().starts_with("filler-") {
                fs::remove_file(entry.path()).expect("it is ours");
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_stops_logins_alone_and_only_until_there_is_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk")) else {
        println!("skipped: a small file system can't be mounted here (that takes root)");
        return;
    };
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "store: sled:{}/data\nupstreams: {{ app: \"http://{}\" }}\nroutes:\n\
         \x20 - {{ path: /open, access: public, upstream: app }}\n\
         \x20 - {{ path: /**, upstream: app }}\n",
        disk.0.display(),
        upstream.address
    ));
    gateway.add_user("alice", &[]);
    let (cookie, other) = (gateway.sign_in("alice"), gateway.sign_in("alice"));
    assert_eq!(gateway.get("/", &[("cookie", &cookie)]).status, 200);

    let bearer = format!("Bearer {}", gateway.token("alice"));
    disk.fill();
    for _ in 0..3 {
        let reply = gateway.sign_in_with("alice", PASSWORD);
        assert_eq!(reply.status, 503, "{reply:?}");
        assert!(reply.header("retry-after").is_some(), "{reply:?}");
        assert!(reply.header("set-cookie").is_none(), "{reply:?}");
        let out = gateway.request("POST", "/.auth/logout", &[JSON, ("cookie", &cookie)], b"{}");
        assert_eq!(out.status, 503, "nobody is told that they are signed out: {out:?}");
        assert!(out.header("set-cookie").is_none(), "{out:?}");
        let added = gateway.command(&["user", "add", "bob"], "");
        assert_eq!(added.status.code(), Some(1), "{added:?}");
        // What was read before, and what has to be read now.
        for cookie in [&cookie, &other] {
            let reply = gateway.get("/", &[("cookie", cookie)]);
            assert_eq!((reply.status, reply.header("set-cookie")), (200, None), "{reply:?}");
        }
        assert_eq!(gateway.get("/open", &[]).status, 200);
        assert_eq!(gateway.get("/.auth/login", NAVIGATION).status, 200);
        let body = serde_json::json!({ "username": "alice", "password": PASSWORD }).to_string();
        let refused = gateway.request("POST", "/.auth/token", &[JSON], body.as_bytes());
        assert_eq!(refused.status, 503, "a refresh token has to be kept: {refused:?}");
        let reply = gateway.get("/", &[("authorization", &bearer)]);
        assert_eq!(reply.status, 200, "a token needs no room: {reply:?}");
    }
    wait_until(|| gateway.get("/.auth/readyz", &[]).status == 503, || "it calls itself ready".to_owned());
    assert_eq!(gateway.get("/.auth/healthz", &[]).status, 200);

    disk.make_room();
    wait_until(|| gateway.sign_in_with("alice", PASSWORD).status == 200, || gateway.log());
    wait_until(|| gateway.get("/.auth/readyz", &[]).status == 200, || gateway.log());
    assert_eq!(gateway.get("/", &[("cookie", &cookie)]).status, 200, "nobody was signed out");
    assert!(gateway.command(&["user", "add", "bob"], "").status.success());
    // The program goes before its disk does.
    drop(gateway);
    drop(disk);
}
