//! Inputs and outputs of the registry.

use std::net::SocketAddr;
use std::time::Duration;

use tnet_fileinfo::FileHash;
use tnet_proto::{
    CallResult, CoordinatorReply, CoordinatorRequest, Limit, Listed, PeerId, Reach, ReportDigest,
    ReportEntry,
};

use super::location::{Endpoints, PeerLocation};
use super::networks::AllowAdvertise;
use super::table::{Epoch, Introduction, Scope};

/// An event for the registry.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input {
    /// A new connection said hello. `epoch` is greater than that of any earlier connection.
    Hello {
        /// The connection.
        epoch: Epoch,
        /// The peer that introduces itself.
        hello: Hello,
    },
    /// A connection sent a request. Exactly one [`Output::Answer`] or [`Output::Close`] follows,
    /// unless the connection was closed before. The caller reads no further request until then.
    Request {
        /// The connection.
        epoch: Epoch,
        /// The request.
        request: Request,
    },
    /// A connection ended, or the caller gives it up. A second one for the same connection is
    /// ignored.
    Ended {
        /// The connection.
        epoch: Epoch,
        /// Why it ended.
        ending: Ending,
    },
    /// A connection was refused before its hello, because of this limit.
    Refused(Limit),
}

/// An action that the caller must perform. Exhaustive: a caller that ignores one breaks the
/// contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// The hello or the request of this connection has been processed; some have no reply.
    Answer {
        /// The connection.
        epoch: Epoch,
        /// What to send.
        reply: Option<CoordinatorReply>,
    },
    /// Send this to a watcher, which has not asked. If the connection cannot take it because the
    /// peer does not read, the caller reports [`Ending::Stuck`].
    Push {
        /// The connection.
        epoch: Epoch,
        /// What to send.
        reply: CoordinatorReply,
    },
    /// Send this without a request; drop it if the connection's queue is full.
    Notify {
        /// The connection.
        epoch: Epoch,
        /// What to send.
        reply: CoordinatorReply,
    },
    /// Close this connection once everything sent to it is written. No output for it follows.
    Close {
        /// The connection.
        epoch: Epoch,
    },
}

/// The hello of a peer, and where the coordinator lists it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Hello {
    /// The peer.
    pub introduction: Introduction,
    /// The address that it connects from.
    pub observed: SocketAddr,
    /// The reply about the address that it declared.
    pub listed: Listed,
}

impl Hello {
    /// The hello of a peer that declares `reach` on a connection from `remote` to `local`. Decides
    /// where the peer is listed; it does so in other networks than its own only as `allowed` says.
    pub fn new(
        peer_id: PeerId,
        reach: Reach,
        report_interval: Duration,
        remote: SocketAddr,
        local: SocketAddr,
        allowed: &AllowAdvertise,
    ) -> Hello {
        let endpoints = Endpoints::new(remote, local);
        let (location, listed) = PeerLocation::of(reach, endpoints, allowed);
        let observed = endpoints.remote;
        let introduction = Introduction { ip: observed.ip(), location, peer_id, report_interval };
        Hello { introduction, observed, listed }
    }
}

/// A message of a peer that the registry answers.
#[derive(Debug)]
#[non_exhaustive]
pub enum Request {
    /// What the peer holds now.
    Report {
        /// Number of the report, one more than that of the last.
        seq: u64,
        /// Whether it replaces earlier reports.
        scope: Scope,
        /// One per file.
        entries: Vec<ReportEntry>,
    },
    /// A sign of life with the digest of everything that the peer has reported.
    Heartbeat(ReportDigest),
    /// Asks for holders of the file.
    Lookup(FileHash),
    /// Asks for holders of the file now, and for pushes of new ones.
    Watch(FileHash),
    /// Ends the watch of the file.
    Unwatch(FileHash),
    /// Results of the peer's connection attempts to holders.
    Calls(Vec<CallResult>),
    /// The peer leaves.
    Bye,
}

impl TryFrom<CoordinatorRequest> for Request {
    type Error = CoordinatorRequest;

    /// Returns a message that does not concern the registry as the error.
    fn try_from(message: CoordinatorRequest) -> Result<Request, CoordinatorRequest> {
        Ok(match message {
            CoordinatorRequest::Report { seq, replace, entries } => {
                let scope = if replace { Scope::Everything } else { Scope::Changes };
                Request::Report { seq, scope, entries }
            }
            CoordinatorRequest::Heartbeat { digest } => Request::Heartbeat(digest),
            CoordinatorRequest::Lookup { hash } => Request::Lookup(FileHash::from_bytes(hash)),
            CoordinatorRequest::Watch { hash } => Request::Watch(FileHash::from_bytes(hash)),
            CoordinatorRequest::Unwatch { hash } => Request::Unwatch(FileHash::from_bytes(hash)),
            CoordinatorRequest::Calls { results } => Request::Calls(results),
            CoordinatorRequest::Bye => Request::Bye,
            other @ (CoordinatorRequest::Hello { .. }
            | CoordinatorRequest::Unsupported { .. }
            | CoordinatorRequest::Extension { .. }) => return Err(other),
        })
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// The peer closed it, or it broke.
    Lost,
    /// The registry closed it.
    Dismissed,
    /// The peer did not read, or did not complete a message.
    Stuck,
    /// The peer broke the protocol.
    Violation,
    /// No hello arrived within the deadline.
    NoHello,
    /// It was evicted in favour of a source with fewer connections.
    Evicted,
}
