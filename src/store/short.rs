//! The name under which a session is shown: half of its digest, in base64url.
//!
//! It is no credential, and nobody can come from it to one: the digest is SHA-256 of the cookie.
//! 128 bits are enough that no two sessions share it.
//!
//! Callers: whoever lists sessions for people or ends one that a person named.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::Digest;

/// Names a session in pages, addresses and on the command line.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ShortId([u8; 16]);

/// Why a text names no session.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a session's id has 22 characters, as `foregate session list` shows them")]
pub struct InvalidShortId;

impl ShortId {
    /// What the digest begins with.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl From<Digest> for ShortId {
    fn from(digest: Digest) -> Self {
        let (first, _) = digest.as_bytes().split_first_chunk().expect("32 bytes begin with 16");
        Self(*first)
    }
}

impl FromStr for ShortId {
    type Err = InvalidShortId;

    fn from_str(raw: &str) -> Result<Self, InvalidShortId> {
        // Longer than a name is, for `decode_slice` guesses upwards.
        let mut bytes = [0; 18];
        let sound = raw.len() == 22 && URL_SAFE_NO_PAD.decode_slice(raw, &mut bytes) == Ok(16);
        let (first, _) = bytes.split_first_chunk().expect("18 bytes begin with 16");
        sound.then_some(Self(*first)).ok_or(InvalidShortId)
    }
}

impl TryFrom<String> for ShortId {
    type Error = InvalidShortId;

    fn try_from(raw: String) -> Result<Self, InvalidShortId> {
        raw.parse()
    }
}

impl From<ShortId> for String {
    fn from(id: ShortId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for ShortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_anything_else_is_none() {
        let id = ShortId::from(Digest::of(b"a cookie"));
        let text = id.to_string();
        assert_eq!((text.len(), text.parse()), (22, Ok(id)));
        for bad in ["", "x", &text[1..], &format!("{text}A"), &format!("{}=", &text[1..]), &"é".repeat(11)] {
            assert_eq!(bad.parse::<ShortId>(), Err(InvalidShortId), "{bad}");
        }
        // One text for one id: the last character has bits to spare, and they are not.
        let last = text.chars().last().expect("22 characters");
        let others = ('A'..='Z').filter(|c| *c != last);
        let read: Vec<_> = others.filter_map(|c| format!("{}{c}", &text[..21]).parse().ok()).collect();
        assert!(!read.contains(&id), "{read:?}");
    }
}
