//! Results that peers report of their connection attempts to handed-out addresses. If two networks
//! could not reach an address, it is doubtful for a minute, unless as many reached it. A doubtful
//! holder is named last, never left out: two colluding peers must not be able to hide a holder.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tnet_proto::CallResult;
use tnet_sources::SourceNetwork;

use super::{Epoch, Table};
use crate::registry::location::Site;

/// How long a report of a result counts.
const REPORT_LIFETIME: Duration = Duration::from_secs(60);

/// Networks that must agree. No more reports are kept.
const WITNESSES: usize = 2;

/// Results of connection attempts to one address: the latest reporting networks, and when they
/// reported.
#[derive(Debug, Default)]
pub(super) struct Calls {
    reached: Witnesses,
    failed: Witnesses,
}

#[derive(Debug, Default)]
struct Witnesses([Option<(SourceNetwork, Duration)>; WITNESSES]);

impl Witnesses {
    /// A network counts once, however often it reports.
    fn add(&mut self, now: Duration, network: SourceNetwork) {
        let is_same = |witness: &Option<(SourceNetwork, Duration)>| {
            witness.is_some_and(|(other, _)| other == network)
        };
        let same = self.0.iter().position(is_same);
        let oldest = || (0..WITNESSES).min_by_key(|at| self.0[*at].map(|(_, heard)| heard));
        if let Some(at) = same.or_else(oldest) {
            self.0[at] = Some((network, now));
        }
    }

    fn count(&self, now: Duration) -> usize {
        let counts = |heard: Duration| now < heard.saturating_add(REPORT_LIFETIME);
        self.0.iter().flatten().filter(|(_, heard)| counts(*heard)).count()
    }
}

impl Calls {
    fn is_doubtful(&self, now: Duration) -> bool {
        self.failed.count(now) == WITNESSES && self.reached.count(now) < WITNESSES
    }
}

impl Table {
    /// A peer reports the result of a connection attempt. A result about its own IP address is
    /// ignored.
    pub fn record_call(&mut self, now: Duration, asker: Epoch, result: CallResult) {
        let CallResult { address, reached } = result;
        self.latest = self.latest.max(now);
        let Some(asker) = self.by_epoch.get(&asker) else { return };
        let asker = self.peers.at(*asker);
        let ip: IpAddr = asker.key.ip();
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        if ip == address.ip() {
            return;
        }
        let mut sites = asker.location.viewpoint().sites_of(address);
        let Some(site) = sites.find(|site| self.sites.contains_key(site)) else { return };
        let Some(at) = self.sites.get_mut(&site) else { return };
        let calls = match &mut at.calls {
            Some(calls) => calls,
            // Only a failure starts a record.
            None if reached => return,
            none => none.insert(Box::default()),
        };
        let witnesses = if reached { &mut calls.reached } else { &mut calls.failed };
        witnesses.add(now, SourceNetwork::of(ip));
        if calls.is_doubtful(now) {
            self.doubts_until = now.saturating_add(REPORT_LIFETIME);
        }
    }

    /// Whether an address may be doubtful.
    pub(super) fn has_doubts(&self) -> bool {
        self.latest < self.doubts_until
    }

    /// Whether two networks could not reach this site lately.
    pub(super) fn is_doubtful(&self, site: Option<Site>) -> bool {
        let calls = site.and_then(|site| self.sites.get(&site)?.calls.as_ref());
        calls.is_some_and(|calls| calls.is_doubtful(self.latest))
    }
}
