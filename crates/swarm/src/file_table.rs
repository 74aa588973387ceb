//! The files of this process, and what is known of them as a set.
//!
//! Invariants: a content is found by what an `Open` says of it exactly while its file is not
//! paused; an incomplete file lacks chunks that are wanted, and is not paused; the bytes being
//! stored are those of all chunks that are being stored.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Index;

use tnet_fileinfo::ChunkIndex;

use crate::chunks::ChunkState;
use crate::file::{Content, File, Incomplete, Sender};
use crate::link::Link;
use crate::suggest::SuggestOnce;
use crate::{FileKey, PeerKey};

#[derive(Debug, Default)]
pub(crate) struct FileTable {
    files: BTreeMap<FileKey, File>,
    by_content: BTreeMap<Content, FileKey>,
    incomplete: BTreeSet<FileKey>,
    storing_bytes: u64,
}

impl Index<&FileKey> for FileTable {
    type Output = File;

    fn index(&self, file: &FileKey) -> &File {
        &self.files[file]
    }
}

impl FileTable {
    /// Adds a file, which is incomplete only after [`want`](Self::want).
    pub(crate) fn insert(&mut self, state: File) {
        let file = state.key;
        let replaced = self.by_content.insert(state.content(), file);
        assert_eq!(replaced, None, "the caller adds the same content once");
        let replaced = self.files.insert(file, state);
        assert!(replaced.is_none(), "the caller never uses a file number twice");
    }

    pub(crate) fn remove(&mut self, file: FileKey) {
        let Some(state) = self.files.remove(&file) else { return };
        if !state.is_paused {
            self.by_content.remove(&state.content());
        }
        self.incomplete.remove(&file);
        // What is still being written is no longer waited for.
        let storing = state.download.iter().flat_map(|download| download.senders.keys());
        let bytes: u64 = storing.map(|chunk| u64::from(state.geometry.chunk_len(*chunk))).sum();
        self.storing_bytes -= bytes;
    }

    pub(crate) fn get(&self, file: FileKey) -> Option<&File> {
        self.files.get(&file)
    }

    pub(crate) fn get_mut(&mut self, file: FileKey) -> Option<&mut File> {
        self.files.get_mut(&file)
    }

    pub(crate) fn contains(&self, file: FileKey) -> bool {
        self.files.contains_key(&file)
    }

    pub(crate) fn link(&self, file: FileKey, peer: PeerKey) -> Option<&Link> {
        self.files.get(&file)?.links.get(&peer).map(|link| &**link)
    }

    pub(crate) fn link_mut(&mut self, file: FileKey, peer: PeerKey) -> Option<&mut Link> {
        self.files.get_mut(&file)?.links.get_mut(&peer).map(|link| &mut **link)
    }

    /// None of a file that lacks nothing.
    pub(crate) fn download(&self, file: FileKey) -> Option<&Incomplete> {
        self.files.get(&file)?.download.as_deref()
    }

    pub(crate) fn download_mut(&mut self, file: FileKey) -> Option<&mut Incomplete> {
        self.files.get_mut(&file)?.download.as_deref_mut()
    }

    /// The peers linked to the file.
    pub(crate) fn peers(&self, file: FileKey) -> Vec<PeerKey> {
        self.files.get(&file).map_or_else(Vec::new, |state| state.links.keys().copied().collect())
    }

    pub(crate) fn with_content(&self, content: &Content) -> Option<FileKey> {
        self.by_content.get(content).copied()
    }

    /// Files that lack chunks which are wanted.
    pub(crate) fn incomplete(&self) -> &BTreeSet<FileKey> {
        &self.incomplete
    }

    pub(crate) fn is_incomplete(&self, file: FileKey) -> bool {
        self.incomplete.contains(&file)
    }

    /// The chunks that a file lacks are wanted. Returns whether they are fetched now: not of a file
    /// that is paused.
    pub(crate) fn want(&mut self, file: FileKey) -> bool {
        let Some(state) = self.files.get_mut(&file) else { return false };
        state.is_wanted = true;
        if state.is_paused {
            return false;
        }
        self.incomplete.insert(file);
        true
    }

    pub(crate) fn pause(&mut self, file: FileKey) {
        let Some(state) = self.files.get_mut(&file) else { return };
        state.is_paused = true;
        self.by_content.remove(&state.content());
        self.incomplete.remove(&file);
    }

    /// Ends a pause. Returns whether there was one.
    pub(crate) fn resume(&mut self, file: FileKey) -> bool {
        let Some(state) = self.files.get_mut(&file).filter(|state| state.is_paused) else {
            return false;
        };
        state.is_paused = false;
        self.by_content.insert(state.content(), file);
        true
    }

    /// Every chunk of the file is stored.
    pub(crate) fn complete(&mut self, file: FileKey) {
        let Some(state) = self.files.get_mut(&file) else { return };
        state.download = None;
        state.is_wanted = false;
        // Each chunk came from another peer, which still has it.
        state.suggest = Some(SuggestOnce::done(&state.geometry));
        self.incomplete.remove(&file);
    }

    /// A chunk that is missing or requested has arrived and is being stored.
    pub(crate) fn begin_storing(&mut self, file: FileKey, chunk: ChunkIndex, sender: Sender) {
        let Some(state) = self.files.get_mut(&file) else { return };
        let Some(download) = &mut state.download else { return };
        download.senders.insert(chunk, sender);
        self.storing_bytes += u64::from(state.geometry.chunk_len(chunk));
        if download.chunks.state(chunk) == ChunkState::Missing {
            state.take_missing(chunk, ChunkState::Storing);
        } else {
            download.chunks.set(chunk, ChunkState::Storing);
        }
    }

    /// A chunk is not being stored any more; its state is the caller's to change. Returns the
    /// sender of it.
    pub(crate) fn end_storing(&mut self, file: FileKey, chunk: ChunkIndex) -> Option<Sender> {
        let state = self.files.get_mut(&file)?;
        let sender = state.download.as_mut()?.senders.remove(&chunk)?;
        self.storing_bytes -= u64::from(state.geometry.chunk_len(chunk));
        Some(sender)
    }

    /// Bytes that arrived and are not in their files yet.
    pub(crate) fn storing_bytes(&self) -> u64 {
        self.storing_bytes
    }

    #[cfg(any(test, feature = "check"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &File> {
        self.files.values()
    }
}
