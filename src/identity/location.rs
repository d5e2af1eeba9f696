//! Where in a request a token may stand, and in which words it is refused.
//!
//! The names are those of Flask-JWT-Extended, as are those of the cookies and of the parameter, so that a client written
//! for it goes on as it is.
//!
//! Callers: `config` reads them, `route` holds them, `gate` and `authn` look there; `gate` and `portal` choose their words.

/// One place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenLocation {
    /// `access_token_cookie`. A browser sends it by itself, so what changes something needs its double as well.
    Cookie,
    /// `Authorization: Bearer`.
    Header,
    /// The parameter `jwt`.
    Query,
}

impl TokenLocation {
    /// As the configuration writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cookie => "cookie",
            Self::Header => "header",
            Self::Query => "query",
        }
    }
}

/// The places where a route looks, in its order: the first that has a token decides.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenLocations {
    /// At least one, each once.
    listed: Vec<TokenLocation>,
    /// Asked for each request, so it is known beforehand.
    elsewhere: bool,
}

impl TokenLocations {
    /// These, in this order; one that is there already does not count again. None at all is the header alone.
    pub fn new(listed: impl IntoIterator<Item = TokenLocation>) -> Self {
        let mut found = Vec::new();
        for location in listed {
            if !found.contains(&location) {
                found.push(location);
            }
        }
        if found.is_empty() {
            found.push(TokenLocation::Header);
        }
        let elsewhere = found != [TokenLocation::Header];
        Self { listed: found, elsewhere }
    }

    /// Whether a token may stand anywhere but in the header.
    pub fn elsewhere(&self) -> bool {
        self.elsewhere
    }

    /// Whether one may stand here.
    pub fn has(&self, location: TokenLocation) -> bool {
        self.listed.contains(&location)
    }

    /// Each, in order.
    pub fn iter(&self) -> impl Iterator<Item = TokenLocation> {
        self.listed.iter().copied()
    }
}

/// The header alone.
impl Default for TokenLocations {
    fn default() -> Self {
        Self::new([])
    }
}

/// In which words a program is told that its token does not do (`tokens.errors` in the configuration).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TokenErrors {
    /// Status and member `msg` of Flask-JWT-Extended.
    Flask,
    /// RFC 6749, RFC 6750 and RFC 9457.
    #[default]
    Problem,
}

#[cfg(test)]
mod tests {
    use super::TokenLocation::{Cookie, Header, Query};
    use super::*;

    #[test]
    fn the_header_alone_is_nowhere_else() {
        assert!(!TokenLocations::default().elsewhere());
        assert_eq!(TokenLocations::new([Header, Header]), TokenLocations::default());
        for listed in [vec![Cookie], vec![Query], vec![Header, Cookie], vec![Query, Header]] {
            let locations = TokenLocations::new(listed.clone());
            assert!(locations.elsewhere(), "{listed:?}");
            assert_eq!(locations.iter().collect::<Vec<_>>(), listed);
        }
    }
}
