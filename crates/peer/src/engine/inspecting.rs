//! Reads chunks of ours again that may be corrupt or unreadable, withdraws those that are, and
//! restores those that are right again. One inspection at a time with a pause after each: peers
//! that report corruption cost a part of one processor and of one disk, and no more.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tnet_fileinfo::{ChunkIndex, FileHash, shown_path};
use tnet_net::descriptors::shortage_of;
use tnet_store::ChunkSource;
use tnet_swarm::{FileKey, Input, PeerKey, Time};

use super::blocking::WorkDone;
use super::damage::{Damage, Task};
use super::doubts::{Doubted, Doubts, Outcome};
use super::entry::{FileEntry, chunks_in, indices_in};
use super::touched::Touched;
use super::{Engine, keys_of};
use crate::api::{DamagedFile, Phase};
use crate::store::{ChunkVerdict, Download, FileStore, Flaw, ReadError};

/// A look is followed by a pause this many times as long.
const PAUSE_PER_LOOK: u32 = 3;

/// A disk that takes its time to fail does not keep other files from being looked at.
const PAUSE_AT_MOST: Duration = Duration::from_secs(5);

/// False corruption reports of one connection after which its others are ignored.
const FALSE_CORRUPTION_REPORTS: u32 = 2;

/// A chunk of a download that is being finished is looked at when it is.
const WHILE_FINISHING: Duration = Duration::from_secs(1);

/// Damaged files of one content that are shown.
const SHOWN: usize = 4;

/// Chunks of ours that may be corrupt, and files that are damaged.
#[derive(Debug, Default)]
pub(super) struct Integrity {
    pub(super) doubts: Doubts,
    pub(super) damage: Damage,
    pub(super) touched: Touched,
    /// Peers whose connection is over and whose last messages are still to come.
    pub(super) leaving: BTreeMap<PeerKey, IpAddr>,
    pub(super) is_looking: bool,
    /// The doubted chunk that is being looked at.
    looking_into: Option<(FileKey, ChunkIndex)>,
    paused_until: Time,
}

impl Integrity {
    /// The chunks of a file that are doubted, looked at already or not.
    pub(super) fn doubted(&self, file: FileKey) -> BTreeSet<ChunkIndex> {
        let looking = self.looking_into.filter(|(other, _)| *other == file);
        self.doubts.of_file(file).chain(looking.map(|(_, chunk)| chunk)).collect()
    }
}

/// A look at some chunks, numbered as in the file's own description.
#[derive(Debug)]
pub(crate) struct Inspection {
    file: FileKey,
    files: Files,
    chunks: Vec<ChunkIndex>,
    reason: Reason,
}

/// Where the chunks are.
#[derive(Debug)]
enum Files {
    /// In the first of these files that has no flaw there.
    Wholes(Vec<Arc<FileStore>>),
    Part(Arc<Download>),
}

#[derive(Debug)]
enum Reason {
    Doubt(Doubted),
    /// The file is damaged.
    Task,
}

/// What a look found.
#[derive(Debug)]
pub(crate) struct Inspected {
    inspection: Inspection,
    /// Which file of `Files::Wholes` each is about.
    found: Vec<(ChunkIndex, usize, ChunkVerdict)>,
    took: Duration,
}

impl Inspection {
    fn run(self) -> Inspected {
        let (began, mut buf, mut found) = (Instant::now(), Vec::new(), Vec::new());
        let is_again = matches!(self.reason, Reason::Task);
        // Nothing more can be learnt of a file that is another one.
        let mut others = BTreeSet::new();
        for chunk in &self.chunks {
            match &self.files {
                Files::Wholes(stores) => {
                    for (at, store) in stores.iter().enumerate() {
                        let is_known_bad = store.flaws().of(*chunk).is_some() && !is_again;
                        if is_known_bad || others.contains(&at) {
                            continue;
                        }
                        let look = store.inspect(*chunk, &mut buf);
                        let is_served =
                            matches!(look, ChunkVerdict::Right | ChunkVerdict::CacheWasWrong);
                        if matches!(
                            look,
                            ChunkVerdict::Failed(
                                ReadError::Touched | ReadError::Changed | ReadError::Gone
                            )
                        ) {
                            others.insert(at);
                        }
                        found.push((*chunk, at, look));
                        if is_served {
                            break;
                        }
                    }
                }
                Files::Part(part) => {
                    found.extend(part.inspect(*chunk, &mut buf).map(|look| (*chunk, 0, look)))
                }
            }
        }
        Inspected { inspection: self, found, took: began.elapsed() }
    }
}

impl Engine {
    /// A peer reports a chunk that we sent it as corrupt.
    pub(super) fn on_doubted(&mut self, peer: PeerKey, file: FileKey, chunk: ChunkIndex) {
        let known = self
            .sessions
            .get(&peer)
            .filter(|open| open.false_corruption_reports < FALSE_CORRUPTION_REPORTS);
        let ip = known.map(|open| open.session.remote.ip()).or(self
            .integrity
            .leaving
            .get(&peer)
            .copied());
        let Some(ip) = ip else { return };
        tracing::debug!(%ip, %chunk, "peer reported a chunk as corrupt");
        if !self.integrity.doubts.add(self.now, file, chunk, (ip, peer)) {
            self.note_false_corruption_report(peer);
        }
    }

    fn note_false_corruption_report(&mut self, peer: PeerKey) {
        let Some(open) = self.sessions.get_mut(&peer) else { return };
        open.false_corruption_reports += 1;
        if open.false_corruption_reports >= FALSE_CORRUPTION_REPORTS {
            tracing::info!(remote = %open.session.remote, "peer reported good chunks as corrupt; ignoring its reports");
            self.integrity.doubts.forget_corruption_reports(peer);
        }
    }

    /// When there is something to look at.
    pub(super) fn next_inspection(&self) -> Option<Time> {
        let due = self
            .integrity
            .doubts
            .next_due()
            .into_iter()
            .chain(self.integrity.damage.next_due())
            .min()?;
        (!self.integrity.is_looking).then(|| due.max(self.integrity.paused_until))
    }

    /// Begins the next look if it is time.
    pub(super) fn look_at_doubtful(&mut self) {
        while self.next_inspection().is_some_and(|due| due <= self.now) {
            let now = self.now;
            let inspection = match self.integrity.doubts.next(now) {
                Some(doubted) => self.inspection_of(doubted),
                None => match self.integrity.damage.next(now) {
                    Some(task) => self.inspect_again(task),
                    None => None,
                },
            };
            if let Some(inspection) = inspection {
                self.integrity.is_looking = true;
                self.integrity.looking_into = match &inspection.reason {
                    Reason::Doubt(doubted) => Some((doubted.file, doubted.chunk)),
                    Reason::Task => None,
                };
                self.start(move || WorkDone::Inspected(Box::new(inspection.run())));
            }
        }
    }

    fn inspection_of(&mut self, doubt: Doubted) -> Option<Inspection> {
        let entry = self.files.get(&doubt.file)?;
        let (files, chunks) = match &entry.source {
            ChunkSource::Partial(_) if entry.is_finishing() => {
                self.integrity.doubts.add_own(self.now + WHILE_FINISHING, doubt.file, doubt.chunk);
                return None;
            }
            ChunkSource::Partial(part) => (Files::Part(Arc::clone(part)), vec![doubt.chunk]),
            ChunkSource::Whole(_) => {
                (Files::Wholes(entry.wholes().cloned().collect()), vec![doubt.chunk])
            }
            ChunkSource::Rechunked { whole, geometry } => (
                Files::Wholes(vec![Arc::clone(whole)]),
                chunks_in(whole, &geometry.range(doubt.chunk)),
            ),
        };
        Some(Inspection { file: doubt.file, files, chunks, reason: Reason::Doubt(doubt) })
    }

    fn inspect_again(&mut self, task: Task) -> Option<Inspection> {
        let Task { file, store, chunks } = task;
        let is_served = self.files.get(&file).is_some_and(|entry| entry.has(&store));
        if !is_served {
            self.integrity.damage.forget(&store);
            return None;
        }
        if chunks.is_empty() {
            self.on_swept(file, &store);
            return None;
        }
        Some(Inspection { file, files: Files::Wholes(vec![store]), chunks, reason: Reason::Task })
    }

    pub(super) fn on_inspected(&mut self, inspected: Inspected) {
        let Inspected { inspection, found, took } = inspected;
        self.integrity.is_looking = false;
        self.integrity.looking_into = None;
        self.integrity.paused_until = self.now + (took * PAUSE_PER_LOOK).min(PAUSE_AT_MOST);
        let (file, chunks) = (inspection.file, inspection.chunks);
        let outcome = match &inspection.files {
            Files::Wholes(stores) => self.on_wholes_inspected(file, stores, &chunks, found),
            Files::Part(part) => self.on_part_inspected(file, part, found),
        };
        if let Reason::Doubt(doubt) = inspection.reason {
            self.integrity.doubts.settle(self.now, &doubt, outcome);
            if outcome == Outcome::Unfounded {
                doubt
                    .reporters
                    .iter()
                    .for_each(|(_, peer)| self.note_false_corruption_report(*peer));
            }
        }
    }

    fn on_wholes_inspected(
        &mut self,
        file: FileKey,
        stores: &[Arc<FileStore>],
        chunks: &[ChunkIndex],
        found: Vec<(ChunkIndex, usize, ChunkVerdict)>,
    ) -> Outcome {
        let Some(hash) = self.files.get(&file).map(|entry| entry.info.hash()) else {
            return Outcome::Unknown;
        };
        let was_flawed =
            |chunk: &ChunkIndex| stores.iter().any(|store| store.flaws().of(*chunk).is_some());
        let mut outcome = match found.is_empty() || chunks.iter().any(was_flawed) {
            true => Outcome::Unknown,
            false => Outcome::Unfounded,
        };
        for (chunk, at, look) in found {
            // What was found before may have ended the serving of this file, or of all with its
            // content.
            let Some(own) = self.own_cut(&hash) else { break };
            let is_served = |store: &&Arc<FileStore>| {
                self.files.get(&own).is_some_and(|entry| entry.has(store))
            };
            let Some(store) = stores.get(at).filter(is_served) else { continue };
            match look {
                ChunkVerdict::Right => {
                    self.integrity.damage.note_right(self.now, store, chunk);
                }
                ChunkVerdict::CacheWasWrong => {
                    outcome = Outcome::Justified;
                    let path = shown_path(store.path());
                    tracing::warn!(%path, %chunk, "page cache held corrupt bytes of a chunk; the disk has the right ones");
                    self.integrity.damage.note_right(self.now, store, chunk);
                }
                ChunkVerdict::Wrong => {
                    outcome = Outcome::Justified;
                    self.note_flaw(own, store, chunk, Flaw::Wrong);
                }
                ChunkVerdict::Failed(ReadError::Io { source, .. })
                    if shortage_of(&source).is_some() =>
                {
                    outcome = Outcome::Unknown;
                }
                ChunkVerdict::Failed(ReadError::Io { .. } | ReadError::MemberChanged { .. }) => {
                    outcome = Outcome::Justified;
                    self.note_flaw(own, store, chunk, Flaw::Unreadable);
                }
                ChunkVerdict::Failed(error) => {
                    outcome = Outcome::Justified;
                    self.on_other_file(own, store, &error);
                }
            }
        }
        self.settle(&hash, Some(chunks));
        for store in stores {
            self.say_damage(store);
        }
        outcome
    }

    fn on_part_inspected(
        &mut self,
        file: FileKey,
        part: &Arc<Download>,
        found: Vec<(ChunkIndex, usize, ChunkVerdict)>,
    ) -> Outcome {
        let Some(entry) = self.files.get_mut(&file) else { return Outcome::Unknown };
        let is_same =
            matches!(&entry.source, ChunkSource::Partial(same) if Arc::ptr_eq(same, part));
        let Some((chunk, _, look)) = found.into_iter().next().filter(|_| is_same) else {
            return Outcome::Unknown;
        };
        let why = match look {
            ChunkVerdict::Right => return Outcome::Unfounded,
            ChunkVerdict::CacheWasWrong => return Outcome::Justified,
            ChunkVerdict::Failed(ReadError::Io { source, .. })
                if shortage_of(&source).is_some() =>
            {
                return Outcome::Unknown;
            }
            ChunkVerdict::Wrong => "it is wrong on the disk".to_owned(),
            ChunkVerdict::Failed(error) => error.to_string(),
        };
        if let Some(running) =
            entry.running.as_mut().filter(|running| running.phase == Phase::Finishing)
        {
            running.is_suspect = true;
            self.integrity.doubts.add_own(self.now + WHILE_FINISHING, file, chunk);
            return Outcome::Justified;
        }
        if entry.running.is_some() {
            self.fetch_again(file, vec![chunk]);
        } else if part.lose_chunk(chunk) {
            let path = part.partial_path();
            tracing::warn!(path = %shown_path(&path), %chunk, why, "a stored chunk is not served any more");
            self.feed(Input::ChunksWithdrawn { file, chunks: vec![chunk] });
        }
        Outcome::Justified
    }

    /// A chunk cannot be read while it is served.
    pub(super) fn on_unreadable_chunk(&mut self, file: FileKey, chunk: ChunkIndex) {
        let Some(entry) = self.files.get(&file) else { return };
        let hash = entry.info.hash();
        let stores: Vec<Arc<FileStore>> = match &entry.source {
            // Reading once more tells whether it is lost.
            ChunkSource::Partial(_) => return self.integrity.doubts.add_own(self.now, file, chunk),
            ChunkSource::Whole(_) => entry.wholes().cloned().collect(),
            ChunkSource::Rechunked { whole, .. } => vec![Arc::clone(whole)],
        };
        let Some(own) = self.own_cut(&hash) else { return };
        for store in &stores {
            if store.flaws().of(chunk).is_none() {
                self.note_flaw(own, store, chunk, Flaw::Unreadable);
            }
        }
        let mut are_more = false;
        for store in stores.iter().filter(|store| self.integrity.damage.is_unreadable(store)) {
            // One look after the other will tell which of them can be read.
            are_more |= store.flaws().set_rest(store.info().geometry(), Flaw::Unreadable);
        }
        self.settle(&hash, (!are_more).then_some(&[chunk]));
        for store in &stores {
            self.say_damage(store);
        }
    }

    /// Members of trees with the content of this file may have changed: their chunks are withdrawn,
    /// and looked at again later.
    pub(super) fn note_changed_members(&mut self, file: FileKey) {
        let Some(entry) = self.files.get(&file) else { return };
        let hash = entry.info.hash();
        let Some(own) = self.own_cut(&hash) else { return };
        let stores: Vec<Arc<FileStore>> =
            self.files.get(&own).into_iter().flat_map(FileEntry::wholes).cloned().collect();
        for store in stores {
            let withdrawn = store.take_withdrawn();
            if !withdrawn.is_empty() {
                self.integrity.damage.note_withdrawn(self.now, own, &store);
                self.settle(&hash, Some(&withdrawn));
                self.say_damage(&store);
            }
        }
    }

    fn note_flaw(&mut self, own: FileKey, store: &Arc<FileStore>, chunk: ChunkIndex, flaw: Flaw) {
        let is_first = flaw == Flaw::Wrong && store.flaws().count(Flaw::Wrong) == 0;
        self.integrity.damage.note_flaw(self.now, own, store, chunk, flaw);
        if is_first && let Some(scans) = self.scans.clone() {
            // It looks as it did: a restart would believe what was remembered.
            let path = Arc::clone(store.path());
            self.context.tasks.spawn_blocking(move || scans.forget(&path));
        }
    }

    /// A file is not the one that was shared.
    fn on_other_file(&mut self, own: FileKey, store: &Arc<FileStore>, error: &ReadError) {
        tracing::warn!(path = %shown_path(store.path()), %error, "cannot be served any more");
        if matches!(error, ReadError::Touched) {
            self.read_again(own, store.path());
        }
        self.drop_stores(own, |other| std::ptr::eq(other, &**store));
    }

    /// All chunks of a file were looked at.
    fn on_swept(&mut self, file: FileKey, store: &Arc<FileStore>) {
        if store.flaws().count(Flaw::Wrong) == store.info().geometry().chunk_count() {
            let path = shown_path(store.path());
            tracing::warn!(%path, "all chunks are corrupt; no longer shared");
            self.drop_stores(file, |other| std::ptr::eq(other, &**store));
        } else {
            self.say_damage(store);
        }
    }

    fn say_damage(&mut self, store: &FileStore) {
        let path = shown_path(store.path());
        if self.integrity.damage.forget_if_sound(store) {
            tracing::info!(%path, "all chunks can be served again");
        } else if self.integrity.damage.is_to_be_said(self.now, store) {
            let flaws = store.flaws();
            let (wrong, unreadable) = (flaws.count(Flaw::Wrong), flaws.count(Flaw::Unreadable));
            let (of, is_sweeping) =
                (store.info().geometry().chunk_count(), self.integrity.damage.is_sweeping(store));
            tracing::warn!(%path, wrong, unreadable, of, is_sweeping, "chunks on the disk cannot be served");
        }
    }

    /// What is wrong with the files of a content, for people.
    pub(super) fn damaged_files(&self, entry: &FileEntry) -> Vec<DamagedFile> {
        let damaged = entry.wholes().filter(|store| store.flaws().are_any());
        let shown = damaged.take(SHOWN).map(|store| DamagedFile {
            path: store.path().to_path_buf(),
            wrong: store.flaws().count(Flaw::Wrong),
            unreadable: store.flaws().count(Flaw::Unreadable),
            checking: self.integrity.damage.is_sweeping(store),
        });
        shown.collect()
    }

    /// Brings what the core serves in line with what the files are good for: of these chunks, or of
    /// all.
    pub(super) fn settle(&mut self, hash: &FileHash, chunks: Option<&[ChunkIndex]>) {
        let Some(own) = self.own_cut(hash) else { return };
        let is_other_source = self.prefer_sound(own);
        let mut ranges: Option<Vec<Range<u64>>> = None;
        if let Some(chunks) = chunks.filter(|_| !is_other_source) {
            let geometry = self.files[&own].info.geometry();
            ranges = Some(chunks.iter().map(|chunk| geometry.range(*chunk)).collect());
        }
        for file in keys_of(&self.by_hash, hash) {
            let Some(entry) = self.files.get(&file) else { continue };
            let geometry = *entry.geometry();
            let touched: Vec<ChunkIndex> = match &ranges {
                None => geometry.chunks().collect(),
                Some(ranges) => {
                    ranges.iter().flat_map(|range| indices_in(&geometry, range)).collect()
                }
            };
            let all = ranges.is_none().then(|| entry.sound_chunks());
            let is_sound = |chunk| match &all {
                Some(sound) => sound.contains(chunk),
                None => entry.is_sound(chunk),
            };
            let (mut gone, mut back) = (Vec::new(), Vec::new());
            for chunk in touched {
                match (is_sound(chunk), self.swarm.holds(file, chunk)) {
                    (false, true) => gone.push(chunk),
                    (true, false) if !matches!(entry.source, ChunkSource::Partial(_)) => {
                        back.push(chunk)
                    }
                    _ => {}
                }
            }
            if !gone.is_empty() {
                self.feed(Input::ChunksWithdrawn { file, chunks: gone });
            }
            if !back.is_empty() {
                self.feed(Input::ChunksRestored { file, chunks: back });
            }
        }
        self.report(hash);
    }

    /// Serves from another file with the same content if it has fewer flaws. Answers whether it
    /// does so from now on.
    fn prefer_sound(&mut self, own: FileKey) -> bool {
        let Some(entry) = self.files.get_mut(&own) else { return false };
        let flaws = |store: &FileStore| {
            store.flaws().count(Flaw::Wrong) + store.flaws().count(Flaw::Unreadable)
        };
        let ChunkSource::Whole(source) = &entry.source else { return false };
        let best = entry.spares.iter().enumerate().min_by_key(|(_, spare)| flaws(spare));
        let Some((at, _)) = best.filter(|(_, spare)| flaws(spare) < flaws(source)) else {
            return false;
        };
        let sound = entry.spares.remove(at);
        entry.spares.push(Arc::clone(source));
        let hash = entry.info.hash();
        entry.source = ChunkSource::Whole(Arc::clone(&sound));
        self.read_recuts_from(&hash, &sound);
        true
    }

    /// A chunk was sent: not all of its file is unreadable.
    pub(super) fn note_readable(&mut self, file: FileKey) {
        if !self.integrity.damage.is_empty()
            && let Some(ChunkSource::Whole(store)) =
                self.files.get(&file).map(|entry| &entry.source)
        {
            self.integrity.damage.note_sent(store);
        }
    }
}
