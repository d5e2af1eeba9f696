//! The notice that survives one redirect, such as "You are signed out."
//!
//! Callers: the portal's pages. The session's cookie is `authn`'s.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::response::texts::Text;

/// Its name.
pub(super) const NAME: &str = "foregate-notice";

/// The value of the cookie with this name, of any length (`authn::session::cookie` is for tokens alone). Two different ones are none: one of them was planted.
fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let fields = headers.get_all(COOKIE).iter().filter_map(|field| field.to_str().ok());
    let pairs = fields.flat_map(|field| field.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(found, _)| *found == name).map(|(_, value)| value);
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

/// What the next page says, once: the login page, or the account's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Notice {
    AccountDeleted,
    AddressChanged,
    AddressChanging,
    AddressConfirmed,
    AddressConfirmedWaiting,
    ConfirmationSent,
    InvitationRevoked,
    InvitationSent,
    LinkSent,
    OtherSessionsEnded,
    PasswordChanged,
    PasswordSet,
    ProfileSaved,
    Registered,
    RegisteredConfirm,
    RegisteredWaiting,
    SessionEnded,
    SignedOut,
    TokenRevoked,
}

/// All of them, each with its word in the cookie.
const WORDS: [(Notice, &str); 19] = [
    (Notice::AccountDeleted, "account_deleted"),
    (Notice::AddressChanged, "address_changed"),
    (Notice::AddressChanging, "address_changing"),
    (Notice::AddressConfirmed, "address_confirmed"),
    (Notice::AddressConfirmedWaiting, "address_confirmed_waiting"),
    (Notice::ConfirmationSent, "confirmation_sent"),
    (Notice::InvitationRevoked, "invitation_revoked"),
    (Notice::InvitationSent, "invitation_sent"),
    (Notice::LinkSent, "link_sent"),
    (Notice::OtherSessionsEnded, "other_sessions_ended"),
    (Notice::PasswordChanged, "password_changed"),
    (Notice::PasswordSet, "password_set"),
    (Notice::ProfileSaved, "profile_saved"),
    (Notice::Registered, "registered"),
    (Notice::RegisteredConfirm, "registered_confirm"),
    (Notice::RegisteredWaiting, "registered_waiting"),
    (Notice::SessionEnded, "session_ended"),
    (Notice::SignedOut, "signed_out"),
    (Notice::TokenRevoked, "token_revoked"),
];

impl Notice {
    /// For the person.
    pub(super) fn text(self) -> Text {
        Text::new(match self {
            Self::AccountDeleted => "notice-account-deleted",
            Self::AddressChanged => "notice-address-changed",
            Self::AddressChanging => "notice-address-changing",
            Self::AddressConfirmed => "notice-address-confirmed",
            Self::AddressConfirmedWaiting => "notice-address-confirmed-waiting",
            Self::ConfirmationSent => "notice-confirmation-sent",
            Self::InvitationRevoked => "notice-invitation-revoked",
            Self::InvitationSent => "notice-invitation-sent",
            Self::LinkSent => "notice-link-sent",
            Self::OtherSessionsEnded => "notice-other-sessions-ended",
            Self::PasswordChanged => "notice-password-changed",
            Self::PasswordSet => "notice-password-set",
            Self::ProfileSaved => "notice-profile-saved",
            Self::Registered => "notice-registered",
            Self::RegisteredConfirm => "notice-registered-confirm",
            Self::RegisteredWaiting => "notice-registered-waiting",
            Self::SessionEnded => "notice-session-ended",
            Self::SignedOut => "notice-signed-out",
            Self::TokenRevoked => "notice-token-revoked",
        })
    }

    /// What these headers carry. Anybody may plant it, so it is one of our words or nothing.
    pub(super) fn read(headers: &HeaderMap) -> Option<Self> {
        let word = value(headers, NAME)?;
        WORDS.iter().find(|(_, known)| *known == word).map(|(notice, _)| *notice)
    }

    /// `Set-Cookie` that carries it to the next page under `prefix`. It says nothing worth hiding, so it needs no `Secure`.
    pub(super) fn set(self, prefix: &str) -> Option<HeaderValue> {
        let (_, word) = WORDS.iter().find(|(notice, _)| *notice == self)?;
        set_cookie(word, prefix, 60)
    }

    /// `Set-Cookie` that takes it away again.
    pub(super) fn clear(prefix: &str) -> Option<HeaderValue> {
        set_cookie("", prefix, 0)
    }
}

fn set_cookie(value: &str, prefix: &str, seconds: u32) -> Option<HeaderValue> {
    let cookie = format!("{NAME}={value}; Path={prefix}; Max-Age={seconds}; HttpOnly; SameSite=Lax");
    HeaderValue::try_from(cookie).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_or_none() {
        let cases: [(&[&str], Option<&str>); 9] = [
            (&["a=1"], Some("1")),
            (&["b=2; a=1"], Some("1")),
            (&["b=2", "a=1"], Some("1")),
            (&["a=1; a=1"], Some("1")),
            (&["a=1; a=2"], None),
            (&["a=1", "a=2"], None),
            (&["aa=1; A=2"], None),
            (&["a"], None),
            (&[], None),
        ];
        for (fields, expected) in cases {
            let headers = fields.iter().map(|field| (COOKIE, HeaderValue::from_static(field))).collect();
            assert_eq!(value(&headers, "a"), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_notice_survives_the_way_through_the_browser() {
        for (notice, _) in WORDS {
            let set = notice.set("/.auth").expect("a header value");
            let pair = set.to_str().expect("ASCII").split(';').next().expect("a pair");
            let headers = HeaderMap::from_iter([(COOKIE, pair.parse().expect("a header value"))]);
            assert_eq!(Notice::read(&headers), Some(notice));
        }
        let planted = HeaderMap::from_iter([(COOKIE, HeaderValue::from_static("foregate-notice=<b>"))]);
        assert_eq!(Notice::read(&planted), None);
    }
}
