//! Where connections come in: PROXY headers, Unix sockets, sockets that were handed over, and what the service manager
//! is told.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::{Gateway, PASSWORD, PATIENCE, Upstream, complete, foregate, run, wait_until};

const GET: &[u8] = b"GET /a HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\n\r\n";

fn public(upstream: &Upstream, head: &str) -> String {
    format!(
        "{head}\nupstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, access: public, upstream: app }}]\n",
        upstream.address
    )
}

/// What the upstream was told of the client.
fn forwarded_for(upstream: &Upstream) -> String {
    let seen = upstream.last();
    let line = seen.lines().find_map(|line| line.strip_prefix("x-forwarded-for: "));
    line.unwrap_or_else(|| panic!("no x-forwarded-for: {seen}")).to_owned()
}

fn v2(rest: &[u8], family: u8) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n\x21", &[family][..], &length, rest].concat()
}

// ---- PROXY headers -------------------------------------------------------------------------------

#[test]
fn the_address_in_a_proxy_header_is_the_client_for_everything() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&public(&upstream, "proxy_protocol: true\ntrusted_proxies: [127.0.0.1]"));
    let v6 = {
        let mut addresses = [0; 36];
        addresses[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        addresses[15] = 9;
        v2(&addresses, 0x21)
    };
    for (header, client) in [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n".to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 4711 80\r\n".to_vec(), "2001:db8::7"),
        (v2(&[192, 0, 2, 8, 10, 0, 0, 1, 1, 2, 0, 80], 0x11), "192.0.2.8"),
        (v6, "2001:db8::9"),
        // The proxy's own connection, and that of a program without an address, are the proxy's.
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (v2(&[b'/'; 216], 0x31), "127.0.0.1"),
    ] {
        let reply = gateway.send(&[&header[..], GET].concat());
        assert_eq!((reply.status, reply.text().as_str()), (200, "hello"), "{header:?}: {reply:?}");
        assert_eq!(forwarded_for(&upstream), client, "{header:?}");
        // Byte by byte, and several requests after one header.
        let mut connection = gateway.connect();
        for byte in &header {
            connection.write(&[*byte]);
            std::thread::sleep(Duration::from_millis(1));
        }
        for _ in 0..2 {
            connection.write(b"GET /b HTTP/1.1\r\nhost: app.test\r\n\r\n");
            assert_eq!(connection.reply(false).status, 200, "{header:?}");
            assert_eq!(forwarded_for(&upstream), client, "{header:?}");
        }
    }
    // The word of the proxy that the header names is not taken, unless that one is trusted as well.
    let told =
        b"GET /a HTTP/1.1\r\nhost: app.test\r\nx-forwarded-for: 203.0.113.5\r\nconnection: close\r\n\r\n";
    let stranger = [b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n", &told[..]].concat();
    assert_eq!(gateway.send(&stranger).status, 200);
    assert_eq!(forwarded_for(&upstream), "192.0.2.7");
    let trusted = [b"PROXY TCP4 127.0.0.1 127.0.0.1 4711 80\r\n", &told[..]].concat();
    assert_eq!(gateway.send(&trusted).status, 200);
    assert_eq!(forwarded_for(&upstream), "203.0.113.5, 127.0.0.1");
}

#[test]
fn failed_logins_count_for_the_address_in_the_proxy_header() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&public(
        &upstream,
        "proxy_protocol: true\ntrusted_proxies: [127.0.0.1]\nlimits: { login: { per_account: 3/15m } }",
    ));
    gateway.add_user("alice", &[]);
    let sign_in = |client: &str, password: &str| {
        let body = format!(r#"{{"username":"alice","password":"{password}"}}"#);
        let request = format!(
            "PROXY TCP4 {client} 10.0.0.1 4711 80\r\nPOST /.auth/login HTTP/1.1\r\nhost: app.test\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        gateway.send(request.as_bytes()).status
    };
    for _ in 0..3 {
        sign_in("192.0.2.7", "wrong");
    }
    assert_eq!(sign_in("192.0.2.7", PASSWORD), 429);
    assert_eq!(sign_in("192.0.2.8", PASSWORD), 200);
}

#[test]
fn a_trusted_peer_without_a_sound_proxy_header_gets_nothing() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&public(
        &upstream,
        "proxy_protocol: true\ntrusted_proxies: [127.0.0.1]\nlimits: { header_timeout: 300ms }",
    ));
    let cases: [&[u8]; 6] = [
        GET,
        b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2 3\r\n",
        b"PROXY TCP4 nonsense\r\n",
        &[b'P'; 200],
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ];
    for bytes in cases {
        let mut connection = gateway.connect();
        connection.write(bytes);
        connection.write(GET);
        assert!(connection.read_to_end().is_empty(), "{bytes:?}");
    }
    // One that doesn't come to its end is not waited for.
    let began = std::time::Instant::now();
    for bytes in [&b""[..], b"PROXY TCP4 192.0", b"\r\n\r\n\0"] {
        let mut connection = gateway.connect();
        connection.write(bytes);
        assert!(connection.read_to_end().is_empty(), "{bytes:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(upstream.count(), 0);
    gateway.wait_for_log("`proxy_protocol` is on");
    let told = gateway.log().matches("`proxy_protocol` is on").count();
    assert_eq!(told, 1, "told once in a while: {}", gateway.log());
    // Others are served meanwhile.
    let header = b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n";
    assert_eq!(gateway.send(&[&header[..], GET].concat()).status, 200);
}

#[test]
fn a_proxy_header_of_a_stranger_is_garbage_and_without_the_key_everybodys_is() {
    let upstream = Upstream::start();
    let header = b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n";
    for head in [
        "proxy_protocol: true\ntrusted_proxies: [192.0.2.1]",
        "trusted_proxies: [127.0.0.1]",
        "proxy_protocol: true",
    ] {
        let gateway = Gateway::start(&public(&upstream, head));
        let before = upstream.count();
        assert_eq!(gateway.send(&[&header[..], GET].concat()).status, 400, "{head}");
        let binary = v2(&[192, 0, 2, 8, 10, 0, 0, 1, 1, 2, 0, 80], 0x11);
        assert_eq!(gateway.send(&[&binary[..], GET].concat()).status, 400, "{head}");
        assert_eq!(upstream.count(), before, "{head}");
        assert_eq!(gateway.send(GET).status, 200, "{head}");
        assert_eq!(forwarded_for(&upstream), "127.0.0.1", "{head}");
    }
}

// ---- Unix sockets --------------------------------------------------------------------------------

/// The status of a GET over a Unix socket.
fn get_unix(path: &Path) -> Option<u16> {
    let mut stream = UnixStream::connect(path).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream.write_all(GET).ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).ok()?;
    reply.split(' ').nth(1)?.parse().ok()
}

fn mode(path: &Path) -> u32 {
    let found = std::fs::symlink_metadata(path).expect("it is there");
    assert!(found.file_type().is_socket());
    found.permissions().mode() & 0o777
}

#[test]
fn a_unix_socket_has_its_mode_and_its_programs_count_as_this_machine() {
    let upstream = Upstream::start();
    let head =
        "public_url: http://app.test\nlisten: [unix:http.sock, { unix: private.sock, mode: \"0600\" }]";
    let mut gateway = Gateway::start(&public(&upstream, head));
    let at = |name: &str| gateway.directory().join(name);
    assert_eq!((mode(&at("http.sock")), mode(&at("private.sock"))), (0o660, 0o600));
    for name in ["http.sock", "private.sock"] {
        assert_eq!(get_unix(&at(name)), Some(200));
        assert_eq!(forwarded_for(&upstream), "127.0.0.1");
    }
    let inode =
        |name: &str| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(at(name)).expect("it is there"));
    let before = inode("http.sock");
    // A reload keeps it; another mode is another mode and not another socket; one that is not listed any more goes.
    gateway.write_config(&public(
        &upstream,
        "public_url: http://app.test\nlisten: { unix: http.sock, mode: \"0666\" }",
    ));
    assert!(gateway.command(&["reload"], "").status.success(), "{}", gateway.log());
    assert_eq!((inode("http.sock"), mode(&at("http.sock"))), (before, 0o666));
    assert_eq!(get_unix(&at("http.sock")), Some(200));
    assert!(!at("private.sock").exists());
    let path = at("http.sock");
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    assert!(!path.exists(), "it goes with a clean end");
}

#[test]
fn a_stale_socket_is_replaced_and_anything_else_in_its_place_is_an_error() {
    let upstream = Upstream::start();
    let yaml = public(&upstream, "public_url: http://app.test\nlisten: unix:http.sock");
    let gateway = Gateway::start(&yaml);
    let path = gateway.directory().join("http.sock");
    let folder = gateway.kill();
    let path = folder.path().join(path.file_name().expect("a name"));
    assert!(path.exists(), "a crash leaves it");
    let mut gateway = Gateway::start_in(folder, &yaml);
    assert_eq!(get_unix(&path), Some(200));
    gateway.signal("TERM");
    gateway.wait();

    let refused = |prepare: &dyn Fn(&Path) -> Option<UnixListener>, listen: &str, told: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path().join("http.sock");
        let _held = prepare(&at);
        let file = folder.path().join("foregate.yaml");
        let head = format!("public_url: http://app.test\nlisten: {listen}");
        std::fs::write(&file, complete(&public(&upstream, &head))).expect("it is written");
        let output = run(foregate().args(["serve", "--config"]).arg(&file), "");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(told), "{said}");
        assert!(at.exists() || listen != "unix:http.sock", "it is left alone");
    };
    refused(
        &|path| Some(UnixListener::bind(path).expect("a socket")),
        "unix:http.sock",
        "another server answers",
    );
    refused(
        &|path| {
            std::fs::write(path, "precious").expect("a file");
            None
        },
        "unix:http.sock",
        "a file that is no socket",
    );
    refused(&|_| None, &format!("unix:{}", "x".repeat(120)), "107 bytes");
    refused(&|_| None, "unix:not/there/http.sock", "not/there/http.sock");
}

// ---- Sockets that were handed over -----------------------------------------------------------------

/// A program that finds these sockets as systemd hands them over: as descriptors 3 and 4.
fn inheriting(sockets: Vec<OwnedFd>) -> Command {
    let count = sockets.len();
    let mut command = Command::new("sh");
    // What is opened here is closed in children, but for the three that have names.
    let script = format!(
        "exec 3<&0 0</dev/null; {} LISTEN_FDS={count} LISTEN_PID=$$ exec \"$0\" \"$@\"",
        if count > 1 { "exec 4<&1 1>/dev/null;" } else { "exec 1>/dev/null;" }
    );
    command.arg("-c").arg(script).arg(foregate().get_program());
    command.env_remove("FOREGATE_CONFIG").env("NO_COLOR", "1");
    let mut sockets = sockets.into_iter();
    let mut next = || sockets.next().map_or_else(Stdio::null, Stdio::from);
    command.stdin(next());
    command.stdout(next());
    command
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn sockets_of_systemd_are_taken_over_tcp_and_unix_and_left_where_they_are() {
    let upstream = Upstream::start();
    let folder = folder();
    let path = folder.path().join("systemd.sock");
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = tcp.local_addr().expect("an address");
    let unix = UnixListener::bind(&path).expect("a socket");
    let command = inheriting(vec![tcp.try_clone().expect("a copy").into(), unix.into()]);
    let yaml = public(&upstream, &format!("public_url: http://{address}\nlisten: systemd"));
    let mut gateway = Gateway::start_with(folder, &yaml, command);
    assert_eq!(gateway.address, address);
    assert_eq!(gateway.send(GET).status, 200);
    assert_eq!(get_unix(&path), Some(200));
    let shown = String::from_utf8(gateway.command(&["status"], "").stdout).expect("text");
    assert!(shown.contains(&address.to_string()) && shown.contains("systemd.sock"), "{shown}");
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0), "{}", gateway.log());
    assert!(path.exists(), "the file is systemd's");
    assert!(TcpStream::connect(address).is_ok(), "and so is the socket");
}

#[test]
fn systemd_that_hands_over_nothing_or_nonsense_is_told() {
    let upstream = Upstream::start();
    let told = |mut command: Command| {
        let folder = folder();
        let file = folder.path().join("foregate.yaml");
        let yaml = public(&upstream, "public_url: http://app.test\nlisten: systemd");
        std::fs::write(&file, complete(&yaml)).expect("it is written");
        let output =
            command.args(["serve", "--config"]).arg(&file).stderr(Stdio::piped()).output().expect("it runs");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let mut without = foregate();
    without.stdin(Stdio::null());
    assert!(told(without).contains("systemd has handed over no socket"));
    // Sockets that nobody was told to use are spoken of.
    let unused = TcpListener::bind("127.0.0.1:0").expect("a port");
    let gateway = Gateway::start_with(folder(), &public(&upstream, ""), inheriting(vec![unused.into()]));
    gateway.wait_for_log("waits in vain");
    let datagram = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    assert!(told(inheriting(vec![datagram.into()])).contains("number 1 of the sockets"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let connected = TcpStream::connect(listener.local_addr().expect("an address")).expect("it connects");
    assert!(told(inheriting(vec![listener.into(), connected.into()])).contains("number 2 of the sockets"));
}

/// Clients that open a connection for each request until they are told to stop; gives how many were answered, and what
/// went wrong.
pub(crate) struct Load {
    clients: Vec<std::thread::JoinHandle<(usize, Vec<String>)>>,
    done: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Load {
    pub(crate) fn on(address: std::net::SocketAddr, clients: usize) -> Self {
        let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let one = || {
            let done = std::sync::Arc::clone(&done);
            std::thread::spawn(move || {
                let (mut answered, mut failed) = (0, Vec::new());
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    match try_get(address) {
                        Ok(()) => answered += 1,
                        Err(error) => failed.push(error),
                    }
                }
                (answered, failed)
            })
        };
        let clients = (0..clients).map(|_| one()).collect();
        Self { clients, done }
    }

    pub(crate) fn stop(self) -> (usize, Vec<String>) {
        self.done.store(true, std::sync::atomic::Ordering::Relaxed);
        let ended = self.clients.into_iter().map(|client| client.join().expect("no panic"));
        ended.fold((0, Vec::new()), |(answered, mut failed), (more, others)| {
            failed.extend(others);
            (answered + more, failed)
        })
    }
}

fn try_get(address: std::net::SocketAddr) -> Result<(), String> {
    let said = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
    let mut stream = TcpStream::connect(address).map_err(said("connect"))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(said("timeout"))?;
    stream.write_all(GET).map_err(said("write"))?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).map_err(said("read"))?;
    if reply.starts_with("HTTP/1.1 200 ") && reply.ends_with("hello") {
        Ok(())
    } else {
        Err(format!("answer: {reply:?}"))
    }
}

#[test]
fn a_process_takes_over_from_another_without_one_refused_connection() {
    let upstream = Upstream::start();
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    // The usual length of the queue is meant for a listener that nobody waits for.
    rustix::net::listen(&socket, 4096).expect("a longer queue");
    let yaml = public(&upstream, &format!("public_url: http://{address}\nlisten: systemd"));
    let command = || inheriting(vec![socket.try_clone().expect("a copy").into()]);
    let mut gateway = Gateway::start_with(folder(), &yaml, command());
    let load = Load::on(address, 8);
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(300));
        // One after the other, as `systemctl restart` does it.
        gateway.signal("TERM");
        assert_eq!(gateway.wait(), Some(0), "{}", gateway.log());
        gateway = Gateway::start_with(gateway.into_directory(), &yaml, command());
    }
    // And the next one while the one before still drains: it waits for the store.
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(300));
        let mut next = command();
        let mut child = next
            .args(["serve", "--config"])
            .arg(&gateway.config)
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        std::thread::sleep(Duration::from_millis(100));
        gateway.signal("TERM");
        assert_eq!(gateway.wait(), Some(0), "{}", gateway.log());
        std::thread::sleep(Duration::from_millis(800));
        let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
        assert_eq!(child.wait().expect("it ends").code(), Some(0));
        gateway = Gateway::start_with(gateway.into_directory(), &yaml, command());
    }
    std::thread::sleep(Duration::from_millis(300));
    let (answered, failed) = load.stop();
    assert!(
        failed.is_empty(),
        "{} of {} failed: {:?}",
        failed.len(),
        answered + failed.len(),
        &failed[..failed.len().min(5)]
    );
    assert!(answered > 100, "{answered}");
}

// ---- The service manager -----------------------------------------------------------------------------

/// What a service manager is told, line by line, each message ended by an empty one.
struct Manager(UnixDatagram);

impl Manager {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        Self(socket)
    }

    fn next(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let length = self.0.recv(&mut bytes).expect("a message comes");
        String::from_utf8_lossy(&bytes[..length]).lines().map(str::to_owned).collect()
    }

    /// The next one that is not for the watchdog.
    fn next_state(&self) -> Vec<String> {
        loop {
            let message = self.next();
            if message != ["WATCHDOG=1"] {
                return message;
            }
        }
    }
}

#[test]
fn the_service_manager_is_told_of_the_start_each_reload_and_the_stop() {
    let upstream = Upstream::start();
    let folder = folder();
    let path = folder.path().join("notify.sock");
    let manager = Manager::at(&path);
    let mut command = foregate();
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "400000")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let yaml = public(&upstream, "");
    let mut gateway = Gateway::start_with(folder, &yaml, command);
    let ready = manager.next_state();
    let listening = format!("STATUS=Listening on {}", gateway.address);
    assert_eq!(ready, ["READY=1", listening.as_str()]);
    for _ in 0..3 {
        assert_eq!(manager.next(), ["WATCHDOG=1"]);
    }
    gateway.signal("HUP");
    let reloading = manager.next_state();
    assert_eq!(reloading[0], "RELOADING=1", "{reloading:?}");
    let time = reloading[1].strip_prefix("MONOTONIC_USEC=").and_then(|time| time.parse::<u64>().ok());
    assert!(time.is_some_and(|time| time > 0), "{reloading:?}");
    assert_eq!(manager.next_state(), ["READY=1", listening.as_str()]);
    // A refused one ends as well, and says so.
    std::fs::write(&gateway.config, "nonsense").expect("it is written");
    gateway.signal("HUP");
    assert_eq!(manager.next_state()[0], "RELOADING=1");
    let refused = manager.next_state();
    assert!(refused[0] == "READY=1" && refused[1].contains("refused"), "{refused:?}");
    gateway.signal("TERM");
    let mut stopping = manager.next_state();
    while stopping[0] != "STOPPING=1" {
        stopping = manager.next_state();
    }
    assert_eq!(gateway.wait(), Some(0), "{}", gateway.log());
}

#[test]
fn a_port_that_is_started_anew_serves_again_at_once() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::start(&public(&upstream, ""));
    let address = gateway.address;
    // A connection that the server closes leaves the port in TIME_WAIT.
    let mut kept = gateway.connect();
    kept.write(b"GET / HTTP/1.1\r\nhost: app.test\r\n\r\n");
    assert_eq!(kept.reply(false).status, 200);
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    wait_until(|| TcpStream::connect(address).is_err(), || "somebody listens still".to_owned());
    let yaml = public(&upstream, &format!("listen: {address}"));
    let gateway = Gateway::start_in(gateway.into_directory(), &yaml);
    assert_eq!(gateway.address, address);
    assert_eq!(gateway.send(GET).status, 200);
}
