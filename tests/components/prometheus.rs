//! An application as it comes from Debian, which has no login and can't be taught one: Prometheus.

use crate::front::BROWSER;
use crate::harness::Gateway;
use crate::program::{Program, directory, free_address, system};

fn prometheus() -> Program {
    let (folder, address) = (directory(), free_address());
    let config = folder.path().join("prometheus.yml");
    std::fs::write(&config, "scrape_configs: []\n").expect("the configuration is written");
    let mut command = system("prometheus");
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("tsdb").display()))
        .arg(format!("--web.listen-address={address}"));
    Program::start(command, folder, address)
}

#[test]
fn prometheus_gets_the_login_that_it_never_had() {
    let prometheus = prometheus();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ prometheus: \"http://{}\" }}\n\
         routes:\n\
         \x20 - {{ path: /-/ready, access: public, upstream: prometheus }}\n\
         \x20 - {{ path: /api/v1/admin/**, require: {{ roles: [admin] }}, upstream: prometheus }}\n\
         \x20 - {{ path: /**, upstream: prometheus }}\n",
        prometheus.address
    ));
    gateway.add_user("alice", &[]);

    let graph = "/classic/graph?g0.expr=up%7Bjob%3D%22a%22%7D&g0.tab=1";
    let reply = gateway.get(graph, BROWSER);
    assert_eq!(reply.status, 303, "{reply:?}");
    assert!(
        reply.header("location").is_some_and(|to| to.starts_with("/.auth/login?next=/classic/graph")),
        "{reply:?}"
    );
    for target in ["/api/v1/status/buildinfo", "/metrics", "/api/v1/query?query=1"] {
        let reply = gateway.get(target, &[]);
        assert_eq!((reply.status, reply.json()["code"].as_str()), (401, Some("unauthorized")), "{reply:?}");
    }
    crate::harness::wait_until(
        || gateway.get("/-/ready", &[]).status == 200,
        || format!("the public route does not work: {}", prometheus.log()),
    );

    let cookie = gateway.sign_in("alice");
    let session = [("cookie", cookie.as_str())];
    let page = gateway.get(graph, &[&session, BROWSER].concat());
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.text().contains("Prometheus"), "{}", page.text());
    let token = format!("Bearer {}", gateway.token("alice"));
    for credential in [session, [("authorization", token.as_str())]] {
        let info = gateway.get("/api/v1/status/buildinfo", &credential);
        assert_eq!(info.json()["status"], "success", "{info:?}");
        let answer = gateway.get("/api/v1/query?query=6*7", &credential);
        assert_eq!(answer.json()["data"]["result"][1], "42", "{answer:?}");
    }
    // Its own front end sends queries as forms.
    let form = [&session[..], &[("content-type", "application/x-www-form-urlencoded")]].concat();
    let answer = gateway.request("POST", "/api/v1/query", &form, b"query=6%2A7");
    assert_eq!(answer.json()["data"]["result"][1], "42", "{answer:?}");
    let elsewhere = [&form[..], &[("origin", "https://evil.test")]].concat();
    assert_eq!(gateway.request("POST", "/api/v1/query", &elsewhere, b"query=1").status, 403);
    // Compressed, chunked and long: byte for byte what it says by itself.
    let metrics = gateway.get("/metrics", &session);
    assert!(metrics.status == 200 && !metrics.cut && metrics.text().contains("prometheus_build_info"));
    assert_eq!(gateway.get("/api/v1/admin/tsdb/snapshot", &session).status, 403);
}
