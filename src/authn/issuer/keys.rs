//! A set of public keys (RFC 7517): what of it can be used, and for what.
//!
//! A set may hold keys for encryption, of kinds that are not known here, and of algorithms that the
//! operator does not want: they are left out. What is left is parsed once, so that a signature costs
//! its arithmetic alone.
//!
//! Callers: the files beside this; `config` for a set in a file; `authn::bearer` for the public half of our own keys.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    RsaPublicKeyComponents, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::json;
use super::settings::SignatureAlgorithm;
use crate::identity::ForeignKey;

/// Keys of one set at most; real ones have two to ten.
const KEYS: usize = 100;
/// Bits of an RSA modulus.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The usable keys of a set.
#[derive(Clone, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

/// One key with one algorithm.
#[derive(Clone)]
pub(super) struct Key {
    algorithm: SignatureAlgorithm,
    pub(super) id: ForeignKey,
    kid: Option<String>,
    parsed: ParsedPublicKey,
}

/// Why a text is no set of keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidKeySet {
    /// No JSON object with `keys`.
    #[error("it is no JSON Web Key Set: expected {{\"keys\": [...]}}")]
    Form,
    /// More than anybody needs.
    #[error("it holds more than {KEYS} keys")]
    TooMany,
}

impl KeySet {
    /// The keys of a set that can verify these algorithms for this issuer.
    pub fn parse(
        text: &[u8],
        issuer: &str,
        algorithms: &[SignatureAlgorithm],
    ) -> Result<Self, InvalidKeySet> {
        let set = json::object(text).ok_or(InvalidKeySet::Form)?;
        let Some(Value::Array(found)) = set.get("keys") else { return Err(InvalidKeySet::Form) };
        if found.len() > KEYS {
            return Err(InvalidKeySet::TooMany);
        }
        let mut keys: Vec<Key> = Vec::new();
        for key in found.iter().filter_map(Value::as_object).filter(|key| is_to_verify(key)) {
            for &algorithm in algorithms {
                // Of two that could be meant the first is: which one a token means must not be a matter of luck.
                let is_taken = |known: &Key| {
                    known.algorithm == algorithm
                        && known.kid.is_some()
                        && known.kid.as_deref() == text_of(key, "kid")
                };
                if let Some(key) = Key::read(key, issuer, algorithm)
                    && !keys.iter().any(is_taken)
                {
                    keys.push(key);
                }
            }
        }
        Ok(Self { keys })
    }

    /// The key that a token means. Without a `kid` it has to be the only one that could be meant.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: SignatureAlgorithm) -> Option<&Key> {
        let mut fitting = self.keys.iter().filter(|key| key.algorithm == algorithm);
        match kid {
            Some(kid) => fitting.find(|key| key.kid.as_deref() == Some(kid)),
            None => fitting.next().filter(|_| fitting.next().is_none()),
        }
    }

    /// Each key once, whatever it is good for.
    pub fn ids(&self) -> Vec<ForeignKey> {
        let mut ids: Vec<ForeignKey> = Vec::new();
        for key in &self.keys {
            if !ids.contains(&key.id) {
                ids.push(key.id);
            }
        }
        ids
    }

    /// Whether no key in it can be used.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl PartialEq for KeySet {
    fn eq(&self, other: &Self) -> bool {
        let names = |set: &Self| set.keys.iter().map(|key| (key.id, key.algorithm)).collect::<Vec<_>>();
        names(self) == names(other)
    }
}

impl Eq for KeySet {}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| (&key.kid, key.algorithm))).finish()
    }
}

impl Key {
    /// Whether this signature is this key's.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }

    /// A JWK, where it is one for this algorithm.
    fn read(jwk: &Map<String, Value>, issuer: &str, algorithm: SignatureAlgorithm) -> Option<Self> {
        if let Some(named) = jwk.get("alg") {
            let named = SignatureAlgorithm::from_name(named.as_str()?)?;
            if named != algorithm {
                return None;
            }
        }
        let (bytes, parsed) = public_key(jwk, algorithm)?;
        let kid = match jwk.get("kid") {
            None => None,
            Some(kid) => Some(kid.as_str()?.to_owned()),
        };
        let id = seal(issuer, kid.as_deref().unwrap_or_default(), &bytes);
        Some(Self { algorithm, id, kid, parsed })
    }
}

/// The key of a JWK by its kind, whatever else the JWK says, and its bytes.
pub(in crate::authn) fn public_key(
    jwk: &Map<String, Value>,
    algorithm: SignatureAlgorithm,
) -> Option<(Vec<u8>, ParsedPublicKey)> {
    match algorithm {
        SignatureAlgorithm::EdDsa => octets(jwk, "OKP", "Ed25519", &["x"], 32, &ED25519),
        SignatureAlgorithm::Es256 => octets(jwk, "EC", "P-256", &["x", "y"], 32, &ECDSA_P256_SHA256_FIXED),
        SignatureAlgorithm::Es384 => octets(jwk, "EC", "P-384", &["x", "y"], 48, &ECDSA_P384_SHA384_FIXED),
        SignatureAlgorithm::Es512 => octets(jwk, "EC", "P-521", &["x", "y"], 66, &ECDSA_P521_SHA512_FIXED),
        SignatureAlgorithm::Ps256 => rsa(jwk, &RSA_PSS_2048_8192_SHA256),
        SignatureAlgorithm::Ps384 => rsa(jwk, &RSA_PSS_2048_8192_SHA384),
        SignatureAlgorithm::Ps512 => rsa(jwk, &RSA_PSS_2048_8192_SHA512),
        SignatureAlgorithm::Rs256 => rsa(jwk, &RSA_PKCS1_2048_8192_SHA256),
        SignatureAlgorithm::Rs384 => rsa(jwk, &RSA_PKCS1_2048_8192_SHA384),
        SignatureAlgorithm::Rs512 => rsa(jwk, &RSA_PKCS1_2048_8192_SHA512),
    }
}

/// By `use` and `key_ops` (RFC 7517 §4.2, §4.3); without them a key is for anything.
fn is_to_verify(jwk: &Map<String, Value>) -> bool {
    let usage = jwk.get("use").is_none_or(|usage| usage == "sig");
    let operations = jwk.get("key_ops").is_none_or(|operations| {
        operations.as_array().is_some_and(|operations| operations.iter().any(|one| one == "verify"))
    });
    usage && operations
}

fn text_of<'a>(jwk: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    jwk.get(name)?.as_str()
}

fn decoded(jwk: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text_of(jwk, name)?).ok()
}

/// A point on a curve (RFC 7518 §6.2, RFC 8037 §2), each coordinate in its full length.
fn octets(
    jwk: &Map<String, Value>,
    kty: &str,
    curve: &str,
    coordinates: &[&str],
    length: usize,
    algorithm: &'static dyn VerificationAlgorithm,
) -> Option<(Vec<u8>, ParsedPublicKey)> {
    if text_of(jwk, "kty") != Some(kty) || text_of(jwk, "crv") != Some(curve) {
        return None;
    }
    // Uncompressed, as SEC 1 §2.3.3 writes a point with two coordinates.
    let mut point = if coordinates.len() == 2 { vec![4] } else { Vec::new() };
    for name in coordinates {
        let coordinate = decoded(jwk, name).filter(|coordinate| coordinate.len() == length)?;
        point.extend(coordinate);
    }
    let parsed = ParsedPublicKey::new(algorithm, &point).ok()?;
    Some((point, parsed))
}

/// RFC 7518 §6.3. Some issuers put a zero byte before the modulus.
fn rsa(jwk: &Map<String, Value>, parameters: &'static RsaParameters) -> Option<(Vec<u8>, ParsedPublicKey)> {
    if text_of(jwk, "kty") != Some("RSA") {
        return None;
    }
    let number = |name: &str| {
        let bytes = decoded(jwk, name)?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        Some(bytes[zeros..].to_vec()).filter(|bytes| !bytes.is_empty())
    };
    let (n, e) = (number("n")?, number("e")?);
    let bits = n.len() * 8 - n[0].leading_zeros() as usize;
    // With an exponent of 1 everything is its own signature.
    let is_sound =
        RSA_BITS.contains(&bits) && e.len() <= 4 && e != [1] && e.last().is_some_and(|last| last % 2 == 1);
    if !is_sound {
        return None;
    }
    let parsed = RsaPublicKeyComponents { n: &n, e: &e }.to_parsed_public_key(parameters).ok()?;
    Some(([n, e].concat(), parsed))
}

/// Names one key: whatever of it changes, it is another one.
fn seal(issuer: &str, kid: &str, key: &[u8]) -> ForeignKey {
    let mut context = Context::new(&SHA256);
    for part in [issuer.as_bytes(), kid.as_bytes(), key] {
        // With its length, or the end of one part could be the beginning of the next.
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    ForeignKey::from_bytes(context.finish().as_ref().try_into().expect("SHA-256 gives 32 bytes"))
}
