//! Settings of a peer, with units, defaults and reasons.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tnet_net::{Advertise, CoordinatorAddress};
use tnet_proto::{CONNECT_TIMEOUT, PEER_PORT, REPORT_INTERVAL};

use crate::api::{Limits, Priority};

/// Settings of a [`Peer`](crate::Peer). The builder sets the common ones.
///
/// Exhaustive, for `..Config::default()`; new fields have defaults.
#[derive(Debug, Clone)]
pub struct Config {
    /// The coordinator to report to and to ask for holders. None: files come only from peers that
    /// call.
    pub coordinator: Option<CoordinatorAddress>,
    /// Where to accept peers. An unspecified IPv6 address takes IPv4 as well, and IPv4 alone where
    /// the system has no IPv6.
    pub listen: SocketAddr,
    /// Where others reach this peer, if that is not where the coordinator sees it: behind a
    /// published port, or on one of several networks. A coordinator takes it within the networks
    /// that it was told.
    pub advertise: Option<Advertise>,
    /// For several peers on one machine, as in tests: calls to loopback addresses come from this
    /// one. None, and for all other addresses: the system chooses.
    pub loopback_from: Option<IpAddr>,
    /// How often the coordinator gets a sign of life; also how often shared files are looked at.
    pub report_interval: Duration,
    /// How often shared directories are looked at while they change; large ones less often, so that
    /// looking takes no more than a 300th of the time, but each 25 s at least where that is little.
    pub share_interval: Duration,
    /// Rates of the whole process at the start. Default: none.
    pub limits: Limits,
    /// The numbers behind requests and uploads.
    pub swarm: tnet_swarm::Config,
    /// Bytes of chunks between network and disk, in all. When they are used up, reading stops.
    pub chunk_memory: u64,
    /// Written bytes after which a download is synced and its journal brought up to date.
    pub sync_bytes: u64,
    /// Longest time until written bytes are synced.
    pub sync_interval: Duration,
    /// A call to another peer or the coordinator fails after this long.
    pub connect_within: Duration,
    /// Accepted connections in all that have not said hello. When there is one more, one of the
    /// source that has most of them is closed to make room for it.
    pub max_strangers: usize,
    /// Where to remember what shared files were found to be, so that a restart reads only those
    /// that changed. None: every file is read again.
    pub scans: Option<PathBuf>,
    /// For demonstrations: each connection waits this long between two parts of chunks that it
    /// sends, so that a person can follow what else would be over in an instant. A part is at most
    /// 256 KiB. Zero, the default: it never waits.
    pub demo_delay: Duration,
    /// How long `shutdown` waits for goodbyes and last writes.
    pub shutdown_within: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            coordinator: None,
            listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, PEER_PORT)),
            advertise: None,
            loopback_from: None,
            report_interval: REPORT_INTERVAL,
            share_interval: Duration::from_secs(2),
            limits: Limits::default(),
            swarm: tnet_swarm::Config::default(),
            chunk_memory: 40 * 1024 * 1024,
            sync_bytes: 64 * 1024 * 1024,
            sync_interval: Duration::from_secs(2),
            connect_within: CONNECT_TIMEOUT,
            max_strangers: 256,
            scans: None,
            demo_delay: Duration::ZERO,
            shutdown_within: Duration::from_secs(10),
        }
    }
}

/// Least memory for chunks: one of the largest has to fit.
const LEAST_CHUNK_MEMORY: u64 = tnet_fileinfo::MAX_CHUNK_SIZE as u64;

impl Config {
    /// Keeps what lies between network and disk within half of so many bytes, if that is less than
    /// it is. The other half is for connections, descriptions and what an allocator adds.
    pub fn keep_within(&mut self, bytes: u64) {
        self.chunk_memory = self.chunk_memory.min((bytes / 2).max(LEAST_CHUNK_MEMORY));
        self.swarm.storing_bytes = self.swarm.storing_bytes.min(self.chunk_memory / 5 * 3);
    }
}

/// How a download is to be done.
///
/// Exhaustive, for `..DownloadOptions::default()`; new fields have defaults.
#[derive(Debug, Clone)]
pub struct DownloadOptions {
    /// Replace a file of another content at the target, in one step at the end.
    pub overwrite: bool,
    /// Give up when no chunk was stored for this long. None: never. While no peer has anything of
    /// the file, time without a coordinator does not count, but twice this long is enough in any
    /// case.
    pub give_up_after: Option<Duration>,
    /// Give up when the coordinator has been away for this long and no peer was met yet, counted
    /// from when it was lost or from the start. What answers there and is no coordinator is
    /// tolerated for 10 s at most. None: never.
    pub coordinator_within: Option<Duration>,
    /// Rates of this file.
    pub limits: Limits,
    /// Before or after other files.
    pub priority: Priority,
    /// Of a tree: make links that may lead out of it, too.
    pub allow_outside_links: bool,
    /// The directory that the file is to be in, if it is open already: the file is written to this
    /// one even if the path leads to another one now, or to none.
    pub directory: Option<Arc<OwnedFd>>,
    /// The mode of the file, as in `0o644`. None: as any file of this process.
    pub mode: Option<u32>,
    /// Replace what is at the target, a directory by a tree too, in one step at the end, and take
    /// from it what is right there already.
    pub update: bool,
    /// Files and directories on this machine from which bytes are taken too.
    pub reuse: Vec<PathBuf>,
}

impl Default for DownloadOptions {
    fn default() -> DownloadOptions {
        DownloadOptions {
            overwrite: false,
            give_up_after: None,
            coordinator_within: Some(Duration::from_secs(10)),
            limits: Limits::default(),
            priority: Priority::default(),
            allow_outside_links: false,
            directory: None,
            mode: None,
            update: false,
            reuse: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_share_leaves_less_memory_for_chunks_but_room_for_the_largest() {
        const MIB: u64 = 1024 * 1024;
        let within = |bytes| {
            let mut config = Config::default();
            config.keep_within(bytes);
            (config.chunk_memory, config.swarm.storing_bytes)
        };
        let usual = Config::default();
        assert_eq!(within(1024 * MIB), (usual.chunk_memory, usual.swarm.storing_bytes));
        assert_eq!(within(48 * MIB).0, 24 * MIB);
        let (chunk_memory, storing_bytes) = within(MIB);
        assert_eq!(chunk_memory, LEAST_CHUNK_MEMORY);
        assert!(storing_bytes < chunk_memory);
    }
}
