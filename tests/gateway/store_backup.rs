//! Backups: made while the server works, whole at one moment, and the way back.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::{Gateway, PASSWORD, Upstream, complete};

const JSON: (&str, &str) = ("content-type", "application/json");

fn yaml(upstream: &Upstream) -> String {
    format!(
        "public_url: http://app.test\nlimits: {{ login: {{ per_account: 1000/1m, per_ip: 1000/1m }} }}\n\
         upstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app, credentials: [session, bearer] }}]\n",
        upstream.address
    )
}

fn done(gateway: &Gateway, arguments: &[&str]) -> String {
    let output = gateway.command(arguments, "");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn token(gateway: &Gateway, name: &str) -> String {
    let body = serde_json::json!({ "username": name, "password": PASSWORD }).to_string();
    let reply = gateway.request("POST", "/.auth/token", &[JSON], body.as_bytes());
    assert_eq!(reply.status, 200, "{reply:?}");
    format!("Bearer {}", reply.json()["access_token"].as_str().expect("a token"))
}

/// Moves the store away, as the error advises, and restores it.
fn restore(gateway: &Gateway, store: &Path, arguments: &[&str]) -> String {
    let refused = gateway.command(arguments, "");
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("move it away first: mv "), "{told}");
    let old = store.with_extension("old");
    if old.exists() {
        std::fs::remove_dir_all(&old).expect("it can go");
    }
    std::fs::rename(store, old).expect("it is moved");
    done(gateway, arguments)
}

#[test]
fn a_backup_made_under_load_is_whole_and_comes_back() {
    let upstream = Upstream::start();
    let yaml = yaml(&upstream);
    let mut gateway = Gateway::start(&yaml);
    let folder = gateway.config.parent().expect("a folder").to_owned();
    let (store, file) = (folder.join("data"), folder.join("backup.jsonl"));
    let file_name = file.to_str().expect("text").to_owned();
    for number in 0..40 {
        gateway.add_user(&format!("user{number}"), &["staff"]);
    }
    let (cookie, bearer) = (gateway.sign_in("user0"), token(&gateway, "user0"));
    let over = AtomicBool::new(false);
    let told = std::thread::scope(|scope| {
        let writers: Vec<_> = (1..4)
            .map(|number| {
                let (gateway, over) = (&gateway, &over);
                scope.spawn(move || {
                    let mut logins = 0;
                    while !over.load(Ordering::Relaxed) {
                        gateway.sign_in(&format!("user{number}"));
                        logins += 1;
                    }
                    logins
                })
            })
            .collect();
        std::thread::sleep(std::time::Duration::from_millis(200));
        let told = done(&gateway, &["store", "backup", &file_name]);
        over.store(true, Ordering::Relaxed);
        for writer in writers {
            assert!(writer.join().expect("no panic") > 0, "there was load");
        }
        told
    });
    assert!(told.contains("keep it"), "{told}");
    assert_eq!(std::fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    // A second one of the same name is made only if it is asked for.
    let again = gateway.command(&["store", "backup", &file_name], "");
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    done(&gateway, &["store", "backup", &file_name, "--force"]);
    gateway.add_user("latecomer", &[]);

    gateway.signal("TERM");
    gateway.wait();
    let told = restore(&gateway, &store, &["store", "restore", &file_name]);
    assert!(told.contains("40 accounts"), "{told}");
    gateway = Gateway::start_in(gateway.kill(), &yaml);
    let status_of = |path: &str, header: (&str, &str)| gateway.get(path, &[header]).status;
    assert_eq!(status_of("/", ("cookie", &cookie)), 401, "sessions don't come back");
    assert_eq!(status_of("/", ("authorization", &bearer)), 401, "what was signed before is void");
    let cookie = gateway.sign_in("user39");
    assert_eq!(gateway.get("/", &[("cookie", &cookie)]).status, 200);
    assert_eq!(status_of("/", ("authorization", &token(&gateway, "user0"))), 200);
    let shown = gateway.command(&["user", "show", "latecomer"], "");
    assert_eq!(shown.status.code(), Some(1), "it came after the backup");
}

#[test]
fn a_store_moves_with_its_sessions() {
    let upstream = Upstream::start();
    let yaml = yaml(&upstream);
    let mut gateway = Gateway::start(&yaml);
    let folder = gateway.config.parent().expect("a folder").to_owned();
    gateway.add_user("alice", &[]);
    let (cookie, bearer) = (gateway.sign_in("alice"), token(&gateway, "alice"));
    gateway.signal("TERM");
    gateway.wait();
    let target = format!("sled:{}", folder.join("moved").display());
    let output = gateway.command(&["store", "copy", "--to", &target], "");
    assert!(output.status.success(), "{output:?}");
    assert!(!folder.join("moved.copying").exists());
    let config = std::fs::read_to_string(&gateway.config).expect("the configuration");
    let moved = config.replace("store: sled:./data", "store: sled:./moved");
    let moved = if moved == config { format!("store: sled:./moved\n{}", complete(&yaml)) } else { moved };
    let gateway = Gateway::start_in(gateway.kill(), &moved);
    assert_eq!(gateway.get("/", &[("cookie", &cookie)]).status, 200);
    assert_eq!(gateway.get("/", &[("authorization", &bearer)]).status, 200);
}

#[test]
fn what_is_no_whole_backup_changes_nothing() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::start(&yaml(&upstream));
    let folder = gateway.config.parent().expect("a folder").to_owned();
    let (store, file) = (folder.join("data"), folder.join("backup.jsonl"));
    gateway.add_user("alice", &[]);
    let written = gateway.command(&["store", "backup", "-"], "").stdout;
    gateway.signal("TERM");
    gateway.wait();
    std::fs::rename(&store, folder.join("kept")).expect("it is moved");
    let mut changed = written.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    for (bad, reason) in [
        (&written[..written.len() - 10], "cut short"),
        (&written[..written.len() / 2], "damaged"),
        (&changed[..], "damaged"),
        (b"{\"kind\":\"something else\",\"version\":1,\"began_at\":0}\n", "no backup"),
        (b"", "no backup"),
    ] {
        std::fs::write(&file, bad).expect("it is written");
        let output = gateway.command(&["store", "restore", file.to_str().expect("text")], "");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(reason) && told.contains("nothing was restored"), "{told}");
        assert!(!store.exists() && !folder.join("data.restoring").exists());
    }
    let output = gateway.command(&["store", "restore", "nowhere.jsonl"], "");
    assert!(String::from_utf8_lossy(&output.stderr).contains("can't read nowhere.jsonl"), "{output:?}");
    std::fs::write(&file, &written).expect("it is written");
    done(&gateway, &["store", "restore", file.to_str().expect("text")]);
}
