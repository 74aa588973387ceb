//! Starts the tasks of a session and ends them.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tnet_net::Clock;
use tnet_proto::{ByeReason, PeerKey, PeerMessage, TURNS};
use tokio::io::AsyncRead;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::backlog::ProcessBacklog;
use super::budget::Claimant;
use super::event::EventSender;
use super::linger::linger;
use super::open_requests::OpenRequests;
use super::order::{OrderSender, order_queue};
use super::reader::Reader;
use super::reusable_timer::ReusableTimer;
use super::writer::Writer;
use super::{BYE_TIMEOUT, Handshaken, Ingest, Order, SendHalf, SessionEvent};

/// See [`SessionContext::with_lingering`].
const LINGERING: usize = 64;

/// The engine's end of a session. Dropping it ends the session after `BYE_TIMEOUT` at most, even
/// if the other side does not read. Exhaustive, but only this crate can make one.
#[derive(Debug)]
pub struct Session {
    /// The address of the other side, as the socket has it.
    pub remote: SocketAddr,
    orders: OrderSender,
    pub(super) open_requests: Arc<OpenRequests>,
    ingest: Ingest,
    /// Ends the session now.
    aborted: CancellationToken,
    /// Ends the session after `BYE_TIMEOUT`.
    _dropped: DropGuard,
}

/// What all sessions of a process share.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SessionContext {
    /// Takes chunks for the running downloads.
    pub ingest: Ingest,
    /// The clock of all deadlines.
    pub clock: Clock,
    /// Tracks the tasks and threads of all sessions.
    pub tasks: TaskTracker,
    /// Ends all sessions now.
    pub stop: CancellationToken,
    events: mpsc::Sender<(PeerKey, SessionEvent)>,
    backlog: ProcessBacklog,
    /// A session needs a permit to write parts of chunks to its socket.
    turns: Arc<Semaphore>,
    /// A session needs a permit to wait for the other side to close after a goodbye. Without one it
    /// closes at once, so that many connections that end together do not hold their descriptors.
    pub(super) linger_permits: Arc<Semaphore>,
    demo_delay: Duration,
}

impl SessionContext {
    /// Sessions report to `events` and share `chunk_memory` bytes for chunks on their way to the
    /// disk. They start their tasks in `tasks` and end when `stop` is cancelled.
    pub fn new(
        events: mpsc::Sender<(PeerKey, SessionEvent)>,
        chunk_memory: u64,
        clock: Clock,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> SessionContext {
        SessionContext {
            ingest: Ingest::new(chunk_memory, clock.clone(), tasks.clone()),
            clock,
            tasks,
            stop,
            events,
            backlog: ProcessBacklog::default(),
            turns: Arc::new(Semaphore::new(TURNS)),
            linger_permits: Arc::new(Semaphore::new(LINGERING)),
            demo_delay: Duration::ZERO,
        }
    }

    /// How many sessions may wait for the other side to close after a goodbye; the others close at
    /// once. 64 if not set.
    #[must_use]
    pub fn with_lingering(self, lingering: usize) -> SessionContext {
        SessionContext { linger_permits: Arc::new(Semaphore::new(lingering)), ..self }
    }

    /// The delay between two parts of chunks on a connection, for demonstrations; zero if not set.
    #[must_use]
    pub fn with_demo_delay(self, demo_delay: Duration) -> SessionContext {
        SessionContext { demo_delay, ..self }
    }

    /// Whether more bytes wait to be sent in the process than [`MAX_PROCESS_BACKLOG`](crate::MAX_PROCESS_BACKLOG).
    pub fn backlog_exceeds_limit(&self) -> bool {
        self.backlog.exceeds_limit()
    }
}

impl Session {
    /// Starts the task of a connection whose handshake is complete.
    pub fn start<R, W>(
        context: &SessionContext,
        peer: PeerKey,
        remote: SocketAddr,
        connection: Handshaken<R, W>,
    ) -> Session
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: SendHalf,
    {
        let Handshaken { input, buffered, output, .. } = connection;
        let (orders, queue) = order_queue(context.backlog.of_session());
        let open_requests = Arc::<OpenRequests>::default();
        let timer = || ReusableTimer::new(context.clock.clone());
        let reader = Reader::new(
            input,
            buffered,
            orders.replies(),
            context.ingest.clone(),
            Arc::clone(&open_requests),
            Claimant::new(remote.ip()),
            timer(),
        );
        let turns = Arc::clone(&context.turns);
        let writer = Writer::new(output, queue, turns, context.demo_delay, timer());
        let (aborted, dropped) = (CancellationToken::new(), CancellationToken::new());
        let task = {
            let events = EventSender { peer, events: context.events.clone() };
            let linger_permits = Arc::clone(&context.linger_permits);
            let (stop, aborted, dropped) = (context.stop.clone(), aborted.clone(), dropped.clone());
            async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = aborted.cancelled() => {}
                    () = soon_after(dropped) => {}
                    () = converse(reader, writer, &events, &linger_permits) => {}
                }
                events.send(SessionEvent::Ended).await;
            }
        };
        // A session logs at the level debug only; at others the span would cost time at each poll.
        context.tasks.spawn(task.instrument(tracing::debug_span!("connection", %remote)));
        Session {
            remote,
            orders,
            open_requests,
            ingest: context.ingest.clone(),
            aborted,
            _dropped: dropped.drop_guard(),
        }
    }

    /// Queues an order. False: the other side does not read, and the session is to be dropped.
    #[must_use]
    pub fn order(&self, order: Order) -> bool {
        match &order {
            Order::Send(PeerMessage::Request { file, chunk }) => {
                // Before it is queued: the chunk may arrive before this function returns.
                if let Some(content) = self.ingest.content_of(*file) {
                    self.open_requests.add(*file, content, *chunk);
                }
            }
            Order::Send(PeerMessage::Cancel { file, chunk }) => {
                self.open_requests.cancel(*file, *chunk);
            }
            _ => {}
        }
        self.orders.try_send(order)
    }

    /// Bytes that wait to be sent.
    pub fn waiting_bytes(&self) -> usize {
        self.orders.backlog().bytes()
    }

    /// Ends the connection without a goodbye; discards what waits to be sent.
    pub fn abort(self) {
        self.aborted.cancel();
    }

    /// Says goodbye if the other side still reads, and ends the connection.
    pub fn close(self, reason: ByeReason) {
        // Without room for the order there is no goodbye: the session is dropped here.
        let _ = self.orders.try_send(Order::Close(reason));
    }
}

/// Reads and writes until either side ends the connection.
async fn converse<R, W>(
    mut reader: Reader<R>,
    writer: Writer<W>,
    events: &EventSender,
    linger_permits: &Semaphore,
) where
    R: AsyncRead + Unpin,
    W: SendHalf,
{
    let linger_for = {
        let mut writing = pin!(writer.run(events));
        tokio::select! {
            result = reader.run(events) => {
                let Err(error) = result;
                tracing::debug!(%error, "no more is read");
                if error.is_violation() {
                    events.send(SessionEvent::Violated).await;
                    // The engine orders the goodbye.
                    writing.await.ok()
                } else {
                    None
                }
            }
            result = &mut writing => match result {
                Ok(linger_for) => Some(linger_for),
                Err(error) => {
                    tracing::debug!(%error, "no more is written");
                    None
                }
            }
        }
    };
    if let Some(linger_for) = linger_for
        && let Ok(_permit) = linger_permits.try_acquire()
    {
        linger(&mut reader.into_input(), linger_for).await;
    }
}

async fn soon_after(dropped: CancellationToken) {
    dropped.cancelled().await;
    tokio::time::sleep(BYE_TIMEOUT).await;
}
