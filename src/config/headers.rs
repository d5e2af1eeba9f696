//! Identity headers: which names may carry an identity, and the templates of their values.
//!
//! Callers: `config` for the global map, `routes` for a route's own.

use std::collections::HashMap;

use http::HeaderName;

use super::fault::{nearest, quote};
use super::reader::Value;
use super::units::Expected;
use crate::proxy::{IdentityHeader, Template, TemplatePart};

/// Names that a backend or a proxy reads as something else: an identity under one of them would break
/// framing, routing or another credential. Folded.
const RESERVED: [&str; 23] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
];

/// What is set where the configuration says nothing.
pub(super) fn defaults() -> Vec<IdentityHeader> {
    let header =
        |name, part| IdentityHeader { name: HeaderName::from_static(name), template: Template(vec![part]) };
    vec![
        header("remote-user", TemplatePart::Username),
        header("remote-email", TemplatePart::Email),
        header("remote-name", TemplatePart::Name),
        header("remote-groups", TemplatePart::Roles),
    ]
}

/// The headers of a map, each with its value as configured.
pub(super) fn read(map: &Value<'_>) -> Vec<(IdentityHeader, String)> {
    let mut headers = Vec::new();
    let mut seen: HashMap<String, Value<'_>> = HashMap::new();
    for value in map.entries("expected header names and templates, such as `Remote-User: \"{username}\"`") {
        let Some(name) = name(&value) else { continue };
        let folded = fold(value.key());
        if let Some(first) = seen.get(&folded) {
            let message = format!("`{}` and `{}` are one name to some backends", first.key(), value.key());
            let fault = value.fault_of_key(message).help("expected one of them alone");
            value.reader().add(first.relate_key(fault, "the other one"));
            continue;
        }
        seen.insert(folded, value);
        let Some(text) = value.text() else { continue };
        match template(&text) {
            Ok(template) => headers.push((IdentityHeader { name, template }, text)),
            Err(expected) => value.refuse(meant(&value).unwrap_or_else(|| expected.to_string())),
        }
    }
    headers
}

fn name(value: &Value<'_>) -> Option<HeaderName> {
    let key = value.key();
    let Ok(name) = HeaderName::try_from(key) else {
        let fault = value.fault_of_key(format!("`{}` is no header name", quote(key)));
        value.reader().add(fault.help("expected letters, digits and `-`, such as `Remote-User`"));
        return None;
    };
    if RESERVED.contains(&fold(key).as_str()) {
        let fault = value.fault_of_key(format!("`{key}` can't carry an identity"));
        value
            .reader()
            .add(fault.help("it means something else to backends; expected a name such as `Remote-User`"));
        return None;
    }
    Some(name)
}

/// The form in which two names are one to some backend: no case, and every other character equal.
fn fold(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

const PLACEHOLDERS: [(&str, TemplatePart); 4] = [
    ("username", TemplatePart::Username),
    ("email", TemplatePart::Email),
    ("name", TemplatePart::Name),
    ("roles", TemplatePart::Roles),
];

fn template(text: &str) -> Result<Template, Expected> {
    let expected = Expected("text with `{username}`, `{email}`, `{name}` or `{roles}` in it");
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, after) = rest.split_at(at);
        let (name, after) =
            after.strip_prefix('{').and_then(|after| after.split_once('}')).ok_or(expected)?;
        let (_, part) = PLACEHOLDERS.iter().find(|(known, _)| *known == name).ok_or(expected)?;
        if !before.is_empty() {
            parts.push(TemplatePart::Text(before.to_owned()));
        }
        parts.push(part.clone());
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(TemplatePart::Text(rest.to_owned()));
    }
    // A header's value is one line, and blanks at its ends don't arrive.
    if text.contains(char::is_control) || text.trim() != text || text.is_empty() {
        return Err(Expected("one line of text without blanks at its ends, such as `{username}`"));
    }
    Ok(Template(parts))
}

/// The placeholder that was probably meant, read off the text as written.
fn meant(value: &Value<'_>) -> Option<String> {
    let written = value.written()?;
    let known = || PLACEHOLDERS.iter().map(|(name, _)| *name);
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
