//! `foregate mail test`: one mail at once, past the outbox, and what the server said.
//!
//! Callers: `cli`.

use anyhow::anyhow;
use clap::{Subcommand, ValueEnum};

use super::{CliError, note, print};
use crate::config::Config;
use crate::identity::Email;
use crate::mail::{self, Language, Links, MailServer, Trial, TrialFailure};

/// What there is to do with mail.
#[derive(Subcommand)]
pub(super) enum MailCommand {
    /// Send a test mail at once, and show what the mail server says
    Test {
        /// Whom it is for
        address: Email,

        /// In which language
        #[arg(long, value_enum, default_value = "en")]
        language: Tongue,
    },
}

/// A language, as it is named here.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Tongue {
    En,
    De,
}

pub(super) fn run(config: &Config, command: MailCommand) -> Result<(), CliError> {
    match command {
        MailCommand::Test { address, language } => test(config, address, language),
    }
}

fn test(config: &Config, to: Email, language: Tongue) -> Result<(), CliError> {
    let Some(settings) = &config.mail else {
        return Err(CliError::Usage(format!(
            "{} has no `mail`: set `mail.url` and `mail.from`, so that mail can be sent",
            config.file.display()
        )));
    };
    for warning in &config.warnings {
        note(format_args!("warning: {warning}"));
    }
    let language = match language {
        Tongue::En => Language::English,
        Tongue::De => Language::German,
    };
    note(format_args!("sending a mail from {} to {to} by {}", settings.from.address(), settings.server));
    let links = Links::new(&config.public_url.to_string(), &config.portal.prefix);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tried = runtime.block_on(mail::try_out(settings, &links, to, language));
    super::serve::leave(runtime);
    match tried {
        Ok(Trial { answer, encrypted }) => {
            match (&settings.server, encrypted) {
                (MailServer::Smtp(server), Some(false)) if !server.is_local() => {
                    note("warning: the server offered no TLS, and the mail went there unencrypted");
                }
                (MailServer::Folder(_) | MailServer::Smtp(_), _) => (),
            }
            print(&format!("{answer}\n"))
        }
        Err(failure) => {
            let TrialFailure { advice, step, .. } = &failure;
            Err(anyhow!("{step} failed: {failure}\n  = {advice}").into())
        }
    }
}
