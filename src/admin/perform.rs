//! Carrying out a command: the same for the server and for a command line that has the store itself.
//!
//! Callers: `admin::server`, and `cli` where no server runs.

use std::time::SystemTime;

mod transfer;

pub(super) use self::transfer::scheme;
use super::failure::Failure;
use super::message::{AccountView, AddUser, Command, LinkBase, Password, Reply, Secret, SetUser};
use super::personal;
use crate::account::{AccountChange, AccountError, Accounts, NewAccount, NewPassword};
use crate::identity::{Username, fold};
use crate::store::{DamagedAccount, StoreError, User, UserError};

mod invitation;
mod key;
mod session;

/// Accounts of one slice at most.
const SLICE: usize = 500;
/// Bytes of one slice: half of what a line may have, for the last account may bring it over.
const SLICE_BYTES: usize = super::line::MAX_LINE / 2;
/// Rows of the store in one reply: also the largest fit into a line.
const ROWS: usize = 100;
/// How many names are compared for "did you mean", and how alike two of them are (Jaro-Winkler).
const COMPARED: usize = 5_000;
const ALIKE: f64 = 0.79;

/// Does what the command says. What went wrong is in the reply: nothing was done then.
pub async fn perform(accounts: &Accounts, links: &LinkBase, command: Command, now: SystemTime) -> Reply {
    let done = match command {
        // The server answers these itself.
        Command::Reload | Command::Status => Err(Failure::NotRunning),
        Command::Token(command) => personal::perform(accounts, command, now).await,
        Command::StoreBackup => Ok(Reply::BackupBegun { id: accounts.begin_backup() }),
        Command::StoreChanges { id, last } => accounts
            .backup_changes(id, ROWS, last)
            .await
            .map(|(rows, all)| Reply::BackupRows { all, rows })
            .map_err(store),
        Command::StoreRows { after } => accounts
            .backup_rows(after, ROWS)
            .await
            .map(|rows| Reply::BackupRows { all: rows.is_empty(), rows })
            .map_err(store),
        Command::InvitationList { after } => invitation::list(accounts, after, now).await,
        Command::InvitationRevoke(which) => invitation::revoke(accounts, which).await,
        Command::KeyList => key::list(accounts, now),
        Command::KeyRotate => key::rotate(accounts, now).await,
        Command::SessionList { after, login } => session::list(accounts, login, after, now).await,
        Command::SessionRevoke(which) => session::revoke(accounts, which, now).await,
        Command::UserAdd(user) => add(accounts, links, user, now).await,
        Command::UserDelete { login } => delete(accounts, &login).await,
        Command::UserDisable { login } => {
            named(accounts, &login, accounts.set_disabled(&login, true).await).await
        }
        Command::UserEnable { login } => {
            named(accounts, &login, accounts.set_disabled(&login, false).await).await
        }
        Command::UserApprove { login } => named(accounts, &login, accounts.approve(&login).await).await,
        Command::UserInvite { email, roles } => invitation::invite(accounts, email, roles, now).await,
        Command::UserExport { after } => transfer::export(accounts, after).await,
        Command::UserImport(import) => transfer::import(accounts, import, now).await,
        Command::UserList { after } => list(accounts, after).await,
        Command::UserSchemes { after } => transfer::schemes(accounts, after).await,
        Command::UserSet(change) => set(accounts, change, now).await,
        Command::UserUnlock { login } => named(accounts, &login, accounts.unlock(&login).await).await,
        Command::UserShow { login } => show(accounts, &login, now).await,
    };
    done.unwrap_or_else(Reply::Failed)
}

async fn add(
    accounts: &Accounts,
    links: &LinkBase,
    user: AddUser,
    now: SystemTime,
) -> Result<Reply, Failure> {
    let (username, email) = (user.username.clone(), user.email.as_ref().map(ToString::to_string));
    let password = match user.password {
        Password::Hash(Secret(hash)) => NewPassword::Hash(hash),
        Password::Link => NewPassword::Link,
        Password::Plain(Secret(password)) => NewPassword::Plain(password),
    };
    let new = NewAccount {
        email: user.email,
        name: user.name,
        password,
        roles: user.roles,
        username: user.username,
    };
    match accounts.add(new, now).await {
        Ok((user, token)) => {
            Ok(Reply::Added { account: user.into(), link: token.map(|token| Secret(links.reset(&token))) })
        }
        Err(AccountError::User(UserError::UsernameTaken)) => Err(Failure::UsernameTaken { username }),
        Err(error) => Err(failure(error, username.as_str(), email)),
    }
}

async fn set(accounts: &Accounts, change: SetUser, now: SystemTime) -> Result<Reply, Failure> {
    let email = change.email.as_ref().map(ToString::to_string);
    let stored = AccountChange {
        email: change.email,
        name: change.name,
        password: change.password.map(|Secret(password)| password),
        roles: change.roles,
    };
    match accounts.change(&change.login, stored, now).await {
        Err(AccountError::User(UserError::NotFound)) => {
            named(accounts, &change.login, Err(UserError::NotFound)).await
        }
        Err(error) => Err(failure(error, &change.login, email)),
        Ok(user) => Ok(Reply::Account(user.into())),
    }
}

async fn show(accounts: &Accounts, login: &str, now: SystemTime) -> Result<Reply, Failure> {
    match named(accounts, login, accounts.find(login)).await? {
        Reply::Account(mut account) => {
            account.sessions = Some(session::summary(accounts, account.id, now).await?);
            Ok(Reply::Account(account))
        }
        reply => Ok(reply),
    }
}

async fn list(accounts: &Accounts, after: Option<String>) -> Result<Reply, Failure> {
    let page = accounts.page(after, SLICE).await.map_err(store)?;
    let total = page.len();
    let (mut bytes, mut looked_at, mut seen) = (0, 0, None);
    let (mut slice, mut damaged) = (Vec::with_capacity(total), Vec::new());
    for user in page {
        looked_at += 1;
        seen = Some(folded_name(&user));
        match user {
            Ok(user) => {
                let view = AccountView::from(user);
                bytes += serde_json::to_string(&view).map_or(0, |json| json.len());
                slice.push(view);
            }
            Err(account) => damaged.push(account.into()),
        }
        if bytes > SLICE_BYTES {
            break;
        }
    }
    let more = total >= SLICE || looked_at < total;
    Ok(Reply::Accounts { accounts: slice, damaged, next: seen.filter(|_| more) })
}

/// Where the slice behind this one begins.
fn folded_name(account: &Result<User, DamagedAccount>) -> String {
    match account {
        Ok(user) => user.username.folded(),
        Err(damaged) => damaged.name.clone(),
    }
}

async fn delete(accounts: &Accounts, login: &str) -> Result<Reply, Failure> {
    let done = accounts.delete(login).await;
    if matches!(done, Err(UserError::Store(StoreError::Corrupt(_))))
        && let Some(damaged) = accounts.damaged(login).map_err(store)?
        && accounts.delete_damaged(&damaged).await.map_err(store)?
    {
        return Ok(Reply::DamagedDeleted(damaged.into()));
    }
    named(accounts, login, done).await
}

/// The reply about one account that was named as typed.
async fn named(accounts: &Accounts, login: &str, outcome: Result<User, UserError>) -> Result<Reply, Failure> {
    match outcome {
        Ok(user) => Ok(Reply::Account(user.into())),
        Err(error) => Err(unfound(accounts, login, error).await),
    }
}

/// The account that was named as typed.
pub(super) async fn found(accounts: &Accounts, login: &str) -> Result<User, Failure> {
    match accounts.find(login) {
        Ok(user) => Ok(user),
        Err(error) => Err(unfound(accounts, login, error).await),
    }
}

/// Why there is nothing to say of an account that was named as typed.
async fn unfound(accounts: &Accounts, login: &str, error: UserError) -> Failure {
    if let UserError::Store(StoreError::Corrupt(_)) = &error
        && let Ok(Some(DamagedAccount { id, .. })) = accounts.damaged(login)
    {
        return Failure::Damaged { key: id, login: login.trim().to_owned() };
    }
    if !matches!(error, UserError::NotFound) {
        return failure(error.into(), login, None);
    }
    let login = login.trim().to_owned();
    // A failing store has been reported already, or will be by the next command.
    let nearest = nearest(accounts, &login).await.unwrap_or_default();
    Failure::NotFound { login, nearest }
}

/// The account whose name is most like this one, among the first few thousand.
async fn nearest(accounts: &Accounts, login: &str) -> Result<Option<Username>, StoreError> {
    let mut best = Nearest::to(login);
    let mut after = None;
    for _ in 0..COMPARED / SLICE {
        let page = accounts.page(after, SLICE).await?;
        after = page.last().map(folded_name);
        let full = page.len() >= SLICE;
        page.into_iter().flatten().for_each(|user| best.consider(user.username));
        if !full {
            break;
        }
    }
    Ok(best.found.map(|(_, username)| username))
}

struct Nearest {
    found: Option<(f64, Username)>,
    wanted: String,
}

impl Nearest {
    fn to(login: &str) -> Self {
        Self { found: None, wanted: fold(login) }
    }

    fn consider(&mut self, username: Username) {
        let likeness = strsim::jaro_winkler(&self.wanted, &username.folded());
        if likeness >= ALIKE && self.found.as_ref().is_none_or(|(best, _)| likeness > *best) {
            self.found = Some((likeness, username));
        }
    }
}

fn failure(error: AccountError, login: &str, email: Option<String>) -> Failure {
    match error {
        AccountError::Busy => Failure::Busy,
        AccountError::Hash(error) => Failure::Hash { reason: error.to_string() },
        AccountError::Unfit(error) => Failure::Username { reason: error.to_string() },
        AccountError::User(UserError::EmailTaken) => {
            Failure::EmailTaken { email: email.unwrap_or_else(|| login.to_owned()) }
        }
        AccountError::User(UserError::NotFound) => {
            Failure::NotFound { login: login.to_owned(), nearest: None }
        }
        AccountError::User(UserError::Store(error)) => store(error),
        // Nothing here changes a name, so only a new account can meet a taken one; it is told before.
        AccountError::User(error @ UserError::UsernameTaken) => Failure::Store { reason: error.to_string() },
        AccountError::Weak(error) => Failure::Weak { reason: error.to_string() },
    }
}

pub(super) fn store(error: StoreError) -> Failure {
    Failure::Store { reason: error.to_string() }
}

#[cfg(test)]
mod tests;
