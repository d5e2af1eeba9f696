//! Applications that take the identity from a header: Flask under gunicorn, and Radicale.
//!
//! WSGI puts `Remote-User`, `Remote_User` and, with some servers, `Remote.User` into one variable, so that
//! what matters is what the application reads and not what was on the wire.

use crate::harness::{Gateway, PASSWORD};
use crate::program::{Program, directory, free_address, python, repository};

fn flask() -> Program {
    let (folder, address) = (directory(), free_address());
    let mut command = python("gunicorn");
    command
        .args(["--workers", "1", "--threads", "4", "--keep-alive", "5"])
        // The laxest that it can be told to be: every spelling of a header reaches the application.
        .args(["--header-map", "dangerous", "--permit-unconventional-http-method"])
        .args(["--worker-tmp-dir".as_ref(), folder.path().as_os_str()])
        .args(["--bind", &address.to_string()])
        .arg("--chdir")
        .arg(repository("tests/components"))
        .arg("headers:app")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Program::start(command, folder, address)
}

#[test]
fn a_flask_application_reads_our_identity_and_nobody_elses() {
    let flask = flask();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ app: \"http://{}\" }}\n\
         routes:\n\
         \x20 - {{ path: /public/**, access: public, upstream: app }}\n\
         \x20 - {{ path: /**, upstream: app }}\n",
        flask.address
    ));
    gateway.add_user("alice", &["news", "staff"]);
    let cookie = gateway.sign_in("alice");

    let names = [
        "Remote-User",
        "REMOTE-USER",
        "Remote_User",
        "REMOTE_USER",
        "remote_user",
        "remote.user",
        "Remote~User",
        "remote!user",
        "Remote-User_",
        "X-Remote-User",
        "X_Remote_User",
        "X-Forwarded-User",
        "X_Forwarded_User",
        "X-WEBAUTH-USER",
        "X_WEBAUTH_USER",
    ];
    let mut tries: Vec<Vec<(&str, &str)>> = names.iter().map(|name| vec![(*name, "root")]).collect();
    tries.push(names.iter().map(|name| (*name, "root")).collect());
    tries.push(vec![("Remote_Groups", "root"), ("remote.groups", "root"), ("REMOTE_EMAIL", "root")]);
    tries.push(vec![("Connection", "Remote-User, Remote_User"), ("Remote_User", "root")]);
    for spoofed in tries {
        let reply = gateway.get("/page", &[&spoofed[..], &[("cookie", cookie.as_str())]].concat());
        assert_eq!(reply.status, 200, "{spoofed:?}: {reply:?}");
        let seen = reply.json();
        let environ = &seen["environ"];
        assert_eq!(environ["HTTP_REMOTE_USER"], "alice", "{spoofed:?}: {seen}");
        assert_eq!(environ["HTTP_REMOTE_GROUPS"], "news,staff", "{spoofed:?}: {seen}");
        assert_eq!(environ["HTTP_REMOTE_EMAIL"], "alice@example.com", "{spoofed:?}: {seen}");
        assert_eq!(seen["user"], "alice", "{spoofed:?}: {seen}");
        assert!(environ.get("HTTP_COOKIE").is_none(), "{seen}");
        assert!(!as_ours(&seen).contains("root"), "{spoofed:?}: {seen}");

        let reply = gateway.get("/public/page", &spoofed);
        let seen = reply.json();
        assert_eq!(
            (reply.status, &seen["environ"]["HTTP_REMOTE_USER"]),
            (200, &serde_json::Value::Null),
            "{seen}"
        );
        assert_eq!(seen["user"], serde_json::Value::Null, "{spoofed:?}: {seen}");
    }
    // A body in chunks arrives whole, and gunicorn is not confused about where it ends.
    let mut connection = gateway.connect();
    connection.write(format!("POST /form HTTP/1.1\r\nhost: app.test\r\ncookie: {cookie}\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n").as_bytes());
    let reply = connection.reply(false);
    assert_eq!(reply.json()["body"], "hello world", "{reply:?}");
}

/// What was seen, apart from the one name that is no spelling of a name of ours.
fn as_ours(seen: &serde_json::Value) -> String {
    let environ = seen["environ"].as_object().expect("an object");
    environ
        .iter()
        .filter(|(name, _)| !name.ends_with('_'))
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect()
}

fn radicale() -> Program {
    let (folder, address) = (directory(), free_address());
    let config = folder.path().join("config");
    let text = format!(
        "[server]\nhosts = {address}\n[auth]\ntype = http_x_remote_user\n[rights]\ntype = owner_only\n\
         [storage]\nfilesystem_folder = {}\n[web]\ntype = none\n",
        folder.path().join("collections").display()
    );
    std::fs::write(&config, text).expect("the configuration is written");
    let mut command = python("radicale");
    command.arg("--config").arg(config);
    Program::start(command, folder, address)
}

const CALENDAR: &str = "<?xml version=\"1.0\"?><C:mkcalendar xmlns:D=\"DAV:\" xmlns:C=\"urn:ietf:params:xml:ns:caldav\">\
    <D:set><D:prop><D:displayname>Work</D:displayname></D:prop></D:set></C:mkcalendar>";
const EVENT: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nBEGIN:VEVENT\r\nUID:one\r\n\
    DTSTAMP:20260101T000000Z\r\nDTSTART:20260102T090000Z\r\nSUMMARY:Meeting\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

#[test]
fn a_calendar_is_kept_by_clients_that_know_basic_alone() {
    let radicale = radicale();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ radicale: \"http://{}\" }}\n\
         routes:\n\
         \x20 - path: /**\n\
         \x20   credentials: [session, basic]\n\
         \x20   identity_headers: {{ X-Remote-User: \"{{username}}\" }}\n\
         \x20   upstream: radicale\n",
        radicale.address
    ));
    gateway.add_user("alice", &[]);
    gateway.add_user("bob", &[]);
    let (alice, bob) = (basic("alice", PASSWORD), basic("bob", PASSWORD));
    let with = |basic: &str, more: &[(&str, &str)], method: &str, target: &str, body: &str| {
        let headers = [&[("authorization", basic)][..], more].concat();
        gateway.request(method, target, &headers, body.as_bytes())
    };

    let reply = gateway.request("PROPFIND", "/alice/", &[("depth", "0")], b"");
    assert_eq!(reply.status, 401, "{reply:?}");
    assert!(reply.all("www-authenticate").iter().any(|value| value.starts_with("Basic ")), "{reply:?}");
    let reply = with(&basic("alice", "a wrong password"), &[], "PROPFIND", "/alice/", "");
    assert_eq!(reply.status, 401, "{reply:?}");

    let reply = with(&alice, &[("content-type", "application/xml")], "MKCALENDAR", "/alice/work/", CALENDAR);
    assert_eq!(reply.status, 201, "{reply:?}");
    let event = "/alice/work/one.ics";
    let reply = with(&alice, &[("content-type", "text/calendar")], "PUT", event, EVENT);
    assert_eq!(reply.status, 201, "{reply:?}");
    let reply = with(&alice, &[("depth", "1")], "PROPFIND", "/alice/work/", "");
    assert!(reply.status == 207 && reply.text().contains("one.ics"), "{reply:?}");
    let reply = with(&alice, &[], "GET", event, "");
    assert!(reply.status == 200 && reply.text().contains("SUMMARY:Meeting"), "{reply:?}");

    // Bob is who he is, whatever he says.
    for more in [&[][..], &[("x-remote-user", "alice")], &[("X_Remote_User", "alice")]] {
        let reply = with(&bob, more, "GET", event, "");
        assert!(matches!(reply.status, 403 | 404), "{more:?}: {reply:?}");
        let reply = with(&bob, &[more, &[("content-type", "text/calendar")]].concat(), "PUT", event, EVENT);
        assert!(matches!(reply.status, 403 | 404), "{more:?}: {reply:?}");
    }
    let reply = with(&alice, &[], "DELETE", event, "");
    assert_eq!(reply.status, 200, "{reply:?}");
}

fn basic(name: &str, password: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}")))
}
