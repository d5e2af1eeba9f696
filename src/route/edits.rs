//! What a route changes on the way to its upstream and back: fields of the head, and how the path begins.
//!
//! Everything is prepared when the configuration is read, so that a request has only to copy it; a route
//! that changes nothing costs nothing.
//!
//! Callers: `config` reads and checks them; `proxy` applies them. Which names may be changed is known in
//! `proxy::headers::names`, what a rewritten target may be in `request`.

use http::{HeaderName, HeaderValue};

/// A field to be set, in place of every one of that name, or to be removed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeaderEdit {
    /// Its name.
    pub name: HeaderName,
    /// What it says; `None` removes it.
    pub value: Option<HeaderValue>,
}

/// How the path begins for the upstream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PathRewrite {
    add: String,
    strip: String,
    told: Option<HeaderValue>,
}

impl PathRewrite {
    /// `strip` is cut off and `add` put before what is left; both are plain paths without a slash at the end, or empty.
    pub fn new(strip: String, add: String) -> Self {
        let told = Some(&strip).filter(|strip| !strip.is_empty());
        let told = told.and_then(|strip| HeaderValue::from_str(strip).ok());
        Self { add, strip, told }
    }

    /// What is put before the path; empty for nothing.
    pub fn add(&self) -> &str {
        &self.add
    }

    /// What is cut off the path; empty for nothing.
    pub fn strip(&self) -> &str {
        &self.strip
    }

    /// What the upstream is told was cut off (`X-Forwarded-Prefix`).
    pub fn told(&self) -> Option<&HeaderValue> {
        self.told.as_ref()
    }
}
