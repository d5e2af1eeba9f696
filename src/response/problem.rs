//! What went wrong, once for a program (RFC 9457) and once for a person (a page with a way on).
//!
//! The sentences here are the public ones: no address, no upstream's name, no cause. The cause is
//! logged where the problem is made, under the id that the answer carries.
//!
//! Callers: whoever refuses or fails: `gateway`, `portal`, `subrequest`, `proxy`.

use std::borrow::Cow;
use std::time::Duration;

use http::header::{ALLOW, CONNECTION, RETRY_AFTER, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::pages::{Page, Pages, Prompt, Template};
use super::texts::{Language, Text, in_words};
use super::{Asker, Body, grpc};

/// One refusal or failure, not yet rendered.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The stable word for programs.
    pub code: &'static str,
    /// One or two sentences: what happened and what to do.
    pub detail: Text,
    /// The answer's status.
    pub status: StatusCode,
    /// A few words, the same for every problem of this kind.
    pub title: Text,
    more: Box<More>,
}

/// What few look at: boxed, as a problem is the error of many functions.
#[derive(Clone, Debug, Default)]
struct More {
    actions: Vec<Action>,
    headers: HeaderMap,
    /// What a program reads in place of RFC 9457.
    words: Option<(StatusCode, Cow<'static, str>)>,
}

/// A way on from a problem's page.
#[derive(Clone, Debug)]
enum Action {
    /// To this path.
    Go { label: Text, to: String },
    /// To the same address once more.
    Retry,
    /// To the login page, and back afterwards.
    SignIn { next: Option<String>, prompt: Option<Prompt> },
}

/// RFC 9457.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Details<'a> {
    /// A few words, the same for every problem of this kind.
    title: &'a str,
    status: u16,
    /// What happened and what to do.
    detail: &'a str,
    /// The stable word for programs.
    code: &'a str,
    /// As in `X-Request-Id` and in the log.
    request_id: &'a str,
}

/// The one member of Flask-JWT-Extended's answers.
#[derive(Serialize)]
struct Message<'a> {
    msg: &'a str,
}

#[derive(Serialize)]
struct ProblemView<'a> {
    actions: Vec<ActionView>,
    detail: &'a Text,
    request_id: &'a str,
    status: u16,
    title: &'a Text,
}

#[derive(Serialize)]
struct ActionView {
    href: String,
    label: Text,
}

impl Problem {
    /// One of another room's own.
    pub fn new(status: StatusCode, code: &'static str, title: Text, detail: Text) -> Self {
        Self { code, detail, status, title, more: Box::default() }
    }

    /// 400: the request is not sound; `detail` says which rule it breaks.
    pub fn bad_request(detail: Text) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", Text::new("problem-bad-request-title"), detail)
    }

    /// 401: nobody is signed in. `next` is where the person wanted to go. `WWW-Authenticate` is added by the caller.
    pub fn unauthorized(next: Option<&str>) -> Self {
        let title = Text::new("problem-unauthorized-title");
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", title, Text::new("problem-unauthorized"))
            .with(Action::SignIn { next: next.map(str::to_owned), prompt: None })
    }

    /// 401: signed in, but the password was typed too long ago (RFC 9470).
    pub fn stale_login(next: Option<&str>) -> Self {
        let title = Text::new("problem-stale-login-title");
        let code = "insufficient_user_authentication";
        Self::new(StatusCode::UNAUTHORIZED, code, title, Text::new("problem-stale-login"))
            .with(Action::SignIn { next: next.map(str::to_owned), prompt: Some(Prompt::Login) })
    }

    /// 403: signed in, and signing in again as the same person would not help.
    pub fn forbidden(username: &str, host: &str, next: Option<&str>) -> Self {
        let detail = Text::new("problem-forbidden").with("username", username).with("host", host);
        Self::new(StatusCode::FORBIDDEN, "forbidden", Text::new("problem-forbidden-title"), detail)
            .with(Action::SignIn { next: next.map(str::to_owned), prompt: Some(Prompt::SelectAccount) })
    }

    /// 403: no certificate that opens this, or none at all. Signing in would not change that.
    pub fn no_certificate() -> Self {
        let title = Text::new("problem-certificate-title");
        Self::new(StatusCode::FORBIDDEN, "client_certificate", title, Text::new("problem-certificate"))
    }

    /// 403: a personal access token that is for other routes. `WWW-Authenticate` is added by the caller.
    pub fn token_scope() -> Self {
        let title = Text::new("problem-token-scope-title");
        Self::new(StatusCode::FORBIDDEN, "token_scope", title, Text::new("problem-token-scope"))
    }

    /// 403: open to everybody, but not from everywhere.
    pub fn not_from_here() -> Self {
        let title = Text::new("problem-forbidden-title");
        Self::new(StatusCode::FORBIDDEN, "forbidden", title, Text::new("problem-not-from-here"))
    }

    /// 403: a request that changes something came from another site.
    pub fn cross_site() -> Self {
        let title = Text::new("problem-cross-site-title");
        Self::new(StatusCode::FORBIDDEN, "cross_site", title, Text::new("problem-cross-site"))
    }

    /// 404: no route, no page.
    pub fn not_found() -> Self {
        let title = Text::new("problem-not-found-title");
        Self::new(StatusCode::NOT_FOUND, "not_found", title, Text::new("problem-not-found"))
            .with_link(Text::new("go-to-start"), "/".into())
    }

    /// 405, naming the methods that are.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let title = Text::new("problem-method-title");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", title, Text::new("problem-method"))
            .with_header(ALLOW, HeaderValue::from_static(allow))
    }

    /// 408: the body took too long. The connection can't be used any further.
    pub fn request_timeout() -> Self {
        let title = Text::new("problem-timeout-title");
        Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", title, Text::new("problem-timeout"))
            .with_header(CONNECTION, HeaderValue::from_static("close"))
    }

    /// 413.
    pub fn too_large() -> Self {
        let title = Text::new("problem-too-large-title");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", title, Text::new("problem-too-large"))
    }

    /// 414.
    pub fn uri_too_long() -> Self {
        let title = Text::new("problem-uri-title");
        Self::new(StatusCode::URI_TOO_LONG, "uri_too_long", title, Text::new("problem-uri"))
    }

    /// 415.
    pub fn unsupported_media_type() -> Self {
        let title = Text::new("problem-media-type-title");
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Self::new(status, "unsupported_media_type", title, Text::new("problem-media-type"))
    }

    /// 429.
    pub fn too_many_requests(retry_after: Duration) -> Self {
        let title = Text::new("problem-too-many-title");
        let detail = Text::new("too-many-attempts").with("wait", in_words(retry_after));
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", title, detail).retry_after(retry_after)
    }

    /// 431.
    pub fn header_too_large() -> Self {
        let title = Text::new("problem-headers-title");
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        Self::new(status, "header_too_large", title, Text::new("problem-headers"))
    }

    /// 500: a failure of ours that nothing better is known about.
    pub fn internal() -> Self {
        let title = Text::new("problem-internal-title");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", title, Text::new("problem-internal"))
            .with(Action::Retry)
    }

    /// 502: the application behind us can't be reached, or what it says is no HTTP.
    pub fn bad_gateway() -> Self {
        let title = Text::new("problem-bad-gateway-title");
        Self::new(StatusCode::BAD_GATEWAY, "bad_gateway", title, Text::new("problem-bad-gateway"))
            .with(Action::Retry)
    }

    /// 503: the store, the hashing or another part of ours is too busy or can't write.
    pub fn unavailable(retry_after: Duration) -> Self {
        let title = Text::new("problem-unavailable-title");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", title, Text::new("problem-unavailable"))
            .with(Action::Retry)
            .retry_after(retry_after)
    }

    /// 503: no server of the application is healthy.
    pub fn no_server(retry_after: Duration) -> Self {
        let title = Text::new("problem-no-server-title");
        let detail = Text::new("problem-no-server");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "no_healthy_upstream", title, detail)
            .with(Action::Retry)
            .retry_after(retry_after)
    }

    /// 504: the application behind us takes too long.
    pub fn gateway_timeout() -> Self {
        let title = Text::new("problem-gateway-timeout-title");
        let detail = Text::new("problem-gateway-timeout");
        Self::new(StatusCode::GATEWAY_TIMEOUT, "gateway_timeout", title, detail).with(Action::Retry)
    }

    /// Adds a header to the answer (`WWW-Authenticate`, say); one of the same name stays.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.more.headers.append(name, value);
        self
    }

    /// Tells programs this status and this text, in the member `msg`. A page stays as it is.
    pub fn worded(mut self, status: StatusCode, text: Cow<'static, str>) -> Self {
        self.more.words = Some((status, text));
        self
    }

    /// Adds a link to its page.
    pub fn with_link(self, label: Text, to: String) -> Self {
        self.with(Action::Go { label, to })
    }

    /// Adds `Connection: close`, for a request after which the connection can't be trusted.
    pub fn closing(self) -> Self {
        self.with_header(CONNECTION, HeaderValue::from_static("close"))
    }

    /// Renders it for whoever asked.
    pub fn respond(self, asker: &Asker, pages: &Pages) -> Response<Body> {
        if let Some(asked) = &asker.call {
            return grpc::respond(&self, asker, asked, pages.texts());
        }
        let mut response =
            if asker.wants_html() { self.page(asker, pages) } else { self.details(asker, pages) };
        let headers = response.headers_mut();
        for (name, value) in &self.more.headers {
            headers.append(name, value.clone());
        }
        headers.append(VARY, HeaderValue::from_static("accept"));
        response
    }

    /// What the answer carries beside its content.
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.more.headers
    }

    fn details(&self, asker: &Asker, pages: &Pages) -> Response<Body> {
        if let Some((status, text)) = &self.more.words {
            return asker.json(*status, &Message { msg: text });
        }
        let texts = pages.texts();
        let details = Details {
            title: &texts.say(Language::English, &self.title),
            status: self.status.as_u16(),
            detail: &texts.say(Language::English, &self.detail),
            code: self.code,
            request_id: asker.request_id(),
        };
        let json = serde_json::to_vec(&details).expect("text and a number are always JSON");
        asker.answer(self.status, "application/problem+json", json)
    }

    fn page(&self, asker: &Asker, pages: &Pages) -> Response<Body> {
        let actions = self.more.actions.iter().map(|action| action.view(pages)).collect();
        let view = ProblemView {
            actions,
            detail: &self.detail,
            request_id: asker.request_id(),
            status: self.status.as_u16(),
            title: &self.title,
        };
        pages.respond(
            asker,
            Page { status: self.status, template: Template::Problem, form_targets: "", here: "" },
            &view,
        )
    }

    fn with(mut self, action: Action) -> Self {
        self.more.actions.push(action);
        self
    }

    /// Adds when to try again.
    pub fn retry_after(self, wait: Duration) -> Self {
        self.with_header(RETRY_AFTER, retry_after_value(wait))
    }
}

impl Action {
    fn view(&self, pages: &Pages) -> ActionView {
        match self {
            Self::Go { label, to } => ActionView { href: to.clone(), label: label.clone() },
            // An empty reference is this very address, query included.
            Self::Retry => ActionView { href: String::new(), label: Text::new("try-again") },
            Self::SignIn { next, prompt } => ActionView {
                href: pages.login_location(next.as_deref(), *prompt),
                label: Text::new(match prompt {
                    None => "sign-in",
                    Some(Prompt::Login) => "confirm-password",
                    Some(Prompt::SelectAccount) => "sign-in-as-other",
                }),
            },
        }
    }
}

/// `Retry-After` in whole seconds, rounded up and never 0: whoever waits that long has waited long enough.
pub(crate) fn retry_after_value(wait: Duration) -> HeaderValue {
    HeaderValue::from(whole_seconds(wait))
}

fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests;
