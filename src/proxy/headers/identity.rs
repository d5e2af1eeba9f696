//! Identity headers: what the configured templates say about somebody, ready to be set.
//!
//! A value stands as it is when it is visible ASCII with single or several spaces inside. One with a
//! character beyond ASCII or a blank at an end is percent-encoded as UTF-8, and its `%` with it. So is
//! one that already looks encoded (a `%` before two hexadecimal digits): otherwise somebody named
//! `%C3%A9ric` would be `éric` to a backend. Decoding what holds `%XX` therefore always gives back
//! exactly the name. A control character is an error.
//!
//! Callers: `proxy` sets the values; `config` and `subrequest` compile maps of their own.

use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::str::FromStr;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::names;
use crate::identity::Identity;
use crate::proxy::{IdentityHeader, Template, TemplatePart};

/// Ready header fields, each to be set exactly once; cheap to clone.
pub type HeaderSet = Arc<[(HeaderName, HeaderValue)]>;

/// A map of identity headers, sound as a whole.
#[derive(Clone, Debug, Default)]
pub struct IdentityHeaders {
    headers: Vec<IdentityHeader>, // Invariant: no two names are one to a backend, none frames or routes a message.
}

/// Why a map of identity headers is not sound.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidIdentityHeaders {
    /// Two names that some backend reads as one.
    #[error("`{0}` is there twice, in spellings that backends read as one")]
    Doubled(HeaderName),
    /// No header name at all.
    #[error("`{0}` is not a header name")]
    Name(String),
    /// A name that the gateway or HTTP itself sets.
    #[error("`{0}` is set by the gateway and can't say who somebody is")]
    Taken(HeaderName),
    /// A template that can't be read.
    #[error(transparent)]
    Template(#[from] InvalidTemplate),
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
    /// Checks a map as a whole.
    pub fn compile(headers: Vec<IdentityHeader>) -> Result<Self, InvalidIdentityHeaders> {
        for (at, header) in headers.iter().enumerate() {
            if names::is_taken(&header.name) {
                return Err(InvalidIdentityHeaders::Taken(header.name.clone()));
            }
            if headers[..at].iter().any(|other| names::same(&other.name, &header.name)) {
                return Err(InvalidIdentityHeaders::Doubled(header.name.clone()));
            }
        }
        Ok(Self { headers })
    }

    /// Reads and checks a map as a route has it: names and templates.
    pub fn parse(map: &[(String, String)]) -> Result<Self, InvalidIdentityHeaders> {
        let headers = map
            .iter()
            .map(|(name, template)| {
                let invalid = |_| InvalidIdentityHeaders::Name(name.clone());
                let name = HeaderName::from_bytes(name.as_bytes()).map_err(invalid)?;
                Ok(IdentityHeader { name, template: template.parse()? })
            })
            .collect::<Result<_, InvalidIdentityHeaders>>()?;
        Self::compile(headers)
    }

    /// The names, for `ReservedNames`.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.headers.iter().map(|header| &header.name)
    }

    /// What is set for this identity: every name once, empty where it has nothing to say.
    pub fn values(&self, identity: &Identity) -> Result<HeaderSet, InvalidIdentity> {
        let value = |header: &IdentityHeader| {
            let text = header.template.render(identity);
            Ok((header.name.clone(), header_value(&text)?))
        };
        self.headers.iter().map(value).collect()
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
        if raw.contains(char::is_control) {
            return Err(InvalidTemplate::Control);
        }
        let mut parts = Vec::new();
        let mut rest = raw;
        while let Some(open) = rest.find(['{', '}']) {
            let (text, from_brace) = rest.split_at(open);
            if !text.is_empty() {
                parts.push(TemplatePart::Text(text.to_owned()));
            }
            let inside = from_brace.strip_prefix('{').ok_or(InvalidTemplate::Brace)?;
            let (name, after) = inside.split_once('}').ok_or(InvalidTemplate::Brace)?;
            parts.push(match name {
                "email" => TemplatePart::Email,
                "name" => TemplatePart::Name,
                "roles" => TemplatePart::Roles,
                "username" => TemplatePart::Username,
                other => return Err(InvalidTemplate::Placeholder(other.to_owned())),
            });
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(TemplatePart::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }
}

/// By the rule at the top of this file.
fn header_value(text: &str) -> Result<HeaderValue, InvalidIdentity> {
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
/// An identity is known by its allocation, which the memory keeps alive, so that no other can have its place.
#[derive(Debug)]
pub(crate) struct ReadyValues {
    hasher: RandomState,
    slots: RefCell<Vec<Option<Ready>>>,
}

/// Who, under which map, and what is said.
type Ready = (Arc<Identity>, usize, HeaderSet);

const SLOTS: usize = 1024;

impl ReadyValues {
    pub(crate) fn new() -> Self {
        Self { hasher: RandomState::new(), slots: RefCell::new(Vec::new()) }
    }

    /// The values of `identity` under `map`; `number` tells the maps of one proxy apart.
    pub(crate) fn get(
        &self,
        map: &IdentityHeaders,
        number: usize,
        identity: &Arc<Identity>,
    ) -> Result<HeaderSet, InvalidIdentity> {
        let key = (Arc::as_ptr(identity).addr(), number);
        let mut slots = self.slots.borrow_mut();
        if slots.is_empty() {
            slots.resize_with(SLOTS, || None);
        }
        let slot = &mut slots[self.hasher.hash_one(key) as usize % SLOTS];
        match slot {
            Some((known, of, ready)) if Arc::ptr_eq(known, identity) && *of == number => Ok(ready.clone()),
            _ => {
                let ready = map.values(identity)?;
                *slot = Some((identity.clone(), number, ready.clone()));
                Ok(ready)
            }
        }
    }
}

#[cfg(test)]
mod tests;
