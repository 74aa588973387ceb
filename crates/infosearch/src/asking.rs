//! Gets a `.fileinfo` from one holder, knowing only the hash. What comes is believed only if it
//! proves itself.
//!
//! The time that a holder has is measured from the first word and grows with the parts that came,
//! each of which must be full: sending little by little does not prolong it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tnet_fileinfo::{ChunkSize, ChunkSum, FileHash, FileInfo, Geometry, Tail};
use tnet_net::{Clock, descriptors::shortage_of};
use tnet_proto::{
    ByeReason, DecodeError, FrameHead, Info, MAX_FRAME_LEN, MAX_INFO_SUMS, PeerMessage, Time,
    decode, encode,
};
use tnet_session::HandshakeError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::askers::{Asker, Askers};
use super::fault::Fault;

/// From the greeting to the first part.
const FIRST_PART_WITHIN: Duration = Duration::from_secs(5);

/// As much more for each further part, of 128 KiB: half a megabit per second.
const EACH_PART_WITHIN: Duration = Duration::from_secs(2);

/// The same while other holders wait for the place: 1 MiB per second, after a second.
const HASTY_FIRST: Duration = Duration::from_secs(1);
const HASTY_EACH: Duration = Duration::from_millis(125);

/// How often a holder that has such a place is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// A description with more sums, of more than 1 MiB, is a long one.
const SHORT: u32 = 32 * 1024;

/// Long descriptions that come at the same time, of all searches together. Each may have 32 MiB.
const LONG_AT_ONCE: usize = 2;

/// The same for short ones of more than one part.
const SHORT_AT_ONCE: usize = 64;

/// Bytes of other messages that a holder may send before a part.
const MAX_CHATTER: usize = 256 * 1024;

/// Why one holder was of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InfoError {
    #[error("not reachable")]
    Unreachable(#[source] std::io::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Greet(#[from] HandshakeError),
    #[error("no answer in time")]
    Silent,
    #[error("it closed the connection")]
    Closed,
    #[error("it ends the connection: {0}")]
    Bye(ByeReason),
    #[error("not a message")]
    Malformed,
    #[error("it does not know the file")]
    NotFound,
    #[error("an answer that does not fit the question")]
    Inconsistent,
    #[error("the description does not prove itself")]
    Invalid(#[source] tnet_fileinfo::FileInfoError),
}

impl InfoError {
    /// None: it was our fault.
    pub(super) fn fault(&self) -> Option<Fault> {
        Some(match self {
            InfoError::Unreachable(error) if shortage_of(error).is_some() => return None,
            InfoError::Unreachable(error) => Fault::Unreachable(error.into()),
            InfoError::Greet(error @ HandshakeError::Preamble(_)) => {
                Fault::Unreachable(error.into())
            }
            InfoError::Silent | InfoError::Greet(HandshakeError::TooSlow) => Fault::Silent,
            InfoError::Bye(ByeReason::TOO_MANY) => Fault::Full,
            InfoError::Io(_)
            | InfoError::Closed
            | InfoError::Bye(_)
            | InfoError::Greet(HandshakeError::Io(_)) => Fault::Closed,
            InfoError::NotFound => Fault::NotFound,
            InfoError::Greet(_)
            | InfoError::Malformed
            | InfoError::Inconsistent
            | InfoError::Invalid(_) => Fault::False,
        })
    }
}

/// Where descriptions come in whose sums are more than a part, so many at a time. Shared by all
/// searches of a peer.
#[derive(Debug, Clone)]
pub(super) struct Places {
    short: PlacesOfKind,
    long: PlacesOfKind,
}

#[derive(Debug, Clone)]
struct PlacesOfKind {
    free: Arc<Semaphore>,
    wanted: Arc<AtomicUsize>,
}

impl Places {
    pub(super) fn new() -> Places {
        Places { short: PlacesOfKind::new(SHORT_AT_ONCE), long: PlacesOfKind::new(LONG_AT_ONCE) }
    }

    /// For one of so many chunks. None is needed if all is there.
    fn of(&self, geometry: &Geometry, sums: &[[u8; 32]]) -> Option<&PlacesOfKind> {
        match geometry.chunk_count() {
            all if all as usize <= sums.len() => None,
            ..=SHORT => Some(&self.short),
            _ => Some(&self.long),
        }
    }
}

impl PlacesOfKind {
    fn new(count: usize) -> PlacesOfKind {
        PlacesOfKind { free: Arc::new(Semaphore::new(count)), wanted: Arc::default() }
    }

    fn take_now(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }

    async fn take(&self) -> OwnedSemaphorePermit {
        let _wanted = Wanted::new(&self.wanted);
        Arc::clone(&self.free).acquire_owned().await.expect("places are never closed")
    }

    fn are_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) > 0
    }
}

/// One that waits for a place, as long as it does.
struct Wanted<'a>(&'a AtomicUsize);

impl Wanted<'_> {
    fn new(count: &AtomicUsize) -> Wanted<'_> {
        count.fetch_add(1, Ordering::Relaxed);
        Wanted(count)
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What has begun to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    /// A message, which as far as is known yet is a short description.
    Short,
    /// A description that waits until there is a place for it.
    Queued,
    /// A long description.
    Long,
}

/// What is asked of each holder.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) hash: FileHash,
    pub(super) askers: Askers,
}

/// Asks one peer. `begins` is called when it has begun to send a description, when that must wait
/// for a place, and when it is a long one.
pub(super) async fn ask(
    address: SocketAddr,
    question: Question,
    begins: impl Fn(Begun),
) -> Result<FileInfo, InfoError> {
    let Question { hash, askers } = question;
    let places = &askers.places;
    if let Some(mut asker) = askers.take(address) {
        match Asking::new(&mut asker.wire, hash, places.clone(), &askers.clock, &begins).all().await
        {
            // It has ended meanwhile: that is no answer.
            Err(InfoError::Io(_) | InfoError::Closed | InfoError::Bye(_)) => {}
            answer => return keep(&askers, asker, answer),
        }
    }
    let mut asker = askers.call(address).await?;
    let answer =
        Asking::new(&mut asker.wire, hash, places.clone(), &askers.clock, &begins).all().await;
    keep(&askers, asker, answer)
}

/// Keeps the connection, unless the other side may still have something to say to the last
/// question.
fn keep(
    askers: &Askers,
    asker: Asker,
    answer: Result<FileInfo, InfoError>,
) -> Result<FileInfo, InfoError> {
    match answer {
        Ok(_) | Err(InfoError::NotFound) => askers.keep(asker),
        Err(InfoError::Silent) => askers.note_silent(asker.address()),
        Err(_) => {}
    }
    answer
}

/// A connection after the hellos.
#[derive(Debug)]
pub(super) struct Wire<R, W> {
    pub(super) input: R,
    pub(super) output: W,
    /// Bytes that came after what was read last.
    pub(super) buffered: BytesMut,
}

struct Asking<'a, R, W, B> {
    wire: &'a mut Wire<R, W>,
    hash: FileHash,
    places: Places,
    clock: &'a Clock,
    begins: &'a B,
    has_begun: bool,
}

impl<'a, R, W, B> Asking<'a, R, W, B> {
    fn new(
        wire: &'a mut Wire<R, W>,
        hash: FileHash,
        places: Places,
        clock: &'a Clock,
        begins: &'a B,
    ) -> Self {
        Asking { wire, hash, places, clock, begins, has_begun: false }
    }
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin, B: Fn(Begun)> Asking<'_, R, W, B> {
    async fn all(mut self) -> Result<FileInfo, InfoError> {
        let clock = self.clock;
        let began = clock.now();
        let first = clock.timeout(FIRST_PART_WITHIN, self.part(0)).await;
        let first = first.unwrap_or(Err(InfoError::Silent))?;
        let chunk_size = ChunkSize::new(first.chunk_size).map_err(|_| InfoError::Inconsistent)?;
        let geometry =
            Geometry::new(first.size, chunk_size).map_err(|_| InfoError::Inconsistent)?;
        let tail = Tail { leaf: first.tail_leaf, path: first.tail_path };
        tail.fits(&geometry).map_err(|_| InfoError::Inconsistent)?;
        is_full(0, &geometry, &first.sums)?;
        let places = self.places.clone();
        let sums = match places.of(&geometry, &first.sums) {
            None => first.sums,
            Some(places) => {
                let waits = clock.now();
                let _place = match places.take_now() {
                    Some(place) => place,
                    None => {
                        (self.begins)(Begun::Queued);
                        places.take().await
                    }
                };
                if geometry.chunk_count() > SHORT {
                    (self.begins)(Begun::Long);
                }
                // The wait for the place is no fault of the holder's.
                self.rest(began + (clock.now() - waits), &geometry, first.sums, places).await?
            }
        };
        let hash = self.hash;
        // A million sums take some hundred milliseconds.
        let proving = tokio::task::spawn_blocking(move || {
            let sums = sums.into_iter().map(ChunkSum::from_bytes).collect();
            FileInfo::from_parts(None, geometry, sums, tail, hash).map_err(InfoError::Invalid)
        });
        proving.await.unwrap_or(Err(InfoError::Closed))
    }

    /// All sums, beginning with those in the first part.
    async fn rest(
        &mut self,
        began: Time,
        geometry: &Geometry,
        mut sums: Vec<[u8; 32]>,
        places: &PlacesOfKind,
    ) -> Result<Vec<[u8; 32]>, InfoError> {
        let clock = self.clock;
        for parts in 1.. {
            let next = u32::try_from(sums.len()).map_err(|_| InfoError::Inconsistent)?;
            if next >= geometry.chunk_count() {
                break;
            }
            let mut part = std::pin::pin!(self.part(next));
            let part = loop {
                let time = if places.are_wanted() {
                    HASTY_FIRST + HASTY_EACH * parts
                } else {
                    time_for(parts)
                };
                let look = clock.now() + LOOK;
                match clock.timeout_at(look.min(began + time), &mut part).await {
                    Ok(part) => break part?,
                    Err(_) if clock.now() >= began + time => return Err(InfoError::Silent),
                    Err(_) => {}
                }
            };
            if (part.size, part.chunk_size) != (geometry.size(), geometry.chunk_size().get()) {
                return Err(InfoError::Inconsistent);
            }
            is_full(next, geometry, &part.sums)?;
            sums.extend(part.sums);
        }
        Ok(sums)
    }

    async fn part(&mut self, first: u32) -> Result<Info, InfoError> {
        let mut request = BytesMut::new();
        encode(&PeerMessage::InfoRequest { hash: *self.hash.as_bytes(), first }, &mut request);
        // One that is closing may have said why: that is still there to be read.
        let written = self.wire.output.write_all(&request).await;
        let mut chatter = 0;
        // Past whatever else the peer has to say.
        while chatter <= MAX_CHATTER {
            let (len, message) = match self.message().await {
                Err(InfoError::Closed) => {
                    return Err(written.map_or_else(InfoError::Io, |()| InfoError::Closed));
                }
                heard => heard?,
            };
            match message {
                Some(PeerMessage::Info(info)) if info.hash == *self.hash.as_bytes() => {
                    return if info.first == first {
                        Ok(info)
                    } else {
                        Err(InfoError::Inconsistent)
                    };
                }
                Some(PeerMessage::InfoNotFound { hash }) if hash == *self.hash.as_bytes() => {
                    return Err(InfoError::NotFound);
                }
                Some(PeerMessage::Bye { reason }) => return Err(InfoError::Bye(reason)),
                _ => chatter += len,
            }
        }
        Err(InfoError::Inconsistent)
    }

    /// The next message with its length; none if it is unknown.
    async fn message(&mut self) -> Result<(usize, Option<PeerMessage>), InfoError> {
        loop {
            let head = FrameHead::parse(&self.wire.buffered, MAX_FRAME_LEN)
                .map_err(|_| InfoError::Malformed)?;
            if let Some(head) = head {
                let FrameHead::Message { len } = head else { return Err(InfoError::Malformed) };
                if self.wire.buffered.len() >= head.head_len() + len {
                    self.wire.buffered.advance(head.head_len());
                    return match decode(&self.wire.buffered.split_to(len)) {
                        Ok(message) => Ok((len, Some(message))),
                        Err(DecodeError::UnknownMessage { .. }) => Ok((len, None)),
                        Err(_) => Err(InfoError::Malformed),
                    };
                }
            }
            if !self.wire.buffered.is_empty() && !std::mem::replace(&mut self.has_begun, true) {
                (self.begins)(Begun::Short);
            }
            if self.wire.input.read_buf(&mut self.wire.buffered).await? == 0 {
                return Err(InfoError::Closed);
            }
        }
    }
}

/// From the first word until so many parts are there.
fn time_for(parts: u32) -> Duration {
    FIRST_PART_WITHIN + EACH_PART_WITHIN * parts
}

/// A part has as many sums as a message takes, or all that are left.
fn is_full(first: u32, geometry: &Geometry, sums: &[[u8; 32]]) -> Result<(), InfoError> {
    let left = (geometry.chunk_count() as usize).saturating_sub(first as usize);
    if sums.len() == left.min(MAX_INFO_SUMS) { Ok(()) } else { Err(InfoError::Inconsistent) }
}

/// For the fuzz targets.
#[cfg(feature = "fuzzing")]
pub mod fuzzing {
    use super::{Asking, AsyncRead, BytesMut, Clock, FileHash, FileInfo, Places, Wire};

    /// The description of the file with that hash that a holder's answers make, if they make one.
    /// `answers` is what comes after the holder's hello.
    pub async fn description_from(
        answers: impl AsyncRead + Unpin,
        hash: FileHash,
    ) -> Option<FileInfo> {
        let (buffered, places, clock) = (BytesMut::new(), Places::new(), Clock::new());
        let mut wire = Wire { input: answers, output: tokio::io::sink(), buffered };
        Asking::new(&mut wire, hash, places, &clock, &|_| {}).all().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use tnet_fileinfo::MIN_CHUNK_SIZE;
    use tokio::io::{DuplexStream, duplex, split};
    use tokio::time::{Instant, advance, sleep};

    use super::*;
    use tnet_net::CLOCK_INTERVAL;

    const PART: u32 = 4096;

    /// A description of so many chunks, every sum the same. It has the form of one.
    fn told(hash: FileHash, chunks: u32, first: u32, sums: u32) -> PeerMessage {
        PeerMessage::Info(Info {
            hash: *hash.as_bytes(),
            size: u64::from(chunks - 1) * u64::from(MIN_CHUNK_SIZE) + 1,
            chunk_size: MIN_CHUNK_SIZE,
            tail_leaf: vec![1],
            tail_path: Vec::new(),
            first,
            sums: vec![[2; 32]; sums as usize],
        })
    }

    /// Answers each question with so many sums, after a pause.
    async fn answer(
        mut stream: DuplexStream,
        hash: FileHash,
        chunks: u32,
        sums: u32,
        pause: Duration,
    ) {
        let mut question = [0; 4 + 4 + 32 + 4];
        while stream.read_exact(&mut question).await.is_ok() {
            let first = u32::from_le_bytes(question[40..].try_into().expect("four bytes"));
            sleep(pause).await;
            let mut answer = BytesMut::new();
            encode(&told(hash, chunks, first, sums.min(chunks - first)), &mut answer);
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }

    /// What comes of such a holder, and when.
    async fn outcome(
        places: Places,
        chunks: u32,
        sums: u32,
        pause: Duration,
    ) -> (Result<FileInfo, InfoError>, Duration) {
        outcome_by(&Clock::new(), places, chunks, sums, pause).await
    }

    async fn outcome_by(
        clock: &Clock,
        places: Places,
        chunks: u32,
        sums: u32,
        pause: Duration,
    ) -> (Result<FileInfo, InfoError>, Duration) {
        let hash = FileHash::from_bytes([7; 32]);
        let (ours, theirs) = duplex(1 << 16);
        let holder = tokio::spawn(answer(theirs, hash, chunks, sums, pause));
        let (input, output) = split(ours);
        let began = Instant::now();
        let mut wire = Wire { input, output, buffered: BytesMut::new() };
        let outcome = Asking::new(&mut wire, hash, places, clock, &|_| {}).all().await;
        holder.abort();
        (outcome, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_a_description_sum_by_sum_is_given_up_at_once() {
        let (outcome, took) = outcome(Places::new(), 4000, 1, Duration::from_millis(1)).await;
        assert!(matches!(outcome, Err(InfoError::Inconsistent)), "{outcome:?}");
        assert!(took < Duration::from_secs(1), "after {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn full_parts_that_come_too_slowly_do_not_prolong_the_time() {
        let (outcome, took) =
            outcome(Places::new(), 8 * PART, PART, 3 * EACH_PART_WITHIN / 2).await;
        assert!(matches!(outcome, Err(InfoError::Silent)), "{outcome:?}");
        assert!(took <= time_for(8), "after {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn full_parts_that_come_fast_enough_are_taken_to_the_end() {
        let (outcome, _) = outcome(Places::new(), 8 * PART, PART, EACH_PART_WITHIN).await;
        // That the sums are false shows when all are there.
        assert!(matches!(outcome, Err(InfoError::Invalid(_))), "{outcome:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_has_its_time_from_when_we_run_again() {
        let clock = Clock::new();
        let beats = tokio::spawn({
            let clock = clock.clone();
            async move {
                loop {
                    clock.beat();
                    sleep(CLOCK_INTERVAL).await;
                }
            }
        });
        let asking = tokio::spawn(async move {
            // It answers a second after we run again.
            outcome_by(&clock, Places::new(), 4000, PART, Duration::from_secs(72)).await.0
        });
        sleep(Duration::from_secs(1)).await;
        advance(Duration::from_secs(70)).await;
        let outcome = asking.await.expect("it ends");
        assert!(matches!(outcome, Err(InfoError::Invalid(_))), "{outcome:?}");
        beats.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_description_may_be_slow_only_while_no_other_waits_for_its_place() {
        let (chunks, pause) = (16 * PART, EACH_PART_WITHIN);
        let (alone, _) = outcome(Places::new(), chunks, PART, pause).await;
        assert!(matches!(alone, Err(InfoError::Invalid(_))), "{alone:?}");
        let places = Places::new();
        let ask = || outcome(places.clone(), chunks, PART, pause);
        let (first, second, third) = tokio::join!(ask(), ask(), ask());
        let (slow, taken): (Vec<_>, Vec<_>) = [first, second, third]
            .into_iter()
            .partition(|(outcome, _)| matches!(outcome, Err(InfoError::Silent)));
        let [(_, took)] = slow[..] else { panic!("one makes room: {slow:?}") };
        assert!(took < Duration::from_secs(6), "after {took:?}");
        assert!(
            taken.iter().all(|(outcome, _)| matches!(outcome, Err(InfoError::Invalid(_)))),
            "{taken:?}"
        );
    }
}
