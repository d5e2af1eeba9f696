//! A mail as it goes over the wire: its headers, the text and the HTML.
//!
//! Callers: `courier` and `trial` send what is made here.

use std::time::SystemTime;

use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};

use super::{Links, Mail, MailSettings, Sender, words};
use crate::identity::Email;
use crate::response::pages::letters::Letters;
use crate::response::texts::Texts;
use crate::store::MailId;

/// Why no mail can be made: no mail server would know what to do with the address.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no mail can be sent to this address")]
pub(super) struct Unsendable;

/// Writes mails by the settings.
pub(super) struct Writer {
    from: Sender,
    letters: Letters,
    links: Links,
    texts: Texts,
}

impl Writer {
    pub(super) fn new(settings: &MailSettings, links: Links) -> Self {
        let MailSettings { from, look, server: _ } = settings;
        Self { from: from.clone(), letters: Letters::new(look), links, texts: look.texts() }
    }

    /// The whole mail. `id` makes its `Message-ID`, the same at each try: who gets it twice can tell.
    pub(super) fn compose(&self, mail: &Mail, id: MailId, now: SystemTime) -> Result<Message, Unsendable> {
        let Self { from, letters, links, texts } = self;
        let letter = words::letter(texts, &mail.message, mail.language, links.site());
        let domain = from.address().domain();
        let sender = Mailbox::new(from.name().map(str::to_owned), address(from.address()).ok_or(Unsendable)?);
        let built = Message::builder()
            .message_id(Some(format!("<{id}@{domain}>")))
            .date(now)
            .from(sender)
            .to(Mailbox::new(None, address(&mail.to).ok_or(Unsendable)?))
            .subject(letter.subject.clone())
            .header(AutoSubmitted)
            .header(NoAutoResponse)
            .multipart(MultiPart::alternative_plain_html(letters.text(&letter), letters.html(&letter)));
        built.map_err(|_| Unsendable)
    }
}

/// Whether a mail can be addressed so.
pub(super) fn is_sendable(email: &Email) -> bool {
    address(email).is_some()
}

fn address(email: &Email) -> Option<Address> {
    email.as_str().parse().ok()
}

/// RFC 3834: nobody's absence is to be told to us, and no list answers.
#[derive(Clone, Copy)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// The same, as Exchange understands it.
#[derive(Clone, Copy)]
struct NoAutoResponse;

impl Header for NoAutoResponse {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("X-Auto-Response-Suppress")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "All".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Language, MailServer, Message as Said};
    use super::*;
    use crate::response::look::Look;

    fn composed(username: &str, to: &str) -> String {
        let links = Links::new("https://login.example.com", "/.auth");
        let message = Said::ConfirmAddress {
            link: links.confirm(&"t0ken".into()),
            username: username.parse().expect("a name"),
        };
        let mail = Mail { language: Language::English, message, to: to.parse().expect("an address") };
        let settings = MailSettings {
            from: "Größe, Inc <login@example.com>".parse().expect("a sender"),
            look: Look::default(),
            server: MailServer::Folder("outbox".into()),
        };
        let letter = Writer::new(&settings, links).compose(&mail, MailId::generate(), SystemTime::now());
        String::from_utf8(letter.expect("it can be sent").formatted()).expect("ASCII")
    }

    #[test]
    fn a_mail_has_the_headers_of_one_that_a_program_sends() {
        let letter = composed("zoë", "zoe@example.org");
        let (head, _) = letter.split_once("\r\n\r\n").expect("a head");
        for header in ["Message-ID: <", "Date: ", "Auto-Submitted: auto-generated", "To: zoe@example.org"] {
            assert!(head.contains(header), "{header} is missing in {head}");
        }
        assert!(head.contains("multipart/alternative"), "{head}");
        assert!(letter.is_ascii(), "any server takes it");
    }

    #[test]
    fn a_name_makes_no_header() {
        let plain = composed("a", "a@example.org");
        let odd = composed("a: b <c> \"d\" =?utf-8?q?x?=", "a@example.org");
        let names = |letter: &str| -> Vec<String> {
            let (head, _) = letter.split_once("\r\n\r\n").expect("a head");
            let lines = head.lines().filter(|line| !line.starts_with([' ', '\t']));
            lines.map(|line| line.split(':').next().unwrap_or_default().to_owned()).collect()
        };
        assert_eq!(names(&plain), names(&odd));
    }
}
