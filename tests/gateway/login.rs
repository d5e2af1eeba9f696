//! Signing in and out by form and by JSON, and what the pages give away (nothing).

use std::time::{Duration, Instant};

use crate::browser::{Browser, Form, NAVIGATION};
use crate::harness::{Gateway, PASSWORD, Reply, Upstream};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("content-type", "application/json");

fn gateway() -> (Upstream, Gateway) {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(upstream.address, "");
    gateway.add_user("alice", &["staff"]);
    (upstream, gateway)
}

/// The attributes of the one cookie of this name.
fn attributes<'a>(reply: &'a Reply, name: &str) -> Vec<&'a str> {
    let cookies = reply.all("set-cookie");
    let mut ours = cookies.into_iter().filter(|cookie| cookie.starts_with(&format!("{name}=")));
    let cookie = ours.next().unwrap_or_else(|| panic!("no cookie {name}: {reply:?}"));
    assert!(ours.next().is_none(), "two cookies {name}: {reply:?}");
    cookie.split("; ").skip(1).collect()
}

#[test]
fn a_person_signs_in_by_the_form_and_arrives_where_they_wanted_to_go() {
    let (upstream, gateway) = gateway();
    let browser = Browser::new(&gateway);
    let refused = browser.open("/reports?year=2026&q=a b".replace(' ', "%20").as_str());
    let to_login = refused.header("location").expect("a way to the login page").to_owned();
    let page = browser.open(&to_login);
    assert_eq!(page.status, 200, "{page:?}");
    assert_eq!(attributes(&page, "foregate-csrf"), ["Path=/", "HttpOnly", "SameSite=Lax"]);
    let form = Form::read(&page);
    assert_eq!(form.action, "/.auth/login");

    let reply = browser.submit(&form.with("username", "alice").with("password", PASSWORD));
    assert_eq!(
        (reply.status, reply.header("location")),
        (303, Some("/reports?year=2026&q=a%20b")),
        "{reply:?}"
    );
    // Without "remember me" it ends with the browser: no Max-Age.
    assert_eq!(attributes(&reply, "foregate"), ["Path=/", "HttpOnly", "SameSite=Lax"]);
    let value = browser.cookie("foregate").expect("a cookie");
    assert_eq!(value.len(), 43, "256 bits");
    assert_eq!(browser.open("/reports?year=2026&q=a%20b").status, 200);
    assert!(upstream.last().contains("remote-user: alice\r\n"), "{}", upstream.last());

    // Who is signed in already goes on.
    let again = browser.open(&to_login);
    assert_eq!((again.status, again.header("location")), (303, Some("/reports?year=2026&q=a%20b")));
}

#[test]
fn a_wrong_password_keeps_the_name_and_empties_the_password() {
    let (_upstream, gateway) = gateway();
    let browser = Browser::new(&gateway);
    let form = Form::read(&browser.open("/.auth/login?next=/a"));
    let reply = browser
        .submit(&form.with("username", "alice").with("password", "wrong password").with("remember", "1"));
    assert_eq!(reply.status, 401, "{reply:?}");
    assert!(reply.cookie("foregate").is_none(), "{reply:?}");
    let html = reply.text();
    assert!(html.contains("Incorrect username or password.") && html.contains("<title>Error: "), "{html}");
    assert!(!html.contains("wrong password"), "{html}");
    let form = Form::read(&reply);
    assert_eq!((form.value("username"), form.value("password")), (Some("alice"), Some("")), "{form:?}");
    assert_eq!((form.value("next"), form.value("remember")), (Some("/a"), Some("1")), "{form:?}");
    // The page that came back works.
    assert_eq!(browser.submit(&form.with("password", PASSWORD)).header("location"), Some("/a"));
}

#[test]
fn a_stale_form_is_shown_afresh_with_the_name_kept() {
    let (_upstream, gateway) = gateway();
    let browser = Browser::new(&gateway);
    let form = Form::read(&browser.open("/.auth/login?next=/a")).with("username", "alice");
    for token in ["", "nonsense", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        let stale = browser.submit(&form.clone().with("csrf_token", token).with("password", PASSWORD));
        assert_eq!(stale.status, 403, "{stale:?}");
        assert!(stale.cookie("foregate").is_none(), "{stale:?}");
        let fresh = Form::read(&stale);
        assert_eq!((fresh.value("username"), fresh.value("password")), (Some("alice"), Some("")));
        assert_eq!(browser.submit(&fresh.with("password", PASSWORD)).header("location"), Some("/a"));
    }
    // Another browser's token is none, even a good one.
    let other = Browser::new(&gateway);
    other.open("/.auth/login");
    let taken = other.submit(&form.with("password", PASSWORD));
    assert_eq!(taken.status, 403, "{taken:?}");
    assert!(other.cookie("foregate").is_none());
}

#[test]
fn a_login_that_is_sent_twice_does_no_harm() {
    let (_upstream, gateway) = gateway();
    let browser = Browser::new(&gateway);
    let form = Form::read(&browser.open("/.auth/login?next=/a")).with("username", "alice");
    let form = form.with("password", PASSWORD);
    let cookies = browser.cookies();
    assert_eq!(browser.submit(&form).header("location"), Some("/a"));
    // On its way before the first was answered, with the cookies of before.
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("cookie", cookies.as_str())];
    let second = gateway.request("POST", &form.action, &headers, form.encoded().as_bytes());
    assert_eq!((second.status, second.header("location")), (303, Some("/a")), "{second:?}");
    // Whichever cookie the browser keeps is good, and a third time changes nothing either.
    let kept = second.cookie("foregate").expect("a session");
    for cookie in [browser.cookies(), kept] {
        assert_eq!(gateway.get("/a", &[("cookie", &cookie)]).status, 200);
    }
    assert_eq!(browser.submit(&form).header("location"), Some("/a"));
    assert_eq!(browser.open("/a").status, 200);
}

#[test]
fn a_login_that_another_site_sends_is_refused() {
    let (_upstream, gateway) = gateway();
    let browser = Browser::new(&gateway);
    let form = Form::read(&browser.open("/.auth/login")).with("username", "alice").with("password", PASSWORD);
    let body = serde_json::json!({ "username": "alice", "password": PASSWORD }).to_string();
    for from in [
        ("origin", "https://evil.test"),
        ("origin", "null"),
        ("origin", "http://sister.app.test"),
        ("origin", "http://app.test.evil.test"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let reply = browser.submit_with(&form, &[from]);
        assert_eq!(reply.status, 403, "{from:?}: {reply:?}");
        assert!(reply.cookie("foregate").is_none(), "{reply:?}");
        for path in ["/.auth/login", "/.auth/token", "/.auth/logout"] {
            let reply = gateway.request("POST", path, &[JSON, from], body.as_bytes());
            assert_eq!((reply.status, reply.json()["code"].as_str()), (403, Some("cross_site")), "{path}");
        }
    }
    for from in [("origin", "http://app.test"), ("sec-fetch-site", "same-origin")] {
        assert_eq!(browser.submit_with(&form, &[from]).status, 303, "{from:?}");
    }
}

#[test]
fn a_program_signs_in_by_json() {
    let (_upstream, gateway) = gateway();
    let reply = gateway.sign_in_with("alice", PASSWORD);
    assert_eq!(reply.status, 200, "{reply:?}");
    let user = &reply.json()["user"];
    assert_eq!(user["username"], "alice");
    assert_eq!(user["email"], "alice@example.com");
    assert_eq!(user["roles"], serde_json::json!(["staff"]));
    assert_eq!(attributes(&reply, "foregate"), ["Path=/", "HttpOnly", "SameSite=Lax"]);

    let cookie = reply.cookie("foregate").expect("a cookie");
    let me = gateway.get("/.auth/me", &[("cookie", &cookie)]);
    assert_eq!((me.status, me.json()["credential"].as_str()), (200, Some("session")), "{me:?}");

    let wrong = gateway.sign_in_with("alice", "wrong");
    assert_eq!(wrong.status, 401, "{wrong:?}");
    assert_eq!(wrong.header("content-type"), Some("application/problem+json"));
    assert_eq!(wrong.json()["code"], "incorrect_credentials");
    assert!(wrong.header("www-authenticate").is_some(), "{wrong:?}");
    assert!(wrong.header("set-cookie").is_none(), "{wrong:?}");
    for (body, expected) in [
        ("{}", 400),
        (r#"{"username":"alice"}"#, 400),
        (r#"{"username":"alice","password":"a","password":"b"}"#, 400),
        (r#"{"username":"alice","password":5}"#, 400),
        ("[]", 400),
        ("{", 400),
    ] {
        let reply = gateway.request("POST", "/.auth/login", &[JSON], body.as_bytes());
        assert_eq!(reply.status, expected, "{body}: {reply:?}");
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{body}");
    }
    let text = gateway.request("POST", "/.auth/login", &[("content-type", "text/plain")], b"x");
    assert_eq!(text.status, 415, "{text:?}");
}

#[test]
fn the_name_and_the_address_are_good_in_any_case_and_the_password_in_its_own() {
    let (_upstream, gateway) = gateway();
    for login in ["alice", "Alice", "ALICE", "  alice ", "alice@example.com", "Alice@Example.COM"] {
        let browser = Browser::new(&gateway);
        let reply = browser.sign_in(login);
        assert_eq!(reply.status, 303, "{login:?}: {reply:?}");
        let cookies = browser.cookies();
        assert_eq!(gateway.get("/.auth/me", &[("cookie", &cookies)]).json()["username"], "alice");
    }
    for password in
        [PASSWORD.to_uppercase(), format!(" {PASSWORD}"), format!("{PASSWORD} "), PASSWORD[1..].into()]
    {
        assert_eq!(gateway.sign_in_with("alice", &password).status, 401, "{password:?}");
    }
}

#[test]
fn remember_me_lasts_as_long_as_it_says() {
    let upstream = Upstream::start();
    let yaml = |session: &str| {
        format!(
            "session: {session}\nupstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app }}]\n",
            upstream.address
        )
    };
    let gateway = Gateway::start(&yaml("{ remember: 30d }"));
    gateway.add_user("alice", &[]);
    let browser = Browser::new(&gateway);
    let page = browser.open("/.auth/login");
    assert!(page.text().contains("Remember me for 30 days"), "{}", page.text());
    let form = Form::read(&page);
    assert_eq!(form.value("remember"), None, "it is off by default");
    let reply =
        browser.submit(&form.with("username", "alice").with("password", PASSWORD).with("remember", "1"));
    assert!(attributes(&reply, "foregate").contains(&"Max-Age=2592000"), "{reply:?}");
    let body = serde_json::json!({ "username": "alice", "password": PASSWORD, "remember": true }).to_string();
    let reply = gateway.request("POST", "/.auth/login", &[JSON], body.as_bytes());
    assert!(attributes(&reply, "foregate").contains(&"Max-Age=2592000"), "{reply:?}");

    let gateway = Gateway::start(&yaml("{ remember: 0 }"));
    gateway.add_user("alice", &[]);
    assert!(!Browser::new(&gateway).open("/.auth/login").text().contains("name=\"remember\""));
    let reply = gateway.request("POST", "/.auth/login", &[JSON], body.as_bytes());
    assert_eq!(attributes(&reply, "foregate"), ["Path=/", "HttpOnly", "SameSite=Lax"], "{reply:?}");
}

#[test]
fn over_https_the_cookies_are_bound_to_the_host() {
    let upstream = Upstream::start();
    let app = format!(
        "upstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app }}]\n",
        upstream.address
    );
    let gateway = Gateway::start(&format!("public_url: https://app.test\n{app}"));
    gateway.add_user("alice", &[]);
    let page = gateway.get("/.auth/login", NAVIGATION);
    let expected = ["Path=/", "HttpOnly", "SameSite=Lax", "Secure"];
    assert_eq!(attributes(&page, "__Host-foregate-csrf"), expected);
    assert_eq!(attributes(&gateway.sign_in_with("alice", PASSWORD), "__Host-foregate"), expected);

    let gateway = Gateway::start(&format!(
        "public_url: https://app.test\nsession: {{ cookie: {{ domain: app.test, name: gate, same_site: strict }} }}\n{app}"
    ));
    gateway.add_user("alice", &[]);
    assert_eq!(
        attributes(&gateway.sign_in_with("alice", PASSWORD), "__Secure-gate"),
        ["Path=/", "HttpOnly", "SameSite=Strict", "Secure", "Domain=app.test"]
    );
}

#[test]
fn each_login_has_a_new_cookie_and_ends_the_one_that_the_browser_had() {
    let (_upstream, gateway) = gateway();
    let browser = Browser::new(&gateway);
    let planted = "A".repeat(43);
    browser.plant("foregate", &planted);
    browser.sign_in("alice");
    let first = browser.cookie("foregate").expect("a session");
    assert_ne!(first, planted, "a planted cookie never becomes a session");
    browser.open("/.auth/login?prompt=login");
    let form = Form::read(&browser.open("/.auth/login?prompt=login"));
    assert_eq!(browser.submit(&form.with("password", PASSWORD)).status, 303);
    let second = browser.cookie("foregate").expect("a session");
    assert_ne!(first, second);
    for (value, expected) in [(planted, 401), (first, 401), (second, 200)] {
        let cookie = format!("foregate={value}");
        assert_eq!(gateway.get("/", &[("cookie", &cookie)]).status, expected);
    }
}

#[test]
fn signing_out_ends_the_session_at_once_for_every_copy_of_its_cookie() {
    let (upstream, gateway) = gateway();
    let browser = Browser::new(&gateway);
    browser.sign_in("alice");
    let copy = format!("foregate={}", browser.cookie("foregate").expect("a session"));
    let other = gateway.sign_in("alice");
    // In the caches of all threads.
    for _ in 0..8 {
        assert_eq!(gateway.get("/", &[("cookie", &copy)]).status, 200);
    }
    let page = browser.open("/.auth/logout");
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.text().contains("signed in as <strong>alice</strong>"), "{}", page.text());
    assert_eq!(gateway.get("/", &[("cookie", &copy)]).status, 200, "the page alone ends nothing");
    let stale = browser.submit(&Form::read(&page).with("csrf_token", "nonsense"));
    assert_eq!(stale.status, 403, "{stale:?}");
    assert_eq!(gateway.get("/", &[("cookie", &copy)]).status, 200, "nor does a form of nobody's");

    let done = browser.submit(&Form::read(&stale));
    assert_eq!((done.status, done.header("location")), (303, Some("/.auth/login")), "{done:?}");
    assert!(attributes(&done, "foregate").contains(&"Max-Age=0"), "{done:?}");
    assert!(browser.cookie("foregate").is_none());
    let count = upstream.count();
    for _ in 0..8 {
        assert_eq!(gateway.get("/", &[("cookie", &copy)]).status, 401);
    }
    assert_eq!(upstream.count(), count);
    assert!(browser.open("/.auth/login").text().contains("You are signed out."));

    assert_eq!(gateway.get("/", &[("cookie", &other)]).status, 200, "another login is another session");
    let done = gateway.request("POST", "/.auth/logout", &[JSON, ("cookie", &other)], b"{}");
    assert_eq!(done.status, 204, "{done:?}");
    assert_eq!(gateway.get("/", &[("cookie", &other)]).status, 401);
}

#[test]
fn signing_out_with_a_second_cookie_planted_ends_what_is_real() {
    let (_upstream, gateway) = gateway();
    let cookies = [gateway.sign_in("alice"), gateway.sign_in("alice")];
    for cookie in &cookies {
        assert_eq!(gateway.get("/", &[("cookie", cookie)]).status, 200);
    }
    let planted = format!("foregate={}", "A".repeat(43));
    let shown = format!("{planted}; {}; {}", cookies[0], cookies[1]);
    let done = gateway.request("POST", "/.auth/logout", &[JSON, ("cookie", &shown)], b"{}");
    assert_eq!(done.status, 204, "{done:?}");
    for cookie in &cookies {
        assert_eq!(gateway.get("/", &[("cookie", cookie)]).status, 401);
    }
}

/// A reply without what differs from one to the next.
fn comparable(reply: &Reply, name: &str) -> String {
    let mut text = format!("{}\n", reply.status);
    for (header, value) in &reply.headers {
        if !["x-request-id", "date", "set-cookie"].contains(&header.as_str()) {
            text += &format!("{header}: {value}\n");
        }
    }
    let id = reply.header("x-request-id").unwrap_or("-");
    text += &reply.text().replace(id, "ID").replace(name, "NAME");
    match (text.find("name=\"csrf_token\" value=\""), reply.header("content-type")) {
        (Some(start), _) => {
            let start = start + "name=\"csrf_token\" value=\"".len();
            let end = start + text[start..].find('"').expect("the value ends");
            text.replace_range(start..end, "TOKEN");
            text
        }
        (None, _) => text,
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[test]
fn unknown_wrong_and_disabled_are_one_answer_in_the_same_time() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "limits: {{ login: {{ per_account: 10000/1m, per_ip: 10000/1m }} }}\n\
         password: {{ min_score: 0 }}\n\
         upstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app, credentials: [session, basic] }}]\n",
        upstream.address
    ));
    // Names of one length, as the reply to a form has the name in it.
    for name in ["knownone", "disabled"] {
        gateway.add_user(name, &[]);
    }
    assert!(gateway.command(&["user", "add", "nopasswd"], "").status.success());
    assert!(gateway.command(&["user", "disable", "disabled"], "").status.success());
    let tries = [
        ("knownone", "a wrong password"),
        ("unknown1", "a wrong password"),
        ("disabled", PASSWORD),
        ("nopasswd", "a wrong password"),
    ];
    let basic = |name: &str, password: &str| {
        use base64::Engine as _;
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
        gateway.get("/", &[("authorization", &format!("Basic {pair}"))])
    };
    let form = |name: &str, password: &str| {
        let browser = Browser::new(&gateway);
        let form = Form::read(&browser.open("/.auth/login"));
        browser.submit(&form.with("username", name).with("password", password))
    };
    let token = |name: &str, password: &str| {
        let body = serde_json::json!({ "username": name, "password": password }).to_string();
        gateway.request("POST", "/.auth/token", &[JSON], body.as_bytes())
    };
    for (door, ask) in [
        ("form", &form as &dyn Fn(&str, &str) -> Reply),
        ("json", &|name: &str, password: &str| gateway.sign_in_with(name, password)),
        ("token", &token),
        ("basic", &basic),
    ] {
        let replies: Vec<_> =
            tries.iter().map(|(name, password)| comparable(&ask(name, password), name)).collect();
        assert!(replies[0].starts_with("401\n"), "{door}: {}", replies[0]);
        for reply in &replies[1..] {
            assert_eq!(*reply, replies[0], "{door}");
        }
    }
    // A machine that is busy with other things spoils a measurement now and then, never all of them.
    let mut measured = Vec::new();
    let alike = |ratios: &[f64; 3]| ratios.iter().all(|ratio| (0.7..=1.4).contains(ratio));
    while measured.len() < 4 && !measured.last().is_some_and(alike) {
        measured.push(medians(&gateway, &tries));
    }
    assert!(measured.last().is_some_and(alike), "to a wrong password's time: {measured:?}");
}

/// How long each of these takes in the median of twenty, in terms of the first.
fn medians(gateway: &Gateway, tries: &[(&str, &str); 4]) -> [f64; 3] {
    let mut times = [const { Vec::new() }; 4];
    for _ in 0..20 {
        for ((name, password), times) in tries.iter().zip(&mut times) {
            let began = Instant::now();
            gateway.sign_in_with(name, password);
            times.push(began.elapsed());
        }
    }
    let [known, others @ ..] = times.map(|times| median(times).as_secs_f64());
    others.map(|other| other / known)
}

#[test]
fn next_leads_to_places_of_ours_alone() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "public_url: http://app.test\nportal: {{ after_login: /home, allowed_redirects: [friend.test, \"*.wiki.test\"] }}\n\
         upstreams: {{ app: \"http://{0}\" }}\nroutes:\n\
         \x20 - {{ host: shop.test, path: /**, upstream: app }}\n\
         \x20 - {{ path: /**, upstream: app }}\n",
        upstream.address
    ));
    gateway.add_user("alice", &[]);
    let cookie = gateway.sign_in("alice");
    let followed = [
        "/",
        "/a/b?c=d&e=%2f#f",
        "/a?url=https://evil.test//x",
        "http://app.test/x",
        "https://app.test:8443/x",
        "https://shop.test/",
        "http://friend.test/x?y",
        "http://a.wiki.test/",
    ];
    let replaced = [
        "",
        "//evil.test",
        "///evil.test",
        "/\\evil.test",
        "\\\\evil.test",
        "/%5cevil.test",
        "/%2f%2fevil.test",
        "/%2fevil.test",
        "/./evil.test",
        "/a/../..//evil.test",
        "/.//evil.test",
        "/\tevil.test",
        "/%09/evil.test",
        "/%0d%0aset-cookie:%20a=b",
        "https://evil.test",
        "https://evil.test/http://app.test",
        "http://app.test.evil.test",
        "http://evil-app.test",
        "http://xfriend.test",
        "http://wiki.test.evil.test",
        "http://app.test@evil.test/",
        "http://user:pass@app.test/",
        "http:evil.test",
        "http:/evil.test",
        "http:///evil.test",
        "javascript:alert(1)",
        "JaVaScRiPt://app.test/%0aalert(1)",
        "data:text/html,x",
        "ftp://app.test/",
        "evil.test",
        "a/b",
        "?x",
        "#x",
        " /a",
        "/a b",
        "/.auth/login",
        "/.auth/logout",
        "/.auth/login?next=/a",
        "/a/../.auth/logout",
        "http://app.test/.auth/logout",
    ];
    let long = format!("/{}", "a".repeat(2100));
    let all = followed.iter().map(|&place| (place, place));
    let all = all.chain(replaced.iter().map(|&place| (place, "/home"))).chain([(long.as_str(), "/home")]);
    for (place, expected) in all {
        let query = serde_urlencoded::to_string([("next", place)]).expect("a text");
        for parameter in ["next", "rd"] {
            let query = query.replacen("next", parameter, 1);
            let mut headers = NAVIGATION.to_vec();
            headers.push(("cookie", &cookie));
            let reply = gateway.get(&format!("/.auth/login?{query}"), &headers);
            assert_eq!((reply.status, reply.header("location")), (303, Some(expected)), "{place:?}");
        }
        // The same by the forms.
        let browser = Browser::new(&gateway);
        let form =
            Form::read(&browser.open("/.auth/login")).with("username", "alice").with("password", PASSWORD);
        let reply = browser.submit(&form.with("next", place));
        assert_eq!((reply.status, reply.header("location")), (303, Some(expected)), "login to {place:?}");
        let reply = browser.submit(&Form::read(&browser.open("/.auth/logout")).with("next", place));
        let expected = if expected == "/home" { "/.auth/login" } else { expected };
        assert_eq!((reply.status, reply.header("location")), (303, Some(expected)), "logout to {place:?}");
    }
    // Only a navigation sets it: an image that is refused never changes where the person lands.
    let image = gateway.get("/image.png", &[("accept", "image/*,text/html"), ("sec-fetch-mode", "no-cors")]);
    assert!(!image.text().contains("image.png"), "{}", image.text());
}

#[test]
fn a_parameter_that_stands_twice_is_refused() {
    let (_upstream, gateway) = gateway();
    let browser = Browser::new(&gateway);
    let form = Form::read(&browser.open("/.auth/login")).with("username", "alice").with("password", PASSWORD);
    for name in ["username", "password", "csrf_token", "next", "remember"] {
        let mut doubled = form.clone();
        let value = form.value(name).unwrap_or("1").to_owned();
        doubled.fields.extend([(name.to_owned(), value.clone()), (name.to_owned(), value)]);
        let reply = browser.submit(&doubled);
        assert_eq!(reply.status, 400, "{name}: {reply:?}");
        assert!(browser.cookie("foregate").is_none(), "{name}");
    }
    let page = browser.open("/.auth/login?next=/a&next=/b");
    assert_eq!((page.status, Form::read(&page).value("next")), (200, None), "two places are none");
}

#[test]
fn a_body_of_ours_has_at_most_64_kib() {
    let (_upstream, gateway) = gateway();
    let big = vec![b'a'; 64 * 1024 + 1];
    for path in ["/.auth/login", "/.auth/token", "/.auth/logout"] {
        for kind in [FORM, JSON] {
            let reply = gateway.request("POST", path, &[kind], &big);
            assert_eq!(reply.status, 413, "{path}: {reply:?}");
        }
        let mut chunked =
            format!("POST {path} HTTP/1.1\r\nhost: app.test\r\ntransfer-encoding: chunked\r\n\r\n12000\r\n")
                .into_bytes();
        chunked.extend([b'a'; 0x12000]);
        chunked.extend(b"\r\n0\r\n\r\n");
        let reply = gateway.send(&chunked);
        assert_eq!(reply.status, 413, "{path} in chunks: {reply:?}");
    }
    // One below the limit is read, and is no login.
    let mut sound = b"username=alice&password=".to_vec();
    sound.resize(64 * 1024, b'a');
    assert_eq!(gateway.request("POST", "/.auth/login", &[FORM], &sound).status, 403);
    assert_eq!(gateway.sign_in_with("alice", &"a".repeat(40_000)).status, 401);
    assert_eq!(gateway.sign_in_with("alice", PASSWORD).status, 200);
}

#[test]
fn markup_in_what_people_type_stays_text() {
    let (_upstream, gateway) = gateway();
    let markup = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'&{{7*7}}";
    let made =
        gateway.command(&["user", "add", "<b>x</b>", "--name", "<i>X</i>", "--password-stdin"], PASSWORD);
    assert!(made.status.success(), "{made:?}");
    let browser = Browser::new(&gateway);
    let form = Form::read(&browser.open("/.auth/login"));
    let page = browser.submit(&form.with("username", markup).with("password", "x"));
    assert_eq!(Form::read(&page).value("username"), Some(markup));
    let next =
        serde_urlencoded::to_string([("next", format!("/a?{}", markup.replace(' ', "")))]).expect("a text");
    let mut pages = vec![page, browser.open(&format!("/.auth/login?{next}"))];
    pages.push(gateway.get(
        "/%3Cscript%3Ealert(1)%3C/script%3E",
        &[("accept", "text/html"), ("x-requested-with", "XMLHttpRequest")],
    ));
    assert_eq!(browser.sign_in("<b>x</b>").status, 303);
    pages.push(browser.open("/.auth/logout"));
    assert!(pages[3].text().contains("&lt;b&gt;x&lt;/b&gt;"), "{}", pages[3].text());
    for page in pages {
        let html = page.text();
        assert!(
            !html.contains("<script>alert")
                && !html.contains("<img src")
                && !html.contains("<b>")
                && !html.contains("<i>"),
            "{html}"
        );
        assert!(!html.contains("49'"), "no template is made of it: {html}");
    }
}

#[test]
fn every_page_says_how_it_is_to_be_handled() {
    let (_upstream, gateway) = gateway();
    let browser = Browser::new(&gateway);
    let link = gateway.command(&["user", "add", "bob"], "");
    let link = String::from_utf8(link.stdout).expect("text");
    let reset = &link.trim()[link.find("/.auth/").expect("a path")..];
    let login = browser.open("/.auth/login");
    let wrong = browser.submit(&Form::read(&login).with("username", "alice").with("password", "x"));
    let pages = [
        ("login", 200, login),
        ("wrong", 401, wrong),
        ("logout", 200, browser.open("/.auth/logout")),
        ("reset", 200, browser.open(reset)),
        ("bad reset", 400, browser.open("/.auth/reset?token=nonsense")),
        ("not found", 404, browser.open("/.auth/nothing")),
        ("method", 405, browser.send("DELETE", "/.auth/login", &[], b"")),
        ("refused", 401, browser.send("GET", "/x", &[("x-requested-with", "XMLHttpRequest")], b"")),
    ];
    for (what, status, page) in pages {
        assert_eq!(page.status, status, "{what}: {page:?}");
        let policy = page.header("content-security-policy").unwrap_or_else(|| panic!("{what}: {page:?}"));
        for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"]
        {
            assert!(policy.contains(part), "{what}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains(" * "), "{what}: {policy}");
        for (name, value) in [
            ("content-type", "text/html; charset=utf-8"),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
        ] {
            assert_eq!(page.header(name), Some(value), "{what}: {page:?}");
        }
        assert!(page.header("x-request-id").is_some(), "{what}");
        let html = page.text();
        assert!(html.contains("<html lang=\"en\">") && html.matches("<h1").count() == 1, "{what}: {html}");
        assert!(!html.contains(" style=") && !html.contains(" onclick="), "{what}: {html}");
        assert!(html.len() < 50_000, "{what}: {} bytes", html.len());
    }
}

#[test]
fn a_password_hashed_by_another_application_signs_in() {
    let (_upstream, gateway) = gateway();
    // Made by Werkzeug 3, Django and htpasswd from this file's password.
    for (name, hash) in [
        (
            "werkzeug",
            "pbkdf2:sha256:1000$Jc8Yt0Rk$c6c33a6573eb2bd1f8d52cf0e1330b9b87ebbc3e7c68b98f462eb93cbe6001b8",
        ),
        ("django", "pbkdf2_sha256$1000$saltsaltsalt$GacV8oEzUl3KM0Mwey9yrMcTPKpkL4jXrFpbKB8oOnI="),
        ("htpasswd", "$apr1$saltsalt$ZdO9ajrUOSz9es9I0fQZB."),
    ] {
        let added = gateway.command(&["user", "add", name, "--password-hash", hash], "");
        assert!(added.status.success(), "{added:?}");
        assert_eq!(gateway.sign_in_with(name, "another password").status, 401, "{name}");
        assert_eq!(gateway.sign_in_with(name, PASSWORD).status, 200, "{name}");
        assert_eq!(gateway.sign_in_with(name, PASSWORD).status, 200, "{name}, now with a hash of ours");
    }
}
