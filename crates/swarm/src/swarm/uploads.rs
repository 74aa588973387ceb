//! Upload slots, and the peers that wait for one.
//!
//! Invariants: each slot is used by a chunk under way or reserved for one peer, and its bytes are
//! counted once. A peer has at most one reservation, and waits in line at most once.

use std::collections::{BTreeMap, VecDeque};

use tnet_fileinfo::ChunkIndex;

use crate::Time;
use crate::config::SlotLimits;
use crate::slots::Slots;
use crate::{FileKey, PeerKey};

#[derive(Debug)]
pub(super) struct Uploads {
    slots: Slots,
    active: BTreeMap<(PeerKey, FileKey, ChunkIndex), Active>,
    reserved: BTreeMap<PeerKey, Reservation>,
    /// First in line first; the peers are those in `waiting`.
    line: VecDeque<PeerKey>,
    waiting: BTreeMap<PeerKey, (FileKey, ChunkIndex)>,
}

/// A chunk being sent. It keeps its slot until its end is reported, also when it was told to stop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Active {
    pub(super) len: u32,
    pub(super) since: Time,
    is_stopping: bool,
    /// The peer has said that the chunk is wrong. Its last byte may have arrived before we hear
    /// that it was sent.
    pub(super) is_doubted: bool,
}

/// A slot kept for a peer that was told it is free.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reservation {
    pub(super) file: FileKey,
    pub(super) chunk: ChunkIndex,
    pub(super) len: u32,
    /// The chunk was marked as spread when it was suggested.
    pub(super) suggested: bool,
    /// The peer has asked for something since.
    pub(super) is_heeded: bool,
}

impl Uploads {
    pub(super) fn new(limits: SlotLimits) -> Uploads {
        Uploads {
            slots: Slots::new(limits),
            active: BTreeMap::new(),
            reserved: BTreeMap::new(),
            line: VecDeque::new(),
            waiting: BTreeMap::new(),
        }
    }

    pub(super) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// From now on at most so many chunks; see [`Slots::narrow_to`].
    pub(super) fn narrow_to(&mut self, chunks: u32) {
        self.slots.narrow_to(chunks);
    }

    /// From now on room for `bytes` in chunks of `len`; see [`Slots::widen_to`].
    pub(super) fn widen_to(&mut self, bytes: u64, len: u32) {
        self.slots.widen_to(bytes, len);
    }

    /// A chunk that is not being sent to the peer starts.
    pub(super) fn start(
        &mut self,
        now: Time,
        peer: PeerKey,
        file: FileKey,
        chunk: ChunkIndex,
        len: u32,
    ) {
        let active = Active { len, since: now, is_stopping: false, is_doubted: false };
        let before = self.active.insert((peer, file, chunk), active);
        debug_assert!(before.is_none(), "chunk {chunk} is sent to {peer:?} twice");
        self.slots.take(len);
    }

    pub(super) fn end(
        &mut self,
        peer: PeerKey,
        file: FileKey,
        chunk: ChunkIndex,
    ) -> Option<Active> {
        let active = self.active.remove(&(peer, file, chunk))?;
        self.slots.release(active.len);
        Some(active)
    }

    pub(super) fn active(&self, peer: PeerKey, file: FileKey, chunk: ChunkIndex) -> Option<Active> {
        self.active.get(&(peer, file, chunk)).copied()
    }

    /// Notes that a chunk under way is to be stopped. Returns whether that is news.
    pub(super) fn stop(&mut self, peer: PeerKey, file: FileKey, chunk: ChunkIndex) -> bool {
        let active = self.active.get_mut(&(peer, file, chunk));
        active.is_some_and(|active| !std::mem::replace(&mut active.is_stopping, true))
    }

    /// Notes that the receiver says that a chunk is wrong. Returns whether it is under way.
    pub(super) fn doubt(&mut self, peer: PeerKey, file: FileKey, chunk: ChunkIndex) -> bool {
        let active = self.active.get_mut(&(peer, file, chunk));
        active.is_some_and(|active| {
            active.is_doubted = true;
            true
        })
    }

    /// What is being sent to a peer.
    pub(super) fn active_of(
        &self,
        peer: PeerKey,
    ) -> impl Iterator<Item = (FileKey, ChunkIndex)> + '_ {
        let of_peer = self.active.keys().skip_while(move |(other, ..)| *other < peer);
        of_peer
            .take_while(move |(other, ..)| *other == peer)
            .map(|(_, file, chunk)| (*file, *chunk))
    }

    /// Chunks of a file that are being sent, and to which peers.
    pub(super) fn active_in(
        &self,
        file: FileKey,
    ) -> impl Iterator<Item = (PeerKey, ChunkIndex)> + '_ {
        let of_file = self.active.keys().filter(move |(_, other, _)| *other == file);
        of_file.map(|(peer, _, chunk)| (*peer, *chunk))
    }

    pub(super) fn is_serving(&self, peer: PeerKey) -> bool {
        self.active_of(peer).next().is_some()
    }

    /// Whether a chunk of this file is being sent to the peer.
    pub(super) fn is_sending(&self, peer: PeerKey, file: FileKey) -> bool {
        self.active_of(peer).any(|(other, _)| other == file)
    }

    /// Chunks of a file that are being sent or were suggested to a peer that may still ask for
    /// them.
    pub(super) fn promised(&self, file: FileKey) -> impl Iterator<Item = ChunkIndex> + '_ {
        let suggested =
            self.reserved.values().filter(move |kept| kept.file == file && kept.suggested);
        self.active_in(file).map(|(_, chunk)| chunk).chain(suggested.map(|kept| kept.chunk))
    }

    /// Keeps a slot for a peer that has none kept. It does not wait any more.
    pub(super) fn reserve(&mut self, peer: PeerKey, reservation: Reservation) {
        self.stop_waiting(peer);
        self.slots.take(reservation.len);
        let before = self.reserved.insert(peer, reservation);
        debug_assert!(before.is_none(), "two slots are kept for {peer:?}");
    }

    pub(super) fn end_reservation(&mut self, peer: PeerKey) -> Option<Reservation> {
        let reservation = self.reserved.remove(&peer)?;
        self.slots.release(reservation.len);
        Some(reservation)
    }

    pub(super) fn reservation(&self, peer: PeerKey) -> Option<Reservation> {
        self.reserved.get(&peer).copied()
    }

    /// The peer for which a slot is kept asks for something.
    pub(super) fn heed(&mut self, peer: PeerKey) -> Option<Reservation> {
        let kept = self.reserved.get_mut(&peer)?;
        kept.is_heeded = true;
        Some(*kept)
    }

    /// What is suggested of a file is a suggestion no more: the slot is kept for any chunk.
    pub(super) fn forget_suggestions(&mut self, file: FileKey) {
        let kept = self.reserved.values_mut().filter(|kept| kept.file == file);
        kept.for_each(|kept| kept.suggested = false);
    }

    /// Peers for which a slot is kept.
    pub(super) fn reserved(&self) -> impl Iterator<Item = PeerKey> + '_ {
        self.reserved.keys().copied()
    }

    pub(super) fn wait(&mut self, peer: PeerKey, file: FileKey, chunk: ChunkIndex) {
        if self.waiting.insert(peer, (file, chunk)).is_none() {
            self.line.push_back(peer);
        }
    }

    pub(super) fn stop_waiting(&mut self, peer: PeerKey) {
        if self.waiting.remove(&peer).is_some() {
            self.line.retain(|other| *other != peer);
        }
    }

    /// What the peer waits for.
    pub(super) fn waits_for(&self, peer: PeerKey) -> Option<(FileKey, ChunkIndex)> {
        self.waiting.get(&peer).copied()
    }

    /// Peers that wait, by their numbers.
    pub(super) fn waiting(&self) -> impl ExactSizeIterator<Item = PeerKey> + '_ {
        self.waiting.keys().copied()
    }

    /// Those for which no slot is kept already, first in line first.
    pub(super) fn in_line(&self) -> impl Iterator<Item = (PeerKey, FileKey, ChunkIndex)> + '_ {
        let without = self.line.iter().filter(|peer| !self.reserved.contains_key(peer));
        without.map(|peer| {
            let (file, chunk) = self.waiting[peer];
            (*peer, file, chunk)
        })
    }

    /// All peers that have a slot or wait for one.
    #[cfg(any(test, feature = "check"))]
    pub(super) fn peers(&self) -> impl Iterator<Item = PeerKey> + '_ {
        let active = self.active.keys().map(|(peer, ..)| *peer);
        active.chain(self.reserved()).chain(self.waiting())
    }
}

#[cfg(test)]
mod tests;
