//! Personal access tokens as values: their ids, labels and scopes, and what one is good for.
//!
//! Callers: everybody above, by way of `identity`. The token itself is `authn`'s and is kept nowhere.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::is_unsafe_character;

/// A personal access token's name in lists and commands: sixteen hexadecimal digits of its digest,
/// useless as a credential.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId([u8; 8]);

/// Why a text is no token's id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a token's id has 16 hexadecimal digits, as `foregate token list` shows it")]
pub struct InvalidTokenId;

impl TokenId {
    /// From its bytes: the first of the digest's.
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl FromStr for TokenId {
    type Err = InvalidTokenId;

    fn from_str(raw: &str) -> Result<Self, InvalidTokenId> {
        // `from_str_radix` would take a sign as well.
        let digits = raw.len() == 16 && raw.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(raw, 16).ok().filter(|_| digits);
        number.map(|number| Self(number.to_be_bytes())).ok_or(InvalidTokenId)
    }
}

impl TryFrom<String> for TokenId {
    type Error = InvalidTokenId;

    fn try_from(raw: String) -> Result<Self, InvalidTokenId> {
        raw.parse()
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.to_string()
    }
}

/// One word of what a personal access token is for, such as `introspect` (RFC 6749 §3.3).
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(String); // Invariant: 1 to 64 visible ASCII characters, no `"`, `\` or `,`.

/// Why a text is no scope.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "a scope is one word of 1 to 64 ASCII characters, such as `introspect`, without quotes, commas and backslashes"
)]
pub struct InvalidScope;

impl Scope {
    /// Whoever shows it may ask what a token is worth (RFC 7662).
    pub const INTROSPECT: &'static str = "introspect";

    /// As written. Scopes are compared exactly.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(raw: &str) -> Result<Self, InvalidScope> {
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"\\,".contains(&byte);
        let valid = (1..=64).contains(&raw.len()) && raw.bytes().all(plain);
        valid.then(|| Self(raw.to_owned())).ok_or(InvalidScope)
    }
}

impl TryFrom<String> for Scope {
    type Error = InvalidScope;

    fn try_from(raw: String) -> Result<Self, InvalidScope> {
        raw.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a personal access token calls itself, for its owner to read.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenLabel(String); // Invariant: 1 to 100 characters, no control, no blank at an end.

/// Why a text is no token's name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a token's name has 1 to 100 characters, none of them a control character")]
pub struct InvalidTokenLabel;

impl TokenLabel {
    /// As written, without the blanks around it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TokenLabel {
    type Err = InvalidTokenLabel;

    fn from_str(raw: &str) -> Result<Self, InvalidTokenLabel> {
        let raw = raw.trim();
        let valid = (1..=100).contains(&raw.chars().count()) && !raw.contains(is_unsafe_character);
        valid.then(|| Self(raw.to_owned())).ok_or(InvalidTokenLabel)
    }
}

impl TryFrom<String> for TokenLabel {
    type Error = InvalidTokenLabel;

    fn try_from(raw: String) -> Result<Self, InvalidTokenLabel> {
        raw.parse()
    }
}

impl From<TokenLabel> for String {
    fn from(label: TokenLabel) -> Self {
        label.0
    }
}

impl fmt::Display for TokenLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a personal access token is good for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenGrant {
    /// Which token it is.
    pub id: TokenId,
    /// The routes that it is for, by their names; empty: all.
    pub routes: BTreeSet<String>,
    /// What it is for besides.
    pub scopes: BTreeSet<Scope>,
}

impl TokenGrant {
    /// Whether it is for the route of this name.
    pub fn covers(&self, route: &str) -> bool {
        self.routes.is_empty() || self.routes.contains(route)
    }

    /// Whether it has this scope.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.iter().any(|known| known.as_str() == scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_id_is_sixteen_digits_and_reads_back() {
        let id = TokenId::from_bytes([0, 1, 2, 3, 0xfc, 0xfd, 0xfe, 0xff]);
        assert_eq!(id.to_string(), "00010203fcfdfeff");
        assert_eq!("00010203FCFDFEFF".parse(), Ok(id));
        for bad in [
            "",
            "00010203fcfdfef",
            "00010203fcfdfeff0",
            "+0010203fcfdfeff",
            "g0010203fcfdfeff",
            "é0010203fcfdfef",
        ] {
            assert!(bad.parse::<TokenId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_scope_is_one_word_and_a_label_one_line() {
        for good in ["introspect", "repo:read", "https://x.test/scope"] {
            assert!(good.parse::<Scope>().is_ok(), "{good:?}");
        }
        let long = "x".repeat(65);
        for bad in ["", "a b", "a\"b", "a\\b", "a,b", "ä", "a\n", &long] {
            assert!(bad.parse::<Scope>().is_err(), "{bad:?}");
        }
        let label: TokenLabel = "  phone \u{1f4f1} ".parse().expect("a label");
        assert_eq!(label.as_str(), "phone \u{1f4f1}");
        for bad in ["", "  ", "a\nb", "a\u{202e}b", &"x".repeat(101)] {
            assert!(bad.parse::<TokenLabel>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_token_without_routes_is_for_all_of_them() {
        let mut grant =
            TokenGrant { id: TokenId::from_bytes([0; 8]), routes: BTreeSet::new(), scopes: BTreeSet::new() };
        assert!(grant.covers("api"));
        grant.routes.insert("dav".to_owned());
        assert!(grant.covers("dav") && !grant.covers("api") && !grant.covers("da"));
        grant.scopes.insert("introspect".parse().expect("a scope"));
        assert!(grant.has_scope(Scope::INTROSPECT) && !grant.has_scope("intro"));
    }
}
