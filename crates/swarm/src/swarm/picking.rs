//! Whom to ask for which chunk.
//!
//! Chunk: first one that failed before, else the rarest, random among equals. Source: of two random holders with
//! room the one with fewer of our requests. A chunk is asked for twice only when nothing else is left to ask for.

use std::ops::Bound;

use rand::rngs::StdRng;
use rand::{Rng, RngExt};
use tnet_fileinfo::ChunkIndex;

use super::Swarm;
use super::limited::Way;
use crate::file::{Asked, Download, File};
use crate::io::{FileKey, PeerKey};
use crate::limits::Priority;
use crate::link::{Held, Link, MAX_UNANSWERED};
use crate::time::Time;
use crate::timers::Timer;

/// Chunks looked at when one source is searched for what it could send.
const LOOKED_AT: usize = 256;

/// What was decided: one more request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) peer: PeerKey,
    pub(super) chunk: ChunkIndex,
}

/// A peer that may be asked for one more chunk of a file.
type Source<'a> = (PeerKey, &'a Link);

impl Swarm {
    /// Asks for chunks while there are slots, chunks and sources; incomplete files take turns.
    pub(super) fn fill_downloads(&mut self, now: Time) {
        if !self.priorities_differ {
            return self.fill_in_turn(now, None);
        }
        for priority in Priority::FIRST_TO_LAST {
            self.fill_in_turn(now, Some(priority));
        }
    }

    /// The same for files of one priority.
    fn fill_in_turn(&mut self, now: Time, priority: Option<Priority>) {
        let mut fruitless = 0;
        // Most events find all slots taken: then no file is looked at.
        while fruitless < self.incomplete.len() && self.may_ask_for(1) && self.may_ask_now(now) {
            let Some(file) = self.next_turn() else { return };
            let is_meant = priority.is_none_or(|priority| self.files[&file].priority == priority);
            match is_meant.then(|| self.choose(now, file)).flatten() {
                Some(choice) => {
                    self.request(now, file, choice);
                    fruitless = 0;
                }
                None => fruitless += 1,
            }
        }
    }

    /// Whether there is a slot for a chunk of that length, and the disk keeps up.
    fn may_ask_for(&self, len: u32) -> bool {
        self.downloads.has_room(len) && self.disk_keeps_up()
    }

    /// The same when a source keeps a slot for us: a slot there is worth more than order here. Given back, it would
    /// have been idle for a round trip, and we stand in line at more sources than we have slots.
    fn may_accept(&self, len: u32) -> bool {
        self.downloads.has_room_beyond(len, self.config.accepted_beyond_per_mille) && self.disk_keeps_up()
    }

    fn disk_keeps_up(&self) -> bool {
        self.storing_bytes < self.config.storing_bytes
    }

    /// The next incomplete file after the one that had the last turn.
    fn next_turn(&mut self) -> Option<FileKey> {
        let later = self.incomplete.range((Bound::Excluded(self.turn), Bound::Unbounded)).next();
        self.turn = *later.or_else(|| self.incomplete.first())?;
        Some(self.turn)
    }

    fn choose(&mut self, now: Time, file: FileKey) -> Option<Choice> {
        let state = &self.files[&file];
        if !self.may_ask_for(state.longest_chunk()) || !self.is_in_time(now, Way::Down, file) {
            return None;
        }
        let download = state.download.as_ref()?;
        let useful = self.sources(now, state, |link| link.wanted > 0);
        pick(download, &useful, &mut self.rng).or_else(|| self.choose_hedge(now, file))
    }

    /// What to ask this peer for, now that it has a slot for us.
    pub(super) fn choose_from(&mut self, now: Time, file: FileKey, peer: PeerKey) -> Option<Choice> {
        let state = &self.files[&file];
        if !self.may_take_slot(now, file, peer) {
            return None;
        }
        let download = state.download.as_ref()?;
        pick(download, &[(peer, state.links.get(&peer)?)], &mut self.rng)
    }

    /// Whether we can use the slot that this peer keeps for us.
    pub(super) fn may_take_slot(&self, now: Time, file: FileKey, peer: PeerKey) -> bool {
        let state = &self.files[&file];
        let most = self.requests_per_source(state);
        self.may_accept(state.longest_chunk())
            && self.is_in_time(now, Way::Down, file)
            && !self.is_outranked(file)
            && state.links.get(&peer).is_some_and(|link| self.is_free(now, peer, link, most))
    }

    /// Whether we can take the chunk that this seed would spread through us. However many others it has given us: its
    /// uplink is what a young swarm waits for.
    pub(super) fn may_take_chunk(&self, now: Time, file: FileKey, peer: PeerKey) -> bool {
        let state = &self.files[&file];
        self.may_accept(state.longest_chunk())
            && self.is_in_time(now, Way::Down, file)
            && !self.is_outranked(file)
            && !self.peers[&peer].is_stalled
            && state.links.get(&peer).is_some_and(|link| link.unanswered() < MAX_UNANSWERED)
    }

    /// Links of use that may be asked for one more chunk of the file.
    fn sources<'a>(&self, now: Time, state: &'a File, is_of_use: impl Fn(&Link) -> bool) -> Vec<Source<'a>> {
        let most = self.requests_per_source(state);
        let of_use = state.links.iter().filter(|(_, link)| is_of_use(link));
        let free = of_use.filter(|(peer, link)| self.is_free(now, **peer, link, most));
        free.map(|(peer, link)| (*peer, link)).collect()
    }

    /// Requests of the file that one source may have open. With few sources each must have more to fill our slots.
    fn requests_per_source(&self, state: &File) -> usize {
        let least = self.config.requests_per_source.max(1);
        let capacity = self.downloads.capacity(state.longest_chunk());
        let linked = state.links.values().filter(|link| link.handle.is_some());
        let useful = linked.filter(|link| link.wanted > 0 || !link.open.is_empty());
        // With more than these the share of each is the least anyway.
        let useful = useful.take(capacity.div_ceil(least) as usize).count();
        let share = capacity.div_ceil(u32::try_from(useful.max(1)).unwrap_or(u32::MAX));
        share.max(least) as usize
    }

    fn is_free(&self, now: Time, peer: PeerKey, link: &Link, most_requests: usize) -> bool {
        link.handle.is_some()
            && link.open.len() < most_requests
            && link.unanswered() < MAX_UNANSWERED
            && !link.is_busy(now)
            && !self.peers[&peer].is_stalled
    }

    /// When every missing chunk is asked for: a second source for the one that takes longest.
    fn choose_hedge(&mut self, now: Time, file: FileKey) -> Option<Choice> {
        let state = &self.files[&file];
        let download = state.download.as_ref()?;
        if download.chunks.missing() > 0 {
            return None;
        }
        let most = u64::from(state.geometry.chunk_count()) * u64::from(self.config.hedge_per_mille) / 1000;
        let pause = match u64::from(download.hedges) < most.max(2) {
            true => self.config.hedge_after,
            false => self.config.late_after.max(self.config.hedge_after),
        };
        let sources = self.sources(now, state, |_| true);
        let alone = download.requests.iter().filter(|(_, asked)| asked.len() == 1);
        let mut alone: Vec<(Asked, ChunkIndex)> = alone.map(|(chunk, asked)| (asked[0], *chunk)).collect();
        alone.sort_by_key(|(asked, chunk)| (asked.since, *chunk));
        for (asked, chunk) in alone {
            if now < asked.since + pause {
                self.timers.arm(Timer::Hedge(file), asked.since + pause);
                return None;
            }
            let others =
                sources.iter().filter(|(peer, link)| *peer != asked.peer && link.may_be_asked_for(chunk));
            if let Some(peer) = less_loaded(others.copied(), &mut self.rng) {
                return Some(Choice { peer, chunk });
            }
        }
        None
    }
}

fn pick(download: &Download, sources: &[Source], rng: &mut StdRng) -> Option<Choice> {
    if sources.is_empty() {
        return None;
    }
    let ask = |chunk: ChunkIndex, rng: &mut StdRng| {
        let holders = sources.iter().filter(|(_, link)| link.may_be_asked_for(chunk));
        less_loaded(holders.copied(), rng).map(|peer| Choice { peer, chunk })
    };
    if let Some(choice) = download.retry.iter().find_map(|chunk| ask(*chunk, rng)) {
        return Some(choice);
    }
    // What no partial holder has, only a full one can send.
    let fewest = usize::from(!sources.iter().any(|(_, link)| link.held.is_full()));
    let rarest = download.rarity.rarest(rng, fewest, ask);
    rarest.or_else(|| {
        // The rarest are all with sources that have no room: take what those with room have.
        let first = rng.random_range(0..sources.len());
        let (late, early) = sources.split_at(first);
        early.iter().chain(late).find_map(|source| rarest_of(download, *source, rng))
    })
}

/// One of the rarest chunks that the source has for us, of a few hundred from a random one on.
fn rarest_of(download: &Download, (peer, link): Source, rng: &mut StdRng) -> Option<Choice> {
    let Held::Part(held) = &link.held else { return None };
    let skipped = rng.random_range(0..link.wanted.max(1)) as usize;
    let wanted = || {
        let missing = held.difference(download.chunks.taken());
        missing.filter(|chunk| download.rarity.is_listed(*chunk) && link.may_be_asked_for(*chunk))
    };
    let copies = |chunk: &ChunkIndex| download.rarity.copies(*chunk);
    let chunk = wanted().skip(skipped).take(LOOKED_AT).min_by_key(copies);
    chunk.or_else(|| wanted().take(LOOKED_AT).min_by_key(copies)).map(|chunk| Choice { peer, chunk })
}

/// Of two random candidates the one with fewer of our requests, then with the lower load of its own.
fn less_loaded<'a>(candidates: impl Iterator<Item = Source<'a>>, rng: &mut impl Rng) -> Option<PeerKey> {
    // Reservoir sampling of two.
    let mut chosen: [Option<Source>; 2] = [None, None];
    for (seen, candidate) in candidates.enumerate() {
        let at = if seen < 2 { seen } else { rng.random_range(0..=seen) };
        if let Some(place) = chosen.get_mut(at) {
            *place = Some(candidate);
        }
    }
    let load = |(_, link): Source| (link.open.len(), link.load);
    match chosen {
        [Some(a), Some(b)] => {
            let a_wins = load(a) < load(b) || load(a) == load(b) && rng.random_bool(0.5);
            Some(if a_wins { a.0 } else { b.0 })
        }
        [only, _] => only.map(|(peer, _)| peer),
    }
}
