//! The users file of Authelia: names, and under each what is known of the person.
//!
//! Callers: `cli::user::import::lines`.

use std::io::Read;

use saphyr_parser::{Event, Parser, Span, StrInput};

use super::lines::{Line, Metered, Reader, UTF16, Unreadable, io_fault, is_utf16};
use super::row::{Row, unknown};

/// It is read as a whole: some 200,000 people.
const LARGEST: u64 = 64 << 20;

/// What Authelia knows of a person and Foregate has no room for.
const PROFILE: [&str; 15] = [
    "address",
    "birthdate",
    "extra",
    "family_name",
    "gender",
    "given_name",
    "locale",
    "middle_name",
    "nickname",
    "phone_extension",
    "phone_number",
    "picture",
    "profile",
    "website",
    "zoneinfo",
];

pub(super) fn read(mut file: Metered, bytes: u64) -> Result<Reader, Unreadable> {
    if bytes > LARGEST {
        return Err(Unreadable::at(1, "the file is larger than 64 MiB; bring them along as CSV instead"));
    }
    let mut content = Vec::new();
    loop {
        file.mark().line_ended();
        let before = content.len();
        file.by_ref()
            .take(super::lines::LONGEST)
            .read_to_end(&mut content)
            .map_err(|error| io_fault(&error))?;
        if content.len() == before {
            break;
        }
    }
    if is_utf16(&content) {
        return Err(Unreadable::at(1, UTF16));
    }
    let text = String::from_utf8(content).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Unreadable::at(line as u64, "the line is not UTF-8")
    })?;
    let lines = People { parser: Parser::new_from_str(text.trim_start_matches('\u{feff}')) }.read()?;
    Ok(Box::new(lines.into_iter().map(Ok)))
}

struct People<'a> {
    parser: Parser<'a, StrInput<'a>>,
}

impl<'a> People<'a> {
    fn read(mut self) -> Result<Vec<Line>, Unreadable> {
        let mut lines = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
                Event::StreamEnd => break,
                Event::MappingStart(..) => {
                    while let Some((key, span)) = self.key()? {
                        if key != "users" || lines.is_some() {
                            return Err(at(span, "expected `users:` alone, as in Authelia's users file"));
                        }
                        lines = Some(self.people()?);
                    }
                }
                _ => return Err(at(span, "expected `users:`, as in Authelia's users file")),
            }
        }
        lines.ok_or_else(|| Unreadable::at(1, "expected `users:`, as in Authelia's users file"))
    }

    fn people(&mut self) -> Result<Vec<Line>, Unreadable> {
        let (event, span) = self.next()?;
        match event {
            Event::MappingStart(..) => {}
            _ => return Err(at(span, "expected a name for each person under `users:`")),
        }
        let mut lines = Vec::new();
        while let Some((name, span)) = self.key()? {
            let mut row = Row { username: Some(name), ..Row::default() };
            self.person(&mut row)?;
            lines.push(Line { account: row.account(), number: span.start.line() as u64 });
        }
        Ok(lines)
    }

    fn person(&mut self, row: &mut Row) -> Result<(), Unreadable> {
        let (event, _) = self.next()?;
        if !matches!(event, Event::MappingStart(..)) {
            row.faults.push("expected `password:` and more under the name".to_owned());
            return self.skip(event);
        }
        let mut seen: Vec<String> = Vec::new();
        while let Some((key, _)) = self.key()? {
            if seen.contains(&key) {
                row.faults.push(format!("`{key}` is there twice"));
            }
            let value = self.value()?;
            match (key.as_str(), value) {
                ("displayname", Value::Text(text)) => row.name = Some(text),
                ("email", Value::Text(text)) => row.email = Some(text),
                ("password", Value::Text(text)) => {
                    row.password_hash = (!text.is_empty()).then(|| text.into());
                }
                ("disabled", Value::Text(text)) => match text.to_ascii_lowercase().as_str() {
                    "true" => row.disabled = true,
                    "false" | "" => row.disabled = false,
                    _ => row.faults.push("`disabled` has to be true or false".to_owned()),
                },
                ("groups", Value::Texts(texts)) => row.roles = texts,
                ("groups", Value::Text(text)) if text.is_empty() => {}
                ("groups", _) => row.faults.push("`groups` has to be a list".to_owned()),
                ("displayname" | "email" | "password" | "disabled", _) => {
                    row.faults.push(format!("`{key}` has to be one text"));
                }
                (key, _) if PROFILE.contains(&key) => {}
                (key, _) => {
                    let told = unknown(key).unwrap_or_else(|| "of a strange name".to_owned());
                    row.faults.push(format!("unknown key {told}"));
                }
            }
            seen.push(key);
        }
        Ok(())
    }

    /// The next key of a mapping; `None` at its end.
    fn key(&mut self) -> Result<Option<(String, Span)>, Unreadable> {
        match self.next()? {
            (Event::MappingEnd, _) => Ok(None),
            (Event::Scalar(text, ..), span) => Ok(Some((text.into_owned(), span))),
            (_, span) => Err(at(span, "expected a word and a colon")),
        }
    }

    fn value(&mut self) -> Result<Value, Unreadable> {
        let (event, span) = self.next()?;
        match event {
            Event::Scalar(text, style, ..) => {
                let null = style == saphyr_parser::ScalarStyle::Plain && (text == "~" || text == "null");
                Ok(Value::Text(if null { String::new() } else { text.into_owned() }))
            }
            Event::SequenceStart(..) => {
                let mut texts = Some(Vec::new());
                loop {
                    match self.next()?.0 {
                        Event::SequenceEnd => return Ok(texts.map_or(Value::Other, Value::Texts)),
                        Event::Scalar(text, ..) => {
                            texts.iter_mut().for_each(|texts| texts.push(text.to_string()))
                        }
                        other => {
                            texts = None;
                            self.skip(other)?;
                        }
                    }
                }
            }
            Event::Alias(_) => Err(at(span, "an alias (`*name`) is not taken here; write the value out")),
            other => {
                self.skip(other)?;
                Ok(Value::Other)
            }
        }
    }

    /// Passes over the rest of what this event has begun.
    fn skip(&mut self, event: Event<'a>) -> Result<(), Unreadable> {
        let mut depth = 0_usize;
        let mut event = event;
        loop {
            match event {
                Event::SequenceStart(..) | Event::MappingStart(..) => depth += 1,
                Event::SequenceEnd | Event::MappingEnd => depth = depth.saturating_sub(1),
                Event::StreamEnd => return Ok(()),
                _ => {}
            }
            if depth == 0 {
                return Ok(());
            }
            event = self.next()?.0;
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Unreadable> {
        match self.parser.next_event() {
            None => Ok((Event::StreamEnd, Span::default())),
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(Unreadable::at(
                error.marker().line() as u64,
                format!("this is not YAML: {}", error.info()),
            )),
        }
    }
}

/// What stands under one key.
enum Value {
    Other,
    Text(String),
    Texts(Vec<String>),
}

fn at(span: Span, why: &str) -> Unreadable {
    Unreadable::at(span.start.line() as u64, why)
}
