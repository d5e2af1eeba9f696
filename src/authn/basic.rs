//! Basic (RFC 7617): reading the pair, and one hash for all requests that show the same one at once. In place of the
//! password a personal access token may stand, and then nothing is hashed.
//!
//! A check goes on when the request that began it stops waiting, and what it finds is kept in the
//! cache: a sub-request that could not wait is answered the next time.
//!
//! Callers: `authn`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::Asker;
use super::cache::{Cache, Entry};
use super::login::{self, LoginFailure, PasswordLogin};
use super::personal;
use crate::identity::Credential;
use crate::store::Digest;
use crate::telemetry::audit::{self, Door};

/// Bytes of the longest value that is decoded: 128 characters of name and 1024 of password, in base64.
const MAX_VALUE: usize = 8 * 1024;

/// How a check ended.
pub type Outcome = Result<Arc<Entry>, LoginFailure>;

/// The name and the password of a Basic value.
pub fn decode(value: &[u8]) -> Option<(String, SecretString)> {
    if value.len() > MAX_VALUE {
        return None;
    }
    let pair = Zeroizing::new(STANDARD.decode(value).ok()?);
    let (name, password) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
    (!pair.iter().any(u8::is_ascii_control)).then(|| (name.to_owned(), password.into()))
}

/// One pair to check.
pub struct Check {
    /// Where a success is kept.
    pub cache: Arc<Cache>,
    /// Of the whole header value.
    pub digest: Digest,
    /// How it is checked.
    pub login: PasswordLogin,
    /// As shown.
    pub name: String,
    /// As shown.
    pub password: SecretString,
}

/// Who waits for one check.
type Waiters = Vec<oneshot::Sender<Outcome>>;

/// Checks under way, and who waits for them.
#[derive(Default)]
pub struct Waiting {
    // The source is part of the key: its failures are counted to it, and to nobody who asked along.
    checks: Mutex<HashMap<(IpAddr, Digest), Waiters>>,
}

impl Waiting {
    /// Waits for a check as long as the asker's patience lasts; begins it if nobody has.
    pub async fn verify(self: &Arc<Self>, check: Check, asker: Asker) -> Option<Outcome> {
        let (answer, outcome) = oneshot::channel();
        let key = (asker.client, check.digest);
        let begins = {
            let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
            let waiting = checks.entry(key).or_default();
            waiting.push(answer);
            waiting.len() == 1
        };
        if begins {
            let waiting = Arc::clone(self);
            // Written down as of the request that began it.
            tokio::spawn(audit::inherited(async move {
                // Taken out when the check ends in whatever way: nobody waits for a check that is gone.
                let mut done = Done { key, taken: false, waiting: &waiting };
                let outcome = check.run(asker).await;
                for answer in done.take() {
                    drop(answer.send(outcome.clone()));
                }
            }));
        }
        match tokio::time::timeout(asker.patience, outcome).await {
            Ok(Ok(outcome)) => Some(outcome),
            Ok(Err(_)) => Some(Err(LoginFailure::Busy)),
            Err(_) => None,
        }
    }
}

struct Done<'a> {
    key: (IpAddr, Digest),
    /// Once: whoever waits under the same key afterwards waits for another check.
    taken: bool,
    waiting: &'a Waiting,
}

impl Done<'_> {
    fn take(&mut self) -> Waiters {
        if std::mem::replace(&mut self.taken, true) {
            return Waiters::new();
        }
        let mut checks = self.waiting.checks.lock().unwrap_or_else(PoisonError::into_inner);
        checks.remove(&self.key).unwrap_or_default()
    }
}

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.take();
    }
}

impl Check {
    async fn run(self, asker: Asker) -> Outcome {
        let epoch = self.cache.epoch();
        let until = asker.now + self.cache.ttl();
        // Nobody's password has this form by chance, for there is a checksum in it.
        if let Some(token) = personal::digest(self.password.expose_secret().as_bytes()) {
            let (token, user) =
                personal::verify_pair(&self.login, asker.client, &self.name, token, asker.now).await?;
            let identity = personal::identity(&token, &user, Credential::Basic);
            let until = token.expires_at.unwrap_or(until);
            let entry = Entry::of_personal_token(identity, &token, until, epoch, asker.now);
            return Ok(self.cache.keep(self.digest, entry));
        }
        let user = self.login.verify(Door::Basic, asker.client, &self.name, self.password).await?;
        // The password is shown with every request, so the login is always of this moment.
        let identity = login::identity(&user, Credential::Basic, asker.now);
        Ok(self.cache.keep(self.digest, Entry::until(identity, until, epoch, asker.now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs() {
        let read = |text: &[u8]| {
            decode(STANDARD.encode(text).as_bytes())
                .map(|(name, password)| (name, password.expose_secret().to_owned()))
        };
        let pair = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        assert_eq!(read(b"alice:secret"), pair("alice", "secret"));
        assert_eq!(read(b"alice:a:b:c"), pair("alice", "a:b:c"));
        assert_eq!(read(b":"), pair("", ""));
        assert_eq!(read("zo\u{eb}:p\u{e4}ss".as_bytes()), pair("zo\u{eb}", "p\u{e4}ss"));
        for bad in [&b"alice"[..], b"al\nice:x", b"alice:\0", b"\xff:x"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
        assert!(decode(b"not base64!").is_none());
        assert!(decode(&vec![b'A'; MAX_VALUE + 1]).is_none());
    }

    #[test]
    fn a_check_that_has_ended_takes_nobody_of_the_next_one_along() {
        let waiting = Waiting::default();
        let key = (IpAddr::from([192, 0, 2, 1]), Digest::of(b"pair"));
        let mut ended = Done { key, taken: false, waiting: &waiting };
        ended.take();
        let (answer, _outcome) = oneshot::channel();
        waiting.checks.lock().expect("no panic while it is held").entry(key).or_default().push(answer);
        drop(ended);
        assert!(waiting.checks.lock().expect("no panic while it is held").contains_key(&key));
    }
}
