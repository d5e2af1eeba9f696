//! Who is let through, and what everybody else is told (contract: the table of decisions).

use crate::harness::{Gateway, Upstream};

const BROWSER: &[(&str, &str)] = &[("accept", "text/html,*/*;q=0.8"), ("sec-fetch-mode", "navigate")];

#[test]
fn nobody_reaches_a_protected_route_without_signing_in_and_everybody_after() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(upstream.address, "");
    gateway.add_user("alice", &["staff"]);

    let reply = gateway.get("/a?b=c", BROWSER);
    assert_eq!(
        (reply.status, reply.header("location")),
        (303, Some("/.auth/login?next=/a%3Fb%3Dc")),
        "{reply:?}"
    );
    let reply = gateway.get("/a", &[]);
    assert_eq!(reply.status, 401, "{reply:?}");
    assert_eq!(reply.json()["code"], "unauthorized");
    assert_eq!(reply.all("www-authenticate"), [r#"Bearer realm="foregate""#]);
    assert_eq!(upstream.count(), 0);

    let cookie = gateway.sign_in("alice");
    let reply = gateway.get("/a?b=c", &[("cookie", &cookie)]);
    assert_eq!((reply.status, reply.text().as_str()), (200, "hello"), "{reply:?}");
    let seen = upstream.last();
    assert!(seen.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains("remote-user: alice\r\n") && seen.contains("remote-groups: staff\r\n"), "{seen}");
    assert!(!seen.contains("cookie"), "{seen}");
}
