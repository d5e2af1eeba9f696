//! Links to our own pages. Only `Links` makes one, from `public_url` and the portal's prefix, so that no
//! mail leads anywhere else.
//!
//! Callers: `account` makes the links of its mails; `words` shows them.

use std::fmt;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

/// Where links to our pages begin. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Links {
    base: Arc<str>,
    site: Arc<str>,
}

/// A link to one of our pages. It may hold a one-time token: no `Debug`, log line or error shows it.
#[derive(Clone, Deserialize, Serialize)]
pub struct Link(String);

impl Links {
    /// `https://login.example.com` and `/.auth`.
    pub fn new(origin: &str, prefix: &str) -> Self {
        let origin = origin.trim_end_matches('/');
        let site = origin.split_once("://").map_or(origin, |(_, authority)| authority);
        Self { base: format!("{origin}{prefix}").into(), site: site.into() }
    }

    /// What people know the site by: its host, with a port where it has an unusual one.
    pub fn site(&self) -> &str {
        &self.site
    }

    /// The page that confirms an address.
    pub fn confirm(&self, token: &SecretString) -> Link {
        self.with_token("confirm?token", token)
    }

    /// The page that sets a password.
    pub fn reset(&self, token: &SecretString) -> Link {
        self.with_token("reset?token", token)
    }

    /// The page on which somebody who was invited registers.
    pub fn invitation(&self, token: &SecretString) -> Link {
        self.with_token("register?invitation", token)
    }

    /// The login page.
    pub fn login(&self) -> Link {
        self.page("login")
    }

    /// The page for who has forgotten a password.
    pub fn forgot(&self) -> Link {
        self.page("forgot")
    }

    /// The account page.
    pub fn account(&self) -> Link {
        self.page("account")
    }

    fn page(&self, page: &str) -> Link {
        Link(format!("{}/{page}", self.base))
    }

    fn with_token(&self, page: &str, token: &SecretString) -> Link {
        // A token is base64url: nothing in it has to be escaped.
        Link(format!("{}/{page}={}", self.base, token.expose_secret()))
    }
}

impl Link {
    /// The URL: for the mail, or for whoever asked for a link to hand on.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_begin_with_the_public_url_and_are_not_shown() {
        let links = Links::new("https://login.example.com:8443/", "/.auth");
        let link = links.reset(&"t0ken".into());
        assert_eq!(link.expose(), "https://login.example.com:8443/.auth/reset?token=t0ken");
        assert_eq!(links.login().expose(), "https://login.example.com:8443/.auth/login");
        assert_eq!(links.site(), "login.example.com:8443");
        assert!(!format!("{link:?}").contains("t0ken"));
    }
}
