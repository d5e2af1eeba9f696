//! A configuration that is read again while Foregate serves: what changes, what stays, and what is refused.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::edge::{Server, memory};
use crate::harness::{Connection, Gateway, PASSWORD, Upstream, complete, free_address, wait_until};
use crate::listeners::Load;

/// One route for everything, public.
fn to(upstream: SocketAddr, head: &str) -> String {
    format!(
        "{head}\nupstreams: {{ app: \"http://{upstream}\" }}\nroutes: [{{ path: /**, access: public, upstream: app }}]\n"
    )
}

/// Two upstreams that say which they are.
fn two() -> (Upstream, Upstream) {
    let saying = |name: &'static str| {
        Upstream::answering(move |_| {
            format!("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{name}").into_bytes()
        })
    };
    (saying("one"), saying("two"))
}

#[track_caller]
fn reload(gateway: &Gateway) -> Output {
    let output = gateway.command(&["reload"], "");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    output
}

fn body(gateway: &Gateway) -> String {
    gateway.get("/", &[]).text()
}

#[track_caller]
fn comes_to(gateway: &Gateway, text: &str) {
    wait_until(|| body(gateway) == text, || format!("it does not come to {text}: {}", gateway.log()));
}

#[test]
fn a_changed_file_is_in_force_on_sighup_on_the_command_and_by_itself() {
    let (one, two) = two();
    let gateway = Gateway::start(&to(one.address, ""));
    assert_eq!(body(&gateway), "one");
    // By itself: written in place, …
    gateway.write_config(&to(two.address, ""));
    comes_to(&gateway, "two");
    // … replaced, …
    let beside = gateway.directory().join("next.yaml");
    std::fs::write(&beside, complete(&to(one.address, ""))).expect("it is written");
    std::fs::rename(&beside, &gateway.config).expect("it is renamed");
    comes_to(&gateway, "one");
    // … or a link that is turned, as mounted configuration maps do it.
    let versions = |name: &str, upstream: SocketAddr| {
        let folder = gateway.directory().join(name);
        std::fs::create_dir(&folder).expect("a folder");
        let text =
            complete(&to(upstream, &format!("store: sled:{}", gateway.directory().join("data").display())));
        std::fs::write(folder.join("foregate.yaml"), text).expect("it is written");
    };
    versions("v1", two.address);
    versions("v2", one.address);
    let turn = |version: &str| {
        let link = gateway.directory().join("turned");
        let _ = std::fs::remove_file(&link);
        symlink(version, &link).expect("a link");
        std::fs::rename(&link, gateway.directory().join("current")).expect("it is renamed");
    };
    turn("v1");
    std::fs::remove_file(&gateway.config).expect("it goes");
    symlink("current/foregate.yaml", &gateway.config).expect("a link");
    comes_to(&gateway, "two");
    turn("v2");
    comes_to(&gateway, "one");
    // At once: on SIGHUP, and on the command, which waits for it.
    turn("v1");
    gateway.signal("HUP");
    comes_to(&gateway, "two");
    turn("v2");
    reload(&gateway);
    assert_eq!(body(&gateway), "one");
}

#[test]
fn a_faulty_file_changes_nothing_and_is_told_with_its_faults() {
    let (one, _) = two();
    let gateway = Gateway::start(&to(one.address, ""));
    std::fs::write(
        &gateway.config,
        "listen: 127.0.0.1:0\nupstreams: { app: \"ftp://a\" }\nroutes: [{ path: a, upstream: ap }]\n",
    )
    .expect("it is written");
    let output = gateway.command(&["reload"], "");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = String::from_utf8(output.stderr).expect("text");
    for fault in ["foregate.yaml:2:", "foregate.yaml:3:18", "foregate.yaml:3:"] {
        assert!(told.contains(fault), "{told}");
    }
    assert_eq!(body(&gateway), "one");
    gateway.wait_for_log("the configuration was not reloaded");
    // `status` says so, in both its forms, and is no failure.
    let status = gateway.command(&["status"], "");
    let shown = String::from_utf8(status.stdout).expect("text");
    assert_eq!(status.status.code(), Some(0));
    assert!(shown.contains("up, of app; 0 under way"), "{shown}");
    for part in [
        "Ready          yes",
        "refused",
        "foregate.yaml:2:",
        &gateway.address.to_string(),
        &gateway.id().to_string(),
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let json: serde_json::Value =
        serde_json::from_slice(&gateway.command(&["status", "--json"], "").stdout).expect("JSON");
    assert!(
        json["last_reload"]["error"].as_str().is_some_and(|error| error.contains("foregate.yaml:2:")),
        "{json}"
    );
    assert_eq!(json["process"], gateway.id());
    assert_eq!(json["listening"], serde_json::json!([gateway.address.to_string()]));
    // A file that isn't there is one that is faulty.
    std::fs::remove_file(&gateway.config).expect("it goes");
    gateway.signal("HUP");
    wait_until(
        || {
            gateway.log().contains("foregate.yaml: can't be read")
                || gateway.log().matches("not reloaded").count() > 1
        },
        || gateway.log(),
    );
    assert_eq!(body(&gateway), "one");
    gateway.write_config(&to(one.address, ""));
    reload(&gateway);
    let json: serde_json::Value =
        serde_json::from_slice(&gateway.command(&["status", "--json"], "").stdout).expect("JSON");
    assert!(json["last_reload"]["at"].is_string() && json["last_reload"]["error"].is_null(), "{json}");
}

fn with_secret(upstream: SocketAddr, file: &str) -> String {
    format!(
        "upstreams: {{ app: \"http://{upstream}\" }}\n\
         routes: [{{ path: /**, access: public, upstream: app, headers: {{ X-Key: {{ file: {file} }} }} }}]\n"
    )
}

#[test]
fn a_file_that_a_refused_configuration_names_makes_it_sound_when_it_comes() {
    let (one, two) = two();
    let gateway = Gateway::start(&to(one.address, ""));
    gateway.write_config(&with_secret(two.address, "key.txt"));
    gateway.wait_for_log("the configuration was not reloaded");
    assert_eq!(body(&gateway), "one");
    std::fs::write(gateway.directory().join("key.txt"), "secret\n").expect("it is written");
    comes_to(&gateway, "two");
    assert!(two.last().contains("x-key: secret"), "{}", two.last());
}

#[test]
fn a_file_that_can_not_be_read_in_time_holds_up_neither_requests_nor_the_stop() {
    let (one, _) = two();
    let mut gateway = Gateway::start(&to(one.address, ""));
    let pipe = gateway.directory().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
    assert!(made.success());
    gateway.write_config(&with_secret(one.address, "pipe"));
    gateway.signal("HUP");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(body(&gateway), "one");
    let began = Instant::now();
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0), "{}", gateway.log());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn what_a_running_process_keeps_is_refused_with_its_place() {
    let (one, _) = two();
    let gateway = Gateway::start(&to(one.address, ""));
    for (head, place, key) in [
        ("store: sled:./elsewhere", "foregate.yaml:3:8: ", "`store`"),
        ("admin: { socket: other.sock }", "foregate.yaml:4:18: ", "`admin.socket`"),
        ("log: { format: pretty }", "foregate.yaml:4:16: ", "`log.format`"),
    ] {
        gateway.write_config(&to(one.address, head));
        // The command itself has to find the server by the file: where that names another socket, it can't.
        gateway.signal("HUP");
        wait_until(
            || gateway.log().contains(&format!("{key} can't change")),
            || format!("{key}: {}", gateway.log()),
        );
        let log = gateway.log();
        assert!(log.contains(&format!("{place}{key}")), "{log}");
        let told = log.lines().rfind(|line| line.contains("can't change")).expect("it was told");
        assert_eq!(told.matches("can't change").count(), 1, "nothing but this: {told}");
        assert_eq!(body(&gateway), "one");
        assert!(
            !gateway.directory().join("elsewhere").exists()
                && !gateway.directory().join("other.sock").exists()
        );
    }
}

#[test]
fn a_kept_connection_has_the_new_configuration_with_its_next_request() {
    let (one, two) = two();
    let gateway = Gateway::start(&to(one.address, ""));
    let mut kept: Vec<Connection> = (0..8).map(|_| gateway.connect()).collect();
    let mut ask = |expected: &str| {
        for connection in &mut kept {
            connection.write(b"GET / HTTP/1.1\r\nhost: app.test\r\n\r\n");
            assert_eq!(connection.reply(false).text(), expected);
        }
    };
    ask("one");
    for _ in 0..5 {
        gateway.write_config(&to(two.address, ""));
        reload(&gateway);
        ask("two");
        gateway.write_config(&to(one.address, ""));
        reload(&gateway);
        ask("one");
    }
    // Roles, limits and the name of the cookie as well.
    gateway.add_user("alice", &["staff"]);
    let with = |head: &str, route: &str| {
        format!(
            "{head}\nupstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app{route} }}]\n",
            one.address
        )
    };
    gateway.write_config(&with("", ""));
    reload(&gateway);
    let cookie = gateway.sign_in("alice");
    let status = |cookie: &str| gateway.get("/", &[("cookie", cookie)]).status;
    assert_eq!(status(&cookie), 200);
    gateway.write_config(&with("", ", require: { roles: [admin] }"));
    reload(&gateway);
    assert_eq!(status(&cookie), 403);
    gateway.write_config(&with("session: { cookie: { name: other } }", ""));
    reload(&gateway);
    assert_eq!(status(&cookie), 401);
    assert_eq!(status(&cookie.replace("foregate=", "other=")), 200, "the session itself stays");
    gateway.write_config(&with("limits: { body: 3 }", ""));
    reload(&gateway);
    assert_eq!(status(&cookie), 200);
    assert_eq!(gateway.request("POST", "/", &[("cookie", &cookie)], b"four").status, 413);
}

#[test]
fn shorter_limits_hold_for_the_sessions_that_are_there() {
    let (one, _) = two();
    let with = |session: &str| {
        format!(
            "session: {{ {session} }}\nupstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app }}]\n",
            one.address
        )
    };
    let gateway = Gateway::start(&with("lifetime: 1h"));
    gateway.add_user("alice", &[]);
    let cookie = gateway.sign_in("alice");
    assert_eq!(gateway.get("/", &[("cookie", &cookie)]).status, 200);
    gateway.write_config(&with("lifetime: 1s"));
    reload(&gateway);
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(gateway.get("/", &[("cookie", &cookie)]).status, 401);
}

#[test]
fn a_secret_beside_a_fault_is_not_told_in_the_log() {
    let (one, _) = two();
    let gateway = Gateway::start(&to(one.address, ""));
    let faulty = with_secret(one.address, "key").replace("{ file: key }", "\"hush-hush\\n\"");
    gateway.write_config(&faulty.replace("access: public", "access: public, acess: x"));
    let output = gateway.command(&["reload"], "");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    gateway.wait_for_log("unknown key `acess`");
    assert!(!gateway.log().contains("hush"), "{}", gateway.log());
}

#[test]
fn failed_logins_stay_counted() {
    let (one, _) = two();
    let with = |count: u32| to(one.address, &format!("limits: {{ login: {{ per_account: {count}/15m }} }}"));
    let gateway = Gateway::start(&with(5));
    gateway.add_user("alice", &[]);
    for _ in 0..3 {
        assert_eq!(gateway.sign_in_with("alice", "wrong").status, 401);
    }
    gateway.write_config(&with(3));
    reload(&gateway);
    // The fourth, where three are free by now.
    assert_eq!(gateway.sign_in_with("alice", "wrong").status, 401);
    assert_eq!(gateway.sign_in_with("alice", PASSWORD).status, 429);
}

/// Tunnels that say nothing; streams of an event each 50 ms; downloads of 200 pieces in 2 s.
fn streams() -> Server {
    Server::start(|peer| {
        while let Some(head) = peer.head() {
            let head = head.to_lowercase();
            if head.contains("upgrade: echo") {
                peer.write(
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n",
                );
                loop {
                    let bytes = peer.read_some();
                    if bytes.is_empty() || !peer.write(bytes) {
                        return;
                    }
                }
            }
            if head.starts_with("get /events") {
                peer.write("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n");
                while peer.write("data: 1\n\n") {
                    std::thread::sleep(Duration::from_millis(50));
                }
                return;
            }
            if head.starts_with("get /download") {
                peer.write("HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n");
                for _ in 0..200 {
                    peer.write([b'x'; 1000]);
                    std::thread::sleep(Duration::from_millis(10));
                }
                continue;
            }
            peer.write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
        }
    })
}

fn tunnel(gateway: &Gateway, cookie: &str) -> Connection {
    let mut tunnel = gateway.connect();
    tunnel.write(format!("GET / HTTP/1.1\r\nhost: app.test\r\nconnection: upgrade\r\nupgrade: echo\r\ncookie: {cookie}\r\n\r\n").as_bytes());
    assert_eq!(tunnel.head().status, 101);
    tunnel
}

#[test]
fn tunnels_streams_and_downloads_live_on_and_end_with_their_session_all_the_same() {
    let server = streams();
    let with = |head: &str| {
        format!(
            "{head}\nupstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app }}]\n",
            server.address
        )
    };
    let gateway = Gateway::start(&with(""));
    gateway.add_user("alice", &[]);
    let cookie = gateway.sign_in("alice");
    let mut tunnel = tunnel(&gateway, &cookie);
    let get = |target: &str| {
        let mut connection = gateway.connect();
        connection
            .write(format!("GET {target} HTTP/1.1\r\nhost: app.test\r\ncookie: {cookie}\r\n\r\n").as_bytes());
        connection
    };
    let mut events = get("/events");
    assert_eq!(events.head().status, 200);
    let mut download = get("/download");
    // Settings of sessions and tokens, so that the authenticator is another one afterwards; the cache is a new one, too.
    for head in ["session: { idle_timeout: 2h }", "tokens: { access_ttl: 5m }", "cache: { ttl: 10s }", ""] {
        gateway.write_config(&with(head));
        reload(&gateway);
        tunnel.write(b"ping");
        assert_eq!(tunnel.read(4), b"ping", "{head}");
        events.read(100);
    }
    let reply = download.reply(false);
    assert_eq!((reply.status, reply.body.len(), reply.cut), (200, 200_000, false));
    assert_eq!(gateway.get("/", &[("cookie", &cookie)]).status, 200, "the session stays");
    gateway.write_config(&with("session: { idle_timeout: 3h }"));
    reload(&gateway);
    let headers = [("cookie", cookie.as_str()), ("content-type", "application/json")];
    assert_eq!(gateway.request("POST", "/.auth/logout", &headers, b"{}").status, 204);
    let began = Instant::now();
    tunnel.read_to_end();
    events.read_to_end();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn addresses_come_and_go_and_one_that_stays_sees_nothing_of_it() {
    let upstream = Upstream::start();
    let (stays, goes) = (free_address().port(), free_address().port());
    let listening =
        |listen: &str| to(upstream.address, &format!("listen: {listen}\npublic_url: http://app.test"));
    let gateway = Gateway::start(&listening(&format!("127.0.0.1:{stays}")));
    let answers = |port: u16| TcpStream::connect(("127.0.0.1", port)).is_ok();
    let load = Load::on(SocketAddr::from(([127, 0, 0, 1], stays)), 4);
    let other = Load::on(SocketAddr::from(([127, 0, 0, 1], goes)), 4);
    for _ in 0..8 {
        gateway.write_config(&listening(&format!("[\"127.0.0.1:{stays}\", \"127.0.0.1:{goes}\"]")));
        reload(&gateway);
        assert!(answers(goes));
        // Who is connected when the address goes is served still.
        let mut kept = Connection::to(SocketAddr::from(([127, 0, 0, 1], goes)));
        kept.write(b"GET / HTTP/1.1\r\nhost: app.test\r\n\r\n");
        assert_eq!(kept.reply(false).status, 200);
        std::thread::sleep(Duration::from_millis(200));
        gateway.write_config(&listening(&format!("127.0.0.1:{stays}")));
        reload(&gateway);
        wait_until(|| !answers(goes), || "it listens still".to_owned());
        kept.write(b"GET / HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\n\r\n");
        assert_eq!(kept.reply(false).status, 200);
    }
    // Gone and back at once, while the threads still close what they had.
    for listen in [format!("[\"127.0.0.1:{stays}\", \"127.0.0.1:{goes}\"]"), format!("127.0.0.1:{stays}")]
        .iter()
        .cycle()
        .take(6)
    {
        gateway.write_config(&listening(listen));
        reload(&gateway);
    }
    let (answered, failed) = load.stop();
    assert!(
        failed.is_empty() && answered > 100,
        "{answered} answered, {}: {:?}",
        failed.len(),
        failed.first()
    );
    // The one that goes refuses once it has gone; whoever got a connection got an answer.
    let (answered, failed) = other.stop();
    let broken: Vec<_> = failed.iter().filter(|error| !error.contains("refused")).collect();
    assert!(
        broken.is_empty() && answered > 20,
        "{answered} answered, {}: {:?}",
        broken.len(),
        broken.first()
    );
}

#[test]
fn an_address_that_is_widened_or_narrowed_loses_no_connection() {
    let upstream = Upstream::start();
    let port = free_address().port();
    let listening =
        |host: &str| to(upstream.address, &format!("listen: \"{host}:{port}\"\npublic_url: http://app.test"));
    let gateway = Gateway::start(&listening("127.0.0.1"));
    let load = Load::on(SocketAddr::from(([127, 0, 0, 1], port)), 6);
    for host in ["0.0.0.0", "127.0.0.1", "0.0.0.0", "[::]", "127.0.0.1"] {
        gateway.write_config(&listening(host));
        reload(&gateway);
        // Who came in the very moment asks again after a second.
        std::thread::sleep(Duration::from_millis(1100));
    }
    let (answered, failed) = load.stop();
    assert!(
        failed.is_empty() && answered > 100,
        "{answered} answered, {}: {:?}",
        failed.len(),
        failed.first()
    );
}

#[test]
fn a_port_that_is_taken_refuses_the_whole_file() {
    let (one, two) = two();
    let gateway = Gateway::start(&to(one.address, ""));
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = holder.local_addr().expect("an address").port();
    let free = free_address().port();
    gateway.write_config(&to(
        two.address,
        &format!("listen: [\"127.0.0.1:0\", \"127.0.0.1:{free}\", \"unix:new.sock\", \"127.0.0.1:{taken}\"]"),
    ));
    let output = gateway.command(&["reload"], "");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains(&format!("127.0.0.1:{taken}")) && told.contains("another program has this port"),
        "{told}"
    );
    assert_eq!(body(&gateway), "one");
    assert!(TcpStream::connect(("127.0.0.1", free)).is_err(), "nothing of it is in force");
    assert!(!gateway.directory().join("new.sock").exists());
    drop(holder);
    reload(&gateway);
    assert_eq!(body(&gateway), "two");
    assert!(TcpStream::connect(("127.0.0.1", taken)).is_ok());
}

#[test]
fn an_address_of_both_families_takes_over_what_it_had_left_to_another() {
    let upstream = Upstream::start();
    let port = free_address().port();
    let listening =
        |listen: &str| to(upstream.address, &format!("listen: {listen}\npublic_url: http://app.test"));
    let get = |host: &str| {
        let mut connection = Connection::try_to(format!("{host}:{port}").parse().expect("an address"))?;
        connection.write(b"GET / HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\n\r\n");
        Some(connection.reply(false).status)
    };
    // Several addresses of one port, at the start too.
    let gateway =
        Gateway::start(&listening(&format!("[\"127.0.0.1:{port}\", \"0.0.0.0:{port}\", \"[::]:{port}\"]")));
    for listen in ["[\"[::]:PORT\"]", "[\"[::]:PORT\", \"0.0.0.0:PORT\"]", "[\"[::]:PORT\"]"] {
        assert_eq!((get("127.0.0.1"), get("[::1]")), (Some(200), Some(200)));
        gateway.write_config(&listening(&listen.replace("PORT", &port.to_string())));
        reload(&gateway);
        wait_until(|| get("127.0.0.1") == Some(200), || format!("IPv4 is gone: {}", gateway.log()));
    }
    assert_eq!((get("127.0.0.1"), get("[::1]")), (Some(200), Some(200)));
}

#[test]
fn a_connection_that_stays_open_keeps_nothing_of_the_configurations_it_has_seen() {
    let (one, _) = two();
    // Each has hashing threads of its own, which can be counted.
    let with = |memory: usize| {
        to(
            one.address,
            &format!("password: {{ workers: 1, argon2: {{ memory: {memory}MiB, iterations: 1 }} }}"),
        )
    };
    let gateway = Gateway::start(&with(7));
    let hashing = || threads(&gateway).iter().filter(|name| name.starts_with("password-0")).count();
    assert_eq!(hashing(), 1, "{:?}", threads(&gateway));
    let mut kept = Vec::new();
    for memory in 8..20 {
        let mut connection = gateway.connect();
        connection.write(b"GET / HTTP/1.1\r\nhost: app.test\r\n\r\n");
        assert_eq!(connection.reply(false).status, 200);
        kept.push(connection);
        gateway.write_config(&with(memory));
        reload(&gateway);
    }
    wait_until(|| hashing() == 1, || format!("{:?}", threads(&gateway)));
    for connection in &mut kept {
        assert!(connection.stays_open());
    }
}

fn count(gateway: &Gateway, what: &str) -> usize {
    std::fs::read_dir(format!("/proc/{}/{what}", gateway.id())).expect("it is running").count()
}

/// The names of the program's threads.
fn threads(gateway: &Gateway) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", gateway.id())).expect("it is running");
    // A thread may end between the two looks.
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
    tasks.filter_map(|task| name(task.ok()?)).map(|name| name.trim().to_owned()).collect()
}

fn sockets_to(address: SocketAddr, path: &Path) -> usize {
    let suffix = format!("{:02X}{:02X}{:02X}{:02X}:{:04X}", 1, 0, 0, 127, address.port());
    let table = std::fs::read_to_string(path).expect("the kernel's table");
    table
        .lines()
        .filter(|line| line.split_whitespace().nth(2) == Some(&suffix))
        .filter(|line| line.contains(" 01 "))
        .count()
}

#[test]
fn hundreds_of_reloads_under_load_leak_nothing() {
    let upstream = Upstream::start();
    let with = |number: usize| {
        to(
            upstream.address,
            // Everything that is built anew when it changes: sessions, tokens, limits, pages, an address.
            &format!(
                "session: {{ idle_timeout: {}m }}\ncache: {{ capacity: {} }}\nportal: {{ title: \"{number}\" }}\n\
                 limits: {{ login: {{ per_ip: {}/1m }} }}\nlisten: [\"127.0.0.1:0\"{}]\npublic_url: http://app.test",
                10 + number % 7,
                1000 + number,
                10 + number % 5,
                if number.is_multiple_of(2) { ", unix:http.sock" } else { "" }
            ),
        )
    };
    let gateway = Gateway::start(&with(1));
    let load = Load::on(gateway.address, 3);
    let step = |number: usize| {
        gateway.write_config(&with(number));
        reload(&gateway);
    };
    (2..32).for_each(step);
    let (threads, before) = (count(&gateway, "task"), memory(&gateway, "VmRSS"));
    (32..182).for_each(step);
    let (answered, failed) = load.stop();
    assert!(
        failed.is_empty() && answered > 100,
        "{answered} answered, {}: {:?}",
        failed.len(),
        failed.first()
    );
    assert_eq!(count(&gateway, "task"), threads, "threads");
    wait_until(|| count(&gateway, "fd") < 120, || format!("{} descriptors", count(&gateway, "fd")));
    let tcp = Path::new("/proc/net/tcp");
    wait_until(
        || sockets_to(upstream.address, tcp) < 20,
        || format!("{} connections to the upstream", sockets_to(upstream.address, tcp)),
    );
    let after = memory(&gateway, "VmRSS");
    assert!(after < before + 24 * 1024, "{before} kB before, {after} kB after");
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}

#[test]
fn reloads_that_come_all_at_once_and_during_the_stop_end_well() {
    let (one, two) = two();
    let mut gateway = Gateway::start(&to(one.address, ""));
    gateway.write_config(&to(two.address, ""));
    for _ in 0..50 {
        gateway.signal("HUP");
    }
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let output = gateway.command(&["reload"], "");
                assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
            });
        }
    });
    comes_to(&gateway, "two");
    let stop = Arc::new(AtomicBool::new(false));
    let id = gateway.id().to_string();
    let storm = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let _ = std::process::Command::new("kill")
                    .args(["-HUP", &id])
                    .stderr(std::process::Stdio::null())
                    .status();
            }
        })
    };
    std::thread::sleep(Duration::from_millis(100));
    gateway.signal("TERM");
    let code = gateway.wait();
    stop.store(true, Ordering::Relaxed);
    storm.join().expect("no panic");
    assert_eq!(code, Some(0), "{}", gateway.log());
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}

#[test]
fn a_file_that_is_named_as_seen_from_its_folder_is_read_again_like_any_other() {
    let (one, two) = two();
    let directory = tempfile::tempdir().expect("a folder");
    let mut command = Command::new("sh");
    command.current_dir(directory.path()).stdin(Stdio::null()).stdout(Stdio::null());
    // What the harness says behind is for a shell without a script.
    command
        .args(["-c", concat!("exec ", env!("CARGO_BIN_EXE_foregate"), " serve")])
        .env_remove("FOREGATE_CONFIG");
    let gateway = Gateway::start_with(directory, &to(one.address, ""), command);
    gateway.write_config(&to(two.address, ""));
    comes_to(&gateway, "two");
    gateway.write_config(&to(one.address, ""));
    reload(&gateway);
    assert_eq!(body(&gateway), "one");
}
