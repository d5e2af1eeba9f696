//! Every sentence that a person reads on a page or in a mail, in every language that we speak.
//!
//! They stand in Fluent files under `texts/LANGUAGE/`, one file for each part of the portal. A message's
//! name is the same in all languages, and so are its arguments; tests hold that, and that no message is
//! unused. In a template `{{ t("login-remember", lasting=view.lasting) }}`; in Rust a [`Text`], which is
//! made without knowing the language and said once it is known:
//!
//! ```
//! use foregate::response::texts::{Language, Text, Texts};
//!
//! let text = Text::new("too-many-attempts").with("wait", Text::new("in-seconds").with("count", 40_u64));
//! let texts = Texts::built_in();
//! assert_eq!(texts.say(Language::English, &text), "Too many failed attempts. Please try again in 40 seconds.");
//! ```
//!
//! A view may hold a `Text` as a field; `t(view.error)` says it. A message whose name ends in `-html` may
//! hold simple markup: what is put into it is escaped, the whole is not escaped again.
//!
//! Fluent's marks for mixed directions are off: both languages run from left to right, and the marks would
//! travel along in subjects, titles and whatever is copied.
//!
//! Callers: `response` renders with them, `portal` and `mail` make texts.

use std::collections::BTreeSet;
use std::fmt;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use unic_langid::LanguageIdentifier;

mod language;
#[cfg(test)]
mod tests;
mod text;

pub use language::Language;
pub(super) use language::Wish;
pub(crate) use language::{COOKIE, PARAMETER};
pub use text::{Argument, Text};
pub(crate) use text::{ago, in_words, lasting};

/// The files of one language, in their order.
macro_rules! built_in {
    ($language:literal) => {
        [
            include_str!(concat!("texts/", $language, "/common.ftl")),
            include_str!(concat!("texts/", $language, "/login.ftl")),
            include_str!(concat!("texts/", $language, "/register.ftl")),
            include_str!(concat!("texts/", $language, "/recover.ftl")),
            include_str!(concat!("texts/", $language, "/account.ftl")),
            include_str!(concat!("texts/", $language, "/tokens.ftl")),
            include_str!(concat!("texts/", $language, "/problem.ftl")),
            include_str!(concat!("texts/", $language, "/mail.ftl")),
        ]
    };
}

/// All messages in all languages.
pub struct Texts {
    english: FluentBundle<FluentResource>,
    german: FluentBundle<FluentResource>,
}

/// An argument as it stands in a sentence.
pub(super) enum Said {
    Count(u64),
    Word(String),
}

/// Why a message can't be said: a mistake of ours, or of whoever wrote a theme.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Unsaid {
    #[error("the message `{key}` lacks an argument: {why}")]
    Argument { key: String, why: String },
    #[error("there is no message `{0}`")]
    Unknown(String),
}

impl Texts {
    /// Those in the binary.
    pub fn built_in() -> Self {
        Self::with(&[])
    }

    /// Those in the binary, with the messages of these files in place of some.
    pub(super) fn with(overriding: &[(Language, String)]) -> Self {
        let bundle = |language| {
            let mut bundle = FluentBundle::new_concurrent(vec![identifier(language)]);
            bundle.set_use_isolating(false);
            for source in sources(language) {
                let resource = FluentResource::try_new(source.to_owned());
                let resource = resource.expect("a test parses the built-in messages");
                bundle.add_resource(resource).expect("a test finds each name once");
            }
            for (_, source) in overriding.iter().filter(|(of, _)| *of == language) {
                // What could not be parsed would be left out; a theme was parsed before.
                let (Ok(resource) | Err((resource, _))) = FluentResource::try_new(source.clone());
                bundle.add_resource_overriding(resource);
            }
            bundle
        };
        Self { english: bundle(Language::English), german: bundle(Language::German) }
    }

    /// A text in this language. One that can't be said is a mistake of ours: it is logged and stands there by its name.
    pub fn say(&self, language: Language, text: &Text) -> String {
        match text {
            Text::Verbatim(text) => text.to_string(),
            Text::Message { key, arguments } => {
                let arguments = arguments.iter().map(|(name, argument)| {
                    let said = match argument {
                        Argument::Count(count) => Said::Count(*count),
                        Argument::Text(text) => Said::Word(self.say(language, text)),
                        Argument::Word(word) => Said::Word(word.clone()),
                    };
                    (*name, said)
                });
                self.format(language, key, arguments).unwrap_or_else(|error| {
                    tracing::error!(%error, language = language.tag(), "a message can't be said");
                    (*key).to_owned()
                })
            }
        }
    }

    /// Whether there is a message of this name.
    pub(super) fn has(&self, key: &str) -> bool {
        self.english.has_message(key)
    }

    /// The message of this name with these arguments.
    pub(super) fn format<'a>(
        &self,
        language: Language,
        key: &str,
        arguments: impl IntoIterator<Item = (&'a str, Said)>,
    ) -> Result<String, Unsaid> {
        let bundle = match language {
            Language::English => &self.english,
            Language::German => &self.german,
        };
        let pattern = bundle.get_message(key).and_then(|message| message.value());
        let pattern = pattern.ok_or_else(|| Unsaid::Unknown(key.to_owned()))?;
        let arguments: FluentArgs<'_> = arguments
            .into_iter()
            .map(|(name, said)| match said {
                Said::Count(count) => (name, FluentValue::from(count)),
                Said::Word(word) => (name, FluentValue::from(word)),
            })
            .collect();
        let mut faults = Vec::new();
        let said = bundle.format_pattern(pattern, Some(&arguments), &mut faults).into_owned();
        match faults.first() {
            None => Ok(said),
            Some(fault) => Err(Unsaid::Argument { key: key.to_owned(), why: fault.to_string() }),
        }
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Texts")
    }
}

fn identifier(language: Language) -> LanguageIdentifier {
    language.tag().parse().expect("a tag of ours is a language")
}

/// The built-in files of a language.
pub(super) fn sources(language: Language) -> [&'static str; 8] {
    match language {
        Language::English => built_in!("en"),
        Language::German => built_in!("de"),
    }
}

/// The names that a template has `t` say, each with the byte at which it does.
pub(super) fn named_in_template(source: &str) -> Vec<(usize, &str)> {
    let calls = source
        .match_indices("t(\"")
        .filter(|(at, _)| !source[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
    calls.map(|(at, call)| (at, source[at + call.len()..].split('"').next().unwrap_or_default())).collect()
}

/// The names of a file's messages, each with the names of its arguments.
pub(super) fn messages(source: &str) -> Vec<(&str, BTreeSet<String>)> {
    let mut messages: Vec<(&str, BTreeSet<String>)> = Vec::new();
    for line in source.lines().filter(|line| !line.starts_with('#')) {
        if line.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let key = line.split('=').next().unwrap_or_default().trim();
            messages.push((key, BTreeSet::new()));
        }
        if let Some((_, arguments)) = messages.last_mut() {
            let names = line.split('$').skip(1).map(|rest| {
                rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-')
                    .next()
                    .unwrap_or_default()
            });
            arguments.extend(names.map(str::to_owned));
        }
    }
    messages
}
