//! `foregate token`: arguments into commands, replies into text.
//!
//! Callers: `cli`. Where a command is carried out is `administration`'s; what it does, `admin`'s.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::{Args, Subcommand};
use secrecy::ExposeSecret;

use super::administration::Administration;
use super::{CliError, note, print};
use crate::admin::{Command, CreateToken, Reply, Secret, TokenCommand as Asked, TokenReply};
use crate::config::{Config, parse_duration};
use crate::identity::{Credential, Scope, TokenId, TokenLabel};

mod render;

#[derive(Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token for an account, and print it, once: a program shows it as Bearer, or as Basic in place of the
    /// password
    Create(CreateArguments),
    /// List the tokens of an account, without the tokens themselves
    List {
        /// A username or an e-mail address
        name: String,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token: it ends at once, with what it has opened
    Revoke {
        /// The token's id, as `foregate token list` shows it
        #[arg(required_unless_present = "all")]
        id: Option<TokenId>,
        /// Revoke all tokens of this account
        #[arg(long, value_name = "NAME", conflicts_with = "id")]
        all: Option<String>,
    },
}

#[derive(Args)]
pub(super) struct CreateArguments {
    /// A username or an e-mail address
    #[arg(value_name = "NAME")]
    login: String,
    /// What the token is called in lists
    #[arg(long, value_name = "LABEL", default_value = "token")]
    name: TokenLabel,
    /// What it is for besides, such as `introspect`; repeat for more
    #[arg(long = "scope", value_name = "S")]
    scopes: Vec<Scope>,
    /// How long it is good, such as `90d`; without this until it is revoked
    #[arg(long, value_name = "D", value_parser = parse_duration)]
    expires: Option<Duration>,
    /// A route that it is for, by its name; repeat for more. Without this it is for all of them
    #[arg(long = "route", value_name = "R")]
    routes: Vec<String>,
}

/// Runs one command on personal access tokens.
pub(super) fn run(config: &Config, command: TokenCommand) -> Result<(), CliError> {
    let (asked, json) = match command {
        TokenCommand::Create(arguments) => (Asked::Create(arguments.read(config)?), false),
        TokenCommand::List { name, json } => (Asked::List { login: name }, json),
        TokenCommand::Revoke { all: Some(login), .. } => (Asked::RevokeAll { login }, false),
        TokenCommand::Revoke { id: Some(id), all: None } => (Asked::Revoke { id }, false),
        TokenCommand::Revoke { id: None, all: None } => {
            return Err(CliError::Usage("name a token's id, or --all NAME".to_owned()));
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let administration = Administration::open(config).await?;
        let reply = administration.perform(Command::Token(asked)).await;
        administration.close(config).await;
        tell(reply?, json)
    })
}

fn tell(reply: Reply, json: bool) -> Result<(), CliError> {
    let Reply::Token(reply) = reply else {
        return Err(Administration::unexpected());
    };
    match reply {
        TokenReply::List { tokens, .. } if json => print(&render::array(&tokens)?),
        TokenReply::List { account, tokens } => {
            if tokens.is_empty() {
                note(format_args!("Account `{account}` has no personal access tokens."));
            }
            print(&render::table(&tokens))
        }
        TokenReply::Made { account, secret: Secret(secret), token } => {
            print(&format!("{}\n", secret.expose_secret()))?;
            let ends = match token.expires_at {
                Some(at) => format!("is good until {at}"),
                None => "does not expire".to_owned(),
            };
            note(format_args!("The token above is for `{account}` and {ends}. It is not shown again."));
            note(format_args!("`foregate token revoke {}` ends it.", token.id));
            Ok(())
        }
        TokenReply::Revoked(token) => {
            note(format_args!("Token {} (\u{201c}{}\u{201d}) is revoked.", token.id, token.name.as_str()));
            Ok(())
        }
        TokenReply::RevokedAll { account, count } => {
            let tokens = if count == 1 { "token is" } else { "tokens are" };
            note(format_args!("{count} {tokens} revoked; account `{account}` has none any more."));
            Ok(())
        }
    }
}

impl CreateArguments {
    fn read(self, config: &Config) -> Result<CreateToken, CliError> {
        for name in &self.routes {
            check_route(config, name)?;
        }
        if let Some(other) = self.scopes.iter().find(|scope| scope.as_str() != Scope::INTROSPECT) {
            note(format_args!(
                "note: the scope `{other}` opens nothing here; applications are not told of it"
            ));
        }
        Ok(CreateToken {
            // Of less than a second nothing would be left when it is shown.
            expires_in: self.expires.map(|lifetime| lifetime.as_secs().max(1)),
            login: self.login,
            name: self.name,
            routes: self.routes.into_iter().collect(),
            scopes: self.scopes.into_iter().collect(),
        })
    }
}

/// A token for a route that is not there would be good for nothing, and nobody would see why.
fn check_route(config: &Config, name: &str) -> Result<(), CliError> {
    let mut named = config.routes.iter().filter(|route| *route.name == *name).peekable();
    if named.peek().is_none() {
        let hint = match config.nearest_route(name) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                let names: BTreeSet<&str> = config.routes.iter().map(|route| &*route.name).collect();
                format!("there are: {}", names.into_iter().collect::<Vec<_>>().join(", "))
            }
        };
        return Err(CliError::Usage(format!(
            "no route of {} is called `{name}`; {hint}",
            config.file.display()
        )));
    }
    let takes = |credential| named.clone().any(|route| route.credentials.contains(&credential));
    if !takes(Credential::Bearer) && !takes(Credential::Basic) {
        note(format_args!(
            "warning: the route `{name}` takes neither Bearer nor Basic; add one to its `credentials`, or the token is of no use there"
        ));
    }
    Ok(())
}
