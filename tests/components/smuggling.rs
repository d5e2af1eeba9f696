//! Request smuggling once more, where the server that judges is somebody else's, told to be as lax as it can be.

use std::process::Command;

use crate::harness::Gateway;
use crate::program::{Program, directory, free_address, python, repository, system};
use crate::requests::{Case, judge};

const CASES: u64 = 800;

/// Starts a server with its record in a file of its folder.
fn start(command: impl FnOnce(std::net::SocketAddr) -> Command) -> Program {
    let (folder, address) = (directory(), free_address());
    let mut command = command(address);
    command.env("SEEN", folder.path().join("seen")).env("PYTHONPATH", repository("tests/components"));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    Program::start(command, folder, address)
}

fn holds(server: &Program) {
    let gateway = Gateway::start(&format!(
        "upstreams: {{ app: \"http://{}\" }}\nroutes:\n\
         \x20 - {{ path: /refused/**, upstream: app }}\n\
         \x20 - {{ path: /**, access: public, upstream: app }}\n",
        server.address
    ));
    let (mut known, mut served) = (0, 0);
    for case in (0..CASES).map(|number| Case::new(1_000_000 + number)) {
        let seen = || {
            let all = server.read("seen");
            let new: Vec<String> = all.lines().skip(known).map(str::to_owned).collect();
            known += new.len();
            new
        };
        let outcome = judge(&gateway, &case, seen);
        let sent = String::from_utf8_lossy(&case.bytes);
        let outcome = outcome.unwrap_or_else(|complaint| {
            panic!("case {}: {complaint}\nsent: {sent:?}\n{}", case.seed, server.log())
        });
        served += outcome.served as u64;
    }
    assert!(served > CASES, "only {served} were served");
}

#[test]
fn gunicorn_sees_what_the_client_sent_or_nothing() {
    holds(&start(|address| {
        let mut command = python("gunicorn");
        command.args(["--workers", "1", "--threads", "4", "--keep-alive", "60", "seen:app"]);
        command.args(["--header-map", "dangerous", "--permit-unconventional-http-method"]);
        command.args(["--permit-unconventional-http-version", "--permit-obsolete-folding"]);
        command.args(["--bind", &address.to_string()]);
        command
    }));
}

#[test]
fn waitress_sees_what_the_client_sent_or_nothing() {
    holds(&start(|address| {
        let mut command = python("waitress-serve");
        command.args([&format!("--listen={address}"), "--channel-timeout=60", "seen:app"]);
        command
    }));
}

#[test]
fn node_sees_what_the_client_sent_or_nothing() {
    holds(&start(|address| {
        let mut command = system("node");
        command
            .arg("--insecure-http-parser")
            .arg(repository("tests/components/seen.mjs"))
            .arg(address.to_string());
        command
    }));
}
