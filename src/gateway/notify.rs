//! What the service manager is told, and its watchdog: `sd_notify(3)`. Nothing, where none has asked.
//!
//! Callers: `gateway`, when it begins to answer, round a reload, and at the stop.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

use super::Pulse;

/// What follows is being answered.
pub(super) fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A reload begins; `ready` ends it.
pub(super) fn reloading() {
    // The time tells this reload's end from an earlier one's.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => {
            send(&[NotifyState::Reloading, now, NotifyState::Status("Reading the configuration again")])
        }
        Err(error) => tracing::warn!(%error, "the service manager was not told of the reload"),
    }
}

/// The stop was asked for, and ends within that time: the manager's own patience may be shorter.
pub(super) fn stopping(status: &str, within: Duration) {
    let within = u32::try_from(within.as_micros()).unwrap_or(u32::MAX);
    send(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(within), NotifyState::Status(status)]);
}

/// Feeds the watchdog for as long as every thread answers. Never ends.
pub(super) async fn feed_watchdog(pulse: Pulse) {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| *limit > Duration::ZERO) else {
        return std::future::pending().await;
    };
    // sd_watchdog_enabled(3) advises half of it; a look may take half of the rest.
    let mut looks = interval(limit / 2);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        match tokio::time::timeout(limit / 4, pulse.answers()).await {
            Ok(()) => send(&[NotifyState::Watchdog]),
            Err(_) => tracing::error!("a thread does not answer; the service manager's watchdog is not fed"),
        }
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager could not be told how this process does");
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::super::thread::Message;
    use super::*;

    #[tokio::test]
    async fn one_thread_that_does_not_answer_is_enough_to_starve_the_watchdog() {
        let (turning, mut messages) = mpsc::unbounded_channel();
        let (silent, kept) = mpsc::unbounded_channel();
        let (gone, _) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Message::Ping(answer)) = messages.recv().await {
                let _ = answer.send(());
            }
        });
        let wait = Duration::from_millis(100);
        let pulse = Pulse(vec![turning.clone(), gone.clone()]);
        assert!(tokio::time::timeout(wait, pulse.answers()).await.is_ok(), "one that has ended is not asked");
        let pulse = Pulse(vec![turning, silent, gone]);
        assert!(tokio::time::timeout(wait, pulse.answers()).await.is_err());
        drop(kept);
    }
}
