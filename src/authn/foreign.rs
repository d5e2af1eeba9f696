//! A Bearer that another issuer has signed: to whom it goes, and what is remembered of it.
//!
//! Callers: `authn`, for what is not in its cache.

use std::sync::Arc;

use super::cache::Entry;
use super::issuer::{ForeignFault, Issuers, Unverified};
use super::{Asker, Authentication, Authenticator, Rejection, TokenRefusal};
use crate::store::Digest;

impl Authenticator {
    /// The other issuers.
    pub fn issuers(&self) -> &Issuers {
        &self.issuers
    }

    /// Begins to fetch the keys of the other issuers, and does not wait for them. Where this is not called, none are.
    pub fn start_issuers(&self) {
        self.issuers.start(&self.cache.endings());
    }

    /// This has taken the place of `before`: of the issuers that are no more, nothing holds.
    pub fn retire_issuers(&self, before: &Self) {
        before.issuers.retire(&self.issuers, &self.cache.endings());
    }

    /// A token that says that it is from another issuer that we know. Nothing in it is believed yet.
    pub(super) fn foreign<'t>(&self, token: &'t [u8]) -> Option<Unverified<'t>> {
        // Most know none, and need not look.
        let token = Some(token).filter(|_| !self.issuers.is_empty()).and_then(Unverified::read);
        token.filter(|token| self.issuers.know(token))
    }

    /// Verifies a token of another issuer, and remembers what becomes of it.
    pub(super) async fn verify_foreign(
        &self,
        token: Unverified<'_>,
        digest: Digest,
        asker: Asker,
    ) -> Authentication {
        // Before the keys: whoever takes one back in between ends what is made here.
        let epoch = self.cache.epoch();
        match self.issuers.verify(token, self.forged.look(asker.client, Some(digest)), asker).await {
            Ok(token) => {
                let entry = Entry::until(token.identity, token.accepted_until, epoch, asker.now);
                let entry = self.cache.keep(digest, entry);
                Authentication::Verified(Arc::clone(entry.identity()))
            }
            Err(ForeignFault::Braked { retry_after }) => {
                Authentication::Rejected(Rejection::Limited { retry_after })
            }
            Err(reason) => {
                tracing::debug!(%reason, "a bearer token of another issuer was refused");
                let refusal = refusal(&reason);
                // All else costs no more to find again than to remember.
                if reason == ForeignFault::Signature {
                    self.cache.keep_bad(digest, refusal);
                }
                Authentication::Rejected(Rejection::Bearer(refusal))
            }
        }
    }
}

/// As far as it may be told. All but the last is looked at before the signature, so it says nothing of a good token.
fn refusal(fault: &ForeignFault) -> TokenRefusal {
    match fault {
        ForeignFault::Algorithm => TokenRefusal::Algorithm,
        ForeignFault::Audience
        | ForeignFault::Braked { .. }
        | ForeignFault::Claim(_)
        | ForeignFault::Expired
        | ForeignFault::Form(_)
        | ForeignFault::HolderOfKey
        | ForeignFault::NotYet
        | ForeignFault::Username(_) => TokenRefusal::Invalid,
        ForeignFault::Key | ForeignFault::Signature => TokenRefusal::Signature,
    }
}
