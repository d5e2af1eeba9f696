//! `tls`: certificates with their keys, whose client certificates are believed, and what comes with TLS.
//!
//! All files are read and held to each other here, so that what is in a `TlsSettings` can be served.
//!
//! Callers: `config`. The handshake is `gateway::tls`'s.

use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderName;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use zeroize::Zeroizing;

use super::fault::{nearest, quote};
use super::headers::{self, Seen};
use super::reader::{Section, Value};
use super::units::{Expected, Listen, ListenAddress, duration_or_zero};
use crate::identity::Certificate;
use crate::identity::certificate::AlternativeName;
use crate::proxy::headers::certificate::CertificateTemplate;
use crate::proxy::headers::{CertificateHeaders, names};
use crate::request::Origin;

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const CERTIFICATES: &str = "expected a list such as `- { cert: tls.crt, key: tls.key }`";
const CERT: &str = "expected a file with the certificate and its chain in PEM, such as `tls.crt`";
const KEY: &str = "expected a file with the private key in PEM, such as `tls.key`";

/// How clients are served over TLS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsSettings {
    /// At least one; the first is for whoever asks for no name, or for one that none has.
    pub certificates: Vec<ServerCertificate>,
    /// Whose client certificates are believed; `None`: none is asked for.
    pub client_ca: Option<ClientCa>,
    /// What upstreams are told of a client's certificate.
    pub client_headers: Arc<CertificateHeaders>,
    /// For how long browsers are told to come by https alone; `None`: they are told nothing.
    pub hsts: Option<Duration>,
    /// Where plain requests are sent to `public_url`.
    pub redirect_from: Vec<ListenAddress>,
}

/// A certificate of ours with its key, which is known to belong to it.
#[derive(Clone)]
pub struct ServerCertificate {
    /// Whom it is for.
    pub certificate: Certificate,
    /// The chain, and what signs.
    pub key: Arc<CertifiedKey>,
}

/// The authorities that issue client certificates.
#[derive(Clone)]
pub struct ClientCa {
    certificates: Vec<CertificateDer<'static>>,
    /// At least one.
    pub roots: Arc<RootCertStore>,
}

/// The key is known to belong to the certificate: the same chain is the same in all.
impl PartialEq for ServerCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }
}

impl Eq for ServerCertificate {}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerCertificate({})", self.certificate.subject)
    }
}

impl PartialEq for ClientCa {
    fn eq(&self, other: &Self) -> bool {
        self.certificates == other.certificates
    }
}

impl Eq for ClientCa {}

impl fmt::Debug for ClientCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientCa({})", self.certificates.len())
    }
}

/// What stands at `tls`.
pub(super) fn read(value: &Value<'_>, listen: &[Listen], public_url: Option<&Origin>) -> TlsSettings {
    value.section(|tls| {
        let certificates = certificates(tls, public_url);
        let client_ca = tls.get("client_ca").and_then(|value| client_ca(&value));
        let client_headers = tls.get("client_headers").map(|map| client_headers(&map));
        let redirect_from = tls.get("redirect_from").map(|value| redirect_from(&value, listen));
        let hsts = tls.get("hsts").and_then(|value| value.parse(duration_or_zero)).unwrap_or(YEAR);
        if !listen.is_empty() && listen.iter().all(|listen| matches!(listen, Listen::Unix { .. })) {
            let warning = value.fault_of_key("`tls` is of no use: only Unix sockets are listened on");
            let help = "they speak plain HTTP, for another program ends TLS there";
            value.reader().warn(warning.help(help));
        }
        TlsSettings {
            certificates,
            client_ca,
            client_headers: Arc::new(client_headers.unwrap_or_else(default_headers)),
            hsts: Some(hsts).filter(|hsts| !hsts.is_zero()),
            redirect_from: redirect_from.unwrap_or_default(),
        }
    })
}

fn certificates(tls: &mut Section<'_>, public_url: Option<&Origin>) -> Vec<ServerCertificate> {
    let Some(list) = tls.require("certificates", CERTIFICATES) else { return Vec::new() };
    let values = list.list_of_some(CERTIFICATES);
    let read = values.iter().filter_map(|value| Some((value.section(pair)?, value)));
    let read: Vec<(ServerCertificate, &Value<'_>)> = read.collect();
    for (at, (one, value)) in read.iter().enumerate() {
        if let Some((name, first)) = shared_name(one, &read[..at]) {
            let message =
                format!("an earlier certificate is for `{}`, too, and is shown for it", quote(&name));
            let fault = value.fault(message).help("remove one of them, or have one by RSA and one by ECDSA");
            value.reader().warn(first.relate(fault, "the earlier one"));
        }
    }
    let host = public_url.map(Origin::host).filter(|_| read.len() == values.len());
    if let Some(host) = host.filter(|host| !read.iter().any(|(one, _)| one.certificate.covers(host))) {
        let warning = list.fault(format!("no certificate is for `{host}`, the host of `public_url`"));
        list.reader().warn(warning.help("browsers will refuse to open it"));
    }
    read.into_iter().map(|(one, _)| one).collect()
}

/// A name that an earlier certificate has, where nothing else tells which of the two a client gets.
fn shared_name<'v, 'a>(
    one: &ServerCertificate,
    earlier: &[(ServerCertificate, &'v Value<'a>)],
) -> Option<(String, &'v Value<'a>)> {
    let names = |one: &ServerCertificate| one.certificate.alternative_names.clone();
    names(one).into_iter().find_map(|name| {
        let AlternativeName::Dns(text) = &name else { return None };
        let first = earlier.iter().find(|(first, _)| {
            first.key.key.algorithm() == one.key.key.algorithm() && names(first).contains(&name)
        });
        first.map(|(_, value)| (text.clone(), *value))
    })
}

/// `{ cert: FILE, key: FILE }`
fn pair(section: &mut Section<'_>) -> Option<ServerCertificate> {
    let cert_value = section.require("cert", CERT);
    let key_value = section.require("key", KEY);
    let chain = cert_value.and_then(|value| chain(&value, CERT));
    let key = key_value.and_then(|value| private_key(&value));
    let (chain, cert_value, key, key_value) = (chain?, cert_value?, key?, key_value?);
    let certificate = Certificate::read(chain.first()?).ok()?;
    warn_of_dates(&certificate, &cert_value);
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    match CertifiedKey::from_der(chain, key, &provider) {
        Ok(key) => Some(ServerCertificate { certificate, key: Arc::new(key) }),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            let fault = key_value.fault("the key is not that of the certificate");
            let fault = fault.help(format!("the certificate is for {}", quote(&whom(&certificate))));
            key_value.reader().add(cert_value.relate(fault, "the certificate"));
            None
        }
        Err(error) => {
            let fault = key_value.fault(format!("this certificate and key can't be used: {error}"));
            let help = "expected a key by ECDSA (P-256, P-384, P-521), Ed25519 or RSA (2048 to 8192 bits)";
            key_value.reader().add(fault.help(help));
            None
        }
    }
}

fn whom(certificate: &Certificate) -> String {
    let names: Vec<String> = certificate.alternative_names.iter().map(ToString::to_string).collect();
    if names.is_empty() { certificate.subject.clone() } else { names.join(", ") }
}

/// The certificates of a file, each of which can be read.
pub(super) fn chain(value: &Value<'_>, expected: &str) -> Option<Vec<CertificateDer<'static>>> {
    let (path, bytes) = file(value, expected)?;
    let shown = shown(&path);
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&bytes).collect();
    let sound = |found: &Vec<CertificateDer<'_>>| found.iter().all(|one| Certificate::read(one).is_ok());
    let message = match found {
        Ok(found) if found.is_empty() && holds(&bytes, "PRIVATE KEY-----") => {
            format!("{shown} holds a key and no certificate")
        }
        Ok(found) if found.is_empty() => format!("{shown} holds no certificate"),
        Ok(found) if sound(&found) => return Some(found),
        Ok(_) => format!("{shown} holds something else in place of an X.509 certificate"),
        Err(_) => format!("{shown} is damaged: what is in it is no PEM"),
    };
    value.reader().add(value.fault(message).help(expected));
    None
}

fn private_key(value: &Value<'_>) -> Option<PrivateKeyDer<'static>> {
    let (path, bytes) = file(value, KEY)?;
    let shown = shown(&path);
    let refuse = |message: String, help: String| value.reader().add(value.fault(message).help(help));
    if holds(&bytes, "-----BEGIN ENCRYPTED PRIVATE KEY") || holds(&bytes, "Proc-Type: 4,ENCRYPTED") {
        let help = "expected a key without a passphrase, which `openssl pkey -in FILE -out PLAIN` makes";
        refuse(format!("the key in {shown} is encrypted"), help.to_owned());
        return None;
    }
    warn_of_readers(value, &path);
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => Some(key),
        Err(pem::Error::NoItemsFound) if holds(&bytes, "-----BEGIN CERTIFICATE-----") => {
            refuse(format!("{shown} holds a certificate and no private key"), KEY.to_owned());
            None
        }
        Err(pem::Error::NoItemsFound) => {
            refuse(format!("{shown} holds no private key"), KEY.to_owned());
            None
        }
        // Its text could show what is in the file.
        Err(_) => {
            refuse(format!("{shown} is damaged: what is in it is no PEM"), KEY.to_owned());
            None
        }
    }
}

fn client_ca(value: &Value<'_>) -> Option<ClientCa> {
    let expected = "expected a file with the certificates of your authorities in PEM, such as `ca.pem`";
    let certificates = chain(value, expected)?;
    let mut roots = RootCertStore::empty();
    for one in &certificates {
        if let Err(error) = roots.add(one.clone()) {
            let message = format!("a certificate in it can't be an authority's: {error}");
            value.reader().add(value.fault(message).help(expected));
            return None;
        }
        if let Ok(certificate) = Certificate::read(one) {
            warn_of_dates(&certificate, value);
        }
    }
    Some(ClientCa { certificates, roots: Arc::new(roots) })
}

/// The bytes of the file that a value names; wiped when they have been read, for a key may be among them.
pub(super) fn file(value: &Value<'_>, expected: &str) -> Option<(PathBuf, Zeroizing<Vec<u8>>)> {
    let path = value.path()?;
    match value.reader().read_file(&path) {
        Ok(bytes) => Some((path, Zeroizing::new(bytes))),
        Err(error) => {
            let shown = shown(&path);
            let message = match error.kind() {
                io::ErrorKind::NotFound => format!("there is no file {shown}"),
                io::ErrorKind::IsADirectory => format!("{shown} is a directory"),
                io::ErrorKind::PermissionDenied => {
                    format!("{shown} can't be read: this user has no right to")
                }
                _ => format!("{shown} can't be read: {error}"),
            };
            value.reader().add(value.fault(message).help(expected));
            None
        }
    }
}

pub(super) fn shown(path: &Path) -> String {
    format!("`{}`", quote(&path.to_string_lossy()))
}

fn holds(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

pub(super) fn warn_of_readers(value: &Value<'_>, path: &Path) {
    let mode = std::fs::metadata(path).map(|found| found.permissions().mode() & 0o777);
    if let Ok(mode) = mode.map(|mode| format!("{mode:03o}")).map_err(drop)
        && !mode.ends_with('0')
    {
        let warning = value.fault(format!("everybody on this machine may use the key: its mode is {mode}"));
        value.reader().warn(warning.help(format!("`chmod o= {}`", path.display())));
    }
}

fn warn_of_dates(certificate: &Certificate, value: &Value<'_>) {
    let now = SystemTime::now();
    let date =
        |moment| jiff::Timestamp::try_from(moment).map(|moment| moment.to_string()).unwrap_or_default();
    let whose = quote(&whom(certificate));
    let message = if now > certificate.not_after {
        format!("the certificate for {whose} has expired: it held until {}", date(certificate.not_after))
    } else if now < certificate.not_before {
        format!("the certificate for {whose} does not hold yet: from {} on", date(certificate.not_before))
    } else {
        return;
    };
    value.reader().warn(value.fault(message).help("whoever checks it will refuse it"));
}

fn redirect_from(value: &Value<'_>, listen: &[Listen]) -> Vec<ListenAddress> {
    let expected = "expected an address with a port such as `0.0.0.0:80`, or a list of them";
    let mut found: Vec<ListenAddress> = Vec::new();
    for value in value.one_or_more(expected) {
        let address = value.parse(|raw| {
            raw.parse::<ListenAddress>().map_err(|_| Expected("an address with a port such as `0.0.0.0:80`"))
        });
        let Some(address) = address else { continue };
        let again = address.port != 0 && found.contains(&address);
        if again || address.port != 0 && listen.contains(&Listen::Tcp(address.clone())) {
            value.refuse("it is listened on already");
        }
        found.push(address);
    }
    found
}

fn default_headers() -> CertificateHeaders {
    let header = |name, template: &str| {
        (HeaderName::from_static(name), template.parse().expect("a placeholder of its own is a template"))
    };
    CertificateHeaders::new(vec![
        header("x-client-cert-subject", "{subject}"),
        header("x-client-cert-san", "{sans}"),
        header("x-client-cert-fingerprint", "{fingerprint}"),
    ])
}

fn client_headers(map: &Value<'_>) -> CertificateHeaders {
    let expected = "expected header names and templates, such as `X-Client-Cert-Subject: \"{subject}\"`";
    let mut found: Vec<(HeaderName, CertificateTemplate)> = Vec::new();
    let mut seen = Seen::default();
    for value in map.entries(expected) {
        let name = headers::identity_name(&value).filter(|name| seen.is_new(name, value));
        let Some(name) = name else { continue };
        let Some(text) = value.text() else { continue };
        match text.parse().ok().filter(|_| text.trim() == text && !text.is_empty()) {
            Some(template) => found.push((name, template)),
            None => value.refuse(meant(&value)),
        }
    }
    CertificateHeaders::new(found)
}

/// The placeholder that was probably meant, or all of them.
fn meant(value: &Value<'_>) -> String {
    let known = CertificateHeaders::PLACEHOLDERS;
    let written = value.written().unwrap_or_default();
    let names = written.split('{').skip(1).filter_map(|piece| piece.split_once('}')).map(|(name, _)| name);
    let near = names.filter(|name| !known.contains(name)).find_map(|name| nearest(name, known));
    near.map_or_else(
        || {
            let all: Vec<String> = known.iter().map(|name| format!("`{{{name}}}`")).collect();
            format!("expected one line of text with any of {} in it", all.join(", "))
        },
        |near| format!("did you mean `{{{near}}}`?"),
    )
}

/// That no header says both who signed in and whose certificate it is.
pub(super) fn refuse_shared_names<'n>(
    client_headers: &CertificateHeaders,
    identity_names: impl Iterator<Item = &'n HeaderName>,
    value: &Value<'_>,
) {
    let identity_names: Vec<&HeaderName> = identity_names.collect();
    for name in client_headers.names() {
        if identity_names.iter().any(|identity| names::same(identity, name)) {
            let message = format!("`{name}` is an identity header, and one of `client_headers`");
            value.reader().add(value.fault_of_key(message).help("expected another name in one of them"));
        }
    }
}
