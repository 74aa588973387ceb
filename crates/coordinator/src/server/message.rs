//! Messages between the tasks of a coordinator. Connections and handles send events to the
//! registrar, which owns the registry and answers each request of a connection with exactly one
//! [`Outgoing::Answer`].

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use tnet_fileinfo::FileHash;
use tnet_proto::{CoordinatorReply, Limit};

use crate::registry::stats::Stats;
use crate::registry::table::{Epoch, FileSummary, Handout, SwarmSize};
use crate::registry::{Ending, Hello, Request};

/// Events waiting for the registrar. When full, connections stop reading and TCP slows the peers.
pub(crate) const INBOX_EVENTS: usize = 1024;

/// An event for the registrar.
#[derive(Debug)]
pub(crate) enum RegistrarEvent {
    /// A connection said hello. The registrar closes it by dropping `outgoing`.
    Hello { epoch: Epoch, hello: Hello, outgoing: mpsc::Sender<Outgoing> },
    /// A connection sent a request; it sends no other before the answer.
    Request { epoch: Epoch, request: Request },
    /// A connection has ended.
    Ended { epoch: Epoch, ending: Ending },
    /// A connection was refused before its hello.
    Refused(Limit),
    /// A handle in this process asks.
    StateQuery(StateQuery),
}

impl RegistrarEvent {
    /// Number of report entries in it, a measure of how long it takes.
    pub(crate) fn entries(&self) -> u32 {
        match self {
            RegistrarEvent::Request { request: Request::Report { entries, .. }, .. } => {
                u32::try_from(entries.len()).unwrap_or(u32::MAX)
            }
            _ => 0,
        }
    }
}

/// For a connection to write.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// The answer to its request; `None` if there is nothing to write.
    Answer(Option<CoordinatorReply>),
    /// A push, with its permit for waiting messages.
    Push(CoordinatorReply, Option<OwnedSemaphorePermit>),
}

/// A query from a handle.
#[derive(Debug)]
pub(crate) enum StateQuery {
    Stats(oneshot::Sender<Stats>),
    Swarm(FileHash, oneshot::Sender<Option<SwarmSize>>),
    Holders(FileHash, oneshot::Sender<Handout>),
    Files(usize, oneshot::Sender<Vec<FileSummary>>),
}
