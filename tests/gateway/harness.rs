//! Starts the program, speaks raw HTTP/1.1 to it, and records what an upstream saw.
//!
//! Everything is blocking and on loopback; ports are the kernel's choice. Dropping a value stops
//! what it started.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long anything may take before a test gives up; far above what it takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A password that the policy takes.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// The program, as built for this test run.
pub(crate) fn foregate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foregate"));
    command.env_remove("FOREGATE_CONFIG").env("NO_COLOR", "1");
    command
}

/// An address on loopback whose port is free on every address of this machine, and that no other test is given.
pub(crate) fn free_address() -> SocketAddr {
    // Below the ports that the kernel hands out: one of the kernel's choice, let go again, may be another test's soon.
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let port = 20_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 12_000;
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return SocketAddr::from(([127, 0, 0, 1], port));
        }
    }
}

/// A running `foregate serve`, with a folder of its own.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    child: Child,
    pub(crate) config: PathBuf,
    directory: TempDir,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Gateway {
    /// Starts with this configuration; `listen`, `store` and cheap password hashing are added where
    /// it does not say them itself.
    pub(crate) fn start(yaml: &str) -> Self {
        let directory = tempfile::tempdir().expect("a folder");
        Self::start_in(directory, yaml)
    }

    /// One route for everything, with this policy, to this upstream.
    pub(crate) fn in_front_of(upstream: SocketAddr, route: &str) -> Self {
        Self::start(&format!(
            "upstreams: {{ app: \"http://{upstream}\" }}\nroutes:\n  - {{ path: /**, upstream: app{route} }}\n"
        ))
    }

    /// As `start`, in a folder that has been used before.
    pub(crate) fn start_in(directory: TempDir, yaml: &str) -> Self {
        let mut command = foregate();
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Self::start_with(directory, yaml, command)
    }

    /// By a command that is `foregate` but for its arguments. It is waited for until it listens; without a TCP address
    /// `address` is 0.0.0.0:0.
    pub(crate) fn start_with(directory: TempDir, yaml: &str, mut command: Command) -> Self {
        let config = directory.path().join("foregate.yaml");
        std::fs::write(&config, complete(yaml)).expect("the configuration is written");
        let mut child = command
            .args(["serve", "--config"])
            .arg(&config)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = BufReader::new(child.stderr.take().expect("stderr is a pipe"));
        let (tell, told) = std::sync::mpsc::channel();
        let kept = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if let Some(address) = listening(&line) {
                    let _ = tell.send(address);
                }
                let mut log = kept.lock().expect("no panic while it is held");
                log.push_str(&line);
                log.push('\n');
            }
        });
        let Ok(address) = told.recv_timeout(PATIENCE) else {
            let _ = child.kill();
            panic!("it does not listen; it said:\n{}", log.lock().expect("no panic while it is held"));
        };
        Self { address, child, config, directory, log, reader: Some(reader) }
    }

    /// Where metrics and health are told, where the configuration asks for it.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        let log = self.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let address = lines.find_map(|line| line.get("admin.address")?.as_str()?.parse().ok());
        address.unwrap_or_else(|| panic!("no admin listener in\n{log}"))
    }

    /// What it wrote to standard error so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("no panic while it is held").clone()
    }

    /// Waits until the log holds a text.
    pub(crate) fn wait_for_log(&self, text: &str) {
        wait_until(
            || self.log().contains(text),
            || format!("the log does not say {text:?}:\n{}", self.log()),
        );
    }

    /// Runs another command with the same configuration, with `input` on its standard input.
    pub(crate) fn command(&self, arguments: &[&str], input: &str) -> Output {
        run(foregate().arg("--config").arg(&self.config).args(arguments), input)
    }

    /// Makes an account with `PASSWORD`.
    pub(crate) fn add_user(&self, name: &str, roles: &[&str]) {
        let email = format!("{}@example.com", name.to_lowercase());
        let mut arguments = vec!["user", "add", name, "--email", &email, "--password-stdin"];
        for role in roles {
            arguments.extend(["--role", role]);
        }
        let output = self.command(&arguments, PASSWORD);
        assert!(output.status.success(), "{output:?}");
    }

    /// Signs in by JSON; gives the cookie as `name=value`.
    pub(crate) fn sign_in(&self, name: &str) -> String {
        let reply = self.sign_in_with(name, PASSWORD);
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.cookie("foregate").unwrap_or_else(|| panic!("no cookie: {reply:?}"))
    }

    /// One try to sign in by JSON.
    pub(crate) fn sign_in_with(&self, name: &str, password: &str) -> Reply {
        let body = serde_json::json!({ "username": name, "password": password }).to_string();
        self.request("POST", "/.auth/login", &[("content-type", "application/json")], body.as_bytes())
    }

    /// Signs in by JSON where the server may go away meanwhile; the cookie if it was answered.
    pub(crate) fn try_sign_in(&self, name: &str) -> Option<String> {
        let body = serde_json::json!({ "username": name, "password": PASSWORD }).to_string();
        let json = ("content-type", "application/json");
        self.try_reply("POST", "/.auth/login", &[json], body.as_bytes())?.cookie("foregate")
    }

    /// The status of the answer to a request during which the server may go away.
    pub(crate) fn try_request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<u16> {
        self.try_reply(method, target, headers, body).map(|reply| reply.status).filter(|&status| status > 0)
    }

    fn try_reply(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<Reply> {
        let mut connection = Connection::try_to(self.address)?;
        connection.write(&request_bytes(method, target, headers, body));
        Some(connection.reply(method == "HEAD"))
    }

    /// An access token from `POST /token`.
    pub(crate) fn token(&self, name: &str) -> String {
        let body = serde_json::json!({ "username": name, "password": PASSWORD }).to_string();
        let reply =
            self.request("POST", "/.auth/token", &[("content-type", "application/json")], body.as_bytes());
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["access_token"].as_str().expect("a token").to_owned()
    }

    /// A GET on a connection of its own.
    pub(crate) fn get(&self, target: &str, headers: &[(&str, &str)]) -> Reply {
        self.request("GET", target, headers, b"")
    }

    /// Any request on a connection of its own. `Host` is `app.test` unless `headers` has one.
    pub(crate) fn request(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.send(&request_bytes(method, target, headers, body))
    }

    /// These bytes on a connection of their own, and the first reply to them.
    pub(crate) fn send(&self, bytes: &[u8]) -> Reply {
        let mut connection = self.connect();
        connection.write(bytes);
        connection.reply(bytes.starts_with(b"HEAD "))
    }

    /// A connection to write to and read from.
    pub(crate) fn connect(&self) -> Connection {
        Connection::to(self.address)
    }

    /// Writes another configuration, completed as at the start, and says nothing of it.
    pub(crate) fn write_config(&self, yaml: &str) {
        std::fs::write(&self.config, complete(yaml)).expect("the configuration is written");
    }

    /// Gives the folder back after its end.
    pub(crate) fn into_directory(mut self) -> TempDir {
        self.wait();
        std::mem::replace(&mut self.directory, tempfile::tempdir().expect("a folder"))
    }

    /// `SIGKILL`; gives the folder back for a next start.
    pub(crate) fn kill(mut self) -> TempDir {
        self.child.kill().expect("it is running");
        self.child.wait().expect("it ends");
        std::mem::replace(&mut self.directory, tempfile::tempdir().expect("a folder"))
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits for its end, and for all that it has written; gives the exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                if let Some(reader) = self.reader.take() {
                    reader.join().expect("the log is read to its end");
                }
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end; it said:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Its folder: the configuration, and the store under `data`.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its process number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request that ends its connection. `Host` is `app.test` unless `headers` has one.
fn request_bytes(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head += "host: app.test\r\n";
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() || method == "POST" || method == "PUT" {
        head += &format!("content-length: {}\r\n", body.len());
    }
    head += "connection: close\r\n\r\n";
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// The configuration with what a test does not care about.
pub(crate) fn complete(yaml: &str) -> String {
    let mut whole = String::new();
    let has = |key: &str| yaml.lines().any(|line| line.starts_with(key));
    if !has("listen:") {
        whole += "listen: 127.0.0.1:0\n";
    }
    if !has("store:") {
        whole += "store: sled:./data\n";
    }
    if !has("password:") {
        whole += "password: { min_score: 0, argon2: { memory: 7MiB, iterations: 1 } }\n";
    }
    whole + yaml
}

/// The address in a log line that says that one is listened on.
fn listening(line: &str) -> Option<SocketAddr> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let address = line.get("listen.address")?.as_str()?;
    Some(address.parse().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0))))
}

/// Runs a command to its end with something on its standard input.
pub(crate) fn run(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // A program that reads nothing may be gone already.
    let _ = child.stdin.take().expect("stdin is a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

/// Waits for something that will be true soon; panics with `otherwise` if it isn't.
pub(crate) fn wait_until(mut holds: impl FnMut() -> bool, otherwise: impl FnOnce() -> String) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{}", otherwise());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A client's connection.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// To any server.
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self::try_to(address).expect("it takes connections")
    }

    /// To a server that may be gone.
    pub(crate) fn try_to(address: SocketAddr) -> Option<Self> {
        Self::of(TcpStream::connect(address).ok()?)
    }

    fn of(stream: TcpStream) -> Option<Self> {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.set_nodelay(true).expect("nodelay can be set");
        Some(Self { stream: BufReader::new(stream) })
    }

    /// From another address of this machine.
    pub(crate) fn from(source: [u8; 4], address: SocketAddr) -> Self {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((source, 0)).into()).expect("loopback has this address");
        socket.connect(&address.into()).expect("it takes connections");
        Self::of(socket.into()).expect("it is set up")
    }

    /// Writes; that the other side has closed is seen when reading.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.get_mut().write_all(bytes);
    }

    /// Writes; says whether all of it was taken.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> bool {
        self.stream.get_mut().write_all(bytes).is_ok()
    }

    /// Reads one reply, interim ones passed over.
    pub(crate) fn reply(&mut self, to_head: bool) -> Reply {
        loop {
            let reply = self.read_reply(to_head);
            if !(100..200).contains(&reply.status) || reply.status == 101 {
                return reply;
            }
        }
    }

    /// Reads the head of a reply and leaves its body.
    pub(crate) fn head(&mut self) -> Reply {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.stream.read_line(&mut line).unwrap_or(0);
            let line = line.trim_end_matches(['\r', '\n']).to_owned();
            if line.is_empty() && (read == 0 || !lines.is_empty()) {
                break;
            }
            if !line.is_empty() {
                lines.push(line);
            }
        }
        let status = lines.first().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let headers = lines.iter().skip(1).filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
        Reply { body: Vec::new(), cut: false, headers, status: status.unwrap_or(0) }
    }

    fn read_reply(&mut self, to_head: bool) -> Reply {
        let mut reply = self.head();
        if to_head || reply.status < 200 || matches!(reply.status, 204 | 304) {
            return reply;
        }
        let chunked = reply.header("transfer-encoding").is_some();
        let length = reply.header("content-length").and_then(|length| length.parse::<usize>().ok());
        reply.cut = match (chunked, length) {
            (true, _) => !self.read_chunks(&mut reply),
            (false, Some(length)) => {
                reply.body = vec![0; length];
                let mut filled = 0;
                while filled < length {
                    match self.stream.read(&mut reply.body[filled..]) {
                        Ok(0) | Err(_) => break,
                        Ok(read) => filled += read,
                    }
                }
                reply.body.truncate(filled);
                filled < length
            }
            (false, None) => self.stream.read_to_end(&mut reply.body).is_err(),
        };
        reply
    }

    /// Whether the last chunk came. Trailers are added to the headers.
    fn read_chunks(&mut self, reply: &mut Reply) -> bool {
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).unwrap_or(0) == 0 {
                return false;
            }
            let Ok(size) = usize::from_str_radix(line.trim(), 16) else { return false };
            if size == 0 {
                break;
            }
            let mut chunk = vec![0; size + 2];
            if self.stream.read_exact(&mut chunk).is_err() {
                return false;
            }
            reply.body.extend_from_slice(&chunk[..size]);
        }
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).unwrap_or(0) == 0 {
                return false;
            }
            match line.trim_end().split_once(':') {
                Some((name, value)) => reply.headers.push((name.to_lowercase(), value.trim().to_owned())),
                None => return true,
            }
        }
    }

    /// Reads exactly so many bytes.
    pub(crate) fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).expect("so many bytes come");
        bytes
    }

    /// Everything until the other side closes.
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let ended = self.stream.read_to_end(&mut bytes);
        let late = [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut];
        assert!(!ended.is_err_and(|error| late.contains(&error.kind())), "it does not close");
        bytes
    }

    /// Everything until the other side closes, or until nothing comes for so long; and whether it closed.
    pub(crate) fn rest(&mut self, patience: Option<Duration>) -> (Vec<u8>, bool) {
        let timeout = Some(patience.unwrap_or(PATIENCE));
        self.stream.get_mut().set_read_timeout(timeout).expect("a timeout can be set");
        let mut bytes = Vec::new();
        let waits = |kind| matches!(kind, std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
        let ended = self.stream.read_to_end(&mut bytes).map_or_else(|error| !waits(error.kind()), |_| true);
        (bytes, ended)
    }

    /// Whether the other side keeps it open for a while yet; what comes meanwhile is passed over.
    pub(crate) fn stays_open(&mut self) -> bool {
        self.stream
            .get_mut()
            .set_read_timeout(Some(Duration::from_millis(300)))
            .expect("a timeout can be set");
        loop {
            match self.stream.read(&mut [0; 64]) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => {
                    return matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    );
                }
            }
        }
    }

    /// Whether the other side closes and nothing more is to be read. That nothing comes is not enough.
    pub(crate) fn is_closed(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(read) => read == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

/// What came back.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) body: Vec<u8>,
    /// The body did not come to its end.
    pub(crate) cut: bool,
    /// Names in lower case, in the order of their coming; trailers behind them.
    pub(crate) headers: Vec<(String, String)>,
    /// 0 where there was no reply.
    pub(crate) status: u16,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text: String = self.text().chars().take(2000).collect();
        write!(f, "{} {:?} {text:?}{}", self.status, self.headers, if self.cut { " (cut)" } else { "" })
    }
}

impl Reply {
    /// The first value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All values of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// A cookie that it sets, as `name=value`.
    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        let cookies = self.all("set-cookie");
        let pair = cookies.iter().filter_map(|cookie| cookie.split(';').next());
        pair.filter(|pair| pair.split('=').next() == Some(name)).map(str::to_owned).next()
    }
}

/// An upstream that records every request, byte for byte, and answers as it is told.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<(Mutex<Vec<String>>, Condvar)>,
}

impl Upstream {
    /// Answers everything with 200 and `hello`.
    pub(crate) fn start() -> Self {
        Self::answering(|_| b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_vec())
    }

    /// Answers each request (head and body as they came, bodies by their length or chunks) with the
    /// bytes that `answer` gives. An answer with `connection: close` closes.
    pub(crate) fn answering(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let (answer, record) = (Arc::new(answer), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, record) = (Arc::clone(&answer), Arc::clone(&record));
                std::thread::spawn(move || serve_upstream(stream, &*answer, &record));
            }
        });
        Self { address, seen }
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.0.lock().expect("no panic while it is held").clone()
    }

    /// The last request.
    pub(crate) fn last(&self) -> String {
        self.seen().pop().expect("there was a request")
    }

    /// How many requests there were.
    pub(crate) fn count(&self) -> usize {
        self.seen.0.lock().expect("no panic while it is held").len()
    }

    /// Waits until there were so many requests.
    pub(crate) fn wait_for(&self, count: usize) {
        let seen = self.seen.0.lock().expect("no panic while it is held");
        let (seen, timeout) = self
            .seen
            .1
            .wait_timeout_while(seen, PATIENCE, |seen| seen.len() < count)
            .expect("no panic while it is held");
        assert!(!timeout.timed_out(), "only {} requests: {seen:?}", seen.len());
    }
}

fn serve_upstream(
    stream: TcpStream,
    answer: &dyn Fn(&str) -> Vec<u8>,
    record: &(Mutex<Vec<String>>, Condvar),
) {
    let _ = stream.set_nodelay(true);
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream) {
        record.0.lock().expect("no panic while it is held").push(request.clone());
        record.1.notify_all();
        let reply = answer(&request);
        if stream.get_mut().write_all(&reply).is_err() || reply.is_empty() {
            return;
        }
        let head = String::from_utf8_lossy(&reply).to_lowercase();
        if head.split("\r\n\r\n").next().is_some_and(|head| head.contains("connection: close")) {
            return;
        }
    }
}

/// One request as it came, the body behind the head.
fn read_request(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut bytes = Vec::new();
    let (mut length, mut chunked) = (0, false);
    loop {
        let start = bytes.len();
        stream.read_until(b'\n', &mut bytes).ok().filter(|&read| read > 0)?;
        let line = String::from_utf8_lossy(&bytes[start..]).to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        chunked |= line.starts_with("transfer-encoding:");
        if line == "\r\n" {
            break;
        }
    }
    let start = bytes.len();
    bytes.resize(start + length, 0);
    stream.read_exact(&mut bytes[start..]).ok()?;
    if chunked {
        loop {
            let start = bytes.len();
            stream.read_until(b'\n', &mut bytes).ok().filter(|&read| read > 0)?;
            let size = usize::from_str_radix(String::from_utf8_lossy(&bytes[start..]).trim(), 16).ok()?;
            if size == 0 {
                loop {
                    let start = bytes.len();
                    stream.read_until(b'\n', &mut bytes).ok().filter(|&read| read > 0)?;
                    if &bytes[start..] == b"\r\n" {
                        break;
                    }
                }
                break;
            }
            let start = bytes.len();
            bytes.resize(start + size + 2, 0);
            stream.read_exact(&mut bytes[start..]).ok()?;
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
