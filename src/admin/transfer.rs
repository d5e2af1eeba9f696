//! Accounts on their way in and out: with their hashes, a slice at a time.
//!
//! The record is what a line of an import or an export says, and its serde form is that line as JSON.
//!
//! Callers: `admin` and, through it, `cli`. What a file looks like is `cli`'s, what importing means `account`'s.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::message::Secret;
use crate::identity::{DisplayName, Email, Role, Username};
use crate::store::User;

/// An account with its hash. The order of the members is the order of an export's columns.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AccountRecord {
    /// The login name.
    pub username: Username,
    /// Its address, if it has one.
    pub email: Option<Email>,
    /// For display; may be empty.
    pub name: DisplayName,
    /// Its roles.
    pub roles: BTreeSet<Role>,
    /// In one of the formats that are verified; `None` until a password is set.
    pub password_hash: Option<Secret>,
    /// Whether it can't sign in.
    pub disabled: bool,
    /// What it waits for until it can sign in.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub awaits: BTreeSet<Awaited>,
    /// In which its mails are written: a tag such as `de`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// What an account can wait for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Awaited {
    /// An administrator lets it in.
    Approval,
    /// Its address is confirmed.
    Confirmation,
}

impl Awaited {
    /// As a file has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::Confirmation => "confirmation",
        }
    }
}

impl From<User> for AccountRecord {
    fn from(user: User) -> Self {
        let approval = user.awaits_approval.then_some(Awaited::Approval);
        let confirmation = user.awaits_confirmation.then_some(Awaited::Confirmation);
        Self {
            awaits: approval.into_iter().chain(confirmation).collect(),
            language: user.language,
            username: user.username,
            email: user.email,
            name: user.name,
            roles: user.roles,
            password_hash: user.password_hash.map(Secret),
            disabled: user.disabled,
        }
    }
}

/// Accounts to make, as many as a line holds.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ImportUsers {
    /// Which.
    pub accounts: Vec<AccountRecord>,
    /// Looks whether they could be made, and makes none.
    pub check: bool,
}

/// What came of them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Imported {
    /// How many were made, or could be.
    pub made: usize,
    /// The others: their places among those that were sent, from 0, and why.
    pub refused: Vec<(usize, Refusal)>,
    /// The store failed, and the accounts that are neither made nor refused were not made.
    pub failure: Option<String>,
}

/// Why one account can't be made.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Another account has this address.
    #[error("another account has this e-mail address already")]
    EmailTaken,
    /// The hash can't be used.
    #[error("{reason}")]
    Hash {
        /// What is wrong with it; never the hash.
        reason: String,
    },
    /// It is more than the store keeps in one place.
    #[error("the account is larger than {limit} bytes: give it fewer roles or a shorter name")]
    TooLarge {
        /// What it may have.
        limit: usize,
    },
    /// No new account gets this name.
    #[error("{reason}")]
    Username {
        /// What is wrong with it.
        reason: String,
    },
    /// Another account has this name.
    #[error("another account has this username already")]
    UsernameTaken,
}

/// How the passwords of some accounts are kept.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SchemeCounts {
    /// Accounts.
    pub accounts: u64,
    /// Of those, the ones without a password.
    pub without_password: u64,
    /// Of the others, how many are on which scheme.
    pub schemes: BTreeMap<String, u64>,
}

impl SchemeCounts {
    /// Counts these as well.
    pub fn add(&mut self, others: Self) {
        self.accounts += others.accounts;
        self.without_password += others.without_password;
        for (scheme, count) in others.schemes {
            *self.schemes.entry(scheme).or_default() += count;
        }
    }
}
