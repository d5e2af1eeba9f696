//! `tokens.keys`: signing keys of the operator's own, read and judged with their place; and what `tokens.cookies` comes to.
//!
//! Callers: `config` and `config::settings`. What a key is, is `authn`'s to say.

use super::reader::{Section, Value};
use super::tls::{file, shown, warn_of_readers};
use crate::authn::bearer::{InvalidKeyFile, OwnKey, read_key};
use crate::identity::TokenLocation;
use crate::route::Route;

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

/// Says so where tokens are given in cookies and no route takes one from there.
pub(super) fn warn_of_idle_cookies(root: &mut Section<'_>, routes: &[Route]) {
    if routes.iter().any(|route| route.token_locations.has(TokenLocation::Cookie)) {
        return;
    }
    let tokens = root.get("tokens");
    if let Some(value) = tokens.and_then(|tokens| tokens.read_in_part(|tokens| tokens.get("cookies"))) {
        let warning = value.fault("tokens are given in cookies, and no route takes one from there");
        value.reader().warn(warning.help("list `cookie` in the `token_locations` of a route"));
    }
}
