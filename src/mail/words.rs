//! The words of each mail; they stand in the Fluent files of `response`.
//!
//! Callers: `compose`.

use super::{Language, Link, Message};
use crate::identity::Username;
use crate::response::pages::letters::{Button, Letter};
use crate::response::texts::{Text, Texts, lasting};

/// Characters of a username that a mail shows.
const NAME: usize = 40;

/// What a mail says, in no language yet.
struct Words<'m> {
    after: Vec<Text>,
    before: Vec<Text>,
    buttons: Vec<(Text, &'m Link)>,
    greeting: Text,
    subject: Text,
}

/// The mail in its language. `site` is what people know the site by.
pub(super) fn letter(texts: &Texts, message: &Message, language: Language, site: &str) -> Letter {
    let Words { after, before, buttons, greeting, subject } = words(message, site);
    let say = |text: &Text| texts.say(language, text);
    Letter {
        after: after.iter().map(say).collect(),
        before: before.iter().map(say).collect(),
        buttons: buttons
            .iter()
            .map(|(label, link)| Button { label: say(label), url: link.expose().to_owned() })
            .collect(),
        by_hand: say(&Text::new("mail-by-hand")),
        footer: say(&Text::new("mail-footer").with("site", site)),
        greeting: say(&greeting),
        language,
        site: site.to_owned(),
        subject: say(&subject),
    }
}

fn words<'m>(message: &'m Message, site: &str) -> Words<'m> {
    let hello = |name: &Username| Text::new("mail-hello").with("name", shown(name));
    let confirm = || Text::new("mail-confirm");
    let sign_in = || Text::new("mail-sign-in");
    let set_password = || Text::new("mail-set-password");
    let ignore = || Text::new("mail-ignore");
    match message {
        Message::AccountDeleted { username } => Words {
            subject: Text::new("mail-deleted-subject").with("site", site),
            greeting: hello(username),
            before: vec![
                Text::new("mail-deleted-what").with("site", site).with("username", shown(username)),
                Text::new("mail-deleted-else"),
            ],
            buttons: Vec::new(),
            after: Vec::new(),
        },
        Message::AddressTaken { forgot_link, login_link, username } => Words {
            subject: Text::new("mail-address-taken-subject").with("site", site),
            greeting: hello(username),
            before: vec![
                Text::new("mail-address-taken-what").with("site", site).with("username", shown(username)),
                Text::new("mail-address-taken-next"),
            ],
            buttons: vec![(sign_in(), login_link), (set_password(), forgot_link)],
            after: vec![Text::new("mail-address-taken-else")],
        },
        Message::AddressChanged { new_address, username } => Words {
            subject: Text::new("mail-address-changed-subject").with("site", site),
            greeting: hello(username),
            before: vec![
                Text::new("mail-address-changed-what")
                    .with("site", site)
                    .with("username", shown(username))
                    .with("address", new_address.as_str()),
                Text::new("mail-address-changed-else"),
            ],
            buttons: Vec::new(),
            after: Vec::new(),
        },
        Message::AddressChanging { new_address, username } => Words {
            subject: Text::new("mail-address-changing-subject").with("site", site),
            greeting: hello(username),
            before: vec![
                Text::new("mail-address-changing-what")
                    .with("site", site)
                    .with("username", shown(username))
                    .with("address", new_address.as_str()),
                Text::new("mail-address-changing-else"),
            ],
            buttons: Vec::new(),
            after: Vec::new(),
        },
        Message::AlreadyMember { forgot_link, inviter, login_link, username } => Words {
            subject: Text::new("mail-already-member-subject").with("site", site),
            greeting: hello(username),
            before: vec![
                Text::new("mail-already-member-what")
                    .with("site", site)
                    .with("inviter", shown(inviter))
                    .with("username", shown(username)),
                Text::new("mail-address-taken-next"),
            ],
            buttons: vec![(sign_in(), login_link), (set_password(), forgot_link)],
            after: vec![Text::new("mail-already-member-else")],
        },
        Message::Approved { login_link, username } => Words {
            subject: Text::new("mail-approved-subject").with("site", site),
            greeting: hello(username),
            before: vec![
                Text::new("mail-approved-what").with("site", site).with("username", shown(username)),
            ],
            buttons: vec![(sign_in(), login_link)],
            after: Vec::new(),
        },
        Message::ConfirmAddress { link, username } => Words {
            subject: Text::new("mail-confirm-subject").with("site", site),
            greeting: hello(username),
            before: vec![Text::new("mail-confirm-what").with("site", site).with("username", shown(username))],
            buttons: vec![(confirm(), link)],
            after: vec![ignore()],
        },
        Message::ConfirmNewAddress { link, username } => Words {
            subject: Text::new("mail-confirm-new-subject").with("site", site),
            greeting: hello(username),
            before: vec![
                Text::new("mail-confirm-new-what").with("site", site).with("username", shown(username)),
            ],
            buttons: vec![(confirm(), link)],
            after: vec![ignore()],
        },
        Message::Invitation { inviter, link } => Words {
            subject: Text::new("mail-invitation-subject").with("site", site),
            greeting: Text::new("mail-hello-nobody"),
            before: vec![match inviter {
                Some(inviter) => {
                    Text::new("mail-invitation-from").with("site", site).with("inviter", shown(inviter))
                }
                None => Text::new("mail-invitation-what").with("site", site),
            }],
            buttons: vec![(Text::new("mail-accept"), link)],
            after: vec![Text::new("mail-invitation-once"), Text::new("mail-invitation-else")],
        },
        Message::PasswordChanged { forgot_link, username } => Words {
            subject: Text::new("mail-password-subject").with("site", site),
            greeting: hello(username),
            before: vec![
                Text::new("mail-password-what").with("site", site).with("username", shown(username)),
                Text::new("mail-password-else"),
            ],
            buttons: vec![(set_password(), forgot_link)],
            after: Vec::new(),
        },
        Message::ResetPassword { lifetime, link, username } => Words {
            subject: Text::new("mail-reset-subject").with("site", site),
            greeting: hello(username),
            before: vec![
                Text::new("mail-reset-what")
                    .with("site", site)
                    .with("username", shown(username))
                    .with("lasting", lasting(*lifetime)),
            ],
            buttons: vec![(set_password(), link)],
            after: vec![Text::new("mail-reset-else")],
        },
        Message::Test {} => Words {
            subject: Text::new("mail-test-subject").with("site", site),
            greeting: Text::new("mail-hello-nobody"),
            before: vec![Text::new("mail-test-what").with("site", site)],
            buttons: Vec::new(),
            after: Vec::new(),
        },
    }
}

/// A name that somebody may have chosen for what it says to others: who registers has a mail sent to whomever he likes.
/// It is cut short, and no link.
fn shown(name: &Username) -> String {
    let mut shown: String =
        name.as_str().chars().take(NAME).map(|c| if c == '/' { ' ' } else { c }).collect();
    if name.as_str().chars().nth(NAME).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::super::Links;
    use super::*;
    use crate::response::look::Look;
    use crate::response::pages::letters::Letters;

    #[test]
    fn a_mail_takes_no_message_of_strangers_along() {
        let name = "Collect your prize now at https://evil.test/prize and tell your friends".parse();
        let links = Links::new("https://a.test", "/.auth");
        let message =
            Message::ConfirmAddress { link: links.confirm(&"x".into()), username: name.expect("a name") };
        let letter = letter(&Texts::built_in(), &message, Language::English, "a.test");
        let text = Letters::new(&Look::default()).text(&letter);
        assert!(!text.contains("://evil") && !text.contains("friends"), "{text}");
        assert!(text.contains("Collect your prize"), "{text}");
    }
}
