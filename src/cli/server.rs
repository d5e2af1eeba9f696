//! `foregate reload` and `foregate status`: what only a running server can do, over its admin socket.
//!
//! Callers: `cli`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, anyhow};

use super::administration::Administration;
use super::{CliError, note, print};
use crate::admin::{Command, Failure, Reply, ServerStatus, UpstreamServer, connect};
use crate::config::Config;

/// Has the server read its configuration again; prints why it didn't.
pub(super) fn reload(path: &Path) -> Result<(), CliError> {
    match ask(path, &Command::Reload)? {
        Reply::Reloaded { config, warnings } => {
            warnings.iter().for_each(|warning| note(format_args!("warning: {warning}")));
            note(format_args!("{} is in force", config.display()));
            if is_another(&config, path) {
                return Err(CliError::Failed(anyhow!(
                    "the running server reads {}, not {}: it was started with the former",
                    config.display(),
                    path.display()
                )));
            }
            Ok(())
        }
        Reply::Failed(failure @ Failure::Configuration { .. }) => {
            Err(CliError::Configuration(failure.to_string()))
        }
        other => Err(unexpected(other)),
    }
}

/// Shows which server runs, and how it does.
pub(super) fn status(path: &Path, json: bool) -> Result<(), CliError> {
    match ask(path, &Command::Status)? {
        Reply::Status(status) if json => print(&(serde_json::to_string_pretty(&status)? + "\n")),
        Reply::Status(status) => print(&lines(&status)),
        other => Err(unexpected(other)),
    }
}

/// Whether both are there and are not one file. The server's may be told relative to its own folder.
fn is_another(told: &Path, asked: &Path) -> bool {
    match (told.canonicalize(), asked.canonicalize()) {
        (Ok(told), Ok(asked)) => told != asked,
        (_, _) => false,
    }
}

fn ask(path: &Path, command: &Command) -> Result<Reply, CliError> {
    // The file may be the very one that is faulty: of it, no more than the place of the socket is needed.
    let (socket, faults) = match Config::admin_socket_of(path) {
        Ok(socket) => (socket, None),
        // Where it can't be read at all, the server is probably where it is without a word about it.
        Err(faults) => {
            let folder = path.parent().unwrap_or(Path::new(""));
            (folder.join("data/admin.sock"), Some(faults))
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = connect(&socket).await.with_context(|| {
            format!(
                "can't connect to the admin socket {}; run this as the user that the server runs as, or as root",
                socket.display()
            )
        });
        match client? {
            Some(client) => Ok(client.request(command).await?),
            None if let Some(faults) = faults => Err(CliError::Configuration(faults.to_string())),
            None => Err(CliError::Failed(anyhow!(
                "no server is running, or it was started with another `store` or `admin.socket`: nobody answers on {}",
                socket.display()
            ))),
        }
    })
}

fn unexpected(reply: Reply) -> CliError {
    match reply {
        Reply::Failed(failure) => CliError::Failed(failure.into()),
        Reply::Account(_)
        | Reply::Accounts { .. }
        | Reply::Added { .. }
        | Reply::BackupBegun { .. }
        | Reply::BackupRows { .. }
        | Reply::DamagedDeleted(_)
        | Reply::Ended { .. }
        | Reply::Invitations { .. }
        | Reply::InvitationsEnded { .. }
        | Reply::Invited { .. }
        | Reply::Sessions { .. }
        | Reply::Exported { .. }
        | Reply::Imported(_)
        | Reply::Key { .. }
        | Reply::Keys { .. }
        | Reply::Reloaded { .. }
        | Reply::Schemes { .. }
        | Reply::Status(_)
        | Reply::Token(_) => Administration::unexpected(),
    }
}

fn lines(status: &ServerStatus) -> String {
    let reload = match &status.last_reload {
        None => "none since the start".to_owned(),
        Some(reload) => match &reload.error {
            None => format!("{}, taken over", reload.at),
            Some(error) => {
                format!("{}, refused, the configuration before it is in force:\n{error}", reload.at)
            }
        },
    };
    let lines = [
        ("Version", status.version.clone()),
        ("Process", status.process.to_string()),
        ("Started", status.started_at.to_string()),
        ("Ready", if status.ready { "yes" } else { "no" }.to_owned()),
        ("Configuration", status.config.display().to_string()),
        ("Listening", status.listening.join(", ")),
        ("Connections", status.connections.to_string()),
        ("Last reload", reload),
    ];
    let mut text = String::new();
    for (name, value) in lines {
        // Writing to a string doesn't fail.
        let _ = writeln!(text, "{name:<14} {value}");
    }
    let width = status.servers.iter().map(|server| server.server.chars().count()).max().unwrap_or_default();
    for UpstreamServer { upstream, server, state, in_flight, requests, failures } in &status.servers {
        let _ = writeln!(
            text,
            "Server         {server:<width$}  {state}, of {upstream}; {in_flight} under way, {requests} in all, {failures} failed"
        );
    }
    text
}
