//! Walking the tree: a section gives its keys' values, a value becomes what it has to be or a fault.
//!
//! Nothing here stops at a fault: what is faulty reads as absent, its fault is kept, and the walk goes
//! on, so that one run tells everything. Whether a configuration may be used is asked once, at the end.
//!
//! Callers: the sections of the file beside this. Which keys there are is known there.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::expand::{ExpandError, expand};
use super::fault::{Fault, Faults, MAX_FAULTS, quote, suggest};
use super::file::{self, Entry, Kind, Node, Source, Span, typed};

/// Files that a folder may hold, and how deep: against a link that leads in a circle or to a whole disk.
const MAX_FILES: usize = 500;
const MAX_DEPTH: usize = 3;

/// In place of a key, for the root.
const WHOLE: &str = "the configuration";

/// What the walk needs everywhere, and the faults so far.
pub(super) struct Reader<'a> {
    base: &'a Path,
    environment: &'a dyn Fn(&str) -> Option<String>,
    faults: RefCell<Vec<Fault>>,
    files: RefCell<BTreeSet<PathBuf>>,
    source: &'a Source,
    warnings: RefCell<Vec<Fault>>,
}

impl<'a> Reader<'a> {
    /// Relative paths are relative to `base`.
    pub(super) fn new(
        source: &'a Source,
        base: &'a Path,
        environment: &'a dyn Fn(&str) -> Option<String>,
        faults: Vec<Fault>,
    ) -> Self {
        Self {
            base,
            environment,
            faults: RefCell::new(faults),
            files: RefCell::default(),
            source,
            warnings: RefCell::default(),
        }
    }

    /// The whole file.
    pub(super) fn root(&'a self, node: &'a Node) -> Value<'a> {
        Value { element: false, key: WHOLE, key_span: node.span, node, reader: self, span: node.span }
    }

    /// The warnings, where there was no fault.
    pub(super) fn finish(self) -> Result<Vec<Fault>, Faults> {
        Faults::check(self.faults.into_inner())?;
        Ok(self.warnings.into_inner())
    }

    /// The files that were read or looked for.
    pub(super) fn files(&self) -> BTreeSet<PathBuf> {
        self.files.borrow().clone()
    }

    /// The bytes of a file that the configuration names; a reload looks whether they have changed.
    pub(super) fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.files.borrow_mut().insert(path.to_owned());
        file::read_bytes(path)
    }

    /// The files of a folder and of the folders in it, by their names below it, with `/`; a reload looks whether any has
    /// changed, come or gone. What begins with a dot is somebody else's.
    pub(super) fn read_folder(&self, folder: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![(folder.to_owned(), String::new())];
        while let Some((folder, prefix)) = folders.pop() {
            self.files.borrow_mut().insert(folder.clone());
            for entry in std::fs::read_dir(&folder)? {
                let entry = entry?;
                let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
                if entry.file_name().as_encoded_bytes().starts_with(b".") {
                    continue;
                }
                if files.len() + folders.len() >= MAX_FILES {
                    let message = format!("it holds more than {MAX_FILES} files");
                    return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
                }
                // Through links: a mounted folder may hold nothing else.
                if std::fs::metadata(entry.path())?.is_dir() {
                    if prefix.matches('/').count() >= MAX_DEPTH {
                        let message = format!("`{name}` lies too deep");
                        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
                    }
                    folders.push((entry.path(), format!("{name}/")));
                } else {
                    let bytes = self.read_file(&entry.path());
                    let bytes =
                        bytes.map_err(|error| io::Error::new(error.kind(), format!("`{name}`: {error}")))?;
                    files.insert(name, bytes);
                }
            }
        }
        Ok(files)
    }

    /// A path of the file: a relative one is relative to the file's folder.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        // Through the components, so that `/etc/./data` is shown as `/etc/data`.
        self.base.join(path).components().collect()
    }

    /// What is sound and yet unwise.
    pub(super) fn warn(&self, warning: Fault) {
        self.warnings.borrow_mut().push(warning);
    }

    pub(super) fn add(&self, fault: Fault) {
        let mut faults = self.faults.borrow_mut();
        if faults.len() < MAX_FAULTS {
            faults.push(fault);
        }
    }

    /// A fault, to be added to and reported.
    fn fault(&self, span: Span, message: impl Into<String>) -> Fault {
        if self.is_full() {
            // It will be dropped, and showing a place in a long line costs time that many faults would multiply.
            return Fault::of_file(self.source.name.clone(), message.into());
        }
        self.source.fault(span, message)
    }

    fn relate(&self, fault: Fault, span: Span, note: &str) -> Fault {
        if self.is_full() { fault } else { fault.related(self.source.place(span), note) }
    }

    /// Whether more faults would be dropped, so that looking for what was meant is in vain.
    pub(super) fn is_full(&self) -> bool {
        self.faults.borrow().len() >= MAX_FAULTS
    }
}

#[cfg(test)]
thread_local! {
    /// The keys of each kind of section that was read, for the test that compares the schema with them.
    pub(super) static ASKED_FOR: RefCell<BTreeSet<BTreeSet<&'static str>>> = const { RefCell::new(BTreeSet::new()) };
}

/// A mapping whose keys are known. Which ones is learnt from what is asked for.
pub(super) struct Section<'a> {
    entries: &'a [Entry],
    known: Vec<&'static str>,
    reader: &'a Reader<'a>,
    /// It is something else than a section, which has been said: nothing is missing in it.
    refused: bool,
    /// Its first key, for faults about the section as a whole; `None` where it isn't there at all.
    span: Option<Span>,
}

impl<'a> Section<'a> {
    /// The value of an optional key; `null` is as good as absent.
    pub(super) fn get(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.known.push(key);
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(Value::of(entry, self.reader)).filter(|value| !value.is_null())
    }

    /// Whether a key is there, whatever is in it. It is known once it was asked for by `get`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// The value of a key that has to be there.
    pub(super) fn require(&mut self, key: &'static str, expected: &str) -> Option<Value<'a>> {
        let value = self.get(key);
        if value.is_none() && !self.refused {
            let empty = self.entries.iter().find(|entry| entry.key == key).map(|entry| entry.key_span);
            let message = match empty {
                Some(_) => format!("`{key}` is empty"),
                None => format!("`{key}` is missing"),
            };
            let span = empty.or(self.span).unwrap_or_default();
            self.reader.add(self.reader.fault(span, message).help(expected));
        }
        value
    }

    /// A section within this one; where it is absent, all its keys are.
    pub(super) fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'a>) -> T) -> T {
        match self.get(key) {
            Some(value) => value.section(read),
            None => {
                let refused = false;
                read(&mut Self { entries: &[], known: Vec::new(), reader: self.reader, refused, span: None })
            }
        }
    }

    /// Makes the fault, to be added to or reported.
    pub(super) fn fault(&self, message: impl Into<String>) -> Fault {
        match self.span {
            Some(span) => self.reader.fault(span, message),
            None => Fault::of_file(self.reader.source.name.clone(), message.into()),
        }
    }

    pub(super) fn reader(&self) -> &'a Reader<'a> {
        self.reader
    }

    fn report_unknown(&self) {
        #[cfg(test)]
        ASKED_FOR.with_borrow_mut(|asked| asked.insert(self.known.iter().copied().collect()));
        for entry in self.entries {
            if self.known.contains(&entry.key.as_str()) || self.reader.is_full() {
                continue;
            }
            let message = format!("unknown key `{}`", quote(&entry.key));
            let help = suggest(&entry.key, self.known.iter().copied());
            self.reader.add(self.reader.fault(entry.key_span, message).help(help));
        }
    }
}

/// What stands at a key or in a list.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    element: bool,
    key: &'a str,
    key_span: Span,
    node: &'a Node,
    reader: &'a Reader<'a>,
    span: Span,
}

/// A scalar with its variables in place.
struct Scalar<'a> {
    plain: bool,
    text: String,
    written: &'a str,
}

impl<'a> Value<'a> {
    fn of(entry: &'a Entry, reader: &'a Reader<'a>) -> Self {
        let (key, key_span, span) = (&entry.key, entry.key_span, entry.value.span);
        let value = Self { element: false, key, key_span, node: &entry.value, reader, span };
        // What isn't there has no place of its own.
        let empty = matches!(&entry.value.kind, Kind::Scalar { text, plain: true } if text.is_empty());
        if empty { Self { span: entry.key_span, ..value } } else { value }
    }

    /// Makes a fault about this value.
    pub(super) fn fault(&self, message: impl Into<String>) -> Fault {
        self.reader.fault(self.span, message)
    }

    /// Makes a fault about its key.
    pub(super) fn fault_of_key(&self, message: impl Into<String>) -> Fault {
        self.reader.fault(self.key_span, message)
    }

    /// Has a fault point here, too.
    pub(super) fn relate(&self, fault: Fault, note: &str) -> Fault {
        self.reader.relate(fault, self.span, note)
    }

    /// Has a fault point at the key, too.
    pub(super) fn relate_key(&self, fault: Fault, note: &str) -> Fault {
        self.reader.relate(fault, self.key_span, note)
    }

    /// Reports that the value can't be what it is.
    pub(super) fn refuse(&self, expected: impl Into<String>) {
        let verb = if self.element { "list" } else { "be" };
        let written = match &self.node.kind {
            Kind::List(nodes) if nodes.is_empty() => "an empty list".to_owned(),
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(entries) if entries.is_empty() => "an empty mapping".to_owned(),
            Kind::Map(_) => "a mapping".to_owned(),
            Kind::Scalar { text, plain: true } if text.is_empty() => "empty".to_owned(),
            Kind::Scalar { text, .. } => format!("`{}`", quote(text)),
        };
        let fault = self.fault(format!("{} can't {verb} {written}", self.title()));
        self.reader.add(fault.help(expected));
    }

    /// As written, if it is a scalar: to look for what isn't a value, and for messages.
    pub(super) fn written(&self) -> Option<&'a str> {
        match &self.node.kind {
            Kind::Scalar { text, .. } => Some(text),
            Kind::List(_) | Kind::Map(_) => None,
        }
    }

    /// What a value type makes of it. Its error says what was expected; the value is shown as written.
    pub(super) fn parse<T, E: Display>(&self, parse: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        // No value type takes an empty text, and so it tells what it would have taken.
        let expected = || parse("").err().map_or("expected a text".to_owned(), |error| error.to_string());
        let scalar = self.scalar(expected)?;
        match parse(&scalar.text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.refuse(error.to_string());
                None
            }
        }
    }

    /// A text: not a number, not a truth value.
    pub(super) fn text(&self) -> Option<String> {
        let scalar = self.scalar(|| "expected a text".to_owned())?;
        // As written: what a variable holds is text, also where it looks like a number.
        if scalar.written == scalar.text && typed::<String>(&scalar.text, scalar.plain).is_none() {
            self.refuse("expected a text: put it in quotes");
            return None;
        }
        Some(scalar.text)
    }

    /// A text of `most` characters at most, none of them a control character, and at least one.
    pub(super) fn line(&self, most: usize) -> Option<String> {
        let text = self.text()?;
        if text.trim().is_empty() || text.contains(char::is_control) || text.chars().count() > most {
            self.refuse(format!("expected one line of text, {most} characters at most"));
            return None;
        }
        Some(text)
    }

    /// A text, or `{ file: PATH }` for the content of a file, without the newline at its end.
    pub(super) fn secret(&self) -> Option<String> {
        if !self.is_mapping() {
            return self.text();
        }
        let path = self.section(|section| {
            let value = section.require("file", "expected a text, or `{ file: PATH }`")?;
            Some((value, value.path()?))
        });
        let (value, path) = path?;
        let text = self.reader.read_file(&path).and_then(|bytes| {
            String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no text"))
        });
        let text = match text {
            Ok(text) => text,
            Err(error) => {
                let fault = value.fault(format!("{} can't be read: {error}", quote(&path.to_string_lossy())));
                self.reader.add(fault.help("expected a text file that this user can read"));
                return None;
            }
        };
        let text = text.strip_suffix('\n').map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line));
        Some(text.to_owned())
    }

    /// As `refuse`, for what `secret` gave: neither it nor its line is shown.
    pub(super) fn refuse_secret(&self, expected: impl Into<String>) {
        let what = if self.is_mapping() { "what the file holds" } else { "this" };
        let fault = self.fault(format!("{} can't be {what}", self.title()));
        self.reader.add(fault.help(expected).without_line());
    }

    /// A whole number.
    pub(super) fn number(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let expected = || format!("expected a whole number from {} to {}", range.start(), range.end());
        let scalar = self.scalar(expected)?;
        let number = typed::<u64>(&scalar.text, scalar.plain).filter(|number| range.contains(number));
        if number.is_none() {
            self.refuse(expected());
        }
        number
    }

    /// A truth value.
    pub(super) fn flag(&self) -> Option<bool> {
        let expected = || "expected `true` or `false`".to_owned();
        let scalar = self.scalar(expected)?;
        let flag = typed::<bool>(&scalar.text, scalar.plain);
        if flag.is_none() {
            self.refuse(expected());
        }
        flag
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&self, words: &[(&'static str, T)]) -> Option<T> {
        let names = || words.iter().map(|(name, _)| *name);
        let scalar = self.scalar(|| suggest("", names()))?;
        let found = words.iter().find(|(name, _)| *name == scalar.text);
        if found.is_none() {
            self.refuse(suggest(scalar.written, names()));
        }
        found.map(|(_, word)| *word)
    }

    /// A path.
    pub(super) fn path(&self) -> Option<PathBuf> {
        Some(self.reader.resolve(&self.line(4096)?))
    }

    /// Each value of a list.
    pub(super) fn list(&self) -> Vec<Value<'a>> {
        let Kind::List(nodes) = &self.node.kind else {
            self.refuse("expected a list");
            return Vec::new();
        };
        let element = |node: &'a Node| Self { element: true, node, span: node.span, ..*self };
        nodes.iter().map(element).collect()
    }

    /// Each value of a list that has to have one.
    pub(super) fn list_of_some(&self, expected: &str) -> Vec<Value<'a>> {
        match &self.node.kind {
            Kind::List(nodes) if !nodes.is_empty() => self.list(),
            Kind::List(_) | Kind::Map(_) | Kind::Scalar { .. } => {
                self.refuse(expected);
                Vec::new()
            }
        }
    }

    /// Each value of a list, or the value that stands alone.
    pub(super) fn one_or_more(&self, expected: &str) -> Vec<Value<'a>> {
        match self.node.kind {
            Kind::List(_) => self.list_of_some(expected),
            Kind::Map(_) | Kind::Scalar { .. } => vec![*self],
        }
    }

    /// What a value type makes of each value of a list; `None` for an empty one.
    pub(super) fn parse_list<T, E: Display>(&self, parse: impl Fn(&str) -> Result<T, E>) -> Option<Vec<T>> {
        let values: Vec<T> = self.list().iter().filter_map(|value| value.parse(&parse)).collect();
        Some(values).filter(|values| !values.is_empty())
    }

    /// Keys of the operator's choice and their values.
    pub(super) fn entries(&self, expected: &str) -> Vec<Value<'a>> {
        let Kind::Map(entries) = &self.node.kind else {
            self.refuse(expected);
            return Vec::new();
        };
        entries.iter().map(|entry| Value::of(entry, self.reader)).collect()
    }

    /// Whether there are keys in it.
    pub(super) fn is_mapping(&self) -> bool {
        matches!(self.node.kind, Kind::Map(_))
    }

    /// Its key, or that of the list it stands in.
    pub(super) fn key(&self) -> &'a str {
        self.key
    }

    /// Reads a mapping with known keys; the others are reported.
    pub(super) fn section<T>(&self, read: impl FnOnce(&mut Section<'a>) -> T) -> T {
        let mut section = self.as_section();
        let value = read(&mut section);
        section.report_unknown();
        value
    }

    /// Reads some keys of a mapping; nothing is said of the others.
    pub(super) fn read_in_part<T>(&self, read: impl FnOnce(&mut Section<'a>) -> T) -> T {
        read(&mut self.as_section())
    }

    fn as_section(&self) -> Section<'a> {
        let (entries, refused): (&[Entry], bool) = match &self.node.kind {
            Kind::Map(entries) => (entries, false),
            Kind::List(_) | Kind::Scalar { .. } => {
                self.refuse("expected keys and values");
                (&[], true)
            }
        };
        let span = entries.first().map_or(self.span, |entry| entry.key_span);
        Section { entries, known: Vec::new(), reader: self.reader, refused, span: Some(span) }
    }

    pub(super) fn reader(&self) -> &'a Reader<'a> {
        self.reader
    }

    fn title(&self) -> String {
        if self.key == WHOLE { self.key.to_owned() } else { format!("`{}`", quote(self.key)) }
    }

    /// Whether nothing stands there, or `null`.
    pub(super) fn is_null(&self) -> bool {
        match &self.node.kind {
            // Most values are seen not to be one without asking.
            Kind::Scalar { text, plain } => {
                (text.is_empty() || text.starts_with(['~', 'n', 'N'])) && typed::<()>(text, *plain).is_some()
            }
            Kind::List(_) | Kind::Map(_) => false,
        }
    }

    fn scalar(&self, expected: impl Fn() -> String) -> Option<Scalar<'a>> {
        let Kind::Scalar { text: written, plain } = &self.node.kind else {
            self.refuse(expected());
            return None;
        };
        if self.is_null() {
            self.refuse(expected());
            return None;
        }
        match expand(written, self.reader.environment) {
            // Within braces a variable has to stand in quotes, and may hold a number all the same.
            Ok(text) => Some(Scalar { plain: *plain || text != *written, text, written }),
            Err(error @ ExpandError::Missing(_)) => {
                let fault = self.fault(error.to_string());
                self.reader.add(fault.help("set it, or write `$${` for a `${` that is meant as it is"));
                None
            }
            Err(error @ ExpandError::Syntax) => {
                let fault = self.fault(error.to_string());
                self.reader
                    .add(fault.help("expected `${NAME}`; write `$${` for a `${` that is meant as it is"));
                None
            }
        }
    }
}
