//! What a good password is: long enough, and not among the first an attacker tries.
//!
//! No composition rules, any Unicode, no rotation (NIST SP 800-63B-4 §3.1.1). Control characters alone
//! are refused, as RFC 8265 §4.2.1 has it: a password with one could never be sent as Basic (RFC 7617 §2).
//!
//! Callers: the threads of `password::pool` and `password::judge`, for zxcvbn takes milliseconds.

use std::fmt;

use zxcvbn::feedback::Warning;
use zxcvbn::matching::patterns::MatchPattern;
use zxcvbn::{Entropy, zxcvbn};

use super::{MAX_LENGTH, PasswordSettings};

/// What is found within so many guesses is never taken, whatever `min_score` says: that is the first half of
/// zxcvbn's list of 30,000 common passwords (so there is no list of ours), the commonest of them dressed up,
/// rows of keys, and the person's own names, two of them or one with a number too: a second part counts 10,000
/// by itself.
const GUESSES_REFUSED: u64 = 20_000;

/// How strong a password is, and why it is not taken where it isn't.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Strength {
    /// zxcvbn's, 0 to 4.
    pub score: u8,
    /// `None`: it is taken.
    pub weakness: Option<Weakness>,
}

/// Why a password is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Weakness {
    /// A tab or another control character is in it.
    #[error("Control characters can’t be part of a password.")]
    Control,
    /// It would be among the first guesses.
    #[error("This password is too easy to guess.{}", sentence(.reason))]
    Guessable {
        /// Why, where that is known.
        reason: Option<Reason>,
        /// zxcvbn's, 0 to 4.
        score: u8,
    },
    /// Over the limit; it is never cut.
    #[error("Use at most {MAX_LENGTH} characters.")]
    TooLong,
    /// Under the configured length.
    #[error("Use at least {0} characters.")]
    TooShort(usize),
}

/// What makes a password easy to guess.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// It is one of those that everybody takes, or nearly.
    Common,
    /// A date or a year.
    Date,
    /// Rows of keys.
    Keyboard,
    /// Names of people.
    Name,
    /// The person's own name or address, or this site's.
    Personal,
    /// `aaa`, `abcabcabc`.
    Repeat,
    /// `abc`, `6543`.
    Sequence,
    /// One word of a dictionary.
    Word,
}

/// Judges a password; `context` has the words that an attacker would try first: names, address, site.
pub(super) fn judge(settings: &PasswordSettings, password: &str, context: &[String]) -> Strength {
    let length = password.chars().take(MAX_LENGTH + 1).count();
    let mut words: Vec<&str> = vec!["foregate"];
    for item in context {
        words.push(item);
        words.extend(item.split(|c: char| !c.is_alphanumeric()).filter(|word| word.chars().count() > 2));
    }
    // It looks at the first hundred characters, so a long one takes no longer.
    let estimate = zxcvbn(password, &words);
    let score = u8::from(estimate.score());
    let weakness = if length < settings.min_length {
        Some(Weakness::TooShort(settings.min_length))
    } else if length > MAX_LENGTH {
        Some(Weakness::TooLong)
    } else if password.contains(char::is_control) {
        Some(Weakness::Control)
    } else if score < settings.min_score || estimate.guesses() <= GUESSES_REFUSED {
        Some(Weakness::Guessable { reason: reason(&estimate, &words), score })
    } else {
        None
    };
    Strength { score, weakness }
}

fn reason(estimate: &Entropy, words: &[&str]) -> Option<Reason> {
    let is_personal = estimate.sequence().iter().any(|found| match &found.pattern {
        MatchPattern::Dictionary(pattern) => {
            words.iter().any(|word| word.to_lowercase() == pattern.matched_word.to_lowercase())
        }
        _ => false,
    });
    if is_personal {
        return Some(Reason::Personal);
    }
    Some(match estimate.feedback()?.warning()? {
        Warning::StraightRowsOfKeysAreEasyToGuess | Warning::ShortKeyboardPatternsAreEasyToGuess => {
            Reason::Keyboard
        }
        Warning::RepeatsLikeAaaAreEasyToGuess | Warning::RepeatsLikeAbcAbcAreOnlySlightlyHarderToGuess => {
            Reason::Repeat
        }
        Warning::ThisIsATop10Password
        | Warning::ThisIsATop100Password
        | Warning::ThisIsACommonPassword
        | Warning::ThisIsSimilarToACommonlyUsedPassword => Reason::Common,
        Warning::SequencesLikeAbcAreEasyToGuess => Reason::Sequence,
        Warning::RecentYearsAreEasyToGuess | Warning::DatesAreOftenEasyToGuess => Reason::Date,
        Warning::AWordByItselfIsEasyToGuess => Reason::Word,
        Warning::NamesAndSurnamesByThemselvesAreEasyToGuess
        | Warning::CommonNamesAndSurnamesAreEasyToGuess => Reason::Name,
    })
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Common => "It is, or is nearly, one that many people use.",
            Self::Date => "Dates and years are among the first that are tried.",
            Self::Keyboard => "Rows of keys are among the first that are tried.",
            Self::Name => "Names are among the first that are tried.",
            Self::Personal => "The names of the person and of this site are among the first that are tried.",
            Self::Repeat => "Repeating makes it hardly any harder.",
            Self::Sequence => "Sequences like abc or 6543 are among the first that are tried.",
            Self::Word => "A single word is among the first that are tried.",
        })
    }
}

/// The reason as it follows the sentence before it.
fn sentence(reason: &Option<Reason>) -> String {
    reason.map(|reason| format!(" {reason}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(password: &str, min_score: u8) -> Option<Weakness> {
        let settings = PasswordSettings {
            iterations: 1,
            memory_kib: 64,
            min_length: 8,
            min_score,
            parallelism: 1,
            workers: 1,
        };
        let context = ["alice".to_owned(), "alice.liddell@wonderland.example".to_owned()];
        judge(&settings, password, &context).weakness
    }

    #[test]
    fn passwords() {
        for good in [
            "correct horse battery staple",
            "gT7#vK2!pQ9z",
            "приветик из лукоморья",
            "        \u{1f642} blanks count",
            "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} вместе 家族 ถนน",
        ] {
            assert_eq!(judged(good, 3), None, "{good:?}");
        }
        assert_eq!(judged("short", 3), Some(Weakness::TooShort(8)));
        assert_eq!(judged(&"x".repeat(1025), 3), Some(Weakness::TooLong));
        assert_eq!(judged("correct horse\tbattery staple", 3), Some(Weakness::Control));
        for (bad, reason) in [
            ("password1", Reason::Common),
            ("aaaaaaaaaaaa", Reason::Repeat),
            ("12345678", Reason::Common),
            ("qwertyuiop", Reason::Common),
            ("liddellalice", Reason::Personal),
            ("foregate1", Reason::Personal),
            ("13.05.1987", Reason::Date),
        ] {
            let Some(Weakness::Guessable { reason: found, .. }) = judged(bad, 3) else { panic!("{bad:?}") };
            assert_eq!(found, Some(reason), "{bad:?}");
        }
    }

    #[test]
    fn the_commonest_are_refused_whatever_the_score_may_be() {
        // Of the first and the last of zxcvbn's ten thousand commonest that are long enough, as they are and dressed up.
        for bad in [
            "password",
            "12345678",
            "baseball",
            "trustno1",
            "sunshine",
            "iloveyou",
            "Password",
            "drowssap",
            "qwertyuiop",
            "11111111",
            "aaaaaaaaaaaa",
            "alice123",
            "liddellalice",
            "foregate1",
            "charlie1",
        ] {
            assert!(matches!(judged(bad, 0), Some(Weakness::Guessable { .. })), "{bad:?}");
        }
        for enough in ["correct horse", "another password of mine", "gT7#vK2!"] {
            assert_eq!(judged(enough, 0), None, "{enough:?}");
        }
    }

    #[test]
    fn length_is_counted_in_code_points() {
        assert_eq!(judged("\u{1f642}\u{1f643}\u{1f644}", 3), Some(Weakness::TooShort(8)));
        assert_eq!(judged(&"\u{1f642}\u{1f643}".repeat(513), 0), Some(Weakness::TooLong));
    }

    #[test]
    fn a_refusal_is_a_sentence_that_says_why() {
        let weak = judged("password", 3).expect("it is weak");
        let sentence = "This password is too easy to guess. It is, or is nearly, one that many people use.";
        assert_eq!(weak.to_string(), sentence);
    }
}
