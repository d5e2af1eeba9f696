//! Signing keys: making them, and bringing the stored ones into the library's form.
//!
//! Callers: `bearer`; the composition makes a key where the store has none.

use std::fmt;
use std::time::SystemTime;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::EncodingKey;
use jsonwebtoken::jwk::{Jwk, KeyAlgorithm, PublicKeyUse, ThumbprintHash};
use secrecy::SecretBox;

use super::Algorithm;
use crate::authn::issuer::{SignatureAlgorithm, public_key};
use crate::store::SigningKey;

/// A key that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("the signing key {kid} can't be used: {reason}")]
pub struct UnusableKey {
    kid: String,
    reason: String,
}

impl UnusableKey {
    pub(super) fn new(kid: &str, reason: &dyn fmt::Display) -> Self {
        Self { kid: kid.to_owned(), reason: reason.to_string() }
    }
}

/// What a signature of ours is held against, parsed once.
pub(super) enum VerifyKey {
    /// Of what is signed with a secret.
    Mac(Box<hmac::Key>),
    /// The public half of a pair.
    Public(ParsedPublicKey),
}

impl VerifyKey {
    pub(super) fn of_secret(secret: &[u8]) -> Self {
        Self::Mac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    /// `None` where the JWK is none for this algorithm.
    pub(super) fn of_public(algorithm: Algorithm, jwk: &Jwk) -> Option<Self> {
        let algorithm = SignatureAlgorithm::from_name(algorithm.as_str())?;
        let jwk = serde_json::to_value(jwk).ok()?;
        public_key(jwk.as_object()?, algorithm).map(|(_, key)| Self::Public(key))
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Mac(key) => hmac::verify(key, message, signature).is_ok(),
            Self::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

/// A new key for an algorithm, for the store to keep unless it has one.
pub fn generate_key(algorithm: Algorithm, now: SystemTime) -> SigningKey {
    let works = "the cryptographic library makes a key";
    let private: Vec<u8> = match algorithm {
        Algorithm::EdDsa => {
            Ed25519KeyPair::generate().expect(works).to_pkcs8v1().expect(works).as_ref().to_vec()
        }
        Algorithm::Es256 => {
            let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
            key.expect(works).as_ref().to_vec()
        }
        Algorithm::Hs256 => {
            let mut secret = vec![0; 32];
            getrandom::fill(&mut secret).expect("the operating system gives random bytes");
            secret
        }
        Algorithm::Rs256 => {
            let key = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).expect(works);
            key.as_der().expect(works).as_ref().to_vec()
        }
    };
    let kid = match algorithm {
        Algorithm::Hs256 => random_name(),
        Algorithm::EdDsa | Algorithm::Es256 | Algorithm::Rs256 => {
            thumbprint(algorithm, &private).expect(works)
        }
    };
    named(algorithm, private, kid, now)
}

/// RFC 7638.
pub(super) fn thumbprint(
    algorithm: Algorithm,
    private: &[u8],
) -> Result<String, jsonwebtoken::errors::Error> {
    let key = encoding_key(algorithm, private)?;
    public_jwk(algorithm, &key, "")?.thumbprint(ThumbprintHash::SHA256)
}

pub(super) fn named(algorithm: Algorithm, private: Vec<u8>, kid: String, made_at: SystemTime) -> SigningKey {
    SigningKey {
        algorithm: algorithm.as_str().to_owned(),
        created_at: made_at,
        kid,
        private: SecretBox::new(private.into_boxed_slice()),
        signs_from: made_at,
    }
}

/// A random name, for a key whose thumbprint would say something of it.
fn random_name() -> String {
    let mut random = [0; 16];
    getrandom::fill(&mut random).expect("the operating system gives random bytes");
    URL_SAFE_NO_PAD.encode(random)
}

pub(super) fn encoding_key(
    algorithm: Algorithm,
    private: &[u8],
) -> Result<EncodingKey, jsonwebtoken::errors::Error> {
    match algorithm {
        Algorithm::EdDsa => Ok(EncodingKey::from_ed_der(private)),
        Algorithm::Es256 => Ok(EncodingKey::from_ec_der(private)),
        Algorithm::Hs256 => Ok(EncodingKey::from_secret(private)),
        Algorithm::Rs256 => {
            // Its DER door wants PKCS#1 and takes PKCS#8 without a word until it signs; the PEM one takes both.
            let pem = format!(
                "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
                STANDARD.encode(private)
            );
            EncodingKey::from_rsa_pem(pem.as_bytes())
        }
    }
}

pub(super) fn public_jwk(
    algorithm: Algorithm,
    key: &EncodingKey,
    kid: &str,
) -> Result<Jwk, jsonwebtoken::errors::Error> {
    let mut jwk = Jwk::from_encoding_key(key, algorithm.library())?;
    jwk.common.key_algorithm = Some(KeyAlgorithm::from(algorithm.library()));
    jwk.common.key_id = Some(kid.to_owned());
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    Ok(jwk)
}
