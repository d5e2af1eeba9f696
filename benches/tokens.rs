//! What our tokens cost: minting one, verifying one that is new and one that is known, refusing one, refreshing.
//!
//! `verify` is the token alone; `new` and `known` are what a request pays: with the look into the cache, and for a new
//! one with the account, the revocations and its place in the cache.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::collections::BTreeSet;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use foregate::account::{NewAccount, NewPassword};
use foregate::authn::login::identity;
use foregate::authn::{Asker, Authentication};
use foregate::config::Config;
use foregate::gateway::AccountRooms;
use foregate::identity::Credential;
use foregate::store::User;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::runtime::{Builder, Runtime};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// More than the cache and a thread's front of it hold.
const MANY: usize = 4096;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn password() -> SecretString {
    "correct horse battery".to_owned().into()
}

async fn rooms(algorithm: &str, folder: &std::path::Path) -> (AccountRooms, User) {
    let text = format!(
        "tokens: {{ algorithm: {algorithm} }}
cache: {{ capacity: 16 }}
upstreams: {{ app: \"http://127.0.0.1:3000\" }}
password: {{ min_score: 0, argon2: {{ memory: 7MiB, iterations: 1 }} }}
routes: [{{ path: /**, upstream: app }}]"
    );
    let config = Config::parse(&text, "bench", &|_| None, folder).expect("a sound configuration");
    let rooms = AccountRooms::open(&config).await.expect("the store opens");
    let account = NewAccount {
        email: "alice@example.com".parse().ok(),
        name: "Alice".parse().expect("a name"),
        password: NewPassword::Plain(password()),
        roles: ["staff".parse().expect("a role")].into(),
        username: "alice".parse().expect("a name"),
    };
    let (user, _) = rooms.accounts.add(account, SystemTime::now()).await.expect("the account is made");
    (rooms, user)
}

fn tokens(c: &mut Criterion) {
    let runtime = runtime();
    for algorithm in ["EdDSA", "ES256", "RS256", "HS256"] {
        let folder = tempfile::tempdir().expect("a folder");
        let (rooms, user) = runtime.block_on(rooms(algorithm, folder.path()));
        let ours = rooms.authenticator.tokens();
        let alice = identity(&user, Credential::Bearer, SystemTime::now());
        let mint = || ours.issue(user.id, &alice, None, SystemTime::now());
        let mut group = c.benchmark_group(format!("tokens, {algorithm}"));
        group.sample_size(20).measurement_time(Duration::from_secs(2));
        group.bench_function("mint", |b| b.iter(mint));
        let token = mint();
        let now = SystemTime::now();
        group.bench_function("verify", |b| {
            b.iter(|| ours.verify(black_box(token.expose_secret().as_bytes()), now).expect("a good token"));
        });
        let (signed, signature) = token.expose_secret().rsplit_once('.').expect("a signature");
        let forged = format!("{signed}.AAAA{}", &signature[4..]);
        group.bench_function("refuse, forged", |b| {
            b.iter(|| ours.verify(black_box(forged.as_bytes()), now).expect_err("a forged token"));
        });
        let later = now + Duration::from_secs(3600);
        group.bench_function("refuse, expired", |b| {
            b.iter(|| ours.verify(black_box(forged.as_bytes()), later).expect_err("an expired token"));
        });
        let accepted = BTreeSet::from([Credential::Bearer]);
        let asker = Asker { client: CLIENT, now, patience: Duration::ZERO };
        let show = |headers: &HeaderMap| {
            let answer = runtime.block_on(rooms.authenticator.authenticate(headers, &accepted, asker));
            assert!(matches!(answer, Ok(Authentication::Verified(_))));
        };
        let many: Vec<HeaderMap> = (0..MANY).map(|_| shown(&mint())).collect();
        let mut turns = many.iter().cycle();
        group.bench_function("new", |b| b.iter(|| show(turns.next().expect("there are many"))));
        group.bench_function("known", |b| b.iter(|| show(&many[0])));
        group.finish();
        runtime.block_on(rooms.store.close());
    }
}

fn shown(token: &SecretString) -> HeaderMap {
    let value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret())).expect("ASCII");
    HeaderMap::from_iter([(AUTHORIZATION, value)])
}

/// With its write to the disk.
fn refresh(c: &mut Criterion) {
    let runtime = runtime();
    let folder = tempfile::tempdir().expect("a folder");
    let (rooms, _) = runtime.block_on(rooms("EdDSA", folder.path()));
    let issued = rooms.accounts.issue_token(CLIENT, "alice", password(), SystemTime::now());
    let issued = runtime.block_on(issued).expect("signed in");
    let mut token = issued.refresh_token.expect("a refresh token");
    let mut group = c.benchmark_group("tokens");
    group.sample_size(10).measurement_time(Duration::from_secs(2));
    group.bench_function("refresh, durable", |b| {
        b.iter_batched(
            || (),
            |()| {
                let refreshed = rooms.accounts.refresh(&token, CLIENT, SystemTime::now());
                let refreshed = runtime.block_on(refreshed).expect("refreshed");
                token = refreshed.refresh_token.expect("its successor");
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
    runtime.block_on(rooms.store.close());
}

criterion_group!(benches, tokens, refresh);
criterion_main!(benches);
