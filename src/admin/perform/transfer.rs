//! Import, export and the count of hash schemes: a slice of accounts for each command.
//!
//! Callers: `admin::perform`.

use std::time::SystemTime;

use secrecy::SecretString;

use super::{SLICE, SLICE_BYTES, folded_name, store};
use crate::account::{Accounts, ImportedAccount, NotImported};
use crate::admin::failure::Failure;
use crate::admin::message::{Reply, Secret};
use crate::admin::transfer::{AccountRecord, Awaited, ImportUsers, Imported, Refusal, SchemeCounts};
use crate::password;
use crate::store::{StoreError, UserError};
use crate::telemetry::audit::{self, About, Event};

/// What a hash is called that is in no format we know: one that was kept by a newer version, say.
const UNKNOWN: &str = "unknown";

/// Makes the accounts, or looks whether they could be made.
pub(super) async fn import(
    accounts: &Accounts,
    import: ImportUsers,
    now: SystemTime,
) -> Result<Reply, Failure> {
    let records = import.accounts.into_iter().map(imported).collect();
    let answers = if import.check {
        accounts.check_import(records, now).await.map_err(store)?
    } else {
        accounts.import(records, now).await
    };
    let mut done = Imported { made: 0, refused: Vec::new(), failure: None };
    for (place, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(()) => done.made += 1,
            Err(why) => match refusal(why) {
                Ok(refusal) => done.refused.push((place, refusal)),
                Err(error) => done.failure = Some(error.to_string()),
            },
        }
    }
    Ok(Reply::Imported(done))
}

/// Accounts with their hashes, after this one.
pub(super) async fn export(accounts: &Accounts, after: Option<String>) -> Result<Reply, Failure> {
    if after.is_none() {
        audit::record(Event::AccountsExported, About::Server);
    }
    let page = accounts.page(after, SLICE).await.map_err(store)?;
    let total = page.len();
    let (mut bytes, mut seen, mut slice) = (0, None, Vec::with_capacity(total));
    let (mut looked_at, mut damaged) = (0, Vec::new());
    for user in page {
        looked_at += 1;
        seen = Some(folded_name(&user));
        let user = match user {
            Ok(user) => user,
            Err(account) => {
                damaged.push(account.into());
                continue;
            }
        };
        // It is nobody's account, and elsewhere nothing would end it.
        if user.is_stand_in() {
            continue;
        }
        let record = AccountRecord::from(user);
        bytes += serde_json::to_string(&record).map_or(0, |json| json.len());
        slice.push(record);
        if bytes > SLICE_BYTES {
            break;
        }
    }
    let more = total >= SLICE || looked_at < total;
    let next = seen.filter(|_| more);
    Ok(Reply::Exported { accounts: slice, damaged, next })
}

/// How the passwords are kept of the accounts after this one.
pub(super) async fn schemes(accounts: &Accounts, after: Option<String>) -> Result<Reply, Failure> {
    let page = accounts.page(after, SLICE).await.map_err(store)?;
    let next = page.last().filter(|_| page.len() >= SLICE).map(folded_name);
    let (mut counts, mut damaged) = (SchemeCounts::default(), Vec::new());
    for user in page {
        let user = match user {
            Ok(user) => user,
            Err(account) => {
                damaged.push(account.into());
                continue;
            }
        };
        counts.accounts += 1;
        match &user.password_hash {
            Some(hash) => *counts.schemes.entry(scheme(hash).to_owned()).or_default() += 1,
            None => counts.without_password += 1,
        }
    }
    Ok(Reply::Schemes { counts, damaged, next })
}

/// The scheme of one hash, for a person.
pub(in crate::admin) fn scheme(hash: &SecretString) -> &'static str {
    password::scheme(hash).unwrap_or(UNKNOWN)
}

fn imported(record: AccountRecord) -> ImportedAccount {
    ImportedAccount {
        awaits_approval: record.awaits.contains(&Awaited::Approval),
        awaits_confirmation: record.awaits.contains(&Awaited::Confirmation),
        disabled: record.disabled,
        email: record.email,
        language: record.language,
        name: record.name,
        password_hash: record.password_hash.map(|Secret(hash)| hash),
        roles: record.roles,
        username: record.username,
    }
}

/// What concerns this account alone, or what concerns them all.
fn refusal(why: NotImported) -> Result<Refusal, StoreError> {
    match why {
        NotImported::Hash(error) => Ok(Refusal::Hash { reason: error.to_string() }),
        NotImported::Unfit(error) => Ok(Refusal::Username { reason: error.to_string() }),
        NotImported::User(UserError::EmailTaken) => Ok(Refusal::EmailTaken),
        NotImported::User(UserError::UsernameTaken) => Ok(Refusal::UsernameTaken),
        NotImported::User(UserError::Store(StoreError::TooLarge { limit })) => {
            Ok(Refusal::TooLarge { limit })
        }
        NotImported::User(UserError::Store(error)) => Err(error),
        // Making an account looks for none.
        NotImported::User(error @ UserError::NotFound) => Err(StoreError::Corrupt(error.to_string())),
    }
}
