//! What a line says, before any of it is believed, and the account that it is.
//!
//! A cell's content is never repeated: in a file whose columns are in another order than it says, any of them may
//! hold a hash.
//!
//! Callers: the formats.

use std::collections::BTreeSet;

use secrecy::SecretString;

use crate::admin::{AccountRecord, Awaited, Secret};
use crate::identity::{Email, Role};

/// The columns or members that there are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Column {
    Username,
    Email,
    Name,
    Roles,
    PasswordHash,
    Disabled,
    Awaits,
    Language,
}

impl Column {
    pub(super) const ALL: [Self; 8] = [
        Self::Username,
        Self::Email,
        Self::Name,
        Self::Roles,
        Self::PasswordHash,
        Self::Disabled,
        Self::Awaits,
        Self::Language,
    ];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|column| column.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Username => "username",
            Self::Email => "email",
            Self::Name => "name",
            Self::Roles => "roles",
            Self::PasswordHash => "password_hash",
            Self::Disabled => "disabled",
            Self::Awaits => "awaits",
            Self::Language => "language",
        }
    }
}

/// All names, for a sentence.
pub(super) fn columns() -> String {
    Column::ALL.map(Column::name).join(", ")
}

/// A name that nobody knows, in a sentence, with the known one that is like it; `None` where it looks like data.
pub(super) fn unknown(name: &str) -> Option<String> {
    let word = |c: char| c.is_alphanumeric() || "_- .".contains(c);
    if name.is_empty() || name.chars().count() > 40 || !name.chars().all(word) {
        return None;
    }
    let likeness = |column: &Column| strsim::jaro_winkler(&name.to_lowercase(), column.name());
    let best = Column::ALL.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let near = best.filter(|column| likeness(column) >= 0.8);
    Some(match near {
        Some(column) => format!("`{name}` (did you mean `{}`?)", column.name()),
        None => format!("`{name}`"),
    })
}

/// One line, cell by cell; what is not there is `None`.
#[derive(Default)]
pub(super) struct Row {
    pub(super) awaits: Vec<String>,
    pub(super) disabled: bool,
    pub(super) email: Option<String>,
    /// What was wrong with it before it was looked at as a whole.
    pub(super) faults: Vec<String>,
    pub(super) language: Option<String>,
    pub(super) name: Option<String>,
    pub(super) password_hash: Option<SecretString>,
    pub(super) roles: Vec<String>,
    pub(super) username: Option<String>,
}

impl Row {
    /// The account, or everything that is wrong in one sentence.
    pub(super) fn account(self) -> Result<AccountRecord, String> {
        let mut faults = self.faults;
        let username = match self.username.filter(|name| !name.is_empty()) {
            None => {
                faults.push("there is no username".to_owned());
                None
            }
            Some(name) => parse(&name, &mut faults),
        };
        let email: Option<Email> =
            self.email.filter(|email| !email.is_empty()).and_then(|email| parse(&email, &mut faults));
        let name = self.name.map_or_else(|| Some(Default::default()), |name| parse(&name, &mut faults));
        let mut roles = BTreeSet::new();
        for role in self.roles {
            match parse::<Role>(&role, &mut faults) {
                Some(role) => roles.insert(role),
                // One sentence says it for all of them.
                None => break,
            };
        }
        let mut awaits = BTreeSet::new();
        for awaited in self.awaits {
            match [Awaited::Approval, Awaited::Confirmation].into_iter().find(|one| one.as_str() == awaited) {
                Some(awaited) => drop(awaits.insert(awaited)),
                None => faults.push("`awaits` can be approval or confirmation".to_owned()),
            }
        }
        let language = self.language.filter(|tag| !tag.is_empty());
        if language.as_ref().is_some_and(|tag| !is_tag(tag)) {
            faults.push("`language` has to be a tag such as en or de-AT".to_owned());
        }
        match (username, name) {
            (Some(username), Some(name)) if faults.is_empty() => Ok(AccountRecord {
                username,
                email,
                name,
                roles,
                password_hash: self.password_hash.map(Secret),
                disabled: self.disabled,
                awaits,
                language,
            }),
            _ => Err(faults.join("; ")),
        }
    }
}

fn is_tag(text: &str) -> bool {
    text.len() <= 35
        && text
            .split('-')
            .all(|part| (1..=8).contains(&part.len()) && part.chars().all(|c| c.is_ascii_alphanumeric()))
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str, faults: &mut Vec<String>) -> Option<T> {
    text.parse().map_err(|fault: T::Err| faults.push(fault.to_string())).ok()
}
