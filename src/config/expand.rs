//! `${NAME}` in a text takes an environment variable; `$${` stands for `${` itself.
//!
//! Callers: `config::reader`, for every text in the file.

/// Why a text can't be expanded. Names the variable, never a value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum ExpandError {
    #[error("the environment variable `{0}` is not set")]
    Missing(String),
    #[error("`${{` begins a variable that is no name, or has no closing `}}`")]
    Syntax,
}

/// The text with every variable in its place.
pub(super) fn expand(raw: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<String, ExpandError> {
    let mut expanded = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find("${") {
        let (before, variable) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            expanded.push_str(before);
            expanded.push_str("${");
            rest = variable;
            continue;
        }
        let (name, after) = variable.split_once('}').ok_or(ExpandError::Syntax)?;
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(letter) || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(ExpandError::Syntax);
        }
        expanded.push_str(before);
        expanded.push_str(&environment(name).ok_or_else(|| ExpandError::Missing(name.to_owned()))?);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_once_and_a_doubled_dollar_escapes() {
        let environment = |name: &str| match name {
            "HOST" => Some("a.test".to_owned()),
            "NESTED" => Some("${HOST}".to_owned()),
            _ => None,
        };
        for (raw, expected) in [
            ("", Ok("")),
            ("plain $ text", Ok("plain $ text")),
            ("${HOST}", Ok("a.test")),
            ("http://${HOST}:80/${HOST}", Ok("http://a.test:80/a.test")),
            ("$${HOST}", Ok("${HOST}")),
            ("${NESTED}", Ok("${HOST}")),
            ("${GONE}", Err(ExpandError::Missing("GONE".to_owned()))),
            ("${", Err(ExpandError::Syntax)),
            ("${}", Err(ExpandError::Syntax)),
            ("${A B}", Err(ExpandError::Syntax)),
            ("${1A}", Err(ExpandError::Syntax)),
        ] {
            assert_eq!(expand(raw, &environment), expected.map(str::to_owned), "{raw}");
        }
    }
}
