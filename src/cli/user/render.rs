//! Accounts as text: a table, the details of one, JSON.
//!
//! Callers: `cli::user`.

use std::fmt::Write as _;

use super::{AccountView, SchemeCounts};
use crate::admin::SessionSummary;
use crate::cli::table::lined_up;

const HEADS: [&str; 5] = ["USERNAME", "NAME", "EMAIL", "ROLES", "STATE"];

/// A list that comes in slices, so that its length is of no account.
pub(super) struct Listing {
    json: bool,
    rows: usize,
}

impl Listing {
    pub(super) fn new(json: bool) -> Self {
        Self { json, rows: 0 }
    }

    /// The text of the next slice.
    pub(super) fn slice(&mut self, accounts: &[AccountView]) -> serde_json::Result<String> {
        let first = self.rows == 0;
        self.rows += accounts.len();
        if !self.json {
            return Ok(table(accounts, first));
        }
        let mut text = String::new();
        for (number, account) in accounts.iter().enumerate() {
            text.push_str(if first && number == 0 { "[\n  " } else { ",\n  " });
            text.push_str(&serde_json::to_string(account)?);
        }
        Ok(text)
    }

    /// What closes the list.
    pub(super) fn end(&self) -> String {
        match (self.json, self.rows) {
            (false, _) => String::new(),
            (true, 0) => "[]\n".to_owned(),
            (true, _) => "\n]\n".to_owned(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }
}

/// One account as a JSON object.
pub(super) fn object(account: &AccountView) -> serde_json::Result<String> {
    serde_json::to_string_pretty(account).map(|json| json + "\n")
}

/// One account, a line for each of its properties.
pub(super) fn details(account: &AccountView) -> String {
    let void = account.credentials_since.map(|since| format!("sessions and tokens from before {since}"));
    let lines = [
        ("Username", account.username.to_string()),
        ("Name", dash(account.name.as_str())),
        ("E-mail", dash(account.email.as_ref().map_or("", |email| email.as_str()))),
        ("Roles", dash(&roles(account))),
        ("State", explained(account)),
        ("Password", password(account)),
        ("Sessions", account.sessions.map_or_else(|| "-".to_owned(), sessions)),
        ("Made at", account.created_at.to_string()),
        ("Void", dash(void.as_deref().unwrap_or_default())),
        ("Id", account.id.to_string()),
    ];
    lines.iter().fold(String::new(), |mut text, (label, value)| {
        writeln!(text, "{label:<10}{value}").expect("a String takes text");
        text
    })
}

/// How many passwords are kept in which way.
pub(super) fn schemes(counts: &SchemeCounts) -> String {
    let mut rows = vec![("SCHEME", "ACCOUNTS".to_owned())];
    rows.extend(counts.schemes.iter().map(|(scheme, count)| (scheme.as_str(), count.to_string())));
    rows.push(("no password", counts.without_password.to_string()));
    rows.iter().fold(String::new(), |mut text, (scheme, count)| {
        writeln!(text, "{scheme:<12}{count:>8}").expect("a String takes text");
        text
    })
}

fn sessions(summary: SessionSummary) -> String {
    match summary.last_seen {
        Some(last) => format!("{}, last used at {last}", summary.count),
        None => "none".to_owned(),
    }
}

/// One account within a sentence.
pub(super) fn one_line(account: &AccountView) -> String {
    let known = [account.name.as_str(), account.email.as_ref().map_or("", |email| email.as_str())];
    let known: Vec<&str> = known.into_iter().filter(|text| !text.is_empty()).collect();
    match known.as_slice() {
        [] => format!("`{}`", account.username),
        known => format!("`{}` ({})", account.username, known.join(", ")),
    }
}

fn table(accounts: &[AccountView], with_heads: bool) -> String {
    let rows = accounts.iter().map(|account| {
        [
            account.username.to_string(),
            dash(account.name.as_str()),
            dash(account.email.as_ref().map_or("", |email| email.as_str())),
            dash(&roles(account)),
            state(account).to_owned(),
        ]
    });
    lined_up(HEADS, with_heads, rows)
}

fn roles(account: &AccountView) -> String {
    account.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(",")
}

fn password(account: &AccountView) -> String {
    match (account.has_password, &account.password_scheme) {
        (false, _) => "none yet".to_owned(),
        (true, None) => "set".to_owned(),
        (true, Some(scheme)) => format!("set ({scheme})"),
    }
}

fn state(account: &AccountView) -> &'static str {
    match account {
        AccountView { disabled: true, .. } => "disabled",
        AccountView { stand_in: true, .. } => "stand-in",
        AccountView { unconfirmed: true, .. } => "unconfirmed",
        AccountView { waiting: true, .. } => "waiting for approval",
        AccountView { has_password: false, .. } => "no password",
        AccountView { .. } => "enabled",
    }
}

/// The state, with what it means where a word is too short for that.
fn explained(account: &AccountView) -> String {
    let state = state(account);
    match state {
        "stand-in" => format!(
            "{state}: keeps the name for somebody who registered with another account's address; goes by itself"
        ),
        "unconfirmed" if account.waiting => format!("{state}, and waiting for approval"),
        _ => state.to_owned(),
    }
}

fn dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::admin::Moment;
    use crate::identity::UserId;

    fn account(username: &str, name: &str, email: &str) -> AccountView {
        AccountView {
            created_at: Moment(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)),
            credentials_since: None,
            disabled: false,
            email: email.parse().ok(),
            has_password: true,
            password_scheme: Some("bcrypt".to_owned()),
            id: UserId::from_bytes([1; 16]),
            name: name.parse().expect("a name"),
            unconfirmed: false,
            waiting: false,
            stand_in: false,
            roles: ["staff", "admin"].iter().map(|role| role.parse().expect("a role")).collect(),
            sessions: None,
            username: username.parse().expect("a username"),
        }
    }

    #[test]
    fn a_table_lines_up_and_has_no_trailing_blanks() {
        let text = Listing::new(false)
            .slice(&[account("alice", "Alice Liddell", "a@example.com"), account("zoë", "", "")])
            .expect("text");
        assert_eq!(
            text,
            "USERNAME  NAME           EMAIL          ROLES        STATE\n\
             alice     Alice Liddell  a@example.com  admin,staff  enabled\n\
             zoë       -              -              admin,staff  enabled\n"
        );
    }

    #[test]
    fn each_state_has_a_word() {
        let of = |change: fn(&mut AccountView)| {
            let mut account = account("alice", "", "");
            change(&mut account);
            explained(&account)
        };
        assert_eq!(of(|_| ()), "enabled");
        assert_eq!(of(|account| account.waiting = true), "waiting for approval");
        let both = of(|account| (account.unconfirmed, account.waiting) = (true, true));
        assert_eq!(both, "unconfirmed, and waiting for approval");
        let stand_in = of(|account| (account.unconfirmed, account.stand_in) = (true, true));
        assert!(stand_in.starts_with("stand-in: keeps the name"), "{stand_in}");
        assert_eq!(of(|account| (account.unconfirmed, account.disabled) = (true, true)), "disabled");
    }

    #[test]
    fn slices_make_one_array() {
        for slices in [vec![], vec![1], vec![2, 1], vec![1, 0]] {
            let mut listing = Listing::new(true);
            let mut text = String::new();
            for length in &slices {
                let accounts = vec![account("alice", "", ""); *length];
                text += &listing.slice(&accounts).expect("JSON");
            }
            text += &listing.end();
            let array: Vec<serde_json::Value> = serde_json::from_str(&text).expect("an array");
            assert_eq!(array.len(), slices.iter().sum::<usize>(), "{text}");
            assert!(
                array.iter().all(|user| user["username"] == "alice" && user.get("password_hash").is_none())
            );
        }
    }

    #[test]
    fn details_have_a_line_for_each_property() {
        let mut shown = account("alice", "Alice", "a@example.com");
        assert!(details(&shown).contains("Password  set (bcrypt)\n"));
        shown.has_password = false;
        shown.credentials_since = Some(shown.created_at);
        shown.sessions = Some(SessionSummary { count: 2, last_seen: Some(shown.created_at) });
        let text = details(&shown);
        assert!(text.contains("Sessions  2, last used at 2023-11-14T22:13:20Z\n"), "{text}");
        assert!(text.contains("State     no password\n"), "{text}");
        assert!(text.contains("Password  none yet\n"), "{text}");
        let void = "Void      sessions and tokens from before 2023-11-14T22:13:20Z\n";
        assert!(text.contains(void), "{text}");
        assert_eq!(one_line(&shown), "`alice` (Alice, a@example.com)");
    }
}
