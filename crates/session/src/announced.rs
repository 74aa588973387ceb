//! The contents that the other side has announced, as far as chunks of them may arrive.
//!
//! Chunks arrive for contents that are downloaded here: their announcements are all kept, one for
//! each content. Of other announcements only the last [`OTHERS`] are kept, for a download that
//! begins while its announcement is on its way to the engine.
//!
//! A complete content is no longer downloaded, and the other side may never close its handle. Such
//! entries are pruned from time to time, so that a connection over which thousands of contents
//! come does not keep them all.

use std::collections::{BTreeMap, HashMap, VecDeque};

use tnet_fileinfo::{FileHash, Geometry};
use tnet_proto::FileHandle;

/// Announcements kept of contents that are not downloaded here.
const OTHERS: usize = 64;

/// The last announcements are not pruned: chunks that were requested twice may still arrive.
const NEVER_PRUNED: u64 = 1024;

/// A content in chunks of one size, as an `Open` announces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Content {
    pub(super) hash: FileHash,
    pub(super) geometry: Geometry,
}

#[derive(Debug, Default)]
pub(super) struct AnnouncedContents {
    /// With the number of the announcement.
    wanted: BTreeMap<FileHandle, (Content, u64)>,
    by_content: HashMap<Content, FileHandle>,
    announcements: u64,
    /// Entries in `wanted` at which they are pruned next; keeps the amortized cost constant.
    prune_at: usize,
    /// The last one comes last.
    others: VecDeque<(FileHandle, Content)>,
}

impl AnnouncedContents {
    /// From now on this handle stands for this content, and no other handle does.
    pub(super) fn open(
        &mut self,
        handle: FileHandle,
        content: Content,
        is_wanted: impl Fn(&Content) -> bool,
    ) {
        self.close(handle);
        if let Some(before) = self.by_content.get(&content).copied() {
            self.close(before);
        }
        self.others.retain(|(_, other)| *other != content);
        if is_wanted(&content) {
            self.announcements += 1;
            if self.wanted.len() >= self.prune_at {
                self.prune(is_wanted);
            }
            self.wanted.insert(handle, (content, self.announcements));
            self.by_content.insert(content, handle);
        } else {
            if self.others.len() >= OTHERS {
                self.others.pop_front();
            }
            self.others.push_back((handle, content));
        }
    }

    pub(super) fn close(&mut self, handle: FileHandle) {
        if let Some((content, _)) = self.wanted.remove(&handle) {
            self.by_content.remove(&content);
        }
        self.others.retain(|(known, _)| *known != handle);
    }

    /// Forgets contents that are no longer downloaded.
    fn prune(&mut self, is_wanted: impl Fn(&Content) -> bool) {
        let recent = self.announcements.saturating_sub(NEVER_PRUNED);
        self.wanted.retain(|_, (content, number)| *number > recent || is_wanted(content));
        let wanted = &self.wanted;
        self.by_content.retain(|_, handle| wanted.contains_key(handle));
        self.prune_at = (2 * self.wanted.len()).max(OTHERS);
    }

    pub(super) fn get(&self, handle: FileHandle) -> Option<&Content> {
        let other =
            || self.others.iter().find(|(known, _)| *known == handle).map(|(_, content)| content);
        self.wanted.get(&handle).map(|(content, _)| content).or_else(other)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use tnet_fileinfo::{ChunkSize, MIN_CHUNK_SIZE};

    use super::*;

    fn content(number: u8) -> Content {
        let geometry =
            Geometry::new(u64::from(number) + 1, ChunkSize::new(MIN_CHUNK_SIZE).unwrap()).unwrap();
        Content { hash: FileHash::from_bytes([number; 32]), geometry }
    }

    #[test]
    fn of_contents_not_downloaded_the_oldest_is_forgotten() {
        let mut contents = AnnouncedContents::default();
        contents.open(FileHandle(1000), content(200), |_| true);
        for number in 0..100 {
            contents.open(FileHandle(number.into()), content(number), |_| false);
        }
        assert_eq!(contents.get(FileHandle(1000)), Some(&content(200)));
        assert_eq!(contents.get(FileHandle(99)), Some(&content(99)));
        assert_eq!(contents.get(FileHandle(35)), None);
        assert_eq!(contents.others.len(), OTHERS);
    }

    #[test]
    fn complete_contents_are_pruned_although_their_handles_are_not_closed() {
        let mut contents = AnnouncedContents::default();
        let small = ChunkSize::new(MIN_CHUNK_SIZE).unwrap();
        let sized = |size| Content {
            hash: FileHash::from_bytes([1; 32]),
            geometry: Geometry::new(size, small).unwrap(),
        };
        // The first one is downloaded all the time, the others one after another.
        for number in 0..100_000 {
            let is_wanted =
                |content: &Content| [0, u64::from(number)].contains(&(content.geometry.size() - 1));
            contents.open(FileHandle(number), sized(u64::from(number) + 1), is_wanted);
            assert!(
                contents.get(FileHandle(number)).is_some() && contents.get(FileHandle(0)).is_some()
            );
        }
        assert!(contents.wanted.len() <= 3 * 1024, "{} are kept", contents.wanted.len());
        assert_eq!(contents.by_content.len(), contents.wanted.len());
    }

    #[test]
    fn a_content_has_one_handle_and_a_handle_one_content() {
        let mut contents = AnnouncedContents::default();
        for number in 0..1000 {
            contents.open(FileHandle(number), content(1), |_| true);
        }
        assert_eq!((contents.wanted.len(), contents.get(FileHandle(999))), (1, Some(&content(1))));
        contents.open(FileHandle(999), content(2), |_| false);
        assert_eq!((contents.wanted.len(), contents.get(FileHandle(999))), (0, Some(&content(2))));
        contents.close(FileHandle(999));
        assert_eq!(contents.get(FileHandle(999)), None);
    }
}
