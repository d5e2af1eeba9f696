//! What is wrong with a configuration, said so that it can be mended: where, what, and what was expected.
//!
//! A fault holds the line it is about, as written: an expanded `${NAME}` never shows up in one.
//!
//! Callers: the reader and the sections beside it make faults; `cli` and `gateway` print them.

use std::fmt;
use std::sync::Arc;

/// Nobody reads on after so many; further ones are dropped.
pub(super) const MAX_FAULTS: usize = 100;

/// Wide lines are cut to a window of so many characters around the place.
const SHOWN: usize = 100;

/// One thing that is wrong, or, among the warnings, unwise.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    file: Arc<str>,
    help: Option<String>,
    message: String,
    place: Option<Box<Place>>,
    related: Option<Box<(Place, String)>>,
}

impl Fault {
    /// About the file as a whole.
    pub(super) fn of_file(file: Arc<str>, message: String) -> Self {
        Self { file, help: None, message, place: None, related: None }
    }

    /// About one place in it.
    pub(super) fn at(file: Arc<str>, place: Place, message: String) -> Self {
        Self { file, help: None, message, place: Some(Box::new(place)), related: None }
    }

    /// What was expected or would cure it; nothing where it is empty.
    #[must_use]
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        // Names out of the file may be in it, and a terminal must not act on them.
        let help = help.into().replace(char::is_control, "\u{fffd}");
        self.help = Some(help).filter(|help| !help.is_empty());
        self
    }

    /// A second place that the first can't be understood without.
    #[must_use]
    pub(super) fn related(mut self, place: Place, note: &str) -> Self {
        self.related = Some(Box::new((place, note.to_owned())));
        self
    }

    /// Without the line of the file, which holds a secret.
    #[must_use]
    pub(super) fn without_line(mut self) -> Self {
        if let Some(place) = &mut self.place {
            place.shown = String::new();
        }
        self
    }

    /// For a log that many may read: the place and the message, and nothing else of the file.
    pub fn brief(&self) -> String {
        let place = self.position().map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default();
        let help = self.expected().map(|help| format!(" ({help})")).unwrap_or_default();
        format!("{}{place}: {}{help}", self.file, self.message)
    }

    /// Where it is: line and column, both from 1; the column counts characters.
    pub fn position(&self) -> Option<(usize, usize)> {
        self.place.as_ref().map(|place| (place.line, place.column))
    }

    /// What is wrong, in one clause.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What was expected, or what would cure it.
    pub fn expected(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(place) = &self.place else {
            write!(f, "{}: {}", self.file, self.message)?;
            return self.help.as_ref().map_or(Ok(()), |help| write!(f, "\n      = {help}"));
        };
        write!(f, "{}:{}:{}: {}", self.file, place.line, place.column, self.message)?;
        place.show(f, self.help.as_deref())?;
        if let Some((place, note)) = self.related.as_deref() {
            place.show(f, Some(&format!("{}:{}:{}: {note}", self.file, place.line, place.column)))?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a configuration, in the order of the file; at least one fault.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// `Ok` where there is none.
    pub(super) fn check(faults: Vec<Fault>) -> Result<(), Self> {
        if faults.is_empty() { Ok(()) } else { Err(Self::sorted(faults)) }
    }

    /// Of at least one fault.
    pub(super) fn sorted(mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(Fault::position);
        Self(faults)
    }

    /// For a log that many may read: places and messages, and nothing else of the file.
    pub fn brief(&self) -> String {
        self.0.iter().map(Fault::brief).collect::<Vec<_>>().join("; ")
    }

    /// In the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self(vec![fault])
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, fault) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        if self.0.len() >= MAX_FAULTS { f.write_str("\nfurther faults are not shown") } else { Ok(()) }
    }
}

impl std::error::Error for Faults {}

/// A stretch of one line of the file, with the line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Place {
    column: usize,
    line: usize,
    /// What is shown of the line.
    shown: String,
    /// How many characters of it stand before the mark.
    before: usize,
    width: usize,
}

impl Place {
    /// `line` and `column` from 1; `source` is the whole line.
    pub(super) fn new(line: usize, column: usize, width: usize, source: &str) -> Self {
        let before = column - 1;
        let skipped = if before + width.min(SHOWN) > SHOWN { before.saturating_sub(SHOWN / 4) } else { 0 };
        // Characters that a terminal would act on, or show wider than one column, would move the mark.
        let printable = |c: char| match c {
            '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        };
        let shown: String = source.chars().skip(skipped).take(SHOWN).map(printable).collect();
        let before = before - skipped;
        let room = shown.chars().count().saturating_sub(before);
        Self { column, line, shown: shown.trim_end().to_owned(), before, width: width.clamp(1, room.max(1)) }
    }

    fn show(&self, f: &mut fmt::Formatter<'_>, note: Option<&str>) -> fmt::Result {
        if self.shown.is_empty() {
            return note.map_or(Ok(()), |note| write!(f, "\n      = {note}"));
        }
        write!(f, "\n{:>5} | {}", self.line, self.shown)?;
        write!(f, "\n      | {:before$}{:^<width$}", "", "", before = self.before, width = self.width)?;
        note.map_or(Ok(()), |note| write!(f, " {note}"))
    }
}

/// The candidate that was probably meant.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // What is longer is no name, and comparing takes the product of both lengths.
    if word.len() > 100 {
        return None;
    }
    // A slip is a letter or two; in a short word two letters make another word.
    let tolerance = (word.chars().count() / 3).clamp(1, 3);
    let distance =
        |candidate: &str| strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase());
    candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= tolerance * 4)
        .map(|candidate| (distance(candidate), candidate))
        .filter(|(distance, _)| *distance <= tolerance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// "did you mean" where there is a near miss, else the candidates, as far as they can be read at a glance.
pub(super) fn suggest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    if let Some(meant) = nearest(word, candidates.iter().copied()) {
        return format!("did you mean `{meant}`?");
    }
    match candidates.split_last() {
        None => String::new(),
        Some(_) if candidates.iter().map(|candidate| candidate.len()).sum::<usize>() > 400 => String::new(),
        Some((only, [])) => format!("expected `{only}`"),
        Some((last, rest)) => format!("expected `{}` or `{last}`", rest.join("`, `")),
    }
}

/// A text of the file in a message: in one line and not too long.
pub(super) fn quote(text: &str) -> String {
    let shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    // Quotes are harmless here, and escaped they would look like part of the value.
    let shown = shown.replace("\\\"", "\"").replace("\\'", "'");
    if text.chars().nth(60).is_some() { format!("{shown}…") } else { shown }
}
