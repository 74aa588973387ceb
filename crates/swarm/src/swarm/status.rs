//! What the core knows, for people: read-only pictures of files, peers and slots.

use std::net::SocketAddr;

use tnet_fileinfo::ChunkIndex;
use tnet_proto::PeerId;

use super::Swarm;
use crate::Time;
use crate::chunk_map::{ChunkCell, chunk_map};
use crate::chunks::ChunkState;
use crate::file::FileStats;
use crate::io::Direction;
use crate::link::PeerHas;
use crate::{FileKey, PeerKey};

/// Neighbours with which a download does without news of further holders.
const ENOUGH_NEIGHBOURS: usize = 16;

/// One file. Exhaustive, like all snapshots: only this crate makes one, and callers only read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSnapshot {
    /// Chunks in all.
    pub chunks: u32,
    /// Chunks verified and on disk.
    pub stored: u32,
    /// Chunks on disk from the beginning whose sums are not compared yet.
    pub vouched: u32,
    /// Chunks asked for.
    pub requested: u32,
    /// Chunks being verified and written.
    pub storing: u32,
    /// Peers connected in its swarm.
    pub peers: u32,
    /// Those of them that have all of it.
    pub full_peers: u32,
    /// Those that said they have no slot for us now.
    pub busy_peers: u32,
    /// Addresses known for its swarm.
    pub addresses: u32,
    /// Those of them that had no place for us when we called last.
    pub full_addresses: u32,
    /// Counters since it was added.
    pub stats: FileStats,
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSnapshot {
    /// Which.
    pub peer: PeerKey,
    /// The other side's id.
    pub id: PeerId,
    /// Where it accepts peers.
    pub address: Option<SocketAddr>,
    /// Which side called.
    pub direction: Direction,
    /// Files in common.
    pub files: u32,
    /// Requests open at it.
    pub open_requests: u32,
    /// Bytes of chunks received from it.
    pub received: u64,
    /// Chunks sent to it.
    pub sent_chunks: u64,
    /// Corrupt chunks received from it.
    pub corrupt: u32,
    /// It is not asked because it did not deliver.
    pub stalled: bool,
}

/// Slots in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotSnapshot {
    /// Chunks being sent, kept slots included.
    pub uploads: u32,
    /// Peers waiting for a slot.
    pub waiting: u32,
    /// Requests open.
    pub downloads: u32,
    /// Bytes of the requests open.
    pub download_bytes: u64,
    /// Bytes arrived and not in the file yet.
    pub storing_bytes: u64,
    /// Bytes of the chunks being sent.
    pub upload_bytes: u64,
    /// Uploads at most, of chunks as long as those under way.
    pub uploads_most: u32,
    /// Requests at most, of chunks as long as those asked for; those that only an offer can open
    /// are counted.
    pub downloads_most: u32,
}

impl<B> Swarm<B> {
    /// A picture of one file.
    pub fn file_status(&self, file: FileKey, now: Time) -> Option<FileSnapshot> {
        let state = self.files.get(file)?;
        let chunks = state.geometry.chunk_count();
        let download = state.download.as_ref();
        let count = |counted: usize| u32::try_from(counted).unwrap_or(u32::MAX);
        Some(FileSnapshot {
            chunks,
            stored: download.map_or(chunks, |download| download.chunks.stored().count()),
            vouched: download.map_or(0, |download| download.chunks.vouched()),
            requested: download.map_or(0, |download| download.chunks.requested()),
            storing: download.map_or(0, |download| download.chunks.storing()),
            peers: count(state.links.len()),
            full_peers: count(state.links.values().filter(|link| link.held.is_full()).count()),
            busy_peers: count(state.links.values().filter(|link| link.is_busy(now)).count()),
            addresses: count(self.addresses.known(file)),
            full_addresses: count(self.addresses.full(file)),
            stats: state.stats,
        })
    }

    /// Where in a file its chunks are, in at most so many cells; none of a file that lacks nothing.
    pub fn chunk_map(&self, file: FileKey, most_cells: u32) -> Option<Vec<ChunkCell>> {
        let chunks = &self.files.download(file)?.chunks;
        Some(chunk_map(chunks.stored(), chunks.taken(), most_cells))
    }

    /// Whether a chunk of a file can be served.
    pub fn holds(&self, file: FileKey, chunk: ChunkIndex) -> bool {
        self.files.get(file).is_some_and(|state| state.holds(chunk))
    }

    /// Chunks of a file that can be served.
    pub fn stored_chunks(&self, file: FileKey) -> Option<u32> {
        let state = self.files.get(file)?;
        let chunks = state.geometry.chunk_count();
        Some(state.download.as_ref().map_or(chunks, |download| download.chunks.stored().count()))
    }

    /// Chunks of a file that are asked for. Cheap, as are the next four: they may be asked after
    /// each input.
    pub fn open_requests(&self, file: FileKey) -> u32 {
        let download = self.files.download(file);
        download.map_or(0, |download| download.chunks.requested())
    }

    /// Chunks of a file that arrived and are being verified and written.
    pub fn storing_chunks(&self, file: FileKey) -> u32 {
        let download = self.files.download(file);
        download.map_or(0, |download| download.chunks.storing())
    }

    /// Whether nothing of a file is missing or on its way here, and some of it is still to be
    /// verified on the disk.
    pub fn is_only_unverified(&self, file: FileKey) -> bool {
        let download = self.files.download(file);
        download.is_some_and(|download| {
            let chunks = &download.chunks;
            chunks.vouched() > 0 && chunks.unstored() == chunks.vouched()
        })
    }

    /// Whether a connected peer holds a missing chunk of the file, busy or not.
    pub fn has_source(&self, file: FileKey) -> bool {
        let Some(state) = self.files.get(file) else { return false };
        state.download.is_some() && state.links.values().any(|link| link.wanted > 0)
    }

    /// Whether one of those would be asked: it is not waited for in vain already.
    pub fn has_prompt_source(&self, file: FileKey) -> bool {
        let Some(state) = self.files.get(file) else { return false };
        let is_prompt = |peer: &PeerKey| self.peers.get(peer).is_some_and(|peer| !peer.is_stalled);
        state.download.is_some()
            && state.links.iter().any(|(peer, link)| link.wanted > 0 && is_prompt(peer))
    }

    /// Whether the requests open, of all files, leave no slot for one more chunk of this one.
    pub fn is_out_of_slots(&self, file: FileKey) -> bool {
        self.files
            .get(file)
            .is_some_and(|state| !self.requests.slots().has_room(state.longest_chunk()))
    }

    /// How many peers of the file's swarm we are connected to.
    pub fn neighbours(&self, file: FileKey) -> usize {
        self.files.get(file).map_or(0, |state| state.links.len())
    }

    /// Whether news of holders is wanted: chunks are fetched, and there are fewer neighbours than a
    /// download wants.
    pub fn needs_holders(&self, file: FileKey) -> bool {
        self.files.is_incomplete(file) && self.neighbours(file) < ENOUGH_NEIGHBOURS
    }

    /// Missing chunks that no connected peer holds.
    pub fn chunks_without_holder(&self, file: FileKey) -> Vec<ChunkIndex> {
        let Some(state) = self.files.get(file) else { return Vec::new() };
        let Some(download) = &state.download else { return Vec::new() };
        let missing = state
            .geometry
            .chunks()
            .filter(|chunk| download.chunks.state(*chunk) == ChunkState::Missing);
        missing
            .filter(|chunk| !state.links.values().any(|link| link.held.contains(*chunk)))
            .collect()
    }

    /// How much of a file each connected peer of its swarm holds, in chunks.
    pub fn holdings(&self, file: FileKey) -> Vec<(PeerKey, u32)> {
        let Some(state) = self.files.get(file) else { return Vec::new() };
        let held = |held: &PeerHas| match held {
            PeerHas::Full => state.geometry.chunk_count(),
            PeerHas::Part(chunks) => chunks.count(),
        };
        state.links.iter().map(|(peer, link)| (*peer, held(&link.held))).collect()
    }

    /// Pictures of all connections.
    pub fn peer_status(&self) -> Vec<PeerSnapshot> {
        let pictures = self.peers.iter().map(|(key, peer)| PeerSnapshot {
            peer: *key,
            id: peer.id,
            address: peer.address,
            direction: peer.direction,
            files: u32::try_from(peer.links.len()).unwrap_or(u32::MAX),
            open_requests: self.requests.open_at(*key).chunks,
            received: peer.received,
            sent_chunks: peer.sent_chunks,
            corrupt: peer.corrupt,
            stalled: peer.is_stalled,
        });
        pictures.collect()
    }

    /// Slots in use.
    pub fn slot_status(&self) -> SlotSnapshot {
        SlotSnapshot {
            uploads: self.uploads.slots().used(),
            waiting: u32::try_from(self.uploads.waiting().len()).unwrap_or(u32::MAX),
            downloads: self.requests.slots().used(),
            download_bytes: self.requests.slots().used_bytes(),
            storing_bytes: self.files.storing_bytes(),
            upload_bytes: self.uploads.slots().used_bytes(),
            uploads_most: self.uploads.slots().most(0),
            downloads_most: self.requests.slots().most(self.config.extra_offer_slots_per_mille),
        }
    }

    /// Whether this connection is kept.
    #[cfg(test)]
    pub(super) fn is_connected(&self, peer: PeerKey) -> bool {
        self.peers.contains_key(&peer)
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.peers.len()
    }

    /// How many addresses are remembered.
    pub fn known_addresses(&self) -> usize {
        self.addresses.known_in_all()
    }
}
