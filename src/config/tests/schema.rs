//! That the schema for editors knows the very keys that the reader asks for.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{MINIMAL, REFERENCE, parse, with};
use crate::config::SCHEMA;
use crate::config::reader::ASKED_FOR;

/// With every kind of section that the reference leaves out. Whether it is sound is of no account here.
const REST: &str = "listen: [{ unix: a.sock }]
tls: { certificates: [{ cert: a, key: b }] }
issuers: [{ issuer: https://a, claims: { username: a } }]
mail: { url: { file: a } }
portal: { footer: [{ text: a, url: b }] }
upstreams: { app: { servers: [a], tls: {}, health: {}, timeouts: {} } }
routes: [{ path: /**, upstream: app, require: { client_certificate: { subjects: [a] } }, headers: { A: { file: a } } }]
";

/// The names of all objects with named members, wherever they stand.
fn objects(schema: &Value, found: &mut BTreeSet<BTreeSet<String>>) {
    match schema {
        Value::Object(members) => {
            if let (Some(Value::Object(properties)), Some(Value::Bool(false))) =
                (members.get("properties"), members.get("additionalProperties"))
            {
                found.insert(properties.keys().cloned().collect());
            }
            members.values().for_each(|member| objects(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| objects(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_schema_has_the_keys_that_are_read_and_no_others() {
    ASKED_FOR.with_borrow_mut(BTreeSet::clear);
    for text in [REFERENCE, REST, &with(MINIMAL)] {
        drop(parse(text));
    }
    let read = ASKED_FOR.with_borrow(Clone::clone);
    let read: BTreeSet<BTreeSet<String>> =
        read.iter().map(|keys| keys.iter().map(|key| (*key).to_owned()).collect()).collect();
    let mut known = BTreeSet::new();
    objects(&serde_json::from_str(SCHEMA).expect("it is JSON"), &mut known);
    let missing: Vec<_> = read.difference(&known).collect();
    assert!(missing.is_empty(), "sections whose keys the schema does not have like this:\n{missing:#?}");
    // Words for languages are read as they come.
    let languages = BTreeSet::from(["de".to_owned(), "en".to_owned()]);
    let surplus: Vec<_> = known.difference(&read).filter(|keys| **keys != languages).collect();
    assert!(surplus.is_empty(), "the schema has keys that nothing reads:\n{surplus:#?}");
}
