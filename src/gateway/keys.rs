//! Signing keys by time: whether one is due is looked at every few minutes, from the start on.
//!
//! Callers: `gateway`.

use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval};

use super::control::Control;

/// As long as a key set may be kept: a key is published for one look at least before it signs.
const LOOK: Duration = Duration::from_secs(300);

/// Never ends. The rooms are asked for at each look, for a reload may have changed them.
pub(super) async fn tend(control: Control) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let accounts = control.state().rooms.load().accounts.clone();
        if let Err(error) = accounts.tend_keys(SystemTime::now()).await {
            tracing::warn!(%error, "signing keys were not looked after; they are in a few minutes");
        }
    }
}
