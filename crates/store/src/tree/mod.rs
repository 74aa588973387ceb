//! Trees on disk: directories that are one content. [`TreeListing`] finds what is in a directory,
//! [`scan_tree`] makes the manifest and the description of the payload from it.
//!
//! ```
//! use tnet_fileinfo::scan;
//! use tnet_store::tree::{TreeScanOptions, scan_tree};
//!
//! let dir = tempfile::tempdir()?;
//! std::fs::create_dir(dir.path().join("docs"))?;
//! std::fs::write(dir.path().join("docs/greeting.txt"), "hello")?;
//!
//! let tree = scan_tree(dir.path(), TreeScanOptions::default(), &scan::unwatched)?;
//! assert_eq!((tree.manifest.len(), tree.payload.size()), (2, 5));
//! assert_eq!(tree.payload.hash(), tree.manifest.payload_hash());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod hashing;
mod member_file;
mod old_files;
mod partial;
pub(crate) mod reuse;
mod scan;
mod subtrees;
#[cfg(test)]
mod tests;
mod unit;
mod walk;
mod whole;

pub use error::{NoContent, TreeScanError};
pub(crate) use old_files::OldFiles;
pub use partial::TreeFault;
pub(crate) use partial::{PartialTree, remove_tree};
pub use scan::{ScannedTree, TreeScanOptions, scan_tree};
pub use walk::TreeListing;
pub(crate) use whole::WholeTree;
