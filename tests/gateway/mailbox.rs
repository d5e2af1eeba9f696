//! Reads the mails that a gateway with `mail: { url: "file:./outbox" }` has sent.

use std::path::{Path, PathBuf};

use crate::harness::{Gateway, wait_until};

/// The `mail` section that these tests use.
pub(crate) const MAIL: &str = "mail: { url: \"file:./outbox\", from: \"Example <login@example.com>\" }\n";

/// One mail, its text decoded.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) text: String,
    pub(crate) to: String,
}

impl Received {
    /// The one link in it to this page of ours, as a target for this gateway.
    pub(crate) fn link(&self, page: &str) -> String {
        let start =
            self.text.find(&format!("/.auth/{page}")).unwrap_or_else(|| panic!("no {page}: {self:?}"));
        let link = &self.text[start..];
        link[..link.find([' ', '\r', '\n', '"', '<', '>']).unwrap_or(link.len())].to_owned()
    }
}

/// Waits until so many mails were sent to this address, and gives them in their order.
pub(crate) fn mails_to(gateway: &Gateway, address: &str, count: usize) -> Vec<Received> {
    let folder = gateway.directory().join("outbox");
    let read =
        || -> Vec<Received> { all(&folder).into_iter().filter(|mail| mail.to.contains(address)).collect() };
    wait_until(|| read().len() >= count, || format!("to {address}: {:?}\n{}", read(), gateway.log()));
    read()
}

/// The last of the mails to this address, once there are so many.
pub(crate) fn last_mail_to(gateway: &Gateway, address: &str, count: usize) -> Received {
    mails_to(gateway, address, count).pop().expect("at least one")
}

/// All mails in a folder, oldest first.
pub(crate) fn all(folder: &Path) -> Vec<Received> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<(std::time::SystemTime, PathBuf)> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
        .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
        .collect();
    files.sort();
    files.iter().filter_map(|(_, path)| Some(read(&std::fs::read_to_string(path).ok()?))).collect()
}

fn read(raw: &str) -> Received {
    let header = |name: &str| {
        let line = raw.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}:")));
        line.map(|line| line[name.len() + 1..].trim().to_owned()).unwrap_or_default()
    };
    let parts = raw.split("\n--").map(|part| {
        let quoted = part.to_lowercase().contains("content-transfer-encoding: quoted-printable");
        if quoted { unquoted(part) } else { part.to_owned() }
    });
    Received { text: parts.collect::<Vec<_>>().join("\n"), to: header("to") }
}

/// Quoted-printable undone, in one part of a mail.
fn unquoted(raw: &str) -> String {
    let joined = raw.replace("=\r\n", "").replace("=\n", "");
    let mut bytes = Vec::with_capacity(joined.len());
    let mut rest = joined.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code =
            after.get(..2).and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        match code.filter(|_| first == b'=') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
