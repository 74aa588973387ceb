//! The files of this process: what is open, under which number the core knows it, and what is
//! reported of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tnet_fileinfo::{ChunkSet, FileHash, FileInfo, Geometry, shown_path};
use tnet_proto::Availability;
use tnet_store::ChunkSource;
use tnet_swarm::{FileKey, Goal, Input};

use super::entry::FileEntry;
use super::{Engine, keys_of};
use crate::poll_interval::pause_after;
use crate::store::{Download, FileState, FileStore, ReadError};

/// A file that was not read for so long, or for twice as long, is closed: an open one would keep
/// its space after it is deleted, and its disk from being unmounted.
const REST_AFTER: Duration = Duration::from_secs(2);

impl Engine {
    /// A new file for the core, with a number of its own.
    pub(super) fn add_file(
        &mut self,
        geometry: Geometry,
        stored: ChunkSet,
        goal: Goal,
        entry: FileEntry,
    ) -> FileKey {
        let vouched = match &entry.source {
            ChunkSource::Partial(store) => store.vouched(),
            ChunkSource::Whole(_) | ChunkSource::Rechunked { .. } => ChunkSet::empty(&geometry),
        };
        let is_to_be_checked = !vouched.is_empty();
        let file = FileKey(self.next_file);
        self.next_file =
            self.next_file.checked_add(1).expect("four billion files are not shared in one run");
        let hash = entry.info.hash();
        let running = entry.running.is_some();
        self.by_hash.entry(hash).or_default().insert(file);
        self.files.insert(file, entry);
        if running {
            self.followed.insert(file);
        }
        self.report(&hash);
        self.feed(Input::AddFile { file, hash, geometry, stored, vouched, goal });
        if is_to_be_checked {
            self.check_in_background(file);
        }
        file
    }

    pub(super) fn remove_file(&mut self, file: FileKey) -> Option<FileEntry> {
        let entry = self.files.remove(&file)?;
        let hash = entry.info.hash();
        self.context.ingest.remove_download(file, hash, entry.info.geometry().chunk_size());
        if let Some(keys) = self.by_hash.get_mut(&hash) {
            keys.remove(&file);
            if keys.is_empty() {
                self.by_hash.remove(&hash);
            }
        }
        for store in entry.wholes() {
            self.forget_path(store, file);
            self.integrity.damage.forget(store);
            self.drop_manifest_of(store);
        }
        self.integrity.doubts.forget_file(file);
        self.followed.remove(&file);
        self.parts.remove(&file);
        self.checks.forget(file);
        self.recuts.forget(file);
        self.swarm_watches.forget(file);
        self.recent.forget(file);
        self.report(&hash);
        self.unwatch_if_settled(hash);
        self.feed(Input::RemoveFile { file });
        Some(entry)
    }

    fn forget_path(&mut self, store: &FileStore, file: FileKey) {
        if self.key_at(store) == Some(file) {
            match store.manifest() {
                None => self.by_path.remove(store.path()),
                Some(_) => self.manifests.remove(store.path()),
            };
        }
    }

    /// Tells the reporter how much of a file is here.
    pub(super) fn report(&mut self, hash: &FileHash) {
        let keys = keys_of(&self.by_hash, hash);
        let entries = keys.iter().filter_map(|file| Some((file, self.files.get(file)?)));
        let entries = entries.filter(|(_, entry)| !entry.settings.is_paused);
        let entries = entries.map(|(file, entry)| self.availability(*file, entry));
        let availability = entries.max().unwrap_or(Availability::None);
        let size =
            keys.first().and_then(|file| self.files.get(file)).map_or(0, |entry| entry.info.size());
        self.coordinator.session.set(*hash, size, availability);
    }

    /// How much of a file can be served, as others are told.
    fn availability(&self, file: FileKey, entry: &FileEntry) -> Availability {
        match (&entry.source, self.swarm.stored_chunks(file)) {
            (ChunkSource::Partial(_), _) => Availability::Partial,
            (_, Some(stored)) if stored < entry.geometry().chunk_count() => match stored {
                0 => Availability::None,
                _ => Availability::Partial,
            },
            // The core has not heard of it yet, or has it whole.
            _ => Availability::Full,
        }
    }

    /// Serves a whole file. If its content is here already it becomes a spare.
    pub(super) fn share(&mut self, file: FileStore) {
        let (info, file) = (file.info().clone(), Arc::new(file.with_fd_cache(&self.open_files)));
        let (path, hash) = (shown_path(file.path()), info.hash());
        // Of a directory there is one line for each look.
        if file.is_in_shared_dir() {
            tracing::debug!(%path, %hash, "sharing");
        } else {
            tracing::info!(%path, %hash, "sharing");
        }
        self.leave_path(&file);
        if let Some(known) = self.own_cut(&info.hash()) {
            self.drop_part(known);
        }
        if let Some(known) = self.own_cut(&info.hash()) {
            self.note_path(&file, known);
            let entry = self.files.get_mut(&known).expect("own_cut looked it up");
            let same_path = |store: &Arc<FileStore>| store.is_in_place_of(&file);
            if matches!(&entry.source, ChunkSource::Whole(store) if same_path(store)) {
                entry.source = ChunkSource::Whole(file);
            } else {
                entry.spares.retain(|store| !same_path(store));
                entry.spares.push(file);
            }
            // What was withdrawn is here again.
            self.settle(&info.hash(), None);
            return;
        }
        let geometry = *info.geometry();
        let entry = FileEntry::new(info, ChunkSource::Whole(Arc::clone(&file)), None);
        let key = self.add_file(geometry, ChunkSet::full(&geometry), Goal::Seed, entry);
        self.note_path(&file, key);
    }

    fn note_path(&mut self, store: &FileStore, file: FileKey) {
        let by_path = match store.manifest() {
            None => &mut self.by_path,
            Some(_) => &mut self.manifests,
        };
        by_path.insert(Arc::clone(store.path()), file);
    }

    /// A file with this content is there now, read anew, whatever it looks like: one with another
    /// is not, and nothing of what was wrong with it is.
    pub(super) fn leave_path(&mut self, file: &FileStore) {
        let path = file.path();
        if let Some(other) = self.key_at(file)
            && self.files.get(&other).is_some_and(|entry| entry.info.hash() != file.info().hash())
        {
            self.drop_stores(other, |store| store.is_in_place_of(file));
        }
        if file.manifest().is_none() {
            self.integrity.damage.forget_path(path);
            self.integrity.touched.forget_path(path);
        }
    }

    /// The content that is served from where this one is.
    fn key_at(&self, file: &FileStore) -> Option<FileKey> {
        let by_path = match file.manifest() {
            None => &self.by_path,
            Some(_) => &self.manifests,
        };
        by_path.get(file.path()).copied()
    }

    /// Serves what a download got that ran out of space, until its target is taken up again or goes
    /// away.
    pub(super) fn serve_part(&mut self, info: FileInfo, store: Arc<Download>) {
        let (geometry, stored) = (*info.geometry(), store.stored());
        if !(stored.is_empty() && store.vouched().is_empty()) {
            tracing::info!(path = %shown_path(&store.partial_path()), hash = %info.hash(), "sharing a part");
            let entry = FileEntry::new(info, ChunkSource::Partial(store), None);
            let file = self.add_file(geometry, stored, Goal::ServePart, entry);
            self.parts.insert(file);
        }
    }

    /// Serves that part no more, if it is one. While it is open, deleting it frees no space.
    fn drop_part(&mut self, file: FileKey) {
        if let Some(part) = self.files.get(&file).and_then(FileEntry::part) {
            tracing::info!(path = %shown_path(&part.partial_path()), "no longer shared");
            self.remove_file(file);
        }
    }

    /// The number of a file in the chunks of its own description.
    pub(super) fn own_cut(&self, hash: &FileHash) -> Option<FileKey> {
        let keys = keys_of(&self.by_hash, hash);
        keys.into_iter()
            .find(|file| !matches!(self.files[file].source, ChunkSource::Rechunked { .. }))
    }

    pub(super) fn whole_source(&self, hash: &FileHash) -> Option<ChunkSource> {
        let file = self.own_cut(hash)?;
        let source = &self.files[&file].source;
        matches!(source, ChunkSource::Whole(_)).then(|| source.clone())
    }

    pub(super) fn unshare_path(&mut self, path: &Path) {
        if let Some(file) = self.by_path.get(path) {
            self.drop_stores(*file, |store| **store.path() == *path);
        }
    }

    pub(super) fn unshare(&mut self, hash: &FileHash) -> bool {
        let is_touched = self.integrity.touched.forget(hash);
        let is_known = is_touched || !keys_of(&self.by_hash, hash).is_empty();
        self.cancel_download(hash, None);
        for file in keys_of(&self.by_hash, hash) {
            self.remove_file(file);
        }
        is_known
    }

    /// A chunk could not be read while it was being served: the disk failed, or the file was
    /// changed, truncated or removed.
    pub(super) fn on_unreadable(&mut self, file: FileKey, error: &ReadError) {
        let Some(entry) = self.files.get(&file) else { return };
        let (source, hash) = (entry.source.clone(), entry.info.hash());
        let path = source.path();
        let shown = shown_path(&path);
        match error {
            // Told by who looks after descriptors.
            ReadError::Io { source, .. } if self.descriptors.note(source) => return,
            ReadError::Io { chunk, source } => {
                tracing::debug!(path = %shown, %chunk, error = %source, "a chunk cannot be read");
                return self.on_unreadable_chunk(file, *chunk);
            }
            // Withdrawn while the request was under way.
            ReadError::NotStored { .. } => return,
            ReadError::Withdrawn { .. } | ReadError::MemberChanged { .. } => {
                return self.note_changed_members(file);
            }
            ReadError::OutOfRange { .. }
            | ReadError::Touched
            | ReadError::Changed
            | ReadError::Gone => {}
        }
        tracing::warn!(path = %shown, %error, "cannot be served any more");
        if matches!(error, ReadError::Touched) {
            self.read_again(file, &path);
        }
        match source {
            // The chunks of a download fail one by one, and it notices by itself.
            ChunkSource::Partial(_) => self.drop_part(file),
            ChunkSource::Whole(_) => self.drop_stores(file, |store| **store.path() == *path),
            ChunkSource::Rechunked { .. } => {
                if let Some(own) = self.own_cut(&hash) {
                    self.drop_stores(own, |store| **store.path() == *path);
                }
            }
        }
    }

    /// Stops serving from some open files; the content stays shared as long as one is left.
    pub(super) fn drop_stores(&mut self, file: FileKey, gone: impl Fn(&FileStore) -> bool) {
        let Some(entry) = self.files.get(&file) else { return };
        let dropped: Vec<_> = entry.wholes().filter(|store| gone(store)).cloned().collect();
        for store in &dropped {
            self.forget_path(store, file);
            self.integrity.damage.forget(store);
            self.drop_manifest_of(store);
        }
        let Some(entry) = self.files.get_mut(&file) else { return };
        let hash = entry.info.hash();
        entry.spares.retain(|store| !gone(store));
        let ChunkSource::Whole(store) = &entry.source else { return };
        if !gone(store) {
            // What only the spare had is gone with it.
            return self.settle_if_damaged(&hash);
        }
        if let Some(spare) = entry.spares.pop() {
            entry.source = ChunkSource::Whole(Arc::clone(&spare));
            self.read_recuts_from(&hash, &spare);
            return self.settle_if_damaged(&hash);
        }
        let path = shown_path(store.path());
        if store.is_in_shared_dir() {
            tracing::debug!(%path, %hash, "no longer shared");
        } else {
            tracing::info!(%path, %hash, "no longer shared");
        }
        for file in keys_of(&self.by_hash, &hash) {
            self.remove_file(file);
        }
    }

    /// The file in other chunks is read from here from now on.
    pub(super) fn read_recuts_from(&mut self, hash: &FileHash, store: &Arc<FileStore>) {
        for file in keys_of(&self.by_hash, hash) {
            if let Some(ChunkSource::Rechunked { whole, .. }) =
                self.files.get_mut(&file).map(|entry| &mut entry.source)
            {
                *whole = Arc::clone(store);
            }
        }
    }

    /// Files of a content went away: what is left of it is served, of which some may be flawed.
    fn settle_if_damaged(&mut self, hash: &FileHash) {
        if !self.integrity.damage.is_empty() {
            self.settle(hash, None);
        }
    }

    /// Looks whether shared files are still what they were. The looking is done elsewhere; it may
    /// block.
    pub(super) fn compare_metadata(&mut self) {
        self.read_touched();
        let stores: Vec<(FileKey, Arc<FileStore>)> = self
            .files
            .iter()
            .flat_map(|(file, entry)| entry.wholes().map(|store| (*file, Arc::clone(store))))
            .collect();
        // What is remembered of files that were shared may be too much now.
        if !stores.is_empty() || self.scans.is_some() {
            self.start_metadata_comparison(stores);
        }
    }

    pub(super) fn on_metadata_compared(
        &mut self,
        changed: Vec<(FileKey, Arc<FileStore>, FileState)>,
        took: Duration,
    ) {
        self.poll_interval = pause_after(took, self.config.report_interval);
        for (file, looked, state) in changed {
            if state == FileState::MembersChanged {
                self.note_changed_members(file);
                continue;
            }
            tracing::info!(path = %shown_path(looked.path()), ?state, "shared file changed");
            if state == FileState::Touched {
                self.read_again(file, looked.path());
            }
            self.drop_stores(file, |store| std::ptr::eq(store, &*looked));
        }
    }

    /// Looks whether what is open was deleted: closing it gives the space back. It is little that
    /// is open.
    pub(super) fn compare_open_files(&mut self) {
        let store_at = |path: Arc<Path>| {
            let file = *self.by_path.get(&path)?;
            let store = self.files.get(&file)?.wholes().find(|store| *store.path() == path)?;
            Some((file, Arc::clone(store)))
        };
        let wholes: Vec<_> = self.open_files.paths().into_iter().filter_map(store_at).collect();
        let coming = |file: &FileKey| match &self.files.get(file)?.source {
            ChunkSource::Partial(download) => Some((*file, Arc::clone(download))),
            ChunkSource::Whole(_) | ChunkSource::Rechunked { .. } => None,
        };
        let coming: Vec<_> = self.followed.iter().chain(&self.parts).filter_map(coming).collect();
        if !(wholes.is_empty() && coming.is_empty()) {
            self.is_comparing_open_files = true;
            let are_to_rest = self.rested + REST_AFTER <= self.now;
            if are_to_rest {
                self.rested = self.now;
            }
            self.start_open_files_comparison(wholes, coming, are_to_rest);
        }
    }

    pub(super) fn on_open_files_compared(
        &mut self,
        gone: Vec<(FileKey, Arc<Path>)>,
        lost: Vec<FileKey>,
    ) {
        self.is_comparing_open_files = false;
        for (file, path) in gone {
            self.drop_stores(file, |store| *store.path() == path);
        }
        for file in lost {
            self.drop_part(file);
            self.fail_lost(file);
        }
    }
}
