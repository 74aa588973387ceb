//! Everything that can be due in a run.

use crate::net::PipeId;
use crate::units::HostId;

/// Something is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The core of this host asked to be woken.
    Tick(HostId),
    /// The coordinator session of this host asked to be woken.
    Report(HostId),
    /// The disk of this host has written its oldest chunk.
    Stored {
        /// Which host.
        host: HostId,
        /// In which of its lives.
        life: u32,
    },
    /// The disk of this host has read one more chunk that an earlier life left.
    Read {
        /// Which host.
        host: HostId,
        /// In which of its lives.
        life: u32,
    },
    /// A host's uplink has sent what it was sending.
    UplinkFree(HostId),
    /// Somebody has waited long for a turn to write at this host.
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
    /// The sender of this pipe has met the other side.
    Greeted(PipeId),
    /// A call came to nothing.
    CallFailed {
        /// Who called.
        host: HostId,
        /// In which of its lives.
        life: u32,
        /// Whom.
        called: HostId,
    },
    /// The sender of this pipe learns that the connection is gone.
    Lost(PipeId),
    /// TCP tries again after a partition.
    Resume(PipeId),
    /// A host that drips sends its next drops.
    Drip(HostId),
    /// The next change in the life of a host.
    Life {
        /// Which host.
        host: HostId,
        /// Which change of its plan.
        change: u32,
    },
    /// A host that is done looks whether it may leave.
    LeaveDone {
        /// Which host.
        host: HostId,
        /// In which of its lives.
        life: u32,
    },
    /// A host that was frozen for long has been silent for too long.
    Silent {
        /// Which host.
        host: HostId,
        /// In which of its lives.
        life: u32,
    },
    /// A host calls the coordinator.
    CallCoordinator {
        /// Which host.
        host: HostId,
        /// In which of its lives.
        life: u32,
    },
    /// A letter to or from the coordinator arrives.
    Mail(u32),
    /// The coordinator looks at what is due.
    CoordinatorTimeout,
    /// The coordinator goes down or comes back.
    CoordinatorTurns,
    /// The network parts or heals.
    PartitionTurns,
    /// Connections over the partition have been silent for too long.
    PartitionSilence,
    /// Time to look at who is idle and why.
    Sample,
}

const _: () = assert!(size_of::<Event>() <= 16, "the queue holds millions");
