//! Sums and sets of chunks.

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use tnet_fileinfo::{ChunkSet, ChunkSize, Geometry, chunk_sum};

use super::Step;

pub(crate) const CHUNK: u32 = 64 * 1024;

pub(crate) fn geometry(chunks: u32) -> Geometry {
    let size = ChunkSize::new(CHUNK).expect("64 KiB is a size of chunks");
    Geometry::new(u64::from(chunks) * u64::from(CHUNK), size).expect("a small file")
}

/// Each chunk with a probability of one half.
pub(crate) fn random_half(geometry: &Geometry, rng: &mut impl Rng) -> ChunkSet {
    let mut set = ChunkSet::empty(geometry);
    for chunk in geometry.chunks() {
        if rng.random_bool(0.5) {
            set.insert(chunk);
        }
    }
    set
}

pub(crate) fn verify() -> Step {
    let bytes: Vec<u8> = (0..CHUNK).map(|at| (at % 251) as u8).collect();
    Box::new(move || {
        let geometry = geometry(16);
        let chunk = geometry.chunk(3).expect("there are 16");
        u64::from(chunk_sum(&geometry, chunk, &bytes).as_bytes()[0])
    })
}

pub(crate) fn difference() -> Step {
    let geometry = geometry(8192);
    let mut rng = StdRng::seed_from_u64(1);
    let (ours, theirs) = (random_half(&geometry, &mut rng), random_half(&geometry, &mut rng));
    Box::new(move || {
        let first: u32 = ours.difference(&theirs).take(16).map(|chunk| chunk.get()).sum();
        u64::from(first + ours.difference_count(&theirs))
    })
}
