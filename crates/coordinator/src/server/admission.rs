//! Counts connections in total and per source. When all permits are taken, a connection of the
//! source with most is evicted. Connections admitted before memory was short are never evicted.

use std::net::IpAddr;

use tnet_proto::Limit;
use tnet_sources::SourceCounts;
use tokio_util::sync::CancellationToken;

use crate::eviction::EvictionSampler;
use crate::registry::table::LimitExceeded;

/// Connections of one address that say nothing about it. Below this, addresses are compared by what
/// their networks have.
const GRAIN: u64 = 16;

/// Connections that are compared when one has to give way.
const COMPARED: usize = 32;

/// Room for connections.
#[derive(Debug)]
pub(crate) struct Admission {
    max: u32,
    max_per_ip: u32,
    all: SourceCounts,
    /// Those that came when room was short.
    evictable: Vec<EvictablePermit>,
    counts: SourceCounts,
    sampler: EvictionSampler,
    minted: u64,
}

/// A place that a connection takes; to be given back with [`Admission::leave`].
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    ip: IpAddr,
    number: u64,
    /// Cancelled when the permit is taken away.
    pub(crate) taken: CancellationToken,
}

#[derive(Debug)]
struct EvictablePermit {
    ip: IpAddr,
    number: u64,
    taken: CancellationToken,
}

impl Admission {
    pub(crate) fn new(max: u32, max_per_ip: u32) -> Admission {
        Admission {
            max,
            max_per_ip,
            all: SourceCounts::new(),
            evictable: Vec::new(),
            counts: SourceCounts::new(),
            sampler: EvictionSampler::new(COMPARED, GRAIN),
            minted: 0,
        }
    }

    /// Takes a place for a connection from `ip`, from a source with more if it must.
    pub(crate) fn enter(&mut self, ip: IpAddr) -> Result<ConnectionPermit, LimitExceeded> {
        if self.all.rank(ip).host >= u64::from(self.max_per_ip) {
            return Err(LimitExceeded::new(Limit::ConnectionsPerIp, self.max_per_ip));
        }
        if self.all.total() >= u64::from(self.max) {
            let at = self
                .pick_victim(ip)
                .ok_or(LimitExceeded::new(Limit::ConnectionsTotal, self.max))?;
            let gone = self.evictable.swap_remove(at);
            self.counts.remove(gone.ip, 1);
            self.all.remove(gone.ip, 1);
            gone.taken.cancel();
        }
        let is_evictable = self.all.total() >= u64::from(self.max) * 3 / 4;
        self.all.add(ip, 1);
        self.minted += 1;
        let permit = ConnectionPermit { ip, number: self.minted, taken: CancellationToken::new() };
        if is_evictable {
            self.counts.add(ip, 1);
            self.evictable.push(EvictablePermit {
                ip,
                number: permit.number,
                taken: permit.taken.clone(),
            });
        }
        Ok(permit)
    }

    pub(crate) fn leave(&mut self, permit: ConnectionPermit) {
        if permit.taken.is_cancelled() {
            return;
        }
        self.all.remove(permit.ip, 1);
        if let Some(at) = self.evictable.iter().position(|other| other.number == permit.number) {
            self.evictable.swap_remove(at);
            self.counts.remove(permit.ip, 1);
        }
    }

    /// Of some connections one of the source that has most, if the newcomer's has less.
    #[expect(clippy::indexing_slicing, reason = "the sampler gives positions below the length")]
    fn pick_victim(&mut self, newcomer: IpAddr) -> Option<usize> {
        let evictable = &self.evictable;
        let (at, surplus) =
            self.sampler.pick(&self.counts, newcomer, evictable.len(), |at| evictable[at].ip)?;
        (surplus > 1).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
    }

    #[test]
    fn a_permit_given_back_is_free_again_and_leaves_no_trace() {
        let mut admission = Admission::new(3, 2);
        let first = admission.enter(ip(1)).expect("one of two");
        let second = admission.enter(ip(1)).expect("two of two");
        let hit = admission.enter(ip(1)).expect_err("three of two");
        assert_eq!(hit, LimitExceeded { limit: Limit::ConnectionsPerIp, value: 2 });
        let third = admission.enter(ip(2)).expect("three of three");
        let hit = admission.enter(ip(3)).expect_err("four of three");
        assert_eq!(hit, LimitExceeded { limit: Limit::ConnectionsTotal, value: 3 });

        admission.leave(first);
        let fourth = admission.enter(ip(1)).expect("there is room again");
        for permit in [second, third, fourth] {
            admission.leave(permit);
        }
        assert_eq!(
            (admission.all.total(), admission.evictable.len(), admission.counts.total()),
            (0, 0, 0)
        );
    }

    #[test]
    fn a_crowd_gives_way_to_newcomers_but_not_connections_that_were_there_before() {
        let of_prefix = |host| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host));
        let one_host: fn(u16) -> IpAddr = |_| ip(66);
        for crowd in [&one_host as &dyn Fn(u16) -> IpAddr, &of_prefix] {
            let mut admission = Admission::new(100, 100);
            let early: Vec<ConnectionPermit> =
                (1..=50).map(|host| admission.enter(ip(host)).expect("there is room")).collect();
            let crowd: Vec<ConnectionPermit> = (1000..1050)
                .map(|host| admission.enter(crowd(host)).expect("there is room"))
                .collect();
            let late: Vec<ConnectionPermit> = (101..=115)
                .map(|host| admission.enter(ip(host)).expect("the crowd gives way"))
                .collect();
            assert!(early.iter().chain(&late).all(|permit| !permit.taken.is_cancelled()));
            assert_eq!(
                crowd.iter().filter(|permit| permit.taken.is_cancelled()).count(),
                late.len()
            );
            early.into_iter().chain(late).chain(crowd).for_each(|permit| admission.leave(permit));
            assert_eq!((admission.all.total(), admission.evictable.len()), (0, 0));
        }
    }
}
