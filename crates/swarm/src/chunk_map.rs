//! Where in a file the chunks are that it has: a few cells, each a run of chunks. The cells cover
//! every chunk once.

use tnet_fileinfo::ChunkSet;

/// A run of chunks. Exhaustive: a cell is these counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChunkCell {
    /// Chunks in it.
    pub chunks: u32,
    /// Those that are verified and on disk.
    pub stored: u32,
    /// Those that are asked for, or arrived and are being verified and written, or were on disk
    /// from the beginning and are still to be verified.
    pub under_way: u32,
}

/// At most so many cells, none of them empty. Takes time in proportion to the words of the sets,
/// not to the chunks. `taken` holds `stored`.
pub(crate) fn chunk_map(stored: &ChunkSet, taken: &ChunkSet, most_cells: u32) -> Vec<ChunkCell> {
    let (chunks, cells) = (stored.len(), most_cells.min(stored.len()));
    let bound = |cell: u32| {
        let bound = u64::from(cell) * u64::from(chunks) / u64::from(cells);
        u32::try_from(bound).expect("a part of the chunks is not more than all of them")
    };
    let cell = |cell| {
        let range = bound(cell)..bound(cell + 1);
        let stored = stored.count_in(range.clone());
        let under_way = taken.count_in(range.clone()) - stored;
        ChunkCell { chunks: range.end - range.start, stored, under_way }
    };
    (0..cells).map(cell).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tnet_fileinfo::{ChunkSize, Geometry};

    use super::*;

    const CHUNK: u32 = 16 * 1024;

    fn geometry(chunks: u32) -> Geometry {
        Geometry::new(u64::from(chunks) * u64::from(CHUNK), ChunkSize::new(CHUNK).unwrap()).unwrap()
    }

    #[test]
    fn an_empty_file_has_no_cells() {
        let empty = ChunkSet::empty(&geometry(0));
        assert!(chunk_map(&empty, &empty, 64).is_empty());
    }

    proptest! {
        #[test]
        fn the_cells_sum_to_the_chunks_and_say_where_they_are(
            chunks in 1_u32..3000,
            most_cells in 1_u32..100,
            picked in prop::collection::vec((any::<u32>(), any::<bool>()), 0..300),
        ) {
            let geometry = geometry(chunks);
            let (mut stored, mut taken) = (ChunkSet::empty(&geometry), ChunkSet::empty(&geometry));
            for (chunk, is_stored) in picked {
                let chunk = geometry.chunk(chunk % chunks).unwrap();
                taken.insert(chunk);
                if is_stored {
                    stored.insert(chunk);
                }
            }
            let map = chunk_map(&stored, &taken, most_cells);
            prop_assert_eq!(map.len(), chunks.min(most_cells) as usize);
            prop_assert!(map.iter().all(|cell| cell.chunks > 0));
            let mut first = 0;
            for cell in &map {
                let run: Vec<_> = (first..first + cell.chunks).map(|chunk| geometry.chunk(chunk).unwrap()).collect();
                let count = |set: &ChunkSet| run.iter().map(|chunk| u32::from(set.contains(*chunk))).sum::<u32>();
                prop_assert_eq!((cell.stored, cell.under_way), (count(&stored), count(&taken) - count(&stored)));
                first += cell.chunks;
            }
            prop_assert_eq!(first, chunks);
            prop_assert_eq!(map.iter().map(|cell| cell.stored).sum::<u32>(), stored.count());
        }
    }
}
