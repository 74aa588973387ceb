//! Which chunks a full seed has not given away yet. Each is given once, to different peers, before
//! any is given again: so the seed's uplink, the scarcest good of a young swarm, carries nothing
//! twice.

use rand::Rng;
use rand::seq::SliceRandom;
use tnet_fileinfo::{ChunkIndex, ChunkSet, Geometry};

/// Candidates looked at for one suggestion: keeps it cheap when a peer has nearly everything
/// already.
const MAX_CANDIDATES: usize = 256;

#[derive(Debug)]
pub(crate) struct SuggestOnce {
    /// Given to a peer, or seen at one.
    spread: ChunkSet,
    /// A random order; what is spread is dropped when it is met at the end.
    order: Vec<ChunkIndex>,
    /// What is in `order`, so that a chunk is there once however often it comes back.
    ordered: ChunkSet,
}

impl SuggestOnce {
    /// Nothing was given away yet.
    pub(crate) fn fresh(geometry: &Geometry, rng: &mut impl Rng) -> SuggestOnce {
        let mut order: Vec<ChunkIndex> = geometry.chunks().collect();
        order.shuffle(rng);
        SuggestOnce { spread: ChunkSet::empty(geometry), order, ordered: ChunkSet::full(geometry) }
    }

    /// Others have it all already.
    pub(crate) fn done(geometry: &Geometry) -> SuggestOnce {
        SuggestOnce {
            spread: ChunkSet::full(geometry),
            order: Vec::new(),
            ordered: ChunkSet::empty(geometry),
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.spread.is_full()
    }

    pub(crate) fn is_spread(&self, chunk: ChunkIndex) -> bool {
        self.spread.contains(chunk)
    }

    pub(crate) fn mark(&mut self, chunk: ChunkIndex) {
        self.spread.insert(chunk);
    }

    /// It did not arrive after all.
    pub(crate) fn restore(&mut self, chunk: ChunkIndex) {
        if self.spread.remove(chunk) && self.ordered.insert(chunk) {
            self.order.push(chunk);
        }
    }

    /// A chunk that no peer got yet and that the peer, whose holdings are given, lacks. Marks it.
    pub(crate) fn next_for(&mut self, holds: &ChunkSet) -> Option<ChunkIndex> {
        while let Some(chunk) = self.order.pop_if(|chunk| self.spread.contains(*chunk)) {
            self.ordered.remove(chunk);
        }
        let spread = &self.spread;
        let found = self
            .order
            .iter()
            .rev()
            .take(MAX_CANDIDATES)
            .find(|c| !spread.contains(**c) && !holds.contains(**c));
        let chunk = *found?;
        self.mark(chunk);
        Some(chunk)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use tnet_fileinfo::{ChunkSize, MIN_CHUNK_SIZE};

    use super::*;

    fn geometry() -> Geometry {
        Geometry::new(1000 * u64::from(MIN_CHUNK_SIZE), ChunkSize::new(MIN_CHUNK_SIZE).unwrap())
            .unwrap()
    }

    #[test]
    fn every_chunk_is_suggested_exactly_once() {
        let geometry = geometry();
        let mut suggest = SuggestOnce::fresh(&geometry, &mut StdRng::seed_from_u64(3));
        let nothing = ChunkSet::empty(&geometry);
        let mut suggested: Vec<_> = std::iter::from_fn(|| suggest.next_for(&nothing)).collect();
        suggested.sort();
        assert_eq!(suggested, geometry.chunks().collect::<Vec<_>>());
        assert!(suggest.is_done());
    }

    #[test]
    fn a_chunk_that_did_not_arrive_is_suggested_again() {
        let geometry = geometry();
        let mut suggest = SuggestOnce::fresh(&geometry, &mut StdRng::seed_from_u64(3));
        let nothing = ChunkSet::empty(&geometry);
        let chunk = suggest.next_for(&nothing).unwrap();
        suggest.restore(chunk);
        assert_eq!(suggest.next_for(&nothing), Some(chunk));
    }

    #[test]
    fn chunks_that_come_back_again_and_again_take_no_more_memory() {
        let geometry = geometry();
        let mut suggest = SuggestOnce::fresh(&geometry, &mut StdRng::seed_from_u64(3));
        for _ in 0..10_000 {
            let chunk = suggest.next_for(&ChunkSet::empty(&geometry)).unwrap();
            suggest.restore(chunk);
        }
        assert!(suggest.order.len() <= 1000, "{} entries for 1000 chunks", suggest.order.len());
    }

    #[test]
    fn a_peer_is_never_offered_what_it_holds() {
        let geometry = geometry();
        let mut suggest = SuggestOnce::fresh(&geometry, &mut StdRng::seed_from_u64(3));
        assert_eq!(suggest.next_for(&ChunkSet::full(&geometry)), None);
        assert!(!suggest.is_done());
    }
}
