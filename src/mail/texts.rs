//! The words of each mail, in each language, as plain text and as HTML.
//!
//! A name or an address is escaped in HTML; nothing is loaded from elsewhere, and each link is written out
//! for whoever doesn't follow buttons.
//!
//! Callers: `compose`.

use std::time::Duration;

use super::{Language, Link, Message};

/// One mail in words.
pub(super) struct Words {
    /// Below the button.
    after: Vec<String>,
    before: Vec<String>,
    buttons: Vec<(String, Link)>,
    /// At the very end, small.
    footer: String,
    greeting: String,
    pub(super) subject: String,
}

/// `site` is what people know the site by.
pub(super) fn words(message: &Message, language: Language, site: &str) -> Words {
    match language {
        Language::English => english(message, site),
        Language::German => german(message, site),
    }
}

fn english(message: &Message, site: &str) -> Words {
    let hello = |name: &dyn std::fmt::Display| format!("Hello {name},");
    let words = |greeting: String,
                 subject: String,
                 before: &[String],
                 buttons: Vec<(&str, &Link)>,
                 after: &[&str]| Words {
        after: after.iter().map(|text| (*text).to_owned()).collect(),
        before: before.to_vec(),
        buttons: buttons.into_iter().map(|(label, link)| (label.to_owned(), link.clone())).collect(),
        footer: format!("This mail was sent by {site}, automatically."),
        greeting,
        subject,
    };
    let ignore = "If you did not ask for this, you can ignore this mail.";
    match message {
        Message::AccountDeleted { username } => words(
            hello(username),
            format!("Your account at {site} is deleted"),
            &[format!("Your account {username} at {site} was just deleted from its own page, with its password, and everything that belongs to it here is gone.")],
            vec![],
            &["If you did not do this, tell the people who run the site at once."],
        ),
        Message::AddressTaken { forgot_link, login_link, username } => words(
            hello(username),
            format!("You have an account at {site} already"),
            &[
                format!("Somebody, perhaps you, tried to register at {site} with this address. It belongs to your account {username} already, so no second one was made."),
                "Sign in with your name and your password. If you have forgotten the password, you can set a new one.".to_owned(),
            ],
            vec![("Sign in", login_link), ("Set a new password", forgot_link)],
            &["If it was not you, there is nothing to do: nobody was told that you have an account."],
        ),
        Message::AddressChanged { new_address, username } => words(
            hello(username),
            format!("Your address at {site} was changed"),
            &[format!("The address of your account {username} at {site} is {new_address} now. Mails about the account go there from now on, and none to this address.")],
            vec![],
            &["If you did not do this, somebody else has access to your account: tell the people who run the site at once."],
        ),
        Message::AddressChanging { new_address, username } => words(
            hello(username),
            format!("Your address at {site} is about to change"),
            &[format!("Somebody who is signed in as {username} at {site} has asked to change the account's address to {new_address}. It changes as soon as the new address is confirmed.")],
            vec![],
            &["If you did not do this, somebody else has access to your account: change your password at once."],
        ),
        Message::Approved { login_link, username } => words(
            hello(username),
            format!("Your account at {site} is ready"),
            &[format!("Your account {username} at {site} was approved. You can sign in now.")],
            vec![("Sign in", login_link)],
            &[],
        ),
        Message::ConfirmAddress { link, username } => words(
            hello(username),
            format!("Confirm your address for {site}"),
            &[format!("Thank you for registering at {site}. Please confirm that this address is yours; then you can sign in as {username}.")],
            vec![("Confirm the address", link)],
            &[ignore],
        ),
        Message::ConfirmNewAddress { link, username } => words(
            hello(username),
            format!("Confirm your new address for {site}"),
            &[format!("Please confirm that this is the new address of your account {username} at {site}. Until then the old one holds.")],
            vec![("Confirm the address", link)],
            &[ignore],
        ),
        Message::Invitation { inviter, link } => words(
            "Hello,".to_owned(),
            format!("You are invited to {site}"),
            &[match inviter {
                Some(inviter) => format!("{inviter} invites you to {site}. Choose a name and a password to make your account."),
                None => format!("You are invited to {site}. Choose a name and a password to make your account."),
            }],
            vec![("Accept the invitation", link)],
            &["The link is for you alone, and works once.", "If you did not expect this, you can ignore this mail."],
        ),
        Message::PasswordChanged { forgot_link, username } => words(
            hello(username),
            format!("Your password at {site} was changed"),
            &[
                format!("The password of your account {username} at {site} was just changed."),
                "If it was you, there is nothing to do. If not, set a new one at once, and tell the people who run the site.".to_owned(),
            ],
            vec![("Set a new password", forgot_link)],
            &[],
        ),
        Message::ResetPassword { lifetime, link, username } => words(
            hello(username),
            format!("Set a new password for {site}"),
            &[format!("Somebody, hopefully you, has asked for a new password for your account {username} at {site}. The link works once, within {}.", lasting(*lifetime, Language::English))],
            vec![("Set a new password", link)],
            &["If it was not you, you can ignore this mail: your password stays as it is."],
        ),
        Message::Test {} => words(
            "Hello,".to_owned(),
            format!("Test mail from {site}"),
            &[format!("If you can read this, {site} can send mail to you.")],
            vec![],
            &[],
        ),
    }
}

fn german(message: &Message, site: &str) -> Words {
    let hello = |name: &dyn std::fmt::Display| format!("Hallo {name},");
    let words = |greeting: String,
                 subject: String,
                 before: &[String],
                 buttons: Vec<(&str, &Link)>,
                 after: &[&str]| Words {
        after: after.iter().map(|text| (*text).to_owned()).collect(),
        before: before.to_vec(),
        buttons: buttons.into_iter().map(|(label, link)| (label.to_owned(), link.clone())).collect(),
        footer: format!("Diese Mail wurde automatisch von {site} verschickt."),
        greeting,
        subject,
    };
    let ignore = "Wenn du das nicht angefordert hast, kannst du diese Mail ignorieren.";
    match message {
        Message::AccountDeleted { username } => words(
            hello(username),
            format!("Ihr Konto bei {site} ist gelöscht"),
            &[format!("Ihr Konto {username} bei {site} wurde soeben auf seiner eigenen Seite mit seinem Passwort gelöscht, und alles, was hier dazugehört, ist weg.")],
            vec![],
            &["Wenn Sie das nicht waren, sagen Sie sofort den Betreibern der Seite Bescheid."],
        ),
        Message::AddressTaken { forgot_link, login_link, username } => words(
            hello(username),
            format!("Du hast bei {site} schon ein Konto"),
            &[
                format!("Jemand, vielleicht du selbst, wollte sich bei {site} mit dieser Adresse registrieren. Sie gehört schon zu deinem Konto {username}, darum wurde kein zweites angelegt."),
                "Melde dich mit deinem Namen und deinem Passwort an. Wenn du das Passwort vergessen hast, kannst du ein neues setzen.".to_owned(),
            ],
            vec![("Anmelden", login_link), ("Neues Passwort setzen", forgot_link)],
            &["Wenn du es nicht warst, ist nichts zu tun: Niemand hat erfahren, dass du ein Konto hast."],
        ),
        Message::AddressChanged { new_address, username } => words(
            hello(username),
            format!("Deine Adresse bei {site} wurde geändert"),
            &[format!("Die Adresse deines Kontos {username} bei {site} ist jetzt {new_address}. Mails zum Konto gehen ab jetzt dorthin und nicht mehr an diese Adresse.")],
            vec![],
            &["Wenn du das nicht warst, hat jemand anderes Zugriff auf dein Konto: Sag sofort den Betreibern der Seite Bescheid."],
        ),
        Message::AddressChanging { new_address, username } => words(
            hello(username),
            format!("Deine Adresse bei {site} soll geändert werden"),
            &[format!("Jemand, der bei {site} als {username} angemeldet ist, möchte die Adresse des Kontos in {new_address} ändern. Sie ändert sich, sobald die neue Adresse bestätigt ist.")],
            vec![],
            &["Wenn du das nicht warst, hat jemand anderes Zugriff auf dein Konto: Ändere sofort dein Passwort."],
        ),
        Message::Approved { login_link, username } => words(
            hello(username),
            format!("Dein Konto bei {site} ist bereit"),
            &[format!("Dein Konto {username} bei {site} wurde freigegeben. Du kannst dich jetzt anmelden.")],
            vec![("Anmelden", login_link)],
            &[],
        ),
        Message::ConfirmAddress { link, username } => words(
            hello(username),
            format!("Bestätige deine Adresse für {site}"),
            &[format!("Danke, dass du dich bei {site} registriert hast. Bitte bestätige, dass diese Adresse dir gehört; danach kannst du dich als {username} anmelden.")],
            vec![("Adresse bestätigen", link)],
            &[ignore],
        ),
        Message::ConfirmNewAddress { link, username } => words(
            hello(username),
            format!("Bestätige deine neue Adresse für {site}"),
            &[format!("Bitte bestätige, dass dies die neue Adresse deines Kontos {username} bei {site} ist. Bis dahin gilt die alte.")],
            vec![("Adresse bestätigen", link)],
            &[ignore],
        ),
        Message::Invitation { inviter, link } => words(
            "Hallo,".to_owned(),
            format!("Du bist zu {site} eingeladen"),
            &[match inviter {
                Some(inviter) => format!("{inviter} lädt dich zu {site} ein. Wähle einen Namen und ein Passwort, um dein Konto anzulegen."),
                None => format!("Du bist zu {site} eingeladen. Wähle einen Namen und ein Passwort, um dein Konto anzulegen."),
            }],
            vec![("Einladung annehmen", link)],
            &["Der Link ist nur für dich und funktioniert einmal.", "Wenn du das nicht erwartet hast, kannst du diese Mail ignorieren."],
        ),
        Message::PasswordChanged { forgot_link, username } => words(
            hello(username),
            format!("Dein Passwort bei {site} wurde geändert"),
            &[
                format!("Das Passwort deines Kontos {username} bei {site} wurde soeben geändert."),
                "Wenn du das warst, ist nichts zu tun. Wenn nicht, setze sofort ein neues und sag den Betreibern der Seite Bescheid.".to_owned(),
            ],
            vec![("Neues Passwort setzen", forgot_link)],
            &[],
        ),
        Message::ResetPassword { lifetime, link, username } => words(
            hello(username),
            format!("Neues Passwort für {site} setzen"),
            &[format!("Jemand, hoffentlich du selbst, hat für dein Konto {username} bei {site} ein neues Passwort angefordert. Der Link funktioniert einmal, innerhalb von {}.", lasting(*lifetime, Language::German))],
            vec![("Neues Passwort setzen", link)],
            &["Wenn du das nicht warst, kannst du diese Mail ignorieren: Dein Passwort bleibt, wie es ist."],
        ),
        Message::Test {} => words(
            "Hallo,".to_owned(),
            format!("Test-Mail von {site}"),
            &[format!("Wenn du das lesen kannst, kann {site} dir Mails schicken.")],
            vec![],
            &[],
        ),
    }
}

/// A time in the largest unit that it fills.
fn lasting(time: Duration, language: Language) -> String {
    let minutes = time.as_secs().div_ceil(60);
    let (count, words) = match minutes {
        m if m >= 48 * 60 && m % (24 * 60) == 0 => (m / (24 * 60), [("day", "days"), ("einem Tag", "Tagen")]),
        m if m % 60 == 0 && m > 0 => (m / 60, [("hour", "hours"), ("einer Stunde", "Stunden")]),
        m => (m, [("minute", "minutes"), ("einer Minute", "Minuten")]),
    };
    let [english, german] = words;
    match (language, count) {
        (Language::English, 1) => format!("one {}", english.0),
        (Language::English, count) => format!("{count} {}", english.1),
        (Language::German, 1) => german.0.to_owned(),
        (Language::German, count) => format!("{count} {}", german.1),
    }
}

impl Words {
    /// For programs that show no HTML, and for people who prefer so.
    pub(super) fn text(&self) -> String {
        let mut parts = vec![self.greeting.clone()];
        parts.extend(self.before.iter().cloned());
        parts.extend(self.buttons.iter().map(|(label, link)| format!("{label}:\n{}", link.expose())));
        parts.extend(self.after.iter().cloned());
        parts.push(format!("-- \n{}", self.footer));
        parts.join("\n\n") + "\n"
    }

    /// Tables and inline styles, as mail programs of any age want it.
    pub(super) fn html(&self, language: Language) -> String {
        let lang = match language {
            Language::English => "en",
            Language::German => "de",
        };
        let paragraph = |text: &String| format!("<p>{}</p>\n", escape(text));
        let mut body = paragraph(&self.greeting);
        body.extend(self.before.iter().map(paragraph));
        for (label, link) in &self.buttons {
            let (label, url) = (escape(label), escape(link.expose()));
            body.push_str(&format!("<p><a href=\"{url}\">{label}</a><br>\n<small>{url}</small></p>\n"));
        }
        body.extend(self.after.iter().map(paragraph));
        let (subject, footer) = (escape(&self.subject), escape(&self.footer));
        format!(
            "<!doctype html>\n<html lang=\"{lang}\">\n<head><meta charset=\"utf-8\"><title>{subject}</title></head>\n<body>\n{body}<p><small>{footer}</small></p>\n</body>\n</html>\n"
        )
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
