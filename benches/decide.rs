//! The decision, from the described request to the permit or the refusal, over a real store.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::{Duration, SystemTime};

use criterion::{Criterion, criterion_group, criterion_main};
use foregate::account::{LoginAttempt, NewAccount, NewPassword};
use foregate::config::Config;
use foregate::gate::{Decision, Gate};
use foregate::gateway::AccountRooms;
use foregate::request::{Arrival, Context, Scheme, TrustedProxies};
use foregate::route::Table;
use http::header::{AUTHORIZATION, COOKIE, HOST};
use http::{HeaderValue, Request};
use secrecy::ExposeSecret as _;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const PATIENCE: Duration = Duration::from_secs(10);

/// A gate over a store with one account, and that account's credentials.
struct Rig {
    bearer: HeaderValue,
    cookie: HeaderValue,
    gate: Gate,
    /// As `gate`, but what it has read is stale at once.
    forgetful: Gate,
    /// The store is in it.
    _folder: tempfile::TempDir,
}

impl Rig {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let text = "
            upstreams: { app: \"http://127.0.0.1:3000\" }
            password: { min_score: 0, argon2: { memory: 7MiB, iterations: 1 } }
            routes:
              - { path: /public/**, access: public, upstream: app }
              - { path: /**, access: authenticated, upstream: app }
        ";
        let config = Config::parse(text, "bench", &|_| None, folder.path()).expect("a sound configuration");
        let rooms = AccountRooms::open(&config).await.expect("the store opens");
        let password = || "correct horse battery".to_owned().into();
        let account = NewAccount {
            email: None,
            name: "Alice".parse().expect("a name"),
            password: NewPassword::Plain(password()),
            roles: ["staff".parse().expect("a role")].into(),
            username: "alice".parse().expect("a name"),
        };
        let now = SystemTime::now();
        rooms.accounts.add(account, now).await.expect("the account is made");
        let login = rooms.accounts.log_in(LoginAttempt {
            login: "alice",
            now,
            password: password(),
            previous: None,
            remember: false,
            source: CLIENT,
            user_agent: "bench",
        });
        let set_cookie = login.await.expect("signed in").cookie;
        let pair = set_cookie.to_str().expect("a cookie is ASCII").split(';').next().expect("a pair");
        let token = rooms.accounts.issue_token(CLIENT, "alice", password(), now).await.expect("a token");
        let bearer = format!("Bearer {}", token.access_token.expose_secret());

        let mut stale = config.clone();
        stale.cache.ttl = Duration::ZERO;
        let forgetful = AccountRooms::build(&stale, rooms.store.clone(), rooms.metrics.clone())
            .await
            .expect("the keys are there");
        let gate = |rooms: &AccountRooms| {
            let table = Table::new(config.routes.clone());
            Gate::new(table, rooms.authenticator.clone(), config.public_url.clone())
        };
        Self {
            bearer: bearer.try_into().expect("a token is ASCII"),
            cookie: format!("theme=dark; {pair}; lang=en").try_into().expect("a cookie is ASCII"),
            forgetful: gate(&forgetful),
            gate: gate(&rooms),
            _folder: folder,
        }
    }
}

/// A request with these fields beside what browsers send.
fn request(target: &str, fields: &[(http::HeaderName, &HeaderValue)]) -> (Context, http::HeaderMap) {
    let mut request = Request::get(target)
        .header(HOST, "app.test")
        .header("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
        .header("accept-encoding", "gzip, deflate, br")
        .header("accept-language", "en-GB,en;q=0.5")
        .header("sec-fetch-mode", "navigate")
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0");
    for (name, value) in fields {
        request = request.header(name, *value);
    }
    let request = request.body(()).expect("a request");
    let trusted = TrustedProxies::default();
    let arrival = Arrival {
        certificate: None,
        now: SystemTime::now(),
        peer: CLIENT,
        scheme: Scheme::Http,
        trusted: &trusted,
    };
    let context = Context::new(&request, &arrival).expect("a sound request");
    (context, request.into_parts().0.headers)
}

/// None of these waits for anything.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut TaskContext::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

fn decide(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let rig = runtime.block_on(Rig::new());
    let mut group = c.benchmark_group("decide");
    let unknown = HeaderValue::from_static("foregate=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let forged = format!("{}x", rig.bearer.to_str().expect("a token is ASCII"));
    let forged = HeaderValue::try_from(forged).expect("a token is ASCII");
    let many = "a=b; ".repeat(1500) + rig.cookie.to_str().expect("a cookie is ASCII");
    let many = HeaderValue::try_from(many).expect("cookies are ASCII");
    let cases: [(_, _, _, &[_], _); 9] = [
        ("typical/public", &rig.gate, "/public/app.css", &[], true),
        ("typical/cookie hit", &rig.gate, "/", &[(COOKIE, &rig.cookie)], true),
        ("typical/Bearer hit", &rig.gate, "/", &[(AUTHORIZATION, &rig.bearer)], true),
        ("typical/cookie miss", &rig.forgetful, "/", &[(COOKIE, &rig.cookie)], true),
        ("typical/Bearer miss", &rig.forgetful, "/", &[(AUTHORIZATION, &rig.bearer)], true),
        ("typical/no credential", &rig.gate, "/", &[], false),
        ("hostile/unknown cookie", &rig.gate, "/", &[(COOKIE, &unknown)], false),
        ("hostile/forged Bearer, known", &rig.gate, "/", &[(AUTHORIZATION, &forged)], false),
        ("hostile/1,500 cookies", &rig.gate, "/", &[(COOKIE, &many)], true),
    ];
    for (name, gate, target, fields, passes) in cases {
        let (context, headers) = request(target, fields);
        let decide = || at_once(gate.decide(&context, &headers, PATIENCE)).expect("the store works");
        assert_eq!(matches!(decide(), Decision::Allow(_)), passes, "{name}");
        group.bench_function(name, |b| b.iter(decide));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50);
    targets = decide
}
criterion_main!(benches);
