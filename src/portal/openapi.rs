//! `/openapi.json`: what programs can do here, as OpenAPI 3.1, written from the operations themselves.
//!
//! It says what this configuration offers, and nothing of anybody: it is open to all, as the key set is.
//!
//! Callers: the portal's dispatch.

use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderMap, Response};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::operation::answer::{Answer, Content};
use super::operation::{Credential, Description, Offered, Operation};
use super::token::Refused;
use super::{Portal, Verb, metadata};
use crate::authn::location::{ACCESS_COOKIE, REFRESH_COOKIE};
use crate::response::{Asker, Body, Details};

mod body;

/// Of what is described, not of the program, whose version is nobody's business.
const VERSION: &str = "1";

const ABOUT: &str = "\
Forms and JSON meet at the same paths: a request with `Content-Type: application/json` is answered in JSON, a form with a \
page or a redirect. A form needs the token (`csrf_token`) and the cookie of the page that it stands on; JSON needs neither, \
as no page of another site can send it unasked. Every POST is refused where `Origin` or `Sec-Fetch-Site` says that it comes \
from another site.

What goes wrong is told by RFC 9457 problem details, with a stable word as `code`; under `/token` as RFC 6749 §5.2 has it; \
and as a page to who prefers HTML. GET is HEAD as well; any other method is 405 with `Allow`. A member that is null is as \
good as left out. A request that is no sound HTTP, or larger than may be, is refused before it comes here, by 400, 414 or \
431.";

/// What the document refers to, by name.
type Shapes = Vec<(String, RefOr<Schema>)>;

pub(super) const ANSWER: Description = Description {
    about: "This document.",
    answers: &[Answer::kept("application/json", "The document."), Answer::known()],
    body: None,
    credential: Credential::None,
    id: "openApi",
    offered: Offered::Always,
    query: &[],
};

pub(super) fn answer(portal: &Portal, asker: &Asker, headers: &HeaderMap) -> Response<Body> {
    let document = portal.openapi.get_or_init(|| document(portal).to_string());
    metadata::public(asker, headers, document.clone())
}

fn document(portal: &Portal) -> Value {
    let base = format!("{}{}", portal.public_url, portal.settings.prefix);
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let mut shapes = Vec::new();
    for operation in Operation::ALL.iter().filter(|operation| operation.is_offered(portal)) {
        let verb = match operation.verb() {
            Verb::Get => "get",
            Verb::Post => "post",
            // None is called so.
            Verb::Other => continue,
        };
        let described = self::operation(*operation, portal.gives_cookies(), &mut shapes);
        paths.entry(operation.path()).or_default().insert(verb.to_owned(), described);
    }
    let schemas: BTreeMap<String, RefOr<Schema>> = shapes.into_iter().collect();
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Foregate", "version": VERSION, "description": ABOUT },
        "servers": [{ "url": base }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": schemes(portal, &base),
        },
    })
}

/// `in_cookies`: tokens come in cookies, too.
fn operation(operation: Operation, in_cookies: bool, shapes: &mut Shapes) -> Value {
    let description = operation.description();
    let mut parameters: Vec<Value> = description
        .query
        .iter()
        .map(|parameter| {
            json!({
                "name": parameter.name,
                "in": "query",
                "description": parameter.about,
                "required": parameter.needed,
                "schema": { "type": "string" },
            })
        })
        .collect();
    if let Some((_, rest)) = operation.path().split_once('{') {
        let name = rest.split('}').next().unwrap_or_default();
        parameters.push(json!({
            "name": name,
            "in": "path",
            "required": true,
            "schema": { "type": "string", "pattern": "^[A-Za-z0-9._-]+$" },
        }));
    }
    if description.answers.iter().any(|answer| matches!(answer.content, Content::Kept(_))) {
        parameters.push(json!({
            "name": "If-None-Match",
            "in": "header",
            "description": "The `ETag` of what is known already.",
            "schema": { "type": "string" },
        }));
    }
    if in_cookies && matches!(operation, Operation::Token | Operation::RefreshToken) {
        parameters.push(json!({
            "name": "X-CSRF-TOKEN",
            "in": "header",
            "description": "What stands in the cookie `csrf_refresh_token`; needed with a refresh token from a cookie.",
            "schema": { "type": "string" },
        }));
    }
    let mut described = json!({
        "operationId": description.id,
        "description": description.about,
        "parameters": parameters,
        "responses": responses(description, in_cookies, shapes),
        "security": security(description.credential, in_cookies),
    });
    if let Some(input) = description.body {
        described["requestBody"] = body::request(input);
    }
    described
}

/// The answers by their statuses.
fn responses(description: &Description, in_cookies: bool, shapes: &mut Shapes) -> Value {
    let mut by_status: BTreeMap<u16, Vec<&Answer>> = BTreeMap::new();
    for answer in description.all_answers() {
        by_status.entry(answer.status.as_u16()).or_default().push(answer);
    }
    let responses = by_status
        .into_iter()
        .map(|(status, answers)| (status.to_string(), response(&answers, in_cookies, shapes)));
    Value::Object(responses.collect())
}

fn response(answers: &[&Answer], in_cookies: bool, shapes: &mut Shapes) -> Value {
    let mut content = Map::new();
    let mut words = BTreeSet::new();
    for answer in answers {
        match answer.content {
            Content::Json(shape) => {
                (shape.parts)(shapes);
                shapes.push(((shape.name)().into_owned(), (shape.schema)()));
                content.insert("application/json".into(), json!({ "schema": reference(&(shape.name)()) }));
            }
            Content::Kept(media_type) => {
                content.insert(media_type.into(), json!({}));
            }
            Content::None | Content::Redirect => {}
            Content::OAuth(errors) => {
                words.extend(errors);
                let schema = fault::<Refused<'_>>("error", &words, shapes);
                content.insert("application/json".into(), json!({ "schema": schema }));
            }
            Content::Page => {
                content.insert("text/html".into(), page());
            }
            Content::Problem(codes) => {
                words.extend(codes);
                let schema = fault::<Details<'_>>("code", &words, shapes);
                content.insert("application/problem+json".into(), json!({ "schema": schema }));
                content.insert("text/html".into(), page());
            }
            Content::Text => {
                content.insert("text/plain".into(), json!({ "schema": { "type": "string" } }));
            }
        }
    }
    let mut about: Vec<&str> = Vec::new();
    for answer in answers.iter().filter(|answer| !answer.about.is_empty()) {
        if !about.contains(&answer.about) {
            about.push(answer.about);
        }
    }
    let named: BTreeSet<&str> = answers.iter().flat_map(|answer| answer.all_headers()).collect();
    let headers = named.into_iter().map(|name| {
        let always = answers.iter().all(|answer| answer.all_headers().any(|other| other == name));
        (name.to_owned(), json!({ "required": always, "schema": { "type": "string" } }))
    });
    let mut headers: Map<String, Value> = headers.collect();
    if in_cookies && answers.iter().any(|answer| answer.has_token_cookies) {
        let about = "The cookies for the tokens, one field for each; or what takes them away.";
        let cookie = json!({ "description": about, "schema": { "type": "string" } });
        headers.entry("Set-Cookie").or_insert(cookie);
    }
    let mut response = json!({ "description": about.join(" Or: "), "headers": headers });
    for operation in answers.iter().filter_map(|answer| answer.leads_to) {
        let link = json!({ "operationId": operation, "parameters": { "id": "$response.body#/id" } });
        response["links"] = json!({ operation: link });
    }
    if !content.is_empty() {
        response["content"] = Value::Object(content);
    }
    response
}

/// A fault's schema, with the words that it may have here.
fn fault<T: ToSchema>(member: &str, words: &BTreeSet<&str>, shapes: &mut Shapes) -> Value {
    let name = T::name();
    T::schemas(shapes);
    shapes.push((name.to_string(), T::schema()));
    json!({ "allOf": [reference(&name), { "properties": { member: { "enum": words } } }] })
}

fn page() -> Value {
    json!({ "schema": { "type": "string" } })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn security(credential: Credential, in_cookies: bool) -> Value {
    match credential {
        Credential::Any if in_cookies => {
            json!([{ "session": [] }, { "bearer": [] }, { "accessCookie": [] }, { "basic": [] }])
        }
        Credential::Any => json!([{ "session": [] }, { "bearer": [] }, { "basic": [] }]),
        Credential::Introspector => json!([{ "introspector": [] }]),
        Credential::None => json!([]),
        // An empty one: with the token in the body nothing else is needed, and without any this is no 401, which programs
        // expect where a scheme is asked for, but 400 (RFC 6749 §5.2).
        Credential::OwnToken if in_cookies => {
            json!([{}, { "token": [] }, { "accessCookie": [] }, { "refreshCookie": [] }])
        }
        Credential::OwnToken => json!([{}, { "token": [] }]),
        Credential::RefreshToken if in_cookies => json!([{}, { "token": [] }, { "refreshCookie": [] }]),
        Credential::RefreshToken => json!([{}, { "token": [] }]),
        Credential::Session => json!([{ "session": [] }]),
    }
}

fn schemes(portal: &Portal, base: &str) -> Value {
    let mut schemes = json!({
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": portal.session_cookie,
            "description": "Set by `POST /login`. Where it is the only one that is taken, `Authorization` is not looked at.",
        },
        "bearer": {
            "type": "oauth2",
            "description": "An access token of ours or of an issuer that is trusted here, or a personal access token.",
            "flows": { "password": {
                "tokenUrl": format!("{base}/token"),
                "refreshUrl": format!("{base}/token"),
                "scopes": {},
            } },
        },
        "basic": {
            "type": "http",
            "scheme": "basic",
            "description": "The name (or the address) and the password, or a personal access token in its place.",
        },
        "introspector": {
            "type": "http",
            "scheme": "bearer",
            "description": "A personal access token with the scope `introspect`, which an administrator makes.",
        },
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "The token that the operation is about: to be used up, or to be ended.",
        },
    });
    if portal.gives_cookies() {
        let cookies = [("accessCookie", ACCESS_COOKIE), ("refreshCookie", REFRESH_COOKIE)];
        for (name, cookie) in cookies {
            let about = "Set by `POST /token` and `POST /token/refresh`.";
            schemes[name] = json!({ "type": "apiKey", "in": "cookie", "name": cookie, "description": about });
        }
    }
    schemes
}
