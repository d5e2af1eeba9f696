//! Figures for Prometheus and health for load balancers, on the admin listener.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::harness::{Connection, Gateway, PASSWORD, Reply, Upstream, foregate, run, wait_until};

fn ask(address: SocketAddr, method: &str, target: &str, headers: &str) -> Reply {
    let mut connection = Connection::to(address);
    let request = format!("{method} {target} HTTP/1.1\r\nhost: x\r\n{headers}connection: close\r\n\r\n");
    connection.write(request.as_bytes());
    connection.reply(method == "HEAD")
}

fn scrape(gateway: &Gateway) -> Figures {
    let reply = ask(gateway.admin_address(), "GET", "/metrics", "");
    assert_eq!((reply.status, reply.cut), (200, false), "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    Figures::parse(&reply.text())
}

/// An exposition that holds to the text format to the letter.
struct Figures(BTreeMap<String, f64>);

impl Figures {
    /// Panics at whatever Prometheus would refuse, and at what its naming guide warns of.
    fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'));
        let (mut rows, mut families) = (BTreeMap::new(), BTreeSet::new());
        let mut family = (String::new(), String::new());
        let mut help = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, text) = rest.split_once(' ').expect(line);
                assert!(!text.is_empty(), "{line}");
                help = name.to_owned();
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect(line);
                assert_eq!(name, help, "the help before the type");
                assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
                assert!(name.starts_with("foregate_") || name.starts_with("process_"), "{name}");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(families.insert(name.to_owned()), "twice: {line}");
                family = (name.to_owned(), kind.to_owned());
            } else {
                assert!(!line.starts_with('#'), "{line}");
                let (series, value) = line.rsplit_once(' ').expect(line);
                let name = series.split('{').next().expect("a name");
                let expected = match family.1.as_str() {
                    "histogram" => ["_bucket", "_sum", "_count"].map(|end| family.0.clone() + end).to_vec(),
                    _ => vec![family.0.clone()],
                };
                assert!(expected.contains(&name.to_owned()), "{line} stands under {}", family.0);
                let value: f64 = value.parse().expect(line);
                assert!(value.is_finite() && value >= 0.0, "{line}");
                check_labels(&series[name.len()..]);
                assert!(rows.insert(series.to_owned(), value).is_none(), "twice: {line}");
            }
        }
        let figures = Self(rows);
        figures.check_histograms();
        figures
    }

    fn check_histograms(&self) {
        let buckets = self.0.iter().filter(|(series, _)| series.contains("_bucket{le="));
        let mut by_row = BTreeMap::<String, Vec<(f64, f64)>>::new();
        for (series, count) in buckets {
            let (name, labels) = series.split_once("_bucket{le=\"").expect("a bucket");
            let (bound, labels) = labels.split_once("\",").expect("another label");
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().expect("a bound") };
            by_row.entry(format!("{name}_count{{{labels}")).or_default().push((bound, *count));
        }
        assert!(!by_row.is_empty());
        for (row, mut buckets) in by_row {
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(buckets.is_sorted_by(|a, b| a.1 <= b.1), "{row}: {buckets:?}");
            let (bound, count) = *buckets.last().expect("a bucket");
            assert_eq!((bound, count), (f64::INFINITY, self.of(&row)), "{row}");
        }
    }

    fn of(&self, series: &str) -> f64 {
        *self.0.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.0))
    }

    fn expect(&self, rows: &[(&str, f64)]) {
        for (series, value) in rows {
            assert_eq!(self.of(series), *value, "{series} in {:#?}", self.0);
        }
    }
}

/// `{name="value",...}` or nothing; in values only `\\`, `\"` and `\n` are escaped.
fn check_labels(labels: &str) {
    if labels.is_empty() {
        return;
    }
    let mut rest = labels.strip_prefix('{').expect(labels);
    loop {
        let (name, value) = rest.split_once("=\"").expect(labels);
        assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{labels}");
        let mut end = None;
        let mut bytes = value.bytes().enumerate();
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'\\' => assert!(bytes.next().is_some_and(|(_, b)| b"\\\"n".contains(&b)), "{labels}"),
                b'"' => {
                    end = Some(at);
                    break;
                }
                _ => {}
            }
        }
        rest = &value[end.expect(labels) + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return assert_eq!(rest, "}", "{labels}"),
        }
    }
}

const ADMIN: &str = "admin: { listen: 127.0.0.1:0 }\n";

#[test]
fn what_was_asked_decided_and_forwarded_is_counted() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "{ADMIN}upstreams: {{ app: \"http://{}\", dead: \"http://127.0.0.1:9\" }}\n\
         routes:\n\
         \x20 - {{ name: 'the \"public\" \\ one', path: /public/**, access: public, upstream: app }}\n\
         \x20 - {{ name: dead, path: /dead, access: public, upstream: dead }}\n\
         \x20 - {{ name: admin, path: /admin/**, require: {{ roles: [admin] }}, upstream: app }}\n\
         \x20 - {{ name: app, path: /app/**, upstream: app }}\n\
         \x20 - {{ name: unused, path: /unused, upstream: app }}\n",
        upstream.address
    ));
    gateway.add_user("alice", &[]);
    let before = scrape(&gateway);
    before.expect(&[
        (r#"foregate_requests_total{route="unused",status_class="2xx"}"#, 0.0),
        (r#"foregate_requests_total{route="(portal)",status_class="2xx"}"#, 0.0),
        (r#"foregate_logins_total{outcome="failed"}"#, 0.0),
        ("foregate_config_last_reload_successful", 1.0),
        ("foregate_store_healthy", 1.0),
        ("foregate_password_hashes_queued", 0.0),
        (concat!("foregate_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0),
    ]);

    for _ in 0..3 {
        assert_eq!(gateway.get("/public/a", &[]).status, 200);
    }
    assert_eq!(gateway.get("/dead", &[]).status, 502);
    assert_eq!(gateway.get("/nowhere", &[]).status, 404);
    assert_eq!(gateway.get("/app", &[]).status, 401);
    let browser = [("accept", "text/html"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    assert_eq!(gateway.get("/app", &browser).status, 303);
    assert_eq!(gateway.sign_in_with("alice", "wrong password").status, 401);
    assert_eq!(gateway.sign_in_with("nobody", PASSWORD).status, 401);
    let cookie = gateway.sign_in("alice");
    let session = [("cookie", cookie.as_str())];
    assert_eq!(gateway.get("/app/one", &session).status, 200);
    assert_eq!(gateway.get("/app/two", &session).status, 200);
    assert_eq!(gateway.get("/admin", &session).status, 403);
    let elsewhere = [session[0], ("origin", "https://evil.test")];
    assert_eq!(gateway.request("POST", "/app", &elsewhere, b"x").status, 403);
    for _ in 0..2 {
        assert_eq!(gateway.get("/app", &[("authorization", "Bearer forged")]).status, 401);
    }
    assert_eq!(gateway.send(b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n").status, 400);

    scrape(&gateway).expect(&[
        (r#"foregate_requests_total{route="the \"public\" \\ one",status_class="2xx"}"#, 3.0),
        (r#"foregate_requests_total{route="dead",status_class="5xx"}"#, 1.0),
        (r#"foregate_requests_total{route="app",status_class="2xx"}"#, 2.0),
        (r#"foregate_requests_total{route="app",status_class="3xx"}"#, 1.0),
        (r#"foregate_requests_total{route="app",status_class="4xx"}"#, 4.0),
        (r#"foregate_requests_total{route="admin",status_class="4xx"}"#, 1.0),
        (r#"foregate_requests_total{route="unused",status_class="4xx"}"#, 0.0),
        (r#"foregate_requests_total{route="(portal)",status_class="2xx"}"#, 1.0),
        (r#"foregate_requests_total{route="(portal)",status_class="4xx"}"#, 2.0),
        // No route, and the one that could not be read.
        (r#"foregate_requests_total{route="(none)",status_class="4xx"}"#, 2.0),
        (r#"foregate_request_duration_seconds_count{route="app"}"#, 7.0),
        (r#"foregate_decisions_total{decision="allow"}"#, 6.0),
        (r#"foregate_decisions_total{decision="login"}"#, 1.0),
        (r#"foregate_decisions_total{decision="unauthorized"}"#, 3.0),
        (r#"foregate_decisions_total{decision="forbidden"}"#, 1.0),
        (r#"foregate_decisions_total{decision="not_found"}"#, 1.0),
        (r#"foregate_decisions_total{decision="cross_site"}"#, 1.0),
        (r#"foregate_decisions_total{decision="error"}"#, 0.0),
        (r#"foregate_logins_total{outcome="ok"}"#, 1.0),
        (r#"foregate_logins_total{outcome="failed"}"#, 2.0),
        // Made for alice; of alice and of nobody, and the right one.
        ("foregate_password_hashes_total", 4.0),
        // The session at its first use; what is no token each time, for it costs less to see than to remember.
        ("foregate_cache_misses_total", 3.0),
        ("foregate_cache_hits_total", 3.0),
        (r#"foregate_upstream_requests_total{upstream="app",outcome="answered"}"#, 5.0),
        (r#"foregate_upstream_requests_total{upstream="dead",outcome="unreachable"}"#, 1.0),
        (r#"foregate_upstream_requests_total{upstream="dead",outcome="answered"}"#, 0.0),
        (r#"foregate_unsound_requests_total{code="bad_request"}"#, 1.0),
    ]);
}

#[test]
fn a_sub_request_counts_as_the_decision_that_it_asks_for() {
    let gateway = Gateway::start(&format!(
        "{ADMIN}trusted_proxies: [127.0.0.1]\nupstreams: {{ app: \"http://127.0.0.1:9\" }}\n\
         routes: [{{ name: all, path: /**, upstream: app }}]\n"
    ));
    let original =
        [("x-forwarded-method", "GET"), ("x-forwarded-uri", "/a"), ("x-forwarded-host", "app.test")];
    let original = [&original[..], &[("x-forwarded-proto", "http")]].concat();
    assert_eq!(gateway.get("/.auth/forward-auth", &original).status, 401);
    assert_eq!(gateway.get("/.auth/forward-auth", &[]).status, 400);
    scrape(&gateway).expect(&[
        (r#"foregate_requests_total{route="all",status_class="4xx"}"#, 1.0),
        (r#"foregate_requests_total{route="(portal)",status_class="4xx"}"#, 1.0),
        (r#"foregate_decisions_total{decision="unauthorized"}"#, 1.0),
        (r#"foregate_upstream_requests_total{upstream="app",outcome="unreachable"}"#, 0.0),
    ]);
}

#[test]
fn connections_and_tunnels_count_while_they_are_open() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: foo\r\n\r\n".to_vec()
    });
    let gateway = Gateway::start(&format!(
        "{ADMIN}limits: {{ connections: 2 }}\nupstreams: {{ app: \"http://{}\" }}\n\
         routes: [{{ name: all, path: /**, access: public, upstream: app }}]\n",
        upstream.address
    ));
    let open = |name: &str, expected: f64| {
        wait_until(|| scrape(&gateway).of(name) == expected, || format!("{name} is not {expected}"));
    };
    let mut tunnel = gateway.connect();
    tunnel.write(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: foo\r\n\r\n");
    assert_eq!(tunnel.reply(false).status, 101);
    let idle = gateway.connect();
    open("foregate_tunnels", 1.0);
    open("foregate_connections", 2.0);
    assert_eq!(gateway.get("/", &[]).status, 503, "one too many");
    let figures = scrape(&gateway);
    figures.expect(&[
        (r#"foregate_connections_refused_total{reason="limit"}"#, 1.0),
        (r#"foregate_requests_total{route="all",status_class="1xx"}"#, 1.0),
        ("foregate_connections", 2.0),
    ]);
    assert!(figures.of("process_resident_memory_bytes") > 1e6);
    assert!(figures.of("process_open_fds") > 8.0);
    drop((tunnel, idle));
    open("foregate_tunnels", 0.0);
    open("foregate_connections", 0.0);
}

#[test]
fn readiness_turns_first_and_the_listener_closes_last() {
    let released = Arc::new((Mutex::new(false), Condvar::new()));
    let upstream = {
        let released = Arc::clone(&released);
        Upstream::answering(move |_| {
            let guard = released.0.lock().expect("no panic while it is held");
            drop(released.1.wait_while(guard, |released| !*released).expect("no panic while it is held"));
            b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow".to_vec()
        })
    };
    let mut gateway = Gateway::start(&format!(
        "{ADMIN}upstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, access: public, upstream: app }}]\n",
        upstream.address
    ));
    let watched = gateway.admin_address();
    let told = |target| {
        let reply = ask(watched, "GET", target, "");
        (reply.status, reply.text())
    };
    let mut slow = gateway.connect();
    slow.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    upstream.wait_for(1);
    assert_eq!((told("/readyz"), told("/healthz")), ((200, "ok\n".into()), (200, "ok\n".into())));

    gateway.signal("TERM");
    wait_until(|| told("/readyz") == (503, "draining\n".into()), || format!("{:?}", told("/readyz")));
    assert_eq!(told("/healthz"), (200, "ok\n".into()));
    scrape(&gateway).expect(&[("foregate_connections", 1.0)]);

    *released.0.lock().expect("no panic while it is held") = true;
    released.1.notify_all();
    let reply = slow.reply(false);
    assert_eq!((reply.status, reply.text().as_str()), (200, "slow"), "{reply:?}");
    assert_eq!(gateway.wait(), Some(0), "{}", gateway.log());
    assert!(Connection::try_to(watched).is_none());
}

#[test]
fn a_connection_that_says_nothing_holds_up_neither_the_others_nor_the_stop() {
    let mut gateway = Gateway::start(&format!(
        "{ADMIN}upstreams: {{ app: \"http://127.0.0.1:9\" }}\nroutes: [{{ path: /**, upstream: app }}]\n"
    ));
    let address = gateway.admin_address();
    let mut silent: Vec<_> = (0..60).map(|_| Connection::to(address)).collect();
    silent[0].write(b"GET /metrics HTTP/1.1\r\nhost:");
    assert_eq!(ask(address, "GET", "/healthz", "").status, 200);
    gateway.signal("TERM");
    let asked = Instant::now();
    assert_eq!(gateway.wait(), Some(0), "{}", gateway.log());
    // Well before the time that a head may take.
    assert!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());
    assert!(silent.iter_mut().all(Connection::is_closed));
}

#[test]
fn only_these_paths_and_methods_are_answered() {
    let gateway = Gateway::start(&format!(
        "{ADMIN}upstreams: {{ app: \"http://127.0.0.1:9\" }}\nroutes: [{{ path: /**, access: public, upstream: app }}]\n"
    ));
    let address = gateway.admin_address();
    for (method, target, status) in [
        ("HEAD", "/metrics", 200),
        ("HEAD", "/readyz", 200),
        ("GET", "/metrics?name[]=x", 200),
        ("POST", "/metrics", 405),
        ("DELETE", "/healthz", 405),
        ("GET", "/", 404),
        ("POST", "/nothing", 404),
        ("GET", "/metrics/", 404),
    ] {
        let reply = ask(address, method, target, "");
        assert_eq!(reply.status, status, "{method} {target}: {reply:?}");
        assert_eq!(reply.header("allow"), (status == 405).then_some("GET, HEAD"), "{reply:?}");
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{reply:?}");
    }
    let open = ask(address, "GET", "/metrics", "accept: application/openmetrics-text;version=1.0.0\r\n");
    assert!(open.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text")));
    assert!(open.text().ends_with("# EOF\n"), "{open:?}");
    // The figures are for this listener alone.
    assert_eq!(gateway.get("/metrics", &[]).status, 502);
    assert_eq!(gateway.get("/.auth/metrics", &[]).status, 404);
}

#[test]
fn a_taken_address_is_told_and_nothing_starts() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address");
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("foregate.yaml");
    let yaml = format!(
        "listen: 127.0.0.1:0\nadmin: {{ listen: \"{address}\" }}\nupstreams: {{ app: \"http://127.0.0.1:9\" }}\n\
         routes: [{{ path: /**, upstream: app }}]\n"
    );
    std::fs::write(&config, yaml).expect("it is written");
    let output = run(foregate().args(["serve", "--config"]).arg(&config), "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let expected = format!("can't listen on {address} for metrics and health: another program has this port");
    assert!(said.contains(&expected) && said.contains("`admin.listen`"), "{said}");
    assert!(!folder.path().join("data/admin.sock").exists());
}

#[test]
fn a_reload_is_counted_and_brings_and_takes_rows() {
    let gateway = Gateway::start(&format!(
        "{ADMIN}upstreams: {{ app: \"http://127.0.0.1:9\" }}\n\
         routes:\n\
         \x20 - {{ name: stays, path: /a, access: public, upstream: app }}\n\
         \x20 - {{ name: goes, path: /b, access: public, upstream: app }}\n"
    ));
    let stays = r#"foregate_requests_total{route="stays",status_class="5xx"}"#;
    let goes = r#"foregate_requests_total{route="goes",status_class="5xx"}"#;
    let comes = r#"foregate_requests_total{route="comes",status_class="5xx"}"#;
    assert_eq!((gateway.get("/a", &[]).status, gateway.get("/b", &[]).status), (502, 502));
    let before = scrape(&gateway);
    before.expect(&[(stays, 1.0), (goes, 1.0), (r#"foregate_config_reloads_total{outcome="ok"}"#, 0.0)]);
    let written = std::fs::read_to_string(&gateway.config).expect("it is there");
    let reload = |text: &str| {
        std::fs::write(&gateway.config, text).expect("it is written");
        gateway.command(&["reload"], "")
    };

    let output = reload(&written.replace("access: public", "access: nobody"));
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let faulty = scrape(&gateway);
    faulty.expect(&[("foregate_config_last_reload_successful", 0.0), (goes, 1.0)]);
    assert!(faulty.of(r#"foregate_config_reloads_total{outcome="failed"}"#) >= 1.0);

    let output = reload(&written.replace("name: goes", "name: comes"));
    assert!(output.status.success(), "{output:?}");
    assert_eq!((gateway.get("/a", &[]).status, gateway.get("/b", &[]).status), (502, 502));
    let after = scrape(&gateway);
    after.expect(&[("foregate_config_last_reload_successful", 1.0), (stays, 2.0), (comes, 1.0)]);
    assert!(!after.0.contains_key(goes), "{:#?}", after.0);
    assert!(after.of(r#"foregate_config_reloads_total{outcome="ok"}"#) >= 1.0);
    let read_at = "foregate_config_last_reload_success_timestamp_seconds";
    assert!(after.of(read_at) >= before.of(read_at));

    let output = reload(&written.replace(ADMIN, "admin: { listen: 127.0.0.1:1 }\n"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("`admin.listen` can't change while Foregate runs"), "{said}");
}
