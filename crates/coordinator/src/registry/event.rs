//! What a registry is told, and what it has its caller do.

use std::net::SocketAddr;

use tnet_fileinfo::FileHash;
use tnet_proto::{
    CallResult, CoordinatorReply, CoordinatorRequest, Limit, Listed, ReportDigest, ReportEntry,
};

use super::table::{Arrival, Epoch, Scope};

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// A new connection said hello. `epoch` is greater than that of any connection before.
    Hello {
        /// The connection.
        epoch: Epoch,
        /// Who is on it.
        hello: Hello,
    },
    /// A connection asks. It is answered by one [`Output::Answer`] or [`Output::Close`], unless it
    /// was closed before.
    Request {
        /// The connection.
        epoch: Epoch,
        /// What it asks.
        request: Request,
    },
    /// A connection is gone, or is to be given up. Told twice of one, the second is ignored.
    Ended {
        /// The connection.
        epoch: Epoch,
        /// Why.
        ending: Ending,
    },
    /// A connection was refused before it could say anything.
    Refused(Limit),
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// The hello or the request of this connection is dealt with; some have no reply.
    Answer {
        /// The connection.
        epoch: Epoch,
        /// What to send.
        reply: Option<CoordinatorReply>,
    },
    /// To a watcher, unasked. One that does not read is to be reported as [`Ending::Stuck`].
    Push {
        /// The connection.
        epoch: Epoch,
        /// What to send.
        reply: CoordinatorReply,
    },
    /// Unasked, and dropped if the connection has no room for it.
    Notify {
        /// The connection.
        epoch: Epoch,
        /// What to send.
        reply: CoordinatorReply,
    },
    /// End this connection after what was sent to it. It has no more outputs.
    Close {
        /// The connection.
        epoch: Epoch,
    },
}

/// Who said hello, and where it is listed.
#[derive(Debug, Clone, Copy)]
pub struct Hello {
    /// The peer.
    pub arrival: Arrival,
    /// The address that it comes from.
    pub observed: SocketAddr,
    /// What it is told of the address it declared.
    pub listed: Listed,
}

/// Of a peer's messages, those that concern the registry.
#[derive(Debug)]
pub enum Request {
    /// What the peer holds now.
    Report {
        /// Its number, one more than the last.
        seq: u64,
        /// Whether it replaces what was reported before.
        scope: Scope,
        /// A file each.
        entries: Vec<ReportEntry>,
    },
    /// The peer lives, and this is the digest of what it has reported.
    Heartbeat(ReportDigest),
    /// Who holds the file?
    Lookup(FileHash),
    /// Who holds the file, now and from now on?
    Watch(FileHash),
    /// No more of this file.
    Unwatch(FileHash),
    /// How calls to holders went.
    Calls(Vec<CallResult>),
    /// The peer leaves.
    Bye,
}

impl TryFrom<CoordinatorRequest> for Request {
    type Error = CoordinatorRequest;

    /// Gives back a message that is none of the registry's.
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
pub enum Ending {
    /// The peer closed it, or it broke.
    Lost,
    /// The registry closed it.
    Dismissed,
    /// The peer did not read, or did not finish a message.
    Stuck,
    /// The peer said something that no peer may say.
    Violation,
    /// There was no hello.
    NoHello,
    /// Its place was given to a source with less.
    GaveWay,
}
