//! One conversation with a mail server, in steps, so that a failure can be told by its step.
//!
//! The password is sent after TLS has begun, or to this machine, and never otherwise: what the URL says is
//! kept to, also where a server no longer offers what it offered before.
//!
//! Callers: `courier` and `trial`.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use lettre::Message;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters, TlsParametersBuilder,
};
use lettre::transport::smtp::extension::ClientId;
use secrecy::ExposeSecret as _;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::{MailAuthorities, SmtpServer, SmtpTls};

/// For each address of the server.
const CONNECTING: Duration = Duration::from_secs(10);
/// For the name, for the greetings and TLS, and for the password: each.
const STEP: Duration = Duration::from_secs(30);
/// For the mail: servers look for spam before they answer.
const SENDING: Duration = Duration::from_secs(120);
/// For a polite end.
const LEAVING: Duration = Duration::from_secs(2);

/// How far a conversation got.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// Finding the server's address.
    Name,
    /// Reaching it.
    Connection,
    /// Agreeing on TLS.
    Tls,
    /// Hearing that it is a mail server.
    Greeting,
    /// Showing the name and the password.
    Login,
    /// Handing the mail over.
    Mail,
}

/// For how long, and for what.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// This mail, for now.
    Later,
    /// This mail, for good.
    Never,
    /// Every mail: something is the matter with the server, or with what we know of it.
    Server,
}

/// Why a mail was not taken.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// What the server or the system said. It may name the recipient, and quote the mail.
    pub(super) said: String,
    pub(super) step: Step,
    pub(super) verdict: Verdict,
}

impl Failure {
    fn server(step: Step, said: impl Into<String>) -> Self {
        Self { said: said.into(), step, verdict: Verdict::Server }
    }

    fn slow(step: Step, bound: Duration) -> Self {
        Self::server(step, format!("no answer within {} s", bound.as_secs()))
    }
}

impl fmt::Display for Failure {
    /// For the log: what may be an address or a link is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |word: &str| match word.contains('@') || word.contains("://") {
            true => "…".to_owned(),
            false => word.replace(char::is_control, "\u{fffd}"),
        };
        let said: Vec<String> = self.said.split_whitespace().take(60).map(shown).collect();
        f.write_str(&said.join(" "))
    }
}

/// An open conversation.
pub(super) struct Connection {
    inner: AsyncSmtpConnection,
}

/// How TLS is spoken with a server of this name: made once, for it reads what the system trusts.
pub(super) fn tls(host: &str, authorities: Option<&MailAuthorities>) -> Result<TlsParameters, String> {
    let builder = TlsParametersBuilder::new(host.to_owned());
    let builder = match authorities {
        None => builder,
        Some(authorities) => {
            let mut builder = builder.certificate_store(CertificateStore::None);
            for certificate in authorities.certificates() {
                let certificate = Certificate::from_der(certificate.clone()).map_err(|error| told(&error))?;
                builder = builder.add_root_certificate(certificate);
            }
            builder
        }
    };
    builder.build_rustls().map_err(|error| told(&error))
}

impl Connection {
    /// Connects, begins TLS and shows the password, as the settings have it.
    pub(super) async fn open(server: &SmtpServer, tls: TlsParameters) -> Result<Self, Failure> {
        let addresses = addresses(server).await?;
        let hello = ClientId::default();
        let wrapped = (server.tls == SmtpTls::FromTheStart).then(|| tls.clone());
        let bound = CONNECTING * u32::try_from(addresses.len()).unwrap_or(1) + STEP;
        let connecting =
            AsyncSmtpConnection::connect_tokio1(&*addresses, Some(CONNECTING), &hello, wrapped, None);
        let connected = timeout(bound, connecting).await.map_err(|_| Failure::slow(Step::Greeting, bound))?;
        let mut inner =
            connected.map_err(|error| Failure::server(step_of_opening(&error, server.tls), told(&error)))?;
        let starts = match server.tls {
            SmtpTls::FromTheStart | SmtpTls::Never => false,
            SmtpTls::Offered => inner.can_starttls(),
            SmtpTls::Required if inner.can_starttls() => true,
            SmtpTls::Required => {
                leave(&mut inner).await;
                return Err(Failure::server(Step::Tls, "the server doesn't offer STARTTLS"));
            }
        };
        if starts {
            let started = timeout(STEP, inner.starttls(tls, &hello)).await;
            let started = started.map_err(|_| Failure::slow(Step::Tls, STEP))?;
            started.map_err(|error| Failure::server(Step::Tls, told(&error)))?;
        }
        if let Some((name, password)) = &server.credentials {
            let credentials = Credentials::new(name.clone(), password.expose_secret().to_owned());
            let shown = timeout(STEP, inner.auth(DEFAULT_MECHANISMS, &credentials)).await;
            match shown.map_err(|_| Failure::slow(Step::Login, STEP))? {
                Ok(_) => (),
                Err(error) => {
                    let said = told(&error);
                    leave(&mut inner).await;
                    return Err(Failure::server(Step::Login, said));
                }
            }
        }
        Ok(Self { inner })
    }

    /// Hands a mail over; gives what the server answered. After a failure the conversation is over.
    pub(super) async fn send(&mut self, mail: &Message) -> Result<String, Failure> {
        let formatted = mail.formatted();
        let sent = timeout(SENDING, self.inner.send(mail.envelope(), &formatted)).await;
        let sent = sent.map_err(|_| Failure::slow(Step::Mail, SENDING))?;
        match sent {
            Ok(answer) => {
                let lines: Vec<&str> = answer.message().collect();
                Ok(format!("{} {}", answer.code(), lines.join(" ")))
            }
            Err(error) => Err(Failure { said: told(&error), step: Step::Mail, verdict: verdict(&error) }),
        }
    }

    /// Whether the server is still there.
    pub(super) async fn is_alive(&mut self) -> bool {
        timeout(LEAVING, self.inner.test_connected()).await.unwrap_or(false)
    }

    /// Whether nobody else hears what is said.
    pub(super) fn is_encrypted(&self) -> bool {
        self.inner.is_encrypted()
    }

    /// Says good-bye.
    pub(super) async fn close(mut self) {
        leave(&mut self.inner).await;
    }
}

async fn leave(connection: &mut AsyncSmtpConnection) {
    // A server that doesn't answer is left without it.
    let _ = timeout(LEAVING, connection.quit()).await;
}

async fn addresses(server: &SmtpServer) -> Result<Vec<SocketAddr>, Failure> {
    let found = timeout(STEP, lookup_host((server.host.as_str(), server.port))).await;
    let found = found.map_err(|_| Failure::slow(Step::Name, STEP))?;
    let found: Vec<_> = found.map_err(|error| Failure::server(Step::Name, error.to_string()))?.collect();
    match found.is_empty() {
        true => Err(Failure::server(Step::Name, "the name has no address")),
        false => Ok(found),
    }
}

/// Reaching a server, TLS and its greeting are one call.
fn step_of_opening(error: &lettre::transport::smtp::Error, tls: SmtpTls) -> Step {
    let mut source = error.source();
    let mut system = None;
    while let Some(cause) = source {
        system = system.or_else(|| cause.downcast_ref::<io::Error>());
        source = cause.source();
    }
    match system.map(io::Error::kind) {
        None if error.is_tls() => Step::Tls,
        // An answer that is none, or one that refuses us.
        None => Step::Greeting,
        // That is what TLS' errors come in.
        Some(io::ErrorKind::InvalidData) => Step::Tls,
        Some(io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof) => {
            match tls {
                SmtpTls::FromTheStart => Step::Tls,
                SmtpTls::Never | SmtpTls::Offered | SmtpTls::Required => Step::Greeting,
            }
        }
        Some(_) => Step::Connection,
    }
}

fn verdict(error: &lettre::transport::smtp::Error) -> Verdict {
    match error.status().map(u16::from) {
        // It is closing; it wants TLS or a password first; it refuses the password.
        Some(421 | 454 | 530 | 534 | 535 | 538) => Verdict::Server,
        Some(_) if error.is_permanent() => Verdict::Never,
        Some(_) => Verdict::Later,
        // The address needs SMTPUTF8, which it doesn't offer.
        None if error.is_client() => Verdict::Never,
        None => Verdict::Server,
    }
}

/// What the server said, with its code, or what went wrong here.
fn told(error: &lettre::transport::smtp::Error) -> String {
    match (error.status(), error.source()) {
        (Some(code), Some(said)) => format!("{code} {said}"),
        // It wraps its own kind, with words that say nothing to anybody.
        (None, Some(cause)) => cause.downcast_ref().map_or_else(|| cause.to_string(), told),
        (Some(_) | None, None) => error.to_string(),
    }
}
