//! The page of one's own account: what it shows, what it changes, and what nobody else can change with it.

use serde_json::{Value, json};

use crate::browser::{Browser, Form};
use crate::harness::{Gateway, PASSWORD, Reply, Upstream};
use crate::mailbox::{MAIL, last_mail_to};

const NEW: &str = "a horse of another colour";
const JSON: (&str, &str) = ("content-type", "application/json");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const PAGE: &str = "/.auth/account";

fn gateway(more: &str) -> Gateway {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app }}]\n{more}",
        upstream.address
    ));
    gateway.add_user("alice", &["staff", "admin"]);
    gateway.add_user("bob", &[]);
    gateway
}

fn signed_in<'a>(gateway: &'a Gateway, name: &str) -> Browser<'a> {
    let browser = Browser::new(gateway);
    assert_eq!(browser.sign_in(name).status, 303);
    browser
}

/// The status of `/me` for a cookie's value.
fn me(gateway: &Gateway, value: &str) -> u16 {
    gateway.get("/.auth/me", &[("cookie", &format!("foregate={value}"))]).status
}

/// A POST by a program that has the cookie.
fn post(gateway: &Gateway, path: &str, cookie: &str, body: &Value) -> Reply {
    gateway.request("POST", path, &[JSON, ("cookie", cookie)], body.to_string().as_bytes())
}

fn password_form(page: &Reply, current: &str, new: &str) -> Form {
    Form::to(page, "/.auth/account/password")
        .with("current_password", current)
        .with("password", new)
        .with("password_again", new)
}

#[test]
fn the_page_is_for_who_is_signed_in_and_a_login_comes_back_to_it() {
    let gateway = gateway("");
    let browser = Browser::new(&gateway);
    let sent_on = browser.open(PAGE);
    assert_eq!((sent_on.status, sent_on.header("location")), (303, Some("/.auth/login?next=/.auth/account")));
    let login = browser.open("/.auth/login?next=/.auth/account");
    let arrived = browser.submit(&Form::read(&login).with("username", "alice").with("password", PASSWORD));
    assert_eq!((arrived.status, arrived.header("location")), (303, Some(PAGE)));
    let page = browser.open(PAGE);
    assert_eq!(page.status, 200, "{page:?}");
    for text in ["Your account", "alice@example.com", "admin, staff", "This device", "Change password"] {
        assert!(page.text().contains(text), "{text}: {}", page.text());
    }
    assert!(!page.text().contains("/account/delete"), "it is not allowed here");
    // What a change was sent to leads back to the page when it is opened by itself.
    let reopened = browser.open("/.auth/account/password");
    assert_eq!((reopened.status, reopened.header("location")), (303, Some(PAGE)));

    let stranger = gateway.get(PAGE, &[("accept", "application/json")]);
    assert_eq!(stranger.status, 401, "{stranger:?}");
    assert!(stranger.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Bearer")));
    assert_eq!(stranger.json()["code"], "unauthorized");
    let cookie = gateway.sign_in("alice");
    let told = gateway.get(PAGE, &[("accept", "application/json"), ("cookie", &cookie)]);
    let told = told.json();
    assert_eq!((&told["username"], &told["email"]), (&json!("alice"), &json!("alice@example.com")));
    assert_eq!(told["roles"], json!(["admin", "staff"]));
    let sessions = told["sessions"].as_array().expect("a list");
    assert_eq!(sessions.len(), 2, "{told}");
    assert_eq!(sessions.iter().filter(|session| session["current"] == json!(true)).count(), 1, "{told}");
    // A token is no session: it has no page.
    let token = format!("Bearer {}", gateway.token("alice"));
    assert_eq!(gateway.get(PAGE, &[("authorization", &token)]).status, 401);
}

#[test]
fn a_new_password_ends_everything_else_and_this_browser_goes_on_with_a_new_cookie() {
    let gateway = gateway("");
    let browser = signed_in(&gateway, "alice");
    let elsewhere = gateway.sign_in("alice");
    let bobs = gateway.sign_in("bob");
    let token = format!("Bearer {}", gateway.token("alice"));
    let page = browser.open(PAGE);
    for (form, status, says) in [
        (password_form(&page, "not the password", NEW), 403, "That is not your current password."),
        (password_form(&page, "", NEW), 400, "Enter your current password."),
        (password_form(&page, PASSWORD, ""), 400, "Enter a new password."),
        (password_form(&page, PASSWORD, NEW).with("password_again", "x"), 400, "are not the same"),
        (password_form(&page, PASSWORD, "short"), 400, "Use at least 8 characters."),
        (
            password_form(&page, PASSWORD, "password1"),
            400,
            "too easy to guess. It is, or is nearly, one that",
        ),
        (password_form(&page, PASSWORD, "alice@example.com"), 400, "Your own names and this site"),
    ] {
        let refused = browser.submit(&form);
        assert_eq!(refused.status, status, "{says}: {refused:?}");
        assert!(refused.text().contains(says), "{says}: {}", refused.text());
        assert!(refused.text().contains("<title>Error: "), "{}", refused.text());
        assert!(!refused.text().contains(NEW), "what was typed is not shown again");
    }
    let before = browser.cookie("foregate").expect("a session");
    assert_eq!(me(&gateway, &before), 200, "nothing has changed so far");

    let done = browser.submit(&password_form(&page, PASSWORD, NEW));
    assert_eq!((done.status, done.header("location")), (303, Some(PAGE)), "{done:?}");
    let after = browser.cookie("foregate").expect("a session");
    assert_ne!(before, after, "a copy of the cookie is worth nothing any more");
    assert_eq!((me(&gateway, &before), me(&gateway, &after)), (401, 200));
    assert_eq!(gateway.get("/.auth/me", &[("cookie", &elsewhere)]).status, 401, "the other session");
    assert_eq!(gateway.get("/", &[("authorization", &token)]).status, 401, "the token");
    assert_eq!(gateway.get("/.auth/me", &[("cookie", &bobs)]).status, 200, "nobody else's");
    let (shown, again) = (browser.open(PAGE), browser.open(PAGE));
    assert!(shown.text().contains("Your password is changed."), "{}", shown.text());
    assert!(!again.text().contains("Your password is changed."), "it is said once");
    assert_eq!(gateway.sign_in_with("alice", PASSWORD).status, 401);
    assert_eq!(gateway.sign_in_with("alice", NEW).status, 200);
}

#[test]
fn a_program_changes_the_password_by_json() {
    let gateway = gateway("");
    let cookie = gateway.sign_in("alice");
    let path = "/.auth/account/password";
    for (body, status, code) in [
        (json!({ "current_password": "not it", "password": NEW }), 403, "incorrect_password"),
        (json!({ "password": NEW }), 400, "bad_request"),
        (json!({ "current_password": PASSWORD }), 400, "bad_request"),
        (json!({ "current_password": PASSWORD, "password": "password1" }), 400, "weak_password"),
        (json!({ "current_password": PASSWORD, "password": "x".repeat(1025) }), 400, "weak_password"),
        (json!({ "current_password": 1, "password": NEW }), 400, "bad_request"),
    ] {
        let refused = post(&gateway, path, &cookie, &body);
        assert_eq!((refused.status, &refused.json()["code"]), (status, &json!(code)), "{refused:?}");
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    }
    let done = post(&gateway, path, &cookie, &json!({ "current_password": PASSWORD, "password": NEW }));
    assert_eq!(done.status, 204, "{done:?}");
    let renewed = done.cookie("foregate").expect("a new cookie");
    assert_eq!(gateway.get("/.auth/me", &[("cookie", &renewed)]).status, 200);
    let late = post(&gateway, path, &cookie, &json!({ "current_password": NEW, "password": PASSWORD }));
    assert_eq!((late.status, &late.json()["code"]), (401, &json!("unauthorized")), "{late:?}");
    assert_eq!(gateway.sign_in_with("alice", NEW).status, 200);
}

#[test]
fn who_has_stolen_a_session_can_not_guess_on() {
    let gateway = gateway("limits: { login: { per_account: 3/15m, per_ip: 100/15m } }\n");
    let cookie = gateway.sign_in("alice");
    let path = "/.auth/account/password";
    let guess = |password: &str| {
        post(&gateway, path, &cookie, &json!({ "current_password": password, "password": NEW }))
    };
    let statuses: Vec<u16> = (0..4).map(|n| guess(&format!("guess {n}")).status).collect();
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    let right = guess(PASSWORD);
    assert_eq!((right.status, &right.json()["code"]), (429, &json!("too_many_requests")));
    assert!(right.header("retry-after").is_some(), "{right:?}");
    // The counter is the login's own.
    assert_eq!(gateway.sign_in_with("alice", PASSWORD).status, 429);
    let browser = Browser::new(&gateway);
    browser.plant("foregate", cookie.split_once('=').expect("a pair").1);
    let page = browser.open(PAGE);
    let told = browser.submit(&password_form(&page, PASSWORD, NEW));
    assert_eq!(told.status, 429, "{told:?}");
    assert!(told.text().contains("Too many failed attempts. Please try again in "), "{}", told.text());
}

#[test]
fn a_form_sent_twice_does_what_it_does_once() {
    let gateway = gateway("");
    let browser = signed_in(&gateway, "alice");
    let page = browser.open(PAGE);
    let form = password_form(&page, PASSWORD, NEW);
    let cookies = browser.cookies();
    assert_eq!(browser.submit(&form).status, 303);
    // The second is on its way before the first is answered, with the cookies of before.
    let body = form.encoded();
    let html = ("accept", "text/html");
    let second = gateway.request("POST", &form.action, &[FORM, html, ("cookie", &cookies)], body.as_bytes());
    assert_eq!(
        (second.status, second.header("location")),
        (303, Some("/.auth/login?next=/.auth/account")),
        "{second:?}"
    );
    // The browser has the new cookie by then, and the login page sends it on.
    let on = browser.open("/.auth/login?next=/.auth/account");
    assert_eq!((on.status, on.header("location")), (303, Some(PAGE)));
    assert_eq!(browser.open(PAGE).status, 200);
    assert_eq!(gateway.sign_in_with("alice", NEW).status, 200);
}

#[test]
fn no_other_site_changes_anything() {
    let gateway = gateway("portal: { account_deletion: true }\n");
    let browser = signed_in(&gateway, "alice");
    let cookies = browser.cookies();
    let page = browser.open(PAGE);
    let id = gateway.get(PAGE, &[("cookie", &cookies)]).json()["sessions"][0]["id"].clone();
    let revoke = format!("/.auth/account/sessions/{}/revoke", id.as_str().expect("an id"));
    let fields = format!("current_password={PASSWORD}&password={NEW}&name=Mallory").replace(' ', "+");
    let whole = password_form(&page, PASSWORD, NEW).encoded();
    let body = json!({ "current_password": PASSWORD, "password": NEW, "name": "Mallory" }).to_string();
    for path in [
        "/.auth/account/password",
        "/.auth/account/profile",
        "/.auth/account/delete",
        "/.auth/account/sessions/revoke-others",
        &revoke,
    ] {
        let send = |headers: &[(&str, &str)], body: &str| {
            let headers = [headers, &[("cookie", cookies.as_str())]].concat();
            gateway.request("POST", path, &headers, body.as_bytes()).status
        };
        let html = ("accept", "text/html");
        // A form, with a token and without; from a sister host too.
        for from in [
            ("origin", "https://evil.test"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert_eq!(send(&[FORM, html, from], &whole), 403, "{path} {from:?}");
            // A script's request.
            assert_eq!(send(&[JSON, from], &body), 403, "{path} {from:?}");
        }
        // An old browser that says nothing of where it comes from.
        assert_eq!(send(&[FORM, html], &fields), 403, "{path}");
        assert_eq!(send(&[("content-type", "text/plain")], &body), 415, "{path}");
        assert_eq!(send(&[("content-type", "multipart/form-data; boundary=x")], ""), 415, "{path}");
        // A link, an image.
        let opened = gateway.get(path, &[("cookie", &cookies), ("sec-fetch-site", "cross-site"), html]);
        assert_eq!((opened.status, opened.header("location")), (303, Some(PAGE)), "{path}");
        let opened = gateway.get(path, &[("cookie", &cookies), ("sec-fetch-site", "cross-site")]);
        assert_eq!((opened.status, opened.header("allow")), (405, Some("POST")), "{path}");
        assert_eq!(gateway.request("DELETE", path, &[("cookie", &cookies)], b"").status, 405, "{path}");
    }
    let told = gateway.get(PAGE, &[("cookie", &cookies)]).json();
    assert_eq!((&told["name"], told["sessions"].as_array().map(Vec::len)), (&json!(""), Some(1)), "{told}");
    assert_eq!(gateway.sign_in_with("alice", PASSWORD).status, 200);
}

#[test]
fn a_page_that_was_open_for_too_long_is_shown_afresh() {
    let gateway = gateway("");
    let browser = signed_in(&gateway, "alice");
    let form = password_form(&browser.open(PAGE), PASSWORD, NEW).with("csrf_token", "of yesterday");
    let shown = browser.submit(&form);
    assert_eq!(shown.status, 403);
    assert!(
        shown.text().contains("This page was open for a while, and nothing was changed."),
        "{}",
        shown.text()
    );
    assert_eq!(browser.submit(&password_form(&shown, PASSWORD, NEW)).status, 303);
    // Overnight the session has ended as well: the login comes first, and back to the page.
    let old = password_form(&browser.open(PAGE), NEW, PASSWORD);
    browser.plant("foregate", &"A".repeat(43));
    let sent_on = browser.submit(&old);
    assert_eq!((sent_on.status, sent_on.header("location")), (303, Some("/.auth/login?next=/.auth/account")));
}

#[test]
fn a_form_of_a_megabyte_is_too_large() {
    let gateway = gateway("portal: { account_deletion: true }\n");
    let cookie = gateway.sign_in("alice");
    let body = format!("current_password={}", "x".repeat(1 << 20));
    for path in ["password", "profile", "delete", "sessions/revoke-others"] {
        let path = format!("/.auth/account/{path}");
        let reply = gateway.request("POST", &path, &[FORM, ("cookie", &cookie)], body.as_bytes());
        assert_eq!(reply.status, 413, "{path}: {reply:?}");
    }
    let reply = gateway.request("POST", "/.auth/password-strength", &[FORM], body.as_bytes());
    assert_eq!(reply.status, 413, "{reply:?}");
}

#[test]
fn the_name_can_be_changed_and_stays_text() {
    let gateway = gateway("");
    let browser = signed_in(&gateway, "alice");
    let name = "<b>Zoë</b> & \"co\"";
    let form = Form::to(&browser.open(PAGE), "/.auth/account/profile");
    assert_eq!(browser.submit(&form.clone().with("name", name)).status, 303);
    let page = browser.open(PAGE);
    assert!(
        page.text().contains("Your name is saved.") && !page.text().contains("<b>Zoë"),
        "{}",
        page.text()
    );
    assert_eq!(Form::to(&page, "/.auth/account/profile").value("name"), Some(name));
    let cookie = browser.cookies();
    // It holds from the next request on.
    assert_eq!(gateway.get("/.auth/me", &[("cookie", &cookie)]).json()["name"], name);
    for odd in ["a\u{0}b".to_owned(), "a\nb".to_owned(), "x".repeat(2000)] {
        let refused = browser.submit(&form.clone().with("name", &odd));
        assert_eq!(refused.status, 400, "{odd:?}: {refused:?}");
        let refused = post(&gateway, "/.auth/account/profile", &cookie, &json!({ "name": odd }));
        assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("bad_request")));
    }
    let refused = post(&gateway, "/.auth/account/profile", &cookie, &json!({}));
    assert_eq!(refused.status, 400, "nothing said is no empty name: {refused:?}");
    let told = post(&gateway, "/.auth/account/profile", &cookie, &json!({ "name": " Alice " }));
    assert_eq!((told.status, &told.json()["name"]), (200, &json!("Alice")));
    let told = post(&gateway, "/.auth/account/profile", &cookie, &json!({ "name": "" }));
    assert_eq!((told.status, &told.json()["name"]), (200, &json!("")), "it may be empty");
}

#[test]
fn an_account_is_deleted_by_its_person_where_that_is_allowed() {
    let closed = gateway("");
    let cookie = closed.sign_in("alice");
    let path = "/.auth/account/delete";
    assert_eq!(post(&closed, path, &cookie, &json!({ "current_password": PASSWORD })).status, 404);
    drop(closed);

    let gateway = gateway("portal: { account_deletion: true }\n");
    let browser = signed_in(&gateway, "alice");
    let elsewhere = gateway.sign_in("alice");
    let token = format!("Bearer {}", gateway.token("alice"));
    let form = Form::to(&browser.open(PAGE), path);
    let refused = browser.submit(&form.clone().with("current_password", "not it"));
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("That is not your current password."), "{}", refused.text());
    let gone = browser.submit(&form.with("current_password", PASSWORD));
    assert_eq!((gone.status, gone.header("location")), (303, Some("/.auth/login")), "{gone:?}");
    assert_eq!(browser.cookie("foregate"), None, "the cookie is taken away");
    assert!(browser.open("/.auth/login").text().contains("Your account is deleted."));
    assert_eq!(gateway.get("/.auth/me", &[("cookie", &elsewhere)]).status, 401);
    assert_eq!(gateway.get("/.auth/me", &[("authorization", &token)]).status, 401);
    assert_eq!(gateway.sign_in_with("alice", PASSWORD).status, 401);
    assert_eq!(gateway.command(&["user", "show", "alice"], "").status.code(), Some(1));

    let cookie = gateway.sign_in("bob");
    let done = post(&gateway, path, &cookie, &json!({ "current_password": PASSWORD }));
    assert_eq!(done.status, 204, "{done:?}");
    assert_eq!(gateway.get("/.auth/me", &[("cookie", &cookie)]).status, 401);
}

#[test]
fn the_person_is_told_by_mail_and_links_that_were_on_their_way_are_void() {
    let gateway = gateway(&format!("portal: {{ account_deletion: true }}\n{MAIL}"));
    let asked = gateway.request("POST", "/.auth/forgot", &[JSON], br#"{"email":"alice@example.com"}"#);
    assert_eq!(asked.status, 202, "{asked:?}");
    let link = last_mail_to(&gateway, "alice@example.com", 1).link("reset");
    assert_eq!(gateway.get(&link, &[]).status, 200, "it is good so far");
    let cookie = gateway.sign_in("alice");
    let body = json!({ "current_password": PASSWORD, "password": NEW });
    assert_eq!(post(&gateway, "/.auth/account/password", &cookie, &body).status, 204);
    let told = last_mail_to(&gateway, "alice@example.com", 2);
    assert!(told.text.contains("password of your account alice"), "{told:?}");
    assert!(!told.text.contains(NEW), "{told:?}");
    assert_eq!(gateway.get(&link, &[]).status, 400, "whoever has read the mail comes too late");

    let cookie = gateway.sign_in("bob");
    let body = json!({ "current_password": PASSWORD });
    assert_eq!(post(&gateway, "/.auth/account/delete", &cookie, &body).status, 204);
    let told = last_mail_to(&gateway, "bob@example.com", 1);
    assert!(told.text.contains("Your account bob at"), "{told:?}");
}

#[test]
fn how_strong_a_password_is_can_be_asked_while_it_is_typed() {
    let gateway = Gateway::start(
        "password: { min_score: 3, argon2: { memory: 7MiB, iterations: 1 } }\nupstreams: { app: \"http://127.0.0.1:9\" }\nroutes: [{ path: /**, upstream: app }]\n",
    );
    let ask = |body: &Value, more: &[(&str, &str)]| {
        let headers = [&[JSON], more].concat();
        gateway.request("POST", "/.auth/password-strength", &headers, body.to_string().as_bytes())
    };
    for (body, acceptable, says) in [
        (json!({ "password": "correct horse battery staple" }), true, "Strength: strong."),
        (
            json!({ "password": "password1" }),
            false,
            "Strength: very weak, too easy to guess. It is, or is nearly",
        ),
        (json!({ "password": "Liddell2024", "name": "Alice Liddell" }), false, "Your own names"),
        (json!({ "password": "short" }), false, "Use at least 8 characters."),
        (json!({ "password": "x".repeat(1025) }), false, "Use at most 1024 characters."),
        (json!({ "password": "x".repeat(9000) }), false, "Use at most 1024 characters."),
    ] {
        let told = ask(&body, &[]).json();
        assert_eq!(told["acceptable"], acceptable, "{body}: {told}");
        assert!(told["text"].as_str().is_some_and(|text| text.contains(says)), "{says}: {told}");
        assert!(told["score"].as_u64().is_some_and(|score| score <= 4), "{told}");
    }
    let german = ask(&json!({ "password": "password1" }), &[("accept-language", "de")]).json();
    assert!(german["text"].as_str().is_some_and(|text| text.contains("zu leicht zu erraten")), "{german}");
    assert_eq!(ask(&json!({}), &[]).status, 400);
    assert_eq!(ask(&json!({ "password": "x" }), &[("origin", "https://evil.test")]).status, 403);
    assert_eq!(gateway.get("/.auth/password-strength", &[]).status, 405);
    assert!(!gateway.log().contains("password1"), "it is in no log");
}

#[test]
fn the_well_known_address_leads_to_the_password_where_no_route_has_it() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ app: \"http://{}\" }}\nroutes:\n  - {{ path: /app/**, upstream: app }}\n  - {{ host: own.test, path: /**, access: public, upstream: app }}\n",
        upstream.address
    ));
    let path = "/.well-known/change-password";
    for method in ["GET", "HEAD"] {
        let reply = gateway.request(method, path, &[], b"");
        assert_eq!(
            (reply.status, reply.header("location")),
            (303, Some("/.auth/account#password")),
            "{method}"
        );
    }
    assert_eq!(gateway.request("POST", path, &[], b"").status, 404);
    let probe = "/.well-known/resource-that-should-not-exist-whose-status-code-should-not-be-200";
    assert_eq!(gateway.get(probe, &[]).status, 404);
    assert_eq!(gateway.get("/.well-known/change-password/x", &[]).status, 404);
    // An application with passwords of its own answers for itself.
    assert_eq!(gateway.get(path, &[("host", "own.test")]).status, 200);
    assert!(upstream.last().starts_with("GET /.well-known/change-password "), "{}", upstream.last());
}
