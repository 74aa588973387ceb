//! Whole files that are served in chunks of another size than their own, because a peer asked for
//! them so. Such a cut is there as long as a peer is in its swarm. There are never more than
//! [`MOST`] of them, and [`MOST_PER_FILE`] of one file: when there is no room, the one that was
//! sent from longest ago makes some, unless it is still in use; or else one of the source that has
//! most of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use tnet_fileinfo::{ChunkSize, FileHash, Geometry};
use tnet_proto::Open;
use tnet_sources::SourceCounts;
use tnet_store::ChunkSource;
use tnet_swarm::{FileKey, Goal, PeerKey, Time};

use super::entry::FileEntry;
use super::{Engine, keys_of};
use crate::api::FileChange;

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

/// A cut in use.
#[derive(Debug, Clone, PartialEq, Eq)]
struct InUse {
    file: FileKey,
    used: Time,
    /// The peers in its swarm.
    sources: BTreeSet<IpAddr>,
}

/// The cut that gives way to one for another source: what a source has counts against it, and a cut
/// that several use belongs to the one of them that has fewest.
fn giving_way(cuts: &[InUse], asker: IpAddr) -> Option<FileKey> {
    let mut counts = SourceCounts::new();
    cuts.iter().flat_map(|cut| &cut.sources).for_each(|source| counts.add(*source, 1));
    let rank = |cut: &InUse| cut.sources.iter().map(|source| counts.rank(*source)).min();
    let most = cuts.iter().max_by_key(|cut| {
        let rank = rank(cut);
        (rank.is_none(), rank, Reverse(cut.used))
    })?;
    rank(most).is_none_or(|rank| rank.gives_way_to(counts.rank(asker), 1)).then_some(most.file)
}

impl Engine {
    /// A peer wants a file that is here whole, in chunks of another size. Answers the cut that was
    /// made for it.
    pub(super) fn offer_recut(&mut self, peer: PeerKey, open: &Open) -> Option<FileKey> {
        let hash = FileHash::from_bytes(open.hash);
        let keys = keys_of(&self.by_hash, &hash);
        let known =
            |file: &FileKey| self.files[file].geometry().chunk_size().get() == open.chunk_size;
        if keys.iter().any(known) {
            return None;
        }
        let entry = &self.files[&self.own_cut(&hash)?];
        let ChunkSource::Whole(whole) = &entry.source else { return None };
        let chunk_size = ChunkSize::new(open.chunk_size).ok()?;
        let geometry = Geometry::new(entry.info.size(), chunk_size).ok()?;
        if entry.info.size() != open.size || entry.settings.is_paused {
            return None;
        }
        let source = ChunkSource::Rechunked { whole: whole.clone(), geometry };
        let (limits, priority) = (entry.settings.limits, entry.settings.priority);
        let entry = FileEntry::new(entry.info.clone(), source, None);
        if !self.make_room_for_recut(peer, &keys) {
            return None;
        }
        let stored = entry.sound_chunks();
        let goal = if stored.is_full() { Goal::Seed } else { Goal::ServePart };
        let file = self.add_file(geometry, stored, goal, entry);
        self.recuts.used.insert(file, self.now);
        // What holds for a file holds for it in other chunks too.
        self.change_file(file, FileChange::Limits(limits.into()));
        self.change_file(file, FileChange::Priority { level: priority });
        Some(file)
    }

    /// Whether there is room for another cut of the file that is known under these numbers.
    fn make_room_for_recut(&mut self, peer: PeerKey, of_file: &[FileKey]) -> bool {
        let is_file_full = self.recuts.among(of_file) >= MOST_PER_FILE;
        if !is_file_full && self.recuts.used.len() < MOST {
            return true;
        }
        let is_candidate = |file: FileKey| !is_file_full || of_file.contains(&file);
        let gone = self.recuts.unused(self.now, is_candidate).or_else(|| {
            let asker = self.sessions.get(&peer)?.session.remote.ip();
            giving_way(&self.recuts_in_use(is_candidate), asker)
        });
        if let Some(file) = gone {
            self.remove_recut(file);
        }
        gone.is_some()
    }

    fn recuts_in_use(&self, is_candidate: impl Fn(FileKey) -> bool) -> Vec<InUse> {
        let source = |(peer, _): (PeerKey, u32)| {
            let source = self.sessions.get(&peer)?.session.remote.ip();
            Some(source.to_canonical())
        };
        let candidates = self.recuts.used.iter().filter(|(file, _)| is_candidate(**file));
        let in_use = candidates.map(|(file, used)| InUse {
            file: *file,
            used: *used,
            sources: self.swarm.holdings(*file).into_iter().filter_map(source).collect(),
        });
        in_use.collect()
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
        if let Some(own) = self.own_cut(&entry.info.hash()).and_then(|own| self.files.get_mut(&own))
        {
            own.sent_bytes += entry.sent_bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cuts numbered from 1 that these hosts of one network use.
    fn cuts(sources: &[&[u8]]) -> Vec<InUse> {
        let cut = |(number, hosts): (u32, &&[u8])| InUse {
            file: FileKey(number),
            used: Time::after_start(Duration::from_secs(number.into())),
            sources: hosts.iter().map(|host| ip(*host)).collect(),
        };
        (1..).zip(sources).map(cut).collect()
    }

    fn ip(host: u8) -> IpAddr {
        [10, 0, 0, host].into()
    }

    #[test]
    fn a_cut_of_the_source_that_has_most_of_them_makes_room() {
        assert_eq!(giving_way(&cuts(&[&[1], &[1], &[1], &[1]]), ip(2)), Some(FileKey(1)));
        assert_eq!(giving_way(&cuts(&[&[2], &[1], &[1], &[1]]), ip(3)), Some(FileKey(2)));
        assert_eq!(giving_way(&cuts(&[&[1, 2], &[1, 3], &[1], &[1]]), ip(4)), Some(FileKey(3)));
        // Using the others' cuts too gives no more right to them.
        assert_eq!(
            giving_way(&cuts(&[&[1, 9], &[1, 9], &[1, 9], &[1, 9]]), ip(2)),
            Some(FileKey(1))
        );
        assert_eq!(
            giving_way(&cuts(&[&[1], &[], &[1], &[1]]), ip(2)),
            Some(FileKey(2)),
            "in no use"
        );
    }

    #[test]
    fn sources_that_have_no_more_than_the_asker_keep_their_cuts() {
        assert_eq!(giving_way(&cuts(&[&[1], &[2], &[3], &[4]]), ip(5)), None);
        assert_eq!(giving_way(&cuts(&[&[1], &[1], &[1], &[1]]), ip(1)), None);
        assert_eq!(giving_way(&cuts(&[&[1], &[1], &[2], &[2]]), ip(2)), None);
        assert_eq!(giving_way(&cuts(&[&[1], &[1], &[2], &[2]]), ip(3)), Some(FileKey(1)));
    }

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
