//! What files did lately: their rates, and which of them were active last. An idle file costs
//! nothing but a pointer.

use std::collections::VecDeque;

use tnet_swarm::{FileKey, Time};

use super::rate::Rate;

/// Files remembered as active. It bounds the search for each chunk; no more are shown to a person.
const MOST_RECENT: usize = 64;

/// One file that has sent or received.
#[derive(Debug, Default)]
pub(super) struct Activity {
    pub(super) down: Rate,
    pub(super) up: Rate,
    pub(super) last: Time,
}

/// The files that were active last, the last one first, each once.
#[derive(Debug, Default)]
pub(super) struct RecentFiles {
    files: VecDeque<FileKey>,
}

impl RecentFiles {
    /// It is active now.
    pub(super) fn note(&mut self, file: FileKey) {
        if self.files.front() == Some(&file) {
            return;
        }
        self.forget(file);
        self.files.truncate(MOST_RECENT - 1);
        self.files.push_front(file);
    }

    /// It is gone.
    pub(super) fn forget(&mut self, file: FileKey) {
        if let Some(at) = self.files.iter().position(|known| *known == file) {
            self.files.remove(at);
        }
    }

    /// The last one first.
    pub(super) fn iter(&self) -> impl Iterator<Item = FileKey> + '_ {
        self.files.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_active_file_is_first_and_each_is_there_once() {
        let mut recent = RecentFiles::default();
        for file in [1, 2, 3, 1, 1, 2] {
            recent.note(FileKey(file));
        }
        recent.forget(FileKey(3));
        assert_eq!(recent.iter().collect::<Vec<_>>(), [FileKey(2), FileKey(1)]);
    }

    #[test]
    fn of_many_active_files_the_last_are_remembered() {
        let mut recent = RecentFiles::default();
        (0..1000).for_each(|file| recent.note(FileKey(file)));
        assert_eq!(recent.iter().count(), MOST_RECENT);
        assert_eq!(recent.iter().next(), Some(FileKey(999)));
    }
}
