//! A flood of forged tokens: it ends at the brake, and costs nobody else anything.

use std::time::{Duration, Instant};

use crate::harness::{Gateway, Reply, Upstream, wait_until};
use crate::idp::{Idp, Signer};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
/// Bad signatures that a source may have in a second.
const FREE: usize = 50;

fn gateway(upstream: &Upstream, idp: &Idp) -> Gateway {
    let gateway = Gateway::start(&format!(
        "public_url: http://app.test\ntrusted_proxies: [127.0.0.1]\ntokens: {{ algorithm: RS256 }}\n\
         cache: {{ ttl: 1s }}\n{}\
         upstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app }}]\n",
        idp.yaml(""),
        upstream.address
    ));
    gateway.add_user("alice", &[]);
    gateway
}

fn show(gateway: &Gateway, from: &str, token: &str) -> Reply {
    gateway.get("/", &[("authorization", &format!("Bearer {token}")), ("x-forwarded-for", from)])
}

/// The same claims under signatures that are nobody's.
fn forgeries(good: &str) -> impl Iterator<Item = String> {
    let (signed, signature) = good.rsplit_once('.').expect("a JWT");
    (0..).map(move |number| format!("{signed}.{number:08}{}", &signature[8..]))
}

/// Sends forged tokens until one is not looked at.
fn flood(gateway: &Gateway, from: &str, forged: &mut impl Iterator<Item = String>) {
    for _ in 0..100 * FREE {
        let reply = show(gateway, from, &forged.next().expect("there are more"));
        if reply.status == 429 {
            assert_eq!(reply.header("retry-after"), Some("1"), "{reply:?}");
            return;
        }
        assert_eq!(reply.status, 401, "{reply:?}");
    }
    panic!("no flood was braked");
}

#[test]
fn who_shares_an_address_with_a_forger_goes_on_and_so_does_everybody_else() {
    const HERE: &str = "192.0.2.1";
    let upstream = Upstream::start();
    let signer = Signer::rsa("k");
    let idp = Idp::with(&[&signer]);
    let gateway = gateway(&upstream, &idp);
    let cookie = gateway.sign_in("alice");
    let (ours, theirs) = (gateway.token("alice"), signer.token(&idp.claims()));
    for token in [&ours, &theirs] {
        assert_eq!(show(&gateway, HERE, token).status, 200);
    }
    let began = Instant::now();
    wait_until(|| began.elapsed() > Duration::from_millis(1100), || "time stands still".to_owned());
    for (forged, good) in [(&ours, &theirs), (&theirs, &ours)] {
        let mut forged = forgeries(forged);
        flood(&gateway, HERE, &mut forged);
        // The cache has forgotten both, and so they are verified again.
        assert_eq!(show(&gateway, HERE, good).status, 200, "verified before");
        flood(&gateway, HERE, &mut forged);
        assert_eq!(show(&gateway, HERE, &gateway.token("alice")).status, 200, "made here");
        let by_cookie = gateway.get("/", &[("cookie", &cookie), ("x-forwarded-for", HERE)]);
        assert_eq!(by_cookie.status, 200);
        flood(&gateway, HERE, &mut forged);
        let mut claims = idp.claims();
        claims["jti"] = "never seen before".into();
        let new = signer.token(&claims);
        assert_eq!(show(&gateway, "192.0.2.2", &new).status, 200, "another source is not braked");
    }
}

#[test]
fn what_is_wrong_by_the_look_of_it_counts_as_no_forgery() {
    let upstream = Upstream::start();
    let signer = Signer::rsa("k");
    let idp = Idp::with(&[&signer]);
    let gateway = gateway(&upstream, &idp);
    let other = Signer::rsa("unknown");
    let (unknown, mut late) = (other.token(&idp.claims()), idp.claims());
    late["exp"] = 1_700_000_000.into();
    let late = signer.token(&late);
    for bad in [unknown, late, "x.y.z".to_owned(), "x".repeat(9000)] {
        for _ in 0..2 * FREE {
            assert_eq!(show(&gateway, "192.0.2.1", &bad).status, 401);
        }
    }
}

#[test]
fn a_flood_is_braked_where_tokens_are_revoked_as_well() {
    let upstream = Upstream::start();
    let idp = Idp::with(&[&Signer::rsa("k")]);
    let gateway = gateway(&upstream, &idp);
    let good = gateway.token("alice");
    let revoke = |token: &str| {
        let from = ("x-forwarded-for", "192.0.2.1");
        gateway.request("POST", "/.auth/token/revoke", &[FORM, from], format!("token={token}").as_bytes())
    };
    let mut forged = forgeries(&good);
    let began = Instant::now();
    let mut statuses = Vec::new();
    while !statuses.contains(&429) && statuses.len() < 100 * FREE {
        let reply = revoke(&forged.next().expect("there are more"));
        if reply.status == 429 {
            assert_eq!(reply.header("retry-after"), Some("1"), "{reply:?}");
            assert_eq!(reply.json()["error"], "temporarily_unavailable", "{reply:?}");
        }
        statuses.push(reply.status);
    }
    let looked_at = statuses.iter().filter(|status| **status == 200).count();
    let most = FREE * (2 + began.elapsed().as_secs() as usize);
    assert!((FREE..=most).contains(&looked_at), "{statuses:?}");
    // Whoever has a token may end it whatever else comes from there.
    assert_eq!(revoke(&good).status, 200);
    assert_eq!(show(&gateway, "192.0.2.2", &good).status, 401);
}
