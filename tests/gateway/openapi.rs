//! The document of what programs can do here: sound in itself, and as the configuration has it.
//!
//! That the gateway answers as it says is shown by schemathesis in `tests/components`, and in debug builds by every
//! other test here: an answer that an operation does not describe ends the gateway's connection.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::Gateway;
use crate::mailbox::MAIL;

const ROUTES: &str = "upstreams: { app: \"http://127.0.0.1:9\" }\n\
    routes:\n\
    \x20 - { name: files, path: /files/**, credentials: [basic], upstream: app }\n\
    \x20 - { name: open, path: /open/**, access: public, upstream: app }\n\
    \x20 - { name: rest, path: /**, upstream: app }\n";

fn document(gateway: &Gateway) -> Value {
    let reply = gateway.get("/.auth/openapi.json", &[]);
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")), "{reply:?}");
    reply.json()
}

/// Each operation, with its method and path.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let each = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().expect("methods");
        methods.iter().map(move |(method, operation)| (format!("{method} {path}"), operation))
    });
    each.collect()
}

fn names(document: &Value) -> BTreeSet<String> {
    operations(document).into_iter().map(|(name, _)| name).collect()
}

/// Calls this for every object of a document.
fn each_object<'a>(value: &'a Value, look: &mut impl FnMut(&'a serde_json::Map<String, Value>)) {
    match value {
        Value::Object(members) => {
            look(members);
            members.values().for_each(|member| each_object(member, look));
        }
        Value::Array(list) => list.iter().for_each(|one| each_object(one, look)),
        _ => {}
    }
}

#[test]
fn the_document_is_sound_openapi() {
    let gateway = Gateway::start(&format!(
        "registration: {{ mode: open }}\nportal: {{ account_deletion: true }}\n{MAIL}{ROUTES}"
    ));
    let document = document(&gateway);
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["servers"], json!([{ "url": format!("http://{}/.auth", gateway.address) }]));

    each_object(&document, &mut |object| {
        if let Some(Value::String(reference)) = object.get("$ref") {
            let pointer = reference.strip_prefix('#').expect("a reference within the document");
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
        if let (Some(Value::Array(needed)), Some(Value::Object(members))) =
            (object.get("required"), object.get("properties"))
        {
            for name in needed {
                let name = name.as_str().expect("a name");
                assert!(members.contains_key(name), "{name} is required and not described: {object:?}");
            }
        }
    });

    let schemes = document["components"]["securitySchemes"].as_object().expect("schemes");
    let mut ids = BTreeSet::new();
    for (name, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{name} has no operationId"));
        assert!(ids.insert(id), "{id} stands twice");
        let responses = operation["responses"].as_object().expect("responses");
        assert!(!responses.is_empty(), "{name}");
        for (status, response) in responses {
            assert!(
                status.parse::<u16>().is_ok_and(|status| (200..600).contains(&status)),
                "{name} {status}"
            );
            assert!(!response["description"].as_str().expect("a description").is_empty(), "{name} {status}");
        }
        for alternative in operation["security"].as_array().expect("security") {
            for scheme in alternative.as_object().expect("an object").keys() {
                assert!(schemes.contains_key(scheme), "{name} takes an unknown {scheme}");
            }
        }
        let (_, path) = name.split_once(' ').expect("a method and a path");
        let in_path = operation["parameters"].as_array().expect("parameters").iter();
        let in_path: Vec<_> = in_path.filter(|parameter| parameter["in"] == "path").collect();
        assert_eq!(path.matches('{').count(), in_path.len(), "{name}");
        assert!(in_path.iter().all(|parameter| path.contains(parameter["name"].as_str().expect("a name"))));
    }
}

#[test]
fn the_document_follows_the_configuration() {
    let least = Gateway::start(ROUTES);
    let most = Gateway::start(&format!(
        "public_url: https://sso.example.com\nregistration: {{ mode: approval }}\n\
         portal: {{ prefix: /sso, account_deletion: true }}\n{MAIL}{ROUTES}"
    ));
    let lesser = document(&least);
    let reply = most.get("/sso/openapi.json", &[]);
    let fuller = reply.json();
    let more: BTreeSet<_> = names(&fuller).difference(&names(&lesser)).cloned().collect();
    let expected = [
        "get /account/email",
        "get /forgot",
        "get /register",
        "post /account/delete",
        "post /account/email",
        "post /confirm/resend",
        "post /forgot",
        "post /register",
    ];
    assert_eq!(more, expected.map(str::to_owned).into());
    assert_eq!(names(&lesser).difference(&names(&fuller)).count(), 0);
    // And what is not in it is not there.
    for name in expected {
        let (method, path) = name.split_once(' ').expect("a method and a path");
        let reply = least.request(&method.to_uppercase(), &format!("/.auth{path}"), &[], b"");
        assert_eq!(reply.status, 404, "{name}: {reply:?}");
    }

    assert_eq!(fuller["servers"][0]["url"], "https://sso.example.com/sso");
    let schemes = |document: &Value| document["components"]["securitySchemes"].clone();
    assert_eq!(schemes(&lesser)["session"]["name"], "foregate");
    assert_eq!(schemes(&fuller)["session"]["name"], "__Host-foregate");
    let routes = "/paths/~1account~1tokens/post/requestBody/content/application~1json/schema/properties/routes/items/type";
    assert_eq!(fuller.pointer(routes), Some(&json!("string")));
    assert!(
        !reply.text().contains("\"files\""),
        "everybody reads it, and the routes' names are not for everybody"
    );

    // It may be kept until it changes.
    let tag = reply.header("etag").expect("an entity tag");
    let again = most.get("/sso/openapi.json", &[("if-none-match", tag)]);
    assert_eq!((again.status, again.body.len()), (304, 0), "{again:?}");
    let head = most.request("HEAD", "/sso/openapi.json", &[], b"");
    assert_eq!((head.status, head.header("etag")), (200, Some(tag)), "{head:?}");
}

#[test]
fn of_tokens_the_document_says_where_they_stand_and_what_goes_beside_them() {
    let with = |tokens: &str| document(&Gateway::start(&format!("tokens: {{ {tokens} }}\n{ROUTES}")));
    let (off, on) = (with("cookies: false"), with("cookies: true"));
    for (path, in_cookies_too) in [("/token/refresh", 3), ("/token/revoke", 4)] {
        for (document, in_cookies) in [(&off, false), (&on, true)] {
            let operation = &document["paths"][path]["post"];
            assert_eq!(operation["requestBody"]["required"], false, "{path}");
            let cookie = &operation["responses"]["200"]["headers"]["Set-Cookie"];
            assert_eq!(cookie["schema"]["type"] == "string", in_cookies, "{path}: {cookie}");
            assert_ne!(cookie["required"], true, "not where programs keep their tokens themselves");
            let parameters = operation["parameters"].as_array().expect("a list");
            let double = parameters.iter().find(|parameter| parameter["name"] == "X-CSRF-TOKEN");
            assert_eq!(double.is_some(), in_cookies && path == "/token/refresh", "{path}: {parameters:?}");
            let ways = operation["security"].as_array().expect("a list").len();
            assert_eq!(ways, if in_cookies { in_cookies_too } else { 2 }, "{path}");
        }
    }
    let cookie = &on["components"]["securitySchemes"]["refreshCookie"];
    assert_eq!((&cookie["in"], &cookie["name"]), (&json!("cookie"), &json!("refresh_token_cookie")));
    assert!(off["components"]["securitySchemes"].get("refreshCookie").is_none());
    let sets = |document: &Value| {
        document["paths"]["/token"]["post"]["responses"]["200"]["headers"]["Set-Cookie"].clone()
    };
    assert!(sets(&on).is_object() && sets(&off).is_null());
    assert_eq!(on["paths"]["/token"]["post"]["parameters"][0]["name"], "X-CSRF-TOKEN");
    for (document, in_cookies) in [(&off, false), (&on, true)] {
        let ways = document["paths"]["/me"]["get"]["security"].as_array().expect("a list");
        assert_eq!(ways.contains(&json!({ "accessCookie": [] })), in_cookies, "{ways:?}");
    }
    assert_eq!(on["paths"]["/token"]["post"]["requestBody"]["required"], true);
}

#[test]
fn every_other_method_is_told_which_ones_there_are() {
    let gateway = Gateway::start(&format!(
        "registration: {{ mode: open }}\nportal: {{ account_deletion: true }}\n{MAIL}{ROUTES}"
    ));
    let document = document(&gateway);
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let target = format!("/.auth{}", path.replace("{id}", "x").replace("{name}", "x"));
        let methods = methods.as_object().expect("methods");
        let allow = match (methods.contains_key("get"), methods.contains_key("post")) {
            (true, true) => "GET, HEAD, POST",
            (true, false) => "GET, HEAD",
            (false, true) => "POST",
            (false, false) => panic!("{path} knows no method"),
        };
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"] {
            if allow.split(", ").any(|known| known == method) {
                continue;
            }
            let reply = gateway.request(method, &target, &[], b"");
            assert_eq!(
                (reply.status, reply.header("allow")),
                (405, Some(allow)),
                "{method} {path}: {reply:?}"
            );
        }
    }
}

#[test]
fn a_person_who_opens_where_a_form_led_to_is_shown_the_page() {
    let gateway = Gateway::start(ROUTES);
    for path in ["/account/password", "/account/tokens", "/account/sessions/revoke-others"] {
        let reply = gateway.get(&format!("/.auth{path}"), &[("accept", "text/html")]);
        assert_eq!((reply.status, reply.header("location")), (303, Some("/.auth/account")), "{reply:?}");
    }
}

#[test]
fn a_form_that_is_refused_is_shown_again_whatever_accept_says() {
    let gateway = Gateway::start(ROUTES);
    gateway.add_user("alice", &[]);
    let cookie = gateway.sign_in("alice");
    let form = ("content-type", "application/x-www-form-urlencoded");
    for path in ["/account/password", "/account/profile", "/account/tokens"] {
        for accept in ["*/*", "application/json", "text/html"] {
            let headers = [form, ("cookie", cookie.as_str()), ("accept", accept)];
            let reply = gateway.request("POST", &format!("/.auth{path}"), &headers, b"name=x");
            let kind = reply.header("content-type");
            assert_eq!((reply.status, kind), (403, Some("text/html; charset=utf-8")), "{path}: {reply:?}");
        }
    }
    // Who asks for the page of another address and is no browser is told, not led.
    let gateway = Gateway::start(&format!("{MAIL}{ROUTES}"));
    assert_eq!(gateway.get("/.auth/account/email", &[]).status, 401);
    assert_eq!(gateway.get("/.auth/account/email", &[("accept", "text/html")]).status, 303);
}

/// Method, headers, body; and the status that is due.
type Try<'a> = (&'a str, Vec<(&'a str, &'a str)>, &'a [u8], u16);

#[test]
fn under_token_every_fault_is_told_as_oauth_has_it() {
    let gateway = Gateway::start(ROUTES);
    let form = ("content-type", "application/x-www-form-urlencoded");
    let json_type = ("content-type", "application/json");
    let large = vec![b'a'; 70_000];
    for path in ["/.auth/token", "/.auth/token/revoke"] {
        let tries: [Try<'_>; 7] = [
            ("GET", vec![], b"", 405),
            ("GET", vec![("accept", "text/html")], b"", 405),
            ("POST", vec![("content-type", "text/plain")], b"x", 415),
            ("POST", vec![form], &large, 413),
            ("POST", vec![form, ("sec-fetch-site", "cross-site")], b"token=x", 403),
            ("POST", vec![json_type], b"[]", 400),
            ("POST", vec![json_type], br#"{"username":1,"token":1}"#, 400),
        ];
        for (method, headers, body, status) in tries {
            let reply = gateway.request(method, path, &headers, body);
            let told = (reply.status, reply.header("content-type"), reply.json()["error"].clone());
            assert_eq!(
                told,
                (status, Some("application/json"), "invalid_request".into()),
                "{method} {headers:?}: {reply:?}"
            );
            assert!(reply.json()["error_description"].is_string(), "{reply:?}");
        }
    }
    let reply = gateway.request("POST", "/.auth/token", &[form, ("origin", "https://evil.test")], b"");
    assert_eq!(reply.json()["code"], "cross_site", "and by the word that it has elsewhere: {reply:?}");
    let reply = gateway.request("POST", "/.auth/token/introspect", &[form], b"token=x");
    assert_eq!((reply.status, &reply.json()["error"]), (401, &json!("invalid_token")), "{reply:?}");
    assert!(reply.header("www-authenticate").is_some(), "{reply:?}");
}
