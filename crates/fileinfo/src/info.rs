//! What has to be known of a file to fetch it. A [`FileInfo`] always proves itself: its sums make
//! its hash, and its tail proves its size. There is no way to hold one that does not.

use std::fmt;
use std::sync::Arc;

use crate::chunk_size::ChunkSize;
use crate::explain::Explain;
use crate::file_name::{FileName, FileNameError};
use crate::geometry::{ChunkIndex, Geometry, GeometryError};
use crate::hash::{ChunkSum, FileHash};
use crate::hash_tree::{chunk_sum, root};
use crate::tail::{Tail, TailError};
use crate::tree::MAX_MANIFEST_LEN;

/// A file's geometry, chunk sums and hash, proven against each other, and perhaps its name, which
/// nothing proves. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct FileInfo {
    name: Option<FileName>,
    proven: Arc<Proven>,
}

#[derive(PartialEq, Eq)]
struct Proven {
    geometry: Geometry,
    hash: FileHash,
    sums: Vec<ChunkSum>,
    tail: Tail,
}

impl FileInfo {
    /// Assembles a description from untrusted parts: recomputes the root from the sums and the last
    /// sum from the tail.
    ///
    /// Hashes 64 bytes for each chunk: at most some hundred milliseconds, for a million of them.
    ///
    /// # Errors
    /// The parts do not fit each other, or do not make `expected`.
    pub fn from_parts(
        name: Option<FileName>,
        geometry: Geometry,
        sums: Vec<ChunkSum>,
        tail: Tail,
        expected: FileHash,
    ) -> Result<Self, FileInfoError> {
        if sums.len() != geometry.chunk_count() as usize {
            return Err(FileInfoError::SumCount {
                found: sums.len(),
                expected: geometry.chunk_count(),
            });
        }
        tail.proves(&geometry, sums.last())?;
        let computed = root(&geometry, &sums);
        if computed != expected {
            return Err(FileInfoError::HashMismatch { claimed: expected, computed });
        }
        Ok(Self { name, proven: Arc::new(Proven { geometry, hash: expected, sums, tail }) })
    }

    /// Describes bytes in memory, without a name. Hashes them in this thread: 3 GB take about a
    /// second.
    ///
    /// # Errors
    /// There are too many bytes for the chunk size.
    pub fn of_bytes(bytes: &[u8], chunk_size: Option<ChunkSize>) -> Result<Self, GeometryError> {
        let size = bytes.len() as u64;
        let chunk_size = chunk_size.unwrap_or_else(|| ChunkSize::default_for(size));
        let geometry = Geometry::new(size, chunk_size)?;
        let mut rest = bytes;
        let mut last = bytes;
        let mut sums = Vec::with_capacity(geometry.chunk_count() as usize);
        for chunk in geometry.chunks() {
            (last, rest) = rest.split_at(geometry.chunk_len(chunk) as usize);
            sums.push(chunk_sum(&geometry, chunk, last));
        }
        let tail = if sums.is_empty() { Tail::default() } else { Tail::of(&geometry, last) };
        let hash = root(&geometry, &sums);
        Ok(Self { name: None, proven: Arc::new(Proven { geometry, hash, sums, tail }) })
    }

    /// The same file under another name, or under none.
    #[must_use]
    pub fn with_name(self, name: Option<FileName>) -> Self {
        Self { name, ..self }
    }

    /// The name in the description, if it has one; for display, and as the default name of the
    /// output.
    pub fn name(&self) -> Option<&FileName> {
        self.name.as_ref()
    }

    /// How the file is cut.
    pub fn geometry(&self) -> &Geometry {
        &self.proven.geometry
    }

    /// Bytes in the file.
    pub fn size(&self) -> u64 {
        self.proven.geometry.size()
    }

    /// What `b3sum` prints for the file.
    pub fn hash(&self) -> FileHash {
        self.proven.hash
    }

    /// What the chunk must hash to.
    ///
    /// # Panics
    /// If the chunk is of another geometry.
    #[expect(
        clippy::indexing_slicing,
        reason = "an index of this geometry, as the caller promises"
    )]
    pub fn sum(&self, chunk: ChunkIndex) -> ChunkSum {
        self.proven.sums[chunk.index()]
    }

    /// The sums of all chunks, in order.
    pub fn sums(&self) -> &[ChunkSum] {
        &self.proven.sums
    }

    /// The proof of the size.
    pub fn tail(&self) -> &Tail {
        &self.proven.tail
    }

    /// Whether these bytes are the chunk: its length and its sum. Takes any bytes.
    ///
    /// # Panics
    /// If the chunk is of another geometry.
    pub fn verify(&self, chunk: ChunkIndex, bytes: &[u8]) -> bool {
        let geometry = self.geometry();
        bytes.len() == geometry.chunk_len(chunk) as usize
            && chunk_sum(geometry, chunk, bytes) == self.sum(chunk)
    }
}

/// Without the sums, of which there can be a million: the hash names the file.
impl fmt::Debug for FileInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileInfo")
            .field("name", &self.name)
            .field("size", &self.size())
            .field("chunk_size", &self.geometry().chunk_size())
            .field("hash", &self.hash())
            .finish_non_exhaustive()
    }
}

/// A description that does not match its own hash, or that cannot be read.
///
/// Not `non_exhaustive`: each case must get an exit code of the command line.
#[derive(Debug, thiserror::Error)]
pub enum FileInfoError {
    /// Longer than the description of the largest possible file.
    #[error("{len} bytes are too many for a .fileinfo; the longest has {limit}")]
    TooLong {
        /// Bytes given.
        len: usize,
        /// Most bytes allowed.
        limit: usize,
    },
    /// Cut off, nested too deeply, or not JSON at all.
    #[error("not JSON")]
    NotJson(#[source] serde_json::Error),
    /// JSON, but a field is there twice or has a value that it cannot have, or it is no object at
    /// all.
    #[error("not a valid .fileinfo")]
    Malformed(#[source] serde_json::Error),
    /// A field that has to be there is not.
    #[error("the field {0:?} is missing")]
    MissingField(&'static str),
    /// Another version of the format.
    #[error(".fileinfo of version {found}, but this program reads version {supported}")]
    VersionMismatch {
        /// Version of the description.
        found: u64,
        /// The version read here.
        supported: u64,
    },
    /// It describes something that this program does not know, probably of a later one.
    #[error("it describes a {kind}, and this program knows files and trees")]
    UnknownKind {
        /// What it says that it describes, escaped, in quotes, and not at length.
        kind: String,
    },
    /// It describes a tree where only a file will do.
    #[error("it describes a tree, not a file")]
    Tree,
    /// It describes a tree whose manifest is longer than any.
    #[error(
        "the manifest of the tree would have {len} bytes; at most {MAX_MANIFEST_LEN} are allowed"
    )]
    ManifestTooLong {
        /// Bytes in the manifest.
        len: u64,
    },
    /// The name is not a file name.
    #[error(transparent)]
    Name(#[from] FileNameError),
    /// Size and chunk size are impossible.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// The number of chunks does not follow from size and chunk size.
    #[error("{claimed} chunks are claimed where size and chunk size make {expected}")]
    ChunkCount {
        /// What the description says.
        claimed: u64,
        /// What size and chunk size make.
        expected: u32,
    },
    /// Not one sum for each chunk.
    #[error("{found} sums for {expected} chunks")]
    SumCount {
        /// Sums there are.
        found: usize,
        /// Chunks of the file.
        expected: u32,
    },
    /// The sums are not those of the file that the hash names.
    #[error(
        "the sums make the hash {computed}, not {claimed}: the description does not prove itself"
    )]
    HashMismatch {
        /// The hash it claims.
        claimed: FileHash,
        /// The hash its sums make.
        computed: FileHash,
    },
    /// The tail does not prove the size.
    #[error("the description does not prove its size")]
    Tail(#[from] TailError),
}

impl Explain for FileInfoError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BOUNDARY_SIZES, bytes, geometry, info};

    #[test]
    fn a_chunk_verifies_only_with_its_own_bytes_at_its_own_place() {
        let size = 50_000;
        let (info, content) = (info(size), bytes(size));
        let part = |chunk: ChunkIndex| {
            let range = info.geometry().range(chunk);
            &content[usize::try_from(range.start).expect("small")
                ..usize::try_from(range.end).expect("small")]
        };
        for chunk in info.geometry().chunks() {
            for other in info.geometry().chunks() {
                assert_eq!(info.verify(chunk, part(other)), chunk == other, "{other} for {chunk}");
            }
            let mut flipped = part(chunk).to_vec();
            flipped[0] ^= 1;
            assert!(!info.verify(chunk, &flipped));
            // Short, nothing, long.
            assert!(!info.verify(chunk, &part(chunk)[1..]));
            assert!(!info.verify(chunk, &[]));
            assert!(!info.verify(chunk, &[part(chunk), &[0]].concat()));
        }
    }

    #[test]
    fn bytes_in_memory_are_described_as_a_file_of_them_is() {
        for size in BOUNDARY_SIZES {
            let of_file = info(size);
            let chunk_size = Some(of_file.geometry().chunk_size());
            assert_eq!(FileInfo::of_bytes(&bytes(size), chunk_size).expect("small"), of_file);
        }
    }

    #[test]
    fn the_hash_is_what_b3sum_prints() {
        for size in BOUNDARY_SIZES {
            assert_eq!(
                info(size).hash().as_bytes(),
                blake3::hash(&bytes(size)).as_bytes(),
                "{size}"
            );
        }
    }

    #[test]
    fn parts_that_do_not_fit_each_other_are_refused() {
        let info = info(50_000);
        let (sums, tail) = (info.sums().to_vec(), info.tail().clone());
        let build =
            |geometry, sums, tail| FileInfo::from_parts(None, geometry, sums, tail, info.hash());
        let refused = build(*info.geometry(), sums[1..].to_vec(), tail.clone());
        assert!(matches!(refused, Err(FileInfoError::SumCount { found: 3, expected: 4 })));
        let mut swapped = sums.clone();
        swapped.swap(0, 1);
        let refused = build(*info.geometry(), swapped, tail.clone());
        assert!(matches!(refused, Err(FileInfoError::HashMismatch { .. })));
        let refused = build(geometry(49_999), sums.clone(), tail.clone());
        assert!(matches!(refused, Err(FileInfoError::Tail(_))));
        let refused = build(geometry(0), Vec::new(), Tail::default());
        assert!(matches!(refused, Err(FileInfoError::HashMismatch { .. })));
        assert!(build(*info.geometry(), sums, tail).is_ok());
    }

    #[test]
    fn inner_nodes_passed_off_as_chunk_sums_make_the_root_but_not_the_size() {
        // Four chunks of 16 KiB, described as two: the parents of each pair, under a size of two
        // chunks.
        let truth = info(4 * 16 * 1024);
        let pair = |left: usize| {
            let values = truth.sums()[left..left + 2].iter().map(|sum| *sum.as_bytes());
            ChunkSum::from_bytes(crate::hash_tree::merge_row(
                values,
                crate::hash_tree::NodePosition::Inner,
            ))
        };
        let forged = geometry(2 * 16 * 1024);
        let sums = vec![pair(0), pair(2)];
        assert_eq!(root(&forged, &sums), truth.hash());
        let refused = FileInfo::from_parts(None, forged, sums, truth.tail().clone(), truth.hash());
        assert!(matches!(refused, Err(FileInfoError::Tail(_))));
    }

    #[test]
    fn the_name_is_not_part_of_the_proof() {
        let info = info(10);
        let named = info.clone().with_name(Some("b.txt".parse().expect("a valid name")));
        assert_eq!(named.name().map(FileName::as_str), Some("b.txt"));
        assert_eq!((named.hash(), named.sums()), (info.hash(), info.sums()));
    }
}
