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
mod refresh;
use super::{Digest, Invitation, OneTimeToken, Purpose, Session, SigningKey, StoreError, User};
use super::{MailContent, QueuedMail};
use crate::identity::{DisplayName, Email, Role, UserId, Username};
pub(super) use refresh::{decode_family, encode_family};

/// sled puts a page over 128 KiB into a file of its own, which it never syncs. A page holds up to
/// twenty rows, so the limit that keeps every page in the log is a twentieth of that, with some air.
pub(super) const RECORD_BYTES: usize = 5 << 10;

/// What is kept of a browser's name for itself.
const USER_AGENT_BYTES: usize = 256;

const VERSION: u8 = 1;

/// Of accounts: they can wait for a confirmation and for an approval, and have a language.
const USER_VERSION: u8 = 2;

/// Of one-time tokens: they can carry an address.
const TOKEN_VERSION: u8 = 2;

/// Of signing keys: they say from when on they sign.
const KEY_VERSION: u8 = 2;

/// Fields are read by position.
#[derive(Deserialize, Serialize)]
struct UserRow {
    awaits_approval: bool,
    awaits_confirmation: bool,
    goes_unconfirmed: bool,
    created_at: u64,
    credentials_since: Option<u64>,
    disabled: bool,
    email: Option<Email>,
    id: UserId,
    language: Option<String>,
    name: DisplayName,
    #[serde(with = "secret_text")]
    password_hash: Option<SecretString>,
    roles: BTreeSet<Role>,
    username: Username,
    version: u64,
}

#[derive(Deserialize)]
struct UserRow1 {
    created_at: u64,
    disabled: bool,
    email: Option<Email>,
    id: UserId,
    name: DisplayName,
    // Read by position: it stands here, out of the order of the alphabet.
    credentials_since: Option<u64>,
    #[serde(with = "secret_text")]
    password_hash: Option<SecretString>,
    roles: BTreeSet<Role>,
    username: Username,
    version: u64,
}

impl From<UserRow1> for UserRow {
    /// Nobody had to wait for anything then.
    fn from(row: UserRow1) -> Self {
        Self {
            awaits_approval: false,
            awaits_confirmation: false,
            goes_unconfirmed: false,
            created_at: row.created_at,
            credentials_since: row.credentials_since,
            disabled: row.disabled,
            email: row.email,
            id: row.id,
            language: None,
            name: row.name,
            password_hash: row.password_hash,
            roles: row.roles,
            username: row.username,
            version: row.version,
        }
    }
}

pub(super) fn encode_user(user: &User) -> Result<Vec<u8>, StoreError> {
    let row = UserRow {
        awaits_approval: user.awaits_approval,
        awaits_confirmation: user.awaits_confirmation,
        goes_unconfirmed: user.goes_unconfirmed,
        created_at: millis(user.created_at),
        credentials_since: user.credentials_since.map(millis),
        disabled: user.disabled,
        email: user.email.clone(),
        id: user.id,
        language: user.language.clone(),
        name: user.name.clone(),
        password_hash: user.password_hash.clone(),
        roles: user.roles.clone(),
        username: user.username.clone(),
        version: user.version,
    };
    encode_as(USER_VERSION, &row)
}

pub(super) fn decode_user(bytes: &[u8]) -> Result<User, StoreError> {
    let what = "an account";
    let row: UserRow = match bytes.first() {
        Some(&VERSION) => decode::<UserRow1>(bytes, what)?.into(),
        _ => decode_as(USER_VERSION, bytes, what)?,
    };
    Ok(User {
        awaits_approval: row.awaits_approval,
        awaits_confirmation: row.awaits_confirmation,
        goes_unconfirmed: row.goes_unconfirmed,
        created_at: time(row.created_at),
        credentials_since: row.credentials_since.map(time),
        disabled: row.disabled,
        email: row.email,
        id: row.id,
        language: row.language,
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
    email: Option<Email>,
    expires_at: u64,
    purpose: u8,
    user_id: UserId,
}

#[derive(Deserialize)]
struct TokenRow1 {
    expires_at: u64,
    purpose: u8,
    user_id: UserId,
}

pub(super) fn encode_token(token: &OneTimeToken) -> Result<Vec<u8>, StoreError> {
    let email = match &token.purpose {
        Purpose::ConfirmNewEmail(email) => Some(email.clone()),
        Purpose::ConfirmEmail | Purpose::SetPassword => None,
    };
    let row = TokenRow {
        email,
        expires_at: millis(token.expires_at),
        purpose: purpose_byte(&token.purpose),
        user_id: token.user_id,
    };
    encode_as(TOKEN_VERSION, &row)
}

pub(super) fn decode_token(digest: Digest, bytes: &[u8]) -> Result<OneTimeToken, StoreError> {
    let what = "a one-time token";
    let row: TokenRow = match bytes.first() {
        Some(&VERSION) => {
            let TokenRow1 { expires_at, purpose, user_id } = decode(bytes, what)?;
            TokenRow { email: None, expires_at, purpose, user_id }
        }
        _ => decode_as(TOKEN_VERSION, bytes, what)?,
    };
    let purpose = match (row.purpose, row.email) {
        (1, None) => Purpose::SetPassword,
        (2, None) => Purpose::ConfirmEmail,
        (3, Some(email)) => Purpose::ConfirmNewEmail(email),
        (other, _) => return Err(StoreError::Corrupt(format!("a one-time token of purpose {other}"))),
    };
    Ok(OneTimeToken { digest, expires_at: time(row.expires_at), purpose, user_id: row.user_id })
}

/// A purpose in keys and rows; never given to another one.
pub(super) fn purpose_byte(purpose: &Purpose) -> u8 {
    match purpose {
        Purpose::SetPassword => 1,
        Purpose::ConfirmEmail => 2,
        Purpose::ConfirmNewEmail(_) => 3,
    }
}

#[derive(Deserialize, Serialize)]
struct InvitationRow {
    email: Email,
    expires_at: u64,
    invited_by: Option<UserId>,
    roles: BTreeSet<Role>,
}

pub(super) fn encode_invitation(invitation: &Invitation) -> Result<Vec<u8>, StoreError> {
    encode(&InvitationRow {
        email: invitation.email.clone(),
        expires_at: millis(invitation.expires_at),
        invited_by: invitation.invited_by,
        roles: invitation.roles.clone(),
    })
}

pub(super) fn decode_invitation(digest: Digest, bytes: &[u8]) -> Result<Invitation, StoreError> {
    let row: InvitationRow = decode(bytes, "an invitation")?;
    Ok(Invitation {
        digest,
        email: row.email,
        expires_at: time(row.expires_at),
        invited_by: row.invited_by,
        roles: row.roles,
    })
}

#[derive(Deserialize, Serialize)]
struct KeyRow {
    algorithm: String,
    created_at: u64,
    kid: String,
    #[serde(with = "secret_bytes")]
    private: SecretBox<[u8]>,
    signs_from: u64,
}

/// It signed from its making on.
#[derive(Deserialize)]
struct KeyRow1 {
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
        signs_from: millis(key.signs_from),
    };
    encode_as(KEY_VERSION, &row).map(Zeroizing::new)
}

pub(super) fn decode_key(bytes: &[u8]) -> Result<SigningKey, StoreError> {
    let what = "a signing key";
    let row: KeyRow = match bytes.first() {
        Some(&VERSION) => {
            let KeyRow1 { algorithm, created_at, kid, private } = decode(bytes, what)?;
            KeyRow { algorithm, created_at, kid, private, signs_from: created_at }
        }
        _ => decode_as(KEY_VERSION, bytes, what)?,
    };
    Ok(SigningKey {
        algorithm: row.algorithm,
        created_at: time(row.created_at),
        kid: row.kid,
        private: row.private,
        signs_from: time(row.signs_from),
    })
}

#[derive(Deserialize, Serialize)]
struct MailRow {
    attempts: u32,
    created_at: u64,
    #[serde(with = "secret_text")]
    message: Option<SecretString>,
    to: Email,
}

pub(super) fn encode_mail(mail: &QueuedMail) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let MailContent { attempts, created_at, message, to } = &mail.content;
    let row = MailRow {
        attempts: *attempts,
        created_at: millis(*created_at),
        message: Some(message.clone()),
        to: to.clone(),
    };
    encode(&row).map(Zeroizing::new)
}

pub(super) fn decode_mail(bytes: &[u8]) -> Result<MailContent, StoreError> {
    let row: MailRow = decode(bytes, "a mail")?;
    let message = row.message.ok_or_else(|| StoreError::Corrupt("a mail that says nothing".to_owned()))?;
    Ok(MailContent { attempts: row.attempts, created_at: time(row.created_at), message, to: row.to })
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
    encode_as(VERSION, row)
}

fn encode_as<T: Serialize>(version: u8, row: &T) -> Result<Vec<u8>, StoreError> {
    let bytes = postcard::to_extend(row, vec![version])
        .map_err(|error| StoreError::Corrupt(format!("a record could not be written: {error}")))?;
    if bytes.len() > RECORD_BYTES {
        return Err(StoreError::TooLarge { limit: RECORD_BYTES });
    }
    Ok(bytes)
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, StoreError> {
    decode_as(VERSION, bytes, what)
}

/// Reads a row of exactly this version; whoever knows an older one looks at the first byte before.
fn decode_as<T: DeserializeOwned>(version: u8, bytes: &[u8], what: &str) -> Result<T, StoreError> {
    match bytes.split_first() {
        Some((&found, row)) if found == version => match postcard::take_from_bytes(row) {
            Ok((row, [])) => Ok(row),
            // The message never holds content: a broken row may be a password hash or a key.
            Ok((_, rest)) => Err(StoreError::Corrupt(format!("{what} with {} bytes too many", rest.len()))),
            Err(_) => Err(StoreError::Corrupt(format!("{what} that doesn't parse"))),
        },
        Some((found, _)) => Err(StoreError::Corrupt(format!("{what} of version {found}"))),
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
            awaits_approval: true,
            awaits_confirmation: true,
            goes_unconfirmed: true,
            created_at: time(1_700_000_000_123),
            credentials_since: Some(time(1)),
            disabled: true,
            email: Some("Zoë@example.com".parse().expect("an address")),
            id: UserId::generate(),
            language: Some("de".to_owned()),
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
        assert_eq!(
            (back.awaits_approval, back.awaits_confirmation, back.language.as_deref()),
            (true, true, Some("de"))
        );
        assert_eq!(back.password_hash.expect("a hash").expose_secret(), "$argon2id$x");
    }

    #[test]
    fn rows_of_the_first_version_are_read_as_confirmed_and_let_in() {
        let id = UserId::generate();
        #[derive(Serialize)]
        struct Old<'a> {
            created_at: u64,
            disabled: bool,
            email: Option<&'a str>,
            id: UserId,
            name: &'a str,
            credentials_since: Option<u64>,
            password_hash: Option<&'a str>,
            roles: &'a [&'a str],
            username: &'a str,
            version: u64,
        }
        let old = Old {
            created_at: 1_700_000_000_123,
            disabled: false,
            email: Some("Zoë@example.com"),
            id,
            name: "Zoë",
            credentials_since: Some(5),
            password_hash: Some("$argon2id$x"),
            roles: &["staff"],
            username: "zoë",
            version: 7,
        };
        let back = decode_user(&encode(&old).expect("encodes")).expect("decodes");
        assert!(back.may_sign_in(), "{back:?}");
        assert_eq!((back.id, back.username.as_str(), back.version, back.language), (id, "zoë", 7, None));
        assert_eq!(back.credentials_since, Some(time(5)));

        let link = decode_token(Digest::of(b"x"), &encode(&(9_000u64, 1u8, id)).expect("encodes"));
        let link = link.expect("decodes");
        assert_eq!((link.purpose, link.user_id, link.expires_at), (Purpose::SetPassword, id, time(9_000)));
    }

    #[test]
    fn a_link_comes_back_with_its_purpose_and_its_address() {
        let email = || "new@example.com".parse().expect("an address");
        for purpose in [Purpose::SetPassword, Purpose::ConfirmEmail, Purpose::ConfirmNewEmail(email())] {
            let link = OneTimeToken {
                digest: Digest::of(b"x"),
                expires_at: time(9_000),
                purpose: purpose.clone(),
                user_id: UserId::generate(),
            };
            let back = decode_token(link.digest, &encode_token(&link).expect("encodes")).expect("decodes");
            assert_eq!((back.purpose, back.user_id), (purpose, link.user_id));
        }
    }

    #[test]
    fn an_address_of_a_milder_rule_is_read_wherever_it_stands() {
        let odd = "x@a!b";
        assert!(odd.parse::<Email>().is_err(), "nobody comes by one any more");
        let email: Email = odd.to_owned().try_into().expect("as it is kept");
        let digest = Digest::of(b"x");
        let kept = User { email: Some(email.clone()), ..user() };
        let back = decode_user(&encode_user(&kept).expect("encodes")).expect("decodes");
        assert_eq!(back.email.as_ref().map(Email::as_str), Some(odd));
        let link = OneTimeToken {
            digest,
            expires_at: time(9_000),
            purpose: Purpose::ConfirmNewEmail(email.clone()),
            user_id: kept.id,
        };
        decode_token(digest, &encode_token(&link).expect("encodes")).expect("decodes");
        let invitation = Invitation {
            digest,
            email: email.clone(),
            expires_at: time(9_000),
            invited_by: None,
            roles: BTreeSet::new(),
        };
        decode_invitation(digest, &encode_invitation(&invitation).expect("encodes")).expect("decodes");
        let mail = MailRow { attempts: 0, created_at: 1, message: Some("hello".into()), to: email };
        decode_mail(&encode(&mail).expect("encodes")).expect("decodes");
    }

    #[test]
    fn a_row_that_is_newer_cut_or_longer_is_corrupt_and_names_no_content() {
        let good = encode_user(&user()).expect("encodes");
        let mut newer = good.clone();
        newer[0] = USER_VERSION + 1;
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
