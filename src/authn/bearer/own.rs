//! Signing keys that an operator brings along as PEM files.
//!
//! What they are is read from the key, never from the file's name: Ed25519, P-256, or RSA of 2048 bits and more, in
//! PKCS#8 or in the older form of OpenSSL's. `kid` is the RFC 7638 thumbprint, as with our own.
//!
//! Callers: `config`, which says where a file is at fault.

use std::time::SystemTime;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;

use super::Algorithm;
use super::keys::{named, thumbprint};
use crate::store::SigningKey;

/// Bits of the smallest RSA key that may sign (RFC 7518 §3.3).
const RSA_BITS: usize = 2048;

/// Why a file is no signing key. It says nothing of what is in the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidKeyFile {
    /// A passphrase is needed.
    #[error("the key is encrypted")]
    Encrypted,
    /// Another curve, another kind.
    #[error("it is a key of another kind")]
    Kind,
    /// No PEM of a private key.
    #[error("it holds no private key")]
    NoKey,
    /// An RSA key that can be broken.
    #[error("it is an RSA key of less than {RSA_BITS} bits")]
    Small,
}

/// A key of the operator's own.
#[derive(Clone, Debug)]
pub struct OwnKey {
    /// What it signs with.
    pub algorithm: Algorithm,
    /// Itself.
    pub key: SigningKey,
}

/// The thumbprint says it all.
impl PartialEq for OwnKey {
    fn eq(&self, other: &Self) -> bool {
        self.key.kid == other.key.kid
    }
}

impl Eq for OwnKey {}

/// The key in a PEM file.
pub fn read_key(pem: &[u8]) -> Result<OwnKey, InvalidKeyFile> {
    let text = std::str::from_utf8(pem).map_err(|_| InvalidKeyFile::NoKey)?;
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(InvalidKeyFile::Encrypted);
    }
    // The text of its error could show what is in the file.
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| InvalidKeyFile::NoKey)?;
    let der = key.secret_der();
    let (algorithm, private) = match ed25519(der).or_else(|| p256(der)) {
        Some(found) => found,
        None => rsa(der)?,
    };
    let kid = thumbprint(algorithm, &private).map_err(|_| InvalidKeyFile::Kind)?;
    // It is in force for as long as the file says so, so its times say nothing.
    Ok(OwnKey { algorithm, key: named(algorithm, private, kid, SystemTime::UNIX_EPOCH) })
}

fn ed25519(der: &[u8]) -> Option<(Algorithm, Vec<u8>)> {
    let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?;
    Some((Algorithm::EdDsa, key.to_pkcs8v1().ok()?.as_ref().to_vec()))
}

fn p256(der: &[u8]) -> Option<(Algorithm, Vec<u8>)> {
    let key = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der).ok()?;
    Some((Algorithm::Es256, key.to_pkcs8v1().ok()?.as_ref().to_vec()))
}

fn rsa(der: &[u8]) -> Result<(Algorithm, Vec<u8>), InvalidKeyFile> {
    let key = rsa::KeyPair::from_pkcs8(der).or_else(|_| rsa::KeyPair::from_der(der));
    let key = key.map_err(|rejected| match rejected.to_string().as_str() {
        "TooSmall" => InvalidKeyFile::Small,
        _ => InvalidKeyFile::Kind,
    })?;
    if key.public_modulus_len() * 8 < RSA_BITS {
        return Err(InvalidKeyFile::Small);
    }
    let der = key.as_der().map_err(|_| InvalidKeyFile::Kind)?;
    Ok((Algorithm::Rs256, der.as_ref().to_vec()))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::authn::bearer::generate_key;

    fn pem(label: &str, der: &[u8]) -> String {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
    }

    #[test]
    fn a_key_says_itself_what_it_is_and_has_its_thumbprint_as_its_name() {
        for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256] {
            let made = generate_key(algorithm, SystemTime::now());
            let file = pem("PRIVATE KEY", made.private.expose_secret());
            let read = read_key(file.as_bytes()).expect("a key");
            assert_eq!((read.algorithm, &read.key.kid), (algorithm, &made.kid));
        }
    }

    #[test]
    fn what_is_no_signing_key_is_told_apart() {
        let cases = [
            (String::new(), InvalidKeyFile::NoKey),
            (pem("CERTIFICATE", b"x"), InvalidKeyFile::NoKey),
            (pem("ENCRYPTED PRIVATE KEY", b"x"), InvalidKeyFile::Encrypted),
            (pem("PRIVATE KEY", b"x"), InvalidKeyFile::Kind),
        ];
        for (file, fault) in cases {
            assert_eq!(read_key(file.as_bytes()).map(|_| ()), Err(fault), "{file}");
        }
        assert_eq!(read_key(&[0xff]).map(|_| ()), Err(InvalidKeyFile::NoKey));
    }
}
