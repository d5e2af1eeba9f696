//! TLS to servers: whom to trust, as whom to come, and what went wrong.
//!
//! One client configuration serves an upstream on all threads, so that sessions are resumed. It is
//! made when the configuration is read; two are equal if they hold the same certificates and keys,
//! not if they name the same files.
//!
//! Callers: `config` builds; `proxy::connect` shakes hands. No file is read here.

use std::fmt;
use std::io;
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::prelude::{FromDer as _, X509Certificate};

const ALPN_HTTP1: &[u8] = b"http/1.1";
const ALPN_HTTP2: &[u8] = b"h2";

/// The certificates that may vouch for a server.
#[derive(Clone, Debug)]
pub struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
    /// The operator named each of them, as a server's own certificate it may be.
    named: bool,
}

/// A certificate to show to servers, and its key.
pub struct ClientIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// What is wrong with certificates and keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidTls {
    /// A certificate that can't be read as one.
    #[error("holds a certificate that can't be read")]
    Certificate,
    /// A private key of a kind that can't be used.
    #[error("holds a private key that can't be used")]
    Key,
    /// The key is another one's.
    #[error("holds a private key that does not match the certificate")]
    Mismatch,
    /// No `BEGIN CERTIFICATE` in it.
    #[error("holds no PEM certificate")]
    NoCertificate,
    /// No `BEGIN PRIVATE KEY` in it.
    #[error("holds no PEM private key")]
    NoKey,
}

impl Authorities {
    /// All certificates of a PEM file, at least one.
    pub fn from_pem(pem: &[u8]) -> Result<Self, InvalidTls> {
        let certificates = certificates(pem)?;
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            store.add(certificate.clone()).map_err(|_| InvalidTls::Certificate)?;
        }
        Ok(Self { certificates, named: true })
    }

    /// Those that the system trusts; `None` where it has none.
    pub fn of_the_system() -> Option<Self> {
        let found = rustls_native_certs::load_native_certs().certs;
        let mut store = RootCertStore::empty();
        // Systems carry old certificates that are no certificates by today's rules.
        let certificates: Vec<_> = found.into_iter().filter(|one| store.add(one.clone()).is_ok()).collect();
        (!certificates.is_empty()).then_some(Self { certificates, named: false })
    }
}

impl ClientIdentity {
    /// From the PEM file of a certificate, which its intermediates may follow, and that of its key.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, InvalidIdentity> {
        let chain = certificates(certificate).map_err(InvalidIdentity::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| InvalidIdentity::Key(InvalidTls::NoKey))?;
        let matching = rustls::sign::CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider());
        matching.map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => InvalidIdentity::Key(InvalidTls::Mismatch),
            rustls::Error::InvalidCertificate(_) => InvalidIdentity::Certificate(InvalidTls::Certificate),
            _ => InvalidIdentity::Key(InvalidTls::Key),
        })?;
        Ok(Self { chain, key })
    }
}

/// Which of the two files is wrong, and how.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InvalidIdentity {
    /// The certificate's.
    Certificate(InvalidTls),
    /// The key's.
    Key(InvalidTls),
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientIdentity")
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, InvalidTls> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(none) if none.is_empty() => Err(InvalidTls::NoCertificate),
        Ok(some) => Ok(some),
        Err(_) => Err(InvalidTls::Certificate),
    }
}

fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

/// How an upstream's servers are spoken to over TLS.
#[derive(Clone)]
pub struct UpstreamTls {
    /// Offers HTTP/1.1 alone: for what has to be upgraded.
    http1: Arc<ClientConfig>,
    /// Offers what the upstream is to be spoken to in.
    offered: Arc<ClientConfig>,
    /// A digest of everything that went into it.
    seal: [u8; 32],
    /// In place of the name in a server's address.
    server_name: Option<ServerName<'static>>,
}

impl UpstreamTls {
    /// `http2` is whether HTTP/2 is offered.
    pub fn new(
        authorities: &Authorities,
        identity: Option<&ClientIdentity>,
        server_name: Option<ServerName<'static>>,
        http2: bool,
    ) -> Result<Self, InvalidTls> {
        let provider = Arc::new(provider());
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities.certificates.iter().cloned());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
        let verifier = verifier.map_err(|_| InvalidTls::Certificate)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|_| InvalidTls::Certificate)?;
        let builder = match authorities.named {
            true => builder.dangerous().with_custom_certificate_verifier(Arc::new(NamedCertificates {
                certificates: authorities.certificates.clone(),
                verifier,
            })),
            false => builder.with_webpki_verifier(verifier),
        };
        let mut http1 = match identity {
            Some(ClientIdentity { chain, key }) => builder
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(|_| InvalidTls::Mismatch)?,
            None => builder.with_no_client_auth(),
        };
        http1.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
        let mut offered = http1.clone();
        if http2 {
            offered.alpn_protocols.insert(0, ALPN_HTTP2.to_vec());
        }
        let seal = seal(authorities, identity, server_name.as_ref(), http2);
        Ok(Self { http1: Arc::new(http1), offered: Arc::new(offered), seal, server_name })
    }

    /// For another client than ours: HTTP/1.1 over TLS with the same trust.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.http1)
    }

    /// A digest of everything that went into it: two that are equal trust the same, and come as the same.
    pub fn seal(&self) -> [u8; 32] {
        self.seal
    }

    /// Shakes hands with a server that is known as `host`.
    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
        host: &str,
        to_upgrade: bool,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => server_name(host).ok_or(io::ErrorKind::InvalidInput)?,
        };
        let config = if to_upgrade { &self.http1 } else { &self.offered };
        let connecting = TlsConnector::from(Arc::clone(config)).connect(name, stream);
        connecting.await.map_err(|error| explained(error, host))
    }
}

/// A host as certificates name it; an IPv6 address comes without brackets.
pub fn server_name(host: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(host.to_owned()).ok()
}

/// Whether both sides agreed on HTTP/2.
pub(crate) fn speaks_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2)
}

impl PartialEq for UpstreamTls {
    fn eq(&self, other: &Self) -> bool {
        self.seal == other.seal
    }
}

impl Eq for UpstreamTls {}

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// Verifies as usual, and takes a server's certificate that is itself among those in `tls.ca`.
///
/// Backends often have a certificate that `openssl req -x509` made. That is its own authority, which
/// no chain may end in by the rules, while the operator could not have said more clearly whom to trust.
#[derive(Debug)]
struct NamedCertificates {
    certificates: Vec<CertificateDer<'static>>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl NamedCertificates {
    /// The name and the dates are looked at all the same.
    fn verify_named(
        &self,
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        rustls::client::verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
        let encoding = |_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding);
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(encoding)?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let validity = parsed.validity();
        if now < validity.not_before.timestamp() {
            return Err(CertificateError::NotValidYet.into());
        }
        if now > validity.not_after.timestamp() {
            return Err(CertificateError::Expired.into());
        }
        Ok(ServerCertVerified::assertion())
    }
}

impl ServerCertVerifier for NamedCertificates {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.certificates.contains(certificate) {
            return self.verify_named(certificate, name, now);
        }
        self.verifier.verify_server_cert(certificate, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

fn seal(
    authorities: &Authorities,
    identity: Option<&ClientIdentity>,
    server_name: Option<&ServerName<'_>>,
    http2: bool,
) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    // Each with its kind and length in front, so that no two lists read the same.
    let mut add = |kind: u8, bytes: &[u8]| {
        context.update(&[kind]);
        context.update(&(bytes.len() as u64).to_be_bytes());
        context.update(bytes);
    };
    authorities.certificates.iter().for_each(|authority| add(0, authority));
    if let Some(ClientIdentity { chain, key }) = identity {
        chain.iter().for_each(|certificate| add(1, certificate));
        add(2, key.secret_der());
    }
    if let Some(name) = server_name {
        add(3, name.to_str().as_bytes());
    }
    add(4, &[u8::from(http2)]);
    let mut seal = [0; 32];
    seal.copy_from_slice(context.finish().as_ref());
    seal
}

/// Says in the operator's words why the hands were not shaken.
fn explained(error: io::Error, host: &str) -> io::Error {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    let told = match cause {
        Some(rustls::Error::InvalidCertificate(fault)) => match fault {
            CertificateError::UnknownIssuer => {
                "its certificate is of an unknown issuer: name the authority in the upstream's `tls.ca`"
                    .to_owned()
            }
            CertificateError::BadSignature => {
                "its certificate is signed by another key than the authority's of that name".to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!("its certificate has expired ({fault})")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("its certificate is for another name ({fault})")
            }
            // The verifier's own words for it come without a type.
            other if other.to_string().contains("CaUsedAsEndEntity") => {
                "its certificate is its own authority: name it in the upstream's `tls.ca`".to_owned()
            }
            other => format!("its certificate can't be trusted: {other}"),
        },
        Some(other) => other.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "it closed in the middle".to_owned(),
        None => error.to_string(),
    };
    io::Error::new(error.kind(), format!("the TLS handshake with {host} failed: {told}"))
}
