//! A text that is not yet in any language: a message's name and what is put into it.
//!
//! Callers: whoever has something to say to a person; `Texts` says it.

use std::borrow::Cow;
use std::time::Duration;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// Something to be said. Equal where it says the same.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Text {
    /// A message of the Fluent files.
    Message {
        /// Its name.
        key: &'static str,
        /// What is put into it.
        arguments: Vec<(&'static str, Argument)>,
    },
    /// In every language the same: for mistakes that only a program makes, and for what is no language.
    Verbatim(Cow<'static, str>),
}

/// What is put into a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Argument {
    /// A number, by which a language may choose its plural.
    Count(u64),
    /// Another text, said in the same language.
    Text(Text),
    /// As it is: a name, a host.
    Word(String),
}

impl Text {
    /// The message of this name.
    pub fn new(key: &'static str) -> Self {
        Self::Message { key, arguments: Vec::new() }
    }

    /// A sentence for programs, English whatever the language is.
    pub fn verbatim(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Verbatim(text.into())
    }

    /// Puts something into it; a verbatim text takes nothing.
    pub fn with(mut self, name: &'static str, argument: impl Into<Argument>) -> Self {
        match &mut self {
            Self::Message { arguments, .. } => arguments.push((name, argument.into())),
            Self::Verbatim(_) => {}
        }
        self
    }
}

impl From<u64> for Argument {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<usize> for Argument {
    fn from(count: usize) -> Self {
        Self::Count(count as u64)
    }
}

impl From<&str> for Argument {
    fn from(word: &str) -> Self {
        Self::Word(word.to_owned())
    }
}

impl From<String> for Argument {
    fn from(word: String) -> Self {
        Self::Word(word)
    }
}

impl From<Text> for Argument {
    fn from(text: Text) -> Self {
        Self::Text(text)
    }
}

/// As a view hands it to a template, whose `t` says it.
impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Verbatim(text) => map.serialize_entry("verbatim", text)?,
            Self::Message { key, arguments } => {
                map.serialize_entry("message", key)?;
                map.serialize_entry("arguments", &Arguments(arguments))?;
            }
        }
        map.end()
    }
}

struct Arguments<'a>(&'a [(&'static str, Argument)]);

impl Serialize for Arguments<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, argument)| (name, argument)))
    }
}

impl Serialize for Argument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u64(*count),
            Self::Text(text) => text.serialize(serializer),
            Self::Word(word) => serializer.serialize_str(word),
        }
    }
}

/// "in 40 seconds", "in 3 minutes": rounded up, so that whoever waits that long has waited long enough.
pub(crate) fn in_words(wait: Duration) -> Text {
    let seconds = (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1);
    match seconds {
        0..=90 => Text::new("in-seconds").with("count", seconds),
        91..=5400 => Text::new("in-minutes").with("count", seconds.div_ceil(60)),
        _ => Text::new("in-hours").with("count", seconds.div_ceil(3600)),
    }
}

/// "30 days", "12 hours".
pub(crate) fn lasting(time: Duration) -> Text {
    let minutes = time.as_secs().div_ceil(60);
    match minutes {
        2880.. => Text::new("lasting-days").with("count", minutes / 1440),
        120.. => Text::new("lasting-hours").with("count", minutes / 60),
        _ => Text::new("lasting-minutes").with("count", minutes),
    }
}

/// "3 minutes ago".
pub(crate) fn ago(time: Duration) -> Text {
    let minutes = time.as_secs() / 60;
    match minutes {
        0 => Text::new("ago-now"),
        1..120 => Text::new("ago-minutes").with("count", minutes),
        120..2880 => Text::new("ago-hours").with("count", minutes / 60),
        _ => Text::new("ago-days").with("count", minutes / 1440),
    }
}
