//! One file of this process, as the engine knows it: where it is read from, its download if one is
//! running, and what is counted of it.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

use tnet_fileinfo::tree::TreeHash;
use tnet_fileinfo::{ChunkIndex, ChunkSet, FileInfo, Geometry};
use tnet_store::ChunkSource;
use tnet_swarm::FileKey;
use tracing::Span;

use super::activity::Activity;
use super::downloads::Running;
use super::file_settings::FileSettings;
use crate::api::Phase;
use crate::store::{Download, FileStore};

/// All files of this process.
#[derive(Default)]
pub(super) struct FileEntries(BTreeMap<FileKey, FileEntry>);

impl FileEntries {
    /// The download of a file, if one is running.
    pub(super) fn running(&self, file: FileKey) -> Option<&Running> {
        self.0.get(&file)?.running.as_deref()
    }

    /// In which the work for its download is logged.
    pub(super) fn span(&self, file: FileKey) -> Span {
        self.running(file).map_or_else(Span::none, |running| running.span.clone())
    }

    pub(super) fn running_mut(&mut self, file: FileKey) -> Option<&mut Running> {
        self.0.get_mut(&file)?.running.as_deref_mut()
    }
}

impl Deref for FileEntries {
    type Target = BTreeMap<FileKey, FileEntry>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for FileEntries {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

pub(super) struct FileEntry {
    pub(super) info: FileInfo,
    pub(super) source: ChunkSource,
    /// Further files with the same content, used when `source` goes away.
    pub(super) spares: Vec<Arc<FileStore>>,
    /// None when the file is whole: what a download needs, its descriptors above all, goes back at
    /// its end.
    pub(super) running: Option<Box<Running>>,
    pub(super) received: Received,
    /// Bytes that were sent to others, in whole chunks.
    pub(super) sent_bytes: u64,
    /// None until a chunk is sent or stored.
    pub(super) activity: Option<Box<Activity>>,
    /// What the owner wants of it.
    pub(super) settings: FileSettings,
}

/// What came of a file.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Received {
    /// In chunks that were verified, right or wrong.
    pub(super) bytes: u64,
    /// In those that were wrong.
    pub(super) wasted: u64,
    /// Peers that sent some of what was stored.
    pub(super) sources: u32,
}

impl FileEntry {
    pub(super) fn new(info: FileInfo, source: ChunkSource, running: Option<Running>) -> FileEntry {
        FileEntry {
            info,
            source,
            spares: Vec::new(),
            running: running.map(Box::new),
            received: Received::default(),
            sent_bytes: 0,
            activity: None,
            settings: FileSettings::default(),
        }
    }

    /// The chunks in which it is served.
    pub(super) fn geometry(&self) -> &Geometry {
        match &self.source {
            ChunkSource::Rechunked { geometry, .. } => geometry,
            ChunkSource::Partial(_) | ChunkSource::Whole(_) => self.info.geometry(),
        }
    }

    /// The whole files behind it; not of a recut, which has none of its own.
    pub(super) fn wholes(&self) -> impl Iterator<Item = &Arc<FileStore>> {
        let own = match &self.source {
            ChunkSource::Whole(store) => Some(store),
            ChunkSource::Partial(_) | ChunkSource::Rechunked { .. } => None,
        };
        own.into_iter().chain(&self.spares)
    }

    /// The tree that it is the payload of; one of them if there are several.
    pub(super) fn tree(&self) -> Option<TreeHash> {
        let layout = match &self.source {
            ChunkSource::Whole(store) => store.layout(),
            ChunkSource::Partial(download) => download.layout(),
            ChunkSource::Rechunked { .. } => None,
        };
        let spare = || self.spares.iter().find_map(|store| store.layout());
        layout.or_else(spare).map(|layout| layout.tree())
    }

    /// What a download left that runs no more.
    pub(super) fn part(&self) -> Option<&Arc<Download>> {
        match &self.source {
            ChunkSource::Partial(part) if self.running.is_none() => Some(part),
            _ => None,
        }
    }

    /// Whether it is served from this very file.
    pub(super) fn has(&self, store: &Arc<FileStore>) -> bool {
        self.wholes().any(|own| Arc::ptr_eq(own, store))
    }

    /// Whether the chunk, numbered as it is served, can be: no flaw is known of it.
    pub(super) fn is_sound(&self, chunk: ChunkIndex) -> bool {
        match &self.source {
            ChunkSource::Partial(part) => part.is_stored(chunk),
            ChunkSource::Whole(_) => self.wholes().any(|store| store.flaws().of(chunk).is_none()),
            ChunkSource::Rechunked { whole, geometry } => {
                !whole.flaws().are_any()
                    || chunks_in(whole, &geometry.range(chunk))
                        .into_iter()
                        .all(|own| whole.flaws().of(own).is_none())
            }
        }
    }

    /// All chunks that can be served.
    pub(super) fn sound_chunks(&self) -> ChunkSet {
        let geometry = self.geometry();
        match &self.source {
            ChunkSource::Partial(part) => part.stored(),
            ChunkSource::Whole(_) => {
                let mut chunks = ChunkSet::empty(geometry);
                for store in self.wholes() {
                    match store.flaws().sound(geometry) {
                        Some(sound) => chunks.union_with(&sound),
                        None => return ChunkSet::full(geometry),
                    };
                }
                chunks
            }
            ChunkSource::Rechunked { whole, .. } => {
                let (mut chunks, own) = (ChunkSet::full(geometry), whole.info().geometry());
                let sound = whole.flaws().sound(own);
                for flawed in sound.iter().flat_map(ChunkSet::missing) {
                    for chunk in indices_in(geometry, &own.range(flawed)) {
                        chunks.remove(chunk);
                    }
                }
                chunks
            }
        }
    }

    /// Whether its download is complete and is being given its name.
    pub(super) fn is_finishing(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.phase == Phase::Finishing)
    }
}

/// The chunks of a file, as its description has them, that some bytes are in.
pub(super) fn chunks_in(whole: &FileStore, range: &Range<u64>) -> Vec<ChunkIndex> {
    indices_in(whole.info().geometry(), range).collect()
}

/// The chunks of a file that some bytes are in.
pub(super) fn indices_in(
    geometry: &Geometry,
    range: &Range<u64>,
) -> impl Iterator<Item = ChunkIndex> + use<> {
    let (geometry, chunk_size) = (*geometry, u64::from(geometry.chunk_size().get()));
    let indices = range.start / chunk_size..range.end.div_ceil(chunk_size);
    indices
        .filter_map(move |index| u32::try_from(index).ok().and_then(|index| geometry.chunk(index)))
}
