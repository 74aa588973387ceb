//! `tnet start-server`: the peer that shares a directory and takes downloads. In the background it
//! is this program again, detached from the terminal; the command that the user typed waits until
//! the server answers.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use tnet_control::{self, Client, ConnectError, FaultKind, StateDirError, StateLock, StopReason};
use tnet_peer::share::WatchOptions;
use tnet_peer::{LimitsChange, Peer};
use tracing::{error, info};

use crate::background::{self, Launch, STOP_FIRST};
use crate::config::reload::Reloader;
use crate::config::typed::StartServer;
use crate::config::{Config, UsedBy};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{Failure, Reason};
use crate::local_peer::{self, PortConflict};
use crate::logging::LOG_NAME;
use crate::render::Output;
use crate::render::output::{Report, fields};
use crate::render::units::{json_path, shown_path, size};
use crate::service;
use crate::signals::Signals;

/// Name of the scan cache in the state directory.
const SCANS_NAME: &str = "scans";

/// Nothing is served any more; the process that started this one can start it again.
const PEER_GONE: &str = "the engine ended unexpectedly, which is a bug in tnet";

pub(crate) async fn run(
    args: StartServer,
    config: &Config,
    context: &Context,
    signals: Signals,
) -> Result<Report, Failure> {
    let output = context.output;
    let dir = config.share_dir()?;
    let state_dir = config.state_dir()?;
    let on_conflict = if args.any_port { PortConflict::UseAnyPort } else { PortConflict::Fail };
    let explicit = config.merged.typed_arguments();
    if args.detached {
        background::detach(&state_dir, config.verbose)?;
        let explicit = args.explicit;
        let service = Service { dir, state_dir, on_conflict, explicit, is_detached: true };
        return service.run(config, output, signals).await;
    }
    if args.foreground {
        let explicit = explicit.map(str::to_owned).collect();
        let service = Service { dir, state_dir, on_conflict, explicit, is_detached: false };
        return service.run(config, output, signals).await;
    }
    match Client::connect(&state_dir).await {
        Err(ConnectError::NotRunning { .. }) => {}
        Ok(client) => return Err(running_already(client.hello().pid)),
        Err(error) => return Err(error.into()),
    }
    let launch = Launch { dir: dir.clone(), state_dir, on_conflict, explicit: explicit.collect() };
    let server = background::start(&launch, config, context).await?;
    let hello = server.hello;
    output.outcome(&format!("server started, pid {}, peers on {}", hello.pid, hello.listen));
    if let Some(log) = &server.log {
        output.outcome(&format!("log     {}", shown_path(log)));
    }
    match &dir {
        Some(dir) => output.outcome(&format!("shares  {}", shown_path(dir))),
        None => output
            .note("it shares nothing yet: give it files with --dir, or downloads with `tnet get`"),
    }
    Ok(fields(json!({
        "pid": hello.pid,
        "listen": hello.listen,
        "coordinator": hello.coordinator,
        "log": server.log.as_deref().map(json_path),
        "dir": dir.as_deref().map(json_path),
    })))
}

fn running_already(pid: u32) -> Failure {
    Failure::new(Exit::Exists, format!("a server is running already, pid {pid}"))
        .or_hint(STOP_FIRST)
}

/// The server itself.
struct Service {
    dir: Option<PathBuf>,
    state_dir: PathBuf,
    on_conflict: PortConflict,
    /// Arguments that a reloaded config file does not override.
    explicit: Vec<String>,
    is_detached: bool,
}

impl Service {
    /// Runs until a signal or a client ends it.
    async fn run(
        self,
        config: &Config,
        output: Output,
        signals: Signals,
    ) -> Result<Report, Failure> {
        let Self { dir, state_dir, on_conflict, explicit, is_detached } = self;
        // Before the peer listens, so that a second server changes nothing for the first.
        let lock = StateLock::new(&state_dir).await.map_err(|error| match &error {
            StateDirError::AlreadyRunning { .. } => {
                Failure::from(error).or_hint(STOP_FIRST).because(Reason::ServerRunning)
            }
            _ => error.into(),
        })?;
        let peer =
            Arc::new(local_peer::start(config, on_conflict, Some(state_dir.join(SCANS_NAME)))?);
        let served = match &dir {
            Some(dir) => share(&peer, dir).await,
            None => Ok(()),
        };
        if let Err(failure) = served {
            local_peer::end(peer).await;
            return Err(failure);
        }
        let (pid, listen) = (std::process::id(), peer.local_addr());
        info!(pid, %listen, "server started");
        output.event(
            "ready",
            fields(json!({
                "pid": pid,
                "listen": listen,
                "socket": json_path(lock.path()),
                "log": json_path(&state_dir.join(LOG_NAME)),
            })),
        );
        if is_detached {
            background::close_stdout();
        }
        service::ready(&format!("peers on {listen}"));
        let program = env!("CARGO_PKG_VERSION");
        let reloader = Reloader::new(config, UsedBy::Server, explicit);
        let ended = tokio::select! {
            ended = tnet_control::serve(lock, Arc::clone(&peer), program, signals.stop.clone()) => ended,
            never = attend(&peer, &signals, reloader) => match never {},
        };
        match ended.reason() {
            StopReason::Asked => info!("stopping: requested"),
            StopReason::Token => info!("stopping: signal"),
            StopReason::PeerGone => error!("stopping: {PEER_GONE}; see the lines above"),
        }
        service::stopping();
        local_peer::end(peer).await;
        info!("server stopped");
        let reason = ended.reason();
        // Only now: dropping it tells the clients that wait for the end.
        drop(ended);
        match reason {
            StopReason::Asked | StopReason::Token => {
                Ok(fields(json!({ "pid": pid, "listen": listen })))
            }
            StopReason::PeerGone => {
                Err(Failure::new(Exit::Other, PEER_GONE).or_hint("see the log"))
            }
        }
    }
}

/// Handles signals while the server runs.
async fn attend(peer: &Peer, signals: &Signals, mut reloader: Reloader) -> Infallible {
    loop {
        tokio::select! {
            () = signals.reload.notified() => reload(peer, &mut reloader).await,
            () = signals.report.notified() => tell_status(peer).await,
        }
    }
}

async fn reload(peer: &Peer, reloader: &mut Reloader) {
    match reloader.read() {
        Ok(changes) => {
            if changes.limits != LimitsChange::default() {
                // A peer that is gone has no limits.
                let _ = peer.limit(changes.limits).await;
            }
            info!("{}", changes.told());
        }
        Err(failure) => error!("settings unchanged: {failure}"),
    }
}

async fn tell_status(peer: &Peer) {
    let Ok(status) = peer.status_of(0).await else { return };
    info!(
        files = status.files_total,
        downloads = status.downloads_total,
        peers = status.peers.len(),
        down = %format_args!("{}/s", size(status.down_per_second)),
        up = %format_args!("{}/s", size(status.up_per_second)),
        received = %size(status.received_bytes),
        sent = %size(status.sent_bytes),
        coordinator = ?status.coordinator_state,
        "status"
    );
}

async fn share(peer: &Peer, dir: &std::path::Path) -> Result<(), Failure> {
    let shared = peer.share_dir(dir, WatchOptions::default()).await;
    shared.map_err(|error| {
        let is_not_allowed = FaultKind::from(&error) == FaultKind::NotAllowed;
        let failure = Failure::from(error);
        if is_not_allowed {
            failure.or_hint("share a directory that you may read")
        } else {
            failure
        }
    })?;
    info!(dir = %shown_path(dir), "sharing");
    Ok(())
}
