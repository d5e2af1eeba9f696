//! Several servers behind one upstream: which one gets a request, and what its clients notice when one
//! of them dies, hangs, is taken out by its checks and comes back.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::harness::{Connection, Gateway, PATIENCE, Reply, wait_until};

/// What a server does with a request. Checks are asked for at `/healthz`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mood {
    /// It answers checks with 500 and everything else with 200.
    Ailing,
    /// It reads requests and answers nothing.
    Hanging,
    /// It reads requests and resets the connection.
    Resetting,
    /// It answers after a while.
    Slow,
    Well,
}

/// A server that can be stopped with all of its connections and started again at the same address.
struct Server {
    address: SocketAddr,
    /// Requests that came to their end, by their first line; checks apart.
    seen: Arc<Mutex<HashMap<String, usize>>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    checks: AtomicUsize,
    connections: Mutex<Vec<TcpStream>>,
    mood: Mutex<Mood>,
    stopped: AtomicBool,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            checks: AtomicUsize::new(0),
            connections: Mutex::default(),
            mood: Mutex::new(Mood::Well),
            stopped: AtomicBool::new(false),
        });
        let mut server = Self { address, seen: Arc::default(), shared, thread: None };
        server.listen(listener);
        server
    }

    fn listen(&mut self, listener: TcpListener) {
        let (shared, seen, name) = (Arc::clone(&self.shared), Arc::clone(&self.seen), self.name());
        self.thread = Some(std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut connections = shared.connections.lock().expect("no panic while it is held");
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                connections.push(stream.try_clone().expect("a descriptor"));
                let (shared, seen, name) = (Arc::clone(&shared), Arc::clone(&seen), name.clone());
                std::thread::spawn(move || serve(stream, &shared, &seen, &name));
            }
        }));
    }

    /// Closes the listening socket and every connection, whatever is under way on it.
    fn stop(&mut self) {
        {
            let mut connections = self.shared.connections.lock().expect("no panic while it is held");
            self.shared.stopped.store(true, Ordering::SeqCst);
            for connection in connections.drain(..) {
                let _ = connection.shutdown(Shutdown::Both);
            }
        }
        // The thread that accepts is woken to see it.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server's thread ends");
        }
    }

    fn restart(&mut self) {
        self.shared.stopped.store(false, Ordering::SeqCst);
        self.listen(TcpListener::bind(self.address).expect("its port is free again"));
    }

    fn set(&self, mood: Mood) {
        *self.shared.mood.lock().expect("no panic while it is held") = mood;
    }

    fn name(&self) -> String {
        self.address.port().to_string()
    }

    /// How many requests came, checks apart.
    fn count(&self) -> usize {
        self.seen.lock().expect("no panic while it is held").values().sum()
    }

    fn checks(&self) -> usize {
        self.shared.checks.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(stream: TcpStream, shared: &Shared, seen: &Mutex<HashMap<String, usize>>, name: &str) {
    let _ = stream.set_nodelay(true);
    let mut stream = BufReader::new(stream);
    loop {
        let (mut first, mut length, mut line) = (String::new(), 0, String::new());
        while line != "\r\n" {
            line.clear();
            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if first.is_empty() {
                first = line.trim_end().to_owned();
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
        }
        if stream.read_exact(&mut vec![0; length]).is_err() {
            return;
        }
        let check = first.starts_with("GET /healthz ");
        if check {
            shared.checks.fetch_add(1, Ordering::SeqCst);
        } else {
            *seen.lock().expect("no panic while it is held").entry(first).or_default() += 1;
        }
        let mood = *shared.mood.lock().expect("no panic while it is held");
        let status = match mood {
            Mood::Ailing if check => "500 Oops",
            Mood::Hanging => {
                let _ = stream.read(&mut [0]);
                return;
            }
            Mood::Resetting => {
                let socket = socket2::SockRef::from(stream.get_ref());
                let _ = socket.set_linger(Some(Duration::ZERO));
                // The clone that `stop` has would keep it open otherwise.
                let mut connections = shared.connections.lock().expect("no panic while it is held");
                let peer = stream.get_ref().peer_addr().ok();
                connections.retain(|connection| connection.peer_addr().ok() != peer);
                return;
            }
            Mood::Slow => {
                std::thread::sleep(Duration::from_millis(600));
                "200 OK"
            }
            Mood::Ailing | Mood::Well => "200 OK",
        };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{name}", name.len());
        if stream.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// A gateway in front of these servers, with further keys of the upstream.
fn gateway(servers: &[&Server], keys: &str) -> Gateway {
    let servers: Vec<_> = servers.iter().map(|server| format!("\"http://{}\"", server.address)).collect();
    Gateway::start(&format!(
        "log: {{ level: debug }}\nadmin: {{ listen: 127.0.0.1:0 }}\nupstreams:\n  app:\n    servers: [{}]\n    {keys}\nroutes: [{{ path: /**, access: public, upstream: app }}]\n",
        servers.join(", ")
    ))
}

const CHECKS: &str = "health: { path: /healthz, interval: 500ms, unhealthy_after: 2, healthy_after: 2 }";

/// Sends requests from several threads while `meanwhile` runs, and gives the replies back.
fn under_load(
    request: impl Fn(usize) -> Reply + Send + Sync,
    meanwhile: impl FnOnce(&AtomicUsize),
) -> Vec<Reply> {
    let (sent, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let deadline = Instant::now() + PATIENCE;
    std::thread::scope(|scope| {
        let work = || {
            let mut replies = Vec::new();
            while !done.load(Ordering::SeqCst) && Instant::now() < deadline {
                replies.push(request(sent.fetch_add(1, Ordering::SeqCst)));
                // Load, and yet room for the other tests on this machine.
                std::thread::sleep(Duration::from_millis(5));
            }
            replies
        };
        let threads = [(); 6].map(|()| scope.spawn(work));
        meanwhile(&sent);
        done.store(true, Ordering::SeqCst);
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    })
}

/// Waits for so many more requests to be sent.
fn more(sent: &AtomicUsize, count: usize) {
    let until = sent.load(Ordering::SeqCst) + count;
    wait_until(|| sent.load(Ordering::SeqCst) >= until, || "the load stands still".to_owned());
}

#[track_caller]
fn all_well(replies: &[Reply]) {
    let bad: Vec<_> = replies.iter().filter(|reply| reply.status != 200 || reply.cut).take(3).collect();
    assert!(bad.is_empty(), "of {} replies some failed, such as {bad:?}", replies.len());
}

#[test]
fn nobody_who_reads_notices_that_one_of_two_servers_dies_and_comes_back() {
    for keys in ["balance: round_robin", "balance: least_requests", CHECKS] {
        let (steady, mut dying) = (Server::start(), Server::start());
        let gateway = gateway(&[&steady, &dying], keys);
        let methods = ["GET", "HEAD", "OPTIONS", "DELETE"];
        let request = |number: usize| gateway.request(methods[number % methods.len()], "/", &[], b"");
        let replies = under_load(request, |sent| {
            more(sent, 100);
            dying.stop();
            if keys == CHECKS {
                gateway.wait_for_log("a server is down");
            }
            more(sent, 150);
            dying.restart();
            let before = dying.count();
            wait_until(|| dying.count() > before + 20, || "it does not come back".to_owned());
        });
        all_well(&replies);
        assert!(steady.count() > 100, "{}", steady.count());
        if keys != CHECKS {
            gateway.wait_for_log("a server is in turn again");
        }
    }
}

#[test]
fn nobody_who_reads_notices_that_a_server_resets_every_connection() {
    let (steady, resetting) = (Server::start(), Server::start());
    let gateway = gateway(&[&steady, &resetting], "balance: round_robin");
    let replies = under_load(
        |_| gateway.get("/", &[]),
        |sent| {
            more(sent, 50);
            resetting.set(Mood::Resetting);
            more(sent, 200);
        },
    );
    all_well(&replies);
    gateway.wait_for_log("a server is left out for a while");
    gateway.wait_for_log("a request goes on to another server");
}

#[test]
fn a_post_reaches_one_server_once_at_the_most() {
    let (steady, mut dying) = (Server::start(), Server::start());
    let gateway = gateway(&[&steady, &dying], "balance: round_robin");
    let request = |number: usize| gateway.request("POST", &format!("/{number}"), &[], b"once");
    let replies = under_load(request, |sent| {
        for mood in [Mood::Resetting, Mood::Well, Mood::Resetting] {
            more(sent, 60);
            dying.set(mood);
        }
        more(sent, 60);
        dying.set(Mood::Well);
        dying.stop();
        more(sent, 100);
        dying.restart();
        more(sent, 60);
    });
    for server in [&steady, &dying] {
        for (line, count) in server.seen.lock().expect("no panic while it is held").iter() {
            assert_eq!(*count, 1, "{line} came again");
        }
    }
    let (one, two) = (steady.seen.lock().expect("no panic"), dying.seen.lock().expect("no panic"));
    let twice: Vec<_> = one.keys().filter(|line| two.contains_key(*line)).collect();
    assert!(twice.is_empty(), "both servers had {twice:?}");
    // What was lost is said to be lost, and the server that could not be reached cost nobody anything.
    for reply in &replies {
        assert!([200, 502].contains(&reply.status), "{reply:?}");
    }
    let lost = replies.iter().filter(|reply| reply.status == 502).count();
    assert!((1..=replies.len() / 4).contains(&lost), "{lost} of {} were lost", replies.len());
}

#[test]
fn with_all_servers_down_by_their_checks_it_is_a_503_until_one_returns() {
    let (one, mut two) = (Server::start(), Server::start());
    let gateway = gateway(&[&one, &two], &CHECKS.replace("500ms", "1200ms").replace(": 2", ": 1"));
    // New servers count as up before anybody asked.
    assert_eq!(gateway.get("/", &[]).status, 200);
    one.set(Mood::Ailing);
    two.stop();
    wait_until(|| gateway.get("/", &[]).status == 503, || "it is not noticed".to_owned());
    let reply = gateway.get("/", &[]);
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("2")), "{reply:?}");
    assert_eq!(reply.json()["code"], "no_healthy_upstream", "{reply:?}");
    let page = gateway.get("/", &[("accept", "text/html")]);
    assert_eq!((page.status, page.header("retry-after")), (503, Some("2")), "{page:?}");
    let seen = (one.count(), two.count());
    gateway.request("POST", "/", &[], b"nobody gets it");
    assert_eq!((one.count(), two.count()), seen, "a server that is down gets nothing");

    one.set(Mood::Well);
    wait_until(|| gateway.get("/", &[]).status == 200, || "it is not taken back".to_owned());
    assert_eq!(two.count(), seen.1);
    two.restart();
    wait_until(
        || {
            gateway.get("/", &[]);
            two.count() > seen.1
        },
        || "the other is not taken back".to_owned(),
    );
    // Each change is said once, with what it is about and why.
    let log = gateway.log();
    for (server, message, reason) in [
        (&one, "a server is down", "its check was answered with 500"),
        (&two, "a server is down", ""),
        (&one, "a server is up", "its checks succeed"),
        (&two, "a server is up", "its checks succeed"),
    ] {
        let lines: Vec<serde_json::Value> =
            log.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
        let told: Vec<_> = lines
            .iter()
            .filter(|line| line["message"] == message)
            .filter(|line| line["upstream.server"] == format!("http://{}", server.address))
            .collect();
        assert_eq!(told.len(), 1, "{message}:\n{log}");
        assert_eq!(told[0]["upstream.name"], "app");
        let why = told[0]["reason"].as_str().unwrap_or_default();
        assert!(why.starts_with(reason), "{why}");
    }
}

#[test]
fn a_server_that_hangs_is_down_by_its_checks_and_nobody_waits_for_it() {
    let (well, hanging) = (Server::start(), Server::start());
    hanging.set(Mood::Hanging);
    let gateway = gateway(&[&well, &hanging], CHECKS);
    gateway.wait_for_log("a server is down");
    assert!(gateway.log().contains("no answer to its check within 500ms"), "{}", gateway.log());
    let seen = hanging.count();
    for _ in 0..10 {
        assert_eq!(gateway.get("/", &[]).text(), well.name());
    }
    assert_eq!(hanging.count(), seen);
    hanging.set(Mood::Well);
    gateway.wait_for_log("a server is up");
    let answers = || gateway.get("/", &[]).text() == hanging.name();
    wait_until(answers, || "it gets no requests".to_owned());
}

/// The value of a row of a metric about one server.
#[track_caller]
fn figure(gateway: &Gateway, name: &str, server: &Server) -> String {
    let mut connection = Connection::to(gateway.admin_address());
    connection.write(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    let text = connection.reply(false).text();
    let row = format!("foregate_{name}{{upstream=\"app\",server=\"http://{}\"}} ", server.address);
    let found = text.lines().find_map(|line| line.strip_prefix(&row));
    found.unwrap_or_else(|| panic!("no {row} in\n{text}")).to_owned()
}

#[test]
fn a_reload_keeps_what_is_known_of_the_servers_that_stay() {
    let [well, ailing, new] = [Server::start(), Server::start(), Server::start()];
    ailing.set(Mood::Ailing);
    let gateway = gateway(&[&well, &ailing], CHECKS);
    gateway.wait_for_log("a server is down");
    for _ in 0..6 {
        assert_eq!(gateway.get("/", &[]).text(), well.name());
    }
    let seen = ailing.count();
    assert_eq!(figure(&gateway, "upstream_healthy", &well), "1.0");
    assert_eq!(figure(&gateway, "upstream_healthy", &ailing), "0.0");
    let requests: f64 = figure(&gateway, "upstream_server_requests_total", &well).parse().expect("a number");
    assert!(requests >= 6.0, "{requests}");
    assert_eq!(figure(&gateway, "upstream_in_flight", &well), "0.0");

    let reload = |from: &str, to: &str| {
        let text = std::fs::read_to_string(&gateway.config).expect("the configuration is there");
        assert!(text.contains(from), "{text}");
        std::fs::write(&gateway.config, text.replace(from, to)).expect("it is written");
        let output = gateway.command(&["reload"], "");
        assert!(output.status.success(), "{output:?}");
    };
    // One more server: what is known of the others holds, and the new one is in turn and checked.
    let last = format!("\"http://{}\"]", ailing.address);
    reload(&last, &last.replace(']', &format!(", \"http://{}\"]", new.address)));
    assert_eq!(figure(&gateway, "upstream_healthy", &ailing), "0.0");
    for _ in 0..20 {
        assert_eq!(gateway.get("/", &[]).status, 200);
    }
    assert_eq!(ailing.count(), seen);
    assert!(new.count() > 0 && new.count() < 20, "{}", new.count());
    wait_until(|| new.checks() > 1, || "the new one is not checked".to_owned());
    let after: f64 = figure(&gateway, "upstream_server_requests_total", &well).parse().expect("a number");
    assert!(after > requests, "{requests}, then {after}");

    // Without checks nobody would ever say that it is up again.
    reload(CHECKS, "balance: round_robin");
    let checks = [well.checks(), ailing.checks(), new.checks()];
    wait_until(
        || {
            gateway.get("/", &[]);
            ailing.count() > seen
        },
        || "it gets no requests".to_owned(),
    );
    std::thread::sleep(Duration::from_millis(700));
    let since = [well.checks(), ailing.checks(), new.checks()];
    // One may have been under way.
    assert!(
        since.iter().zip(checks).all(|(since, before)| since - before <= 1),
        "{checks:?}, then {since:?}"
    );
}

#[test]
fn one_server_alone_is_checked_and_never_left_out_otherwise() {
    let mut alone = Server::start();
    let unchecked = gateway(&[&alone], "balance: round_robin");
    let checked = gateway(&[&alone], CHECKS);
    wait_until(|| alone.checks() > 2, || "it is not checked".to_owned());
    alone.stop();
    for _ in 0..8 {
        let reply = unchecked.get("/", &[]);
        assert_eq!((reply.status, &reply.json()["code"]), (502, &"bad_gateway".into()), "{reply:?}");
    }
    wait_until(|| checked.get("/", &[]).status == 503, || "it is not noticed".to_owned());
    alone.restart();
    assert_eq!(unchecked.get("/", &[]).status, 200, "nothing keeps requests away from it");
    wait_until(|| checked.get("/", &[]).status == 200, || "it is not taken back".to_owned());
}

#[test]
fn the_slow_one_gets_fewer_requests_where_the_fewest_in_flight_decide() {
    let (fast, slow) = (Server::start(), Server::start());
    slow.set(Mood::Slow);
    let gateway = gateway(&[&fast, &slow], "balance: least_requests");
    let replies = under_load(|_| gateway.get("/", &[]), |sent| more(sent, 300));
    all_well(&replies);
    assert!(
        slow.count() * 2 < fast.count(),
        "{} went to the slow one, {} to the other",
        slow.count(),
        fast.count()
    );
}

/// One request from a source address, on a connection of its own.
fn get_from(source: IpAddr, gateway: &Gateway) -> String {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::new(source, 0).into()).expect("all of 127/8 is ours");
    socket.connect(&gateway.address.into()).expect("it takes connections");
    let mut stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\n\r\n").expect("it is taken");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("a reply");
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    reply.rsplit("\r\n").next().expect("a body").to_owned()
}

#[test]
fn a_client_stays_at_its_server_and_only_the_clients_of_a_dead_one_move() {
    let mut servers = [Server::start(), Server::start(), Server::start()];
    let [one, two, three] = &servers;
    let gateway = gateway(&[one, two, three], "balance: client_ip");
    let clients: Vec<IpAddr> = (1..=30).map(|last| IpAddr::from([127, 0, 0, last])).collect();
    let all = || clients.iter().map(|client| get_from(*client, &gateway)).collect::<Vec<_>>();
    let before = all();
    assert_eq!(all(), before);
    for server in &servers {
        assert!(before.contains(&server.name()), "{} has no client: {before:?}", server.name());
    }
    let dead = servers[1].name();
    servers[1].stop();
    let after = all();
    for ((client, before), after) in clients.iter().zip(&before).zip(&after) {
        assert!(*after != dead && (before == after || *before == dead), "{client}: {before}, then {after}");
    }
    assert_eq!(all(), after);
    // After its time one of its clients tries it, and then they are all back.
    servers[1].restart();
    wait_until(|| all() == before, || "its clients do not come back".to_owned());
}
