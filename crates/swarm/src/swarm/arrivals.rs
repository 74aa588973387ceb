//! Chunks that arrive: stored once, announced after that, and blamed on their sender when their sum
//! is wrong. And chunks that were on the disk from the beginning: announced once they are verified.

use std::time::Duration;

use tnet_fileinfo::ChunkIndex;
use tnet_proto::FileHandle;

use super::Swarm;
use super::answers::{DOUBLED, DOUBLED_FOR_CORRUPT};
use super::caller_admission::Proof;
use super::connections::Peer;
use crate::Time;
use crate::chunks::ChunkState;
use crate::file::{Again, Sender};
use crate::io::{Event, Output, Violation};
use crate::request_book::{Settled, Withdrawal};
use crate::timers::Timer;
use crate::{FileKey, PeerKey};
use tnet_sources::Offence;

/// Chunks until which announcements wait less.
const FEW_CHUNKS: u32 = 64;

impl<B> Swarm<B> {
    pub(super) fn on_data_received(&mut self, now: Time, peer: PeerKey, bytes: u32) {
        if let Some(connection) = self.peers.get_mut(&peer) {
            connection.heard = now;
            connection.window_bytes += u64::from(bytes);
            connection.in_chunk += u64::from(bytes);
            connection.received += u64::from(bytes);
        }
    }

    pub(super) fn on_chunk_arrived(
        &mut self,
        now: Time,
        peer: PeerKey,
        handle: FileHandle,
        chunk: u32,
        body: B,
    ) {
        if !self.peers.contains_key(&peer) {
            return;
        }
        let Some((file, chunk)) = self.resolve_or_cut(now, peer, handle, chunk) else { return };
        self.note_download(now, peer, file, chunk);
        if self.settle(peer, file, chunk) == Settled::Unrequested {
            return self.cut(now, peer, Violation::Unrequested(chunk.get()));
        }
        self.on_delivered(peer);
        self.accept_chunk(peer, file, chunk, body);
        self.fill_downloads(now);
    }

    /// How long the chunk took, if it was asked for and is not given up, and how fast such chunks
    /// come.
    fn note_download(&mut self, now: Time, peer: PeerKey, file: FileKey, chunk: ChunkIndex) {
        let Some(state) = self.files.get(file) else { return };
        let mut requests = self.requests.of_file(file).of_chunk(chunk).iter();
        if let Some(asked) = requests.find(|asked| asked.peer == peer) {
            let len = state.geometry.chunk_len(chunk);
            self.uplink.downloaded(len, now - asked.since);
            if let Some(bytes) = self.received.passed(now, len, self.config.slot_turnover_time) {
                self.requests.widen_to(bytes, len);
            }
        }
    }

    /// Stores a chunk that is not here yet, whichever peer was asked for it last.
    fn accept_chunk(&mut self, peer: PeerKey, file: FileKey, chunk: ChunkIndex, body: B) {
        let (Some(state), Some(Peer { source, address, .. })) =
            (self.files.get_mut(file), self.peers.get(&peer))
        else {
            return;
        };
        let known = state.download.as_ref().map(|download| download.chunks.state(chunk));
        if !matches!(known, Some(ChunkState::Missing | ChunkState::Requested)) {
            state.stats.duplicate += 1;
            return;
        }
        state.stats.arrived += 1;
        let sender = Sender { peer, source: *source, address: *address };
        self.files.begin_storing(file, chunk, sender);
        // Other sources need not send it.
        let asked = self.requests.of_file(file).of_chunk(chunk).iter();
        let others: Vec<PeerKey> = asked.map(|asked| asked.peer).collect();
        for other in others {
            self.withdraw(other, file, chunk, Withdrawal::Surplus);
        }
        self.output(Output::Store { peer, file, chunk, body });
    }

    pub(super) fn on_chunk_stored(&mut self, now: Time, file: FileKey, chunk: ChunkIndex) {
        let sender = self.files.end_storing(file, chunk);
        let Some(download) = self.files.download_mut(file).filter(|_| sender.is_some()) else {
            return;
        };
        download.chunks.set(chunk, ChunkState::Stored);
        download.failures.remove(&chunk);
        download.unannounced.push(chunk);
        if let Some(Sender { peer, source, address }) = sender {
            self.on_verified(now, peer, source);
            self.caller_admission.prove(now, peer, Proof::Sent);
            if let Some(address) = address {
                self.addresses.confirm(address, peer, now);
            }
        }
        self.on_more_stored(now, file);
    }

    pub(super) fn on_chunks_verified(&mut self, now: Time, file: FileKey, chunks: &[ChunkIndex]) {
        let Some(state) = self.files.get_mut(file) else { return };
        let Some(download) = &mut state.download else { return };
        let mut is_news = false;
        for chunk in chunks {
            if download.chunks.state(*chunk) == ChunkState::Vouched {
                download.chunks.set(*chunk, ChunkState::Stored);
                download.unannounced.push(*chunk);
                is_news = true;
            }
        }
        if is_news {
            self.on_more_stored(now, file);
        }
    }

    fn on_more_stored(&mut self, now: Time, file: FileKey) {
        let download = self.files.download(file);
        if download.is_some_and(|download| download.chunks.stored().is_full()) {
            self.on_complete(now, file);
        } else {
            self.announce_soon(now, file);
        }
        self.fill_downloads(now);
        self.offer_slots(now);
    }

    /// A stored chunk waits for others to be announced with it, until they are a small part of the
    /// file or it has waited long. A peer with few chunks has little else to give: in a young swarm
    /// an announcement that is late by a few chunks' time leaves uplinks idle.
    pub(super) fn announce_soon(&mut self, now: Time, file: FileKey) {
        let state = &self.files[&file];
        let Some(download) = &state.download else { return };
        let stored = state.geometry.chunk_count() - download.chunks.unstored();
        let batch = state.geometry.chunk_count() / self.config.have_batch_divisor.max(1);
        let delay =
            match u32::try_from(download.unannounced.len()).is_ok_and(|waiting| waiting < batch) {
                true => self.config.have_delay * stored.min(FEW_CHUNKS) / FEW_CHUNKS,
                false => Duration::ZERO,
            };
        self.timers.arm(Timer::Announce(file), now + delay);
    }

    pub(super) fn on_chunk_corrupt(
        &mut self,
        now: Time,
        file: FileKey,
        chunk: ChunkIndex,
        peer: PeerKey,
    ) {
        let state = self.files.get_mut(file);
        let gone = state.and_then(|state| {
            state.stats.corrupt += 1;
            state.download.as_mut()?.senders.get(&chunk).copied()
        });
        let connected = self.peers.get(&peer);
        let address = connected.map_or(gone.and_then(|sender| sender.address), |peer| peer.address);
        let source = connected.map(|peer| peer.source).or(gone.map(|sender| sender.source));
        self.output(Output::Event(Event::CorruptChunk { file, chunk, address }));
        self.tell_corrupt(peer, file, chunk);
        self.change_trust(peer, |connection| connection.is_proven = false);
        if let Some(source) = source {
            self.offend(now, source, Offence::Corrupt);
        }
        self.unstore(now, file, chunk, Some(peer));
        // Counted by address too: neither reconnecting nor leaving before the sum is known helps.
        // But a peer that only declares the port of a connected one brings no strike on that one.
        let by_address = address.filter(|address| !self.is_of_another(*address, peer));
        let by_address = by_address.map_or(0, |address| self.addresses.strike(address));
        let by_connection = self.peers.get_mut(&peer).map_or(0, |connection| {
            connection.corrupt += 1;
            connection.corrupt
        });
        if by_connection.max(by_address) >= self.config.strikes_to_ban {
            self.ban(now, peer, address);
        }
        self.fill_downloads(now);
    }

    pub(super) fn on_chunks_lost(&mut self, now: Time, file: FileKey, chunks: &[ChunkIndex]) {
        let Some(state) = self.files.get(file) else { return };
        if state.download.is_none() {
            self.on_incomplete(now, file, chunks);
        } else {
            let was_only_unverified = self.is_only_unverified(file);
            let mut is_known_to_others = false;
            for chunk in chunks {
                is_known_to_others |= self.unstore(now, file, *chunk, None);
            }
            if is_known_to_others {
                self.open_again(file);
            }
            if was_only_unverified {
                // Nothing was wanted of any peer until now.
                self.ask_sooner_if_alone(now, file);
            }
        }
        self.fill_downloads(now);
    }

    /// A chunk that was stored or about to be is missing after all, maybe because `corrupt_sender`
    /// sent wrong bytes. Returns whether others were told that we have it.
    fn unstore(
        &mut self,
        now: Time,
        file: FileKey,
        chunk: ChunkIndex,
        corrupt_sender: Option<PeerKey>,
    ) -> bool {
        let Some(state) = self.files.get_mut(file) else { return false };
        let Some(download) = &mut state.download else { return false };
        let mut is_known_to_others = false;
        match download.chunks.state(chunk) {
            ChunkState::Missing | ChunkState::Requested => return false,
            // No attempt of this process has failed: it is like any other missing chunk.
            ChunkState::Vouched => {
                state.put_missing(chunk, Again::Listed, &mut self.rng);
                return false;
            }
            ChunkState::Storing => drop(self.files.end_storing(file, chunk)),
            ChunkState::Stored => {
                let waiting = download.unannounced.iter().position(|stored| *stored == chunk);
                is_known_to_others =
                    waiting.map(|at| download.unannounced.swap_remove(at)).is_none();
            }
        }
        let doubled = if corrupt_sender.is_some() { DOUBLED_FOR_CORRUPT } else { DOUBLED };
        let again = self.count_failure(now, file, chunk, corrupt_sender, doubled);
        let state = self.files.get_mut(file).expect("borrowed above");
        state.put_missing(chunk, again, &mut self.rng);
        is_known_to_others
    }
}
