//! Who is signed in where: the list, and ending one session, one account's or everybody's.

use std::process::Output;

use serde_json::Value;

use crate::browser::{Browser, Form};
use crate::harness::{Gateway, PASSWORD, Reply, Upstream, foregate, run};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0";

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// The list of sessions by the command line.
fn listed(gateway: &Gateway, of: &[&str]) -> Vec<Value> {
    let arguments = [&["session", "list", "--json"], of].concat();
    let output = gateway.command(&arguments, "");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice::<Vec<Value>>(&output.stdout).expect("an array")
}

fn me(gateway: &Gateway, cookie: &str) -> Reply {
    gateway.get("/.auth/me", &[("cookie", cookie)])
}

#[test]
fn a_damaged_account_hides_nobodys_sessions_and_its_own_end_with_all() {
    let yaml = "upstreams: { app: \"http://127.0.0.1:9\" }\nroutes: [{ path: /**, upstream: app }]\n";
    let mut gateway = Gateway::start(yaml);
    for name in ["alice", "bob"] {
        gateway.add_user(name, &[]);
    }
    let sessions = [gateway.sign_in("alice"), gateway.sign_in("bob"), gateway.sign_in("bob")];
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    let db = sled::open(gateway.directory().join("data")).expect("an engine");
    let entry = db.get("Nbob").expect("a read").expect("an entry");
    assert!(db.insert([b"U", &entry[..]].concat(), b"?").expect("a row").is_some());
    db.flush().expect("a flush");
    drop(db);

    let gateway = Gateway::start_in(gateway.into_directory(), yaml);
    let output = gateway.command(&["session", "list"], "");
    let (out, told) = (stdout(&output), stderr(&output));
    assert_eq!((output.status.code(), out.matches("alice").count()), (Some(1), 1), "{out}{told}");
    assert_eq!(told.matches("can't be read").count(), 1, "{told}");
    assert!(!out.contains("bob") && told.contains("1 account was left out"), "{told}");
    let output = gateway.command(&["session", "revoke", "--all"], "");
    assert!(output.status.success() && stderr(&output).contains("3 sessions have ended"), "{output:?}");
    assert!(sessions.iter().all(|cookie| me(&gateway, cookie).status == 401));
}

#[test]
fn an_administrator_sees_and_ends_sessions() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(upstream.address, "");
    assert_eq!(listed(&gateway, &[]), Vec::<Value>::new());
    let output = gateway.command(&["session", "list"], "");
    assert_eq!((stdout(&output).as_str(), stderr(&output).as_str()), ("", "Nobody is signed in.\n"));

    gateway.add_user("alice", &[]);
    gateway.add_user("bob", &[]);
    let (first, second, bobs) = (gateway.sign_in("alice"), gateway.sign_in("alice"), gateway.sign_in("bob"));
    let of_alice = listed(&gateway, &["Alice@example.com"]);
    assert_eq!(of_alice.len(), 2);
    let everybodys = listed(&gateway, &[]);
    let names: Vec<_> = everybodys.iter().map(|session| session["username"].as_str()).collect();
    assert_eq!(names, [Some("alice"), Some("alice"), Some("bob")]);
    for session in &everybodys {
        assert_eq!((&session["address"], &session["remembered"]), (&"127.0.0.1".into(), &false.into()));
        // Neither the cookie nor what the store finds it by.
        assert_eq!(session["id"].as_str().map(str::len), Some(22), "{session}");
        for cookie in [&first, &second, &bobs] {
            let value = cookie.split('=').nth(1).expect("a value");
            assert!(!session.to_string().contains(value), "{session}");
        }
    }
    let shown = stdout(&gateway.command(&["user", "show", "alice"], ""));
    assert!(shown.contains("Sessions  2, last used at 20"), "{shown}");
    let shown: Value =
        serde_json::from_str(&stdout(&gateway.command(&["user", "show", "bob", "--json"], "")))
            .expect("JSON");
    assert_eq!(shown["sessions"]["count"], 1);

    // One.
    assert_eq!((me(&gateway, &first).status, me(&gateway, &second).status), (200, 200));
    let id = of_alice[0]["id"].as_str().expect("an id");
    let output = gateway.command(&["session", "revoke", "--id", id], "");
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), "1 session has ended.\n"));
    let left = [&first, &second].map(|cookie| me(&gateway, cookie).status);
    assert!(left == [200, 401] || left == [401, 200], "{left:?}");
    let output = gateway.command(&["session", "revoke", "--id", id], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("foregate session list"), "{output:?}");

    // One account's; its tokens stay.
    let token = format!("Bearer {}", gateway.token("alice"));
    let output = gateway.command(&["session", "revoke", "alice"], "");
    assert_eq!(stderr(&output), "1 session of `alice` has ended.\n");
    assert_eq!([&first, &second].map(|cookie| me(&gateway, cookie).status), [401, 401]);
    assert_eq!(me(&gateway, &bobs).status, 200);
    assert_eq!(gateway.get("/.auth/me", &[("authorization", &token)]).status, 200);
    let output = gateway.command(&["session", "revoke", "alcie"], "");
    assert!(stderr(&output).contains("did you mean `alice`?"), "{output:?}");

    // Everybody's.
    let again = gateway.sign_in("alice");
    let output = gateway.command(&["session", "revoke", "--all"], "");
    assert_eq!((stdout(&output).as_str(), stderr(&output).as_str()), ("", "2 sessions have ended.\n"));
    assert_eq!([&again, &bobs].map(|cookie| me(&gateway, cookie).status), [401, 401]);
    assert_eq!(listed(&gateway, &[]), Vec::<Value>::new());
}

/// The ids of the sessions that the account page tells a program, this one first.
fn own(gateway: &Gateway, cookie: &str) -> Vec<String> {
    let told = gateway.get("/.auth/account", &[("cookie", cookie)]).json();
    let mut sessions = told["sessions"].as_array().expect("a list").clone();
    sessions.sort_by_key(|session| session["current"] != Value::Bool(true));
    sessions.iter().map(|session| session["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn people_see_and_end_their_own_sessions_and_nobody_elses() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(upstream.address, "");
    gateway.add_user("alice", &[]);
    gateway.add_user("bob", &[]);
    let bobs = gateway.sign_in("bob");
    let body = serde_json::json!({ "username": "alice", "password": PASSWORD, "remember": true }).to_string();
    let signed_in = |agent: &str| {
        let headers = [("content-type", "application/json"), ("user-agent", agent)];
        let reply = gateway.request("POST", "/.auth/login", &headers, body.as_bytes());
        reply.cookie("foregate").expect("a session")
    };
    let phone = signed_in(
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
    );
    let odd = signed_in("<script>alert(1)</script>");
    let browser = Browser::new(&gateway);
    assert_eq!(browser.sign_in("alice").status, 303);
    let page = browser.open("/.auth/account");
    let text = page.text();
    for shown in [
        "Safari on iPhone",
        "&lt;script&gt;alert(1)",
        "Unknown device",
        "This device",
        "127.0.0.1",
        "remembered",
    ] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    assert_eq!(text.matches("This device").count(), 1);
    assert!(!text.contains("<script>alert(1)"), "{text}");
    for cookie in [&phone, &odd, &bobs, &browser.cookies()] {
        assert!(!text.contains(cookie.split('=').next_back().expect("a value")), "no cookie is shown");
    }

    // Somebody else's, one that never was, and what is no id: not there, and nothing happens.
    let post = |id: &str, cookie: &str| {
        let headers = [("content-type", "application/json"), ("cookie", cookie)];
        gateway.request("POST", &format!("/.auth/account/sessions/{id}/revoke"), &headers, b"{}").status
    };
    let of_bob = own(&gateway, &bobs)[0].clone();
    for id in [of_bob.as_str(), "AAAAAAAAAAAAAAAAAAAAAA", "x", "%2e%2e", ""] {
        let status = post(id, &browser.cookies());
        assert!(status == 404 || (id == "%2e%2e" && status == 400), "{id:?}: {status}");
    }
    assert_eq!([&bobs, &phone, &odd].map(|cookie| me(&gateway, cookie).status), [200; 3]);
    assert_eq!(post(&of_bob, &bobs.replace("foregate=", "other=")), 401, "without a session");

    // One of their own, by the page.
    let of_phone = own(&gateway, &phone)[0].clone();
    let revoke = format!("/.auth/account/sessions/{of_phone}/revoke");
    let done = browser.submit(&Form::to(&page, &revoke));
    assert_eq!((done.status, done.header("location")), (303, Some("/.auth/account")), "{done:?}");
    assert_eq!([&phone, &odd].map(|cookie| me(&gateway, cookie).status), [401, 200]);
    assert!(browser.open("/.auth/account").text().contains("That device is signed out."));
    // Once more, from a page that is old by now: it is gone, and that is all.
    let again = browser.submit(&Form::to(&page, &revoke));
    assert_eq!(again.status, 404);
    assert!(again.text().contains("This device is signed out already."), "{}", again.text());

    // All the others; then this one, which is signing out.
    let others = Form::to(&browser.open("/.auth/account"), "/.auth/account/sessions/revoke-others");
    assert_eq!(browser.submit(&others).status, 303);
    assert_eq!(me(&gateway, &odd).status, 401);
    let page = browser.open("/.auth/account");
    assert!(page.text().contains("You are signed out everywhere but here."), "{}", page.text());
    assert!(!page.text().contains("revoke-others"), "there are none");
    let this = own(&gateway, &browser.cookies())[0].clone();
    let done = browser.submit(&Form::to(&page, &format!("/.auth/account/sessions/{this}/revoke")));
    assert_eq!((done.status, done.header("location")), (303, Some("/.auth/login")), "{done:?}");
    assert_eq!(browser.cookie("foregate"), None);
    assert!(browser.open("/.auth/login").text().contains("You are signed out."));
    assert_eq!(me(&gateway, &bobs).status, 200);

    // By JSON it says how many.
    let (first, _second, third) = (signed_in("a"), signed_in("b"), signed_in("c"));
    let headers = [("content-type", "application/json"), ("cookie", first.as_str())];
    let told = gateway.request("POST", "/.auth/account/sessions/revoke-others", &headers, b"{}");
    assert_eq!((told.status, &told.json()["ended"]), (200, &2.into()), "{told:?}");
    assert_eq!([&first, &third].map(|cookie| me(&gateway, cookie).status), [200, 401]);
}

#[test]
fn sessions_are_listed_and_ended_without_a_server() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::in_front_of(upstream.address, "");
    gateway.add_user("alice", &[]);
    let body = format!(r#"{{"username":"alice","password":"{PASSWORD}"}}"#);
    let headers = [("content-type", "application/json"), ("user-agent", FIREFOX)];
    let reply = gateway.request("POST", "/.auth/login", &headers, body.as_bytes());
    assert_eq!(reply.status, 200, "{reply:?}");
    gateway.signal("TERM");
    gateway.wait();
    let config = gateway.config.clone();
    let command =
        |arguments: &[&str]| run(foregate().arg("--config").arg(&config).arg("session").args(arguments), "");
    let list = stdout(&command(&["list"]));
    let lines: Vec<&str> = list.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("ID "), "{list}");
    assert!(lines[1].contains("  alice     Firefox on Linux  127.0.0.1  20"), "{list}");
    let output = command(&["revoke", "--all"]);
    assert_eq!(stderr(&output), "1 session has ended.\n");
    assert_eq!(stderr(&command(&["list"])), "Nobody is signed in.\n");
    let output = command(&["revoke", "--all"]);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), "There was no session to end.\n"));
}
