//! Commands about personal access tokens: what goes over the socket, and carrying it out.
//!
//! Callers: `admin` and, through it, `cli`.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::message::{Moment, Reply, Secret};
use super::perform::{found, store};
use crate::account::{Accounts, MadePersonalToken, NewPersonalToken};
use crate::identity::{Scope, TokenId, TokenLabel, Username};
use crate::store::{PERSONAL_TOKENS_PER_ACCOUNT, PersonalToken, PersonalTokenError, StoreError};

/// Something to do with personal access tokens. `login` is a username or an address, as typed.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum TokenCommand {
    /// Makes one.
    Create(CreateToken),
    /// Lists those of one account.
    List {
        /// Whose.
        login: String,
    },
    /// Ends one.
    Revoke {
        /// Which.
        id: TokenId,
    },
    /// Ends all of one account.
    RevokeAll {
        /// Whose.
        login: String,
    },
}

/// A personal access token to make.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// For how many seconds; `None`: until it is revoked.
    pub expires_in: Option<u64>,
    /// Whose.
    pub login: String,
    /// What it is called.
    pub name: TokenLabel,
    /// The routes that it is for; empty: all.
    pub routes: BTreeSet<String>,
    /// What it is for besides.
    pub scopes: BTreeSet<Scope>,
}

/// What came of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenReply {
    /// All of one account, the newest first.
    List {
        /// Whose they are.
        account: Username,
        /// Without the tokens themselves, which nobody has but their owner.
        tokens: Vec<TokenView>,
    },
    /// It is made.
    Made {
        /// Whose it is.
        account: Username,
        /// To be shown once.
        secret: Secret,
        /// What of it is kept.
        token: TokenView,
    },
    /// It has ended.
    Revoked(TokenView),
    /// They have ended.
    RevokedAll {
        /// Whose they were.
        account: Username,
        /// How many.
        count: usize,
    },
}

/// A personal access token as it is listed. The token itself is not in it, nor its digest.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct TokenView {
    /// With which it is revoked.
    pub id: TokenId,
    /// What it is called.
    pub name: TokenLabel,
    /// What it is for besides.
    pub scopes: BTreeSet<Scope>,
    /// The routes that it is for; empty: all.
    pub routes: BTreeSet<String>,
    /// When it was made.
    pub created_at: Moment,
    /// When it ends by itself.
    pub expires_at: Option<Moment>,
    /// Its last use, to within a few minutes.
    pub last_used_at: Option<Moment>,
}

impl From<PersonalToken> for TokenView {
    fn from(token: PersonalToken) -> Self {
        Self {
            id: token.id(),
            name: token.label,
            scopes: token.scopes,
            routes: token.routes,
            created_at: Moment(token.created_at),
            expires_at: token.expires_at.map(Moment),
            last_used_at: token.last_used_at.map(Moment),
        }
    }
}

impl TokenCommand {
    /// As on the command line: for the log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Create(_) => "token create",
            Self::List { .. } => "token list",
            Self::Revoke { .. } => "token revoke",
            Self::RevokeAll { .. } => "token revoke --all",
        }
    }
}

pub(super) async fn perform(
    accounts: &Accounts,
    command: TokenCommand,
    now: SystemTime,
) -> Result<Reply, Failure> {
    let reply = match command {
        TokenCommand::Create(wanted) => create(accounts, wanted, now).await?,
        TokenCommand::List { login } => {
            let user = found(accounts, &login).await?;
            let tokens = accounts.personal_tokens(user.id).await.map_err(store)?;
            TokenReply::List {
                account: user.username,
                tokens: tokens.into_iter().map(TokenView::from).collect(),
            }
        }
        TokenCommand::Revoke { id } => {
            let ended = accounts.revoke_personal_token(id, None).await.map_err(store)?;
            TokenReply::Revoked(ended.ok_or(Failure::NoToken { id })?.into())
        }
        TokenCommand::RevokeAll { login } => {
            let user = found(accounts, &login).await?;
            let count = accounts.revoke_personal_tokens(user.id).await.map_err(store)?;
            TokenReply::RevokedAll { account: user.username, count }
        }
    };
    Ok(Reply::Token(reply))
}

async fn create(accounts: &Accounts, wanted: CreateToken, now: SystemTime) -> Result<TokenReply, Failure> {
    let user = found(accounts, &wanted.login).await?;
    let new = NewPersonalToken {
        expires_in: wanted.expires_in.map(Duration::from_secs),
        label: wanted.name,
        routes: wanted.routes,
        scopes: wanted.scopes,
    };
    let made = accounts.create_personal_token(user.id, None, new, now).await;
    let MadePersonalToken { kept, token } = made.map_err(|error| match error {
        PersonalTokenError::NoAccount => Failure::MayNotSignIn { username: user.username.clone() },
        PersonalTokenError::Store(StoreError::TooLarge { limit }) => Failure::TooLong { limit },
        PersonalTokenError::Store(error) => store(error),
        PersonalTokenError::TooMany => {
            Failure::TooManyTokens { limit: PERSONAL_TOKENS_PER_ACCOUNT, username: user.username.clone() }
        }
        // None was named.
        error @ PersonalTokenError::NoSession => Failure::Store { reason: error.to_string() },
    })?;
    Ok(TokenReply::Made { account: user.username, secret: Secret(token), token: kept.into() })
}
