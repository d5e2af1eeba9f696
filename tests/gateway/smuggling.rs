//! Request smuggling: thousands of generated connections, judged by what the server behind the gateway saw.
//!
//! The server reads strictly. But another server may read what it is sent in another way, so the bytes that came to it
//! are read again as the laxest servers would: every reading of every message must be the same one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::edge::{Peer, Server, shown};
use crate::harness::Gateway;
use crate::requests::{Case, End, Outcome, Request, judge, read_strictly};

/// Cases in an ordinary run; a heavy one has many more.
const CASES: u64 = 3_000;
const HEAVY_CASES: u64 = 60_000;

#[derive(Default)]
struct Record {
    /// A line for each request.
    seen: Vec<String>,
    /// The bytes of each that another reading would take apart otherwise.
    ambiguous: Vec<String>,
}

/// A server that answers each request with what it made out, and records it.
fn server() -> (Server, Arc<Mutex<Record>>) {
    let record = Arc::new(Mutex::new(Record::default()));
    let kept = Arc::clone(&record);
    let server = Server::start(move |peer| {
        let mut bytes = Vec::new();
        while serve(peer, &mut bytes, &kept) {}
    });
    (server, record)
}

/// One request; what came behind it stays in `bytes`.
fn serve(peer: &mut Peer, bytes: &mut Vec<u8>, record: &Mutex<Record>) -> bool {
    let mut answered = false;
    loop {
        let reading = read_strictly(bytes);
        let head = match &reading.end {
            End::Partial(Some(head)) if head.is_early() => reading.requests.first().or(Some(head)),
            _ => reading.requests.first(),
        };
        if let Some(request) = head.filter(|_| !answered) {
            // Recorded before the answer, which the client may have seen by the time of its look.
            record.lock().expect("no panic").seen.push(request.fingerprint());
            answer(peer, request);
            answered = true;
        }
        if let Some(request) = reading.requests.first() {
            let whole: Vec<u8> = bytes.drain(..reading.first_end).collect();
            if !lax_readers_agree(&whole, request) {
                record.lock().expect("no panic").ambiguous.push(shown(&whole));
            }
            return !(reading.closes && reading.requests.len() == 1);
        }
        if matches!(reading.end, End::Unsound(_)) {
            let bytes = String::from_utf8_lossy(bytes);
            record.lock().expect("no panic").seen.push(format!("unsound: {bytes:?}"));
            return false;
        }
        let more = peer.read_some();
        if more.is_empty() {
            return false;
        }
        bytes.extend(more);
    }
}

fn answer(peer: &mut Peer, request: &Request) {
    let body = if request.method == "HEAD" { "" } else { "hello" };
    let seen = request.fingerprint();
    peer.write(format!("HTTP/1.1 200 OK\r\nx-seen: {seen}\r\ncontent-length: 5\r\n\r\n{body}"));
}

/// Whether readers that are as lax as any server is known to be find one request in these bytes, this one, and nothing
/// behind it.
fn lax_readers_agree(bytes: &[u8], request: &Request) -> bool {
    let text: String =
        bytes.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { '?' }).collect();
    let (head, rest) = text.split_once("\r\n\r\n").expect("a head was read");
    // Lines end with LF alone, or with CR alone; blanks begin a line or stand before a colon; `_` is `-`.
    let plain = |text: &str| {
        text.trim_matches([' ', '\t', '\u{b}', '\u{c}', '\0']).replace(['_', '.'], "-").to_ascii_lowercase()
    };
    let lines = head.split(['\r', '\n']).filter(|line| !line.is_empty()).collect::<Vec<_>>();
    if lines.len() != head.split("\r\n").count() || lines.iter().any(|line| line.starts_with([' ', '\t'])) {
        return false;
    }
    let fields: Vec<_> = lines[1..].iter().filter_map(|line| line.split_once(':')).collect();
    let values = |name: &str| -> Vec<&str> {
        fields.iter().filter(|(known, _)| plain(known) == name).map(|(_, value)| value.trim()).collect()
    };
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    let hosts = values("host").len();
    let framed = match (&lengths[..], &codings[..]) {
        ([], []) => rest.is_empty(),
        ([length], []) => {
            length.parse() == Ok(rest.len()) && (*length == "0" || !length.starts_with(['0', '+']))
        }
        ([], ["chunked"]) => lax_chunks(rest) == Some(request.body.len()),
        _ => false,
    };
    framed && hosts == 1 && lines[0].split(char::is_whitespace).count() == 3
}

/// The length of a body in chunks that are as plain as can be, with nothing behind it.
fn lax_chunks(mut rest: &str) -> Option<usize> {
    let mut all = 0;
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let length =
            usize::from_str_radix(size, 16).ok().filter(|_| !size.starts_with(['0', '+']) || size == "0")?;
        if length == 0 {
            // Trailers may follow, one empty line must.
            let trailers = after.strip_suffix("\r\n")?;
            let lines = trailers.split("\r\n").filter(|line| !line.is_empty());
            let plain = lines.clone().all(|line| line.contains(':') && !line.contains(['\r', '\n']));
            return (plain && lines.count() == trailers.matches("\r\n").count()).then_some(all);
        }
        rest = after.get(length..)?.strip_prefix("\r\n")?;
        all += length;
    }
}

fn gateway(server: &Server) -> Gateway {
    Gateway::start(&format!(
        "upstreams: {{ app: \"http://{}\" }}
routes:
  - {{ path: /refused/**, upstream: app }}
  - {{ path: /**, access: public, upstream: app }}
",
        server.address
    ))
}

/// Runs these cases; panics with the first few that break the rule.
fn run(cases: impl Iterator<Item = Case>) -> Outcome {
    let (server, record) = server();
    let gateway = gateway(&server);
    let mut all = Outcome::default();
    let mut complaints = Vec::new();
    for case in cases {
        let seen = || std::mem::take(&mut record.lock().expect("no panic").seen);
        match judge(&gateway, &case, seen) {
            Ok(outcome) => {
                all.sent += outcome.sent;
                all.served += outcome.served;
                all.refused |= outcome.refused;
            }
            Err(complaint) => {
                let sent = String::from_utf8_lossy(&case.bytes);
                complaints.push(format!("case {}: {complaint}\nsent: {sent:?}", case.seed));
                // What is still on its way is not the next one's.
                std::thread::sleep(Duration::from_millis(100));
                record.lock().expect("no panic").seen.clear();
            }
        }
        for bytes in std::mem::take(&mut record.lock().expect("no panic").ambiguous) {
            complaints.push(format!("case {}: read otherwise by others: {bytes}", case.seed));
        }
        if complaints.len() > 5 {
            break;
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n\n"));
    all
}

fn run_generated(cases: u64, first: u64) {
    const THREADS: u64 = 4;
    let served: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    run((0..cases / THREADS).map(|n| Case::new(first + n * THREADS + thread))).served
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("every case holds")).sum()
    });
    // A gateway that refuses everything smuggles nothing either.
    assert!(served as u64 > cases, "only {served} requests of {cases} connections were served");
}

#[test]
fn a_server_sees_what_the_client_sent_or_nothing() {
    run_generated(CASES, 0);
}

#[test]
#[ignore = "heavy: ./tests/run --heavy"]
fn heavy_a_server_sees_what_the_client_sent_or_nothing() {
    run_generated(HEAVY_CASES, CASES);
}
