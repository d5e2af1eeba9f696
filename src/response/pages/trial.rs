//! A theme's pages, tried out before anybody sees them: with what the portal hands to them, and with as little as it may.
//!
//! Callers: `theme`. Mails are `letters`'.

use std::time::Duration;

use http::StatusCode;
use minijinja::value::{Serde, Value};
use minijinja::{Error, context};

use super::{Page, Pages, Prompt, Template, render};
use crate::response::texts::{Language, Text, lasting};

/// Stands for the token of a form where a theme is tried.
const TRIAL_TOKEN: &str = "token-of-the-trial";

/// Why a page of a theme does not do.
#[derive(Debug)]
pub(in crate::response) enum PageFault {
    /// The form of this template would be refused whenever it is sent.
    NoToken(&'static str),
    /// This page can't be rendered.
    Render(&'static str, Error),
}

impl Pages {
    /// What the pages that everybody sees come to: that of a problem, and the login page with everything that may stand
    /// on it, and with the least.
    pub(in crate::response) fn trial(&self) -> Result<(), PageFault> {
        let page =
            Page { form_targets: "", here: "/", status: StatusCode::NOT_FOUND, template: Template::Problem };
        let text = |key| Value::from(Serde(Text::new(key)));
        let view = context! {
            actions => [context! { href => "/", label => text("go-to-start") }],
            detail => text("problem-not-found"),
            request_id => "0",
            status => 404,
            title => text("problem-not-found-title"),
        };
        let login = Page { status: StatusCode::OK, template: Template::Login, ..page };
        for language in Language::ALL {
            let rendered = render(&self.environments, language, page, view.clone());
            rendered.map_err(|error| PageFault::Render("the page of a problem", error))?;
            for (confirming, everything) in [(false, true), (true, true), (false, false)] {
                let view = login_view(confirming, everything);
                let rendered = render(&self.environments, language, login, view);
                let html = rendered.map_err(|error| PageFault::Render("the login page", error))?;
                // Without a form that posts it may lead to where people sign in otherwise.
                if posting_forms(&html).iter().any(|form| !form.contains(TRIAL_TOKEN)) {
                    return Err(PageFault::NoToken(login.template.name()));
                }
            }
        }
        Ok(())
    }
}

/// Each form that posts, from its tag to its end; in lower case, as the trial's token is.
fn posting_forms(html: &str) -> Vec<String> {
    let html = html.to_ascii_lowercase();
    let forms = html.split("<form").skip(1).filter_map(|rest| rest.split("</form").next());
    let posts = |form: &&str| {
        let said = form.split('>').next().and_then(|tag| tag.split_once("method"));
        said.is_some_and(|(_, said)| said.trim_start_matches(['=', '"', '\'', ' ']).starts_with("post"))
    };
    forms.filter(posts).map(ToOwned::to_owned).collect()
}

/// What the portal hands to the login page, in a trial.
fn login_view(confirming: bool, everything: bool) -> Value {
    let some = |value: Value| if everything { value } else { Value::from(()) };
    let text = |key| some(Value::from(Serde(Text::new(key))));
    let link = || some(Value::from("/"));
    context! {
        confirming,
        csrf_token => TRIAL_TOKEN,
        error => text("login-incorrect"),
        forgot => link(),
        go_on => link(),
        invalid => everything,
        next => link(),
        notice => text("login-incorrect"),
        place => "example.com",
        prompt => some(Value::from(Prompt::Login.as_str())),
        register => link(),
        remember => everything,
        remember_for => some(Value::from(Serde(lasting(Duration::from_secs(86_400))))),
        switch_to => "/",
        username => "",
    }
}
