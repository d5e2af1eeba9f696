//! The signed assertion, verified by an application that knows nothing of us: Flask with PyJWT.

use serde_json::json;

use crate::harness::Gateway;
use crate::program::{Program, directory, free_address, python, repository};

const ISSUER: &str = "http://app.test";

fn flask(gateway: std::net::SocketAddr) -> (Program, std::net::SocketAddr) {
    let (folder, address) = (directory(), free_address());
    let mut command = python("gunicorn");
    command
        .args(["--workers", "1", "--threads", "4"])
        .args(["--worker-tmp-dir".as_ref(), folder.path().as_os_str()])
        .args(["--bind", &address.to_string()])
        .arg("--chdir")
        .arg(repository("tests/components"))
        .arg("assertion:app")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("ISSUER", ISSUER)
        .env("JWKS", format!("http://{gateway}/.auth/jwks.json"));
    (Program::start(command, folder, address), address)
}

#[test]
fn a_flask_application_verifies_who_it_is_and_for_whom_that_was_said() {
    for algorithm in ["EdDSA", "ES256", "RS256"] {
        let listen = free_address();
        let (_flask, address) = flask(listen);
        let gateway = Gateway::start(&format!(
            "listen: {listen}\npublic_url: {ISSUER}\ntokens: {{ algorithm: {algorithm} }}\n\
             upstreams: {{ app: {{ servers: [\"http://{address}\"], assertion: true }} }}\n\
             routes:\n\
             \x20 - {{ path: /public/**, upstream: app, access: public, strip_prefix: /public }}\n\
             \x20 - {{ path: /**, upstream: app, credentials: [session, bearer, basic] }}\n"
        ));
        gateway.add_user("zoë", &["staff"]);
        let cookie = gateway.sign_in("zoë");
        let reply = gateway.get("/app", &[("cookie", &cookie)]);
        assert_eq!(reply.status, 200, "{algorithm}: {reply:?}");
        let seen = reply.json();
        let claims = &seen["claims"];
        assert_eq!(
            (&claims["preferred_username"], &claims["roles"][0]),
            (&json!("zoë"), &json!("staff")),
            "{seen}"
        );
        assert_eq!(seen["life"], 60, "{seen}");
        // Another upstream's name: what was said to one is nothing to another.
        let reply = gateway.get("/other", &[("cookie", &cookie)]);
        assert_eq!(
            (reply.status, &reply.json()["error"]),
            (403, &json!("InvalidAudienceError")),
            "{reply:?}"
        );
        // Nobody is known there, and what a client says does not arrive.
        let assertion = seen["assertion"].as_str().expect("it came").to_owned();
        let reply = gateway.get("/public/app", &[("x-foregate-assertion", &assertion)]);
        assert_eq!((reply.status, &reply.json()["error"]), (403, &json!("DecodeError")), "{reply:?}");
        let bearer = format!("Bearer {assertion}");
        assert_eq!(gateway.get("/app", &[("authorization", &bearer)]).status, 401);
    }
}
