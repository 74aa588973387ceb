//! The messages of one connection. A message above [`SMALL`] is read only once it has reserved
//! memory in a pool that all connections share: when many peers send large messages at once, they
//! wait (back-pressure) instead of filling the memory.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_util::codec::{Decoder, Encoder};
use tokio_util::sync::ReusableBoxFuture;

use tnet_proto::{
    CodecError, CoordinatorReply, CoordinatorRequest, MAX_FRAME_LEN, MessageCodec, Received,
};
use tnet_sources::SourceNetwork;

/// Bytes of the read buffer of an idle connection; fits many heartbeats.
const IDLE_BUFFER: usize = 1024;

/// Bytes of a message that every connection may send at any time.
pub(crate) const SMALL: usize = 4096;

/// One IP address may use the shared memory divided by the first, one IPv6 network divided by the
/// second.
const ADDRESSES: usize = 8;
const NETWORKS: usize = 2;

/// A message takes its bytes twice: encoded and decoded.
const COPIES: usize = 2;

/// Deadline of a large message while others wait for memory. On a LAN the longest takes a few
/// milliseconds.
const SHARED_DEADLINE: Duration = Duration::from_secs(1);

/// Memory for large messages, shared by all connections.
#[derive(Debug)]
pub(crate) struct LargeMessageMemory {
    bytes: usize,
    all: Arc<Semaphore>,
    of_networks: HashMap<SourceNetwork, Weak<Semaphore>>,
    of_addresses: HashMap<IpAddr, Weak<Semaphore>>,
}

/// One connection's share of the memory for large messages.
#[derive(Debug, Clone)]
pub(crate) struct MemoryShare {
    shares: [Arc<Semaphore>; 3],
}

impl LargeMessageMemory {
    /// A pool of `bytes`, at least so many that the longest message fits.
    pub(crate) fn new(bytes: usize) -> LargeMessageMemory {
        let bytes = bytes.clamp(ADDRESSES * MAX_FRAME_LEN / 2, Semaphore::MAX_PERMITS);
        LargeMessageMemory {
            bytes,
            all: Arc::new(Semaphore::new(bytes)),
            of_networks: HashMap::new(),
            of_addresses: HashMap::new(),
        }
    }

    /// The share for a connection from `ip`.
    pub(crate) fn share_for(&mut self, ip: IpAddr) -> MemoryShare {
        let of_address = share(&mut self.of_addresses, ip, self.bytes / ADDRESSES);
        let of_network = share(&mut self.of_networks, SourceNetwork::of(ip), self.bytes / NETWORKS);
        MemoryShare { shares: [of_address, of_network, Arc::clone(&self.all)] }
    }
}

/// The semaphore of a source, which lives as long as its connections.
fn share<S: std::hash::Hash + Eq>(
    shares: &mut HashMap<S, Weak<Semaphore>>,
    source: S,
    bytes: usize,
) -> Arc<Semaphore> {
    if let Some(known) = shares.get(&source).and_then(Weak::upgrade) {
        return known;
    }
    // Purge sources without connections only when the map would grow, so the cost is amortized.
    if shares.len() == shares.capacity() {
        shares.retain(|_, share| share.strong_count() > 0);
        shares.reserve(shares.len());
    }
    let new = Arc::new(Semaphore::new(bytes.max(COPIES * MAX_FRAME_LEN)));
    shares.insert(source, Arc::downgrade(&new));
    new
}

impl MemoryShare {
    /// Waits for memory for a message of `len` bytes: first of its address, then of its network,
    /// then of all connections.
    async fn take(self, len: usize) -> Vec<OwnedSemaphorePermit> {
        let bytes = u32::try_from(COPIES * len.min(MAX_FRAME_LEN)).unwrap_or(u32::MAX);
        let mut permits = Vec::with_capacity(self.shares.len());
        for share in self.shares {
            // Never closed.
            permits.extend(share.acquire_many_owned(bytes).await.ok());
        }
        permits
    }

    /// Whether other messages would have to wait.
    fn is_short(&self) -> bool {
        self.shares.iter().any(|share| share.available_permits() < COPIES * MAX_FRAME_LEN)
    }
}

/// A connection after its preambles.
#[derive(Debug)]
pub(crate) struct MessageStream {
    stream: TcpStream,
    codec: MessageCodec<CoordinatorReply, CoordinatorRequest>,
    read: BytesMut,
    memory: MemoryShare,
    /// The wait for memory, in the order of arrival.
    waiting: Option<ReusableBoxFuture<'static, Vec<OwnedSemaphorePermit>>>,
    /// Held from before a large message is read until it has been processed.
    large: Vec<OwnedSemaphorePermit>,
    /// When `large` was acquired.
    since: Option<Instant>,
    /// Whether a message has been returned since then.
    has_returned: bool,
}

impl MessageStream {
    pub(crate) fn new(stream: TcpStream, memory: MemoryShare) -> MessageStream {
        MessageStream {
            stream,
            codec: MessageCodec::new(),
            read: BytesMut::with_capacity(IDLE_BUFFER),
            memory,
            waiting: None,
            large: Vec::new(),
            since: None,
            has_returned: false,
        }
    }

    /// Allows messages longer than a hello.
    pub(crate) fn hello_done(&mut self) {
        self.codec.hello_done();
    }

    /// The last message has been processed: frees its memory.
    pub(crate) fn processed(&mut self) {
        if std::mem::take(&mut self.has_returned) {
            self.large = Vec::new();
            self.since = None;
        }
    }

    /// The next message; call it once the last one has been processed. Cancel safe: dropping the
    /// future loses neither bytes nor the place in the queue for memory.
    pub(crate) async fn next(
        &mut self,
    ) -> Option<Result<Received<CoordinatorRequest>, CodecError>> {
        self.processed();
        loop {
            if self.needs_memory() {
                let memory = self.memory.clone();
                let len = self.frame_len();
                let waiting =
                    self.waiting.get_or_insert_with(|| ReusableBoxFuture::new(memory.take(len)));
                self.large = waiting.await;
                self.waiting = None;
                self.since = Some(Instant::now());
            }
            let len = self.frame_len();
            match self.codec.decode(&mut self.read) {
                Ok(Some(message)) => {
                    self.give_back_buffer(len);
                    self.has_returned = true;
                    return Some(Ok(message));
                }
                Ok(None) => {}
                Err(error) => return Some(Err(error)),
            }
            match self.read_some().await {
                Ok(0) if self.read.is_empty() => return None,
                Ok(0) => return Some(Err(CodecError::Io(io::ErrorKind::UnexpectedEof.into()))),
                Ok(_) => {}
                Err(error) => return Some(Err(CodecError::Io(error))),
            }
        }
    }

    /// Whether a part of a message has arrived and the rest is up to the peer.
    pub(crate) fn has_part(&self) -> bool {
        !self.read.is_empty() && self.waiting.is_none()
    }

    pub(crate) async fn send(&mut self, reply: CoordinatorReply) -> Result<(), CodecError> {
        // Not kept: twenty thousand idle connections need no write buffer.
        let mut bytes = BytesMut::new();
        self.codec.encode(reply, &mut bytes)?;
        self.stream.write_all_buf(&mut bytes).await?;
        Ok(())
    }

    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    async fn read_some(&mut self) -> io::Result<usize> {
        // The codec has reserved room for a message that has begun.
        if self.read.capacity() == self.read.len() {
            self.read.reserve(IDLE_BUFFER);
        }
        let Some(since) = self.since else { return self.stream.read_buf(&mut self.read).await };
        // A message that holds memory which others wait for has a second to arrive, even if bytes
        // keep coming.
        loop {
            if since.elapsed() >= SHARED_DEADLINE && self.memory.is_short() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let look = (since + SHARED_DEADLINE).max(Instant::now() + SHARED_DEADLINE / 4);
            if let Ok(read) = timeout_at(look, self.stream.read_buf(&mut self.read)).await {
                return read;
            }
        }
    }

    /// Bytes of the frame that has begun, including its length prefix.
    fn frame_len(&self) -> usize {
        match self.read.chunk().first_chunk::<4>() {
            Some(len) => (u32::from_le_bytes(*len) as usize).saturating_add(4),
            None => 0,
        }
    }

    fn needs_memory(&self) -> bool {
        let len = self.frame_len();
        // The codec refuses a frame above the limit, so it needs no memory.
        self.large.is_empty() && len > SMALL && len <= MAX_FRAME_LEN + 4
    }

    /// Replaces a buffer that has grown for a message of `len` bytes, or that is used up: otherwise
    /// it stays as large as the largest message.
    fn give_back_buffer(&mut self, len: usize) {
        if len > IDLE_BUFFER || self.read.capacity() < IDLE_BUFFER / 4 {
            let mut smaller = BytesMut::with_capacity(IDLE_BUFFER.max(self.read.len()));
            smaller.extend_from_slice(&self.read);
            self.read = smaller;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tnet_proto::{Availability, MAX_REPORT_ENTRIES, PeerId, Reach, ReportEntry, encode};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn ip(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    async fn pair(memory: MemoryShare) -> (MessageStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (ours, theirs) = tokio::join!(listener.accept(), TcpStream::connect(address));
        let mut line = MessageStream::new(ours.expect("accepted").0, memory);
        line.hello_done();
        (line, theirs.expect("connected"))
    }

    fn report() -> BytesMut {
        let entry = ReportEntry { hash: [1; 32], size: 1, availability: Availability::Full };
        let mut bytes = BytesMut::new();
        let entries = vec![entry; MAX_REPORT_ENTRIES];
        encode(&CoordinatorRequest::Report { seq: 1, replace: true, entries }, &mut bytes);
        bytes
    }

    async fn hears_report(line: &mut MessageStream) {
        let heard = timeout(PATIENCE, line.next()).await.expect("in time");
        assert!(
            matches!(heard, Some(Ok(Received::Message(CoordinatorRequest::Report { .. })))),
            "{heard:?}"
        );
    }

    #[tokio::test]
    async fn memory_is_taken_for_a_large_message_and_given_back() {
        let mut shared = LargeMessageMemory::new(16 << 20);
        let (mut line, mut peer) = pair(shared.share_for(ip(1))).await;
        let before = shared.all.available_permits();
        for _ in 0..3 {
            let bytes = report();
            let writing = async { peer.write_all(&bytes).await.expect("it is read") };
            tokio::join!(writing, hears_report(&mut line));
            assert_eq!(shared.all.available_permits(), before - COPIES * bytes.len());
        }
        let mut small = BytesMut::new();
        let hello = CoordinatorRequest::Hello {
            peer_id: PeerId([1; 16]),
            reach: Reach::Nowhere,
            report_interval_ms: 1,
            capabilities: 0,
        };
        encode(&hello, &mut small);
        peer.write_all(&small).await.expect("it is read");
        timeout(PATIENCE, line.next())
            .await
            .expect("in time")
            .expect("a message")
            .expect("a good one");
        assert_eq!(shared.all.available_permits(), before);
        assert!(line.read.capacity() <= SMALL, "{} bytes are kept", line.read.capacity());
    }

    #[tokio::test]
    async fn a_reader_that_is_disturbed_while_it_waits_for_room_keeps_its_turn() {
        let mut shared = LargeMessageMemory::new(0);
        let all = Arc::clone(&shared.all);
        let held = all
            .acquire_many_owned(u32::try_from(shared.bytes).expect("a few MiB"))
            .await
            .expect("open");
        let (mut first, mut peer) = pair(shared.share_for(ip(1))).await;
        let bytes = report();
        let writing = tokio::spawn(async move {
            peer.write_all(&bytes).await.expect("it is read");
            peer
        });
        let a_moment = Duration::from_millis(5);
        while first.waiting.is_none() {
            assert!(timeout(a_moment, first.next()).await.is_err(), "there is no room");
        }
        assert!(!first.has_part(), "it is our turn, not the peer's");
        let mut second = Box::pin(shared.share_for(ip(2)).take(shared.bytes));
        assert!(timeout(a_moment, &mut second).await.is_err(), "it stands behind the first");
        assert!(timeout(a_moment, first.next()).await.is_err(), "there is no room");
        drop(held);
        hears_report(&mut first).await;
        writing.await.expect("no panic");
    }

    #[tokio::test]
    async fn a_slow_large_message_makes_room_for_those_that_wait() {
        let mut shared = LargeMessageMemory::new(0);
        let room = shared.share_for(ip(66));
        let mut dripping = Vec::new();
        for _ in 0..20 {
            let (mut line, mut peer) = pair(room.clone()).await;
            peer.write_all(&report()[..5000]).await.expect("it fits into a buffer");
            dripping.push(tokio::spawn(async move {
                let heard = line.next().await;
                drop(peer);
                matches!(heard, Some(Err(CodecError::Io(error))) if error.kind() == io::ErrorKind::TimedOut)
            }));
        }
        let (mut line, mut peer) = pair(shared.share_for(ip(1))).await;
        let bytes = report();
        let writing = async { peer.write_all(&bytes).await.expect("it is read") };
        tokio::join!(writing, hears_report(&mut line));
        assert!(timeout(PATIENCE, dripping.remove(0)).await.expect("in time").expect("no panic"));
    }
}
