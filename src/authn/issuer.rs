//! Tokens of other issuers: whom we believe, by which keys, and who their users are here.
//!
//! A token's `iss` chooses the table and nothing else. The algorithm has to be one that the operator
//! wants and one that the key is for; `kid` only looks up the keys that came from where the operator
//! said. There is no account behind these identities: nothing of them is looked up in the store.
//!
//! Whether a token is an access token or an ID token is decided by its audience alone: issuers put
//! `nonce` into the one and leave `at_hash` out of the other, and `typ` says `JWT` for both.
//!
//! Callers: `authn` verifies; `config` builds the settings; `gateway` starts the fetching, and reads how it stands.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Asker;
use super::cache::Endings;
use super::forged::Look;
use crate::identity::{ForeignKey, Identity};

mod fetch;
mod json;
mod keys;
mod mapping;
mod settings;
mod source;
mod token;

pub use keys::{InvalidKeySet, KeySet};
pub use settings::{
    ClaimNames, ClaimPath, InvalidClaimPath, InvalidKeyUrl, IssuerSettings, IssuerTls, KeyUrl, Location,
    Separator, SignatureAlgorithm, SourceSettings,
};
pub use source::IssuerState;
pub use token::{ForeignFault, Unverified};

pub(super) use keys::public_key;

use source::Source;

/// How long a request waits for keys that may have come since.
const PATIENCE: Duration = Duration::from_secs(2);

/// All issuers but ourselves.
#[derive(Default)]
pub struct Issuers {
    by_name: HashMap<String, Issuer>,
}

struct Issuer {
    settings: IssuerSettings,
    source: Arc<Source>,
}

/// A token that holds.
#[derive(Debug)]
pub struct ForeignToken {
    /// Requests are let in up to here, for the issuer's clock may be behind ours.
    pub accepted_until: SystemTime,
    /// Who it speaks of.
    pub identity: Identity,
}

impl Issuers {
    /// Under these settings. The keys of sources that are known already stay, and are kept new as before.
    pub fn renewed(&self, settings: Vec<IssuerSettings>) -> Self {
        let issuer = |settings: IssuerSettings| {
            let known = self.by_name.get(&settings.source.issuer).map(|issuer| &issuer.source);
            let source = match known.filter(|known| *known.settings() == settings.source) {
                Some(known) => Arc::clone(known),
                None => Arc::new(Source::new(settings.source.clone())),
            };
            (settings.source.issuer.clone(), Issuer { settings, source })
        };
        Self { by_name: settings.into_iter().map(issuer).collect() }
    }

    /// Begins to fetch keys, where that has not been begun. Does not wait for them.
    pub fn start(&self, endings: &Endings) {
        for issuer in self.by_name.values() {
            issuer.source.start(endings);
        }
    }

    /// Ends what is not in `next`, which has taken this one's place: what those keys vouched for is over.
    pub fn retire(&self, next: &Self, endings: &Endings) {
        for (name, issuer) in &self.by_name {
            let stays = next.by_name.get(name).is_some_and(|next| Arc::ptr_eq(&next.source, &issuer.source));
            if !stays {
                issuer.source.retire(endings);
            }
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Whether a token says that it is from one of these.
    pub fn know(&self, token: &Unverified<'_>) -> bool {
        token.issuer().is_some_and(|issuer| self.by_name.contains_key(issuer))
    }

    /// How it stands with the keys of each, in the order of their names.
    pub fn states(&self) -> Vec<IssuerState> {
        let mut states: Vec<IssuerState> =
            self.by_name.values().map(|issuer| issuer.source.state()).collect();
        states.sort_by(|one, other| one.issuer.cmp(&other.issuer));
        states
    }

    /// Whether this key is still one of the issuer's.
    pub fn has_key(&self, issuer: &str, key: ForeignKey) -> bool {
        self.by_name.get(issuer).is_some_and(|issuer| issuer.source.keys().ids().contains(&key))
    }

    /// Verifies a token of one of these. `look` brakes who sends signatures that are nobody's.
    pub async fn verify(
        &self,
        token: Unverified<'_>,
        look: Look<'_>,
        asker: Asker,
    ) -> Result<ForeignToken, ForeignFault> {
        let issuer = token.issuer().and_then(|issuer| self.by_name.get(issuer));
        let Issuer { settings, source } = issuer.ok_or(ForeignFault::Form("its `iss`"))?;
        let token = token::check(token, settings, asker.now)?;
        let (kid, algorithm) = (token.kid.as_deref(), token.algorithm);
        let mut keys = source.keys();
        if keys.find(kid, algorithm).is_none() {
            source.ask(PATIENCE.min(asker.patience)).await;
            keys = source.keys();
        }
        let key = keys.find(kid, algorithm).ok_or(ForeignFault::Key)?;
        let (message, signature) = token.signed()?;
        match look.judge(|| key.verifies(message, &signature)) {
            Ok(true) => {}
            Ok(false) => return Err(ForeignFault::Signature),
            Err(retry_after) => return Err(ForeignFault::Braked { retry_after }),
        }
        let expires_at = token.claims.expires_at;
        let identity = mapping::identity(token.claims, settings, key.id)?;
        Ok(ForeignToken { accepted_until: expires_at + settings.leeway, identity })
    }
}

#[cfg(test)]
mod tests;
