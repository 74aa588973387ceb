//! Offers of free upload slots to peers that have not asked. Receivers ask where they see room; an
//! uplink that is free when all their requests are elsewhere would stay idle. So they ask for about
//! half of what they can take, and peers with a free slot offer them the other half. Queues are
//! short at every source, and hardly any uplink is idle.
//!
//! Last of 64 receivers, 1024 chunks, simulated, chunks of 128 KiB and of 1 MiB: 1.06 and 1.07
//! times the bound. Without offers, and as many requests as upload slots: 1.19 (100 receivers) and
//! 1.20.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use tnet_fileinfo::ChunkIndex;

use super::Swarm;
use crate::Time;
use crate::file::File;
use crate::link::{Link, PeerHas};
use crate::rate_limiter::TransferDirection::Up;
use crate::{FileKey, PeerKey};

/// After a slot was offered in vain, for so long only a part of the slots is offered to newcomers.
/// Peers that never take a chunk would else keep all slots, each for the time of a reservation, and
/// those that ask would get what lapses: ten chunks a second.
const WARY_FOR: Duration = Duration::from_secs(10);

/// Peers, and files of one peer, looked at for one offer.
const MAX_CANDIDATES: usize = 64;

impl<B> Swarm<B> {
    /// Keeps free slots for peers that could use them and tells them so.
    pub(super) fn offer_slots(&mut self, now: Time) {
        while let Some((peer, file, chunk)) = self.choose_receiver(now) {
            let fresh = self.fresh_chunk(peer, file, chunk);
            self.reserve(now, peer, file, fresh.unwrap_or(chunk), fresh.is_some());
        }
    }

    /// A random peer that lacks a chunk that is here, gets nothing from us, and has not given back
    /// a slot lately.
    fn choose_receiver(&mut self, now: Time) -> Option<(PeerKey, FileKey, ChunkIndex)> {
        if !self.config.offers || !self.uploads.slots().has_room_to_offer(0) {
            return None;
        }
        let (first, last) = (self.peers.first_key_value()?.0, self.peers.last_key_value()?.0);
        let from = PeerKey(self.rng.random_range(first.0..=last.0));
        let in_turn = self.peers.range(from..).chain(self.peers.range(..from)).take(MAX_CANDIDATES);
        let kept_for_new = self.kept_for_new(now);
        let may_be_new = kept_for_new.is_none_or(|kept| kept < self.most_reserved_for_newcomers(0));
        let mut candidates = [from; MAX_CANDIDATES];
        let mut count = 0;
        for (peer, connection) in in_turn {
            let is_idle =
                connection.slots == 0 && connection.unused_slots < self.config.unused_offers_limit;
            if is_idle && (may_be_new || connection.sent_chunks > 0) {
                candidates[count] = *peer;
                count += 1;
            }
        }
        // Most often the first one will do.
        while count > 0 {
            count -= 1;
            candidates.swap(self.rng.random_range(0..=count), count);
            let peer = candidates[count];
            let mut files = from_random(self.peers[&peer].links.unfinished(), &mut self.rng)
                .take(MAX_CANDIDATES);
            if let Some(found) = files
                .find_map(|file| Some((peer, file, self.offer(now, peer, file, kept_for_new)?)))
            {
                return Some(found);
            }
        }
        None
    }

    /// A chunk of the file that could be offered to the peer.
    fn offer(
        &self,
        now: Time,
        peer: PeerKey,
        file: FileKey,
        kept_for_new: Option<usize>,
    ) -> Option<ChunkIndex> {
        let state = self.files.get(file).filter(|_| !self.is_free_rider(now, peer, file))?;
        let link = state
            .links
            .get(&peer)
            .filter(|link| link.handle.is_some() && link.no_offer_before <= now)?;
        let most = self.most_reserved_for_newcomers(state.longest_chunk());
        let is_one_too_many =
            kept_for_new.is_some_and(|kept| kept >= most && self.is_newcomer(peer));
        let may_begin = !is_one_too_many
            && self.uploads.slots().has_room_to_offer(state.longest_chunk())
            && self.rate_limiter.allows(now, Up, file);
        may_begin.then(|| lacked(state, link)).flatten()
    }

    /// If a slot is kept for this peer, it asked for nothing meanwhile.
    pub(super) fn note_offered_in_vain(&mut self, now: Time, peer: PeerKey) {
        if self.uploads.reservation(peer).is_some_and(|kept| !kept.is_heeded) {
            self.offered_in_vain = Some(now);
        }
    }

    /// Slots that are reserved for newcomers, if that is to be limited now.
    fn kept_for_new(&self, now: Time) -> Option<usize> {
        let is_wary = self.offered_in_vain.is_some_and(|last| now < last + WARY_FOR);
        is_wary.then(|| self.reserved_for_newcomers())
    }
}

/// The first chunk that is here and that the other side lacks.
fn lacked(state: &File, link: &Link) -> Option<ChunkIndex> {
    let PeerHas::Part(held) = &link.held else { return None };
    let is_new = |chunk: &ChunkIndex| !link.given.contains(chunk);
    match &state.download {
        Some(download) => download.chunks.stored().difference(held).find(is_new),
        None => held.missing().find(is_new),
    }
}

/// All of the set, from a random place on.
fn from_random<'a>(
    files: &'a BTreeSet<FileKey>,
    rng: &mut StdRng,
) -> impl Iterator<Item = FileKey> + 'a {
    let ends = files.first().zip(files.last());
    let from = FileKey(ends.map_or(0, |(first, last)| rng.random_range(first.0..=last.0)));
    files.range(from..).chain(files.range(..from)).copied()
}
