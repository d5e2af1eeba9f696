//! How strong a password is while it is being typed: one thread at a low priority, behind a short queue.
//!
//! Anybody may ask, so it takes nothing from logins and from setting passwords: they have threads of
//! their own, and past the queue there is no answer, for a hint is worth no more.
//!
//! Callers: `password::pool`. What a page makes of it is the portal's.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::oneshot;

use super::PasswordSettings;
use super::pool::Busy;
use super::strength::{self, Strength};

/// How many wait at most; each takes a few milliseconds.
const QUEUE: usize = 16;

/// The thread's letter box. It ends when the last one goes.
#[derive(Clone)]
pub(super) struct Judge {
    questions: SyncSender<Question>,
}

struct Question {
    answer: oneshot::Sender<Strength>,
    context: Vec<String>,
    password: SecretString,
}

impl Judge {
    pub(super) fn start(settings: PasswordSettings) -> Self {
        let (questions, queue) = sync_channel(QUEUE);
        thread::Builder::new()
            .name("password-judge".to_owned())
            .spawn(move || work(&queue, &settings))
            .expect("the operating system starts a thread");
        Self { questions }
    }

    pub(super) async fn ask(&self, password: SecretString, context: Vec<String>) -> Result<Strength, Busy> {
        let (answer, judged) = oneshot::channel();
        self.questions.try_send(Question { answer, context, password }).map_err(|_| Busy)?;
        judged.await.map_err(|_| Busy)
    }
}

fn work(queue: &Receiver<Question>, settings: &PasswordSettings) {
    let _ = rustix::process::nice(10);
    while let Ok(Question { answer, context, password }) = queue.recv() {
        if !answer.is_closed() {
            // Who asked may have gone.
            let _ = answer.send(strength::judge(settings, password.expose_secret(), &context));
        }
    }
}
