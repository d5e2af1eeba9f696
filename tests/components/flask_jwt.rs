//! A client that was written for Flask-JWT-Extended sees the same from us, in front of an application that knows no token, as
//! from the application that it was written for.

use std::net::SocketAddr;
use std::process::Command;

use crate::harness::{Gateway, run};
use crate::program::{Program, directory, free_address, python, repository};

fn flask(application: &str) -> Program {
    let (folder, address) = (directory(), free_address());
    let mut command = python("gunicorn");
    command
        .args(["--workers", "1", "--threads", "4"])
        .args(["--worker-tmp-dir".as_ref(), folder.path().as_os_str()])
        .args(["--bind", &address.to_string()])
        .arg("--chdir")
        .arg(repository("tests/components"))
        .arg(format!("flask_jwt:{application}"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Program::start(command, folder, address)
}

/// What the client has seen, one step a line.
fn client(address: SocketAddr) -> Vec<String> {
    let mut command: Command = python("python");
    command.arg(repository("tests/components/flask_jwt_client.py")).arg(format!("http://{address}"));
    let output = run(&mut command, "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}

#[test]
fn a_client_of_flask_jwt_extended_goes_on_unchanged() {
    let original = flask("original");
    let behind = flask("behind");
    let listen = free_address();
    let gateway = Gateway::start(&format!(
        "listen: {listen}\npublic_url: http://{listen}\n\
         tokens: {{ cookies: true, errors: flask, access_ttl: 1s }}\n\
         upstreams: {{ app: \"http://{}\" }}\nroutes:\n\
         - {{ path: /login, token_endpoint: token }}\n\
         - {{ path: /refresh, token_endpoint: refresh }}\n\
         - {{ path: /logout, token_endpoint: revoke }}\n\
         - {{ path: /header, upstream: app, credentials: [bearer] }}\n\
         - {{ path: /cookie, upstream: app, credentials: [bearer], token_locations: [cookie] }}\n\
         - {{ path: /query, upstream: app, credentials: [bearer], token_locations: [query] }}\n\
         - {{ path: /optional, upstream: app, credentials: [bearer], access: optional }}\n\
         - {{ path: /fresh, upstream: app, credentials: [bearer], require: {{ fresh_login: 3s }} }}\n\
         - {{ path: /anywhere, upstream: app, credentials: [bearer], token_locations: [header, cookie, query] }}\n",
        behind.address
    ));
    gateway.add_user("alice", &[]);
    gateway.add_user("bob", &[]);
    let address = original.address;
    let from_flask = std::thread::spawn(move || client(address));
    let from_us = client(gateway.address);
    let from_flask = from_flask.join().expect("the client of the application");
    assert!(from_flask.len() > 120, "{from_flask:#?}");
    let differing: Vec<_> = from_flask.iter().zip(&from_us).filter(|(flask, us)| flask != us).collect();
    assert!(
        differing.is_empty() && from_flask.len() == from_us.len(),
        "{} of {} steps (Flask-JWT-Extended's answer first): {differing:#?}",
        differing.len(),
        from_flask.len()
    );
}
