//! The file as written: its text, its lines, and a tree of what stands where.
//!
//! saphyr-parser says where things stand, serde_yaml says what a value is; no other file names them.
//! Anchors, aliases, merge keys and tags are refused, so that a small file can't grow into a large one
//! and what is read is what stands there.
//!
//! Callers: `config` loads, `reader` walks the tree. What a key means is not known here.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde::de::DeserializeOwned;

use super::fault::{Fault, Faults, MAX_FAULTS, Place, quote};

/// A configuration is written by hand: what is larger or deeper is something else.
const MAX_BYTES: u64 = 1 << 20;
const MAX_DEPTH: usize = 16;

/// The text and its name.
pub(super) struct Source {
    lines: Vec<String>,
    pub(super) name: Arc<str>,
    text: String,
}

/// From where to where, as the parser counts: lines from 1, columns in characters from 0.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    pub(super) line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
}

/// One value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) span: Span,
}

#[derive(Debug)]
pub(super) enum Kind {
    List(Vec<Node>),
    Map(Vec<Entry>),
    Scalar { text: String, plain: bool },
}

/// A key and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) value: Node,
}

/// Reads a file; what stops that is said in one sentence.
pub(super) fn read(path: &Path) -> Result<String, Fault> {
    let fault = |message: String| Fault::of_file(path.display().to_string().into(), message);
    let io = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => fault("there is no such file".to_owned()),
        std::io::ErrorKind::IsADirectory => fault("is a directory, not a configuration file".to_owned()),
        _ => fault(format!("can't be read: {error}")),
    };
    let file = std::fs::File::open(path).map_err(io)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(fault("is larger than 1 MiB, which no configuration is".to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        fault(format!("is not UTF-8 text: line {line} has other bytes"))
    })
}

/// Reads a file that the configuration names: a certificate, a key, a secret.
pub(super) fn read_bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    Ok(bytes)
}

/// What serde_yaml makes of one scalar; `None` where that is no `T`.
pub(super) fn typed<T: DeserializeOwned>(text: &str, plain: bool) -> Option<T> {
    let value = if plain && text.is_empty() {
        serde_yaml::Value::Null
    } else if plain {
        // The blank keeps `---` from being the start of a document.
        match serde_yaml::from_str(&format!(" {text}")) {
            Ok(serde_yaml::Value::Sequence(_) | serde_yaml::Value::Mapping(_)) | Err(_) => text.into(),
            Ok(serde_yaml::Value::Tagged(_)) => text.into(),
            Ok(scalar) => scalar,
        }
    } else {
        text.into()
    };
    serde_yaml::from_value(value).ok()
}

impl Source {
    pub(super) fn new(name: &str, text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
        // As the parser breaks lines, or the positions would drift apart.
        let lines = text.replace("\r\n", "\n").split(['\n', '\r']).map(str::to_owned).collect();
        Self { lines, name: name.into(), text }
    }

    /// The tree, and the duplicate keys, of which the first is kept; or what makes it unreadable.
    pub(super) fn tree(&self) -> Result<(Node, Vec<Fault>), Faults> {
        if self.text.len() as u64 > MAX_BYTES {
            return Err(self.of_file("is larger than 1 MiB, which no configuration is").into());
        }
        let mut builder = Builder {
            duplicates: Vec::new(),
            parser: Parser::new_from_str(&self.text),
            refused: Vec::new(),
            source: self,
        };
        let root = match builder.document() {
            Ok(root) => root,
            Err(fault) => {
                builder.refused.append(&mut builder.duplicates);
                builder.refused.push(fault);
                return Err(Faults::sorted(builder.refused));
            }
        };
        Faults::check(builder.refused)?;
        match root {
            Some(root) => Ok((root, builder.duplicates)),
            None => Err(self.of_file("is empty: `upstreams` and `routes` are required").into()),
        }
    }

    pub(super) fn place(&self, span: Span) -> Place {
        let line = span.line.clamp(1, self.lines.len());
        let source = &self.lines[line - 1];
        let length = source.trim_end().chars().count();
        let column = span.column.min(length);
        let end = if span.end_line == span.line { span.end_column.min(length) } else { length };
        Place::new(line, column + 1, end.saturating_sub(column).max(1), source)
    }

    pub(super) fn fault(&self, span: Span, message: impl Into<String>) -> Fault {
        Fault::at(self.name.clone(), self.place(span), message.into())
    }

    pub(super) fn of_file(&self, message: &str) -> Fault {
        Fault::of_file(self.name.clone(), message.to_owned())
    }
}

struct Builder<'a> {
    duplicates: Vec<Fault>,
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    /// What was refused and could be stepped over; the tree is not used then.
    refused: Vec<Fault>,
    source: &'a Source,
}

impl<'a> Builder<'a> {
    /// The one document; `None` where there is nothing in it.
    fn document(&mut self) -> Result<Option<Node>, Fault> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::DocumentStart(_) if root.is_some() => {
                    return Err(self
                        .source
                        .fault(span, "a second document begins here")
                        .help("expected one"));
                }
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
                event => {
                    let node = self.node(event, span, 0)?;
                    let empty = matches!(&node.kind, Kind::Scalar { text, plain: true } if text.is_empty());
                    root = Some(node).filter(|_| !empty);
                }
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Fault> {
        if self.refused.len() + self.duplicates.len() >= MAX_FAULTS {
            return Err(self.source.fault(span, "there are too many faults before this to go on"));
        }
        if depth > MAX_DEPTH {
            return Err(self.source.fault(span, "this is nested too deeply").help("no key lies so deep"));
        }
        let (anchor, tagged) = match &event {
            Event::Scalar(_, _, anchor, tag) => (*anchor, tag.is_some()),
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => (*anchor, tag.is_some()),
            _ => (0, false),
        };
        if anchor != 0 {
            let fault = self.source.fault(span, "an anchor (`&name`) is not taken here");
            self.refused.push(fault.help("write the value out where it is used"));
        }
        if tagged {
            let fault = self.source.fault(span, "a tag (`!name`) is not taken here");
            self.refused.push(fault.help("write the value without it"));
        }
        let kind = match event {
            Event::Scalar(text, style, ..) => {
                Kind::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain }
            }
            Event::SequenceStart(..) => self.list(depth)?,
            Event::MappingStart(..) => self.map(depth)?,
            Event::Alias(_) => {
                let fault = self.source.fault(span, "an alias (`*name`) is not taken here");
                self.refused
                    .push(fault.help("write the value out; a text that begins with `*` needs quotes"));
                Kind::Scalar { text: String::new(), plain: true }
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => return Err(self.source.fault(span, "a value is missing here")),
        };
        Ok(Node { kind, span })
    }

    fn list(&mut self, depth: usize) -> Result<Kind, Fault> {
        let mut nodes = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Kind::List(nodes)),
                (event, span) => nodes.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Kind, Fault> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen: HashMap<String, Span> = HashMap::new();
        loop {
            let (key, key_span) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Kind::Map(entries)),
                (event, span) => (self.node(event, span, depth + 1)?, span),
            };
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            let Kind::Scalar { text: key, plain } = key.kind else {
                self.refused.push(self.source.fault(key_span, "a key has to be a word"));
                continue;
            };
            if plain && key == "<<" {
                let fault = self.source.fault(key_span, "a merge key (`<<`) is not taken here");
                self.refused.push(fault.help("write the keys out"));
                continue;
            }
            if let Some(first) = seen.get(&key) {
                let fault = self.source.fault(key_span, format!("duplicate key `{}`", quote(&key)));
                let fault = fault.help("a key may stand here once");
                self.duplicates.push(fault.related(self.source.place(*first), "the first one"));
                continue;
            }
            seen.insert(key.clone(), key_span);
            entries.push(Entry { key, key_span, value });
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Fault> {
        match self.parser.next_event() {
            None => Ok((Event::StreamEnd, Span::default())),
            Some(Ok((event, span))) => {
                let span = Span {
                    line: span.start.line(),
                    column: span.start.col(),
                    end_line: span.end.line(),
                    end_column: span.end.col(),
                };
                Ok((event, span))
            }
            Some(Err(error)) => Err(self.syntax(&error)),
        }
    }

    fn syntax(&self, error: &saphyr_parser::ScanError) -> Fault {
        let (line, column) = (error.marker().line(), error.marker().col());
        let span = Span { line, column, end_line: line, end_column: column + 1 };
        // The parser's own words for this depend on what it was looking for.
        let indented_with =
            |line: &String| line.chars().take_while(|c| c.is_whitespace()).position(|c| c == '\t');
        for line in [line, line.saturating_sub(1)] {
            if let Some(column) =
                line.checked_sub(1).and_then(|at| self.source.lines.get(at)).and_then(indented_with)
            {
                let span = Span { line, column, end_line: line, end_column: column + 1 };
                return self
                    .source
                    .fault(span, "a tab indents this line")
                    .help("YAML is indented with spaces");
            }
        }
        let fault = self.source.fault(span, format!("this is not YAML: {}", error.info()));
        let written = span.line.checked_sub(1).and_then(|at| self.source.lines.get(at));
        if written.is_some_and(|line| line.contains("${")) {
            return fault.help("within `{ }` and `[ ]`, `${NAME}` needs quotes");
        }
        fault.help("a text that begins with one of `[ { * & ! % @ > |`, or has `: ` in it, needs quotes")
    }
}
