//! Which certificate a client is shown: one that is for the name it asks for, else the first.
//!
//! Callers: `gateway::tls`, whose library asks once in each handshake.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::config::ServerCertificate;
use crate::identity::certificate::AlternativeName;

/// The certificates by their names.
#[derive(Debug)]
pub(super) struct Resolver {
    all: Vec<Arc<CertifiedKey>>,
    /// Names as the certificates have them, `*.` included, to places in `all`, in their order.
    by_name: HashMap<String, Vec<usize>>,
}

impl Resolver {
    /// The first is for whoever asks for no name, or for one that none has.
    pub(super) fn new(certificates: &[ServerCertificate]) -> Self {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, one) in certificates.iter().enumerate() {
            for name in &one.certificate.alternative_names {
                if let AlternativeName::Dns(name) = name {
                    by_name.entry(name.clone()).or_default().push(at);
                }
            }
        }
        Self { all: certificates.iter().map(|one| Arc::clone(&one.key)).collect(), by_name }
    }

    /// Of several for one name, the first that the client can verify: one may be by RSA for old clients.
    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let named = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            let wildcard = || Some(format!("*.{}", name.split_once('.')?.1));
            self.by_name.get(&name).or_else(|| self.by_name.get(&wildcard()?))
        });
        let meant = match named {
            Some(places) => places.iter().filter_map(|&at| self.all.get(at)).collect(),
            None => self.all.first().into_iter().collect::<Vec<_>>(),
        };
        let fitting = meant.iter().find(|one| one.key.choose_scheme(schemes).is_some());
        fitting.or(meant.first()).map(|one| Arc::clone(one))
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};
    use rustls::crypto::aws_lc_rs::default_provider;
    use rustls::pki_types::PrivateKeyDer;

    use super::*;
    use crate::identity::Certificate;

    fn certificate(names: &[&str], algorithm: &'static SignatureAlgorithm) -> ServerCertificate {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::CertificateParams::new(names).expect("names").self_signed(&key).expect("signed");
        let certificate = Certificate::read(made.der()).expect("a certificate");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let key = CertifiedKey::from_der(vec![made.der().clone()], key, &default_provider());
        ServerCertificate { certificate, key: Arc::new(key.expect("they match")) }
    }

    #[test]
    fn a_name_gets_its_certificate_and_any_other_the_first() {
        let made = [
            certificate(&["first.test"], &PKCS_ECDSA_P256_SHA256),
            certificate(&["a.example.com", "*.example.com"], &PKCS_ECDSA_P256_SHA256),
            certificate(&["b.example.com"], &PKCS_ED25519),
            certificate(&["b.example.com"], &PKCS_ECDSA_P256_SHA256),
        ];
        let resolver = Resolver::new(&made);
        let ecdsa = [SignatureScheme::ECDSA_NISTP256_SHA256];
        let both = [SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519];
        for (name, schemes, expected) in [
            (None, &both[..], 0),
            (Some("unknown.test"), &both, 0),
            (Some("first.test"), &both, 0),
            (Some("FIRST.test"), &both, 0),
            (Some("a.example.com"), &both, 1),
            (Some("c.example.com"), &both, 1),
            (Some("c.d.example.com"), &both, 0),
            (Some("example.com"), &both, 0),
            // More exactly meant than by the wildcard; then whichever the client can verify.
            (Some("b.example.com"), &both, 2),
            (Some("b.example.com"), &ecdsa, 3),
        ] {
            let chosen = resolver.choose(name, schemes).expect("there is always one");
            assert!(Arc::ptr_eq(&chosen, &made[expected].key), "{name:?}");
        }
    }
}
