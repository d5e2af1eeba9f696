//! Why a command was not carried out: one sentence for the administrator, which says what to do.
//!
//! Callers: `admin` and, through it, `cli`. No sentence repeats a password or a hash.

use serde::{Deserialize, Serialize};

use crate::identity::{TokenId, UserId, Username};
use crate::store::ShortId;

/// Why nothing was done. The sentence is for the administrator and says what to do.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// More hashes wait than the queue holds.
    #[error("too many passwords are being hashed at the moment; try again in a few seconds")]
    Busy,
    /// The configuration was not taken over; each fault is shown with its place.
    #[error("the configuration was not reloaded, and the one before stays in force\n{faults}")]
    Configuration {
        /// As `foregate check` prints them.
        faults: String,
    },
    /// Nothing can be made for it.
    #[error("the account `{username}` may not sign in; `foregate user show {username}` says why")]
    MayNotSignIn {
        /// Whose account.
        username: Username,
    },
    /// The account is there and can't be read.
    #[error(
        "the account `{login}` (key {key}) can't be read: the store is damaged, or was written by a newer version; \
         a backup brings it back, `foregate user delete {login} --yes` takes it away for good"
    )]
    Damaged {
        /// Its row's.
        key: UserId,
        /// As typed.
        login: String,
    },
    /// Another account has this address.
    #[error(
        "the e-mail address {email} belongs to another account; `foregate user show {email}` shows which, \
         choose another address or change that account first"
    )]
    EmailTaken {
        /// The address.
        email: String,
    },
    /// The hash is of no use.
    #[error("the password hash can't be used: {reason}")]
    Hash {
        /// What is wrong with it; never the hash.
        reason: String,
    },
    /// No invitation is open that is meant.
    #[error(
        "there is no open invitation `{which}`; it may have been used or have ended by itself, `foregate invitation list` shows all of them"
    )]
    NoInvitation {
        /// An address, or an id as `invitation list` shows it.
        which: String,
    },
    /// No session has this name.
    #[error(
        "there is no session `{id}`; it may have ended by itself, `foregate session list` shows all of them"
    )]
    NoSession {
        /// As `session list` shows it.
        id: ShortId,
    },
    /// There is no such account.
    #[error("there is no account `{login}`{}", suggestion(nearest))]
    NotFound {
        /// As typed.
        login: String,
        /// The account whose name is closest, if one is close.
        nearest: Option<Username>,
    },
    /// There is no such token.
    #[error(
        "there is no personal access token {id}: it was revoked or has expired; `foregate token list NAME` shows those of an account"
    )]
    NoToken {
        /// Which.
        id: TokenId,
    },
    /// Only a running server can do this.
    #[error("no server is running")]
    NotRunning,
    /// The configuration is sound and could not be put into force, or not now.
    #[error("the configuration was not reloaded: {reason}")]
    NotReloaded {
        /// Why.
        reason: String,
    },
    /// The request could not be read.
    #[error(
        "the server did not understand the command: it may run another version of Foregate than this one; \
         restart it after an upgrade"
    )]
    NotUnderstood,
    /// The operator's own keys sign.
    #[error(
        "no key was made: the keys of `tokens.keys` sign; put the file of a new one before the others, and reload"
    )]
    OwnKeys,
    /// The store failed.
    #[error("nothing was changed, for the store failed: {reason}")]
    Store {
        /// What it said.
        reason: String,
    },
    /// A line is longer than the protocol takes.
    #[error("the command is longer than {limit} bytes; give fewer or shorter values")]
    TooLong {
        /// What a line may have.
        limit: usize,
    },
    /// Nobody could use an invitation.
    #[error(
        "registration is closed, so nobody could use an invitation: set `registration.mode` to `invite`, `approval` \
         or `open`, or make the account with `foregate user add NAME --email {email}`"
    )]
    RegistrationClosed {
        /// Who was to be invited.
        email: String,
    },
    /// As many invitations are open as the store keeps.
    #[error(
        "{limit} invitations are open; `foregate invitation revoke` ends some, and after seven days they end by themselves"
    )]
    TooManyInvitations {
        /// How many that is.
        limit: usize,
    },
    /// The account has as many tokens as it may have.
    #[error(
        "the account `{username}` has {limit} personal access tokens, the most that it may have; revoke one first"
    )]
    TooManyTokens {
        /// How many.
        limit: usize,
        /// Whose account.
        username: Username,
    },
    /// No new account gets this name.
    #[error("{reason}; choose another one")]
    Username {
        /// What is wrong with it.
        reason: String,
    },
    /// Another account has this name.
    #[error(
        "the username `{username}` is taken; choose another, or change that account with \
         `foregate user set {username}`"
    )]
    UsernameTaken {
        /// The name.
        username: Username,
    },
    /// The policy refuses the password.
    #[error("the password was refused. {reason}")]
    Weak {
        /// A sentence.
        reason: String,
    },
}

fn suggestion(nearest: &Option<Username>) -> String {
    match nearest {
        Some(name) => format!("; did you mean `{name}`?"),
        None => "; `foregate user list` shows all of them".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_to_do() {
        let near = Failure::NotFound { login: "alcie".to_owned(), nearest: "alice".parse().ok() };
        assert_eq!(near.to_string(), "there is no account `alcie`; did you mean `alice`?");
        let far = Failure::NotFound { login: "x".to_owned(), nearest: None };
        assert!(far.to_string().contains("foregate user list"), "{far}");
    }
}
