//! Names and addresses that stand twice in one file.
//!
//! Callers: `cli::user::import`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::admin::AccountRecord;
use crate::identity::fold;
use crate::store::Digest;

/// What the lines so far have claimed, by sixteen bytes of a digest: a million lines are some 90 MB.
#[derive(Default)]
pub(super) struct Duplicates {
    emails: Claims,
    usernames: Claims,
}

/// And the line that has it. No file has more lines than a `u32` counts; one that has is told a wrong number.
type Claims = HashMap<[u8; 16], u32>;

impl Duplicates {
    /// Gives the account back, or why it can't be.
    pub(super) fn claim(&mut self, account: AccountRecord, number: u64) -> Result<AccountRecord, String> {
        if let Some(line) = claim(&mut self.usernames, account.username.as_str(), number) {
            return Err(format!("the username stands on line {line} already"));
        }
        let email = account.email.as_ref().map(|email| claim(&mut self.emails, email.as_str(), number));
        match email.flatten() {
            Some(line) => Err(format!("the e-mail address stands on line {line} already")),
            None => Ok(account),
        }
    }
}

/// Gives the line that had it before.
fn claim(claims: &mut Claims, text: &str, number: u64) -> Option<u32> {
    let digest = Digest::of(fold(text).as_bytes());
    let key = *digest.as_bytes().first_chunk().expect("a digest has more than 16 bytes");
    match claims.entry(key) {
        Entry::Occupied(first) => Some(*first.get()),
        Entry::Vacant(free) => {
            free.insert(u32::try_from(number).unwrap_or(u32::MAX));
            None
        }
    }
}
