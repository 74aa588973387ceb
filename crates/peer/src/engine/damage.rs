//! Files of ours with chunks that are wrong or unreadable: when each is looked at again, and what
//! is said of it.
//!
//! A chunk that does not read or verify may do so later: a cable was loose, a backup was put back.
//! Looking again is cheap while it succeeds and gets rare while it fails.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tnet_fileinfo::ChunkIndex;
use tnet_swarm::{FileKey, Time};

use crate::store::{FileStore, Flaw};

/// First pause before an unreadable chunk is looked at again; doubled each time one fails that did
/// before.
const UNREADABLE_AFTER: Duration = Duration::from_secs(2);
const UNREADABLE_AT_MOST: Duration = Duration::from_secs(300);

/// The same for wrong ones: bytes seldom come back.
const WRONG_AFTER: Duration = Duration::from_secs(60);
const WRONG_AT_MOST: Duration = Duration::from_secs(3600);

/// Chunks in a row that could not be read, after which no chunk of the file is tried by serving it.
const FAILED_TO_WITHDRAW: u32 = 16;

/// A file is spoken of once in this time, and this many of all.
const SAY_EVERY: Duration = Duration::from_secs(60);
const SAID_AT_MOST: u32 = 16;

/// Bytes of a file that are looked at in one piece while all of it is.
const SWEEP_BYTES: u64 = 4 * 1024 * 1024;

/// One damaged file.
#[derive(Debug)]
pub(super) struct Damaged {
    pub(super) file: FileKey,
    pub(super) store: Arc<FileStore>,
    failed_in_a_row: u32,
    unreadable: RetrySchedule,
    wrong: RetrySchedule,
    sweep: Sweep,
    said: Option<Time>,
    is_unsaid: bool,
    due: Time,
}

/// A look at all chunks of a file, once one was found wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sweep {
    NotYet,
    /// This chunk is the next.
    From(u32),
    Done,
}

/// When the chunks with one kind of flaw are looked at again, one after the other.
#[derive(Debug)]
struct RetrySchedule {
    pause: Duration,
    due: Time,
    from: u32,
}

impl RetrySchedule {
    fn new(now: Time, pause: Duration) -> RetrySchedule {
        RetrySchedule { pause, due: now + pause, from: 0 }
    }

    /// One more is bad: that says nothing of those that are known, and puts no look off.
    fn is_bad_too(&mut self, now: Time, is_only: bool) {
        let due = now + self.pause;
        self.due = if is_only { due } else { self.due.min(due) };
    }

    fn is_still_bad(&mut self, now: Time, chunk: ChunkIndex, most: Duration) {
        self.pause = (self.pause * 2).min(most);
        self.due = now + self.pause;
        self.from = chunk.get() + 1;
    }

    fn is_good(&mut self, now: Time, chunk: ChunkIndex, first: Duration) {
        // The others are perhaps good too.
        self.due = now;
        self.pause = first;
        self.from = chunk.get() + 1;
    }
}

/// What is to be looked at of a damaged file: nothing, if all of it has been.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) file: FileKey,
    pub(super) store: Arc<FileStore>,
    pub(super) chunks: Vec<ChunkIndex>,
}

/// All damaged files, by where they are.
#[derive(Debug, Default)]
pub(super) struct Damage {
    files: BTreeMap<Arc<Path>, Damaged>,
    due: BTreeSet<(Time, Arc<Path>)>,
    window: Time,
    said_in_window: u32,
}

impl Damage {
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// A chunk is as bad as this.
    pub(super) fn note_flaw(
        &mut self,
        now: Time,
        file: FileKey,
        store: &Arc<FileStore>,
        chunk: ChunkIndex,
        flaw: Flaw,
    ) {
        let is_news = store.flaws().set(store.info().geometry(), chunk, Some(flaw));
        let damaged = self.damaged(now, file, store);
        damaged.is_unsaid |= is_news;
        let (again, most) = match flaw {
            Flaw::Unreadable => (&mut damaged.unreadable, UNREADABLE_AT_MOST),
            Flaw::Wrong => (&mut damaged.wrong, WRONG_AT_MOST),
        };
        match is_news {
            true => again.is_bad_too(now, store.flaws().count(flaw) == 1),
            false => again.is_still_bad(now, chunk, most),
        }
        match (flaw, damaged.sweep) {
            (Flaw::Unreadable, _) => damaged.failed_in_a_row += 1,
            (Flaw::Wrong, Sweep::NotYet) => damaged.sweep = Sweep::From(0),
            (Flaw::Wrong, _) => {}
        }
        self.reschedule(store.path());
    }

    /// The store itself has withdrawn chunks, because a member of the tree differs. They are looked
    /// at soon, however long they were bad before: it may differ because it was put back.
    pub(super) fn note_withdrawn(&mut self, now: Time, file: FileKey, store: &Arc<FileStore>) {
        let damaged = self.damaged(now, file, store);
        damaged.is_unsaid = true;
        damaged.unreadable = RetrySchedule::new(now, UNREADABLE_AFTER);
        self.reschedule(store.path());
    }

    /// The entry of a file, which is damaged now.
    fn damaged(&mut self, now: Time, file: FileKey, store: &Arc<FileStore>) -> &mut Damaged {
        // Another file may have been shared under that path.
        if !self.knows(store) {
            self.forget_path(store.path());
        }
        let damaged = self.files.entry(Arc::clone(store.path())).or_insert_with(|| Damaged {
            file,
            store: Arc::clone(store),
            failed_in_a_row: 0,
            unreadable: RetrySchedule::new(now, UNREADABLE_AFTER),
            wrong: RetrySchedule::new(now, WRONG_AFTER),
            sweep: Sweep::NotYet,
            said: None,
            is_unsaid: false,
            due: now,
        });
        damaged.file = file;
        damaged
    }

    /// A chunk was read and is right. Answers whether it was not before.
    pub(super) fn note_right(
        &mut self,
        now: Time,
        store: &Arc<FileStore>,
        chunk: ChunkIndex,
    ) -> bool {
        let flaw = store.flaws().of(chunk);
        store.flaws().set(store.info().geometry(), chunk, None);
        if let Some(damaged) = self.of_mut(store) {
            damaged.failed_in_a_row = 0;
            match flaw {
                Some(Flaw::Unreadable) => damaged.unreadable.is_good(now, chunk, UNREADABLE_AFTER),
                Some(Flaw::Wrong) => damaged.wrong.is_good(now, chunk, WRONG_AFTER),
                None => {}
            }
            damaged.is_unsaid |= flaw.is_some();
            self.reschedule(store.path());
        }
        flaw.is_some()
    }

    /// A chunk of the file was sent.
    pub(super) fn note_sent(&mut self, store: &FileStore) {
        if let Some(damaged) = self.of_mut(store) {
            damaged.failed_in_a_row = 0;
        }
    }

    /// Whether one chunk of the file after the other cannot be read.
    pub(super) fn is_unreadable(&self, store: &FileStore) -> bool {
        self.of(store).is_some_and(|damaged| damaged.failed_in_a_row >= FAILED_TO_WITHDRAW)
    }

    /// The file is not served any more. One that is served from the same path since is another one.
    pub(super) fn forget(&mut self, store: &FileStore) {
        if self.knows(store) {
            self.forget_path(store.path());
        }
    }

    /// Another file is served from this path, or the same anew.
    pub(super) fn forget_path(&mut self, path: &Path) {
        if let Some((path, damaged)) = self.files.remove_entry(path) {
            self.due.remove(&(damaged.due, path));
        }
    }

    fn knows(&self, store: &FileStore) -> bool {
        self.of(store).is_some()
    }

    fn of(&self, store: &FileStore) -> Option<&Damaged> {
        self.files.get(store.path()).filter(|damaged| std::ptr::eq(&*damaged.store, store))
    }

    fn of_mut(&mut self, store: &FileStore) -> Option<&mut Damaged> {
        self.files.get_mut(store.path()).filter(|damaged| std::ptr::eq(&*damaged.store, store))
    }

    /// When there is something to look at or to say.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.due.first().map(|(due, _)| *due)
    }

    /// What is to be looked at now.
    pub(super) fn next(&mut self, now: Time) -> Option<Task> {
        let (due, path) = self.due.first()?.clone();
        if due > now {
            return None;
        }
        let damaged = self.files.get_mut(&path)?;
        let task = damaged.task(now);
        self.reschedule(&path);
        task
    }

    /// Whether all of the file is being looked at.
    pub(super) fn is_sweeping(&self, store: &FileStore) -> bool {
        self.of(store).is_some_and(|damaged| matches!(damaged.sweep, Sweep::From(_)))
    }

    /// Whether the state of a file is to be said now: when it became damaged, and then not too
    /// often.
    pub(super) fn is_to_be_said(&mut self, now: Time, store: &FileStore) -> bool {
        if now - self.window >= SAY_EVERY {
            (self.window, self.said_in_window) = (now, 0);
        }
        let said_in_window = self.said_in_window;
        let Some(damaged) = self.of_mut(store) else { return false };
        let is_due = damaged.said.is_none_or(|said| now - said >= SAY_EVERY);
        let is_said = damaged.is_unsaid && is_due && said_in_window < SAID_AT_MOST;
        if is_said {
            damaged.is_unsaid = false;
            damaged.said = Some(now);
            self.said_in_window += 1;
        }
        is_said
    }

    /// Files that are sound again are not damaged.
    pub(super) fn forget_if_sound(&mut self, store: &FileStore) -> bool {
        let is_sound = self.knows(store) && !store.flaws().are_any() && !self.is_sweeping(store);
        if is_sound {
            self.forget(store);
        }
        is_sound
    }

    fn reschedule(&mut self, path: &Path) {
        let Some((path, damaged)) = self.files.get_key_value(path) else { return };
        let (path, before, due) = (Arc::clone(path), damaged.due, damaged.next());
        self.due.remove(&(before, Arc::clone(&path)));
        if let Some(damaged) = self.files.get_mut(&path) {
            damaged.due = due;
        }
        self.due.insert((due, path));
    }
}

impl Damaged {
    fn next(&self) -> Time {
        let flaws = self.store.flaws();
        let unreadable = (flaws.count(Flaw::Unreadable) > 0).then_some(self.unreadable.due);
        let wrong = (flaws.count(Flaw::Wrong) > 0).then_some(self.wrong.due);
        let sweep = matches!(self.sweep, Sweep::From(_)).then_some(Time::ZERO);
        unreadable.into_iter().chain(wrong).chain(sweep).min().unwrap_or(self.wrong.due)
    }

    fn task(&mut self, now: Time) -> Option<Task> {
        let flaws = self.store.flaws();
        let again = if self.unreadable.due <= now && flaws.count(Flaw::Unreadable) > 0 {
            // Until the answer is here.
            self.unreadable.due = now + UNREADABLE_AT_MOST;
            flaws.next(Flaw::Unreadable, self.unreadable.from)
        } else if self.wrong.due <= now && flaws.count(Flaw::Wrong) > 0 {
            self.wrong.due = now + WRONG_AT_MOST;
            flaws.next(Flaw::Wrong, self.wrong.from)
        } else {
            None
        };
        let chunks = match again {
            Some(chunk) => vec![chunk],
            None => match self.sweep_on() {
                Some(chunks) => chunks,
                None => {
                    // Nothing is to be looked at, and nothing is due.
                    self.wrong.due = now + WRONG_AT_MOST;
                    return None;
                }
            },
        };
        Some(Task { file: self.file, store: Arc::clone(&self.store), chunks })
    }

    /// The next piece of a look at all chunks, but for those that are known to be bad; nothing in
    /// it when there is none left.
    fn sweep_on(&mut self) -> Option<Vec<ChunkIndex>> {
        let geometry = *self.store.info().geometry();
        let most = (SWEEP_BYTES / u64::from(geometry.chunk_size().get())).max(1);
        loop {
            let Sweep::From(from) = self.sweep else { return None };
            if from >= geometry.chunk_count() {
                self.sweep = Sweep::Done;
                (self.said, self.is_unsaid) = (None, true);
                return Some(Vec::new());
            }
            let until = u32::try_from(u64::from(from) + most)
                .unwrap_or(u32::MAX)
                .min(geometry.chunk_count());
            self.sweep = Sweep::From(until);
            let chunks = (from..until).filter_map(|index| geometry.chunk(index));
            let chunks: Vec<_> =
                chunks.filter(|chunk| self.store.flaws().of(*chunk).is_none()).collect();
            if !chunks.is_empty() {
                return Some(chunks);
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "damage/tests.rs"]
mod tests;
