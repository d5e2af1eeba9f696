//! Other issuers as they are: a certified OpenID provider, and the libraries that people sign with.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use serde_json::Value;

use crate::harness::{Connection, Gateway, Reply, Upstream, wait_until};
use crate::program::{Program, directory, free_address, missing, python, repository, system};

const PACKAGES: &str = "tests/components/node/node_modules";

fn node(script: &str) -> Command {
    if !repository(PACKAGES).join("installed.json").is_file() {
        missing("oidc-provider");
    }
    let mut command = system("node");
    command.arg(repository("tests/components/node").join(script));
    command
}

fn provider(address: SocketAddr) -> Program {
    let mut command = node("provider.mjs");
    command.arg(address.port().to_string());
    Program::start(command, directory(), address)
}

/// Something of a server that is not ours.
fn post(address: SocketAddr, target: &str, headers: &str, body: &str) -> Reply {
    let mut connection = Connection::to(address);
    let length = body.len();
    let head = format!(
        "POST {target} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\nconnection: close\r\n"
    );
    connection.write(format!("{head}{headers}\r\n{body}").as_bytes());
    connection.reply(false)
}

/// An access token of the machine client (RFC 6749 §4.4, RFC 8707).
fn access_token(address: SocketAddr, algorithm: &str) -> String {
    let secret = base64::engine::general_purpose::STANDARD.encode("robot:a%20secret%20of%20the%20robot%27s");
    let headers =
        format!("authorization: Basic {secret}\r\ncontent-type: application/x-www-form-urlencoded\r\n");
    let body = format!("grant_type=client_credentials&scope=read&resource=urn%3Aapi%3A{algorithm}");
    let reply = post(address, "/token", &headers, &body);
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["access_token"].as_str().expect("a token").to_owned()
}

fn show(gateway: &Gateway, token: &str) -> Reply {
    gateway.get("/", &[("authorization", &format!("Bearer {token}"))])
}

#[test]
fn an_openid_provider_s_access_tokens_come_in_through_its_rotations_and_its_outages() {
    let address = free_address();
    let provider = provider(address);
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "issuers:\n  - issuer: http://{address}\n    audiences: [api]\n    refresh: 2s\n    \
         claims: {{ username: preferred_username, roles: roles }}\n    required_claims: {{ client_id: robot }}\n\
         upstreams: {{ app: \"http://{}\" }}\n\
         routes:\n  - {{ path: /**, require: {{ roles: [robots] }}, upstream: app }}\n",
        upstream.address
    ));
    let mut before = Vec::new();
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let token = access_token(address, algorithm);
        let reply = show(&gateway, &token);
        assert_eq!(reply.status, 200, "{algorithm}: {reply:?}\n{}", gateway.log());
        let seen = upstream.last().to_lowercase();
        assert!(
            seen.contains("remote-user: robot-7\r\n") && seen.contains("remote-groups: robots,staff\r\n"),
            "{seen}"
        );
        before.push(token);
    }
    // A token for somebody else is good for somebody else.
    let opaque = post(
        address,
        "/token",
        "content-type: application/x-www-form-urlencoded\r\n",
        "grant_type=client_credentials&client_id=robot&client_secret=a+secret+of+the+robot%27s",
    );
    if let Some(token) = opaque.json()["access_token"].as_str() {
        assert_eq!(show(&gateway, token).status, 401, "an opaque one says nothing to us");
    }

    assert_eq!(post(address, "/test/rotate", "", "").status, 200);
    let after: Vec<String> =
        ["RS256", "ES256", "EdDSA"].iter().map(|one| access_token(address, one)).collect();
    for token in after.iter().chain(&before) {
        assert_eq!(show(&gateway, token).status, 200, "{token}");
    }
    // The old keys are taken back while there are tokens of theirs.
    assert_eq!(post(address, "/test/forget", "", "").status, 200);
    wait_until(|| before.iter().all(|token| show(&gateway, token).status == 401), || gateway.log());
    assert!(after.iter().all(|token| show(&gateway, token).status == 200));

    let unseen = access_token(address, "ES256");
    drop(provider);
    gateway.wait_for_log("the keys of an issuer can't be fetched");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(show(&gateway, &unseen).status, 200, "what is known goes on to hold");
    // It comes back with other keys altogether.
    let _provider = self::provider(address);
    let token = access_token(address, "EdDSA");
    wait_until(|| show(&gateway, &token).status == 200, || gateway.log());
    wait_until(|| show(&gateway, &unseen).status == 401, || gateway.log());
}

/// Tokens and keys that a library made.
fn issued(mut command: Command, issuer: &str) -> Value {
    let output = command.args([issuer, "api"]).output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn what_other_libraries_sign_is_taken_by_the_keys_that_they_publish() {
    let python = |library: &str| {
        let mut command = python("python");
        command.arg(repository("tests/components/issue.py")).arg(library);
        command
    };
    let commands = [
        ("urn:pyjwt", python("pyjwt"), 6),
        ("urn:python-jose", python("python-jose"), 3),
        ("urn:jose", node("issue.mjs"), 7),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let mut issuers = "issuers:\n".to_owned();
    let mut tokens = Vec::new();
    for (issuer, command, count) in commands {
        let made = issued(command, issuer);
        let file = folder.path().join(format!("{}.json", issuer.replace(':', "-")));
        std::fs::write(&file, made["jwks"].to_string()).expect("it is written");
        issuers += &format!(
            "  - issuer: \"{issuer}\"\n    jwks: {}\n    audiences: [api]\n    claims: {{ roles: groups }}\n    \
             algorithms: [RS256, PS256, PS384, ES256, ES384, ES512, EdDSA]\n",
            file.display()
        );
        let made = made["tokens"].as_object().expect("tokens").clone();
        assert_eq!(made.len(), count, "{issuer}");
        tokens.extend(made.into_iter().map(|(algorithm, token)| (issuer, algorithm, token)));
    }
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "{issuers}upstreams: {{ app: \"http://{}\" }}\n\
         routes: [{{ path: /**, require: {{ roles: [staff] }}, upstream: app }}]\n",
        upstream.address
    ));
    for (issuer, algorithm, token) in &tokens {
        let token = token.as_str().expect("a token");
        let reply = show(&gateway, token);
        assert_eq!(reply.status, 200, "{issuer} {algorithm}: {reply:?}\n{token}");
        assert!(upstream.last().to_lowercase().contains(&format!("-{}\r\n", algorithm.to_lowercase())));
        // And nothing else of theirs is.
        let (input, signature) = token.rsplit_once('.').expect("three parts");
        let other = if signature.starts_with('A') { "B" } else { "A" };
        let forged = format!("{input}.{other}{}", &signature[1..]);
        assert_eq!(show(&gateway, &forged).status, 401, "{issuer} {algorithm}");
    }
    assert_eq!(upstream.count(), tokens.len());
}
