//! nginx with `config/nginx.conf`.

use std::net::SocketAddr;

use crate::front::{BROWSER, Front};
use crate::program::{Program, directory, repository, system};

/// The file as it is shipped, with other addresses.
fn nginx(address: SocketAddr, foregate: SocketAddr, application: SocketAddr) -> Program {
    let shipped = std::fs::read_to_string(repository("config/nginx.conf")).expect("the snippet is there");
    let mut server = shipped;
    for (from, to) in [
        ("listen 80;", format!("listen {address};")),
        ("server 127.0.0.1:8080;", format!("server {foregate};")),
        ("server 127.0.0.1:3000;", format!("server {application};")),
    ] {
        assert_eq!(server.matches(from).count(), 1, "{from} is in the snippet, once");
        server = server.replace(from, &to);
    }
    let folder = directory();
    let path = folder.path().display();
    let main = format!(
        "daemon off;\nworker_processes 1;\npid {path}/pid;\nerror_log stderr info;\n\
         events {{ worker_connections 128; }}\n\
         http {{\naccess_log off;\n\
         client_body_temp_path {path}/b; proxy_temp_path {path}/p; fastcgi_temp_path {path}/f;\n\
         uwsgi_temp_path {path}/u; scgi_temp_path {path}/s;\n\
         include {path}/server.conf;\n}}\n"
    );
    let file = folder.path().join("nginx.conf");
    std::fs::write(&file, main).expect("the configuration is written");
    std::fs::write(folder.path().join("server.conf"), server).expect("the configuration is written");
    let mut command = system("nginx");
    command.arg("-e").arg("stderr").arg("-p").arg(folder.path()).arg("-c").arg(file);
    Program::start(command, folder, address)
}

#[test]
fn nginx_leads_through_the_login_and_back() {
    Front::start(nginx).leads_through_the_login_and_back();
}

#[test]
fn nginx_keeps_the_session_from_the_application() {
    Front::start(nginx).keeps_the_session_from_the_application();
}

#[test]
fn nginx_refuses_programs_with_a_status() {
    Front::start(nginx).refuses_programs_with_a_status();
}

#[test]
fn nginx_overwrites_what_the_client_says_of_itself() {
    Front::start(nginx).overwrites_what_the_client_says_of_itself();
}

#[test]
fn nginx_refuses_whoever_lacks_a_role_by_every_spelling() {
    Front::start(nginx).refuses_whoever_lacks_a_role_by_every_spelling();
}

#[test]
fn nginx_takes_no_description_from_the_client() {
    Front::start(nginx).takes_no_description_from_the_client();
}

#[test]
fn nginx_asks_about_an_upgrade() {
    Front::start(nginx).asks_about_an_upgrade();
}

#[test]
fn nginx_passes_nothing_when_foregate_is_down() {
    Front::start(nginx).passes_nothing_when_foregate_is_down(500);
}

#[test]
fn nginx_asks_about_the_host_that_serves_and_not_the_one_in_the_header() {
    let front = Front::start(nginx);
    let mut connection = crate::harness::Connection::to(front.proxy.address);
    connection.write(
        b"GET http://one.test/a HTTP/1.1\r\nhost: two.test\r\naccept: text/html\r\nconnection: close\r\n\r\n",
    );
    let reply = connection.reply(false);
    // one.test is no host of ours, so there is no way back to it; what counts is that two.test isn't asked about.
    assert_eq!(reply.status, 303, "{reply:?}");
    assert!(!reply.header("location").expect("a location").contains("two.test"), "{reply:?}");
    assert_eq!(front.upstream.count(), 0);
    assert_eq!(front.get("/a", BROWSER).status, 303);
}
