//! What a route asks of a client's certificate: that there is one, and perhaps whose.
//!
//! Callers: `policy` evaluates, `config` reads. That the certificate is genuine was seen to by TLS.

use std::net::IpAddr;
use std::str::FromStr;

use crate::identity::Certificate;
use crate::identity::certificate::AlternativeName;

/// `client_certificate`: both must hold where both are there; within one list, one entry must.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CertificateRequirement {
    /// One of these subjects; `None` asks for none.
    pub subjects: Option<Vec<SubjectPattern>>,
    /// One of these alternative names.
    pub alternative_names: Option<Vec<NamePattern>>,
}

/// Which subjects are meant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SubjectPattern {
    /// Those with this one common name, exactly.
    CommonName(String),
    /// The one with this distinguished name, exactly, as RFC 4514 writes it.
    Whole(String),
}

/// Which alternative names are meant. Each kind is compared with its own alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NamePattern {
    /// Exactly this host; a certificate for `*.example.com` is matched by that very text.
    Dns(String),
    /// Any host under this domain, not the domain itself; kept without `*.`.
    DnsUnder(String),
    /// This address of mail.
    Email(String),
    /// This address.
    Ip(IpAddr),
    /// This URI, byte for byte.
    Uri(String),
}

/// Why a text is no subject.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected a subject such as `CN=robot,O=Example`, or a common name alone such as `robot`")]
pub struct InvalidSubjectPattern;

/// Why a text is no alternative name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "expected a name such as `a.example.com`, `*.example.com`, `10.0.0.1`, `a@example.com` or `spiffe://example.com/a`"
)]
pub struct InvalidNamePattern;

impl CertificateRequirement {
    /// Whether the certificate that was shown, if any was, is one of those meant.
    pub fn is_met_by(&self, certificate: Option<&Certificate>) -> bool {
        let Some(certificate) = certificate else { return false };
        let Self { subjects, alternative_names } = self;
        let among = |patterns: &Vec<NamePattern>| {
            let names = &certificate.alternative_names;
            patterns.iter().any(|pattern| names.iter().any(|name| pattern.matches(name)))
        };
        subjects.as_ref().is_none_or(|patterns| patterns.iter().any(|pattern| pattern.matches(certificate)))
            && alternative_names.as_ref().is_none_or(among)
    }
}

impl SubjectPattern {
    fn matches(&self, certificate: &Certificate) -> bool {
        match self {
            Self::CommonName(name) => certificate.common_name.as_ref() == Some(name),
            Self::Whole(subject) => certificate.subject == *subject,
        }
    }
}

/// What has a `=` in it is a whole subject, so that no common name can pass for one.
impl FromStr for SubjectPattern {
    type Err = InvalidSubjectPattern;

    fn from_str(raw: &str) -> Result<Self, InvalidSubjectPattern> {
        if !is_plain(raw) {
            return Err(InvalidSubjectPattern);
        }
        Ok(if raw.contains('=') { Self::Whole(raw.to_owned()) } else { Self::CommonName(raw.to_owned()) })
    }
}

impl NamePattern {
    fn matches(&self, name: &AlternativeName) -> bool {
        match (self, name) {
            (Self::Dns(wanted), AlternativeName::Dns(name)) => wanted == name,
            // A certificate for a wildcard is one for each of its hosts.
            (Self::DnsUnder(domain), AlternativeName::Dns(name)) => {
                name.strip_suffix(domain.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            (Self::Email(wanted), AlternativeName::Email(name)) => wanted == name,
            (Self::Ip(wanted), AlternativeName::Ip(name)) => wanted == name,
            (Self::Uri(wanted), AlternativeName::Uri(name)) => wanted == name,
            (
                Self::Dns(_) | Self::DnsUnder(_) | Self::Email(_) | Self::Ip(_) | Self::Uri(_),
                AlternativeName::Dns(_)
                | AlternativeName::Email(_)
                | AlternativeName::Ip(_)
                | AlternativeName::Uri(_),
            ) => false,
        }
    }
}

/// Its kind shows in its form: an address, something with `:`, something with `@`, or else a host.
impl FromStr for NamePattern {
    type Err = InvalidNamePattern;

    fn from_str(raw: &str) -> Result<Self, InvalidNamePattern> {
        if !is_plain(raw) || raw == "*" || raw == "*." {
            return Err(InvalidNamePattern);
        }
        if let Ok(address) = raw.parse() {
            return Ok(Self::Ip(address));
        }
        if raw.contains(':') {
            return Ok(Self::Uri(raw.to_owned()));
        }
        if raw.contains('@') {
            return Ok(Self::Email(raw.to_owned()));
        }
        let name = raw.to_ascii_lowercase();
        Ok(match name.strip_prefix("*.") {
            Some(domain) => Self::DnsUnder(domain.to_owned()),
            None => Self::Dns(name),
        })
    }
}

fn is_plain(raw: &str) -> bool {
    !raw.trim().is_empty() && raw.trim() == raw && !raw.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn certificate(subject: &str, common_name: &str, names: &[AlternativeName]) -> Certificate {
        Certificate {
            alternative_names: names.to_vec(),
            common_name: Some(common_name.to_owned()),
            der: Vec::new(),
            not_after: SystemTime::UNIX_EPOCH,
            not_before: SystemTime::UNIX_EPOCH,
            serial: String::new(),
            subject: subject.to_owned(),
        }
    }

    #[test]
    fn subjects_are_compared_whole_or_by_their_common_name() {
        let robot = certificate("CN=robot,O=Example", "robot", &[]);
        // Whoever may choose a common name may choose this one.
        let liar = certificate("CN=CN\\=robot\\,O\\=Example", "CN=robot,O=Example", &[]);
        for (pattern, of_robot) in [
            ("robot", true),
            ("Robot", false),
            ("rob", false),
            ("CN=robot,O=Example", true),
            ("CN=robot", false),
            ("O=Example", false),
        ] {
            let subjects = Some(vec![pattern.parse().expect("a pattern")]);
            let requirement = CertificateRequirement { subjects, alternative_names: None };
            assert_eq!(requirement.is_met_by(Some(&robot)), of_robot, "{pattern}");
            assert!(!requirement.is_met_by(Some(&liar)), "{pattern}");
            assert!(!requirement.is_met_by(None), "{pattern}");
        }
    }

    #[test]
    fn alternative_names_are_compared_with_their_kind() {
        use AlternativeName::{Dns, Email, Ip, Uri};
        let dns = |name: &str| Dns(name.to_owned());
        for (pattern, name, matches) in [
            ("a.example.com", dns("a.example.com"), true),
            ("A.example.com", dns("a.example.com"), true),
            ("example.com", dns("a.example.com"), false),
            ("*.example.com", dns("a.example.com"), true),
            ("*.example.com", dns("a.b.example.com"), true),
            ("*.example.com", dns("example.com"), false),
            ("*.example.com", dns(".example.com"), false),
            ("*.example.com", dns("badexample.com"), false),
            ("10.0.0.1", Ip(IpAddr::from([10, 0, 0, 1])), true),
            ("10.0.0.1", dns("10.0.0.1"), false),
            ("a@example.com", Email("a@example.com".to_owned()), true),
            ("a@example.com", dns("a@example.com"), false),
            ("spiffe://example.com/a", Uri("spiffe://example.com/a".to_owned()), true),
            ("spiffe://example.com/a", Uri("spiffe://example.com/ab".to_owned()), false),
        ] {
            let pattern: NamePattern = pattern.parse().expect("a pattern");
            assert_eq!(pattern.matches(&name), matches, "{pattern:?} {name:?}");
        }
    }

    #[test]
    fn both_lists_must_hold() {
        let robot = certificate("CN=robot", "robot", &[AlternativeName::Dns("a.test".to_owned())]);
        let requirement = |subject: &str, name: &str| CertificateRequirement {
            subjects: Some(vec![subject.parse().expect("a pattern")]),
            alternative_names: Some(vec![name.parse().expect("a pattern")]),
        };
        assert!(requirement("robot", "a.test").is_met_by(Some(&robot)));
        assert!(!requirement("robot", "b.test").is_met_by(Some(&robot)));
        assert!(!requirement("other", "a.test").is_met_by(Some(&robot)));
        assert!(CertificateRequirement::default().is_met_by(Some(&robot)));
        assert!(!CertificateRequirement::default().is_met_by(None));
    }
}
