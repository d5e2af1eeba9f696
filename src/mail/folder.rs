//! Mails into a folder, one file each: for development, and for who has a program that takes them from there.
//!
//! Callers: `courier` and `trial`.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::store::MailId;

/// Writes `<id>.eml`, which is there whole or not at all. Names are in the order of the mails.
pub(super) async fn deliver(folder: &Path, id: MailId, mail: Vec<u8>) -> io::Result<PathBuf> {
    let folder = folder.to_owned();
    let written = tokio::task::spawn_blocking(move || {
        fs::create_dir_all(&folder)?;
        let (hidden, path) = (folder.join(format!(".{id}.tmp")), folder.join(format!("{id}.eml")));
        // A link in it is as good as a password.
        let mut file =
            fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&hidden)?;
        file.write_all(&mail)?;
        fs::rename(&hidden, &path)?;
        Ok(path)
    });
    written.await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
