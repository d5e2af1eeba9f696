//! Caddy with `config/Caddyfile`.

use std::net::SocketAddr;

use crate::front::{Front, values};
use crate::program::{Program, directory, repository, system};

/// The file as it is shipped, with other addresses and without certificates.
fn caddy(address: SocketAddr, foregate: SocketAddr, application: SocketAddr) -> Program {
    let shipped = std::fs::read_to_string(repository("config/Caddyfile")).expect("the snippet is there");
    let mut site = shipped;
    for (from, to, count) in [
        ("\napp.example.com {", format!("\nhttp://:{} {{\n\tbind 127.0.0.1", address.port()), 1),
        ("127.0.0.1:8080", foregate.to_string(), 2),
        ("127.0.0.1:3000", application.to_string(), 1),
    ] {
        assert_eq!(site.matches(from).count(), count, "{from} is in the snippet");
        site = site.replace(from, &to);
    }
    let folder = directory();
    let file = folder.path().join("Caddyfile");
    std::fs::write(&file, format!("{{\n\tadmin off\n\tauto_https off\n}}\n{site}")).expect("it is written");
    let mut command = system("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
    command.env("XDG_DATA_HOME", folder.path()).env("XDG_CONFIG_HOME", folder.path());
    Program::start(command, folder, address)
}

#[test]
fn caddy_leads_through_the_login_and_back() {
    Front::start(caddy).leads_through_the_login_and_back();
}

#[test]
fn caddy_keeps_the_session_from_the_application() {
    Front::start(caddy).keeps_the_session_from_the_application();
}

#[test]
fn caddy_refuses_programs_with_a_status() {
    Front::start(caddy).refuses_programs_with_a_status();
}

#[test]
fn caddy_overwrites_what_the_client_says_of_itself() {
    Front::start(caddy).overwrites_what_the_client_says_of_itself();
}

#[test]
fn caddy_refuses_whoever_lacks_a_role_by_every_spelling() {
    Front::start(caddy).refuses_whoever_lacks_a_role_by_every_spelling();
}

#[test]
fn caddy_takes_no_description_from_the_client() {
    Front::start(caddy).takes_no_description_from_the_client();
}

#[test]
fn caddy_asks_about_an_upgrade() {
    Front::start(caddy).asks_about_an_upgrade();
}

#[test]
fn caddy_passes_nothing_when_foregate_is_down() {
    Front::start(caddy).passes_nothing_when_foregate_is_down(502);
}

#[test]
fn a_connection_header_takes_no_identity_away() {
    let front = Front::start(caddy);
    let cookie = front.cookie();
    for connection in
        ["close, Remote-User", "close, remote-user, Remote-Groups, Cookie", "Upgrade, Remote-User"]
    {
        let reply = front.request("GET", "/", &[("connection", connection), ("cookie", &cookie)], b"");
        assert_eq!(reply.status, 200, "{connection}: {reply:?}");
        let seen = front.upstream.last();
        assert_eq!(values(&seen, "remote-user"), ["alice"], "{connection}: {seen}");
        assert_eq!(values(&seen, "remote-groups"), ["news,staff"], "{connection}: {seen}");
    }
}

#[test]
fn an_attribute_that_a_person_lacks_is_empty_and_no_placeholder() {
    let front = Front::start(caddy);
    let added =
        front.gateway.command(&["user", "add", "plain", "--password-stdin"], crate::harness::PASSWORD);
    assert!(added.status.success(), "{added:?}");
    let cookie = front.gateway.sign_in("plain");
    let reply = front.get("/", &[("cookie", &cookie), ("remote-email", "root@example.com")]);
    assert_eq!(reply.status, 200, "{reply:?}");
    let seen = front.upstream.last();
    assert_eq!(values(&seen, "remote-user"), ["plain"], "{seen}");
    for name in ["remote-groups", "remote-email"] {
        assert!(values(&seen, name).iter().all(|value| value.is_empty()), "{seen}");
    }
}
