//! Connections to servers: TLS and whom it trusts, Unix sockets, HTTP/2 agreed on and known before.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;

use super::harness::{Gateway, foregate, wait_until};

/// An authority that a test made up.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
#[derive(Clone)]
struct Pair {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        Self::named("test authority")
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn sign(&self, names: &[&str], adjust: impl FnOnce(&mut CertificateParams)) -> Pair {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        adjust(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &*self.0).expect("a certificate");
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

/// What a server saw of a request.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    body: String,
    pub(crate) headers: HeaderMap,
    target: String,
    trailers: Option<HeaderMap>,
    pub(crate) version: Version,
}

/// A server on a thread of its own that answers with what it is asked for.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    connections: Arc<Mutex<usize>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    _stop: oneshot::Sender<()>,
}

/// How it is spoken to.
pub(crate) enum Door {
    Plain { http2: bool },
    Tls(Arc<ServerConfig>),
    Unix(PathBuf),
}

impl Server {
    pub(crate) fn start(door: Door) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(Mutex::new(0));
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let (counter, record) = (Arc::clone(&connections), Arc::clone(&seen));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                tell.send(listener.local_addr().expect("an address")).expect("the test waits");
                tokio::spawn(accept(listener, door, counter, record));
                let _ = stopped.await;
            });
        });
        Self { address: told.recv().expect("it starts"), connections, seen, _stop: stop }
    }

    fn over_tls(pair: &Pair, protocols: &[&str], client_authority: Option<&Authority>) -> Self {
        Self::start(Door::Tls(Arc::new(tls(pair, protocols, client_authority))))
    }

    pub(crate) fn last(&self) -> Seen {
        self.seen.lock().expect("no panic while it is held").last().expect("a request").clone()
    }

    fn count(&self) -> usize {
        self.seen.lock().expect("no panic while it is held").len()
    }

    fn connections(&self) -> usize {
        *self.connections.lock().expect("no panic while it is held")
    }
}

async fn accept(
    listener: TcpListener,
    door: Door,
    connections: Arc<Mutex<usize>>,
    seen: Arc<Mutex<Vec<Seen>>>,
) {
    if let Door::Unix(path) = &door {
        let listener = UnixListener::bind(path).expect("a socket");
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(serve(stream, false, Arc::clone(&seen)));
        }
    }
    let door = Arc::new(door);
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        *connections.lock().expect("no panic while it is held") += 1;
        let (seen, door) = (Arc::clone(&seen), Arc::clone(&door));
        tokio::spawn(async move {
            match &*door {
                Door::Plain { http2 } => serve(stream, *http2, seen).await,
                Door::Tls(config) => {
                    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(config));
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                        serve(stream, http2, seen).await;
                    }
                }
                Door::Unix(_) => {}
            }
        });
    }
}

fn tls(pair: &Pair, protocols: &[&str], client_authority: Option<&Authority>) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let builder = match client_authority {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.0.der().clone()).expect("a certificate");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.expect("a verifier"))
        }
    };
    let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("a key");
    let mut config = builder.with_single_cert(chain, key).expect("a pair");
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    config
}

async fn serve<S>(stream: S, http2: bool, seen: Arc<Mutex<Vec<Seen>>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| answer(request, Arc::clone(&seen)));
    let stream = TokioIo::new(stream);
    if http2 {
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = builder.serve_connection(stream, service).await;
    } else {
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await;
    }
}

/// Says the path, and a trailer.
async fn answer(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<Seen>>>,
) -> Result<Response<Frames>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?;
    let trailers = body.trailers().cloned();
    let path = Bytes::from(parts.uri.path().to_owned());
    seen.lock().expect("no panic while it is held").push(Seen {
        body: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        headers: parts.headers,
        target: parts.uri.to_string(),
        trailers,
        version: parts.version,
    });
    let sum = HeaderMap::from_iter([("x-sum".parse().expect("a name"), "42".parse().expect("a value"))]);
    let frames = Frames([Frame::trailers(sum), Frame::data(path)].into());
    Ok(Response::builder().header("trailer", "x-sum").body(frames).expect("a response"))
}

/// A body, the last frame first.
struct Frames(Vec<Frame<Bytes>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Poll::Ready(self.0.pop().map(Ok))
    }
}

/// A gateway in front of this server, with these files beside its configuration.
fn gateway(server: &str, settings: &str, files: &[(&str, &str)]) -> Gateway {
    let directory = tempfile::tempdir().expect("a folder");
    for (name, content) in files {
        std::fs::write(directory.path().join(name), content).expect("it is written");
    }
    let yaml = format!(
        "upstreams:\n  app:\n    servers: [\"{server}\"]\n{settings}\nroutes:\n  - {{ path: /**, upstream: app, access: public }}\n"
    );
    Gateway::start_in(directory, &yaml)
}

#[test]
fn a_server_whose_authority_is_named_is_trusted() {
    let authority = Authority::new();
    let server = Server::over_tls(&authority.sign(&["127.0.0.1"], |_| {}), &[], None);
    let files = [("ca.pem", &*authority.pem())];
    let gateway = gateway(&format!("https://{}", server.address), "    tls: { ca: ca.pem }", &files);
    for _ in 0..3 {
        let reply = gateway.get("/a", &[]);
        assert_eq!((reply.status, reply.text().as_str()), (200, "/a"), "{reply:?}");
    }
    assert_eq!(server.last().version, Version::HTTP_11);
    assert!(server.connections() <= 2, "one for each thread: {}", server.connections());
}

#[test]
fn a_certificate_that_is_its_own_authority_is_trusted_where_it_is_named_and_for_its_name_alone() {
    let own = |name: &str, expired: bool| {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("names");
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        if expired {
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        Pair { certificate, key: key.serialize_pem() }
    };
    for (name, expired, status) in
        [("127.0.0.1", false, 200), ("127.0.0.2", false, 502), ("127.0.0.1", true, 502)]
    {
        let pair = own(name, expired);
        let server = Server::over_tls(&pair, &[], None);
        let files = [("ca.pem", &*pair.certificate)];
        let gateway = gateway(&format!("https://{}", server.address), "    tls: { ca: ca.pem }", &files);
        assert_eq!(gateway.get("/", &[]).status, status, "{name}, {expired}: {}", gateway.log());
    }
}

#[test]
fn a_server_that_can_not_be_trusted_is_a_502_and_the_log_says_why() {
    let (authority, other, same_name) = (Authority::new(), Authority::named("other"), Authority::new());
    let own_authority = || {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("names");
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        Pair { certificate, key: key.serialize_pem() }
    };
    let expired = |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    for (pair, told) in [
        (other.sign(&["127.0.0.1"], |_| {}), "its certificate is of an unknown issuer"),
        (same_name.sign(&["127.0.0.1"], |_| {}), "its certificate is signed by another key"),
        (authority.sign(&["app.test"], |_| {}), "its certificate is for another name"),
        (authority.sign(&["127.0.0.1"], expired), "its certificate has expired"),
        (own_authority(), "its certificate is its own authority"),
    ] {
        let server = Server::over_tls(&pair, &[], None);
        let files = [("ca.pem", &*authority.pem())];
        let gateway = gateway(&format!("https://{}", server.address), "    tls: { ca: ca.pem }", &files);
        let reply = gateway.get("/", &[]);
        assert_eq!(reply.status, 502, "{reply:?}");
        assert!(!reply.text().contains("certificate") && !reply.text().contains("127.0.0.1"), "{reply:?}");
        gateway.wait_for_log(told);
        assert_eq!(server.count(), 0);
    }
}

#[test]
fn a_server_may_be_expected_under_another_name() {
    let authority = Authority::new();
    let server = Server::over_tls(&authority.sign(&["app.internal"], |_| {}), &[], None);
    let files = [("ca.pem", &*authority.pem())];
    let url = format!("https://{}", server.address);
    let named = gateway(&url, "    tls: { ca: ca.pem, server_name: app.internal }", &files);
    assert_eq!(named.get("/", &[]).status, 200, "{}", named.log());
    let misnamed = gateway(&url, "    tls: { ca: ca.pem, server_name: other.internal }", &files);
    assert_eq!(misnamed.get("/", &[]).status, 502);
    misnamed.wait_for_log("its certificate is for another name");
}

#[test]
fn a_server_that_asks_for_a_certificate_gets_the_one_that_is_configured() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = Server::over_tls(&authority.sign(&["127.0.0.1"], |_| {}), &[], Some(&clients));
    let client = clients.sign(&["gateway"], |_| {});
    let files = [("ca.pem", &*authority.pem()), ("c.crt", &*client.certificate), ("c.key", &*client.key)];
    let url = format!("https://{}", server.address);
    let with = "    tls: { ca: ca.pem, client_cert: c.crt, client_key: { file: c.key } }";
    let gateway_with = gateway(&url, with, &files);
    assert_eq!(gateway_with.get("/", &[]).status, 200, "{}", gateway_with.log());
    let gateway_without = gateway(&url, "    tls: { ca: ca.pem }", &files);
    assert_eq!(gateway_without.get("/", &[]).status, 502);
    gateway_without.wait_for_log("CertificateRequired");
    assert!(!gateway_with.log().contains("PRIVATE KEY"));
}

#[test]
fn a_handshake_has_the_time_that_connecting_has() {
    let authority = Authority::new();
    let files = [("ca.pem", &*authority.pem())];
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("https://{}", silent.local_addr().expect("an address"));
    let gateway = gateway(&url, "    timeouts: { connect: 300ms }\n    tls: { ca: ca.pem }", &files);
    let started = Instant::now();
    assert_eq!(gateway.get("/", &[]).status, 502);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    gateway.wait_for_log("connecting took longer than 300ms");
}

#[test]
fn without_any_authority_the_configuration_is_refused() {
    let directory = tempfile::tempdir().expect("a folder");
    std::fs::write(directory.path().join("none.pem"), "").expect("it is written");
    let config = directory.path().join("foregate.yaml");
    let yaml = "upstreams:\n  app: https://127.0.0.1:1\nroutes: [{ path: /**, upstream: app }]\n";
    std::fs::write(&config, yaml).expect("it is written");
    let mut command = foregate();
    command.args(["check", "--config"]).arg(&config);
    command.env_remove("SSL_CERT_DIR").env("SSL_CERT_FILE", directory.path().join("none.pem"));
    let output = command.output().expect("the program runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("foregate.yaml:2:8: no server can be trusted"), "{told}");
}

#[test]
fn a_unix_socket_is_a_server() {
    let sockets = tempfile::tempdir().expect("a folder");
    let path = sockets.path().join("app.sock");
    let server = Server::start(Door::Unix(path.clone()));
    wait_until(|| path.exists(), || "no socket".to_owned());
    let gateway = gateway(&format!("unix:{}", path.display()), "    host: upstream", &[]);
    for _ in 0..3 {
        let reply = gateway.request("POST", "/a", &[], b"abc");
        assert_eq!((reply.status, reply.text().as_str()), (200, "/a"), "{reply:?}");
    }
    assert_eq!(
        (&*server.last().body, &server.last().headers["host"]),
        ("abc", &"localhost".parse().expect("a value"))
    );
    drop(server);
    std::fs::remove_file(&path).expect("it was there");
    assert_eq!(gateway.get("/", &[]).status, 502);
}

#[test]
fn http2_is_spoken_where_it_is_known_and_where_it_is_agreed_on() {
    let authority = Authority::new();
    let pair = authority.sign(&["127.0.0.1"], |_| {});
    let files = [("ca.pem", &*authority.pem())];
    let settings = "    http2: true\n    tls: { ca: ca.pem }";
    let trailing = b"POST /a?b HTTP/1.1\r\nhost: app.test\r\nconnection: close, te\r\nte: trailers\r\n\
        trailer: x-check\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-check: 23\r\n\r\n";
    for (server, scheme, version) in [
        (Server::start(Door::Plain { http2: true }), "http", Version::HTTP_2),
        (Server::over_tls(&pair, &["h2", "http/1.1"], None), "https", Version::HTTP_2),
        (Server::over_tls(&pair, &["http/1.1"], None), "https", Version::HTTP_11),
        (Server::over_tls(&pair, &[], None), "https", Version::HTTP_11),
    ] {
        let gateway = gateway(&format!("{scheme}://{}", server.address), settings, &files);
        for _ in 0..2 {
            let reply = gateway.send(trailing);
            assert_eq!((reply.status, reply.text().as_str()), (200, "/a"), "{reply:?} {}", gateway.log());
            assert_eq!(reply.header("x-sum"), Some("42"), "{reply:?}");
            let seen = server.last();
            assert_eq!((seen.version, seen.body.as_str()), (version, "abc"));
            assert_eq!(seen.trailers.expect("trailers")["x-check"], "23");
            let (target, host) = match version {
                Version::HTTP_2 => (format!("{scheme}://app.test/a?b"), None),
                _ => ("/a?b".to_owned(), Some("app.test")),
            };
            assert_eq!(seen.target, target);
            assert_eq!(seen.headers.get("host").map(|host| host.to_str().expect("ASCII")), host);
        }
    }
}

#[test]
fn many_clients_share_few_http2_connections_and_each_gets_its_own_answer() {
    let server = Server::start(Door::Plain { http2: true });
    let gateway = gateway(&format!("http://{}", server.address), "    http2: true", &[]);
    std::thread::scope(|scope| {
        for client in 0..8 {
            let gateway = &gateway;
            scope.spawn(move || {
                for number in 0..25 {
                    let path = format!("/{client}/{number}");
                    if number % 5 == 4 {
                        // Leaves without waiting.
                        let head = format!("GET {path} HTTP/1.1\r\nhost: app.test\r\n\r\n");
                        gateway.connect().write(head.as_bytes());
                        continue;
                    }
                    let reply = gateway.get(&path, &[]);
                    assert_eq!((reply.status, reply.text()), (200, path), "{reply:?}");
                }
            });
        }
    });
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    assert!(server.connections() <= threads, "{} connections", server.connections());
}

#[test]
fn checks_go_the_way_that_requests_go() {
    let authority = Authority::new();
    let pair = authority.sign(&["127.0.0.1"], |_| {});
    let sockets = tempfile::tempdir().expect("a folder");
    let path = sockets.path().join("app.sock");
    let files = [("ca.pem", &*authority.pem())];
    let plain = Server::start(Door::Plain { http2: true });
    let tls = Server::over_tls(&pair, &["h2"], None);
    let unix = Server::start(Door::Unix(path.clone()));
    for (server, url, http2) in [
        (&plain, format!("http://{}", plain.address), true),
        (&tls, format!("https://{}", tls.address), true),
        (&unix, format!("unix:{}", path.display()), false),
    ] {
        let settings = format!(
            "    health: {{ path: /healthz, interval: 100ms, unhealthy_after: 1 }}\n    http2: {http2}\n    tls: {{ ca: ca.pem }}"
        );
        let gateway = gateway(&url, &settings, &files);
        wait_until(|| server.count() >= 3, || format!("no checks: {}", gateway.log()));
        assert!(server.last().target.ends_with("/healthz"), "{:?}", server.last());
        assert_eq!(gateway.get("/a", &[]).status, 200, "{}", gateway.log());
    }
    let other = Authority::new();
    let files = [("ca.pem", &*other.pem())];
    let settings =
        "    health: { path: /healthz, interval: 100ms, unhealthy_after: 1 }\n    tls: { ca: ca.pem }";
    let untrusting = gateway(&format!("https://{}", tls.address), settings, &files);
    wait_until(|| untrusting.get("/a", &[]).status == 503, || untrusting.log());
}

#[test]
fn an_authority_that_is_replaced_on_disk_holds_after_a_reload() {
    let (before, after) = (Authority::new(), Authority::named("renewed"));
    let server = Server::over_tls(&after.sign(&["127.0.0.1"], |_| {}), &[], None);
    let files = [("ca.pem", &*before.pem())];
    let gateway = gateway(&format!("https://{}", server.address), "    tls: { ca: ca.pem }", &files);
    assert_eq!(gateway.get("/", &[]).status, 502);
    std::fs::write(gateway.directory().join("ca.pem"), after.pem()).expect("it is written");
    gateway.signal("HUP");
    wait_until(|| gateway.get("/", &[]).status == 200, || gateway.log());
}
