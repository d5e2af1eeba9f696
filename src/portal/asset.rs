//! `/theme/NAME`: the pictures and fonts of a theme.
//!
//! Callers: the portal's dispatch.

use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, IF_NONE_MATCH};
use http::{HeaderValue, Response, StatusCode};

use super::operation::answer::Answer;
use super::operation::{Credential, Description, Offered};
use super::{Portal, Visit};
use crate::response::{Body, Problem};

pub(super) const ANSWER: Description = Description {
    about: "A picture or a font of the theme.",
    answers: &[
        Answer::kept("*/*", "The file."),
        Answer::known(),
        Answer::problem(StatusCode::BAD_REQUEST, &["bad_request"], "The address is not sound."),
        Answer::problem(StatusCode::NOT_FOUND, &["not_found"], "There is none of this name."),
    ],
    body: None,
    credential: Credential::None,
    id: "asset",
    offered: Offered::Always,
    query: &[],
};

pub(super) fn answer(portal: &Portal, visit: &Visit<'_>, name: &str) -> Result<Response<Body>, Problem> {
    let asset = portal.pages.asset(name).ok_or_else(Problem::not_found)?;
    let known = visit.headers.get_all(IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    let known = known
        .flat_map(|line| line.split(','))
        .any(|tag| tag.trim().trim_start_matches("W/") == asset.entity_tag);
    let mut response = match known {
        true => visit.asker.status(StatusCode::NOT_MODIFIED),
        false => visit.asker.answer(StatusCode::OK, asset.kind, asset.bytes.clone()),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    // Opened by itself a picture is a document of this origin: nothing in it may run.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; sandbox";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    if let Ok(tag) = HeaderValue::try_from(asset.entity_tag.as_str()) {
        headers.insert(ETAG, tag);
    }
    Ok(response)
}
