//! What the socket tests share. The stand-ins for the gate and the context are built here alone.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderName, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

use crate::gate::Permit;
use crate::identity::{Credential, Identity, Principal, UserId};
use crate::policy::Policy;
use crate::proxy::{
    Balance, HealthBoard, HealthSettings, HostHeader, Proxy, ProxySettings, Server, Tunnels, UpstreamSettings,
};
use crate::request::{Context, Host, RequestId, Scheme, Target};
use crate::response::Body;
use crate::route::identity_headers::{IdentityHeader, Template, TemplatePart};
use crate::route::{IdentityHeaders, PathPattern, Route, Unauthenticated};

/// Runs a test on one thread; nothing in it may take longer than this.
pub(super) async fn run(test: impl Future<Output = ()>) {
    let within = tokio::time::timeout(Duration::from_secs(30), test);
    LocalSet::new().run_until(within).await.expect("the test ends");
    assert!(!PANICKED.get(), "a server of the test panicked: see above");
}

thread_local! {
    /// Whether a task of this test panicked, which by itself nobody would notice.
    static PANICKED: Cell<bool> = const { Cell::new(false) };
}

pub(super) struct Gateway {
    pub(super) address: SocketAddr,
    pub(super) ended: CancellationToken,
    pub(super) tunnels: Tunnels,
}

/// What a test may want otherwise.
pub(super) struct Options {
    pub(super) balance: Balance,
    pub(super) board: HealthBoard,
    pub(super) body_bytes: Option<u64>,
    pub(super) connect_timeout: Duration,
    pub(super) health: Option<HealthSettings>,
    pub(super) host: HostHeader,
    pub(super) http2: bool,
    pub(super) response_timeout: Duration,
    pub(super) stall: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let long = Duration::from_secs(20);
        Self {
            balance: Balance::RoundRobin,
            board: HealthBoard::new(),
            body_bytes: None,
            connect_timeout: Duration::from_secs(2),
            health: None,
            host: HostHeader::Preserve,
            http2: false,
            response_timeout: long,
            stall: long,
        }
    }
}

impl Gateway {
    pub(super) async fn start(servers: &[SocketAddr], options: Options) -> Self {
        let upstream = UpstreamSettings {
            assertion: false,
            balance: options.balance,
            connect_timeout: options.connect_timeout,
            health: options.health,
            host: options.host,
            http2: options.http2,
            idle_timeout: options.stall,
            name: "app".to_owned(),
            response_timeout: options.response_timeout,
            servers: servers
                .iter()
                .map(|server| Server::Tcp { host: server.ip().to_string(), port: server.port(), tls: false })
                .collect(),
            tls: None,
        };
        let settings = ProxySettings {
            asserter: None,
            body_bytes: options.body_bytes,
            cookie_names: vec!["foregate".to_owned()],
            edited_names: Vec::new(),
            identity_names: vec![HeaderName::from_static("remote-user")],
        };
        let tunnels = Tunnels::new();
        let proxy = Proxy::new(&[upstream], settings, tunnels.clone(), &options.board);
        let proxy = Rc::new(proxy.expect("sound settings"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let ended = CancellationToken::new();
        let token = ended.clone();
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (proxy, token) = (proxy.clone(), token.clone());
                let service = service_fn(move |request| answer(proxy.clone(), request, token.clone()));
                tokio::task::spawn_local(async move {
                    let mut first = [0; 3];
                    let _ = stream.peek(&mut first).await;
                    let stream = TokioIo::new(stream);
                    // As clients of HTTP/2 begin.
                    let _ = match &first {
                        b"PRI" => {
                            let builder = hyper::server::conn::http2::Builder::new(LocalExecutor);
                            builder.serve_connection(stream, service).await
                        }
                        _ => {
                            let builder = hyper::server::conn::http1::Builder::new();
                            builder.serve_connection(stream, service).with_upgrades().await
                        }
                    };
                });
            }
        });
        Self { address, ended, tunnels }
    }

    pub(super) async fn client(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.expect("the gateway listens") }
    }

    /// One exchange on a connection of its own: everything that comes back.
    pub(super) async fn send(&self, request: &str) -> String {
        let mut client = self.client().await;
        client.send(request).await;
        client.rest().await
    }
}

#[derive(Clone, Copy)]
struct LocalExecutor;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, part: F) {
        tokio::task::spawn_local(part);
    }
}

async fn answer(
    proxy: Rc<Proxy>,
    request: Request<Incoming>,
    ended: CancellationToken,
) -> Result<Response<Body>, Infallible> {
    let context = context(&request);
    let answer =
        proxy.forward(Box::new(request), &context, &permit(), || Box::pin(ended.cancelled_owned())).await;
    Ok(answer.unwrap_or_else(|error| {
        let mut response = Response::new(Body::Full(Bytes::from_static(error.code().as_bytes())));
        *response.status_mut() = error.status();
        response
    }))
}

fn context(request: &Request<Incoming>) -> Context {
    Context {
        client: [192, 0, 2, 7].into(),
        host: Host { name: "app.test".into(), port: None },
        id: RequestId::for_tests("id-1"),
        method: request.method().clone(),
        peer: [192, 0, 2, 7].into(),
        certificate: None,
        peer_trusted: false,
        received_at: SystemTime::UNIX_EPOCH,
        scheme: Scheme::Http,
        target: Target::from_uri(request.uri()).expect("a target"),
    }
}

fn permit() -> Permit {
    let route = Route {
        credentials: BTreeSet::new(),
        csrf: true,
        forward_authorization: false,
        headers: Vec::new(),
        host: None,
        identity_headers: Arc::new(IdentityHeaders::new(vec![IdentityHeader {
            name: HeaderName::from_static("remote-user"),
            template: Template(vec![TemplatePart::Username]),
        }])),
        methods: None,
        name: "all".into(),
        path: PathPattern { any_depth: true, segments: Vec::new() },
        policy: Policy::Optional,
        response_headers: Vec::new(),
        rewrite: None,
        token_endpoint: None,
        token_errors: Default::default(),
        token_locations: Default::default(),
        unauthenticated: Unauthenticated::Auto,
        upstream: Some("app".into()),
    };
    let alice = Identity {
        access_token: None,
        authenticated_at: SystemTime::UNIX_EPOCH,
        credential: Credential::Session,
        email: None,
        expires_at: None,
        name: crate::identity::DisplayName::default(),
        roles: BTreeSet::new(),
        session: None,
        token: None,
        principal: Principal::Account(UserId::generate()),
        username: "alice".parse().expect("a username"),
    };
    Permit::for_tests(Some(Arc::new(alice)), Arc::new(route))
}

/// One end of a raw connection.
pub(super) struct Client {
    pub(super) stream: TcpStream,
}

impl Client {
    pub(super) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.expect("the other side takes it");
    }

    /// Reads up to and with `end`, and not a byte more.
    pub(super) async fn until(&mut self, end: &str) -> String {
        let mut seen = Vec::new();
        while !seen.ends_with(end.as_bytes()) {
            match self.stream.read_u8().await {
                Ok(byte) => seen.push(byte),
                Err(_) => panic!("it closed after {:?}", String::from_utf8_lossy(&seen)),
            }
        }
        String::from_utf8(seen).expect("text")
    }

    pub(super) async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    pub(super) async fn exactly(&mut self, bytes: usize) -> String {
        let mut seen = vec![0; bytes];
        self.stream.read_exact(&mut seen).await.expect("so many bytes");
        String::from_utf8(seen).expect("text")
    }

    /// Everything until it closes, cleanly or not.
    pub(super) async fn rest(&mut self) -> String {
        let mut seen = Vec::new();
        let _ = self.stream.read_to_end(&mut seen).await;
        String::from_utf8(seen).expect("text")
    }

    pub(super) async fn is_closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0; 1]).await, Ok(0) | Err(_))
    }
}

/// A raw server.
pub(super) struct Backend {
    pub(super) address: SocketAddr,
    pub(super) connections: Rc<Cell<usize>>,
}

impl Backend {
    /// `serve` gets each connection with its number, from 0.
    pub(super) async fn start(serve: impl AsyncFn(usize, Client) + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let connections = Rc::new(Cell::new(0));
        let counter = connections.clone();
        let serve = Rc::new(serve);
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = counter.replace(counter.get() + 1);
                let serve = serve.clone();
                let task = tokio::task::spawn_local(async move { serve(number, Client { stream }).await });
                tokio::task::spawn_local(async move {
                    if task.await.is_err_and(|error| error.is_panic()) {
                        PANICKED.set(true);
                    }
                });
            }
        });
        Self { address, connections }
    }

    /// Answers every request head with the same text, on connections that stay.
    pub(super) async fn answering(text: &'static str) -> Self {
        Self::start(async move |_, mut client| {
            loop {
                client.head().await;
                client.send(text).await;
            }
        })
        .await
    }
}

/// An address that refuses connections, and that no other test is given.
pub(super) async fn nobody() -> SocketAddr {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let address = socket.local_addr().expect("an address");
    // Bound and never listening, until the tests end.
    std::mem::forget(socket);
    address
}

/// Long enough for a connection to count as rested, and for the sockets to settle.
pub(super) async fn rest() {
    tokio::time::sleep(Duration::from_millis(250)).await;
}

pub(super) const GET: &str = "GET / HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\n\r\n";
pub(super) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
