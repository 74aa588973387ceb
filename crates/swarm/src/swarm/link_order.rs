//! The links of one connection, from the least useful one on: those that are finished, then those
//! that were used longest ago. Each link is in the order once.

use std::collections::{BTreeMap, BTreeSet};

use crate::FileKey;

/// How useful a link is. Ordered from the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Usefulness {
    /// One of the two sides may still want something.
    is_unfinished: bool,
    /// The last step that had to do with it.
    used: u64,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Links {
    links: BTreeMap<FileKey, Usefulness>,
    by_use: BTreeSet<(Usefulness, FileKey)>,
    /// In the order of their numbers, so that files can take turns.
    unfinished: BTreeSet<FileKey>,
    steps: u64,
}

impl Links {
    /// A new one, unfinished.
    pub(super) fn insert(&mut self, file: FileKey) {
        self.steps += 1;
        self.place(file, Usefulness { is_unfinished: true, used: self.steps });
    }

    pub(super) fn remove(&mut self, file: FileKey) {
        if let Some(usefulness) = self.links.remove(&file) {
            self.by_use.remove(&(usefulness, file));
            self.unfinished.remove(&file);
        }
    }

    /// One side has asked for or said something about it.
    pub(super) fn note_use(&mut self, file: FileKey) {
        self.steps += 1;
        let used = self.steps;
        if let Some(usefulness) = self.links.get(&file).copied() {
            self.place(file, Usefulness { used, ..usefulness });
        }
    }

    /// Whether one of the two sides may still want something of this file. Answers whether that is
    /// news.
    pub(super) fn set_unfinished(&mut self, file: FileKey, is_unfinished: bool) -> bool {
        let Some(usefulness) = self.links.get(&file).copied() else { return false };
        if usefulness.is_unfinished == is_unfinished {
            return false;
        }
        self.place(file, Usefulness { is_unfinished, ..usefulness });
        true
    }

    pub(super) fn is_finished(&self, file: FileKey) -> bool {
        self.links.get(&file).is_some_and(|usefulness| !usefulness.is_unfinished)
    }

    #[cfg(any(test, feature = "check"))]
    pub(super) fn contains(&self, file: FileKey) -> bool {
        self.links.contains_key(&file)
    }

    pub(super) fn len(&self) -> usize {
        self.links.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// All of them, by their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = FileKey> + '_ {
        self.links.keys().copied()
    }

    /// Those of which one side may still want something, by their numbers.
    pub(super) fn unfinished(&self) -> &BTreeSet<FileKey> {
        &self.unfinished
    }

    /// The least useful first.
    pub(super) fn by_use(&self) -> impl Iterator<Item = FileKey> + '_ {
        self.by_use.iter().map(|(_, file)| *file)
    }

    fn place(&mut self, file: FileKey, usefulness: Usefulness) {
        if let Some(before) = self.links.insert(file, usefulness) {
            self.by_use.remove(&(before, file));
        }
        self.by_use.insert((usefulness, file));
        if usefulness.is_unfinished {
            self.unfinished.insert(file);
        } else {
            self.unfinished.remove(&file);
        }
    }

    /// Panics unless all three say the same.
    #[cfg(any(test, feature = "check"))]
    pub(super) fn check(&self) {
        let by_use: BTreeSet<_> =
            self.links.iter().map(|(file, usefulness)| (*usefulness, *file)).collect();
        assert_eq!(by_use, self.by_use, "links by their use");
        let unfinished = self.links.iter().filter(|(_, usefulness)| usefulness.is_unfinished);
        assert_eq!(unfinished.map(|(file, _)| *file).collect::<BTreeSet<_>>(), self.unfinished);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finished_links_are_the_least_useful_and_then_those_used_longest_ago() {
        let mut links = Links::default();
        (1..=4).for_each(|file| links.insert(FileKey(file)));
        links.note_use(FileKey(1));
        assert!(
            links.set_unfinished(FileKey(4), false) && !links.set_unfinished(FileKey(4), false)
        );
        links.remove(FileKey(3));
        links.check();
        assert_eq!(links.by_use().collect::<Vec<_>>(), [4, 2, 1].map(FileKey));
        assert_eq!(links.unfinished().iter().copied().collect::<Vec<_>>(), [1, 2].map(FileKey));
        links.set_unfinished(FileKey(4), true);
        links.check();
        assert_eq!(links.by_use().collect::<Vec<_>>(), [2, 4, 1].map(FileKey));
    }
}
