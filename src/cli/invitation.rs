//! `foregate invitation`: who is invited and has not made an account yet, and taking that back.
//!
//! Callers: `cli`. Where a command is carried out is `administration`'s; what it does, `admin`'s. Inviting is
//! `foregate user invite`.

use clap::{Args, Subcommand};

use super::administration::Administration;
use super::table::lined_up;
use super::{CliError, note, print};
use crate::admin::{Command, InvitationView, Reply, RevokeInvitations};
use crate::config::Config;
use crate::identity::Email;
use crate::store::ShortId;

const HEADS: [&str; 5] = ["ID", "EMAIL", "ROLES", "INVITED BY", "GOOD UNTIL"];
/// Whoever has the command line.
const ADMINISTRATOR: &str = "(administrator)";
/// In place of its end, of one whose sender has lost the right to invite.
const VOID: &str = "void: its sender may not invite";

#[derive(Subcommand)]
pub(super) enum InvitationCommand {
    /// List the open invitations, administrators' and members'
    List {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Take invitations back: their links are good for nothing from then on
    Revoke(RevokeArguments),
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct RevokeArguments {
    /// All invitations to this e-mail address
    email: Option<Email>,
    /// One invitation, by its id in the list
    #[arg(long, value_name = "ID")]
    id: Option<ShortId>,
}

/// Runs one command on invitations.
pub(super) fn run(config: &Config, command: InvitationCommand) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let administration = Administration::open(config).await?;
        let done = match command {
            InvitationCommand::List { json } => list(&administration, json).await,
            InvitationCommand::Revoke(arguments) => revoke(&administration, arguments).await,
        };
        administration.close(config).await;
        done
    })
}

async fn list(administration: &Administration, json: bool) -> Result<(), CliError> {
    let (mut after, mut open) = (None, Vec::new());
    loop {
        let reply = administration.perform(Command::InvitationList { after }).await?;
        let Reply::Invitations { invitations, next } = reply else {
            return Err(Administration::unexpected());
        };
        open.extend(invitations);
        // A slice that doesn't move on would be asked for again and again.
        if next.is_none() || next == after {
            break;
        }
        after = next;
    }
    open.sort_by(|a, b| (a.email.as_str(), a.expires_at.0).cmp(&(b.email.as_str(), b.expires_at.0)));
    if json {
        return print(&(serde_json::to_string_pretty(&open)? + "\n"));
    }
    if open.is_empty() {
        note("No invitation is open: `foregate user invite EMAIL` makes one.");
    }
    print(&table(&open))
}

async fn revoke(administration: &Administration, arguments: RevokeArguments) -> Result<(), CliError> {
    let which = match (arguments.email, arguments.id) {
        (Some(email), _) => RevokeInvitations::To { email },
        (None, Some(id)) => RevokeInvitations::One { id },
        // clap asks for one of them.
        (None, None) => {
            return Err(CliError::Usage("name an e-mail address, or an invitation with --id".into()));
        }
    };
    match administration.perform(Command::InvitationRevoke(which)).await? {
        Reply::InvitationsEnded { count: 1 } => {
            note("The invitation is taken back; its link is good for nothing.")
        }
        Reply::InvitationsEnded { count } => {
            note(format_args!("{count} invitations are taken back; their links are good for nothing."));
        }
        _ => return Err(Administration::unexpected()),
    }
    Ok(())
}

fn table(invitations: &[InvitationView]) -> String {
    let rows = invitations.iter().map(|invitation| {
        let roles = invitation.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(",");
        let by = match (&invitation.invited_by, invitation.void) {
            (Some(name), _) => name.as_str(),
            (None, false) => ADMINISTRATOR,
            (None, true) => "-",
        };
        [
            invitation.id.to_string(),
            invitation.email.to_string(),
            if roles.is_empty() { "-".to_owned() } else { roles },
            by.to_owned(),
            if invitation.void { VOID.to_owned() } else { invitation.expires_at.to_string() },
        ]
    });
    lined_up(HEADS, true, rows)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::admin::Moment;
    use crate::store::Digest;

    #[test]
    fn a_table_lines_up_and_says_who_invites() {
        let invitation = |email: &str, by: Option<&str>| InvitationView {
            email: email.parse().expect("an address"),
            expires_at: Moment(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)),
            id: Digest::of(b"x").into(),
            invited_by: by.map(|name| name.parse().expect("a name")),
            roles: by.iter().map(|_| "staff".parse().expect("a role")).collect(),
            void: false,
        };
        let text = table(&[invitation("zoë@example.com", Some("alice")), invitation("a@example.com", None)]);
        let lines: Vec<&str> = text.lines().collect();
        let at = |line: &str, word: &str| line.find(word).map(|at| line[..at].chars().count());
        assert_eq!(lines.len(), 3);
        assert_eq!(at(lines[1], "2023-11"), at(lines[2], "2023-11"), "{text}");
        assert_eq!(at(lines[1], "alice"), at(lines[2], ADMINISTRATOR), "{text}");
        assert!(lines.iter().all(|line| line.trim_end() == *line), "{text}");
    }
}
