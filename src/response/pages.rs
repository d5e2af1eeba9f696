//! Our pages: templates built into the binary, rendered under a policy that lets nothing else run.
//!
//! A page is one request: its style and its script stand in it, and the policy names both by their
//! digest. So a page also holds where only this one answer gets through, as with a proxy of the
//! operator's that passes on what a sub-request answered. Everything works without the script.
//!
//! Callers: `portal` renders its forms; `Problem` renders itself. A view is a struct of the caller's
//! with the fields that its template names; a name that isn't there is an error, not a blank.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_FRAME_OPTIONS};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, Error, Output, State, UndefinedBehavior, context, escape_formatter};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use super::{Asker, Body};

const TEMPLATES: [(&str, &str); 6] = [
    ("alert.html", include_str!("templates/alert.html")),
    ("base.html", include_str!("templates/base.html")),
    ("login.html", include_str!("templates/login.html")),
    ("logout.html", include_str!("templates/logout.html")),
    ("problem.html", include_str!("templates/problem.html")),
    ("reset.html", include_str!("templates/reset.html")),
];
const STYLE: &str = include_str!("templates/style.css");
const SCRIPT: &str = include_str!("templates/form.js");

/// Steps that one page may take; ours take a few hundred.
const FUEL: u64 = 50_000;

/// What a query's value may hold as it is. `/` is kept for the eye.
const QUERY_VALUE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What every page needs to know.
#[derive(Clone, Debug)]
pub struct PageSettings {
    /// Under which the portal lives, such as `/.auth`.
    pub prefix: String,
    /// The heading of the login page.
    pub title: String,
}

/// Why the login page is shown to somebody who is signed in; the words are OpenID Connect's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Prompt {
    /// The password is asked for again: `prompt=login`.
    Login,
    /// Somebody else wants to sign in: `prompt=select_account`.
    SelectAccount,
}

impl Prompt {
    /// As in the query.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::SelectAccount => "select_account",
        }
    }

    /// From the query; an unknown word is none.
    pub fn parse(raw: &str) -> Option<Self> {
        match raw {
            "login" => Some(Self::Login),
            "select_account" => Some(Self::SelectAccount),
            _ => None,
        }
    }
}

/// The templates, ready to render.
#[derive(Debug)]
pub struct Pages {
    environment: Environment<'static>,
    script_digest: String,
    settings: PageSettings,
    style_digest: String,
}

/// Which of the templates.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Template {
    Login,
    Logout,
    Problem,
    Reset,
}

/// What is said of a page besides its view.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page<'a> {
    /// Further sources for `form-action`, separated by blanks: Chromium holds every redirect after a form to it as well.
    pub(crate) form_targets: &'a str,
    pub(crate) status: StatusCode,
    pub(crate) template: Template,
}

impl Template {
    fn name(self) -> &'static str {
        match self {
            Self::Login => "login.html",
            Self::Logout => "logout.html",
            Self::Problem => "problem.html",
            Self::Reset => "reset.html",
        }
    }
}

impl Pages {
    /// Reads the built-in templates.
    pub fn new(settings: PageSettings) -> Self {
        let (style, script) = (compact(STYLE), compact(SCRIPT));
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.expect("the usual marks"));
        environment.set_formatter(write_escaped);
        for (name, source) in TEMPLATES {
            environment.add_template(name, source).expect("a test parses the built-in templates");
        }
        let (style_digest, script_digest) = (digest(&style), digest(&script));
        environment.add_global("style", Value::from_safe_string(style));
        environment.add_global("script", Value::from_safe_string(script));
        environment.add_global("brand", Value::from(settings.title.as_str()));
        environment.add_global("prefix", Value::from(settings.prefix.as_str()));
        Self { environment, script_digest, settings, style_digest }
    }

    /// Under which the portal lives.
    pub fn prefix(&self) -> &str {
        &self.settings.prefix
    }

    /// The login page's path and query, which comes back to `next`.
    pub fn login_location(&self, next: Option<&str>, prompt: Option<Prompt>) -> String {
        let mut location = format!("{}/login", self.settings.prefix);
        let next = next.map(|next| format!("next={}", utf8_percent_encode(next, QUERY_VALUE)));
        let prompt = prompt.map(|prompt| format!("prompt={}", prompt.as_str()));
        for (parameter, mark) in next.iter().chain(&prompt).zip(['?', '&']) {
            location.push(mark);
            location.push_str(parameter);
        }
        location
    }

    /// A page with everything that has to be said of it.
    pub(crate) fn respond(&self, asker: &Asker, page: Page<'_>, view: &impl Serialize) -> Response<Body> {
        let html = match self.render(page.template, view) {
            Ok(html) => html,
            Err(error) => {
                tracing::error!(error = %error, template = page.template.name(), "a page could not be rendered");
                return asker.text(StatusCode::INTERNAL_SERVER_ERROR, "Internal error\n");
            }
        };
        let mut response = asker.answer(page.status, "text/html; charset=utf-8", html);
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, self.policy(page.form_targets));
        // Not `no-referrer`: browsers then send `Origin: null` with our own forms, and `null` is refused.
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers
            .insert(HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex, nofollow"));
        response
    }

    fn render(&self, template: Template, view: &impl Serialize) -> Result<String, Error> {
        self.environment.get_template(template.name())?.render(context! { view => Value::from(Serde(view)) })
    }

    fn policy(&self, form_targets: &str) -> HeaderValue {
        let Self { script_digest, style_digest, .. } = self;
        let targets = if form_targets.is_empty() { String::new() } else { format!(" {form_targets}") };
        let policy = format!(
            "default-src 'none'; style-src '{style_digest}'; script-src '{script_digest}'; img-src data:; \
             form-action 'self'{targets}; frame-ancestors 'none'; base-uri 'none'"
        );
        HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
    }
}

/// Escapes as the library does, but leaves a slash as it is: it ends nothing in text or in a quoted
/// attribute, and a page's addresses stay readable for those who look at its source.
fn write_escaped(output: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let Some(text) = value.as_str().filter(|text| !value.is_safe() && text.contains('/')) else {
        return escape_formatter(output, state, value);
    };
    for (index, piece) in text.split('/').enumerate() {
        if index > 0 {
            output.write_str("/")?;
        }
        escape_formatter(output, state, &Value::from(piece))?;
    }
    Ok(())
}

/// Leaves out indentation, blank lines and comments that fill a line: a third of the weight, and nothing that has a meaning.
fn compact(source: &str) -> String {
    let lines = source.lines().map(str::trim).filter(|line| {
        let comment = line.starts_with("//") || (line.starts_with("/*") && line.ends_with("*/"));
        !line.is_empty() && !comment
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// As a content security policy names a text.
fn digest(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    format!("sha256-{}", STANDARD.encode(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages() -> Pages {
        Pages::new(PageSettings { prefix: "/.auth".into(), title: "Sign in".into() })
    }

    #[test]
    fn login_locations() {
        let cases = [
            (None, None, "/.auth/login"),
            (Some("/a/b"), None, "/.auth/login?next=/a/b"),
            (Some("/a?b=c&d#e"), None, "/.auth/login?next=/a%3Fb%3Dc%26d%23e"),
            (Some("/%2f"), Some(Prompt::Login), "/.auth/login?next=/%252f&prompt=login"),
            (Some("/ä\r\n"), None, "/.auth/login?next=/%C3%A4%0D%0A"),
            (None, Some(Prompt::SelectAccount), "/.auth/login?prompt=select_account"),
        ];
        for (next, prompt, expected) in cases {
            assert_eq!(pages().login_location(next, prompt), expected);
        }
    }

    #[test]
    fn style_and_script_are_what_the_policy_names() {
        let pages = pages();
        let policy = pages.policy("http://app.test:*");
        let policy = policy.to_str().expect("ASCII");
        assert!(policy.contains(&digest(&compact(STYLE))) && policy.contains(&digest(&compact(SCRIPT))));
        assert!(policy.contains("form-action 'self' http://app.test:*;"), "{policy}");
        // Between its tags a text may not end them, nor begin a comment.
        for text in [compact(STYLE), compact(SCRIPT)] {
            assert!(!text.contains("</") && !text.contains("<!--") && !text.contains('\r'));
        }
    }

    #[test]
    fn a_missing_field_is_an_error() {
        assert!(pages().render(Template::Login, &()).is_err());
    }
}
