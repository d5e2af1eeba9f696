//! Validated credentials, found by the digest of what was shown: a small front for each thread, and
//! moka behind it.
//!
//! The promise: whatever was ended before a request began is not accepted on it. It is kept without
//! touching the cached entries. Each end of a session or an account moves one atomic epoch on and is
//! noted in a short list. An entry remembers the epoch *before* its facts were read from the store;
//! while that is the present one, the entry holds. If not, the list says whether one of the ends
//! since then was this entry's; if none was, the entry is good up to the present epoch. An entry
//! older than the list counts as missing. So a fill that races an end loses, in whatever order the
//! two write. The clock is asked on every hit as well; moka's own expiry is housekeeping.
//!
//! Callers: `authn`. No credential is kept here, only digests.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio::sync::broadcast;

use super::TokenRefusal;
use crate::identity::{Credential, ForeignKey, GrantId, Identity, TokenId, UserId};
use crate::store::{Digest, PersonalToken, Session, TOKEN_USE_EVERY, noted_after};

/// Entries of each thread's front; when it is full it starts anew.
const FRONT: usize = 2048;
/// Ends that are remembered; an entry that slept through more of them is read again.
const REMEMBERED_ENDS: usize = 4096;
/// Ends that somebody who waits may be behind; one who is further behind looks for himself.
const UNHEARD_ENDS: usize = 1024;
/// Tokens that were found bad: how many are remembered, and for how long.
const KNOWN_BAD: u64 = 10_000;
const KNOWN_BAD_FOR: Duration = Duration::from_secs(5);

/// Bounds of the cache of validated credentials (`cache` in the configuration).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CacheSettings {
    /// Entries at most.
    pub capacity: u64,
    /// Read again from the store after this time.
    pub ttl: Duration,
}

/// What has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// One personal access token.
    PersonalToken(TokenId),
    /// One access token, or a family of refresh tokens with all of its access tokens.
    Grant(GrantId),
    /// One session.
    Session(Digest),
    /// One key of another issuer, and with it all that it vouched for.
    ForeignKey(ForeignKey),
    /// Everything of one account: it was disabled, deleted, or changed in what an identity holds.
    User(UserId),
}

impl Ended {
    /// Whether this identity's credential may have ended with it.
    pub fn concerns(self, identity: &Identity) -> bool {
        match self {
            Self::PersonalToken(id) => identity.token.as_ref().is_some_and(|token| token.id == id),
            Self::Grant(grant) => identity.access_token.is_some_and(|token| token.is_of(grant)),
            Self::Session(digest) => identity.session.is_some_and(|id| id.as_bytes() == digest.as_bytes()),
            Self::ForeignKey(key) => identity.principal.foreign().is_some_and(|foreign| foreign.key == key),
            Self::User(user) => identity.account() == Some(user),
        }
    }
}

/// A validated credential.
#[derive(Debug)]
pub struct Entry {
    /// It was valid as of this epoch.
    epoch: AtomicU64,
    identity: Arc<Identity>,
    personal_token: Option<CachedToken>,
    session: Option<CachedSession>,
    /// The cache's own limit: then it is read again.
    fresh_until: SystemTime,
    /// The credential's own limit.
    valid_until: SystemTime,
}

/// The sliding part of a session's time.
#[derive(Debug)]
struct CachedSession {
    digest: Digest,
    idle_timeout: Duration,
    /// Milliseconds since 1970, as are all of these.
    last_seen: AtomicU64,
    last_written: AtomicU64,
}

/// What of a personal access token's use was written down.
#[derive(Debug)]
struct CachedToken {
    digest: Digest,
    /// Milliseconds since 1970; 0: never.
    last_written: AtomicU64,
}

/// A use that should be written down.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Use {
    /// Of a personal access token.
    PersonalToken(Digest),
    /// Of a session.
    Session(Digest),
}

impl Entry {
    /// Of a session that is live now.
    pub fn of_session(identity: Identity, session: &Session, epoch: u64, now: SystemTime) -> Self {
        let last_seen = millis(session.last_seen);
        Self {
            epoch: AtomicU64::new(epoch),
            identity: Arc::new(identity),
            personal_token: None,
            session: Some(CachedSession {
                digest: session.digest,
                idle_timeout: session.idle_timeout,
                last_seen: AtomicU64::new(last_seen),
                last_written: AtomicU64::new(last_seen),
            }),
            fresh_until: now,
            valid_until: session.expires_at,
        }
    }

    /// Of a credential with nothing but an end.
    pub fn until(identity: Identity, valid_until: SystemTime, epoch: u64, now: SystemTime) -> Self {
        Self {
            epoch: AtomicU64::new(epoch),
            identity: Arc::new(identity),
            personal_token: None,
            session: None,
            fresh_until: now,
            valid_until,
        }
    }

    /// Of a personal access token.
    pub fn of_personal_token(
        identity: Identity,
        token: &PersonalToken,
        valid_until: SystemTime,
        epoch: u64,
        now: SystemTime,
    ) -> Self {
        let last_written = AtomicU64::new(token.last_used_at.map_or(0, millis));
        let personal_token = Some(CachedToken { digest: token.digest, last_written });
        Self { personal_token, ..Self::until(identity, valid_until, epoch, now) }
    }

    /// Whose credential it is.
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// Slides a session's idle limit; says whether the use should be written down: the store says how often.
    pub fn note_use(&self, now: SystemTime) -> Option<Use> {
        let now = millis(now);
        if let Some(token) = &self.personal_token {
            let due = is_due(&token.last_written, now, TOKEN_USE_EVERY);
            return due.then_some(Use::PersonalToken(token.digest));
        }
        let session = self.session.as_ref()?;
        session.last_seen.fetch_max(now, Ordering::Relaxed);
        let due = is_due(&session.last_written, now, noted_after(session.idle_timeout));
        due.then_some(Use::Session(session.digest))
    }

    fn is_live(&self, now: SystemTime) -> bool {
        now < self.valid_until
            && now < self.fresh_until
            && self.session.as_ref().is_none_or(|session| {
                let idle_until =
                    session.last_seen.load(Ordering::Relaxed) + session.idle_timeout.as_millis() as u64;
                millis(now) < idle_until
            })
    }

    fn is_of(&self, ended: Ended) -> bool {
        match ended {
            Ended::PersonalToken(_) => ended.concerns(&self.identity),
            Ended::Grant(_) => ended.concerns(&self.identity),
            Ended::Session(digest) => self.session.as_ref().is_some_and(|session| session.digest == digest),
            Ended::ForeignKey(_) | Ended::User(_) => ended.concerns(&self.identity),
        }
    }
}

/// Whether it is time to write once more; one of the threads that come here at once does.
fn is_due(last_written: &AtomicU64, now: u64, every: Duration) -> bool {
    let written = last_written.load(Ordering::Relaxed);
    now.saturating_sub(written) >= (every.as_millis() as u64).max(1)
        && last_written.compare_exchange(written, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// What has ended lately. One for the process: a cache under new settings goes on with it.
struct Ends {
    epoch: AtomicU64,
    recent: RwLock<VecDeque<(u64, Ended)>>,
    /// For those who wait for an end.
    waiting: broadcast::Sender<Ended>,
}

impl Ends {
    fn ended(&self, what: Ended) {
        let Self { epoch, recent, waiting } = self;
        let mut recent = recent.write().unwrap_or_else(PoisonError::into_inner);
        let next = epoch.load(Ordering::Relaxed) + 1;
        if recent.len() == REMEMBERED_ENDS {
            recent.pop_front();
        }
        recent.push_back((next, what));
        // After the list, so that whoever sees the epoch finds the end in the list.
        epoch.store(next, Ordering::Release);
        drop(recent);
        // Nobody may be waiting.
        let _ = waiting.send(what);
    }
}

/// Says what has ended, for who has nothing else to do with the cache.
#[derive(Clone)]
pub struct Endings(Arc<Ends>);

impl Endings {
    /// From here on no entry of this is found, on any thread.
    pub fn ended(&self, what: Ended) {
        self.0.ended(what);
    }
}

/// The cache. One for the process, until its settings change.
pub struct Cache {
    /// Anybody can choose what is in here, so it keeps the library's own keyed hash.
    bad: moka::sync::Cache<Digest, TokenRefusal>,
    ends: Arc<Ends>,
    good: moka::sync::Cache<Digest, Arc<Entry>, DigestHash>,
    /// Sets this cache's entries apart in the threads' fronts.
    number: u64,
    ttl: Duration,
}

thread_local! {
    static FRONTS: RefCell<HashMap<(u64, Digest), Arc<Entry>, DigestHash>> = RefCell::default();
}

impl Cache {
    /// An empty cache.
    pub fn new(settings: CacheSettings) -> Self {
        let ends = Ends {
            epoch: AtomicU64::new(1),
            recent: RwLock::default(),
            waiting: broadcast::Sender::new(UNHEARD_ENDS),
        };
        Self::with(settings, Arc::new(ends))
    }

    /// An empty cache in place of this one. What is ended through either is ended in both, and told to
    /// who waits at either.
    pub fn renewed(&self, settings: CacheSettings) -> Self {
        Self::with(settings, Arc::clone(&self.ends))
    }

    fn with(settings: CacheSettings, ends: Arc<Ends>) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        Self {
            bad: moka::sync::Cache::builder().max_capacity(KNOWN_BAD).time_to_live(KNOWN_BAD_FOR).build(),
            ends,
            good: moka::sync::Cache::builder()
                .max_capacity(settings.capacity)
                .time_to_live(settings.ttl)
                .build_with_hasher(DigestHash::default()),
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            ttl: settings.ttl,
        }
    }

    /// The present epoch. Read it before the facts of an entry, and hand it to the entry.
    pub fn epoch(&self) -> u64 {
        self.ends.epoch.load(Ordering::Acquire)
    }

    /// How long an entry is kept at most.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// The entry of this digest if it still holds and is of this kind.
    pub fn find(&self, digest: Digest, kind: Credential, now: SystemTime) -> Option<Arc<Entry>> {
        let key = (self.number, digest);
        let front = FRONTS.with_borrow(|front| front.get(&key).cloned());
        if let Some(entry) = front {
            if self.holds(&entry, kind, now) {
                return Some(entry);
            }
            FRONTS.with_borrow_mut(|front| front.remove(&key));
        }
        let entry = self.good.get(&digest)?;
        if !self.holds(&entry, kind, now) {
            return None;
        }
        self.keep_in_front(key, &entry);
        Some(entry)
    }

    /// Keeps an entry, for `ttl` at most.
    pub fn keep(&self, digest: Digest, mut entry: Entry) -> Arc<Entry> {
        // `fresh_until` came in as the time of reading.
        entry.fresh_until += self.ttl;
        let entry = Arc::new(entry);
        self.good.insert(digest, Arc::clone(&entry));
        self.keep_in_front((self.number, digest), &entry);
        entry
    }

    /// Why this was found bad a moment ago, where it was.
    pub fn known_bad(&self, digest: Digest) -> Option<TokenRefusal> {
        self.bad.get(&digest)
    }

    /// Remembers for a moment that this is bad.
    pub fn keep_bad(&self, digest: Digest, refusal: TokenRefusal) {
        self.bad.insert(digest, refusal);
    }

    /// From here on no entry of this session or account is found, on any thread.
    pub fn ended(&self, what: Ended) {
        self.ends.ended(what);
    }

    /// For who ends something else than a session or an account.
    pub fn endings(&self) -> Endings {
        Endings(Arc::clone(&self.ends))
    }

    /// Every end from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Ended> {
        self.ends.waiting.subscribe()
    }

    fn holds(&self, entry: &Entry, kind: Credential, now: SystemTime) -> bool {
        entry.identity.credential == kind && entry.is_live(now) && !self.has_ended(entry)
    }

    /// Whether what this entry rests on has ended since it was read.
    pub fn has_ended(&self, entry: &Entry) -> bool {
        let present = self.epoch();
        let seen = entry.epoch.load(Ordering::Relaxed);
        if seen == present {
            return false;
        }
        let recent = self.ends.recent.read().unwrap_or_else(PoisonError::into_inner);
        let complete = recent.front().is_some_and(|(oldest, _)| *oldest <= seen + 1);
        let ended = !complete
            || recent.iter().rev().take_while(|(at, _)| *at > seen).any(|(_, end)| entry.is_of(*end));
        if !ended {
            // Never back: another thread may have looked at a newer list meanwhile.
            entry.epoch.fetch_max(present, Ordering::Relaxed);
        }
        ended
    }

    fn keep_in_front(&self, key: (u64, Digest), entry: &Arc<Entry>) {
        FRONTS.with_borrow_mut(|front| {
            if front.len() >= FRONT {
                front.clear();
            }
            front.insert(key, Arc::clone(entry));
        });
    }
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

type DigestHash = BuildHasherDefault<DigestHasher>;

/// A digest is evenly spread already: eight bytes of it are its hash.
///
/// Only digests of verified credentials are kept, and nobody can choose those.
#[derive(Default)]
struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(eight) = bytes.first_chunk() {
            self.0 ^= u64::from_le_bytes(*eight);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 ^= number.rotate_left(32);
    }

    fn write_usize(&mut self, _: usize) {
        // A length: the same for all.
    }
}

#[cfg(test)]
mod tests;
