//! Foregate behind programs that carry its connections: HAProxy and nginx with PROXY headers, nginx over a Unix socket.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::front::values;
use crate::harness::{Gateway, PATIENCE, Upstream, wait_until};
use crate::program::{Program, directory, free_address, system};

/// Where the client is, so that it can be told from the proxy.
const CLIENT: [u8; 4] = [127, 0, 0, 5];

fn gateway(upstream: &Upstream, head: &str) -> Gateway {
    Gateway::start(&format!(
        "trusted_proxies: [127.0.0.1]\n{head}\nupstreams: {{ app: \"http://{}\" }}\n\
         routes: [{{ path: /**, access: public, upstream: app }}]\n",
        upstream.address
    ))
}

/// A request from `CLIENT`, and the whole reply.
fn get(address: SocketAddr) -> String {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((CLIENT, 0)).into()).expect("all of 127.0.0.0/8 is ours");
    socket.connect(&address.into()).expect("it takes connections");
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream
        .write_all(
            b"GET /a HTTP/1.1\r\nhost: app.test\r\nx-forwarded-for: 192.0.2.1\r\nconnection: close\r\n\r\n",
        )
        .expect("it is taken");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("an answer");
    reply
}

/// The client's address arrives, and what it says of itself is not believed.
fn names_the_client(address: SocketAddr, upstream: &Upstream) {
    for _ in 0..5 {
        let reply = get(address);
        assert!(reply.starts_with("HTTP/1.1 200 ") && reply.ends_with("hello"), "{reply}");
        assert_eq!(values(&upstream.last(), "x-forwarded-for"), ["127.0.0.5"], "{}", upstream.last());
    }
}

fn haproxy(address: SocketAddr, server: &str) -> Program {
    let folder = directory();
    let file = folder.path().join("haproxy.cfg");
    let config = format!(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n\
         frontend f\n bind {address}\n default_backend b\n\
         backend b\n server foregate {server}\n"
    );
    std::fs::write(&file, config).expect("the configuration is written");
    let mut command = system("haproxy");
    command.arg("-db").arg("-f").arg(file);
    Program::start(command, folder, address)
}

#[test]
fn haproxy_names_the_client_by_both_versions_of_the_header_and_its_checks_pass() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "proxy_protocol: true\nlog: { level: debug }");
    for version in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"] {
        let address = free_address();
        let server = format!("{} {version} check inter 50ms check-send-proxy", gateway.address);
        let proxy = haproxy(address, &server);
        names_the_client(address, &upstream);
        std::thread::sleep(std::time::Duration::from_millis(200));
        names_the_client(address, &upstream);
        assert!(!proxy.log().contains("DOWN"), "{}", proxy.log());
    }
    assert!(!gateway.log().contains("a connection of a trusted proxy was closed"), "{}", gateway.log());
}

#[test]
fn haproxy_without_the_header_is_refused_and_the_log_says_why() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "proxy_protocol: true");
    let address = free_address();
    let _proxy = haproxy(address, &gateway.address.to_string());
    let mut stream = TcpStream::connect(address).expect("it takes connections");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: app.test\r\n\r\n").expect("it is taken");
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    assert!(reply.is_empty(), "{}", String::from_utf8_lossy(&reply));
    gateway.wait_for_log("it does not begin with a sound PROXY header");
    assert_eq!(upstream.count(), 0);
}

fn nginx(address: SocketAddr, blocks: &str) -> Program {
    let folder = directory();
    let path = folder.path().display();
    let modules = std::path::Path::new("/usr/lib/nginx/modules/ngx_stream_module.so");
    let load = if blocks.contains("stream {") && modules.exists() {
        format!("load_module {};\n", modules.display())
    } else {
        String::new()
    };
    let config = format!(
        "{load}daemon off;\nworker_processes 1;\npid {path}/pid;\nerror_log stderr info;\n\
         events {{ worker_connections 128; }}\n{}",
        blocks.replace("@folder@", &path.to_string())
    );
    let file = folder.path().join("nginx.conf");
    std::fs::write(&file, config).expect("the configuration is written");
    let mut command = system("nginx");
    command.arg("-e").arg("stderr").arg("-p").arg(folder.path()).arg("-c").arg(file);
    Program::start(command, folder, address)
}

#[test]
fn nginx_names_the_client_by_the_header_of_its_stream_module() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "proxy_protocol: true");
    let address = free_address();
    let _proxy = nginx(
        address,
        &format!(
            "stream {{ server {{ listen {address}; proxy_pass {}; proxy_protocol on; }} }}\n",
            gateway.address
        ),
    );
    names_the_client(address, &upstream);
}

#[test]
fn nginx_reaches_foregate_over_a_unix_socket() {
    let upstream = Upstream::start();
    let folder = directory();
    let socket = folder.path().join("http.sock");
    let gateway = gateway(
        &upstream,
        &format!("public_url: http://app.test\nlisten: {{ unix: \"{}\", mode: \"0666\" }}", socket.display()),
    );
    let address = free_address();
    let proxy = nginx(
        address,
        &format!(
            "http {{ access_log off; client_body_temp_path @folder@/b; proxy_temp_path @folder@/p;\n\
             fastcgi_temp_path @folder@/f; uwsgi_temp_path @folder@/u; scgi_temp_path @folder@/s;\n\
             upstream foregate {{ server unix:{}; keepalive 4; }}\n\
             server {{ listen {address}; location / {{ proxy_pass http://foregate; proxy_http_version 1.1;\n\
             proxy_set_header Connection \"\"; proxy_set_header Host $http_host;\n\
             proxy_set_header X-Forwarded-For $remote_addr; }} }} }}\n",
            socket.display()
        ),
    );
    for _ in 0..5 {
        let reply = get(address);
        assert!(reply.starts_with("HTTP/1.1 200 ") && reply.ends_with("hello"), "{reply}: {}", proxy.log());
        let seen = upstream.last();
        assert_eq!(values(&seen, "x-forwarded-for"), ["127.0.0.5, 127.0.0.1"], "{seen}");
    }
    let connections = || {
        let status = gateway.command(&["status", "--json"], "").stdout;
        serde_json::from_slice::<serde_json::Value>(&status).expect("JSON")["connections"].as_u64()
    };
    wait_until(|| connections() == Some(1), || format!("nginx keeps one connection: {:?}", connections()));
}
