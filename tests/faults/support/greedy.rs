//! A peer that takes and never gives: it asks for every chunk at once, again and again, and holds
//! nothing itself.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tnet_proto::PeerMessage;
use tnet_testkit::{Content, RawClient, SOON};
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;

/// How often it asks again for whatever it lacks.
const AGAIN: Duration = Duration::from_millis(250);

/// Does it take what it is offered instead of what it asked for?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taste {
    /// Asks for what is suggested too.
    Anything,
    /// Goes on asking for the first chunks of the file.
    TheFirst,
}

/// Takes what it can get from the peer at `to` until it has everything, the peer hangs up, or the
/// token says so. Returns which chunks came when.
pub(crate) async fn takes(
    to: SocketAddr,
    content: &Content,
    taste: Taste,
    stop: CancellationToken,
) -> Vec<(Instant, u32)> {
    let mut came = Vec::new();
    let mut lacked: BTreeSet<u32> = (0..content.chunk_count()).collect();
    let Ok(stranger) = RawClient::call(to).await else { return came };
    let mut caller = stranger.handshake(SOON).await;
    caller.opens(content, SOON).await;
    let mut again = interval(AGAIN);
    while !lacked.is_empty() {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = again.tick() => for chunk in &lacked {
                caller.asks_for(*chunk).await;
            },
            message = caller.hear(Duration::MAX) => match message {
                None => break,
                Some(PeerMessage::Data { chunk, offset: 0, .. }) => {
                    if lacked.remove(&chunk) {
                        came.push((Instant::now(), chunk));
                    }
                }
                Some(PeerMessage::Suggest { chunk, .. }) if taste == Taste::Anything => caller.asks_for(chunk).await,
                Some(PeerMessage::Ready { chunk, .. }) => caller.asks_for(chunk).await,
                Some(_) => {}
            }
        }
    }
    came
}
