//! One mail at once, past the outbox, to see whether sending works, and if not, where it ends.
//!
//! Callers: `cli`, for `foregate mail test`.

use std::time::SystemTime;

use super::compose::Writer;
use super::smtp::{self, Connection, Failure, Step};
use super::{Language, Links, Mail, MailServer, MailSettings, Message, SmtpServer, folder};
use crate::identity::Email;
use crate::store::MailId;

/// A mail was taken.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What the server said, or the file that the mail is in.
    pub answer: String,
    /// Nobody else has heard it; `None` where there was no server.
    pub encrypted: Option<bool>,
}

/// A mail was not taken.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{said}")]
pub struct TrialFailure {
    /// What to look at.
    pub advice: String,
    /// What the server or the system said.
    said: String,
    /// What was being done.
    pub step: &'static str,
}

/// Sends a test mail.
pub async fn try_out(
    settings: &MailSettings,
    links: &Links,
    to: Email,
    language: Language,
) -> Result<Trial, TrialFailure> {
    let (id, now) = (MailId::generate(), SystemTime::now());
    let mail = Mail { language, message: Message::Test {}, to };
    let letter =
        Writer::new(settings, links.clone()).compose(&mail, id, now).map_err(|error| TrialFailure {
            advice: "a mail server wants something like `name@example.com`".to_owned(),
            said: error.to_string(),
            step: "writing the mail",
        })?;
    let server = match &settings.server {
        MailServer::Smtp(server) => server,
        MailServer::Folder(path) => {
            let written = folder::deliver(path, id, letter.formatted()).await;
            let path = written.map_err(|error| TrialFailure {
                advice: format!("make sure that this user can write into {}", path.display()),
                said: error.to_string(),
                step: "writing the file",
            })?;
            return Ok(Trial { answer: path.display().to_string(), encrypted: None });
        }
    };
    let sent = async {
        let tls = smtp::tls(&server.host, server.authorities.as_ref());
        let tls = tls.map_err(|said| Failure { said, step: Step::Tls, verdict: smtp::Verdict::Server })?;
        let mut connection = Connection::open(server, tls).await?;
        let answer = connection.send(&letter).await?;
        let encrypted = Some(connection.is_encrypted());
        connection.close().await;
        Ok(Trial { answer, encrypted })
    };
    sent.await.map_err(|failure: Failure| TrialFailure {
        advice: advice(failure.step, server),
        said: failure.said.replace(char::is_control, " "),
        step: failure.step.as_str(),
    })
}

fn advice(step: Step, server: &SmtpServer) -> String {
    let SmtpServer { host, port, .. } = server;
    match step {
        Step::Name => format!("look at the host in `mail.url`: nothing is known of `{host}` here"),
        Step::Connection => format!(
            "look at the port in `mail.url`, and whether a firewall is between: {host} was asked at port {port} \
             (587 is usual for `smtp://`, 465 for `smtps://`)"
        ),
        Step::Tls => format!(
            "look at the scheme and port in `mail.url`: `smtps://` speaks TLS at once (port 465), `smtp://` after \
             STARTTLS (port 587). A certificate has to be for `{host}`, and signed by somebody whom this system \
             trusts or who is in `mail.ca`; a server on this machine can be spoken to without TLS (`?tls=none`)"
        ),
        Step::Greeting => format!(
            "look at the scheme and port in `mail.url`: what answers at {host}:{port} doesn't greet as a mail \
             server does, or turns us away; a port for TLS at once (465) needs `smtps://`"
        ),
        Step::Login => {
            "look at the name and the password in `mail.url`; `%` and `@` in them are written `%25` \
             and `%40`. Many providers want a password made for one program"
                .to_owned()
        }
        Step::Mail => {
            "look at `mail.from`, which the server has to let this account use, and at the address that \
             the mail is for"
                .to_owned()
        }
    }
}

impl Step {
    /// For a person and for the log.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Name => "finding the server",
            Self::Connection => "connecting",
            Self::Tls => "beginning TLS",
            Self::Greeting => "greeting",
            Self::Login => "signing in",
            Self::Mail => "handing the mail over",
        }
    }
}
