//! The files that the other side has announced, as far as chunks of them may come.
//!
//! Chunks come of files that are downloaded here: those announcements are all kept, one for each
//! file. Of others only the last ones are, for a download that begins while its announcement is on
//! its way to the engine.
//!
//! When a file is whole it is not downloaded any more, and its number may never be closed: now and
//! then those are sorted out, so that a connection over which thousands of files come does not keep
//! them all.

use std::collections::{BTreeMap, HashMap, VecDeque};

use tnet_fileinfo::{FileHash, Geometry};
use tnet_proto::FileHandle;

/// Announcements of files that are not downloaded here.
const OTHERS: usize = 64;

/// The last announcements are not sorted out: chunks that were asked for twice may still come.
const LATE: u64 = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Announced {
    pub(super) hash: FileHash,
    pub(super) geometry: Geometry,
}

#[derive(Debug, Default)]
pub(super) struct AnnouncedFiles {
    /// With the number of the announcement.
    wanted: BTreeMap<FileHandle, (Announced, u64)>,
    by_file: HashMap<Announced, FileHandle>,
    announcements: u64,
    /// Files at which they are sorted out again: the work for each announcement stays the same.
    sorted_at: usize,
    /// The last one comes last.
    others: VecDeque<(FileHandle, Announced)>,
}

impl AnnouncedFiles {
    /// From now on the number stands for this file, and no other number does.
    pub(super) fn open(
        &mut self,
        handle: FileHandle,
        file: Announced,
        is_wanted: impl Fn(&Announced) -> bool,
    ) {
        self.close(handle);
        if let Some(before) = self.by_file.get(&file).copied() {
            self.close(before);
        }
        self.others.retain(|(_, announced)| *announced != file);
        if is_wanted(&file) {
            self.announcements += 1;
            if self.wanted.len() >= self.sorted_at {
                self.sort_out(is_wanted);
            }
            self.wanted.insert(handle, (file, self.announcements));
            self.by_file.insert(file, handle);
        } else {
            if self.others.len() >= OTHERS {
                self.others.pop_front();
            }
            self.others.push_back((handle, file));
        }
    }

    pub(super) fn close(&mut self, handle: FileHandle) {
        if let Some((file, _)) = self.wanted.remove(&handle) {
            self.by_file.remove(&file);
        }
        self.others.retain(|(known, _)| *known != handle);
    }

    /// Forgets files that are not downloaded any more.
    fn sort_out(&mut self, is_wanted: impl Fn(&Announced) -> bool) {
        let late = self.announcements.saturating_sub(LATE);
        self.wanted.retain(|_, (file, at)| *at > late || is_wanted(file));
        let wanted = &self.wanted;
        self.by_file.retain(|_, handle| wanted.contains_key(handle));
        self.sorted_at = (2 * self.wanted.len()).max(OTHERS);
    }

    pub(super) fn get(&self, handle: FileHandle) -> Option<&Announced> {
        let other = || {
            self.others.iter().find(|(known, _)| *known == handle).map(|(_, announced)| announced)
        };
        self.wanted.get(&handle).map(|(announced, _)| announced).or_else(other)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use tnet_fileinfo::{ChunkSize, MIN_CHUNK_SIZE};

    use super::*;

    fn file(number: u8) -> Announced {
        let geometry =
            Geometry::new(u64::from(number) + 1, ChunkSize::new(MIN_CHUNK_SIZE).unwrap()).unwrap();
        Announced { hash: FileHash::from_bytes([number; 32]), geometry }
    }

    #[test]
    fn files_that_nobody_downloads_are_forgotten_one_after_another() {
        let mut files = AnnouncedFiles::default();
        files.open(FileHandle(1000), file(200), |_| true);
        for number in 0..100 {
            files.open(FileHandle(number.into()), file(number), |_| false);
        }
        assert_eq!(files.get(FileHandle(1000)), Some(&file(200)));
        assert_eq!(files.get(FileHandle(99)), Some(&file(99)));
        assert_eq!(files.get(FileHandle(35)), None);
        assert_eq!(files.others.len(), OTHERS);
    }

    #[test]
    fn files_that_are_whole_are_forgotten_though_their_numbers_are_not_closed() {
        let mut files = AnnouncedFiles::default();
        let small = ChunkSize::new(MIN_CHUNK_SIZE).unwrap();
        let sized = |size| Announced {
            hash: FileHash::from_bytes([1; 32]),
            geometry: Geometry::new(size, small).unwrap(),
        };
        // The first one is downloaded all the time, of the others one after another.
        for number in 0..100_000 {
            let is_wanted =
                |file: &Announced| [0, u64::from(number)].contains(&(file.geometry.size() - 1));
            files.open(FileHandle(number), sized(u64::from(number) + 1), is_wanted);
            assert!(files.get(FileHandle(number)).is_some() && files.get(FileHandle(0)).is_some());
        }
        assert!(files.wanted.len() <= 3 * 1024, "{} are kept", files.wanted.len());
        assert_eq!(files.by_file.len(), files.wanted.len());
    }

    #[test]
    fn a_file_has_one_number_and_a_number_one_file() {
        let mut files = AnnouncedFiles::default();
        for number in 0..1000 {
            files.open(FileHandle(number), file(1), |_| true);
        }
        assert_eq!((files.wanted.len(), files.get(FileHandle(999))), (1, Some(&file(1))));
        files.open(FileHandle(999), file(2), |_| false);
        assert_eq!((files.wanted.len(), files.get(FileHandle(999))), (0, Some(&file(2))));
        files.close(FileHandle(999));
        assert_eq!(files.get(FileHandle(999)), None);
    }
}
