//! One machine: its disk, which survives crashes, and, while it is up, the core of its peer and its
//! coordinator session.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};

use tnet_coordinator::Epoch;
use tnet_fileinfo::ChunkSet;
use tnet_proto::PEER_PORT;
use tnet_swarm::{CoordinatorSession, FileStats, ReconnectPause, Swarm};

use crate::event::SimEvent;
use crate::net::{PipeId, Taint};
use crate::units::{HostId, Nanos};
use crate::world::HostPlan;

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) plan: HostPlan,
    /// Number of the current start; events of an earlier one are ignored.
    pub(crate) life: u32,
    /// None while the host is down.
    pub(crate) core: Option<Core>,
    pub(crate) is_frozen: bool,
    /// Events that became due while it was frozen.
    pub(crate) postponed: Vec<SimEvent>,
    pub(crate) disk: ChunkSet,
    pub(crate) done_at: Option<Nanos>,
    /// At the end of the last run of its process.
    pub(crate) last_connection: ConnectionState,
    /// Of earlier runs of its process.
    pub(crate) past: FileStats,
    /// Forged chunks that it sent.
    pub(crate) forged: u64,
}

/// A running peer.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) swarm: Swarm<ChunkBody>,
    pub(crate) session: CoordinatorSession,
    pub(crate) coordinator: CoordinatorEnd,
    /// The tick that is planned.
    pub(crate) tick_at: Option<Nanos>,
    pub(crate) report_at: Option<Nanos>,
    /// Chunks being verified and written, the oldest first.
    pub(crate) writing: VecDeque<Writing>,
    pub(crate) disk_free: Nanos,
    /// Chunks left by an earlier run that are not verified yet, and whether they are intact.
    pub(crate) unverified: VecDeque<(u32, bool)>,
    /// Chunks being sent.
    pub(crate) uploading: u32,
    /// Requests that a dripping host has accepted, and how many bytes of each it has sent.
    pub(crate) drips: Vec<(PipeId, u32, u32)>,
}

/// What stands for the bytes of a chunk that arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChunkBody {
    pub(crate) from: PipeId,
    pub(crate) taint: Taint,
}

/// A chunk on its way to the disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Writing {
    pub(crate) chunk: u32,
    pub(crate) body: ChunkBody,
}

/// A host's end of its coordinator connection.
#[derive(Debug)]
pub(crate) struct CoordinatorEnd {
    pub(crate) connection: ConnectionState,
    pub(crate) pause: ReconnectPause,
    /// There may be something to send.
    pub(crate) may_send: bool,
}

/// The state of a host's connection to the coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectionState {
    Down,
    Calling(Epoch),
    Up(Epoch),
}

impl CoordinatorEnd {
    pub(crate) fn new() -> CoordinatorEnd {
        CoordinatorEnd {
            connection: ConnectionState::Down,
            pause: ReconnectPause::new(),
            may_send: false,
        }
    }
}

impl Host {
    pub(crate) fn new(plan: HostPlan, disk: ChunkSet) -> Host {
        Host {
            plan,
            life: 0,
            core: None,
            is_frozen: false,
            postponed: Vec::new(),
            disk,
            done_at: None,
            last_connection: ConnectionState::Down,
            past: FileStats::default(),
            forged: 0,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.core.is_some()
    }
}

/// The first octet of addresses of one host, and of addresses that hosts share.
const OWN_NET: u8 = 10;
const SHARED_NET: u8 = 11;

/// The port of the first host, where they share an address.
const FIRST_PORT: u16 = 10_000;

/// The address at which a host accepts connections.
pub(crate) fn address(host: HostId, source: Option<u8>) -> SocketAddr {
    let [_, a, b, c] = (host + 1).to_be_bytes();
    match source {
        None => SocketAddr::from((Ipv4Addr::new(OWN_NET, a, b, c), PEER_PORT)),
        Some(source) => {
            let port = u16::try_from(host).ok().and_then(|host| host.checked_add(FIRST_PORT));
            let port = port.expect("hosts that share addresses are in small worlds");
            SocketAddr::from((Ipv4Addr::new(SHARED_NET, 0, 0, source), port))
        }
    }
}

/// The host that accepts connections at this address.
pub(crate) fn host_at(address: SocketAddr) -> Option<HostId> {
    let SocketAddr::V4(address) = address else { return None };
    let [net, a, b, c] = address.ip().octets();
    match net {
        OWN_NET if address.port() == PEER_PORT => u32::from_be_bytes([0, a, b, c]).checked_sub(1),
        SHARED_NET => address.port().checked_sub(FIRST_PORT).map(HostId::from),
        _ => None,
    }
}

pub(crate) fn sum(a: FileStats, b: FileStats) -> FileStats {
    FileStats {
        requested: a.requested + b.requested,
        busy: a.busy + b.busy,
        arrived: a.arrived + b.arrived,
        duplicate: a.duplicate + b.duplicate,
        corrupt: a.corrupt + b.corrupt,
        retried: a.retried + b.retried,
        hedged: a.hedged + b.hedged,
        uploaded: a.uploaded + b.uploaded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_has_an_address_that_leads_back_to_it() {
        for host in [0, 1, 254, 255, 256, 65_535, 1 << 20] {
            assert_eq!(host_at(address(host, None)), Some(host));
        }
        for host in [0, 1, 255, 256] {
            assert_eq!(host_at(address(host, Some(7))), Some(host));
        }
        assert_eq!(host_at("192.168.0.1:7401".parse().expect("an address")), None);
    }
}
