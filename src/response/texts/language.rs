//! Which language a person is spoken to in.
//!
//! A choice made on one of our pages is remembered in a cookie; without one the browser's list of
//! languages decides, and English where that says nothing that we speak.
//!
//! Callers: `Asker` reads it off a request, `portal` sets the cookie.

use http::header::{ACCEPT_LANGUAGE, COOKIE as COOKIE_FIELD};
use http::{HeaderMap, HeaderValue};
use serde::Serialize;

/// The cookie that remembers a choice.
pub(crate) const COOKIE: &str = "foregate-language";

/// The parameter of our pages that makes one: `?lang=de`.
pub(crate) const PARAMETER: &str = "lang";

/// A language that we speak.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Language {
    /// What is spoken where nothing else is known.
    #[default]
    #[serde(rename = "en")]
    English,
    /// Deutsch.
    #[serde(rename = "de")]
    German,
}

/// What a request says about it, read only once a page is ours to write: most answers are an upstream's.
#[derive(Clone, Debug)]
pub(in crate::response) enum Wish {
    Known(Language),
    Lines { accept: Option<HeaderValue>, cookie: Option<HeaderValue> },
}

impl Language {
    /// All of them, as they are offered.
    pub const ALL: [Self; 2] = [Self::English, Self::German];

    /// As in `lang`, in the cookie and in a folder's name (BCP 47).
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }

    /// What it calls itself.
    pub fn own_name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::German => "Deutsch",
        }
    }

    /// From a tag of ours, and from nothing else.
    pub fn parse(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.tag() == tag)
    }

    /// What these headers ask for.
    pub fn of(headers: &HeaderMap) -> Self {
        let cookies = headers.get_all(COOKIE_FIELD);
        remembered(cookies).unwrap_or_else(|| preferred(headers.get_all(ACCEPT_LANGUAGE)))
    }
}

impl Wish {
    pub(in crate::response) fn language(&self) -> Language {
        match self {
            Self::Known(language) => *language,
            Self::Lines { accept, cookie } => remembered(cookie).unwrap_or_else(|| preferred(accept)),
        }
    }
}

/// The cookie's word. Two different ones are none: one of them was planted.
fn remembered<'a>(fields: impl IntoIterator<Item = &'a HeaderValue>) -> Option<Language> {
    let fields = fields.into_iter().filter_map(|field| field.to_str().ok());
    let pairs = fields.flat_map(|field| field.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value);
    let first = values.next()?;
    Language::parse(first).filter(|_| values.all(|value| value == first))
}

/// What is liked best of what we speak (RFC 9110 §12.5.4); among equals the one that is named first.
/// `de-AT` is served with German: nothing that we say differs there.
fn preferred<'a>(lines: impl IntoIterator<Item = &'a HeaderValue>) -> Language {
    let mut named: [Option<u16>; Language::ALL.len()] = [None; Language::ALL.len()];
    let mut others: Option<u16> = None;
    let mut order: Vec<Language> = Vec::new();
    for range in lines.into_iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let tag = parts.next().unwrap_or_default();
        let primary = tag.split('-').next().unwrap_or_default();
        let quality = quality(parts);
        if primary == "*" {
            others = others.max(Some(quality));
            continue;
        }
        let spoken = Language::ALL.iter().position(|language| language.tag().eq_ignore_ascii_case(primary));
        if let Some(index) = spoken {
            named[index] = named[index].max(Some(quality));
            order.push(Language::ALL[index]);
        }
    }
    // What isn't named comes last among equals.
    order.extend(Language::ALL);
    let quality_of = |language: Language| {
        let index = Language::ALL.iter().position(|other| *other == language);
        index.and_then(|index| named[index]).or(others).unwrap_or(0)
    };
    let mut best = (Language::default(), 0);
    for language in order {
        let quality = quality_of(language);
        if quality > best.1 {
            best = (language, quality);
        }
    }
    best.0
}

/// A range's weight in thousandths, which is all that it may be written in; one that can't be read is worth nothing.
fn quality<'a>(mut parameters: impl Iterator<Item = &'a str>) -> u16 {
    let written = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then_some(value.trim())
    });
    let Some(written) = written else { return 1000 };
    let quality = written.parse().ok().filter(|quality: &f32| (0.0..=1.0).contains(quality));
    (quality.unwrap_or(0.0) * 1000.0).round() as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::Asker;

    /// As `Asker` reads it, which waits with it until a page is ours to write.
    fn asked(headers: &HeaderMap) -> Language {
        Asker::new(&http::Method::GET, headers, HeaderValue::from_static("1")).language()
    }

    fn headers(accept: &[&'static str], cookies: &[&'static str]) -> HeaderMap {
        let accept = accept.iter().map(|line| (ACCEPT_LANGUAGE, HeaderValue::from_static(line)));
        let cookies = cookies.iter().map(|line| (COOKIE_FIELD, HeaderValue::from_static(line)));
        accept.chain(cookies).collect()
    }

    #[test]
    fn the_browsers_list_is_weighed() {
        use Language::{English, German};
        for (accept, expected) in [
            (&["de"][..], German),
            (&["DE-at"], German),
            (&["en-GB,en;q=0.9,de;q=0.8"], English),
            (&["de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7"], German),
            (&["fr-FR,fr;q=0.9,de;q=0.5"], German),
            (&["en;q=0.3", "de;q=0.4"], German),
            (&["de;q=0.5, en;q=0.5"], German),
            (&["en;q=0.5, de;q=0.5"], English),
            (&["*"], English),
            (&["en;q=0, *"], German),
            (&["de;q=0.2, *;q=0.5"], English),
            (&["de;q=0"], English),
            (&["de;q=2"], English),
            (&["de;q=x"], English),
            (&["de ; Q = 1"], German),
            (&["den"], English),
            (&["fr"], English),
            (&[";;,,"], English),
            (&[], English),
        ] {
            assert_eq!(Language::of(&headers(accept, &[])), expected, "{accept:?}");
            assert_eq!(asked(&headers(accept, &[])), expected, "of an asker: {accept:?}");
        }
    }

    #[test]
    fn a_choice_comes_before_the_browsers_list() {
        use Language::{English, German};
        for (cookies, expected) in [
            (&["foregate-language=de"][..], German),
            (&["a=b; foregate-language=de; c=d"], German),
            (&["a=b", "foregate-language=de"], German),
            (&["foregate-language=de", "foregate-language=en"], English),
            (&["foregate-language=xx"], English),
            (&["xforegate-language=de"], English),
            (&["foregate-language"], English),
        ] {
            assert_eq!(Language::of(&headers(&["en"], cookies)), expected, "{cookies:?}");
            assert_eq!(asked(&headers(&["en"], cookies)), expected, "of an asker: {cookies:?}");
        }
    }
}
