//! Whose credential is on a request, and does it hold.
//!
//! Absent, rejected and verified are three different answers, and a failure of ours is none of them.
//! Verified credentials become an `Arc<Identity>` in one cache, found by the digest of what was shown.
//! The `Authorization` header comes before the cookie; what is shown there and bad is refused,
//! whatever else is there. A session cookie that is unknown or has ended counts as none, for browsers
//! keep old cookies, and so it never hides a good token.
//!
//! Callers: `gate` asks on every request; `account` mints and ends what is verified here. What an
//! identity may do is not asked here, nor which route it is for.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};

use crate::identity::{AccessToken, Credential, GrantId, Identity, SessionId, TokenErrors, UserId};
use crate::store::{Digest, Store, StoreError, User};
use crate::telemetry::metrics::Metrics;

pub mod assertion;
pub mod basic;
pub mod bearer;
pub mod cache;
mod ending;
mod foreign;
mod forged;
pub mod introspect;
pub mod issuer;
pub mod location;
pub mod login;
pub mod personal;
pub mod refresh;
pub mod session;
pub mod throttle;

pub use bearer::{Algorithm, TokenFault, TokenPart, TokenRefusal, TokenSettings, Tokens, VerifiedClaims};
pub use cache::{CacheSettings, Ended};
pub use issuer::{IssuerSettings, IssuerState, Issuers};
pub use login::{LoginFailure, PasswordLogin};
pub use session::{SameSite, SessionSettings};
pub use throttle::{LoginLimits, Rate};

use cache::{Cache, Entry, Use};

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
    /// A Basic pair that is not good.
    Basic,
    /// A Bearer that is not good.
    Bearer(TokenRefusal),
    /// Too many failures from this source: of passwords for this account, where the right one waits as well, or of tokens
    /// with a signature that is nobody's.
    Limited {
        /// When to try again.
        retry_after: Duration,
    },
}

/// A failure of ours. It is a 503, never "not signed in".
#[derive(Clone, Debug, thiserror::Error)]
pub enum AuthenticationError {
    /// More passwords wait to be hashed than the queue holds.
    #[error("too many passwords are being checked")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Who asks, and when.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// The client's address.
    pub client: IpAddr,
    /// When the request arrived.
    pub now: SystemTime,
    /// How long a password may be waited for; it is hashed on, and known the next time.
    pub patience: Duration,
}

/// Verifies credentials. One for the process, shared by its threads.
pub struct Authenticator {
    cache: Arc<Cache>,
    forged: Arc<forged::Forged>,
    issuers: Arc<Issuers>,
    login: PasswordLogin,
    sessions: SessionSettings,
    store: Store,
    tokens: ArcSwap<Tokens>,
    waiting: Arc<basic::Waiting>,
}

impl Authenticator {
    /// Puts the schemes together; the tokens' keys are there already.
    pub fn new(
        store: Store,
        login: PasswordLogin,
        tokens: Tokens,
        sessions: SessionSettings,
        cache: CacheSettings,
    ) -> Self {
        Self {
            cache: Arc::new(Cache::new(cache)),
            forged: Arc::default(),
            issuers: Arc::default(),
            login,
            sessions,
            store,
            tokens: ArcSwap::from_pointee(tokens),
            waiting: Arc::default(),
        }
    }

    /// Under other settings. Failures that were counted stay, and what is ended through either is ended in both; what was
    /// verified is verified again.
    pub fn renewed(
        &self,
        login: PasswordLogin,
        tokens: Tokens,
        sessions: SessionSettings,
        cache: CacheSettings,
    ) -> Self {
        Self {
            cache: Arc::new(self.cache.renewed(cache)),
            forged: Arc::clone(&self.forged),
            issuers: Arc::clone(&self.issuers),
            login,
            sessions,
            store: self.store.clone(),
            tokens: ArcSwap::from_pointee(tokens),
            waiting: Arc::default(),
        }
    }

    /// With these issuers besides ourselves; the keys of those that were there are kept.
    #[must_use]
    pub fn with_issuers(self, settings: Vec<IssuerSettings>) -> Self {
        Self { issuers: Arc::new(self.issuers.renewed(settings)), ..self }
    }

    /// Looks at the credentials of the accepted schemes alone.
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        accepted: &BTreeSet<Credential>,
        asker: Asker,
    ) -> Result<Authentication, AuthenticationError> {
        let mut shown = headers.get_all(AUTHORIZATION).iter();
        if let Some(value) = shown.next() {
            let (scheme, rest) = split_scheme(value.as_bytes());
            let credential = if scheme.eq_ignore_ascii_case(b"bearer") {
                Some(Credential::Bearer)
            } else if scheme.eq_ignore_ascii_case(b"basic") {
                Some(Credential::Basic)
            } else {
                None
            };
            if let Some(credential) = credential.filter(|credential| accepted.contains(credential)) {
                // Two `Authorization` fields have no one meaning, so none of them is good.
                let doubled = shown.next().is_some();
                return match credential {
                    Credential::Bearer if doubled => Ok(rejected(TokenRefusal::Conflict)),
                    Credential::Bearer => self.bearer(value.as_bytes(), rest, asker).await,
                    _ if doubled => Ok(Authentication::Rejected(Rejection::Basic)),
                    _ => self.basic(value.as_bytes(), rest, asker).await,
                };
            }
        }
        if accepted.contains(&Credential::Session) {
            return self.session(headers, asker);
        }
        Ok(Authentication::Absent)
    }

    /// Whoever ends a session, a token or an account says so here, after the store has answered and
    /// before anybody else is: it holds from the next request on.
    pub fn ended(&self, what: Ended) {
        self.cache.ended(what);
    }

    /// Our own tokens: minting them, and their public keys.
    pub fn tokens(&self) -> Arc<Tokens> {
        self.tokens.load_full()
    }

    /// Other keys from the next token on; what was verified stays so.
    pub fn take_over(&self, tokens: Tokens) {
        self.tokens.store(Arc::new(tokens));
    }

    /// The check of a name and a password, with its throttle.
    pub fn login(&self) -> &PasswordLogin {
        &self.login
    }

    /// How long sessions live, and how their cookie looks.
    pub fn sessions(&self) -> &SessionSettings {
        &self.sessions
    }

    fn session(&self, headers: &HeaderMap, asker: Asker) -> Result<Authentication, AuthenticationError> {
        let Some(token) = session::cookie(headers, &self.sessions.cookie_name) else {
            return Ok(Authentication::Absent);
        };
        let digest = Digest::of(token.as_bytes());
        if let Some(entry) = self.find(digest, Credential::Session, asker.now) {
            return Ok(self.used(&entry, asker.now));
        }
        let epoch = self.cache.epoch();
        let Some(session) = self.store.session(digest)? else { return Ok(Authentication::Absent) };
        let session = self.sessions.bounded(session);
        if !session::is_live(&session, asker.now) {
            return Ok(Authentication::Absent);
        }
        let Some(user) = self.store.user(session.user_id)?.filter(User::may_sign_in) else {
            return Ok(Authentication::Absent);
        };
        let identity = Identity {
            expires_at: Some(session.expires_at),
            session: Some(SessionId::from_bytes(*digest.as_bytes())),
            ..login::identity(&user, Credential::Session, session.authenticated_at)
        };
        let entry = self.cache.keep(digest, Entry::of_session(identity, &session, epoch, asker.now));
        Ok(self.used(&entry, asker.now))
    }

    async fn bearer(
        &self,
        value: &[u8],
        token: &[u8],
        asker: Asker,
    ) -> Result<Authentication, AuthenticationError> {
        let digest = Digest::of(value);
        if let Some(entry) = self.cache.find(digest, Credential::Bearer, asker.now) {
            self.metrics().cache_hit();
            return Ok(self.used(&entry, asker.now));
        }
        if token.starts_with(personal::PREFIX.as_bytes()) {
            let entry = self.personal_token(digest, token, asker.now)?;
            return Ok(entry.map_or(rejected(TokenRefusal::Invalid), |entry| self.used(&entry, asker.now)));
        }
        if let Some(refusal) = self.cache.known_bad(digest) {
            self.metrics().cache_hit();
            return Ok(rejected(refusal));
        }
        self.metrics().cache_missed();
        if let Some(foreign) = self.foreign(token) {
            return Ok(self.verify_foreign(foreign, digest, asker).await);
        }
        let epoch = self.cache.epoch();
        let claims = match self.verify(token, Some(digest), asker.client, asker.now) {
            Ok(claims) => claims,
            Err(TokenFault::Braked { retry_after }) => {
                return Ok(Authentication::Rejected(Rejection::Limited { retry_after }));
            }
            // Only of a good one is it said that it was, and only where it is said at all.
            Err(TokenFault::Expired) if self.tokens.load().settings().errors == TokenErrors::Flask => {
                return Ok(Authentication::Rejected(self.expired(token, digest, asker)));
            }
            Err(reason) => {
                tracing::debug!(%reason, "a bearer token was refused");
                let refusal = TokenRefusal::of(&reason, token);
                // All else costs no more to find again than to remember.
                if matches!(reason, TokenFault::Signature) {
                    self.cache.keep_bad(digest, refusal);
                }
                return Ok(rejected(refusal));
            }
        };
        let user = self.store.user(claims.user_id)?.filter(|user| {
            // A token ends with the password of its time, and stays void when its account is enabled again.
            user.may_sign_in() && user.credentials_since.is_none_or(|since| claims.issued_at >= since)
        });
        let user = match user {
            Some(user) if !self.is_revoked(user.id, claims.id)? => user,
            // For good, and its signature was looked at.
            Some(_) | None => {
                self.cache.keep_bad(digest, TokenRefusal::Revoked);
                return Ok(rejected(TokenRefusal::Revoked));
            }
        };
        let identity = Identity {
            access_token: Some(claims.id),
            expires_at: Some(claims.expires_at),
            ..login::identity(&user, Credential::Bearer, claims.authenticated_at)
        };
        let entry = self.cache.keep(digest, Entry::until(identity, claims.accepted_until, epoch, asker.now));
        Ok(Authentication::Verified(Arc::clone(entry.identity())))
    }

    /// Verifies an access token of ours, unless its source has sent too many forged ones. `shown` is the digest of the
    /// header field that it came in.
    pub fn verify(
        &self,
        token: &[u8],
        shown: Option<Digest>,
        client: IpAddr,
        now: SystemTime,
    ) -> Result<VerifiedClaims, TokenFault> {
        let tokens = self.tokens.load();
        let plausible = tokens.read(token, now)?;
        match self.forged.look(client, shown).judge(|| plausible.is_signed()) {
            Ok(true) => Ok(plausible.claims),
            Ok(false) => Err(TokenFault::Signature),
            Err(retry_after) => Err(TokenFault::Braked { retry_after }),
        }
    }

    /// Why a token is refused whose time is over, going by what it says itself.
    fn expired(&self, token: &[u8], digest: Digest, asker: Asker) -> Rejection {
        let tokens = self.tokens.load();
        let Ok(plausible) = tokens.read_at_any_time(token, asker.now) else {
            return Rejection::Bearer(TokenRefusal::Invalid);
        };
        match self.forged.look(asker.client, Some(digest)).judge(|| plausible.is_signed()) {
            // It won't be good again, and a client that goes on showing it costs a signature once in a while.
            Ok(true) => {
                self.cache.keep_bad(digest, TokenRefusal::Expired);
                Rejection::Bearer(TokenRefusal::Expired)
            }
            Ok(false) => {
                self.cache.keep_bad(digest, TokenRefusal::Signature);
                Rejection::Bearer(TokenRefusal::Signature)
            }
            Err(retry_after) => Rejection::Limited { retry_after },
        }
    }

    /// Makes an access token. Whoever shows it is never braked for what others have forged.
    pub fn issue(
        &self,
        account: UserId,
        identity: &Identity,
        family: Option<GrantId>,
        now: SystemTime,
    ) -> SecretString {
        let token = self.tokens.load().issue(account, identity, family, now);
        self.forged.vouch(bearer_digest(token.expose_secret().as_bytes()));
        token
    }

    fn personal_token(
        &self,
        shown: Digest,
        token: &[u8],
        now: SystemTime,
    ) -> Result<Option<Arc<Entry>>, AuthenticationError> {
        self.metrics().cache_missed();
        let epoch = self.cache.epoch();
        // What is no token by its form is not looked up: a mistyped one costs nothing.
        let Some(digest) = personal::digest(token) else { return Ok(None) };
        let Some((token, user)) = personal::find(&self.store, digest, now)? else { return Ok(None) };
        let identity = personal::identity(&token, &user, Credential::Bearer);
        let until = token.expires_at.unwrap_or(now + self.cache.ttl());
        let entry = Entry::of_personal_token(identity, &token, until, epoch, now);
        Ok(Some(self.cache.keep(shown, entry)))
    }

    /// Whether an access token, or the login that it came of, was revoked.
    fn is_revoked(&self, user: UserId, token: AccessToken) -> Result<bool, StoreError> {
        let of_family = token.family.map_or(Ok(false), |family| self.store.is_revoked(user, family))?;
        Ok(of_family || self.store.is_revoked(user, token.jti)?)
    }

    async fn basic(
        &self,
        value: &[u8],
        pair: &[u8],
        asker: Asker,
    ) -> Result<Authentication, AuthenticationError> {
        let digest = Digest::of(value);
        if let Some(entry) = self.find(digest, Credential::Basic, asker.now) {
            // Braked means braked at every door, also for who has been in before.
            let braked = entry
                .identity()
                .account()
                .map_or(Ok(()), |account| self.login.throttle().check_user(asker.client, account));
            return Ok(match braked {
                Ok(()) => self.used(&entry, asker.now),
                Err(retry_after) => Authentication::Rejected(Rejection::Limited { retry_after }),
            });
        }
        let Some((name, password)) = basic::decode(pair) else {
            return Ok(Authentication::Rejected(Rejection::Basic));
        };
        let check = || basic::Check {
            cache: Arc::clone(&self.cache),
            digest,
            login: self.login.clone(),
            name: name.clone(),
            password: password.clone(),
        };
        let mut outcome = self.waiting.verify(check(), asker).await;
        // The check may have begun before this request, and the account have changed in between.
        if matches!(&outcome, Some(Ok(entry)) if self.cache.has_ended(entry)) {
            outcome = self.waiting.verify(check(), asker).await;
        }
        match outcome {
            None => Ok(Authentication::Rejected(Rejection::Basic)),
            // Changed once more: somebody else's turn to find out, and the client's to ask again.
            Some(Ok(entry)) if self.cache.has_ended(&entry) => Err(AuthenticationError::Busy),
            Some(Ok(entry)) => Ok(self.used(&entry, asker.now)),
            Some(Err(
                LoginFailure::Incorrect | LoginFailure::Unconfirmed | LoginFailure::WaitingForApproval,
            )) => Ok(Authentication::Rejected(Rejection::Basic)),
            Some(Err(LoginFailure::Limited { retry_after })) => {
                Ok(Authentication::Rejected(Rejection::Limited { retry_after }))
            }
            Some(Err(LoginFailure::Busy)) => Err(AuthenticationError::Busy),
            Some(Err(LoginFailure::Store(error))) => Err(error.into()),
        }
    }

    /// Looks into the cache, and counts what is found and what is not.
    fn find(&self, digest: Digest, kind: Credential, now: SystemTime) -> Option<Arc<Entry>> {
        let entry = self.cache.find(digest, kind, now);
        match entry {
            Some(_) => self.metrics().cache_hit(),
            None => self.metrics().cache_missed(),
        }
        entry
    }

    fn metrics(&self) -> &Metrics {
        self.login.metrics()
    }

    /// Notes the use of a session or a personal access token, as often as it is to be written down.
    fn used(&self, entry: &Entry, now: SystemTime) -> Authentication {
        match entry.note_use(now) {
            None => {}
            Some(Use::PersonalToken(digest)) => self.store.touch_personal_token(digest, now),
            Some(Use::Session(digest)) => self.store.touch_session(digest, now),
        }
        Authentication::Verified(Arc::clone(entry.identity()))
    }
}

fn rejected(refusal: TokenRefusal) -> Authentication {
    Authentication::Rejected(Rejection::Bearer(refusal))
}

/// The digest of the header field that a token comes in, as most clients write it.
pub fn bearer_digest(token: &[u8]) -> Digest {
    Digest::of(&[b"Bearer ", token].concat())
}

/// The scheme of an `Authorization` value and what follows its blanks (RFC 9110 §11.4).
fn split_scheme(value: &[u8]) -> (&[u8], &[u8]) {
    match value.iter().position(|&byte| byte == b' ') {
        Some(end) => (&value[..end], value[end..].trim_ascii_start()),
        None => (value, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_ends_at_the_first_blank() {
        assert_eq!(split_scheme(b"Bearer abc"), (&b"Bearer"[..], &b"abc"[..]));
        assert_eq!(split_scheme(b"Bearer   abc d"), (&b"Bearer"[..], &b"abc d"[..]));
        assert_eq!(split_scheme(b"Bearer"), (&b"Bearer"[..], &b""[..]));
        assert_eq!(split_scheme(b""), (&b""[..], &b""[..]));
    }
}
