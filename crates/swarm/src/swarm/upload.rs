//! Serving requests. A request gets an upload slot or `Busy`; there is no chunk queue.
//!
//! Busy peers wait in line. A freed slot is reserved for the first of them, which is told by
//! `Ready`, or by `Suggest` while a full seed has unsent chunks.
//!
//! A free rider, a peer that received the file twice without announcing any of it, is served last:
//! it passes nothing on.

use tnet_fileinfo::ChunkIndex;
use tnet_proto::{FileHandle, PeerMessage};

use super::Swarm;
use super::caller_admission::Proof;
use super::uploads::Reservation;
use crate::Time;
use crate::io::Output;
use crate::link::{GIVEN_AT_ONCE, PeerHas};
use crate::rate_limiter::TransferDirection::Up;
use crate::timers::Timer;
use crate::{FileKey, PeerKey, UploadEnd};

/// Chunks under way to one peer: at least and at most, whatever its share is.
const PER_PEER: (usize, usize) = (2, 32);

/// At most this part of the slots is reserved for newcomers, peers that never took a chunk.
const NEWCOMERS_PART: usize = 4;

/// Times that a peer which announces nothing receives the file before it is served last.
const FREE_RIDER_COPIES: u64 = 2;

/// Suggestions that a peer gives back before it gets what it asks for. Else what we would rather
/// give and what it would rather have could go back and forth for ever. The first one it may give
/// back for want of a slot.
pub(super) const MAX_DECLINED: u32 = 8;

impl<B> Swarm<B> {
    pub(super) fn on_request(&mut self, now: Time, peer: PeerKey, handle: FileHandle, chunk: u32) {
        let (file, chunk) = match self.resolve(peer, handle, chunk) {
            Err(violation) => return self.cut(now, peer, violation),
            // We dropped the file; our close is on its way and takes care of the request.
            Ok(None) => return,
            Ok(Some(found)) => found,
        };
        let state = self.files.get_mut(file).expect("resolve found it");
        if !state.holds(chunk) {
            self.send(peer, PeerMessage::Refused { file: file.handle(), chunk: chunk.get() });
            return;
        }
        if let Some(link) = state.links.get_mut(&peer) {
            link.has_asked = true;
        }
        if let Some(connection) = self.peers.get_mut(&peer) {
            connection.links.note_use(file);
        }
        // Asking again for what is being sent is answered by its end.
        if self.uploads.active(peer, file, chunk).is_some() {
            return;
        }
        let is_invited = self.accept_invitation(peer, file, chunk);
        // Room for the longest chunk: it may become another one.
        let has_to_wait = self.has_its_share(peer, file)
            || !self.rate_limiter.allows(now, Up, file)
            || self.is_free_rider(now, peer, file) && self.others_wait(now, peer);
        let is_full = !is_invited && has_to_wait
            || !self.uploads.slots().has_room(self.files[&file].longest_chunk());
        if is_full || !is_invited && self.is_better_suggested(peer, file, chunk) {
            if is_invited {
                // It counted as given away.
                self.unspread(file, chunk);
            }
            self.refuse_busy(peer, file, chunk);
        } else if !is_invited && let Some(better) = self.better_chunk(peer, file, chunk) {
            self.refuse_busy(peer, file, chunk);
            self.reserve(now, peer, file, better, true);
        } else {
            self.upload(now, peer, file, chunk);
        }
        self.grant_slots(now);
    }

    /// Whether as much is under way to the peer as it may have while others want something: its
    /// share of the slots, with one share left for the next receiver. Else the first receiver of a
    /// new file takes all slots of the seed, and the others wait until it has all that.
    fn has_its_share(&self, peer: PeerKey, file: FileKey) -> bool {
        // No share is less than this: then receivers need not be counted.
        if self.peers.get(&peer).is_some_and(|connection| (connection.slots as usize) < PER_PEER.0)
        {
            return false;
        }
        let state = &self.files[&file];
        let slots = self.uploads.slots().capacity(state.longest_chunk()) as usize;
        // A peer that has asked for nothing has no share.
        let receivers = state.links.values().filter(|link| link.has_asked && !link.held.is_full());
        // With more than these the share is the least anyway.
        let receivers = receivers.take(slots / PER_PEER.0).count();
        let share = (slots / (receivers + 1)).clamp(PER_PEER.0, PER_PEER.1);
        self.uploads.active_of(peer).count() >= share
    }

    /// Whether the peer has been sent the file more than twice without announcing that it has any
    /// of that. An honest one is sent each chunk once, and again if it was lost, and tells others
    /// of it. What former connections of its source took counts for one that has announced less
    /// than it kept to itself.
    pub(super) fn is_free_rider(&self, now: Time, peer: PeerKey, file: FileKey) -> bool {
        let (Some(state), Some(connection)) = (self.files.get(file), self.peers.get(&peer)) else {
            return false;
        };
        let taken = connection.taken.get(&file).copied().unwrap_or_default();
        let is_open = taken.announced > 0 && taken.announced >= taken.unannounced;
        let before =
            if is_open { 0 } else { self.sources.free_rides(now, connection.source, file) };
        u64::from(taken.unannounced) + u64::from(before)
            > FREE_RIDER_COPIES * u64::from(state.geometry.chunk_count())
    }

    /// The connection is gone; what it took and kept to itself is remembered of its source.
    pub(super) fn note_free_rides(&mut self, now: Time, peer: PeerKey) {
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        let source = connection.source;
        for (file, taken) in std::mem::take(&mut connection.taken) {
            self.sources.note_free_rides(now, source, file, taken.unannounced);
        }
    }

    /// Whether another peer, not a free rider, waits for a slot.
    fn others_wait(&self, now: Time, peer: PeerKey) -> bool {
        self.uploads
            .in_line()
            .any(|(other, file, _)| other != peer && !self.is_free_rider(now, other, file))
    }

    /// Whether a slot is kept for this request; it is free then. A suggestion is kept for its own
    /// chunk: another request was mostly sent before the suggestion arrived.
    fn accept_invitation(&mut self, peer: PeerKey, file: FileKey, chunk: ChunkIndex) -> bool {
        let Some(kept) = self.uploads.heed(peer) else { return false };
        let is_invited = !kept.suggested || (kept.file, kept.chunk) == (file, chunk);
        is_invited && self.end_reservation(peer, Some(chunk))
    }

    /// Whether the peer asks for a chunk that others have got, while one that no other peer has is
    /// reserved for it.
    fn is_better_suggested(&self, peer: PeerKey, file: FileKey, chunk: ChunkIndex) -> bool {
        let kept =
            self.uploads.reservation(peer).filter(|kept| kept.suggested && kept.file == file);
        let suggest = self.files.get(file).and_then(|state| state.suggest.as_ref());
        kept.is_some() && suggest.is_some_and(|suggest| suggest.is_spread(chunk))
    }

    fn upload(&mut self, now: Time, peer: PeerKey, file: FileKey, chunk: ChunkIndex) {
        let state = self.files.get_mut(file).expect("requests are for known files");
        if let Some(suggest) = &mut state.suggest {
            suggest.mark(chunk);
        }
        let len = state.geometry.chunk_len(chunk);
        self.spend(now, Up, file, len);
        self.uploads.start(now, peer, file, chunk, len);
        if let Some(connection) = self.peers.get_mut(&peer) {
            connection.slots += 1;
            connection.unused_slots = 0;
        }
        self.output(Output::Upload { peer, file, chunk });
    }

    fn refuse_busy(&mut self, peer: PeerKey, file: FileKey, chunk: ChunkIndex) {
        let unused = self.peers.get(&peer).map_or(0, |connection| connection.unused_slots);
        // A peer that lets reserved slots lapse again and again must find a free one by asking.
        if unused < self.config.unused_offers_limit {
            self.uploads.wait(peer, file, chunk);
        }
        let load = self.uploads.slots().used() as usize + self.uploads.waiting().len();
        let load = u32::try_from(load).unwrap_or(u32::MAX);
        self.send(peer, PeerMessage::Busy { file: file.handle(), chunk: chunk.get(), load });
    }

    /// A chunk that no other peer has yet, in place of one that we have sent already. It counts as
    /// given away.
    fn better_chunk(
        &mut self,
        peer: PeerKey,
        file: FileKey,
        chunk: ChunkIndex,
    ) -> Option<ChunkIndex> {
        let is_spread = self.files.get(file)?.suggest.as_ref()?.is_spread(chunk);
        if is_spread { self.fresh_chunk(peer, file, chunk) } else { None }
    }

    /// A chunk that no other peer has yet, if possible the one asked for. It counts as given away.
    pub(super) fn fresh_chunk(
        &mut self,
        peer: PeerKey,
        file: FileKey,
        asked: ChunkIndex,
    ) -> Option<ChunkIndex> {
        let state = self.files.get_mut(file)?;
        let link = state.links.get(&peer).filter(|link| link.declined < MAX_DECLINED)?;
        let PeerHas::Part(held) = &link.held else { return None };
        let suggest = state.suggest.as_mut().filter(|suggest| !suggest.is_done())?;
        if suggest.is_spread(asked) || held.contains(asked) {
            return suggest.next_for(held);
        }
        suggest.mark(asked);
        Some(asked)
    }

    /// Reserves slots for waiting peers, first in line first, while there are free ones.
    pub(super) fn grant_slots(&mut self, now: Time) {
        while let Some((peer, file, chunk)) = self.next_in_line(now) {
            if !self.uploads.slots().has_room(self.files[&file].longest_chunk()) {
                return;
            }
            let fresh = self.fresh_chunk(peer, file, chunk);
            self.reserve(now, peer, file, fresh.unwrap_or(chunk), fresh.is_some());
        }
        self.offer_slots(now);
    }

    /// The first in line without a reserved slot that has not got its share; files of higher
    /// priority come first, free riders last.
    fn next_in_line(&self, now: Time) -> Option<(PeerKey, FileKey, ChunkIndex)> {
        let mut in_line = self.uploads.in_line().filter(|(peer, file, _)| {
            self.rate_limiter.allows(now, Up, *file)
                && !self.has_its_share(*peer, *file)
                && self.may_reserve_for(*peer, *file)
        });
        let first = in_line.next()?;
        if !self.priorities_differ && !self.is_free_rider(now, first.0, first.1) {
            return Some(first);
        }
        let rank = |(peer, file, _): &(PeerKey, FileKey, ChunkIndex)| {
            (!self.is_free_rider(now, *peer, *file), self.files[file].priority)
        };
        Some(
            in_line
                .fold(first, |best, other| if rank(&other) > rank(&best) { other } else { best }),
        )
    }

    /// Whether a slot may be reserved for this peer. Some peers that never took a chunk will not
    /// take the slot either, and it is idle until that is known: while others wait, newcomers must
    /// not have more than a part of the slots.
    pub(super) fn may_reserve_for(&self, peer: PeerKey, file: FileKey) -> bool {
        !self.is_newcomer(peer)
            || self.uploads.waiting().all(|peer| self.is_newcomer(peer))
            || self.reserved_for_newcomers()
                < self.most_reserved_for_newcomers(self.files[&file].longest_chunk())
    }

    /// Whether the peer never took a chunk.
    pub(super) fn is_newcomer(&self, peer: PeerKey) -> bool {
        self.peers.get(&peer).is_some_and(|peer| peer.sent_chunks == 0)
    }

    /// Slots that are reserved for newcomers.
    pub(super) fn reserved_for_newcomers(&self) -> usize {
        self.uploads.reserved().filter(|peer| self.is_newcomer(*peer)).count()
    }

    /// Slots for chunks of that length that may be reserved for newcomers.
    pub(super) fn most_reserved_for_newcomers(&self, len: u32) -> usize {
        (self.uploads.slots().capacity(len) as usize / NEWCOMERS_PART).max(1)
    }

    pub(super) fn reserve(
        &mut self,
        now: Time,
        peer: PeerKey,
        file: FileKey,
        chunk: ChunkIndex,
        suggested: bool,
    ) {
        self.end_reservation(peer, None);
        let len = self.files[&file].geometry.chunk_len(chunk);
        self.spend(now, Up, file, len);
        let reservation = Reservation { file, chunk, len, suggested, is_heeded: false };
        self.uploads.reserve(peer, reservation);
        if let Some(connection) = self.peers.get_mut(&peer) {
            connection.slots += 1;
        }
        self.timers.rearm(Timer::Reservation(peer), now + self.config.reservation);
        let (file, chunk) = (file.handle(), chunk.get());
        let message = match suggested {
            true => PeerMessage::Suggest { file, chunk },
            false => PeerMessage::Ready { file, chunk },
        };
        self.send(peer, message);
    }

    /// The peer has one slot less.
    fn on_slot_released(&mut self, peer: PeerKey) {
        if let Some(connection) = self.peers.get_mut(&peer) {
            connection.slots -= 1;
        }
    }

    /// Frees the slot kept for a peer. A suggestion it did not take goes to another peer.
    fn end_reservation(&mut self, peer: PeerKey, taken: Option<ChunkIndex>) -> bool {
        let Some(reservation) = self.uploads.end_reservation(peer) else { return false };
        self.on_slot_released(peer);
        self.rate_limiter.refund(Up, reservation.file, reservation.len);
        self.timers.disarm(Timer::Reservation(peer));
        if reservation.suggested && taken != Some(reservation.chunk) {
            self.unspread(reservation.file, reservation.chunk);
        }
        true
    }

    /// A chunk did not get where it was to go: unless a partial holder has it, it is still to be
    /// given away.
    pub(super) fn unspread(&mut self, file: FileKey, chunk: ChunkIndex) {
        let Some(state) = self.files.get_mut(file) else { return };
        let is_elsewhere =
            state.links.values().any(|link| !link.held.is_full() && link.held.contains(chunk));
        if let Some(suggest) = state.suggest.as_mut().filter(|_| !is_elsewhere) {
            suggest.restore(chunk);
        }
    }

    pub(super) fn on_reservation_over(&mut self, now: Time, peer: PeerKey) {
        let kept = self.uploads.reservation(peer);
        let is_heeded = kept.is_some_and(|kept| kept.is_heeded);
        if let Some(kept) = kept {
            self.pause_offers(now, peer, kept.file);
        }
        self.end_reservation(peer, None);
        if let Some(connection) = self.peers.get_mut(&peer).filter(|_| !is_heeded) {
            connection.unused_slots = connection.unused_slots.saturating_add(1);
            // It does not take what it asked for.
            let state = kept.and_then(|kept| self.files.get_mut(kept.file));
            if let Some(link) = state.and_then(|state| state.links.get_mut(&peer)) {
                link.has_asked = false;
            }
        }
        self.grant_slots(now);
    }

    pub(super) fn on_cancel(&mut self, now: Time, peer: PeerKey, handle: FileHandle, chunk: u32) {
        let Some((file, chunk)) = self.resolve_or_cut(now, peer, handle, chunk) else { return };
        if self.uploads.active(peer, file, chunk).is_some() {
            self.stop(peer, file, chunk);
        } else if (self.uploads.reservation(peer))
            .is_some_and(|kept| kept.file == file && kept.chunk == chunk)
        {
            self.note_declined(now, peer, file);
            self.end_reservation(peer, None);
        } else if self.uploads.waits_for(peer) == Some((file, chunk)) {
            self.uploads.stop_waiting(peer);
        }
        self.grant_slots(now);
    }

    /// The peer gives back the slot that is kept for it.
    fn note_declined(&mut self, now: Time, peer: PeerKey, file: FileKey) {
        self.pause_offers(now, peer, file);
        let is_suggested = self.uploads.reservation(peer).is_some_and(|kept| kept.suggested);
        let link = self.files.link_mut(file, peer);
        if let Some(link) = link.filter(|_| is_suggested) {
            link.declined = link.declined.saturating_add(1);
        }
    }

    fn pause_offers(&mut self, now: Time, peer: PeerKey, file: FileKey) {
        if let Some(link) = self.files.link_mut(file, peer) {
            link.no_offer_before = now + self.config.offer_pause;
        }
    }

    /// Stops sending these chunks of a file.
    pub(super) fn stop_uploads_of(&mut self, file: FileKey, chunks: &[ChunkIndex]) {
        let active = self.uploads.active_in(file).filter(|(_, chunk)| chunks.contains(chunk));
        let active: Vec<(PeerKey, ChunkIndex)> = active.collect();
        for (peer, chunk) in active {
            self.stop(peer, file, chunk);
        }
    }

    /// Stops sending a chunk, once; its end is still to come.
    fn stop(&mut self, peer: PeerKey, file: FileKey, chunk: ChunkIndex) {
        if self.uploads.stop(peer, file, chunk) {
            self.output(Output::StopUpload { peer, file, chunk });
        }
    }

    pub(super) fn on_upload_ended(
        &mut self,
        now: Time,
        peer: PeerKey,
        file: FileKey,
        chunk: ChunkIndex,
        end: UploadEnd,
    ) {
        let Some(active) = self.uploads.end(peer, file, chunk) else { return };
        self.on_slot_released(peer);
        match end {
            UploadEnd::Sent => {
                if let Some(slots) =
                    self.uplink.uploaded(active.len, active.since.elapsed(), now.elapsed())
                {
                    self.uploads.narrow_to(slots);
                }
                // As much longer as there are more slots for uploads.
                if let Some(bytes) =
                    self.sent.passed(now, active.len, self.config.slot_turnover_time * 2)
                {
                    self.uploads.widen_to(bytes, active.len);
                }
                self.on_sent(now, peer, file, chunk);
                if active.is_doubted {
                    self.doubt(peer, file, chunk);
                }
            }
            UploadEnd::Stopped => self.unspread(file, chunk),
        }
        self.grant_slots(now);
    }

    fn on_sent(&mut self, now: Time, peer: PeerKey, file: FileKey, chunk: ChunkIndex) {
        self.caller_admission.prove(now, peer, Proof::Received);
        if let Some(connection) = self.peers.get_mut(&peer) {
            connection.sent_chunks += 1;
            connection.useful_at = Some(now);
            // Of a file that is gone there is nothing left to count.
            if self.files.contains(file) {
                connection.taken.entry(file).or_default().unannounced += 1;
            }
        }
        self.note_sent(peer, file, chunk);
        let Some(state) = self.files.get_mut(file) else { return };
        state.stats.uploaded += 1;
        match state.links.get_mut(&peer) {
            Some(link) => {
                link.declined = 0;
                if !link.held.contains(chunk)
                    && link.given.insert(chunk)
                    && link.given.len().is_multiple_of(GIVEN_AT_ONCE)
                {
                    self.count_link(peer, file);
                }
            }
            // It has left the file's swarm meanwhile.
            None => self.unspread(file, chunk),
        }
    }

    /// The peer is gone: nothing is under way, kept or in line for it.
    pub(super) fn forget_uploads_to(&mut self, peer: PeerKey) {
        let active: Vec<(FileKey, ChunkIndex)> = self.uploads.active_of(peer).collect();
        for (file, chunk) in active {
            self.uploads.end(peer, file, chunk);
            self.on_slot_released(peer);
            self.unspread(file, chunk);
        }
        self.end_reservation(peer, None);
        self.uploads.stop_waiting(peer);
    }

    /// The peer has left the file's swarm, not the connection. The caller grants what is free now.
    pub(super) fn leave_queue(&mut self, peer: PeerKey, file: FileKey) {
        if self.uploads.reservation(peer).is_some_and(|kept| kept.file == file) {
            self.end_reservation(peer, None);
        }
        if self.uploads.waits_for(peer).is_some_and(|(waiting, _)| waiting == file) {
            self.uploads.stop_waiting(peer);
        }
        let under_way: Vec<(FileKey, ChunkIndex)> =
            self.uploads.active_of(peer).filter(|(other, _)| *other == file).collect();
        for (file, chunk) in under_way {
            self.stop(peer, file, chunk);
        }
    }
}
