//! The header fields on their way through: strip and insert, in both directions.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use foregate::proxy::headers::{CookieNames, Forwarding, HeaderRules, ReservedNames};
use foregate::request::{Arrival, Context, Scheme, TrustedProxies};
use foregate::route::identity_headers::HeaderSet;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// What a browser sends.
const TYPICAL: [(&str, &str); 11] = [
    ("host", "app.test"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "en-GB,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br"),
    ("referer", "http://app.test/"),
    ("connection", "keep-alive"),
    ("cookie", "theme=dark; foregate=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA; lang=en"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-site", "same-origin"),
];

fn fields<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(name.parse::<HeaderName>().expect("a name"), value.parse().expect("a value"));
    }
    headers
}

/// The identity headers of somebody who is signed in.
fn identity() -> HeaderSet {
    let values = [
        ("remote-user", "alice"),
        ("remote-email", "alice@example.com"),
        ("remote-name", "Alice"),
        ("remote-groups", "staff"),
    ];
    let field = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    values.map(field).into()
}

fn context() -> Context {
    let request = Request::get("/").header("host", "app.test").body(()).expect("a request");
    let trusted = TrustedProxies::default();
    let arrival = Arrival {
        certificate: None,
        now: SystemTime::now(),
        peer: CLIENT,
        scheme: Scheme::Http,
        trusted: &trusted,
    };
    Context::new(&request, &arrival).expect("a sound request")
}

fn forward(c: &mut Criterion) {
    let (identity, context) = (identity(), context());
    let names: Vec<_> = identity.iter().map(|(name, _)| name).collect();
    let rules = HeaderRules::new(CookieNames::new(["foregate", "foregate_csrf"]), ReservedNames::new(names));
    let forwarding = |identity| Forwarding {
        assertion: None,
        authorization: false,
        context: &context,
        edits: &[],
        host: None,
        identity,
        prefix: None,
        upgrade: None,
    };
    let spoofs: Vec<_> = (0..80).map(|number| format!("x-auth-{number}")).collect();
    let listed: Vec<_> = (0..80).map(|number| format!("field-{number}")).collect();
    let connection = listed.join(", ");
    let cookies = "foregate=x; a=b; ".repeat(400);
    let with = |more: Vec<(&str, &str)>| {
        let name_is_new = |name: &str| !more.iter().any(|(other, _)| *other == name);
        let typical = TYPICAL.into_iter().filter(|(name, _)| name_is_new(name));
        fields(typical.chain(more.iter().copied()))
    };
    let named = listed.iter().map(|name| (name.as_str(), "x"));
    let cases = [
        ("typical/nobody", with(vec![]), None),
        ("typical/identified", with(vec![]), Some(&identity)),
        (
            "hostile/80 spoofed names",
            with(spoofs.iter().map(|name| (name.as_str(), "x")).collect()),
            Some(&identity),
        ),
        (
            "hostile/80 names in Connection",
            with(named.chain([("connection", connection.as_str())]).collect()),
            Some(&identity),
        ),
        ("hostile/400 cookies of ours", with(vec![("cookie", &cookies)]), Some(&identity)),
    ];
    let mut group = c.benchmark_group("headers/forward");
    for (name, headers, identity) in cases {
        let forwarding = forwarding(identity);
        group.bench_function(name, |b| {
            let run = |headers: &mut HeaderMap| rules.forward(headers, &forwarding).expect("sound values");
            b.iter_batched_ref(|| headers.clone(), run, BatchSize::SmallInput);
        });
    }
    group.finish();

    let answered = [
        ("server", "nginx"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("content-type", "text/html; charset=utf-8"),
        ("content-length", "1024"),
        ("connection", "keep-alive"),
        ("etag", "\"5f3c-400\""),
        ("set-cookie", "app=1; Path=/"),
    ];
    let tossed: Vec<_> = (0..80).map(|_| ("set-cookie", "foregate=stolen; Path=/")).collect();
    let mut group = c.benchmark_group("headers/answer");
    for (name, headers) in [
        ("typical", fields(answered)),
        ("hostile/80 cookies in our name", fields(answered.into_iter().chain(tossed))),
    ] {
        group.bench_function(name, |b| {
            let run = |headers: &mut HeaderMap| {
                rules.answer(StatusCode::OK, headers, &[]).expect("framed in one way");
            };
            b.iter_batched_ref(|| headers.clone(), run, BatchSize::SmallInput);
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50);
    targets = forward
}
criterion_main!(benches);
