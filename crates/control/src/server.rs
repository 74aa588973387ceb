//! Serves the control socket of a running peer. When [`serve`] returns, none of its tasks runs and
//! only the caller holds the peer.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tnet_fileinfo::shown_path;

use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::client_connection::{ClientConnection, FollowerSlots, ServerCommand, serve_client};
use super::downloads::Downloads;
use super::message::Hello;
use super::shares::Shares;
use super::state_lock::StateLock;
use tnet_peer::Peer;
use tnet_peer::descriptors;

/// Clients that follow a download at once, each for as long as the download takes; fewer where the
/// descriptor limit is low. Further ones are told to retry.
const MOST_FOLLOWERS: usize = 1024;

/// The least number of followers, whatever the descriptor limit.
const LEAST_FOLLOWERS: usize = 32;

/// One follower is allowed per so many descriptors of the limit: each needs a connection and a
/// directory.
const DESCRIPTORS_PER_FOLLOWER: usize = 16;

/// Clients beyond those, at most half as many as followers: their requests are answered at once.
/// Further ones wait in the listen backlog.
const OTHERS: usize = 64;

/// Commands waiting for the server's task. When full, their clients wait.
const COMMAND_QUEUE: usize = 64;

/// Pause after a failed accept(2), which is nearly always a temporary lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the server ended. Exhaustive, so that every caller decides about each reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// A client asked for it.
    Asked,
    /// The caller's token was cancelled.
    Token,
    /// The peer ended by itself, which is a bug.
    PeerGone,
}

/// What is left when [`serve`] returns: the lock, and the connections of clients that wait for the
/// end of the peer. Drop it after [`Peer::shutdown`]: that closes them and releases the lock.
pub struct Ended {
    reason: StopReason,
    // Dropped in this order: a client that sees its connection close may take the lock at once.
    _lock: StateLock,
    _waiting: Vec<ClientConnection>,
}

impl Ended {
    /// Why.
    pub fn reason(&self) -> StopReason {
        self.reason
    }
}

/// Answers clients until one of them asks for the end, the token is cancelled or the peer is gone.
///
/// `program` is the version shown to clients. The downloads of clients end with this; what arrived
/// stays on the disk.
pub async fn serve(
    lock: StateLock,
    peer: Arc<Peer>,
    program: &str,
    stop: CancellationToken,
) -> Ended {
    // Of a peer that is gone already nothing is known.
    let coordinator = peer.status_of(0).await.ok().and_then(|status| status.coordinator);
    let hello = Arc::new(Hello {
        pid: std::process::id(),
        program: program.to_owned(),
        listen: peer.local_addr(),
        coordinator,
        advertise: peer.advertise().map(|address| address.to_string()),
    });
    info!(socket = %shown_path(lock.path()), listen = %hello.listen, "control socket open");
    let (sender, mut commands) = mpsc::channel(COMMAND_QUEUE);
    let mut clients = JoinSet::new();
    let mut downloads = Downloads::new(Arc::clone(&peer));
    let mut waiting = Vec::new();
    let most_followers = most_followers();
    let most_clients = most_followers + OTHERS.min(most_followers / 2);
    let slots = FollowerSlots::new(most_followers);
    let shares = Arc::new(Shares::load(lock.state_dir()).await);
    let reason = {
        let (mut stopped, mut gone) = (pin!(stop.cancelled()), pin!(peer.gone()));
        let (mut resuming, mut is_resumed) = (pin!(shares.resume(&peer)), false);
        loop {
            while clients.try_join_next().is_some() {}
            tokio::select! {
                () = &mut stopped => break StopReason::Token,
                () = &mut gone => break StopReason::PeerGone,
                () = &mut resuming, if !is_resumed => is_resumed = true,
                accepted = accept(&lock), if clients.len() < most_clients => match accepted {
                    Ok(stream) => {
                        let (hello, peer) = (Arc::clone(&hello), Arc::clone(&peer));
                        let (commands, slots) = (sender.clone(), slots.clone());
                        let shares = Arc::clone(&shares);
                        clients.spawn(serve_client(stream, hello, peer, commands, slots, shares));
                    }
                    Err(error) => warn!(%error, "cannot accept clients at the control socket"),
                },
                Some(_) = clients.join_next() => {}
                Some(command) = commands.recv() => match command {
                    ServerCommand::Start(order, answer) => {
                        // The client may have disconnected; the download runs all the same.
                        let _ = answer.send(downloads.start(order));
                    }
                    ServerCommand::Forget(hash, answer) => {
                        let _ = answer.send(downloads.forget(hash));
                    }
                    ServerCommand::Shutdown(client) => {
                        waiting.push(client);
                        break StopReason::Asked;
                    }
                },
                () = downloads.ended() => {}
            }
        }
    };
    downloads.stop().await;
    // Followers learn of the end through their download; the other clients have their answer or
    // get none.
    drop(sender);
    finish(&mut clients, &mut commands, &mut waiting).await;
    Ended { reason, _lock: lock, _waiting: waiting }
}

fn most_followers() -> usize {
    let descriptors =
        descriptors::limit().and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    (descriptors / DESCRIPTORS_PER_FOLLOWER).clamp(LEAST_FOLLOWERS, MOST_FOLLOWERS)
}

async fn accept(lock: &StateLock) -> io::Result<UnixStream> {
    match lock.listener.accept().await {
        Ok((stream, _)) => Ok(stream),
        Err(error) => {
            sleep(ACCEPT_PAUSE).await;
            Err(error)
        }
    }
}

/// Lets clients read their last line for a moment, then ends them. Clients that ask for the end
/// meanwhile wait for it too.
async fn finish(
    clients: &mut JoinSet<()>,
    commands: &mut mpsc::Receiver<ServerCommand>,
    waiting: &mut Vec<ClientConnection>,
) {
    /// The last line is small and fits the kernel's buffer; a client that has not read it after
    /// this long never will.
    const LAST_LINE: Duration = Duration::from_millis(500);
    let _ = tokio::time::timeout(LAST_LINE, async {
        loop {
            tokio::select! {
                ended = clients.join_next() => if ended.is_none() { break },
                Some(command) = commands.recv() => match command {
                    ServerCommand::Shutdown(client) => waiting.push(client),
                    // Dropping the answer ends the client.
                    ServerCommand::Start(..) | ServerCommand::Forget(..) => {}
                },
            }
        }
    })
    .await;
    clients.shutdown().await;
}
