//! Whole files that are served in chunks of another size than their own, because a peer asked for
//! them so. Such a cut is there as long as a peer is in its swarm. There are never more than
//! [`MOST`] of them, and [`MOST_PER_FILE`] of one file: when there is no room, the one that was
//! sent from longest ago makes some, unless it is still in use.

use std::collections::BTreeMap;
use std::time::Duration;

use tnet_fileinfo::{ChunkSize, FileHash, Geometry};
use tnet_proto::Open;
use tnet_swarm::{FileKey, Goal, Time};

use super::files::FileEntry;
use super::{Engine, keys_of};
use crate::api::Wish;
use crate::source::Source;

/// Cuts of one file besides its own.
const MOST_PER_FILE: usize = 4;

/// Cuts of all files together. Each takes about 1 KiB, and a bit for each of its chunks.
const MOST: usize = 1024;

/// One from which nothing was sent for so long makes room for another, even while peers are in its
/// swarm: a peer that downloads has asked for more by then.
const UNUSED_AFTER: Duration = Duration::from_secs(120);

/// The cuts there are.
#[derive(Debug, Default)]
pub(super) struct Recuts {
    /// When each was made or sent from last.
    used: BTreeMap<FileKey, Time>,
    /// A peer may have left the swarm of one.
    may_be_free: bool,
}

impl Recuts {
    /// One is made or sent from. Those that are none of ours are left alone.
    pub(super) fn note_use(&mut self, file: FileKey, now: Time) {
        if let Some(used) = self.used.get_mut(&file) {
            *used = now;
        }
    }

    /// It is gone.
    pub(super) fn forget(&mut self, file: FileKey) {
        self.used.remove(&file);
    }

    /// A peer left some swarm, or all.
    pub(super) fn note_leaving(&mut self) {
        self.may_be_free = !self.used.is_empty();
    }

    /// How many of these are cuts.
    fn among(&self, files: &[FileKey]) -> usize {
        files.iter().filter(|file| self.used.contains_key(file)).count()
    }

    /// The one of those wanted that was used longest ago, if that is long enough.
    fn unused(&self, now: Time, is_wanted: impl Fn(FileKey) -> bool) -> Option<FileKey> {
        let candidates = self.used.iter().filter(|(file, _)| is_wanted(**file));
        let (file, used) = candidates.min_by_key(|(_, used)| **used)?;
        (now - *used >= UNUSED_AFTER).then_some(*file)
    }
}

impl Engine {
    /// A peer wants a file that is here whole, in chunks of another size. Answers the cut that was
    /// made for it.
    pub(super) fn offer_recut(&mut self, open: &Open) -> Option<FileKey> {
        let hash = FileHash::from_bytes(open.hash);
        let keys = keys_of(&self.by_hash, &hash);
        let known = |file: &FileKey| self.files[file].geometry().chunk_size().get() == open.chunk_size;
        if keys.iter().any(known) {
            return None;
        }
        let entry = &self.files[&self.own_cut(&hash)?];
        let Source::Whole(whole) = &entry.source else { return None };
        let chunk_size = ChunkSize::new(open.chunk_size).ok()?;
        let geometry = Geometry::new(entry.info.size(), chunk_size).ok()?;
        if entry.info.size() != open.size || entry.treatment.is_paused {
            return None;
        }
        let source = Source::Recut { whole: whole.clone(), geometry };
        let (limits, priority) = (entry.treatment.limits, entry.treatment.priority);
        let entry = FileEntry::new(entry.info.clone(), source, None);
        if !self.make_room_for_recut(&keys) {
            return None;
        }
        let stored = entry.sound_chunks();
        let goal = if stored.is_full() { Goal::Seed } else { Goal::ServePart };
        let file = self.add_file(geometry, stored, goal, entry);
        self.recuts.used.insert(file, self.now);
        // What holds for a file holds for it in other chunks too.
        self.treat_file(file, Wish::Limits(limits.into()));
        self.treat_file(file, Wish::Priority { level: priority });
        Some(file)
    }

    /// Whether there is room for another cut of the file that is known under these numbers.
    fn make_room_for_recut(&mut self, of_file: &[FileKey]) -> bool {
        let unused = if self.recuts.among(of_file) >= MOST_PER_FILE {
            self.recuts.unused(self.now, |file| of_file.contains(&file))
        } else if self.recuts.used.len() >= MOST {
            self.recuts.unused(self.now, |_| true)
        } else {
            return true;
        };
        if let Some(file) = unused {
            self.remove_recut(file);
        }
        unused.is_some()
    }

    /// Gives back the cuts whose swarms every peer has left, if some peer left any.
    pub(super) fn free_recuts(&mut self) {
        if !std::mem::take(&mut self.recuts.may_be_free) {
            return;
        }
        let free = self.recuts.used.keys().copied().filter(|file| !self.swarm.is_linked(*file));
        for file in free.collect::<Vec<_>>() {
            self.remove_recut(file);
        }
    }

    fn remove_recut(&mut self, file: FileKey) {
        let Some(entry) = self.remove_file(file) else { return };
        // It was sent, in whatever chunks.
        if let Some(own) = self.own_cut(&entry.info.hash()).and_then(|own| self.files.get_mut(&own)) {
            own.sent_bytes += entry.sent_bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_unused_for_longest_makes_room_and_none_that_is_in_use() {
        let at = |seconds| Time::after_start(Duration::from_secs(seconds));
        let mut recuts = Recuts::default();
        for (file, used) in [(1, 10), (2, 20), (3, 5)] {
            recuts.used.insert(FileKey(file), at(used));
        }
        recuts.note_use(FileKey(3), at(100));
        recuts.note_use(FileKey(4), at(100));
        assert_eq!(recuts.among(&[FileKey(1), FileKey(3), FileKey(4)]), 2);
        assert_eq!(recuts.unused(at(129), |_| true), None);
        assert_eq!(recuts.unused(at(140), |_| true), Some(FileKey(1)));
        assert_eq!(recuts.unused(at(140), |file| file != FileKey(1)), Some(FileKey(2)));
        assert_eq!(recuts.unused(at(140), |file| file == FileKey(3)), None);
        recuts.forget(FileKey(1));
        assert_eq!(recuts.unused(at(300), |_| true), Some(FileKey(2)));
    }
}
