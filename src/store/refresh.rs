//! Families of refresh tokens, and access tokens that were revoked, as the rooms above see them.
//!
//! A family is one login of a program, kept going by tokens of which each replaces the one before.
//! The store has digests alone. What happens to a token that is shown:
//!
//! | it is | and | then |
//! | --- | --- | --- |
//! | the family's present one | | `Rotated`: `next` takes its place |
//! | the one before | within the grace | `Grace`: the client raced itself, and is told again what followed |
//! | any other | | `Reused`: somebody has a copy, and nobody can say who; the family is revoked |
//!
//! Before all of these: a family that is not there is `Unknown`, one whose time is over `Expired`, and
//! one whose account is gone, disabled or has other credentials since the login `AccountGone`.
//!
//! Callers: everybody who asks the store for something, by way of `store`.

use std::time::{Duration, SystemTime};

use super::{Digest, User};
use crate::identity::{GrantId, UserId};

/// An account holds at most this many families; a further one takes the place of the one that was used least lately.
pub const FAMILIES_PER_ACCOUNT: usize = 50;

/// Revocations that an account holds until what they revoke has ended by itself. One more ends all of its tokens.
pub const REVOCATIONS_PER_ACCOUNT: usize = 1000;

/// A login of a program.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RefreshFamily {
    /// No access token of it lives longer.
    pub access_until: SystemTime,
    /// When the password was typed; a refresh keeps it.
    pub authenticated_at: SystemTime,
    /// The one token that is good, as a digest.
    pub current: Digest,
    /// It ends here, used or not.
    pub expires_at: SystemTime,
    /// Its name, `sid` in its access tokens.
    pub id: GrantId,
    /// When it was begun or last refreshed.
    pub last_used: SystemTime,
    /// The token before.
    pub previous: Option<PreviousToken>,
    /// Whose it is.
    pub user_id: UserId,
}

/// The token that the present one has replaced.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PreviousToken {
    /// Of the token.
    pub digest: Digest,
    /// From it and the token before the present one was derived; worth nothing without that token.
    pub nonce: [u8; 32],
    /// Until then whoever shows it is told again what followed.
    pub until: SystemTime,
}

/// A refresh token was shown.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The end of an access token that is issued for it now.
    pub access_until: SystemTime,
    /// Whose token it claims to be.
    pub family: GrantId,
    /// How long the token that is replaced may be shown again.
    pub grace: Duration,
    /// No family lives longer after its login.
    pub lifetime: Duration,
    /// Of the token that is to follow.
    pub next: Digest,
    /// From which that was derived.
    pub nonce: [u8; 32],
    /// When.
    pub now: SystemTime,
    /// Of the token that was shown.
    pub shown: Digest,
}

/// What came of a rotation.
#[derive(Clone, Debug)]
pub enum Rotated {
    /// Its account is gone, disabled, or has other credentials.
    AccountGone,
    /// Its time is over.
    Expired,
    /// It was replaced a moment ago; the present token is derived from it and this nonce.
    Grace {
        /// As it is.
        family: RefreshFamily,
        /// With which the present token was derived.
        nonce: [u8; 32],
        /// Whose.
        user: Box<User>,
    },
    /// It was used before. The family is revoked.
    Reused {
        /// Whose it was.
        user_id: UserId,
    },
    /// The token that was handed along is the present one now.
    Rotated {
        /// As it is.
        family: RefreshFamily,
        /// Whose.
        user: Box<User>,
    },
    /// There is no such family.
    Unknown,
}
