//! Refresh tokens: how they look, and how one follows from another.
//!
//! A token is `fgr_`, then a selector of 128 and a secret of 256 random bits in base64url. The selector
//! finds the family; the store keeps a digest of either and neither itself, so a copied store is not a set
//! of working tokens, and who reads a family's name in an access token can't make up a token of it.
//!
//! **The rule.** Each refresh gives a new token and voids the one that was shown. The new secret is an HMAC
//! of a fresh nonce under the old one. So a client that races itself (two tabs, a retry after a lost answer)
//! and shows the old token again within `refresh_grace` is told *the same* successor again: the store has
//! the nonce, the client brings the old secret, and neither alone gives anything. However many come at
//! once, the family has one good token at any time, all of them hold it, and nobody is signed out. Whoever
//! shows an old token after the grace, or one from before the last, has a copy that somebody else has
//! used, or the other way round; nobody can say who is the thief, so the family ends, for both.
//!
//! A family ends `refresh_ttl` after its login, however often it is refreshed; `auth_time` stays that of
//! the login. It ends before that with the account's password, with disabling and deletion, with
//! "sign out everywhere", and by revocation of any of its refresh tokens; revocation and reuse end the
//! access tokens that came of it as well.
//!
//! Callers: `account` mints, follows and reads; the portal never looks into one. The rule's transitions
//! are the store's, in `store::Rotated`.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use uuid::Builder;
use zeroize::Zeroizing;

use crate::identity::GrantId;
use crate::store::Digest;

/// What a refresh token begins with: for people, and for programs that look for secrets where none should be.
pub const PREFIX: &str = "fgr_";

const SELECTOR: usize = 16;
const SECRET: usize = 32;
/// Keeps the derivation apart from every other use of HMAC.
const LABEL: &[u8] = b"foregate refresh token\0";

/// A refresh token, as it was shown or made.
pub struct RefreshToken {
    bytes: Zeroizing<[u8; SELECTOR + SECRET]>,
}

/// Nothing of it.
impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshToken")
    }
}

impl RefreshToken {
    /// The first of a new family.
    pub fn mint() -> Self {
        let mut bytes = Zeroizing::new([0; SELECTOR + SECRET]);
        getrandom::fill(bytes.as_mut()).expect("the operating system gives random bytes");
        Self { bytes }
    }

    /// A text that has the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        let decoded = Zeroizing::new(URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?);
        Some(Self { bytes: Zeroizing::new(decoded.as_slice().try_into().ok()?) })
    }

    /// Its successor by this nonce: the same for the same two.
    pub fn next(&self, nonce: &[u8; 32]) -> Self {
        let (selector, secret) = self.bytes.split_at(SELECTOR);
        let mut derive = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
        derive.update(LABEL);
        derive.update(nonce);
        let mut bytes = Zeroizing::new([0; SELECTOR + SECRET]);
        bytes[..SELECTOR].copy_from_slice(selector);
        bytes[SELECTOR..].copy_from_slice(derive.sign().as_ref());
        Self { bytes }
    }

    /// The name of its family, which does not lead back to the selector.
    pub fn family(&self) -> GrantId {
        let digest = Digest::of(&self.bytes[..SELECTOR]);
        let half = digest.as_bytes().first_chunk().copied().unwrap_or_default();
        Builder::from_custom_bytes(half).into_uuid().into()
    }

    /// Under which the store knows it.
    pub fn digest(&self) -> Digest {
        Digest::of(self.bytes.as_slice())
    }

    /// As the client gets it.
    pub fn to_text(&self) -> SecretString {
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(self.bytes.as_slice())).into()
    }
}

/// Random bytes from which a successor is derived.
pub fn nonce() -> [u8; 32] {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).expect("the operating system gives random bytes");
    nonce
}

/// Whether a text is meant as a refresh token, good or not.
pub fn is_meant(text: &SecretString) -> bool {
    text.expose_secret().starts_with(PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_nothing_else_does() {
        let token = RefreshToken::mint();
        let text = token.to_text();
        let text = text.expose_secret();
        assert_eq!(text.len(), 68);
        let back = RefreshToken::parse(text).expect("a token");
        assert_eq!((back.family(), back.digest()), (token.family(), token.digest()));
        let cut = &text[..text.len() - 1];
        let half = &text[..34];
        let (other, padded) = (text.replacen("fgr_", "fgt_", 1), format!("{text}=="));
        for bad in [cut, half, &other, &padded, "fgr_", "", &format!("{text}A"), &format!(" {text}")] {
            assert!(RefreshToken::parse(bad).is_none(), "{bad}");
        }
        assert_eq!(format!("{token:?}"), "RefreshToken");
    }

    #[test]
    fn a_successor_follows_from_token_and_nonce_and_from_nothing_less() {
        let (first, nonce) = (RefreshToken::mint(), nonce());
        let next = first.next(&nonce);
        assert_eq!(next.digest(), first.next(&nonce).digest());
        assert_eq!(next.family(), first.family());
        assert_ne!(next.digest(), first.digest());
        assert_ne!(next.digest(), first.next(&[0; 32]).digest());
        assert_ne!(RefreshToken::mint().next(&nonce).digest(), next.digest());
    }
}
