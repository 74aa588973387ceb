//! One connection to another peer: a task that reads and a task that writes, generic over the
//! stream.
//!
//! The reader turns bytes into [`SessionEvent`]s for the engine; when the engine does not keep up,
//! it stops reading. The writer does what the engine orders; an order that finds the queue full
//! means that the other side does not read, and ends the session. What waits is counted in bytes,
//! see `backlog.rs`. Both end when either does.

// What comes from outside is never trusted to have a place.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod announced;
mod asked;
mod backlog;
mod budget;
mod buffers;
mod description;
mod farewell;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod handshake;
mod intake;
mod long_messages;
mod outlet;
mod pace;
mod pause;
mod reader;
mod spare_core;
mod store_line;
mod time_limit;
mod uncopied;
mod writer;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tnet_fileinfo::{ChunkIndex, FileInfo};
use tnet_net::Clock;
use tnet_proto::{ByeReason, FileHandle, PeerMessage};
use tnet_swarm::{FileKey, PeerKey, UploadEnd};
use tokio::io::AsyncRead;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub(crate) use backlog::{Backlogs, PROCESS_BYTES};
pub(crate) use buffers::{BufferPool, ChunkBuffer};
pub(crate) use farewell::turn_away;
pub(crate) use handshake::{GreetError, Greeted, Greeting, greet};
pub(crate) use intake::{Intake, StoreResult, Taken, take_in};
pub(crate) use outlet::Outlet;

use crate::source::Source;
use crate::store::FileStore;
use asked::Asked;
use backlog::{Backlog, Load};
use budget::Claimant;
use intake::Destinations;
use long_messages::LongShare;
use time_limit::TimeLimit;

/// Orders waiting for the writer. A peer that lets this many pile up does not read.
const ORDERS: usize = 4096;

/// Sessions that hand parts of chunks to the kernel at the same time. Chunks that wait here let
/// messages pass and leave as soon as the wire is free; in the kernel they would do neither. More
/// than one, because the wake-up between two parts takes time: with 4 and 6 the last of 16
/// receivers takes 1.13 times the bound; on a busy machine with 2, 4 and 8 it took 1.31, 1.19 and
/// 1.28.
pub(crate) const TURNS: usize = 4;

/// A silent connection is asked for a sign of life after this.
const PING_AFTER: Duration = Duration::from_secs(30);

/// A connection that stays silent is given up after this.
const SILENT_AT_MOST: Duration = Duration::from_secs(90);

/// A goodbye must be out within this time, and so long the other side may take to close after it.
const BYE_AT_MOST: Duration = Duration::from_secs(1);

/// The same for a goodbye because the process ends. Who does not close by then may miss the
/// goodbye, and learns of the end all the same: strangers do not keep a process from ending.
const CLOSES_AT_END: Duration = Duration::from_millis(50);

/// What the engine tells a session.
#[derive(Debug)]
pub(crate) enum Order {
    Send(PeerMessage),
    /// A description, from this sum on. Made when it is about to be written.
    Describe {
        info: FileInfo,
        first: u32,
    },
    Upload(Upload),
    StopUpload {
        file: FileKey,
        chunk: ChunkIndex,
    },
    Close(ByeReason),
}

/// A chunk to send.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) file: FileKey,
    pub(crate) chunk: ChunkIndex,
    pub(crate) len: u32,
    pub(crate) source: Source,
    /// Files with the same content, for when the source has gone.
    pub(crate) spares: Vec<Arc<FileStore>>,
}

/// What a session tells the engine.
#[derive(Debug)]
pub(crate) enum SessionEvent {
    Message(PeerMessage),
    /// A message whose memory is shared with others until the engine has taken it.
    LongMessage(Box<(PeerMessage, LongShare)>),
    DataReceived {
        bytes: u32,
    },
    /// Nothing is read for want of memory.
    ReadingPaused,
    /// The end of that.
    ReadingResumed,
    ChunkArrived {
        handle: FileHandle,
        chunk: u32,
        /// Bytes received since the last event.
        last_part: u32,
        body: ChunkBody,
    },
    /// What became of a chunk that the session kept.
    ChunkTaken {
        file: FileKey,
        chunk: ChunkIndex,
        taken: Taken,
    },
    UploadEnded {
        file: FileKey,
        chunk: ChunkIndex,
        end: UploadEnd,
        failed: Option<crate::store::ReadError>,
    },
    /// The other side broke the protocol; nothing more is read, and it is still to be told.
    Violated,
    /// The last event of a session.
    Ended,
}

/// The body of a chunk on its way through the engine and the core.
#[derive(Debug)]
pub(crate) enum ChunkBody {
    /// Bytes to verify and write.
    InMemory(ChunkBuffer),
    /// The session verifies and writes the chunk, and reports the result after its arrival.
    WrittenBySession,
}

/// The engine's end of a session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) remote: SocketAddr,
    orders: mpsc::Sender<Order>,
    backlog: Arc<Backlog>,
    asked: Arc<Asked>,
    destinations: Destinations,
    /// Ends the session now.
    cut: CancellationToken,
    /// Ends the session soon after this is dropped, even if the other side does not read.
    _ending: DropGuard,
}

/// What every session of a process uses.
#[derive(Debug, Clone)]
pub(crate) struct SessionContext {
    pub(crate) events: mpsc::Sender<(PeerKey, SessionEvent)>,
    pub(crate) intake: Intake,
    /// What all sessions have waiting to be sent.
    pub(crate) backlogs: Backlogs,
    /// Who has a permit hands a part of a chunk to the kernel.
    pub(crate) turns: Arc<Semaphore>,
    /// Who has a permit waits for the other side to close after a goodbye. The others close at
    /// once: a crowd that is let go would keep the descriptors.
    pub(crate) farewells: Arc<Semaphore>,
    /// Between two parts; see [`Config::demo_delay`](crate::Config::demo_delay).
    pub(crate) demo_delay: Duration,
    pub(crate) clock: Clock,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

impl Session {
    /// Starts the tasks of a connection whose hellos were exchanged.
    pub(crate) fn start<R, W>(
        context: &SessionContext,
        peer: PeerKey,
        remote: SocketAddr,
        greeted: Greeted<R, W>,
    ) -> Session
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: Outlet,
    {
        let (stop, ending) = (context.stop.clone(), CancellationToken::new());
        let (orders, queue) = mpsc::channel(ORDERS);
        let (cut, backlog) = (CancellationToken::new(), Arc::new(context.backlogs.of_session()));
        let answers = Answers { orders: orders.downgrade(), backlog: Arc::clone(&backlog) };
        let (asked, claimant) = (Arc::new(Asked::default()), Claimant::new(remote.ip()));
        let (intake, asking) = (context.intake.clone(), Arc::clone(&asked));
        let destinations = intake.destinations.clone();
        let Greeted { input, buffered, output, .. } = greeted;
        let time = || TimeLimit::new(context.clock.clone());
        let reader =
            reader::Reader::new(input, buffered, answers, intake, asking, claimant, time());
        let queue = Orders { queue, backlog: Arc::clone(&backlog) };
        let (turns, demo_delay) = (Arc::clone(&context.turns), context.demo_delay);
        let writer = writer::Writer::new(output, queue, turns, demo_delay, time());
        let events = context.events.clone();
        let farewells = Arc::clone(&context.farewells);
        let task = {
            let (ending, cut) = (ending.clone(), cut.clone());
            async move {
                let report = Reports { peer, events };
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = cut.cancelled() => {}
                    () = soon_after(ending) => {}
                    () = converse(remote, reader, writer, &report, &farewells) => {}
                }
                report.send(SessionEvent::Ended).await;
            }
        };
        context.tasks.spawn(task);
        Session { remote, orders, backlog, asked, destinations, cut, _ending: ending.drop_guard() }
    }

    /// False: the other side does not read; the session is to be dropped.
    #[must_use]
    pub(crate) fn order(&self, order: Order) -> bool {
        match &order {
            Order::Send(PeerMessage::Request { file, chunk }) => {
                // Before it leaves: the answer may be faster than we are.
                if let Some(content) = self.destinations.content_of(*file) {
                    self.asked.note(*file, content, *chunk);
                }
            }
            Order::Send(PeerMessage::Cancel { file, chunk }) => self.asked.cancel(*file, *chunk),
            _ => {}
        }
        push(&self.orders, &self.backlog, order)
    }

    /// Bytes that wait to be sent.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.backlog.bytes()
    }

    /// Ends the connection without a word: what waits is given up at once.
    pub(crate) fn cut(self) {
        self.cut.cancel();
    }

    /// Says goodbye, if the other side still reads, and ends the connection.
    pub(crate) fn close(self, reason: ByeReason) {
        let _ = push(&self.orders, &self.backlog, Order::Close(reason));
    }
}

/// False if there is no room for it.
fn push(orders: &mpsc::Sender<Order>, backlog: &Backlog, order: Order) -> bool {
    let load = Load::of(&order);
    if !backlog.add(load) {
        return false;
    }
    let is_taken = orders.try_send(order).is_ok();
    if !is_taken {
        backlog.remove(load);
    }
    is_taken
}

/// Where the reader leaves answers that need no decision. Keeps no writer waiting for orders.
struct Answers {
    orders: mpsc::WeakSender<Order>,
    backlog: Arc<Backlog>,
}

impl Answers {
    /// A full queue means that the other side asks faster than it reads; then it gets no answer.
    fn send(&self, message: PeerMessage) {
        if let Some(orders) = self.orders.upgrade() {
            let _ = push(&orders, &self.backlog, Order::Send(message));
        }
    }
}

/// Where the writer's orders come from.
struct Orders {
    queue: mpsc::Receiver<Order>,
    backlog: Arc<Backlog>,
}

/// Until one side has nothing more to say or to hear.
async fn converse<R, W>(
    remote: SocketAddr,
    mut reader: reader::Reader<R>,
    writer: writer::Writer<W>,
    report: &Reports,
    farewells: &Semaphore,
) where
    R: AsyncRead + Unpin,
    W: Outlet,
{
    let closes_within = {
        let mut writing = pin!(writer.run(report));
        tokio::select! {
            result = reader.run(report) => {
                let Err(error) = result;
                tracing::debug!(%remote, %error, "no more is read");
                if error.is_violation() {
                    report.send(SessionEvent::Violated).await;
                    // The engine orders the goodbye.
                    writing.await.ok()
                } else {
                    None
                }
            }
            result = &mut writing => match result {
                Ok(closes_within) => Some(closes_within),
                Err(error) => {
                    tracing::debug!(%remote, %error, "no more is written");
                    None
                }
            }
        }
    };
    if let Some(within) = closes_within
        && let Ok(_one_of_few) = farewells.try_acquire()
    {
        // Who is still sending to a closed socket gets an error, and may never read what was said
        // last.
        let _ = tokio::time::timeout(within, reader.discard()).await;
    }
}

async fn soon_after(ending: CancellationToken) {
    ending.cancelled().await;
    tokio::time::sleep(BYE_AT_MOST).await;
}

/// Where a session's tasks report to.
#[derive(Debug, Clone)]
struct Reports {
    peer: PeerKey,
    events: mpsc::Sender<(PeerKey, SessionEvent)>,
}

impl Reports {
    /// Waits while the engine is behind. Nobody to report to: the process ends, and so will we.
    async fn send(&self, event: SessionEvent) {
        let _ = self.events.send((self.peer, event)).await;
    }

    /// Gives the event back while the engine is behind.
    fn try_send(&self, event: SessionEvent) -> Result<(), SessionEvent> {
        match self.events.try_send((self.peer, event)) {
            Err(TrySendError::Full((_, event))) => Err(event),
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
        }
    }

    /// As `send`, for a thread that may block.
    fn send_blocking(&self, event: SessionEvent) {
        let _ = self.events.blocking_send((self.peer, event));
    }
}
