//! Opening a file of accounts, and reading it line by line within a bound.
//!
//! Callers: `cli::user::import`; the formats read through `Metered`.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use anyhow::anyhow;

use super::{CliError, Format, authelia, htpasswd, jsonl, table, unreadable};
use crate::admin::AccountRecord;

/// Bytes of the longest line; an account of ours has a few hundred.
pub(super) const LONGEST: u64 = 64 * 1024;

/// One line: an account, or what is wrong with it.
pub(super) struct Line {
    pub(super) account: Result<AccountRecord, String>,
    /// Where it begins, from 1.
    pub(super) number: u64,
}

/// Why the file can't be read on, and at which line, as far as that is known.
pub(super) struct Unreadable {
    pub(super) line: Option<u64>,
    pub(super) why: String,
}

impl Unreadable {
    pub(super) fn at(line: u64, why: impl Into<String>) -> Self {
        Self { line: Some(line), why: why.into() }
    }
}

/// What a format makes of a file.
pub(super) type Reader = Box<dyn Iterator<Item = Result<Line, Unreadable>>>;

/// The lines of one file.
pub(super) struct Lines {
    bytes: u64,
    file: String,
    meter: Rc<Meter>,
    reader: Reader,
}

impl Lines {
    pub(super) fn open(path: &Path, format: Format) -> Result<Self, CliError> {
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        let bytes = file.metadata().map_err(|error| unreadable(path, &error))?.len();
        let meter = Rc::new(Meter::default());
        let metered = Metered { file, meter: meter.clone() };
        let reader = match format {
            Format::Csv => table::read(metered),
            Format::Jsonl => jsonl::read(metered),
            Format::Authelia => authelia::read(metered, bytes),
            Format::Htpasswd => htpasswd::read(metered),
        };
        let file = path.display().to_string();
        let reader = reader.map_err(|fault| failed(&file, fault))?;
        Ok(Self { bytes, file, meter, reader })
    }

    /// Of the whole file.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many of them were read.
    pub(super) fn position(&self) -> u64 {
        self.meter.read.get()
    }

    pub(super) fn next(&mut self) -> Option<Result<Line, CliError>> {
        Some(self.reader.next()?.map_err(|fault| failed(&self.file, fault)))
    }
}

fn failed(file: &str, fault: Unreadable) -> CliError {
    let Unreadable { line, why } = fault;
    CliError::Failed(match line {
        Some(line) => anyhow!("{file}, line {line}: {why}"),
        None => anyhow!("{file}: {why}"),
    })
}

/// How far a file was read, and where the line began that is being read.
#[derive(Default)]
struct Meter {
    line_began: Cell<u64>,
    overrun: Cell<bool>,
    read: Cell<u64>,
}

/// A file that fails where a line doesn't end: an open quote would otherwise take the whole rest into memory.
pub(super) struct Metered {
    file: File,
    meter: Rc<Meter>,
}

impl Metered {
    /// To be told where a line has ended.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.meter.clone())
    }
}

/// Where lines end.
pub(super) struct Mark(Rc<Meter>);

impl Mark {
    /// The next byte belongs to another line.
    pub(super) fn line_ended(&self) {
        self.0.line_began.set(self.0.read.get());
    }

    /// Whether reading failed for a line that is too long.
    pub(super) fn overrun(&self) -> bool {
        self.0.overrun.get()
    }
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.meter.read.get() - self.meter.line_began.get() > LONGEST {
            self.meter.overrun.set(true);
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long"));
        }
        let read = self.file.read(buffer)?;
        self.meter.read.set(self.meter.read.get() + read as u64);
        Ok(read)
    }
}

/// Why reading failed.
pub(super) fn io_fault(error: &io::Error) -> Unreadable {
    Unreadable { line: None, why: format!("can't be read: {error}") }
}

/// Text that tools of other systems write in 16 bits a character has one of two beginnings.
pub(super) fn is_utf16(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff])
}

/// What to do about it.
pub(super) const UTF16: &str = "the file is UTF-16; save it as UTF-8";

/// What some editors put in front of UTF-8.
pub(super) const BYTE_ORDER_MARK: &str = "\u{feff}";
