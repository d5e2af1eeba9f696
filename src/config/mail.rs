//! `mail`: who our mails are from, and what takes them.
//!
//! Callers: `config`.

use std::path::Path;

use super::fault::quote;
use super::reader::{Section, Value};
use super::tls;
use crate::mail::{MailAuthorities, MailServer, MailSettings, Sender, SmtpTls};
use crate::response::look::Look;

const URL: &str =
    "expected what takes mails, such as `smtp://name:password@mail.example.com:587` or `file:./outbox`";
const FROM: &str = "expected who mails are from, such as `Example <login@example.com>`";
const CA: &str = "expected a file with the certificates of your authorities in PEM, such as `ca.pem`";

/// `None`: no mail is sent.
pub(super) fn read(root: &mut Section<'_>, look: &Look) -> Option<MailSettings> {
    root.get("mail")?.section(|mail| {
        let url = mail.require("url", URL);
        let server = url.and_then(|value| server(&value));
        let from = mail.require("from", FROM).and_then(|value| value.parse(|raw| raw.parse::<Sender>()));
        let ca = mail.get("ca");
        let authorities = ca.and_then(|value| authorities(&value));
        let mut server = server?;
        match (&mut server, ca) {
            (MailServer::Smtp(smtp), Some(value)) => {
                if smtp.tls == SmtpTls::Never {
                    let warning =
                        value.fault_of_key("`ca` has no effect: the mail server is spoken to without TLS");
                    value.reader().warn(warning.help("leave `?tls=none` out of `url`"));
                }
                smtp.authorities = authorities;
            }
            (MailServer::Folder(_), Some(value)) => {
                let warning = value.fault_of_key("`ca` has no effect: mails go into a folder");
                value.reader().warn(warning.help("leave it out"));
            }
            (MailServer::Folder(_) | MailServer::Smtp(_), None) => (),
        }
        Some(MailSettings { from: from?, look: look.clone(), server })
    })
}

fn server(value: &Value<'_>) -> Option<MailServer> {
    let text = value.secret()?;
    // A password may stand in it: neither it nor its line is ever shown.
    let server = match text.parse() {
        Ok(server) => server,
        Err(error) => {
            value.refuse_secret(format!("{error}"));
            return None;
        }
    };
    Some(match server {
        MailServer::Folder(folder) => MailServer::Folder(value.reader().resolve(&folder.to_string_lossy())),
        MailServer::Smtp(smtp) => {
            let said = text.contains('?');
            if smtp.tls == SmtpTls::Offered && !smtp.is_local() && !said {
                let warning = value.fault_of_key(
                    "links in mails travel unencrypted where the mail server doesn't offer STARTTLS",
                );
                let help = "add `?tls=required` to `url`, or `?tls=opportunistic` where it has to be so";
                value.reader().warn(warning.help(help));
            }
            MailServer::Smtp(smtp)
        }
    })
}

fn authorities(value: &Value<'_>) -> Option<MailAuthorities> {
    let chain = tls::chain(value, CA)?;
    let certificates = chain.iter().map(|certificate| certificate.to_vec()).collect();
    match MailAuthorities::new(certificates) {
        Ok(authorities) => Some(authorities),
        Err(error) => {
            let shown =
                value.written().map(|path| quote(&Path::new(path).to_string_lossy())).unwrap_or_default();
            let fault = value.fault(format!("`{shown}` holds a certificate that can't be used: {error}"));
            value.reader().add(fault.help(CA));
            None
        }
    }
}
