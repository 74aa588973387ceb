//! What the tasks of a coordinator say to each other. Connections and handles send events to the
//! registrar, which owns the registry; it answers each request of a connection with exactly one
//! [`Outgoing::Answer`].

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use tnet_fileinfo::FileHash;
use tnet_proto::{CoordinatorReply, Limit};

use crate::registry::stats::Stats;
use crate::registry::table::{Epoch, FileSummary, Handout, SwarmSize};
use crate::registry::{Ending, Hello, Request};

/// Events waiting for the registrar. When full, connections stop reading and TCP slows the peers.
pub(crate) const INBOX_EVENTS: usize = 1024;

/// Something for the registrar.
#[derive(Debug)]
pub(crate) enum Event {
    /// A connection said hello. The registrar closes it by dropping `outgoing`.
    Hello { epoch: Epoch, hello: Hello, outgoing: mpsc::Sender<Outgoing> },
    /// A connection asks; it will not ask again before it is answered.
    Request { epoch: Epoch, request: Request },
    /// A connection has ended.
    Ended { epoch: Epoch, ending: Ending },
    /// A connection was refused before it could say anything.
    Refused(Limit),
    /// Somebody in this process asks.
    Question(Question),
}

impl Event {
    /// Entries of the report in it, which say how long it will take.
    pub(crate) fn entries(&self) -> u32 {
        match self {
            Event::Request { request: Request::Report { entries, .. }, .. } => {
                u32::try_from(entries.len()).unwrap_or(u32::MAX)
            }
            _ => 0,
        }
    }
}

/// For a connection to write.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// To its request; some have no answer to write.
    Answer(Option<CoordinatorReply>),
    /// Unasked, with its part of the memory for messages that wait.
    Push(CoordinatorReply, Option<OwnedSemaphorePermit>),
}

/// A question from a handle.
#[derive(Debug)]
pub(crate) enum Question {
    Stats(oneshot::Sender<Stats>),
    Swarm(FileHash, oneshot::Sender<Option<SwarmSize>>),
    Holders(FileHash, oneshot::Sender<Handout>),
    Files(usize, oneshot::Sender<Vec<FileSummary>>),
}
