//! `foregate session`: who is signed in where, and ending it.
//!
//! Callers: `cli`. Where a command is carried out is `administration`'s; what it does, `admin`'s.

use std::collections::BTreeSet;

use clap::{Args, Subcommand};

use super::administration::Administration;
use super::table::lined_up;
use super::unreadable::Unreadable;
use super::{CliError, note, print};
use crate::admin::{Command, Reply, RevokeSessions, SessionView};
use crate::config::Config;
use crate::store::ShortId;

const HEADS: [&str; 6] = ["ID", "USERNAME", "DEVICE", "ADDRESS", "SIGNED IN", "LAST USE"];
/// Characters of a device in the table; `--json` has all of them.
const DEVICE: usize = 32;

#[derive(Subcommand)]
pub(super) enum SessionCommand {
    /// List the sessions of one account, or of all
    List {
        /// A username or an e-mail address
        name: Option<String>,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// End sessions at once: of one account, a single one or all of them. Tokens stay good
    Revoke(RevokeArguments),
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct RevokeArguments {
    /// A username or an e-mail address: all sessions of this account
    name: Option<String>,
    /// One session, by its id in the list
    #[arg(long)]
    id: Option<ShortId>,
    /// Everybody's
    #[arg(long)]
    all: bool,
}

/// Runs one command on sessions.
pub(super) fn run(config: &Config, command: SessionCommand) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let administration = Administration::open(config).await?;
        let done = match command {
            SessionCommand::List { name, json } => list(&administration, name, json).await,
            SessionCommand::Revoke(arguments) => revoke(&administration, arguments).await,
        };
        administration.close(config).await;
        done
    })
}

async fn list(administration: &Administration, login: Option<String>, json: bool) -> Result<(), CliError> {
    let (mut after, mut count) = (None, 0);
    let (mut unreadable, mut told) = (Unreadable::default(), BTreeSet::new());
    loop {
        let command = Command::SessionList { after, login: login.clone() };
        let reply = administration.perform(command).await?;
        let Reply::Sessions { damaged, next, sessions } = reply else {
            return Err(Administration::unexpected());
        };
        // A slice may begin with one that the slice before it has ended with.
        let damaged: Vec<_> = damaged.into_iter().filter(|id| told.insert(*id)).collect();
        unreadable.tell_keys(&damaged);
        print(&if json { array(&sessions, count == 0)? } else { table(&sessions, count == 0) })?;
        count += sessions.len();
        // A slice that doesn't move on would be asked for again and again.
        if next.is_none() || next == after {
            break;
        }
        after = next;
    }
    match (json, count) {
        (true, 0) => print("[]\n")?,
        (true, _) => print("\n]\n")?,
        (false, _) => {}
    }
    unreadable.end()?;
    if !json && count == 0 {
        note("Nobody is signed in.");
    }
    Ok(())
}

async fn revoke(administration: &Administration, arguments: RevokeArguments) -> Result<(), CliError> {
    let RevokeArguments { name, id, all: _ } = arguments;
    let whose = name.as_ref().map(|name| format!(" of `{name}`")).unwrap_or_default();
    let mut which = match (name, id) {
        (Some(login), _) => RevokeSessions::Of { login },
        (None, Some(id)) => RevokeSessions::One { id },
        (None, None) => RevokeSessions::All { after: None },
    };
    let mut ended = 0;
    loop {
        let reply = administration.perform(Command::SessionRevoke(which)).await?;
        let Reply::Ended { next, sessions } = reply else { return Err(Administration::unexpected()) };
        ended += sessions;
        match next {
            Some(_) => which = RevokeSessions::All { after: next },
            None => break,
        }
    }
    match ended {
        0 => note(format_args!("There was no session{whose} to end.")),
        1 => note(format_args!("1 session{whose} has ended.")),
        _ => note(format_args!("{ended} sessions{whose} have ended.")),
    }
    Ok(())
}

/// The next elements of an array that is not closed.
fn array(sessions: &[SessionView], first: bool) -> serde_json::Result<String> {
    let mut text = String::new();
    for (number, session) in sessions.iter().enumerate() {
        text.push_str(if first && number == 0 { "[\n  " } else { ",\n  " });
        text.push_str(&serde_json::to_string(session)?);
    }
    Ok(text)
}

fn table(sessions: &[SessionView], with_heads: bool) -> String {
    let rows = sessions.iter().map(|session| {
        let device: String = session.device.chars().take(DEVICE).collect();
        [
            session.id.to_string(),
            session.username.to_string(),
            if device.is_empty() { "-".to_owned() } else { device },
            session.address.to_string(),
            session.signed_in_at.to_string(),
            session.last_seen.to_string(),
        ]
    });
    lined_up(HEADS, with_heads, rows)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::admin::Moment;
    use crate::store::Digest;

    fn session(device: &str) -> SessionView {
        let at = |seconds| Moment(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        SessionView {
            address: "203.0.113.7".parse().expect("an address"),
            device: device.to_owned(),
            expires_at: at(1_700_086_400),
            id: Digest::of(b"x").into(),
            last_seen: at(1_700_000_060),
            remembered: false,
            signed_in_at: at(1_700_000_000),
            user_agent: device.to_owned(),
            username: "zoë".parse().expect("a username"),
        }
    }

    #[test]
    fn a_table_lines_up_and_a_long_device_is_cut() {
        let text = table(&[session("Firefox on Linux"), session(&"x".repeat(300)), session("")], true);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        let at = |line: &str| line.find("203.0.113.7").map(|at| line[..at].chars().count());
        assert!(lines[1..].iter().all(|line| at(line) == at(lines[1])), "{text}");
        assert!(lines.iter().all(|line| line.trim_end() == *line && line.len() < 150), "{text}");
        assert!(lines[3].contains(" - "), "{text}");
    }

    #[test]
    fn slices_make_one_array() {
        let first = array(&[session("a"), session("b")], true).expect("JSON");
        let second = array(&[session("c")], false).expect("JSON");
        let text = format!("{first}{second}\n]\n");
        let array: Vec<serde_json::Value> = serde_json::from_str(&text).expect("an array");
        assert_eq!(array.len(), 3);
        assert!(array.iter().all(|session| session["username"] == "zoë" && session["id"].is_string()));
    }
}
