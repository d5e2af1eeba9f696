//! The target of a request.

/// Path and query, as sent.
#[derive(Clone, Debug)]
pub struct Target {
    raw: String,
}

impl Target {
    /// Exactly as sent.
    pub fn as_str(&self) -> &str {
        &self.raw
    }

    #[cfg(test)]
    pub(crate) fn for_tests(raw: &str) -> Self {
        Self { raw: raw.to_owned() }
    }
}
