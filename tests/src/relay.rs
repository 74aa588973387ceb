//! A stretch of cable between two ends, with a switch on it: it passes, halts, breaks, slows down.
//! Neither end can tell it from the network.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

/// Bytes carried at a time: small, so that a pause takes hold in the middle of a frame.
const PIECE: usize = 4 * 1024;

/// Pieces on the cable in one direction. When full, the sender's own TCP slows it down.
const ON_THE_CABLE: usize = 64;

/// How far a limited cable may be behind its rate and still catch up.
const MADE_UP_FOR: Duration = Duration::from_millis(10);

/// For calling the far end, which is on this machine.
const CALL: Duration = Duration::from_secs(5);

/// A TCP relay on a port of its own. Ends with all its connections when it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    terms: watch::Sender<Terms>,
    carried: Arc<AtomicU64>,
    _accepting: AbortOnDropHandle<()>,
}

#[derive(Debug, Clone, Copy)]
struct Terms {
    target: SocketAddr,
    gate: Gate,
    /// Connections made under an older number are cut.
    generation: u64,
    delay: Duration,
    rate: Option<NonZeroU32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Open,
    Halted,
    Broken,
}

impl Relay {
    /// A relay to `target`, which passes everything. Listens on the loopback address of the
    /// target's family.
    ///
    /// # Errors
    /// No port could be had.
    pub async fn to(target: SocketAddr) -> io::Result<Relay> {
        let here: IpAddr =
            if target.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        let listener = TcpListener::bind(SocketAddr::new(here, 0)).await?;
        let address = listener.local_addr()?;
        let delay = Duration::ZERO;
        let (terms, watched) =
            watch::channel(Terms { target, gate: Gate::Open, generation: 0, delay, rate: None });
        let carried = Arc::new(AtomicU64::new(0));
        let accepting = tokio::spawn(accept(listener, watched, Arc::clone(&carried)));
        Ok(Relay { address, terms, carried, _accepting: AbortOnDropHandle::new(accepting) })
    }

    /// Where to call instead of the target.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Passes again what was halted, and new connections after a break.
    pub fn pass(&self) {
        self.terms.send_modify(|terms| terms.gate = Gate::Open);
    }

    /// Forwards nothing from now on and closes nothing: both ends see silence. New calls are
    /// answered, and silent too.
    pub fn pause(&self) {
        self.terms.send_modify(|terms| terms.gate = Gate::Halted);
    }

    /// Resets every connection, and from now on every new one.
    pub fn cut(&self) {
        self.terms.send_modify(|terms| {
            terms.gate = Gate::Broken;
            terms.generation += 1;
        });
    }

    /// Resets every connection there is; new ones pass.
    pub fn reset_connections(&self) {
        self.terms.send_modify(|terms| terms.generation += 1);
    }

    /// New connections go there.
    pub fn retarget(&self, target: SocketAddr) {
        self.terms.send_modify(|terms| terms.target = target);
    }

    /// Everything arrives this much later, in either direction.
    pub fn delay(&self, delay: Duration) {
        self.terms.send_modify(|terms| terms.delay = delay);
    }

    /// At most this many bytes a second in each direction of each connection.
    pub fn limit(&self, bytes_per_second: NonZeroU32) {
        self.terms.send_modify(|terms| terms.rate = Some(bytes_per_second));
    }

    /// Bytes delivered so far, in both directions.
    pub fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, terms: watch::Receiver<Terms>, carried: Arc<AtomicU64>) {
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((near, _)) => {
                    connections.spawn(carry(near, terms.clone(), Arc::clone(&carried)));
                }
                Err(error) => tracing::warn!(%error, "a relay cannot accept"),
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(mut near: TcpStream, terms: watch::Receiver<Terms>, carried: Arc<AtomicU64>) {
    let now = *terms.borrow();
    if now.gate == Gate::Broken {
        return reset(&near);
    }
    let Ok(Ok(mut far)) = timeout(CALL, TcpStream::connect(now.target)).await else {
        return reset(&near);
    };
    // Small messages must not wait for each other on a cable that is not there.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let mut watched = terms.clone();
    let broken = watched.wait_for(|later| later.generation != now.generation);
    let passing = async {
        let (near_read, near_write) = near.split();
        let (far_read, far_write) = far.split();
        tokio::join!(
            one_way(near_read, far_write, terms.clone(), &carried),
            one_way(far_read, near_write, terms.clone(), &carried),
        );
    };
    tokio::select! {
        () = passing => return,
        _ = broken => {}
    }
    reset(&near);
    reset(&far);
}

/// From one end to the other until either ends.
async fn one_way(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut terms: watch::Receiver<Terms>,
    carried: &AtomicU64,
) {
    let (cable, mut far_end) = mpsc::channel::<(Instant, Bytes)>(ON_THE_CABLE);
    let delays = terms.clone();
    let take = async move {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(PIECE);
            match from.read_buf(&mut (&mut buffer).limit(PIECE)).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let due = Instant::now() + delays.borrow().delay;
            if cable.send((due, buffer.split().freeze())).await.is_err() {
                return;
            }
        }
    };
    let give = async move {
        let mut free_at = Instant::now();
        while let Some((due, piece)) = far_end.recv().await {
            sleep_until(due.max(free_at)).await;
            let Ok(now) =
                terms.wait_for(|terms| terms.gate == Gate::Open).await.map(|terms| *terms)
            else {
                return;
            };
            if to.write_all(&piece).await.is_err() {
                return;
            }
            carried.fetch_add(piece.len() as u64, Ordering::Relaxed);
            if let Some(rate) = now.rate {
                let took = Duration::from_secs_f64(piece.len() as f64 / f64::from(rate.get()));
                // A piece may take less than the clock can tell: what was late is made up for,
                // within limits.
                let earliest = Instant::now().checked_sub(MADE_UP_FOR).unwrap_or(free_at);
                free_at = free_at.max(earliest) + took;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(take, give);
}

/// The other end will see an error, not an orderly end, when the stream is dropped.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::{SOON, within};

    /// Sends back whatever comes.
    async fn echo() -> (SocketAddr, AbortOnDropHandle<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let serve = async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        };
        (address, AbortOnDropHandle::new(tokio::spawn(serve)))
    }

    async fn say(stream: &mut TcpStream, bytes: &[u8]) {
        stream.write_all(bytes).await.expect("the relay reads");
    }

    async fn hear(stream: &mut TcpStream, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        within("an echo", SOON, stream.read_exact(&mut bytes)).await.map(|_| bytes)
    }

    #[tokio::test]
    async fn what_goes_in_comes_out_and_an_orderly_end_stays_one() {
        let (target, _echo) = echo().await;
        let relay = Relay::to(target).await.expect("a free port");
        let mut stream = TcpStream::connect(relay.address()).await.expect("the relay listens");
        let sent: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
        let (mut from, mut to) = stream.split();
        let send = async {
            to.write_all(&sent).await.expect("the relay reads");
            to.shutdown().await.expect("still open");
        };
        let mut received = Vec::new();
        let (_, read) =
            tokio::join!(send, within("the end", SOON, from.read_to_end(&mut received)));
        read.expect("no reset");
        assert!(received == sent);
        assert_eq!(relay.carried(), 2 * sent.len() as u64);
    }

    #[tokio::test]
    async fn a_pause_holds_everything_back_and_loses_nothing() {
        let (target, _echo) = echo().await;
        let relay = Relay::to(target).await.expect("a free port");
        let mut stream = TcpStream::connect(relay.address()).await.expect("the relay listens");
        say(&mut stream, b"before").await;
        assert_eq!(hear(&mut stream, 6).await.expect("open"), b"before");
        relay.pause();
        say(&mut stream, b"after").await;
        let early = timeout(Duration::from_millis(100), stream.peek(&mut [0; 1])).await;
        assert!(early.is_err(), "nothing passes a pause");
        relay.pass();
        assert_eq!(hear(&mut stream, 5).await.expect("open"), b"after");
    }

    #[tokio::test]
    async fn a_cut_resets_old_and_new_connections_until_it_passes_again() {
        let (target, _echo) = echo().await;
        let relay = Relay::to(target).await.expect("a free port");
        let mut stream = TcpStream::connect(relay.address()).await.expect("the relay listens");
        say(&mut stream, b"x").await;
        hear(&mut stream, 1).await.expect("open");
        relay.cut();
        let error = hear(&mut stream, 1).await.expect_err("reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let mut late = TcpStream::connect(relay.address()).await.expect("the relay listens still");
        hear(&mut late, 1).await.expect_err("reset");
        relay.pass();
        let mut stream = TcpStream::connect(relay.address()).await.expect("the relay listens");
        say(&mut stream, b"y").await;
        assert_eq!(hear(&mut stream, 1).await.expect("open"), b"y");
    }

    #[tokio::test]
    async fn a_limit_and_a_delay_take_their_time() {
        let (target, _echo) = echo().await;
        let relay = Relay::to(target).await.expect("a free port");
        relay.delay(Duration::from_millis(30));
        let mut stream = TcpStream::connect(relay.address()).await.expect("the relay listens");
        let began = Instant::now();
        say(&mut stream, b"x").await;
        hear(&mut stream, 1).await.expect("open");
        assert!(
            began.elapsed() >= Duration::from_millis(60),
            "there and back: {:?}",
            began.elapsed()
        );
        relay.delay(Duration::ZERO);
        relay.limit(NonZeroU32::new(100_000).expect("not zero"));
        let began = Instant::now();
        say(&mut stream, &[0; 20_000]).await;
        hear(&mut stream, 20_000).await.expect("open");
        // 200 ms for all but the last piece, which is free.
        assert!(began.elapsed() >= Duration::from_millis(150), "{:?}", began.elapsed());
    }
}
