//! One peer's connection. It has at most one request pending at the registrar and reads no further
//! until that is answered. It gives the memory of large messages back.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::select;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, debug_span, trace};

use tnet_proto::{
    CodecError, CoordinatorReply, CoordinatorRequest, Protocol, Received, encode, exchange_preamble,
};

use crate::registry::networks::AllowAdvertise;
use crate::registry::table::{Epoch, LimitExceeded};
use crate::registry::{Ending, Hello, Request};
use crate::server::message::{Outgoing, RegistrarEvent};
use crate::server::message_stream::{MemoryShare, MessageStream};

/// How long a connection that we close is still read, so that a reset does not discard our last
/// message.
const LINGER: Duration = Duration::from_millis(500);

/// Lower bound of the interval between two inspections of a read buffer, regardless of the
/// configuration.
const MIN_INSPECTION: Duration = Duration::from_millis(10);

/// Least interval between two `Calls` messages that are processed; others are ignored.
const CALLS_PAUSE: Duration = Duration::from_millis(500);

/// An accepted connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The remote address, IPv4 never mapped into IPv6.
    pub(crate) remote: SocketAddr,
    /// Which declared addresses are accepted.
    pub(crate) allow_advertise: Arc<AllowAdvertise>,
    pub(crate) epoch: Epoch,
    pub(crate) registrar: mpsc::Sender<RegistrarEvent>,
    /// Ends connections that have not said hello; the registrar ends the others.
    pub(crate) stop: CancellationToken,
    /// Cancelled when its permit is given to another connection.
    pub(crate) taken: CancellationToken,
    pub(crate) memory: MemoryShare,
    pub(crate) hello_deadline: Duration,
    pub(crate) message_deadline: Duration,
    pub(crate) write_deadline: Duration,
    pub(crate) max_unsent: u32,
}

/// Which side has to send next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WaitsFor {
    Peer,
    Registrar,
}

/// What to do next on the connection.
enum Action {
    Ask(Request),
    Reply(CoordinatorReply),
    Ignore,
    End(Ending),
}

impl Connection {
    /// Serves the peer until one of the two ends the connection.
    pub(crate) async fn serve(self, stream: TcpStream) {
        let span = debug_span!("connection", remote = %self.remote);
        self.serve_in_span(stream).instrument(span).await;
    }

    async fn serve_in_span(self, stream: TcpStream) {
        let hello = timeout(self.hello_deadline, self.introduce(stream));
        let staying = async {
            match self.stop.run_until_cancelled(hello).await {
                Some(Ok(Ok((messages, hello)))) => self.converse(messages, hello).await,
                Some(Ok(Err(ending))) => ending,
                Some(Err(_)) => Ending::NoHello,
                None => Ending::Dismissed,
            }
        };
        // Evicted without a message: writing to thousands of connections would help an attacker.
        let ending = self.taken.run_until_cancelled(staying).await.unwrap_or(Ending::Evicted);
        match ending {
            Ending::Lost | Ending::Dismissed | Ending::Evicted => {
                trace!(?ending, "connection ended")
            }
            _ => debug!(?ending, "connection ended"),
        }
        // If the registrar has ended, the event is not needed.
        let _ = self.registrar.send(RegistrarEvent::Ended { epoch: self.epoch, ending }).await;
    }

    async fn converse(&self, mut messages: MessageStream, hello: Hello) -> Ending {
        let ending = self.run_requests(&mut messages, hello).await;
        if ending == Ending::Dismissed {
            // Best effort: the peer may not read.
            let _ = timeout(LINGER, close(messages.into_stream())).await;
        }
        ending
    }

    async fn run_requests(&self, messages: &mut MessageStream, hello: Hello) -> Ending {
        let queue = (self.max_unsent as usize).saturating_add(1); // and one answer to its request
        let (sender, mut outgoing) = mpsc::channel(queue);
        self.send(RegistrarEvent::Hello { epoch: self.epoch, hello, outgoing: sender }).await;
        let mut waits_for = WaitsFor::Registrar;
        let mut inspections = interval(self.message_deadline.max(MIN_INSPECTION));
        // After a long write the missed inspections must not follow at once.
        inspections.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Whether the last inspection found a part of a message, and none was completed since.
        let mut had_part = false;
        let mut last_calls: Option<Instant> = None;
        loop {
            let action = select! {
                next = outgoing.recv() => match next {
                    None => Action::End(Ending::Dismissed),
                    Some(Outgoing::Push(reply, permit)) => {
                        drop(permit);
                        Action::Reply(reply)
                    }
                    Some(Outgoing::Answer(reply)) => {
                        waits_for = WaitsFor::Peer;
                        // Before the reply is written, which may take long.
                        messages.processed();
                        reply.map_or(Action::Ignore, Action::Reply)
                    }
                },
                received = messages.next(), if waits_for == WaitsFor::Peer => {
                    had_part = false;
                    action_for(received)
                }
                _ = inspections.tick() => {
                    if had_part && messages.has_part() {
                        Action::End(Ending::Stuck)
                    } else {
                        had_part = waits_for == WaitsFor::Peer && messages.has_part();
                        Action::Ignore
                    }
                }
            };
            match action {
                Action::Ask(Request::Calls(_))
                    if last_calls.is_some_and(|at| at.elapsed() < CALLS_PAUSE) => {}
                Action::Ask(request) => {
                    if matches!(&request, Request::Calls(_)) {
                        last_calls = Some(Instant::now());
                    }
                    self.send(RegistrarEvent::Request { epoch: self.epoch, request }).await;
                    waits_for = WaitsFor::Registrar;
                }
                Action::Reply(reply) => {
                    match timeout(self.write_deadline, messages.send(reply)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) => return Ending::Lost,
                        Err(_) => return Ending::Stuck,
                    }
                }
                Action::Ignore => {}
                Action::End(ending) => return ending,
            }
        }
    }

    /// Preamble and hello. The caller sets the deadline.
    async fn introduce(&self, mut stream: TcpStream) -> Result<(MessageStream, Hello), Ending> {
        if let Err(error) = exchange_preamble(&mut stream, Protocol::Coordinator).await {
            debug!(%error, "no preamble");
            return Err(Ending::NoHello);
        }
        let local = stream.local_addr().map_err(|_| Ending::Lost)?;
        let mut messages = MessageStream::new(stream, self.memory.clone());
        match messages.next().await {
            Some(Ok(Received::Message(CoordinatorRequest::Hello {
                peer_id,
                reach,
                report_interval_ms,
                capabilities: _,
            }))) => {
                messages.hello_done();
                let report_interval = Duration::from_millis(u64::from(report_interval_ms));
                let hello = Hello::new(
                    peer_id,
                    reach,
                    report_interval,
                    self.remote,
                    local,
                    &self.allow_advertise,
                );
                Ok((messages, hello))
            }
            None | Some(Err(CodecError::Io(_))) => Err(Ending::NoHello),
            Some(Ok(_) | Err(_)) => Err(Ending::Violation),
        }
    }

    /// If the registrar has ended, the event is dropped, and the end of `outgoing` ends the
    /// connection.
    async fn send(&self, event: RegistrarEvent) {
        let _ = self.registrar.send(event).await;
    }
}

/// Tells a peer that is refused which limit was reached.
pub(crate) async fn refuse(mut stream: TcpStream, hit: LimitExceeded, deadline: Duration) {
    let reply = async {
        exchange_preamble(&mut stream, Protocol::Coordinator).await.ok()?;
        let LimitExceeded { limit, value } = hit;
        let mut bytes = BytesMut::new();
        encode(&CoordinatorReply::LimitReached { limit, value }, &mut bytes);
        stream.write_all(&bytes).await.ok()?;
        timeout(LINGER, close(stream)).await.ok()
    };
    // Best effort.
    let _ = timeout(deadline, reply).await;
}

fn action_for(received: Option<Result<Received<CoordinatorRequest>, CodecError>>) -> Action {
    let message = match received {
        Some(Err(CodecError::Io(error))) if error.kind() == io::ErrorKind::TimedOut => {
            return Action::End(Ending::Stuck);
        }
        None | Some(Err(CodecError::Io(_))) => return Action::End(Ending::Lost),
        Some(Err(error)) => {
            debug!(%error, "not a message");
            return Action::End(Ending::Violation);
        }
        Some(Ok(Received::Unknown { number })) => {
            return Action::Reply(CoordinatorReply::Unsupported { message: number });
        }
        Some(Ok(Received::Message(message))) => message,
    };
    match message {
        CoordinatorRequest::Hello { .. } => Action::End(Ending::Violation),
        message => Request::try_from(message).map_or(Action::Ignore, Action::Ask),
    }
}

/// Shuts down our side, and reads until the peer has closed its own. The caller sets the deadline.
async fn close(mut stream: TcpStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut ignored = [0; 512];
    while let Ok(1..) = stream.read(&mut ignored).await {}
}
