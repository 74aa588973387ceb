//! Files with their true descriptions, for targets that alter them.

use std::sync::LazyLock;

use tnet_fileinfo::{
    ChunkSize, ChunkSum, FileInfo, Geometry, MIN_CHUNK_SIZE, Tail, chunk_sum, root,
};

const CHUNK: usize = MIN_CHUNK_SIZE as usize;

/// Around the boundaries of the tree: nothing, leaf, chunk, several chunks, powers of two of
/// chunks.
const SIZES: [usize; 14] = [
    0,
    1,
    1024,
    1025,
    CHUNK - 1,
    CHUNK,
    CHUNK + 1,
    2 * CHUNK,
    3 * CHUNK - 1024,
    4 * CHUNK,
    4 * CHUNK + 1,
    5 * CHUNK + 3000,
    8 * CHUNK,
    9 * CHUNK + 1025,
];

/// A file and its true descriptions.
#[derive(Debug)]
pub struct Truth {
    /// Every byte.
    pub content: Vec<u8>,
    /// Cut into the smallest chunks, into twice and into four times as large ones.
    pub infos: [FileInfo; 3],
}

impl Truth {
    /// Cut into the smallest chunks.
    pub fn info(&self) -> &FileInfo {
        &self.infos[0]
    }
}

/// All of them, the same in each run.
pub static TRUTHS: LazyLock<Vec<Truth>> = LazyLock::new(|| {
    let truth = |len| {
        // Repeats with no power of two, so that no two chunks are alike.
        let content: Vec<u8> = (0..=250).cycle().take(len).collect();
        let infos = [1, 2, 4].map(|times| describe(&content, times * MIN_CHUNK_SIZE));
        Truth { content, infos }
    };
    SIZES.into_iter().map(truth).collect()
});

/// The description of a file with this content.
pub fn describe(content: &[u8], chunk_size: u32) -> FileInfo {
    let chunk_size = ChunkSize::new(chunk_size).expect("a power of two within the bounds");
    let geometry = Geometry::new(content.len() as u64, chunk_size).expect("a small file");
    let chunks: Vec<&[u8]> = content.chunks(chunk_size.get() as usize).collect();
    let sums: Vec<ChunkSum> =
        geometry.chunks().map(|chunk| chunk_sum(&geometry, chunk, chunks[chunk.index()])).collect();
    let tail = Tail::of(&geometry, chunks.last().copied().unwrap_or_default());
    let hash = root(&geometry, &sums);
    FileInfo::from_parts(None, geometry, sums, tail, hash).expect("made from the content itself")
}
