//! Whose credential is on a request, and does it hold.
//!
//! Absent, rejected and verified are three different answers, and a failure of ours is none of them.
//! Verified credentials become an `Arc<Identity>` in one cache, found by the digest of what was shown.
//!
//! Callers: `gate` asks on every request; `account` mints and ends what is verified here. What an
//! identity may do is not asked here, nor which route it is for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use crate::identity::{Credential, Identity};
use crate::request::Context;
use crate::store::StoreError;

/// What the credentials on one request amount to.
#[derive(Clone, Debug)]
pub enum Authentication {
    /// No credential of a scheme that counts here: the client did not try.
    Absent,
    /// A credential was there and is bad. Never falls through to another scheme.
    Rejected(Rejection),
    /// It holds.
    Verified(Arc<Identity>),
}

/// Why a credential is bad.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rejection {
    /// A Bearer that is not good.
    Bearer,
    /// A Basic pair that is not good.
    Basic,
    /// Too many failures from this source for this account; the right password waits as well.
    Limited {
        /// When to try again.
        retry_after: Duration,
    },
}

/// How long sessions live (`session` in the configuration).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SessionSettings {
    /// `Domain` of the cookie; `None` for a host-only one.
    pub cookie_domain: Option<String>,
    /// The cookie's name as the browser has it, prefix included.
    pub cookie_name: String,
    /// Ends a session that isn't used.
    pub idle_timeout: Duration,
    /// Ends every session.
    pub lifetime: Duration,
    /// Both limits with "remember me" ticked; `None` takes the box away.
    pub remember: Option<Duration>,
    /// `SameSite` of the cookie.
    pub same_site: SameSite,
    /// Whether the cookie is `Secure`.
    pub secure: bool,
}

/// `SameSite` of our cookie.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SameSite {
    /// The default.
    Lax,
    /// For embedding on other sites; the browser asks for `Secure` then.
    None,
    /// Not sent on any navigation from another site.
    Strict,
}

/// What Foregate's own JWTs say (`tokens` in the configuration).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenSettings {
    /// How long an access token lives.
    pub access_ttl: Duration,
    /// What new tokens are signed with.
    pub algorithm: Algorithm,
    /// `aud`.
    pub audience: String,
    /// `iss`.
    pub issuer: String,
}

/// A signature algorithm for our own tokens.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Algorithm {
    /// Ed25519, the default.
    EdDsa,
    /// P-256.
    Es256,
    /// A shared secret of 256 bits; nothing to publish.
    Hs256,
    /// RSA with 2048 bits.
    Rs256,
}

/// Bounds of the cache of validated credentials (`cache` in the configuration).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CacheSettings {
    /// Entries at most.
    pub capacity: u64,
    /// Read again from the store after this time.
    pub ttl: Duration,
}

/// How many failed logins are let through before a wait (`limits.login` in the configuration).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LoginLimits {
    /// Per source and account.
    pub per_account: Rate,
    /// Per source (IPv6: /64).
    pub per_ip: Rate,
}

/// So many in so long: `10/15m`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In how long.
    pub period: Duration,
}

/// A failure of ours while a credential was looked at: a 503, never "signed out".
#[derive(Clone, Debug, thiserror::Error)]
pub enum AuthenticationError {
    /// More hashes wait than the queue holds.
    #[error("too many passwords are being checked")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Looks at the credentials of requests.
#[derive(Clone)]
pub struct Authenticator {
    _inner: Arc<()>,
}

impl Authenticator {
    /// Whose credential is on these headers, of the schemes that count, and does it hold.
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        accepted: &BTreeSet<Credential>,
        context: &Context,
    ) -> Result<Authentication, AuthenticationError> {
        let _ = (headers, accepted, context);
        unimplemented!()
    }
}
