//! Trees: a payload and a manifest, two contents that come and go together.

use std::sync::Arc;

use tnet_fileinfo::FileHash;
use tnet_fileinfo::tree::TreeHash;

use super::{Engine, keys_of};
use crate::store::{self, FileStore};

impl Engine {
    /// Serves a tree.
    pub(super) fn share_tree(&mut self, payload: FileStore, manifest: FileStore) {
        self.share(payload);
        self.share_manifest(manifest);
    }

    pub(super) fn share_manifest(&mut self, manifest: FileStore) {
        // While the tree was downloaded it was served from a file, which is removed at the end.
        let file = store::manifest_path(manifest.path());
        self.share(manifest);
        self.unshare_path(&file);
    }

    /// Serves a content no longer; with the manifest of a tree, nor the payload of that tree.
    /// Answers whether it was known.
    pub(super) fn unshare_all(&mut self, hash: &FileHash) -> bool {
        let tree = TreeHash::of_manifest(*hash);
        let payload = self.payload_of(hash);
        for file in
            payload.iter().flat_map(|payload| keys_of(&self.by_hash, payload)).collect::<Vec<_>>()
        {
            self.drop_stores(file, |store| store.layout().is_some_and(|own| own.tree() == tree));
        }
        // The manifest may have gone with its payload.
        self.unshare(hash) || payload.is_some()
    }

    /// The payload of the tree whose manifest has this hash, as far as it is here.
    pub(super) fn payload_of(&self, manifest: &FileHash) -> Option<FileHash> {
        let tree = TreeHash::of_manifest(*manifest);
        let served = keys_of(&self.by_hash, manifest).into_iter().find_map(|file| {
            let mut wholes = self.files.get(&file)?.wholes();
            wholes.find_map(|store| Some(store.manifest()?.payload_hash()))
        });
        let coming = || {
            let mut entries = self.followed.iter().filter_map(|file| self.files.get(file));
            entries.find(|entry| entry.tree() == Some(tree)).map(|entry| entry.info.hash())
        };
        served.or_else(coming)
    }

    /// The payload of a tree is not served from there any more: nor is its manifest.
    pub(super) fn drop_manifest_of(&mut self, payload: &Arc<FileStore>) {
        let Some(layout) = payload.layout() else { return };
        for file in keys_of(&self.by_hash, &layout.tree().manifest()) {
            self.drop_stores(file, |store| {
                store.manifest().is_some() && store.path() == payload.path()
            });
        }
    }
}
