//! Another beginning for a target: a prefix cut off, another put in its place.
//!
//! What was decided on is the target as it came, so a rewrite must not lead to anything that the decision
//! was not about. The prefix is cut off the raw text, at the end of a segment and nowhere else; every
//! reading must begin with it; and whatever a server may read in what is left, it could have read behind
//! the prefix before. A target for which one of these does not hold is not rewritten: it is a fault.
//!
//! Callers: `proxy`, for routes that say so.

use http::StatusCode;

use super::{Target, TargetFault};
use crate::response::texts::Text;

/// Why a target can't be rewritten; it is the client's fault in each case, and a 400 or a 414.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RewriteFault {
    /// To some server it begins with something else, or the prefix is written in another way.
    #[error("not every reading of the target begins with the prefix that is cut off")]
    Prefix,
    /// Without its prefix it may be read in a way in which it could not be read with it.
    #[error("the target without its prefix can be read as another one")]
    Reading,
    /// What is left is no sound target.
    #[error("the target without its prefix: {0}")]
    Target(#[from] TargetFault),
}

impl RewriteFault {
    /// A stable word for problem details, logs and metrics.
    pub fn code(self) -> &'static str {
        self.as_target_fault().code()
    }

    /// For the client.
    pub fn public_message(self) -> Text {
        self.as_target_fault().public_message()
    }

    /// What it is answered with.
    pub fn status(self) -> StatusCode {
        self.as_target_fault().status()
    }

    /// To the client it is one like the others.
    fn as_target_fault(self) -> TargetFault {
        match self {
            Self::Prefix | Self::Reading => TargetFault::Form,
            Self::Target(fault) => fault,
        }
    }
}

impl Target {
    /// The target with `strip` cut off its path and `add` put before what is left; the query stays as it is.
    ///
    /// Both are empty or plain paths: they begin with a slash, don't end with one, and are their only reading.
    pub fn rewritten(&self, strip: &str, add: &str) -> Result<Self, RewriteFault> {
        let rest = cut(self.path(), strip).ok_or(RewriteFault::Prefix)?;
        let query = &self.as_str()[self.path().len()..];
        let mut raw = joined(add, rest);
        raw.push_str(query);
        // A client's URL parser takes `//name` for a host.
        if raw.starts_with("//") {
            return Err(RewriteFault::Reading);
        }
        let rewritten = Self::parse(&raw)?;
        let mut expected = Vec::new();
        for reading in self.readings() {
            expected.push(joined(add, cut(reading, strip).ok_or(RewriteFault::Prefix)?));
        }
        // Nothing becomes reachable that the decision was not about.
        let adds_none = rewritten.readings().all(|reading| expected.iter().any(|one| one == reading));
        if adds_none { Ok(rewritten) } else { Err(RewriteFault::Reading) }
    }
}

/// What follows `prefix`, if that ends where a segment does.
fn cut<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn joined(add: &str, rest: &str) -> String {
    match (add, rest) {
        ("", "") => "/".to_owned(),
        _ => [add, rest].concat(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rewritten(raw: &str, strip: &str, add: &str) -> Result<String, RewriteFault> {
        let target = Target::parse(raw).unwrap_or_else(|fault| panic!("{raw}: {fault}"));
        target.rewritten(strip, add).map(|target| target.as_str().to_owned())
    }

    #[test]
    fn a_prefix_is_cut_off_at_the_end_of_a_segment() {
        for (raw, expected) in [
            ("/api", "/"),
            ("/api/", "/"),
            ("/api/x", "/x"),
            ("/api?q", "/?q"),
            ("/api/x/?a=/../b&c=%zz", "/x/?a=/../b&c=%zz"),
            ("/api?", "/?"),
            ("/api/x?/api/y", "/x?/api/y"),
            ("/api/api", "/api"),
            ("/api/%7Euser", "/%7Euser"),
            ("/api/a%2fb", "/a%2fb"),
            ("/api/a;v=1", "/a;v=1"),
            ("/api/a//b", "/a//b"),
            ("/api/%25", "/%25"),
            ("/api/.well-known/x", "/.well-known/x"),
            ("/api/...", "/..."),
        ] {
            assert_eq!(rewritten(raw, "/api", ""), Ok(expected.to_owned()), "{raw}");
        }
        for raw in [
            "/",
            "/apix",
            "/apix/y",
            "/ap",
            "/API/x",
            "/x/api",
            "/api.x",
            "/%61pi/x",
            "/api;v=1/x",
            "/?/api/x",
        ] {
            assert_eq!(rewritten(raw, "/api", ""), Err(RewriteFault::Prefix), "{raw}");
        }
        assert_eq!(rewritten("/a/b/c", "/a/b", ""), Ok("/c".to_owned()));
        assert_eq!(rewritten("/a//b/c", "/a/b", ""), Err(RewriteFault::Prefix));
    }

    #[test]
    fn what_would_be_read_as_something_else_is_not_rewritten() {
        for raw in [
            // A host to whoever parses it as a URL.
            "/api//evil.test",
            "/api//evil.test/x",
            "/api///x",
            "/api//",
            "/api/%2fevil.test",
            "/api/%2Fevil.test/x",
            "/api/%252fevil.test",
            "/api/;/evil.test",
            "/api/;x=y/admin",
            "/api/%3b/admin",
            // The prefix is only one of its readings.
            "//api/x",
            "//host/api/x",
            "/%2fapi/x",
            "/;/api/x",
            "/api%2fx",
            "/api%2f/x",
            "/api%3bx/y",
            "/api%3fx/y",
            "/api%23/y",
            "/ap%69/x",
        ] {
            let fault = rewritten(raw, "/api", "");
            assert!(matches!(fault, Err(RewriteFault::Prefix | RewriteFault::Reading)), "{raw}: {fault:?}");
        }
    }

    #[test]
    fn a_prefix_is_put_before_the_path() {
        for (raw, strip, expected) in [
            ("/", "", "/v1/"),
            ("/x?q", "", "/v1/x?q"),
            ("/a//b", "", "/v1/a//b"),
            ("/api", "/api", "/v1"),
            ("/api/", "/api", "/v1/"),
            ("/api/x", "/api", "/v1/x"),
            // Behind a name it is no host any more, and read as before.
            ("/api//x", "/api", "/v1//x"),
        ] {
            assert_eq!(rewritten(raw, strip, "/v1"), Ok(expected.to_owned()), "{raw}");
        }
        let long = format!("/{}", "a".repeat(super::super::TARGET_BYTES - 1));
        assert_eq!(rewritten(&long, "", "/v1"), Err(RewriteFault::Target(TargetFault::TooLong)));
    }

    /// Behind the prefix, in place of it, and round it.
    fn hostile_target() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("/api".to_owned()),
            Just("/v1".to_owned()),
            Just("/".to_owned()),
            Just("//".to_owned()),
            Just("%2f".to_owned()),
            Just("%2F".to_owned()),
            Just("%252f".to_owned()),
            Just("%5c".to_owned()),
            Just("%2e".to_owned()),
            Just(".".to_owned()),
            Just("..".to_owned()),
            Just(";".to_owned()),
            Just(";x=y".to_owned()),
            Just("%3b".to_owned()),
            Just("%3f".to_owned()),
            Just("%23".to_owned()),
            Just("%61pi".to_owned()),
            Just("%25".to_owned()),
            Just("admin".to_owned()),
            Just("?".to_owned()),
            Just("%ef%bc%8f".to_owned()),
            Just("@evil.test".to_owned()),
            "[a-c]{1,2}",
        ];
        let start = prop_oneof![4 => Just("/api"), 1 => Just("/"), 1 => Just("")];
        (start, prop::collection::vec(piece, 0..7))
            .prop_map(|(start, pieces)| start.to_owned() + &pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_rewritten_leads_nowhere_else(
            raw in hostile_target(),
            strip in prop::sample::select(vec!["", "/api", "/api/a"]),
            add in prop::sample::select(vec!["", "/v1", "/api"]),
        ) {
            let Ok(target) = Target::parse(&raw) else { return Ok(()) };
            let Ok(rewritten) = target.rewritten(strip, add) else { return Ok(()) };
            // Exactly the prefix is gone, and everything else is there byte for byte.
            let (path, query) = raw.split_at(raw.find('?').unwrap_or(raw.len()));
            let rest = path.strip_prefix(strip).expect("it begins with the prefix");
            prop_assert!(rest.is_empty() || rest.starts_with('/'), "{}", raw);
            let slash = if add.is_empty() && rest.is_empty() { "/" } else { "" };
            let expected = [add, rest, slash, query].concat();
            prop_assert_eq!(rewritten.as_str(), &expected);
            prop_assert!(expected.starts_with('/') && !expected.starts_with("//"), "{}", expected);
            // Whoever reads it, in whichever way, reads what he could have read behind the prefix.
            for reading in rewritten.readings() {
                let rest = reading.strip_prefix(add).expect("it begins with the prefix");
                let behind = |original: &str| match original.strip_prefix(strip) {
                    Some(original) => original == rest || (original.is_empty() && rest == "/" && add.is_empty()),
                    None => false,
                };
                prop_assert!(target.readings().any(behind), "{} of {}: {}", reading, raw, expected);
            }
        }

        #[test]
        fn an_ordinary_path_is_always_rewritten(rest in "(/[A-Za-z0-9_~.-]{0,7}[a-z]){0,4}/?", query in "(\\?[a-z=&/]{0,9})?") {
            let raw = format!("/api{rest}{query}");
            let expected = match rest.as_str() { "" => format!("/{query}"), _ => format!("{rest}{query}") };
            prop_assert_eq!(rewritten(&raw, "/api", ""), Ok(expected));
            prop_assert_eq!(rewritten(&raw, "/api", "/v1"), Ok(format!("/v1{rest}{query}")));
        }
    }
}
