//! HTTP/2 from the client's side: by the `h2` crate where all is sound, frame by frame where it isn't.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request};

use crate::harness::PATIENCE;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The setting that the client keeps no table of header fields, so that `Frame::status` can be read off any of them.
pub(crate) const NO_TABLE: &[u8] = &[0, 1, 0, 0, 0, 0];

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const CALM: u32 = 11;

/// Names and values.
pub(crate) type Fields<'a> = &'a [(&'a str, &'a str)];

/// A sound client on a connection of its own.
pub(crate) struct Client {
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) sender: SendRequest<Bytes>,
}

/// What came back on one stream.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Vec<u8>,
    pub(crate) headers: HeaderMap,
    pub(crate) status: u16,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    pub(crate) fn to(address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let sender = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(address).await.expect("it takes connections");
            stream.set_nodelay(true).expect("nodelay can be set");
            let (sender, connection) = h2::client::handshake(stream).await.expect("it speaks HTTP/2");
            tokio::spawn(async {
                let _ = connection.await;
            });
            sender
        });
        Self { runtime, sender }
    }

    /// A GET with these fields.
    pub(crate) fn get(&mut self, target: &str, fields: &[(&str, &str)]) -> Answer {
        self.call("GET", target, fields, None)
    }

    /// A request for `http://app.test`, its body in one piece.
    pub(crate) fn call(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Answer {
        let request = Request::builder().method(method).uri(format!("http://app.test{target}"));
        let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.send(request.body(()).expect("a request"), body, None)
            .unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }

    pub(crate) fn send(
        &mut self,
        request: Request<()>,
        body: Option<&[u8]>,
        trailers: Option<HeaderMap>,
    ) -> Result<Answer, h2::Error> {
        let sender = self.sender.clone();
        let exchange = async {
            let mut sender = sender.ready().await?;
            let (answer, mut stream) = sender.send_request(request, body.is_none())?;
            if let Some(mut rest) = body.map(Bytes::copy_from_slice) {
                let end = trailers.is_none();
                if rest.is_empty() {
                    stream.send_data(Bytes::new(), end)?;
                }
                while !rest.is_empty() {
                    stream.reserve_capacity(rest.len());
                    match std::future::poll_fn(|cx| stream.poll_capacity(cx)).await {
                        Some(Ok(room)) => {
                            let piece = rest.split_to(room.min(rest.len()));
                            stream.send_data(piece, end && rest.is_empty())?;
                        }
                        // The server has answered, and wants no more of it.
                        _ => break,
                    }
                }
                if let Some(trailers) = trailers {
                    stream.send_trailers(trailers)?;
                }
            }
            let (head, mut body) = answer.await?.into_parts();
            let mut bytes = Vec::new();
            while let Some(data) = body.data().await {
                let data = data?;
                body.flow_control().release_capacity(data.len())?;
                bytes.extend_from_slice(&data);
            }
            let trailers = body.trailers().await?;
            Ok(Answer { body: bytes, headers: head.headers, status: head.status.as_u16(), trailers })
        };
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, exchange).await })
            .expect("it is answered")
    }
}

/// A client that sends what it likes.
pub(crate) struct Raw {
    /// Whether settings and pings are acknowledged.
    pub(crate) acknowledges: bool,
    stream: TcpStream,
}

#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) flags: u8,
    pub(crate) kind: u8,
    pub(crate) payload: Vec<u8>,
    pub(crate) stream: u32,
}

impl Frame {
    /// Of a RST_STREAM or a GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("four bytes"))
    }

    /// Of a HEADERS frame: the status stands first.
    pub(crate) fn status(&self) -> u16 {
        // A change of the table's size may stand in front.
        let size = self.payload.iter().take_while(|byte| *byte >> 5 == 1).count();
        match self.payload[size..] {
            // The static table (RFC 7541, appendix A).
            [first, ..] if first & 0x80 != 0 => match first & 0x7f {
                8 => 200,
                9 => 204,
                10 => 206,
                11 => 304,
                12 => 400,
                13 => 404,
                14 => 500,
                other => panic!("not a status of the static table: {other}"),
            },
            // A literal, perhaps in Huffman's code: then 0, 1 and 2 have five bits, the other digits six.
            [_, length, ref text @ ..] if length & 0x80 != 0 => {
                let bits: Vec<u8> = text[..usize::from(length & 0x7f)]
                    .iter()
                    .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
                    .collect();
                let number = |bits: &[u8]| bits.iter().fold(0_u16, |all, bit| all * 2 + u16::from(*bit));
                let mut at = 0;
                (0..3).fold(0, |status, _| {
                    let short = number(&bits[at..at + 5]);
                    let digit = if short < 3 { short } else { number(&bits[at..at + 6]) - 25 + 3 };
                    at += if short < 3 { 5 } else { 6 };
                    status * 10 + digit
                })
            }
            [_, _, ref text @ ..] => {
                String::from_utf8_lossy(&text[..3]).parse().expect("a status of three digits")
            }
            _ => panic!("no status in {self:?}"),
        }
    }
}

/// What became of a stream.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) data: Vec<u8>,
    /// Both sides said that it was all.
    pub(crate) ended: bool,
    pub(crate) goaway: Option<u32>,
    pub(crate) reset: Option<u32>,
    pub(crate) status: Option<u16>,
}

impl Raw {
    /// With the preface and settings sent.
    pub(crate) fn to(address: SocketAddr) -> Self {
        let mut raw = Self::silent(address);
        raw.write(PREFACE);
        raw.write(&frame(SETTINGS, 0, 0, NO_TABLE));
        raw
    }

    /// With nothing sent.
    pub(crate) fn silent(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it takes connections");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.set_nodelay(true).expect("nodelay can be set");
        Self { acknowledges: true, stream }
    }

    /// Whether it was taken.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// A request without a body.
    pub(crate) fn get(&mut self, stream: u32, target: &str) {
        self.request(stream, "GET", target, &[], END_STREAM);
    }

    /// The head of a request for `http://app.test`.
    pub(crate) fn request(
        &mut self,
        stream: u32,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        flags: u8,
    ) {
        let usual = [(":method", method), (":scheme", "http"), (":path", target), (":authority", "app.test")];
        let block = block(&[&usual[..], fields].concat());
        self.write(&frame(HEADERS, flags | END_HEADERS, stream, &block));
    }

    /// The next frame; `None` where the connection has ended. Settings and pings are acknowledged.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).map_err(|error| assert_not_late(&error)).ok()?;
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload).map_err(|error| assert_not_late(&error)).ok()?;
            let stream = u32::from_be_bytes(head[5..9].try_into().expect("four bytes"));
            let got = Frame { flags: head[4], kind: head[3], payload, stream };
            match (got.kind, got.flags & ACK) {
                (SETTINGS | PING, 0) if !self.acknowledges => {}
                (SETTINGS, 0) => _ = self.write(&frame(SETTINGS, ACK, 0, b"")),
                (PING, 0) => _ = self.write(&frame(PING, ACK, 0, &got.payload)),
                _ => {}
            }
            match got.kind {
                SETTINGS | PING | WINDOW_UPDATE => {}
                _ => return Some(got),
            }
        }
    }

    /// Reads until a stream, or the connection, has ended.
    pub(crate) fn outcome(&mut self, stream: u32) -> Outcome {
        let mut outcome = Outcome::default();
        while !outcome.ended && outcome.reset.is_none() {
            let Some(got) = self.next() else { break };
            match got.kind {
                GOAWAY => outcome.goaway = Some(got.code()),
                _ if got.stream != stream => continue,
                HEADERS if outcome.status.is_none() => outcome.status = Some(got.status()),
                DATA => outcome.data.extend_from_slice(&got.payload),
                RST_STREAM => outcome.reset = Some(got.code()),
                _ => {}
            }
            outcome.ended =
                got.stream == stream && matches!(got.kind, DATA | HEADERS) && got.flags & END_STREAM != 0;
        }
        outcome
    }

    /// Reads until the connection ends; the code of the last GOAWAY, if there was one.
    pub(crate) fn goaway(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(got) = self.next() {
            if got.kind == GOAWAY {
                code = Some(got.code());
            }
        }
        code
    }

    /// The connection's other half, for a thread that reads while this one writes.
    pub(crate) fn try_clone(&self) -> Self {
        Self { acknowledges: true, stream: self.stream.try_clone().expect("a second handle") }
    }

    pub(crate) fn shutdown(&self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }
}

fn assert_not_late(error: &std::io::Error) {
    let late = matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
    assert!(!late, "nothing comes, and the connection does not end either");
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("it fits").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Header fields, each as a literal that is not indexed.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            integer(&mut block, 0, 7, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// RFC 7541 §5.1.
pub(crate) fn integer(block: &mut Vec<u8>, first: u8, bits: u32, number: usize) {
    let most = (1_usize << bits) - 1;
    if number < most {
        return block.push(first | u8::try_from(number).expect("it fits"));
    }
    block.push(first | u8::try_from(most).expect("it fits"));
    let mut rest = number - most;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).expect("it fits") | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).expect("it fits"));
}
