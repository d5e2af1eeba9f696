//! The hashing threads: as many as configured, at a lower priority, behind a bounded queue.
//!
//! Callers: `authn` and `account` through `Passwords`. A caller that goes away takes its place in
//! the queue along: its hash is never computed.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::oneshot;

use super::argon::Hasher;
use super::judge::Judge;
use super::pace::Pace;
use super::strength::{self, Strength, Weakness};
use super::{MAX_LENGTH, PasswordSettings};

/// How many wait at most, and for how long: past that the answer is `Busy`, for somebody who waits
/// longer at a login page has pressed the button again.
const QUEUE: usize = 64;
const PATIENCE: Duration = Duration::from_secs(5);

/// More hashes wait than the queue holds, or one waited too long.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("too many passwords are being checked")]
pub struct Busy;

/// What comparing a password with a hash gave.
#[derive(Debug)]
pub struct Verified {
    /// It is the right one.
    pub matches: bool,
    /// A hash of the same password with today's parameters, where the stored one is of others.
    pub upgrade: Option<SecretString>,
}

/// The hashing threads. Cheap to clone; they end when the last clone goes.
#[derive(Clone)]
pub struct Passwords {
    jobs: SyncSender<Job>,
    judge: Judge,
    load: Arc<Load>,
    pace: Arc<Pace>,
    settings: Arc<PasswordSettings>,
}

/// How much there is to do at this moment.
#[derive(Debug, Default)]
pub struct Load {
    computed: AtomicU64,
    queued: AtomicUsize,
    running: AtomicUsize,
}

impl Load {
    /// Passwords that were hashed, to be kept or to be compared.
    pub fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    /// Passwords that wait for a thread.
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Passwords that are being hashed.
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }
}

struct Job {
    task: Task,
    queued_at: Instant,
}

enum Task {
    Hash {
        password: SecretString,
        context: Vec<String>,
        answer: oneshot::Sender<Result<Result<SecretString, Weakness>, Busy>>,
    },
    Verify {
        stored: Option<SecretString>,
        password: SecretString,
        answer: oneshot::Sender<Result<(Verified, Duration), Busy>>,
    },
}

impl Passwords {
    /// Starts the threads; they are ready when this returns.
    pub fn start(settings: PasswordSettings) -> Self {
        let (jobs, queue) = sync_channel(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        let (load, pace) = (Arc::new(Load::default()), Arc::new(Pace::default()));
        for number in 0..settings.workers.max(1) {
            let (queue, load, pace) = (Arc::clone(&queue), Arc::clone(&load), Arc::clone(&pace));
            thread::Builder::new()
                .name(format!("password-{number}"))
                .spawn(move || work(&queue, &load, &pace, &settings))
                .expect("the operating system starts a thread");
        }
        Self { jobs, judge: Judge::start(settings), load, pace, settings: Arc::new(settings) }
    }

    /// Compares a password with a hash. Without a hash it does the same work and says no.
    pub async fn verify(
        &self,
        stored: Option<SecretString>,
        password: SecretString,
    ) -> Result<Verified, Busy> {
        // What no account can have as its password costs no more than any other wrong one.
        let password = if is_too_long(&password) { SecretString::from("") } else { password };
        let (answer, verified) = oneshot::channel();
        self.enqueue(Task::Verify { stored, password, answer })?;
        let (verified, took) = verified.await.unwrap_or(Err(Busy))?;
        if !verified.matches {
            tokio::time::sleep(self.pace.rest(took)).await;
        }
        Ok(verified)
    }

    /// Hashes a new password if the policy takes it; `context` has names, address and site.
    pub async fn hash(
        &self,
        password: SecretString,
        context: Vec<String>,
    ) -> Result<Result<SecretString, Weakness>, Busy> {
        if is_too_long(&password) {
            return Ok(Err(Weakness::TooLong));
        }
        let (answer, hashed) = oneshot::channel();
        self.enqueue(Task::Hash { password, context, answer })?;
        hashed.await.unwrap_or(Err(Busy))
    }

    /// How strong a password would be, for a hint while it is typed.
    pub async fn judge(&self, password: SecretString, context: Vec<String>) -> Result<Strength, Busy> {
        if is_too_long(&password) {
            return Ok(Strength { score: 4, weakness: Some(Weakness::TooLong) });
        }
        self.judge.ask(password, context).await
    }

    /// How much there is to do, for the figures.
    pub fn load(&self) -> &Arc<Load> {
        &self.load
    }

    /// The policy, for the pages that state it.
    pub fn settings(&self) -> &PasswordSettings {
        &self.settings
    }

    fn enqueue(&self, task: Task) -> Result<(), Busy> {
        // Before it can be taken out, so that it is never below zero.
        self.load.queued.fetch_add(1, Ordering::Relaxed);
        self.jobs.try_send(Job { task, queued_at: Instant::now() }).map_err(|_| {
            self.load.queued.fetch_sub(1, Ordering::Relaxed);
            Busy
        })
    }
}

/// Four bytes a code point at most: a longer text is refused before anything counts it.
fn is_too_long(password: &SecretString) -> bool {
    let password = password.expose_secret();
    password.len() > MAX_LENGTH * 4 || password.chars().nth(MAX_LENGTH).is_some()
}

fn work(queue: &Mutex<Receiver<Job>>, load: &Load, pace: &Pace, settings: &PasswordSettings) {
    // On Linux a thread has its own nice value: requests go first, and hashing takes what is left.
    let _ = rustix::process::nice(10);
    let mut hasher = Hasher::new(settings);
    loop {
        // The lock is held while waiting: the others wait for it instead of the queue, which is the same.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { task, queued_at }) = job else { return };
        load.running.fetch_add(1, Ordering::Relaxed);
        load.queued.fetch_sub(1, Ordering::Relaxed);
        let late = queued_at.elapsed() > PATIENCE;
        match task {
            Task::Verify { answer, .. } if answer.is_closed() => {}
            Task::Hash { answer, .. } if answer.is_closed() => {}
            Task::Verify { answer, .. } if late => drop(answer.send(Err(Busy))),
            Task::Hash { answer, .. } if late => drop(answer.send(Err(Busy))),
            Task::Verify { stored, password, answer } => {
                let password = password.expose_secret();
                let began = Instant::now();
                let outcome = hasher.verify(stored.as_ref().map(ExposeSecret::expose_secret), password);
                let took = began.elapsed();
                if outcome.dear {
                    pace.note(took);
                }
                let upgrade = (outcome.matches && !outcome.current).then(|| hasher.hash(password).into());
                load.computed.fetch_add(1 + u64::from(upgrade.is_some()), Ordering::Relaxed);
                let verified = Verified { matches: outcome.matches, upgrade };
                drop(answer.send(Ok((verified, took))));
            }
            Task::Hash { password, context, answer } => {
                let password = password.expose_secret();
                let judged = match strength::judge(settings, password, &context).weakness {
                    Some(weakness) => Err(weakness),
                    None => Ok(hasher.hash(password).into()),
                };
                load.computed.fetch_add(u64::from(judged.is_ok()), Ordering::Relaxed);
                drop(answer.send(Ok(judged)));
            }
        }
        load.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passwords() -> Passwords {
        Passwords::start(PasswordSettings {
            iterations: 1,
            memory_kib: 1024,
            min_length: 8,
            min_score: 0,
            parallelism: 1,
            workers: 1,
        })
    }

    #[tokio::test]
    async fn a_password_is_hashed_and_verified() {
        let passwords = passwords();
        let hash = passwords
            .hash("long enough".into(), Vec::new())
            .await
            .expect("a place in the queue")
            .expect("good");
        let right = passwords.verify(Some(hash.clone()), "long enough".into()).await.expect("a place");
        assert!(right.matches && right.upgrade.is_none());
        assert!(!passwords.verify(Some(hash), "long enougH".into()).await.expect("a place").matches);
        assert!(!passwords.verify(None, "long enough".into()).await.expect("a place").matches);
    }

    #[tokio::test]
    async fn a_flood_of_questions_about_strength_keeps_no_login_waiting() {
        let passwords = passwords();
        let hash = passwords.hash("long enough".into(), Vec::new()).await.expect("a place").expect("good");
        let long = "aA4@bB8".repeat(14);
        let asking: Vec<_> = (0..QUEUE * 8)
            .map(|_| {
                let (passwords, long) = (passwords.clone(), long.clone());
                tokio::spawn(async move { passwords.judge(long.into(), Vec::new()).await.is_err() })
            })
            .collect();
        tokio::task::yield_now().await;
        let right = passwords.verify(Some(hash), "long enough".into()).await;
        assert!(right.expect("a place in its own queue").matches);
        let mut busy = 0;
        for one in asking {
            busy += usize::from(one.await.expect("no panic"));
        }
        assert!(busy > 0, "all of them were taken in");
        let strength = passwords.judge("x".repeat(5000).into(), Vec::new()).await.expect("a place");
        assert_eq!(strength.weakness, Some(Weakness::TooLong));
    }

    #[tokio::test]
    async fn past_the_bound_the_answer_is_busy_at_once() {
        let passwords = passwords();
        let tries: Vec<_> = (0..QUEUE * 4)
            .map(|_| {
                let passwords = passwords.clone();
                tokio::spawn(async move { passwords.verify(None, "x".into()).await.is_err() })
            })
            .collect();
        let mut busy = 0;
        for one in tries {
            busy += usize::from(one.await.expect("no panic"));
        }
        assert!(busy > 0, "four times the queue was taken in whole");
        // The last answer is out a moment before its thread is done with it.
        let load = passwords.load();
        let deadline = Instant::now() + PATIENCE;
        while (load.queued(), load.running()) != (0, 0) {
            assert!(Instant::now() < deadline, "{load:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
