//! A colour that an operator chose, and what follows from it so that everything in it can be read.
//!
//! Callers: `look`.

use std::fmt;
use std::str::FromStr;

use super::MailColors;

/// Contrast that text needs (WCAG 2.2, 1.4.3).
const READABLE: f64 = 4.5;

/// The grounds that coloured text stands on: of each scheme the one that is nearest to it.
const LIGHT: Color = Color { red: 0xef, green: 0xf3, blue: 0xef };
const DARK: Color = Color { red: 0x1b, green: 0x26, blue: 0x22 };

const BLACK: Color = Color { red: 0, green: 0, blue: 0 };
const WHITE: Color = Color { red: 255, green: 255, blue: 255 };

/// A colour, as `#17594a` or `#174`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Color {
    red: u8,
    green: u8,
    blue: u8,
}

/// Why a text is no colour.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected a colour such as `\"#17594a\"`")]
pub struct InvalidColor;

impl FromStr for Color {
    type Err = InvalidColor;

    fn from_str(raw: &str) -> Result<Self, InvalidColor> {
        let digits = raw.strip_prefix('#').ok_or(InvalidColor)?;
        let digits: Option<Vec<u8>> =
            digits.chars().map(|digit| digit.to_digit(16).and_then(|value| value.try_into().ok())).collect();
        match digits.ok_or(InvalidColor)?[..] {
            [r, g, b] => Ok(Self { red: r * 17, green: g * 17, blue: b * 17 }),
            [r, s, g, h, b, c] => Ok(Self { red: r * 16 + s, green: g * 16 + h, blue: b * 16 + c }),
            _ => Err(InvalidColor),
        }
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.red, self.green, self.blue)
    }
}

impl Color {
    /// The style's variables that follow from it, in both schemes.
    pub(super) fn style(self) -> String {
        let on = self.text_on_it();
        // Away from the text on it, which so can only be read better.
        let away = if on == WHITE { BLACK } else { WHITE };
        let deep = self.mixed(away, 0.18);
        let (light, dark) = (self.readable_on(LIGHT, BLACK), self.readable_on(DARK, WHITE));
        let glow = self.mixed(WHITE, 0.9);
        let night = self.mixed(Self { red: 0x10, green: 0x14, blue: 0x13 }, 0.88);
        format!(
            ":root {{ --accent: {self}; --accent-deep: {deep}; --on-accent: {on}; --way: {on}; --accent-text: {light}; --glow: {glow}; }}\n\
             @media (prefers-color-scheme: dark) {{ :root {{ --accent: {self}; --accent-deep: {deep}; --on-accent: {on}; --way: {on}; \
             --accent-text: {dark}; --glow: {night}; }} }}"
        )
    }

    /// The same for a mail.
    pub(super) fn mail_colors(self) -> MailColors {
        let both = |light: Self, dark: Self| [light.to_string(), dark.to_string()];
        let on = self.text_on_it();
        MailColors {
            button: both(self, self),
            on_button: both(on, on),
            text: both(self.readable_on(LIGHT, BLACK), self.readable_on(DARK, WHITE)),
        }
    }

    /// Black or white, whichever is read better on it: one of them always is well enough.
    pub(super) fn text_on_it(self) -> Self {
        if self.contrast(WHITE) >= self.contrast(BLACK) { WHITE } else { BLACK }
    }

    /// The nearest to it that is read well on this ground, on the way to an extreme that is.
    fn readable_on(self, ground: Self, extreme: Self) -> Self {
        let steps = (0..=20).map(|step| self.mixed(extreme, f64::from(step) / 20.0));
        steps.into_iter().find(|color| color.contrast(ground) >= READABLE).unwrap_or(extreme)
    }

    fn mixed(self, other: Self, share: f64) -> Self {
        let mix = |a: u8, b: u8| (f64::from(a) * (1.0 - share) + f64::from(b) * share).round() as u8;
        Self {
            red: mix(self.red, other.red),
            green: mix(self.green, other.green),
            blue: mix(self.blue, other.blue),
        }
    }

    /// From 1 to 21 (WCAG 2.2).
    fn contrast(self, other: Self) -> f64 {
        let (a, b) = (self.luminance(), other.luminance());
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    fn luminance(self) -> f64 {
        let linear = |value: u8| match f64::from(value) / 255.0 {
            value if value <= 0.04045 => value / 12.92,
            value => ((value + 0.055) / 1.055).powf(2.4),
        };
        0.2126 * linear(self.red) + 0.7152 * linear(self.green) + 0.0722 * linear(self.blue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_read_and_shown() {
        for (raw, shown) in [("#17594a", "#17594a"), ("#FA0", "#ffaa00"), ("#000000", "#000000")] {
            assert_eq!(raw.parse::<Color>().map(|color| color.to_string()), Ok(shown.into()));
        }
        for raw in ["", "#", "17594a", "#1759", "#17594g", "#17594a80", "green", "#+7594a", "#é594a"] {
            assert_eq!(raw.parse::<Color>(), Err(InvalidColor), "{raw}");
        }
    }

    #[test]
    fn whatever_the_colour_everything_in_it_can_be_read() {
        let steps = || (0..=255).step_by(15).map(|value| value as u8);
        for (red, green, blue) in
            steps().flat_map(|r| steps().flat_map(move |g| steps().map(move |b| (r, g, b))))
        {
            let color = Color { red, green, blue };
            let on = color.text_on_it();
            let away = if on == WHITE { BLACK } else { WHITE };
            assert!(color.contrast(on) >= READABLE, "{color}");
            assert!(color.mixed(away, 0.18).contrast(on) >= READABLE, "{color} under the mouse");
            assert!(color.readable_on(LIGHT, BLACK).contrast(LIGHT) >= READABLE, "{color} in light");
            assert!(color.readable_on(DARK, WHITE).contrast(DARK) >= READABLE, "{color} in dark");
        }
        let black_on_white = BLACK.contrast(WHITE);
        assert!((black_on_white - 21.0).abs() < 0.01, "{black_on_white}");
    }
}
