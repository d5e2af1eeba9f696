//! TLS towards clients: which certificate they are shown, which of theirs are believed, and what a port that speaks TLS
//! makes of everything else.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType, date_time_ymd,
};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CipherSuite, ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

use crate::harness::{Connection, Gateway, PASSWORD, PATIENCE, Reply, Upstream, free_address, wait_until};

/// An authority that issues what a test asks for.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub(crate) struct Issued {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    fn issue(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        Issued { certificate: params.signed_by(&key, &self.0).expect("a certificate"), key }
    }

    pub(crate) fn server(&self, names: &[&str]) -> Issued {
        self.issue(names, |_| {})
    }

    /// For a client with this common name.
    fn client(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        self.issue(&[], |params| {
            params.distinguished_name.push(DnType::OrganizationName, "Example");
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            change(params);
        })
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("an authority");
        roots
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }
}

impl Issued {
    /// As `NAME.crt` and `NAME.key`.
    pub(crate) fn write(&self, folder: &Path, name: &str) {
        std::fs::write(folder.join(format!("{name}.crt")), self.certificate.pem()).expect("it is written");
        let key = folder.join(format!("{name}.key"));
        std::fs::write(&key, self.key.serialize_pem()).expect("it is written");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("its mode is set");
    }
}

/// A client that believes one authority.
#[derive(Clone)]
struct Browser {
    config: Arc<ClientConfig>,
}

impl Browser {
    fn believing(authority: &Authority) -> Self {
        Self::with(authority, None, rustls::DEFAULT_VERSIONS)
    }

    fn with(
        authority: &Authority,
        shows: Option<&Issued>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(authority.roots());
        let mut config = match shows {
            None => builder.with_no_client_auth(),
            Some(issued) => {
                let key = PrivateKeyDer::try_from(issued.key.serialize_der()).expect("a key");
                let chain = vec![issued.certificate.der().clone()];
                builder.with_client_auth_cert(chain, key).expect("they match")
            }
        };
        config.resumption = Resumption::in_memory_sessions(8);
        Self { config: Arc::new(config) }
    }

    fn showing(authority: &Authority, issued: &Issued) -> Self {
        Self::with(authority, Some(issued), rustls::DEFAULT_VERSIONS)
    }

    /// Connects for this name, and waits for the end of the handshake.
    fn try_connect(&self, address: SocketAddr, name: &str) -> Result<Secure, std::io::Error> {
        self.try_connect_after(b"", address, name)
    }

    /// As `try_connect`, with something before TLS.
    fn try_connect_after(
        &self,
        preface: &[u8],
        address: SocketAddr,
        name: &str,
    ) -> Result<Secure, std::io::Error> {
        let mut socket = TcpStream::connect(address)?;
        socket.write_all(preface)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let mut session = ClientConnection::new(Arc::clone(&self.config), name).expect("a client");
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Secure { stream: BufReader::new(StreamOwned::new(session, socket)) })
    }

    fn connect(&self, address: SocketAddr, name: &str) -> Secure {
        self.try_connect(address, name).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A GET on a connection of its own.
    fn get(&self, gateway: &Gateway, target: &str, headers: &[(&str, &str)]) -> Reply {
        self.connect(gateway.address, "app.test").request("GET", target, headers, b"")
    }
}

/// A connection over TLS.
struct Secure {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

impl Secure {
    fn request(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.try_request(method, target, headers, body)
            .unwrap_or_else(|| panic!("{method} {target}: no answer"))
    }

    /// `None` where the connection ends before there is an answer.
    fn try_request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Reply> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: app.test\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            head += &format!("content-length: {}\r\n", body.len());
        }
        head += "\r\n";
        self.stream.get_mut().write_all(&[head.as_bytes(), body].concat()).ok()?;
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).ok().filter(|&read| read > 0)?;
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let status = lines[0].split(' ').nth(1)?.parse().ok()?;
        let headers = lines[1..].iter().filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        let mut reply = Reply { body: Vec::new(), cut: false, headers, status };
        let length = reply.header("content-length").map_or(0, |length| length.parse().expect("a length"));
        reply.body = vec![0; length];
        self.stream.read_exact(&mut reply.body).ok()?;
        Some(reply)
    }

    fn shown(&self) -> CertificateDer<'static> {
        self.stream.get_ref().conn.peer_certificates().expect("a chain")[0].clone().into_owned()
    }

    fn resumed(&self) -> bool {
        self.stream.get_ref().conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }
}

/// A gateway with a certificate for `app.test`; `more` stands in `tls`, `routes` below `routes`.
struct Site {
    authority: Authority,
    browser: Browser,
    gateway: Gateway,
    upstream: Upstream,
}

const EVERYTHING: &str = "  - { path: /**, access: public, upstream: app }\n";

impl Site {
    fn start(more: &str, routes: &str) -> Self {
        Self::start_with(more, routes, |_| {})
    }

    /// `prepare` puts further files into the folder of the configuration.
    fn start_with(more: &str, routes: &str, prepare: impl FnOnce(&Path)) -> Self {
        let authority = Authority::new("Test Root");
        let folder = tempfile::tempdir().expect("a folder");
        authority.server(&["app.test"]).write(folder.path(), "tls");
        prepare(folder.path());
        let upstream = Upstream::start();
        let gateway = Gateway::start_in(folder, &Self::yaml(more, routes, &upstream));
        Self { browser: Browser::believing(&authority), authority, gateway, upstream }
    }

    fn yaml(more: &str, routes: &str, upstream: &Upstream) -> String {
        format!(
            "public_url: https://app.test\ntls:\n  certificates: [{{ cert: tls.crt, key: tls.key }}]\n{more}\
             upstreams: {{ app: \"http://{}\" }}\nroutes:\n{routes}",
            upstream.address
        )
    }

    fn reload(&self) -> (bool, String) {
        let output = self.gateway.command(&["reload"], "");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// An address that nobody listens on; a moment later somebody may.
#[test]
fn a_name_chooses_the_certificate_and_whoever_names_none_gets_the_first() {
    let authority = Authority::new("Test Root");
    let folder = tempfile::tempdir().expect("a folder");
    let one = authority.server(&["one.test", "127.0.0.1"]);
    let wild = authority.server(&["*.two.test"]);
    let exact = authority.server(&["a.two.test"]);
    one.write(folder.path(), "one");
    wild.write(folder.path(), "wild");
    exact.write(folder.path(), "exact");
    let upstream = Upstream::start();
    let gateway = Gateway::start_in(
        folder,
        &format!(
            "tls:\n  certificates:\n    - {{ cert: one.crt, key: one.key }}\n    - {{ cert: wild.crt, key: wild.key }}\n    - {{ cert: exact.crt, key: exact.key }}\n\
             upstreams: {{ app: \"http://{}\" }}\nroutes:\n{EVERYTHING}",
            upstream.address
        ),
    );
    let browser = Browser::believing(&authority);
    for (name, expected) in
        [("one.test", &one), ("b.two.test", &wild), ("a.two.test", &exact), ("127.0.0.1", &one)]
    {
        let mut connection = browser.connect(gateway.address, name);
        assert!(connection.shown() == *expected.certificate.der(), "{name} got another one");
        assert_eq!(connection.request("GET", "/", &[], b"").status, 200);
    }
    // The first one, which is not for this name: the client minds.
    let error = browser.try_connect(gateway.address, "unknown.test").err().expect("it is refused");
    assert!(error.to_string().contains("not valid for name"), "{error}");
    // The scheme is known to the application, and to the cookie's name.
    assert!(upstream.last().contains("x-forwarded-proto: https"), "{}", upstream.last());
}

#[test]
fn tls_1_2_and_1_3_are_spoken_and_nothing_older() {
    let site = Site::start("", EVERYTHING);
    for (version, expected) in [
        (&rustls::version::TLS12, rustls::ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, rustls::ProtocolVersion::TLSv1_3),
    ] {
        let mut connection =
            Browser::with(&site.authority, None, &[version]).connect(site.gateway.address, "app.test");
        assert_eq!(connection.stream.get_ref().conn.protocol_version(), Some(expected));
        for _ in 0..2 {
            assert_eq!(connection.request("GET", "/", &[], b"").body, b"hello");
        }
    }
    // The order of the suites is ours, unless the client has no hardware for AES.
    for (first, expected) in [
        (CipherSuite::TLS13_AES_128_GCM_SHA256, CipherSuite::TLS13_AES_256_GCM_SHA384),
        (CipherSuite::TLS13_CHACHA20_POLY1305_SHA256, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
        (
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        ),
    ] {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        let is_1_3 = |suite: CipherSuite| suite.as_str().is_some_and(|name| name.starts_with("TLS13"));
        provider.cipher_suites.retain(|suite| is_1_3(suite.suite()) == is_1_3(first));
        provider.cipher_suites.sort_by_key(|suite| suite.suite() != first);
        let version = if is_1_3(first) { &rustls::version::TLS13 } else { &rustls::version::TLS12 };
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])
            .expect("versions")
            .with_root_certificates(site.authority.roots())
            .with_no_client_auth();
        let connection = Browser { config: Arc::new(config) }.connect(site.gateway.address, "app.test");
        let chosen = connection.stream.get_ref().conn.negotiated_cipher_suite().expect("one").suite();
        assert_eq!(chosen, expected, "{first:?} is the client's first");
    }
    for version in [[3, 0], [3, 1], [3, 2]] {
        // A ClientHello with one suite, no compression and no extension.
        let mut hello = vec![22, 3, 0, 0, 45, 1, 0, 0, 41, version[0], version[1]];
        hello.extend([7; 32]);
        hello.extend([0, 0, 2, 0xc0, 0x14, 1, 0]);
        let mut connection = Connection::to(site.gateway.address);
        connection.write(&hello);
        let answer = connection.read_to_end();
        // alert, fatal: protocol_version or handshake_failure
        assert_eq!((answer[0], answer[5]), (21, 2), "{version:?}: {answer:?}");
        assert!([70, 40].contains(&answer[6]), "{version:?}: {answer:?}");
    }
}

#[test]
fn a_new_certificate_is_shown_to_new_connections_and_a_wrong_key_changes_nothing() {
    let site = Site::start("", EVERYTHING);
    let folder = site.gateway.directory().to_owned();
    let mut early = site.browser.connect(site.gateway.address, "app.test");
    let before = early.shown();
    assert_eq!(early.request("GET", "/", &[], b"").status, 200);

    let second = site.authority.server(&["app.test"]);
    std::fs::write(folder.join("tls.key"), second.key.serialize_pem()).expect("it is written");
    let (done, told) = site.reload();
    assert!(!done && told.contains("foregate.yaml:6:40: "), "{told}");
    assert!(told.contains("the key is not that of the certificate"), "{told}");
    assert!(site.browser.connect(site.gateway.address, "app.test").shown() == before);

    // The other half: the change is seen without anybody saying so.
    std::fs::write(folder.join("tls.crt"), second.certificate.pem()).expect("it is written");
    wait_until(
        || site.browser.connect(site.gateway.address, "app.test").shown() == *second.certificate.der(),
        || format!("the new certificate is not shown:\n{}", site.gateway.log()),
    );
    assert_eq!(early.request("GET", "/", &[], b"").status, 200, "the old connection goes on");

    std::fs::remove_file(folder.join("tls.crt")).expect("it was there");
    let (done, told) = site.reload();
    assert!(!done && told.contains("there is no file"), "{told}");
    assert_eq!(site.browser.get(&site.gateway, "/", &[]).status, 200);
}

#[test]
fn a_session_is_resumed_across_reloads_until_tls_changes() {
    let clients = Authority::new("Clients");
    let site = Site::start_with("  client_ca: ca.pem\n", EVERYTHING, |folder| {
        std::fs::write(folder.join("ca.pem"), clients.pem()).expect("it is written");
    });
    let config = site.gateway.config.clone();
    let change = |text: &str| {
        let yaml = std::fs::read_to_string(&config).expect("it is there");
        std::fs::write(&config, yaml + text).expect("it is written");
        let (done, told) = site.reload();
        assert!(done, "{told}");
    };
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let browser = Browser::with(&site.authority, None, &[version]);
        let resumed = || {
            let mut connection = browser.connect(site.gateway.address, "app.test");
            // Tickets come with the first answer.
            assert_eq!(connection.request("GET", "/", &[], b"").status, 200);
            connection.resumed()
        };
        assert!(!resumed());
        assert!(resumed(), "{version:?}");
        change("log: { level: debug }\n");
        assert!(resumed(), "{version:?}: tls is as it was");
        let other = Authority::new("Clients");
        std::fs::write(site.gateway.directory().join("ca.pem"), other.pem()).expect("it is written");
        let yaml = std::fs::read_to_string(&config).expect("it is there");
        std::fs::write(&config, yaml.replace("log: { level: debug }\n", "")).expect("it is written");
        let (done, told) = site.reload();
        assert!(done, "{told}");
        assert!(!resumed(), "{version:?}: other authorities");
    }
}

/// Routes that ask for certificates in every way.
const CERTIFIED: &str = concat!(
    "  - { path: /any, access: public, require: { client_certificate: true }, upstream: app }\n",
    "  - { path: /subject, access: public, require: { client_certificate: { subjects: [\"CN=robot,O=Example\"] } }, upstream: app }\n",
    "  - { path: /name, access: public, require: { client_certificate: { sans: [\"*.fleet.test\"] } }, upstream: app }\n",
    "  - { path: /here, access: public, require: { networks: [127.0.0.0/8] }, upstream: app }\n",
    "  - { path: /elsewhere, access: public, require: { networks: [10.0.0.0/8] }, upstream: app }\n",
    "  - { path: /both, require: { client_certificate: true }, upstream: app }\n",
    "  - { path: /**, access: public, upstream: app }\n",
);

fn certified(clients: &Authority) -> Site {
    Site::start_with("  client_ca: ca.pem\n", CERTIFIED, |folder| {
        std::fs::write(folder.join("ca.pem"), clients.pem()).expect("it is written");
    })
}

#[test]
fn a_route_takes_the_client_certificates_that_it_requires() {
    let clients = Authority::new("Clients");
    let site = certified(&clients);
    let robot = clients.client("robot", |params| {
        params.subject_alt_names = vec![SanType::DnsName("r1.fleet.test".try_into().expect("text"))];
    });
    let other = clients.client("other", |params| {
        params.subject_alt_names = vec![SanType::DnsName("fleet.test".try_into().expect("text"))];
    });
    let robot = Browser::showing(&site.authority, &robot);
    let other = Browser::showing(&site.authority, &other);
    for (target, by_robot, by_other, by_nobody) in [
        ("/any", 200, 200, 403),
        ("/subject", 200, 403, 403),
        ("/name", 200, 403, 403),
        ("/here", 200, 200, 200),
        ("/elsewhere", 403, 403, 403),
        // Signing in is of use only to whoever has a certificate.
        ("/both", 401, 401, 403),
        ("/", 200, 200, 200),
    ] {
        for (who, browser, expected) in
            [("robot", &robot, by_robot), ("other", &other, by_other), ("nobody", &site.browser, by_nobody)]
        {
            let reply = browser.get(&site.gateway, target, &[]);
            assert_eq!(reply.status, expected, "{target} by {who}: {reply:?}");
        }
    }
    let reply = site.browser.get(&site.gateway, "/any", &[]);
    assert_eq!(reply.json()["code"], "client_certificate", "{reply:?}");
    // With both it passes, and without the certificate the session is of no use.
    site.gateway.add_user("alice", &[]);
    let body = serde_json::json!({ "username": "alice", "password": PASSWORD }).to_string();
    let json = [("content-type", "application/json")];
    let mut connection = robot.connect(site.gateway.address, "app.test");
    let reply = connection.request("POST", "/.auth/login", &json, body.as_bytes());
    let cookie = reply.cookie("__Host-foregate").unwrap_or_else(|| panic!("{reply:?}"));
    assert_eq!(connection.request("GET", "/both", &[("cookie", &cookie)], b"").status, 200);
    assert_eq!(site.browser.get(&site.gateway, "/both", &[("cookie", &cookie)]).status, 403);
    // A browser shows a certificate by itself: another site can't make use of it.
    let elsewhere = [("sec-fetch-site", "cross-site"), ("content-length", "0")];
    assert_eq!(connection.request("POST", "/any", &elsewhere, b"").status, 403);
    assert_eq!(connection.request("POST", "/any", &[("content-length", "0")], b"").status, 200);
    assert_eq!(connection.request("POST", "/here", &elsewhere, b"").status, 403, "nor of where it stands");
    assert_eq!(connection.request("POST", "/", &elsewhere, b"").status, 200, "public is public");
    // The answer to whoever asks without asking.
    let told = |arguments: &[&str]| {
        let output = site.gateway.command(&[&["explain", "GET"], arguments].concat(), "");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(told(&["/subject"]).contains("shows none of the required client certificates"));
    assert!(told(&["/subject", "--client-certificate", "CN=robot,O=Example"]).contains("decision: allow"));
    assert!(told(&["/any", "--client-certificate", "somebody"]).contains("decision: allow"));
    assert!(told(&["/subject", "--client-certificate", "somebody"]).contains("decision: forbidden"));
}

#[test]
fn a_certificate_that_is_not_good_gets_no_connection() {
    let clients = Authority::new("Clients");
    let site = certified(&clients);
    // Of the same name, and another.
    let stranger = Authority::new("Clients").client("robot", |_| {});
    let expired = clients.client("robot", |params| {
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    });
    let early = clients.client("robot", |params| params.not_before = date_time_ymd(4000, 1, 1));
    let server = clients.client("robot", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    for (what, bad) in
        [("unknown", &stranger), ("expired", &expired), ("early", &early), ("a server's", &server)]
    {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let browser = Browser::with(&site.authority, Some(bad), &[version]);
            // With 1.3 the client hears of it only behind its handshake.
            let reply = browser
                .try_connect(site.gateway.address, "app.test")
                .ok()
                .and_then(|mut connection| connection.try_request("GET", "/", &[], b""));
            assert!(reply.is_none(), "{what}, {version:?}: {reply:?}");
        }
    }
    assert_eq!(site.upstream.count(), 0);
    site.gateway.wait_for_log("a client's certificate was refused");
}

#[test]
fn what_is_told_of_a_certificate_comes_from_us_or_not_at_all() {
    let clients = Authority::new("Clients");
    let site = certified(&clients);
    let robot = clients.client("Zoë, the robot", |params| {
        params.subject_alt_names = vec![
            SanType::DnsName("r1.fleet.test".try_into().expect("text")),
            SanType::IpAddress("10.0.0.1".parse().expect("an address")),
        ];
    });
    let spoofed = [
        ("X-Client-Cert-Subject", "CN=root"),
        ("X_Client_Cert_San", "DNS:root"),
        ("X-Client-Cert-Issuer", "root"),
        ("Client-Cert", ":cm9vdA==:"),
        ("Client-Cert-Chain", ":cm9vdA==:"),
        ("X-SSL-Client-Verify", "SUCCESS-root"),
        ("SSL_CLIENT_S_DN", "root"),
    ];
    assert_eq!(site.browser.get(&site.gateway, "/", &spoofed).status, 200);
    let seen = site.upstream.last();
    assert!(!seen.contains("root") && !seen.to_lowercase().contains("cert"), "{seen}");
    let reply = Browser::showing(&site.authority, &robot).get(&site.gateway, "/", &spoofed);
    assert_eq!(reply.status, 200);
    let seen = site.upstream.last().to_lowercase();
    assert!(!seen.contains("root"), "{seen}");
    let fingerprint = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, robot.certificate.der());
    let fingerprint: String = fingerprint.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    for line in [
        "x-client-cert-subject: cn=zo%c3%ab\\, the robot,o=example",
        "x-client-cert-san: dns:r1.fleet.test,ip:10.0.0.1",
        &format!("x-client-cert-fingerprint: {fingerprint}"),
    ] {
        assert_eq!(seen.matches(&format!("{line}\r\n")).count(), 1, "{line}: {seen}");
    }

    // Names of one's own; and without TLS they are removed as well.
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("ca.pem"), clients.pem()).expect("it is written");
    site.authority.server(&["app.test"]).write(folder.path(), "tls");
    let more = "  client_ca: ca.pem\n  client_headers: { X-Robot: \"{common_name}/{serial}\", Whole: \"{certificate}\" }\n";
    let gateway = Gateway::start_in(folder, &Site::yaml(more, EVERYTHING, &site.upstream));
    let own = [("x-robot", "root"), ("x-client-cert-subject", "root")];
    assert_eq!(Browser::showing(&site.authority, &robot).get(&gateway, "/", &own).status, 200);
    let seen = site.upstream.last();
    assert!(seen.contains("x-robot: Zo%C3%AB, the robot/") && !seen.contains("root"), "{seen}");
    assert!(seen.contains("whole: :MII") && !seen.contains("x-client-cert"), "{seen}");
    assert_eq!(site.browser.get(&gateway, "/", &own).status, 200);
    assert!(!site.upstream.last().contains("x-robot"), "{}", site.upstream.last());
    let plain = Gateway::in_front_of(site.upstream.address, ", access: public");
    assert_eq!(plain.get("/", &spoofed).status, 200);
    assert!(!site.upstream.last().contains("root"), "{}", site.upstream.last());
}

#[test]
fn an_open_connection_loses_its_certificate_with_the_authority() {
    let clients = Authority::new("Clients");
    let site = certified(&clients);
    let robot = clients.client("robot", |_| {});
    let mut connection = Browser::showing(&site.authority, &robot).connect(site.gateway.address, "app.test");
    assert_eq!(connection.request("GET", "/any", &[], b"").status, 200);
    let ca = site.gateway.directory().join("ca.pem");
    // Another one beside it changes nothing for this client.
    let other = Authority::new("Other clients");
    for (pem, expected) in [(clients.pem() + &other.pem(), 200), (other.pem(), 403), (clients.pem(), 200)] {
        std::fs::write(&ca, pem).expect("it is written");
        let (done, told) = site.reload();
        assert!(done, "{told}");
        assert_eq!(connection.request("GET", "/any", &[], b"").status, expected);
    }
}

#[test]
fn a_trusted_proxy_does_not_lend_its_certificate_to_its_clients() {
    let clients = Authority::new("Clients");
    let site = Site::start_with("  client_ca: ca.pem\ntrusted_proxies: [127.0.0.1]\n", CERTIFIED, |folder| {
        std::fs::write(folder.join("ca.pem"), clients.pem()).expect("it is written");
    });
    let proxy = Browser::showing(&site.authority, &clients.client("proxy", |_| {}));
    assert_eq!(proxy.get(&site.gateway, "/any", &[]).status, 200, "it asks for itself");
    let speaking_for = [("x-forwarded-for", "192.0.2.1")];
    assert_eq!(proxy.get(&site.gateway, "/any", &speaking_for).status, 403);
    let asks = [("x-original-method", "GET"), ("x-original-url", "https://app.test/any")];
    let reply = proxy.get(&site.gateway, "/.auth/auth-request", &asks);
    assert_eq!(reply.status, 403, "{reply:?}");
}

#[test]
fn behind_a_proxy_header_the_certificate_is_the_clients_own() {
    let clients = Authority::new("Clients");
    let more = "  client_ca: ca.pem\ntrusted_proxies: [127.0.0.1]\nproxy_protocol: true\n";
    let site = Site::start_with(more, CERTIFIED, |folder| {
        std::fs::write(folder.join("ca.pem"), clients.pem()).expect("it is written");
    });
    let robot = Browser::showing(&site.authority, &clients.client("robot", |_| {}));
    let header = b"PROXY TCP4 192.0.2.7 127.0.0.1 40000 443\r\n";
    let connect = |browser: &Browser| {
        let connected = browser.try_connect_after(header, site.gateway.address, "app.test");
        connected.unwrap_or_else(|error| panic!("{error}"))
    };
    let forged = [("x-forwarded-for", "127.0.0.1")];
    assert_eq!(connect(&robot).request("GET", "/any", &forged, b"").status, 200);
    let seen = site.upstream.last();
    assert!(seen.contains("x-forwarded-for: 192.0.2.7\r\n"), "{seen}");
    assert!(seen.contains("x-forwarded-proto: https\r\n"), "{seen}");
    assert_eq!(connect(&site.browser).request("GET", "/any", &[], b"").status, 403);
    assert!(site.browser.try_connect(site.gateway.address, "app.test").is_err(), "without the header");
}

#[test]
fn a_plain_listener_sends_every_request_to_the_public_url() {
    let plain = free_address();
    let site = Site::start(
        &format!("  redirect_from: {plain}\nlimits: {{ header_bytes: 8KiB, header_timeout: 1s }}\n"),
        EVERYTHING,
    );
    let send = |bytes: &str| {
        let mut connection = Connection::to(plain);
        connection.write(bytes.as_bytes());
        connection.reply(bytes.starts_with("HEAD"))
    };
    for (method, target, host, location) in [
        ("GET", "/a?b=c%20d", "app.test", "https://app.test/a?b=c%20d"),
        ("HEAD", "/", "evil.test", "https://app.test/"),
        ("POST", "/form", "evil.test:81", "https://app.test/form"),
        ("GET", "//evil.test/x", "app.test", "https://app.test//evil.test/x"),
        ("GET", "http://evil.test/x", "evil.test", "https://app.test/x"),
        ("GET", "/.auth/healthz", "app.test", "https://app.test/.auth/healthz"),
    ] {
        let reply = send(&format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\n\r\n"));
        assert_eq!(reply.status, 308, "{method} {target}: {reply:?}");
        assert_eq!(reply.header("location"), Some(location), "{reply:?}");
        assert_eq!(reply.header("connection"), Some("close"), "{reply:?}");
        assert_eq!(reply.header("strict-transport-security"), None, "{reply:?}");
    }
    for (bytes, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET /%0a HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET @evil.test HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        (&format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(9000)), 431),
        // It takes too long.
        ("GET / HTTP/1.1\r\nhost: a\r\n", 408),
    ] {
        let reply = send(bytes);
        assert_eq!(reply.status, status, "{}: {reply:?}", &bytes[..bytes.len().min(60)]);
    }
    assert_eq!(site.upstream.count(), 0);
    let status = site.gateway.command(&["status"], "");
    let told = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(told.contains(&format!("{plain} (redirects)")), "{told}");
    // It goes with the key, and only it.
    let yaml = std::fs::read_to_string(&site.gateway.config).expect("it is there");
    let without = yaml.lines().filter(|line| !line.contains("redirect_from"));
    std::fs::write(&site.gateway.config, without.collect::<Vec<_>>().join("\n")).expect("it is written");
    assert!(site.reload().0);
    wait_until(|| TcpStream::connect(plain).is_err(), || "it is still listened on".to_owned());
    assert_eq!(site.browser.get(&site.gateway, "/", &[]).status, 200);
}

#[test]
fn two_addresses_can_change_their_parts() {
    let (plain, other) = (free_address(), free_address());
    let site = Site::start(&format!("  redirect_from: {plain}\nlisten: {other}\n"), EVERYTHING);
    let mut kept = site.browser.connect(other, "app.test");
    assert_eq!(kept.request("GET", "/", &[], b"").status, 200);
    let yaml = std::fs::read_to_string(&site.gateway.config).expect("it is there");
    let swapped = yaml.replace(&plain.to_string(), "@").replace(&other.to_string(), &plain.to_string());
    std::fs::write(&site.gateway.config, swapped.replace('@', &other.to_string())).expect("it is written");
    let (done, told) = site.reload();
    assert!(done, "{told}");
    let redirects = |address| {
        let mut connection = Connection::to(address);
        connection.write(b"GET / HTTP/1.1\r\nhost: app.test\r\n\r\n");
        connection.reply(false).status == 308
    };
    wait_until(|| redirects(other), || "the old door of the other part is still open".to_owned());
    assert!(!redirects(plain));
    assert_eq!(site.browser.connect(plain, "app.test").request("GET", "/", &[], b"").status, 200);
    assert_eq!(kept.request("GET", "/", &[], b"").status, 200, "what was open goes on");
}

#[test]
fn answers_over_tls_say_to_come_back_over_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("http.sock");
    let site =
        Site::start(&format!("listen: [\"127.0.0.1:0\", \"unix:{}\"]\n", socket.display()), EVERYTHING);
    for target in ["/", "/.auth/login", "/.auth/nowhere", "/%0a"] {
        let reply = site.browser.get(&site.gateway, target, &[]);
        assert_eq!(reply.all("strict-transport-security"), ["max-age=31536000"], "{target}: {reply:?}");
    }
    // A Unix socket is plain: another program ends TLS there.
    let mut stream = UnixStream::connect(&socket).expect("it is listened on");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\n\r\n").expect("it is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.contains("strict-transport"), "{answer}");

    let own = Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\nstrict-transport-security: max-age=5; includeSubDomains\r\ncontent-length: 0\r\n\r\n".to_vec()
    });
    let start = |more: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        site.authority.server(&["app.test"]).write(folder.path(), "tls");
        Gateway::start_in(folder, &Site::yaml(more, EVERYTHING, &own))
    };
    let reply = site.browser.get(&start("  hsts: 1h\n"), "/", &[]);
    assert_eq!(reply.all("strict-transport-security"), ["max-age=5; includeSubDomains"], "{reply:?}");
    let gateway = start("  hsts: 1h\n");
    let reply = site.browser.get(&gateway, "/.auth/login", &[]);
    assert_eq!(reply.all("strict-transport-security"), ["max-age=3600"], "{reply:?}");
    let reply = site.browser.get(&start("  hsts: 0\n"), "/.auth/login", &[]);
    assert_eq!(reply.header("strict-transport-security"), None, "{reply:?}");
}

#[test]
fn a_websocket_is_carried_and_told_to_go_at_the_stop() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let upstream = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the gateway connects");
        let mut request = BufReader::new(stream.try_clone().expect("the same, once more"));
        let mut line = String::new();
        while request.read_line(&mut line).expect("text") > 2 {
            line.clear();
        }
        let accepted =
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        stream.write_all(accepted).expect("it is taken");
        // What comes goes back.
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = request.read(&mut bytes) {
            stream.write_all(&bytes[..read]).expect("it is taken");
        }
    });
    let authority = Authority::new("Test Root");
    let folder = tempfile::tempdir().expect("a folder");
    authority.server(&["app.test"]).write(folder.path(), "tls");
    let mut gateway = Gateway::start_in(
        folder,
        &format!(
            "public_url: https://app.test\ntls: {{ certificates: [{{ cert: tls.crt, key: tls.key }}] }}\n\
             upstreams: {{ app: \"http://{upstream}\" }}\nroutes:\n{EVERYTHING}"
        ),
    );
    let mut connection = Browser::believing(&authority).connect(gateway.address, "app.test");
    let upgrade = [("connection", "upgrade"), ("upgrade", "websocket")];
    assert_eq!(connection.request("GET", "/", &upgrade, b"").status, 101);
    for size in [1, 200, 100_000] {
        let sent: Vec<u8> = (0..size).map(|at| at as u8).collect();
        let mut back = vec![0; size];
        for (sent, back) in sent.chunks(4096).zip(back.chunks_mut(4096)) {
            connection.stream.get_mut().write_all(sent).expect("it is taken");
            connection.stream.read_exact(back).expect("it comes back");
        }
        assert!(back == sent, "{size} bytes are others now");
    }
    gateway.signal("TERM");
    // Properly: with the end of TLS before the end of the connection.
    assert_eq!(connection.stream.read(&mut [0; 16]).ok(), Some(0));
    assert_eq!(gateway.wait(), Some(0));
}

#[test]
fn bodies_pass_unharmed_both_ways() {
    let body: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8 % 95 + 32).collect();
    let authority = Authority::new("Test Root");
    let folder = tempfile::tempdir().expect("a folder");
    authority.server(&["app.test"]).write(folder.path(), "tls");
    let upstream = Upstream::answering(|request| {
        let body = request.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    });
    let gateway = Gateway::start_in(folder, &Site::yaml("", EVERYTHING, &upstream));
    let mut connection = Browser::believing(&authority).connect(gateway.address, "app.test");
    for _ in 0..2 {
        let reply = connection.request("POST", "/", &[], &body);
        assert!(reply.status == 200 && reply.body == body, "{} {}", reply.status, reply.body.len());
    }
}

#[test]
fn whoever_does_not_finish_a_handshake_costs_the_others_nothing() {
    let site = Site::start("limits: { connections: 400, header_timeout: 5s }\n", EVERYTHING);
    let began = Instant::now();
    let mut silent: Vec<TcpStream> = Vec::new();
    // More than there are connections, from the silent and from those who begin.
    for at in 0..600 {
        let mut stream = TcpStream::connect(site.gateway.address).expect("it takes connections");
        if at % 2 == 0 {
            stream.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]).expect("it is taken");
        }
        silent.push(stream);
    }
    for _ in 0..20 {
        let asked = Instant::now();
        assert_eq!(site.browser.get(&site.gateway, "/", &[]).status, 200);
        assert!(asked.elapsed().as_secs() < 2, "it took {:?}", asked.elapsed());
    }
    assert!(began.elapsed().as_secs() < 5, "the test was too slow to say anything: {:?}", began.elapsed());
    // Those that had waited longest have gone; the youngest go when their time is over.
    let mut first = silent.remove(0);
    first.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    // On a thread that was slow it may have come as one too many: then it has heard an alert.
    let mut said = [0; 16];
    assert!(!matches!(first.read(&mut said), Ok(1..) if said[0] != 21), "no answer: {said:?}");
    let mut last = silent.pop().expect("there are more");
    last.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    assert!(!matches!(last.read(&mut [0; 16]), Ok(read) if read > 0), "no answer");
    assert!(began.elapsed().as_secs() >= 4, "its time was not over: {:?}", began.elapsed());
    wait_until(
        || {
            let status = site.gateway.command(&["status", "--json"], "");
            let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
            status["connections"] == 0
        },
        || "places were not given back".to_owned(),
    );
}

#[test]
fn every_handshake_is_counted_by_what_became_of_it() {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // Room for sixteen handshakes on each thread, and for more connections than are made.
    let limits = format!("{{ connections: {}, header_timeout: 1s }}", 64 * threads);
    let site = Site::start(&format!("admin: {{ listen: 127.0.0.1:0 }}\nlimits: {limits}\n"), EVERYTHING);
    let address = site.gateway.address;
    let counted = || {
        let mut connection = Connection::to(site.gateway.admin_address());
        connection.write(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let text = connection.reply(false).text();
        ["ok", "failed", "timed_out", "busy"].map(|outcome| {
            let row = format!("foregate_tls_handshakes_total{{outcome=\"{outcome}\"}} ");
            let value = text.lines().find_map(|line| line.strip_prefix(&row));
            value.and_then(|value| value.parse::<usize>().ok()).unwrap_or_else(|| panic!("no {row}in {text}"))
        })
    };
    let expect = |expected: [usize; 4]| {
        wait_until(|| counted() == expected, || format!("{:?} and not {expected:?}", counted()));
    };
    expect([0; 4]);
    // Looks whether the port is open, and begins none.
    drop(TcpStream::connect(address).expect("it takes connections"));
    for _ in 0..3 {
        assert_eq!(site.browser.get(&site.gateway, "/", &[]).status, 200);
    }
    expect([3, 0, 0, 0]);
    let stranger = Browser::believing(&Authority::new("Another Root"));
    assert!(stranger.try_connect(address, "app.test").is_err());
    assert_eq!(site.gateway.get("/", &[]).status, 400, "a plain request");
    let mut garbage = Connection::to(address);
    garbage.write(&[0xff; 64]);
    garbage.read_to_end();
    let mut broken = TcpStream::connect(address).expect("it takes connections");
    broken.write_all(&[22, 3, 1, 2, 0, 1]).expect("it is taken");
    drop(broken);
    expect([3, 4, 0, 0]);
    let silent = TcpStream::connect(address).expect("it takes connections");
    expect([3, 4, 1, 0]);
    drop(silent);

    let many: Vec<_> =
        (0..24 * threads).map(|_| TcpStream::connect(address).expect("it takes connections")).collect();
    let all = || counted()[2..].iter().sum::<usize>() == 1 + many.len();
    wait_until(all, || format!("{:?} for {} that are silent", counted(), many.len()));
    let [ok, failed, _, busy] = counted();
    assert_eq!((ok, failed), (3, 4));
    // However the kernel has spread them over the threads.
    assert!((8 * threads..=many.len() - 16).contains(&busy), "{busy} of {}", many.len());
}

#[test]
fn what_is_no_tls_gets_an_answer_it_can_read_or_none() {
    let site = Site::start("", EVERYTHING);
    let reply = site.gateway.get("/", &[]);
    assert_eq!((reply.status, reply.cut), (400, false), "{reply:?}");
    assert!(reply.text().contains("This port speaks TLS"), "{reply:?}");
    for bytes in [
        &b"\x16\x03\x01\x00\x05hello"[..],
        b"\x16\x03\x01\xff\xff",
        b"\x80\x2e\x01\x03\x01",
        b"\x00\x00\x00\x00",
        b"\r\n\r\n",
        &[0xff; 4096],
    ] {
        let mut connection = Connection::to(site.gateway.address);
        connection.write(bytes);
        if bytes.ends_with(b"\xff\xff") && bytes.len() == 5 {
            continue;
        }
        let answer = connection.read_to_end();
        assert!(answer.is_empty() || answer[0] == 21, "{bytes:?}: {answer:?}");
    }
    assert_eq!(site.browser.get(&site.gateway, "/", &[]).status, 200);
    assert!(!site.gateway.log().contains("panicked"), "{}", site.gateway.log());
}

#[test]
fn a_connection_beyond_the_limit_hears_so_in_tls_as_well() {
    let site = Site::start("limits: { connections: 1 }\n", EVERYTHING);
    let mut kept = site.browser.connect(site.gateway.address, "app.test");
    assert_eq!(kept.request("GET", "/", &[], b"").status, 200);
    let error = site.browser.try_connect(site.gateway.address, "app.test").err().expect("it is turned away");
    assert!(error.to_string().contains("InternalError"), "{error}");
    assert_eq!(kept.request("GET", "/", &[], b"").status, 200);
}

#[test]
fn a_key_never_shows_in_the_log_or_the_store() {
    let site = Site::start("log: { level: trace }\n", EVERYTHING);
    assert_eq!(site.browser.get(&site.gateway, "/", &[]).status, 200);
    let key = std::fs::read_to_string(site.gateway.directory().join("tls.key")).expect("it is there");
    let secret = key.lines().nth(1).expect("its first line").to_owned();
    assert!(!site.gateway.log().contains(&secret[..32]));
}
