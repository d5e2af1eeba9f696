//! Whose a target is: ours, a route's, or both at once under different readings.
//!
//! Callers: `gateway` before anything is decided, and `cli` for `explain`.

use crate::request::Target;

/// Whose a target is, when every reading of it is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place<'a> {
    /// Ours under one reading and not under another: nobody can say what was meant.
    Ambiguous,
    /// A route's.
    Elsewhere,
    /// Ours; what follows the prefix.
    Ours(&'a str),
}

impl<'a> Place<'a> {
    /// Looks at every reading.
    pub fn of(target: &'a Target, prefix: &str) -> Self {
        let as_sent = below(target.path(), prefix);
        match (target.readings().all(|reading| below(reading, prefix).is_some()), as_sent) {
            (true, Some(rest)) => Self::Ours(rest),
            _ if target.readings().all(|reading| below(reading, prefix).is_none()) => Self::Elsewhere,
            // Also a spelling of the prefix that only decodes to it.
            _ => Self::Ambiguous,
        }
    }
}

/// What follows the prefix in a path that is under it, on a segment's boundary.
pub(super) fn below<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_ours_when_everybody_reads_it_so() {
        use Place::{Ambiguous, Elsewhere, Ours};
        for (target, expected) in [
            ("/.auth", Ours("")),
            ("/.auth/login?next=/", Ours("/login")),
            ("/.auth/ext-authz/a%20b", Ours("/ext-authz/a%20b")),
            ("/.authx", Elsewhere),
            ("/a/.auth", Elsewhere),
            ("/", Elsewhere),
            ("/%2eauth/login", Ambiguous),
            ("/.auth;x/login", Ambiguous),
            ("//.auth/login", Ambiguous),
            ("/.auth%2flogin", Ambiguous),
        ] {
            let target = Target::parse(target).expect("a target");
            assert_eq!(Place::of(&target, "/.auth"), expected, "{}", target.as_str());
        }
    }
}
