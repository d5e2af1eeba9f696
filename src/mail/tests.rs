//! The outbox over a real store and a real folder. Mail servers are in `tests/components/mail.rs`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::response::look::Look;
use crate::store::StoreSettings;

fn links() -> Links {
    Links::new("https://login.example.com", "/.auth")
}

fn into(folder: &Path) -> Option<MailSettings> {
    Some(MailSettings {
        from: "Example <login@example.com>".parse().expect("a sender"),
        look: Look::default(),
        server: MailServer::Folder(folder.to_owned()),
    })
}

fn store(at: &TempDir) -> Store {
    Store::open(StoreSettings::at(at.path().join("data"))).expect("a store")
}

fn mail(to: &str, lifetime: Duration) -> Mail {
    let message = Message::ResetPassword {
        lifetime,
        link: links().reset(&"t0ken".into()),
        username: "zoë".parse().expect("a name"),
    };
    Mail { language: Language::English, message, to: to.parse().expect("an address") }
}

const HOUR: Duration = Duration::from_secs(3600);

/// What is in the folder once the outbox is empty.
async fn delivered(mailer: &Mailer, folder: &Path) -> Vec<String> {
    let stop = CancellationToken::new();
    let working = tokio::spawn(mailer.clone().deliver(stop.clone().cancelled_owned()));
    tokio::time::timeout(Duration::from_secs(20), async {
        while mailer.waiting() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the outbox empties");
    stop.cancel();
    working.await.expect("the worker ends");
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files.iter().map(|file| fs::read_to_string(file).expect("a mail")).collect()
}

#[tokio::test]
async fn mails_survive_the_end_of_the_process_and_go_out_in_order() {
    let at = TempDir::new().expect("a folder");
    let folder = at.path().join("out");
    let before = store(&at);
    let mailer = Mailer::new(before.clone(), into(&folder), links()).await.expect("a mailer");
    for to in ["one@example.org", "two@example.org", "three@example.org"] {
        mailer.send(mail(to, HOUR)).await.expect("it is kept");
    }
    drop(mailer);
    before.close().await;

    let after = store(&at);
    let mailer = Mailer::new(after.clone(), into(&folder), links()).await.expect("a mailer");
    assert_eq!(mailer.waiting(), 3);
    let mails = delivered(&mailer, &folder).await;
    let to: Vec<_> =
        mails.iter().filter_map(|mail| mail.lines().find(|line| line.starts_with("To: "))).collect();
    assert_eq!(to, ["To: one@example.org", "To: two@example.org", "To: three@example.org"]);
    assert!(mails[0].contains("/.auth/reset?token"), "{}", mails[0]);
    assert_eq!(mailer.figures().of(MailOutcome::Sent), 3);
    let found = after.verify().await.expect("it can be checked");
    assert_eq!((found.mails, found.faults), (0, 0));
}

#[tokio::test]
async fn a_mailbox_is_not_flooded_and_nobody_is_told() {
    let at = TempDir::new().expect("a folder");
    let folder = at.path().join("out");
    let mailer = Mailer::new(store(&at), into(&folder), links()).await.expect("a mailer");
    let to = "a@example.org".parse().expect("an address");
    for _ in 0..20 {
        mailer.send(mail("a@example.org", HOUR)).await.expect("the answer is the same");
    }
    assert!(!mailer.takes(&to, Kind::ResetPassword));
    assert!(mailer.takes(&to, Kind::PasswordChanged));
    assert_eq!((mailer.waiting(), mailer.figures().of(MailOutcome::Dropped)), (5, 15));
    assert_eq!(delivered(&mailer, &folder).await.len(), 5);
}

#[tokio::test]
async fn what_can_not_be_delivered_waits_and_without_settings_nothing_is_kept() {
    let at = TempDir::new().expect("a folder");
    let blocked = at.path().join("file");
    fs::write(&blocked, "").expect("a file");
    let mailer = Mailer::new(store(&at), into(&blocked), links()).await.expect("a mailer");
    mailer.send(mail("a@example.org", HOUR)).await.expect("it is kept");
    let stop = CancellationToken::new();
    let working = tokio::spawn(mailer.clone().deliver(stop.clone().cancelled_owned()));
    let failed = async {
        while mailer.figures().of(MailOutcome::Failed) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), failed).await.expect("it can't be written");
    stop.cancel();
    working.await.expect("the worker ends");
    assert_eq!(mailer.waiting(), 1);
    mailer.configure(None, links());
    assert!(!mailer.is_configured());
    mailer.send(mail("b@example.org", HOUR)).await.expect("the answer is the same");
    assert_eq!(mailer.waiting(), 1, "a mail that can't be sent is not kept");
}

#[tokio::test]
async fn a_link_that_is_void_by_now_is_not_sent() {
    let at = TempDir::new().expect("a folder");
    let folder = at.path().join("out");
    let mailer = Mailer::new(store(&at), into(&folder), links()).await.expect("a mailer");
    mailer.send(mail("a@example.org", Duration::ZERO)).await.expect("it is kept");
    mailer.send(mail("b@example.org", HOUR)).await.expect("it is kept");
    let mails = delivered(&mailer, &folder).await;
    assert_eq!(mails.len(), 1);
    assert!(mails[0].contains("b@example.org"));
    assert_eq!(mailer.figures().of(MailOutcome::GivenUp), 1);
}
