//! Our pages: templates built into the binary, rendered under a policy that lets nothing else run.
//!
//! A page is one request: its style and its script stand in it, and the policy names both by their
//! digest. So a page also holds where only this one answer gets through, as with a proxy of the
//! operator's that passes on what a sub-request answered. Everything works without the script.
//!
//! # How to write a page
//!
//! 1. Its sentences go to `texts/{en,de}/*.ftl`, in both languages, under names that begin like the file's others.
//! 2. Its template goes to `templates/NAME.html`, into `TEMPLATES` and into `Template`. It extends `base.html`
//!    and takes its parts from `parts.html`: `alert`, `csrf`, `field`, `password`, `submit`, and the classes
//!    `lead`, `aside`, `links`, `rows`, `facts` and `section` of `style.css` (each is explained there). No text stands
//!    in it but by `t("name")`, `t("name", argument=value)` or `t(view.field)`, no style and no script at all.
//! 3. Its view is a `Serialize` struct of the caller's. What is said to the person is a `Text` in it, what is
//!    shown as it is (a name, an address) a string. A field that the template names and the view lacks is an error.
//! 4. `Pages::respond` with a `Page`; `here` is `Pages::address(..)` of the page's GET, so that a change of
//!    language comes back to it.
//! 5. One line of `PAGES` in `tests/browser/pages.mjs` has it looked at in both languages, light and dark, wide and narrow.
//!
//! Callers: `portal` renders its forms; `Problem` renders itself.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, REFERRER_POLICY, VARY, X_FRAME_OPTIONS};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, Error, ErrorKind, Output, State, UndefinedBehavior, context, escape_formatter};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use super::look::{Link, Look};
use super::texts::{self, Language, Texts};
use super::theme::Asset;
use super::{Asker, Body};

pub mod letters;
mod phrase;
mod trial;

pub(super) use trial::PageFault;

const TEMPLATES: [(&str, &str); 18] = [
    ("account.html", include_str!("templates/account.html")),
    ("account/delete.html", include_str!("templates/account/delete.html")),
    ("account/invitations.html", include_str!("templates/account/invitations.html")),
    ("account/password.html", include_str!("templates/account/password.html")),
    ("account/profile.html", include_str!("templates/account/profile.html")),
    ("account/sessions.html", include_str!("templates/account/sessions.html")),
    ("account/tokens.html", include_str!("templates/account/tokens.html")),
    ("address.html", include_str!("templates/address.html")),
    ("base.html", include_str!("templates/base.html")),
    ("confirm.html", include_str!("templates/confirm.html")),
    ("forgot.html", include_str!("templates/forgot.html")),
    ("login.html", include_str!("templates/login.html")),
    ("logout.html", include_str!("templates/logout.html")),
    ("parts.html", include_str!("templates/parts.html")),
    ("pending.html", include_str!("templates/pending.html")),
    ("problem.html", include_str!("templates/problem.html")),
    ("register.html", include_str!("templates/register.html")),
    ("reset.html", include_str!("templates/reset.html")),
];
pub(super) const STYLE: &str = include_str!("templates/style.css");
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
    /// What of them is the operator's.
    pub look: Look,
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
    /// One for each language, in the order of `Language::ALL`.
    environments: Vec<Environment<'static>>,
    /// The same without the theme, for a page that fails with it; none where there is nothing to fall back from.
    plain: Vec<Environment<'static>>,
    script_digest: String,
    settings: PageSettings,
    style_digest: String,
    texts: Arc<Texts>,
}

/// Which of the templates.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Template {
    Account,
    Address,
    Confirm,
    Forgot,
    Login,
    Logout,
    Pending,
    Problem,
    Register,
    Reset,
}

/// What is said of a page besides its view.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page<'a> {
    /// Further sources for `form-action`, separated by blanks: Chromium holds every redirect after a form to it as well.
    pub(crate) form_targets: &'a str,
    /// Where a GET shows this page, by `Pages::address`; the links to it in other languages go there. Empty: there are none.
    pub(crate) here: &'a str,
    pub(crate) status: StatusCode,
    pub(crate) template: Template,
}

impl Template {
    fn name(self) -> &'static str {
        match self {
            Self::Address => "address.html",
            Self::Confirm => "confirm.html",
            Self::Forgot => "forgot.html",
            Self::Account => "account.html",
            Self::Login => "login.html",
            Self::Logout => "logout.html",
            Self::Pending => "pending.html",
            Self::Problem => "problem.html",
            Self::Register => "register.html",
            Self::Reset => "reset.html",
        }
    }
}

impl Pages {
    /// Reads the templates, those of the theme in place of ours.
    pub fn new(settings: PageSettings) -> Self {
        let theme = Arc::clone(&settings.look.theme);
        let color = settings.look.style();
        let parts = [Some(theme.style().unwrap_or(STYLE)), color.as_deref(), theme.extra()];
        let style = parts.into_iter().flatten().map(compact).collect::<Vec<_>>().join("\n");
        let script = compact(SCRIPT);
        let texts = Arc::new(Texts::with(theme.texts()));
        let environments = |texts: &Arc<Texts>, source: &dyn Fn(&str, &'static str) -> String| {
            let environments = Language::ALL.map(|language| {
                let mut environment = environment(language, texts);
                for (name, ours) in TEMPLATES {
                    let added = environment.add_template_owned(name, source(name, ours));
                    added.expect("a test parses our templates, and a theme was parsed");
                }
                add_globals(&mut environment, language, &settings);
                environment.add_global("script", Value::from_safe_string(script.clone()));
                environment.add_global("style", Value::from_safe_string(style.clone()));
                environment
            });
            Vec::from(environments)
        };
        let plain = match theme.has_pages() {
            true => environments(&Arc::new(Texts::built_in()), &|_, ours| ours.to_owned()),
            false => Vec::new(),
        };
        Self {
            environments: environments(&texts, &|name, ours| theme.template(name).unwrap_or(ours).to_owned()),
            plain,
            script_digest: digest(&script),
            style_digest: digest(&style),
            settings,
            texts,
        }
    }

    /// The files that pages of the theme may name.
    pub fn asset(&self, name: &str) -> Option<&Asset> {
        self.settings.look.theme.asset(name)
    }

    /// What the pages say, for what is said elsewhere.
    pub fn texts(&self) -> &Arc<Texts> {
        &self.texts
    }

    /// Under which the portal lives.
    pub fn prefix(&self) -> &str {
        &self.settings.prefix
    }

    /// The login page's path and query, which comes back to `next`.
    pub fn login_location(&self, next: Option<&str>, prompt: Option<Prompt>) -> String {
        self.address("/login", &[("next", next), ("prompt", prompt.map(Prompt::as_str))])
    }

    /// The address of a page of ours: a path under the prefix, and a query of what is there.
    pub(crate) fn address(&self, path: &str, query: &[(&str, Option<&str>)]) -> String {
        let mut address = format!("{}{path}", self.settings.prefix);
        let given = query.iter().filter_map(|(name, value)| Some((name, (*value)?)));
        for ((name, value), mark) in given.zip(std::iter::once('?').chain(std::iter::repeat('&'))) {
            address.push(mark);
            address.push_str(name);
            address.push('=');
            address.extend(utf8_percent_encode(value, QUERY_VALUE));
        }
        address
    }

    /// A page with everything that has to be said of it.
    pub(crate) fn respond(&self, asker: &Asker, page: Page<'_>, view: &impl Serialize) -> Response<Body> {
        let language = asker.language();
        let html = match self.render(language, page, view) {
            Ok(html) => html,
            Err(error) => {
                tracing::error!(
                    error = format!("{error:#}"),
                    template = page.template.name(),
                    "a page could not be rendered"
                );
                return asker.text(StatusCode::INTERNAL_SERVER_ERROR, "Internal error\n");
            }
        };
        let mut response = asker.answer(page.status, "text/html; charset=utf-8", html);
        let headers = response.headers_mut();
        headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
        headers.append(VARY, HeaderValue::from_static("accept-language, cookie"));
        headers.insert(CONTENT_SECURITY_POLICY, self.policy(page.form_targets));
        // Not `no-referrer`: browsers then send `Origin: null` with our own forms, and `null` is refused.
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers
            .insert(HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex, nofollow"));
        response
    }

    fn render(&self, language: Language, page: Page<'_>, view: &impl Serialize) -> Result<String, Error> {
        let view = Value::from(Serde(view));
        let rendered = render(&self.environments, language, page, view.clone());
        match rendered {
            Err(error) if !self.plain.is_empty() => {
                tracing::error!(
                    error = format!("{error:#}"),
                    template = page.template.name(),
                    "a page of the theme could not be rendered"
                );
                render(&self.plain, language, page, view)
            }
            rendered => rendered,
        }
    }

    fn policy(&self, form_targets: &str) -> HeaderValue {
        let Self { script_digest, style_digest, .. } = self;
        // What a theme brings along is served by us; without one a page loads nothing at all.
        let assets = if self.settings.look.theme.has_assets() {
            "img-src data: 'self'; font-src 'self'"
        } else {
            "img-src data:"
        };
        let targets = if form_targets.is_empty() { String::new() } else { format!(" {form_targets}") };
        let policy = format!(
            "default-src 'none'; style-src '{style_digest}'; script-src '{script_digest}'; {assets}; connect-src 'self'; \
             form-action 'self'{targets}; frame-ancestors 'none'; base-uri 'none'"
        );
        HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
    }
}

/// Every template that there is, of pages and of mails.
pub(super) fn templates() -> impl Iterator<Item = (&'static str, &'static str)> {
    TEMPLATES.into_iter().chain(letters::TEMPLATES)
}

/// Whether a template can be parsed.
pub(super) fn parse(name: &str, source: &str) -> Result<(), Error> {
    let texts = Arc::new(Texts::built_in());
    environment(Language::English, &texts).add_template_owned(name.to_owned(), source.to_owned())
}

/// Without templates.
fn environment(language: Language, texts: &Arc<Texts>) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the usual marks"));
    environment.set_formatter(write_escaped);
    phrase::add_to(&mut environment, language, texts);
    environment
}

/// What every template knows besides its view, its style and its script.
fn add_globals(environment: &mut Environment<'static>, language: Language, settings: &PageSettings) {
    let PageSettings { look, prefix } = settings;
    let footer = look.footer.iter().map(|item| {
        context! { text => item.text.in_language(language), url => item.url.as_ref().map(Link::as_str) }
    });
    environment.add_global("footer", footer.collect::<Vec<_>>());
    // A `data:` address of our own making.
    environment.add_global("icon", Value::from_safe_string(look.icon()));
    environment.add_global("lang", language.tag());
    environment.add_global("logo", look.logo().map(|logo| Value::from_safe_string(logo.to_owned())));
    environment.add_global("message", look.message.as_ref().map(|message| message.in_language(language)));
    environment.add_global("prefix", prefix.as_str());
    environment.add_global("title", look.title.as_ref().map(|title| title.in_language(language)));
}

/// One page with one of these, which are in the order of `Language::ALL`.
fn render(
    environments: &[Environment<'static>],
    language: Language,
    page: Page<'_>,
    view: Value,
) -> Result<String, Error> {
    let offered: &[Language] = if page.here.is_empty() { &[] } else { &Language::ALL };
    let mark = if page.here.contains('?') { '&' } else { '?' };
    let languages = offered.iter().map(|offered| {
        let tag = offered.tag();
        context! {
            href => format!("{}{mark}{}={tag}", page.here, texts::PARAMETER),
            name => offered.own_name(),
            spoken => *offered == language,
            tag,
        }
    });
    let languages: Vec<Value> = languages.collect();
    let index = Language::ALL.iter().position(|known| *known == language).unwrap_or_default();
    let environment = environments.get(index).ok_or(ErrorKind::TemplateNotFound)?;
    environment.get_template(page.template.name())?.render(context! { languages, view })
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
        Pages::new(PageSettings { prefix: "/.auth".into(), look: Look::default() })
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
        let page = Page { form_targets: "", here: "", status: StatusCode::OK, template: Template::Login };
        assert!(pages().render(Language::English, page, &()).is_err());
    }
}
