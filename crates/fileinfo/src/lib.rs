//! The description of a file: how it is cut into chunks, what each chunk must hash to, and which
//! chunks are held.
//!
//! A [`FileInfo`] is all that is needed to fetch a file from untrusted peers: each chunk can be
//! verified on its own, and the description proves itself against the file's hash, which is exactly
//! what `b3sum` prints. A [`Geometry`] makes the [`ChunkIndex`]es of a file, so that code below it
//! need not check bounds again, and a [`ChunkSet`] is a set of them.
//!
//! ```
//! use tnet_fileinfo::{ChunkSize, FileInfo, scan, scan_file, verify_file};
//!
//! let dir = tempfile::tempdir()?;
//! let path = dir.path().join("greeting.bin");
//! std::fs::write(&path, [7; 100_000])?;
//!
//! // Describe the file, and hand the description on as text.
//! let info = scan_file(&path, Some(ChunkSize::new(64 * 1024)?), &scan::unwatched)?;
//! assert_eq!(info.hash().as_bytes(), blake3::hash(&[7; 100_000]).as_bytes());
//! let text = info.to_json();
//!
//! // Parsing proves that sums, size and hash belong together, before a byte is fetched.
//! let info = FileInfo::parse(text.as_bytes())?;
//! let second = info.geometry().chunk(1).expect("100 000 bytes are two chunks");
//! assert!(info.verify(second, &[7; 100_000 - 65_536]));
//! assert!(!info.verify(second, b"something else"));
//!
//! // What does a damaged copy still hold?
//! std::fs::write(&path, [[7; 65_536], [8; 65_536]].concat())?;
//! let right = verify_file(&std::fs::File::open(&path)?, &info, None, &scan::unwatched)?;
//! assert_eq!((right.count(), right.len()), (1, 2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Nothing here touches the network or a clock. Only [`scan`] reads files; it blocks, so keep it
//! off an async runtime.

// Outside input must never be used as an index: use `get`.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod chunk_set;
mod chunk_size;
mod described;
mod explain;
mod file_name;
mod geometry;
mod hash;
mod hash_tree;
mod hex;
mod info;
mod json;
#[allow(clippy::indexing_slicing, reason = "reads files of our own choice into buffers of our own")]
pub mod scan;
mod shown;
mod special_name;
mod tail;
#[cfg(test)]
mod testing;
pub mod tree;

pub use chunk_set::{ChunkSet, ChunkSetError};
pub use chunk_size::{ChunkSize, MAX_CHUNK_SIZE, MIN_CHUNK_SIZE};
pub use described::Described;
pub use explain::{Explain, Explanation, chain, explain};
pub use file_name::{FileName, FileNameError, FileNameFault};
pub use geometry::{ChunkIndex, Geometry, GeometryError, MAX_CHUNKS};
pub use hash::{ChunkSum, FileHash, ParseHashError};
pub use hash_tree::{ChunkHasher, chunk_sum, root};
pub use info::{FileInfo, FileInfoError};
pub use json::MAX_FILEINFO_LEN;
pub use scan::{ProgressFn, ScanError, scan_file, scan_open_file, verify_file};
pub use shown::{Shown, is_plain, shown, shown_path, write_escaped};
pub use special_name::SpecialName;
pub use tail::{Tail, TailError};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
