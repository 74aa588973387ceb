//! `tnet coordinator`: runs a coordinator until a signal comes.

use std::convert::Infallible;
use std::time::Duration;

use serde_json::json;
use tnet_coordinator::{Config, Coordinator, CoordinatorHandle, Stats};
use tokio::time::{MissedTickBehavior, interval};

use crate::config::reload::Reloader;
use crate::config::{Config as Settings, UsedBy};
use crate::context::Context;
use crate::failure::{Failure, bind_failure};
use crate::memory;
use crate::render::output::{Report, fields};
use crate::render::units::{count, size};
use crate::service;
use crate::signals::Signals;

/// How often the service manager and the log are told the state.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

pub(crate) async fn run(
    settings: &Settings,
    context: &Context,
    signals: Signals,
) -> Result<Report, Failure> {
    let mut config = Config::default();
    if let Some(listen) = settings.listen {
        config.listen = listen;
    }
    config.allow_advertise.clone_from(&settings.allow_advertise);
    let budget = settings.coordinator_memory.or_else(memory::fair_share);
    if let Some(bytes) = budget {
        config = config.within(bytes);
    }
    let coordinator = Coordinator::bind(config).map_err(|error| bind_failure(&error))?.spawn();
    let address = coordinator.local_addr();
    context.output.event("ready", fields(json!({ "listen": address, "memory": budget })));
    context.output.outcome(&format!("coordinator on {address}; Ctrl-C stops it"));
    service::ready(&format!("listening on {address}"));
    tracing::info!(memory = budget.map(size), "memory limit");
    let explicit = settings.merged.typed_arguments().map(str::to_owned);
    let reloader = Reloader::new(settings, UsedBy::Coordinator, explicit);
    tokio::select! {
        () = signals.stop.cancelled() => {}
        () = tell_status(&coordinator) => {}
        never = attend(&coordinator, &signals, reloader) => match never {},
    }
    service::stopping();
    coordinator.shutdown().await;
    // A stop by a signal is a success.
    Ok(fields(json!({ "listen": address })))
}

/// Returns if the coordinator ends by itself.
async fn tell_status(coordinator: &CoordinatorHandle) {
    let mut ticks = interval(STATUS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = String::new();
    loop {
        ticks.tick().await;
        let Ok(stats) = coordinator.stats().await else { return };
        let status = shown(&stats);
        if status != told {
            service::status(&status);
            tracing::debug!("{status}");
            told = status;
        }
    }
}

/// Handles signals while the coordinator runs.
async fn attend(
    coordinator: &CoordinatorHandle,
    signals: &Signals,
    mut reloader: Reloader,
) -> Infallible {
    loop {
        tokio::select! {
            () = signals.reload.notified() => match reloader.read() {
                Ok(changes) => tracing::info!("{}", changes.told()),
                Err(failure) => tracing::error!("settings unchanged: {failure}"),
            },
            () = signals.report.notified() => if let Ok(stats) = coordinator.stats().await {
                tracing::info!("{}", shown(&stats));
            },
        }
    }
}

fn shown(stats: &Stats) -> String {
    let table = &stats.table;
    format!(
        "{}, {}, {} of the table's {} used, {} entries evicted",
        count(u64::from(table.peers), "peer"),
        count(u64::from(table.files), "file"),
        size(table.bytes),
        size(stats.table_budget),
        table.evicted,
    )
}
