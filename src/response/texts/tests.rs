//! The messages against each other and against whoever says them: the same in every language, none unknown, none unused.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use fluent_bundle::FluentResource;

use super::*;

type Messages = BTreeMap<String, BTreeSet<String>>;

/// The names and arguments of all messages of a language.
fn messages(language: Language) -> Messages {
    let mut all = Messages::new();
    for source in sources(language) {
        for (key, arguments) in super::messages(source) {
            assert!(all.insert(key.to_owned(), arguments).is_none(), "`{key}` stands twice");
        }
    }
    all
}

#[test]
fn every_language_says_the_same_with_the_same_arguments() {
    let english = messages(Language::English);
    assert!(english.len() > 50 && english["problem-forbidden"].len() == 2, "{english:?}");
    for language in Language::ALL {
        assert_eq!(messages(language), english, "{language:?}");
    }
}

#[test]
fn the_messages_parse_and_are_text_unless_their_name_says_otherwise() {
    for language in Language::ALL {
        for source in sources(language) {
            let resource = FluentResource::try_new(source.to_owned());
            assert!(resource.is_ok(), "{language:?}: {:?}", resource.err().map(|(_, errors)| errors));
            for line in source.lines().filter(|line| !line.starts_with('#')) {
                let key = line.split('=').next().unwrap_or_default().trim();
                assert!(!line.contains('<') || key.ends_with("-html"), "markup in {line}");
                assert!(!line.contains('\'') && !line.contains("..."), "a typewriter's mark in {line}");
            }
        }
    }
    let texts = Texts::built_in();
    for language in Language::ALL {
        for (key, arguments) in messages(language) {
            let arguments = arguments.iter().map(|name| (name.as_str(), Said::Count(3)));
            let said = texts.format(language, &key, arguments);
            assert!(said.as_ref().is_ok_and(|said| !said.contains(['{', '}'])), "{key}: {said:?}");
        }
    }
}

#[test]
fn what_can_not_be_said_is_an_error_and_no_blank() {
    let texts = Texts::built_in();
    let unknown = texts.format(Language::German, "nothing-such", []);
    assert_eq!(unknown, Err(Unsaid::Unknown("nothing-such".into())));
    let lacking = texts.format(Language::German, "login-remember", []);
    assert!(matches!(lacking, Err(Unsaid::Argument { .. })), "{lacking:?}");
}

#[test]
fn lengths_of_time() {
    let texts = Texts::built_in();
    for (seconds, english, german) in [
        (30 * 86_400, "30 days", "30 Tage"),
        (86_400, "24 hours", "24 Stunden"),
        (12 * 3600, "12 hours", "12 Stunden"),
        (3600, "60 minutes", "60 Minuten"),
        (60, "1 minute", "1 Minute"),
    ] {
        let text = lasting(std::time::Duration::from_secs(seconds));
        assert_eq!(texts.say(Language::English, &text), english);
        assert_eq!(texts.say(Language::German, &text), german);
    }
}

/// A message that is said somewhere, and with what.
struct Use {
    arguments: BTreeSet<String>,
    key: String,
    place: String,
}

fn source_files(extension: &str) -> Vec<(PathBuf, String)> {
    let (mut folders, mut files) = (vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("src can be read") {
            let path = entry.expect("src can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let text = fs::read_to_string(&path).expect("a source file is text");
                files.push((path, text));
            }
        }
    }
    files
}

/// What follows a `(` up to its `)`.
fn bracketed(text: &str) -> &str {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        if depth == 0 {
            return &text[..at];
        }
    }
    text
}

/// `t("key", name=value)` in a template: only arguments of its own count, not those of a call within.
fn uses_in_template(place: &str, text: &str) -> Vec<Use> {
    let calls = text
        .match_indices("t(\"")
        .filter(|(at, _)| !text[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
    calls
        .map(|(at, found)| {
            let call = bracketed(&text[at + found.len() - 1..]);
            let key = call[1..].split('"').next().unwrap_or_default();
            let mut depth = 0;
            let flat: String = call
                .chars()
                .filter(|c| {
                    depth += i32::from(*c == '(') - i32::from(*c == ')');
                    depth == 0
                })
                .collect();
            let names = flat.split(',').skip(1).filter_map(|part| part.split_once('='));
            Use {
                arguments: names.map(|(name, _)| name.trim().to_owned()).collect(),
                key: key.to_owned(),
                place: place.to_owned(),
            }
        })
        .collect()
}

/// `Text::new("key").with("name", value)` in Rust.
fn uses_in_rust(place: &str, text: &str) -> Vec<Use> {
    let (start, with) = ("Text::new(\"", ".with(");
    text.match_indices(start)
        .map(|(at, _)| {
            let rest = &text[at + start.len()..];
            let (key, mut rest) = rest.split_once('"').unwrap_or((rest, ""));
            let mut arguments = BTreeSet::new();
            rest = rest.trim_start_matches(')');
            while let Some(next) = rest.trim_start().strip_prefix(with) {
                let inside = bracketed(next);
                arguments.extend(inside.split('"').nth(1).map(str::to_owned));
                rest = &next[inside.len() + 1..];
            }
            Use { arguments, key: key.to_owned(), place: place.to_owned() }
        })
        .collect()
}

#[test]
fn every_message_that_is_said_exists_and_every_one_that_exists_is_said() {
    let messages = messages(Language::English);
    let mut quoted = BTreeSet::new();
    let mut uses = Vec::new();
    for (path, text) in source_files("rs") {
        let path = path.to_string_lossy();
        if path.ends_with("/texts.rs") || path.contains("/texts/tests") {
            continue;
        }
        let code: String = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .fold(String::new(), |code, line| code + line + "\n");
        quoted.extend(code.split('"').map(str::to_owned));
        uses.extend(uses_in_rust(&path, &code));
    }
    for extension in ["html", "txt"] {
        for (path, text) in source_files(extension) {
            uses.extend(uses_in_template(&path.to_string_lossy(), &text));
        }
    }
    assert!(uses.len() > 80, "only {} uses were found", uses.len());
    for Use { arguments, key, place } in &uses {
        let expected =
            messages.get(key).unwrap_or_else(|| panic!("{place} says `{key}`, which is no message"));
        assert_eq!(arguments, expected, "the arguments of `{key}` in {place}");
        quoted.insert(key.clone());
    }
    let unused: Vec<&String> = messages.keys().filter(|key| !quoted.contains(*key)).collect();
    assert!(unused.is_empty(), "messages that nobody says: {unused:?}");
}
