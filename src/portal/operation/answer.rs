//! The answers of an operation: what the document says of them, and what each is held to.
//!
//! Callers: the portal's endpoints write them down; `openapi` reads them; `Portal::handle` compares, in debug builds.

use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::{Credential, Description};
use crate::response::Body;

/// One answer. Several may have one status.
#[derive(Clone, Copy, Debug)]
pub(in crate::portal) struct Answer {
    pub(in crate::portal) about: &'static str,
    pub(in crate::portal) content: Content,
    /// Headers that it always has, besides those of its content and its status.
    pub(in crate::portal) headers: &'static [&'static str],
    /// Whether it sets cookies with tokens, or takes them away, where tokens come in cookies.
    pub(in crate::portal) has_token_cookies: bool,
    /// What the thing that was made can be used for: an operation that takes its `id`.
    pub(in crate::portal) leads_to: Option<&'static str>,
    pub(in crate::portal) status: StatusCode,
}

/// What an answer carries.
#[derive(Clone, Copy, Debug)]
pub(in crate::portal) enum Content {
    /// JSON of this shape.
    Json(Shape),
    /// A document for everybody, which may be kept.
    Kept(&'static str),
    /// Nothing.
    None,
    /// RFC 6749 §5.2, with one of these as its `error`.
    OAuth(&'static [&'static str]),
    /// A page for a person.
    Page,
    /// RFC 9457 with one of these as its `code`; for who prefers HTML, a page.
    Problem(&'static [&'static str]),
    /// A `Location` to go on to.
    Redirect,
    Text,
}

/// The schema of a type, by its name.
#[derive(Clone, Copy, Debug)]
pub(in crate::portal) struct Shape {
    pub(in crate::portal) name: fn() -> std::borrow::Cow<'static, str>,
    /// Its own, and those that it refers to.
    pub(in crate::portal) parts: fn(&mut Vec<(String, RefOr<Schema>)>),
    pub(in crate::portal) schema: fn() -> RefOr<Schema>,
}

/// The body of a POST can be all of these.
const UNSOUND: [Answer; 5] = [
    Answer::problem(StatusCode::BAD_REQUEST, &["bad_request"], "The body is not what is described."),
    Answer::problem(StatusCode::FORBIDDEN, &["cross_site"], "The request came from another site."),
    Answer::problem(StatusCode::REQUEST_TIMEOUT, &["request_timeout"], "The body took too long."),
    Answer::problem(StatusCode::PAYLOAD_TOO_LARGE, &["too_large"], "The body has more than 64 KiB."),
    Answer::problem(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        &["unsupported_media_type"],
        "The body is neither JSON nor a form.",
    ),
];

/// As `UNSOUND`, where OAuth is spoken.
const UNSOUND_OAUTH: [Answer; 5] = {
    let mut answers = UNSOUND;
    let mut at = 0;
    while at < answers.len() {
        answers[at].content = Content::OAuth(&["invalid_request"]);
        at += 1;
    }
    answers
};

const SIGNED_OUT: [Answer; 1] =
    [Answer::problem(StatusCode::UNAUTHORIZED, &["unauthorized"], "Nobody is signed in.")];

const UNAVAILABLE: Answer =
    Answer::problem(StatusCode::SERVICE_UNAVAILABLE, &["unavailable"], "Not at the moment.");

const UNAVAILABLE_OAUTH: Answer =
    Answer::oauth(StatusCode::SERVICE_UNAVAILABLE, &["temporarily_unavailable"], "Not at the moment.");

impl Answer {
    pub(in crate::portal) const fn json<T: ToSchema>(status: StatusCode, about: &'static str) -> Self {
        let shape = Shape { name: T::name, parts: T::schemas, schema: <T as PartialSchema>::schema };
        Self { content: Content::Json(shape), ..Self::empty(status, about) }
    }

    /// With an `ETag`, which may be asked for again.
    pub(in crate::portal) const fn kept(media_type: &'static str, about: &'static str) -> Self {
        Self { content: Content::Kept(media_type), headers: &["ETag"], ..Self::empty(StatusCode::OK, about) }
    }

    /// What `kept` becomes for who has it.
    pub(in crate::portal) const fn known() -> Self {
        let about = "Unchanged since the `ETag` that was shown.";
        Self { headers: &["ETag"], ..Self::empty(StatusCode::NOT_MODIFIED, about) }
    }

    pub(in crate::portal) const fn nothing(about: &'static str) -> Self {
        Self::empty(StatusCode::NO_CONTENT, about)
    }

    const fn empty(status: StatusCode, about: &'static str) -> Self {
        Self { about, content: Content::None, has_token_cookies: false, headers: &[], leads_to: None, status }
    }

    pub(in crate::portal) const fn oauth(
        status: StatusCode,
        words: &'static [&'static str],
        about: &'static str,
    ) -> Self {
        Self { content: Content::OAuth(words), ..Self::empty(status, about) }
    }

    pub(in crate::portal) const fn page(status: StatusCode, about: &'static str) -> Self {
        Self { content: Content::Page, ..Self::empty(status, about) }
    }

    pub(in crate::portal) const fn problem(
        status: StatusCode,
        codes: &'static [&'static str],
        about: &'static str,
    ) -> Self {
        Self { content: Content::Problem(codes), ..Self::empty(status, about) }
    }

    pub(in crate::portal) const fn redirect(about: &'static str) -> Self {
        Self { content: Content::Redirect, ..Self::empty(StatusCode::SEE_OTHER, about) }
    }

    pub(in crate::portal) const fn text(status: StatusCode, about: &'static str) -> Self {
        Self { content: Content::Text, ..Self::empty(status, about) }
    }

    /// The same, with what can be done next.
    pub(in crate::portal) const fn leading_to(self, operation: &'static str) -> Self {
        Self { leads_to: Some(operation), ..self }
    }

    /// The same, setting a cookie.
    pub(in crate::portal) const fn with_cookie(self) -> Self {
        Self { headers: &["Set-Cookie"], ..self }
    }

    /// The same, setting the cookies for tokens or taking them away, where tokens come in cookies.
    pub(in crate::portal) const fn with_token_cookies(self) -> Self {
        Self { has_token_cookies: true, ..self }
    }

    /// A failure of ours.
    pub(in crate::portal) const fn unavailable() -> Self {
        UNAVAILABLE
    }

    /// The headers that it always has.
    pub(in crate::portal) fn all_headers(&self) -> impl Iterator<Item = &'static str> {
        let of_content = match self.content {
            Content::Redirect => Some("Location"),
            Content::Json(_)
            | Content::Kept(_)
            | Content::None
            | Content::OAuth(_)
            | Content::Page
            | Content::Problem(_)
            | Content::Text => None,
        };
        let of_status = match (self.status, self.content) {
            (_, Content::Text) => None,
            (StatusCode::UNAUTHORIZED, _) => Some("WWW-Authenticate"),
            (StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS, _) => Some("Retry-After"),
            (_, _) => None,
        };
        self.headers.iter().copied().chain(of_content).chain(of_status).chain(["X-Request-Id"])
    }

    /// Whether this is such an answer; `code` is the problem's, where it is one.
    fn covers(&self, response: &Response<Body>, code: Option<&str>) -> bool {
        let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.map(|value| value.split(';').next().unwrap_or_default());
        let is_page = media_type == Some("text/html");
        self.status == response.status()
            && self.all_headers().all(|name| response.headers().contains_key(name))
            && match self.content {
                Content::Json(_) | Content::OAuth(_) => media_type == Some("application/json"),
                Content::Kept(expected) => media_type == Some(expected) || expected == "*/*",
                Content::None | Content::Redirect => http_body::Body::is_end_stream(response.body()),
                Content::Page => is_page,
                // A form that is refused is shown again, with the same status as the problem that a program gets.
                Content::Problem(codes) => match code {
                    Some(code) => codes.contains(&code),
                    None => is_page,
                },
                Content::Text => media_type == Some("text/plain"),
            }
    }
}

impl Description {
    /// Everything that it may answer.
    pub(in crate::portal) fn all_answers(&self) -> impl Iterator<Item = &Answer> {
        let unsound: &[Answer] = match self.body {
            None => &[],
            Some(body) if body.is_oauth => &UNSOUND_OAUTH,
            Some(_) => &UNSOUND,
        };
        let signed_out: &[Answer] = match self.credential {
            Credential::Any | Credential::Session => &SIGNED_OUT,
            Credential::Introspector | Credential::None | Credential::OwnToken | Credential::RefreshToken => {
                &[]
            }
        };
        let unavailable: &[Answer] = match (self.body, self.credential) {
            (None, Credential::None) => &[],
            (Some(body), _) if body.is_oauth => &[UNAVAILABLE_OAUTH],
            (_, _) => &[UNAVAILABLE],
        };
        self.answers.iter().chain(unsound).chain(signed_out).chain(unavailable)
    }

    /// Whether an answer is one of those that it describes; `code` is the problem's, where it is one.
    pub(in crate::portal) fn covers(&self, response: &Response<Body>, code: Option<&str>) -> bool {
        self.all_answers().any(|answer| answer.covers(response, code))
    }
}
