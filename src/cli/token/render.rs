//! Personal access tokens as text: a table, JSON.
//!
//! Callers: `cli::token`.

use crate::admin::{Moment, TokenView};
use crate::cli::table::lined_up;

const HEADS: [&str; 7] = ["ID", "NAME", "SCOPES", "ROUTES", "CREATED", "EXPIRES", "LAST USED"];

/// As a JSON array, a token a line.
pub(super) fn array(tokens: &[TokenView]) -> serde_json::Result<String> {
    let lines: Result<Vec<_>, _> = tokens.iter().map(serde_json::to_string).collect();
    let lines = lines?;
    Ok(if lines.is_empty() { "[]\n".to_owned() } else { format!("[\n  {}\n]\n", lines.join(",\n  ")) })
}

/// As a table; nothing where there is none.
pub(super) fn table(tokens: &[TokenView]) -> String {
    let rows = tokens.iter().map(|token| {
        let time = |moment: Option<Moment>, none: &str| moment.map_or(none.to_owned(), |at| at.to_string());
        let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.as_str()).collect();
        let routes: Vec<&str> = token.routes.iter().map(String::as_str).collect();
        [
            token.id.to_string(),
            token.name.to_string(),
            if scopes.is_empty() { "-".to_owned() } else { scopes.join(",") },
            if routes.is_empty() { "all".to_owned() } else { routes.join(",") },
            token.created_at.to_string(),
            time(token.expires_at, "never"),
            time(token.last_used_at, "never"),
        ]
    });
    lined_up(HEADS, true, rows)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::identity::TokenId;

    fn token(name: &str, routes: &[&str]) -> TokenView {
        let at = |seconds: u64| Moment(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds));
        TokenView {
            id: TokenId::from_bytes([7; 8]),
            name: name.parse().expect("a label"),
            scopes: ["introspect".parse().expect("a scope")].into(),
            routes: routes.iter().map(|name| (*name).to_owned()).collect(),
            created_at: at(0),
            expires_at: (!routes.is_empty()).then(|| at(60)),
            last_used_at: None,
        }
    }

    #[test]
    fn a_table_lines_up_and_says_what_is_not_limited() {
        let text = table(&[token("phone", &[]), token("backup job", &["dav", "git"])]);
        assert_eq!(
            text,
            "ID                NAME        SCOPES      ROUTES   CREATED               EXPIRES               LAST USED\n\
             0707070707070707  phone       introspect  all      2023-11-14T22:13:20Z  never                 never\n\
             0707070707070707  backup job  introspect  dav,git  2023-11-14T22:13:20Z  2023-11-14T22:14:20Z  never\n"
        );
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn an_array_reads_back() {
        for count in 0..3 {
            let text = array(&vec![token("a", &["dav"]); count]).expect("JSON");
            let read: Vec<serde_json::Value> = serde_json::from_str(&text).expect("an array");
            assert_eq!(read.len(), count);
            assert!(
                read.iter().all(|token| token["id"] == "0707070707070707" && token["routes"][0] == "dav")
            );
        }
    }
}
