//! Forgotten passwords, and the change of an address.

use std::time::Instant;

use crate::browser::{Browser, Form};
use crate::harness::{Gateway, PASSWORD, Reply, Upstream};
use crate::mailbox::{MAIL, last_mail_to, mails_to};
use crate::register::median;

const JSON: (&str, &str) = ("content-type", "application/json");
const NEW: &str = "another battery staple";

fn gateway() -> (Gateway, Upstream) {
    let upstream = Upstream::start();
    let yaml = format!(
        "{MAIL}limits: {{ registration: 10000/1h }}\nupstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app }}]\n",
        upstream.address
    );
    (Gateway::start(&yaml), upstream)
}

fn post(gateway: &Gateway, target: &str, body: &serde_json::Value) -> Reply {
    gateway.request("POST", target, &[JSON], body.to_string().as_bytes())
}

fn forgot(gateway: &Gateway, email: &str) -> Reply {
    post(gateway, "/.auth/forgot", &serde_json::json!({ "email": email }))
}

fn code(reply: &Reply) -> String {
    reply.json()["code"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_forgotten_password_is_set_by_a_link_that_works_once_and_ends_what_was_open() {
    let (gateway, _upstream) = gateway();
    gateway.add_user("alice", &[]);
    let session = gateway.sign_in("alice");
    let token = format!("Bearer {}", gateway.token("alice"));
    let is_in = |headers: &[(&str, &str)]| gateway.get("/.auth/me", headers).status == 200;
    assert!(is_in(&[("cookie", &session)]) && is_in(&[("authorization", &token)]));

    let browser = Browser::new(&gateway);
    let login = browser.open("/.auth/login");
    assert!(login.text().contains("/.auth/forgot"), "{login:?}");
    let asked =
        browser.submit(&Form::read(&browser.open("/.auth/forgot")).with("email", "Alice@Example.com"));
    assert_eq!((asked.status, asked.header("location")), (303, Some("/.auth/login")), "{asked:?}");
    assert!(browser.open("/.auth/login").text().contains("If there is an account with this address"));
    let first = last_mail_to(&gateway, "lice@", 1).link("reset?token=");
    assert_eq!(forgot(&gateway, "alice@example.com").status, 202);
    let link = last_mail_to(&gateway, "lice@", 2).link("reset?token=");
    assert_eq!(browser.open(&first).status, 400, "the newer link voids it");

    for _ in 0..2 {
        assert_eq!(browser.open(&link).status, 200, "to look changes nothing");
    }
    let form = Form::read(&browser.open(&link)).with("password", NEW).with("password_again", NEW);
    assert_eq!(browser.submit(&form).status, 303);
    assert!(browser.open("/.auth/login").text().contains("Your password is set"));
    assert!(!is_in(&[("cookie", &session)]) && !is_in(&[("authorization", &token)]), "both have ended");
    assert_eq!(gateway.sign_in_with("alice", PASSWORD).status, 401);
    assert_eq!(gateway.sign_in_with("alice", NEW).status, 200);
    assert_eq!(
        code(&post(&gateway, &link, &serde_json::json!({ "password": PASSWORD }))),
        "invalid_link",
        "once"
    );
    let told = last_mail_to(&gateway, "lice@", 3);
    assert!(!told.text.contains("reset?token="), "a notice, and no link that opens anything: {told:?}");
}

#[test]
fn known_and_unknown_addresses_are_one_answer_in_the_same_time() {
    let (gateway, _upstream) = gateway();
    for n in 0..60 {
        gateway.add_user(&format!("known{n:02}"), &[]);
    }
    assert!(gateway.command(&["user", "disable", "known59"], "").status.success());
    let answers: Vec<String> = ["known00@example.com", "nobody0@example.com", "known59@example.com"]
        .iter()
        .map(|email| {
            let mut reply = forgot(&gateway, email);
            reply.headers.retain(|(name, _)| name != "date" && name != "x-request-id");
            format!("{reply:?}")
        })
        .collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");

    let mut next = 1;
    let mut ratio = || {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..19 {
            for (kind, times) in ["known", "nobod"].iter().zip(&mut times) {
                let email = format!("{kind}{next:02}@example.com");
                let began = Instant::now();
                assert_eq!(forgot(&gateway, &email).status, 202);
                times.push(began.elapsed());
            }
            next += 1;
        }
        let [known, unknown] = times.map(median);
        known.as_secs_f64() / unknown.as_secs_f64()
    };
    let measured: Vec<f64> = std::iter::repeat_with(&mut ratio).take(3).collect();
    assert!(measured.iter().any(|ratio| (0.7..=1.4).contains(ratio)), "{measured:?}");
    assert!(mails_to(&gateway, "nobod", 0).is_empty() && mails_to(&gateway, "known59", 0).is_empty());
    mails_to(&gateway, "known30@example.com", 1);
}

#[test]
fn what_is_no_address_is_told_so_and_what_is_no_link_does_nothing() {
    let (gateway, _upstream) = gateway();
    for name in ["alice", "bob"] {
        gateway.add_user(name, &[]);
        assert_eq!(forgot(&gateway, &format!("{name}@example.com")).status, 202);
    }
    for email in ["", "alice", "a@b@c"] {
        assert_eq!(code(&forgot(&gateway, email)), "bad_request", "{email:?}");
    }
    let link = last_mail_to(&gateway, "alice@example.com", 1).link("reset?token=");
    let body = serde_json::json!({ "password": NEW });
    let cut = &link[..link.len() - 1];
    let confirm = link.replace("/reset?", "/confirm?");
    for bad in [cut, &format!("{link}A"), "/.auth/reset?token=", "/.auth/reset", &confirm] {
        let reply = post(&gateway, bad, &body);
        assert_eq!(reply.status, 400, "{bad}: {reply:?}");
    }
    assert_eq!(post(&gateway, &link, &serde_json::json!({ "password": "short" })).status, 400);
    // A link for one account is good for that one alone, and void once the password was changed otherwise.
    assert!(gateway.command(&["user", "set", "alice", "--password-stdin"], NEW).status.success());
    assert_eq!(code(&post(&gateway, &link, &body)), "invalid_link");
    let link = last_mail_to(&gateway, "bob@example.com", 1).link("reset?token=");
    assert!(gateway.command(&["user", "set", "bob", "--email", "robert@example.com"], "").status.success());
    assert_eq!(code(&post(&gateway, &link, &body)), "invalid_link", "the mailbox is somebody else's by now");
    assert_eq!(gateway.sign_in_with("bob", PASSWORD).status, 200);
}

#[test]
fn nobody_keeps_a_person_from_a_new_password_by_asking_for_ever_new_links() {
    let (gateway, _upstream) = gateway();
    gateway.add_user("alice", &[]);
    for _ in 0..12 {
        assert_eq!(forgot(&gateway, "alice@example.com").status, 202);
    }
    let mails = mails_to(&gateway, "alice@example.com", 5);
    assert_eq!(mails.len(), 5, "a mailbox gets so many an hour");
    let works =
        mails.iter().filter(|mail| gateway.get(&mail.link("reset?token="), &[]).status == 200).count();
    assert_eq!(works, 1, "the link in the last mail is the one that works");
}

#[test]
fn a_new_address_holds_once_it_is_confirmed_and_the_old_one_is_told() {
    let (gateway, upstream) = gateway();
    gateway.add_user("alice", &[]);
    gateway.add_user("bob", &[]);
    let session = gateway.sign_in("alice");
    let change = |password: &str, email: &str| {
        let body = serde_json::json!({ "current_password": password, "email": email }).to_string();
        gateway.request("POST", "/.auth/account/email", &[JSON, ("cookie", &session)], body.as_bytes())
    };
    let anonymous = post(
        &gateway,
        "/.auth/account/email",
        &serde_json::json!({ "current_password": PASSWORD, "email": "a@b.c" }),
    );
    assert_eq!(anonymous.status, 401);
    assert_eq!(change("wrong password", "new@example.com").status, 403);
    assert_eq!(change(PASSWORD, "no address").status, 400);
    assert_eq!(change(PASSWORD, "alice@example.com").status, 400, "it is that already");

    // An address of somebody else's is not told from a free one; its owner hears of it.
    let free = change(PASSWORD, "new@example.com");
    let older = last_mail_to(&gateway, "new@example.com", 1).link("confirm?token=");
    let taken = change(PASSWORD, "bob@example.com");
    assert_eq!((free.status, taken.status, free.text()), (202, 202, taken.text()));
    assert_eq!(gateway.get(&older, &[]).status, 400, "either voids the link before it");
    assert_eq!(change(PASSWORD, "new@example.com").status, 202);
    assert!(last_mail_to(&gateway, "bob@example.com", 1).text.contains("/.auth/login"));
    let told = mails_to(&gateway, "alice@example.com", 3);
    assert!(told.iter().any(|mail| mail.text.contains("new@example.com")), "the old one is told: {told:?}");
    let link = last_mail_to(&gateway, "new@example.com", 2).link("confirm?token=");
    assert_eq!(gateway.sign_in_with("new@example.com", PASSWORD).status, 401, "not yet");
    gateway.get("/", &[("cookie", &session)]);
    assert!(upstream.last().to_lowercase().contains("remote-email: alice@example.com"));

    let browser = Browser::new(&gateway);
    let page = browser.open(&link);
    assert!(page.text().contains("new@example.com"), "{page:?}");
    assert_eq!(browser.submit(&Form::read(&page)).status, 303);
    gateway.get("/", &[("cookie", &session)]);
    assert!(
        upstream.last().to_lowercase().contains("remote-email: new@example.com"),
        "from the next request on"
    );
    assert_eq!(gateway.sign_in_with("new@example.com", PASSWORD).status, 200);
    assert_eq!(gateway.sign_in_with("alice@example.com", PASSWORD).status, 401, "the old one is free");
    assert_eq!(
        mails_to(&gateway, "alice@example.com", 4).len(),
        4,
        "three for what was asked, one for what happened"
    );
    assert_eq!(browser.open(&link).status, 400, "once");
}

#[test]
fn without_mail_nobody_gives_themselves_an_address() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(upstream.address, "");
    gateway.add_user("alice", &[]);
    let session = gateway.sign_in("alice");
    let body = serde_json::json!({ "current_password": PASSWORD, "email": "boss@corp.example" }).to_string();
    let asked =
        gateway.request("POST", "/.auth/account/email", &[JSON, ("cookie", &session)], body.as_bytes());
    assert_eq!(asked.status, 404, "{asked:?}");
    gateway.get("/", &[("cookie", &session)]);
    assert!(upstream.last().to_lowercase().contains("remote-email: alice@example.com"));
}

#[test]
fn a_new_address_is_claimed_by_whoever_confirms_it_first() {
    let (gateway, _upstream) = gateway();
    for name in ["alice", "bob"] {
        gateway.add_user(name, &[]);
        let session = gateway.sign_in(name);
        let body =
            serde_json::json!({ "current_password": PASSWORD, "email": "same@example.com" }).to_string();
        let asked =
            gateway.request("POST", "/.auth/account/email", &[JSON, ("cookie", &session)], body.as_bytes());
        assert_eq!(asked.status, 202, "{asked:?}");
    }
    let links: Vec<String> =
        mails_to(&gateway, "same@example.com", 2).iter().map(|mail| mail.link("confirm?token=")).collect();
    let confirm = |link: &str| post(&gateway, link, &serde_json::json!({}));
    assert_eq!(confirm(&links[0]).status, 204);
    let late = confirm(&links[1]);
    assert_eq!((late.status, code(&late).as_str()), (409, "taken"), "{late:?}");
    assert_eq!(gateway.sign_in_with("bob@example.com", PASSWORD).status, 200, "it keeps the one that it had");
}

#[test]
fn the_page_for_another_address_asks_for_the_password_and_keeps_what_was_typed() {
    let (gateway, _upstream) = gateway();
    gateway.add_user("alice", &[]);
    let browser = Browser::new(&gateway);
    let away = browser.open("/.auth/account/email");
    assert_eq!(
        (away.status, away.header("location")),
        (303, Some("/.auth/login?next=/.auth/account/email")),
        "{away:?}"
    );
    assert_eq!(browser.sign_in("alice").status, 303);
    let page = browser.open("/.auth/account/email");
    assert!(page.status == 200 && page.text().contains("alice@example.com"), "{page:?}");
    let form = Form::read(&page).with("email", "new@example.com").with("current_password", "wrong password");
    let wrong = browser.submit(&form);
    assert_eq!(wrong.status, 403, "{wrong:?}");
    assert_eq!(Form::read(&wrong).value("email"), Some("new@example.com"));
    let done = browser.submit(&Form::read(&wrong).with("current_password", PASSWORD));
    assert_eq!((done.status, done.header("location")), (303, Some("/.auth/account")), "{done:?}");
}
