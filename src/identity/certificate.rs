//! What an X.509 certificate says, as far as anybody here asks: names, serial number, validity.
//!
//! Reading is not believing. A client's certificate was verified by TLS before it is read, a server's own is
//! the operator's word. No text that is read out of one holds a control character.
//!
//! Callers: `config` reads those of the server, `gateway` those of clients; `policy` compares the names, and
//! `proxy` tells them to upstreams.

use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// A certificate that was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certificate {
    /// The names that it is for, in its order.
    pub alternative_names: Vec<AlternativeName>,
    /// The one common name of its subject; `None` for several, which no rule could choose between.
    pub common_name: Option<String>,
    /// All of it.
    pub der: Vec<u8>,
    /// It holds up to and including this moment.
    pub not_after: SystemTime,
    /// It holds from this moment on.
    pub not_before: SystemTime,
    /// In capital hexadecimal digits, as OpenSSL shows it.
    pub serial: String,
    /// By RFC 4514, as `openssl x509 -subject -nameopt RFC2253,utf8,-esc_msb` shows it: `CN=robot,O=Example`.
    pub subject: String,
}

/// One entry of `subjectAltName`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AlternativeName {
    /// A host's name in lower case, or `*.` and a domain.
    Dns(String),
    /// An address of mail.
    Email(String),
    /// An address of the network.
    Ip(IpAddr),
    /// Anything else that has a name, such as `spiffe://example.com/robot`.
    Uri(String),
}

/// Bytes that are no certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("it is not an X.509 certificate")]
pub struct NoCertificate;

impl Certificate {
    /// Reads one in DER.
    pub fn read(der: &[u8]) -> Result<Self, NoCertificate> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| NoCertificate)?;
        if !rest.is_empty() {
            return Err(NoCertificate);
        }
        let names = certificate.subject_alternative_name().map_err(|_| NoCertificate)?;
        let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
        let serial = certificate.raw_serial();
        Ok(Self {
            alternative_names: names.iter().filter_map(AlternativeName::read).collect(),
            common_name: common_name(certificate.subject()),
            der: der.to_owned(),
            not_after: moment(certificate.validity().not_after),
            not_before: moment(certificate.validity().not_before),
            // The first byte of a number whose highest bit is set is a sign, and not shown.
            serial: hex(serial.strip_prefix(&[0]).filter(|rest| !rest.is_empty()).unwrap_or(serial))
                .to_uppercase(),
            subject: distinguished_name(certificate.subject()),
        })
    }

    /// Whether it holds now.
    pub fn is_valid_at(&self, now: SystemTime) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// SHA-256 of all of it, in hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        hex(digest(&SHA256, &self.der).as_ref())
    }

    /// Whether it is for a host: a name in lower case without a port, or an address.
    pub fn covers(&self, host: &str) -> bool {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        self.alternative_names.iter().any(|name| match name {
            AlternativeName::Dns(name) => address.is_none() && dns_covers(name, host),
            AlternativeName::Ip(ip) => address == Some(*ip),
            AlternativeName::Email(_) | AlternativeName::Uri(_) => false,
        })
    }
}

/// `*.example.com` covers `a.example.com`, and neither `example.com` nor `a.b.example.com` (RFC 9525 §6.3).
fn dns_covers(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(domain) => host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == domain),
        None => name == host,
    }
}

impl AlternativeName {
    fn read(name: &GeneralName<'_>) -> Option<Self> {
        let text = |text: &str| {
            Some(text.to_owned()).filter(|text| !text.is_empty() && !text.contains(char::is_control))
        };
        match name {
            GeneralName::DNSName(name) => {
                text(name).filter(|name| name.is_ascii()).map(|name| Self::Dns(name.to_ascii_lowercase()))
            }
            GeneralName::RFC822Name(address) => text(address).map(Self::Email),
            GeneralName::URI(uri) => text(uri).map(Self::Uri),
            GeneralName::IPAddress(bytes) => {
                let address = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                address.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok().map(Self::Ip)
            }
            _ => None,
        }
    }
}

/// As OpenSSL shows it: `DNS:a.example.com`. Without its kind an address of mail could pass for a host.
impl fmt::Display for AlternativeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "DNS:{name}"),
            Self::Email(address) => write!(f, "email:{address}"),
            Self::Ip(address) => write!(f, "IP:{address}"),
            Self::Uri(uri) => write!(f, "URI:{uri}"),
        }
    }
}

fn common_name(subject: &X509Name<'_>) -> Option<String> {
    let mut names = subject.iter_common_name();
    let name = names.next().filter(|_| names.next().is_none())?.as_str().ok()?;
    Some(name.to_owned()).filter(|name| !name.is_empty() && !name.contains(char::is_control))
}

/// RFC 4514: the last part first, and what has a meaning there escaped.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    let parts: Vec<_> = name.iter_rdn().collect();
    for (at, part) in parts.iter().rev().enumerate() {
        text.push_str(if at == 0 { "" } else { "," });
        for (at, attribute) in part.iter().enumerate() {
            text.push_str(if at == 0 { "" } else { "+" });
            push_attribute(&mut text, attribute);
        }
    }
    text
}

fn push_attribute(text: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let kind = attribute.attr_type().to_id_string();
    let known = match kind.as_str() {
        "2.5.4.3" => Some("CN"),
        "2.5.4.6" => Some("C"),
        "2.5.4.7" => Some("L"),
        "2.5.4.8" => Some("ST"),
        "2.5.4.9" => Some("street"),
        "2.5.4.10" => Some("O"),
        "2.5.4.11" => Some("OU"),
        "2.5.4.5" => Some("serialNumber"),
        "0.9.2342.19200300.100.1.1" => Some("UID"),
        "0.9.2342.19200300.100.1.25" => Some("DC"),
        "1.2.840.113549.1.9.1" => Some("emailAddress"),
        _ => None,
    };
    match (known, attribute.as_str()) {
        (Some(known), Ok(value)) => {
            let _ = write!(text, "{known}=");
            push_escaped(text, value);
        }
        // §2.4: a kind without a name, or a value that is no text, is shown by its encoding.
        (known, _) => {
            let value = attribute.attr_value();
            let length = value.data.len();
            let _ = write!(text, "{}=#{:02X}", known.unwrap_or(&kind), value.tag().0);
            let _ = match length {
                0..128 => write!(text, "{length:02X}"),
                128..256 => write!(text, "81{length:02X}"),
                _ => write!(text, "82{length:04X}"),
            };
            text.push_str(&hex(value.data).to_uppercase());
        }
    }
}

fn push_escaped(text: &mut String, value: &str) {
    let last = value.chars().count().saturating_sub(1);
    for (at, c) in value.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => text.extend(['\\', c]),
            ' ' if at == 0 || at == last => text.push_str("\\ "),
            '#' if at == 0 => text.push_str("\\#"),
            c if c.is_control() => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(text, "\\{byte:02X}");
                }
            }
            c => text.push(c),
        }
    }
}

fn moment(time: ASN1Time) -> SystemTime {
    let seconds = time.timestamp();
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let moment = match seconds {
        0.. => SystemTime::UNIX_EPOCH.checked_add(distance),
        _ => SystemTime::UNIX_EPOCH.checked_sub(distance),
    };
    moment.unwrap_or(SystemTime::UNIX_EPOCH)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SanType};

    use super::*;

    fn made(change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let made = params.self_signed(&key).expect("a certificate");
        Certificate::read(made.der()).expect("it is one")
    }

    #[test]
    fn a_subject_is_shown_last_part_first_and_escaped() {
        let certificate = made(|params| {
            let name = &mut params.distinguished_name;
            name.push(DnType::CountryName, DnValue::PrintableString("DE".try_into().expect("printable")));
            name.push(DnType::OrganizationName, "Example, \"Ltd\" + Sons");
            name.push(DnType::OrganizationalUnitName, "#1 a=b ");
            name.push(DnType::CommonName, "Zoë\nO=Root");
        });
        assert_eq!(
            certificate.subject,
            "CN=Zoë\\0AO=Root,OU=\\#1 a=b\\ ,O=Example\\, \\\"Ltd\\\" \\+ Sons,C=DE"
        );
        assert_eq!(certificate.common_name, None, "a name with a line feed is none");
    }

    #[test]
    fn a_kind_without_a_name_is_shown_by_its_encoding() {
        let certificate = made(|params| {
            params.distinguished_name.push(DnType::CustomDnType(vec![1, 2, 3]), "x");
            params.distinguished_name.push(DnType::CommonName, "robot");
        });
        assert_eq!(certificate.subject, "CN=robot,1.2.3=#0C0178");
        assert_eq!(certificate.common_name.as_deref(), Some("robot"));
    }

    #[test]
    fn alternative_names_say_their_kind() {
        let certificate = made(|params| {
            params.subject_alt_names = vec![
                SanType::DnsName("A.Example.com".try_into().expect("text")),
                SanType::IpAddress(IpAddr::from([10, 0, 0, 1])),
                SanType::Rfc822Name("a@example.com".try_into().expect("text")),
                SanType::URI("spiffe://example.com/robot".try_into().expect("text")),
                SanType::DnsName("bad\r\nname".try_into().expect("text")),
            ];
        });
        let shown: Vec<String> = certificate.alternative_names.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            ["DNS:a.example.com", "IP:10.0.0.1", "email:a@example.com", "URI:spiffe://example.com/robot"]
        );
    }

    #[test]
    fn a_certificate_covers_its_names_and_one_label_of_a_wildcard() {
        let certificate = made(|params| {
            params.subject_alt_names = vec![
                SanType::DnsName("example.com".try_into().expect("text")),
                SanType::DnsName("*.example.com".try_into().expect("text")),
                SanType::IpAddress(IpAddr::from([10, 0, 0, 1])),
            ];
        });
        for (host, covered) in [
            ("example.com", true),
            ("a.example.com", true),
            ("a.b.example.com", false),
            (".example.com", false),
            ("ample.com", false),
            ("10.0.0.1", true),
            ("10.0.0.2", false),
            ("[::1]", false),
        ] {
            assert_eq!(certificate.covers(host), covered, "{host}");
        }
    }

    #[test]
    fn other_bytes_are_no_certificate() {
        let certificate = made(|_| {});
        assert_eq!(Certificate::read(b""), Err(NoCertificate));
        assert_eq!(Certificate::read(&certificate.der[1..]), Err(NoCertificate));
        assert_eq!(Certificate::read(&[&*certificate.der, b"x"].concat()), Err(NoCertificate));
        assert_eq!(certificate.fingerprint().len(), 64);
    }
}
