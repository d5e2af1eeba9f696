//! Identity headers: what the configured templates say about somebody, ready to be set.
//!
//! A value stands as it is when it is visible ASCII with single or several spaces inside. One with a
//! character beyond ASCII or a blank at an end is percent-encoded as UTF-8, and its `%` with it. So is
//! one that already looks encoded (a `%` before two hexadecimal digits): otherwise somebody named
//! `%C3%A9ric` would be `éric` to a backend. Decoding what holds `%XX` therefore always gives back
//! exactly the name. A control character is an error.
//!
//! Callers: `config` reads the maps and checks their names; each route holds its own; `proxy` and
//! `subrequest` set what they give.

use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::str::FromStr;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::identity::Identity;

/// Ready header fields, each to be set exactly once; cheap to clone.
pub type HeaderSet = Arc<[(HeaderName, HeaderValue)]>;

/// A map of identity headers: names that no backend reads as one or as something else, and what they say.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct IdentityHeaders(Vec<IdentityHeader>);

/// One identity header: its name and what it says, such as `{username}` or `user:{email}`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IdentityHeader {
    /// The name as configured.
    pub name: HeaderName,
    /// Text and placeholders.
    pub template: Template,
}

/// Text with `{username}`, `{email}`, `{name}` and `{roles}` in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template(pub Vec<TemplatePart>);

/// A piece of a template.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TemplatePart {
    /// `{email}`, empty without one.
    Email,
    /// `{name}`.
    Name,
    /// `{roles}`, separated by commas.
    Roles,
    /// Itself.
    Text(String),
    /// `{username}`.
    Username,
}

/// Why a text is no template.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidTemplate {
    /// A control character in it.
    #[error("a template holds no control character")]
    Control,
    /// A brace without its other half.
    #[error("a `{{` in a template begins one of {{username}}, {{email}}, {{name}} and {{roles}}")]
    Brace,
    /// No such placeholder.
    #[error("`{{{0}}}` is none of {{username}}, {{email}}, {{name}} and {{roles}}")]
    Placeholder(String),
}

/// An identity that can't be said in a header: it holds a control character.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an identity header would hold a control character")]
pub struct InvalidIdentity;

impl IdentityHeaders {
    /// A map whose names were checked.
    pub fn new(headers: Vec<IdentityHeader>) -> Self {
        Self(headers)
    }

    /// The names: what a client sends under them never arrives.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().map(|header| &header.name)
    }

    /// What is set for this identity: every name once, empty where it has nothing to say.
    pub fn values(&self, identity: &Identity) -> Result<HeaderSet, InvalidIdentity> {
        let value = |header: &IdentityHeader| {
            let text = header.template.render(identity);
            Ok((header.name.clone(), header_value(&text)?))
        };
        self.0.iter().map(value).collect()
    }

    /// Every name, empty: for the sub-requests of a route on which nobody is identified.
    pub fn empty_values(&self) -> HeaderSet {
        self.names().map(|name| (name.clone(), HeaderValue::from_static(""))).collect()
    }
}

impl Template {
    fn render(&self, identity: &Identity) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                TemplatePart::Email => text.push_str(identity.email.as_ref().map_or("", |e| e.as_str())),
                TemplatePart::Name => text.push_str(identity.name.as_str()),
                TemplatePart::Roles => {
                    for (at, role) in identity.roles.iter().enumerate() {
                        text.push_str(if at == 0 { "" } else { "," });
                        text.push_str(role.as_str());
                    }
                }
                TemplatePart::Text(itself) => text.push_str(itself),
                TemplatePart::Username => text.push_str(identity.username.as_str()),
            }
        }
        text
    }
}

impl FromStr for Template {
    type Err = InvalidTemplate;

    fn from_str(raw: &str) -> Result<Self, InvalidTemplate> {
        let named = |name: &str| match name {
            "email" => Some(TemplatePart::Email),
            "name" => Some(TemplatePart::Name),
            "roles" => Some(TemplatePart::Roles),
            "username" => Some(TemplatePart::Username),
            _ => None,
        };
        template_parts(raw, TemplatePart::Text, named).map(Self)
    }
}

/// The pieces of a template with whatever placeholders.
pub(crate) fn template_parts<P>(
    raw: &str,
    text: impl Fn(String) -> P,
    named: impl Fn(&str) -> Option<P>,
) -> Result<Vec<P>, InvalidTemplate> {
    if raw.contains(char::is_control) {
        return Err(InvalidTemplate::Control);
    }
    let mut parts = Vec::new();
    let mut rest = raw;
    while let Some(open) = rest.find(['{', '}']) {
        let (before, from_brace) = rest.split_at(open);
        if !before.is_empty() {
            parts.push(text(before.to_owned()));
        }
        let inside = from_brace.strip_prefix('{').ok_or(InvalidTemplate::Brace)?;
        let (name, after) = inside.split_once('}').ok_or(InvalidTemplate::Brace)?;
        parts.push(named(name).ok_or_else(|| InvalidTemplate::Placeholder(name.to_owned()))?);
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(text(rest.to_owned()));
    }
    Ok(parts)
}

/// By the rule at the top of this file.
pub(crate) fn header_value(text: &str) -> Result<HeaderValue, InvalidIdentity> {
    if text.contains(char::is_control) {
        return Err(InvalidIdentity);
    }
    if !needs_encoding(text) {
        return HeaderValue::from_str(text).map_err(|_| InvalidIdentity);
    }
    let last = text.len() - 1;
    let mut encoded = String::with_capacity(text.len() * 3);
    for (at, byte) in text.bytes().enumerate() {
        let inner_space = byte == b' ' && at != 0 && at != last;
        if inner_space || (byte.is_ascii_graphic() && byte != b'%') {
            encoded.push(char::from(byte));
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            let digit = |nibble: u8| char::from(HEX[usize::from(nibble)]);
            encoded.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    HeaderValue::try_from(encoded).map_err(|_| InvalidIdentity)
}

fn needs_encoding(text: &str) -> bool {
    let looks_encoded = |w: &[u8]| w[0] == b'%' && w[1].is_ascii_hexdigit() && w[2].is_ascii_hexdigit();
    !text.is_ascii()
        || text.starts_with(' ')
        || text.ends_with(' ')
        || text.as_bytes().windows(3).any(looks_encoded)
}

/// Values made once for each identity and map, on this thread: a bounded memory of the last ones.
///
/// Both are known by their allocations, which the memory keeps alive, so that no other can have their place.
#[derive(Debug, Default)]
pub struct ReadyValues {
    hasher: RandomState,
    slots: RefCell<Vec<Option<Ready>>>,
}

/// Who, under which map, and what is said.
type Ready = (Arc<Identity>, Arc<IdentityHeaders>, HeaderSet);

const SLOTS: usize = 1024;

impl ReadyValues {
    /// The values of `identity` under `map`.
    pub fn get(
        &self,
        map: &Arc<IdentityHeaders>,
        identity: &Arc<Identity>,
    ) -> Result<HeaderSet, InvalidIdentity> {
        let key = (Arc::as_ptr(identity).addr(), Arc::as_ptr(map).addr());
        let mut slots = self.slots.borrow_mut();
        if slots.is_empty() {
            slots.resize_with(SLOTS, || None);
        }
        let slot = &mut slots[self.hasher.hash_one(key) as usize % SLOTS];
        match slot {
            Some((known, of, ready)) if Arc::ptr_eq(known, identity) && Arc::ptr_eq(of, map) => {
                Ok(ready.clone())
            }
            _ => {
                let ready = map.values(identity)?;
                *slot = Some((identity.clone(), map.clone(), ready.clone()));
                Ok(ready)
            }
        }
    }
}

#[cfg(test)]
mod tests;
