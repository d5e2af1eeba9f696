//! Identity headers: which names may carry an identity, and the templates of their values.
//!
//! Callers: `config` for the global map, `routes` for a route's own; `tls` asks which names there may be.

use http::HeaderName;

use super::fault::{nearest, quote};
use super::reader::Value;
use super::units::Expected;
use crate::proxy::headers::names;
use crate::route::identity_headers::{
    IdentityHeader, IdentityHeaders, InvalidTemplate, Template, TemplatePart,
};

/// What is set where the configuration says nothing.
pub(super) fn defaults() -> IdentityHeaders {
    let header =
        |name, part| IdentityHeader { name: HeaderName::from_static(name), template: Template(vec![part]) };
    IdentityHeaders::new(vec![
        header("remote-user", TemplatePart::Username),
        header("remote-email", TemplatePart::Email),
        header("remote-name", TemplatePart::Name),
        header("remote-groups", TemplatePart::Roles),
    ])
}

/// The headers of a map.
pub(super) fn read(map: &Value<'_>) -> IdentityHeaders {
    let mut headers = Vec::new();
    let mut seen: Vec<(HeaderName, Value<'_>)> = Vec::new();
    for value in map.entries("expected header names and templates, such as `Remote-User: \"{username}\"`") {
        let Some(name) = name(&value) else { continue };
        if let Some((_, first)) = seen.iter().find(|(known, _)| names::same(known, &name)) {
            let message = format!("`{}` and `{}` are one name to some backends", first.key(), value.key());
            let fault = value.fault_of_key(message).help("expected one of them alone");
            value.reader().add(first.relate_key(fault, "the other one"));
            continue;
        }
        seen.push((name.clone(), value));
        let Some(text) = value.text() else { continue };
        match template(&text) {
            Ok(template) => headers.push(IdentityHeader { name, template }),
            Err(expected) => value.refuse(meant(&value).unwrap_or_else(|| expected.to_string())),
        }
    }
    IdentityHeaders::new(headers)
}

/// A key that may name a header of ours.
pub(super) fn name(value: &Value<'_>) -> Option<HeaderName> {
    let key = value.key();
    let Ok(name) = HeaderName::try_from(key) else {
        let fault = value.fault_of_key(format!("`{}` is no header name", quote(key)));
        value.reader().add(fault.help("expected letters, digits and `-`, such as `Remote-User`"));
        return None;
    };
    if names::is_taken(&name) {
        let fault = value.fault_of_key(format!("`{key}` can't carry an identity"));
        value
            .reader()
            .add(fault.help("it means something else to backends; expected a name such as `Remote-User`"));
        return None;
    }
    Some(name)
}

fn template(text: &str) -> Result<Template, Expected> {
    // Blanks at its ends don't arrive.
    if text.trim() != text || text.is_empty() {
        return Err(Expected("one line of text without blanks at its ends, such as `{username}`"));
    }
    text.parse().map_err(|invalid| match invalid {
        InvalidTemplate::Control => {
            Expected("one line of text without control characters, such as `{username}`")
        }
        InvalidTemplate::Brace | InvalidTemplate::Placeholder(_) => {
            Expected("text with `{username}`, `{email}`, `{name}` or `{roles}` in it")
        }
    })
}

/// The placeholder that was probably meant, read off the text as written.
fn meant(value: &Value<'_>) -> Option<String> {
    let written = value.written()?;
    let known = || ["username", "email", "name", "roles"].into_iter();
    let names = written.split('{').skip(1).filter_map(|piece| piece.split_once('}')).map(|(name, _)| name);
    let unknown = names.filter(|name| !known().any(|known| known == *name));
    unknown
        .filter_map(|name| nearest(name, known()))
        .next()
        .map(|known| format!("did you mean `{{{known}}}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_text_and_placeholders() {
        use TemplatePart::{Email, Name, Text, Username};
        for (text, parts) in [
            ("{username}", vec![Username]),
            ("user:{email}", vec![Text("user:".into()), Email]),
            ("{name} <{email}>", vec![Name, Text(" <".into()), Email, Text(">".into())]),
            ("fixed", vec![Text("fixed".into())]),
        ] {
            assert_eq!(template(text), Ok(Template(parts)), "{text}");
        }
        for text in
            ["", "{", "}", "{}", "{user}", "{username", "username}", "{{username}}", "a\nb", " {username}"]
        {
            assert!(template(text).is_err(), "{text}");
        }
    }
}
