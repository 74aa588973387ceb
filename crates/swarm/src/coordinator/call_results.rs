//! Results of calls to the addresses that the coordinator named, told to it in batches, so that it
//! names addresses last that cannot be reached. Each result is told once each time an address is
//! named.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tnet_proto::{CallResult, CoordinatorRequest, CoordinatorRequestKind, MAX_HOLDERS};

use crate::Time;

/// Addresses that are remembered as named. With more, all are forgotten: it is help, not
/// bookkeeping.
const MOST_NAMED: usize = 1024;

/// The least time between two batches.
const PAUSE: Duration = Duration::from_secs(1);

/// The same if every call succeeded, which is less of a hurry.
const PAUSE_OF_SUCCESS: Duration = Duration::from_secs(10);

/// Results that wait to be told.
#[derive(Debug, Default)]
pub(crate) struct CallResults {
    named: BTreeSet<SocketAddr>,
    reached: BTreeSet<SocketAddr>,
    failed: BTreeSet<SocketAddr>,
    told: Option<Time>,
    is_unwanted: bool,
}

impl CallResults {
    /// Another coordinator, or the same anew.
    pub(crate) fn on_welcome(&mut self) {
        self.is_unwanted = false;
    }

    /// The coordinator does not know a message.
    pub(crate) fn on_unsupported(&mut self, message: u32) {
        // Older coordinators do not know it.
        if message == CoordinatorRequestKind::Calls.number() {
            self.is_unwanted = true;
        }
    }

    /// The coordinator named these.
    pub(crate) fn on_named(&mut self, addresses: impl ExactSizeIterator<Item = SocketAddr>) {
        if self.named.len() + addresses.len() > MOST_NAMED {
            self.named.clear();
        }
        self.named.extend(addresses);
    }

    /// A peer answered there.
    pub(crate) fn on_reached(&mut self, address: SocketAddr) {
        if self.named.remove(&address) && self.reached.len() < MAX_HOLDERS {
            self.failed.remove(&address);
            self.reached.insert(address);
        }
    }

    /// No peer answered there.
    pub(crate) fn on_failed(&mut self, address: SocketAddr) {
        if self.named.remove(&address) && self.failed.len() < MAX_HOLDERS {
            self.reached.remove(&address);
            self.failed.insert(address);
        }
    }

    /// What to tell the coordinator now.
    pub(crate) fn poll(&mut self, now: Time) -> Option<CoordinatorRequest> {
        let pause = if self.failed.is_empty() { PAUSE_OF_SUCCESS } else { PAUSE };
        let is_due = self.told.is_none_or(|told| told + pause <= now);
        if self.is_unwanted || !is_due || self.reached.is_empty() && self.failed.is_empty() {
            return None;
        }
        self.told = Some(now);
        let failed = std::mem::take(&mut self.failed).into_iter().map(|address| (address, false));
        let reached = std::mem::take(&mut self.reached).into_iter().map(|address| (address, true));
        let results = failed.chain(reached).take(MAX_HOLDERS);
        let results = results.map(|(address, reached)| CallResult { address, reached }).collect();
        Some(CoordinatorRequest::Calls { results })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn only_what_was_named_is_told_and_once() {
        let mut calls = CallResults::default();
        calls.on_named([address(1), address(2)].into_iter());
        for port in 1..=3 {
            calls.on_failed(address(port));
        }
        let results =
            [1, 2].map(|port| CallResult { address: address(port), reached: false }).to_vec();
        assert_eq!(calls.poll(at(5)), Some(CoordinatorRequest::Calls { results }));
        calls.on_failed(address(1));
        assert_eq!(calls.poll(at(50)), None);
    }

    #[test]
    fn batches_are_a_second_apart_and_bounded() {
        let mut calls = CallResults::default();
        let many: Vec<SocketAddr> = (1..=200).map(address).collect();
        calls.on_named(many.iter().copied());
        calls.on_failed(address(1));
        assert!(calls.poll(at(0)).is_some());
        many.iter().for_each(|address| calls.on_failed(*address));
        assert_eq!(calls.poll(at(0)), None);
        let Some(CoordinatorRequest::Calls { results }) = calls.poll(at(1)) else {
            panic!("it is due")
        };
        assert_eq!(results.len(), MAX_HOLDERS);
    }

    #[test]
    fn a_coordinator_that_does_not_know_the_message_gets_no_more() {
        let mut calls = CallResults::default();
        calls.on_named([address(1)].into_iter());
        calls.on_unsupported(CoordinatorRequestKind::Calls.number());
        calls.on_failed(address(1));
        assert_eq!(calls.poll(at(5)), None);
    }
}
