//! Passwords: what a good one is, and hashing them on threads of their own.
//!
//! Hashing costs memory and time on purpose, so it has its own bounded threads at a lower priority:
//! a flood of logins waits here and nobody else notices.
//!
//! Callers: `authn` verifies, `account` hashes and asks for the policy. Whose password it is isn't
//! known here.

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
