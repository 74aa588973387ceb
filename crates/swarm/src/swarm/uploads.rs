//! The book of upload slots and of those who wait for one. A slot is used by a chunk under way or
//! kept for one peer; each peer is in line at most once.

use std::collections::{BTreeMap, VecDeque};

use tnet_fileinfo::ChunkIndex;

use crate::Time;
use crate::config::SlotLimits;
use crate::io::{FileKey, PeerKey};
use crate::slots::Slots;

#[derive(Debug)]
pub(super) struct Uploads {
    pub(super) slots: Slots,
    pub(super) active: BTreeMap<(PeerKey, FileKey, ChunkIndex), Active>,
    pub(super) reserved: BTreeMap<PeerKey, Reservation>,
    /// First in line first; every peer here is in `waiting`, and once.
    pub(super) line: VecDeque<PeerKey>,
    pub(super) waiting: BTreeMap<PeerKey, (FileKey, ChunkIndex)>,
}

/// A chunk being sent. It keeps its slot until its end is reported, also when it was told to stop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Active {
    pub(super) len: u32,
    pub(super) since: Time,
    pub(super) is_stopping: bool,
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

    pub(super) fn is_serving(&self, peer: PeerKey) -> bool {
        self.active_of(peer).next().is_some()
    }

    /// Whether a chunk of this file is being sent to the peer.
    pub(super) fn is_sending(&self, peer: PeerKey, file: FileKey) -> bool {
        self.active_of(peer).any(|(other, _)| other == file)
    }

    pub(super) fn active_of(
        &self,
        peer: PeerKey,
    ) -> impl Iterator<Item = (FileKey, ChunkIndex)> + '_ {
        let of_peer = self.active.keys().skip_while(move |(other, ..)| *other < peer);
        of_peer
            .take_while(move |(other, ..)| *other == peer)
            .map(|(_, file, chunk)| (*file, *chunk))
    }

    /// Chunks of a file that are being sent or were suggested to somebody who may still come for
    /// them.
    pub(super) fn promised(&self, file: FileKey) -> impl Iterator<Item = ChunkIndex> + '_ {
        let active = self
            .active
            .keys()
            .filter(move |(_, other, _)| *other == file)
            .map(|(.., chunk)| *chunk);
        let suggested =
            self.reserved.values().filter(move |kept| kept.file == file && kept.suggested);
        active.chain(suggested.map(|kept| kept.chunk))
    }

    pub(super) fn waiting(&self) -> usize {
        self.line.len()
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

    /// Those for whom no slot is kept already, first in line first.
    pub(super) fn in_line(&self) -> impl Iterator<Item = (PeerKey, FileKey, ChunkIndex)> + '_ {
        let without = self.line.iter().filter(|peer| !self.reserved.contains_key(peer));
        without.map(|peer| {
            let (file, chunk) = self.waiting[peer];
            (*peer, file, chunk)
        })
    }
}
