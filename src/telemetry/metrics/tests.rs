//! What is counted is shown, once, under its name.

use std::time::UNIX_EPOCH;

use super::*;

fn metrics() -> Metrics {
    let metrics = Metrics::new(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    metrics.configure(["all", "a \"b\" \\ c"], ["app"]);
    metrics
}

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|found| found == line), "no line {line} in\n{text}");
}

#[test]
fn what_several_threads_count_is_added_up() {
    let metrics = metrics();
    let millis = |millis| Duration::from_millis(millis);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let thread = metrics.thread();
                for _ in 0..1000 {
                    thread.answered("all", 200, millis(1));
                    thread.answered("all", 503, millis(70));
                    thread.upstream("app", UpstreamOutcome::Answered);
                    thread.unsound("bad_request");
                    metrics.decided(Decided::Allow);
                    metrics.cache_hit();
                }
            });
        }
    });
    let text = metrics.expose(Exposition::Prometheus);
    for line in [
        "# TYPE foregate_requests_total counter",
        r#"foregate_requests_total{route="all",status_class="2xx"} 4000"#,
        r#"foregate_requests_total{route="all",status_class="5xx"} 4000"#,
        r#"foregate_requests_total{route="all",status_class="1xx"} 0"#,
        r#"foregate_requests_total{route="a \"b\" \\ c",status_class="2xx"} 0"#,
        r#"foregate_requests_total{route="(portal)",status_class="2xx"} 0"#,
        r#"foregate_request_duration_seconds_bucket{le="0.0005",route="all"} 0"#,
        r#"foregate_request_duration_seconds_bucket{le="0.001",route="all"} 4000"#,
        r#"foregate_request_duration_seconds_bucket{le="0.05",route="all"} 4000"#,
        r#"foregate_request_duration_seconds_bucket{le="0.1",route="all"} 8000"#,
        r#"foregate_request_duration_seconds_bucket{le="+Inf",route="all"} 8000"#,
        r#"foregate_request_duration_seconds_count{route="all"} 8000"#,
        r#"foregate_request_duration_seconds_sum{route="all"} 284.0"#,
        r#"foregate_upstream_requests_total{upstream="app",outcome="answered"} 4000"#,
        r#"foregate_upstream_requests_total{upstream="app",outcome="timed_out"} 0"#,
        r#"foregate_unsound_requests_total{code="bad_request"} 4000"#,
        r#"foregate_decisions_total{decision="allow"} 4000"#,
        "foregate_cache_hits_total 4000",
        "foregate_config_last_reload_success_timestamp_seconds 1700000000.0",
        "foregate_config_last_reload_successful 1.0",
        "# TYPE process_cpu_seconds_total counter",
    ] {
        has(&text, line);
    }
}

#[test]
fn what_takes_longer_than_every_bound_is_in_the_last_bucket_alone() {
    let metrics = metrics();
    metrics.thread().answered("all", 200, Duration::MAX);
    let text = metrics.expose(Exposition::Prometheus);
    has(&text, r#"foregate_request_duration_seconds_bucket{le="30.0",route="all"} 0"#);
    has(&text, r#"foregate_request_duration_seconds_bucket{le="+Inf",route="all"} 1"#);
}

#[test]
fn what_is_open_counts_until_it_is_closed_on_whichever_thread() {
    let metrics = metrics();
    let (one, other) = (metrics.connection(), metrics.connection());
    let tunnel = metrics.tunnel();
    has(&metrics.expose(Exposition::Prometheus), "foregate_connections 2.0");
    std::thread::spawn(move || drop(one)).join().expect("no panic");
    has(&metrics.expose(Exposition::Prometheus), "foregate_connections 1.0");
    has(&metrics.expose(Exposition::Prometheus), "foregate_tunnels 1.0");
    drop((other, tunnel));
    has(&metrics.expose(Exposition::Prometheus), "foregate_connections 0.0");
    has(&metrics.expose(Exposition::Prometheus), "foregate_tunnels 0.0");
}

#[test]
fn a_route_that_has_gone_disappears_and_one_that_stays_counts_on() {
    let metrics = metrics();
    let thread = metrics.thread();
    let count = |name| thread.answered(name, 200, Duration::ZERO);
    for name in ["all", "new", "a \"b\" \\ c"] {
        count(name);
    }
    metrics.configure(["all", "new"], ["app"]);
    for name in ["all", "new", "a \"b\" \\ c", "never heard of"] {
        count(name);
    }
    let text = metrics.expose(Exposition::Prometheus);
    has(&text, r#"foregate_requests_total{route="all",status_class="2xx"} 2"#);
    has(&text, r#"foregate_requests_total{route="new",status_class="2xx"} 1"#);
    assert!(!text.contains("a \\\"b\\\"") && !text.contains("never heard of"), "{text}");
}

#[test]
fn a_second_collector_takes_the_place_of_the_first() {
    let metrics = metrics();
    let row = |value| {
        move || vec![Row { labels: vec![("upstream", "app".into()), ("server", "http://a:1".into())], value }]
    };
    metrics.set_collector("upstream_healthy", "Whether it is well", Kind::Gauge, row(0.0));
    metrics.set_collector("upstream_healthy", "Whether it is well", Kind::Gauge, row(1.0));
    metrics.set_collector("retries", "Retries", Kind::Counter, || Row::alone(3.0));
    let text = metrics.expose(Exposition::Prometheus);
    has(&text, r#"foregate_upstream_healthy{upstream="app",server="http://a:1"} 1.0"#);
    has(&text, "foregate_retries_total 3.0");
    assert_eq!(text.matches("# TYPE foregate_upstream_healthy gauge").count(), 1, "{text}");
}

#[test]
fn a_reload_that_failed_is_seen_until_the_next_good_one() {
    let metrics = metrics();
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    metrics.reloaded(Reload::Failed, at(1_700_000_100));
    let text = metrics.expose(Exposition::Prometheus);
    has(&text, "foregate_config_last_reload_successful 0.0");
    has(&text, "foregate_config_last_reload_success_timestamp_seconds 1700000000.0");
    metrics.reloaded(Reload::Ok, at(1_700_000_200));
    let text = metrics.expose(Exposition::Prometheus);
    has(&text, "foregate_config_last_reload_successful 1.0");
    has(&text, "foregate_config_last_reload_success_timestamp_seconds 1700000200.0");
    has(&text, r#"foregate_config_reloads_total{outcome="failed"} 1"#);
}

#[test]
fn the_format_is_the_one_that_is_asked_for() {
    use Exposition::{OpenMetrics, Prometheus};
    let scrape = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    for (accept, expected) in [
        (scrape, OpenMetrics),
        ("", Prometheus),
        ("*/*", Prometheus),
        ("text/html,application/xhtml+xml,*/*;q=0.8", Prometheus),
        ("application/openmetrics-text", OpenMetrics),
        ("application/openmetrics-text;q=0", Prometheus),
        ("application/openmetrics-text;q=0.1, text/plain", Prometheus),
        ("application/openmetrics-text;q=x", Prometheus),
    ] {
        assert_eq!(Exposition::accepted(accept), expected, "{accept}");
    }
    let open = metrics().expose(OpenMetrics);
    assert!(open.ends_with("# EOF\n") && open.contains("# TYPE foregate_requests counter\n"), "{open}");
    assert!(!metrics().expose(Prometheus).contains("EOF"));
}
