//! What may block is done by tasks of their own, in the thread pool for that; each ends with one
//! event.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tnet_fileinfo::tree::Layout;
use tnet_fileinfo::{ChunkIndex, FileInfo, explain, shown_path};
use tnet_net::wall_clock;
use tnet_session::{ChunkBuffer, WriteOutcome, verify_and_write};
use tnet_swarm::{FileKey, PeerKey};

use super::Engine;
use super::inspecting::Inspected;
use crate::store::{
    self, CheckedChunks, ChunkVerdict, Cost, FileFingerprint, FileState, FileStore, FinishError,
    ReadAgainError, SyncError, WriteError,
};
use crate::thread_pool::go_on_until;

/// A piece of work is done.
#[derive(Debug)]
pub(crate) enum WorkDone {
    Written(Arrival, WriteOutcome),
    Reserved {
        file: FileKey,
        result: Result<(), WriteError>,
    },
    VouchedVerified {
        file: FileKey,
        checked: CheckedChunks,
    },
    Synced {
        file: FileKey,
        result: Result<(), SyncError>,
    },
    Reverified {
        file: FileKey,
        lost: Vec<ChunkIndex>,
    },
    Finished {
        file: FileKey,
        result: Result<Finished, FinishError>,
    },
    Inspected(Box<Inspected>),
    MetadataCompared {
        changed: Vec<(FileKey, Arc<FileStore>, FileState)>,
        took: Duration,
    },
    /// Of what is open: whole files that were deleted, and downloads whose `.partial` was.
    OpenFilesCompared {
        gone: Vec<(FileKey, Arc<Path>)>,
        lost: Vec<FileKey>,
    },
    /// A file that was touched was read. It has the same content as before, or the error says.
    Rescanned {
        store: Arc<FileStore>,
        result: Result<Box<FileStore>, ReadAgainError>,
    },
}

/// A content that got its name.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) whole: Box<FileStore>,
    /// The manifest, if it is the payload of a tree.
    pub(crate) manifest: Option<Box<FileStore>>,
}

impl Finished {
    pub(crate) fn of(whole: FileStore) -> Self {
        let manifest_of = |layout: &Arc<Layout>| {
            let manifest = Arc::clone(layout.manifest());
            let info = FileInfo::of_bytes(manifest.bytes(), None).ok()?;
            let path = whole.path().to_path_buf();
            Some(Box::new(FileStore::of_manifest(manifest, info, path)))
        };
        let manifest = whole.layout().and_then(manifest_of);
        Self { whole: Box::new(whole), manifest }
    }
}

impl WorkDone {
    /// The file whose download it was done for.
    pub(super) fn file(&self) -> Option<FileKey> {
        match self {
            WorkDone::Written(arrival, _) => Some(arrival.file),
            WorkDone::Reserved { file, .. }
            | WorkDone::VouchedVerified { file, .. }
            | WorkDone::Synced { file, .. }
            | WorkDone::Reverified { file, .. }
            | WorkDone::Finished { file, .. } => Some(*file),
            WorkDone::Inspected(_)
            | WorkDone::MetadataCompared { .. }
            | WorkDone::OpenFilesCompared { .. }
            | WorkDone::Rescanned { .. } => None,
        }
    }
}

/// A chunk that arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) peer: PeerKey,
    /// Where the sender accepts peers.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) file: FileKey,
    pub(crate) chunk: ChunkIndex,
}

impl Engine {
    /// Verifies and writes a chunk.
    pub(super) fn start_store(
        &self,
        arrival: Arrival,
        buffer: ChunkBuffer,
        store: Arc<store::Download>,
    ) {
        self.start(move || {
            WorkDone::Written(arrival, verify_and_write(&store, arrival.chunk, buffer))
        });
    }

    /// Reserves the rest of a download's space.
    pub(super) fn start_reserve(&self, file: FileKey, store: Arc<store::Download>) {
        self.start(move || WorkDone::Reserved { file, result: store.reserve_rest() });
    }

    /// Verifies some of the chunks that an earlier process left.
    pub(super) fn start_vouched_verification(
        &self,
        file: FileKey,
        store: Arc<store::Download>,
        most_bytes: u64,
        within: Duration,
    ) {
        self.start(move || WorkDone::VouchedVerified {
            file,
            checked: store.check_vouched(most_bytes, within),
        });
    }

    pub(super) fn start_sync(&self, file: FileKey, store: Arc<store::Download>) {
        self.start(move || WorkDone::Synced { file, result: store.sync().map(drop) });
    }

    /// Reads chunks of a download once more, and tells which of them are not right.
    pub(super) fn start_reverification(
        &self,
        file: FileKey,
        store: Arc<store::Download>,
        mut chunks: Vec<ChunkIndex>,
    ) {
        self.start(move || {
            let mut buf = Vec::new();
            let mut is_lost = |chunk: &ChunkIndex| match store.inspect(*chunk, &mut buf) {
                Some(ChunkVerdict::Right | ChunkVerdict::CacheWasWrong) => false,
                Some(ChunkVerdict::Wrong | ChunkVerdict::Failed(_)) | None => true,
            };
            chunks.retain(&mut is_lost);
            WorkDone::Reverified { file, lost: chunks }
        });
    }

    pub(super) fn start_finish(&self, file: FileKey, store: Arc<store::Download>) {
        let scans = self.scans.clone();
        self.start(move || {
            let result = store.finish().map(Finished::of);
            // A peer that shares its directory need not read it.
            if let (Some(scans), Ok(Finished { whole, manifest: None })) = (scans, &result)
                && let Ok(metadata) = std::fs::metadata(whole.path())
                && FileFingerprint::of(&metadata) == whole.fingerprint()
            {
                scans.remember_own(whole.path(), &metadata, whole.info());
            }
            WorkDone::Finished { file, result }
        });
    }

    /// Looks at shared files, and at a few of those whose descriptions are remembered.
    pub(super) fn start_metadata_comparison(&self, stores: Vec<(FileKey, Arc<FileStore>)>) {
        let scans = self.scans.clone();
        self.start(move || {
            let cost = Cost::begin();
            if let Some(scans) = scans {
                scans.tidy_up();
            }
            let mut changed = Vec::new();
            for (file, store) in stores {
                if store.is_watched() {
                    continue;
                }
                match store.state() {
                    FileState::Unchanged => {}
                    state => changed.push((file, store, state)),
                }
            }
            WorkDone::MetadataCompared { changed, took: cost.so_far() }
        });
    }

    /// Looks at what is open. A file that was not read since the last time that files `are_to_rest`
    /// is closed.
    pub(super) fn start_open_files_comparison(
        &self,
        wholes: Vec<(FileKey, Arc<FileStore>)>,
        coming: Vec<(FileKey, Arc<store::Download>)>,
        are_to_rest: bool,
    ) {
        self.start(move || {
            for (_, store) in wholes.iter().filter(|_| are_to_rest) {
                store.close_if_idle();
            }
            let gone =
                wholes.into_iter().filter(|(_, store)| store.is_open_in_vain() == Some(true));
            let gone = gone.map(|(file, store)| (file, Arc::clone(store.path()))).collect();
            let lost = coming.into_iter().filter(|(_, download)| !download.is_in_place());
            WorkDone::OpenFilesCompared { gone, lost: lost.map(|(file, _)| file).collect() }
        });
    }

    /// Reads a file once more that was touched.
    pub(super) fn start_rescan(&self, store: Arc<FileStore>) {
        let (done, scans, stop) =
            (self.work.clone(), self.scans.clone(), self.context.stop.clone());
        self.context.tasks.spawn_blocking(move || {
            let read = store.read_again(scans.as_ref(), wall_clock(), &|_| go_on_until(&stop));
            // The receiver is gone: the process ends.
            let _ = done.blocking_send(WorkDone::Rescanned { store, result: read.map(Box::new) });
        });
    }

    /// Saves and closes a download that ends early; `then` tells those who wait that its target
    /// is free again.
    pub(super) fn start_abandon(
        &self,
        store: Arc<store::Download>,
        then: impl FnOnce() + Send + 'static,
    ) {
        self.context.tasks.spawn_blocking(move || {
            if let Err(error) = store.abandon() {
                tracing::warn!(path = %shown_path(&store.partial_path()), error = %explain(&error), "not all of a download could be saved");
            }
            then();
        });
    }

    pub(super) fn start(&self, work: impl FnOnce() -> WorkDone + Send + 'static) {
        let done = self.work.clone();
        self.context.tasks.spawn_blocking(move || {
            // The receiver is gone: the process ends.
            let _ = done.blocking_send(work());
        });
    }
}
