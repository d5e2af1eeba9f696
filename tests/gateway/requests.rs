//! Requests as they should be and as they shouldn't: a generator, a strict reader, and the rule that binds the gateway.
//!
//! The generator writes a few requests in a row, unsound in one or two places. The strict reader says what RFC 9112
//! says that a client has sent; it shares nothing with the gateway's. `judge` sends them and compares with what the
//! server behind saw by its own reading.

use std::fmt::Write as _;
use std::time::Duration;

use crate::harness::{Gateway, Reply};

/// A request that a reader made out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    /// The value of `x-probe`.
    pub(crate) probe: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// What a server says that it saw, in its answer's `x-seen` and in its own records. FNV-1a is in every language.
    pub(crate) fn fingerprint(&self) -> String {
        let mut hash = 0x811c_9dc5_u32;
        for byte in &self.body {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
        // Answered before its body was read.
        let body =
            if self.is_early() { "early".to_owned() } else { format!("{}-{hash:08x}", self.body.len()) };
        let all = format!("{} {} {} {body}", self.method, self.target, self.probe);
        all.chars().map(|char| if char.is_ascii() { char } else { '?' }).collect()
    }

    /// A server is told by the target to answer before it reads the body.
    pub(crate) fn is_early(&self) -> bool {
        self.target.contains("/early/")
    }
}

/// What follows the last request that was made out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// Nothing, or nothing that is to be read, for the client said `close`.
    Clean,
    /// The beginning of one; with its head where that is all there.
    Partial(Option<Request>),
    /// What is none; with its head where that is sound, and the fault lies in the body.
    Unsound(Option<Request>),
}

/// Everything that a client sent on a connection.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) requests: Vec<Request>,
    /// Where the first of them ends.
    pub(crate) first_end: usize,
    pub(crate) end: End,
    /// The client said that the last one is the last.
    pub(crate) closes: bool,
}

/// Why a reader gives up.
enum Stop {
    Partial,
    Unsound,
}

/// RFC 9112 where it says MUST; and where it says MAY to what has two readings: no.
pub(crate) fn read_strictly(bytes: &[u8]) -> Reading {
    let mut reading = Reading { requests: Vec::new(), first_end: 0, end: End::Clean, closes: false };
    let mut at = 0;
    while !reading.closes {
        while bytes[at..].starts_with(b"\r\n") {
            at += 2;
        }
        if at == bytes.len() {
            break;
        }
        let mut head = None;
        match read_one(bytes, &mut at, &mut head) {
            Ok(closes) => reading.closes = closes,
            Err(Stop::Partial) => reading.end = End::Partial(head.take()),
            Err(Stop::Unsound) => reading.end = End::Unsound(head.take()),
        }
        match head {
            Some(request) => {
                if reading.requests.is_empty() {
                    reading.first_end = at;
                }
                reading.requests.push(request);
            }
            None => break,
        }
    }
    reading
}

/// One line without its CR LF.
fn line<'b>(bytes: &'b [u8], at: &mut usize) -> Result<&'b [u8], Stop> {
    let rest = &bytes[*at..];
    let end = rest.iter().position(|byte| *byte == b'\n');
    let line = &rest[..end.unwrap_or(rest.len())];
    // What can be seen to be wrong is wrong whatever follows.
    let text = line.strip_suffix(b"\r").unwrap_or(line);
    if text.iter().any(|byte| matches!(byte, 0..=8 | 10..=31 | 127))
        || (end.is_some() && text.len() == line.len())
    {
        return Err(Stop::Unsound);
    }
    *at += end.ok_or(Stop::Partial)? + 1;
    Ok(text)
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn read_one(bytes: &[u8], at: &mut usize, head: &mut Option<Request>) -> Result<bool, Stop> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let parts: Vec<&[u8]> = line(bytes, at)?.split(|byte| *byte == b' ').collect();
    let [method, target, version @ (b"HTTP/1.1" | b"HTTP/1.0")] = parts[..] else {
        return Err(Stop::Unsound);
    };
    if !is_token(method) || target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
        return Err(Stop::Unsound);
    }
    let is_new = version == b"HTTP/1.1";
    let (mut hosts, mut lengths, mut codings, mut probe) = (0, Vec::new(), Vec::new(), String::new());
    let (mut close, mut keep, mut drops) = (false, false, false);
    loop {
        let field = line(bytes, at)?;
        if field.is_empty() {
            break;
        }
        let colon = field.iter().position(|byte| *byte == b':').ok_or(Stop::Unsound)?;
        let (name, value) = (&field[..colon], field[colon + 1..].trim_ascii());
        if !is_token(name) {
            return Err(Stop::Unsound);
        }
        match text(name).to_ascii_lowercase().as_str() {
            "host" => hosts += 1,
            "content-length" => lengths.push(value),
            "transfer-encoding" => codings.push(value),
            "x-probe" => probe = text(value),
            "connection" => {
                for option in text(value).split(',') {
                    close |= option.trim().eq_ignore_ascii_case("close");
                    keep |= option.trim().eq_ignore_ascii_case("keep-alive");
                    // A field for the next hop alone (RFC 9110 §7.6.1).
                    drops |= option.trim().eq_ignore_ascii_case("x-probe");
                }
            }
            _ => {}
        }
    }
    if drops {
        probe.clear();
    }
    let length = match lengths[..] {
        [] => None,
        [digits] if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            Some(text(digits).parse::<u64>().map_err(|_| Stop::Unsound)?)
        }
        _ => return Err(Stop::Unsound),
    };
    let chunked = match codings[..] {
        [] => false,
        [coding] if coding.eq_ignore_ascii_case(b"chunked") && is_new && length.is_none() => true,
        _ => return Err(Stop::Unsound),
    };
    if hosts > 1 || (hosts == 0 && is_new) {
        return Err(Stop::Unsound);
    }
    let mut request = Request { method: text(method), target: text(target), probe, body: Vec::new() };
    *head = Some(request.clone());
    request.body = match (chunked, length) {
        (true, _) => read_chunks(bytes, at)?,
        (false, Some(length)) => {
            let rest = &bytes[*at..];
            let length =
                usize::try_from(length).ok().filter(|&length| length <= rest.len()).ok_or(Stop::Partial)?;
            *at += length;
            rest[..length].to_vec()
        }
        (false, None) => Vec::new(),
    };
    *head = Some(request);
    Ok(close || (!is_new && !keep))
}

fn read_chunks(bytes: &[u8], at: &mut usize) -> Result<Vec<u8>, Stop> {
    let mut body = Vec::new();
    loop {
        let told = line(bytes, at)?;
        let end = told.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(told.len());
        let size =
            u64::from_str_radix(&String::from_utf8_lossy(&told[..end]), 16).map_err(|_| Stop::Unsound)?;
        if !told[end..].trim_ascii_start().is_empty() && told[end..].trim_ascii_start()[0] != b';' {
            return Err(Stop::Unsound);
        }
        if size == 0 {
            break;
        }
        let rest = &bytes[*at..];
        let size = usize::try_from(size).ok().filter(|&size| size <= rest.len()).ok_or(Stop::Partial)?;
        body.extend_from_slice(&rest[..size]);
        match &rest[size..] {
            [b'\r', b'\n', ..] => *at += size + 2,
            [] | [b'\r'] => return Err(Stop::Partial),
            _ => return Err(Stop::Unsound),
        }
    }
    loop {
        match line(bytes, at)? {
            [] => return Ok(body),
            field
                if is_token(field.split(|byte| *byte == b':').next().unwrap_or_default())
                    && field.contains(&b':') => {}
            _ => return Err(Stop::Unsound),
        }
    }
}

/// A source of choices, the same for the same seed.
pub(crate) struct Choices(u64);

impl Choices {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize) % end
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn of<'c, T: ?Sized>(&mut self, choices: &[&'c T]) -> &'c T {
        choices[self.below(choices.len())]
    }
}

/// Where a request is to lead: forwarded, refused by the gateway, or answered before its body is read.
const PLACES: &[&str] = &["open", "open", "open", "open", "refused", "early"];
const METHODS: &[&str] = &["GET", "POST", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "REPORT"];
const LINE_ENDS: &[&str] = &["\n", "\r", "\r\r\n", "\n\r", "\r\n\r\n", "\r\n ", "\u{b}\r\n", "\0\r\n", ""];
const VERSIONS: &[&str] = &[
    "HTTP/1.0",
    "HTTP/1.2",
    "HTTP/0.9",
    "HTTP/2.0",
    "http/1.1",
    "HTTP/1.1 ",
    "HTTP/01.1",
    "HTTP/1.10",
    "HTTP/1",
    "",
];
const CODINGS: &[&str] = &[
    "Transfer-Encoding: chunked",
    "transfer-encoding:chunked",
    "TRANSFER-ENCODING: CHUNKED",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding: chunked ",
    "Transfer-Encoding: \u{b}chunked",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked;q=1",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunke\u{212a}",
    "Transfer-Encoding:\r\n chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "Transfer_Encoding: chunked",
    "Transfer.Encoding: chunked",
    "Transfer-Encoding\0: chunked",
    " Transfer-Encoding: chunked",
    "X: y\nTransfer-Encoding: chunked",
    "X: y\rTransfer-Encoding: chunked",
    "X: y\r\n\tTransfer-Encoding: chunked",
    "Connection: transfer-encoding\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding",
    "Transfer-Encoding:",
    "TE: chunked",
];

/// Bytes that a client sends on one connection.
pub(crate) struct Case {
    pub(crate) bytes: Vec<u8>,
    pub(crate) seed: u64,
}

impl Case {
    pub(crate) fn new(seed: u64) -> Self {
        let mut choices = Choices::new(seed);
        let count = 1 + choices.below(3);
        let broken = choices.below(count + 1);
        let mut bytes = Vec::new();
        for number in 0..count {
            bytes.extend(message(&mut choices, &format!("c{seed}r{number}"), number == broken));
        }
        if choices.one_in(4) {
            alter(&mut choices, &mut bytes);
        }
        // What is swallowed, split off or served twice shows on this one.
        let canary = format!(
            "GET /open/c{seed}canary HTTP/1.1\r\nhost: app.test\r\nx-probe: canary\r\nconnection: close\r\n\r\n"
        );
        bytes.extend_from_slice(canary.as_bytes());
        Self { bytes, seed }
    }

    /// In one piece, or in pieces that end anywhere.
    fn pieces(&self) -> Vec<&[u8]> {
        let mut choices = Choices::new(self.seed ^ 0x5555);
        let mut pieces = Vec::new();
        let mut rest = &self.bytes[..];
        if choices.one_in(2) {
            for _ in 0..choices.below(6) {
                let (piece, next) = rest.split_at(choices.below(rest.len().min(200) + 1));
                pieces.push(piece);
                rest = next;
            }
        }
        pieces.push(rest);
        pieces
    }
}

/// One request, sound unless it is to be `broken`.
fn message(choices: &mut Choices, name: &str, broken: bool) -> Vec<u8> {
    let smuggled =
        format!("GET /open/{name}smuggled HTTP/1.1\r\nhost: app.test\r\nx-probe: smuggled\r\n\r\n");
    let text = match choices.below(5) {
        0 => String::new(),
        1 => "0\r\n\r\n".to_owned(),
        2 => "x".repeat(choices.below(3000)),
        _ => smuggled.clone(),
    };
    let (method, place) = (choices.of(METHODS), choices.of(PLACES));
    let faults: Vec<usize> =
        if broken { (0..1 + choices.below(2)).map(|_| choices.below(12)).collect() } else { Vec::new() };
    let has = |fault: usize| faults.contains(&fault);
    let mut chunked = choices.one_in(2);
    let mut fields = vec!["host: app.test".to_owned(), format!("x-probe: {name}")];
    let mut framing = match (chunked, text.is_empty()) {
        (true, _) => vec!["transfer-encoding: chunked".to_owned()],
        (false, true) if choices.one_in(2) => Vec::new(),
        (false, _) => vec![format!("content-length: {}", text.len())],
    };
    if has(0) {
        framing = vec![choices.of(CODINGS).to_owned()];
        chunked = choices.one_in(2);
    }
    if has(1) {
        let length = text.len();
        let told = [
            format!("content-length: {}", length + 1 + choices.below(80)),
            format!("content-length: {}", length.saturating_sub(1 + choices.below(80))),
            format!("content-length: +{length}"),
            format!("content-length: -{length}"),
            format!("content-length: 0{length}"),
            format!("content-length: {length:#x}"),
            format!("content-length: {length}, {length}"),
            format!("content-length: {length}, 0"),
            format!("content-length: {length}\r\ncontent-length: {length}"),
            format!("content-length: 0\r\ncontent-length: {length}"),
            format!("content-length: {length}\r\nContent-Length: 0"),
            format!("content-length : {length}"),
            format!("content-length:\u{b}{length}"),
            format!("content_length: {length}"),
            format!("content-length: {length}\u{a0}"),
            format!("content-length: 1844674407370955161{}", 6 + length % 10),
            format!("content-length:\r\n {length}"),
            format!("\u{feff}content-length: {length}"),
            "content-length:".to_owned(),
            "content-length: ".to_owned(),
        ];
        framing = vec![told[choices.below(told.len())].clone()];
        chunked &= choices.one_in(3);
    }
    if has(2) {
        // Both, in either order.
        framing.push(format!("content-length: {}", choices.of(&[&text.len(), &0, &5])));
        framing.push(choices.of(CODINGS).to_owned());
        if choices.one_in(2) {
            framing.reverse();
        }
    }
    fields.append(&mut framing);
    if has(3) {
        let odd = [
            "x : y",
            "x",
            ": y",
            " x: y",
            "\tx: y",
            "x\u{0}: y",
            "x: \u{0}",
            "x: y\r\n z",
            "x(: y",
            "x: y\rz: a",
            "host: other",
            "Host : app.test",
            "expect: 100-continue",
            "expect: 200-ok",
            "x-other: again",
            "connection: x-probe",
            "connection: close, host",
            "connection: content-length, transfer-encoding",
            "upgrade: h2c\r\nconnection: upgrade",
            "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13",
            "trailer: content-length",
            "te: trailers",
        ];
        let at = choices.below(fields.len() + 1);
        fields.insert(at, choices.of(&odd).to_owned());
    }
    if has(4) {
        fields.remove(0);
    }
    let version = if has(5) { choices.of(VERSIONS) } else { "HTTP/1.1" };
    let space = |choices: &mut Choices| {
        if has(6) { choices.of(&["  ", "\t", "\u{b}", "", " \r\n", "\u{a0}"]) } else { " " }
    };
    let first = [method, space(choices), &format!("/{place}/{name}"), space(choices), version].concat();
    let mut bytes = Vec::new();
    if has(7) {
        bytes.extend_from_slice(
            choices.of(&["\r\n", "\n", "\r\n\r\n", "\r", " ", "\0", "\u{feff}"]).as_bytes(),
        );
    }
    let broken_end = has(8).then(|| choices.below(fields.len() + 2));
    for (number, line) in [first].into_iter().chain(fields).chain([String::new()]).enumerate() {
        bytes.extend_from_slice(line.as_bytes());
        let end = if broken_end == Some(number) { choices.of(LINE_ENDS) } else { "\r\n" };
        bytes.extend_from_slice(end.as_bytes());
    }
    if chunked {
        bytes.extend(chunks(choices, text.as_bytes(), has(9) || has(10)));
    } else {
        bytes.extend_from_slice(text.as_bytes());
    }
    if has(11) {
        alter(choices, &mut bytes);
    }
    bytes
}

/// A body in chunks, with a fault in one of them.
fn chunks(choices: &mut Choices, mut body: &[u8], broken: bool) -> Vec<u8> {
    let mut sizes = Vec::new();
    while !body.is_empty() {
        let (chunk, rest) = body.split_at(1 + choices.below(body.len()));
        sizes.push(chunk);
        body = rest;
    }
    sizes.push(&[]);
    let at = if broken { choices.below(sizes.len()) } else { usize::MAX };
    let mut bytes = Vec::new();
    for (number, chunk) in sizes.iter().enumerate() {
        let length = chunk.len();
        let (mut size, mut end, mut after) = (format!("{length:x}"), "\r\n", "\r\n");
        if number == at {
            match choices.below(5) {
                0 => {
                    size = [
                        format!("{length:X}"),
                        format!("000{length:x}"),
                        format!("{length:020x}"),
                        format!("{:x}", length + 1 + choices.below(40)),
                        format!("{:x}", length.saturating_sub(1 + choices.below(40))),
                        format!("0x{length:x}"),
                        format!("+{length:x}"),
                        format!("-{length:x}"),
                        format!("1{length:016x}"),
                        format!("ffffffffffffff{length:02x}"),
                        format!("{length:x}g"),
                        format!(" {length:x}"),
                        format!("{length:x}_0"),
                        String::new(),
                    ][choices.below(14)]
                    .clone();
                }
                1 => {
                    let extension = choices.of(&[
                        ";",
                        ";a",
                        ";a=b",
                        "; a = \"b\"",
                        ";a=\"\r\"",
                        ";a=\"\n\"",
                        ";a\r",
                        " ",
                        "\t",
                        " ;a",
                        "\0",
                        ";\u{1}",
                        ",a",
                        ";a=\"GET / HTTP/1.1\r\n\r\n\"",
                    ]);
                    size += extension;
                }
                2 => end = choices.of(LINE_ENDS),
                3 => after = choices.of(LINE_ENDS),
                _ if length == 0 => {
                    after = choices.of(&[
                        "x: y\r\n\r\n",
                        "content-length: 5\r\n\r\n",
                        "transfer-encoding: chunked\r\n\r\n",
                        "host: other\r\n\r\n",
                        "x\r\n\r\n",
                        "x : y\r\n\r\n",
                        " x: y\r\n\r\n",
                        "x: y\n\r\n",
                        "x: y\r\n\n",
                        "x: \0\r\n\r\n",
                        "",
                        "\n",
                    ]);
                }
                _ => after = choices.of(&["x\r\n", "", "\r\n\r\n"]),
            }
        }
        let _ = write!(StringOf(&mut bytes), "{size}{end}");
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(after.as_bytes());
    }
    bytes
}

/// Text that is written behind bytes.
struct StringOf<'b>(&'b mut Vec<u8>);

impl std::fmt::Write for StringOf<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// One byte more, less, or another.
fn alter(choices: &mut Choices, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let at = choices.below(bytes.len());
    let odd = *choices.of(&[b"\r\n \t:;,\0\x0b\x7f\x80\xff0159aGx/"]).get(choices.below(20)).unwrap_or(&b'0');
    match choices.below(3) {
        0 => bytes.insert(at, odd),
        1 => drop(bytes.remove(at)),
        _ => bytes[at] = odd,
    }
}

/// How a case went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// Requests that a client sent, by the strict reader.
    pub(crate) sent: usize,
    /// Those that a server answered.
    pub(crate) served: usize,
    /// Whether something unsound was refused.
    pub(crate) refused: bool,
}

/// Sends a case and holds the gateway to the rule: what the server saw is what the client sent, each once, in order and
/// unchanged; what is not passed on is refused; what is unsound ends the connection. `seen` gives what the server saw
/// since it was asked last.
pub(crate) fn judge(
    gateway: &Gateway,
    case: &Case,
    seen: impl FnOnce() -> Vec<String>,
) -> Result<Outcome, String> {
    let reading = read_strictly(&case.bytes);
    let mut connection = gateway.connect();
    for piece in case.pieces() {
        connection.write(piece);
    }
    let is_ours = |reply: &Reply| reply.header("x-seen").is_none();
    let mut expected = Vec::new();
    let mut outcome = Outcome { sent: reading.requests.len(), ..Outcome::default() };
    let mut closed = false;
    let mut early = None;
    let mut before: Option<&Request> = None;
    for request in &reading.requests {
        let reply = connection.reply(request.method == "HEAD");
        let before = before.replace(request);
        if reply.status == 0 {
            // Refused before, and closed: allowed after a refusal alone, or where a body was refused that had its answer.
            closed = true;
            if !outcome.refused && !before.is_some_and(Request::is_early) {
                return Err(format!("no answer to {request:?}"));
            }
            break;
        }
        if is_ours(&reply) {
            if reply.status < 400 || reply.status == 502 {
                return Err(format!("{request:?} is answered {reply:?}"));
            }
            outcome.refused = true;
            continue;
        }
        outcome.served += 1;
        let fingerprint = request.fingerprint();
        if reply.header("x-seen") != Some(&fingerprint) || reply.cut {
            return Err(format!("{fingerprint} is answered {reply:?}"));
        }
        expected.push(fingerprint);
    }
    // What is no whole request gets no answer of a server, but where that answers a head alone.
    let (head, unsound) = match &reading.end {
        End::Clean => (None, false),
        End::Partial(head) => (head.as_ref(), false),
        End::Unsound(head) => (head.as_ref(), true),
    };
    if !closed {
        let patience = if unsound || reading.closes { None } else { Some(Duration::from_millis(40)) };
        let rest = connection.rest(patience);
        let (rest, ended) = (String::from_utf8_lossy(&rest.0).into_owned(), rest.1);
        let rest = rest.trim_start_matches("HTTP/1.1 100 Continue\r\n\r\n");
        early = head.filter(|head| head.is_early()).map(Request::fingerprint);
        let served: Vec<_> =
            rest.match_indices("\r\nx-seen: ").map(|(at, _)| rest[at + 10..].lines().next()).collect();
        if early.is_some() && served.first() == Some(&early.as_deref()) {
            expected.extend(early.take());
        } else if !served.is_empty() {
            return Err(format!("after {:?} a server answered {rest:?}", reading.end));
        }
        if unsound
            && served.is_empty()
            && !rest.starts_with("HTTP/1.1 4")
            && !rest.starts_with("HTTP/1.1 5")
            && !outcome.refused
        {
            return Err(format!("after {:?} no refusal: {rest:?}", reading.end));
        }
        if (unsound || reading.closes) && !ended {
            return Err(format!("after {:?} the connection stays open: {rest:?}", reading.end));
        }
        outcome.refused |= unsound;
    }
    if early.is_some() {
        // It may have seen the head of what was refused for its body, or be about to.
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut seen = seen();
    if early.is_some() && seen.last() == early.as_ref() {
        seen.pop();
    }
    if seen != expected {
        return Err(format!("the server saw {seen:#?} and not {expected:#?}"));
    }
    Ok(outcome)
}
