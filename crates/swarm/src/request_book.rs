//! The one record of our requests to other peers.
//!
//! A request is *open* from the moment it is sent until its final answer, its withdrawal or the end
//! of its link, and holds a download slot for that time. A *withdrawn* request holds no slot, but
//! its final answer is still to come. An *abandoned* request ended with its link; its answer may
//! still come.
//!
//! Invariant: at one link a chunk is at most once open or withdrawn, so an answer always says which
//! request it settles. All indexes and counts are kept here, by the methods that open and end
//! requests.

use std::collections::BTreeMap;

use tnet_fileinfo::ChunkIndex;

use crate::Time;
use crate::config::SlotLimits;
use crate::file::Content;
use crate::link::Link;
use crate::slots::{InFlight, Slots};
use crate::{FileKey, PeerKey};
use tnet_sources::Trust;

/// Abandoned requests whose answers are still tolerated, for each connection. With more, some file
/// was closed and opened again and again, and the oldest are forgotten: they have been answered or
/// never will be.
const MAX_ABANDONED: usize = 128;

/// For this part of the slots (one of so many) chunks at unproven connections leave room for proven
/// ones.
pub(crate) const PROBES_AT_MOST: u32 = 2;

/// Why we took a request back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Withdrawal {
    /// Another source was faster.
    Surplus,
    /// It did not deliver.
    Stalled,
}

/// What a final answer was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// An open request. So many others are open at the peer.
    Expected { others: u32 },
    /// A request that was taken back while the answer was under way.
    Withdrawn(Withdrawal),
    /// Nothing that we asked for.
    Unrequested,
}

/// An open request for a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) peer: PeerKey,
    pub(crate) since: Time,
    len: u32,
}

#[derive(Debug)]
pub(crate) struct RequestBook {
    slots: Slots,
    files: BTreeMap<FileKey, FileRequests>,
    peers: BTreeMap<PeerKey, PeerRequests>,
    /// What is open at connections that are not proven, late ones included.
    unproven: InFlight,
    /// What is open at connections that are late.
    late: InFlight,
}

/// The requests of one file.
#[derive(Debug, Default)]
pub(crate) struct FileRequests {
    /// Open requests. A chunk without one is not here.
    chunks: BTreeMap<ChunkIndex, Vec<Asked>>,
    /// From the first request over a link until the link ends, ordered by peer. Each choice of a
    /// source goes through all of them, which takes half as long as with a map.
    links: Vec<(PeerKey, LinkRequests)>,
}

/// The requests for chunks of one file at one peer.
#[derive(Debug, Default)]
pub(crate) struct LinkRequests {
    open: Vec<ChunkIndex>,
    withdrawn: Vec<(ChunkIndex, Withdrawal)>,
}

/// The requests at one peer, from the first one until its connection ends.
#[derive(Debug)]
struct PeerRequests {
    trust: Trust,
    open: InFlight,
    withdrawn: usize,
    /// If a file is opened again at once after a close, the other side may take a request of before
    /// for a new one, and we may take the answer to it for one to a new request. Oldest first; a
    /// chunk that was requested and abandoned twice is in it twice, and may be answered twice.
    abandoned: Vec<(Content, ChunkIndex)>,
}

static NO_FILE_REQUESTS: FileRequests = FileRequests { chunks: BTreeMap::new(), links: Vec::new() };
static NO_LINK_REQUESTS: LinkRequests = LinkRequests { open: Vec::new(), withdrawn: Vec::new() };

impl RequestBook {
    pub(crate) fn new(limits: SlotLimits) -> RequestBook {
        RequestBook {
            slots: Slots::new(limits),
            files: BTreeMap::new(),
            peers: BTreeMap::new(),
            unproven: InFlight::default(),
            late: InFlight::default(),
        }
    }

    /// A request for a chunk of `len` bytes is sent to a peer that is trusted so far. Returns how
    /// many are open there.
    pub(crate) fn open(
        &mut self,
        now: Time,
        (peer, trust): (PeerKey, Trust),
        file: FileKey,
        chunk: ChunkIndex,
        len: u32,
    ) -> u32 {
        let of_file = self.files.entry(file).or_default();
        let link = of_file.link_made(peer);
        debug_assert!(!link.awaits(chunk), "chunk {chunk} is asked of {peer:?} twice");
        link.open.push(chunk);
        of_file.chunks.entry(chunk).or_default().push(Asked { peer, since: now, len });
        self.slots.take(len);
        let of_peer = self.peers.entry(peer).or_insert_with(|| PeerRequests {
            trust,
            open: InFlight::default(),
            withdrawn: 0,
            abandoned: Vec::new(),
        });
        debug_assert_eq!(of_peer.trust, trust, "trust in {peer:?}");
        of_peer.open.add(len);
        let open = of_peer.open.chunks;
        self.counted(trust, |counted| counted.add(len));
        open
    }

    /// A final answer has come.
    pub(crate) fn settle(
        &mut self,
        peer: PeerKey,
        file: FileKey,
        content: Content,
        chunk: ChunkIndex,
    ) -> Settled {
        if let Some(others) = self.end(peer, file, chunk) {
            return Settled::Expected { others };
        }
        let Some(of_peer) = self.peers.get_mut(&peer) else { return Settled::Unrequested };
        let link = self.files.get_mut(&file).and_then(|file| file.link_mut(peer));
        if let Some(link) = link
            && let Some(at) = link.withdrawn.iter().position(|(withdrawn, _)| *withdrawn == chunk)
        {
            of_peer.withdrawn -= 1;
            return Settled::Withdrawn(link.withdrawn.swap_remove(at).1);
        }
        let abandoned = &mut of_peer.abandoned;
        match abandoned.iter().position(|abandoned| *abandoned == (content, chunk)) {
            Some(at) => {
                abandoned.remove(at);
                Settled::Withdrawn(Withdrawal::Stalled)
            }
            None => Settled::Unrequested,
        }
    }

    /// Takes a request back. If it was open, returns how many others are open at the peer.
    pub(crate) fn withdraw(
        &mut self,
        peer: PeerKey,
        file: FileKey,
        chunk: ChunkIndex,
        why: Withdrawal,
    ) -> Option<u32> {
        let others = self.end(peer, file, chunk)?;
        if let Some(link) = self.files.get_mut(&file).and_then(|file| file.link_mut(peer))
            && let Some(of_peer) = self.peers.get_mut(&peer)
        {
            link.withdrawn.push((chunk, why));
            of_peer.withdrawn += 1;
        }
        Some(others)
    }

    /// The link ends, and all its requests with it. Returns those that were open.
    pub(crate) fn abandon(
        &mut self,
        peer: PeerKey,
        file: FileKey,
        content: Content,
    ) -> Vec<ChunkIndex> {
        let open = self.of_link(peer, file).open.clone();
        for chunk in &open {
            self.end(peer, file, *chunk);
        }
        let Some(of_file) = self.files.get_mut(&file) else { return open };
        let Ok(at) = of_file.find(peer) else { return open };
        let (_, link) = of_file.links.remove(at);
        if of_file.links.is_empty() {
            self.files.remove(&file);
        }
        if let Some(of_peer) = self.peers.get_mut(&peer) {
            of_peer.withdrawn -= link.withdrawn.len();
            let withdrawn = link.withdrawn.iter().map(|(chunk, _)| *chunk);
            let ended = open.iter().copied().chain(withdrawn);
            of_peer.abandoned.extend(ended.map(|chunk| (content, chunk)));
            let excess = of_peer.abandoned.len().saturating_sub(MAX_ABANDONED);
            of_peer.abandoned.drain(..excess);
        }
        open
    }

    /// The connection is gone, after all its links.
    pub(crate) fn forget_peer(&mut self, peer: PeerKey) {
        let gone = self.peers.remove(&peer);
        debug_assert!(gone.is_none_or(|peer| peer.open.chunks == 0), "links end before {peer:?}");
    }

    /// The trust in a connection has changed. Returns how many requests are open there.
    pub(crate) fn set_trust(&mut self, peer: PeerKey, trust: Trust) -> u32 {
        let Some(of_peer) = self.peers.get_mut(&peer) else { return 0 };
        let (open, before) = (of_peer.open, std::mem::replace(&mut of_peer.trust, trust));
        self.counted(before, |counted| *counted = counted.without(open));
        self.counted(trust, |counted| *counted = *counted + open);
        open.chunks
    }

    /// Ends an open request. If there was one, returns how many others are open at the peer.
    fn end(&mut self, peer: PeerKey, file: FileKey, chunk: ChunkIndex) -> Option<u32> {
        let of_file = self.files.get_mut(&file)?;
        let link = of_file.link_mut(peer)?;
        let at = link.open.iter().position(|open| *open == chunk)?;
        link.open.swap_remove(at);
        let asked = of_file.chunks.get_mut(&chunk).expect("open at a link: `open` adds to both");
        let at = asked.iter().position(|asked| asked.peer == peer);
        let Asked { len, .. } = asked.remove(at.expect("open at a link: `open` adds to both"));
        if asked.is_empty() {
            of_file.chunks.remove(&chunk);
        }
        self.slots.release(len);
        let of_peer = self.peers.get_mut(&peer).expect("open at a link: `open` adds to both");
        of_peer.open.remove(len);
        let (trust, others) = (of_peer.trust, of_peer.open.chunks);
        self.counted(trust, |counted| counted.remove(len));
        Some(others)
    }

    /// Changes the sums that a connection with this trust counts for.
    fn counted(&mut self, trust: Trust, change: impl Fn(&mut InFlight)) {
        if trust != Trust::Proven {
            change(&mut self.unproven);
        }
        if trust == Trust::Late {
            change(&mut self.late);
        }
    }

    /// From now on room for `bytes` in chunks of `len`; see [`Slots::widen_to`].
    pub(crate) fn widen_to(&mut self, bytes: u64, len: u32) {
        self.slots.widen_to(bytes, len);
    }

    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Whether a chunk of `len` bytes may be requested, with limits larger by so many thousandths.
    /// Chunks at late connections leave room for others. Those at all unproven connections leave
    /// part of it for a proven one.
    pub(crate) fn has_room(&self, len: u32, is_proven: bool, per_mille: u32) -> bool {
        let mut besides = self.late;
        if is_proven && self.unproven.chunks > self.late.chunks {
            let probes = self.unproven.without(self.late);
            besides = besides + probes.beyond(self.slots.capacity(len) / PROBES_AT_MOST);
        }
        self.slots.has_room_besides(besides, len, per_mille)
    }

    /// What is open at connections that are not proven.
    pub(crate) fn unproven(&self) -> InFlight {
        self.unproven
    }

    /// What is open at connections that are late.
    pub(crate) fn late(&self) -> InFlight {
        self.late
    }

    pub(crate) fn of_file(&self, file: FileKey) -> &FileRequests {
        self.files.get(&file).unwrap_or(&NO_FILE_REQUESTS)
    }

    pub(crate) fn of_link(&self, peer: PeerKey, file: FileKey) -> &LinkRequests {
        self.of_file(file).of_link(peer)
    }

    /// What is open at a peer.
    pub(crate) fn open_at(&self, peer: PeerKey) -> InFlight {
        self.peers.get(&peer).map_or(InFlight::default(), |peer| peer.open)
    }

    pub(crate) fn has_open_at(&self, peer: PeerKey) -> bool {
        self.open_at(peer).chunks > 0
    }

    /// Whether the final answer to a withdrawn request is to come from a peer.
    pub(crate) fn has_withdrawn_at(&self, peer: PeerKey) -> bool {
        self.peers.get(&peer).is_some_and(|peer| peer.withdrawn > 0)
    }

    #[cfg(any(test, feature = "check"))]
    pub(crate) fn trust_in(&self, peer: PeerKey) -> Option<Trust> {
        self.peers.get(&peer).map(|peer| peer.trust)
    }
}

impl FileRequests {
    pub(crate) fn has_open(&self) -> bool {
        !self.chunks.is_empty()
    }

    fn find(&self, peer: PeerKey) -> Result<usize, usize> {
        self.links.binary_search_by_key(&peer, |(peer, _)| *peer)
    }

    fn link_mut(&mut self, peer: PeerKey) -> Option<&mut LinkRequests> {
        let at = self.find(peer).ok()?;
        Some(&mut self.links[at].1)
    }

    fn link_made(&mut self, peer: PeerKey) -> &mut LinkRequests {
        let at = self.find(peer).unwrap_or_else(|at| {
            self.links.insert(at, (peer, LinkRequests::default()));
            at
        });
        &mut self.links[at].1
    }

    pub(crate) fn of_link(&self, peer: PeerKey) -> &LinkRequests {
        self.find(peer).map_or(&NO_LINK_REQUESTS, |at| &self.links[at].1)
    }

    /// The open requests for a chunk.
    pub(crate) fn of_chunk(&self, chunk: ChunkIndex) -> &[Asked] {
        self.chunks.get(&chunk).map(Vec::as_slice).unwrap_or_default()
    }

    /// Chunks with one open request, by their numbers.
    pub(crate) fn asked_once(&self) -> impl Iterator<Item = (ChunkIndex, Asked)> {
        self.chunks.iter().filter_map(|(chunk, asked)| match asked[..] {
            [only] => Some((*chunk, only)),
            _ => None,
        })
    }

    /// These links of the file, each with its requests.
    pub(crate) fn join<'a>(
        &'a self,
        links: &'a BTreeMap<PeerKey, Box<Link>>,
    ) -> impl Iterator<Item = (PeerKey, &'a Link, &'a LinkRequests)> {
        // Both are ordered by peer, and each peer here has a link.
        let mut asked = self.links.as_slice();
        links.iter().map(move |(peer, link)| match asked {
            [(first, requests), rest @ ..] if first == peer => {
                asked = rest;
                (*peer, &**link, requests)
            }
            _ => (*peer, &**link, &NO_LINK_REQUESTS),
        })
    }
}

impl LinkRequests {
    pub(crate) fn open(&self) -> &[ChunkIndex] {
        &self.open
    }

    /// How many final answers are to come.
    pub(crate) fn unanswered(&self) -> usize {
        self.open.len() + self.withdrawn.len()
    }

    /// Whether a final answer about the chunk is to come.
    pub(crate) fn awaits(&self, chunk: ChunkIndex) -> bool {
        self.withdrawn.iter().any(|(withdrawn, _)| *withdrawn == chunk)
            || self.open.contains(&chunk)
    }
}

#[cfg(test)]
mod tests;
