//! The file of a backup: every row as a line of JSON between a head and a foot that vouch for it.
//!
//! Rows go by their keys in the order in which they were read; one that changed meanwhile comes again at the end, and
//! the last word counts, so that the whole is the store as it was at one moment. Nothing in it is of one engine alone.
//! It holds what the store holds: hashes of passwords and tokens, and the private signing keys.
//!
//! Callers: `cli::store` writes and reads the file; the engines give and take rows.

use std::fmt;
use std::io::{self, BufRead, Write};
use std::time::SystemTime;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

use super::record::millis;

/// Goes up when an older Foregate could no longer read what we write.
const VERSION: u32 = 1;
const KIND: &str = "foregate-backup";
/// Bytes of a line at most: a row and its key are far shorter.
const MAX_LINE: usize = 64 << 10;

/// One row, or the word that there is none (any more) under this key.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BackupRow {
    /// Its key.
    #[serde(rename = "k", with = "base64_text")]
    pub key: Vec<u8>,
    /// As it is kept.
    #[serde(rename = "v", with = "optional_base64_text")]
    pub value: Option<Vec<u8>>,
}

impl fmt::Debug for BackupRow {
    /// Its table alone: a row may be a hash or a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.key.first().map_or('-', |table| char::from(*table));
        f.debug_struct("BackupRow").field("table", &table).finish_non_exhaustive()
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Head {
    kind: String,
    version: u32,
    /// Milliseconds since 1970.
    began_at: u64,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Foot {
    rows: u64,
    /// Of everything before this line.
    sha256: String,
}

/// Why a file is no backup, or not a whole one.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It doesn't begin as one.
    #[error("this is no backup of Foregate")]
    Foreign,
    /// The file can't be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Of a version to come.
    #[error("the backup is of form {found}; this Foregate reads forms up to {VERSION}")]
    Newer {
        /// What its head says.
        found: u32,
    },
    /// Cut short, or changed since.
    #[error("the backup is damaged: {0}")]
    Damaged(&'static str),
}

/// Writes a backup.
pub struct BackupWriter<W> {
    digest: Context,
    out: W,
    rows: u64,
}

impl<W: Write> BackupWriter<W> {
    /// Begins with the head.
    pub fn begin(out: W, now: SystemTime) -> io::Result<Self> {
        let mut writer = Self { digest: Context::new(&SHA256), out, rows: 0 };
        writer.line(&Head { kind: KIND.to_owned(), version: VERSION, began_at: millis(now) })?;
        Ok(writer)
    }

    /// One more row.
    pub fn row(&mut self, row: &BackupRow) -> io::Result<()> {
        self.rows += 1;
        self.line(row)
    }

    /// Ends with the foot; gives what was written to, and how many rows there are.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        let foot = Foot { rows: self.rows, sha256: hex(self.digest.clone().finish().as_ref()) };
        self.line(&foot)?;
        self.out.flush()?;
        Ok((self.out, self.rows))
    }

    fn line(&mut self, content: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(content)?;
        line.push(b'\n');
        self.digest.update(&line);
        self.out.write_all(&line)
    }
}

/// Reads a backup to its end, giving each row to `take`, and checks that it is whole. What was given before an error may
/// be anything: whoever writes rows down reads the file once before, for nothing but the check.
pub fn read_backup(
    mut from: impl BufRead,
    mut take: impl FnMut(BackupRow) -> Result<(), BackupError>,
) -> Result<u64, BackupError> {
    let mut digest = Context::new(&SHA256);
    let head = next_line(&mut from)?.ok_or(BackupError::Foreign)?;
    let told: Head = serde_json::from_slice(&head).map_err(|_| BackupError::Foreign)?;
    match told {
        Head { kind, .. } if kind != KIND => return Err(BackupError::Foreign),
        Head { version, .. } if version > VERSION => return Err(BackupError::Newer { found: version }),
        Head { .. } => digest.update(&head),
    }
    let mut rows = 0;
    loop {
        let line = next_line(&mut from)?.ok_or(BackupError::Damaged("it ends too early"))?;
        if let Ok(row) = serde_json::from_slice(&line) {
            digest.update(&line);
            rows += 1;
            take(row)?;
            continue;
        }
        let foot: Foot =
            serde_json::from_slice(&line).map_err(|_| BackupError::Damaged("a line in it is no row"))?;
        if foot.rows != rows || foot.sha256 != hex(digest.finish().as_ref()) {
            return Err(BackupError::Damaged("it is not what was written"));
        }
        return match next_line(&mut from)? {
            None => Ok(rows),
            Some(_) => Err(BackupError::Damaged("there is more behind its end")),
        };
    }
}

/// With its end; `None` at the end of the file.
fn next_line(from: &mut impl BufRead) -> Result<Option<Vec<u8>>, BackupError> {
    let mut line = Vec::new();
    io::Read::take(from, MAX_LINE as u64).read_until(b'\n', &mut line)?;
    match line.last() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) if line.len() == MAX_LINE => Err(BackupError::Damaged("a line in it is too long")),
        Some(_) => Err(BackupError::Damaged("its last line is cut short")),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_base64<E: serde::de::Error>(text: &str) -> Result<Vec<u8>, E> {
    STANDARD_NO_PAD.decode(text).map_err(|_| E::custom("no base64"))
}

mod base64_text {
    use super::*;

    pub(super) fn serialize<S: serde::Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD_NO_PAD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        from_base64(&String::deserialize(from)?)
    }
}

mod optional_base64_text {
    use super::*;

    pub(super) fn serialize<S: serde::Serializer>(bytes: &Option<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
        bytes.as_ref().map(|bytes| STANDARD_NO_PAD.encode(bytes)).serialize(to)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        Option::<String>::deserialize(from)?.map(|text| from_base64(&text)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Vec<u8> {
        let mut writer = BackupWriter::begin(Vec::new(), SystemTime::UNIX_EPOCH).expect("memory takes it");
        for (key, value) in [(&b"Ua"[..], Some(vec![1, 2, 255])), (b"Ub", None), (b"", Some(Vec::new()))] {
            writer.row(&BackupRow { key: key.to_vec(), value }).expect("memory takes it");
        }
        writer.finish().expect("memory takes it").0
    }

    #[test]
    fn rows_come_back_as_they_went() {
        let mut rows = Vec::new();
        let count = read_backup(&*written(), |row| {
            rows.push((row.key, row.value));
            Ok(())
        });
        assert_eq!(count.expect("it is whole"), 3);
        assert_eq!(
            rows,
            [(b"Ua".to_vec(), Some(vec![1, 2, 255])), (b"Ub".to_vec(), None), (Vec::new(), Some(Vec::new()))]
        );
    }

    #[test]
    fn whatever_is_cut_changed_or_added_is_noticed() {
        let good = written();
        let text = String::from_utf8(good.clone()).expect("JSON");
        for end in 0..good.len() {
            assert!(read_backup(&good[..end], |_| Ok(())).is_err(), "cut at {end}");
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(
                read_backup(&*bad, |_| Ok(())).is_err(),
                "changed at {at}: {}",
                String::from_utf8_lossy(&bad)
            );
        }
        let lines: Vec<&str> = text.lines().collect();
        for leaving in 0..lines.len() {
            let rest: Vec<&str> =
                lines.iter().enumerate().filter(|(at, _)| *at != leaving).map(|(_, line)| *line).collect();
            assert!(
                read_backup((rest.join("\n") + "\n").as_bytes(), |_| Ok(())).is_err(),
                "without line {leaving}"
            );
        }
        assert!(read_backup((text.clone() + "\n").as_bytes(), |_| Ok(())).is_err());
        let newer = text.replacen("\"version\":1", "\"version\":2", 1);
        assert!(matches!(read_backup(newer.as_bytes(), |_| Ok(())), Err(BackupError::Newer { found: 2 })));
        assert!(matches!(read_backup(&b"{}\n"[..], |_| Ok(())), Err(BackupError::Foreign)));
    }
}
