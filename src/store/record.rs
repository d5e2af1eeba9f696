//! How rows look on disk: one byte of version, then the row in postcard.
//!
//! A row of an older version is read for ever; one of a newer version is an error, never a guess.
//! Fields are only ever added with a new version and a new struct beside the old one. Rows of every
//! engine look like this, so that they can be moved from one to another.
//!
//! Callers: the engines.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use secrecy::{SecretBox, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

mod personal;

pub(super) use self::personal::{decode_personal_token, encode_personal_token};
use super::{Digest, OneTimeToken, Purpose, Session, SigningKey, StoreError, User};
use crate::identity::{DisplayName, Email, Role, UserId, Username};

/// sled puts a page over 128 KiB into a file of its own, which it never syncs. A page holds up to
/// twenty rows, so the limit that keeps every page in the log is a twentieth of that, with some air.
pub(super) const RECORD_BYTES: usize = 5 << 10;

/// What is kept of a browser's name for itself.
const USER_AGENT_BYTES: usize = 256;

const VERSION: u8 = 1;

#[derive(Deserialize, Serialize)]
struct UserRow {
    created_at: u64,
    disabled: bool,
    email: Option<Email>,
    id: UserId,
    name: DisplayName,
    // Rows are read by position: it stays here, out of the order of the alphabet.
    credentials_since: Option<u64>,
    #[serde(with = "secret_text")]
    password_hash: Option<SecretString>,
    roles: BTreeSet<Role>,
    username: Username,
    version: u64,
}

pub(super) fn encode_user(user: &User) -> Result<Vec<u8>, StoreError> {
    encode(&UserRow {
        created_at: millis(user.created_at),
        disabled: user.disabled,
        email: user.email.clone(),
        id: user.id,
        name: user.name.clone(),
        credentials_since: user.credentials_since.map(millis),
        password_hash: user.password_hash.clone(),
        roles: user.roles.clone(),
        username: user.username.clone(),
        version: user.version,
    })
}

pub(super) fn decode_user(bytes: &[u8]) -> Result<User, StoreError> {
    let row: UserRow = decode(bytes, "an account")?;
    Ok(User {
        created_at: time(row.created_at),
        credentials_since: row.credentials_since.map(time),
        disabled: row.disabled,
        email: row.email,
        id: row.id,
        name: row.name,
        password_hash: row.password_hash,
        roles: row.roles,
        username: row.username,
        version: row.version,
    })
}

/// A session, and the second under which the expiry index has it.
pub(super) struct KeptSession {
    pub(super) session: Session,
    pub(super) swept_at: u64,
}

#[derive(Deserialize, Serialize)]
struct SessionRow {
    authenticated_at: u64,
    client: IpAddr,
    expires_at: u64,
    idle_timeout: u64,
    last_seen: u64,
    remembered: bool,
    swept_at: u64,
    user_agent: String,
    user_id: UserId,
}

pub(super) fn encode_session(kept: &KeptSession) -> Result<Vec<u8>, StoreError> {
    let session = &kept.session;
    encode(&SessionRow {
        authenticated_at: millis(session.authenticated_at),
        client: session.client,
        expires_at: millis(session.expires_at),
        idle_timeout: u64::try_from(session.idle_timeout.as_millis()).unwrap_or(u64::MAX),
        last_seen: millis(session.last_seen),
        remembered: session.remembered,
        swept_at: kept.swept_at,
        user_agent: beginning(&session.user_agent, USER_AGENT_BYTES).to_owned(),
        user_id: session.user_id,
    })
}

pub(super) fn decode_session(digest: Digest, bytes: &[u8]) -> Result<KeptSession, StoreError> {
    let row: SessionRow = decode(bytes, "a session")?;
    let session = Session {
        authenticated_at: time(row.authenticated_at),
        client: row.client,
        digest,
        expires_at: time(row.expires_at),
        idle_timeout: Duration::from_millis(row.idle_timeout),
        last_seen: time(row.last_seen),
        remembered: row.remembered,
        user_agent: row.user_agent,
        user_id: row.user_id,
    };
    Ok(KeptSession { session, swept_at: row.swept_at })
}

#[derive(Deserialize, Serialize)]
struct TokenRow {
    expires_at: u64,
    purpose: u8,
    user_id: UserId,
}

pub(super) fn encode_token(token: &OneTimeToken) -> Result<Vec<u8>, StoreError> {
    encode(&TokenRow {
        expires_at: millis(token.expires_at),
        purpose: purpose_byte(token.purpose),
        user_id: token.user_id,
    })
}

pub(super) fn decode_token(digest: Digest, bytes: &[u8]) -> Result<OneTimeToken, StoreError> {
    let row: TokenRow = decode(bytes, "a one-time token")?;
    let purpose = match row.purpose {
        1 => Purpose::SetPassword,
        other => return Err(StoreError::Corrupt(format!("a one-time token of purpose {other}"))),
    };
    Ok(OneTimeToken { digest, expires_at: time(row.expires_at), purpose, user_id: row.user_id })
}

/// A purpose in keys and rows; never given to another one.
pub(super) fn purpose_byte(purpose: Purpose) -> u8 {
    match purpose {
        Purpose::SetPassword => 1,
    }
}

#[derive(Deserialize, Serialize)]
struct KeyRow {
    algorithm: String,
    created_at: u64,
    kid: String,
    #[serde(with = "secret_bytes")]
    private: SecretBox<[u8]>,
}

pub(super) fn encode_key(key: &SigningKey) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let row = KeyRow {
        algorithm: key.algorithm.clone(),
        created_at: millis(key.created_at),
        kid: key.kid.clone(),
        private: key.private.clone(),
    };
    encode(&row).map(Zeroizing::new)
}

pub(super) fn decode_key(bytes: &[u8]) -> Result<SigningKey, StoreError> {
    let row: KeyRow = decode(bytes, "a signing key")?;
    Ok(SigningKey {
        algorithm: row.algorithm,
        created_at: time(row.created_at),
        kid: row.kid,
        private: row.private,
    })
}

/// Milliseconds since 1970, what the store keeps of a time.
pub(super) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The time as it will be read back.
pub(super) fn time(millis: u64) -> SystemTime {
    // 2^64 milliseconds are far within what a SystemTime holds on every system with 64-bit seconds.
    UNIX_EPOCH + Duration::from_millis(millis)
}

pub(super) fn encode<T: Serialize>(row: &T) -> Result<Vec<u8>, StoreError> {
    let bytes = postcard::to_extend(row, vec![VERSION])
        .map_err(|error| StoreError::Corrupt(format!("a record could not be written: {error}")))?;
    if bytes.len() > RECORD_BYTES {
        return Err(StoreError::TooLarge { limit: RECORD_BYTES });
    }
    Ok(bytes)
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, StoreError> {
    match bytes.split_first() {
        Some((&VERSION, row)) => match postcard::take_from_bytes(row) {
            Ok((row, [])) => Ok(row),
            // The message never holds content: a broken row may be a password hash or a key.
            Ok((_, rest)) => Err(StoreError::Corrupt(format!("{what} with {} bytes too many", rest.len()))),
            Err(_) => Err(StoreError::Corrupt(format!("{what} that doesn't parse"))),
        },
        Some((version, _)) => Err(StoreError::Corrupt(format!("{what} of version {version}"))),
        None => Err(StoreError::Corrupt(format!("{what} without content"))),
    }
}

/// The first `bytes` of a text, less what would be half a character.
fn beginning(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Keys pass through serde by this one door.
mod secret_bytes {
    use secrecy::{ExposeSecret, SecretBox};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &SecretBox<[u8]>, to: S) -> Result<S::Ok, S::Error> {
        value.expose_secret().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SecretBox<[u8]>, D::Error> {
        Ok(SecretBox::new(Box::deserialize(from)?))
    }
}

/// Hashes pass through serde by this one door; `SecretString` has none of its own.
mod secret_text {
    use secrecy::{ExposeSecret, SecretString};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Option<SecretString>, to: S) -> Result<S::Ok, S::Error> {
        value.as_ref().map(ExposeSecret::expose_secret).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SecretString>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(SecretString::from))
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn user() -> User {
        User {
            created_at: time(1_700_000_000_123),
            credentials_since: Some(time(1)),
            disabled: true,
            email: Some("Zoë@example.com".parse().expect("an address")),
            id: UserId::generate(),
            name: "Zoë".parse().expect("a name"),
            password_hash: Some("$argon2id$x".into()),
            roles: ["admin", "b"].iter().map(|role| role.parse().expect("a role")).collect(),
            username: "zoë".parse().expect("a name"),
            version: 7,
        }
    }

    #[test]
    fn an_account_comes_back_as_it_went() {
        let user = user();
        let back = decode_user(&encode_user(&user).expect("encodes")).expect("decodes");
        assert_eq!(
            (back.created_at, back.disabled, &back.email, back.id, &back.name),
            (user.created_at, user.disabled, &user.email, user.id, &user.name)
        );
        assert_eq!(
            (back.credentials_since, &back.roles, &back.username, back.version),
            (user.credentials_since, &user.roles, &user.username, user.version)
        );
        assert_eq!(back.password_hash.expect("a hash").expose_secret(), "$argon2id$x");
    }

    #[test]
    fn a_row_that_is_newer_cut_or_longer_is_corrupt_and_names_no_content() {
        let good = encode_user(&user()).expect("encodes");
        let mut newer = good.clone();
        newer[0] = VERSION + 1;
        let cut = &good[..good.len() - 1];
        let mut longer = good.clone();
        longer.push(0);
        for bad in [&newer[..], cut, &longer[..], &[]] {
            let error = decode_user(bad).expect_err("refused");
            assert!(matches!(&error, StoreError::Corrupt(_)), "{error}");
            assert!(!error.to_string().contains("argon2id"), "{error}");
        }
    }

    #[test]
    fn a_row_that_is_too_large_is_refused() {
        let roles = (0..500).map(|n| format!("role-number-{n}").parse().expect("a role")).collect();
        let large = User { roles, ..user() };
        assert!(matches!(encode_user(&large), Err(StoreError::TooLarge { .. })));
    }

    #[test]
    fn a_long_user_agent_is_cut_between_characters() {
        assert_eq!(beginning("aéb", 2), "a");
        assert_eq!(beginning("ab", 256), "ab");
    }
}
