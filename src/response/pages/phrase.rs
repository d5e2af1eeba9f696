//! `t` in the templates: a message by its name and arguments, or a text that the view holds.
//!
//! Callers: `pages` alone.

use std::sync::Arc;

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, HtmlEscape};

use crate::response::texts::{Language, Said, Texts};

/// Messages with this ending hold markup of their own.
const MARKUP: &str = "-html";

/// Lets the templates speak this language.
pub(super) fn add_to(environment: &mut Environment<'static>, language: Language, texts: &Arc<Texts>) {
    let texts = Arc::clone(texts);
    environment.add_function("t", move |what: Value, arguments: Kwargs| -> Result<Value, Error> {
        let given = arguments.args().map(|name| Ok((name, arguments.get::<Value>(name)?)));
        let given = given.collect::<Result<Vec<_>, Error>>()?;
        let phrase = Phrase { language, texts: &texts };
        match what.as_str() {
            Some(key) => phrase.message(key, &given),
            None if given.is_empty() => phrase.text(&what),
            None => Err(invalid("a text has its arguments in it")),
        }
    });
}

struct Phrase<'a> {
    language: Language,
    texts: &'a Texts,
}

impl Phrase<'_> {
    /// A `Text`, as it is serialized.
    fn text(&self, text: &Value) -> Result<Value, Error> {
        let verbatim = text.get_attr("verbatim")?;
        if !verbatim.is_undefined() {
            return Ok(verbatim);
        }
        let key = text.get_attr("message")?;
        let key = key.as_str().ok_or_else(|| invalid("`t` takes the name of a message or a text"))?;
        let arguments = text.get_attr("arguments")?;
        let names: Vec<Value> = arguments.try_iter()?.collect();
        let arguments =
            names.iter().map(|name| Ok((name.as_str().unwrap_or_default(), arguments.get_item(name)?)));
        self.message(key, &arguments.collect::<Result<Vec<_>, Error>>()?)
    }

    fn message(&self, key: &str, arguments: &[(&str, Value)]) -> Result<Value, Error> {
        let markup = key.ends_with(MARKUP);
        let said = arguments.iter().map(|(name, value)| Ok((*name, self.argument(value, markup)?)));
        let said = said.collect::<Result<Vec<_>, Error>>()?;
        let sentence = self.texts.format(self.language, key, said);
        let sentence = sentence.map_err(|error| invalid(&error.to_string()))?;
        Ok(if markup { Value::from_safe_string(sentence) } else { Value::from(sentence) })
    }

    fn argument(&self, value: &Value, escaped: bool) -> Result<Said, Error> {
        let word = match value.kind() {
            ValueKind::Number => {
                return u64::try_from(value.clone()).map(Said::Count);
            }
            ValueKind::Map => self.text(value)?.to_string(),
            ValueKind::String => value.to_string(),
            _ => return Err(invalid("an argument is neither a word nor a number nor a text")),
        };
        Ok(Said::Word(if escaped { escape(&word) } else { word }))
    }
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, what.to_owned())
}
/// As a value is escaped in a template: a slash ends nothing, and stays.
fn escape(word: &str) -> String {
    let pieces: Vec<String> = word.split('/').map(|piece| HtmlEscape(piece).to_string()).collect();
    pieces.join("/")
}
