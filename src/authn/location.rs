//! Tokens in other places than the `Authorization` header: a cookie, a parameter of the query.
//!
//! Names and rules are those of Flask-JWT-Extended. The first of the places that a route lists and in which a token stands
//! decides; one that is good and somebody else's in a later place makes the request one without a meaning. A cookie
//! is sent by the browser itself, whoever made it send the request, so with a method that changes something the claim
//! `csrf` of its token has to be sent as well, in a header that no other site can set. That is asked on each request,
//! whether or not the token is known already.
//!
//! What is shown here is a JWT and nothing else: a personal access token lives for long, and addresses and cookies are
//! kept in more places than headers are.
//!
//! Callers: `gate`, for routes that list such places; `portal`, which sets the cookies. Where the query's parameter stands is
//! `request`'s.

use std::collections::BTreeSet;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::bearer::Compact;
use super::{
    Asker, Authentication, AuthenticationError, Authenticator, Rejection, SessionSettings, TokenRefusal,
    personal, rejected as refused, session, split_scheme,
};
use crate::identity::{Credential, Identity, TokenLocation, TokenLocations};

/// An access token in a cookie.
pub const ACCESS_COOKIE: &str = "access_token_cookie";
/// What has to be sent beside it, for scripts to read.
pub const ACCESS_CSRF_COOKIE: &str = "csrf_access_token";
/// A refresh token in a cookie.
pub const REFRESH_COOKIE: &str = "refresh_token_cookie";
/// What has to be sent beside it, for scripts to read.
pub const REFRESH_CSRF_COOKIE: &str = "csrf_refresh_token";
/// All of them.
pub const COOKIES: [&str; 4] = [ACCESS_COOKIE, ACCESS_CSRF_COOKIE, REFRESH_COOKIE, REFRESH_CSRF_COOKIE];
/// The parameter of a query that is a token.
pub const PARAMETER: &str = "jwt";
/// In which the double of a cookie is sent.
pub const CSRF_HEADER: HeaderName = HeaderName::from_static("x-csrf-token");

/// Of a refresh token's double: as much as of a session.
const DOUBLE_BYTES: usize = 32;

/// What stands in one place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shown<'a> {
    /// Nothing.
    Nothing,
    /// A token, good or not.
    Token(&'a [u8]),
    /// Two, and nobody can say which is meant.
    Several,
}

/// A request, as far as its tokens are concerned.
#[derive(Clone, Copy, Debug)]
pub struct Showing<'a> {
    /// Whether a cookie counts only with its double beside it.
    pub doubled: bool,
    /// Its fields.
    pub headers: &'a HeaderMap,
    /// Where to look.
    pub locations: &'a TokenLocations,
    /// What the query shows, where it is looked at.
    pub query: Shown<'a>,
}

/// What came of it.
#[derive(Debug)]
pub struct Located {
    /// Whose it is, or why it is nobody's.
    pub authentication: Authentication,
    /// Where the token stands that decided; none where none did.
    pub location: Option<TokenLocation>,
}

impl From<Authentication> for Located {
    fn from(authentication: Authentication) -> Self {
        Self { authentication, location: None }
    }
}

/// The claim that a cookie's double repeats.
#[derive(Deserialize)]
struct CsrfClaim {
    csrf: Option<String>,
}

impl Authenticator {
    /// As `authenticate`, with tokens in all of these places. A Basic pair, where it is accepted, comes before them, and a
    /// session after.
    pub async fn authenticate_located(
        &self,
        showing: &Showing<'_>,
        accepted: &BTreeSet<Credential>,
        asker: Asker,
    ) -> Result<Located, AuthenticationError> {
        let without_tokens = || -> BTreeSet<_> {
            accepted.iter().copied().filter(|credential| *credential != Credential::Bearer).collect()
        };
        let basic =
            showing.headers.get(AUTHORIZATION).is_some_and(|value| has_scheme(value.as_bytes(), b"basic"));
        if !accepted.contains(&Credential::Bearer) || (basic && accepted.contains(&Credential::Basic)) {
            return Ok(self.authenticate(showing.headers, &without_tokens(), asker).await?.into());
        }
        let mut shown = showing.locations.iter().map(|location| (location, showing.at(location)));
        let Some((location, first)) = shown.find(|(_, shown)| *shown != Shown::Nothing) else {
            return Ok(self.authenticate(showing.headers, &without_tokens(), asker).await?.into());
        };
        let located = |authentication| Located { authentication, location: Some(location) };
        let rejected = |refusal| Ok(located(refused(refusal)));
        // Browsers keep old cookies and show them by themselves, and none must hide that somebody has signed in since: where
        // what stands there does not count, a good session decides.
        let or_session = |bad: Authentication| {
            if location == TokenLocation::Cookie
                && accepted.contains(&Credential::Session)
                && let verified @ Authentication::Verified(_) = self.session(showing.headers, asker)?
            {
                return Ok(verified.into());
            }
            Ok(located(bad))
        };
        let Shown::Token(token) = first else { return or_session(refused(TokenRefusal::Conflict)) };
        // Before anything is said about the token: who has not sent its double may be another site.
        let by_itself = showing.doubled && location == TokenLocation::Cookie;
        let double = match by_itself {
            true => match csrf_field(showing.headers) {
                Some(double) => Some(double),
                // A form of a page has none. Where a session counts, it is asked whether another site sent it.
                None => return or_session(refused(TokenRefusal::CsrfMissing)),
            },
            false => None,
        };
        let identity = match self.shown_token(location, token, asker).await? {
            Authentication::Verified(identity) => identity,
            // One that is not looked at, because too many forged ones came from its source, counts as little as a bad one.
            bad @ Authentication::Rejected(Rejection::Bearer(_) | Rejection::Limited { .. }) => {
                return or_session(bad);
            }
            bad @ (Authentication::Absent | Authentication::Rejected(Rejection::Basic)) => {
                return Ok(located(bad));
            }
        };
        if let Some(double) = double
            && let Err(refusal) = check_double(access_double(token).as_deref(), double)
        {
            return rejected(refusal);
        }
        for (other, shown) in shown {
            match shown {
                Shown::Nothing => {}
                Shown::Several => return rejected(TokenRefusal::Conflict),
                Shown::Token(same) if same == token => {}
                // One that has expired is a remainder.
                Shown::Token(another) => {
                    if let Authentication::Verified(other) = self.shown_token(other, another, asker).await?
                        && !is_same(&identity, &other)
                    {
                        return rejected(TokenRefusal::Conflict);
                    }
                }
            }
        }
        Ok(located(Authentication::Verified(identity)))
    }

    /// Under the same rules as one in the header, and found in the same cache.
    async fn shown_token(
        &self,
        location: TokenLocation,
        token: &[u8],
        asker: Asker,
    ) -> Result<Authentication, AuthenticationError> {
        if location != TokenLocation::Header && token.starts_with(personal::PREFIX.as_bytes()) {
            return Ok(Authentication::Rejected(Rejection::Bearer(TokenRefusal::Invalid)));
        }
        self.bearer(&[b"Bearer ", token].concat(), token, asker).await
    }
}

impl<'a> Showing<'a> {
    fn at(&self, location: TokenLocation) -> Shown<'a> {
        match location {
            TokenLocation::Cookie => cookie(self.headers, ACCESS_COOKIE),
            TokenLocation::Header => header(self.headers),
            TokenLocation::Query => self.query,
        }
    }
}

/// The value of a cookie; the same one twice is one.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Shown<'a> {
    let mut values = session::values(headers, name).map(<[u8]>::trim_ascii).filter(|value| !value.is_empty());
    let Some(first) = values.next() else { return Shown::Nothing };
    if values.all(|value| value == first) { Shown::Token(first) } else { Shown::Several }
}

fn header(headers: &HeaderMap) -> Shown<'_> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let Some(first) = fields.next().filter(|value| has_scheme(value.as_bytes(), b"bearer")) else {
        return Shown::Nothing;
    };
    // As in `authenticate`: two have no one meaning.
    if fields.next().is_some() {
        return Shown::Several;
    }
    Shown::Token(split_scheme(first.as_bytes()).1)
}

fn has_scheme(value: &[u8], scheme: &[u8]) -> bool {
    split_scheme(value).0.eq_ignore_ascii_case(scheme)
}

/// What was sent beside a cookie: one field that is not empty.
pub fn csrf_field(headers: &HeaderMap) -> Option<&[u8]> {
    let mut fields = headers.get_all(&CSRF_HEADER).iter();
    let first = fields.next().filter(|_| fields.next().is_none());
    first.map(|value| value.as_bytes().trim_ascii()).filter(|value| !value.is_empty())
}

/// What has to be sent beside an access token. It was verified or is our own, so what stands in it is what was signed.
pub fn access_double(token: &[u8]) -> Option<String> {
    let payload = Compact::split(token).and_then(|parts| parts.payload());
    let claim = payload.ok().and_then(|payload| serde_json::from_slice::<CsrfClaim>(&payload).ok());
    claim.and_then(|claim| claim.csrf).filter(|claim| !claim.is_empty())
}

/// What has to be sent beside a refresh token: it follows from it, and does not lead back.
pub fn refresh_double(token: &SecretString) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.expose_secret().as_bytes());
    let tag = hmac::sign(&key, b"foregate refresh double\0");
    URL_SAFE_NO_PAD.encode(&tag.as_ref()[..DOUBLE_BYTES])
}

/// Whether one that was sent is the one that has to be.
pub fn check_double(expected: Option<&str>, sent: &[u8]) -> Result<(), TokenRefusal> {
    let expected = expected.ok_or(TokenRefusal::NoCsrfClaim)?;
    verify_slices_are_equal(expected.as_bytes(), sent).map_err(|_| TokenRefusal::CsrfMismatch)
}

/// `Set-Cookie` for a token and for its double, which scripts read; an empty value takes one away. Domain, `SameSite` and
/// `Secure` are the session cookie's; it ends with the browser.
pub fn set_cookie(settings: &SessionSettings, name: &str, value: &str) -> Option<HeaderValue> {
    let hidden = if matches!(name, ACCESS_COOKIE | REFRESH_COOKIE) { "; HttpOnly" } else { "" };
    let end = if value.is_empty() { "; Max-Age=0" } else { "" };
    let text = format!("{name}={value}; Path=/{hidden}{}{end}", session::attributes(settings));
    let mut cookie = HeaderValue::try_from(text).ok()?;
    cookie.set_sensitive(true);
    Some(cookie)
}

fn is_same(one: &Identity, other: &Identity) -> bool {
    one.principal == other.principal
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;

    use super::*;

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.clone(), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn one_place_shows_one_token() {
        let token = Shown::Token(b"x");
        for (lines, expected) in [
            (&["access_token_cookie=x"][..], token),
            (&["a=1; access_token_cookie=x; b=2"], token),
            (&["access_token_cookie=x; access_token_cookie=x"], token),
            (&["access_token_cookie=x; access_token_cookie=y"], Shown::Several),
            (&["access_token_cookie=x", "access_token_cookie=y"], Shown::Several),
            (&["access_token_cookie=; access_token_cookie=x"], token),
            (&["access_token_cookie="], Shown::Nothing),
            (&["xaccess_token_cookie=x"], Shown::Nothing),
            (&["access_token_cookie2=x"], Shown::Nothing),
            (&["=access_token_cookie=x"], Shown::Nothing),
            (&["Access_Token_Cookie=x"], Shown::Nothing),
        ] {
            let fields: Vec<_> = lines.iter().map(|line| (COOKIE, *line)).collect();
            assert_eq!(cookie(&headers(&fields), ACCESS_COOKIE), expected, "{lines:?}");
        }
        for (lines, expected) in [
            (&["Bearer x"][..], token),
            (&["bearer  x"], token),
            (&["Bearer x", "Bearer x"], Shown::Several),
            (&["Basic x"], Shown::Nothing),
            (&["Bearer"], Shown::Token(b"")),
        ] {
            let fields: Vec<_> = lines.iter().map(|line| (AUTHORIZATION, *line)).collect();
            assert_eq!(header(&headers(&fields)), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_double_is_the_claim_to_the_letter() {
        let token = |claims: &str| format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims));
        for (claims, double, expected) in [
            (r#"{"csrf":"abc"}"#, "abc", Ok(())),
            (r#"{"csrf":"abc"}"#, "abd", Err(TokenRefusal::CsrfMismatch)),
            (r#"{"csrf":"abc"}"#, "ab", Err(TokenRefusal::CsrfMismatch)),
            (r#"{"csrf":"abc"}"#, "abc ", Err(TokenRefusal::CsrfMismatch)),
            ("{}", "abc", Err(TokenRefusal::NoCsrfClaim)),
            (r#"{"csrf":""}"#, "abc", Err(TokenRefusal::NoCsrfClaim)),
            (r#"{"csrf":null}"#, "null", Err(TokenRefusal::NoCsrfClaim)),
            (r#"{"csrf":1}"#, "1", Err(TokenRefusal::NoCsrfClaim)),
        ] {
            assert_eq!(
                check_double(access_double(token(claims).as_bytes()).as_deref(), double.as_bytes()),
                expected,
                "{claims} {double}"
            );
        }
        let field = |values: &[&str]| {
            let fields: Vec<_> = values.iter().map(|value| (CSRF_HEADER, *value)).collect();
            csrf_field(&headers(&fields)).map(<[u8]>::to_vec)
        };
        assert_eq!(field(&["abc"]), Some(b"abc".to_vec()));
        for none in [&[][..], &[""], &["  "], &["abc", "abc"]] {
            assert_eq!(field(none), None, "{none:?}");
        }
    }
}
