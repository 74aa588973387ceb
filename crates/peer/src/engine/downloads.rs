//! Downloads from the open target to the finished file: what is stored, when it is synced, and when
//! to give up.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tnet_fileinfo::{ChunkIndex, FileHash, explain, shown_path};
use tnet_session::{ChunkBody, StoreResult, WriteOutcome};
use tnet_store::ChunkSource;
use tnet_swarm::{FileKey, Goal, Input, PeerKey, Time};
use tokio::sync::{oneshot, watch};
use tracing::{Span, field};

use super::blocking::{Arrival, Finished, WorkDone};
use super::command::StartDownload;
use super::entry::FileEntry;
use super::misbehaviour::CorruptPeers;
use super::named_holders::NamedHolders;
use super::stopwatch::Stopwatch;
use super::{Engine, keys_of};
use crate::api::{DownloadError, FileChange, Phase, Progress, SourceShare, Summary};
use crate::config::DownloadOptions;
use crate::store;

/// The engine's side of a download, until the file is whole or the download has failed.
pub(super) struct Running {
    /// `download{hash}`: what is done for it is logged in there.
    pub(super) span: Span,
    pub(super) store: Arc<store::Download>,
    pub(super) options: DownloadOptions,
    pub(super) started: Time,
    pub(super) last_stored: Time,
    pub(super) met_somebody: bool,
    /// How long there had been no coordinator when it began.
    pub(super) absent_before: Duration,
    pub(super) holders: NamedHolders,
    /// The end of the last piece of what was here that was verified, or the start.
    pub(super) last_checked: Time,
    /// Bytes of an earlier attempt that were to be verified.
    pub(super) to_check: u64,
    /// Bytes of an earlier attempt, but for those found to be damaged.
    pub(super) resumed: u64,
    pub(super) damaged: u64,
    /// Bytes that came from others and were stored, by where the sender accepts peers.
    sources: BTreeMap<Option<SocketAddr>, u64>,
    unsynced: u64,
    synced_at: Time,
    syncing: bool,
    pub(super) phase: Phase,
    /// Once the file is being given its name, which cannot be stopped: who is to be told of its
    /// end.
    naming: Option<Vec<oneshot::Sender<()>>>,
    /// A stored chunk turned out wrong: others may be wrong too.
    pub(super) is_suspect: bool,
    /// How often each such chunk did.
    losses: BTreeMap<ChunkIndex, u8>,
    pub(super) stopwatch: Stopwatch,
    /// What was spent on verifying its chunks, by all threads.
    pub(super) verifying: Duration,
    pub(super) without_holder: u32,
    pub(super) corrupt_peers: CorruptPeers,
    pub(super) counted_at: Time,
    pub(super) progress: watch::Sender<Progress>,
    swarm_done: watch::Sender<bool>,
    pub(super) outcome: Option<oneshot::Sender<Result<Summary, DownloadError>>>,
}

/// The owner's side of a download.
#[derive(Debug)]
pub(crate) struct DownloadHandle {
    pub(crate) progress: watch::Receiver<Progress>,
    pub(crate) swarm_done: watch::Receiver<bool>,
    pub(crate) outcome: oneshot::Receiver<Result<Summary, DownloadError>>,
}

/// A disk that loses the same chunk so often does not keep it.
const LOSSES_AT_MOST: u8 = 3;

impl Engine {
    pub(super) fn start_download(&mut self, start: StartDownload) {
        let StartDownload { info, store, options, done } = start;
        let hash = info.hash();
        if let Some(out) = self.running_target(&hash) {
            let _ = done.send(Err(DownloadError::AlreadyRunning { hash, out }));
            return;
        }
        // The owner looked before; if the content came by another way meanwhile, the download takes
        // its place.
        self.unshare(&hash);
        let (now, geometry) = (self.now, *info.geometry());
        let (stored, vouched) = (store.stored(), store.vouched());
        let to_check = geometry.bytes_in(&vouched);
        let mut kept = vouched;
        kept.union_with(&stored);
        let resumed = geometry.bytes_in(&kept);
        let (outcome, outcome_of) = oneshot::channel();
        let first = Progress {
            bytes_to_check: to_check,
            coordinator: self.coordinator.state,
            ..Progress::begun(Phase::FindingPeers, &info, resumed, kept.count())
        };
        let (progress, swarm_done) = (watch::Sender::new(first), watch::Sender::new(false));
        let handle = DownloadHandle {
            progress: progress.subscribe(),
            swarm_done: swarm_done.subscribe(),
            outcome: outcome_of,
        };
        let options_of = options.clone();
        // At any level, so that a warning names the file.
        let span = tracing::error_span!("download", hash = hash.short());
        let running = Running {
            span,
            store: Arc::clone(&store),
            options,
            started: now,
            last_stored: now,
            met_somebody: false,
            absent_before: self.coordinator.absent(now),
            holders: NamedHolders::default(),
            last_checked: now,
            to_check,
            resumed,
            damaged: 0,
            sources: BTreeMap::new(),
            unsynced: 0,
            synced_at: now,
            syncing: false,
            phase: Phase::FindingPeers,
            // Who is not kept out may have written to it.
            is_suspect: !store.is_guarded(),
            naming: None,
            losses: BTreeMap::new(),
            stopwatch: Stopwatch::start(now),
            verifying: Duration::ZERO,
            without_holder: 0,
            corrupt_peers: CorruptPeers::default(),
            counted_at: now,
            progress,
            swarm_done,
            outcome: Some(outcome),
        };
        tracing::info!(path = %shown_path(&store.path()), %hash, resumed, "download started");
        self.coordinator.call_soon();
        let source = ChunkSource::Partial(Arc::clone(&store));
        let entry = FileEntry::new(info, source, Some(running));
        if done.send(Ok(handle)).is_err() {
            return; // the owner changed its mind
        }
        let (limits, priority) = (options_of.limits, options_of.priority);
        let file = self.add_file(geometry, stored, Goal::Download, entry);
        self.context.ingest.add_download(file, Arc::clone(&store));
        self.change_file(file, FileChange::Limits(limits.into()));
        self.change_file(file, FileChange::Priority { level: priority });
        self.start_reserve(file, store);
    }

    pub(super) fn running_target(&self, hash: &FileHash) -> Option<PathBuf> {
        let keys = keys_of(&self.by_hash, hash);
        let running = keys.iter().filter_map(|file| self.files.running(*file));
        running
            .filter(|running| running.outcome.is_some())
            .map(|running| running.store.path())
            .next()
    }

    /// The core wants the chunk that just arrived.
    pub(super) fn store_chunk(
        &mut self,
        peer: PeerKey,
        file: FileKey,
        chunk: ChunkIndex,
        body: ChunkBody,
    ) {
        let Some(running) = self.files.running(file) else { return };
        let address = self.sessions.get(&peer).and_then(|open| open.address);
        let arrival = Arrival { peer, address, file, chunk };
        let store = Arc::clone(&running.store);
        match body {
            ChunkBody::InMemory(buffer) => self.start_store(arrival, buffer, store),
            ChunkBody::WrittenBySession => {
                self.written_by_session.insert((peer, file, chunk), arrival);
            }
        }
    }

    pub(super) fn on_work_done(&mut self, done: WorkDone) {
        let span = done.file().map_or_else(Span::none, |file| self.files.span(file));
        let _entered = span.entered();
        match done {
            WorkDone::Written(arrival, outcome) => self.on_written(arrival, outcome),
            WorkDone::Reserved { file, result } => {
                if let Err(error) = result {
                    self.fail(file, error.into());
                }
            }
            WorkDone::VouchedVerified { file, checked } => self.on_vouched_verified(file, checked),
            WorkDone::Synced { file, result } => self.on_synced(file, result),
            WorkDone::Reverified { file, lost } => self.on_reverified(file, lost),
            WorkDone::Finished { file, result } => self.on_finished(file, result),
            WorkDone::Inspected(inspected) => self.on_inspected(*inspected),
            WorkDone::MetadataCompared { changed, took } => {
                self.on_metadata_compared(changed, took)
            }
            WorkDone::OpenFilesCompared { gone, lost } => self.on_open_files_compared(gone, lost),
            WorkDone::Rescanned { store, result } => self.on_rescanned(&store, result),
        }
    }

    pub(super) fn on_written(&mut self, arrival: Arrival, outcome: WriteOutcome) {
        let Arrival { peer, address, file, chunk } = arrival;
        let WriteOutcome { len, verifying, result } = outcome;
        let now = self.now;
        let Some(entry) = self.files.get_mut(&file) else { return };
        let Some(running) = &mut entry.running else { return };
        entry.received.bytes += u64::from(len);
        running.verifying += verifying;
        match result {
            StoreResult::Stored => {
                running.last_stored = now;
                running.unsynced += u64::from(len);
                *running.sources.entry(address).or_default() += u64::from(len);
                entry.received.sources = u32::try_from(running.sources.len()).unwrap_or(u32::MAX);
                tracing::debug!(%chunk, of = entry.geometry().chunk_count(), from = address.map(field::display), "chunk is here");
                self.count_stored(file, len);
                self.feed(Input::ChunkStored { file, chunk });
                self.sync_if_due(file);
            }
            StoreResult::Corrupt => {
                entry.received.wasted += u64::from(len);
                self.feed(Input::ChunkCorrupt { file, chunk, peer });
            }
            StoreResult::Failed(error) => self.fail(file, error.into()),
        }
    }

    fn sync_if_due(&mut self, file: FileKey) {
        let now = self.now;
        let Some(running) = self.files.running_mut(file) else { return };
        if running.unsynced == 0 {
            running.synced_at = now;
        }
        let due = running.unsynced >= self.config.sync_bytes
            || now - running.synced_at >= self.config.sync_interval;
        if !due || running.syncing || running.unsynced == 0 || running.phase == Phase::Finishing {
            return;
        }
        running.syncing = true;
        running.unsynced = 0;
        running.synced_at = now;
        let store = Arc::clone(&running.store);
        self.start_sync(file, store);
    }

    fn on_synced(&mut self, file: FileKey, result: Result<(), store::SyncError>) {
        let Some(running) = self.files.running_mut(file) else { return };
        running.syncing = false;
        if let Err(error) = result {
            self.fail(file, error.into());
        }
    }

    pub(super) fn on_complete(&mut self, file: FileKey) {
        let doubted = self.integrity.doubted(file);
        let Some(running) = self.files.running_mut(file) else { return };
        running.phase = Phase::Finishing;
        let store = Arc::clone(&running.store);
        if std::mem::take(&mut running.is_suspect) {
            let all = store.info().geometry().chunks().collect();
            self.start_reverification(file, store, all);
        } else if doubted.is_empty() {
            running.naming = Some(Vec::new());
            self.start_finish(file, store);
        } else {
            // Corruption reports may be false: only the chunks they name are read.
            self.start_reverification(file, store, doubted.into_iter().collect());
        }
    }

    /// Stored chunks of a complete download were read once more.
    fn on_reverified(&mut self, file: FileKey, lost: Vec<ChunkIndex>) {
        let Some(running) = self.files.running_mut(file) else { return };
        if lost.is_empty() && running.is_suspect {
            // A look that had begun before found something.
            return self.on_complete(file);
        }
        if lost.is_empty() {
            running.naming = Some(Vec::new());
            let store = Arc::clone(&running.store);
            return self.start_finish(file, store);
        }
        running.phase = Phase::Downloading;
        self.fetch_again(file, lost);
    }

    /// Stored chunks of a running download are not what they were. Ends it if the disk keeps losing
    /// the same one.
    pub(super) fn fetch_again(&mut self, file: FileKey, lost: Vec<ChunkIndex>) {
        let Some(running) = self.files.running_mut(file) else { return };
        let path = running.store.partial_path();
        tracing::warn!(path = %shown_path(&path), lost = lost.len(), "stored chunks are corrupt; downloading them again");
        running.is_suspect = true;
        for chunk in &lost {
            running.store.lose_chunk(*chunk);
            let times = running.losses.entry(*chunk).or_insert(0);
            *times += 1;
            if *times >= LOSSES_AT_MOST {
                return self.fail(file, store::WriteError::SyncsFail { chunk: *chunk }.into());
            }
        }
        self.feed(Input::ChunksLost { file, chunks: lost });
    }

    fn on_finished(&mut self, file: FileKey, result: Result<Finished, store::FinishError>) {
        let Finished { whole, manifest } = match result {
            Ok(finished) => finished,
            Err(error) => return self.fail(file, error.into()),
        };
        let now = self.now;
        let traffic = self.traffic(file);
        let Some(entry) = self.files.get_mut(&file) else { return };
        let hash = entry.info.hash();
        self.context.ingest.remove_download(file, hash, entry.info.geometry().chunk_size());
        let path = whole.path().to_path_buf();
        let whole = Arc::new(whole.with_fd_cache(&self.open_files));
        self.leave_path(&whole);
        let Some(entry) = self.files.get_mut(&file) else { return };
        self.by_path.insert(Arc::clone(whole.path()), file);
        entry.source = ChunkSource::Whole(whole);
        if let Some(manifest) = manifest {
            self.share_manifest(*manifest);
        }
        let Some(entry) = self.files.get_mut(&file) else { return };
        if let Some(running) = &mut entry.running {
            running.phase = Phase::Complete;
        }
        self.publish(file);
        self.followed.remove(&file);
        let Some(entry) = self.files.get_mut(&file) else { return };
        // With it goes the target that is not needed any more, and its descriptors.
        if let Some(running) = entry.running.take() {
            let sources = sources_of(&running.sources);
            for SourceShare { address, bytes } in &sources {
                tracing::debug!(from = address.map(field::display), bytes, "received in all");
            }
            let summary = Summary {
                path: path.clone(),
                bytes_total: entry.info.size(),
                bytes_resumed: running.resumed,
                bytes_damaged: running.damaged,
                elapsed: now - running.started,
                time: running.stopwatch.shares_at(now, running.verifying),
                verify_busy: running.verifying,
                traffic,
                sources,
                corrupt_peers: running.corrupt_peers.shown(),
                notes: running.store.notes().into_iter().map(str::to_owned).collect(),
            };
            if let Some(outcome) = running.outcome {
                let _ = outcome.send(Ok(summary));
            }
            for waiting in running.naming.into_iter().flatten() {
                let _ = waiting.send(());
            }
            let is_done = self.swarm.is_swarm_done(file);
            self.swarm_watches.add(file, running.swarm_done, is_done);
        }
        tracing::info!(%hash, path = %shown_path(&path), "download complete");
        self.report(&hash);
        self.unwatch_if_settled(hash);
    }

    /// The `.partial` of a running download was removed, or all of its directory.
    pub(super) fn fail_lost(&mut self, file: FileKey) {
        let running = self.files.running(file);
        if let Some(running) = running.filter(|running| running.phase != Phase::Finishing) {
            let path = running.store.partial_path();
            self.fail(file, store::FinishError::Gone { path }.into());
        }
    }

    /// Ends a download without the file; what is verified stays on disk.
    fn fail(&mut self, file: FileKey, error: DownloadError) {
        self.end(file, error, None);
    }

    /// As `fail`. Those who wait are told when the target is free for another attempt.
    fn end(&mut self, file: FileKey, error: DownloadError, cancelled: Option<oneshot::Sender<()>>) {
        let _entered = self.files.span(file).entered();
        let Some(running) = self.files.running_mut(file) else { return };
        tracing::warn!(path = %shown_path(&running.store.path()), error = %explain(&error), "download ended");
        running.phase = Phase::Failed;
        let outcome = running.outcome.take();
        self.publish(file);
        let Some(FileEntry { info, running: Some(running), .. }) = self.remove_file(file) else {
            return;
        };
        if matches!(&error, DownloadError::Write(error) if error.is_disk_full()) {
            // Nothing is wrong with what is there.
            self.serve_part(info, Arc::clone(&running.store));
        }
        let waiting = cancelled.into_iter().chain(running.naming.into_iter().flatten());
        let waiting: Vec<_> = waiting.collect();
        self.start_abandon(running.store, move || {
            if let Some(outcome) = outcome {
                let _ = outcome.send(Err(error));
            }
            for waiting in waiting {
                let _ = waiting.send(());
            }
        });
    }

    /// Ends the download of this content, if one is running, and says so when its target is free.
    /// One that is being given its name ends by itself.
    pub(super) fn cancel_download(
        &mut self,
        hash: &FileHash,
        cancelled: Option<oneshot::Sender<()>>,
    ) {
        let keys = keys_of(&self.by_hash, hash);
        let is_running = |file: &FileKey| {
            let running = self.files.running(*file);
            running.is_some_and(|running| running.outcome.is_some())
        };
        let Some(file) = keys.into_iter().find(is_running) else {
            return; // Dropping the sender tells that it has ended.
        };
        let running = self.files.running_mut(file);
        match running.and_then(|running| running.naming.as_mut()) {
            Some(waiting) => waiting.extend(cancelled),
            None => self.end(file, DownloadError::Cancelled, cancelled),
        }
    }

    /// The process ends: the stores of all running downloads, to be saved.
    pub(super) fn end_all_downloads(&mut self) -> Vec<Arc<store::Download>> {
        let running = self.files.values_mut().filter_map(|entry| entry.running.take());
        running.map(|running| running.store).collect()
    }

    /// Publishes progress, syncs what is due and gives up on what has been quiet for too long.
    pub(super) fn beat(&mut self) {
        self.watch_all_downloads();
        self.check_next();
        for file in self.followed.clone() {
            self.sync_if_due(file);
            self.publish(file);
            if let Some(error) = self.reason_to_give_up(file) {
                self.fail(file, error);
            }
        }
        self.end_long_searches();
        let swarm = &self.swarm;
        self.swarm_watches.look(|file| swarm.is_swarm_done(file));
    }
}

/// Most bytes first.
fn sources_of(sources: &BTreeMap<Option<SocketAddr>, u64>) -> Vec<SourceShare> {
    let mut shares: Vec<SourceShare> = sources
        .iter()
        .map(|(address, bytes)| SourceShare { address: *address, bytes: *bytes })
        .collect();
    shares.sort_by_key(|share| std::cmp::Reverse(share.bytes));
    shares
}
