//! The worker: takes mails out of the outbox, one after the other, and hands them to the server.
//!
//! A mail leaves the outbox when the server has taken it, or when it is given up: refused for good, void by
//! now, or tried for a day. It is told in the log with its number and kind; to whom it went is told at the
//! level `debug` alone, and what is in it never.
//!
//! Callers: `gateway` runs it for as long as it serves.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use lettre::transport::smtp::client::TlsParameters;
use tokio::time::{sleep, timeout};

use super::compose::Writer;
use super::smtp::{self, Connection, Failure, Step, Verdict};
use super::{MailOutcome, MailServer, MailSettings, Mailer, SmtpServer, folder, message};
use crate::store::{MailId, QueuedMail, StoreError};

/// A mail that isn't taken within a day is given up.
const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);
/// Between two attempts at a mail that the server wants later: it doubles up to the second of them.
const RETRY: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(60 * 60));
/// Where it was the server, and not the mail: of the mail, and of the server, which is asked about no other mail
/// meanwhile.
const SERVER_RETRY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5 * 60));
/// A connection is kept for the next mail for so long.
const KEPT: Duration = Duration::from_secs(10);
/// The clock may be set: nothing is waited for longer without a look at it.
const LOOK: Duration = Duration::from_secs(60);
/// After a failure of the store.
const STORE_WAIT: Duration = Duration::from_secs(5);
/// At the stop, for the mail that is under way.
const LAST_MAIL: Duration = Duration::from_secs(5);

/// What lasts from one mail to the next.
#[derive(Default)]
struct Post {
    connection: Option<(Connection, Instant)>,
    /// Was sent or given up, and could not be taken out yet: it is not to be sent again.
    done: Option<(MailId, SystemTime)>,
    /// Failures of the server, one after the other, and until when it is left alone.
    paused: Option<(u32, Instant)>,
    settings: Option<Arc<MailSettings>>,
    tls: Option<TlsParameters>,
}

impl Mailer {
    /// Delivers what is in the outbox and what comes into it, until `stop` is done.
    pub async fn deliver(self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut post = Post::default();
        loop {
            let wait = {
                let mut turn = pin!(self.turn(&mut post));
                tokio::select! {
                    wait = &mut turn => wait,
                    () = &mut stop => {
                        // What is cut off here is sent again by the next process.
                        let _ = timeout(LAST_MAIL, turn).await;
                        break;
                    }
                }
            };
            tokio::select! {
                () = self.0.wake.notified() => {}
                () = sleep(wait) => {}
                () = &mut stop => break,
            }
        }
        post.close().await;
    }

    /// Sends at most one mail; says how long there is nothing to do.
    async fn turn(&self, post: &mut Post) -> Duration {
        let setup = self.0.setup.load_full();
        let (Some(settings), Some(writer)) = (&setup.settings, &setup.writer) else {
            post.close().await;
            return LOOK;
        };
        post.take_over(settings).await;
        let now = Instant::now();
        if let Some((_, until)) = post.paused.filter(|(_, until)| *until > now) {
            return until - now;
        }
        match self.next(post).await {
            Ok(Ok(mail)) => self.attempt(post, writer, settings, mail).await,
            Ok(Err(wait)) => post.rest(wait).await,
            Err(error) => {
                tracing::warn!(%error, "the outbox can't be read or written; mails wait");
                STORE_WAIT
            }
        }
    }

    /// The mail that is due, or how long none is.
    async fn next(&self, post: &mut Post) -> Result<Result<QueuedMail, Duration>, StoreError> {
        self.take_out(post).await?;
        let Some(mail) = self.0.store.first_mail().await? else { return Ok(Err(LOOK)) };
        Ok(match mail.due.duration_since(SystemTime::now()) {
            Ok(wait) if !wait.is_zero() => Err(wait.min(LOOK)),
            Ok(_) | Err(_) => Ok(mail),
        })
    }

    async fn attempt(
        &self,
        post: &mut Post,
        writer: &Writer,
        settings: &MailSettings,
        mail: QueuedMail,
    ) -> Duration {
        let now = SystemTime::now();
        let attempt = mail.content.attempts.saturating_add(1);
        let id = mail.id;
        let Some(said) = message::read(&mail.content.message, mail.content.to.clone()) else {
            return self
                .give_up(post, &mail, "unknown", attempt, "another version of Foregate kept it")
                .await;
        };
        let kind = said.message.kind().as_str();
        if said.message.is_void_at(mail.content.created_at).is_some_and(|void| void <= now) {
            return self.give_up(post, &mail, kind, attempt, "its link is void by now").await;
        }
        let letter = match writer.compose(&said, id, now) {
            Ok(letter) => letter,
            Err(error) => return self.give_up(post, &mail, kind, attempt, &error.to_string()).await,
        };
        let failure = match post.hand_over(&settings.server, id, &letter).await {
            Ok(answer) => {
                self.0.figures.count(MailOutcome::Sent);
                tracing::info!(mail.id = %id, mail.kind = kind, mail.attempt = attempt, "a mail was sent");
                tracing::debug!(mail.id = %id, mail.to = %mail.content.to, answer, "the mail server's answer");
                post.paused = None;
                return self.finish(post, &mail).await;
            }
            Err(failure) => failure,
        };
        let wait = match failure.verdict {
            Verdict::Never => return self.give_up(post, &mail, kind, attempt, &failure.to_string()).await,
            Verdict::Later => doubled(RETRY, attempt),
            Verdict::Server => doubled(SERVER_RETRY, attempt),
        };
        let age = now.duration_since(mail.content.created_at).unwrap_or_default();
        self.0.figures.count(MailOutcome::Failed);
        if failure.verdict == Verdict::Server {
            let pause = post.pause();
            tracing::warn!(
                step = failure.step.as_str(), reason = %failure, mails = self.waiting(), retry_s = pause.as_secs(),
                "the mail server takes no mail; it is tried again (`foregate mail test` tells more)"
            );
        }
        if age + wait > PATIENCE {
            return self.give_up(post, &mail, kind, attempt, &failure.to_string()).await;
        }
        tracing::info!(
            mail.id = %id, mail.kind = kind, mail.attempt = attempt, retry_s = wait.as_secs(), reason = %failure,
            "a mail was not sent; it is tried again"
        );
        let mut later = mail;
        let was_due = later.due;
        later.due = now + wait;
        later.content.attempts = attempt;
        match self.0.store.postpone_mail(later, was_due).await {
            Ok(()) => Duration::ZERO,
            Err(error) => {
                tracing::warn!(%error, "the outbox can't be written; mails wait");
                STORE_WAIT
            }
        }
    }

    async fn give_up(
        &self,
        post: &mut Post,
        mail: &QueuedMail,
        kind: &str,
        attempt: u32,
        why: &str,
    ) -> Duration {
        self.0.figures.count(MailOutcome::GivenUp);
        tracing::error!(mail.id = %mail.id, mail.kind = kind, mail.attempt = attempt, reason = why, "a mail was given up");
        tracing::debug!(mail.id = %mail.id, mail.to = %mail.content.to, "to whom it would have gone");
        self.finish(post, mail).await
    }

    /// A mail that was sent or given up leaves the outbox, at once: a stop must not come between.
    async fn finish(&self, post: &mut Post, mail: &QueuedMail) -> Duration {
        post.done = Some((mail.id, mail.due));
        match self.take_out(post).await {
            Ok(()) => Duration::ZERO,
            Err(error) => {
                tracing::warn!(%error, "the outbox can't be written; mails wait");
                STORE_WAIT
            }
        }
    }

    /// Takes out what is done; until that has worked nothing else is sent.
    async fn take_out(&self, post: &mut Post) -> Result<(), StoreError> {
        if let Some((id, due)) = post.done {
            self.0.store.delete_mail(id, due).await?;
            self.0.waiting.fetch_sub(1, Ordering::Relaxed);
            post.done = None;
        }
        Ok(())
    }
}

impl Post {
    /// Other settings: another server, or the same spoken to in another way. It gets its chance at once.
    async fn take_over(&mut self, settings: &Arc<MailSettings>) {
        if !self.settings.as_ref().is_some_and(|known| Arc::ptr_eq(known, settings)) {
            self.close().await;
            self.paused = None;
            self.tls = None;
            self.settings = Some(Arc::clone(settings));
        }
    }

    /// Keeps the connection for a while, should another mail come.
    async fn rest(&mut self, wait: Duration) -> Duration {
        match &self.connection {
            Some((_, used)) if used.elapsed() < KEPT => wait.min(KEPT),
            Some(_) => {
                self.close().await;
                wait
            }
            None => wait,
        }
    }

    fn pause(&mut self) -> Duration {
        let failures = self.paused.map_or(0, |(failures, _)| failures).saturating_add(1);
        let pause = doubled(SERVER_RETRY, failures);
        self.paused = Some((failures, Instant::now() + pause));
        pause
    }

    async fn close(&mut self) {
        if let Some((connection, _)) = self.connection.take() {
            connection.close().await;
        }
    }

    async fn hand_over(
        &mut self,
        server: &MailServer,
        id: MailId,
        letter: &lettre::Message,
    ) -> Result<String, Failure> {
        let server = match server {
            MailServer::Smtp(server) => server,
            MailServer::Folder(path) => {
                let written = folder::deliver(path, id, letter.formatted()).await;
                let failed = |error: std::io::Error| Failure {
                    said: format!("{}: {error}", path.display()),
                    step: Step::Mail,
                    verdict: Verdict::Server,
                };
                return written.map(|path| path.display().to_string()).map_err(failed);
            }
        };
        let mut connection = self.connected(server).await?;
        // A failure is the end of a conversation: only one that went well is kept.
        let answer = connection.send(letter).await?;
        self.connection = Some((connection, Instant::now()));
        Ok(answer)
    }

    async fn connected(&mut self, server: &SmtpServer) -> Result<Connection, Failure> {
        if let Some((mut connection, _)) = self.connection.take()
            && connection.is_alive().await
        {
            return Ok(connection);
        }
        let tls = match &self.tls {
            Some(tls) => tls.clone(),
            None => {
                let made = smtp::tls(&server.host, server.authorities.as_ref());
                let failed = |said| Failure { said, step: Step::Tls, verdict: Verdict::Server };
                self.tls.insert(made.map_err(failed)?).clone()
            }
        };
        Connection::open(server, tls).await
    }
}

/// The n-th of these waits.
fn doubled((first, longest): (Duration, Duration), times: u32) -> Duration {
    let factor = 1_u32.checked_shl(times.saturating_sub(1)).unwrap_or(u32::MAX);
    first.saturating_mul(factor.max(1)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let minutes = |attempt| doubled(RETRY, attempt).as_secs() / 60;
        assert_eq!([1, 2, 3, 4, 5, 6, 7, 8, 100].map(minutes), [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        let seconds = |attempt| doubled(SERVER_RETRY, attempt).as_secs();
        assert_eq!([0, 1, 2, 3, 4, 5, 6, u32::MAX].map(seconds), [10, 10, 20, 40, 80, 160, 300, 300]);
    }
}
