//! Tokens in cookies, for programs that run in a browser (`tokens.cookies`): set, shown again, and taken away.
//!
//! A script can't read the two that hold tokens, and has to send what stands in the other two, which no page elsewhere can
//! read. Tokens that were shown in a cookie are never told in a body: a script that somebody slipped in could carry them
//! away.
//!
//! Callers: the portal's token endpoints, its login and its logout.

use http::Response;
use secrecy::{ExposeSecret, SecretString};

use crate::account::{IssuedToken, RevokeFailure};
use crate::authn::TokenRefusal;
use crate::authn::location::{self, Shown};
use crate::portal::{Portal, Visit, set_cookie};
use crate::request::Context;
use crate::response::Body;

/// Why there is no refresh token in a cookie that counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NoCookie {
    /// There is none.
    Missing,
    /// Two different ones, or its double is missing or another's.
    Refused(TokenRefusal),
}

/// The cookies for these tokens. Where there is no refresh token, one from before goes.
pub(super) fn set(portal: &Portal, response: &mut Response<Body>, issued: &IssuedToken) {
    let access = issued.access_token.expose_secret();
    let refresh = issued.refresh_token.as_ref();
    let pairs = [
        (location::ACCESS_COOKIE, access.to_owned()),
        (location::ACCESS_CSRF_COOKIE, location::access_double(access.as_bytes()).unwrap_or_default()),
        (location::REFRESH_COOKIE, refresh.map(|token| token.expose_secret().to_owned()).unwrap_or_default()),
        (location::REFRESH_CSRF_COOKIE, refresh.map(location::refresh_double).unwrap_or_default()),
    ];
    for (name, value) in pairs {
        set_cookie(response, location::set_cookie(portal.authenticator.sessions(), name, &value));
    }
}

/// Whether a browser shows any that are ours.
pub(super) fn are_shown(portal: &Portal, visit: &Visit<'_>) -> bool {
    let shown = |name: &&str| location::cookie(visit.headers, name) != Shown::Nothing;
    portal.gives_cookies() && location::COOKIES.iter().any(shown)
}

/// Takes away those that a browser has shown.
pub(in crate::portal) fn clear(portal: &Portal, visit: &Visit<'_>, response: &mut Response<Body>) {
    if are_shown(portal, visit) {
        for name in location::COOKIES {
            set_cookie(response, location::set_cookie(portal.authenticator.sessions(), name, ""));
        }
    }
}

/// Ends the tokens that a browser has shown in cookies. That no other site made it is asked before. With `has_ended` its
/// session has ended already.
pub(in crate::portal) async fn end(
    portal: &Portal,
    visit: &Visit<'_>,
    mut has_ended: bool,
) -> Result<(), RevokeFailure> {
    if !portal.gives_cookies() {
        return Ok(());
    }
    let Context { client, received_at, .. } = *visit.context;
    for name in [location::REFRESH_COOKIE, location::ACCESS_COOKIE] {
        if let Shown::Token(token) = location::cookie(visit.headers, name)
            && let Ok(token) = std::str::from_utf8(token)
        {
            let token = SecretString::from(token.to_owned());
            match portal.accounts.revoke_token(&token, client, received_at).await {
                Ok(ended) => has_ended |= ended,
                // Whoever is signed out is told so, and the cookies go: that one ends by itself, and soon.
                Err(RevokeFailure::Braked { .. }) if has_ended => {}
                Err(failure) => return Err(failure),
            }
        }
    }
    Ok(())
}

/// The refresh token in the cookie, if what has to be sent beside it was.
pub(super) fn refresh_token(portal: &Portal, visit: &Visit<'_>) -> Result<SecretString, NoCookie> {
    if !portal.gives_cookies() {
        return Err(NoCookie::Missing);
    }
    let token = match location::cookie(visit.headers, location::REFRESH_COOKIE) {
        Shown::Nothing => return Err(NoCookie::Missing),
        Shown::Several => return Err(NoCookie::Refused(TokenRefusal::Conflict)),
        // What is no text is no token either, whatever is sent beside it.
        Shown::Token(token) => SecretString::from(String::from_utf8_lossy(token).into_owned()),
    };
    let sent = location::csrf_field(visit.headers).ok_or(NoCookie::Refused(TokenRefusal::CsrfMissing))?;
    let expected = location::refresh_double(&token);
    location::check_double(Some(&expected), sent).map_err(NoCookie::Refused)?;
    Ok(token)
}
