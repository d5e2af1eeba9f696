//! `foregate serve`: the gateway, its admin socket and its admin listener, until a signal ends them.
//!
//! Callers: `cli`, and `cli::demo` with a stop of its own.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{CliError, note};
use crate::admin::{AdminHttp, AdminServer};
use crate::config::Config;
use crate::gateway::{Control, Gateway, ReloadError};
use crate::telemetry;

/// What still occupies threads at the end gets so long.
const LEAVING: Duration = Duration::from_millis(500);
/// How long the log may take where the process is to end at once.
const LAST_WORD: Duration = Duration::from_millis(200);

/// Serves the configuration in a file until SIGTERM or SIGINT.
pub(super) fn run(path: &Path) -> Result<(), CliError> {
    let config = Config::load(path).map_err(|faults| CliError::Configuration(faults.to_string()))?;
    for warning in &config.warnings {
        note(format_args!("warning: {warning}"));
    }
    telemetry::start(config.log);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let stop = stop_signal()?;
        until(config, || Ok(()), stop).await
    });
    leave(runtime);
    served
}

/// Ends a runtime on which all that has to end has ended: what is left on its threads may be a look-up that a silent name
/// service holds up.
pub(super) fn leave(runtime: Runtime) {
    runtime.shutdown_timeout(LEAVING);
}

/// Serves a configuration until `stop`; `ready` is called once its addresses are bound.
pub(super) async fn until(
    config: Config,
    ready: impl FnOnce() -> Result<(), CliError>,
    stop: impl Future<Output = ()>,
) -> Result<(), CliError> {
    // Without a hand on it SIGHUP would end the process, and a closed terminal the gateway: from the first moment on.
    let hang_ups = signal(SignalKind::hangup())?;
    let (socket, watched) = (config.admin_socket.clone(), config.admin_listen.clone());
    let mut stop = std::pin::pin!(stop);
    let gateway = tokio::select! {
        opened = Gateway::open(config) => opened?,
        // It may wait for another process to let go of the store.
        () = &mut stop => return Ok(()),
    };
    let bound = async {
        let admin = AdminServer::bind(&socket).await.with_context(|| {
            format!("can't open the admin socket {}; set `admin.socket` to another path", socket.display())
        })?;
        let watching = match &watched {
            Some(address) => Some(AdminHttp::bind(&address.host, address.port).await?),
            None => None,
        };
        anyhow::Ok((admin, watching))
    };
    let (admin, watching) = match bound.await {
        Ok(bound) => bound,
        Err(error) => {
            gateway.close().await;
            return Err(error.into());
        }
    };
    // Ends after the gateway has: until then it says that the gateway is draining.
    let ended = CancellationToken::new();
    let watching = watching.map(|watching| {
        for address in watching.addresses() {
            tracing::info!(admin.address = %address, "listening for metrics and health");
        }
        tokio::spawn(watching.run(gateway.watched(), ended.clone().cancelled_owned()))
    });
    let control = gateway.control();
    let stopping = CancellationToken::new();
    let administration = {
        let (control, stopping) = (control.clone(), stopping.clone());
        let answer = move |command| {
            let control = control.clone();
            async move { control.perform(command).await }
        };
        tokio::spawn(admin.run(answer, async move { stopping.cancelled().await }))
    };
    let reloading = tokio::spawn(reload_on_hang_up(hang_ups, control));
    for address in gateway.listening() {
        tracing::info!(listen.address = %address, public_url = %gateway.public_url(), "listening");
    }
    ready()?;
    let served = gateway.run(stop).await;
    reloading.abort();
    // Orders are taken to the end, and no longer: who waits for the store binds the same socket next.
    stopping.cancel();
    let _ = administration.await;
    ended.cancel();
    if let Some(watching) = watching {
        let _ = watching.await;
    }
    Ok(served?.close().await?)
}

/// Reads the configuration again at each SIGHUP. What comes of it is told in the log.
async fn reload_on_hang_up(mut hang_ups: Signal, control: Control) {
    while hang_ups.recv().await.is_some() {
        if let Err(error @ ReloadError::NotNow) = control.reload().await {
            tracing::warn!(%error, "SIGHUP was not followed");
        }
    }
}

/// Done at the first SIGTERM or SIGINT; a second one ends the process at once.
fn stop_signal() -> Result<impl Future<Output = ()>, CliError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::warn!("a second signal: ending at once");
            telemetry::finish(LAST_WORD);
            std::process::exit(1);
        });
    })
}
