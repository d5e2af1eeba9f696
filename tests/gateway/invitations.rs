//! Invitations: administrators' and members', and who gets an address that nobody has confirmed.

use crate::browser::{Browser, Form};
use crate::harness::{Gateway, PASSWORD, Reply, Upstream};
use crate::mailbox::{MAIL, last_mail_to, mails_to};

const JSON: (&str, &str) = ("content-type", "application/json");
const INVITATIONS: &str = "/.auth/account/invitations";

fn gateway(registration: &str) -> (Gateway, Upstream) {
    let upstream = Upstream::start();
    let yaml = format!(
        "{MAIL}registration: {{ {registration} }}\nlimits: {{ registration: 1000/1h }}\n\
         upstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app }}]\n",
        upstream.address
    );
    (Gateway::start(&yaml), upstream)
}

fn invite(gateway: &Gateway, session: &str, email: &str) -> Reply {
    let body = serde_json::json!({ "email": email }).to_string();
    gateway.request("POST", INVITATIONS, &[JSON, ("cookie", session)], body.as_bytes())
}

fn register(gateway: &Gateway, target: &str, name: &str, email: &str) -> Reply {
    let body = serde_json::json!({ "username": name, "email": email, "password": PASSWORD }).to_string();
    gateway.request("POST", target, &[JSON], body.as_bytes())
}

fn code(reply: &Reply) -> String {
    reply.json()["code"].as_str().unwrap_or_default().to_owned()
}

/// The open invitations, as the command line lists them.
fn listed(gateway: &Gateway) -> Vec<(String, Option<String>)> {
    let output = gateway.command(&["invitation", "list", "--json"], "");
    let list: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("an array");
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    list.iter().map(|one| (text(&one["email"]).expect("an address"), text(&one["invited_by"]))).collect()
}

#[test]
fn a_member_invites_by_the_account_page_lists_and_takes_back() {
    let (gateway, _upstream) = gateway("mode: invite, members_invite: true, roles: [member]");
    gateway.add_user("alice", &[]);
    let browser = Browser::new(&gateway);
    browser.sign_in("alice");
    let page = browser.open("/.auth/account");
    assert!(page.text().contains("id=\"invitations\""), "{}", page.text());
    let sent = browser.submit(&Form::to(&page, INVITATIONS).with("email", " Eve@Example.com "));
    assert_eq!((sent.status, sent.header("location")), (303, Some("/.auth/account")), "{sent:?}");
    let page = browser.open("/.auth/account");
    assert!(page.text().contains("A mail is on its way"), "{}", page.text());
    assert!(page.text().contains("Eve@Example.com") && page.text().contains("Good for another"));
    let mail = last_mail_to(&gateway, "Eve@Example.com", 1);
    assert!(mail.text.contains("alice invites you"), "{mail:?}");
    // The link is nowhere but in the mail: whoever has it gets the address as their own.
    let link = mail.link("register?invitation=");
    let (_, token) = link.split_once('=').expect("a token");
    assert!(!page.text().contains(token) && !gateway.log().contains(token));

    // Taken back, the link is void; a second one works, once, and brings the roles of everybody.
    let begin = page.text().find("/revoke").expect("a form");
    let action = page.text()[..begin].rsplit("action=\"").next().expect("its action").to_owned() + "/revoke";
    // The first form with this ending is that of the session; the invitation's lies under its own path.
    let own = page.text().find(&format!("{INVITATIONS}/")).expect("a form");
    let action = match action.starts_with(INVITATIONS) {
        true => action,
        false => page.text()[own..].split('"').next().expect("an action").to_owned(),
    };
    assert_eq!(browser.submit(&Form::to(&page, &action)).status, 303);
    assert!(browser.open("/.auth/account").text().contains("is taken back"));
    assert_eq!(gateway.get(&link, &[]).status, 400);
    let session = gateway.sign_in("alice");
    assert_eq!(invite(&gateway, &session, "eve@example.com").status, 201);
    let link = last_mail_to(&gateway, "ve@", 2).link("register?invitation=");
    let made = register(&gateway, &link, "eve", "");
    assert_eq!((made.status, made.json()["next"].as_str()), (201, Some("sign_in")), "{made:?}");
    assert_eq!(register(&gateway, &link, "eve2", "").status, 400, "once");
    let shown = gateway.command(&["user", "show", "eve@example.com", "--json"], "");
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert_eq!(shown["roles"], serde_json::json!(["member"]));
    assert!(listed(&gateway).is_empty());
}

#[test]
fn a_member_learns_of_no_address_whether_it_has_an_account() {
    let (gateway, _upstream) = gateway(
        "mode: invite, members_invite: true, invitations_per_member: 3, email_domains: [example.com]",
    );
    gateway.add_user("alice", &[]);
    gateway.add_user("bob", &[]);
    let session = gateway.sign_in("alice");
    let (free, taken) =
        (invite(&gateway, &session, "free@example.com"), invite(&gateway, &session, "bob@example.com"));
    assert_eq!((free.status, taken.status), (201, 201), "{taken:?}");
    let account = gateway.get("/.auth/account", &[("cookie", &session)]).json();
    let open: Vec<_> = account["invitations"].as_array().expect("a list").clone();
    assert_eq!(open.len(), 2, "{account}");
    assert!(
        open.iter().all(|one| one["expires_at"].is_string() && one.as_object().map(|o| o.len()) == Some(3))
    );
    let told = last_mail_to(&gateway, "bob@example.com", 1);
    assert!(
        told.text.contains("alice wanted to invite you") && !told.text.contains("invitation="),
        "{told:?}"
    );

    // As many as a mailbox gets are the same for both, and so are refusals.
    for address in ["free@example.com", "bob@example.com"] {
        let told: Vec<_> = (0..5).map(|_| invite(&gateway, &session, address).status).collect();
        assert_eq!(told, [201, 201, 201, 201, 429], "{address}");
    }
    assert_eq!(code(&invite(&gateway, &session, "free@other.test")), "email_domain");
    assert_eq!(invite(&gateway, &session, "no address").status, 400);
    assert_eq!(invite(&gateway, &session, "alice@example.com").status, 400, "one's own");
    assert_eq!(invite(&gateway, &session, "third@example.com").status, 201);
    let fourth = invite(&gateway, &session, "fourth@example.com");
    assert_eq!((fourth.status, code(&fourth).as_str()), (409, "too_many_invitations"), "{fourth:?}");

    // By an administrator all of an address end; by another member none.
    let id = open[0]["id"].as_str().expect("an id");
    let other = gateway.sign_in("bob");
    let revoke = |session: &str, id: &str| {
        let headers = [JSON, ("cookie", session)];
        gateway.request("POST", &format!("{INVITATIONS}/{id}/revoke"), &headers, b"{}").status
    };
    assert_eq!((revoke(&other, id), revoke(&session, id)), (404, 404), "it was replaced by a newer one");
    assert_eq!(listed(&gateway).len(), 3);
    let ended = gateway.command(&["invitation", "revoke", "Free@example.com"], "");
    assert!(ended.status.success(), "{ended:?}");
    let again = gateway.command(&["invitation", "revoke", "free@example.com"], "");
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("no open invitation"), "{again:?}");
    assert_eq!(
        listed(&gateway),
        [
            ("bob@example.com".into(), Some("alice".into())),
            ("third@example.com".into(), Some("alice".into()))
        ]
    );
    gateway.wait_for_log("invitation_revoked");
}

#[test]
fn inviting_is_for_those_whom_the_configuration_names() {
    let (gateway, _upstream) = gateway("mode: approval, members_invite: true, inviter_roles: [staff, lead]");
    gateway.add_user("alice", &["staff"]);
    gateway.add_user("bob", &["other"]);
    let (alice, bob) = (gateway.sign_in("alice"), gateway.sign_in("bob"));
    let refused = invite(&gateway, &bob, "eve@example.com");
    assert_eq!((refused.status, code(&refused).as_str()), (403, "not_allowed"));
    let account = gateway.get("/.auth/account", &[("cookie", &bob)]).json();
    assert!(account.get("invitations").is_none(), "{account}");
    assert_eq!(invite(&gateway, "foregate=x", "eve@example.com").status, 401);

    // Whom a member invites waits; whom an administrator invites doesn't, wherever the address is.
    assert_eq!(invite(&gateway, &alice, "eve@example.com").status, 201);
    let link = last_mail_to(&gateway, "eve@example.com", 1).link("register?invitation=");
    let page = Browser::new(&gateway).open(&link).text();
    assert!(page.contains("before it can be used"), "{page}");
    let made = register(&gateway, &link, "eve", "");
    assert_eq!(made.json()["next"], "wait", "{made:?}");
    assert_eq!(code(&gateway.sign_in_with("eve", PASSWORD)), "waiting_for_approval");
    let invited = gateway.command(&["user", "invite", "carol@example.com"], "");
    let link = String::from_utf8(invited.stdout).expect("text");
    let link = &link[link.find("/.auth").expect("a link")..].trim();
    assert_eq!(register(&gateway, link, "carol", "").json()["next"], "sign_in");
}

#[test]
fn with_two_invitations_open_either_brings_the_administrators_roles_and_both_end() {
    let (gateway, _upstream) = gateway("mode: approval, members_invite: true, email_domains: [example.com]");
    gateway.add_user("alice", &[]);
    let alice = gateway.sign_in("alice");
    let roles = |name: &str| {
        let shown = gateway.command(&["user", "show", name, "--json"], "");
        serde_json::from_slice::<serde_json::Value>(&shown.stdout).expect("JSON")["roles"].clone()
    };
    for (name, opens) in [("eve", 0), ("carol", 1)] {
        let address = format!("{name}@example.com");
        let invited = gateway.command(&["user", "invite", &address, "--role", "staff"], "");
        assert!(invited.status.success(), "{invited:?}");
        mails_to(&gateway, &address, 1);
        assert_eq!(invite(&gateway, &alice, &address).status, 201);
        assert_eq!(listed(&gateway).len(), 2);
        let link = mails_to(&gateway, &address, 2)[opens].link("register?invitation=");
        let made = register(&gateway, &link, name, "");
        assert_eq!((made.status, made.json()["next"].as_str()), (201, Some("sign_in")), "{made:?}");
        assert_eq!(roles(name), serde_json::json!(["staff"]), "{name}");
        assert!(listed(&gateway).is_empty(), "{name}");
    }
}

#[test]
fn the_links_of_who_may_not_invite_any_more_are_dead_links() {
    let (gateway, _upstream) = gateway("mode: invite, members_invite: true, inviter_roles: [staff]");
    gateway.add_user("alice", &["staff"]);
    gateway.add_user("bob", &["staff"]);
    let mut links = Vec::new();
    for (number, name) in ["alice", "bob"].into_iter().enumerate() {
        let session = gateway.sign_in(name);
        assert_eq!(invite(&gateway, &session, "eve@example.com").status, 201);
        links.push(last_mail_to(&gateway, "eve@example.com", number + 1).link("register?invitation="));
    }
    assert_eq!(gateway.get(&links[0], &[]).status, 200);
    let run = |arguments: &[&str]| assert!(gateway.command(arguments, "").status.success(), "{arguments:?}");
    run(&["user", "set", "alice", "--role", "other"]);
    run(&["user", "delete", "bob", "--yes"]);
    let unknown = "/.auth/register?invitation=unknown";
    let dead = register(&gateway, unknown, "eve", "");
    for link in &links {
        assert_eq!(gateway.get(link, &[]).status, 400);
        let told = register(&gateway, link, "eve", "");
        assert_eq!(
            (told.status, code(&told), told.json()["detail"].clone()),
            (400, code(&dead), dead.json()["detail"].clone())
        );
    }
    // It is still hers, for the day when she may again.
    let listed = String::from_utf8(gateway.command(&["invitation", "list"], "").stdout).expect("text");
    assert!(listed.contains("alice") && listed.contains("void: its sender may not invite"), "{listed}");
    run(&["user", "set", "alice", "--role", "staff"]);
    let listed = String::from_utf8(gateway.command(&["invitation", "list"], "").stdout).expect("text");
    assert!(listed.contains("alice") && !listed.contains("void"), "{listed}");
    assert_eq!(register(&gateway, &links[0], "eve", "").status, 201, "with the role comes the right");
}

#[test]
fn an_address_that_a_stranger_holds_unconfirmed_goes_to_the_invited_and_to_the_added() {
    let (gateway, _upstream) = gateway("mode: open");
    for (name, email) in [("squatter", "eve@example.com"), ("squatter2", "carol@example.com")] {
        assert_eq!(register(&gateway, "/.auth/register", name, email).status, 201);
    }
    let confirm = last_mail_to(&gateway, "eve@example.com", 1).link("confirm?token=");
    let invited = gateway.command(&["user", "invite", "eve@example.com", "--role", "staff"], "");
    assert!(invited.status.success(), "{invited:?}");
    let link = last_mail_to(&gateway, "eve@example.com", 2).link("register?invitation=");
    assert_eq!(register(&gateway, &link, "eve", "").status, 201);
    let added = gateway.command(&["user", "add", "carol", "--email", "carol@example.com"], "");
    assert!(added.status.success(), "{added:?}");

    // The stranger sees what they saw before, and the link in the mailbox gives them nothing.
    assert_eq!(code(&gateway.sign_in_with("squatter", PASSWORD)), "unconfirmed");
    assert_eq!(gateway.request("POST", &confirm, &[JSON], b"{}").status, 400);
    assert_eq!(code(&gateway.sign_in_with("squatter", PASSWORD)), "unconfirmed");
    assert_eq!(gateway.sign_in_with("eve@example.com", PASSWORD).status, 200);
    assert_eq!(mails_to(&gateway, "carol@example.com", 1).len(), 1);
}
