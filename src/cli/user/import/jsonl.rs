//! JSON lines: an object on each.
//!
//! Callers: `cli::user::import::lines`; `htpasswd` reads its lines in the same way.

use std::fmt;
use std::io::{BufRead, BufReader, Read};

use secrecy::SecretString;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::error::Category;

use super::lines::{BYTE_ORDER_MARK, LONGEST, Line, Metered, Reader, UTF16, Unreadable, io_fault, is_utf16};
use super::row::{Column, Row, columns, unknown};

pub(super) fn read(file: Metered) -> Result<Reader, Unreadable> {
    Ok(Box::new(TextLines::new(file).filter_map(|line| {
        let (number, text) = match line {
            Ok(line) => line,
            Err(fault) => return Some(Err(fault)),
        };
        let blank = text.as_ref().is_ok_and(|text| text.trim().is_empty());
        (!blank).then(|| {
            let account = text.and_then(|text| row(&text)).and_then(Row::account);
            Ok(Line { account, number })
        })
    })))
}

/// The lines of a text file, each within the bound, without their ends.
pub(super) struct TextLines {
    number: u64,
    over: bool,
    reader: BufReader<Metered>,
}

impl TextLines {
    pub(super) fn new(file: Metered) -> Self {
        Self { number: 0, over: false, reader: BufReader::new(file) }
    }
}

impl Iterator for TextLines {
    /// Its number, and its text if it is UTF-8.
    type Item = Result<(u64, Result<String, String>), Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        self.number += 1;
        let mark = self.reader.get_ref().mark();
        mark.line_ended();
        let mut line = Vec::new();
        // One byte more than the longest line with its end has.
        let read = (&mut self.reader).take(LONGEST + 2).read_until(b'\n', &mut line);
        let fault = match read {
            Ok(0) => return None,
            Ok(_) if line.len() as u64 > LONGEST + 1 => {
                Unreadable::at(self.number, format!("the line is longer than {LONGEST} bytes"))
            }
            Ok(_) if self.number == 1 && is_utf16(&line) => Unreadable::at(1, UTF16),
            Ok(_) => {
                let text = String::from_utf8(line).map_err(|_| "the line is not UTF-8".to_owned());
                let text = text.map(|text| {
                    let text = text.trim_end_matches(['\r', '\n']);
                    let text = if self.number == 1 { text.trim_start_matches(BYTE_ORDER_MARK) } else { text };
                    text.to_owned()
                });
                return Some(Ok((self.number, text)));
            }
            Err(_) if mark.overrun() => {
                Unreadable::at(self.number, format!("the line is longer than {LONGEST} bytes"))
            }
            Err(error) => io_fault(&error),
        };
        self.over = true;
        Some(Err(fault))
    }
}

fn row(text: &str) -> Result<Row, String> {
    // The library's own words may repeat what stands there.
    let Members(members) = serde_json::from_str(text).map_err(|error| match error.classify() {
        Category::Data => "the line is no JSON object".to_owned(),
        Category::Eof => "the line is not JSON: it ends too early".to_owned(),
        Category::Io | Category::Syntax => format!("the line is not JSON: see column {}", error.column()),
    })?;
    let mut row = Row::default();
    let mut seen = Vec::new();
    for (name, value) in members {
        let Some(column) = Column::named(&name) else {
            let told = unknown(&name).unwrap_or_else(|| "of a strange name".to_owned());
            return Err(format!("unknown member {told}; known are {}", columns()));
        };
        if seen.contains(&column) {
            row.faults.push(format!("the member `{name}` is there twice"));
        }
        seen.push(column);
        if let Err(expected) = put(&mut row, column, value) {
            row.faults.push(format!("`{name}` has to be {expected}"));
        }
    }
    Ok(row)
}

fn put(row: &mut Row, column: Column, value: Value) -> Result<(), &'static str> {
    match column {
        Column::Username => row.username = text(value)?,
        Column::Email => row.email = text(value)?,
        Column::Name => row.name = text(value)?,
        Column::Roles => row.roles = texts(value).ok_or("a list of strings")?,
        Column::Awaits => row.awaits = texts(value).ok_or("a list of strings")?,
        Column::Language => row.language = text(value)?,
        Column::PasswordHash => {
            row.password_hash = text(value)?.filter(|hash| !hash.is_empty()).map(SecretString::from);
        }
        Column::Disabled => match value {
            Value::Bool(disabled) => row.disabled = disabled,
            Value::Null => {}
            _ => return Err("true or false"),
        },
    }
    Ok(())
}

fn text(value: Value) -> Result<Option<String>, &'static str> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        _ => Err("a string"),
    }
}

fn texts(value: Value) -> Option<Vec<String>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::Array(values) => values.into_iter().map(|value| text(value).ok().flatten()).collect(),
        _ => None,
    }
}

/// An object's members as they stand there: a map would keep the last of two without a word.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}
