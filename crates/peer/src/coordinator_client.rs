//! The one kept connection to the coordinator. Carries requests and replies and decides nothing:
//! what to report is the reporter's business, which lives in the engine.

use std::sync::Arc;
use std::time::Duration;

use futures_util::SinkExt;
use rand::RngExt;
use tnet_fileinfo::chain;
use tnet_net::{
    Clock, Connector, CoordinatorAddress, Elapsed, OwnReach, Resolver, SMALL_SEGMENT, is_here,
};
use tnet_proto::{CoordinatorReply, CoordinatorRequest, PeerId, Reach, Received, ReportDigest};
use tnet_swarm::{ReconnectPause, Time};
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::api::{Listing, Unfit};
use crate::coordinator_connection::{
    Connection, CoordinatorConnectionError, Welcome, connect, next,
};
use crate::listing::listing;

/// Requests waiting to be sent. The engine keeps the rest until there is room.
const REQUESTS: usize = 64;

/// Least time between two looks at our own addresses.
const LEAST_BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// A request that is large, or whose answer may be, is answered within this. If not, large packets
/// may get lost on the way: it is called again with small ones, and then has the usual time.
const LARGE_WITHIN: Duration = Duration::from_secs(10);

/// A hash, a size and what is there of it, at least.
const ENTRY_BYTES: usize = 41;

/// News from the coordinator.
#[derive(Debug)]
pub(crate) enum CoordinatorEvent {
    /// Connected; how long a silence it bears; what it still has of us; where to put requests as
    /// long as this connection lasts.
    Welcome {
        lease: Duration,
        table: ReportDigest,
        /// Where it sends others.
        listing: Listing,
        requests: mpsc::Sender<CoordinatorRequest>,
    },
    Reply(CoordinatorReply),
    /// Not reachable, or gone; or unfit, and why. Called again after a while. The error in words.
    Down {
        unfit: Option<Unfit>,
        error: String,
        /// Large packets seem to get lost on the way to it. That is news.
        is_narrow: bool,
    },
}

#[derive(Debug)]
pub(crate) struct CoordinatorClient {
    pub(crate) address: CoordinatorAddress,
    pub(crate) resolver: Resolver,
    pub(crate) connector: Connector,
    /// Told to coordinators alone: who comes back is known by it, so other peers must not learn it.
    pub(crate) secret_id: PeerId,
    pub(crate) reach: OwnReach,
    /// Whether the coordinator was told of it: not while its address is gone.
    pub(crate) declares_reach: bool,
    pub(crate) report_interval: Duration,
    pub(crate) events: mpsc::Sender<CoordinatorEvent>,
    pub(crate) clock: Clock,
    /// Ends a pause: a request waits for an answer.
    pub(crate) hurry: Arc<Notify>,
}

impl CoordinatorClient {
    /// Until the receiver of the events is gone.
    pub(crate) async fn run(mut self) {
        let mut pause = ReconnectPause::new();
        while !self.events.is_closed() {
            let (unfit, error, is_narrow) = match self.connect().await {
                Ok((connection, welcome)) => {
                    pause.reset();
                    let there = welcome.ends().there();
                    let mut has_answered = false;
                    let error = self.serve(connection, welcome, &mut has_answered).await;
                    let is_sure = !has_answered
                        || matches!(error, CoordinatorConnectionError::LargeUnanswered(_));
                    let is_narrow = error.is_silence()
                        && self.connector.paths().fell_silent(there.ip(), !is_sure).is_some();
                    tracing::debug!(coordinator = %self.address, %error, "coordinator connection ended");
                    (None, chain(&error), is_narrow)
                }
                Err(error) => {
                    tracing::debug!(coordinator = %self.address, %error, "coordinator not reachable");
                    (error.unfit(), chain(&error), false)
                }
            };
            if self.events.send(CoordinatorEvent::Down { unfit, error, is_narrow }).await.is_err() {
                return;
            }
            let factor = rand::rng().random_range(ReconnectPause::FACTOR_PER_MILLE);
            let (least, rest) = pause.split(factor);
            sleep(least).await;
            tokio::select! {
                () = sleep(rest) => pause.lengthen(),
                () = self.hurry.notified() => {}
            }
        }
    }

    async fn connect(&mut self) -> Result<(Connection, Welcome), CoordinatorConnectionError> {
        // A peer that cannot be reached is named to no other.
        self.declares_reach = self.reach.is_here();
        let hello = CoordinatorRequest::Hello {
            peer_id: self.secret_id,
            reach: if self.declares_reach { self.reach.declared() } else { Reach::Nowhere },
            report_interval_ms: u32::try_from(self.report_interval.as_millis()).unwrap_or(u32::MAX),
            capabilities: 0,
        };
        let called = connect(&mut self.resolver, &self.address, &hello, &self.connector).await;
        called.inspect_err(|error| {
            self.connector.descriptors().note_cause(error);
        })
    }

    /// Until it ends. `has_answered`: whether anything came after the welcome.
    async fn serve(
        &self,
        mut connection: Connection,
        welcome: Welcome,
        has_answered: &mut bool,
    ) -> CoordinatorConnectionError {
        let (requests, mut queue) = mpsc::channel(REQUESTS);
        let Welcome { lease, table, ends, observed, listed } = welcome;
        let listing = listing(self.reach, listed, observed, ends);
        if self
            .events
            .send(CoordinatorEvent::Welcome { lease, table, listing, requests })
            .await
            .is_err()
        {
            return CoordinatorConnectionError::Closed;
        }
        // The engine sends something at least each interval, and each gets an answer. Only an
        // answer begins the time anew: what we send says nothing about the other side.
        let patience = self.report_interval * 3 + self.connector.timeout();
        let mut deadline = Deadline::Answer(self.clock.now() + patience);
        let there = ends.there().ip();
        let may_be_narrow = !there.is_loopback() && !self.connector.paths().is_narrow(there);
        let mut looks = interval(self.report_interval.max(LEAST_BETWEEN_LOOKS));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let step = tokio::select! {
                biased;
                _ = looks.tick() => {
                    if !is_here(ends.here) {
                        return CoordinatorConnectionError::AddressGone(ends.here.ip());
                    }
                    if self.reach.is_here() != self.declares_reach {
                        // Our entries go with it, and are reported anew.
                        let bye = connection.send(CoordinatorRequest::Bye);
                        let _ = self.clock.timeout_at(deadline.time(), bye).await;
                        return CoordinatorConnectionError::ReachChanged;
                    }
                    continue;
                }
                request = queue.recv() => match request {
                    Some(request) => Step::Send(request),
                    None => return CoordinatorConnectionError::Closed,
                },
                received = next(&mut connection) => match received {
                    Err(error) => return error,
                    Ok(received) => Step::Take(received),
                },
                () = self.clock.sleep_until(deadline.time()) => return deadline.missed(patience),
            };
            let request = match step {
                Step::Send(request) => request,
                Step::Take(received) => {
                    deadline = Deadline::Answer(self.clock.now() + patience);
                    *has_answered = true;
                    match received {
                        Received::Message(CoordinatorReply::Bye) => {
                            return CoordinatorConnectionError::Closed;
                        }
                        Received::Message(reply) => {
                            let reply = ends.meant_for_us(reply);
                            if self.events.send(CoordinatorEvent::Reply(reply)).await.is_err() {
                                return CoordinatorConnectionError::Closed;
                            }
                            continue;
                        }
                        Received::Unknown { number } => {
                            CoordinatorRequest::Unsupported { message: number }
                        }
                    }
                }
            };
            if may_be_narrow && takes_large_packets(&request) {
                deadline = deadline.large_at(self.clock.now() + LARGE_WITHIN);
            }
            match self.clock.timeout_at(deadline.time(), connection.send(request)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error.into(),
                Err(Elapsed) => return deadline.missed(patience),
            }
        }
    }
}

/// Whether a request, or its answer, may be larger than what passes everywhere.
fn takes_large_packets(request: &CoordinatorRequest) -> bool {
    match request {
        // Its answer names many addresses.
        CoordinatorRequest::Watch { .. } | CoordinatorRequest::Lookup { .. } => true,
        CoordinatorRequest::Report { entries, .. } => {
            entries.len() * ENTRY_BYTES > SMALL_SEGMENT as usize
        }
        _ => false,
    }
}

/// By when something must come. Only what comes puts it off, not what is sent.
#[derive(Debug, Clone, Copy)]
enum Deadline {
    /// An answer to whatever was sent.
    Answer(Time),
    /// One to something large.
    Large(Time),
}

impl Deadline {
    /// Something large is sent, too.
    fn large_at(self, time: Time) -> Deadline {
        if time < self.time() { Deadline::Large(time) } else { self }
    }

    fn time(self) -> Time {
        match self {
            Deadline::Answer(time) | Deadline::Large(time) => time,
        }
    }

    fn missed(self, patience: Duration) -> CoordinatorConnectionError {
        match self {
            Deadline::Answer(_) => CoordinatorConnectionError::Silent(patience),
            Deadline::Large(_) => CoordinatorConnectionError::LargeUnanswered(LARGE_WITHIN),
        }
    }
}

/// What is to be done on a connection.
enum Step {
    Send(CoordinatorRequest),
    Take(Received<CoordinatorReply>),
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use futures_util::StreamExt;
    use tnet_net::{Descriptors, NarrowPaths};
    use tnet_proto::{Listed, MessageCodec, Protocol, exchange_preamble};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::{Instant, timeout};
    use tokio_util::codec::Framed;

    use super::*;
    use crate::api::ListingProblem;

    fn client(address: SocketAddr, events: mpsc::Sender<CoordinatorEvent>) -> CoordinatorClient {
        CoordinatorClient {
            address: address.into(),
            resolver: Resolver::default(),
            connector: Connector::new(NarrowPaths::default(), Descriptors::new())
                .with_timeout(Duration::from_millis(500)),
            secret_id: PeerId([1; 16]),
            reach: OwnReach::new(SocketAddr::from(([127, 0, 0, 1], 7401)), None),
            declares_reach: false,
            report_interval: Duration::from_millis(200),
            events,
            clock: Clock::new(),
            hurry: Arc::default(),
        }
    }

    type Theirs = Framed<TcpStream, MessageCodec<CoordinatorReply, CoordinatorRequest>>;

    /// A coordinator that says welcome, and what was said to it before.
    async fn welcomes(coordinator: &TcpListener) -> (Theirs, CoordinatorRequest) {
        let (mut stream, _) = coordinator.accept().await.unwrap();
        exchange_preamble(&mut stream, Protocol::Coordinator).await.unwrap();
        let mut theirs = Framed::new(stream, MessageCodec::new());
        let Received::Message(hello) = theirs.next().await.unwrap().unwrap() else {
            panic!("no hello")
        };
        let digest = ReportDigest::default();
        let observed = SocketAddr::from(([127, 0, 0, 1], 7401));
        let (listed, lease_ms, capabilities) = (Listed::Nowhere, 600, 0);
        let welcome =
            CoordinatorReply::Welcome { lease_ms, observed, listed, digest, capabilities };
        theirs.send(welcome).await.unwrap();
        (theirs, hello)
    }

    #[tokio::test]
    async fn an_address_that_this_machine_has_not_is_not_declared() {
        let coordinator = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (events, mut news) = mpsc::channel(64);
        let gone = OwnReach::new(SocketAddr::from(([192, 0, 2, 1], 7401)), None); // reserved for documentation
        let client =
            CoordinatorClient { reach: gone, ..client(coordinator.local_addr().unwrap(), events) };
        let calling = tokio::spawn(client.run());
        let (_theirs, hello) = welcomes(&coordinator).await;
        assert!(
            matches!(hello, CoordinatorRequest::Hello { reach: Reach::Nowhere, .. }),
            "{hello:?}"
        );
        let Some(CoordinatorEvent::Welcome { listing: Listing::Refused(why), .. }) =
            news.recv().await
        else {
            panic!("it is said why")
        };
        let ip = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(why, ListingProblem::AddressGone { ip, port: 7401 });
        calling.abort();
    }

    #[tokio::test]
    async fn no_report_interval_is_too_short_for_a_connection() {
        let coordinator = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (events, mut news) = mpsc::channel(64);
        let client = client(coordinator.local_addr().unwrap(), events);
        let calling =
            tokio::spawn(CoordinatorClient { report_interval: Duration::ZERO, ..client }.run());
        let (_theirs, _) = welcomes(&coordinator).await;
        let Some(CoordinatorEvent::Welcome { requests, .. }) = news.recv().await else {
            panic!("it is welcome")
        };
        let digest = ReportDigest::default();
        sleep(Duration::from_millis(50)).await;
        requests.send(CoordinatorRequest::Heartbeat { digest }).await.expect("it is served");
        assert!(!calling.is_finished(), "it has panicked");
        calling.abort();
    }

    #[tokio::test]
    async fn what_we_send_does_not_prolong_the_wait_for_an_answer() {
        let coordinator = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (events, mut news) = mpsc::channel(64);
        let calling = tokio::spawn(client(coordinator.local_addr().unwrap(), events).run());
        // It says welcome and then nothing, and takes whatever comes.
        let (mut theirs, _) = welcomes(&coordinator).await;
        let digest = ReportDigest::default();
        let Some(CoordinatorEvent::Welcome { requests, .. }) = news.recv().await else {
            panic!("it is welcome")
        };
        // Far more often than its patience of 1.1 s.
        let heartbeats = tokio::spawn(async move {
            while requests.send(CoordinatorRequest::Heartbeat { digest }).await.is_ok() {
                sleep(Duration::from_millis(100)).await;
            }
        });
        let reading = tokio::spawn(async move { while theirs.next().await.is_some() {} });
        let down = timeout(Duration::from_secs(20), news.recv()).await.expect("it notices");
        assert!(
            matches!(down, Some(CoordinatorEvent::Down { error, .. }) if error.contains("no answer"))
        );
        [calling, heartbeats, reading].iter().for_each(|task| task.abort());
    }

    #[tokio::test]
    async fn who_begins_to_wait_does_not_wait_for_the_end_of_a_pause() {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = port.local_addr().unwrap();
        drop(port);
        let (events, mut news) = mpsc::channel(64);
        let hurry = Arc::new(Notify::new());
        let client = CoordinatorClient { hurry: Arc::clone(&hurry), ..client(address, events) };
        let calling = tokio::spawn(client.run());
        // By now it pauses for four seconds, give or take a quarter.
        for _ in 0..5 {
            assert!(matches!(news.recv().await, Some(CoordinatorEvent::Down { .. })));
        }
        let coordinator = TcpListener::bind(address).await.unwrap();
        let began = Instant::now();
        hurry.notify_one();
        coordinator.accept().await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(2), "called after {:?}", began.elapsed());
        calling.abort();
    }
}
