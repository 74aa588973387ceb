//! The first 12 bytes in each direction: which protocol, in which versions. Their layout never
//! changes, so any two programs, however far apart, can tell each other that they do not fit.

use std::fmt;

/// Bytes of a preamble.
pub const PREAMBLE_LEN: usize = 12;

/// The service that is expected at the other end. Exhaustive: each is a number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Between two peers.
    Peer,
    /// Between a peer and the coordinator.
    Coordinator,
}

/// Oldest and newest version of a protocol that a program speaks. Exhaustive: the two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Versions {
    /// Oldest.
    pub min: u16,
    /// Newest.
    pub max: u16,
}

/// What this program speaks, in both protocols.
const OURS: Versions = Versions { min: 1, max: 1 };

/// Why a connection ends at its preamble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PreambleError {
    /// Another protocol.
    #[error("the other side does not speak tnet")]
    NotTnet,
    /// A peer called the coordinator's port, or the reverse.
    #[error("expected a {expected}, found a {found}: check the address")]
    WrongService {
        /// What this side speaks here.
        expected: Protocol,
        /// What the other side speaks.
        found: Protocol,
    },
    /// There is no version that both sides speak.
    #[error(
        "protocol version {theirs} at the other side, {ours} here: one of the two needs an update"
    )]
    VersionMismatch {
        /// What this program speaks.
        ours: Versions,
        /// What the other side says it speaks.
        theirs: Versions,
    },
}

/// The 12 bytes to send first.
pub fn preamble(protocol: Protocol) -> [u8; PREAMBLE_LEN] {
    announce(protocol, OURS)
}

/// Checks the other side's 12 bytes, and returns the newest version that both sides speak.
///
/// # Errors
/// See [`PreambleError`]. Both sides get the same result, since both see both preambles.
pub fn negotiate(protocol: Protocol, theirs: &[u8; PREAMBLE_LEN]) -> Result<u16, PreambleError> {
    negotiate_from(protocol, OURS, theirs)
}

impl Protocol {
    const fn magic(self) -> [u8; 8] {
        match self {
            Protocol::Peer => *b"tnet-p2p",
            Protocol::Coordinator => *b"tnet-crd",
        }
    }

    fn other(self) -> Protocol {
        match self {
            Protocol::Peer => Protocol::Coordinator,
            Protocol::Coordinator => Protocol::Peer,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Peer => "peer",
            Protocol::Coordinator => "coordinator",
        })
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min, self.max) {
            (min, max) if min == max => write!(f, "{min}"),
            (min, max) => write!(f, "{min} to {max}"),
        }
    }
}

fn announce(protocol: Protocol, versions: Versions) -> [u8; PREAMBLE_LEN] {
    let mut bytes = [0; PREAMBLE_LEN];
    bytes[..8].copy_from_slice(&protocol.magic());
    bytes[8..10].copy_from_slice(&versions.min.to_le_bytes());
    bytes[10..].copy_from_slice(&versions.max.to_le_bytes());
    bytes
}

fn negotiate_from(
    protocol: Protocol,
    ours: Versions,
    theirs: &[u8; PREAMBLE_LEN],
) -> Result<u16, PreambleError> {
    let [magic @ .., min_low, min_high, max_low, max_high] = *theirs;
    if magic == protocol.other().magic() {
        return Err(PreambleError::WrongService { expected: protocol, found: protocol.other() });
    }
    if magic != protocol.magic() {
        return Err(PreambleError::NotTnet);
    }
    let theirs = Versions {
        min: u16::from_le_bytes([min_low, min_high]),
        max: u16::from_le_bytes([max_low, max_high]),
    };
    let newest = ours.max.min(theirs.max);
    let oldest = ours.min.max(theirs.min);
    if newest < oldest {
        return Err(PreambleError::VersionMismatch { ours, theirs });
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preamble_of_version_1_is_these_bytes_forever() {
        assert_eq!(preamble(Protocol::Peer), *b"tnet-p2p\x01\0\x01\0");
        assert_eq!(preamble(Protocol::Coordinator), *b"tnet-crd\x01\0\x01\0");
    }

    #[test]
    fn two_programs_of_today_agree_on_version_1() {
        for protocol in [Protocol::Peer, Protocol::Coordinator] {
            assert_eq!(negotiate(protocol, &preamble(protocol)), Ok(1));
        }
    }

    #[test]
    fn the_newest_common_version_wins_and_both_sides_agree_on_it() {
        let cases = [
            ((1, 3), (2, 5), Some(3)), // overlap in part
            ((1, 1), (1, 9), Some(1)), // an old program meets a new one that still knows it
            ((2, 4), (1, 2), Some(2)), // touch at one version
            ((3, 4), (1, 2), None),    // just apart
            ((1, 1), (2, 1), None),    // nonsense from the other side: an empty range
        ];
        for (a, b, expected) in cases {
            let (a, b) = (Versions { min: a.0, max: a.1 }, Versions { min: b.0, max: b.1 });
            let here = negotiate_from(Protocol::Peer, a, &announce(Protocol::Peer, b)).ok();
            let there = negotiate_from(Protocol::Peer, b, &announce(Protocol::Peer, a)).ok();
            assert_eq!((here, there), (expected, expected), "{a} meets {b}");
        }
    }

    #[test]
    fn a_mismatch_names_both_sides_versions() {
        let newer = announce(Protocol::Peer, Versions { min: 2, max: 7 });
        let error = negotiate(Protocol::Peer, &newer).expect_err("no common version");
        let theirs = Versions { min: 2, max: 7 };
        assert_eq!(error, PreambleError::VersionMismatch { ours: OURS, theirs });
        assert!(error.to_string().contains("2 to 7"), "{error}");
    }

    #[test]
    fn calling_the_wrong_port_is_told_apart_from_calling_a_stranger() {
        assert_eq!(
            negotiate(Protocol::Peer, &preamble(Protocol::Coordinator)),
            Err(PreambleError::WrongService {
                expected: Protocol::Peer,
                found: Protocol::Coordinator
            })
        );
        assert_eq!(negotiate(Protocol::Peer, b"GET / HTTP/1"), Err(PreambleError::NotTnet));
        assert_eq!(negotiate(Protocol::Peer, &[0; PREAMBLE_LEN]), Err(PreambleError::NotTnet));
    }
}
