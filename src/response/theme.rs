//! A theme: files of an operator's in place of ours, one by one.
//!
//! What can stand in its folder:
//!
//! - the templates of `templates/`, such as `base.html` or `login.html`, each in place of ours; `mail.html` and
//!   `mail.txt` are those of all mails;
//! - `style.css` in place of our style, and `extra.css` after it, whichever it is;
//! - `texts/en.ftl` and `texts/de.ftl`: single messages in place of ours;
//! - `assets/NAME`: pictures and fonts, served as `PREFIX/theme/NAME`.
//!
//! What can be told of a theme beforehand is told: a name that means nothing here, a template or a
//! message that can't be parsed, a message that is said and isn't there, a base that doesn't hold the
//! simplest page. What fails later, in one page, is logged, and the person gets that page as it comes
//! with us: a theme locks nobody out.
//!
//! Callers: `config` reads the folder, `pages` renders by it, `portal` serves its assets, `cli` writes ours out.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use fluent_bundle::FluentResource;

use super::look::Look;
use super::pages::PageFault;
use super::pages::letters::{LetterFault, Letters};
use super::pages::{self, PageSettings, Pages};
use super::texts::{self, Language, Texts};

mod asset;
#[cfg(test)]
mod tests;

pub use asset::Asset;

const STYLE: &str = "style.css";
const EXTRA: &str = "extra.css";
const TEXTS: &str = "texts/";
const ASSETS: &str = "assets/";

/// Files in place of ours; every one of them can be used.
#[derive(Clone, Debug, Default)]
pub struct Theme {
    assets: BTreeMap<String, Asset>,
    extra: Option<String>,
    style: Option<String>,
    templates: BTreeMap<&'static str, String>,
    texts: Vec<(Language, String)>,
}

/// What is wrong with a theme.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ThemeFault {
    /// Below the theme's folder, with `/`.
    pub file: String,
    /// What was expected, where that is known.
    pub help: String,
    /// Line and column from 1, where it is in one line.
    pub place: Option<(usize, usize)>,
    /// In one clause.
    pub message: String,
}

impl Theme {
    /// Every file that a theme may hold, assets apart, as it comes with us.
    pub fn built_in() -> Vec<(String, String)> {
        let templates = pages::templates().map(|(name, source)| (name.to_owned(), source.to_owned()));
        let texts = Language::ALL.map(|language| (text_file(language), texts::sources(language).join("\n")));
        templates.chain([(STYLE.to_owned(), pages::STYLE.to_owned())]).chain(texts).collect()
    }

    /// Reads the files of a folder, by their names below it, with `/`.
    pub fn parse(files: BTreeMap<String, Vec<u8>>) -> Result<Self, Vec<ThemeFault>> {
        let (mut theme, mut faults) = (Self::default(), Vec::new());
        for (name, bytes) in files {
            if let Err(fault) = theme.take(&name, bytes) {
                faults.extend(fault);
            }
        }
        if faults.is_empty() {
            faults.extend(theme.trial());
        }
        if faults.is_empty() { Ok(theme) } else { Err(faults) }
    }

    fn take(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), Vec<ThemeFault>> {
        if let Some(asset) = name.strip_prefix(ASSETS) {
            let read = Asset::read(asset, Bytes::from(bytes));
            let asset_of = |message: &str, help: &str| vec![ThemeFault::of(name, message, help)];
            let read = read.ok_or_else(|| asset_of("is of no kind that is served", asset::KINDS_IN_WORDS))?;
            self.assets.insert(asset.to_owned(), read);
            return Ok(());
        }
        let text = |bytes| {
            String::from_utf8(bytes).map_err(|_| vec![ThemeFault::of(name, "is no text", "expected UTF-8")])
        };
        if let Some((template, _)) = pages::templates().find(|(known, _)| *known == name) {
            let source = text(bytes)?;
            check_template(name, &source)?;
            self.templates.insert(template, source);
        } else if let Some(language) = Language::ALL.into_iter().find(|language| text_file(*language) == name)
        {
            let source = text(bytes)?;
            check_texts(name, &source)?;
            self.texts.push((language, source));
        } else if name == STYLE || name == EXTRA {
            let source = text(bytes)?;
            if let Some(at) = source.find("</").or(source.find("<!--")) {
                let help = "a style stands within a page, where this would end it";
                return Err(vec![ThemeFault::at(
                    name,
                    &source,
                    at,
                    "`</` or `<!--` in a style".into(),
                    help,
                )]);
            }
            let place = if name == STYLE { &mut self.style } else { &mut self.extra };
            *place = Some(source);
        } else {
            return Err(vec![ThemeFault::of(name, "means nothing in a theme", &Self::names())]);
        }
        Ok(())
    }

    /// The names that mean something.
    fn names() -> String {
        let templates: Vec<&str> = pages::templates().map(|(name, _)| name).collect();
        let texts = Language::ALL.map(text_file).join(", ");
        format!("expected {}, {STYLE}, {EXTRA}, {texts} or {ASSETS}NAME", templates.join(", "))
    }

    /// What goes wrong with the pages that everybody sees, or with a mail.
    fn trial(&self) -> Option<ThemeFault> {
        let look = Look { theme: Arc::new(self.clone()), ..Look::default() };
        let letters = Letters::new(&look).trial();
        let pages = Pages::new(PageSettings { prefix: "/.auth".into(), look }).trial();
        let (what, file, error) = match (pages, letters) {
            (Err(PageFault::NoToken(file)), _) => {
                let message = "the form of the login page has no token, and would be refused";
                return Some(ThemeFault::of(
                    file,
                    message,
                    "expected `{{ csrf(view.csrf_token) }}` in the form",
                ));
            }
            (Err(PageFault::Render(what, error)), _) => (what, "base.html", error),
            (Ok(()), Err(LetterFault::NoAddress(file))) => {
                let message = "a mail made with it does not say what is to be opened";
                return Some(ThemeFault::of(
                    file,
                    message,
                    "expected `button.url` of each of `view.buttons`",
                ));
            }
            (Ok(()), Err(LetterFault::Render(error))) => ("a mail", "mail.html", error),
            (Ok(()), Ok(())) => return None,
        };
        // The innermost is the place where it happened.
        let mut innermost: &minijinja::Error = &error;
        while let Some(cause) = std::error::Error::source(innermost).and_then(|cause| cause.downcast_ref()) {
            innermost = cause;
        }
        let file = innermost.name().or(error.name()).unwrap_or(file).to_owned();
        let message = format!("{what} can't be rendered with it: {}", said(innermost));
        Some(ThemeFault { file, help: String::new(), place: innermost.line().map(|line| (line, 1)), message })
    }

    /// What is served under this name.
    pub fn asset(&self, name: &str) -> Option<&Asset> {
        self.assets.get(name)
    }

    /// Whether a page may have to load something besides itself.
    pub(super) fn has_assets(&self) -> bool {
        !self.assets.is_empty()
    }

    /// Whether what is said or how it is arranged may differ from ours.
    pub(super) fn has_pages(&self) -> bool {
        !self.templates.is_empty() || !self.texts.is_empty()
    }

    pub(super) fn style(&self) -> Option<&str> {
        self.style.as_deref()
    }

    pub(super) fn extra(&self) -> Option<&str> {
        self.extra.as_deref()
    }

    pub(super) fn template(&self, name: &str) -> Option<&str> {
        self.templates.get(name).map(String::as_str)
    }

    pub(super) fn texts(&self) -> &[(Language, String)] {
        &self.texts
    }
}

impl ThemeFault {
    fn of(file: &str, message: &str, help: &str) -> Self {
        Self { file: file.to_owned(), help: help.to_owned(), place: None, message: message.to_owned() }
    }

    /// At this byte of the source.
    fn at(file: &str, source: &str, at: usize, message: String, help: &str) -> Self {
        let before = source.get(..at.min(source.len())).unwrap_or(source);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Self { file: file.to_owned(), help: help.to_owned(), place: Some((line, column)), message }
    }
}

fn text_file(language: Language) -> String {
    format!("{TEXTS}{}.ftl", language.tag())
}

fn check_template(name: &str, source: &str) -> Result<(), Vec<ThemeFault>> {
    if let Err(error) = pages::parse(name, source) {
        let place = error.line().map(|line| (line, 1));
        let message = format!("can't be parsed: {}", said(&error));
        return Err(vec![ThemeFault { file: name.to_owned(), help: String::new(), place, message }]);
    }
    let texts = Texts::built_in();
    let unknown = texts::named_in_template(source).into_iter().filter(|(_, key)| !texts.has(key));
    let faults: Vec<ThemeFault> = unknown
        .map(|(at, key)| ThemeFault::at(name, source, at, format!("there is no message `{key}`"), ""))
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// What an error of a template says, without its name and line, which are said before.
fn said(error: &minijinja::Error) -> String {
    error.detail().map_or_else(|| error.kind().to_string(), str::to_owned)
}

fn check_texts(name: &str, source: &str) -> Result<(), Vec<ThemeFault>> {
    if let Err((_, errors)) = FluentResource::try_new(source.to_owned()) {
        let faults = errors.iter().map(|error| {
            ThemeFault::at(name, source, error.pos.start, format!("is no Fluent: {}", error.kind), "")
        });
        return Err(faults.collect());
    }
    let known: BTreeMap<&str, _> =
        texts::sources(Language::English).into_iter().flat_map(texts::messages).collect();
    let mut faults = Vec::new();
    for (key, arguments) in texts::messages(source) {
        let at = source.lines().scan(0, |at, line| {
            let start = *at;
            *at += line.len() + 1;
            Some((start, line))
        });
        let at =
            at.into_iter().find(|(_, line)| line.split('=').next().is_some_and(|name| name.trim() == key));
        let at = at.map_or(0, |(start, _)| start);
        let fault = |message: String| ThemeFault::at(name, source, at, message, "");
        match known.get(key) {
            None => faults.push(fault(format!("there is no message `{key}` to be replaced"))),
            Some(expected) => faults.extend(
                arguments
                    .difference(expected)
                    .map(|argument| fault(format!("the message `{key}` is given no `${argument}`"))),
            ),
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}
