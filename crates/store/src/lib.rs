//! Files on disk: complete files that are served, and downloads in progress.
//!
//! All functions block and need no async runtime; callers run them where blocking is allowed.
//!
//! ```
//! use tnet_fileinfo::{scan, scan_file};
//! use tnet_store::FileStore;
//!
//! let dir = tempfile::tempdir()?;
//! let path = dir.path().join("image.bin");
//! std::fs::write(&path, [7; 100_000])?;
//! let info = scan_file(&path, None, &scan::unwatched)?;
//!
//! let store = FileStore::open_shared(&path, &info)?;
//! let second = info.geometry().chunk(1).expect("100 000 bytes are two chunks");
//! let mut part = [0; 1000];
//! store.read_chunk_part(second, 0, &mut part)?;
//! assert_eq!(part, [7; 1000]);
//!
//! // A changed file is not served any more.
//! std::fs::write(&path, [8; 99_999])?;
//! assert!(store.read_chunk_part(second, 0, &mut part).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What survives a crash
//! A download to `OUT` lives in `OUT.partial`, with `OUT.partial.journal` beside it. Chunks are
//! verified before they are written; the data is synced before the journal hears of it; the whole
//! is synced before it gets its name. So the name `OUT` stands for the whole file or for what stood
//! there before, and the journal never claims a chunk that a power cut can take. What each moment
//! leaves, and what the next [`Download::open`] makes of it:
//!
//! | crash or power cut after              | on disk                                       | next open                                          |
//! |---------------------------------------|-----------------------------------------------|----------------------------------------------------|
//! | `.partial` created and locked         | empty `.partial`; the lock died with us       | starts anew                                        |
//! | space reserved, or some of it         | `.partial` all hole                           | starts anew, reads nothing                         |
//! | journal created, header perhaps torn  | no journal that can be believed               | removes it; content decides                        |
//! | chunk written, not synced             | all, part or nothing of the chunk             | hashes it: kept if right, else missing             |
//! | data synced, journal not written      | the chunks                                    | hashes them: all kept                              |
//! | journal record written, not synced    | perhaps a torn record                         | as below for the records before it, hashes the rest|
//! | journal synced                        | chunks and records                            | fetches the others, hashes these meanwhile         |
//! | a sync failed                         | unknown for all chunks since the last success | hashes them from the disk, not from the cache      |
//! | renamed, directory not synced         | `.partial` with all chunks, or `OUT`          | hashes all and finishes, or finds `OUT` complete   |
//! | linked, `.partial` not yet unlinked   | both names on one file                        | finds `OUT` complete, removes the second name      |
//! | directory synced, journal still there | `OUT` and a journal that speaks of its inode  | finds `OUT` complete, removes the journal          |
//!
//! A journal saves fetching, never verifying. It names the inode and birth time of its `.partial`:
//! if the user removes or replaces the `.partial`, the journal is not looked at, nor if the length
//! is wrong. But the bytes of a journaled chunk can change without any of that: a bit rots, a
//! backup is restored over the file, a snapshot brings an older one back, a disk lied about a sync.
//! So a chunk that only the journal [vouches for](Download::vouched) is not stored. It is not
//! fetched either, but read and hashed in the background; until then it is not served, and
//! [`Download::finish`] refuses. One with another sum is missing again.
//!
//! What is promised in the end: every chunk of a file that gets its name was verified by the
//! process that names it, through the descriptor that it holds the lock of. Bytes that another
//! program changes behind our back after that and before the rename are not noticed.
//!
//! A directory that replaces an older one is exchanged with it: `switch.rs` lists the moments of
//! that.
//!
//! `.partial` belongs to no file in particular: if another version of the file was being downloaded
//! to the same `OUT`, the chunks both have in common (same bytes at the same place) are kept and
//! the rest is overwritten.

mod beneath;
mod block_file;
mod cached_part;
mod candidate;
mod check;
mod chunk_reader;
mod chunk_source;
mod chunk_writer;
mod content_bytes;
mod cost;
mod disks;
mod download;
mod error;
mod fd_cache;
mod file_id;
mod file_state;
mod file_store;
mod fingerprint;
mod flaws;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod journal;
mod ledger;
mod named_dir;
mod no_room;
mod one_file;
mod open;
mod open_tree;
mod origin;
mod out_dir;
mod output_identity;
mod page_cache;
mod parallel;
mod partial;
mod partial_bytes;
mod replaced;
mod reservation;
mod resume;
mod reuse_in_file;
mod reuse_in_tree;
mod scan_cache;
pub mod share;
mod shared_root;
mod switch;
mod sys;
mod target;
pub mod tree;
mod watch_link;
mod whole_file;

pub use cached_part::CachedPart;
pub use candidate::{Candidate, is_transient};
pub use check::CheckedChunks;
pub use chunk_reader::ChunkVerdict;
pub use chunk_source::ChunkSource;
pub use cost::Cost;
pub use disks::Disks;
pub use download::{Download, DownloadOptions, OnExisting, Opened};
pub use error::{
    DiscardError, FinishError, OpenError, ReadAgainError, ReadError, ShareError, SyncError,
    WriteError,
};
pub use fd_cache::FdCache;
pub use file_id::FileId;
pub use file_state::FileState;
pub use file_store::FileStore;
pub use fingerprint::FileFingerprint;
pub use flaws::{Flaw, Flaws};
pub use named_dir::{
    Exposure, FindError, FoundDirectory, OtherUsers, TrustedUsers, find_directory,
};
pub use no_room::NoRoom;
pub use out_dir::{FileLocation, OutDirectory};
pub use output_identity::{OutputIdentity, OutputKey};
pub use scan_cache::ScanCache;
pub use shared_root::SharedRoot;
pub use sys::{
    Protection, effective_user, ignores_modes, is_unchangeable, non_unix_file_system,
    open_directory, protection,
};
pub use target::{
    JOURNAL_SUFFIX, PARTIAL_SUFFIX, is_manifest_path, manifest_path, remove_manifest,
};
pub use watch_link::WatchLink;
pub use whole_file::write_whole;

#[cfg(test)]
mod tests;
#[cfg(test)]
use tests::wait_for_the_clock_of;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
