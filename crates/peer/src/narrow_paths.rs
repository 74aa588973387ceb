//! Hosts to which large packets seem to get lost while small ones pass: a black hole for the path's
//! MTU, as behind a tunnel whose router does not say so. Introductions come through, and then
//! nothing. They are called with small segments.
//!
//! It is a guess, and costs little where it is wrong: a few per cent more packets.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Segments fit into this with every header that tunnels add, and into the least that IPv6 has to
/// carry.
pub(crate) const SMALL_SEGMENT: u32 = 1200;

/// A host is called so for this long after two signs. Then the path may be another one.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// The same after one sign, which may well be something else: a host that went away, or that takes
/// long to answer.
const SUSPECTED: Duration = Duration::from_secs(300);

/// A second sign makes the first one more than that if it was not longer ago.
const AGAIN_WITHIN: Duration = Duration::from_secs(60);

/// Hosts remembered. The one noted first makes room.
const MOST: usize = 1024;

#[derive(Debug, Clone, Default)]
pub(crate) struct NarrowPaths(Arc<Mutex<BTreeMap<IpAddr, Noted>>>);

#[derive(Debug, Clone, Copy)]
struct Noted {
    at: Instant,
    belief: Option<Narrow>,
}

/// How sure it is that a path is a narrow one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Narrow {
    /// One connection was made on which nothing came of what was asked.
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
    /// A connection to this host was made, and then nothing came of what was asked. `brought_data`:
    /// something had come before, as on a path that has become another one, or a flow that died of
    /// something else. That takes two to count. Answers what is believed from now on, if that is
    /// news.
    pub(crate) fn fell_silent(&self, host: IpAddr, brought_data: bool) -> Option<Narrow> {
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

    /// Whether to call it with small segments.
    pub(crate) fn is_narrow(&self, host: IpAddr) -> bool {
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
