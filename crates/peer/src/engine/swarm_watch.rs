//! Who waits until every known peer has a file that is whole here. It costs nothing when the one
//! who waited is gone.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use tnet_swarm::FileKey;
use tokio::sync::watch;

/// Files looked at on one beat. With more of them each is looked at on every second beat, and so
/// on.
const MAX_FILES_AT_ONCE: usize = 1024;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct SwarmWatches {
    waiting: BTreeMap<FileKey, watch::Sender<bool>>,
    /// The last one that was looked at.
    last: Option<FileKey>,
}

impl SwarmWatches {
    /// The file is whole. If no other peer lacks it, that is told at once.
    pub(super) fn add(&mut self, file: FileKey, waiting: watch::Sender<bool>, is_done: bool) {
        tell(&waiting, is_done);
        if !waiting.is_closed() {
            self.waiting.insert(file, waiting);
        }
    }

    /// It is whole no more, or gone.
    pub(super) fn forget(&mut self, file: FileKey) {
        self.waiting.remove(&file);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Tells those who wait how it stands, and forgets those who do not wait any more.
    pub(super) fn look(&mut self, is_done: impl Fn(FileKey) -> bool) {
        let later = self.waiting.range((self.last.map_or(Unbounded, Excluded), Unbounded));
        let files: Vec<FileKey> = later.map(|(file, _)| *file).take(MAX_FILES_AT_ONCE).collect();
        self.last = files.last().copied().filter(|_| files.len() == MAX_FILES_AT_ONCE);
        for file in files {
            let Some(waiting) = self.waiting.get(&file) else { continue };
            tell(waiting, is_done(file));
            if waiting.is_closed() {
                self.waiting.remove(&file);
            }
        }
    }
}

fn tell(waiting: &watch::Sender<bool>, is_done: bool) {
    waiting.send_if_modified(|known| std::mem::replace(known, is_done) != is_done);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_many_is_looked_at_in_turn_and_who_is_gone_is_forgotten() {
        let mut watches = SwarmWatches::default();
        let most = u32::try_from(MAX_FILES_AT_ONCE).expect("small");
        let mut heard: Vec<watch::Receiver<bool>> = (0..most + 10)
            .map(|file| {
                let (waiting, heard) = watch::channel(false);
                watches.add(FileKey(file), waiting, false);
                heard
            })
            .collect();
        watches.look(|_| true);
        assert_eq!(heard.iter().filter(|heard| *heard.borrow()).count(), MAX_FILES_AT_ONCE);
        watches.look(|_| true);
        assert!(heard.iter().all(|heard| *heard.borrow()));
        heard.truncate(1);
        (0..2).for_each(|_| watches.look(|_| true));
        assert_eq!(watches.waiting.len(), 1);
    }
}
