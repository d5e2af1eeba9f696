//! Passwords: what a good one is, and hashing them on threads of their own.
//!
//! Hashing costs memory and time on purpose, so it has its own bounded threads at a lower priority:
//! a flood of logins waits here and nobody else notices. A password is normalised once before it is
//! hashed (blanks of other scripts become the usual one, then NFC, as RFC 8265 §4.2 has it) and never
//! cut, so that it is the same from every keyboard. Hashes of other applications were mostly made of what
//! was typed, and of which spelling nobody can tell: what is compared is what was typed *and* its
//! normal form, where they differ, and the next login replaces the hash.
//!
//! Callers: `authn` verifies, `account` hashes and asks for the policy. Whose password it is isn't
//! known here.

use secrecy::{ExposeSecret, SecretString};

mod argon;
mod judge;
mod legacy;
mod pace;
mod pool;
mod strength;

pub use argon::UnusableHash;
pub use pool::{Busy, Load, Passwords, Verified};
pub use strength::{Reason, Strength, Weakness};

/// Code points of the longest password that is taken.
pub const MAX_LENGTH: usize = 1024;

/// How passwords are judged and hashed (`password` in the configuration).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PasswordSettings {
    /// Argon2id passes.
    pub iterations: u32,
    /// Argon2id memory in KiB.
    pub memory_kib: u32,
    /// In code points, never below 8.
    pub min_length: usize,
    /// zxcvbn's, 0 to 4.
    pub min_score: u8,
    /// Argon2id lanes.
    pub parallelism: u32,
    /// Hashes computed at once.
    pub workers: usize,
}

/// How a stored hash was made, in one word: `Argon2id` or another application's, which the next login replaces.
pub fn scheme(hash: &SecretString) -> Result<&'static str, UnusableHash> {
    argon::StoredHash::parse(hash.expose_secret()).map(|hash| hash.scheme())
}

/// Whether a stored hash is in a format that can be verified, within the bounds on its cost.
pub fn check_hash(hash: &SecretString) -> Result<(), UnusableHash> {
    argon::StoredHash::parse(hash.expose_secret()).map(drop)
}
