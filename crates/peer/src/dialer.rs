//! Turns sockets into introduced connections: calls peers, greets those who call.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tnet_net::{Connection, Connector, Introduced, OwnReach, Stranger};
use tnet_proto::{Hello, PeerId};
use tnet_session::{HandshakeError, Handshaken, SessionContext, handshake};
use tnet_swarm::{Direction, PeerKey};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::api::CallFailure;

/// What came of a call, or who called.
#[derive(Debug)]
pub(crate) enum Dialed {
    Connected(Box<Connected>),
    /// None: it was our fault, which says nothing of the address.
    Failed {
        address: SocketAddr,
        failure: Option<CallFailure>,
    },
}

#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) peer: PeerKey,
    pub(crate) remote: SocketAddr,
    /// Where the other side accepts peers.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) direction: Direction,
    /// How long the call took, if we called.
    pub(crate) round_trip: Option<Duration>,
    pub(crate) greeted: Handshaken<OwnedReadHalf, OwnedWriteHalf>,
    /// Of one who called: a descriptor, until it is decided whether he stays.
    pub(crate) introduced: Option<Introduced>,
}

#[derive(Debug, Clone)]
pub(crate) struct Dialer {
    pub(crate) peer_id: PeerId,
    pub(crate) reach: OwnReach,
    pub(crate) connector: Connector,
    pub(crate) results: mpsc::Sender<Dialed>,
    pub(crate) next: Arc<AtomicU64>,
    pub(crate) context: SessionContext,
    /// Ends connections without a hello: no goodbye is due on them.
    pub(crate) stop: CancellationToken,
}

impl Dialer {
    /// Calls a peer in a task of its own.
    pub(crate) fn call(&self, address: SocketAddr) {
        let dialer = self.clone();
        let stop = self.stop.clone();
        let task = async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = dialer.call_now(address) => {}
            }
        };
        self.context.tasks.spawn(task.instrument(connection_span(address)));
    }

    async fn call_now(&self, address: SocketAddr) {
        let result = match self.connector.connect(address).await {
            Ok(Connection { stream, took, .. }) => {
                let greeted = self.introduce(stream).await;
                greeted
                    .map(|greeted| (greeted, took))
                    .map_err(|error| Some(CallFailure::from(&error)))
            }
            Err(error) => {
                tracing::debug!(%error, "peer not reachable");
                Err((!self.connector.descriptors().note(&error)).then(|| CallFailure::from(&error)))
            }
        };
        let dialed = match result {
            Ok((greeted, round_trip)) => {
                let direction = Direction::Outbound;
                let (peer, address) = (self.next_key(), Some(address));
                let remote = address.expect("just set");
                Dialed::Connected(Box::new(Connected {
                    peer,
                    remote,
                    address,
                    direction,
                    round_trip: Some(round_trip),
                    greeted,
                    introduced: None,
                }))
            }
            Err(failure) => Dialed::Failed { address, failure },
        };
        // The receiver is gone: the process ends.
        let _ = self.results.send(dialed).await;
    }

    /// Greets a peer that called.
    pub(crate) async fn accept(self, stream: TcpStream, remote: SocketAddr, stranger: Stranger) {
        let stop = self.stop.clone();
        let greeted = tokio::select! {
            () = stop.cancelled() => return,
            greeted = self.introduce(stream) => greeted,
            () = stranger.has_to_leave() => {
                tracing::debug!("no handshake in time; closed for another connection");
                return;
            }
        };
        let Ok(greeted) = greeted else { return };
        let introduced = Some(stranger.introduced());
        let address = listening_at(remote, &greeted.hello);
        let direction = Direction::Inbound;
        let peer = self.next_key();
        let connected =
            Connected { peer, remote, address, direction, round_trip: None, greeted, introduced };
        let _ = self.results.send(Dialed::Connected(Box::new(connected))).await;
    }

    async fn introduce(
        &self,
        stream: TcpStream,
    ) -> Result<Handshaken<OwnedReadHalf, OwnedWriteHalf>, HandshakeError> {
        let here = stream.local_addr()?;
        let listen_port = self.reach.port_seen_from(here.ip());
        let hello = Hello { peer_id: self.peer_id, listen_port, capabilities: 0 };
        let (input, output) = stream.into_split();
        let greeted = handshake(input, output, &hello, &self.context.clock).await;
        greeted.inspect_err(|error| tracing::debug!(%error, "handshake failed"))
    }

    fn next_key(&self) -> PeerKey {
        PeerKey(self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// As the session's, which follows. A root: the call may be made while a download is handled.
pub(crate) fn connection_span(remote: SocketAddr) -> Span {
    tracing::debug_span!(parent: None, "connection", %remote)
}

/// The observed IP address with the declared port: a peer can only speak for itself.
fn listening_at(remote: SocketAddr, hello: &Hello) -> Option<SocketAddr> {
    let mut address = remote;
    address.set_port(hello.listen_port);
    (hello.listen_port != 0).then_some(address)
}
