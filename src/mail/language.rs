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
