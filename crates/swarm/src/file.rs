//! One file of this process: the links to others in its swarm, and, while it is incomplete, the way
//! to completion.
//!
//! Invariant: a missing chunk is either listed by rarity, in the retry queue or paused, and counted
//! in `wanted` of every link whose peer holds it; a chunk in another state is in none of them and
//! counted nowhere.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use rand::rngs::StdRng;
use tnet_fileinfo::{ChunkIndex, ChunkSet, FileHash, Geometry};
use tnet_proto::{Holdings, Open};

use crate::Time;
use crate::chunks::{ChunkState, ChunkStates};
use crate::io::Priority;
use crate::link::{Link, PeerHas};
use crate::rarity::Rarity;
use crate::suggest::SuggestOnce;
use crate::{FileKey, PeerKey};
use tnet_sources::Trust;

/// Chunks in the retry queue; further ones are listed by rarity. The queue is gone through for each
/// request.
const MAX_RETRY: usize = 64;

#[derive(Debug)]
pub(crate) struct File {
    pub(crate) key: FileKey,
    pub(crate) hash: FileHash,
    pub(crate) geometry: Geometry,
    /// Each in a place of its own: a map has room for many where there may be one.
    pub(crate) links: BTreeMap<PeerKey, Box<Link>>,
    /// None: complete. In a place of its own, so that a thousand whole files are small.
    pub(crate) download: Option<Box<Incomplete>>,
    /// Made when a peer first comes for a file that was complete from the start.
    pub(crate) suggest: Option<SuggestOnce>,
    pub(crate) stats: FileStats,
    pub(crate) priority: Priority,
    /// What is missing is to be fetched, not only what is there to be served.
    pub(crate) is_wanted: bool,
    /// What we hold is not announced anew before this moment, whatever is withdrawn.
    pub(crate) no_reopen_before: Time,
    /// We take no part in its swarm.
    pub(crate) is_paused: bool,
}

/// What is only needed until the file is whole.
#[derive(Debug)]
pub(crate) struct Incomplete {
    pub(crate) chunks: ChunkStates,
    pub(crate) rarity: Rarity,
    /// Missing chunks that failed and are tried again before any other.
    pub(crate) retry: BTreeSet<ChunkIndex>,
    /// Missing chunks that failed often, with the moment from which on they are tried again.
    pub(crate) paused: BTreeMap<ChunkIndex, Time>,
    /// Stored and not announced yet.
    pub(crate) unannounced: Vec<ChunkIndex>,
    /// Times the coordinator was asked since we last lost all peers.
    pub(crate) lookups: u32,
    /// Lookups in a row between which no chunk arrived, and how many had at the last one.
    pub(crate) idle_lookups: u32,
    pub(crate) arrived_at_lookup: u64,
    /// Chunks asked for twice so far, less those where it cost no second copy.
    pub(crate) hedges: u32,
    /// Failures of each chunk that failed.
    pub(crate) failures: BTreeMap<ChunkIndex, u32>,
    /// The senders of the chunks that are being stored; it may be gone by now. Changed by
    /// [`FileTable`](crate::file_table::FileTable) only, with the bytes being stored.
    pub(crate) senders: BTreeMap<ChunkIndex, Sender>,
}

/// The sender of a chunk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender {
    pub(crate) peer: PeerKey,
    pub(crate) source: IpAddr,
    /// Where it accepts peers, if it does.
    pub(crate) address: Option<SocketAddr>,
}

/// When a chunk that is missing again is tried next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// No source failed: by its rarity.
    Listed,
    /// Before any other.
    First,
    /// Not before this moment.
    From(Time),
}

/// What happened to one file so far, in chunks. Exhaustive: simulator and peer read every count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileStats {
    /// Asked for.
    pub requested: u64,
    /// Answered with busy.
    pub busy: u64,
    /// Arrived and were worth storing.
    pub arrived: u64,
    /// Arrived although already here.
    pub duplicate: u64,
    /// Arrived with the wrong sum.
    pub corrupt: u64,
    /// Asked for again after a lost or stalled peer, a bad sum, or a failed write.
    pub retried: u64,
    /// Asked for at a second peer at the end.
    pub hedged: u64,
    /// Sent to others in full.
    pub uploaded: u64,
}

/// What tells a content apart on the wire. The same bytes cut into other chunks are another swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Content {
    pub(crate) hash: [u8; 32],
    pub(crate) size: u64,
    pub(crate) chunk_size: u32,
}

impl File {
    pub(crate) fn content(&self) -> Content {
        let (size, chunk_size) = (self.geometry.size(), self.geometry.chunk_size().get());
        Content { hash: *self.hash.as_bytes(), size, chunk_size }
    }

    pub(crate) fn holds(&self, chunk: ChunkIndex) -> bool {
        self.download
            .as_ref()
            .is_none_or(|download| download.chunks.state(chunk) == ChunkState::Stored)
    }

    /// Whether a connection that has proven itself, other than this one, holds the chunk.
    pub(crate) fn has_proven_holder(&self, chunk: ChunkIndex, but: Option<PeerKey>) -> bool {
        let mut holders = self
            .links
            .iter()
            .filter(|(peer, link)| Some(**peer) != but && link.held.contains(chunk));
        holders.any(|(_, link)| link.handle.is_some() && link.trust == Trust::Proven)
    }

    /// What we tell others of it.
    pub(crate) fn open_message(&self) -> Open {
        let holdings = match &self.download {
            None => Holdings::Full,
            Some(download) => Holdings::Bitmap(download.chunks.stored().to_bytes()),
        };
        let Content { hash, size, chunk_size } = self.content();
        Open { file: self.key.handle(), hash, size, chunk_size, holdings }
    }

    /// Bytes in its longest chunk.
    pub(crate) fn longest_chunk(&self) -> u32 {
        self.geometry.chunk(0).map_or(0, |first| self.geometry.chunk_len(first))
    }

    /// The chunk stops being missing.
    pub(crate) fn take_missing(&mut self, chunk: ChunkIndex, to: ChunkState) {
        let download = self.download.as_mut().expect("a complete file misses nothing");
        let from = download.chunks.set(chunk, to);
        debug_assert_eq!(from, ChunkState::Missing);
        download.rarity.unlist(chunk);
        download.retry.remove(&chunk);
        download.paused.remove(&chunk);
        for link in self.links.values_mut().filter(|link| link.held.contains(chunk)) {
            link.wanted -= 1;
        }
    }

    /// The chunk is missing again.
    pub(crate) fn put_missing(&mut self, chunk: ChunkIndex, again: Again, rng: &mut StdRng) {
        let download = self.download.as_mut().expect("only an incomplete file can miss a chunk");
        let from = download.chunks.set(chunk, ChunkState::Missing);
        debug_assert_ne!(from, ChunkState::Missing);
        match again {
            Again::Listed => download.rarity.list(chunk, rng),
            Again::First => download.retry_first(chunk, rng),
            Again::From(moment) => {
                download.paused.insert(chunk, moment);
            }
        }
        self.stats.retried += u64::from(again != Again::Listed);
        for link in self.links.values_mut().filter(|link| link.held.contains(chunk)) {
            link.wanted += 1;
        }
    }

    /// The peer holds one more chunk.
    /// Answers whether it was sent to the peer before.
    pub(crate) fn add_held(&mut self, peer: PeerKey, chunk: ChunkIndex) -> bool {
        let Some(link) = self.links.get_mut(&peer) else { return false };
        let was_given = link.given.remove(&chunk);
        let PeerHas::Part(chunks) = &mut link.held else { return was_given };
        if chunks.insert(chunk)
            && let Some(download) = &mut self.download
        {
            download.rarity.add_copy(chunk);
            link.wanted += u32::from(download.chunks.state(chunk) == ChunkState::Missing);
        }
        was_given
    }

    /// The peer does not hold this chunk after all.
    pub(crate) fn remove_held(&mut self, peer: PeerKey, chunk: ChunkIndex) {
        if self.links.get(&peer).is_some_and(|link| link.held.is_full()) {
            self.replace_held(peer, PeerHas::Part(ChunkSet::full(&self.geometry)));
        }
        let Some(link) = self.links.get_mut(&peer) else { return };
        if let PeerHas::Part(chunks) = &mut link.held
            && chunks.remove(chunk)
            && let Some(download) = &mut self.download
        {
            download.rarity.remove_copy(chunk);
            link.wanted -= u32::from(download.chunks.state(chunk) == ChunkState::Missing);
        }
    }

    /// Replaces all that is known of what the peer holds. Answers how many of its chunks were sent
    /// to the peer before and were not announced until now.
    pub(crate) fn replace_held(&mut self, peer: PeerKey, held: PeerHas) -> usize {
        let Some(link) = self.links.get_mut(&peer) else { return 0 };
        let given = link.given.len();
        link.given.retain(|chunk| !held.contains(*chunk));
        let announced = given - link.given.len();
        let before = std::mem::replace(&mut link.held, held);
        let Some(download) = &mut self.download else { return announced };
        if let PeerHas::Part(chunks) = &before {
            chunks.iter().for_each(|chunk| download.rarity.remove_copy(chunk));
        }
        download.count_in(link);
        announced
    }

    /// Forgets a link, whose requests must be released already.
    pub(crate) fn remove_link(&mut self, peer: PeerKey) -> Option<Box<Link>> {
        let link = self.links.remove(&peer)?;
        if self.links.is_empty() {
            // An empty map keeps its memory, of which a thousand finished files would have as many.
            self.links = BTreeMap::new();
        }
        if let (Some(download), PeerHas::Part(chunks)) = (&mut self.download, &link.held) {
            chunks.iter().for_each(|chunk| download.rarity.remove_copy(chunk));
        }
        Some(link)
    }

    /// A complete file is incomplete again: only these chunks are there.
    pub(crate) fn reopen(&mut self, stored: ChunkSet, rng: &mut StdRng) {
        let mut download =
            Incomplete::new(&self.geometry, stored, &ChunkSet::empty(&self.geometry), rng);
        self.links.values_mut().for_each(|link| download.count_in(link));
        self.download = Some(Box::new(download));
        self.suggest = None;
    }
}

impl Incomplete {
    pub(crate) fn new(
        geometry: &Geometry,
        stored: ChunkSet,
        vouched: &ChunkSet,
        rng: &mut StdRng,
    ) -> Incomplete {
        let mut rarity = Rarity::new(geometry);
        let chunks = ChunkStates::new(geometry, stored, vouched);
        chunks.taken().missing().for_each(|chunk| rarity.list(chunk, rng));
        Incomplete {
            chunks,
            rarity,
            retry: BTreeSet::new(),
            paused: BTreeMap::new(),
            unannounced: Vec::new(),
            lookups: 0,
            idle_lookups: 0,
            arrived_at_lookup: 0,
            hedges: 0,
            failures: BTreeMap::new(),
            senders: BTreeMap::new(),
        }
    }

    /// Chunks whose pause is over are tried before any other. Answers when the next pause is over.
    pub(crate) fn end_pauses(&mut self, now: Time, rng: &mut StdRng) -> Option<Time> {
        let over: Vec<ChunkIndex> =
            self.paused.iter().filter(|(_, from)| **from <= now).map(|(chunk, _)| *chunk).collect();
        for chunk in over {
            self.paused.remove(&chunk);
            self.retry_first(chunk, rng);
        }
        self.paused.values().min().copied()
    }

    fn retry_first(&mut self, chunk: ChunkIndex, rng: &mut StdRng) {
        if self.retry.len() < MAX_RETRY {
            self.retry.insert(chunk);
        } else {
            self.rarity.list(chunk, rng);
        }
    }

    /// Counts copies and wanted chunks of a link that was not counted.
    fn count_in(&mut self, link: &mut Link) {
        link.wanted = match &link.held {
            PeerHas::Full => self.chunks.missing(),
            PeerHas::Part(chunks) => {
                chunks.iter().for_each(|chunk| self.rarity.add_copy(chunk));
                chunks.difference_count(self.chunks.taken())
            }
        };
    }
}
