//! The peers of the demo. The system chooses every port; every download has its own directory.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tnet_coordinator::{Config, Coordinator, CoordinatorHandle};
use tnet_fileinfo::FileInfo;
use tnet_peer::{Download, DownloadError, DownloadOptions, Peer, Summary};
use tokio::time::timeout;

use crate::command::fileinfo::blocking;
use crate::failure::{Failure, bind_failure, file_failure};
use crate::local_peer;

/// Any free port, for this machine only.
const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Short, since the demo is.
const REPORT_INTERVAL: Duration = Duration::from_millis(500);

/// A demo in which nothing arrives for this long has failed.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);

/// A coordinator and named peers.
pub(super) struct Swarm {
    coordinator: CoordinatorHandle,
    seeds: Vec<Member>,
    downloaders: Vec<Member>,
}

struct Member {
    name: String,
    peer: Arc<Peer>,
    dir: PathBuf,
}

/// A download under way.
pub(super) struct Downloader {
    pub(super) name: String,
    pub(super) download: Download,
}

impl Downloader {
    /// How it ended, if it has.
    pub(super) async fn if_finished(&mut self) -> Option<Result<Summary, Failure>> {
        let result = timeout(Duration::ZERO, self.download.finished()).await.ok()?;
        Some(result.map_err(Failure::from))
    }
}

impl Swarm {
    pub(super) async fn start(
        seeds: usize,
        downloaders: usize,
        dir: &Path,
    ) -> Result<Self, Failure> {
        let coordinator = Coordinator::bind(Config { listen: LOOPBACK, ..Config::default() })
            .map_err(|error| bind_failure(&error))?
            .spawn();
        let address = coordinator.local_addr();
        let mut swarm = Self { coordinator, seeds: Vec::new(), downloaders: Vec::new() };
        for number in 1..=seeds {
            swarm.seeds.push(Member::start(format!("seed-{number}"), address, dir).await?);
        }
        for number in 1..=downloaders {
            swarm.downloaders.push(Member::start(format!("peer-{number}"), address, dir).await?);
        }
        Ok(swarm)
    }

    pub(super) fn coordinator(&self) -> SocketAddr {
        self.coordinator.local_addr()
    }

    /// All seeds serve the same file; it is only read.
    pub(super) async fn share(&self, file: &Path) -> Result<(), Failure> {
        for seed in &self.seeds {
            seed.peer.share(file).await?;
        }
        Ok(())
    }

    /// All downloaders begin.
    pub(super) async fn download(&self, info: &FileInfo) -> Result<Vec<Downloader>, DownloadError> {
        let mut running = Vec::new();
        for member in &self.downloaders {
            let options = DownloadOptions {
                give_up_after: Some(GIVE_UP_AFTER),
                ..DownloadOptions::default()
            };
            let download =
                member.peer.download_with(info.clone(), member.dir.join("copy"), options).await?;
            running.push(Downloader { name: member.name.clone(), download });
        }
        Ok(running)
    }

    /// Name and address of every peer, seeds first.
    pub(super) fn members(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        let all = self.seeds.iter().chain(&self.downloaders);
        all.map(|member| (member.name.as_str(), member.peer.local_addr()))
    }

    pub(super) async fn end(self) {
        for member in self.downloaders.into_iter().chain(self.seeds) {
            local_peer::end(member.peer).await;
        }
        self.coordinator.shutdown().await;
    }
}

impl Member {
    async fn start(name: String, coordinator: SocketAddr, dir: &Path) -> Result<Self, Failure> {
        let dir = dir.join(&name);
        let made = dir.clone();
        blocking(move || {
            std::fs::create_dir(&made)
                .map_err(|error| file_failure("make the directory", &made, &error))
        })
        .await?;
        let peer = Peer::builder()
            .coordinator(coordinator)
            .listen(LOOPBACK)
            .report_interval(REPORT_INTERVAL)
            .spawn()?;
        Ok(Self { name, peer: Arc::new(peer), dir })
    }
}

/// Writes bytes of which no two chunks are alike; the same bytes each time.
pub(super) fn write_noise(path: &Path, len: u64) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create_new(path)?);
    let mut state = 0x5eed_u64;
    let mut left = len;
    while left > 0 {
        let word = next(&mut state).to_le_bytes();
        let take = usize::try_from(left).map_or(word.len(), |left| left.min(word.len()));
        file.write_all(&word[..take])?;
        left -= take as u64;
    }
    file.flush()
}

/// splitmix64: a counter with mixed bits, which has no visible pattern.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_file_has_its_length_and_no_repetition() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        // Nothing; less than a word; a word; some more than a buffer.
        for len in [0, 3, 8, (1 << 20) + 5] {
            let path = dir.path().join(len.to_string());
            write_noise(&path, len).expect("written");
            assert_eq!(std::fs::metadata(&path).expect("there").len(), len);
        }
        let bytes = std::fs::read(dir.path().join(((1 << 20) + 5).to_string())).expect("there");
        let blocks: std::collections::BTreeSet<&[u8]> = bytes.chunks(16).collect();
        assert_eq!(blocks.len(), bytes.len().div_ceil(16));
    }
}
