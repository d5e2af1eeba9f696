//! Finding one of 1,000 routes: the usual requests, and those made to walk the furthest.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use foregate::config::Config;
use foregate::route::Table;
use http::Method;

/// 400 paths of one host, 300 hosts, 200 domains, 99 patterns that begin alike, and the rest.
fn thousand_routes() -> Table {
    let mut text = String::from("upstreams: { app: \"http://127.0.0.1:3000\" }\nroutes:\n");
    let mut add = |host: Option<String>, path: String| {
        let host = host.map(|host| format!("host: \"{host}\", ")).unwrap_or_default();
        writeln!(text, "  - {{ {host}path: \"{path}\", upstream: app }}").expect("a String takes it");
    };
    for number in 0..400 {
        add(Some("app.test".to_owned()), format!("/service{number}/api/**"));
    }
    for number in 0..300 {
        add(Some(format!("host{number}.test")), "/**".to_owned());
    }
    for number in 0..200 {
        add(Some(format!("*.domain{number}.test")), "/**".to_owned());
    }
    for number in 0..99 {
        // Both ways are open at each segment: a look that tried them all would take 2 to the depth.
        let way: String = (0..12).map(|bit| if number >> (bit % 7) & 1 == 0 { "/*" } else { "/a" }).collect();
        add(None, format!("{way}/end{number}"));
    }
    add(None, "/**".to_owned());
    let config = Config::parse(&text, "routes", &|_| None, Path::new("")).expect("a sound configuration");
    let table = Table::new(config.routes);
    assert_eq!(table.routes().len(), 1000);
    table
}

fn find(c: &mut Criterion) {
    let table = thousand_routes();
    let mut group = c.benchmark_group("route_match");
    let deep = "/a".repeat(4000);
    let both_ways = format!("{}/end200", "/a".repeat(12));
    let labels = "a.".repeat(120) + "domain199.test";
    let cases = [
        ("typical/path of a host", "app.test", "/service399/api/users/7"),
        ("typical/host", "host299.test", "/index.html"),
        ("typical/domain", "www.domain199.test", "/"),
        ("typical/the last of all", "other.test", "/"),
        ("hostile/both ways at each segment", "app.test", both_ways.as_str()),
        ("hostile/4,000 segments", "app.test", deep.as_str()),
        ("hostile/120 labels", labels.as_str(), "/"),
    ];
    for (name, host, path) in cases {
        group.bench_function(name, |b| {
            b.iter(|| table.find(black_box(host), &Method::GET, black_box(path)).is_some());
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50);
    targets = find
}
criterion_main!(benches);
