//! No password, cookie, token or link in a log line or an error, at any level of the log.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::browser::{Browser, Form};
use crate::harness::{Gateway, Upstream};

const RIGHT: &str = "Zebra-Quilt-7c1e9b-right";
const WRONG: &str = "Zebra-Quilt-7c1e9b-wrong";
const NEXT: &str = "Zebra-Quilt-7c1e9b-next-one";
const QUERY: &str = "zq7c1e9b-in-the-query";
const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn no_secret_is_in_the_log_nor_in_what_commands_say() {
    let upstream = Upstream::start();
    for level in ["trace", "debug"] {
        let mut gateway = Gateway::start(&format!(
            "log: {{ level: {level}, audit: audit.jsonl }}\n\
             upstreams: {{ app: \"http://{}\", dead: \"http://127.0.0.1:9\" }}\nroutes:\n\
             \x20 - {{ path: /dead, access: public, upstream: dead }}\n\
             \x20 - {{ path: /**, upstream: app, credentials: [session, bearer, basic] }}\n",
            upstream.address
        ));
        let mut secrets: Vec<String> = [RIGHT, WRONG, NEXT, QUERY].map(str::to_owned).to_vec();
        let mut said = String::new();
        let mut command = |arguments: &[&str], input: &str| {
            let output = gateway.command(arguments, input);
            said += &String::from_utf8_lossy(&output.stderr);
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        command(&["user", "add", "alice", "--email", "alice@example.com", "--password-stdin"], RIGHT);
        command(&["user", "add", "alice", "--password-stdin"], RIGHT);
        command(&["user", "set", "nobody", "--password-stdin"], WRONG);
        command(&["user", "add", "dave", "--password", RIGHT], "");
        let hash = format!("$argon2id$v=19$m=1$t{QUERY}");
        command(&["user", "add", "dave", "--password-hash", &hash], "");
        let link = command(&["user", "add", "bob"], "");
        let link = link.trim();
        let reset = &link[link.find("/.auth/").expect("a path")..];
        secrets.push(link.rsplit('=').next().expect("a token").to_owned());

        let browser = Browser::new(&gateway);
        let form = Form::read(&browser.open(&format!("/.auth/login?next=/a%3Fx={QUERY}")));
        secrets.push(form.value("csrf_token").expect("a token").to_owned());
        browser.submit(&form.clone().with("username", "alice").with("password", WRONG));
        browser
            .submit(&form.clone().with("username", "alice").with("password", RIGHT).with("csrf_token", "x"));
        assert_eq!(browser.submit(&form.with("username", "alice").with("password", RIGHT)).status, 303);
        let cookie = browser.cookie("foregate").expect("a cookie");
        secrets.push(cookie.clone());
        secrets.push(browser.cookie("foregate-csrf").expect("a cookie"));
        gateway.sign_in_with("alice", WRONG);
        let body = json!({ "username": "alice", "password": RIGHT }).to_string();
        let token = gateway.request("POST", "/.auth/token", &[JSON], body.as_bytes()).json();
        let token = token["access_token"].as_str().expect("a token").to_owned();
        // The signature alone would do, with the rest of it.
        secrets.push(token.rsplit('.').next().expect("a signature").to_owned());
        let (right, wrong) =
            (STANDARD.encode(format!("alice:{RIGHT}")), STANDARD.encode(format!("alice:{WRONG}")));
        for value in [
            format!("Bearer {token}"),
            format!("Bearer {token}x"),
            format!("Bearer {cookie}"),
            format!("Basic {right}"),
            format!("Basic {wrong}"),
            format!("Nonsense {RIGHT}"),
        ] {
            gateway.get("/a", &[("authorization", &value)]);
        }
        secrets.extend([right, wrong]);
        let with_cookie = format!("foregate={cookie}");
        for target in [
            format!("/a?access_token={token}&password={QUERY}"),
            format!("/dead?{QUERY}"),
            format!("/.auth/me?{QUERY}"),
            format!("/a/../b?{QUERY}"),
            format!("/.auth/reset?token={QUERY}"),
            format!("/a?{QUERY}#x"),
            format!("http://elsewhere.test/?{QUERY}"),
        ] {
            gateway.get(&target, &[("cookie", &with_cookie)]);
        }
        // Broken ones, too.
        gateway.send(
            format!("GET /a?{QUERY} HTTP/1.1\r\nhost: a\r\nhost: b\r\ncookie: {with_cookie}\r\n\r\n")
                .as_bytes(),
        );
        gateway.send(format!("POST /.auth/login HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n{RIGHT}").as_bytes());
        gateway.send(
            format!("GET /a?{QUERY}\x01 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n")
                .as_bytes(),
        );
        gateway.request("POST", "/.auth/token", &[JSON], format!("{{\"password\":\"{RIGHT}\"").as_bytes());
        let set = |password: &str| json!({ "password": password }).to_string();
        gateway.request("POST", reset, &[JSON], set("short").as_bytes());
        assert_eq!(gateway.request("POST", reset, &[JSON], set(NEXT).as_bytes()).status, 204);
        gateway.request("POST", reset, &[JSON], set(NEXT).as_bytes());
        browser.submit(&Form::read(&browser.open("/.auth/logout")));
        gateway.signal("TERM");
        assert_eq!(gateway.wait(), Some(0), "{}", gateway.log());

        let log = gateway.log();
        assert!(log.contains("/.auth/login") && log.contains("alice"), "it was logged: {log}");
        let trail = std::fs::read_to_string(gateway.directory().join("audit.jsonl")).expect("a trail");
        assert!(trail.contains("login_failed") && trail.contains("password_reset"), "{trail}");
        for (what, text) in [("the log", &log), ("the commands", &said), ("the audit trail", &trail)] {
            for secret in &secrets {
                let at = text.find(secret.as_str());
                assert!(
                    at.is_none(),
                    "{what} at {level} says {secret}: {}",
                    text.lines().find(|line| line.contains(secret.as_str())).unwrap_or_default()
                );
            }
        }
    }
}
