//! Answers of ours: the body type, problem details and their page twin, redirects, pages.
//!
//! Every answer made here says `no-store` and carries the request's id. One `Problem` is a page for
//! a person and RFC 9457 for a program; which of them is read off the request by `Asker`.
//!
//! Callers: every room from `authn` upwards. It imports nothing of ours, so what a page says about
//! a person or a place is handed in as text.

use http::header::{
    ACCEPT, ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, LOCATION, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use serde::Serialize;

mod body;
mod grpc;
pub mod look;
pub mod pages;
mod problem;
pub mod texts;
pub mod theme;

pub use body::{Body, BodyError};
pub use grpc::GRPC_STATUS;
pub use pages::{PageSettings, Pages, Prompt};
pub use problem::Problem;
pub(crate) use problem::{Details, retry_after_value};
use texts::{Language, Wish};

/// Names one request in the log, in the answer and in what a person quotes.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Header fields of an answer of ours; more are no fault.
const FIELDS: usize = 12;

/// What of a request shapes an answer of ours.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The content type of a gRPC call, whose refusals have a form of their own.
    call: Option<HeaderValue>,
    head: bool,
    html: Preference,
    language: Wish,
    request_id: HeaderValue,
}

/// Whether a page is wanted.
#[derive(Clone, Debug)]
enum Preference {
    Known(bool),
    /// The one line of `Accept`, to be read once an answer is ours to write: most are an upstream's.
    Line(HeaderValue),
}

/// The lines of one field, as far as they matter: more than one is rare.
#[derive(Clone, Copy)]
enum Lines<'h> {
    None,
    One(&'h HeaderValue),
    Several,
}

impl<'h> Lines<'h> {
    fn add(&mut self, line: &'h HeaderValue) {
        *self = match self {
            Self::None => Self::One(line),
            Self::One(_) | Self::Several => Self::Several,
        };
    }

    /// The only one, if any; an error where there are several.
    fn only(self) -> Result<Option<&'h HeaderValue>, ()> {
        match self {
            Self::None => Ok(None),
            Self::One(line) => Ok(Some(line)),
            Self::Several => Err(()),
        }
    }
}

impl Asker {
    /// Reads it off the request.
    pub fn new(method: &Method, headers: &HeaderMap, request_id: HeaderValue) -> Self {
        // In one pass: most requests are an upstream's to answer, and say little of what is looked for here.
        let [mut accept, mut languages, mut cookies] = [Lines::None; 3];
        for (name, value) in headers {
            match *name {
                ACCEPT => accept.add(value),
                ACCEPT_LANGUAGE => languages.add(value),
                COOKIE => cookies.add(value),
                _ => {}
            }
        }
        let html = match accept {
            Lines::One(line) => Preference::Line(line.clone()),
            Lines::None => Preference::Known(false),
            Lines::Several => Preference::Known(prefers_html(headers.get_all(ACCEPT))),
        };
        let language = match (languages.only(), cookies.only()) {
            (Ok(accept), Ok(cookie)) => Wish::Lines { accept: accept.cloned(), cookie: cookie.cloned() },
            _ => Wish::Known(Language::of(headers)),
        };
        Self { call: None, head: method == Method::HEAD, html, language, request_id }
    }

    /// The same asker, answered as gRPC where that is what it speaks. Only for who sent the request itself: the status is
    /// 200 then, which another proxy that asks about a request would take for a yes.
    pub fn for_calls(mut self, method: &Method, headers: &HeaderMap) -> Self {
        if method == Method::POST {
            self.call = headers.get(CONTENT_TYPE).filter(|kind| grpc::is_call(kind)).cloned();
        }
        self
    }

    /// Whether it speaks gRPC.
    pub fn calls(&self) -> bool {
        self.call.is_some()
    }

    /// The same asker, answered in JSON whatever `Accept` says: it came with JSON.
    pub fn in_json(mut self) -> Self {
        self.html = Preference::Known(false);
        self
    }

    /// The same asker, spoken to in this language whatever it said before: it has just been chosen.
    pub fn in_language(mut self, language: Language) -> Self {
        self.language = Wish::Known(language);
        self
    }

    /// The language of pages and mails for it. What programs read is English.
    pub fn language(&self) -> Language {
        self.language.language()
    }

    /// Whether a page is what it wants.
    pub fn wants_html(&self) -> bool {
        match &self.html {
            Preference::Known(html) => *html,
            Preference::Line(line) => prefers_html([line]),
        }
    }

    /// The request's id, to be shown.
    pub fn request_id(&self) -> &str {
        // `X-Request-Id` is visible ASCII by the rule of whoever made it; anything else isn't worth showing.
        self.request_id.to_str().unwrap_or_default()
    }

    /// JSON with this status.
    pub fn json(&self, status: StatusCode, value: &impl Serialize) -> Response<Body> {
        match serde_json::to_vec(value) {
            Ok(bytes) => self.answer(status, "application/json", bytes),
            Err(error) => {
                tracing::error!(error = %error, "an answer could not be written as JSON");
                self.answer(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "text/plain; charset=utf-8",
                    "Internal error\n",
                )
            }
        }
    }

    /// Plain text with this status.
    pub fn text(&self, status: StatusCode, text: &'static str) -> Response<Body> {
        self.answer(status, "text/plain; charset=utf-8", text)
    }

    /// Done, nothing to say.
    pub fn no_content(&self) -> Response<Body> {
        self.status(StatusCode::NO_CONTENT)
    }

    /// This status says it all.
    pub(crate) fn status(&self, status: StatusCode) -> Response<Body> {
        self.finish(status_only(status))
    }

    /// 303 to a place that has been checked. The browser follows with a GET.
    pub fn see_other(&self, location: &str) -> Response<Body> {
        let mut response = status_only(StatusCode::SEE_OTHER);
        // A place that can't stand in a header was not checked; the root of this origin is always safe.
        let location = HeaderValue::from_str(location).unwrap_or(HeaderValue::from_static("/"));
        response.headers_mut().insert(LOCATION, location);
        self.finish(response)
    }

    /// 303 to the login page: for a browser that navigates and has to sign in first.
    pub fn see_login(&self, pages: &Pages, next: Option<&str>, prompt: Option<Prompt>) -> Response<Body> {
        let mut response = self.see_other(&pages.login_location(next, prompt));
        // `no-store` forbids keeping it; whoever keeps it nevertheless must tell these apart.
        response
            .headers_mut()
            .insert(VARY, HeaderValue::from_static("accept, authorization, cookie, sec-fetch-mode"));
        response
    }

    /// An answer of this type; a HEAD gets its length and no body.
    pub(crate) fn answer(
        &self,
        status: StatusCode,
        content_type: &'static str,
        content: impl Into<Body>,
    ) -> Response<Body> {
        let body: Body = content.into();
        let mut response = status_only(status);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(length) = http_body::Body::size_hint(&body).exact() {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        *response.body_mut() = if self.head { Body::Empty } else { body };
        self.finish(response)
    }

    /// What every answer of ours carries.
    fn finish(&self, mut response: Response<Body>) -> Response<Body> {
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(REQUEST_ID, self.request_id.clone());
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

fn status_only(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    // Room for what every answer carries and for an identity, so that it does not grow step by step.
    response.headers_mut().reserve(FIELDS);
    response
}

/// Whether `Accept` names HTML and doesn't like JSON better. A mere `*/*` is a program.
fn prefers_html<'a>(lines: impl IntoIterator<Item = &'a HeaderValue>) -> bool {
    let mut html: f32 = 0.0;
    let mut json: f32 = 0.0;
    for value in lines.into_iter().filter_map(|value| value.to_str().ok()) {
        for range in value.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let is = |names: [&str; 2]| names.iter().any(|name| media.eq_ignore_ascii_case(name));
            let best = if is(["text/html", "application/xhtml+xml"]) {
                &mut html
            } else if is(["application/json", "application/problem+json"]) {
                &mut json
            } else {
                continue;
            };
            let quality = parts
                .find_map(|parameter| parameter.strip_prefix("q=").or(parameter.strip_prefix("Q=")))
                .map_or(1.0, |q| q.parse().unwrap_or(0.0));
            *best = best.max(quality);
        }
    }
    html > 0.0 && html >= json
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(accept: &str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT, accept.parse().expect("a header value"))])
    }

    fn asker(headers: &HeaderMap) -> Asker {
        Asker::new(&Method::GET, headers, HeaderValue::from_static("id-1"))
    }

    #[test]
    fn pages_go_to_those_who_ask_for_html() {
        let cases = [
            ("text/html", true),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true),
            ("TEXT/HTML;charset=utf-8", true),
            ("application/json, text/html;q=0.9", false),
            ("text/html, application/json;q=0.9", true),
            ("text/html;q=0", false),
            ("text/html;q=nonsense", false),
            ("*/*", false),
            ("application/json", false),
            ("image/avif,image/*", false),
            ("", false),
        ];
        for (accept, expected) in cases {
            assert_eq!(asker(&accepting(accept)).wants_html(), expected, "Accept: {accept}");
        }
        assert!(!asker(&HeaderMap::new()).wants_html(), "without Accept");
        let mut lines = accepting("application/json;q=0.5");
        lines.append(ACCEPT, HeaderValue::from_static("text/html"));
        assert!(asker(&lines).wants_html(), "two lines are one list");
    }

    #[test]
    fn a_head_gets_the_length_and_no_body() {
        let id = HeaderValue::from_static("id-1");
        let asker = Asker::new(&Method::HEAD, &HeaderMap::new(), id);
        let response = asker.text(StatusCode::OK, "ok");
        assert_eq!(response.headers()[CONTENT_LENGTH], "2");
        assert!(http_body::Body::is_end_stream(response.body()));
    }

    #[test]
    fn every_answer_is_not_stored_and_has_its_id() {
        let asker = Asker::new(&Method::GET, &HeaderMap::new(), HeaderValue::from_static("id-1"));
        let answers = [
            asker.text(StatusCode::OK, "ok"),
            asker.no_content(),
            asker.see_other("/a"),
            asker.json(StatusCode::OK, &[1]),
        ];
        for answer in answers {
            assert_eq!(answer.headers()[CACHE_CONTROL], "no-store");
            assert_eq!(answer.headers()[REQUEST_ID], "id-1");
        }
    }
}
