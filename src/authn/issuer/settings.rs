//! Whom else we believe, and what of what they say (`issuers` in the configuration).
//!
//! Callers: `config` builds; the files beside this read. No token and no socket is here.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

use super::keys::KeySet;

/// One issuer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IssuerSettings {
    /// `aud` has to name one of these.
    pub audiences: Vec<String>,
    /// Where an identity is found in the claims.
    pub claims: ClaimNames,
    /// How far its clock and ours may be apart.
    pub leeway: Duration,
    /// Claims that have to be there, each with the values of which it has to have one.
    pub required: Vec<(ClaimPath, Vec<String>)>,
    /// Put before each role, so that it is none of ours.
    pub roles_prefix: String,
    /// What parts the roles of a text; `None`: a text is one role.
    pub roles_separator: Option<Separator>,
    /// Where its keys come from.
    pub source: SourceSettings,
    /// Put before the name, so that it is none of ours.
    pub username_prefix: String,
}

/// Where the keys of an issuer come from. While this stays the same, a reload goes on with the keys that are there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SourceSettings {
    /// What may sign.
    pub algorithms: Vec<SignatureAlgorithm>,
    /// `iss`, to the letter.
    pub issuer: String,
    /// Where they are.
    pub location: Location,
    /// The longest time between two fetches.
    pub refresh: Duration,
    /// For https; `None`: nobody is trusted, and nothing is fetched over it.
    pub tls: Option<IssuerTls>,
}

/// Where a set of keys is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Location {
    /// This is the issuer's OpenID configuration, which says where.
    Discovery(KeyUrl),
    /// In a file, read with the configuration.
    File(Arc<KeySet>),
    /// Here.
    Url(KeyUrl),
}

/// An address to fetch from: https, or http on this machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyUrl(Url);

/// Why a text is no address to fetch keys from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "expected an https URL such as `https://idp.example.com/jwks.json`, without a user; http is for this machine alone: \
     whoever could change the keys on their way could sign as anybody"
)]
pub struct InvalidKeyUrl;

impl KeyUrl {
    /// Where OpenID Connect Discovery 1.0 §4 has the configuration of an issuer.
    pub fn of_openid_configuration(issuer: &str) -> Result<Self, InvalidKeyUrl> {
        let base: Self = issuer.parse()?;
        if base.0.query().is_some() {
            return Err(InvalidKeyUrl);
        }
        format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')).parse()
    }

    /// Whether it is spoken to over TLS.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    pub(super) fn url(&self) -> &Url {
        &self.0
    }
}

impl FromStr for KeyUrl {
    type Err = InvalidKeyUrl;

    fn from_str(raw: &str) -> Result<Self, InvalidKeyUrl> {
        let url: Url = raw.parse().map_err(|_| InvalidKeyUrl)?;
        let here = |host: &str| {
            let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
            host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
        };
        let sound = match (url.scheme(), url.host_str()) {
            ("https", Some(_)) => true,
            ("http", Some(host)) => here(host),
            _ => false,
        };
        let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        (sound && plain && !raw.contains(char::is_whitespace)).then_some(Self(url)).ok_or(InvalidKeyUrl)
    }
}

impl fmt::Display for KeyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How an issuer is spoken to over TLS.
#[derive(Clone)]
pub struct IssuerTls {
    config: Arc<rustls::ClientConfig>,
    /// A digest of everything that went into it.
    seal: [u8; 32],
}

impl IssuerTls {
    /// Two are equal whose seals are.
    pub fn new(config: Arc<rustls::ClientConfig>, seal: [u8; 32]) -> Self {
        Self { config, seal }
    }

    /// For who is spoken to in plain HTTP.
    pub(super) fn trusting_nobody() -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider knows the versions of TLS");
        let roots = rustls::RootCertStore::empty();
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        Self { config: Arc::new(config), seal: [0; 32] }
    }

    pub(super) fn config(&self) -> rustls::ClientConfig {
        rustls::ClientConfig::clone(&self.config)
    }
}

impl PartialEq for IssuerTls {
    fn eq(&self, other: &Self) -> bool {
        self.seal == other.seal
    }
}

impl Eq for IssuerTls {}

impl fmt::Debug for IssuerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IssuerTls")
    }
}

/// Where an identity is found in the claims.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClaimNames {
    /// An address; it counts unless `email_verified` says that nobody has confirmed it.
    pub email: ClaimPath,
    /// For display.
    pub name: ClaimPath,
    /// A list of texts, or one text; `None`: nobody has a role.
    pub roles: Option<ClaimPath>,
    /// The login name; it has to be there.
    pub username: ClaimPath,
}

/// The name of a claim, or of one in another: `realm_access.roles`. A name that itself holds dots
/// (`https://example.com/roles`) is found as well: the longest name that is there counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClaimPath(String);

/// Why a text names no claim.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected the name of a claim such as `sub`, or of one in another such as `realm_access.roles`")]
pub struct InvalidClaimPath;

impl ClaimPath {
    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClaimPath {
    type Err = InvalidClaimPath;

    fn from_str(raw: &str) -> Result<Self, InvalidClaimPath> {
        let sound = (1..=200).contains(&raw.len())
            && !raw.contains(|c: char| c.is_control() || c.is_whitespace())
            && raw.split('.').all(|name| !name.is_empty());
        sound.then(|| Self(raw.to_owned())).ok_or(InvalidClaimPath)
    }
}

/// What parts the roles of one text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Separator {
    /// Blanks around each are cut off.
    Comma,
    /// As in `scope` (RFC 6749 §3.3).
    Space,
}

/// A signature algorithm that another issuer may sign with. There is none with a shared secret among them: who verifies
/// with one could sign.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SignatureAlgorithm {
    /// Ed25519.
    EdDsa,
    /// P-256 with SHA-256.
    Es256,
    /// P-384 with SHA-384.
    Es384,
    /// P-521 with SHA-512.
    Es512,
    /// RSA PSS with SHA-256.
    Ps256,
    /// RSA PSS with SHA-384.
    Ps384,
    /// RSA PSS with SHA-512.
    Ps512,
    /// RSA PKCS#1 v1.5 with SHA-256.
    Rs256,
    /// RSA PKCS#1 v1.5 with SHA-384.
    Rs384,
    /// RSA PKCS#1 v1.5 with SHA-512.
    Rs512,
}

impl SignatureAlgorithm {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
    ];

    /// As in `alg` (RFC 7518 §3.1, RFC 8037 §3.1).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
        }
    }

    /// The one that a token or a key calls so.
    pub(in crate::authn) fn from_name(name: &str) -> Option<Self> {
        // RFC 9864 names the curve; there is no other under `EdDSA` here.
        if name == "Ed25519" {
            return Some(Self::EdDsa);
        }
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_tls_or_from_this_machine() {
        for good in [
            "https://idp.example.com/jwks.json",
            "https://idp.example.com:8443/a/b?tenant=c",
            "http://localhost:8080/jwks",
            "http://127.0.0.1/jwks",
            "http://[::1]:80/jwks",
        ] {
            assert!(good.parse::<KeyUrl>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "idp.example.com",
            "http://idp.example.com/jwks",
            "http://localhost.example.com/jwks",
            "http://127.0.0.1.example.com/jwks",
            "ftp://127.0.0.1/jwks",
            "file:///etc/passwd",
            "https://user@idp.example.com/",
            "https://user:secret@idp.example.com/",
            "https://idp.example.com/#a",
            "https://idp.example.com/ a",
        ] {
            assert!(bad.parse::<KeyUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_openid_configuration_lies_below_its_issuer() {
        for (issuer, url) in [
            ("https://idp.test", "https://idp.test/.well-known/openid-configuration"),
            ("https://idp.test/", "https://idp.test/.well-known/openid-configuration"),
            ("https://idp.test/realms/a", "https://idp.test/realms/a/.well-known/openid-configuration"),
        ] {
            let found = KeyUrl::of_openid_configuration(issuer).map(|url| url.to_string());
            assert_eq!(found.as_deref(), Ok(url));
        }
        for bad in ["idp", "https://idp.test?a=b", "http://idp.test"] {
            assert!(KeyUrl::of_openid_configuration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_claim_path_has_no_empty_name() {
        for good in ["sub", "realm_access.roles", "https://example.com/roles", "cognito:groups"] {
            assert!(good.parse::<ClaimPath>().is_ok(), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "a b", "a\n"] {
            assert!(bad.parse::<ClaimPath>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn there_is_no_algorithm_with_a_shared_secret() {
        for name in ["none", "None", "HS256", "HS384", "HS512", "ES256K", "Ed448", "rs256", ""] {
            assert_eq!(SignatureAlgorithm::from_name(name), None, "{name}");
        }
        for one in SignatureAlgorithm::ALL {
            assert_eq!(SignatureAlgorithm::from_name(one.as_str()), Some(one));
        }
        assert_eq!(SignatureAlgorithm::from_name("Ed25519"), Some(SignatureAlgorithm::EdDsa));
    }
}
