//! How many connections the file descriptors of the process allow.

use crate::descriptors;
use crate::strangers;

/// Descriptors kept for files that stay open and for what else a process has open. Of few
/// descriptors, half.
const OTHERS: usize = 256 + 64;

/// Connections that are told goodbye and not closed yet.
const FAREWELLS: usize = 64;

/// How many connections of each kind may be open at once. Without such a bound, connections that
/// are of no use could take the descriptors that the useful ones need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionLimits {
    /// Connections to peers, after the hello.
    pub peers: usize,
    /// Accepted connections on which no hello has come yet.
    pub strangers: usize,
    /// Connections on which a goodbye is under way.
    pub farewells: usize,
}

impl ConnectionLimits {
    /// What is configured, or less if this process may not open so many descriptors. At least one
    /// of each.
    pub fn within_descriptors(peers: usize, strangers: usize) -> ConnectionLimits {
        let most = descriptors::limit().and_then(|most| usize::try_from(most).ok());
        ConnectionLimits::within(most.unwrap_or(usize::MAX), peers, strangers)
    }

    fn within(most: usize, peers: usize, strangers: usize) -> ConnectionLimits {
        let room = most - OTHERS.min(most / 2);
        let farewells = FAREWELLS.min(room / 8).max(1);
        let strangers = strangers.min(room / 8).max(1);
        let accepted = strangers + strangers::leaving(strangers);
        let left = room.saturating_sub(accepted + farewells).max(1);
        if left < peers {
            tracing::info!(
                most,
                peers = left,
                "fewer connections than configured, for want of descriptors"
            );
        }
        ConnectionLimits { peers: peers.min(left), strangers, farewells }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_fits_into_what_the_process_may_open() {
        for most in [8, 64, 256, 1024, 4096, 65_536, usize::MAX] {
            let limits = ConnectionLimits::within(most, 1000, 256);
            let accepted = limits.strangers + strangers::leaving(limits.strangers);
            let open = limits.peers + accepted + limits.farewells + OTHERS.min(most / 2);
            assert!(open <= most, "{open} of {most}");
            assert!(limits.peers >= most.min(1000) / 8, "{} of {most}", limits.peers);
        }
    }

    #[test]
    fn with_enough_of_them_the_configuration_stands() {
        let limits = ConnectionLimits::within(4096, 1000, 256);
        assert_eq!((limits.peers, limits.strangers), (1000, 256));
    }
}
