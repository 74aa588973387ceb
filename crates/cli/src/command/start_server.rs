//! `tnet start-server`: the peer that shares a directory and takes downloads. In the background it
//! is this program once more, detached from the terminal; the one that the user started stays until
//! the other one answers.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use tnet_control::{self, Claim, ClaimError, Client, ConnectError, StopReason};
use tnet_peer::share::WatchOptions;
use tnet_peer::{LimitsChange, Peer};
use tracing::{error, info};

use super::peer::{self, OnTaken};
use crate::args::{Bounds, Global, StartServer};
use crate::background::{self, Launch};
use crate::exit::{Exit, Failure};
use crate::logging::LOG_NAME;
use crate::reload::{self, Reloader};
use crate::render::Output;
use crate::render::output::{Report, fields};
use crate::render::units::{json_path, shown_path, size};
use crate::service;
use crate::settings;
use crate::signals::Signals;

/// Of what remembers the files that were read, in the state directory.
const SCANS_NAME: &str = "scans";

/// Nothing is served any more. Whoever started the process can start it anew.
const PEER_GONE: &str = "the engine ended by itself, which is a fault in tnet; the log says where";

pub(crate) async fn run(
    args: StartServer,
    global: &Global,
    output: Output,
    signals: Signals,
) -> Result<Report, Failure> {
    let dir = args.dir.as_deref().map(settings::absolute).transpose()?;
    let state_dir = settings::state_dir(global)?;
    let on_taken = if args.any_port { OnTaken::AnyPort } else { OnTaken::Fail };
    let given: Vec<&'static str> = global.given.keys().copied().collect();
    if args.detached {
        background::detach(&state_dir, global.verbose)?;
        let service = Service {
            dir,
            state_dir,
            on_taken,
            bounds: &args.bounds,
            decided: args.decided,
            is_detached: true,
        };
        return service.run(global, output, signals).await;
    }
    if args.foreground {
        let decided = given.into_iter().map(str::to_owned).collect();
        let service =
            Service { dir, state_dir, on_taken, bounds: &args.bounds, decided, is_detached: false };
        return service.run(global, output, signals).await;
    }
    match Client::connect(&state_dir).await {
        Err(ConnectError::NotRunning { .. }) => {}
        Ok(client) => return Err(running_already(client.hello().pid)),
        Err(error) => return Err(error.into()),
    }
    let launch =
        Launch { dir: dir.clone(), state_dir, on_taken, bounds: args.bounds, decided: given };
    let server = background::start(&launch, global, output, &signals.stop).await?;
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
    let message =
        format!("a server is running already, pid {pid}; stop it first with `tnet kill-server`");
    Failure::new(Exit::Exists, message)
}

/// The server itself.
struct Service<'a> {
    dir: Option<PathBuf>,
    state_dir: PathBuf,
    on_taken: OnTaken,
    bounds: &'a Bounds,
    /// Arguments that no file of settings changes.
    decided: Vec<String>,
    is_detached: bool,
}

impl Service<'_> {
    /// Until a signal or a client ends it.
    async fn run(
        self,
        global: &Global,
        output: Output,
        signals: Signals,
    ) -> Result<Report, Failure> {
        let Self { dir, state_dir, on_taken, bounds, decided, is_detached } = self;
        // Before the peer listens, so that a second server changes nothing for the first.
        let claim = Claim::new(&state_dir).await.map_err(|error| match &error {
            ClaimError::AlreadyRunning { .. } => {
                Failure::from(error).or_hint("stop it first with `tnet kill-server`")
            }
            _ => error.into(),
        })?;
        let peer = Arc::new(
            peer::start(global, on_taken, bounds, Some(state_dir.join(SCANS_NAME))).await?,
        );
        let served = match &dir {
            Some(dir) => share(&peer, dir).await,
            None => Ok(()),
        };
        if let Err(failure) = served {
            peer::end(peer).await;
            return Err(failure);
        }
        let (pid, listen) = (std::process::id(), peer.local_addr());
        info!(pid, %listen, "server started");
        output.event(
            "ready",
            fields(json!({
                "pid": pid,
                "listen": listen,
                "socket": json_path(claim.path()),
                "log": json_path(&state_dir.join(LOG_NAME)),
            })),
        );
        if is_detached {
            background::let_go_of_stdout();
        }
        service::ready(&format!("peers on {listen}"));
        let program = env!("CARGO_PKG_VERSION");
        let reloader = Reloader::new(global, reload::OF_A_SERVER, decided);
        let ended = tokio::select! {
            ended = tnet_control::serve(claim, Arc::clone(&peer), program, signals.stop.clone()) => ended,
            never = attend(&peer, &signals, reloader) => match never {},
        };
        match ended.reason() {
            StopReason::Asked => info!("stopping: asked to"),
            StopReason::Token => info!("stopping: signal"),
            StopReason::PeerGone => error!("stopping: {PEER_GONE}"),
        }
        service::stopping();
        peer::end(peer).await;
        info!("server stopped");
        let reason = ended.reason();
        // Only now: whoever waits for the end sees it.
        drop(ended);
        match reason {
            StopReason::Asked | StopReason::Token => {
                Ok(fields(json!({ "pid": pid, "listen": listen })))
            }
            StopReason::PeerGone => Err(Failure::new(Exit::Other, PEER_GONE)),
        }
    }
}

/// Does what signals ask for meanwhile.
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
        Err(failure) => error!("settings stay as they were: {}", failure.message),
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
    shared.map_err(|error| match Failure::from(error) {
        failure if failure.exit == Exit::NotAllowed => {
            failure.or_hint("share a directory that you may read")
        }
        failure => failure,
    })?;
    info!(dir = %shown_path(dir), "sharing");
    Ok(())
}
