//! A file as tests speak of it: what it is made of, its description, and whether a copy of it is
//! one.

use std::path::Path;

use tnet_fileinfo::scan::unwatched;
use tnet_fileinfo::{ChunkIndex, ChunkSize, FileHash, FileInfo, FileName, scan_file};
use tokio::task::spawn_blocking;

use crate::payload::Payload;
use crate::raw::{RawPeer, RawPeerBuilder};

/// A payload with its description. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Content {
    payload: Payload,
    info: FileInfo,
}

impl Content {
    /// Cut as a peer cuts a file that it shares.
    pub fn of(payload: Payload) -> Content {
        Content::chunked(payload, ChunkSize::default_for(payload.len()))
    }

    /// Cut into chunks of that size.
    ///
    /// # Panics
    /// If there would be too many.
    pub fn chunked(payload: Payload, chunk_size: ChunkSize) -> Content {
        Content { payload, info: payload.describe(chunk_size) }
    }

    /// With a description made elsewhere, for a payload that does not fit into memory.
    ///
    /// # Panics
    /// If the lengths differ already.
    pub fn described(payload: Payload, info: FileInfo) -> Content {
        assert_eq!(payload.len(), info.size(), "the description of another payload");
        Content { payload, info }
    }

    /// What it is made of.
    pub fn payload(&self) -> Payload {
        self.payload
    }

    /// Its description.
    pub fn info(&self) -> &FileInfo {
        &self.info
    }

    /// Its hash.
    pub fn hash(&self) -> FileHash {
        self.info.hash()
    }

    /// Its number of chunks.
    pub fn chunk_count(&self) -> u32 {
        self.info.geometry().chunk_count()
    }

    /// The chunks with these numbers.
    ///
    /// # Panics
    /// If it has no chunk with such a number.
    pub fn chunks(&self, numbers: impl IntoIterator<Item = u32>) -> Vec<ChunkIndex> {
        let geometry = self.info.geometry();
        numbers
            .into_iter()
            .map(|number| geometry.chunk(number).expect("a chunk of this file"))
            .collect()
    }

    /// A raw peer that holds it.
    pub fn raw_peer(&self) -> RawPeerBuilder {
        RawPeer::of(&self.info, self.payload.bytes())
    }

    /// Writes it to a new file.
    ///
    /// # Panics
    /// If it cannot be written, or there is a file already.
    pub async fn write(&self, path: &Path) {
        let (payload, at) = (self.payload, path.to_owned());
        let written =
            spawn_blocking(move || payload.write(&at)).await.expect("writing does not panic");
        written.unwrap_or_else(|error| panic!("writing {}: {error}", path.display()));
    }

    /// Writes its description as a `.fileinfo`.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write_info(&self, path: &Path) {
        std::fs::write(path, self.info.to_json())
            .unwrap_or_else(|error| panic!("writing {}: {error}", path.display()));
    }

    /// Writes its description, in which it has that name.
    ///
    /// # Panics
    /// If that is no name of a file, or it cannot be written.
    pub fn write_info_named(&self, path: &Path, name: &str) {
        let name = FileName::new(name).expect("a name of a file");
        std::fs::write(path, self.info.clone().with_name(Some(name)).to_json())
            .unwrap_or_else(|error| panic!("writing {}: {error}", path.display()));
    }

    /// Compares a file with it, byte for byte and by its hash.
    ///
    /// # Panics
    /// If there is any difference, or no file.
    pub async fn is_at(&self, path: &Path) {
        let content = self.clone();
        let path = path.to_owned();
        spawn_blocking(move || content.compare(&path)).await.unwrap_or_else(|error| {
            match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => panic!("comparing: {error}"),
            }
        });
    }

    fn compare(&self, path: &Path) {
        let shown = path.display();
        match self.payload.first_difference(path) {
            Ok(None) => {}
            Ok(Some(offset)) => panic!("{shown} differs from {:?} at byte {offset}", self.payload),
            Err(error) => panic!("{shown} cannot be compared: {error}"),
        }
        let scanned = scan_file(path, Some(self.info.geometry().chunk_size()), &unwatched);
        let scanned = scanned.unwrap_or_else(|error| panic!("{shown} cannot be hashed: {error}"));
        assert_eq!(scanned.hash(), self.hash(), "{shown}");
    }
}
