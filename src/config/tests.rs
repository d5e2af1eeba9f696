//! The configuration as its reader meets it: what is read, and what a faulty file is told.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const REFERENCE: &str = include_str!("../../config/foregate.yaml");
const MINIMAL: &str = "upstreams: { app: http://127.0.0.1:3000 }\nroutes: [{ path: /**, upstream: app }]\n";

fn environment(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("9000".to_owned()),
        "SECRET" => Some("hunter2".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn parse(text: &str) -> Result<Config, Faults> {
    Config::parse(text, "foregate.yaml", &environment, Path::new("/etc/foregate"))
}

fn sound(text: &str) -> Config {
    parse(text).unwrap_or_else(|faults| panic!("{faults}"))
}

/// The minimal file with this before it.
fn with(head: &str) -> String {
    format!("{head}\n{MINIMAL}")
}

fn faults(text: &str) -> String {
    match parse(text) {
        Ok(_) => panic!("this is sound:\n{text}"),
        Err(faults) => faults.to_string(),
    }
}

#[test]
fn show() {
    for text in [
        with("listn: 1"),
        with("title: x"),
        with("session:\n  idle_timeout: 30x\n  lifetime: [1h]"),
        with("store: sled:./a\nstore: sled:./b"),
        "upstreams: { app: http://a:1 }\n".to_owned(),
        "routes:\n  - path: /a\n    upstrem: app\n  - methods: [get]\n".to_owned(),
        "upstreams: { app: http://a:1 }\nroutes:\n  - path: /**\n    upstream: ap\n".to_owned(),
        "upstreams: { app: http://a:1 }\nroutes:\n  - path: /**\n    upstream: app\n  - { path: /admin/**, upstream: app }\n  - path: /.auth/x\n".to_owned(),
        with("session:\n\tlifetime: 1h"),
        with("session: &a { lifetime: 1h }\ncache: *a\nportal: { <<: 1 }\nlog: !x {}"),
        with("session: { lifetime: 1h"),
        with("portal: { title: 'x\n"),
        with("listen: [::]:80"),
        with("store: mysql://${SECRET}@x/y"),
        with("store: ${GONE}"),
        with("public_url: https://${SECRET}/x"),
        with("password: null\ncache:\nlog: 5"),
        String::new(),
        "# nothing\n".to_owned(),
        "- a\n".to_owned(),
        "routes:\nupstreams: {}\n".to_owned(),
        with("identity_headers: { Remote-User: '{usernam}', remote_user: '{email}', Host: '{name}', 'a b': x }"),
        with("---\nlog: {}\n---\n"),
    ] {
        match parse(&text) {
            Ok(config) => println!("-- sound {:?}", config.warnings),
            Err(faults) => println!("--\n{faults}\n"),
        }
    }
    let config = sound(REFERENCE);
    println!("{config:#?}");
    let _ = Duration::ZERO;
    let _ = any::<u8>();
    let _ = faults("");
}
