//! What goes over the admin socket: commands, replies, and an account without its hash.
//!
//! Every field is parsed where it arrives, so a command that could be read is one that makes sense.
//! A password, a hash or a link is a `Secret`: it goes over the socket and into nothing else.
//!
//! Callers: `admin` and, through it, `cli`.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::failure::Failure;
use super::invitation::{InvitationView, RevokeInvitations};
use super::perform::scheme;
use super::personal::{TokenCommand, TokenReply};
use super::session::{RevokeSessions, SessionMark, SessionSummary, SessionView};
use super::transfer::{AccountRecord, ImportUsers, Imported, SchemeCounts};
use crate::identity::{DisplayName, Email, Role, UserId, Username};
use crate::store::{BackupRow, DamagedAccount, SigningKey, User};

/// Something to do. `login` is a username or an address, as typed.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Command {
    /// One slice of the open invitations, in no order of sense; as `UserList`.
    InvitationList {
        /// Where the slice before this one ended.
        after: Option<[u8; 32]>,
    },
    /// Ends invitations.
    InvitationRevoke(RevokeInvitations),
    /// Lists the keys that sign tokens.
    KeyList,
    /// Signs with a new key from the next token on.
    KeyRotate,
    /// Reads the configuration again and puts it into force.
    Reload,
    /// One slice of the sessions of an account or of all; `next` of the reply is the `after` of the next slice.
    SessionList {
        /// Where the slice before this one ended.
        after: Option<SessionMark>,
        /// Whose; all accounts' without.
        login: Option<String>,
    },
    /// Ends sessions.
    SessionRevoke(RevokeSessions),
    /// Tells which server this is, and how it does.
    Status,
    /// Begins a backup.
    StoreBackup,
    /// Some of the rows that changed since the backup began; the last ones end it.
    StoreChanges {
        /// Which backup.
        id: u64,
        /// Whether nothing may change meanwhile.
        last: bool,
    },
    /// Some rows of the store, in the order of their keys.
    StoreRows {
        /// Behind which key.
        after: Vec<u8>,
    },
    /// Something to do with personal access tokens.
    Token(TokenCommand),
    /// Makes an account.
    UserAdd(AddUser),
    /// Lets in an account that waits for that.
    UserApprove {
        /// Whose.
        login: String,
    },
    /// Deletes an account with everything that hangs on it.
    UserDelete {
        /// Whose.
        login: String,
    },
    /// Disables an account, which ends its sessions and tokens.
    UserDisable {
        /// Whose.
        login: String,
    },
    /// Lets a disabled account sign in again.
    UserEnable {
        /// Whose.
        login: String,
    },
    /// Invites somebody to make an account.
    UserInvite {
        /// Whom.
        email: Email,
        /// What the account gets beside the roles of everybody who registers.
        roles: BTreeSet<Role>,
    },
    /// One slice of all accounts with their hashes, in the order of their names; as `UserList`.
    UserExport {
        /// Where the slice before this one ended.
        after: Option<String>,
    },
    /// Makes accounts with the hashes that they bring along.
    UserImport(ImportUsers),
    /// One slice of all accounts in the order of their names; `next` of the reply is the `after` of the next slice.
    UserList {
        /// Where the slice before this one ended.
        after: Option<String>,
    },
    /// Counts how the passwords of one slice of all accounts are kept; as `UserList`.
    UserSchemes {
        /// Where the slice before this one ended.
        after: Option<String>,
    },
    /// Changes an account.
    UserSet(SetUser),
    /// Shows an account.
    UserShow {
        /// Whose.
        login: String,
    },
    /// Clears the failed logins at an account.
    UserUnlock {
        /// Whose.
        login: String,
    },
}

impl Command {
    /// Whether it is one of thousands that belong together, of which the first is told.
    pub fn is_one_of_many(&self) -> bool {
        matches!(
            self,
            Self::StoreChanges { .. }
                | Self::StoreRows { .. }
                | Self::UserExport { .. }
                | Self::UserImport(_)
                | Self::UserSchemes { .. }
        )
    }

    /// As on the command line: for the log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::InvitationList { .. } => "invitation list",
            Self::InvitationRevoke(_) => "invitation revoke",
            Self::KeyList => "key list",
            Self::KeyRotate => "key rotate",
            Self::Reload => "reload",
            Self::SessionList { .. } => "session list",
            Self::SessionRevoke(_) => "session revoke",
            Self::Status => "status",
            Self::StoreBackup => "store backup",
            Self::StoreChanges { .. } => "store backup: changes",
            Self::StoreRows { .. } => "store backup: rows",
            Self::Token(command) => command.name(),
            Self::UserAdd(_) => "user add",
            Self::UserApprove { .. } => "user approve",
            Self::UserDelete { .. } => "user delete",
            Self::UserDisable { .. } => "user disable",
            Self::UserEnable { .. } => "user enable",
            Self::UserInvite { .. } => "user invite",
            Self::UserExport { .. } => "user export",
            Self::UserImport(_) => "user import",
            Self::UserList { .. } => "user list",
            Self::UserSchemes { .. } => "user schemes",
            Self::UserSet(_) => "user set",
            Self::UserShow { .. } => "user show",
            Self::UserUnlock { .. } => "user unlock",
        }
    }
}

/// An account to make.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AddUser {
    /// Its address, if it has one.
    pub email: Option<Email>,
    /// For display.
    pub name: DisplayName,
    /// How it gets its password.
    pub password: Password,
    /// Its roles.
    pub roles: BTreeSet<Role>,
    /// Its login name.
    pub username: Username,
}

/// How a new account gets its password.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Password {
    /// A hash from elsewhere.
    Hash(Secret),
    /// The person sets one, by a link.
    Link,
    /// This one, if the policy takes it.
    Plain(Secret),
}

/// What to change of an account; `None` leaves a field as it is.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SetUser {
    /// A new address.
    pub email: Option<Email>,
    /// Whose account, by name or address.
    pub login: String,
    /// For display.
    pub name: Option<DisplayName>,
    /// A new password, if the policy takes it. All sessions end.
    pub password: Option<Secret>,
    /// The whole new set.
    pub roles: Option<BTreeSet<Role>>,
}

/// What came of a command.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The account that was shown or changed, as it is now; after a deletion, as it was.
    Account(AccountView),
    /// A slice of all accounts.
    Accounts {
        /// In the order of their names.
        accounts: Vec<AccountView>,
        /// Those among them that can't be read.
        #[serde(default)]
        damaged: Vec<DamagedView>,
        /// After which name the next slice begins; `None` at the end.
        next: Option<String>,
    },
    /// The account that was made.
    Added {
        /// As it is now.
        account: AccountView,
        /// With which the person sets a password, once.
        link: Option<Secret>,
    },
    /// A backup has begun.
    BackupBegun {
        /// Its number.
        id: u64,
    },
    /// Some rows of the store.
    BackupRows {
        /// Whether these are the last ones that changed.
        all: bool,
        /// As they are kept: with hashes and keys.
        rows: Vec<BackupRow>,
    },
    /// Sessions have ended.
    Ended {
        /// Where to go on, where there may be more.
        next: Option<SessionMark>,
        /// How many.
        sessions: usize,
    },
    /// An account that could not be read is gone.
    DamagedDeleted(DamagedView),
    /// A slice of all accounts, with their hashes.
    Exported {
        /// In the order of their names.
        accounts: Vec<AccountRecord>,
        /// Those among them that can't be read.
        #[serde(default)]
        damaged: Vec<DamagedView>,
        /// After which name the next slice begins; `None` at the end.
        next: Option<String>,
    },
    /// Nothing was done.
    Failed(Failure),
    /// Somebody is invited.
    Invited {
        /// With which they make an account, once.
        link: Secret,
        /// It was mailed to them as well.
        mailed: bool,
    },
    /// A slice of the open invitations.
    Invitations {
        /// In no order of sense.
        invitations: Vec<InvitationView>,
        /// After which the next slice begins; `None` at the end.
        next: Option<[u8; 32]>,
    },
    /// Invitations have ended.
    InvitationsEnded {
        /// How many.
        count: usize,
    },
    /// What came of the accounts that were sent.
    Imported(Imported),
    /// The key that was made.
    Key {
        /// As it is now.
        key: KeyView,
    },
    /// The keys, newest first.
    Keys {
        /// Each with what it does.
        keys: Vec<KeyView>,
    },
    /// The configuration is in force.
    Reloaded {
        /// Its file.
        config: PathBuf,
        /// What is sound in it and yet unwise.
        warnings: Vec<String>,
    },
    /// How the passwords of a slice of all accounts are kept.
    Schemes {
        /// Of this slice.
        counts: SchemeCounts,
        /// Those among them that can't be read.
        #[serde(default)]
        damaged: Vec<DamagedView>,
        /// After which name the next slice begins; `None` at the end.
        next: Option<String>,
    },
    /// A slice of sessions.
    Sessions {
        /// Accounts with sessions among these that can't be read.
        #[serde(default)]
        damaged: Vec<UserId>,
        /// Where the next slice begins; `None` at the end.
        next: Option<SessionMark>,
        /// Those of one account together.
        sessions: Vec<SessionView>,
    },
    /// Which server this is.
    Status(ServerStatus),
    /// What came of a command about personal access tokens.
    Token(TokenReply),
}

/// Which server answers, and how it does.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ServerStatus {
    /// Its version.
    pub version: String,
    /// Its process id.
    pub process: u32,
    /// When it began to serve.
    pub started_at: Moment,
    /// Whether new requests are welcome: not stopping, and the store works.
    pub ready: bool,
    /// The file of its configuration.
    pub config: PathBuf,
    /// What it listens on.
    pub listening: Vec<String>,
    /// Connections that are open.
    pub connections: usize,
    /// The servers of the upstreams.
    pub servers: Vec<UpstreamServer>,
    /// The last reload, if there was one.
    pub last_reload: Option<ReloadStatus>,
}

/// One server of an upstream.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct UpstreamServer {
    /// The upstream's name.
    pub upstream: String,
    /// As in the configuration.
    pub server: String,
    /// `up`, `down` by its checks, or `ejected` for a while after failures.
    pub state: String,
    /// Requests under way, tunnels and streams included.
    pub in_flight: usize,
    /// Requests that were given to it since the start.
    pub requests: u64,
    /// Of those, the ones that got no answer.
    pub failures: u64,
}

/// What came of a reload.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReloadStatus {
    /// When.
    pub at: Moment,
    /// Why nothing changed; `None` where the configuration was put into force.
    pub error: Option<String>,
}

/// A key as administrators see it; the private part is in the store alone.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct KeyView {
    /// Its name in tokens and in the key set.
    pub kid: String,
    /// What it signs with.
    pub algorithm: String,
    /// `next`, `signing` or `verifying`.
    pub state: String,
    /// When it was made.
    pub created_at: Moment,
    /// From then on it signs, or has begun to.
    pub signs_from: Moment,
}

impl KeyView {
    /// Of a stored key and what it does.
    pub fn new(key: &SigningKey, state: &str) -> Self {
        Self {
            algorithm: key.algorithm.clone(),
            created_at: Moment(key.created_at),
            kid: key.kid.clone(),
            signs_from: Moment(key.signs_from),
            state: state.to_owned(),
        }
    }
}

/// An account that is there and can't be read.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct DamagedView {
    /// Its number, which is its row's key.
    pub id: UserId,
    /// Its name, folded.
    pub name: String,
    /// What the row fails by.
    pub reason: String,
}

impl From<DamagedAccount> for DamagedView {
    fn from(DamagedAccount { id, name, reason }: DamagedAccount) -> Self {
        Self { id, name, reason }
    }
}

/// An account as administrators see it. There is no hash in it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AccountView {
    /// The login name.
    pub username: Username,
    /// Its address, if it has one.
    pub email: Option<Email>,
    /// For display; may be empty.
    pub name: DisplayName,
    /// Its roles.
    pub roles: BTreeSet<Role>,
    /// Whether it can't sign in.
    pub disabled: bool,
    /// Whether it can't sign in before its address is confirmed.
    #[serde(default)]
    pub unconfirmed: bool,
    /// Whether it can't sign in before an administrator lets it in.
    #[serde(default)]
    pub waiting: bool,
    /// Whether it only keeps its name, for somebody who has registered with another account's address. It goes by
    /// itself, and nobody is told.
    #[serde(default)]
    pub stand_in: bool,
    /// Whether a password is set.
    pub has_password: bool,
    /// How it is kept: `Argon2id`, or another application's scheme until the next login.
    #[serde(default)]
    pub password_scheme: Option<String>,
    /// Sessions and tokens from before this are void: when the password was set or the account disabled.
    pub credentials_since: Option<Moment>,
    /// When the account was made.
    pub created_at: Moment,
    /// Its number, `sub` in its tokens.
    pub id: UserId,
    /// Its sessions, where one account is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<SessionSummary>,
}

impl From<User> for AccountView {
    fn from(user: User) -> Self {
        Self {
            created_at: Moment(user.created_at),
            credentials_since: user.credentials_since.map(Moment),
            stand_in: user.is_stand_in(),
            disabled: user.disabled,
            email: user.email,
            has_password: user.password_hash.is_some(),
            password_scheme: user.password_hash.as_ref().map(|hash| scheme(hash).to_owned()),
            id: user.id,
            name: user.name,
            roles: user.roles,
            unconfirmed: user.awaits_confirmation,
            waiting: user.awaits_approval,
            sessions: None,
            username: user.username,
        }
    }
}

/// Where links to our pages begin: the public origin and the portal's prefix.
#[derive(Clone, Debug)]
pub struct LinkBase(String);

impl LinkBase {
    /// `https://login.example.com` and `/.auth`.
    pub fn new(origin: &str, prefix: &str) -> Self {
        Self(format!("{}{prefix}", origin.trim_end_matches('/')))
    }

    /// The page that sets a password, once.
    pub fn reset(&self, token: &SecretString) -> SecretString {
        // A token is base64url: nothing in it has to be escaped.
        format!("{}/reset?token={}", self.0, token.expose_secret()).into()
    }

    /// The login page.
    pub fn login(&self) -> String {
        format!("{}/login", self.0)
    }
}

/// Text that goes over the socket and into no `Debug`, error or log.
#[derive(Clone, Debug)]
pub struct Secret(pub SecretString);

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose_secret())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

/// A time, written in whole seconds as RFC 3339 has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Moment(pub SystemTime);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX).fmt(f)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Self(time.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(password: Password) -> Command {
        Command::UserAdd(AddUser {
            email: "alice@example.com".parse().ok(),
            name: "Alice".parse().expect("a name"),
            password,
            roles: BTreeSet::from(["staff".parse().expect("a role")]),
            username: "alice".parse().expect("a username"),
        })
    }

    #[test]
    fn a_secret_goes_over_the_socket_and_into_no_debug() {
        for password in [Password::Plain(Secret("hunter2".into())), Password::Hash(Secret("hunter2".into()))]
        {
            let command = add(password);
            assert!(!format!("{command:?}").contains("hunter2"), "{command:?}");
            let line = serde_json::to_string(&command).expect("a command is JSON");
            let Ok(Command::UserAdd(back)) = serde_json::from_str(&line) else { panic!("{line}") };
            let (Password::Plain(secret) | Password::Hash(secret)) = back.password else { panic!("{line}") };
            assert_eq!(secret.0.expose_secret(), "hunter2");
        }
    }

    #[test]
    fn a_command_with_a_bad_field_is_no_command() {
        for bad in [
            "",
            "{}",
            "null",
            r#"{"user_show":{}}"#,
            r#"{"user_show":{"login":"a","force":true}}"#,
            r#"{"user_list":{"after":5}}"#,
            r#"{"user_drop":{"login":"a"}}"#,
            r#"{"user_show":{"login":"a"}} "status""#,
        ] {
            assert!(serde_json::from_str::<Command>(bad).is_err(), "{bad}");
        }
        assert!(matches!(serde_json::from_str("\"status\""), Ok(Command::Status)));
    }

    #[test]
    fn a_view_has_no_hash_and_readable_times() {
        let user = User {
            awaits_approval: false,
            awaits_confirmation: false,
            goes_unconfirmed: false,
            created_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_900),
            credentials_since: None,
            disabled: false,
            email: None,
            id: UserId::generate(),
            language: None,
            name: DisplayName::default(),
            password_hash: Some("$argon2id$…".into()),
            roles: BTreeSet::new(),
            username: "alice".parse().expect("a username"),
            version: 1,
        };
        let json = serde_json::to_string(&AccountView::from(user)).expect("a view is JSON");
        assert!(!json.contains("argon2"), "{json}");
        assert!(json.contains(r#""created_at":"2023-11-14T22:13:20Z""#), "{json}");
        let back: AccountView = serde_json::from_str(&json).expect("it reads back");
        assert!(back.has_password);
        assert_eq!(back.created_at.0, SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    }

    #[test]
    fn a_link_begins_at_the_public_origin() {
        let links = LinkBase::new("https://login.example.com", "/.auth");
        let link = links.reset(&"abc".into());
        assert_eq!(link.expose_secret(), "https://login.example.com/.auth/reset?token=abc");
    }
}
