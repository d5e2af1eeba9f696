//! Bringing many accounts along from elsewhere, with the hashes that they have there.
//!
//! Callers: `admin`, through `Accounts`. What a file of them looks like is `cli`'s.

use std::collections::BTreeSet;
use std::time::SystemTime;

use secrecy::SecretString;

use super::{Accounts, Event, StoreError, UserError, Username, record};
use crate::identity::{DisplayName, Email, Role, UnfitUsername};
use crate::password::{UnusableHash, check_hash};
use crate::store::NewUser;

/// An account as another application has it.
pub struct ImportedAccount {
    /// It waits until an administrator lets it in.
    pub awaits_approval: bool,
    /// It waits until its address is confirmed; its next login offers the mail for that.
    pub awaits_confirmation: bool,
    /// It can't sign in until it is enabled.
    pub disabled: bool,
    /// Its address, if it has one.
    pub email: Option<Email>,
    /// In which its mails are written: a tag such as `de`.
    pub language: Option<String>,
    /// For display.
    pub name: DisplayName,
    /// In one of the formats that are verified; without one nobody can sign in until a password is set.
    pub password_hash: Option<SecretString>,
    /// Its roles.
    pub roles: BTreeSet<Role>,
    /// Its login name.
    pub username: Username,
}

/// Why one of them was not made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotImported {
    /// The hash can't be verified here, or not at a bearable cost.
    #[error(transparent)]
    Hash(#[from] UnusableHash),
    /// No new account gets this name.
    #[error(transparent)]
    Unfit(#[from] UnfitUsername),
    /// Another account in the way, or the store.
    #[error(transparent)]
    User(#[from] UserError),
}

impl Accounts {
    /// Makes these accounts, each whole or not at all, and answers for each in its place. After a failure of the
    /// store, which stands in its place, the rest is not tried and says the same.
    pub async fn import(
        &self,
        accounts: Vec<ImportedAccount>,
        now: SystemTime,
    ) -> Vec<Result<(), NotImported>> {
        let (mut answers, sound) = sound(accounts, now);
        let made = self.store.create_users(sound).await;
        let mut made = made.into_iter().map(|one| {
            let user = one?;
            record(Event::AccountImported, &user);
            Ok(())
        });
        fill(&mut answers, &mut made);
        answers
    }

    /// What `import` would answer for each of them alone; makes nothing.
    pub async fn check_import(
        &self,
        accounts: Vec<ImportedAccount>,
        now: SystemTime,
    ) -> Result<Vec<Result<(), NotImported>>, StoreError> {
        let (mut answers, sound) = sound(accounts, now);
        fill(&mut answers, &mut self.store.check_users(sound).await?.into_iter());
        Ok(answers)
    }
}

/// The accounts whose hashes can be used, and the answers so far.
fn sound(accounts: Vec<ImportedAccount>, now: SystemTime) -> (Vec<Result<(), NotImported>>, Vec<NewUser>) {
    let mut sound = Vec::with_capacity(accounts.len());
    let answers = accounts
        .into_iter()
        .map(|account| {
            account.username.fits_basic()?;
            account.password_hash.as_ref().map_or(Ok(()), check_hash)?;
            sound.push(NewUser {
                awaits_approval: account.awaits_approval,
                awaits_confirmation: account.awaits_confirmation,
                created_at: now,
                disabled: account.disabled,
                email: account.email,
                email_is_proven: !account.awaits_confirmation,
                language: account.language,
                name: account.name,
                password_hash: account.password_hash,
                roles: account.roles,
                username: account.username,
            });
            Ok(())
        })
        .collect();
    (answers, sound)
}

/// Puts the store's answers into the places of the accounts that it was asked for.
fn fill(
    answers: &mut [Result<(), NotImported>],
    of_the_store: &mut dyn Iterator<Item = Result<(), UserError>>,
) {
    for (answer, result) in answers.iter_mut().filter(|answer| answer.is_ok()).zip(of_the_store) {
        *answer = result.map_err(NotImported::from);
    }
}
