//! The header fields that say whose certificate the client has shown.
//!
//! Names and templates are configured once for all routes. The values are made once for a connection,
//! and escaped as identity headers are.
//!
//! Callers: `config` reads the map, `gateway` makes the values when a client has shown its certificate.

use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};

use crate::identity::Certificate;
use crate::route::identity_headers::{HeaderSet, InvalidTemplate, header_value, template_parts};

/// Names that no backend reads as one or as something else, and what they say.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CertificateHeaders(Vec<(HeaderName, CertificateTemplate)>);

/// Text with placeholders in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateTemplate(Vec<Part>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    /// `{certificate}`: all of it, as a byte sequence (RFC 9440 §2.1).
    Certificate,
    /// `{common_name}`, empty without exactly one.
    CommonName,
    /// `{fingerprint}`: SHA-256.
    Fingerprint,
    /// `{sans}`: the alternative names with their kinds, separated by commas.
    Names,
    /// `{serial}`.
    Serial,
    /// `{subject}`.
    Subject,
    /// Itself.
    Text(String),
}

impl CertificateHeaders {
    /// The placeholders that there are.
    pub const PLACEHOLDERS: [&'static str; 6] =
        ["subject", "common_name", "sans", "fingerprint", "serial", "certificate"];

    /// A map whose names were checked.
    pub fn new(headers: Vec<(HeaderName, CertificateTemplate)>) -> Self {
        Self(headers)
    }

    /// The names: what a client sends under them never arrives.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().map(|(name, _)| name)
    }

    /// What is set for this certificate: every name once.
    pub fn values(&self, certificate: &Certificate) -> HeaderSet {
        let value = |(name, template): &(HeaderName, CertificateTemplate)| {
            // Nothing of a certificate holds a control character, and no other text is refused.
            let value = header_value(&template.render(certificate));
            (name.clone(), value.unwrap_or_else(|_| HeaderValue::from_static("")))
        };
        Arc::from_iter(self.0.iter().map(value))
    }
}

impl CertificateTemplate {
    fn render(&self, certificate: &Certificate) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Certificate => {
                    text.push(':');
                    STANDARD.encode_string(&certificate.der, &mut text);
                    text.push(':');
                }
                Part::CommonName => text.push_str(certificate.common_name.as_deref().unwrap_or_default()),
                Part::Fingerprint => text.push_str(&certificate.fingerprint()),
                Part::Names => {
                    for (at, name) in certificate.alternative_names.iter().enumerate() {
                        text.push_str(if at == 0 { "" } else { "," });
                        // A URI may hold a comma, and would be two names to whoever takes the list apart.
                        text.push_str(&name.to_string().replace(',', "%2C"));
                    }
                }
                Part::Serial => text.push_str(&certificate.serial),
                Part::Subject => text.push_str(&certificate.subject),
                Part::Text(itself) => text.push_str(itself),
            }
        }
        text
    }
}

impl FromStr for CertificateTemplate {
    type Err = InvalidTemplate;

    fn from_str(raw: &str) -> Result<Self, InvalidTemplate> {
        let named = |name: &str| match name {
            "certificate" => Some(Part::Certificate),
            "common_name" => Some(Part::CommonName),
            "fingerprint" => Some(Part::Fingerprint),
            "sans" => Some(Part::Names),
            "serial" => Some(Part::Serial),
            "subject" => Some(Part::Subject),
            _ => None,
        };
        template_parts(raw, Part::Text, named).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::identity::certificate::AlternativeName;

    #[test]
    fn a_template_is_filled_in_and_escaped() {
        let certificate = Certificate {
            alternative_names: vec![
                AlternativeName::Dns("a.test".to_owned()),
                AlternativeName::Uri("spiffe://x/a,DNS:admin.test".to_owned()),
            ],
            common_name: Some("Zoë".to_owned()),
            der: b"der".to_vec(),
            not_after: SystemTime::UNIX_EPOCH,
            not_before: SystemTime::UNIX_EPOCH,
            serial: "0A".to_owned(),
            subject: "CN=Zoë,O=Example".to_owned(),
        };
        for (template, expected) in [
            ("{common_name}", "Zo%C3%AB"),
            ("{subject}", "CN=Zo%C3%AB,O=Example"),
            ("{serial}/{certificate}", "0A/:ZGVy:"),
            // Encoded once more, so that decoding gives back a list of two.
            ("{sans}", "DNS:a.test,URI:spiffe://x/a%252CDNS:admin.test"),
        ] {
            let template: CertificateTemplate = template.parse().expect("a template");
            let name = HeaderName::from_static("x-client-cert-subject");
            let values = CertificateHeaders::new(vec![(name, template)]).values(&certificate);
            assert_eq!(values[0].1, expected);
        }
        assert!("{username}".parse::<CertificateTemplate>().is_err());
        for name in CertificateHeaders::PLACEHOLDERS {
            assert!(format!("{{{name}}}").parse::<CertificateTemplate>().is_ok(), "{name}");
        }
    }
}
