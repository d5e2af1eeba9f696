//! WebDAV: Debian's Apache with its file system behind a route for Basic, used with curl.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::apache::{apache, writable};
use crate::harness::{Gateway, PASSWORD};
use crate::program::{Program, directory, free_address, system};

const LARGE: usize = 200 << 20;
/// How much the gateway may grow meanwhile, in kilobytes.
const GROWTH: u64 = 24 * 1024;

fn server() -> Program {
    let (folder, address) = (directory(), free_address());
    let (files, locks) = (writable(&folder, "files"), writable(&folder, "locks"));
    let files = files.display();
    let config = format!(
        "DavLockDB {}/locks\nDocumentRoot {files}\n<Directory {files}>\nDav On\nRequire all granted\n</Directory>\n",
        locks.display()
    );
    apache(folder, address, &["dav", "dav_fs", "dav_lock"], &config)
}

/// What curl says: the status, and the body.
fn curl(gateway: SocketAddr, folder: &Path, target: &str, arguments: &[&str]) -> (u16, String) {
    let mut command = system("curl");
    command.current_dir(folder).env("HOME", folder);
    command.args(["--silent", "--show-error", "--max-time", "120", "--write-out", "\n%{http_code}"]);
    command.args(["--user", &format!("alice:{PASSWORD}")]).args(arguments);
    let output = command.arg(format!("http://{gateway}{target}")).output().expect("curl runs");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "curl {arguments:?}: {}", said(&output.stderr));
    let all = said(&output.stdout);
    let (body, status) = all.rsplit_once('\n').expect("it says the status");
    (status.parse().expect("a number"), body.to_owned())
}

/// Kilobytes of a process: `VmRSS` now, or `VmHWM` for the most that it ever was.
fn memory(process: u32, what: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it is running");
    let line = status.lines().find(|line| line.starts_with(what)).expect("the kernel says it");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

/// The digest of a file, by a program that is not ours.
fn checksum(file: &Path) -> String {
    let output = system("sha256sum").arg("-b").arg(file).output().expect("sha256sum runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.split(' ').next().filter(|sum| sum.len() == 64).expect("a digest").to_owned()
}

fn gateway(server: &Program) -> Gateway {
    let gateway = Gateway::start(&format!(
        "upstreams: {{ dav: \"http://{}\" }}\nroutes:\n  - {{ path: /**, credentials: [basic], upstream: dav }}\n",
        server.address
    ));
    gateway.add_user("alice", &[]);
    gateway
}

#[test]
#[ignore = "heavy: ./tests/run --heavy"]
fn heavy_webdav_takes_200_megabytes_and_gives_them_back_in_little_memory() {
    let server = server();
    let gateway = gateway(&server);
    let folder = directory();
    let (sent, received) = (folder.path().join("sent"), folder.path().join("received"));
    let block: Vec<u8> =
        (0..LARGE as u32 / 4).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    std::fs::write(&sent, &block).expect("written");
    drop(block);
    let checksum_sent = checksum(&sent);
    let ask = |target: &str, arguments: &[&str]| curl(gateway.address, folder.path(), target, arguments);

    assert_eq!(ask("/warm", &["--upload-file", "/etc/hostname"]).0, 201);
    let before = memory(gateway.id(), "VmRSS");
    for (name, ways) in [
        // curl asks before it sends so much; also where it is told not to; also in chunks.
        ("asked", &["--expect100-timeout", "30"][..]),
        ("unasked", &["--header", "Expect:"]),
        ("chunks", &["--header", "Transfer-Encoding: chunked"]),
    ] {
        let (target, began) = (format!("/{name}"), Instant::now());
        let (status, _) = ask(&target, &[&["--upload-file", "sent"], ways].concat());
        assert_eq!(status, 201, "{name}: {}", server.log());
        assert!(
            began.elapsed() < Duration::from_secs(25),
            "{name}: curl was told to go on, and did not wait in vain"
        );
        assert_eq!(checksum(&server.path(&format!("files/{name}"))), checksum_sent, "{name}");
        assert_eq!(ask(&target, &["--output", "received"]).0, 200);
        assert_eq!(checksum(&received), checksum_sent, "{name}");
    }
    // A part of it, as players and download managers ask for.
    let (status, _) = ask("/asked", &["--range", "104857600-104857699", "--output", "received"]);
    let whole = std::fs::read(&sent).expect("it is there");
    assert_eq!(status, 206);
    assert!(std::fs::read(&received).expect("it was written") == whole[104_857_600..104_857_700]);
    let grown = memory(gateway.id(), "VmHWM").saturating_sub(before);
    assert!(grown < GROWTH, "{before} kB and {grown} kB more");

    // Refused before it is sent: who asks first sends nothing.
    let (status, _) = ask("/refused", &["--user", "alice:wrong", "--upload-file", "sent"]);
    assert_eq!(status, 401);
    assert!(!server.path("files/refused").exists());
}

#[test]
#[ignore = "heavy: ./tests/run --heavy"]
fn heavy_webdav_lists_makes_moves_and_locks() {
    let server = server();
    let gateway = gateway(&server);
    let folder = directory();
    let ask = |target: &str, arguments: &[&str]| curl(gateway.address, folder.path(), target, arguments);
    let header = |name: &str, value: &str| format!("{name}: {value}");
    let at = |target: &str| format!("http://{}{target}", gateway.address);

    assert_eq!(ask("/work/", &["--request", "MKCOL"]).0, 201);
    assert_eq!(ask("/work/", &["--request", "MKCOL"]).0, 405, "it is there");
    std::fs::write(folder.path().join("one"), "first").expect("written");
    assert_eq!(ask("/work/one%20%C3%A9", &["--upload-file", "one"]).0, 201);
    let (status, listed) = ask("/work/", &["--request", "PROPFIND", "--header", "Depth: 1"]);
    assert!(status == 207 && listed.contains("/work/one%20%c3%a9"), "{status}: {listed}");

    // `Destination` is a whole URL: Apache takes it only where its host is the one that was asked for.
    let to = header("Destination", &at("/work/two"));
    assert_eq!(ask("/work/one%20%C3%A9", &["--request", "MOVE", "--header", &to]).0, 201, "{}", server.log());
    let to = header("Destination", &at("/three"));
    assert_eq!(ask("/work/two", &["--request", "COPY", "--header", &to]).0, 201);
    let never = [to.as_str(), "Overwrite: F"];
    assert_eq!(ask("/work/two", &["--request", "COPY", "--header", never[0], "--header", never[1]]).0, 412);
    assert_eq!(ask("/three", &[]), (200, "first".to_owned()));
    assert_eq!(ask("/work/one%20%C3%A9", &[]).0, 404);

    let body = "<?xml version=\"1.0\"?><D:lockinfo xmlns:D=\"DAV:\"><D:lockscope><D:exclusive/></D:lockscope>\
        <D:locktype><D:write/></D:locktype></D:lockinfo>";
    let xml = header("Content-Type", "application/xml");
    let lock = ["--request", "LOCK", "--data", body, "--header", &xml, "--include"];
    let (status, answer) = ask("/three", &lock);
    let token = answer
        .lines()
        .find_map(|line| line.strip_prefix("Lock-Token: ").or(line.strip_prefix("lock-token: ")));
    let token = token.unwrap_or_else(|| panic!("no token: {status} {answer}")).trim().to_owned();
    assert_eq!(ask("/three", &["--upload-file", "one"]).0, 423, "locked");
    let holds = header("If", &format!("({token})"));
    assert_eq!(ask("/three", &["--upload-file", "one", "--header", &holds]).0, 204);
    let unlock = header("Lock-Token", &token);
    assert_eq!(ask("/three", &["--request", "UNLOCK", "--header", &unlock]).0, 204);
    assert_eq!(ask("/three", &["--request", "DELETE"]).0, 204);

    // The program `cadaver` and Finder ask for this first.
    let (status, answer) = ask("/", &["--request", "OPTIONS", "--include"]);
    assert!(status == 200 && answer.to_lowercase().contains("\ndav: 1,2"), "{answer}");
    let seen = server.read("requests");
    assert!(seen.lines().all(|line| line.rsplit(' ').nth(2) == Some("alice")), "{seen}");
}
