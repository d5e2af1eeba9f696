//! Names that no new account gets: those that one door can't take, and those that pass for another name.
//!
//! By UTS #39: a name that mixes scripts in a way that no language does is refused, and a name whose skeleton is a name
//! that somebody has is as good as taken. Both look at the new name alone, so one thing stays possible: a name that is
//! its own skeleton beside an older one that is not (`torn` after `tom`). Accounts that are there keep their names.
//!
//! Callers: `account` for new accounts, `cli` to warn.

use unicode_security::{MixedScript as _, RestrictionLevel, RestrictionLevelDetection as _, skeleton};

use super::{Username, fold};

/// Why no new account gets a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UnfitUsername {
    /// It holds a colon.
    #[error("a username can't hold a colon, for that is where Basic ends it")]
    Colon,
    /// Its letters are of scripts that no language mixes.
    #[error(
        "a username can't mix letters of different scripts, such as Latin and Cyrillic ones: it could pass for another"
    )]
    Mixed,
}

impl Username {
    /// Whether it could be shown to Basic, where a colon ends the name (RFC 7617).
    pub fn fits_basic(&self) -> Result<(), UnfitUsername> {
        if self.as_str().contains(':') { Err(UnfitUsername::Colon) } else { Ok(()) }
    }

    /// Whether its letters are of one script, or of those that Chinese, Japanese and Korean mix with Latin ones
    /// ("highly restrictive"). Digits, blanks and signs are of all of them.
    pub fn has_one_script(&self) -> Result<(), UnfitUsername> {
        let letters: String = fold(self.as_str()).chars().filter(|c| c.is_alphabetic()).collect();
        let letters = letters.as_str();
        let sound = letters.is_single_script()
            || letters.check_restriction_level(RestrictionLevel::HighlyRestrictive);
        if sound { Ok(()) } else { Err(UnfitUsername::Mixed) }
    }

    /// The other name for which this one may pass, folded.
    pub fn passes_for(&self) -> Option<String> {
        let shape = fold(&skeleton(self.as_str()).collect::<String>());
        (shape != self.folded()).then_some(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(raw: &str) -> Username {
        raw.parse().expect("a name")
    }

    #[test]
    fn scripts_are_mixed_as_languages_mix_them() {
        for good in [
            "alice",
            "Zoë 2",
            "o'neil-3",
            "алиса",
            "αλίκη",
            "アリスちゃん",
            "東京アリスalice",
            "앨리스",
            "أليس",
            "a😀b",
            "123",
            "ＡＢＣ",
        ] {
            assert_eq!(name(good).has_one_script(), Ok(()), "{good}");
        }
        // A Cyrillic а, a Cyrillic о, a Greek ο, and a Cherokee Ꭺ.
        for bad in ["\u{430}lice", "b\u{43e}b", "b\u{3bf}b", "\u{13aa}lice", "алисa"] {
            assert_eq!(name(bad).has_one_script(), Err(UnfitUsername::Mixed), "{bad}");
        }
        assert_eq!(name("a:b").fits_basic(), Err(UnfitUsername::Colon));
        assert_eq!(name("a.b").fits_basic(), Ok(()));
    }

    #[test]
    fn what_looks_like_a_name_passes_for_it() {
        for (new, taken) in [("AIice", "alice"), ("a1ice", "alice"), ("b0b", "bob"), ("сосо", "coco")] {
            assert_eq!(name(new).passes_for().as_deref(), Some(taken), "{new}");
        }
        for own in ["alice", "zoë", "東京"] {
            assert_eq!(name(own).passes_for(), None, "{own}");
        }
    }
}
