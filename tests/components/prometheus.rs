//! Prometheus in front of the figures, and behind the gateway: an application as it comes from
//! Debian, which has no login and can't be taught one.

use std::net::SocketAddr;

use crate::front::BROWSER;
use crate::harness::{Connection, Gateway, run, wait_until};
use crate::program::{Program, directory, free_address, repository, system};

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
    wait_until(
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

fn watched_gateway() -> (Gateway, SocketAddr) {
    let gateway = Gateway::start(
        "admin: { listen: 127.0.0.1:0 }\nupstreams: { app: \"http://127.0.0.1:9\" }\n\
         routes:\n\
         \x20 - { name: 'an \"odd\" \\ name', path: /public/**, access: public, upstream: app }\n\
         \x20 - { path: /**, upstream: app }\n",
    );
    let address = gateway.admin_address();
    (gateway, address)
}

#[test]
fn promtool_has_nothing_to_say_about_the_figures() {
    let (gateway, address) = watched_gateway();
    gateway.get("/public/", &[]);
    gateway.get("/", &[("host", "twice"), ("host", "twice")]);
    let mut connection = Connection::to(address);
    connection.write(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let output = run(system("promtool").args(["check", "metrics"]), &connection.reply(false).text());
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn prometheus_scrapes_the_figures_with_the_files_as_they_are_shipped() {
    let (gateway, watched) = watched_gateway();
    let (folder, address) = (directory(), free_address());
    let mut scraping = std::fs::read_to_string(repository("config/prometheus.yaml")).expect("it is shipped");
    for (from, to) in [("127.0.0.1:9180\"]", format!("{watched}\"]")), ("15s", "200ms".to_owned())] {
        assert_eq!(scraping.matches(from).count(), 1, "{from} is in the snippet, once");
        scraping = scraping.replace(from, &to);
    }
    let config = folder.path().join("prometheus.yaml");
    std::fs::write(&config, scraping).expect("the configuration is written");
    std::fs::copy(repository("config/foregate-alerts.yaml"), folder.path().join("foregate-alerts.yaml"))
        .expect("the rules are shipped");
    let output = run(system("promtool").args(["check", "config"]).arg(&config), "");
    assert!(output.status.success(), "{output:?}");
    let mut command = system("prometheus");
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("tsdb").display()))
        .arg(format!("--web.listen-address={address}"));
    let prometheus = Program::start(command, folder, address);

    for _ in 0..3 {
        assert_eq!(gateway.get("/public/", &[]).status, 502);
    }
    let query = |query: &str| {
        let mut connection = Connection::to(address);
        let target = format!("/api/v1/query?query={query}");
        let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        connection.write(request.as_bytes());
        let reply = connection.reply(false);
        // Before it is ready it says so in plain text.
        let answer: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        answer["data"]["result"].clone()
    };
    let value = |name: &str| query(name)[0]["value"][1].as_str().unwrap_or_default().to_owned();
    let forwarded = "foregate_upstream_requests_total%7Boutcome=%22unreachable%22%7D";
    wait_until(
        || value(forwarded) == "3",
        || format!("{}\n{}", query("%7Bjob=%22foregate%22%7D"), prometheus.log()),
    );
    assert_eq!(value("up%7Bjob=%22foregate%22%7D"), "1");
    let requests = query("foregate_requests_total%7Bstatus_class=%225xx%22%7D%3E0");
    assert_eq!(requests[0]["metric"]["route"], "an \"odd\" \\ name", "{requests}");
    let quantile =
        value("histogram_quantile(0.99,foregate_request_duration_seconds_bucket%7Broute=~%22an.*%22%7D)");
    assert!(quantile.parse().is_ok_and(|seconds: f64| seconds > 0.0 && seconds < 30.0), "{quantile}");
}
