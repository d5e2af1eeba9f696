//! The settings of mail: who it is from, and the server that takes it.
//!
//! Callers: `config` reads them; the files beside this use them.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use secrecy::SecretString;

use super::{compose, smtp};
use crate::identity::Email;
use crate::response::look::Look;

/// How mail is sent.
#[derive(Clone, Debug)]
pub struct MailSettings {
    /// Who it is from.
    pub from: Sender,
    /// Its colour, and a theme's words in place of ours.
    pub look: Look,
    /// Where it goes.
    pub server: MailServer,
}

/// What takes our mails.
#[derive(Clone, Debug)]
pub enum MailServer {
    /// One file a mail in this folder: for development.
    Folder(PathBuf),
    /// A mail server.
    Smtp(SmtpServer),
}

/// A mail server, and how it is spoken to.
#[derive(Clone, Debug)]
pub struct SmtpServer {
    /// Who may vouch for it, in place of those whom the system trusts.
    pub authorities: Option<MailAuthorities>,
    /// A name and a password.
    pub credentials: Option<(String, SecretString)>,
    /// A name or an address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether and how TLS begins.
    pub tls: SmtpTls,
}

/// Whether and how TLS begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SmtpTls {
    /// From the first byte (`smtps://`).
    FromTheStart,
    /// Never (`?tls=none`).
    Never,
    /// By STARTTLS where the server offers it: nobody who can change what we hear is kept out.
    Offered,
    /// By STARTTLS, or the mail isn't sent.
    Required,
}

/// Why a text names no mail server.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidMailServer {
    /// A name without a password, or something that is no text.
    #[error(
        "expected a name and a password before the `@`, `smtp://name:password@host`; write `%40` for an `@` and `%25` for a `%` in them"
    )]
    Credentials,
    /// A password would travel in clear.
    #[error("expected `?tls=required`: over `{0}` the password could be read on its way to another machine")]
    InClear(&'static str),
    /// No folder behind `file:`.
    #[error("expected a folder behind `file:`, such as `file:./outbox`")]
    Folder,
    /// No host.
    #[error("expected a host behind `//`, such as `smtp://mail.example.com:587`")]
    Host,
    /// Something behind the host.
    #[error(
        "expected nothing behind the host and port but perhaps `?tls=required`, `?tls=opportunistic` or `?tls=none`"
    )]
    Parameter,
    /// No port.
    #[error("expected a port from 1 to 65535, such as `smtp://mail.example.com:587`")]
    Port,
    /// Another scheme.
    #[error("expected `smtp://name:password@host:587`, `smtps://name:password@host` or `file:DIRECTORY`")]
    Scheme,
}

impl FromStr for MailServer {
    type Err = InvalidMailServer;

    fn from_str(raw: &str) -> Result<Self, InvalidMailServer> {
        if let Some(folder) = raw.strip_prefix("file:") {
            let sound = !folder.is_empty() && !folder.contains(char::is_control);
            return sound.then(|| Self::Folder(folder.into())).ok_or(InvalidMailServer::Folder);
        }
        let (scheme, rest) = raw.split_once("://").ok_or(InvalidMailServer::Scheme)?;
        let from_the_start = match scheme {
            "smtp" => false,
            "smtps" => true,
            _ => return Err(InvalidMailServer::Scheme),
        };
        // The last one: a password that a variable brought in may hold any character.
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (Some(read_credentials(credentials)?), rest),
            None => (None, rest),
        };
        let (authority, parameter) = match rest.split_once('?') {
            Some((authority, parameter)) => (authority, Some(parameter)),
            None => (rest, None),
        };
        let (host, port) = host_and_port(authority.strip_suffix('/').unwrap_or(authority))?;
        let tls = match (from_the_start, parameter) {
            (true, None) => SmtpTls::FromTheStart,
            (false, None) if credentials.is_some() => SmtpTls::Required,
            (false, None | Some("tls=opportunistic")) => SmtpTls::Offered,
            (false, Some("tls=none")) => SmtpTls::Never,
            (false, Some("tls=required")) => SmtpTls::Required,
            (true | false, Some(_)) => return Err(InvalidMailServer::Parameter),
        };
        let server = SmtpServer { authorities: None, credentials, host, port: 0, tls };
        if server.credentials.is_some() && !server.is_local() {
            match tls {
                SmtpTls::FromTheStart | SmtpTls::Required => (),
                SmtpTls::Never => return Err(InvalidMailServer::InClear("tls=none")),
                SmtpTls::Offered => return Err(InvalidMailServer::InClear("tls=opportunistic")),
            }
        }
        let usual = match (from_the_start, &server.credentials) {
            (true, _) => 465,
            (false, Some(_)) => 587,
            (false, None) => 25,
        };
        Ok(Self::Smtp(SmtpServer { port: port.unwrap_or(usual), ..server }))
    }
}

fn read_credentials(raw: &str) -> Result<(String, SecretString), InvalidMailServer> {
    let (name, password) = raw.split_once(':').ok_or(InvalidMailServer::Credentials)?;
    let decoded = |raw: &str| {
        let text = percent_decode_str(raw).decode_utf8().ok()?;
        (!text.is_empty() && !text.contains(char::is_control)).then(|| text.into_owned())
    };
    let name = decoded(name).ok_or(InvalidMailServer::Credentials)?;
    let password = decoded(password).ok_or(InvalidMailServer::Credentials)?;
    Ok((name, password.into()))
}

fn host_and_port(raw: &str) -> Result<(String, Option<u16>), InvalidMailServer> {
    let (host, port) = match raw.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or(InvalidMailServer::Host)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| InvalidMailServer::Host)?;
            match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if rest.is_empty() => (host, None),
                None => return Err(InvalidMailServer::Host),
            }
        }
        None => raw.split_once(':').map_or((raw, None), |(host, port)| (host, Some(port))),
    };
    let name = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
    if host.is_empty() || !host.chars().all(name) {
        return Err(InvalidMailServer::Host);
    }
    let port = match port {
        Some(port) => {
            let digits = port.bytes().all(|byte| byte.is_ascii_digit());
            let number = port.parse().ok().filter(|port| digits && *port != 0);
            Some(number.ok_or(InvalidMailServer::Port)?)
        }
        None => None,
    };
    Ok((host.to_ascii_lowercase(), port))
}

impl SmtpServer {
    /// Whether it is on this machine, so that nobody else hears what it is told.
    pub fn is_local(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for SmtpServer {
    /// Without the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls == SmtpTls::FromTheStart { "smtps" } else { "smtp" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for MailServer {
    /// Without the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "file:{}", folder.display()),
            Self::Smtp(server) => server.fmt(f),
        }
    }
}

/// Certificates of authorities, which are known to be usable.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MailAuthorities(Vec<Vec<u8>>);

/// Why certificates can't be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidMailAuthorities(String);

impl MailAuthorities {
    /// Of certificates in DER.
    pub fn new(certificates: Vec<Vec<u8>>) -> Result<Self, InvalidMailAuthorities> {
        let authorities = Self(certificates);
        match smtp::tls("mail.invalid", Some(&authorities)) {
            Ok(_) => Ok(authorities),
            Err(error) => Err(InvalidMailAuthorities(error)),
        }
    }

    pub(super) fn certificates(&self) -> &[Vec<u8>] {
        &self.0
    }
}

/// Who our mails are from: `login@example.com` or `Example <login@example.com>`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sender {
    address: Email,
    /// No control character is in it.
    name: Option<String>,
}

/// Why a text is no sender.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected an address, `login@example.com` or `Example <login@example.com>`")]
pub struct InvalidSender;

impl Sender {
    /// Where answers to our mails go.
    pub fn address(&self) -> &Email {
        &self.address
    }

    /// What mail programs show.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl FromStr for Sender {
    type Err = InvalidSender;

    fn from_str(raw: &str) -> Result<Self, InvalidSender> {
        let raw = raw.trim();
        let (name, address) = match raw.strip_suffix('>') {
            Some(rest) => rest.split_once('<').ok_or(InvalidSender)?,
            None => ("", raw),
        };
        let name = name.trim();
        let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
        let sound =
            name.chars().count() <= 100 && !name.contains(|c: char| c.is_control() || "<>\"".contains(c));
        let address: Email = address.trim().parse().map_err(|_| InvalidSender)?;
        if !sound || !compose::is_sendable(&address) {
            return Err(InvalidSender);
        }
        Ok(Self { address, name: Some(name.to_owned()).filter(|name| !name.is_empty()) })
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_server_is_what_its_url_says() {
        use SmtpTls::{FromTheStart, Never, Offered, Required};
        for (raw, host, port, tls, credentials) in [
            ("smtp://mail.test", "mail.test", 25, Offered, None),
            ("smtp://mail.test/", "mail.test", 25, Offered, None),
            ("smtp://Mail.test:2525?tls=none", "mail.test", 2525, Never, None),
            ("smtp://mail.test?tls=required", "mail.test", 25, Required, None),
            ("smtp://u:p@mail.test", "mail.test", 587, Required, Some(("u", "p"))),
            ("smtp://u:p@127.0.0.1:25?tls=none", "127.0.0.1", 25, Never, Some(("u", "p"))),
            ("smtps://u:p@mail.test", "mail.test", 465, FromTheStart, Some(("u", "p"))),
            ("smtps://[::1]:4650", "::1", 4650, FromTheStart, None),
            ("smtp://a%40b.test:p%25%3a@mail.test", "mail.test", 587, Required, Some(("a@b.test", "p%:"))),
            // As a variable brings them in.
            ("smtp://a@b.test:p:/?#@x@mail.test", "mail.test", 587, Required, Some(("a@b.test", "p:/?#@x"))),
        ] {
            let Ok(MailServer::Smtp(server)) = raw.parse() else { panic!("{raw} is a server") };
            let found =
                server.credentials.as_ref().map(|(name, password)| (&**name, password.expose_secret()));
            assert_eq!(
                (&*server.host, server.port, server.tls, found),
                (host, port, tls, credentials),
                "{raw}"
            );
            assert!(!format!("{server:?} {server}").contains("p%"), "{server:?}");
        }
        assert!(matches!("file:./out".parse(), Ok(MailServer::Folder(path)) if *path == *"./out"));
    }

    #[test]
    fn what_is_no_server_says_why() {
        use InvalidMailServer::{Credentials, Folder, Host, InClear, Parameter, Port, Scheme};
        for (raw, why) in [
            ("", Scheme),
            ("mail.test:25", Scheme),
            ("http://mail.test", Scheme),
            ("file:", Folder),
            ("smtp://", Host),
            ("smtp://a b", Host),
            ("smtp://[::1", Host),
            ("smtp://mail.test:0", Port),
            ("smtp://mail.test:+25", Port),
            ("smtp://mail.test:70000", Port),
            ("smtp://mail.test/x", Host),
            ("smtp://mail.test?tls=yes", Parameter),
            ("smtps://mail.test?tls=none", Parameter),
            ("smtp://user@mail.test", Credentials),
            ("smtp://user:@mail.test", Credentials),
            ("smtp://u:%00@mail.test", Credentials),
            ("smtp://u:%ff@mail.test", Credentials),
            ("smtp://u:p@mail.test?tls=none", InClear("tls=none")),
            ("smtp://u:p@mail.test?tls=opportunistic", InClear("tls=opportunistic")),
        ] {
            assert_eq!(raw.parse::<MailServer>().err(), Some(why), "{raw}");
        }
    }

    #[test]
    fn a_sender_is_an_address_with_or_without_a_name() {
        for (raw, name) in [
            ("login@example.com", None),
            ("<login@example.com>", None),
            ("Example <login@example.com>", Some("Example")),
            ("\"Beispiel, Größe\" <login@example.com>", Some("Beispiel, Größe")),
        ] {
            let sender: Sender = raw.parse().expect(raw);
            assert_eq!((sender.address().as_str(), sender.name()), ("login@example.com", name), "{raw}");
        }
        for bad in [
            "",
            "Example",
            "a@b@c",
            "X <a@b.test",
            "X\r\nBcc: e@x.test <a@b.test>",
            "<<a@b.test>",
            "a..b@c.test",
        ] {
            assert_eq!(bad.parse::<Sender>(), Err(InvalidSender), "{bad}");
        }
    }
}
