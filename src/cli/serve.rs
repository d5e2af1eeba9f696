//! `foregate serve`: the gateway, its admin socket and its admin listener, until a signal ends them.
//!
//! Callers: `cli`, and `cli::demo` with a stop of its own.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{CliError, note};
use crate::admin::{AdminHttp, AdminServer, AdminSources, LinkBase};
use crate::config::Config;
use crate::gateway::Gateway;
use crate::telemetry;

/// Serves the configuration in a file until SIGTERM or SIGINT.
pub(super) fn run(path: &Path) -> Result<(), CliError> {
    let config = Config::load(path).map_err(|faults| CliError::Configuration(faults.to_string()))?;
    for warning in &config.warnings {
        note(format_args!("warning: {warning}"));
    }
    telemetry::start(config.log);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = stop_signal()?;
        until(config, || Ok(()), stop).await
    })
}

/// Serves a configuration until `stop`; `ready` is called once its addresses are bound.
pub(super) async fn until(
    config: Config,
    ready: impl FnOnce() -> Result<(), CliError>,
    stop: impl Future<Output = ()>,
) -> Result<(), CliError> {
    let (socket, prefix) = (config.admin_socket.clone(), config.portal.prefix.clone());
    let watched = config.admin_listen.clone();
    let gateway = Gateway::open(config).await?;
    // Not the file's public URL: its port may have been the kernel's to choose.
    let links = LinkBase::new(&gateway.public_url().to_string(), &prefix);
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
            gateway.accounts().store.clone().close().await;
            return Err(error.into());
        }
    };
    // Ends after the gateway has: until then it says that the gateway is draining.
    let ended = CancellationToken::new();
    let watching = watching.map(|watching| {
        for address in watching.addresses() {
            tracing::info!(admin.address = %address, "listening for metrics and health");
        }
        let sources = AdminSources {
            metrics: gateway.accounts().metrics.clone(),
            ready: Arc::new(gateway.readiness()),
        };
        tokio::spawn(watching.run(sources, ended.clone().cancelled_owned()))
    });
    let stopping = CancellationToken::new();
    let administration = {
        let (accounts, stopping) = (gateway.accounts().accounts.clone(), stopping.clone());
        tokio::spawn(admin.run(accounts, links, async move { stopping.cancelled().await }))
    };
    for address in gateway.addresses() {
        tracing::info!(listen.address = %address, public_url = %gateway.public_url(), "listening");
    }
    ready()?;
    let served = gateway
        .run(async {
            stop.await;
            tracing::info!("stopping: no new connections; what is running is finished");
            stopping.cancel();
        })
        .await;
    stopping.cancel();
    let _ = administration.await;
    ended.cancel();
    if let Some(watching) = watching {
        let _ = watching.await;
    }
    Ok(served?)
}

/// Done at the first SIGTERM or SIGINT; a second one ends the process at once.
fn stop_signal() -> Result<impl Future<Output = ()>, CliError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Without a hand on it SIGHUP would end the process, and a closed terminal the gateway.
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => tracing::warn!("SIGHUP: the configuration is read at the start alone; restart to change it"),
            }
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::warn!("a second signal: ending at once");
            std::process::exit(1);
        });
    })
}
