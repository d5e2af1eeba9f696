//! The audit trail: who signed in or failed to, and who changed which account, one JSON object a line.
//!
//! Each event goes into the log and, where `log.audit` names a file, into that file (`audit/trail.rs`). Whoever
//! causes it is known here without being handed through every call: a task says at its beginning where it comes
//! from, and what happens within is ascribed to that.
//!
//! Nothing that a person typed comes here: a name that no account has is often a password in the wrong field.
//!
//! Callers: `authn` and `account` tell what happened; `portal`, `gate`, `admin`, `gateway` and `cli` who it was.

use std::fmt::Display;
use std::net::IpAddr;
use std::time::SystemTime;

use http::HeaderValue;
use serde::Serialize;
use tracing::Level;

use super::{Clock, Ration};

mod trail;

pub(super) use self::trail::flush;
pub use self::trail::{AuditFileError, lost, open};

/// What is said of a name that no account has.
const UNKNOWN: &str = "unknown";

/// What a client can cause without any right, and what comes by the hundred thousand. The log tells of some of them,
/// the file of all.
static MANY: Ration = Ration::new(Level::INFO, "audit");

/// Names the events: a word for each that never changes.
macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $outcome:ident;)*) => {
        /// Something that happened to an account, or to the server.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Event {
            $($(#[$doc])* $name,)*
        }

        impl Event {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its word in the trail.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            fn outcome(self) -> Outcome {
                match self {
                    $(Self::$name => Outcome::$outcome,)*
                }
            }
        }
    };
}

events! {
    /// An administrator has made an account.
    AccountAdded = "account_added", Ok;
    /// An administrator has let in an account that waited for that.
    AccountApproved = "account_approved", Ok;
    /// An account was changed: its name, address or roles.
    AccountChanged = "account_changed", Ok;
    /// An account was deleted.
    AccountDeleted = "account_deleted", Ok;
    /// An account was disabled.
    AccountDisabled = "account_disabled", Ok;
    /// A disabled account was enabled.
    AccountEnabled = "account_enabled", Ok;
    /// An account was brought along from elsewhere.
    AccountImported = "account_imported", Ok;
    /// Somebody has made an account.
    AccountRegistered = "account_registered", Ok;
    /// The failed logins of an account were forgotten.
    AccountUnlocked = "account_unlocked", Ok;
    /// All accounts were written out, with their hashes.
    AccountsExported = "accounts_exported", Ok;
    /// A new address was asked for; it holds once it is confirmed.
    AddressChangeAsked = "address_change_asked", Ok;
    /// A new address holds.
    AddressChanged = "address_changed", Ok;
    /// A new account's address was confirmed.
    AddressConfirmed = "address_confirmed", Ok;
    /// Somebody wanted this account's address for another one.
    AddressTaken = "address_taken", Refused;
    /// The configuration was read again.
    ConfigurationReloaded = "configuration_reloaded", Ok;
    /// The configuration was read again, and not put into force.
    ConfigurationRefused = "configuration_refused", Failed;
    /// Somebody was invited to make an account.
    Invited = "invited", Ok;
    /// An invitation was taken back, by its member or an administrator.
    InvitationRevoked = "invitation_revoked", Ok;
    /// A new key signs the tokens.
    KeyRotated = "key_rotated", Ok;
    /// A right password was not looked at, for too many wrong ones came before it.
    LoginBraked = "login_braked", Refused;
    /// A wrong password, a name that nobody has, or a disabled account.
    LoginFailed = "login_failed", Failed;
    /// The right password.
    LoginOk = "login_ok", Ok;
    /// Somebody has signed out.
    Logout = "logout", Ok;
    /// A password was set, by its owner or an administrator.
    PasswordChanged = "password_changed", Ok;
    /// A password was set by a link.
    PasswordReset = "password_reset", Ok;
    /// A link was asked for with which a forgotten password is set.
    PasswordResetAsked = "password_reset_asked", Ok;
    /// A refresh token was used a second time: its family is revoked.
    RefreshTokenReused = "refresh_token_reused", Refused;
    /// Sessions were ended by their owner or an administrator.
    SessionRevoked = "session_revoked", Ok;
    /// A backup of the store was begun.
    StoreBackup = "store_backup", Ok;
    /// A personal access token was made.
    TokenCreated = "token_created", Ok;
    /// A token was revoked, or all of an account.
    TokenRevoked = "token_revoked", Ok;
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Failed,
    Ok,
    Refused,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Ok => "ok",
            Self::Refused => "refused",
        }
    }
}

/// Who causes what happens in a task.
#[derive(Clone)]
pub enum Origin {
    /// An administrator on the command line, by the number of the user who ran it.
    CommandLine {
        /// Of the operating system.
        uid: u32,
    },
    /// A client's request.
    Request {
        /// `X-Request-Id`.
        id: HeaderValue,
        /// The client's address.
        source: IpAddr,
    },
}

tokio::task_local! {
    static ORIGIN: Origin;
}

/// Runs a task whose events are ascribed to this origin.
pub async fn within<T>(origin: Origin, task: impl Future<Output = T>) -> T {
    ORIGIN.scope(origin, task).await
}

/// A task for `tokio::spawn` whose events are ascribed to the origin of whoever makes it.
pub fn inherited<T>(task: impl Future<Output = T>) -> impl Future<Output = T> {
    let origin = ORIGIN.try_with(Origin::clone).ok();
    async move {
        match origin {
            Some(origin) => ORIGIN.scope(origin, task).await,
            None => task.await,
        }
    }
}

/// Where a name and a password are shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Door {
    /// The account page, which asks for the present password.
    Account,
    /// `Authorization: Basic`.
    Basic,
    /// The login page, as a form or as JSON.
    Login,
    /// The token endpoint.
    Token,
}

impl Door {
    /// Its word in the trail.
    fn word(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Basic => "basic",
            Self::Login => "login",
            Self::Token => "token",
        }
    }
}

/// Whom an event is about.
#[derive(Clone, Copy)]
pub enum About<'a> {
    /// This account: its number and its name.
    Account(&'a dyn Display, &'a str),
    /// No account: the server itself.
    Server,
    /// Somebody whom no account is known of.
    Unknown,
}

#[derive(Serialize)]
struct Line<'a> {
    time: &'a str,
    event: &'static str,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_id: Option<&'a str>,
    actor: &'static str,
    /// Only of tries to sign in.
    #[serde(skip_serializing_if = "Option::is_none")]
    door: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

/// Writes an event down. Never waits.
pub fn record(event: Event, about: About<'_>) {
    write(event, about, None);
}

/// Writes down what became of a try to sign in at this door. Never waits.
pub fn record_at(door: Door, event: Event, about: About<'_>) {
    write(event, about, Some(door.word()));
}

fn write(event: Event, about: About<'_>, door: Option<&'static str>) {
    let origin = ORIGIN.try_with(Origin::clone).ok();
    let (actor, uid, source, id) = match &origin {
        None => ("server", None, None, None),
        Some(Origin::CommandLine { uid }) => ("cli", Some(*uid), None, None),
        Some(Origin::Request { id, source }) => ("client", None, Some(*source), id.to_str().ok()),
    };
    let (account, number) = match about {
        About::Account(id, name) => (Some(name), Some(id.to_string())),
        About::Server => (None, None),
        About::Unknown => (Some(UNKNOWN), None),
    };
    let mut clock = Clock::default();
    let line = Line {
        time: clock.at(SystemTime::now()),
        event: event.word(),
        outcome: event.outcome(),
        account,
        account_id: number.as_deref(),
        actor,
        door,
        uid,
        source,
        request_id: id,
    };
    trail::write(|| serde_json::to_vec(&line).unwrap_or_default());
    let is_one_of_many = event == Event::AccountImported || event.outcome().as_str() != "ok";
    if !is_one_of_many || MANY.allows() {
        tracing::info!(
            target: "audit", event = line.event, outcome = line.outcome.as_str(), user.name = account,
            user.id = number.as_deref(), actor, door, uid, client.address = source.map(tracing::field::display),
            request.id = id, "audit"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_has_a_word_of_its_own() {
        let mut words: Vec<_> = Event::ALL.iter().map(|event| event.word()).collect();
        assert!(words.iter().all(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '_')));
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Event::ALL.len());
    }
}
