//! Mails as HTML and as plain text, by templates that a theme may put others in place of.
//!
//! A letter comes here said in its language. Every word of it is escaped in HTML, whoever chose it.
//!
//! Callers: `mail` writes its letters with these, `theme` tries a theme out on one.

use std::sync::Arc;

use minijinja::value::{Serde, Value};
use minijinja::{Environment, Error, ErrorKind, context};
use serde::Serialize;

use super::environment;
use crate::response::look::{Look, MailColors};
use crate::response::texts::Language;

pub(in crate::response) const TEMPLATES: [(&str, &str); 2] =
    [(HTML, include_str!("../templates/mail.html")), (TEXT, include_str!("../templates/mail.txt"))];
const HTML: &str = "mail.html";
const TEXT: &str = "mail.txt";

/// A mail, said in its language.
#[derive(Clone, Debug, Serialize)]
pub struct Letter {
    /// Below the buttons, with less weight.
    pub after: Vec<String>,
    /// Above the buttons.
    pub before: Vec<String>,
    /// The first is what most people want.
    pub buttons: Vec<Button>,
    /// What stands before the addresses of the buttons, written out.
    pub by_hand: String,
    /// Who has sent it.
    pub footer: String,
    /// The first line.
    pub greeting: String,
    /// Of what is said.
    #[serde(skip)]
    pub language: Language,
    /// What people know the site by.
    pub site: String,
    /// Also the heading.
    pub subject: String,
}

/// Something to open.
#[derive(Clone, Debug, Serialize)]
pub struct Button {
    /// What it says.
    pub label: String,
    /// Where it leads.
    pub url: String,
}

/// Why no letter is written with a theme.
#[derive(Debug)]
pub(in crate::response) enum LetterFault {
    /// What is to be opened doesn't stand in what this template makes.
    NoAddress(&'static str),
    Render(Error),
}

/// The templates, ready to render.
#[derive(Debug)]
pub struct Letters {
    /// One for each language, in the order of `Language::ALL`.
    environments: Vec<Environment<'static>>,
    /// The same without the theme, for a mail that fails with it.
    plain: Vec<Environment<'static>>,
}

impl Letters {
    /// Those of the theme in place of ours.
    pub fn new(look: &Look) -> Self {
        let theme = &look.theme;
        let is_themed = TEMPLATES.iter().any(|(name, _)| theme.template(name).is_some());
        let of_theme = |name: &str, ours: &'static str| theme.template(name).unwrap_or(ours).to_owned();
        Self {
            environments: environments(look, &of_theme),
            plain: if is_themed { environments(look, &|_, ours| ours.to_owned()) } else { Vec::new() },
        }
    }

    /// For programs that show no HTML, and for people who prefer it so.
    pub fn text(&self, letter: &Letter) -> String {
        self.render(TEXT, letter).trim_end().to_owned() + "\n"
    }

    /// For everybody else.
    pub fn html(&self, letter: &Letter) -> String {
        self.render(HTML, letter)
    }

    /// What goes wrong with a letter that has no button, one or two.
    pub(in crate::response) fn trial(&self) -> Result<(), LetterFault> {
        let word = || "word".to_owned();
        let cases =
            Language::ALL.into_iter().flat_map(|language| (0..=2).map(move |count| (language, count)));
        for (language, count) in cases {
            let letter = Letter {
                after: vec![word()],
                before: vec![word(), word()],
                buttons: (0..count).map(|at| Button { label: word(), url: format!("address{at}") }).collect(),
                by_hand: word(),
                footer: word(),
                greeting: word(),
                language,
                site: word(),
                subject: word(),
            };
            for (name, _) in TEMPLATES {
                let rendered = render(&self.environments, name, &letter).map_err(LetterFault::Render)?;
                if letter.buttons.iter().any(|button| !rendered.contains(&button.url)) {
                    return Err(LetterFault::NoAddress(name));
                }
            }
        }
        Ok(())
    }

    fn render(&self, name: &str, letter: &Letter) -> String {
        let told = |error: &Error| {
            tracing::error!(error = format!("{error:#}"), template = name, "a mail could not be rendered");
        };
        let rendered = render(&self.environments, name, letter).inspect_err(told);
        let rendered = match self.plain.is_empty() {
            true => rendered,
            false => rendered.or_else(|_| render(&self.plain, name, letter).inspect_err(told)),
        };
        // A test renders ours. Rather a bare mail than none: the link in it is what somebody waits for.
        rendered.unwrap_or_else(|_| bare(letter))
    }
}

fn bare(letter: &Letter) -> String {
    let links = letter.buttons.iter().map(|button| format!("{}: {}", button.label, button.url));
    letter.before.iter().cloned().chain(links).collect::<Vec<_>>().join("\n\n")
}

fn environments(look: &Look, source: &dyn Fn(&str, &'static str) -> String) -> Vec<Environment<'static>> {
    let texts = Arc::new(look.texts());
    let colors = colors(&look.mail_colors());
    let made = Language::ALL.map(|language| {
        let mut environment = environment(language, &texts);
        for (name, ours) in TEMPLATES {
            let added = environment.add_template_owned(name, source(name, ours));
            added.expect("a test parses our templates, and a theme was parsed");
        }
        environment.add_global("colors", colors.clone());
        environment.add_global("lang", language.tag());
        environment.add_global("title", look.title.as_ref().map(|title| title.in_language(language)));
        environment
    });
    Vec::from(made)
}

fn colors(colors: &MailColors) -> Value {
    let pair = |[light, dark]: &[String; 2]| context! { light, dark };
    let MailColors { button, on_button, text } = colors;
    context! { button => pair(button), on_button => pair(on_button), text => pair(text) }
}

fn render(environments: &[Environment<'static>], name: &str, letter: &Letter) -> Result<String, Error> {
    let index = Language::ALL.iter().position(|known| *known == letter.language).unwrap_or_default();
    let environment = environments.get(index).ok_or(ErrorKind::TemplateNotFound)?;
    environment.get_template(name)?.render(context! { view => Value::from(Serde(letter)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(word: &str) -> Letter {
        Letter {
            after: vec![word.to_owned()],
            before: vec![word.to_owned()],
            buttons: vec![Button { label: word.to_owned(), url: word.to_owned() }],
            by_hand: word.to_owned(),
            footer: word.to_owned(),
            greeting: word.to_owned(),
            language: Language::English,
            site: word.to_owned(),
            subject: word.to_owned(),
        }
    }

    fn letters() -> Letters {
        Letters::new(&Look::default())
    }

    #[test]
    fn no_word_becomes_markup() {
        let word = "<img src=x onerror=\"'&\">";
        let html = letters().html(&letter(word));
        assert!(!html.contains("<img") && !html.contains("onerror=\""), "{html}");
        assert!(html.matches("&lt;img src=x onerror=&quot;").count() >= 8, "{html}");
        assert!(letters().text(&letter(word)).contains(word), "text is text");
    }

    #[test]
    fn nothing_is_loaded_from_anywhere() {
        let html = letters().html(&letter("word"));
        for tag in ["<img", "<link", "<script", "url(", "@import", "src=", "http"] {
            assert!(!html.contains(tag), "{tag} in {html}");
        }
    }

    #[test]
    fn the_text_has_its_parts_apart_and_each_address_on_a_line_of_its_own() {
        let mut letter = letter("word");
        letter.buttons = vec![Button { label: "Open".into(), url: "https://a.test/?x=1&y=2".into() }];
        let expected = "word\n\nword\n\nOpen:\nhttps://a.test/?x=1&y=2\n\nword\n\n-- \nword\n";
        assert_eq!(letters().text(&letter), expected);
        letter.buttons.clear();
        letter.after.clear();
        assert_eq!(letters().text(&letter), "word\n\nword\n\n-- \nword\n");
    }

    #[test]
    fn colour_and_title_are_the_operators() {
        let look = Look {
            color: Some("#aa3311".parse().expect("a colour")),
            title: Some(crate::response::look::Wording::everywhere("Acme".to_owned())),
            ..Look::default()
        };
        let html = Letters::new(&look).html(&letter("word"));
        assert!(html.contains(">Acme</td>") && html.contains("background:#aa3311;"), "{html}");
    }
}
