//! What users share by name: files and directories, remembered in the state directory, so that a
//! server that starts again shares them again.
//!
//! The list is a file of JSON values, one a line, rewritten whole when it changes. A line that
//! cannot be read is left out.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tnet_fileinfo::tree::TreeHash;
use tnet_fileinfo::{FileHash, chain, explain, shown_path};
use tnet_peer::{Peer, ShareError};
use tnet_store::tree::TreeScanOptions;
use tnet_store::{OnExisting, write_whole};
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::error::{Fault, FaultKind};
use super::json_values;

/// Its name in the state directory.
const LIST_NAME: &str = "shares";

/// Bytes of the list that are read.
const LONGEST_LIST: u64 = 16 * 1024 * 1024;

/// What is shared by name.
#[derive(Debug)]
pub(crate) struct Shares {
    list: PathBuf,
    /// In the order in which they were named.
    shares: Mutex<Vec<Share>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Share {
    #[serde(with = "json_values::path")]
    path: PathBuf,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    allow_outside_links: bool,
    /// Of the file, or of the manifest, once it was read.
    #[serde(skip)]
    hash: Option<FileHash>,
}

/// What a client is told of what it shared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Shared {
    /// Absolute.
    #[serde(with = "json_values::path")]
    pub path: PathBuf,
    /// What another machine names it by: 64 hex digits, with `tree:` before them for a directory.
    pub hash: String,
    /// Bytes; of a directory, in all its files.
    pub size: u64,
    /// Files, directories and links in a directory; none for a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// Whether a server that starts again shares it again.
    pub remembered: bool,
}

impl Shares {
    /// Those that are remembered in this directory.
    pub(crate) async fn load(state_dir: &Path) -> Self {
        let list = state_dir.join(LIST_NAME);
        let read = {
            let list = list.clone();
            tokio::task::spawn_blocking(move || read(&list)).await.unwrap_or_default()
        };
        Self { list, shares: Mutex::new(read) }
    }

    /// Shares again what is remembered, one after the other.
    pub(crate) async fn resume(&self, peer: &Peer) {
        let remembered = self.shares.lock().await.clone();
        for share in remembered {
            let path = shown_path(&share.path);
            match open(peer, &share).await {
                Ok(opened) => {
                    self.note_hash(&share.path, opened.hash).await;
                    info!(%path, hash = opened.name, "shared again");
                }
                Err(error) => warn!(%path, error = %explain(&error), "not shared any more"),
            }
        }
    }

    /// Shares a file or a directory, absolute, and remembers it.
    pub(crate) async fn share(
        &self,
        peer: &Peer,
        path: PathBuf,
        allow_outside_links: bool,
    ) -> Result<Shared, Fault> {
        if !path.is_absolute() {
            let cause = format!("the path {path:?} has to be absolute");
            return Err(Fault::new(FaultKind::Usage, cause));
        }
        let mut share = Share { path, allow_outside_links, hash: None };
        let opened = open(peer, &share).await.map_err(|error| {
            let mut fault = Fault::from(error);
            fault.cause = format!("{}: {}", shown_path(&share.path), fault.cause);
            fault.subject = Some(share.path.clone());
            fault
        })?;
        share.hash = Some(opened.hash);
        let path = share.path.clone();
        let mut shares = self.shares.lock().await;
        shares.retain(|other| other.path != share.path);
        shares.push(share);
        let remembered = self.save(&shares).await;
        let Opened { name, size, entries, .. } = opened;
        Ok(Shared { path, hash: name, size, entries, remembered })
    }

    /// A content is not shared any more, because a client said so.
    pub(crate) async fn forget(&self, hash: FileHash) {
        let mut shares = self.shares.lock().await;
        let before = shares.len();
        shares.retain(|share| share.hash != Some(hash));
        if shares.len() < before {
            self.save(&shares).await;
        }
    }

    async fn note_hash(&self, path: &Path, hash: FileHash) {
        let mut shares = self.shares.lock().await;
        if let Some(share) = shares.iter_mut().find(|share| share.path == path) {
            share.hash = Some(hash);
        }
    }

    /// Whether it could be saved.
    async fn save(&self, shares: &[Share]) -> bool {
        let mut bytes = Vec::new();
        for share in shares {
            // A path and a flag always serialise.
            let Ok(line) = serde_json::to_vec(share) else { continue };
            bytes.extend(line);
            bytes.push(b'\n');
        }
        let list = self.list.clone();
        let write = move || write_whole(&list, &bytes, OnExisting::Replace);
        match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                warn!(path = %shown_path(&self.list), error = %chain(&error), "what is shared is not remembered");
                false
            }
            Err(_) => false,
        }
    }
}

fn read(list: &Path) -> Vec<Share> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let read =
        std::fs::File::open(list).and_then(|file| file.take(LONGEST_LIST).read_to_end(&mut bytes));
    if let Err(error) = read
        && error.kind() != std::io::ErrorKind::NotFound
    {
        warn!(path = %shown_path(list), %error, "what was shared is not known");
    }
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// What is served now.
struct Opened {
    hash: FileHash,
    /// As another machine names it.
    name: String,
    size: u64,
    entries: Option<u64>,
}

async fn open(peer: &Peer, share: &Share) -> Result<Opened, ShareError> {
    let path = share.path.clone();
    let is_directory = tokio::task::spawn_blocking(move || path.is_dir()).await.unwrap_or(false);
    if is_directory {
        let options = TreeScanOptions {
            allow_outside_links: share.allow_outside_links,
            ..TreeScanOptions::default()
        };
        let shared = peer.share_tree(&share.path, options).await?;
        let tree: TreeHash = shared.tree;
        return Ok(Opened {
            hash: tree.manifest(),
            name: tree.to_string(),
            size: shared.payload.size(),
            entries: Some(shared.manifest.len() as u64),
        });
    }
    let info = peer.share(&share.path).await?;
    Ok(Opened {
        hash: info.hash(),
        name: info.hash().to_string(),
        size: info.size(),
        entries: None,
    })
}
