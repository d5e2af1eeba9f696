//! Git over its smart HTTP: `git http-backend` under Apache, behind a route for Basic.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::apache::{apache, writable};
use crate::harness::{Gateway, PASSWORD};
use crate::program::{Program, directory, free_address, system};

/// As its manual has it; who pushes is whom Foregate says.
fn server() -> Program {
    let (folder, address) = (directory(), free_address());
    let repositories = writable(&folder, "repositories");
    let bare = repositories.join("work.git");
    git(&folder, None, &["init", "--quiet", "--bare", "--initial-branch=main", &text(&bare)]);
    git(&folder, None, &["--git-dir", &text(&bare), "config", "core.logAllRefUpdates", "true"]);
    let opened = Command::new("chmod").args(["-R", "a+rwX"]).arg(&repositories).status();
    assert!(opened.expect("chmod runs").success());
    // The repository is its maker's, and served by another.
    std::fs::write(folder.path().join(".gitconfig"), "[safe]\n\tdirectory = *\n").expect("written");
    let backend = text(&Path::new(&git(&folder, None, &["--exec-path"])).join("git-http-backend"));
    let root = folder.path().display();
    let config = format!(
        "ScriptSock {root}/cgi.sock\nSetEnv HOME {root}\nSetEnv GIT_PROJECT_ROOT {}\nSetEnv GIT_HTTP_EXPORT_ALL 1\n\
         SetEnvIf Remote-User \"^(.+)$\" REMOTE_USER=$1\nSetEnvIf Git-Protocol \".*\" GIT_PROTOCOL=$0\n\
         ScriptAlias / {backend}/\n",
        text(&repositories),
    );
    apache(folder, address, &["cgid"], &config)
}

fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

/// Runs git, for nobody in particular; gives what it says.
fn git(home: &TempDir, work: Option<&Path>, arguments: &[&str]) -> String {
    let mut command = system("git");
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", home.path());
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
    for role in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{role}_NAME"), "Alice")
            .env(format!("GIT_{role}_EMAIL"), "alice@example.com");
    }
    if let Some(work) = work {
        command.arg("-C").arg(work);
    }
    let output = command.args(arguments).output().expect("git runs");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    assert!(output.status.success(), "git {arguments:?}: {}", said(&output.stderr));
    said(&output.stdout)
}

/// Bytes that can't be compressed, the same for the same seed.
fn noise(mut seed: u64, count: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        bytes.extend_from_slice(&seed.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

fn repository(credentials: &str, address: SocketAddr) -> String {
    format!("http://{credentials}{address}/work.git")
}

#[test]
#[ignore = "heavy: ./tests/run --heavy"]
fn heavy_git_pushes_50_megabytes_through_a_basic_route_and_clones_them_back() {
    let server = server();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ git: \"http://{}\" }}\nroutes:\n  - {{ path: /**, credentials: [basic], upstream: git }}\n",
        server.address
    ));
    gateway.add_user("alice", &[]);
    let home = directory();
    let work = home.path().join("work");
    git(&home, None, &["init", "--quiet", "--initial-branch=main", &text(&work)]);
    let with_password = repository(&format!("alice:{}@", PASSWORD.replace(' ', "%20")), gateway.address);
    let commit = |name: &str, bytes: &[u8]| {
        std::fs::write(work.join(name), bytes).expect("written");
        git(&home, Some(&work), &["add", "."]);
        git(&home, Some(&work), &["commit", "--quiet", "--message", name]);
    };
    for number in 0..10 {
        commit(&format!("file-{number}"), &noise(number + 1, 5 << 20));
    }
    // Without a password, and with a wrong one, nothing moves.
    for credentials in ["", "alice:wrong@"] {
        let mut command = system("git");
        command.env("GIT_TERMINAL_PROMPT", "0").env("HOME", home.path()).arg("-C").arg(&work);
        let output =
            command.args(["push", "--quiet", &repository(credentials, gateway.address), "main"]).output();
        assert!(!output.expect("git runs").status.success(), "{credentials:?}");
    }
    // More than git holds in memory goes in chunks, after a question that is small.
    git(&home, Some(&work), &["-c", "http.postBuffer=65536", "push", "--quiet", &with_password, "main"]);
    // As much as it may hold goes with its length.
    for number in 0..80 {
        commit("count", number.to_string().as_bytes());
        git(&home, Some(&work), &["tag", &format!("v{number}")]);
    }
    commit("large", &noise(99, 20 << 20));
    git(
        &home,
        Some(&work),
        &["-c", "http.postBuffer=104857600", "push", "--quiet", "--tags", &with_password, "main"],
    );

    let copy = home.path().join("copy");
    git(&home, None, &["clone", "--quiet", &with_password, &text(&copy)]);
    git(&home, Some(&copy), &["fsck", "--full", "--strict"]);
    let head = |folder: &Path| git(&home, Some(folder), &["rev-parse", "HEAD", "HEAD^{tree}", "v79"]);
    assert_eq!(head(&work), head(&copy));
    for number in 0..10 {
        let file = std::fs::read(copy.join(format!("file-{number}"))).expect("it was cloned");
        assert!(file == noise(number + 1, 5 << 20), "file-{number}");
    }
    // A fetch by one who has much and wants much: its question is compressed.
    for number in 80..160 {
        commit("count", number.to_string().as_bytes());
        git(&home, Some(&work), &["tag", &format!("v{number}")]);
    }
    git(&home, Some(&work), &["push", "--quiet", "--tags", &with_password, "main"]);
    git(&home, Some(&copy), &["fetch", "--quiet", "--tags"]);
    assert_eq!(git(&home, Some(&work), &["tag"]), git(&home, Some(&copy), &["tag"]));

    // What Apache saw: Alice alone, bodies in chunks and with a length, compressed and not.
    let seen = server.read("requests");
    let posts: Vec<_> = seen.lines().filter(|line| line.starts_with("POST ")).collect();
    assert!(seen.lines().all(|line| line.split(' ').nth(3) == Some("alice")), "{seen}");
    for (kind, ends) in [("in chunks", " - chunked"), ("compressed", " gzip -"), ("with a length", " - -")] {
        assert!(posts.iter().any(|line| line.ends_with(ends)), "none {kind}: {seen}");
    }
    let reflog = server.read("repositories/work.git/logs/refs/heads/main");
    assert!(
        reflog.lines().count() == 3 && reflog.lines().all(|line| line.contains(" alice <alice@")),
        "{reflog}"
    );
}
