//! Hosts behind a path MTU black hole: large packets seem to get lost while small ones pass, as
//! behind a tunnel whose router sends no ICMP "fragmentation needed". Introductions come through,
//! and then nothing. Connections to such a host use small segments (a small TCP MSS).
//!
//! It is a guess. Where it is wrong it costs a few per cent more packets.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// TCP payload bytes of a small segment. With every header that tunnels add it fits into the least
/// MTU of IPv6, 1280 bytes.
pub const SMALL_SEGMENT: u32 = 1200;

/// A host gets small segments for this long after two signs. Then the path may be another one.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// The same after one sign, which may have another cause: a host that went away, or that takes long
/// to answer.
const SUSPECTED: Duration = Duration::from_secs(300);

/// Two signs count together if they are no further apart than this.
const AGAIN_WITHIN: Duration = Duration::from_secs(60);

/// Hosts remembered. When full, the one whose sign is oldest is forgotten.
const MOST: usize = 1024;

/// What is believed of the paths to hosts. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct NarrowPaths(Arc<Mutex<BTreeMap<IpAddr, Noted>>>);

#[derive(Debug, Clone, Copy)]
struct Noted {
    at: Instant,
    belief: Option<Narrow>,
}

/// How sure it is that a path loses large packets. Exhaustive: callers decide for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Narrow {
    /// One connection was made on which no answer came.
    Suspected,
    /// Two connections fell silent in a short time.
    Likely,
}

impl Narrow {
    fn remembered(self) -> Duration {
        match self {
            Narrow::Suspected => SUSPECTED,
            Narrow::Likely => REMEMBERED,
        }
    }
}

impl Noted {
    fn belief(&self) -> Option<Narrow> {
        self.belief.filter(|belief| self.at.elapsed() <= belief.remembered())
    }
}

impl NarrowPaths {
    /// Notes that a connection to this host was made and then no answer came. `brought_data`: data
    /// had come before, as on a path that has changed, or on a flow that died of another cause; it
    /// takes two such connections to count. Answers what is believed from now on, if that has
    /// changed. A loopback address is never noted.
    pub fn fell_silent(&self, host: IpAddr, brought_data: bool) -> Option<Narrow> {
        let (host, now) = (host.to_canonical(), Instant::now());
        if host.is_loopback() {
            return None;
        }
        let mut hosts = self.hosts();
        let known = hosts.get(&host).copied();
        let before = known.and_then(|known| known.belief());
        let is_again = known.is_some_and(|known| now - known.at <= AGAIN_WITHIN);
        let says = if is_again {
            Some(Narrow::Likely)
        } else {
            (!brought_data).then_some(Narrow::Suspected)
        };
        let belief = says.max(before);
        if hosts.len() >= MOST
            && known.is_none()
            && let Some(first) =
                hosts.iter().min_by_key(|(_, noted)| noted.at).map(|(host, _)| *host)
        {
            hosts.remove(&first);
        }
        hosts.insert(host, Noted { at: now, belief });
        belief.filter(|_| belief > before)
    }

    /// Whether to connect to this host with small segments.
    pub fn is_narrow(&self, host: IpAddr) -> bool {
        let known = self.hosts().get(&host.to_canonical()).copied();
        known.is_some_and(|known| known.belief().is_some())
    }

    fn hosts(&self) -> MutexGuard<'_, BTreeMap<IpAddr, Noted>> {
        // Nothing under it panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_nothing_came_makes_a_path_narrow_for_a_while() {
        let paths = NarrowPaths::default();
        assert_eq!(paths.fell_silent(HOST, false), Some(Narrow::Suspected));
        assert!(paths.is_narrow(HOST));
        advance(SUSPECTED + Duration::from_secs(1)).await;
        assert!(!paths.is_narrow(HOST));
        assert_eq!(
            paths.fell_silent(HOST, false),
            Some(Narrow::Suspected),
            "as if it were the first"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_one_soon_after_it_makes_it_narrow_for_an_hour() {
        let paths = NarrowPaths::default();
        paths.fell_silent(HOST, false);
        advance(AGAIN_WITHIN).await;
        assert_eq!(paths.fell_silent(HOST, false), Some(Narrow::Likely));
        assert_eq!(paths.fell_silent(HOST, false), None, "told once");
        advance(REMEMBERED).await;
        assert!(paths.is_narrow(HOST));
        advance(Duration::from_secs(1)).await;
        assert!(!paths.is_narrow(HOST));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flow_that_died_after_it_brought_data_counts_with_a_second_one() {
        let paths = NarrowPaths::default();
        assert_eq!(paths.fell_silent(HOST, true), None);
        advance(AGAIN_WITHIN * 2).await;
        assert_eq!(paths.fell_silent(HOST, true), None);
        assert!(!paths.is_narrow(HOST));
        assert_eq!(paths.fell_silent(HOST, true), Some(Narrow::Likely));
        assert!(paths.is_narrow(HOST));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded() {
        let paths = NarrowPaths::default();
        for number in 0..5000_u32 {
            paths.fell_silent(IpAddr::from(number.to_be_bytes()), false);
        }
        assert!(paths.hosts().len() <= MOST);
    }
}
