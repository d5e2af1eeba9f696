//! TLS towards clients: the handshake, and what a connection has shown in it.
//!
//! One `Tls` belongs to one configuration. All names have the same rules, client certificates among them, so a
//! `Host` that isn't the name of the handshake gets nowhere that the name would not. What a client showed holds for
//! as long as the settings under which it was verified; after a reload it is verified anew.
//!
//! Callers: `gateway::rooms` builds, `gateway::connection` greets with it. The bound on handshakes is in
//! `tls/handshakes.rs`, the choice of a certificate in `tls/resolver.rs`.

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{Acceptor, NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, CipherSuite, Error, ServerConfig};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tracing::Level;

mod handshakes;
mod resolver;

pub(super) use handshakes::Handshakes;

use handshakes::Crowded;
use resolver::Resolver;

use super::opening::Protocol;
use super::thread::Thread;
use crate::config::{ClientCa, TlsSettings};
use crate::identity::Certificate;
use crate::request::{ClientCertificate, Scheme};
use crate::telemetry::Ration;
use crate::telemetry::metrics::Handshake;

/// What is spoken inside, the first choice first (RFC 7301). Whoever names none of them gets no connection.
const PROTOCOLS: [&[u8]; 2] = [HTTP2, b"http/1.1"];
const HTTP2: &[u8] = b"h2";

/// What every TLS message of a client begins with until it is encrypted (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

/// `internal_error` (RFC 8446 §6), for whoever is turned away without a handshake.
pub(super) const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

/// A connection over TLS.
pub(super) type TlsStream = tokio_rustls::server::TlsStream<TcpStream>;

/// Why TLS can't be spoken with a configuration that was checked.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The authorities of clients.
    #[error("`tls.client_ca` can't be used: {0}")]
    ClientCa(#[from] VerifierBuilderError),
    /// The library.
    #[error("TLS can't be set up: {0}")]
    Library(#[from] Error),
}

/// Everything that handshakes need under one configuration.
pub(super) struct Tls {
    configs: Configs,
    hsts: Option<HeaderValue>,
    settings: TlsSettings,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

/// One configuration of the library, for two kinds of clients.
#[derive(Clone)]
struct Configs {
    /// Takes the first of our suites that the client has.
    ours: Arc<ServerConfig>,
    /// Takes the first of the client's suites, where that is ChaCha20: it has no hardware for AES.
    theirs: Arc<ServerConfig>,
}

impl Configs {
    fn of(mut config: ServerConfig) -> Self {
        let theirs = Arc::new(config.clone());
        config.ignore_client_order = true;
        Self { ours: Arc::new(config), theirs }
    }

    fn choose(&self, offered: &[CipherSuite]) -> &Arc<ServerConfig> {
        let known = |suite: &&CipherSuite| {
            self.ours.crypto_provider().cipher_suites.iter().any(|own| own.suite() == **suite)
        };
        match offered.iter().find(known) {
            Some(
                CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
            ) => &self.theirs,
            Some(_) | None => &self.ours,
        }
    }
}

impl Tls {
    /// What takes the place of `old`; the same where nothing has changed.
    pub(super) fn renewed(
        old: Option<&Arc<Self>>,
        settings: Option<&TlsSettings>,
    ) -> Result<Option<Arc<Self>>, TlsError> {
        let Some(settings) = settings else { return Ok(None) };
        match old {
            Some(old) if old.settings == *settings => Ok(Some(Arc::clone(old))),
            old => Self::new(old.map(Arc::as_ref), settings).map(Arc::new).map(Some),
        }
    }

    fn new(old: Option<&Self>, settings: &TlsSettings) -> Result<Self, TlsError> {
        let same = |old: &&Self| {
            old.settings.certificates == settings.certificates && old.settings.client_ca == settings.client_ca
        };
        let (configs, verifier) = match old.filter(same) {
            // With it go the keys of its tickets: clients resume.
            Some(old) => (old.configs.clone(), old.verifier.clone()),
            None => {
                let verifier = settings.client_ca.as_ref().map(verifier).transpose()?;
                (Configs::of(server_config(settings, verifier.clone())?), verifier)
            }
        };
        let hsts = settings.hsts.map(|age| format!("max-age={}", age.as_secs()));
        let hsts = hsts.and_then(|text| HeaderValue::try_from(text).ok());
        Ok(Self { configs, hsts, settings: settings.clone(), verifier })
    }

    /// `Strict-Transport-Security`, for answers that went over TLS (RFC 6797 §7.2).
    pub(super) fn hsts(&self) -> Option<&HeaderValue> {
        self.hsts.as_ref()
    }

    /// What is told and asked of a certificate that TLS has verified.
    fn read(&self, leaf: &CertificateDer<'_>) -> Option<Arc<ClientCertificate>> {
        let certificate = Certificate::read(leaf).ok()?;
        let headers = self.settings.client_headers.values(&certificate);
        Some(Arc::new(ClientCertificate { certificate, headers }))
    }

    /// As `read`, of one that was verified under another configuration.
    fn verify(&self, chain: &[CertificateDer<'_>], now: SystemTime) -> Option<Arc<ClientCertificate>> {
        let (leaf, others) = chain.split_first()?;
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let now = UnixTime::since_unix_epoch(since_epoch);
        self.verifier.as_ref()?.verify_client_cert(leaf, others, now).ok()?;
        self.read(leaf)
    }
}

fn server_config(
    settings: &TlsSettings,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(Resolver::new(&settings.certificates)));
    config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
    // Every configuration has its own keys: a session that was begun under other authorities is not resumed.
    config.ticketer = Ticketer::new()?;
    // Sessions are in the tickets; a memory of them would be a lock for all threads.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// Whoever shows nothing comes in, too: routes decide. Whoever shows a bad certificate doesn't.
fn verifier(authorities: &ClientCa) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
    let provider = Arc::new(default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::clone(&authorities.roots), provider)
        .allow_unauthenticated()
        .build()
}

/// The other end of a connection.
pub(super) struct Client {
    pub(super) address: IpAddr,
    pub(super) scheme: Scheme,
    shown: Option<Shown>,
}

/// The certificates that a client has shown, and what they amount to under one configuration.
struct Shown {
    chain: Vec<CertificateDer<'static>>,
    under: RefCell<(Arc<Tls>, Option<Arc<ClientCertificate>>)>,
}

impl Client {
    /// On a plain connection.
    pub(super) fn plain(address: IpAddr) -> Self {
        Self { address, scheme: Scheme::Http, shown: None }
    }

    /// What it has shown, if that is good now and under this configuration.
    pub(super) fn certificate(
        &self,
        tls: Option<&Arc<Tls>>,
        now: SystemTime,
    ) -> Option<Arc<ClientCertificate>> {
        let (shown, tls) = (self.shown.as_ref()?, tls?);
        let mut under = shown.under.borrow_mut();
        if !Arc::ptr_eq(&under.0, tls) {
            *under = (Arc::clone(tls), tls.verify(&shown.chain, now));
        }
        // A connection may outlive its certificate.
        under.1.clone().filter(|client| client.certificate.is_valid_at(now))
    }
}

/// What came of a greeting.
pub(super) enum Greeting {
    /// It speaks TLS.
    Established(Box<TlsStream>, Client),
    /// It sent a plain request, which can be told so.
    Plain(TcpStream),
    /// It left without a word, like a load balancer that looks whether the port is open.
    Gone,
    /// It is too slow, went away in the middle, or speaks something else.
    Failed,
}

impl Greeting {
    /// What is counted; nothing where no handshake was begun.
    fn outcome(&self) -> Option<Handshake> {
        match self {
            Self::Established(..) => Some(Handshake::Ok),
            Self::Plain(_) | Self::Failed => Some(Handshake::Failed),
            Self::Gone => None,
        }
    }
}

/// The handshake, within a bound on its time.
pub(super) async fn greet(
    tls: Arc<Tls>,
    stream: TcpStream,
    address: IpAddr,
    thread: &Thread,
    patience: Duration,
) -> Greeting {
    let (greeting, outcome) =
        match timeout(patience, handshake(tls, stream, address, &thread.handshakes)).await {
            Ok(Ok(greeting)) => {
                let outcome = greeting.outcome();
                (greeting, outcome)
            }
            Ok(Err(error)) => (Greeting::Failed, Some(tell_of_failure(address, &error))),
            Err(_) => {
                tracing::debug!(peer.address = %address, "a handshake did not end in time");
                (Greeting::Failed, Some(Handshake::TimedOut))
            }
        };
    if let Some(outcome) = outcome {
        thread.metrics().handshake(outcome);
    }
    greeting
}

/// Most are scanners. What an operator of client certificates looks for is told apart.
fn tell_of_failure(address: IpAddr, error: &io::Error) -> Handshake {
    let cause = error.get_ref();
    match cause.and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(why)) => tell_of_certificate(address, why),
        Some(_) | None => tracing::debug!(%error, peer.address = %address, "a handshake failed"),
    }
    if cause.is_some_and(|inner| inner.is::<Crowded>()) { Handshake::Busy } else { Handshake::Failed }
}

fn tell_of_certificate(address: IpAddr, why: &CertificateError) {
    static TOLD: Ration = Ration::new(Level::INFO, "a client's certificate was refused");
    if !TOLD.allows() {
        return;
    }
    tracing::info!(error = %why, peer.address = %address, "a client's certificate was refused");
}

/// What was agreed on. A client that doesn't ask may speak either, as on a plain connection.
pub(super) fn agreed(stream: &TlsStream) -> Protocol {
    match stream.get_ref().1.alpn_protocol() {
        Some(HTTP2) => Protocol::Http2,
        Some(_) => Protocol::Http1,
        None => Protocol::Sniff,
    }
}

async fn handshake(
    tls: Arc<Tls>,
    stream: TcpStream,
    address: IpAddr,
    handshakes: &Handshakes,
) -> io::Result<Greeting> {
    let hello = handshakes.waiting(async {
        let mut first = [0];
        // Reset before its first byte, it is gone like one that was closed.
        let read = stream.peek(&mut first).await.unwrap_or(0);
        Ok((read > 0).then_some(first[0]))
    });
    match hello.await? {
        Some(HANDSHAKE) => {}
        Some(first) if first.is_ascii_alphabetic() => return Ok(Greeting::Plain(stream)),
        Some(_) => return Ok(Greeting::Failed),
        None => return Ok(Greeting::Gone),
    }
    let start = handshakes.waiting(LazyConfigAcceptor::new(Acceptor::default(), stream)).await?;
    let config = Arc::clone(tls.configs.choose(start.client_hello().cipher_suites()));
    let finishing = handshakes.in_turn(|| start.into_stream(config)).await;
    let stream = handshakes.waiting(finishing).await?;
    let chain =
        stream.get_ref().1.peer_certificates().map(|chain| {
            chain.iter().map(|certificate| certificate.clone().into_owned()).collect::<Vec<_>>()
        });
    let shown = chain.filter(|chain| !chain.is_empty()).map(|chain| {
        let read = tls.read(&chain[0]);
        Shown { chain, under: RefCell::new((tls, read)) }
    });
    Ok(Greeting::Established(Box::new(stream), Client { address, scheme: Scheme::Https, shown }))
}
