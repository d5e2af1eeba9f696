//! What verifiers and clients read about our tokens: the key set (RFC 7517), and where the endpoints are (RFC 8414).
//!
//! Both are the same for everybody and may be kept for five minutes, the time that a new key is published before it
//! signs.
//!
//! Callers: the portal's dispatch; `openapi` for a document of the same kind; `gateway` for the well-known path, where no route claims it.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::Portal;
use super::operation::answer::Answer;
use super::operation::{Credential, Description, Offered};
use crate::response::{Asker, Body};

/// RFC 8414 §3, outside of the prefix; under it as well.
pub(super) const PATH: &str = "/.well-known/oauth-authorization-server";

pub(super) const KEYS: Description = Description {
    about: "The public keys that access tokens are verified with (RFC 7517).",
    answers: &[Answer::kept("application/json", "The key set."), Answer::known()],
    body: None,
    credential: Credential::None,
    id: "keys",
    offered: Offered::Always,
    query: &[],
};

pub(super) const SERVER: Description = Description {
    about: "Where the token endpoints are (RFC 8414).",
    answers: &[Answer::kept("application/json", "The metadata."), Answer::known()],
    body: None,
    credential: Credential::None,
    id: "server",
    offered: Offered::Always,
    query: &[],
};

pub(super) fn keys(portal: &Portal, asker: &Asker, headers: &HeaderMap) -> Response<Body> {
    public(asker, headers, portal.authenticator.tokens().jwks().to_string())
}

pub(super) fn server(portal: &Portal, asker: &Asker, headers: &HeaderMap) -> Response<Body> {
    let tokens = portal.authenticator.tokens();
    let settings = tokens.settings();
    let base = format!("{}{}", portal.public_url, portal.settings.prefix);
    let grants: &[&str] =
        if settings.refresh_ttl.is_some() { &["password", "refresh_token"] } else { &["password"] };
    let document = serde_json::json!({
        "issuer": settings.issuer,
        "token_endpoint": format!("{base}/token"),
        "jwks_uri": format!("{base}/jwks.json"),
        "revocation_endpoint": format!("{base}/token/revoke"),
        "introspection_endpoint": format!("{base}/token/introspect"),
        "grant_types_supported": grants,
        // Required, and we have no authorization endpoint.
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
    });
    public(asker, headers, document.to_string())
}

/// With an `ETag`, to be kept for a while.
pub(super) fn public(asker: &Asker, headers: &HeaderMap, document: String) -> Response<Body> {
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest(&SHA256, document.as_bytes()).as_ref()[..12]));
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let known = known.flat_map(|value| value.split(',')).map(|one| one.trim().trim_start_matches("W/"));
    let is_known = known.into_iter().any(|one| one == tag || one == "*");
    let mut response = match is_known {
        true => asker.answer(StatusCode::NOT_MODIFIED, "application/json", String::new()),
        false => asker.answer(StatusCode::OK, "application/json", document),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    headers.insert(ETAG, HeaderValue::try_from(tag).expect("base64url in quotes"));
    response
}
