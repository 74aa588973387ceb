//! `tnet start-server`: the peer that shares a directory and takes downloads. In the background it is this program once
//! more, detached from the terminal; the one that the user started stays until the other one answers.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use tnet_peer::Peer;
use tnet_peer::control::{self, Claim, Client, ConnectError, StopReason};
use tnet_peer::share::WatchOptions;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::peer::{self, OnTaken};
use crate::args::{Bounds, Global, StartServer};
use crate::background::{self, Launch};
use crate::exit::{Exit, Failure};
use crate::logging::LOG_NAME;
use crate::render::Output;
use crate::render::output::{Report, fields};
use crate::render::units::{json_path, shown_path};
use crate::service;
use crate::settings;

/// Of what remembers the files that were read, in the state directory.
const SCANS_NAME: &str = "scans";

/// Nothing is served any more. Whoever started the process can start it anew.
const PEER_GONE: &str = "the engine ended by itself, which is a fault in tnet; the log says where";

pub(crate) async fn run(
    args: StartServer,
    global: &Global,
    output: Output,
    stop: CancellationToken,
) -> Result<Report, Failure> {
    let dir = args.dir.as_deref().map(settings::absolute).transpose()?;
    let state_dir = settings::state_dir(global)?;
    let on_taken = if args.any_port { OnTaken::AnyPort } else { OnTaken::Fail };
    if args.detached {
        background::detach(&state_dir, global.verbose)?;
        return serve(dir, state_dir, on_taken, &args.bounds, global, output, stop).await;
    }
    if args.foreground {
        return serve(dir, state_dir, on_taken, &args.bounds, global, output, stop).await;
    }
    match Client::connect(&state_dir).await {
        Err(ConnectError::NotRunning { .. }) => {}
        Ok(client) => return Err(running_already(client.hello().pid)),
        Err(error) => return Err(error.into()),
    }
    let launch = Launch { dir: dir.clone(), state_dir, on_taken, bounds: args.bounds };
    let server = background::start(launch, global, &stop).await?;
    let hello = server.hello;
    output.outcome(&format!("server started, pid {}, peers on {}", hello.pid, hello.listen));
    output.outcome(&format!("log     {}", shown_path(&server.log)));
    match &dir {
        Some(dir) => output.outcome(&format!("shares  {}", shown_path(dir))),
        None => output.note("it shares nothing yet: give it files with --dir, or downloads with `tnet get`"),
    }
    Ok(fields(json!({
        "pid": hello.pid,
        "listen": hello.listen,
        "coordinator": hello.coordinator,
        "log": json_path(&server.log),
        "dir": dir.as_deref().map(json_path),
    })))
}

fn running_already(pid: u32) -> Failure {
    let message = format!("a server is running already, pid {pid}; stop it first with `tnet kill-server`");
    Failure::new(Exit::Exists, message)
}

/// The server itself, until a signal or a client ends it.
async fn serve(
    dir: Option<PathBuf>,
    state_dir: PathBuf,
    on_taken: OnTaken,
    bounds: &Bounds,
    global: &Global,
    output: Output,
    stop: CancellationToken,
) -> Result<Report, Failure> {
    // Before the peer listens, so that a second server changes nothing for the first.
    let claim = Claim::new(&state_dir)
        .await
        .map_err(|error| Failure::from(error).or_hint("stop it first with `tnet kill-server`"))?;
    let peer = Arc::new(peer::start(global, on_taken, bounds, Some(state_dir.join(SCANS_NAME))).await?);
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
    service::ready(&format!("peers on {listen}"));
    let program = env!("CARGO_PKG_VERSION");
    let ended = control::serve(claim, Arc::clone(&peer), program, stop).await;
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
        StopReason::Asked | StopReason::Token => Ok(fields(json!({ "pid": pid, "listen": listen }))),
        StopReason::PeerGone => Err(Failure::new(Exit::Other, PEER_GONE)),
    }
}

async fn share(peer: &Peer, dir: &std::path::Path) -> Result<(), Failure> {
    peer.share_dir(dir, WatchOptions::default()).await?;
    info!(dir = %shown_path(dir), "sharing");
    Ok(())
}
