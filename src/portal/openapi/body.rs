//! What the body of a POST may be: one list of fields as a JSON object and as a form.
//!
//! Callers: `openapi`.

use serde_json::{Map, Value, json};

use crate::portal::operation::input::{CSRF_TOKEN, Field, Input, Kind, Need};

pub(super) fn request(input: &Input) -> Value {
    json!({
        "required": input.is_needed,
        "content": {
            "application/json": { "schema": json_object(input) },
            "application/x-www-form-urlencoded": { "schema": form(input) },
        },
    })
}

fn json_object(input: &Input) -> Value {
    let members = input.fields.iter().map(|field| (field.name.to_owned(), member(field)));
    let needed = input.fields.iter().filter(|field| field.need != Need::Optional);
    object(members.collect(), needed.map(|field| field.name).collect(), input)
}

fn form(input: &Input) -> Value {
    let (lists, singles): (Vec<&Field>, Vec<&Field>) =
        input.fields.iter().partition(|field| field.kind.is_list());
    let mut fields: Map<String, Value> = singles
        .iter()
        .map(|field| {
            let mut schema = json!({ "type": "string", "description": field.about });
            if field.kind == Kind::Email {
                schema["format"] = "email".into();
            }
            constrain(&mut schema, field);
            (field.name.to_owned(), schema)
        })
        .collect();
    let needed = singles.iter().filter(|field| field.need != Need::Optional);
    let mut needed: Vec<&str> = needed.map(|field| field.name).collect();
    if input.is_proven {
        needed.push(CSRF_TOKEN);
        let about = "From the page that the form stands on; it goes with a cookie of that page.";
        fields.insert(CSRF_TOKEN.to_owned(), json!({ "type": "string", "description": about }));
    }
    let mut schema = object(fields, needed, input);
    let boxes = lists.iter().map(|field| {
        let about = format!("{} A box for each, called `{}:` and the text.", field.about, field.name);
        (format!("^{}:", field.name), json!({ "type": "string", "description": about }))
    });
    let boxes: Map<String, Value> = boxes.collect();
    if !boxes.is_empty() {
        schema["patternProperties"] = boxes.into();
    }
    schema
}

fn object(members: Map<String, Value>, needed: Vec<&str>, input: &Input) -> Value {
    let mut schema = json!({ "type": "object", "properties": members });
    if !needed.is_empty() {
        schema["required"] = needed.into();
    }
    if input.closed {
        schema["additionalProperties"] = false.into();
    }
    if !input.one_of.is_empty() {
        schema["anyOf"] = input.one_of.iter().map(|names| json!({ "required": names })).collect();
    }
    schema
}

/// A member of a JSON object. Null is as good as left out.
fn member(field: &Field) -> Value {
    let (kind, more) = match field.kind {
        Kind::Email => ("string", json!({ "format": "email" })),
        Kind::Flag => ("boolean", json!({})),
        Kind::List { most } => ("array", json!({ "items": { "type": "string" }, "maxItems": most })),
        Kind::Number { least, most } => ("integer", json!({ "minimum": least, "maximum": most })),
        // Which ones there are is not for everybody who reads the document.
        Kind::Routes => {
            ("array", json!({ "items": { "type": "string", "description": "The name of a route." } }))
        }
        Kind::Secret => ("string", json!({ "format": "password" })),
        Kind::Text => ("string", json!({})),
    };
    let mut schema = more;
    schema["description"] = field.about.into();
    schema["type"] = match field.need {
        Need::Filled => kind.into(),
        Need::Optional | Need::There => json!([kind, "null"]),
    };
    constrain(&mut schema, field);
    schema
}

/// Not empty, where it must not be.
fn constrain(schema: &mut Value, field: &Field) {
    match (field.need, field.kind) {
        (Need::Filled, Kind::Secret) => schema["minLength"] = 1.into(),
        (Need::Filled, Kind::Email | Kind::Text) => schema["pattern"] = "\\S".into(),
        (Need::Filled, Kind::Flag | Kind::List { .. } | Kind::Number { .. } | Kind::Routes)
        | (Need::Optional | Need::There, _) => {}
    }
}
