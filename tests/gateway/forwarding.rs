//! What is let through arrives whole and at once, both ways; what goes wrong behind us is said
//! clearly and never passed off as an answer.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use crate::edge::{Peer, Server, memory, shown};
use crate::harness::{Connection, Gateway, PATIENCE, Reply, Upstream, free_address, wait_until};

const LARGE: usize = 50 << 20;
/// How much the process may grow while a large body passes, in kilobytes.
const GROWTH: usize = 24 * 1024;

fn open(server: &Server) -> Gateway {
    Gateway::in_front_of(server.address, ", access: public")
}

const BLOCK: usize = 64 * 1024;

/// A block like no other: its number, and bytes that repeat nowhere near a buffer's size.
fn block(number: usize) -> Vec<u8> {
    static NOISE: LazyLock<Vec<u8>> =
        LazyLock::new(|| (0..BLOCK).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect());
    let mut block = NOISE.clone();
    block[..8].copy_from_slice(&(number as u64).to_be_bytes());
    block
}

#[test]
fn a_large_body_passes_up_and_down_without_being_gathered() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let server = Server::start(move |peer| {
        while let Some(head) = peer.head() {
            if head.starts_with("PUT") {
                let mut whole = true;
                for number in 0..LARGE / BLOCK {
                    whole &= peer.read(BLOCK).is_some_and(|bytes| bytes == block(number));
                    // Slower than the client sends, so that something would pile up.
                    std::thread::sleep(Duration::from_micros(300));
                }
                tell.lock().expect("no panic").send(whole).expect("somebody waits");
                peer.write("HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n");
            } else {
                peer.write(format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n"));
                for number in 0..LARGE / BLOCK {
                    peer.write(block(number));
                }
            }
        }
    });
    let gateway = open(&server);
    assert_eq!(gateway.get("/warm", &[]).status, 200);
    let before = memory(&gateway, "VmRSS");
    let mut connection = gateway.connect();
    connection
        .write(format!("PUT / HTTP/1.1\r\nhost: app.test\r\ncontent-length: {LARGE}\r\n\r\n").as_bytes());
    for number in 0..LARGE / BLOCK {
        assert!(connection.try_write(&block(number)));
    }
    assert_eq!(connection.reply(false).status, 201);
    assert_eq!(told.recv_timeout(PATIENCE), Ok(true), "the body arrived as it was sent");

    connection.write(b"GET / HTTP/1.1\r\nhost: app.test\r\n\r\n");
    let reply = connection.head();
    assert_eq!(reply.header("content-length"), Some(LARGE.to_string().as_str()), "{reply:?}");
    for number in 0..LARGE / BLOCK {
        std::thread::sleep(Duration::from_micros(300));
        assert!(connection.read(BLOCK) == block(number), "block {number} came as it was sent");
    }
    let grown = memory(&gateway, "VmHWM").saturating_sub(before);
    assert!(grown < GROWTH, "{before} kB and {grown} kB more");
}

#[test]
fn what_is_not_taken_is_not_read_on_either_side() {
    // The client sends more than all buffers hold; the server does not read until it is told to.
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let server = Server::start(move |peer| {
        if peer.head().is_some() {
            let _ = wait.lock().expect("no panic").recv_timeout(PATIENCE);
            for _ in 0..LARGE / BLOCK {
                peer.read(BLOCK).expect("the body comes");
            }
            peer.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let gateway = open(&server);
    let before = memory(&gateway, "VmRSS");
    let mut connection = gateway.connect();
    connection
        .write(format!("PUT / HTTP/1.1\r\nhost: app.test\r\ncontent-length: {LARGE}\r\n\r\n").as_bytes());
    let written = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let progress = Arc::clone(&written);
    let client = std::thread::spawn(move || {
        for _ in 0..LARGE / BLOCK {
            assert!(connection.try_write(&[b'x'; BLOCK]));
            progress.fetch_add(BLOCK, std::sync::atomic::Ordering::SeqCst);
        }
        connection.reply(false).status
    });
    let mut last = usize::MAX;
    wait_until(
        || {
            let now = written.load(std::sync::atomic::Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(100));
            std::mem::replace(&mut last, now) == now
        },
        || "the client goes on sending".to_owned(),
    );
    assert!(last < LARGE, "everything was taken in although nobody read it");
    let grown = memory(&gateway, "VmHWM").saturating_sub(before);
    assert!(grown < GROWTH, "{before} kB and {grown} kB more");
    go.send(()).expect("the server waits");
    assert_eq!(client.join().expect("no panic"), 200);
}

#[test]
fn an_event_arrives_when_it_is_sent() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let server = Server::start(move |peer| {
        if peer.head().is_some() {
            peer.write(
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
            );
            for _ in 0..3 {
                peer.write("9\r\ndata: x\n\n\r\n");
                // The next one only when this one was seen.
                if wait.lock().expect("no panic").recv_timeout(PATIENCE).is_err() {
                    return;
                }
            }
            peer.write("0\r\n\r\n");
        }
    });
    let gateway = open(&server);
    let mut connection = gateway.connect();
    connection.write(b"GET / HTTP/1.1\r\nhost: app.test\r\naccept: text/event-stream\r\n\r\n");
    assert_eq!(connection.head().header("content-type"), Some("text/event-stream"));
    for _ in 0..3 {
        assert_eq!(connection.read(14), b"9\r\ndata: x\n\n\r\n");
        go.send(()).expect("the server waits");
    }
    assert_eq!(connection.read(5), b"0\r\n\r\n");
}

#[test]
fn the_head_of_an_answer_comes_before_its_body_is_there() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let server = Server::start(move |peer| {
        if peer.head().is_some() {
            peer.write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
            let _ = wait.lock().expect("no panic").recv_timeout(PATIENCE);
            peer.write("hello");
        }
    });
    let gateway = open(&server);
    let mut connection = gateway.connect();
    connection.write(b"GET / HTTP/1.1\r\nhost: app.test\r\n\r\n");
    assert_eq!(connection.head().status, 200);
    go.send(()).expect("the server waits");
    assert_eq!(connection.read(5), b"hello");
}

#[test]
fn who_expects_100_continue_gets_it_before_the_body_and_not_when_refused() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ app: \"http://{}\" }}
routes:
  - {{ path: /public/**, access: public, upstream: app }}
  - {{ path: /**, upstream: app }}
",
        upstream.address
    ));
    let head = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: app.test\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
    };
    let mut connection = gateway.connect();
    for _ in 0..2 {
        connection.write(head("/public/x").as_bytes());
        assert_eq!(connection.head().status, 100);
        connection.write(b"hello");
        assert_eq!(connection.head().status, 200);
        connection.read(5);
    }
    assert_eq!(upstream.count(), 2);
    assert!(upstream.last().ends_with("\r\n\r\nhello"), "{}", upstream.last());
    // Who does not wait for it gets its answer as well.
    connection.write(format!("{}hello", head("/public/x")).as_bytes());
    assert_eq!(connection.reply(false).status, 200);

    let mut connection = gateway.connect();
    connection.write(head("/private").as_bytes());
    let reply = connection.head();
    assert_eq!(reply.status, 401, "{reply:?}");
    assert_eq!(upstream.count(), 3);
}

#[test]
fn trailers_pass_both_ways() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 42\r\n\r\n".to_vec()
    });
    let gateway = Gateway::in_front_of(upstream.address, ", access: public");
    let mut connection = gateway.connect();
    connection.write(
        b"POST / HTTP/1.1\r\nhost: app.test\r\nte: trailers\r\nconnection: te\r\ntrailer: x-check\r\n\
        transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-check: 23\r\n\r\n",
    );
    let reply = connection.reply(false);
    assert_eq!((reply.text().as_str(), reply.all("x-sum")), ("hi", vec!["42"]), "{reply:?}");
    let seen = upstream.last();
    assert!(seen.contains("te: trailers\r\n") && seen.contains("trailer: x-check\r\n"), "{seen}");
    assert!(seen.ends_with("3\r\nabc\r\n0\r\nx-check: 23\r\n\r\n"), "{seen}");
}

#[test]
fn answers_without_a_body_leave_the_connection_usable() {
    let upstream = Upstream::answering(|request| {
        let answer: &[u8] = match request.split(' ').nth(1) {
            Some("/head") => b"HTTP/1.1 200 OK\r\ncontent-length: 1234\r\netag: \"x\"\r\n\r\n",
            Some("/head-chunked") => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            Some("/204") => b"HTTP/1.1 204 No Content\r\nx: y\r\n\r\n",
            Some("/304") => b"HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\ncontent-length: 99\r\n\r\n",
            Some("/empty") => b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            Some("/interim") => {
                b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
            }
            _ => b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        };
        answer.to_vec()
    });
    let gateway = Gateway::in_front_of(upstream.address, ", access: public");
    let mut connection = gateway.connect();
    let mut ask = |method: &str, path: &str| {
        connection.write(format!("{method} {path} HTTP/1.1\r\nhost: app.test\r\n\r\n").as_bytes());
        connection.reply(method == "HEAD")
    };
    for _ in 0..2 {
        let reply = ask("HEAD", "/head");
        assert_eq!((reply.status, reply.header("content-length")), (200, Some("1234")), "{reply:?}");
        assert_eq!(ask("HEAD", "/head-chunked").status, 200);
        let reply = ask("GET", "/204");
        assert_eq!((reply.status, reply.header("content-length"), reply.header("x")), (204, None, Some("y")));
        let reply = ask("GET", "/304");
        assert_eq!((reply.status, reply.header("etag")), (304, Some("\"x\"")), "{reply:?}");
        let reply = ask("GET", "/empty");
        assert_eq!((reply.status, reply.header("content-length")), (200, Some("0")), "{reply:?}");
        assert_eq!(ask("GET", "/interim").text(), "ok");
        assert_eq!(ask("GET", "/").text(), "hello");
    }
}

#[test]
fn a_connection_to_the_upstream_serves_many_requests() {
    let server = Server::start(|peer| {
        while peer.head().is_some() {
            peer.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let gateway = open(&server);
    let mut connection = gateway.connect();
    for _ in 0..20 {
        connection.write(b"GET / HTTP/1.1\r\nhost: app.test\r\n\r\n");
        assert_eq!(connection.reply(false).text(), "ok");
    }
    assert_eq!(server.accepted(), 1);
}

#[test]
fn a_connection_that_the_upstream_closed_while_idle_is_never_a_502() {
    // Says nothing of closing, and closes after every answer: at once, or a little later.
    let server = Server::start(|peer| {
        if let Some(head) = peer.head() {
            peer.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            if head.starts_with("GET /later") {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    });
    let gateway = open(&server);
    for path in ["/at-once", "/later"] {
        let mut connection = gateway.connect();
        for pause in 0..60 {
            connection.write(format!("GET {path} HTTP/1.1\r\nhost: app.test\r\n\r\n").as_bytes());
            let reply = connection.reply(false);
            assert_eq!(reply.status, 200, "{path} after {pause}: {reply:?}");
            // Every moment of the closing is met once.
            std::thread::sleep(Duration::from_micros(pause * 150));
        }
    }
}

#[test]
fn an_upstream_that_is_down_is_a_502_that_clears_the_login() {
    let address = free_address();
    let gateway = Gateway::in_front_of(address, ", access: public");
    let reply = gateway.get("/", &[("accept", "text/html,*/*;q=0.8"), ("sec-fetch-mode", "navigate")]);
    assert_eq!((reply.status, reply.all("cache-control")), (502, vec!["no-store"]), "{reply:?}");
    assert!(reply.header("content-type").is_some_and(|kind| kind.starts_with("text/html")), "{reply:?}");
    let page = reply.text();
    assert!(page.contains("your login") && page.contains("the application"), "{page}");
    assert!(page.contains(reply.header("x-request-id").expect("an id")), "{page}");
    for secret in [address.port().to_string(), "127.0.0.1".to_owned(), "refused".to_owned()] {
        assert!(!page.contains(&secret), "{secret} in {page}");
    }
    let reply = gateway.get("/", &[("accept", "application/json")]);
    assert_eq!((reply.status, reply.header("content-type")), (502, Some("application/problem+json")));
    assert_eq!(
        (reply.json()["status"].as_u64(), reply.json()["code"].as_str()),
        (Some(502), Some("bad_gateway"))
    );
    // The operator reads the cause.
    gateway.wait_for_log(reply.header("x-request-id").expect("an id"));
    gateway.wait_for_log("refused");
}

#[test]
fn an_upstream_that_answers_too_late_is_a_504_and_its_connection_is_left() {
    let (closed, was_closed) = channel();
    let closed = Mutex::new(closed);
    let server = Server::start(move |peer| {
        while let Some(head) = peer.head() {
            if head.starts_with("GET /slow") {
                peer.wait_for_end();
                let _ = closed.lock().expect("no panic").send(());
                return;
            }
            peer.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let gateway = Gateway::start(&format!(
        "upstreams: {{ app: {{ servers: [\"http://{}\"], timeouts: {{ response: 1s }} }} }}
routes: [{{ path: /**, access: public, upstream: app }}]
",
        server.address
    ));
    let mut connection = gateway.connect();
    let started = Instant::now();
    connection.write(b"GET /slow HTTP/1.1\r\nhost: app.test\r\n\r\n");
    let reply = connection.reply(false);
    let took = started.elapsed();
    assert_eq!((reply.status, reply.json()["code"].as_str()), (504, Some("gateway_timeout")), "{reply:?}");
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(4), "{took:?}");
    was_closed.recv_timeout(PATIENCE).expect("the upstream's connection is closed");
    connection.write(b"GET /fast HTTP/1.1\r\nhost: app.test\r\n\r\n");
    assert_eq!(connection.reply(false).text(), "ok");
}

#[test]
fn an_answer_that_the_upstream_breaks_off_is_cut_and_never_looks_whole() {
    let server = Server::start(|peer| {
        let Some(head) = peer.head() else { return };
        peer.write(match head.split(' ').nth(1) {
            Some("/length") => "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789",
            Some("/chunks") => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n",
            Some("/chunk") => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n14\r\n0123456789",
            _ => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n",
        });
    });
    let gateway = open(&server);
    for path in ["/length", "/chunks", "/chunk", "/nonsense"] {
        let mut connection = gateway.connect();
        connection.write(format!("GET {path} HTTP/1.1\r\nhost: app.test\r\n\r\n").as_bytes());
        let reply = connection.reply(false);
        // What fails before anything was sent on may be no answer at all.
        assert!(reply.cut || matches!(reply.status, 0 | 502), "{path}: {reply:?}");
        assert!(reply.status == 502 || connection.is_closed(), "{path}");
    }
}

#[test]
fn an_answer_that_is_no_http_is_a_502() {
    let answers = [
        "",
        "garbage\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1\r\n\r\n",
        "HTTP/1.1 99 x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx y: z\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: ",
    ];
    let server = Server::start(move |peer| {
        if let Some(head) = peer.head() {
            let at = head.split(['/', ' ']).nth(2).and_then(|at| at.parse::<usize>().ok());
            peer.write(answers[at.expect("a number")]);
        }
    });
    let gateway = open(&server);
    for (at, answer) in answers.iter().enumerate() {
        let reply = gateway.get(&format!("/{at}"), &[]);
        assert_eq!(reply.status, 502, "{answer:?}: {reply:?}");
        assert_eq!(reply.json()["code"], "bad_gateway", "{answer:?}");
    }
}

/// A server that says when a connection came to its end, after it did what it was told.
fn watched(serve: impl Fn(&mut Peer) + Send + Sync + 'static) -> (Server, Receiver<()>) {
    let (tell, told): (Sender<()>, _) = channel();
    let tell = Mutex::new(tell);
    let server = Server::start(move |peer| {
        if peer.head().is_some() {
            serve(peer);
            peer.wait_for_end();
            let _ = tell.lock().expect("no panic").send(());
        }
    });
    (server, told)
}

#[test]
fn a_client_that_goes_away_takes_the_connection_to_the_upstream_along() {
    type Script = (&'static str, fn(&mut Peer), fn(&mut Connection));
    let scripts: [Script; 3] = [
        ("before the answer", |_| {}, |_| {}),
        (
            "in a quiet answer",
            |peer| {
                peer.write("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n");
            },
            |connection| assert_eq!(connection.head().status, 200),
        ),
        (
            "in a busy answer",
            |peer| {
                peer.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
                while peer.write("5\r\nhello\r\n") {}
            },
            |connection| assert_eq!(connection.head().status, 200),
        ),
    ];
    for (case, serve, until) in scripts {
        let (arrived, has_arrived) = channel();
        let arrived = Mutex::new(arrived);
        let (server, ended) = watched(move |peer| {
            let _ = arrived.lock().expect("no panic").send(());
            serve(peer);
        });
        let gateway = open(&server);
        let mut connection = gateway.connect();
        connection.write(b"GET / HTTP/1.1\r\nhost: app.test\r\n\r\n");
        has_arrived.recv_timeout(PATIENCE).expect("the request arrives");
        until(&mut connection);
        drop(connection);
        ended.recv_timeout(Duration::from_secs(5)).unwrap_or_else(|_| panic!("{case}: it stays open"));
    }
}

#[test]
fn a_client_that_breaks_off_its_body_ends_nothing_cleanly_at_the_upstream() {
    for head in ["content-length: 100\r\n\r\nhello", "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"] {
        let (tell, told) = channel();
        let tell = Mutex::new(tell);
        let server = Server::start(move |peer| {
            if peer.head().is_some() {
                let mut all = Vec::new();
                loop {
                    let some = peer.read_some();
                    if some.is_empty() {
                        break;
                    }
                    all.extend(some);
                }
                let _ = tell.lock().expect("no panic").send(all);
            }
        });
        let gateway = open(&server);
        let mut connection = gateway.connect();
        connection.write(format!("POST / HTTP/1.1\r\nhost: app.test\r\n{head}").as_bytes());
        wait_until(|| server.accepted() > 0, || "it does not arrive".to_owned());
        drop(connection);
        let seen = told.recv_timeout(PATIENCE).expect("the connection ends");
        assert!(!shown(&seen).contains("0\\r\\n\\r\\n") && seen.len() < 100, "{}", shown(&seen));
    }
}

fn csrf(upstream: &Upstream) -> Gateway {
    let gateway = Gateway::start(&format!(
        "upstreams: {{ app: \"http://{}\" }}
routes:
  - {{ path: /open/**, csrf: false, upstream: app }}
  - {{ path: /public/**, access: public, upstream: app }}
  - {{ path: /**, upstream: app }}
",
        upstream.address
    ));
    gateway.add_user("alice", &[]);
    gateway
}

#[test]
fn a_change_by_a_session_from_another_site_is_refused() {
    let upstream = Upstream::start();
    let gateway = csrf(&upstream);
    let cookie = gateway.sign_in("alice");
    let bearer = format!("Bearer {}", gateway.token("alice"));
    let ask = |method: &str, path: &str, headers: &[(&str, &str)]| -> Reply {
        gateway.request(method, path, headers, b"x")
    };
    let session = |more: (&'static str, &'static str)| [("cookie", cookie.as_str()), more];
    for from in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "nonsense"),
        ("origin", "http://evil.test"),
        ("origin", "null"),
        ("origin", "https://app.test.evil.test"),
        ("origin", "http://app.test:81"),
        ("origin", ""),
    ] {
        for method in ["POST", "PUT", "PATCH", "DELETE", "X-CUSTOM"] {
            let before = upstream.count();
            let reply = ask(method, "/a", &session(from));
            assert_eq!(reply.status, 403, "{method} {from:?}: {reply:?}");
            assert_eq!(reply.json()["code"], "cross_site", "{method} {from:?}");
            assert_eq!(upstream.count(), before, "{method} {from:?}");
        }
        // Nothing changes, nobody is at risk, or the operator said so.
        for (method, path, headers) in [
            ("GET", "/a", session(from)),
            ("HEAD", "/a", session(from)),
            ("OPTIONS", "/a", session(from)),
            ("POST", "/open/a", session(from)),
            ("POST", "/public/a", session(from)),
            ("POST", "/a", [("authorization", bearer.as_str()), from]),
        ] {
            let mut connection = gateway.connect();
            let fields: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            connection.write(
                format!("{method} {path} HTTP/1.1\r\nhost: app.test\r\n{fields}connection: close\r\n\r\n")
                    .as_bytes(),
            );
            let reply = connection.reply(method == "HEAD");
            assert_eq!(reply.status, 200, "{method} {path} {from:?}: {reply:?}");
        }
    }
    for from in [
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-site", "none"),
        ("origin", "http://app.test"),
        ("origin", "http://APP.test:80"),
        ("x", "y"),
    ] {
        let reply = ask("POST", "/a", &session(from));
        assert_eq!(reply.status, 200, "{from:?}: {reply:?}");
    }
    // One of two that disagree is enough.
    let both =
        [("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin"), ("origin", "http://evil.test")];
    assert_eq!(ask("POST", "/a", &both).status, 403);
    let both = [("cookie", cookie.as_str()), ("sec-fetch-site", "cross-site"), ("origin", "http://app.test")];
    assert_eq!(ask("POST", "/a", &both).status, 403);
}

#[test]
fn a_websocket_of_a_session_from_another_site_is_refused_before_the_upstream_sees_it() {
    let upstream = Upstream::start();
    let gateway = csrf(&upstream);
    let cookie = gateway.sign_in("alice");
    for (from, passes) in [
        ("origin: http://evil.test", false),
        ("origin: null", false),
        ("sec-fetch-site: cross-site", false),
        ("origin: http://app.test", true),
    ] {
        let before = upstream.count();
        let mut connection = gateway.connect();
        connection.write(
            format!(
                "GET /socket HTTP/1.1\r\nhost: app.test\r\ncookie: {cookie}\r\n{from}\r\n\
                connection: upgrade\r\nupgrade: websocket\r\n\r\n"
            )
            .as_bytes(),
        );
        let reply = connection.reply(false);
        assert_eq!(reply.status, if passes { 200 } else { 403 }, "{from}: {reply:?}");
        assert_eq!(upstream.count() - before, usize::from(passes), "{from}");
    }
    // Without a session it is 401, and never a way to a page.
    let reply = gateway.send(
        b"GET /socket HTTP/1.1\r\nhost: app.test\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-fetch-mode: websocket\r\n\r\n",
    );
    assert_eq!(reply.status, 401, "{reply:?}");
}
