//! The files that the other side has announced, as far as chunks of them may come.
//!
//! Chunks come of files that are downloaded here: those announcements are all kept, one for each file. Of others only the
//! last ones are, for a download that begins while its announcement is on its way to the engine.

use std::collections::{BTreeMap, VecDeque};

use tnet_fileinfo::{FileHash, Geometry};
use tnet_proto::FileHandle;

/// Announcements of files that are not downloaded here.
const OTHERS: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Announced {
    pub(super) hash: FileHash,
    pub(super) geometry: Geometry,
}

#[derive(Debug, Default)]
pub(super) struct AnnouncedFiles {
    wanted: BTreeMap<FileHandle, Announced>,
    /// The last one comes last.
    others: VecDeque<(FileHandle, Announced)>,
}

impl AnnouncedFiles {
    /// From now on the number stands for this file, and no other number does.
    pub(super) fn open(&mut self, handle: FileHandle, file: Announced, is_wanted: bool) {
        self.wanted.retain(|known, announced| *known != handle && *announced != file);
        self.others.retain(|(known, announced)| *known != handle && *announced != file);
        if is_wanted {
            self.wanted.insert(handle, file);
        } else {
            if self.others.len() >= OTHERS {
                self.others.pop_front();
            }
            self.others.push_back((handle, file));
        }
    }

    pub(super) fn close(&mut self, handle: FileHandle) {
        self.wanted.remove(&handle);
        self.others.retain(|(known, _)| *known != handle);
    }

    pub(super) fn get(&self, handle: FileHandle) -> Option<&Announced> {
        let other = || self.others.iter().find(|(known, _)| *known == handle).map(|(_, announced)| announced);
        self.wanted.get(&handle).or_else(other)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use tnet_fileinfo::{ChunkSize, MIN_CHUNK_SIZE};

    use super::*;

    fn file(number: u8) -> Announced {
        let geometry = Geometry::new(u64::from(number) + 1, ChunkSize::new(MIN_CHUNK_SIZE).unwrap()).unwrap();
        Announced { hash: FileHash::from_bytes([number; 32]), geometry }
    }

    #[test]
    fn files_that_nobody_downloads_are_forgotten_one_after_another() {
        let mut files = AnnouncedFiles::default();
        files.open(FileHandle(1000), file(200), true);
        for number in 0..100 {
            files.open(FileHandle(number.into()), file(number), false);
        }
        assert_eq!(files.get(FileHandle(1000)), Some(&file(200)));
        assert_eq!(files.get(FileHandle(99)), Some(&file(99)));
        assert_eq!(files.get(FileHandle(35)), None);
        assert_eq!(files.others.len(), OTHERS);
    }

    #[test]
    fn a_file_has_one_number_and_a_number_one_file() {
        let mut files = AnnouncedFiles::default();
        for number in 0..1000 {
            files.open(FileHandle(number), file(1), true);
        }
        assert_eq!((files.wanted.len(), files.get(FileHandle(999))), (1, Some(&file(1))));
        files.open(FileHandle(999), file(2), false);
        assert_eq!((files.wanted.len(), files.get(FileHandle(999))), (0, Some(&file(2))));
        files.close(FileHandle(999));
        assert_eq!(files.get(FileHandle(999)), None);
    }
}
