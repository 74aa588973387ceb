//! Trees: a payload and a manifest, two contents that come and go together.

use std::sync::Arc;

use tnet_fileinfo::tree::TreeHash;
use tnet_swarm::FileKey;

use super::{Engine, keys_of};
use crate::store::FileStore;

impl Engine {
    /// Serves a tree.
    pub(super) fn share_tree(&mut self, payload: FileStore, manifest: FileStore) {
        self.share(payload);
        self.share(manifest);
    }

    /// Serves a tree no longer. Answers whether it was served.
    pub(super) fn unshare_tree(&mut self, tree: TreeHash) -> bool {
        let manifests = keys_of(&self.by_hash, &tree.manifest()).into_iter();
        let entries = manifests.filter_map(|file| self.files.get(&file));
        let manifests = entries.flat_map(|entry| entry.wholes()).filter_map(|one| one.manifest());
        let payloads: Vec<FileKey> = manifests
            .flat_map(|manifest| keys_of(&self.by_hash, &manifest.payload_hash()))
            .collect();
        for file in payloads {
            self.drop_stores(file, |store| store.layout().is_some_and(|own| own.tree() == tree));
        }
        self.unshare(&tree.manifest())
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
