//! Peers that hold a file and cannot be reached: a failure of the network, told as one.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use tnet_session::CallFailure;

/// Addresses that are named.
const NAMED: usize = 3;

/// Who holds a file, by the coordinator, and came to nothing. An address counts once, however often
/// it was called.
///
/// Exhaustive: the peer and its users build it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unreached {
    /// Peers that have the whole file, named or not.
    pub full: u32,
    /// Those that were named, and what came of the last call.
    pub calls: BTreeMap<SocketAddr, CallFailure>,
}

impl Unreached {
    /// How many.
    pub fn peers(&self) -> u32 {
        self.full.max(u32::try_from(self.calls.len()).unwrap_or(u32::MAX))
    }

    /// What the user can do.
    pub fn hint(&self) -> &'static str {
        if self.calls.is_empty() {
            "`tnet status` on its machine says why. A link-local one of IPv6 is of use to those who \
             call the coordinator on that link (-c fe80::1%eth0)"
        } else {
            "is a firewall between, or is it reached at another address (--advertise)?"
        }
    }
}

/// "1 peer has it and cannot be reached at 10.0.0.1:7401 (timed out)".
impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peers = self.peers();
        let (noun, has) = if peers == 1 { ("peer", "has") } else { ("peers", "have") };
        let what = if self.full > 0 { "it" } else { "a part of it" };
        write!(f, "{peers} {noun} {has} {what} and cannot be reached")?;
        if self.calls.is_empty() {
            return f.write_str(": the coordinator knows no address of it that is of use here");
        }
        for (at, (address, failure)) in self.calls.iter().take(NAMED).enumerate() {
            write!(f, "{} {address} ({failure})", if at == 0 { " at" } else { "," })?;
        }
        match self.calls.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, ", {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(full: u32, calls: &[(u8, CallFailure)]) -> String {
        let call =
            |(host, failure): &(u8, CallFailure)| (([10, 0, 0, *host], 7401).into(), *failure);
        Unreached { full, calls: calls.iter().map(call).collect() }.to_string()
    }

    #[test]
    fn where_nobody_could_be_reached_is_named_with_the_reason() {
        let one = told(1, &[(1, CallFailure::TimedOut)]);
        assert_eq!(one, "1 peer has it and cannot be reached at 10.0.0.1:7401 (timed out)");
        let few = told(1, &[(1, CallFailure::TimedOut), (2, CallFailure::Refused)]);
        let both = "2 peers have it and cannot be reached at 10.0.0.1:7401 (timed out), 10.0.0.2:7401 (refused)";
        assert_eq!(few, both);
        let many = told(9, &(1..=9).map(|host| (host, CallFailure::NoRoute)).collect::<Vec<_>>());
        assert!(many.ends_with("10.0.0.3:7401 (no route to it), 6 more"), "{many}");
        let part = told(0, &[(1, CallFailure::Refused)]);
        assert!(part.starts_with("1 peer has a part of it and cannot"), "{part}");
        assert!(
            told(1, &[]).starts_with(
                "1 peer has it and cannot be reached: the coordinator knows no address"
            )
        );
        assert!(Unreached { full: 1, ..Unreached::default() }.hint().contains("tnet status"));
    }
}
