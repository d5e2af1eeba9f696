//! Personal access tokens: how they look, and whose they are.
//!
//! A token is `fgt_` and 48 characters of base64url: 256 random bits, and after them the first four
//! bytes of the SHA-256 of `fgt_` and those bits. So a scanner for secrets can tell one from what merely looks
//! like it (`fgt_[A-Za-z0-9_-]{48}`, then the checksum), and one that was mistyped or cut is refused
//! without a look into the store. 36 bytes fill 48 characters, so that there is one spelling.
//!
//! It is shown as Bearer, or in place of the password as Basic. It is no typed password: it
//! never makes a login fresh, and no success with it clears the failures that were counted at passwords.
//!
//! Callers: `authn` verifies; `account` mints. The store keeps the digest alone.

use std::net::IpAddr;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::login::{self, LoginFailure, PasswordLogin};
use crate::identity::{Credential, Identity, TokenGrant, fold};
use crate::store::{Digest, PersonalToken, Store, StoreError, User};

/// How every token begins, and nothing else that we make.
pub const PREFIX: &str = "fgt_";

const RANDOM: usize = 32;
const CHECKSUM: usize = 4;
/// Characters behind the prefix.
const ENCODED: usize = 48;

/// A new token, to be shown once.
pub fn mint() -> SecretString {
    let mut bytes = Zeroizing::new([0; RANDOM + CHECKSUM]);
    let (random, checksum) = bytes.split_at_mut(RANDOM);
    getrandom::fill(random).expect("the operating system gives random bytes");
    checksum.copy_from_slice(&checksum_of(random));
    let mut token = String::with_capacity(PREFIX.len() + ENCODED);
    token.push_str(PREFIX);
    URL_SAFE_NO_PAD.encode_string(bytes.as_slice(), &mut token);
    token.into()
}

/// The digest of what has the form of a token, checksum included; `None` for everything else.
pub fn digest(shown: &[u8]) -> Option<Digest> {
    let encoded = shown.strip_prefix(PREFIX.as_bytes()).filter(|rest| rest.len() == ENCODED)?;
    let mut bytes = Zeroizing::new([0; RANDOM + CHECKSUM]);
    let written = URL_SAFE_NO_PAD.decode_slice(encoded, bytes.as_mut_slice()).ok()?;
    let (random, checksum) = bytes.split_at(RANDOM);
    let holds = written == bytes.len() && checksum == checksum_of(random);
    holds.then(|| Digest::of(shown))
}

fn checksum_of(random: &[u8]) -> [u8; CHECKSUM] {
    let text = Zeroizing::new([PREFIX.as_bytes(), random].concat());
    let digest = Digest::of(&text);
    *digest.as_bytes().first_chunk().expect("a digest has more than four bytes")
}

/// The token with this digest and its account, if both are good now.
pub fn find(
    store: &Store,
    digest: Digest,
    now: SystemTime,
) -> Result<Option<(PersonalToken, User)>, StoreError> {
    let Some(token) = store.personal_token(digest)?.filter(|token| token.is_live(now)) else {
        return Ok(None);
    };
    let user = store.user(token.user_id)?.filter(User::may_sign_in);
    Ok(user.map(|user| (token, user)))
}

/// Who somebody is that shows this token, by this scheme.
pub fn identity(token: &PersonalToken, user: &User, credential: Credential) -> Identity {
    Identity {
        expires_at: token.expires_at,
        token: Some(TokenGrant {
            id: token.id(),
            routes: token.routes.clone(),
            scopes: token.scopes.clone(),
        }),
        ..login::identity(user, credential, token.created_at)
    }
}

/// A token beside the name or the address of its account: what Basic shows. A wrong pair is a failure
/// as a wrong password is one, and no password is hashed for it.
pub async fn verify_pair(
    login: &PasswordLogin,
    source: IpAddr,
    name: &str,
    digest: Digest,
    now: SystemTime,
) -> Result<(PersonalToken, User), LoginFailure> {
    login
        .verify_otherwise(source, name, |store| {
            let name = fold(name.trim());
            let is_name = |user: &User| {
                let address = user.email.as_ref().is_some_and(|email| email.folded() == name);
                address || user.username.folded() == name
            };
            Ok(find(store, digest, now)?.filter(|(_, user)| is_name(user)))
        })
        .await
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_token_is_known_by_its_form_and_every_other_spelling_is_none() {
        let token = mint();
        let token = token.expose_secret();
        assert_eq!(token.len(), PREFIX.len() + ENCODED);
        assert_eq!(digest(token.as_bytes()), Some(Digest::of(token.as_bytes())));
        for at in 0..token.len() {
            for other in [b'A', b'B', b'-', b'=', b'\n', 0xff] {
                let mut altered = token.as_bytes().to_vec();
                if altered[at] != other {
                    altered[at] = other;
                    assert_eq!(digest(&altered), None, "{at}: {other}");
                }
            }
            assert_eq!(digest(&token.as_bytes()[..at]), None, "cut at {at}");
        }
        for odd in
            [format!("{token}="), format!(" {token}"), token.to_uppercase(), token.replace("fgt_", "ghp_")]
        {
            assert_eq!(digest(odd.as_bytes()), None, "{odd}");
        }
        assert_ne!(mint().expose_secret(), token);
    }

    #[test]
    fn the_form_is_the_one_that_scanners_were_told() {
        // Zeros, and the checksum of `fgt_` and 32 of them: a token of an earlier version stays one.
        let zeros = Digest::of(&[PREFIX.as_bytes(), &[0; RANDOM]].concat());
        let bytes = [&[0; RANDOM][..], &zeros.as_bytes()[..4]].concat();
        let token = format!("fgt_{}", URL_SAFE_NO_PAD.encode(bytes));
        assert!(digest(token.as_bytes()).is_some(), "{token}");
        assert!(token.starts_with("fgt_AAAAAAAA") && token.len() == 52, "{token}");
    }
}
