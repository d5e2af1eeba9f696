//! What a good password is: long enough, and not among the first an attacker tries.
//!
//! No composition rules, any Unicode, no rotation (NIST SP 800-63B-4 §3.1.1). The sentence of a
//! `Weakness` is for the person who typed it.
//!
//! Callers: `password::pool`, for zxcvbn takes milliseconds.

use zxcvbn::zxcvbn;

use super::{MAX_LENGTH, PasswordSettings};

/// Why a password is not taken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Weakness {
    /// It would be among the first guesses; says why where that is known.
    #[error("This password is too easy to guess.{0}")]
    Guessable(String),
    /// Over the limit; it is never cut.
    #[error("Use at most {MAX_LENGTH} characters.")]
    TooLong,
    /// Under the configured length.
    #[error("Use at least {0} characters.")]
    TooShort(usize),
}

/// Judges a password; `context` has the words that an attacker would try first: names, address, site.
pub(super) fn check(settings: &PasswordSettings, password: &str, context: &[String]) -> Result<(), Weakness> {
    let length = password.chars().take(MAX_LENGTH + 1).count();
    if length < settings.min_length {
        return Err(Weakness::TooShort(settings.min_length));
    }
    if length > MAX_LENGTH {
        return Err(Weakness::TooLong);
    }
    let mut words: Vec<&str> = vec!["foregate"];
    for item in context {
        words.push(item);
        words.extend(item.split(|c: char| !c.is_alphanumeric()).filter(|word| word.chars().count() > 2));
    }
    let estimate = zxcvbn(password, &words);
    if u8::from(estimate.score()) >= settings.min_score {
        return Ok(());
    }
    let why = estimate.feedback().and_then(|feedback| feedback.warning());
    Err(Weakness::Guessable(why.map(|why| format!(" {why}")).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(password: &str) -> Result<(), Weakness> {
        let settings = PasswordSettings {
            iterations: 1,
            memory_kib: 64,
            min_length: 8,
            min_score: 3,
            parallelism: 1,
            workers: 1,
        };
        check(&settings, password, &["alice".to_owned(), "alice.liddell@wonderland.example".to_owned()])
    }

    #[test]
    fn passwords() {
        for good in [
            "correct horse battery staple",
            "gT7#vK2!pQ9z",
            "приветик из лукоморья",
            "        \u{1f642} blanks count",
        ] {
            assert_eq!(judge(good), Ok(()), "{good:?}");
        }
        assert_eq!(judge("short"), Err(Weakness::TooShort(8)));
        assert_eq!(judge(&"x".repeat(1025)), Err(Weakness::TooLong));
        for bad in ["password1", "aaaaaaaaaaaa", "12345678", "qwertyuiop", "liddellalice", "foregate1"] {
            assert!(matches!(judge(bad), Err(Weakness::Guessable(_))), "{bad:?}");
        }
    }

    #[test]
    fn length_is_counted_in_code_points() {
        assert_eq!(judge("\u{1f642}\u{1f643}\u{1f644}"), Err(Weakness::TooShort(8)));
    }
}
