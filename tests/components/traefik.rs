//! Traefik with `config/traefik.yaml`. Debian has none, so these run on request alone, with `traefik` on the path:
//! `./tests/run --test components -- --ignored traefik`.

use std::net::SocketAddr;

use crate::front::Front;
use crate::program::{Program, directory, repository, system};

/// The file as it is shipped, with other addresses and for every host.
fn traefik(address: SocketAddr, foregate: SocketAddr, application: SocketAddr) -> Program {
    let mut dynamic =
        std::fs::read_to_string(repository("config/traefik.yaml")).expect("the snippet is there");
    for (from, to, count) in [
        ("Host(`app.example.com`)", "HostRegexp(`.*`)".to_owned(), 2),
        ("127.0.0.1:8080", foregate.to_string(), 2),
        ("127.0.0.1:3000", application.to_string(), 1),
    ] {
        assert_eq!(dynamic.matches(from).count(), count, "{from} is in the snippet");
        dynamic = dynamic.replace(from, &to);
    }
    let folder = directory();
    let file = folder.path().join("dynamic.yaml");
    std::fs::write(&file, dynamic).expect("the configuration is written");
    let mut command = system("traefik");
    command.arg(format!("--entrypoints.web.address={address}"));
    command.arg(format!("--providers.file.filename={}", file.display()));
    let program = Program::start(command, folder, address);
    // It listens before it has read its routers.
    crate::harness::wait_until(|| crate::front::status(address, "/.auth/healthz") == 200, || program.log());
    program
}

#[test]
#[ignore = "Debian has no Traefik"]
fn traefik_leads_through_the_login_and_back() {
    Front::start(traefik).leads_through_the_login_and_back();
}

#[test]
#[ignore = "Debian has no Traefik"]
fn traefik_refuses_programs_with_a_status() {
    Front::start(traefik).refuses_programs_with_a_status();
}

#[test]
#[ignore = "Debian has no Traefik"]
fn traefik_overwrites_what_the_client_says_of_itself() {
    Front::start(traefik).overwrites_what_the_client_says_of_itself();
}

#[test]
#[ignore = "Debian has no Traefik"]
fn traefik_refuses_whoever_lacks_a_role_by_every_spelling() {
    Front::start(traefik).refuses_whoever_lacks_a_role_by_every_spelling();
}

#[test]
#[ignore = "Debian has no Traefik"]
fn traefik_takes_no_description_from_the_client() {
    Front::start(traefik).takes_no_description_from_the_client();
}

#[test]
#[ignore = "Debian has no Traefik"]
fn traefik_asks_about_an_upgrade() {
    Front::start(traefik).asks_about_an_upgrade();
}

#[test]
#[ignore = "Debian has no Traefik"]
fn traefik_passes_nothing_when_foregate_is_down() {
    Front::start(traefik).passes_nothing_when_foregate_is_down(500);
}
