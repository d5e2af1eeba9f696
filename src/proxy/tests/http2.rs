//! HTTP/2 to servers: form, streams that end alone, connections that are shared and left.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};

use super::harness::{Backend, GET, Gateway, Options, run};
use crate::proxy::streams::LINGER;

/// A server that speaks HTTP/2 alone.
struct Server {
    address: SocketAddr,
    connections: Rc<Cell<usize>>,
}

type Answer = SendResponse<Bytes>;

impl Server {
    /// `serve` gets each request.
    async fn start(streams: u32, serve: impl AsyncFn(Request<RecvStream>, Answer) + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let connections = Rc::new(Cell::new(0));
        let (counter, serve) = (connections.clone(), Rc::new(serve));
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.set(counter.get() + 1);
                let serve = serve.clone();
                tokio::task::spawn_local(async move {
                    let mut builder = h2::server::Builder::new();
                    builder.max_concurrent_streams(streams);
                    let mut connection = builder.handshake(stream).await.expect("a preface");
                    while let Some(Ok((request, answer))) = connection.accept().await {
                        let serve = serve.clone();
                        tokio::task::spawn_local(async move { serve(request, answer).await });
                    }
                });
            }
        });
        Self { address, connections }
    }

    async fn gateway(&self) -> Gateway {
        Gateway::start(&[self.address], http2()).await
    }
}

fn http2() -> Options {
    Options { http2: true, ..Options::default() }
}

fn head() -> Response<()> {
    Response::new(())
}

fn send(stream: &mut SendStream<Bytes>, text: &str, last: bool) {
    stream.send_data(Bytes::copy_from_slice(text.as_bytes()), last).expect("the stream is open");
}

/// The whole body as text, and the trailers.
async fn whole(mut body: RecvStream) -> (String, Option<HeaderMap>) {
    let mut text = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).expect("so much came");
        text.extend_from_slice(&data);
    }
    (String::from_utf8(text).expect("text"), body.trailers().await.ok().flatten())
}

/// Waits until the stream is reset by the other side.
async fn reset(answer: &mut Answer) -> Reason {
    poll_fn(|cx| answer.poll_reset(cx)).await.expect("a reset")
}

#[tokio::test]
async fn a_server_sees_a_request_as_http2_writes_it_and_trailers_go_both_ways() {
    run(async {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let record = seen.clone();
        let server = Server::start(100, async move |request, mut answer| {
            let (parts, body) = request.into_parts();
            let (text, trailers) = whole(body).await;
            record.borrow_mut().push((parts, text, trailers));
            let response = Response::builder().header("trailer", "x-sum").body(()).expect("a head");
            let mut stream = answer.send_response(response, false).expect("it is open");
            send(&mut stream, "hello", false);
            let sum = HeaderMap::from_iter([("x-sum".parse().expect("a name"), "42".parse().expect("a value"))]);
            stream.send_trailers(sum).expect("it is open");
        })
        .await;
        let gateway = server.gateway().await;
        let reply = gateway
            .send(
                "POST /a?b HTTP/1.1\r\nhost: app.test\r\nconnection: close, te\r\nte: trailers\r\ncookie: a=1\r\n\
                 trailer: x-check\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-check: 23\r\n\r\n",
            )
            .await;
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
        assert!(reply.contains("\r\ntransfer-encoding: chunked\r\n"), "{reply}");
        assert!(reply.ends_with("5\r\nhello\r\n0\r\nx-sum: 42\r\n\r\n"), "{reply}");

        let (parts, text, trailers) = seen.borrow_mut().pop().expect("a request");
        assert_eq!(parts.uri.to_string(), "http://app.test/a?b");
        assert_eq!((parts.method.as_str(), text.as_str()), ("POST", "abc"));
        assert_eq!(trailers.expect("trailers")["x-check"], "23");
        for gone in ["host", "connection", "transfer-encoding", "upgrade"] {
            assert!(!parts.headers.contains_key(gone), "{:?}", parts.headers);
        }
        for (name, value) in [("te", "trailers"), ("cookie", "a=1"), ("remote-user", "alice")] {
            assert_eq!(parts.headers[name], value, "{:?}", parts.headers);
        }
    })
    .await;
}

#[tokio::test]
async fn requests_share_a_connection_up_to_what_the_server_takes() {
    for (streams, expected) in [(100, 1), (4, 3)] {
        run(async move {
            let all_here = Rc::new(Notify::new());
            let (here, gate) = (Rc::new(Cell::new(0)), all_here.clone());
            let server = Server::start(streams, async move |request, mut answer| {
                here.set(here.get() + 1);
                if here.get() == 12 {
                    gate.notify_waiters();
                } else if here.get() < 12 {
                    gate.notified().await;
                }
                let mut stream = answer.send_response(head(), false).expect("it is open");
                send(&mut stream, request.uri().path(), true);
            })
            .await;
            let gateway = server.gateway().await;
            let mut clients = Vec::new();
            for number in 0..12 {
                let mut client = gateway.client().await;
                client.send(&format!("GET /{number} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")).await;
                clients.push(client);
            }
            for (number, client) in clients.iter_mut().enumerate() {
                let reply = client.rest().await;
                assert!(reply.contains(&format!("\r\n/{number}\r\n")), "{reply}");
            }
            assert_eq!(server.connections.get(), expected);
            gateway.send(GET).await;
            assert_eq!(server.connections.get(), expected, "what is there is used again");
        })
        .await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_resets_its_stream_and_no_other() {
    for (head_first, upload) in [(false, false), (true, false), (false, true), (true, true)] {
        run(async move {
            let (tell, mut told) = mpsc::unbounded_channel();
            let server = Server::start(100, async move |request, mut answer| {
                if request.uri().path() == "/stays" {
                    let mut stream = answer.send_response(head(), false).expect("it is open");
                    send(&mut stream, "first", false);
                    tokio::time::sleep(Duration::from_millis(400)).await;
                    return send(&mut stream, "second", true);
                }
                if head_first {
                    let mut stream = answer.send_response(head(), false).expect("it is open");
                    send(&mut stream, "first", false);
                    tell.send(None).expect("the test waits");
                    let reason = poll_fn(|cx| stream.poll_reset(cx)).await.expect("a reset");
                    return tell.send(Some(reason)).expect("the test waits");
                }
                tell.send(None).expect("the test waits");
                tell.send(Some(reset(&mut answer).await)).expect("the test waits");
            })
            .await;
            let gateway = server.gateway().await;
            let mut stays = gateway.client().await;
            stays.send("GET /stays HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
            let mut leaves = gateway.client().await;
            let body = if upload { "content-length: 10\r\n\r\nabc" } else { "\r\n" };
            leaves.send(&format!("POST / HTTP/1.1\r\nhost: a\r\n{body}")).await;
            assert_eq!(told.recv().await, Some(None));
            if head_first {
                leaves.until("first").await;
            }
            drop(leaves);
            assert_eq!(told.recv().await, Some(Some(Reason::CANCEL)), "{head_first} {upload}");
            let reply = stays.rest().await;
            assert!(reply.contains("first") && reply.contains("second"), "{reply}");
            assert_eq!(server.connections.get(), 1);
        })
        .await;
    }
}

#[tokio::test]
async fn bytes_go_both_ways_at_once() {
    run(async {
        let server = Server::start(100, async |request, mut answer| {
            let mut stream = answer.send_response(head(), false).expect("it is open");
            let mut body = request.into_body();
            send(&mut stream, "ready", false);
            while let Some(Ok(data)) = body.data().await {
                stream.send_data(data, false).expect("it is open");
            }
            send(&mut stream, "bye", true);
        })
        .await;
        let gateway = server.gateway().await;
        let mut client = gateway.client().await;
        client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
        client.until("5\r\nready\r\n").await;
        for _ in 0..3 {
            client.send("4\r\nping\r\n").await;
            client.until("4\r\nping\r\n").await;
        }
        client.send("0\r\n\r\n").await;
        client.until("3\r\nbye\r\n0\r\n\r\n").await;
        client.send(GET).await;
        client.until("ready\r\n").await;
        assert_eq!(server.connections.get(), 1);
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_ends_before_the_request_cancels_its_stream_alone() {
    run(async {
        let (tell, mut told) = mpsc::unbounded_channel();
        let server = Server::start(100, async move |request, mut answer| {
            let is_post = request.method() == http::Method::POST;
            let mut stream = answer.send_response(head(), false).expect("it is open");
            send(&mut stream, "early", true);
            if is_post {
                let mut body = request.into_body();
                let end = loop {
                    match body.data().await {
                        Some(Ok(_)) => {}
                        Some(Err(error)) => break error.reason(),
                        None => break None,
                    }
                };
                tell.send(end).expect("the test waits");
            }
        })
        .await;
        let gateway = server.gateway().await;
        let mut client = gateway.client().await;
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc").await;
        client.until("early").await;
        assert_eq!(told.recv().await, Some(Some(Reason::CANCEL)));
        let reply = gateway.send(GET).await;
        assert!(reply.contains("early"), "{reply}");
        assert_eq!(server.connections.get(), 1);
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_ends_while_the_server_takes_no_more_of_the_request_resets_its_stream() {
    // What is behind the window is most of the body, its last part, or all of it.
    for (window, bytes) in [(65_535, 600_000), (0, 10), (0, 600_000)] {
        run(async move {
            let (tell, mut told) = mpsc::unbounded_channel();
            let backend = Backend::start(async move |_, client| {
                let mut frames = Frames { stream: client.stream };
                frames.begin_with(window).await;
                let stream = frames.next_request().await.expect("a request");
                frames.body(window as usize).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
                frames.send(HEADERS, END_HEADERS | END_STREAM, stream, &[0x88]).await;
                let (_, stream, reason) = frames.next(RST_STREAM).await.expect("a reset");
                tell.send((stream, reason)).expect("the test waits");
                let next = frames.next_request().await.expect("a further request");
                frames.answer(next).await;
                frames.next_request().await;
            })
            .await;
            let gateway = Gateway::start(&[backend.address], http2()).await;
            let mut client = gateway.client().await;
            client.send(&format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {bytes}\r\n\r\n")).await;
            client.send(&"a".repeat(bytes)).await;
            assert!(client.head().await.starts_with("HTTP/1.1 200"));
            assert_eq!(told.recv().await, Some((1, 8u32.to_be_bytes().to_vec())), "{window} {bytes}");
            client.send(GET).await;
            assert!(client.rest().await.contains("\r\nok\r\n"), "what is left of the body is read");
            assert_eq!(backend.connections.get(), 1);
        })
        .await;
    }
}

#[tokio::test]
async fn a_connection_with_a_stream_that_can_not_be_reset_is_left_and_closed() {
    run(async {
        let (tell, mut told) = mpsc::unbounded_channel();
        let backend = Backend::start(async move |number, client| {
            let mut frames = Frames { stream: client.stream };
            frames.begin_with(if number == 0 { 5 } else { 65_535 }).await;
            let stream = frames.next_request().await.expect("a request");
            if number == 0 {
                // The rest of the frame waits for the window, its end included.
                frames.body(5).await;
                frames.send(HEADERS, END_HEADERS | END_STREAM, stream, &[0x88]).await;
                while frames.next_request().await.is_some() {}
                return tell.send(()).expect("the test waits");
            }
            frames.answer(stream).await;
            frames.next_request().await;
        })
        .await;
        let gateway = Gateway::start(&[backend.address], http2()).await;
        let post = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 10\r\n\r\n0123456789";
        assert!(gateway.send(post).await.starts_with("HTTP/1.1 200"));
        assert!(gateway.send(GET).await.contains("\r\nok\r\n"));
        assert_eq!(backend.connections.get(), 2);
        told.recv().await.expect("the connection was closed");
    })
    .await;
}

/// A call of a client that speaks HTTP/2: it says three bytes and no more. To be held while it lasts.
async fn call(gateway: &Gateway, path: &str, kind: &str) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
    let stream = TcpStream::connect(gateway.address).await.expect("the gateway listens");
    let (mut client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::task::spawn_local(connection);
    let request = Request::post(format!("http://app.test{path}")).header("content-type", kind);
    let request = request.body(()).expect("a request");
    let (answer, mut body) = client.send_request(request, false).expect("it is open");
    send(&mut body, "abc", false);
    (answer, body)
}

#[tokio::test]
async fn grpc_may_be_quiet_for_long_once_it_is_answered_and_ends_with_the_session() {
    run(async {
        let (tell, mut told) = mpsc::unbounded_channel();
        let server = Server::start(100, async move |request, mut answer| {
            let path = request.uri().path().to_owned();
            if path == "/unanswered" {
                reset(&mut answer).await;
                return tell.send((path, Reason::CANCEL)).expect("the test waits");
            }
            let response = Response::builder().header("content-type", "application/grpc+proto").body(());
            let mut stream = answer.send_response(response.expect("a head"), false).expect("it is open");
            send(&mut stream, "first", false);
            let reason = poll_fn(|cx| stream.poll_reset(cx)).await.expect("a reset");
            tell.send((path, reason)).expect("the test waits");
        })
        .await;
        let (stall, response_timeout) = (Duration::from_millis(300), Duration::from_millis(600));
        let options = Options { stall, response_timeout, ..http2() };
        let gateway = Gateway::start(&[server.address], options).await;
        let _grpc = call(&gateway, "/grpc", "application/grpc+proto").await;
        let _other = call(&gateway, "/other", "application/grpcs").await;
        let _unanswered = call(&gateway, "/unanswered", "application/grpc").await;
        // Over HTTP/1.1 there is no gRPC.
        let mut old = gateway.client().await;
        old.send(
            "POST /old HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\ncontent-length: 9\r\n\r\nabc",
        )
        .await;
        let mut ended = Vec::new();
        for _ in 0..3 {
            let (path, reason) = told.recv().await.expect("a reset");
            assert_eq!(reason, Reason::CANCEL, "{path}");
            ended.push(path);
        }
        ended.sort();
        assert_eq!(ended, ["/old", "/other", "/unanswered"]);
        tokio::time::sleep(Duration::from_millis(900)).await;
        assert!(told.try_recv().is_err(), "the call goes on");
        gateway.ended.cancel();
        assert_eq!(told.recv().await, Some(("/grpc".to_owned(), Reason::CANCEL)));
    })
    .await;
}

#[tokio::test]
async fn grpc_to_a_server_without_http2_may_be_quiet_no_longer_than_anything_else() {
    run(async {
        let (tell, mut told) = mpsc::unbounded_channel();
        let backend = Backend::start(async move |_, mut client| {
            client.head().await;
            client
                .send(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n",
                )
                .await;
            client.rest().await;
            tell.send(()).expect("the test waits");
        })
        .await;
        let options = Options { stall: Duration::from_millis(300), ..Options::default() };
        let gateway = Gateway::start(&[backend.address], options).await;
        let _call = call(&gateway, "/", "application/grpc").await;
        told.recv().await.expect("the connection was closed");
    })
    .await;
}

#[tokio::test]
async fn an_upgrade_goes_over_a_connection_of_its_own() {
    run(async {
        // A server that speaks both, told apart by how the client begins.
        let backend = Backend::start(async |_, mut client| {
            if !client.exactly(3).await.starts_with("PRI") {
                let head = client.head().await;
                assert!(
                    head.contains("\r\nconnection: upgrade\r\n") && head.contains("\r\nhost: app.test\r\n"),
                    "{head}"
                );
                let switch =
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
                client.send(switch).await;
                let said = client.exactly(5).await;
                return client.send(&said).await;
            }
            let mut frames = Frames { stream: client.stream };
            frames.begin(21).await;
            while let Some(stream) = frames.next_request().await {
                frames.answer(stream).await;
            }
        })
        .await;
        let gateway = Gateway::start(&[backend.address], http2()).await;
        assert!(gateway.send(GET).await.contains("\r\nok\r\n"));
        let mut client = gateway.client().await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        client.send("hello").await;
        assert_eq!(client.exactly(5).await, "hello");
        assert!(gateway.send(GET).await.contains("\r\nok\r\n"));
        assert_eq!(backend.connections.get(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_server_that_does_not_speak_http2_is_a_502() {
    run(async {
        for answer in ["HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", ""] {
            let backend = Backend::start(async move |_, mut client| {
                client.head().await;
                client.send(answer).await;
            })
            .await;
            let gateway = Gateway::start(&[backend.address], http2()).await;
            let reply = gateway.send(GET).await;
            assert!(reply.starts_with("HTTP/1.1 502") && reply.ends_with("upstream_unreachable"), "{reply}");
        }
        // And what does is no answer where it was not asked for.
        let server = Server::start(100, async |_, mut answer| {
            answer.send_response(head(), true).expect("it is open");
        })
        .await;
        let gateway = Gateway::start(&[server.address], Options::default()).await;
        assert!(gateway.send(GET).await.starts_with("HTTP/1.1 502"));
    })
    .await;
}

/// Frames by hand, for what no library would send.
struct Frames {
    stream: TcpStream,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

impl Frames {
    /// Reads the rest of the preface and sends the settings.
    async fn begin(&mut self, preface: usize) -> &mut Self {
        self.stream.read_exact(&mut vec![0; preface]).await.expect("the preface");
        self.send(SETTINGS, 0, 0, &[]).await;
        self
    }

    /// With so large a window for each stream.
    async fn begin_with(&mut self, window: u32) {
        self.stream.read_exact(&mut [0; 24]).await.expect("the preface");
        let setting = [&[0, 4], window.to_be_bytes().as_slice()].concat();
        self.send(SETTINGS, 0, 0, &setting).await;
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        let _ = self.stream.write_all(&frame).await;
    }

    /// The next frame of this kind: its flags, its stream and what is in it.
    async fn next(&mut self, kind: u8) -> Option<(u8, u32, Vec<u8>)> {
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.stream.read_exact(&mut payload).await.ok()?;
            if head[3] == kind {
                let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                return Some((head[4], stream, payload));
            }
        }
    }

    /// The stream of the next request whose head came.
    async fn next_request(&mut self) -> Option<u32> {
        self.next(HEADERS).await.map(|(_, stream, _)| stream)
    }

    /// What comes of a body, up to so many bytes or its end.
    async fn body(&mut self, bytes: usize) -> String {
        let mut body = Vec::new();
        while body.len() < bytes {
            let Some((flags, _, data)) = self.next(DATA).await else { break };
            body.extend(data);
            if flags & END_STREAM != 0 {
                break;
            }
        }
        String::from_utf8(body).expect("text")
    }

    async fn answer(&mut self, stream: u32) {
        // `:status: 200`, as HPACK's table has it.
        self.send(HEADERS, END_HEADERS, stream, &[0x88]).await;
        self.send(DATA, END_STREAM, stream, b"ok").await;
    }

    async fn go_away(&mut self, last: u32, reason: u32) {
        let payload = [last.to_be_bytes(), reason.to_be_bytes()].concat();
        self.send(GOAWAY, 0, 0, &payload).await;
    }
}

/// Answers on its first connection as `first` does from the second request on, and as it should on others.
async fn failing_once(first: impl AsyncFn(&mut Frames, u32) + 'static) -> Backend {
    Backend::start(async move |number, client| {
        let mut frames = Frames { stream: client.stream };
        frames.begin(24).await;
        while let Some(stream) = frames.next_request().await {
            if number == 0 && stream > 1 {
                first(&mut frames, stream).await;
            } else {
                frames.answer(stream).await;
            }
        }
    })
    .await
}

const POST: &str = "POST / HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn what_a_server_has_not_looked_at_is_sent_once_more() {
    run(async {
        let go_away = failing_once(async |frames, _| {
            frames.go_away(1, 0).await;
            frames.stream.shutdown().await.expect("it was open");
        });
        let refuse = failing_once(async |frames, stream| {
            frames.send(RST_STREAM, 0, stream, &7u32.to_be_bytes()).await;
        });
        for backend in [go_away.await, refuse.await] {
            let gateway = Gateway::start(&[backend.address], http2()).await;
            assert!(gateway.send(POST).await.contains("\r\nok\r\n"));
            let reply = gateway.send(POST).await;
            assert!(reply.contains("\r\nok\r\n"), "{reply}");
            assert!(gateway.send(POST).await.contains("\r\nok\r\n"));
            assert_eq!(backend.connections.get(), 2, "the first takes no further requests");
        }
    })
    .await;
}

#[tokio::test]
async fn a_body_that_a_server_has_not_looked_at_is_sent_once_more_while_it_is_short() {
    for refused_at in [1, 3] {
        run(async move {
            let (tell, mut told) = mpsc::unbounded_channel();
            let seen = Rc::new(Cell::new(0));
            let server = Server::start(100, async move |request, mut answer| {
                seen.set(seen.get() + 1);
                let (head_of_it, mut body) = request.into_parts();
                if seen.get() == 1 {
                    for _ in 0..refused_at {
                        body.data().await.expect("a part").expect("a part");
                    }
                    return answer.send_reset(Reason::REFUSED_STREAM);
                }
                let length = head_of_it.headers.get("content-length").cloned();
                tell.send((whole(body).await.0, length)).expect("the test waits");
                answer.send_response(head(), true).expect("it is open");
            })
            .await;
            let gateway = server.gateway().await;
            // All of it is there, or the rest comes later; of known length, or not.
            for (head, parts, expected) in [
                ("content-length: 9", ["abc", "def", "ghi"], Some("9")),
                (
                    "transfer-encoding: chunked",
                    ["3\r\nabc\r\n", "3\r\ndef\r\n", "3\r\nghi\r\n0\r\n\r\n"],
                    None,
                ),
            ] {
                let mut client = gateway.client().await;
                client
                    .send(&format!("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{head}\r\n\r\n"))
                    .await;
                for part in parts {
                    client.send(part).await;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                let reply = client.rest().await;
                assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
                let (body, length) = told.recv().await.expect("a request");
                assert_eq!(body, "abcdefghi");
                assert_eq!(length.as_ref().map(|length| length.to_str().expect("ASCII")), expected);
            }
        })
        .await;
    }
    run(async {
        let requests = Rc::new(Cell::new(0));
        let counter = requests.clone();
        let server = Server::start(100, async move |request, mut answer| {
            counter.set(counter.get() + 1);
            let (head_of_it, mut body) = request.into_parts();
            let length = head_of_it.headers["content-length"].to_str().expect("ASCII");
            let mut left = length.parse::<usize>().expect("a number") * 4 / 5;
            while left > 0 {
                let data = body.data().await.expect("a part").expect("a part");
                body.flow_control().release_capacity(data.len()).expect("so much came");
                left -= data.len().min(left);
            }
            answer.send_reset(Reason::REFUSED_STREAM);
        })
        .await;
        let gateway = server.gateway().await;
        for (size, expected) in [(50_000, 5), (100_000, 6)] {
            let mut client = gateway.client().await;
            client.send(&format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n")).await;
            client.send(&"a".repeat(size)).await;
            let head = client.head().await;
            assert!(head.starts_with("HTTP/1.1 502"), "{head}");
            assert_eq!(
                requests.get(),
                expected,
                "a server that refuses again and again is believed in the end"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_body_that_is_refused_before_all_of_it_went_out_again_is_sent_whole_the_next_time() {
    run(async {
        let (tell, mut told) = mpsc::unbounded_channel();
        let backend = Backend::start(async move |number, client| {
            let mut frames = Frames { stream: client.stream };
            frames.begin_with(if number == 1 { 0 } else { 65_535 }).await;
            let stream = frames.next_request().await.expect("a request");
            if number == 1 {
                // The first part waits for a window, and the second behind it.
                tokio::time::sleep(Duration::from_millis(100)).await;
            } else {
                let body = frames.body(10).await;
                tell.send(body).expect("the test waits");
            }
            match number {
                0 | 1 => frames.send(RST_STREAM, 0, stream, &7u32.to_be_bytes()).await,
                _ => frames.answer(stream).await,
            }
            frames.next_request().await;
        })
        .await;
        let gateway = Gateway::start(&[backend.address], http2()).await;
        let mut client = gateway.client().await;
        client.send("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 10\r\n\r\n").await;
        for part in ["AAAAA", "BBBBB"] {
            tokio::time::sleep(Duration::from_millis(50)).await;
            client.send(part).await;
        }
        let reply = client.rest().await;
        assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
        assert_eq!(backend.connections.get(), 3);
        for _ in 0..2 {
            assert_eq!(told.recv().await.as_deref(), Some("AAAAABBBBB"));
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_server_may_have_acted_on_is_not_sent_twice() {
    run(async {
        // GOAWAY names the request as one that was looked at; a stream is broken off; a connection ends.
        let go_away = failing_once(async |frames, stream| {
            frames.go_away(stream, 0).await;
            frames.stream.shutdown().await.expect("it was open");
        });
        let reset = failing_once(async |frames, stream| {
            frames.send(RST_STREAM, 0, stream, &2u32.to_be_bytes()).await;
        });
        let end = failing_once(async |frames, _| {
            frames.stream.shutdown().await.expect("it was open");
        });
        for (backend, connections) in [(go_away.await, 2), (reset.await, 1), (end.await, 2)] {
            let gateway = Gateway::start(&[backend.address], http2()).await;
            assert!(gateway.send(POST).await.contains("\r\nok\r\n"));
            let reply = gateway.send(POST).await;
            assert!(reply.starts_with("HTTP/1.1 502"), "{reply}");
            assert_eq!(backend.connections.get(), 1);
            // The connection's end takes nobody along who comes later.
            if connections == 2 {
                assert!(gateway.send(GET).await.contains("\r\nok\r\n"));
            }
            assert_eq!(backend.connections.get(), connections);
        }
    })
    .await;
}

#[tokio::test]
async fn a_goaway_leaves_the_streams_that_are_open_alone() {
    run(async {
        let backend = Backend::start(async |number, client| {
            let mut frames = Frames { stream: client.stream };
            frames.begin(24).await;
            let first = frames.next_request().await.expect("a request");
            if number == 0 {
                frames.go_away(first, 0).await;
                tokio::time::sleep(LINGER + Duration::from_secs(1)).await;
            }
            frames.answer(first).await;
            frames.next_request().await;
        })
        .await;
        let gateway = Gateway::start(&[backend.address], http2()).await;
        let mut slow = gateway.client().await;
        slow.send(GET).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(gateway.send(POST).await.contains("\r\nok\r\n"));
        assert!(slow.rest().await.contains("\r\nok\r\n"));
        assert_eq!(backend.connections.get(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_connection_on_which_an_answer_was_late_is_left() {
    run(async {
        let backend = failing_once(async |_, _| {}).await;
        let options = Options { response_timeout: Duration::from_millis(300), ..http2() };
        let gateway = Gateway::start(&[backend.address], options).await;
        assert!(gateway.send(GET).await.contains("\r\nok\r\n"));
        assert!(gateway.send(GET).await.starts_with("HTTP/1.1 504"));
        assert!(gateway.send(GET).await.contains("\r\nok\r\n"));
        assert_eq!(backend.connections.get(), 2);
    })
    .await;
}

#[tokio::test]
async fn many_requests_that_lose_a_connection_open_one_for_all() {
    run(async {
        let backend = Backend::start(async |number, client| {
            let mut frames = Frames { stream: client.stream };
            frames.begin(24).await;
            let mut waiting = Vec::new();
            while let Some(stream) = frames.next_request().await {
                waiting.push(stream);
                if number == 0 && waiting.len() == 10 {
                    frames.go_away(0, 0).await;
                    return;
                }
                if number > 0 {
                    frames.answer(stream).await;
                }
            }
        })
        .await;
        let gateway = Gateway::start(&[backend.address], http2()).await;
        let mut clients = Vec::new();
        for _ in 0..10 {
            let mut client = gateway.client().await;
            client.send(POST).await;
            clients.push(client);
        }
        for client in &mut clients {
            let reply = client.rest().await;
            assert!(reply.contains("\r\nok\r\n"), "{reply}");
        }
        assert_eq!(backend.connections.get(), 2);
    })
    .await;
}

#[tokio::test]
async fn no_answer_reaches_another_request_whoever_leaves() {
    for http2 in [false, true] {
        run(async move {
            let address = match http2 {
                true => {
                    let server = Server::start(20, async |request, mut answer| {
                        let token = request.uri().path().to_owned();
                        tokio::time::sleep(pause(&token)).await;
                        let Ok(mut stream) = answer.send_response(head(), false) else { return };
                        for part in 0..3 {
                            let text = Bytes::from(format!("{token};"));
                            if stream.send_data(text, part == 2).is_err() {
                                return;
                            }
                            tokio::time::sleep(pause(&token)).await;
                        }
                    })
                    .await;
                    server.address
                }
                false => {
                    let server = Backend::start(async |_, mut client| {
                        loop {
                            let mut line = Vec::new();
                            while !line.ends_with(b"\r\n\r\n") {
                                match client.stream.read_u8().await {
                                    Ok(byte) => line.push(byte),
                                    Err(_) => return,
                                }
                            }
                            let line = String::from_utf8(line).expect("text");
                            let token = line.split(' ').nth(1).expect("a target").to_owned();
                            tokio::time::sleep(pause(&token)).await;
                            let length = 3 * (token.len() + 1);
                            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
                            let _ = client.stream.write_all(head.as_bytes()).await;
                            for _ in 0..3 {
                                let _ = client.stream.write_all(format!("{token};").as_bytes()).await;
                                tokio::time::sleep(pause(&token)).await;
                            }
                        }
                    })
                    .await;
                    server.address
                }
            };
            let gateway = Rc::new(Gateway::start(&[address], Options { http2, ..Options::default() }).await);
            let whole = Rc::new(Cell::new(0));
            let tasks = (0..600u32).map(|number| {
                let (gateway, whole) = (gateway.clone(), whole.clone());
                tokio::task::spawn_local(async move {
                    tokio::time::sleep(Duration::from_millis(u64::from(number / 4))).await;
                    let token = format!("/t{}", number.wrapping_mul(2_654_435_761));
                    let mut client = gateway.client().await;
                    client
                        .send(&format!("GET {token} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"))
                        .await;
                    if number % 3 == 0 {
                        // Leaves at some moment between the request and the end of the answer.
                        return tokio::time::sleep(Duration::from_millis(u64::from(number % 17))).await;
                    }
                    let reply = client.rest().await;
                    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
                    let body = reply.split_once("\r\n\r\n").expect("a head").1;
                    let tokens: Vec<_> = body
                        .split(|c: char| !c.is_ascii_digit() && c != '/' && c != 't')
                        .filter(|t| t.starts_with('/'))
                        .collect();
                    assert_eq!(tokens, [&token; 3], "{reply}");
                    whole.set(whole.get() + 1);
                })
            });
            for task in tasks.collect::<Vec<_>>() {
                task.await.expect("no panic");
            }
            assert_eq!(whole.get(), 400);
        })
        .await;
    }
}

/// Up to six milliseconds, by the token.
fn pause(token: &str) -> Duration {
    Duration::from_millis(token.bytes().map(u64::from).sum::<u64>() % 7)
}
