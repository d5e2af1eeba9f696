//! One parameter of the query, for who was told to look at it: read, and taken out with everything else left as it came.
//!
//! A name counts under every spelling that an application would decode to it, so that what is not read here is not
//! read behind us either. Parameters are parted by `&` alone, as the URL standard has it.
//!
//! Callers: `gate` reads a token, `proxy` forwards the target without it, and whoever tells a person's way on leaves it out.

use std::borrow::Cow;

use super::{Target, TargetFault};

/// What a query says under a name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Parameter<'t> {
    /// Nothing, or nothing but empty values.
    Absent,
    /// This, decoded.
    One(Cow<'t, [u8]>),
    /// It stands there more than once. Of two readers each could take another.
    Several,
}

impl Target {
    /// The parameter of this name.
    pub fn parameter(&self, name: &str) -> Parameter<'_> {
        let mut values = self.parameters(name).map(value).filter(|value| !value.is_empty());
        match (values.next(), values.next()) {
            (None, _) => Parameter::Absent,
            (Some(value), None) => Parameter::One(value),
            (Some(_), Some(_)) => Parameter::Several,
        }
    }

    /// The target without any parameter of this name, and everything else byte for byte; `None` where there is none.
    pub fn without_parameter(&self, name: &str) -> Option<Result<Self, TargetFault>> {
        let query = self.query()?;
        self.parameters(name).next()?;
        let rest: Vec<&str> = query.split('&').filter(|pair| !is_named(pair, name)).collect();
        let rest = rest.join("&");
        let path = self.path();
        Some(Self::parse(&if rest.is_empty() { path.to_owned() } else { format!("{path}?{rest}") }))
    }

    fn parameters<'t>(&'t self, name: &str) -> impl Iterator<Item = &'t str> {
        self.query().into_iter().flat_map(|query| query.split('&')).filter(move |pair| is_named(pair, name))
    }
}

fn is_named(pair: &str, name: &str) -> bool {
    let written = pair.split('=').next().unwrap_or_default();
    written == name || (written.contains(['%', '+']) && *decoded(written) == *name.as_bytes())
}

fn value(pair: &str) -> Cow<'_, [u8]> {
    decoded(pair.split_once('=').map_or("", |(_, value)| value))
}

/// As forms are decoded: `+` is a blank, and a broken escape stays as it is.
fn decoded(raw: &str) -> Cow<'_, [u8]> {
    if !raw.contains(['%', '+']) {
        return Cow::Borrowed(raw.as_bytes());
    }
    let mut rest = raw.as_bytes();
    let mut found = Vec::with_capacity(rest.len());
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = after.split_first_chunk().filter(|_| byte == b'%');
        let escaped =
            escaped.and_then(|([high, low], after)| Some((digit(*high)? << 4 | digit(*low)?, after)));
        let (byte, after) = escaped.unwrap_or((if byte == b'+' { b' ' } else { byte }, after));
        found.push(byte);
        rest = after;
    }
    Cow::Owned(found)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target(raw: &str) -> Target {
        Target::parse(raw).unwrap_or_else(|fault| panic!("{raw}: {fault}"))
    }

    #[test]
    fn a_parameter_is_read_under_every_spelling_of_its_name_and_taken_out_alone() {
        let one = |value: &'static str| Parameter::One(Cow::Borrowed(value.as_bytes()));
        for (raw, read, without) in [
            ("/a", Parameter::Absent, None),
            ("/a?", Parameter::Absent, None),
            ("/a?b=1", Parameter::Absent, None),
            ("/a?jwt", Parameter::Absent, Some("/a")),
            ("/a?jwt=", Parameter::Absent, Some("/a")),
            ("/a?jwt=x", one("x"), Some("/a")),
            ("/a?jwt=x=y", one("x=y"), Some("/a")),
            ("/a?b=1&jwt=x&c=2", one("x"), Some("/a?b=1&c=2")),
            ("/a?b=%zz&&jwt=x&c=+%2f", one("x"), Some("/a?b=%zz&&c=+%2f")),
            ("/a?j%77t=x", one("x"), Some("/a")),
            ("/a?%6A%57t=x", Parameter::Absent, None),
            ("/a?%6a%77%74=x", one("x"), Some("/a")),
            ("/a?jwt=a%2Eb%2ec", one("a.b.c"), Some("/a")),
            ("/a?jwt=a%2", one("a%2"), Some("/a")),
            ("/a?jwt=a+b", one("a b"), Some("/a")),
            ("/a?jwt=x&jwt=x", Parameter::Several, Some("/a")),
            ("/a?jwt=x&b&%6awt=y", Parameter::Several, Some("/a?b")),
            ("/a?jwt=&jwt=x", one("x"), Some("/a")),
            ("/a?JWT=x", Parameter::Absent, None),
            ("/a?xjwt=x&jwt2=y&b=jwt=z", Parameter::Absent, None),
            ("/a?b=1;jwt=x", Parameter::Absent, None),
            ("/a%2fb?jwt=x", one("x"), Some("/a%2fb")),
            ("/a?b=1?jwt=x", Parameter::Absent, None),
        ] {
            let target = target(raw);
            assert_eq!(target.parameter("jwt"), read, "{raw}");
            let left = target.without_parameter("jwt").map(|left| left.expect("sound").as_str().to_owned());
            assert_eq!(left.as_deref(), without, "{raw}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_left_has_no_such_parameter_to_a_reader_of_forms(
            pairs in prop::collection::vec("(jwt|%6awt|j%77T|a|b%3d|\\+)?(=[a-z%+=;.]{0,4})?", 0..6)
        ) {
            let target = target(&format!("/p?{}", pairs.join("&")));
            let left = target.without_parameter("jwt").map_or_else(|| target.clone(), |left| left.expect("sound"));
            let read = |target: &Target| -> Vec<(String, String)> {
                serde_urlencoded::from_str(target.query().unwrap_or_default()).unwrap_or_default()
            };
            let expected: Vec<_> = read(&target).into_iter().filter(|(name, _)| name != "jwt").collect();
            prop_assert_eq!(read(&left), expected);
        }
    }
}
