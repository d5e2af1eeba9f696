//! A server that fails in every way that one can: what the client sees is a clear 502 or 504 or a body that is cut,
//! and nobody is ever given the bytes of another.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::edge::{Peer, Server};
use crate::harness::{Connection, Gateway, Reply};

/// What the client of a fault is to see.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Seen {
    /// An answer of ours with this status.
    Refused(u16),
    /// A 200 that does not come to its end, or nothing at all, or a 502: never one that looks whole.
    Cut,
    /// This status, and exactly the answer that the server meant.
    Whole(u16),
    /// As `Cut` or as `Whole(200)`: both are sound readings.
    CutOrWhole,
}

struct Fault {
    name: &'static str,
    method: &'static str,
    /// What the server does once it has read a head; it is handed the token. Whether it goes on with the connection.
    serve: fn(&mut Peer, &str) -> bool,
    seen: Seen,
}

/// The body that answers a token.
fn body(token: &str) -> String {
    format!("<{token}>").repeat(40)
}

fn answer(token: &str) -> String {
    let body = body(token);
    format!("HTTP/1.1 200 OK\r\nx-token: {token}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// An answer that nobody asked for.
fn stolen() -> String {
    answer("stolen")
}

fn head(token: &str, more: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nx-token: {token}\r\n{more}\r\n\r\n")
}

/// A body in chunks as it should be, but for its end.
fn chunks(token: &str) -> String {
    let body = body(token);
    let (one, two) = body.split_at(body.len() / 2);
    let size = |part: &str| format!("{:x}\r\n{part}\r\n", part.len());
    format!("{}{}{}", head(token, "transfer-encoding: chunked"), size(one), size(two))
}

const FAULTS: &[Fault] = &[
    // It dies.
    Fault { name: "dies-at-once", method: "GET", serve: |_, _| false, seen: Seen::Refused(502) },
    Fault {
        name: "dies-in-the-head",
        method: "GET",
        serve: |peer, token| {
            peer.write(&answer(token)[..30]);
            false
        },
        seen: Seen::Refused(502),
    },
    Fault {
        name: "dies-in-a-body-of-known-length",
        method: "GET",
        serve: |peer, token| {
            let answer = answer(token);
            peer.write(&answer[..answer.len() - 9]);
            false
        },
        seen: Seen::Cut,
    },
    Fault {
        name: "dies-between-chunks",
        method: "GET",
        serve: |peer, token| {
            peer.write(chunks(token));
            false
        },
        seen: Seen::Cut,
    },
    Fault {
        name: "dies-in-a-chunk",
        method: "GET",
        serve: |peer, token| {
            let chunks = chunks(token);
            peer.write(&chunks[..chunks.len() - 9]);
            false
        },
        seen: Seen::Cut,
    },
    Fault {
        name: "dies-in-the-last-chunk",
        method: "GET",
        serve: |peer, token| {
            peer.write(chunks(token) + "0\r\n");
            false
        },
        seen: Seen::Cut,
    },
    Fault {
        name: "resets-at-once",
        method: "GET",
        serve: |peer, _| {
            peer.reset();
            false
        },
        seen: Seen::Refused(502),
    },
    Fault {
        name: "resets-in-a-body-of-known-length",
        method: "GET",
        serve: |peer, token| {
            let answer = answer(token);
            peer.write(&answer[..answer.len() - 9]);
            std::thread::sleep(Duration::from_millis(20));
            peer.reset();
            false
        },
        seen: Seen::Cut,
    },
    Fault {
        name: "resets-in-a-body-that-ends-with-the-connection",
        method: "GET",
        serve: |peer, token| {
            peer.write(head(token, "connection: close") + &body(token));
            std::thread::sleep(Duration::from_millis(20));
            peer.reset();
            false
        },
        seen: Seen::Cut,
    },
    Fault {
        name: "answers-a-post-then-resets",
        method: "POST",
        serve: |peer, token| {
            // Its body was not read: closing so is a reset by itself.
            peer.write(answer(token));
            false
        },
        seen: Seen::CutOrWhole,
    },
    // It is silent or slow.
    Fault {
        name: "never-answers",
        method: "GET",
        serve: |peer, _| {
            peer.wait_for_end();
            false
        },
        seen: Seen::Refused(504),
    },
    Fault {
        name: "stops-in-the-head",
        method: "GET",
        serve: |peer, token| {
            peer.write(&answer(token)[..30]);
            peer.wait_for_end();
            false
        },
        seen: Seen::Refused(504),
    },
    Fault {
        name: "drips-the-head",
        method: "GET",
        serve: |peer, token| {
            for byte in answer(token).bytes() {
                if !peer.write([byte]) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(60));
            }
            false
        },
        seen: Seen::Refused(504),
    },
    Fault {
        name: "stops-in-the-body",
        method: "GET",
        serve: |peer, token| {
            let answer = answer(token);
            peer.write(&answer[..answer.len() - 9]);
            peer.wait_for_end();
            false
        },
        seen: Seen::Cut,
    },
    Fault {
        name: "drips-the-body",
        method: "GET",
        serve: |peer, token| {
            let answer = answer(token);
            let (start, end) = answer.split_at(answer.len() - 20);
            peer.write(start);
            for byte in end.bytes() {
                std::thread::sleep(Duration::from_millis(20));
                peer.write([byte]);
            }
            true
        },
        seen: Seen::Whole(200),
    },
    Fault {
        name: "hints-for-ever",
        method: "GET",
        serve: |peer, _| {
            while peer.write("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n") {
                std::thread::sleep(Duration::from_millis(20));
            }
            false
        },
        seen: Seen::Refused(504),
    },
    // It talks nonsense.
    Fault {
        name: "garbage",
        method: "GET",
        serve: |peer, _| {
            peer.write("\u{0}\u{1}garbage\r\n\r\n".repeat(20));
            false
        },
        seen: Seen::Refused(502),
    },
    Fault {
        name: "a-body-alone",
        method: "GET",
        serve: |peer, token| {
            peer.write(body(token));
            false
        },
        seen: Seen::Refused(502),
    },
    Fault {
        name: "a-huge-field",
        method: "GET",
        serve: |peer, token| {
            peer.write(head(token, &format!("content-length: 0\r\nx: {}", "y".repeat(1 << 20))));
            false
        },
        seen: Seen::Refused(502),
    },
    Fault {
        name: "a-head-without-end",
        method: "GET",
        serve: |peer, _| {
            peer.write("HTTP/1.1 200 OK\r\n");
            while peer.write("x: y\r\n".repeat(1000)) {}
            false
        },
        seen: Seen::Refused(502),
    },
    Fault {
        name: "two-lengths",
        method: "GET",
        serve: |peer, token| peer.write(head(token, "content-length: 5\r\ncontent-length: 6") + "hello!"),
        seen: Seen::Refused(502),
    },
    Fault {
        name: "two-framings",
        method: "GET",
        serve: |peer, token| {
            peer.write(
                head(token, "transfer-encoding: chunked\r\ncontent-length: 5") + "0\r\n\r\n" + &stolen(),
            )
        },
        seen: Seen::Refused(502),
    },
    Fault {
        name: "an-unknown-coding",
        method: "GET",
        serve: |peer, token| peer.write(head(token, "transfer-encoding: gzip, chunked") + "0\r\n\r\n"),
        seen: Seen::Refused(502),
    },
    Fault {
        name: "two-codings-the-last-chunked",
        method: "GET",
        serve: |peer, token| {
            peer.write(head(token, "transfer-encoding: identity\r\ntransfer-encoding: chunked") + "0\r\n\r\n")
        },
        seen: Seen::Refused(502),
    },
    Fault {
        name: "two-codings-the-first-chunked",
        method: "GET",
        serve: |peer, token| {
            peer.write(
                head(token, "transfer-encoding: chunked\r\ntransfer-encoding: identity") + "0\r\n\r\n",
            );
            false
        },
        seen: Seen::Refused(502),
    },
    Fault {
        name: "a-coding-of-an-old-version",
        method: "GET",
        serve: |peer, token| {
            let answer = head(token, "transfer-encoding: chunked").replace("HTTP/1.1", "HTTP/1.0");
            peer.write(answer + "0\r\n\r\n")
        },
        seen: Seen::Refused(502),
    },
    Fault {
        name: "a-control-in-a-field",
        method: "GET",
        serve: |peer, token| peer.write(head(token, "x: a\u{0}b\r\ncontent-length: 0")),
        seen: Seen::Refused(502),
    },
    Fault {
        name: "a-chunk-size-that-is-none",
        method: "GET",
        serve: |peer, token| {
            peer.write(chunks(token) + "xyz\r\nxyz\r\n0\r\n\r\n");
            false
        },
        seen: Seen::Cut,
    },
    Fault {
        name: "a-chunk-size-that-overflows",
        method: "GET",
        serve: |peer, token| {
            peer.write(chunks(token) + "10000000000000005\r\nxyz\r\n0\r\n\r\n");
            false
        },
        seen: Seen::Cut,
    },
    Fault {
        name: "a-chunk-size-below-zero",
        method: "GET",
        serve: |peer, token| {
            peer.write(chunks(token) + "-1\r\nx\r\n0\r\n\r\n");
            false
        },
        seen: Seen::Cut,
    },
    Fault {
        name: "a-chunk-longer-than-it-says",
        method: "GET",
        serve: |peer, token| {
            peer.write(chunks(token) + "3\r\nlonger\r\n0\r\n\r\n");
            false
        },
        seen: Seen::Cut,
    },
    Fault {
        name: "a-chunk-shorter-than-it-says",
        method: "GET",
        serve: |peer, token| {
            peer.write(chunks(token) + "ff\r\nshort\r\n0\r\n\r\n");
            false
        },
        seen: Seen::Cut,
    },
    // It says more than it was asked, and keeps the connection.
    Fault {
        name: "an-upgrade-unasked",
        method: "GET",
        serve: |peer, _| {
            let switch =
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
            peer.write(switch.to_owned() + &stolen())
        },
        seen: Seen::Refused(502),
    },
    Fault {
        name: "two-answers",
        method: "GET",
        serve: |peer, token| peer.write(answer(token) + &stolen()),
        seen: Seen::Whole(200),
    },
    Fault {
        name: "two-answers-the-second-a-little-later",
        method: "GET",
        serve: |peer, token| {
            peer.write(answer(token));
            peer.write(stolen())
        },
        seen: Seen::Whole(200),
    },
    Fault {
        name: "two-answers-the-first-long",
        method: "GET",
        serve: |peer, token| {
            let body = body(token).repeat(400);
            let length = format!("content-length: {}", body.len());
            peer.write(head(token, &length) + &body + &stolen())
        },
        seen: Seen::Whole(200),
    },
    Fault {
        name: "two-answers-the-first-in-chunks",
        method: "GET",
        serve: |peer, token| peer.write(chunks(token) + "0\r\n\r\n" + &stolen()),
        seen: Seen::Whole(200),
    },
    Fault {
        name: "a-body-behind-head",
        method: "HEAD",
        serve: |peer, token| peer.write(answer(token) + &stolen()),
        seen: Seen::Whole(200),
    },
    Fault {
        name: "a-body-behind-204",
        method: "GET",
        serve: |peer, token| {
            peer.write(
                format!("HTTP/1.1 204 No Content\r\nx-token: {token}\r\ncontent-length: 5\r\n\r\nhello")
                    + &stolen(),
            )
        },
        seen: Seen::Whole(204),
    },
    Fault {
        name: "a-body-behind-304",
        method: "GET",
        serve: |peer, token| {
            peer.write(format!("HTTP/1.1 304 Not Modified\r\nx-token: {token}\r\n\r\n") + &stolen())
        },
        seen: Seen::Whole(304),
    },
    Fault {
        name: "many-interim-answers",
        method: "GET",
        serve: |peer, token| {
            let hints = "HTTP/1.1 103 Early Hints\r\nx-token: stolen\r\nlink: </a>\r\n\r\n".repeat(50);
            peer.write(format!(
                "HTTP/1.1 100 Continue\r\n\r\n{hints}HTTP/1.1 102 Processing\r\n\r\n{}",
                answer(token)
            ))
        },
        seen: Seen::Whole(200),
    },
    Fault {
        name: "an-interim-answer-behind-the-answer",
        method: "GET",
        serve: |peer, token| peer.write(answer(token) + "HTTP/1.1 100 Continue\r\n\r\n"),
        seen: Seen::Whole(200),
    },
    // It is done before the client is.
    Fault {
        name: "answers-before-the-body",
        method: "POST",
        serve: |peer, token| {
            peer.write(answer(token));
            // The body may fit the buffers on its way: for the gateway everything is well then, until this ends.
            std::thread::sleep(Duration::from_millis(200));
            false
        },
        seen: Seen::CutOrWhole,
    },
    Fault {
        name: "answers-and-says-no-more",
        method: "GET",
        serve: |peer, token| {
            peer.write(answer(token));
            peer.finish();
            peer.wait_for_end();
            false
        },
        seen: Seen::Whole(200),
    },
    Fault {
        name: "says-close-and-stays",
        method: "GET",
        serve: |peer, token| {
            peer.write(answer(token).replace("x-token", "connection: close\r\nx-token") + &stolen());
            peer.wait_for_end();
            false
        },
        seen: Seen::Whole(200),
    },
    Fault {
        name: "an-old-version-that-ends-with-the-connection",
        method: "GET",
        serve: |peer, token| {
            peer.write(format!("HTTP/1.0 200 OK\r\nx-token: {token}\r\n\r\n{}", body(token)));
            false
        },
        seen: Seen::Whole(200),
    },
];

/// The length of what a client posts: more than fits the buffers on its way.
const POSTED: usize = 3 << 20;

/// Serves `/NAME/TOKEN`: a fault by its name, or an answer as it should be.
fn server() -> Server {
    Server::start(|peer| {
        while let Some(head) = peer.head() {
            let mut path = head.split(' ').nth(1).unwrap_or_default().split('/').skip(1);
            let (Some(name), Some(token)) = (path.next(), path.next()) else { return };
            let goes_on = match FAULTS.iter().find(|fault| fault.name == name) {
                Some(fault) => (fault.serve)(peer, token),
                None => {
                    let length =
                        head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                    length.is_none_or(|length| peer.read(length).is_some()) && peer.write(answer(token))
                }
            };
            if !goes_on {
                return;
            }
        }
    })
}

fn gateway(server: &Server) -> Gateway {
    Gateway::start(&format!(
        "upstreams: {{ app: {{ servers: [\"http://{}\"], timeouts: {{ response: 1s, idle: 1s }} }} }}
routes: [{{ path: /**, access: public, upstream: app }}]
",
        server.address
    ))
}

/// A request of a name and a token on a connection; the body of a POST is sent whatever comes meanwhile.
fn ask(connection: &mut Connection, method: &str, name: &str, token: &str) -> Reply {
    let head = format!("{method} /{name}/{token} HTTP/1.1\r\nhost: app.test\r\n");
    if method == "POST" {
        connection.write(format!("{head}content-length: {POSTED}\r\n\r\n").as_bytes());
        connection.write(&vec![b'x'; POSTED]);
    } else {
        connection.write(format!("{head}\r\n").as_bytes());
    }
    connection.reply(method == "HEAD")
}

/// Why this reply to a fault is not what it should be.
fn complaint(fault: &Fault, token: &str, reply: &Reply) -> Option<String> {
    if reply.text().contains("stolen") || reply.header("x-token").is_some_and(|told| told != token) {
        return Some("somebody else's bytes".to_owned());
    }
    let ours = |status: u16| {
        let code = if status == 504 { "gateway_timeout" } else { "bad_gateway" };
        reply.status == status && !reply.cut && reply.json()["code"] == code
    };
    // A long answer is one body, many times.
    let whole = |status: u16| {
        let is_body =
            !reply.body.is_empty() && reply.text().replace(&body(token), "").is_empty() && !reply.cut;
        let right = if fault.method == "HEAD" || status != 200 { reply.body.is_empty() } else { is_body };
        reply.status == status && reply.header("x-token") == Some(token) && right
    };
    // What fails before the head was sent on may be no answer at all.
    let cut = || {
        // What a chunk of the wrong size holds may come behind what was right.
        let (text, right) = (reply.text(), body(token));
        let part = reply.cut && (right.starts_with(&text) || text.starts_with(&right));
        reply.status == 0 || (reply.status == 200 && part) || ours(502)
    };
    let fine = match fault.seen {
        Seen::Refused(status) => ours(status),
        Seen::Cut => cut(),
        Seen::Whole(status) => whole(status),
        Seen::CutOrWhole => cut() || whole(200),
    };
    (!fine).then(|| format!("not {:?}", fault.seen))
}

#[test]
fn every_fault_of_a_server_is_clear_to_its_client_and_nothing_to_the_next() {
    let server = server();
    let gateway = gateway(&server);
    std::thread::scope(|scope| {
        for fault in FAULTS {
            let gateway = &gateway;
            scope.spawn(move || {
                for round in 0..2 {
                    let token = format!("{}-{round}", fault.name);
                    let mut connection = gateway.connect();
                    // On a connection to the server that is new, and on one that served before.
                    if round == 1 {
                        assert_eq!(ask(&mut connection, "GET", "fine", &token).text(), body(&token));
                    }
                    let started = Instant::now();
                    let reply = ask(&mut connection, fault.method, fault.name, &token);
                    let complaint = complaint(fault, &token, &reply);
                    assert!(complaint.is_none(), "{}, round {round}: {complaint:?} in {reply:?}", fault.name);
                    assert!(
                        started.elapsed() < Duration::from_secs(8),
                        "{}: {:?}",
                        fault.name,
                        started.elapsed()
                    );
                    // The next one, by the same client where its connection lives, and by another.
                    let mut another = gateway.connect();
                    for next in 0..5 {
                        let token = format!("{token}-after-{next}");
                        let reply = ask(&mut another, "GET", "fine", &token);
                        assert_eq!(
                            (reply.status, reply.text()),
                            (200, body(&token)),
                            "{}: {reply:?}",
                            fault.name
                        );
                    }
                    if !reply.cut && reply.status != 0 && reply.header("connection") != Some("close") {
                        let token = format!("{token}-same");
                        let reply = ask(&mut connection, "GET", "fine", &token);
                        assert!(
                            reply.status == 0 || (reply.status == 200 && reply.text() == body(&token)),
                            "{}: {reply:?}",
                            fault.name
                        );
                    }
                }
            });
        }
    });
}

#[test]
fn among_many_faults_nobody_is_given_the_answer_of_another() {
    let server = server();
    let gateway = gateway(&server);
    let (stop, served, failed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let complaints = Mutex::new(Vec::new());
    let complain = |text: String| complaints.lock().expect("no panic").push(text);
    std::thread::scope(|scope| {
        for client in 0..24 {
            let (gateway, stop, served, failed, complain) = (&gateway, &stop, &served, &failed, &complain);
            scope.spawn(move || {
                let mut connection = gateway.connect();
                let mut number = client;
                while !stop.load(Ordering::Relaxed) {
                    number += 1;
                    let token = format!("c{client}n{number}");
                    // A third of the clients meet faults, one after the other; the others never should know.
                    let fault = (client % 3 == 0).then(|| &FAULTS[(number * 7 + client) % FAULTS.len()]);
                    let fault = fault.filter(|_| number % 2 == 0);
                    let reply = match fault {
                        Some(fault) => ask(&mut connection, fault.method, fault.name, &token),
                        None => ask(&mut connection, "GET", "fine", &token),
                    };
                    let wrong = match fault {
                        Some(fault) => complaint(fault, &token, &reply),
                        // One's own fault before may have taken the connection along.
                        None if reply.status == 0 && client % 3 == 0 => None,
                        None => (reply.status != 200 || reply.text() != body(&token) || reply.cut)
                            .then(|| "not its own answer".to_owned()),
                    };
                    if let Some(wrong) = wrong {
                        complain(format!(
                            "{token} {}: {wrong}: {reply:?}",
                            fault.map_or("fine", |fault| fault.name)
                        ));
                    }
                    let count = if fault.is_some() { failed } else { served };
                    count.fetch_add(1, Ordering::Relaxed);
                    // Nor is one kept whose body may be on its way still.
                    let posted = fault.is_some_and(|fault| fault.method == "POST");
                    let closes = reply.header("connection") == Some("close");
                    if reply.status == 0 || reply.cut || closes || posted {
                        connection = gateway.connect();
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_secs(5));
        stop.store(true, Ordering::Relaxed);
    });
    let complaints = complaints.into_inner().expect("no panic");
    let (served, failed) = (served.into_inner(), failed.into_inner());
    assert!(
        complaints.is_empty(),
        "{} of {served}: {:#?}",
        complaints.len(),
        &complaints[..complaints.len().min(8)]
    );
    assert!(served > 200 && failed > FAULTS.len(), "{served} served, {failed} failed");
}

#[test]
fn a_server_that_closes_at_the_worst_moment_is_asked_again_only_where_that_is_harmless() {
    // Each connection serves one request and is closed when the next is read: sent, and never answered.
    let seen = std::sync::Arc::new(Mutex::new(Vec::new()));
    let record = std::sync::Arc::clone(&seen);
    let server = Server::start(move |peer| {
        for first in [true, false] {
            let Some(head) = peer.head() else { return };
            record.lock().expect("no panic").push(head.split(' ').nth(1).unwrap_or_default().to_owned());
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let _ = peer.read(length.unwrap_or(0));
            if first {
                peer.write(answer("worst"));
            }
        }
    });
    let gateway = gateway(&server);
    for (method, body, again) in [
        ("GET", "", true),
        ("DELETE", "", true),
        ("POST", "5", false),
        ("PATCH", "5", false),
        ("PUT", "5", false),
    ] {
        let mut connection = gateway.connect();
        for number in 0..6 {
            let fields =
                if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
            let path = format!("/{method}/{number}");
            connection.write(
                format!("{method} {path} HTTP/1.1\r\nhost: app.test\r\n{fields}\r\n{body}").as_bytes(),
            );
            let reply = connection.reply(false);
            let times = seen.lock().expect("no panic").iter().filter(|&seen| *seen == path).count();
            if again {
                assert_eq!(reply.status, 200, "{path}: {reply:?}");
            } else {
                assert!(times == 1 && matches!(reply.status, 200 | 502), "{path} {times} times: {reply:?}");
            }
        }
    }
}
