//! Tokens in our forms, so that only a page of ours can send them.
//!
//! A browser that sees a form gets a random cookie first, before anybody is signed in. The form's
//! token is a MAC over that cookie and the time; a form counts only with the two together, and not
//! for longer than half a day. Nothing is kept on the server.
//!
//! Callers: the portal's pages with forms. What `Origin` says is asked in `origin` besides.

use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue};
use secrecy::ExposeSecret;

use crate::authn::session;

/// A page that was left open longer gets a fresh form.
const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// Clocks of several instances differ a little.
const SKEW: Duration = Duration::from_secs(60);

const TIME_BYTES: usize = 8;

/// Makes and checks the tokens.
pub(crate) struct Csrf {
    cookie_name: &'static str,
    key: hmac::Key,
    secure: bool,
}

/// What a page with a form needs.
pub(crate) struct FormToken {
    /// For a browser that doesn't have the cookie yet.
    pub(crate) set_cookie: Option<HeaderValue>,
    /// For the hidden field.
    pub(crate) token: String,
}

impl Csrf {
    /// The name of the cookie that the tokens are bound to.
    pub(crate) fn cookie_name(secure: bool) -> &'static str {
        if secure { "__Host-foregate-csrf" } else { "foregate-csrf" }
    }

    /// `secure`: browsers reach us over https.
    pub(crate) fn new(key: [u8; 32], secure: bool) -> Self {
        let cookie_name = Self::cookie_name(secure);
        Self { cookie_name, key: hmac::Key::new(hmac::HMAC_SHA256, &key), secure }
    }

    /// A token for the browser with these headers. Its cookie stays, so that its other tabs go on working.
    pub(crate) fn issue(&self, headers: &HeaderMap, now: SystemTime) -> FormToken {
        let known = session::cookie(headers, self.cookie_name);
        let (value, set_cookie) = match known {
            Some(value) => (value.to_owned(), None),
            None => {
                let value = session::mint().expose_secret().to_owned();
                let secure = if self.secure { "; Secure" } else { "" };
                let set = format!("{}={value}; Path=/; HttpOnly; SameSite=Lax{secure}", self.cookie_name);
                (value, HeaderValue::try_from(set).ok())
            }
        };
        let time = seconds(now).to_be_bytes();
        let mac = hmac::sign(&self.key, &message(time, &value));
        let token = URL_SAFE_NO_PAD.encode([time.as_slice(), mac.as_ref()].concat());
        FormToken { set_cookie, token }
    }

    /// Whether this token was made for this browser, by us, and not too long ago.
    pub(crate) fn holds(&self, headers: &HeaderMap, token: &str, now: SystemTime) -> bool {
        let Some(value) = session::cookie(headers, self.cookie_name) else {
            return false;
        };
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(token) else { return false };
        let Some((time, mac)) = bytes.split_first_chunk::<TIME_BYTES>() else { return false };
        // `verify` compares in constant time. The time is believed only after it.
        if hmac::verify(&self.key, &message(*time, value), mac).is_err() {
            return false;
        }
        let (made, now) = (u64::from_be_bytes(*time), seconds(now));
        made <= now + SKEW.as_secs() && now <= made + LIFETIME.as_secs()
    }
}

/// The key makes other tokens some day: the first word keeps these apart.
fn message(time: [u8; TIME_BYTES], value: &str) -> Vec<u8> {
    [b"foregate form\0".as_slice(), &time, value.as_bytes()].concat()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;

    use super::*;

    const NOON: SystemTime = SystemTime::UNIX_EPOCH;

    fn at(hours: u64) -> SystemTime {
        NOON + Duration::from_secs(hours * 3600)
    }

    fn with_cookie(cookie: &str) -> HeaderMap {
        HeaderMap::from_iter([(COOKIE, cookie.parse().expect("a header value"))])
    }

    /// A browser that has just seen a form: its headers, and the token.
    fn browser(csrf: &Csrf, now: SystemTime) -> (HeaderMap, String) {
        let issued = csrf.issue(&HeaderMap::new(), now);
        let set_cookie = issued.set_cookie.expect("a new browser gets a cookie");
        let cookie = set_cookie.to_str().expect("ASCII").split(';').next().expect("a pair").to_owned();
        (with_cookie(&cookie), issued.token)
    }

    #[test]
    fn a_token_holds_for_its_browser_its_key_and_its_time() {
        let csrf = Csrf::new([7; 32], true);
        let (headers, token) = browser(&csrf, at(20));
        let (other_headers, other_token) = browser(&csrf, at(20));
        let mut altered = token.clone().into_bytes();
        altered[20] = if altered[20] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).expect("ASCII");
        let cases = [
            ("its own", &csrf, &headers, token.as_str(), at(20), true),
            ("after twelve hours", &csrf, &headers, &token, at(32), true),
            ("after thirteen", &csrf, &headers, &token, at(33), false),
            ("before it was made", &csrf, &headers, &token, at(19), false),
            ("another browser's cookie", &csrf, &other_headers, &token, at(20), false),
            ("another browser's token", &csrf, &headers, &other_token, at(20), false),
            ("another key", &Csrf::new([8; 32], true), &headers, &token, at(20), false),
            ("altered", &csrf, &headers, &altered, at(20), false),
            ("cut", &csrf, &headers, &token[..token.len() - 4], at(20), false),
            ("empty", &csrf, &headers, "", at(20), false),
            ("not base64", &csrf, &headers, "é", at(20), false),
            ("without a cookie", &csrf, &HeaderMap::new(), &token, at(20), false),
        ];
        for (what, csrf, headers, token, now, expected) in cases {
            assert_eq!(csrf.holds(headers, token, now), expected, "{what}");
        }
    }

    #[test]
    fn the_cookie_is_kept_if_it_is_one() {
        let csrf = Csrf::new([7; 32], false);
        let (headers, _) = browser(&csrf, NOON);
        assert!(csrf.issue(&headers, NOON).set_cookie.is_none());
        for odd in ["foregate-csrf=short", "foregate-csrf=", "other=x"] {
            assert!(csrf.issue(&with_cookie(odd), NOON).set_cookie.is_some(), "{odd}");
        }
    }

    #[test]
    fn over_https_the_cookie_belongs_to_this_host_alone() {
        for (secure, start, rest) in [
            (true, "__Host-foregate-csrf=", "; Path=/; HttpOnly; SameSite=Lax; Secure"),
            (false, "foregate-csrf=", "; Path=/; HttpOnly; SameSite=Lax"),
        ] {
            let issued = Csrf::new([7; 32], secure).issue(&HeaderMap::new(), NOON);
            let cookie = issued.set_cookie.expect("a cookie");
            let cookie = cookie.to_str().expect("ASCII");
            assert!(cookie.starts_with(start) && cookie.ends_with(rest), "{cookie}");
        }
    }
}
