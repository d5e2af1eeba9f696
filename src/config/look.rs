//! How the pages look: `portal.title`, `logo`, `color`, `footer`, `message` and the folder `theme`.
//!
//! Callers: `config::settings`. What a theme may hold and what a colour comes to is `response`'s.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::fault::{Fault, Place, quote};
use super::reader::{Section, Value};
use crate::response::look::{Color, FooterItem, Link, Logo, Look, Wording};
use crate::response::texts::Language;
use crate::response::theme::{Theme, ThemeFault};

const LOGO: &str = "expected a small picture in SVG, PNG, JPEG, WebP or GIF, such as `logo.svg`";
const FOLDER: &str =
    "expected a folder with what `foregate theme export FOLDER` writes, or with a part of it";
const FOOTER: &str =
    "expected a text, or a list such as `- { text: Imprint, url: https://example.com/imprint }`";
const WORDING: &str = "expected a text, or one for each language as in `{ en: Hello, de: Hallo }`";

/// Lines of a footer and of a message of the day.
const MOST: usize = 500;

/// The keys of `portal` that are about the look.
pub(super) fn read(portal: &mut Section<'_>) -> Look {
    Look {
        color: portal.get("color").and_then(|value| value.parse(str::parse::<Color>)),
        footer: portal.get("footer").map(|value| footer(&value)).unwrap_or_default(),
        logo: portal.get("logo").and_then(|value| logo(&value)),
        message: portal.get("message").and_then(|value| wording(&value, MOST)),
        theme: portal.get("theme").and_then(|value| theme(&value)).unwrap_or_default(),
        title: portal.get("title").and_then(|value| wording(&value, 200)),
    }
}

/// A text, or one for each language.
fn wording(value: &Value<'_>, most: usize) -> Option<Wording> {
    if !value.is_mapping() {
        return value.line(most).map(Wording::everywhere);
    }
    let by_language = value.section(|section| {
        let languages = Language::ALL.into_iter();
        let read =
            languages.filter_map(|language| Some((language, section.get(language.tag())?.line(most)?)));
        read.collect::<BTreeMap<_, _>>()
    });
    let wording = Wording::of(by_language);
    if wording.is_none() {
        value.reader().add(value.fault("there is no text in any language").help(WORDING));
    }
    wording
}

fn footer(value: &Value<'_>) -> Vec<FooterItem> {
    value.one_or_more(FOOTER).iter().filter_map(|item| footer_item(item)).collect()
}

fn footer_item(value: &Value<'_>) -> Option<FooterItem> {
    if !value.is_mapping() {
        return Some(FooterItem { text: Wording::everywhere(value.line(MOST)?), url: None });
    }
    value.section(|section| {
        let text = section.require("text", WORDING).and_then(|value| wording(&value, MOST));
        let url = section.get("url").map(|value| value.parse(str::parse::<Link>));
        // An address that is no good was told; without it the text would be something else.
        match url {
            Some(url) => Some(FooterItem { text: text?, url: Some(url?) }),
            None => Some(FooterItem { text: text?, url: None }),
        }
    })
}

fn logo(value: &Value<'_>) -> Option<Logo> {
    let path = value.path()?;
    let read = value.reader().read_file(&path);
    let read = read.map_err(|error| not_read(&path, &error));
    let shown = quote(&path.to_string_lossy());
    let logo = read.and_then(|bytes| Logo::read(&bytes).map_err(|error| format!("`{shown}` {error}")));
    logo.map_err(|message| value.reader().add(value.fault(message).help(LOGO))).ok()
}

fn theme(value: &Value<'_>) -> Option<Arc<Theme>> {
    let folder = value.path()?;
    let files = match value.reader().read_folder(&folder) {
        Ok(files) => files,
        Err(error) => {
            value.reader().add(value.fault(not_read(&folder, &error)).help(FOLDER));
            return None;
        }
    };
    let parsed = Theme::parse(files.clone());
    let faults = parsed.map(Arc::new).map_err(|faults| {
        for fault in faults {
            value.reader().add(in_its_file(&folder, &fault, files.get(&fault.file)));
        }
    });
    faults.ok()
}

/// A fault in a file of the theme, with its line.
fn in_its_file(folder: &Path, fault: &ThemeFault, bytes: Option<&Vec<u8>>) -> Fault {
    let name = folder.join(&fault.file).to_string_lossy().replace(char::is_control, "\u{fffd}").into();
    let said = match fault.place {
        None => Fault::of_file(name, fault.message.clone()),
        Some((line, column)) => {
            let text = bytes.map(|bytes| String::from_utf8_lossy(bytes)).unwrap_or_default();
            let source = text.lines().nth(line - 1).unwrap_or_default();
            Fault::at(name, Place::new(line, column, 1, source), fault.message.clone())
        }
    };
    said.help(fault.help.clone())
}

fn not_read(path: &Path, error: &io::Error) -> String {
    let shown = quote(&path.to_string_lossy());
    match error.kind() {
        io::ErrorKind::NotFound => format!("there is no `{shown}`"),
        io::ErrorKind::NotADirectory => format!("`{shown}` is no folder"),
        _ => format!("`{shown}` can't be read: {error}"),
    }
}
