//! The one thread that writes: it groups the commands that wait, makes them durable, then answers.
//!
//! The order carries the promise that an answered write is kept: one batch for the whole group, the
//! engine's flush, our own sync of its log, and only then the answers. Any failure on that way stops
//! all writing (the engine would refuse from then on in any case) until the store was opened anew;
//! reads go on from the old tree for as long as there is no better one.
//!
//! Callers: `sled` starts it and sends to it. The commands are in `command`, their meaning in `rules`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use ::sled::Db;
use tokio::sync::oneshot;

use super::command::{Command, Evaluated, Stage, evaluate, refuse};
use super::journal::Journal;
use super::open::{self, Opened};
use super::space::Space;
use super::unit::{Group, Unit};
use super::{Shared, backup, keys, rules, verify};
use crate::store::{StoreError, StoreSettings};

/// More wait for the next group, so that none of them waits for ever longer ones.
const COMMANDS_PER_GROUP: usize = 100;

/// Chores are looked at this often when nothing else happens.
const TICK: Duration = Duration::from_millis(250);

/// Uses of sessions are written down this often.
const TOUCH_EVERY: Duration = Duration::from_secs(1);

/// One row each.
const TOUCHES_PER_BATCH: usize = 250;

const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Counts of failed logins are looked through this often, some at a time.
const SWEEP_FAILURES_EVERY: Duration = Duration::from_secs(60);

/// With more to sweep than one batch holds, the next one follows after this.
const SWEEP_ON: Duration = Duration::from_millis(100);

/// Three operations each.
const SWEPT_PER_BATCH: usize = 90;

/// Between attempts to open the store anew; it doubles up to the second of them.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// How long readers may keep a tree that is to be dropped, and the engine may take to drop it.
const LET_GO_WAIT: Duration = Duration::from_secs(10);

pub(super) struct Writer {
    /// Was evaluated, and found no room in the last group.
    held: Option<Command>,
    settings: StoreSettings,
    shared: Arc<Shared>,
    state: State,
    /// The last count of failed logins that was looked at, and when the next ones are.
    swept_failures: Vec<u8>,
    failures_at: Instant,
    sweep_at: Instant,
    touch_at: Instant,
    waiting: Receiver<Command>,
}

enum State {
    /// No writing until the store was opened anew; `db` is for the readers meanwhile.
    Failed {
        db: Option<Arc<Db>>,
        retry_at: Instant,
        wait: Duration,
    },
    Working {
        db: Arc<Db>,
        journal: Journal,
    },
}

impl Writer {
    pub(super) fn new(
        opened: Opened,
        settings: StoreSettings,
        shared: Arc<Shared>,
        waiting: Receiver<Command>,
    ) -> Self {
        let now = Instant::now();
        let state = serve_tree(&shared, opened);
        Self {
            failures_at: now,
            held: None,
            settings,
            shared,
            state,
            sweep_at: now,
            swept_failures: Vec::new(),
            touch_at: now,
            waiting,
        }
    }

    pub(super) fn run(mut self) {
        let stopped = loop {
            let next = match self.held.take() {
                Some(command) => Ok(command),
                None => self.waiting.recv_timeout(TICK),
            };
            let command = match next {
                Ok(command) => Some(command),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break None,
            };
            // The engine panics at some damaged pages. A writer that is gone would take all writing
            // with it and tell nobody; this way it is one more failure to recover from.
            let done = catch_unwind(AssertUnwindSafe(|| {
                let stopped = command.and_then(|command| self.serve(command));
                if stopped.is_none() {
                    self.do_chores();
                }
                stopped
            }));
            match done {
                Ok(None) => (),
                Ok(stopped) => break stopped,
                Err(panic) => self.fail(open::panic_text(panic.as_ref()).to_owned()),
            }
        };
        self.stop();
        // Whoever asked may now open the directory again.
        if let Some(stopped) = stopped {
            // Nobody may be waiting any more.
            let _ = stopped.send(());
        }
    }

    // ---- commands ----------------------------------------------------------------------------

    /// Serves this command and those that wait behind it, as one group. Gives the sender of a `Close`.
    fn serve(&mut self, first: Command) -> Option<oneshot::Sender<()>> {
        let space = Space::of(&self.settings);
        if matches!(self.state, State::Working { .. }) && self.is_full(&space) {
            return refuse(first, self.reason());
        }
        let State::Working { db, journal } = &mut self.state else {
            return refuse(first, self.reason());
        };
        let mut answers = Vec::new();
        let mut closing = None;
        let mut backing_up = None;
        let mut group = Group::new(db);
        let mut next = Some(first);
        while let Some(command) = next.take() {
            let refusal = match &command {
                Command::CreateUser(..)
                | Command::CreateUsers(..)
                | Command::Register(..)
                | Command::AcceptInvitation(..)
                    if space.is_low() =>
                {
                    Some(StoreError::Unavailable("the disk is nearly full: no new accounts".to_owned()))
                }
                _ => None,
            };
            let stage = refusal.map_or(Stage::Evaluate(&mut group), Stage::Refuse);
            match evaluate(command, stage) {
                Evaluated::Answer(answer) => answers.push(answer),
                Evaluated::Close(stopped) => {
                    closing = Some(stopped);
                    break;
                }
                Evaluated::Backup(id, limit, reply) => {
                    backing_up = Some((id, limit, reply));
                    break;
                }
                Evaluated::TooMuch(command) => {
                    self.held = Some(command);
                    break;
                }
            }
            if answers.len() < COMMANDS_PER_GROUP && !group.is_full() {
                next = self.waiting.try_recv().ok();
            }
        }
        self.shared.backup.note(group.keys());
        let failure = commit(db, journal, group).err();
        let told = failure.clone().map(StoreError::Unavailable);
        if let Some((id, limit, reply)) = backing_up {
            // What this group changed is on disk, and nothing else changes before the next one.
            let read = match &told {
                Some(error) => Err(error.clone()),
                None => backup::changes(&self.shared.backup, db, id, limit, true),
            };
            let _ = reply.send(read);
        }
        if let Some(reason) = failure {
            self.fail(reason);
        }
        for answer in answers {
            answer(told.clone());
        }
        closing
    }

    /// Notes for `health`, and for those who would write, whether there is room.
    fn is_full(&self, space: &Space) -> bool {
        let (full, known) = (space.is_full(), self.shared.failure.load().is_some());
        if full && !known {
            tracing::error!("the disk is full: the store writes nothing until there is room");
            self.shared.failure.store(Arc::new(Some("the disk is full".to_owned())));
        } else if known && !full {
            tracing::info!("the disk answers and has room: the store writes again");
            self.shared.failure.store(Arc::new(None));
        }
        full
    }

    fn reason(&self) -> String {
        self.shared.failure.load().as_ref().clone().unwrap_or_else(|| "writing failed".to_owned())
    }

    // ---- chores ------------------------------------------------------------------------------

    fn do_chores(&mut self) {
        let now = Instant::now();
        match &self.state {
            State::Failed { retry_at, .. } => {
                if now >= *retry_at {
                    self.recover();
                }
                return;
            }
            State::Working { .. } => (),
        }
        if self.is_full(&Space::of(&self.settings)) {
            return;
        }
        if now >= self.touch_at {
            self.touch_at = now + TOUCH_EVERY;
            self.write_touches();
            self.write_failures();
        }
        // A command that was held back says that the queue is long; those who wait go first.
        if now >= self.sweep_at && self.held.is_none() {
            self.sweep();
        }
        if now >= self.failures_at && self.held.is_none() {
            self.sweep_failures();
        }
    }

    fn write_touches(&mut self) {
        let touches: Vec<_> = {
            let mut touched = self.shared.touched.lock().unwrap_or_else(PoisonError::into_inner);
            let some: Vec<_> = touched.keys().take(TOUCHES_PER_BATCH).copied().collect();
            some.into_iter().filter_map(|digest| touched.remove_entry(&digest)).collect()
        };
        if !touches.is_empty() {
            self.write_chore("noting the use of sessions and tokens", |unit| rules::touch(unit, &touches));
        }
    }

    /// Says whether that was all that waited, or all that can be written.
    fn write_failures(&mut self) -> bool {
        let (counts, more) = {
            let mut waiting = self.shared.failures.lock().unwrap_or_else(PoisonError::into_inner);
            let some: Vec<_> = waiting.keys().take(TOUCHES_PER_BATCH).copied().collect();
            let counts: Vec<_> = some.into_iter().filter_map(|key| waiting.remove(&key)).collect();
            (counts, !waiting.is_empty())
        };
        counts.is_empty()
            || self.write_chore("noting failed logins", |unit| rules::note_failures(unit, &counts)).is_none()
            || !more
    }

    fn sweep_failures(&mut self) {
        let mut after = std::mem::take(&mut self.swept_failures);
        self.write_chore("forgetting failed logins", |unit| {
            rules::sweep_failures(unit, &mut after, SystemTime::now(), TOUCHES_PER_BATCH)
        });
        self.failures_at = Instant::now() + if after.is_empty() { SWEEP_FAILURES_EVERY } else { SWEEP_EVERY };
        self.swept_failures = after;
    }

    fn sweep(&mut self) {
        let more = self.write_chore("sweeping what has ended", |unit| {
            rules::sweep(unit, SystemTime::now(), SWEPT_PER_BATCH)
        });
        self.sweep_at = Instant::now() + if more == Some(true) { SWEEP_ON } else { SWEEP_EVERY };
        // The engine's own thread stops silently when it meets an error; a flush brings it to light.
        if let State::Working { db, .. } = &self.state
            && let Err(error) = db.flush()
        {
            self.fail(error.to_string());
        }
    }

    /// A group of its own, for which nobody waits.
    fn write_chore<T>(
        &mut self,
        what: &str,
        rule: impl FnOnce(&mut Unit<'_, '_>) -> Result<T, StoreError>,
    ) -> Option<T> {
        let State::Working { db, journal } = &mut self.state else { return None };
        let mut group = Group::new(db);
        let mut unit = group.unit();
        let done = match rule(&mut unit) {
            Ok(done) => done,
            Err(error) => {
                tracing::warn!(%error, "{what} failed");
                return None;
            }
        };
        let changes = unit.into_changes();
        group.absorb(changes);
        self.shared.backup.note(group.keys());
        match commit(db, journal, group) {
            Ok(()) => Some(done),
            Err(reason) => {
                self.fail(reason);
                None
            }
        }
    }

    // ---- failing, recovering, stopping -------------------------------------------------------

    fn fail(&mut self, reason: String) {
        tracing::error!(%reason, "the store can't write; reads go on, and it will be opened anew");
        self.shared.failure.store(Arc::new(Some(reason)));
        let (wait, _) = RETRY;
        // The journal goes with the old state, as it demands.
        let db = self.shared.tree.load_full();
        self.state = State::Failed { db, retry_at: Instant::now() + wait, wait };
    }

    fn recover(&mut self) {
        let State::Failed { db, retry_at, wait } = &mut self.state else { return };
        // On a disk that is full or dead it would not open, and the readers would have lost their tree for nothing.
        if !Space::of(&self.settings).is_fit_to_open(&self.settings.directory) {
            *retry_at = Instant::now() + TICK;
            return;
        }
        *retry_at = Instant::now() + *wait;
        *wait = (*wait * 2).min(RETRY.1);
        if let Some(old) = db.take() {
            self.shared.tree.store(None);
            if let Err(old) = let_go(old) {
                self.shared.tree.store(Some(old.clone()));
                *db = Some(old);
                return;
            }
        }
        match open::reopen(&self.settings) {
            Ok(opened) => {
                self.state = serve_tree(&self.shared, opened);
                self.shared.failure.store(Arc::new(None));
                tracing::info!("the store was opened anew and writes again");
            }
            Err(error) => tracing::error!(%error, "the store could not be opened anew; it is tried again"),
        }
    }

    /// What waited was served before. The marker says so to the next start.
    fn stop(mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.write_touches();
        while !self.write_failures() {}
        self.write_chore("marking the clean stop", |unit| {
            unit.put(keys::CLEAN.to_vec(), []);
            Ok(())
        });
        self.shared.tree.store(None);
        let db = match self.state {
            State::Failed { db, .. } => db,
            State::Working { db, .. } => Some(db),
        };
        if db.is_some_and(|db| let_go(db).is_err()) {
            tracing::warn!("a long read kept the store open beyond its end");
        }
    }
}

/// Hands an opened tree to the readers, and has it checked where the last stop was not a clean one.
fn serve_tree(shared: &Arc<Shared>, opened: Opened) -> State {
    let Opened { clean, db, journal } = opened;
    let db = Arc::new(db);
    shared.tree.store(Some(db.clone()));
    if !clean {
        verify::in_background(shared.clone());
    }
    State::Working { db, journal }
}

/// Makes what a group changes durable; a group of refusals alone is so already.
fn commit(db: &Db, journal: &mut Journal, group: Group<'_>) -> Result<(), String> {
    if group.is_empty() { Ok(()) } else { journal.commit(db, group.into_batch()) }
}

/// Drops the tree once its last reader is gone; gives it back where one stays.
fn let_go(mut db: Arc<Db>) -> Result<(), Arc<Db>> {
    let deadline = Instant::now() + LET_GO_WAIT;
    let db = loop {
        match Arc::try_unwrap(db) {
            Ok(db) => break db,
            Err(held) if Instant::now() > deadline => return Err(held),
            Err(held) => db = held,
        }
        thread::sleep(Duration::from_millis(1));
    };
    // On a thread of its own: after a failure the engine may panic in its destructor, or wait there
    // for a thread that is gone. The next opening finds out by the lock.
    let (done, dropped) = mpsc::channel::<()>();
    let dropping = thread::Builder::new().name("store-close".to_owned()).spawn(move || {
        drop(db);
        drop(done);
    });
    if dropping.is_ok() {
        // Nothing is ever sent: what is waited for is the end of the sender.
        let _ = dropped.recv_timeout(LET_GO_WAIT);
    }
    Ok(())
}
