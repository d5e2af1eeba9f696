//! How our pages look where an operator has a say: title, logo, colour, footer, message of the day, theme.
//!
//! Callers: `config` reads it, `pages` renders by it.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::texts::{Language, Texts};
use super::theme::Theme;

mod color;

pub use color::{Color, InvalidColor};

/// A logo stands in each page, so it has to be small.
const LOGO_BYTES: usize = 64 * 1024;

/// The mark of a page that has no logo of its own, as an icon; with places for two colours.
const ICON: &str = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 40 40'><rect width='40' height='40' rx='11' fill='GROUND'/>\
    <path d='M11.5 30V18.5a8.5 8.5 0 0 1 17 0V30' fill='none' stroke='LINE' stroke-width='3' stroke-linecap='round'/>\
    <path d='M17 30V18.5a3 3 0 0 1 6 0V30z' fill='WAY'/></svg>";

/// What has to be written otherwise in a `data:` address.
const IN_ADDRESS: &AsciiSet = &CONTROLS.add(b'<').add(b'>').add(b'#').add(b'%').add(b'"');

/// What of the pages is the operator's.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// That of buttons, links and the mark.
    pub color: Option<Color>,
    /// What stands below each page.
    pub footer: Vec<FooterItem>,
    /// In place of our mark.
    pub logo: Option<Logo>,
    /// The message of the day, above the login form.
    pub message: Option<Wording>,
    /// Files in place of ours.
    pub theme: Arc<Theme>,
    /// The heading of the login page; without one it is ours.
    pub title: Option<Wording>,
}

/// Colours of a mail, each for light and for dark: a mail has them where they stand, and no variables.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MailColors {
    /// The ground of the first button.
    pub button: [String; 2],
    /// What stands on it.
    pub on_button: [String; 2],
    /// Of the other buttons.
    pub text: [String; 2],
}

/// One thing below the pages.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FooterItem {
    /// What is read.
    pub text: Wording,
    /// Where it leads, if anywhere: checked by `link`.
    pub url: Option<Link>,
}

/// A text of the operator's, the same in every language or one for each. At least one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wording {
    by_language: BTreeMap<Language, String>,
}

/// An address that a page may lead to: a path of this origin, `http(s):`, `mailto:` or `tel:`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link(String);

/// Why a text is no such address.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected an address such as `https://example.com/help`, `mailto:help@example.com` or `/help`")]
pub struct InvalidLink;

/// A picture, ready to stand in a page.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Logo {
    /// A `data:` address; nothing in it ends an attribute.
    address: String,
}

/// Why bytes are no logo.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidLogo {
    /// No format that every browser shows.
    #[error("is no picture in SVG, PNG, JPEG, WebP or GIF")]
    Format,
    /// It would stand in each page.
    #[error("is larger than {} KiB", LOGO_BYTES / 1024)]
    Size,
}

impl Wording {
    /// The same everywhere.
    pub fn everywhere(text: String) -> Self {
        Self { by_language: Language::ALL.map(|language| (language, text.clone())).into() }
    }

    /// One for each of these languages; `None` where there is none at all.
    pub fn of(by_language: BTreeMap<Language, String>) -> Option<Self> {
        Some(Self { by_language }).filter(|wording| !wording.by_language.is_empty())
    }

    /// In this language, else in English, else in the first that there is.
    pub fn in_language(&self, language: Language) -> &str {
        let found = [language, Language::English].iter().find_map(|language| self.by_language.get(language));
        found.or(self.by_language.values().next()).map_or("", String::as_str)
    }
}

impl Link {
    /// As it stands in a page.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Link {
    type Err = InvalidLink;

    fn from_str(raw: &str) -> Result<Self, InvalidLink> {
        let plain = raw
            .chars()
            .all(|c| !c.is_control() && !c.is_whitespace() && !matches!(c, '\\' | '"' | '<' | '>'));
        let named = ["https://", "http://", "mailto:", "tel:"];
        let scheme = named.iter().any(|scheme| raw.len() > scheme.len() && raw.starts_with(scheme));
        let path = raw.starts_with('/') && !raw.starts_with("//");
        if plain && (scheme || path) { Ok(Self(raw.to_owned())) } else { Err(InvalidLink) }
    }
}

impl Logo {
    /// Looks at what the bytes are rather than at a name.
    pub fn read(bytes: &[u8]) -> Result<Self, InvalidLogo> {
        if bytes.len() > LOGO_BYTES {
            return Err(InvalidLogo::Size);
        }
        let kind = match bytes {
            [0x89, b'P', b'N', b'G', ..] => "image/png",
            [0xff, 0xd8, 0xff, ..] => "image/jpeg",
            [b'G', b'I', b'F', b'8', ..] => "image/gif",
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
            _ if is_svg(bytes) => "image/svg+xml",
            _ => return Err(InvalidLogo::Format),
        };
        Ok(Self { address: format!("data:{kind};base64,{}", STANDARD.encode(bytes)) })
    }
}

fn is_svg(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let text = text.trim_start_matches('\u{feff}').trim_start();
    text.starts_with('<') && text.contains("<svg")
}

impl Look {
    /// What its colour adds to the style.
    pub(super) fn style(&self) -> Option<String> {
        self.color.map(Color::style)
    }

    /// Our messages, with those of its theme in place of some: for what is said outside of a page.
    pub fn texts(&self) -> Texts {
        Texts::with(self.theme.texts())
    }

    /// What a mail is coloured with.
    pub fn mail_colors(&self) -> MailColors {
        match self.color {
            None => MailColors {
                button: ["#17594a".to_owned(), "#7fd3b8".to_owned()],
                on_button: ["#ffffff".to_owned(), "#0b201a".to_owned()],
                text: ["#17594a".to_owned(), "#7fd3b8".to_owned()],
            },
            Some(color) => color.mail_colors(),
        }
    }

    /// The address of the logo.
    pub(super) fn logo(&self) -> Option<&str> {
        self.logo.as_ref().map(|logo| logo.address.as_str())
    }

    /// The address of the icon that a browser shows beside the title.
    pub(super) fn icon(&self) -> String {
        if let Some(logo) = &self.logo {
            return logo.address.clone();
        }
        let on = |color: Color| color.text_on_it().to_string();
        let [ground, line, way] = match self.color {
            None => ["#17594a".into(), "#fff".into(), "#9be0c8".into()],
            Some(color) => [color.to_string(), on(color), on(color)],
        };
        let icon = ICON.replace("GROUND", &ground).replace("LINE", &line).replace("WAY", &way);
        format!("data:image/svg+xml,{}", utf8_percent_encode(&icon, IN_ADDRESS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_where_a_person_may_be_led() {
        for sound in
            ["https://example.com/a?b=c#d", "http://example.com", "mailto:a@b.example", "/help", "tel:+49"]
        {
            assert!(sound.parse::<Link>().is_ok(), "{sound}");
        }
        for bad in [
            "",
            "//evil.example",
            "javascript:alert(1)",
            "help",
            "https://",
            "https://a b",
            "/a\"b",
            "/a\\b",
            "data:x",
        ] {
            assert_eq!(bad.parse::<Link>(), Err(InvalidLink), "{bad}");
        }
    }

    #[test]
    fn a_logo_is_what_its_bytes_say() {
        let kind = |bytes: &[u8]| {
            Logo::read(bytes).map(|logo| logo.address.split(';').next().unwrap_or("").to_owned())
        };
        assert_eq!(kind(b"\x89PNG\r\n\x1a\n"), Ok("data:image/png".into()));
        assert_eq!(kind(b"<?xml version='1.0'?>\n<svg/>"), Ok("data:image/svg+xml".into()));
        assert_eq!(kind(b"RIFF\0\0\0\0WEBPVP8 "), Ok("data:image/webp".into()));
        for bad in [&b"<html>"[..], b"", b"svg", b"\xff\xfe<svg"] {
            assert_eq!(kind(bad), Err(InvalidLogo::Format));
        }
        assert_eq!(kind(&vec![0xff; LOGO_BYTES + 1]), Err(InvalidLogo::Size));
    }

    #[test]
    fn a_wording_speaks_the_language_or_what_it_has() {
        let german = BTreeMap::from([(Language::German, "Hallo".to_owned())]);
        let both =
            BTreeMap::from([(Language::German, "Hallo".to_owned()), (Language::English, "Hello".to_owned())]);
        assert_eq!(Wording::of(BTreeMap::new()), None);
        assert_eq!(Wording::of(german).expect("one").in_language(Language::English), "Hallo");
        assert_eq!(Wording::of(both).expect("two").in_language(Language::German), "Hallo");
        assert_eq!(Wording::everywhere("Hi".into()).in_language(Language::German), "Hi");
    }

    #[test]
    fn the_icon_takes_the_colour_and_ends_no_attribute() {
        let plain = Look::default().icon();
        assert!(plain.contains("%2317594a") && !plain.contains(['"', '<', '>', '#']), "{plain}");
        let look = Look { color: "#fd0".parse().ok(), ..Look::default() };
        assert!(
            look.icon().contains("%23ffdd00") && look.icon().contains("stroke='%23000000'"),
            "{}",
            look.icon()
        );
    }
}
