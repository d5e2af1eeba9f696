//! Personal access tokens: made and revoked by an administrator, shown as Bearer and as Basic's password.

use std::process::Output;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::browser::{Browser, Form};
use crate::harness::{Connection, Gateway, PASSWORD, Reply, Upstream, foregate, run, wait_until};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn gateway(upstream: &Upstream) -> Gateway {
    let gateway = Gateway::start(&configuration(upstream));
    gateway.add_user("alice", &["staff"]);
    gateway
}

fn configuration(upstream: &Upstream) -> String {
    format!(
        "public_url: http://app.test\n\
         limits: {{ login: {{ per_account: 3/1m, per_ip: 1000/1m }} }}\n\
         upstreams: {{ app: \"http://{}\" }}\nroutes:\n\
         \x20 - {{ name: dav, path: /dav/**, upstream: app, credentials: [basic, bearer, session] }}\n\
         \x20 - {{ name: admin, path: /admin/**, upstream: app, require: {{ roles: [admin] }} }}\n\
         \x20 - {{ name: fresh, path: /fresh, upstream: app, credentials: [bearer, basic], require: {{ fresh_login: 1h }} }}\n\
         \x20 - {{ name: optional, path: /optional, upstream: app, access: optional }}\n\
         \x20 - {{ name: cookie, path: /cookie, upstream: app, credentials: [session] }}\n\
         \x20 - {{ name: public, path: /public, upstream: app, access: public }}\n\
         \x20 - {{ path: /**, upstream: app }}\n",
        upstream.address
    )
}

/// Makes a token on the command line.
fn create(gateway: &Gateway, arguments: &[&str]) -> String {
    let output = gateway.command(&[&["token", "create"], arguments].concat(), "");
    assert!(output.status.success(), "{output:?}");
    let said = text(&output.stdout);
    assert_eq!(said.lines().count(), 1, "the token alone: {said}");
    said.trim_end().to_owned()
}

fn list(gateway: &Gateway, name: &str) -> Vec<Value> {
    let output = gateway.command(&["token", "list", name, "--json"], "");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("an array")
}

fn id(gateway: &Gateway, name: &str) -> String {
    list(gateway, name)[0]["id"].as_str().expect("an id").to_owned()
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

fn get(gateway: &Gateway, path: &str, authorization: &str) -> Reply {
    gateway.get(path, &[("authorization", authorization)])
}

#[test]
fn a_token_opens_what_its_account_may_as_bearer_and_as_the_password_of_basic() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let token = create(&gateway, &["alice", "--name", "Backup job"]);
    assert!(token.starts_with("fgt_") && token.len() == 52, "{token}");
    for authorization in [
        bearer(&token),
        basic("alice", &token),
        basic("ALICE", &token),
        basic("Alice@Example.com", &token),
        format!("bearer  {token}"),
    ] {
        let reply = get(&gateway, "/dav/a", &authorization);
        assert_eq!(reply.status, 200, "{authorization}: {reply:?}");
        let seen = upstream.last();
        assert!(
            seen.contains("remote-user: alice\r\n") && seen.contains("remote-groups: staff\r\n"),
            "{seen}"
        );
        assert!(!seen.contains("fgt_") && !seen.to_lowercase().contains("authorization"), "{seen}");
    }
    assert_eq!(get(&gateway, "/admin/x", &bearer(&token)).status, 403, "a role is not in it");
    assert_eq!(get(&gateway, "/other", &bearer(&token)).status, 200);
    assert_eq!(get(&gateway, "/other", &basic("alice", &token)).status, 401, "Basic is not taken there");
    assert_eq!(get(&gateway, "/cookie", &bearer(&token)).status, 401, "and Bearer is not here");
    assert_eq!(get(&gateway, "/optional", &bearer(&token)).status, 200);
    assert!(upstream.last().contains("remote-user: alice\r\n"));

    let me = get(&gateway, "/.auth/me", &bearer(&token)).json();
    assert_eq!(
        (&me["username"], &me["credential"], &me["roles"]),
        (&json!("alice"), &json!("bearer"), &json!(["staff"]))
    );
    assert_eq!(get(&gateway, "/.auth/me", &basic("alice", &token)).json()["credential"], "basic");

    let count = upstream.count();
    let other = create(&gateway, &["alice"]);
    let mixed = format!("{}{}", &token[..30], &other[30..]);
    for bad in [&token[..51], &format!("{token}A"), &token.to_lowercase(), &mixed, "fgt_", "fgt_AAAA"] {
        let reply = get(&gateway, "/dav/a", &bearer(bad));
        assert_eq!(reply.status, 401, "{bad}: {reply:?}");
        let challenge = r#"Bearer realm="foregate", error="invalid_token""#;
        assert!(reply.all("www-authenticate").contains(&challenge), "{reply:?}");
        assert_eq!(get(&gateway, "/optional", &bearer(bad)).status, 401, "what is shown and bad is refused");
    }
    assert_eq!(upstream.count(), count);
}

#[test]
fn whoever_holds_a_token_can_revoke_it_by_the_endpoint_for_tokens() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let token = create(&gateway, &["alice"]);
    assert_eq!(get(&gateway, "/dav/a", &bearer(&token)).status, 200);
    let form = ("content-type", "application/x-www-form-urlencoded");
    let revoked =
        gateway.request("POST", "/.auth/token/revoke", &[form], format!("token={token}").as_bytes());
    assert_eq!(revoked.status, 200, "{revoked:?}");
    assert_eq!(get(&gateway, "/dav/a", &bearer(&token)).status, 401, "what was answered holds");
}

#[test]
fn a_revoked_token_is_worth_nothing_from_the_next_request_on() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let (first, second) = (create(&gateway, &["alice"]), create(&gateway, &["alice"]));
    for token in [&first, &second] {
        assert_eq!(get(&gateway, "/dav/a", &bearer(token)).status, 200);
        assert_eq!(get(&gateway, "/dav/a", &basic("alice", token)).status, 200);
    }
    // The newest stands first.
    let revoked = gateway.command(&["token", "revoke", &id(&gateway, "alice")], "");
    assert!(revoked.status.success() && revoked.stdout.is_empty(), "{revoked:?}");
    assert_eq!(get(&gateway, "/dav/a", &bearer(&second)).status, 401);
    assert_eq!(get(&gateway, "/dav/a", &basic("alice", &second)).status, 401);
    assert_eq!(get(&gateway, "/dav/a", &bearer(&first)).status, 200, "the other goes on");
    let again = gateway.command(&["token", "revoke", "0123456789abcdef"], "");
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    assert!(text(&again.stderr).contains("no personal access token 0123456789abcdef"), "{again:?}");
    let all = gateway.command(&["token", "revoke", "--all", "alice"], "");
    assert!(all.status.success(), "{all:?}");
    assert_eq!(get(&gateway, "/dav/a", &bearer(&first)).status, 401);
    assert_eq!(list(&gateway, "alice"), Vec::<Value>::new());
}

#[test]
fn a_token_follows_its_account_and_stays_through_a_new_password() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let token = create(&gateway, &["alice"]);
    let done = |arguments: &[&str], input: &str| {
        let output = gateway.command(arguments, input);
        assert!(output.status.success(), "{output:?}");
    };
    assert_eq!(get(&gateway, "/admin/x", &bearer(&token)).status, 403);
    done(&["user", "set", "alice", "--role", "admin"], "");
    assert_eq!(get(&gateway, "/admin/x", &bearer(&token)).status, 200);
    done(&["user", "set", "alice", "--no-roles"], "");
    assert_eq!(get(&gateway, "/admin/x", &bearer(&token)).status, 403);
    // A token is made so that a program needs no password, and does not end with one.
    done(&["user", "set", "alice", "--password-stdin"], "another horse battery");
    assert_eq!(get(&gateway, "/dav/a", &bearer(&token)).status, 200);
    assert_eq!(get(&gateway, "/dav/a", &basic("alice", &token)).status, 200);
    done(&["user", "disable", "alice"], "");
    assert_eq!(get(&gateway, "/dav/a", &bearer(&token)).status, 401);
    assert_eq!(get(&gateway, "/dav/a", &basic("alice", &token)).status, 401);
    let disabled = gateway.command(&["token", "create", "alice"], "");
    assert_eq!(disabled.status.code(), Some(1), "{disabled:?}");
    assert!(text(&disabled.stderr).contains("may not sign in"), "{disabled:?}");
    done(&["user", "enable", "alice"], "");
    assert_eq!(get(&gateway, "/dav/a", &bearer(&token)).status, 401, "it does not come back");
    let token = create(&gateway, &["alice"]);
    assert_eq!(get(&gateway, "/dav/a", &bearer(&token)).status, 200);
    done(&["user", "delete", "alice", "--yes"], "");
    assert_eq!(get(&gateway, "/dav/a", &bearer(&token)).status, 401);
    gateway.add_user("alice", &[]);
    assert_eq!(get(&gateway, "/dav/a", &bearer(&token)).status, 401, "nor with another of that name");
}

#[test]
fn a_token_for_some_routes_is_forbidden_on_the_others() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let token = create(&gateway, &["alice", "--route", "dav", "--route", "admin"]);
    assert_eq!(get(&gateway, "/dav/a", &bearer(&token)).status, 200);
    assert_eq!(get(&gateway, "/dav/a", &basic("alice", &token)).status, 200);
    assert_eq!(get(&gateway, "/public", &bearer(&token)).status, 200, "nothing is looked at there");
    let count = upstream.count();
    for path in ["/other", "/optional", "/fresh"] {
        let reply = get(&gateway, path, &bearer(&token));
        assert_eq!((reply.status, &reply.json()["code"]), (403, &json!("token_scope")), "{path}: {reply:?}");
        assert_eq!(
            reply.header("www-authenticate"),
            Some(r#"Bearer realm="foregate", error="insufficient_scope""#),
            "{reply:?}"
        );
    }
    let reply = get(&gateway, "/fresh", &basic("alice", &token));
    assert_eq!((reply.status, &reply.json()["code"]), (403, &json!("token_scope")), "{reply:?}");
    // The policy of a route holds besides.
    assert_eq!(get(&gateway, "/admin/x", &bearer(&token)).json()["code"], "forbidden");
    assert_eq!(upstream.count(), count);
}

#[test]
fn a_token_is_no_typed_password() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let token = create(&gateway, &["alice"]);
    for authorization in [bearer(&token), basic("alice", &token)] {
        let reply = get(&gateway, "/fresh", &authorization);
        assert_eq!(reply.status, 401, "{reply:?}");
        assert_eq!(reply.json()["code"], "insufficient_user_authentication", "{reply:?}");
    }
    assert_eq!(get(&gateway, "/fresh", &basic("alice", PASSWORD)).status, 200);
}

#[test]
fn a_token_ends_by_itself() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let token = create(&gateway, &["alice", "--expires", "2s"]);
    let began = Instant::now();
    assert_eq!(get(&gateway, "/dav/a", &bearer(&token)).status, 200);
    assert_eq!(get(&gateway, "/dav/a", &basic("alice", &token)).status, 200);
    let late = || began.elapsed() > Duration::from_millis(2100);
    wait_until(late, || "time stands still".to_owned());
    assert_eq!(get(&gateway, "/dav/a", &bearer(&token)).status, 401);
    assert_eq!(get(&gateway, "/dav/a", &basic("alice", &token)).status, 401);
    wait_until(|| list(&gateway, "alice").is_empty(), || "it is not swept".to_owned());
}

#[test]
fn basic_takes_a_token_beside_its_own_name_alone_and_counts_the_failures() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    gateway.add_user("bob", &[]);
    let token = create(&gateway, &["alice"]);
    let count = upstream.count();
    let wrong = basic("bob", &token);
    let reply = get(&gateway, "/dav/a", &wrong);
    assert_eq!(reply.status, 401, "{reply:?}");
    for name in ["", "nobody", "alice2"] {
        assert_eq!(get(&gateway, "/dav/a", &basic(name, &token)).status, 401, "{name}");
    }
    // One of bob's three is used up. What has succeeded elsewhere gives none of them back.
    for _ in 0..2 {
        assert_eq!(get(&gateway, "/dav/a", &wrong).status, 401);
    }
    let reply = get(&gateway, "/dav/a", &wrong);
    assert_eq!(reply.status, 429, "{reply:?}");
    assert!(reply.header("retry-after").is_some(), "{reply:?}");
    let theirs = create(&gateway, &["bob"]);
    assert_eq!(get(&gateway, "/dav/a", &basic("bob", &theirs)).status, 429, "braked is braked");
    assert_eq!(get(&gateway, "/dav/a", &bearer(&theirs)).status, 200, "nobody guesses a token");
    assert_eq!(upstream.count(), count + 1);
}

#[test]
fn a_token_buys_no_further_tries_at_the_password() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let token = create(&gateway, &["alice"]);
    for n in 0..3 {
        assert_eq!(get(&gateway, "/dav/a", &basic("alice", &format!("wrong {n}"))).status, 401, "{n}");
        if n < 2 {
            assert_eq!(get(&gateway, "/dav/a", &basic("alice", &token)).status, 200, "{n}");
        }
    }
    assert_eq!(get(&gateway, "/dav/a", &basic("alice", "wrong again")).status, 429);
}

#[test]
fn what_a_token_opened_ends_when_it_is_revoked() {
    let upstream = Upstream::answering(|request| {
        let head = if request.to_lowercase().contains("upgrade: echo") {
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n"
        } else {
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n"
        };
        head.as_bytes().to_vec()
    });
    let gateway = gateway(&upstream);
    let open = |authorization: &str, upgrade: &str| -> Connection {
        let mut connection = gateway.connect();
        let head = format!(
            "GET /dav/x HTTP/1.1\r\nhost: app.test\r\n{upgrade}authorization: {authorization}\r\n\r\n"
        );
        connection.write(head.as_bytes());
        assert!(matches!(connection.head().status, 101 | 200));
        connection
    };
    let other = create(&gateway, &["alice"]);
    let token = create(&gateway, &["alice"]);
    let tunnel = "connection: upgrade\r\nupgrade: echo\r\n";
    let mut theirs = open(&bearer(&other), tunnel);
    let opened =
        [open(&bearer(&token), tunnel), open(&basic("alice", &token), tunnel), open(&bearer(&token), "")];
    // A new password is no reason.
    let changed = gateway.command(&["user", "set", "alice", "--password-stdin"], "another horse battery");
    assert!(changed.status.success(), "{changed:?}");
    assert!(theirs.stays_open());
    assert!(gateway.command(&["token", "revoke", &id(&gateway, "alice")], "").status.success());
    let began = Instant::now();
    for mut connection in opened {
        connection.read_to_end();
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(theirs.stays_open(), "another token's goes on");
}

#[test]
fn a_list_says_everything_but_the_token_and_the_use_is_written_down() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let arguments =
        ["alice", "--name", " Phone ", "--scope", "introspect", "--expires", "90d", "--route", "dav"];
    let token = create(&gateway, &arguments);
    let [listed] = &list(&gateway, "ALICE@example.com")[..] else { panic!("one token") };
    assert_eq!(
        (&listed["name"], &listed["scopes"], &listed["routes"], &listed["last_used_at"]),
        (&json!("Phone"), &json!(["introspect"]), &json!(["dav"]), &Value::Null)
    );
    let created = listed["created_at"].as_str().expect("a time");
    assert!(listed["expires_at"].as_str().expect("a time") > created, "{listed}");
    assert!(!listed.to_string().contains(&token[4..20]), "{listed}");
    let table = text(&gateway.command(&["token", "list", "alice"], "").stdout);
    assert!(table.contains("Phone") && table.contains("introspect") && table.contains("dav"), "{table}");
    assert_eq!(get(&gateway, "/dav/a", &basic("alice", &token)).status, 200);
    wait_until(
        || list(&gateway, "alice")[0]["last_used_at"].is_string(),
        || "the use is not noted".to_owned(),
    );
    for bad in
        [&["token", "list"][..], &["token", "revoke"], &["token", "revoke", "xyz"], &["token", "create"]]
    {
        assert_eq!(gateway.command(bad, "").status.code(), Some(2), "{bad:?}");
    }
    let unknown = gateway.command(&["token", "list", "alcie"], "");
    assert!(text(&unknown.stderr).contains("did you mean `alice`?"), "{unknown:?}");
    // Neither the log nor the commands say it.
    assert!(!gateway.log().contains(&token[4..20]), "{}", gateway.log());
}

#[test]
fn a_route_that_is_not_there_is_told_with_what_was_probably_meant() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let refused = |route: &str| -> Output {
        let output = gateway.command(&["token", "create", "alice", "--route", route], "");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{output:?}");
        output
    };
    let near = refused("admim");
    assert!(text(&near.stderr).contains("did you mean `admin`?"), "{near:?}");
    let far = refused("nothing-like-it");
    assert!(text(&far.stderr).contains("there are: /**, admin, cookie, dav"), "{far:?}");
    assert_eq!(list(&gateway, "alice"), Vec::<Value>::new());
    let useless = gateway.command(&["token", "create", "alice", "--route", "cookie"], "");
    assert!(useless.status.success(), "{useless:?}");
    assert!(text(&useless.stderr).contains("takes neither Bearer nor Basic"), "{useless:?}");
}

#[test]
fn tokens_are_managed_without_a_server_too_and_an_answered_revocation_is_kept() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let yaml = configuration(&upstream);
    let (kept, revoked) = (create(&gateway, &["alice"]), create(&gateway, &["alice"]));
    assert!(gateway.command(&["token", "revoke", &id(&gateway, "alice")], "").status.success());
    let directory = gateway.kill();
    let config = directory.path().join("foregate.yaml");
    let command = |arguments: &[&str]| {
        let output = run(foregate().arg("--config").arg(&config).args(arguments), "");
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    };
    let offline = command(&["token", "create", "alice", "--name", "offline"]);
    let listed: Vec<Value> =
        serde_json::from_str(&command(&["token", "list", "alice", "--json"])).expect("JSON");
    assert_eq!(listed.len(), 2, "{listed:?}");
    let ended = command(&["token", "create", "alice"]);
    let listed: Vec<Value> =
        serde_json::from_str(&command(&["token", "list", "alice", "--json"])).expect("JSON");
    command(&["token", "revoke", listed[0]["id"].as_str().expect("an id")]);
    let gateway = Gateway::start_in(directory, &yaml);
    for (token, status) in [(kept, 200), (revoked, 401), (offline, 200), (ended, 401)] {
        assert_eq!(get(&gateway, "/dav/a", &bearer(token.trim())).status, status);
    }
}

#[test]
fn other_proxies_are_told_the_same() {
    let gateway = Gateway::start(
        "public_url: http://app.test\ntrusted_proxies: [127.0.0.1/32]\nupstreams: {}\nroutes:\n\
         \x20 - { name: dav, path: /dav/**, credentials: [basic, bearer] }\n\
         \x20 - { name: rest, path: /** }\n",
    );
    gateway.add_user("alice", &[]);
    let token = create(&gateway, &["alice", "--route", "dav"]);
    let ask = |path: &str, authorization: &str| {
        let url = format!("http://app.test{path}");
        let headers = [
            ("x-original-url", url.as_str()),
            ("x-original-method", "GET"),
            ("authorization", authorization),
        ];
        gateway.get("/.auth/auth-request", &headers)
    };
    for authorization in [bearer(&token), basic("alice", &token)] {
        let reply = ask("/dav/a", &authorization);
        assert_eq!((reply.status, reply.header("remote-user")), (200, Some("alice")), "{reply:?}");
    }
    assert_eq!(ask("/other", &bearer(&token)).status, 403);
    assert!(gateway.command(&["token", "revoke", &id(&gateway, "alice")], "").status.success());
    assert_eq!(ask("/dav/a", &bearer(&token)).status, 401);
}

/// The account page's JSON, with the cookie of a session.
fn own(gateway: &Gateway, cookie: &str, path: &str, body: &Value) -> Reply {
    let headers = [("cookie", cookie), ("content-type", "application/json")];
    gateway.request("POST", &format!("/.auth/account{path}"), &headers, body.to_string().as_bytes())
}

#[test]
fn a_person_makes_and_revokes_tokens_by_json() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    gateway.add_user("bob", &[]);
    let (alice, bob) = (gateway.sign_in("alice"), gateway.sign_in("bob"));
    let wanted = json!({ "name": "Phone", "expires_in_days": 30, "routes": ["dav"] });
    let made = own(&gateway, &alice, "/tokens", &wanted);
    assert_eq!(made.status, 201, "{made:?}");
    let (token, id) = (made.json()["token"].clone(), made.json()["id"].clone());
    let (token, id) = (token.as_str().expect("a token"), id.as_str().expect("an id"));
    assert_eq!(get(&gateway, "/dav/a", &basic("alice", token)).status, 200);
    assert_eq!(get(&gateway, "/other", &bearer(token)).json()["code"], "token_scope");
    let facts = gateway.get("/.auth/account", &[("cookie", &alice)]).json();
    assert_eq!((&facts["tokens"][0]["id"], &facts["tokens"][0]["name"]), (&json!(id), &json!("Phone")));
    assert!(!facts.to_string().contains("fgt_"), "{facts}");

    for (bad, says) in [
        (json!({}), "name is needed"),
        (json!({ "name": "x".repeat(101) }), "1 to 100 characters"),
        (json!({ "name": "x", "expires_in_days": 0 }), "from 1 to 3650"),
        (json!({ "name": "x", "routes": ["nothing"] }), "there are: dav"),
        (json!({ "name": "x", "routes": ["cookie"] }), "there are: dav"),
        (json!({ "name": "x", "scopes": ["introspect"] }), "administrator"),
        (json!({ "name": "x", "routes": "dav" }), "list of texts"),
    ] {
        let reply = own(&gateway, &alice, "/tokens", &bad);
        assert!(reply.status == 400 && reply.text().contains(says), "{bad}: {reply:?}");
    }
    // What is passed over might have been meant as a limit.
    let reply = own(&gateway, &alice, "/tokens", &json!({ "name": "x", "expires": "1d" }));
    assert_eq!(reply.status, 400, "{reply:?}");
    // Nobody else's, not by a token, and not from elsewhere.
    let path = format!("/tokens/{id}/revoke");
    assert_eq!(own(&gateway, &bob, &path, &json!({})).status, 404);
    let by_token = [("authorization", bearer(token)), ("content-type", "application/json".to_owned())];
    let by_token: Vec<(&str, &str)> = by_token.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let reply = gateway.request("POST", "/.auth/account/tokens", &by_token, br#"{"name":"x"}"#);
    assert_eq!(reply.status, 401, "a token makes no tokens: {reply:?}");
    let elsewhere =
        [("cookie", alice.as_str()), ("content-type", "application/json"), ("origin", "http://evil.test")];
    assert_eq!(gateway.request("POST", "/.auth/account/tokens", &elsewhere, br#"{"name":"x"}"#).status, 403);
    assert_eq!(get(&gateway, "/dav/a", &bearer(token)).status, 200);
    assert_eq!(own(&gateway, &alice, &path, &json!({})).status, 204);
    assert_eq!(get(&gateway, "/dav/a", &bearer(token)).status, 401);
    assert_eq!(get(&gateway, "/dav/a", &basic("alice", token)).status, 401);
    assert_eq!(own(&gateway, &alice, &path, &json!({})).status, 404);
}

#[test]
fn a_person_makes_a_token_on_the_page_which_shows_it_once() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let browser = Browser::new(&gateway);
    let form = Form::read(&browser.open("/.auth/login"));
    assert_eq!(browser.submit(&form.with("username", "alice").with("password", PASSWORD)).status, 303);
    let page = browser.open("/.auth/account");
    let csrf = Form::read(&page).value("csrf_token").expect("a token").to_owned();
    let cookies: Vec<String> = ["foregate", "foregate-csrf"]
        .iter()
        .filter_map(|name| browser.cookie(name).map(|value| format!("{name}={value}")))
        .collect();
    let cookies = cookies.join("; ");
    let post = |path: &str, body: &str| {
        let headers = [
            ("cookie", cookies.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
            ("accept", "text/html"),
        ];
        gateway.request("POST", path, &headers, body.as_bytes())
    };
    let stale = post("/.auth/account/tokens", "name=Phone");
    assert_eq!(stale.status, 403, "{stale:?}");
    let misspelt = post("/.auth/account/tokens", &format!("csrf_token={csrf}&name=Phone&expires_days=30"));
    assert_eq!(misspelt.status, 400, "one without an end was not asked for: {misspelt:?}");
    let made = post(
        "/.auth/account/tokens",
        &format!("csrf_token={csrf}&name=Phone&username=alice&expires_in_days=&routes%3Adav=1"),
    );
    assert_eq!(made.status, 201, "{made:?}");
    let html = made.text();
    let at = html.find("fgt_").expect("the token stands there");
    let token = &html[at..at + 52];
    assert_eq!(html.matches("fgt_").count(), 1, "once");
    assert!(made.header("cache-control").is_some_and(|value| value.contains("no-store")), "{made:?}");
    assert_eq!(get(&gateway, "/dav/a", &basic("alice", token)).status, 200);
    assert_eq!(get(&gateway, "/other", &bearer(token)).status, 403);
    let again = browser.open("/.auth/account").text();
    assert!(again.contains("Phone") && !again.contains("fgt_"), "it is not shown again");
    let revoked = post(
        &format!("/.auth/account/tokens/{}/revoke", id(&gateway, "alice")),
        &format!("csrf_token={csrf}"),
    );
    assert_eq!(revoked.status, 303, "{revoked:?}");
    assert_eq!(get(&gateway, "/dav/a", &bearer(token)).status, 401);
}
