//! Directories as one content: shared as a payload and a manifest, and downloaded as these.

use std::path::Path;
use std::sync::Arc;

use tnet_fileinfo::tree::{Entry, EntryKind, Layout, MAX_MANIFEST_LEN, Manifest, TreeHash};
use tnet_fileinfo::{FileInfo, FileName, ProgressFn, ScanError};
use tnet_store::ChunkSource;
use tnet_store::tree::{TreeScanOptions, scan_tree};
use tokio_util::sync::CancellationToken;

use super::Peer;
use crate::api::{DownloadError, ShareError, TreeError};
use crate::config::DownloadOptions;
use crate::download::Download;
use crate::engine::Command;
use crate::store::{self, FileStore, ReadError};
use crate::thread_pool::{blocking, go_on_until};

/// Which tree, and what is known of it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WantedTree {
    /// Its hash.
    pub tree: TreeHash,
    /// The description of its manifest; without it, peers are asked for one.
    pub manifest: Option<FileInfo>,
}

impl From<TreeHash> for WantedTree {
    fn from(tree: TreeHash) -> Self {
        Self { tree, manifest: None }
    }
}

impl From<FileInfo> for WantedTree {
    /// The tree whose manifest this describes.
    fn from(manifest: FileInfo) -> Self {
        Self { tree: TreeHash::of_manifest(manifest.hash()), manifest: Some(manifest) }
    }
}

/// A tree that is served.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SharedTree {
    /// Its hash.
    pub tree: TreeHash,
    /// What is in it.
    pub manifest: Arc<Manifest>,
    /// The description of the manifest; with the name of the directory, if that is a name for all
    /// machines.
    pub manifest_info: FileInfo,
    /// The description of its payload.
    pub payload: FileInfo,
}

impl Peer {
    /// Reads a directory, describes it as one tree, and serves that. A file in it that is changed
    /// or removed withdraws the chunks it is in until they are right again.
    ///
    /// # Errors
    /// Something in it cannot be read, has no content, or changed meanwhile.
    pub async fn share_tree(
        &self,
        path: impl AsRef<Path>,
        options: TreeScanOptions,
    ) -> Result<SharedTree, ShareError> {
        let (path, stop) = (path.as_ref().to_owned(), self.stop.clone());
        let (shared, payload, manifest) =
            blocking(move || scan(&path, options, &|_| go_on_until(&stop))).await?;
        let (payload, manifest) = (Box::new(payload), Box::new(manifest));
        self.send(Command::ShareTree { payload, manifest }).await?;
        Ok(shared)
    }

    /// Downloads a tree to the directory `out`, which must not exist unless it is
    /// [updated](DownloadOptions::update); until it is whole it lives in
    /// `OUT.partial`. The answer comes when the manifest is here.
    ///
    /// # Errors
    /// The tree is not to be had, its manifest breaks a rule, or the target cannot be written.
    /// Later errors come from [`Download::finished`].
    pub async fn download_tree(
        &self,
        wanted: impl Into<WantedTree>,
        out: impl AsRef<Path>,
        options: DownloadOptions,
    ) -> Result<Download, TreeError> {
        let stop = self.stop_token();
        let out = out.as_ref();
        let manifest = self.fetch_manifest(wanted.into(), out, options.clone(), &stop).await?;
        self.download_payload(manifest, out, options, &stop).await
    }

    /// The manifest of a tree that is to be downloaded to `out`, until `stop`, a
    /// [token](Self::stop_token) of this peer, is cancelled. What arrives is kept beside `out`, so
    /// that resuming needs no peer for it; one that is refused is not kept.
    ///
    /// # Errors
    /// As [`download_tree`](Self::download_tree).
    pub async fn fetch_manifest(
        &self,
        wanted: WantedTree,
        out: &Path,
        options: DownloadOptions,
        stop: &CancellationToken,
    ) -> Result<Arc<Manifest>, TreeError> {
        let (directory, is_open) = (options.directory.clone(), options.allow_outside_links);
        let tree = wanted.tree;
        let fetched = self.manifest(wanted, out, options, stop).await;
        let checked = fetched.and_then(|manifest| check_links(tree, manifest, is_open));
        if matches!(checked, Err(TreeError::Manifest { .. } | TreeError::OutsideLink { .. })) {
            self.send(Command::UnsharePath { path: store::manifest_path(out) }).await?;
            let out = out.to_owned();
            blocking(move || {
                store::remove_manifest(&out, directory);
                Ok::<_, TreeError>(())
            })
            .await?;
        }
        checked
    }

    async fn manifest(
        &self,
        wanted: WantedTree,
        out: &Path,
        options: DownloadOptions,
        stop: &CancellationToken,
    ) -> Result<Arc<Manifest>, TreeError> {
        let WantedTree { tree, manifest: info } = wanted;
        let hash = tree.manifest();
        if let Some(ChunkSource::Whole(here)) =
            self.ask(|done| Command::Find { hash, done }).await?
            && let Ok(manifest) = blocking(move || read_manifest(tree, &here)).await
        {
            return Ok(manifest);
        }
        let info = match info {
            Some(info) => info,
            None => self.fetch_info(hash, options.give_up_after).await?,
        };
        if info.size() > MAX_MANIFEST_LEN as u64 {
            return Err(TreeError::ManifestTooLong { tree, size: info.size() });
        }
        let path = store::manifest_path(out);
        // What has that name is an older manifest for the same output.
        let options = DownloadOptions { overwrite: true, reuse: Vec::new(), ..options };
        let stopped = stop.clone();
        let mut download = self.download_until(info, &path, options, stop).await?;
        tokio::select! {
            finished = download.finished() => drop(finished?),
            () = stopped.cancelled() => drop(download.end().await?),
        }
        let here = self.ask(|done| Command::Find { hash, done }).await?;
        let Some(ChunkSource::Whole(here)) = here else {
            return Err(TreeError::Read { tree, source: ReadError::Gone });
        };
        blocking(move || read_manifest(tree, &here)).await
    }

    /// Downloads the payload of a tree, whose manifest is here, to the directory `out`.
    ///
    /// # Errors
    /// As [`download_tree`](Self::download_tree).
    pub async fn download_payload(
        &self,
        manifest: Arc<Manifest>,
        out: &Path,
        options: DownloadOptions,
        stop: &CancellationToken,
    ) -> Result<Download, TreeError> {
        let layout = {
            let manifest = Arc::clone(&manifest);
            blocking(move || Ok::<_, TreeError>(Arc::new(Layout::new(manifest)))).await?
        };
        let (hash, size) = (manifest.payload_hash(), manifest.payload().size());
        let info = match size {
            0 => FileInfo::of_bytes(&[], None).ok().filter(|info| info.hash() == hash),
            _ => Some(self.fetch_info(hash, options.give_up_after).await?),
        };
        let info = info.filter(|info| info.size() == size);
        let info = info.ok_or(TreeError::OtherPayload { tree: layout.tree() })?;
        let begun = self.begin(info, Some(layout), out, options, stop).await;
        if let Err(DownloadError::Open(_)) = &begun {
            // It was removed with the attempt.
            self.send(Command::UnsharePath { path: store::manifest_path(out) }).await?;
        }
        Ok(begun?)
    }
}

fn scan(
    path: &Path,
    options: TreeScanOptions,
    progress: ProgressFn<'_>,
) -> Result<(SharedTree, FileStore, FileStore), ShareError> {
    let failed = |source| store::ShareError::Io { path: path.to_owned(), source };
    let absolute = std::path::absolute(path).map_err(failed)?;
    // Each read compares the fingerprint of what it finds below this.
    let root = store::open_directory(&absolute).map_err(failed)?;
    let found = scan_tree(&absolute, options, progress)?;
    let name = absolute.file_name().and_then(|name| FileName::from_os_str(name).ok());
    let (manifest, payload) = (found.manifest, found.payload);
    let manifest_info = FileInfo::of_bytes(manifest.bytes(), None).map_err(ScanError::from)?;
    let layout = Arc::new(Layout::new(Arc::clone(&manifest)));
    let of_manifest =
        FileStore::of_manifest(Arc::clone(&manifest), manifest_info.clone(), absolute.clone());
    let shared = SharedTree {
        tree: layout.tree(),
        manifest,
        manifest_info: manifest_info.with_name(name),
        payload: payload.clone(),
    };
    let of_payload = FileStore::of_payload(layout, payload, absolute, root, found.fingerprints);
    Ok((shared, of_payload, of_manifest))
}

/// Refuses links that may lead out of the tree, unless they are allowed.
fn check_links(
    tree: TreeHash,
    manifest: Arc<Manifest>,
    are_allowed: bool,
) -> Result<Arc<Manifest>, TreeError> {
    if !are_allowed
        && let Some(Entry { path, kind: EntryKind::Link { target } }) =
            manifest.links_to_outside().next()
    {
        let (path, target) = (path.to_vec(), target.to_vec());
        return Err(TreeError::OutsideLink { tree, path, target });
    }
    Ok(manifest)
}

/// The manifest that is in a content.
fn read_manifest(tree: TreeHash, here: &FileStore) -> Result<Arc<Manifest>, TreeError> {
    if let Some(manifest) = here.manifest() {
        return Ok(Arc::clone(manifest));
    }
    let (geometry, mut bytes) = (here.info().geometry(), Vec::new());
    if geometry.size() > MAX_MANIFEST_LEN as u64 {
        return Err(TreeError::ManifestTooLong { tree, size: geometry.size() });
    }
    for chunk in geometry.chunks() {
        let start = bytes.len();
        bytes.resize(start + geometry.chunk_len(chunk) as usize, 0);
        here.read_chunk_part(chunk, 0, &mut bytes[start..])
            .map_err(|source| TreeError::Read { tree, source })?;
    }
    let manifest = Manifest::parse(bytes).map_err(|source| TreeError::Manifest { tree, source })?;
    Ok(Arc::new(manifest))
}
