//! The language of a mail.
//!
//! Callers: whoever sends one; `texts`.

use serde::{Deserialize, Serialize};

/// A language that there are texts in.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Language {
    /// `en`.
    #[default]
    #[serde(rename = "en")]
    English,
    /// `de`.
    #[serde(rename = "de")]
    German,
}

impl Language {
    /// As an account keeps it (BCP 47).
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }

    /// From a tag of ours, and from nothing else.
    pub fn parse(tag: &str) -> Option<Self> {
        [Self::English, Self::German].into_iter().find(|language| language.tag() == tag)
    }
}
