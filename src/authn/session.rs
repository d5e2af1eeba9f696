//! Session cookies: minting them, reading them, and how they look.
//!
//! A session is a random token held by the browser. We keep only its digest, so a copied store is
//! not a set of working cookies.
//!
//! Callers: `authn` reads; `account` mints and takes away. The portal and the proxy never come here:
//! one asks `account`, the other is handed a finished `Permit`.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use memchr::memchr;
use secrecy::{ExposeSecret, SecretString};

use crate::store::Session;

/// Characters of a token: 256 bits in base64url.
const TOKEN_LENGTH: usize = 43;
/// Values of our cookie on one request that are ended together; each is a write to the store.
const COOKIES: usize = 8;

/// How long sessions live (`session` in the configuration).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SessionSettings {
    /// `Domain` of the cookie; `None` for a host-only one.
    pub cookie_domain: Option<String>,
    /// The cookie's name as the browser has it, prefix included.
    pub cookie_name: String,
    /// Ends a session that isn't used.
    pub idle_timeout: Duration,
    /// Ends every session.
    pub lifetime: Duration,
    /// Both limits with "remember me" ticked; `None` takes the box away.
    pub remember: Option<Duration>,
    /// `SameSite` of the cookie.
    pub same_site: SameSite,
    /// Whether the cookie is `Secure`.
    pub secure: bool,
}

impl SessionSettings {
    /// A session under the limits of today: where they have become shorter, it ends sooner than it was begun to.
    pub fn bounded(&self, session: Session) -> Session {
        let longest = self.remember.filter(|_| session.remembered);
        let ends = session.authenticated_at + longest.unwrap_or(self.lifetime);
        Session {
            expires_at: session.expires_at.min(ends),
            idle_timeout: session.idle_timeout.min(longest.unwrap_or(self.idle_timeout)),
            ..session
        }
    }
}

/// `SameSite` of our cookie.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SameSite {
    /// The default.
    Lax,
    /// For embedding on other sites; the browser asks for `Secure` then.
    None,
    /// Not sent on any navigation from another site.
    Strict,
}

/// A new token: 256 random bits.
pub fn mint() -> SecretString {
    let mut random = [0; 32];
    getrandom::fill(&mut random).expect("the operating system gives random bytes");
    URL_SAFE_NO_PAD.encode(random).into()
}

/// The value of our cookie, if there is exactly one that could be a token of ours.
///
/// Two different values count as none: one of them was put there by somebody else, and nobody can
/// say which.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = values(headers, name);
    let found = values.next()?;
    if values.any(|value| value != found) {
        return None;
    }
    std::str::from_utf8(found).ok().filter(|value| value.len() == TOKEN_LENGTH)
}

/// All values of our cookie that could be tokens of ours, each once, eight at most: for signing out,
/// where a planted one beside ours must not keep it alive.
pub fn cookies<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for value in values(headers, name).filter_map(|value| std::str::from_utf8(value).ok()) {
        if value.len() == TOKEN_LENGTH && found.len() < COOKIES && !found.contains(&value) {
            found.push(value);
        }
    }
    found
}

/// Every value that a browser shows under this name.
pub(super) fn values<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    lines
        .flat_map(pairs)
        .filter_map(move |pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// What stands between the semicolons of a line.
fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let (pair, behind) = match memchr(b';', line) {
            Some(end) => (&line[..end], Some(&line[end + 1..])),
            None => (line, None),
        };
        rest = behind;
        Some(pair)
    })
}

/// Whether a session's time is not over.
pub fn is_live(session: &Session, now: SystemTime) -> bool {
    now < session.expires_at && now < session.last_seen + session.idle_timeout
}

/// `Set-Cookie` for a new session (RFC 6265bis §4.1). Without "remember me" it ends with the browser.
pub fn set_cookie(settings: &SessionSettings, token: &SecretString, remembered: bool) -> HeaderValue {
    let max_age = settings.remember.filter(|_| remembered);
    build_cookie(settings, token.expose_secret(), max_age)
}

/// `Set-Cookie` that takes the cookie away.
pub fn remove_cookie(settings: &SessionSettings) -> HeaderValue {
    build_cookie(settings, "", Some(Duration::ZERO))
}

fn build_cookie(settings: &SessionSettings, value: &str, max_age: Option<Duration>) -> HeaderValue {
    let mut cookie = format!("{}={value}; Path=/; HttpOnly{}", settings.cookie_name, attributes(settings));
    if let Some(age) = max_age {
        cookie += &format!("; Max-Age={}", age.as_secs());
    }
    let mut header = HeaderValue::try_from(cookie).expect("the configuration holds a sound name and domain");
    header.set_sensitive(true);
    header
}

/// What every cookie that lets somebody in carries, with a leading semicolon.
pub(super) fn attributes(settings: &SessionSettings) -> String {
    let same_site = match settings.same_site {
        SameSite::Lax => "Lax",
        SameSite::None => "None",
        SameSite::Strict => "Strict",
    };
    let mut attributes = format!("; SameSite={same_site}");
    if settings.secure {
        attributes += "; Secure";
    }
    if let Some(domain) = &settings.cookie_domain {
        attributes += &format!("; Domain={domain}");
    }
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const OTHER: &str = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";

    fn read(lines: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_str(line).expect("a header value"));
        }
        cookie(&headers, "foregate").map(str::to_owned)
    }

    #[test]
    fn our_cookie_is_found_among_others() {
        let ours = format!("foregate={TOKEN}");
        let cases: [(&[&str], bool); 12] = [
            (&[&ours], true),
            (&[&format!("a=b; {ours}; c=d")], true),
            (&["a=b", &ours], true),
            (&[&format!("a=b;{ours}")], true),
            (&[&format!("{ours}; {ours}")], true),
            (&[&format!("{ours}; foregate={OTHER}")], false),
            (&[&ours, &format!("foregate={OTHER}")], false),
            (&[&format!("foregate={TOKEN}x")], false),
            (&["foregate="], false),
            (&[&format!("Foregate={TOKEN}")], false),
            (&[&format!("xforegate={TOKEN}")], false),
            (&[&format!("=foregate={TOKEN}")], false),
        ];
        for (lines, found) in cases {
            assert_eq!(read(lines).is_some(), found, "{lines:?}");
        }
    }

    #[test]
    fn for_signing_out_every_token_counts_once_and_eight_at_most() {
        let read = |line: &str| {
            let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(line).expect("a value"))]);
            cookies(&headers, "foregate").into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        let twice = format!("foregate={TOKEN}; a=b; foregate=short; foregate={OTHER}; foregate={TOKEN}");
        assert_eq!(read(&twice), [TOKEN, OTHER]);
        assert!(read("foregate=; xforegate=y").is_empty());
        let many: String = (0..100).map(|n| format!("foregate={n:043}; ")).collect();
        assert_eq!(read(&many).len(), COOKIES);
    }

    #[test]
    fn the_cookie_says_what_the_settings_say() {
        let mut settings = SessionSettings {
            cookie_domain: None,
            cookie_name: "__Host-foregate".to_owned(),
            idle_timeout: Duration::from_secs(1),
            lifetime: Duration::from_secs(2),
            remember: Some(Duration::from_secs(60)),
            same_site: SameSite::Lax,
            secure: true,
        };
        let cookie = |settings: &SessionSettings, remembered| {
            set_cookie(settings, &"x".into(), remembered).to_str().expect("ASCII").to_owned()
        };
        assert_eq!(cookie(&settings, false), "__Host-foregate=x; Path=/; HttpOnly; SameSite=Lax; Secure");
        assert!(cookie(&settings, true).ends_with("; Max-Age=60"));
        settings.cookie_domain = Some("example.com".to_owned());
        assert!(cookie(&settings, false).ends_with("; Domain=example.com"));
        assert!(remove_cookie(&settings).to_str().expect("ASCII").contains("=; Path=/"));
        assert!(remove_cookie(&settings).is_sensitive());
    }

    #[test]
    fn tokens_differ_and_have_their_length() {
        let (one, two) = (mint(), mint());
        assert_eq!(one.expose_secret().len(), TOKEN_LENGTH);
        assert_ne!(one.expose_secret(), two.expose_secret());
    }
}
