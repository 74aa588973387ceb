//! One peer's connection. It has at most one request with the registrar, reads nothing more until
//! that is answered, and keeps no more memory for a peer that once sent a lot than for any other.

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
use tracing::{debug, trace};

use tnet_proto::{
    CodecError, CoordinatorReply, CoordinatorRequest, Protocol, Received, encode, exchange_preamble,
};

use crate::registry::networks::AllowAdvertise;
use crate::registry::place::{Ends, Place};
use crate::registry::table::{Arrival, Epoch, LimitExceeded};
use crate::registry::{Ending, Hello, Request};
use crate::server::line::{Line, Room};
use crate::server::message::{Event, Outgoing};

/// How long a connection that we end is read on, so that our last words are not lost to a reset.
const LINGER: Duration = Duration::from_millis(500);

/// The least time between two looks at a read buffer, whatever the configuration says.
const MIN_INSPECTION: Duration = Duration::from_millis(10);

/// Pause between two messages about calls that are heard: who says more is not heard more.
const CALLS_PAUSE: Duration = Duration::from_millis(500);

/// An accepted connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Where it comes from, IPv4 never mapped into IPv6.
    pub(crate) remote: SocketAddr,
    /// Which declared addresses are taken.
    pub(crate) allow_advertise: Arc<AllowAdvertise>,
    pub(crate) epoch: Epoch,
    pub(crate) registrar: mpsc::Sender<Event>,
    /// Ends connections that have not said hello; the registrar ends the others.
    pub(crate) stop: CancellationToken,
    /// Its permit is given to another.
    pub(crate) taken: CancellationToken,
    pub(crate) room: Room,
    pub(crate) hello_deadline: Duration,
    pub(crate) message_deadline: Duration,
    pub(crate) write_deadline: Duration,
    pub(crate) max_unsent: u32,
}

/// Whose move it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Peer,
    Registrar,
}

/// What the last inspection found in the read buffer, unless a message was complete since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arriving {
    Nothing,
    Part,
}

/// What a message from the peer asks for.
enum Step {
    Ask(Request),
    Reply(CoordinatorReply),
    Ignore,
    End(Ending),
}

impl Connection {
    /// Talks with the peer until one of the two ends it.
    pub(crate) async fn serve(self, stream: TcpStream) {
        let ip = self.remote.ip();
        let hello = timeout(self.hello_deadline, self.introduce(stream));
        let staying = async {
            match self.stop.run_until_cancelled(hello).await {
                Some(Ok(Ok((line, hello)))) => self.talk(line, hello).await,
                Some(Ok(Err(ending))) => ending,
                Some(Err(_)) => Ending::NoHello,
                None => Ending::Dismissed,
            }
        };
        // Not told: whoever opens connections by the thousand would have us talk on all of them.
        let ending = self.taken.run_until_cancelled(staying).await.unwrap_or(Ending::GaveWay);
        match ending {
            Ending::Lost | Ending::Dismissed | Ending::GaveWay => {
                trace!(%ip, ?ending, "connection ended")
            }
            _ => debug!(%ip, ?ending, "connection ended"),
        }
        // Without a registrar there is nobody left to tell.
        let _ = self.registrar.send(Event::Ended { epoch: self.epoch, ending }).await;
    }

    async fn talk(&self, mut line: Line, hello: Hello) -> Ending {
        let ending = self.take_turns(&mut line, hello).await;
        if ending == Ending::Dismissed {
            // A peer that does not read our last words cannot be made to.
            let _ = timeout(LINGER, part(line.into_stream())).await;
        }
        ending
    }

    async fn take_turns(&self, line: &mut Line, hello: Hello) -> Ending {
        let queue = (self.max_unsent as usize).saturating_add(1); // and one answer
        let (sender, mut outgoing) = mpsc::channel(queue);
        self.send(Event::Hello { epoch: self.epoch, hello, outgoing: sender }).await;
        let mut turn = Turn::Registrar;
        let mut inspections = interval(self.message_deadline.max(MIN_INSPECTION));
        // After a long write the missed looks must not follow one another at once.
        inspections.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut arriving = Arriving::Nothing;
        let mut heard_of_calls: Option<Instant> = None;
        loop {
            let step = select! {
                next = outgoing.recv() => match next {
                    None => Step::End(Ending::Dismissed),
                    Some(Outgoing::Push(reply, room)) => {
                        drop(room);
                        Step::Reply(reply)
                    }
                    Some(Outgoing::Answer(reply)) => {
                        turn = Turn::Peer;
                        // Before the reply, which a peer may be slow to read.
                        line.dealt_with();
                        reply.map_or(Step::Ignore, Step::Reply)
                    }
                },
                received = line.next(), if turn == Turn::Peer => {
                    arriving = Arriving::Nothing;
                    understand(received)
                }
                _ = inspections.tick() => match arriving {
                    Arriving::Part if line.has_part() => Step::End(Ending::Stuck),
                    _ => {
                        let is_peers_move = turn == Turn::Peer && line.has_part();
                        arriving = if is_peers_move { Arriving::Part } else { Arriving::Nothing };
                        Step::Ignore
                    }
                },
            };
            match step {
                Step::Ask(Request::Calls(_))
                    if heard_of_calls.is_some_and(|at| at.elapsed() < CALLS_PAUSE) => {}
                Step::Ask(request) => {
                    if matches!(&request, Request::Calls(_)) {
                        heard_of_calls = Some(Instant::now());
                    }
                    self.send(Event::Request { epoch: self.epoch, request }).await;
                    turn = Turn::Registrar;
                }
                Step::Reply(reply) => match timeout(self.write_deadline, line.send(reply)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Ending::Lost,
                    Err(_) => return Ending::Stuck,
                },
                Step::Ignore => {}
                Step::End(ending) => return ending,
            }
        }
    }

    /// Preamble and hello. The caller sets the deadline.
    async fn introduce(&self, mut stream: TcpStream) -> Result<(Line, Hello), Ending> {
        if let Err(error) = exchange_preamble(&mut stream, Protocol::Coordinator).await {
            debug!(ip = %self.remote.ip(), %error, "no preamble");
            return Err(Ending::NoHello);
        }
        let local = stream.local_addr().map_err(|_| Ending::Lost)?;
        let ends = Ends::new(self.remote, local);
        let mut line = Line::new(stream, self.room.clone());
        match line.next().await {
            Some(Ok(Received::Message(CoordinatorRequest::Hello {
                peer_id,
                reach,
                report_interval_ms,
                capabilities: _,
            }))) => {
                line.hello_done();
                let report_interval = Duration::from_millis(u64::from(report_interval_ms));
                let (place, listed) = Place::of(reach, ends, &self.allow_advertise);
                let arrival = Arrival { ip: ends.remote.ip(), place, peer_id, report_interval };
                Ok((line, Hello { arrival, observed: ends.remote, listed }))
            }
            None | Some(Err(CodecError::Io(_))) => Err(Ending::NoHello),
            Some(Ok(_) | Err(_)) => Err(Ending::Violation),
        }
    }

    /// When the registrar has ended, the event is dropped; the end of `outgoing` then ends the
    /// connection.
    async fn send(&self, event: Event) {
        let _ = self.registrar.send(event).await;
    }
}

/// Tells a peer for which there is no room why it is turned away.
pub(crate) async fn refuse(mut stream: TcpStream, hit: LimitExceeded, deadline: Duration) {
    let last_words = async {
        exchange_preamble(&mut stream, Protocol::Coordinator).await.ok()?;
        let LimitExceeded { limit, value } = hit;
        let mut words = BytesMut::new();
        encode(&CoordinatorReply::LimitReached { limit, value }, &mut words);
        stream.write_all(&words).await.ok()?;
        timeout(LINGER, part(stream)).await.ok()
    };
    // Nobody is owed more than the attempt.
    let _ = timeout(deadline, last_words).await;
}

fn understand(received: Option<Result<Received<CoordinatorRequest>, CodecError>>) -> Step {
    let message = match received {
        Some(Err(CodecError::Io(error))) if error.kind() == io::ErrorKind::TimedOut => {
            return Step::End(Ending::Stuck);
        }
        None | Some(Err(CodecError::Io(_))) => return Step::End(Ending::Lost),
        Some(Err(error)) => {
            debug!(%error, "not a message");
            return Step::End(Ending::Violation);
        }
        Some(Ok(Received::Unknown { number })) => {
            return Step::Reply(CoordinatorReply::Unsupported { message: number });
        }
        Some(Ok(Received::Message(message))) => message,
    };
    match message {
        CoordinatorRequest::Hello { .. } => Step::End(Ending::Violation),
        message => Request::try_from(message).map_or(Step::Ignore, Step::Ask),
    }
}

/// Ends our side, and reads until the peer has ended its own. The caller sets the deadline.
async fn part(mut stream: TcpStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut ignored = [0; 512];
    while let Ok(1..) = stream.read(&mut ignored).await {}
}
