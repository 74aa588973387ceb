//! A directory as one content.
//!
//! A *tree* is a list of [`Entry`]s: directories, regular files, executable files and symbolic
//! links, sorted bytewise by path. It has no times, owners or other modes, so the same content has
//! the same [`TreeHash`] on every machine. Its *manifest* is that list in canonical bytes, an
//! ordinary content whose BLAKE3 is the hash of the tree. Its *payload* is the concatenation of all
//! its regular files in the order of the manifest, an ordinary content too.
//!
//! ```
//! use tnet_fileinfo::tree::{Manifest, ManifestBuilder};
//! use tnet_fileinfo::{ChunkSize, FileHash, Geometry};
//!
//! let hash = FileHash::from_bytes(*blake3::hash(b"hello").as_bytes());
//! let mut builder = ManifestBuilder::default();
//! builder.directory(b"docs");
//! builder.file(b"docs/greeting.txt", 5, hash, false);
//! builder.link(b"latest", b"docs/greeting.txt");
//! let payload = Geometry::new(5, ChunkSize::new(64 * 1024)?)?;
//! let manifest = builder.finish(payload, hash)?;
//!
//! let read = Manifest::parse(manifest.bytes().to_vec())?;
//! assert_eq!(read.hash(), manifest.hash());
//! assert_eq!(read.find(b"latest").map(|entry| entry.path), Some(&b"latest"[..]));
//! assert_eq!(read.links_to_outside().count(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod build;
mod difference;
mod entry;
mod error;
mod hash;
mod layout;
mod limits;
mod links;
mod manifest;
mod parse;
mod path;
#[cfg(test)]
mod tests;

pub use build::ManifestBuilder;
pub use difference::{Difference, DifferenceKind};
pub use entry::{Entry, EntryKind};
pub use error::{EntryFault, ManifestError};
pub use hash::{ParseTreeHashError, TreeHash};
pub use layout::{Layout, Member, Span};
pub use limits::{MAX_COMPONENT_LEN, MAX_DEPTH, MAX_ENTRIES, MAX_MANIFEST_LEN, MAX_PATH_LEN};
pub use manifest::Manifest;
