//! CSV: columns named in the first line, as RFC 4180 quotes them.
//!
//! Callers: `cli::user::import::lines`.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use ::csv::{ByteRecord, ErrorKind, ReaderBuilder};

use super::lines::{
    BYTE_ORDER_MARK, LONGEST, Line, Mark, Metered, Reader, UTF16, Unreadable, io_fault, is_utf16,
};
use super::row::{Column, Row, columns, unknown};

/// What MySQL writes where nothing is.
const NULL: &str = "\\N";

struct Table {
    columns: Vec<Column>,
    mark: Mark,
    quotes: Rc<Cell<Quotes>>,
    reader: ::csv::Reader<LineFeeds>,
    record: ByteRecord,
}

pub(super) fn read(file: Metered) -> Result<Reader, Unreadable> {
    let mark = file.mark();
    let quotes = Rc::default();
    // The first line is ours to judge, and so is how many columns the others have.
    let reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(LineFeeds::of(file, Rc::clone(&quotes)));
    let mut table = Table { columns: Vec::new(), mark, quotes, reader, record: ByteRecord::new() };
    let number = table.advance()?.ok_or_else(|| Unreadable::at(1, expected("the file is empty")))?;
    table.columns = heads(&table.record).map_err(|why| Unreadable::at(number, why))?;
    Ok(Box::new(table))
}

impl Table {
    /// Reads the next record; gives the line where it begins.
    fn advance(&mut self) -> Result<Option<u64>, Unreadable> {
        self.mark.line_ended();
        let began = self.reader.position().line();
        match self.reader.read_byte_record(&mut self.record) {
            Ok(true) => {
                // Counted from its end, for the reader passes over blank lines without a word.
                let within = self.record.as_slice().iter().filter(|byte| **byte == b'\n').count() as u64;
                Ok(Some(self.reader.position().line().saturating_sub(1 + within)))
            }
            Ok(false) => Ok(None),
            Err(_) if self.mark.overrun() => Err(match self.quotes.get().open() {
                Some(opened) => Unreadable::at(
                    opened,
                    format!("the quote that opens here is not closed within {LONGEST} bytes"),
                ),
                None => Unreadable::at(began, format!("the line is longer than {LONGEST} bytes")),
            }),
            Err(error) => Err(match error.into_kind() {
                ErrorKind::Io(error) => io_fault(&error),
                _ => Unreadable::at(began, "the line can't be read as CSV"),
            }),
        }
    }

    fn row(&self) -> Result<Row, String> {
        let (given, expected) = (self.record.len(), self.columns.len());
        if given != expected {
            return Err(format!(
                "there are {given} columns, and the first line names {expected}: does a value with a comma lack its quotes?"
            ));
        }
        let mut row = Row::default();
        for (column, cell) in self.columns.iter().zip(self.record.iter()) {
            match std::str::from_utf8(cell) {
                Ok(cell) => put(&mut row, *column, if cell == NULL { "" } else { cell }),
                Err(_) => row.faults.push(format!("the column `{}` is not UTF-8", column.name())),
            }
        }
        Ok(row)
    }
}

impl Iterator for Table {
    type Item = Result<Line, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        let number = match self.advance() {
            Ok(number) => number?,
            Err(fault) => return Some(Err(fault)),
        };
        // With the file's end inside of quotes this record is the last one, and whatever it says is no account.
        if let Some(opened) = self.quotes.get().unclosed {
            let account = Err("the quote that opens here is never closed".to_owned());
            return Some(Ok(Line { account, number: opened }));
        }
        let account = self.row().and_then(Row::account);
        Some(Ok(Line { account: account.map_err(|why| self.with_quote(why, number)), number }))
    }
}

impl Table {
    /// A fault of a record that goes over several lines, where a quote that lacks its other end is the likely cause.
    fn with_quote(&self, why: String, number: u64) -> String {
        let lines = |cell: &[u8]| cell.iter().filter(|byte| **byte == b'\n').count() as u64;
        let first = self.record.iter().position(|cell| lines(cell) > 0);
        let Some(cell) = first.and_then(|at| self.record.get(at)) else { return why };
        // No cell before it has a line of its own.
        let end = number + lines(cell);
        format!(
            "{why}; the quote that opens on line {number} is closed on line {end}: is one missing between them?"
        )
    }
}

/// Which lines have quotes that are open, as the reader sees it: at the beginning of a cell alone, and doubled within.
#[derive(Clone, Copy, Default)]
struct Quotes {
    /// How many lines have ended.
    lines: u64,
    /// Where the quote opens that is not closed at the file's end.
    unclosed: Option<u64>,
    within: Within,
}

/// What the next byte is part of.
#[derive(Clone, Copy, Default)]
enum Within {
    /// A cell that begins.
    #[default]
    Start,
    /// A cell without quotes, or what stands behind them.
    Plain,
    /// A cell whose quote opens on this line.
    Quoted(u64),
    /// The same, behind a quote: its end, or the first half of one that is meant.
    Half(u64),
}

impl Quotes {
    fn pass(&mut self, byte: u8) {
        self.within = match (self.within, byte) {
            (Within::Quoted(opened), b'"') => Within::Half(opened),
            (Within::Quoted(opened), _) | (Within::Half(opened), b'"') => Within::Quoted(opened),
            (Within::Start, b'"') => Within::Quoted(self.lines + 1),
            (Within::Start | Within::Plain | Within::Half(_), b',' | b'\n') => Within::Start,
            (Within::Start | Within::Plain | Within::Half(_), _) => Within::Plain,
        };
        self.lines += u64::from(byte == b'\n');
    }

    /// The line on which the quote opens that isn't closed yet.
    fn open(self) -> Option<u64> {
        match self.within {
            Within::Quoted(opened) => Some(opened),
            Within::Start | Within::Plain | Within::Half(_) => None,
        }
    }
}

/// A file whose lines end in `\n`, the last one too, whatever they end in on the disk: the reader counts those alone.
struct LineFeeds {
    after_return: bool,
    ended: bool,
    file: Metered,
    quotes: Rc<Cell<Quotes>>,
}

impl LineFeeds {
    fn of(file: Metered, quotes: Rc<Cell<Quotes>>) -> Self {
        Self { after_return: false, ended: true, file, quotes }
    }
}

impl Read for LineFeeds {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.file.read(buffer)?;
            let mut quotes = self.quotes.get();
            if read == 0 {
                quotes.unclosed = quotes.open();
                self.quotes.set(quotes);
                if self.ended || buffer.is_empty() {
                    return Ok(0);
                }
                self.ended = true;
                buffer[0] = b'\n';
                return Ok(1);
            }
            let mut kept = 0;
            for at in 0..read {
                let byte = buffer[at];
                let second = self.after_return && byte == b'\n';
                self.after_return = byte == b'\r';
                if !second {
                    buffer[kept] = if byte == b'\r' { b'\n' } else { byte };
                    quotes.pass(buffer[kept]);
                    kept += 1;
                }
            }
            self.quotes.set(quotes);
            // Nothing would be the end of the file.
            if kept > 0 {
                self.ended = buffer[kept - 1] == b'\n';
                return Ok(kept);
            }
        }
    }
}

fn put(row: &mut Row, column: Column, cell: &str) {
    match column {
        Column::Username => row.username = Some(cell.to_owned()),
        Column::Email => row.email = Some(cell.to_owned()),
        Column::Name => row.name = Some(cell.to_owned()),
        Column::Roles => row.roles = list(cell),
        Column::Awaits => row.awaits = list(cell),
        Column::Language => row.language = Some(cell.to_owned()),
        Column::PasswordHash => row.password_hash = (!cell.is_empty()).then(|| cell.into()),
        Column::Disabled => match yes_or_no(cell) {
            Some(disabled) => row.disabled = disabled,
            None => row.faults.push("`disabled` has to be true or false".to_owned()),
        },
    }
}

fn list(cell: &str) -> Vec<String> {
    cell.split(';').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// As programs and databases write it.
fn yes_or_no(cell: &str) -> Option<bool> {
    match cell.trim().to_ascii_lowercase().as_str() {
        "" | "0" | "f" | "false" | "n" | "no" => Some(false),
        "1" | "t" | "true" | "y" | "yes" => Some(true),
        _ => None,
    }
}

/// The columns that the first line names.
fn heads(record: &ByteRecord) -> Result<Vec<Column>, String> {
    if record.get(0).is_some_and(is_utf16) {
        return Err(UTF16.to_owned());
    }
    let mut found = Vec::new();
    let mut strange = Vec::new();
    for (place, cell) in record.iter().enumerate() {
        let cell = String::from_utf8_lossy(cell);
        let name = cell.trim_start_matches(BYTE_ORDER_MARK).trim();
        match Column::named(&name.to_lowercase()) {
            Some(column) if found.contains(&column) => {
                return Err(format!("the column `{}` is there twice", column.name()));
            }
            Some(column) => found.push(column),
            None => strange.push((place + 1, name.to_owned())),
        }
    }
    if found.is_empty() {
        let semicolons = strange.first().is_some_and(|(_, name)| name.contains("username;"));
        return Err(if semicolons {
            "the columns are separated by semicolons; commas are expected".to_owned()
        } else {
            expected("the first line doesn't name the columns")
        });
    }
    if !strange.is_empty() {
        let told =
            strange.iter().map(|(place, name)| unknown(name).unwrap_or_else(|| format!("number {place}")));
        let told = told.collect::<Vec<_>>().join(", ");
        return Err(format!("unknown column {told}; known are {}", columns()));
    }
    if !found.contains(&Column::Username) {
        return Err("there is no column `username`".to_owned());
    }
    Ok(found)
}

fn expected(what: &str) -> String {
    let usual = Column::ALL.into_iter().take_while(|column| *column != Column::Awaits).map(Column::name);
    format!("{what}: expected {}", usual.collect::<Vec<_>>().join(","))
}
