//! Headers: which names may carry an identity, with the templates of their values, and which a route may
//! set or remove, with their values.
//!
//! Callers: `config` for the global map of identity headers, `routes` for a route's own and its edits; `tls` for
//! the names that tell of a certificate.

use http::{HeaderName, HeaderValue, header};

use super::fault::{nearest, quote};
use super::reader::Value;
use super::units::Expected;
use crate::proxy::headers::CookieNames;
use crate::proxy::headers::names::{self, Fixed};
use crate::route::HeaderEdit;
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
    let mut seen = Seen::default();
    for value in map.entries("expected header names and templates, such as `Remote-User: \"{username}\"`") {
        let Some(name) = identity_name(&value).filter(|name| seen.is_new(name, value)) else { continue };
        let Some(text) = value.text() else { continue };
        match template(&text) {
            Ok(template) => headers.push(IdentityHeader { name, template }),
            Err(expected) => value.refuse(meant(&value).unwrap_or_else(|| expected.to_string())),
        }
    }
    IdentityHeaders::new(headers)
}

/// The names of one map so far, and where they stand.
#[derive(Default)]
pub(super) struct Seen<'a>(Vec<(HeaderName, Value<'a>)>);

impl<'a> Seen<'a> {
    /// Whether no other stands there already that some backend takes for this one; then this is told.
    pub(super) fn is_new(&mut self, name: &HeaderName, value: Value<'a>) -> bool {
        if let Some((_, first)) = self.0.iter().find(|(known, _)| names::same(known, name)) {
            let message = format!("`{}` and `{}` are one name to some backends", first.key(), value.key());
            let fault = value.fault_of_key(message).help("expected one of them alone");
            value.reader().add(first.relate_key(fault, "the other one"));
            return false;
        }
        self.0.push((name.clone(), value));
        true
    }
}

/// Fields that one route can change; each is looked for among those of every request.
const MAX_EDITS: usize = 100;

/// Of one value; many servers take no more in one field.
const VALUE_BYTES: usize = 8 * 1024;

/// On which way a route changes fields.
#[derive(Clone, Copy)]
pub(super) enum Way<'a> {
    /// From the upstream to the client; our own cookies are not for it to set.
    Answer(&'a CookieNames),
    /// To the upstream.
    Request,
}

/// The fields that a route sets or removes, and where each stands.
pub(super) fn edits<'a>(map: &Value<'a>, way: Way<'_>) -> Vec<(HeaderEdit, Value<'a>)> {
    let mut seen = Seen::default();
    let values = map.entries("expected header names and values, such as `X-Tenant: blue`; `null` removes");
    if let Some(value) = values.get(MAX_EDITS) {
        value.reader().add(value.fault_of_key(format!("there are more than {MAX_EDITS} headers")));
        return Vec::new();
    }
    let mut edit = |value: &Value<'a>| {
        let name = editable_name(value).filter(|name| seen.is_new(name, *value))?;
        let value = if value.is_null() { None } else { Some(edit_value(value, &name, way)?) };
        Some(HeaderEdit { name, value })
    };
    values.into_iter().filter_map(|value| Some((edit(&value)?, value))).collect()
}

fn editable_name(value: &Value<'_>) -> Option<HeaderName> {
    let name = header_name(value)?;
    let Some(fixed) = names::fixed(&name) else { return Some(name) };
    let help = match fixed {
        Fixed::Connection => "it belongs to a connection or frames a message: Foregate makes it anew",
        Fixed::Host => "what the servers see as Host is said at the upstream: `host`",
        Fixed::Origin => {
            "it says who somebody is or where a request comes from: Foregate alone sets or removes it"
        }
    };
    value.reader().add(value.fault_of_key(format!("a route can't change `{}`", value.key())).help(help));
    None
}

fn edit_value(value: &Value<'_>, name: &HeaderName, way: Way<'_>) -> Option<HeaderValue> {
    let text = value.secret()?;
    let plain = text.trim() == text && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    let Some(mut ready) = HeaderValue::from_str(&text).ok().filter(|_| plain && text.len() <= VALUE_BYTES)
    else {
        value
            .refuse_secret("expected one line of ASCII characters without blanks at its ends, 8 KiB at most");
        return None;
    };
    match way {
        Way::Answer(cookies) if *name == header::SET_COOKIE && cookies.is_set_by(&ready) => {
            value.refuse("expected another cookie: this one is Foregate's own");
            None
        }
        Way::Answer(_) => Some(ready),
        Way::Request => {
            // It may be a password for the backend.
            ready.set_sensitive(true);
            Some(ready)
        }
    }
}

fn header_name(value: &Value<'_>) -> Option<HeaderName> {
    let key = value.key();
    let name = HeaderName::try_from(key).ok();
    if name.is_none() {
        let fault = value.fault_of_key(format!("`{}` is no header name", quote(key)));
        value.reader().add(fault.help("expected letters, digits and `-`, such as `Remote-User`"));
    }
    name
}

/// A key that may name a header of ours.
pub(super) fn identity_name(value: &Value<'_>) -> Option<HeaderName> {
    let (key, name) = (value.key(), header_name(value)?);
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
