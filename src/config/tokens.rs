//! `tokens.keys`: signing keys of the operator's own, read and judged with their place.
//!
//! Callers: `config::settings`. What a key is, is `authn`'s to say.

use super::reader::Value;
use super::tls::{file, shown, warn_of_readers};
use crate::authn::bearer::{InvalidKeyFile, OwnKey, read_key};

const KEYS: &str = "expected a list of files with a private key in PEM, such as `[signing.pem]`";
const KEY: &str =
    "expected an Ed25519, P-256 or RSA (2048 bits or more) private key in PEM, without a passphrase";

/// Each sound one, in the order of the file.
pub(super) fn own_keys(list: &Value<'_>) -> Vec<OwnKey> {
    let mut found: Vec<OwnKey> = Vec::new();
    for value in list.list_of_some(KEYS) {
        let Some((path, bytes)) = file(&value, KEY) else { continue };
        warn_of_readers(&value, &path);
        match read_key(&bytes) {
            Ok(key) if found.contains(&key) => value.refuse("this key is there already"),
            Ok(key) => found.push(key),
            Err(
                fault @ (InvalidKeyFile::Encrypted
                | InvalidKeyFile::Kind
                | InvalidKeyFile::NoKey
                | InvalidKeyFile::Small),
            ) => value.reader().add(value.fault(format!("{} can't sign: {fault}", shown(&path))).help(KEY)),
        }
    }
    found
}
