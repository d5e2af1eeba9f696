//! Mails into a folder, and what `foregate mail test` says where there is nothing to try. Mail servers are in
//! `tests/components/mail.rs`.

use crate::harness::Gateway;

fn gateway(mail: &str) -> Gateway {
    Gateway::start(&format!(
        "public_url: https://login.example.com\nupstreams: {{}}\nroutes: [{{ path: /** }}]\n{mail}"
    ))
}

#[test]
fn a_test_mail_goes_into_the_folder_of_the_configuration() {
    use std::os::unix::fs::PermissionsExt as _;
    let gateway = gateway("mail: { url: file:./outbox, from: Example <login@example.com> }\n");
    let output = gateway.command(&["mail", "test", "zoe@example.org"], "");
    assert!(output.status.success(), "{output:?}");
    let file = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(file.starts_with(&*gateway.directory().join("outbox").to_string_lossy()), "{file}");
    let mail = std::fs::read_to_string(&file).expect("the mail is where it says");
    assert!(mail.contains("\r\nTo: zoe@example.org\r\n"), "{mail}");
    assert!(mail.contains("\r\nSubject: Test mail from login.example.com\r\n"), "{mail}");
    // A link in a mail is as good as a password.
    let mode = std::fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn without_a_mail_server_nothing_is_tried() {
    let gateway = gateway("");
    let output = gateway.command(&["mail", "test", "zoe@example.org"], "");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("`mail.url`"), "{output:?}");
    let output = gateway.command(&["mail", "test", "zoe"], "");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
