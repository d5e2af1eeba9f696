//! `name:hash`, as Apache's `htpasswd` writes it and nginx, Apache and many others read it.
//!
//! Callers: `cli::user::import::lines`.

use super::jsonl::TextLines;
use super::lines::{Line, Metered, Reader, Unreadable};
use super::row::Row;

pub(super) fn read(file: Metered) -> Result<Reader, Unreadable> {
    Ok(Box::new(TextLines::new(file).filter_map(|line| {
        let (number, text) = match line {
            Ok(line) => line,
            Err(fault) => return Some(Err(fault)),
        };
        let nothing = |text: &String| text.trim().is_empty() || text.starts_with('#');
        let nothing = text.as_ref().is_ok_and(nothing);
        (!nothing)
            .then(|| Ok(Line { account: text.and_then(|text| row(&text)).and_then(Row::account), number }))
    })))
}

fn row(text: &str) -> Result<Row, String> {
    let (name, rest) = text.split_once(':').ok_or("expected a name, a colon and a hash")?;
    // nginx allows a comment behind the hash.
    let hash = rest.split(':').next().unwrap_or_default();
    if hash.is_empty() {
        return Err("there is no hash behind the name".to_owned());
    }
    Ok(Row { username: Some(name.to_owned()), password_hash: Some(hash.into()), ..Row::default() })
}
