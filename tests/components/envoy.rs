//! Envoy with `config/envoy.yaml`. Debian has none, so these run on request alone, with `envoy` on the path:
//! `./tests/run --test components -- --ignored envoy`.

use std::net::SocketAddr;

use crate::front::Front;
use crate::program::{Program, directory, repository, system};

/// The file as it is shipped, with other addresses.
fn envoy(address: SocketAddr, foregate: SocketAddr, application: SocketAddr) -> Program {
    let mut config = std::fs::read_to_string(repository("config/envoy.yaml")).expect("the snippet is there");
    let port = |port: u16| format!("port_value: {port} ");
    for (from, to) in [
        (
            "address: 0.0.0.0, port_value: 10000 ".to_owned(),
            format!("address: 127.0.0.1, {}", port(address.port())),
        ),
        (port(8080), port(foregate.port())),
        (port(3000), port(application.port())),
    ] {
        assert_eq!(config.matches(&from).count(), 1, "{from} is in the snippet");
        config = config.replace(&from, &to);
    }
    let folder = directory();
    let file = folder.path().join("envoy.yaml");
    std::fs::write(&file, config).expect("the configuration is written");
    let mut command = system("envoy");
    command.args(["--concurrency", "1", "--disable-hot-restart", "-l", "warning", "-c"]).arg(file);
    Program::start(command, folder, address)
}

#[test]
#[ignore = "Debian has no Envoy"]
fn envoy_leads_through_the_login_and_back() {
    Front::start(envoy).leads_through_the_login_and_back();
}

#[test]
#[ignore = "Debian has no Envoy"]
fn envoy_keeps_the_session_from_the_application() {
    Front::start(envoy).keeps_the_session_from_the_application();
}

#[test]
#[ignore = "Debian has no Envoy"]
fn envoy_refuses_programs_with_a_status() {
    Front::start(envoy).refuses_programs_with_a_status();
}

#[test]
#[ignore = "Debian has no Envoy"]
fn envoy_overwrites_what_the_client_says_of_itself() {
    Front::start(envoy).overwrites_what_the_client_says_of_itself();
}

#[test]
#[ignore = "Debian has no Envoy"]
fn envoy_refuses_whoever_lacks_a_role_by_every_spelling() {
    Front::start(envoy).refuses_whoever_lacks_a_role_by_every_spelling();
}

#[test]
#[ignore = "Debian has no Envoy"]
fn envoy_takes_no_description_from_the_client() {
    Front::start(envoy).takes_no_description_from_the_client();
}

#[test]
#[ignore = "Debian has no Envoy"]
fn envoy_asks_about_an_upgrade() {
    Front::start(envoy).asks_about_an_upgrade();
}

#[test]
#[ignore = "Debian has no Envoy"]
fn envoy_passes_nothing_when_foregate_is_down() {
    Front::start(envoy).passes_nothing_when_foregate_is_down(403);
}
