//! HAProxy with `config/haproxy.cfg` and `config/haproxy.lua`.

use std::net::SocketAddr;

use crate::front::Front;
use crate::program::{Program, directory, repository, system};

/// The files as they are shipped, with other addresses.
fn haproxy(address: SocketAddr, foregate: SocketAddr, application: SocketAddr) -> Program {
    let mut config = std::fs::read_to_string(repository("config/haproxy.cfg")).expect("the snippet is there");
    let lua = repository("config/haproxy.lua").display().to_string();
    for (from, to, count) in [
        ("bind :80\n", format!("bind {address}\n"), 1),
        ("/etc/haproxy/haproxy.lua", lua, 1),
        ("127.0.0.1:8080", foregate.to_string(), 2),
        ("127.0.0.1:3000", application.to_string(), 1),
    ] {
        assert_eq!(config.matches(from).count(), count, "{from} is in the snippet");
        config = config.replace(from, &to);
    }
    let folder = directory();
    let file = folder.path().join("haproxy.cfg");
    std::fs::write(&file, config).expect("the configuration is written");
    let mut command = system("haproxy");
    command.arg("-db").arg("-f").arg(file);
    Program::start(command, folder, address)
}

#[test]
fn haproxy_leads_through_the_login_and_back() {
    Front::start(haproxy).leads_through_the_login_and_back();
}

#[test]
fn haproxy_keeps_the_session_from_the_application() {
    Front::start(haproxy).keeps_the_session_from_the_application();
}

#[test]
fn haproxy_refuses_programs_with_a_status() {
    Front::start(haproxy).refuses_programs_with_a_status();
}

#[test]
fn haproxy_overwrites_what_the_client_says_of_itself() {
    Front::start(haproxy).overwrites_what_the_client_says_of_itself();
}

#[test]
fn haproxy_refuses_whoever_lacks_a_role_by_every_spelling() {
    Front::start(haproxy).refuses_whoever_lacks_a_role_by_every_spelling();
}

#[test]
fn haproxy_takes_no_description_from_the_client() {
    Front::start(haproxy).takes_no_description_from_the_client();
}

#[test]
fn haproxy_asks_about_an_upgrade() {
    Front::start(haproxy).asks_about_an_upgrade();
}

#[test]
fn haproxy_passes_nothing_when_foregate_is_down() {
    Front::start(haproxy).passes_nothing_when_foregate_is_down(503);
}
