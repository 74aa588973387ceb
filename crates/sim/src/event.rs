//! The events of a run.

use crate::net::PipeId;
use crate::units::HostId;

/// An event of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SimEvent {
    /// The timer of this host's core is due.
    Tick(HostId),
    /// The timer of this host's coordinator session is due.
    Report(HostId),
    /// The disk of this host has written its oldest chunk.
    Stored {
        /// Which host.
        host: HostId,
        /// The number of its start.
        life: u32,
    },
    /// The disk of this host has read one more chunk that an earlier life left.
    Read {
        /// Which host.
        host: HostId,
        /// The number of its start.
        life: u32,
    },
    /// A host's uplink has sent what it was sending.
    UplinkFree(HostId),
    /// A connection of this host has waited long for a turn to write.
    TurnsLate(HostId),
    /// There is room again in front of this host's downlink.
    DownlinkRoom(HostId),
    /// Bytes came out of a pipe.
    Delivered {
        /// Which pipe.
        pipe: PipeId,
        /// How many.
        bytes: u32,
    },
    /// The sender of this pipe has completed the handshake.
    Greeted(PipeId),
    /// A connection attempt failed.
    CallFailed {
        /// Who called.
        host: HostId,
        /// The number of its start.
        life: u32,
        /// Whom.
        called: HostId,
    },
    /// The sender of this pipe learns that the connection is gone.
    Lost(PipeId),
    /// TCP retransmits after a partition.
    Resume(PipeId),
    /// A host that drips sends its next drops.
    Drip(HostId),
    /// A planned change of a host.
    Life {
        /// Which host.
        host: HostId,
        /// Which change of its plan.
        change: u32,
    },
    /// A host that is done checks whether it may leave.
    LeaveDone {
        /// Which host.
        host: HostId,
        /// The number of its start.
        life: u32,
    },
    /// A frozen host has been silent for too long.
    Silent {
        /// Which host.
        host: HostId,
        /// The number of its start.
        life: u32,
    },
    /// A host calls the coordinator.
    CallCoordinator {
        /// Which host.
        host: HostId,
        /// The number of its start.
        life: u32,
    },
    /// A message to or from the coordinator arrives.
    CoordinatorMessage(u32),
    /// The timer of the coordinator's registry is due.
    CoordinatorTimeout,
    /// The coordinator goes down or comes back.
    CoordinatorTurns,
    /// The network parts or heals.
    PartitionTurns,
    /// Connections over the partition have been silent for too long.
    PartitionSilence,
    /// Time to sample which links are idle, and why.
    Sample,
}

const _: () = assert!(size_of::<SimEvent>() <= 16, "the queue holds millions");
