//! What a request pays for being counted, and what a scrape costs.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use criterion::{Criterion, criterion_group, criterion_main};
use foregate::telemetry::metrics::{Decided, Exposition, Metrics, ThreadMetrics, UpstreamOutcome};

fn metrics(routes: usize) -> (Metrics, Vec<String>) {
    let metrics = Metrics::new(SystemTime::now());
    let routes: Vec<String> = (0..routes).map(|number| format!("/application/{number}/**")).collect();
    metrics.configure(routes.iter().map(String::as_str), ["app"]);
    (metrics, routes)
}

/// All that a forwarded request with a session counts.
fn request(metrics: &Metrics, thread: &ThreadMetrics, route: &str) {
    metrics.cache_hit();
    thread.upstream(black_box("app"), UpstreamOutcome::Answered);
    thread.answered(black_box(route), black_box(200), black_box(Duration::from_micros(800)));
    metrics.decided(Decided::Allow);
}

fn count(c: &mut Criterion) {
    let mut group = c.benchmark_group("metrics");
    let (shared, routes) = metrics(1000);
    let thread = shared.thread();
    group.bench_function("a request", |b| b.iter(|| request(&shared, &thread, &routes[0])));
    let mut turn = 0;
    group.bench_function("a request, 1,000 routes in turn", |b| {
        b.iter(|| {
            turn = (turn + 1) % routes.len();
            request(&shared, &thread, &routes[turn]);
        });
    });
    group.bench_function("a connection", |b| b.iter(|| drop(black_box(shared.connection()))));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let other = shared.thread();
            while !stop.load(Ordering::Relaxed) {
                request(&shared, &other, &routes[0]);
            }
        });
        group.bench_function("a request, another thread counting the same", |b| {
            b.iter(|| request(&shared, &thread, &routes[0]));
        });
        stop.store(true, Ordering::Relaxed);
    });
    let (few, _) = metrics(10);
    for (name, metrics) in [("a scrape, 10 routes", &few), ("a scrape, 1,000 routes", &shared)] {
        group.bench_function(name, |b| b.iter(|| metrics.expose(Exposition::Prometheus).len()));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50);
    targets = count
}
criterion_main!(benches);
