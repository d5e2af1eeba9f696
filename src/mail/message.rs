//! What mails say: one variant for each mail, with what its text is about.
//!
//! Every value in one is of a type that holds no control character, and subjects are ours: nothing that a
//! person can choose makes a header of its own.
//!
//! Callers: `account` makes them; `words` puts them into words; the outbox keeps them as JSON.

use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::{Language, Link, Mail};
use crate::identity::{Email, Username};

/// What a mail says. The outbox keeps the names of variants and fields: renaming one loses the mails that wait.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// To the address of an account that its person has just deleted.
    AccountDeleted {
        /// The account's name.
        username: Username,
    },
    /// To somebody who tries to register with an address that has an account: it is said to its owner alone.
    AddressTaken {
        /// For who has forgotten that there is an account, and the password as well.
        forgot_link: Link,
        /// For who has forgotten that there is an account.
        login_link: Link,
        /// The account's name.
        username: Username,
    },
    /// To the old address, once the new one holds.
    AddressChanged {
        /// The one that holds now.
        new_address: Email,
        /// The account's name.
        username: Username,
    },
    /// To the old address, while the new one waits to be confirmed.
    AddressChanging {
        /// The one that was asked for.
        new_address: Email,
        /// The account's name.
        username: Username,
    },
    /// To the owner of an address whom a member wanted to invite: it is said to them alone.
    AlreadyMember {
        /// For who has forgotten the password.
        forgot_link: Link,
        /// Who invites.
        inviter: Username,
        /// For who has forgotten that there is an account.
        login_link: Link,
        /// The account's name.
        username: Username,
    },
    /// An administrator has let the account in.
    Approved {
        /// Where to go.
        login_link: Link,
        /// The account's name.
        username: Username,
    },
    /// To the address of a new account.
    ConfirmAddress {
        /// The page that confirms.
        link: Link,
        /// The account's name.
        username: Username,
    },
    /// To the new address of an account.
    ConfirmNewAddress {
        /// The page that confirms.
        link: Link,
        /// The account's name.
        username: Username,
    },
    /// To somebody who may make an account.
    Invitation {
        /// Who invites; `None`: an administrator.
        inviter: Option<Username>,
        /// The page to register on.
        link: Link,
    },
    /// A password was set.
    PasswordChanged {
        /// For who didn't do it.
        forgot_link: Link,
        /// The account's name.
        username: Username,
    },
    /// To who has forgotten a password.
    ResetPassword {
        /// How long the link is good. After it the mail isn't sent any more.
        #[serde(with = "seconds")]
        lifetime: Duration,
        /// The page that sets a password.
        link: Link,
        /// The account's name.
        username: Username,
    },
    /// From `foregate mail test`.
    Test {},
}

/// Which mail it is, without what is in it: for figures, the log, and the bound on how many of them a mailbox gets.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// `Message::AccountDeleted`
    AccountDeleted,
    /// `Message::AddressTaken`
    AddressTaken,
    /// `Message::AddressChanged`
    AddressChanged,
    /// `Message::AddressChanging`
    AddressChanging,
    /// `Message::Approved`
    Approved,
    /// `Message::ConfirmAddress`
    ConfirmAddress,
    /// `Message::ConfirmNewAddress`
    ConfirmNewAddress,
    /// `Message::Invitation` and `Message::AlreadyMember`
    Invitation,
    /// `Message::PasswordChanged`
    PasswordChanged,
    /// `Message::ResetPassword`
    ResetPassword,
    /// `Message::Test`
    Test,
}

impl Message {
    /// Which mail it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::AccountDeleted { .. } => Kind::AccountDeleted,
            Self::AddressTaken { .. } => Kind::AddressTaken,
            Self::AddressChanged { .. } => Kind::AddressChanged,
            Self::AddressChanging { .. } => Kind::AddressChanging,
            // Counted as what it stands for: a member must not see from it who has an account.
            Self::AlreadyMember { .. } => Kind::Invitation,
            Self::Approved { .. } => Kind::Approved,
            Self::ConfirmAddress { .. } => Kind::ConfirmAddress,
            Self::ConfirmNewAddress { .. } => Kind::ConfirmNewAddress,
            Self::Invitation { .. } => Kind::Invitation,
            Self::PasswordChanged { .. } => Kind::PasswordChanged,
            Self::ResetPassword { .. } => Kind::ResetPassword,
            Self::Test {} => Kind::Test,
        }
    }

    /// From when on nobody has a use for it, where it says so itself.
    pub(super) fn is_void_at(&self, created_at: SystemTime) -> Option<SystemTime> {
        match self {
            Self::ResetPassword { lifetime, .. } => created_at.checked_add(*lifetime),
            Self::AccountDeleted { .. }
            | Self::AddressTaken { .. }
            | Self::AddressChanged { .. }
            | Self::AddressChanging { .. }
            | Self::AlreadyMember { .. }
            | Self::Approved { .. }
            | Self::ConfirmAddress { .. }
            | Self::ConfirmNewAddress { .. }
            | Self::Invitation { .. }
            | Self::PasswordChanged { .. }
            | Self::Test {} => None,
        }
    }
}

impl Kind {
    /// As the log has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccountDeleted => "account_deleted",
            Self::AddressTaken => "address_taken",
            Self::AddressChanged => "address_changed",
            Self::AddressChanging => "address_changing",
            Self::Approved => "approved",
            Self::ConfirmAddress => "confirm_address",
            Self::ConfirmNewAddress => "confirm_new_address",
            Self::Invitation => "invitation",
            Self::PasswordChanged => "password_changed",
            Self::ResetPassword => "reset_password",
            Self::Test => "test",
        }
    }

    /// Whether anybody at all, or any member, can have it sent, and to whomever they like.
    pub(super) fn is_for_strangers(self) -> bool {
        match self {
            Self::AddressTaken | Self::ConfirmAddress | Self::Invitation | Self::ResetPassword => true,
            Self::AccountDeleted
            | Self::AddressChanged
            | Self::AddressChanging
            | Self::Approved
            | Self::ConfirmNewAddress
            | Self::PasswordChanged
            | Self::Test => false,
        }
    }
}

#[derive(Deserialize, Serialize)]
struct Kept {
    /// Its tag.
    language: String,
    message: Message,
}

/// As the outbox keeps it.
pub(super) fn write(mail: &Mail) -> SecretString {
    let Mail { language, message, to: _ } = mail;
    let kept = Kept { language: language.tag().to_owned(), message: message.clone() };
    serde_json::to_string(&kept).expect("a message is names and texts").into()
}

/// From the outbox. The error shows nothing of what is in it.
pub(super) fn read(kept: &SecretString, to: Email) -> Option<Mail> {
    let Kept { language, message } = serde_json::from_str(kept.expose_secret()).ok()?;
    // One that an older version doesn't speak is better said in another one than not at all.
    Some(Mail { language: Language::parse(&language).unwrap_or_default(), message, to })
}

mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(value.as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_secs)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Links;
    use super::*;

    /// Mails of every version that has kept one have to be read for ever.
    #[test]
    fn a_mail_is_kept_as_it_always_was() {
        let links = Links::new("https://a.test", "/.auth");
        let message = Message::ResetPassword {
            lifetime: Duration::from_secs(3600),
            link: links.reset(&"x".into()),
            username: "zoë".parse().expect("a name"),
        };
        let to: Email = "zoe@a.test".parse().expect("an address");
        let kept = write(&Mail { language: Language::German, message, to: to.clone() });
        let expected = r#"{"language":"de","message":{"reset_password":{"lifetime":3600,"link":"https://a.test/.auth/reset?token=x","username":"zoë"}}}"#;
        assert_eq!(kept.expose_secret(), expected);
        let back = read(&kept, to).expect("it is read back");
        assert_eq!((back.language, back.message.kind()), (Language::German, Kind::ResetPassword));
        assert!(read(&"{}".into(), back.to).is_none());
    }
}
