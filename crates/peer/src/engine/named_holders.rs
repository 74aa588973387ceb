//! The holders that the coordinator named last for a download, and the outcome of calls to them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::Engine;
use crate::api::{CallFailure, Unreached};

/// See the module's documentation. As many addresses as one answer of the coordinator has.
#[derive(Debug, Default)]
pub(super) struct NamedHolders {
    full: u32,
    /// None: no call to it has failed, or one has succeeded since.
    calls: BTreeMap<SocketAddr, Option<CallFailure>>,
}

impl NamedHolders {
    /// The coordinator names these, out of so many that have the whole file.
    pub(super) fn note(&mut self, full: u32, addresses: &[SocketAddr]) {
        self.full = full;
        let known = std::mem::take(&mut self.calls);
        let known_of = |address: &SocketAddr| known.get(address).copied().flatten();
        self.calls = addresses.iter().map(|address| (*address, known_of(address))).collect();
    }

    fn on_call(&mut self, address: SocketAddr, failure: Option<CallFailure>) {
        if let Some(known) = self.calls.get_mut(&address) {
            *known = failure;
        }
    }

    /// The holders of the file, if there are some and none of them can be reached. If no peer was
    /// met, a call that has not ended has taken too long.
    pub(super) fn unreached(&self, met_somebody: bool) -> Option<Unreached> {
        if self.full == 0 && self.calls.is_empty() {
            return None;
        }
        let pending = (!met_somebody).then_some(CallFailure::TimedOut);
        let calls =
            self.calls.iter().map(|(address, failure)| Some((*address, failure.or(pending)?)));
        Some(Unreached { full: self.full, calls: calls.collect::<Option<_>>()? })
    }
}

impl Engine {
    /// What came of a call to an address.
    pub(super) fn note_call(&mut self, address: SocketAddr, failure: Option<CallFailure>) {
        for file in &self.followed {
            if let Some(running) = self.files.running_mut(*file) {
                running.holders.on_call(address, failure);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: u8) -> SocketAddr {
        ([10, 0, 0, host], 7401).into()
    }

    #[test]
    fn holders_are_unreached_when_each_was_called_in_vain() {
        let mut holders = NamedHolders::default();
        assert_eq!(holders.unreached(true), None, "nobody has it");
        holders.note(2, &[at(1), at(2)]);
        for _ in 0..10 {
            holders.on_call(at(1), Some(CallFailure::TimedOut));
            assert_eq!(holders.unreached(true), None, "one was not called yet");
        }
        holders.on_call(at(3), Some(CallFailure::TimedOut)); // which was not named
        holders.on_call(at(2), Some(CallFailure::Refused));
        let calls = [(at(1), CallFailure::TimedOut), (at(2), CallFailure::Refused)].into();
        assert_eq!(holders.unreached(true), Some(Unreached { full: 2, calls }));
        holders.on_call(at(2), None);
        assert_eq!(holders.unreached(true), None, "one was reached");
        let pending = holders.unreached(false).expect("nobody was met");
        assert_eq!(pending.calls[&at(2)], CallFailure::TimedOut);
    }

    #[test]
    fn what_came_of_calls_stays_while_they_are_named() {
        let mut holders = NamedHolders::default();
        holders.note(1, &[at(1)]);
        holders.on_call(at(1), Some(CallFailure::Refused));
        holders.note(1, &[at(1)]);
        assert!(holders.unreached(true).is_some_and(|unreached| unreached.calls.len() == 1));
        holders.note(1, &[]);
        assert!(holders.unreached(true).is_some_and(|unreached| unreached.calls.is_empty()));
        holders.note(0, &[]);
        assert_eq!(holders.unreached(true), None);
    }
}
