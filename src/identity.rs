//! Who somebody is, once a credential was verified: names, roles and the authenticated principal.
//!
//! Every value here is parsed at the border and can't hold a bad one afterwards: no control
//! character reaches a header, a page or a log line through a name.
//!
//! Callers: everybody above. Nothing of HTTP, of storage or of time limits is here.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use uuid::Uuid;

pub mod certificate;
mod confusable;
mod token;
pub use certificate::Certificate;
mod location;
pub use confusable::UnfitUsername;
pub use location::{TokenErrors, TokenLocation, TokenLocations};
pub use token::{InvalidScope, InvalidTokenId, InvalidTokenLabel, Scope, TokenGrant, TokenId, TokenLabel};
mod grant;
pub use grant::{AccessToken, GrantId};

/// An account's number: a UUIDv7, never used twice and never shown as a name.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct UserId(Uuid);

impl UserId {
    /// A new number, greater than every earlier one of this process.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// From its sixteen bytes, as the store keeps it.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Its sixteen bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for UserId {
    type Err = uuid::Error;

    fn from_str(raw: &str) -> Result<Self, uuid::Error> {
        Uuid::parse_str(raw).map(Self)
    }
}

/// Folds a login name or an address to the form in which two of them are the same: NFKC, lower case.
pub fn fold(raw: &str) -> String {
    if raw.is_ascii() {
        return raw.to_ascii_lowercase();
    }
    // Lower-casing can bring up characters that NFKC would have composed, so it is normalised twice.
    let lowered: String = raw.nfkc().flat_map(char::to_lowercase).collect();
    lowered.nfkc().collect()
}

/// A login name in any script, shown as it was written. Not safe in a header as it is: `proxy::headers` encodes it.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Username(String); // Invariant: 1 to 128 characters, no control, no blank at an end, no `@`.

/// Why a text is no login name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "a username has 1 to 128 characters, none of them a control character or `@`, and no blank at either end"
)]
pub struct InvalidUsername;

impl Username {
    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form under which it is unique.
    pub fn folded(&self) -> String {
        fold(&self.0)
    }
}

impl FromStr for Username {
    type Err = InvalidUsername;

    fn from_str(raw: &str) -> Result<Self, InvalidUsername> {
        // `@` tells an address from a name at the login form, so no name may look like an address.
        let valid = (1..=128).contains(&raw.chars().count())
            && raw.trim() == raw
            && !raw.contains(|c: char| is_unsafe_character(c) || c == '@')
            // Two names that look alike to the store must be one, so a name that folds to nothing is none.
            && !fold(raw).trim().is_empty()
            && !fold(raw).contains('@');
        valid.then(|| Self(raw.to_owned())).ok_or(InvalidUsername)
    }
}

impl TryFrom<String> for Username {
    type Error = InvalidUsername;

    fn try_from(raw: String) -> Result<Self, InvalidUsername> {
        raw.parse()
    }
}

impl From<Username> for String {
    fn from(name: Username) -> Self {
        name.0
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An e-mail address with exactly one `@`, at most 254 bytes (RFC 5321 §4.5.3.1.3). No display name, no comment, no quoting.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Email(String);

/// Why a text is no address.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an e-mail address looks like name@example.com, at most 254 bytes long")]
pub struct InvalidEmail;

impl Email {
    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form under which it is unique.
    pub fn folded(&self) -> String {
        fold(&self.0)
    }

    /// What stands behind the `@`, folded.
    pub fn domain(&self) -> String {
        let (_, domain) = self.0.split_once('@').expect("an address has an @");
        fold(domain)
    }

    /// What an address was at any time: one that was taken under a milder rule than today's is read for ever.
    fn stored(raw: String) -> Result<Self, InvalidEmail> {
        let Some((local, domain)) = raw.split_once('@') else {
            return Err(InvalidEmail);
        };
        let odd = |c: char| is_unsafe_character(c) || c.is_whitespace() || "@,;:\"<>()[]\\".contains(c);
        let valid = raw.len() <= 254
            && !local.is_empty()
            && !local.contains(odd)
            && fold(&raw).matches('@').count() == 1
            && !domain.contains(odd)
            && !domain
                .split('.')
                .any(|label| label.is_empty() || label.starts_with('-') || label.ends_with('-'));
        if valid { Ok(Self(raw)) } else { Err(InvalidEmail) }
    }
}

impl FromStr for Email {
    type Err = InvalidEmail;

    /// What somebody types, or a file brings.
    fn from_str(raw: &str) -> Result<Self, InvalidEmail> {
        let email = Self::stored(raw.to_owned())?;
        // Of ASCII no name of a host holds more; other scripts are left to who sends the mail.
        let odd = |c: char| c.is_ascii_punctuation() && !".-_".contains(c);
        if email.domain().contains(odd) { Err(InvalidEmail) } else { Ok(email) }
    }
}

/// For serde, by which the rows of the store are read.
impl TryFrom<String> for Email {
    type Error = InvalidEmail;

    fn try_from(raw: String) -> Result<Self, InvalidEmail> {
        Self::stored(raw)
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.0
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A role's name: what `require.roles` asks for and `{roles}` in an identity header lists, separated by commas.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Role(String); // Invariant: 1 to 64 characters, no control, no blank, none of , ; |

/// Why a text is no role.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a role has 1 to 64 characters and no blank, comma, semicolon, bar or control character among them")]
pub struct InvalidRole;

impl Role {
    /// As written. Roles are compared exactly.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Role {
    type Err = InvalidRole;

    fn from_str(raw: &str) -> Result<Self, InvalidRole> {
        // Backends split the list at a comma, a semicolon or a bar: a role that holds one would become two.
        let odd = |c: char| is_unsafe_character(c) || c.is_whitespace() || ",;|".contains(c);
        let valid = (1..=64).contains(&raw.chars().count()) && !raw.contains(odd);
        valid.then(|| Self(raw.to_owned())).ok_or(InvalidRole)
    }
}

impl TryFrom<String> for Role {
    type Error = InvalidRole;

    fn try_from(raw: String) -> Result<Self, InvalidRole> {
        raw.parse()
    }
}

impl From<Role> for String {
    fn from(role: Role) -> Self {
        role.0
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A person's name for display: at most 256 characters, no control character; may be empty.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct DisplayName(String);

/// Why a text is no display name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a display name has at most 256 characters, none of them a control character")]
pub struct InvalidDisplayName;

impl DisplayName {
    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DisplayName {
    type Err = InvalidDisplayName;

    fn from_str(raw: &str) -> Result<Self, InvalidDisplayName> {
        let raw = raw.trim();
        let valid = raw.chars().count() <= 256 && !raw.contains(is_unsafe_character);
        valid.then(|| Self(raw.to_owned())).ok_or(InvalidDisplayName)
    }
}

impl TryFrom<String> for DisplayName {
    type Error = InvalidDisplayName;

    fn try_from(raw: String) -> Result<Self, InvalidDisplayName> {
        raw.parse()
    }
}

impl From<DisplayName> for String {
    fn from(name: DisplayName) -> Self {
        name.0
    }
}

/// Control characters, and the invisible ones that reorder or hide text around them.
fn is_unsafe_character(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Which kind of credential an identity came with.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Credential {
    /// The session cookie.
    Session,
    /// `Authorization: Bearer`.
    Bearer,
    /// `Authorization: Basic`.
    Basic,
}

impl Credential {
    /// As the configuration, `/me` and the log write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Bearer => "bearer",
            Self::Basic => "basic",
        }
    }
}

/// Whose an identity is. Only an account is looked up in the store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Principal {
    /// An account of ours.
    Account(UserId),
    /// Somebody whom another issuer vouches for. There is no account, whatever the name.
    Foreign(Arc<Foreign>),
}

impl Principal {
    /// The account, where it is one of ours.
    pub fn account(&self) -> Option<UserId> {
        match self {
            Self::Account(id) => Some(*id),
            Self::Foreign(_) => None,
        }
    }

    /// Who it is at another issuer, where it is somebody of another one.
    pub fn foreign(&self) -> Option<&Foreign> {
        match self {
            Self::Account(_) => None,
            Self::Foreign(foreign) => Some(foreign),
        }
    }
}

impl fmt::Display for Principal {
    /// What a token of ours says under `sub`: an account's number, or a UUIDv8 that is the same for the same
    /// issuer and subject and never an account's, which are of version 7.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(id) => id.fmt(f),
            Self::Foreign(foreign) => foreign.id().fmt(f),
        }
    }
}

/// Somebody of another issuer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Foreign {
    /// `iss`.
    pub issuer: String,
    /// The key that vouched for it: gone from the issuer's set, it vouches for nobody.
    pub key: ForeignKey,
    /// `sub`, unique at this issuer alone.
    pub subject: String,
}

impl Foreign {
    fn id(&self) -> Uuid {
        // The length keeps `a` + `bc` from being `ab` + `c`.
        let named = format!("{}:{}{}", self.issuer.len(), self.issuer, self.subject);
        let hash = digest::digest(&digest::SHA256, named.as_bytes());
        let bytes = hash.as_ref().first_chunk().copied().unwrap_or_default();
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}

/// One key of one issuer: a digest of its name and everything in it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ForeignKey([u8; 32]);

impl ForeignKey {
    /// From the digest's bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// A session's name: a digest of its token, useless as a credential.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct SessionId([u8; 32]);

impl SessionId {
    /// From the digest's bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest's bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SessionId {
    /// Enough to tell two apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}{d:02x}\u{2026}")
    }
}

/// An authenticated principal. It exists only after a credential was verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// The access token of ours, where it is one.
    pub access_token: Option<AccessToken>,
    /// When the password was typed, the base of `fresh_login`.
    pub authenticated_at: SystemTime,
    /// What it was verified by.
    pub credential: Credential,
    /// The confirmed address, if there is one.
    pub email: Option<Email>,
    /// When the credential ends, where it says so itself.
    pub expires_at: Option<SystemTime>,
    /// For display.
    pub name: DisplayName,
    /// Whose it is.
    pub principal: Principal,
    /// As the store has them now, not as a token remembers them; of a foreign one as its token has them.
    pub roles: BTreeSet<Role>,
    /// The session, where it is one.
    pub session: Option<SessionId>,
    /// What the personal access token is good for, where it is one; as Bearer, or as Basic's password.
    pub token: Option<TokenGrant>,
    /// The login name.
    pub username: Username,
}

impl Identity {
    /// The account, where it is one of ours.
    pub fn account(&self) -> Option<UserId> {
        self.principal.account()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_of_another_issuer_has_a_number_of_his_own_that_is_no_accounts() {
        let foreign = |issuer: &str, subject: &str| {
            let key = ForeignKey::from_bytes([0; 32]);
            let foreign = Foreign { issuer: issuer.to_owned(), key, subject: subject.to_owned() };
            Principal::Foreign(Arc::new(foreign))
        };
        let one = foreign("https://a.test", "1");
        assert_eq!(one.account(), None);
        assert_eq!(one.to_string(), foreign("https://a.test", "1").to_string());
        for other in
            [foreign("https://a.test", "2"), foreign("https://b.test", "1"), foreign("https://a.test1", "")]
        {
            assert_ne!(one.to_string(), other.to_string());
        }
        let number: Uuid = one.to_string().parse().expect("a UUID");
        assert_eq!(number.get_version_num(), 8);
        let account = Principal::Account(UserId::generate());
        assert_eq!(account.to_string(), account.account().expect("an account").to_string());
    }

    #[test]
    fn usernames_take_any_script_and_refuse_what_could_hide_or_split() {
        for good in ["alice", "Zoë", "李雷", "o'brien", "a b", "admin-1_x.y"] {
            assert!(good.parse::<Username>().is_ok(), "{good:?}");
        }
        let long = "x".repeat(129);
        for bad in ["", " a", "a ", "a\nb", "a\0", "a@b", "a\u{202e}b", "\u{feff}", "a＠b", &long] {
            assert!(bad.parse::<Username>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_that_differ_in_case_or_width_are_one() {
        for (a, b) in [("Alice", "alice"), ("ＡＬＩＣＥ", "alice"), ("STRASSE", "strasse"), ("Å", "å")]
        {
            assert_eq!(fold(a), fold(b), "{a} and {b}");
        }
        assert_ne!(fold("alice"), fold("аlice"), "a Cyrillic letter stays another letter");
    }

    #[test]
    fn addresses_have_exactly_one_at() {
        for good in ["a@b", "alice+tag@example.com", "ü@exämple.org"] {
            assert!(good.parse::<Email>().is_ok(), "{good:?}");
        }
        for bad in [
            "",
            "a",
            "@b",
            "a@",
            "a@b@c",
            "a@b*.test",
            "a@b/c",
            "a@evil.com@good.com",
            "a b@c",
            "a@b..c",
            "a@.b",
            "a@-b.c",
            "<a@b>",
            "a\r\n@b",
            "a＠b@c",
        ] {
            assert!(bad.parse::<Email>().is_err(), "{bad:?}");
        }
        assert_eq!("A@Example.COM".parse::<Email>().map(|e| e.domain()), Ok("example.com".to_owned()));
    }

    #[test]
    fn a_role_can_not_become_two_in_a_list() {
        for good in ["admin", "team:blue", "Ä"] {
            assert!(good.parse::<Role>().is_ok(), "{good:?}");
        }
        for bad in ["", "a,b", "a b", "a;b", "a|b", "a\n"] {
            assert!(bad.parse::<Role>().is_err(), "{bad:?}");
        }
    }
}
