//! Mail, as a mail server that isn't ours takes it (aiosmtpd), and as Python's parser reads it.

use std::net::SocketAddr;
use std::process::Output;
use std::time::{Duration, Instant};

use foregate::mail::{Language, Links, Mail, MailServer, MailSettings, Mailer, Message};
use foregate::response::look::Look;
use foregate::store::{Store, StoreSettings};
use rcgen::PKCS_ECDSA_P256_SHA256;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Connection, Gateway, foregate, run, wait_until};
use crate::program::{Program, directory, free_address, python, repository};
use crate::tls::write_certificates;

/// As `mail.py` has them, as a URL has them.
const CREDENTIALS: &str = "robot%40example.com:p%40ss%3A%20100%25%2Fx";

/// The mail server, with a certificate for `localhost`.
fn server(kind: &str, address: SocketAddr) -> Program {
    let folder = directory();
    write_certificates(folder.path(), &PKCS_ECDSA_P256_SHA256);
    let mut command = python("python");
    command.arg(repository("tests/components/mail.py")).args([&address.to_string(), kind]);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    Program::start(command, folder, address)
}

fn lines(server: &Program, file: &str) -> Vec<Value> {
    server.read(file).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn mood(server: &Program, mood: &str) {
    std::fs::write(server.path("mood"), mood).expect("the mood is written");
}

/// `foregate mail test zoe@example.org`, by this URL.
fn mail_test(url: &str, ca: Option<&Program>, arguments: &[&str]) -> Output {
    let folder = directory();
    let ca = ca.map(|server| format!(", ca: {}", server.path("ca.pem").display())).unwrap_or_default();
    let config = folder.path().join("foregate.yaml");
    let yaml = format!(
        "public_url: https://login.example.com\nupstreams: {{}}\nroutes: [{{ path: /** }}]\n\
         mail: {{ url: \"{url}\", from: \"Größe <login@example.com>\"{ca} }}\n"
    );
    std::fs::write(&config, yaml).expect("the configuration is written");
    let arguments = [&["mail", "test", "zoe@example.org"], arguments].concat();
    run(foregate().arg("--config").arg(&config).args(arguments), "")
}

#[track_caller]
fn error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("p@ss") && !said.contains("p%40ss"), "{said}");
    said
}

#[test]
fn a_mail_arrives_whole_over_starttls_with_a_password() {
    let address = free_address();
    let server = server("auth", address);
    let url = format!("smtp://{CREDENTIALS}@localhost:{}", address.port());
    let output = mail_test(&url, Some(&server), &["--language", "de"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "250 2.0.0 taken\n");

    let mails = lines(&server, "mails.jsonl");
    let [mail] = &mails[..] else { panic!("one mail: {mails:?}") };
    let header = |name: &str| {
        let found = mail["headers"].as_array().expect("headers").iter();
        let found: Vec<_> = found.filter(|pair| pair[0] == name).map(|pair| pair[1].as_str()).collect();
        assert_eq!(found.len(), 1, "one {name} in {mail}");
        found[0].expect("text").to_owned()
    };
    assert_eq!((&mail["tls"], &mail["name"]), (&true.into(), &"robot@example.com".into()), "{mail}");
    assert_eq!(mail["from"], "login@example.com");
    assert_eq!(mail["to"], serde_json::json!(["zoe@example.org"]));
    assert_eq!(mail["defects"], serde_json::json!([]));
    assert_eq!(mail["ascii"], true, "any server takes it");
    assert_eq!(header("from"), "Größe <login@example.com>");
    assert_eq!(header("to"), "zoe@example.org");
    assert_eq!(header("subject"), "Test-E-Mail von login.example.com");
    assert_eq!(header("auto-submitted"), "auto-generated");
    assert!(header("message-id").ends_with("@example.com>"), "{mail}");
    assert!(header("date").contains("20"), "{mail}");
    assert_eq!(mail["type"], "multipart/alternative");
    assert_eq!(mail["parts"], serde_json::json!(["text/plain", "text/html"]));
    for part in ["text", "html"] {
        let part = mail[part].as_str().expect("text");
        assert!(part.contains("Wenn Sie das lesen können, kann login.example.com"), "{part}");
    }
    assert!(mail["html"].as_str().expect("text").contains("<html lang=\"de\">"), "{mail}");
}

#[test]
fn a_mail_arrives_over_tls_from_the_start_and_without_a_password() {
    let address = free_address();
    let over_tls = server("smtps", address);
    let output = mail_test(&format!("smtps://localhost:{}", address.port()), Some(&over_tls), &[]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(lines(&over_tls, "mails.jsonl")[0]["tls"], true);

    let address = free_address();
    let plain = server("plain", address);
    let output = mail_test(&format!("smtp://127.0.0.1:{}", address.port()), None, &[]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(lines(&plain, "mails.jsonl")[0]["tls"], false);
}

#[test]
fn what_is_wrong_is_said_with_what_to_look_at() {
    let address = free_address();
    let auth = server("auth", address);
    let port = address.port();

    let said = error(&mail_test(&format!("smtp://robot:p%40ss@localhost:{port}"), Some(&auth), &[]));
    assert!(said.contains("signing in failed: 535") && said.contains("the name and the password"), "{said}");

    let said = error(&mail_test(&format!("smtp://{CREDENTIALS}@localhost:{port}"), None, &[]));
    assert!(said.contains("beginning TLS failed: invalid peer certificate: UnknownIssuer"), "{said}");
    assert!(said.contains("`mail.ca`"), "{said}");

    let said = error(&mail_test(&format!("smtps://{CREDENTIALS}@localhost:{port}"), Some(&auth), &[]));
    assert!(said.contains("beginning TLS failed") && said.contains("465"), "{said}");

    let nobody = free_address().port();
    let said = error(&mail_test(&format!("smtp://127.0.0.1:{nobody}"), None, &[]));
    assert!(said.contains("connecting failed: Connection refused") && said.contains("587"), "{said}");

    let said = error(&mail_test("smtp://mail.invalid", None, &[]));
    assert!(said.contains("finding the server failed") && said.contains("`mail.invalid`"), "{said}");

    let address = free_address();
    let plain = server("plain", address);
    mood(&plain, "never");
    let said = error(&mail_test(&format!("smtp://127.0.0.1:{}", address.port()), None, &[]));
    assert!(said.contains("handing the mail over failed: 550") && said.contains("`mail.from`"), "{said}");
}

#[test]
fn a_password_is_not_shown_to_a_server_without_tls() {
    let address = free_address();
    let server = server("clear-auth", address);
    let said = error(&mail_test(&format!("smtp://{CREDENTIALS}@127.0.0.1:{}", address.port()), None, &[]));
    assert!(said.contains("the server doesn't offer STARTTLS"), "{said}");
    assert!(lines(&server, "logins.jsonl").is_empty());

    // To this machine itself it may be, where somebody says so.
    let url = format!("smtp://{CREDENTIALS}@127.0.0.1:{}?tls=none", address.port());
    assert!(mail_test(&url, None, &[]).status.success());
    assert_eq!(lines(&server, "logins.jsonl").len(), 1);
}

/// A folder with a store in whose outbox mails to these people wait.
fn outbox(recipients: &[&str]) -> TempDir {
    let folder = directory();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(StoreSettings::at(folder.path().join("data"))).expect("a store");
        let links = Links::new("https://login.example.com", "/.auth");
        let settings = MailSettings {
            from: "login@example.com".parse().expect("a sender"),
            look: Look::default(),
            server: MailServer::Folder("/nowhere".into()),
        };
        let mailer = Mailer::new(store.clone(), Some(settings), links.clone()).await.expect("an outbox");
        for to in recipients {
            let message = Message::ResetPassword {
                lifetime: Duration::from_secs(3600),
                link: links.reset(&TOKEN.into()),
                username: "alice".parse().expect("a name"),
            };
            let to = to.parse().expect("an address");
            mailer.send(Mail { language: Language::English, message, to }).await.expect("it is kept");
        }
        store.close().await;
    });
    folder
}

const TOKEN: &str = "zq7c1e9b-a-token-of-nobodys";

/// A gateway with this mail server.
fn gateway(folder: TempDir, address: SocketAddr) -> Gateway {
    Gateway::start_in(
        folder,
        &format!(
            "public_url: https://login.example.com\nadmin: {{ listen: 127.0.0.1:0 }}\n\
             log: {{ level: info }}\nupstreams: {{}}\nroutes: [{{ path: /** }}]\n\
             mail: {{ url: \"smtp://{address}\", from: login@example.com }}\n"
        ),
    )
}

fn metrics(gateway: &Gateway) -> String {
    let mut connection = Connection::to(gateway.admin_address());
    connection.write(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    connection.reply(false).text()
}

#[test]
fn mails_wait_for_a_server_that_is_down_also_over_a_kill() {
    let address = free_address();
    let before = gateway(outbox(&["alice@example.org"]), address);
    before.wait_for_log("the mail server takes no mail");
    assert!(before.log().contains("Connection refused"), "{}", before.log());
    let folder = before.kill();

    let server = server("plain", address);
    let gateway = gateway(folder, address);
    wait_until(|| metrics(&gateway).contains("foregate_mail_outbox 0"), || gateway.log());
    let mails = lines(&server, "mails.jsonl");
    assert_eq!(mails.len(), 1, "{mails:?}");
    let text = mails[0]["text"].as_str().expect("text");
    assert!(text.contains(&format!("https://login.example.com/.auth/reset?token={TOKEN}")), "{text}");
    // Neither who got it nor what was in it.
    let log = gateway.log();
    assert!(log.contains("a mail was sent"), "{log}");
    assert!(!log.contains("alice@example.org") && !log.contains(TOKEN), "{log}");
    assert!(metrics(&gateway).contains("foregate_mails_total{outcome=\"sent\"} 1"));
}

#[test]
fn a_mail_that_is_refused_for_good_is_given_up_and_holds_up_no_other() {
    let address = free_address();
    let server = server("plain", address);
    let gateway = gateway(outbox(&["never@example.org", "alice@example.org"]), address);
    wait_until(|| metrics(&gateway).contains("foregate_mail_outbox 0"), || gateway.log());
    let log = gateway.log();
    assert!(log.contains("a mail was given up") && log.contains("550"), "{log}");
    assert!(log.contains("is not known here"), "{log}");
    // The server's words named the recipient, and quoted a link.
    assert!(!log.contains("never@example.org") && !log.contains("s3cr3t"), "{log}");
    let tried: Vec<_> = lines(&server, "tries.jsonl").iter().map(|one| one["to"].clone()).collect();
    assert_eq!(tried, ["never@example.org", "alice@example.org"]);
    assert_eq!(lines(&server, "mails.jsonl").len(), 1);
}

#[test]
fn a_server_that_hangs_holds_up_nobody_and_not_the_stop() {
    let address = free_address();
    let server = server("plain", address);
    mood(&server, "hang");
    let mut before = gateway(outbox(&["alice@example.org", "bob@example.org"]), address);
    wait_until(|| !lines(&server, "tries.jsonl").is_empty(), || before.log());
    assert_eq!(before.get("/.auth/login", &[]).status, 200);
    before.signal("TERM");
    assert_eq!(before.wait(), Some(0), "{}", before.log());
    // Sent by the next one: at least once, never less.
    mood(&server, "");
    let gateway = gateway(before.into_directory(), address);
    wait_until(|| metrics(&gateway).contains("foregate_mail_outbox 0"), || gateway.log());
    assert_eq!(lines(&server, "mails.jsonl").len(), 2);
}

/// A server that wants a mail later is asked again after a minute.
#[test]
#[ignore = "takes a minute"]
fn heavy_a_mail_that_is_wanted_later_is_sent_later() {
    let address = free_address();
    let server = server("plain", address);
    mood(&server, "later");
    let gateway = gateway(outbox(&["alice@example.org"]), address);
    gateway.wait_for_log("a mail was not sent; it is tried again");
    mood(&server, "");
    let deadline = Instant::now() + Duration::from_secs(90);
    while lines(&server, "mails.jsonl").is_empty() {
        assert!(Instant::now() < deadline, "{}", gateway.log());
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(lines(&server, "tries.jsonl").len(), 2);
}
