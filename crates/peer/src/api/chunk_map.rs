//! Where in a file its chunks are, in a few numbers.

use serde::{Deserialize, Serialize};
use tnet_swarm::ChunkCell;

/// Runs of chunks from the beginning of the file to its end, about equally long: the lists have a
/// number for each run.
///
/// Exhaustive: clients of a server read it from JSON and build it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkMap {
    /// Chunks in the run.
    pub chunks: Vec<u32>,
    /// Those of them that are verified and on disk.
    pub stored: Vec<u32>,
    /// Those of them that are asked for, or arrived and are being verified and written.
    pub under_way: Vec<u32>,
}

impl ChunkMap {
    /// Runs in the map of one file at most.
    pub const MOST_CELLS: u32 = 64;
}

impl FromIterator<ChunkCell> for ChunkMap {
    fn from_iter<I: IntoIterator<Item = ChunkCell>>(cells: I) -> ChunkMap {
        let mut map = ChunkMap::default();
        for cell in cells {
            map.chunks.push(cell.chunks);
            map.stored.push(cell.stored);
            map.under_way.push(cell.under_way);
        }
        map
    }
}
