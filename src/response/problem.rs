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

use super::pages::{Page, Pages, Prompt, Template};
use super::{Asker, Body, grpc};

/// One refusal or failure, not yet rendered.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The stable word for programs.
    pub code: &'static str,
    /// One or two sentences: what happened and what to do.
    pub detail: Cow<'static, str>,
    /// The answer's status.
    pub status: StatusCode,
    /// A few words, the same for every problem of this kind.
    pub title: Cow<'static, str>,
    more: Box<More>,
}

/// What few look at: boxed, as a problem is the error of many functions.
#[derive(Clone, Debug, Default)]
struct More {
    actions: Vec<Action>,
    headers: HeaderMap,
}

/// A way on from a problem's page.
#[derive(Clone, Debug)]
enum Action {
    /// To this path.
    Go { label: &'static str, to: String },
    /// To the same address once more.
    Retry,
    /// To the login page, and back afterwards.
    SignIn { next: Option<String>, prompt: Option<Prompt> },
}

#[derive(Serialize)]
struct Details<'a> {
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    request_id: &'a str,
}

#[derive(Serialize)]
struct ProblemView<'a> {
    actions: Vec<ActionView>,
    detail: &'a str,
    request_id: &'a str,
    status: u16,
    title: &'a str,
}

#[derive(Serialize)]
struct ActionView {
    href: String,
    label: &'static str,
}

impl Problem {
    /// One of another room's own.
    pub fn new(
        status: StatusCode,
        code: &'static str,
        title: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        let (title, detail) = (title.into(), detail.into());
        Self { code, detail, status, title, more: Box::default() }
    }

    /// 400: the request is not sound; `detail` says which rule it breaks.
    pub fn bad_request(detail: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", "Bad request", detail)
    }

    /// 401: nobody is signed in. `next` is where the person wanted to go. `WWW-Authenticate` is added by the caller.
    pub fn unauthorized(next: Option<&str>) -> Self {
        let title = "Please sign in";
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            title,
            "You need to be signed in to open this page.",
        )
        .with(Action::SignIn { next: next.map(str::to_owned), prompt: None })
    }

    /// 401: signed in, but the password was typed too long ago (RFC 9470).
    pub fn stale_login(next: Option<&str>) -> Self {
        let detail = "This page asks for a recent login. Please confirm your password.";
        Self::new(
            StatusCode::UNAUTHORIZED,
            "insufficient_user_authentication",
            "Please confirm it is you",
            detail,
        )
        .with(Action::SignIn { next: next.map(str::to_owned), prompt: Some(Prompt::Login) })
    }

    /// 403: signed in, and signing in again as the same person would not help.
    pub fn forbidden(username: &str, host: &str, next: Option<&str>) -> Self {
        let detail = format!(
            "You are signed in as {username}, and this account may not open this page of {host}. \
             If you think it should, ask whoever looks after it and quote the request id."
        );
        Self::new(StatusCode::FORBIDDEN, "forbidden", "You don’t have access", detail)
            .with(Action::SignIn { next: next.map(str::to_owned), prompt: Some(Prompt::SelectAccount) })
    }

    /// 403: no certificate that opens this, or none at all. Signing in would not change that.
    pub fn no_certificate() -> Self {
        let detail = "This page is for clients with a certificate, and yours has shown none that opens it. \
             If it has one, ask whoever looks after this page and quote the request id.";
        Self::new(StatusCode::FORBIDDEN, "client_certificate", "A certificate is needed", detail)
    }

    /// 403: a personal access token that is for other routes. `WWW-Authenticate` is added by the caller.
    pub fn token_scope() -> Self {
        let detail = "This personal access token is good, but not for this address. \
             Use one that is for it, or make one without a choice of routes.";
        Self::new(StatusCode::FORBIDDEN, "token_scope", "This token is for something else", detail)
    }

    /// 403: open to everybody, but not from everywhere.
    pub fn not_from_here() -> Self {
        let detail = "This page is not open to the network that you come from. \
             If you think it should be, ask whoever looks after it and quote the request id.";
        Self::new(StatusCode::FORBIDDEN, "forbidden", "You don’t have access", detail)
    }

    /// 403: a request that changes something came from another site.
    pub fn cross_site() -> Self {
        let detail = "This request was sent from another site, so it was not carried out. Open the page here and try again.";
        Self::new(StatusCode::FORBIDDEN, "cross_site", "Sent from another site", detail)
    }

    /// 404: no route, no page.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "Page not found", "There is nothing at this address.")
            .with(Action::Go { label: "Go to the start page", to: "/".into() })
    }

    /// 405, naming the methods that are.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let detail = "This address does not take requests of this kind.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed", detail)
            .with_header(ALLOW, HeaderValue::from_static(allow))
    }

    /// 408: the body took too long. The connection can't be used any further.
    pub fn request_timeout() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            "Request timeout",
            "The request took too long to arrive.",
        )
        .with_header(CONNECTION, HeaderValue::from_static("close"))
    }

    /// 413.
    pub fn too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            "Request too large",
            "The request is larger than this address takes.",
        )
    }

    /// 414.
    pub fn uri_too_long() -> Self {
        Self::new(
            StatusCode::URI_TOO_LONG,
            "uri_too_long",
            "Address too long",
            "The address is longer than 8 KiB.",
        )
    }

    /// 415.
    pub fn unsupported_media_type() -> Self {
        let detail = "Send a form (application/x-www-form-urlencoded) or JSON (application/json).";
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Unsupported media type",
            detail,
        )
    }

    /// 429.
    pub fn too_many_requests(retry_after: Duration) -> Self {
        let detail = format!("Too many failed attempts. Please try again {}.", in_words(retry_after));
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "Too many attempts", detail)
            .retry_after(retry_after)
    }

    /// 431.
    pub fn header_too_large() -> Self {
        let detail = "The request’s headers are larger than we take. Deleting this site’s cookies may help.";
        Self::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "header_too_large",
            "Headers too large",
            detail,
        )
    }

    /// 500: a failure of ours that nothing better is known about.
    pub fn internal() -> Self {
        let detail = "Something went wrong on our side. It is in the log under the request id below.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong", detail)
            .with(Action::Retry)
    }

    /// 502: the application behind us can't be reached, or what it says is no HTTP.
    pub fn bad_gateway() -> Self {
        let detail = "You are fine and so is your login: the application behind this page is not answering. Please try again shortly.";
        Self::new(StatusCode::BAD_GATEWAY, "bad_gateway", "The application is not answering", detail)
            .with(Action::Retry)
    }

    /// 503: the store, the hashing or another part of ours is too busy or can't write.
    pub fn unavailable(retry_after: Duration) -> Self {
        let detail =
            "We can’t check logins at the moment. You have not been signed out. Please try again shortly.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Please try again shortly", detail)
            .with(Action::Retry)
            .retry_after(retry_after)
    }

    /// 503: no server of the application is healthy.
    pub fn no_server(retry_after: Duration) -> Self {
        let detail = "You are fine and so is your login: the application behind this page is down at the moment. Please try again shortly.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "no_healthy_upstream", "The application is down", detail)
            .with(Action::Retry)
            .retry_after(retry_after)
    }

    /// 504: the application behind us takes too long.
    pub fn gateway_timeout() -> Self {
        let detail = "You are fine and so is your login: the application behind this page took too long to answer. Please try again shortly.";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "gateway_timeout", "The application took too long", detail)
            .with(Action::Retry)
    }

    /// Adds a header to the answer (`WWW-Authenticate`, say); one of the same name stays.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.more.headers.append(name, value);
        self
    }

    /// Adds a link to its page.
    pub fn with_link(self, label: &'static str, to: String) -> Self {
        self.with(Action::Go { label, to })
    }

    /// Adds `Connection: close`, for a request after which the connection can't be trusted.
    pub fn closing(self) -> Self {
        self.with_header(CONNECTION, HeaderValue::from_static("close"))
    }

    /// Renders it for whoever asked.
    pub fn respond(self, asker: &Asker, pages: &Pages) -> Response<Body> {
        if let Some(asked) = &asker.call {
            return grpc::respond(&self, asker, asked);
        }
        let mut response = if asker.wants_html() { self.page(asker, pages) } else { self.details(asker) };
        let headers = response.headers_mut();
        for (name, value) in &self.more.headers {
            headers.append(name, value.clone());
        }
        headers.append(VARY, HeaderValue::from_static("accept"));
        response
    }

    /// What the answer carries beside its content.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.more.headers
    }

    fn details(&self, asker: &Asker) -> Response<Body> {
        let details = Details {
            title: &self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
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
            Page { status: self.status, template: Template::Problem, form_targets: "" },
            &view,
        )
    }

    fn with(mut self, action: Action) -> Self {
        self.more.actions.push(action);
        self
    }

    fn retry_after(self, wait: Duration) -> Self {
        self.with_header(RETRY_AFTER, retry_after_value(wait))
    }
}

impl Action {
    fn view(&self, pages: &Pages) -> ActionView {
        match self {
            Self::Go { label, to } => ActionView { href: to.clone(), label },
            // An empty reference is this very address, query included.
            Self::Retry => ActionView { href: String::new(), label: "Try again" },
            Self::SignIn { next, prompt } => ActionView {
                href: pages.login_location(next.as_deref(), *prompt),
                label: match prompt {
                    None => "Sign in",
                    Some(Prompt::Login) => "Confirm your password",
                    Some(Prompt::SelectAccount) => "Sign in as somebody else",
                },
            },
        }
    }
}

/// `Retry-After` in whole seconds, rounded up and never 0: whoever waits that long has waited long enough.
pub(crate) fn retry_after_value(wait: Duration) -> HeaderValue {
    HeaderValue::from(whole_seconds(wait))
}

/// "in 40 seconds", "in 3 minutes".
pub(crate) fn in_words(wait: Duration) -> String {
    let seconds = whole_seconds(wait);
    let (count, unit) = match seconds {
        0..=90 => (seconds, "second"),
        91..=5400 => (seconds.div_ceil(60), "minute"),
        _ => (seconds.div_ceil(3600), "hour"),
    };
    format!("in {count} {unit}{}", if count == 1 { "" } else { "s" })
}

fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests;
