//! Reading a target: the usual ones, and those made to cost the most.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use foregate::request::Target;

fn readings(c: &mut Criterion) {
    let mut group = c.benchmark_group("target");
    let long = format!("/{}", "segment/".repeat(1000));
    let escaped = format!("/{}", "%41".repeat(2700));
    let slashes = format!("/a{}", "//b".repeat(2000));
    let parameters = format!("/a{}", "/b;c=%2f%3b".repeat(700));
    let cases = [
        ("typical/plain", "/static/app.css?v=3"),
        ("typical/escape", "/files/annual%20report.pdf"),
        ("hostile/nested escapes", "/a%25252525252525252fb;%253bc/%252f%252fd"),
        ("hostile/dot segment", "/public/%252e%252e/admin"),
        ("hostile/8 KiB plain", &long),
        ("hostile/8 KiB escapes", &escaped),
        ("hostile/8 KiB slashes", &slashes),
        ("hostile/8 KiB parameters", &parameters),
    ];
    for (name, raw) in cases {
        group.bench_function(name, |b| b.iter(|| Target::parse(black_box(raw))));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50);
    targets = readings
}
criterion_main!(benches);
