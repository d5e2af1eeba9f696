//! Which of our keys signs, and when one comes and goes: pure, with the time as an argument.
//!
//! By time: a new key is published five minutes before it signs, the time that others may keep the key set
//! for, so nobody meets a token whose key he doesn't know. By order of an administrator it signs at once: a
//! key that may have leaked is worse than a verifier that has to fetch the set again. A key that has
//! stopped signing verifies until the last token that it has signed is over, and then it goes. Keys of
//! another algorithm than the configured one stay: nobody knows when their last token was made.
//!
//! Callers: `bearer` for what signs; `account` for what is due.

use std::time::{Duration, SystemTime};

use super::{LEEWAY, TokenSettings};
use crate::store::SigningKey;

/// How long a new key is published before it signs: what `Cache-Control` of the key set allows.
pub const PUBLISHED_BEFORE: Duration = Duration::from_secs(300);

/// What a key does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyState {
    /// It is published, and will sign.
    Next,
    /// It signs what is issued now.
    Signing,
    /// It verifies what it has signed.
    Verifying,
}

impl KeyState {
    /// For people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Signing => "signing",
            Self::Verifying => "verifying",
        }
    }
}

/// What has to change.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Due {
    /// A new key is due, to sign from then on.
    pub new_from: Option<SystemTime>,
    /// The names of keys whose last token is over.
    pub over: Vec<String>,
}

/// The key that signs: of the configured algorithm, the last that has begun to.
pub fn signing<'a>(
    keys: impl IntoIterator<Item = &'a SigningKey>,
    settings: &TokenSettings,
    now: SystemTime,
) -> Option<&'a SigningKey> {
    let algorithm = settings.algorithm.as_str();
    let ours = keys.into_iter().filter(|key| key.algorithm == algorithm);
    // One that begins later is better than none: two clocks may differ.
    ours.max_by_key(|key| {
        let begun = key.signs_from <= now;
        (begun, if begun { Ok(key.signs_from) } else { Err(std::cmp::Reverse(key.signs_from)) }, &key.kid)
    })
}

/// What a key does now, among all of them.
pub fn state(key: &SigningKey, keys: &[SigningKey], settings: &TokenSettings, now: SystemTime) -> KeyState {
    if let Some(own) = settings.keys.first() {
        return if own.key.kid == key.kid { KeyState::Signing } else { KeyState::Verifying };
    }
    if signing(keys, settings, now).is_some_and(|signing| signing.kid == key.kid) {
        KeyState::Signing
    } else if key.algorithm == settings.algorithm.as_str() && key.signs_from > now {
        KeyState::Next
    } else {
        KeyState::Verifying
    }
}

/// What is due.
pub fn due(keys: &[SigningKey], settings: &TokenSettings, now: SystemTime) -> Due {
    // Of these the operator says when they come and go.
    if !settings.keys.is_empty() {
        return Due::default();
    }
    let Some(signing) = signing(keys, settings, now) else { return Due::default() };
    let ours = || keys.iter().filter(|key| key.algorithm == signing.algorithm);
    let has_next = ours().any(|key| key.signs_from > now && key.kid != signing.kid);
    let new_from = settings.key_rotation.and_then(|rotation| {
        let end = signing.signs_from + rotation;
        let is_due = !has_next && now + PUBLISHED_BEFORE >= end;
        is_due.then(|| end.max(now + PUBLISHED_BEFORE))
    });
    let over = ours().filter(|key| {
        // The first that took its place.
        let next = ours().filter(|next| next.signs_from > key.signs_from && next.signs_from <= now);
        let stopped = next.map(|next| next.signs_from).min();
        stopped.is_some_and(|stopped| now > stopped + settings.access_ttl + LEEWAY)
    });
    Due { new_from, over: over.map(|key| key.kid.clone()).collect() }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretBox;

    use super::*;
    use crate::authn::Algorithm;

    const DAY: u64 = 24 * 60 * 60;

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    fn settings() -> TokenSettings {
        TokenSettings {
            access_ttl: Duration::from_secs(900),
            algorithm: Algorithm::EdDsa,
            audience: "a".to_owned(),
            cookies: false,
            errors: Default::default(),
            issuer: "a".to_owned(),
            key_rotation: Some(Duration::from_secs(90 * DAY)),
            keys: Vec::new(),
            refresh_grace: Duration::ZERO,
            refresh_ttl: None,
        }
    }

    fn key(kid: &str, signs_from: u64) -> SigningKey {
        SigningKey {
            algorithm: "EdDSA".to_owned(),
            created_at: at(signs_from),
            kid: kid.to_owned(),
            private: SecretBox::new(Box::from([0; 1])),
            signs_from: at(signs_from),
        }
    }

    #[test]
    fn a_key_is_published_before_it_signs_and_goes_when_its_last_token_is_over() {
        let (first, settings) = (key("first", 0), settings());
        let end = 90 * DAY;
        let alone = [first.clone()];
        assert_eq!(due(&alone, &settings, at(end - 301)), Due::default());
        let due_now = due(&alone, &settings, at(end - 300));
        assert_eq!(due_now.new_from, Some(at(end)));
        assert_eq!(due(&alone, &settings, at(end + DAY)).new_from, Some(at(end + DAY + 300)), "a long stop");
        let both = [key("second", end), first];
        let signs = |now| signing(&both, &settings, at(now)).map(|key| key.kid.as_str());
        assert_eq!((signs(end - 1), signs(end)), (Some("first"), Some("second")));
        let states = |now| both.each_ref().map(|key| state(key, &both, &settings, at(now)));
        assert_eq!(states(end - 1), [KeyState::Next, KeyState::Signing]);
        assert_eq!(states(end), [KeyState::Signing, KeyState::Verifying]);
        assert_eq!(due(&both, &settings, at(end - 1)), Due::default(), "the next is there already");
        assert_eq!(due(&both, &settings, at(end + 930)).over, Vec::<String>::new());
        assert_eq!(due(&both, &settings, at(end + 931)).over, ["first"]);
    }

    #[test]
    fn without_rotation_by_time_none_is_due_and_another_algorithm_is_left_alone() {
        let settings = TokenSettings { key_rotation: None, ..settings() };
        let other = SigningKey { algorithm: "RS256".to_owned(), ..key("other", 0) };
        let keys = [key("first", 0), other];
        assert_eq!(due(&keys, &settings, at(1000 * DAY)), Due::default());
        let early = [key("early", 10)];
        assert_eq!(signing(&early, &settings, at(5)).map(|key| key.kid.as_str()), Some("early"));
        assert!(signing(&keys[1..], &settings, at(5)).is_none());
    }
}
