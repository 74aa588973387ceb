//! Serving the control socket of a running peer. Everything it starts ends with it: when [`serve`]
//! returns, no task of it runs and nobody but the caller holds the peer.

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

use super::claim::Claim;
use super::downloads::Downloads;
use super::message::Hello;
use super::session::{Command, Connection, Places, serve_client};
use tnet_peer::Peer;
use tnet_peer::descriptors;

/// Clients that follow a download at once, which takes as long as the download; fewer where a
/// process may have few descriptors. One more is told to come again.
const MOST_PLACES: usize = 1024;

/// So many there are in any case.
const LEAST_PLACES: usize = 32;

/// Of the descriptors that the process may have, one in so many is a place: each has a connection
/// and a directory.
const DESCRIPTORS_FOR_A_PLACE: usize = 16;

/// Clients beyond those, at most half as many as places: their requests are answered at once, and
/// need none. Beyond it they wait in the kernel.
const OTHERS: usize = 64;

/// Commands waiting for the server's task. When full, their clients wait.
const COMMAND_QUEUE: usize = 64;

/// Pause after a failure to accept, which is nearly always a lack of file descriptors and passes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// A client asked for it.
    Asked,
    /// The caller's token.
    Token,
    /// The peer ended by itself, which it never should.
    PeerGone,
}

/// What is left when serving ends: the claim, and the connections of those who wait for the end of
/// the peer. Drop it after [`Peer::shutdown`]: then the state directory is free and they know.
pub struct Ended {
    reason: StopReason,
    // Dropped in this order: who sees the connection end may claim at once.
    _claim: Claim,
    _waiting: Vec<Connection>,
}

impl Ended {
    /// Why.
    pub fn reason(&self) -> StopReason {
        self.reason
    }
}

/// Answers clients until one of them asks for the end, the token is cancelled or the peer is gone.
///
/// `program` is the version shown to clients. Downloads handed over by clients end with this; what
/// they have stays on disk.
pub async fn serve(claim: Claim, peer: Arc<Peer>, program: &str, stop: CancellationToken) -> Ended {
    // Of a peer that is gone already nothing is known.
    let coordinator = peer.status_of(0).await.ok().and_then(|status| status.coordinator);
    let hello = Arc::new(Hello {
        pid: std::process::id(),
        program: program.to_owned(),
        listen: peer.local_addr(),
        coordinator,
        advertise: peer.advertise().map(|address| address.to_string()),
    });
    info!(socket = %shown_path(claim.path()), listen = %hello.listen, "control socket open");
    let (sender, mut commands) = mpsc::channel(COMMAND_QUEUE);
    let mut clients = JoinSet::new();
    let mut downloads = Downloads::new(Arc::clone(&peer));
    let mut waiting = Vec::new();
    let most_places = most_places();
    let most_clients = most_places + OTHERS.min(most_places / 2);
    let places = Places::new(most_places);
    let reason = {
        let (mut stopped, mut gone) = (pin!(stop.cancelled()), pin!(peer.gone()));
        loop {
            while clients.try_join_next().is_some() {}
            tokio::select! {
                () = &mut stopped => break StopReason::Token,
                () = &mut gone => break StopReason::PeerGone,
                accepted = accept(&claim), if clients.len() < most_clients => match accepted {
                    Ok(stream) => {
                        let (hello, peer) = (Arc::clone(&hello), Arc::clone(&peer));
                        clients.spawn(serve_client(stream, hello, peer, sender.clone(), places.clone()));
                    }
                    Err(error) => warn!(%error, "cannot accept clients at the control socket"),
                },
                Some(_) = clients.join_next() => {}
                Some(command) = commands.recv() => match command {
                    Command::Start(order, answer) => {
                        // Whoever asked may be gone; the download runs all the same.
                        let _ = answer.send(downloads.start(order));
                    }
                    Command::Forget(hash, answer) => {
                        let _ = answer.send(downloads.forget(hash));
                    }
                    Command::Shutdown(client) => {
                        waiting.push(client);
                        break StopReason::Asked;
                    }
                },
                () = downloads.ended() => {}
            }
        }
    };
    downloads.stop().await;
    // Followers hear of the end through their download's; the others have had their answer or get
    // none.
    drop(sender);
    finish(&mut clients, &mut commands, &mut waiting).await;
    Ended { reason, _claim: claim, _waiting: waiting }
}

fn most_places() -> usize {
    let descriptors =
        descriptors::limit().and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    (descriptors / DESCRIPTORS_FOR_A_PLACE).clamp(LEAST_PLACES, MOST_PLACES)
}

async fn accept(claim: &Claim) -> io::Result<UnixStream> {
    match claim.listener.accept().await {
        Ok((stream, _)) => Ok(stream),
        Err(error) => {
            sleep(ACCEPT_PAUSE).await;
            Err(error)
        }
    }
}

/// Lets clients read their last line, for a moment, and ends them. Others that asked for the end
/// meanwhile wait for it too.
async fn finish(
    clients: &mut JoinSet<()>,
    commands: &mut mpsc::Receiver<Command>,
    waiting: &mut Vec<Connection>,
) {
    /// The last line is small and fits the kernel's buffer; who has not got it after this long does
    /// not read.
    const LAST_LINE: Duration = Duration::from_millis(500);
    let _ = tokio::time::timeout(LAST_LINE, async {
        loop {
            tokio::select! {
                ended = clients.join_next() => if ended.is_none() { break },
                Some(command) = commands.recv() => match command {
                    Command::Shutdown(client) => waiting.push(client),
                    // Dropping the answer ends the client.
                    Command::Start(..) | Command::Forget(..) => {}
                },
            }
        }
    })
    .await;
    clients.shutdown().await;
}
