//! The piece picker: which chunk to request from which source.
//!
//! Chunk: first one that failed before, else the rarest, random among equals. Source: of two random
//! holders with room the one with fewer of our requests. A chunk is asked for twice only when
//! nothing else is left to ask for. One that failed goes to a holder that has proven itself, if
//! there is one.

use std::ops::Bound;

use rand::rngs::StdRng;
use rand::{Rng, RngExt};
use tnet_fileinfo::ChunkIndex;

use super::Swarm;
use super::eligibility::{Candidate, FileView};
use crate::Time;
use crate::file::Incomplete;
use crate::io::Priority;
use crate::link::{MAX_UNANSWERED, PeerHas};
use crate::rate_limiter::TransferDirection::Down;
use crate::request_book::Asked;
use crate::timers::Timer;
use crate::{FileKey, PeerKey};
use tnet_sources::Trust;

/// Chunks looked at when one source is searched for what it could send.
const MAX_CANDIDATES: usize = 256;

/// What was decided: one more request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) peer: PeerKey,
    pub(super) chunk: ChunkIndex,
}

impl<B> Swarm<B> {
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
        while fruitless < self.files.incomplete().len()
            && self.may_ask_for(1)
            && self.rate_limiter.process_allows(now, Down)
        {
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

    /// Whether there is a slot for a chunk of that length, at least at a proven source, and the
    /// disk keeps up.
    fn may_ask_for(&self, len: u32) -> bool {
        self.requests.has_room(len, self.proven > 0, 0) && self.disk_keeps_up()
    }

    fn disk_keeps_up(&self) -> bool {
        self.files.storing_bytes() < self.config.storing_bytes
    }

    /// The next incomplete file after the one that had the last turn.
    fn next_turn(&mut self) -> Option<FileKey> {
        let later =
            self.files.incomplete().range((Bound::Excluded(self.turn), Bound::Unbounded)).next();
        self.turn = *later.or_else(|| self.files.incomplete().first())?;
        Some(self.turn)
    }

    fn choose(&mut self, now: Time, file: FileKey) -> Option<Choice> {
        let len = self.files[&file].longest_chunk();
        if !self.may_ask_for(len) || !self.rate_limiter.allows(now, Down, file) {
            return None;
        }
        if self.requests.has_room(len, false, 0)
            && let Some(newcomer) = self.make_room_for_a_newcomer(now, file)
        {
            return self.choose_of(file, newcomer);
        }
        let view = FileView::of(file, &self.files, &self.requests);
        let competition = self.competition(now, view);
        let candidates = self.candidates(now, view, &competition, |link| link.wanted > 0);
        if let Some(choice) = pick(view, &candidates, &mut self.rng) {
            return Some(choice);
        }
        let last = self.last_candidates(now, view, &competition, |link| link.wanted > 0);
        pick(view, &last, &mut self.rng).or_else(|| self.choose_hedge(now, file))
    }

    /// What to ask this peer for, now that it has a slot for us.
    pub(super) fn choose_from(
        &mut self,
        now: Time,
        file: FileKey,
        peer: PeerKey,
    ) -> Option<Choice> {
        if !self.can_use_offer(now, file, peer) {
            return None;
        }
        self.choose_of(file, peer)
    }

    fn choose_of(&mut self, file: FileKey, peer: PeerKey) -> Option<Choice> {
        let view = FileView::of(file, &self.files, &self.requests);
        pick(view, &[view.candidate(peer)?], &mut self.rng)
    }

    /// Whether a slot that this peer reserved for us can be used, as far as the limits go that do
    /// not depend on other sources. A slot there is worth more than order here: given back, it
    /// would have been idle for a round trip, and we wait in line at more sources than we have
    /// slots. So more chunks may be under way than we would ask for by ourselves.
    fn has_room_to_accept(&self, now: Time, file: FileKey, candidate: &Candidate) -> bool {
        let len = self.files[&file].longest_chunk();
        let extra = self.config.extra_offer_slots_per_mille;
        self.requests.has_room(len, candidate.is_proven(), extra)
            && self.disk_keeps_up()
            && self.rate_limiter.allows(now, Down, file)
            && !self.is_outranked(file)
            && candidate.link.trust != Trust::Stalled
            && candidate.requests.unanswered() < MAX_UNANSWERED
    }

    /// Whether a slot can be used that this peer reserved for us, for any chunk.
    fn can_use_offer(&self, now: Time, file: FileKey, peer: PeerKey) -> bool {
        let view = FileView::of(file, &self.files, &self.requests);
        let Some(candidate) = view.candidate(peer) else { return false };
        if !self.has_room_to_accept(now, file, &candidate) {
            return false;
        }
        let competition = self.competition(now, view);
        candidate.is_free(now, self.requests_per_source(view, &competition))
            && self.may_accept_from(now, peer, view, &competition)
    }

    /// Whether this chunk can be taken, which the seed would spread through us. However many others
    /// it has given us: its uplink is what a young swarm waits for.
    pub(super) fn can_use_suggestion(
        &self,
        now: Time,
        file: FileKey,
        Choice { peer, chunk }: Choice,
    ) -> bool {
        let view = FileView::of(file, &self.files, &self.requests);
        let Some(candidate) = view.candidate(peer) else { return false };
        candidate.may_be_asked_for(chunk)
            && self.has_room_to_accept(now, file, &candidate)
            && self.may_accept_from(now, peer, view, &self.competition(now, view))
    }

    /// When every missing chunk is asked for: a second source for the one that takes longest.
    fn choose_hedge(&mut self, now: Time, file: FileKey) -> Option<Choice> {
        let view = FileView::of(file, &self.files, &self.requests);
        let FileView { file: state, requests } = view;
        let download = state.download.as_ref()?;
        if download.chunks.missing() > 0 {
            return None;
        }
        let most =
            u64::from(state.geometry.chunk_count()) * u64::from(self.config.hedge_per_mille) / 1000;
        let pause = match u64::from(download.hedges) < most.max(2) {
            true => self.config.hedge_after,
            false => self.config.late_after.max(self.config.hedge_after),
        };
        // A late source is not worth waiting for when a proven one can be asked. It seldom delivers
        // after all, so this seldom costs a second copy.
        let is_late = |peer| state.links.get(&peer).is_some_and(|link| link.trust == Trust::Late);
        let patience = self.patience(state.longest_chunk()).min(pause);
        let after = |peer| if self.proven > 0 && is_late(peer) { patience } else { pause };
        let has_slot = self.requests.slots().has_room(state.longest_chunk());
        let competition = self.competition_for_second_copies(now, view);
        let candidates = self.candidates(now, view, &competition, |_| true);
        let last = self.last_candidates(now, view, &competition, |_| true);
        let due = requests.asked_once();
        let due = due.map(|(chunk, asked)| (asked.since + after(asked.peer), chunk, asked));
        let mut due: Vec<(Time, ChunkIndex, Asked)> = due.collect();
        due.sort_by_key(|(due, chunk, _)| (*due, *chunk));
        for (due, chunk, asked) in due {
            if now < due {
                self.timers.arm(Timer::Hedge(file), due);
                return None;
            }
            // One that has proven itself is worth waiting for.
            let is_old = has_slot
                && now >= asked.since + pause
                && !self.is_served_with(now, view, chunk, asked.peer);
            let is_other = |of: &Candidate| {
                of.peer != asked.peer && of.may_be_asked_for(chunk) && (is_old || of.is_proven())
            };
            let best = less_loaded(&filtered(&candidates, is_other), &mut self.rng);
            if let Some(peer) =
                best.or_else(|| less_loaded(&filtered(&last, is_other), &mut self.rng))
            {
                return Some(Choice { peer, chunk });
            }
        }
        None
    }
}

fn pick(view: FileView, sources: &[Candidate], rng: &mut StdRng) -> Option<Choice> {
    let download = view.file.download.as_ref()?;
    if sources.is_empty() {
        return None;
    }
    // One list for all chunks that are looked at.
    let mut holders = Vec::with_capacity(sources.len());
    let ask = |chunk: ChunkIndex, rng: &mut StdRng| {
        holders.clear();
        holders.extend(sources.iter().filter(|source| source.may_be_asked_for(chunk)));
        less_loaded(&holders, rng).map(|peer| Choice { peer, chunk })
    };
    if let Some(choice) =
        download.retry.iter().find_map(|chunk| ask_again(view, *chunk, sources, rng))
    {
        return Some(choice);
    }
    // What no partial holder has, only a full one can send.
    let fewest = usize::from(!sources.iter().any(|source| source.link.held.is_full()));
    let rarest = download.rarity.rarest(rng, fewest, ask);
    rarest.or_else(|| {
        // The rarest are all with sources that have no room: take what those with room have.
        let first = rng.random_range(0..sources.len());
        let (late, early) = sources.split_at(first);
        early.iter().chain(late).find_map(|source| rarest_of(download, *source, rng))
    })
}

/// The source to ask for a chunk that failed: one that has proven itself, unless none that holds it
/// has time for us.
fn ask_again(
    view: FileView,
    chunk: ChunkIndex,
    sources: &[Candidate],
    rng: &mut StdRng,
) -> Option<Choice> {
    let holders = filtered(sources, |source| source.may_be_asked_for(chunk));
    let choice = |peer| Choice { peer, chunk };
    if let Some(peer) = less_loaded(&filtered(&holders, Candidate::is_proven), rng) {
        return Some(choice(peer));
    }
    let waits = |of: Candidate| {
        of.is_proven() && of.link.busy_until.is_none() && of.may_be_asked_for(chunk)
    };
    let is_worth_waiting = || view.links().any(waits);
    less_loaded(&holders, rng).filter(|_| !is_worth_waiting()).map(choice)
}

/// One of the rarest chunks that the source has for us, of a few hundred from a random one on.
fn rarest_of(download: &Incomplete, source: Candidate, rng: &mut StdRng) -> Option<Choice> {
    let Candidate { peer, link, .. } = source;
    let PeerHas::Part(held) = &link.held else { return None };
    let skipped = rng.random_range(0..link.wanted.max(1)) as usize;
    let wanted = || {
        let missing = held.difference(download.chunks.taken());
        missing.filter(|chunk| download.rarity.is_listed(*chunk) && source.may_be_asked_for(*chunk))
    };
    let copies = |chunk: &ChunkIndex| download.rarity.copies(*chunk);
    let chunk = wanted().skip(skipped).take(MAX_CANDIDATES).min_by_key(copies);
    chunk
        .or_else(|| wanted().take(MAX_CANDIDATES).min_by_key(copies))
        .map(|chunk| Choice { peer, chunk })
}

fn filtered<'a>(
    candidates: &[Candidate<'a>],
    is_meant: impl Fn(&Candidate<'a>) -> bool,
) -> Vec<Candidate<'a>> {
    candidates.iter().filter(|candidate| is_meant(candidate)).copied().collect()
}

/// Of two random candidates the one with fewer of our requests, then with the lower load of its
/// own.
fn less_loaded(candidates: &[Candidate], rng: &mut impl Rng) -> Option<PeerKey> {
    let count = candidates.len();
    let [a, b] = match count {
        0 => return None,
        1 => return Some(candidates[0].peer),
        _ => {
            let first = rng.random_range(0..count);
            // The second is any but the first.
            let second = (first + rng.random_range(1..count)) % count;
            [candidates[first], candidates[second]]
        }
    };
    let load = |source: Candidate| (source.requests.open().len(), source.link.load);
    let a_wins = load(a) < load(b) || load(a) == load(b) && rng.random_bool(0.5);
    Some(if a_wins { a.peer } else { b.peer })
}
