//! What peers say came of their calls to an address that they were given. Two networks that could
//! not reach it make it doubtful for a minute, unless as many reached it. A doubtful holder is
//! named last, never left out: two that conspire must not be able to hide one.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tnet_proto::{CallResult, SourceNetwork};

use super::{Epoch, Table};
use crate::registry::place::Site;

/// How long a word counts.
const WORD_COUNTS: Duration = Duration::from_secs(60);

/// Networks that must say the same. No more are kept.
const VOICES: usize = 2;

/// What came of calls to one address: who said so last, and when.
#[derive(Debug, Default)]
pub(super) struct Calls {
    reached: Voices,
    failed: Voices,
}

#[derive(Debug, Default)]
struct Voices([Option<(SourceNetwork, Duration)>; VOICES]);

impl Voices {
    /// A network counts once, however often it says so.
    fn hear(&mut self, now: Duration, network: SourceNetwork) {
        let same = self.0.iter().position(|voice| voice.is_some_and(|(other, _)| other == network));
        let oldest = || (0..VOICES).min_by_key(|at| self.0[*at].map(|(_, heard)| heard));
        if let Some(at) = same.or_else(oldest) {
            self.0[at] = Some((network, now));
        }
    }

    fn count(&self, now: Duration) -> usize {
        let counts = |heard: Duration| now < heard.saturating_add(WORD_COUNTS);
        self.0.iter().flatten().filter(|(_, heard)| counts(*heard)).count()
    }
}

impl Calls {
    fn is_doubtful(&self, now: Duration) -> bool {
        self.failed.count(now) == VOICES && self.reached.count(now) < VOICES
    }
}

impl Table {
    /// A peer says what came of a call to an address. What it says of its own IP address is
    /// ignored.
    pub fn heard_of(&mut self, now: Duration, asker: Epoch, result: CallResult) {
        let CallResult { address, reached } = result;
        self.latest = self.latest.max(now);
        let Some(asker) = self.by_epoch.get(&asker) else { return };
        let asker = self.peers.at(*asker);
        let ip: IpAddr = asker.key.ip();
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        if ip == address.ip() {
            return;
        }
        let mut sites = asker.place.viewpoint().sites_of(address);
        let Some(site) = sites.find(|site| self.sites.contains_key(site)) else { return };
        let Some(at) = self.sites.get_mut(&site) else { return };
        let calls = match &mut at.calls {
            Some(calls) => calls,
            // Only failures need a record to begin with.
            None if reached => return,
            none => none.insert(Box::default()),
        };
        let voices = if reached { &mut calls.reached } else { &mut calls.failed };
        voices.hear(now, SourceNetwork::of(ip));
        if calls.is_doubtful(now) {
            self.doubts_until = now.saturating_add(WORD_COUNTS);
        }
    }

    /// Whether any address is doubtful.
    pub(super) fn has_doubts(&self) -> bool {
        self.latest < self.doubts_until
    }

    /// Whether two networks could not reach it lately.
    pub(super) fn is_doubtful(&self, site: Option<Site>) -> bool {
        let calls = site.and_then(|site| self.sites.get(&site)?.calls.as_ref());
        calls.is_some_and(|calls| calls.is_doubtful(self.latest))
    }
}
