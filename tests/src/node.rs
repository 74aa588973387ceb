//! A peer of a test network, with a name and a directory. What it fetches is compared before
//! the test goes on.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tnet_peer::store::OpenError;
use tnet_peer::{Download, DownloadError, DownloadOptions, Peer, Summary};

use crate::content::Content;
use crate::wait::{SOON, eventually, within};

/// The name of the file that [`Node::fetches`] makes in the node's directory.
const COPY: &str = "copy";

/// A running peer. Whatever a [`Peer`] can do, it can.
#[derive(Debug)]
pub struct Node {
    name: String,
    dir: PathBuf,
    peer: Peer,
}

/// A download that was completed and compared.
#[derive(Debug)]
pub struct Fetched {
    /// Where the file is.
    pub path: PathBuf,
    /// How it went.
    pub summary: Summary,
    /// Still the owner of what the peer shares of it.
    pub download: Download,
}

impl Node {
    pub(crate) fn new(name: String, dir: PathBuf, peer: Peer) -> Node {
        Node { name, dir, peer }
    }

    pub(crate) fn into_peer(self) -> Peer {
        self.peer
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A path in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Where [`fetches`](Self::fetches) and [`begins`](Self::begins) put the file.
    pub fn copy(&self) -> PathBuf {
        self.path(COPY)
    }

    /// Writes the content to a new file in its directory and shares it. Returns the file's path.
    ///
    /// # Panics
    /// If it cannot be shared, or the description differs from the content's own.
    pub async fn shares(&self, content: &Content) -> PathBuf {
        let path = self.path("original");
        self.shares_as(content, "original").await;
        path
    }

    /// Writes the content into its directory, under that name, and shares it.
    pub async fn shares_as(&self, content: &Content, name: &str) {
        let path = self.path(name);
        content.write(&path).await;
        self.share(content, path).await;
    }

    /// Shares the file that [`shares`](Self::shares) wrote, perhaps in an earlier life.
    ///
    /// # Panics
    /// If it cannot be shared, or the description differs from the content's own.
    pub async fn shares_again(&self, content: &Content) {
        self.share(content, self.path("original")).await;
    }

    async fn share(&self, content: &Content, path: PathBuf) {
        let shared = within("a file is shared", SOON, self.peer.share(path)).await;
        let info = shared.unwrap_or_else(|error| panic!("{} shares a file: {error}", self.name));
        assert_eq!(info.hash(), content.hash(), "{}", self.name);
    }

    /// Begins to fetch the content into its directory. Does not give up, so that nothing but the
    /// test decides.
    ///
    /// # Panics
    /// If it cannot begin.
    pub async fn begins(&self, content: &Content) -> Download {
        let options = DownloadOptions { give_up_after: None, ..DownloadOptions::default() };
        let begun = self.peer.download_with(content.info().clone(), self.copy(), options).await;
        begun.unwrap_or_else(|error| panic!("{} begins a download: {error}", self.name))
    }

    /// Begins where a peer in this directory was killed: it may hold its files until its tasks have
    /// noticed. What has ended in an orderly way holds nothing; then [`begins`](Self::begins) has
    /// to do.
    ///
    /// # Panics
    /// If it cannot begin, or the files are not let go soon.
    pub async fn begins_after_kill(&self, content: &Content) -> Download {
        eventually("the killed peer lets go of its files", SOON, async || {
            match self.peer.download(content.info().clone(), self.copy()).await {
                Ok(download) => Ok(download),
                Err(DownloadError::Open(busy @ OpenError::Busy { .. })) => Err(busy),
                Err(error) => panic!("{} begins a download: {error}", self.name),
            }
        })
        .await
    }

    /// Fetches the content into its directory, and compares it byte for byte and by its hash.
    ///
    /// # Panics
    /// If it does not get it within `limit`, or gets anything else.
    pub async fn fetches_within(&self, content: &Content, limit: Duration) -> Fetched {
        let download = self.begins(content).await;
        self.completes(download, content, limit).await
    }

    /// [`fetches_within`](Self::fetches_within), soon.
    ///
    /// # Panics
    /// Likewise.
    pub async fn fetches(&self, content: &Content) -> Fetched {
        self.fetches_within(content, SOON).await
    }

    /// Waits for a download that was begun, and compares what it made.
    ///
    /// # Panics
    /// If it does not end with the whole file within `limit`.
    pub async fn completes(
        &self,
        mut download: Download,
        content: &Content,
        limit: Duration,
    ) -> Fetched {
        let what = format!("{} fetches the file", self.name);
        let finished = within(&what, limit, download.finished()).await;
        let summary = finished.unwrap_or_else(|error| panic!("{what}: {error}"));
        let path = self.copy();
        assert_eq!(summary.path, path);
        content.is_at(&path).await;
        Fetched { path, summary, download }
    }
}

/// Waits until exactly so many chunks of a download are stored.
///
/// # Panics
/// If they are not soon, or there are more.
pub async fn stored(download: &Download, chunks: u32) {
    let what = format!("{chunks} chunks are stored");
    eventually(&what, SOON, async || match download.progress() {
        progress if progress.chunks_done == chunks => Ok(()),
        progress => {
            assert!(progress.chunks_done < chunks, "more than {what}: {progress:?}");
            Err(progress)
        }
    })
    .await;
}

impl Deref for Node {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.peer
    }
}
