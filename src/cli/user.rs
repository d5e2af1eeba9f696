//! `foregate user`: arguments into commands, replies into text.
//!
//! Callers: `cli`. Where a command is carried out is `administration`'s; what it does, `admin`'s.

use std::collections::BTreeSet;
use std::io::{self, BufRead, IsTerminal};

use anyhow::anyhow;
use clap::{Args, Subcommand};
use secrecy::{ExposeSecret, SecretString};

use super::administration::{Administration, links};
use super::unreadable::Unreadable;
use super::{CliError, note, password_input, print};
use crate::admin::{AccountView, AddUser, Command, Password, Reply, SchemeCounts, Secret, SetUser};
use crate::config::Config;
use crate::identity::{DisplayName, Email, Role, Username};

mod export;
mod import;
mod render;

#[derive(Subcommand)]
pub(super) enum UserCommand {
    /// Add an account; without a password, print a one-time link with which the person sets one
    Add(AddArguments),
    /// Invite somebody to make an account: print a link that works once, and mail it where `mail` is configured
    Invite {
        /// The e-mail address that the account gets
        email: Email,
        /// A role, beside those of everybody who registers; repeat for more
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<Role>,
    },
    /// Let in an account that waits for approval
    Approve {
        /// A username or an e-mail address
        name: String,
    },
    /// List all accounts
    List {
        /// Only those that wait for approval and have confirmed their address
        #[arg(long)]
        waiting: bool,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show one account
    Show {
        /// A username or an e-mail address
        name: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Change an account; what is not named stays as it is
    Set(SetArguments),
    /// Disable an account: its sessions and tokens end at once. Its personal access tokens are deleted, and enabling it
    /// again does not bring them back
    Disable {
        /// A username or an e-mail address
        name: String,
    },
    /// Let a disabled account sign in again
    Enable {
        /// A username or an e-mail address
        name: String,
    },
    /// Clear the failed logins at an account: whoever was told to wait for it may try again
    Unlock {
        /// A username or an e-mail address
        name: String,
    },
    /// Delete an account with its sessions and tokens; asks first on a terminal
    Delete {
        /// A username or an e-mail address
        name: String,
        /// Don't ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Bring accounts along from a file, with the password hashes that they have elsewhere
    Import(import::ImportArguments),
    /// Write all accounts with their password hashes, as `user import` takes them back
    Export(export::ExportArguments),
    /// Count how the passwords are kept: who has not signed in yet is still on another application's scheme
    Schemes {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
pub(super) struct AddArguments {
    /// The username to sign in with
    #[arg(value_name = "NAME")]
    username: Username,
    /// The e-mail address, also good for signing in
    #[arg(long)]
    email: Option<Email>,
    /// The person's name, for display
    #[arg(long, value_name = "TEXT")]
    name: Option<DisplayName>,
    /// A role; repeat for more
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<Role>,
    /// Read the password from standard input, one line
    #[arg(long, conflicts_with = "password_hash")]
    password_stdin: bool,
    /// Take this hash from another application as it is: Argon2, bcrypt, scrypt and PBKDF2 as Werkzeug, Django, passlib
    /// or htpasswd write them; the next login replaces it
    #[arg(long, value_name = "HASH", value_parser = secret)]
    password_hash: Option<SecretString>,
}

#[derive(Args)]
pub(super) struct SetArguments {
    /// A username or an e-mail address
    #[arg(value_name = "NAME")]
    login: String,
    #[command(flatten)]
    change: ChangeArguments,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
struct ChangeArguments {
    /// The new e-mail address; it counts as confirmed, also where it is the one that the account has
    #[arg(long)]
    email: Option<Email>,
    /// The person's name, for display
    #[arg(long, value_name = "TEXT")]
    name: Option<DisplayName>,
    /// A role; repeat for more. They take the place of all roles that the account has
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<Role>,
    /// Take all roles away
    #[arg(long, conflicts_with = "roles")]
    no_roles: bool,
    /// Read a new password from standard input, one line; the account's sessions end
    #[arg(long)]
    password_stdin: bool,
}

/// Runs one command on accounts.
pub(super) fn run(config: &Config, command: UserCommand) -> Result<(), CliError> {
    // Before anything is opened: a person may take their time to type.
    let task = Task::prepare(command)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let administration = Administration::open(config).await?;
        let done = task.run(&administration, config).await;
        administration.close(config).await;
        done
    })
}

/// A command with everything that it needs read in.
enum Task {
    Add(AddUser),
    Delete { login: String, ask: bool },
    Disable { login: String },
    Enable { login: String },
    Approve { login: String },
    Invite { email: Email, roles: BTreeSet<Role> },
    List { json: bool, waiting: bool },
    Export(export::ExportArguments),
    Import(import::Import),
    Schemes { json: bool },
    Set(SetUser),
    Show { login: String, json: bool },
    Unlock { login: String },
}

impl Task {
    fn prepare(command: UserCommand) -> Result<Self, CliError> {
        Ok(match command {
            UserCommand::Add(arguments) => Self::Add(arguments.read()?),
            UserCommand::Delete { name, yes } => {
                Self::Delete { login: name, ask: !yes && io::stdin().is_terminal() }
            }
            UserCommand::Disable { name } => Self::Disable { login: name },
            UserCommand::Enable { name } => Self::Enable { login: name },
            UserCommand::Approve { name } => Self::Approve { login: name },
            UserCommand::Invite { email, roles } => {
                Self::Invite { email, roles: roles.into_iter().collect() }
            }
            UserCommand::List { json, waiting } => Self::List { json, waiting },
            UserCommand::Export(arguments) => Self::Export(arguments),
            UserCommand::Import(arguments) => Self::Import(arguments.read()?),
            UserCommand::Schemes { json } => Self::Schemes { json },
            UserCommand::Set(arguments) => Self::Set(arguments.read()?),
            UserCommand::Show { name, json } => Self::Show { login: name, json },
            UserCommand::Unlock { name } => Self::Unlock { login: name },
        })
    }

    async fn run(self, administration: &Administration, config: &Config) -> Result<(), CliError> {
        match self {
            Self::Add(user) => add(administration, config, user).await,
            Self::Delete { login, ask } => delete(administration, login, ask).await,
            Self::Disable { login } => {
                let account = about(administration, Command::UserDisable { login }).await?;
                let name = &account.username;
                note(format_args!("Account `{name}` is disabled; its sessions and tokens have ended."));
                note(format_args!(
                    "`foregate user enable {name}` lets it sign in again; its personal access tokens are deleted for good."
                ));
                Ok(())
            }
            Self::Enable { login } => {
                let account = about(administration, Command::UserEnable { login }).await?;
                let name = &account.username;
                note(format_args!("Account `{name}` is enabled and can sign in again."));
                if !account.has_password {
                    note(format_args!(
                        "It has no password yet: `foregate user set {name} --password-stdin`."
                    ));
                }
                Ok(())
            }
            Self::Approve { login } => {
                let account = about(administration, Command::UserApprove { login }).await?;
                let name = &account.username;
                note(format_args!("Account `{name}` is let in."));
                if account.unconfirmed {
                    note("Its person has to confirm the e-mail address before the first login.");
                }
                Ok(())
            }
            Self::Invite { email, roles } => invite(administration, email, roles).await,
            Self::List { json, waiting } => list(administration, json, waiting).await,
            Self::Export(arguments) => export::run(administration, arguments).await,
            Self::Import(import) => import.run(administration).await,
            Self::Schemes { json } => schemes(administration, json).await,
            Self::Set(change) => {
                let password = change.password.is_some();
                // Whoever sets an address vouches for it, which is to be said where it changes something.
                let unconfirmed = match change.email {
                    Some(_) => {
                        let show = Command::UserShow { login: change.login.clone() };
                        about(administration, show).await?.unconfirmed
                    }
                    None => false,
                };
                let account = about(administration, Command::UserSet(change)).await?;
                let ended = if password { "; its sessions have ended" } else { "" };
                note(format_args!("Account `{}` is changed{ended}.", account.username));
                if unconfirmed && !account.unconfirmed {
                    note(
                        "Its address was not confirmed before; as you have set it, it counts as confirmed now.",
                    );
                }
                Ok(())
            }
            Self::Show { login, json } => {
                let account = about(administration, Command::UserShow { login }).await?;
                print(&if json { render::object(&account)? } else { render::details(&account) })
            }
            Self::Unlock { login } => {
                let account = about(administration, Command::UserUnlock { login }).await?;
                let name = &account.username;
                note(format_args!(
                    "No failed login at account `{name}` counts any more, wherever it came from."
                ));
                Ok(())
            }
        }
    }
}

async fn add(administration: &Administration, config: &Config, user: AddUser) -> Result<(), CliError> {
    let (mixed, passes_for) = (user.username.has_one_script(), user.username.passes_for());
    let done = administration.perform(Command::UserAdd(user)).await?;
    if let Err(mixed) = mixed {
        note(format_args!("warning: {mixed}; nobody could register with this one."));
    }
    // Whoever has no such account is told nothing: that is what most names are like.
    if let Some(login) = passes_for
        && let Ok(other) = about(administration, Command::UserShow { login }).await
    {
        note(format_args!(
            "warning: it looks like the username `{}`, which another account has.",
            other.username
        ));
    }
    match done {
        Reply::Added { account, link: Some(Secret(link)) } => {
            print(&format!("{}\n", link.expose_secret()))?;
            note(format_args!("Account `{}` is made. Send the link above to the person:", account.username));
            note("it sets a password, works once, and is good for 24 hours.");
            Ok(())
        }
        Reply::Added { account, link: None } => {
            let page = links(config).login();
            note(format_args!("Account `{}` is made and can sign in at {page}", account.username));
            Ok(())
        }
        _ => Err(Administration::unexpected()),
    }
}

async fn invite(
    administration: &Administration,
    email: Email,
    roles: BTreeSet<Role>,
) -> Result<(), CliError> {
    let to = email.to_string();
    match administration.perform(Command::UserInvite { email, roles }).await? {
        Reply::Invited { link: Secret(link), mailed } => {
            print(&format!("{}\n", link.expose_secret()))?;
            match mailed {
                true => note(format_args!("{to} is invited, and gets the link above by mail as well.")),
                false => note(format_args!("{to} is invited. Send the link above to the person.")),
            }
            note("It makes one account, and is good for seven days; a new invitation voids it.");
            Ok(())
        }
        _ => Err(Administration::unexpected()),
    }
}

async fn delete(administration: &Administration, login: String, ask: bool) -> Result<(), CliError> {
    if ask {
        let account = about(administration, Command::UserShow { login: login.clone() }).await?;
        eprint!("Delete the account {}, with its sessions and tokens? [y/N] ", render::one_line(&account));
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        if !["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
            return Err(CliError::Failed(anyhow!("nothing was deleted")));
        }
    }
    let name = match administration.perform(Command::UserDelete { login }).await? {
        Reply::Account(account) => account.username.to_string(),
        Reply::DamagedDeleted(damaged) => damaged.name,
        _ => return Err(Administration::unexpected()),
    };
    note(format_args!("Account `{name}` is deleted; its sessions and tokens have ended."));
    Ok(())
}

async fn list(administration: &Administration, json: bool, waiting: bool) -> Result<(), CliError> {
    let mut listing = render::Listing::new(json);
    let mut unreadable = Unreadable::default();
    let mut after = None;
    loop {
        let reply = administration.perform(Command::UserList { after: after.clone() }).await?;
        let Reply::Accounts { accounts, damaged, next } = reply else {
            return Err(Administration::unexpected());
        };
        // A slice that doesn't move on would be asked for again and again.
        after = next.filter(|next| after.as_ref() != Some(next));
        unreadable.tell(&damaged);
        let mut shown = accounts;
        shown.retain(|account| !waiting || (account.waiting && !account.unconfirmed && !account.disabled));
        print(&listing.slice(&shown)?)?;
        if after.is_none() {
            break;
        }
    }
    print(&listing.end())?;
    unreadable.end()?;
    if listing.is_empty() && waiting {
        note("No account waits for approval.");
    } else if listing.is_empty() {
        note("There are no accounts yet: `foregate user add NAME` makes one.");
    }
    Ok(())
}

async fn schemes(administration: &Administration, json: bool) -> Result<(), CliError> {
    let mut total = SchemeCounts::default();
    let mut unreadable = Unreadable::default();
    let mut after = None;
    loop {
        let reply = administration.perform(Command::UserSchemes { after: after.clone() }).await?;
        let Reply::Schemes { counts, damaged, next } = reply else {
            return Err(Administration::unexpected());
        };
        unreadable.tell(&damaged);
        total.add(counts);
        after = next.filter(|next| after.as_ref() != Some(next));
        if after.is_none() {
            break;
        }
    }
    if json {
        print(&(serde_json::to_string_pretty(&total)? + "\n"))?;
        return unreadable.end();
    }
    print(&render::schemes(&total))?;
    let others = total.schemes.iter().filter(|(scheme, _)| *scheme != "Argon2id").map(|(_, count)| count);
    match others.sum::<u64>() {
        0 => {}
        others => note(format_args!("{others} not on Argon2id yet: each is moved when the person signs in.")),
    }
    unreadable.end()
}

/// A command whose reply is one account.
async fn about(administration: &Administration, command: Command) -> Result<AccountView, CliError> {
    match administration.perform(command).await? {
        Reply::Account(account) => Ok(account),
        _ => Err(Administration::unexpected()),
    }
}

impl AddArguments {
    fn read(self) -> Result<AddUser, CliError> {
        let password = match (self.password_hash, self.password_stdin) {
            (Some(hash), _) => Password::Hash(Secret(hash)),
            (None, true) => Password::Plain(Secret(password_input::read()?)),
            (None, false) => Password::Link,
        };
        Ok(AddUser {
            email: self.email,
            name: self.name.unwrap_or_default(),
            password,
            roles: self.roles.into_iter().collect(),
            username: self.username,
        })
    }
}

impl SetArguments {
    fn read(self) -> Result<SetUser, CliError> {
        let change = self.change;
        let password = if change.password_stdin { Some(Secret(password_input::read()?)) } else { None };
        let roles = (change.no_roles || !change.roles.is_empty()).then(|| change.roles.into_iter().collect());
        Ok(SetUser { email: change.email, login: self.login, name: change.name, password, roles })
    }
}

/// Takes any text, so that a mistake never repeats it.
fn secret(raw: &str) -> Result<SecretString, std::convert::Infallible> {
    Ok(raw.into())
}
