//! Registration: who may, what is told, and what a mail is needed for.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::browser::{Browser, Form};
use crate::harness::{Gateway, PASSWORD, Reply, Upstream, wait_until};
use crate::mailbox::{MAIL, last_mail_to, mails_to};

const JSON: (&str, &str) = ("content-type", "application/json");

/// With this `registration` and mails, in front of an upstream.
fn gateway(registration: &str) -> (Gateway, Upstream) {
    let upstream = Upstream::start();
    let yaml = format!(
        "{MAIL}registration: {{ {registration} }}\nlimits: {{ registration: 1000/1h, login: {{ per_account: 1000/1m, per_ip: 10000/1m }} }}\n\
         upstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app, credentials: [session, bearer, basic] }}]\n",
        upstream.address
    );
    (Gateway::start(&yaml), upstream)
}

fn body(name: &str, email: &str) -> String {
    serde_json::json!({ "username": name, "email": email, "name": "Some Body", "password": PASSWORD })
        .to_string()
}

fn register(gateway: &Gateway, name: &str, email: &str) -> Reply {
    gateway.request("POST", "/.auth/register", &[JSON], body(name, email).as_bytes())
}

fn post(gateway: &Gateway, target: &str, body: &str) -> Reply {
    gateway.request("POST", target, &[JSON], body.as_bytes())
}

fn code(reply: &Reply) -> String {
    reply.json()["code"].as_str().unwrap_or_default().to_owned()
}

/// Status and body without what is of this request alone.
fn comparable(reply: &Reply, own: &[&str]) -> String {
    let mut text = reply.text();
    for word in own {
        text = text.replace(word, "X");
    }
    let text = match text.find("request_id") {
        Some(at) => text[..at].to_owned(),
        None => text,
    };
    let names: Vec<_> = reply.headers.iter().map(|(name, _)| name.as_str()).collect();
    format!("{} {names:?} {text}", reply.status)
}

#[test]
fn closed_is_as_if_there_were_no_such_page() {
    let (gateway, _upstream) = gateway("mode: closed");
    assert_eq!(gateway.get("/.auth/register", &[]).status, 404);
    assert_eq!(register(&gateway, "alice", "alice@example.com").status, 404);
    let page = Browser::new(&gateway).open("/.auth/login").text();
    assert!(!page.contains("/.auth/register") && page.contains("/.auth/forgot"), "{page}");
    let invited = gateway.command(&["user", "invite", "eve@example.com"], "");
    assert_eq!(invited.status.code(), Some(1), "{invited:?}");
    assert!(String::from_utf8_lossy(&invited.stderr).contains("registration is closed"), "{invited:?}");
}

#[test]
fn a_person_registers_confirms_by_mail_and_signs_in() {
    let (gateway, upstream) = gateway("mode: open, roles: [member]");
    let browser = Browser::new(&gateway);
    let login = browser.open("/.auth/login?next=/deep");
    assert!(login.text().contains("/.auth/register?next=/deep"), "{login:?}");
    let page = browser.open("/.auth/register?next=/deep");
    assert_eq!(page.status, 200, "{page:?}");
    let form = Form::read(&page)
        .with("username", " Zoë ")
        .with("email", "Zoe@Example.com")
        .with("name", "<b>Zoë</b>")
        .with("password", PASSWORD);
    let made = browser.submit(&form);
    assert_eq!((made.status, made.header("location")), (303, Some("/.auth/login?next=/deep")), "{made:?}");
    assert!(browser.open("/.auth/login").text().contains("Please look into your mailbox"));
    assert!(!browser.open("/.auth/login").text().contains("Please look into your mailbox"), "once");

    // The right password is told what is missing, a wrong one nothing.
    let waiting = browser.submit(
        &Form::read(&browser.open("/.auth/login")).with("username", "zoë").with("password", PASSWORD),
    );
    assert_eq!(waiting.status, 403, "{waiting:?}");
    assert!(waiting.text().contains("Confirm your address first"), "{waiting:?}");
    assert!(waiting.cookie("foregate").is_none(), "no session");
    let wrong = gateway.sign_in_with("zoë", "wrong password");
    assert_eq!((wrong.status, code(&wrong)), (401, "incorrect_credentials".into()));

    // Its button asks for another link, and voids the first.
    let first = last_mail_to(&gateway, "Zoe@Example.com", 1).link("confirm?token=");
    let resent = browser.submit(&Form::read(&waiting));
    assert_eq!(resent.status, 303, "{resent:?}");
    let link = last_mail_to(&gateway, "Zoe@Example.com", 2).link("confirm?token=");
    assert_ne!(first, link);
    assert_eq!(browser.open(&first).status, 400, "the older link is void");

    // To look changes nothing, however often.
    for _ in 0..3 {
        let page = Browser::new(&gateway).open(&link);
        assert!(page.status == 200 && page.text().contains("Zoe@Example.com"), "{page:?}");
    }
    assert_eq!(code(&gateway.sign_in_with("zoë", PASSWORD)), "unconfirmed");
    let confirmed = browser.submit(&Form::read(&browser.open(&link)));
    assert_eq!(
        (confirmed.status, confirmed.header("location")),
        (303, Some("/.auth/login")),
        "{confirmed:?}"
    );
    assert!(browser.open("/.auth/login").text().contains("Your address is confirmed"));
    assert_eq!(browser.open(&link).status, 400, "once");
    assert_eq!(browser.sign_in("zoe@example.com").status, 303, "by the address as well");
    assert_eq!(browser.open("/").status, 200);
    let seen = upstream.last().to_lowercase();
    assert!(seen.contains("remote-groups: member"), "{seen}");
}

#[test]
fn unconfirmed_and_waiting_are_told_at_every_door_and_let_in_at_none() {
    let (gateway, _upstream) = gateway("mode: approval");
    assert_eq!(register(&gateway, "alice", "alice@example.com").json()["next"], "confirm");
    let token = |name: &str| {
        post(
            &gateway,
            "/.auth/token",
            &serde_json::json!({ "username": name, "password": PASSWORD }).to_string(),
        )
    };
    let basic = |name: &str| {
        let pair = STANDARD.encode(format!("{name}:{PASSWORD}"));
        gateway.get("/", &[("authorization", &format!("Basic {pair}"))]).status
    };
    let check = |expected: &str, sentence: &str| {
        let login = gateway.sign_in_with("alice", PASSWORD);
        assert_eq!((login.status, code(&login).as_str()), (403, expected), "{login:?}");
        let token = token("alice");
        assert_eq!((token.status, token.json()["error"].as_str()), (400, Some("invalid_grant")), "{token:?}");
        assert!(token.text().contains(sentence), "{token:?}");
        assert_eq!(basic("alice"), 401);
    };
    check("unconfirmed", "not confirmed");
    // By the address as by the name, in any spelling.
    for login in ["alice@example.com", "Alice@EXAMPLE.com", "ALICE"] {
        assert_eq!(code(&gateway.sign_in_with(login, PASSWORD)), "unconfirmed", "{login}");
        assert_eq!(gateway.sign_in_with(login, "wrong password").status, 401, "{login}");
    }

    let link = last_mail_to(&gateway, "alice@example.com", 1).link("confirm?token=");
    assert_eq!(post(&gateway, &link, "{}").status, 204);
    assert_eq!(code(&post(&gateway, &link, "{}")), "invalid_link", "once");
    check("waiting_for_approval", "approval");
    let listed = gateway.command(&["user", "list", "--waiting"], "");
    assert!(String::from_utf8_lossy(&listed.stdout).contains("alice"), "{listed:?}");

    assert!(gateway.command(&["user", "approve", "alice"], "").status.success());
    let approved = last_mail_to(&gateway, "alice@example.com", 2);
    assert!(approved.text.contains("/.auth/login"), "{approved:?}");
    assert_eq!(gateway.sign_in_with("alice@example.com", PASSWORD).status, 200);
    assert_eq!((token("alice").status, basic("alice")), (200, 200));
    // A disabled one looks like a wrong password again.
    assert!(gateway.command(&["user", "disable", "alice"], "").status.success());
    assert_eq!(code(&gateway.sign_in_with("alice", PASSWORD)), "incorrect_credentials");
}

#[test]
fn a_taken_name_is_told_and_a_taken_address_is_not() {
    let (gateway, _upstream) = gateway("mode: open");
    gateway.add_user("owner", &[]);
    let taken = register(&gateway, "OWNER", "other@example.com");
    assert_eq!((taken.status, code(&taken).as_str()), (409, "taken"));
    let browser = Browser::new(&gateway);
    let form = Form::read(&browser.open("/.auth/register"))
        .with("username", "owner")
        .with("email", "<other>@example.com")
        .with("name", "A \"B\" <i>")
        .with("password", PASSWORD);
    assert_eq!(browser.submit(&form).status, 400, "no address");
    let page = browser.submit(&form.with("email", "other@example.com"));
    assert_eq!(page.status, 409, "{page:?}");
    let kept = Form::read(&page);
    assert!(page.text().contains("This username is taken"), "{page:?}");
    let value = |name: &str| kept.value(name).unwrap_or_default().to_owned();
    assert_eq!(
        (value("email"), value("name"), value("password")),
        ("other@example.com".into(), "A \"B\" <i>".into(), String::new())
    );

    let unknown = register(&gateway, "mallory1", "unknown@example.com");
    let known = register(&gateway, "mallory2", "OWNER@example.com");
    assert_eq!(unknown.status, 201, "{unknown:?}");
    let own = ["mallory1", "mallory2", "unknown@example.com", "OWNER@example.com"];
    assert_eq!(comparable(&known, &own), comparable(&unknown, &own));
    let told = last_mail_to(&gateway, "owner@example.com", 1);
    assert!(told.text.contains("owner") && told.text.contains("/.auth/forgot"), "{told:?}");
    // What can be asked afterwards is answered alike as well: by the name, by the address, by a second try.
    for name in ["mallory1", "mallory2"] {
        assert_eq!(code(&gateway.sign_in_with(name, PASSWORD)), "unconfirmed", "{name}");
        assert_eq!(register(&gateway, name, "third@example.com").status, 409, "{name}");
    }
    for address in ["unknown@example.com", "owner@example.com"] {
        assert_eq!(gateway.sign_in_with(address, "another password").status, 401, "{address}");
    }
    assert_eq!(gateway.sign_in_with("owner", PASSWORD).status, 200, "the owner's account is as it was");
}

#[test]
fn an_address_that_a_stranger_never_confirmed_is_still_its_owners() {
    let (gateway, _upstream) = gateway("mode: open");
    let address = "vic@example.com";
    assert_eq!(register(&gateway, "stranger", address).status, 201);
    let strangers = last_mail_to(&gateway, address, 1).link("confirm?token=");
    assert_eq!(register(&gateway, "vic", address).status, 201);
    let first = last_mail_to(&gateway, address, 2);
    assert!(first.text.contains("vic") && !first.text.contains("stranger"), "{first:?}");
    // Another link may be asked for, by either name.
    assert_eq!(post(&gateway, "/.auth/confirm/resend", r#"{"username":"vic"}"#).status, 202);
    let link = last_mail_to(&gateway, address, 3).link("confirm?token=");
    let browser = Browser::new(&gateway);
    assert_eq!(browser.open(&first.link("confirm?token=")).status, 400, "the older link is void");

    let page = browser.open(&link);
    assert!(page.status == 200 && page.text().contains(address), "{page:?}");
    assert_eq!(browser.submit(&Form::read(&page)).status, 303);
    for login in ["vic", address] {
        assert_eq!(gateway.sign_in_with(login, PASSWORD).status, 200, "{login}");
    }
    assert_eq!(browser.open(&strangers).status, 400, "nothing in the mailbox is the stranger's any more");
    assert_eq!(code(&gateway.sign_in_with("stranger", PASSWORD)), "unconfirmed");
    assert_eq!(post(&gateway, "/.auth/confirm/resend", r#"{"username":"stranger"}"#).status, 202);
    // Mails go out in their order: one that was asked for later is there, and none before it.
    assert_eq!(register(&gateway, "later", "later@example.com").status, 201);
    last_mail_to(&gateway, "later@example.com", 1);
    assert_eq!(mails_to(&gateway, address, 3).len(), 3, "and none comes");
}

#[test]
fn an_address_answers_whoever_registered_with_it_alike_whether_or_not_it_has_an_account() {
    let upstream = Upstream::start();
    let yaml = format!(
        "{MAIL}log: {{ audit: audit.jsonl }}\nregistration: {{ mode: open }}\n\
         limits: {{ login: {{ per_account: 3/10m, per_ip: 1000/1m }} }}\n\
         upstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app }}]\n",
        upstream.address
    );
    let gateway = Gateway::start(&yaml);
    gateway.add_user("owner", &[]);
    let own = "a horse of another colour";
    let mut told = Vec::new();
    for (name, address) in [("mallory1", "free@example.com"), ("mallory2", "owner@example.com")] {
        let body = serde_json::json!({ "username": name, "email": address, "password": own }).to_string();
        assert_eq!(post(&gateway, "/.auth/register", &body).status, 201);
        let mut seen = Vec::new();
        let mut try_in = |login: &str, password: &str| {
            let reply = gateway.sign_in_with(login, password);
            seen.push((reply.status, code(&reply), reply.header("retry-after").is_some()));
        };
        let shouted = address.to_uppercase();
        for login in [address, &shouted, name] {
            try_in(login, own);
        }
        // What fails counts for every spelling, and a right one clears nothing of it. By the address the right one
        // counts as well: it may be a guess at the owner's.
        for login in [address, name, &shouted] {
            try_in(login, "wrong password");
        }
        for login in [name, address, &shouted] {
            try_in(login, own);
        }
        told.push(seen);
    }
    assert_eq!(told[0], told[1]);
    let statuses: Vec<_> = told[0].iter().map(|(status, ..)| *status).collect();
    assert_eq!(statuses, [403, 403, 403, 401, 401, 429, 403, 429, 429], "{told:?}");
    let of_the_owner = || {
        let trail = gateway.command(&["audit", "--json", "--user", "owner", "--event", "login_failed"], "");
        String::from_utf8_lossy(&trail.stdout).into_owned()
    };
    // What was right at the stand-in is in the trail as well.
    wait_until(|| of_the_owner().lines().count() == 3, || format!("not three: {}", of_the_owner()));
    // Also by who tries the name of the one that stands in, which counts at the address besides.
    let is_braked = || gateway.sign_in_with("mallory2", "wrong password").status == 429;
    assert!((0..20).any(|_| is_braked()));
    // The owner is braked here, where somebody has tried their address, and nowhere in their account.
    assert!(gateway.command(&["user", "unlock", "owner"], "").status.success());
    assert_eq!(gateway.sign_in_with("owner", PASSWORD).status, 200);
    // By the address as well, of which somebody else would be the owner; and so it is with one that nobody has confirmed.
    assert_eq!(gateway.sign_in_with("Owner@example.com", PASSWORD).status, 200);
    assert_eq!(gateway.sign_in_with("free@example.com", own).status, 429);
    assert!(gateway.command(&["user", "unlock", "mallory1"], "").status.success());
    assert_eq!(code(&gateway.sign_in_with("free@example.com", own)), "unconfirmed");

    // A link asked for by the address goes where one by the name goes, and only to the mailbox that is theirs.
    let resend = |login: &str| {
        let body = serde_json::json!({ "username": login }).to_string();
        post(&gateway, "/.auth/confirm/resend", &body).status
    };
    assert_eq!((resend("free@example.com"), resend("owner@example.com")), (202, 202));
    let link = last_mail_to(&gateway, "free@example.com", 2).link("confirm?token=");
    assert_eq!(post(&gateway, &link, "{}").status, 204);
    assert!(
        mails_to(&gateway, "owner@example.com", 1).iter().all(|mail| !mail.text.contains("confirm?token="))
    );
}

#[test]
fn a_wrong_password_at_an_address_takes_as_long_whoever_has_registered_with_it() {
    let (gateway, _upstream) = gateway("mode: open");
    gateway.add_user("owner", &[]);
    assert_eq!(register(&gateway, "fresh", "fresh@example.com").status, 201);
    let addresses = ["nobody@example.com", "owner@example.com", "fresh@example.com"];
    let mut spread = || {
        let mut times = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..25 {
            for (address, times) in addresses.iter().zip(&mut times) {
                let began = Instant::now();
                assert_eq!(gateway.sign_in_with(address, "wrong password").status, 401);
                times.push(began.elapsed());
            }
        }
        let medians = times.map(|times| median(times).as_secs_f64());
        medians.iter().copied().fold(f64::MIN, f64::max) / medians.iter().copied().fold(f64::MAX, f64::min)
    };
    let measured: Vec<f64> = std::iter::repeat_with(&mut spread).take(3).collect();
    assert!(measured.iter().any(|ratio| *ratio <= 1.25), "{measured:?}");
}

#[test]
fn a_taken_address_takes_as_long_as_a_free_one() {
    let (gateway, _upstream) = gateway("mode: open");
    gateway.add_user("owner", &[]);
    let mut number = 0;
    let mut ratio = || {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..25 {
            for (kind, times) in times.iter_mut().enumerate() {
                number += 1;
                let email = if kind == 0 {
                    "owner@example.com".into()
                } else {
                    format!("free{number:03}@example.com")
                };
                let began = Instant::now();
                assert_eq!(register(&gateway, &format!("name{number:04}"), &email).status, 201);
                times.push(began.elapsed());
            }
        }
        let [taken, free] = times.map(median);
        taken.as_secs_f64() / free.as_secs_f64()
    };
    // A machine that is busy with other things spoils a measurement now and then, never all of them.
    let measured: Vec<f64> = std::iter::repeat_with(&mut ratio).take(3).collect();
    assert!(measured.iter().any(|ratio| (0.8..=1.25).contains(ratio)), "{measured:?}");
}

pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[test]
fn without_confirmation_an_account_is_good_at_once_and_a_taken_address_is_told() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "registration: {{ mode: open, confirm_email: false }}\nupstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app }}]\n",
        upstream.address
    ));
    let made = register(&gateway, "alice", "alice@example.com");
    assert_eq!((made.status, made.json()["next"].as_str()), (201, Some("sign_in")), "{made:?}");
    gateway.sign_in("alice");
    let taken = register(&gateway, "bob", "Alice@Example.com");
    assert_eq!((taken.status, code(&taken).as_str()), (409, "taken"));
    let nameless = post(
        &gateway,
        "/.auth/register",
        &serde_json::json!({ "username": "carol", "password": PASSWORD }).to_string(),
    );
    assert_eq!(nameless.status, 201, "an address is not needed then: {nameless:?}");
    assert_eq!(gateway.get("/.auth/forgot", &[]).status, 404, "no mail, no link");
}

#[test]
fn names_addresses_and_passwords_are_held_to_their_rules() {
    let (gateway, _upstream) = gateway("mode: open, email_domains: [example.com, Exämple.org]");
    let try_one = |name: &str, email: &str, password: &str| {
        let body = serde_json::json!({ "username": name, "email": email, "password": password }).to_string();
        let reply = post(&gateway, "/.auth/register", &body);
        (reply.status, if reply.status == 201 { String::new() } else { code(&reply) })
    };
    let bad = |code: &str| (400, code.to_owned());
    for name in ["", "a@b", "a\u{202e}b", "a\u{0}b", "x\ny", &"x".repeat(129)] {
        assert_eq!(try_one(name, "a@example.com", PASSWORD), bad("bad_request"), "{name:?}");
    }
    for email in [
        "",
        "nobody",
        "a@b@example.com",
        "a@evil.com@example.com",
        "a b@example.com",
        "a@example.com\r\nBcc: x@y",
    ] {
        assert_eq!(try_one("alice", email, PASSWORD), bad("bad_request"), "{email:?}");
    }
    for email in ["a@other.org", "a@sub.example.com", "a@example.com.evil.org", "a@notexample.com"] {
        assert_eq!(try_one("alice", email, PASSWORD), bad("email_domain"), "{email:?}");
    }
    for password in ["", "short"] {
        assert_eq!(try_one("alice", "a@example.com", password).0, 400, "{password:?}");
    }
    assert_eq!(try_one("alice", "a@EXAMPLE.com", PASSWORD).0, 201);
    assert_eq!(
        try_one("ａｌｉｃｅ", "b@example.com", PASSWORD),
        (409, "taken".into()),
        "full width is the same name"
    );
    assert_eq!(try_one("аlice", "c@exÄmple.org", PASSWORD), bad("bad_request"), "one Cyrillic letter");
    assert_eq!(try_one("алиса", "c@exÄmple.org", PASSWORD).0, 201, "all of them");
    let large = format!("{{\"username\":\"{}\"}}", "x".repeat(1 << 20));
    assert_eq!(post(&gateway, "/.auth/register", &large).status, 413);
}

#[test]
fn of_two_who_register_one_name_at_once_one_gets_it_and_it_survives_a_kill() {
    let (gateway, _upstream) = gateway("mode: open, confirm_email: false");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..12)
            .map(|n| {
                let gateway = &gateway;
                scope.spawn(move || {
                    register(
                        gateway,
                        if n % 2 == 0 { "Alice" } else { "alice" },
                        &format!("a{n}@example.com"),
                    )
                    .status
                })
            })
            .collect();
        tries.into_iter().map(|tried| tried.join().expect("an answer")).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 201 | 409 | 503)), "{statuses:?}");
    let yaml = std::fs::read_to_string(&gateway.config).expect("the configuration");
    let directory = gateway.kill();
    let again = Gateway::start_in(directory, &yaml);
    again.sign_in("alice");
}

#[test]
fn an_answered_registration_and_its_link_survive_a_kill() {
    let (gateway, _upstream) = gateway("mode: open");
    assert_eq!(register(&gateway, "alice", "alice@example.com").status, 201);
    let yaml = std::fs::read_to_string(&gateway.config).expect("the configuration");
    let gateway = Gateway::start_in(gateway.kill(), &yaml);
    let link = last_mail_to(&gateway, "alice@example.com", 1).link("confirm?token=");
    assert_eq!(post(&gateway, &link, "{}").status, 204);
    let gateway = Gateway::start_in(gateway.kill(), &yaml);
    gateway.sign_in("alice");
}

#[test]
fn by_invitation_whoever_has_the_link_makes_one_account_with_its_address_and_roles() {
    let (gateway, _upstream) = gateway("mode: invite, roles: [member]");
    let refused = register(&gateway, "alice", "alice@example.com");
    assert_eq!((refused.status, code(&refused).as_str()), (403, "invitation_needed"));
    assert_eq!(gateway.get("/.auth/register", &[]).status, 403);
    assert_eq!(gateway.get("/.auth/register?invitation=nothing", &[]).status, 400);

    let invite = |role: &str| {
        let output = gateway.command(&["user", "invite", "Eve@example.com", "--role", role], "");
        assert!(output.status.success(), "{output:?}");
        let link = String::from_utf8(output.stdout).expect("text").trim().to_owned();
        link[link.find("/.auth").unwrap_or_else(|| panic!("{link}"))..].to_owned()
    };
    let older = invite("guest");
    let link = invite("staff");
    assert_eq!(last_mail_to(&gateway, "Eve@example.com", 2).link("register?invitation="), link);
    assert_eq!(gateway.get(&older, &[]).status, 400, "the newer one voids it");

    let browser = Browser::new(&gateway);
    let page = browser.open(&link);
    assert!(page.status == 200 && page.text().contains("Eve@example.com"), "{page:?}");
    let form = Form::read(&page);
    assert!(form.value("email").is_none(), "the address is the invitation's: {form:?}");
    let made = browser.submit(&form.with("username", "eve").with("password", PASSWORD));
    assert_eq!(made.status, 303, "{made:?}");
    let me = gateway.sign_in_with("eve@example.com", PASSWORD).json();
    assert_eq!(me["user"]["roles"], serde_json::json!(["member", "staff"]), "{me}");
    assert_eq!(code(&post(&gateway, &link, &body("eve2", "x@example.com"))), "invalid_link", "once");
    let again = gateway.command(&["user", "invite", "eve@example.com"], "");
    assert_eq!(again.status.code(), Some(1), "{again:?}");
}

#[test]
fn a_source_gets_so_many_registrations_and_is_told_when_to_come_back() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "{MAIL}registration: {{ mode: open }}\nlimits: {{ registration: 2/1h }}\nupstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app }}]\n",
        upstream.address
    ));
    for n in 0..2 {
        assert_eq!(register(&gateway, &format!("u{n}"), &format!("u{n}@example.com")).status, 201);
    }
    let limited = register(&gateway, "u3", "u3@example.com");
    assert_eq!((limited.status, code(&limited).as_str()), (429, "too_many_requests"));
    let wait: u64 = limited.header("retry-after").and_then(|wait| wait.parse().ok()).expect("a time");
    assert!((3500..=3600).contains(&wait), "{wait}");
    let browser = Browser::new(&gateway);
    let form = Form::read(&browser.open("/.auth/register"));
    let page = browser
        .submit(&form.with("username", "u4").with("email", "u4@example.com").with("password", PASSWORD));
    assert!(page.status == 429 && page.text().contains("Too many accounts"), "{page:?}");
    let ask = || post(&gateway, "/.auth/forgot", r#"{"email":"u0@example.com"}"#).status;
    assert_eq!([ask(), ask(), ask()], [202, 202, 429], "links count for themselves");
}

#[test]
fn forms_from_elsewhere_and_stale_ones_make_nothing() {
    let (gateway, _upstream) = gateway("mode: open, confirm_email: false");
    let browser = Browser::new(&gateway);
    let form = Form::read(&browser.open("/.auth/register"))
        .with("username", "alice")
        .with("email", "a@example.com")
        .with("password", PASSWORD);
    assert_eq!(browser.submit_with(&form, &[("sec-fetch-site", "cross-site")]).status, 403);
    let stale = browser.submit(&form.clone().with("csrf_token", "x"));
    assert!(stale.status == 403 && Form::read(&stale).value("username") == Some("alice"), "{stale:?}");
    assert_eq!(gateway.sign_in_with("alice", PASSWORD).status, 401);
    assert_eq!(browser.submit(&form).status, 303);
    let german = gateway.get("/.auth/register", &[("accept", "text/html"), ("accept-language", "de")]);
    assert!(german.text().contains("Konto anlegen"), "{german:?}");
    assert!(mails_to(&gateway, "a@example.com", 0).is_empty());
}
