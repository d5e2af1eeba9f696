//! Tokens in cookies and in the query, for clients that were written for Flask-JWT-Extended: where they count, what has to
//! be sent beside them, and what of them an application, a log or another page gets to see.

use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Connection, Gateway, PASSWORD, Reply, Upstream, wait_until};
use crate::idp::{base64url, now};

const JSON: (&str, &str) = ("content-type", "application/json");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const UNSAFE: [&str; 5] = ["POST", "PUT", "PATCH", "DELETE", "PROPPATCH"];

struct Stage {
    gateway: Gateway,
    upstream: Upstream,
}

/// A browser's cookies after a login at `/token`.
struct Browser {
    access: String,
    csrf: String,
    csrf_refresh: String,
    refresh: String,
}

impl Browser {
    fn cookies(&self) -> String {
        let Self { access, csrf, csrf_refresh, refresh } = self;
        format!(
            "access_token_cookie={access}; csrf_access_token={csrf}; refresh_token_cookie={refresh}; csrf_refresh_token={csrf_refresh}"
        )
    }

    fn of(reply: &Reply) -> Self {
        let value = |name: &str| {
            let pair = reply.cookie(name).unwrap_or_else(|| panic!("no {name}: {reply:?}"));
            pair.split_once('=').expect("a pair").1.to_owned()
        };
        Self {
            access: value("access_token_cookie"),
            csrf: value("csrf_access_token"),
            csrf_refresh: value("csrf_refresh_token"),
            refresh: value("refresh_token_cookie"),
        }
    }
}

impl Stage {
    fn new() -> Self {
        Self::with("{ cookies: true, errors: flask }")
    }

    fn with(tokens: &str) -> Self {
        Self::in_folder(tempfile::tempdir().expect("a folder"), tokens)
    }

    fn in_folder(directory: TempDir, tokens: &str) -> Self {
        let upstream = Upstream::start();
        let yaml = format!(
            "public_url: http://app.test\ntrusted_proxies: [127.0.0.1]\nadmin: {{ listen: \"127.0.0.1:0\" }}\ntokens: {tokens}\n\
             upstreams: {{ app: \"http://{}\" }}\nroutes:\n\
             - {{ path: /public/**, upstream: app, access: public, token_locations: [query, cookie] }}\n\
             - {{ path: /header/**, upstream: app, credentials: [bearer] }}\n\
             - {{ path: /cookie/**, upstream: app, credentials: [bearer], token_locations: [cookie] }}\n\
             - {{ path: /open/**, upstream: app, credentials: [bearer], token_locations: [cookie], csrf: false }}\n\
             - {{ path: /query/**, upstream: app, credentials: [bearer], token_locations: [query] }}\n\
             - {{ path: /cut/**, upstream: app, token_locations: [header, query], strip_prefix: /cut }}\n\
             - {{ path: /person/**, upstream: app, token_locations: [header, cookie, query] }}\n\
             - {{ path: /first/**, upstream: app, credentials: [bearer], token_locations: [cookie, header] }}\n\
             - {{ path: /admin/**, upstream: app, token_locations: [cookie], require: {{ roles: [admin] }} }}\n\
             - {{ path: /**, upstream: app, credentials: [bearer, basic], token_locations: [header, cookie, query] }}\n",
            upstream.address
        );
        let gateway = Gateway::start_in(directory, &yaml);
        gateway.add_user("alice", &["staff"]);
        gateway.add_user("bob", &[]);
        Self { gateway, upstream }
    }

    fn log_in(&self, name: &str) -> Browser {
        Browser::of(&self.ask_token(json!({ "username": name, "password": PASSWORD })))
    }

    fn ask_token(&self, body: Value) -> Reply {
        self.gateway.request("POST", "/.auth/token", &[JSON], body.to_string().as_bytes())
    }

    /// Status and `msg`, and whether the upstream was reached.
    fn outcome(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> (u16, String, bool) {
        let before = self.upstream.count();
        let reply = self.gateway.request(method, target, headers, b"");
        let is_json = reply.header("content-type") == Some("application/json");
        let msg =
            if is_json { reply.json()["msg"].as_str().unwrap_or_default().to_owned() } else { String::new() };
        (reply.status, msg, self.upstream.count() > before)
    }

    #[track_caller]
    fn passes(&self, method: &str, target: &str, headers: &[(&str, &str)]) {
        let seen = self.outcome(method, target, headers);
        assert_eq!((seen.0, seen.2), (200, true), "{method} {target} {headers:?}: {seen:?}");
    }

    #[track_caller]
    fn refuses(&self, method: &str, target: &str, headers: &[(&str, &str)], status: u16, msg: &str) {
        let seen = self.outcome(method, target, headers);
        assert_eq!(seen, (status, msg.to_owned(), false), "{method} {target} {headers:?}");
    }
}

/// The same signature with another beginning.
fn swapped(signature: &str) -> String {
    let first = if signature.starts_with('A') { "B" } else { "A" };
    format!("{first}{}", &signature[1..])
}

#[test]
fn a_login_sets_the_cookies_of_flask_jwt_extended_and_their_tokens_count_where_a_route_says_so() {
    let stage = Stage::new();
    let reply = stage.ask_token(json!({ "username": "alice", "password": PASSWORD }));
    let lines = reply.all("set-cookie");
    let attributes = |name: &str| {
        let line = lines.iter().find(|line| line.starts_with(&format!("{name}="))).expect("it is set");
        line.split_once("; ").expect("attributes").1.to_owned()
    };
    for name in ["access_token_cookie", "refresh_token_cookie"] {
        assert_eq!(attributes(name), "Path=/; HttpOnly; SameSite=Lax");
    }
    for name in ["csrf_access_token", "csrf_refresh_token"] {
        assert_eq!(attributes(name), "Path=/; SameSite=Lax");
    }
    let alice = Browser::of(&reply);
    assert_eq!(reply.json()["access_token"], *alice.access, "programs without cookies go on as before");
    let payload = alice.access.split('.').nth(1).expect("three parts");
    let claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("JSON");
    assert_eq!(claims["csrf"], *alice.csrf);

    let cookies = alice.cookies();
    let cookie = ("cookie", &*cookies);
    let csrf = ("x-csrf-token", &*alice.csrf);
    stage.passes("GET", "/cookie/x", &[cookie]);
    stage.passes("GET", "/person/x", &[cookie]);
    stage.passes("GET", "/x", &[cookie]);
    for method in UNSAFE {
        stage.passes(method, "/cookie/x", &[cookie, csrf]);
        stage.passes(method, "/x", &[cookie, csrf]);
        stage.passes(method, "/open/x", &[cookie]);
    }
    // Nothing of them goes on, and who it is does.
    let seen = stage.upstream.last();
    assert!(seen.contains("remote-user: alice") && !seen.contains("cookie"), "{seen}");
    stage.passes("GET", "/public/x", &[("cookie", &format!("a=1; {cookies}; b=2"))]);
    let seen = stage.upstream.last();
    assert!(seen.contains("cookie: a=1; b=2\r\n") && !seen.contains("remote-user"), "{seen}");
    // `/me` says who it is.
    let reply = stage.gateway.get("/.auth/me", &[cookie]);
    assert_eq!((reply.status, &reply.json()["username"]), (200, &json!("alice")), "{reply:?}");

    stage.refuses("GET", "/header/x", &[cookie], 401, "Missing Authorization Header");
    stage.refuses("GET", "/query/x", &[cookie], 401, "Missing 'jwt' query paramater");
    let bearer = format!("Bearer {}", alice.access);
    stage.refuses(
        "GET",
        "/cookie/x",
        &[("authorization", &bearer)],
        401,
        r#"Missing cookie "access_token_cookie""#,
    );
    stage.refuses(
        "GET",
        &format!("/cookie/x?jwt={}", alice.access),
        &[],
        401,
        r#"Missing cookie "access_token_cookie""#,
    );
    stage.refuses(
        "GET",
        "/x",
        &[],
        401,
        "Missing JWT in headers, cookies or query_string (Missing Authorization Header; \
         Missing cookie \"access_token_cookie\"; Missing 'jwt' query paramater)",
    );
}

#[test]
fn over_https_the_cookies_are_secure_and_a_program_chooses_how_its_tokens_come() {
    let gateway = Gateway::start(
        "public_url: https://app.test\nsession: { cookie: { domain: app.test } }\ntokens: { cookies: true }\n\
         upstreams: { app: \"http://127.0.0.1:9\" }\nroutes: [{ path: /**, upstream: app }]\n",
    );
    gateway.add_user("alice", &[]);
    let ask = |body: Value| gateway.request("POST", "/.auth/token", &[JSON], body.to_string().as_bytes());
    let reply = ask(json!({ "username": "alice", "password": PASSWORD, "cookies": true }));
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(reply.json().get("access_token").is_none() && reply.json().get("refresh_token").is_none());
    let lines = reply.all("set-cookie");
    assert!(
        lines.len() == 4
            && lines.iter().all(|line| line.ends_with("; SameSite=Lax; Secure; Domain=app.test"))
    );
    let reply = ask(json!({ "username": "alice", "password": PASSWORD, "cookies": false }));
    assert!(reply.json()["access_token"].is_string() && reply.all("set-cookie").is_empty(), "{reply:?}");

    let off = Gateway::start(
        "upstreams: { app: \"http://127.0.0.1:9\" }\nroutes: [{ path: /**, upstream: app }]\n",
    );
    off.add_user("alice", &[]);
    let body = json!({ "username": "alice", "password": PASSWORD });
    let reply = off.request("POST", "/.auth/token", &[JSON], body.to_string().as_bytes());
    let payload =
        reply.json()["access_token"].as_str().expect("a token").split('.').nth(1).map(str::to_owned);
    let claims = URL_SAFE_NO_PAD.decode(payload.expect("three parts")).expect("base64url");
    assert!(
        !String::from_utf8_lossy(&claims).contains("csrf") && reply.all("set-cookie").is_empty(),
        "{reply:?}"
    );
    let body = json!({ "username": "alice", "password": PASSWORD, "cookies": true });
    let reply = off.request("POST", "/.auth/token", &[JSON], body.to_string().as_bytes());
    assert_eq!((reply.status, &reply.json()["error"]), (400, &json!("invalid_request")), "{reply:?}");
}

#[test]
fn whoever_refreshes_chooses_as_well_how_the_tokens_come() {
    let stage = Stage::new();
    let alice = stage.log_in("alice");
    let mut bearer = format!("Bearer {}", alice.refresh);
    for (body, in_body, cookies) in
        [("{}", true, 4), (r#"{"cookies":false}"#, true, 0), (r#"{"cookies":true}"#, false, 4)]
    {
        let headers = [JSON, ("authorization", &*bearer)];
        let reply = stage.gateway.request("POST", "/.auth/token/refresh", &headers, body.as_bytes());
        let seen = (reply.status, reply.json()["refresh_token"].is_string(), reply.all("set-cookie").len());
        assert_eq!(seen, (200, in_body, cookies), "{body}: {reply:?}");
        let next = reply.json()["refresh_token"].as_str().map(str::to_owned);
        bearer = format!("Bearer {}", next.unwrap_or_default());
    }
    // What came in a cookie stays out of a script's reach, and is not used up by who asks for it nevertheless.
    let bob = stage.log_in("bob");
    let cookies = bob.cookies();
    let headers = [JSON, ("cookie", &*cookies), ("x-csrf-token", &*bob.csrf_refresh)];
    let refresh =
        |body: &str| stage.gateway.request("POST", "/.auth/token/refresh", &headers, body.as_bytes());
    let reply = refresh(r#"{"cookies":false}"#);
    assert_eq!((reply.status, &reply.json()["error"]), (400, &json!("invalid_request")), "{reply:?}");
    assert!(!reply.text().contains("fgr_") && reply.all("set-cookie").is_empty(), "{reply:?}");
    assert_eq!(refresh(r#"{"cookies":true}"#).all("set-cookie").len(), 4);
}

#[test]
fn where_no_token_comes_in_a_cookie_none_is_asked_for_in_one() {
    let stage = Stage::with("{ cookies: true, errors: flask }");
    let alice = stage.log_in("alice");
    let yaml = "upstreams: { app: \"http://127.0.0.1:9\" }\nroutes: [{ path: /**, upstream: app }]\n";
    for (errors, status, member, text) in [
        ("flask", 401, "msg", "Missing Authorization Header"),
        ("problem", 400, "error_description", "A refresh token is needed."),
    ] {
        let off = Gateway::start(&format!("tokens: {{ errors: {errors} }}\n{yaml}"));
        let cookies = alice.cookies();
        for headers in [&[][..], &[("cookie", &*cookies), ("x-csrf-token", &*alice.csrf_refresh)]] {
            let reply = off.request("POST", "/.auth/token/refresh", headers, b"");
            assert_eq!((reply.status, &reply.json()[member]), (status, &json!(text)), "{reply:?}");
        }
    }
    let off = Gateway::start(yaml);
    off.add_user("alice", &[]);
    let bearer = format!("Bearer {}", off.token("alice"));
    let reply = off.request("POST", "/.auth/token/refresh", &[("authorization", &bearer)], b"");
    assert_eq!((reply.status, &reply.json()["error"]), (400, &json!("invalid_grant")), "{reply:?}");
    let text = "A refresh token is expected, and this is another one.";
    assert_eq!(reply.json()["error_description"], text);
}

#[test]
fn a_cookie_without_its_double_changes_nothing_whether_or_not_it_is_known() {
    let stage = Stage::new();
    let (alice, bob) = (stage.log_in("alice"), stage.log_in("bob"));
    let cookies = alice.cookies();
    let cookie = ("cookie", &*cookies);
    for known in [false, true] {
        for method in UNSAFE {
            let twice = [cookie, ("x-csrf-token", &*alice.csrf), ("x-csrf-token", &*alice.csrf)];
            stage.refuses(method, "/cookie/x", &[cookie], 401, "Missing CSRF token");
            stage.refuses(method, "/cookie/x", &[cookie, ("x-csrf-token", "")], 401, "Missing CSRF token");
            stage.refuses(method, "/cookie/x", &twice, 401, "Missing CSRF token");
            for wrong in [&*bob.csrf, "x", &*alice.csrf_refresh, &alice.csrf[1..], &alice.csrf.to_uppercase()]
            {
                let double = ("x-csrf-token", wrong);
                let text = "CSRF double submit tokens do not match";
                stage.refuses(method, "/cookie/x", &[cookie, double], 401, text);
            }
        }
        // Known to the cache from here on.
        stage.passes("POST", "/cookie/x", &[cookie, ("x-csrf-token", &alice.csrf)]);
        assert!(known || stage.upstream.count() == 1);
    }
    // With another's cookie in place of the first, and the other way round.
    let mixed = format!("access_token_cookie={}; csrf_access_token={}", alice.access, bob.csrf);
    let text = "CSRF double submit tokens do not match";
    stage.refuses("POST", "/cookie/x", &[("cookie", &mixed), ("x-csrf-token", &bob.csrf)], 401, text);

    // What another site makes a browser send: a form, and a WebSocket, which is a GET that carries anything.
    for elsewhere in [("origin", "http://evil.test"), ("sec-fetch-site", "cross-site")] {
        stage.refuses("POST", "/cookie/x", &[cookie, FORM, elsewhere], 401, "Missing CSRF token");
        let reply = stage
            .gateway
            .get("/cookie/ws", &[cookie, elsewhere, ("connection", "upgrade"), ("upgrade", "websocket")]);
        assert_eq!(reply.status, 403, "{reply:?}");
        // Even where somebody knows the double, which nobody elsewhere does.
        let double = ("x-csrf-token", &*alice.csrf);
        assert_eq!(stage.outcome("POST", "/cookie/x", &[cookie, double, elsewhere]).0, 403);
        // And no other site gets a login done.
        let body = json!({ "username": "bob", "password": PASSWORD }).to_string();
        let reply = stage.gateway.request("POST", "/.auth/token", &[JSON, elsewhere], body.as_bytes());
        assert!(reply.status == 403 && reply.all("set-cookie").is_empty(), "{reply:?}");
    }
}

#[test]
fn a_token_in_a_cookie_that_was_made_for_the_header_changes_nothing() {
    let stage =
        Stage::with("{ errors: flask, issuer: http://app.test, audience: http://app.test, cookies: true }");
    // Another instance, without cookies, over the same keys.
    stage.gateway.signal("TERM");
    let directory = stage.gateway.into_directory();
    let yaml = "public_url: http://app.test\nupstreams: { app: \"http://127.0.0.1:9\" }\n\
                routes: [{ path: /**, upstream: app }]\n";
    let plain = Gateway::start_in(directory, yaml);
    let token = plain.token("alice");
    plain.signal("TERM");
    let gateway = Gateway::start_in(
        plain.into_directory(),
        &format!(
            "public_url: http://app.test\ntokens: {{ cookies: true, errors: flask }}\n\
             upstreams: {{ app: \"http://{}\" }}\n\
             routes: [{{ path: /**, upstream: app, credentials: [bearer], token_locations: [cookie] }}]\n",
            stage.upstream.address
        ),
    );
    let cookie = format!("access_token_cookie={token}");
    let headers = [("cookie", &*cookie), ("x-csrf-token", "x")];
    let reply = gateway.request("POST", "/", &headers, b"");
    assert_eq!((reply.status, &reply.json()["msg"]), (422, &json!("Missing claim: csrf")), "{reply:?}");
    assert_eq!(stage.upstream.count(), 0);
    assert_eq!(gateway.get("/", &headers).status, 200);
}

#[test]
fn a_token_in_the_query_is_taken_out_of_what_goes_on() {
    let stage = Stage::new();
    let alice = stage.log_in("alice");
    let token = &alice.access;
    for (sent, forwarded) in [
        (format!("/query/a?jwt={token}"), "/query/a"),
        (format!("/query/a?x=%zz&jwt={token}&&y=a+b%2f;z"), "/query/a?x=%zz&&y=a+b%2f;z"),
        (format!("/query/a%2fb?j%77t={token}&x"), "/query/a%2fb?x"),
        (format!("/query/a?jwt={}", token.replace('.', "%2E")), "/query/a"),
        (format!("/query/a?jwt=&jwt={token}"), "/query/a"),
        (format!("/cut/a?jwt={token}&x=1"), "/a?x=1"),
        (format!("/cut?jwt={token}"), "/"),
        (format!("/x?b=1&jwt={token}"), "/x?b=1"),
    ] {
        let reply = stage.gateway.get(&sent, &[]);
        assert_eq!(reply.status, 200, "{sent}: {reply:?}");
        let seen = stage.upstream.last();
        assert!(seen.starts_with(&format!("GET {forwarded} HTTP/1.1\r\n")), "{sent}: {seen}");
        assert!(seen.contains("remote-user: alice") && !seen.contains(token.as_str()), "{seen}");
        assert_eq!(reply.header("referrer-policy"), Some("no-referrer"), "{reply:?}");
        assert_eq!(reply.header("cache-control"), Some("private"), "{reply:?}");
    }
    // Writing needs nothing beside it: no page elsewhere knows it.
    stage.passes("POST", &format!("/query/a?jwt={token}"), &[]);
    // Also where nobody is looked at, and where another token decides.
    let bearer = format!("Bearer {token}");
    stage.passes("GET", "/public/a?jwt=mine&j%77t=x&b", &[]);
    assert!(stage.upstream.last().starts_with("GET /public/a?b HTTP"), "{}", stage.upstream.last());
    stage.passes("GET", "/x?jwt=mine", &[("authorization", &bearer)]);
    assert!(stage.upstream.last().starts_with("GET /x HTTP"), "{}", stage.upstream.last());
    // Where it is no place for tokens the parameter is the application's own.
    stage.passes("GET", "/header/a?jwt=mine&j%77t=x", &[("authorization", &bearer)]);
    assert!(stage.upstream.last().starts_with("GET /header/a?jwt=mine&j%77t=x HTTP"));

    stage.refuses("GET", &format!("/header/a?jwt={token}"), &[], 401, "Missing Authorization Header");
    stage.refuses("GET", &format!("/query/a?JWT={token}"), &[], 401, "Missing 'jwt' query paramater");
    stage.refuses("GET", &format!("/query/a?x=1;jwt={token}"), &[], 401, "Missing 'jwt' query paramater");
    for doubled in [format!("jwt={token}&jwt={token}"), format!("jwt={token}&%6a%77%74=x")] {
        stage.refuses("GET", &format!("/query/a?{doubled}"), &[], 422, "More than one token");
    }
    stage.gateway.wait_for_log("/query/a");
    let log = stage.gateway.log();
    assert!(!log.contains(&token[token.len() - 40..]), "{log}");
}

#[test]
fn two_tokens_are_those_of_one_person_or_none() {
    let stage = Stage::new();
    let (alice, again, bob) = (stage.log_in("alice"), stage.log_in("alice"), stage.log_in("bob"));
    let bearer = format!("Bearer {}", alice.access);
    let header = ("authorization", &*bearer);
    let cookie = |browser: &Browser| format!("access_token_cookie={}", browser.access);
    let (own, other) = (cookie(&again), cookie(&bob));
    stage.passes("POST", "/x", &[header, ("cookie", &own)]);
    stage.passes("POST", &format!("/x?jwt={}", alice.access), &[header]);
    // Left over from before: it is not what decides.
    for old in ["access_token_cookie=old", "access_token_cookie=a.b.c"] {
        stage.passes("POST", "/x", &[header, ("cookie", old)]);
    }
    stage.refuses("POST", "/x", &[header, ("cookie", &other)], 422, "More than one token");
    stage.refuses("GET", &format!("/x?jwt={}", bob.access), &[header], 422, "More than one token");
    stage.refuses("GET", &format!("/x?jwt={}", bob.access), &[("cookie", &own)], 422, "More than one token");
    let two = format!("{own}; {other}");
    stage.refuses("GET", "/cookie/x", &[("cookie", &two)], 422, "More than one token");
    stage.refuses("GET", "/x", &[header, ("cookie", &two)], 422, "More than one token");
    stage.passes("GET", "/cookie/x", &[("cookie", &format!("{own}; {own}"))]);
    // The order is the route's.
    stage.refuses("POST", "/first/x", &[header, ("cookie", &own)], 401, "Missing CSRF token");
    stage.refuses(
        "GET",
        "/first/x",
        &[header, ("cookie", "access_token_cookie=x")],
        422,
        "Not enough segments",
    );
    // A place that is not listed is not looked at.
    stage.passes("GET", "/header/x", &[header, ("cookie", &other)]);
}

#[test]
fn what_is_no_access_token_is_none_in_a_cookie_or_a_query_either() {
    let stage = Stage::new();
    let alice = stage.log_in("alice");
    let personal = stage.gateway.command(&["token", "create", "alice", "--name", "x"], "");
    let personal = String::from_utf8(personal.stdout).expect("text");
    let personal = personal.trim();
    stage.passes("GET", "/header/x", &[("authorization", &format!("Bearer {personal}"))]);
    let (head, signature) = alice.access.rsplit_once('.').expect("a signature");
    let forged = format!("{head}.{}", swapped(signature));
    for (token, text) in [
        (&*alice.refresh, "Only non-refresh tokens are allowed"),
        (personal, "Signature verification failed"),
        ("x", "Not enough segments"),
        ("eyJhbGciOiJub25lIn0.e30.", "The specified alg value is not allowed"),
        ("eyJhbGciOiJIUzI1NiJ9.e30.e30", "Signature verification failed"),
        (&*forged, "Signature verification failed"),
    ] {
        stage.refuses("GET", "/cookie/x", &[("cookie", &format!("access_token_cookie={token}"))], 422, text);
        stage.refuses("GET", &format!("/query/x?jwt={token}"), &[], 422, text);
    }
    // Nor does the refresh token's cookie let anybody in.
    let refresh = format!("refresh_token_cookie={}", alice.access);
    stage.refuses(
        "GET",
        "/cookie/x",
        &[("cookie", &refresh)],
        401,
        r#"Missing cookie "access_token_cookie""#,
    );
}

#[test]
fn what_ends_a_token_holds_for_the_next_request_with_it_in_a_cookie() {
    let stage = Stage::new();
    let (first, second, third) = (stage.log_in("alice"), stage.log_in("alice"), stage.log_in("bob"));
    let with = |browser: &Browser| format!("access_token_cookie={}", browser.access);
    for browser in [&first, &second, &third] {
        stage.passes("GET", "/cookie/x", &[("cookie", &with(browser))]);
        stage.passes("GET", &format!("/query/x?jwt={}", browser.access), &[]);
    }
    let body = json!({ "token": first.access }).to_string();
    assert_eq!(stage.gateway.request("POST", "/.auth/token/revoke", &[JSON], body.as_bytes()).status, 200);
    stage.refuses("GET", "/cookie/x", &[("cookie", &with(&first))], 401, "Token has been revoked");
    stage.refuses("GET", &format!("/query/x?jwt={}", first.access), &[], 401, "Token has been revoked");
    assert_eq!(stage.outcome("GET", "/admin/x", &[("cookie", &with(&second))]).0, 403);
    let command = |arguments: &[&str]| assert!(stage.gateway.command(arguments, "").status.success());
    command(&["user", "set", "alice", "--role", "admin"]);
    stage.passes("GET", "/admin/x", &[("cookie", &with(&second))]);
    command(&["user", "set", "alice", "--role", "staff"]);
    assert_eq!(stage.outcome("GET", "/admin/x", &[("cookie", &with(&second))]).0, 403);
    command(&["user", "disable", "bob"]);
    stage.refuses("GET", "/cookie/x", &[("cookie", &with(&third))], 401, "Token has been revoked");
}

#[test]
fn a_refresh_by_cookie_needs_its_double_and_gives_nothing_to_a_script() {
    let stage = Stage::new();
    let (alice, bob) = (stage.log_in("alice"), stage.log_in("bob"));
    let by_form = |headers: &[(&str, &str)]| {
        let headers = [headers, &[FORM]].concat();
        stage.gateway.request("POST", "/.auth/token", &headers, b"grant_type=refresh_token")
    };
    let plainly =
        |headers: &[(&str, &str)]| stage.gateway.request("POST", "/.auth/token/refresh", headers, b"");
    let cookies = alice.cookies();
    let cookie = ("cookie", &*cookies);
    for refresh in [&by_form as &dyn Fn(&[(&str, &str)]) -> Reply, &plainly] {
        for (headers, msg) in [
            (
                &[][..],
                "Missing JWT in headers or cookies (Missing Authorization Header; Missing cookie \"refresh_token_cookie\")",
            ),
            (&[cookie], "Missing CSRF token"),
            (&[cookie, ("x-csrf-token", &*alice.csrf)], "CSRF double submit tokens do not match"),
            (&[cookie, ("x-csrf-token", &*bob.csrf_refresh)], "CSRF double submit tokens do not match"),
        ] {
            let reply = refresh(headers);
            assert_eq!((reply.status, &reply.json()["msg"]), (401, &json!(msg)), "{headers:?}: {reply:?}");
            assert!(reply.all("set-cookie").is_empty(), "{reply:?}");
        }
    }
    let reply = plainly(&[cookie, ("x-csrf-token", &alice.csrf_refresh)]);
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(!reply.text().contains("ey") && !reply.text().contains("fgr_"), "{reply:?}");
    let next = Browser::of(&reply);
    assert!(
        next.refresh != alice.refresh && next.csrf != alice.csrf && next.csrf_refresh != alice.csrf_refresh
    );
    stage.passes("POST", "/cookie/x", &[("cookie", &next.cookies()), ("x-csrf-token", &next.csrf)]);
    // Another site can't, whatever it knows.
    let elsewhere = [cookie, ("x-csrf-token", &*alice.csrf_refresh), ("origin", "http://evil.test")];
    assert_eq!(plainly(&elsewhere).status, 403);

    // In the header, as programs do it.
    let bearer = format!("Bearer {}", bob.refresh);
    let reply = plainly(&[("authorization", &bearer)]);
    assert!(reply.status == 200 && reply.json()["access_token"].is_string(), "{reply:?}");
    let access = format!("Bearer {}", bob.access);
    let reply = plainly(&[("authorization", &access)]);
    let told = (reply.status, reply.json()["msg"].clone());
    assert_eq!(told, (422, json!("Only refresh tokens are allowed")), "{reply:?}");
    let reply = stage.ask_token(json!({ "grant_type": "refresh_token", "refresh_token": bob.access }));
    assert_eq!((reply.status, reply.json()["msg"].clone()), told, "{reply:?}");

    // Signed out: the cookies go, and what stood in them is worth nothing.
    let cookies = next.cookies();
    let reply = stage.gateway.request("POST", "/.auth/token/revoke", &[("cookie", &cookies)], b"");
    assert_eq!(reply.status, 200, "{reply:?}");
    let gone = reply.all("set-cookie");
    assert!(
        gone.len() == 4
            && gone.iter().all(|line| line.contains("=; Path=/") && line.ends_with("; Max-Age=0"))
    );
    stage.refuses("GET", "/cookie/x", &[("cookie", &cookies)], 401, "Token has been revoked");
    let reply = plainly(&[("cookie", &cookies), ("x-csrf-token", &next.csrf_refresh)]);
    assert_eq!((reply.status, &reply.json()["msg"]), (401, &json!("Token has been revoked")), "{reply:?}");
    assert_eq!(stage.gateway.request("POST", "/.auth/token/revoke", &[], b"").status, 400);
}

#[test]
fn an_expired_token_is_told_so_only_if_it_was_good() {
    // With a key of its own the test signs what was issued once more, as of another time.
    let directory = tempfile::tempdir().expect("a folder");
    let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key").serialize_pem();
    let path = directory.path().join("own.pem");
    std::fs::write(&path, &pem).expect("the key is written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("its mode is set");
    let stage = Stage::in_folder(directory, "{ cookies: true, errors: flask, keys: [own.pem] }");
    let mut alice = stage.log_in("alice");
    let key = EncodingKey::from_ec_pem(pem.as_bytes()).expect("a key");
    let issued = alice.access.clone();
    let ended = |seconds_ago: u64| {
        let part = |at: usize| {
            URL_SAFE_NO_PAD.decode(issued.split('.').nth(at).expect("a part")).expect("base64url")
        };
        let mut claims: Value = serde_json::from_slice(&part(1)).expect("JSON");
        claims["exp"] = json!(now() - seconds_ago);
        let head = format!("{}.{}", base64url(&part(0)), base64url(claims.to_string().as_bytes()));
        let signature =
            jsonwebtoken::crypto::sign(head.as_bytes(), &key, Algorithm::ES256).expect("it signs");
        format!("{head}.{signature}")
    };
    // The clocks of two machines may be apart by half a minute.
    stage.passes("GET", "/header/x", &[("authorization", &format!("Bearer {}", ended(20)))]);
    alice.access = ended(31);
    let (head, signature) = alice.access.rsplit_once('.').expect("a signature");
    let forged = format!("{head}.{}", swapped(signature));
    for place in ["header", "cookie", "query"] {
        let show = |token: &str, status, msg| {
            let (bearer, cookie) = (format!("Bearer {token}"), format!("access_token_cookie={token}"));
            match place {
                "header" => stage.refuses("GET", "/header/x", &[("authorization", &bearer)], status, msg),
                "cookie" => stage.refuses("GET", "/cookie/x", &[("cookie", &cookie)], status, msg),
                _ => stage.refuses("GET", &format!("/query/x?jwt={token}"), &[], status, msg),
            }
        };
        show(&alice.access, 401, "Token has expired");
        show(&forged, 422, "Signature verification failed");
        show(&alice.access, 401, "Token has expired");
    }
    // A person is led to the login page, and back to an address without the token.
    let html = ("accept", "text/html");
    let reply = stage.gateway.get("/person/x?a=1", &[html, ("cookie", &alice.cookies())]);
    assert_eq!((reply.status, reply.header("location")), (303, Some("/.auth/login?next=/person/x%3Fa%3D1")));
    let reply = stage.gateway.get(&format!("/person/x?jwt={}", alice.access), &[html]);
    assert!(reply.status == 401 && !reply.text().contains(&alice.access), "{reply:?}");
    // Shown again and again it costs no signature: it is known for what it is.
    let hits = || {
        let mut connection = Connection::to(stage.gateway.admin_address());
        connection.write(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let text = connection.reply(false).text();
        let line = text.lines().find_map(|line| line.strip_prefix("foregate_cache_hits_total "));
        line.and_then(|figure| figure.parse::<f64>().ok()).expect("a figure")
    };
    stage.refuses("GET", &format!("/query/x?jwt={}", alice.access), &[], 401, "Token has expired");
    let before = hits();
    for _ in 0..3 {
        stage.refuses("GET", &format!("/query/x?jwt={}", alice.access), &[], 401, "Token has expired");
    }
    assert_eq!(hits(), before + 3.0);
    // What is left in the browser does not hide that somebody has signed in, and goes with the login.
    let session = stage.gateway.sign_in("alice");
    stage.passes("GET", "/person/x", &[("cookie", &format!("{}; {session}", alice.cookies()))]);
    let body = json!({ "username": "alice", "password": PASSWORD }).to_string();
    let headers = [JSON, ("cookie", &*alice.cookies())];
    let reply = stage.gateway.request("POST", "/.auth/login", &headers, body.as_bytes());
    assert!(
        reply.status == 200 && reply.cookie("access_token_cookie").as_deref() == Some("access_token_cookie=")
    );
}

#[test]
fn another_proxy_that_asks_gets_the_same_answers() {
    let stage = Stage::new();
    let alice = stage.log_in("alice");
    let cookies = alice.cookies();
    let ask = |method: &str, uri: &str, more: &[(&str, &str)]| {
        let url = format!("http://app.test{uri}");
        let mut headers = vec![("x-original-url", &*url), ("x-original-method", method)];
        headers.extend(more);
        stage.gateway.get("/.auth/auth-request", &headers)
    };
    let by_traefik = |method: &str, uri: &str, more: &[(&str, &str)]| {
        let mut headers =
            vec![("x-forwarded-host", "app.test"), ("x-forwarded-uri", uri), ("x-forwarded-method", method)];
        headers.extend(more);
        stage.gateway.get("/.auth/forward-auth", &headers)
    };
    let (cookie, csrf) = (("cookie", &*cookies), ("x-csrf-token", &*alice.csrf));
    for ask in [&ask as &dyn Fn(&str, &str, &[(&str, &str)]) -> Reply, &by_traefik] {
        for (method, uri, headers, status) in [
            ("GET", "/cookie/x".to_owned(), &[cookie][..], 200),
            ("POST", "/cookie/x".to_owned(), &[cookie], 401),
            ("POST", "/cookie/x".to_owned(), &[cookie, csrf], 200),
            ("POST", "/cookie/x".to_owned(), &[cookie, csrf, ("origin", "http://evil.test")], 403),
            ("GET", format!("/query/x?jwt={}", alice.access), &[], 200),
            ("GET", format!("/header/x?jwt={}", alice.access), &[cookie], 401),
        ] {
            let reply = ask(method, &uri, headers);
            assert_eq!(reply.status, status, "{method} {uri} {headers:?}: {reply:?}");
            assert_eq!(reply.header("remote-user"), (status == 200).then_some("alice"), "{reply:?}");
        }
    }
    let reply = by_traefik("POST", "/cookie/x", &[cookie]);
    assert_eq!(reply.json()["msg"], "Missing CSRF token", "{reply:?}");
    // Nobody is led anywhere with a token in the address.
    let html = ("accept", "text/html");
    let reply = by_traefik("GET", "/person/x?jwt=&a=1", &[html]);
    assert!(
        reply.status == 303 && reply.header("location").is_some_and(|to| !to.contains("jwt")),
        "{reply:?}"
    );
}

#[test]
fn signing_out_at_the_page_ends_the_tokens_in_cookies_too() {
    let stage = Stage::new();
    let alice = stage.log_in("alice");
    let session = stage.gateway.sign_in("alice");
    let cookies = format!("{}; {session}", alice.cookies());
    let reply = stage.gateway.request("POST", "/.auth/logout", &[JSON, ("cookie", &cookies)], b"{}");
    assert_eq!(reply.status, 204, "{reply:?}");
    assert_eq!(reply.cookie("refresh_token_cookie").as_deref(), Some("refresh_token_cookie="), "{reply:?}");
    stage.refuses("GET", "/cookie/x", &[("cookie", &alice.cookies())], 401, "Token has been revoked");
}

#[test]
fn an_upstream_sets_none_of_these_cookies() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nset-cookie: access_token_cookie=evil; Path=/\r\n\
          set-cookie: csrf_refresh_token=evil\r\nset-cookie: mine=1\r\n\r\n"
            .to_vec()
    });
    for (tokens, kept) in [("{ cookies: true }", 1), ("{}", 3)] {
        let gateway = Gateway::start(&format!(
            "tokens: {tokens}\nupstreams: {{ app: \"http://{}\" }}\n\
             routes: [{{ path: /**, upstream: app, access: public }}]\n",
            upstream.address
        ));
        assert_eq!(gateway.get("/", &[]).all("set-cookie").len(), kept, "{tokens}");
    }
}

#[test]
fn without_flask_s_words_the_answers_are_those_of_any_token() {
    let stage = Stage::with("{ cookies: true }");
    let alice = stage.log_in("alice");
    for headers in [&[][..], &[("cookie", "access_token_cookie=x")]] {
        let reply = stage.gateway.get("/cookie/x", headers);
        assert_eq!(reply.status, 401, "{reply:?}");
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{reply:?}");
        assert!(reply.json().get("msg").is_none(), "{reply:?}");
    }
    let reply = stage.gateway.request("POST", "/cookie/x", &[("cookie", &alice.cookies())], b"");
    assert_eq!((reply.status, &reply.json()["code"]), (401, &json!("unauthorized")), "{reply:?}");
    let reply = stage.gateway.request("POST", "/.auth/token/refresh", &[("cookie", &alice.cookies())], b"");
    assert_eq!((reply.status, &reply.json()["error"]), (400, &json!("invalid_request")), "{reply:?}");
    // A person is shown a page, whichever words programs get.
    let stage = Stage::new();
    let reply = stage.gateway.get("/cookie/x", &[("accept", "text/html")]);
    assert!(reply.status == 401 && reply.text().contains("<html"), "{reply:?}");
}

#[test]
fn a_session_is_not_hidden_by_cookies_that_count_for_nothing() {
    let stage = Stage::new();
    let (alice, bob) = (stage.log_in("alice"), stage.log_in("bob"));
    let session = stage.gateway.sign_in("alice");
    let html = ("accept", "text/html");
    // Two, of which one is another path's: no login takes it away.
    let two = format!("access_token_cookie=old; access_token_cookie={}", bob.access);
    let signed_in = format!("{two}; {session}");
    for method in ["GET", "POST"] {
        stage.passes(method, "/person/x", &[html, ("cookie", &signed_in)]);
        assert!(stage.upstream.last().contains("remote-user: alice"), "{}", stage.upstream.last());
    }
    let reply = stage.gateway.get("/person/x", &[html, ("cookie", &two)]);
    assert_eq!(reply.status, 303, "{reply:?}");
    stage.refuses("GET", "/person/x", &[("cookie", &two)], 422, "More than one token");
    stage.refuses("GET", "/cookie/x", &[("cookie", &signed_in)], 422, "More than one token");

    // A form of a page has no field of ours.
    for token in [&*bob.access, &alice.access, "old"] {
        let token = format!("access_token_cookie={token}");
        let signed_in = format!("{token}; {session}");
        for origin in [("origin", "http://app.test"), ("sec-fetch-site", "same-origin")] {
            stage.passes("POST", "/person/x", &[html, FORM, origin, ("cookie", &signed_in)]);
            assert!(stage.upstream.last().contains("remote-user: alice"), "{}", stage.upstream.last());
        }
        for elsewhere in [("origin", "http://evil.test"), ("sec-fetch-site", "cross-site")] {
            let seen = stage.outcome("POST", "/person/x", &[FORM, elsewhere, ("cookie", &signed_in)]);
            assert_eq!((seen.0, seen.2), (403, false), "{seen:?}");
        }
        stage.refuses("POST", "/cookie/x", &[("cookie", &signed_in)], 401, "Missing CSRF token");
        for none in [token.clone(), format!("{token}; foregate=none")] {
            stage.refuses("POST", "/person/x", &[FORM, ("cookie", &none)], 401, "Missing CSRF token");
        }
    }
    // Who sends a double means the token.
    let cookies = format!("{}; {session}", alice.cookies());
    let double = ("x-csrf-token", &*bob.csrf);
    let text = "CSRF double submit tokens do not match";
    stage.refuses("POST", "/person/x", &[("cookie", &cookies), double], 401, text);
}

/// Sends forged tokens in the cookie until one is not looked at. A flood has to be as fast as its window.
fn flood(gateway: &Gateway, good: &str) -> String {
    let (head, signature) = good.rsplit_once('.').expect("a signature");
    for number in 0..5000 {
        let cookie = format!("access_token_cookie={head}.{number:08}{}", &signature[8..]);
        if gateway.get("/cookie/x", &[("cookie", &cookie)]).status == 429 {
            return cookie;
        }
    }
    panic!("no flood was braked");
}

#[test]
fn a_session_is_not_hidden_by_a_cookie_that_is_not_looked_at() {
    let stage = Stage::new();
    let alice = stage.log_in("alice");
    let session = stage.gateway.sign_in("alice");
    let show = |cookies: &str| stage.gateway.get("/person/x", &[("cookie", cookies)]).status;
    let mut seen = Vec::new();
    // The brake may end in between.
    wait_until(
        || {
            let unknown = flood(&stage.gateway, &alice.access);
            seen = vec![show(&unknown), show(&format!("{unknown}; {session}")), show(&unknown)];
            seen[0] == 429 && seen[2] == 429
        },
        || "no flood stayed braked".to_owned(),
    );
    assert_eq!(seen, [429, 200, 429]);
    assert!(stage.upstream.last().contains("remote-user: alice"), "{}", stage.upstream.last());
}

#[test]
fn who_has_signed_out_loses_the_cookies_though_a_token_in_one_can_t_be_judged() {
    let stage = Stage::new();
    let alice = stage.log_in("alice");
    let session = stage.gateway.sign_in("alice");
    let log_out =
        |cookies: &str| stage.gateway.request("POST", "/.auth/logout", &[JSON, ("cookie", cookies)], b"{}");
    let revoke =
        |cookies: &str| stage.gateway.request("POST", "/.auth/token/revoke", &[("cookie", cookies)], b"");
    let goes = |reply: &Reply| reply.cookie("access_token_cookie").as_deref() == Some("access_token_cookie=");
    let unknown = flood(&stage.gateway, &alice.access);
    // The brake may end in between.
    let braked = |answer: &dyn Fn() -> Reply| {
        wait_until(
            || {
                flood(&stage.gateway, &alice.access);
                let reply = answer();
                reply.status == 429 && reply.all("set-cookie").is_empty()
            },
            || "what was not ended was taken for ended".to_owned(),
        );
    };
    braked(&|| log_out(&unknown));
    braked(&|| log_out(&format!("{unknown}; foregate=none")));
    braked(&|| revoke(&unknown));

    flood(&stage.gateway, &alice.access);
    let reply = log_out(&format!("{unknown}; {session}"));
    assert!(reply.status == 204 && goes(&reply), "{reply:?}");
    flood(&stage.gateway, &alice.access);
    let reply = revoke(&format!("{unknown}; refresh_token_cookie={}", alice.refresh));
    assert!(reply.status == 200 && goes(&reply), "{reply:?}");
    stage.refuses("GET", "/cookie/x", &[("cookie", &alice.cookies())], 401, "Token has been revoked");
}

#[test]
fn nobody_keeps_for_others_what_a_token_in_the_address_was_answered() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\ncache-control: public, max-age=60\r\n\
          cdn-cache-control: max-age=60\r\n\r\n"
            .to_vec()
    });
    let gateway = Gateway::start(&format!(
        "upstreams: {{ app: \"http://{}\" }}\n\
         routes: [{{ path: /**, upstream: app, access: public, token_locations: [query] }}]\n",
        upstream.address
    ));
    for (target, expected, at_the_edge) in
        [("/?jwt=x", "private, max-age=60", None), ("/", "public, max-age=60", Some("max-age=60"))]
    {
        let reply = gateway.get(target, &[]);
        assert_eq!(reply.all("cache-control"), [expected], "{target}");
        assert_eq!(reply.header("cdn-cache-control"), at_the_edge, "{target}");
    }
}
