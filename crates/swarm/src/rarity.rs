//! The listed chunks in order of how many partial holders have them, rarest first, random among
//! equals.
//!
//! Full holders have every chunk, so they change no order and are not counted. A change of one
//! count is O(1); listing or unlisting a chunk costs one step per distinct count.

use rand::{Rng, RngExt};
use tnet_fileinfo::{ChunkIndex, Geometry};

const UNLISTED: u32 = u32::MAX;

/// Chunks offered in one search: keeps it cheap when the rarest chunks are all with sources that
/// have no room.
const MAX_CANDIDATES: usize = 256;

#[derive(Debug)]
pub(crate) struct Rarity {
    copies: Vec<u32>,
    /// Listed chunks by rising count.
    order: Vec<ChunkIndex>,
    /// Where in `order` a chunk is, or `UNLISTED`.
    position: Vec<u32>,
    /// `start[c]` is where the chunks with `c` copies begin; the last entry is the end.
    start: Vec<u32>,
}

impl Rarity {
    /// Lists nothing.
    pub(crate) fn new(geometry: &Geometry) -> Rarity {
        let chunks = geometry.chunk_count() as usize;
        Rarity {
            copies: vec![0; chunks],
            order: Vec::new(),
            position: vec![UNLISTED; chunks],
            start: vec![0, 0],
        }
    }

    pub(crate) fn is_listed(&self, chunk: ChunkIndex) -> bool {
        self.position[chunk.index()] != UNLISTED
    }

    pub(crate) fn copies(&self, chunk: ChunkIndex) -> u32 {
        self.copies[chunk.index()]
    }

    pub(crate) fn add_copy(&mut self, chunk: ChunkIndex) {
        let copies = self.copies[chunk.index()] as usize;
        self.copies[chunk.index()] += 1;
        if !self.is_listed(chunk) {
            return;
        }
        self.reserve_bucket(copies + 1);
        // The last of its bucket becomes the first of the next.
        self.start[copies + 1] -= 1;
        self.swap(self.position[chunk.index()], self.start[copies + 1]);
    }

    pub(crate) fn remove_copy(&mut self, chunk: ChunkIndex) {
        let copies = self.copies[chunk.index()] as usize;
        self.copies[chunk.index()] -= 1;
        if !self.is_listed(chunk) {
            return;
        }
        // The first of its bucket becomes the last of the one before.
        self.swap(self.position[chunk.index()], self.start[copies]);
        self.start[copies] += 1;
    }

    pub(crate) fn list(&mut self, chunk: ChunkIndex, rng: &mut impl Rng) {
        if self.is_listed(chunk) {
            return;
        }
        let copies = self.copies[chunk.index()] as usize;
        self.reserve_bucket(copies);
        self.position[chunk.index()] = index32(self.order.len());
        self.order.push(chunk);
        // Each later bucket gives its first place to the newcomer and takes the place at its own
        // end.
        let last = self.start.len() - 1;
        self.start[last] += 1;
        for bucket in (copies + 1..last).rev() {
            self.swap(self.position[chunk.index()], self.start[bucket]);
            self.start[bucket] += 1;
        }
        let bucket = self.start[copies]..self.start[copies + 1];
        self.swap(self.position[chunk.index()], rng.random_range(bucket));
    }

    pub(crate) fn unlist(&mut self, chunk: ChunkIndex) {
        if !self.is_listed(chunk) {
            return;
        }
        let last = self.start.len() - 1;
        for bucket in self.copies[chunk.index()] as usize + 1..=last {
            self.start[bucket] -= 1;
            self.swap(self.position[chunk.index()], self.start[bucket]);
        }
        self.order.pop();
        self.position[chunk.index()] = UNLISTED;
    }

    /// The first answer of `accept`, asked from the rarest chunk with at least `fewest` copies on,
    /// in random order among equals. None also if a few hundred were refused.
    pub(crate) fn rarest<R: Rng, T>(
        &self,
        rng: &mut R,
        fewest: usize,
        mut accept: impl FnMut(ChunkIndex, &mut R) -> Option<T>,
    ) -> Option<T> {
        let mut left = MAX_CANDIDATES;
        for bounds in self.start.windows(2).skip(fewest) {
            let bucket = &self.order[bounds[0] as usize..bounds[1] as usize];
            if bucket.is_empty() {
                continue;
            }
            let (late, early) = bucket.split_at(rng.random_range(0..bucket.len()));
            if let Some(found) =
                early.iter().chain(late).take(left).find_map(|chunk| accept(*chunk, rng))
            {
                return Some(found);
            }
            left = left.saturating_sub(bucket.len());
        }
        None
    }

    fn reserve_bucket(&mut self, copies: usize) {
        let end = index32(self.order.len());
        while self.start.len() < copies + 2 {
            self.start.push(end);
        }
    }

    fn swap(&mut self, a: u32, b: u32) {
        self.order.swap(a as usize, b as usize);
        self.position[self.order[a as usize].index()] = a;
        self.position[self.order[b as usize].index()] = b;
    }

    /// Panics if the order or an index is wrong.
    #[cfg(any(test, feature = "check"))]
    pub(crate) fn check(&self) {
        assert_eq!(self.start[0], 0);
        assert_eq!(self.start.last().map(|end| *end as usize), Some(self.order.len()));
        for (copies, bounds) in self.start.windows(2).enumerate() {
            for chunk in &self.order[bounds[0] as usize..bounds[1] as usize] {
                assert_eq!(
                    self.copies[chunk.index()] as usize,
                    copies,
                    "{chunk} is in the wrong bucket"
                );
            }
        }
        for (at, chunk) in self.order.iter().enumerate() {
            assert_eq!(self.position[chunk.index()] as usize, at, "{chunk} is elsewhere");
        }
        let listed = self.position.iter().filter(|at| **at != UNLISTED).count();
        assert_eq!(listed, self.order.len());
    }

    /// Panics unless each chunk has the count that `expected` says.
    #[cfg(any(test, feature = "check"))]
    pub(crate) fn check_copies(&self, expected: &[u32]) {
        assert_eq!(self.copies, expected, "copies known among partial holders");
    }
}

fn index32(len: usize) -> u32 {
    u32::try_from(len).expect("a file has at most MAX_CHUNKS chunks")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use tnet_fileinfo::{ChunkSize, MIN_CHUNK_SIZE};

    use super::*;

    fn geometry(chunks: u32) -> Geometry {
        let size = ChunkSize::new(MIN_CHUNK_SIZE).unwrap();
        Geometry::new(u64::from(chunks) * u64::from(MIN_CHUNK_SIZE), size).unwrap()
    }

    proptest! {
        #[test]
        fn the_first_offer_is_always_a_chunk_with_fewest_copies(
            operations in prop::collection::vec((0u8..4, 0u32..12), 0..200)
        ) {
            let geometry = geometry(12);
            let mut rng = StdRng::seed_from_u64(1);
            let mut rarity = Rarity::new(&geometry);
            let mut copies = [0u32; 12];
            let mut listed = [false; 12];
            for (operation, chunk) in operations {
                let at = chunk as usize;
                let chunk = geometry.chunk(chunk).unwrap();
                match operation {
                    0 => { rarity.add_copy(chunk); copies[at] += 1; }
                    1 if copies[at] > 0 => { rarity.remove_copy(chunk); copies[at] -= 1; }
                    2 => { rarity.list(chunk, &mut rng); listed[at] = true; }
                    3 => { rarity.unlist(chunk); listed[at] = false; }
                    _ => {}
                }
                rarity.check();
                rarity.check_copies(&copies);
                let fewest = (0..12).filter(|at| listed[*at]).map(|at| copies[at]).min();
                prop_assert_eq!(rarity.rarest(&mut rng, 0, |chunk, _| Some(copies[chunk.index()])), fewest);
            }
        }
    }

    #[test]
    fn every_listed_chunk_is_offered_once() {
        let geometry = geometry(100);
        let mut rng = StdRng::seed_from_u64(2);
        let mut rarity = Rarity::new(&geometry);
        geometry.chunks().for_each(|chunk| rarity.list(chunk, &mut rng));
        let mut offered = Vec::new();
        let none: Option<()> = rarity.rarest(&mut rng, 0, |chunk, _| {
            offered.push(chunk);
            None
        });
        assert_eq!(none, None);
        offered.sort();
        assert_eq!(offered, geometry.chunks().collect::<Vec<_>>());
    }

    #[test]
    fn chunks_with_fewer_copies_than_asked_for_are_not_offered() {
        let geometry = geometry(3);
        let mut rng = StdRng::seed_from_u64(2);
        let mut rarity = Rarity::new(&geometry);
        geometry.chunks().for_each(|chunk| rarity.list(chunk, &mut rng));
        rarity.add_copy(geometry.chunk(1).unwrap());
        let first = rarity.rarest(&mut rng, 1, |chunk, _| Some(chunk.get()));
        assert_eq!(
            (first, rarity.rarest(&mut rng, 2, |chunk, _| Some(chunk.get()))),
            (Some(1), None)
        );
    }

    #[test]
    fn a_search_ends_after_a_bounded_number_of_refusals() {
        let geometry = geometry(10_000);
        let mut rng = StdRng::seed_from_u64(2);
        let mut rarity = Rarity::new(&geometry);
        geometry.chunks().for_each(|chunk| rarity.list(chunk, &mut rng));
        let mut offered = 0;
        let none: Option<()> = rarity.rarest(&mut rng, 0, |_, _| {
            offered += 1;
            None
        });
        assert_eq!((none, offered), (None, MAX_CANDIDATES));
    }

    #[test]
    fn equals_are_offered_in_random_order() {
        let geometry = geometry(64);
        let first = |seed| {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut rarity = Rarity::new(&geometry);
            geometry.chunks().for_each(|chunk| rarity.list(chunk, &mut rng));
            rarity.rarest(&mut rng, 0, |chunk, _| Some(chunk))
        };
        let distinct: std::collections::BTreeSet<_> = (0..100).map(first).collect();
        assert!(
            distinct.len() > 30,
            "only {} different first chunks in 100 draws of 64",
            distinct.len()
        );
    }
}
